//! Both sides of one durable session in every order: publishing, delivering, committing, losing the connection,
//! restarting the node with what was on disk.
//!
//! Whatever the interleaving: QoS 2 is routed and delivered exactly once, QoS 1 at least once, both in order; no
//! identifier means two messages at once; the receive maximum of the client is never exceeded.

use super::*;
use crate::codec::{Frame, decode, frame};
use crate::message::{Message, Sender};
use bytes::Bytes;
use proptest::prelude::*;
use proto::{ClientId, Identity, TopicName};
use std::collections::{BTreeMap, BTreeSet, HashMap};

mod client;
use client::Client;

const RECEIVE_MAX: u16 = 8;
const WINDOW: u16 = 3;

fn id(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn delivery(number: u32, qos: Qos, seq: u64, progress: Progress) -> Delivery {
    let client_id = ClientId::parse("p").unwrap();
    let message = Message {
        topic: TopicName::parse("t").unwrap(),
        payload: Bytes::copy_from_slice(&number.to_be_bytes()),
        qos,
        retain: false,
        properties: None,
        sender: Arc::new(Sender { client_id, identity: Identity::Platform }),
        expires_at: None,
        gate: None,
    };
    Delivery {
        message: Arc::new(message),
        qos,
        retain: false,
        subscription_ids: None,
        seq: Some(seq),
        progress,
        gate: None,
        hold: None,
    }
}

/// What survives a restart.
#[derive(Default)]
struct Disk {
    /// Rows of the queue: message, QoS, released.
    rows: BTreeMap<u64, (u32, Qos, bool)>,
    received: BTreeSet<NonZeroU16>,
    /// Messages of the client, in the order they were routed.
    routed: Vec<u32>,
    /// Messages for the client that were promised to it.
    promised: Vec<(u32, Qos)>,
}

enum Op {
    Route { number: u32, remember: Option<NonZeroU16> },
    Put { seq: u64, number: u32, qos: Qos },
    Released(u64),
    Forget(NonZeroU16),
    Dequeue(u64),
}

/// The broker's side: the machine, and around it what a connection and a queue do.
struct Server {
    version: Version,
    machine: Option<Machine>,
    kept: Kept,
    disk: Disk,
    /// Submitted and not committed.
    commits: VecDeque<(Op, Option<Arc<AckGate>>)>,
    /// Not sent yet.
    queue: VecDeque<Delivery>,
    next_seq: u64,
    next_number: u32,
    out: BytesMut,
}

impl Server {
    fn new(version: Version) -> Self {
        Self {
            version,
            machine: None,
            kept: Kept::default(),
            disk: Disk::default(),
            commits: VecDeque::new(),
            queue: VecDeque::new(),
            next_seq: 1,
            next_number: 1,
            out: BytesMut::new(),
        }
    }

    fn connect(&mut self) {
        let agreed = Agreed {
            manner: Manner::plain(self.version),
            receive_max: RECEIVE_MAX,
            inflight_max: WINDOW,
            aliases_in_max: 0,
            aliases_out_max: 0,
            expiry_secs: 60,
            expiry_max_secs: 60,
        };
        self.machine = Some(Machine::new(agreed, std::mem::take(&mut self.kept)));
    }

    fn lose(&mut self) {
        self.out.clear();
        if let Some(machine) = self.machine.take() {
            self.kept = machine.into_kept();
        }
    }

    /// The process dies: what was not committed never was.
    fn restart(&mut self) {
        self.lose();
        self.commits.clear();
        self.kept = Kept::default();
        for packet_id in &self.disk.received {
            self.kept.received.restore(*packet_id, false);
        }
        self.next_seq = self.disk.rows.keys().next_back().map_or(1, |last| last + 1);
        self.queue = self
            .disk
            .rows
            .iter()
            .map(|(seq, (number, qos, is_released))| {
                let progress = if *is_released { Progress::Released } else { Progress::MaybeSent };
                delivery(*number, *qos, *seq, progress)
            })
            .collect();
    }

    fn submit(&mut self, op: Op) -> Arc<AckGate> {
        let gate = AckGate::new(&Arc::default());
        self.commits.push_back((op, Some(Arc::clone(&gate))));
        gate
    }

    fn commit(&mut self) {
        let Some((op, gate)) = self.commits.pop_front() else { return };
        match op {
            Op::Route { number, remember } => {
                self.disk.routed.push(number);
                self.disk.received.extend(remember);
            }
            Op::Put { seq, number, qos } => {
                self.disk.rows.insert(seq, (number, qos, false));
                self.disk.promised.push((number, qos));
            }
            Op::Released(seq) => {
                if let Some((_, _, is_released)) = self.disk.rows.get_mut(&seq) {
                    *is_released = true;
                }
            }
            Op::Forget(packet_id) => {
                self.disk.received.remove(&packet_id);
            }
            Op::Dequeue(seq) => {
                self.disk.rows.remove(&seq);
            }
        }
        if let Some(gate) = gate {
            gate.release(Ok(()));
        }
    }

    /// Somebody publishes for the client.
    fn enqueue(&mut self, qos: Qos) {
        let (seq, number) = (self.next_seq, self.next_number);
        (self.next_seq, self.next_number) = (seq + 1, number + 1);
        self.submit(Op::Put { seq, number, qos });
        self.queue.push_back(delivery(number, qos, seq, Progress::New));
    }

    /// Takes a packet of the client.
    fn take(&mut self, packet: Packet) {
        let Some(machine) = &mut self.machine else { return };
        let step = machine.on_packet(packet).expect("the client keeps to the protocol");
        self.act(step);
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Publish(publish) => self.route(&publish),
            Step::Over(over) => {
                self.commits.push_back((Op::Dequeue(over.seq.unwrap()), None));
            }
            Step::Release { packet_id, seq, .. } => {
                let gate = self.submit(Op::Released(seq));
                self.machine.as_mut().unwrap().release_after(packet_id, gate);
            }
            Step::Forget(forget) => {
                let gate = self.submit(Op::Forget(forget.packet_id));
                self.machine.as_mut().unwrap().forget_after(forget, gate);
            }
            Step::Reply(reply) => codec::encode(Manner::plain(self.version), &reply, &mut self.out),
            Step::Nothing => {}
            other => panic!("{other:?}"),
        }
    }

    fn route(&mut self, publish: &Publish) {
        let packet_id = publish.packet_id.unwrap();
        let number = u32::from_be_bytes(publish.payload[..].try_into().unwrap());
        let machine = self.machine.as_mut().unwrap();
        let is_exactly = publish.qos == Qos::ExactlyOnce;
        let kind = if is_exactly { AckKind::PubRec } else { AckKind::PubAck };
        let due = match machine.arrive(publish.qos, Some(packet_id)).unwrap() {
            Arrival::Duplicate(gate) => gate.map_or(Due::Now(Reason::Success), Due::After),
            Arrival::Unfinished => panic!("nothing was for the platform"),
            Arrival::New => {
                let remember = is_exactly.then_some(packet_id);
                let gate = self.submit(Op::Route { number, remember });
                if is_exactly {
                    let (is_stored, for_platform) = (true, false);
                    let entry = Entry { gate: Some(Arc::clone(&gate)), is_stored, for_platform };
                    self.machine.as_mut().unwrap().remember(packet_id, entry);
                }
                Due::After(gate)
            }
        };
        let promise = Promise { kind, packet_id };
        self.machine.as_mut().unwrap().owe(promise, due, &mut self.out);
    }

    /// Sends what is due.
    fn send(&mut self) {
        let now = TimestampMs(0);
        let Some(machine) = &mut self.machine else { return };
        machine.write_due(&mut self.out).expect("nothing fails");
        while let Some(step) = self.machine.as_mut().unwrap().resend(now, |_| true, &mut self.out) {
            self.act(step);
        }
        let machine = self.machine.as_mut().unwrap();
        while let Some(front) = self.queue.front() {
            // A QoS 2 copy is hidden until its commit ends.
            let is_hidden =
                front.qos == Qos::ExactlyOnce && !self.disk.rows.contains_key(&front.seq.unwrap());
            if is_hidden || !machine.may_send(front) {
                break;
            }
            let delivery = self.queue.pop_front().unwrap();
            machine.deliver(delivery, now, &mut self.out).expect("it is short enough");
        }
    }

    /// The next packet on its way to the client.
    fn next_packet(&mut self) -> Option<Packet> {
        let Ok(Frame::Whole { bytes, .. }) = frame(&self.out, usize::MAX) else { return None };
        Some(decode(self.version, &self.out.split_to(bytes)).unwrap())
    }
}

