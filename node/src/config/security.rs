//! `[security]`: how clients prove who they are, and who may come in without that. By default nobody.

mod auth;

use super::Problems;
use broker::{
    AclRule, Anonymous, AuthConfig, AuthMethod, HookConfig, JwtConfig, LockoutConfig, check_acl,
};
use proto::{Namespace, Role};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The section `security`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SecurityConfig {
    /// The ways in which clients may prove who they are, tried in this order.
    pub(crate) chain: Vec<AuthMethod>,
    /// What happens after failures.
    pub(crate) lockout: LockoutConfig,
    /// What a client without credentials is; absent: it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) anonymous: Option<AnonymousConfig>,
    /// Whose tokens are taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) jwt: Vec<JwtConfig>,
    /// Whom to ask about clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<HookConfig>,
}

impl Default for SecurityConfig {
    /// Tokens and hooks have to be set up; until then their places in the chain are passed over.
    fn default() -> Self {
        let AuthConfig { chain, jwt, http, lockout } = AuthConfig::default();
        Self { chain, lockout, anonymous: None, jwt, http }
    }
}

/// The table `security.anonymous`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnonymousConfig {
    /// The namespace it is mounted in, `<tenant>/<project>`.
    #[serde(deserialize_with = "namespace", serialize_with = "namespace_text")]
    pub(crate) namespace: Namespace,
    /// Its role: `user` or `app`.
    pub(crate) role: Role,
    /// What it may do within its role, in rules of which the first that fits decides; absent: all of
    /// that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acl: Option<Vec<AclRule>>,
}

impl SecurityConfig {
    /// What the broker gets for clients without credentials.
    pub(crate) fn strangers(&self) -> Option<Anonymous> {
        let AnonymousConfig { namespace, role, acl } = self.anonymous.clone()?;
        Some(Anonymous { namespace, role, acl })
    }

    /// What the broker gets.
    pub(crate) fn broker(&self) -> AuthConfig {
        AuthConfig {
            chain: self.chain.clone(),
            jwt: self.jwt.clone(),
            http: self.http.clone(),
            lockout: self.lockout,
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        auth::check(self, problems);
        let Some(anonymous) = &self.anonymous else { return };
        if !matches!(anonymous.role, Role::User | Role::App) {
            problems.add(
                "security.anonymous.role",
                format_args!("a client without a name cannot be `{}`: user, app", anonymous.role),
            );
        }
        if anonymous.namespace.tenant.as_str() == "system" {
            problems.add("security.anonymous.namespace", "the tenant `system` takes no strangers");
        }
        if let Some(Err(error)) = anonymous.acl.as_deref().map(check_acl) {
            problems.add("security.anonymous.acl", error);
        }
    }
}

fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Namespace, D::Error> {
    Namespace::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn namespace_text<S: Serializer>(namespace: &Namespace, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(namespace)
}
