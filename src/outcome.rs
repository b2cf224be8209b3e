//! How requests, attempts and bodies end, and why candidates are skipped: in one word each, of which there are few. For
//! metrics and spans, which must not grow with what upstreams say.

use crate::classify::{Charge, Verdict, Why};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$of])* $variant,)+ }

        impl $name {
            #[cfg(feature = "metrics")]
            pub(crate) const COUNT: usize = [$($word),+].len();

            #[cfg_attr(not(feature = "metrics"), allow(dead_code))]
            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// How a request of the engine ends.
    RequestEnd {
        Answered = "answered",
        AllFailed = "all_failed",
        Error = "error",
        TimedOut = "timed_out",
        Unavailable = "unavailable",
        NotAimed = "not_aimed",
        BadPlan = "bad_plan",
        Dropped = "dropped",
    }
}

words! {
    /// How an attempt ends, at its head or its commit.
    AttemptEnd {
        Success = "success",
        Neutral = "neutral",
        Limited = "limited",
        Failure = "failure",
        ProviderFailure = "provider_failure",
        Unauthorized = "unauthorized",
        TimedOut = "timed_out",
        Lost = "lost",
        Dropped = "dropped",
        Hung = "hung",
        Panicked = "panicked",
    }
}

#[cfg(feature = "http")]
words! {
    /// How a body ends that is watched.
    BodyEnd {
        Ended = "ended",
        Failed = "failed",
        Dropped = "dropped",
        Hung = "hung",
        Panicked = "panicked",
    }
}

words! {
    /// Of which kind the status of an answer is.
    StatusKind {
        None = "none",
        Informational = "1xx",
        Successful = "2xx",
        Redirection = "3xx",
        ClientError = "4xx",
        Limited = "429",
        ServerError = "5xx",
    }
}

words! {
    /// Why a candidate is skipped.
    SkipReason {
        ModelOpen = "model_open",
        ProviderOpen = "provider_open",
        ModelCooldown = "model_cooldown",
        ProviderCooldown = "provider_cooldown",
        ModelProbesTaken = "model_probes_taken",
        ProviderProbesTaken = "provider_probes_taken",
        ModelForcedOpen = "model_forced_open",
        ProviderForcedOpen = "provider_forced_open",
        ModelFull = "model_full",
        ProviderFull = "provider_full",
        NotReady = "not_ready",
        NotAimed = "not_aimed",
        Budget = "budget",
        MaxCost = "max_cost",
    }
}

impl AttemptEnd {
    pub(crate) fn of(verdict: &Verdict) -> Self {
        match (verdict.charge, &verdict.why) {
            (Charge::Success, _) => Self::Success,
            (_, Why::TimedOut) => Self::TimedOut,
            (Charge::Nobody, _) if verdict.cooldown.is_some() => Self::Limited,
            (Charge::Nobody, _) => Self::Neutral,
            (Charge::Model | Charge::ModelOrRequest, _) => Self::Failure,
            (Charge::Provider, _) => Self::ProviderFailure,
            (Charge::Credential, _) => Self::Unauthorized,
        }
    }
}

impl StatusKind {
    pub(crate) fn of(why: &Why) -> Self {
        let (Why::Status(status) | Why::Code(status, _)) = why else { return Self::None };
        match status {
            429 => Self::Limited,
            100..200 => Self::Informational,
            200..300 => Self::Successful,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500..600 => Self::ServerError,
            _ => Self::None,
        }
    }
}
