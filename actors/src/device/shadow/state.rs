//! Rules of one shadow, without I/O: [`ShadowState::decide`] says what a request leads to.
//!
//! The event of a shadow is its whole new state, which is what the store keeps; so a decision
//! carries the next state instead of events to apply. A deleted shadow keeps its version, which
//! goes on rising when the shadow is written again, so that an old expectation can never match a
//! new shadow.

use super::merge::Stamped;
use proto::shadow::{
    Accepted, Delta, Limits, Patch, PlainRequest, Section, Sections, UpdateRequest,
};
use proto::{Refusal, RefusalCode};
use serde_json::Value as Json;

/// One shadow, classic or named.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShadowState {
    /// Rises with every update; 0 if there never was one.
    pub(crate) version: u64,
    /// Whether the shadow is there; a deleted one leaves its version behind.
    pub(crate) exists: bool,
    /// What apps want.
    pub(crate) desired: Stamped,
    /// What the device says.
    pub(crate) reported: Stamped,
    /// At an edge node: the shadow of the hub that it was last made to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) of_hub: Option<Place>,
}

/// The place of a shadow among all that it has been: its version, and whether it was deleted then, which has the
/// version of what it ends.
pub(crate) type Place = (u64, bool);

/// What is asked of a shadow.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Read it whole.
    Get(PlainRequest),
    /// Change it.
    Update(UpdateRequest),
    /// Remove it.
    Delete(PlainRequest),
}

/// What a request leads to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    /// The state to keep, if it changes.
    pub(crate) next: Option<ShadowState>,
    /// The answer on `accepted`.
    pub(crate) accepted: Accepted,
    /// The message on `update/delta`, if desired and reported differ after an update.
    pub(crate) delta: Option<Delta>,
    /// Whether the shadow before and after is told on `update/documents`, as of every update.
    pub(crate) is_update: bool,
}

impl Command {
    /// The token to echo.
    pub(crate) fn client_token(&self) -> Option<String> {
        match self {
            Self::Get(it) | Self::Delete(it) => it.client_token.clone(),
            Self::Update(it) => it.client_token.clone(),
        }
    }
}

impl ShadowState {
    /// Its place among all that it has been.
    pub(crate) fn place(&self) -> Place {
        (self.version, !self.exists)
    }

    /// What `command` leads to at `now_secs`. Changes nothing itself.
    pub(crate) fn decide(
        &self,
        command: Command,
        limits: &Limits,
        now_secs: u64,
    ) -> Result<Decision, Refusal> {
        match command {
            Command::Get(request) => self.decide_get(request, now_secs),
            Command::Update(request) => self.decide_update(request, limits, now_secs),
            Command::Delete(request) => self.decide_delete(request, now_secs),
        }
    }

    fn decide_get(&self, request: PlainRequest, now_secs: u64) -> Result<Decision, Refusal> {
        self.must_exist()?;
        self.must_have_version(request.version)?;
        let delta = self.desired.difference(&self.reported.state);
        let copy = |section: &Section| unless_empty(section).cloned().map(Json::Object);
        let accepted = Accepted {
            state: Some(Sections {
                desired: copy(&self.desired.state),
                reported: copy(&self.reported.state),
                delta: delta.map(|it| Json::Object(it.state)),
            }),
            metadata: Some(Sections {
                desired: copy(&self.desired.metadata),
                reported: copy(&self.reported.metadata),
                delta: None,
            }),
            version: self.version,
            timestamp: now_secs,
            client_token: request.client_token,
        };
        Ok(Decision { next: None, accepted, delta: None, is_update: false })
    }

    fn decide_update(
        &self,
        request: UpdateRequest,
        limits: &Limits,
        now_secs: u64,
    ) -> Result<Decision, Refusal> {
        self.must_have_version(request.version)?;
        let mut next = self.clone();
        next.exists = true;
        next.version += 1;
        patch(&mut next.desired, request.desired.as_ref(), now_secs);
        patch(&mut next.reported, request.reported.as_ref(), now_secs);
        next.must_fit(limits)?;

        let UpdateRequest { desired, reported, client_token, .. } = request;
        let metadata = Sections {
            desired: echoed(&next.desired, desired.as_ref()),
            reported: echoed(&next.reported, reported.as_ref()),
            delta: None,
        };
        let accepted = Accepted {
            state: Some(Sections {
                desired: desired.map(Patch::into_json),
                reported: reported.map(Patch::into_json),
                delta: None,
            }),
            metadata: Some(metadata),
            version: next.version,
            timestamp: now_secs,
            client_token: client_token.clone(),
        };
        let delta = next.desired.difference(&next.reported.state).map(|it| Delta {
            version: next.version,
            timestamp: now_secs,
            state: it.state,
            metadata: it.metadata,
            client_token,
        });
        Ok(Decision { next: Some(next), accepted, delta, is_update: true })
    }

