//! What every actor of one tree shares: the outside, the settings, the figures, and the run of the
//! node.

use crate::admin::Rooms;
use crate::audit::Audit;
use crate::backups::Backups;
use crate::bells::Bells;
use crate::bridge::status::Board;
use crate::edges::hotline::Hotline;
use crate::edges::things::due::DueThings;
use crate::figures::Counters;
use crate::model::ModelCache;
use crate::newcomers::Desks;
use crate::ports::Outside;
use crate::rules::Deeds;
use crate::settings::Settings;
use crate::uplink::Tapes;
use proto::TimestampMs;
use ractor::{Actor, ActorCell, ActorRef, SpawnErr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Shared by the whole tree; made once at its start.
pub(crate) struct Context {
    /// Store, broker, drivers, time and randomness.
    pub(crate) outside: Outside,
    /// Limits and policies.
    pub(crate) settings: Settings,
    /// What is counted.
    pub(crate) counters: Counters,
    /// Where what happens is recorded.
    pub(crate) audit: Audit,
    /// What is being backed up.
    pub(crate) backups: Backups,
    /// Where devices are registered that come for the first time.
    pub(crate) desks: Desks,
    /// How each bridge is.
    pub(crate) bridges: Board,
    /// What edge nodes are asked.
    pub(crate) hotline: Hotline,
    /// Things at edge nodes that have changed.
    pub(crate) due_things: DueThings,
    /// That drivers have changed.
    pub(crate) reconfigured: Bells,
    /// That rules have changed.
    pub(crate) rules_changed: Bells,
    /// Counts what operators have said of certificates of machines.
    pub(crate) trust_changed: watch::Sender<u64>,
    /// What rules have done.
    pub(crate) rules: Deeds,
    /// What goes up to the hub.
    pub(crate) tapes: Tapes,
    /// What is left of the quotas of projects.
    pub(crate) rooms: Rooms,
    /// The thing models in use.
    pub(crate) models: ModelCache,
    /// Tells this run of the node from every other: numbers of connections mean nothing beyond it.
    pub(crate) run: u64,
    started: Instant,
    numbers: AtomicU64,
}

/// The shared context.
pub(crate) type Shared = Arc<Context>;

impl Context {
    /// The context of a new tree.
    pub(crate) fn new(outside: Outside, settings: Settings, audit: Audit) -> Self {
        let mut run = [0; 8];
        outside.entropy.fill(&mut run);
        Self {
            outside,
            settings,
            counters: Counters::default(),
            audit,
            backups: Backups::default(),
            desks: Desks::default(),
            bridges: Board::default(),
            hotline: Hotline::default(),
            due_things: DueThings::default(),
            reconfigured: Bells::default(),
            rules_changed: Bells::default(),
            trust_changed: watch::Sender::default(),
            rules: Deeds::default(),
            tapes: Tapes::default(),
            rooms: Rooms::default(),
            models: ModelCache::default(),
            // 0 is the run of a row that never saw a connection.
            run: u64::from_be_bytes(run) | 1,
            started: Instant::now(),
            numbers: AtomicU64::new(1),
        }
    }

    /// Starts a child of a tenant. It runs, with its own children, apart from what serves clients, if the node has
    /// threads for that.
    pub(crate) async fn spawn_apart<A: Actor>(
        &self,
        actor: A,
        args: A::Arguments,
        parent: ActorCell,
    ) -> Result<ActorRef<A::Msg>, SpawnErr> {
        let start = A::spawn_linked(None, actor, args, parent);
        let (actor, _) = match &self.outside.threads {
            None => start.await?,
            Some(threads) => threads
                .spawn(start)
                .await
                .unwrap_or_else(|error| Err(SpawnErr::StartupFailed(error.into())))?,
        };
        Ok(actor)
    }

    /// Wall-clock time.
    pub(crate) fn now(&self) -> TimestampMs {
        self.outside.clock.now()
    }

    /// Milliseconds since the tree was started; never goes back.
    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A random number.
    pub(crate) fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        self.outside.entropy.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// A number that nothing else in this run has.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// How long one part waits for another.
    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.call_timeout_ms)
    }
}
