//! What operators ask a driver that runs: to read or write some of its tags now, to show what the machine has, who it
//! is, or to call a method. It is answered by the machine's word, or refused; never kept for a later connection.

use super::actor::{DriverCore, Waiting};
use super::command::{Answer, Now, Query};
use super::io::Answered;
use super::tag::Tag;
use super::write::{Write, refusal_of_device, refusal_of_lost};
use drivers::{Call, PointId, PointRead, PointWrite, QueryError, ReadError};
use proto::{Datum, Quality, Refusal, RefusalCode, TagId};
use ractor::RpcReplyPort;
use serde_json::{Value as Json, json};
use std::collections::{BTreeSet, HashMap};

/// The most tags of one question.
pub(crate) const TAGS_MAX: usize = 1000;

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ask {
    /// What these tags hold.
    Read(Vec<TagId>),
    /// Write these tags, each by itself; read each back with `verify`.
    Write {
        /// What to write where.
        writes: Vec<(TagId, Datum)>,
        /// Read it back and compare.
        verify: bool,
    },
    /// What the machine has.
    Browse {
        /// Below which address; absent: at its root.
        below: Option<String>,
        /// At most so much.
        limit: usize,
    },
    /// Who the machine is.
    Identify,
    /// What a method returns.
    Call(Call),
}

/// The most bytes of JSON that a method may return.
const RETURNED_BYTES_MAX: usize = 256 * 1024;

/// The answer: what it is depends on the question.
pub(crate) type Told = Result<Json, Refusal>;

/// Where an answer goes.
pub(crate) type Reply = RpcReplyPort<Told>;

/// Writes that are answered together.
pub(super) struct Batch {
    reply: Reply,
    tags: Vec<TagId>,
    outcomes: Vec<Option<Result<Json, Refusal>>>,
}

impl Batch {
    fn told(self) {
        let is_good = |outcome: &Option<Result<_, _>>| matches!(outcome, Some(Ok(_)));
        let written = self.outcomes.iter().filter(|it| is_good(it)).count();
        let failed = self.outcomes.len() - written;
        let result = |(tag, outcome): (TagId, Option<Result<Json, Refusal>>)| match outcome {
            Some(Ok(v)) => json!({ "tag": tag, "ok": true, "v": v }),
            Some(Err(error)) => json!({ "tag": tag, "ok": false, "error": error }),
            None => json!({ "tag": tag, "ok": false, "error": not_told() }),
        };
        let results: Vec<Json> = self.tags.into_iter().zip(self.outcomes).map(result).collect();
        let told = json!({ "written": written, "failed": failed, "results": results });
        let _ = self.reply.send(Ok(told));
    }
}

/// The writes under way that are answered together, by their number.
#[derive(Default)]
pub(super) struct Batches(HashMap<u64, Batch>);

impl Batches {
    /// How one write ended; whoever asked is told when it was the last.
    pub(super) fn ended(&mut self, batch: u64, place: usize, outcome: Result<Json, Refusal>) {
        let Some(found) = self.0.get_mut(&batch) else { return };
        found.outcomes[place] = Some(outcome);
        if found.outcomes.iter().all(Option::is_some)
            && let Some(whole) = self.0.remove(&batch)
        {
            whole.told();
        }
    }
}

impl DriverCore {
    /// Takes a question in, or refuses it at once.
    pub(super) fn ask(&mut self, ask: Ask, reply: Reply) {
        if self.running.is_none() {
            let _ = reply.send(Err(does_not_run()));
            return;
        }
        let query = match ask {
            Ask::Write { writes, verify } => return self.ask_writes(writes, verify, reply),
            Ask::Browse { below, limit } => Query::Browse { below, limit },
            Ask::Identify => Query::Identify,
            Ask::Call(call) => Query::Call(call),
            Ask::Read(tags) => return self.ask_values(&tags, reply),
        };
        self.wait(query, Waiting::Ask(reply));
    }

