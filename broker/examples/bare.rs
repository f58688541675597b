//! A bare broker on 127.0.0.1:1883 with a store in memory, for measuring the broker alone.

use broker::{Anonymous, Broker, BrokerConfig, ListenerConfig, ListenerKind};
use proto::{Clock, Entropy, Namespace, Role, TimestampMs};
use std::sync::Arc;

struct Outside;

impl Clock for Outside {
    #[expect(clippy::disallowed_methods, reason = "the real clock")]
    fn now(&self) -> TimestampMs {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        TimestampMs(since.map_or(0, |it| it.as_millis() as u64))
    }
}

impl Entropy for Outside {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the system gives random bytes");
    }
}

#[tokio::main]
async fn main() {
    let store = match std::env::args().nth(1) {
        Some(path) => store::Store::open(std::path::Path::new(&path)).unwrap(),
        None => store::Store::in_memory().unwrap(),
    };
    let namespace = Namespace::default();
    let anonymous = Some(Anonymous { namespace: namespace.clone(), role: Role::ProjectAdmin });
    let config = BrokerConfig { anonymous, ..BrokerConfig::default() };
    let broker = Broker::open(config, store, Arc::new(Outside), Arc::new(Outside)).unwrap();
    broker.mount(&namespace).unwrap();
    for (kind, port) in [(ListenerKind::Mqtt, 1883), (ListenerKind::WebSocket, 8083)] {
        let address = ([127, 0, 0, 1], port).into();
        broker.listen(ListenerConfig { kind, address }).await.unwrap();
    }
    println!("ready");
    std::future::pending::<()>().await;
}
