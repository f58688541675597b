//! Tags as other products write them down, read as the fields of ours: rows of a tag sheet of Neuron, resources of a
//! device profile of EdgeX. Plain functions; what has no counterpart is refused by its column, and not guessed.

use crate::config::{ByteOrder, ConfigError, DriverConfig};
use proto::TagId;
use serde_json::{Map, Value as Json};

mod edgex;
mod neuron;

pub use edgex::resources;

/// The fields of a tag, as far as they are said. A place below the location of the import may be among them, as
/// `place`.
pub type Fields = Map<String, Json>;

/// Reads one row of a tag sheet of Neuron. `byte_order` is that of numbers of 32 and 64 bits whose address says none.
pub fn neuron(
    config: &DriverConfig,
    row: &Fields,
    byte_order: ByteOrder,
) -> Result<Fields, ConfigError> {
    neuron::tag(config, row, byte_order)
}

/// Reads one resource of a device profile of EdgeX.
pub fn edgex(config: &DriverConfig, resource: &Fields) -> Result<Fields, ConfigError> {
    edgex::tag(config, resource)
}

fn refused<T>(field: &str, reason: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::new(field, reason))
}

/// A text of a row; `None` if it is empty or not there.
fn text<'a>(row: &'a Fields, field: &str) -> Option<&'a str> {
    row.get(field).and_then(Json::as_str).map(str::trim).filter(|text| !text.is_empty())
}

fn must<'a>(row: &'a Fields, field: &str) -> Result<&'a str, ConfigError> {
    text(row, field).map_or_else(|| refused(field, "it is missing"), Ok)
}

/// A number of a row, as such or as text.
fn number(row: &Fields, field: &str) -> Result<Option<f64>, ConfigError> {
    match row.get(field) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if text.trim().is_empty() => Ok(None),
        Some(value) => {
            let text = value.as_str().map(str::trim);
            let number = value.as_f64().or_else(|| text.and_then(|text| text.parse().ok()));
            number
                .map_or_else(|| refused(field, format!("{value} is no number")), |it| Ok(Some(it)))
        }
    }
}

/// A name as one of ours: what cannot be in a topic level becomes `_`.
fn name_of(text: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@');
    let name: String = text.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    match TagId::parse(&name) {
        Ok(_) => name,
        // It begins with what may stand anywhere but there.
        Err(_) => format!("_{name}"),
    }
}
