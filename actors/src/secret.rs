//! Secrets: made with all the entropy they need, or given by a person and checked for their length.

use proto::Entropy;

/// Bytes of entropy in a secret that is made here.
const SECRET_BYTES: usize = 20;

/// The shortest secret that is taken, in bytes (NIST SP 800-63B 3.1.1.2: at least 8 characters).
const GIVEN_BYTES_MIN: usize = 8;

/// The longest secret that is taken, in bytes.
const GIVEN_BYTES_MAX: usize = 256;

/// A new secret of 160 bits, in letters and digits that a shell, a URL and a reader leave alone
/// (RFC 4648 6).
pub(crate) fn generate(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; SECRET_BYTES];
    entropy.fill(&mut bytes);
    written(&bytes)
}

/// Bytes as a secret, five at a time; what is left over is left out.
pub(crate) fn written(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5);
    for group in bytes.chunks_exact(5) {
        let mut bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        bits <<= 24;
        for _ in 0..8 {
            text.push(char::from(ALPHABET[(bits >> 59) as usize]));
            bits <<= 5;
        }
    }
    text
}

/// Refuses a secret that is too short to guard anything, or too long to hash.
pub(crate) fn check(secret: &str) -> Result<(), &'static str> {
    match secret.len() {
        0..GIVEN_BYTES_MIN => Err("it must have at least 8 bytes"),
        GIVEN_BYTES_MIN..=GIVEN_BYTES_MAX => Ok(()),
        _ => Err("it must have at most 256 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn secrets_are_base32_of_all_their_entropy() {
        assert_eq!(generate(&Fixed(0)), "a".repeat(32));
        assert_eq!(generate(&Fixed(0xFF)), "7".repeat(32));
        // 0x66 is 01100 110: the groups of five bits are 12, 25, 19, 6.
        assert_eq!(generate(&Fixed(b'f')), "mztgmztg".repeat(4));
    }

    #[test]
    fn given_secrets_are_bounded() {
        for (length, is_good) in [(0, false), (7, false), (8, true), (256, true), (257, false)] {
            assert_eq!(check(&"x".repeat(length)).is_ok(), is_good, "{length}");
        }
    }
}
