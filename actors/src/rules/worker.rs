//! The task of the rules of a namespace: hears the values that they look at, and acts.

use super::gate::{Gate, Step};
use super::row::{ActedRow, RuleKey, RuleRow};
use super::rule::{Action, Rule};
use crate::context::Shared;
use crate::here;
use crate::task::Stopped;
use crate::uplink::properties::is_historical;
use broker::{AttachOptions, Client, Delivery, Outgoing};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use proto::platform::EventTopic;
use proto::{
    ClientId, Datum, Namespace, PlatformTopic, Qos, Quality, Refusal, RefusalCode, RuleId,
    TopicName, UnsPath, Value,
};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use store::{Changes, ReadError};
use tokio::time::Instant;

/// Values that are handed out at a time.
const WINDOW: usize = 256;

/// Commands under way of all rules of a namespace; one beyond them is refused.
const COMMANDS_MAX: usize = 64;

/// How the id of a write begins that a rule has made; its name follows.
const WRITE_ID: &str = "rule:";

/// A rule that runs.
struct Running {
    rule: Rule,
    revision: u64,
    gate: Gate,
    /// What is kept of it.
    acted: bool,
    /// What is shown of it.
    holds: Option<bool>,
    due_ms: Option<u64>,
}

struct Worker {
    context: Shared,
    client: Client,
    rules: BTreeMap<RuleId, Running>,
    /// As many are counted in the figures.
    counted: u64,
    /// Who looks at which value.
    lookers: HashMap<TopicName, Arc<[RuleId]>>,
    /// Those that wait for their least interval, by when it is over.
    due: BTreeSet<(u64, RuleId)>,
    /// All topics that are subscribed to: the values, and the answers to writes.
    heard: BTreeSet<TopicName>,
    commands: FuturesUnordered<BoxFuture<'static, (RuleId, Result<Json, Refusal>)>>,
}

/// The parts of an answer to a write that matter here.
#[derive(Deserialize)]
struct Written {
    id: Option<Json>,
    ok: bool,
    error: Option<Refusal>,
}

/// Runs the rules of a namespace until it is told to stop, or cannot go on.
pub(crate) async fn run(
    context: Shared,
    namespace: Namespace,
    mut stopped: Stopped,
) -> Result<(), String> {
    let client_id = ClientId::parse(&format!("$platform/rules/{}", context.next_number()));
    let client_id = client_id.map_err(|error| error.to_string())?;
    let options = AttachOptions { window: WINDOW };
    let attached = context.outside.broker.attach(&namespace, client_id, options);
    let (client, mut inbox) = attached.ok_or("the rules cannot attach to their namespace")?;
    let changed = context.rules_changed.listen(&namespace);
    let mut worker = Worker {
        context,
        client,
        rules: BTreeMap::new(),
        counted: 0,
        lookers: HashMap::new(),
        due: BTreeSet::new(),
        heard: BTreeSet::new(),
        commands: FuturesUnordered::new(),
    };
    worker.reload().map_err(|error| error.to_string())?;
    loop {
        let due = worker.next_due();
        tokio::select! {
            () = stopped.told() => return Ok(()),
            () = changed.notified() => worker.reload().map_err(|error| error.to_string())?,
            Some((rule, outcome)) = worker.commands.next() => worker.commanded(&rule, outcome),
            () = at(due) => worker.due(),
            delivery = inbox.receive() => {
                worker.delivered(delivery.ok_or("the namespace has let go of the rules")?);
            }
        }
    }
}

/// Never, if there is no time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn uns(path: &str) -> Option<PlatformTopic> {
    UnsPath::parse(path).ok().map(PlatformTopic::Uns)
}

/// The values that a rule looks at, and where its writes are answered.
fn topics(rule: &Rule) -> Vec<TopicName> {
    let answers = rule.then.iter().filter_map(|action| match action {
        Action::Set { set, .. } => UnsPath::parse(set).ok().map(PlatformTopic::UnsSetResult),
        Action::Command { .. } => None,
    });
    uns(&rule.when.path).into_iter().chain(answers).map(|topic| topic.topic()).collect()
}

