//! Backup and restore with the real binary: of a node under load, of a stopped one, and of files that are not whole.

use manifold_tests::admin::Admin;
use manifold_tests::binaries;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Hello, Version};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::process::Command;

/// Things that are there before the backup is begun.
const BEFORE: u64 = 60;

async fn manifold(arguments: &[&str]) -> Output {
    let mut command = Command::new(binaries::manifold());
    command.env_clear().args(arguments).output().await.expect("the binary runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are plain")
}

/// Has the node make a backup, and waits until it is whole.
async fn back_up(site: &Site, admin: &mut Admin, asked: Value) -> PathBuf {
    let tenant = asked["tenant"].clone();
    let name = admin.must("backups", "create", asked).await["backup"].clone();
    let name = name.as_str().expect("a text");
    let shown = when_over(admin, name, "/state").await;
    assert_eq!(shown["state"], "done", "{shown}");
    assert!(shown["release"].as_str().is_some_and(|it| it.starts_with("manifold ")));
    assert_eq!(shown["tenant"], tenant, "{shown}");
    site.data().join("backups").join(name)
}

/// What is shown of a backup once what `state` points to is no longer `running`.
async fn when_over(admin: &mut Admin, backup: &str, state: &str) -> Value {
    for _ in 0..600 {
        let shown = admin.must("backups", "get", json!({ "backup": backup })).await;
        if shown.pointer(state) != Some(&json!("running")) {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{backup} is running still");
}

async fn things(admin: &mut Admin) -> Vec<String> {
    let page = admin.must("things", "list", json!({ "limit": 1000 })).await;
    let items = page["items"].as_array().expect("a page has items").clone();
    items.iter().map(|it| it["thing"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn a_backup_under_load_has_all_that_was_acknowledged_before_it() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let away = Hello::new(Version::V5, "away").user("admin", SECRET).persistent();
    let mut wire = node.client(&away).await;
    wire.subscribe("queued/#", 1).await;
    wire.leave().await;
    let mut app = node.client(&Hello::new(Version::V5, "app").user("admin", SECRET)).await;
    app.retain("plant/level", b"7").await;
    for number in 0..BEFORE {
        app.publish_acked(&format!("queued/{number}"), b"x").await;
        admin.must("things", "create", json!({ "thing": format!("b{number}") })).await;
    }
    let done = Arc::new(AtomicU64::new(0));
    let load = tokio::spawn(load(node_admin(&node).await, Arc::clone(&done)));
    while done.load(Ordering::SeqCst) < 5 {
        tokio::task::yield_now().await;
    }
    let before = done.load(Ordering::SeqCst);
    let backup = back_up(&site, &mut admin, json!({})).await;
    load.abort();
    let listed = admin.must("backups", "list", json!({})).await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    node.kill().await;

    let folder = tempfile::tempdir().expect("a folder can be made");
    let data = folder.path().join("data");
    let output = manifold(&["restore", text(&backup), "--data", text(&data)]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let copy = Site::at(&data).start().await;
    let mut admin = Admin::enter(&copy).await;
    let there = things(&mut admin).await;
    for thing in
        (0..BEFORE).map(|it| format!("b{it}")).chain((0..before).map(|it| format!("l{it}")))
    {
        assert!(there.contains(&thing), "{thing} was acknowledged before the backup");
    }
    let verdict = admin.must("audit", "verify", json!({})).await;
    assert_eq!(verdict["holds"], true, "{verdict}");
    let shown = admin.must("retained", "get", json!({ "topic": "plant/level" })).await;
    assert_eq!(shown["payload"], json!(7), "{shown}");
    let mut wire = copy.client(&away).await;
    assert!(wire.is_session_present());
    for number in 0..BEFORE {
        let message = wire.next_message().await;
        assert_eq!(message.topic, format!("queued/{number}"));
        wire.acknowledge(&message).await;
    }
    copy.terminate().await;
}

async fn node_admin(node: &Node) -> Admin {
    Admin::enter_as(node, "default/default/admin", SECRET).await
}

async fn load(mut admin: Admin, done: Arc<AtomicU64>) {
    for number in 0_u64.. {
        admin.must("things", "create", json!({ "thing": format!("l{number}") })).await;
        done.store(number + 1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn the_command_line_backs_up_a_stopped_node_and_refuses_what_is_not_whole() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    admin.must("things", "create", json!({ "thing": "press1" })).await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("all.backup");
    let data = folder.path().join("data");
    let refused = async |arguments: &[&str], why: &str| {
        let output = manifold(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
    };
    let make = ["backup", "--data", text(site.data()), "--to", text(&file)];
    refused(&make, "already open").await;
    node.terminate().await;
    assert!(manifold(&make).await.status.success());
    refused(&make, "is there already").await;
    let whole = std::fs::read(&file).expect("it is there");
    assert!(manifold(&["restore", text(&file)]).await.status.success());

    let restore = ["restore", text(&file), "--data", text(&data)];
    std::fs::write(&file, &whole[..whole.len() / 2]).expect("it can be written");
    refused(&restore, "is cut off at byte").await;
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&file, &damaged).expect("it can be written");
    refused(&restore, "is damaged at byte").await;
    std::fs::write(&file, "something else").expect("it can be written");
    refused(&restore, "is no backup of Manifold").await;
    std::fs::write(&file, &whole).expect("it can be written");
    assert!(manifold(&restore).await.status.success());
    refused(&restore, "is not empty").await;

    let copy = Site::at(&data).start().await;
    let mut admin = Admin::enter(&copy).await;
    assert_eq!(things(&mut admin).await, ["press1"]);
    let is_code = |code: &str, error: Value| assert_eq!(error["code"], code, "{error}");
    let error = admin.ask("backups", "get", json!({ "backup": "../x.backup" })).await;
    is_code("invalid", error.expect_err("it is no plain name"));
    let error = admin.ask("backups", "delete", json!({ "backup": "none.backup" })).await;
    is_code("not_found", error.expect_err("there is none"));
    copy.terminate().await;
}

/// Fills the project of a tenant; its administrator is `ann`.
async fn found_rome(admin: &mut Admin, node: &Node) -> Admin {
    admin.must("tenants", "create", json!({ "tenant": "acme" })).await;
    admin.must("projects", "create", json!({ "tenant": "acme", "project": "rome" })).await;
    let ann = json!({ "namespace": "acme/rome", "user": "ann", "role": "project_admin",
        "secret": "chosen by Ann" });
    admin.must("users", "create", ann).await;
    let mut ann = Admin::enter_as(node, "acme/rome/ann", "chosen by Ann").await;
    ann.must("things", "create", json!({ "thing": "pump1" })).await;
    let hello = Hello::new(Version::V5, "app").user("acme/rome/ann", "chosen by Ann");
    let mut app = node.client(&hello).await;
    app.retain("plant/level", b"7").await;
    ann
}

#[tokio::test]
async fn a_tenant_comes_back_among_others_as_it_was() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    let mut ann = found_rome(&mut admin, &node).await;
    let error = admin.ask("backups", "create", json!({ "tenant": "nobody" })).await;
    let error = error.expect_err("there is no such tenant");
    assert_eq!((&error["code"], &error["field"]), (&json!("not_found"), &json!("tenant")));
    let backup = back_up(&site, &mut admin, json!({ "tenant": "acme" })).await;
    // What is undone by the restore, and what is not.
    ann.must("things", "delete", json!({ "thing": "pump1" })).await;
    ann.must("things", "create", json!({ "thing": "pump2" })).await;
    ann.must("retained", "delete", json!({ "topic": "plant/level" })).await;
    admin.must("things", "create", json!({ "thing": "press1" })).await;
    let restore = ["restore", text(&backup), "--data", text(site.data())];
    let output = manifold(&restore).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("already open"), "{said}");
    node.kill().await;

    let fresh = tempfile::tempdir().expect("a folder can be made");
    let data = fresh.path().join("data");
    for data in [site.data(), &data] {
        let output = manifold(&["restore", text(&backup), "--data", text(data)]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for (data, in_default) in [(site.data(), vec!["press1"]), (&data, vec![])] {
        let node = Site::at(data).start().await;
        let mut admin = Admin::enter(&node).await;
        assert_eq!(things(&mut admin).await, in_default);
        let mut ann = Admin::enter_as(&node, "acme/rome/ann", "chosen by Ann").await;
        assert_eq!(things(&mut ann).await, ["pump1"]);
        let shown = ann.must("retained", "get", json!({ "topic": "plant/level" })).await;
        assert_eq!(shown["payload"], json!(7), "{shown}");
        let verdict = admin.must("audit", "verify", json!({ "tenant": "acme" })).await;
        assert_eq!(verdict["holds"], true, "{verdict}");
        ann.must("things", "create", json!({ "thing": "pump3" })).await;
        node.terminate().await;
    }
}

#[tokio::test]
async fn the_command_line_backs_up_a_tenant_of_a_stopped_node() {
    let site = Site::new();
    let node = site.start().await;
    let mut admin = Admin::enter(&node).await;
    drop(found_rome(&mut admin, &node).await);
    node.terminate().await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("acme.backup");
    let of = |tenant: &'static str| {
        ["backup", "--data", text(site.data()), "--to", text(&file), "--tenant", tenant]
    };
    for (tenant, code, why) in
        [("nobody", 1, "nothing of the tenant nobody"), ("No Body", 2, "--tenant")]
    {
        let output = manifold(&of(tenant)).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(why), "{tenant}: {said}");
        assert!(!file.exists());
    }
    assert!(manifold(&of("acme")).await.status.success());
    let checked = manifold(&["restore", text(&file)]).await;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && said.contains("is whole"), "{said}");
}

/// Has a node put the tenant of a backup back, and waits for the end of that.
async fn put_back(admin: &mut Admin, backup: &str) -> Value {
    let begun = admin.must("backups", "restore", json!({ "backup": backup })).await;
    assert_eq!((&begun["tenant"], &begun["state"]), (&json!("acme"), &json!("running")), "{begun}");
    when_over(admin, backup, "/restore/state").await["restore"].clone()
}

/// Gives a node the backup of another one; answers with its name.
fn hand_over(backup: &Path, to: &Site) -> String {
    let folder = to.data().join("backups");
    std::fs::create_dir_all(&folder).expect("it can be made");
    let name = backup.file_name().and_then(|it| it.to_str()).expect("it has a name").to_owned();
    std::fs::copy(backup, folder.join(&name)).expect("it can be copied");
    name
}

#[tokio::test]
async fn a_tenant_moves_to_a_node_that_runs() {
    let from = Site::new();
    let node = from.start().await;
    let mut admin = Admin::enter(&node).await;
    drop(found_rome(&mut admin, &node).await);
    let of_tenant = back_up(&from, &mut admin, json!({ "tenant": "acme" })).await;
    let of_all = back_up(&from, &mut admin, json!({})).await;
    node.kill().await;

    let to = Site::new();
    let mut node = to.start().await;
    let mut admin = Admin::enter(&node).await;
    admin.must("things", "create", json!({ "thing": "press1" })).await;
    let (of_tenant, of_all) = (hand_over(&of_tenant, &to), hand_over(&of_all, &to));
    let refused = async |admin: &mut Admin, backup: &str| {
        let error = admin.ask("backups", "restore", json!({ "backup": backup })).await;
        let error = error.expect_err("it is refused");
        assert_eq!(error["field"], "backup", "{error}");
        error["code"].as_str().expect("a code").to_owned()
    };
    assert_eq!(refused(&mut admin, &of_all).await, "invalid");
    assert_eq!(refused(&mut admin, "none.backup").await, "not_found");
    let damaged = to.data().join("backups").join("damaged.backup");
    std::fs::write(&damaged, "something else").expect("it can be written");
    assert_eq!(refused(&mut admin, "damaged.backup").await, "invalid");
    let whole = std::fs::read(to.data().join("backups").join(&of_tenant)).expect("it is there");
    std::fs::write(&damaged, &whole[..whole.len() - 9]).expect("it can be written");
    let failed = put_back(&mut admin, "damaged.backup").await;
    assert_eq!(failed["state"], "failed", "{failed}");
    assert!(failed["error"].as_str().is_some_and(|it| it.contains("cut off")), "{failed}");

    let done = put_back(&mut admin, &of_tenant).await;
    assert_eq!(done["state"], "done", "{done}");
    for _ in 0..2 {
        let mut ann = Admin::enter_as(&node, "acme/rome/ann", "chosen by Ann").await;
        assert_eq!(things(&mut ann).await[0], "pump1");
        let shown = ann.must("retained", "get", json!({ "topic": "plant/level" })).await;
        assert_eq!(shown["payload"], json!(7), "{shown}");
        let verdict = admin.must("audit", "verify", json!({ "tenant": "acme" })).await;
        assert_eq!(verdict["holds"], true, "{verdict}");
        ann.ask("things", "create", json!({ "thing": "pump2" })).await.ok();
        assert_eq!(refused(&mut admin, &of_tenant).await, "already_exists");
        assert_eq!(things(&mut admin).await, ["press1"], "the others are as they were");
        node.kill().await;
        node = to.start().await;
        admin = Admin::enter(&node).await;
    }
    node.terminate().await;
}

#[tokio::test]
async fn a_restore_that_is_killed_leaves_the_tenant_away_or_whole() {
    const THINGS: usize = 3000;
    let from = Site::new();
    let node = from.start().await;
    let mut admin = Admin::enter(&node).await;
    let mut ann = found_rome(&mut admin, &node).await;
    for first in (0..THINGS).step_by(500) {
        let rows = (first..first + 500)
            .map(|it| format!("{{\"thing\":\"t{it}\",\"tags\":[\"a\",\"b\"]}}\n"));
        let text: String = rows.collect();
        ann.must("things", "import", json!({ "format": "jsonl", "text": text })).await;
    }
    let backup = back_up(&from, &mut admin, json!({ "tenant": "acme" })).await;
    node.kill().await;
    let to = Site::new();
    let name = hand_over(&backup, &to);
    let mut remains = 0;
    for round in 0..60_u64 {
        let node = to.start().await;
        let mut admin = Admin::enter(&node).await;
        if admin.ask("tenants", "get", json!({ "tenant": "acme" })).await.is_ok() {
            node.kill().await;
            break;
        }
        match admin.ask("tenants", "create", json!({ "tenant": "acme" })).await {
            Ok(_) => drop(admin.must("tenants", "delete", json!({ "tenant": "acme" })).await),
            Err(error) => {
                assert_eq!(error["code"], "already_exists", "{error}");
                remains += 1;
            }
        }
        admin.must("backups", "restore", json!({ "backup": name })).await;
        tokio::time::sleep(Duration::from_millis(round * 4)).await;
        node.kill().await;
    }
    println!("{remains} restores were cut short in the middle");
    let node = to.start().await;
    let mut admin = Admin::enter(&node).await;
    if admin.ask("tenants", "get", json!({ "tenant": "acme" })).await.is_err() {
        assert_eq!(put_back(&mut admin, &name).await["state"], "done");
    }
    let mut ann = Admin::enter_as(&node, "acme/rome/ann", "chosen by Ann").await;
    assert_eq!(things(&mut ann).await.len(), 1000, "a page");
    let found = ann.must("things", "list", json!({ "filter": "t2999" })).await;
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");
    node.terminate().await;
}
