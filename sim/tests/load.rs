//! The load generator against a small broker in this process that can be told to misbehave, so that
//! every fault which the report can show is produced once. The broker shares no code with the
//! generator.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sim::load::case::{Case, Length, Shape};
use sim::load::connection::{Endpoint, Unreachable};
use sim::load::figures::{Figure, Figures};
use sim::load::packet::Credentials;
use sim::load::run::run;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// What the broker does to messages, and whom it lets in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    Faithful,
    LosesEvery(u64),
    RepeatsEvery(u64),
    SwapsPairs,
    Closes,
    AsksForSecret,
}

struct Peer {
    manner: Manner,
    subscribers: Mutex<Vec<(String, mpsc::Sender<Vec<u8>>)>>,
    acknowledged: Mutex<u64>,
    clean_connects: Mutex<u64>,
}

async fn start(manner: Manner) -> (SocketAddr, Arc<Peer>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let peer = Arc::new(Peer {
        manner,
        subscribers: Mutex::default(),
        acknowledged: Mutex::default(),
        clean_connects: Mutex::default(),
    });
    let accepting = Arc::clone(&peer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(Arc::clone(&accepting), stream));
        }
    });
    (address, peer)
}

/// One connection, until it ends one way or another.
async fn serve(peer: Arc<Peer>, stream: TcpStream) {
    let (mut reader, mut writer) = stream.into_split();
    let (out, mut queue) = mpsc::channel::<Vec<u8>>(100_000);
    tokio::spawn(async move {
        while let Some(bytes) = queue.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut held = None;
    let mut count = 0;
    while let Some((first, body)) = read_packet(&mut reader).await {
        match first >> 4 {
            1 => {
                *peer.clean_connects.lock() += u64::from(body[7] >> 1 & 1);
                let is_welcome = peer.manner != Manner::AsksForSecret || body[7] & 0xC0 == 0xC0;
                let code = if is_welcome { 0 } else { 5 };
                out.send(vec![0x20, 2, 0, code]).await.unwrap();
            }
            8 => {
                let filter = String::from_utf8(body[4..body.len() - 1].to_vec()).unwrap();
                peer.subscribers.lock().push((filter, out.clone()));
                let granted = body[body.len() - 1];
                out.send(vec![0x90, 3, body[0], body[1], granted]).await.unwrap();
            }
            3 => {
                count += 1;
                if first & 0x06 != 0 {
                    let id = 2 + usize::from(body[1]);
                    out.send(vec![0x40, 2, body[id], body[id + 1]]).await.unwrap();
                }
                let message = packet(first, &body);
                match peer.manner {
                    Manner::LosesEvery(n) if count % n == 0 => {}
                    Manner::RepeatsEvery(n) if count % n == 0 => {
                        forward(&peer, &body, message.repeat(2));
                    }
                    Manner::SwapsPairs => match held.take() {
                        None => held = Some(message),
                        Some(earlier) => forward(&peer, &body, [message, earlier].concat()),
                    },
                    Manner::Closes if count > 50 => return,
                    _ => forward(&peer, &body, message),
                }
            }
            4 => *peer.acknowledged.lock() += 1,
            _ => return,
        }
    }
}

async fn read_packet(reader: &mut (impl AsyncReadExt + Unpin)) -> Option<(u8, Vec<u8>)> {
    let first = reader.read_u8().await.ok()?;
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let byte = reader.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.ok()?;
    Some((first, body))
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 16_384);
    let mut bytes = vec![first, (body.len() & 0x7F) as u8 | 0x80, (body.len() >> 7) as u8];
    bytes.extend_from_slice(body);
    bytes
}

fn forward(peer: &Peer, body: &[u8], bytes: Vec<u8>) {
    let topic = std::str::from_utf8(&body[2..2 + usize::from(body[1])]).unwrap();
    for (filter, out) in peer.subscribers.lock().iter() {
        let matches = match filter.strip_suffix('+') {
            Some(start) => topic.starts_with(start),
            None => topic == filter,
        };
        if matches {
            out.try_send(bytes.clone()).unwrap();
        }
    }
}

fn case(shape: Shape, qos: u8) -> Case {
    Case {
        count: 4,
        qos,
        window: 10,
        length: Length::Messages(1000),
        warmup: Duration::ZERO,
        ..Case::usual(shape)
    }
}

async fn measure(case: &Case, address: SocketAddr) -> anyhow::Result<Figures> {
    let endpoint = Endpoint { address, credentials: None };
    LocalSet::new().run_until(run(case, &endpoint, Some(std::process::id()))).await
}

fn faults(figures: &Figures) -> [f64; 3] {
    [Figure::Lost, Figure::Duplicates, Figure::OutOfOrder].map(|it| figures.get(it).unwrap())
}

#[tokio::test]
async fn a_faithful_broker_has_no_faults_in_any_shape() {
    for shape in [Shape::Pairs, Shape::FanIn, Shape::FanOut] {
        for qos in [0, 1] {
            let (address, peer) = start(Manner::Faithful).await;
            let case = case(shape, qos);
            let figures = measure(&case, address).await.unwrap();
            assert_eq!(faults(&figures), [0.0; 3], "{shape:?} QoS {qos}");
            assert!(figures.get(Figure::DeliveredPerSecond).unwrap() > 0.0);
            assert!(figures.get(Figure::LatencyP50Ms) <= figures.get(Figure::LatencyP999Ms));
            let copies = 1000 * case.copies() as u64 * u64::from(qos);
            assert_eq!(*peer.acknowledged.lock(), copies, "{shape:?} QoS {qos}");
        }
    }
}

#[tokio::test]
async fn a_timed_run_at_a_rate_sends_about_that_much() {
    let (address, _) = start(Manner::Faithful).await;
    let length = Length::Time(Duration::from_secs(1));
    let steady = Case { rate_per_second: 400, length, ..case(Shape::Pairs, 0) };
    let figures = measure(&steady, address).await.unwrap();
    assert_eq!(faults(&figures), [0.0; 3]);
    let rate = figures.get(Figure::DeliveredPerSecond).unwrap();
    assert!((300.0..=500.0).contains(&rate), "{rate}");
}

#[tokio::test]
async fn lost_messages_are_counted_and_do_not_stop_the_run() {
    let (address, _) = start(Manner::LosesEvery(100)).await;
    let figures = measure(&case(Shape::Pairs, 0), address).await.unwrap();
    // Four publishers of 250 messages lose two each.
    assert_eq!(faults(&figures), [8.0, 0.0, 0.0]);
}

#[tokio::test]
async fn repeated_messages_are_counted_apart() {
    let (address, _) = start(Manner::RepeatsEvery(50)).await;
    let figures = measure(&case(Shape::FanIn, 1), address).await.unwrap();
    assert_eq!(faults(&figures), [0.0, 20.0, 0.0]);
}

#[tokio::test]
async fn swapped_messages_are_late_and_not_lost() {
    let (address, _) = start(Manner::SwapsPairs).await;
    let figures = measure(&case(Shape::FanOut, 0), address).await.unwrap();
    assert_eq!(faults(&figures), [0.0, 0.0, 2000.0]);
}

#[tokio::test]
async fn a_connection_that_ends_breaks_the_run_off_and_is_named() {
    let (address, _) = start(Manner::Closes).await;
    let error = measure(&case(Shape::Pairs, 0), address).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("publisher") && text.contains("broke off"), "{text}");
}

