//! The engine: ordered fallback over models, inside one deadline.

mod clients;
mod error;
mod finish;
mod future;
mod journey;
mod layer;
mod plan;
mod resend;
mod served;
mod service;
mod settings;

pub use clients::{ByProvider, Clients, One};
pub use error::Error;
#[cfg(feature = "http")]
pub use finish::HttpFinish;
pub use finish::{Answer, Finish, OpenPermit, Plain, WithServed};
pub use future::ResponseFuture;
pub use layer::{FailoverBuilder, FailoverLayer};
#[cfg(feature = "http")]
pub use layer::{HttpFailover, HttpFailoverLayer};
pub use plan::{Plan, PlanError};
#[cfg(feature = "http")]
pub use resend::HttpResend;
pub use resend::{Cloned, Resend, SendOnce};
pub use served::{Candidate, Fate, Served, Skip, Tried, Whose};
pub use service::Failover;
pub use settings::{ATTEMPT_TIMEOUT, DEADLINE, MAX_ATTEMPTS};
pub use settings::{AllFailed, Replay};
