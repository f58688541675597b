//! A TCP proxy that a test can make misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a proxy does with what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Hands it on.
    Passing,
    /// Hands it on after so many milliseconds.
    Slow(u64),
    /// Hands on what the client says, and swallows the answers: what arrives is sent again.
    Deaf,
    /// Holds everything, and lets the connections be.
    Stalled,
    /// Ends every connection.
    Cut,
}

/// See the module.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mood: Arc<watch::Sender<Mood>>,
}

impl Proxy {
    /// One that leads to `to`, and passes everything.
    pub async fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let mood = Arc::new(watch::Sender::new(Mood::Passing));
        let moods = Arc::clone(&mood);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(to).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(carry(from_client, to_server, moods.subscribe(), false));
                tokio::spawn(carry(from_server, to_client, moods.subscribe(), true));
            }
        });
        Self { address, mood }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Is in this mood from now on.
    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

/// Carries one direction until either end is gone, or the mood ends it.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut moods: watch::Receiver<Mood>,
    is_answer: bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = moods.wait_for(|mood| *mood == Mood::Cut) => return,
        };
        let Ok(length @ 1..) = read else { return };
        let Ok(mood) = moods.wait_for(|mood| *mood != Mood::Stalled).await.map(|it| *it) else {
            return;
        };
        match mood {
            Mood::Cut => return,
            Mood::Deaf if is_answer => continue,
            Mood::Slow(delay_ms) => tokio::time::sleep(Duration::from_millis(delay_ms)).await,
            _ => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
