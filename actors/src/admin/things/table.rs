//! Things as a table: CSV with a header, or one JSON object a line. What is exported can be imported.

use super::UpdateThing;
use crate::admin::request::read as read_json;
use crate::device::row::ThingRow;
use proto::{Refusal, RefusalCode, ThingId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// The most rows that are read at once, so that others have their turns in between.
const ROWS_MAX: usize = 1000;

/// The columns of an export, and the first of those that an import knows.
const COLUMNS: [&str; 8] =
    ["thing", "model", "location", "parent", "serial", "tags", "enabled", "attributes"];

/// What an import takes besides, and any `attributes.<name>`.
const MORE_COLUMNS: [&str; 2] = ["secret", "revision"];

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// A row as it was read.
pub(super) struct Record {
    /// Its number among the rows, from 1; the header is none.
    pub(super) row: usize,
    /// The name in it, as far as it has one.
    pub(super) thing: Option<String>,
    pub(super) read: Result<UpdateThing, Refusal>,
}

/// Reads a table; what is wrong with one row stays with that row.
pub(super) fn read(format: Format, text: &str) -> Result<Vec<Record>, Refusal> {
    let records = match format {
        Format::Csv => read_csv(text)?,
        Format::Jsonl => {
            let lines = text.lines().filter(|line| !line.trim().is_empty()).take(ROWS_MAX + 1);
            (1..).zip(lines).map(|(row, line)| record(row, read_line(line))).collect()
        }
    };
    if records.len() > ROWS_MAX {
        let message = format!("more than {ROWS_MAX} rows at once");
        return Err(Refusal::new(RefusalCode::TooLarge, message).at("text"));
    }
    Ok(records)
}

fn read_line(line: &str) -> Result<Json, Refusal> {
    match serde_json::from_str(line) {
        Ok(json @ Json::Object(_)) => Ok(json),
        Ok(_) => Err(bad("the row is not a JSON object".to_owned())),
        Err(error) => Err(bad(format!("not JSON: {error}"))),
    }
}

fn read_csv(text: &str) -> Result<Vec<Record>, Refusal> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let columns = reader.headers().map_err(|error| bad(error.to_string()).at("text"))?.clone();
    check_columns(&columns)?;
    let rows = (1..).zip(reader.records().take(ROWS_MAX + 1));
    let read = |(row, cells): (usize, Result<csv::StringRecord, csv::Error>)| match cells {
        Ok(cells) => record(row, Ok(object(&columns, &cells))),
        Err(error) => record(row, Err(bad(error.to_string()))),
    };
    Ok(rows.map(read).collect())
}

fn check_columns(columns: &csv::StringRecord) -> Result<(), Refusal> {
    let is_known = |column: &str| {
        let name = column.strip_prefix("attributes.");
        name.is_some_and(|name| !name.is_empty())
            || COLUMNS.contains(&column)
            || MORE_COLUMNS.contains(&column)
    };
    for (index, column) in columns.iter().enumerate() {
        if !is_known(column) {
            let known = COLUMNS.join(", ");
            let message = format!(
                "no such column `{column}`; there are {known}, attributes.<name>, secret, revision"
            );
            return Err(bad(message).at("text"));
        }
        if columns.iter().take(index).any(|before| before == column) {
            return Err(bad(format!("the column `{column}` is there twice")).at("text"));
        }
    }
    match columns.iter().any(|column| column == COLUMNS[0]) {
        true => Ok(()),
        false => Err(bad("the header has no column `thing`".to_owned()).at("text")),
    }
}

/// The cells as the request of a single thing; an empty cell says nothing.
fn object(columns: &csv::StringRecord, cells: &csv::StringRecord) -> Json {
    let mut object = Map::new();
    let mut attributes = Map::new();
    for (column, cell) in columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
        match column {
            "tags" => {
                let tags = cell.split([';', ' ']).filter(|tag| !tag.is_empty());
                object.insert(column.to_owned(), tags.collect());
            }
            "enabled" | "revision" => drop(object.insert(column.to_owned(), value(cell))),
            "attributes" => match value(cell) {
                Json::Object(all) => attributes.extend(all),
                other => drop(object.insert(column.to_owned(), other)),
            },
            column => match column.strip_prefix("attributes.") {
                Some(name) => drop(attributes.insert(name.to_owned(), value(cell))),
                None => drop(object.insert(column.to_owned(), cell.into())),
            },
        }
    }
    if !attributes.is_empty() && !object.contains_key("attributes") {
        object.insert("attributes".to_owned(), Json::Object(attributes));
    }
    Json::Object(object)
}

/// Numbers, truth values and JSON are read as such, all else is text.
fn value(cell: &str) -> Json {
    serde_json::from_str(cell).unwrap_or_else(|_| cell.into())
}

fn record(row: usize, json: Result<Json, Refusal>) -> Record {
    let thing = json.as_ref().ok().and_then(|json| json["thing"].as_str()).map(str::to_owned);
    Record { row, thing, read: json.and_then(read_json) }
}

fn bad(message: String) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, message)
}

/// A table that grows row by row.
pub(super) struct Writer {
    format: Format,
    text: Vec<u8>,
}

