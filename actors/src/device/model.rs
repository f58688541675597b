//! The model of a device: loaded when it is first needed, given to the device that asks for its own, and held against
//! what its classic shadow is set to and the commands that it is asked for.
//!
//! Named shadows are not of the model: they are for what is beside it, such as the state of an application.

use super::actor::DeviceCore;
use super::shadow::answer::Origin;
use super::shadow::{Command, Decision};
use crate::model::Loaded;
use crate::model::row::{VersionRow, version_key};
use broker::{Delivery, Outgoing};
use proto::model::Property;
use proto::platform::{Stage, ThingTopic};
use proto::shadow::{Malformed, Patch, PlainRequest, Rejected, Section, to_json};
use proto::{CommandName, ModelVersion, PlatformTopic, Qos, Refusal, RefusalCode};
use serde::Serialize;
use serde_json::Value as Json;
use std::sync::Arc;
use store::ReadError;

/// The model of a device, if it has one; the refusal is for whatever needs it.
type Model = Result<Option<Arc<Loaded>>, Refusal>;

/// The answer on `model/get/accepted`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted<'a> {
    model: &'a str,
    version: u32,
    document: Json,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_token: Option<String>,
}

/// What an update sets in the shadow of a device that has a model.
pub(super) struct Set {
    model: Arc<Loaded>,
    desired: Vec<String>,
    reported: Vec<String>,
}

impl DeviceCore {
    /// The model of the registration.
    pub(super) fn model(&mut self) -> Result<Model, ReadError> {
        let wanted = self.registration.as_ref().and_then(|row| row.model.as_ref());
        let (None, Some(wanted)) = (&self.model, wanted) else { return Ok(Ok(self.model.clone())) };
        let models = &self.context.models;
        let loaded = models.get(&self.context, self.client.namespace(), wanted)?;
        Ok(loaded.map(|loaded| {
            self.model = Some(loaded);
            self.model.clone()
        }))
    }

    /// Refuses a command that the model does not have as an action, and an input that is not one of it.
    pub(super) fn check_action(
        &mut self,
        name: &CommandName,
        input: &Json,
    ) -> Result<Result<(), Refusal>, ReadError> {
        Ok(self.model()?.and_then(|model| {
            let Some(Loaded { version, model, .. }) = model.as_deref() else { return Ok(()) };
            let Some(action) = model.action(name) else {
                let message = format!("the model {version} has no action `{name}`");
                return Err(Refusal::new(RefusalCode::Invalid, message).at("name"));
            };
            let input = (!input.is_null()).then_some(input);
            action.check_input(input).map_err(|violation| violation.refusal("input"))
        }))
    }

    /// Refuses an output that is not one of the model's action. A model that is not there, or has the action no longer,
    /// has nothing to say.
    pub(super) fn check_output(
        &mut self,
        name: &CommandName,
        output: &Json,
    ) -> Result<Result<(), Refusal>, ReadError> {
        let Ok(model) = self.model()? else { return Ok(Ok(())) };
        let action = model.as_deref().and_then(|loaded| loaded.model.action(name));
        let output = (!output.is_null()).then_some(output);
        Ok(action.map_or(Ok(()), |action| {
            action.check_output(output).map_err(|violation| violation.refusal("output"))
        }))
    }

    /// What a shadow request sets that the model has to allow; `None` if the model has no say in it.
    pub(super) fn shadow_model(
        &mut self,
        origin: &Origin,
        command: &Command,
    ) -> Result<Result<Option<Set>, Refusal>, ReadError> {
        let Command::Update(update) = command else { return Ok(Ok(None)) };
        if origin.topic.shadow.is_some() {
            return Ok(Ok(None));
        }
        let of = |model: Arc<Loaded>| Set {
            model,
            desired: set_by(update.desired.as_ref()),
            reported: set_by(update.reported.as_ref()),
        };
        Ok(self.model()?.map(|model| model.map(of)))
    }

