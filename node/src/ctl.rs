//! `manifold ctl`: the operator's command line, a client of the admin API like any other.
//!
//! - `body`: makes the request of `key=value` words and `--json-body`
//! - `url`: the address of the node
//! - `tls`: how the node's certificate is checked
//! - `client`: one request and its answer over MQTT 5
//! - `table`, `time`: the answer for people
//! - `files`: tables of things, from a file and into one
//! - `operations`: what can be asked for, as help
//!
//! It holds back no request: whatever the node offers can be asked for, also what this executable does not know of.

mod body;
mod client;
mod files;
pub(crate) mod operations;
mod table;
mod time;
mod tls;
mod url;

use crate::call::Request;
use crate::cli::{Cli, CtlArgs};
use crate::fields;
use crate::outcome::{Failure, Outcome, print};
use anyhow::Context as _;
use proto::Refusal;
use serde_json::{Map, Value as Json, json};

/// Runs the command.
pub(crate) fn run(args: &CtlArgs) -> Outcome {
    if args.help {
        return match &args.resource {
            None => print(&Cli::ctl_help()),
            Some(resource) => operations::help(resource, args.verb.as_deref()),
        };
    }
    let (Some(resource), Some(verb)) = (&args.resource, &args.verb) else {
        return operations::list(args.resource.as_deref());
    };
    let schema = fields::operation(resource, verb).map_or(&Json::Null, |it| &it.request);
    let words = body::Words {
        json_body: args.json_body.as_deref(),
        request_id: args.request_id.as_deref(),
        fields: &args.fields,
    };
    let body = body::make(words, schema).map_err(Failure::Usage)?;
    let edge = args.edge.as_deref();
    let table = files::Table::of(resource, verb, &body, edge).map_err(Failure::Usage)?;
    let request = request(edge, resource, verb, body).map_err(Failure::Usage)?;
    let url: url::NodeUrl = args.url.parse().map_err(Failure::Usage)?;
    if args.tls_ca.is_some() && !url.is_tls {
        return Err(Failure::Usage(format!("--tls-ca is for mqtts://, not for {url}")));
    }
    let login = client::login(args.user.as_deref(), args.secret.as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let tls = url.is_tls.then(|| tls::Tls::new(&url.host, args.tls_ca.as_deref())).transpose()?;
    if let Some(table) = table {
        let line =
            client::Line::open(&url, tls, login).map_err(|lost| client::told(&lost, &url))?;
        return runtime.block_on(Box::pin(table.carry_out(line, args.json)));
    }
    let call = client::call(&url, tls, login, &request);
    match runtime.block_on(Box::pin(call))? {
        Ok(data) if args.json => print(&format!("{data}\n")),
        Ok(data) => print(&table::render(resource, &data)),
        Err(refusal) => Err(Failure::failed(told(&refusal))),
    }
}

/// The request, to the node or, through it, to an edge node.
fn request(
    edge: Option<&str>,
    resource: &str,
    verb: &str,
    mut body: Map<String, Json>,
) -> Result<Request, String> {
    let Some(edge) = edge else {
        return Request::new(resource, verb, Json::Object(body).to_string());
    };
    let changes = fields::operation(resource, verb).is_none_or(|it| it.changes);
    let request_id = body.remove("request_id");
    let mut outer = json!({ "edge": edge, "resource": resource, "verb": verb, "body": body });
    if let Some(request_id) = request_id {
        outer["request_id"] = request_id;
    }
    Request::new("edges", if changes { "tell" } else { "ask" }, outer.to_string())
}

/// A refusal on one line: `code: message (field)`.
fn told(refusal: &Refusal) -> String {
    match &refusal.field {
        Some(field) => format!("{refusal} ({field})"),
        None => refusal.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_with_code_message_and_field() {
        let refusal = Refusal::not_found("thing", "x");
        assert_eq!(told(&refusal), "not_found: there is no thing `x`");
        assert_eq!(told(&refusal.at("thing")), "not_found: there is no thing `x` (thing)");
    }
}
