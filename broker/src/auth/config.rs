//! How clients prove who they are: the chain, and the options of each of its parts.

use proto::{Namespace, Role};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::PathBuf;

/// How clients are authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// The ways a client may prove who it is, tried in this order; a way without its table is passed over.
    pub chain: Vec<AuthMethod>,
    /// Whose tokens are taken.
    pub jwt: Vec<JwtConfig>,
    /// Whom to ask about clients.
    pub http: Option<HookConfig>,
    /// What happens after failures.
    pub lockout: LockoutConfig,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            chain: AuthMethod::ALL.to_vec(),
            jwt: Vec::new(),
            http: None,
            lockout: LockoutConfig::default(),
        }
    }
}

/// A way to prove who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// An X.509 client certificate.
    Certificate,
    /// A JSON Web Token (RFC 7519) as the password.
    Jwt,
    /// A user name and a password.
    Password,
    /// SCRAM-SHA-256 (RFC 7677) as enhanced authentication (MQTT 5.0 4.12).
    Scram,
    /// The answer of an HTTP service.
    Http,
}

impl AuthMethod {
    /// All of them, in the order in which they are tried by default.
    pub const ALL: [Self; 5] =
        [Self::Certificate, Self::Jwt, Self::Password, Self::Scram, Self::Http];
}

/// A signature algorithm of tokens (RFC 7518 3.1, RFC 8037 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl JwtAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];
}

/// One issuer of tokens. Exactly one of the sources of keys is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JwtConfig {
    /// PEM file with public keys (`PUBLIC KEY`, RFC 7468 13).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key_file: Option<PathBuf>,
    /// File whose bytes, without a line break at the end, are the secret of HS256; at least 32 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// File with a JSON Web Key Set (RFC 7517 5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// `http://` or `https://` URL of a JSON Web Key Set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// PEM file with the certificate authorities that are trusted for `jwks_url`; absent: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Algorithms that are taken.
    pub algorithms: Vec<JwtAlgorithm>,
    /// What `iss` must be; empty: anything.
    pub issuer: String,
    /// What `aud` must contain; empty: anything.
    pub audience: String,
    /// Seconds by which the clocks of issuer and broker may differ: 0 to 600.
    pub leeway_secs: u64,
    /// The claim that is the client's name.
    pub name_claim: String,
    /// The claim that is the client's namespace; empty: `namespace` is, whatever the token says.
    pub namespace_claim: String,
    /// The namespace of a token that names none.
    #[serde(with = "namespace_text")]
    pub namespace: Namespace,
    /// The claim that is the client's role, a text or a list of texts whose first is taken.
    pub role_claim: String,
    /// The role of a token that names none.
    pub role: Role,
    /// The roles that a token may name.
    pub roles: Vec<Role>,
    /// The claim that is the client's access list.
    pub acl_claim: String,
    /// Seconds between two looks at the keys: 5 to 86400.
    pub refresh_secs: u64,
    /// Seconds for which keys that cannot be fetched again are still taken: 60 to 2592000.
    pub keys_max_age_secs: u64,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            public_key_file: None,
            secret_file: None,
            jwks_file: None,
            jwks_url: None,
            ca_file: None,
            algorithms: JwtAlgorithm::ALL.to_vec(),
            issuer: String::new(),
            audience: String::new(),
            leeway_secs: 30,
            name_claim: "sub".to_owned(),
            namespace_claim: String::new(),
            namespace: Namespace::default(),
            role_claim: "role".to_owned(),
            role: Role::User,
            roles: vec![Role::Device, Role::Edge, Role::User, Role::App],
            acl_claim: "acl".to_owned(),
            refresh_secs: 300,
            keys_max_age_secs: 86_400,
        }
    }
}

/// An HTTP service that is asked about clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HookConfig {
    /// `http://` or `https://` URL that is sent a POST.
    pub url: String,
    /// PEM file with the certificate authorities that are trusted for `https://`; absent: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// File whose text is sent as `Authorization: Bearer …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Ask also about clients that another way has let in: the answer may refuse or narrow them.
    pub authorise: bool,
    /// Milliseconds for an answer: 10 to 60000.
    pub timeout_ms: u64,
    /// Requests at a time: 1 to 1024. Further clients wait within the same time.
    pub requests_max: usize,
    /// Seconds for which `allow` is remembered: 0 to 86400.
    pub allow_ttl_secs: u64,
    /// Seconds for which `deny` is remembered: 0 to 86400.
    pub deny_ttl_secs: u64,
    /// Answers remembered: 0 to 1000000.
    pub answers_max: usize,
    /// The roles that an answer may give.
    pub roles: Vec<Role>,
}

impl Default for HookConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            ca_file: None,
            token_file: None,
            authorise: false,
            timeout_ms: 3_000,
            requests_max: 32,
            allow_ttl_secs: 60,
            deny_ttl_secs: 5,
            answers_max: 10_000,
            roles: vec![Role::Device, Role::Edge, Role::User, Role::App],
        }
    }
}

/// What happens after failures to prove who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LockoutConfig {
    /// Failures of one name from one address within the window that lock it; 0 locks nothing.
    pub failures_max: u32,
    /// Failures of one name from anywhere, and of all names from one address, that lock them for whoever has not
    /// come in before.
    pub spread_failures_max: u32,
    /// The window, in seconds: 1 to 86400.
    pub window_secs: u64,
    /// How long the first lock lasts, in seconds; each further one twice as long: 1 to 86400.
    pub first_secs: u64,
    /// The longest lock, in seconds: 1 to 604800.
    pub longest_secs: u64,
    /// Names and addresses watched at a time: 16 to 10000000.
    pub watched_max: usize,
}

impl Default for LockoutConfig {
    fn default() -> Self {
        Self {
            failures_max: 10,
            spread_failures_max: 100,
            window_secs: 60,
            first_secs: 10,
            longest_secs: 900,
            watched_max: 50_000,
        }
    }
}

/// A namespace as `<tenant>/<project>`.
mod namespace_text {
    use super::{Deserialize, Deserializer, Namespace, Serializer};

    pub(super) fn serialize<S: Serializer>(
        it: &Namespace,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(it)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Namespace, D::Error> {
        Namespace::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}
