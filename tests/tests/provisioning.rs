//! Devices that are not registered yet, over the network: let in by an enrolment, once, and never locked out by a lost
//! answer or a node that is killed.

use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, Site};
use manifold_tests::wire::{Ending, Hello, Version, Wire};
use serde_json::{Value, json};

/// PUBACK and SUBACK of what is not allowed (MQTT 5.0 3.4.2.1 and 3.9.3).
const NOT_AUTHORIZED: u8 = 0x87;

const NONCE: &str = "a nonce of this very device";

async fn open(admin: &mut Admin, enrolment: Value) -> String {
    let data = admin.must("enrolments", "create", enrolment).await;
    data["secret"].as_str().expect("a secret is generated").to_owned()
}

/// A device that comes in by an enrolment.
async fn comer(node: &Node, client_id: &str, secret: &str) -> Wire {
    let mut wire = node.client(&Hello::new(Version::V3, client_id).user("door", secret)).await;
    assert_eq!(wire.subscribe(&format!("clients/{client_id}/reply/+"), 1).await, 1);
    wire
}

/// The data of the answer, or the code and the field of the refusal.
async fn register(
    wire: &mut Wire,
    client_id: &str,
    serial: &str,
    nonce: &str,
) -> Result<Value, (String, String)> {
    let body = json!({ "serial": serial, "nonce": nonce });
    wire.publish_acked("admin/enrolments/register/1", body.to_string().as_bytes()).await;
    let answer = wire.next_message().await;
    assert_eq!(answer.topic, format!("clients/{client_id}/reply/1"));
    let mut answer = answer.json();
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    match answer["ok"].as_bool() {
        Some(true) => Ok(answer["data"].take()),
        _ => Err((text(&answer["error"]["code"]), text(&answer["error"]["field"]))),
    }
}

fn refused(code: &str, field: &str) -> Result<Value, (String, String)> {
    Err((code.to_owned(), field.to_owned()))
}

/// Comes in as the thing that an answer names.
async fn enter(node: &Node, data: &Value) -> Wire {
    let text = |field: &str| data[field].as_str().expect("the answer names it").to_owned();
    let (user, secret) = (text("user"), text("secret"));
    node.client(&Hello::new(Version::V5, "as-itself").user(&user, &secret)).await
}

async fn stays_out(node: &Node, user: &str, secret: &str) {
    let mut wire = Wire::open(node.mqtt(), Version::V5).await;
    wire.send(&Hello::new(Version::V5, "outside").user(user, secret).encode()).await;
    let ending = wire.ending().await;
    assert!(matches!(ending, Ending::Refused(_)), "{user}: {ending:?}");
}

