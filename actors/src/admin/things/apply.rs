//! `things apply`: how a hub gives a thing to an edge node, with all that it has to know of it.

use super::edit::Edit;
use super::view::View;
use super::{credential_of, free_name};
use crate::admin::plan::{After, Owner, Plan, Request};
use crate::admin::request::PLATFORM;
use crate::admin::room::{self, Counted};
use crate::admin::table::{ADMIN, Operation};
use crate::device::row::{ThingKey, ThingRow};
use crate::model::row::{ModelRow, VersionRow, model_key, version_key};
use broker::credential::Credential;
use proto::id::Label;
use proto::model::Model;
use proto::{Identity, ModelRef, ModelVersion, Refusal, RefusalCode, ThingId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

pub(super) const OPERATION: Operation = Operation::changes::<ApplyThing>(
    "apply",
    ADMIN,
    "makes a thing of an edge node what its hub says; for hubs only",
    apply,
);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApplyThing {
    thing: ThingId,
    location: String,
    /// The gateway that speaks for it; absent: none.
    #[serde(default)]
    parent: Option<ThingId>,
    /// Absent: none.
    #[serde(default)]
    serial: Option<String>,
    #[serde(default)]
    tags: Vec<Label>,
    /// All that it is to have.
    #[serde(default)]
    attributes: Map<String, Json>,
    enabled: bool,
    /// The version of a model with its document; absent: none.
    #[serde(default)]
    model: Option<AppliedModel>,
    /// How its secret is checked, as the hub keeps it; absent: nobody comes in as it.
    #[serde(default)]
    credential: Option<Map<String, Json>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AppliedModel {
    /// Such as `pump@3`.
    version: ModelRef,
    document: Map<String, Json>,
}

impl AppliedModel {
    fn version(&self) -> Result<ModelVersion, Refusal> {
        let ModelRef { model, version } = self.version.clone();
        let none = || Refusal::new(RefusalCode::Invalid, "it names no version").at("model.version");
        Ok(ModelVersion { model, version: version.ok_or_else(none)? })
    }
}

/// Makes a thing what the hub says.
fn apply(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ApplyThing = request.read()?;
    if request.caller.name != PLATFORM {
        let message = "only the hub of an edge node may ask for that";
        return Err(Refusal::new(RefusalCode::Forbidden, message));
    }
    let ApplyThing { thing, credential, model, .. } = &asked;
    let key: ThingKey = (request.namespace.clone(), thing.clone());
    let before = request.get::<ThingRow>(&key)?;
    let (credential_key, identity) = match &before {
        Some(_) => credential_of(request.namespace, thing)?,
        None => free_name(request, thing)?,
    };
    let credential = credential.clone().map(|it| read_credential(it, &identity)).transpose()?;
    let mut plan = Plan::answer(json!({ "thing": thing }));
    if let Some(model) = model {
        take_model(request, &mut plan, model)?;
    }
    let known = request.get::<Credential>(&credential_key)?;
    if known != credential {
        match &credential {
            Some(credential) => plan.changes.put::<Credential>(&credential_key, credential),
            None => plan.changes.delete::<Credential>(&credential_key),
        }
        let identity = Identity::Thing(thing.clone());
        plan.after.push(After::EndSessions(request.namespace.clone(), identity));
    }
    let row = row_of(request, asked, before.clone())?;
    plan.put_thing(&key, before.as_ref(), &row);
    match before {
        Some(_) => {
            plan.messages.push(request.thing_event(&key.1, "updated"));
            plan.owner = Owner::ChangedDevice(key.1, Box::new(row));
        }
        None => {
            room::take::<ThingRow>(request, Counted::Things, 1)?;
            plan.messages.push(request.thing_event(&key.1, "created"));
            if row.parent.is_some() {
                plan.after.push(After::Registered(vec![(key.1, row)]));
            }
        }
    }
    Ok(plan)
}

fn row_of(
    request: &Request<'_>,
    asked: ApplyThing,
    before: Option<ThingRow>,
) -> Result<ThingRow, Refusal> {
    let ApplyThing { thing, location, parent, serial, tags, attributes, enabled, model, .. } =
        asked;
    let mut row = match before {
        Some(row) => ThingRow { updated: request.now(), revision: row.revision + 1, ..row },
        None => ThingRow::new(request.now()),
    };
    row.attributes.clear();
    row.is_hubs = true;
    row.model = model.map(|it| it.version()).transpose()?;
    let edit = Edit {
        location: Some(Some(location)),
        parent: Some(parent),
        serial: Some(serial),
        tags: Some(tags),
        attributes,
        enabled: Some(enabled),
        ..Edit::default()
    };
    edit.apply(&View::new(request), &thing, &mut row)?;
    Ok(row)
}

fn read_credential(
    fields: Map<String, Json>,
    identity: &broker::credential::CredentialIdentity,
) -> Result<Credential, Refusal> {
    let invalid = |message: String| Refusal::new(RefusalCode::Invalid, message).at("credential");
    let credential: Credential =
        serde_json::from_value(Json::Object(fields)).map_err(|error| invalid(error.to_string()))?;
    match credential.identity == *identity {
        true => Ok(credential),
        false => Err(invalid("it is that of another identity".to_owned())),
    }
}

/// Takes a published version over, under its number.
fn take_model(request: &Request<'_>, plan: &mut Plan, model: &AppliedModel) -> Result<(), Refusal> {
    let version = &model.version()?;
    let document = Json::Object(model.document.clone());
    let key = version_key(request.namespace, version);
    if let Some(known) = request.get::<VersionRow>(&key)? {
        return match known.document == document {
            true => Ok(()),
            false => {
                let message = format!("there is another {version} here");
                Err(Refusal::new(RefusalCode::AlreadyExists, message).at("model"))
            }
        };
    }
    Model::compile(&document).map_err(|refusal| refusal.at("model"))?;
    let (model_key, now) = (model_key(request.namespace, &version.model), request.now());
    let mut row = request
        .get::<ModelRow>(&model_key)?
        .unwrap_or(ModelRow { created: now, ..ModelRow::default() });
    row.versions.push(version.version);
    row.versions.sort_unstable();
    row.last = row.last.max(version.version);
    row.updated = now;
    let by = request.caller.name.clone();
    plan.changes.put::<VersionRow>(&key, &VersionRow { document, t: now, by });
    plan.changes.put::<ModelRow>(&model_key, &row);
    Ok(())
}
