//! Why a reader of an upload cannot go on.

use std::{error::Error, fmt, sync::Arc};

/// Why a [`ReplayBody`](super::ReplayBody) broke off.
///
/// Clients put the error of a request's body into the chain of their own error's sources, where it can be found by
/// `downcast_ref`, and where [`HttpClassify`](crate::HttpClassify) finds it: an upload that fails by itself is the
/// caller's fault, so it is returned, and neither model nor provider is blamed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ReplayError {
    /// The upload itself has failed, or has panicked, with this error, which is the source of this one.
    Upload(Arc<dyn Error + Send + Sync>),
    /// The upload has grown past the cap of this many bytes, and its beginning is no longer there to be sent again.
    PastCap(usize),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload(_) => f.write_str("the upload failed"),
            Self::PastCap(cap) => write!(f, "the upload cannot be sent again, as it is longer than {cap} bytes"),
        }
    }
}

impl Error for ReplayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Upload(error) => Some(&**error),
            Self::PastCap(_) => None,
        }
    }
}

/// The upload's own poll has panicked.
#[derive(Debug)]
pub(super) struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its body panicked")
    }
}

impl Error for Panicked {}
