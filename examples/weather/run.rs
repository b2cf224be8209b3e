//! Every case under every policy, on all cores.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    chance::Chance,
    criteria::{Criterion, criteria},
    measure::Figures,
    policy::Policy,
    scenario::{Ms, Scenario},
    upstream::Case,
};

/// What is run.
pub struct Choice {
    pub scenarios: Vec<Scenario>,
    pub timeouts: Vec<Ms>,
    pub seeds: u64,
    /// Besides the clairvoyant, which always runs.
    pub policies: Vec<Policy>,
}

/// One case, and what each policy came to.
pub struct Outcome {
    pub case: Case,
    /// The clairvoyant's last.
    pub figures: Vec<(Policy, Figures)>,
    /// Of the policy that is judged.
    pub criteria: Vec<Criterion>,
}

/// One scenario with one attempt timeout, under all seeds.
pub type Seeds = Vec<Outcome>;

/// The policy that is held against the clairvoyant: `failover`, if it runs.
pub fn judged(policies: &[Policy]) -> Policy {
    let failover = policies.iter().find(|policy| **policy == Policy::Failover);
    *failover.or(policies.first()).unwrap_or(&Policy::Clairvoyant)
}

/// Runs all, scenario by scenario and timeout by timeout.
pub fn run(choice: Choice) -> Vec<Seeds> {
    let Choice { scenarios, timeouts, seeds, policies } = choice;
    let chances: Vec<_> = (0..seeds).map(|seed| Arc::new(Chance::new(seed))).collect();
    let mut cases = Vec::new();
    for scenario in scenarios.into_iter().map(Arc::new) {
        for timeout in &timeouts {
            for (seed, chance) in (0..).zip(&chances) {
                let (scenario, chance) = (Arc::clone(&scenario), Arc::clone(chance));
                cases.push(Case { scenario, timeout: *timeout, seed, chance });
            }
        }
    }
    let mut outcomes = on_all_cores(&cases, |case| outcome(case, &policies)).into_iter();
    let groups = cases.len() / chances.len().max(1);
    (0..groups).map(|_| outcomes.by_ref().take(chances.len()).collect()).collect()
}

/// The seed that is shown, the same for every policy, so that they are compared in the same weather: the one at which
/// the judged policy breaks most of what has to hold, or is nearest to it. So what holds in all that is shown holds for
/// every seed.
pub fn worst(seeds: &Seeds) -> &Outcome {
    let severity = |outcome: &&Outcome| Criterion::severity(&outcome.criteria);
    let by_severity = |a: &&Outcome, b: &&Outcome| severity(a).partial_cmp(&severity(b)).expect("no NaN");
    seeds.iter().max_by(by_severity).expect("at least one seed")
}

fn outcome(case: &Case, policies: &[Policy]) -> Outcome {
    let limit = Policy::Clairvoyant.run(case);
    let figures_of = |policy: Policy| (policy, Figures::of(case, &policy.run(case), &limit));
    let mut figures: Vec<_> = policies.iter().copied().map(figures_of).collect();
    figures.push((Policy::Clairvoyant, Figures::of(case, &limit, &limit)));
    let of = |policy| figures.iter().find(|(other, _)| *other == policy).map(|(_, figures)| figures).expect("was run");
    let criteria = criteria(&case.scenario.limits, of(judged(policies)), of(Policy::Clairvoyant));
    Outcome { case: case.clone(), figures, criteria }
}

/// The results in the order of the items.
fn on_all_cores<T: Sync, U: Send>(items: &[T], work: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<U>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let worker = || {
        while let Some((item, result)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).zip(results.get(index))
        } {
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(work(item));
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| _ = scope.spawn(worker));
    });
    let results = results.into_iter().map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
    results.map(|result| result.expect("every item was worked on")).collect()
}
