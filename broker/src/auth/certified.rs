//! Clients whose certificate an authority of their namespace has signed: who they are stands in the store, not in the
//! certificate.

use super::{Authenticator, Refusal};
use crate::credential::{
    AuthorityKey, CertificateInUse, CertificateName, CertificateRow, CertificateState,
};
use crate::tls::certificate::CertificateInfo;
use store::Changes;

impl Authenticator {
    /// The user name that a certificate is for. One that is used for the first time puts an end to those before it.
    pub(crate) fn certified(
        &self,
        authority: &AuthorityKey,
        certificate: &CertificateInfo,
    ) -> Result<String, Refusal> {
        let (namespace, _) = authority;
        let fingerprint = &certificate.fingerprint;
        let snapshot = self.snapshot()?;
        let name = snapshot.get::<CertificateName>(&(namespace.clone(), fingerprint.clone()))?;
        let found = match name {
            None => None,
            Some(CertificateName(name)) => {
                let key = (namespace.clone(), name, fingerprint.clone());
                snapshot.get::<CertificateRow>(&key)?.map(|row| (key.1, row))
            }
        };
        let Some((name, row)) = found else {
            return Err(Refusal::Certificate("the certificate is not registered"));
        };
        let of_name = (namespace.clone(), name.clone());
        let in_use = snapshot.get::<CertificateInUse>(&of_name)?.map(|it| it.0);
        let refuse = |why| Err(Refusal::Certificate(why));
        match row.state(in_use, self.shared.clock.now()) {
            CertificateState::Revoked => refuse("the certificate has been taken back"),
            CertificateState::Replaced => refuse("a newer certificate is in use"),
            CertificateState::Expired => refuse("the certificate is over"),
            CertificateState::InUse => Ok(format!("{namespace}/{name}")),
            CertificateState::Issued => {
                let mut changes = Changes::new();
                changes.put::<CertificateInUse>(&of_name, &CertificateInUse(row.generation));
                drop(self.shared.store.submit(changes));
                Ok(format!("{namespace}/{name}"))
            }
        }
    }
}
