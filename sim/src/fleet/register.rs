//! Registers the things, by the tables of the admin API, and the model if they are to have one.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::line::Line;
use super::options::{Plan, ROWS};
use super::scene::model;

/// Who asks.
const CLIENT_ID: &str = "fleet-registrar";
/// How long an answer of the admin API may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Registers all of them, or gives those that are there the secret of this run.
pub(super) async fn things(plan: &Plan) -> Result<()> {
    let filters = [format!("clients/{CLIENT_ID}/reply/+")];
    let mut line = Line::open(&plan.endpoint, CLIENT_ID, &filters).await?.with_large_packets();
    if plan.has_model {
        let model = json!({ "model": "fleet", "document": model() });
        match ask(&mut line, "models/create", &model).await {
            Ok(_) => drop(ask(&mut line, "models/publish", &json!({ "model": "fleet" })).await?),
            Err(error) if format!("{error:#}").contains("already_exists") => {}
            Err(error) => return Err(error),
        }
    }
    for first in (0..plan.things).step_by(ROWS) {
        let rows = first..plan.things.min(first + ROWS);
        let request = json!({ "format": "csv", "text": table(plan, rows) });
        let answer = ask(&mut line, "things/import", &request).await?;
        let mut rows = answer["rows"].as_array().into_iter().flatten();
        if let Some(row) = rows.find(|row| row["result"] == "refused") {
            bail!("a thing is refused: {row}");
        }
    }
    line.leave().await
}

fn table(plan: &Plan, rows: std::ops::Range<usize>) -> String {
    let (title, model) = if plan.has_model { (",model", ",fleet") } else { ("", "") };
    let mut text = format!("thing,secret{title}\n");
    for index in rows {
        let _ = writeln!(text, "{},{}{model}", plan.thing(index), plan.secret);
    }
    text
}

/// The data of the answer; a refusal is an error.
async fn ask(line: &mut Line, operation: &str, request: &Value) -> Result<Value> {
    line.push(&format!("admin/{operation}/1"), &request.to_string());
    let ends = Instant::now() + PATIENCE;
    let mut answer: Option<Value> = None;
    while answer.is_none() {
        let hear = |payload: &[u8]| answer = serde_json::from_slice(payload).ok();
        let turn = timeout_at(ends, line.turn(None, hear)).await;
        turn.with_context(|| format!("{operation}: no answer in time"))??;
    }
    let mut answer = answer.unwrap_or_default();
    match answer["ok"] == true {
        true => Ok(answer["data"].take()),
        false => bail!("{operation} is refused: {}", answer["error"]),
    }
}
