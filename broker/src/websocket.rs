//! MQTT over WebSocket (MQTT 5.0 6): a WebSocket made to look like a byte stream.
//!
//! Control packets may be cut anywhere across binary frames, and several may share one (6.0-3), so the frames'
//! payloads are just the stream. A text frame closes the connection (6.0-1). The upgrade must name the path
//! `/mqtt` and offer the sub-protocol `mqtt` (6.0-3, 6.0-4).

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

/// The path clients connect to.
const PATH: &str = "/mqtt";
/// The sub-protocol of every MQTT version.
const SUB_PROTOCOL: &str = "mqtt";

/// What a frame may hold besides one packet of the longest.
const FRAME_ROOM_BYTES: usize = 64 * 1024;

/// A WebSocket as a byte stream.
pub(crate) struct WebSocket {
    stream: WebSocketStream<TcpStream>,
    /// What is left of the last frame.
    rest: Bytes,
}

/// Answers the upgrade request.
#[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
pub(crate) async fn accept(
    stream: TcpStream,
    packet_bytes_max: usize,
) -> Result<WebSocket, tungstenite::Error> {
    let check = |request: &Request, mut response: Response| {
        if request.uri().path() != PATH {
            return Err(refusal(StatusCode::NOT_FOUND, "the path is /mqtt"));
        }
        if !offers_mqtt(request) {
            return Err(refusal(StatusCode::BAD_REQUEST, "the sub-protocol mqtt must be offered"));
        }
        let name = header::SEC_WEBSOCKET_PROTOCOL;
        response.headers_mut().insert(name, HeaderValue::from_static(SUB_PROTOCOL));
        Ok(response)
    };
    // A frame may hold several packets; the bound on each is the codec's business.
    let message_bytes_max = packet_bytes_max + FRAME_ROOM_BYTES;
    let config = WebSocketConfig::default()
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    let stream =
        tokio_tungstenite::accept_hdr_async_with_config(stream, check, Some(config)).await?;
    Ok(WebSocket { stream, rest: Bytes::new() })
}

fn offers_mqtt(request: &Request) -> bool {
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    offers
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offer| offer.trim() == SUB_PROTOCOL)
}

fn refusal(status: StatusCode, why: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(why.to_owned()));
    *response.status_mut() = status;
    response
}

impl AsyncRead for WebSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                // Answered by tungstenite itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(Message::Text(_))) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, "a text frame");
                    return Poll::Ready(Err(error));
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let count = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut stream = Pin::new(&mut self.stream);
        ready!(stream.as_mut().poll_ready(cx)).map_err(io::Error::other)?;
        let frame = Message::Binary(Bytes::copy_from_slice(bytes));
        stream.start_send(frame).map_err(io::Error::other)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx).map_err(io::Error::other)
    }
}
