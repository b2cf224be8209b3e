//! A request, or a body, given up at each of its await points: no permit stays behind, no call in flight, and no request
//! at the upstream.

use crate::{
    client::{ALL, AnyError, Client, Reply, Sender},
    server::{Does, Server},
    upstream::{SOON, Script, Step, Upstream},
};
use Step::{Hang, Say, Wait};
use bytes::Bytes;
use http_body_util::{BodyExt, combinators::BoxBody};
use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_failover::{BreakerConfig, Fate, HttpFinish, Model, Models, Provider, Served, State, Trip};

/// How long an upstream takes that takes its time.
const MOMENT: Duration = Duration::from_millis(2);
const PAUSE: Step = Wait(MOMENT);
/// How long a model that hangs may take.
const ATTEMPT: Duration = Duration::from_millis(20);

const GOOD: Step = Say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
const BAD: Step = Say("HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\noh");

const ANSWERS: Script = &[PAUSE, GOOD];
const FAILS: Script = &[PAUSE, BAD];
/// Somewhere in its head.
const HANGS: Script = &[PAUSE, Say("HTTP/1.1 200 OK\r\n"), Hang];
const STREAMS: Script = &[
    Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
    PAUSE,
    Say("4\r\none \r\n"),
    PAUSE,
    Say("4\r\ntwo \r\n6\r\nthree \r\n"),
    PAUSE,
    Say("4\r\nfour\r\n0\r\n\r\n"),
];

/// When a future is given up.
#[derive(Debug, Clone, Copy, PartialEq)]
enum GivenUp {
    /// Directly after a poll.
    AtOnce,
    /// A little later, when others have had their turn.
    Later,
    /// When it has been woken for the next.
    Woken,
}

const GIVEN_UP: [GivenUp; 3] = [GivenUp::AtOnce, GivenUp::Later, GivenUp::Woken];

/// Polls a future `polls` times, each time when it has been woken, and drops it if that was not enough.
async fn polled<F: Future>(polls: usize, given_up: GivenUp, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    let output = poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 && given_up != GivenUp::Woken => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if output.is_none() && given_up == GivenUp::Later {
        sleep(MOMENT / 2).await;
    }
    output
}

/// What the first model does. The second always answers, after a moment.
#[derive(Debug, Clone, Copy)]
enum First {
    Refuses,
    Fails,
    Hangs,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Before {
    /// All breakers are closed.
    Well,
    /// Those of the first model and its provider let a probe through.
    HalfOpen,
}

/// Two models on two upstreams, over one client.
struct World {
    at: String,
    /// `None` for one that refuses.
    one: Option<Upstream>,
    two: Upstream,
    models: Models,
    send: Sender,
    _refuses: Server,
}

impl World {
    async fn begin(client: Client, first: First, before: Before, at: String) -> Self {
        let refuses = Server::start(Does::Refuse).await;
        let one = match first {
            First::Refuses => None,
            First::Fails => Some(Upstream::start(FAILS).await),
            First::Hangs => Some(Upstream::start(HANGS).await),
        };
        let two = Upstream::start(ANSWERS).await;
        let at_one = one.as_ref().map_or_else(|| refuses.url(), Upstream::url);
        let trips = if before == Before::HalfOpen { vec![Trip::consecutive(1, Duration::ZERO)] } else { Vec::new() };
        let attempt = if matches!(first, First::Hangs) { ATTEMPT } else { SOON };
        let wait = Duration::from_millis(1);
        let breaker = BreakerConfig::default().trip(trips).open_wait(wait, wait).jitter(0.0);
        let models = Models::builder()
            .provider(Provider::new("one").base_url(at_one).breaker(breaker.clone()))
            .provider(Provider::new("two").base_url(two.url()))
            .model(Model::new("a", "one").attempt_timeout(attempt).breaker(breaker))
            .model(Model::new("b", "two"))
            .build()
            .expect("models");
        let send = client.over(&models, HttpFinish::new(), SOON);
        let world = Self { at, one, two, models, send, _refuses: refuses };
        if before == Before::HalfOpen {
            world.answered(world.ask().await);
            world.open_wait().await;
        }
        world
    }

    async fn ask(&self) -> Result<Reply, Served> {
        timeout(SOON, (self.send)()).await.expect("in time")
    }

    /// The first model has been asked, as the second has.
    fn answered(&self, reply: Result<Reply, Served>) {
        let reply = reply.unwrap_or_else(|served| panic!("{}: {served}", self.at));
        let served = reply.extensions().get::<Served>().expect("Served");
        let tried = served.candidates().map(|candidate| matches!(candidate.fate, Fate::Tried(_))).collect::<Vec<_>>();
        assert_eq!((reply.status().as_u16(), tried), (200, vec![true, true]), "{}: {served}", self.at);
    }

    /// Lets the wait of the open breakers go by.
    async fn open_wait(&self) {
        loop {
            let snapshot = self.models.snapshot();
            let breakers = [&snapshot.models[0].breaker, &snapshot.providers[0].breaker];
            let open = breakers.into_iter().filter(|breaker| breaker.state == State::Open);
            match open.filter_map(|breaker| breaker.retry_in).max() {
                None | Some(Duration::ZERO) => return,
                Some(wait) => sleep(wait).await,
            }
        }
    }

