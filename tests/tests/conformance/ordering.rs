//! Order of messages (MQTT 5.0 4.6; MQTT 3.1.1 4.6).

use crate::scene::Scene;
use manifold_tests::wire::Packet;

#[tokio::test]
async fn messages_of_a_client_reach_each_subscriber_in_the_order_they_were_sent() {
    for scene in Scene::both() {
        for qos in [0, 1, 2] {
            let topic = format!("q{qos}");
            let mut readers = [
                scene.subscriber("one", &topic, qos).await,
                scene.subscriber("other", "#", qos).await,
            ];
            let mut wire = scene.client("speaker").await;
            let packets = (1..=50)
                .flat_map(|number| scene.publish(&topic, &number.to_string(), qos << 1, number));
            wire.send(&packets.collect::<Vec<u8>>()).await;
            for number in 1..=50 {
                for reader in &mut readers {
                    assert_eq!(reader.next_message().await.text(), number.to_string());
                }
            }
        }
    }
}

#[tokio::test]
async fn what_waits_for_an_absent_client_keeps_its_order() {
    for scene in Scene::both() {
        let hello = scene.hello("away").persistent();
        let mut wire = scene.enter(&hello).await;
        assert_eq!(wire.subscribe(&scene.topic("#"), 2).await, 2);
        wire.leave().await;
        let mut speaker = scene.client("speaker").await;
        for number in 0..10 {
            let (topic, text) = (scene.topic("a"), number.to_string());
            match number % 2 {
                0 => assert_eq!(speaker.publish_acked(&topic, text.as_bytes()).await, 0),
                _ => speaker.publish_exactly(&topic, text.as_bytes()).await,
            }
        }
        let mut wire = scene.enter(&hello).await;
        for number in 0..10 {
            assert_eq!(wire.next_message().await.text(), number.to_string());
        }
    }
}

#[tokio::test]
async fn releases_follow_the_order_of_pubrecs() {
    for scene in Scene::both() {
        let mut reader = scene.subscriber("reader", "a", 2).await;
        let mut wire = scene.client("speaker").await;
        for _ in 0..3 {
            wire.publish_exactly(&scene.topic("a"), b"x").await;
        }
        let mut ids = Vec::new();
        for _ in 0..3 {
            let Some(Packet::Publish(message)) = reader.next().await else { panic!("a message") };
            ids.push(message.packet_id);
        }
        let unique: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), 3, "{ids:?}");
        for packet_id in ids {
            reader.send(&manifold_tests::wire::packet::pub_rec(packet_id)).await;
            assert_eq!(reader.next().await, Some(Packet::PubRel { packet_id, code: 0 }));
        }
    }
}
