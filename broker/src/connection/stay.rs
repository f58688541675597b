//! The stay of a client, from its CONNACK on: announced, served, and told of when it is over.

use super::{Connection, End, EndTimer, Socket};
use crate::figures::Counters;
use crate::journal::{self, Told};
use crate::listener::Counted;
use crate::live::Live;
use crate::session::Session;
use crate::space::Space;
use crate::witness::CameIn;
use proto::platform::EventTopic;
use proto::{PlatformTopic, TimestampMs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Serves a client until it is gone. The task of a resting client consists of this: a pointer and little else.
pub(crate) enum Stay<S> {
    /// Absent only while it is polled.
    Here(Option<Box<Connection<S>>>),
    Parting(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl<S: Socket> Stay<S> {
    /// Begins the stay, which ends at `ends_at` at the latest.
    pub(crate) fn begin(
        mut connection: Box<Connection<S>>,
        counted: Counted,
        ends_at: Option<TimestampMs>,
    ) -> Self {
        connection.counted = Some(counted);
        connection.end_timer = begin(&connection, ends_at);
        Self::Here(Some(connection))
    }
}

impl<S: Socket> Future for Stay<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Here(connection) = &mut *self {
            let Some(mut here) = connection.take() else { return Poll::Ready(()) };
            let Poll::Ready(end) = here.poll_turns(cx) else {
                *connection = Some(here);
                return Poll::Pending;
            };
            *self = Self::Parting(Box::pin(part(here, end)));
        }
        match &mut *self {
            Self::Parting(parting) => parting.as_mut().poll(cx),
            Self::Here(_) => Poll::Ready(()),
        }
    }
}

fn begin<S: Socket>(connection: &Connection<S>, ends_at: Option<TimestampMs>) -> Option<EndTimer> {
    let Connection { space, session, live, .. } = connection;
    let (sender, shared) = (session.sender(), space.shared());
    let who = Told::new(space, sender, live);
    shared.journal.connected(who, &sender.identity, shared.clock.now());
    if let Some(witness) = shared.witness.get() {
        witness.came_in(&CameIn {
            namespace: space.namespace(),
            client_id: sender.client_id.as_str(),
            identity: &sender.identity,
            is_stranger: session.is_of_stranger(),
            address: live.peer.as_ref().map(|peer| peer.address),
        });
    }
    tell(space, session, live, EventTopic::ClientConnected, None);
    let ends_at = ends_at?;
    let left_ms = ends_at.0.saturating_sub(shared.clock.now().0);
    Some(EndTimer::start(connection, Duration::from_millis(left_ms)))
}

async fn part<S: Socket>(mut connection: Box<Connection<S>>, end: End) {
    let (grip, seat) = (connection.grip.take(), connection.seat.take());
    let counted = connection.counted.take();
    drop(connection.end_timer.take());
    let space = Arc::clone(&connection.space);
    let session = Arc::clone(&connection.session);
    let live = Arc::clone(&connection.live);
    connection.close(end).await;
    let shared = space.shared();
    shared.journal.ended(Told::new(&space, session.sender(), &live), end, shared.clock.now());
    if matches!(end, End::Closed(reason) if reason.is_fault_of_client()) {
        Counters::add(&shared.counters.protocol_errors, 1);
    }
    drop((seat, grip));
    tell(&space, &session, &live, EventTopic::ClientDisconnected, Some(end));
    drop(counted);
}

/// Publishes an event about the client, if anybody listens.
pub(super) fn tell(
    space: &Arc<Space>,
    session: &Session,
    live: &Live,
    topic: EventTopic,
    end: Option<End>,
) {
    let event = || {
        let sender = session.sender();
        let mut event = serde_json::json!({
            "client_id": sender.client_id,
            "identity": sender.identity,
            "connection": live.number,
            "address": live.peer.as_ref().map(|peer| peer.address),
            "t": space.shared().clock.now(),
        });
        if live.peer.as_ref().is_some_and(|peer| peer.is_visit) {
            event["is_visit"] = true.into();
        }
        if let Some(end) = end {
            event["reason"] = journal::word(end).into();
            event["code"] = journal::code(end).into();
        }
        event
    };
    space.publish_event(PlatformTopic::Event(topic).topic(), space.shared().voice(), event);
}