    /// What a virtual tag is computed from is read for it.
    fn ask_values(&mut self, tags: &[TagId], reply: Reply) {
        let Some(running) = &mut self.running else { return };
        let points = match running.state.values_of(tags) {
            Ok(points) => points,
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        let mut sources = BTreeSet::new();
        points.iter().for_each(|point| running.state.sources_of(*point, &mut sources));
        let query = Query::Read(sources.into_iter().collect());
        self.wait(query, Waiting::Read { points, reply });
    }

    fn wait(&mut self, query: Query, waiting: Waiting) {
        let Some(running) = &mut self.running else { return };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let taken = running.state.ask(ticket, query);
        match (taken, waiting) {
            (Ok(()), waiting) => drop(self.waiting.insert(ticket, waiting)),
            (Err(refusal), Waiting::Ask(reply) | Waiting::Read { reply, .. }) => {
                drop(reply.send(Err(refusal)));
            }
            // Those come another way.
            (Err(_), Waiting::Set { .. } | Waiting::Batch { .. }) => {}
        }
    }

    fn ask_writes(&mut self, writes: Vec<(TagId, Datum)>, verify: bool, reply: Reply) {
        let Some(running) = &mut self.running else { return };
        if let Err(refusal) = running.state.has_room_for(writes.len()) {
            let _ = reply.send(Err(refusal));
            return;
        }
        let number = self.next_ticket;
        let count = writes.len();
        let tags = writes.iter().map(|(tag, _)| tag.clone()).collect();
        self.batches.0.insert(number, Batch { reply, tags, outcomes: vec![None; count] });
        let points = running.state.targets_of(writes.iter().map(|(tag, _)| tag));
        for (place, ((_, value), point)) in writes.into_iter().zip(points).enumerate() {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            match point {
                Ok(point) => {
                    let what = PointWrite { point, value, verify };
                    running.state.push_write(Write { what, ticket });
                    self.waiting.insert(ticket, Waiting::Batch { batch: number, place });
                }
                Err(refusal) => self.batches.ended(number, place, Err(refusal)),
            }
        }
    }

    /// Tells what the machine has answered; the writes that failed with it, if the connection did.
    pub(super) fn asked(&mut self, ticket: u64, answered: Answered) -> Vec<Answer> {
        let now = self.now();
        let random = self.context.random();
        let Some(running) = &mut self.running else { return Vec::new() };
        let told = match &answered {
            Answered::Read(_) => return self.values_read(ticket, answered),
            Answered::Found(Ok(found)) => Ok(json!({ "items": found })),
            Answered::Identity(Ok(told)) => Ok(json!({ "identity": identity_of(told) })),
            Answered::Returned(Ok(output)) => {
                let is_admin = matches!(self.waiting.get(&ticket), Some(Waiting::Ask(_)));
                let told = |output| if is_admin { json!({ "output": output }) } else { output };
                returned(output).map(told)
            }
            Answered::Found(Err(error))
            | Answered::Identity(Err(error))
            | Answered::Returned(Err(error)) => Err(refusal_of_query(error)),
        };
        let mut answers = running.state.asked(answered, now, random);
        answers.insert(0, (ticket, told));
        answers
    }

    /// Tells what was read, and what is computed from it.
    fn values_read(&mut self, ticket: u64, answered: Answered) -> Vec<Answer> {
        let now = self.now();
        let random = self.context.random();
        let (Some(running), Answered::Read(outcome)) = (&mut self.running, &answered) else {
            return Vec::new();
        };
        let lost = outcome.lost.as_ref().map(refusal_of_lost);
        let tags = running.state.tags();
        let value = |(point, read): &PointRead| {
            let tag = &tags[point.index()];
            (*point, value_of(&tag.name, tag.unit.as_deref(), read))
        };
        let values: HashMap<PointId, Json> = outcome.points.iter().map(value).collect();
        let mut answers = running.state.asked(answered, now, random);
        let asked = match self.waiting.get(&ticket) {
            Some(Waiting::Read { points, .. }) => points.as_slice(),
            _ => &[],
        };
        let tags = running.state.tags();
        let values = asked.iter().map(|point| {
            values.get(point).cloned().unwrap_or_else(|| computed(&tags[point.index()], now))
        });
        let told = match lost {
            Some(refusal) => Err(refusal),
            None => Ok(json!({ "values": values.collect::<Vec<_>>() })),
        };
        answers.insert(0, (ticket, told));
        answers
    }
}

/// A value that is computed, as it stands.
fn computed(tag: &Tag, now: Now) -> Json {
    let value = tag.value(now.t);
    if let Some(error) = &tag.error {
        let refusal = Refusal::new(RefusalCode::Invalid, &**error);
        return json!({ "tag": tag.name, "q": value.q, "error": refusal });
    }
    let mut json = json!({ "tag": tag.name, "v": value.v, "q": value.q, "t": value.t });
    if let Some(unit) = value.u {
        json["u"] = unit.into();
    }
    json
}

/// What a method has returned, unless it is too much.
fn returned(output: &[Json]) -> Told {
    let output = json!(output);
    match output.to_string().len() {
        0..=RETURNED_BYTES_MAX => Ok(output),
        bytes => {
            let message = format!("the method was called, and returned {bytes} bytes of JSON");
            Err(Refusal::new(RefusalCode::TooLarge, message))
        }
    }
}

/// What a machine says of itself, by name.
pub(crate) fn identity_of(told: &[(String, String)]) -> Json {
    told.iter().map(|(name, value)| (name.clone(), Json::from(value.as_str()))).collect()
}

/// What a tag holds, or why that is not known.
pub(crate) fn value_of(
    tag: &TagId,
    unit: Option<&str>,
    read: &Result<drivers::Sample, ReadError>,
) -> Json {
    match read {
        Ok(sample) => {
            let mut value = json!({ "tag": tag, "v": sample.value, "q": sample.quality });
            if let Some(at) = sample.at {
                value["t"] = json!(at);
            }
            if let Some(unit) = unit {
                value["u"] = unit.into();
            }
            value
        }
        Err(error) => json!({ "tag": tag, "q": Quality::Bad, "error": refusal_of_read(error) }),
    }
}

fn refusal_of_read(error: &ReadError) -> Refusal {
    let code = match error {
        ReadError::UnknownPoint(_) => RefusalCode::NotFound,
        ReadError::Device { error, .. } => refusal_of_device(*error),
        ReadError::NoValue { .. } => RefusalCode::Invalid,
        ReadError::ConnectionLost => RefusalCode::Unavailable,
    };
    Refusal::new(code, error.to_string())
}

/// The refusal that says why a machine did not tell something.
pub(crate) fn refusal_of_query(error: &QueryError) -> Refusal {
    match error {
        QueryError::Unsupported => Refusal::new(RefusalCode::Invalid, error.to_string()),
        QueryError::Address { .. } => {
            Refusal::new(RefusalCode::Invalid, error.to_string()).at("below")
        }
        QueryError::Input { argument, .. } => {
            Refusal::new(RefusalCode::Invalid, error.to_string()).at(argument)
        }
        QueryError::Device(device) => Refusal::new(refusal_of_device(*device), error.to_string()),
        QueryError::Lost(lost) => refusal_of_lost(lost),
    }
}

/// The refusal of a driver that has no connection and makes none.
pub(crate) fn does_not_run() -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "the driver does not run")
}

fn not_told() -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "the driver ended before it was written")
}
