//! The future of one request: one candidate after another, each through readiness, permit, aim, call and verdict.

use super::{
    clients::Clients,
    error::Error,
    finish::{Answer, Finish, OpenPermit},
    journey::{Choice, Journey},
    plan::Plan,
    resend::Resend,
    service::Engine,
    settings::AllFailed,
};
use crate::{
    aim::{Aim, Target},
    classify::{Aimed, Classify, Next, Ours, Verdict},
    lane::Lane,
    machine::Nanos,
    models::Registry,
    permit::Permit,
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
type StepOf<Req, C, A, R> = Step<Client<Req, C, A, R>, ClientFuture<Req, C, A, R>>;
type LastOf<Req, C, A, R> = Last<ClientResponse<Req, C, A, R>, ClientError<Req, C, A, R>>;

/// The future of one request. Dropping it drops the attempt under way.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<Req, C, A, K, R, F>
where
    R: Resend<Req>,
    A: Aim<R::Request>,
    C: Clients<A::Request>,
{
    engine: Lane<Engine<A, K, R, F>>,
    clients: C,
    /// The request, until its last copy has been sent.
    request: Option<R::Request>,
    /// For a request that carries none.
    plan: Option<Arc<Plan>>,
    /// `None` before the first poll and after the end.
    journey: Option<Journey>,
    #[pin]
    step: StepOf<Req, C, A, R>,
    /// What the last attempt came to, in case nobody else can be asked.
    last: Option<LastOf<Req, C, A, R>>,
    #[pin]
    timer: Timer,
}

#[pin_project(project = StepProj)]
enum Step<S, Fut> {
    /// Nobody is being asked.
    Choose,
    /// Waiting for a client to become ready.
    Ready(Choice, S),
    /// Waiting for a model to answer.
    Call(Choice, #[pin] Fut, Ours, Option<Permit>),
}

/// What an attempt came to that did not end the request.
enum Last<Res, E> {
    Response(usize, Res, Verdict),
    Error(E),
    TimedOut,
}

impl<Req, C, A, K, R, F> ResponseFuture<Req, C, A, K, R, F>
where
    R: Resend<Req>,
    A: Aim<R::Request>,
    C: Clients<A::Request>,
{
    pub(crate) fn new(
        engine: Lane<Engine<A, K, R, F>>,
        clients: C,
        request: R::Request,
        plan: Option<Arc<Plan>>,
    ) -> Self {
        Self {
            engine,
            clients,
            request: Some(request),
            plan,
            journey: None,
            step: Step::Choose,
            last: None,
            timer: Timer::default(),
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let engine = &**this.engine;
        let settings = &engine.settings;
        let mut clock = Clock::default();
        if this.journey.is_none() {
            let registry = engine.models.local();
            let now = clock.now(&registry);
            let plan = this.request.as_ref().and_then(|request| engine.resend.plan(request));
            let plan = plan.or_else(|| this.plan.as_deref().cloned());
            match Journey::begin(registry, settings, plan, now) {
                Ok(journey) => *this.journey = Some(journey),
                Err(error) => return Poll::Ready(Err(Error::Plan(error))),
            }
        }
        loop {
            // Taken only by the end of the request, after which nobody polls.
            let journey = this.journey.as_mut().expect("polled after completion");
            match this.step.as_mut().project() {
                StepProj::Choose => {
                    let now = clock.now(journey.registry());
                    let choice = this.request.as_ref().and_then(|_| journey.choose(settings, now));
                    let Some(choice) = choice else {
                        let journey = this.journey.take().expect("present");
                        return Poll::Ready(end(engine, journey, this.last.take(), now));
                    };
                    let client = this.clients.client(Target::new(journey.registry(), choice.model));
                    this.timer.as_mut().disarm();
                    this.step.set(Step::Ready(choice, client));
                }
                StepProj::Ready(choice, client) => {
                    let choice = *choice;
                    match client.poll_ready(cx) {
                        Poll::Pending => {
                            let ends = || journey.readiness_ends(choice, settings);
                            ready!(this.timer.as_mut().poll(journey.registry(), ends, cx));
                            clock.tick();
                            journey.not_ready(choice, clock.now(journey.registry()));
                            this.step.set(Step::Choose);
                            continue;
                        }
                        Poll::Ready(Err(error)) => {
                            journey.not_ready(choice, clock.now(journey.registry()));
                            this.last.get_or_insert(Last::Error(error));
                            this.step.set(Step::Choose);
                            continue;
                        }
                        Poll::Ready(Ok(())) => {}
                    }
                    let now = clock.now(journey.registry());
                    let Some(mut permit) = journey.admit(choice, settings, now) else {
                        this.step.set(Step::Choose);
                        continue;
                    };
                    let request = this.request.take().expect("kept while candidates are chosen");
                    if Journey::may_send_again(choice, settings) {
                        *this.request = engine.resend.keep(&request);
                        if this.request.is_none() {
                            journey.cannot_fail_over();
                        }
                    }
                    let target = Target::new(journey.registry(), choice.model);
                    let request = match engine.aim.aim(target, request) {
                        Ok(request) => request,
                        Err(_) if journey.not_aimed(choice, now) => {
                            this.step.set(Step::Choose);
                            continue;
                        }
                        Err(error) => {
                            drop(permit);
                            let journey = this.journey.take().expect("present");
                            this.step.set(Step::Choose);
                            return Poll::Ready(Err(Error::Aim { error, served: journey.unanswered(now) }));
                        }
                    };
                    let ours = engine.aim.ours(target, &request);
                    let future = permit.call(|| client.call(request));
                    journey.sent(choice);
                    *this.last = None;
                    this.timer.as_mut().disarm();
                    this.step.set(Step::Call(choice, future, ours, Some(permit)));
                }
                StepProj::Call(choice, future, ours, held) => {
                    let choice = *choice;
                    let permit = held.as_mut().expect("held until the call has ended");
                    let polled = permit.enter(|| future.poll(cx));
                    let target = Target::new(journey.registry(), choice.model);
                    let aimed = Aimed { model: target.model(), ours: *ours };
                    let (result, mut verdict) = match polled {
                        Poll::Ready(result) => {
                            clock.tick();
                            permit.waiting(false);
                            let verdict = engine.classify.classify(aimed, result.as_ref());
                            let kept = this.request.as_ref().filter(|_| result.is_err());
                            let fault = kept.and_then(|request| engine.resend.callers_fault(request));
                            (Some(result), fault.unwrap_or(verdict))
                        }
                        Poll::Pending => {
                            permit.waiting(true);
                            let again = || {
                                let executed = engine.classify.timed_out(aimed).executed;
                                this.request.is_some() && settings.replay.allows(executed)
                            };
                            let probe = permit.is_probe();
                            let ends = || journey.attempt_ends(choice, settings, again(), probe);
                            ready!(this.timer.as_mut().poll(journey.registry(), ends, cx));
                            clock.tick();
                            (None, engine.classify.timed_out(aimed))
                        }
                    };
                    let permit = held.take().expect("held until the call has ended");
                    let now = clock.now(journey.registry());
                    let answered = matches!(result, Some(Ok(_)));
                    let replays = journey.hear(choice, &mut verdict, answered, settings, now);
                    let whole = this.request.as_ref().map(|request| engine.resend.whole(request));
                    if whole == Some(false) {
                        journey.cannot_fail_over();
                    }
                    let goes_on = replays && whole == Some(true);
                    match result {
                        Some(Ok(response)) if !goes_on && !engine.is_all_failed_error(&verdict) => {
                            let journey = this.journey.take().expect("present");
                            let served = journey.answered(choice.model, verdict.next == Next::TryNext, now);
                            this.step.set(Step::Choose);
                            let permit = Some(OpenPermit { permit, now });
                            return Poll::Ready(Ok(engine.finish.finish(Answer { response, verdict, permit, served })));
                        }
                        Some(Ok(response)) => {
                            permit.settle(&verdict, true, now);
                            *this.last = Some(Last::Response(choice.model, response, verdict));
                        }
                        Some(Err(error)) => {
                            permit.settle(&verdict, false, now);
                            *this.last = Some(Last::Error(error));
                        }
                        None => {
                            permit.settle(&verdict, false, now);
                            *this.last = Some(Last::TimedOut);
                        }
                    }
                    if !goes_on {
                        *this.request = None;
                    }
                    this.step.set(Step::Choose);
                }
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
    journey: Journey,
    last: Option<Last<Res, E>>,
    now: Nanos,
) -> Result<F::Response, Error<E>>
where
    F: Finish<Res>,
{
    let out_of_time = journey.out_of_time(now);
    match last {
        Some(Last::Response(_, _, verdict)) if engine.is_all_failed_error(&verdict) => {
            Err(Error::AllFailed { served: journey.unanswered(now) })
        }
        Some(Last::Response(model, response, verdict)) => {
            let served = journey.answered(model, true, now);
            Ok(engine.finish.finish(Answer { response, verdict, permit: None, served }))
        }
        Some(Last::Error(error)) => Err(Error::Upstream { error, served: journey.unanswered(now) }),
        Some(Last::TimedOut) => Err(Error::TimedOut { served: journey.unanswered(now) }),
        None if out_of_time => Err(Error::TimedOut { served: journey.unanswered(now) }),
        None => Err(Error::Unavailable { served: journey.unanswered(now) }),
    }
}

/// Reads the clock once for everything that happens at one moment.
#[derive(Default)]
struct Clock(Option<Nanos>);

impl Clock {
    fn now(&mut self, registry: &Registry) -> Nanos {
        *self.0.get_or_insert_with(|| registry.now())
    }

    /// Time has passed since the last reading.
    fn tick(&mut self) {
        self.0 = None;
    }
}

/// One timer for all attempts, made at the first wait.
#[pin_project]
#[derive(Default)]
struct Timer {
    #[pin]
    sleep: Option<Sleep>,
    armed: bool,
}

impl Timer {
    fn disarm(self: Pin<&mut Self>) {
        *self.project().armed = false;
    }

    /// Waits until the time that `ends` says, which is asked once.
    fn poll(self: Pin<&mut Self>, registry: &Registry, ends: impl FnOnce() -> Nanos, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !*this.armed {
            let at = registry.instant(ends()).unwrap_or_else(Registry::far_future);
            match this.sleep.as_mut().as_pin_mut() {
                Some(sleep) => sleep.reset(at),
                None => this.sleep.set(Some(sleep_until(at))),
            }
            *this.armed = true;
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx),
            None => Poll::Pending,
        }
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
