//! Reading retained messages, page by page: however many match a filter, a page is what is held of them.

use super::Space;
use crate::durable::rows::RetainedRow;
use crate::message::{Message, Sender};
use crate::retained::Bounds;
use crate::sys;
use proto::{Namespace, TopicFilter, TopicName};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{ReadError, Snapshot};

/// Rows looked at for one page, at first and at most. Rows may be as long as packets, so pages that weigh much make
/// the next one shorter.
const PAGE_ROWS_MIN: usize = 4;
const PAGE_ROWS_MAX: usize = 256;
const PAGE_BYTES: usize = 256 * 1024;

/// A walk over the retained messages that match a filter, in the order of their topics.
#[derive(Debug)]
pub(crate) struct Walk {
    filter: TopicFilter,
    /// The last topic looked at.
    after: Option<TopicName>,
    page_rows: usize,
    has_begun: bool,
    is_over: bool,
}

impl Walk {
    pub(crate) fn new(filter: TopicFilter) -> Self {
        Self { filter, after: None, page_rows: PAGE_ROWS_MIN * 8, has_begun: false, is_over: false }
    }

    /// One over what is in the store, of topics after a name: the figures of the broker itself are left out.
    pub(crate) fn after(filter: TopicFilter, after: Option<TopicName>) -> Self {
        // Of one topic there is nothing after itself.
        let is_over = !filter.has_wildcard() && after.is_some();
        Self { after, has_begun: true, is_over, ..Self::new(filter) }
    }

    /// The last topic looked at.
    pub(crate) fn seen_to(&self) -> Option<&TopicName> {
        self.after.as_ref()
    }

    /// Looks at no more rows for the next page.
    pub(crate) fn limit(&mut self, rows_max: usize) {
        self.page_rows = self.page_rows.min(rows_max).max(1);
    }

    /// Whether all have been seen.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What the rows of all topics that may match begin with.
    fn prefix(&self, namespace: &Namespace) -> Vec<u8> {
        let literal = self.filter.as_str().split(['+', '#']).next().unwrap_or_default();
        // `#` also stands for its parent level (MQTT 5.0 4.7.1.2).
        let is_hash = self.filter.as_str().as_bytes().get(literal.len()) == Some(&b'#');
        let literal = if is_hash { literal.strip_suffix('/').unwrap_or(literal) } else { literal };
        let Ok(topic) = TopicName::parse(literal.to_owned()) else {
            return store::prefix(namespace);
        };
        let mut prefix = store::prefix(&(namespace.clone(), topic));
        // Without the end of the text: longer ones begin with it as well.
        prefix.pop();
        prefix
    }
}

impl Space {
    /// The next messages of a walk, none if the walk is over or if none of this page match. The read is short: the
    /// number of rows is bounded, and so are their bytes but for the last.
    pub(crate) fn retained_page(&self, walk: &mut Walk) -> Vec<Arc<Message>> {
        if walk.is_over {
            return Vec::new();
        }
        if !std::mem::replace(&mut walk.has_begun, true) {
            let figures = sys::matching(&self.shared, &walk.filter);
            if !figures.is_empty() {
                return figures;
            }
        }
        let found = if walk.filter.has_wildcard() {
            self.page_of_many(walk)
        } else {
            walk.is_over = true;
            self.retained_on(&walk.filter).map(|it| it.into_iter().collect())
        };
        let now = self.shared.clock.now();
        match found {
            Ok(mut found) => {
                found.retain(|message| !message.is_expired(now));
                found
            }
            Err(error) => {
                tracing::error!(%error, "cannot read retained messages");
                walk.is_over = true;
                Vec::new()
            }
        }
    }

    fn retained_on(&self, filter: &TopicFilter) -> Result<Option<Arc<Message>>, ReadError> {
        let Ok(topic) = TopicName::parse(filter.as_str().to_owned()) else { return Ok(None) };
        // Pending first: what is committed between the two is then seen in the store.
        if let Some(pending) = self.retained.lock().pending_on(&topic) {
            return Ok(pending);
        }
        let row = self.shared.store.read()?.get::<RetainedRow>(&self.retained_key(&topic))?;
        Ok(row.and_then(|row| message(&topic, row)))
    }

