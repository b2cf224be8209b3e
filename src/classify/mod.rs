//! What one result means: [`Verdict`], and [`Classify`], which gives it.
//!
//! A verdict speaks on three separate axes: what to do [next](Next), whom it [credits or blames](Charge), and
//! whether the upstream may have [executed](Executed) the request. Keeping them apart is what lets a 429 move on to
//! the next model without counting as a failure, and a 500 count as a failure without being sent twice.

#[cfg(feature = "http")]
mod error_code;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod opening;
#[cfg(feature = "http")]
mod retry_after;
#[cfg(feature = "http")]
pub(crate) mod transport;

#[cfg(feature = "http")]
pub use self::{
    http::{Change, HttpClassify, Row},
    opening::{Begins, Opening},
    retry_after::retry_after,
    transport::{AsError, BoxedError, StdError},
};

use crate::model::Model;
use std::{borrow::Cow, fmt, time::Duration};

/// What to do with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Next {
    /// Hand it to the caller.
    Return,
    /// Ask the next model, as far as the replay policy allows; without one, hand it to the caller.
    TryNext,
}

/// Whom a result credits or blames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Charge {
    /// A success of the model, and of its provider.
    Success,
    /// Nobody: the caller's own fault, a rate limit, or a local shortage. The provider is credited with an answer.
    Nobody,
    /// The model has failed. For its provider this is evidence, which counts together with another model's.
    Model,
    /// The model has failed, unless another model failed the same way on this very request: then the request may be
    /// the poison, and nobody is blamed.
    ModelOrRequest,
    /// The provider has failed: nobody could be reached behind it. Neutral for the model.
    Provider,
    /// The provider refused the credential that this crate wrote. From the second in a row on the provider has failed.
    Credential,
}

/// Whether the upstream may have executed the request, which decides whether it may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Executed {
    /// It has not.
    No,
    /// It may have: the answer got lost, or speaks of an error inside.
    Maybe,
    /// It has.
    Yes,
}

/// How long to leave alone whoever the result came from: the provider for [`Charge::Provider`], else the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cooldown {
    /// For as long as it asked, at least 100 ms and at most one hour; up to 10 % of jitter is added.
    For(Duration),
    /// It did not say: 1 s, doubled with each further one up to 60 s, until a success.
    Growing,
}

/// What an answer proves of the provider that it came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Vouches {
    /// The provider works: credits it while closed, and closes it while half-open.
    Fully,
    /// The provider is alive: credits it while closed, and leaves a half-open one undecided.
    Alive,
    /// The provider is back, if it was away: closes a half-open one, and leaves a closed one as it is.
    Back,
    /// Nothing.
    No,
}

