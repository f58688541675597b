//! `enrolments register`: the one thing that a device, or an edge node, which is not registered may ask for.

use super::find;
use crate::admin::edges;
use crate::admin::plan::{Plan, Request};
use crate::admin::table::Operation;
use crate::admin::things::{Edit, handed_over, registered};
use crate::authority::issue::{Ask, Place, issue};
use crate::device::row::DeviceRow;
use crate::edges::row::{EdgeKey, EdgeRow};
use crate::enrolment::row::{EnrolmentKey, EnrolmentRow, Registers, SerialRow, Used};
use crate::enrolment::{Admission, admit, check_nonce, fill, fingerprint, secret_of};
use proto::id::{AuthorityId, EnrolmentId};
use proto::{EdgeId, Refusal, RefusalCode, Role, ThingId, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

pub(super) const OPERATION: Operation = Operation::changes::<Register>(
    "register",
    Role::Enrolment,
    "registers the device or edge node that asks, which came in by an enrolment",
    register,
);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Register {
    /// The serial number of the device, at most 128 bytes.
    serial: String,
    /// A random text of the device's own, 16 to 128 bytes: with the same one it gets the same answer again, until it
    /// has come in as its thing.
    nonce: String,
    /// A signing request (PKCS #10) as PEM, at most 16 KiB: a certificate comes with the answer.
    #[serde(default)]
    csr: Option<String>,
    /// Who signs; absent: the only authority of the project that can.
    #[serde(default)]
    authority: Option<AuthorityId>,
}

/// Registers a device. Answers with the name and the secret that it comes in by from now on.
fn register(request: &Request<'_>) -> Result<Plan, Refusal> {
    if request.caller.role != Role::Enrolment {
        let message = "it is for devices that have come in by an enrolment";
        return Err(Refusal::new(RefusalCode::Forbidden, message));
    }
    let Register { serial, nonce, csr, authority } = request.read()?;
    check_nonce(&nonce)?;
    let name = EnrolmentId::parse(&request.caller.name).map_err(Refusal::internal)?;
    let (key, enrolment) = find(request, name)?;
    let serial_key = (key.0.clone(), key.1.clone(), serial.clone());
    let found = request.get::<SerialRow>(&serial_key)?;
    let of_edges = enrolment.registers == Registers::Edges;
    let is_used = |name: &ThingId| match of_edges {
        true => has_been_adopted(request, name),
        false => has_come_in(request, name),
    };
    let admission = admit(&enrolment, found.as_ref(), &nonce, request.now(), is_used)?;
    let secret = secret_of(&enrolment.key, &serial, &nonce);
    let (thing, mut plan) = match &admission {
        Admission::Again(thing) => (thing.clone(), Plan::default()),
        Admission::Takeover(name) if of_edges => {
            let plan = edges::handed_over(request, &edge_of(name)?, secret.clone());
            (name.clone(), plan.map_err(|refusal| elsewhere(&refusal))?)
        }
        Admission::New if of_edges => new_edge(request, &enrolment, &serial, &secret)?,
        Admission::Takeover(thing) => {
            let plan = handed_over(request, thing.clone(), None, secret.clone(), None);
            (thing.clone(), plan.map_err(|refusal| elsewhere(&refusal))?)
        }
        Admission::New => new_thing(request, &enrolment, &serial, &secret)?,
    };
    if admission != Admission::Again(thing.clone()) {
        let found = found.unwrap_or_default();
        note(request, &mut plan, (&key, &enrolment), &serial, found, &thing, &nonce);
    }
    let what = if of_edges { "edge" } else { "thing" };
    plan.data = json!({
        what: thing,
        "namespace": key.0,
        "user": format!("{}/{thing}", key.0),
        "secret": secret,
    });
    if let Some(csr) = csr {
        certify(request, &mut plan, &thing, Ask { csr, authority, days: None })?;
    }
    Ok(plan)
}

/// An edge node that nobody knows yet.
fn new_edge(
    request: &Request<'_>,
    enrolment: &EnrolmentRow,
    serial: &str,
    secret: &str,
) -> Result<(ThingId, Plan), Refusal> {
    let name = ThingId::parse(&fill(&enrolment.name, serial))
        .map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()).at("serial"))?;
    let plan = edges::registered(request, edge_of(&name)?, None, secret.to_owned());
    Ok((name, plan.map_err(|refusal| elsewhere(&refusal))?))
}

