//! Client identifiers (MQTT 5.0 3.1.3.1; MQTT 3.1.1 3.1.3.1).

use crate::scene::Scene;
use manifold_tests::node::SECRET;
use manifold_tests::wire::{Ending, Hello, Packet, Property, Wire};

async fn assigned(scene: &Scene) -> (Wire, String) {
    let mut wire = scene.open().await;
    wire.send(&Hello { client_id: Vec::new(), ..scene.hello("") }.encode()).await;
    let Some(Packet::ConnAck { code: 0, properties, .. }) = wire.next().await else {
        panic!("a client without an id is welcome")
    };
    let found = properties.into_iter().find_map(|property| match property {
        Property::AssignedClientIdentifier(id) => Some(id),
        _ => None,
    });
    (wire, found.expect("it is told its id"))
}

#[tokio::test]
async fn letters_and_digits_of_1_to_23_bytes_are_taken() {
    const LETTERS: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for scene in Scene::both() {
        let parts = (0..LETTERS.len()).step_by(23).map(|start| {
            let end = LETTERS.len().min(start + 23);
            &LETTERS[start..end]
        });
        for id in parts.chain(["Z"]) {
            let hello = Hello { client_id: id.into(), ..scene.hello("") };
            scene.enter(&hello).await.leave().await;
        }
    }
}

#[tokio::test]
async fn a_client_without_an_id_is_told_one_that_nobody_else_has() {
    let scene = Scene::v5();
    let (mut one, first) = assigned(&scene).await;
    let (mut other, second) = assigned(&scene).await;
    assert!(!first.is_empty() && first != second, "{first:?} {second:?}");
    // It is an id like any other: whoever comes with it takes the session over.
    let hello = Hello { client_id: first.into(), ..scene.hello("") };
    let again = scene.enter(&hello).await;
    scene.assert_ended("the first", &mut one, 0x8E).await;
    assert_eq!(other.subscribe(&scene.topic("a"), 0).await, 0, "the other one stays");
    again.leave().await;
}

#[tokio::test]
async fn before_version_5_clients_without_an_id_do_not_disturb_each_other() {
    let scene = Scene::v3();
    let hello = Hello { client_id: Vec::new(), ..scene.hello("") };
    let mut one = scene.enter(&hello).await;
    let mut other = scene.enter(&hello).await;
    for wire in [&mut one, &mut other] {
        assert_eq!(wire.subscribe(&scene.topic("a"), 0).await, 0);
    }
}

#[tokio::test]
async fn before_version_5_a_client_without_an_id_cannot_ask_for_a_session_that_stays() {
    let scene = Scene::v3();
    let mut wire = scene.open().await;
    wire.send(&Hello { client_id: Vec::new(), ..scene.hello("").persistent() }.encode()).await;
    assert_eq!(wire.next_bytes().await.as_deref(), Some(&[0x20, 2, 0, 2][..]));
    assert_eq!(wire.next().await, None);
}

#[tokio::test]
async fn an_id_of_somebody_elses_session_is_refused() {
    for scene in Scene::both() {
        let own = scene.hello("taken").user("admin", SECRET).persistent();
        let mut owner = scene.enter(&own).await;
        let ending = scene.turned_away(&scene.hello("taken").encode()).await;
        assert_eq!(ending, Ending::Refused(if scene.is_v5() { 0x85 } else { 2 }));
        assert_eq!(owner.subscribe(&scene.topic("a"), 0).await, 0, "its owner stays");
    }
}

#[tokio::test]
async fn the_client_id_names_the_session() {
    for scene in Scene::both() {
        let one = scene.hello("one").persistent();
        scene.enter(&one).await.leave().await;
        let other = scene.enter(&scene.hello("other").persistent()).await;
        assert!(!other.is_session_present(), "another id, another session");
        assert!(scene.enter(&one).await.is_session_present());
    }
}
