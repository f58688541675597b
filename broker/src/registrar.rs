//! Who registers devices that come for the first time, with a certificate that vouches for their serial number.

use crate::credential::AuthorityKey;
use proto::{TimestampMs, UserId};
use std::future::Future;
use std::pin::Pin;

/// A device that is not registered, and has shown a certificate of an authority that lets such devices register.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// Who vouches for it.
    pub authority: AuthorityKey,
    /// The enrolment by which it is to be registered.
    pub enrolment: UserId,
    /// Its serial number: the common name of its certificate.
    pub serial: String,
    /// SHA-256 of its certificate, in hexadecimal.
    pub fingerprint: String,
    /// Until when its certificate is valid.
    pub expires_at: Option<TimestampMs>,
    /// Its client id, empty if it has given none.
    pub client_id: String,
    /// Where it comes from.
    pub address: String,
}

/// Why a device was not registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unregistered {
    /// It may not be.
    Refused,
    /// Nobody could decide now; it may try again.
    Unavailable,
}

/// Resolves once the device is registered, for good, or is not.
pub type Registering = Pin<Box<dyn Future<Output = Result<(), Unregistered>> + Send>>;

/// Registers devices.
pub trait Registrar: Send + Sync + 'static {
    /// Makes a thing of a device, which its certificate is for from then on. Whoever drops the answer does not take it
    /// back.
    fn register(&self, newcomer: Newcomer) -> Registering;
}
