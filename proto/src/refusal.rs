//! The one table of refusal codes, and the refusal that carries one.
//!
//! A refusal is an answer, never a crash: the request changed nothing. Its code is stable; scripts, the console
//! and the documentation rely on it. [`RefusalCode::ALL`] is the table.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The request is not JSON, or not of the shape the operation takes.
    BadRequest,
    /// The caller did not prove who it is.
    Unauthorized,
    /// The caller may not do this.
    Forbidden,
    /// There is no such object.
    NotFound,
    /// The resource has no such verb.
    UnknownOperation,
    /// An object of that name is there already.
    AlreadyExists,
    /// The object has another version than the request expected.
    VersionConflict,
    /// The request or document is larger or deeper than allowed.
    TooLarge,
    /// The payload's encoding is not supported.
    UnsupportedEncoding,
    /// The request is well formed, but a value in it is not acceptable.
    Invalid,
    /// The caller asks more often, or has more in flight, than it may.
    TooManyRequests,
    /// A quota, or the disk, is full.
    QuotaExceeded,
    /// The machine, driver or part that must do it is not reachable now.
    Unavailable,
    /// No answer came in time.
    TimedOut,
    /// A fault of the platform; its log says more.
    Internal,
}

impl RefusalCode {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::UnknownOperation,
        Self::AlreadyExists,
        Self::VersionConflict,
        Self::TooLarge,
        Self::UnsupportedEncoding,
        Self::Invalid,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
        Self::TimedOut,
        Self::QuotaExceeded,
    ];

    /// The stable text, as it stands in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::UnknownOperation => "unknown_operation",
            Self::AlreadyExists => "already_exists",
            Self::VersionConflict => "version_conflict",
            Self::TooLarge => "too_large",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::Invalid => "invalid",
            Self::TooManyRequests => "too_many_requests",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Internal => "internal",
        }
    }

    /// The number used by shadow rejections and HTTP answers (RFC 9110 15.5 and 15.6).
    pub fn number(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::UnknownOperation => 405,
            Self::AlreadyExists | Self::VersionConflict => 409,
            Self::TooLarge => 413,
            Self::UnsupportedEncoding => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::TimedOut => 504,
            Self::QuotaExceeded => 507,
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refused request: the error of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The stable code.
    pub code: RefusalCode,
    /// What is wrong, for a person; lower case, no full stop.
    pub message: String,
    /// The path of the offending field, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Refusal {
    /// A refusal without a field.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// The same refusal, naming the field it is about.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// There is no such object.
    pub fn not_found(what: &str, name: impl fmt::Display) -> Self {
        Self::new(RefusalCode::NotFound, format!("there is no {what} `{name}`"))
    }

    /// An object of that name is there already.
    pub fn already_exists(what: &str, name: impl fmt::Display) -> Self {
        Self::new(RefusalCode::AlreadyExists, format!("there is already a {what} `{name}`"))
    }

    /// A fault of the platform; `what` failed.
    pub fn internal(what: impl fmt::Display) -> Self {
        Self::new(RefusalCode::Internal, what.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_ordered_and_equals_the_wire_form() {
        let mut texts = std::collections::HashSet::new();
        for code in RefusalCode::ALL {
            assert!(texts.insert(code.as_str()));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        let numbers: Vec<u16> = RefusalCode::ALL.iter().map(|code| code.number()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }

    #[test]
    fn a_refusal_reads_as_the_contract_says() {
        let refusal = Refusal::not_found("thing", "pump7").at("thing");
        assert_eq!(
            serde_json::to_string(&refusal).unwrap(),
            r#"{"code":"not_found","message":"there is no thing `pump7`","field":"thing"}"#
        );
    }
}
