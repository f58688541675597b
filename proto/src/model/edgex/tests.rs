//! Profiles of EdgeX read as models.

use super::*;
use crate::model::Model;
use proptest::prelude::*;

const PROFILE_TEXT: &str = r#"
apiVersion: "v3"
name: "Pump-Profile"
manufacturer: "ACME"
model: "P7"
labels: [pump]
deviceResources:
  - name: "Speed"
    description: "revolutions"
    isHidden: false
    attributes: { register: 7 }
    properties:
      { valueType: "Uint16", readWrite: "RW", units: "/min", minimum: "10", maximum: 3000,
        defaultValue: "100", scale: "0.1" }
  - name: "Temperature"
    properties: { valueType: "Float32", readWrite: "R", units: "Cel" }
  - name: "Enable"
    properties: { valueType: "Bool", readWrite: "W", defaultValue: "true" }
  - name: "Curve"
    properties: { valueType: "Int8Array", readWrite: "R" }
  - name: "Picture"
    properties: { valueType: "Binary", mediaType: "image/png" }
  - name: "a/b"
    properties: { valueType: "Bool" }
deviceCommands:
  - name: "Run"
    isHidden: false
    readWrite: "RW"
    resourceOperations:
      - { deviceResource: "Speed", defaultValue: "200" }
      - { deviceResource: "Enable", mappings: { "1": "on" } }
      - { deviceResource: "Picture" }
"#;

#[test]
fn a_profile_becomes_a_model_and_says_what_did_not() {
    let Import { document, notes } = import(&parse_yaml(PROFILE_TEXT).unwrap()).unwrap();
    assert_eq!(
        (&document["title"], &document["description"]),
        (&json!("Pump-Profile"), &json!("ACME P7"))
    );
    assert_eq!(
        document["properties"],
        json!({
            "Speed": {"type":"integer","minimum":10,"maximum":3000,"unit":"/min","default":100,
                "description":"revolutions"},
            "Temperature": {"type":"number","unit":"Cel","readOnly":true},
            "Enable": {"type":"boolean","default":true,"writeOnly":true},
            "Curve": {"type":"array","items":{"type":"integer","minimum":-128,"maximum":127},
                "readOnly":true},
        })
    );
    let input = &document["actions"]["Run"]["input"];
    assert_eq!(input["required"], json!(["Enable"]));
    assert_eq!(input["properties"]["Speed"]["default"], json!(200));
    let noted: Vec<&str> = notes.iter().map(|note| note.at.as_str()).collect();
    assert_eq!(
        noted,
        [
            "labels",
            "deviceResources[0].attributes",
            "deviceResources[0].isHidden",
            "deviceResources[0].properties.scale",
            "deviceResources[4].properties",
            "deviceResources[5]",
            "deviceCommands[0]",
            "deviceCommands[0].isHidden",
            "deviceCommands[0].resourceOperations[1].mappings",
            "deviceCommands[0].resourceOperations[2]",
        ]
    );
    Model::compile(&document).unwrap();
}

#[test]
fn what_contradicts_itself_is_left_out_and_told() {
    let value = |value: Json| {
        let profile = json!({"deviceResources": [{"name":"x","properties":value}]});
        let Import { document, notes } = import(&profile).unwrap();
        Model::compile(&document).unwrap();
        let noted: Vec<String> = notes.into_iter().map(|note| note.at).collect();
        noted.join(" ")
    };
    let at = |key: &str| format!("deviceResources[0].properties.{key}");
    assert_eq!(value(json!({"valueType":"Int8","minimum":"5","maximum":"3"})), at("minimum"));
    assert_eq!(value(json!({"valueType":"Int8","defaultValue":"300"})), at("defaultValue"));
    assert_eq!(value(json!({"valueType":"Int8","defaultValue":"x"})), at("defaultValue"));
    assert_eq!(value(json!({"valueType":"String","maximum":"3"})), at("maximum"));
    assert_eq!(value(json!({"valueType":"Bool","units":"x".repeat(40)})), at("units"));
    let refusal = import(&json!({"deviceResources": 5})).unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("deviceResources"));
    assert!(import(&json!([])).is_err());
}

/// JSON that looks like a profile often enough.
fn profiles() -> impl Strategy<Value = Json> {
    let types =
        prop::sample::select(vec!["Bool", "Int8", "Uint64", "Float64", "String", "ArrayArray", ""]);
    let bound =
        prop::sample::select(vec![json!("5"), json!(-3), json!("x"), json!(""), json!(1e300)]);
    let resource = ("[a-c/]{0,2}", types, bound.clone(), bound.clone(), bound, "R?W?").prop_map(
        |(name, value_type, minimum, maximum, default, access)| {
            json!({"name":name,"properties":{"valueType":value_type,"minimum":minimum,
                "maximum":maximum,"defaultValue":default,"readWrite":access}})
        },
    );
    let command = ("[a-c]{0,2}", "R?W?", "[a-c]{1,2}").prop_map(|(name, access, resource)| {
        json!({"name":name,"readWrite":access,
            "resourceOperations":[{"deviceResource":resource,"defaultValue":"9"}]})
    });
    let lists = (prop::collection::vec(resource, 0..6), prop::collection::vec(command, 0..3));
    lists.prop_map(
        |(resources, commands)| json!({"deviceResources":resources,"deviceCommands":commands}),
    )
}

proptest! {
    #[test]
    fn whatever_is_read_is_a_model(profile in profiles()) {
        let Import { document, .. } = import(&profile).unwrap();
        prop_assert!(Model::compile(&document).is_ok(), "{document}");
    }
}
