//! Matching, without anything around it.

use crate::config::QueueFull;
use crate::message::Sender;
use crate::packet::{Options, RetainHandling};
use crate::permissions::Allowance;
use crate::router::cache::Cache;
use crate::router::{Router, Subscriber};
use crate::session::Session;
use crate::session::queue::Bounds;
use proto::{ClientId, Identity, Qos, Role, TopicFilter, TopicName, UserId};
use std::sync::Arc;
use store::SessionKey;

/// The subscriptions of one namespace, of clients that stay away.
#[derive(Default)]
pub struct Matching {
    router: Router,
    clients: Vec<Arc<Session>>,
}

/// The topics of one publisher.
#[derive(Default)]
pub struct Publisher(Cache);

impl Matching {
    /// As many clients, which may receive every topic that the platform does not keep to itself.
    pub fn new(clients: u64) -> Self {
        let bounds = Arc::new(Bounds {
            ready_max: 1,
            ready_bytes_max: 1,
            stored_max: 1,
            stored_bytes_max: 1,
            when_full: QueueFull::default(),
        });
        let session = |number| {
            let client_id = ClientId::parse(&format!("c{number}")).ok()?;
            let name = UserId::parse("app").ok()?;
            let identity = Identity::User { name, role: Role::App };
            let sender = Arc::new(Sender { client_id, identity });
            let (key, bounds) = (SessionKey(number), Arc::clone(&bounds));
            Some(Arc::new(Session::new(key, sender, false, bounds, &Arc::default())))
        };
        Self { router: Router::default(), clients: (1..=clients).filter_map(session).collect() }
    }

    /// Subscribes; says whether the subscription is new.
    pub fn subscribe(&self, client: usize, filter: &TopicFilter) -> bool {
        let options = Options {
            qos: Qos::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::AtSubscribe,
        };
        let session = Arc::clone(&self.clients[client]);
        self.router.subscribe(filter, Subscriber { session, options, id: None })
    }

    /// Unsubscribes; says whether there was a subscription.
    pub fn unsubscribe(&self, client: usize, filter: &TopicFilter) -> bool {
        self.router.unsubscribe(filter, &self.clients[client])
    }

    /// Matches a topic that nobody has used; answers how many get its messages.
    pub fn match_new(&self, topic: &TopicName) -> usize {
        self.router.way(topic).route().targets.len()
    }

    /// Finds the route of a topic as a publisher does for each message; answers how many get it.
    pub fn match_again(&self, publisher: &mut Publisher, topic: &TopicName) -> usize {
        let found = publisher.0.get_or_learn::<std::convert::Infallible>(
            topic.as_str().as_bytes(),
            &self.router,
            || Ok((topic.clone(), Some(Allowance::ALL))),
        );
        let Ok(known) = found;
        known.route(&self.router).targets.len()
    }
}