/// Both sides and what is on its way between them.
struct World {
    server: Server,
    client: Client,
    upward: VecDeque<Packet>,
}

impl World {
    fn is_connected(&self) -> bool {
        self.server.machine.is_some()
    }

    fn reconnect(&mut self) {
        if self.is_connected() {
            self.server.lose();
            self.upward.clear();
            self.client.lose();
        } else {
            self.server.connect();
            self.client.resend(&mut self.upward);
        }
    }

    fn restart(&mut self) {
        self.server.restart();
        self.upward.clear();
        self.client.lose();
        self.client.forget_at_least_once();
    }

    fn down(&mut self) {
        if let Some(packet) = self.server.next_packet() {
            self.client.take(packet);
        }
    }

    fn up(&mut self) {
        if let Some(packet) = self.upward.pop_front() {
            self.server.take(packet);
        }
    }

    fn step(&mut self, step: u8) {
        match step {
            0 | 1 => self.server.enqueue(Qos::AtLeastOnce),
            2 | 3 => self.server.enqueue(Qos::ExactlyOnce),
            4 if self.is_connected() => self.client.publish(Qos::AtLeastOnce, &mut self.upward),
            5 if self.is_connected() => self.client.publish(Qos::ExactlyOnce, &mut self.upward),
            6..=9 => self.server.commit(),
            10..=13 => self.server.send(),
            14..=19 => self.down(),
            20..=24 => self.up(),
            25..=29 if self.is_connected() => self.client.reply(&mut self.upward),
            30 => self.reconnect(),
            31 => self.restart(),
            _ => {}
        }
    }

