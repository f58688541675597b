//! Which endpoint of a server is taken, and as whom.

use super::config::{OpcUaConfig, OpcUaUser, SecurityMode, SecurityPolicy};
use opcua::client::IdentityToken;
use opcua::crypto::{PrivateKey, SecurityPolicy as Policy, X509};
use opcua::types::{EndpointDescription, MessageSecurityMode, UserTokenType};
use sha2::{Digest as _, Sha256};

/// SHA-256 in hexadecimal digits.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As whom to come in.
pub(crate) fn identity(config: &OpcUaConfig) -> Result<IdentityToken, String> {
    Ok(match &config.user {
        None => IdentityToken::Anonymous,
        Some(OpcUaUser::Name { name, secret }) => {
            IdentityToken::new_user_name(name.as_str(), secret.as_str())
        }
        Some(OpcUaUser::Certificate { certificate, key }) => {
            let certificate = X509::from_pem(certificate.as_bytes());
            let certificate = certificate.map_err(|_| "user.certificate is no X.509 in PEM")?;
            let key = PrivateKey::from_pem(key.as_bytes());
            let key = key.map_err(|_| "user.key is no RSA key in PEM (PKCS #8)")?;
            IdentityToken::new_x509(certificate, key)
        }
    })
}

/// The endpoint to take, or what the server offers instead.
pub(crate) fn choose(
    config: &OpcUaConfig,
    offered: &[EndpointDescription],
) -> Result<EndpointDescription, String> {
    let user = match &config.user {
        None => UserTokenType::Anonymous,
        Some(OpcUaUser::Name { .. }) => UserTokenType::UserName,
        Some(OpcUaUser::Certificate { .. }) => UserTokenType::Certificate,
    };
    let fitting = offered.iter().filter(|it| is_wanted(config, it) && takes(it, user));
    if let Some(best) = fitting.max_by_key(|it| strength(it)) {
        return Ok(best.clone());
    }
    let offers: Vec<String> = offered.iter().filter(|it| is_binary(it)).map(words).collect();
    let offers = if offers.is_empty() { "nothing".to_owned() } else { offers.join("; ") };
    Err(format!("no endpoint for this policy, mode and user; the server offers {offers}"))
}

fn is_binary(endpoint: &EndpointDescription) -> bool {
    endpoint.endpoint_url.as_ref().starts_with("opc.tcp:")
}

pub(crate) fn policy_of(endpoint: &EndpointDescription) -> Option<SecurityPolicy> {
    Some(match Policy::from_uri(endpoint.security_policy_uri.as_ref()) {
        Policy::None => SecurityPolicy::None,
        Policy::Basic256Sha256 => SecurityPolicy::Basic256Sha256,
        Policy::Aes128Sha256RsaOaep => SecurityPolicy::Aes128Sha256RsaOaep,
        Policy::Aes256Sha256RsaPss => SecurityPolicy::Aes256Sha256RsaPss,
        _ => return None,
    })
}

fn is_wanted(config: &OpcUaConfig, endpoint: &EndpointDescription) -> bool {
    let Some(policy) = policy_of(endpoint).filter(|_| is_binary(endpoint)) else { return false };
    let mode = match config.security_mode {
        SecurityMode::Sign => MessageSecurityMode::Sign,
        SecurityMode::SignAndEncrypt => MessageSecurityMode::SignAndEncrypt,
    };
    match (config.security_policy, policy) {
        // A secret is shown to nobody without being asked to.
        (SecurityPolicy::Auto, SecurityPolicy::None) => config.user.is_none(),
        (SecurityPolicy::Auto, _) => endpoint.security_mode == mode,
        (SecurityPolicy::None, SecurityPolicy::None) => true,
        (wanted, found) => wanted == found && endpoint.security_mode == mode,
    }
}

fn takes(endpoint: &EndpointDescription, user: UserTokenType) -> bool {
    let policies = endpoint.user_identity_tokens.as_deref().unwrap_or_default();
    policies.iter().any(|it| it.token_type == user)
        // A server that says nothing of users takes anybody.
        || (policies.is_empty() && user == UserTokenType::Anonymous)
}

/// The stronger of two, first by the policy and then by what the server says.
fn strength(endpoint: &EndpointDescription) -> (u8, u8) {
    let policy = match policy_of(endpoint) {
        Some(SecurityPolicy::Aes256Sha256RsaPss) => 3,
        Some(SecurityPolicy::Aes128Sha256RsaOaep) => 1,
        Some(SecurityPolicy::Basic256Sha256) => 2,
        _ => 0,
    };
    (policy, endpoint.security_level)
}

