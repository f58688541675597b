//! The first start, later ones, and the stop.

use crate::world::World;
use actors::Settings;
use broker::credential::{Credential, system_namespace};
use proto::{Identity, Role, UserId};
use serde_json::json;

fn admin(world: &World) -> Credential {
    let key = (system_namespace(), UserId::parse("admin").unwrap());
    world.store.read().unwrap().get::<Credential>(&key).unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_start_makes_an_operator_once_and_keeps_only_a_hash() {
    let mut world = World::new();
    world.settings = Settings::default();
    let node = world.start().await;
    let made = node.platform.first_admin().unwrap().clone();
    assert!(made.is_generated && made.secret.len() >= 32, "{made:?}");
    assert!(!format!("{made:?}").contains(&made.secret), "the secret stays out of logs");
    let credential = admin(&world);
    assert!(credential.verify(made.secret.as_bytes()));
    let name = UserId::parse("admin").unwrap();
    let identity = Identity::User { name: name.clone(), role: Role::SystemAdmin };
    assert_eq!(credential.identity(&name), identity);
    node.stop().await;

    let node = world.start().await;
    assert_eq!(node.platform.first_admin(), None);
    assert_eq!(admin(&world), credential);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_operator_can_be_given_a_secret() {
    let mut world = World::new();
    world.settings.admin_secret = Some("correct horse".to_owned());
    let node = world.start().await;
    assert!(!node.platform.first_admin().unwrap().is_generated);
    assert!(admin(&world).verify(b"correct horse"));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_tree_says_when_it_is_ready_and_stops_what_it_started() {
    let world = World::new();
    let node = world.start().await;
    assert!(node.platform.is_ready());
    assert_eq!(node.figures().tenants, 2);
    let mut app = node.peer("app");
    app.thing("p1").await;
    app.publish("things/p1/telemetry", r#"{"a":1}"#);
    let broker = node.broker.clone();
    node.stop().await;
    let default = proto::Namespace::default();
    let left: Vec<_> = broker.connections(&default).into_iter().map(|it| it.client_id).collect();
    assert_eq!(left.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["app"]);
    assert_eq!(
        app.retained("uns/default/p1/_raw/a").unwrap()["v"],
        json!(1),
        "what was in the mailbox is done"
    );
}
