//! What things can be searched by. All that a query names has to hold.

use super::edit::check_tags;
use crate::device::life::ThingState;
use crate::device::row::ThingRow;
use proto::id::Label;
use proto::{EdgeId, ModelRef, Namespace, Refusal, RefusalCode, ThingId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The most attributes that a query tests.
const ATTRIBUTES_MAX: usize = 16;

/// Whom to find.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ThingQuery {
    /// Things in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<ThingState>,
    /// Things that keep to this model: `pump` in any version, or `pump@3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<ModelRef>,
    /// Things with this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<Label>,
    /// Things with all of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<Label>,
    /// Things right behind this gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<ThingId>,
    /// Things at this edge node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) edge: Option<EdgeId>,
    /// The thing with this serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) serial: Option<String>,
    /// Things at this location, or below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<String>,
    /// Things whose name begins with this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name_prefix: Option<String>,
    /// Things whose name contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name_contains: Option<String>,
    /// Things whose attributes have these values; `{"exists":true}` asks for any value, `{"exists":false}` for none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) attributes: BTreeMap<String, Json>,
}

impl ThingQuery {
    /// Refuses one that asks for more than a search looks at.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        check_tags(self.tags.len()).map_err(|refusal| refusal.at("query.tags"))?;
        if self.attributes.len() <= ATTRIBUTES_MAX {
            return Ok(());
        }
        let message = format!("{} attributes, at most {ATTRIBUTES_MAX}", self.attributes.len());
        Err(Refusal::new(RefusalCode::TooLarge, message).at("query.attributes"))
    }

    /// All tags that it asks for.
    pub(super) fn all_tags(&self) -> impl Iterator<Item = &Label> {
        self.tag.iter().chain(&self.tags)
    }

    /// Whether a thing fits, whatever its state.
    pub(super) fn fits(&self, namespace: &Namespace, thing: &ThingId, row: &ThingRow) -> bool {
        let name = thing.as_str();
        let is_there = |location: &String| {
            let own = row.location(namespace, thing);
            let rest = own.strip_prefix(location.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_of = |wanted: &ModelRef| {
            let is_wanted = |version| wanted.version.is_none_or(|it| it == version);
            let own = row.model.as_ref();
            own.is_some_and(|own| own.model == wanted.model && is_wanted(own.version))
        };
        self.model.as_ref().is_none_or(is_of)
            && self.all_tags().all(|tag| row.tags.contains(tag))
            && self.parent.as_ref().is_none_or(|it| row.parent.as_ref() == Some(it))
            && self.edge.as_ref().is_none_or(|it| row.edge.as_ref() == Some(it))
            && self.serial.as_ref().is_none_or(|it| row.serial.as_ref() == Some(it))
            && self.location.as_ref().is_none_or(is_there)
            && self.name_prefix.as_ref().is_none_or(|it| name.starts_with(it.as_str()))
            && self.name_contains.as_ref().is_none_or(|it| name.contains(it.as_str()))
            && self.attributes.iter().all(|(key, test)| passes(row.attributes.get(key), test))
    }
}

fn passes(found: Option<&Json>, test: &Json) -> bool {
    match asks_for_existence(test) {
        Some(wanted) => found.is_some() == wanted,
        None => found == Some(test),
    }
}

fn asks_for_existence(test: &Json) -> Option<bool> {
    let test = test.as_object()?;
    let exists = test.get("exists").and_then(Json::as_bool)?;
    (test.len() == 1).then_some(exists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::TimestampMs;
    use serde_json::json;

    fn fits(query: Json) -> bool {
        let query: ThingQuery = serde_json::from_value(query).unwrap();
        let label = |text| Label::parse(text).unwrap();
        let row = ThingRow {
            location: Some("acme/berlin/hall2".to_owned()),
            parent: ThingId::parse("gw").ok(),
            serial: Some("0042".to_owned()),
            model: "pump@3".parse().ok(),
            tags: [label("press"), label("leased")].into(),
            attributes: BTreeMap::from([("maker".to_owned(), json!("KSB"))]),
            ..ThingRow::new(TimestampMs(1))
        };
        query.fits(&Namespace::default(), &ThingId::parse("pump7").unwrap(), &row)
    }

    #[test]
    fn all_that_a_query_names_has_to_hold() {
        for (query, expected) in [
            (json!({}), true),
            (json!({"tag":"press"}), true),
            (json!({"tag":"press","tags":["leased","sold"]}), false),
            (json!({"parent":"gw","serial":"0042","name_prefix":"pump"}), true),
            (json!({"parent":"other"}), false),
            (json!({"model":"pump"}), true),
            (json!({"model":"pump@3"}), true),
            (json!({"model":"pump@2"}), false),
            (json!({"serial":"42"}), false),
            (json!({"location":"acme/berlin"}), true),
            (json!({"location":"acme/berlin/hall2/"}), true),
            (json!({"location":"acme/berlin/hall"}), false),
            (json!({"name_contains":"mp"}), true),
            (json!({"name_prefix":"mp"}), false),
            (json!({"attributes":{"maker":"KSB"}}), true),
            (json!({"attributes":{"maker":{"exists":true},"row":{"exists":false}}}), true),
            (json!({"attributes":{"maker":"KSB","row":7}}), false),
            (json!({"attributes":{"maker":{"exists":false}}}), false),
        ] {
            assert_eq!(fits(query.clone()), expected, "{query}");
        }
    }

    #[test]
    fn a_query_that_names_what_there_is_not_is_refused() {
        for query in [json!({"colour":"red"}), json!({"state":"asleep"}), json!({"tag":"a b"})] {
            assert!(serde_json::from_value::<ThingQuery>(query.clone()).is_err(), "{query}");
        }
        let many: Vec<String> = (0..33).map(|number| format!("t{number}")).collect();
        let query: ThingQuery = serde_json::from_value(json!({ "tags": many })).unwrap();
        assert_eq!(query.check().unwrap_err().field.as_deref(), Some("query.tags"));
    }
}
