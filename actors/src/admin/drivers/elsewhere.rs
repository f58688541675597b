//! Drivers of other edge nodes: what a hub wants them to have stands here, and what a machine is asked is asked there.

use super::must_find;
use crate::admin::live::Live;
use crate::admin::plan::{Plan, Request};
use crate::edges::desired;
use crate::edges::hotline::Question;
use proto::{DriverId, EdgeId, Refusal};
use serde_json::{Value as Json, json};

/// What the machine behind a driver has to be asked, by this node or by the one that has the driver.
pub(in crate::admin) fn live(
    request: &Request<'_>,
    driver: DriverId,
    operation: (&str, &str),
    ask_here: impl FnOnce(DriverId) -> Live,
) -> Result<Plan, Refusal> {
    let there = ask_there(request, &driver, operation)?;
    Ok(there.unwrap_or_else(|| Plan::ask(ask_here(driver))))
}

/// Has the edge node that has the driver carry out the request as it is; `None` if this one has it.
pub(in crate::admin) fn ask_there(
    request: &Request<'_>,
    driver: &DriverId,
    operation: (&str, &str),
) -> Result<Option<Plan>, Refusal> {
    let row = must_find(request, driver)?;
    let question = (row.edge != request.context.settings.edge)
        .then(|| Live::Wanted(row.edge, driver.clone(), question(request, operation)));
    Ok(question.map(Plan::ask))
}

/// Has another edge node carry out the request as it is.
pub(super) fn ask(request: &Request<'_>, edge: EdgeId, operation: (&str, &str)) -> Plan {
    Plan::ask(Live::Edge(edge, question(request, operation)))
}

/// The request as it is, for the one who asks here.
fn question(request: &Request<'_>, (resource, verb): (&str, &str)) -> Box<Question> {
    let mut body = request.body.clone().into_fields();
    // There it is the edge node in the process.
    body.remove("edge");
    if let Some(id) = &request.body.request_id {
        body.insert("request_id".to_owned(), json!(id));
    }
    Box::new(Question {
        id: 0,
        resource: resource.to_owned(),
        verb: verb.to_owned(),
        body,
        caller: request.caller.name.clone(),
        role: request.caller.role,
    })
}

/// How far another edge node has what is wanted of a driver; null for one that runs here.
pub(super) fn configuration(request: &Request<'_>, edge: &EdgeId, driver: &DriverId) -> Json {
    if *edge == request.context.settings.edge {
        return Json::Null;
    }
    let found = request.client.retained(&desired::topic(edge).into()).pop();
    let told = found.and_then(|(_, payload)| serde_json::from_slice::<Json>(&payload).ok());
    told.map(|mut told| told["drivers"][driver.as_str()].take()).unwrap_or_default()
}