    fn decide_delete(&self, request: PlainRequest, now_secs: u64) -> Result<Decision, Refusal> {
        self.must_exist()?;
        self.must_have_version(request.version)?;
        let next = Self { version: self.version, of_hub: self.of_hub, ..Self::default() };
        let accepted = Accepted {
            state: None,
            metadata: None,
            version: self.version,
            timestamp: now_secs,
            client_token: request.client_token,
        };
        Ok(Decision { next: Some(next), accepted, delta: None, is_update: false })
    }

    fn must_exist(&self) -> Result<(), Refusal> {
        if self.exists {
            return Ok(());
        }
        Err(Refusal::new(RefusalCode::NotFound, "there is no such shadow"))
    }

    fn must_have_version(&self, expected: Option<u64>) -> Result<(), Refusal> {
        match expected {
            Some(expected) if expected != self.version => {
                let message = format!("the shadow has version {}, not {expected}", self.version);
                Err(Refusal::new(RefusalCode::VersionConflict, message).at("version"))
            }
            _ => Ok(()),
        }
    }

    /// The sections alone count, as a device's memory holds them; metadata is ours.
    fn must_fit(&self, limits: &Limits) -> Result<(), Refusal> {
        let sections = [&self.desired.state, &self.reported.state];
        let bytes: usize = sections.into_iter().map(proto::shadow::json_len).sum();
        if bytes <= limits.bytes_max {
            return Ok(());
        }
        let message = format!("the shadow would have {bytes} bytes, at most {}", limits.bytes_max);
        Err(Refusal::new(RefusalCode::TooLarge, message))
    }
}

fn patch(section: &mut Stamped, patch: Option<&Patch>, now_secs: u64) {
    match patch {
        None => {}
        Some(Patch::Clear) => *section = Stamped::default(),
        Some(Patch::Merge(patch)) => section.merge(patch, now_secs),
    }
}

fn echoed(section: &Stamped, patch: Option<&Patch>) -> Option<Json> {
    match patch {
        Some(Patch::Merge(patch)) => {
            let stamps = section.metadata_of(patch);
            (!stamps.is_empty()).then_some(Json::Object(stamps))
        }
        Some(Patch::Clear) | None => None,
    }
}

