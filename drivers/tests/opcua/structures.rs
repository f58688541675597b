//! Arrays, parts of them and structures: read, pushed and written, many at once.

use super::{all, dirs, driver, of_tank, plain, pushed, tag};
use drivers::{Driver, PointId, PointWrite, TagConfig};
use proto::Datum;
use serde_json::{Value as Json, json};
use sim::tank::{Kind, OpcUaServer};

const TABLE: PointId = PointId(0);
const PART: PointId = PointId(1);
const MATRIX: PointId = PointId(2);
const BATCH: PointId = PointId(4);
const LIMITED: PointId = PointId(5);

fn tags() -> Vec<TagConfig> {
    let writable = json!({"access": "read_write"});
    vec![
        tag("table", &of_tank("Table"), &json!({"access": "read_write", "scale": 0.5})),
        tag("part", &format!("{} [1:2]", of_tank("Table")), &writable),
        tag("matrix", &of_tank("Matrix"), &writable),
        tag("cell", &format!("{} [1,2]", of_tank("Matrix")), &json!({})),
        tag("batch", &of_tank("Batch"), &writable),
        tag("limited", &of_tank("Table"), &json!({"access": "read_write", "type": "uint8"})),
        tag("level", &of_tank("Level"), &json!({})),
    ]
}

fn datum(json: Json) -> Datum {
    Datum::from_json(json).expect("a value")
}

fn batch() -> Json {
    json!({
        "Number": 7, "Product": "syrup", "Amounts": [1.5, 2.5], "Limits": {"Low": 0.0, "High": 80.0},
        "Steps": [{"Name": "heat"}, {"Name": "stir", "Seconds": 12.5}],
    })
}

async fn held(driver: &mut dyn Driver, point: PointId) -> Json {
    let outcome = driver.read(&[point]).await;
    let (_, Ok(sample)) = &outcome.points[0] else { panic!("{outcome:?}") };
    sample.value.to_json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrays_and_structures_are_read_and_written() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let mut driver = driver(&plain(&server), &tags(), &dirs.site);
    driver.connect().await.expect("a connection");
    assert_eq!(held(&mut *driver, TABLE).await, json!([5.0, 10.0, 15.0]));
    assert_eq!(held(&mut *driver, PART).await, json!([20, 30]));
    assert_eq!(held(&mut *driver, MATRIX).await, json!([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));
    assert_eq!(held(&mut *driver, BATCH).await, batch());
    let mut changed = batch();
    changed["Steps"] = json!([{"Name": "cool", "Seconds": 3.0}]);
    changed["Limits"]["High"] = json!(60.5);
    for (point, value) in
        [(TABLE, json!([1.0, 2.5])), (MATRIX, json!([[0.5], [1.5]])), (BATCH, changed)]
    {
        let value = datum(value);
        assert_eq!(driver.write(point, &value, true).await, Ok(value.clone()));
    }
    for (point, value, code, reason) in [
        (TABLE, json!(1), "misfit", "1 is no array"),
        (MATRIX, json!([1.5]), "misfit", "an array of 1 dimensions"),
        (LIMITED, json!([300]), "out_of_range", "300"),
        (BATCH, json!({"Number": 1}), "misfit", "Product: it is missing"),
    ] {
        let error = driver.write(point, &datum(value), false).await.expect_err("a refusal");
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_is_asked_for_once_and_what_came_before_it_was_known_is_told() {
    let dirs = dirs();
    let server = OpcUaServer::start(dirs.server.path(), Kind::default()).await.expect("a server");
    let tags = tags();
    let mut driver = driver(&plain(&server), &tags, &dirs.site);
    driver.connect().await.expect("a connection");
    let mut stream = driver.subscribe(&all(&tags)).await.expect("a subscription");
    let first = pushed(&mut stream, |seen| seen.contains_key(&BATCH)).await;
    assert_eq!(first[&BATCH], Ok(datum(batch())));
    let mut last = batch();
    for number in [8, 9] {
        last["Number"] = json!(number);
        let value = datum(last.clone());
        driver.write(BATCH, &value, false).await.expect("a write");
        pushed(&mut stream, |seen| seen.get(&BATCH) == Some(&Ok(value.clone()))).await;
    }
    // Only what a read asks for: the type is known.
    let before = driver.health().counters.round_trips;
    assert_eq!(held(&mut *driver, BATCH).await, last);
    assert_eq!(driver.health().counters.round_trips - before, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writes_are_one_request_and_fail_by_themselves() {
    let dirs = dirs();
    let kind = Kind { items_max: 4, ..Kind::default() };
    let server = OpcUaServer::start(dirs.server.path(), kind).await.expect("a server");
    let writable = json!({"access": "read_write"});
    let names = ["Setpoint", "Pump", "Recipe", "Clamped", "Missing", "Level"];
    let tags: Vec<TagConfig> =
        names.iter().map(|name| tag(name, &of_tank(name), &writable)).collect();
    let mut driver = driver(&plain(&server), &tags, &dirs.site);
    driver.connect().await.expect("a connection");
    let writes: Vec<PointWrite> = (0..)
        .zip([json!(5), json!(true), json!("milk"), json!(9), json!(1), json!(2.5)])
        .map(|(point, value)| PointWrite {
            point: PointId(point),
            value: datum(value),
            verify: true,
        })
        .collect();
    let mut round_trips = Vec::new();
    for _ in 0..2 {
        let before = driver.health().counters.round_trips;
        let outcomes = driver.write_all(&writes).await;
        let outcomes: Vec<_> =
            outcomes.iter().map(|it| it.as_ref().map_err(|error| error.code())).collect();
        let expected = [
            Ok(&writes[0].value),
            Ok(&writes[1].value),
            Ok(&writes[2].value),
            Err("not_verified"),
            Err("not_written"),
            Err("not_permitted"),
        ];
        assert_eq!(outcomes, expected);
        round_trips.push(driver.health().counters.round_trips - before);
    }
    // Six to read what is there, five to write and four to read back, four in each; then only one is not known.
    assert_eq!(round_trips, [2 + 2 + 1, 1 + 2 + 1]);
    assert_eq!(held(&mut *driver, PointId(2)).await, json!("milk"));
}
