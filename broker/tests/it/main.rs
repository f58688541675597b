//! The broker over real sockets and in process, with a store in memory: one file for each subject.
//!
//! [`wire`] is a client of bare packets, so that tests can say and see exactly what the specification talks about.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod authority;
mod flood;
mod groups;
mod hook;
mod https;
mod in_process;
mod key_sets;
mod lockout;
mod overload;
mod permits;
mod qos2;
mod quotas;
mod rates;
mod retained;
mod routing;
mod rules;
mod scram;
mod sessions;
mod sockets;
mod sys;
mod tls;
mod tokens;
mod topic_aliases;
mod web_socket;
mod wills;
mod wire;
