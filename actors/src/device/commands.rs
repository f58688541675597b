//! The commands that a device actor has at hand, and the way of each event through them.

use super::actor::DeviceCore;
use super::batch::Done;
use super::command::answer;
use super::command::book::{Asker, Book, Change, Invoked, Limits, to_json};
use super::command::broadcast::MemberRow;
use super::command::document::{Invocation, Malformed, Response};
use super::command::row::{CommandKey, Ended, Open, ReplyTo};
use crate::context::Context;
use crate::refused;
use crate::tenant::TenantMsg;
use broker::{AckToken, Client, Delivery, Outgoing};
use proto::TimestampMs;
use proto::platform::{CommandTopic, ThingTopic};
use proto::{CommandId, CommandName, Identity, PlatformTopic, Refusal, RefusalCode, ThingId};
use ractor::RpcReplyPort;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use store::{Changes, ReadError, Row};

/// The longest correlation data that is kept with a command, in bytes: a UUID, a number, a path.
const CORRELATION_BYTES_MAX: usize = 1024;

/// How long after a failed commit a device looks at its commands again, in milliseconds.
const RETRY_MS: u64 = 1000;

/// See the module.
#[derive(Default)]
pub(crate) struct Commands {
    /// Loaded when first asked for.
    pub(super) book: Option<Book>,
    /// When the tenant will wake this device, as far as it has been told.
    told: Option<TimestampMs>,
}

/// What is to be kept, said and counted together.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) changes: Changes,
    pub(super) says: Vec<Outgoing>,
    pub(super) tally: Tally,
}

/// What has become of commands, to be counted once it is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    taken: u64,
    sent: u64,
    ended: [u64; 5],
    repeated: u64,
    refused: u64,
    ignored: u64,
}

/// Who waits for the commit.
pub(super) enum Waiting {
    /// Nobody.
    Nobody,
    /// The publisher of a message.
    Publisher(Delivery),
    /// The broker.
    Broker(AckToken),
    /// The admin API, with what it is to be told.
    Admin(RpcReplyPort<Result<(), Refusal>>, Result<(), Refusal>),
}

impl DeviceCore {
    /// An app asks for a command, or the device answers one. An error is a row that cannot be read.
    pub(super) fn command(
        &mut self,
        (name, step): (CommandName, CommandTopic),
        delivery: Delivery,
    ) -> Result<(), ReadError> {
        let mut effects = Effects::default();
        match step {
            CommandTopic::Invoke => self.invoked(&name, &delivery, &mut effects)?,
            CommandTopic::Response => self.answered(&name, &delivery, &mut effects)?,
            CommandTopic::Request | CommandTopic::Result => {
                delivery.ack();
                return Ok(());
            }
        }
        self.add_effects(effects, Waiting::Publisher(delivery));
        Ok(())
    }

    /// The device hears commands that it did not hear before, or a deadline has come.
    pub(super) fn look_at_commands(&mut self, waiting: Waiting) -> Result<(), ReadError> {
        let mut effects = Effects::default();
        if self.is_registered() && self.has_open_commands()? {
            let now = self.context.now();
            let mut book = self.take_book(now, &mut effects)?;
            let handed = book.hand_over(now, |name| self.is_heard(name));
            self.carry(&mut book, handed, &mut effects);
            self.commands.book = Some(book);
        }
        self.add_effects(effects, waiting);
        Ok(())
    }

    /// The tenant's alarm rings.
    pub(super) fn commands_due(&mut self) -> Result<(), ReadError> {
        self.commands.told = None;
        if self.edge().is_some() {
            // It could not be kept the last time, perhaps.
            self.edge_said()?;
        }
        self.look_at_commands(Waiting::Nobody)
    }

    /// Ends all commands of a thing that is deleted: what is said of it. Rows go with those of the thing.
    pub(super) fn retire_commands(
        &mut self,
        changes: &mut Changes,
        says: &mut Vec<Outgoing>,
    ) -> Tally {
        let mut effects = Effects::default();
        // What cannot be read goes untold.
        let now = self.context.now();
        if let Ok(mut book) = self.take_book(now, &mut effects) {
            let ends = book.retire(now, &self.command_limits());
            self.carry(&mut book, ends, &mut effects);
        }
        changes.append(effects.changes);
        says.extend(effects.says);
        self.commands = Commands::default();
        effects.tally
    }

