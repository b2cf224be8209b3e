//! Readers on threads of their own, which come, read and go while the upload streams.

use crate::source::{Tap, data};
use bytes::Bytes;
use futures::executor::block_on;
use http_body_util::BodyExt;
use std::{sync::mpsc, thread, time::Duration};
use tower_failover::ReplayBody;

const ROUNDS: usize = 300;
const FRAMES: usize = 12;

#[test]
fn readers_on_many_threads_all_get_the_whole() {
    let (done, results) = mpsc::channel();
    for round in 0..ROUNDS {
        let (tap, source) = Tap::new(vec![data(500 + round); FRAMES], round % 2 == 0);
        let first = ReplayBody::new(source, usize::MAX);
        let leaves = first.clone();
        for body in [first.clone(), first] {
            let done = done.clone();
            thread::spawn(move || done.send(block_on(body.collect()).map(|whole| whole.to_bytes())));
        }
        thread::spawn(move || {
            let mut leaves = leaves;
            let read = (0..round % FRAMES).all(|_| block_on(leaves.frame()).is_some_and(|frame| frame.is_ok()));
            assert!(read);
        });
        thread::spawn(move || tap.let_all_out());
        let expected = Bytes::from([&data_of(500 + round)[..]].repeat(FRAMES).concat());
        for _ in 0..2 {
            let whole = results.recv_timeout(Duration::from_secs(20)).expect("nobody sleeps forever");
            assert_eq!(whole.expect("whole"), expected);
        }
    }
}

fn data_of(length: usize) -> Bytes {
    match data(length) {
        crate::source::Item::Data(data) => data,
        _ => unreachable!("data"),
    }
}
