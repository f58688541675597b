//! One round: what an edge node has and what the hub has become the same, as far as both take it.

use super::rows::{Base, End, KnownEditsRow, Refused, SyncKey, SyncRow};
use super::rule::{Ends, Step, step};
use super::survey::Known;
use crate::context::{Context, Shared};
use crate::driver::row::{DriverKey, DriverRow, TagRow, Version};
use crate::edges::hotline::Hotline;
use crate::edges::row::EdgeKey;
use crate::edges::worker::{event_message, event_of};
use crate::here;
use crate::refused;
use broker::Client;
use proto::{DriverId, EdgeId, Namespace, Refusal, RefusalCode};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use store::{Changes, Row};

/// The largest question: what an edge node takes in one packet, but for its envelope.
const DOCUMENT_BYTES_MAX: usize = 15 * 1024 * 1024;

/// A round with one edge node.
pub(in crate::edges) struct Round {
    pub(in crate::edges) context: Shared,
    pub(in crate::edges) client: Client,
    pub(in crate::edges) edge: EdgeId,
    /// The drivers that were wanted of it when the round was begun.
    pub(in crate::edges) wanted: Vec<DriverId>,
}

/// What a round has come to.
pub(in crate::edges) struct Settled {
    /// How often the drivers of the edge node have changed there, as it said when the round began.
    pub(in crate::edges) edits: u64,
    /// Something was carried out.
    pub(in crate::edges) has_changed: bool,
}

/// What an edge node has.
#[derive(Deserialize)]
struct Told {
    edits: u64,
    drivers: BTreeMap<DriverId, Version>,
}

impl Round {
    /// Carries it out. A refusal that has to do with one driver only is remembered; any other ends the round, which
    /// then is due again.
    pub(in crate::edges) async fn run(&self) -> Result<Settled, Refusal> {
        let told = self.ask_edge("revisions", json!({})).await?;
        let told: Told = serde_json::from_value(told).map_err(Refusal::internal)?;
        let snapshot = self.context.outside.store.read().map_err(Refusal::internal)?;
        let names = self.wanted.iter().chain(told.drivers.keys()).cloned();
        let known = Known::read(&snapshot, (self.namespace(), &self.edge), names);
        let known = known.map_err(Refusal::internal)?;
        let key: EdgeKey = (self.namespace().clone(), self.edge.clone());
        let edits = snapshot.get::<KnownEditsRow>(&key).map_err(Refusal::internal)?;
        drop(snapshot);
        let edits = edits.unwrap_or_default().edits;
        let is_older = told.edits < edits;
        let names = known.wanted.keys().chain(known.synced.keys()).chain(told.drivers.keys());
        let names: BTreeSet<&DriverId> = names.collect();
        let mut has_changed = false;
        for driver in names {
            let row = known.synced.get(driver).cloned().unwrap_or_default();
            let ends = Ends {
                hub: known.wanted.get(driver).copied(),
                edge: told.drivers.get(driver).copied(),
                base: row.base,
            };
            let is_refused = |it: &Refused| it.hub == ends.hub && it.edge == ends.edge;
            let step = step(ends, is_older);
            if step == Step::Nothing || row.refused.as_ref().is_some_and(is_refused) {
                continue;
            }
            self.carry_out(step, driver, ends, row).await?;
            has_changed = true;
        }
        if told.edits != edits {
            self.keep::<KnownEditsRow>(&key, Some(&KnownEditsRow { edits: told.edits })).await?;
        }
        Ok(Settled { edits: told.edits, has_changed })
    }

    async fn carry_out(
        &self,
        step: Step,
        driver: &DriverId,
        ends: Ends,
        row: SyncRow,
    ) -> Result<(), Refusal> {
        let counters = &self.context.counters;
        let (by, outcome) = match step {
            Step::Nothing => return Ok(()),
            Step::Push { .. } => (End::Edge, self.push(driver).await),
            Step::Pull => (End::Hub, self.pull(driver, ends.hub).await),
            Step::DeleteThere => (End::Edge, self.delete_there(driver).await),
            Step::DeleteHere => (End::Hub, self.delete_here(driver).await),
            Step::Forget => (End::Hub, Ok(None)),
        };
        let key: SyncKey = (self.namespace().clone(), self.edge.clone(), driver.clone());
        match outcome {
            Ok(Some((base, is_news))) => {
                self.keep(&key, Some(&SyncRow { base: Some(base), refused: None })).await?;
                let event = match step {
                    Step::Push { overrules: true } if is_news => "configuration_overruled",
                    Step::Pull => "configuration_adopted",
                    _ => "configuration_applied",
                };
                let counter = match step {
                    Step::Pull => &counters.edge_drivers_adopted,
                    _ => &counters.edge_drivers_applied,
                };
                counter.increase();
                self.tell(event, driver, &json!({ "revision": base.hub.revision }));
            }
            Ok(None) => {
                self.keep::<SyncRow>(&key, None).await?;
                if step != Step::Forget {
                    self.tell("configuration_deleted", driver, &json!({}));
                }
            }
            Err(refusal) if is_of_the_moment(refusal.code) => return Err(refusal),
            Err(refusal) => {
                counters.edge_drivers_refused.increase();
                tracing::warn!(edge = %self.edge, %driver, ?by, %refusal, "a driver is not taken");
                self.tell("configuration_refused", driver, &json!({ "by": by, "reason": refusal }));
                let Ends { hub, edge, base } = ends;
                debug_assert_eq!(row.base, base, "what is remembered is what was compared");
                let refused = Some(Refused { by, hub, edge, refusal });
                self.keep(&key, Some(&SyncRow { base, refused })).await?;
            }
        }
        Ok(())
    }

