//! What aiming does to a body: nothing, or fields of a JSON object.

use super::{
    AimError, Target,
    json::{Field, set_fields},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

/// Points a body at a model.
pub trait BodyAim<B> {
    /// Whether the model's name is written.
    const WRITES_NAME: bool;

    /// The body for this target, and its length in bytes if that may have changed.
    ///
    /// # Errors
    ///
    /// When the body cannot be aimed there.
    fn aim(&self, target: Target<'_>, body: B) -> Result<(B, Option<usize>), AimError>;
}

/// Leaves the body as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Untouched;

impl<B> BodyAim<B> for Untouched {
    const WRITES_NAME: bool = false;

    fn aim(&self, _: Target<'_>, body: B) -> Result<(B, Option<usize>), AimError> {
        Ok((body, None))
    }
}

/// Writes the model's name into one field of a JSON object, and its configured fields beside it.
///
/// The name's field must be there; the configured ones are replaced, or added if the body lacks them. Nothing else of
/// the body changes by a byte.
#[derive(Debug, Clone)]
pub struct JsonFields {
    name_field: Box<str>,
}

impl JsonFields {
    pub(super) fn new(name_field: impl Into<String>) -> Self {
        Self { name_field: name_field.into().into() }
    }

    /// The bytes of the body for this target, or `None` if they are so already.
    pub(crate) fn edit(&self, target: Target<'_>, bytes: &[u8]) -> Result<Option<Vec<u8>>, AimError> {
        let model = target.model();
        let name = serde_json::Value::from(model.get_upstream_name()).to_string();
        let mut fields = vec![Field { name: &self.name_field, value: &name, required: true }];
        fields.extend(model.fields().map(|(name, value)| Field { name, value, required: false }));
        set_fields(bytes, &fields).map_err(AimError::Json)
    }
}

impl<B: WholeBody> BodyAim<B> for JsonFields {
    const WRITES_NAME: bool = true;

    fn aim(&self, target: Target<'_>, body: B) -> Result<(B, Option<usize>), AimError> {
        let bytes = body.into_bytes();
        let bytes = self.edit(target, &bytes)?.map_or(bytes, Bytes::from);
        let length = bytes.len();
        Ok((B::from_bytes(bytes), Some(length)))
    }
}

/// A body that is there as a whole, so that its bytes can be looked at.
pub trait WholeBody {
    /// All of its bytes.
    fn into_bytes(self) -> Bytes;

    /// The body made of these bytes.
    fn from_bytes(bytes: Bytes) -> Self;
}

impl WholeBody for Bytes {
    fn into_bytes(self) -> Bytes {
        self
    }

    fn from_bytes(bytes: Bytes) -> Self {
        bytes
    }
}

impl WholeBody for Vec<u8> {
    fn into_bytes(self) -> Bytes {
        self.into()
    }

    fn from_bytes(bytes: Bytes) -> Self {
        bytes.into()
    }
}

impl WholeBody for Full<Bytes> {
    fn into_bytes(mut self) -> Bytes {
        // Its one frame is ready at once; an empty body has none.
        match pin!(self.frame()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            _ => Bytes::new(),
        }
    }

    fn from_bytes(bytes: Bytes) -> Self {
        Full::new(bytes)
    }
}
