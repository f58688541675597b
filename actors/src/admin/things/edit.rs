//! What is said of a thing by whoever registers or changes it, and the rules that it keeps to.

use super::view::View;
use crate::admin::thing_model::resolve;
use crate::device::row::{ThingRow, default_location};
use crate::edges::row::{EdgeKey, EdgeRow};
use proto::id::Label;
use proto::uns::RAW_CONTRACT;
use proto::{EdgeId, ModelRef, Namespace, Refusal, RefusalCode, ThingId, UnsPath};
use serde_json::{Map, Value as Json};

/// The most bytes of a thing's attributes, as JSON.
const ATTRIBUTES_BYTES_MAX: usize = 16 * 1024;

/// The most tags of a thing: each is a row of an index.
pub(super) const TAGS_MAX: usize = 32;

/// The longest serial number, in bytes.
const SERIAL_BYTES_MAX: usize = 128;

/// What is to change; what is absent stays as it is.
#[derive(Debug, Default)]
pub(in crate::admin) struct Edit {
    /// A published version; null: none.
    pub(in crate::admin) model: Option<Option<ModelRef>>,
    /// Null: back to the default.
    pub(in crate::admin) location: Option<Option<String>>,
    pub(in crate::admin) parent: Option<Option<ThingId>>,
    pub(in crate::admin) edge: Option<Option<EdgeId>>,
    pub(in crate::admin) serial: Option<Option<String>>,
    /// In place of those before.
    pub(in crate::admin) tags: Option<Vec<Label>>,
    /// Set key by key; null deletes one.
    pub(in crate::admin) attributes: Map<String, Json>,
    pub(in crate::admin) enabled: Option<bool>,
}

impl Edit {
    /// Changes the row of a thing; a refusal names the field, and the row is not to be used then.
    pub(super) fn apply(
        self,
        view: &View<'_>,
        thing: &ThingId,
        row: &mut ThingRow,
    ) -> Result<(), Refusal> {
        if let Some(model) = self.model {
            row.model = model.map(|it| resolve(view.request, it)).transpose()?;
        }
        if let Some(location) = self.location {
            row.location = location;
        }
        check_location(row, view.request.namespace, thing)?;
        set_attributes(row, self.attributes)?;
        if let Some(tags) = self.tags {
            row.tags = tags.into_iter().collect();
            check_tags(row.tags.len())?;
        }
        if let Some(serial) = self.serial {
            if let Some(serial) = &serial {
                check_serial(serial)?;
                view.check_serial(thing, serial)?;
            }
            row.serial = serial;
        }
        if let Some(parent) = self.parent {
            if let Some(parent) = &parent
                && row.parent.as_ref() != Some(parent)
            {
                view.check_parent(thing, parent)?;
            }
            row.parent = parent;
        }
        if let Some(edge) = self.edge {
            row.edge = edge.map(|edge| registered(view, edge)).transpose()?;
        }
        if let Some(enabled) = self.enabled {
            row.is_disabled = !enabled;
        }
        Ok(())
    }
}

/// An edge node of this hub.
fn registered(view: &View<'_>, edge: EdgeId) -> Result<EdgeId, Refusal> {
    let key: EdgeKey = (view.request.namespace.clone(), edge);
    match view.request.get::<EdgeRow>(&key)? {
        Some(_) => Ok(key.1),
        None => Err(Refusal::not_found("edge node", &key.1).at("edge")),
    }
}

/// So many tags are not too many.
pub(super) fn check_tags(count: usize) -> Result<(), Refusal> {
    match count <= TAGS_MAX {
        true => Ok(()),
        false => {
            let message = format!("{count} tags, at most {TAGS_MAX}");
            Err(Refusal::new(RefusalCode::TooLarge, message).at("tags"))
        }
    }
}

fn check_serial(serial: &str) -> Result<(), Refusal> {
    let refuse = |code, message: &str| Err(Refusal::new(code, message).at("serial"));
    if serial.len() > SERIAL_BYTES_MAX {
        return refuse(RefusalCode::TooLarge, "longer than 128 bytes");
    }
    if serial.is_empty() || serial.trim() != serial || serial.chars().any(char::is_control) {
        let message = "it must be a text without control characters or blanks around it";
        return refuse(RefusalCode::Invalid, message);
    }
    Ok(())
}

fn set_attributes(row: &mut ThingRow, attributes: Map<String, Json>) -> Result<(), Refusal> {
    for (key, value) in attributes {
        match value {
            Json::Null => drop(row.attributes.remove(&key)),
            value => drop(row.attributes.insert(key, value)),
        }
    }
    let bytes = serde_json::to_vec(&row.attributes).map_or(usize::MAX, |json| json.len());
    if bytes <= ATTRIBUTES_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the attributes have {bytes} bytes, at most {ATTRIBUTES_BYTES_MAX}");
    Err(Refusal::new(RefusalCode::TooLarge, message).at("attributes"))
}

/// A location is good if a value can stand at it.
fn check_location(row: &ThingRow, namespace: &Namespace, thing: &ThingId) -> Result<(), Refusal> {
    let location = match &row.location {
        Some(location) => location.clone(),
        None => default_location(namespace, thing),
    };
    match UnsPath::from_parts(&location, RAW_CONTRACT, "value") {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("no location: `{location}`: {error}");
            Err(Refusal::new(RefusalCode::Invalid, message).at("location"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_short_and_plain() {
        for good in ["0042", "SN 7/3", "泵-1"] {
            assert_eq!(check_serial(good), Ok(()), "{good}");
        }
        for bad in ["", " 7", "7\n", "a\u{7}b", &"9".repeat(129)] {
            assert_eq!(check_serial(bad).unwrap_err().field.as_deref(), Some("serial"), "{bad}");
        }
    }
}
