//! A Modbus machine that answers each frame by hand, so that it can answer wrongly: over TCP, RTU over TCP and ASCII
//! over TCP. All its registers count up, 20 times a second.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How frames are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Tcp,
    Rtu,
    Ascii,
}

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Does not answer.
    Silent,
    /// Answers after so many milliseconds.
    Late(u64),
    /// One byte after the other, so many milliseconds apart.
    Drip(u64),
    /// Closes instead of an answer.
    CloseOnRequest,
    /// Ends the connection without a goodbye (RST).
    Reset,
    HalfThenHang,
    HalfThenClose,
    /// The answer twice.
    Twice,
    /// An answer to nothing before each answer.
    Stray,
    Garbage,
    /// Right bytes, wrong check (CRC, LRC), or for TCP another protocol identifier.
    WrongCheck,
    WrongTransaction,
    WrongUnit,
    WrongFunction,
    WrongByteCount,
    /// The header says more bytes than come.
    TooLong,
    /// The header says fewer bytes than come.
    TooShort,
    Exception(u8),
    /// More registers at once than it takes.
    Fewer,
}

/// Whether connections are had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    /// Nobody listens, and every connection has ended.
    Down,
    /// Connections are taken and closed at once.
    Full,
    /// What is connected is heard no more, and never again; nobody new comes in.
    Dead,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mood: Mood,
    door: Door,
    /// Connections of an earlier life are dead.
    life: u64,
}

/// A machine at an address that stays its own.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

impl Machine {
    pub(crate) async fn start(framing: Framing) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let state = State { mood: Mood::Well, door: Door::Open, life: 0 };
        let state = Arc::new(watch::Sender::new(state));
        tokio::spawn(listen(listener, framing, state.subscribe()));
        Self { address, state }
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.state.send_modify(|it| it.mood = mood);
    }

    pub(crate) fn door(&self, door: Door) {
        self.state.send_modify(|it| {
            if it.door == Door::Dead {
                it.life += 1;
            }
            it.door = door;
        });
    }
}

async fn listen(listener: TcpListener, framing: Framing, mut states: watch::Receiver<State>) {
    let address = listener.local_addr().expect("it has an address");
    let began = Instant::now();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let door = states.borrow_and_update().door;
        match (door, &listener) {
            (Door::Down, Some(_)) => {
                listener = None;
                connections.shutdown().await;
            }
            (Door::Open | Door::Full | Door::Dead, None) => {
                match TcpListener::bind(address).await {
                    Ok(bound) => listener = Some(bound),
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
                continue;
            }
            _ => {}
        }
        let accept = async {
            match (&listener, door) {
                (Some(listener), Door::Open | Door::Full) => listener.accept().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            Ok((stream, _)) = accept => {
                if door == Door::Open {
                    connections.spawn(serve(stream, framing, states.clone(), began));
                }
            }
        }
    }
}

/// Answers until the connection ends; one of an earlier life never ends, and never answers.
async fn serve(
    mut stream: TcpStream,
    framing: Framing,
    mut states: watch::Receiver<State>,
    began: Instant,
) {
    let life = states.borrow().life;
    loop {
        let Some((head, pdu)) = request(&mut stream, framing).await else { return };
        let state = *states.borrow_and_update();
        if state.door == Door::Dead || state.life != life {
            return std::future::pending().await;
        }
        let counter = (began.elapsed().as_millis() / 50) as u16;
        if !respond(&mut stream, framing, state.mood, (head, &pdu, counter)).await {
            return;
        }
    }
}

/// The transaction and unit of a request, and its function with what follows.
async fn request(stream: &mut TcpStream, framing: Framing) -> Option<([u8; 3], [u8; 5])> {
    match framing {
        Framing::Tcp => {
            let mut frame = [0; 12];
            stream.read_exact(&mut frame).await.ok()?;
            let pdu = frame[7..].try_into().ok()?;
            Some(([frame[0], frame[1], frame[6]], pdu))
        }
        Framing::Rtu => {
            let mut frame = [0; 8];
            stream.read_exact(&mut frame).await.ok()?;
            Some(([0, 0, frame[0]], frame[1..6].try_into().ok()?))
        }
        Framing::Ascii => {
            // A colon, seven bytes in hexadecimal digits, CR and LF.
            let mut frame = [0; 17];
            stream.read_exact(&mut frame).await.ok()?;
            let digits = std::str::from_utf8(&frame[1..15]).ok()?;
            let byte = |at: usize| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).ok();
            let bytes: Vec<u8> = (0..6).map(byte).collect::<Option<_>>()?;
            Some(([0, 0, bytes[0]], bytes[1..6].try_into().ok()?))
        }
    }
}

