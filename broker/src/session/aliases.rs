//! Topic aliases of one connection, in both directions (MQTT 5.0 3.3.2.3.4).
//!
//! An alias stands for a topic name, never for a filter, and ends with its connection.

use crate::reason::Reason;
use bytestring::ByteString;
use hashbrown::HashMap;
use proto::TopicName;
use std::num::NonZeroU16;

/// The aliases a client has set.
#[derive(Debug)]
pub(crate) struct Inbound {
    max: u16,
    topics: Vec<Option<ByteString>>,
}

impl Inbound {
    /// None is set yet; `max` is our Topic Alias Maximum.
    pub(crate) fn new(max: u16) -> Self {
        Self { max, topics: Vec::new() }
    }

    /// The topic that a PUBLISH means, remembered if it comes with both. 0x94 for an alias that is not allowed, 0x82
    /// for one that has not been set, or for no topic at all.
    pub(crate) fn resolve(
        &mut self,
        alias: Option<NonZeroU16>,
        topic: ByteString,
    ) -> Result<ByteString, Reason> {
        let Some(alias) = alias else {
            return if topic.is_empty() { Err(Reason::ProtocolError) } else { Ok(topic) };
        };
        if alias.get() > self.max {
            return Err(Reason::TopicAliasInvalid);
        }
        let index = usize::from(alias.get() - 1);
        if topic.is_empty() {
            let known = self.topics.get(index).cloned().flatten();
            return known.ok_or(Reason::ProtocolError);
        }
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        // A copy of its own: the packet is not to live as long as the alias.
        self.topics[index] = Some(ByteString::from(&*topic));
        Ok(topic)
    }
}

/// The aliases we have set.
#[derive(Debug)]
pub(crate) struct Outbound {
    max: u16,
    /// Absent while there are none: most clients take none.
    by_topic: Option<Box<HashMap<TopicName, NonZeroU16>>>,
}

/// How the topic of a PUBLISH is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alias {
    pub(crate) number: NonZeroU16,
    /// The topic goes with it, this once.
    pub(crate) is_new: bool,
}

impl Outbound {
    /// None is set yet; `max` is the client's Topic Alias Maximum, or what we use of it.
    pub(crate) fn new(max: u16) -> Self {
        Self { max, by_topic: None }
    }

    /// The alias for a topic; the first topics of a connection have them until all are given away. None where it would
    /// not be shorter.
    pub(crate) fn alias(&mut self, topic: &TopicName) -> Option<Alias> {
        const ALIAS_BYTES: usize = 3;
        if self.max == 0 || topic.as_str().len() <= ALIAS_BYTES {
            return None;
        }
        let by_topic = self.by_topic.as_deref();
        if let Some(&number) = by_topic.and_then(|it| it.get(topic)) {
            return Some(Alias { number, is_new: false });
        }
        let number = u16::try_from(by_topic.map_or(0, HashMap::len) + 1)
            .ok()
            .filter(|it| *it <= self.max)?;
        let number = NonZeroU16::new(number)?;
        Some(Alias { number, is_new: true })
    }

    /// A PUBLISH that sets a new alias has been written.
    pub(crate) fn set(&mut self, topic: &TopicName, alias: Alias) {
        self.by_topic.get_or_insert_default().insert(topic.clone().detached(), alias.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u16) -> Option<NonZeroU16> {
        NonZeroU16::new(number)
    }

    #[test]
    fn an_alias_means_the_topic_it_was_last_set_with() {
        let mut aliases = Inbound::new(2);
        assert_eq!(aliases.resolve(None, "a".into()), Ok("a".into()));
        assert_eq!(aliases.resolve(number(1), "a".into()), Ok("a".into()));
        assert_eq!(aliases.resolve(number(2), "b".into()), Ok("b".into()));
        assert_eq!(aliases.resolve(number(1), "".into()), Ok("a".into()));
        assert_eq!(aliases.resolve(number(1), "c".into()), Ok("c".into()));
        assert_eq!(aliases.resolve(number(1), "".into()), Ok("c".into()));
    }

    #[test]
    fn an_alias_that_is_unset_or_too_high_is_refused() {
        let mut aliases = Inbound::new(2);
        assert_eq!(aliases.resolve(None, "".into()), Err(Reason::ProtocolError));
        assert_eq!(aliases.resolve(number(2), "".into()), Err(Reason::ProtocolError));
        assert_eq!(aliases.resolve(number(3), "a".into()), Err(Reason::TopicAliasInvalid));
        assert_eq!(Inbound::new(0).resolve(number(1), "a".into()), Err(Reason::TopicAliasInvalid));
    }

    #[test]
    fn the_first_topics_get_the_aliases() {
        let topic = |text: &str| TopicName::parse(text.to_owned()).unwrap();
        let mut aliases = Outbound::new(1);
        assert_eq!(aliases.alias(&topic("a/b")), None);
        let first = aliases.alias(&topic("line/1")).unwrap();
        assert_eq!((first.number.get(), first.is_new), (1, true));
        // One that was not written is not set.
        assert_eq!(aliases.alias(&topic("line/2")), Some(first));
        aliases.set(&topic("line/1"), first);
        let again = aliases.alias(&topic("line/1")).unwrap();
        assert_eq!((again.number.get(), again.is_new), (1, false));
        assert_eq!(aliases.alias(&topic("line/2")), None);
    }
}
