//! MQTT over WebSocket (MQTT 5.0 6; MQTT 3.1.1 6).

use crate::scene::Scene;
use futures_util::{SinkExt as _, StreamExt as _};
use manifold_tests::process::PATIENCE;
use manifold_tests::wire::packet::frame;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};

const PROTOCOL: &str = "Sec-WebSocket-Protocol";

type Upgraded = (WebSocketStream<TcpStream>, Option<HeaderValue>);

async fn upgrade(address: SocketAddr, offer: Option<&str>) -> Result<Upgraded, tungstenite::Error> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let mut request = format!("ws://{address}/mqtt").into_client_request()?;
    if let Some(offer) = offer {
        let offer = HeaderValue::from_str(offer).expect("a header");
        request.headers_mut().insert(PROTOCOL, offer);
    }
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
    Ok((socket, response.headers().get(PROTOCOL).cloned()))
}

/// The next binary frame; `None` once the node has closed.
async fn next(socket: &mut WebSocketStream<TcpStream>) -> Option<Vec<u8>> {
    loop {
        let frame = tokio::time::timeout(PATIENCE, socket.next()).await.expect("in time");
        match frame {
            Some(Ok(Message::Binary(bytes))) => return Some(bytes.to_vec()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(other)) => panic!("the node sent {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_sub_protocol_is_mqtt() {
    let scene = Scene::v5();
    for offer in ["mqtt", "chat, mqtt"] {
        let (_, chosen) = upgrade(scene.ws(), Some(offer)).await.expect("it upgrades");
        assert_eq!(chosen, Some(HeaderValue::from_static("mqtt")), "{offer}");
    }
    for offer in [None, Some("chat")] {
        assert!(upgrade(scene.ws(), offer).await.is_err(), "{offer:?}");
    }
}

#[tokio::test]
async fn packets_and_frames_need_not_end_together() {
    for scene in Scene::both() {
        let (mut socket, _) = upgrade(scene.ws(), Some("mqtt")).await.expect("it upgrades");
        let ping = frame(0xC0, &[]);
        let bytes = [scene.hello("cut").encode(), ping.clone(), ping].concat();
        for piece in bytes.chunks(5) {
            socket.send(Message::Binary(piece.to_vec().into())).await.expect("it reads");
        }
        let mut got = Vec::new();
        while !got.ends_with(&[0xD0, 0, 0xD0, 0]) {
            got.extend(next(&mut socket).await.expect("it answers in binary frames"));
        }
        assert_eq!(got[0], 0x20, "CONNACK comes first");
    }
}

#[tokio::test]
async fn a_text_frame_closes_the_connection() {
    for scene in Scene::both() {
        let (mut socket, _) = upgrade(scene.ws(), Some("mqtt")).await.expect("it upgrades");
        let hello = scene.hello("text").encode();
        socket.send(Message::Binary(hello.into())).await.expect("it reads");
        assert_eq!(next(&mut socket).await.expect("it is welcome")[0], 0x20);
        socket.send(Message::Text("ping".into())).await.expect("it reads");
        assert_eq!(next(&mut socket).await, None);
    }
}
