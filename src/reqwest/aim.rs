//! Aiming a reqwest request, by the same [`HttpAim`].

use crate::{
    Aim, AimError, BodyAim, HttpAim, JsonFields, Ours, Target,
    aim::http::{follow_length, not_a_url},
    reqwest::RecordedRequest,
};
use ::reqwest::{Body, Request, Url};

impl<J: BodyAim<Body>> Aim<Request> for HttpAim<J> {
    type Request = Request;

    fn aim(&self, target: Target<'_>, mut request: Request) -> Result<Request, AimError> {
        let url = request.url();
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        if let Some(path) = self.aim_path(target, &path)? {
            *request.url_mut() = place(target, request.url(), &path)?;
        }
        self.aim_headers(target, request.headers_mut())?;
        let body = request.body_mut().take();
        let had = body.is_some();
        let (body, length) = self.body.aim(target, body.unwrap_or_default())?;
        *request.body_mut() = (had || length.is_some()).then_some(body);
        if let Some(length) = length {
            follow_length(request.headers_mut(), length);
        }
        Ok(request)
    }

    fn ours(&self, target: Target<'_>, request: &Request) -> Ours {
        self.wrote(target, request.headers(), J::WRITES_NAME)
    }
}

impl<J: BodyAim<Body>> Aim<RecordedRequest> for HttpAim<J> {
    type Request = Request;

    fn aim(&self, target: Target<'_>, request: RecordedRequest) -> Result<Request, AimError> {
        Aim::<Request>::aim(self, target, request.into_request())
    }

    fn ours(&self, target: Target<'_>, request: &Request) -> Ours {
        Aim::<Request>::ours(self, target, request)
    }
}

/// The URL with this path and query, at the provider's base URL if it has one.
fn place(target: Target<'_>, url: &Url, path_and_query: &str) -> Result<Url, AimError> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    // A URL takes such a segment for a way up or nowhere, and the name of a model would be lost in it.
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(not_a_url(path));
    }
    let mut url = match target.provider().get_base_url() {
        Some(base) => Url::parse(&base.to_string()).map_err(|_| not_a_url(path))?,
        None => url.clone(),
    };
    url.set_path(path);
    url.set_query(query);
    Ok(url)
}

impl BodyAim<Body> for JsonFields {
    const WRITES_NAME: bool = true;

    fn aim(&self, target: Target<'_>, body: Body) -> Result<(Body, Option<usize>), AimError> {
        let bytes = body.as_bytes().ok_or(AimError::Streaming)?;
        let edited = self.edit(target, bytes)?;
        let length = edited.as_ref().map_or(bytes.len(), Vec::len);
        Ok((edited.map_or(body, Body::from), Some(length)))
    }
}
