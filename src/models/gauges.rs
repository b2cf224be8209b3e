//! What a recorder is told of breakers, and of what changes by itself.

#[cfg(feature = "metrics")]
use super::{Models, Snapshot};
use super::{
    Registry,
    changes::{Changes, Who},
};
#[cfg(feature = "metrics")]
use crate::{
    machine::breaker::{Breaker, State},
    metrics::{ModelGauges, ProviderGauges, is_heard, show_build_info},
};

#[cfg(feature = "metrics")]
impl Models {
    /// Sets the gauges that change by themselves; see [`metrics`](crate::metrics). To be called before each scrape, or every
    /// few seconds. It costs as much as a [`snapshot`](Self::snapshot), and some 100 ns for each gauge.
    ///
    /// Of keys it shows nothing: called on what [`for_key`](Self::for_key) gives, it is as if called on the root.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_failover::Models;
    ///
    /// async fn upkeep(models: Models) {
    ///     loop {
    ///         models.record_metrics();
    ///         tokio::time::sleep(Duration::from_secs(5)).await;
    ///     }
    /// }
    /// ```
    pub fn record_metrics(&self) {
        if !is_heard() {
            return;
        }
        show_build_info();
        let registry = self.family.root();
        let (snapshot, meters) = (Snapshot::take(&registry), registry.meters());
        for (index, shown) in snapshot.models.iter().enumerate() {
            meters.model(index).set(&ModelGauges {
                score: shown.score,
                in_flight: shown.in_flight,
                cooldown: shown.breaker.cooldown.unwrap_or_default(),
            });
            registry.show_state(index);
        }
        for (index, shown) in snapshot.providers.iter().enumerate() {
            meters.provider(index).set(&ProviderGauges {
                budget_left: shown.budget_left,
                cooldown: shown.breaker.cooldown.unwrap_or_default(),
            });
            registry.show_provider_state(index);
        }
    }
}

impl Registry {
    /// Counts what has changed, once all of it has. The states shown are those without a key.
    pub(super) fn count_changes(&self, changes: &Changes) {
        for (who, changed) in changes {
            let Some(transition) = &changed.transition else { continue };
            match who {
                Who::Model(index) => {
                    self.meters().changed(*index, transition);
                    #[cfg(feature = "metrics")]
                    self.show_state(*index);
                }
                Who::Provider(index) => {
                    self.meters().provider_changed(*index, transition);
                    #[cfg(feature = "metrics")]
                    self.show_provider_state(*index);
                }
            }
        }
    }
}

#[cfg(feature = "metrics")]
impl Registry {
    fn show_state(&self, index: usize) {
        if self.key.is_none() && is_heard() {
            show(&self.models[index].breaker, |state| self.meters().model(index).set_state(Some(state)));
        }
    }

    fn show_provider_state(&self, index: usize) {
        if self.key.is_none() && is_heard() {
            show(&self.providers[index].breaker, |state| self.meters().provider(index).set_state(Some(state)));
        }
    }
}

/// Shows the state that it has. Somebody else may change it, and show that, meanwhile: whoever comes last has looked after
/// everybody else. (A few times will do: the next change, or the next scrape, shows it again.)
#[cfg(feature = "metrics")]
fn show(breaker: &Breaker, set: impl Fn(State)) {
    for _ in 0..8 {
        let state = breaker.state();
        set(state);
        if breaker.state() == state {
            return;
        }
    }
}
