//! Requests for many nodes, in as many parts as the server takes, each under the deadline of its own.

use super::address::NodeRef;
use super::config::OpcUaConfig;
use super::link::Wire;
use super::points::{Node, Point, known_node};
use super::status::{is_too_much, loss};
use super::structures::Layouts;
use crate::port::{Counters, Lost};
use futures_util::future::{BoxFuture, FutureExt as _};
use opcua::client::Session;
use opcua::types::{
    BrowsePath, BrowsePathResult, DataValue, Error, NodeId, ObjectId, QualifiedName, ReadValueId,
    ReferenceTypeId, RelativePath, RelativePathElement, StatusCode, TimestampsToReturn, WriteValue,
};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A request on its way.
type Asked<T> = BoxFuture<'static, Result<Vec<T>, Error>>;

/// Carries requests out, and counts them.
pub(crate) struct Requests<'a> {
    pub(crate) wire: &'a Wire,
    pub(crate) config: &'a OpcUaConfig,
    pub(crate) counters: &'a mut Counters,
}

impl Requests<'_> {
    /// One request, under the deadline.
    pub(crate) async fn call<T>(
        &mut self,
        what: &str,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, StatusCode>, Lost> {
        let timeout_ms = self.config.timeout_ms;
        let lost = match timeout(Duration::from_millis(timeout_ms.into()), request).await {
            Ok(Ok(answer)) => {
                self.counters.round_trips += 1;
                return Ok(Ok(answer));
            }
            Ok(Err(error)) => match loss(error.status(), what, timeout_ms) {
                Some(lost) => lost,
                None => {
                    self.counters.round_trips += 1;
                    self.counters.device_errors += 1;
                    return Ok(Err(error.status()));
                }
            },
            Err(_) => Lost::Timeout { request: what.to_owned(), timeout_ms },
        };
        let counter = match &lost {
            Lost::Timeout { .. } => &mut self.counters.timeouts,
            Lost::Protocol { .. } => &mut self.counters.protocol_violations,
            _ => &mut self.counters.connections_lost,
        };
        *counter += 1;
        Err(lost)
    }

    /// One request in parts of at most `limit`, halved where the server says that it is too much. One answer for each.
    async fn in_parts<I: Clone, T>(
        &mut self,
        (what, mut limit): (&str, usize),
        items: &[I],
        ask: impl Fn(Arc<Session>, Vec<I>) -> Asked<T>,
    ) -> Result<Vec<Result<T, StatusCode>>, Lost> {
        let mut answers = Vec::with_capacity(items.len());
        while answers.len() < items.len() {
            let rest = &items[answers.len()..];
            let part = &rest[..rest.len().min(limit.max(1))];
            match self.call(what, ask(Arc::clone(&self.wire.session), part.to_vec())).await? {
                Ok(found) if found.len() == part.len() => answers.extend(found.into_iter().map(Ok)),
                Ok(found) => {
                    self.counters.protocol_violations += 1;
                    let reason = format!("{} answers to {} questions", found.len(), part.len());
                    return Err(Lost::Protocol { request: what.to_owned(), reason });
                }
                Err(status) if is_too_much(status) && part.len() > 1 => {
                    self.counters.requests_split += 1;
                    limit = part.len() / 2;
                }
                Err(status) => answers.extend(part.iter().map(|_| Err(status))),
            }
        }
        Ok(answers)
    }

    /// Reads attributes; a refusal of a request as a whole is one of each of its nodes.
    pub(crate) async fn read(&mut self, asked: &[ReadValueId]) -> Result<Vec<DataValue>, Lost> {
        let ask = |session: Arc<Session>, part: Vec<ReadValueId>| {
            async move { session.read(&part, TimestampsToReturn::Both, 0.0).await }.boxed()
        };
        let limit = self.wire.limits.read;
        let answers = self.in_parts(("reading", limit), asked, ask).await?;
        let refused = |status| DataValue { status: Some(status), ..DataValue::default() };
        Ok(answers.into_iter().map(|it| it.unwrap_or_else(refused)).collect())
    }

    /// Reads values, with what is known of the structures among them.
    pub(crate) async fn read_values(
        &mut self,
        asked: &[ReadValueId],
    ) -> Result<(Vec<DataValue>, Arc<Layouts>), Lost> {
        let values = self.read(asked).await?;
        let held = || values.iter().filter_map(|it| it.value.as_ref());
        let layouts = self.learn_types(|known| known.missing(held())).await?;
        Ok((values, layouts))
    }

    /// Writes values; what the server says of each.
    pub(crate) async fn write(&mut self, writes: &[WriteValue]) -> Result<Vec<StatusCode>, Lost> {
        let ask = |session: Arc<Session>, part: Vec<WriteValue>| {
            async move { session.write(&part).await }.boxed()
        };
        let limit = self.wire.limits.write;
        let answers = self.in_parts(("writing", limit), writes, ask).await?;
        Ok(answers.into_iter().map(|it| it.unwrap_or_else(|refused| refused)).collect())
    }

    /// What the server calls each point on this connection.
    pub(crate) async fn resolve(&mut self, points: &[Point]) -> Result<Vec<Node>, Lost> {
        let mut nodes = Vec::with_capacity(points.len());
        let (mut places, mut paths) = (Vec::new(), Vec::new());
        for (place, point) in points.iter().enumerate() {
            let known = known_node(&point.address.node, &self.wire.namespaces);
            if let NodeRef::Path(names) = &point.address.node {
                places.push(place);
                paths.push(path_of(names));
            }
            nodes.push(known.unwrap_or(Err(StatusCode::BadNoMatch)));
        }
        for (place, found) in places.into_iter().zip(self.paths(&paths).await?) {
            nodes[place] = found;
        }
        Ok(nodes.into_iter().map(Node::new).collect())
    }

    /// The node at the end of a path.
    pub(crate) async fn path(
        &mut self,
        names: &[QualifiedName],
    ) -> Result<Result<NodeId, StatusCode>, Lost> {
        let found = self.paths(&[path_of(names)]).await?;
        Ok(found.into_iter().next().unwrap_or(Err(StatusCode::BadNoMatch)))
    }

    /// A property of a node.
    pub(crate) async fn property(
        &mut self,
        node: &NodeId,
        name: QualifiedName,
    ) -> Result<Result<NodeId, StatusCode>, Lost> {
        let element = step(ReferenceTypeId::HasProperty, &name);
        let relative_path = RelativePath { elements: Some(vec![element]) };
        let path = BrowsePath { starting_node: node.clone(), relative_path };
        let found = self.paths(&[path]).await?;
        Ok(found.into_iter().next().unwrap_or(Err(StatusCode::BadNoMatch)))
    }

    async fn paths(
        &mut self,
        paths: &[BrowsePath],
    ) -> Result<Vec<Result<NodeId, StatusCode>>, Lost> {
        let ask = |session: Arc<Session>, part: Vec<BrowsePath>| {
            async move { session.translate_browse_paths_to_node_ids(&part).await }.boxed()
        };
        let limit = self.wire.limits.translate;
        let answers = self.in_parts(("looking paths up", limit), paths, ask).await?;
        let node = |answer: BrowsePathResult| {
            let target = answer.targets.into_iter().flatten().next();
            match target {
                Some(target) if answer.status_code.is_good() => Ok(target.target_id.node_id),
                _ if answer.status_code.is_bad() => Err(answer.status_code),
                _ => Err(StatusCode::BadNoMatch),
            }
        };
        Ok(answers.into_iter().map(|answer| answer.and_then(node)).collect())
    }
}

fn path_of(names: &[QualifiedName]) -> BrowsePath {
    let step = |name| step(ReferenceTypeId::HierarchicalReferences, name);
    BrowsePath {
        starting_node: ObjectId::RootFolder.into(),
        relative_path: RelativePath { elements: Some(names.iter().map(step).collect()) },
    }
}

fn step(reference: ReferenceTypeId, name: &QualifiedName) -> RelativePathElement {
    RelativePathElement {
        reference_type_id: reference.into(),
        is_inverse: false,
        include_subtypes: true,
        target_name: name.clone(),
    }
}
