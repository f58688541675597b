//! Topic names and topic filters (MQTT 5.0 4.7; MQTT 3.1.1 4.7).

use crate::scene::Scene;
use manifold_tests::wire::packet::{publish, subscribe};
use manifold_tests::wire::{Packet, Wire};

/// A filter is refused, or ends the connection.
async fn assert_refused(scene: &Scene, filter: &str) {
    let mut wire = scene.client("offender").await;
    wire.send(&subscribe(scene.version, 1, filter.as_bytes(), 0)).await;
    match wire.next().await {
        Some(Packet::SubAck { codes, .. }) => assert!(codes[0] >= 0x80, "{filter:?}: {codes:x?}"),
        Some(Packet::Disconnect { code }) => assert!(code >= 0x80, "{filter:?}"),
        None => assert!(!scene.is_v5(), "{filter:?} ends the connection without a reason"),
        other => panic!("{filter:?}: {other:?}"),
    }
}

/// Which of the topics a subscriber to `filter` gets.
async fn matching(scene: &Scene, filter: &str, topics: &[&str]) -> Vec<String> {
    let mut reader = scene.client("reader").await;
    assert_eq!(reader.subscribe(filter, 0).await, 0, "{filter:?}");
    let marker = scene.topic("end-of-matching");
    assert_eq!(reader.subscribe(&marker, 0).await, 0);
    let mut wire = scene.client("speaker").await;
    for topic in topics {
        wire.publish(topic, b"x").await;
    }
    wire.publish(&marker, b"").await;
    let mut got = reader.messages_until(&marker).await;
    got.pop();
    got.into_iter().map(|message| message.topic).collect()
}

#[tokio::test]
async fn the_multi_level_wildcard_is_last_and_a_level_of_its_own() {
    for scene in Scene::both() {
        for filter in ["a/#/b", "a#", "#a", "a/b#", "#/", "##", "a/##"] {
            assert_refused(&scene, filter).await;
        }
        let of = |topic: &str| scene.topic(topic);
        let topics = [of("a"), of("a/b"), of("a/b/c"), of("ab"), of("b")];
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let got = matching(&scene, &of("a/#"), &topics).await;
        assert_eq!(got, [of("a"), of("a/b"), of("a/b/c")], "the parent level included");
    }
}

#[tokio::test]
async fn the_single_level_wildcard_is_a_level_of_its_own_anywhere() {
    for scene in Scene::both() {
        for filter in ["a+", "+a", "a/b+", "a/+b/c", "++"] {
            assert_refused(&scene, filter).await;
        }
        let of = |topic: &str| scene.topic(topic);
        let topics = [of("a"), of("a/b"), of("a/"), of("a/b/c"), of("x/y/c")];
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        assert_eq!(matching(&scene, &of("a/+"), &topics).await, [of("a/b"), of("a/")]);
        assert_eq!(matching(&scene, &of("+/+/c"), &topics).await, [of("a/b/c"), of("x/y/c")]);
        assert_eq!(matching(&scene, &of("+"), &topics).await, [of("a")]);
        let only = format!("only-{}", of("a").replace('/', "-"));
        let first = matching(&scene, &format!("+/{only}"), &[&of(&only), &of("a")]).await;
        assert_eq!(first, [of(&only)], "as the first level");
    }
}

#[tokio::test]
async fn a_wildcard_at_the_front_does_not_match_topics_of_the_system() {
    // Only the node itself publishes below `$`; what it says there must not reach such a subscriber.
    for scene in Scene::both() {
        let mut reader = scene.client("reader").await;
        for filter in ["#", "+/#", "+/+"] {
            assert_eq!(reader.subscribe(filter, 0).await, 0);
        }
        let mut wire: Wire = scene.client("speaker").await;
        if scene.is_v5() {
            assert_eq!(wire.publish_acked("$SYS/x", b"x").await, 0x87, "it is not permitted");
        }
        let marker = scene.topic("marker");
        assert!(wire.publish_acked(&marker, b"").await <= 0x10);
        for message in reader.messages_until(&marker).await {
            assert!(!message.topic.starts_with('$'), "{message:?}");
        }
    }
}

