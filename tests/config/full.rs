//! A file and what it stands for.

use crate::{FULL, SMALL, outcome, read};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::json;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_failover::{
    AllFailed, BestScoreFirst, BreakerConfig, Budget, CheapestFirst, Config, Credential, FailoverLayer, Hedge, Model,
    Models, Provider, Replay, Trip, WhenUnavailable,
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn toml_and_json_say_the_same() {
    let full = json!({
        "attempt_timeout": "60s",
        "deadline": "2m 30s",
        "max_attempts": 2,
        "replay": "not_executed",
        "all_failed": "error",
        "when_unavailable": { "wait": 0.2 },
        "order": { "by": "best_score_first", "margin": 0.1 },
        "hedge": { "quantile": 0.95, "at_least": "200ms" },
        "protect_probes": false,
        "max_keys": 500,
        "model_defaults": { "breaker": {
            "open_wait": "5s",
            "longest_open_wait": "2m",
            "jitter": 0.25,
            "recovery": "at_close",
            "probes": 3,
            "close_after": { "successes": 2, "probes": 3 },
            "ramp": "30s",
            "trip": [
                { "consecutive": 5, "spanning": "1s" },
                { "failure_rate": 0.5, "minimum_calls": 20, "window": "30s", "buckets": 6 },
                { "failure_rate_of_last": 0.5, "calls": 100, "minimum_calls": 20 },
                { "slow_call_rate": 0.8, "slower_than": "20s", "minimum_calls": 20, "window": "30s", "buckets": 6 },
            ],
        } },
        "providers": [
            {
                "name": "nexa",
                "base_url": "https://api.nexa.example/v1",
                "credential": { "bearer_env": "NEXA_KEY" },
                "max_in_flight": 64,
                "budget": { "share_of_calls": 0.1, "per_second": 1, "burst": 10 },
                "breaker": { "open_wait": "2s" },
            },
            {
                "name": "azure",
                "base_url": "https://images.azure.example",
                "credential": { "header": "api-key", "env": "AZURE_KEY" },
            },
            { "name": "lab", "credential_from_request": true },
        ],
        "models": [
            { "name": "flux-schnell", "provider": "nexa", "cost": 0.003, "breaker": null },
            {
                "name": "azure-gpt-image",
                "provider": "azure",
                "upstream_name": "gpt-image-1",
                "cost": 0.04,
                "attempt_timeout": "90s",
                "max_in_flight": 8,
                "latency_counts": true,
                "fields": { "n": 1, "quality": "high" },
            },
            {
                "name": "sdxl",
                "provider": "lab",
                "breaker": { "close_below": { "failure_rate": 0.5, "probes": 10 } },
            },
        ],
    });
    let (toml, json) = (read(FULL), serde_json::from_str::<Config>(&full.to_string()).unwrap());
    assert_eq!(toml, json);
    assert_eq!(outcome(&toml), outcome(&json));
}

#[test]
fn a_file_says_what_code_says() {
    let config = read(FULL);
    let breaker = BreakerConfig::default()
        .open_wait(secs(5), secs(120))
        .jitter(0.25)
        .recovery_at_close()
        .probes(3)
        .close_after(2, 3)
        .ramp(secs(30))
        .trip([
            Trip::consecutive(5, secs(1)),
            Trip::failure_rate(0.5, 20, secs(30)).buckets(6),
            Trip::failure_rate_of_last(0.5, 100).minimum_calls(20),
            Trip::slow_call_rate(0.8, secs(20), 20, secs(30)).buckets(6),
        ]);
    let nexa = Provider::new("nexa")
        .base_url("https://api.nexa.example/v1")
        .credential(Credential::bearer("secret"))
        .max_in_flight(64)
        .budget(Budget::default().share_of_calls(0.1).per_second(1.0).burst(10.0))
        .breaker(BreakerConfig::default().open_wait(secs(2), secs(300)));
    let azure = Provider::new("azure")
        .base_url("https://images.azure.example")
        .credential(Credential::header("api-key", "secret"));
    let models = Models::builder()
        .provider(nexa)
        .provider(azure)
        .provider(Provider::new("lab").credential_from_request())
        .model(Model::new("flux-schnell", "nexa").cost(0.003).breaker(breaker.clone()))
        .model(
            Model::new("azure-gpt-image", "azure")
                .upstream_name("gpt-image-1")
                .cost(0.04)
                .attempt_timeout(secs(90))
                .max_in_flight(8)
                .latency_counts()
                .breaker(breaker)
                .field("n", 1)
                .field("quality", "high"),
        )
        .model(Model::new("sdxl", "lab").breaker(BreakerConfig::default().close_below(0.5, 10)))
        .max_keys(500);
    let read = config.models_with(|_| Some("secret".to_owned())).unwrap();
    assert_eq!(format!("{read:#?}"), format!("{models:#?}"));

    let layer = || FailoverLayer::builder(models.clone().build().unwrap());
    let by_code = layer()
        .attempt_timeout(secs(60))
        .deadline(secs(150))
        .max_attempts(2)
        .replay(Replay::NotExecuted)
        .all_failed(AllFailed::Error)
        .when_unavailable(WhenUnavailable::Wait(0.2))
        .order(BestScoreFirst::new().margin(0.1).unwrap())
        .hedge(Hedge::quantile(0.95).at_least(Duration::from_millis(200)))
        .protect_probes(false);
    assert_eq!(format!("{:?}", layer().configure(&config).unwrap()), format!("{by_code:?}"));
}

#[test]
fn what_a_file_leaves_out_is_the_crates_default() {
    let models = Models::builder().provider(Provider::new("a")).model(Model::new("m", "a"));
    let by_file = read(SMALL).models().unwrap();
    assert_eq!(format!("{by_file:?}"), format!("{models:?}"));
    // An empty table is no other than none.
    let file = "model_defaults = { breaker = {} }\nproviders = [{ name = 'a', budget = {}, breaker = {} }]
        models = [{ name = 'm', provider = 'a', breaker = {}, fields = {} }]";
    assert_eq!(format!("{:?}", read(file).models().unwrap()), format!("{models:?}"));
    // A rule has what the default rule on a rate has.
    let file =
        "trip = [{ consecutive = 5, spanning = '1s' }, { consecutive = 20 }, { consecutive = 2, spanning = '30s' },
        { failure_rate = 0.5 }]";
    assert_eq!(toml::from_str::<BreakerConfig>(file).unwrap(), BreakerConfig::default());
    // The longest wait is never below the first.
    let long: BreakerConfig = toml::from_str("open_wait = '10m'").unwrap();
    assert_eq!(long, BreakerConfig::default().open_wait(secs(600), secs(600)));

    let layer = || FailoverLayer::builder(models.clone().build().unwrap());
    assert_eq!(format!("{:?}", layer().configure(&read(SMALL)).unwrap()), format!("{:?}", layer()));
    // And what code has said stays.
    let of_code = || {
        let layer = layer().deadline(secs(7)).attempt_timeout(secs(6)).max_attempts(9).replay(Replay::NotExecuted);
        let layer = layer.all_failed(AllFailed::Error).when_unavailable(WhenUnavailable::Wait(0.5)).in_listed_order();
        layer.order(CheapestFirst::new()).hedge(Hedge::after(secs(1))).protect_probes(false)
    };
    assert_eq!(format!("{:?}", of_code().configure(&read(SMALL)).unwrap()), format!("{:?}", of_code()));
    // Until the file says something.
    let file = "replay = 'maybe'\nall_failed = 'last_response'\nwhen_unavailable = 'fail'\norder = 'tiers'
        protect_probes = true\nattempt_timeout = '120s'\ndeadline = '300s'\nmax_attempts = 3\n";
    let config = read(&(file.to_owned() + SMALL));
    let back = of_code().configure(&config).unwrap();
    assert_eq!(format!("{back:?}"), format!("{:?}", layer().hedge(Hedge::after(secs(1)))));
}

