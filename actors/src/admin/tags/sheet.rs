//! The tables that `tags import` reads: our own, and those of other products, row by row as fields of a tag.

use crate::admin::tabular::{self, Columns, Format, ROWS_MAX, Record};
use ::drivers::{ByteOrder, ConfigError, DriverConfig, sheets};
use proto::model::edgex::parse_yaml;
use proto::{Refusal, RefusalCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// Whose table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sheet {
    /// Ours, as comma-separated values with a header (RFC 4180).
    Csv,
    /// Ours, as one JSON object a line.
    Jsonl,
    /// A tag sheet of Neuron, saved as comma-separated values.
    Neuron,
    /// A device profile of EdgeX, YAML or JSON, whose resources are the rows.
    Edgex,
}

impl Sheet {
    /// Whether it is of another product.
    pub(super) fn is_foreign(self) -> bool {
        matches!(self, Self::Neuron | Self::Edgex)
    }
}

/// The columns of a tag sheet of Neuron.
const NEURON: Columns = Columns {
    name: "name",
    is_known: |column| {
        let known = ["group", "name", "address", "attribute", "type", "description", "decimal"];
        known.contains(&column) || ["precision", "bias", "interval", "unit"].contains(&column)
    },
    known: "group, interval, name, address, attribute, type, description, decimal, precision, bias, unit",
    object: |columns, cells| {
        let named = columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
        Json::Object(named.map(|(column, cell)| (column.to_owned(), cell.into())).collect())
    },
};

type Fields = Map<String, Json>;

/// The rows of a table as fields of tags of a driver. What is wrong with one row stays with that row.
pub(super) fn records(
    (sheet, text): (Sheet, &str),
    config: &DriverConfig,
    byte_order: ByteOrder,
    own: &Columns,
) -> Result<Vec<Record<Fields>>, Refusal> {
    match sheet {
        Sheet::Csv => tabular::read(Format::Csv, text, own),
        Sheet::Jsonl => tabular::read(Format::Jsonl, text, own),
        Sheet::Neuron => {
            let rows = tabular::read::<Fields>(Format::Csv, text, &NEURON)?;
            let tag = |fields: Fields| sheets::neuron(config, &fields, byte_order).map_err(refused);
            let read =
                |record: Record<Fields>| Record { read: record.read.and_then(tag), ..record };
            Ok(rows.into_iter().map(read).collect())
        }
        Sheet::Edgex => {
            let profile = match serde_json::from_str(text) {
                Ok(json) => json,
                Err(_) => parse_yaml(text).map_err(|refusal| refusal.at("text"))?,
            };
            let resources = sheets::resources(&profile).map_err(refused)?;
            if resources.len() > ROWS_MAX {
                let message = format!("more than {ROWS_MAX} resources at once");
                return Err(Refusal::new(RefusalCode::TooLarge, message).at("text"));
            }
            let record = |(row, resource): (usize, Fields)| Record {
                row,
                name: resource.get("name").and_then(Json::as_str).map(str::to_owned),
                read: sheets::edgex(config, &resource).map_err(refused),
            };
            Ok((1..).zip(resources).map(record).collect())
        }
    }
}

fn refused(error: ConfigError) -> Refusal {
    Refusal::new(RefusalCode::Invalid, error.reason).at(error.field)
}
