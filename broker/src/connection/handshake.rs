//! From the first byte to CONNACK (MQTT 5.0 3.1 and 3.2): one packet, one time-out, one bounded buffer.

mod proof;
mod turned;

use super::buffer::Inbox;
use super::desk::Desk;
use super::standing::{self, Standing};
use super::{Connection, Socket};
use crate::auth::{Authenticator, Grant, NameStanding, Proof, Refusal};
use crate::codec::{self, Frame};
use crate::credential::system_namespace;
use crate::denial::{Denial, Limit, Why};
use crate::figures::Counters;
use crate::listener::config::ListenerConfig;
use crate::live::Live;
use crate::message::Sender;
use crate::outbox::Outbox;
use crate::overload::pace::Pace;
use crate::overload::quota::Seat;
use crate::packet::{ConnAck, Connect, Manner, Packet, Publish, Reply, Version};
use crate::peer::Peer;
use crate::publisher::{Publisher, Refused};
use crate::reason::Reason;
use crate::session::machine::{Agreed, Machine};
use crate::space::{Asked, Carried, Leaving, Opened, Shared, Space, Will};
use bytes::BytesMut;
use bytestring::ByteString;
use proto::{ClientId, Identity, Namespace, PlatformTopic, Role, UserId};
use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use turned::{not_opened, refuse};

/// What a handshake needs of the broker.
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) spaces: Arc<crate::broker::Spaces>,
}

/// Why a socket did not become a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Turned {
    /// It closed, or broke, before its CONNECT was whole.
    #[error("the socket closed before CONNECT")]
    Lost,
    /// Its CONNECT was refused.
    #[error("{reason}: {why}")]
    Refused {
        reason: Reason,
        why: Why,
        /// As its CONNECT gives it, once that is read.
        client_id: Option<ByteString>,
    },
    /// It did not prove who it is; told of elsewhere.
    #[error("{reason}")]
    Unproved {
        reason: Reason,
        /// As much as it may know.
        why: Why,
    },
}

impl Turned {
    pub(crate) fn new(reason: Reason, rule: &'static str) -> Self {
        Denial::rule(reason, rule).into()
    }

    /// The same, of a client that has given its client id.
    fn of(self, client_id: ByteString) -> Self {
        match self {
            Self::Refused { reason, why, .. } => {
                Self::Refused { reason, why, client_id: Some(client_id) }
            }
            other => other,
        }
    }
}

impl From<Denial> for Turned {
    fn from(Denial { reason, why }: Denial) -> Self {
        Self::Refused { reason, why, client_id: None }
    }
}

impl Door {
    /// Welcomes a client, or turns the socket away with the reason written.
    pub(crate) async fn welcome<S: Socket>(
        &self,
        mut socket: S,
        peer: Peer,
        listener: &ListenerConfig,
    ) -> Result<Box<Connection<S>>, Turned> {
        let mut buffer = BytesMut::new();
        let connect = match self.read_connect(&mut socket, &mut buffer).await {
            Ok(connect) => connect,
            Err((version, turned)) => {
                refuse(&mut socket, version.map(Manner::terse), &turned).await;
                return Err(turned);
            }
        };
        let (manner, client_id) = (connect.manner(), connect.client_id.clone());
        let changes = self.shared.permission_changes();
        let proved = self.prove(&connect, &peer, listener, &mut socket, &mut buffer).await;
        let admitted = match proved {
            Ok((grant, told)) => self.admit(*connect, peer, grant, told, changes).await,
            Err(turned) => Err(turned),
        };
        let welcomed = match admitted {
            Ok(admitted) => admitted.greet(socket, buffer).await,
            Err(turned) => {
                refuse(&mut socket, Some(manner), &turned).await;
                Err(turned)
            }
        };
        welcomed.map_err(|turned| turned.of(client_id))
    }