fn words(endpoint: &EndpointDescription) -> String {
    let policy = endpoint.security_policy_uri.as_ref();
    let policy = policy.rsplit('#').next().unwrap_or(policy);
    let users = endpoint.user_identity_tokens.as_deref().unwrap_or_default();
    let users: Vec<String> = users.iter().map(|it| format!("{:?}", it.token_type)).collect();
    format!("{policy} {:?} for {}", endpoint.security_mode, users.join(", "))
}

/// The endpoint's address with the host and port that the operator gave: what a server says of itself is of no use
/// behind a gateway that translates addresses.
pub(crate) fn reached_at(config: &OpcUaConfig, endpoint: &mut EndpointDescription) {
    let authority = |url: &str| {
        let rest = url.strip_prefix("opc.tcp://").unwrap_or(url);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        (authority.to_owned(), path.to_owned())
    };
    let (host, _) = authority(&config.url);
    let (_, path) = authority(endpoint.endpoint_url.as_ref());
    endpoint.endpoint_url = format!("opc.tcp://{host}/{path}").into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use opcua::types::UserTokenPolicy;

    fn endpoint(
        policy: Policy,
        mode: MessageSecurityMode,
        users: &[UserTokenType],
    ) -> EndpointDescription {
        let policy_of = |token_type: &UserTokenType| UserTokenPolicy {
            token_type: *token_type,
            ..UserTokenPolicy::default()
        };
        EndpointDescription {
            endpoint_url: "opc.tcp://inside:4840/server".into(),
            security_policy_uri: policy.to_uri().into(),
            security_mode: mode,
            user_identity_tokens: Some(users.iter().map(policy_of).collect()),
            ..EndpointDescription::default()
        }
    }

    fn offered() -> Vec<EndpointDescription> {
        use MessageSecurityMode::{None, Sign, SignAndEncrypt};
        let all = [UserTokenType::Anonymous, UserTokenType::UserName];
        vec![
            endpoint(Policy::None, None, &all),
            endpoint(Policy::Basic256Sha256, Sign, &all),
            endpoint(Policy::Basic256Sha256, SignAndEncrypt, &all),
            endpoint(Policy::Aes256Sha256RsaPss, SignAndEncrypt, &[UserTokenType::UserName]),
            endpoint(Policy::Basic128Rsa15, SignAndEncrypt, &all),
        ]
    }

    fn chosen(
        config: &OpcUaConfig,
        offered: &[EndpointDescription],
    ) -> Option<(Policy, MessageSecurityMode)> {
        let chosen = choose(config, offered).ok()?;
        Some((Policy::from_uri(chosen.security_policy_uri.as_ref()), chosen.security_mode))
    }

    #[test]
    fn the_strongest_that_takes_the_user_is_chosen() {
        use MessageSecurityMode::{None as Open, Sign, SignAndEncrypt};
        let plain = OpcUaConfig::new("opc.tcp://plc:4840");
        let named = OpcUaConfig {
            user: Some(OpcUaUser::Name { name: "u".into(), secret: "s".into() }),
            ..plain.clone()
        };
        let of = |config: &OpcUaConfig, security_policy, security_mode| OpcUaConfig {
            security_policy,
            security_mode,
            ..config.clone()
        };
        let (auto, none) = (SecurityPolicy::Auto, SecurityPolicy::None);
        let (encrypt, sign) = (SecurityMode::SignAndEncrypt, SecurityMode::Sign);
        let all = offered();
        for (config, expected) in [
            (plain.clone(), Some((Policy::Basic256Sha256, SignAndEncrypt))),
            (named.clone(), Some((Policy::Aes256Sha256RsaPss, SignAndEncrypt))),
            (of(&plain, auto, sign), Some((Policy::Basic256Sha256, Sign))),
            (of(&named, none, encrypt), Some((Policy::None, Open))),
            (of(&plain, SecurityPolicy::Aes256Sha256RsaPss, encrypt), None),
            (of(&plain, SecurityPolicy::Aes128Sha256RsaOaep, encrypt), None),
        ] {
            assert_eq!(chosen(&config, &all), expected, "{config:?}");
        }
        assert_eq!(chosen(&plain, &all[..1]), Some((Policy::None, Open)));
        assert_eq!(chosen(&named, &all[..1]), None, "no secret goes out unprotected");
        let refusal = choose(&named, &all[..1]).unwrap_err();
        assert!(refusal.contains("None None for Anonymous, UserName"), "{refusal}");
        assert_eq!(chosen(&plain, &all[4..]), None, "a deprecated policy is never taken");
    }

    #[test]
    fn an_endpoint_is_reached_where_the_operator_says() {
        let config = OpcUaConfig::new("opc.tcp://outside:14840");
        let mut endpoint = offered().remove(0);
        reached_at(&config, &mut endpoint);
        assert_eq!(endpoint.endpoint_url.as_ref(), "opc.tcp://outside:14840/server");
    }
}
