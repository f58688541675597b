//! What the server of a tank has: variables, and a method that fills the tank and tells of it.

use super::{Kind, batch, manager, namespace_index};
use anyhow::Result;
use opcua::nodes::{BaseEventType, Event, NodeType};
use opcua::server::address_space::{AccessLevel, AddressSpace, MethodBuilder, VariableBuilder};
use opcua::server::node_manager::memory::SimpleNodeManager;
use opcua::server::{ServerHandle, SubscriptionCache};
use opcua::types::{
    Argument, Array, ByteString, DataEncoding, DataTypeId, DataValue, NodeId, NumericRange,
    ObjectId, ObjectTypeId, QualifiedName, StatusCode, TimestampsToReturn, UAString,
    VariableTypeId, Variant, VariantScalarTypeId,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most that fits into the tank.
const LEVEL_MAX: f64 = 100.0;
/// How much it matters that the tank was filled.
const FILLED_SEVERITY: u16 = 500;

pub(super) fn fill(handle: &ServerHandle, kind: Kind) -> Result<()> {
    let index = namespace_index(handle)?;
    let node = |name: &str| NodeId::new(index, name);
    let manager = manager(handle)?;
    let mut space = manager.address_space().write();
    let tank = node("Tank");
    space.add_folder(
        &tank,
        QualifiedName::new(index, "Tank"),
        "Tank",
        &NodeId::objects_folder_id(),
    );
    add_values(&mut space, index, &tank)?;
    batch::add(&mut space, index, &tank)?;
    for number in 0..kind.values {
        let name = format!("V{number}");
        VariableBuilder::new(&node(&name), QualifiedName::new(index, name.as_str()), name.as_str())
            .data_type(DataTypeId::Int32)
            .value(i32::try_from(number).unwrap_or(i32::MAX))
            .has_type_definition(VariableTypeId::BaseDataVariableType)
            .component_of(tank.clone())
            .insert(&mut *space);
    }
    let fill = node("Fill");
    MethodBuilder::new(&fill, QualifiedName::new(index, "Fill"), "Fill")
        .executable(true)
        .user_executable(true)
        .component_of(tank.clone())
        .input_args(
            &mut *space,
            &node("FillInput"),
            &[argument("to", DataTypeId::Double), argument("note", DataTypeId::String)],
        )
        .output_args(&mut *space, &node("FillOutput"), &[argument("before", DataTypeId::Double)])
        .insert(&mut *space);
    drop(space);
    // Says that it was written, and keeps what it had.
    manager.inner().add_write_callback(node("Clamped"), |_, _| StatusCode::Good);
    let level = node("Level");
    let (of, subscriptions) = (Arc::downgrade(&manager), Arc::downgrade(handle.subscriptions()));
    manager.inner().add_method_callback(fill, move |input| {
        let gone = StatusCode::BadShutdown;
        let (of, subscriptions) = of.upgrade().zip(subscriptions.upgrade()).ok_or(gone)?;
        filled(&of, &subscriptions, (&tank, &level), input)
    });
    Ok(())
}

/// The values of every kind.
fn add_values(space: &mut AddressSpace, index: u16, tank: &NodeId) -> Result<()> {
    let matrix = Array::new_multi(
        VariantScalarTypeId::Double,
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(Variant::Double),
        [2, 3],
    )?;
    let values: Vec<(&str, DataTypeId, Variant, bool)> = vec![
        ("Level", DataTypeId::Double, Variant::Double(12.5), false),
        ("Count", DataTypeId::UInt32, Variant::UInt32(7), false),
        ("Setpoint", DataTypeId::Int16, Variant::Int16(200), true),
        ("Pump", DataTypeId::Boolean, Variant::Boolean(false), true),
        ("Recipe", DataTypeId::String, Variant::String(UAString::from("water")), true),
        ("Clamped", DataTypeId::Int32, Variant::Int32(0), true),
        ("Table", DataTypeId::Int32, Variant::from(vec![10, 20, 30]), true),
        ("Matrix", DataTypeId::Double, Variant::Array(Box::new(matrix)), true),
    ];
    for (name, data_type, value, is_writable) in values {
        add_variable(space, (index, tank), name, data_type, (value, is_writable));
    }
    Ok(())
}

/// A variable of the tank, whose value has the rank that all of its values have.
pub(super) fn add_variable(
    space: &mut AddressSpace,
    (index, tank): (u16, &NodeId),
    name: &str,
    data_type: impl Into<NodeId>,
    (value, is_writable): (Variant, bool),
) {
    let mut access = AccessLevel::CURRENT_READ;
    access.set(AccessLevel::CURRENT_WRITE, is_writable);
    let rank = match &value {
        Variant::Array(array) => array.dimensions.as_ref().map_or(1, |it| it.len() as i32),
        _ => -1,
    };
    VariableBuilder::new(&NodeId::new(index, name), QualifiedName::new(index, name), name)
        .data_type(data_type)
        .value_rank(rank)
        .value(value)
        .access_level(access)
        .user_access_level(access)
        .has_type_definition(VariableTypeId::BaseDataVariableType)
        .component_of(tank.clone())
        .insert(space);
}

fn argument(name: &str, data_type: DataTypeId) -> Argument {
    (name, data_type).into()
}

/// Fills the tank to a level and tells of it; the level before.
fn filled(
    manager: &SimpleNodeManager,
    subscriptions: &SubscriptionCache,
    (tank, level): (&NodeId, &NodeId),
    input: &[Variant],
) -> Result<Vec<Variant>, StatusCode> {
    let [Variant::Double(to), Variant::String(note)] = input else {
        return Err(StatusCode::BadTypeMismatch);
    };
    if !(0.0..=LEVEL_MAX).contains(to) {
        return Err(StatusCode::BadOutOfRange);
    }
    let before = {
        let space = manager.address_space().read();
        match space.find_node(level) {
            Some(NodeType::Variable(it)) => {
                let whole = (&NumericRange::None, &DataEncoding::Binary);
                it.value(TimestampsToReturn::Neither, whole.0, whole.1, 0.0).value
            }
            _ => None,
        }
    };
    manager.set_value(subscriptions, level, None, DataValue::new_now(*to))?;
    tell(subscriptions, tank, &format!("filled to {to}: {note}"), FILLED_SEVERITY);
    Ok(vec![before.unwrap_or_default()])
}

/// Tells an event.
pub(super) fn tell(
    subscriptions: &SubscriptionCache,
    source: &NodeId,
    message: &str,
    severity: u16,
) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let id = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec();
    let of = ObjectTypeId::SystemEventType;
    let event = BaseEventType::new_now(of, ByteString::from(id), message)
        .set_severity(severity)
        .set_source_node(source.clone())
        .set_source_name("Tank".into());
    let server = NodeId::from(ObjectId::Server);
    subscriptions.notify_events(std::iter::once((&event as &dyn Event, &server)));
}
