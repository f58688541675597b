//! Topic aliases (MQTT 5.0 3.1.2.11.5, 3.2.2.3.8, 3.3.2.3.4).

use crate::scene::Scene;
use manifold_tests::wire::packet::publish_with;
use manifold_tests::wire::{Hello, Packet, Property, Wire};

/// A client, and the greatest alias that it may use.
async fn speaker(scene: &Scene) -> (Wire, u16) {
    let mut wire = scene.open().await;
    wire.send(&scene.hello("speaker").encode()).await;
    let Some(Packet::ConnAck { code: 0, properties, .. }) = wire.next().await else {
        panic!("it is welcome")
    };
    let granted = properties.iter().find_map(|it| match it {
        Property::TopicAliasMaximum(max) => Some(*max),
        _ => None,
    });
    (wire, granted.unwrap_or(0))
}

fn aliased(topic: &str, alias: u16, text: &str) -> Vec<u8> {
    publish_with(topic.as_bytes(), text.as_bytes(), 0, 0, &[Property::TopicAlias(alias)])
}

#[tokio::test]
async fn every_alias_that_was_granted_stands_for_its_topic() {
    let scene = Scene::v5();
    let mut reader = scene.subscriber("reader", "+", 0).await;
    let (mut wire, granted) = speaker(&scene).await;
    assert!(granted > 0, "aliases are offered");
    for alias in 1..=granted {
        wire.send(&aliased(&scene.topic(&alias.to_string()), alias, "named")).await;
    }
    for alias in 1..=granted {
        wire.send(&aliased("", alias, "by alias")).await;
    }
    for text in ["named", "by alias"] {
        for alias in 1..=granted {
            let message = reader.next_message().await;
            assert_eq!(message.topic, scene.topic(&alias.to_string()));
            assert_eq!(message.text(), text);
        }
    }
}

#[tokio::test]
async fn an_alias_may_be_given_another_topic() {
    let scene = Scene::v5();
    let mut reader = scene.subscriber("reader", "+", 0).await;
    let (mut wire, _) = speaker(&scene).await;
    for topic in ["a", "b"] {
        wire.send(&aliased(&scene.topic(topic), 1, "named")).await;
        wire.send(&aliased("", 1, "by alias")).await;
        for text in ["named", "by alias"] {
            let message = reader.next_message().await;
            assert_eq!(message.topic, scene.topic(topic));
            assert_eq!(message.text(), text);
        }
    }
}

#[tokio::test]
async fn an_alias_of_zero_or_over_the_maximum_ends_the_connection() {
    let scene = Scene::v5();
    let (_, granted) = speaker(&scene).await;
    for alias in [granted + 1, u16::MAX] {
        scene.ends("too great an alias", &aliased(&scene.topic("a"), alias, "x"), 0x94).await;
    }
    // No code is given for 0, so any of those that fit will do.
    let mut wire = scene.client("offender").await;
    wire.send(&aliased(&scene.topic("a"), 0, "x")).await;
    let told = wire.next().await;
    assert!(matches!(told, Some(Packet::Disconnect { code: 0x81 | 0x82 | 0x94 })), "{told:?}");
    assert_eq!(wire.next().await, None);
}

#[tokio::test]
async fn an_alias_is_unknown_on_the_next_connection() {
    let scene = Scene::v5();
    let hello = scene.hello("speaker").persistent();
    let mut wire = scene.enter(&hello).await;
    wire.send(&aliased(&scene.topic("a"), 1, "x")).await;
    assert_eq!(wire.subscribe(&scene.topic("b"), 0).await, 0, "it has been acted on");
    wire.leave().await;
    let mut wire = scene.enter(&hello).await;
    assert!(wire.is_session_present());
    wire.send(&aliased("", 1, "x")).await;
    scene.assert_ended("an alias of the connection before", &mut wire, 0x82).await;
}

#[tokio::test]
async fn an_empty_topic_needs_an_alias() {
    let scene = Scene::v5();
    scene.ends("no topic, no alias", &publish_with(b"", b"x", 0, 0, &[]), 0x82).await;
}

#[tokio::test]
async fn a_client_that_takes_no_aliases_is_sent_none() {
    let scene = Scene::v5();
    let without = scene.hello("without");
    let with_zero = scene.hello("zero").with(Property::TopicAliasMaximum(0));
    for hello in [without, with_zero] {
        let mut reader = scene.enter(&hello).await;
        assert_eq!(reader.subscribe(&scene.topic("a"), 0).await, 0);
        let (mut wire, _) = speaker(&scene).await;
        for _ in 0..3 {
            // The alias of the publisher is not passed on either.
            wire.send(&aliased(&scene.topic("a"), 1, "x")).await;
            let message = reader.next_message().await;
            assert_eq!((message.topic, message.properties), (scene.topic("a"), vec![]));
        }
        wire.leave().await;
    }
}

#[tokio::test]
async fn a_client_that_takes_aliases_is_sent_none_over_its_maximum() {
    let scene = Scene::v5();
    let hello: Hello = scene.hello("reader").with(Property::TopicAliasMaximum(2));
    let mut reader = scene.enter(&hello).await;
    assert_eq!(reader.subscribe(&scene.topic("+"), 0).await, 0);
    let mut wire = scene.client("writer").await;
    let mut known: std::collections::HashMap<u16, String> = std::collections::HashMap::new();
    for round in 0..3 {
        for topic in ["a", "b", "c", "d"] {
            let topic = scene.topic(topic);
            wire.publish(&topic, format!("{round}").as_bytes()).await;
            let message = reader.next_message().await;
            let alias = message.properties.iter().find_map(|it| match it {
                Property::TopicAlias(alias) => Some(*alias),
                _ => None,
            });
            assert!(alias.is_none_or(|it| (1..=2).contains(&it)), "{alias:?}");
            if let Some(alias) = alias
                && !message.topic.is_empty()
            {
                known.insert(alias, message.topic.clone());
            }
            let meant = match (message.topic.is_empty(), alias) {
                (true, Some(alias)) => known.get(&alias).cloned(),
                _ => Some(message.topic),
            };
            assert_eq!(meant, Some(topic));
        }
    }
}
