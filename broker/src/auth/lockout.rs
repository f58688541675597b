//! Who has failed to prove who it is, how often, and for how long it is not listened to (OWASP ASVS 2.2.1).
//!
//! Three things are watched: a name at an address, a name anywhere, an address with any name. Many failures of a
//! name at an address lock just that pair, so that nobody can lock another out from elsewhere, and a wrong password
//! in one machine behind a shared address locks that machine only. Failures that are spread, over names or over
//! addresses, lock the name or address for whoever has not come in there before; what is guarded by a keyed hash of
//! a secret that was made, and cannot be guessed, is let through all the same by the caller.
//!
//! Plain state over a clock that is passed in. What is locked is never forgotten before its time, so that a flood of
//! other names cannot push an entry out; once nothing can be forgotten, nothing more is watched, and that is counted.

use super::config::LockoutConfig;
use hashbrown::HashMap;
use proto::{Namespace, TimestampMs, UserId};
use std::net::{IpAddr, Ipv6Addr};

/// How many entries are looked at to find one that can be forgotten.
const LOOKED_AT: usize = 16;

/// How long somebody who has come in is known at an address, in milliseconds: a day.
const KNOWN_MS: u64 = 24 * 3600 * 1000;

/// A name in its namespace.
type Name = (Namespace, UserId);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Watched {
    Pair(IpAddr, Name),
    Name(Name),
    Address(IpAddr),
}

#[derive(Debug, Default)]
struct Entry {
    failures: u32,
    window_began: u64,
    locked_until: u64,
    /// Locks since the last success; each is twice as long as the one before.
    locks: u32,
    /// When it last came in; 0 if never.
    came_in: u64,
    touched: u64,
}

/// What came of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// It has been counted.
    Counted,
    /// It has been counted, and something is locked now.
    Locked,
    /// There was no room to count it.
    NoRoom,
}

/// Whether somebody is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Yes.
    Open,
    /// Only with a secret that cannot be guessed.
    Wary,
    /// No: this name at this address has failed too often.
    Locked,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lockout {
    config: LockoutConfig,
    entries: HashMap<Watched, Entry>,
}

impl Lockout {
    pub(crate) fn new(config: LockoutConfig) -> Self {
        Self { config, entries: HashMap::new() }
    }

    /// How `name` stands at `address`.
    pub(crate) fn standing(
        &self,
        now: TimestampMs,
        address: IpAddr,
        name: Option<&Name>,
    ) -> Standing {
        let address = network(address);
        let is_locked =
            |watched: &Watched| self.entries.get(watched).is_some_and(|it| it.locked_until > now.0);
        let pair = name.map(|name| Watched::Pair(address, name.clone()));
        if let Some(pair) = &pair {
            if is_locked(pair) {
                return Standing::Locked;
            }
            let came_in = self.entries.get(pair).map_or(0, |entry| entry.came_in);
            if came_in != 0 && now.0 < came_in + KNOWN_MS {
                return Standing::Open;
            }
        }
        let is_wary = is_locked(&Watched::Address(address))
            || name.is_some_and(|name| is_locked(&Watched::Name(name.clone())));
        if is_wary { Standing::Wary } else { Standing::Open }
    }

    /// `name`, which exists if it is given, has failed at `address`.
    pub(crate) fn failed(
        &mut self,
        now: TimestampMs,
        address: IpAddr,
        name: Option<&Name>,
    ) -> Noted {
        if self.config.failures_max == 0 {
            return Noted::Counted;
        }
        let address = network(address);
        let spread = self.config.spread_failures_max;
        let mut noted = self.count(now, Watched::Address(address), spread);
        if let Some(name) = name {
            noted = worse(noted, self.count(now, Watched::Name(name.clone()), spread));
            let pair = Watched::Pair(address, name.clone());
            noted = worse(noted, self.count(now, pair, self.config.failures_max));
        }
        noted
    }

    /// `name` has come in at `address` with a secret that could be guessed.
    pub(crate) fn came_in(&mut self, now: TimestampMs, address: IpAddr, name: &Name) {
        let pair = Watched::Pair(network(address), name.clone());
        if self.config.failures_max == 0 || !self.make_room(now, &pair) {
            return;
        }
        let entry = self.entries.entry(pair).or_default();
        *entry = Entry { came_in: now.0, touched: now.0, ..Entry::default() };
    }

    fn count(&mut self, now: TimestampMs, watched: Watched, failures_max: u32) -> Noted {
        if !self.make_room(now, &watched) {
            return Noted::NoRoom;
        }
        let config = self.config;
        let entry = self.entries.entry(watched).or_default();
        entry.touched = now.0;
        if now.0 >= entry.window_began + config.window_secs * 1000 {
            entry.window_began = now.0;
            // Half of what was: a window that slides, in two numbers.
            entry.failures /= 2;
        }
        entry.failures += 1;
        if entry.failures < failures_max {
            return Noted::Counted;
        }
        let secs = config.first_secs.saturating_mul(1 << entry.locks.min(20));
        entry.locked_until = now.0 + secs.min(config.longest_secs) * 1000;
        entry.locks += 1;
        entry.failures = 0;
        Noted::Locked
    }

    /// Makes sure that there is room for an entry; forgets one that is not locked if it must.
    fn make_room(&mut self, now: TimestampMs, watched: &Watched) -> bool {
        if self.entries.len() < self.config.watched_max || self.entries.contains_key(watched) {
            return true;
        }
        // The order of the map is random for each start: nobody can choose what is looked at.
        let start = (now.0 as usize).wrapping_mul(0x9E37_79B9) % self.entries.len().min(4096);
        let (behind, before) = (self.entries.iter().skip(start), self.entries.iter());
        let looked_at = behind.chain(before).take(LOOKED_AT);
        let open = looked_at.filter(|(_, entry)| entry.locked_until <= now.0);
        let oldest =
            open.min_by_key(|(_, entry)| entry.touched).map(|(watched, _)| watched.clone());
        match oldest {
            Some(oldest) => self.entries.remove(&oldest).is_some(),
            None => false,
        }
    }
}

fn worse(a: Noted, b: Noted) -> Noted {
    match (a, b) {
        (Noted::Locked, _) | (_, Noted::Locked) => Noted::Locked,
        (Noted::NoRoom, _) | (_, Noted::NoRoom) => Noted::NoRoom,
        _ => Noted::Counted,
    }
}

/// What one subscriber of a network has: an IPv4 address, or the /64 of an IPv6 address (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests;
