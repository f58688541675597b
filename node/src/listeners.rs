//! The MQTT listeners of a node, from their configuration to open sockets.

use crate::config::{Addresses, Config, TlsTable};
use anyhow::Context as _;
use broker::{Broker, Endpoint, ListenerConfig, ListenerKind, Tls};
use proto::Clock;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where clients have been told to come: the addresses bound, by what is spoken there.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    /// MQTT over TCP, of `listen.mqtt`.
    pub(crate) mqtt: Vec<SocketAddr>,
    /// MQTT over WebSocket, of `listen.ws`.
    pub(crate) ws: Vec<SocketAddr>,
}

/// Opens all of them, those in the clear first.
pub(crate) async fn open(
    broker: &Broker,
    config: &Config,
    clock: &dyn Clock,
) -> anyhow::Result<Bound> {
    let listen = &config.listen;
    let tls = Files { clock, common: &config.tls, loaded: None };
    let mut opening = Opening { broker, tls };
    let mqtt = opening.addresses("mqtt", ListenerKind::Mqtt, &listen.mqtt, false).await?;
    let ws = opening.addresses("ws", ListenerKind::WebSocket, &listen.ws, false).await?;
    opening.addresses("mqtts", ListenerKind::Mqtt, &listen.mqtts, true).await?;
    opening.addresses("wss", ListenerKind::WebSocket, &listen.wss, true).await?;
    if let Some((path, mode)) = listen.unix_socket() {
        let endpoint = Endpoint::Unix { path, mode };
        opening.open(ListenerConfig::new("unix", ListenerKind::Mqtt, endpoint)).await?;
    }
    for table in &listen.listener {
        let tls = match table.tls(&config.tls) {
            None => None,
            Some(own) => Some(opening.tls.get(own)?),
        };
        let name = table.client_name.or_else(|| table.tls(&config.tls).map(|it| it.client_name));
        for address in &table.address.0 {
            let mut listener = ListenerConfig::tcp(&table.name, table.kind.broker(), *address);
            listener.tls = tls.clone();
            listener.proxies.clone_from(&table.proxy_protocol);
            listener.client_name = name.map(|it| it.broker()).unwrap_or_default();
            listener.namespace.clone_from(&table.namespace);
            listener.connects_per_sec_max = table.connects_per_sec_max;
            if table.connections_max > 0 {
                listener.connections_max = table.connections_max;
            }
            opening.open(listener).await?;
        }
    }
    Ok(Bound { mqtt, ws })
}

struct Opening<'a> {
    broker: &'a Broker,
    tls: Files<'a>,
}

impl Opening<'_> {
    /// Listeners with nothing special on each of some addresses.
    async fn addresses(
        &mut self,
        name: &str,
        kind: ListenerKind,
        addresses: &Addresses,
        has_tls: bool,
    ) -> anyhow::Result<Vec<SocketAddr>> {
        let mut bound = Vec::new();
        for address in &addresses.0 {
            let mut listener = ListenerConfig::tcp(name, kind, *address);
            if has_tls {
                let common = self.tls.common;
                listener.tls = Some(self.tls.get(common)?);
                listener.client_name = common.client_name.broker();
            }
            bound.extend(self.open(listener).await?.address());
        }
        Ok(bound)
    }

    async fn open(&self, listener: ListenerConfig) -> anyhow::Result<Endpoint> {
        let what = format!("cannot listen for {} on {}", listener.name, listener.endpoint);
        self.broker.listen(listener).await.context(what)
    }
}

/// The files of TLS; those of `[tls]` are read once, however many listeners have them.
struct Files<'a> {
    clock: &'a dyn Clock,
    common: &'a TlsTable,
    loaded: Option<Arc<Tls>>,
}

impl Files<'_> {
    fn get(&mut self, table: &TlsTable) -> anyhow::Result<Arc<Tls>> {
        let is_common = std::ptr::eq(table, self.common);
        if let Some(loaded) = self.loaded.as_ref().filter(|_| is_common) {
            return Ok(Arc::clone(loaded));
        }
        let tls = Tls::load(table.broker(), self.clock.now()).context("cannot set up TLS")?;
        if is_common {
            self.loaded = Some(Arc::clone(&tls));
        }
        Ok(tls)
    }
}
