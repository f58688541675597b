//! Who is told of those that come in and those that are turned away, apart from the events on topics.

use crate::peer::PeerAddress;
use proto::{Identity, Namespace};

/// Is told of logins, on the way of a CONNECT: must not wait.
pub trait Witness: Send + Sync + 'static {
    /// A client has proved who it is, and has its CONNACK.
    fn came_in(&self, who: &CameIn<'_>);

    /// A client has not proved who it is.
    fn turned_away(&self, who: &TurnedAway<'_>);
}

/// A client that has come in.
#[derive(Debug, Clone, Copy)]
pub struct CameIn<'a> {
    /// Where it is.
    pub namespace: &'a Namespace,
    /// Its client id.
    pub client_id: &'a str,
    /// Who it is.
    pub identity: &'a Identity,
    /// Whether it has shown nothing of who it is.
    pub is_stranger: bool,
    /// Where it comes from.
    pub address: Option<PeerAddress>,
}

/// A client that has been turned away. What it says of itself is of a stranger, and of any length.
#[derive(Debug, Clone, Copy)]
pub struct TurnedAway<'a> {
    /// The namespace that its name is of; `None` if that is not there.
    pub namespace: Option<&'a Namespace>,
    /// Its client id.
    pub client_id: &'a str,
    /// Its user name as it stood in CONNECT.
    pub user_name: Option<&'a str>,
    /// Where it comes from.
    pub address: PeerAddress,
    /// Why, as a stable word.
    pub reason: &'static str,
}
