//! CONNECT, with what a test may want to get wrong in it (MQTT 5.0 3.1).

use super::packet::{Version, binary, frame};
use super::property::{self, Property};

/// What is published should the client vanish.
#[derive(Debug, Clone)]
pub struct Will {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// 0, 1 or 2; a test may also say 3.
    pub qos: u8,
    /// Whether it is to be retained.
    pub is_retained: bool,
    /// Only in version 5.
    pub properties: Vec<Property>,
}

/// A CONNECT packet.
#[derive(Debug, Clone)]
pub struct Hello {
    /// Which version is spoken.
    pub version: Version,
    /// The protocol name and level, which follow from the version unless a test lies about them.
    pub protocol: (Vec<u8>, u8),
    /// The client id, which a test may make other than UTF-8.
    pub client_id: Vec<u8>,
    /// User name and password.
    pub user: Option<(String, String)>,
    /// Clean session, or clean start.
    pub is_clean: bool,
    /// Seconds; 0 for none.
    pub keep_alive_secs: u16,
    /// Seconds that the session outlives the connection; only in version 5.
    pub expiry_secs: u32,
    /// Further properties; only in version 5.
    pub properties: Vec<Property>,
    /// The will.
    pub will: Option<Will>,
}

impl Hello {
    /// A clean session without a user.
    pub fn new(version: Version, client_id: &str) -> Self {
        let level = if version == Version::V5 { 5 } else { 4 };
        Self {
            version,
            protocol: (b"MQTT".to_vec(), level),
            client_id: client_id.as_bytes().to_vec(),
            user: None,
            is_clean: true,
            keep_alive_secs: 60,
            expiry_secs: 0,
            properties: Vec::new(),
            will: None,
        }
    }

    /// With a user name and its password.
    #[must_use]
    pub fn user(mut self, name: &str, secret: &str) -> Self {
        self.user = Some((name.to_owned(), secret.to_owned()));
        self
    }

    /// With a session that outlives the connection by an hour.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.is_clean = false;
        self.expiry_secs = 3600;
        self
    }

    /// With one more property.
    #[must_use]
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// With a will of QoS 1.
    #[must_use]
    pub fn will(self, topic: &str, payload: &str) -> Self {
        self.will_with(topic, payload, |_| ())
    }

    /// With a will of QoS 1 that `change` makes another.
    #[must_use]
    pub fn will_with(mut self, topic: &str, payload: &str, change: impl Fn(&mut Will)) -> Self {
        let mut will = Will {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            qos: 1,
            is_retained: false,
            properties: Vec::new(),
        };
        change(&mut will);
        self.will = Some(will);
        self
    }

    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with_flags(self.flags())
    }

    /// The connect flags that belong to the fields.
    pub fn flags(&self) -> u8 {
        let mut flags = u8::from(self.is_clean) << 1;
        if let Some(will) = &self.will {
            flags |= 0b0000_0100 | will.qos << 3 | u8::from(will.is_retained) << 5;
        }
        if self.user.is_some() {
            flags |= 0b1100_0000;
        }
        flags
    }

    /// The packet with other connect flags than belong to the fields that are in it.
    pub fn encode_with_flags(&self, flags: u8) -> Vec<u8> {
        let mut body = Vec::new();
        binary(&mut body, &self.protocol.0);
        body.extend([self.protocol.1, flags]);
        body.extend(self.keep_alive_secs.to_be_bytes());
        let expiry = Property::SessionExpiryInterval(self.expiry_secs);
        self.put_properties(&mut body, &[&[expiry], &self.properties[..]].concat());
        binary(&mut body, &self.client_id);
        if let Some(will) = &self.will {
            self.put_properties(&mut body, &will.properties);
            binary(&mut body, will.topic.as_bytes());
            binary(&mut body, &will.payload);
        }
        if let Some((name, secret)) = &self.user {
            binary(&mut body, name.as_bytes());
            binary(&mut body, secret.as_bytes());
        }
        frame(0x10, &body)
    }

    fn put_properties(&self, body: &mut Vec<u8>, properties: &[Property]) {
        if self.version == Version::V5 {
            body.extend(property::encode(properties));
        }
    }
}
