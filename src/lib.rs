//! tower-failover
pub mod aim;
pub mod circuit_breaker;
pub mod classify;
pub mod failover;
mod lane;
mod machine;
mod model;
mod models;
mod permit;
mod sync;

pub use crate::{
    aim::{Aim, AimError, AimFn, Attempt, Attempts, Target, aim},
    circuit_breaker::{CircuitBreaker, CircuitBreakerLayer},
    classify::{
        Aimed, Charge, Classify, ClassifyFn, Cooldown, Executed, Next, OkOrErr, Ours, Verdict, Vouches, Why, classify,
    },
    failover::{
        AllFailed, Answer, ByProvider, Candidate, Clients, Cloned, Error, Failover, FailoverBuilder, FailoverLayer,
        Fate, Finish, One, OpenPermit, Plain, Plan, PlanError, Replay, Resend, SendOnce, Served, Skip, Tried, Whose,
        WithServed,
    },
    machine::{
        breaker::{BreakerConfig, Cause, Command, State, Trip},
        budget::Budget,
        config::ConfigError,
    },
    model::{Model, Provider},
    models::{
        BreakerSnapshot, ModelSnapshot, Models, ModelsBuilder, ProviderSnapshot, Snapshot, UnknownName, WindowSnapshot,
    },
};

#[cfg(feature = "http")]
pub use crate::{
    aim::{BodyAim, HttpAim, JsonError, JsonFields, Untouched, WholeBody},
    classify::{AsError, BoxedError, Change, HttpClassify, Row, StdError, retry_after},
    failover::{HttpFailover, HttpFailoverLayer, HttpFinish, HttpResend},
    model::Credential,
};

/// Every default that is not a constant of the type it belongs to.
pub mod defaults {
    pub use crate::{
        failover::{ATTEMPT_TIMEOUT, DEADLINE, MAX_ATTEMPTS},
        machine::{
            cooldown::{
                COOLDOWN_JITTER, FIRST_COOLDOWN, LONGEST_GROWING_COOLDOWN, MAX_COOLDOWN, MIN_COOLDOWN,
                PROVIDER_LIMIT_WINDOW,
            },
            plan::{LONGEST_RESERVE, RESERVE_SHARE},
        },
        models::LAST_RESORT_EVERY,
        permit::{HANG_FLOOR, HANG_MULTIPLE},
    };
}