    /// Reads the first packet, which must be a CONNECT (3.1.0-1). The version is that of the refusal to write.
    async fn read_connect<S: Socket>(
        &self,
        socket: &mut S,
        buffer: &mut BytesMut,
    ) -> Result<Box<Connect>, (Option<Version>, Turned)> {
        let bytes_max = self.shared.limits.connect_bytes_max;
        loop {
            if buffer.first().is_some_and(|byte| *byte != 0x10) {
                return Err((
                    None,
                    Turned::new(Reason::ProtocolError, "the first packet is no CONNECT"),
                ));
            }
            let frame = codec::frame(buffer, bytes_max).map_err(|reason| {
                (None, Turned::new(reason, "CONNECT is malformed or too long"))
            })?;
            if let Frame::Whole { body_start, bytes, .. } = frame {
                let packet = buffer.split_to(bytes);
                let version = codec::connect::version(&packet, body_start).map_err(|version| {
                    let reason = Reason::UnsupportedProtocolVersion;
                    (version, Turned::new(reason, "unknown protocol name or level"))
                })?;
                let decoded = codec::connect::check(version, &packet, body_start)
                    .and_then(|()| codec::decode(version, &packet));
                return match decoded {
                    Ok(Packet::Connect(connect)) => Ok(connect),
                    Ok(_) => Err((None, Turned::new(Reason::ProtocolError, "no CONNECT"))),
                    Err(reason) => {
                        Err((Some(version), Turned::new(reason, "CONNECT is malformed")))
                    }
                };
            }
            match socket.read_buf(buffer).await {
                Ok(0) | Err(_) => return Err((None, Turned::Lost)),
                Ok(_) => {}
            }
        }
    }

    /// Opens the session of a client that has proved who it is.
    async fn admit(
        &self,
        mut connect: Connect,
        peer: Peer,
        grant: Grant,
        told: proof::Told,
        changes: u64,
    ) -> Result<Admitted, Turned> {
        // Many devices come in by one enrolment: none inherits a session, and with it an answer, of another.
        let is_passing = grant.identity.role() == Role::Enrolment;
        connect.clean_start |= is_passing;
        let connect = connect;
        let unproved = |refusal: Refusal| self.unproved(&connect, peer.address, &refusal);
        let space = self.spaces.get(&grant.namespace);
        let space = space.ok_or_else(|| unproved(Refusal::Namespace))?;
        let is_operator = grant.identity.role() == Role::SystemAdmin;
        if space.is_closed() && !is_operator {
            return Err(unproved(Refusal::Disabled));
        }
        let (sender, assigned) = self.sender(&connect.client_id, grant.identity.clone())?;
        let seat = self.seat(&space, &sender)?;
        let permissions = standing::permissions(&grant, &sender, space.kin());
        let permissions = permissions.map_err(|error| unproved(error.into()))?;
        let mut terms = self.terms(&connect, assigned, &sender.client_id, is_passing);
        let standing = told.as_ref().map(|(method, _)| {
            Box::new(Standing::new(Arc::clone(&self.authenticator), method.clone()))
        });
        terms.conn_ack.auth = told;
        let now = self.shared.clock.now();
        let mut publisher = Publisher::with(permissions.clone(), Arc::default());
        let will = match connect.will {
            None => None,
            Some(will) => Some(self.will(&space, &mut publisher, *will)?),
        };
        let live = Arc::new(Live::new(
            self.shared.new_connection(),
            Some(peer),
            connect.version,
            now,
            terms.keep_alive_secs,
            connect.clean_start,
        ));
        let asked = Asked {
            sender: Arc::clone(&sender),
            clean_start: connect.clean_start,
            expiry_secs: terms.agreed.expiry_secs,
            is_in_process: false,
            takes_over: false,
            will,
        };
        live.set_expires_at(grant.expires_at);
        let opened = space.open_session(asked, &live).await.map_err(|reason| {
            let is_full = reason == Reason::QuotaExceeded;
            Counters::add(&self.shared.counters.refused_over_quota, is_full.into());
            not_opened(reason, &space)
        })?;
        space.permit(&opened.session, permissions);
        // What has changed while it was on its way in counts as for those that were there before.
        let is_stale = changes != self.shared.permission_changes();
        let is_welcome = !is_stale || self.catch_up(&space, &grant);
        if !is_welcome || space.is_closed() && !is_operator {
            live.stop(Reason::NotAuthorized);
            opened.session.wake();
        }
        self.authenticator.expiries.enter(&live, &opened.session);
        Ok(Admitted { space, live, seat, opened, terms, standing })
    }

