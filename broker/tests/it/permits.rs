//! Permissions that change under clients: each place in which a message can wait, and each thing a client can do.

use crate::wire::{Bench, Client, SECRET, connect, message, namespace, until};
use broker::credential::{Credential, CredentialIdentity};
use broker::{AclAction, AclPermission, AclRule};
use proto::{Role, ThingId, UserId};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{
    ConnectAckReason, DisconnectReasonCode, Packet, PublishAckReason, SubscribeAckReason,
};
use std::time::Duration;
use store::Changes;

fn rule(permission: AclPermission, topic: &str) -> AclRule {
    AclRule {
        permission,
        action: AclAction::All,
        topic: topic.to_owned(),
        qos_max: None,
        retain: None,
        reveal: None,
    }
}

/// Everything but what is below `secret`.
fn open_only() -> Vec<AclRule> {
    vec![rule(AclPermission::Deny, "secret/#"), rule(AclPermission::Allow, "#")]
}

/// Changes the credential of `app`, and has it count.
async fn change(bench: &Bench, role: Role, edit: impl FnOnce(&mut Credential)) -> usize {
    let name = UserId::parse("app").unwrap();
    let identity = CredentialIdentity::User { role };
    let mut credential = Credential::device(identity, SECRET, &*bench.outside);
    edit(&mut credential);
    let mut changes = Changes::new();
    changes.put(&(namespace(), name.clone()), &credential);
    bench.store.commit(changes).await.unwrap();
    bench.broker.permissions_changed(&namespace(), &name).unwrap()
}

#[tokio::test]
async fn what_a_connected_client_may_no_longer_do_ends_at_once() {
    let bench = Bench::start().await;
    let (mut app, mut admin) = (bench.client("app", "app").await, bench.admin("admin").await);
    for filter in ["secret/a", "open/#", "+/b"] {
        assert_eq!(app.subscribe(filter, QoS::AtLeastOnce).await, SubscribeAckReason::GrantedQos1);
    }
    assert_eq!(
        app.publish_acked(message("secret/x", "1")).await,
        PublishAckReason::NoMatchingSubscribers
    );
    assert_eq!(change(&bench, Role::App, |it| it.acl = Some(open_only())).await, 1);
    let told = app.publish_acked(message("secret/x", "1")).await;
    assert_eq!(told, PublishAckReason::NotAuthorized, "what it had published on before");
    for topic in ["secret/a", "secret/b", "open/1"] {
        admin.publish(topic, topic.to_owned()).await;
    }
    assert_eq!(app.expect_payload().await, "open/1");
    assert_eq!(bench.broker.connections(&namespace())[1].subscriptions, 2, "secret/a is gone");
    assert_eq!(app.subscribe("secret/a", QoS::AtMostOnce).await, SubscribeAckReason::NotAuthorized);
    let mut retained = message("secret/kept", "1");
    retained.retain = true;
    admin.publish_acked(retained).await;
    app.subscribe("+/kept", QoS::AtMostOnce).await;
    app.expect_silence().await;
    assert_eq!(change(&bench, Role::App, |_| {}).await, 1);
    assert_eq!(app.subscribe("secret/a", QoS::AtMostOnce).await, SubscribeAckReason::GrantedQos0);
}

#[tokio::test]
async fn another_role_counts_at_once_in_both_directions() {
    let bench = Bench::start().await;
    let mut app = bench.client("app", "app").await;
    let free = PublishAckReason::NoMatchingSubscribers;
    assert_eq!(app.publish_acked(message("free", "1")).await, free);
    change(&bench, Role::User, |_| {}).await;
    assert_eq!(app.publish_acked(message("free", "1")).await, PublishAckReason::NotAuthorized);
    change(&bench, Role::ProjectAdmin, |_| {}).await;
    assert_eq!(app.publish_acked(message("free", "1")).await, free);
    assert_eq!(app.publish_acked(message("uns/a/_raw/x", "1")).await, free);
}

