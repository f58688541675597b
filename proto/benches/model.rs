//! What checking a telemetry message against a thing model costs, beside reading it as JSON, and beside the crate
//! `jsonschema` on the same schema.
//!
//! `cargo bench -p manifold-proto --bench model`. Times are those of the processor.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and ends at the first failure"
)]

use jsonschema::Draft;
use proto::model::Model;
use serde_json::{Map, Value as Json, json};
use std::hint::black_box;

const COUNT: usize = 200_000;

fn main() {
    for properties in [3, 20] {
        let (schemas, values) = sample(properties);
        let document = json!({
            "@context": "https://www.w3.org/2022/wot/td/v1.1",
            "@type": "tm:ThingModel",
            "properties": schemas,
        });
        let model = Model::compile(&document).unwrap();
        let schema = json!({"properties": schemas, "additionalProperties": false});
        let other = jsonschema::options().with_draft(Draft::Draft7).build(&schema).unwrap();
        let payload = serde_json::to_vec(&values).unwrap();
        let whole = Json::Object(values.clone());
        let named = |what: &str| format!("{what}, {properties} properties");
        measure(&named("read as JSON"), || {
            let read: Json = serde_json::from_slice(black_box(&payload)).unwrap();
            black_box(read);
        });
        measure(&named("check"), || {
            let fits = |(name, value): (&String, &Json)| {
                model.property(name).is_some_and(|it| it.schema.check(value).is_ok())
            };
            assert!(black_box(&values).iter().all(fits));
        });
        measure(&named("jsonschema is_valid"), || assert!(other.is_valid(black_box(&whole))));
        measure(&named("jsonschema validate"), || other.validate(black_box(&whole)).unwrap());
    }
}

/// Properties of a machine: numbers in a range mostly, a text, an object, and values that fit.
fn sample(properties: usize) -> (Map<String, Json>, Map<String, Json>) {
    let schema = |number: usize| match number % 5 {
        3 => json!({"type":"string","enum":["auto","manual","off"]}),
        4 => json!({"type":"object","required":["current"],"properties":{
            "current":{"type":"number","minimum":0,"unit":"A"},"on":{"type":"boolean"}}}),
        _ => json!({"type":"number","minimum":-40,"maximum":150,"unit":"Cel"}),
    };
    let value = |number: usize| match number % 5 {
        3 => json!("manual"),
        4 => json!({"current":2.5,"on":true}),
        _ => json!(21.5 + number as f64),
    };
    let name = |number: usize| format!("property_{number}");
    let numbers = 0..properties;
    let schemas = numbers.clone().map(|it| (name(it), schema(it))).collect();
    (schemas, numbers.map(|it| (name(it), value(it))).collect())
}

fn measure(what: &str, mut once: impl FnMut()) {
    let began = processor_nanos();
    for _ in 0..COUNT {
        once();
    }
    let nanos = (processor_nanos() - began) / COUNT as u64;
    println!("{what:<36} {nanos:>8} ns each");
}

/// Time of the processor that this process has had (Linux).
fn processor_nanos() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    stat.split_ascii_whitespace().next().unwrap().parse().unwrap()
}
