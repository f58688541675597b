//! Topic aliases in both directions (MQTT 5.0 3.3.2.3.4).

use crate::wire::{Bench, Client, connect, id, message};
use broker::Limits;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{self, DisconnectReasonCode, Packet};

fn aliased(topic: &str, alias: u16, payload: &'static str) -> Publish {
    let mut publish = message(topic, payload);
    publish.properties.as_mut().unwrap().topic_alias = Some(id(alias));
    publish
}

async fn send(client: &mut Client, publish: Publish) {
    client.send(Packet::Publish(Box::new(publish))).await;
}

#[tokio::test]
async fn a_client_says_a_topic_once() {
    let bench = Bench::start().await;
    let mut subscriber = bench.admin("sub").await;
    subscriber.subscribe("line/#", QoS::AtMostOnce).await;
    let mut publisher = bench.admin("pub").await;
    send(&mut publisher, aliased("line/1", 1, "a")).await;
    send(&mut publisher, aliased("", 1, "b")).await;
    send(&mut publisher, aliased("line/2", 1, "c")).await;
    send(&mut publisher, aliased("", 1, "d")).await;
    for (topic, payload) in [("line/1", "a"), ("line/1", "b"), ("line/2", "c"), ("line/2", "d")] {
        let publish = subscriber.expect_message().await;
        assert_eq!((&*publish.topic, &publish.payload[..]), (topic, payload.as_bytes()));
        assert_eq!(publish.properties.unwrap().topic_alias, None, "it has allowed none");
    }
}

#[tokio::test]
async fn aliases_end_with_their_connection() {
    let bench = Bench::start().await;
    let (mut publisher, _) = bench.durable("pub", "app").await;
    send(&mut publisher, aliased("line/1", 1, "a")).await;
    publisher.leave().await;
    let (mut publisher, _) = bench.durable("pub", "app").await;
    send(&mut publisher, aliased("", 1, "b")).await;
    assert_eq!(publisher.expect_end().await, DisconnectReasonCode::ProtocolError);
}

#[tokio::test]
async fn an_alias_over_our_maximum_is_refused() {
    let bench = Bench::start_with(Limits { topic_aliases_max: 5, ..Limits::default() }).await;
    let (mut publisher, ack) = Client::connect(bench.address, connect("pub", "admin")).await;
    assert_eq!(ack.topic_alias_max, 5);
    send(&mut publisher, aliased("t", 6, "a")).await;
    assert_eq!(publisher.expect_end().await, DisconnectReasonCode::TopicAliasInvalid);
}

#[tokio::test]
async fn a_topic_without_anything_is_an_error() {
    let bench = Bench::start().await;
    let mut publisher = bench.admin("pub").await;
    send(&mut publisher, message("", "x")).await;
    assert_eq!(publisher.expect_end().await, DisconnectReasonCode::ProtocolError);
}

#[tokio::test]
async fn a_wildcard_subscriber_with_aliases_gets_the_right_topics() {
    let bench = Bench::start().await;
    let connect = v5::Connect { topic_alias_max: 2, ..connect("sub", "admin") };
    let (mut subscriber, _) = Client::connect(bench.address, connect).await;
    subscriber.subscribe("line/#", QoS::AtLeastOnce).await;
    let mut publisher = bench.admin("pub").await;
    let mut aliases: Vec<Option<String>> = vec![None; 2];
    let mut shortened = 0;
    for round in 0..20 {
        let topic = format!("line/{}", round % 4);
        publisher.publish_acked(message(&topic, "x")).await;
        let publish = subscriber.expect_message().await;
        subscriber.ack(publish.packet_id.unwrap()).await;
        let alias = publish.properties.unwrap().topic_alias;
        let said = match alias {
            None => publish.topic.to_string(),
            Some(alias) => {
                let place = &mut aliases[usize::from(alias.get()) - 1];
                if publish.topic.is_empty() {
                    shortened += 1;
                } else {
                    *place = Some(publish.topic.to_string());
                }
                place.clone().expect("an alias that was never set")
            }
        };
        assert_eq!(said, topic);
    }
    assert_eq!(shortened, 8);
}
