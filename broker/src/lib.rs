//! The MQTT broker: MQTT 3.1, 3.1.1 and 5.0 over TCP, TLS, WebSocket and Unix sockets, and in process.
//!
//! - [`Broker`]: the whole; [`Client`] and [`Inbox`]: sessions without a socket, for the actors
//! - `listener`, `tls`, `websocket`, `proxy_protocol`, `connection`: sockets; `codec`, `packet`: bytes to packets
//! - `session`: the protocol, without I/O
//! - `space`: one namespace; `router`: who gets a message; `group`: shared subscriptions; `outbox`: the way of a
//!   message; `retained`
//! - `overload`: what keeps clients within bounds
//! - `denial`, [`Reason`]: what who is refused is told
//! - `auth`, [`credential`], `permissions`: who comes in, and what it may do
//! - `durable`: what is in the store; `sys`: the broker's own figures; `inspect`: what operators see;
//!   `journal`: what the log tells of ends; `reload`: files that are read again
//!
//! A PUBACK to a publisher means: every copy owed to a durable session, and the retained copy, is committed, and
//! every part of the platform that the message was for has done its work. See `docs/decisions/` for the promise.

mod alarms;
mod auth;
mod broker;
mod client;
mod codec;
mod config;
mod connection;
pub mod credential;
mod denial;
mod durable;
mod figures;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod group;
mod inspect;
mod journal;
mod listener;
mod live;
#[doc(hidden)]
pub mod measure;
mod message;
mod outbox;
mod overload;
mod packet;
mod peer;
mod permissions;
mod promises;
mod proxy_protocol;
mod publisher;
mod reason;
mod recorder;
mod registrar;
mod reload;
mod retained;
mod router;
mod session;
mod space;
mod sys;
mod tls;
mod websocket;
mod witness;

pub use auth::{
    Anonymous, AuthConfig, AuthError, AuthMethod, HookConfig, JWT_ISSUERS_MAX, JwtAlgorithm,
    JwtConfig, LockoutConfig,
};
pub use broker::{Broker, BrokerConfig, OpenError};
pub use client::{AckToken, AttachOptions, Client, Delivery, Inbox, Outgoing, RetainedWalk};
pub use config::{Limits, Policies, QueueFull};
pub use figures::Figures;
pub use group::SharedStrategy;
pub use inspect::Page;
pub use inspect::clients::{ClientInfo, ClientQuery, ClientState, ConnectionInfo, SessionInfo};
pub use inspect::figures::NamespaceFigures;
pub use inspect::rates::Rates;
pub use inspect::retained::{RetainedInfo, RetainedQuery};
pub use inspect::subscriptions::{
    GroupInfo, GroupMember, SubscriptionInfo, SubscriptionPlace, SubscriptionQuery,
};
pub use journal::Endings;
pub use listener::config::{Endpoint, ListenError, ListenerConfig, ListenerKind};
pub use listener::network::{Network, NetworkError};
pub use message::{Properties, Sender};
pub use overload::quota::{NamespaceLimits, NamespaceQuota, Quotas};
pub use peer::{ClientName, PeerAddress, TlsInfo};
pub use permissions::acl::{ACL_RULES_MAX, AclAction, AclError, AclPermission, AclRule, check_acl};
pub use permissions::kin::GENERATIONS_MAX;
pub use promises::Promises;
pub use reason::Reason;
pub use recorder::{Recorded, Recorder};
pub use registrar::{Newcomer, Registering, Registrar, Unregistered};
pub use reload::{ReloadOutcome, Reloaded};
pub use session::drops::Drops;
pub use tls::certificate::{
    CertificateInfo, certificate_der, check_revocations, is_signed_by, read_authority,
    read_certificate, revocations_der,
};
pub use tls::{ClientAuth, Tls, Tls12, TlsConfig, TlsError};
pub use witness::{CameIn, TurnedAway, Witness};
