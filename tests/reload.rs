//! A thousand configurations during a hundred thousand requests: none is lost, none goes to who is gone, nothing piles up.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
use tokio::task::{JoinSet, yield_now};
use tower::{ServiceExt, service_fn};
use tower_failover::{FailoverLayer, Model, Models, ModelsBuilder, Plan, Provider, aim};

const SWAPS: u64 = 1_000;
const REQUESTS: usize = 100_000;
const CALLERS: usize = 8;

static SWAPPED: AtomicU64 = AtomicU64::new(0);
static SERVED: AtomicUsize = AtomicUsize::new(0);
static SWAPPING: AtomicBool = AtomicBool::new(true);

/// The configuration of this number: its own model before two that are always there.
fn configuration(number: u64) -> ModelsBuilder {
    let own = format!("own {}", number % 2);
    let builder = Models::builder().provider(Provider::new("a")).provider(Provider::new(own.clone()));
    let builder = builder.model(Model::new(number.to_string(), own)).max_keys(20);
    builder.model(Model::new("one", "a").cost(number as f64)).model(Model::new("two", "a"))
}

/// Bytes that the process holds, where the system tells.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_swaps_during_a_hundred_thousand_requests() {
    let models = configuration(0).build().expect("good");
    let layer = FailoverLayer::builder(models.clone());
    let layer =
        layer.aim(aim(|model: &Model, begun: u64| Ok((model.name().to_owned(), begun)))).build().expect("valid");
    let client = layer.by_provider(|_| {
        service_fn(|(model, begun): (String, u64)| async move {
            yield_now().await;
            let own = model.parse::<u64>();
            if let Ok(own) = own {
                assert!(own >= begun, "begun after {begun} was applied, and served by {own}");
            }
            Ok::<_, Infallible>(model)
        })
    });

    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let client = client.clone();
        callers.spawn(async move {
            let mut own = 0_usize;
            while SERVED.fetch_add(1, Ordering::Relaxed) < REQUESTS || SWAPPING.load(Ordering::Acquire) {
                let keyed = client.clone().plan(Plan::new().key(format!("tenant {}", own % 30)));
                let client = if caller % 2 == 0 { client.clone() } else { keyed };
                let begun = SWAPPED.load(Ordering::Acquire);
                let model = client.oneshot(begun).await.expect("no request is lost");
                own += usize::from(model.parse::<u64>().is_ok());
                yield_now().await;
            }
            own
        });
    }

    let mut before = None;
    for number in 1..=SWAPS {
        models.apply(configuration(number)).expect("good");
        SWAPPED.store(number, Ordering::Release);
        if number == SWAPS / 5 {
            before = resident();
        }
        let due = REQUESTS as u64 * number / SWAPS;
        while (SERVED.load(Ordering::Relaxed) as u64) < due {
            yield_now().await;
        }
    }
    SWAPPING.store(false, Ordering::Release);
    let own: usize = callers.join_all().await.into_iter().sum();
    assert!(own > REQUESTS / 2, "{own} of {REQUESTS} went to the models that come and go");
    assert_eq!(models.iter().count(), 3);
    assert!(models.snapshot().models.iter().all(|model| model.in_flight == 0));
    if let (Some(before), Some(after)) = (before, resident()) {
        let grown = after.saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes more after {} swaps", SWAPS - SWAPS / 5);
    }
}
