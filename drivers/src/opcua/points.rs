//! The points of a server: what the operator said of each, and what the server calls it on this connection.

use super::address::{Address, NodeRef};
use super::held::Held;
use super::status::{quality, refusal};
use super::structures::{Fault, Layouts};
use super::value::show;
use crate::config::{Access, ByteOrder, ConfigError, DataType, Publish, TagConfig, TagKind};
use crate::port::{PointId, PointRead, ReadError, Sample};
use crate::scaling::Scaling;
use opcua::types::{
    Array, AttributeId, DataValue, DateTime, NodeId, NumericRange, ReadValueId, StatusCode, Variant,
};
use proto::{Datum, Quality, TimestampMs};
use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

/// Why a structure has no value whose type the server was not asked for yet.
pub(crate) const UNKNOWN_TYPE: &str = "a structure of which the type is not known yet";

/// One point.
pub(crate) struct Point {
    pub(crate) kind: TagKind,
    pub(crate) address: Address,
    data_type: DataType,
    pub(crate) scaling: Scaling,
    pub(crate) is_writable: bool,
    pub(crate) sampling_ms: u32,
    /// By how much the server's value has to change before the server tells of it; 0: by anything.
    pub(crate) server_deadband: f64,
}

impl Point {
    /// Checks what can be checked without the server.
    pub(crate) fn new(tag: &TagConfig) -> Result<Self, ConfigError> {
        let address = tag
            .address
            .parse()
            .map_err(|error| ConfigError::new("address", format!("{:?}: {error}", tag.address)))?;
        if tag.byte_order != ByteOrder::Abcd {
            return Err(ConfigError::new("byte_order", "an OPC UA server tells its own"));
        }
        if matches!(tag.data_type, DataType::Bcd16 | DataType::Bcd32) {
            let reason = format!("OPC UA has no {}", tag.data_type);
            return Err(ConfigError::new("type", reason));
        }
        Ok(Self {
            kind: tag.kind,
            address,
            data_type: tag.data_type,
            scaling: Scaling::of(tag),
            is_writable: tag.access == Access::ReadWrite,
            sampling_ms: tag.poll_interval_ms,
            server_deadband: server_deadband(tag),
        })
    }

    /// The type as it is told in errors.
    pub(crate) fn data_type(&self) -> String {
        self.data_type.to_string()
    }

    /// What a server that answers with `value` says of this point.
    pub(crate) fn read(&self, id: PointId, value: &DataValue, layouts: &Layouts) -> PointRead {
        let status = value.status.unwrap_or(StatusCode::Good);
        let quality = quality(status);
        if quality == Quality::Bad {
            let target = self.address.to_string();
            return (id, Err(ReadError::Device { target, error: refusal(status) }));
        }
        let raw = value.value.as_ref().ok_or("the machine says nothing");
        let raw = raw.and_then(|raw| self.part(raw)).map_err(Fault::Broken);
        match raw.and_then(|raw| show(&raw, self.data_type, &self.scaling, layouts)) {
            Ok(shown) => {
                let at =
                    time_of(value.source_timestamp).or_else(|| time_of(value.server_timestamp));
                (id, Ok(Sample { point: id, value: shown, quality, at }))
            }
            Err(fault) => {
                let (target, data_type) = (self.address.to_string(), self.data_type());
                let reason = match fault {
                    Fault::Broken(reason) => reason,
                    Fault::Unknown(_) => UNKNOWN_TYPE,
                };
                (id, Err(ReadError::NoValue { target, data_type, reason }))
            }
        }
    }