/// The edge node of a name that an enrolment has given.
fn edge_of(name: &ThingId) -> Result<EdgeId, Refusal> {
    EdgeId::parse(name.as_str())
        .map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()).at("serial"))
}

/// Whether an edge node has ever come in.
fn has_been_adopted(request: &Request<'_>, name: &ThingId) -> bool {
    let Ok(edge) = edge_of(name) else { return true };
    let key: EdgeKey = (request.namespace.clone(), edge);
    // What cannot be read may have been used.
    let row = request.get::<EdgeRow>(&key);
    row.map_or(true, |row| row.is_some_and(|row| row.adopted.is_some()))
}

/// Has a certificate signed for the device, which comes in by it as the thing.
fn certify(
    request: &Request<'_>,
    plan: &mut Plan,
    thing: &ThingId,
    ask: Ask,
) -> Result<(), Refusal> {
    let place = Place {
        snapshot: &request.snapshot,
        clock: &*request.context.outside.clock,
        entropy: &*request.context.outside.entropy,
    };
    let name = UserId::parse(thing.as_str()).map_err(Refusal::internal)?;
    let issued = issue(&place, (request.namespace, &name), &ask).map_err(Refusal::internal)??;
    plan.changes.append(issued.changes);
    for field in ["certificate", "chain", "fingerprint", "expires_at"] {
        plan.data[field] = issued.data[field].clone();
    }
    Ok(())
}

pub(super) fn new_thing(
    request: &Request<'_>,
    enrolment: &EnrolmentRow,
    serial: &str,
    secret: &str,
) -> Result<(ThingId, Plan), Refusal> {
    let thing = ThingId::parse(&fill(&enrolment.name, serial))
        .map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()).at("serial"))?;
    let edit = Edit {
        model: enrolment.model.clone().map(Some),
        location: enrolment.location.as_deref().map(|template| Some(fill(template, serial))),
        parent: enrolment.parent.clone().map(Some),
        serial: Some(Some(serial.to_owned())),
        tags: Some(enrolment.tags.iter().cloned().collect()),
        ..Edit::default()
    };
    let plan = registered(request, thing.clone(), edit, secret.to_owned());
    Ok((thing, plan.map_err(|refusal| elsewhere(&refusal))?))
}

/// Keeps in mind that a serial number is used.
pub(super) fn note(
    request: &Request<'_>,
    plan: &mut Plan,
    (key, enrolment): (&EnrolmentKey, &EnrolmentRow),
    serial: &str,
    found: SerialRow,
    thing: &ThingId,
    nonce: &str,
) {
    let is_known = found.is_listed || found.used.is_some();
    let is_new = found.used.is_none();
    let used =
        Used { thing: thing.clone(), nonce: fingerprint(nonce), t: request.now(), is_reset: false };
    let mut enrolment = enrolment.clone();
    enrolment.registered += u64::from(is_new);
    enrolment.serials += u64::from(!is_known);
    plan.changes.put::<EnrolmentRow>(key, &enrolment);
    let serial_key = (key.0.clone(), key.1.clone(), serial.to_owned());
    plan.changes.put::<SerialRow>(&serial_key, &SerialRow { used: Some(used), ..found });
}

/// Whether anybody has ever come in as the thing.
pub(super) fn has_come_in(request: &Request<'_>, thing: &ThingId) -> bool {
    let key = (request.namespace.clone(), thing.clone());
    // What cannot be read may have been used.
    request.get::<DeviceRow>(&key).map_or(true, |row| {
        row.is_some_and(|row| row.presence.status.is_some() || row.heard.is_some())
    })
}

/// A refusal of the registry says which field of the thing is wrong; the device has given a serial number only.
pub(super) fn elsewhere(refusal: &Refusal) -> Refusal {
    let is_of_quota = refusal.code == RefusalCode::QuotaExceeded;
    let message = match refusal.field.as_deref() {
        Some(field) if !is_of_quota => format!("{field}: {}", refusal.message),
        _ => refusal.message.clone(),
    };
    let field = if is_of_quota { "quota.things" } else { "serial" };
    Refusal::new(refusal.code, message).at(field)
}