#[test]
fn the_file_of_the_readme_can_be_read() {
    let readme = include_str!("../../README.md").split("```toml\n").find(|block| block.contains("[[models]]"));
    let config = read(readme.unwrap().split("```").next().unwrap());
    assert!(outcome(&config).is_ok());
    assert_eq!(config.models[0].cost, 0.003);
}

#[tokio::test(start_paused = true)]
async fn requests_go_as_the_file_says() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let client = service_fn({
        let sent = Arc::clone(&sent);
        move |request: Request<Bytes>| {
            // One host is down.
            let status = if request.uri().host() == Some("api.nexa.example") { 500 } else { 200 };
            sent.lock().unwrap().push(request);
            async move { Ok::<_, Infallible>(Response::builder().status(status).body(Bytes::new()).unwrap()) }
        }
    });
    let mut config = read(FULL);
    // 500 may have been executed.
    config.replay = None;
    let models = config.models_with(|name| Some(format!("the {name}"))).unwrap().build().unwrap();
    let client = FailoverLayer::json(models).configure(&config).unwrap().build().unwrap().layer(client);
    let request = Request::post("/images").body(Bytes::from_static(br#"{"model":""}"#)).unwrap();
    assert_eq!(client.oneshot(request).await.unwrap().status(), 200);

    let sent = sent.lock().unwrap();
    let [nexa, azure] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(nexa.uri(), "https://api.nexa.example/v1/images");
    assert_eq!(nexa.headers()["authorization"], "Bearer the NEXA_KEY");
    assert_eq!(nexa.body(), r#"{"model":"flux-schnell"}"#);
    assert_eq!(azure.uri(), "https://images.azure.example/images");
    assert_eq!(azure.headers()["api-key"], "the AZURE_KEY");
    let body: serde_json::Value = serde_json::from_slice(azure.body()).unwrap();
    assert_eq!(body, json!({ "model": "gpt-image-1", "n": 1, "quality": "high" }));
}
