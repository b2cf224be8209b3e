//! Generation, shadow flag and state in one word, so that admitting a call while closed is one load.

use super::State;

#[derive(Clone, Copy)]
pub(super) struct Word {
    pub(super) generation: u64,
    pub(super) shadow: bool,
    pub(super) state: State,
}

impl Word {
    /// That of a breaker which has never changed.
    pub(super) const NEW: Self = Self { generation: 0, shadow: false, state: State::Closed };

    /// Whether this word says closed.
    #[inline]
    pub(super) fn is_closed(word: u64) -> bool {
        word & 7 == 0
    }

    /// Whether this word says open, and that of no shadow.
    #[inline]
    pub(super) fn is_open(word: u64) -> bool {
        word & 15 == 1
    }

    #[inline]
    pub(super) fn unpack(word: u64) -> Self {
        let state = match word & 7 {
            0 => State::Closed,
            1 => State::Open,
            2 => State::HalfOpen,
            3 => State::ForcedOpen,
            _ => State::Disabled,
        };
        Self { generation: word >> 4, shadow: word & 8 != 0, state }
    }

    pub(super) fn pack(self) -> u64 {
        let state = match self.state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
            State::ForcedOpen => 3,
            State::Disabled => 4,
        };
        (self.generation << 4) | (u64::from(self.shadow) << 3) | state
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_a_word_is_what_it_says() {
        use State::{Closed, Disabled, ForcedOpen, HalfOpen, Open};
        for state in [Closed, Open, HalfOpen, ForcedOpen, Disabled] {
            for (generation, shadow) in [(0, false), (0, true), (7, false), (7, true)] {
                let word = Word { generation, shadow, state }.pack();
                let unpacked = Word::unpack(word);
                assert_eq!((unpacked.generation, unpacked.shadow, unpacked.state), (generation, shadow, state));
                assert_eq!(Word::is_closed(word), state == Closed);
                assert_eq!(Word::is_open(word), state == Open && !shadow);
            }
        }
    }
}
