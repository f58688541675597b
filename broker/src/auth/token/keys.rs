//! Keys that tokens are checked with: out of PEM, a secret, or a JSON Web Key Set (RFC 7517).
//!
//! A key has one algorithm, given by what the key is. A token is checked only with keys of the algorithm that it
//! names, so that a public key can never be taken for the secret of an HMAC.

use super::der::{self, PublicKey};
use crate::auth::config::JwtAlgorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, signature};
use serde::Deserialize;

/// The most keys of one set.
const KEYS_MAX: usize = 64;

/// The shortest secret of HS256, in bytes (RFC 7518 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Why keys cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// The text around the keys is broken.
    #[error("it is no PEM")]
    Pem,
    /// The bytes of a key are broken.
    #[error("a key in it is no SubjectPublicKeyInfo")]
    Der,
    /// A curve or kind of key that no algorithm here uses.
    #[error("a key in it is neither RSA, nor P-256, nor Ed25519")]
    Unsupported,
    /// It is no JSON Web Key Set.
    #[error("it is no JSON Web Key Set")]
    Jwks,
    /// There is no key in it that can be used.
    #[error("there is no key in it")]
    Empty,
    /// There are more than [`KEYS_MAX`] keys in it.
    #[error("there are more than {KEYS_MAX} keys in it")]
    TooMany,
    /// The secret is too short.
    #[error("the secret has fewer than {SECRET_BYTES_MIN} bytes")]
    ShortSecret,
}

/// Keys of one issuer.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Hmac(hmac::Key),
    RsaDer(Vec<u8>),
    RsaParts(signature::RsaPublicKeyComponents<Vec<u8>>),
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// What the keys of a set said of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    Good,
    Bad,
    /// No key has the identifier that the token names.
    UnknownKey,
}

impl KeySet {
    /// All `PUBLIC KEY` blocks of a PEM file.
    pub(super) fn from_pem(text: &str) -> Result<Self, KeyError> {
        let blocks = der::pem_blocks(text, "PUBLIC KEY")?;
        let key = |block: &Vec<u8>| {
            let material = match der::public_key(block)? {
                PublicKey::Rsa(key) => Material::RsaDer(key),
                PublicKey::P256(key) => Material::P256(key),
                PublicKey::Ed25519(key) => Material::Ed25519(key),
            };
            Ok(Key { id: None, material })
        };
        Self::of(blocks.iter().map(key).collect::<Result<_, _>>()?)
    }

    /// A secret; line breaks at its end, which editors leave, are no part of it.
    pub(super) fn from_secret(bytes: &[u8]) -> Result<Self, KeyError> {
        let length = bytes.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |at| at + 1);
        let material = hmac_key(&bytes[..length])?;
        Self::of(vec![Key { id: None, material }])
    }

    /// A JSON Web Key Set; `with_secrets` also takes symmetric keys, which nobody may publish. Keys of unknown
    /// kinds are passed over (RFC 7517 5).
    pub(super) fn from_jwks(text: &[u8], with_secrets: bool) -> Result<Self, KeyError> {
        let set: JwkSet = serde_json::from_slice(text).map_err(|_| KeyError::Jwks)?;
        let keys = set.keys.into_iter().filter_map(|key| {
            let jwk: Jwk = serde_json::from_value(key).ok()?;
            let material = jwk.material(with_secrets)?;
            Some(Key { id: jwk.kid, material })
        });
        Self::of(keys.take(KEYS_MAX + 1).collect())
    }

    fn of(keys: Vec<Key>) -> Result<Self, KeyError> {
        match keys.len() {
            0 => Err(KeyError::Empty),
            1..=KEYS_MAX => Ok(Self { keys }),
            _ => Err(KeyError::TooMany),
        }
    }

    /// Checks a signature with the keys of this algorithm, and of this identifier if the token names one. A key
    /// without an identifier may be any.
    pub(super) fn check(
        &self,
        algorithm: JwtAlgorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Checked {
        let is_meant = |key: &&Key| match (id, &key.id) {
            (Some(id), Some(own)) => id == own,
            _ => true,
        };
        let mut meant = self.keys.iter().filter(is_meant).peekable();
        if meant.peek().is_none() {
            return Checked::UnknownKey;
        }
        let mut right = meant.filter(|key| key.material.algorithm() == algorithm);
        match right.any(|key| key.material.is_good(message, signature)) {
            true => Checked::Good,
            false => Checked::Bad,
        }
    }
}

impl Material {
    fn algorithm(&self) -> JwtAlgorithm {
        match self {
            Self::Hmac(_) => JwtAlgorithm::Hs256,
            Self::RsaDer(_) | Self::RsaParts(_) => JwtAlgorithm::Rs256,
            Self::P256(_) => JwtAlgorithm::Es256,
            Self::Ed25519(_) => JwtAlgorithm::EdDsa,
        }
    }

    fn is_good(&self, message: &[u8], signature: &[u8]) -> bool {
        let rsa = &signature::RSA_PKCS1_2048_8192_SHA256;
        let public = |algorithm, key| signature::UnparsedPublicKey::new(algorithm, key);
        let checked = match self {
            Self::Hmac(key) => hmac::verify(key, message, signature),
            Self::RsaDer(key) => public(rsa, key).verify(message, signature),
            Self::RsaParts(key) => key.verify(rsa, message, signature),
            Self::P256(key) => {
                public(&signature::ECDSA_P256_SHA256_FIXED, key).verify(message, signature)
            }
            Self::Ed25519(key) => public(&signature::ED25519, key).verify(message, signature),
        };
        checked.is_ok()
    }
}

fn hmac_key(secret: &[u8]) -> Result<Material, KeyError> {
    match secret.len() {
        0..SECRET_BYTES_MIN => Err(KeyError::ShortSecret),
        _ => Ok(Material::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret))),
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

/// The members of a key that matter here (RFC 7517 4, RFC 7518 6, RFC 8037 2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    alg: Option<JwtAlgorithm>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    k: String,
}

impl Jwk {
    fn material(&self, with_secrets: bool) -> Option<Material> {
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let material = match (self.kty.as_str(), self.crv.as_str()) {
            ("RSA", _) => {
                let number = |text| Some(without_leading_zeros(bytes(text)?));
                Material::RsaParts(signature::RsaPublicKeyComponents {
                    n: number(&self.n)?,
                    e: number(&self.e)?,
                })
            }
            ("EC", "P-256") => {
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                (x.len() == 32 && y.len() == 32).then_some(())?;
                Material::P256([&[4], x.as_slice(), y.as_slice()].concat())
            }
            ("OKP", "Ed25519") => Material::Ed25519(bytes(&self.x)?),
            ("oct", _) if with_secrets => hmac_key(&bytes(&self.k)?).ok()?,
            _ => return None,
        };
        let is_other = self.alg.is_some_and(|algorithm| algorithm != material.algorithm());
        (!is_other).then_some(material)
    }
}

/// The library takes numbers in their shortest form; some issuers write a zero first.
fn without_leading_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}
