//! What a connection does with the packets it reads.

use super::{Connection, End, Socket, stay};
use crate::codec::{self, Frame, publish};
use crate::denial::{self, Denial, Limit, Why};
use crate::figures::Counters;
use crate::packet::{Options, Packet, Publish, Reply};
use crate::publisher::Audience;
use crate::reason::Reason;
use crate::session::machine::Step;
use crate::session::received::Arrival;
use crate::space::Wish;
use bytestring::ByteString;
use proto::platform::{EventTopic, filters};
use proto::{Identity, Subscription};
use std::num::{NonZeroU16, NonZeroU32};
use store::Changes;

impl<S: Socket> Connection<S> {
    /// Acts on every whole packet in `bytes`, after what was kept; keeps the rest. Says whether there was any.
    pub(super) fn act_on(&mut self, mut bytes: &[u8]) -> Result<bool, End> {
        let mut has_acted = false;
        while !self.inbox.is_empty() {
            if !self.inbox.complete(&mut bytes).map_err(End::Closed)? {
                return Ok(has_acted);
            }
            self.act_on_kept()?;
            has_acted = true;
        }
        while !bytes.is_empty() {
            if self.has_to_pause() {
                break;
            }
            match codec::frame(bytes, self.inbox.packet_bytes_max()).map_err(End::Closed)? {
                Frame::Incomplete { .. } => break,
                Frame::Whole { body_start, bytes: length, .. } => {
                    let (packet, rest) = bytes.split_at(length);
                    bytes = rest;
                    self.act_on_packet(packet, body_start)?;
                    has_acted = true;
                }
            }
        }
        self.inbox.keep(bytes);
        Ok(has_acted)
    }

    /// Acts on the whole packets that were kept when the connection had to pause.
    pub(super) fn act_on_leftover(&mut self) -> Result<(), End> {
        while !self.has_to_pause() && self.inbox.has_frame() {
            self.act_on_kept()?;
        }
        Ok(())
    }

    fn act_on_kept(&mut self) -> Result<(), End> {
        match self.inbox.take().map_err(End::Closed)? {
            Some((packet, body_start)) => self.act_on_packet(&packet, body_start),
            None => Ok(()),
        }
    }

    fn has_to_pause(&mut self) -> bool {
        self.desk.get().stall.is_some() || self.has_had_its_turn() || self.machine.is_owing_enough()
    }

    fn act_on_packet(&mut self, packet: &[u8], body_start: usize) -> Result<(), End> {
        let version = self.machine.manner.version;
        if packet[0] >> 4 != 3 {
            let packet = codec::decode(version, packet).map_err(End::Closed)?;
            return self.act_on_decoded(packet);
        }
        self.count_publish(packet.len());
        let read = publish::read(version, packet, body_start).map_err(End::Closed)?;
        if read.properties.is_empty() {
            return self.act_on_publish(&read).map_err(End::Closed);
        }
        let publish = read.to_publish().map_err(End::Closed)?;
        self.act_on_decoded(Packet::Publish(Box::new(publish)))
    }

    fn act_on_decoded(&mut self, packet: Packet) -> Result<(), End> {
        match self.machine.on_packet(packet).map_err(End::Closed)? {
            Step::Publish(publish) => {
                let arrival = self.machine.arrive(publish.qos, publish.packet_id);
                let arrival = arrival.map_err(End::Closed)?;
                self.act_on_rare_publish(*publish, arrival).map_err(End::Closed)?;
            }
            Step::Subscribe { packet_id, id, filters } => {
                self.subscribe(packet_id, id, filters).map_err(End::Closed)?;
            }
            Step::Unsubscribe { packet_id, filters } => self.unsubscribe(packet_id, filters),
            Step::Authenticate(step) => self.on_auth(&step).map_err(End::Closed)?,
            Step::Leave { with_will } => return Err(End::Left { with_will }),
            step => self.act_on_exchange(step),
        }
        Ok(())
    }

    /// The way of nearly all traffic: no properties, nothing allocated but the message itself.
    fn act_on_publish(&mut self, read: &publish::Incoming<'_>) -> Result<(), Reason> {
        match self.machine.arrive(read.qos, read.packet_id)? {
            Arrival::New => {
                let routed =
                    self.publisher.publish_read(&self.space, read, &mut self.desk.get().outbox);
                self.after_publish(read.qos, read.packet_id, routed)
            }
            arrival => self.act_on_rare_publish(read.to_publish()?, arrival),
        }
    }

