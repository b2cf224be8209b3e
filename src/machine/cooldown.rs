//! How long to leave a model alone that says 429 and does not say for how long.

use super::{Nanos, nanos};
use std::time::Duration;

/// The first wait without a `Retry-After`: 1 s. It doubles with each further one.
pub const FIRST_COOLDOWN: Duration = Duration::from_secs(1);
/// The longest wait that doubling reaches: 60 s.
pub const LONGEST_GROWING_COOLDOWN: Duration = Duration::from_secs(60);
/// The shortest cooldown that a server can ask for: 100 ms. What lies below, the past included, is this.
pub const MIN_COOLDOWN: Duration = Duration::from_millis(100);
/// The longest cooldown that a server can ask for: one hour. What lies above is this.
pub const MAX_COOLDOWN: Duration = Duration::from_secs(3600);
/// How long a provider is left alone that answers 402 to a credential of ours: 60 s.
pub const UNPAID_COOLDOWN: Duration = Duration::from_secs(60);
/// How much the end of a cooldown is jittered at most, as a share of its length: 10 %.
pub const COOLDOWN_JITTER: f64 = 0.1;
/// Two models of one provider limited within this time block the provider: 2 s.
pub const PROVIDER_LIMIT_WINDOW: Duration = Duration::from_secs(2);

/// How long to wait: as long as was asked, or longer each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    For(Duration),
    Growing,
}

/// The doubling wait of one upstream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Growing {
    level: u32,
}

impl Growing {
    pub(crate) fn next(&mut self) -> Duration {
        let wait = FIRST_COOLDOWN.saturating_mul(1 << self.level.min(16)).min(LONGEST_GROWING_COOLDOWN);
        self.level = self.level.saturating_add(1);
        wait
    }

    pub(crate) fn reset(&mut self) {
        self.level = 0;
    }
}

/// Which model of a provider was limited last, and when.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Limited {
    last: Option<(usize, Nanos)>,
}

impl Limited {
    /// Notes a limited model. True when another one was limited within the window, with no success between.
    pub(crate) fn note(&mut self, model: usize, now: Nanos) -> bool {
        let both = self
            .last
            .is_some_and(|(other, at)| other != model && now.saturating_sub(at) <= nanos(PROVIDER_LIMIT_WINDOW));
        self.last = Some((model, now));
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_from_one_second_to_sixty() {
        let mut growing = Growing::default();
        let waits: Vec<u64> = (0..8).map(|_| growing.next().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        growing.reset();
        assert_eq!(growing.next().as_secs(), 1);
        let mut long = Growing { level: u32::MAX };
        assert_eq!(long.next().as_secs(), 60);
    }

    #[test]
    fn two_models_within_two_seconds_and_not_one_twice() {
        const SECOND: Nanos = 1_000_000_000;
        let mut limited = Limited::default();
        assert!(!limited.note(1, 0));
        assert!(!limited.note(1, SECOND));
        assert!(limited.note(2, 3 * SECOND));
        assert!(!limited.note(1, 5 * SECOND + 1));
    }
}
