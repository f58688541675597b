//! What a connection reads and writes: a TCP stream, or whatever looks like one.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A byte stream to a client. TCP in the clear is served as it is; all else as a `Box<dyn Socket>`, so that the
/// machinery is compiled twice and not for each mixture of layers.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The client is known now: bounds for strangers may be lifted.
    fn welcomed(&mut self) {}
}

impl Socket for TcpStream {}

#[cfg(unix)]
impl Socket for tokio::net::UnixStream {}

/// A stream within the process.
impl Socket for tokio::io::DuplexStream {}

impl Socket for TlsStream<Box<dyn Socket>> {}

impl Socket for Box<dyn Socket> {
    fn welcomed(&mut self) {
        (**self).welcomed();
    }
}
