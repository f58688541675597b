//! Where a point lies in an OPC UA server: a node, and for a part of an array its range.
//!
//! `ns=2;s=Tank.Level` is a NodeId (OPC 10000-6, 5.3.1.10) by the index of its namespace, which a server may give to
//! another namespace at each start. `nsu=http://acme/plc;s=Tank.Level` names the namespace itself, and is looked up
//! after each connect. `/Objects/2:Plant/2:Level` is a path of browse names from the root (OPC 10000-4, A.2, without
//! reference types), looked up likewise. ` [3]` after any of them is one element of an array, ` [2:5]` are four, and
//! ` [1,0:2]` three of a matrix (OPC 10000-4, 7.27).

use opcua::types::{NodeId, NumericRange, QualifiedName};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The most names in a path.
const PATH_NAMES_MAX: usize = 32;

/// The node of a point, before it is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeRef {
    /// By its id.
    Id(NodeId),
    /// By its id in a namespace that has another index in each server.
    InNamespace {
        /// The URI of the namespace.
        uri: String,
        /// The id, with index 0.
        id: NodeId,
    },
    /// By the browse names from the root.
    Path(Vec<QualifiedName>),
}

/// The address of a point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Address {
    /// Which node.
    pub(crate) node: NodeRef,
    /// Which part, of an array.
    pub(crate) range: NumericRange,
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum AddressError {
    #[error(
        "expected a NodeId such as ns=2;s=Level or nsu=http://acme/plc;s=Level, or a path such as /Objects/2:Plant"
    )]
    Form,
    #[error("expected an identifier such as i=85, s=Level, g=…, b=…")]
    Identifier,
    #[error("the namespace is not a number between 0 and 65535")]
    Namespace,
    #[error("the URI of the namespace is empty")]
    Uri,
    #[error("a path has 1 to 32 names, none of them empty")]
    Path,
    #[error(
        "a part of an array is a number or a range, or several of them, as in [3], [2:5] and [1,0:2]"
    )]
    Range,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (node, range) = match text.strip_suffix(']').and_then(|it| it.rsplit_once(" [")) {
            Some((node, range)) if !range.is_empty() => {
                (node, range.parse().map_err(|_| AddressError::Range)?)
            }
            Some(_) => return Err(AddressError::Range),
            None => (text, NumericRange::None),
        };
        Ok(Self { node: node.parse()?, range })
    }
}

impl FromStr for NodeRef {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix('/') {
            return parse_path(path).map(Self::Path);
        }
        if let Some(rest) = text.strip_prefix("nsu=") {
            let (uri, id) = rest.split_once(';').ok_or(AddressError::Form)?;
            if uri.is_empty() {
                return Err(AddressError::Uri);
            }
            return Ok(Self::InNamespace { uri: uri.to_owned(), id: parse_id(id)? });
        }
        match text.strip_prefix("ns=") {
            Some(rest) => {
                let (namespace, id) = rest.split_once(';').ok_or(AddressError::Form)?;
                let namespace = namespace.parse().map_err(|_| AddressError::Namespace)?;
                Ok(Self::Id(NodeId { namespace, ..parse_id(id)? }))
            }
            None => parse_id(text).map(Self::Id),
        }
    }
}

/// An identifier without a namespace.
fn parse_id(text: &str) -> Result<NodeId, AddressError> {
    if !["i=", "s=", "g=", "b="].iter().any(|kind| text.starts_with(kind)) {
        return Err(AddressError::Form);
    }
    text.parse().map_err(|_| AddressError::Identifier)
}

fn parse_path(text: &str) -> Result<Vec<QualifiedName>, AddressError> {
    let names: Vec<QualifiedName> =
        text.split('/').map(parse_name).collect::<Result<_, AddressError>>()?;
    if names.len() > PATH_NAMES_MAX { Err(AddressError::Path) } else { Ok(names) }
}

/// `2:Plant`, or `Objects` of namespace 0.
fn parse_name(text: &str) -> Result<QualifiedName, AddressError> {
    let (namespace, name) = match text.split_once(':') {
        Some((namespace, name)) if namespace.bytes().all(|it| it.is_ascii_digit()) => {
            (namespace.parse().map_err(|_| AddressError::Namespace)?, name)
        }
        _ => (0, text),
    };
    if name.is_empty() {
        return Err(AddressError::Path);
    }
    Ok(QualifiedName::new(namespace, name))
}

impl Address {
    /// Whether it is one element of an array.
    pub(crate) fn is_element(&self) -> bool {
        match &self.range {
            NumericRange::Index(_) => true,
            NumericRange::MultipleRanges(all) => {
                all.iter().all(|it| matches!(it, NumericRange::Index(_)))
            }
            NumericRange::None | NumericRange::Range(..) => false,
        }
    }

    /// How many dimensions the part has that is asked for.
    pub(crate) fn dimensions(&self) -> usize {
        match &self.range {
            NumericRange::None => 0,
            NumericRange::Index(_) | NumericRange::Range(..) => 1,
            NumericRange::MultipleRanges(all) => all.len(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            NodeRef::Id(id) => write!(f, "{id}")?,
            NodeRef::InNamespace { uri, id } => write!(f, "nsu={uri};{id}")?,
            NodeRef::Path(names) => {
                for name in names {
                    match name.namespace_index {
                        0 => write!(f, "/{}", name.name)?,
                        index => write!(f, "/{index}:{}", name.name)?,
                    }
                }
            }
        }
        match &self.range {
            NumericRange::None => Ok(()),
            range => write!(f, " [{range}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_is_read_and_shown() {
        for text in [
            "i=2258",
            "ns=2;s=Tank.Level",
            "ns=3;s=\"DB1\".\"a;b\"",
            "ns=2;i=7",
            "ns=1;g=72962b91-fa75-4ae6-8d28-b404dc7daf63",
            "nsu=http://acme.example/plc;s=Tank.Level",
            "nsu=urn:plc;i=12",
            "/Objects/2:Plant/2:Tank 1/2:Level",
            "ns=2;s=Table [3]",
            "/Objects/Server [0]",
            "ns=2;s=Table [2:5]",
            "ns=2;s=Matrix [1,0:2]",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        assert_eq!("ns=0;i=85".parse::<Address>().unwrap().to_string(), "i=85");
    }

    #[test]
    fn what_is_no_address_is_told() {
        for (text, error) in [
            ("", AddressError::Form),
            ("Tank.Level", AddressError::Form),
            ("ns=2", AddressError::Form),
            ("ns=x;i=1", AddressError::Namespace),
            ("ns=65536;i=1", AddressError::Namespace),
            ("i=x", AddressError::Identifier),
            ("g=1", AddressError::Identifier),
            ("nsu=;i=1", AddressError::Uri),
            ("nsu=urn:plc", AddressError::Form),
            ("/", AddressError::Path),
            ("/Objects//Level", AddressError::Path),
            ("/70000:Level", AddressError::Namespace),
            ("i=1 [x]", AddressError::Range),
            ("i=1 [-1]", AddressError::Range),
            ("i=1 []", AddressError::Range),
            ("i=1 [5:2]", AddressError::Range),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_shown_is_read(text in "(ns=|nsu=|i=|s=|/)?.{0,20}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
