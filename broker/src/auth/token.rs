//! JSON Web Tokens (RFC 7519) as passwords: whose they are, and whether to believe them.
//!
//! A token is believed if a key of an issuer has signed it with an algorithm that this issuer uses, and its claims
//! are right ([`claims`]). An issuer whose keys cannot be had is one whose tokens are refused.

pub(super) mod claims;
mod der;
mod keys;
mod source;

pub(crate) use claims::Claims;

use super::config::{JwtAlgorithm, JwtConfig};
use crate::reload::Reloaded;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keys::{Checked, KeySet};
use proto::TimestampMs;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use source::{KeySource, SourceError};
use std::sync::Arc;

/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The most issuers.
pub const JWT_ISSUERS_MAX: usize = 16;

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token is malformed")]
    Malformed,
    #[error("the algorithm of the token is not taken")]
    Algorithm,
    #[error("no key has the identifier that the token names")]
    UnknownKey,
    #[error("the signature of the token is wrong")]
    Signature,
    #[error("the keys of the issuer cannot be had")]
    NoKeys,
    #[error("the token is of another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token never expires")]
    NoExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("a time in the token is no time")]
    Time,
    #[error("the token names nobody")]
    Name,
    #[error("the namespace in the token is not allowed")]
    Namespace,
    #[error("the role in the token is not allowed")]
    Role,
    #[error("the access list in the token is malformed")]
    Acl,
    #[error("the token has been revoked")]
    Revoked,
}

/// Whether a password looks like a token: three parts, the first of which begins a JSON object.
pub(crate) fn is_token(password: &[u8]) -> bool {
    password.starts_with(b"ey") && password.iter().filter(|byte| **byte == b'.').count() == 2
}

/// The issuers whose tokens are taken.
pub(crate) struct Tokens {
    issuers: Vec<Issuer>,
}

struct Issuer {
    config: JwtConfig,
    source: Arc<KeySource>,
}

impl Tokens {
    /// Reads the keys of all issuers; those behind a URL are fetched in the background.
    pub(super) fn open(configs: &[JwtConfig]) -> Result<Self, SourceError> {
        let open = |config: &JwtConfig| {
            KeySource::open(config).map(|source| Issuer { config: config.clone(), source })
        };
        Ok(Self { issuers: configs.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// Reads the keys of all issuers again; those behind a URL are asked for.
    pub(super) fn reload(&self) -> Vec<Reloaded> {
        let reload = |Issuer { config, source }: &Issuer| {
            let (place, outcome) = source.reload();
            let outcome = outcome.map_err(|error| error.to_string());
            Reloaded::new("jwt_keys", vec![config.issuer.clone()], place, outcome)
        };
        self.issuers.iter().map(reload).collect()
    }

    /// Whether there is any issuer.
    pub(crate) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// What a token says, if it is to be believed.
    pub(super) fn verify(
        &self,
        token: &TokenParts<'_>,
        now: TimestampMs,
    ) -> Result<Claims, TokenError> {
        let mut reason = TokenError::Issuer;
        for issuer in &self.issuers {
            let named = token.claims.get("iss").and_then(Json::as_str).unwrap_or_default();
            if !issuer.config.issuer.is_empty() && named != issuer.config.issuer {
                continue;
            }
            match issuer.verify(token, now) {
                Ok(claims) => return Ok(claims),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }
}

impl Issuer {
    fn verify(&self, token: &TokenParts<'_>, now: TimestampMs) -> Result<Claims, TokenError> {
        if !self.config.algorithms.contains(&token.algorithm) {
            return Err(TokenError::Algorithm);
        }
        let keys = self.source.keys().ok_or(TokenError::NoKeys)?;
        check(&keys, token).inspect_err(|error| {
            if *error == TokenError::UnknownKey {
                // A key that is new: the next token of it shall find it.
                self.source.ask_again();
            }
        })?;
        Claims::read(&token.claims, &self.config, now)
    }
}

fn check(keys: &KeySet, token: &TokenParts<'_>) -> Result<(), TokenError> {
    match keys.check(token.algorithm, token.key_id.as_deref(), token.message, &token.signature) {
        Checked::Good => Ok(()),
        Checked::Bad => Err(TokenError::Signature),
        Checked::UnknownKey => Err(TokenError::UnknownKey),
    }
}

/// A token taken apart (RFC 7515 3.1); nothing in it is to be believed.
pub(super) struct TokenParts<'a> {
    pub(super) message: &'a [u8],
    pub(super) signature: Vec<u8>,
    pub(super) algorithm: JwtAlgorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Json>,
}

/// The members of the header that matter (RFC 7515 4.1).
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    #[serde(default)]
    crit: Option<Json>,
}

impl<'a> TokenParts<'a> {
    pub(super) fn parse(token: &'a [u8]) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let bytes = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
        let message = &token[..header.len() + 1 + claims.len()];
        let header: Header =
            serde_json::from_slice(&bytes(header)?).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        // `none` and everything else that is no algorithm here ends at this line.
        let algorithm =
            serde_json::from_value(Json::String(header.alg)).map_err(|_| TokenError::Algorithm)?;
        Ok(Self {
            message,
            signature: bytes(signature)?,
            algorithm,
            key_id: header.kid,
            claims: serde_json::from_slice(&bytes(claims)?).map_err(|_| TokenError::Malformed)?,
        })
    }
}

#[cfg(test)]
mod tests;
