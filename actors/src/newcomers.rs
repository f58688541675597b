//! Devices that come for the first time with a certificate of an authority that lets such devices register: the broker
//! asks on the way of a CONNECT, and the admin API of the namespace answers once the thing is kept.

use crate::admin::AdminMsg;
use crate::ask::ask;
use crate::context::Shared;
use broker::{Newcomer, Registering, Unregistered};
use parking_lot::Mutex;
use proto::{Namespace, RefusalCode};
use ractor::ActorRef;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Devices that are being registered at a time; further ones are told to come again.
const AT_ONCE_MAX: usize = 64;

/// The admin API of each namespace, as long as it is there.
#[derive(Default)]
pub(crate) struct Desks(Mutex<HashMap<Namespace, ActorRef<AdminMsg>>>);

impl Desks {
    /// This one serves the namespace from now on.
    pub(crate) fn open(&self, namespace: &Namespace, admin: ActorRef<AdminMsg>) {
        self.0.lock().insert(namespace.clone(), admin);
    }

    /// This one serves it no longer; another may by now.
    pub(crate) fn close(&self, namespace: &Namespace, admin: &ActorRef<AdminMsg>) {
        let mut desks = self.0.lock();
        if desks.get(namespace).is_some_and(|it| it.get_id() == admin.get_id()) {
            desks.remove(namespace);
        }
    }

    fn of(&self, namespace: &Namespace) -> Option<ActorRef<AdminMsg>> {
        self.0.lock().get(namespace).cloned()
    }
}

/// See the module.
pub(crate) struct Registrar {
    context: Shared,
    room: Arc<Semaphore>,
}

impl Registrar {
    pub(crate) fn new(context: Shared) -> Self {
        Self { context, room: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }
}

impl broker::Registrar for Registrar {
    fn register(&self, newcomer: Newcomer) -> Registering {
        let (context, room) = (self.context.clone(), Arc::clone(&self.room));
        Box::pin(async move {
            let Ok(_place) = room.try_acquire() else {
                context.counters.newcomers_delayed.increase();
                return Err(Unregistered::Unavailable);
            };
            let desk = context.desks.of(&newcomer.authority.0).ok_or(Unregistered::Unavailable)?;
            let timeout = context.call_timeout();
            match ask(&desk, |reply| AdminMsg::Newcomer(Box::new(newcomer), reply), timeout).await {
                Some(Ok(())) => Ok(()),
                Some(Err(refusal)) if refusal.code != RefusalCode::Unavailable => {
                    Err(Unregistered::Refused)
                }
                _ => Err(Unregistered::Unavailable),
            }
        })
    }
}
