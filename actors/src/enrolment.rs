//! Enrolments: how a device that is not registered yet becomes a thing, as rules without I/O.
//!
//! A device comes in with the name and the secret of an enrolment and gives its serial number and a nonce of its own.
//! Its secret as a thing is made of the nonce and a key of the enrolment, so that a device whose answer was lost can
//! ask again and gets the same one, as long as nobody has come in as the thing: then the serial number is used up.
//! Whoever gives another nonce gets nothing. Decision 0019.

pub(crate) mod row;

use crate::secret;
use proto::{Refusal, RefusalCode, ThingId, TimestampMs};
use ring::hmac;
use row::{EnrolmentRow, SerialRow, Used};

/// What stands for the serial number in the templates of names and locations.
const SERIAL: &str = "{serial}";

/// The shortest nonce, in bytes: 16 random ones cannot be guessed, in whatever way they are written.
const NONCE_BYTES_MIN: usize = 16;

/// The longest nonce, in bytes.
const NONCE_BYTES_MAX: usize = 128;

/// What becomes of a device that may be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It becomes a new thing.
    New,
    /// It is this thing already, and is told once more.
    Again(ThingId),
    /// It takes this thing over, whose device an operator has given up.
    Takeover(ThingId),
}

/// Whether an enrolment lets anybody in, and this serial number among them. `is_used` tells whether anybody has ever
/// come in as a thing.
pub(crate) fn admit(
    enrolment: &EnrolmentRow,
    found: Option<&SerialRow>,
    nonce: &str,
    now: TimestampMs,
    is_used: impl FnOnce(&ThingId) -> bool,
) -> Result<Admission, Refusal> {
    if enrolment.expires.is_some_and(|end| end <= now) {
        return Err(Refusal::new(RefusalCode::Forbidden, "the enrolment is over"));
    }
    let used = found.and_then(|row| row.used.as_ref());
    let Some(Used { thing, nonce: given, is_reset, .. }) = used else {
        if found.is_none() && enrolment.listed_only {
            let message = "the serial number is not on the list of the enrolment";
            return Err(Refusal::new(RefusalCode::Forbidden, message).at("serial"));
        }
        if enrolment.things_max.is_some_and(|max| enrolment.registered >= max) {
            let message =
                format!("the enrolment has registered its {} things", enrolment.registered);
            return Err(Refusal::new(RefusalCode::QuotaExceeded, message).at("things_max"));
        }
        return Ok(Admission::New);
    };
    if *is_reset {
        return Ok(Admission::Takeover(thing.clone()));
    }
    if *given == fingerprint(nonce) && !is_used(thing) {
        return Ok(Admission::Again(thing.clone()));
    }
    let message = "a device with this serial number is registered; an operator can reset it";
    Err(Refusal::new(RefusalCode::AlreadyExists, message).at("serial"))
}

/// The secret of a thing, which follows from the key of its enrolment and what its device has given.
pub(crate) fn secret_of(key: &[u8], serial: &str, nonce: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    for part in [serial, nonce] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    secret::written(context.sign().as_ref())
}

/// What is kept of a nonce.
pub(crate) fn fingerprint(nonce: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, nonce.as_bytes());
    crate::audit::chain::hex(digest.as_ref())
}

/// Fills the serial number into a template.
pub(crate) fn fill(template: &str, serial: &str) -> String {
    template.replace(SERIAL, serial)
}

/// A template of names has the serial number in it: else it is the name of one thing.
pub(crate) fn check_name(template: &str) -> Result<(), Refusal> {
    if !template.contains(SERIAL) {
        let message = "it must contain `{serial}`";
        return Err(Refusal::new(RefusalCode::Invalid, message).at("name"));
    }
    let tried = ThingId::parse(&fill(template, "0"));
    tried.map(drop).map_err(|it| Refusal::new(RefusalCode::Invalid, it.to_string()).at("name"))
}

/// A nonce is long enough not to be guessed.
pub(crate) fn check_nonce(nonce: &str) -> Result<(), Refusal> {
    match nonce.len() {
        NONCE_BYTES_MIN..=NONCE_BYTES_MAX => Ok(()),
        bytes => {
            let message = format!(
                "{bytes} bytes, where {NONCE_BYTES_MIN} to {NONCE_BYTES_MAX} are asked for"
            );
            Err(Refusal::new(RefusalCode::Invalid, message).at("nonce"))
        }
    }
}

#[cfg(test)]
mod tests;
