//! A client that proves itself anew while connected (MQTT 5.0 4.12.1), and permissions that change under it.

use super::desk::Work;
use super::{Connection, Socket};
use crate::auth::{Answer, Authenticator, Dialogue, Grant, Presented};
use crate::message::Sender;
use crate::packet::{AuthStage, AuthStep, Reply};
use crate::permissions::acl::AclError;
use crate::permissions::{Kin, Permissions};
use crate::reason::Reason;
use crate::session::queue::Delivery;
use bytes::Bytes;
use bytestring::ByteString;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a client may take for its next word.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// How a client has proved who it is, if by enhanced authentication.
pub(super) struct Standing {
    authenticator: Arc<Authenticator>,
    method: ByteString,
    /// What it has begun, and until when it has to go on.
    begun: Option<(Dialogue, Instant)>,
}

impl Standing {
    pub(super) fn new(authenticator: Arc<Authenticator>, method: ByteString) -> Self {
        Self { authenticator, method, begun: None }
    }
}

impl<S: Socket> Connection<S> {
    /// Acts on AUTH. Messages go on meanwhile; whoever fails is disconnected.
    pub(super) fn on_auth(&mut self, step: &AuthStep) -> Result<(), Reason> {
        // Without a method in CONNECT there is nothing to go on with (4.12.0-6).
        let standing = self.standing.as_mut().ok_or(Reason::ProtocolError)?;
        if step.method.as_ref() != Some(&standing.method) {
            return Err(Reason::BadAuthenticationMethod);
        }
        let peer = self.live.peer.as_ref().ok_or(Reason::ProtocolError)?;
        let address = peer.address;
        let shown = Presented { address, client_id: "", user_name: None, password: None };
        let (authenticator, data) = (&standing.authenticator, step.data.as_deref());
        if authenticator.asks_a_hook() {
            // Its answer takes time, which a connection that is running does not have: the client has to come anew.
            return Err(Reason::BadAuthenticationMethod);
        }
        let answer = match (step.stage, standing.begun.take()) {
            (AuthStage::Again, None) => authenticator.begin(&standing.method, data, shown),
            (AuthStage::Continue, Some((dialogue, until))) if Instant::now() <= until => {
                authenticator.proceed(dialogue, data, shown)
            }
            _ => return Err(Reason::ProtocolError),
        };
        let answer = answer.map_err(|refusal| {
            let client = &self.session.sender().client_id;
            tracing::info!(%client, reason = refusal.as_str(), "not authenticated anew: {refusal}");
            refusal.reason()
        })?;
        match answer {
            Answer::More(dialogue, data) => {
                standing.begun = Some((dialogue, Instant::now() + STEP_TIMEOUT));
                self.tell(AuthStage::Continue, Some(data));
            }
            Answer::Proved(grant, data) => {
                self.renew(grant)?;
                self.tell(AuthStage::Success, data);
            }
        }
        Ok(())
    }

    fn tell(&mut self, stage: AuthStage, data: Option<Bytes>) {
        let method = self.standing.as_ref().map(|standing| standing.method.clone());
        let reply = Reply::Auth(Box::new(AuthStep { stage, method, data }));
        crate::codec::encode(self.machine.manner, &reply, &mut self.desk.get().out);
    }

    /// Takes the new proof in place of the old. It has to be of the same client.
    fn renew(&mut self, grant: Grant) -> Result<(), Reason> {
        let sender = self.session.sender();
        let is_same = grant.namespace == *self.space.namespace()
            && grant.identity.is_same_as(&sender.identity);
        if !is_same {
            return Err(Reason::NotAuthorized);
        }
        let permissions = permissions(&grant, sender, self.space.kin());
        let permissions = permissions.map_err(|_| Reason::NotAuthorized)?;
        self.space.permit(&self.session, permissions);
        let had_end = self.live.expires_at().is_some();
        self.live.set_expires_at(grant.expires_at);
        if !had_end && let Some(standing) = &self.standing {
            standing.authenticator.expiries.enter(&self.live, &self.session);
        }
        Ok(())
    }

    /// Goes by the permissions of the session, if they are others than before.
    pub(super) fn keep_to_permissions(&mut self) {
        let revision = self.session.revision();
        if self.revision == revision {
            return;
        }
        self.revision = revision;
        let permissions = self.session.permissions();
        let is_allowed = |delivery: &Delivery| delivery.is_permitted(&permissions);
        let Work { replay, taken, outbox, .. } = self.desk.get();
        let mut dropped = replay.retain(is_allowed) as u64;
        let (kept, forbidden): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(taken).into_iter().partition(is_allowed);
        *taken = kept;
        dropped += forbidden.len() as u64;
        let mut queue = self.session.queue();
        queue.drops.forbidden += dropped;
        for delivery in &forbidden {
            if let Some(seq) = delivery.seq
                && queue.acked(seq, delivery.message.weight())
            {
                outbox.changes.dequeue(self.session.key(), seq);
            }
        }
        drop(queue);
        crate::figures::Counters::add(&self.space.shared().counters.forbidden, dropped);
        self.publisher.permit(permissions);
    }
}

/// What a grant permits a client.
pub(super) fn permissions(
    grant: &Grant,
    sender: &Arc<Sender>,
    kin: &Arc<Kin>,
) -> Result<Permissions, AclError> {
    let of_role = Permissions::of_role(Arc::clone(sender)).within(kin);
    let permissions = of_role.of(&grant.identity, &grant.lists)?;
    Ok(Permissions { proof: grant.proof.clone(), ..permissions })
}
