//! What a device reports on `telemetry`, parsed whole or refused whole.
//!
//! Three forms: `{"temperature":21.5}`, stamped on arrival; `{"t":…,"values":{…}}` with its source
//! time; an array of either, oldest or newest first (backfill). An object within becomes levels of
//! the path, so `{"motor":{"current":3}}` is the value `<location>/_raw/motor/current`. A value is
//! a JSON scalar or an array; null is none. An object with a member `values` is of the second
//! form.
//!
//! With a model each property is checked, and its value belongs to the model's contract, with its unit:
//! `<location>/_pump_v1/temperature`. What the model does not describe is refused, or raw if the model says so.

use crate::model::Loaded;
use proto::model::Schema;
use proto::uns::RAW_CONTRACT;
use proto::{Datum, Refusal, RefusalCode, TimestampMs, UnsPath};
use serde_json::{Map, Value as Json};

/// How much one message may carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The most values.
    pub(crate) values_max: usize,
    /// The most objects within one another.
    pub(crate) depth_max: usize,
    /// How far a source time may lie ahead of ours, in milliseconds; beyond it the device's clock
    /// is wrong, and its value would keep every later one from being the newest.
    pub(crate) ahead_ms_max: u64,
}

/// One reported value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    /// Where it belongs.
    pub(crate) path: UnsPath,
    /// The datum.
    pub(crate) v: Datum,
    /// Source time.
    pub(crate) t: TimestampMs,
    /// Its unit, as the model has it.
    pub(crate) u: Option<String>,
}

/// Where a device stands, and the model that it keeps to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Its location in the Unified Namespace.
    pub(crate) location: &'a str,
    /// Its model, if it has one.
    pub(crate) model: Option<&'a Loaded>,
}

/// Reads a payload that arrived at `now` from a device at `place`; the readings are in the order
/// of their times.
pub(crate) fn parse(
    payload: &[u8],
    place: Place<'_>,
    now: TimestampMs,
    limits: &Limits,
) -> Result<Vec<Reading>, Refusal> {
    let json: Json = serde_json::from_slice(payload)
        .map_err(|error| Refusal::new(RefusalCode::BadRequest, format!("not JSON: {error}")))?;
    let mut parser = Parser { place, now, limits, readings: Vec::new() };
    match json {
        Json::Object(report) => parser.report(report, "")?,
        Json::Array(reports) => {
            for (index, report) in reports.into_iter().enumerate() {
                match report {
                    Json::Object(report) => parser.report(report, &format!("[{index}]"))?,
                    _ => return Err(bad("a report must be an object", &format!("[{index}]"))),
                }
            }
        }
        _ => return Err(Refusal::new(RefusalCode::BadRequest, "neither an object nor an array")),
    }
    let mut readings = parser.readings;
    readings.sort_by_key(|reading| reading.t);
    Ok(readings)
}

/// What is known of a value on the way to it.
#[derive(Clone, Copy)]
struct Kind<'a> {
    contract: &'a str,
    schema: Option<&'a Schema>,
}

struct Parser<'a> {
    place: Place<'a>,
    now: TimestampMs,
    limits: &'a Limits,
    readings: Vec<Reading>,
}

impl<'a> Parser<'a> {
    fn report(&mut self, mut report: Map<String, Json>, at: &str) -> Result<(), Refusal> {
        let Some(values) = report.remove("values") else {
            return self.properties(report, self.now, at);
        };
        let values_at = join(at, "values", '.');
        let Json::Object(values) = values else {
            return Err(bad("values must be an object", &values_at));
        };
        let t = match report.remove("t") {
            None => self.now,
            Some(t) => self.source_time(&t).map_err(|refusal| refusal.at(join(at, "t", '.')))?,
        };
        if let Some(key) = report.keys().next() {
            return Err(bad("beside values only t is known", &join(at, key, '.')));
        }
        self.properties(values, t, &values_at)
    }

    fn properties(
        &mut self,
        values: Map<String, Json>,
        t: TimestampMs,
        at: &str,
    ) -> Result<(), Refusal> {
        for (name, value) in values {
            let at = join(at, &name, '.');
            check_level(&name, &at)?;
            let kind = self.kind(&name, &value, &at)?;
            self.named(&name, value, (t, kind), &at, 1)?;
        }
        Ok(())
    }

