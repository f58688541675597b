//! Writes: many in one request, each with an outcome of its own.
//!
//! A server takes a value of its own type only, so what it holds has to be known first: it is read unless it was seen.

use super::driver::OpcUaDriver;
use super::held::{Held, Misfit};
use super::points::{Node, Point, value_of};
use super::status::refusal;
use super::structures::Layouts;
use crate::port::{Lost, PointId, PointWrite, ReadError, WriteError};
use crate::scaling::Unfit;
use opcua::types::{AttributeId, DataValue, NodeId, ReadValueId, Variant, WriteValue};
use proto::Datum;
use std::sync::Arc;

type Written = Result<Datum, WriteError>;

/// A write that the server is asked for.
struct Ready<'a> {
    /// Its place among those that were asked for.
    place: usize,
    asked: &'a PointWrite,
    point: &'a Point,
    node: &'a Node,
    id: &'a NodeId,
}

impl OpcUaDriver {
    /// Writes points; what became of each. A lost connection is in the outcome of all that were not done before.
    pub(super) async fn write_points(&mut self, writes: &[PointWrite]) -> Vec<Written> {
        let (points, nodes) = (Arc::clone(&self.points), Arc::clone(&self.nodes));
        let mut outcomes: Vec<Option<Written>> = Vec::with_capacity(writes.len());
        let mut ready = Vec::with_capacity(writes.len());
        for (place, asked) in writes.iter().enumerate() {
            outcomes.push(match known(&points, &nodes, asked.point) {
                Ok((point, node, id)) => {
                    ready.push(Ready { place, asked, point, node, id });
                    None
                }
                Err(error) => Some(Err(error)),
            });
        }
        if !ready.is_empty()
            && let Err(lost) = self.write_ready(&ready, &mut outcomes).await
        {
            let lost = self.lose(lost);
            for outcome in outcomes.iter_mut().filter(|it| it.is_none()) {
                *outcome = Some(Err(lost.clone().into()));
            }
        }
        let untold = || Err(Lost::NotConnected.into());
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(untold)).collect()
    }

    async fn write_ready(
        &mut self,
        ready: &[Ready<'_>],
        outcomes: &mut [Option<Written>],
    ) -> Result<(), Lost> {
        let layouts = self.learn_held(ready).await?;
        let (mut sent, mut values) = (Vec::new(), Vec::new());
        for write in ready {
            match prepared(write, &layouts) {
                Ok((variant, written)) => {
                    sent.push((write, written));
                    values.push(value_to(write, variant));
                }
                Err(error) => outcomes[write.place] = Some(Err(error)),
            }
        }
        let statuses = self.requests()?.write(&values).await?;
        let mut to_verify = Vec::new();
        for ((write, written), status) in sent.into_iter().zip(statuses) {
            outcomes[write.place] = match status.is_good() {
                true if write.asked.verify => {
                    to_verify.push((write, written));
                    None
                }
                true => Some(Ok(written)),
                false => {
                    let (target, error) = (write.point.address.to_string(), refusal(status));
                    Some(Err(WriteError::Device { target, error }))
                }
            };
        }
        self.verify(to_verify, &layouts, outcomes).await;
        Ok(())
    }

    /// Finds out what the server holds where that is not known, and the types of structures among it.
    async fn learn_held(&mut self, ready: &[Ready<'_>]) -> Result<Arc<Layouts>, Lost> {
        let unseen: Vec<&Ready<'_>> =
            ready.iter().filter(|it| it.node.held.get().is_none()).collect();
        let asked: Vec<ReadValueId> = unseen.iter().map(|it| value_of(it.id, it.point)).collect();
        let mut requests = self.requests()?;
        if !asked.is_empty() {
            let found = requests.read(&asked).await?;
            for (write, value) in unseen.iter().zip(&found) {
                write.node.learn(write.point, value);
            }
        }
        let held =
            || ready.iter().filter_map(|it| it.node.held.get()?.encoding.as_deref().cloned());
        requests.learn_types(|known| held().filter(|it| !known.knows(it)).collect()).await
    }

    /// Reads back what was written.
    async fn verify(
        &mut self,
        written: Vec<(&Ready<'_>, Datum)>,
        layouts: &Layouts,
        outcomes: &mut [Option<Written>],
    ) {
        if written.is_empty() {
            return;
        }
        let asked: Vec<ReadValueId> =
            written.iter().map(|(write, _)| value_of(write.id, write.point)).collect();
        let found = match self.requests() {
            Ok(mut requests) => requests.read(&asked).await,
            Err(lost) => Err(lost),
        };
        let mut found = found.unwrap_or_default().into_iter();
        for (write, written) in written {
            let found = found.next().map(|it| write.point.read(write.asked.point, &it, layouts).1);
            outcomes[write.place] = Some(match found.unwrap_or(Err(ReadError::ConnectionLost)) {
                Ok(sample) if sample.value == written => Ok(written),
                Ok(sample) => {
                    let (target, found) = (write.point.address.to_string(), sample.value);
                    Err(WriteError::NotVerified { target, written, found })
                }
                Err(error) => Err(WriteError::NotReadBack(error)),
            });
        }
    }
}

/// What is known of a point that may be written.
fn known<'a>(
    points: &'a [Point],
    nodes: &'a [Node],
    id: PointId,
) -> Result<(&'a Point, &'a Node, &'a NodeId), WriteError> {
    let point = points.get(id.index()).ok_or(WriteError::UnknownPoint(id))?;
    let target = || point.address.to_string();
    if !point.is_writable {
        return Err(WriteError::ReadOnly { target: target() });
    }
    let node = nodes.get(id.index()).ok_or(Lost::NotConnected)?;
    match &node.id {
        Ok(found) => Ok((point, node, found)),
        Err(status) => Err(WriteError::Device { target: target(), error: refusal(*status) }),
    }
}

/// The value that the server is sent, and what it then shows as.
fn prepared(write: &Ready<'_>, layouts: &Layouts) -> Result<(Variant, Datum), WriteError> {
    let Ready { asked, point, node, .. } = write;
    let Some(held) = node.held.get() else {
        let reason = "the server's value, whose type a write must have, cannot be read";
        let (target, data_type) = (point.address.to_string(), point.data_type());
        return Err(WriteError::NotWritten(ReadError::NoValue { target, data_type, reason }));
    };
    let variant = encoded(held, asked, point, layouts)?;
    let sent = DataValue { value: Some(variant.clone()), ..DataValue::default() };
    match point.read(asked.point, &sent, layouts).1 {
        Ok(sample) => Ok((variant, sample.value)),
        Err(_) => Err(refused(Unfit::OutOfRange, &asked.value, point)),
    }
}

fn encoded(
    held: &Held,
    asked: &PointWrite,
    point: &Point,
    layouts: &Layouts,
) -> Result<Variant, WriteError> {
    match held.encode(&asked.value, &point.scaling, layouts) {
        Ok(variant) if point.address.is_element() => {
            Ok(held.as_element(variant, point.address.dimensions()))
        }
        Ok(variant) => Ok(variant),
        Err(Misfit::Plain(unfit)) => Err(refused(unfit, &asked.value, point)),
        Err(Misfit::Reason(reason)) => {
            Err(WriteError::Misfit { target: point.address.to_string(), reason })
        }
    }
}

fn refused(unfit: Unfit, value: &Datum, point: &Point) -> WriteError {
    let (target, value) = (point.address.to_string(), value.clone());
    let data_type = point.data_type();
    match unfit {
        Unfit::WrongType => WriteError::WrongType { target, value, data_type },
        Unfit::OutOfRange => WriteError::OutOfRange { target, value, data_type },
    }
}

fn value_to(write: &Ready<'_>, value: Variant) -> WriteValue {
    WriteValue {
        node_id: write.id.clone(),
        attribute_id: AttributeId::Value as u32,
        index_range: write.point.address.range.clone(),
        // Servers refuse a status or a time that they do not support to be written (OPC 10000-4, 5.11.4).
        value: DataValue { value: Some(value), ..DataValue::default() },
    }
}