/// Why a verdict is what it is, for log lines and [`Served`](crate::Served).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// A plain answer.
    Answered,
    /// An answer with this HTTP status.
    Status(u16),
    /// An answer with this HTTP status, whose body names this code of an error.
    Code(u16, Box<str>),
    /// An error in the stream, before anything else, with its code if it has one.
    ErrorEvent(Option<Box<str>>),
    /// The attempt ran out of time.
    TimedOut,
    /// No connection: DNS, TCP or TLS. With the error's own words.
    Connect(Box<str>),
    /// Something broke after the request had been sent. With the error's own words.
    Broken(Box<str>),
    /// This machine ran out of something: file descriptors, local ports. With the error's own words.
    Local(Box<str>),
    /// Another model, asked beside it, was faster.
    Lost,
    /// What a classifier of your own says.
    Other(Cow<'static, str>),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered => f.write_str("answered"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Code(status, code) => write!(f, "status {status}, {code}"),
            Self::ErrorEvent(Some(code)) => write!(f, "error in the stream: {code}"),
            Self::ErrorEvent(None) => f.write_str("error in the stream"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::Broken(error) => write!(f, "broken off: {error}"),
            Self::Local(error) => write!(f, "local shortage: {error}"),
            Self::Lost => f.write_str("another was faster"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// What one result means.
///
/// ```
/// use tower_failover::{Charge, Executed, Next, Verdict};
///
/// let mut verdict = Verdict::model_failed();
/// assert_eq!((verdict.next, verdict.charge, verdict.executed), (Next::TryNext, Charge::Model, Executed::Maybe));
///
/// // "Our quota for this model is used up": ask the next one, blame nobody, nothing was executed.
/// verdict.charge = Charge::Nobody;
/// verdict.executed = Executed::No;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// What to do.
    pub next: Next,
    /// Whom it credits or blames.
    pub charge: Charge,
    /// How long to leave the blamed one alone, if it should be.
    pub cooldown: Option<Cooldown>,
    /// Whether the upstream may have executed the request.
    pub executed: Executed,
    /// What the answer proves of the provider. By default an `Err` proves nothing, and any `Ok` vouches fully; but that
    /// of a failed model is evidence against a provider that is closed.
    pub vouches: Option<Vouches>,
    /// Why.
    pub why: Why,
}

impl Verdict {
    const fn new(next: Next, charge: Charge, executed: Executed, why: Why) -> Self {
        Self { next, charge, cooldown: None, executed, vouches: None, why }
    }

    /// Return it; a success; executed.
    pub const fn success() -> Self {
        Self::new(Next::Return, Charge::Success, Executed::Yes, Why::Answered)
    }

    /// Return it, for it is the caller's own fault; blame nobody; not executed.
    pub const fn callers_fault() -> Self {
        Self::new(Next::Return, Charge::Nobody, Executed::No, Why::Answered)
    }

    /// Try the next model; blame this one; maybe executed.
    pub const fn model_failed() -> Self {
        Self::new(Next::TryNext, Charge::Model, Executed::Maybe, Why::Answered)
    }

    /// Try the next model; blame the provider; not executed.
    pub const fn provider_failed() -> Self {
        Self::new(Next::TryNext, Charge::Provider, Executed::No, Why::Answered)
    }

    /// Try the next model; blame nobody; not executed; leave this one alone for a while. A half-open model's probe
    /// has failed, and nothing is proved of the provider.
    pub const fn limited(cooldown: Cooldown) -> Self {
        let mut verdict = Self::new(Next::TryNext, Charge::Nobody, Executed::No, Why::Answered);
        verdict.cooldown = Some(cooldown);
        verdict.vouches = Some(Vouches::No);
        verdict
    }

    /// The attempt ran out of time: try the next model; blame this one; maybe executed.
    pub const fn timed_out() -> Self {
        Self::new(Next::TryNext, Charge::Model, Executed::Maybe, Why::TimedOut)
    }

    /// Whether no answer came, or none that could be used, although its head may have come.
    pub(crate) fn broke_off(&self) -> bool {
        self.vouches == Some(Vouches::No) && matches!(self.charge, Charge::Model | Charge::ModelOrRequest)
    }

    /// The same, for this reason.
    #[must_use]
    pub fn because(mut self, why: Why) -> Self {
        self.why = why;
        self
    }
}

/// What the crate itself wrote into a request, which decides what some answers mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Ours {
    /// The model's name.
    pub name: bool,
    /// The provider's credential.
    pub credential: bool,
}

/// The attempt that a result came from.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Aimed<'a> {
    /// The model that was asked.
    pub model: &'a Model,
    /// What the crate wrote into the request.
    pub ours: Ours,
}

/// Gives the verdict on a result.
///
/// Runs once for each attempt, outside every lock. [`HttpClassify`] knows HTTP; [`OkOrErr`] is the plainest one;
/// [`classify`] makes one of a closure.
pub trait Classify<Res, E> {
    /// What this result means.
    fn classify(&self, aimed: Aimed<'_>, result: Result<&Res, &E>) -> Verdict;

    /// What it means that an attempt ran out of time. Default: [`Verdict::timed_out`].
    ///
    /// Also asked when an attempt begins to wait, if its time depends on whether another model could be asked after it.
    fn timed_out(&self, aimed: Aimed<'_>) -> Verdict {
        let _ = aimed;
        Verdict::timed_out()
    }
}

/// Every `Ok` is a success; every `Err` is the model's failure, after which the next is tried.
#[derive(Debug, Clone, Copy, Default)]
pub struct OkOrErr;

impl<Res, E: fmt::Display> Classify<Res, E> for OkOrErr {
    fn classify(&self, _: Aimed<'_>, result: Result<&Res, &E>) -> Verdict {
        match result {
            Ok(_) => Verdict::success(),
            Err(error) => Verdict::model_failed().because(Why::Broken(error.to_string().into())),
        }
    }
}

/// A classifier made of a closure.
///
/// ```
/// use tower_failover::{classify, Verdict};
///
/// let classify = classify(|result: Result<&String, &std::io::Error>| match result {
///     Ok(text) if text.is_empty() => Verdict::model_failed(),
///     Ok(_) => Verdict::success(),
///     Err(_) => Verdict::provider_failed(),
/// });
/// ```
pub fn classify<Res, E, F>(f: F) -> ClassifyFn<F>
where
    F: Fn(Result<&Res, &E>) -> Verdict,
{
    ClassifyFn(f)
}

/// Made by [`classify`].
#[derive(Clone, Copy)]
pub struct ClassifyFn<F>(F);

impl<F> fmt::Debug for ClassifyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClassifyFn")
    }
}

impl<Res, E, F> Classify<Res, E> for ClassifyFn<F>
where
    F: Fn(Result<&Res, &E>) -> Verdict,
{
    fn classify(&self, _: Aimed<'_>, result: Result<&Res, &E>) -> Verdict {
        (self.0)(result)
    }
}