#[tokio::test]
async fn credentials_are_sent_and_their_lack_is_explained() {
    let (address, _) = start(Manner::AsksForSecret).await;
    let error = measure(&case(Shape::Pairs, 0), address).await.unwrap_err();
    assert!(format!("{error:#}").contains("not authorised"), "{error:#}");
    let credentials = Credentials { user: "u".into(), secret: "s".into() };
    let endpoint = Endpoint { address, credentials: Some(credentials) };
    let case = case(Shape::Pairs, 0);
    LocalSet::new().run_until(run(&case, &endpoint, None)).await.unwrap();
}

#[tokio::test]
async fn persistent_sessions_are_discarded_at_the_end() {
    let (address, peer) = start(Manner::Faithful).await;
    let persistent = Case { is_clean: false, ..case(Shape::Pairs, 1) };
    measure(&persistent, address).await.unwrap();
    // Four publishers connect clean, then each of the four subscribers does once.
    assert_eq!(*peer.clean_connects.lock(), 8);
}

#[tokio::test]
async fn idle_connections_are_held_and_counted() {
    let (address, peer) = start(Manner::Faithful).await;
    let length = Length::Time(Duration::from_millis(200));
    let idle = Case { count: 30, is_subscribed: true, length, ..case(Shape::Idle, 0) };
    let figures = measure(&idle, address).await.unwrap();
    assert_eq!(figures.get(Figure::Lost), Some(0.0));
    assert!(figures.get(Figure::ConnectsPerSecond).unwrap() > 0.0);
    assert!(figures.get(Figure::KibPerConnection).is_some());
    assert_eq!(peer.subscribers.lock().len(), 30);
}

#[tokio::test]
async fn a_flood_is_measured_beside_its_bystanders() {
    let (address, _) = start(Manner::LosesEvery(10)).await;
    let length = Length::Time(Duration::from_millis(500));
    // A pace, since this broker has no bounds of its own to drop at.
    let pace = Case {
        rate_per_second: 2000,
        taken_per_second: 1_000_000,
        window: 0,
        ..case(Shape::Flood, 0)
    };
    let figures = measure(&Case { count: 2, length, ..pace }, address).await.unwrap();
    let lost = figures.get(Figure::LostPercent).unwrap();
    assert!((9.0..=11.0).contains(&lost), "{lost}");
    assert!(figures.get(Figure::BystandersLost).unwrap() > 0.0);
    for figure in [Figure::BystanderP99AloneMs, Figure::BystanderP99Ms, Figure::TargetPeakMib] {
        assert!(figures.get(figure).unwrap() > 0.0, "{figure:?}");
    }
    assert_eq!(figures.get(Figure::DroppedByTarget), None);
}

#[tokio::test]
async fn a_slow_subscriber_takes_no_more_than_its_rate() {
    let (address, _) = start(Manner::Faithful).await;
    let length = Length::Time(Duration::from_millis(1500));
    let slow = Case { taken_per_second: 500, length, ..case(Shape::FanIn, 0) };
    let figures = measure(&slow, address).await.unwrap();
    assert_eq!(faults(&figures), [0.0; 3]);
    assert!(figures.get(Figure::DeliveredPerSecond).unwrap() < 700.0);
}

#[tokio::test]
async fn nobody_listening_is_told_apart_from_a_failed_run() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = measure(&case(Shape::Pairs, 0), address).await.unwrap_err();
    assert!(error.is::<Unreachable>(), "{error:#}");
}