    fn invoked(
        &mut self,
        name: &CommandName,
        delivery: &Delivery,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        let asked = read_invocation(delivery, self.context.settings.command_bytes_max);
        let (id, reply, outcome) = match asked {
            (reply, Err(Malformed { id, refusal })) => (id, reply, Err(refusal)),
            (reply, Ok(invocation)) => {
                let id = Json::from(invocation.id.as_str());
                let by = delivery.sender.identity.to_string();
                let asker = Asker { by, reply: reply.clone(), is_broadcast: false };
                (id, reply, self.decide_invoke((name, invocation), asker, effects)?)
            }
        };
        if let Err(refusal) = outcome {
            let now = self.context.now();
            let told = (&self.thing, name);
            effects.says.extend(answer::refused(told, &id, &refusal, reply.as_ref(), now));
            effects.tally.refused += 1;
        }
        Ok(())
    }

    /// Decides an invocation and puts it in force. Refused: it changes nothing.
    pub(super) fn decide_invoke(
        &mut self,
        (name, invocation): (&CommandName, Invocation),
        asker: Asker,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, ReadError> {
        let (now, limits) = (self.context.now(), self.command_limits());
        let mut book = self.take_book(now, effects)?;
        let (id, reply) = (invocation.id.clone(), asker.reply.clone());
        // The edge node waits for its device, as far as it can be told of it at all.
        let invocation =
            Invocation { queue: invocation.queue || self.is_edge_online(), ..invocation };
        let is_new = book.open(&id).is_none() && book.ended(&id).is_none();
        if is_new && let Err(refusal) = self.check_action(name, &invocation.input)? {
            self.commands.book = Some(book);
            return Ok(Err(refusal));
        }
        let is_heard = |name: &CommandName| self.is_heard(name);
        let decided = book.invoke((name, invocation), asker, now, is_heard, &limits);
        let outcome = match decided {
            Err(refusal) => Err(refusal),
            Ok(Invoked::New(changes)) => {
                self.carry(&mut book, changes, effects);
                Ok(())
            }
            Ok(Invoked::Running(changes)) => {
                self.carry(&mut book, changes, effects);
                effects.tally.repeated += 1;
                let open = book.open(&id);
                let step = open.and_then(|open| answer::step(&id, open, reply.as_ref(), now));
                effects.says.extend(step);
                Ok(())
            }
            Ok(Invoked::Over) => {
                effects.tally.repeated += 1;
                let ended = book.ended(&id);
                let told = ended.map(|it| answer::repeated(&self.thing, &id, it, reply.as_ref()));
                effects.says.extend(told);
                Ok(())
            }
        };
        self.commands.book = Some(book);
        Ok(outcome)
    }

    fn answered(
        &mut self,
        name: &CommandName,
        delivery: &Delivery,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        let bytes_max = self.context.settings.command_bytes_max;
        let read = match may_answer(&delivery.sender.identity, &self.thing) {
            true => Response::parse(&delivery.payload, bytes_max),
            false => Err(Refusal::new(RefusalCode::Forbidden, "only the device itself may answer")),
        };
        let (now, limits) = (self.context.now(), self.command_limits());
        let mut book = self.take_book(now, effects)?;
        let read = match read {
            Ok(response) if book.is_asked(name, &response.id) => {
                Ok(self.held_against_model(name, delivery, response, effects)?)
            }
            other => other,
        };
        match read.and_then(|response| book.respond(name, response, now, &limits)) {
            Ok(changes) => self.carry(&mut book, changes, effects),
            Err(refusal) => {
                let told = refused::message(&self.thing, &delivery.topic, &refusal, now);
                effects.says.push(told);
                effects.tally.ignored += 1;
            }
        }
        self.commands.book = Some(book);
        Ok(())
    }

    /// A response whose output is not what the model says is one of failure: nobody takes it for what was asked for.
    fn held_against_model(
        &mut self,
        name: &CommandName,
        delivery: &Delivery,
        response: Response,
        effects: &mut Effects,
    ) -> Result<Response, ReadError> {
        let Ok(output) = &response.outcome else { return Ok(response) };
        let Err(refusal) = self.check_output(name, output)? else { return Ok(response) };
        let now = self.context.now();
        effects.says.push(refused::message(&self.thing, &delivery.topic, &refusal, now));
        self.context.counters.command_outputs_refused.increase();
        Ok(Response { id: response.id, outcome: Err(to_json(&refusal)) })
    }

    /// The book, out of which everything has been taken that is over by now.
    pub(super) fn take_book(
        &mut self,
        now: TimestampMs,
        effects: &mut Effects,
    ) -> Result<Book, ReadError> {
        let mut book = match self.commands.book.take() {
            Some(book) => book,
            None => self.load_book()?,
        };
        let due = book.due(now, &self.command_limits());
        self.carry(&mut book, due, effects);
        Ok(book)
    }

    fn load_book(&self) -> Result<Book, ReadError> {
        let snapshot = self.context.outside.store.read()?;
        let prefix = store::prefix(&self.key());
        let open = rows::<Open>(snapshot.scan(&prefix)?)?;
        let ended = rows::<Ended>(snapshot.scan(&prefix)?)?;
        Ok(Book::new(open, ended))
    }

    /// Spares a device that has none the loading of its book.
    fn has_open_commands(&self) -> Result<bool, ReadError> {
        if self.commands.book.is_some() {
            return Ok(true);
        }
        let snapshot = self.context.outside.store.read()?;
        Ok(snapshot.first::<Open>(&store::prefix(&self.key()))?.is_some())
    }

    /// Puts changes in force, and notes what they mean for rows and bus.
    pub(super) fn carry(&mut self, book: &mut Book, list: Vec<Change>, effects: &mut Effects) {
        let mut altered = BTreeSet::new();
        for change in list {
            book.apply(&change);
            match change {
                Change::Taken(id, _) => {
                    effects.tally.taken += 1;
                    self.owes_edge = true;
                    altered.insert((id, true));
                }
                Change::Sent(id, now) => {
                    effects.tally.sent += 1;
                    let open = book.open(&id);
                    // What an edge node has been given is told by it.
                    let open = open.filter(|_| self.edge().is_none());
                    let request = open.map(|open| answer::request(&self.thing, &id, open, now));
                    effects.says.extend(request);
                    altered.insert((id, true));
                }
                Change::Redirected(id, _) => {
                    altered.insert((id, false));
                }
                Change::Ended(id, ended, reply) => {
                    effects.tally.ended[ended.status as usize] += 1;
                    effects.says.extend(answer::result(&self.thing, &id, &ended, reply.as_ref()));
                    effects.says.extend(self.result_news(&id, &ended));
                    self.end(id, ended, &mut effects.changes);
                }
                Change::Forgotten(id) => effects.changes.delete::<Ended>(&self.command_key(id)),
            }
        }
        let now = self.context.now();
        for (id, is_step) in altered {
            let Some(open) = book.open(&id) else { continue };
            effects.changes.put::<Open>(&self.command_key(id.clone()), open);
            if is_step && open.progress {
                effects.says.extend(answer::step(&id, open, open.reply.as_ref(), now));
            }
        }
    }

    fn end(&self, id: CommandId, ended: Ended, changes: &mut Changes) {
        if ended.is_broadcast {
            let key = (self.client.namespace().clone(), id.clone(), self.thing.clone());
            changes.put::<MemberRow>(&key, &MemberRow { ended: Some(ended.clone()) });
        }
        let key = self.command_key(id);
        changes.delete::<Open>(&key);
        changes.put::<Ended>(&key, &ended);
    }

    pub(super) fn add_effects(&mut self, effects: Effects, waiting: Waiting) {
        let Effects { changes, says, tally } = effects;
        if changes.is_empty() && says.is_empty() && matches!(waiting, Waiting::Nobody) {
            return self.tell_next_deadline();
        }
        let done = Done::Commands(Box::new((tally, waiting)));
        self.add(changes, says, done);
    }

    /// Has the tenant wake this device at its next deadline, which it may sleep until. To be called when all is kept.
    pub(super) fn tell_next_deadline(&mut self) {
        let next = self.commands.book.as_ref().and_then(Book::next_deadline);
        let now = self.context.now();
        // A moment that is over was used up, or is about to ring.
        let told = self.commands.told.filter(|told| *told > now);
        if let Some(at) = next
            && told.is_none_or(|told| at < told)
        {
            self.commands.told = Some(at);
            self.ask_to_be_woken(at);
        }
    }

    /// Nothing of what was decided is kept: all of it is decided anew, and what has no publisher soon.
    pub(super) fn forget_commands(&mut self) {
        let had_none = std::mem::take(&mut self.commands).book.is_none();
        if had_none && self.edge().is_none() {
            return;
        }
        self.ask_to_be_woken(TimestampMs(self.context.now().0 + RETRY_MS));
    }

    fn ask_to_be_woken(&self, at: TimestampMs) {
        let _ = self.tenant.cast(TenantMsg::WakeAt(self.thing.clone(), at));
    }

    fn is_heard(&self, name: &CommandName) -> bool {
        if self.edge().is_some() {
            return false;
        }
        let topic = ThingTopic::Command(name.clone(), CommandTopic::Request);
        let topic = PlatformTopic::thing(&self.thing, topic).topic();
        let listener = Identity::Thing(self.thing.clone());
        self.context.outside.broker.is_heard_by(self.client.namespace(), &listener, &topic)
    }

    fn command_key(&self, id: CommandId) -> CommandKey {
        (self.client.namespace().clone(), self.thing.clone(), id)
    }

    pub(super) fn command_limits(&self) -> Limits {
        let settings = &self.context.settings;
        Limits {
            open_max: settings.commands_open_max,
            remembered_max: settings.commands_remembered_max,
            remembered_ms: settings.command_remembered_ms,
        }
    }
}

impl Tally {
    /// Counts it.
    pub(super) fn count(&self, context: &Context) {
        let counters = &context.counters;
        counters.commands_taken.add(self.taken);
        counters.commands_sent.add(self.sent);
        let [succeeded, failed, timed_out, rejected, expired] = self.ended;
        counters.commands_succeeded.add(succeeded);
        counters.commands_failed.add(failed);
        counters.commands_timed_out.add(timed_out);
        counters.commands_rejected.add(rejected);
        counters.commands_expired.add(expired);
        counters.commands_repeated.add(self.repeated);
        counters.commands_refused.add(self.refused);
        counters.command_responses_ignored.add(self.ignored);
    }
}

/// Refuses an invocation for a thing that cannot take it, such as one that is not registered.
pub(crate) fn reject_invocation(
    context: &Context,
    client: &Client,
    told: (&ThingId, &CommandName),
    delivery: &Delivery,
    refusal: &Refusal,
) {
    let (reply, asked) = read_invocation(delivery, context.settings.command_bytes_max);
    let id = match asked {
        Ok(invocation) => invocation.id.as_str().into(),
        Err(malformed) => malformed.id,
    };
    context.counters.commands_refused.increase();
    // It promises nothing, so it is not waited for.
    for message in answer::refused(told, &id, refusal, reply.as_ref(), context.now()) {
        client.publish(message);
    }
}

/// The rows of commands that go with a thing.
pub(super) fn delete_rows(changes: &mut Changes, prefix: &[u8]) {
    changes.delete_prefix::<Open>(prefix);
    changes.delete_prefix::<Ended>(prefix);
}

/// Who may speak for a device: it alone.
fn may_answer(identity: &Identity, thing: &ThingId) -> bool {
    matches!(identity, Identity::Thing(own) if own == thing)
}

/// Where the answer goes, and what is asked.
fn read_invocation(
    delivery: &Delivery,
    bytes_max: usize,
) -> (Option<ReplyTo>, Result<Invocation, Malformed>) {
    let correlation = delivery.correlation_data.as_ref();
    let is_long = correlation.is_some_and(|data| data.len() > CORRELATION_BYTES_MAX);
    let reply = delivery.response_topic.clone().map(|topic| ReplyTo {
        topic,
        correlation: correlation.filter(|_| !is_long).map(|data| data.to_vec()),
    });
    let asked = Invocation::parse(&delivery.payload, bytes_max).and_then(|invocation| {
        let refuse = |refusal| Err(Malformed { id: invocation.id.as_str().into(), refusal });
        if is_long {
            let message = format!("correlation data of more than {CORRELATION_BYTES_MAX} bytes");
            return refuse(Refusal::new(RefusalCode::TooLarge, message));
        }
        if invocation.progress && reply.is_none() {
            let message = "progress is told on the response topic, and there is none";
            return refuse(Refusal::new(RefusalCode::Invalid, message).at("progress"));
        }
        Ok(invocation)
    });
    (reply, asked)
}

fn rows<R: Row<Key = CommandKey>>(
    found: Vec<Result<(CommandKey, R), ReadError>>,
) -> Result<Vec<(CommandId, R)>, ReadError> {
    found.into_iter().map(|row| row.map(|((_, _, id), row)| (id, row))).collect()
}