#[tokio::test]
async fn a_device_registers_once_and_a_lost_answer_or_a_killed_node_does_not_lock_it_out() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let door = json!({ "enrolment": "door", "name": "pump-{serial}", "tags": ["new"],
        "location": "acme/berlin/{serial}", "things_max": 2 });
    let secret = open(&mut admin, door).await;
    admin.must("enrolments", "add", json!({ "enrolment": "door", "serials": ["7", "8"] })).await;
    let mut wire = comer(&node, "c7", &secret).await;
    assert_eq!(register(&mut wire, "c7", "9", NONCE).await, refused("forbidden", "serial"));
    let first = register(&mut wire, "c7", "7", NONCE).await.unwrap();
    assert_eq!(first["user"], "default/default/pump-7");

    // Its answer is lost with the node: it asks again, and nobody else gets anything.
    node.kill().await;
    let node = site.start().await;
    let mut wire = comer(&node, "c7", &secret).await;
    assert_eq!(register(&mut wire, "c7", "7", NONCE).await.unwrap(), first);
    let other = register(&mut wire, "c7", "7", "a nonce of another device").await;
    assert_eq!(other, refused("already_exists", "serial"));
    let mut admin = Admin::enter(&node).await;
    let thing = admin.must("things", "get", json!({ "thing": "pump-7" })).await;
    assert_eq!(thing["location"], "acme/berlin/7");
    assert_eq!((&thing["serial"], &thing["tags"]), (&json!("7"), &json!(["new"])));
    assert_eq!(thing["state"], "unactivated");

    // Once it has come in as its thing, its serial number is used up, also for who has heard all of it.
    let mut itself = enter(&node, &first).await;
    assert_eq!(itself.publish_acked("things/pump-7/telemetry", b"{\"level\":1}").await, 0);
    while admin.must("things", "get", json!({ "thing": "pump-7" })).await["state"] != "online" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let replayed = register(&mut wire, "c7", "7", NONCE).await;
    assert_eq!(replayed, refused("already_exists", "serial"));

    // A repaired device takes the thing over when an operator says so; the one before is out.
    let reset = json!({ "enrolment": "door", "serial": "7" });
    assert_eq!(admin.must("enrolments", "reset", reset).await["state"], "reset");
    let second = register(&mut wire, "c7", "7", "a nonce of the new device").await.unwrap();
    assert_ne!(second["secret"], first["secret"]);
    stays_out(&node, "pump-7", first["secret"].as_str().unwrap()).await;
    enter(&node, &second).await.leave().await;

    // The enrolment registers two things, and knows what has become of its serial numbers.
    register(&mut wire, "c7", "8", NONCE).await.unwrap();
    admin.must("enrolments", "add", json!({ "enrolment": "door", "serials": ["9"] })).await;
    assert_eq!(
        register(&mut wire, "c7", "9", NONCE).await,
        refused("quota_exceeded", "things_max")
    );
    let listed = admin.must("enrolments", "serials", json!({ "enrolment": "door" })).await;
    let states: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
    assert_eq!(states, ["registered", "registered", "waiting"]);
    let shown = admin.must("enrolments", "get", json!({ "enrolment": "door" })).await;
    assert_eq!((&shown["registered"], &shown["serials"]), (&json!(2), &json!(3)));
    assert!(!shown.to_string().contains(&secret), "no secret is shown again");
    let records = json!({ "action": "enrolments register", "outcome": "ok" });
    let told = admin.must("audit", "list", records).await.to_string();
    assert!(told.contains("\"7\"") && !told.contains(NONCE), "{told}");
    node.terminate().await;
}

#[tokio::test]
async fn who_comes_in_by_an_enrolment_may_do_nothing_else() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let secret = open(&mut admin, json!({ "enrolment": "door", "listed_only": false })).await;
    let hello = |version| Hello::new(version, "c1").user("door", &secret).persistent();
    let mut wire = node.client(&hello(Version::V5)).await;
    for topic in ["things/x/telemetry", "free/topic", "admin/things/list/1", "uns/a/_raw/b"] {
        assert_eq!(wire.publish_acked(topic, b"{}").await, NOT_AUTHORIZED, "{topic}");
    }
    // A device is not given the session of another that called itself the same, nor what waits in it.
    wire.subscribe("clients/c1/reply/+", 1).await;
    drop(wire);
    let mut other = node.client(&hello(Version::V3)).await;
    let asked = json!({ "serial": "1", "nonce": NONCE }).to_string();
    other.publish_acked("admin/enrolments/register/1", asked.as_bytes()).await;
    other.subscribe("clients/c1/reply/+", 1).await;
    let again = register(&mut other, "c1", "2", NONCE).await.unwrap();
    assert_eq!(again["thing"], "2", "the answer to the request before was for nobody");

    // Bad input changes nothing and says what is wrong.
    let cases = [
        (json!({ "serial": "3" }), "bad_request", "nonce"),
        (json!({ "serial": "3", "nonce": "short" }), "invalid", "nonce"),
        (json!({ "serial": "a/b", "nonce": NONCE }), "invalid", "serial"),
        (json!({ "serial": "", "nonce": NONCE }), "invalid", "serial"),
        (json!({ "serial": 3, "nonce": NONCE }), "bad_request", "serial"),
        (json!({ "serial": "3", "nonce": NONCE, "model": "x" }), "bad_request", "model"),
    ];
    for (body, code, field) in cases {
        other.publish_acked("admin/enrolments/register/9", body.to_string().as_bytes()).await;
        let answer = other.next_message().await.json();
        assert_eq!(answer["error"]["code"], code, "{body}: {answer}");
        assert_eq!(answer["error"]["field"], field, "{body}: {answer}");
    }
    // A thing that an operator has registered is not an enrolment's to give away.
    admin.create_thing("4", "acme/4").await;
    let taken = register(&mut other, "c1", "4", NONCE).await;
    assert_eq!(taken, refused("already_exists", "serial"));

    // One that is closed is closed at once.
    let closed = json!({ "enrolment": "door", "enabled": false });
    admin.must("enrolments", "update", closed).await;
    other.ending().await;
    stays_out(&node, "door", &secret).await;
    admin.must("enrolments", "delete", json!({ "enrolment": "door" })).await;
    admin.must("things", "get", json!({ "thing": "2" })).await;
    node.terminate().await;
}

