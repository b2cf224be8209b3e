//! One attempt: readiness, permit, aim, call, and the timer over all of it; and when another may start beside it.

use super::{
    finish::OpenPermit,
    journey::{Choice, Journey},
    resend::Resend,
    service::Engine,
};
use crate::{
    aim::{Aim, AimError, Target},
    classify::{Aimed, Classify, Ours, Verdict},
    machine::Nanos,
    models::Registry,
    permit::{Closed, Permit},
    trace::Trace,
};
use pin_project::pin_project;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::{Sleep, sleep_until};
use tower::Service;

/// One attempt.
#[pin_project(project = RunProj)]
pub(super) struct Run<S, Fut> {
    pub(super) choice: Choice,
    #[pin]
    stage: Stage<S, Fut>,
    /// Of the call, once it is made, until somebody takes it.
    permit: Option<OpenPermit>,
    #[pin]
    timer: Timer,
    /// Of the call, once it is made.
    trace: Trace,
}

#[pin_project(project = StageProj)]
enum Stage<S, Fut> {
    /// Waiting for a client to become ready.
    Ready(S),
    /// Waiting for a model to answer.
    Call(#[pin] Fut, Ours),
    Ended,
}

/// When another attempt may start beside the first.
#[derive(Default)]
pub(super) enum Hedging {
    /// Not known before the first wait for an answer.
    #[default]
    Unknown,
    Never,
    At(Pin<Box<Sleep>>),
    /// From now on, whenever there is none.
    Now,
}

/// How an attempt ended.
pub(super) enum Event<E> {
    /// It was not made, because its client did not become ready, with the client's error if it gave one.
    NotReady(Option<E>),
    /// It was not made.
    Skipped,
    /// The request cannot be aimed.
    Aim(AimError),
    /// It was made, and has come to something. Its permit stays where it is: moving it is what costs.
    Ended,
}

/// What an attempt that was made came to. Large, so that it is written to where it stays.
pub(super) struct Came<Res, E> {
    /// `None` if it ran out of time.
    pub(super) result: Option<Result<Res, E>>,
    pub(super) verdict: Verdict,
}

/// What an attempt came to that did not end the request.
pub(super) enum Last<Res, E> {
    Response(usize, Res, Verdict),
    Error(E),
    TimedOut,
}

/// Where to tell what an attempt came to.
pub(super) struct Told<'a, Res, E> {
    /// Of the one before, which is over when this one is made.
    pub(super) last: &'a mut Option<Box<Last<Res, E>>>,
    /// Of this one, once it has ended, if it was made.
    pub(super) came: &'a mut Option<Came<Res, E>>,
}

impl<S, Fut> Run<S, Fut> {
    pub(super) fn new(choice: Choice, client: S) -> Self {
        Self { choice, stage: Stage::Ready(client), permit: None, timer: Timer::default(), trace: Trace::none() }
    }

    /// Where the permit of its call is.
    pub(super) fn permit(self: Pin<&mut Self>) -> &mut Option<OpenPermit> {
        self.project().permit
    }

    /// The permit of its call, if that was made.
    pub(super) fn lose(self: Pin<&mut Self>) -> Option<OpenPermit> {
        let this = self.project();
        let permit = this.permit.take()?;
        this.trace.lost();
        Some(permit)
    }

