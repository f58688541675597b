//! The permission matrix, cell by cell: the tables of `docs/tenants.md` against real requests and messages of each
//! role.
//!
//! The page is the data: a table of it that the code does not keep to, or that leaves an operation out, fails here.

use crate::tenants::enter;
use crate::wire::Wire;
use crate::world::{Node, Peer, World};
use proto::Namespace;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;

const PAGE: &str = include_str!("../../../docs/tenants.md");

/// The columns of both tables.
const ROLES: [&str; 7] =
    ["system_admin", "tenant_admin", "project_admin", "user", "app", "device", "enrolment"];

/// The column of devices that are not registered yet.
const ENROLMENT: usize = 6;

/// The rows of the table of the page whose first heading is `first`: the first cell, and the others.
fn table(first: &str) -> Vec<(String, Vec<String>)> {
    let heading = format!("| {first} |");
    let lines = PAGE.lines().skip_while(|line| !line.starts_with(&heading));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_matches('|');
        inner.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let rows: Vec<_> = rows
        .map(cells)
        .map(|mut cells| {
            let first = cells.remove(0);
            (first, cells)
        })
        .collect();
    assert!(!rows.is_empty(), "the page has the table `{first}`");
    rows
}

/// Each operation of the page, with whether each role may ask for it.
fn matrix() -> BTreeMap<String, [bool; 7]> {
    let mut matrix = BTreeMap::new();
    for (resource, cells) in table("resource") {
        // Each column has the verbs that are for its role and those above, but for the last, which is for itself.
        let least = [0, 1, 2, 3, ENROLMENT];
        for (cell, least) in cells.iter().zip(least) {
            for verb in cell.split_whitespace().filter(|verb| *verb != "-") {
                let may = |role: usize| match role {
                    role if least == ENROLMENT => role == ENROLMENT,
                    0..=2 => 3 - role >= least,
                    3 | 4 => least == 0,
                    _ => false,
                };
                let name = format!("{resource}/{verb}");
                let cell = std::array::from_fn(may);
                assert!(matrix.insert(name.clone(), cell).is_none(), "{name} stands there twice");
            }
        }
    }
    matrix
}

/// A project with one client of each role.
struct Cast {
    node: Node,
    there: Peer,
    clients: Vec<Wire>,
    _world: World,
}

async fn device(there: &mut Peer, address: SocketAddr) -> Wire {
    let mut secret = String::new();
    for thing in ["pump7", "pump8"] {
        let made = there.done("things/create", json!({"thing":thing})).await;
        if thing == "pump7" {
            secret = made["secret"].as_str().unwrap().to_owned();
        }
    }
    Wire::connect(address, "c-device", "acme/berlin/pump7", &secret).await.unwrap()
}

async fn enrolment(there: &mut Peer, address: SocketAddr) -> Wire {
    let made = there.done("enrolments/create", json!({"enrolment":"door"})).await;
    let secret = made["secret"].as_str().unwrap();
    Wire::connect(address, "c-enrolment", "acme/berlin/door", secret).await.unwrap()
}

async fn cast() -> Cast {
    let world = World::new();
    let node = world.start().await;
    let address = node.listen().await;
    let mut app = node.peer("app");
    app.done("tenants/create", json!({"tenant":"acme"})).await;
    app.done("projects/create", json!({"tenant":"acme","project":"berlin"})).await;
    let mut there = node.peer_in(&Namespace::parse("acme/berlin").unwrap(), "there");
    let mut clients = Vec::new();
    for role in ROLES {
        let mut client = match role {
            "device" => device(&mut there, address).await,
            "enrolment" => enrolment(&mut there, address).await,
            "system_admin" => {
                let (name, secret) = ("acme/berlin/admin", "the secret of the admin");
                Wire::connect(address, "c-system_admin", name, secret).await.unwrap()
            }
            role => enter(&mut app, address, "acme/berlin", role, role).await.0,
        };
        if matches!(role, "device" | "system_admin" | "enrolment") {
            client.hear_answers().await;
        }
        clients.push(client);
    }
    Cast { node, there, clients, _world: world }
}

#[tokio::test]
async fn every_operation_is_for_the_roles_of_the_page_and_for_no_others() {
    let Cast { node, mut there, mut clients, .. } = cast().await;
    let matrix = matrix();
    let catalog = there.done("$catalog/get", json!({})).await;
    let mut operations = Vec::new();
    for resource in catalog["resources"].as_array().unwrap() {
        for operation in resource["operations"].as_array().unwrap() {
            let (resource, verb) = (&resource["resource"], &operation["verb"]);
            operations.push(format!("{}/{}", resource.as_str().unwrap(), verb.as_str().unwrap()));
        }
    }
    operations.sort();
    let listed: Vec<_> = matrix.keys().cloned().collect();
    assert_eq!(listed, operations, "the page has every operation, and no other");
    // What nothing takes: whoever may ask is told so, and nothing is changed.
    let body = json!({"no_such_field":true});
    for (operation, cells) in &matrix {
        for ((role, client), may) in ROLES.iter().zip(&mut clients).zip(cells) {
            if *role == "device" || *role == "enrolment" && !may {
                let code = client.publish(&format!("admin/{operation}/1"), "{}").await;
                assert_eq!(code, 0x87, "{operation} by {role}");
                assert!(!may, "{operation}");
                continue;
            }
            let answer = client.admin(operation, &body).await;
            let is_forbidden = answer["error"]["code"] == json!("forbidden");
            assert_eq!(!is_forbidden, *may, "{operation} by {role}: {answer}");
        }
    }
    node.stop().await;
}

/// Whether a client hears what the platform says on a topic.
async fn hears(there: &Peer, client: &mut Wire, role: &str, topic: &str) -> bool {
    if client.subscribe(topic).await >= 0x80 {
        return false;
    }
    there.publish(topic, r#"{"a":1}"#);
    let end = format!("clients/c-{role}/reply/end");
    there.publish(&end, "{}");
    let mut has_heard = false;
    loop {
        let (heard, _) = client.message().await;
        has_heard |= heard == topic;
        if heard == end {
            return has_heard;
        }
    }
}

#[tokio::test]
async fn every_role_publishes_and_hears_what_the_page_says() {
    let Cast { node, there, mut clients, .. } = cast().await;
    let rows = table("topic");
    assert!(rows.len() >= 15, "{rows:?}");
    for (topic, cells) in rows {
        assert_eq!(cells.len(), ROLES.len(), "{topic}");
        for ((role, client), cell) in ROLES.iter().zip(&mut clients).zip(cells) {
            let topic = topic.replace("<own>", &format!("c-{role}"));
            let may_publish = client.publish(&topic, r#"{"a":1}"#).await < 0x80;
            let hears = hears(&there, client, role, &topic).await;
            let found = match (may_publish, hears) {
                (true, true) => "p s",
                (true, false) => "p",
                (false, true) => "s",
                (false, false) => "-",
            };
            assert_eq!(found, cell, "{topic} by {role}");
        }
    }
    node.stop().await;
}

#[test]
fn the_columns_of_the_page_are_the_roles() {
    let headings: Vec<_> = PAGE.lines().filter(|line| line.starts_with("| topic |")).collect();
    let expected = format!("| topic | {} |", ROLES.map(|role| format!("`{role}`")).join(" | "));
    assert_eq!(headings, [expected]);
}
