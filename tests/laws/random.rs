//! Law 14 and what goes with it, over random worlds: whatever the models do, what `Served` says is what happened.

use crate::{
    events::told,
    logs::listen,
    metrics::{Tally, hear},
    mirror::Mirror,
    script::{Act, Fault, Readiness},
    world::{Fickle, Outcome, Req, Setup, World, attempts, fates, ms, secs, setup, tried, trips_after},
};
use futures::{
    FutureExt, StreamExt,
    future::{join_all, poll_fn},
    stream::FuturesUnordered,
};
use proptest::prelude::*;
use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::{Arc, atomic::AtomicU32},
    task::Poll,
    time::Duration,
};
use tokio::time::{Instant, advance, sleep, timeout};
use tower::{Service, ServiceExt};
use tower_failover::{
    AllFailed, BreakerConfig, Budget, Charge, Command, Error, Executed, Fate, Hedge, Next, Plan, Replay, Served,
    WhenUnavailable, Why,
};

/// What a random world is made of.
#[derive(Debug, Clone)]
struct Chance {
    providers: Vec<usize>,
    acts: Vec<Vec<Act>>,
    readiness: Vec<Readiness>,
    costs: Vec<u32>,
    trips: u32,
    tokens: u32,
    max_attempts: u32,
    attempt_timeout: Duration,
    deadline: Duration,
    replay: Replay,
    all_failed: AllFailed,
    /// When the next model is asked beside one, and whether it is beside a probe.
    hedge: Option<Hedge>,
    protect: bool,
    /// Whether it is known how long each model usually takes.
    known: bool,
    /// Whether degraded models, and those on a ramp, keep their places.
    listed: bool,
    /// For what share of the deadline to wait for somebody to be back.
    waits: Option<f64>,
    /// How many calls may be under way, of each model and of each provider.
    bounds: Vec<Option<u32>>,
    provider_bounds: Vec<Option<u32>>,
    requests: Vec<Wish>,
}

/// One request: when it comes, how long its caller waits and after how many polls that ends, whether it can be sent again,
/// and its plan.
#[derive(Debug, Clone)]
struct Wish {
    after: Duration,
    patience: Option<Duration>,
    polls: Option<usize>,
    fickle: Option<(u32, u32)>,
    first: Option<usize>,
    fallback: bool,
    max_cost: Option<u32>,
}

fn act() -> impl Strategy<Value = Act> {
    let wait = prop_oneof![Just(ms(0)), Just(ms(0)), (1_u64..400).prop_map(|n| ms(n * 10))];
    let status = prop::sample::select(vec![
        200_u16, 200, 200, 400, 401, 402, 404, 429, 500, 500, 503, 503, 601, 602, 603, 204, 205,
    ]);
    let fault = prop::sample::select(vec![Fault::Reset, Fault::Connect, Fault::Local]);
    prop_oneof![
        8 => (status, wait.clone()).prop_map(|(status, wait)| Act::Answer(status, wait)),
        3 => (fault, wait).prop_map(|(fault, wait)| Act::Fail(fault, wait)),
        1 => Just(Act::Hang),
        1 => Just(Act::PanicInCall),
        1 => Just(Act::PanicInPoll),
    ]
}

