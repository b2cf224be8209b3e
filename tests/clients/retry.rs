//! reqwest-retry above and below the failover stack.

use crate::{
    client::{ATTEMPT, BODY, plain, stacks_error},
    middleware::{failover, fakes, host, served},
    server::{Does, FINE, Server, models},
};
use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error as ClientError, Middleware, Next};
use reqwest_retry::{
    DefaultRetryableStrategy, Jitter, RetryError, RetryTransientMiddleware, Retryable, RetryableStrategy,
    policies::ExponentialBackoff,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tower_failover::{Charge, Command, Error, Fate, Model, Models, Plan, Provider, Served, Tried, Why};

const MOMENT: Duration = Duration::from_millis(1);

/// Retries so often, after so long.
fn retry<R: RetryableStrategy + Send + Sync>(
    retries: u32,
    after: Duration,
    which: R,
) -> RetryTransientMiddleware<ExponentialBackoff, R> {
    let policy =
        ExponentialBackoff::builder().retry_bounds(after, after).jitter(Jitter::None).build_with_max_retries(retries);
    RetryTransientMiddleware::new_with_policy_and_strategy(policy, which)
}

/// Stands for the upstreams: the answers come in this order, 200 after the last.
#[derive(Clone)]
struct Script {
    statuses: Arc<Mutex<Vec<u16>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new(statuses: impl IntoIterator<Item = u16>) -> Self {
        let mut statuses: Vec<_> = statuses.into_iter().collect();
        statuses.reverse();
        Self { statuses: Arc::new(Mutex::new(statuses)), asked: Arc::default() }
    }

    /// Whom it has stood for so far.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Middleware for Script {
    async fn handle(&self, request: Request, _: &mut Extensions, _: Next<'_>) -> Result<Response, ClientError> {
        self.asked.lock().unwrap().push(host(&request));
        let status = self.statuses.lock().unwrap().pop().unwrap_or(200);
        Ok(http::Response::builder().status(status).body("hello").expect("a response").into())
    }
}

async fn ask(client: &ClientWithMiddleware) -> Result<Response, ClientError> {
    client.post("http://models/images?key=secret").body(BODY).send().await
}

fn above(models: &Models, script: &Script, retries: u32) -> ClientWithMiddleware {
    let retry = retry(retries, MOMENT, DefaultRetryableStrategy);
    ClientBuilder::new(plain()).with(retry).with(failover(models)).with(script.clone()).build()
}

fn below(models: &Models, script: &Script, retries: u32, after: Duration) -> ClientWithMiddleware {
    let retry = retry(retries, after, DefaultRetryableStrategy);
    ClientBuilder::new(plain()).with(failover(models)).with(retry).with(script.clone()).build()
}

fn failures(models: &Models) -> [u32; 2] {
    let snapshot = models.snapshot();
    [0, 1].map(|model| snapshot.models[model].breaker.consecutive_failures)
}

fn first(served: &Served) -> &Tried {
    match served.candidates().next().expect("a candidate").fate {
        Fate::Tried(tried) => tried,
        skipped => panic!("{skipped}"),
    }
}

#[tokio::test(start_paused = true)]
async fn above_it_sends_the_whole_journey_again_until_one_succeeds() {
    let (models, script) = (fakes(), Script::new([503, 503, 503]));
    let response = ask(&above(&models, &script, 5)).await.expect("an answer");
    assert_eq!(script.asked(), ["one.test", "two.test", "one.test", "two.test"]);
    // Of the second journey only.
    let served = served(&response);
    assert_eq!((response.status().as_u16(), served.attempts()), (200, 2));
    assert_eq!(served.model().map(Model::name), Some("b"));
    assert_eq!(failures(&models), [2, 0], "every failure is heard");

    // One that succeeds is not sent again, and neither is what is the caller's own fault.
    for status in [200, 400] {
        let (models, script) = (fakes(), Script::new([status]));
        let response = ask(&above(&models, &script, 5)).await.expect("an answer");
        assert_eq!((response.status().as_u16(), script.asked().len()), (status, 1));
    }
    // At the most, what each of the two may do.
    let (models, script) = (fakes(), Script::new([503; 100]));
    let response = ask(&above(&models, &script, 2)).await.expect("an answer");
    assert_eq!((response.status().as_u16(), script.asked().len()), (503, 2 * 3));
}

#[tokio::test(start_paused = true)]
async fn above_it_keeps_the_plan() {
    let (models, script) = (fakes(), Script::new([503, 503]));
    let request = above(&models, &script, 5).post("http://models/").body(BODY);
    let response = request.with_extension(Plan::new().first("b").no_fallback()).send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), script.asked()), (200, vec!["two.test".to_owned(); 3]));
}

/// Retries when nobody could be asked; all else as by default.
struct WhenNobody;

