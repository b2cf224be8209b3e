//! What a transport error means: no connection, broken off later, or a shortage of our own.

use super::{Charge, Executed, Next, Verdict, Why};
use crate::body::ReplayError;
use std::{error::Error, fmt::Write, io};

/// How a classifier looks into a client's error type.
///
/// Two kinds of error exist in tower's world, and no bound covers both: those that implement [`std::error::Error`]
/// ([`StdError`]), and the boxed ones, which do not ([`BoxedError`]).
pub trait AsError<E> {
    /// The error as one that can be walked.
    fn as_error(error: &E) -> &(dyn Error + 'static);
}

/// For errors that implement [`std::error::Error`].
#[derive(Debug, Clone, Copy, Default)]
pub struct StdError;

impl<E: Error + 'static> AsError<E> for StdError {
    fn as_error(error: &E) -> &(dyn Error + 'static) {
        error
    }
}

/// For `Box<dyn Error + Send + Sync>`, the error of many of tower's own layers.
#[derive(Debug, Clone, Copy, Default)]
pub struct BoxedError;

impl AsError<Box<dyn Error + Send + Sync>> for BoxedError {
    fn as_error(error: &Box<dyn Error + Send + Sync>) -> &(dyn Error + 'static) {
        error.as_ref()
    }
}

/// What kind of trouble a transport error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The request was never sent: nobody could be reached.
    Connect,
    /// It may have been sent.
    AfterSending,
    /// Out of file descriptors or of local ports.
    Local,
    /// The upload itself has failed, or could not be read again.
    Upload,
}

pub(crate) fn trouble(error: &(dyn Error + 'static)) -> Trouble {
    let mut connect = false;
    for error in chain(error) {
        if uploads(error).is_some() {
            return Trouble::Upload;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            if is_local_shortage(error) {
                return Trouble::Local;
            }
            connect |= never_connected(error);
        }
        connect |= is_connect(error);
    }
    if connect { Trouble::Connect } else { Trouble::AfterSending }
}

impl Trouble {
    pub(crate) fn verdict(self, why: &(dyn Error + 'static)) -> Verdict {
        let words = words(why);
        match self {
            Self::Connect => Verdict::provider_failed().because(Why::Connect(words)),
            Self::AfterSending => Verdict::model_failed().because(Why::Broken(words)),
            Self::Local => Verdict::new(Next::TryNext, Charge::Nobody, Executed::No, Why::Local(words)),
            Self::Upload => upload_failed(chain(why).find_map(uploads).map_or(why, |error| error)),
        }
    }
}

/// The upload itself has failed, as this error tells: nobody else would get more of it.
pub(crate) fn upload_failed(error: &(dyn Error + 'static)) -> Verdict {
    Verdict::new(Next::Return, Charge::Nobody, Executed::Maybe, Why::Other(words(error).into_string().into()))
}

/// The error and its sources, without what an outer one has said already.
pub(crate) fn words(error: &(dyn Error + 'static)) -> Box<str> {
    let mut words = error.to_string();
    for error in chain(error).skip(1) {
        let inner = error.to_string();
        if !words.contains(&inner) {
            let _ = write!(words, ": {inner}");
        }
    }
    words.into()
}

pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // A bound, as nothing keeps a chain of sources from being a circle.
    std::iter::successors(Some(error), |error| (*error).source()).take(32)
}

/// The error of the caller's own upload. In an [`io::Error`] it is no source, as that one speaks with its mouth.
fn uploads<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ReplayError> {
    error.downcast_ref().or_else(|| error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref())
}

/// Kinds that an established connection does not report.
fn never_connected(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

/// EMFILE and ENFILE, or their cousin of Windows sockets, WSAEMFILE; no local port is left: `AddrNotAvailable`.
fn is_local_shortage(error: &io::Error) -> bool {
    let descriptors: &[i32] = if cfg!(windows) { &[10024] } else { &[24, 23] };
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error().is_some_and(|os| descriptors.contains(&os))
}

#[cfg(feature = "hyper-util")]
fn is_connect(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(hyper_util::client::legacy::Error::is_connect)
}

#[cfg(not(feature = "hyper-util"))]
fn is_connect(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("client error")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_refused_connection_blames_the_provider_however_deep_it_lies() {
        let error = Outer(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(trouble(&error), Trouble::Connect);
        let verdict = Trouble::Connect.verdict(&error);
        assert_eq!(verdict.why.to_string(), "no connection: client error: connection refused");
        assert_eq!((verdict.charge, verdict.executed), (Charge::Provider, Executed::No));
    }

    #[test]
    fn a_reset_may_have_been_executed() {
        let error = Outer(io::ErrorKind::ConnectionReset.into());
        assert_eq!(trouble(&error), Trouble::AfterSending);
    }

    #[test]
    #[cfg(unix)]
    fn law_12_running_out_of_descriptors_or_ports_is_nobodys_fault() {
        for error in
            [io::Error::from_raw_os_error(24), io::Error::from_raw_os_error(23), io::ErrorKind::AddrNotAvailable.into()]
        {
            let error = Outer(error);
            assert_eq!(trouble(&error), Trouble::Local, "{error:?}");
            assert_eq!(Trouble::Local.verdict(&error).charge, Charge::Nobody);
        }
    }

    #[test]
    fn law_16_an_upload_that_fails_is_the_callers_fault_whatever_lies_below_or_around_it() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        for cause in [refused(), io::Error::from_raw_os_error(24), io::Error::other(Outer(refused()))] {
            let upload = ReplayError::Upload(std::sync::Arc::new(cause));
            let words = words(&upload);
            let error = Outer(io::Error::other(upload));
            assert_eq!(trouble(&error), Trouble::Upload, "{error:?}");
            let verdict = Trouble::Upload.verdict(&error);
            assert_eq!(
                (verdict.next, verdict.charge, verdict.executed),
                (Next::Return, Charge::Nobody, Executed::Maybe)
            );
            assert_eq!(verdict.why, Why::Other(words.into_string().into()));
        }
    }

    #[test]
    fn a_boxed_error_can_be_walked() {
        let boxed: Box<dyn Error + Send + Sync> = Box::new(Outer(io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(trouble(BoxedError::as_error(&boxed)), Trouble::Connect);
    }
}
