//! `things import`: registers and changes many things, with a result for each row.
//!
//! The rows of one request are one commit; whoever has more sends them in several, and others have their turns in
//! between. A row that is refused changes nothing, and the others count all the same.

use super::table;
use super::view::View;
use super::{UpdateThing, change_credential, free_name};
use crate::admin::plan::{After, Plan, Request};
use crate::admin::revision;
use crate::admin::room::{self, Counted};
use crate::admin::table::{ADMIN, Operation};
use crate::admin::tabular::{Format, Record};
use crate::device::row::ThingRow;
use crate::secret;
use broker::credential::Credential;
use proto::{Refusal, RefusalCode, ThingId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

pub(super) const OPERATION: Operation = Operation::changes::<ImportThings>(
    "import",
    ADMIN,
    "registers and changes many things, with a result for each row",
    import,
);

/// The least bytes of a secret in a table: one that wants the slow hash would make everybody wait.
const SECRET_BYTES_MIN: usize = 20;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ImportThings {
    format: Format,
    /// The table, at most 1000 rows. What a row does not name stays as it is.
    text: String,
    /// Says what would become of each row, and changes nothing.
    #[serde(default)]
    dry_run: bool,
    /// Keeps what SCRAM needs of the secrets that are made, which takes a hundred times as long.
    #[serde(default)]
    scram: bool,
}

/// What has become of a row.
enum Done {
    /// Registered, with this secret; none in a dry run or if it was given.
    Created(Option<String>),
    Updated,
    Unchanged,
}

struct Batch<'a> {
    view: View<'a>,
    plan: Plan,
    registered: Vec<(ThingId, ThingRow)>,
    is_dry: bool,
    has_scram: bool,
    /// How many more things the quota of the project has room for.
    room: u64,
}

/// Registers and changes many things.
fn import(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ImportThings { format, text, dry_run, scram } = request.read()?;
    let records = table::read(format, &text)?;
    let room = room::take_some::<ThingRow>(request, Counted::Things, records.len() as u64)?;
    let mut batch = Batch {
        view: View::new(request),
        plan: Plan::default(),
        registered: Vec::new(),
        is_dry: dry_run,
        has_scram: scram,
        room,
    };
    let mut counts = [0_usize; 4];
    let mut rows = Vec::with_capacity(records.len());
    for Record { row, name: thing, read } in records {
        let outcome = read.and_then(|asked| batch.apply(asked));
        let (count, result) = match &outcome {
            Ok(Done::Created(_)) => (0, "created"),
            Ok(Done::Updated) => (1, "updated"),
            Ok(Done::Unchanged) => (2, "unchanged"),
            Err(_) => (3, "refused"),
        };
        counts[count] += 1;
        let mut shown = json!({ "row": row, "thing": thing, "result": result });
        match outcome {
            Ok(Done::Created(Some(secret))) => shown["secret"] = secret.into(),
            Ok(_) => {}
            Err(refusal) => shown["error"] = json!(refusal),
        }
        rows.push(shown);
    }
    let [created, updated, unchanged, refused] = counts;
    let Batch { mut plan, registered, .. } = batch;
    plan.data = json!({
        "dry_run": dry_run, "created": created, "updated": updated, "unchanged": unchanged,
        "refused": refused, "rows": Json::Array(rows),
    });
    if !registered.is_empty() {
        plan.after.push(After::Registered(registered));
    }
    Ok(plan)
}

impl Batch<'_> {
    fn apply(&mut self, asked: UpdateThing) -> Result<Done, Refusal> {
        let (thing, revision) = (asked.thing.clone(), asked.revision);
        if asked.secret.as_ref().is_some_and(|it| it.len() < SECRET_BYTES_MIN) {
            let message = format!("a secret in a table has at least {SECRET_BYTES_MIN} bytes");
            return Err(Refusal::new(RefusalCode::Invalid, message).at("secret"));
        }
        if self.view.is_staged(&thing) {
            let message = format!("the thing `{thing}` is in a row before");
            return Err(Refusal::new(RefusalCode::AlreadyExists, message).at("thing"));
        }
        let before = self.view.thing(&thing)?;
        revision::check(before.as_ref().map_or(0, |row| row.revision), revision)?;
        match before {
            None => self.create(thing, asked),
            Some(before) => self.update(thing, before, asked),
        }
    }

    fn create(&mut self, thing: ThingId, asked: UpdateThing) -> Result<Done, Refusal> {
        let request = self.view.request;
        let (credential_key, identity) = free_name(request, &thing)?;
        let left = self.room.checked_sub(1).ok_or_else(|| room::no_room(Counted::Things))?;
        let (edit, given) = asked.split();
        let given = given.map(super::checked).transpose()?;
        let mut row = ThingRow::new(request.now());
        edit.apply(&self.view, &thing, &mut row)?;
        let mut shown = None;
        if !self.is_dry {
            let entropy = &*request.context.outside.entropy;
            let secret = given.unwrap_or_else(|| {
                let made = secret::generate(entropy);
                shown = Some(made.clone());
                made
            });
            let credential = match self.has_scram {
                true => Credential::device(identity, &secret, entropy),
                false => Credential::device_without_scram(identity, &secret, entropy),
            };
            let credential = credential.on_terms(None, Vec::new(), row.is_disabled);
            self.plan.changes.put::<Credential>(&credential_key, &credential);
            self.plan.messages.push(request.thing_event(&thing, "created"));
        }
        self.room = left;
        self.keep(thing, None, row);
        Ok(Done::Created(shown))
    }

    fn update(
        &mut self,
        thing: ThingId,
        before: ThingRow,
        asked: UpdateThing,
    ) -> Result<Done, Refusal> {
        let request = self.view.request;
        let (edit, secret) = asked.split();
        let secret = secret.map(super::checked).transpose()?;
        let mut row = before.clone();
        edit.apply(&self.view, &thing, &mut row)?;
        if row == before && secret.is_none() {
            self.view.stage(thing, Some(&before), row);
            return Ok(Done::Unchanged);
        }
        row.updated = request.now();
        row.revision += 1;
        if !self.is_dry {
            change_credential(request, &mut self.plan, &thing, (&before, &row), secret)?;
            self.plan.messages.push(request.thing_event(&thing, "updated"));
        }
        self.keep(thing, Some(&before), row);
        Ok(Done::Updated)
    }

    fn keep(&mut self, thing: ThingId, before: Option<&ThingRow>, row: ThingRow) {
        if !self.is_dry {
            self.plan.put_thing(&self.view.key(&thing), before, &row);
            // A new thing sleeps: only its gateway has to know.
            if before.is_some() || row.parent.is_some() {
                self.registered.push((thing.clone(), row.clone()));
            }
        }
        self.view.stage(thing, before, row);
    }
}