    /// What a property is, by the model; refused if it is not of it.
    fn kind(&self, name: &str, value: &Json, at: &str) -> Result<Kind<'a>, Refusal> {
        const RAW: Kind<'static> = Kind { contract: RAW_CONTRACT, schema: None };
        let Some(Loaded { version, contract, model }) = self.place.model else { return Ok(RAW) };
        match model.property(name) {
            Some(property) if property.is_write_only => {
                Err(invalid("writeOnly is true, it is never reported", at))
            }
            Some(property) => {
                let schema = &property.schema;
                schema.check(value).map_err(|violation| violation.refusal(at))?;
                Ok(Kind { contract, schema: Some(schema) })
            }
            None if model.takes_additional() => Ok(RAW),
            None => Err(invalid(&format!("the model {version} has no property `{name}`"), at)),
        }
    }

    fn source_time(&self, t: &Json) -> Result<TimestampMs, Refusal> {
        let Some(t) = t.as_u64() else {
            let message = "t must be milliseconds since the Unix epoch";
            return Err(Refusal::new(RefusalCode::BadRequest, message));
        };
        if t > self.now.0.saturating_add(self.limits.ahead_ms_max) {
            let message = format!("t {t} lies too far in the future, it is {} now", self.now);
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        Ok(TimestampMs(t))
    }

    /// A value, or the values within it.
    fn named(
        &mut self,
        name: &str,
        value: Json,
        (t, kind): (TimestampMs, Kind<'a>),
        at: &str,
        depth: usize,
    ) -> Result<(), Refusal> {
        let Json::Object(inner) = value else { return self.value(value, (t, kind), name, at) };
        if depth == self.limits.depth_max {
            let message = format!("nested deeper than {} levels", self.limits.depth_max);
            return Err(Refusal::new(RefusalCode::TooLarge, message).at(at));
        }
        for (key, value) in inner {
            let schema = kind.schema.and_then(|schema| schema.member(&key));
            let kind = Kind { schema, ..kind };
            let (name, at) = (join(name, &key, '/'), join(at, &key, '.'));
            check_level(&key, &at)?;
            self.named(&name, value, (t, kind), &at, depth + 1)?;
        }
        Ok(())
    }

    fn value(
        &mut self,
        value: Json,
        (t, kind): (TimestampMs, Kind<'a>),
        name: &str,
        at: &str,
    ) -> Result<(), Refusal> {
        let Some(v) = Datum::from_json(value) else {
            return Err(invalid("null is no value", at));
        };
        if self.readings.len() == self.limits.values_max {
            let message = format!("more than {} values in one message", self.limits.values_max);
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        let path = UnsPath::from_parts(self.place.location, kind.contract, name)
            .map_err(|error| invalid(&error.to_string(), at))?;
        let u = kind.schema.and_then(Schema::unit).map(str::to_owned);
        self.readings.push(Reading { path, v, t, u });
        Ok(())
    }
}

fn check_level(key: &str, at: &str) -> Result<(), Refusal> {
    if key.contains('/') {
        return Err(invalid("a name must be one level", at));
    }
    Ok(())
}

fn join(left: &str, right: &str, separator: char) -> String {
    match left {
        "" => right.to_owned(),
        left => format!("{left}{separator}{right}"),
    }
}

fn bad(message: &str, at: &str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, message).at(at)
}

fn invalid(message: &str, at: &str) -> Refusal {
    Refusal::new(RefusalCode::Invalid, message).at(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { values_max: 4, depth_max: 2, ahead_ms_max: 100 };
    const NOW: TimestampMs = TimestampMs(1000);

    fn parse_text(text: &str) -> Result<Vec<Reading>, Refusal> {
        parse(text.as_bytes(), Place { location: "acme/pump7", model: None }, NOW, &LIMITS)
    }

    #[test]
    fn all_three_forms_give_readings_in_the_order_of_their_times() {
        let cases = [
            (r#"{"a":21.5}"#, "a=21.5@1000"),
            (r#"{"t":7,"values":{"a":1,"on":true}}"#, "a=1@7 on=true@7"),
            (r#"{"values":{"a":"x"}}"#, "a=x@1000"),
            (r#"{"t":5}"#, "t=5@1000"),
            (r#"{"m":{"i":3,"u":4}}"#, "m/i=3@1000 m/u=4@1000"),
            (r#"{"m":{"l":[1,{"x":null}]}}"#, "m/l=[1,{\"x\":null}]@1000"),
            (
                r#"[{"t":9,"values":{"a":2}},{"t":8,"values":{"a":1}},{"b":0}]"#,
                "a=1@8 a=2@9 b=0@1000",
            ),
            ("{}", ""),
            ("[]", ""),
        ];
        for (text, expected) in cases {
            let shown: Vec<String> = parse_text(text)
                .unwrap()
                .iter()
                .map(|it| format!("{}={}@{}", it.path.name(), it.v, it.t))
                .collect();
            assert_eq!(shown.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn bad_payloads_are_refused_whole_with_their_code_and_field() {
        let cases = [
            ("", "bad_request", None),
            ("21.5", "bad_request", None),
            (r#"{"a":1"#, "bad_request", None),
            (r#"{"a":null}"#, "invalid", Some("a")),
            (r#"{"a":1,"b":null}"#, "invalid", Some("b")),
            (r#"{"a/b":1}"#, "invalid", Some("a/b")),
            (r#"{"":1}"#, "invalid", Some("")),
            (r#"{"a+":1}"#, "invalid", Some("a+")),
            (r#"{"m":{"set":1}}"#, "invalid", Some("m.set")),
            (r#"{"values":5}"#, "bad_request", Some("values")),
            (r#"{"values":{},"x":1}"#, "bad_request", Some("x")),
            (r#"{"t":"now","values":{}}"#, "bad_request", Some("t")),
            (r#"{"t":1101,"values":{}}"#, "invalid", Some("t")),
            (r#"{"a":{"b":{"c":1}}}"#, "too_large", Some("a.b")),
            (r#"{"a":1,"b":1,"c":1,"d":1,"e":1}"#, "too_large", None),
            (r#"[{"a":1},5]"#, "bad_request", Some("[1]")),
            (r#"[{"a":1},{"values":{"b":null}}]"#, "invalid", Some("[1].values.b")),
        ];
        for (text, code, field) in cases {
            let refusal = parse_text(text).unwrap_err();
            assert_eq!(refusal.code.as_str(), code, "{text}: {refusal}");
            assert_eq!(refusal.field.as_deref(), field, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_payload_panics(text in r#"[\[{]("(t|values|a)":([0-9{\["]|null)[,}\]]?){0,4}[}\]]"#) {
            let _ = parse_text(&text);
        }
    }
}
