//! What a server has, and who it is.

use super::events::stable;
use super::requests::Requests;
use super::status::refusal;
use crate::port::{Found, QueryError};
use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, BrowseResult, BrowseResultMaskFlags,
    ByteString, DataValue, NodeClass, NodeClassMask, NodeId, ObjectId, ReadValueId,
    ReferenceDescription, ReferenceTypeId, StatusCode, VariableId, Variant,
};

impl Requests<'_> {
    /// The children of a node, or of the folder of objects.
    pub(crate) async fn browse(
        &mut self,
        below: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Found>, QueryError> {
        let node = match below {
            Some(text) => self.node_at(text).await?,
            None => ObjectId::ObjectsFolder.into(),
        };
        let mut found = self.references(&node, limit).await?;
        found.truncate(limit);
        let mut children = Vec::with_capacity(found.len());
        let mut variables = Vec::new();
        for reference in &found {
            if reference.node_class == NodeClass::Variable {
                variables.push((children.len(), reference.node_id.node_id.clone()));
            }
            children.push(self.found(reference));
        }
        self.describe(&variables, &mut children).await?;
        Ok(children)
    }

    async fn references(
        &mut self,
        node: &NodeId,
        limit: usize,
    ) -> Result<Vec<ReferenceDescription>, QueryError> {
        let session = &self.wire.session;
        let question = BrowseDescription {
            node_id: node.clone(),
            browse_direction: BrowseDirection::Forward,
            reference_type_id: ReferenceTypeId::HierarchicalReferences.into(),
            include_subtypes: true,
            node_class_mask: (NodeClassMask::OBJECT
                | NodeClassMask::VARIABLE
                | NodeClassMask::METHOD)
                .bits(),
            result_mask: BrowseResultMaskFlags::all().bits(),
        };
        let page = limit.min(self.wire.limits.browse).max(1) as u32;
        let asked = [question];
        let answer = self.call("browsing", session.browse(&asked, page, None)).await?;
        let (mut found, mut more) = page_of(answer)?;
        while let Some(point) = more.take() {
            let is_enough = found.len() >= limit;
            // Also at the end: a server has few of these, and keeps each until it is told.
            let points = [point];
            let answer = self.call("browsing", session.browse_next(is_enough, &points)).await?;
            if is_enough {
                break;
            }
            let (next, rest) = page_of(answer)?;
            if next.is_empty() {
                break;
            }
            found.extend(next);
            more = rest;
        }
        Ok(found)
    }

    fn found(&self, reference: &ReferenceDescription) -> Found {
        let is = match reference.node_class {
            NodeClass::Object => "object",
            NodeClass::Variable => "variable",
            NodeClass::Method => "method",
            _ => "node",
        };
        Found {
            address: stable(&reference.node_id.node_id, &self.wire.namespaces),
            name: reference.browse_name.name.as_ref().to_owned(),
            is,
            data_type: None,
            is_writable: None,
        }
    }

    /// Puts type and access to variables.
    async fn describe(
        &mut self,
        variables: &[(usize, NodeId)],
        found: &mut [Found],
    ) -> Result<(), QueryError> {
        let ask = |node: &NodeId, attribute: AttributeId| ReadValueId {
            node_id: node.clone(),
            attribute_id: attribute as u32,
            ..ReadValueId::default()
        };
        let of = |(_, node): &(usize, NodeId)| {
            [ask(node, AttributeId::DataType), ask(node, AttributeId::UserAccessLevel)]
        };
        let asked: Vec<ReadValueId> = variables.iter().flat_map(of).collect();
        let values = self.read(&asked).await?;
        for ((index, _), pair) in variables.iter().zip(values.chunks_exact(2)) {
            if let Some(Variant::NodeId(id)) = &pair[0].value {
                found[*index].data_type = Some(type_name(id));
            }
            if let Some(Variant::Byte(level)) = &pair[1].value {
                // Bit 1 is CurrentWrite (OPC 10000-3, 8.57).
                found[*index].is_writable = Some(level & 2 != 0);
            }
        }
        Ok(())
    }

    /// What the server says of itself.
    pub(crate) async fn identify(&mut self) -> Result<Vec<(String, String)>, QueryError> {
        let asked = [
            ("maker", VariableId::Server_ServerStatus_BuildInfo_ManufacturerName),
            ("product", VariableId::Server_ServerStatus_BuildInfo_ProductName),
            ("product_uri", VariableId::Server_ServerStatus_BuildInfo_ProductUri),
            ("version", VariableId::Server_ServerStatus_BuildInfo_SoftwareVersion),
            ("build", VariableId::Server_ServerStatus_BuildInfo_BuildNumber),
            ("started", VariableId::Server_ServerStatus_StartTime),
            ("time", VariableId::Server_ServerStatus_CurrentTime),
        ];
        let question = |(_, variable): &(&str, VariableId)| ReadValueId {
            node_id: NodeId::from(*variable),
            attribute_id: AttributeId::Value as u32,
            ..ReadValueId::default()
        };
        let questions: Vec<ReadValueId> = asked.iter().map(question).collect();
        let values = self.read(&questions).await?;
        let text = |value: &DataValue| match value.value.as_ref()? {
            Variant::String(it) if !it.is_empty() => Some(it.as_ref().to_owned()),
            Variant::DateTime(it) => Some(it.to_rfc3339()),
            _ => None,
        };
        let told = asked.iter().zip(&values);
        let mut told: Vec<(String, String)> = told
            .filter_map(|((name, _), value)| Some(((*name).to_owned(), text(value)?)))
            .collect();
        let endpoint = &self.wire.session.endpoint_info().endpoint;
        let policy = endpoint.security_policy_uri.as_ref();
        let policy = policy.rsplit('#').next().unwrap_or(policy).to_owned();
        let profile = self.wire.limits.profile.name().to_owned();
        told.push(("profile".to_owned(), profile));
        told.push(("security_policy".to_owned(), policy));
        told.push(("security_mode".to_owned(), format!("{:?}", endpoint.security_mode)));
        Ok(told)
    }
}

/// What one answer brought, and where it goes on.
fn page_of(
    answer: Result<Vec<BrowseResult>, StatusCode>,
) -> Result<(Vec<ReferenceDescription>, Option<ByteString>), QueryError> {
    let refused = |status| QueryError::Device(refusal(status));
    let mut answer = answer.map_err(refused)?;
    let Some(result) = answer.pop() else { return Ok((Vec::new(), None)) };
    if result.status_code.is_bad() {
        return Err(refused(result.status_code));
    }
    let more = Some(result.continuation_point).filter(|it| !it.is_null_or_empty());
    Ok((result.references.unwrap_or_default(), more))
}

/// `Double` for a built-in type, the NodeId for others.
fn type_name(id: &NodeId) -> String {
    match id.as_data_type_id() {
        Ok(known) if id.namespace == 0 => format!("{known:?}"),
        _ => id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opcua::types::DataTypeId;

    #[test]
    fn types_are_told_by_name_where_they_have_one() {
        assert_eq!(type_name(&DataTypeId::Double.into()), "Double");
        assert_eq!(type_name(&NodeId::new(2, "Recipe")), "ns=2;s=Recipe");
    }
}
