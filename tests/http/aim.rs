//! What an upstream is sent: URL, credential, path segment, header, fields of the body.

use crate::support::{Request, Sent, ask, client, host, model, nobody_is_in_flight, post, request, status, two_models};
use bytes::Bytes;
use http::{HeaderName, header};
use tower::Layer;
use tower_failover::{Aim, AimError, Credential, Error, FailoverLayer, HttpAim, JsonError, Model, Models, Provider};

/// What the one model of these is sent.
async fn aimed<A>(provider: Provider, model: Model, aim: A, request: Request) -> Result<Request, AimError>
where
    A: Aim<Request, Request = Request>,
{
    let models = Models::builder().provider(provider).model(model).build().expect("models");
    let sent = Sent::default();
    let layer = FailoverLayer::http(models.clone()).aim(aim).build().expect("a layer");
    match ask(&layer.layer(client(&sent, |_| status(200))), request).await {
        Ok(_) => Ok(sent.one()),
        Err(Error::Aim { error, .. }) => {
            assert!(sent.take().is_empty(), "nobody is asked");
            nobody_is_in_flight(&models);
            Err(error)
        }
        Err(other) => panic!("{other}"),
    }
}

fn provider() -> Provider {
    Provider::new("one")
}

fn at(base: Option<&str>) -> Provider {
    base.map_or(provider(), |base| provider().base_url(base))
}

fn to(uri: &str) -> Request {
    http::Request::post(uri).body(Bytes::from_static(br#"{"model":"any"}"#)).expect("a request")
}

fn value<'a>(request: &'a Request, name: &HeaderName) -> Option<&'a str> {
    assert!(request.headers().get_all(name).iter().count() <= 1, "{name} once");
    request.headers().get(name).map(|value| value.to_str().expect("text"))
}

