//! A device that asks for a certificate of its own: its first, or a new one before the old one ends.

use super::actor::DeviceCore;
use crate::authority::issue::{Ask, Issued, Place, issue};
use broker::{Delivery, Outgoing};
use proto::platform::{Stage, ThingTopic};
use proto::shadow::{Rejected, to_json};
use proto::{PlatformTopic, Qos, Refusal, RefusalCode, UserId};
use serde_json::{Map, Value as Json};
use store::ReadError;

/// The longest client token, in bytes, as that of a shadow request.
const TOKEN_BYTES_MAX: usize = 64;

impl DeviceCore {
    /// Has a certificate signed for the device. The answer says it once it is kept.
    pub(super) async fn certificate_request(
        &mut self,
        delivery: Delivery,
    ) -> Result<(), ReadError> {
        let (client_token, ask) = read(&delivery.payload);
        let issued = match ask {
            Ok(ask) => self.issue(&ask)?,
            Err(refusal) => Err(refusal),
        };
        let token = client_token.clone();
        let outcome = match issued {
            Ok(Issued { mut data, changes }) => {
                if let Some(token) = token {
                    data["clientToken"] = token.into();
                }
                let answers = self.certificate_answers(&delivery, Stage::Accepted, &data);
                self.keep(changes, answers).await
            }
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = outcome {
            let rejected = Rejected::new(&refusal, self.context.now().as_secs(), client_token);
            let data = serde_json::from_slice(&to_json(&rejected)).unwrap_or_default();
            let answers = self.certificate_answers(&delivery, Stage::Rejected, &data);
            answers.into_iter().for_each(|answer| self.client.publish(answer));
        }
        delivery.ack();
        Ok(())
    }

    fn issue(&self, ask: &Ask) -> Result<Result<Issued, Refusal>, ReadError> {
        let outside = &self.context.outside;
        let name = match UserId::parse(self.thing.as_str()) {
            Ok(name) => name,
            Err(error) => return Ok(Err(Refusal::internal(error))),
        };
        let snapshot = outside.store.read()?;
        let (clock, entropy) = (&*outside.clock, &*outside.entropy);
        let place = Place { snapshot: &snapshot, clock, entropy };
        issue(&place, (self.client.namespace(), &name), ask)
    }

    /// The answer, and a copy of it where the request wants one.
    fn certificate_answers(&self, delivery: &Delivery, stage: Stage, data: &Json) -> Vec<Outgoing> {
        let topic = PlatformTopic::thing(&self.thing, ThingTopic::Certificate(stage)).topic();
        let answer = Outgoing::new(topic, data.to_string()).qos(Qos::AtLeastOnce);
        let copy = delivery.response_topic.clone().map(|topic| {
            let copy = Outgoing::new(topic, answer.payload.clone()).qos(Qos::AtLeastOnce);
            copy.correlation(delivery.correlation_data.clone())
        });
        std::iter::once(answer).chain(copy).collect()
    }
}

/// The token to echo, and what is asked for.
fn read(payload: &[u8]) -> (Option<String>, Result<Ask, Refusal>) {
    let bad = |message: String| Refusal::new(RefusalCode::BadRequest, message);
    let mut object = match serde_json::from_slice::<Map<String, Json>>(payload) {
        Ok(object) => object,
        Err(error) => return (None, Err(bad(format!("not a JSON object: {error}")))),
    };
    let token = match object.remove("clientToken") {
        None => None,
        Some(Json::String(token)) if token.len() <= TOKEN_BYTES_MAX => Some(token),
        Some(_) => {
            let message = format!("it must be a text of at most {TOKEN_BYTES_MAX} bytes");
            return (None, Err(bad(message).at("clientToken")));
        }
    };
    (token, crate::admin::read_request(Json::Object(object)))
}
