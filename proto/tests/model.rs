//! Thing models against an oracle: on random schemas and values the validator agrees with the crate `jsonschema`, and
//! no document makes it panic. Mistakes and violations have a table of their own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use jsonschema::Draft;
use proptest::prelude::*;
use proto::RefusalCode;
use proto::model::Model;
use serde_json::{Value as Json, json};

fn document(properties: Json) -> Json {
    json!({
        "@context": ["https://www.w3.org/2022/wot/td/v1.1"],
        "@type": "tm:ThingModel",
        "properties": properties,
    })
}

fn check(schema: &Json, value: &Json) -> Result<Result<(), String>, String> {
    let model = Model::compile(&document(json!({ "x": schema }))).map_err(|it| it.to_string())?;
    let checked = model.property("x").unwrap().schema.check(value);
    Ok(checked.map_err(|violation| format!("{}: {}", violation.at, violation.message)))
}

#[test]
fn a_violation_names_field_and_rule() {
    let cases = [
        (json!({"type":"integer"}), json!(1.5), "", "type is integer, it is 1.5"),
        (json!({"type":"number","minimum":0}), json!(-1), "", "minimum is 0, it is -1"),
        (json!({"maximum":9}), json!(9.5), "", "maximum is 9, it is 9.5"),
        (json!({"exclusiveMinimum":0}), json!(0), "", "exclusiveMinimum is 0, it is 0"),
        (json!({"exclusiveMaximum":1}), json!(1.0), "", "exclusiveMaximum is 1, it is 1"),
        (json!({"multipleOf":0.1}), json!(0.35), "", "multipleOf is 0.1, it is 0.35"),
        (json!({"minLength":2}), json!("ü"), "", "minLength is 2, it has 1 characters"),
        (json!({"pattern":"^a"}), json!("b"), "", "pattern is ^a, it is \"b\""),
        (json!({"format":"ipv4"}), json!("x"), "", "format is ipv4, it is \"x\""),
        (json!({"enum":["a","b"]}), json!("c"), "", "enum has 2 values, none is \"c\""),
        (json!({"const":1}), json!([]), "", "const is 1, it is an array of 0"),
        (
            json!({"items":{"type":"null"},"maxItems":3}),
            json!([null, 1]),
            "[1]",
            "type is null, it is 1",
        ),
        (json!({"minItems":1}), json!([]), "", "minItems is 1, it has 0 items"),
        (
            json!({"properties":{"a":{"items":{"maximum":1}}},"required":["a"]}),
            json!({"a":[0, 5]}),
            "a[1]",
            "maximum is 1, it is 5",
        ),
        (
            json!({"properties":{"a":{}},"required":["a"]}),
            json!({}),
            "a",
            "required, it is missing",
        ),
        (
            json!({"properties":{},"additionalProperties":false}),
            json!({"b":1}),
            "b",
            "additionalProperties is false, it is not described",
        ),
        (
            json!({"oneOf":[{"type":"null"},{"type":"number"}]}),
            json!(true),
            "",
            "oneOf has 2 forms, it fits none: true",
        ),
    ];
    for (schema, value, at, message) in cases {
        assert_eq!(check(&schema, &value).unwrap(), Err(format!("{at}: {message}")), "{schema}");
    }
}

