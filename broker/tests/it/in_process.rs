//! Clients in process: acknowledgement by hand, back-pressure, publishing together with a commit.

use crate::wire::{Bench, PATIENCE, id, message, namespace, other_namespace, until};
use broker::credential::{Credential, CredentialIdentity};
use broker::{AttachOptions, Client, Inbox, Outgoing, Reason, Recorded, Recorder, Sender};
use proto::{ClientId, Namespace, Qos, TopicFilter, TopicName, UserId};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{Packet, PublishAckReason};
use std::sync::{Arc, Mutex};
use store::Changes;

fn attach(bench: &Bench, window: usize) -> (Client, Inbox) {
    let client_id = ClientId::parse("$platform/test").unwrap();
    bench.broker.attach(&namespace(), client_id, AttachOptions { window }).unwrap()
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text.to_owned()).unwrap()
}

fn topic(text: &str) -> TopicName {
    TopicName::parse(text.to_owned()).unwrap()
}

#[tokio::test]
async fn a_publisher_is_acknowledged_when_the_work_is_done() {
    let bench = Bench::start().await;
    let (client, mut inbox) = attach(&bench, 10);
    client.subscribe(filter("work/#"), Qos::AtLeastOnce);
    let mut publisher = bench.client("pub", "app").await;
    let first = publisher.start_publish(message("work/1", "a")).await;
    let second = publisher.start_publish(message("work/2", "b")).await;
    let delivery = inbox.receive().await.unwrap();
    assert_eq!(delivery.payload, "a");
    assert_eq!(delivery.sender.client_id.as_str(), "pub");
    inbox.receive().await.unwrap().ack();
    publisher.expect_silence().await;
    delivery.ack();
    assert_eq!(publisher.expect_ack(first).await, PublishAckReason::Success);
    assert_eq!(publisher.expect_ack(second).await, PublishAckReason::Success);
}

#[tokio::test]
async fn work_that_is_dropped_is_reported_to_the_publisher() {
    let bench = Bench::start().await;
    let (client, mut inbox) = attach(&bench, 10);
    client.subscribe(filter("work"), Qos::AtLeastOnce);
    let mut publisher = bench.client("pub", "app").await;
    let packet_id = publisher.start_publish(message("work", "a")).await;
    drop(inbox.receive().await.unwrap());
    assert_eq!(publisher.expect_ack(packet_id).await, PublishAckReason::UnspecifiedError);
    let packet_id = publisher.start_publish(message("work", "b")).await;
    crate::wire::until(|| {
        let all = bench.broker.connections(&namespace());
        all.iter().any(|it| it.queued == 1)
    })
    .await;
    drop(inbox);
    assert_eq!(publisher.expect_ack(packet_id).await, PublishAckReason::UnspecifiedError);
}

#[tokio::test]
async fn work_that_is_refused_is_told_to_the_publisher_with_code_and_words() {
    let bench = Bench::start().await;
    let (client, mut inbox) = attach(&bench, 10);
    client.subscribe(filter("work/#"), Qos::ExactlyOnce);
    let mut listener = bench.client("listener", "app").await;
    listener.subscribe("work/#", QoS::AtMostOnce).await;
    let mut publisher = bench.client("pub", "app").await;
    for (reason, expected) in [
        (Reason::PayloadFormatInvalid, PublishAckReason::PayloadFormatInvalid),
        (Reason::QuotaExceeded, PublishAckReason::QuotaExceeded),
        // Of other packets: no PUBACK may have it.
        (Reason::SessionTakenOver, PublishAckReason::ImplementationSpecificError),
    ] {
        let packet_id = publisher.start_publish(message("work/1", "a")).await;
        inbox.receive().await.unwrap().refuse(reason, "no number\0 (field `a`)");
        let Some(Packet::PublishAck(ack)) = publisher.receive().await else { panic!("a PUBACK") };
        assert_eq!((ack.packet_id, ack.reason_code), (packet_id, expected));
        assert_eq!(ack.reason_string.as_deref(), Some("no number  (field `a`)"));
        assert_eq!(listener.expect_payload().await, "a", "others have it");
    }
    // Twice, since a PUBREC that says no ends the exchange (4.3.3): its identifier is free.
    for _ in 0..2 {
        publisher.publish_exactly(9, false, message("work/2", "b")).await;
        inbox.receive().await.unwrap().refuse(Reason::NotAuthorized, "not you");
        let Some(Packet::PublishReceived(rec)) = publisher.receive().await else {
            panic!("a PUBREC")
        };
        assert_eq!((rec.packet_id, rec.reason_code), (id(9), PublishAckReason::NotAuthorized));
        assert_eq!(rec.reason_string.as_deref(), Some("not you"));
        assert_eq!(listener.expect_payload().await, "b");
    }
    publisher.publish("work/3", "c").await;
    inbox.receive().await.unwrap().refuse(Reason::NotAuthorized, "nobody waits for it");
    publisher.expect_silence().await;
}

