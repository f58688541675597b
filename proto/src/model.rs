//! Thing models: what a kind of device reports, takes and tells, as a W3C WoT Thing Model 1.1, and what is checked
//! against it.
//!
//! [`Model::compile`] reads a document strictly: whatever is not of the vocabulary, contradicts itself or is past a
//! bound is a mistake, named by its path. A [`Model`] then checks properties, inputs, outputs and data of events; a
//! [`Violation`] names the field and the rule, by its keyword. [`edgex`] reads device profiles of EdgeX as models.
//! Names and versions are in [`name`].

mod compile;
mod document;
pub mod edgex;

mod equal;
pub mod name;
mod number;
mod reader;
mod schema;
mod text;

pub use document::{Action, DOCUMENT_BYTES_MAX, Event, Model, Property};
pub use name::{ModelName, ModelRef, ModelVersion};
pub use schema::{Schema, Violation};