    fn act_on_rare_publish(&mut self, publish: Publish, arrival: Arrival) -> Result<(), Reason> {
        let (qos, packet_id) = (publish.qos, publish.packet_id);
        let audience = match arrival {
            Arrival::New => Audience::Everybody,
            Arrival::Unfinished => Audience::Platform,
            Arrival::Duplicate(gate) => {
                self.acknowledge_again(packet_id, gate);
                return Ok(());
            }
        };
        let outbox = &mut self.desk.get().outbox;
        let routed =
            self.publisher.publish_decoded(&self.space, publish, audience, self.now, outbox);
        self.after_publish(qos, packet_id, routed)
    }

    fn subscribe(
        &mut self,
        packet_id: NonZeroU16,
        id: Option<NonZeroU32>,
        filters: Vec<(ByteString, Options)>,
    ) -> Result<(), Reason> {
        let is_own_kept_from_a_group = |(filter, options): &(ByteString, Options)| {
            options.no_local && filter.starts_with(proto::topic::SHARE_PREFIX)
        };
        if filters.iter().any(is_own_kept_from_a_group) {
            // MQTT 5.0 3.8.3-4.
            return Err(Reason::ProtocolError);
        }
        let wishes: Vec<Result<Wish, Denial>> =
            filters.into_iter().map(|(filter, options)| self.wish(filter, options, id)).collect();
        let takes_commands = self.takes_commands(&wishes);
        let (outcomes, replay, changes) =
            self.space.subscribe(&self.session, wishes, self.desk.get().replay.len());
        self.desk.get().replay.extend(replay);
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        let counters = &self.space.shared().counters;
        Counters::add(&counters.subscriptions_refused, refused as u64);
        let (outcomes, why) = denial::told(outcomes);
        self.reply_after(changes, Reply::SubAck { packet_id, outcomes, why });
        if takes_commands {
            let Self { space, session, live, .. } = &*self;
            stay::tell(space, session, live, EventTopic::ClientListening, None);
        }
        Ok(())
    }

    /// Whether a device asks for requests of its commands, which may be waiting for that.
    fn takes_commands(&self, wishes: &[Result<Wish, Denial>]) -> bool {
        let Identity::Thing(thing) = self.session.identity() else { return false };
        wishes.iter().flatten().any(|wish| {
            let Subscription { group, filter } = &wish.subscription;
            group.is_none() && filters::takes_commands(filter, thing)
        })
    }

    fn wish(
        &self,
        filter: ByteString,
        options: Options,
        id: Option<NonZeroU32>,
    ) -> Result<Wish, Denial> {
        let limits = &self.space.shared().limits;
        let (invalid, bytes) = (Reason::TopicFilterInvalid, filter.len());
        if bytes > limits.topic_bytes_max {
            return Err(Denial::over(invalid, Limit::TopicBytes, bytes, limits.topic_bytes_max));
        }
        let subscription =
            Subscription::parse(filter).map_err(|error| Denial::new(invalid, Why::Topic(error)))?;
        let levels = subscription.filter.levels().count();
        if levels > limits.topic_levels_max {
            return Err(Denial::over(invalid, Limit::TopicLevels, levels, limits.topic_levels_max));
        }
        let permissions = self.session.permissions();
        let Some(qos_max) = permissions.subscribe(&subscription.filter) else {
            let client = &self.session.sender().client_id;
            tracing::info!(%client, filter = %subscription.filter, "subscription not permitted");
            let rule = "the client may not subscribe to this filter";
            return Err(permissions.refuse_subscribe(&subscription.filter, rule));
        };
        let options = Options { qos: options.qos.min(qos_max), ..options };
        Ok(Wish { subscription, options, id })
    }

    fn unsubscribe(&mut self, packet_id: NonZeroU16, filters: Vec<ByteString>) {
        let (subscriptions, errors): (Vec<_>, Vec<_>) = filters
            .into_iter()
            .map(|filter| match Subscription::parse(filter) {
                Ok(subscription) => (Some(subscription), None),
                Err(error) => (None, Some(error)),
            })
            .unzip();
        let (existed, changes) = self.space.unsubscribe(&self.session, &subscriptions);
        let outcome = |(error, existed)| match error {
            None => Ok(existed),
            Some(error) => Err(Denial::new(Reason::TopicFilterInvalid, Why::Topic(error))),
        };
        let outcomes = errors.into_iter().zip(existed).map(outcome).collect();
        let (outcomes, why) = denial::told(outcomes);
        self.reply_after(changes, Reply::UnsubAck { packet_id, outcomes, why });
    }

    /// Sends a reply once `changes` are committed, or at once if there are none.
    fn reply_after(&mut self, changes: Changes, reply: Reply) {
        if changes.is_empty() {
            codec::encode(self.machine.manner, &reply, &mut self.desk.get().out);
            return;
        }
        let gate = self.commit(changes);
        self.machine.defer(gate, reply);
    }
}
