//! The file of a backup: `[magic 8]`, then frames `[length u32][checksum u32][kind u8][payload]`, in little endian.
//!
//! The first frame is the header, the last one the report, both JSON; between them are records as the log has them.
//! A checksum (CRC-32C) covers length, kind and payload, and begins with the checksum of the frame before: so a frame
//! that is damaged, missing, doubled or out of order is found, and so is an end that is cut off.

use super::restore::RestoreError;
use crate::log::{decode_record, encode_record};
use crate::plan::Plan;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read, Write};

const MAGIC: &[u8; 8] = b"mfldbak\n";

/// The form of the file; raised when an older release could not read it.
const FORMAT: u32 = 1;

/// No frame of ours is longer: a record of about a mebibyte, and the largest row or body there can be.
const FRAME_BYTES_MAX: u32 = 1 << 30;

mod kind {
    pub(super) const HEADER: u8 = 1;
    pub(super) const RECORD: u8 = 2;
    pub(super) const REPORT: u8 = 3;
}

/// How a backup begins. Further fields may come with later releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHeader {
    /// The form of the file.
    pub format: u32,
    /// The form of the store that it was made of.
    pub store_format: u32,
    /// Which release made it.
    pub release: String,
    /// When, in milliseconds since the Unix epoch.
    pub t: u64,
    /// Of which part of the store it is; absent: of all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// What is in a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    /// Rows of all tables.
    pub rows: u64,
    /// Messages that wait in queues.
    pub messages: u64,
    /// Their bodies, each once.
    pub bodies: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Rows that are carried over though their checksum is wrong, and messages that could not be read.
    pub unreadable: u64,
}

/// Writes a backup.
pub(super) struct BackupWriter<W> {
    out: W,
    report: BackupReport,
    sum: u32,
    buffer: Vec<u8>,
    pub(super) unreadable: u64,
}

impl<W: Write> BackupWriter<W> {
    pub(super) fn begin(mut out: W, t: u64, part: Option<String>) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        let report = BackupReport { bytes: MAGIC.len() as u64, ..BackupReport::default() };
        let mut writer = Self { out, report, sum: 0, buffer: Vec::new(), unreadable: 0 };
        let (store_format, release) = (crate::base::FORMAT, crate::RELEASE.to_owned());
        let header = BackupHeader { format: FORMAT, store_format, release, t, part };
        writer.json(kind::HEADER, &header)?;
        Ok(writer)
    }

    /// Adds a record, unless it says nothing.
    pub(super) fn record(&mut self, plan: &Plan) -> io::Result<()> {
        if plan.is_empty() {
            return Ok(());
        }
        let rows: usize = plan.tables.iter().map(|table| table.rows.len()).sum();
        self.report.rows += rows as u64;
        self.report.messages += plan.places.len() as u64;
        self.report.bodies += plan.bodies.len() as u64;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        encode_record(plan, &mut buffer);
        let written = self.frame(kind::RECORD, &buffer);
        self.buffer = buffer;
        written
    }

    /// Ends the file.
    pub(super) fn finish(mut self) -> io::Result<BackupReport> {
        self.report.unreadable = self.unreadable;
        let report = self.report.clone();
        self.json(kind::REPORT, &report)?;
        self.out.flush()?;
        Ok(self.report)
    }

    fn json(&mut self, kind: u8, content: &impl Serialize) -> io::Result<()> {
        self.frame(kind, &serde_json::to_vec(content)?)
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).ok().filter(|it| *it <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("a record of more than 1 GiB"))?;
        self.sum = checksum(self.sum, length, kind, payload);
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&self.sum.to_le_bytes())?;
        self.out.write_all(&[kind])?;
        self.out.write_all(payload)?;
        self.report.bytes += u64::from(length) + 9;
        Ok(())
    }
}

/// Reads a backup and checks all of it on the way.
#[derive(Debug)]
pub struct BackupReader<R> {
    from: R,
    header: BackupHeader,
    /// Where the next frame begins.
    offset: u64,
    sum: u32,
    seen: BackupReport,
}

