//! Version 2: a binary header of a length that it gives, with typed values behind the addresses.

use super::{HEADER_BYTES_MAX, Header, Malformed, Parsed, ProxiedTls};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How a header begins.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;

/// The typed value that tells of TLS, and those within it.
const TYPE_SSL: u8 = 0x20;
const TYPE_SSL_VERSION: u8 = 0x21;
const TYPE_SSL_COMMON_NAME: u8 = 0x22;
const TYPE_SSL_CIPHER: u8 = 0x23;

/// The client has connected over TLS.
const CLIENT_SSL: u8 = 0b001;
/// It has shown a certificate on this connection, or on one that this resumes.
const CLIENT_CERTIFICATE: u8 = 0b110;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if bytes.len() < FIXED_BYTES {
        return Ok(Parsed::Missing(FIXED_BYTES - bytes.len()));
    }
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if length > HEADER_BYTES_MAX {
        return Err(Malformed("it is too long"));
    }
    let is_proxied = match bytes[12] {
        0x20 => false,
        0x21 => true,
        _ => return Err(Malformed("unknown version or command")),
    };
    if bytes.len() < length {
        return Ok(Parsed::Missing(length - bytes.len()));
    }
    if !is_proxied {
        return Ok(Parsed::Whole(Header::default(), length));
    }
    let payload = &bytes[FIXED_BYTES..length];
    let (source, address_bytes) = source(bytes[13], payload)?;
    let tls = tls(&payload[address_bytes..])?;
    Ok(Parsed::Whole(Header { source, tls }, length))
}

/// The client's address, and how many bytes the addresses take.
fn source(family: u8, payload: &[u8]) -> Result<(Option<SocketAddr>, usize), Malformed> {
    let short = Malformed("the addresses are cut off");
    let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    match family {
        0x11 | 0x12 if payload.len() >= 12 => {
            let ip: [u8; 4] = payload[..4].try_into().map_err(|_| short)?;
            Ok((Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), port(8))), 12))
        }
        0x21 | 0x22 if payload.len() >= 36 => {
            let ip: [u8; 16] = payload[..16].try_into().map_err(|_| short)?;
            Ok((Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(ip)), port(32))), 36))
        }
        0x31 | 0x32 if payload.len() >= 216 => Ok((None, 216)),
        0x11 | 0x12 | 0x21 | 0x22 | 0x31 | 0x32 => Err(short),
        // Unspecified: the addresses, if any, are to be ignored, and nobody knows where they end.
        0x00 => Ok((None, payload.len())),
        _ => Err(Malformed("unknown address family")),
    }
}

fn tls(values: &[u8]) -> Result<Option<ProxiedTls>, Malformed> {
    let mut found = None;
    for value in Values(values) {
        let (kind, value) = value?;
        if kind != TYPE_SSL {
            continue;
        }
        let (head, inner) = value.split_at_checked(5).ok_or(Malformed("TLS is cut off"))?;
        if head[0] & CLIENT_SSL == 0 {
            continue;
        }
        let is_verified = head[0] & CLIENT_CERTIFICATE != 0 && head[1..] == [0; 4];
        let mut tls = ProxiedTls::default();
        for value in Values(inner) {
            let (kind, value) = value?;
            let text = || String::from_utf8(value.to_vec()).ok();
            match kind {
                TYPE_SSL_VERSION => tls.version = text(),
                TYPE_SSL_CIPHER => tls.cipher = text(),
                TYPE_SSL_COMMON_NAME if is_verified => tls.common_name = text(),
                _ => {}
            }
        }
        found = Some(tls);
    }
    Ok(found)
}

/// Type, length in two bytes, value; again and again.
struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = Result<(u8, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let cut_off = Some(Err(Malformed("a value is cut off")));
        let Some((head, rest)) = rest.split_at_checked(3) else { return cut_off };
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let Some((value, rest)) = rest.split_at_checked(length) else { return cut_off };
        self.0 = rest;
        Some(Ok((head[0], value)))
    }
}
