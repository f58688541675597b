//! Black-box tests of Manifold, and the house rules as tests.
//!
//! The tests are in `tests/`; here is what they stand on. [`house`] reads the source tree and says what
//! breaks a rule. The rest drives the built executables from outside, as a stranger would: processes,
//! sockets, signals. Nothing here uses a crate of the product, so a mistake in one cannot hide itself.

pub mod admin;
pub mod authority;
pub mod binaries;
pub mod bridges;
pub mod deeds;
pub mod edges;
pub mod exactly;
pub mod house;
pub mod http;
pub mod ledger;
pub mod load;
pub mod node;
pub mod page;
pub mod peer;
pub mod plant;
pub mod process;
pub mod proxy;
pub mod random;
pub mod subject;
pub mod wire;
