//! What is read ahead is given back as it came.

use crate::script::{
    Answers,
    Does::{self, Bytes, Cut, Data, Trailers},
    EVENTS, World, body, trailers,
};
use http_body::Body;
use http_body_util::BodyExt;
use proptest::prelude::*;
use tower_failover::{ReadAheadLayer, Resumed};

/// Every frame of a body, as text; and how it ends.
async fn frames(mut body: impl Body<Data = bytes::Bytes, Error = std::io::Error> + Unpin) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        all.push(match frame {
            Ok(frame) if frame.is_trailers() => format!("{:?}", frame.into_trailers()),
            Ok(frame) => format!("{:?}", frame.into_data()),
            Err(error) => format!("{error}"),
        });
    }
    assert!(body.frame().await.is_none(), "it is over");
    all
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        4 => Just(Data("data: a\n\n")),
        2 => Just(Data("data: {\"error\": 1}\n\n")),
        2 => Just(Data(": alive\n\n")),
        2 => Just(Data("da")),
        1 => Just(Data("")),
        1 => (1..70_000_usize).prop_map(Bytes),
        1 => (0..3_u64).prop_map(Does::Wait),
    ]
}

fn scripts() -> impl Strategy<Value = Vec<Does>> {
    let end = prop_oneof![Just(vec![]), Just(vec![Cut]), Just(vec![Trailers])];
    (proptest::collection::vec(does(), 0..8), end).prop_map(|(mut script, end)| {
        script.extend(end);
        script
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_in_its_order_and_its_end(script in scripts(), status in 0..2_usize, events: bool) {
        let script: &'static [Does] = script.leak();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let world = World::new(Answers([200, 400][status], EVENTS, script), Answers(503, "", &[]));
            let layer = ReadAheadLayer::new().error_bodies();
            let got: Resumed<_> = if events {
                answered(&world, layer.first_event()).await
            } else {
                answered(&world, layer.first_byte()).await
            };
            assert_eq!(frames(got).await, frames(body(script)).await);
        });
    }
}

/// The answer of `a` through this layer alone.
async fn answered<C>(world: &World, layer: ReadAheadLayer<C>) -> Resumed<crate::script::AnyBody>
where
    C: tower_failover::read_ahead::Commit + Clone,
{
    use tower::{Layer, ServiceExt};
    let request = http::Request::post("http://one/").body(http_body_util::Full::default()).expect("a request");
    layer.layer(world.client()).oneshot(request).await.expect("an answer").into_body()
}

#[tokio::test(start_paused = true)]
async fn hints_and_ends_are_those_of_the_whole() {
    let whole = |status| {
        let client = tower::service_fn(move |()| async move {
            let mut response = http::Response::new(http_body_util::Full::<bytes::Bytes>::from("a picture"));
            *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
            Ok::<_, std::io::Error>(response)
        });
        let layer = ReadAheadLayer::new().first_byte().error_bodies();
        async move { tower::ServiceExt::oneshot(tower::Layer::layer(&layer, client), ()).await.expect("an answer") }
    };
    for status in [200, 400] {
        let mut body = whole(status).await.into_body();
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(9), false), "{status}");
        assert_eq!(body.frame().await.expect("a frame").expect("data").into_data().expect("data"), "a picture");
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true), "{status}");
    }
    let world = World::new(Answers(400, "", &[Data("a"), Data("bc"), Trailers]), Answers(503, "", &[]));
    let mut body = answered(&world, ReadAheadLayer::new().error_bodies()).await;
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(3), false));
    assert_eq!((&mut body).collect().await.expect("whole").trailers(), Some(&trailers()));
    assert!(body.is_end_stream());
}
