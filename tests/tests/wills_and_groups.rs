//! Wills and shared subscriptions across `kill -9`.

use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, Site};
use manifold_tests::wire::{Hello, Property, Version, Wire};
use std::collections::BTreeSet;

async fn start() -> (Site, Node, String) {
    let site = Site::new();
    let node = site.start().await;
    let secret = Admin::enter(&node).await.create_user("app", "app").await;
    (site, node, secret)
}

fn hello(client_id: &str, secret: &str) -> Hello {
    Hello::new(Version::V5, client_id).user("app", secret)
}

/// A watcher whose session outlives the node, so that nothing that is published meanwhile passes it by.
async fn watcher(node: &Node, secret: &str) -> Wire {
    let mut watcher = node.client(&hello("watcher", secret).persistent()).await;
    if !watcher.is_session_present() {
        assert_eq!(watcher.subscribe("wills/#", 1).await, 1);
    }
    watcher
}

#[tokio::test]
async fn a_kill_loses_no_will_and_says_none_twice() {
    let (site, node, secret) = start().await;
    watcher(&node, &secret).await.leave().await;
    let delayed = |client_id: &str, secs: u32| {
        hello(client_id, secret.as_str()).persistent().will_with(
            "wills/delayed",
            client_id,
            |will| {
                will.properties.push(Property::WillDelayInterval(secs));
            },
        )
    };
    // Connected when the node dies: due at once, after its delay, and not within this test.
    let _at_once = node.client(&hello("at-once", &secret).will("wills/at-once", "at-once")).await;
    let _after = node.client(&delayed("after", 1)).await;
    let _much_later = node.client(&delayed("much-later", 3000)).await;
    // Gone in peace, and lost and back in time.
    node.client(&hello("in-peace", &secret).will("wills/in-peace", "in-peace")).await.leave().await;
    drop(node.client(&delayed("back", 2)).await);
    // Lost while it lived: its delay goes on.
    drop(node.client(&delayed("lost", 1)).await);
    node.kill().await;

    let node = site.start().await;
    let _back = node.client(&delayed("back", 3000)).await;
    let mut watcher = watcher(&node, &secret).await;
    let mut said = BTreeSet::new();
    for _ in 0..3 {
        let will = watcher.next_message().await;
        assert!(said.insert(will.text().to_owned()), "{} twice", will.text());
    }
    assert_eq!(said.into_iter().collect::<Vec<_>>(), ["after", "at-once", "lost"]);
    watcher.leave().await;
    // With the first of these the wills are committed, with the others that they were acknowledged.
    let mut marker = node.client(&hello("marker", &secret)).await;
    for _ in 0..3 {
        assert_eq!(marker.publish_acked("wills/before", b"before").await, 0);
    }
    node.kill().await;

    // What has been said is not said again after one more kill; there are the markers alone.
    let node = site.start().await;
    let mut watcher = self::watcher(&node, &secret).await;
    let mut marker = node.client(&hello("marker", &secret)).await;
    assert_eq!(marker.publish_acked("wills/end", b"end").await, 0);
    let rest = watcher.messages_until("wills/end").await;
    let texts: Vec<&str> = rest.iter().map(|it| it.text()).collect();
    assert_eq!(texts, ["before", "before", "before", "end"]);
}

#[tokio::test]
async fn a_kill_loses_nothing_of_a_group_that_was_acknowledged_to_the_publisher() {
    let (site, mut node, secret) = start().await;
    let member =
        |name: &str| hello(name, secret.as_str()).persistent().with(Property::ReceiveMaximum(5));
    let mut published = 0_u32;
    let mut had = BTreeSet::new();
    for round in 0..4 {
        let mut members = Vec::new();
        for name in ["m1", "m2"] {
            let mut wire = node.client(&member(name)).await;
            if !wire.is_session_present() {
                assert_eq!(wire.subscribe("$share/g/jobs/#", 1).await, 1);
            }
            members.push(wire);
        }
        let mut publisher = node.client(&hello("publisher", &secret)).await;
        for _ in 0..40 {
            let code = publisher.publish_acked("jobs/1", published.to_string().as_bytes()).await;
            assert_eq!(code, 0);
            published += 1;
        }
        // One acknowledges some, the other nothing: both have messages when the node dies.
        for _ in 0..10 * (round % 2) {
            let message = members[0].next_message().await;
            had.insert(message.text().to_owned());
        }
        node.kill().await;
        node = site.start().await;
    }
    let mut last = node.client(&member("m1")).await;
    while had.len() < published as usize {
        let message = last.next_message().await;
        had.insert(message.text().to_owned());
    }
}
