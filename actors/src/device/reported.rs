//! Which values of the Unified Namespace a thing has reported, so that those of a deleted thing go with it.

use super::actor::DeviceCore;
use crate::driver::row::TagRow;
use crate::registry::row::{ReportedRow, ReporterRow};
use broker::Outgoing;
use proto::{PlatformTopic, Qos, ThingId, TopicName, UnsPath};
use std::collections::HashSet;
use store::{Changes, ReadError};

impl DeviceCore {
    /// Notes paths that the device reports, if they are not noted yet.
    pub(super) fn note_reported<'a>(
        &self,
        unseen: impl Iterator<Item = &'a UnsPath>,
        changes: &mut Changes,
    ) {
        let mut unseen = unseen.peekable();
        if unseen.peek().is_none() {
            return;
        }
        let (namespace, thing) = self.key();
        let Ok(snapshot) = self.context.outside.store.read() else { return };
        for path in unseen {
            let topic = PlatformTopic::Uns(path.clone()).topic();
            let key = (namespace.clone(), thing.clone(), topic.clone());
            // One that cannot be looked up is noted once more.
            if !snapshot.contains::<ReportedRow>(&key).unwrap_or(false) {
                changes.put(&key, &ReportedRow);
                changes.put(&(namespace.clone(), topic, thing.clone()), &ReporterRow);
            }
        }
    }

    /// Forgets what the device has reported; the messages that clear the values it alone has.
    pub(super) fn forget_reported(
        &self,
        changes: &mut Changes,
    ) -> Result<Vec<Outgoing>, ReadError> {
        let (namespace, thing) = self.key();
        let snapshot = self.context.outside.store.read()?;
        let own = store::prefix(&(namespace.clone(), thing.clone()));
        let reported = snapshot.scan::<ReportedRow>(&own)?;
        let tags = match reported.is_empty() {
            true => HashSet::new(),
            false => self.tag_topics(&snapshot.scan::<TagRow>(&store::prefix(&namespace))?),
        };
        let mut cleared = Vec::new();
        for ((_, _, topic), _) in reported.into_iter().flatten() {
            let all = store::prefix(&(namespace.clone(), topic.clone()));
            let reporters = snapshot.page::<ReporterRow>(&all, None, 2)?;
            let is_other = |(_, _, it): &(_, _, ThingId)| *it != thing;
            let is_shared = reporters.into_iter().flatten().any(|(key, _)| is_other(&key));
            changes.delete::<ReporterRow>(&(namespace.clone(), topic.clone(), thing.clone()));
            if !is_shared && !tags.contains(&topic) {
                let message = Outgoing::new(topic, Vec::new());
                cleared.push(message.qos(Qos::AtLeastOnce).retained());
            }
        }
        changes.delete_prefix::<ReportedRow>(&own);
        Ok(cleared)
    }

    /// The topics of values that machines have.
    fn tag_topics<K>(&self, tags: &[Result<(K, TagRow), ReadError>]) -> HashSet<TopicName> {
        let paths =
            tags.iter().flatten().filter_map(|(_, TagRow(tag))| UnsPath::parse(&tag.path).ok());
        paths.map(|path| PlatformTopic::Uns(path).topic()).collect()
    }
}
