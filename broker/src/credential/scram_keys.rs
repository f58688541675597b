//! What is kept of a secret for SCRAM-SHA-256 (RFC 5802 3, RFC 7677): keys from which nobody gets it back, and that
//! let nobody in who has read them.

use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// Bytes of a salt.
pub(super) const SALT_BYTES: usize = 16;

/// Rounds for a secret that was made: the least that RFC 7677 4 allows, since nobody can try them all.
pub(crate) const MADE_ROUNDS: NonZeroU32 = rounds(4096);

/// Rounds for a secret that a person chose: about as long as its Argon2 hash takes.
pub(crate) const CHOSEN_ROUNDS: NonZeroU32 = rounds(200_000);

const fn rounds(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(rounds) => rounds,
        None => NonZeroU32::MIN,
    }
}

/// The keys of one secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScramKeys {
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) rounds: NonZeroU32,
    pub(crate) stored_key: [u8; 32],
    pub(crate) server_key: [u8; 32],
}

impl ScramKeys {
    /// Derives them. With [`CHOSEN_ROUNDS`] that takes tens of milliseconds.
    pub(crate) fn new(secret: &[u8], salt: [u8; SALT_BYTES], rounds: NonZeroU32) -> Self {
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, secret, &mut salted);
        let client_key = code(&salted, &[b"Client Key"]);
        Self {
            salt,
            rounds,
            stored_key: hash(&client_key),
            server_key: code(&salted, &[b"Server Key"]),
        }
    }

    /// Whether `proof` shows that the client knows the secret (RFC 5802 3).
    pub(crate) fn is_proof(&self, auth_message: &[u8], proof: &[u8; 32]) -> bool {
        let signature = code(&self.stored_key, &[auth_message]);
        let mut client_key = [0; 32];
        for ((out, a), b) in client_key.iter_mut().zip(proof).zip(signature) {
            *out = a ^ b;
        }
        let found = hash(&client_key);
        let differences = found.iter().zip(self.stored_key).fold(0, |all, (a, b)| all | (a ^ b));
        differences == 0
    }

    /// What shows the client that the broker knows it, too.
    pub(crate) fn server_signature(&self, auth_message: &[u8]) -> [u8; 32] {
        code(&self.server_key, &[auth_message])
    }
}

/// HMAC-SHA-256 of parts put together.
pub(crate) fn code(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    parts.iter().for_each(|part| context.update(part));
    bytes(context.sign().as_ref())
}

fn hash(text: &[u8]) -> [u8; 32] {
    bytes(digest::digest(&digest::SHA256, text).as_ref())
}

/// SHA-256 has 32 bytes.
fn bytes(from: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut().zip(from).for_each(|(out, byte)| *out = *byte);
    out
}
