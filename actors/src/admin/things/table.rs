//! Things as a table.

use super::UpdateThing;
use crate::admin::tabular::{self, Columns, Format, Record, value};
use crate::device::row::ThingRow;
use proto::{EdgeId, Refusal, ThingId};
use serde_json::{Map, Value as Json, json};

/// The columns of an export, and the first of those that an import knows.
const COLUMNS: [&str; 9] =
    ["thing", "model", "location", "parent", "edge", "serial", "tags", "enabled", "attributes"];

/// What an import takes besides, and any `attributes.<name>`.
const MORE_COLUMNS: [&str; 2] = ["secret", "revision"];

const TABLE: Columns = Columns {
    name: "thing",
    is_known: |column| {
        let name = column.strip_prefix("attributes.");
        name.is_some_and(|name| !name.is_empty())
            || COLUMNS.contains(&column)
            || MORE_COLUMNS.contains(&column)
    },
    known: "thing, model, location, parent, edge, serial, tags, enabled, attributes, attributes.<name>, secret, \
        revision",
    object,
};

/// Reads a table; what is wrong with one row stays with that row.
pub(super) fn read(format: Format, text: &str) -> Result<Vec<Record<UpdateThing>>, Refusal> {
    tabular::read(format, text, &TABLE)
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

/// A table of things that grows row by row.
pub(super) struct Writer(tabular::Writer);

impl Writer {
    /// An empty table, with a header if it has one and it is asked for.
    pub(super) fn new(format: Format, has_header: bool) -> Self {
        Self(tabular::Writer::new(format, has_header.then_some(&COLUMNS[..])))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }

    pub(super) fn into_text(self) -> String {
        self.0.into_text()
    }

    /// Adds a thing.
    pub(super) fn row(&mut self, thing: &ThingId, row: &ThingRow) {
        match self.0.format {
            Format::Csv => {
                let tags: Vec<&str> = row.tags.iter().map(|tag| tag.as_str()).collect();
                let attributes = match row.attributes.is_empty() {
                    true => String::new(),
                    false => json!(row.attributes).to_string(),
                };
                self.0.cells(&[
                    thing.to_string(),
                    row.model.as_ref().map(ToString::to_string).unwrap_or_default(),
                    row.location.clone().unwrap_or_default(),
                    row.parent.as_ref().map(ThingId::to_string).unwrap_or_default(),
                    row.edge.as_ref().map(EdgeId::to_string).unwrap_or_default(),
                    row.serial.clone().unwrap_or_default(),
                    tags.join(";"),
                    (!row.is_disabled).to_string(),
                    attributes,
                ]);
            }
            Format::Jsonl => self.0.line(&json!({
                "thing": thing,
                "model": row.model,
                "location": row.location,
                "parent": row.parent,
                "edge": row.edge,
                "serial": row.serial,
                "tags": row.tags,
                "enabled": !row.is_disabled,
                "attributes": row.attributes,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tabular::ROWS_MAX;
    use proto::{RefusalCode, TimestampMs};

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
            records.map(|it| (it.row, it.name, it.read.map_err(|it| it.field))).collect()
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
