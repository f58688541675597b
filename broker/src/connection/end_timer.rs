//! The end of a connection at a given moment, such as that of the client's certificate.

use super::Connection;
use crate::reason::Reason;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// Ends a connection with 0xA0 when its time has come; dropped before, it does not. A task of its own, so that
/// connections without such an end carry nothing of it.
pub(crate) struct EndTimer(AbortHandle);

impl EndTimer {
    /// Starts the timer of a connection.
    pub(crate) fn start<S>(connection: &Connection<S>, wait: Duration) -> Self {
        let (live, session) = (Arc::clone(&connection.live), Arc::clone(&connection.session));
        let task = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            live.stop(Reason::MaximumConnectTime);
            session.wake();
        });
        Self(task.abort_handle())
    }
}

impl Drop for EndTimer {
    fn drop(&mut self) {
        self.0.abort();
    }
}
