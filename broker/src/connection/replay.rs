//! The retained messages that a connection still has to send after its SUBSCRIBEs (MQTT 5.0 3.3.1.3).
//!
//! They are read a page at a time and only when the page before is sent, so that `#` over a million of them holds one
//! page. Between two pages comes what waits in the queue: neither holds the other up. Within a page nothing comes
//! between, lest a client sees a new value before the one that it has replaced.

use crate::session::Session;
use crate::session::queue::{Delivery, Progress};
use crate::space::{Space, Walk};
use proto::Qos;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Pages read at once in search of a message that matches; then others get their turn.
const PAGES_AT_ONCE: usize = 4;

/// What one SUBSCRIBE has asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) walk: Walk,
    /// The QoS granted.
    pub(crate) qos: Qos,
    pub(crate) subscription_ids: Option<Arc<[NonZeroU32]>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    asked: VecDeque<Asked>,
    page: VecDeque<Delivery>,
    /// A page has been sent: it is the turn of the queue.
    has_to_yield: bool,
}

impl Replay {
    /// How many subscriptions wait for retained messages.
    pub(crate) fn len(&self) -> usize {
        self.asked.len()
    }

    pub(crate) fn extend(&mut self, asked: Vec<Asked>) {
        self.asked.extend(asked);
    }

    /// Whether there is nothing more to send.
    pub(super) fn is_done(&self) -> bool {
        self.asked.is_empty() && self.page.is_empty()
    }

    /// How much is left of the page.
    pub(super) fn page_len(&self) -> usize {
        self.page.len()
    }

    /// What is left of the page.
    pub(super) fn page(&mut self) -> &mut VecDeque<Delivery> {
        &mut self.page
    }

    /// Drops from the page what may not be sent any more; says how much. Later pages are looked at when they are read.
    pub(super) fn retain(&mut self, is_allowed: impl Fn(&Delivery) -> bool) -> usize {
        let before = self.page.len();
        self.page.retain(is_allowed);
        before - self.page.len()
    }

    /// Whether what waits in the queue comes before the next page; said once after each page.
    pub(super) fn has_to_yield(&mut self) -> bool {
        std::mem::take(&mut self.has_to_yield)
    }

    /// Reads on until there is a page, or for a while.
    pub(super) fn read(&mut self, space: &Space, session: &Session) {
        for _ in 0..PAGES_AT_ONCE {
            let Some(asked) = self.asked.front_mut() else { break };
            let found = space.retained_page(&mut asked.walk);
            // What a client may receive can have changed since it subscribed.
            let allowed = found.into_iter().filter(|it| session.may_receive(&it.topic));
            self.page.extend(allowed.map(|message| Delivery {
                qos: message.qos.min(asked.qos),
                message,
                retain: true,
                subscription_ids: asked.subscription_ids.clone(),
                seq: None,
                progress: Progress::New,
                gate: None,
                hold: None,
            }));
            if asked.walk.is_over() {
                self.asked.pop_front();
            }
            if !self.page.is_empty() {
                self.has_to_yield = true;
                break;
            }
        }
        if self.asked.is_empty() {
            // A connection that rests keeps no memory.
            self.asked = VecDeque::new();
        }
    }
}
