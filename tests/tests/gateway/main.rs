//! The HTTP gateway of a running node: the admin API, ingestion, its bounds and its document.

mod api;
mod bounds;
mod document;
mod ingest;
