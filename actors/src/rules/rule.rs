//! What a rule says.

use proto::{CommandName, Datum, Refusal, RefusalCode, ThingId, UnsPath};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The most actions of one rule.
pub(crate) const ACTIONS_MAX: usize = 8;

/// The default of [`Rule::min_interval_ms`].
pub(crate) const MIN_INTERVAL_MS_DEFAULT: u64 = 100;

/// The longest [`Rule::min_interval_ms`]: a day.
pub(crate) const MIN_INTERVAL_MS_MAX: u64 = 86_400_000;

/// What acts when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// When it acts.
    pub(crate) when: When,
    /// What it does, in this order, 1 to 8.
    pub(crate) then: Vec<Action>,
    /// The least time between two actions, up to a day: rules that undo each other do so no faster. What comes true
    /// sooner is acted on then, if it still is. Absent: 100.
    #[serde(default = "min_interval_ms_default")]
    pub(crate) min_interval_ms: u64,
    /// Whether it acts at all; absent: it does.
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
}

/// The condition: `above`, `below` or `equals`. It acts when that becomes true, and again after it was false.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct When {
    /// The value that is looked at, without `uns/`. Only good ones count.
    pub(crate) path: String,
    /// It is more than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) above: Option<f64>,
    /// It is less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) below: Option<f64>,
    /// It is this: a number, a truth value, a text, or an array or structure with the same values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Json>")]
    pub(crate) equals: Option<Datum>,
    /// How far back it has to go before `above` or `below` can come true again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) hysteresis: f64,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Action {
    /// Writes a value, as a message to `uns/<path>/set` does.
    Set {
        /// Where, without `uns/` and `/set`.
        set: String,
        /// What.
        #[schemars(with = "Json")]
        v: Datum,
        /// Reads it back and compares.
        #[serde(default)]
        verify: bool,
    },
    /// Asks a thing for a command, as `commands create` does.
    Command {
        /// The thing.
        thing: ThingId,
        /// The command.
        command: CommandName,
        /// What the device gets.
        #[serde(default)]
        input: Json,
        /// How long it may take, in milliseconds; absent: 30 seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
}

fn min_interval_ms_default() -> u64 {
    MIN_INTERVAL_MS_DEFAULT
}

fn yes() -> bool {
    true
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Rule {
    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let invalid = |field: &str, message: String| {
            Err(Refusal::new(RefusalCode::Invalid, message).at(field))
        };
        if let Err(error) = UnsPath::parse(&self.when.path) {
            return invalid("when.path", error.to_string());
        }
        let When { above, below, equals, hysteresis, .. } = &self.when;
        let conditions = [above.is_some(), below.is_some(), equals.is_some()];
        if conditions.iter().filter(|it| **it).count() != 1 {
            return invalid("when", "one of `above`, `below` and `equals` is wanted".to_owned());
        }
        if !hysteresis.is_finite() || *hysteresis < 0.0 {
            return invalid("when.hysteresis", format!("{hysteresis} is not 0 or more"));
        }
        if equals.is_some() && *hysteresis > 0.0 {
            return invalid("when.hysteresis", "`equals` has none".to_owned());
        }
        if self.min_interval_ms > MIN_INTERVAL_MS_MAX {
            let message = format!("{} is more than {MIN_INTERVAL_MS_MAX}", self.min_interval_ms);
            return invalid("min_interval_ms", message);
        }
        if !(1..=ACTIONS_MAX).contains(&self.then.len()) {
            let message = format!("{} actions, 1 to {ACTIONS_MAX} are wanted", self.then.len());
            return invalid("then", message);
        }
        for (index, action) in self.then.iter().enumerate() {
            if let Action::Set { set, .. } = action
                && let Err(error) = UnsPath::parse(set)
            {
                return invalid(&format!("then[{index}].set"), error.to_string());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rule_that_cannot_be_is_refused_with_its_field() {
        let good = json!({
            "when": { "path": "acme/_raw/level", "above": 90.0, "hysteresis": 5.0 },
            "then": [
                { "set": "acme/_raw/pump", "v": true },
                { "thing": "horn", "command": "sound" },
            ],
        });
        let read = |json: &Json| serde_json::from_value::<Rule>(json.clone());
        let rule = read(&good).unwrap();
        assert_eq!(rule.check(), Ok(()));
        assert_eq!((rule.min_interval_ms, rule.enabled), (100, true));
        let path = |pointer: &str, value: Json| {
            let mut json = good.clone();
            *json.pointer_mut(pointer).unwrap() = value;
            json
        };
        let many = Json::Array(vec![json!({ "set": "acme/_raw/pump", "v": 1 }); 9]);
        let cases = [
            (path("/when/path", json!("acme")), "when.path"),
            (path("/when", json!({ "path": "acme/_raw/level" })), "when"),
            (path("/when", json!({ "path": "acme/_raw/a", "above": 1.0, "below": 2.0 })), "when"),
            (path("/when/hysteresis", json!(-1.0)), "when.hysteresis"),
            (path("/then", json!([])), "then"),
            (path("/then", many), "then"),
            (path("/then/0/set", json!("acme/#")), "then[0].set"),
        ];
        for (json, field) in cases {
            let refusal = read(&json).unwrap().check().unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(field), "{json}");
        }
        read(&path("/then/0", json!({ "set": "acme/_raw/pump", "v": null }))).unwrap_err();
        read(&path("/then/0", json!({ "set": "acme/_raw/row", "v": [1] }))).unwrap();
        read(&path("/then/0", json!({ "set": "a/_raw/b", "v": 1, "colour": 2 }))).unwrap_err();
    }
}
