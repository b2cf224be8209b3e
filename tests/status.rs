//! The status page, as a server would be asked for it.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{convert::Infallible, time::Duration};
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_failover::{BreakerConfig, Command, FailoverLayer, Model, Models, Plan, Provider, Status, Trip};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn get(models: &Models, method: &str, accept: &str) -> Response<Full<Bytes>> {
    let request = Request::builder().method(method).uri("/status?reset=1").header("accept", accept);
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    Status::new(models.clone()).oneshot(request).await.expect("it never fails")
}

async fn text(response: Response<Full<Bytes>>) -> String {
    let body = response.into_body().collect().await.expect("whole").to_bytes();
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

async fn json(models: &Models) -> Value {
    serde_json::from_str(&text(get(models, "GET", "*/*").await).await).expect("JSON")
}

async fn page(models: &Models) -> String {
    text(get(models, "GET", BROWSER).await).await
}

fn registry(names: [&str; 2]) -> Models {
    let trips = BreakerConfig::default().trip([Trip::consecutive(2, Duration::ZERO)]).jitter(0.0);
    let models = Models::builder().provider(Provider::new("nexa"));
    let add =
        |models: tower_failover::ModelsBuilder, name| models.model(Model::new(name, "nexa").breaker(trips.clone()));
    names.into_iter().fold(models, add).seed(1).build().expect("good")
}

/// One request for this model, whose upstream answers so.
async fn ask(models: &Models, model: &str, status: u16) {
    let upstream = service_fn(move |_: Request<Full<Bytes>>| async move {
        sleep(Duration::from_millis(20)).await;
        let body = Full::new(Bytes::from_static(b"{}"));
        Ok::<_, Infallible>(Response::builder().status(status).body(body).expect("a response"))
    });
    let client = FailoverLayer::http(models.clone()).build().expect("valid").layer(upstream);
    let plan = Plan::new().models([model]);
    let request =
        Request::builder().uri("http://nexa.example/").extension(plan).body(Full::default()).expect("a request");
    let _ = client.oneshot(request).await.expect("an answer").into_body().collect().await;
}

#[tokio::test(start_paused = true)]
async fn everything_is_there_as_json() {
    let models = registry(["flux", "sdxl"]);
    ask(&models, "sdxl", 200).await;
    advance(Duration::from_secs(15)).await;
    ask(&models, "flux", 503).await;
    ask(&models, "flux", 503).await;
    advance(Duration::from_secs(4)).await;
    let status = json(&models).await;

    let flux = &status["models"][0];
    assert_eq!((&flux["name"], &flux["provider"], &flux["state"]), (&"flux".into(), &"nexa".into(), &"open".into()));
    assert_eq!(
        (&flux["for_ms"], &flux["retry_in_ms"], &flux["cooldown_ms"]),
        (&4_000.into(), &6_000.into(), &Value::Null)
    );
    assert_eq!((&flux["calls"], &flux["in_flight"], &flux["tier"]), (&2.into(), &0.into(), &"healthy".into()));
    assert!(flux["score"].as_f64().expect("a number") < 0.75 && flux["latency_factor"] == 1.0, "{flux}");
    assert_eq!(flux["cause"], "2 failures in a row spanning 20ms");
    assert_eq!(flux["errors"].as_array().expect("some").len(), 2);
    let error = &flux["errors"][0];
    assert_eq!((&error["ago_ms"], &error["why"], &error["took_ms"]), (&4_000.into(), &"status 503".into(), &20.into()));
    let history = flux["history"].as_array().expect("cells");
    assert_eq!(history.len(), 60);
    assert_eq!(history[59], serde_json::json!({"succeeded": false, "failures": 2, "not_closed": true}));

    let sdxl = &status["models"][1];
    assert_eq!((&sdxl["state"], &sdxl["usual_latency_ms"]), (&"closed".into(), &20.into()));
    assert_eq!(sdxl["history"][58], serde_json::json!({"succeeded": true, "failures": 0, "not_closed": false}));
    let nexa = &status["providers"][0];
    assert_eq!((&nexa["name"], &nexa["state"], &nexa["calls"]), (&"nexa".into(), &"closed".into(), &3.into()));
    assert!(
        nexa["history"][58]["succeeded"] == true && nexa["budget_left"].as_f64().expect("a number") > 0.0,
        "{nexa}"
    );
    assert_eq!(status["history_cell_ms"], 15_000);
}

#[tokio::test(start_paused = true)]
async fn the_last_five_errors_are_kept_limits_among_them() {
    let models = registry(["flux", "sdxl"]);
    for status in [500, 502, 503, 504, 529, 429] {
        models.command("flux", Command::Reset).expect("known");
        ask(&models, "flux", status).await;
    }
    let status = json(&models).await;
    let whys: Vec<&Value> =
        status["models"][0]["errors"].as_array().expect("some").iter().map(|error| &error["why"]).collect();
    assert_eq!(whys, ["status 429", "status 529", "status 504", "status 503", "status 502"]);
    assert_eq!(status["models"][0]["cooldown_ms"].as_u64().map(|ms| ms / 100), Some(10), "{}", status["models"][0]);
    assert!(status["models"][1]["errors"].as_array().expect("none").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_has_a_status_of_its_own() {
    let models = registry(["flux", "sdxl"]);
    let tenant = models.for_key("tenant");
    ask(&tenant, "flux", 503).await;
    ask(&tenant, "flux", 503).await;
    assert_eq!(json(&models).await["models"][0]["state"], "closed");
    let status = json(&tenant).await;
    assert_eq!(status["models"][0]["state"], "open");
    assert_eq!(status["models"][0]["history"][59]["failures"], 2);
}

#[tokio::test(start_paused = true)]
async fn it_only_reads() {
    let models = registry(["flux", "sdxl"]);
    models.command("flux", Command::ForceOpen).expect("known");
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "RESET"] {
        let response = get(&models, method, "*/*").await;
        assert_eq!(
            (response.status(), &response.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().expect("a value"))
        );
        assert!(text(response).await.is_empty());
    }
    let head = get(&models, "HEAD", BROWSER).await;
    assert_eq!(
        (head.status(), &head.headers()["content-type"]),
        (StatusCode::OK, &"text/html; charset=utf-8".parse().expect("a value"))
    );
    assert!(text(head).await.is_empty());
    assert_eq!(json(&models).await["models"][0]["state"], "forced open");
}

/// What is between these two in a page.
fn between<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = page.split_once(begin).expect("a beginning");
    rest.split_once(end).expect("an end").0
}

#[tokio::test(start_paused = true)]
async fn the_policy_allows_style_and_script_of_the_page_and_nothing_else() {
    let response = get(&registry(["flux", "sdxl"]), "GET", BROWSER).await;
    let headers = response.headers().clone();
    assert_eq!(
        (&headers["cache-control"], &headers["x-content-type-options"]),
        (&"no-store".parse().expect("a value"), &"nosniff".parse().expect("a value"))
    );
    let policy = headers["content-security-policy"].to_str().expect("text").to_owned();
    let page = text(response).await;
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    let style = hash(between(&page, "<style>", "</style>"));
    let script = hash(between(&page, "<script>", "</script>"));
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             style-src 'sha256-{style}'; script-src 'sha256-{script}'"
        )
    );
    for loads in ["src=", "href=", "@import", "url(", "style=", " on"] {
        let markup = page
            .replace(between(&page, "<script>", "</script>"), "")
            .replace(between(&page, "<style>", "</style>"), "");
        assert!(!markup.contains(&format!(" {loads}")) && !page.contains("//"), "{loads}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_name_and_every_error_is_nothing_but_text() {
    let evil = "</h3><script>alert('1')</script>\"&\u{202e}\u{7}";
    let models = registry([evil, "sdxl"]);
    ask(&models, evil, 503).await;
    let page = page(&models).await;
    assert_eq!(page.matches("<script>").count(), 1, "its own");
    assert!(
        page.contains(
            "<bdi>&lt;/h3&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;\u{202e}\u{fffd}</bdi>"
        ),
        "{page}"
    );
    assert_eq!(json(&models).await["models"][0]["name"], evil);
}

#[tokio::test(start_paused = true)]
async fn the_page_says_how_many_are_well() {
    let models = registry(["flux", "sdxl"]);
    let title = async || between(&page(&models).await, "<title>", "</title>").to_owned();
    assert_eq!(title().await, "2 of 2 models are well");
    models.command("flux", Command::ForceOpen).expect("known");
    assert_eq!(title().await, "1 of 2 models are well");
    models.command_provider("nexa", Command::ForceOpen).expect("known");
    assert_eq!(title().await, "0 of 2 models are well");
    let page = page(&models).await;
    assert!(page.contains("forced open</span>") && page.contains("(forced open)"));
}
