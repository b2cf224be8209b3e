//! Every client against every fault, in both uses: what the caller gets, what each upstream saw, what each breaker
//! recorded. Each row holds for all three clients alike.
//!
//! Bodies are watched in both uses, as no breaker hears of them otherwise.

use crate::{
    body::{
        Ends::{self, Broken, Stalled, Well},
        ends, read,
    },
    client::{ALL, ATTEMPT, Client, GAP, Usage},
    faults::*,
    server::{
        Does::{self, Close, Garbage, Hang, Http2, Refuse, Reset},
        Server, models,
    },
};
use futures::future::join_all;
use std::time::Duration;
use tokio::time::Instant;
use tower_failover::{Model, Models, Served};

/// What the caller gets: whose answer, with which status and text, and how it ends; or an error.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Gets<'a> {
    From(&'a str, u16, &'a str, Ends),
    Error,
}
use Gets::{Error, From};

const fn a(text: &str, ends: Ends) -> Gets<'_> {
    From("a", 200, text, ends)
}

const fn b(text: &str, ends: Ends) -> Gets<'_> {
    From("b", 200, text, ends)
}

const A: Gets<'_> = a(BOTH, Well);
const B: Gets<'_> = b(BOTH, Well);

/// What the caller gets, how many requests `a` and `b` saw, what each breaker recorded, and for how many seconds `a` is
/// left alone.
///
/// The breakers are those of model `a`, provider `one`, model `b`, provider `two`: `x` is a failure, `+` a success of a
/// model, `.` neither.
struct Cell(Gets<'static>, [usize; 2], &'static str, Option<u64>);

const fn cell(gets: Gets<'static>, requests: [usize; 2], recorded: &'static str) -> Cell {
    Cell(gets, requests, recorded, None)
}

impl Cell {
    const fn rests(mut self, seconds: u64) -> Self {
        self.3 = Some(seconds);
        self
    }
}

/// What models `a` and `b` do, and what comes of it for an answer that is to be read as a whole, and for one that is to
/// stream if that differs.
type Row = (Does, Does, Cell, Option<Cell>);

const SAME: Option<Cell> = None;

