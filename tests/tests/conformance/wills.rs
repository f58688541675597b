//! Wills (MQTT 5.0 3.1.2.5 and 3.1.3.2; MQTT 3.1.1 3.1.2.5).

use crate::scene::Scene;
use manifold_tests::wire::packet::{disconnect, frame};
use manifold_tests::wire::{Hello, Property, Version, Will, Wire};
use std::time::Duration;

/// A watcher of `will`, and the CONNECT of a client with a will there.
async fn mortal(scene: &Scene, change: impl Fn(&mut Will)) -> (Wire, Hello) {
    let watcher = scene.subscriber("watcher", "will", 2).await;
    (watcher, scene.hello("mortal").will_with(&scene.topic("will"), "gone", change))
}

#[tokio::test]
async fn a_will_is_published_once_when_the_connection_is_lost() {
    for scene in Scene::both() {
        let (mut watcher, hello) = mortal(&scene, |_| ()).await;
        drop(scene.enter(&hello).await);
        assert_eq!(watcher.next_message().await.text(), "gone");
        // The will was of that connection: the next one has none.
        drop(scene.client("mortal").await);
        scene.client("mortal").await.leave().await;
        scene.assert_nothing_before(&mut watcher, "will").await;
    }
}

#[tokio::test]
async fn a_will_is_published_when_the_client_breaks_the_protocol() {
    for scene in Scene::both() {
        let (mut watcher, hello) = mortal(&scene, |_| ()).await;
        let mut wire = scene.enter(&hello).await;
        wire.send(&frame(0xF3, &[])).await;
        scene.assert_ended("reserved flags", &mut wire, 0x81).await;
        assert_eq!(watcher.next_message().await.text(), "gone");
    }
}

#[tokio::test]
async fn a_will_is_forgotten_when_the_client_says_goodbye() {
    for scene in Scene::both() {
        let (mut watcher, hello) = mortal(&scene, |_| ()).await;
        scene.enter(&hello).await.leave().await;
        scene.assert_nothing_before(&mut watcher, "will").await;
    }
}

#[tokio::test]
async fn a_client_may_leave_and_have_its_will_published() {
    let scene = Scene::v5();
    let (mut watcher, hello) = mortal(&scene, |_| ()).await;
    let mut wire = scene.enter(&hello).await;
    wire.send(&disconnect(0x04, &[])).await;
    assert_eq!(wire.next().await, None);
    assert_eq!(watcher.next_message().await.text(), "gone");
}

#[tokio::test]
async fn a_client_without_a_will_leaves_none() {
    for scene in Scene::both() {
        let mut watcher = scene.subscriber("watcher", "#", 1).await;
        let mut wire = scene.client("mortal").await;
        wire.send(&frame(0xF3, &[])).await;
        scene.assert_ended("reserved flags", &mut wire, 0x81).await;
        scene.assert_nothing_before(&mut watcher, "a").await;
    }
}

#[tokio::test]
async fn a_will_is_retained_if_it_says_so_only() {
    for scene in Scene::both() {
        for is_retained in [false, true] {
            let (mut watcher, hello) = mortal(&scene, |will| will.is_retained = is_retained).await;
            drop(scene.enter(&hello).await);
            assert!(!watcher.next_message().await.is_retained, "of an old subscription");
            let kept = scene.retained("will").await;
            assert_eq!(kept.map(|it| it.is_retained), is_retained.then_some(true));
        }
    }
}

#[tokio::test]
async fn a_will_has_the_qos_that_was_asked_for() {
    for scene in Scene::both() {
        for qos in [0, 1, 2] {
            let (mut watcher, hello) = mortal(&scene, |will| will.qos = qos).await;
            drop(scene.enter(&hello).await);
            assert_eq!(watcher.next_message().await.qos, qos);
        }
    }
}

#[tokio::test]
async fn a_will_is_published_with_its_properties_in_their_order() {
    let scene = Scene::v5();
    let pair = |name: &str, value: &str| Property::UserProperty(name.into(), value.into());
    let (mut watcher, hello) = mortal(&scene, |will| {
        will.properties = vec![
            Property::PayloadFormatIndicator(1),
            Property::ContentType("text/plain".into()),
            Property::ResponseTopic("an/answer".into()),
            Property::CorrelationData(vec![0, 7]),
            pair("z", "1"),
            pair("a", "2"),
            pair("z", "3"),
        ];
    })
    .await;
    drop(scene.enter(&hello).await);
    let mut will = watcher.next_message().await;
    let asked = hello.will.map(|it| it.properties).unwrap_or_default();
    let (pairs, others): (Vec<_>, Vec<_>) =
        will.properties.drain(..).partition(|it| matches!(it, Property::UserProperty(..)));
    assert_eq!(pairs, asked[4..]);
    assert!(asked[..4].iter().all(|it| others.contains(it)) && others.len() == 4, "{others:?}");
}

#[tokio::test]
async fn a_delayed_will_is_not_published_if_the_client_comes_back() {
    let scene = Scene::v5();
    let delay = |will: &mut Will| will.properties = vec![Property::WillDelayInterval(1)];
    let (mut watcher, hello) = mortal(&scene, delay).await;
    drop(scene.enter(&hello.clone().persistent()).await);
    let back = scene.enter(&Hello { will: None, ..hello.persistent() }).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    scene.assert_nothing_before(&mut watcher, "will").await;
    back.leave().await;
}

#[tokio::test]
async fn a_delayed_will_is_published_when_the_delay_has_passed() {
    let scene = Scene::v5();
    let delay = |will: &mut Will| will.properties = vec![Property::WillDelayInterval(1)];
    let (mut watcher, hello) = mortal(&scene, delay).await;
    drop(scene.enter(&hello.persistent()).await);
    let begun = tokio::time::Instant::now();
    assert_eq!(watcher.next_message().await.text(), "gone");
    // The broker may see the connection end a little before the test looks at its clock.
    assert!(begun.elapsed() > Duration::from_millis(700), "after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_delayed_will_is_published_when_the_session_ends_before() {
    let scene = Scene::v5();
    let delay = |will: &mut Will| will.properties = vec![Property::WillDelayInterval(3600)];
    let (mut watcher, hello) = mortal(&scene, delay).await;
    // Without an expiry, the session ends with the connection.
    drop(scene.enter(&hello.clone()).await);
    assert_eq!(watcher.next_message().await.text(), "gone");
    // A clean start ends the session that was.
    drop(scene.enter(&hello.clone().persistent()).await);
    let fresh = scene.enter(&Hello { will: None, ..hello }).await;
    assert_eq!(watcher.next_message().await.text(), "gone");
    fresh.leave().await;
}

#[tokio::test]
async fn a_will_with_a_wildcard_is_refused() {
    for scene in Scene::both() {
        let hello = scene.hello("wild").will("a/#", "x");
        let ending = scene.turned_away(&hello.encode()).await;
        let is_right = match scene.version {
            Version::V5 => ending == manifold_tests::wire::Ending::Refused(0x90),
            Version::V3 => ending == manifold_tests::wire::Ending::Closed,
        };
        assert!(is_right, "{ending:?}");
    }
}
