//! The chain, pure: how an entry becomes the next record, and how a chain is followed to its first broken link.

use super::entry::{By, Entry};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// What stands before the first record.
pub(crate) const ORIGIN: Head = Head { number: 0, hash: [0; 32], t: 0 };

/// The last record of a chain, as far as the next one has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) number: u64,
    pub(crate) hash: Hash,
    /// When, in milliseconds since the Unix epoch.
    pub(crate) t: u64,
}

/// One record. Its fields stand in the order of their names, which makes its JSON canonical (RFC 8785): all numbers
/// are whole and below 2^53, all names are ASCII.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    pub(crate) by: By,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<String>,
    pub(crate) count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    pub(crate) namespace: String,
    pub(crate) number: u64,
    pub(crate) outcome: String,
    pub(crate) prev: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    pub(crate) t: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) target: BTreeMap<String, String>,
}

/// Why a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The record at which it is seen.
    pub(crate) number: u64,
    /// A stable word.
    pub(crate) why: &'static str,
    /// The same for people.
    pub(crate) message: String,
}

/// Makes an entry the next record: its bytes, and the new head. Time does not go back within a chain, so that it can
/// be searched by time.
pub(crate) fn link(head: &Head, entry: Entry) -> (Vec<u8>, Head) {
    let t = entry.t.0.max(head.t);
    let record = Record {
        action: entry.action,
        address: entry.address,
        by: entry.by,
        client_id: entry.client_id,
        count: entry.count,
        digest: entry.digest,
        namespace: entry.namespace.to_string(),
        number: head.number + 1,
        outcome: entry.outcome,
        prev: hex(&head.hash),
        request_id: entry.request_id,
        t,
        target: entry.target,
    };
    // Made of texts and numbers only: serialisation has no way to fail.
    let bytes = serde_json::to_vec(&record).unwrap_or_default();
    let hash = hash(&head.hash, &bytes);
    (bytes, Head { number: record.number, hash, t })
}

/// Follows a chain of one tenant by one record; the new head, or why it does not follow.
pub(crate) fn follow(
    head: &Head,
    tenant: &str,
    (number, bytes, stored): (u64, &[u8], &Hash),
) -> Result<Head, Broken> {
    let expected = head.number + 1;
    let broken = |number, why, message: String| Err(Broken { number, why, message });
    if number != expected {
        let message = format!("record {expected} is not there, record {number} is the next one");
        return broken(expected, "missing", message);
    }
    let computed = hash(&head.hash, bytes);
    let Ok(record) = serde_json::from_slice::<Record>(bytes) else {
        return broken(number, "malformed", "it is no record".to_owned());
    };
    if record.prev != hex(&head.hash) {
        return broken(number, "prev", "it does not follow the record before it".to_owned());
    }
    if computed != *stored {
        return broken(
            number,
            "hash",
            "its bytes are not those that it was hashed with".to_owned(),
        );
    }
    if record.number != number {
        return broken(number, "number", format!("it says that it is record {}", record.number));
    }
    if record.namespace.split('/').next() != Some(tenant) {
        let message = format!("it is of another tenant: {}", record.namespace);
        return broken(number, "tenant", message);
    }
    if record.t < head.t {
        return broken(number, "time", "it is older than the record before it".to_owned());
    }
    Ok(Head { number, hash: computed, t: record.t })
}

fn hash(prev: &Hash, bytes: &[u8]) -> Hash {
    let both = [prev.as_slice(), bytes].concat();
    sha256(&both)
}

/// The SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// In hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of a known length from hexadecimal digits.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != N * 2 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::{Namespace, TimestampMs};

    fn entry(t: u64, name: &str) -> Entry {
        let namespace = Namespace::parse("acme/plant").unwrap();
        let mut entry = Entry::new(TimestampMs(t), namespace, By::claimed(name), "things create");
        entry.target.insert("thing".to_owned(), name.to_owned());
        entry
    }

    fn chain(count: u64) -> Vec<(u64, Vec<u8>, Hash)> {
        let mut head = ORIGIN;
        let mut rows = Vec::new();
        for index in 0..count {
            let (bytes, next) = link(&head, entry(1000 - index, &format!("\u{1}ü\"{index}")));
            rows.push((next.number, bytes, next.hash));
            head = next;
        }
        rows
    }

    fn walk(rows: &[(u64, Vec<u8>, Hash)]) -> Result<Head, Broken> {
        let step = |head: Head, (number, bytes, hash): &(u64, Vec<u8>, Hash)| {
            follow(&head, "acme", (*number, bytes, hash))
        };
        rows.iter().try_fold(ORIGIN, step)
    }

    #[test]
    fn a_chain_is_followed_to_its_head_and_its_time_never_goes_back() {
        let head = walk(&chain(20)).unwrap();
        assert_eq!((head.number, head.t), (20, 1000));
    }

    #[test]
    fn a_record_is_canonical_json_and_its_hash_is_that_of_the_page() {
        let (bytes, head) = link(&ORIGIN, entry(7, "p1"));
        let text = String::from_utf8(bytes.clone()).unwrap();
        let zeros = "0".repeat(64);
        let who = r#""action":"things create","by":{"name":"p1"},"count":1"#;
        let what = r#""namespace":"acme/plant","number":1,"outcome":"ok""#;
        let rest = format!(r#""prev":"{zeros}","t":7,"target":{{"thing":"p1"}}"#);
        assert_eq!(text, format!("{{{who},{what},{rest}}}"));
        let again: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text, "names are sorted");
        assert_eq!(head.hash, sha256(&[[0; 32].as_slice(), &bytes].concat()));
    }

    #[test]
    fn what_is_missing_moved_or_from_elsewhere_is_named() {
        let whole = chain(9);
        let without = |gone: usize| {
            let mut rows = whole.clone();
            rows.remove(gone);
            walk(&rows).unwrap_err()
        };
        assert_eq!((without(0).number, without(0).why), (1, "missing"));
        assert_eq!((without(4).number, without(4).why), (5, "missing"));
        let mut renumbered = whole.clone();
        renumbered.remove(4);
        renumbered.iter_mut().skip(4).for_each(|row| row.0 -= 1);
        let broken = walk(&renumbered).unwrap_err();
        assert_eq!((broken.number, broken.why), (5, "prev"));
        let (_, bytes, hash) = &whole[0];
        let broken = follow(&ORIGIN, "other", (1, bytes, hash)).unwrap_err();
        assert_eq!((broken.number, broken.why), (1, "tenant"));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_found_at_its_record_or_the_next(at in 0_usize..8, bit in any::<usize>()) {
            let mut rows = chain(8);
            let bytes = &mut rows[at].1;
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let broken = walk(&rows).unwrap_err();
            prop_assert_eq!(broken.number, at as u64 + 1);
        }

        #[test]
        fn hexadecimal_digits_come_back(bytes in any::<[u8; 8]>()) {
            prop_assert_eq!(unhex::<8>(&hex(&bytes)), Some(bytes));
            prop_assert_eq!(unhex::<7>(&hex(&bytes)), None);
        }
    }
}
