//! `/api/<resource>/<verb>`: what it answers, to whom, and what it refuses.

use manifold_tests::admin::Admin;
use manifold_tests::http::Request;
use manifold_tests::node::{Node, SECRET, Site};
use serde_json::{Value, json};

fn post(path: &str, body: &Value) -> Request {
    Request::post(path, body).user("admin", SECRET)
}

fn get(path: &str) -> Request {
    Request::get(path).user("admin", SECRET)
}

/// A node with the thing `pump7` and the readers `joe`, whose secret is given.
async fn start() -> (Node, String) {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    admin.create_thing("pump7", "acme/berlin/pump7").await;
    let joe = admin.create_user("joe", "user").await;
    (node, joe)
}

#[tokio::test]
async fn it_answers_as_the_admin_api_does() {
    let (node, _) = start().await;
    let body = json!({"thing": "42", "location": "acme/berlin/42"});
    let created = post("/api/things/create", &body).send(&node).await;
    assert_eq!(created.header("content-type"), Some("application/json"));
    assert_eq!(created.header("cache-control"), Some("no-store"));
    assert!(created.header("access-control-allow-origin").is_none());
    assert_eq!(created.data()["thing"], "42");
    let by_body = post("/api/things/get", &json!({"thing": "42"})).send(&node).await.data();
    // The schema says that the name is a text, though it looks like a number.
    let by_query = get("/api/things/get?thing=42").send(&node).await.data();
    let by_mqtt = Admin::enter(&node).await.must("things", "get", json!({"thing": "42"})).await;
    assert_eq!((&by_body, &by_query), (&by_mqtt, &by_mqtt));
    let page = get("/api/things/list?limit=1&filter=pump").send(&node).await.data();
    assert_eq!(page["items"][0]["thing"], "pump7");
    let without_body = Request::new("POST", "/api/things/list").user("admin", SECRET);
    assert_eq!(without_body.send(&node).await.data()["items"].as_array().unwrap().len(), 2);
    let connection = get("/api/connections/list?listener=http").send(&node).await.data();
    let connection = &connection["items"][0];
    assert_eq!(connection["user_name"], "admin");
    assert!(connection["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{connection}");
}

#[tokio::test]
async fn a_refusal_has_the_status_of_its_code() {
    let (node, joe) = start().await;
    let create = |thing: &str| json!({"thing": thing, "location": "acme/berlin/x"});
    let json_of = |text: &str| post("/api/things/get", &json!(null)).body(text);
    let plain = Request::new("POST", "/api/things/list").user("admin", SECRET).body("{}");
    let cases = [
        (json_of("{"), 400, "bad_request", None),
        (json_of("[]"), 400, "bad_request", None),
        (json_of(r#"{"thing":5}"#), 400, "bad_request", Some("thing")),
        (json_of(r#"{"thing":"x","y":1}"#), 400, "bad_request", Some("y")),
        (get("/api/things/get?thing=pump7&y=1"), 400, "bad_request", Some("y")),
        (get("/api/things/get?thing=a&thing=b"), 400, "bad_request", Some("thing")),
        (get("/api/things/get?=1"), 400, "bad_request", Some("")),
        (get("/api/things/get?thing=pump7").body("{}"), 400, "bad_request", None),
        (post("/api/things/get?thing=pump7", &json!({})), 400, "bad_request", None),
        (post("/api/thi%2Fngs/list", &json!({})), 400, "bad_request", None),
        (post("/api/%ff/list", &json!({})), 400, "bad_request", None),
        (post("/api/things/get", &json!({"thing": "none"})), 404, "not_found", None),
        (post("/api/pumps/list", &json!({})), 405, "unknown_operation", Some("resource")),
        (get("/api/things/destroy"), 405, "unknown_operation", Some("verb")),
        (get("/api/things/create?thing=x"), 405, "unknown_operation", None),
        (
            Request::new("PUT", "/api/things/create").user("admin", SECRET),
            405,
            "unknown_operation",
            None,
        ),
        (post("/api/things/create", &create("pump7")), 409, "already_exists", None),
        (plain, 415, "unsupported_encoding", None),
        (
            Request::post("/api/things/create", &create("b")).user("joe", &joe),
            403,
            "forbidden",
            None,
        ),
        (get("/api/things/list").header("Origin", "http://evil.example"), 403, "forbidden", None),
    ];
    for (request, status, code, field) in cases {
        let answer = request.send(&node).await;
        let (seen, its_code, its_field) = answer.refusal();
        let seen = (seen, its_code.as_str(), its_field.as_deref());
        // A field that the admin API names beyond what is asked here is no mistake of the gateway.
        let field = if field.is_none() { seen.2 } else { field };
        assert_eq!(seen, (status, code, field), "{request:?}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("POST"), "{request:?}");
    }
    let things = get("/api/things/list").send(&node).await.data();
    assert_eq!(things["items"].as_array().unwrap().len(), 1, "a refusal changes nothing");
}

#[tokio::test]
async fn only_who_the_broker_lets_in_may_ask() {
    let site = Site::new().with("security.lockout.failures_max=4");
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let joe = admin.create_user("joe", "user").await;
    let pump = admin.create_thing("pump7", "acme/berlin/pump7").await;
    let list = Request::get("/api/things/list");
    assert_eq!(list.clone().user("joe", &joe).send(&node).await.status, 200);
    for request in [
        list.clone(),
        list.clone().user("joe", "wrong"),
        list.clone().user("nobody", "wrong"),
        list.clone().user("acme/none/joe", &joe),
        list.clone().header("Authorization", "Bearer a.b.c"),
        list.clone().header("Authorization", "Digest x"),
        list.clone().header("Authorization", "Basic %"),
    ] {
        let answer = request.send(&node).await;
        let (status, code, _) = answer.refusal();
        assert_eq!((status, code.as_str()), (401, "unauthorized"), "{request:?}");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Basic realm="), "{challenge}");
    }
    // A device has no place in the admin API, here as over MQTT.
    assert_eq!(list.clone().user("pump7", &pump).send(&node).await.refusal().0, 403);
    for _ in 0..4 {
        list.clone().user("joe", "wrong").send(&node).await;
    }
    let locked = list.clone().user("joe", &joe).send(&node).await;
    assert_eq!(locked.refusal().0, 429, "the lock of the broker counts");
    assert!(locked.header("retry-after").is_some());
    admin
        .must(
            "users",
            "create",
            json!({"user": "ann", "role": "user", "secret": "a secret of hers"}),
        )
        .await;
    assert_eq!(list.clone().user("ann", "a secret of hers").send(&node).await.status, 200);
    admin.must("users", "update", json!({"user": "ann", "enabled": false})).await;
    assert_eq!(list.clone().user("ann", "a secret of hers").send(&node).await.refusal().0, 401);
}

#[tokio::test]
async fn a_client_without_a_name_is_whom_the_configuration_says() {
    let anonymous = r#"security.anonymous={namespace="default/default",role="user"}"#;
    let node = Site::new().with(anonymous).start().await;
    let list = Request::get("/api/things/list").send(&node).await;
    assert_eq!(list.data()["items"], json!([]));
    let create = Request::post("/api/things/create", &json!({"thing": "a"})).send(&node).await;
    assert_eq!(create.refusal().0, 403);
}

#[tokio::test]
async fn a_change_with_an_idempotency_key_is_done_once() {
    let (node, _) = start().await;
    let create = |thing: &str, key: &str| {
        let body = json!({"thing": thing, "location": format!("acme/berlin/{thing}")});
        post("/api/things/create", &body).header("Idempotency-Key", key)
    };
    let first = create("a", "k-1").send(&node).await.data();
    assert!(first["secret"].is_string(), "{first}");
    assert_eq!(create("a", "k-1").send(&node).await.data(), first);
    assert_eq!(create("a", "\"k-1\"").send(&node).await.data(), first, "in quotes it is the same");
    assert_eq!(create("a", "k-2").send(&node).await.refusal().0, 409);
    let (status, code, field) = create("b", "not a/key").send(&node).await.refusal();
    assert_eq!((status, code.as_str()), (400, "bad_request"));
    assert_eq!(field.as_deref(), Some("request_id"));
    let body = json!({"thing": "b", "request_id": "k-3"});
    let two = post("/api/things/create", &body).header("Idempotency-Key", "k-4").send(&node).await;
    assert_eq!(two.refusal().2.as_deref(), Some("Idempotency-Key"));
    let things = get("/api/things/list").send(&node).await.data();
    assert_eq!(things["items"].as_array().unwrap().len(), 2);
}
