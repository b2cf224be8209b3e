//! Every client against every fault: what the caller gets, what each upstream saw, what each breaker recorded. Each row
//! holds for all three clients alike.

use crate::{
    client::{ALL, ATTEMPT, Client},
    server::{Does, FINE, Server, models},
};
use Does::{Answer, Close, Garbage, Hang, Refuse, Reset};
use std::time::Duration;
use tokio::time::Instant;
use tower_failover::{Model, Models, Served};

const HTTP_DATES: [&str; 3] = [
    "429 Slow\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:49:44 GMT",
    "429 Slow\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sunday, 06-Nov-94 08:49:44 GMT",
    "429 Slow\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun Nov  6 08:49:44 1994",
];

/// What the caller gets: the status and whose it is, or an error.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Gets {
    From(&'static str, u16),
    Error,
}
use Gets::{Error, From};

/// Failures in a row of the breakers of model `a`, provider `one`, model `b`, provider `two`.
type Failures = [u32; 4];

type Row = (Does, Does, Gets, [usize; 2], Failures, Option<u64>);

#[rustfmt::skip]
const MATRIX: &[Row] = &[
    // model a does                            model b does        the caller gets  requests  failures      a cools down
    (FINE,                                     FINE,               From("a", 200),  [1, 0],   [0, 0, 0, 0], None),
    (Refuse,                                   FINE,               From("b", 200),  [0, 1],   [0, 1, 0, 0], None),
    (Reset,                                    FINE,               From("b", 200),  [1, 1],   [1, 1, 0, 0], None),
    (Close,                                    FINE,               From("b", 200),  [1, 1],   [1, 1, 0, 0], None),
    (Garbage,                                  FINE,               From("b", 200),  [1, 1],   [1, 1, 0, 0], None),
    (Hang,                                     FINE,               From("b", 200),  [1, 1],   [1, 1, 0, 0], None),
    (Answer("500 Oh"),                         FINE,               From("b", 200),  [1, 1],   [1, 1, 0, 0], None),
    (Answer("429 Slow"),                       FINE,               From("b", 200),  [1, 1],   [0, 0, 0, 0], Some(1)),
    (Answer("429 Slow\r\nretry-after: 7"),     FINE,               From("b", 200),  [1, 1],   [0, 0, 0, 0], Some(7)),
    (Answer("429 Slow\r\nretry-after-ms: 7000"), FINE,             From("b", 200),  [1, 1],   [0, 0, 0, 0], Some(7)),
    (Answer(HTTP_DATES[0]),                    FINE,               From("b", 200),  [1, 1],   [0, 0, 0, 0], Some(7)),
    (Answer(HTTP_DATES[1]),                    FINE,               From("b", 200),  [1, 1],   [0, 0, 0, 0], Some(7)),
    (Answer(HTTP_DATES[2]),                    FINE,               From("b", 200),  [1, 1],   [0, 0, 0, 0], Some(7)),
    (Answer("404 No such model"),              FINE,               From("b", 200),  [1, 1],   [1, 0, 0, 0], None),
    (Answer("400 Yours"),                      FINE,               From("a", 400),  [1, 0],   [0, 0, 0, 0], None),
    (Answer("302 Elsewhere\r\nlocation: /"),   FINE,               From("a", 302),  [1, 0],   [0, 0, 0, 0], None),
    // The second 500 may be the request's own fault, and blames nobody.
    (Answer("500 Oh"),                         Answer("500 Oh"),   From("b", 500),  [1, 1],   [1, 1, 0, 0], None),
    (Reset,                                    Answer("502 Oh"),   From("b", 502),  [1, 1],   [1, 1, 1, 1], None),
    (Answer("429 Slow\r\nretry-after: 7"),     Refuse,             Error,           [1, 0],   [0, 0, 0, 1], Some(7)),
    (Refuse,                                   Reset,              Error,           [0, 1],   [0, 1, 1, 1], None),
    (Refuse,                                   Hang,               Error,           [0, 1],   [0, 1, 1, 1], None),
];

#[tokio::test]
async fn law_14_every_client_against_every_fault() {
    for row in MATRIX {
        for client in ALL {
            check(client, row).await;
        }
    }
}

async fn check(client: Client, row: &Row) {
    let (a, b, gets, requests, failures, cooldown) = *row;
    let (one, two) = (Server::start(a).await, Server::start(b).await);
    let models = models(&one.url(), &two.url());
    let began = Instant::now();
    let (answer, served) = client.ask(&models).await;
    let at = format!("{client:?}, a: {a:?}, b: {b:?}: {served}");

    let got = match &answer {
        Some((status, body)) => {
            assert_eq!(body, "hello", "{at}");
            From(answered_by(&served), *status)
        }
        None => Error,
    };
    assert_eq!(got, gets, "{at}");
    assert_eq!([one.requests().len(), two.requests().len()], requests, "{at}");
    let asked = |server: &Server, model: &str, key: &str| {
        let whole = |request: &String| request.ends_with(&format!(r#"{{"model":"{model}"}}"#)) && request.contains(key);
        assert!(server.requests().iter().all(whole), "{at}: {:?}", server.requests());
    };
    asked(&one, "a", "authorization: Bearer key-one\r\n");
    asked(&two, "b", "authorization: Bearer key-two\r\n");

    assert_eq!(recorded(&models), failures, "{at}");
    let snapshot = models.snapshot();
    let cools = snapshot.model("a").expect("a").breaker.cooldown;
    match (cools, cooldown.map(Duration::from_secs)) {
        (None, None) => {}
        (Some(cools), Some(asked)) => {
            assert!(cools + ATTEMPT * 3 > asked && cools <= asked.mul_f64(1.1), "{at}: {cools:?}")
        }
        other => panic!("{at}: {other:?}"),
    }
    assert!(snapshot.models.iter().all(|model| model.in_flight == 0), "{at}");
    assert!(began.elapsed() < Duration::from_secs(3), "{at}");
}

fn answered_by(served: &Served) -> &'static str {
    match served.model().map(Model::name) {
        Some("a") => "a",
        Some("b") => "b",
        other => panic!("{other:?}"),
    }
}

fn recorded(models: &Models) -> Failures {
    let snapshot = models.snapshot();
    let model = |name: &str| snapshot.model(name).expect("a model").breaker.consecutive_failures;
    let provider = |name: &str| snapshot.provider(name).expect("a provider").breaker.consecutive_failures;
    [model("a"), provider("one"), model("b"), provider("two")]
}