    /// The part that was asked for, also from a server that sends the whole array all the same.
    fn part<'a>(&self, value: &'a Variant) -> Result<Cow<'a, Variant>, &'static str> {
        const SHORTER: &str = "the array is shorter";
        let Variant::Array(array) = value else { return Ok(Cow::Borrowed(value)) };
        match (&self.address.range, array.values.as_slice()) {
            (_, [one]) if self.address.is_element() => Ok(Cow::Borrowed(one)),
            (NumericRange::Index(index), values) => {
                let found = values.get(*index as usize);
                found.map(Cow::Borrowed).ok_or(SHORTER)
            }
            (NumericRange::Range(first, last), values)
                if values.len() > (last - first) as usize + 1 =>
            {
                let end = values.len().min(*last as usize + 1);
                let cut = values.get(*first as usize..end).ok_or(SHORTER)?;
                let cut = Array::new(array.value_type, cut).map_err(|_| SHORTER)?;
                Ok(Cow::Owned(Variant::Array(Box::new(cut))))
            }
            _ => Ok(Cow::Borrowed(value)),
        }
    }

    /// What a server's value is, as far as it can be written to; nothing of one that sends the whole array where a part
    /// was asked for, and would take a part for all of it.
    pub(crate) fn held(&self, value: &Variant) -> Option<Held> {
        let count = match value {
            Variant::Array(array) => array.values.len(),
            _ => return Held::of(value),
        };
        match &self.address.range {
            NumericRange::None => Held::of(value),
            NumericRange::Range(first, last) => {
                Held::of(value).filter(|_| count <= (last - first) as usize + 1)
            }
            _ if self.address.is_element() => {
                Held::of(value).filter(|_| count == 1).map(Held::element)
            }
            _ => Held::of(value),
        }
    }

    /// That the server tells events of this point from now on.
    pub(crate) fn listened(&self, id: PointId) -> PointRead {
        (id, Ok(Sample { point: id, value: Datum::Bool(true), quality: Quality::Good, at: None }))
    }

    /// Why this point cannot be read at all, on this connection.
    pub(crate) fn unknown(&self, id: PointId, status: StatusCode) -> PointRead {
        let (target, error) = (self.address.to_string(), refusal(status));
        (id, Err(ReadError::Device { target, error }))
    }
}

/// The deadband of a tag in the numbers of the server, if leaving it to the server comes to the same: what the server
/// tells of is then published, and the next change counts from it. So it is not for a tag whose values are rounded, are
/// published in any case, or may be held back by another deadband, which the server has no equal of.
fn server_deadband(tag: &TagConfig) -> f64 {
    let is_exact = tag.precision.is_none() && tag.deadband_percent.is_none();
    match tag.deadband {
        Some(deadband) if is_exact && tag.publish == Publish::OnChange => {
            deadband / tag.scale.abs()
        }
        _ => 0.0,
    }
}

/// A time that a machine says, unless it says none, or one before there were any.
pub(super) fn time_of(time: Option<DateTime>) -> Option<TimestampMs> {
    let ms = time.filter(|it| !it.is_null())?.as_chrono().timestamp_millis();
    u64::try_from(ms).ok().filter(|ms| *ms > 0).map(TimestampMs)
}

/// What the server calls a point, on one connection.
pub(crate) struct Node {
    /// The node, or why it cannot be told.
    pub(crate) id: Result<NodeId, StatusCode>,
    /// What its value is, once it was seen.
    pub(crate) held: OnceLock<Held>,
    /// The server lets nobody filter its changes.
    pub(crate) is_unfiltered: AtomicBool,
}

impl Node {
    pub(crate) fn new(id: Result<NodeId, StatusCode>) -> Self {
        Self { id, held: OnceLock::new(), is_unfiltered: AtomicBool::new(false) }
    }

    /// Remembers what the server's value is.
    pub(crate) fn learn(&self, point: &Point, value: &DataValue) {
        if self.held.get().is_none()
            && let Some(held) = value.value.as_ref().and_then(|value| point.held(value))
        {
            let _ = self.held.set(held);
        }
    }
}

/// The node of an address that needs no server to be looked up; `namespaces` is the array of the connection.
pub(crate) fn known_node(
    node: &NodeRef,
    namespaces: &[String],
) -> Option<Result<NodeId, StatusCode>> {
    match node {
        NodeRef::Id(id) => Some(Ok(id.clone())),
        NodeRef::InNamespace { uri, id } => {
            let index = namespaces.iter().position(|it| it == uri);
            let index = index.and_then(|it| u16::try_from(it).ok());
            Some(match index {
                Some(namespace) => Ok(NodeId { namespace, ..id.clone() }),
                None => Err(StatusCode::BadNodeIdUnknown),
            })
        }
        NodeRef::Path(_) => None,
    }
}

