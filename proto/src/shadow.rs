//! Documents of the device shadow: what is asked on `shadow/…` topics and what answers there.
//!
//! Semantics and field names of the AWS IoT Device Shadow: [`UpdateRequest`] and [`PlainRequest`]
//! are what a device or app sends, [`Accepted`], [`Rejected`], [`Delta`] and [`Documents`] what the
//! platform answers. Times in these documents are whole seconds since the Unix epoch. How an update
//! changes a shadow is not decided here; the device actor does that.

mod request;

pub use request::{Malformed, PlainRequest, UpdateRequest};

use crate::refusal::Refusal;
use serde::Serialize;
use serde_json::{Map, Value as Json};

/// The longest `clientToken`, in bytes.
pub const CLIENT_TOKEN_BYTES_MAX: usize = 64;

/// A JSON object: one section of a shadow, or the metadata of one.
pub type Section = Map<String, Json>;

/// How large and how deep a document may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a request, and of the whole shadow after it.
    pub bytes_max: usize,
    /// The most objects and arrays within one another below `desired` or `reported`.
    pub depth_max: usize,
}

/// What an update does to one section.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// `null`: the section goes.
    Clear,
    /// Keys are set, objects merged, arrays replaced whole, `null` deletes a key.
    Merge(Section),
}

impl Patch {
    /// The patch as it stood in the request.
    pub fn into_json(self) -> Json {
        match self {
            Self::Clear => Json::Null,
            Self::Merge(section) => Json::Object(section),
        }
    }
}

/// The parts of `state` or `metadata`, as JSON or as a reference to a section; an absent one is not written.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sections<S = Json> {
    /// What apps want.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<S>,
    /// What the device says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<S>,
    /// The keys of `desired` that differ from `reported`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<S>,
}

/// The answer on `…/accepted`: the request is done, durably.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The whole shadow after a get, the sections asked for after an update, nothing after a
    /// delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Sections>,
    /// When each key of `state` was last set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Sections>,
    /// The version after the request; the last one after a delete.
    pub version: u64,
    /// When it was answered, in seconds.
    pub timestamp: u64,
    /// Echo of the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// The answer on `…/rejected`: the request changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// The number of the refusal's code.
    pub code: u16,
    /// What is wrong, for a person.
    pub message: String,
    /// When it was answered, in seconds.
    pub timestamp: u64,
    /// Echo of the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// The message on `update/delta`: what the device has yet to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delta {
    /// The version that the delta is of.
    pub version: u64,
    /// When it was found, in seconds.
    pub timestamp: u64,
    /// The keys of `desired` that differ from `reported`.
    pub state: Section,
    /// When each of them was set.
    pub metadata: Section,
    /// Echo of the update's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// The message on `update/documents`: the shadow before and after an update.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Documents<'a> {
    /// Before; without sections and with the last version given out if there was no shadow.
    pub previous: Document<'a>,
    /// After.
    pub current: Document<'a>,
    /// When it was updated, in seconds.
    pub timestamp: u64,
    /// Echo of the update's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<&'a str>,
}

/// One whole shadow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document<'a> {
    /// `desired` and `reported`.
    pub state: Sections<&'a Section>,
    /// When each key was last set.
    pub metadata: Sections<&'a Section>,
    /// Rises with every update.
    pub version: u64,
}

impl Rejected {
    /// The answer that carries `refusal`; a field it names becomes part of the message.
    pub fn new(refusal: &Refusal, timestamp: u64, client_token: Option<String>) -> Self {
        let message = match &refusal.field {
            None => refusal.message.clone(),
            Some(field) => format!("{} ({field})", refusal.message),
        };
        Self { code: refusal.code.number(), message, timestamp, client_token }
    }
}

/// How many bytes [`to_json`] makes of a document.
pub fn json_len<T: Serialize>(document: &T) -> usize {
    /// Counts what is written to it.
    struct Length(usize);
    impl std::io::Write for Length {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    // As below.
    let _ = serde_json::to_writer(&mut length, document);
    length.0
}

/// The payload of a document.
pub fn to_json<T: Serialize>(document: &T) -> Vec<u8> {
    // Made of texts, numbers and JSON values only: serialisation has no way to fail.
    serde_json::to_vec(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::RefusalCode;
    use serde_json::json;

    #[test]
    fn absent_parts_are_not_written_but_a_cleared_section_is_null() {
        let accepted = Accepted {
            state: Some(Sections { desired: Some(Json::Null), ..Sections::default() }),
            metadata: Some(Sections::default()),
            version: 3,
            timestamp: 7,
            client_token: None,
        };
        let json: Json = serde_json::from_slice(&to_json(&accepted)).unwrap();
        assert_eq!(json, json!({"state":{"desired":null},"metadata":{},"version":3,"timestamp":7}));
    }

    #[test]
    fn a_rejection_carries_the_number_of_its_code_and_names_the_field() {
        let refusal = Refusal::new(RefusalCode::VersionConflict, "version 3, not 2").at("version");
        let rejected = Rejected::new(&refusal, 7, Some("a".into()));
        let json: Json = serde_json::from_slice(&to_json(&rejected)).unwrap();
        assert_eq!(
            json,
            json!({"code":409,"message":"version 3, not 2 (version)","timestamp":7,"clientToken":"a"})
        );
    }
}
