//! Who is let in by an enrolment, as a table, and secrets that follow from nonces.

use super::*;
use std::collections::BTreeSet;

const NONCE: &str = "0123456789abcdef";

fn enrolment() -> EnrolmentRow {
    EnrolmentRow {
        description: None,
        registers: row::Registers::Things,
        model: None,
        name: "pump-{serial}".to_owned(),
        location: None,
        parent: None,
        tags: BTreeSet::new(),
        listed_only: false,
        things_max: None,
        expires: None,
        registered: 2,
        serials: 2,
        key: [7; 32],
        created: TimestampMs(1),
        updated: TimestampMs(1),
        revision: 1,
    }
}

fn used(nonce: &str, is_reset: bool) -> SerialRow {
    let thing = ThingId::parse("pump-1").unwrap();
    let used = Used { thing, nonce: fingerprint(nonce), t: TimestampMs(5), is_reset };
    SerialRow { is_listed: false, used: Some(used) }
}

fn admitted(
    enrolment: &EnrolmentRow,
    found: Option<&SerialRow>,
    has_come_in: bool,
) -> Result<Admission, RefusalCode> {
    let now = TimestampMs(1000);
    admit(enrolment, found, NONCE, now, |_| has_come_in).map_err(|refusal| refusal.code)
}

#[test]
fn who_is_let_in() {
    let thing = ThingId::parse("pump-1").unwrap();
    let open = enrolment();
    let listed = EnrolmentRow { listed_only: true, ..enrolment() };
    let full = EnrolmentRow { things_max: Some(2), ..enrolment() };
    let over = EnrolmentRow { expires: Some(TimestampMs(1000)), ..enrolment() };
    let on_list = SerialRow { is_listed: true, used: None };
    let same = used(NONCE, false);
    let other = used("another nonce of a device", false);
    let reset = used("another nonce of a device", true);
    let cases = [
        (&open, None, false, Ok(Admission::New)),
        (&listed, None, false, Err(RefusalCode::Forbidden)),
        (&listed, Some(&on_list), false, Ok(Admission::New)),
        (&full, None, false, Err(RefusalCode::QuotaExceeded)),
        (&full, Some(&same), false, Ok(Admission::Again(thing.clone()))),
        (&full, Some(&reset), true, Ok(Admission::Takeover(thing.clone()))),
        (&over, None, false, Err(RefusalCode::Forbidden)),
        (&over, Some(&same), false, Err(RefusalCode::Forbidden)),
        (&open, Some(&same), false, Ok(Admission::Again(thing.clone()))),
        (&open, Some(&same), true, Err(RefusalCode::AlreadyExists)),
        (&open, Some(&other), false, Err(RefusalCode::AlreadyExists)),
        (&open, Some(&reset), false, Ok(Admission::Takeover(thing))),
    ];
    for (index, (enrolment, found, has_come_in, expected)) in cases.into_iter().enumerate() {
        assert_eq!(admitted(enrolment, found, has_come_in), expected, "case {index}");
    }
}

#[test]
fn a_secret_follows_from_serial_and_nonce_and_nothing_else_gives_it() {
    let secret = secret_of(&[7; 32], "1", NONCE);
    assert_eq!(secret, secret_of(&[7; 32], "1", NONCE));
    assert!(secret.len() >= 32);
    for other in [
        secret_of(&[8; 32], "1", NONCE),
        secret_of(&[7; 32], "2", NONCE),
        secret_of(&[7; 32], "1", "0123456789abcdeF"),
        // The border between the two counts.
        secret_of(&[7; 32], "10", &NONCE[1..]),
    ] {
        assert_ne!(secret, other);
    }
}

#[test]
fn templates_and_nonces_are_checked() {
    assert!(check_name("pump-{serial}").is_ok());
    assert_eq!(fill("acme/{serial}/{serial}", "7"), "acme/7/7");
    for bad in ["pump", "", "a/{serial}", "pump {serial}"] {
        assert_eq!(check_name(bad).unwrap_err().field.as_deref(), Some("name"), "{bad}");
    }
    for (bytes, is_good) in [(0, false), (15, false), (16, true), (128, true), (129, false)] {
        assert_eq!(check_nonce(&"n".repeat(bytes)).is_ok(), is_good, "{bytes}");
    }
}
