//! Argon2id for secrets that people choose (RFC 9106), in memory that is given back at once.
//!
//! The work memory is one allocation large enough for the system allocator to map it by itself and to unmap it when
//! it is freed. With an ordinary allocation each thread that ever hashed would keep its 19 MiB.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize};

/// Bytes of a salt.
pub(super) const SALT_BYTES: usize = 16;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;
/// Blocks of 1 KiB above which an allocation is always mapped by itself: glibc never raises that bound past 32 MiB.
const MAPPED_BLOCKS: usize = 33 * 1024;
/// The most memory a stored hash may ask for, in KiB: a damaged row must not fill the machine.
const MEMORY_KIB_MAX: u32 = 64 * 1024;
/// The most passes a stored hash may ask for.
const PASSES_MAX: u32 = 16;

/// A hash and all that is needed to compute it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowHash {
    salt: [u8; SALT_BYTES],
    hash: [u8; HASH_BYTES],
    memory_kib: u32,
    passes: u32,
}

/// A secret cannot be hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secret cannot be hashed: {0}")]
pub struct HashError(String);

impl SlowHash {
    /// Hashes `secret` with the parameters that OWASP recommends: 19 MiB, 2 passes. Tens of milliseconds.
    pub(super) fn new(secret: &[u8], salt: [u8; SALT_BYTES]) -> Result<Self, HashError> {
        let (memory_kib, passes) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST);
        let hash = compute(secret, &salt, memory_kib, passes)?;
        Ok(Self { salt, hash, memory_kib, passes })
    }

    /// Whether `secret` is the one that was hashed.
    pub(super) fn is_of(&self, secret: &[u8]) -> bool {
        let Ok(hash) = compute(secret, &self.salt, self.memory_kib, self.passes) else {
            return false;
        };
        let differences = hash.iter().zip(&self.hash).fold(0, |all, (a, b)| all | (a ^ b));
        differences == 0
    }
}

fn compute(
    secret: &[u8],
    salt: &[u8],
    memory_kib: u32,
    passes: u32,
) -> Result<[u8; HASH_BYTES], HashError> {
    if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX {
        return Err(HashError("its parameters are out of bounds".to_owned()));
    }
    let fail = |error: argon2::Error| HashError(error.to_string());
    let params = Params::new(memory_kib, passes, 1, Some(HASH_BYTES)).map_err(fail)?;
    let blocks = params.block_count();
    let mut memory = Vec::with_capacity(blocks.max(MAPPED_BLOCKS));
    memory.resize(blocks, Block::new());
    let mut hash = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(secret, salt, &mut hash, &mut memory)
        .map_err(fail)?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_row_does_not_fill_the_machine() {
        let hash = SlowHash::new(b"secret", [1; SALT_BYTES]).unwrap();
        assert!(hash.is_of(b"secret"));
        for (memory_kib, passes) in [(u32::MAX, 2), (hash.memory_kib, u32::MAX), (0, 0)] {
            let damaged = SlowHash { memory_kib, passes, ..hash.clone() };
            assert!(!damaged.is_of(b"secret"));
        }
    }

    #[test]
    fn it_is_argon2id_as_others_compute_it() {
        // argon2-cffi: low_level.hash_secret_raw(b"password", b"somesaltsomesalt", 2, 19456, 1, 32, Type.ID)
        let hash = SlowHash::new(b"password", *b"somesaltsomesalt").unwrap();
        let hex: String = hash.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, EXPECTED);
    }

    const EXPECTED: &str = "2b5dc4054886ec957ef59c73b661c54dd6fb274590b278f657c6d96aac8fa6d1";
}
