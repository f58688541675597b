//! Checkpoints, pure: what stands for records that retention has dropped, signed with a key of the node (Ed25519).

use super::chain::{Head, hex, unhex};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// The last record that was dropped. Its fields stand in the order of their names; the signature is over the same
/// object without `public_key` and `signature`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpoint {
    /// Records dropped since the chain began.
    pub(crate) count: u64,
    pub(crate) hash: String,
    pub(crate) number: u64,
    pub(crate) public_key: String,
    pub(crate) signature: String,
    /// When the record was made.
    pub(crate) t: u64,
    pub(crate) tenant: String,
}

/// What is signed.
#[derive(Serialize)]
struct Signed<'a> {
    count: u64,
    hash: &'a str,
    number: u64,
    t: u64,
    tenant: &'a str,
}

/// The key of a node.
pub(crate) struct Key(Ed25519KeyPair);

impl Key {
    /// The key of a seed; `None` if that has not 32 bytes in hexadecimal digits.
    pub(crate) fn of(seed: &str) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(&unhex::<32>(seed)?).ok().map(Self)
    }

    /// What others check signatures with.
    pub(crate) fn public(&self) -> String {
        hex(self.0.public_key().as_ref())
    }

    /// Signs what stands for all records up to `last`, which has been dropped as well.
    pub(crate) fn checkpoint(&self, tenant: &str, last: &Head) -> Checkpoint {
        let mut checkpoint = Checkpoint {
            count: last.number,
            hash: hex(&last.hash),
            number: last.number,
            public_key: self.public(),
            signature: String::new(),
            t: last.t,
            tenant: tenant.to_owned(),
        };
        checkpoint.signature = hex(self.0.sign(&checkpoint.signed()).as_ref());
        checkpoint
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.public()).finish()
    }
}

impl Checkpoint {
    fn signed(&self) -> Vec<u8> {
        let Self { count, hash, number, t, tenant, .. } = self;
        let signed = Signed { count: *count, hash, number: *number, t: *t, tenant };
        // Made of texts and numbers only: serialisation has no way to fail.
        serde_json::to_vec(&signed).unwrap_or_default()
    }

    /// Where the chain of a tenant goes on; `None` unless it was signed with this key for this tenant.
    pub(crate) fn head(&self, tenant: &str, public_key: &str) -> Option<Head> {
        let key = UnparsedPublicKey::new(&ED25519, unhex::<32>(public_key)?);
        key.verify(&self.signed(), &unhex::<64>(&self.signature)?).ok()?;
        let head = Head { number: self.number, hash: unhex(&self.hash)?, t: self.t };
        (self.tenant == tenant && self.public_key == public_key).then_some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_key_has_signed_is_a_place_to_go_on_from() {
        let key = Key::of(&"07".repeat(32)).unwrap();
        let other = Key::of(&"08".repeat(32)).unwrap();
        let last = Head { number: 9, hash: [3; 32], t: 77 };
        let good = key.checkpoint("acme", &last);
        assert_eq!(good.head("acme", &key.public()), Some(last));
        let forged = other.checkpoint("acme", &last);
        let changed: [Checkpoint; 5] = [
            forged,
            Checkpoint { number: 8, ..good.clone() },
            Checkpoint { hash: "00".repeat(32), ..good.clone() },
            Checkpoint { count: 1, ..good.clone() },
            Checkpoint { tenant: "other".to_owned(), ..good.clone() },
        ];
        for checkpoint in changed {
            assert_eq!(checkpoint.head("acme", &key.public()), None, "{checkpoint:?}");
        }
        assert_eq!(good.head("other", &key.public()), None);
        assert!(Key::of("07").is_none());
    }
}
