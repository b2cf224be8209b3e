//! An exporter to Prometheus shows the same names in each of its modes.
#![cfg(feature = "metrics")]

use metrics::set_default_local_recorder;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::{collections::BTreeSet, io, time::Duration};
use tower::{Layer, ServiceExt, service_fn};
use tower_failover::{Attempt, BreakerConfig, FailoverLayer, Model, Models, Provider, Trip};

/// The names that it shows after some requests, one of two models of which fails.
async fn names(builder: PrometheusBuilder) -> BTreeSet<String> {
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    let _heard = set_default_local_recorder(&recorder);
    let trips = BreakerConfig::default().trip([Trip::consecutive(2, Duration::ZERO)]);
    let models = Models::builder()
        .provider(Provider::new("nexa"))
        .model(Model::new("sdxl", "nexa").cost(0.01).breaker(trips))
        .model(Model::new("flux-dev", "nexa").cost(0.02));
    let models = models.build().expect("good");
    let client =
        FailoverLayer::builder(models.clone()).build().expect("valid").layer(service_fn(|attempt: Attempt<()>| {
            let fails = attempt.model().name() == "sdxl";
            async move { if fails { Err(io::Error::other("out of order")) } else { Ok(()) } }
        }));
    for _ in 0..4 {
        client.clone().oneshot(()).await.expect("an answer");
    }
    models.record_metrics();
    let shown = handle.render();
    let types = shown.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn names_are_the_same_in_each_mode() {
    let plain = names(PrometheusBuilder::new()).await;
    assert!(plain.len() > 10 && plain.contains("tower_failover_attempts_total"), "{plain:?}");
    assert_eq!(names(PrometheusBuilder::new().with_recommended_naming(true)).await, plain);
}
