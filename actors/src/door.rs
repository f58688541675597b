//! The door of an actor: its in-process client at the broker, and the way from the inbox into the
//! mailbox.
//!
//! A door outlives the actor behind it where its owner is the actor's supervisor. While the actor
//! is down what is at hand waits here, unacknowledged, and the rest waits in the broker, whose
//! window bounds how many are out at once. So nothing that a publisher was promised is lost by a
//! restart, and a mailbox never holds more of the broker's messages than the window.

use crate::context::Context;
use broker::{AttachOptions, Client, Delivery, Inbox};
use proto::{ClientId, Namespace, Qos, TopicFilter};
use ractor::{ActorRef, Message, MessagingErr};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The most deliveries that are one message to an actor which takes many at once.
const MANY: usize = 64;

/// How deliveries become messages of an actor.
pub(crate) enum Wrap<M> {
    /// Each is one.
    Each(fn(Delivery) -> M),
    /// What is there at a time is one.
    Many(fn(Vec<Delivery>) -> M),
}

/// An open door. Dropping it detaches the client.
pub(crate) struct Door<M> {
    client: Client,
    target: watch::Sender<Option<ActorRef<M>>>,
    task: JoinHandle<()>,
}

/// The namespace is not mounted, or is being unmounted.
#[derive(Debug, thiserror::Error)]
#[error("cannot attach to namespace {0}")]
pub(crate) struct NotAttached(Namespace);

impl<M: Message + Sync> Door<M> {
    /// Attaches the client of a part of the platform. Deliveries wait until [`Door::lead_to`] names
    /// an actor.
    pub(crate) fn open(
        context: &Context,
        namespace: &Namespace,
        part: &str,
        window: usize,
        wrap: Wrap<M>,
    ) -> Result<Self, NotAttached> {
        let not_attached = || NotAttached(namespace.clone());
        // A number of its own, since the client of an earlier actor may still be on its way out.
        let name = format!("$platform/{part}/{}", context.next_number());
        let client_id = ClientId::parse(&name).map_err(|_| not_attached())?;
        let broker = &context.outside.broker;
        let attached = broker.attach(namespace, client_id, AttachOptions { window });
        let (client, inbox) = attached.ok_or_else(not_attached)?;
        let (target, targets) = watch::channel(None);
        let task = tokio::spawn(run(inbox, targets, wrap));
        Ok(Self { client, target, task })
    }

    /// Has these topics delivered.
    pub(crate) fn subscribe(&self, filters: impl IntoIterator<Item = TopicFilter>) {
        for filter in filters {
            self.client.subscribe(filter, Qos::AtLeastOnce);
        }
    }

    /// The client, to publish with.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Names the actor that takes deliveries from now on.
    pub(crate) fn lead_to(&self, actor: ActorRef<M>) {
        self.target.send_replace(Some(actor));
    }
}

impl<M> Drop for Door<M> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run<M: Message + Sync>(
    mut inbox: Inbox,
    mut targets: watch::Receiver<Option<ActorRef<M>>>,
    wrap: Wrap<M>,
) {
    loop {
        let received = match wrap {
            Wrap::Each(wrap) => inbox.receive().await.map(wrap),
            Wrap::Many(wrap) => inbox.receive_many(MANY).await.map(wrap),
        };
        let Some(mut message) = received else { return };
        loop {
            let target = targets.borrow_and_update().clone();
            if let Some(actor) = target {
                match actor.cast(message) {
                    Ok(()) => break,
                    Err(MessagingErr::SendErr(unsent)) => message = unsent,
                    Err(_) => return,
                }
            }
            // The actor is gone, or not there yet; its supervisor names the next one.
            if targets.changed().await.is_err() {
                return;
            }
        }
    }
}
