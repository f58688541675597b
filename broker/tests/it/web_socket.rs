//! MQTT over WebSocket (MQTT 5.0 6): frames cut anywhere, what is refused, and with which close code.

use crate::wire::{Bench, PATIENCE, connect, until};
use broker::{Limits, ListenerConfig, ListenerKind};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use rmqtt_codec::v5::{Codec, Packet};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::codec::Encoder;

type Socket = WebSocketStream<TcpStream>;

async fn listen(bench: &Bench) -> SocketAddr {
    let any = ([127, 0, 0, 1], 0).into();
    let listener = ListenerConfig::tcp("ws", ListenerKind::WebSocket, any);
    bench.broker.listen(listener).await.unwrap().address().unwrap()
}

/// Upgrades, offering sub-protocols; gives the one that was chosen.
async fn dial(
    address: SocketAddr,
    path: &str,
    offer: &str,
) -> Result<(Socket, String), tungstenite::Error> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("ws://{address}{path}").into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", offer.parse().unwrap());
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
    let chosen = response.headers()["Sec-WebSocket-Protocol"].to_str().unwrap().to_owned();
    Ok((socket, chosen))
}

fn encode(packet: Packet) -> Bytes {
    let mut out = BytesMut::new();
    Codec::default().encode(packet, &mut out).unwrap();
    out.freeze()
}

async fn next(socket: &mut Socket) -> Option<Message> {
    let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("nothing comes");
    message.and_then(Result::ok)
}

/// The code of the close frame, which is the last that comes.
async fn close_code(socket: &mut Socket) -> Option<CloseCode> {
    loop {
        if let Message::Close(frame) = next(socket).await? {
            return frame.map(|it| it.code);
        }
    }
}

fn piece(bytes: Bytes, is_first: bool, is_last: bool) -> Message {
    let opcode = OpCode::Data(if is_first { Data::Binary } else { Data::Continue });
    let header = FrameHeader { is_final: is_last, opcode, ..FrameHeader::default() };
    Message::Frame(Frame::from_payload(header, bytes))
}

#[tokio::test]
async fn the_upgrade_names_path_and_sub_protocol() {
    let bench = Bench::start().await;
    let address = listen(&bench).await;
    let cases = [
        ("mqtt", "mqtt"),
        ("mqttv3.1", "mqttv3.1"),
        ("mqttv3.1, mqtt", "mqtt"),
        ("x,mqtt", "mqtt"),
    ];
    for (offer, expected) in cases {
        assert_eq!(dial(address, "/mqtt", offer).await.unwrap().1, expected, "{offer}");
    }
    for (path, offer, status) in [("/", "mqtt", 404), ("/mqtt", "soap", 400)] {
        match dial(address, path, offer).await {
            Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), status),
            other => panic!("{other:?}"),
        }
    }
    until(|| bench.broker.figures().websocket_handshake_errors == 2).await;
}

#[tokio::test]
async fn packets_are_cut_anywhere_and_share_messages() {
    let bench = Bench::start().await;
    let (mut socket, _) = dial(listen(&bench).await, "/mqtt", "mqtt").await.unwrap();
    let hello = encode(Packet::Connect(Box::new(connect("c", "admin"))));
    let ping = encode(Packet::PingRequest);
    let last = hello.len() - 1;
    // CONNECT in two messages, the first of three frames with a ping between; its end shares the other with PINGREQs.
    socket.send(piece(hello.slice(..3), true, false)).await.unwrap();
    socket.send(piece(hello.slice(3..9), false, false)).await.unwrap();
    socket.send(Message::Ping(Bytes::from_static(b"between"))).await.unwrap();
    socket.send(piece(hello.slice(9..last), false, true)).await.unwrap();
    let rest = [&hello[last..], &ping, &ping].concat();
    socket.send(Message::Binary(rest.into())).await.unwrap();
    let mut answers = Vec::new();
    let mut has_pong = false;
    while !(has_pong && answers.ends_with(&[0xD0, 0, 0xD0, 0])) {
        match next(&mut socket).await.unwrap() {
            Message::Binary(bytes) => answers.extend(bytes),
            Message::Pong(bytes) => has_pong = &bytes[..] == b"between",
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answers[0], 0x20, "CONNACK comes first");
}

#[tokio::test]
async fn what_is_no_mqtt_is_closed_with_a_code() {
    let limits = Limits { packet_bytes_max: 1024, ..Limits::default() };
    let bench = Bench::start_with(limits).await;
    let address = listen(&bench).await;
    let hello = encode(Packet::Connect(Box::new(connect("c", "admin"))));
    let open = async || dial(address, "/mqtt", "mqtt").await.unwrap().0;

    let mut socket = open().await;
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Unsupported));

    let mut socket = open().await;
    socket.send(Message::Binary(hello.clone())).await.unwrap();
    assert!(matches!(next(&mut socket).await, Some(Message::Binary(_))));
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Unsupported));

    // A message that is longer than a packet may be, and room for many small ones.
    let mut socket = open().await;
    socket.send(Message::Binary(hello)).await.unwrap();
    assert!(matches!(next(&mut socket).await, Some(Message::Binary(_))));
    let _ = socket.send(Message::Binary(vec![0; 80 * 1024].into())).await;
    assert!(matches!(close_code(&mut socket).await, Some(CloseCode::Size) | None));
    until(|| bench.broker.figures().connections == 0).await;
}

#[tokio::test]
async fn a_stranger_cannot_fill_a_message() {
    let limits = Limits { packet_bytes_max: 8 * 1024 * 1024, ..Limits::default() };
    let bound = limits.connect_bytes_max + 64 * 1024;
    let bench = Bench::start_with(limits).await;
    let (mut socket, _) = dial(listen(&bench).await, "/mqtt", "mqtt").await.unwrap();
    // It claims to be a CONNECT; the broker has to give up long before it is whole.
    let _ = socket.send(Message::Binary(vec![0x10; 8 * bound].into())).await;
    while next(&mut socket).await.is_some() {}
    until(|| bench.broker.figures().connections == 0).await;
}
