//! Changes that count only if nobody else has changed the same meanwhile (optimistic locking).
//!
//! Each row that operators change has a `revision`, which rises with each change. Who has read it gives it with the
//! change, which is refused as `version_conflict` if there is another one by now. Tags have that of their driver.

use super::plan::Request;
use proto::{Refusal, RefusalCode};
use schemars::JsonSchema;
use std::sync::Arc;

/// What a request takes besides: the revision that its caller has seen.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "split() takes the revision out of the body before the rest is read")]
pub(super) struct AtRevision<T> {
    /// Refuses the change if there is another revision by now.
    revision: Option<u64>,
    #[serde(flatten)]
    rest: T,
}

/// The revision that a caller has seen, and the request without it.
pub(super) fn split<'a>(request: &Request<'a>) -> Result<(Option<u64>, Request<'a>), Refusal> {
    let mut body = request.body.clone();
    let revision = body.take("revision")?;
    Ok((revision, Request { body, snapshot: Arc::clone(&request.snapshot), ..*request }))
}

/// Changes a row only if it is the one that the caller has seen.
pub(super) fn check(found: u64, expected: Option<u64>) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != found => {
            let message = format!("the revision is {found} now, not {expected}");
            Err(Refusal::new(RefusalCode::VersionConflict, message).at("revision"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_by_another_revision_is_refused() {
        assert_eq!(check(7, None), Ok(()));
        assert_eq!(check(7, Some(7)), Ok(()));
        let refusal = check(7, Some(6)).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (RefusalCode::VersionConflict, Some("revision"))
        );
    }
}
