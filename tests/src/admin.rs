//! The admin API as an operator with a 3.1.1 client meets it: the request id is the last topic level.

use crate::node::{Node, SECRET};
use crate::wire::{Hello, Message, Packet, Version, Wire, packet};
use serde_json::{Value, json};

/// The low bits of a PUBLISH with QoS 1 (MQTT 3.1.1 3.3.1).
const AT_LEAST_ONCE: u8 = 0b0010;

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

    /// `admin` in the default namespace, as one of several that work at a time.
    pub async fn enter_with(node: &Node, client_id: &str) -> Self {
        Self::enter_by(node, client_id.to_owned(), "admin", SECRET).await
    }

    /// A user, by the name given at CONNECT, such as `tenant/project/name`.
    pub async fn enter_as(node: &Node, user: &str, secret: &str) -> Self {
        let client_id = format!("operator-{}", user.replace('/', "-"));
        Self::enter_by(node, client_id, user, secret).await
    }

    async fn enter_by(node: &Node, client_id: String, user: &str, secret: &str) -> Self {
        let hello = Hello::new(Version::V3, &client_id).user(user, secret);
        let mut wire = node.client(&hello).await;
        let filter = format!("clients/{client_id}/reply/+");
        assert_eq!(wire.subscribe(&filter, 1).await, 1, "an operator may hear its answers");
        Self { wire, client_id, requests: 0 }
    }

    /// The data of the answer, or the error of the refusal.
    pub async fn ask(&mut self, resource: &str, verb: &str, body: Value) -> Result<Value, Value> {
        let (id, topic) = self.next_request(resource, verb);
        self.wire.publish_acked(&topic, body.to_string().as_bytes()).await;
        let answer = self.wire.next_message().await;
        self.outcome(&id, &answer)
    }

    /// As `ask`; `None` if the connection ends before the answer is there.
    pub async fn ask_until_gone(
        &mut self,
        resource: &str,
        verb: &str,
        body: Value,
    ) -> Option<Result<Value, Value>> {
        let (id, topic) = self.next_request(resource, verb);
        let packet_id = self.wire.new_id();
        let body = body.to_string();
        let request = packet::publish(
            Version::V3,
            topic.as_bytes(),
            body.as_bytes(),
            AT_LEAST_ONCE,
            packet_id,
        );
        self.wire.send(&request).await;
        loop {
            if let Packet::Publish(answer) = self.wire.next().await? {
                self.wire.acknowledge(&answer).await;
                return Some(self.outcome(&id, &answer));
            }
        }
    }

    /// The id of the next request, and its topic.
    fn next_request(&mut self, resource: &str, verb: &str) -> (String, String) {
        self.requests += 1;
        let id = format!("r{}", self.requests);
        let topic = format!("admin/{resource}/{verb}/{id}");
        (id, topic)
    }

    fn outcome(&self, id: &str, answer: &Message) -> Result<Value, Value> {
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
