//! One message on its way to one session, and how far it has come.

use crate::durable::place::Place;
use crate::message::{Gate, Message};
use crate::permissions::Permissions;
use crate::session::acks::Hold;
use proto::{Qos, TimestampMs};
use std::num::NonZeroU32;
use std::sync::Arc;

/// One message for one session.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    /// The lower of the published and the granted QoS (MQTT 5.0 3.8.4).
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) subscription_ids: Option<Arc<[NonZeroU32]>>,
    /// Its row in the store.
    pub(crate) seq: Option<u64>,
    pub(crate) progress: Progress,
    /// Its row is being committed, and it must not be seen before: the client remembers identifiers of QoS 2.
    pub(crate) gate: Option<Arc<Gate>>,
    /// Who waits for it to be taken: the publisher, if the session is in process, or the group that has lent it.
    pub(crate) hold: Option<Hold>,
}

/// How far the owners before have come with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Progress {
    #[default]
    New,
    /// It may have been sent already.
    MaybeSent,
    /// PUBREC has come: PUBREL is to be sent.
    Released,
}

impl Delivery {
    /// What its row says of it.
    pub(crate) fn place(&self) -> Place {
        Place {
            qos: self.qos,
            retain: self.retain,
            has_subscription_ids: self.subscription_ids.is_some(),
            is_released: self.progress == Progress::Released,
        }
    }

    /// The flags of its row once PUBREC has come.
    pub(crate) fn released_flags(&self) -> u8 {
        Place { is_released: true, ..self.place() }.flags()
    }

    /// Whether its time is over, and no client can have begun to take it (MQTT 5.0 3.3.2.3.3).
    pub(crate) fn is_expired(&self, now: TimestampMs) -> bool {
        let is_begun = self.qos == Qos::ExactlyOnce && self.progress != Progress::New;
        !is_begun && self.message.is_expired(now)
    }

    /// Whether the client may be given it, or has it already: then the exchange has to come to its end.
    pub(crate) fn is_permitted(&self, permissions: &Permissions) -> bool {
        self.progress == Progress::Released || permissions.receive(&self.message.topic)
    }

    /// Whether a group has lent it: then it goes back there.
    pub(super) fn is_lent(&self) -> bool {
        self.hold.as_ref().is_some_and(Hold::is_lent)
    }
}
