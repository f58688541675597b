//! Events (OPC 10000-5, 6.4) and conditions (OPC 10000-9): which of their fields are asked for, and what they say.

use super::arguments::json_of;
use super::event_fields::FieldPath;
use super::points::time_of;
use super::structures::Layouts;
use crate::port::{Event, EventLevel, PointId};
use opcua::types::{
    AttributeId, ContentFilter, ContentFilterElement, EventFilter, ExtensionObject, FilterOperator,
    Identifier, LiteralOperand, NodeId, ObjectTypeId, QualifiedName, SimpleAttributeOperand,
    Variant,
};
use serde_json::{Map, Value as Json, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The first severity of each level but the lowest: a third of 1 to 1000 for each (OPC 10000-5, 6.4.2).
const WARNING_FROM: u64 = 334;
const ERROR_FROM: u64 = 667;

/// A field of events.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Its name here.
    name: Cow<'static, str>,
    /// The type that has it.
    of: ObjectTypeId,
    /// The names that lead to it; none lead to the node itself.
    path: Vec<QualifiedName>,
    /// An operator has asked for it.
    is_asked_for: bool,
}

/// A field of the standard: its name here, the type that has it, and the names that lead to it.
type Standard = (&'static str, ObjectTypeId, &'static [&'static str]);

impl Field {
    fn standard((name, of, path): Standard) -> Self {
        let path = path.iter().map(|it| QualifiedName::new(0, *it)).collect();
        Self { name: name.into(), of, path, is_asked_for: false }
    }

    /// All of them, and those of an operator; one of a namespace that the server does not have is none.
    pub(crate) fn every(asked_for: &BTreeMap<String, String>, namespaces: &[String]) -> Vec<Self> {
        let standard = OF_EVENTS.into_iter().chain(OF_CONDITIONS).map(Self::standard);
        let own = asked_for.iter().filter_map(|(name, path)| {
            let path: FieldPath = path.parse().ok()?;
            let fixed = match &path.namespace {
                Some(uri) => {
                    let index = namespaces.iter().position(|it| it == uri)?;
                    Some(u16::try_from(index).ok()?)
                }
                None => None,
            };
            let qualified = |(index, name): &(u16, String)| {
                QualifiedName::new(fixed.unwrap_or(*index), name.as_str())
            };
            Some(Self {
                name: name.clone().into(),
                of: ObjectTypeId::BaseEventType,
                path: path.names.iter().map(qualified).collect(),
                is_asked_for: true,
            })
        });
        standard.chain(own).collect()
    }

    /// Whether each event has it.
    pub(crate) fn is_of_every_event(&self) -> bool {
        !self.is_of_condition() && !self.is_asked_for
    }

    /// Whether only conditions have it.
    pub(crate) fn is_of_condition(&self) -> bool {
        self.of != ObjectTypeId::BaseEventType
    }
}

/// What every event has.
const OF_EVENTS: [Standard; 7] = [
    ("id", ObjectTypeId::BaseEventType, &["EventId"]),
    ("type", ObjectTypeId::BaseEventType, &["EventType"]),
    ("source_node", ObjectTypeId::BaseEventType, &["SourceNode"]),
    ("source", ObjectTypeId::BaseEventType, &["SourceName"]),
    ("t", ObjectTypeId::BaseEventType, &["Time"]),
    ("message", ObjectTypeId::BaseEventType, &["Message"]),
    SEVERITY,
];

const SEVERITY: Standard = ("severity", ObjectTypeId::BaseEventType, &["Severity"]);

const ACKNOWLEDGEABLE: ObjectTypeId = ObjectTypeId::AcknowledgeableConditionType;

/// What conditions have besides.
const OF_CONDITIONS: [Standard; 7] = [
    ("id", ObjectTypeId::ConditionType, &[]),
    ("name", ObjectTypeId::ConditionType, &["ConditionName"]),
    ("branch", ObjectTypeId::ConditionType, &["BranchId"]),
    ("retain", ObjectTypeId::ConditionType, &["Retain"]),
    ("acknowledged", ACKNOWLEDGEABLE, &["AckedState", "Id"]),
    ("confirmed", ACKNOWLEDGEABLE, &["ConfirmedState", "Id"]),
    ("active", ObjectTypeId::AlarmConditionType, &["ActiveState", "Id"]),
];

/// What is asked of events.
pub(crate) fn filter(fields: &[Field], severity_min: u16) -> EventFilter {
    let operand = |field: &Field| {
        let attribute = match field.path.is_empty() {
            true => AttributeId::NodeId,
            false => AttributeId::Value,
        };
        SimpleAttributeOperand {
            type_definition_id: NodeId::from(field.of),
            browse_path: Some(field.path.clone()),
            attribute_id: attribute as u32,
            ..SimpleAttributeOperand::default()
        }
    };
    let is_severe = (severity_min > 1).then(|| ContentFilterElement {
        filter_operator: FilterOperator::GreaterThanOrEqual,
        filter_operands: Some(vec![
            ExtensionObject::from_message(operand(&Field::standard(SEVERITY))),
            ExtensionObject::from_message(LiteralOperand { value: severity_min.into() }),
        ]),
    });
    EventFilter {
        select_clauses: Some(fields.iter().map(operand).collect()),
        where_clause: ContentFilter { elements: is_severe.map(|it| vec![it]) },
    }
}

/// What the fields of an event say; `None` for those about a refresh of conditions, which say nothing of the machine.
/// `namespaces` are those of the connection.
pub(crate) fn event_of<'a>(
    point: PointId,
    fields: impl Iterator<Item = (&'a Field, &'a Variant)>,
    namespaces: &[String],
    layouts: &Layouts,
) -> Option<Event> {
    let (mut data, mut condition) = (Map::new(), Map::new());
    let mut at = None;
    for (field, value) in fields {
        let said = match (field.name.as_ref(), value) {
            ("type", Variant::NodeId(id)) if is_about_refresh(id) => return None,
            ("type", Variant::NodeId(id)) => json!(type_name(id, namespaces)),
            ("t", Variant::DateTime(time)) => {
                at = time_of(Some(**time));
                continue;
            }
            _ => said(value, namespaces, layouts),
        };
        let of = if field.is_of_condition() { &mut condition } else { &mut data };
        if !said.is_null() {
            of.insert(field.name.clone().into_owned(), said);
        }
    }
    if condition.contains_key("id") || condition.contains_key("name") {
        data.insert("condition".to_owned(), Json::Object(condition));
    }
    let level = match data.get("severity").and_then(Json::as_u64).unwrap_or_default() {
        ERROR_FROM.. => EventLevel::Error,
        WARNING_FROM.. => EventLevel::Warning,
        _ => EventLevel::Notify,
    };
    Some(Event { point, at, level, data })
}

fn is_about_refresh(id: &NodeId) -> bool {
    let about_refresh = [
        ObjectTypeId::RefreshStartEventType,
        ObjectTypeId::RefreshEndEventType,
        ObjectTypeId::RefreshRequiredEventType,
    ];
    about_refresh.iter().any(|it| *id == (0, *it as u32))
}

/// What a field says, with nodes by addresses that hold.
fn said(value: &Variant, namespaces: &[String], layouts: &Layouts) -> Json {
    match value {
        Variant::NodeId(id) if !id.is_null() => json!(stable(id, namespaces)),
        other => json_of(other, layouts),
    }
}

/// `AlarmConditionType` for a type of the standard, the address for others.
fn type_name(id: &NodeId, namespaces: &[String]) -> String {
    let known = match (id.namespace, &id.identifier) {
        (0, Identifier::Numeric(number)) => ObjectTypeId::try_from(*number).ok(),
        _ => None,
    };
    known.map_or_else(|| stable(id, namespaces), |known| format!("{known:?}"))
}

/// The address of a node that holds when the namespaces of the server move.
pub(super) fn stable(id: &NodeId, namespaces: &[String]) -> String {
    let uri = namespaces.get(usize::from(id.namespace)).filter(|it| !it.is_empty());
    match uri {
        Some(uri) if id.namespace != 0 => {
            format!("nsu={uri};{}", NodeId { namespace: 0, ..id.clone() })
        }
        _ => id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opcua::types::{ByteString, DateTime, LocalizedText};
    use proto::TimestampMs;

    fn fields(of: ObjectTypeId, severity: u16) -> Vec<Variant> {
        vec![
            Variant::from(ByteString::from(vec![1, 2, 3])),
            Variant::from(NodeId::from(of)),
            Variant::from(NodeId::new(1, "Tank")),
            Variant::from("Tank"),
            Variant::from(DateTime::ymd_hms(2026, 1, 1, 0, 0, 1)),
            Variant::from(LocalizedText::from("too full")),
            Variant::from(severity),
        ]
    }

    fn told(values: &[Variant]) -> Option<Event> {
        let namespaces = ["ua".to_owned(), "urn:plc".to_owned()];
        let own = [("batch", "nsu=urn:plc;Batch"), ("gone", "nsu=urn:other;Gone")];
        let own = own.map(|(name, path)| (name.to_owned(), path.to_owned())).into();
        let every = Field::every(&own, &namespaces);
        event_of(PointId(3), every.iter().zip(values), &namespaces, &Layouts::default())
    }

    #[test]
    fn an_event_says_what_where_and_how_bad() {
        let fields = fields(ObjectTypeId::SystemEventType, 500);
        let event = told(&fields).unwrap();
        assert_eq!(
            (event.at, event.level),
            (Some(TimestampMs(1_767_225_601_000)), EventLevel::Warning)
        );
        let expected = json!({
            "id": "AQID", "type": "SystemEventType", "source": "Tank", "source_node": "nsu=urn:plc;s=Tank",
            "message": "too full", "severity": 500,
        });
        assert_eq!(Json::Object(event.data), expected);
    }

    #[test]
    fn a_condition_says_in_which_state_it_is() {
        let mut fields = fields(ObjectTypeId::AlarmConditionType, 1000);
        fields.extend([
            Variant::from(NodeId::new(1, "TankFull")),
            Variant::from("Full"),
            Variant::from(NodeId::null()),
            Variant::from(true),
            Variant::from(false),
            Variant::Empty,
            Variant::from(true),
            Variant::from(vec![7, 8]),
        ]);
        let event = told(&fields).unwrap();
        assert_eq!(event.level, EventLevel::Error);
        let expected = json!({
            "id": "nsu=urn:plc;s=TankFull", "name": "Full", "retain": true, "acknowledged": false, "active": true,
        });
        assert_eq!(event.data["condition"], expected);
        assert_eq!((&event.data["batch"], event.data.get("gone")), (&json!([7, 8]), None));
    }

    #[test]
    fn what_is_about_a_refresh_is_no_event_and_what_is_short_is_one() {
        assert_eq!(told(&fields(ObjectTypeId::RefreshStartEventType, 1)), None);
        let event = told(&[]).unwrap();
        assert_eq!((event.at, event.level, event.data.len()), (None, EventLevel::Notify, 0));
    }

    #[test]
    fn each_field_is_asked_for_where_it_is() {
        let own = [("order".to_owned(), "2:Order/3:Id".to_owned())].into();
        let every = Field::every(&own, &[]);
        let clauses = filter(&every, 1).select_clauses.unwrap();
        assert_eq!(clauses.len(), every.len());
        let node = clauses.iter().find(|it| it.browse_path.as_ref().is_some_and(Vec::is_empty));
        assert_eq!(node.unwrap().attribute_id, AttributeId::NodeId as u32, "the condition itself");
        assert_eq!(filter(&every[..2], 1).select_clauses.map(|it| it.len()), Some(2));
        let path = clauses.last().and_then(|it| it.browse_path.clone()).unwrap();
        assert_eq!(path, [QualifiedName::new(2, "Order"), QualifiedName::new(3, "Id")]);
        assert_eq!(filter(&every, 1).where_clause, ContentFilter::default());
        let severe = filter(&every, 500).where_clause.elements.unwrap();
        assert_eq!(severe[0].filter_operator, FilterOperator::GreaterThanOrEqual);
    }
}
