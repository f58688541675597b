//! An edge node that its hub does not know yet registers by an enrolment of the hub, once.
//!
//! What it needs for that, the nonce, is kept before it asks, so that an answer that was lost comes again. What it is
//! given it keeps, and comes in by it from then on, whatever becomes of the enrolment.

use super::settings::UplinkSettings;
use drivers::bridge::{Link, LinkEvent, RemoteConfig, RemoteMessage, RemoteProperties};
use futures_util::FutureExt;
use proto::admin::Reply;
use proto::id::{AdminWord, RequestId};
use proto::{EdgeId, Namespace, PlatformTopic, Qos};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::time::Duration;
use store::{Row, RowError};
use tokio::time::timeout;

/// For the connection, and the hub's answer on it.
const PATIENCE: Duration = Duration::from_secs(15);

/// For the goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// How an edge node came to its hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolmentRow {
    /// The enrolment that it came by, and the hub that it is one of.
    pub(super) enrolment: String,
    pub(super) url: String,
    /// A random text of its own.
    pub(super) nonce: String,
    /// What it comes in by, once it is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) own: Option<Own>,
}

/// What an edge node comes in by.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Own {
    pub(super) user: String,
    pub(super) secret: String,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Own({:?})", self.user)
    }
}

impl EnrolmentRow {
    /// The beginning of a registration.
    pub(super) fn new(enrolment: &str, url: &str, random: [u64; 4]) -> Self {
        let nonce = random.map(|part| format!("{part:016x}")).concat();
        Self { enrolment: enrolment.to_owned(), url: url.to_owned(), nonce, own: None }
    }

    /// Whether it is of this enrolment of this hub; any other is a new beginning.
    pub(super) fn is_of(&self, enrolment: &str, url: &str) -> bool {
        self.enrolment == enrolment && self.url == url
    }
}

/// Has the hub register the edge node; what it comes in by from then on. An error says why not, for now.
pub(super) async fn register(
    settings: UplinkSettings,
    edge: EdgeId,
    row: EnrolmentRow,
) -> Result<Own, String> {
    // Another one than that of the edge node, which may be there already.
    let client_id = format!("{}-registers", settings.remote.client_id);
    let request_id = RequestId::parse("1").map_err(|it| it.to_string())?;
    let client = RequestId::parse(&client_id).map_err(|it| it.to_string())?;
    let reply = PlatformTopic::Reply { client, request_id: request_id.clone() };
    let word = |text: &str| AdminWord::parse(text).map_err(|it| it.to_string());
    let (resource, verb) = (word("enrolments")?, word("register")?);
    let topic = PlatformTopic::Admin { resource, verb, request_id: Some(request_id) };
    let body = json!({ "serial": edge, "nonce": row.nonce }).to_string();
    let question = RemoteMessage {
        topic: topic.topic(),
        payload: body.into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: RemoteProperties::default(),
    };
    let remote = RemoteConfig { user_name: Some(row.enrolment), client_id, ..settings.remote };
    let mut link =
        Link::open(&remote, vec![reply.topic().into()]).map_err(|it| it.reason.clone())?;
    let asked = timeout(PATIENCE, ask(&mut link, &question)).await;
    let answer = asked.unwrap_or_else(|_| Err("the hub does not answer".to_owned()));
    link.close(GOODBYE).await;
    understood(&edge, answer?)
}

/// Publishes the question when the answer can be heard, and waits for that.
async fn ask(link: &mut Link, question: &RemoteMessage) -> Result<Json, String> {
    let mut sending = futures_util::future::pending().boxed().fuse();
    loop {
        tokio::select! {
            event = link.next() => match event.ok_or("the client of the hub has ended")? {
                LinkEvent::Connected(_) => {}
                LinkEvent::Subscribed(answer) if answer.refused.is_empty() => {
                    sending = link.publish(question).fuse();
                }
                LinkEvent::Subscribed(_) => return Err("the hub lets nobody hear its answer".to_owned()),
                LinkEvent::Received(received) => {
                    link.acknowledge(received.ack);
                    let Some(message) = received.message else { continue };
                    let reply = serde_json::from_slice::<Reply>(&message.payload);
                    let outcome = reply.map_err(|error| error.to_string())?.into_outcome();
                    return outcome.map_err(|refusal| refusal.to_string());
                }
                LinkEvent::Lost(reason) => return Err(reason),
            },
            sent = &mut sending => sent.map_err(|error| error.to_string())?,
        }
    }
}

/// What the hub's answer says.
fn understood(edge: &EdgeId, answer: Json) -> Result<Own, String> {
    let text = |field: &str| answer[field].as_str().map(str::to_owned);
    let missing = |field: &str| format!("the answer of the hub has no `{field}`");
    let name = text("edge").ok_or("the enrolment registers no edge nodes")?;
    if name != edge.as_str() {
        return Err(format!("the hub calls it `{name}`: that has to be `edge.id`"));
    }
    let user = text("user").ok_or_else(|| missing("user"))?;
    let secret = text("secret").ok_or_else(|| missing("secret"))?;
    Ok(Own { user, secret })
}

impl Row for EnrolmentRow {
    type Key = Namespace;
    const TABLE: &'static str = "uplink_enrolment";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_if_it_names_this_edge_node() {
        let edge = EdgeId::parse("press").unwrap();
        let good = json!({ "edge": "press", "user": "default/default/press", "secret": "s" });
        let own = Own { user: "default/default/press".into(), secret: "s".into() };
        assert_eq!(understood(&edge, good), Ok(own));
        for (answer, word) in [
            (json!({ "edge": "site-press", "user": "u", "secret": "s" }), "`site-press`"),
            (json!({ "thing": "press", "user": "u", "secret": "s" }), "no edge nodes"),
            (json!({ "edge": "press", "user": "u" }), "`secret`"),
        ] {
            let why = understood(&edge, answer).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn another_hub_or_enrolment_is_a_new_beginning() {
        let row = EnrolmentRow::new("sites", "mqtt://a", [1, 2, 3, 4]);
        assert_eq!(row.nonce.len(), 64);
        assert!(row.is_of("sites", "mqtt://a"));
        assert!(!row.is_of("others", "mqtt://a") && !row.is_of("sites", "mqtt://b"));
    }
}
