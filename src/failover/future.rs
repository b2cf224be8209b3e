//! The future of one request: one candidate after another, each through readiness, permit, aim, call and verdict.

use super::{
    attempt::{Came, Clock, Event, Hedging, Last, Run, Told},
    clients::Clients,
    error::Error,
    finish::{Answer, Finish},
    journey::Journey,
    plan::Plan,
    resend::Resend,
    runs::{Runs, Which},
    service::Engine,
    settings::AllFailed,
};
use crate::{
    aim::{Aim, Target},
    classify::{Classify, Next, Verdict},
    lane::{Local, Seen},
    machine::Nanos,
    models::Registry,
    outcome::RequestEnd,
    trace::Trace,
};
use pin_project::pin_project;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::{Sleep, sleep_until};
use tower::Service;

type Kept<Req, R> = <R as Resend<Req>>::Request;
type Out<Req, A, R> = <A as Aim<Kept<Req, R>>>::Request;
type Client<Req, C, A, R> = <C as Clients<Out<Req, A, R>>>::Service;
type ClientFuture<Req, C, A, R> = <Client<Req, C, A, R> as Service<Out<Req, A, R>>>::Future;
type ClientResponse<Req, C, A, R> = <Client<Req, C, A, R> as Service<Out<Req, A, R>>>::Response;
type ClientError<Req, C, A, R> = <Client<Req, C, A, R> as Service<Out<Req, A, R>>>::Error;
type RunsOf<Req, C, A, R> = Runs<Client<Req, C, A, R>, ClientFuture<Req, C, A, R>>;
type LastOf<Req, C, A, R> = Last<ClientResponse<Req, C, A, R>, ClientError<Req, C, A, R>>;

/// The future of one request. Dropping it drops every attempt under way.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<Req, C, A, K, R, F>
where
    R: Resend<Req>,
    A: Aim<R::Request>,
    C: Clients<A::Request>,
{
    engine: Local<Engine<A, K, R, F>>,
    /// As of the call, until the first poll, if it was known then.
    registry: Option<Seen<Registry>>,
    clients: C,
    trace: Trace,
    /// The request, until its last copy has been sent.
    request: Option<R::Request>,
    /// For a request that carries none.
    plan: Option<Arc<Plan>>,
    /// `None` before the first poll.
    journey: UnderWay,
    /// The attempts under way.
    #[pin]
    runs: RunsOf<Req, C, A, R>,
    hedge: Hedging,
    /// While it waits for somebody to be back.
    patience: Option<Pin<Box<Sleep>>>,
    /// What the last attempt came to, in case nobody else can be asked.
    last: Option<Box<LastOf<Req, C, A, R>>>,
}

/// A request, which ends with whoever drops it if it has not ended before.
struct UnderWay(Option<Journey>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(journey) = &self.0 {
            journey.dropped();
        }
    }
}

impl<Req, C, A, K, R, F> ResponseFuture<Req, C, A, K, R, F>
where
    R: Resend<Req>,
    A: Aim<R::Request>,
    C: Clients<A::Request>,
{
    pub(crate) fn new(
        engine: Local<Engine<A, K, R, F>>,
        registry: Option<Seen<Registry>>,
        clients: C,
        request: R::Request,
        plan: Option<Arc<Plan>>,
    ) -> Self {
        Self {
            engine,
            registry,
            clients,
            trace: Trace::request(),
            request: Some(request),
            plan,
            journey: UnderWay(None),
            runs: Runs::none(),
            hedge: Hedging::default(),
            patience: None,
            last: None,
        }
    }
}

impl<Req, C, A, K, R, F> Future for ResponseFuture<Req, C, A, K, R, F>
where
    R: Resend<Req>,
    A: Aim<R::Request>,
    C: Clients<A::Request>,
    K: Classify<ClientResponse<Req, C, A, R>, ClientError<Req, C, A, R>>,
    F: Finish<ClientResponse<Req, C, A, R>>,
{
    type Output = Result<F::Response, Error<ClientError<Req, C, A, R>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.as_mut().drive(cx);
        if polled.is_ready() {
            *self.project().trace = Trace::none();
        }
        polled
    }
}