    /// Has what the store says now count for a client that has come in meanwhile; `false` if its name is gone. Clients
    /// that others vouch for are theirs.
    fn catch_up(&self, space: &Space, grant: &Grant) -> bool {
        if matches!(grant.proof, Proof::Elsewhere | Proof::Nothing) {
            return true;
        }
        let Ok(name) = UserId::parse(grant.identity.name()) else { return true };
        let Ok(snapshot) = self.shared.store.read() else { return false };
        for home in [grant.namespace.clone(), system_namespace()] {
            match NameStanding::read(&snapshot, &home, &name) {
                Ok(Some(standing)) => {
                    space.follow(&[(name.as_str(), &standing)].into());
                    return true;
                }
                Ok(None) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// A place among the clients of a namespace, if there is room for a new one. Whoever administers the system comes
    /// in even where there is none.
    fn seat(&self, space: &Space, sender: &Sender) -> Result<Seat, Turned> {
        let counters = &self.shared.counters;
        // Whoever returns to a session takes from what waits for it. It may try again later (MQTT 5.0 3.2.2.2).
        if self.shared.is_short_for(sender) && !space.has_session(&sender.client_id) {
            Counters::add(&counters.refused_memory, 1);
            return Err(Denial::memory_short(Reason::ServerBusy).into());
        }
        let quota = space.quota();
        if sender.identity.role() == Role::SystemAdmin {
            return Ok(quota.enter_freely());
        }
        let takes_over = space.is_connected(&sender.client_id);
        quota.enter(takes_over, Instant::now()).map_err(|reason| {
            let limits = quota.limits();
            let (counter, limit, max) = match reason {
                Reason::ConnectionRateExceeded => {
                    let max = limits.connects_per_sec_max as usize;
                    (&counters.refused_over_rate, Limit::NamespaceConnects, max)
                }
                _ => {
                    let max = quota.connections_max();
                    (&counters.refused_over_quota, Limit::NamespaceClients, max)
                }
            };
            Counters::add(counter, 1);
            Denial::full(reason, limit, max).into()
        })
    }

    /// What both sides keep to. A client before MQTT 5.0 cannot be told of a shorter keep alive, so its own counts.
    fn terms(
        &self,
        connect: &Connect,
        assigned_client_id: Option<ByteString>,
        client_id: &ClientId,
        is_passing: bool,
    ) -> Terms {
        let limits = &self.shared.limits;
        let expiry_max_secs = if is_passing { 0 } else { limits.session_expiry_max_secs };
        let expiry_secs = connect.session_expiry_secs.min(expiry_max_secs);
        let keep_alive_secs = match (connect.version, connect.keep_alive_secs) {
            (Version::V3, secs) => secs,
            (Version::V5, 0) => limits.keep_alive_max_secs,
            (Version::V5, secs) => secs.min(limits.keep_alive_max_secs),
        };
        let is_other_keep_alive = keep_alive_secs != connect.keep_alive_secs;
        let is_other_expiry = expiry_secs != connect.session_expiry_secs;
        Terms {
            keep_alive_secs,
            agreed: Agreed {
                manner: connect.manner(),
                receive_max: limits.receive_max,
                inflight_max: connect.receive_max.min(limits.inflight_max),
                aliases_in_max: limits.topic_aliases_max,
                aliases_out_max: connect.topic_alias_max.min(limits.topic_aliases_max),
                expiry_secs,
                expiry_max_secs,
            },
            conn_ack: ConnAck {
                outcome: Ok(()),
                session_present: false,
                assigned_client_id,
                session_expiry_secs: is_other_expiry.then_some(expiry_secs),
                server_keep_alive_secs: is_other_keep_alive.then_some(keep_alive_secs),
                receive_max: limits.receive_max,
                topic_alias_max: limits.topic_aliases_max,
                packet_bytes_max: u32::try_from(limits.packet_bytes_max).unwrap_or(u32::MAX),
                // To who has not asked it must not be told (3.1.2-28).
                response_info: connect
                    .wants_response_info
                    .then(|| PlatformTopic::reply_prefix(client_id))
                    .flatten(),
                auth: None,
            },
        }
    }

    /// The client's name; one without a client id gets one (3.1.3-6).
    fn sender(
        &self,
        client_id: &ByteString,
        identity: Identity,
    ) -> Result<(Arc<Sender>, Option<ByteString>), Turned> {
        let mut assigned = None;
        let text = if client_id.is_empty() {
            let mut bytes = [0; 12];
            self.shared.entropy.fill(&mut bytes);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            &*assigned.insert(ByteString::from(format!("auto-{hex}")))
        } else {
            client_id
        };
        let (invalid, bytes) = (Reason::ClientIdNotValid, client_id.len());
        let max = self.shared.limits.client_id_bytes_max;
        if bytes > max {
            return Err(Denial::over(invalid, Limit::ClientIdBytes, bytes, max).into());
        }
        let client_id = ClientId::parse(text)
            .map_err(|error| Denial::new(invalid, Why::said(&error.to_string())))?;
        Ok((Arc::new(Sender { client_id, identity }), assigned))
    }

    fn will(
        &self,
        space: &Arc<Space>,
        publisher: &mut Publisher,
        will: Publish,
    ) -> Result<Will, Turned> {
        let mut outbox = Outbox::of(space);
        let (delay_secs, expiry_secs) = (will.delay_secs, will.expiry_secs);
        // Its lifetime begins when it is published (MQTT 5.0 3.1.3.2.4).
        let will = Publish { expiry_secs: None, ..will };
        let now = self.shared.clock.now();
        let message =
            publisher.message(space, will, now, &mut outbox).map_err(|refused| match refused {
                Refused::Connection(reason) => Turned::new(reason, "the will cannot be published"),
                Refused::Message(Denial { reason, why }) => {
                    Denial::new(reason, Why::said(&format!("the will: {why}"))).into()
                }
            })?;
        Ok(Will { message, delay_secs, expiry_secs })
    }
}

/// A client whose session is open, before it has been told.
struct Admitted {
    space: Arc<Space>,
    live: Arc<Live>,
    seat: Seat,
    opened: Opened,
    terms: Terms,
    standing: Option<Box<Standing>>,
}

/// What client and broker have agreed on.
struct Terms {
    agreed: Agreed,
    /// 0 if the client may be silent for ever.
    keep_alive_secs: u16,
    conn_ack: ConnAck,
}

impl Admitted {
    /// Commits the session, writes CONNACK, and sets the connection up.
    async fn greet<S: Socket>(
        self,
        mut socket: S,
        buffer: BytesMut,
    ) -> Result<Box<Connection<S>>, Turned> {
        let shared = Arc::clone(self.space.shared());
        let Opened { session, is_present, carried, hold, changes } = self.opened;
        let Terms { agreed, keep_alive_secs, conn_ack } = self.terms;
        let manner = agreed.manner;
        let outcome = if changes.is_empty() { Ok(()) } else { shared.store.commit(changes).await };
        let mut out = BytesMut::new();
        let mut carried = carried;
        let machine = Machine::new(agreed, std::mem::take(&mut carried.kept));
        let turned = match outcome {
            Ok(()) => {
                let conn_ack = ConnAck { session_present: is_present, ..conn_ack };
                codec::encode(manner, &Reply::ConnAck(Box::new(conn_ack)), &mut out);
                if out.len() > manner.packet_bytes_max as usize {
                    // Nothing in it may be left out, and it must not be sent (3.1.2-24).
                    Some(Turned::new(Reason::PacketTooLarge, "the client takes no CONNACK"))
                } else {
                    socket.write_all(&out).await.err().map(|_| Turned::Lost)
                }
            }
            Err(error) => {
                let why = Why::said(&format!("the session could not be stored: {error}"));
                let turned = Denial::new(Reason::QuotaExceeded, why).into();
                refuse(&mut socket, Some(manner), &turned).await;
                Some(turned)
            }
        };
        if let Some(turned) = turned {
            let carried = Carried { kept: machine.into_kept(), ..carried };
            let leaving = Leaving { carried, expiry_secs: agreed.expiry_secs, with_will: false };
            self.space.leave_session(&session, leaving);
            return Err(turned);
        }
        socket.welcomed();
        session.set_window(usize::from(agreed.inflight_max), machine.inflight());
        Ok(Box::new(Connection {
            socket,
            bell: None,
            grip: Some(hold),
            seat: Some(self.seat),
            counted: None,
            end_timer: None,
            machine,
            publisher: Publisher::with(session.permissions(), Arc::clone(session.waker())),
            revision: session.revision(),
            standing: self.standing,
            session,
            live: self.live,
            inbox: Inbox::new(buffer, shared.limits.packet_bytes_max),
            desk: Desk::with(carried.replay),
            pace: Pace::new(shared.limits.publish_rate(), self.space.quota(), Instant::now()),
            // One and a half times the keep alive (3.1.2-22).
            patience_ms: NonZeroU32::new(u32::from(keep_alive_secs) * 1500),
            last_heard: Instant::now(),
            alarm: None,
            now: shared.clock.now(),
            space: self.space,
        }))
    }
}

/// A user name that gives no namespace means that of the listener, if it has one.
fn at_home<'a>(name: &'a str, home: Option<&Namespace>) -> Cow<'a, str> {
    match home {
        Some(home) if !name.contains('/') => Cow::Owned(format!("{home}/{name}")),
        _ => Cow::Borrowed(name),
    }
}
