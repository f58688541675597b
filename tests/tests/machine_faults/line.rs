//! The line to an OPC UA server, which can be broken in every way: its answers are handed on chunk by chunk
//! (OPC 10000-6, 7.1.2: three letters, the kind of chunk, the length).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// What the line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Passing,
    /// Holds everything; what is connected stays so.
    Stalled,
    /// Ends all connections, and closes those that come.
    Cut,
    /// The same without a goodbye (RST).
    Reset,
    /// Takes connections and says nothing.
    Mute,
    /// Each answer after so many milliseconds.
    Slow(u64),
    /// Answers byte by byte, so many milliseconds apart.
    Drip(u64),
    /// Other bytes, as many.
    Garbage,
    HalfThenHang,
    HalfThenClose,
    /// The header says more than any answer may have.
    HugeLength,
    /// The header says less than a header has.
    TinyLength,
    WrongType,
    WrongChannel,
    WrongSequence,
    WrongRequest,
    /// The server says that something is wrong (ERR) instead of an answer.
    ErrorMessage,
    /// The answer twice.
    Twice,
}

/// The line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    mood: Arc<watch::Sender<(Mood, u64)>>,
}

impl Line {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let mood = Arc::new(watch::Sender::new((Mood::Passing, 0)));
        let moods = mood.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, moods.clone()));
            }
        });
        Self { address, mood }
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_modify(|it| it.0 = mood);
    }

    /// What is connected now is dead for ever.
    pub(crate) fn bury(&self) {
        self.mood.send_modify(|it| it.1 += 1);
    }
}

async fn connect(client: TcpStream, server: SocketAddr, moods: watch::Receiver<(Mood, u64)>) {
    let mood = moods.borrow().0;
    if mood == Mood::Reset {
        let _ = client.set_zero_linger();
    }
    if matches!(mood, Mood::Cut | Mood::Reset) {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let life = moods.borrow().1;
    let mut ends = moods.clone();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = carry_up(from_client, to_server, moods.clone(), life);
    let down = carry_down(from_server, to_client, moods, life);
    tokio::select! {
        _ = async { tokio::join!(up, down) } => {}
        _ = ends.wait_for(|it| matches!(it.0, Mood::Cut | Mood::Reset)) => {}
    }
}

/// Waits while nothing passes.
async fn passes(moods: &mut watch::Receiver<(Mood, u64)>, life: u64) -> Mood {
    let is_open = |it: &(Mood, u64)| it.1 == life && !matches!(it.0, Mood::Stalled | Mood::Mute);
    match moods.wait_for(is_open).await.map(|it| it.0) {
        Ok(mood) => mood,
        Err(_) => std::future::pending().await,
    }
}

async fn carry_up(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut moods: watch::Receiver<(Mood, u64)>,
    life: u64,
) {
    let mut bytes = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        passes(&mut moods, life).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn carry_down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut moods: watch::Receiver<(Mood, u64)>,
    life: u64,
) {
    loop {
        let mut chunk = vec![0; 8];
        if from.read_exact(&mut chunk).await.is_err() {
            return;
        }
        let length = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]) as usize;
        chunk.resize(length.max(8), 0);
        if from.read_exact(&mut chunk[8..]).await.is_err() {
            return;
        }
        let mood = passes(&mut moods, life).await;
        if !hand_on(&mut to, mood, chunk).await {
            return;
        }
    }
}

/// Whether the connection goes on.
async fn hand_on(to: &mut OwnedWriteHalf, mood: Mood, mut chunk: Vec<u8>) -> bool {
    let half = chunk.len() / 2;
    let is_message = chunk.starts_with(b"MSG");
    let sent = match mood {
        Mood::Slow(delay_ms) => {
            sleep(Duration::from_millis(delay_ms)).await;
            to.write_all(&chunk).await
        }
        Mood::Drip(delay_ms) => {
            for byte in &chunk {
                sleep(Duration::from_millis(delay_ms)).await;
                if to.write_all(&[*byte]).await.is_err() {
                    return false;
                }
            }
            Ok(())
        }
        Mood::Garbage => to.write_all(&vec![0x5A; chunk.len()]).await,
        Mood::HalfThenHang => {
            let _ = to.write_all(&chunk[..half]).await;
            return std::future::pending().await;
        }
        Mood::HalfThenClose => {
            let _ = to.write_all(&chunk[..half]).await;
            return false;
        }
        Mood::HugeLength => {
            chunk[4..8].fill(0xFF);
            to.write_all(&chunk).await
        }
        Mood::TinyLength => {
            chunk[4..8].copy_from_slice(&[3, 0, 0, 0]);
            to.write_all(&chunk).await
        }
        Mood::WrongType => {
            chunk[..3].copy_from_slice(b"XYZ");
            to.write_all(&chunk).await
        }
        Mood::WrongChannel if is_message => {
            chunk[8] ^= 0x55;
            to.write_all(&chunk).await
        }
        // Only where nothing is encrypted: the channel, the token, the sequence, the request.
        Mood::WrongSequence if is_message => {
            chunk[16] ^= 0x55;
            to.write_all(&chunk).await
        }
        Mood::WrongRequest if is_message => {
            chunk[20] ^= 0x55;
            to.write_all(&chunk).await
        }
        Mood::ErrorMessage => {
            // BadTcpServerTooBusy, and no words.
            let mut error = b"ERRF\x10\0\0\0".to_vec();
            error.extend(0x807D_0000_u32.to_le_bytes());
            error.extend([0xFF; 4]);
            let _ = to.write_all(&error).await;
            return false;
        }
        Mood::Twice => to.write_all(&[chunk.clone(), chunk].concat()).await,
        _ => to.write_all(&chunk).await,
    };
    sent.is_ok()
}
