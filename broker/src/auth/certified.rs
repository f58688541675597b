//! Clients whose certificate an authority of their namespace has signed: who they are stands in the store, not in the
//! certificate.

use super::{Authenticator, Presented, Refusal};
use crate::credential::{
    AuthorityKey, AuthorityRow, CertificateInUse, CertificateName, CertificateRow, CertificateState,
};
use crate::registrar::{Newcomer, Unregistered};
use crate::tls::certificate::CertificateInfo;
use store::Changes;

impl Authenticator {
    /// The user name that a certificate is for. A device that nobody knows is registered first, if its authority has an
    /// enrolment for such devices.
    pub(crate) async fn certified(
        &self,
        authority: &AuthorityKey,
        certificate: &CertificateInfo,
        shown: Presented<'_>,
    ) -> Result<String, Refusal> {
        if let Some(name) = self.known(authority, certificate).await? {
            return Ok(name);
        }
        let unknown = || Refusal::Certificate("the certificate is not registered");
        let newcomer = self.newcomer(authority, certificate, shown)?.ok_or_else(unknown)?;
        let registrar = self.shared.registrar.get().ok_or_else(unknown)?;
        match registrar.register(newcomer).await {
            Ok(()) => self.known(authority, certificate).await?.ok_or_else(unknown),
            Err(Unregistered::Refused) => {
                Err(Refusal::Certificate("the device may not register by its certificate"))
            }
            Err(Unregistered::Unavailable) => Err(Refusal::NoRegistrar),
        }
    }

    /// What is to be registered: nothing if the authority has no enrolment, or its certificate no common name.
    fn newcomer(
        &self,
        authority: &AuthorityKey,
        certificate: &CertificateInfo,
        shown: Presented<'_>,
    ) -> Result<Option<Newcomer>, Refusal> {
        let row = self.snapshot()?.get::<AuthorityRow>(authority)?;
        let enrolment = row.filter(|row| !row.is_disabled).and_then(|row| row.enrolment);
        Ok(enrolment.zip(certificate.common_name.clone()).map(|(enrolment, serial)| Newcomer {
            authority: authority.clone(),
            enrolment,
            serial,
            fingerprint: certificate.fingerprint.clone(),
            expires_at: certificate.expires_at,
            client_id: shown.client_id.to_owned(),
            address: shown.address.to_string(),
        }))
    }

    /// The user name that a certificate is for, if it stands in the store. One that is used for the first time puts an
    /// end to those before it, which is kept before its client is welcomed.
    async fn known(
        &self,
        authority: &AuthorityKey,
        certificate: &CertificateInfo,
    ) -> Result<Option<String>, Refusal> {
        let Some((name, changes)) = self.stored(authority, certificate)? else { return Ok(None) };
        if !changes.is_empty() {
            let kept = self.shared.store.submit(changes).await;
            kept.map_err(|error| Refusal::Store(error.to_string()))?;
        }
        Ok(Some(name))
    }

    /// The same, with what is to be kept of its use.
    fn stored(
        &self,
        authority: &AuthorityKey,
        certificate: &CertificateInfo,
    ) -> Result<Option<(String, Changes)>, Refusal> {
        let (namespace, _) = authority;
        let fingerprint = &certificate.fingerprint;
        let snapshot = self.snapshot()?;
        let name = snapshot.get::<CertificateName>(&(namespace.clone(), fingerprint.clone()))?;
        let Some(CertificateName(name)) = name else { return Ok(None) };
        let key = (namespace.clone(), name.clone(), fingerprint.clone());
        // One that was forgotten with its device is over, and not that of a newcomer.
        let row = snapshot.get::<CertificateRow>(&key)?;
        let row = row.ok_or(Refusal::Certificate("the certificate is over"))?;
        let of_name = (namespace.clone(), name.clone());
        let in_use = snapshot.get::<CertificateInUse>(&of_name)?.map(|it| it.0);
        let refuse = |why| Err(Refusal::Certificate(why));
        let mut changes = Changes::new();
        match row.state(in_use, self.shared.clock.now()) {
            CertificateState::Revoked => return refuse("the certificate has been taken back"),
            CertificateState::Replaced => return refuse("a newer certificate is in use"),
            CertificateState::Expired => return refuse("the certificate is over"),
            CertificateState::InUse => {}
            CertificateState::Issued => {
                changes.put::<CertificateInUse>(&of_name, &CertificateInUse(row.generation));
            }
        }
        Ok(Some((format!("{namespace}/{name}"), changes)))
    }
}
