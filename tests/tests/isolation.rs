//! Two tenants on one node: nothing of the one is ever seen by the other.
//!
//! Silence is not waited for: the other tenant's own message, sent last, must be the first to arrive.

use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Hello, Version, Wire};
use serde_json::json;

/// The administrators of two projects of different tenants.
struct Tenants {
    node: Node,
    users: [(String, String); 2],
}

impl Tenants {
    async fn start() -> Self {
        let node = Site::new().start().await;
        let mut users = Vec::new();
        let mut system = Admin::enter(&node).await;
        for tenant in ["acme", "umbrella"] {
            system.must("tenants", "create", json!({ "tenant": tenant })).await;
            let project = json!({ "tenant": tenant, "project": "plant" });
            system.must("projects", "create", project).await;
            let entrance = format!("{tenant}/plant/admin");
            let mut admin = Admin::enter_as(&node, &entrance, SECRET).await;
            let secret = admin.create_user("boss", "project_admin").await;
            users.push((format!("{tenant}/plant/boss"), secret));
        }
        let [one, other] = users.try_into().expect("there are two");
        Self { node, users: [one, other] }
    }

    fn hello(&self, tenant: usize, client_id: &str) -> Hello {
        let (user, secret) = &self.users[tenant];
        Hello::new(Version::V5, client_id).user(user, secret)
    }

    async fn client(&self, tenant: usize, client_id: &str) -> Wire {
        self.node.client(&self.hello(tenant, client_id)).await
    }

    /// The next message of the client of the second tenant is this one of its own.
    async fn hears_its_own_first(&self, client: &mut Wire, topic: &str) {
        let mut own = self.client(1, "marker").await;
        assert_eq!(own.publish_acked(topic, b"own").await, 0, "it has its subscriber");
        let message = client.next_message().await;
        assert_eq!((message.topic.as_str(), message.text()), (topic, "own"));
        own.leave().await;
    }
}

#[tokio::test]
async fn a_subscription_to_everything_ends_at_the_tenant() {
    let tenants = Tenants::start().await;
    let mut client = tenants.client(1, "all").await;
    for filter in ["#", "+/+", "+/plant/#", "acme/#", "$SYS/#"] {
        client.subscribe(filter, 1).await;
    }
    let mut other = tenants.client(0, "speaker").await;
    for topic in ["machine/1", "plant/x", "acme/plant/machine", "uns/acme/_raw/x"] {
        // Nobody is subscribed where it is sent: 0x10.
        assert_eq!(other.publish_acked(topic, b"secret").await, 0x10, "{topic}");
    }
    let mut first = Vec::new();
    let mut own = tenants.client(1, "marker").await;
    assert_eq!(own.publish_acked("machine/own", b"own").await, 0);
    // Its own coming and going is what else there is to see.
    while first.last().is_none_or(|topic: &String| topic != "machine/own") {
        let message = client.next_message().await;
        assert_ne!(message.text(), "secret", "{message:?}");
        assert!(!message.text().contains("speaker"), "{message:?}");
        first.push(message.topic);
    }
}

#[tokio::test]
async fn a_retained_message_stays_in_its_tenant() {
    let tenants = Tenants::start().await;
    let mut other = tenants.client(0, "speaker").await;
    assert!(other.retain("machine/kept", b"secret").await <= 0x10);
    let mut client = tenants.client(1, "late").await;
    assert_eq!(client.subscribe("machine/+", 1).await, 1);
    tenants.hears_its_own_first(&mut client, "machine/own").await;
    // The tenant itself has it.
    assert_eq!(other.subscribe("machine/+", 1).await, 1);
    assert_eq!(other.next_message().await.text(), "secret");
}

#[tokio::test]
async fn a_will_is_published_in_its_tenant() {
    let tenants = Tenants::start().await;
    let mut client = tenants.client(1, "all").await;
    assert_eq!(client.subscribe("machine/+", 1).await, 1);
    let mut witness = tenants.client(0, "witness").await;
    assert_eq!(witness.subscribe("machine/+", 1).await, 1);
    let hello = tenants.hello(0, "mortal").will("machine/will", "secret");
    drop(tenants.node.client(&hello).await);
    assert_eq!(witness.next_message().await.text(), "secret");
    tenants.hears_its_own_first(&mut client, "machine/own").await;
}

#[tokio::test]
async fn a_shared_subscription_is_shared_within_its_tenant() {
    let tenants = Tenants::start().await;
    let mut client = tenants.client(1, "member").await;
    let mut member = tenants.client(0, "member").await;
    for wire in [&mut client, &mut member] {
        assert_eq!(wire.subscribe("$share/group/machine/+", 1).await, 1);
    }
    let mut other = tenants.client(0, "speaker").await;
    for number in 0..20 {
        let text = number.to_string();
        assert_eq!(other.publish_acked("machine/1", text.as_bytes()).await, 0);
        assert_eq!(member.next_message().await.text(), text, "the only member gets all");
    }
    tenants.hears_its_own_first(&mut client, "machine/own").await;
}

#[tokio::test]
async fn the_same_client_id_is_another_session_in_another_tenant() {
    let tenants = Tenants::start().await;
    let hello = |tenant| tenants.hello(tenant, "same").persistent();
    let mut one = tenants.node.client(&hello(0)).await;
    assert_eq!(one.subscribe("machine/+", 1).await, 1);
    let other = tenants.node.client(&hello(1)).await;
    assert!(!other.is_session_present(), "a session of another tenant was taken over");
    other.leave().await;
    let mut speaker = tenants.client(0, "speaker").await;
    assert_eq!(speaker.publish_acked("machine/1", b"still here").await, 0);
    assert_eq!(one.next_message().await.text(), "still here");
    drop(one);
    assert_eq!(speaker.publish_acked("machine/1", b"kept").await, 0);
    let mut other = tenants.node.client(&hello(1)).await;
    assert_eq!(other.subscribe("machine/+", 1).await, 1);
    tenants.hears_its_own_first(&mut other, "machine/own").await;
}

#[tokio::test]
async fn a_user_of_one_tenant_does_not_enter_another() {
    let tenants = Tenants::start().await;
    let (_, secret) = &tenants.users[0];
    for user in ["umbrella/plant/boss", "default/default/boss", "system/system/boss", "boss"] {
        let hello = Hello::new(Version::V5, "stranger").user(user, secret);
        let mut wire = Wire::open(tenants.node.mqtt(), Version::V5).await;
        wire.send(&hello.encode()).await;
        let ending = wire.ending().await;
        assert_eq!(ending, manifold_tests::wire::Ending::Refused(0x86), "{user}");
    }
}
