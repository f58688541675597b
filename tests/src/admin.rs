//! The admin API as an operator with a 3.1.1 client meets it: the request id is the last topic level.

use crate::node::{Node, SECRET};
use crate::wire::{Hello, Version, Wire};
use serde_json::{Value, json};

/// An operator's connection.
#[derive(Debug)]
pub struct Admin {
    wire: Wire,
    client_id: String,
    requests: u64,
}

impl Admin {
    /// `admin` in the default namespace.
    pub async fn enter(node: &Node) -> Self {
        Self::enter_as(node, "admin", SECRET).await
    }

    /// A user, by the name given at CONNECT, such as `tenant/project/name`.
    pub async fn enter_as(node: &Node, user: &str, secret: &str) -> Self {
        let client_id = format!("operator-{}", user.replace('/', "-"));
        let hello = Hello::new(Version::V3, &client_id).user(user, secret);
        let mut wire = node.client(&hello).await;
        let filter = format!("clients/{client_id}/reply/+");
        assert_eq!(wire.subscribe(&filter, 1).await, 1, "an operator may hear its answers");
        Self { wire, client_id, requests: 0 }
    }

    /// The data of the answer, or the error of the refusal.
    pub async fn ask(&mut self, resource: &str, verb: &str, body: Value) -> Result<Value, Value> {
        self.requests += 1;
        let id = format!("r{}", self.requests);
        let topic = format!("admin/{resource}/{verb}/{id}");
        self.wire.publish_acked(&topic, body.to_string().as_bytes()).await;
        let answer = self.wire.next_message().await;
        assert_eq!(answer.topic, format!("clients/{}/reply/{id}", self.client_id));
        let mut answer = answer.json();
        match answer["ok"].as_bool() {
            Some(true) => Ok(answer["data"].take()),
            Some(false) => Err(answer["error"].take()),
            None => panic!("an answer says whether it is ok: {answer}"),
        }
    }

    /// The data of the answer; a refusal fails the test.
    pub async fn must(&mut self, resource: &str, verb: &str, body: Value) -> Value {
        match self.ask(resource, verb, body.clone()).await {
            Ok(data) => data,
            Err(error) => panic!("{resource} {verb} {body} is refused: {error}"),
        }
    }

    /// Registers a thing, and gives its secret.
    pub async fn create_thing(&mut self, thing: &str, location: &str) -> String {
        let body = json!({ "thing": thing, "location": location });
        secret(&self.must("things", "create", body).await)
    }

    /// Makes a user with a role, and gives its secret.
    pub async fn create_user(&mut self, user: &str, role: &str) -> String {
        secret(&self.must("users", "create", json!({ "user": user, "role": role })).await)
    }
}

fn secret(data: &Value) -> String {
    data["secret"].as_str().expect("a secret is generated").to_owned()
}