    /// Has the edge node make the driver what it is here; whether that was news to it.
    async fn push(&self, driver: &DriverId) -> Result<Option<(Base, bool)>, Refusal> {
        let key: DriverKey = (self.namespace().clone(), driver.clone());
        let snapshot = self.context.outside.store.read().map_err(Refusal::internal)?;
        let row = snapshot.get::<DriverRow>(&key).map_err(Refusal::internal)?;
        // Deleted just now: the next round sees it.
        let row = row.ok_or_else(|| Refusal::new(RefusalCode::Unavailable, "it is gone"))?;
        let tags = snapshot.scan::<TagRow>(&store::prefix(&key)).map_err(Refusal::internal)?;
        let tags = tags.into_iter().map(|tag| tag.map(|(_, TagRow(tag))| json!(tag)));
        let tags: Result<Vec<Json>, _> = tags.collect();
        let tags = tags.map_err(Refusal::internal)?;
        drop(snapshot);
        let body = json!({ "driver": driver, "config": row.config, "tags": tags });
        let bytes = body.to_string().len();
        if bytes > DOCUMENT_BYTES_MAX {
            let message = format!(
                "the driver with its tags has {bytes} bytes, an edge node takes {DOCUMENT_BYTES_MAX}"
            );
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        let applied = self.ask_edge("apply", body).await?;
        let edge = version(&applied)?;
        Ok(Some((Base { hub: row.version(), edge }, applied["changed"] == true)))
    }

    /// Takes over what the edge node has, unless the driver has changed here meanwhile.
    async fn pull(
        &self,
        driver: &DriverId,
        here: Option<Version>,
    ) -> Result<Option<(Base, bool)>, Refusal> {
        let question = json!({ "driver": driver, "table": true });
        let mut exported = self.ask_edge("export", question).await?;
        let edge = version(&exported)?;
        let body = json!({
            "driver": driver, "edge": self.edge, "config": exported["config"].take(),
            "tags": exported["tags"].take(), "revision": here.map_or(0, |it| it.revision),
        });
        let applied = here::ask(&self.context, self.namespace(), ("drivers", "apply"), &body).await;
        let applied = applied?;
        Ok(Some((Base { hub: version(&applied)?, edge }, true)))
    }

    async fn delete_there(&self, driver: &DriverId) -> Result<Option<(Base, bool)>, Refusal> {
        gone(self.ask_edge("delete", json!({ "driver": driver })).await)
    }

    async fn delete_here(&self, driver: &DriverId) -> Result<Option<(Base, bool)>, Refusal> {
        let body = json!({ "driver": driver });
        gone(here::ask(&self.context, self.namespace(), ("drivers", "delete"), &body).await)
    }

    async fn ask_edge(&self, verb: &str, body: Json) -> Result<Json, Refusal> {
        let asked = ("drivers", verb);
        Hotline::ask_as_hub(&self.context, &self.client, &self.edge, asked, body).await
    }

    async fn keep<R: Row>(&self, key: &R::Key, row: Option<&R>) -> Result<(), Refusal> {
        let mut changes = Changes::new();
        match row {
            Some(row) => changes.put::<R>(key, row),
            None => changes.delete::<R>(key),
        }
        let kept = self.client.publish_durably(changes, Vec::new()).await;
        kept.map_err(|error| refused::by_store(&error))
    }

    fn tell(&self, event: &str, driver: &DriverId, more: &Json) {
        let told = event_of(event, self.now(), ("driver", driver.as_str()), more);
        self.client.publish(event_message(&self.edge, &told));
    }

    fn namespace(&self) -> &Namespace {
        self.client.namespace()
    }

    fn now(&self) -> proto::TimestampMs {
        Context::now(&self.context)
    }
}

/// A version in an answer.
fn version(answer: &Json) -> Result<Version, Refusal> {
    Version::deserialize(answer).map_err(Refusal::internal)
}

/// What is gone already has been deleted.
fn gone(outcome: Result<Json, Refusal>) -> Result<Option<(Base, bool)>, Refusal> {
    match outcome {
        Err(refusal) if refusal.code != RefusalCode::NotFound => Err(refusal),
        _ => Ok(None),
    }
}

/// Whether it may be otherwise soon, with nothing changed at either end.
pub(crate) fn is_of_the_moment(code: RefusalCode) -> bool {
    use RefusalCode::{Internal, TimedOut, TooManyRequests, Unavailable, VersionConflict};
    matches!(code, Internal | TimedOut | TooManyRequests | Unavailable | VersionConflict)
}
