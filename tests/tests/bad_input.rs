//! Bad input of every kind ends the one connection it came on, with the reason code of MQTT 5.0 and a
//! line in the log; everybody else goes on, and memory stays bounded.

use manifold_tests::admin::Admin;
use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::random::{self, Random};
use manifold_tests::wire::packet::{binary, frame, publish, subscribe};
use manifold_tests::wire::{Ending, Hello, Version, Wire};
use std::time::Duration;

/// What a node may grow by while it is mistreated: far above what a bounded buffer for each needs.
const GROWTH_BYTES_MAX: u64 = 64 * 1024 * 1024;

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const TOPIC_NAME_INVALID: u8 = 0x90;
const PACKET_TOO_LARGE: u8 = 0x95;

/// A node with two clients that behave.
struct Scene {
    node: Node,
    speaker: Wire,
    listener: Wire,
    /// Of the device `pump7`, as which offenders enter: its hash is fast, that of a person is not.
    secret: String,
    rounds: u32,
    clients: u32,
}

impl Scene {
    async fn start() -> Self {
        Self::start_at(&Site::new()).await
    }

    async fn start_at(site: &Site) -> Self {
        let node = site.start().await;
        let secret = Admin::enter(&node).await.create_thing("pump7", "acme/berlin/pump7").await;
        let hello = |name| Hello::new(Version::V5, name).user("admin", SECRET);
        let speaker = node.client(&hello("speaker")).await;
        let mut listener = node.client(&hello("listener")).await;
        assert_eq!(listener.subscribe("witness/+", 1).await, 1);
        Self { node, speaker, listener, secret, rounds: 0, clients: 0 }
    }

    /// The two clients still hear each other, on the connections they have had all the time.
    async fn others_go_on(&mut self) {
        self.rounds += 1;
        let topic = format!("witness/{}", self.rounds);
        assert_eq!(self.speaker.publish_acked(&topic, b"still here").await, 0);
        assert_eq!(self.listener.next_message().await.topic, topic);
        self.node.assert_alive();
    }

    async fn client(&mut self, version: Version) -> Wire {
        self.clients += 1;
        let name = format!("offender-{}", self.clients);
        self.node.client(&Hello::new(version, &name).user("pump7", &self.secret)).await
    }

    async fn open(&self, version: Version) -> Wire {
        Wire::open(self.node.mqtt(), version).await
    }

    /// A welcome client says something wrong: version 5 is told one of `codes`, version 3.1.1 is closed.
    async fn ends(&mut self, what: &str, say: impl Fn(Version) -> Vec<u8>, codes: &[u8]) {
        for version in [Version::V5, Version::V3] {
            let mut client = self.client(version).await;
            client.send(&say(version)).await;
            match (version, client.ending().await) {
                (Version::V5, Ending::Disconnected(code)) => {
                    assert!(codes.contains(&code), "{what}: {code:#x} is none of {codes:x?}");
                }
                (Version::V3, Ending::Closed) => {}
                (_, ending) => panic!("{what}: {version:?} ends with {ending:?}"),
            }
            let line = self.node.logs(&format!("client=\"offender-{}\"", self.clients)).await;
            assert!(line.contains("connection ended"), "{what}: {line}");
        }
        self.others_go_on().await;
    }

    /// A stranger says something wrong: it is closed, with one of `codes` if it is told at all.
    async fn turned_away(&mut self, what: &str, bytes: &[u8], codes: &[u8]) {
        let mut stranger = self.open(Version::V5).await;
        stranger.send(bytes).await;
        match stranger.ending().await {
            Ending::Closed => {}
            Ending::Refused(code) if codes.contains(&code) => {}
            other => panic!("{what} ends with {other:?}, not with one of {codes:x?}"),
        }
        self.others_go_on().await;
    }

    /// Runs on a node that has not grown by more than is bearable.
    fn assert_bounded(&self, before_bytes: u64) {
        let grown = self.node.resident_bytes().saturating_sub(before_bytes);
        assert!(grown < GROWTH_BYTES_MAX, "it has grown by {} KiB", grown / 1024);
    }
}