#[tokio::test]
async fn an_enrolment_that_makes_no_sense_is_refused_with_the_field() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    let cases = [
        (json!({}), "bad_request", "enrolment"),
        (json!({ "enrolment": "a/b" }), "bad_request", "enrolment"),
        (json!({ "enrolment": "admin2", "name": "pump" }), "invalid", "name"),
        (json!({ "enrolment": "x", "name": "{serial}/a" }), "invalid", "name"),
        (json!({ "enrolment": "x", "location": "a//{serial}" }), "invalid", "location"),
        (json!({ "enrolment": "x", "model": "nothing@1" }), "not_found", "model"),
        (json!({ "enrolment": "x", "parent": "nobody" }), "not_found", "parent"),
        (json!({ "enrolment": "x", "expires_in_secs": 0 }), "invalid", "expires_in_secs"),
        (json!({ "enrolment": "x", "secret": "short" }), "invalid", "secret"),
        (json!({ "enrolment": "x", "things_max": -1 }), "bad_request", "things_max"),
        (json!({ "enrolment": "x", "colour": "red" }), "bad_request", "colour"),
    ];
    for (body, code, field) in cases {
        let error = admin.ask("enrolments", "create", body.clone()).await.unwrap_err();
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(field)), "{body}");
    }
    assert_eq!(admin.must("enrolments", "list", json!({})).await["items"], json!([]));
    let one = json!({ "enrolment": "door", "expires_in_secs": 60 });
    admin.must("enrolments", "create", one.clone()).await;
    assert_eq!(admin.ask("enrolments", "create", one).await.unwrap_err()["code"], "already_exists");
    let old = json!({ "enrolment": "door", "revision": 7, "listed_only": false });
    assert_eq!(
        admin.ask("enrolments", "update", old).await.unwrap_err()["code"],
        "version_conflict"
    );
    for (verb, body, code, field) in [
        ("remove", json!({ "enrolment": "door", "serials": ["1"] }), "not_found", "serials[0]"),
        ("add", json!({ "enrolment": "door", "serials": ["1", " 2"] }), "invalid", "serials[1]"),
        ("reset", json!({ "enrolment": "door", "serial": "1" }), "not_found", "serial"),
        ("serials", json!({ "enrolment": "nowhere" }), "not_found", "enrolment"),
    ] {
        let error = admin.ask("enrolments", verb, body.clone()).await.unwrap_err();
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(field)), "{body}");
    }
    assert_eq!(
        admin.must("enrolments", "serials", json!({ "enrolment": "door" })).await["items"],
        json!([])
    );
    let asked = json!({ "serial": "1", "nonce": NONCE });
    let error = admin.ask("enrolments", "register", asked).await.unwrap_err();
    assert_eq!(error["code"], "forbidden", "{error}");
    node.terminate().await;
}

fn csr() -> String {
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let params = rcgen::CertificateParams::default();
    let request = params.serialize_request(&key).expect("a request can be made");
    request.pem().expect("it can be written")
}

/// Requests with the code and the field of their refusals; there is an authority already, by this request and with this
/// certificate.
fn wrong(
    plant: &Value,
    theirs: &Value,
) -> Vec<(&'static str, &'static str, Value, &'static str, &'static str)> {
    vec![
        ("authorities", "create", plant.clone(), "already_exists", "authority"),
        (
            "authorities",
            "create",
            json!({ "authority": "b", "lifetime_days": 0 }),
            "invalid",
            "lifetime_days",
        ),
        (
            "authorities",
            "create",
            json!({ "authority": "b", "certificate": "x" }),
            "bad_request",
            "key",
        ),
        (
            "authorities",
            "create",
            json!({ "authority": "b", "certificate": "x", "key": "y" }),
            "invalid",
            "certificate",
        ),
        (
            "authorities",
            "create",
            json!({ "authority": "b", "certificate": theirs, "key": "y" }),
            "invalid",
            "key",
        ),
        (
            "authorities",
            "update",
            json!({ "authority": "plant", "revision": 9 }),
            "version_conflict",
            "revision",
        ),
        ("authorities", "get", json!({ "authority": "b" }), "not_found", "authority"),
        ("certificates", "create", json!({ "name": "nobody", "csr": csr() }), "not_found", "name"),
        ("certificates", "create", json!({ "name": "ada", "csr": csr() }), "invalid", "name"),
        ("certificates", "create", json!({ "name": "pump7", "csr": "x" }), "invalid", "csr"),
        (
            "certificates",
            "create",
            json!({ "name": "pump7", "csr": csr(), "days": 11 }),
            "invalid",
            "days",
        ),
        ("certificates", "get", json!({ "fingerprint": "00" }), "not_found", "fingerprint"),
        ("certificates", "revoke", json!({ "fingerprint": "00" }), "not_found", "fingerprint"),
    ]
}

