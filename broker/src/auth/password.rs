//! User name and password against the credentials of the store.

use super::{Authenticator, Presented, Refusal, Standing, Verdict};
use crate::credential::Credential;
use proto::UserName;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Slow hashes worked on at once; more CONNECTs wait their turn within their time-out.
pub(super) const HASHES_AT_ONCE: usize = 2;

/// CONNECTs that wait for a slow hash; a further one is refused.
const HASHES_WAITING_MAX: usize = 64;

/// The two lines before a slow hash.
pub(super) struct Passwords {
    waiting: Arc<Semaphore>,
    hashing: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(HASHES_AT_ONCE + HASHES_WAITING_MAX)),
            hashing: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
        }
    }
}

impl Passwords {
    async fn is_right(&self, credential: &Credential, secret: &[u8]) -> Result<bool, Refusal> {
        if !credential.is_slow() {
            return Ok(credential.verify(secret));
        }
        let _place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| Refusal::Busy)?;
        let permit = Arc::clone(&self.hashing).acquire_owned().await.map_err(|_| Refusal::Busy)?;
        let (credential, secret) = (credential.clone(), secret.to_vec());
        let work = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even if the client that it is for is gone.
            let _permit = permit;
            credential.verify(&secret)
        });
        Ok(work.await.unwrap_or(false))
    }
}

impl Authenticator {
    /// Checks a password. Whoever is watched warily is heard only if its secret cannot be guessed.
    pub(super) async fn by_password(
        &self,
        shown: Presented<'_>,
        asked: Option<&UserName>,
        standing: Standing,
    ) -> Verdict {
        let Some(asked) = asked else { return Verdict::NotMine(Refusal::NoName) };
        let Some(secret) = shown.password else { return Verdict::NotMine(Refusal::NoPassword) };
        let found = match self.find(asked) {
            Ok(Some(found)) => found,
            Ok(None) => return Verdict::NotMine(Refusal::UnknownName),
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        let credential = &found.credential;
        if credential.is_slow() && standing == Standing::Wary {
            return Verdict::Refuse(Refusal::LockedOut);
        }
        match self.passwords.is_right(credential, secret).await {
            Ok(true) => {}
            Ok(false) => return Verdict::Refuse(Refusal::WrongSecret),
            Err(refusal) => return Verdict::Refuse(refusal),
        }
        if credential.is_slow() {
            let name = (asked.namespace.clone(), asked.name.clone());
            let now = self.shared.clock.now();
            self.lockout.lock().came_in(now, shown.place(), &name);
        }
        match self.grant(&found, asked) {
            Ok(grant) => Verdict::Accept(grant),
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }
}
