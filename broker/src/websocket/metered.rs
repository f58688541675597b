//! A socket that gives no more than so many bytes until it is told that its client has been welcomed.
//!
//! A WebSocket message is gathered whole before MQTT sees a byte of it, so the bound on CONNECT alone would let a
//! stranger fill a buffer as long as the longest packet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the module.
#[derive(Debug)]
pub(super) struct Metered<S> {
    socket: S,
    /// Bytes that may still come; `None`: any number.
    left: Option<usize>,
}

impl<S> Metered<S> {
    pub(super) fn new(socket: S, bytes_max: usize) -> Self {
        Self { socket, left: Some(bytes_max) }
    }

    /// The client is known: the bound is no longer needed.
    pub(super) fn lift(&mut self) {
        self.left = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        if let Some(left) = &mut self.left {
            let count = into.filled().len() - before;
            let Some(rest) = left.checked_sub(count) else {
                let why = "too many bytes before CONNECT";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            };
            *left = rest;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn the_bound_holds_until_it_is_lifted() {
        let (mut near, far) = tokio::io::duplex(100);
        let mut metered = Metered::new(far, 5);
        let mut bytes = [0; 100];
        near.write_all(b"12345").await.unwrap();
        assert_eq!(metered.read(&mut bytes).await.unwrap(), 5);
        near.write_all(b"6").await.unwrap();
        assert!(metered.read(&mut bytes).await.is_err());
        metered.lift();
        near.write_all(b"78").await.unwrap();
        assert_eq!(metered.read(&mut bytes).await.unwrap(), 2);
    }
}
