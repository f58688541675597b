//! Credentials: who may come in under which name, and how the secret is checked.
//!
//! One row per name and namespace; things, edge nodes and users share the names. Secrets of devices are made by the
//! platform with all the entropy they need, so a salted HMAC-SHA-256 guards them at little cost; secrets of people
//! are guarded by Argon2id, tens of milliseconds of work, which callers do off the async threads. Beside either are
//! the keys of SCRAM-SHA-256, made of the same secret.

mod api_token;
mod certificate;
mod role;
pub(crate) mod scram_keys;
mod slow_hash;

pub use api_token::{API_TOKENS_MAX, ApiToken, ApiTokenKey};
pub use certificate::{
    AuthorityKey, AuthorityRow, CertificateInUse, CertificateKey, CertificateName, CertificateRow,
    CertificateState,
};
pub use role::{CUSTOM_ROLES_MAX, CustomRole, RoleHolder};
pub use scram_keys::ScramKeys;
pub use slow_hash::{HashError, SlowHash};

use crate::permissions::acl::AclRule;
use hmac::{Hmac, KeyInit, Mac};
use proto::{EdgeId, Entropy, Identity, Namespace, Role, RoleId, ThingId, UserId};
use scram_keys::{CHOSEN_ROUNDS, MADE_ROUNDS};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use slow_hash::SALT_BYTES;
use store::{Row, RowError};

/// Where a credential is kept: the namespace, and the name in it.
pub type CredentialKey = (Namespace, UserId);

/// The namespace whose users are operators of the whole system: `system/system`.
pub fn system_namespace() -> Namespace {
    match Namespace::parse("system/system") {
        Ok(namespace) => namespace,
        Err(error) => unreachable!("a constant: {error}"),
    }
}

/// Who a credential is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialIdentity {
    /// A device.
    Thing(ThingId),
    /// An edge node.
    Edge(EdgeId),
    /// A person or an application.
    User {
        /// What it may do.
        role: Role,
    },
}

/// How a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretHash {
    /// HMAC-SHA-256 keyed with the salt.
    Hmac {
        /// The key.
        salt: [u8; SALT_BYTES],
        /// The code of the secret.
        hash: [u8; 32],
    },
    /// Argon2id.
    Argon2(SlowHash),
}

/// One way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Who it is for.
    pub identity: CredentialIdentity,
    /// How its secret is checked.
    pub hash: SecretHash,
    /// How its secret is proved without being shown; absent if it was set before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scram: Option<ScramKeys>,
    /// What it may do within its role; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<AclRule>>,
    /// The custom roles it has: with some it may do what any of them allows; with none, all that its role allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleId>,
    /// Nobody comes in with it for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_disabled: bool,
    /// Rises with each change of a user, from 1; 0 in rows of before there were any, and of those who are no users.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub revision: u64,
}

fn is_none_yet(revision: &u64) -> bool {
    *revision == 0
}

impl Credential {
    /// A credential with a secret that the platform has made.
    pub fn device(identity: CredentialIdentity, secret: &str, entropy: &dyn Entropy) -> Self {
        let salt = salt(entropy);
        let hash = code(&salt, secret.as_bytes()).finalize().into_bytes().into();
        let scram = ScramKeys::new(secret.as_bytes(), self::salt(entropy), MADE_ROUNDS);
        Self::new(identity, SecretHash::Hmac { salt, hash }, scram)
    }

    /// The same without the keys of SCRAM, which take nearly all of its time: for many at once.
    pub fn device_without_scram(
        identity: CredentialIdentity,
        secret: &str,
        entropy: &dyn Entropy,
    ) -> Self {
        let salt = salt(entropy);
        let hash = code(&salt, secret.as_bytes()).finalize().into_bytes().into();
        let hash = SecretHash::Hmac { salt, hash };
        Self {
            identity,
            hash,
            scram: None,
            roles: Vec::new(),
            acl: None,
            is_disabled: false,
            revision: 0,
        }
    }

