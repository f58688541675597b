//! The address of a remote broker: `mqtt://host:port` or `mqtts://host:port`.

/// The longest address, in bytes: scheme, a host name of 253 bytes, a port.
const URL_BYTES_MAX: usize = 270;

/// A parsed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Reads `mqtt://host[:port]` or `mqtts://host[:port]`; an IPv6 address stands in brackets.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        if url.len() > URL_BYTES_MAX {
            return Err("it must have at most 270 bytes");
        }
        let (scheme, rest) =
            url.split_once("://").ok_or("it must read mqtt://host:port or mqtts://host:port")?;
        let (is_tls, default_port) = match scheme {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            "ws" | "wss" => return Err("bridges speak MQTT over TCP: mqtt:// or mqtts://"),
            _ => return Err("the scheme must be mqtt or mqtts"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or("a bracket is not closed")?;
                match after {
                    "" => (host, None),
                    after => (host, Some(after.strip_prefix(':').ok_or("no port after `]`")?)),
                }
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let is_odd = |it: char| it.is_whitespace() || it.is_control() || "/?#@[]".contains(it);
        if host.is_empty() || host.contains(is_odd) {
            return Err("the host must be a name or an address, without path, user or secret");
        }
        let port = match port {
            None => default_port,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err("the port must be a number from 1 to 65535"),
                Ok(port) => port,
            },
        };
        Ok(Self { is_tls, host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_odd_ones_refused() {
        let parse = |url| Address::parse(url).map(|it| (it.is_tls, it.host, it.port));
        let found = |is_tls, host: &str, port| Ok((is_tls, host.to_owned(), port));
        assert_eq!(parse("mqtt://hub.example"), found(false, "hub.example", 1883));
        assert_eq!(parse("mqtts://hub/"), found(true, "hub", 8883));
        assert_eq!(parse("mqtt://10.0.0.1:2883"), found(false, "10.0.0.1", 2883));
        assert_eq!(parse("mqtt://[::1]:7"), found(false, "::1", 7));
        assert_eq!(parse("mqtt://[::1]"), found(false, "::1", 1883));
        for bad in [
            "",
            "hub",
            "tcp://hub",
            "ws://hub",
            "mqtt://",
            "mqtt://hub:0",
            "mqtt://hub:70000",
            "mqtt://user@hub",
            "mqtt://hub/path",
            "mqtt://[::1",
            "mqtt://a b",
            "mqtt://hub:x",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        assert!(Address::parse(&format!("mqtt://{}", "x".repeat(300))).is_err());
    }
}