    /// Gives the device its model.
    pub(super) fn model_request(&mut self, delivery: Delivery) -> Result<(), ReadError> {
        let limits = self.context.settings.shadow_limits();
        let now_secs = self.context.now().as_secs();
        let (client_token, outcome) = match PlainRequest::parse(&delivery.payload, &limits) {
            Ok(PlainRequest { version, client_token }) => (client_token, self.find(version)?),
            Err(Malformed { refusal, client_token }) => (client_token, Err(refusal)),
        };
        let (stage, payload) = match outcome {
            Ok((ModelVersion { model, version }, document)) => {
                let model = model.as_str();
                let timestamp = now_secs;
                let accepted = Accepted { model, version, document, timestamp, client_token };
                (Stage::Accepted, to_json(&accepted))
            }
            Err(refusal) => {
                (Stage::Rejected, to_json(&Rejected::new(&refusal, now_secs, client_token)))
            }
        };
        let topic = PlatformTopic::thing(&self.thing, ThingTopic::Model(stage)).topic();
        let answer = Outgoing::new(topic, payload).qos(Qos::AtLeastOnce);
        let copy = delivery.response_topic.clone().map(|topic| {
            let copy = Outgoing::new(topic, answer.payload.clone()).qos(Qos::AtLeastOnce);
            copy.correlation(delivery.correlation_data.clone())
        });
        for message in std::iter::once(answer).chain(copy) {
            self.client.publish(message);
        }
        delivery.ack();
        Ok(())
    }

    /// The model and its document; of another version than `expected` is a conflict.
    fn find(
        &self,
        expected: Option<u64>,
    ) -> Result<Result<(ModelVersion, Json), Refusal>, ReadError> {
        let Some(version) = self.registration.as_ref().and_then(|row| row.model.clone()) else {
            let message = "the thing has no model";
            return Ok(Err(Refusal::new(RefusalCode::NotFound, message)));
        };
        if let Some(expected) = expected.filter(|it| *it != u64::from(version.version)) {
            let message = format!("the thing has {version}, not version {expected}");
            return Ok(Err(Refusal::new(RefusalCode::VersionConflict, message).at("version")));
        }
        let key = version_key(self.client.namespace(), &version);
        let row = self.context.outside.store.read()?.get::<VersionRow>(&key)?;
        let missing = Refusal::not_found("model", &version);
        Ok(row.map(|row| (version, row.document)).ok_or(missing))
    }
}

/// The keys that a patch sets; one that it deletes cannot be wrong.
fn set_by(patch: Option<&Patch>) -> Vec<String> {
    let Some(Patch::Merge(section)) = patch else { return Vec::new() };
    let is_set = |(_, value): &(&String, &Json)| !value.is_null();
    section.iter().filter(is_set).map(|(key, _)| key.clone()).collect()
}

impl Set {
    /// Whether what the update leads to fits. The value that is checked is the merged one, of which a patch may
    /// hold a part only.
    pub(super) fn check(&self, decision: &Decision) -> Result<(), Refusal> {
        let Some(next) = &decision.next else { return Ok(()) };
        self.check_section("state.desired", &self.desired, &next.desired.state, |property| {
            match property.is_read_only {
                true => Err("readOnly is true, nobody but the device sets it"),
                false => Ok(()),
            }
        })?;
        self.check_section("state.reported", &self.reported, &next.reported.state, |_| Ok(()))
    }

    fn check_section(
        &self,
        at: &str,
        keys: &[String],
        section: &Section,
        may_be_set: impl Fn(&Property) -> Result<(), &'static str>,
    ) -> Result<(), Refusal> {
        let Loaded { model, version, .. } = &*self.model;
        for key in keys {
            let at = [at, key.as_str()].join(".");
            let invalid = |message: String| Refusal::new(RefusalCode::Invalid, message).at(&*at);
            let Some(property) = model.property(key) else {
                if model.takes_additional() {
                    continue;
                }
                return Err(invalid(format!("the model {version} has no property `{key}`")));
            };
            may_be_set(property).map_err(|reason| invalid(reason.to_owned()))?;
            if let Some(value) = section.get(key) {
                property.schema.check(value).map_err(|violation| violation.refusal(&at))?;
            }
        }
        Ok(())
    }
}
