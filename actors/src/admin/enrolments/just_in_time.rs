//! A device registers by its certificate: the authority that has signed it vouches for the serial number.

use super::register::{elsewhere, has_come_in, new_thing, note};
use super::{Registers, SerialRow, find};
use crate::admin::plan::{Plan, Request};
use crate::admin::table::Operation;
use crate::admin::things::handed_over;
use crate::authority::issue::{Place, keep};
use crate::enrolment::{Admission, admit};
use crate::secret;
use broker::CertificateInfo;
use broker::credential::{CertificateRow, Credential};
use proto::id::{AuthorityId, EnrolmentId};
use proto::{Refusal, RefusalCode, Role, ThingId, TimestampMs, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// Asked for by the broker, and by nobody else: it stands in no table.
pub(in crate::admin) static JUST_IN_TIME: Operation = Operation::changes::<JustInTime>(
    "register",
    Role::Enrolment,
    "registers a device by its certificate",
    just_in_time,
);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JustInTime {
    serial: String,
    authority: AuthorityId,
    fingerprint: String,
    expires_at: Option<u64>,
}

/// Makes a thing of a device, or has a further certificate of a registered one count for its thing.
fn just_in_time(request: &Request<'_>) -> Result<Plan, Refusal> {
    let JustInTime { serial, authority, fingerprint, expires_at } = request.read()?;
    let name = EnrolmentId::parse(&request.caller.name).map_err(Refusal::internal)?;
    let (key, enrolment) = find(request, name)?;
    let own = UserId::parse(key.1.as_str()).map_err(Refusal::internal)?;
    let credential = request.get::<Credential>(&(key.0.clone(), own))?;
    if credential.is_none_or(|it| it.is_disabled) {
        return Err(Refusal::new(RefusalCode::Forbidden, "the enrolment is not open"));
    }
    if enrolment.registers != Registers::Things {
        return Err(Refusal::new(RefusalCode::Forbidden, "the enrolment is for edge nodes"));
    }
    let found = request.get::<SerialRow>(&(key.0.clone(), key.1.clone(), serial.clone()))?;
    let known = found.as_ref().and_then(|row| row.used.as_ref()).filter(|it| !it.is_reset);
    // The secret that a thing has besides is told to nobody.
    let secret = secret::generate(&*request.context.outside.entropy);
    let (thing, mut plan) = match known {
        // The authority has given it another certificate.
        Some(used) if is_vouched(request, &used.thing, &authority)? => {
            (used.thing.clone(), Plan::default())
        }
        Some(_) => {
            let message =
                "a device with this serial number is registered; an operator can reset it";
            return Err(Refusal::new(RefusalCode::AlreadyExists, message).at("serial"));
        }
        None => {
            let is_used = |thing: &ThingId| has_come_in(request, thing);
            let admission =
                admit(&enrolment, found.as_ref(), &fingerprint, request.now(), is_used)?;
            let (thing, mut plan) = match admission {
                Admission::New => new_thing(request, &enrolment, &serial, &secret)?,
                Admission::Again(thing) | Admission::Takeover(thing) => {
                    let plan = handed_over(request, thing.clone(), None, secret, None);
                    (thing, plan.map_err(|refusal| elsewhere(&refusal))?)
                }
            };
            let found = found.unwrap_or_default();
            note(request, &mut plan, (&key, &enrolment), &serial, found, &thing, &fingerprint);
            (thing, plan)
        }
    };
    let place = Place {
        snapshot: &request.snapshot,
        clock: &*request.context.outside.clock,
        entropy: &*request.context.outside.entropy,
    };
    let of_thing = UserId::parse(thing.as_str()).map_err(Refusal::internal)?;
    let expires_at = expires_at.map(TimestampMs);
    let certificate = CertificateInfo { fingerprint, expires_at, ..CertificateInfo::default() };
    let kept = keep(&place, (&key.0, &of_thing), &authority, &certificate);
    plan.changes.append(kept.map_err(Refusal::internal)??.changes);
    plan.data = json!({ "thing": thing });
    Ok(plan)
}

/// Whether the authority has vouched for the device that is this thing now: not for one that was deleted or replaced.
fn is_vouched(
    request: &Request<'_>,
    thing: &ThingId,
    authority: &AuthorityId,
) -> Result<bool, Refusal> {
    let name = UserId::parse(thing.as_str()).map_err(Refusal::internal)?;
    let prefix = store::prefix(&(request.namespace.clone(), name));
    let certificates = request.scan::<CertificateRow>(&prefix)?;
    Ok(certificates.iter().any(|(_, row)| row.authority == *authority && !row.is_revoked))
}
