//! Bodies, read to their end, whichever it is.

use crate::{
    client::{AnyError, Reply},
    upstream::SOON,
};
use http_body_util::BodyExt;
use std::{error::Error, time::Duration};
use tokio::time::timeout;
use tower_failover::BodyError;

/// How a body ends for its reader.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ends {
    Well,
    Broken,
    Stalled,
}

/// What can be read, and why no more. `arrived` is called after each frame.
pub(crate) async fn read(reply: Reply, mut arrived: impl FnMut()) -> (String, Option<AnyError>) {
    let mut body = reply.into_body();
    let mut read = Vec::new();
    let error = loop {
        match timeout(SOON, body.frame()).await.expect("in time") {
            None => break None,
            Some(Ok(frame)) => {
                read.extend(frame.into_data().unwrap_or_default());
                arrived();
            }
            Some(Err(error)) => break Some(error),
        }
    };
    (String::from_utf8(read).expect("text"), error)
}

/// How a body has ended, which has to be as the gap says if it has stalled.
pub(crate) fn ends(error: Option<&AnyError>, gap: Duration) -> Ends {
    match error.map(|error| stalled(error.as_ref())) {
        None => Ends::Well,
        Some(None) => Ends::Broken,
        Some(Some(after)) => {
            assert_eq!(after, gap);
            Ends::Stalled
        }
    }
}

pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

pub(crate) fn stalled(error: &(dyn Error + 'static)) -> Option<Duration> {
    fn of<E: 'static>(error: &(dyn Error + 'static)) -> Option<Duration>
    where
        BodyError<E>: Error,
    {
        match error.downcast_ref()? {
            BodyError::<E>::Stalled(gap) => Some(*gap),
            _ => None,
        }
    }
    chain(error).find_map(|error| of::<hyper::Error>(error).or_else(|| of::<reqwest::Error>(error)))
}