    /// Everything comes to rest.
    fn settle(&mut self) {
        if !self.is_connected() {
            self.reconnect();
        }
        for _ in 0..100_000 {
            while !self.server.commits.is_empty() {
                self.server.commit();
            }
            self.server.send();
            let is_quiet = self.server.out.is_empty()
                && self.upward.is_empty()
                && self.server.commits.is_empty()
                && self.client.is_quiet();
            if is_quiet {
                return;
            }
            self.down();
            self.up();
            self.client.reply(&mut self.upward);
        }
        panic!("it never comes to rest");
    }

    fn check(&self) {
        let Disk { rows, received, routed, promised } = &self.server.disk;
        assert!(rows.is_empty() && received.is_empty(), "{rows:?} {received:?}");
        assert!(self.server.queue.is_empty());
        check_log("routed", routed, &self.client.published);
        check_log("delivered", &self.client.delivered, promised);
    }
}

/// A log holds what was promised: once or at least once, in order of the first time.
fn check_log(name: &str, log: &[u32], promised: &[(u32, Qos)]) {
    let mut seen: HashMap<u32, usize> = HashMap::new();
    let mut firsts = Vec::new();
    for number in log {
        let count = seen.entry(*number).or_default();
        *count += 1;
        if *count == 1 {
            firsts.push(*number);
        }
    }
    for (number, qos) in promised {
        let count = seen.get(number).copied().unwrap_or(0);
        let is_kept = if *qos == Qos::ExactlyOnce { count == 1 } else { count >= 1 };
        assert!(is_kept, "{name}: {number} of {qos:?} came {count} times");
    }
    assert!(firsts.is_sorted(), "{name}: out of order {firsts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_message_arrives_as_its_qos_says(
        v5 in any::<bool>(), steps in proptest::collection::vec(0u8..32, 1..400),
    ) {
        let version = if v5 { Version::V5 } else { Version::V3 };
        let mut world =
            World { server: Server::new(version), client: Client::default(), upward: VecDeque::new() };
        world.reconnect();
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.check();
    }
}
