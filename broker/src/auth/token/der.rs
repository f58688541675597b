//! The little of PEM and DER that a public key needs (RFC 7468, RFC 5280 4.1.2.7).

use super::keys::KeyError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const BIT_STRING: u8 = 0x03;

/// `rsaEncryption` (RFC 8017 A.1).
const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
/// `id-ecPublicKey` (RFC 5480 2.1.1).
const EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
/// `secp256r1` (RFC 5480 2.1.1.1).
const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
/// `id-Ed25519` (RFC 8410 3).
const ED25519: &[u8] = &[0x2B, 0x65, 0x70];

/// What kind a public key is, and its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// An `RSAPublicKey` (RFC 8017 A.1.1).
    Rsa(Vec<u8>),
    /// A point of P-256, uncompressed.
    P256(Vec<u8>),
    /// An Ed25519 key.
    Ed25519(Vec<u8>),
}

/// The bodies of all blocks of this label.
pub(super) fn pem_blocks(text: &str, label: &str) -> Result<Vec<Vec<u8>>, KeyError> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut rest = text;
    let mut blocks = Vec::new();
    while let Some((_, after)) = rest.split_once(&begin) {
        let (body, behind) = after.split_once(&end).ok_or(KeyError::Pem)?;
        let body: String = body.chars().filter(|char| !char.is_ascii_whitespace()).collect();
        blocks.push(STANDARD.decode(body).map_err(|_| KeyError::Pem)?);
        rest = behind;
    }
    Ok(blocks)
}

/// A `SubjectPublicKeyInfo`.
pub(super) fn public_key(der: &[u8]) -> Result<PublicKey, KeyError> {
    let (info, []) = element(der, SEQUENCE)? else { return Err(KeyError::Der) };
    let (algorithm, rest) = element(info, SEQUENCE)?;
    let (bits, []) = element(rest, BIT_STRING)? else { return Err(KeyError::Der) };
    let [0, key @ ..] = bits else { return Err(KeyError::Der) };
    let (kind, parameters) = element(algorithm, OBJECT_ID)?;
    match kind {
        RSA => Ok(PublicKey::Rsa(key.to_vec())),
        EC if element(parameters, OBJECT_ID)? == (P256, &[][..]) => {
            Ok(PublicKey::P256(key.to_vec()))
        }
        ED25519 => Ok(PublicKey::Ed25519(key.to_vec())),
        _ => Err(KeyError::Unsupported),
    }
}

/// The body of the element at the front, which has to be of this kind, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Result<(&[u8], &[u8]), KeyError> {
    let (found, length, rest) = match bytes {
        [found, length @ 0..=0x7F, rest @ ..] => (*found, usize::from(*length), rest),
        [found, 0x81, length, rest @ ..] => (*found, usize::from(*length), rest),
        [found, 0x82, high, low, rest @ ..] => {
            (*found, usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return Err(KeyError::Der),
    };
    if found != tag || rest.len() < length {
        return Err(KeyError::Der);
    }
    Ok(rest.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 8410 10.1.
    const ED25519_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn the_key_of_rfc_8410_is_read() {
        let blocks = pem_blocks(ED25519_PEM, "PUBLIC KEY").unwrap();
        let Ok(PublicKey::Ed25519(key)) = public_key(&blocks[0]) else { panic!("no Ed25519 key") };
        assert_eq!((key.len(), key[0], key[31]), (32, 0x19, 0xE1));
        assert_eq!(pem_blocks(&ED25519_PEM.repeat(3), "PUBLIC KEY").unwrap().len(), 3);
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let whole = pem_blocks(ED25519_PEM, "PUBLIC KEY").unwrap().remove(0);
        for length in 0..whole.len() {
            assert!(public_key(&whole[..length]).is_err(), "{length}");
        }
        assert_eq!(pem_blocks("-----BEGIN PUBLIC KEY-----\nAA", "PUBLIC KEY"), Err(KeyError::Pem));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = public_key(&bytes);
        }
    }
}