#[tokio::test]
async fn refused_work_holds_up_neither_the_order_of_acknowledgements_nor_the_window() {
    let bench = Bench::start().await;
    let (client, mut inbox) = attach(&bench, 2);
    client.subscribe(filter("work"), Qos::AtLeastOnce);
    let mut publisher = bench.client("pub", "app").await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(publisher.start_publish(message("work", number.to_string())).await);
    }
    let first = inbox.receive().await.unwrap();
    inbox.receive().await.unwrap().refuse(Reason::PayloadFormatInvalid, "the second");
    publisher.expect_silence().await;
    first.ack();
    assert_eq!(publisher.expect_ack(ids[0]).await, PublishAckReason::Success);
    assert_eq!(publisher.expect_ack(ids[1]).await, PublishAckReason::PayloadFormatInvalid);
    inbox.receive().await.unwrap().ack();
    assert_eq!(publisher.expect_ack(ids[2]).await, PublishAckReason::Success);
}

#[tokio::test]
async fn no_more_is_handed_out_than_the_window_admits() {
    let bench = Bench::start().await;
    let (client, mut inbox) = attach(&bench, 2);
    client.subscribe(filter("work"), Qos::AtLeastOnce);
    let mut publisher = bench.client("pub", "app").await;
    for number in 0..3 {
        publisher.start_publish(message("work", number.to_string())).await;
    }
    let first = inbox.receive().await.unwrap();
    let _second = inbox.receive().await.unwrap();
    let third = tokio::time::timeout(crate::wire::SILENCE, inbox.receive()).await;
    assert!(third.is_err());
    first.ack();
    assert_eq!(inbox.receive().await.unwrap().payload, "2");
}

#[tokio::test]
async fn rows_and_messages_are_committed_as_one_and_seen_afterwards() {
    let bench = Bench::start().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    subscriber.subscribe("out/#", QoS::AtLeastOnce).await;
    let (client, _inbox) = attach(&bench, 10);
    let key = (namespace(), UserId::parse("new").unwrap());
    let identity = broker::credential::CredentialIdentity::User { role: proto::Role::App };
    let row = broker::credential::Credential::device(identity, "s", &*bench.outside);
    let mut changes = Changes::new();
    changes.put(&key, &row);
    let messages = vec![
        Outgoing::new(topic("out/1"), "a").qos(Qos::AtLeastOnce),
        Outgoing::new(topic("out/2"), "b").qos(Qos::AtLeastOnce).retained(),
    ];
    client.publish_durably(changes, messages).await.unwrap();
    assert_eq!(subscriber.expect_payload().await, "a");
    let snapshot = bench.store.read().unwrap();
    assert_eq!(snapshot.get::<broker::credential::Credential>(&key).unwrap(), Some(row));
    drop(snapshot);
    assert_eq!(client.retained(&filter("out/#")).len(), 1);
    crate::wire::until(|| {
        let all = bench.broker.connections(&namespace());
        all.iter().any(|it| it.client_id.as_str() == "sub" && it.stored == 1)
    })
    .await;
    subscriber.vanish();
    // The second one was not acknowledged: it is in the store, and so is the retained copy.
    let bench = bench.restart().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    assert_eq!(subscriber.expect_payload().await, "b");
    until(|| bench.broker.figures().retained == 1).await;
}

