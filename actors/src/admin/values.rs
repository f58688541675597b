//! `admin/things/values`: the last values of a thing, as they are retained in the Unified Namespace.

use super::cursor;
use super::list::limited;
use super::plan::{Plan, Request};
use crate::device::row::{ThingKey, ThingRow};
use broker::{Page, RetainedInfo, RetainedQuery};
use proto::admin::LIST_LIMIT_MAX;
use proto::platform::filters;
use proto::uns::RAW_CONTRACT;
use proto::{
    PlatformTopic, Refusal, RefusalCode, ThingId, TimestampMs, TopicFilter, TopicName, UnsPath,
    Value,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// What its cursors are called.
const LIST: &str = "values";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ThingValues {
    thing: ThingId,
    /// Only these, such as `speed` or `motor/current`; at most 1000.
    #[serde(default)]
    names: Option<Vec<String>>,
    /// Values of one page, 1 to 1000; 100 if absent.
    #[serde(default)]
    limit: Option<usize>,
    /// Where the page before ended.
    #[serde(default)]
    cursor: Option<String>,
}

/// Shows the last values of a thing: those of its model's contract, and those that are raw.
pub(super) fn values(request: &Request<'_>) -> Result<Plan, Refusal> {
    let ThingValues { thing, names, limit, cursor } = request.read()?;
    let key: ThingKey = (request.namespace.clone(), thing.clone());
    let row = request.must_get::<ThingRow>(&key, "thing", &thing)?;
    let location = row.location(request.namespace, &thing);
    // The contract of the model first: what is checked comes before what is raw.
    let mut contracts: Vec<String> = row.model.iter().map(|it| it.contract()).collect();
    contracts.push(RAW_CONTRACT.to_owned());
    let mut data = match names {
        None => page(request, &location, &contracts, limited(limit), cursor.as_deref())?,
        Some(_) if cursor.is_some() => {
            let message = "named values are one page";
            return Err(Refusal::new(RefusalCode::BadRequest, message).at("cursor"));
        }
        Some(names) => named(request, &location, &contracts, &names)?,
    };
    data["thing"] = json!(thing);
    Ok(Plan::answer(data))
}

fn page(
    request: &Request<'_>,
    location: &str,
    contracts: &[String],
    limit: usize,
    cursor: Option<&str>,
) -> Result<Json, Refusal> {
    let parse = |text: &str| TopicName::parse(text.to_owned());
    let mut after = cursor::place(LIST, cursor, parse)?;
    let filters = contracts.iter().filter_map(|it| filters::uns_contract(location, it));
    let mut filters: Vec<TopicFilter> = filters.collect();
    if let Some(topic) = &after {
        let Some(at) = filters.iter().position(|filter| filter.matches(topic)) else {
            let message = "it is no cursor of this thing";
            return Err(Refusal::new(RefusalCode::Invalid, message).at("cursor"));
        };
        filters.drain(..at);
    }
    let broker = &request.context.outside.broker;
    let mut items: Vec<Json> = Vec::new();
    let mut last = after.clone();
    let mut next = None;
    for filter in filters {
        let query = RetainedQuery { filter, contains: None, with_payload: true };
        let room = limit - items.len();
        if room == 0 {
            // Whether the next contract has any is for the next page to tell.
            next = last;
            break;
        }
        let found = broker.retained(request.namespace, &query, after.take().as_ref(), room);
        let Page { items: page, next: more } = found;
        last = page.last().map(|it| it.topic.clone()).or(last);
        items.extend(page.iter().filter_map(show));
        if more.is_some() {
            next = more;
            break;
        }
    }
    let mut data = json!({ "items": items });
    if let Some(topic) = next {
        data["next_cursor"] = cursor::after(LIST, topic).into();
    }
    Ok(data)
}

fn named(
    request: &Request<'_>,
    location: &str,
    contracts: &[String],
    names: &[String],
) -> Result<Json, Refusal> {
    if names.len() > LIST_LIMIT_MAX {
        let message = format!("there are {} names, at most {LIST_LIMIT_MAX}", names.len());
        return Err(Refusal::new(RefusalCode::TooLarge, message).at("names"));
    }
    let broker = &request.context.outside.broker;
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    for (index, name) in names.iter().enumerate() {
        let mut found = None;
        for contract in contracts {
            let path = UnsPath::from_parts(location, contract, name).map_err(|error| {
                let at = format!("names[{index}]");
                Refusal::new(RefusalCode::Invalid, error.to_string()).at(at)
            })?;
            let topic = PlatformTopic::Uns(path).topic();
            let message = broker.retained_message(request.namespace, &topic);
            found = found.or_else(|| message.as_ref().and_then(show));
        }
        match found {
            Some(value) => items.push(value),
            None => missing.push(name),
        }
    }
    Ok(json!({ "items": items, "missing": missing }))
}

/// A value as it is retained; a bare one has no time of its own.
fn show(it: &RetainedInfo) -> Option<Json> {
    let Some(PlatformTopic::Uns(path)) = PlatformTopic::parse(&it.topic) else { return None };
    const NEVER: TimestampMs = TimestampMs(0);
    let mut shown = json!({ "name": path.name(), "path": path });
    match Value::parse(it.payload.as_deref()?, NEVER) {
        Ok(value) => {
            shown["v"] = json!(value.v);
            shown["t"] = if value.t == NEVER { Json::Null } else { json!(value.t) };
            shown["q"] = json!(value.q);
            shown["u"] = json!(value.u);
        }
        Err(error) => shown["error"] = error.to_string().into(),
    }
    Some(shown)
}