/// The question for the value of a point.
pub(crate) fn value_of(node: &NodeId, point: &Point) -> ReadValueId {
    ReadValueId {
        node_id: node.clone(),
        attribute_id: AttributeId::Value as u32,
        index_range: point.address.range.clone(),
        ..ReadValueId::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn point(address: &str, more: &serde_json::Value) -> Result<Point, ConfigError> {
        let mut tag = json!({"tag": "t", "path": "a/_raw/t", "address": address});
        for (key, value) in more.as_object().unwrap() {
            tag[key] = value.clone();
        }
        Point::new(&serde_json::from_value(tag).unwrap())
    }

    #[test]
    fn what_opc_ua_cannot_do_is_refused_with_the_field() {
        for (address, more, field) in [
            ("40001", json!({}), "address"),
            ("i=1", json!({"byte_order": "DCBA"}), "byte_order"),
            ("i=1", json!({"type": "bcd16"}), "type"),
        ] {
            assert_eq!(point(address, &more).err().unwrap().field, field, "{address} {more}");
        }
        assert!(point("i=1", &json!({"access": "read_write"})).unwrap().is_writable);
    }

    #[test]
    fn the_source_time_counts_before_that_of_the_server() {
        let point = point("i=1", &json!({})).unwrap();
        let value = DataValue {
            value: Some(Variant::Int32(5)),
            status: Some(StatusCode::UncertainLastUsableValue),
            source_timestamp: Some(DateTime::ymd_hms(2026, 1, 1, 0, 0, 1)),
            server_timestamp: Some(DateTime::ymd_hms(2026, 1, 1, 0, 0, 2)),
            ..DataValue::default()
        };
        let (_, Ok(sample)) = point.read(PointId(3), &value, &Layouts::default()) else {
            panic!("no sample")
        };
        assert_eq!(sample.value, Datum::Int(5));
        assert_eq!(sample.quality, Quality::Uncertain);
        assert_eq!(sample.at, Some(TimestampMs(1_767_225_601_000)));
        let without = DataValue { source_timestamp: Some(DateTime::null()), ..value };
        let (_, Ok(sample)) = point.read(PointId(3), &without, &Layouts::default()) else {
            panic!("no sample")
        };
        assert_eq!(sample.at, Some(TimestampMs(1_767_225_602_000)));
    }

    #[test]
    fn a_bad_status_is_the_points_error_with_the_servers_name() {
        let point = point("ns=2;s=Gone", &json!({})).unwrap();
        let value =
            DataValue { status: Some(StatusCode::BadNodeIdUnknown), ..DataValue::default() };
        let (_, Err(error)) = point.read(PointId(0), &value, &Layouts::default()) else {
            panic!("a value")
        };
        assert_eq!(error.code(), "illegal_address");
        assert_eq!(error.to_string(), "cannot read ns=2;s=Gone: BadNodeIdUnknown");
    }

    #[test]
    fn an_element_is_found_also_in_the_whole_array() {
        let point = point("ns=2;s=Table [1]", &json!({})).unwrap();
        let shown = |values: Vec<i32>| {
            let value = DataValue { value: Some(Variant::from(values)), ..DataValue::default() };
            point
                .read(PointId(0), &value, &Layouts::default())
                .1
                .map(|it| it.value)
                .map_err(|it| it.code())
        };
        assert_eq!(shown(vec![20]), Ok(Datum::Int(20)), "cut out by the server");
        assert_eq!(shown(vec![10, 20, 30]), Ok(Datum::Int(20)));
        assert_eq!(shown(vec![]), Err("no_value"));
    }

    #[test]
    fn a_namespace_is_found_wherever_it_has_moved_to() {
        let address: Address = "nsu=urn:plc;s=Level".parse().unwrap();
        let namespaces =
            |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let found = |names: &[&str]| known_node(&address.node, &namespaces(names)).unwrap();
        assert_eq!(
            found(&["http://opcfoundation.org/UA/", "urn:plc"]),
            Ok(NodeId::new(1, "Level"))
        );
        assert_eq!(found(&["ua", "urn:other", "urn:plc"]), Ok(NodeId::new(2, "Level")));
        assert_eq!(found(&["ua"]), Err(StatusCode::BadNodeIdUnknown));
    }
}
