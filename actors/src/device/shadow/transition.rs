//! A shadow before and after an update, as it is told on `update/documents`.
//!
//! It is the longest of what is told of an update, and few listen. So it is written out only for somebody, who may also
//! have come between the decision and its commit.

use super::state::{ShadowState, unless_empty};
use broker::Outgoing;
use proto::shadow::{Document, Documents, Sections, to_json};
use proto::{Qos, TopicName};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(crate) struct Transition {
    /// The topic that it is told on.
    pub(crate) topic: TopicName,
    /// The shadow as it was.
    pub(crate) before: Arc<ShadowState>,
    /// As it is.
    pub(crate) after: Arc<ShadowState>,
    /// When it was updated, in seconds.
    pub(crate) timestamp: u64,
    /// Echo of the update's.
    pub(crate) client_token: Option<String>,
}

impl Transition {
    /// The message that tells it.
    pub(crate) fn message(&self) -> Outgoing {
        let documents = Documents {
            previous: document(&self.before),
            current: document(&self.after),
            timestamp: self.timestamp,
            client_token: self.client_token.as_deref(),
        };
        Outgoing::new(self.topic.clone(), to_json(&documents)).qos(Qos::AtLeastOnce)
    }
}

fn document(shadow: &ShadowState) -> Document<'_> {
    let ShadowState { desired, reported, .. } = shadow;
    let (desired_stamps, reported_stamps) = (&desired.metadata, &reported.metadata);
    Document {
        state: Sections {
            desired: unless_empty(&desired.state),
            reported: unless_empty(&reported.state),
            delta: None,
        },
        metadata: Sections {
            desired: unless_empty(desired_stamps),
            reported: unless_empty(reported_stamps),
            delta: None,
        },
        version: shadow.version,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stamped;
    use super::*;
    use serde_json::{Value as Json, json};

    fn shadow(desired: &Json, version: u64) -> Arc<ShadowState> {
        let mut section = Stamped::default();
        section.merge(desired.as_object().unwrap(), version);
        Arc::new(ShadowState { version, exists: true, desired: section, ..ShadowState::default() })
    }

    #[test]
    fn both_are_told_whole_without_the_sections_that_they_do_not_have() {
        let topic = TopicName::parse("things/a/shadow/update/documents".to_owned()).unwrap();
        let (before, after) = (Arc::default(), shadow(&json!({"on": true}), 7));
        let client_token = Some("t".to_owned());
        let told = Transition { topic, before, after, timestamp: 9, client_token }.message();
        assert_eq!(
            serde_json::from_slice::<Json>(&told.payload).unwrap(),
            json!({
                "previous": {"state": {}, "metadata": {}, "version": 0},
                "current": {
                    "state": {"desired": {"on": true}},
                    "metadata": {"desired": {"on": {"timestamp": 7}}},
                    "version": 7,
                },
                "timestamp": 9, "clientToken": "t",
            })
        );
    }
}