#[tokio::test]
async fn certificates_that_make_no_sense_are_refused_with_the_field() {
    let node = Site::new().start().await;
    let mut admin = Admin::enter(&node).await;
    admin.create_thing("pump7", "acme/pump7").await;
    admin.create_user("ada", "user").await;
    open(&mut admin, json!({ "enrolment": "door" })).await;
    let ask = json!({ "name": "pump7", "csr": csr() });
    let error = admin.ask("certificates", "create", ask.clone()).await.unwrap_err();
    assert_eq!((&error["code"], &error["field"]), (&json!("not_found"), &json!("authority")));
    let plant = json!({ "authority": "plant", "lifetime_days": 10 });
    let made = admin.must("authorities", "create", plant.clone()).await;
    assert!(!made.to_string().contains("PRIVATE"), "{made}");
    let theirs = made["certificate"].clone();
    for (resource, verb, body, code, field) in wrong(&plant, &theirs) {
        let error = admin.ask(resource, verb, body.clone()).await.unwrap_err();
        let found = (&error["code"], &error["field"]);
        assert_eq!(found, (&json!(code), &json!(field)), "{resource} {verb} {body}");
    }
    assert_eq!(admin.must("certificates", "list", json!({})).await["items"], json!([]));
    admin.must("certificates", "create", json!({ "name": "door", "csr": csr() })).await;
    node.terminate().await;
}

#[tokio::test]
async fn a_device_has_its_certificates_signed_and_what_was_answered_outlives_a_kill() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let secret = admin.create_thing("pump7", "acme/pump7").await;
    admin.must("authorities", "create", json!({ "authority": "plant" })).await;
    let mut pump = node.client(&Hello::new(Version::V5, "pump7").user("pump7", &secret)).await;
    let topic = "things/pump7/certificates/create";
    pump.subscribe(&format!("{topic}/+"), 1).await;
    let mut last = Value::Null;
    for number in 0..9 {
        let body = json!({ "csr": csr(), "clientToken": number.to_string() }).to_string();
        pump.publish_acked(topic, body.as_bytes()).await;
        let answer = pump.next_message().await;
        let told = answer.json();
        assert_eq!(told["clientToken"], number.to_string(), "{told}");
        if number == 8 {
            assert_eq!(answer.topic, format!("{topic}/rejected"), "eight are enough: {told}");
            assert_eq!(told["code"], 507);
        } else {
            assert_eq!(answer.topic, format!("{topic}/accepted"));
            assert!(told["chain"].as_str().is_some_and(|it| it.contains("BEGIN CERTIFICATE")));
            last = told;
        }
    }
    node.kill().await;
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let of_pump = json!({ "name": "pump7" });
    let listed = admin.must("certificates", "list", of_pump.clone()).await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(8));
    let one = json!({ "fingerprint": last["fingerprint"] });
    assert_eq!(admin.must("certificates", "get", one.clone()).await["state"], "issued");
    assert_eq!(admin.must("certificates", "revoke", one.clone()).await["state"], "revoked");
    assert_eq!(admin.must("certificates", "get", one).await["state"], "revoked");
    let disabled = json!({ "authority": "plant", "enabled": false });
    assert_eq!(admin.must("authorities", "update", disabled).await["enabled"], false);
    let listed = admin.must("authorities", "list", json!({})).await;
    assert_eq!(listed["items"][0]["revision"], 2);
    admin.must("things", "replace", json!({ "thing": "pump7" })).await;
    assert_eq!(admin.must("certificates", "list", of_pump).await["items"], json!([]));
    admin.must("authorities", "delete", json!({ "authority": "plant" })).await;
    node.terminate().await;
}