#[test]
fn mistakes_are_named_by_their_paths() {
    let deep = (0..17).fold(json!({}), |inner, _| json!({ "items": inner }));
    let patterns: serde_json::Map<String, Json> =
        (0..65).map(|it| (format!("p{it}"), json!({"pattern":"a"}))).collect();
    let many: serde_json::Map<String, Json> =
        (0..257).map(|it| (format!("p{it}"), json!({}))).collect();
    let cases = [
        (json!({"a":{"type":"integer","minimun":1}}), "properties.a.minimun", "no term"),
        (json!({"a":{"type":"int"}}), "properties.a.type", "no type `int`"),
        (json!({"a":{"type":"string","minimum":1}}), "properties.a.minimum", "for the type number"),
        (json!({"a":{"minimum":"1"}}), "properties.a.minimum", "must be a number"),
        (json!({"a":{"minimum":2,"maximum":1}}), "properties.a", "between"),
        (json!({"a":{"minLength":-1}}), "properties.a.minLength", "whole number"),
        (json!({"a":{"minItems":3,"maxItems":2}}), "properties.a.maxItems", "below"),
        (json!({"a":{"multipleOf":0}}), "properties.a.multipleOf", "above 0"),
        (json!({"a":{"pattern":"("}}), "properties.a.pattern", "regular expression"),
        (json!({"a":{"unit":"x".repeat(33)}}), "properties.a.unit", "bytes"),
        (json!({"a":{"enum":[]}}), "properties.a.enum", "1 to 256"),
        (json!({"a":{"oneOf":[{"type":"x"}]}}), "properties.a.oneOf[0].type", "no type"),
        (json!({"a":{"items":[{}, 5]}}), "properties.a.items[1]", "must be an object"),
        (json!({"a":{"required":["b"]}}), "properties.a.required[0]", "not among"),
        (json!({"a":{"type":"integer","default":"x"}}), "properties.a.default", "does not fit"),
        (json!({"a":{"readOnly":true,"writeOnly":true}}), "properties.a", "both"),
        (json!({"a":{"readOnly":1}}), "properties.a.readOnly", "true or false"),
        (json!({"a":{"tm:ref":"x"}}), "properties.a.tm:ref", "not supported"),
        (json!({"a/b":{}}), "properties.a/b", "one level"),
        (json!({"set":{}}), "properties.set", "set"),
        (json!({"a":5}), "properties.a", "must be an object"),
        (json!({"a":deep}), &*format!("properties.a{}", ".items".repeat(16)), "deeper"),
        (json!(patterns), "properties.p9.pattern", "64 patterns"),
        (json!(many), "properties", "257"),
    ];
    for (properties, field, reason) in cases {
        let refusal = Model::compile(&document(properties.clone())).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Invalid);
        assert_eq!(refusal.field.as_deref(), Some(field), "{refusal}");
        assert!(refusal.message.contains(reason), "{properties}: {refusal}");
    }
}

#[test]
fn the_top_of_a_document_is_checked_and_all_mistakes_are_told_at_once() {
    let with = |key: &str, value: Json| {
        let mut document = document(json!({"a":{}}));
        document[key] = value;
        document
    };
    let cases = [
        (json!(5), None, "object"),
        (with("@type", json!("Thing")), Some("@type"), "tm:ThingModel"),
        (with("@context", json!("x")), Some("@context"), "td/v1.1"),
        (with("propertys", json!({})), Some("propertys"), "no term"),
        (with("tm:extends", json!("x")), Some("tm:extends"), "not supported"),
        (with("links", json!([{"rel":"tm:extends","href":"x"}])), Some("links[0].rel"), "stands"),
        (with("tm:optional", json!(["/properties/b"])), Some("tm:optional[0]"), "point"),
        (with("actions", json!({"a b":{}})), Some("actions.a b"), "command name"),
        (
            with("actions", json!({"a":{"input":{"type":"x"}}})),
            Some("actions.a.input.type"),
            "type",
        ),
        (with("events", json!({"a":{"datum":{}}})), Some("events.a.datum"), "no term"),
        (
            with("manifold:additionalProperties", json!(1)),
            Some("manifold:additionalProperties"),
            "true",
        ),
    ];
    for (document, field, reason) in cases {
        let refusal = Model::compile(&document).unwrap_err();
        assert_eq!(refusal.field.as_deref(), field, "{refusal}");
        assert!(refusal.message.contains(reason), "{document}: {refusal}");
    }
    let good = with("links", json!([{"rel":"license","href":"x"}]));
    assert!(Model::compile(&good).is_ok());
    let several = document(json!({"a":{"type":"x"},"b":{"minimum":""}}));
    let refusal = Model::compile(&several).unwrap_err();
    assert!(refusal.message.contains("; properties.b.minimum: "), "{refusal}");
    let large = with("description", json!("x".repeat(65 * 1024)));
    assert_eq!(Model::compile(&large).unwrap_err().code, RefusalCode::TooLarge);
}

/// Values in which numbers are close to the bounds of [`schemas`].
fn values() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-4_i64..8).prop_map(Json::from),
        (-16_i32..32).prop_map(|it| json!(f64::from(it) / 4.0)),
        (-30_i32..30).prop_map(|it| json!(f64::from(it) / 10.0)),
        Just(json!(u64::MAX)),
        Just(json!(i64::MIN)),
        Just(json!(1e300)),
        "[abü1]{0,4}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::hash_map("[a-c]", inner, 0..4).prop_map(|it| json!(it)),
        ]
    })
}