impl Worker {
    /// Takes over the rules as they are kept: those that have changed begin anew.
    fn reload(&mut self) -> Result<(), ReadError> {
        let snapshot = self.context.outside.store.read()?;
        let mut rules = BTreeMap::new();
        let mut fresh = Vec::new();
        for row in snapshot.scan::<RuleRow>(&store::prefix(self.client.namespace()))? {
            let ((_, name), row): (RuleKey, RuleRow) = match row {
                Ok(row) => row,
                Err(error) => {
                    tracing::error!(%error, "a rule cannot be read and does not act");
                    continue;
                }
            };
            if !row.rule.enabled {
                continue;
            }
            let running = match self.rules.remove(&name) {
                Some(same) if same.revision == row.revision => same,
                _ => {
                    let acted = snapshot.get::<ActedRow>(&self.key(&name))?;
                    let acted = acted.is_some_and(|row| row.acted);
                    fresh.push(name.clone());
                    let (gate, revision) = (Gate::new(acted), row.revision);
                    Running { rule: row.rule, revision, gate, acted, holds: None, due_ms: None }
                }
            };
            rules.insert(name, running);
        }
        drop(snapshot);
        // Those that are left are gone, or do not act any more.
        self.context.counters.rules.subtract(self.counted);
        self.counted = rules.len() as u64;
        self.context.counters.rules.add(self.counted);
        let gone = std::mem::replace(&mut self.rules, rules);
        gone.keys().for_each(|name| self.context.rules.forget(&self.key(name)));
        self.listen();
        for name in fresh {
            self.context.rules.forget(&self.key(&name));
            self.look(&name);
        }
        Ok(())
    }

    /// Subscribes to what is looked at now, and to nothing else.
    fn listen(&mut self) {
        let mut lookers: HashMap<TopicName, Vec<RuleId>> = HashMap::new();
        let mut wanted = BTreeSet::new();
        for (name, running) in &self.rules {
            wanted.extend(topics(&running.rule));
            if let Some(topic) = uns(&running.rule.when.path) {
                lookers.entry(topic.topic()).or_default().push(name.clone());
            }
        }
        self.lookers = lookers.into_iter().map(|(topic, names)| (topic, names.into())).collect();
        for topic in wanted.difference(&self.heard) {
            self.client.subscribe(topic.clone().into(), Qos::AtLeastOnce);
        }
        for topic in self.heard.difference(&wanted) {
            self.client.unsubscribe(&topic.clone().into());
        }
        self.heard = wanted;
    }

    /// Looks at the value that is there already.
    fn look(&mut self, name: &RuleId) {
        let Some(running) = self.rules.get(name) else { return };
        let Some(topic) = uns(&running.rule.when.path) else { return };
        if let Some((_, payload)) = self.client.retained(&topic.topic().into()).pop() {
            self.value(name, &payload);
        }
    }

    fn delivered(&mut self, delivery: Delivery) {
        if is_historical(delivery.properties()) {
            // What was so once says nothing of what is so now.
        } else if let Some(names) = self.lookers.get(&delivery.topic).cloned() {
            names.iter().for_each(|name| self.value(name, &delivery.payload));
        } else if matches!(
            PlatformTopic::parse(&delivery.topic),
            Some(PlatformTopic::UnsSetResult(_))
        ) {
            self.written(&delivery.payload);
        }
        delivery.ack();
    }

    fn value(&mut self, name: &RuleId, payload: &[u8]) {
        // What is no value, or a doubtful one, says nothing about the machine.
        let Ok(value) = Value::parse(payload, self.context.now()) else { return };
        let (Some(v), Quality::Good) = (value.v, value.q) else { return };
        let now_ms = self.context.uptime_ms();
        let Some(running) = self.rules.get_mut(name) else { return };
        let rule = &running.rule;
        let step = running.gate.value(&rule.when, &v, rule.min_interval_ms, now_ms);
        self.step(name, step, Some(&v));
    }

    fn next_due(&self) -> Option<Instant> {
        let (due_ms, _) = self.due.first()?;
        let in_ms = due_ms.saturating_sub(self.context.uptime_ms());
        Some(Instant::now() + Duration::from_millis(in_ms))
    }

