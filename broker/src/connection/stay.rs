//! The stay of a client, from its CONNACK on: announced, served, and told of when it is over.

use super::{Connection, End, EndTimer, Socket};
use crate::figures::Counters;
use crate::listener::Counted;
use crate::live::Live;
use crate::reason::Reason;
use crate::session::Session;
use crate::space::Space;
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
    let sender = session.sender();
    let address = live.peer.as_ref().map(|peer| peer.address);
    let (client, identity) = (&sender.client_id, &sender.identity);
    tracing::debug!(%client, %identity, address = address.map(tracing::field::display), "connected");
    tell(space, session, live, EventTopic::ClientConnected, None);
    let ends_at = ends_at?;
    let left_ms = ends_at.0.saturating_sub(space.shared().clock.now().0);
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
    let (client, reason) = (&session.sender().client_id, reason_text(end));
    match end {
        End::Closed(Reason::SessionTakenOver | Reason::ServerShuttingDown)
        | End::Left { .. }
        | End::Lost => {
            tracing::debug!(%client, reason, "disconnected");
        }
        End::Closed(_) => {
            Counters::add(&space.shared().counters.protocol_errors, 1);
            let address = live.peer.as_ref().map(|peer| tracing::field::display(peer.address));
            tracing::info!(%client, address, reason, "connection ended");
        }
    }
    drop((seat, grip));
    tell(&space, &session, &live, EventTopic::ClientDisconnected, Some(reason));
    drop(counted);
}

/// Publishes an event about the client, if anybody listens.
fn tell(
    space: &Arc<Space>,
    session: &Session,
    live: &Live,
    topic: EventTopic,
    reason: Option<&'static str>,
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
        if let Some(reason) = reason {
            event["reason"] = reason.into();
        }
        event
    };
    space.publish_event(PlatformTopic::Event(topic).topic(), space.shared().voice(), event);
}

/// The reason as `events/clients/disconnected` gives it.
fn reason_text(end: End) -> &'static str {
    match end {
        End::Left { with_will: false } => "normal",
        End::Left { with_will: true } => "normal_with_will",
        End::Lost => "connection_lost",
        End::Closed(reason) => reason.as_str(),
    }
}
