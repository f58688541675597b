//! Modbus ASCII (Modbus over Serial Line 1.02, 2.5.2) as a layer below the RTU codec: what is written as an RTU frame
//! goes out as `:`, hexadecimal digits, LRC and CR LF, and what comes in is handed up as an RTU frame.
//!
//! Both framings carry the same bytes, unit and PDU, with another check after them. A frame that does not check is let
//! go, as one of a neighbour on the line is: who waits for it gives up by the time-out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest frame: `:`, 2 digits for each of unit, PDU of 253 bytes and LRC, CR and LF.
const FRAME_BYTES_MAX: usize = 1 + 2 * 255 + 2;

/// A line on which frames are in ASCII.
#[derive(Debug)]
pub(crate) struct Ascii<T> {
    line: T,
    /// An RTU frame that is being written.
    written: Vec<u8>,
    /// Its bytes on the line, and how many have gone.
    going: (Vec<u8>, usize),
    /// What has come of a frame, from its `:` on.
    coming: Vec<u8>,
    /// An RTU frame to be read, and how much was read.
    ready: (Vec<u8>, usize),
}

impl<T> Ascii<T> {
    pub(crate) fn new(line: T) -> Self {
        Self {
            line,
            written: Vec::new(),
            going: (Vec::new(), 0),
            coming: Vec::new(),
            ready: (Vec::new(), 0),
        }
    }

    /// Takes bytes from the line in; whether a frame is ready.
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b':' => {
                    self.coming.clear();
                    self.coming.push(b':');
                }
                // Bytes between frames are noise.
                _ if self.coming.is_empty() => {}
                _ if self.coming.len() >= FRAME_BYTES_MAX => self.coming.clear(),
                b'\n' => {
                    if let Some(frame) = to_rtu(&self.coming) {
                        self.ready = (frame, 0);
                    }
                    self.coming.clear();
                }
                byte => self.coming.push(*byte),
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Ascii<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let (frame, read) = &self.ready;
            let left = &frame[(*read).min(frame.len())..];
            if !left.is_empty() {
                let count = left.len().min(buffer.remaining());
                buffer.put_slice(&left[..count]);
                self.ready.1 += count;
                return Poll::Ready(Ok(()));
            }
            let mut bytes = [0; FRAME_BYTES_MAX];
            let mut from_line = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.line).poll_read(context, &mut from_line))?;
            if from_line.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let filled = from_line.filled().to_vec();
            self.take(&filled);
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Ascii<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// The codec flushes after each frame: that is where one ends.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.written.is_empty() {
            let frame = std::mem::take(&mut self.written);
            let bytes = from_rtu(&frame)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a frame"))?;
            self.going.0.extend(bytes);
        }
        let this = &mut *self;
        while this.going.1 < this.going.0.len() {
            let left = &this.going.0[this.going.1..];
            let count = ready!(Pin::new(&mut this.line).poll_write(context, left))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.going.1 += count;
        }
        this.going = (Vec::new(), 0);
        Pin::new(&mut this.line).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(context)
    }
}

/// The bytes on the line of an RTU frame; `None` if it is too short to be one.
fn from_rtu(frame: &[u8]) -> Option<Vec<u8>> {
    let body = frame.get(..frame.len().checked_sub(2)?)?;
    let mut bytes = Vec::with_capacity(FRAME_BYTES_MAX);
    bytes.push(b':');
    for byte in body.iter().copied().chain([lrc(body)]) {
        bytes.extend_from_slice(format!("{byte:02X}").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    Some(bytes)
}

/// The RTU frame of what came, without its LF; `None` if it does not check.
fn to_rtu(bytes: &[u8]) -> Option<Vec<u8>> {
    let digits = bytes.strip_prefix(b":")?.strip_suffix(b"\r")?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| {
        let digit = |it: u8| char::from(it).to_digit(16);
        u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()
    };
    let mut frame: Vec<u8> = pairs.iter().map(byte).collect::<Option<_>>()?;
    let check = frame.pop()?;
    if frame.len() < 2 || lrc(&frame) != check {
        return None;
    }
    let crc = crc(&frame);
    frame.extend_from_slice(&crc.to_le_bytes());
    Some(frame)
}

/// The longitudinal redundancy check (6.2.1).
fn lrc(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// The cyclic redundancy check (6.2.2).
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => crc >> 1 ^ 0xa001,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Reading holding registers 0 and 1 of unit 17, in both framings.
    const RTU: [u8; 8] = [0x11, 0x03, 0x00, 0x00, 0x00, 0x02, 0xc6, 0x9b];
    const ASCII: &[u8] = b":110300000002EA\r\n";

    #[test]
    fn both_framings_of_one_request() {
        assert_eq!(from_rtu(&RTU).unwrap(), ASCII);
        assert_eq!(to_rtu(&ASCII[..ASCII.len() - 1]).unwrap(), RTU);
    }

    #[tokio::test]
    async fn frames_pass_in_pieces_and_among_noise() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut line = Ascii::new(near);
        line.write_all(&RTU[..3]).await.unwrap();
        line.write_all(&RTU[3..]).await.unwrap();
        line.flush().await.unwrap();
        let mut seen = vec![0; ASCII.len()];
        far.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, ASCII);

        for piece in [&b"noise\r\n:11030000"[..], b":110300000002EB\r\n", ASCII] {
            far.write_all(piece).await.unwrap();
        }
        let mut frame = [0; 8];
        line.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame, RTU, "what does not check is let go");
    }

    proptest! {
        #[test]
        fn what_goes_out_comes_in(body in proptest::collection::vec(any::<u8>(), 2..254)) {
            let mut frame = body.clone();
            frame.extend_from_slice(&crc(&body).to_le_bytes());
            let bytes = from_rtu(&frame).unwrap();
            prop_assert_eq!(to_rtu(&bytes[..bytes.len() - 1]), Some(frame));
        }

        #[test]
        fn no_bytes_panic_nor_grow(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut line = Ascii::new(());
            line.take(&bytes);
            prop_assert!(line.coming.len() <= FRAME_BYTES_MAX);
        }
    }
}