/// Whether the connection goes on.
async fn respond(
    stream: &mut TcpStream,
    framing: Framing,
    mood: Mood,
    (head, request, counter): ([u8; 3], &[u8; 5], u16),
) -> bool {
    let count = u16::from_be_bytes([request[3], request[4]]);
    let mut pdu = vec![request[0], (count * 2) as u8];
    pdu.extend((0..count).flat_map(|it| counter.wrapping_add(it).to_be_bytes()));
    match mood {
        Mood::Exception(code) => pdu = vec![request[0] | 0x80, code],
        Mood::Fewer if count > 1 => pdu = vec![request[0] | 0x80, 3],
        Mood::WrongFunction => pdu[0] = 1,
        Mood::WrongByteCount => pdu[1] = pdu[1].wrapping_add(2),
        _ => {}
    }
    let bytes = wrapped(framing, mood, head, &pdu);
    let sent = match mood {
        Mood::Silent => return true,
        Mood::CloseOnRequest => return false,
        Mood::Reset => {
            let _ = stream.set_zero_linger();
            return false;
        }
        Mood::HalfThenHang => stream.write_all(&bytes[..bytes.len() / 2]).await,
        Mood::HalfThenClose => {
            let _ = stream.write_all(&bytes[..bytes.len() / 2]).await;
            return false;
        }
        Mood::Late(delay_ms) => {
            sleep(Duration::from_millis(delay_ms)).await;
            stream.write_all(&bytes).await
        }
        Mood::Drip(delay_ms) => drip(stream, &bytes, delay_ms).await,
        Mood::Twice => stream.write_all(&[bytes.clone(), bytes].concat()).await,
        Mood::Stray => {
            let [a, b, unit] = head;
            let other = [a.wrapping_add(77), b, unit];
            let stray = wrapped(framing, Mood::Well, other, &[request[0], 2, 0xDE, 0xAD]);
            stream.write_all(&[stray, bytes].concat()).await
        }
        Mood::Garbage => stream.write_all(&[0x55; 40]).await,
        _ => stream.write_all(&bytes).await,
    };
    sent.is_ok()
}

async fn drip(stream: &mut TcpStream, bytes: &[u8], delay_ms: u64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    for byte in bytes {
        sleep(Duration::from_millis(delay_ms)).await;
        stream.write_all(&[*byte]).await?;
    }
    Ok(())
}

fn wrapped(framing: Framing, mood: Mood, [a, b, unit]: [u8; 3], pdu: &[u8]) -> Vec<u8> {
    let unit = if mood == Mood::WrongUnit { unit.wrapping_add(9) } else { unit };
    let wrong = u8::from(mood == Mood::WrongCheck);
    let mut frame = vec![unit];
    frame.extend(pdu);
    match framing {
        Framing::Tcp => {
            let length = match mood {
                Mood::TooLong => frame.len() + 6,
                Mood::TooShort => frame.len() - 2,
                _ => frame.len(),
            };
            let a = if mood == Mood::WrongTransaction { a.wrapping_add(100) } else { a };
            let mut bytes = vec![a, b, 0, wrong, 0, length as u8];
            bytes.extend(frame);
            bytes
        }
        Framing::Rtu => {
            let [low, high] = crc(&frame).to_le_bytes();
            frame.extend([low ^ wrong, high]);
            frame
        }
        Framing::Ascii => {
            let lrc = frame.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            frame.push(lrc.wrapping_neg() ^ wrong);
            let digits: String = frame.iter().map(|byte| format!("{byte:02X}")).collect();
            format!(":{digits}\r\n").into_bytes()
        }
    }
}

/// CRC-16 of Modbus over Serial Line 1.02, 6.2.2.
fn crc(bytes: &[u8]) -> u16 {
    let step = |crc: u16| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 };
    bytes.iter().fold(0xFFFF, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), |it, _| step(it)))
}