#[tokio::test]
async fn who_subscribes_during_a_commit_gets_what_it_reveals() {
    let bench = Bench::start().await;
    let (client, _inbox) = attach(&bench, 10);
    let client_id = ClientId::parse("$platform/late").unwrap();
    let options = AttachOptions { window: 10 };
    let (late, mut inbox) = bench.broker.attach(&namespace(), client_id, options).unwrap();
    let messages = || {
        vec![
            Outgoing::new(topic("out/1"), "event").qos(Qos::AtLeastOnce),
            Outgoing::new(topic("out/2"), "state").qos(Qos::AtLeastOnce).retained(),
        ]
    };
    // The writer may be done before the first look.
    let mut under_way = None;
    for _ in 0..1000 {
        let mut publication = Box::pin(client.publish_durably(Changes::new(), messages()));
        if futures_util::future::poll_immediate(&mut publication).await.is_none() {
            under_way = Some(publication);
            break;
        }
    }
    late.subscribe(filter("out/#"), Qos::AtLeastOnce);
    under_way.expect("a commit that is still under way").await.unwrap();
    for expected in ["event", "state"] {
        let delivery = inbox.receive().await.unwrap();
        assert_eq!(delivery.payload, expected);
        delivery.ack();
    }
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_revealed_all_the_same() {
    let bench = Bench::start().await;
    let (client, _inbox) = attach(&bench, 10);
    let client_id = ClientId::parse("$platform/listener").unwrap();
    let options = AttachOptions { window: 10 };
    let (listener, mut inbox) = bench.broker.attach(&namespace(), client_id, options).unwrap();
    listener.subscribe(filter("out"), Qos::AtLeastOnce);
    let mut dropped = 0;
    for number in 0..1000 {
        let message =
            Outgoing::new(topic("out"), number.to_string()).qos(Qos::AtLeastOnce).retained();
        let mut publication = Box::pin(client.publish_durably(Changes::new(), vec![message]));
        let early = futures_util::future::poll_immediate(&mut publication).await;
        drop(publication);
        dropped += u32::from(early.is_none());
        let delivery = tokio::time::timeout(PATIENCE, inbox.receive()).await.unwrap().unwrap();
        assert_eq!(delivery.payload, number.to_string());
        delivery.ack();
        if dropped == 3 {
            return;
        }
    }
    panic!("each commit was over at the first look");
}

/// Each subscriber comes while a value is committed: as retained or as new, it ends with that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_left_with_the_value_before() {
    let bench = Bench::start().await;
    let (client, _inbox) = attach(&bench, 10);
    for round in 0..60 {
        let mut subscriber = bench.client("sub", "app").await;
        let value = round.to_string();
        let outgoing = Outgoing::new(topic("out/level"), value.clone()).retained();
        let client = client.clone();
        let publication =
            tokio::spawn(
                async move { client.publish_durably(Changes::new(), vec![outgoing]).await },
            );
        subscriber.subscribe("out/#", QoS::AtLeastOnce).await;
        publication.await.unwrap().unwrap();
        while subscriber.expect_payload().await != value {}
        subscriber.vanish();
    }
}

#[tokio::test]
async fn a_failed_commit_shows_nothing_to_anybody() {
    let bench = Bench::start().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    subscriber.subscribe("out/#", QoS::AtLeastOnce).await;
    let mut transient = bench.client("transient", "app").await;
    transient.subscribe("out/#", QoS::AtMostOnce).await;
    let (client, _inbox) = attach(&bench, 10);
    bench.store.close().await.unwrap();
    let messages = vec![Outgoing::new(topic("out/1"), "a").qos(Qos::AtLeastOnce).retained()];
    assert!(client.publish_durably(Changes::new(), messages).await.is_err());
    subscriber.expect_silence().await;
    transient.expect_silence().await;
    assert_eq!(client.retained(&filter("out/#")).len(), 0);
}

#[tokio::test]
async fn a_publisher_is_refused_when_its_message_cannot_be_made_durable() {
    let bench = Bench::start().await;
    let (mut subscriber, _) = bench.durable("sub", "app").await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = bench.client("pub", "app").await;
    bench.store.close().await.unwrap();
    let reason = publisher.publish_acked(message("t", "x")).await;
    assert_eq!(reason, PublishAckReason::UnspecifiedError);
}

