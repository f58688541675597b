//! The simulated machine: the contract of all drivers, its types, and its faults.

use drivers::config::TagConfig;
use drivers::contract::{Fixture, check};
use drivers::{Driver, DriverConfig, PointId, ReadError, Site, open};
use proto::Datum;
use serde_json::{Value, json};
use std::time::Duration;

fn tag(name: &str, address: &str, more: &Value) -> TagConfig {
    let mut tag = json!({ "tag": name, "path": format!("a/_raw/{name}"), "address": address });
    for (field, value) in more.as_object().expect("fields") {
        tag[field] = value.clone();
    }
    serde_json::from_value(tag).expect("a tag")
}

fn machine(more: &Value, tags: &[TagConfig], site: &Site) -> Box<dyn Driver> {
    let mut config = json!({ "protocol": "simulator" });
    for (field, value) in more.as_object().expect("fields") {
        config[field] = value.clone();
    }
    let config: DriverConfig = serde_json::from_value(config).expect("a configuration");
    open(&config, tags, site).unwrap_or_else(|error| panic!("{error}"))
}

fn anywhere() -> Site {
    Site::new("unused")
}

async fn read(driver: &mut dyn Driver, point: u32) -> Result<Datum, ReadError> {
    let mut outcome = driver.read(&[PointId(point)]).await;
    outcome.points.remove(0).1.map(|sample| sample.value)
}

#[tokio::test]
async fn it_keeps_what_every_driver_must_keep() {
    let tags = [
        tag("memory", "memory", &json!({ "type": "uint16", "access": "read_write", "scale": 0.1 })),
        tag("wave", "sine", &json!({})),
        tag("missing", "missing", &json!({})),
    ];
    let mut driver = machine(&json!({}), &tags, &anywhere());
    let fixture = Fixture {
        point_count: 3,
        writable: PointId(0),
        values: [Datum::Float(1.5), Datum::Float(2.5)],
        read_only: PointId(1),
        missing: PointId(2),
        refused: vec![
            (PointId(0), Datum::Text("x".to_owned()), "wrong_type"),
            (PointId(0), Datum::Float(6553.6), "out_of_range"),
            (PointId(1), Datum::Float(1.0), "read_only"),
        ],
    };
    check(&mut *driver, &fixture).await.unwrap_or_else(|violation| panic!("{violation}"));
}

#[tokio::test(start_paused = true)]
async fn values_follow_from_the_time_and_have_the_type_of_the_tag() {
    let whole = json!({ "type": "int16" });
    let tags = [
        tag("counter", "counter?per_s=10", &whole),
        tag("wave", "sawtooth?period_s=10&max=10", &json!({ "scale": 2, "offset": 1 })),
        tag("on", "square?period_s=2&max=1", &json!({ "type": "bool" })),
        tag("far", "counter?start=40000", &whole),
        tag("text", "memory", &json!({ "type": "string(8)", "access": "read_write" })),
    ];
    let mut driver = machine(&json!({}), &tags, &anywhere());
    driver.connect().await.expect("it is there");
    tokio::time::advance(Duration::from_millis(2_500)).await;
    assert_eq!(read(&mut *driver, 0).await, Ok(Datum::Int(25)));
    assert_eq!(read(&mut *driver, 1).await, Ok(Datum::Float(6.0)));
    assert_eq!(read(&mut *driver, 2).await, Ok(Datum::Bool(false)));
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(read(&mut *driver, 2).await, Ok(Datum::Bool(true)));
    assert_eq!(read(&mut *driver, 3).await.expect_err("too large").code(), "no_value");
    let text = Datum::Text("hello".to_owned());
    assert_eq!(driver.write(PointId(4), &text, true).await, Ok(text.clone()));
    assert_eq!(read(&mut *driver, 4).await, Ok(text));
    let long = Datum::Text("longer than eight".to_owned());
    let refused = driver.write(PointId(4), &long, true).await.expect_err("no room");
    assert_eq!(refused.code(), "out_of_range");
}