#[tokio::test]
async fn malformed_packets() {
    let mut scene = Scene::start().await;
    let cases: [(&str, &[u8]); 7] = [
        ("a packet of type 0", &[0x00, 0]),
        ("PINGREQ with a flag", &[0xC1, 0]),
        ("SUBSCRIBE without its flag", &[0x80, 6, 0, 1, 0, 1, b'a', 0]),
        ("PUBLISH with QoS 3", &[0x36, 6, 0, 1, b'a', 0, 1, 0]),
        ("a length of five bytes", &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
        ("a topic longer than its packet", &[0x30, 5, 0, 200, b'a', b'b', b'c']),
        ("QoS 1 without a packet id", &[0x32, 3, 0, 1, b'a']),
    ];
    for (what, bytes) in cases {
        scene.ends(what, |_| bytes.to_vec(), &[MALFORMED]).await;
    }
    let either = [MALFORMED, PROTOCOL_ERROR];
    let empty = |version| match version {
        Version::V5 => frame(0x82, &[0, 1, 0]),
        Version::V3 => frame(0x82, &[0, 1]),
    };
    scene.ends("SUBSCRIBE without a filter", empty, &either).await;
    scene.ends("QoS 1 with packet id 0", |it| publish(it, b"a", b"", 2, 0), &either).await;
    scene.ends("reserved subscription options", |it| subscribe(it, 1, b"a", 0xC0), &either).await;
    scene.node.logs("malformed_packet").await;
}

#[tokio::test]
async fn malformed_properties() {
    let mut scene = Scene::start().await;
    for (what, properties) in [
        ("an unknown property", &[2, 0x7F, 0][..]),
        ("properties longer than their packet", &[200, 0x01]),
        ("a property that is cut off", &[2, 0x02, 0]),
        ("a property twice", &[4, 0x01, 0, 0x01, 0]),
    ] {
        let mut client = scene.client(Version::V5).await;
        let mut body = vec![0, 1, b'a'];
        body.extend(properties);
        client.send(&frame(0x30, &body)).await;
        let ending = client.ending().await;
        let expected = [MALFORMED, PROTOCOL_ERROR].map(Ending::Disconnected);
        assert!(expected.contains(&ending), "{what}: {ending:?}");
        scene.others_go_on().await;
    }
}

#[tokio::test]
async fn truncated_packets() {
    let mut scene = Scene::start().await;
    let packet = publish(Version::V5, b"witness/torn", b"never to be seen", 2, 1);
    for length in 1..packet.len() {
        let mut client = scene.open(Version::V5).await;
        if length % 4 == 0 {
            client = scene.client(Version::V5).await;
        }
        client.send(&packet[..length]).await;
        drop(client);
    }
    scene.others_go_on().await;
    let hello = Hello::new(Version::V5, "cut").user("admin", SECRET).encode();
    for length in [2, 8, 12, 20, hello.len() - 2] {
        let cut = frame(0x10, &hello[2..length]);
        scene.turned_away("a CONNECT that is cut off", &cut, &[MALFORMED, 1, 0x84]).await;
    }
}

#[tokio::test]
async fn a_second_connect() {
    let mut scene = Scene::start().await;
    let again = |version| Hello::new(version, "again").user("admin", SECRET).encode();
    scene.ends("a second CONNECT", again, &[PROTOCOL_ERROR]).await;
    let first = publish(Version::V5, b"a", b"", 0, 0);
    scene.turned_away("a first packet other than CONNECT", &first, &[PROTOCOL_ERROR]).await;
    scene.node.logs("protocol_error").await;
}

#[tokio::test]
async fn wrong_protocol_names() {
    let mut scene = Scene::start().await;
    for (name, level) in
        [("MQTX", 4), ("mqtt", 5), ("", 4), ("MQTT", 6), ("MQTT", 0), ("MQIsdp", 5), ("HTTP", 5)]
    {
        let protocol = (name.as_bytes().to_vec(), level);
        let hello = Hello { protocol, ..Hello::new(Version::V5, "stranger") };
        let hello = hello.user("admin", SECRET).encode();
        // Return code 1 of 3.1.1 and 0x84 of 5.0 both say: not this version (MQTT 5.0 3.1.2-2).
        scene.turned_away(&format!("{name} {level}"), &hello, &[1, 0x84]).await;
    }
    scene.turned_away("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[]).await;
    scene.node.logs("unsupported_protocol_version").await;
}

#[tokio::test]
async fn invalid_utf_8() {
    let mut scene = Scene::start().await;
    for (what, text) in [
        ("a lone continuation byte", &b"a/\x80"[..]),
        ("a sequence that is cut off", b"\xE6\xB8"),
        ("a surrogate", b"\xED\xA0\x80"),
        ("an overlong slash", b"\xC0\xAF"),
    ] {
        scene.ends(what, |version| publish(version, text, b"x", 0, 0), &[MALFORMED]).await;
        scene.ends(what, |version| subscribe(version, 1, text, 0), &[MALFORMED]).await;
        let hello = Hello { client_id: text.to_vec(), ..Hello::new(Version::V5, "") };
        let hello = hello.user("admin", SECRET).encode();
        scene.turned_away(what, &hello, &[MALFORMED, 0x85]).await;
    }
    let either = [MALFORMED, TOPIC_NAME_INVALID];
    scene.ends("U+0000", |version| publish(version, b"a\0b", b"x", 0, 0), &either).await;
}

#[tokio::test]
async fn wildcards_in_topic_names() {
    let mut scene = Scene::start().await;
    for topic in ["#", "+", "a/#", "a/+/b", "a+", "#a"] {
        let say = |version| publish(version, topic.as_bytes(), b"x", 2, 1);
        scene.ends(topic, say, &[TOPIC_NAME_INVALID]).await;
    }
    let empty = |version| publish(version, b"", b"x", 0, 0);
    scene.ends("no topic", empty, &[PROTOCOL_ERROR, TOPIC_NAME_INVALID]).await;
    let hello = Hello::new(Version::V5, "wild").user("admin", SECRET).will("a/#", "x").encode();
    scene.turned_away("a will with a wildcard", &hello, &[TOPIC_NAME_INVALID, MALFORMED]).await;
    scene.node.logs("topic_name_invalid").await;
}

#[tokio::test]
async fn oversize_packets() {
    let mut scene = Scene::start().await;
    let before_bytes = scene.node.resident_bytes();
    // The length alone decides: not one byte of the packet is waited for.
    let huge = |_| vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, b'a'];
    for _ in 0..20 {
        scene.ends("a packet of 256 MiB", huge, &[PACKET_TOO_LARGE]).await;
    }
    // A stranger has less room than a client.
    let mut name = Vec::new();
    binary(&mut name, &[b'x'; 60_000]);
    let body = [&[0, 4][..], b"MQTT", &[5, 0, 0, 60, 0], &name, &name, &name].concat();
    let long = frame(0x10, &body);
    scene.turned_away("a CONNECT of 180 KB", &long, &[PACKET_TOO_LARGE, MALFORMED]).await;
    let payload = vec![b'x'; 1_000_000];
    assert_eq!(scene.speaker.publish_acked("witness/large", &payload).await, 0);
    assert_eq!(scene.listener.next_message().await.payload, payload);
    scene.assert_bounded(before_bytes);
    scene.node.logs("packet_too_large").await;
}

#[tokio::test]
async fn any_unicode_first_character() {
    let mut scene = Scene::start().await;
    assert_eq!(scene.listener.subscribe("#", 1).await, 1);
    let chosen = "温é🦀ßあ, \"'/\\%&~^\u{7FF}\u{800}\u{FFFD}\u{10000}\u{10FFFD}\u{301}\u{202E}";
    let spread = (0x20..0x11_0000).step_by(4099).filter_map(char::from_u32);
    let is_nothing_special = |char: &char| !"+#$".contains(*char) && !char.is_control();
    let mut count = 0;
    for first in chosen.chars().chain(spread).filter(is_nothing_special) {
        for topic in [format!("{first}"), format!("{first}/1")] {
            assert_eq!(scene.speaker.publish_acked(&topic, b"x").await, 0, "{topic:?}");
            scene.listener.messages_until(&topic).await;
            count += 1;
        }
    }
    println!("{count} topics");
    // A topic of the system is refused; the client stays.
    assert!(scene.speaker.publish_acked("$SYS/x", b"x").await >= 0x80);
    assert_eq!(scene.speaker.publish_acked("温度/1", b"x").await, 0);
    scene.listener.messages_until("温度/1").await;
}

#[tokio::test]
async fn a_megabyte_of_garbage() {
    let mut scene = Scene::start().await;
    let before_bytes = scene.node.resident_bytes();
    let seed = random::seed();
    println!("{}={seed}", random::SEED_VARIABLE);
    let mut random = Random::new(seed);
    for round in 0..10 {
        let version = if round % 2 == 0 { Version::V5 } else { Version::V3 };
        let garbage = random.bytes(1_000_000);
        let mut stranger = scene.open(version).await;
        stranger.send(&garbage).await;
        assert_ne!(stranger.ending().await, Ending::Open);
        // The first byte of a PUBLISH, lest the first byte alone ends it.
        let mut client = scene.client(version).await;
        client.send(&[0x30]).await;
        client.send(&garbage).await;
        drop(client);
        scene.others_go_on().await;
    }
    scene.assert_bounded(before_bytes);
}

#[tokio::test]
async fn a_socket_that_never_sends() {
    let site = Site::new().with("limits.connect_timeout_ms=1000");
    let mut scene = Scene::start_at(&site).await;
    let before_bytes = scene.node.resident_bytes();
    let mut silent = Vec::new();
    for index in 0..200 {
        let mut wire = scene.open(Version::V5).await;
        match index % 3 {
            0 => {}
            1 => wire.send(&[0x10]).await,
            _ => wire.send(&[0x10, 100, 0, 4, b'M']).await,
        }
        silent.push(wire);
    }
    scene.others_go_on().await;
    for wire in &mut silent {
        assert_eq!(wire.ending().await, Ending::Closed);
    }
    scene.others_go_on().await;
    scene.assert_bounded(before_bytes);
    scene.node.logs("no CONNECT in time").await;
}

#[tokio::test]
async fn wrong_passwords() {
    let mut scene = Scene::start().await;
    let before_bytes = scene.node.resident_bytes();
    for secret in ["", "wrong", SECRET].repeat(20) {
        let mut stranger = scene.open(Version::V5).await;
        let hello = Hello::new(Version::V5, "guesser").user("admin", secret);
        if secret == SECRET {
            stranger.greet(&hello).await;
            continue;
        }
        stranger.send(&hello.encode()).await;
        assert_eq!(stranger.ending().await, Ending::Refused(0x86), "{secret:?}");
    }
    scene.others_go_on().await;
    scene.assert_bounded(before_bytes);
    scene.node.logs("wrong_password").await;
}

#[tokio::test]
async fn a_client_that_falls_silent() {
    let mut scene = Scene::start().await;
    let hello =
        Hello::new(Version::V5, "asleep").user("admin", SECRET).will("witness/will", "gone");
    let mut client = scene.node.client(&Hello { keep_alive_secs: 1, ..hello }).await;
    assert_eq!(client.ending().await, Ending::Disconnected(0x8D));
    let will = scene.listener.next_message().await;
    assert_eq!((will.topic.as_str(), will.text()), ("witness/will", "gone"));
    scene.others_go_on().await;
    tokio::time::timeout(Duration::from_secs(30), scene.node.logs("keep_alive_timeout"))
        .await
        .expect("it is logged");
}
