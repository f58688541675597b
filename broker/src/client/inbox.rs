//! The receiving side of a client in process.

use crate::denial::{Denial, Why};
use crate::live::{Carriage, Grip, Live};
use crate::message::{Message, Properties, Sender};
use crate::reason::Reason;
use crate::session::Session;
use crate::session::acks::Hold;
use crate::space::{Carried, Leaving, Space};
use bytes::Bytes;
use proto::{Qos, TimestampMs, TopicName};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// Deliveries for a client in process. Dropping it detaches the client.
pub struct Inbox {
    space: Arc<Space>,
    session: Arc<Session>,
    live: Arc<Live>,
    window: usize,
    handed_out: Arc<AtomicUsize>,
    _hold: Grip,
}

/// A message for a client in process. Dropped without being acknowledged or refused, it goes back to its publisher.
#[derive(Debug)]
pub struct Delivery {
    /// Where it was published.
    pub topic: TopicName,
    /// What.
    pub payload: Bytes,
    /// With which guarantee.
    pub qos: Qos,
    /// Whether it was published to be retained.
    pub retain: bool,
    /// Where an answer is expected; the sender may be answered there.
    pub response_topic: Option<TopicName>,
    /// What the answer must carry.
    pub correlation_data: Option<Bytes>,
    /// Who published it.
    pub sender: Arc<Sender>,
    message: Arc<Message>,
    token: AckToken,
}

/// The duty to acknowledge a delivery. The publisher's PUBACK waits for it. Dropped, it tells the publisher that
/// the message was not taken, so that it sends it again.
#[derive(Debug)]
pub struct AckToken {
    hold: Option<Hold>,
    handed_out: Option<(Arc<AtomicUsize>, Arc<Session>)>,
}

impl Inbox {
    pub(crate) fn new(
        space: Arc<Space>,
        session: Arc<Session>,
        live: Arc<Live>,
        window: usize,
        hold: Grip,
    ) -> Self {
        let window = window.max(1);
        Self { space, session, live, window, handed_out: Arc::default(), _hold: hold }
    }

    /// The next delivery, once there is one and the window has room for it. `None` once the client has been
    /// detached by the broker.
    pub async fn receive(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// What is there of the next deliveries, once there is one: at most so many.
    pub async fn receive_many(&mut self, most: usize) -> Option<Vec<Delivery>> {
        let mut taken = vec![self.receive().await?];
        while taken.len() < most
            && let Some(delivery) = self.take()
        {
            taken.push(delivery);
        }
        Some(taken)
    }

    fn poll_receive(&mut self, cx: &Context<'_>) -> Poll<Option<Delivery>> {
        self.session.waker().register(cx.waker());
        if self.live.stop_reason().is_some() {
            return Poll::Ready(None);
        }
        self.take().map_or(Poll::Pending, |delivery| Poll::Ready(Some(delivery)))
    }

    fn take(&mut self) -> Option<Delivery> {
        if self.handed_out.load(Ordering::Acquire) >= self.window {
            // The next acknowledgement wakes us.
            return None;
        }
        let mut queue = self.session.queue();
        let Some(delivery) = queue.pop(true) else {
            queue.rest();
            return None;
        };
        drop(queue);
        self.live.traffic.add(Carriage { received: 1, ..Carriage::default() });
        self.handed_out.fetch_add(1, Ordering::AcqRel);
        let handed_out = Some((Arc::clone(&self.handed_out), Arc::clone(&self.session)));
        let token = AckToken { hold: delivery.hold, handed_out };
        Some(Delivery::new(delivery.message, token))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // What was not handed out is dropped with the queue, and its publishers are told.
        let carried = Carried::default();
        let leaving = Leaving { carried, expiry_secs: 0, with_will: false };
        self.space.leave_session(&self.session, leaving);
    }
}

impl Delivery {
    pub(super) fn new(message: Arc<Message>, token: AckToken) -> Self {
        let properties = message.properties.as_deref();
        Self {
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            qos: message.qos,
            retain: message.retain,
            response_topic: properties.and_then(|it| it.response_topic.clone()),
            correlation_data: properties.and_then(|it| it.correlation_data.clone()),
            sender: Arc::clone(&message.sender),
            message,
            token,
        }
    }

    /// Acknowledges it: its work is done, durably.
    pub fn ack(self) {
        self.token.ack();
    }

    /// Refuses it, for good: see [`AckToken::refuse`].
    pub fn refuse(self, reason: Reason, why: &str) {
        self.token.refuse(reason, why);
    }

    /// All of its MQTT 5.0 properties; `None` if it has none.
    pub fn properties(&self) -> Option<&Properties> {
        self.message.properties.as_deref()
    }

    /// When it may no longer be delivered (MQTT 5.0 3.3.2.3.3).
    pub fn expires_at(&self) -> Option<TimestampMs> {
        self.message.expires_at
    }

    /// Takes the duty to acknowledge out, to be fulfilled elsewhere.
    pub fn token(&mut self) -> AckToken {
        std::mem::replace(&mut self.token, AckToken::none())
    }
}

impl AckToken {
    /// A duty that nobody waits for, such as in tests.
    pub fn none() -> Self {
        Self { hold: None, handed_out: None }
    }

    /// Fulfils it.
    pub fn ack(mut self) {
        if let Some(hold) = self.hold.take() {
            hold.done();
        }
    }
}

impl AckToken {
    /// Fulfils it by refusing the message, for good: to send it again would change nothing. With MQTT 5.0 the PUBACK or
    /// PUBREC of the publisher has the reason code, and `why` as its Reason String, cut to 256 bytes. A code that these
    /// packets do not know is sent as 0x83. Before MQTT 5.0, and with QoS 0, the publisher is told nothing here.
    pub fn refuse(mut self, reason: Reason, why: &str) {
        let Some(hold) = self.hold.take() else { return };
        let reason =
            if reason.is_of_puback() { reason } else { Reason::ImplementationSpecificError };
        hold.refused(Denial::new(reason, Why::said(why)));
    }
}

impl Drop for AckToken {
    fn drop(&mut self) {
        if let Some((handed_out, session)) = self.handed_out.take() {
            handed_out.fetch_sub(1, Ordering::AcqRel);
            session.wake();
        }
    }
}
