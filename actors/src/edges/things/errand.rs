//! One errand: an edge node is given what it has yet to get of one thing, by requests to its admin API.

use super::documents::ShadowThere;
use super::due::{self, Standing};
use super::rows::{GivenKey, GivenRow, NotTaken, OfferRow, Said, SaidRow};
use super::said;
use crate::context::Shared;
use crate::device::command::row::Open;
use crate::device::row::{ThingKey, ThingRow};
use crate::edges::desired::is_of_the_moment;
use crate::edges::hotline::Hotline;
use crate::edges::worker::{event_message, event_of};
use crate::model::row::{VersionRow, version_key};
use crate::refused;
use broker::credential::{Credential, CredentialKey};
use broker::{Client, GENERATIONS_MAX};
use proto::{CommandId, EdgeId, Namespace, Refusal, RefusalCode, ThingId, UserId};
use serde_json::{Value as Json, json};
use store::{Changes, Snapshot};

/// See the module.
pub(in crate::edges) struct Errand {
    pub(in crate::edges) context: Shared,
    pub(in crate::edges) client: Client,
    pub(in crate::edges) edge: EdgeId,
    pub(in crate::edges) thing: ThingId,
    /// Which life of the edge node's data folder is there.
    pub(in crate::edges) life: u64,
}

impl Errand {
    /// Runs it; whether the device actor has something to take in. A refusal is one of the moment: try again.
    pub(in crate::edges) async fn run(&self) -> Result<bool, Refusal> {
        // Those above it first: the edge node knows no gateway that it has not been given.
        for above in self.above()? {
            self.register(&above).await?;
        }
        if !self.register(&self.thing).await? {
            return Ok(false);
        }
        let key: ThingKey = (self.namespace().clone(), self.thing.clone());
        let snapshot = self.snapshot()?;
        let shadows = due::shadows(&snapshot, &key, self.life).map_err(Refusal::internal)?;
        let commands = due::commands(&snapshot, &key).map_err(Refusal::internal)?;
        drop(snapshot);
        if !shadows.is_empty() {
            let mut offers = Changes::new();
            for (name, offer) in &shadows {
                offers.put::<OfferRow>(&(key.0.clone(), key.1.clone(), name.clone()), offer);
            }
            self.commit(offers).await?;
        }
        let mut changes = Changes::new();
        let mut outcome = Ok(());
        for (name, offer) in shadows {
            outcome = self.give_shadow(name, offer).await.map(|it| self.note(it, &mut changes));
            if outcome.is_err() {
                break;
            }
        }
        for (id, open) in commands {
            if outcome.is_ok() {
                outcome = self.give_command(id, open).await.map(|it| self.note(it, &mut changes));
            }
        }
        let has_said = !changes.is_empty();
        if has_said {
            self.commit(changes).await?;
        }
        outcome.map(|()| has_said)
    }

    /// The gateways above it that are at this edge node, the highest first.
    fn above(&self) -> Result<Vec<ThingId>, Refusal> {
        let snapshot = self.snapshot()?;
        let mut above = Vec::new();
        let mut next = self.row(&snapshot, &self.thing)?.and_then(|row| row.parent);
        while let Some(thing) = next.filter(|_| above.len() < GENERATIONS_MAX) {
            next = match self.row(&snapshot, &thing)? {
                Some(row) => {
                    above.push(thing);
                    row.parent
                }
                None => None,
            };
        }
        above.reverse();
        Ok(above)
    }

    /// A thing of this edge node.
    fn row(&self, snapshot: &Snapshot, thing: &ThingId) -> Result<Option<ThingRow>, Refusal> {
        let key: ThingKey = (self.namespace().clone(), thing.clone());
        let row = snapshot.get::<ThingRow>(&key).map_err(Refusal::internal)?;
        Ok(row.filter(|row| row.edge.as_ref() == Some(&self.edge)))
    }

    /// Has the edge node know a thing as it is here, or no more; whether it has it.
    async fn register(&self, thing: &ThingId) -> Result<bool, Refusal> {
        let snapshot = self.snapshot()?;
        let there = (self.namespace(), &self.edge, self.life);
        let row = match due::standing(&snapshot, there, thing).map_err(Refusal::internal)? {
            Standing::Settled => return Ok(true),
            Standing::Stranger | Standing::Refused => return Ok(false),
            Standing::Gone { was_taken } => {
                return self.take_away(thing, was_taken).await.map(|()| false);
            }
            Standing::Due(row) => row,
        };
        let taken = snapshot.get::<GivenRow>(&self.given_key(thing)).map_err(Refusal::internal)?;
        let taken = taken.filter(|it| it.life == self.life).and_then(|it| it.revision);
        let body = self.registration(&snapshot, thing, &row)?;
        drop(snapshot);
        let given = match self.ask(("things", "apply"), body).await {
            Ok(_) => GivenRow { life: self.life, revision: Some(row.revision), refused: None },
            Err(refusal) if is_of_the_moment(refusal.code) => return Err(refusal),
            Err(refusal) => {
                self.context.counters.edge_things_refused.increase();
                tracing::warn!(edge = %self.edge, %thing, %refusal, "a thing is not taken");
                self.tell("thing_refused", thing, &json!({ "reason": refusal }));
                let refused = Some(NotTaken { revision: row.revision, refusal });
                GivenRow { life: self.life, revision: taken, refused }
            }
        };
        let is_taken = given.refused.is_none();
        let mut changes = Changes::new();
        changes.put::<GivenRow>(&self.given_key(thing), &given);
        self.commit(changes).await?;
        if is_taken {
            self.context.counters.edge_things_given.increase();
        }
        Ok(is_taken)
    }

