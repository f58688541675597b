//! What the broker keeps in the store: sessions, QoS 2 identifiers, retained messages, and queued ones.

pub(crate) mod body;
pub(crate) mod place;
pub(crate) mod refill;
pub(crate) mod rows;
