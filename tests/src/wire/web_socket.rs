//! A WebSocket as a byte stream: binary frames carry MQTT, cut anywhere (MQTT 5.0 6).

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};

/// Frames are cut small, so that packets stretch over several.
const FRAME_BYTES: usize = 7;

/// What waits between the test and the socket.
const PIPE_BYTES: usize = 64 * 1024;

/// Connects, upgrades, and gives a stream whose other end is the broker.
pub(super) async fn open(address: SocketAddr) -> Result<DuplexStream, tungstenite::Error> {
    let stream = TcpStream::connect(address).await?;
    let mut request = format!("ws://{address}/mqtt").into_client_request()?;
    let protocol = HeaderValue::from_static("mqtt");
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.clone());
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
    assert_eq!(response.headers().get("Sec-WebSocket-Protocol"), Some(&protocol));
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let (mut from_test, mut to_test) = tokio::io::split(far);
    let (mut to_broker, mut from_broker) = socket.split();
    tokio::spawn(async move {
        let mut piece = [0; FRAME_BYTES];
        while let Ok(count) = from_test.read(&mut piece).await {
            let frame = Message::Binary(Bytes::copy_from_slice(&piece[..count]));
            if count == 0 || to_broker.send(frame).await.is_err() {
                break;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(Ok(frame)) = from_broker.next().await {
            let Message::Binary(bytes) = frame else { continue };
            if to_test.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // The test reads the end of the stream.
        let _ = to_test.shutdown().await;
    });
    Ok(near)
}