    fn registration(
        &self,
        snapshot: &Snapshot,
        thing: &ThingId,
        row: &ThingRow,
    ) -> Result<Json, Refusal> {
        let namespace = self.namespace();
        let name = UserId::parse(thing.as_str()).map_err(Refusal::internal)?;
        let key: CredentialKey = (namespace.clone(), name);
        let credential = snapshot.get::<Credential>(&key).map_err(Refusal::internal)?;
        let model = match &row.model {
            None => None,
            Some(version) => {
                let key = version_key(namespace, version);
                let found = snapshot.get::<VersionRow>(&key).map_err(Refusal::internal)?;
                found.map(|found| json!({ "version": version, "document": found.document }))
            }
        };
        let parent = match &row.parent {
            Some(parent) => self.row(snapshot, parent)?.map(|_| parent),
            None => None,
        };
        Ok(json!({
            "thing": thing, "location": row.location(namespace, thing), "parent": parent,
            "serial": row.serial, "tags": row.tags, "attributes": row.attributes,
            "enabled": !row.is_disabled, "model": model, "credential": credential,
        }))
    }

    /// One that the edge node has never taken is nobody's here: if it is there, it is its own.
    async fn take_away(&self, thing: &ThingId, was_taken: bool) -> Result<(), Refusal> {
        if was_taken {
            let body = json!({ "thing": thing, "children": "detach" });
            match self.ask(("things", "delete"), body).await {
                Err(refusal) if refusal.code != RefusalCode::NotFound => return Err(refusal),
                _ => {}
            }
        }
        let mut changes = Changes::new();
        changes.delete::<GivenRow>(&self.given_key(thing));
        self.commit(changes).await
    }

    async fn give_shadow(&self, name: String, offer: OfferRow) -> Result<Said, Refusal> {
        let OfferRow { over, shadow: state, .. } = offer;
        let body = json!({
            "thing": self.thing, "name": (!name.is_empty()).then_some(&name),
            "over": { "version": over.0, "exists": !over.1 }, "version": state.version,
            "exists": state.exists, "desired": state.desired, "reported": state.reported,
        });
        match self.ask(("shadows", "apply"), body).await {
            Ok(answer) => {
                let there = serde_json::from_value::<ShadowThere>(answer);
                Ok(Said::Shadow(Box::new(there.map_err(Refusal::internal)?)))
            }
            Err(refusal) => self.not_of_the_moment(refusal).await.map(|refusal| {
                tracing::warn!(edge = %self.edge, thing = %self.thing, name, %refusal,
                        "a shadow is not taken");
                Said::ShadowRefused { name, place: state.place() }
            }),
        }
    }

    async fn give_command(&self, id: CommandId, open: Open) -> Result<Said, Refusal> {
        let now = self.context.now();
        let body = json!({
            "thing": self.thing, "name": open.name, "id": id, "input": open.input,
            // The clocks of the two may differ.
            "timeout_ms": open.deadline.0.saturating_sub(now.0).max(1),
        });
        let refusal = match self.ask(("commands", "create"), body).await {
            Ok(_) => None,
            Err(refusal) => Some(self.not_of_the_moment(refusal).await?),
        };
        Ok(Said::Command { id, refusal })
    }

    /// A refusal that will not be another one the next time. A thing that is gone there is given again first.
    async fn not_of_the_moment(&self, refusal: Refusal) -> Result<Refusal, Refusal> {
        if refusal.code == RefusalCode::NotFound {
            let mut changes = Changes::new();
            changes.delete::<GivenRow>(&self.given_key(&self.thing));
            self.commit(changes).await?;
            return Err(Refusal::new(RefusalCode::Unavailable, "it is given again"));
        }
        if is_of_the_moment(refusal.code) { Err(refusal) } else { Ok(refusal) }
    }

    fn note(&self, said: Said, changes: &mut Changes) {
        let row = SaidRow { edge: self.edge.clone(), life: self.life, said };
        said::keep(changes, self.namespace(), &self.thing, row);
    }

    async fn ask(&self, asked: (&str, &str), body: Json) -> Result<Json, Refusal> {
        Hotline::ask_as_hub(&self.context, &self.client, &self.edge, asked, body).await
    }

    async fn commit(&self, changes: Changes) -> Result<(), Refusal> {
        let kept = self.client.publish_durably(changes, Vec::new()).await;
        kept.map_err(|error| refused::by_store(&error))
    }

    fn tell(&self, event: &str, thing: &ThingId, more: &Json) {
        let told = event_of(event, self.context.now(), ("thing", thing.as_str()), more);
        self.client.publish(event_message(&self.edge, &told));
    }

    fn snapshot(&self) -> Result<Snapshot, Refusal> {
        self.context.outside.store.read().map_err(Refusal::internal)
    }

    fn given_key(&self, thing: &ThingId) -> GivenKey {
        (self.namespace().clone(), self.edge.clone(), thing.clone())
    }

    fn namespace(&self) -> &Namespace {
        self.client.namespace()
    }
}
