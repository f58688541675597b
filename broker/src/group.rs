//! One shared subscription: a queue of its own, each of whose messages goes to one member (MQTT 5.0 4.8.2).
//!
//! To publishers a group is a session like any other: it stands once on the route, takes messages into its queue and,
//! if one of its members outlives its connection, into the store. A [`dispatcher`] takes them out and *lends* each to
//! a member that can send it at once; a message that no member has room for stays with the group. What is lent comes
//! back when the member acknowledges it, or is lost with its connection: then it is lent to another member, and if
//! nobody is connected it waits with the group. So the store holds a message once, in the queue of the group, until
//! somebody has acknowledged it. Messages go out in the order they came, those that came back first; which member has
//! which says [`strategy`], so one member sees the messages of a publisher in order, and the group as a whole may not.

mod dispatcher;
mod loan;
mod strategy;

pub(crate) use loan::Loan;
pub use strategy::SharedStrategy;

use crate::session::Session;
use crate::space::Shared;
use dispatcher::Dispatcher;
use loan::Returns;
use parking_lot::Mutex;
use proto::Qos;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::Durability;

/// One session in a group.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) session: Arc<Session>,
    /// The QoS granted.
    pub(crate) qos: Qos,
    pub(crate) retain_as_published: bool,
    pub(crate) subscription_ids: Option<Arc<[NonZeroU32]>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Group {
    /// What publishers see.
    session: Arc<Session>,
    members: Mutex<Arc<[Member]>>,
    returns: Arc<Returns>,
    is_ended: AtomicBool,
}

impl Group {
    /// A group without members, and the task that serves it. Must run inside a tokio runtime.
    pub(crate) fn start(
        session: Arc<Session>,
        durability: Durability,
        shared: &Arc<Shared>,
    ) -> Arc<Self> {
        let returns = Arc::new(Returns::new(Arc::clone(session.waker())));
        let group = Arc::new(Self {
            session,
            members: Mutex::new(Arc::default()),
            returns,
            is_ended: AtomicBool::new(false),
        });
        tokio::spawn(Dispatcher::new(Arc::clone(&group), durability, Arc::clone(shared)).run());
        group
    }

    /// What publishers see of it.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(crate) fn members(&self) -> Arc<[Member]> {
        Arc::clone(&self.members.lock())
    }

    /// Takes a member in, or its new options; says whether it is new.
    pub(crate) fn join(&self, member: Member) -> bool {
        // From now on its owner says how much room it has.
        member.session.room();
        let mut members = self.members.lock();
        let mut list: Vec<Member> = members.to_vec();
        let known = list.iter_mut().find(|it| it.session.key() == member.session.key());
        let is_new = known.is_none();
        match known {
            Some(known) => *known = member,
            None => list.push(member),
        }
        *members = list.into();
        drop(members);
        self.refresh();
        is_new
    }

    /// Lets a member go; says whether it was one.
    pub(crate) fn leave(&self, session: &Session) -> bool {
        let mut members = self.members.lock();
        let list: Vec<Member> =
            members.iter().filter(|it| it.session.key() != session.key()).cloned().collect();
        let was_member = list.len() < members.len();
        *members = list.into();
        drop(members);
        self.session.wake();
        was_member
    }

    /// The highest QoS that a member has been granted.
    pub(crate) fn qos(&self) -> Qos {
        self.members().iter().map(|it| it.qos).max().unwrap_or_default()
    }

    /// A member has come: from now on messages wait in memory for it.
    pub(crate) fn refresh(&self) {
        let members = self.members.lock();
        if !self.session.is_connected() && members.iter().any(|it| it.session.is_connected()) {
            let mut queue = self.session.queue();
            let is_durable = queue.is_durable();
            queue.connect(is_durable);
            self.session.set_connected(true);
        }
        drop(members);
        self.session.wake();
    }

    /// Lets go of what only a connected member needs, if there is none left; `sent_seq` is the highest row taken out.
    /// Says whether a member is connected.
    fn follow_presence(&self, sent_seq: u64) -> bool {
        let members = self.members.lock();
        if members.iter().any(|it| it.session.is_connected()) {
            return true;
        }
        if self.session.is_connected() {
            self.session.set_connected(false);
            self.session.queue().disconnect(sent_seq);
        }
        false
    }

    /// The last member has gone.
    pub(crate) fn end(&self) {
        self.is_ended.store(true, Ordering::Release);
        self.session.wake();
    }

    fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Acquire)
    }
}