#[tokio::test(start_paused = true)]
async fn base_urls_join() {
    let rows = [
        (None, "/a?b=c", "/a?b=c"),
        (None, "http://old.test/a", "http://old.test/a"),
        (Some("https://new.test"), "/", "https://new.test/"),
        (Some("https://new.test/"), "/a", "https://new.test/a"),
        (Some("https://new.test/v1"), "/a", "https://new.test/v1/a"),
        (Some("https://new.test/v1/"), "/a/", "https://new.test/v1/a/"),
        (Some("https://new.test/v1"), "/a?b=%20&c={d}&e", "https://new.test/v1/a?b=%20&c={d}&e"),
        (Some("https://new.test/v1"), "/%2F..%2f//x;y=z", "https://new.test/v1/%2F..%2f//x;y=z"),
        (Some("https://new.test:8443/v1"), "http://old.test:80/a?b", "https://new.test:8443/v1/a?b"),
        (Some("http://new.test/v1"), "https://user:pw@old.test", "http://new.test/v1/"),
        (Some("https://new.test/v1"), "http://old.test?b=c", "https://new.test/v1/?b=c"),
        (Some("https://new.test"), "http://old.test?b=c", "https://new.test/?b=c"),
        (Some("https://new.test"), "/a?b=%20", "https://new.test/a?b=%20"),
        (Some("https://new.test"), "//old.test/a", "https://new.test//old.test/a"),
        (Some("https://[::1]:8443/v1"), "/a", "https://[::1]:8443/v1/a"),
        (Some("HTTPS://new.test"), "/a", "https://new.test/a"),
        (Some("https://new.test"), "old.test:80", "https://new.test/"),
    ];
    for (base, uri, expected) in rows {
        let sent = aimed(at(base), model("a", "one"), HttpAim::new(), to(uri)).await;
        assert_eq!(sent.expect(uri).uri().to_string(), expected, "{uri} behind {base:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_asterisk_goes_to_the_provider() {
    let request = http::Request::options("*").body(Bytes::new()).expect("a request");
    let sent = aimed(at(Some("https://new.test")), model("a", "one"), HttpAim::new(), request).await.expect("aimed");
    assert_eq!((host(&sent), sent.uri().path()), ("new.test", "/*"));
}

#[test]
fn base_urls_that_cannot_work_are_refused() {
    let rows = [
        "",
        "/v1",
        "new.test",
        "new.test/v1",
        "new.test:443",
        "//new.test",
        "ftp://new.test",
        "https://",
        "https:///v1",
        "https://new.test/?a=b",
        "https://new.test#a",
        "https://new test",
        "https://user@new.test",
        "https://:pw@new.test",
    ];
    for base in rows {
        let built = Models::builder().provider(at(Some(base))).model(model("a", "one")).build();
        let error = built.expect_err(base);
        assert_eq!(error.field(), "provider `one`: base_url", "{base}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_header_is_dropped_where_the_host_changes() {
    for (base, expected) in [(None, Some("old.test")), (Some("https://new.test"), None)] {
        let mut request = to("/a");
        request.headers_mut().insert(header::HOST, "old.test".parse().unwrap());
        let sent = aimed(at(base), model("a", "one"), HttpAim::new(), request).await.expect("aimed");
        assert_eq!(value(&sent, &header::HOST), expected, "{base:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_else_of_a_request_stays() {
    let mut request = to("/a");
    *request.version_mut() = http::Version::HTTP_2;
    request.headers_mut().append("x-many", "1".parse().unwrap());
    request.headers_mut().append("x-many", "2".parse().unwrap());
    request.extensions_mut().insert(17_u8);
    let aim = HttpAim::new().json_field("model");
    let sent = aimed(at(Some("https://new.test")), model("a", "one"), aim, request).await.expect("aimed");
    assert_eq!((sent.method(), sent.version()), (&http::Method::POST, http::Version::HTTP_2));
    let many: Vec<_> = sent.headers().get_all("x-many").iter().collect();
    assert_eq!(many, ["1", "2"]);
    assert_eq!(sent.extensions().get(), Some(&17_u8));
}

#[tokio::test(start_paused = true)]
async fn credentials_are_set_and_sensitive() {
    let rows = [
        (Credential::bearer("5eCrE7"), "authorization", "Bearer 5eCrE7"),
        (Credential::header("x-api-key", "5eCrE7"), "x-api-key", "5eCrE7"),
        (Credential::header("X-Own", "5eCrE7"), "x-own", "5eCrE7"),
    ];
    for (credential, name, expected) in rows {
        let sent = aimed(provider().credential(credential), model("a", "one"), HttpAim::new(), to("/a")).await;
        let sent = sent.expect("aimed");
        assert_eq!(value(&sent, &name.parse().unwrap()), Some(expected));
        assert!(sent.headers()[name].is_sensitive(), "{name}");
        assert!(!format!("{sent:?}").contains("5eCrE7"), "{sent:?}");
    }
}

const FOREIGN: [&str; 6] = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "openai-organization"];

/// Each credential twice: no line of it may get through.
fn with_foreign_credentials() -> Request {
    let mut request = request();
    for name in FOREIGN {
        request.headers_mut().append(name, "foreign-1".parse().unwrap());
        request.headers_mut().append(name, "foreign-2".parse().unwrap());
    }
    request
}

#[tokio::test(start_paused = true)]
async fn law_25_credentials_for_somewhere_else_are_removed() {
    let providers = [
        provider(),
        at(Some("https://new.test")),
        provider().credential(Credential::bearer("ours")),
        provider().credential(Credential::header("x-api-key", "ours")),
    ];
    for provider in providers {
        let plain = aimed(provider.clone(), model("a", "one"), HttpAim::new(), with_foreign_credentials()).await;
        let json = HttpAim::new().json_field("model");
        let json = aimed(provider.clone(), model("a", "one"), json, with_foreign_credentials()).await;
        for sent in [plain.expect("aimed"), json.expect("aimed")] {
            for name in FOREIGN {
                let lines: Vec<_> = sent.headers().get_all(name).iter().map(|line| line.to_str().unwrap()).collect();
                assert!(lines.iter().all(|line| line.ends_with("ours")), "{provider:?}: {name}: {lines:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn law_25_a_provider_may_take_them_from_the_request() {
    let own = provider().credential_from_request();
    let sent = aimed(own, model("a", "one"), HttpAim::new(), with_foreign_credentials()).await.expect("aimed");
    for name in FOREIGN {
        assert_eq!(sent.headers().get_all(name).iter().count(), 2, "{name}");
    }

    // With a credential for requests that bring none.
    let own = provider().credential_from_request().credential(Credential::bearer("ours"));
    let sent = aimed(own.clone(), model("a", "one"), HttpAim::new(), with_foreign_credentials()).await.expect("aimed");
    assert_eq!(sent.headers()["authorization"], "foreign-1");
    let sent = aimed(own, model("a", "one"), HttpAim::new(), to("/a")).await.expect("aimed");
    assert_eq!(value(&sent, &header::AUTHORIZATION), Some("Bearer ours"));
}

#[tokio::test(start_paused = true)]
async fn names_fill_the_path() {
    let rows = [
        ("gpt", "/deployments/{model}/images", "/deployments/gpt/images"),
        ("black-forest/flux 1.1", "/d/{model}/x", "/d/black-forest%2Fflux%201.1/x"),
        ("a?b#c%d&e=f;g:h@i", "/{model}", "/a%3Fb%23c%25d%26e%3Df%3Bg%3Ah%40i"),
        ("Bild-模型_1.0~x", "/{model}", "/Bild-%E6%A8%A1%E5%9E%8B_1.0~x"),
        ("{model}", "/{model}/{model}", "/%7Bmodel%7D/%7Bmodel%7D"),
        ("gpt", "/{model}?q={model}&r=%7B?/{model}", "/gpt?q={model}&r=%7B?/{model}"),
    ];
    for (name, uri, expected) in rows {
        for base in [None, Some("https://new.test/v1/")] {
            let aim = HttpAim::new().path_placeholder("{model}");
            let sent = aimed(at(base), model(name, "one"), aim, to(uri)).await.expect(uri);
            let expected = base.map_or(expected.to_owned(), |_| format!("https://new.test/v1{expected}"));
            assert_eq!(sent.uri().to_string(), expected, "{name} in {uri}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_without_the_placeholder_is_the_callers_error() {
    for (placeholder, uri) in [("{model}", "/images"), ("{model}", "/images?m={model}"), ("", "/images")] {
        let aim = HttpAim::new().path_placeholder(placeholder);
        let error = aimed(at(Some("https://new.test/{model}")), model("a", "one"), aim, to(uri)).await;
        let error = match error {
            Err(error) => error,
            Ok(sent) => panic!("{}", sent.uri()),
        };
        assert!(matches!(&error, AimError::NoPlaceholder { path, .. } if path == "/images"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_url_that_would_be_none_is_the_callers_error_and_shows_no_query() {
    let long = format!("/{}?key=secret", "x".repeat(65_515));
    let error =
        aimed(at(Some("https://new.test/a/long/base/path")), model("a", "one"), HttpAim::new(), to(&long)).await;
    let error = error.expect_err("too long");
    assert!(matches!(error, AimError::NotAUrl { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret"), "the path, as its documentation says");
}

#[tokio::test(start_paused = true)]
async fn names_go_into_a_header() {
    let name = HeaderName::from_static("x-model");
    let mut request = to("/a");
    request.headers_mut().append(&name, "old".parse().unwrap());
    request.headers_mut().append(&name, "older".parse().unwrap());
    let aim = HttpAim::new().header(name.clone());
    let sent = aimed(provider(), model("black-forest/flux 1.1", "one"), aim.clone(), request).await.expect("aimed");
    assert_eq!(value(&sent, &name), Some("black-forest/flux 1.1"));

    for odd in ["a\nb", "a\r\nx-evil: 1", "\u{7f}"] {
        let error = aimed(provider(), model(odd, "one"), aim.clone(), to("/a")).await.expect_err(odd);
        assert!(matches!(&error, AimError::NotAHeader { name, .. } if name == odd), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_and_fields_go_into_the_body_and_all_other_bytes_stay() {
    let plain = || model("a", "one");
    let rows = [
        (plain(), r#"{"model":"any"}"#, r#"{"model":"a"}"#),
        (plain(), " { \"n\" : 1e400,\r\n\"model\":{}}\n", " { \"n\" : 1e400,\r\n\"model\":\"a\"}\n"),
        (plain(), r#"{"model":"a", "x": "é\u00e9"}"#, r#"{"model":"a", "x": "é\u00e9"}"#),
        (model("q\"\\\n模", "one"), r#"{"model":1}"#, "{\"model\":\"q\\\"\\\\\\n模\"}"),
        (plain().field("n", 2), r#"{"n":1,"model":0}"#, r#"{"n":2,"model":"a"}"#),
        (
            plain().field("size", "1k").field("n", serde_json::json!([null, 1.5])),
            r#"{ "model" : 0 }"#,
            r#"{ "model" : "a","size":"1k","n":[null,1.5] }"#,
        ),
        (plain().field("n", 1).field("n", 2), r#"{"model":0}"#, r#"{"model":"a","n":2}"#),
        (plain().field("model", "other"), r#"{"model":0}"#, r#"{"model":"a"}"#),
        (plain().field("x.y", true), r#"{"model":0,"x":{"y":0}}"#, r#"{"model":"a","x":{"y":0},"x.y":true}"#),
    ];
    for (model, body, expected) in rows {
        let sent = aimed(provider(), model, HttpAim::new().json_field("model"), post(body)).await.expect(body);
        assert_eq!(sent.body(), expected, "{body}");
        assert!(!sent.headers().contains_key(header::CONTENT_LENGTH), "not added");
    }
}

#[tokio::test(start_paused = true)]
async fn the_content_length_follows_the_body() {
    let named = model("a-much-longer-name", "one");
    for said in ["15", "999"] {
        let mut request = request();
        request.headers_mut().append(header::CONTENT_LENGTH, said.parse().unwrap());
        request.headers_mut().append(header::CONTENT_LENGTH, said.parse().unwrap());
        let aim = HttpAim::new().json_field("model");
        let sent = aimed(provider(), named.clone(), aim, request).await.expect("aimed");
        assert_eq!(value(&sent, &header::CONTENT_LENGTH), Some("30"));
        assert_eq!(sent.body().len(), 30);
    }
    let mut untouched = request();
    untouched.headers_mut().insert(header::CONTENT_LENGTH, "15".parse().unwrap());
    let sent = aimed(provider(), named, HttpAim::new(), untouched).await.expect("aimed");
    assert_eq!((value(&sent, &header::CONTENT_LENGTH), sent.body().len()), (Some("15"), 15));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_aimed_is_the_callers_error() {
    let no_object = |error: &JsonError| matches!(error, JsonError::NotAnObject(_));
    let no_model = |error: &JsonError| matches!(error, JsonError::MissingField { name } if name == "model");
    type Expected = fn(&JsonError) -> bool;
    let rows: [(&str, Expected); 6] = [
        ("", no_object),
        ("[]", no_object),
        ("\"prompt\"", no_object),
        (r#"{"model":1"#, no_object),
        ("{}", no_model),
        (r#"{"Model":1,"x":{"model":1}}"#, no_model),
    ];
    for (body, expected) in rows {
        let aim = HttpAim::new().json_field("model");
        let error = aimed(provider(), model("a", "one").field("n", 1), aim, post(body)).await.expect_err(body);
        assert!(matches!(&error, AimError::Json(error) if expected(error)), "{body}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("prompt"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_aimed_is_no_call_and_blames_nobody() {
    let models = two_models().build().expect("models");
    let sent = Sent::default();
    let layer = FailoverLayer::json(models.clone()).build().expect("a layer");
    let service = layer.layer(client(&sent, |_| status(200)));
    for _ in 0..30 {
        let error = ask(&service, post("[]")).await.expect_err("no object");
        assert!(matches!(&error, Error::Aim { served, .. } if served.attempts() == 0), "{error}");
    }
    assert!(sent.take().is_empty());
    nobody_is_in_flight(&models);
    let snapshot = models.snapshot();
    let model = snapshot.model("a").expect("a");
    assert_eq!((model.breaker.consecutive_failures, model.breaker.cause), (0, None));
    assert_eq!(model.calls, 0, "calls begun");
}

#[tokio::test(start_paused = true)]
async fn upstreams_are_sent_their_own_name_for_a_model() {
    let aim = HttpAim::new().json_field("engine").path_placeholder(":m").header(HeaderName::from_static("x-model"));
    let named = model("ours", "one").upstream_name("their s");
    let mut request = to("/:m/images");
    *request.body_mut() = Bytes::from_static(br#"{"engine":""}"#);
    let sent = aimed(provider(), named, aim, request).await.expect("aimed");
    assert_eq!(sent.uri(), "/their%20s/images");
    assert_eq!(sent.headers()["x-model"], "their s");
    assert_eq!(sent.body(), r#"{"engine":"their s"}"#);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_aimed_from_the_original_request() {
    let models = Models::builder()
        .provider(
            Provider::new("one")
                .base_url("https://one.test/deep/base")
                .credential(Credential::header("x-api-key", "key-one")),
        )
        .provider(Provider::new("two").credential(Credential::bearer("key-two")))
        .provider(Provider::new("three").base_url("https://three.test").credential_from_request())
        .model(model("a", "one").field("only-a", true).field("n", 7))
        .model(model("b", "two"))
        .model(model("c", "three"))
        .build()
        .expect("models");
    let sent = Sent::default();
    let aim = HttpAim::new().json_field("model").path_placeholder("{m}").header(HeaderName::from_static("x-model"));
    let layer = FailoverLayer::http(models).aim(aim).build().expect("a layer");
    let mut request = to("http://old.test/{m}/x?y");
    *request.body_mut() = Bytes::from_static(br#"{"model":"any","n":1}"#);
    for (name, value) in [("host", "old.test"), ("cookie", "theirs"), ("content-length", "21")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    ask(&layer.layer(client(&sent, |_| status(503))), request).await.expect("the last response");

    let seen: Vec<_> = sent.take().iter().map(shown).collect();
    let expected = [
        r#"https://one.test/deep/base/a/x?y {"model":"a","n":7,"only-a":true} content-length: 33, x-api-key: key-one, x-model: a"#,
        r#"http://old.test/b/x?y {"model":"b","n":1} authorization: Bearer key-two, content-length: 19, host: old.test, x-model: b"#,
        r#"https://three.test/c/x?y {"model":"c","n":1} content-length: 19, cookie: theirs, x-model: c"#,
    ];
    assert_eq!(seen, expected);
}

fn shown(request: &Request) -> String {
    let header = |(name, value): (&HeaderName, &http::HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    let mut headers: Vec<String> = request.headers().iter().map(header).collect();
    headers.sort();
    format!("{} {} {}", request.uri(), String::from_utf8_lossy(request.body()), headers.join(", "))
}
