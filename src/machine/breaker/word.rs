//! Generation, shadow flag and state in one word, so that admitting a call while closed is one load.

use super::State;

#[derive(Clone, Copy)]
pub(super) struct Word {
    pub(super) generation: u64,
    pub(super) shadow: bool,
    pub(super) state: State,
}

impl Word {
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
