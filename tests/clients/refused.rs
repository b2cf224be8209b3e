//! What HTTP/2 says was not processed.

use crate::{
    body::read,
    client::{ALL, BODY, Usage},
    faults::{H2_GOAWAY, H2_REFUSED, H2_STREAM},
    server::{Does, Server, models},
};
use tower::{Layer, ServiceExt};
use tower_failover::{Executed, FailoverLayer, Fate, Plan, Served};

const REFUSALS: [Does; 2] = [H2_REFUSED, H2_GOAWAY];

/// To know better, the library would have to know h2.
#[tokio::test]
async fn law_18_what_http2_has_refused_may_have_been_executed_for_all_we_know() {
    for does in REFUSALS {
        for client in ALL {
            let (one, two) = (Server::start(does).await, Server::start(H2_STREAM).await);
            let models = models(&one.url(), &two.url());
            let reply = client.stack(&models, Usage::Unary, true)().await.expect("an answer");
            let served = reply.extensions().get::<Served>().expect("Served").clone();
            let first = served.candidates().next().expect("a");
            let Fate::Tried(tried) = first.fate else { panic!("{:?}", first.fate) };
            assert_eq!((first.model.name(), tried.executed), ("a", Executed::Maybe), "{client:?}: {served}");
            read(reply, || {}).await;
        }
    }
}

/// Why its retries have to be off.
#[tokio::test]
async fn law_14_a_client_of_reqwest_asks_again_by_itself_unless_told_not_to() {
    for (does, retries) in REFUSALS.into_iter().flat_map(|does| [(does, true), (does, false)]) {
        let one = Server::start(does).await;
        let models = models(&one.url(), "http://two.test");
        let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge();
        let http = if retries { http } else { http.retry(reqwest::retry::never()) }.build().expect("a client");
        let layer = FailoverLayer::reqwest_json(models).build().expect("a layer");
        let request = http.post("http://models/images").body(BODY).build().expect("a request");
        let client = layer.layer(http).plan(Plan::new().first("a").no_fallback());
        let error = client.oneshot(request).await.expect_err("refused");
        let served = error.served().expect("Served");
        assert_eq!((served.attempts(), served.candidates().next().map(|a| a.model.name())), (1, Some("a")));
        assert_eq!(one.requests().len() > 1, retries, "{does:?}: {:?}", one.requests());
    }
}
