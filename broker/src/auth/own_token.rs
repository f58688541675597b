//! API tokens as this node issues and takes them: JWTs (RFC 7519) with HS256, signed with a key that is made at the
//! first start and kept in the store. The identifier of the key in the header tells them from those of other issuers.

use super::token::{TokenError, TokenParts};
use super::{AuthError, JwtAlgorithm};
use crate::credential::{ApiToken, ApiTokenKey, system_namespace};
use crate::space::Shared;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proto::{Namespace, TimestampMs, TokenId, UserId};
use ring::hmac;
use serde::{Deserialize, Serialize};
use store::{Changes, Row, RowError};

/// The `iss` of API tokens.
const ISSUER: &str = "manifold";

/// The key of a store, as it is kept.
#[derive(Serialize, Deserialize)]
struct TokenKeyRow {
    secret: [u8; 32],
}

/// What an API token says: which row is its own, and no more.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ApiClaims {
    iss: String,
    sub: UserId,
    namespace: String,
    credential: TokenId,
    jti: String,
    iat: u64,
    exp: u64,
}

/// The key that signs API tokens.
pub(crate) struct TokenKey {
    key: hmac::Key,
    id: String,
}

impl TokenKey {
    /// The key of this store. Must run inside a tokio runtime.
    pub(super) fn read_or_make(shared: &Shared) -> Result<Self, AuthError> {
        let found = shared.store.read().and_then(|it| it.get::<TokenKeyRow>(&system_namespace()));
        if let Some(row) = found.map_err(|error| AuthError(error.to_string()))? {
            return Ok(Self::new(&row.secret));
        }
        let mut secret = [0; 32];
        shared.entropy.fill(&mut secret);
        let mut changes = Changes::new();
        changes.put(&system_namespace(), &TokenKeyRow { secret });
        // Nobody waits: a token is committed after it, and if both are lost, the next start makes another.
        drop(shared.store.submit(changes));
        Ok(Self::new(&secret))
    }

    fn new(secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, b"the identifier of this key");
        let id = URL_SAFE_NO_PAD.encode(&tag.as_ref()[..12]);
        Self { key, id }
    }

    /// The JWT of a token.
    pub(crate) fn sign(&self, (namespace, user, name): &ApiTokenKey, row: &ApiToken) -> String {
        let claims = ApiClaims {
            iss: ISSUER.to_owned(),
            sub: user.clone(),
            namespace: namespace.to_string(),
            credential: name.clone(),
            jti: row.serial.clone(),
            iat: row.created.0 / 1000,
            // Rounded up: the row says when it ends, to the millisecond.
            exp: row.expires.0.div_ceil(1000),
        };
        let header = serde_json::json!({ "alg": "HS256", "typ": "JWT", "kid": self.id });
        // Made of texts and numbers only: serialisation has no way to fail.
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Whether a token says that this key has signed it.
    pub(super) fn is_of(&self, token: &TokenParts<'_>) -> bool {
        token.key_id.as_deref() == Some(&*self.id)
    }

    /// Which row a token is of, with its serial number; the row says whether it is still good.
    pub(super) fn verify(
        &self,
        token: &TokenParts<'_>,
        now: TimestampMs,
    ) -> Result<(ApiTokenKey, String), TokenError> {
        if token.algorithm != JwtAlgorithm::Hs256 {
            return Err(TokenError::Algorithm);
        }
        hmac::verify(&self.key, token.message, &token.signature)
            .map_err(|_| TokenError::Signature)?;
        let claims = serde_json::Value::Object(token.claims.clone());
        let claims: ApiClaims =
            serde_json::from_value(claims).map_err(|_| TokenError::Malformed)?;
        if now.0 >= claims.exp.saturating_mul(1000) {
            return Err(TokenError::Expired);
        }
        let namespace = Namespace::parse(&claims.namespace).map_err(|_| TokenError::Namespace)?;
        Ok(((namespace, claims.sub, claims.credential), claims.jti))
    }
}

impl Row for TokenKeyRow {
    type Key = Namespace;
    const TABLE: &'static str = "api_token_keys";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }

    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json(version, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_000_000);

    fn token(key: &TokenKey) -> (ApiTokenKey, String) {
        let namespace = Namespace::parse("acme/berlin").unwrap();
        let user = UserId::parse("robot").unwrap();
        let row = ApiToken {
            serial: "07".repeat(16),
            roles: None,
            acl: None,
            description: String::new(),
            created: NOW,
            expires: TimestampMs(NOW.0 + 60_000),
            is_disabled: false,
        };
        let at = (namespace, user, TokenId::parse("ci").unwrap());
        let token = key.sign(&at, &row);
        (at, token)
    }

    #[test]
    fn a_token_names_its_row_until_its_end_and_is_believed_by_its_own_key_only() {
        let key = TokenKey::new(&[7; 32]);
        let (at, token) = token(&key);
        let parts = TokenParts::parse(token.as_bytes()).unwrap();
        assert!(key.is_of(&parts));
        assert_eq!(key.verify(&parts, NOW), Ok((at, "07".repeat(16))));
        let end = TimestampMs(NOW.0 + 60_000);
        assert_eq!(key.verify(&parts, end), Err(TokenError::Expired));
        let other = TokenKey::new(&[8; 32]);
        assert!(!other.is_of(&parts));
        assert_eq!(other.verify(&parts, NOW), Err(TokenError::Signature));
    }

    #[test]
    fn nothing_in_a_token_can_be_changed() {
        let key = TokenKey::new(&[7; 32]);
        let (_, token) = token(&key);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"manifold","sub":"admin"}"#);
        let none = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","kid":"{}"}}"#, key.id));
        let rs = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"RS256","kid":"{}"}}"#, key.id));
        let (_, kept) = message.split_once('.').unwrap();
        for (forged, expected) in [
            (format!("{header}.{claims}.{signature}"), TokenError::Signature),
            (format!("{header}.{kept}."), TokenError::Signature),
            (format!("{rs}.{kept}.{signature}"), TokenError::Algorithm),
        ] {
            let parts = TokenParts::parse(forged.as_bytes()).unwrap();
            assert_eq!(key.verify(&parts, NOW), Err(expected), "{forged}");
        }
        let unsigned = format!("{none}.{kept}.");
        assert_eq!(TokenParts::parse(unsigned.as_bytes()).err(), Some(TokenError::Algorithm));
    }
}
