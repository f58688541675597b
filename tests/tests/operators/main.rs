//! What operators see and do over the admin API, as MQTT clients of a running node.

mod connections;
mod lives;
mod node;
mod reasons;
mod retained;
mod subscriptions;

use manifold_tests::admin::Admin;
use serde_json::{Value, json};

/// A request, the code it is refused with, and the field that is named.
type Refused = (&'static str, &'static str, Value, &'static str, &'static str);

/// Each request is refused with its code and its field.
async fn all_refused(admin: &mut Admin, cases: Vec<Refused>) {
    for (resource, verb, body, code, field) in cases {
        let outcome = admin.ask(resource, verb, body.clone()).await;
        let error = outcome.expect_err(&format!("{resource} {verb} {body}"));
        let field = if field.is_empty() { Value::Null } else { json!(field) };
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!(code), &field),
            "{resource} {verb} {body}: {error}"
        );
    }
}

/// The texts of a field of all items of a page.
fn texts(page: &Value, field: &str) -> Vec<String> {
    let items = page["items"].as_array().expect("a page has items");
    items.iter().map(|item| item[field].as_str().unwrap_or_default().to_owned()).collect()
}
