//! Who waits for a CONNACK: sockets whose handshakes are not done, bounded in all and for each address.
//!
//! A handshake may last as long as `connect_timeout_ms` allows. Without these bounds whoever opens sockets and says
//! nothing could take all the places there are; with them, one address takes its share and no more. Addresses of
//! IPv6 count by their /64, of which one subscriber has all.

use hashbrown::HashMap;
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// The bits of an IPv6 address that name a subscriber.
const SUBSCRIBER_BITS: u128 = !0 << 64;

/// The places.
#[derive(Debug)]
pub(crate) struct Lobby {
    places: usize,
    places_per_address: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    count: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    lobby: Arc<Lobby>,
    address: Option<IpAddr>,
}

impl Lobby {
    pub(crate) fn new(places: usize, places_per_address: usize) -> Self {
        Self { places, places_per_address, waiting: Mutex::default() }
    }

    /// A place for a socket; `None` if there is none. One whose address is not known yet counts in all only.
    pub(crate) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let address = address.map(subscriber);
        let mut waiting = self.waiting.lock();
        if waiting.count >= self.places {
            return None;
        }
        if let Some(address) = address {
            self.count_in(&mut waiting, address)?;
        }
        waiting.count += 1;
        drop(waiting);
        Some(Place { lobby: Arc::clone(self), address })
    }

    fn count_in(&self, waiting: &mut Waiting, address: IpAddr) -> Option<()> {
        let count = waiting.by_address.entry(address).or_insert(0);
        if *count >= self.places_per_address {
            return None;
        }
        *count += 1;
        Some(())
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.waiting.lock().count
    }
}

impl Place {
    /// Counts the socket for an address as well, now that it is known; `false` if that has no place left.
    pub(crate) fn claim(&mut self, address: IpAddr) -> bool {
        let address = subscriber(address);
        let is_new = self.address.is_none();
        let claimed = is_new && {
            let mut waiting = self.lobby.waiting.lock();
            self.lobby.count_in(&mut waiting, address).is_some()
        };
        if claimed {
            self.address = Some(address);
        }
        claimed || !is_new
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.lobby.waiting.lock();
        waiting.count -= 1;
        if let Some(address) = self.address
            && let Some(count) = waiting.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                waiting.by_address.remove(&address);
            }
        }
    }
}

fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & SUBSCRIBER_BITS)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_takes_its_share_and_all_take_no_more_than_there_is() {
        let lobby = Arc::new(Lobby::new(5, 2));
        let first = lobby.enter(ip("203.0.113.7")).unwrap();
        let _second = lobby.enter(ip("::ffff:203.0.113.7")).unwrap();
        assert!(lobby.enter(ip("203.0.113.7")).is_none());
        let _third = lobby.enter(ip("2001:db8::1")).unwrap();
        let _fourth = lobby.enter(ip("2001:db8::2")).unwrap();
        assert!(lobby.enter(ip("2001:db8::3")).is_none());
        let mut fifth = lobby.enter(None).unwrap();
        assert!(lobby.enter(ip("198.51.100.1")).is_none());
        assert!(!fifth.claim(ip("2001:db8::4").unwrap()));
        drop(first);
        assert!(fifth.claim(ip("203.0.113.7").unwrap()));
        assert_eq!(lobby.count(), 4);
        drop(fifth);
        let _again = lobby.enter(ip("203.0.113.7")).unwrap();
    }

    #[test]
    fn nothing_is_kept_of_those_who_have_left() {
        let lobby = Arc::new(Lobby::new(1000, 10));
        for number in 0..1000u32 {
            let place = lobby.enter(Some(IpAddr::V4(number.into())));
            assert!(place.is_some());
        }
        assert_eq!(lobby.count(), 0);
        assert!(lobby.waiting.lock().by_address.is_empty());
    }
}
