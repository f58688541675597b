//! A running node: store, broker, actors and listeners, started in this order, ended in reverse.
//!
//! A start that fails leaves nothing behind but the files of the store. [`Hub::stop`] has a
//! deadline for each of its steps: actors finish what they have taken, clients are told (DISCONNECT
//! 0x8B), the store writes what it has and closes. Whatever was acknowledged is durable at any
//! moment, so a deadline that passes costs courtesy, not data.

use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::{HttpListener, Pages, Phase, Vitals};
use crate::listeners::{self, Bound};
use crate::metrics;
use crate::outside::{SystemClock, SystemEntropy};
use crate::workers::OfActors;
use actors::{FirstAdmin, Outside, Platform, Settings, Site};
use anyhow::Context as _;
use broker::{Broker, BrokerConfig};
use proto::{Clock, Entropy};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Store;

/// For the actors to finish what they have taken.
const ACTORS_DEADLINE: Duration = Duration::from_millis(1_500);

/// For the clients to be told.
const DRAIN_DEADLINE: Duration = Duration::from_millis(1_500);

/// For the store to write what it has. With the other two it stays below the 5 s of SIGTERM.
const STORE_DEADLINE: Duration = Duration::from_millis(1_000);

/// The actors, shared with probes and metrics, which are still answered when they have stopped.
type SharedPlatform = Arc<Mutex<Option<Platform>>>;

/// A running node.
pub(crate) struct Hub {
    store: Store,
    broker: Broker,
    platform: SharedPlatform,
    /// What most of the actors run on.
    _actors: OfActors,
    vitals: Arc<Vitals>,
    http: Vec<HttpListener>,
    bound: Bound,
}

impl Hub {
    /// Starts everything; when it returns the node is ready, unless it returns an error.
    ///
    /// `on_first_admin` is told of an administrator that this start has made, at once: a start that
    /// fails later must not take its secret along.
    pub(crate) async fn start(
        config: &Config,
        admin_secret: Option<String>,
        on_first_admin: impl FnOnce(&FirstAdmin),
    ) -> anyhow::Result<Self> {
        let path = config.data.store_path();
        let interval = config.data.sync_interval();
        let store = tokio::task::spawn_blocking(move || Store::open_with(&path, interval))
            .await?
            .context("cannot open the store")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let broker = Broker::open(
            broker_config(config),
            store.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        )
        .context("cannot start the broker")?;
        let site = Site::new(&config.data.dir);
        let actors = OfActors::start()?;
        let mut outside = Outside::new(store.clone(), broker.clone(), clock, entropy, site);
        outside.threads = actors.handle();
        let edge = config.edge.name();
        let uplink = config.uplink.read(&edge)?;
        let settings = Settings { edge, uplink, ..settings(config, admin_secret) };
        let platform = actors::start(outside, settings).await.context("cannot start the actors")?;
        if let Some(admin) = platform.first_admin() {
            on_first_admin(admin);
        }
        let platform = Arc::new(Mutex::new(Some(platform)));
        let vitals = vitals(&store, &broker, &platform);
        let (http, bound) = (Vec::new(), Bound::default());
        let mut hub = Self { store, broker, platform, _actors: actors, vitals, http, bound };
        match hub.listen(config).await {
            Ok(()) => Ok(hub),
            Err(error) => {
                hub.stop().await;
                Err(error)
            }
        }
    }

    async fn listen(&mut self, config: &Config) -> anyhow::Result<()> {
        let gateway = || Gateway::new(&self.broker, &config.http, &self.vitals.gateway);
        let gateway = config.http.gateway.then(gateway);
        let (vitals, config_of_http) = (Arc::clone(&self.vitals), config.http.clone());
        let pages = Pages { vitals, gateway, config: config_of_http };
        for address in &config.listen.http.0 {
            let listener = HttpListener::bind(*address, pages.clone());
            let why = || format!("cannot listen for http on {address}");
            self.http.push(listener.await.with_context(why)?);
        }
        self.bound = listeners::open(&self.broker, config, &SystemClock).await?;
        self.vitals.enter(Phase::Ready);
        Ok(())
    }

    /// Ends everything in order, each step within its deadline.
    pub(crate) async fn stop(self) {
        self.vitals.enter(Phase::Draining);
        self.broker.stop_accepting();
        let platform = lock(&self.platform).take();
        if let Some(platform) = platform
            && !platform.stop(ACTORS_DEADLINE).await
        {
            tracing::warn!("not all actors ended in time; what was acknowledged is safe");
        }
        self.broker.drain(DRAIN_DEADLINE).await;
        match tokio::time::timeout(STORE_DEADLINE, self.store.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "cannot close the store"),
            Err(_) => tracing::warn!("the store is still writing; what was acknowledged is safe"),
        }
    }

    /// Reads again what may change while the node runs; the log says what became of it.
    pub(crate) async fn reload(&self) {
        tracing::info!("reading files again");
        let broker = self.broker.clone();
        // It reads from the disk. One that cannot be waited for has said what it did in the log.
        let _ = tokio::task::spawn_blocking(move || broker.reload()).await;
    }

    /// In-process clients come from here.
    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Where MQTT over TCP is spoken.
    pub(crate) fn mqtt(&self) -> &[SocketAddr] {
        &self.bound.mqtt
    }

    /// Where MQTT over WebSocket is spoken.
    pub(crate) fn ws(&self) -> &[SocketAddr] {
        &self.bound.ws
    }

    /// Where HTTP is spoken.
    pub(crate) fn http(&self) -> Vec<SocketAddr> {
        self.http.iter().map(HttpListener::address).collect()
    }
}

fn vitals(store: &Store, broker: &Broker, platform: &SharedPlatform) -> Arc<Vitals> {
    let is_serving = {
        let platform = Arc::clone(platform);
        move || lock(&platform).as_ref().is_some_and(Platform::is_ready)
    };
    let (store, broker, platform) = (store.clone(), broker.clone(), Arc::clone(platform));
    let metrics = move |vitals: &Vitals| {
        let actors = lock(&platform).as_ref().map(Platform::figures).unwrap_or_default();
        metrics::text(metrics::figures(&store, &broker, &actors, vitals))
    };
    Vitals::new(is_serving, metrics)
}

/// Nothing panics while it holds the lock, and an `Option` cannot be left half changed.
fn lock(platform: &SharedPlatform) -> MutexGuard<'_, Option<Platform>> {
    platform.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settings(config: &Config, admin_secret: Option<String>) -> Settings {
    Settings {
        admin_secret,
        audit_keep_days: config.audit.keep_days,
        audit_records_max: config.audit.records_max,
        backup_dir: Some(config.backup.directory(&config.data.dir)),
        backups_max: config.backup.count_max,
        ..config.limits.actors()
    }
}

fn broker_config(config: &Config) -> BrokerConfig {
    let anonymous = config.security.strangers();
    let (limits, policies) = (config.limits.broker(), config.broker.policies());
    let (auth, promises) = (config.security.broker(), config.data.promises());
    let quotas = config.limits.quotas();
    BrokerConfig { limits, policies, anonymous, auth, promises, quotas }
}
