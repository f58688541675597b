//! Which records go up next: those of now, and behind them those that waited.

use super::cursor::{Cursor, Next, ShipmentMax};
use super::tape::Tape;
use proto::uplink::{Lane, Range};
use store::Store;

/// Records that may wait without a lane of their own: they are sent in a moment.
const BACKLOG_MIN: u64 = 4096;

/// Each outage during a backfill adds a run of numbers that the hub has to remember; beyond so many, all goes in order.
const RUNS_MAX: usize = 256;

/// Shipments under way in one lane.
const IN_FLIGHT_MAX: usize = 4;

/// The most of one shipment: short enough that what is new does not wait long behind what waited, and that subscribers
/// at the hub have room for it.
const SHIPMENT_MAX: ShipmentMax = ShipmentMax { records: 1_000, bytes: 128 * 1024 };

/// The lanes of one connection.
pub(super) struct Lanes {
    live: Cursor,
    backfill: Option<Cursor>,
    live_in_flight: usize,
    backfill_in_flight: usize,
}

/// What is to be sent.
pub(super) enum Due {
    Shipment(Lane, proto::uplink::Block),
    Lost(Range),
}

impl Lanes {
    /// Those of a connection that begins now.
    pub(super) fn new(tape: &Tape) -> Self {
        let shelf = tape.shelf();
        let (next, _) = shelf.next();
        let acked = shelf.acked();
        // Of what lies before these the hub may have newer values.
        let is_behind = acked.end();
        let backlog = next - acked.end() + acked.missing_from(0);
        let has_lane = backlog > BACKLOG_MIN && acked.runs().len() < RUNS_MAX;
        let live_from = if has_lane { next } else { is_behind };
        let backfill =
            acked.first_gap(0, live_from).map(|gap| Cursor::new(gap.first, Some(live_from)));
        Self {
            live: Cursor::new(live_from, None),
            backfill,
            live_in_flight: 0,
            backfill_in_flight: 0,
        }
    }

    /// The next thing to send, if there is any and the windows allow.
    pub(super) fn next(&mut self, tape: &Tape, store: &Store) -> Option<Due> {
        if self.live_in_flight < IN_FLIGHT_MAX {
            match self.live.read(tape, store, SHIPMENT_MAX) {
                Next::Shipment(block) => {
                    self.live_in_flight += 1;
                    return Some(Due::Shipment(Lane::Live, block));
                }
                Next::Lost(range) => return Some(Due::Lost(range)),
                Next::Nothing => {}
            }
        }
        let backfill = self.backfill.as_mut()?;
        // What is new and still waits leaves only a part of the line to what waited.
        let is_pressed = self.live_in_flight >= IN_FLIGHT_MAX && self.live.has_more(tape);
        let in_flight_max = if is_pressed { 1 } else { IN_FLIGHT_MAX };
        if self.backfill_in_flight >= in_flight_max {
            return None;
        }
        match backfill.read(tape, store, SHIPMENT_MAX) {
            Next::Shipment(block) => {
                self.backfill_in_flight += 1;
                Some(Due::Shipment(Lane::Backfill, block))
            }
            Next::Lost(range) => Some(Due::Lost(range)),
            Next::Nothing => {
                if backfill.is_done() {
                    self.backfill = None;
                }
                None
            }
        }
    }

    /// A shipment has come to its end.
    pub(super) fn ended(&mut self, lane: Lane) {
        let in_flight = match lane {
            Lane::Live => &mut self.live_in_flight,
            Lane::Backfill => &mut self.backfill_in_flight,
        };
        *in_flight = in_flight.saturating_sub(1);
    }

    /// Whether records that waited are on their way.
    pub(super) fn is_filling(&self) -> bool {
        self.backfill.is_some()
    }

    /// From which number on nothing is being read: blocks from there on may be packed.
    pub(super) fn packable_from(&self) -> u64 {
        // A lane reads on from where it is; some blocks further nothing is open.
        self.backfill.as_ref().map_or(u64::MAX, |cursor| cursor.at() + BACKLOG_MIN * 8)
    }
}