/// Whether a number beyond the whole ones of a float is in it.
fn is_large(value: &Json) -> bool {
    match value {
        Json::Number(number) => number.as_f64().is_some_and(|it| it.abs() > 1e15),
        Json::Array(items) => items.iter().any(is_large),
        Json::Object(members) => members.values().any(is_large),
        _ => false,
    }
}

/// Schemas of the whole vocabulary, mistakes among them.
fn schemas() -> impl Strategy<Value = Json> {
    let number = prop_oneof![
        (-2_i64..5).prop_map(Json::from),
        (-8_i32..20).prop_map(|it| json!(f64::from(it) / 4.0)),
        Just(json!(0.1)),
        Just(json!(u64::MAX)),
    ];
    let count = (0_u64..4).prop_map(Json::from);
    let kinds = vec!["object", "array", "string", "number", "integer", "boolean", "null"];
    let words = vec!["^a", "b$", "[ab]+1", "a|b", "^.{2}$"];
    let rule = prop_oneof![
        3 => prop::sample::select(kinds).prop_map(|it| ("type", json!(it))),
        1 => number.clone().prop_map(|it| ("minimum", it)),
        1 => number.clone().prop_map(|it| ("maximum", it)),
        1 => number.clone().prop_map(|it| ("exclusiveMinimum", it)),
        1 => number.clone().prop_map(|it| ("exclusiveMaximum", it)),
        1 => number.prop_map(|it| ("multipleOf", it)),
        1 => count.clone().prop_map(|it| ("minLength", it)),
        1 => count.clone().prop_map(|it| ("maxLength", it)),
        1 => count.clone().prop_map(|it| ("minItems", it)),
        1 => count.prop_map(|it| ("maxItems", it)),
        1 => prop::sample::select(words).prop_map(|it| ("pattern", json!(it))),
        1 => prop::collection::vec(values(), 1..4).prop_map(|it| ("enum", json!(it))),
        1 => values().prop_map(|it| ("const", it)),
    ];
    let rules = |rule| {
        prop::collection::vec(rule, 0..3).prop_map(|rules: Vec<(&'static str, Json)>| {
            Json::Object(rules.into_iter().map(|(key, it)| (key.to_owned(), it)).collect())
        })
    };
    rules(rule).prop_recursive(3, 16, 3, |inner| {
        let members = prop::collection::hash_map("[a-c]", inner.clone(), 1..3);
        prop_oneof![
            inner.clone().prop_map(|it| json!({ "items": it })),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|it| json!({ "items": it })),
            prop::collection::vec(inner, 1..4).prop_map(|it| json!({ "oneOf": it })),
            (members, any::<bool>(), any::<bool>()).prop_map(|(members, is_open, is_required)| {
                let required: Vec<&String> = members.keys().filter(|_| is_required).collect();
                json!({"type":"object","additionalProperties":is_open,"required":required,
                    "properties":members})
            }),
        ]
    })
}

/// Many cases; a failure is shown, and not written into the folder.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_validator_agrees_with_jsonschema(schema in schemas(), value in values()) {
        // A schema that is a mistake here is refused before anything is checked against it.
        let Ok(checked) = check(&schema, &value) else { return Ok(()) };
        // There the oracle rounds: to it 1e300 is a multiple of u64::MAX.
        prop_assume!(!(schema.to_string().contains("multipleOf") && is_large(&value)));
        // Draft 7 has the array of `items` that WoT has.
        let oracle = jsonschema::options().with_draft(Draft::Draft7).build(&schema).unwrap();
        let expected = oracle.is_valid(&value);
        prop_assert_eq!(checked.is_ok(), expected, "{} {} {:?}", schema, value, checked);
    }

    #[test]
    fn no_document_panics(top in values(), properties in values(), schema in schemas()) {
        let _ = Model::compile(&top);
        let mut document = document(properties);
        let _ = Model::compile(&document);
        for part in ["actions", "events", "links", "tm:optional"] {
            document[part] = json!({"a": {"input": schema, "data": schema}});
            let _ = Model::compile(&document);
        }
    }
}
