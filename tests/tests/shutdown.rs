//! SIGTERM under load: a clean exit in time, clients are told, nothing acknowledged is lost.

use manifold_tests::admin::Admin;
use manifold_tests::ledger::Ledger;
use manifold_tests::load;
use manifold_tests::node::Site;
use manifold_tests::wire::{Ending, Hello, Version};
use std::time::Duration;
use tokio::time::Instant;

/// What the contract grants a node to end in.
const EXIT_MAX: Duration = Duration::from_secs(5);

const PUBLISHERS: usize = 4;

#[tokio::test]
async fn sigterm_under_load_ends_in_time_and_loses_nothing() {
    let site = Site::new();
    let node = site.start().await;
    let secret = Admin::enter(&node).await.create_user("load", "app").await;
    let hello = |client_id: &str| Hello::new(Version::V5, client_id).user("load", &secret);
    let mut subscriber = node.client(&hello("subscriber").persistent()).await;
    assert_eq!(subscriber.subscribe("load/+", 1).await, 1);
    subscriber.leave().await;

    let mut idle = node.client(&hello("idle")).await;
    let mut publishers = Vec::new();
    for index in 0..PUBLISHERS {
        let wire = node.client(&hello(&format!("publisher-{index}"))).await;
        publishers.push(tokio::spawn(load::publish(wire, format!("load/{index}"), 1)));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    let (status, log) = node.terminate().await;
    let took = began.elapsed();
    println!("ended after {took:?}");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < EXIT_MAX, "it took {took:?}:\n{log}");
    assert_eq!(idle.ending().await, Ending::Disconnected(0x8B));

    let mut ledger = Ledger::default();
    for (index, publisher) in publishers.into_iter().enumerate() {
        let published = publisher.await.expect("a publisher does not panic");
        assert!(!published.acknowledged.is_empty(), "publisher {index} did nothing");
        for number in published.acknowledged {
            ledger.acknowledge(&format!("load/{index}"), number);
        }
    }
    let node = site.start().await;
    let mut subscriber = node.client(&hello("subscriber").persistent()).await;
    assert!(subscriber.is_session_present());
    let mut marker = node.client(&hello("marker")).await;
    assert_eq!(marker.publish_acked("load/end", b"0").await, 0);
    for message in subscriber.messages_until("load/end").await {
        let number = message.text().parse().expect("a number was published");
        assert_eq!(ledger.deliver(&message.topic, number), Ok(()));
    }
    assert_eq!(ledger.missing(), []);
    println!("messages: {}", ledger.summary());
}