#[tokio::test]
async fn what_waits_for_a_client_that_is_away_is_dropped_and_counted() {
    let bench = Bench::start().await;
    let (mut app, _) = bench.durable("app", "app").await;
    app.subscribe("secret/a", QoS::AtLeastOnce).await;
    app.subscribe("+/b", QoS::AtLeastOnce).await;
    app.leave().await;
    let mut admin = bench.admin("admin").await;
    for topic in ["secret/a", "secret/b", "open/b"] {
        admin.publish_acked(message(topic, topic.to_owned())).await;
    }
    change(&bench, Role::App, |it| it.acl = Some(open_only())).await;
    admin.publish_acked(message("secret/a", "later")).await;
    let (mut app, is_present) = bench.durable("app", "app").await;
    assert!(is_present);
    assert_eq!(app.expect_payload().await, "open/b");
    app.expect_silence().await;
    assert_eq!(bench.broker.figures().forbidden, 2);
    until(|| bench.broker.connections(&namespace()).iter().all(|it| it.stored == 0)).await;
}

#[tokio::test]
async fn a_message_in_flight_is_not_sent_again() {
    let bench = Bench::start().await;
    let (mut app, _) = bench.durable("app", "app").await;
    app.subscribe("+/a", QoS::AtLeastOnce).await;
    let mut admin = bench.admin("admin").await;
    for topic in ["secret/a", "open/a"] {
        admin.publish_acked(message(topic, topic.to_owned())).await;
        assert_eq!(app.expect_message().await.topic, topic);
    }
    // Neither is acknowledged.
    app.vanish();
    until(|| bench.broker.connections(&namespace()).len() == 1).await;
    change(&bench, Role::App, |it| it.acl = Some(open_only())).await;
    let (mut app, _) = bench.durable("app", "app").await;
    let again = app.expect_message().await;
    assert_eq!((&*again.topic, again.dup), ("open/a", true));
    app.ack(again.packet_id.unwrap()).await;
    app.expect_silence().await;
}

#[tokio::test]
async fn the_list_of_a_credential_counts_from_its_first_connect() {
    let bench = Bench::start().await;
    change(&bench, Role::App, |it| it.acl = Some(open_only())).await;
    let mut app = bench.client("app", "app").await;
    assert_eq!(app.publish_acked(message("secret/x", "1")).await, PublishAckReason::NotAuthorized);
    assert_eq!(app.publish_acked(message("x", "1")).await, PublishAckReason::NoMatchingSubscribers);
}

#[tokio::test]
async fn a_will_that_may_no_longer_be_published_is_not() {
    let bench = Bench::start().await;
    let will = rmqtt_codec::v5::LastWill {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: "secret/will".into(),
        message: "the will".into(),
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
    };
    let connect =
        rmqtt_codec::v5::Connect { last_will: Some(will), ..crate::wire::connect("app", "app") };
    let (app, _) = crate::wire::Client::connect(bench.address, connect).await;
    let mut admin = bench.admin("admin").await;
    admin.subscribe("secret/#", QoS::AtMostOnce).await;
    change(&bench, Role::App, |it| it.acl = Some(open_only())).await;
    app.vanish();
    until(|| bench.broker.connections(&namespace()).len() == 1).await;
    admin.expect_silence().await;
}

#[tokio::test]
async fn a_name_that_is_disabled_goes_and_stays_out_and_keeps_its_session() {
    let bench = Bench::start().await;
    let (mut app, _) = bench.durable("app", "app").await;
    app.subscribe("t", QoS::AtLeastOnce).await;
    change(&bench, Role::App, |it| it.is_disabled = true).await;
    assert_eq!(app.expect_end().await, DisconnectReasonCode::NotAuthorized);
    let hello = crate::wire::connect("app", "app");
    let (_, ack) = crate::wire::Client::connect(bench.address, hello).await;
    assert_eq!(ack.reason_code, rmqtt_codec::v5::ConnectAckReason::NotAuthorized);
    change(&bench, Role::App, |_| {}).await;
    let (_, is_present) = bench.durable("app", "app").await;
    assert!(is_present);
}

