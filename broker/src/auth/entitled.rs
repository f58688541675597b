//! What the store says that somebody may do: a credential with its own list and its custom roles, and the API token
//! by which a client has come in, if it has.

use crate::credential::{ApiToken, Credential, CustomRole};
use crate::permissions::acl::{AclRule, AnyOf};
use proto::{Identity, Namespace, RoleId, TokenId, UserId};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{ReadError, Snapshot};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Entitled {
    pub(crate) identity: Identity,
    pub(crate) is_disabled: bool,
    acl: Option<Vec<AclRule>>,
    /// Absent: it has no custom role, and all that its base role allows.
    roles: Option<Vec<(RoleId, Vec<AclRule>)>>,
}

/// The API token by which a client has come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenProof {
    pub(crate) token: TokenId,
    pub(crate) serial: String,
}

/// By what a client has proved who it is, as far as it matters afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// By its credential: role and lists are those of it, and change with it.
    Credential,
    /// By an API token, whose row counts as well.
    Token(Arc<TokenProof>),
    /// By something that others have a say in.
    Elsewhere,
    /// It has shown nothing.
    Nothing,
}

impl Entitled {
    /// What a credential of `home` gives to its name. A custom role that is not there allows nothing.
    pub(crate) fn read(
        snapshot: &Snapshot,
        home: &Namespace,
        name: &UserId,
        credential: &Credential,
    ) -> Result<Self, ReadError> {
        let mut roles = Vec::new();
        for role in &credential.roles {
            let row = snapshot.get::<CustomRole>(&(home.clone(), role.clone()))?;
            roles.push((role.clone(), row.map(|row| row.acl).unwrap_or_default()));
        }
        Ok(Self {
            identity: credential.identity(name),
            is_disabled: credential.is_disabled,
            acl: credential.acl.clone(),
            roles: (!roles.is_empty()).then_some(roles),
        })
    }

    /// The lists of whoever comes in by the credential, or by a token of it: all of them have to allow something, and
    /// of each any one.
    pub(crate) fn lists(&self, token: Option<&ApiToken>) -> Vec<AnyOf> {
        let alone = |list: &Vec<AclRule>| vec![list.clone()];
        let mut lists: Vec<AnyOf> = self.acl.iter().map(alone).collect();
        let wanted = token.and_then(|token| token.roles.as_ref());
        if self.roles.is_some() || wanted.is_some() {
            let is_wanted = |role: &RoleId| wanted.is_none_or(|wanted| wanted.contains(role));
            let roles = self.roles.iter().flatten().filter(|(role, _)| is_wanted(role));
            lists.push(roles.map(|(_, list)| list.clone()).collect());
        }
        lists.extend(token.and_then(|token| token.acl.as_ref()).map(alone));
        lists
    }
}

/// What the store says of a name, for sessions that are there already.
pub(crate) struct Standing {
    pub(crate) entitled: Entitled,
    tokens: BTreeMap<TokenId, ApiToken>,
}

impl Standing {
    /// That of a name; `None` if it has no credential.
    pub(crate) fn read(
        snapshot: &Snapshot,
        home: &Namespace,
        name: &UserId,
    ) -> Result<Option<Self>, ReadError> {
        let key = (home.clone(), name.clone());
        let Some(credential) = snapshot.get::<Credential>(&key)? else { return Ok(None) };
        let entitled = Entitled::read(snapshot, home, name, &credential)?;
        let found = snapshot.scan::<ApiToken>(&store::prefix(&key))?.into_iter();
        let tokens = found.filter_map(|row| match row {
            Ok(((_, _, token), row)) => Some((token, row)),
            Err(error) => {
                tracing::error!(%error, "an API token cannot be read and counts no longer");
                None
            }
        });
        Ok(Some(Self { entitled, tokens: tokens.collect() }))
    }

    /// The token by which a client has come in, if it is still good.
    pub(crate) fn token(&self, proof: &TokenProof) -> Option<&ApiToken> {
        let found = self.tokens.get(&proof.token)?;
        (found.serial == proof.serial && !found.is_disabled).then_some(found)
    }
}
