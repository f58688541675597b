//! One request and its answer on an open line.

use super::config::Framing;
use super::frame::{Asked, Found, encode, find};
use std::fmt::Debug;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

/// The most bytes that are kept while an answer is waited for: several frames, of which only the last is the answer.
const WAITING_BYTES_MAX: usize = 2048;

/// Bytes both ways: a connection or a serial port.
pub(crate) trait Line: AsyncRead + AsyncWrite + Debug + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Debug + Unpin + Send> Line for T {}

/// An open line. Whoever gives up an answer half way drops it, since the answer would be taken for that of the next
/// request.
#[derive(Debug)]
pub(crate) struct Wire {
    line: Box<dyn Line>,
    framing: Framing,
    transaction: u16,
    come: Vec<u8>,
    /// How long the line is silent between two frames, and when something last came.
    silence: Duration,
    heard: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The machine has closed the connection.
    Closed,
    /// The line has failed.
    Line(io::Error),
    /// Something that no machine sends that was asked this.
    Broken(&'static str),
}

impl Wire {
    pub(crate) fn new(line: impl Line + 'static, framing: Framing) -> Self {
        let (silence, heard) = (Duration::ZERO, Instant::now());
        Self { line: Box::new(line), framing, transaction: 0, come: Vec::new(), silence, heard }
    }

    /// The same, on a line where units tell frames apart by the silence between them.
    pub(crate) fn with_silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// Sends a request to a unit and waits for its answer.
    pub(crate) async fn exchange(&mut self, unit: u8, pdu: &[u8]) -> Result<Vec<u8>, Fault> {
        self.transaction = self.transaction.wrapping_add(1);
        let function = pdu.first().copied().unwrap_or_default();
        let asked = Asked { transaction: self.transaction, unit, function };
        // What is here answers nothing any more.
        self.come.clear();
        if !self.silence.is_zero() {
            sleep_until(self.heard + self.silence).await;
        }
        let request = encode(self.framing, asked, pdu);
        self.line.write_all(&request).await.map_err(Fault::Line)?;
        self.line.flush().await.map_err(Fault::Line)?;
        loop {
            if self.come.len() >= WAITING_BYTES_MAX {
                self.come.drain(..WAITING_BYTES_MAX / 2);
            }
            match self.line.read_buf(&mut self.come).await {
                Ok(0) => return Err(Fault::Closed),
                Ok(_) => self.heard = Instant::now(),
                Err(error) => return Err(Fault::Line(error)),
            }
            match find(self.framing, asked, &self.come) {
                Found::Answer(pdu) => return Ok(pdu),
                Found::More => {}
                Found::Broken(reason) => return Err(Fault::Broken(reason)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    #[tokio::test]
    async fn an_answer_comes_in_pieces_and_requests_are_numbered() {
        let (near, mut far) = duplex(64);
        let mut wire = Wire::new(near, Framing::Tcp);
        let machine = tokio::spawn(async move {
            for transaction in 1..=2 {
                let mut request = [0; 12];
                far.read_exact(&mut request).await.unwrap();
                assert_eq!(request[..2], [0, transaction]);
                for piece in [&[0, transaction, 0, 0, 0, 5][..], &[7, 3], &[2, 0, transaction]] {
                    far.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        for value in 1..=2 {
            let answer = wire.exchange(7, &[3, 0, 0, 0, 1]).await.unwrap();
            assert_eq!(answer, [3, 2, 0, value]);
        }
        machine.await.unwrap();
        assert!(matches!(wire.exchange(7, &[7]).await, Err(Fault::Closed | Fault::Line(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_silent_between_an_answer_and_the_next_request() {
        let (near, mut far) = duplex(64);
        let silence = Duration::from_millis(4);
        let mut wire = Wire::new(near, Framing::Rtu).with_silence(silence);
        let machine = tokio::spawn(async move {
            let mut answered = Instant::now();
            let mut silent = Vec::new();
            for _ in 0..3 {
                let mut request = [0; 8];
                far.read_exact(&mut request).await.unwrap();
                silent.push(answered.elapsed());
                // The answer of unit 17 that holds 1.
                far.write_all(&[0x11, 3, 2, 0, 1, 0xb8, 0x47]).await.unwrap();
                answered = Instant::now();
            }
            silent
        });
        for _ in 0..3 {
            assert_eq!(wire.exchange(0x11, &[3, 0, 0, 0, 1]).await.unwrap(), [3, 2, 0, 1]);
        }
        let silent = machine.await.unwrap();
        assert!(silent.iter().all(|it| *it >= silence), "{silent:?}");
    }

    #[tokio::test]
    async fn noise_without_end_takes_no_more_than_its_room() {
        let (near, mut far) = duplex(4096);
        let mut wire = Wire::new(near, Framing::Rtu);
        let noise = async { while far.write_all(&[0x55; 512]).await.is_ok() {} };
        let asked = async {
            let waiting = wire.exchange(1, &[3, 0, 0, 0, 1]);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(50), waiting).await;
        };
        tokio::select! {
            () = noise => {}
            () = asked => {}
        }
        assert!(wire.come.capacity() <= 2 * WAITING_BYTES_MAX, "{}", wire.come.capacity());
    }
}