#[rustfmt::skip]
const MATRIX: &[Row] = &[
    // model a                     model b          unary: the caller gets               requests  recorded         streaming: the caller gets                    requests  recorded
    // All is well.
    (STREAM,                       STREAM,         cell(A,                              [1, 0], "+..."),            SAME),
    (LENGTH_KNOWN,                 STREAM,         cell(A,                              [1, 0], "+..."),            SAME),
    (LENGTH_UNKNOWN,               STREAM,         cell(A,                              [1, 0], "+..."),            SAME),
    (EMPTY,                        STREAM,         cell(a("", Well),                    [1, 0], "+..."),            SAME),
    (SLOW,                         STREAM,         cell(a(SLOW_SAYS, Well),             [1, 0], "+..."),            SAME),
    (QUIET_FIRST,                  STREAM,         cell(a(QUIET_BOTH, Well),            [1, 0], "+..."),            SAME),
    // Nothing that is a head.
    (Refuse,                       STREAM,         cell(B,                              [0, 1], ".x+."),            SAME),
    (Reset,                        STREAM,         cell(B,                              [1, 1], "xx+."),            SAME),
    (Close,                        STREAM,         cell(B,                              [1, 1], "xx+."),            SAME),
    (Garbage,                      STREAM,         cell(B,                              [1, 1], "xx+."),            SAME),
    (Hang,                         STREAM,         cell(B,                              [1, 1], "xx+."),            SAME),
    (CUT_IN_HEAD,                  STREAM,         cell(B,                              [1, 1], "xx+."),            SAME),
    (STALL_IN_HEAD,                STREAM,         cell(B,                              [1, 1], "xx+."),            SAME),
    (CONTRADICTS_LENGTH,           STREAM,         cell(B,                              [1, 1], "xx+."),            SAME),
    // A status.
    (SAYS_500,                     STREAM,         cell(B,                              [1, 1], "xx+."),            SAME),
    (SAYS_429,                     STREAM,         cell(B,                              [1, 1], "..+.").rests(1),   SAME),
    (SAYS_429_SECONDS,             STREAM,         cell(B,                              [1, 1], "..+.").rests(7),   SAME),
    (SAYS_429_MILLISECONDS,        STREAM,         cell(B,                              [1, 1], "..+.").rests(7),   SAME),
    (SAYS_429_IMF,                 STREAM,         cell(B,                              [1, 1], "..+.").rests(7),   SAME),
    (SAYS_429_RFC_850,             STREAM,         cell(B,                              [1, 1], "..+.").rests(7),   SAME),
    (SAYS_429_ASCTIME,             STREAM,         cell(B,                              [1, 1], "..+.").rests(7),   SAME),
    (SAYS_404,                     STREAM,         cell(B,                              [1, 1], "x.+."),            SAME),
    (SAYS_400,                     STREAM,         cell(From("a", 400, "hello", Well),  [1, 0], "...."),            SAME),
    (SAYS_302,                     STREAM,         cell(From("a", 302, "hello", Well),  [1, 0], "+..."),            SAME),
    // What the body of an error says counts where it is read.
    (SAYS_TOO_LONG,                STREAM,         cell(From("a", 400, TOO_LONG, Well), [1, 0], "...."),            Some(cell(B,                                  [1, 1], "..+."))),
    (SAYS_NO_SUCH_PATH,            STREAM,         cell(B,                              [1, 1], "x.+."),            Some(cell(From("a", 404, NO_SUCH_PATH, Well), [1, 0], "...."))),
    (ERROR_STALLS,                 STREAM,         cell(B,                              [1, 1], "xx+."),            SAME),
    (ERROR_CUT,                    STREAM,         cell(B,                              [1, 1], "xx+."),            SAME),
    // 200, and the body breaks off. One that ends with the connection cannot be told from one that is whole.
    (CUT_AT_FIRST_CHUNK,           STREAM,         cell(a("", Broken),                  [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (CUT_AT_FIRST_BYTE,            STREAM,         cell(a("", Broken),                  [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (CLOSE_AT_FIRST_BYTE,          STREAM,         cell(a("", Well),                    [1, 0], "+..."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (CUT_IN_CHUNK,                 STREAM,         cell(a(HALF, Broken),                [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (CUT_IN_EVENT,                 STREAM,         cell(a(HALF, Broken),                [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (CLOSE_IN_EVENT,               STREAM,         cell(a(HALF, Well),                  [1, 0], "+..."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (CUT_AFTER_QUIET,              STREAM,         cell(a(QUIET, Broken),               [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (CUT_AFTER_EVENT,              STREAM,         cell(a(ONE, Broken),                 [1, 0], "xx.."),            SAME),
    (RESET_AFTER_EVENT,            STREAM,         cell(a(ONE, Broken),                 [1, 0], "xx.."),            SAME),
    (CLOSE_AFTER_EVENT,            STREAM,         cell(a(ONE, Well),                   [1, 0], "+..."),            SAME),
    // 200, and then silence.
    (STALL_AT_FIRST_BYTE,          STREAM,         cell(a("", Stalled),                 [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (STALL_IN_EVENT,               STREAM,         cell(a(HALF, Stalled),               [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (STALL_AFTER_EVENT,            STREAM,         cell(a(ONE, Stalled),                [1, 0], "xx.."),            SAME),
    (STALL_IN_LENGTH,              STREAM,         cell(a(ONE, Stalled),                [1, 0], "xx.."),            SAME),
    // 200, and a length that lies.
    (LESS_THAN_LENGTH,             STREAM,         cell(a(ONE, Broken),                 [1, 0], "xx.."),            SAME),
    (LESS_THAN_LENGTH_IN_EVENT,    STREAM,         cell(a(HALF, Broken),                [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (MORE_THAN_LENGTH,             STREAM,         cell(a(ONE, Well),                   [1, 0], "+..."),            SAME),
    // 200, and an error in the stream.
    (ERROR_FIRST,                  STREAM,         cell(a(ERROR, Well),                 [1, 0], "+..."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (ERROR_AFTER_QUIET,            STREAM,         cell(a(QUIET_AND_ERROR, Well),       [1, 0], "+..."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (LIMIT_FIRST,                  STREAM,         cell(a(LIMIT, Well),                 [1, 0], "+..."),            Some(cell(B,                                  [1, 1], "..+.").rests(1))),
    (YOURS_FIRST,                  STREAM,         cell(a(YOURS, Well),                 [1, 0], "+..."),            Some(cell(a(YOURS, Well),                     [1, 0], "...."))),
    (ERROR_LATER,                  STREAM,         cell(a(ONE_AND_ERROR, Well),         [1, 0], "+..."),            SAME),
    // Both fail. The second 500 may be the request's own fault, and blames nobody.
    (SAYS_500,                     SAYS_500,       cell(From("b", 500, "hello", Well),  [1, 1], "xx.."),            SAME),
    (Reset,                        SAYS_502,       cell(From("b", 502, "hello", Well),  [1, 1], "xxxx"),            SAME),
    (SAYS_429_SECONDS,             Refuse,         cell(Error,                          [1, 0], "...x").rests(7),   SAME),
    (Refuse,                       Reset,          cell(Error,                          [0, 1], ".xxx"),            SAME),
    (Refuse,                       Hang,           cell(Error,                          [0, 1], ".xxx"),            SAME),
    (CUT_IN_EVENT,                 CUT_IN_EVENT,   cell(a(HALF, Broken),                [1, 0], "xx.."),            Some(cell(b(HALF, Broken),                    [1, 1], "xxxx"))),
    (CUT_IN_EVENT,                 ERROR_FIRST,    cell(a(HALF, Broken),                [1, 0], "xx.."),            Some(cell(b(ERROR, Well),                     [1, 1], "xxxx"))),
    (STALL_IN_EVENT,               STALL_IN_EVENT, cell(a(HALF, Stalled),               [1, 0], "xx.."),            Some(cell(b(HALF, Stalled),                   [1, 1], "xxxx"))),
    // HTTP/2.
    (H2_STREAM,                    H2_STREAM,      cell(A,                              [1, 0], "+..."),            SAME),
    (H2_EMPTY,                     H2_STREAM,      cell(a("", Well),                    [1, 0], "+..."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (H2_GOAWAY_AND_STREAM,         H2_STREAM,      cell(A,                              [1, 0], "+..."),            SAME),
    (H2_500,                       H2_STREAM,      cell(B,                              [1, 1], "xx+."),            SAME),
    (H2_CLOSE,                     H2_STREAM,      cell(B,                              [1, 1], "xx+."),            SAME),
    (H2_HANG,                      H2_STREAM,      cell(B,                              [1, 1], "xx+."),            SAME),
    (H2_RESET,                     H2_STREAM,      cell(B,                              [1, 1], "xx+."),            SAME),
    (H2_REFUSED,                   H2_STREAM,      cell(B,                              [1, 1], "xx+."),            SAME),
    (H2_GOAWAY,                    H2_STREAM,      cell(B,                              [1, 1], "xx+."),            SAME),
    (H2_GOAWAY_CALM,               H2_STREAM,      cell(B,                              [1, 1], "xx+."),            SAME),
    (H2_RESET_AFTER_HEAD,          H2_STREAM,      cell(a("", Broken),                  [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (H2_RESET_IN_EVENT,            H2_STREAM,      cell(a(HALF, Broken),                [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (H2_RESET_AFTER_EVENT,         H2_STREAM,      cell(a(ONE, Broken),                 [1, 0], "xx.."),            SAME),
    (H2_GOAWAY_AFTER_HEAD,         H2_STREAM,      cell(a("", Broken),                  [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (H2_GOAWAY_AFTER_EVENT,        H2_STREAM,      cell(a(ONE, Broken),                 [1, 0], "xx.."),            SAME),
    (H2_GOAWAY_SOFTLY_AFTER_EVENT, H2_STREAM,      cell(a(ONE, Broken),                 [1, 0], "xx.."),            SAME),
    (H2_CUT_AFTER_EVENT,           H2_STREAM,      cell(a(ONE, Broken),                 [1, 0], "xx.."),            SAME),
    (H2_STALL_AFTER_HEAD,          H2_STREAM,      cell(a("", Stalled),                 [1, 0], "xx.."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (H2_STALL_AFTER_EVENT,         H2_STREAM,      cell(a(ONE, Stalled),                [1, 0], "xx.."),            SAME),
    // hyper takes a stream that the server gives up without an error for one that has ended.
    (H2_STOP_IN_EVENT,             H2_STREAM,      cell(a(HALF, Well),                  [1, 0], "+..."),            Some(cell(B,                                  [1, 1], "xx+."))),
    (H2_STOP_AFTER_EVENT,          H2_STREAM,      cell(a(ONE, Well),                   [1, 0], "+..."),            SAME),
];

#[tokio::test]
async fn law_14_every_client_against_every_fault_unary() {
    matrix(Usage::Unary).await;
}

#[tokio::test]
async fn law_14_every_client_against_every_fault_streaming() {
    matrix(Usage::Streaming).await;
}

async fn matrix(usage: Usage) {
    let rows = |client| async move {
        for row in MATRIX {
            check(client, usage, row).await;
        }
    };
    join_all(ALL.map(rows)).await;
}

async fn check(client: Client, usage: Usage, (does_a, does_b, unary, streaming): &Row) {
    let Cell(gets, requests, records, rests) = match usage {
        Usage::Streaming => streaming.as_ref().unwrap_or(unary),
        Usage::Unary => unary,
    };
    let (one, two) = (Server::start(*does_a).await, Server::start(*does_b).await);
    let models = models(&one.url(), &two.url());
    let began = Instant::now();
    let reply = client.stack(&models, usage, matches!(does_a, Http2(_)))().await;
    let served = match &reply {
        Ok(reply) => reply.extensions().get::<Served>().expect("Served").clone(),
        Err(served) => served.clone(),
    };
    let at = format!("{client:?}, {usage:?}, a: {does_a:?}, b: {does_b:?}: {served}");
    let text;
    let got = match reply {
        Ok(reply) => {
            let (by, status) = (served.model().map_or("nobody", Model::name), reply.status().as_u16());
            let both = || {
                one.tell();
                two.tell();
            };
            let error;
            (text, error) = read(reply, both).await;
            From(by, status, &text, ends(error.as_ref(), GAP))
        }
        Err(_) => Error,
    };
    assert_eq!(got, *gets, "{at}");
    assert_eq!([one.requests().len(), two.requests().len()], *requests, "{at}");
    let refused = [does_a, does_b].into_iter().filter(|does| **does == Refuse).count();
    assert_eq!(served.attempts(), requests.iter().sum::<usize>() + refused, "{at}");
    asked(&one, "a", "key-one");
    asked(&two, "b", "key-two");

    assert_eq!(recorded(&models), *records, "{at}");
    let snapshot = models.snapshot();
    let cooldown = snapshot.model("a").expect("a").breaker.cooldown;
    match (cooldown, rests.map(Duration::from_secs)) {
        (None, None) => {}
        (Some(cooldown), Some(asked)) => {
            assert!(cooldown + ATTEMPT * 3 > asked && cooldown <= asked.mul_f64(1.1), "{at}: {cooldown:?}")
        }
        other => panic!("{at}: {other:?}"),
    }
    assert!(snapshot.models.iter().all(|model| model.in_flight == 0), "{at}");
    assert!(began.elapsed() < Duration::from_secs(3), "{at}");
}

/// Every request was aimed at this model. What HPACK has packed is not read.
fn asked(server: &Server, model: &str, key: &str) {
    for request in server.requests() {
        let (head, body) = request.rsplit_once("\r\n\r\n").unwrap_or(("", &request));
        assert_eq!(body, format!(r#"{{"model":"{model}"}}"#));
        assert!(
            head.is_empty() || format!("{head}\r\n").contains(&format!("authorization: Bearer {key}\r\n")),
            "{head}"
        );
    }
}

/// What the breakers of `a`, `one`, `b` and `two` recorded.
fn recorded(models: &Models) -> String {
    let snapshot = models.snapshot();
    let model = |name: &str| {
        let breaker = &snapshot.model(name).expect("a model").breaker;
        let window = breaker.window.expect("a rule on a rate");
        match (window.successes, window.failures, breaker.consecutive_failures) {
            (0, 0, 0) => '.',
            (1, 0, 0) => '+',
            (0, 1, 1) => 'x',
            other => panic!("{name}: {other:?}"),
        }
    };
    let provider = |name: &str| match snapshot.provider(name).expect("a provider").breaker.consecutive_failures {
        0 => '.',
        1 => 'x',
        other => panic!("{name}: {other}"),
    };
    [model("a"), provider("one"), model("b"), provider("two")].iter().collect()
}
