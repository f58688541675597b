//! The outside of the tree as one value: store, broker, drivers, time and randomness.
//!
//! Nothing below reaches for anything else, so the same actors run on the real parts in `node`, and
//! on an in-memory store, a made-up driver and a clock of the test's own elsewhere.

use broker::Broker;
use drivers::mqtt::LocalBroker;
use drivers::trust::TrustList;
use drivers::{ConfigError, Driver, DriverConfig, Site, TagConfig};
use proto::{Clock, Entropy};
use std::sync::Arc;
use store::Store;
use tokio::runtime::Handle;

/// Opens a driver from its configuration; refuses what cannot work. Does no I/O.
pub type OpenDriver =
    Arc<dyn Fn(Opening<'_>) -> Result<Box<dyn Driver>, ConfigError> + Send + Sync>;

/// What a driver is opened with.
#[derive(Clone)]
pub struct Opening<'a> {
    /// The machine.
    pub config: &'a DriverConfig,
    /// Its points.
    pub tags: &'a [TagConfig],
    /// What its project has for it; without that some drivers can be checked only.
    pub project: Option<ForDrivers>,
}

/// What a project has for its drivers.
#[derive(Clone)]
pub struct ForDrivers {
    /// The node's own broker, for devices that are its clients.
    pub broker: Arc<dyn LocalBroker>,
    /// Which certificates of machines are trusted.
    pub trust: Arc<dyn TrustList>,
}

/// Everything that the supervision tree reaches.
#[derive(Clone)]
pub struct Outside {
    /// Durable state.
    pub store: Store,
    /// The bus.
    pub broker: Broker,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The way to machines.
    pub open_driver: OpenDriver,
    /// The runtime for what is below tenants; that of the rest, if there is none.
    pub threads: Option<Handle>,
}

impl Outside {
    /// The outside with the real drivers, which share `site`.
    pub fn new(
        store: Store,
        broker: Broker,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        site: Site,
    ) -> Self {
        let open_driver: OpenDriver = Arc::new(move |opening| {
            let mut site = site.clone();
            if let Some(project) = opening.project {
                site = site.with_broker(project.broker).with_trust(project.trust);
            }
            drivers::open(opening.config, opening.tags, &site)
        });
        Self { store, broker, clock, entropy, open_driver, threads: None }
    }
}