#[tokio::test]
async fn a_free_topic_may_begin_with_a_dollar_and_reaches_who_names_it() {
    for scene in Scene::both() {
        let marker = scene.topic("marker");
        let topic = format!("${marker}");
        let mut speaker: Wire = scene.client("speaker").await;
        for (filter, expected) in [("#", [].as_slice()), (topic.as_str(), &[topic.as_str()])] {
            let mut reader = scene.client("reader").await;
            for filter in [filter, marker.as_str()] {
                assert_eq!(reader.subscribe(filter, 0).await, 0);
            }
            for topic in [&topic, &marker] {
                assert!(speaker.publish_acked(topic, b"1").await <= 0x10, "{topic}");
            }
            let found = reader.messages_until(&marker).await;
            let found = found.iter().map(|it| it.topic.as_str());
            let found: Vec<&str> = found.filter(|it| it.starts_with('$')).collect();
            assert_eq!(found, expected, "{filter}");
            reader.leave().await;
        }
    }
}

#[tokio::test]
async fn names_and_filters_are_at_least_one_character_long() {
    for scene in Scene::both() {
        assert_refused(&scene, "").await;
        let mut wire = scene.client("offender").await;
        wire.send(&publish(scene.version, b"", b"x", 0, 0)).await;
        let told = wire.next().await;
        let is_right = match scene.is_v5() {
            true => matches!(told, Some(Packet::Disconnect { code: 0x82 | 0x90 })),
            false => told.is_none(),
        };
        assert!(is_right, "{told:?}");
    }
}

#[tokio::test]
async fn names_and_filters_hold_no_null_character() {
    for scene in Scene::both() {
        for bytes in
            [publish(scene.version, b"a\0b", b"x", 0, 0), subscribe(scene.version, 1, b"a\0b", 0)]
        {
            let mut wire = scene.client("offender").await;
            wire.send(&bytes).await;
            let told = wire.next().await;
            let is_right = match scene.is_v5() {
                true => matches!(told, Some(Packet::Disconnect { code: 0x81 | 0x8F | 0x90 })),
                false => told.is_none(),
            };
            assert!(is_right, "{told:?}");
            assert_eq!(wire.next().await, None);
        }
    }
}

#[tokio::test]
async fn names_and_filters_may_be_as_long_as_their_length_field_says() {
    for scene in Scene::both() {
        let longest = scene.topic(&"x".repeat(65_535 - scene.topic("").len()));
        assert_eq!(longest.len(), 65_535);
        let mut wire = scene.client("long").await;
        assert_eq!(wire.subscribe(&longest, 1).await, 1);
        assert_eq!(wire.publish_acked(&longest, b"x").await, 0);
        assert_eq!(wire.next_message().await.topic, longest);
    }
}

#[tokio::test]
async fn topics_are_matched_as_they_are_written() {
    for scene in Scene::both() {
        let of = |topic: &str| scene.topic(topic);
        // Case, blanks, empty levels, composed and decomposed letters: all differ.
        let topics =
            ["A", "a", " a", "a ", "a/", "/a", "a//b", "a/b", "\u{E9}", "e\u{301}"].map(of);
        let all: Vec<&str> = topics.iter().map(String::as_str).collect();
        for topic in &topics {
            assert_eq!(matching(&scene, topic, &all).await, std::slice::from_ref(topic));
        }
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_a_character_like_others() {
    for scene in Scene::both() {
        let (with, without) = (scene.topic("\u{FEFF}a"), scene.topic("a"));
        let got = matching(&scene, &with, &[&with, &without]).await;
        assert_eq!(got, [with]);
    }
}
