//! What the caller gets: reqwest's own response, with its URL.

use crate::{Answer, Finish, HttpFinish};
use ::reqwest::Response;

impl Finish<Response> for HttpFinish {
    type Response = Response;

    fn finish(&self, answer: Answer<Response>) -> Response {
        let (mut response, served) = self.tell(answer, Response::headers_mut);
        response.extensions_mut().insert(served);
        response
    }
}
