//! Methods of machines.

use serde_json::{Map, Value as Json};

/// A call of a method.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The address of the method, as [`Driver::browse`](super::Driver::browse) shows it.
    pub method: String,
    /// The address of the object that it is called on; absent: the one that has it, if it is only one.
    pub object: Option<String>,
    /// What it is called with.
    pub input: Input,
}

/// The arguments of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// In the order of the method.
    Places(Vec<Json>),
    /// By the names that the method gives them.
    Names(Map<String, Json>),
}

impl Input {
    /// The arguments that a piece of JSON stands for: all by place or by name, or one alone; null is none.
    pub fn of(json: Json) -> Self {
        match json {
            Json::Null => Self::Places(Vec::new()),
            Json::Array(places) => Self::Places(places),
            Json::Object(names) => Self::Names(names),
            one => Self::Places(vec![one]),
        }
    }
}