    fn nothing_is_counted(&self) {
        let snapshot = self.models.snapshot();
        for model in &snapshot.models {
            assert_eq!((model.in_flight, model.breaker.probes), (0, 0), "{}: {}", self.at, model.name);
        }
        for provider in &snapshot.providers {
            assert_eq!((provider.in_flight, provider.breaker.probes), (0, 0), "{}: {}", self.at, provider.name);
        }
    }

    fn requests(&self) -> [usize; 2] {
        [self.one.as_ref().map_or(0, Upstream::requests), self.two.requests()]
    }

    async fn nothing_is_open(&self) {
        for upstream in self.one.iter().chain([&self.two]) {
            upstream.idle(&self.at).await;
        }
    }
}

#[tokio::test]
async fn law_13_a_request_over_hyper_util_given_up_anywhere_leaves_nothing_behind() {
    give_up(Client::HyperUtil).await;
}

#[tokio::test]
async fn law_13_a_request_over_reqwest_given_up_anywhere_leaves_nothing_behind() {
    give_up(Client::Reqwest).await;
}

#[tokio::test]
async fn law_13_a_request_over_reqwest_middleware_given_up_anywhere_leaves_nothing_behind() {
    give_up(Client::ReqwestMiddleware).await;
}

async fn give_up(client: Client) {
    let mut reached = [0, 0];
    for first in [First::Refuses, First::Fails, First::Hangs] {
        for before in [Before::Well, Before::HalfOpen] {
            for given_up in GIVEN_UP {
                let requests = give_up_everywhere(client, first, before, given_up).await;
                reached = [reached[0] + requests[0], reached[1] + requests[1]];
            }
        }
    }
    assert!(reached.iter().all(|requests| *requests > 0), "{client:?}: given up before anybody was asked");
}

/// The requests that came to each upstream and were given up.
async fn give_up_everywhere(client: Client, first: First, before: Before, given_up: GivenUp) -> [usize; 2] {
    let mut reached = [0, 0];
    for polls in 0.. {
        let at = format!("{client:?}, {first:?}, {before:?}, dropped {given_up:?} after {polls} polls");
        let world = World::begin(client, first, before, at).await;
        let before_it = world.requests();
        let reply = timeout(SOON, polled(polls, given_up, (world.send)())).await.expect("in time");
        world.nothing_is_counted();
        if reply.is_none() {
            reached = [0, 1].map(|upstream| reached[upstream] + world.requests()[upstream] - before_it[upstream]);
        }
        let over = reply.map(|reply| world.answered(reply)).is_some();
        if before == Before::HalfOpen {
            // At once, unless the first model's failure has just opened its breaker again.
            world.open_wait().await;
            world.answered(world.ask().await);
            world.nothing_is_counted();
        }
        world.nothing_is_open().await;
        if over {
            assert!(polls > 2, "{}: few await points", world.at);
            return reached;
        }
    }
    unreachable!("a request takes no end of polls")
}

#[tokio::test]
async fn law_20_a_body_given_up_after_any_frame_leaves_nothing_behind() {
    for client in ALL {
        for frames in 0.. {
            let at = format!("{client:?}, dropped after {frames} frames");
            let (upstream, models, mut body) = streamed(client).await;
            let mut whole = false;
            for _ in 0..frames {
                match timeout(SOON, body.frame()).await.expect("in time") {
                    Some(frame) => drop(frame.expect("data")),
                    None => whole = true,
                }
            }
            drop(body);
            no_body_is_left(&upstream, &models, whole, &at).await;
            if whole {
                assert!(frames > 4, "{at}: few frames");
                break;
            }
        }
    }
}

#[tokio::test]
async fn law_20_a_body_given_up_at_any_await_point_leaves_nothing_behind() {
    let mut bodies = JoinSet::new();
    for client in ALL {
        for given_up in GIVEN_UP {
            bodies.spawn(async move {
                for polls in 0.. {
                    let at = format!("{client:?}, dropped {given_up:?} after {polls} polls");
                    let (upstream, models, body) = streamed(client).await;
                    let read = timeout(SOON, polled(polls, given_up, body.collect())).await.expect("in time");
                    no_body_is_left(&upstream, &models, read.is_some(), &at).await;
                    if let Some(read) = read {
                        assert_eq!(read.expect("whole").to_bytes(), "one two three four", "{at}");
                        assert!(polls > 2, "{at}: few await points");
                        return;
                    }
                }
            });
        }
    }
    bodies.join_all().await;
}

/// A watched body of which nothing has been read yet.
async fn streamed(client: Client) -> (Upstream, Models, BoxBody<Bytes, AnyError>) {
    let upstream = Upstream::start(STREAMS).await;
    let provider = Provider::new("one").base_url(upstream.url());
    let models = Models::builder().provider(provider).model(Model::new("a", "one")).build().expect("models");
    let send = client.over(&models, HttpFinish::new().watched(), SOON);
    let reply = timeout(SOON, send()).await.expect("in time").expect("a head");
    assert_eq!(models.snapshot().models[0].in_flight, 1);
    (upstream, models, reply.into_body())
}

async fn no_body_is_left(upstream: &Upstream, models: &Models, whole: bool, at: &str) {
    let snapshot = models.snapshot();
    let window = snapshot.models[0].breaker.window.expect("a rule on a rate");
    assert_eq!((snapshot.models[0].in_flight, snapshot.providers[0].in_flight), (0, 0), "{at}");
    assert_eq!((window.successes, window.failures), (whole.into(), 0), "{at}");
    upstream.idle(at).await;
}