    fn due(&mut self) {
        let now_ms = self.context.uptime_ms();
        while self.due.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms) {
            let Some((due_ms, name)) = self.due.pop_first() else { return };
            let Some(running) = self.rules.get_mut(&name) else { continue };
            // One that has changed or is over since has another time, or none.
            if running.due_ms.take_if(|it| *it == due_ms).is_none() {
                continue;
            }
            let step = running.gate.due(now_ms);
            self.step(&name, step, None);
        }
    }

    fn step(&mut self, name: &RuleId, step: Step, value: Option<&Datum>) {
        match step {
            Step::Nothing => {}
            Step::Wait(due_ms) => {
                if let Some(running) = self.rules.get_mut(name) {
                    running.due_ms = Some(due_ms);
                }
                self.due.insert((due_ms, name.clone()));
                self.context.counters.rules_deferred.increase();
                self.context.rules.note(&self.key(name), |it| it.deferred += 1);
            }
            Step::Rest => {
                if let Some(running) = self.rules.get_mut(name) {
                    running.due_ms = None;
                }
            }
            Step::Act => self.act(name, value),
        }
        self.note(name);
    }

    /// The actions first, then the note of it: nothing of what was crossed is lost.
    fn act(&mut self, name: &RuleId, value: Option<&Datum>) {
        let Some(running) = self.rules.get(name) else { return };
        let actions = running.rule.then.clone();
        for action in actions {
            match action {
                Action::Set { set, v, verify } => {
                    let Ok(path) = UnsPath::parse(&set) else { continue };
                    let id = format!("{WRITE_ID}{name}");
                    let body = json!({ "v": v, "id": id, "verify": verify }).to_string();
                    let outgoing = Outgoing::new(PlatformTopic::UnsSet(path).topic(), body);
                    self.client.publish(outgoing.qos(Qos::AtLeastOnce));
                }
                Action::Command { thing, command, input, timeout_ms } => {
                    let mut body = json!({ "thing": thing, "name": command, "input": input });
                    if let Some(timeout_ms) = timeout_ms {
                        body["timeout_ms"] = json!(timeout_ms);
                    }
                    self.command(name.clone(), body);
                }
            }
        }
        let now = self.context.now();
        self.context.counters.rules_acted.increase();
        self.context.rules.note(&self.key(name), |it| {
            it.acted += 1;
            it.last_acted = Some(now);
        });
        self.tell(name, &json!({ "event": "acted", "t": now, "v": value }));
    }

    fn command(&mut self, name: RuleId, body: Json) {
        if self.commands.len() >= COMMANDS_MAX {
            let message = format!("{COMMANDS_MAX} commands of rules are under way");
            return self.failed(&name, &Refusal::new(RefusalCode::TooManyRequests, message));
        }
        let (context, namespace) = (self.context.clone(), self.client.namespace().clone());
        let asked = async move {
            let outcome = here::ask(&context, &namespace, ("commands", "create"), &body).await;
            (name, outcome)
        };
        self.commands.push(asked.boxed());
    }

    fn commanded(&mut self, name: &RuleId, outcome: Result<Json, Refusal>) {
        if let Err(refusal) = outcome {
            self.failed(name, &refusal);
        }
    }

    /// A driver has answered a write, which may be that of a rule.
    fn written(&mut self, payload: &[u8]) {
        let Ok(written) = serde_json::from_slice::<Written>(payload) else { return };
        let Some(Json::String(id)) = written.id else { return };
        let name = id.strip_prefix(WRITE_ID).and_then(|name| RuleId::parse(name).ok());
        let Some(name) = name.filter(|name| self.rules.contains_key(name)) else { return };
        if !written.ok {
            let unknown = || Refusal::new(RefusalCode::Internal, "it was not written");
            self.failed(&name, &written.error.unwrap_or_else(unknown));
        }
    }

    fn failed(&mut self, name: &RuleId, refusal: &Refusal) {
        tracing::warn!(rule = %name, %refusal, "an action of a rule is refused");
        self.context.counters.rules_failed.increase();
        self.context.rules.note(&self.key(name), |it| {
            it.failed += 1;
            it.last_failure = Some(refusal.clone());
        });
        let now = self.context.now();
        self.tell(name, &json!({ "event": "failed", "t": now, "reason": refusal }));
    }

    /// Keeps whether the rule has acted, and shows how it stands.
    fn note(&mut self, name: &RuleId) {
        let Some(running) = self.rules.get_mut(name) else { return };
        let (holds, acted) = running.gate.state();
        if (running.holds, running.acted) == (Some(holds), acted) {
            return;
        }
        let key: RuleKey = (self.client.namespace().clone(), name.clone());
        running.holds = Some(holds);
        self.context.rules.note(&key, |it| it.holds = Some(holds));
        if running.acted != acted {
            running.acted = acted;
            let mut changes = Changes::new();
            changes.put::<ActedRow>(&key, &ActedRow { acted });
            drop(self.context.outside.store.submit(changes));
        }
    }

    fn tell(&self, name: &RuleId, event: &Json) {
        let topic = PlatformTopic::Event(EventTopic::Rule(name.clone())).topic();
        self.client.publish(Outgoing::new(topic, event.to_string()).qos(Qos::AtLeastOnce));
    }

    fn key(&self, name: &RuleId) -> RuleKey {
        (self.client.namespace().clone(), name.clone())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.context.counters.rules.subtract(self.counted);
        self.context.rules_changed.forget(self.client.namespace());
    }
}
