//! The lock-out against the attacks that it is for.

use super::*;

fn config() -> LockoutConfig {
    LockoutConfig {
        failures_max: 3,
        spread_failures_max: 6,
        window_secs: 60,
        first_secs: 10,
        longest_secs: 35,
        watched_max: 20,
    }
}

fn name(text: &str) -> Name {
    (Namespace::default(), UserId::parse(text).unwrap())
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn at(secs: u64) -> TimestampMs {
    TimestampMs(1_000_000 + secs * 1000)
}

#[test]
fn a_name_is_locked_where_it_fails_longer_each_time_up_to_a_bound() {
    let mut lockout = Lockout::new(LockoutConfig { spread_failures_max: 1000, ..config() });
    let joe = name("joe");
    let mut now = 0;
    for lasts in [10, 20, 35, 35] {
        assert_eq!(lockout.failed(at(now), address(1), Some(&joe)), Noted::Counted);
        assert_eq!(lockout.failed(at(now), address(1), Some(&joe)), Noted::Counted);
        assert_eq!(lockout.failed(at(now), address(1), Some(&joe)), Noted::Locked);
        let standing = |secs| lockout.standing(at(now + secs), address(1), Some(&joe));
        assert_eq!(standing(lasts - 1), Standing::Locked, "{lasts}");
        assert_eq!(standing(lasts), Standing::Open, "{lasts}");
        assert_eq!(lockout.standing(at(now), address(2), Some(&joe)), Standing::Open);
        assert_eq!(lockout.standing(at(now), address(1), Some(&name("ann"))), Standing::Open);
        now += lasts;
    }
    lockout.came_in(at(now), address(1), &joe);
    for _ in 0..2 {
        assert_eq!(lockout.failed(at(now), address(1), Some(&joe)), Noted::Counted);
    }
}

#[test]
fn failures_long_ago_weigh_less() {
    let mut lockout = Lockout::new(config());
    for minute in 0..20 {
        let noted = lockout.failed(at(minute * 61), address(1), Some(&name("joe")));
        assert_eq!(noted, Noted::Counted, "{minute}");
    }
}

#[test]
fn many_names_from_one_address_do_not_lock_out_who_has_come_in_there() {
    let mut lockout = Lockout::new(config());
    lockout.came_in(at(0), address(1), &name("joe"));
    for _ in 0..6 {
        lockout.failed(at(1), address(1), None);
    }
    let standing = |who: &str, from| lockout.standing(at(2), address(from), Some(&name(who)));
    assert_eq!(standing("ann", 1), Standing::Wary);
    assert_eq!(standing("joe", 1), Standing::Open);
    assert_eq!(standing("ann", 2), Standing::Open);
}

#[test]
fn one_name_from_many_addresses_is_guarded_where_it_has_not_come_in() {
    let mut lockout = Lockout::new(config());
    lockout.came_in(at(0), address(200), &name("joe"));
    for from in 1..=6 {
        lockout.failed(at(1), address(from), Some(&name("joe")));
    }
    assert_eq!(lockout.standing(at(2), address(99), Some(&name("joe"))), Standing::Wary);
    assert_eq!(lockout.standing(at(2), address(200), Some(&name("joe"))), Standing::Open);
}

#[test]
fn a_flood_of_names_pushes_no_lock_out_and_is_bounded() {
    let mut lockout = Lockout::new(config());
    for _ in 0..3 {
        lockout.failed(at(0), address(1), Some(&name("joe")));
    }
    for number in 0..5000_u32 {
        lockout.failed(
            at(1),
            IpAddr::from(number.to_be_bytes()),
            Some(&name(&format!("n{number}"))),
        );
        assert!(lockout.entries.len() <= 20);
    }
    assert_eq!(lockout.standing(at(2), address(1), Some(&name("joe"))), Standing::Locked);
}

#[test]
fn a_table_full_of_locks_says_that_it_has_no_room() {
    let mut lockout =
        Lockout::new(LockoutConfig { failures_max: 1, spread_failures_max: 1, ..config() });
    let mut last = Noted::Counted;
    for number in 0..40_u8 {
        last = lockout.failed(at(0), address(number), None);
    }
    assert_eq!(last, Noted::NoRoom);
    assert_eq!(lockout.failed(at(3600), address(77), None), Noted::Locked, "and later it has");
}

#[test]
fn the_addresses_of_one_ipv6_network_are_one() {
    let mut lockout = Lockout::new(config());
    for host in 0..3_u16 {
        let from = Ipv6Addr::new(0x2001, 0xDB8, 0, 1, 0, 0, 0, host);
        lockout.failed(at(0), from.into(), Some(&name("joe")));
    }
    let same = IpAddr::from(Ipv6Addr::new(0x2001, 0xDB8, 0, 1, 9, 9, 9, 9));
    let other = IpAddr::from(Ipv6Addr::new(0x2001, 0xDB8, 0, 2, 0, 0, 0, 0));
    assert_eq!(lockout.standing(at(1), same, Some(&name("joe"))), Standing::Locked);
    assert_eq!(lockout.standing(at(1), other, Some(&name("joe"))), Standing::Open);
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    assert_eq!(network(mapped), address(1));
}
