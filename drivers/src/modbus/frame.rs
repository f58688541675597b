//! Frames on the wire: unit and PDU with what tells where they begin and end. Pure; [`wire`](super::wire) has the line.
//!
//! On a serial line whatever is not an answer of the unit that was asked is let go: noise, what does not check, what
//! another unit answers late. Over TCP each message says to which request it belongs, and one that belongs to none is a
//! fault of the machine.

use super::config::Framing;

mod ascii;
mod rtu;
mod tcp;

/// A request, as far as it tells its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The number of the request; only TCP sends it.
    pub(crate) transaction: u16,
    pub(crate) unit: u8,
    pub(crate) function: u8,
}

impl Asked {
    /// Whether a frame of a serial line begins as an answer does.
    fn begins(self, unit: u8, function: u8) -> bool {
        self.unit == unit && self.function == function & 0x7f
    }
}

/// What is in the bytes that have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// The PDU of the answer.
    Answer(Vec<u8>),
    /// Not enough.
    More,
    /// Something that no machine sends that was asked this.
    Broken(&'static str),
}

/// The bytes of a request.
pub(crate) fn encode(framing: Framing, asked: Asked, pdu: &[u8]) -> Vec<u8> {
    match framing {
        Framing::Tcp => tcp::encode(asked, pdu),
        Framing::Rtu => rtu::encode(asked.unit, pdu),
        Framing::Ascii => ascii::encode(asked.unit, pdu),
    }
}

/// The answer among the bytes that have come since the request.
pub(crate) fn find(framing: Framing, asked: Asked, bytes: &[u8]) -> Found {
    match framing {
        Framing::Tcp => tcp::find(asked, bytes),
        Framing::Rtu => rtu::find(asked, bytes),
        Framing::Ascii => ascii::find(asked, bytes),
    }
}
