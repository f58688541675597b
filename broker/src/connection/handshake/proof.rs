//! How a client proves who it is before its CONNACK: by what stands in CONNECT, or by an exchange of AUTH packets
//! (MQTT 5.0 4.12), all within the time-out of the handshake.

use super::{Door, Turned, at_home};
use crate::auth::{Answer, Dialogue, Grant, Presented, Refusal, Stranger};
use crate::codec::{self, Frame};
use crate::connection::Socket;
use crate::listener::config::ListenerConfig;
use crate::packet::{AuthStage, AuthStep, Connect, Manner, Packet, Reply, Version};
use crate::peer::{ClientName, Peer, PeerAddress};
use crate::reason::Reason;
use crate::tls::certificate::CertificateInfo;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What CONNACK says of the exchange: the method, and the last data of the broker.
pub(super) type Told = Option<(ByteString, Option<Bytes>)>;

impl Door {
    /// Finds out who a client is; a refusal is counted and told to operators here.
    pub(super) async fn prove<S: Socket>(
        &self,
        connect: &Connect,
        peer: &Peer,
        listener: &ListenerConfig,
        socket: &mut S,
        buffer: &mut BytesMut,
    ) -> Result<(Grant, Told), Turned> {
        let proved = self.prove_anywhere(connect, peer, listener, socket, buffer).await?;
        if listener.namespace.as_ref().is_some_and(|home| *home != proved.0.namespace) {
            return Err(self.unproved(connect, peer.address, &Refusal::Listener));
        }
        Ok(proved)
    }

    /// As [`Door::prove`], whatever namespace the listener is for.
    async fn prove_anywhere<S: Socket>(
        &self,
        connect: &Connect,
        peer: &Peer,
        listener: &ListenerConfig,
        socket: &mut S,
        buffer: &mut BytesMut,
    ) -> Result<(Grant, Told), Turned> {
        let (address, home) = (peer.address, listener.namespace.as_ref());
        let user_name = connect.user_name.as_deref().map(|name| at_home(name, home));
        let user_name = user_name.as_deref();
        let shown = Presented {
            address,
            client_id: &connect.client_id,
            user_name,
            password: connect.password.as_deref(),
        };
        // Where certificates give names, one that is shown decides.
        if let Some(certificate) = peer.certificate().filter(|it| self.takes(it, listener)) {
            let outcome = self.by_certificate(connect, certificate, listener, shown).await;
            return outcome
                .map(|grant| (grant, None))
                .map_err(|refusal| self.unproved(connect, address, &refusal));
        }
        let Some(method) = &connect.auth_method else {
            let outcome = self.authenticator.authenticate(shown).await;
            return outcome
                .map(|grant| (grant, None))
                .map_err(|it| self.unproved(connect, address, &it));
        };
        let unproved = |refusal: Refusal| self.unproved(connect, address, &refusal);
        let mut answer = self
            .authenticator
            .begin(method, connect.auth_data.as_deref(), shown)
            .map_err(unproved)?;
        loop {
            let dialogue: Dialogue = match answer {
                Answer::Proved(grant, data) => {
                    let grant = self.authenticator.authorise(grant, shown).await;
                    return Ok((grant.map_err(unproved)?, Some((method.clone(), data))));
                }
                Answer::More(dialogue, data) => {
                    ask(socket, method, data).await?;
                    dialogue
                }
            };
            let said = self.read_auth(socket, buffer, method).await?;
            answer = self
                .authenticator
                .proceed(dialogue, said.data.as_deref(), shown)
                .map_err(unproved)?;
        }
    }

    /// Whether a certificate that is shown decides who a client is.
    fn takes(&self, certificate: &CertificateInfo, listener: &ListenerConfig) -> bool {
        let is_named = listener.client_name != ClientName::None;
        (is_named || certificate.authority.is_some()) && self.authenticator.takes_certificates()
    }

    /// Who a client is by its certificate.
    async fn by_certificate(
        &self,
        connect: &Connect,
        certificate: &CertificateInfo,
        listener: &ListenerConfig,
        shown: Presented<'_>,
    ) -> Result<Grant, Refusal> {
        let name = match &certificate.authority {
            Some(authority) => {
                Some(self.authenticator.certified(authority, certificate, shown).await?)
            }
            None => {
                let name = listener.client_name.of(certificate);
                name.map(|name| at_home(name, listener.namespace.as_ref()).into_owned())
            }
        };
        // AWS IoT Device SDKs tell their version there (`?SDK=…`), which is no name.
        let is_note = connect.user_name.as_deref().is_some_and(|name| name.starts_with('?'));
        let user_name = shown.user_name.filter(|_| !is_note);
        let grant = self.authenticator.vouch(name.as_deref(), user_name)?;
        self.authenticator.authorise(grant, shown).await
    }

    /// The AUTH packet that has to come next (4.12-2).
    async fn read_auth<S: Socket>(
        &self,
        socket: &mut S,
        buffer: &mut BytesMut,
        method: &ByteString,
    ) -> Result<AuthStep, Turned> {
        let bytes_max = self.shared.limits.connect_bytes_max;
        loop {
            let frame = codec::frame(buffer, bytes_max)
                .map_err(|reason| Turned::new(reason, "AUTH is malformed or too long"))?;
            if let Frame::Whole { bytes, .. } = frame {
                let packet = buffer.split_to(bytes);
                let packet = codec::decode(Version::V5, &packet)
                    .map_err(|reason| Turned::new(reason, "AUTH is malformed"))?;
                return match packet {
                    Packet::Auth(step)
                        if step.stage == AuthStage::Continue
                            && step.method.as_ref() == Some(method) =>
                    {
                        Ok(*step)
                    }
                    // It has thought better of it (4.12-3).
                    Packet::Disconnect { .. } => Err(Turned::Lost),
                    _ => Err(Turned::new(Reason::ProtocolError, "the exchange is broken off")),
                };
            }
            match socket.read_buf(buffer).await {
                Ok(0) | Err(_) => return Err(Turned::Lost),
                Ok(_) => {}
            }
        }
    }

    pub(super) fn unproved(
        &self,
        connect: &Connect,
        address: PeerAddress,
        refusal: &Refusal,
    ) -> Turned {
        let user_name = connect.user_name.as_deref();
        let who = Stranger { address, client_id: &connect.client_id, user_name };
        self.authenticator.notices.refused(who, refusal, || {
            let named = user_name.and_then(|name| proto::UserName::parse(name).ok());
            self.spaces.get(&named.map(|it| it.namespace).unwrap_or_default())
        });
        Turned::Unproved { reason: refusal.reason(), why: refusal.told() }
    }
}

async fn ask<S: Socket>(socket: &mut S, method: &ByteString, data: Bytes) -> Result<(), Turned> {
    let step =
        AuthStep { stage: AuthStage::Continue, method: Some(method.clone()), data: Some(data) };
    let mut out = BytesMut::new();
    codec::encode(Manner::plain(Version::V5), &Reply::Auth(Box::new(step)), &mut out);
    let written = async {
        socket.write_all(&out).await?;
        socket.flush().await
    };
    written.await.map_err(|_| Turned::Lost)
}
