//! Version 1: one line of text, at most 107 bytes.

use super::{Header, Malformed, Parsed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How a header begins.
pub(super) const PREFIX: &[u8] = b"PROXY ";

/// The longest line, its end included.
const LINE_BYTES_MAX: usize = 107;

/// How a line ends.
const END: &[u8] = b"\r\n";

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let searched = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = searched.windows(END.len()).position(|pair| pair == END) else {
        if searched.len() >= LINE_BYTES_MAX {
            return Err(Malformed("the line has no end"));
        }
        // Never more than is surely missing: what follows is the client's.
        let missing = if bytes.ends_with(b"\r") { 1 } else { END.len() };
        return Ok(Parsed::Missing(missing.min(LINE_BYTES_MAX - searched.len())));
    };
    let line = std::str::from_utf8(&bytes[PREFIX.len()..end])
        .map_err(|_| Malformed("the line is no text"))?;
    let header = Header { source: source(line)?, tls: None };
    Ok(Parsed::Whole(header, end + END.len()))
}

fn source(line: &str) -> Result<Option<SocketAddr>, Malformed> {
    let mut fields = line.split(' ');
    let family = fields.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let mut next = || fields.next().ok_or(Malformed("an address is missing"));
    let (source, target) = (next()?, next()?);
    let (source_port, target_port) = (next()?, next()?);
    if fields.next().is_some() {
        return Err(Malformed("the line goes on"));
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let port = |text: &str| text.parse::<u16>().ok();
    let wrong = Malformed("the addresses cannot be read");
    address(target).zip(port(target_port)).ok_or(wrong)?;
    let (ip, port) = address(source).zip(port(source_port)).ok_or(wrong)?;
    Ok(Some(SocketAddr::new(ip, port)))
}
