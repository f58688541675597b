//! Which certificates of machines are trusted besides those that a driver names: the trust list of a project, which
//! its operators keep (OPC 10000-4, 6.1.3; OPC 10000-12, 7.5).

use futures_util::future::BoxFuture;
use proto::TimestampMs;
use tokio::sync::watch;

/// A certificate that a machine has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its SHA-256 in hexadecimal digits.
    pub fingerprint: String,
    /// The certificate as DER.
    pub certificate: Vec<u8>,
    /// Where it was shown.
    pub url: String,
}

/// What operators have said of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is trusted, until then if there is an end.
    Approved(Option<TimestampMs>),
    /// It is never trusted, whoever vouches for it.
    Rejected,
}

/// Somebody whose word is taken: what it has signed is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its certificate as DER.
    pub certificate: Vec<u8>,
    /// What it has taken back: a list of RFC 5280, 5, as DER; `None`: it has told of none.
    pub revoked: Option<Vec<u8>>,
    /// Until when its word is taken; `None`: there is no end.
    pub until: Option<TimestampMs>,
}

/// The trust list of a project.
pub trait TrustList: Send + Sync {
    /// What operators have said of a certificate; `None`: nothing yet.
    fn verdict(&self, fingerprint: &str) -> Option<Verdict>;

    /// Whose word is taken.
    fn authorities(&self) -> Vec<Authority>;

    /// Keeps a certificate that is not trusted, for operators to decide.
    fn keep(&self, shown: Shown) -> BoxFuture<'_, ()>;

    /// Changes whenever operators have said something else.
    fn changes(&self) -> watch::Receiver<u64>;
}
