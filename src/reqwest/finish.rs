//! What the caller gets: reqwest's own response, with its URL.

use crate::{Answer, Finish, HttpFinish, failover::finish::settle};
use ::reqwest::Response;

impl Finish<Response> for HttpFinish {
    type Response = Response;

    fn finish(&self, answer: Answer<Response>) -> Response {
        settle(answer.permit, &answer.verdict);
        let mut response = answer.response;
        self.sign(response.headers_mut(), &answer.served);
        response.extensions_mut().insert(answer.served);
        response
    }
}
