//! Who comes in, and what it may do.

use crate::wire::{Bench, Client, connect, message, namespace};
use broker::{AclAction, AclPermission, AclRule, Anonymous, BrokerConfig, Reason};
use bytes::Bytes;
use proto::{ClientId, Identity, Role, ThingId};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{
    self, ConnectAckReason, DisconnectReasonCode, PublishAckReason, SubscribeAckReason,
};

#[tokio::test]
async fn only_the_right_name_and_secret_come_in() {
    let bench = Bench::start().await;
    let refused = ConnectAckReason::BadUserNameOrPassword;
    let wrong_secret =
        v5::Connect { password: Some(Bytes::from_static(b"wrong")), ..connect("c", "app") };
    let no_secret = v5::Connect { password: None, ..connect("c", "app") };
    let anonymous = v5::Connect { username: None, password: None, ..connect("c", "app") };
    let cases = [
        (connect("c", "app"), ConnectAckReason::Success),
        (connect("c", "nobody"), refused),
        (connect("c", "acme/berlin/nobody"), refused),
        (connect("c", "a b"), refused),
        (wrong_secret, refused),
        (no_secret, refused),
        (anonymous, refused),
    ];
    for (connect, expected) in cases {
        let user = connect.username.clone();
        let (_, ack) = Client::connect(bench.address, connect).await;
        assert_eq!(ack.reason_code, expected, "{user:?}");
    }
}

#[tokio::test]
async fn what_strangers_may_do_is_narrowed_by_their_list() {
    let rule = |action, topic: &str, qos_max| AclRule {
        permission: AclPermission::Allow,
        action,
        topic: topic.to_owned(),
        qos_max,
        retain: None,
        reveal: None,
    };
    let acl = vec![
        rule(AclAction::Publish, "guests/%c/#", Some(1)),
        rule(AclAction::Subscribe, "guests/#", None),
        // A list never widens a role.
        rule(AclAction::All, "uns/#", None),
    ];
    let anonymous = Anonymous { namespace: namespace(), role: Role::App, acl: Some(acl) };
    let config = BrokerConfig { anonymous: Some(anonymous), ..BrokerConfig::default() };
    let bench = Bench::start_as(config).await;
    let stranger = v5::Connect { username: None, password: None, ..connect("c1", "") };
    let (mut stranger, ack) = Client::connect(bench.address, stranger).await;
    assert_eq!(ack.reason_code, ConnectAckReason::Success);
    for (topic, expected) in [
        ("guests/c1/x", PublishAckReason::NoMatchingSubscribers),
        ("guests/c2/x", PublishAckReason::NotAuthorized),
        ("free", PublishAckReason::NotAuthorized),
        ("uns/a/_raw/x", PublishAckReason::NotAuthorized),
    ] {
        assert_eq!(stranger.publish_acked(message(topic, "1")).await, expected, "{topic}");
    }
    for (filter, expected) in [
        ("guests/+/x", SubscribeAckReason::GrantedQos1),
        ("uns/#", SubscribeAckReason::GrantedQos1),
        ("plant/#", SubscribeAckReason::NotAuthorized),
    ] {
        assert_eq!(stranger.subscribe(filter, QoS::AtLeastOnce).await, expected, "{filter}");
    }
    // Whoever has a name is not a stranger.
    let mut app = bench.client("c2", "app").await;
    let reason = app.publish_acked(message("guests/c2/x", "1")).await;
    assert_eq!(reason, PublishAckReason::Success);
}

#[tokio::test]
async fn a_device_speaks_for_itself_only() {
    let bench = Bench::start().await;
    let mut device = bench.client("pump7", "pump7").await;
    let cases = [
        ("things/pump7/telemetry", PublishAckReason::NoMatchingSubscribers),
        ("things/pump8/telemetry", PublishAckReason::NotAuthorized),
        ("things/pump7/status", PublishAckReason::NotAuthorized),
        ("uns/acme/_raw/x", PublishAckReason::NotAuthorized),
        ("admin/things/list", PublishAckReason::NotAuthorized),
        ("anything/else", PublishAckReason::NotAuthorized),
    ];
    for (topic, expected) in cases {
        assert_eq!(device.publish_acked(message(topic, "1")).await, expected, "{topic}");
    }
    let cases = [
        ("things/pump7/#", SubscribeAckReason::GrantedQos1),
        ("clients/pump7/reply/+", SubscribeAckReason::GrantedQos1),
        ("#", SubscribeAckReason::NotAuthorized),
        ("things/pump8/#", SubscribeAckReason::NotAuthorized),
        ("clients/other/reply/+", SubscribeAckReason::NotAuthorized),
    ];
    for (filter, expected) in cases {
        assert_eq!(device.subscribe(filter, QoS::AtLeastOnce).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn a_wildcard_brings_only_what_the_role_may_see() {
    let bench = Bench::start().await;
    let mut admin = bench.admin("admin").await;
    let mut viewer = bench.client("viewer", "viewer").await;
    viewer.subscribe("#", QoS::AtLeastOnce).await;
    admin.publish("admin/things/create", "{\"thing\":\"secret\"}").await;
    admin.publish("plant/level", "1").await;
    assert_eq!(viewer.expect_payload().await, "1");
}

#[tokio::test]
async fn the_platform_is_not_made_to_answer_where_the_asker_may_not_listen() {
    let bench = Bench::start().await;
    let mut device = bench.client("pump7", "pump7").await;
    let mut request = message("things/pump7/shadow/get", "");
    request.properties.as_mut().unwrap().response_topic = Some("things/pump8/shadow/update".into());
    assert_eq!(device.publish_acked(request).await, PublishAckReason::NotAuthorized);
}

#[tokio::test]
async fn an_operator_ends_a_connection_or_an_identity() {
    let bench = Bench::start().await;
    let mut app = bench.client("app", "app").await;
    let client = ClientId::parse("app").unwrap();
    assert!(bench.broker.disconnect(&namespace(), &client, Reason::AdministrativeAction));
    assert_eq!(app.expect_end().await, DisconnectReasonCode::AdministrativeAction);
    let (mut device, _) = bench.durable("pump7", "pump7").await;
    device.subscribe("things/pump7/#", QoS::AtLeastOnce).await;
    let identity = Identity::Thing(ThingId::parse("pump7").unwrap());
    assert_eq!(bench.broker.disconnect_identity(&namespace(), &identity), 1);
    assert_eq!(device.expect_end().await, DisconnectReasonCode::NotAuthorized);
    let (_, is_present) = bench.durable("pump7", "pump7").await;
    assert!(!is_present, "the session has ended with it");
}

#[tokio::test]
async fn the_operator_sees_who_is_connected() {
    let bench = Bench::start().await;
    let mut app = bench.client("app", "app").await;
    app.subscribe("a", QoS::AtMostOnce).await;
    app.publish_acked(message("b", "1")).await;
    crate::wire::until(|| {
        let found = bench.broker.connections(&namespace());
        found.len() == 1 && found[0].received == 1 && found[0].subscriptions == 1
    })
    .await;
    let found = bench.broker.connections(&namespace());
    assert_eq!(found[0].protocol, "mqtt 5");
    assert_eq!(found[0].keep_alive_secs, 60);
}