impl Writer {
    /// An empty table, with a header if it has one and it is asked for.
    pub(super) fn new(format: Format, has_header: bool) -> Self {
        let mut writer = Self { format, text: Vec::new() };
        if format == Format::Csv && has_header {
            writer.cells(&COLUMNS.map(str::to_owned));
        }
        writer
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(super) fn into_text(self) -> String {
        // Texts put together are a text.
        String::from_utf8(self.text).unwrap_or_default()
    }

    /// Adds a thing.
    pub(super) fn row(&mut self, thing: &ThingId, row: &ThingRow) {
        match self.format {
            Format::Csv => {
                let tags: Vec<&str> = row.tags.iter().map(|tag| tag.as_str()).collect();
                let attributes = match row.attributes.is_empty() {
                    true => String::new(),
                    false => json!(row.attributes).to_string(),
                };
                self.cells(&[
                    thing.to_string(),
                    row.model.as_ref().map(ToString::to_string).unwrap_or_default(),
                    row.location.clone().unwrap_or_default(),
                    row.parent.as_ref().map(ThingId::to_string).unwrap_or_default(),
                    row.serial.clone().unwrap_or_default(),
                    tags.join(";"),
                    (!row.is_disabled).to_string(),
                    attributes,
                ]);
            }
            Format::Jsonl => {
                let line = json!({
                    "thing": thing,
                    "model": row.model,
                    "location": row.location,
                    "parent": row.parent,
                    "serial": row.serial,
                    "tags": row.tags,
                    "enabled": !row.is_disabled,
                    "attributes": row.attributes,
                });
                self.text.extend(line.to_string().into_bytes());
                self.text.push(b'\n');
            }
        }
    }

    fn cells(&mut self, cells: &[String]) {
        let mut writer = csv::Writer::from_writer(&mut self.text);
        // Into memory: there is no way to fail.
        let _ = writer.write_record(cells);
        let _ = writer.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::TimestampMs;

    #[test]
    fn both_forms_read_alike_and_a_bad_row_stays_alone() {
        let csv = "thing,serial,tags,attributes.row,enabled,location\n\
            p1,0042,a;b,7,false,acme/hall\n\
            p2,,,x,,\n\
            p3,1\n\
            p 4,,,,,\n\
            p5,,,,maybe,\n";
        let read_all = |format, text: &str| -> Vec<_> {
            let records = read(format, text).unwrap().into_iter();
            records.map(|it| (it.row, it.thing, it.read.map_err(|it| it.field))).collect()
        };
        let rows = read_all(Format::Csv, csv);
        let first = rows[0].2.as_ref().unwrap();
        assert_eq!((rows[0].0, first.thing.as_str()), (1, "p1"));
        assert_eq!(first.serial, Some(Some("0042".to_owned())), "a number too is a text here");
        assert_eq!(first.tags.as_ref().unwrap().len(), 2);
        assert_eq!((first.attributes["row"].clone(), first.enabled), (json!(7), Some(false)));
        let second = rows[1].2.as_ref().unwrap();
        assert_eq!((&second.serial, &second.tags, second.enabled), (&None, &None, None));
        let fields = rows[2..].iter().map(|row| row.2.as_ref().err().unwrap().as_deref());
        assert_eq!(fields.collect::<Vec<_>>(), [None, Some("thing"), Some("enabled")]);

        let jsonl = "{\"thing\":\"p1\",\"serial\":null}\n\n[]\n{\"thing\":\"p2\",\"x\":1}\n";
        let rows = read_all(Format::Jsonl, jsonl);
        assert_eq!(rows[0].2.as_ref().unwrap().serial, Some(None));
        assert_eq!(rows[1].2.as_ref().err(), Some(&None));
        assert_eq!((rows[2].0, rows[2].2.as_ref().err()), (3, Some(&Some("x".to_owned()))));
    }

    #[test]
    fn a_table_that_cannot_be_read_at_all_is_refused_as_a_whole() {
        for text in ["", "serial\n1\n", "thing,colour\np1,red\n", "thing,thing\np1,p1\n"] {
            let refusal = read(Format::Csv, text).err().unwrap();
            assert_eq!(refusal.code, RefusalCode::BadRequest, "{text}");
            assert_eq!(refusal.field.as_deref(), Some("text"), "{text}");
        }
        let long = format!("thing\n{}", "p\n".repeat(ROWS_MAX + 1));
        assert_eq!(read(Format::Csv, &long).err().unwrap().code, RefusalCode::TooLarge);
    }

    #[test]
    fn what_is_exported_is_read_back_as_it_was() {
        let thing = ThingId::parse("p1").unwrap();
        let row = ThingRow {
            location: Some("acme/hall".to_owned()),
            serial: Some("a,\"b\"".to_owned()),
            tags: ["x", "y"].map(|tag| proto::id::Label::parse(tag).unwrap()).into(),
            is_disabled: true,
            attributes: [("maker".to_owned(), json!("K\nS")), ("n".to_owned(), json!(1))].into(),
            ..ThingRow::new(TimestampMs(1))
        };
        for format in [Format::Csv, Format::Jsonl] {
            let mut writer = Writer::new(format, true);
            writer.row(&thing, &row);
            let records = read(format, &writer.into_text()).unwrap();
            let back = records.into_iter().next().unwrap().read.unwrap();
            assert_eq!(back.location, Some(row.location.clone()));
            assert_eq!(back.serial, Some(row.serial.clone()));
            assert_eq!(
                back.tags.unwrap().into_iter().collect::<std::collections::BTreeSet<_>>(),
                row.tags
            );
            assert_eq!(back.enabled, Some(false));
            assert_eq!(Json::Object(back.attributes), json!(row.attributes));
        }
    }
}
