//! What MQTT 3.1.1 and MQTT 5.0 demand of a server, packet by packet against the built node.
//!
//! One file for each subject; [`scene`] starts the node that they share. Which statement of the standards each
//! test shows is in the tables beside this file, which [`table`] checks and makes `docs/conformance.md` of.

mod acknowledgements;
mod aliases;
mod authentication;
mod client_ids;
mod connack;
mod connect;
mod exactly_once;
mod expiry;
mod format;
mod leaving;
mod ordering;
mod overlaps;
mod packet_size;
mod page;
mod properties;
mod publish;
mod reasons;
mod retained;
mod scene;
mod sessions;
mod shared;
mod subscribe;
mod table;
mod topics;
mod unsubscribe;
mod web_socket;
mod wills;
mod windows;
