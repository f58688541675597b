//! The `$SYS` tree.

use crate::wire::Bench;
use broker::Policies;
use rmqtt_codec::types::QoS;
use std::collections::BTreeMap;

#[tokio::test]
async fn operators_of_the_whole_broker_read_its_figures_and_nobody_else() {
    let bench = Bench::start_by(Policies { sys_interval_secs: 1, ..Policies::default() }).await;
    let mut others = Vec::new();
    for user in ["admin", "app", "viewer"] {
        let mut client = bench.client(user, user).await;
        client.subscribe("$SYS/#", QoS::AtMostOnce).await;
        others.push(client);
    }
    let mut root = bench.client("root", "root").await;
    root.subscribe("#", QoS::AtMostOnce).await;
    root.subscribe("$SYS/broker/#", QoS::AtMostOnce).await;
    let first = root.expect_message().await;
    assert!(first.retain, "the latest ones come at once, like retained messages");
    let mut figures = BTreeMap::new();
    // Those of later turns come as they are published; the client count is right in one of them.
    while figures.get("$SYS/broker/clients/connected").is_none_or(|it| it != "4") {
        let message = root.expect_message().await;
        let value = String::from_utf8(message.payload.to_vec()).unwrap();
        figures.insert(message.topic.to_string(), value);
    }
    for name in ["uptime", "version", "messages/received", "retained messages/count"] {
        while !figures.contains_key(&format!("$SYS/broker/{name}")) {
            let message = root.expect_message().await;
            figures.insert(message.topic.to_string(), String::new());
        }
    }
    for client in &mut others {
        client.expect_silence().await;
    }
    assert_eq!(bench.broker.figures().retained, 0, "the store does not see them");
}