    /// Drives one attempt to its end: readiness, permit, aim, call.
    pub(super) fn drive<Req, A, K, R, F>(
        self: Pin<&mut Self>,
        engine: &Engine<A, K, R, F>,
        journey: &mut Journey,
        kept: &mut Option<R::Request>,
        told: Told<'_, S::Response, S::Error>,
        clock: &mut Clock,
        cx: &mut Context<'_>,
    ) -> Poll<Event<S::Error>>
    where
        R: Resend<Req>,
        A: Aim<R::Request>,
        S: Service<A::Request, Future = Fut>,
        Fut: Future<Output = Result<S::Response, S::Error>>,
        K: Classify<S::Response, S::Error>,
    {
        let mut this = self.project();
        let choice = *this.choice;
        let settings = &engine.settings;
        loop {
            match this.stage.as_mut().project() {
                StageProj::Ready(client) => {
                    match client.poll_ready(cx) {
                        Poll::Pending => {
                            let ends = || journey.readiness_ends(choice, settings);
                            ready!(this.timer.as_mut().poll(journey.registry(), ends, cx));
                            clock.tick();
                            journey.not_ready(choice, clock.now(journey.registry()));
                            return Poll::Ready(Event::NotReady(None));
                        }
                        Poll::Ready(Err(error)) => {
                            journey.not_ready(choice, clock.now(journey.registry()));
                            return Poll::Ready(Event::NotReady(Some(error)));
                        }
                        Poll::Ready(Ok(())) => {}
                    }
                    let now = clock.now(journey.registry());
                    // It may have been cut short since this attempt was chosen, by one that goes on beside it.
                    if journey.has_sent() && kept.as_ref().is_some_and(|request| !engine.resend.whole(request)) {
                        *kept = None;
                        journey.not_whole(choice, now);
                        return Poll::Ready(Event::Skipped);
                    }
                    let closed = Closed::find(journey.registry(), choice.model);
                    if closed.is_none() {
                        let Some(permit) = journey.admit(&choice, settings, now) else {
                            return Poll::Ready(Event::Skipped);
                        };
                        *this.permit = Some(OpenPermit { permit, now });
                    }
                    let request = kept.take().expect("kept while candidates are chosen");
                    if Journey::may_send_again(choice, settings) {
                        *kept = engine.resend.keep(&request);
                        if kept.is_none() {
                            journey.cannot_fail_over();
                        }
                    }
                    let target = Target::new(journey.registry(), choice.model);
                    let request = match engine.aim.aim(target, request) {
                        Ok(request) => request,
                        Err(_) if journey.not_aimed(choice, now) => return Poll::Ready(Event::Skipped),
                        Err(error) => return Poll::Ready(Event::Aim(error)),
                    };
                    let ours = engine.aim.ours(target, &request);
                    *this.trace = journey.trace(&choice);
                    let entered = this.trace.enter();
                    let future = match (closed, &mut *this.permit) {
                        (Some(closed), place) => {
                            let calling = closed.begin(journey.registry(), choice.model, now);
                            let future = client.call(request);
                            *place = Some(OpenPermit { permit: calling.end(), now });
                            future
                        }
                        (None, Some(held)) => call_with(&mut held.permit, client, request),
                        (None, None) => unreachable!("admitted above"),
                    };
                    drop(entered);
                    journey.sent(&choice);
                    *told.last = None;
                    this.timer.as_mut().disarm();
                    this.stage.set(Stage::Call(future, ours));
                }
                StageProj::Call(future, ours) => {
                    let permit = &mut this.permit.as_mut().expect("held until the call has ended").permit;
                    let entered = this.trace.enter();
                    let polled = permit.enter(|| future.poll(cx));
                    drop(entered);
                    let target = Target::new(journey.registry(), choice.model);
                    let aimed = Aimed { model: target.model(), ours: *ours };
                    let came = match polled {
                        Poll::Ready(result) => {
                            clock.tick();
                            permit.waits_no_longer();
                            let verdict = engine.classify.classify(aimed, result.as_ref());
                            let kept = kept.as_ref().filter(|_| result.is_err());
                            let fault = kept.and_then(|request| engine.resend.callers_fault(request));
                            told.came.insert(Came { result: Some(result), verdict: fault.unwrap_or(verdict) })
                        }
                        Poll::Pending => {
                            permit.waiting(true);
                            let again = || {
                                let executed = engine.classify.timed_out(aimed).executed;
                                kept.is_some() && settings.replay.allows(executed)
                            };
                            let ends = || journey.attempt_ends(choice, settings, again, permit.is_probe());
                            ready!(this.timer.as_mut().poll(journey.registry(), ends, cx));
                            clock.tick();
                            told.came.insert(Came { result: None, verdict: engine.classify.timed_out(aimed) })
                        }
                    };
                    this.trace.came_to(&came.verdict);
                    this.stage.set(Stage::Ended);
                    return Poll::Ready(Event::Ended);
                }
                StageProj::Ended => unreachable!("nobody polls an attempt that has ended"),
            }
        }
    }

    /// Whether another attempt is or will be due beside this one, which waits for its answer.
    pub(super) fn hedge<A, K, R, F>(
        self: Pin<&mut Self>,
        engine: &Engine<A, K, R, F>,
        journey: &Journey,
        kept: bool,
        hedge: &mut Hedging,
    ) -> bool {
        let this = self.project();
        let Some(OpenPermit { permit, .. }) = this.permit else { return false };
        if let Hedging::Unknown = hedge {
            let at = if kept { journey.hedge_at(*this.choice, &engine.settings, permit.is_probe()) } else { None };
            *hedge = match at {
                Some(at) => {
                    let at = journey.registry().instant(at).unwrap_or_else(Registry::far_future);
                    Hedging::At(Box::pin(sleep_until(at)))
                }
                None => Hedging::Never,
            };
        }
        !matches!(hedge, Hedging::Never)
    }
}

/// The call of a permit that is not simply one of closed breakers.
#[cold]
fn call_with<S: Service<Req>, Req>(permit: &mut Permit, client: &mut S, request: Req) -> S::Future {
    permit.call(|| client.call(request))
}

impl Hedging {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Unknown | Self::Never => Poll::Pending,
            Self::Now => Poll::Ready(()),
            Self::At(sleep) => {
                ready!(sleep.as_mut().poll(cx));
                *self = Self::Now;
                Poll::Ready(())
            }
        }
    }
}

/// Reads the clock once for everything that happens at one moment.
#[derive(Default)]
pub(super) struct Clock(Option<Nanos>);

impl Clock {
    #[inline]
    pub(super) fn now(&mut self, registry: &Registry) -> Nanos {
        match self.0 {
            Some(now) => now,
            None => *self.0.insert(registry.now()),
        }
    }

    /// Time has passed since the last reading.
    pub(super) fn tick(&mut self) {
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