impl RetryableStrategy for WhenNobody {
    fn handle(&self, result: &Result<Response, ClientError>) -> Option<Retryable> {
        if let Err(ClientError::Middleware(error)) = result {
            if let Some(Error::Unavailable { .. }) = error.downcast_ref::<Error<ClientError>>() {
                return Some(Retryable::Transient);
            }
        }
        DefaultRetryableStrategy.handle(result)
    }
}

#[tokio::test(start_paused = true)]
async fn above_it_takes_the_stacks_errors_for_fatal_unless_told() {
    let models = fakes();
    for name in ["a", "b"] {
        models.command(name, Command::ForceOpen).expect("a model");
    }
    let error = ask(&above(&models, &Script::new([]), 5)).await.expect_err("nobody");
    let ClientError::Middleware(error) = error else { panic!("{error}") };
    let RetryError::Error(error) = error.downcast::<RetryError>().expect("that of the retry") else {
        panic!("sent again")
    };
    assert!(matches!(stacks_error(error), Error::Unavailable { .. }));

    let told = ClientBuilder::new(plain()).with(retry(3, MOMENT, WhenNobody)).with(failover(&models)).build();
    let ClientError::Middleware(error) = ask(&told).await.expect_err("nobody") else { panic!("no error of a layer") };
    let RetryError::WithRetries { retries, err } = error.downcast::<RetryError>().expect("that of the retry") else {
        panic!("not sent again")
    };
    assert!(retries == 3 && matches!(stacks_error(err), Error::Unavailable { .. }));
}

#[tokio::test(start_paused = true)]
async fn below_it_multiplies_every_attempt() {
    let (models, script) = (fakes(), Script::new([503; 100]));
    let response = ask(&below(&models, &script, 2, MOMENT)).await.expect("an answer");
    assert_eq!(script.asked(), ["one.test", "one.test", "one.test", "two.test", "two.test", "two.test"]);
    assert_eq!(served(&response).attempts(), 2);
    assert_eq!(failures(&models)[0], 1, "of three");
}

#[tokio::test(start_paused = true)]
async fn below_it_hides_failures() {
    let (models, script) = (fakes(), Script::new([503, 503]));
    for asked in [3, 4] {
        let response = ask(&below(&models, &script, 2, MOMENT)).await.expect("an answer");
        assert_eq!((served(&response).attempts(), script.asked().len()), (1, asked));
    }
    assert_eq!(models.snapshot().models[0].breaker.window.expect("a rule on a rate").failures, 0);
}

#[tokio::test(start_paused = true)]
async fn below_it_eats_up_the_attempts_time() {
    let (models, script) = (fakes(), Script::new([429]));
    let response = ask(&below(&models, &script, 2, ATTEMPT * 2)).await.expect("an answer");
    assert_eq!(script.asked(), ["one.test", "two.test"]);
    let tried = first(served(&response));
    assert_eq!((&tried.why, tried.charge), (&Why::TimedOut, Charge::Model), "and who was only busy is blamed");
    assert_eq!(models.snapshot().models[0].breaker.cooldown, None);
}

#[tokio::test]
async fn below_its_errors_are_recognized() {
    for retries in [0, 1] {
        for (does, charge) in [(Does::Refuse, Charge::Provider), (Does::Reset, Charge::Model)] {
            let (a, b) = (Server::start(does).await, Server::start(FINE).await);
            let models = models(&a.url(), &b.url());
            let retry = retry(retries, MOMENT, DefaultRetryableStrategy);
            let client = ClientBuilder::new(plain()).with(failover(&models)).with(retry).build();
            let response = ask(&client).await.expect("an answer");
            let served = served(&response);
            assert_eq!(first(served).charge, charge, "{does:?}, {retries} retries: {served}");
            assert!(!served.to_string().contains("secret"), "{does:?}, {retries} retries: {served}");
            let reached = if does == Does::Refuse { 0 } else { 1 + retries as usize };
            assert_eq!(a.requests().len(), reached, "{does:?}");
        }
    }
}

/// What it does not retry it hands on with the words of reqwest's error, but without its type.
#[tokio::test]
async fn below_it_hides_what_was_never_sent() {
    for (retry_below, charge) in [(false, Charge::Nobody), (true, Charge::Model)] {
        let one = Models::builder().provider(Provider::new("one")).model(Model::new("a", "one"));
        let models = one.build().expect("models");
        let mut stack = ClientBuilder::new(plain()).with(failover(&models));
        if retry_below {
            stack = stack.with(retry(2, MOMENT, DefaultRetryableStrategy));
        }
        let send = stack.build().post("ftp://models/images?key=secret").body(BODY).send();
        let error = stacks_error(send.await.expect_err("no such scheme"));
        let served = error.served().expect("Served");
        assert_eq!(first(served).charge, charge, "{served}");
        assert!(!served.to_string().contains("secret"), "{served}");
    }
}