pub(super) fn unless_empty(section: &Section) -> Option<&Section> {
    (!section.is_empty()).then_some(section)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LIMITS: Limits = Limits { bytes_max: 120, depth_max: 8 };

    /// Runs requests one after the other: `get`, `delete` or an update's payload.
    fn run(state: &mut ShadowState, request: &str) -> Result<Decision, Refusal> {
        let plain = |text: &str| PlainRequest::parse(text.as_bytes(), &LIMITS).unwrap();
        let command = match request.split_once(' ').unwrap_or((request, "")) {
            ("get", rest) => Command::Get(plain(rest)),
            ("delete", rest) => Command::Delete(plain(rest)),
            _ => Command::Update(UpdateRequest::parse(request.as_bytes(), &LIMITS).unwrap()),
        };
        let decision = state.decide(command, &LIMITS, 9)?;
        if let Some(next) = &decision.next {
            *state = next.clone();
        }
        Ok(decision)
    }

    fn json_of<T: serde::Serialize>(it: &T) -> Json {
        serde_json::to_value(it).unwrap()
    }

    #[test]
    fn an_update_answers_with_accepted_and_delta() {
        let mut state = ShadowState::default();
        run(&mut state, r#"{"state":{"reported":{"on":false,"speed":3}}}"#).unwrap();
        let update = r#"{"state":{"desired":{"on":true,"speed":3}},"clientToken":"t"}"#;
        let decision = run(&mut state, update).unwrap();
        assert_eq!(
            json_of(&decision.accepted),
            json!({
                "state": {"desired": {"on": true, "speed": 3}},
                "metadata": {"desired": {"on": {"timestamp": 9}, "speed": {"timestamp": 9}}},
                "version": 2, "timestamp": 9, "clientToken": "t",
            })
        );
        assert_eq!(
            json_of(&decision.delta),
            json!({
                "version": 2, "timestamp": 9, "clientToken": "t",
                "state": {"on": true}, "metadata": {"on": {"timestamp": 9}},
            })
        );
        assert!(decision.is_update);
    }

    #[test]
    fn a_get_shows_sections_that_are_there_and_the_delta() {
        let mut state = ShadowState::default();
        run(&mut state, r#"{"state":{"desired":{"a":1}}}"#).unwrap();
        let decision = run(&mut state, r#"get {"clientToken":"g"}"#).unwrap();
        assert_eq!(decision.next, None);
        assert_eq!(
            json_of(&decision.accepted),
            json!({
                "state": {"desired": {"a": 1}, "delta": {"a": 1}},
                "metadata": {"desired": {"a": {"timestamp": 9}}},
                "version": 1, "timestamp": 9, "clientToken": "g",
            })
        );
        let settled = run(&mut state, r#"{"state":{"reported":{"a":1}}}"#).unwrap();
        assert_eq!(settled.delta, None);
        let decision = run(&mut state, "get").unwrap();
        assert_eq!(json_of(&decision.accepted)["state"].get("delta"), None);
    }

    #[test]
    fn an_unexpected_version_conflicts_and_changes_nothing() {
        let mut state = ShadowState::default();
        for (version, expected) in [(1, Err(409)), (0, Ok(1)), (0, Err(409)), (1, Ok(2))] {
            let update = format!(r#"{{"state":{{"desired":{{"a":1}}}},"version":{version}}}"#);
            let outcome = run(&mut state, &update);
            let outcome = outcome.map(|it| it.accepted.version).map_err(|it| it.code.number());
            assert_eq!(outcome, expected, "version {version}");
        }
        assert_eq!(run(&mut state, r#"delete {"version":9}"#).unwrap_err().code.number(), 409);
    }

    #[test]
    fn the_version_goes_on_after_a_delete() {
        let mut state = ShadowState::default();
        assert_eq!(run(&mut state, "get").unwrap_err().code.number(), 404);
        assert_eq!(run(&mut state, "delete").unwrap_err().code.number(), 404);
        run(&mut state, r#"{"state":{"desired":{"a":1}}}"#).unwrap();
        let deleted = run(&mut state, r#"delete {"clientToken":"d"}"#).unwrap();
        assert_eq!(
            json_of(&deleted.accepted),
            json!({"version": 1, "timestamp": 9, "clientToken": "d"})
        );
        assert_eq!(run(&mut state, "get").unwrap_err().code.number(), 404);
        assert!(state.desired.state.is_empty());
        let again = run(&mut state, r#"{"state":{"reported":{"b":1}}}"#).unwrap();
        assert_eq!(again.accepted.version, 2);
    }

    #[test]
    fn a_null_section_is_cleared_and_echoed_as_null() {
        let mut state = ShadowState::default();
        run(&mut state, r#"{"state":{"desired":{"a":1},"reported":{"a":2}}}"#).unwrap();
        let decision = run(&mut state, r#"{"state":{"desired":null}}"#).unwrap();
        assert_eq!(json_of(&decision.accepted)["state"], json!({"desired": null}));
        assert_eq!(json_of(&decision.accepted)["metadata"], json!({}));
        assert_eq!(decision.delta, None);
        assert!(state.desired.state.is_empty() && !state.reported.state.is_empty());
    }

    #[test]
    fn a_key_deleted_from_reported_is_wanted_again() {
        let mut state = ShadowState::default();
        run(&mut state, r#"{"state":{"desired":{"a":1},"reported":{"a":1}}}"#).unwrap();
        let decision = run(&mut state, r#"{"state":{"reported":{"a":null}}}"#).unwrap();
        assert_eq!(json_of(&decision.delta)["state"], json!({"a": 1}));
    }

    #[test]
    fn a_shadow_that_would_grow_too_large_stays_as_it_was() {
        let mut state = ShadowState::default();
        let update = |key| format!(r#"{{"state":{{"desired":{{"{key}":"{}"}}}}}}"#, "x".repeat(60));
        run(&mut state, &update("a")).unwrap();
        let before = state.clone();
        assert_eq!(run(&mut state, &update("b")).unwrap_err().code.number(), 413);
        assert_eq!(state, before);
        run(&mut state, &update("a")).unwrap();
    }
}
