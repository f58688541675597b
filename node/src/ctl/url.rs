//! The address of a node as people write it: `mqtt://host[:port]`, `mqtts://host[:port]`, or `host[:port]`.

use std::fmt;
use std::str::FromStr;

/// The registered port of MQTT without TLS.
const PORT_DEFAULT: u16 = 1883;

/// The registered port of MQTT over TLS.
const TLS_PORT_DEFAULT: u16 = 8883;

/// Where a node listens for MQTT over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeUrl {
    /// A name or an address, IPv6 without brackets.
    pub(crate) host: String,
    /// The TCP port.
    pub(crate) port: u16,
    /// Whether TLS is spoken there.
    pub(crate) is_tls: bool,
}

impl FromStr for NodeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = |reason: &str| Err(format!("the url `{text}` is not usable: {reason}"));
        let (is_tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("mqtt" | "tcp", rest)) => (false, rest),
            Some(("mqtts" | "ssl", rest)) => (true, rest),
            Some(_) => return fail("it must start with mqtt:// or mqtts://"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return fail("give the user with --user and --secret");
        }
        if rest.contains('/') {
            return fail("it has a path");
        }
        let (host, port) = split_port(rest);
        let port = match port.map(str::parse) {
            None if is_tls => TLS_PORT_DEFAULT,
            None => PORT_DEFAULT,
            Some(Ok(port)) if port != 0 => port,
            Some(_) => return fail("the port is not a number from 1 to 65535"),
        };
        if host.is_empty() {
            return fail("it names no host");
        }
        Ok(Self { host: host.to_owned(), port, is_tls })
    }
}

/// Splits host and port; an IPv6 address stands in brackets (RFC 3986 3.2.2).
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, is_tls } = self;
        let scheme = if *is_tls { "mqtts" } else { "mqtt" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        for (text, read) in [
            ("mqtt://127.0.0.1:1884", "mqtt://127.0.0.1:1884"),
            ("mqtt://hub.local", "mqtt://hub.local:1883"),
            ("mqtt://hub.local/", "mqtt://hub.local:1883"),
            ("tcp://hub:1", "mqtt://hub:1"),
            ("localhost:1885", "mqtt://localhost:1885"),
            ("localhost", "mqtt://localhost:1883"),
            ("mqtt://[::1]:1886", "mqtt://[::1]:1886"),
            ("[::1]", "mqtt://[::1]:1883"),
            ("mqtts://hub", "mqtts://hub:8883"),
            ("mqtts://[::1]:8884", "mqtts://[::1]:8884"),
        ] {
            assert_eq!(text.parse::<NodeUrl>().unwrap().to_string(), read, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_reason() {
        for (text, reason) in [
            ("wss://h", "start with mqtt://"),
            ("http://h", "start with mqtt://"),
            ("mqtt://u:s@h", "--user"),
            ("mqtt://h/mqtt", "path"),
            ("mqtt://h:0", "port"),
            ("mqtt://h:x", "port"),
            ("mqtt://h:70000", "port"),
            ("mqtt://", "host"),
            ("", "host"),
        ] {
            let error = text.parse::<NodeUrl>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