#[tokio::test]
async fn a_gateway_speaks_for_the_things_behind_it_while_it_is_their_gateway() {
    let bench = Bench::start().await;
    let thing = |text: &str| ThingId::parse(text).unwrap();
    let free = PublishAckReason::NoMatchingSubscribers;
    let (mut gateway, _) = bench.durable("gw", "pump7").await;
    let mut admin = bench.admin("admin").await;
    let telemetry = || message("things/sensor/telemetry", "{}");
    assert_eq!(gateway.publish_acked(telemetry()).await, PublishAckReason::NotAuthorized);
    let delta = "things/+/shadow/update/delta";
    assert_eq!(
        gateway.subscribe(delta, QoS::AtLeastOnce).await,
        SubscribeAckReason::NotAuthorized,
        "nothing is behind it yet"
    );

    let put = |child: &str, parent: Option<&str>| {
        let relation = vec![(thing(child), parent.map(thing))];
        bench.broker.set_parents(&namespace(), relation)
    };
    assert_eq!(put("sensor", Some("pump7")), 1);
    assert_eq!(put("sensor", Some("pump7")), 0, "nothing has changed");
    assert_eq!(gateway.publish_acked(telemetry()).await, free, "what it was refused before");
    for filter in ["things/sensor/#", delta] {
        assert_eq!(
            gateway.subscribe(filter, QoS::AtLeastOnce).await,
            SubscribeAckReason::GrantedQos1
        );
    }
    for topic in ["things/other/commands/x/response", "things/sensor/commands/x/response"] {
        admin.publish(topic, topic.to_owned()).await;
    }
    assert_eq!(gateway.expect_payload().await, "things/sensor/commands/x/response");
    let mut other = bench.client("other", "pump8").await;
    assert_eq!(other.publish_acked(telemetry()).await, PublishAckReason::NotAuthorized);

    // Another gateway takes its place, and what waits for the one before is not for it any more.
    gateway.leave().await;
    admin.publish_acked(message("things/sensor/commands/x/response", "too late")).await;
    assert_eq!(put("sensor", Some("pump8")), 2);
    assert_eq!(other.publish_acked(telemetry()).await, free);
    let (mut gateway, is_present) = bench.durable("gw", "pump7").await;
    assert!(is_present);
    gateway.expect_silence().await;
    assert_eq!(gateway.publish_acked(telemetry()).await, PublishAckReason::NotAuthorized);
    let gone = bench.broker.connections(&namespace());
    let gone = gone.iter().find(|it| it.client_id.as_str() == "gw").unwrap();
    assert_eq!(gone.subscriptions, 0);
}

#[tokio::test]
async fn who_is_on_its_way_in_while_it_is_disabled_has_to_go_as_well() {
    let bench = Bench::start().await;
    let name = UserId::parse("slow").unwrap();
    let identity = CredentialIdentity::User { role: Role::App };
    // The secret of a person takes its time, in which the credential changes.
    let mut credential = Credential::person(identity, SECRET, &*bench.outside).unwrap();
    let put = async |credential: &Credential| {
        let mut changes = Changes::new();
        changes.put(&(namespace(), name.clone()), credential);
        bench.store.commit(changes).await.unwrap();
    };
    put(&credential).await;
    let mut client = Client::open(bench.address, connect("slow", "slow")).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    credential.is_disabled = true;
    put(&credential).await;
    bench.broker.permissions_changed(&namespace(), &name).unwrap();
    let Some(Packet::ConnectAck(ack)) = client.receive().await else { panic!("no CONNACK") };
    match ack.reason_code {
        ConnectAckReason::Success => {
            assert_eq!(client.expect_end().await, DisconnectReasonCode::NotAuthorized);
        }
        // The machine was so busy that it had not even begun.
        refused => assert_eq!(refused, ConnectAckReason::NotAuthorized),
    }
}

#[tokio::test]
async fn a_rule_may_refuse_without_saying_why() {
    let bench = Bench::start().await;
    let silent = AclRule { reveal: Some(false), ..rule(AclPermission::Deny, "hidden/#") };
    let acl = vec![silent, rule(AclPermission::Deny, "secret/#"), rule(AclPermission::Allow, "#")];
    change(&bench, Role::App, |it| it.acl = Some(acl)).await;
    let mut app = bench.client("app", "app").await;
    for (topic, subscribed, published) in [
        ("hidden/a", SubscribeAckReason::UnspecifiedError, PublishAckReason::UnspecifiedError),
        ("secret/a", SubscribeAckReason::NotAuthorized, PublishAckReason::NotAuthorized),
        ("a", SubscribeAckReason::GrantedQos0, PublishAckReason::Success),
    ] {
        assert_eq!(app.subscribe(topic, QoS::AtMostOnce).await, subscribed, "{topic}");
        assert_eq!(app.publish_acked(message(topic, "1")).await, published, "{topic}");
    }
    assert_eq!(app.expect_payload().await, "1");
}
