//! The table of HTTP statuses, each row of which can be changed on each axis.

use super::{
    Aimed, AsError, Begins, Charge, Classify, Cooldown, Executed, Next, Opening, Ours, StdError, Verdict, Vouches, Why,
    error_code,
    retry_after::retry_after,
    transport::{Trouble, trouble},
};
use crate::machine::cooldown::UNPAID_COOLDOWN;
use http::{Extensions, HeaderMap, Response, StatusCode};
use std::{
    collections::HashMap,
    fmt,
    marker::PhantomData,
    time::{Duration, SystemTime},
};

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Row {
    /// An answer with this status.
    Status(StatusCode),
    /// An error with this code, where bodies are [read ahead](crate::ReadAhead).
    Code(&'static str),
    /// An error in the stream before anything else, where bodies are [read ahead](crate::ReadAhead).
    ErrorEvent,
    /// No connection: DNS, TCP or TLS.
    Connect,
    /// Broken off after the request was sent.
    Broken,
    /// Out of time.
    TimedOut,
    /// Out of file descriptors or of local ports.
    Local,
}

/// What to change of a row; what is not named stays.
///
/// ```
/// use http::StatusCode;
/// use tower_failover::{Change, HttpClassify, Next, Row};
///
/// // A 404 means "no such model here" at these providers, so ask the next one.
/// let classify = HttpClassify::new()
///     .change(Row::Status(StatusCode::NOT_FOUND), Change::default().next(Next::TryNext));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    next: Option<Next>,
    charge: Option<Charge>,
    cooldown: Option<Option<Cooldown>>,
    executed: Option<Executed>,
    vouches: Option<Vouches>,
}

impl Change {
    /// What to do with it.
    pub fn next(mut self, next: Next) -> Self {
        self.next = Some(next);
        self
    }

    /// Whom it credits or blames.
    pub fn charge(mut self, charge: Charge) -> Self {
        self.charge = Some(charge);
        self
    }

    /// How long to leave alone whom it blames; `None` for not at all, whatever a `Retry-After` says.
    pub fn cooldown(mut self, cooldown: Option<Cooldown>) -> Self {
        self.cooldown = Some(cooldown);
        self
    }

    /// Whether it may have been executed.
    pub fn executed(mut self, executed: Executed) -> Self {
        self.executed = Some(executed);
        self
    }

    /// What it proves of the provider.
    pub fn vouches(mut self, vouches: Vouches) -> Self {
        self.vouches = Some(vouches);
        self
    }

    fn apply(self, verdict: Verdict) -> Verdict {
        Verdict {
            next: self.next.unwrap_or(verdict.next),
            charge: self.charge.unwrap_or(verdict.charge),
            cooldown: self.cooldown.unwrap_or(verdict.cooldown),
            executed: self.executed.unwrap_or(verdict.executed),
            vouches: self.vouches.or(verdict.vouches),
            why: verdict.why,
        }
    }
}

