//! Several tenants at once, at random and over restarts: nobody observes anything of another, by any channel.
//!
//! Everything that is made in a project bears its mark. A mark in what a client of another project is given, in the
//! answers of the admin API and in the texts of refusals, is a leak.

use crate::wire::Wire;
use crate::world::{Node, World};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// Two tenants with two projects each.
const PROJECTS: [(&str, &str); 4] =
    [("acme", "berlin"), ("acme", "paris"), ("umbrella", "berlin"), ("umbrella", "paris")];

/// What a client does.
#[derive(Debug, Clone)]
enum Step {
    /// Retains a message, on a topic that all have and on one of its own.
    Retain(u8),
    /// Registers a thing and reports as it.
    Report(u8),
    /// Asks for the shadow of a thing, its own or one of that number elsewhere.
    Shadow(u8),
    /// Makes a user, a role and a token.
    Grant(u8),
    /// Reads all it can, and asks for what is another's.
    Look { at: usize },
    /// Subscribes to everything anew, also with others.
    Listen,
    /// The node is started anew.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8).prop_map(Step::Retain),
        4 => (0..3_u8).prop_map(Step::Report),
        3 => (0..3_u8).prop_map(Step::Shadow),
        2 => (0..3_u8).prop_map(Step::Grant),
        4 => (0..PROJECTS.len()).prop_map(|at| Step::Look { at }),
        2 => Just(Step::Listen),
        1 => Just(Step::Restart),
    ]
}

fn mark(project: usize) -> String {
    let (tenant, name) = PROJECTS[project];
    format!("mark-{tenant}-{name}")
}

/// The running node with a tenant admin in each project.
struct Scene {
    world: World,
    node: Node,
    secrets: Vec<String>,
    clients: Vec<Wire>,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new();
        let node = world.start().await;
        let mut app = node.peer("app");
        let mut secrets = Vec::new();
        for (tenant, project) in PROJECTS {
            app.admin("tenants/create", json!({"tenant":tenant})).await;
            app.done("projects/create", json!({"tenant":tenant,"project":project})).await;
            let namespace = format!("{tenant}/{project}");
            let boss = json!({"namespace":namespace,"user":"boss","role":"tenant_admin"});
            let made = app.done("users/create", boss).await;
            secrets.push(made["secret"].as_str().unwrap().to_owned());
        }
        drop(app);
        let mut scene = Self { world, node, secrets, clients: Vec::new() };
        scene.enter().await;
        scene
    }

    async fn enter(&mut self) {
        let address = self.node.listen().await;
        for (at, (tenant, project)) in PROJECTS.iter().enumerate() {
            // The same client id everywhere: a session is of its project.
            let user = format!("{tenant}/{project}/boss");
            let mut wire = Wire::connect(address, "boss", &user, &self.secrets[at]).await.unwrap();
            wire.hear_answers().await;
            assert_eq!(wire.subscribe("#").await, 1);
            self.clients.push(wire);
        }
    }

    async fn restart(self) -> Self {
        let Self { world, node, secrets, mut clients } = self;
        check(&mut clients);
        drop(clients);
        node.stop().await;
        let node = world.start().await;
        let mut scene = Self { world, node, secrets, clients: Vec::new() };
        scene.enter().await;
        scene
    }

    async fn perform(&mut self, by: usize, step: &Step) {
        let mark = mark(by);
        let client = &mut self.clients[by];
        match step {
            Step::Retain(number) => {
                client.retain("plant/shared", &mark).await;
                client.retain(&format!("plant/{mark}/{number}"), &mark).await;
            }
            Step::Report(number) => {
                client.admin("things/create", &json!({"thing":format!("t{number}")})).await;
                let telemetry = json!({"said":mark}).to_string();
                client.publish(&format!("things/t{number}/telemetry"), &telemetry).await;
                let state = json!({"state":{"reported":{"said":mark}}}).to_string();
                client.publish(&format!("things/t{number}/shadow/update"), &state).await;
            }
            Step::Shadow(number) => {
                client.publish(&format!("things/t{number}/shadow/get"), "").await;
            }
            Step::Grant(number) => {
                let user = json!({"user":format!("u{number}-{mark}"),"role":"app"});
                client.admin("users/create", &user).await;
                let token = json!({"user":user["user"],"credential":mark});
                client.admin("credentials/create", &token).await;
                let role = json!({"role":format!("r-{mark}"),"base":"app","acl":[]});
                client.admin("roles/create", &role).await;
            }
            Step::Look { at } => look(client, *at).await,
            Step::Listen => {
                client.subscribe("$share/all/#").await;
                client.subscribe("#").await;
            }
            Step::Restart => {}
        }
    }
}

/// Every list, and what the project `at` would have to show.
async fn look(client: &mut Wire, at: usize) {
    for list in [
        "projects",
        "tenants",
        "users",
        "roles",
        "credentials",
        "things",
        "connections",
        "subscriptions",
        "retained",
    ] {
        client.admin(&format!("{list}/list"), &json!({})).await;
    }
    let (tenant, project) = PROJECTS[at];
    let namespace = format!("{tenant}/{project}");
    for operation in ["users/list", "roles/list", "credentials/list"] {
        client.admin(operation, &json!({"namespace":namespace})).await;
    }
    let one = json!({"tenant":tenant,"project":project});
    for verb in ["get", "update", "create"] {
        client.admin(&format!("projects/{verb}"), &one).await;
    }
    client.admin("tenants/get", &json!({"tenant":tenant})).await;
}

/// Looks through what each client has been given.
fn check(clients: &mut [Wire]) {
    for (at, client) in clients.iter_mut().enumerate() {
        let (tenant, _) = PROJECTS[at];
        for (topic, payload) in client.heard.drain(..) {
            // What it asks itself it hears as well.
            if topic.starts_with("admin/") {
                continue;
            }
            let said = String::from_utf8_lossy(&payload);
            let is_answer = topic.starts_with("clients/boss/reply/");
            for (other, (other_tenant, _)) in PROJECTS.iter().enumerate() {
                // A tenant admin may ask for what is in the other projects of its tenant.
                let may_know = other == at || is_answer && *other_tenant == tenant;
                let is_leak = said.contains(&mark(other)) || topic.contains(&mark(other));
                assert!(may_know || !is_leak, "{topic} in {:?}: {said}", PROJECTS[at]);
                let is_named = is_answer && said.contains(other_tenant);
                assert!(*other_tenant == tenant || !is_named, "{:?}: {said}", PROJECTS[at]);
            }
        }
    }
}

/// Waits until what was under way has arrived.
async fn settle(clients: &mut [Wire]) {
    for client in clients {
        let answer: Json = client.admin("metrics/get", &json!({})).await;
        assert_eq!(answer["ok"], json!(true));
    }
}

async fn run(steps: Vec<(usize, Step)>) {
    let mut scene = Scene::new().await;
    for (by, step) in steps {
        if matches!(step, Step::Restart) {
            scene = scene.restart().await;
        }
        scene.perform(by, &step).await;
        settle(&mut scene.clients).await;
        check(&mut scene.clients);
    }
    scene.node.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nobody_observes_anything_of_another_tenant(
        steps in proptest::collection::vec((0..PROJECTS.len(), step()), 20..50),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(run(steps));
    }
}
