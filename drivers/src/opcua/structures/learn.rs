//! What a server says of its structures: the type of an encoding (OPC 10000-5, 9.24), the attribute
//! `DataTypeDefinition` of that type (OPC 10000-3, 5.8.3), and so on for the types of its fields.

use super::{Field, Form, Layout, Layouts, Part, TOO_MANY_TYPES, TYPES_MAX};
use crate::opcua::arguments::Kind;
use crate::opcua::call::SUPERTYPES_MAX;
use crate::opcua::requests::Requests;
use crate::port::{Lost, QueryError};
use opcua::types::{
    AttributeId, DataTypeId, NodeClassMask, NodeId, ReadValueId, ReferenceTypeId,
    StructureDefinition, StructureType, Variant,
};
use std::sync::Arc;

/// How often a value may name types that are not known yet: structures that say themselves of which type they are may
/// have such in them.
const ROUNDS_MAX: usize = 8;

/// What the server does not say.
const UNTOLD: &str = "a structure whose fields the server does not tell";

impl Requests<'_> {
    /// What is known of structures, once the server was asked for all encodings that are `missing`.
    pub(crate) async fn learn_types(
        &mut self,
        missing: impl Fn(&Layouts) -> Vec<NodeId>,
    ) -> Result<Arc<Layouts>, Lost> {
        for _ in 0..ROUNDS_MAX {
            let known = self.wire.types.known();
            let missing = missing(&known);
            if missing.is_empty() {
                break;
            }
            let mut next = (*known).clone();
            for encoding in missing {
                self.learn_encoding(encoding, &mut next).await?;
            }
            self.wire.types.add(next);
        }
        Ok(self.wire.types.known())
    }

    async fn learn_encoding(&mut self, encoding: NodeId, to: &mut Layouts) -> Result<(), Lost> {
        if to.knows(&encoding) || to.by_encoding.len() >= TYPES_MAX {
            return Ok(());
        }
        let types = NodeClassMask::DATA_TYPE;
        let found = self.above(&encoding, ReferenceTypeId::HasEncoding, types).await;
        let found = told(found)?.and_then(|it| it.into_iter().next());
        if let Some(data_type) = &found {
            self.learn_type(data_type.clone(), to).await?;
        }
        to.by_encoding.insert(encoding, found.ok_or(UNTOLD));
        Ok(())
    }

    /// Learns a type, and those of its fields.
    async fn learn_type(&mut self, data_type: NodeId, to: &mut Layouts) -> Result<(), Lost> {
        let mut wanted = vec![data_type];
        while let Some(data_type) = wanted.pop() {
            if to.by_type.contains_key(&data_type) {
                continue;
            }
            if to.by_type.len() >= TYPES_MAX {
                to.by_type.insert(data_type, Err(TOO_MANY_TYPES));
                continue;
            }
            let layout = match self.definition(&data_type).await? {
                Some(definition) => self.layout(definition, to).await?.ok_or(UNTOLD),
                None => Err(UNTOLD),
            };
            if let Ok(layout) = &layout {
                wanted.extend(layout.fields.iter().filter_map(|field| match &field.part {
                    Part::Structure(inner) => Some(inner.clone()),
                    _ => None,
                }));
            }
            to.by_type.insert(data_type, layout.map(Arc::new));
        }
        Ok(())
    }

    async fn definition(
        &mut self,
        data_type: &NodeId,
    ) -> Result<Option<StructureDefinition>, Lost> {
        let values = self.read(&[attribute(data_type, AttributeId::DataTypeDefinition)]).await?;
        let value = values.into_iter().next().and_then(|it| it.value);
        Ok(match value {
            Some(Variant::ExtensionObject(told)) => told.inner_as::<StructureDefinition>().cloned(),
            _ => None,
        })
    }

    async fn layout(
        &mut self,
        definition: StructureDefinition,
        to: &mut Layouts,
    ) -> Result<Option<Layout>, Lost> {
        use StructureType as Type;
        let kind = definition.structure_type;
        let form = match kind {
            Type::Structure | Type::StructureWithSubtypedValues => Form::Whole,
            Type::StructureWithOptionalFields => Form::Optional,
            Type::Union | Type::UnionWithSubtypedValues => Form::Union,
        };
        // There the same flag says that the field may have a value of a subtype (OPC 10000-3, 8.49).
        let has_subtypes =
            matches!(kind, Type::StructureWithSubtypedValues | Type::UnionWithSubtypedValues);
        let mut fields = Vec::new();
        for field in definition.fields.into_iter().flatten() {
            let Some(mut part) = self.part(&field.data_type, to).await? else { return Ok(None) };
            if has_subtypes && field.is_optional {
                part = match part {
                    Part::Plain(_) => Part::Plain(Kind::Any),
                    Part::Structure(_) | Part::Any => Part::Any,
                };
            }
            fields.push(Field {
                name: field.name.as_ref().to_owned(),
                part,
                dimensions: usize::try_from(field.value_rank).unwrap_or_default(),
                is_optional: field.is_optional && form == Form::Optional,
            });
        }
        Ok(Some(Layout { encoding: definition.default_encoding_id, form, fields }))
    }

    /// What a value of this type is, with what is known once that is; `None` if the server does not say.
    pub(crate) async fn learn_part(
        &mut self,
        data_type: &NodeId,
    ) -> Result<(Option<Part>, Arc<Layouts>), Lost> {
        let known = self.wire.types.known();
        if let Some(part) = known.parts.get(data_type) {
            return Ok((Some(part.clone()), known));
        }
        let mut next = (*known).clone();
        let part = self.part(data_type, &mut next).await?;
        if let Some(Part::Structure(inner)) = &part {
            self.learn_type(inner.clone(), &mut next).await?;
        }
        Ok((part, self.wire.types.add(next)))
    }

    /// What a field of this type holds, by the supertypes of it.
    async fn part(&mut self, of: &NodeId, to: &mut Layouts) -> Result<Option<Part>, Lost> {
        if let Some(known) = to.parts.get(of) {
            return Ok(Some(known.clone()));
        }
        let mut data_type = of.clone();
        let mut part = None;
        for _ in 0..SUPERTYPES_MAX {
            if let Some(kind) = Kind::of(&data_type) {
                part = Some(Part::Plain(kind));
                break;
            }
            if data_type == DataTypeId::Structure {
                part = Some(match self.is_abstract(of).await? {
                    true => Part::Any,
                    false => Part::Structure(of.clone()),
                });
                break;
            }
            let types = NodeClassMask::DATA_TYPE;
            let above = self.above(&data_type, ReferenceTypeId::HasSubtype, types).await;
            match told(above)?.and_then(|it| it.into_iter().next()) {
                Some(above) => data_type = above,
                None => break,
            }
        }
        if let Some(part) = &part {
            to.parts.insert(of.clone(), part.clone());
        }
        Ok(part)
    }

    async fn is_abstract(&mut self, data_type: &NodeId) -> Result<bool, Lost> {
        let values = self.read(&[attribute(data_type, AttributeId::IsAbstract)]).await?;
        Ok(values.first().is_some_and(|it| it.value == Some(Variant::Boolean(true))))
    }
}

fn attribute(node: &NodeId, attribute: AttributeId) -> ReadValueId {
    ReadValueId { node_id: node.clone(), attribute_id: attribute as u32, ..ReadValueId::default() }
}

/// What was answered, if anything was.
fn told<T>(answer: Result<T, QueryError>) -> Result<Option<T>, Lost> {
    match answer {
        Ok(told) => Ok(Some(told)),
        Err(QueryError::Lost(lost)) => Err(lost),
        Err(_) => Ok(None),
    }
}
