//! The responses whose bodies can be read ahead.

use crate::body::Resumed;
use bytes::Bytes;
use http::response::Parts;
use http_body::Body;
use std::fmt;

/// A response whose body can be read ahead: `http::Response`, and with the feature `reqwest` that of reqwest.
pub trait Response: sealed::Sealed {
    /// Its body.
    type Body: Body<Data = Bytes> + Unpin;
    /// The response with a body that begins with what was read.
    type Resumed;

    #[doc(hidden)]
    fn apart(self) -> (Parts, Self::Body, Self::Rest);
    #[doc(hidden)]
    fn together(parts: Parts, body: Resumed<Self::Body>, rest: Self::Rest) -> Self::Resumed;
    #[doc(hidden)]
    fn words(error: &<Self::Body as Body>::Error) -> Box<str>;
}

pub(crate) mod sealed {
    pub trait Sealed {
        /// What is neither head nor body.
        type Rest;
    }
}

impl<B> sealed::Sealed for http::Response<B> {
    type Rest = ();
}

impl<B> Response for http::Response<B>
where
    B: Body<Data = Bytes, Error: fmt::Display> + Unpin,
{
    type Body = B;
    type Resumed = http::Response<Resumed<B>>;

    fn apart(self) -> (Parts, B, ()) {
        let (parts, body) = self.into_parts();
        (parts, body, ())
    }

    fn together(parts: Parts, body: Resumed<B>, (): ()) -> http::Response<Resumed<B>> {
        http::Response::from_parts(parts, body)
    }

    fn words(error: &B::Error) -> Box<str> {
        error.to_string().into()
    }
}
