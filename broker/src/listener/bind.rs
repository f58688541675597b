//! Opening the socket of a listener.

use super::config::{Endpoint, ListenError};
use crate::peer::PeerAddress;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use unix::UnixListener;

/// Connections that the system completes before we accept them; it may allow fewer.
const BACKLOG: i32 = 4096;

/// A socket that clients connect to. Dropped, a Unix socket is gone from the file system too.
pub(super) enum Listening {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// A client's socket as it is accepted.
pub(super) enum Accepted {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Listening {
    /// The next client.
    pub(super) async fn accept(&self) -> io::Result<(Accepted, PeerAddress)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Accepted::Tcp(stream), address.into()))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let stream = listener.accept().await?;
                let process = stream.peer_cred().ok().and_then(|it| it.pid());
                Ok((Accepted::Unix(stream), PeerAddress::Local(process)))
            }
        }
    }
}

/// Opens the socket, and says where it is.
pub(super) fn bind(endpoint: &Endpoint) -> Result<(Listening, Endpoint), ListenError> {
    match endpoint {
        Endpoint::Tcp(address) => {
            let listener = bind_tcp(*address)?;
            let bound = Endpoint::Tcp(listener.local_addr()?);
            Ok((Listening::Tcp(listener), bound))
        }
        #[cfg(unix)]
        Endpoint::Unix { path, mode } => {
            Ok((Listening::Unix(UnixListener::bind(path, *mode)?), endpoint.clone()))
        }
        #[cfg(not(unix))]
        Endpoint::Unix { .. } => Err(ListenError::NoUnixSockets),
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 clients as well, whatever the system's habit is.
        socket.set_only_v6(false)?;
    }
    // A restart need not wait for connections of the process before. On Windows this would mean something else.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(unix)]
mod unix {
    use super::{BACKLOG, ListenError};
    use socket2::{Domain, SockAddr, Socket, Type};
    use std::io;
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    use std::path::{Path, PathBuf};
    use tokio::net::UnixStream;

    /// A socket in the file system, which goes when this is dropped.
    pub(in crate::listener) struct UnixListener {
        listener: tokio::net::UnixListener,
        path: PathBuf,
    }

    impl UnixListener {
        /// Binds beside the path, gives the socket its mode, and only then its name: nobody without the right to
        /// connect finds it in between. That also replaces what a crash has left.
        pub(super) fn bind(path: &Path, mode: u32) -> Result<Self, ListenError> {
            refuse_if_taken(path)?;
            let mut beside = path.as_os_str().to_owned();
            beside.push(".new");
            let beside = PathBuf::from(beside);
            if beside.symlink_metadata().is_ok_and(|it| it.file_type().is_socket()) {
                std::fs::remove_file(&beside)?;
            }
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.bind(&SockAddr::unix(&beside)?)?;
            let named = std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode))
                .and_then(|()| socket.listen(BACKLOG))
                .and_then(|()| std::fs::rename(&beside, path));
            if let Err(error) = named {
                // The error is what counts; what is left is replaced at the next start.
                let _ = std::fs::remove_file(&beside);
                return Err(error.into());
            }
            let listener = tokio::net::UnixListener::from_std(socket.into())?;
            Ok(Self { listener, path: path.to_owned() })
        }

        pub(super) async fn accept(&self) -> io::Result<UnixStream> {
            self.listener.accept().await.map(|(stream, _)| stream)
        }
    }

    impl Drop for UnixListener {
        fn drop(&mut self) {
            // Whoever has removed it already has done our work.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// A path may be free, or a socket on which nobody listens any more.
    fn refuse_if_taken(path: &Path) -> Result<(), ListenError> {
        let Ok(metadata) = path.symlink_metadata() else { return Ok(()) };
        if !metadata.file_type().is_socket() {
            return Err(ListenError::NotASocket(path.to_owned()));
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            _ => Err(ListenError::SocketInUse(path.to_owned())),
        }
    }
}
