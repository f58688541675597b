//! Retained messages (MQTT 5.0 3.3.1.3; MQTT 3.1.1 3.3.1.3).

use crate::scene::Scene;
use manifold_tests::wire::Wire;

const RETAIN: u8 = 1;
const RETAIN_AS_PUBLISHED: u8 = 1 << 3;
const IF_NEW: u8 = 1 << 4;
const NEVER: u8 = 2 << 4;

async fn retain(scene: &Scene, wire: &mut Wire, topic: &str, text: &str) {
    assert!(wire.retain(&scene.topic(topic), text.as_bytes()).await <= 0x10);
}

#[tokio::test]
async fn the_last_retained_message_of_each_topic_is_sent_to_a_new_subscriber() {
    for scene in Scene::both() {
        let mut wire = scene.client("speaker").await;
        for (topic, text) in [("x/a", "1"), ("x/b", "2"), ("x/a", "3"), ("y", "4")] {
            retain(&scene, &mut wire, topic, text).await;
        }
        let mut late = scene.subscriber("late", "x/+", 1).await;
        let mut found = Vec::new();
        for _ in 0..2 {
            let message = late.next_message().await;
            assert!(message.is_retained && message.qos == 1, "{message:?}");
            found.push((message.topic.clone(), message.text().to_owned()));
        }
        found.sort();
        assert_eq!(found, [(scene.topic("x/a"), "3".into()), (scene.topic("x/b"), "2".into())]);
        scene.assert_nothing_before(&mut late, "x/c").await;
    }
}

#[tokio::test]
async fn a_message_of_qos_0_takes_the_place_of_what_was_retained() {
    for scene in Scene::both() {
        let mut wire = scene.client("speaker").await;
        retain(&scene, &mut wire, "a", "old").await;
        wire.send(&scene.publish("a", "new", RETAIN, 0)).await;
        assert_eq!(wire.subscribe(&scene.topic("b"), 0).await, 0, "it has been acted on");
        let kept = scene.retained("a").await.expect("it is kept");
        assert_eq!((kept.text(), kept.qos), ("new", 0));
    }
}

#[tokio::test]
async fn an_empty_retained_message_is_delivered_and_clears() {
    for scene in Scene::both() {
        let mut watcher = scene.subscriber("watcher", "a", 1).await;
        let mut wire = scene.client("speaker").await;
        retain(&scene, &mut wire, "a", "1").await;
        retain(&scene, &mut wire, "a", "").await;
        assert_eq!(watcher.next_message().await.text(), "1");
        assert_eq!(watcher.next_message().await.text(), "");
        assert_eq!(scene.retained("a").await, None);
    }
}

#[tokio::test]
async fn a_message_that_is_not_retained_changes_nothing_that_is() {
    for scene in Scene::both() {
        let mut wire = scene.client("speaker").await;
        assert!(wire.publish_acked(&scene.topic("a"), b"before").await <= 0x10);
        assert_eq!(scene.retained("a").await, None);
        retain(&scene, &mut wire, "a", "kept").await;
        for text in ["after", ""] {
            assert!(wire.publish_acked(&scene.topic("a"), text.as_bytes()).await <= 0x10);
        }
        assert_eq!(scene.retained("a").await.map(|it| it.payload), Some(b"kept".to_vec()));
    }
}

#[tokio::test]
async fn a_standing_subscription_gets_messages_without_the_flag() {
    for scene in Scene::both() {
        let mut watcher = scene.subscriber("watcher", "a", 1).await;
        let mut wire = scene.client("speaker").await;
        retain(&scene, &mut wire, "a", "1").await;
        assert!(!watcher.next_message().await.is_retained);
    }
}

#[tokio::test]
async fn retain_as_published_passes_the_flag_on_as_it_was() {
    let scene = Scene::v5();
    let mut watcher = scene.client("watcher").await;
    assert_eq!(watcher.subscribe(&scene.topic("a"), 1 | RETAIN_AS_PUBLISHED).await, 1);
    let mut wire = scene.client("speaker").await;
    retain(&scene, &mut wire, "a", "1").await;
    assert!(watcher.next_message().await.is_retained);
    assert_eq!(wire.publish_acked(&scene.topic("a"), b"2").await, 0);
    assert!(!watcher.next_message().await.is_retained);
}

#[tokio::test]
async fn retain_as_published_holds_for_what_a_session_missed() {
    let scene = Scene::v5();
    let hello = scene.hello("sub").persistent();
    let mut wire = scene.enter(&hello).await;
    assert_eq!(wire.subscribe(&scene.topic("a"), 1 | RETAIN_AS_PUBLISHED).await, 1);
    wire.leave().await;
    let mut speaker = scene.client("speaker").await;
    retain(&scene, &mut speaker, "a", "1").await;
    assert_eq!(speaker.publish_acked(&scene.topic("a"), b"2").await, 0);
    let mut wire = scene.enter(&hello).await;
    for (text, is_retained) in [("1", true), ("2", false)] {
        let message = wire.next_message().await;
        assert_eq!((message.text(), message.is_retained), (text, is_retained));
    }
}

#[tokio::test]
async fn retain_handling_0_sends_at_every_subscribe() {
    for scene in Scene::both() {
        let mut wire = scene.client("speaker").await;
        retain(&scene, &mut wire, "a", "kept").await;
        let mut late = scene.client("late").await;
        for _ in 0..2 {
            assert_eq!(late.subscribe(&scene.topic("a"), 1).await, 1);
            let message = late.next_message().await;
            assert_eq!((message.text(), message.is_retained), ("kept", true));
        }
    }
}

#[tokio::test]
async fn retain_handling_1_sends_to_a_new_subscription_only() {
    let scene = Scene::v5();
    let mut wire = scene.client("speaker").await;
    retain(&scene, &mut wire, "a", "kept").await;
    let mut late = scene.client("late").await;
    assert_eq!(late.subscribe(&scene.topic("a"), 1 | IF_NEW).await, 1);
    assert_eq!(late.next_message().await.text(), "kept");
    assert_eq!(late.subscribe(&scene.topic("a"), IF_NEW).await, 0);
    scene.assert_nothing_before(&mut late, "a").await;
}

#[tokio::test]
async fn retain_handling_2_sends_none() {
    let scene = Scene::v5();
    let mut wire = scene.client("speaker").await;
    retain(&scene, &mut wire, "a", "kept").await;
    let mut late = scene.client("late").await;
    assert_eq!(late.subscribe(&scene.topic("a"), 1 | NEVER).await, 1);
    scene.assert_nothing_before(&mut late, "a").await;
}
