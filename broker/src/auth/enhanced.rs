//! Enhanced authentication (MQTT 5.0 4.12): SCRAM-SHA-256, and tokens that can be renewed while connected.
//!
//! The same dialogue runs at CONNECT and, begun by the client with AUTH 0x19, while connected. No step of it waits
//! for anything: a store read, a few hashes.

use super::scram::{self, ClientFirst, Exchange, ScramError};
use super::{AuthMethod, Authenticator, Grant, Presented, Refusal, asked};
use bytes::Bytes;
use proto::UserName;

/// The method whose data is a JSON Web Token; one step.
const TOKEN_METHOD: &str = "JWT";

/// Between two AUTH packets of a client.
#[derive(Debug)]
pub(crate) enum Dialogue {
    /// Its first data is still to come.
    Begun,
    /// SCRAM: it has been asked for its proof.
    Asked {
        /// Whom it wants to be.
        name: UserName,
        exchange: Box<Exchange>,
    },
}

/// What a step has led to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The client has to say more.
    More(Dialogue, Bytes),
    /// It has proved who it is; what it is to be told beside that.
    Proved(Grant, Option<Bytes>),
}

impl Authenticator {
    /// Begins a dialogue.
    pub(crate) fn begin(
        &self,
        method: &str,
        data: Option<&[u8]>,
        shown: Presented<'_>,
    ) -> Result<Answer, Refusal> {
        let outcome = match method {
            scram::METHOD if self.chain.contains(&AuthMethod::Scram) => match data {
                None => return Ok(Answer::More(Dialogue::Begun, Bytes::new())),
                Some(data) => return self.ask(data, shown),
            },
            TOKEN_METHOD if self.chain.contains(&AuthMethod::Jwt) => {
                let token = data.ok_or(Refusal::NoPassword)?;
                asked(shown.user_name).and_then(|asked| self.token_grant(token, asked.as_ref()))
            }
            _ => return Err(Refusal::Method),
        };
        self.note(shown.place(), None, &outcome);
        outcome.map(|grant| Answer::Proved(grant, None))
    }

    /// Goes on with a dialogue.
    pub(crate) fn proceed(
        &self,
        dialogue: Dialogue,
        data: Option<&[u8]>,
        shown: Presented<'_>,
    ) -> Result<Answer, Refusal> {
        let data = data.ok_or(ScramError::Malformed)?;
        match dialogue {
            Dialogue::Begun => self.ask(data, shown),
            Dialogue::Asked { name, exchange } => {
                let proved = exchange.finish(data).map_err(Refusal::from);
                let outcome = proved.and_then(|told| {
                    let found = self.find(&name)?.ok_or(Refusal::UnknownName)?;
                    Ok((self.grant(&found, &name)?, told))
                });
                match outcome {
                    Ok((grant, told)) => Ok(Answer::Proved(grant, Some(told.into()))),
                    Err(refusal) => {
                        let refused = Err(refusal);
                        self.note(shown.place(), Some(&name), &refused);
                        refused.map(|grant| Answer::Proved(grant, None))
                    }
                }
            }
        }
    }

    /// SCRAM: answers the first message with salt and rounds.
    fn ask(&self, data: &[u8], shown: Presented<'_>) -> Result<Answer, Refusal> {
        let first = ClientFirst::parse(data)?;
        let name = UserName::parse(&first.name).map_err(|_| Refusal::MalformedName)?;
        if asked(shown.user_name)?.is_some_and(|asked| asked != name) {
            return Err(Refusal::OtherName);
        }
        self.standing(shown.place(), Some(&name))?;
        let keys = self.find(&name)?.and_then(|found| found.credential.scram);
        let mut nonce = [0; scram::NONCE_BYTES];
        self.shared.entropy.fill(&mut nonce);
        let (exchange, answer) = Exchange::begin(first, keys, &self.made_up, &nonce);
        Ok(Answer::More(Dialogue::Asked { name, exchange: Box::new(exchange) }, answer.into()))
    }
}
