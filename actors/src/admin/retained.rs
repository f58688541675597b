//! `admin/retained/…`: the retained messages of the namespace.

use super::act::Act;
use super::cursor;
use super::list::limited;
use super::payload::{self, Form};
use super::plan::{Owner, Plan, Request};
use super::subscriptions::parse_topic;
use super::table::{ADMIN, Operation, Resource};
use broker::{Page, Properties, RetainedInfo, RetainedQuery};
use proto::admin::Page as Answer;
use proto::{Refusal, RefusalCode, TopicFilter, TopicName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "retained",
    is: "the last message of each topic, kept for later subscribers",
    operations: &[
        Operation::changes::<DeleteRetained>(
            "delete",
            ADMIN,
            "deletes the message of a topic, or those of a filter",
            delete,
        ),
        Operation::reads::<OneRetained>("get", ADMIN, "shows the message of a topic", get),
        Operation::reads::<ListRetained>("list", ADMIN, "lists retained messages", list),
    ],
};

/// Messages deleted by one request.
const DELETED_MAX: usize = 10_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListRetained {
    /// What the topic contains.
    filter: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    /// Those of topics that it matches; absent: `#`.
    topic_filter: Option<String>,
    /// Whether payloads and properties are shown.
    #[serde(default)]
    payload: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneRetained {
    topic: String,
    /// How the payload is shown; absent: as it reads best.
    #[serde(default, rename = "as")]
    form: Option<Form>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteRetained {
    topic: Option<String>,
    topic_filter: Option<String>,
    /// Has to be true with a filter.
    #[serde(default)]
    confirm: bool,
}

/// Lists retained messages by topic.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRetained = request.read()?;
    let query = RetainedQuery {
        filter: parse_filter(asked.topic_filter.unwrap_or_else(|| "#".to_owned()))?,
        contains: asked.filter,
        with_payload: asked.payload,
    };
    let parse = |text: &str| TopicName::parse(text.to_owned());
    let after = cursor::place(RESOURCE.name, asked.cursor.as_deref(), parse)?;
    let broker = &request.context.outside.broker;
    let limit = limited(asked.limit);
    let Page { items, next } = broker.retained(request.namespace, &query, after.as_ref(), limit);
    let next_cursor = next.map(|topic| cursor::after(RESOURCE.name, topic));
    let shown: Result<Vec<Json>, Refusal> = items.iter().map(|it| show(it, None)).collect();
    Ok(Plan::answer(json!(Answer { items: shown?, next_cursor })))
}

/// Shows a retained message.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let OneRetained { topic, form } = request.read()?;
    let found = find(request, &parse_topic(topic, "topic")?)?;
    Ok(Plan::answer(show(&found, form)?))
}

/// Deletes the retained message of a topic, or those of all topics that a filter matches.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let DeleteRetained { topic, topic_filter, confirm } = request.read()?;
    let (topics, has_more) = match (topic, topic_filter) {
        (Some(topic), None) => {
            let found = find(request, &parse_topic(topic, "topic")?)?;
            (vec![found.topic], false)
        }
        (None, Some(filter)) => {
            let found = matching(request, parse_filter(filter)?);
            if !confirm {
                return Err(unconfirmed(found.0.len(), found.1));
            }
            found
        }
        _ => {
            let message = "it takes either a topic or a topic_filter";
            return Err(Refusal::new(RefusalCode::BadRequest, message).at("topic"));
        }
    };
    let mut plan = Plan::answer(json!({ "deleted": topics.len(), "has_more": has_more }));
    plan.owner = Owner::Broker(Act::DeleteRetained(topics));
    Ok(plan)
}

fn find(request: &Request<'_>, topic: &TopicName) -> Result<RetainedInfo, Refusal> {
    let found = request.context.outside.broker.retained_message(request.namespace, topic);
    found.ok_or_else(|| Refusal::not_found("retained message on", topic).at("topic"))
}

/// The topics that a filter matches, as many as one request deletes, and whether there may be more.
fn matching(request: &Request<'_>, filter: TopicFilter) -> (Vec<TopicName>, bool) {
    let query = RetainedQuery { filter, contains: None, with_payload: false };
    let broker = &request.context.outside.broker;
    let Page { items, next } = broker.retained(request.namespace, &query, None, DELETED_MAX);
    (items.into_iter().map(|it| it.topic).collect(), next.is_some())
}

fn unconfirmed(count: usize, has_more: bool) -> Refusal {
    let more = if has_more { " or more" } else { "" };
    let message =
        format!("{count}{more} retained messages match; confirm=true deletes them for good");
    Refusal::new(RefusalCode::Invalid, message).at("confirm")
}

fn parse_filter(text: String) -> Result<TopicFilter, Refusal> {
    TopicFilter::parse(text)
        .map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()).at("topic_filter"))
}

fn show(it: &RetainedInfo, form: Option<Form>) -> Result<Json, Refusal> {
    let mut shown = json!({
        "topic": it.topic,
        "bytes": it.bytes,
        "qos": it.qos,
        "expires_in_secs": it.expires_in_secs,
        "publisher": {
            "client_id": it.publisher.client_id,
            "user_name": it.publisher.identity.name(),
        },
    });
    if let Some(payload) = &it.payload {
        let (payload, encoding) = payload::show(payload, form)?;
        shown["payload"] = payload;
        shown["encoding"] = encoding.into();
    }
    if let Some(properties) = &it.properties {
        shown["properties"] = show_properties(properties);
    }
    Ok(shown)
}

/// Properties, those that are there (MQTT 5.0 3.3.2.3).
fn show_properties(it: &Properties) -> Json {
    let mut shown = json!({});
    if it.is_utf8_payload {
        shown["payload_format_indicator"] = 1.into();
    }
    if let Some(content_type) = &it.content_type {
        shown["content_type"] = json!(content_type.to_string());
    }
    if let Some(topic) = &it.response_topic {
        shown["response_topic"] = json!(topic);
    }
    if let Some(data) = &it.correlation_data {
        shown["correlation_data"] = payload::base64(data).into();
    }
    if !it.user_properties.is_empty() {
        let pairs = it.user_properties.iter();
        let pairs = pairs.map(|(name, value)| json!([name.to_string(), value.to_string()]));
        shown["user_properties"] = pairs.collect();
    }
    shown
}
