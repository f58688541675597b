//! What a token says (RFC 7519 4.1), checked against what its issuer may say.

use super::TokenError;
use crate::auth::config::JwtConfig;
use crate::permissions::acl::AclRule;
use proto::{Namespace, Role, TimestampMs, UserId};
use serde_json::{Map, Value as Json};

/// Who the bearer of a token is, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) namespace: Namespace,
    pub(crate) name: UserId,
    pub(crate) role: Role,
    pub(crate) acl: Option<Vec<AclRule>>,
    pub(crate) expires_at: TimestampMs,
}

impl Claims {
    /// Reads and checks them; the signature has been checked.
    pub(super) fn read(
        claims: &Map<String, Json>,
        config: &JwtConfig,
        now: TimestampMs,
    ) -> Result<Self, TokenError> {
        if !config.issuer.is_empty() && text(claims, "iss") != Some(&config.issuer) {
            return Err(TokenError::Issuer);
        }
        if !config.audience.is_empty() && !is_for(claims.get("aud"), &config.audience) {
            return Err(TokenError::Audience);
        }
        let expires_at = time(claims, "exp")?.ok_or(TokenError::NoExpiry)?;
        let leeway_ms = config.leeway_secs * 1000;
        if now.0 >= expires_at.saturating_add(leeway_ms) {
            return Err(TokenError::Expired);
        }
        if time(claims, "nbf")?.is_some_and(|from| now.0.saturating_add(leeway_ms) < from) {
            return Err(TokenError::NotYet);
        }
        let name = text(claims, &config.name_claim).ok_or(TokenError::Name)?;
        Ok(Self {
            namespace: namespace(claims, config)?,
            name: UserId::parse(name).map_err(|_| TokenError::Name)?,
            role: role(claims, config)?,
            acl: match claims.get(&config.acl_claim) {
                None | Some(Json::Null) => None,
                Some(list) => {
                    Some(serde_json::from_value(list.clone()).map_err(|_| TokenError::Acl)?)
                }
            },
            expires_at: TimestampMs(expires_at.saturating_add(leeway_ms)),
        })
    }
}

fn text<'a>(claims: &'a Map<String, Json>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// A NumericDate in milliseconds (RFC 7519 2): seconds, possibly with a fraction.
fn time(claims: &Map<String, Json>, name: &str) -> Result<Option<u64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            // A cast of a float ends at the bounds of the integer.
            Some(secs) if secs >= 0.0 => Ok(Some((secs * 1000.0) as u64)),
            _ => Err(TokenError::Time),
        },
    }
}

/// An audience is a text or a list of texts (RFC 7519 4.1.3).
fn is_for(audience: Option<&Json>, own: &str) -> bool {
    match audience {
        Some(Json::String(one)) => one == own,
        Some(Json::Array(many)) => many.iter().any(|it| it.as_str() == Some(own)),
        _ => false,
    }
}

/// The operators of the whole system are in no issuer's hands.
fn namespace(claims: &Map<String, Json>, config: &JwtConfig) -> Result<Namespace, TokenError> {
    if config.namespace_claim.is_empty() {
        return Ok(config.namespace.clone());
    }
    let namespace = match claims.get(&config.namespace_claim) {
        None => config.namespace.clone(),
        Some(Json::String(text)) => Namespace::parse(text).map_err(|_| TokenError::Namespace)?,
        Some(_) => return Err(TokenError::Namespace),
    };
    match namespace.tenant.as_str() {
        "system" => Err(TokenError::Namespace),
        _ => Ok(namespace),
    }
}

fn role(claims: &Map<String, Json>, config: &JwtConfig) -> Result<Role, TokenError> {
    let role = match claims.get(&config.role_claim) {
        None => return Ok(config.role),
        Some(Json::Array(roles)) => roles.first().ok_or(TokenError::Role)?,
        Some(role) => role,
    };
    let role: Role = serde_json::from_value(role.clone()).map_err(|_| TokenError::Role)?;
    config.roles.contains(&role).then_some(role).ok_or(TokenError::Role)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: TimestampMs = TimestampMs(1_000_000_000);

    fn read(claims: Json, config: &JwtConfig) -> Result<Claims, TokenError> {
        let Json::Object(claims) = claims else { panic!("no object") };
        Claims::read(&claims, config, NOW)
    }

    fn config() -> JwtConfig {
        JwtConfig {
            issuer: "https://id.example".to_owned(),
            audience: "manifold".to_owned(),
            namespace_claim: "space".to_owned(),
            ..JwtConfig::default()
        }
    }

    fn good() -> Json {
        json!({ "iss": "https://id.example", "aud": ["other", "manifold"], "exp": 1_000_100, "sub": "joe" })
    }

    #[test]
    fn the_claims_are_who_the_bearer_is() {
        let plain = read(good(), &config()).unwrap();
        assert_eq!(plain.name.as_str(), "joe");
        assert_eq!((plain.role, plain.namespace), (Role::User, Namespace::default()));
        assert_eq!(plain.expires_at, TimestampMs(1_000_130_000));
        let mut full = good();
        full["role"] = json!(["app", "user"]);
        full["space"] = json!("acme/berlin");
        full["acl"] = json!([{ "permission": "allow", "action": "publish", "topic": "a" }]);
        let full = read(full, &config()).unwrap();
        assert_eq!((full.role, full.namespace.to_string()), (Role::App, "acme/berlin".to_owned()));
        assert_eq!(full.acl.unwrap().len(), 1);
    }

    #[test]
    fn each_claim_that_is_wrong_refuses_the_token() {
        for (claim, value, expected) in [
            ("iss", json!("https://else"), TokenError::Issuer),
            ("aud", json!("else"), TokenError::Audience),
            ("aud", json!(null), TokenError::Audience),
            ("exp", json!(999_969), TokenError::Expired),
            ("exp", json!("soon"), TokenError::Time),
            ("exp", json!(-1), TokenError::Time),
            ("nbf", json!(1_000_031), TokenError::NotYet),
            ("sub", json!("a/b"), TokenError::Name),
            ("sub", json!(7), TokenError::Name),
            ("space", json!("system/system"), TokenError::Namespace),
            ("space", json!("acme"), TokenError::Namespace),
            ("role", json!("project_admin"), TokenError::Role),
            ("role", json!("emperor"), TokenError::Role),
            ("role", json!([]), TokenError::Role),
            ("acl", json!("#"), TokenError::Acl),
        ] {
            let mut claims = good();
            claims[claim] = value.clone();
            assert_eq!(read(claims, &config()), Err(expected), "{claim} {value}");
        }
        let Json::Object(mut eternal) = good() else { panic!("no object") };
        eternal.remove("exp");
        assert_eq!(read(Json::Object(eternal), &config()), Err(TokenError::NoExpiry));
    }

    #[test]
    fn clocks_may_differ_by_the_leeway() {
        for (claim, value) in [("exp", 999_971), ("nbf", 1_000_030)] {
            let mut claims = good();
            claims[claim] = json!(value);
            assert!(read(claims, &config()).is_ok(), "{claim} {value}");
        }
    }
}
