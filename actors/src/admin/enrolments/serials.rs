//! The serial numbers that an enrolment knows: added before their devices come, and reset when one is given up.

use super::find;
use crate::admin::list::list as list_rows;
use crate::admin::plan::{Plan, Request};
use crate::admin::table::{ADMIN, Operation};
use crate::enrolment::row::{EnrolmentRow, SerialKey, SerialRow};
use proto::admin::ListRequest;
use proto::id::EnrolmentId;
use proto::{Refusal, RefusalCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use store::Changes;

pub(super) const ADD: Operation =
    Operation::changes::<Serials>("add", ADMIN, "adds serial numbers that are let in", add);

pub(super) const REMOVE: Operation = Operation::changes::<Serials>(
    "remove",
    ADMIN,
    "takes serial numbers off that no device has come with",
    remove,
);

pub(super) const RESET: Operation = Operation::changes::<Reset>(
    "reset",
    ADMIN,
    "lets the next device with a serial number take its thing over",
    reset,
);

pub(super) const SERIALS: Operation = Operation::reads::<ListSerials>(
    "serials",
    ADMIN,
    "lists serial numbers, and which things they became",
    serials,
);

/// The most serial numbers in one request.
const AT_ONCE_MAX: usize = 1000;

/// The most that an enrolment knows.
const SERIALS_MAX: u64 = 1_000_000;

/// The longest serial number, in bytes, as in `things`.
const SERIAL_BYTES_MAX: usize = 128;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Serials {
    enrolment: EnrolmentId,
    /// At most 1000 at once, of at most 128 bytes each.
    serials: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reset {
    enrolment: EnrolmentId,
    serial: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListSerials {
    enrolment: EnrolmentId,
    /// Only serial numbers that contain this text.
    #[serde(default)]
    filter: Option<String>,
    /// At most so many, 1 to 1000; absent: 100.
    #[serde(default)]
    limit: Option<usize>,
    /// Where the page before ended.
    #[serde(default)]
    cursor: Option<String>,
}

/// Adds serial numbers, all or none. Those that are there already stay as they are.
fn add(request: &Request<'_>) -> Result<Plan, Refusal> {
    change(request, |serial, found, changes, key| match found {
        Some(found) if found.is_listed => Ok(0),
        found => {
            check(serial)?;
            let is_new = found.is_none();
            let row = SerialRow { is_listed: true, ..found.unwrap_or_default() };
            changes.put::<SerialRow>(key, &row);
            Ok(i64::from(is_new))
        }
    })
}

/// Takes serial numbers off, all or none.
fn remove(request: &Request<'_>) -> Result<Plan, Refusal> {
    change(request, |serial, found, changes, key| match found {
        None => Err(Refusal::not_found("serial number", serial)),
        Some(SerialRow { used: Some(used), .. }) => {
            let message = format!("a device has come with it and is `{}`", used.thing);
            Err(Refusal::new(RefusalCode::Invalid, message))
        }
        Some(_) => {
            changes.delete::<SerialRow>(key);
            Ok(-1)
        }
    })
}

/// Goes through the serial numbers of a request; `change` says by how much their number changes.
fn change(
    request: &Request<'_>,
    change: impl Fn(&str, Option<SerialRow>, &mut Changes, &SerialKey) -> Result<i64, Refusal>,
) -> Result<Plan, Refusal> {
    let Serials { enrolment, serials } = request.read()?;
    let (key, mut row) = find(request, enrolment)?;
    if serials.len() > AT_ONCE_MAX {
        let message = format!("{} serial numbers, at most {AT_ONCE_MAX} at once", serials.len());
        return Err(Refusal::new(RefusalCode::TooLarge, message).at("serials"));
    }
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    let mut more = 0;
    for (index, serial) in serials.into_iter().enumerate() {
        let serial_key = (key.0.clone(), key.1.clone(), serial.clone());
        let found = request.get::<SerialRow>(&serial_key)?;
        if seen.insert(serial.clone()) {
            let changed = change(&serial, found, &mut plan.changes, &serial_key);
            more += changed.map_err(|refusal| refusal.at(format!("serials[{index}]")))?;
        }
    }
    row.serials = row.serials.saturating_add_signed(more);
    if more > 0 && row.serials > SERIALS_MAX {
        let message = format!("an enrolment knows at most {SERIALS_MAX} serial numbers");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message).at("serials"));
    }
    plan.data =
        json!({ "enrolment": key.1, "changed": more.unsigned_abs(), "serials": row.serials });
    plan.changes.put::<EnrolmentRow>(&key, &row);
    Ok(plan)
}

/// Gives up the device that has come with a serial number: the next one takes its thing over.
fn reset(request: &Request<'_>) -> Result<Plan, Refusal> {
    let Reset { enrolment, serial } = request.read()?;
    let (key, _) = find(request, enrolment)?;
    let serial_key = (key.0, key.1, serial);
    let found = request.must_get::<SerialRow>(&serial_key, "serial number", &serial_key.2);
    let mut row = found.map_err(|refusal| refusal.at("serial"))?;
    let Some(used) = &mut row.used else {
        let message = "no device has come with it yet";
        return Err(Refusal::new(RefusalCode::Invalid, message).at("serial"));
    };
    used.is_reset = true;
    let mut plan = Plan::answer(show(&serial_key, &row));
    plan.changes.put::<SerialRow>(&serial_key, &row);
    Ok(plan)
}

/// Lists the serial numbers of an enrolment.
fn serials(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ListSerials { enrolment, filter, limit, cursor } = request.read()?;
    let (key, _) = find(request, enrolment)?;
    let key_of = |serial: &str| Ok((key.0.clone(), key.1.clone(), serial.to_owned()));
    let item = |key: &SerialKey, row: SerialRow| Some((key.2.clone(), show(key, &row)));
    let asked = ListRequest { filter, limit, cursor };
    let prefix = store::prefix(&key);
    Ok(Plan::answer(list_rows::<SerialRow>(request, &asked, &prefix, key_of, item)?))
}

fn check(serial: &str) -> Result<(), Refusal> {
    let is_good = (1..=SERIAL_BYTES_MAX).contains(&serial.len())
        && serial.trim() == serial
        && !serial.chars().any(char::is_control);
    match is_good {
        true => Ok(()),
        false => {
            let message = format!(
                "it must be a text of 1 to {SERIAL_BYTES_MAX} bytes without control characters or blanks \
                 around it"
            );
            Err(Refusal::new(RefusalCode::Invalid, message))
        }
    }
}

fn show((_, _, serial): &SerialKey, row: &SerialRow) -> Json {
    let state = match &row.used {
        None => "waiting",
        Some(used) if used.is_reset => "reset",
        Some(_) => "registered",
    };
    let used = row.used.as_ref();
    json!({
        "serial": serial,
        "state": state,
        "listed": row.is_listed,
        "thing": used.map(|it| &it.thing),
        "t": used.map(|it| it.t),
    })
}
