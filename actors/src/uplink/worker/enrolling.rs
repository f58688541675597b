//! Comes in by an enrolment first, if the edge node has yet to be registered.

use super::Worker;
use crate::uplink::enrolment::{EnrolmentRow, Own, register};
use crate::uplink::report::UplinkPhase;
use broker::Client;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use store::Changes;
use tokio::time::Instant;

/// A registration that is under way.
pub(super) type Enrolling = BoxFuture<'static, Result<Own, String>>;

/// Waits for the end of a registration, if one is under way.
pub(super) async fn ended(enrolling: &mut Option<Enrolling>) -> Result<Own, String> {
    match enrolling {
        Some(enrolling) => enrolling.await,
        None => std::future::pending().await,
    }
}

impl Worker {
    /// Begins a registration if there has to be one. What it takes is kept before anybody is asked.
    pub(super) async fn begin_enrolment(&mut self) -> Result<(), String> {
        let Some(enrolment) = self.settings.enrolment.clone() else { return Ok(()) };
        let url = self.settings.remote.url.clone();
        let namespace = self.client.namespace().clone();
        let snapshot = self.context.outside.store.read().map_err(|it| it.to_string())?;
        let found = snapshot.get::<EnrolmentRow>(&namespace).map_err(|it| it.to_string())?;
        drop(snapshot);
        let row = match found.filter(|row| row.is_of(&enrolment, &url)) {
            Some(EnrolmentRow { own: Some(own), .. }) => {
                self.comes_in_by(own);
                return Ok(());
            }
            Some(row) => row,
            None => {
                let random = std::array::from_fn(|_| self.context.random());
                let row = EnrolmentRow::new(&enrolment, &url, random);
                keep(self.client.clone(), row.clone()).await?;
                row
            }
        };
        self.enrolling = Some(register(self.settings.clone(), self.edge.clone(), row).boxed());
        Ok(())
    }

    /// A registration has ended: the edge node comes in, or tries again.
    pub(super) async fn enrolled(&mut self, outcome: Result<Own, String>) {
        self.enrolling = None;
        let kept = match outcome {
            Ok(own) => self.keep_own(own).await,
            Err(reason) => Err(reason),
        };
        match kept {
            Ok(()) => {
                tracing::info!(edge = %self.edge, "registered at the hub");
                self.retry_at = Some(Instant::now());
                self.enter(UplinkPhase::Connecting, None);
            }
            Err(reason) => self.lost(format!("not registered: {reason}")),
        }
    }

    async fn keep_own(&mut self, own: Own) -> Result<(), String> {
        let namespace = self.client.namespace();
        let snapshot = self.context.outside.store.read().map_err(|it| it.to_string())?;
        let row = snapshot.get::<EnrolmentRow>(namespace).map_err(|it| it.to_string())?;
        drop(snapshot);
        let row = row.ok_or("what it has begun with is gone")?;
        let row = EnrolmentRow { own: Some(own.clone()), ..row };
        keep(self.client.clone(), row).await?;
        self.comes_in_by(own);
        Ok(())
    }

    fn comes_in_by(&mut self, Own { user, secret }: Own) {
        self.settings.enrolment = None;
        self.settings.remote.user_name = Some(user);
        self.settings.remote.secret = Some(secret);
    }
}

async fn keep(client: Client, row: EnrolmentRow) -> Result<(), String> {
    let mut changes = Changes::new();
    changes.put::<EnrolmentRow>(client.namespace(), &row);
    client.publish_durably(changes, Vec::new()).await.map_err(|error| error.to_string())
}