/// Classifies HTTP responses and transport errors.
///
/// "Ours" is what the crate wrote into the request: the model's name, or the provider's credential.
///
/// | result | next | blames | executed |
/// | --- | --- | --- | --- |
/// | connect, DNS, TLS | try next | provider | no |
/// | timeout, reset after sending | try next | model | maybe |
/// | 2xx, 3xx, 101 | return | success | yes |
/// | 400, 405, 409, 410, 413, 415, 422, other 4xx | return | nobody | no |
/// | 401 | next if ours, else return | credential of the provider after two in a row, if ours | no |
/// | 402 | next if ours, else return | provider, cooldown 60 s, if ours | no |
/// | 403 | next if ours, else return | nobody | no |
/// | 404 | next if ours, else return | model, if ours | no |
/// | 408, 500, 502, 503, 504, 529, other 5xx | try next | model | maybe |
/// | 429 | try next | nobody: cooldown; fails a probe | no |
///
/// A 503 with `Retry-After` is a cooldown as well. A 500 blames the model unless another one answered 500 to the same
/// request. Out of file descriptors or local ports: try next, nobody, no. An upload that itself failed, as
/// [`ReplayError`](crate::ReplayError) tells: return, nobody, maybe. What HTTP/2 says it has not processed
/// (`REFUSED_STREAM`, GOAWAY) cannot be told from another reset: maybe.
///
/// # Bodies that are read ahead
///
/// Where [`ReadAhead`](crate::ReadAhead) is below, a body that breaks off or ends before the commit is [`Row::Broken`],
/// and one that stalls is [`Row::TimedOut`]. An error in the stream is [`Row::ErrorEvent`]: try next, the model, maybe.
///
/// Errors that are JSON, in a body or in the stream, may say it better than their status. What counts is their `code`,
/// or without one their `type`, in `{"error": {..}}` as OpenAI and others have it, or outside of any object:
///
/// | code or type | means |
/// | --- | --- |
/// | `context_length_exceeded` | try next, nobody, no |
/// | `model_not_found`, `DeploymentNotFound` | what a 404 means |
/// | `insufficient_quota`, `billing_hard_limit_reached`, `billing_not_active` | what a 402 means |
/// | `invalid_api_key` | what a 401 means |
/// | `rate_limit_exceeded`, `rate_limit_error` | what a 429 means |
/// | `server_error` | what a 500 means |
/// | `overloaded_error` | what a 529 means |
/// | `invalid_request_error` | in a stream and with a 404: return, nobody, no; else what its status means |
/// | any other | what its status means, or an error in the stream |
///
/// Codes can be added, and those of the table changed. A refusal is the caller's own affair unless you want to ask
/// somebody else:
///
/// ```
/// use tower_failover::{Change, HttpClassify, Next, Row};
///
/// let elsewhere = Change::default().next(Next::TryNext);
/// let classify = HttpClassify::new().change(Row::Code("content_policy_violation"), elsewhere);
/// ```
///
/// # Without hyper-util
///
/// Without the feature `hyper-util` a connect error is told from a later one by [`std::io::ErrorKind`] alone, which
/// sees a refused connection but no failed DNS look-up or TLS handshake.
pub struct HttpClassify<V = StdError> {
    changes: HashMap<Row, Change>,
    view: PhantomData<fn() -> V>,
}

impl HttpClassify {
    /// The table above, for clients whose error implements [`std::error::Error`].
    pub fn new() -> Self {
        Self { changes: HashMap::new(), view: PhantomData }
    }
}

impl<V> HttpClassify<V> {
    /// The same, for clients with another kind of error: [`BoxedError`](super::BoxedError) for boxed ones.
    pub fn errors<W>(self) -> HttpClassify<W> {
        HttpClassify { changes: self.changes, view: PhantomData }
    }

    /// Changes a row; a second change of one row replaces the first.
    pub fn change(mut self, row: Row, change: Change) -> Self {
        self.changes.insert(row, change);
        self
    }

    /// The verdict on an answer with this head, and what was read ahead of its body.
    pub(crate) fn answered(
        &self,
        aimed: Aimed<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Verdict {
        let by_status = || {
            let why = Why::Status(status.as_u16());
            if status.is_success() && self.changes.is_empty() {
                return Verdict::success().because(why);
            }
            let verdict = row(status, aimed.ours, || retry_after(headers, wall_clock)).because(why);
            self.changed(Row::Status(status), verdict)
        };
        let in_stream = || self.changed(Row::ErrorEvent, Verdict::model_failed().because(Why::ErrorEvent(None)));
        let broken = |words: &str| {
            let verdict = Verdict::model_failed().because(Why::Broken(words.into()));
            self.changed(Row::Broken, Verdict { vouches: Some(Vouches::No), ..verdict })
        };
        match extensions.get::<Opening>().map(|opening| &opening.begins) {
            None | Some(Begins::Well) => by_status(),
            Some(Begins::ErrorBody(body)) => match error_code::code(body) {
                Some(code) => {
                    let known =
                        error_code::verdict(&code, Some(status), aimed.ours, || retry_after(headers, wall_clock));
                    self.coded(&code, known, by_status).because(Why::Code(status.as_u16(), code))
                }
                None => by_status(),
            },
            Some(Begins::ErrorEvent(event)) => match error_code::code(event) {
                Some(code) => {
                    let known = error_code::verdict(&code, None, aimed.ours, || None);
                    self.coded(&code, known, in_stream).because(Why::ErrorEvent(Some(code)))
                }
                None => in_stream(),
            },
            Some(Begins::Broken(words)) => broken(words),
            Some(Begins::Ended) => broken("body ended before it had begun"),
            Some(Begins::Stalled(_)) => Verdict { vouches: Some(Vouches::No), ..self.out_of_time() },
        }
    }

    /// The verdict on an error with this code: what is `known` of it, or else as `plain`, and the change of its row.
    fn coded(&self, code: &str, known: Option<Verdict>, plain: impl FnOnce() -> Verdict) -> Verdict {
        let verdict = known.unwrap_or_else(plain);
        let change = self.changes.iter().find(|(row, _)| matches!(row, Row::Code(row) if *row == code));
        match change {
            Some((_, change)) => change.apply(verdict),
            None => verdict,
        }
    }

    /// The verdict on an error in transport.
    pub(crate) fn failed(&self, trouble: Trouble, error: &(dyn std::error::Error + 'static)) -> Verdict {
        let verdict = trouble.verdict(error);
        match trouble {
            Trouble::Connect => self.changed(Row::Connect, verdict),
            Trouble::AfterSending => self.changed(Row::Broken, verdict),
            Trouble::Local => self.changed(Row::Local, verdict),
            Trouble::Upload => verdict,
        }
    }

    /// The verdict on an attempt that ran out of time.
    pub(crate) fn out_of_time(&self) -> Verdict {
        self.changed(Row::TimedOut, Verdict::timed_out())
    }

    fn changed(&self, row: Row, verdict: Verdict) -> Verdict {
        match self.changes.get(&row) {
            Some(change) => change.apply(verdict),
            None => verdict,
        }
    }
}

impl Default for HttpClassify {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> Clone for HttpClassify<V> {
    fn clone(&self) -> Self {
        Self { changes: self.changes.clone(), view: PhantomData }
    }
}

impl<V> fmt::Debug for HttpClassify<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClassify").field("changes", &self.changes).finish()
    }
}

impl<B, E, V: AsError<E>> Classify<Response<B>, E> for HttpClassify<V> {
    fn classify(&self, aimed: Aimed<'_>, result: Result<&Response<B>, &E>) -> Verdict {
        match result {
            Ok(response) => self.answered(aimed, response.status(), response.headers(), response.extensions()),
            Err(error) => {
                let error = V::as_error(error);
                self.failed(trouble(error), error)
            }
        }
    }

