//! What the caller gets: reqwest's own response, with its URL.

use super::response::{from_http, into_http};
use crate::{
    Answer, AtEnd, Finish, HttpFinish,
    failover::finish::{opened, settle},
};
use ::reqwest::Response;

impl Finish<Response> for HttpFinish {
    type Response = Response;

    fn finish(&self, mut answer: Answer<Response>) -> Response {
        let mut response = answer.response;
        opened(&mut answer.permit, &answer.verdict, response.extensions());
        settle(&mut answer.permit, &answer.verdict);
        self.sign(response.headers_mut(), &answer.served);
        response.extensions_mut().insert(answer.served);
        response
    }
}

impl Finish<Response> for HttpFinish<AtEnd> {
    type Response = Response;

    fn finish(&self, answer: Answer<Response>) -> Response {
        let Answer { response, verdict, permit, served } = answer;
        let (url, response) = into_http(response);
        from_http(url, self.finish(Answer { response, verdict, permit, served }))
    }
}