    /// A credential with a secret that a person has chosen. Takes tens of milliseconds.
    pub fn person(
        identity: CredentialIdentity,
        secret: &str,
        entropy: &dyn Entropy,
    ) -> Result<Self, HashError> {
        let hash = SlowHash::new(secret.as_bytes(), salt(entropy))?;
        let scram = ScramKeys::new(secret.as_bytes(), salt(entropy), CHOSEN_ROUNDS);
        Ok(Self::new(identity, SecretHash::Argon2(hash), scram))
    }

    fn new(identity: CredentialIdentity, hash: SecretHash, scram: ScramKeys) -> Self {
        Self {
            identity,
            hash,
            scram: Some(scram),
            acl: None,
            roles: Vec::new(),
            is_disabled: false,
            revision: 0,
        }
    }

    /// With an access list, or none, with custom roles, and perhaps disabled.
    #[must_use]
    pub fn on_terms(
        self,
        acl: Option<Vec<AclRule>>,
        roles: Vec<RoleId>,
        is_disabled: bool,
    ) -> Self {
        Self { acl, roles, is_disabled, ..self }
    }

    /// Whether `secret` is the right one; the time taken does not tell how nearly.
    pub fn verify(&self, secret: &[u8]) -> bool {
        match &self.hash {
            SecretHash::Hmac { salt, hash } => code(salt, secret).verify_slice(hash).is_ok(),
            SecretHash::Argon2(hash) => hash.is_of(secret),
        }
    }

    /// Whether verifying takes so long that it must not be done on an async thread.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self.hash, SecretHash::Argon2(_))
    }

    /// Who a client is that has shown the secret under `name`.
    pub fn identity(&self, name: &UserId) -> Identity {
        match &self.identity {
            CredentialIdentity::Thing(thing) => Identity::Thing(thing.clone()),
            CredentialIdentity::Edge(edge) => Identity::Edge(edge.clone()),
            CredentialIdentity::User { role } => Identity::User { name: name.clone(), role: *role },
        }
    }
}

fn salt(entropy: &dyn Entropy) -> [u8; SALT_BYTES] {
    let mut salt = [0; SALT_BYTES];
    entropy.fill(&mut salt);
    salt
}

fn code(salt: &[u8], secret: &[u8]) -> Hmac<Sha256> {
    match Hmac::<Sha256>::new_from_slice(salt) {
        Ok(mut code) => {
            code.update(secret);
            code
        }
        Err(error) => unreachable!("HMAC takes keys of any length: {error}"),
    }
}

impl Row for Credential {
    type Key = CredentialKey;
    const TABLE: &'static str = "credentials";
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

    struct Counting;
    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.iter_mut().zip(1..).for_each(|(byte, number)| *byte = number);
        }
    }

    #[test]
    fn only_the_right_secret_opens_and_no_row_holds_it() {
        let identity = CredentialIdentity::User { role: Role::App };
        let device = Credential::device(identity.clone(), "s3cret-of-a-device", &Counting);
        let person = Credential::person(identity, "s3cret-of-a-device", &Counting).unwrap();
        let bare = Credential::device_without_scram(
            CredentialIdentity::User { role: Role::App },
            "s3cret-of-a-device",
            &Counting,
        );
        assert_eq!(Credential { scram: device.scram.clone(), ..bare.clone() }, device);
        for credential in [device, person, bare] {
            assert!(credential.verify(b"s3cret-of-a-device"));
            assert!(!credential.verify(b"s3cret-of-a-devicf"));
            assert!(!credential.verify(b""));
            let mut row = Vec::new();
            credential.encode(&mut row);
            assert!(!String::from_utf8(row.clone()).unwrap().contains("s3cret"));
            assert_eq!(Credential::decode(1, &row).unwrap(), credential);
        }
    }
}
