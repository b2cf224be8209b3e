//! The rows of the peers.

use crate::{
    bed::{Bed, call},
    ours::{Client, HOUR, Late, OnlyIf},
    peers::{
        Settings, failsafe, failsafe::Failsafe, recloser, recloser::Recloser, retry, tower_resilience as resilience,
    },
    row::Row,
};
use std::rc::Rc;
use tower::Layer;

const BOTH: [(&str, Settings); 2] = [("defaults", Settings::Defaults), ("as ours", Settings::AsOurs)];

/// Calls that tower-resilience has in its window of 60 s, at the most.
const IN_WINDOW: u32 = 1_000;

pub fn rows(bed: &Rc<Bed>, rows: &mut Vec<Row>) {
    tower_resilience(bed, rows);
    for (name, settings) in BOTH {
        let service = Failsafe { breaker: failsafe::breaker(settings), inner: Client };
        rows.push(Row::calls(bed, format!("failsafe, {name}"), &service, 1));
    }
    let mut open = Failsafe { breaker: failsafe::opens_at_once(HOUR), inner: Client };
    assert!(call(&mut open, 0).is_err());
    rows.push(Row::refused(bed, "failsafe, rejected", &open, 1));

    for (name, settings) in BOTH {
        let service = Recloser { breaker: recloser::breaker(settings, None), inner: Client };
        rows.push(Row::calls(bed, format!("recloser, {name}"), &service, 1));
    }
    let mut open = Recloser { breaker: recloser::breaker(Settings::Defaults, Some(HOUR)), inner: Client };
    (0..200).for_each(|_| assert!(call(&mut open, 0).is_err()));
    rows.push(Row::refused(bed, "recloser, rejected", &open, 1));

    for (name, settings) in BOTH {
        rows.push(Row::calls(bed, format!("tower::retry, {name}"), &retry::retry(settings, Client), 1));
    }
    let defaults = Settings::Defaults;
    rows.extend([
        Row::calls(bed, "tower::retry + timeout, defaults", &retry::with_timeout(defaults, Client), 1),
        Row::calls(bed, "tower::retry + timeout, as ours", &retry::with_timeouts(Settings::AsOurs, Client), 1),
        Row::calls(bed, "tower::retry + timeout, pending once", &retry::with_timeout(defaults, Late), 1)
            .over("bare, pending once"),
    ]);
}

fn tower_resilience(bed: &Rc<Bed>, rows: &mut Vec<Row>) {
    let breaker = |settings| resilience::breaker(settings).build().expect("valid").layer(Client);
    let open = resilience::breaker(Settings::Defaults).wait_duration_in_open(HOUR).build().expect("valid");
    let mut open = open.layer(Client);
    (0..200).for_each(|_| assert!(call(&mut open, 0).is_err()));
    let mut primary_open = resilience::stack(Some(HOUR), [OnlyIf(false), OnlyIf(true)]);
    bed.enter(|| (0..200).for_each(|_| assert!(call(&mut primary_open, 1).is_ok())));

    rows.extend([
        Row::calls(bed, "tower-resilience breaker, defaults", &breaker(Settings::Defaults), 1),
        Row::anew(bed, "tower-resilience breaker, as ours", IN_WINDOW, move || breaker(Settings::AsOurs), 1),
        Row::refused(bed, "tower-resilience breaker, rejected", &open, 1),
        Row::calls(bed, "tower-resilience stack, defaults", &resilience::stack(None, [Client, Client]), 1),
        Row::anew(
            bed,
            "tower-resilience stack, as ours",
            IN_WINDOW,
            || resilience::stack_as_ours([Client, Client, Client]),
            1,
        ),
        Row::calls(bed, "tower-resilience stack, primary open", &primary_open, 1),
        Row::calls(bed, "tower-resilience stack, pending once", &resilience::stack(None, [Late, Late]), 1)
            .over("bare, pending once"),
    ]);
}