impl<Req, C, A, K, R, F> ResponseFuture<Req, C, A, K, R, F>
where
    R: Resend<Req>,
    A: Aim<R::Request>,
    C: Clients<A::Request>,
    K: Classify<ClientResponse<Req, C, A, R>, ClientError<Req, C, A, R>>,
    F: Finish<ClientResponse<Req, C, A, R>>,
{
    /// Not inlined: its result is then written to where it stays.
    #[inline(never)]
    fn drive(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        let mut this = self.project();
        let _entered = this.trace.enter();
        let engine = &**this.engine;
        let settings = &engine.settings;
        let mut clock = Clock::default();
        let under_way = &mut this.journey.0;
        if under_way.is_none() {
            let registry = engine.models.latest(this.registry.take());
            let now = clock.now(&registry);
            let own = this.request.as_ref().and_then(|request| engine.resend.plan(request));
            let plan = own.as_ref().or(this.plan.as_deref());
            let key = plan.and_then(Plan::get_key);
            let registry = if let Some(key) = key { engine.models.local_for(key, now) } else { registry };
            if let Err(error) = Journey::begin(under_way, registry, settings, plan, this.trace, now) {
                this.trace.ends(RequestEnd::BadPlan, None, 0);
                engine.models.read(|registry| registry.meters().request(RequestEnd::BadPlan, 0));
                return Poll::Ready(Err(Error::Plan(error)));
            }
        }
        'request: loop {
            // Taken only by the end of the request, after which nobody polls.
            let journey = under_way.as_mut().filter(|journey| !journey.is_over()).expect("polled after completion");
            if this.runs.are_none() {
                let now = clock.now(journey.registry());
                let choice = this.request.as_ref().and_then(|_| journey.choose(settings, now));
                let Some(choice) = choice else {
                    // Once a client's own error has come up, there is something to tell.
                    let waits = if this.last.is_none() { journey.waits_until(settings, now) } else { None };
                    if let Some(until) = waits {
                        let until = journey.registry().instant(until).unwrap_or_else(Registry::far_future);
                        let sleep = this.patience.get_or_insert_with(|| Box::pin(sleep_until(until)));
                        ready!(sleep.as_mut().poll(cx));
                        *this.patience = None;
                        clock.tick();
                        continue 'request;
                    }
                    return Poll::Ready(end(engine, journey, this.last.take().map(|last| *last), now));
                };
                *this.hedge = Hedging::default();
                let client = this.clients.client(Target::new(journey.registry(), choice.model));
                this.runs.as_mut().begin(choice, client);
            }
            let mut came = None;
            let (choice, which, event) = 'event: {
                for which in [Which::First, Which::Second] {
                    let Some(run) = this.runs.as_mut().get(which) else { continue };
                    let choice = run.choice;
                    let told = Told { last: &mut *this.last, came: &mut came };
                    let polled = run.drive::<Req, A, K, R, F>(engine, journey, this.request, told, &mut clock, cx);
                    if let Poll::Ready(event) = polled {
                        break 'event (choice, which, event);
                    }
                }
                // Not more than two at a time.
                let beside = this.runs.choice(Which::Second).is_some();
                let Some(run) = this.runs.as_mut().get(Which::First).filter(|_| !beside) else { return Poll::Pending };
                let waits = run.hedge(engine, journey, this.request.is_some(), this.hedge);
                if !waits || this.hedge.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                clock.tick();
                let now = clock.now(journey.registry());
                let choice = this.request.as_ref().and_then(|_| journey.choose_beside(settings, now));
                let Some(choice) = choice else {
                    *this.hedge = Hedging::Never;
                    return Poll::Pending;
                };
                let client = this.clients.client(Target::new(journey.registry(), choice.model));
                this.runs.as_mut().begin_beside(choice, client);
                continue 'request;
            };
            let now = clock.now(journey.registry());
            let Some(Came { result, verdict }) = &mut came else {
                this.runs.as_mut().clear(which);
                match event {
                    Event::Ended | Event::Skipped | Event::NotReady(None) => continue,
                    Event::NotReady(Some(error)) => {
                        this.last.get_or_insert_with(|| Box::new(Last::Error(error)));
                        continue;
                    }
                    Event::Aim(error) => {
                        let served = journey.unanswered(RequestEnd::NotAimed, now);
                        return Poll::Ready(Err(Error::Aim { error, served }));
                    }
                }
            };
            let answered = matches!(result, Some(Ok(_)));
            let other = this.runs.choice(which.other());
            let replays = journey.hear(&choice, verdict, answered, settings, now);
            let whole = this.request.as_ref().map(|request| engine.resend.whole(request));
            if whole == Some(false) {
                journey.cannot_fail_over();
            }
            // Somebody else is being asked already, or can be.
            let goes_on = replays && (whole == Some(true) || other.is_some());
            if !goes_on {
                *this.request = None;
                if let Some(other) = other {
                    let lost = this.runs.as_mut().get(which.other()).and_then(Run::lose);
                    journey.lost(other, lost.is_some(), now);
                    this.runs.as_mut().clear(which.other());
                    if let Some(permit) = lost {
                        permit.permit.lost(now);
                    }
                }
            }
            let ends = answered && !goes_on && !engine.is_all_failed_error(verdict);
            if ends {
                journey.answered(choice.model, verdict.next == Next::TryNext, now);
            }
            match came {
                Some(Came { result: Some(Ok(response)), verdict }) if ends => {
                    let permit = this.runs.as_mut().take_permit(which, now);
                    this.runs.as_mut().clear(which);
                    let served = journey.take_served();
                    return Poll::Ready(Ok(engine.finish.finish(Answer { response, verdict, permit, served })));
                }
                Some(Came { result, verdict }) => {
                    if let Some(held) = this.runs.as_mut().permit(which) {
                        held.permit.settle(&verdict, answered, now);
                    }
                    this.runs.as_mut().clear(which);
                    *this.last = Some(Box::new(match result {
                        Some(Ok(response)) => Last::Response(choice.model, response, verdict),
                        Some(Err(error)) => Last::Error(error),
                        None => Last::TimedOut,
                    }));
                }
                None => unreachable!("it has come to something"),
            }
            if let (Some(other), true) = (other, goes_on) {
                journey.goes_on_beside(other);
            }
        }
    }
}

