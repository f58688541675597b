//! `admin/subscriptions/…`: what clients have subscribed to, connected or away. What the platform itself subscribes
//! to is not among it.

use super::act::Act;
use super::cursor;
use super::list::limited;
use super::plan::{Owner, Plan, Request};
use super::table::{ADMIN, Operation, Resource};
use broker::{Page, SubscriptionPlace, SubscriptionQuery};
use proto::admin::Page as Answer;
use proto::{ClientId, Refusal, RefusalCode, Subscription, TopicName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "subscriptions",
    is: "what clients have subscribed to, connected or away",
    operations: &[
        Operation::changes::<OneSubscription>(
            "delete",
            ADMIN,
            "ends a subscription of a client",
            delete,
        ),
        Operation::reads::<OneSubscription>("get", ADMIN, "shows a subscription", get),
        Operation::reads::<ListSubscriptions>("list", ADMIN, "lists subscriptions", list),
    ],
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListSubscriptions {
    /// What the topic filter contains.
    filter: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    client_id: Option<ClientId>,
    /// Just this one, as it stood in the SUBSCRIBE packet.
    topic_filter: Option<String>,
    /// Those that get messages on this topic.
    topic: Option<String>,
    group: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneSubscription {
    client_id: ClientId,
    topic_filter: String,
}

/// Lists subscriptions by client id and topic filter.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListSubscriptions = request.read()?;
    let query = SubscriptionQuery {
        client_id: asked.client_id,
        subscription: asked.topic_filter.map(parse_filter).transpose()?,
        topic: asked.topic.map(|text| parse_topic(text, "topic")).transpose()?,
        group: asked.group,
        contains: asked.filter,
    };
    let after = cursor::place(RESOURCE.name, asked.cursor.as_deref(), read_place)?;
    let broker = &request.context.outside.broker;
    let limit = limited(asked.limit);
    let page = broker.subscriptions(request.namespace, &query, after.as_ref(), limit);
    let Page { items, next } = page;
    let next_cursor = next.map(|place| cursor::after(RESOURCE.name, place_text(&place)));
    let items: Vec<Json> = items.iter().map(|it| json!(it)).collect();
    Ok(Plan::answer(json!(Answer { items, next_cursor })))
}

/// Shows a subscription, with the group if it is shared.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (client_id, subscription) = one(request)?;
    let broker = &request.context.outside.broker;
    let found = broker.subscription(request.namespace, &client_id, &subscription);
    let (info, group) = found.ok_or_else(|| unknown(&client_id, &subscription))?;
    let mut shown = json!(info);
    if let Some(group) = group {
        shown["shared"] = json!(group);
    }
    Ok(Plan::answer(shown))
}

/// Ends a subscription of a client, which is not told.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (client_id, subscription) = one(request)?;
    let broker = &request.context.outside.broker;
    if broker.subscription(request.namespace, &client_id, &subscription).is_none() {
        return Err(unknown(&client_id, &subscription));
    }
    let answer = json!({ "client_id": client_id, "topic_filter": subscription.to_string() });
    let mut plan = Plan::answer(answer);
    plan.owner = Owner::Broker(Act::EndSubscription(client_id, subscription));
    Ok(plan)
}

fn one(request: &Request<'_>) -> Result<(ClientId, Subscription), Refusal> {
    let OneSubscription { client_id, topic_filter } = request.read()?;
    Ok((client_id, parse_filter(topic_filter)?))
}

/// The refusal of what is not there.
pub(super) fn unknown(client_id: &ClientId, subscription: &Subscription) -> Refusal {
    let message = format!("`{client_id}` has no subscription `{subscription}`");
    Refusal::new(RefusalCode::NotFound, message).at("topic_filter")
}

fn parse_filter(text: String) -> Result<Subscription, Refusal> {
    Subscription::parse(text)
        .map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()).at("topic_filter"))
}

/// A topic name of a request.
pub(super) fn parse_topic(text: String, field: &str) -> Result<TopicName, Refusal> {
    TopicName::parse(text)
        .map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()).at(field))
}

/// A place as it stands in a cursor: client ids and filters may hold any sign.
fn place_text(place: &SubscriptionPlace) -> String {
    json!([place.client_id, place.subscription.as_ref().map(ToString::to_string)]).to_string()
}

fn read_place(text: &str) -> Result<SubscriptionPlace, ()> {
    let read = serde_json::from_str::<(ClientId, Option<String>)>(text);
    let (client_id, subscription) = read.map_err(|_| ())?;
    let subscription = subscription.map(Subscription::parse).transpose().map_err(|_| ())?;
    Ok(SubscriptionPlace { client_id, subscription })
}
