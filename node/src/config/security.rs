//! `[security]`: who may come in without credentials. By default nobody.

use super::Problems;
use proto::{Namespace, Role};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The section `security`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SecurityConfig {
    /// What a client without credentials is; absent: it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) anonymous: Option<AnonymousConfig>,
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
}

impl SecurityConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
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
    }
}

fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Namespace, D::Error> {
    Namespace::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn namespace_text<S: Serializer>(namespace: &Namespace, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(namespace)
}