#[tokio::test(start_paused = true)]
async fn it_is_away_when_told_and_comes_back() {
    let faults = json!({ "faults": { "down_every_secs": 10, "down_for_secs": 3, "delay_ms": 50 } });
    let mut driver = machine(&faults, &[tag("wave", "sine", &json!({}))], &anywhere());
    driver.connect().await.expect("it is there");
    let before = tokio::time::Instant::now();
    assert!(read(&mut *driver, 0).await.is_ok());
    assert!(before.elapsed() >= Duration::from_millis(50));
    tokio::time::advance(Duration::from_secs(7)).await;
    let outcome = driver.read(&[PointId(0)]).await;
    assert_eq!(outcome.lost.expect("it is lost").code(), "connection_lost");
    assert_eq!(driver.connect().await.expect_err("it is away").code(), "unreachable");
    tokio::time::advance(Duration::from_secs(3)).await;
    driver.connect().await.expect("it is back");
    assert!(read(&mut *driver, 0).await.is_ok());
}

#[tokio::test]
async fn some_reads_are_refused_and_their_neighbours_are_not() {
    let faults = json!({ "faults": { "refuse_every": 3 } });
    let tags = [tag("a", "memory", &json!({})), tag("b", "memory", &json!({}))];
    let mut driver = machine(&faults, &tags, &anywhere());
    driver.connect().await.expect("it is there");
    let mut codes = Vec::new();
    for _ in 0..3 {
        let outcome = driver.read(&[PointId(0), PointId(1)]).await;
        let code = |it: &Result<_, ReadError>| it.as_ref().map_or_else(ReadError::code, |_| "ok");
        codes.extend(outcome.points.iter().map(|(_, it)| code(it)));
    }
    assert_eq!(codes, ["ok", "ok", "device_failure", "ok", "ok", "device_failure"]);
}

#[tokio::test]
async fn a_table_is_played_and_one_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let tags = [tag("t", "table?file=run.csv", &json!({}))];
    let mut driver = machine(&json!({}), &tags, &Site::new(folder.path()));
    let error = driver.connect().await.expect_err("there is no table").to_string();
    assert!(error.contains("run.csv"), "{error}");
    std::fs::create_dir(folder.path().join("simulator")).expect("a folder");
    let table = folder.path().join("simulator/run.csv");
    std::fs::write(&table, "0,4\n1,oops\n").expect("it is written");
    let error = driver.connect().await.expect_err("a bad row").to_string();
    assert!(error.contains("line 2"), "{error}");
    std::fs::write(&table, "0,42\n").expect("it is written");
    driver.connect().await.expect("it is there");
    assert_eq!(read(&mut *driver, 0).await, Ok(Datum::Float(42.0)));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_field() {
    let refused = |config: Value, tag: &TagConfig| {
        let config: DriverConfig = serde_json::from_value(config).expect("a configuration");
        open(&config, std::slice::from_ref(tag), &anywhere()).err().expect("a refusal").path()
    };
    let good = tag("a", "sine", &json!({}));
    let down =
        json!({ "protocol": "simulator", "faults": { "down_every_secs": 5, "down_for_secs": 5 } });
    assert_eq!(refused(down, &good), "faults.down_for_secs");
    let slow = json!({ "protocol": "simulator", "faults": { "delay_ms": 10_001 } });
    assert_eq!(refused(slow, &good), "faults.delay_ms");
    let plain = json!({ "protocol": "simulator" });
    let cases = [
        (tag("a", "sine?period_s=0", &json!({})), "tags[0].address"),
        (tag("a", "sine", &json!({ "access": "read_write" })), "tags[0].access"),
        (tag("a", "sine", &json!({ "type": "string(4)" })), "tags[0].type"),
    ];
    for (tag, field) in cases {
        assert_eq!(refused(plain.clone(), &tag), field);
    }
    let table =
        |number| tag(&format!("t{number}"), &format!("table?file={number}.csv"), &json!({}));
    let tables: Vec<TagConfig> = (0..17).map(table).collect();
    let config: DriverConfig = serde_json::from_value(plain).expect("a configuration");
    assert!(open(&config, &tables[..16], &anywhere()).is_ok());
    let field = open(&config, &tables, &anywhere()).err().expect("too many").path();
    assert_eq!(field, "tags[16].address");
}
