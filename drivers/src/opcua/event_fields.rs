//! Fields of events that an operator names: where they lie below an event (OPC 10000-4, 7.7.4.5).
//!
//! `2:Batch` is a browse name with the index of its namespace, `2:Order/2:Id` one below another. With
//! `nsu=http://acme/plc;Order/Id` all names are of that namespace, whatever index the server gives it.

use crate::config::ConfigError;
use std::collections::BTreeMap;
use std::str::FromStr;
use thiserror::Error;

/// The most fields of one connection.
const FIELDS_MAX: usize = 64;
/// The longest name of a field, and the longest path, in bytes.
const NAME_BYTES_MAX: usize = 64;
const PATH_BYTES_MAX: usize = 512;
/// The most names in a path.
const NAMES_MAX: usize = 8;
/// What events have by themselves.
const TAKEN: [&str; 8] =
    ["condition", "id", "message", "severity", "source", "source_node", "t", "type"];

/// Where a field lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldPath {
    /// The namespace of all names, which counts before their index.
    pub(crate) namespace: Option<String>,
    /// Names with the index of their namespace.
    pub(crate) names: Vec<(u16, String)>,
}

/// Why a text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected 1 to 8 browse names such as 2:Batch, 2:Order/2:Id or nsu=http://acme/plc;Batch")]
pub(crate) struct FieldPathError;

impl FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<Self, FieldPathError> {
        let (namespace, path) = match text.strip_prefix("nsu=") {
            Some(rest) => {
                let (uri, path) = rest.split_once(';').ok_or(FieldPathError)?;
                (Some(uri.to_owned()).filter(|uri| !uri.is_empty()), path)
            }
            None => (None, text),
        };
        if text.starts_with("nsu=") && namespace.is_none() || text.len() > PATH_BYTES_MAX {
            return Err(FieldPathError);
        }
        let name = |text: &str| {
            let (index, name) = match text.split_once(':') {
                Some((index, name)) if index.bytes().all(|it| it.is_ascii_digit()) => {
                    (index.parse().ok()?, name)
                }
                _ => (0, text),
            };
            (!name.is_empty()).then(|| (index, name.to_owned()))
        };
        let names: Option<Vec<(u16, String)>> = path.split('/').map(name).collect();
        let names = names.filter(|names| names.len() <= NAMES_MAX).ok_or(FieldPathError)?;
        Ok(Self { namespace, names })
    }
}

/// Checks the fields of a configuration.
pub(crate) fn check(fields: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let refuse = |reason: String| Err(ConfigError::new("event_fields", reason));
    if fields.len() > FIELDS_MAX {
        return refuse(format!("at most {FIELDS_MAX} fields"));
    }
    for (name, path) in fields {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return refuse(format!("{name:?} has not 1 to {NAME_BYTES_MAX} bytes"));
        }
        if TAKEN.contains(&name.as_str()) {
            return refuse(format!("{name} is what every event has: call it otherwise"));
        }
        if let Err(error) = path.parse::<FieldPath>() {
            return refuse(format!("{name}: {error}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_lies_below_the_event() {
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        let names = |names: &[(u16, &str)]| {
            names.iter().map(|(index, name)| (*index, (*name).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(path("2:Batch").names, names(&[(2, "Batch")]));
        assert_eq!(path("LocalTime").names, names(&[(0, "LocalTime")]));
        assert_eq!(path("2:Order/3:Id").names, names(&[(2, "Order"), (3, "Id")]));
        let named = path("nsu=http://acme.example/plc;Order/Id");
        assert_eq!(named.namespace.as_deref(), Some("http://acme.example/plc"));
        assert_eq!(named.names, names(&[(0, "Order"), (0, "Id")]));
    }

    #[test]
    fn what_is_no_field_is_refused() {
        let long = ["a"; 9].join("/");
        for text in ["", "2:", "2:A//2:B", "nsu=;A", "nsu=http://x", "99999:A", &long] {
            assert_eq!(text.parse::<FieldPath>(), Err(FieldPathError), "{text}");
        }
        let fields = |name: &str, path: &str| BTreeMap::from([(name.to_owned(), path.to_owned())]);
        assert_eq!(check(&fields("batch", "2:Batch")), Ok(()));
        for (name, path) in [("severity", "2:S"), ("", "2:S"), ("batch", "2:")] {
            assert_eq!(check(&fields(name, path)).unwrap_err().field, "event_fields", "{name}");
        }
        let many = (0..65).map(|it| (format!("f{it}"), "2:A".to_owned())).collect();
        assert!(check(&many).is_err());
    }
}
