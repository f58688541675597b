//! The PROXY protocol, versions 1 and 2: a proxy says for whom it speaks, before anything else.
//!
//! [`parse`] reads a header out of bytes and says how many are missing; [`read`] takes exactly the header off a
//! socket and not a byte more. Whether the sender may be believed is the listener's business, before it reads.

mod v1;
mod v2;

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest header: addresses, and what a proxy may tell of TLS. The protocol would allow 64 KiB.
const HEADER_BYTES_MAX: usize = 4096;

/// The shortest header of either version.
const HEADER_BYTES_MIN: usize = 12;

/// What a header says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// The client's address; absent if the proxy speaks for itself, or does not know.
    pub(crate) source: Option<SocketAddr>,
    /// What the proxy has agreed on with the client, if that was TLS.
    pub(crate) tls: Option<ProxiedTls>,
}

/// What a proxy tells of TLS between it and the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProxiedTls {
    pub(crate) version: Option<String>,
    pub(crate) cipher: Option<String>,
    /// The common name of the client's certificate, only if the proxy has verified it.
    pub(crate) common_name: Option<String>,
}

/// What [`parse`] has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Parsed {
    /// The header, and how long it was.
    Whole(Header, usize),
    /// At least so many bytes are missing.
    Missing(usize),
}

/// A header that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a PROXY header: {0}")]
pub(crate) struct Malformed(&'static str);

fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if bytes.len() < HEADER_BYTES_MIN {
        return Ok(Parsed::Missing(HEADER_BYTES_MIN - bytes.len()));
    }
    if bytes.starts_with(&v2::SIGNATURE) {
        v2::parse(bytes)
    } else if bytes.starts_with(v1::PREFIX) {
        v1::parse(bytes)
    } else {
        Err(Malformed("neither version 1 nor 2"))
    }
}

/// Takes the header off a socket.
pub(crate) async fn read<S: AsyncRead + Unpin>(socket: &mut S) -> io::Result<Header> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES_MIN);
    loop {
        match parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Parsed::Whole(header, _) => return Ok(header),
            Parsed::Missing(count) => {
                let start = bytes.len();
                bytes.resize(start + count, 0);
                socket.read_exact(&mut bytes[start..]).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(bytes: &[u8]) -> Header {
        match parse(bytes) {
            Ok(Parsed::Whole(header, length)) => {
                assert_eq!(length, bytes.len());
                header
            }
            other => panic!("{other:?}"),
        }
    }

    fn v2_header(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = v2::SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((payload.len() as u16).to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    const TCP4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x1F, 0x90, 0x07, 0x5B];

    #[test]
    fn version_1_gives_the_source() {
        let header = whole(b"PROXY TCP4 203.0.113.7 10.0.0.1 8080 1883\r\n");
        assert_eq!(header.source, Some("203.0.113.7:8080".parse().unwrap()));
        let header = whole(b"PROXY TCP6 2001:db8::7 ::1 8080 1883\r\n");
        assert_eq!(header.source, Some("[2001:db8::7]:8080".parse().unwrap()));
        assert_eq!(whole(b"PROXY UNKNOWN\r\n").source, None);
        assert_eq!(whole(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n").source, None);
    }

    #[test]
    fn version_2_gives_the_source() {
        let header = whole(&v2_header(0x21, 0x11, &TCP4));
        assert_eq!(header.source, Some("203.0.113.7:8080".parse().unwrap()));
        let mut tcp6 = [0; 36];
        tcp6[..2].copy_from_slice(&[0x20, 0x01]);
        tcp6[32..34].copy_from_slice(&[0x1F, 0x90]);
        let header = whole(&v2_header(0x21, 0x21, &tcp6));
        assert_eq!(header.source, Some("[2001::]:8080".parse().unwrap()));
        // A health check of the proxy's own, a socket that has no address.
        assert_eq!(whole(&v2_header(0x20, 0x11, &TCP4)), Header::default());
        assert_eq!(whole(&v2_header(0x21, 0x00, &[])), Header::default());
        assert_eq!(whole(&v2_header(0x21, 0x31, &[0; 216])), Header::default());
    }

    #[test]
    fn version_2_tells_of_verified_certificates_only() {
        let ssl = |client: u8, verify: u32| {
            let mut value = vec![client];
            value.extend(verify.to_be_bytes());
            value.extend(b"\x21\x00\x07TLSv1.3\x22\x00\x05pump7\x23\x00\x03AES");
            let mut payload = TCP4.to_vec();
            payload.extend(b"\x03\x00\x01x\x20");
            payload.extend((value.len() as u16).to_be_bytes());
            payload.extend(value);
            whole(&v2_header(0x21, 0x11, &payload)).tls
        };
        let tls = ssl(0b111, 0).unwrap();
        assert_eq!(tls.common_name.as_deref(), Some("pump7"));
        assert_eq!((tls.version.as_deref(), tls.cipher.as_deref()), (Some("TLSv1.3"), Some("AES")));
        assert_eq!(ssl(0b111, 1).unwrap().common_name, None, "not verified");
        assert_eq!(ssl(0b001, 0).unwrap().common_name, None, "no certificate");
        assert_eq!(ssl(0b000, 0), None, "no TLS");
    }

    #[test]
    fn malformed_headers_are_errors() {
        let long = format!("PROXY TCP4 {}", "1".repeat(200));
        let cases: [&[u8]; 9] = [
            b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x0a",
            b"GET /mqtt HTTP/1.1\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 8080\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 8080 99999\r\n",
            b"PROXY TCP6 203.0.113.7 10.0.0.1 8080 1883\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 8080 1883 x\r\n",
            b"PROXY \xFF\xFF\xFF\xFF\xFF\xFF\r\n",
            b"PROXY SCTP 1 2 3 4\r\n",
            long.as_bytes(),
        ];
        for case in cases {
            assert!(parse(case).is_err(), "{}", String::from_utf8_lossy(case));
        }
        for (command, family, payload) in [
            (0x11, 0x11, &TCP4[..]),
            (0x22, 0x11, &TCP4),
            (0x21, 0x11, &TCP4[..11]),
            (0x21, 0x41, &TCP4),
            (0x21, 0x11, &[0; 5000]),
            (0x21, 0x11, b"\xCB\x00\x71\x07\x0A\x00\x00\x01\x1F\x90\x07\x5B\x20\x00\xFF"),
        ] {
            assert!(parse(&v2_header(command, family, payload)).is_err(), "{command} {family}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_header_asks_for_more_than_the_bound(
            start in 0usize..3,
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut bytes = match start {
                0 => Vec::new(),
                1 => v2::SIGNATURE.to_vec(),
                _ => v1::PREFIX.to_vec(),
            };
            bytes.extend(rest);
            if let Ok(Parsed::Missing(count)) = parse(&bytes) {
                prop_assert!(count > 0 && bytes.len() + count <= HEADER_BYTES_MAX);
            }
        }

        #[test]
        fn a_header_cut_anywhere_is_missing_bytes(cut in 0usize..42) {
            let bytes = b"PROXY TCP4 203.0.113.7 10.0.0.1 8080 1883\r\n";
            match parse(&bytes[..cut]) {
                Ok(Parsed::Missing(count)) => prop_assert!(cut + count <= bytes.len()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