    fn page_of_many(&self, walk: &mut Walk) -> Result<Vec<Arc<Message>>, ReadError> {
        let matches = |topic: &TopicName| walk.filter.matches(topic);
        let mut found: BTreeMap<TopicName, Option<Arc<Message>>> = {
            let retained = self.retained.lock();
            let pending = retained.pending_after(walk.after.as_ref());
            let matching = pending.filter(|(topic, _)| matches(topic));
            matching.map(|(topic, last)| (topic.clone(), last.clone())).collect()
        };
        let after = walk.after.as_ref().map(|topic| self.retained_key(topic));
        let prefix = walk.prefix(&self.namespace);
        let snapshot = self.shared.store.read()?;
        let rows = snapshot.page::<RetainedRow>(&prefix, after.as_ref(), walk.page_rows)?;
        let is_last = rows.len() < walk.page_rows;
        let (mut end, mut bytes) = (None, 0);
        for row in rows {
            match row {
                Ok(((_, topic), row)) => {
                    bytes += row.weight(&topic);
                    if matches(&topic) && !found.contains_key(&topic) {
                        let message = message(&topic, row);
                        found.insert(topic.clone(), message);
                    }
                    end = Some(topic);
                }
                Err(error) => tracing::error!(%error, "a retained message is left out"),
            }
        }
        walk.page_rows = match bytes > PAGE_BYTES {
            true => (walk.page_rows / 2).max(PAGE_ROWS_MIN),
            false => (walk.page_rows * 2).min(PAGE_ROWS_MAX),
        };
        // A page in which nothing can be read ends the walk: there is no name to go on after.
        walk.is_over = is_last || end.is_none();
        if !walk.is_over
            && let Some(end) = &end
        {
            found.retain(|topic, _| topic <= end);
        }
        walk.after = end;
        Ok(found.into_values().flatten().collect())
    }

    /// All that match a filter and have not expired.
    pub(crate) fn retained_matching(&self, filter: &TopicFilter) -> Vec<Arc<Message>> {
        let mut walk = Walk::new(filter.clone());
        let mut found = Vec::new();
        while !walk.is_over() {
            found.extend(self.retained_page(&mut walk));
        }
        found
    }

    /// The bounds of this namespace for what a client publishes. While memory is short there is no room for new
    /// topics, but what is there may be replaced.
    pub(crate) fn retained_bounds(&self, sender: &Sender) -> Bounds {
        let limits = &self.shared.limits;
        let is_short = self.shared.is_short_for(sender);
        let messages_max = if is_short { 0 } else { limits.retained_messages_max };
        let bytes_max = limits.retained_bytes_max.min(self.quota.retained_bytes_max());
        Bounds { messages_max, bytes_max }
    }

    /// A commit with something retained has ended.
    pub(crate) fn retained_settled(&self, topic: &TopicName, is_committed: bool) {
        if !self.retained.lock().settled(topic, is_committed) {
            return;
        }
        let key = self.retained_key(topic);
        match self.shared.store.read().and_then(|it| it.get::<RetainedRow>(&key)) {
            Ok(row) => {
                let weight = row.map(|row| row.weight(topic));
                self.retained.lock().correct(topic, weight);
            }
            Err(error) => tracing::warn!(%error, "the weight of a retained message is unsure"),
        }
    }

    /// Reads how much there is, page by page, on a thread that may wait for the disk. Until it has ended, bounds are
    /// kept against what is known so far.
    pub(super) fn weigh_retained(&self) -> Result<(), ReadError> {
        let prefix = store::prefix(&self.namespace);
        let (mut after, mut page_rows) = (None, PAGE_ROWS_MAX);
        loop {
            let rows = self.shared.store.read()?.page::<RetainedRow>(
                &prefix,
                after.as_ref(),
                page_rows,
            )?;
            let is_last = rows.len() < page_rows;
            let mut bytes = 0;
            let mut retained = self.retained.lock();
            let mut end = None;
            for ((_, topic), row) in rows.into_iter().filter_map(Result::ok) {
                bytes += row.weight(&topic);
                retained.load(&topic, row.weight(&topic));
                end = Some(topic);
            }
            let Some(end) = end.filter(|_| !is_last) else {
                retained.loaded();
                return Ok(());
            };
            drop(retained);
            after = Some(self.retained_key(&end));
            page_rows = if bytes > 4 * PAGE_BYTES {
                (page_rows / 2).max(PAGE_ROWS_MIN)
            } else {
                (page_rows * 2).min(16 * PAGE_ROWS_MAX)
            };
        }
    }
}

fn message(topic: &TopicName, row: RetainedRow) -> Option<Arc<Message>> {
    match row.into_message(topic) {
        Ok(message) => Some(Arc::new(message)),
        Err(error) => {
            tracing::error!(%topic, %error, "a retained message is left out");
            None
        }
    }
}

/// Whether a namespace has anything retained at all.
pub(super) fn has_any(snapshot: &Snapshot, namespace: &Namespace) -> Result<bool, ReadError> {
    Ok(snapshot.first::<RetainedRow>(&store::prefix(namespace))?.is_some())
}
