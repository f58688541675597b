//! What a server takes in one request: what it says of itself (OPC 10000-5, 6.3.11), what is known of its product, and
//! what the operator says, the least of it.

use super::config::OpcUaConfig;
use super::link::{Wire, deadline, too_late, unreachable};
use super::profile::ServerProfile;
use crate::port::ConnectError;
use opcua::types::{
    AttributeId, DataValue, Error, NodeId, ReadValueId, StatusCode, TimestampsToReturn, UAString,
    VariableId, Variant,
};
use tokio::time::timeout;

/// The limit of a server that tells none.
const LIMIT_UNKNOWN: u32 = u32::MAX;

/// What a server takes in one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) read: usize,
    pub(crate) write: usize,
    pub(crate) monitor: usize,
    pub(crate) translate: usize,
    pub(crate) browse: usize,
    pub(crate) history: usize,
    /// Of which product that is taken into account; not [`ServerProfile::Auto`] once the server is known.
    pub(crate) profile: ServerProfile,
}

impl Limits {
    /// Those of a server that has answered so to the questions of [`VARIABLES`].
    pub(crate) fn of(config: &OpcUaConfig, values: &[DataValue]) -> Self {
        let limit = |index: usize| {
            let said = match values.get(index).and_then(|it| it.value.as_ref()) {
                // 0 is no limit (OPC 10000-5, 6.3.11).
                Some(Variant::UInt32(it)) if *it > 0 => *it,
                _ => LIMIT_UNKNOWN,
            };
            said.min(config.nodes_per_request_max) as usize
        };
        let [read, write, monitor, translate, browse, history] = std::array::from_fn(limit);
        let text = |index: usize| match values.get(index).and_then(|it| it.value.as_ref()) {
            Some(Variant::String(it)) => it.as_ref().to_owned(),
            _ => String::new(),
        };
        let profile = config.profile.of_server(&text(6), &text(7));
        let monitor = monitor.min(profile.quirks().items_per_request);
        Self { read, write, monitor, translate, browse, history, profile }
    }
}

/// The namespaces, what [`Limits::of`] reads, and who made the server.
const VARIABLES: [VariableId; 9] = [
    VariableId::Server_NamespaceArray,
    VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite,
    VariableId::Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
    VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData,
    VariableId::Server_ServerStatus_BuildInfo_ManufacturerName,
    VariableId::Server_ServerStatus_BuildInfo_ProductName,
];

/// Asks for the limits and the namespaces of the server.
pub(crate) async fn learn(wire: &mut Wire, config: &OpcUaConfig) -> Result<(), ConnectError> {
    let questions = VARIABLES.map(|it| ReadValueId {
        node_id: NodeId::from(it),
        attribute_id: AttributeId::Value as u32,
        ..ReadValueId::default()
    });
    // A small machine may not know all of them, but it can tell so; a very small one takes fewer than these at once.
    let mut values = Vec::new();
    match ask(wire, config, &questions).await? {
        Ok(told) => values = told,
        Err(error) if error.status() == StatusCode::BadTooManyOperations => {
            for question in questions {
                let told = ask(wire, config, &[question]).await?;
                let told = told.map_err(|error| unreachable(config, error.to_string()))?;
                values.extend(told);
            }
        }
        Err(error) => return Err(unreachable(config, error.to_string())),
    }
    wire.namespaces = values.first().map(names_in).unwrap_or_default().into();
    wire.limits = Limits::of(config, values.get(1..).unwrap_or_default());
    Ok(())
}

async fn ask(
    wire: &Wire,
    config: &OpcUaConfig,
    questions: &[ReadValueId],
) -> Result<Result<Vec<DataValue>, Error>, ConnectError> {
    let asked = wire.session.read(questions, TimestampsToReturn::Neither, 0.0);
    timeout(deadline(config), asked).await.map_err(|_| too_late(config))
}

fn names_in(value: &DataValue) -> Vec<String> {
    let Some(Variant::Array(array)) = &value.value else { return Vec::new() };
    let name = |it: &Variant| match it {
        Variant::String(it) => UAString::as_ref(it).to_owned(),
        _ => String::new(),
    };
    array.values.iter().map(name).collect()
}
