//! The tape of the namespace that goes up: opened once, since what it keeps goes on while its tenant is restarted.

use super::tape::Tape;
use crate::context::Context;
use broker::{Client, Recorder};
use parking_lot::Mutex;
use std::sync::Arc;
use store::ReadError;

/// See the module.
#[derive(Default)]
pub(crate) struct Tapes(Mutex<Option<Arc<Tape>>>);

impl Tapes {
    /// The tape of a client's namespace, which then keeps what is published there; `None` if it does not go up.
    pub(crate) fn open(
        &self,
        context: &Context,
        client: &Client,
    ) -> Result<Option<Arc<Tape>>, ReadError> {
        let Some(settings) = &context.settings.uplink else { return Ok(None) };
        if settings.namespace != *client.namespace() {
            return Ok(None);
        }
        let mut known = self.0.lock();
        if let Some(tape) = &*known {
            return Ok(Some(Arc::clone(tape)));
        }
        let store = &context.outside.store;
        let new = (Arc::clone(&context.outside.clock), context.random());
        let tape = Tape::open(store, client.namespace(), &context.settings.edge, settings, new)?;
        let tape = Arc::new(tape);
        client.set_recorder(Arc::clone(&tape) as Arc<dyn Recorder>);
        *known = Some(Arc::clone(&tape));
        Ok(Some(tape))
    }
}
