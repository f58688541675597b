//! What becomes of the OPC UA server itself, and of the value in it.

use crate::case::Bench;
use crate::rig::{Server, Tank, fingerprint};
use opcua::types::{DataValue, DateTime, StatusCode, Variant};
use serde_json::json;
use sim::tank::{Kind, OpcUaServer};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// `poll_interval_ms` of the tag.
const SAMPLING: Duration = Duration::from_millis(100);

impl Tank {
    /// Switches it off.
    pub(crate) async fn stop(&self) {
        let server = self.server.lock().take();
        if let Some(server) = server {
            server.kill().await;
        }
    }

    async fn restart(&self, pki: &Path, kind: Kind) {
        self.stop().await;
        let server = OpcUaServer::start_at(self.address, pki, kind).await.expect("a server");
        *self.server.lock() = Some(server);
    }

    /// Puts a value in place of the count, which rests from then on. Not right behind a count: of two values within
    /// one sampling interval this server may keep the second to itself, if nothing follows.
    async fn put(&self, value: DataValue) {
        self.is_held.store(true, Ordering::Relaxed);
        sleep(2 * SAMPLING).await;
        let now = Some(DateTime::now());
        let value = DataValue { source_timestamp: now, server_timestamp: now, ..value };
        let server = self.server.lock();
        let server = server.as_ref().expect("it runs");
        server.put("Count", value).expect("a variable");
    }

    pub(crate) async fn break_server(&self, server: Server) {
        let own = self.pki.own.clone();
        match server {
            Server::Killed | Server::Absent => self.stop().await,
            Server::Restarted => self.restart(&own, Kind::default()).await,
            Server::NamespacesMoved => {
                self.restart(&own, Kind { namespaces_before: 3, ..Kind::default() }).await;
            }
            Server::FewerItems => {
                self.restart(&own, Kind { items_max: 1, ..Kind::default() }).await;
            }
            Server::OtherCertificate | Server::NewCertificate => {
                self.restart(&self.pki.other, Kind::default()).await;
            }
            Server::OtherSecret => {
                self.restart(&own, Kind { secret: "another", ..Kind::default() }).await;
            }
            Server::NoOpenEndpoint => {
                self.restart(&own, Kind { is_open: false, ..Kind::default() }).await;
            }
            Server::NodeGone => {
                let server = self.server.lock();
                self.is_held.store(true, Ordering::Relaxed);
                server.as_ref().expect("it runs").remove("Count").expect("a variable");
            }
            Server::BadStatus => {
                let status = Some(StatusCode::BadDeviceFailure);
                self.put(DataValue { status, ..DataValue::new_now(1_u32) }).await;
            }
            Server::NotANumber => self.put(DataValue::new_now(f64::NAN)).await,
            Server::OtherType => self.put(DataValue::new_now(Variant::from("three"))).await,
        }
    }

    pub(crate) async fn mend_server(&mut self, server: Server, bench: &mut Bench) {
        let own = self.pki.own.clone();
        match server {
            Server::Restarted | Server::NamespacesMoved | Server::FewerItems => {}
            Server::NewCertificate => {
                let mut config = self.config.clone();
                config.as_object_mut().expect("an object").remove("trusted");
                let new = fingerprint(bench, &config).await;
                let old = config["trusted"].clone();
                config["trusted"] = json!([old, new]);
                if old.is_null() {
                    config["trusted"] = json!([new]);
                }
                let body = json!({ "driver": bench.name, "config": config });
                bench.admin.must("drivers", "update", body).await;
            }
            Server::BadStatus | Server::NotANumber | Server::OtherType => {
                self.is_held.store(false, Ordering::Relaxed);
            }
            Server::Killed
            | Server::Absent
            | Server::OtherCertificate
            | Server::OtherSecret
            | Server::NoOpenEndpoint
            | Server::NodeGone => {
                self.restart(&own, Kind::default()).await;
                self.is_held.store(false, Ordering::Relaxed);
            }
        }
    }
}
