//! A structure of the tank: a batch with amounts, limits and steps, whose types the server tells.

use super::nodes;
use anyhow::{Result, anyhow};
use opcua::nodes::ReferenceDirection;
use opcua::server::address_space::{AddressSpace, DataTypeBuilder, ObjectBuilder};
use opcua::types::{
    BinaryEncodable, ByteStringBody, ContextOwned, DataTypeId, DecodingOptions, ExtensionObject,
    NamespaceMap, NodeId, ObjectTypeId, QualifiedName, Range, ReferenceTypeId, StructureDefinition,
    StructureField, StructureType, UAString, Variant,
};

/// The names of the types.
const BATCH: &str = "BatchType";
const STEP: &str = "StepType";

/// Adds `Batch` to the tank, with its types.
pub(super) fn add(space: &mut AddressSpace, index: u16, tank: &NodeId) -> Result<()> {
    let node = |name: &str| NodeId::new(index, name);
    let steps = [
        field("Name", DataTypeId::String, -1),
        StructureField { is_optional: true, ..field("Seconds", DataTypeId::Double, -1) },
    ];
    add_type(space, index, STEP, StructureType::StructureWithOptionalFields, steps.into());
    let fields = [
        field("Number", DataTypeId::UInt32, -1),
        field("Product", DataTypeId::String, -1),
        field("Amounts", DataTypeId::Double, 1),
        field("Limits", DataTypeId::Range, -1),
        field("Steps", node(STEP), 1),
    ];
    add_type(space, index, BATCH, StructureType::Structure, fields.into());
    let value = batch(encoding_of(index, BATCH))?;
    nodes::add_variable(space, (index, tank), "Batch", node(BATCH), (value, true));
    Ok(())
}

fn field(name: &str, data_type: impl Into<NodeId>, value_rank: i32) -> StructureField {
    let (name, data_type) = (name.into(), data_type.into());
    StructureField { name, data_type, value_rank, ..StructureField::default() }
}

fn encoding_of(index: u16, of: &str) -> NodeId {
    NodeId::new(index, format!("{of}.DefaultBinary"))
}

/// A type with its encoding.
fn add_type(
    space: &mut AddressSpace,
    index: u16,
    name: &str,
    structure_type: StructureType,
    fields: Vec<StructureField>,
) {
    let (id, encoding) = (NodeId::new(index, name), encoding_of(index, name));
    let definition = StructureDefinition {
        default_encoding_id: encoding.clone(),
        base_data_type: DataTypeId::Structure.into(),
        structure_type,
        fields: Some(fields),
    };
    DataTypeBuilder::new(&id, QualifiedName::new(index, name), name)
        .data_type_definition(definition.into())
        .subtype_of(DataTypeId::Structure)
        .insert(space);
    ObjectBuilder::new(&encoding, QualifiedName::new(0, "Default Binary"), "Default Binary")
        .has_type_definition(ObjectTypeId::DataTypeEncodingType)
        .reference(id, ReferenceTypeId::HasEncoding, ReferenceDirection::Inverse)
        .insert(space);
}

/// The value that it has at first.
fn batch(encoding: NodeId) -> Result<Variant> {
    let context = ContextOwned::new_default(NamespaceMap::new(), DecodingOptions::default());
    let context = context.context();
    let mut bytes = Vec::new();
    let parts: [&dyn Fn(&mut Vec<u8>) -> _; 8] = [
        &|to| 7_u32.encode(to, &context),
        &|to| UAString::from("syrup").encode(to, &context),
        &|to| Some(vec![1.5_f64, 2.5]).encode(to, &context),
        &|to| Range { low: 0.0, high: 80.0 }.encode(to, &context),
        // Two steps, of which the second says how long.
        &|to| 2_i32.encode(to, &context),
        &|to| 0_u32.encode(to, &context).and_then(|()| UAString::from("heat").encode(to, &context)),
        &|to| 1_u32.encode(to, &context).and_then(|()| UAString::from("stir").encode(to, &context)),
        &|to| 12.5_f64.encode(to, &context),
    ];
    for part in parts {
        part(&mut bytes).map_err(|error| anyhow!("{error}"))?;
    }
    Ok(ExtensionObject::new(ByteStringBody::new(bytes.into(), encoding)).into())
}
