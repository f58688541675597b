//! What the broker keeps in the store: sessions, retained messages, and the bodies of queued ones.

pub(crate) mod body;
pub(crate) mod rows;
