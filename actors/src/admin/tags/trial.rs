//! `tags try`: the rows of a table, read from the machine before anything of them is kept.
//!
//! A connection of its own is made for it and then closed, so that the driver goes on undisturbed, and a driver without
//! tags can be tried as well. What cannot be read (methods, events, and what is computed) is not tried.

use super::table::{ImportTags, read_rows};
use crate::admin::drivers::ask_there;
use crate::admin::live::Live;
use crate::admin::plan::{Plan, Request};
use crate::admin::table::{ADMIN, Operation};
use crate::admin::tags::sheet::Sheet;
use crate::context::Shared;
use crate::driver::{opening, refusal_of_lost, value_of};
use ::drivers::{ByteOrder, DriverConfig, PointId, PointRead, TagConfig, TagKind};
use broker::Client;
use proto::{DriverId, Quality, Refusal, RefusalCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::timeout;

pub(super) const OPERATION: Operation = Operation::reads::<TryTags>(
    "try",
    ADMIN,
    "reads the rows of a table from the machine, as `import` takes it, and changes nothing",
    try_tags,
);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TryTags {
    driver: DriverId,
    format: Sheet,
    /// The table, at most 1000 rows.
    text: String,
    /// As in `import`.
    #[serde(default)]
    location: Option<String>,
    /// As in `import`.
    #[serde(default)]
    byte_order: ByteOrder,
}

/// What the rows of a table are to be read with.
#[derive(Debug)]
pub(in crate::admin) struct Trial {
    driver: DriverId,
    config: DriverConfig,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    number: usize,
    tag: Option<String>,
    read: Result<TagConfig, Refusal>,
}

/// Has the rows of a table be read from the machine, here or where the driver is.
fn try_tags(request: &Request<'_>) -> Result<Plan, Refusal> {
    let TryTags { driver, format, text, location, byte_order } = request.read()?;
    if let Some(plan) = ask_there(request, &driver, ("tags", "try"))? {
        return Ok(plan);
    }
    let table =
        ImportTags { driver: driver.clone(), format, text, location, byte_order, dry_run: true };
    let (batch, rows) = read_rows(request, table)?;
    let row = |(number, tag, outcome): (usize, Option<String>, Result<_, Refusal>)| {
        let known = tag.as_ref().and_then(|tag| batch.tag(tag)).cloned();
        let read = outcome.and_then(|_| known.ok_or_else(|| Refusal::internal("no such tag")));
        Row { number, tag, read }
    };
    let rows = rows.into_iter().map(row).collect();
    Ok(Plan::ask(Live::Trial(Box::new(Trial { driver, config: batch.config().clone(), rows }))))
}

impl Trial {
    /// Connects, reads what can be read, and closes.
    pub(in crate::admin) async fn run(
        &self,
        context: &Shared,
        client: &Client,
    ) -> Result<Json, Refusal> {
        let is_value = |tag: &&TagConfig| tag.kind == TagKind::Value;
        let tags: Vec<TagConfig> =
            self.rows.iter().flat_map(|row| &row.read).filter(is_value).cloned().collect();
        let opening = opening((context, client), &self.config, &tags);
        let opened = (context.outside.open_driver)(opening);
        let mut driver =
            opened.map_err(|error| crate::admin::drivers::refused(&error, "config"))?;
        let points: Vec<PointId> = (0..).map(PointId).take(tags.len()).collect();
        let work = async {
            driver.connect().await.map_err(|error| {
                Refusal::new(RefusalCode::Unavailable, format!("{}: {error}", error.code()))
            })?;
            let outcome = driver.read(&points).await;
            match outcome.lost {
                Some(lost) => Err(refusal_of_lost(&lost)),
                None => Ok(outcome.points),
            }
        };
        let patience = Duration::from_millis(context.settings.driver_deadline_ms);
        let late = || Refusal::new(RefusalCode::TimedOut, "the machine did not answer in time");
        let points = timeout(patience, work).await.unwrap_or_else(|_| Err(late()))?;
        let value = |(point, read): &PointRead| {
            let tag = &tags[point.index()];
            (tag.tag.to_string(), value_of(&tag.tag, tag.unit.as_deref(), read))
        };
        let values = points.iter().map(value).collect();
        Ok(self.told(&values))
    }

    /// What is told of each row, with the values that the machine has given.
    fn told(&self, values: &HashMap<String, Json>) -> Json {
        let mut counts = [0_usize; 4];
        let mut rows = Vec::with_capacity(self.rows.len());
        for Row { number, tag, read } in &self.rows {
            let value = tag.as_ref().and_then(|tag| values.get(tag));
            let mut shown = json!({ "row": number, "tag": tag });
            let place = match (read, value) {
                (Err(refusal), _) => {
                    shown["error"] = json!(refusal);
                    2
                }
                (Ok(_), None) => 3,
                (Ok(_), Some(value)) => {
                    for field in ["v", "q", "t", "error"] {
                        if let Some(it) = value.get(field) {
                            shown[field] = it.clone();
                        }
                    }
                    usize::from(value["q"] == json!(Quality::Bad))
                }
            };
            counts[place] += 1;
            shown["result"] = ["good", "bad", "refused", "untried"][place].into();
            rows.push(shown);
        }
        let [good, bad, refused, untried] = counts;
        json!({
            "driver": self.driver, "good": good, "bad": bad, "refused": refused,
            "untried": untried, "rows": rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_told_of_once_and_counted() {
        let driver = DriverId::parse("plc").unwrap();
        let config = serde_json::from_value(json!({ "protocol": "simulator" })).unwrap();
        let tag = |name: &str| -> TagConfig {
            let path = format!("acme/_raw/{name}");
            let tag = json!({ "tag": name, "address": "sine", "type": "float64", "path": path });
            serde_json::from_value(tag).unwrap()
        };
        let refusal = Refusal::new(RefusalCode::Invalid, "no");
        let rows = [Ok(tag("a")), Ok(tag("b")), Err(refusal.clone()), Ok(tag("d"))];
        let rows = (1..).zip(["a", "b", "c", "d"]).zip(rows);
        let rows = rows
            .map(|((number, name), read)| Row { number, tag: Some(name.to_owned()), read })
            .collect();
        let values = HashMap::from([
            ("a".to_owned(), json!({ "tag": "a", "v": 1.5, "q": "good" })),
            ("b".to_owned(), json!({ "tag": "b", "q": "bad", "error": refusal })),
        ]);
        let told = Trial { driver, config, rows }.told(&values);
        let results: Vec<&str> = told["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["result"].as_str().unwrap())
            .collect();
        assert_eq!(results, ["good", "bad", "refused", "untried"]);
        assert_eq!((&told["good"], &told["untried"]), (&json!(1), &json!(1)));
        assert_eq!(
            (&told["rows"][0]["v"], &told["rows"][1]["error"]["code"]),
            (&json!(1.5), &json!("invalid"))
        );
    }
}