#[tokio::test]
async fn comings_and_goings_are_told_in_the_namespace() {
    let bench = Bench::start().await;
    let (client, mut inbox) = attach(&bench, 10);
    client.subscribe(proto::platform::filters::client_events(), Qos::AtLeastOnce);
    let device = bench.client("pump7-1", "pump7").await;
    let elsewhere = bench.client("x", "acme/berlin/app").await;
    elsewhere.leave().await;
    device.vanish();
    let mut numbers = Vec::new();
    for (topic, reason) in [
        ("events/clients/connected", serde_json::Value::Null),
        ("events/clients/disconnected", "connection_lost".into()),
    ] {
        let delivery = tokio::time::timeout(PATIENCE, inbox.receive()).await.unwrap().unwrap();
        assert_eq!(delivery.topic.as_str(), topic);
        let event: serde_json::Value = serde_json::from_slice(&delivery.payload).unwrap();
        assert_eq!(event["identity"]["thing"], "pump7");
        assert_eq!(event["client_id"], "pump7-1");
        assert_eq!(event["reason"], reason);
        numbers.push(event["connection"].as_u64().unwrap());
        delivery.ack();
    }
    assert_eq!(numbers[0], numbers[1]);
    assert!(
        bench
            .broker
            .attach(&other_namespace(), ClientId::parse("a").unwrap(), AttachOptions { window: 1 })
            .is_some()
    );
}

/// Keeps messages in rows of its own, and remembers how their commits ended.
struct Notes {
    row: Credential,
    kept: Mutex<Vec<String>>,
    settled: Mutex<Vec<(u64, bool)>>,
}

fn kept_key() -> (Namespace, UserId) {
    (namespace(), UserId::parse("kept").unwrap())
}

impl Recorder for Notes {
    fn wants(&self, topic: &TopicName, sender: &Sender) -> bool {
        topic.as_str().starts_with("up/") && sender.client_id.as_str() != "stranger"
    }

    fn record(
        &self,
        messages: &[Recorded<'_>],
        mut changes: Changes,
        submit: &mut dyn FnMut(Changes),
    ) -> u64 {
        let mut kept = self.kept.lock().unwrap();
        kept.extend(messages.iter().map(|it| format!("{} {}", it.topic, it.payload.len())));
        changes.put(&kept_key(), &self.row);
        submit(changes);
        kept.len() as u64
    }

    fn settled(&self, ticket: u64, is_committed: bool) {
        self.settled.lock().unwrap().push((ticket, is_committed));
    }
}

#[tokio::test]
async fn a_recorder_keeps_what_it_wants_in_the_commit_that_is_acknowledged() {
    let bench = Bench::start().await;
    let (client, _inbox) = attach(&bench, 10);
    let identity = CredentialIdentity::User { role: proto::Role::App };
    let row = Credential::device(identity, "s", &*bench.outside);
    let notes = Arc::new(Notes { row, kept: Mutex::default(), settled: Mutex::default() });
    client.set_recorder(Arc::clone(&notes) as Arc<dyn Recorder>);

    let mut stranger = bench.client("stranger", "app").await;
    assert_eq!(
        stranger.publish_acked(message("up/1", "x")).await,
        PublishAckReason::NoMatchingSubscribers
    );
    let mut publisher = bench.client("pub", "app").await;
    publisher.publish_acked(message("elsewhere", "x")).await;
    assert!(bench.store.read().unwrap().get::<Credential>(&kept_key()).unwrap().is_none());

    // Nobody has subscribed and it is not retained: it is committed for the recorder alone.
    assert_eq!(publisher.publish_acked(message("up/1", "ab")).await, PublishAckReason::Success);
    assert!(bench.store.read().unwrap().get::<Credential>(&kept_key()).unwrap().is_some());
    let outgoing = Outgoing::new(topic("up/2"), "abc");
    client.publish_durably(Changes::new(), vec![outgoing]).await.unwrap();
    assert_eq!(*notes.kept.lock().unwrap(), ["up/1 2", "up/2 3"]);

    bench.store.close().await.unwrap();
    let refused = publisher.publish_acked(message("up/3", "x")).await;
    assert_eq!(refused, PublishAckReason::UnspecifiedError);
    assert_eq!(*notes.settled.lock().unwrap(), [(1, true), (2, true), (3, false)]);
}
