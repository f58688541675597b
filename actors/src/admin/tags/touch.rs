//! Tags read from the machine and written to it, at an operator's word.

use crate::admin::drivers::{Nothing, live};
use crate::admin::live::Live;
use crate::admin::plan::{Plan, Request};
use crate::driver::{ASKED_TAGS_MAX, Ask};
use proto::{Datum, DriverId, Refusal, RefusalCode, TagId};
use schemars::JsonSchema;
use serde_json::{Map, Value as Json};

#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "read_tags() tells the two forms apart by hand, for better refusals")]
pub(super) enum ReadTags {
    /// Several.
    Many {
        driver: DriverId,
        /// At most 1000.
        tags: Vec<TagId>,
    },
    /// One.
    One { driver: DriverId, tag: TagId },
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "write_tags() tells the two forms apart by hand, for better refusals")]
pub(super) enum WriteTags {
    /// Several, each by itself.
    Many {
        driver: DriverId,
        /// The value of each tag, by its name; at most 1000.
        values: Map<String, Json>,
        /// Reads each back, and compares.
        verify: Option<bool>,
    },
    /// One.
    One {
        driver: DriverId,
        tag: TagId,
        /// A number, a truth value or a text.
        v: Json,
        /// Reads it back, and compares.
        verify: Option<bool>,
    },
}

/// Reads tags from the machine.
pub(super) fn read_tags(request: &Request<'_>) -> Result<Plan, Refusal> {
    let mut body = request.body.clone();
    let driver: DriverId = body.must_take("driver")?;
    let many: Option<Vec<TagId>> = body.take("tags")?;
    let tags = match many {
        Some(tags) => tags,
        None => vec![body.must_take("tag")?],
    };
    let _: Nothing = body.read()?;
    check_count(tags.len(), "tags")?;
    live(request, driver, ("tags", "read"), |it| Live::Running(it, Ask::Read(tags)))
}

/// Writes tags to the machine.
pub(super) fn write_tags(request: &Request<'_>) -> Result<Plan, Refusal> {
    let mut body = request.body.clone();
    let driver: DriverId = body.must_take("driver")?;
    let verify: Option<bool> = body.take("verify")?;
    let verify = verify.unwrap_or(false);
    let many: Option<Map<String, Json>> = body.take("values")?;
    let Some(many) = many else {
        let tag: TagId = body.must_take("tag")?;
        let value = datum(body.must_take("v")?, "v")?;
        let _: Nothing = body.read()?;
        let writes = vec![(tag, value)];
        let ask = Ask::Write { writes, verify };
        return live(request, driver, ("tags", "write"), |it| Live::OneTag(it, ask));
    };
    let _: Nothing = body.read()?;
    check_count(many.len(), "values")?;
    let mut writes = Vec::with_capacity(many.len());
    for (name, value) in many {
        let invalid = |message: String| {
            Refusal::new(RefusalCode::Invalid, message).at(format!("values.{name}"))
        };
        let tag = TagId::parse(&name).map_err(|error| invalid(error.to_string()))?;
        let value = datum(value, &format!("values.{name}"))?;
        writes.push((tag, value));
    }
    let ask = Ask::Write { writes, verify };
    live(request, driver, ("tags", "write"), |it| Live::Running(it, ask))
}

fn datum(value: Json, field: &str) -> Result<Datum, Refusal> {
    let message = "null is no value";
    Datum::from_json(value).ok_or_else(|| Refusal::new(RefusalCode::Invalid, message).at(field))
}

fn check_count(count: usize, field: &'static str) -> Result<(), Refusal> {
    if (1..=ASKED_TAGS_MAX).contains(&count) {
        return Ok(());
    }
    let message = format!("{count} is not between 1 and {ASKED_TAGS_MAX}");
    Err(Refusal::new(RefusalCode::Invalid, message).at(field))
}
