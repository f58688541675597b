//! Tests of the built executable: real processes, real sockets, no fixed port.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod ctl_tls;
mod demo;
mod paste;
mod running;
mod serve;
