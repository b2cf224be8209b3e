//! Law 25: no credential is ever shown.

use crate::{
    log::Log,
    support::{Reply, Request, Sent, ask, broken, client, hang, model, post, request, served, status},
};
use std::{fmt, io};
use tower::{Layer, Service};
use tower_failover::{
    ConfigError, Credential, Error, FailoverLayer, HttpAim, HttpClassify, Models, ModelsBuilder, Plan, Provider,
};

const SECRET: &str = "sk-5eCrE7";

#[track_caller]
fn hides(shown: impl AsRef<str>) {
    assert!(!shown.as_ref().contains(SECRET), "{}", shown.as_ref());
}

/// Both forms, plain and pretty.
#[track_caller]
fn debug_hides(what: &impl fmt::Debug) {
    hides(format!("{what:?} {what:#?}"));
}

fn models() -> ModelsBuilder {
    Models::builder()
        .provider(Provider::new("one").base_url("https://one.test").credential(Credential::bearer(SECRET)))
        .provider(Provider::new("two").credential(Credential::header("x-api-key", SECRET)))
        .provider(Provider::new("three").credential_from_request())
        .model(model("a", "one"))
        .model(model("b", "two"))
        .model(model("c", "three"))
}

fn request_with_secrets() -> Request {
    let mut request = request();
    for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "openai-organization"] {
        request.headers_mut().insert(name, SECRET.parse().unwrap());
    }
    request
}

#[test]
fn law_25_no_configuration_shows_a_credential() {
    let builder = models();
    debug_hides(&builder);
    let models = builder.build().expect("models");
    debug_hides(&models);
    debug_hides(&models.snapshot());
    models.iter().for_each(|model| debug_hides(&model));
    debug_hides(&Provider::new("one").credential(Credential::header("x-own", SECRET)));
    debug_hides(&HttpAim::new().json_field("model").path_placeholder("{m}"));
    debug_hides(&HttpClassify::new());

    let builder = FailoverLayer::json(models);
    debug_hides(&builder);
    let layer = builder.build().expect("a layer");
    debug_hides(&layer);
    debug_hides(layer.models());
    let mut service = layer.layer(io::empty as fn() -> io::Empty);
    debug_hides(&service);
    debug_hides(service.get_mut());
    let mut service = layer.by_provider(|provider| {
        debug_hides(provider);
        let sent = Sent::default();
        client(&sent, |_| status(200))
    });
    debug_hides(&service.call(request_with_secrets()));
}

#[test]
fn law_25_no_configuration_error_shows_a_credential() {
    let with_base = |base: &str| Provider::new("one").base_url(base.replace("SECRET", SECRET));
    let with = |credential| Provider::new("one").credential(credential);
    let providers = [
        with_base("https://user:SECRET@one.test"),
        with_base("https://SECRET@one.test/v1"),
        with_base("https://SECRET:@one.test/v1"),
        with_base("ftp://user:SECRET@one.test"),
        with_base("user:SECRET@one.test"),
        with_base("https://user:SECRET@one.test bad"),
        with_base("https://us/er:SECRET@one.test"),
        with_base("https://one.test/v1?key=SECRET"),
        with_base("https://one.test/v1#SECRET"),
        with_base("one.test/v1?key=SECRET"),
        with_base("https://one test/v1?key=SECRET"),
        with(Credential::bearer(format!("{SECRET}\n"))),
        with(Credential::header("x-api-key", format!("{SECRET}\u{7f}"))),
        with(Credential::header("no header", SECRET)),
        with(Credential::header(SECRET.to_owned() + " swapped", "x-api-key")),
    ];
    for provider in providers {
        debug_hides(&provider);
        let builder = Models::builder().provider(provider).model(model("a", "one"));
        debug_hides(&builder);
        let error: ConfigError = builder.build().expect_err("cannot work");
        hides(error.to_string() + error.value() + error.field());
        debug_hides(&error);
    }
}

#[tokio::test(start_paused = true)]
async fn law_25_no_failing_request_shows_a_credential() {
    let log = Log::listen();
    let replies: [fn() -> Reply; 8] = [
        || status(200),
        || status(401),
        || status(402),
        || status(429).header("retry-after", "1"),
        || status(500),
        || broken(io::ErrorKind::ConnectionRefused),
        || broken(io::ErrorKind::ConnectionReset),
        hang,
    ];
    for reply in replies {
        let models = models().build().expect("models");
        let sent = Sent::default();
        let layer = FailoverLayer::json(models.clone()).build().expect("a layer");
        let service = layer.layer(client(&sent, move |_| reply()));
        // The second is refused where the first one opened breakers.
        for _ in 0..2 {
            let outcome = ask(&service, request_with_secrets()).await;
            hides(format!("{} {:?}", served(&outcome), served(&outcome)));
            if let Err(error) = &outcome {
                hides(error.to_string());
                debug_hides(error);
            }
            debug_hides(&outcome);
            debug_hides(&models.snapshot());
        }
        // What the crate wrote is marked, so that not even the client's own Debug shows it.
        for request in sent.take() {
            if request.uri().host() == Some("one.test") {
                debug_hides(&request);
            }
        }
    }

    let layer = FailoverLayer::json(models().build().expect("models")).build().expect("a layer");
    let service = layer.layer(client(&Sent::default(), |_| status(200)));
    let mut no_object = request_with_secrets();
    *no_object.body_mut() = SECRET.into();
    let mut unknown = request_with_secrets();
    unknown.extensions_mut().insert(Plan::new().first("nobody"));
    for request in [no_object, unknown, post(format!(r#"{{"{SECRET}":1}}"#))] {
        let error = ask(&service, request).await.expect_err("the caller's own error");
        assert!(matches!(error, Error::Aim { .. } | Error::Plan(_)), "{error}");
        hides(error.to_string());
        debug_hides(&error);
    }

    let lines = log.text();
    assert!(lines.contains("WARN") && lines.contains("INFO"), "{lines}");
    hides(lines);
}
