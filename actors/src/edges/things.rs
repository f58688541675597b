//! Things at edge nodes: devices that connect there, and that apps of the hub command and set as any other.
//!
//! A thing that names an edge node is registered at the hub. What the edge node shall have of it is not noted anywhere:
//! it is what the rows differ in. [`due`] compares them, thing by thing; [`errand`] hands over what is missing by
//! requests to the admin API of the edge node: the registration with its credential, shadows, commands. Any of that may
//! be done twice. What becomes of a thing there comes up with the records of the uplink, and is kept in the commit that
//! has their numbers ([`rows::SaidRow`]) until the device actor has taken it in.
//!
//! Shadows are changed at both ends. The hub keeps what the edge node last had ([`rows::BaseRow`]) or was last offered
//! ([`rows::OfferRow`]), which is what the changes of both began with, and merges them.

pub(crate) mod documents;
pub(crate) mod due;
pub(crate) mod errand;
pub(crate) mod rows;
pub(crate) mod said;

use proto::{Namespace, ThingId};
use rows::{BaseRow, OfferRow, SaidRow};
use store::Changes;

/// Forgets what is known of a thing at an edge node.
pub(crate) fn forget(changes: &mut Changes, namespace: &Namespace, thing: &ThingId) {
    let prefix = store::prefix(&(namespace.clone(), thing.clone()));
    changes.delete_prefix::<BaseRow>(&prefix);
    changes.delete_prefix::<OfferRow>(&prefix);
    changes.delete_prefix::<SaidRow>(&prefix);
}
