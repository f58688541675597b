//! The whole tree on a real broker and a store in memory, under a paused clock: one file for each
//! subject.
//!
//! [`world`] holds the outside: clock, dice, and the clients that play devices, apps and operators;
//! [`machine`] is a machine behind the driver port that can be lost, be slow, hang, refuse points
//! and panic; [`wire`] is a client on a socket, for what a role may do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admin;
mod audit;
mod commands;
mod credentials;
mod devices;
mod drivers;
mod faults;
mod isolation;
mod machine;
mod models;
mod permissions;
mod presence;
mod projects;
mod quotas;
mod registry;
mod revisions;
mod roles;
mod server_certificates;
mod shadows;
mod start;
mod tenants;
mod wire;
mod world;