impl<A, K, R, F> Engine<A, K, R, F> {
    fn is_all_failed_error(&self, verdict: &Verdict) -> bool {
        verdict.next == Next::TryNext && self.settings.all_failed == AllFailed::Error
    }
}

/// Nobody is left to be asked: what the last one said is the answer.
fn end<A, K, R, F, Res, E>(
    engine: &Engine<A, K, R, F>,
    journey: &mut Journey,
    last: Option<Last<Res, E>>,
    now: Nanos,
) -> Result<F::Response, Error<E>>
where
    F: Finish<Res>,
{
    let out_of_time = journey.out_of_time(now);
    match last {
        Some(Last::Response(_, _, verdict)) if engine.is_all_failed_error(&verdict) => {
            Err(Error::AllFailed { served: journey.unanswered(RequestEnd::AllFailed, now) })
        }
        Some(Last::Response(model, response, verdict)) => {
            journey.answered(model, true, now);
            Ok(engine.finish.finish(Answer { response, verdict, permit: None, served: journey.take_served() }))
        }
        Some(Last::Error(error)) => Err(Error::Upstream { error, served: journey.unanswered(RequestEnd::Error, now) }),
        Some(Last::TimedOut) => Err(Error::TimedOut { served: journey.unanswered(RequestEnd::TimedOut, now) }),
        None if out_of_time => Err(Error::TimedOut { served: journey.unanswered(RequestEnd::TimedOut, now) }),
        None => Err(Error::Unavailable { served: journey.unanswered(RequestEnd::Unavailable, now) }),
    }
}

impl<Req, C, A, K, R, F> fmt::Debug for ResponseFuture<Req, C, A, K, R, F>
where
    R: Resend<Req>,
    A: Aim<R::Request>,
    C: Clients<A::Request>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
