//! The secret from which the salts of names that do not exist are made up. It is kept, so that such a name looks the
//! same after a restart, as one that exists does.

use super::AuthError;
use crate::credential::system_namespace;
use crate::space::Shared;
use proto::Namespace;
use serde::{Deserialize, Serialize};
use store::{Changes, Row, RowError};

#[derive(Serialize, Deserialize)]
struct MadeUpRow {
    secret: [u8; 32],
}

impl Row for MadeUpRow {
    type Key = Namespace;
    const TABLE: &'static str = "made_up_salts";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }

    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json(version, bytes)
    }
}

/// The secret of this store. Must run inside a tokio runtime.
pub(super) fn read_or_make(shared: &Shared) -> Result<[u8; 32], AuthError> {
    let found = shared.store.read().and_then(|it| it.get::<MadeUpRow>(&system_namespace()));
    if let Some(row) = found.map_err(|error| AuthError(error.to_string()))? {
        return Ok(row.secret);
    }
    let mut secret = [0; 32];
    shared.entropy.fill(&mut secret);
    let mut changes = Changes::new();
    changes.put(&system_namespace(), &MadeUpRow { secret });
    // Nobody waits: if it is lost, the next start makes another.
    drop(shared.store.submit(changes));
    Ok(secret)
}