    fn timed_out(&self, _: Aimed<'_>) -> Verdict {
        self.out_of_time()
    }
}

/// The one place where wall time enters: HTTP dates.
#[expect(clippy::disallowed_methods, reason = "HTTP dates are wall time")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

pub(super) fn row(status: StatusCode, ours: Ours, asked: impl FnOnce() -> Option<Duration>) -> Verdict {
    let next_if = |ours| if ours { Next::TryNext } else { Next::Return };
    let fault = Verdict::callers_fault();
    match status.as_u16() {
        101 | 200..=399 => Verdict::success(),
        401 => Verdict {
            next: next_if(ours.credential),
            charge: if ours.credential { Charge::Credential } else { Charge::Nobody },
            vouches: Some(Vouches::Alive),
            ..fault
        },
        402 if ours.credential => Verdict {
            cooldown: Some(Cooldown::For(UNPAID_COOLDOWN)),
            vouches: Some(Vouches::No),
            ..Verdict::provider_failed()
        },
        402 => Verdict { vouches: Some(Vouches::No), ..fault },
        403 => Verdict { next: next_if(ours.credential || ours.name), ..fault },
        404 if ours.name => {
            Verdict { executed: Executed::No, vouches: Some(Vouches::Fully), ..Verdict::model_failed() }
        }
        429 => Verdict::limited(asked().map_or(Cooldown::Growing, Cooldown::For)),
        500 => Verdict { charge: Charge::ModelOrRequest, ..Verdict::model_failed() },
        503 => Verdict { cooldown: asked().map(Cooldown::For), ..Verdict::model_failed() },
        408 | 501..=599 => Verdict::model_failed(),
        400..=499 => fault,
        // No final status of HTTP.
        _ => Verdict::model_failed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Charge::{Credential, Model as Blamed, ModelOrRequest, Nobody, Provider, Success};
    use Executed::{Maybe, No, Yes};
    use Next::{Return, TryNext};

    const NOTHING: Ours = Ours { name: false, credential: false };
    const ALL: Ours = Ours { name: true, credential: true };

    #[test]
    fn the_table_is_the_one_of_the_docs() {
        #[rustfmt::skip]
        let rows = [
            // status, and (next, charge, executed) if ours and if not
            (200, (Return,  Success,        Yes),   (Return,  Success,        Yes)),
            (204, (Return,  Success,        Yes),   (Return,  Success,        Yes)),
            (302, (Return,  Success,        Yes),   (Return,  Success,        Yes)),
            (400, (Return,  Nobody,         No),    (Return,  Nobody,         No)),
            (401, (TryNext, Credential,     No),    (Return,  Nobody,         No)),
            (402, (TryNext, Provider,       No),    (Return,  Nobody,         No)),
            (403, (TryNext, Nobody,         No),    (Return,  Nobody,         No)),
            (404, (TryNext, Blamed,         No),    (Return,  Nobody,         No)),
            (405, (Return,  Nobody,         No),    (Return,  Nobody,         No)),
            (408, (TryNext, Blamed,         Maybe), (TryNext, Blamed,         Maybe)),
            (409, (Return,  Nobody,         No),    (Return,  Nobody,         No)),
            (410, (Return,  Nobody,         No),    (Return,  Nobody,         No)),
            (413, (Return,  Nobody,         No),    (Return,  Nobody,         No)),
            (415, (Return,  Nobody,         No),    (Return,  Nobody,         No)),
            (418, (Return,  Nobody,         No),    (Return,  Nobody,         No)),
            (422, (Return,  Nobody,         No),    (Return,  Nobody,         No)),
            (429, (TryNext, Nobody,         No),    (TryNext, Nobody,         No)),
            (500, (TryNext, ModelOrRequest, Maybe), (TryNext, ModelOrRequest, Maybe)),
            (502, (TryNext, Blamed,         Maybe), (TryNext, Blamed,         Maybe)),
            (503, (TryNext, Blamed,         Maybe), (TryNext, Blamed,         Maybe)),
            (504, (TryNext, Blamed,         Maybe), (TryNext, Blamed,         Maybe)),
            (529, (TryNext, Blamed,         Maybe), (TryNext, Blamed,         Maybe)),
            (599, (TryNext, Blamed,         Maybe), (TryNext, Blamed,         Maybe)),
        ];
        for (status, ours, not_ours) in rows {
            let status = StatusCode::from_u16(status).expect("a status");
            for (wrote, expected) in [(ALL, ours), (NOTHING, not_ours)] {
                let verdict = row(status, wrote, || None);
                assert_eq!((verdict.next, verdict.charge, verdict.executed), expected, "{status} {wrote:?}");
            }
        }
    }

    #[test]
    fn what_each_status_proves_of_the_provider() {
        let vouches = |status, ours| row(StatusCode::from_u16(status).expect("a status"), ours, || None).vouches;
        for ours in [ALL, NOTHING] {
            assert_eq!(vouches(401, ours), Some(Vouches::Alive));
            assert_eq!(vouches(402, ours), Some(Vouches::No));
            assert_eq!(vouches(429, ours), Some(Vouches::No));
            for status in [200, 400, 403, 500, 503] {
                assert_eq!(vouches(status, ours), None, "{status}: as its charge has it");
            }
        }
    }

    #[test]
    fn only_429_503_and_402_cool_down() {
        let asked = || Some(Duration::from_secs(7));
        let cooldown = |status, asked: &dyn Fn() -> Option<Duration>| {
            row(StatusCode::from_u16(status).expect("a status"), ALL, asked).cooldown
        };
        assert_eq!(cooldown(429, &asked), Some(Cooldown::For(Duration::from_secs(7))));
        assert_eq!(cooldown(429, &|| None), Some(Cooldown::Growing));
        assert_eq!(cooldown(503, &asked), Some(Cooldown::For(Duration::from_secs(7))));
        assert_eq!(cooldown(503, &|| None), None);
        assert_eq!(cooldown(402, &asked), Some(Cooldown::For(Duration::from_secs(60))));
        assert_eq!(cooldown(500, &asked), None);
    }

    #[test]
    fn every_row_can_be_changed_on_every_axis() {
        let change = Change::default()
            .next(Return)
            .charge(Provider)
            .cooldown(Some(Cooldown::Growing))
            .executed(Yes)
            .vouches(Vouches::Alive);
        let changed = Verdict {
            next: Return,
            charge: Provider,
            cooldown: Some(Cooldown::Growing),
            executed: Yes,
            vouches: Some(Vouches::Alive),
            why: Why::Answered,
        };
        let statuses = (100..600).filter_map(|status| StatusCode::from_u16(status).ok()).map(Row::Status);
        for row in statuses.chain([Row::Connect, Row::Broken, Row::TimedOut, Row::Local]) {
            let table = HttpClassify::new().change(row, change);
            assert_eq!(table.changed(row, Verdict::success()), changed, "{row:?}");
            assert_eq!(Change::default().apply(Verdict::timed_out()), Verdict::timed_out());
        }
    }
}