fn readiness() -> impl Strategy<Value = Readiness> {
    prop_oneof![
        6 => Just(Readiness::Now),
        2 => (1_u64..300).prop_map(|n| Readiness::After(ms(n * 10))),
        1 => Just(Readiness::Never),
        1 => Just(Readiness::Fails),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let after = prop_oneof![Just(ms(0)), (0_u64..500).prop_map(|n| ms(n * 30))];
    let patience = prop::option::weighted(0.2, (0_u64..600).prop_map(|n| ms(n * 10)));
    (
        after,
        patience,
        prop::option::weighted(0.1, 1_usize..8),
        prop::option::weighted(0.2, (prop::sample::select(vec![u32::MAX, u32::MAX, 0xD]), any::<u32>())),
        prop::option::weighted(0.3, 0_usize..6),
        prop::bool::weighted(0.9),
        prop::option::weighted(0.2, 0_u32..8),
    )
        .prop_map(|(after, patience, polls, fickle, first, fallback, max_cost)| Wish {
            after,
            patience,
            polls,
            fickle,
            first,
            fallback,
            max_cost,
        })
}

fn chance() -> impl Strategy<Value = Chance> {
    (1_usize..=6).prop_flat_map(|models| {
        let world = (
            prop::collection::vec(0_usize..3, models),
            prop::collection::vec(prop::collection::vec(act(), 1..5), models),
            prop::collection::vec(readiness(), 3),
            prop::collection::vec(0_u32..4, models),
            1_u32..4,
            0_u32..3,
            prop::collection::vec(prop::option::weighted(0.3, 1_u32..3), models),
            prop::collection::vec(prop::option::weighted(0.2, 1_u32..4), 3),
        );
        let hedge = prop_oneof![
            4 => (0_u64..300).prop_map(|n| Hedge::after(ms(n * 10 + 1))),
            1 => (1_u32..100, 0_u64..20).prop_map(|(share, n)| {
                Hedge::quantile(f64::from(share) / 100.0).at_least(ms(n * 10))
            }),
        ];
        let policy = (
            prop::option::of(hedge),
            any::<bool>(),
            prop::bool::weighted(0.2),
            any::<bool>(),
            prop::option::weighted(0.4, prop::sample::select(vec![0.1, 0.5, 1.0])),
        );
        let settings = (
            1_u32..6,
            (1_u64..800).prop_map(|n| ms(n * 10)),
            (1_u64..1_500).prop_map(|n| ms(n * 10)),
            prop::sample::select(vec![Replay::Maybe, Replay::Maybe, Replay::NotExecuted]),
            prop::sample::select(vec![AllFailed::LastResponse, AllFailed::LastResponse, AllFailed::Error]),
            policy,
            prop::collection::vec(wish(), 1..9),
        );
        (world, settings).prop_map(|(world, settings)| {
            let (providers, acts, readiness, costs, trips, tokens, bounds, provider_bounds) = world;
            let (max_attempts, attempt_timeout, deadline, replay, all_failed, policy, requests) = settings;
            let (hedge, protect, known, listed, waits) = policy;
            Chance {
                providers,
                acts,
                readiness,
                costs,
                trips,
                tokens,
                max_attempts,
                attempt_timeout,
                deadline,
                replay,
                all_failed,
                hedge,
                protect,
                known,
                listed,
                waits,
                bounds,
                provider_bounds,
                requests,
            }
        })
    })
}

const PROVIDERS: [&str; 3] = ["a", "b", "c"];

impl Chance {
    fn model(&self, index: usize) -> String {
        format!("m{index}")
    }

    fn world(&self) -> World {
        let names: Vec<String> =
            (0..self.providers.len()).map(|i| format!("{}@{}", self.model(i), PROVIDERS[self.providers[i]])).collect();
        let (costs, chance) = (self.costs.clone(), self.clone());
        let breaker: BreakerConfig = trips_after(self.trips);
        let budget = Budget::default().burst(f64::from(self.tokens)).per_second(0.1);
        let described: Setup = setup(&names.join(" "))
            .breakers(breaker.clone())
            .provider_breakers(breaker)
            .providers(|provider| {
                let index = PROVIDERS.iter().position(|name| *name == provider.name()).expect("one of them");
                let provider = provider.budget(budget.clone());
                match self.provider_bounds[index] {
                    Some(most) => provider.max_in_flight(most),
                    None => provider,
                }
            })
            .models(|model| {
                let index: usize = model.name()[1..].parse().expect("a number");
                let model = model.cost(f64::from(costs[index]));
                match self.bounds[index] {
                    Some(most) => model.max_in_flight(most),
                    None => model,
                }
            })
            .layer(move |layer| {
                let layer = match chance.hedge {
                    Some(hedge) => layer.hedge(hedge),
                    None => layer,
                };
                let layer = if chance.listed { layer.in_listed_order() } else { layer };
                let layer = match chance.waits {
                    Some(share) => layer.when_unavailable(WhenUnavailable::Wait(share)),
                    None => layer,
                };
                layer
                    .protect_probes(chance.protect)
                    .max_attempts(chance.max_attempts)
                    .attempt_timeout(chance.attempt_timeout)
                    .deadline(chance.deadline)
                    .replay(chance.replay)
                    .all_failed(chance.all_failed)
            });
        described.build()
    }

    /// Makes it known how long a success takes, and then as the script has it. How many calls that took.
    async fn begin(&self, world: &World) -> usize {
        if self.known {
            for index in 0..self.acts.len() {
                world.script.play(&self.model(index), [Act::Answer(200, ms(5))]);
                for _ in 0..20 {
                    let _ = world.send(Plan::new().models([self.model(index)]).deadline(secs(10))).await;
                }
            }
        }
        let begun = world.script.calls().len();
        world.script.forget();
        for (index, acts) in self.acts.iter().enumerate() {
            world.script.play(&self.model(index), acts.clone());
        }
        for (provider, readiness) in PROVIDERS.iter().zip(&self.readiness) {
            world.script.ready(provider, *readiness);
        }
        begun
    }

    /// Whether there may be two attempts at once.
    fn hedges(&self) -> bool {
        self.hedge.is_some() || self.protect
    }

    /// The models that a request may be sent to, in order.
    fn order(&self, wish: &Wish) -> Vec<String> {
        let mut order: Vec<usize> = (0..self.providers.len()).collect();
        if let Some(first) = wish.first.filter(|first| *first < order.len()) {
            order.retain(|index| *index != first);
            order.insert(0, first);
        }
        order.truncate(if wish.fallback { usize::MAX } else { 1 });
        order.into_iter().map(|index| self.model(index)).collect()
    }

    fn request(&self, number: u32, wish: &Wish) -> Req {
        let mut plan = Plan::new();
        if let Some(first) = wish.first.filter(|first| *first < self.providers.len()) {
            plan = plan.first(self.model(first));
        }
        if !wish.fallback {
            plan = plan.no_fallback();
        }
        if let Some(cost) = wish.max_cost {
            plan = plan.max_cost(f64::from(cost));
        }
        let fickle = |(keeps, whole)| Arc::new(Fickle { keeps: AtomicU32::new(keeps), whole: AtomicU32::new(whole) });
        Req { number, plan: Some(plan), fickle: wish.fickle.map(fickle) }
    }

    fn provider(&self, model: &str) -> usize {
        self.providers[model[1..].parse::<usize>().expect("a number")]
    }

    /// The caller's order, but that a provider in trouble comes after all others.
    fn deferred(&self, order: &[String], served: &Served) -> Vec<String> {
        let trouble_of = |model: &str| {
            served.candidates().any(|candidate| {
                let Fate::Tried(tried) = candidate.fate else { return false };
                candidate.model.name() == model
                    && (matches!(tried.charge, Charge::Provider | Charge::Credential) || is_no_answer(&tried.why))
            })
        };
        let mut troubled = HashSet::new();
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for model in order {
            if troubled.contains(&self.provider(model)) {
                later.push(model.clone());
                continue;
            }
            if trouble_of(model) {
                troubled.insert(self.provider(model));
            }
            now.push(model.clone());
        }
        now.extend(later);
        now
    }

    fn check(&self, world: &World, number: u32, wish: &Wish, outcome: Outcome, took: Duration) {
        let (status, served) = match &outcome {
            Ok((status, served)) => (Some(*status), served),
            Err(error) => (None, error.served().expect("an error that tells")),
        };
        let context = || format!("{outcome:?}");

        // Law 14: called exactly as often as `Served` reports, in that order; never more than the maximum.
        let calls: Vec<_> = world.script.calls().into_iter().filter(|call| call.request == number).collect();
        let called: Vec<String> = calls.iter().map(|call| call.model.clone()).collect();
        if self.hedges() {
            let sorted = |mut names: Vec<String>| {
                names.sort_unstable();
                names
            };
            assert_eq!(sorted(called.clone()), sorted(tried(served)), "{}", context());
        } else {
            assert_eq!(called, tried(served), "{}", context());
        }
        assert_eq!(served.attempts(), called.len());
        assert!(called.len() <= self.max_attempts as usize, "{}", context());
        let at_once = usize::from(self.hedges() && self.replay == Replay::Maybe);
        assert!(calls.iter().all(|call| call.beside <= at_once), "two at a time at most: {}", context());

        // Each candidate once, of those that it may be sent to.
        let names: Vec<String> = fates(served).into_iter().map(|(name, _)| name).collect();
        let order = self.order(wish);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{}", context());
        assert!(names.iter().all(|name| order.contains(name)), "{}", context());

        // In the caller's order, but for law 21; and when nobody could be asked, for who is back meanwhile (which
        // takes waiting for a client) and for last resorts.
        let tried = attempts(served);
        let waits = |readiness: &Readiness| matches!(readiness, Readiness::After(_) | Readiness::Never);
        let may_wait = self.waits.is_some() || self.readiness.iter().any(waits);
        if tried.iter().any(|tried| tried.last_resort) {
            assert!(tried.iter().all(|tried| tried.last_resort), "{}", context());
            assert_eq!(names.len(), order.len(), "{}", context());
        } else if !self.hedges() && self.listed && !(may_wait && called.len() <= 1 && names.len() == order.len()) {
            assert_eq!(names, self.deferred(&order, served)[..names.len()], "{}", context());
        }

        // Law 15.
        assert!(took <= self.deadline + ms(2), "{took:?}: {}", context());
        assert!(served.elapsed().abs_diff(took) <= ms(2), "{took:?}: {}", context());
        assert!(tried.iter().all(|tried| tried.took <= self.attempt_timeout + ms(2)), "{}", context());

        // Law 18.
        let cost = |executed| -> f64 {
            let costs = served.candidates().filter_map(|candidate| match candidate.fate {
                Fate::Tried(tried) if tried.executed == executed => Some(candidate.model.get_cost()),
                _ => None,
            });
            costs.sum::<f64>() + 0.0
        };
        assert_eq!((served.cost(), served.cost_at_risk()), (cost(Executed::Yes), cost(Executed::Maybe)));
        if let Some(most) = wish.max_cost {
            assert!(served.cost() + served.cost_at_risk() <= f64::from(most), "{}", context());
        }
        if self.replay == Replay::NotExecuted {
            let before_the_last = &tried[..tried.len().saturating_sub(1)];
            assert!(before_the_last.iter().all(|tried| tried.executed == Executed::No), "{}", context());
        }

        // Nobody is sent more calls than it may have.
        for call in &calls {
            let (index, provider) = (call.model[1..].parse::<usize>().expect("a number"), self.provider(&call.model));
            let of_model = call.among.iter().filter(|model| **model == call.model).count();
            let of_provider = call.among.iter().filter(|model| self.provider(model) == provider).count();
            assert!(self.bounds[index].is_none_or(|most| of_model < most as usize), "{call:?}: {}", context());
            let most = self.provider_bounds[provider];
            assert!(most.is_none_or(|most| of_provider < most as usize), "{call:?}: {}", context());
        }

        // What the caller gets is what the last one said.
        match (&outcome, status) {
            (Ok(_), Some(status)) => {
                let verdict = crate::world::judge(Ok(&status));
                assert_eq!(served.all_failed(), verdict.next == Next::TryNext, "{}", context());
                let last = called.last().expect("somebody answered");
                let by = served.model().expect("somebody answered").name();
                assert!(by == last || self.hedges(), "{}", context());
                assert!(called.iter().any(|called| called == by), "{}", context());
                assert_eq!(tried.last().expect("tried").executed, verdict.executed);
                assert!(!(served.all_failed() && self.all_failed == AllFailed::Error), "{}", context());
            }
            (Err(error), _) => {
                assert!(served.model().is_none(), "{}", context());
                assert!(!served.all_failed() || served.attempts() > 0, "{}", context());
                match error {
                    Error::Unavailable { .. } => {
                        assert!(called.is_empty(), "{}", context());
                        assert_eq!(names.len(), order.len(), "a reason for each: {}", context());
                        let soonest = fates(served).into_iter().filter_map(|(_, skip)| skip?.retry_in()).min();
                        let told = error.retry_in();
                        assert_eq!(told.is_some(), soonest.is_some());
                        assert!(told <= soonest && told >= soonest.map(|wait| wait.saturating_sub(took)));
                        assert!(may_wait || took == ms(0), "at once: {took:?} {}", context());
                    }
                    Error::Upstream { error: Fault::Unready, .. } | Error::TimedOut { .. } => {}
                    Error::Upstream { .. } | Error::AllFailed { .. } => assert!(!called.is_empty(), "{}", context()),
                    other => panic!("{other:?}"),
                }
            }
            _ => unreachable!("an answer has a status"),
        }
    }

    async fn run(&self) {
        let world = self.world();
        let (mut events, mut mirror) = (world.models.events(), Mirror::default());
        let begun = self.begin(&world).await;
        // Failed attempts: as the log has them, as is known of them, and whether that is all.
        let (lines, failed, all_known) = (Rc::new(Cell::new(0)), Cell::new(0), Cell::new(true));
        let heard = lines.clone();
        let listening = listen(move |line| heard.set(heard.get() + usize::from(line.contains("attempt failed"))));
        // And as a recorder has them that is installed only now.
        let hearing = hear();
        let (tally, models) = (RefCell::new(Tally::default()), world.models.snapshot().models.into_iter());
        let states = models.map(|model| (model.name, model.breaker.state)).collect();
        let one = |number: u32, wish: Wish| {
            let (world, mut engine, failed, all_known) = (&world, world.engine.clone(), &failed, &all_known);
            let tally = &tally;
            async move {
                sleep(wish.after).await;
                let begun = Instant::now();
                let mut call = Box::pin(engine.ready().await.expect("always ready").call(self.request(number, &wish)));
                let (patience, mut polls) = (wish.patience.unwrap_or(Duration::from_secs(86_400)), 0);
                let call = poll_fn(|cx| {
                    polls += 1;
                    match call.as_mut().poll(cx) {
                        Poll::Pending if wish.polls == Some(polls) => Poll::Ready(None),
                        polled => polled.map(Some),
                    }
                });
                // One that panics or that nobody waits for says nothing, and leaves nothing.
                match AssertUnwindSafe(timeout(patience, call)).catch_unwind().await {
                    Ok(Ok(Some(outcome))) => {
                        failed.set(failed.get() + failures(&outcome));
                        tally.borrow_mut().hear(Some(&outcome));
                        self.check(world, number, &wish, outcome, begun.elapsed());
                    }
                    _ => {
                        tally.borrow_mut().hear(None);
                        all_known.set(false);
                    }
                }
                let most = 60 + begun.elapsed().as_millis() as usize / 90;
                assert!(polls <= most, "{polls} polls in {:?}", begun.elapsed());
                assert!(begun.elapsed() <= self.deadline + ms(2), "nothing is pending for ever");
                assert!(world.script.calls().len() <= 9 * 6);
            }
        };
        let wishes = self.requests.iter().cloned();
        wishes
            .zip(0..)
            .map(|(wish, number)| one(number, wish))
            .collect::<FuturesUnordered<_>>()
            .collect::<Vec<()>>()
            .await;
        drop(listening);
        tally.into_inner().check(&world, &hearing.told(), &states);
        drop(hearing);
        assert!(lines.get() >= failed.get(), "{} lines for {} failures", lines.get(), failed.get());
        assert!(lines.get() == failed.get() || !all_known.get(), "{} lines, {} failures", lines.get(), failed.get());

        assert_eq!(world.script.unready_calls(), 0, "law 11");
        assert_eq!(world.script.under_way(), 0, "law 13");
        let snapshot = world.models.snapshot();
        mirror.hear(&told(&mut events));
        mirror.check(&world.models);
        assert!(snapshot.models.iter().all(|model| model.in_flight == 0 && model.breaker.probes == 0), "{snapshot:?}");
        assert!(snapshot.providers.iter().all(|provider| provider.breaker.probes == 0), "{snapshot:?}");
        let calls: u64 = snapshot.models.iter().map(|model| model.calls).sum();
        assert_eq!(calls, (begun + world.script.calls().len()) as u64);
        let left = |provider: &tower_failover::ProviderSnapshot| provider.budget_left;
        assert!(snapshot.providers.iter().all(|provider| (0.0..=f64::from(self.tokens)).contains(&left(provider))));

        // Whatever happened, once all is well again somebody answers within seconds, cooldowns apart.
        for index in 0..self.providers.len() {
            world.script.play(&self.model(index), [200]);
        }
        for provider in PROVIDERS {
            world.script.ready(provider, Readiness::Now);
        }
        let cooling = |name: &str| world.breaker(name).cooldown.is_some();
        let all_cooling = (0..self.providers.len())
            .all(|index| cooling(&self.model(index)) || cooling(&format!("@{}", PROVIDERS[self.providers[index]])));
        advance(secs(1)).await;
        assert!(all_cooling || matches!(world.ask().await, Ok((200, _))), "{:?}", world.models.snapshot());

        // And every place is free.
        for index in 0..self.providers.len() {
            let (name, provider) = (self.model(index), self.providers[index]);
            world.command(&name, Command::Reset);
            world.command(&format!("@{}", PROVIDERS[provider]), Command::Reset);
            world.script.play(&name, [Act::Answer(200, ms(1))]);
            let most = [self.bounds[index], self.provider_bounds[provider]].into_iter().flatten().min().unwrap_or(1);
            let plan = Plan::new().models([name]).deadline(secs(60));
            let outcomes = join_all((0..most).map(|_| world.send(plan.clone()))).await;
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        }
    }
}

/// How many of the attempts failed.
fn failures(outcome: &Outcome) -> usize {
    let (served, good) = match outcome {
        Ok((_, served)) => (served, !served.all_failed()),
        Err(error) => (error.served().expect("an error that tells"), false),
    };
    let lost = attempts(served).iter().filter(|tried| tried.why == Why::Lost).count();
    served.attempts() - lost - usize::from(good)
}

/// Whether an attempt ended without an answer that blames its model. (`judge` has a connection that failed, and a
/// local shortage, blame it for nothing.)
fn is_no_answer(why: &tower_failover::Why) -> bool {
    matches!(why, tower_failover::Why::TimedOut | tower_failover::Why::Broken(_))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn law_14_whatever_happens_served_tells_what_happened(chance in chance()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(chance.run());
    }
}
