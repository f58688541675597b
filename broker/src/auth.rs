//! Who a client is: the user name and password of CONNECT against the credentials of the store.
//!
//! A name is looked up in the namespace it gives, then among the operators of the whole system, who may enter any
//! namespace. A wrong name costs as much time as a wrong secret of the same kind would not tell apart: both are
//! refused with the same code.

use crate::credential::{Credential, system_namespace};
use crate::space::Shared;
use proto::{Identity, Namespace, Role, UserName};
use std::sync::Arc;
use store::ReadError;
use tokio::sync::Semaphore;

/// Slow hashes worked on at once; more CONNECTs wait their turn within their time-out.
const HASHES_AT_ONCE: usize = 2;

/// Checks the credentials of clients.
pub(crate) struct Authenticator {
    shared: Arc<Shared>,
    hashing: Arc<Semaphore>,
    /// Where a client without a user name goes, and as what; `None` refuses it.
    anonymous: Option<Anonymous>,
}

/// How a client without a user name is taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anonymous {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its role.
    pub role: Role,
}

/// Why a client was not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    /// No name, no such name, or the wrong secret.
    #[error("{0}")]
    Refused(&'static str),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] ReadError),
}

impl Authenticator {
    pub(crate) fn new(shared: Arc<Shared>, anonymous: Option<Anonymous>) -> Self {
        Self { shared, hashing: Arc::new(Semaphore::new(HASHES_AT_ONCE)), anonymous }
    }

    /// The namespace and the identity of a client.
    pub(crate) async fn authenticate(
        &self,
        user_name: Option<&str>,
        secret: Option<&[u8]>,
    ) -> Result<(Namespace, Identity), AuthError> {
        let Some(user_name) = user_name else {
            let anonymous =
                self.anonymous.as_ref().ok_or(AuthError::Refused("no user name was given"))?;
            let identity = Identity::User { name: anonymous_name(), role: anonymous.role };
            return Ok((anonymous.namespace.clone(), identity));
        };
        let asked =
            UserName::parse(user_name).map_err(|_| AuthError::Refused("malformed user name"))?;
        let secret = secret.ok_or(AuthError::Refused("no password was given"))?;
        let credential = self.find(&asked)?.ok_or(AuthError::Refused("unknown user name"))?;
        let identity = credential.identity(&asked.name);
        if self.is_right(credential, secret.to_vec()).await {
            Ok((asked.namespace, identity))
        } else {
            Err(AuthError::Refused("wrong password"))
        }
    }

    /// The namespace and the identity of a client whose certificate has been verified and gives its name. A user name
    /// in CONNECT must be the same; a password adds nothing. Operators of the whole system come in by secret only, so
    /// that an authority for machines cannot make one.
    pub(crate) fn vouch(
        &self,
        certified: Option<&str>,
        user_name: Option<&str>,
    ) -> Result<(Namespace, Identity), AuthError> {
        let certified =
            certified.ok_or(AuthError::Refused("the certificate gives no user name"))?;
        let certified = UserName::parse(certified)
            .map_err(|_| AuthError::Refused("the certificate gives a malformed user name"))?;
        let is_other = |name: &str| UserName::parse(name).as_ref() != Ok(&certified);
        if user_name.is_some_and(is_other) {
            return Err(AuthError::Refused("the user name is not that of the certificate"));
        }
        if certified.namespace == system_namespace() {
            return Err(AuthError::Refused("no operator comes in by certificate"));
        }
        let key = (certified.namespace.clone(), certified.name.clone());
        let credential = self.shared.store.read()?.get::<Credential>(&key)?;
        let credential = credential
            .ok_or(AuthError::Refused("nobody is registered under the certificate's name"))?;
        Ok((certified.namespace, credential.identity(&certified.name)))
    }

    fn find(&self, asked: &UserName) -> Result<Option<Credential>, ReadError> {
        let snapshot = self.shared.store.read()?;
        let own = snapshot.get::<Credential>(&(asked.namespace.clone(), asked.name.clone()))?;
        if own.is_some() {
            return Ok(own);
        }
        snapshot.get::<Credential>(&(system_namespace(), asked.name.clone()))
    }

    async fn is_right(&self, credential: Credential, secret: Vec<u8>) -> bool {
        if !credential.is_slow() {
            return credential.verify(&secret);
        }
        let Ok(_permit) = Arc::clone(&self.hashing).acquire_owned().await else { return false };
        tokio::task::spawn_blocking(move || credential.verify(&secret)).await.unwrap_or(false)
    }
}

fn anonymous_name() -> proto::UserId {
    match proto::UserId::parse("anonymous") {
        Ok(name) => name,
        Err(error) => unreachable!("a constant: {error}"),
    }
}
