//! Requests of operators to edge nodes, and the answers that are waited for.
//!
//! An edge node serves the admin API itself. The hub hands it requests of operators whom it has checked, and the edge
//! node answers; nothing of that is kept. An edge node without a connection is told nothing: what it should have is
//! asked for again.

use crate::context::Context;
use broker::{Client, Outgoing};
use parking_lot::Mutex;
use proto::admin::Reply;
use proto::platform::EdgeTopic;
use proto::{EdgeId, Namespace, PlatformTopic, Qos, Refusal, RefusalCode, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::oneshot;

/// Who asks in the name of the hub itself.
pub(crate) const HUB_ITSELF: &str = "$platform";

/// What is asked, on `edges/<edge>/question`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) id: u64,
    pub(crate) resource: String,
    pub(crate) verb: String,
    pub(crate) body: Map<String, Json>,
    /// Who asks, as it stands in the audit of the hub.
    pub(crate) caller: String,
    /// What that one may do at the hub.
    pub(crate) role: Role,
}

/// What is answered, on `edges/<edge>/answer`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) id: u64,
    pub(crate) reply: Reply,
}

type Key = (Namespace, EdgeId, u64);

/// See the module.
#[derive(Default)]
pub(crate) struct Hotline(Mutex<HashMap<Key, oneshot::Sender<Reply>>>);

/// Waits no longer once it is dropped.
struct Waiting<'a>(&'a Hotline, Key);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

impl Hotline {
    /// Asks an edge node, and waits for the answer. Who calls bounds how many do.
    pub(crate) async fn ask(
        context: &Context,
        client: &Client,
        edge: &EdgeId,
        mut question: Question,
    ) -> Result<Json, Refusal> {
        if !is_online(client, edge) {
            let message = format!("the edge node `{edge}` is not connected");
            return Err(Refusal::new(RefusalCode::Unavailable, message));
        }
        question.id = context.random() >> 1;
        let key = (client.namespace().clone(), edge.clone(), question.id);
        let (tell, told) = oneshot::channel();
        context.hotline.0.lock().insert(key.clone(), tell);
        let _waiting = Waiting(&context.hotline, key);
        // A machine behind it may take its time.
        let patience = Duration::from_millis(context.settings.driver_deadline_ms);
        let patience = patience + context.call_timeout();
        let topic = PlatformTopic::Edge { edge: edge.clone(), topic: EdgeTopic::Question }.topic();
        let payload = serde_json::to_vec(&question).map_err(Refusal::internal)?;
        let mut outgoing = Outgoing::new(topic, payload).qos(Qos::AtLeastOnce);
        outgoing.expiry_secs = u32::try_from(patience.as_secs()).ok();
        client.publish(outgoing);
        match tokio::time::timeout(patience, told).await {
            Ok(Ok(reply)) => reply.into_outcome(),
            Ok(Err(_)) => {
                let message = format!(
                    "the edge node `{edge}` lost its connection before it answered: it may have done it"
                );
                Err(Refusal::new(RefusalCode::Unavailable, message))
            }
            Err(_) => {
                let message = format!("the edge node `{edge}` did not answer in time");
                Err(Refusal::new(RefusalCode::TimedOut, message))
            }
        }
    }

    /// Asks in the name of the hub itself. Fields that are null are left out.
    pub(super) async fn ask_as_hub(
        context: &Context,
        client: &Client,
        edge: &EdgeId,
        (resource, verb): (&str, &str),
        body: Json,
    ) -> Result<Json, Refusal> {
        let body = match body {
            Json::Object(fields) => fields.into_iter().filter(|(_, it)| !it.is_null()).collect(),
            _ => Map::new(),
        };
        let (resource, verb) = (resource.to_owned(), verb.to_owned());
        let (caller, role) = (HUB_ITSELF.to_owned(), Role::ProjectAdmin);
        let question = Question { id: 0, resource, verb, body, caller, role };
        Self::ask(context, client, edge, question).await
    }

    /// An edge node is gone: whoever waits for it hears so.
    pub(super) fn hang_up(&self, namespace: &Namespace, edge: &EdgeId) {
        self.0.lock().retain(|(of, asked, _), _| (of, asked) != (namespace, edge));
    }

    /// An edge node has answered.
    pub(super) fn answered(&self, namespace: &Namespace, edge: &EdgeId, answer: Answer) {
        let key = (namespace.clone(), edge.clone(), answer.id);
        if let Some(tell) = self.0.lock().remove(&key) {
            // Who has given up meanwhile hears nothing.
            let _ = tell.send(answer.reply);
        }
    }
}

/// Whether an edge node is there.
pub(crate) fn is_online(client: &Client, edge: &EdgeId) -> bool {
    let status = client.retained(&super::topic(edge).into()).pop();
    let status = status.and_then(|(_, payload)| serde_json::from_slice::<Json>(&payload).ok());
    status.is_some_and(|status| status["online"] == true)
}
