//! MQTT over WebSocket (MQTT 5.0 6): a WebSocket made to look like a byte stream.
//!
//! Control packets may be cut anywhere across binary messages, and several may share one (6.0-2), so the messages'
//! payloads are just the stream. A text message closes the connection (6.0-1). The upgrade must name the path `/mqtt`
//! and offer the sub-protocol `mqtt` (6.0-3, 6.0-4), or `mqttv3.1`, as clients of MQTT 3.1 do. Pings are answered.

mod metered;

use crate::connection::Socket;
use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use metered::Metered;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

/// The path clients connect to.
const PATH: &str = "/mqtt";

/// The sub-protocols, the better one first: that of every MQTT version, and the one before it was registered.
const SUB_PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// What a message may hold besides one packet of the longest.
const MESSAGE_ROOM_BYTES: usize = 64 * 1024;

/// What may come before CONNECT is through, besides CONNECT itself: the upgrade request, frames, pings.
const OVERHEAD_BYTES_MAX: usize = 64 * 1024;

/// What a connection keeps for reading, even one that rests.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// A WebSocket as a byte stream.
pub(crate) struct WebSocket {
    stream: WebSocketStream<Metered<Box<dyn Socket>>>,
    /// What is left of the last message.
    rest: Bytes,
}

/// An upgrade that came to nothing.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct HandshakeError(Box<tungstenite::Error>);

/// How long what comes may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) packet_bytes_max: usize,
    pub(crate) connect_bytes_max: usize,
}

/// Answers the upgrade request.
#[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
pub(crate) async fn accept(
    socket: Box<dyn Socket>,
    bounds: Bounds,
) -> Result<WebSocket, HandshakeError> {
    let check = |request: &Request, mut response: Response| {
        if request.uri().path() != PATH {
            return Err(refusal(StatusCode::NOT_FOUND, "the path is /mqtt"));
        }
        let Some(sub_protocol) = choose(request) else {
            return Err(refusal(StatusCode::BAD_REQUEST, "the sub-protocol mqtt must be offered"));
        };
        let name = header::SEC_WEBSOCKET_PROTOCOL;
        response.headers_mut().insert(name, HeaderValue::from_static(sub_protocol));
        Ok(response)
    };
    // A message may hold several packets; the bound on each is the codec's business.
    let message_bytes_max = bounds.packet_bytes_max + MESSAGE_ROOM_BYTES;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    let metered = Metered::new(socket, bounds.connect_bytes_max + OVERHEAD_BYTES_MAX);
    let stream = tokio_tungstenite::accept_hdr_async_with_config(metered, check, Some(config));
    let stream = stream.await.map_err(|error| HandshakeError(Box::new(error)))?;
    Ok(WebSocket { stream, rest: Bytes::new() })
}

/// The best sub-protocol among those that the client offers.
fn choose(request: &Request) -> Option<&'static str> {
    let offers: Vec<&str> = request
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    SUB_PROTOCOLS.into_iter().find(|ours| offers.contains(ours))
}

fn refusal(status: StatusCode, why: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(why.to_owned()));
    *response.status_mut() = status;
    response
}

impl WebSocket {
    /// Says why this is the end (RFC 6455 7.4.1), if the socket takes it at once.
    fn say_why(&mut self, cx: &mut Context<'_>, code: CloseCode, why: &'static str) -> io::Error {
        let frame = CloseFrame { code, reason: why.into() };
        let mut stream = Pin::new(&mut self.stream);
        // The connection ends in any case.
        if stream.as_mut().start_send(Message::Close(Some(frame))).is_ok() {
            let _ = stream.poll_flush(cx);
        }
        io::Error::new(io::ErrorKind::InvalidData, why)
    }

    fn fail(&mut self, cx: &mut Context<'_>, error: tungstenite::Error) -> io::Error {
        match error {
            tungstenite::Error::Io(error) => error,
            tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                self.say_why(cx, CloseCode::Size, "the message is too long")
            }
            _ => self.say_why(cx, CloseCode::Protocol, "not WebSocket"),
        }
    }
}

impl Socket for WebSocket {
    fn welcomed(&mut self) {
        self.stream.get_mut().lift();
    }
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
                    let error = self.say_why(cx, CloseCode::Unsupported, "a text message");
                    return Poll::Ready(Err(error));
                }
                Some(Err(error)) => return Poll::Ready(Err(self.fail(cx, error))),
            }
        }
        let count = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        if self.rest.is_empty() {
            // The message's memory goes at once: a connection that rests keeps none.
            self.rest = Bytes::new();
        }
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
