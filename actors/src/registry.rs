//! What is kept of things besides their rows: how to find them by tag, gateway and serial number, their groups, and
//! what they have reported.
//!
//! An index row is written in the commit of the row that it leads to, so the two never disagree. Things of a store
//! that was made before there were tags, gateways and serials have none, and need no index.

pub(crate) mod index;
pub(crate) mod row;

use crate::context::Context;
use broker::Client;
use row::ByParent;
use store::ReadError;

/// Relations read at once.
const PAGE_ROWS: usize = 10_000;

/// Tells the broker which things are behind which gateways.
pub(crate) fn load_parents(context: &Context, client: &Client) -> Result<(), ReadError> {
    let namespace = client.namespace();
    let snapshot = context.outside.store.read()?;
    let prefix = store::prefix(namespace);
    let mut after = None;
    loop {
        let page = snapshot.page::<ByParent>(&prefix, after.as_ref(), PAGE_ROWS)?;
        let is_last = page.len() < PAGE_ROWS;
        let keys: Vec<_> = page.into_iter().flatten().map(|(key, _)| key).collect();
        after = keys.last().cloned().or(after);
        let relations = keys.into_iter().map(|(_, parent, thing)| (thing, Some(parent))).collect();
        context.outside.broker.set_parents(namespace, relations);
        if is_last {
            return Ok(());
        }
    }
}
