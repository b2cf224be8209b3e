//! How a request is pointed at one model: [`Aim`].

#[cfg(feature = "http")]
mod body;
#[cfg(feature = "http")]
pub(crate) mod http;
#[cfg(feature = "http")]
mod json;

#[cfg(feature = "http")]
pub use self::{
    body::{BodyAim, JsonFields, Untouched, WholeBody},
    http::HttpAim,
    json::JsonError,
};

use crate::{
    classify::Ours,
    lane::Lane,
    model::{Model, Provider},
    models::Registry,
};
use std::{error::Error, fmt};

/// A model that is about to be asked, with its provider.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    registry: &'a Lane<Registry>,
    index: usize,
}

impl<'a> Target<'a> {
    pub(crate) fn new(registry: &'a Lane<Registry>, index: usize) -> Self {
        Self { registry, index }
    }

    /// The model.
    pub fn model(&self) -> &'a Model {
        &self.registry.models[self.index].model
    }

    /// Its provider.
    pub fn provider(&self) -> &'a Provider {
        &self.registry.providers[self.provider_index()].provider
    }

    pub(crate) fn has_provider(&self, name: &str) -> bool {
        self.registry.find_provider(name).is_ok()
    }

    pub(crate) fn provider_index(&self) -> usize {
        self.registry.models[self.index].provider
    }
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.model().name()).finish()
    }
}

/// Points a request at one model.
///
/// [`HttpAim`] does it for HTTP, [`Attempts`] leaves it to the service inside, and [`aim`] makes one of
/// a closure.
pub trait Aim<Req> {
    /// What the client is sent.
    type Request;

    /// Points the request at the target.
    ///
    /// # Errors
    ///
    /// When the request cannot be aimed there. That is the caller's error: it is returned at once, and nobody is asked. If
    /// other models have been asked already, this one is skipped.
    fn aim(&self, target: Target<'_>, request: Req) -> Result<Self::Request, AimError>;

    /// What it wrote into a request that it has aimed, which decides what some answers mean. Default: nothing.
    fn ours(&self, target: Target<'_>, request: &Self::Request) -> Ours {
        let _ = (target, request);
        Ours::default()
    }
}

/// A request that cannot be aimed at a model: the caller's error, sent to nobody.
#[derive(Debug)]
#[non_exhaustive]
pub enum AimError {
    /// The body is no JSON object, or lacks the model's field.
    #[cfg(feature = "http")]
    Json(JsonError),
    /// The path has no such placeholder for the model's name.
    #[non_exhaustive]
    NoPlaceholder {
        /// What was looked for.
        placeholder: String,
        /// The path.
        path: String,
    },
    /// The model's name cannot be the value of a header.
    #[non_exhaustive]
    NotAHeader {
        /// The model's name.
        name: String,
    },
    /// The URL that would come out is none.
    #[non_exhaustive]
    NotAUrl {
        /// The path of the URL.
        path: String,
    },
    /// The body is a stream, whose bytes cannot be looked at, and a field had to be written.
    #[cfg(feature = "http")]
    Streaming,
    /// What an [`aim`] of your own says.
    Other(Box<dyn Error + Send + Sync>),
}

impl AimError {
    /// Any error of your own.
    pub fn other(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Other(error.into())
    }
}

impl fmt::Display for AimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "http")]
            Self::Json(error) => error.fmt(f),
            Self::NoPlaceholder { placeholder, path } => write!(f, "path {path:?} has no placeholder {placeholder:?}"),
            Self::NotAHeader { name } => write!(f, "model name {name:?} cannot be the value of a header"),
            Self::NotAUrl { path } => write!(f, "path {path:?} makes no URL behind the provider's base URL"),
            #[cfg(feature = "http")]
            Self::Streaming => f.write_str("body is a stream, into which no field can be written"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl Error for AimError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            #[cfg(feature = "http")]
            Self::Json(error) => Some(error),
            Self::Other(error) => Some(&**error),
            _ => None,
        }
    }
}

/// One request aimed at one model: what the service inside gets unless something else is asked for.
#[derive(Clone)]
pub struct Attempt<Req> {
    registry: Lane<Registry>,
    index: usize,
    request: Req,
}

impl<Req> Attempt<Req> {
    /// The model that is asked.
    pub fn model(&self) -> &Model {
        &self.registry.models[self.index].model
    }

    /// The request.
    pub fn get_ref(&self) -> &Req {
        &self.request
    }

    /// The request, to be changed.
    pub fn get_mut(&mut self) -> &mut Req {
        &mut self.request
    }

    /// The request alone.
    pub fn into_inner(self) -> Req {
        self.request
    }
}

impl<Req: fmt::Debug> fmt::Debug for Attempt<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("model", &self.model().name()).field("request", &self.request).finish()
    }
}

/// Leaves it to the service inside, which gets an [`Attempt`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Attempts;

impl<Req> Aim<Req> for Attempts {
    type Request = Attempt<Req>;

    fn aim(&self, target: Target<'_>, request: Req) -> Result<Attempt<Req>, AimError> {
        Ok(Attempt { registry: target.registry.clone(), index: target.index, request })
    }
}

/// An aim made of a closure.
///
/// ```
/// use tower_failover::{aim, Model};
///
/// let aim = aim(|model: &Model, prompt: String| Ok(format!("{}: {prompt}", model.name())));
/// ```
pub fn aim<Req, Out, F>(f: F) -> AimFn<F>
where
    F: Fn(&Model, Req) -> Result<Out, AimError>,
{
    AimFn(f)
}

/// Made by [`aim`].
#[derive(Clone, Copy)]
pub struct AimFn<F>(F);

impl<F> fmt::Debug for AimFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AimFn")
    }
}

impl<Req, Out, F> Aim<Req> for AimFn<F>
where
    F: Fn(&Model, Req) -> Result<Out, AimError>,
{
    type Request = Out;

    fn aim(&self, target: Target<'_>, request: Req) -> Result<Out, AimError> {
        (self.0)(target.model(), request)
    }
}