impl<R: Read> BackupReader<R> {
    /// Opens one; refused if it is none, or of a later release.
    pub fn open(mut from: R) -> Result<Self, RestoreError> {
        let mut magic = [0; 8];
        match from.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error.into()),
            _ => return Err(RestoreError::NoBackup),
        }
        let header =
            BackupHeader { format: 0, store_format: 0, release: String::new(), t: 0, part: None };
        let (offset, sum) = (MAGIC.len() as u64, 0);
        let mut reader = Self { from, header, offset, sum, seen: BackupReport::default() };
        let (kind, payload) = reader.frame()?;
        let header = serde_json::from_slice::<BackupHeader>(&payload);
        reader.header = match header {
            Ok(header) if kind == kind::HEADER => header,
            _ => return Err(reader.damaged("it has no header")),
        };
        let BackupHeader { format, store_format, release, .. } = &reader.header;
        if *format > FORMAT || *store_format > crate::base::FORMAT {
            return Err(RestoreError::Newer { release: release.clone() });
        }
        Ok(reader)
    }

    /// How it begins.
    pub fn header(&self) -> &BackupHeader {
        &self.header
    }

    /// Reads it to its end; what is in it.
    pub fn check(mut self) -> Result<BackupReport, RestoreError> {
        while self.next()?.is_some() {}
        Ok(self.seen)
    }

    /// What has been read.
    pub(super) fn into_report(self) -> BackupReport {
        self.seen
    }

    /// The next record; `None` at the end, which is then known to be whole.
    pub(super) fn next(&mut self) -> Result<Option<Plan>, RestoreError> {
        let (kind, payload) = self.frame()?;
        match kind {
            kind::RECORD => {
                let payload = Bytes::from(payload);
                let decoded = decode_record(&payload);
                let plan = decoded.ok_or_else(|| self.damaged("a record is malformed"))?;
                let rows: usize = plan.tables.iter().map(|table| table.rows.len()).sum();
                self.seen.rows += rows as u64;
                self.seen.messages += plan.places.len() as u64;
                self.seen.bodies += plan.bodies.len() as u64;
                Ok(Some(plan))
            }
            kind::REPORT => {
                let said: BackupReport = serde_json::from_slice(&payload)
                    .map_err(|_| self.damaged("its report is malformed"))?;
                let counted = |it: &BackupReport| (it.rows, it.messages, it.bodies);
                if counted(&said) != counted(&self.seen) {
                    return Err(self.damaged("its report does not fit"));
                }
                let mut rest = [0];
                match self.from.read(&mut rest)? {
                    0 => {}
                    _ => return Err(self.damaged("there is more after its end")),
                }
                self.seen = BackupReport { bytes: self.offset, ..said };
                Ok(None)
            }
            _ => Err(self.damaged("a frame of a kind that is not known")),
        }
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>), RestoreError> {
        let mut head = [0; 9];
        self.fill(&mut head)?;
        let [l0, l1, l2, l3, s0, s1, s2, s3, kind] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if length > FRAME_BYTES_MAX {
            return Err(self.damaged("a frame is too long"));
        }
        // Not all at once: the length may be damaged, and memory is used as bytes arrive.
        let mut payload = Vec::new();
        let read = self.from.by_ref().take(u64::from(length)).read_to_end(&mut payload)?;
        if read < length as usize {
            return Err(RestoreError::CutOff { at: self.offset + 9 + read as u64 });
        }
        let sum = checksum(self.sum, length, kind, &payload);
        if sum != u32::from_le_bytes([s0, s1, s2, s3]) {
            return Err(self.damaged("a checksum is wrong"));
        }
        self.sum = sum;
        self.offset += 9 + u64::from(length);
        Ok((kind, payload))
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), RestoreError> {
        self.from.read_exact(out).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => RestoreError::CutOff { at: self.offset },
            _ => error.into(),
        })
    }

    pub(super) fn damaged(&self, reason: &'static str) -> RestoreError {
        RestoreError::Damaged { at: self.offset, reason }
    }
}

fn checksum(before: u32, length: u32, kind: u8, payload: &[u8]) -> u32 {
    let sum = crc32c::crc32c_append(before, &length.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(sum, &[kind]), payload)
}
