//! Rows of a resource as a table: CSV with a header, or one JSON object a line. What is exported can be imported.

use super::request::read as read_json;
use proto::{Refusal, RefusalCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// The most rows that are read at once, so that others have their turns in between.
pub(super) const ROWS_MAX: usize = 1000;

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
pub(super) struct Record<T> {
    /// Its number among the rows, from 1; the header is none.
    pub(super) row: usize,
    /// The name in it, as far as it has one.
    pub(super) name: Option<String>,
    pub(super) read: Result<T, Refusal>,
}

/// The columns of a CSV table.
pub(super) struct Columns {
    /// The one that names what the row is about.
    pub(super) name: &'static str,
    pub(super) is_known: fn(&str) -> bool,
    /// The known ones in words.
    pub(super) known: &'static str,
    /// The cells as the request of a single one; an empty cell says nothing.
    pub(super) object: fn(&csv::StringRecord, &csv::StringRecord) -> Json,
}

/// Reads a table; what is wrong with one row stays with that row.
pub(super) fn read<T: DeserializeOwned>(
    format: Format,
    text: &str,
    columns: &Columns,
) -> Result<Vec<Record<T>>, Refusal> {
    let records = match format {
        Format::Csv => read_csv(text, columns)?,
        Format::Jsonl => {
            let lines = text.lines().filter(|line| !line.trim().is_empty()).take(ROWS_MAX + 1);
            (1..).zip(lines).map(|(row, line)| record(row, read_line(line), columns)).collect()
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

fn read_csv<T: DeserializeOwned>(text: &str, columns: &Columns) -> Result<Vec<Record<T>>, Refusal> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| bad(error.to_string()).at("text"))?.clone();
    check_header(&header, columns)?;
    let rows = (1..).zip(reader.records().take(ROWS_MAX + 1));
    let read = |(row, cells): (usize, Result<csv::StringRecord, csv::Error>)| match cells {
        Ok(cells) => record(row, Ok((columns.object)(&header, &cells)), columns),
        Err(error) => record(row, Err(bad(error.to_string())), columns),
    };
    Ok(rows.map(read).collect())
}

fn check_header(header: &csv::StringRecord, columns: &Columns) -> Result<(), Refusal> {
    for (index, column) in header.iter().enumerate() {
        if !(columns.is_known)(column) {
            let message = format!("no such column `{column}`; there are {}", columns.known);
            return Err(bad(message).at("text"));
        }
        if header.iter().take(index).any(|before| before == column) {
            return Err(bad(format!("the column `{column}` is there twice")).at("text"));
        }
    }
    match header.iter().any(|column| column == columns.name) {
        true => Ok(()),
        false => Err(bad(format!("the header has no column `{}`", columns.name)).at("text")),
    }
}

/// Numbers, truth values and JSON are read as such, all else is text.
pub(super) fn value(cell: &str) -> Json {
    serde_json::from_str(cell).unwrap_or_else(|_| cell.into())
}

fn record<T: DeserializeOwned>(
    row: usize,
    json: Result<Json, Refusal>,
    columns: &Columns,
) -> Record<T> {
    let name = json.as_ref().ok().and_then(|json| json[columns.name].as_str()).map(str::to_owned);
    Record { row, name, read: json.and_then(read_json) }
}

fn bad(message: String) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, message)
}

/// A table that grows row by row.
pub(super) struct Writer {
    pub(super) format: Format,
    text: Vec<u8>,
}

impl Writer {
    /// An empty table, with a header if it has one and it is asked for.
    pub(super) fn new(format: Format, header: Option<&[&str]>) -> Self {
        let mut writer = Self { format, text: Vec::new() };
        if let Some(header) = header.filter(|_| format == Format::Csv) {
            writer.cells(header);
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

    /// Adds a row of CSV.
    pub(super) fn cells<C: AsRef<[u8]>>(&mut self, cells: &[C]) {
        let mut writer = csv::Writer::from_writer(&mut self.text);
        // Into memory: there is no way to fail.
        let _ = writer.write_record(cells);
        let _ = writer.flush();
    }

    /// Adds a line of JSON.
    pub(super) fn line(&mut self, json: &Json) {
        self.text.extend(json.to_string().into_bytes());
        self.text.push(b'\n');
    }
}
