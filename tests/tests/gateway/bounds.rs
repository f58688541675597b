//! What the gateway does at its bounds: sizes, places, times, quotas.

use manifold_tests::admin::Admin;
use manifold_tests::http::{Answer, Request};
use manifold_tests::node::{Node, SECRET, Site};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

fn list() -> Request {
    Request::get("/api/things/list").user("admin", SECRET)
}

/// A request whose body never comes to its end.
async fn unfinished(node: &Node) -> TcpStream {
    let request = Request::new("POST", "/ingest/plant/a").user("admin", SECRET);
    let mut stream = TcpStream::connect(node.http()).await.expect("HTTP is there");
    stream.write_all(request.head(10).as_bytes()).await.expect("it reads");
    stream.write_all(b"12345").await.expect("it reads");
    stream
}

/// Waits until the gateway has so many requests.
async fn has(node: &Node, requests: u64) {
    while node.figure("http_gateway_requests").await != requests {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_body_has_a_largest_size_and_nothing_of_a_larger_one_arrives() {
    let site = Site::new().with("http.body_bytes_max=4096");
    let node = site.start().await;
    let ingest = |bytes: usize| {
        let request = Request::new("POST", "/ingest/plant/a?retain=true").user("admin", SECRET);
        request.body(vec![b'x'; bytes])
    };
    for bytes in [4097, 5_000_000] {
        assert_eq!(ingest(bytes).send(&node).await.refusal().0, 413);
    }
    let kept = Request::get("/api/retained/get?topic=plant/a").user("admin", SECRET);
    assert_eq!(kept.send(&node).await.refusal().0, 404);
    assert_eq!(ingest(4096).send(&node).await.status, 204);
    assert_eq!(kept.send(&node).await.data()["bytes"], 4096);
}

#[tokio::test]
async fn what_the_broker_does_not_take_is_too_large_as_well() {
    let node = Site::new().with("limits.packet_bytes_max=4096").start().await;
    let request = Request::new("POST", "/ingest/plant/a").user("admin", SECRET);
    assert_eq!(request.body(vec![b'x'; 8192]).send(&node).await.refusal().0, 413);
}

#[tokio::test]
async fn past_its_places_and_its_time_a_request_is_refused_and_the_rest_goes_on() {
    let site = Site::new().with("http.requests_max=1").with("http.request_timeout_ms=1500");
    let node = site.start().await;
    let mut slow = unfinished(&node).await;
    has(&node, 1).await;
    let crowded = list().send(&node).await;
    assert_eq!(crowded.refusal().0, 503);
    assert!(crowded.header("retry-after").is_some());
    // Those who watch over the node are not in the way of the gateway's callers.
    assert!(node.get("/readyz").await.starts_with("HTTP/1.1 200"));
    assert_eq!(Answer::read(&mut slow).await.refusal().0, 504);
    assert_eq!(list().send(&node).await.status, 200);
    has(&node, 0).await;
    for (figure, count) in [("http_gateway_crowded_total", 1), ("http_gateway_timed_out_total", 1)]
    {
        assert_eq!(node.figure(figure).await, count, "{figure}");
    }
    let metrics = node.get("/metrics").await;
    for line in ["{reason=\"2xx\"} 1\n", "{reason=\"4xx\"} 0\n", "{reason=\"5xx\"} 2\n"] {
        assert!(metrics.contains(&format!("http_gateway_answers_total{line}")), "{metrics}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_behind() {
    let node = Site::new().start().await;
    let mut gone = Vec::new();
    for _ in 0..20 {
        gone.push(unfinished(&node).await);
    }
    has(&node, 20).await;
    drop(gone);
    has(&node, 0).await;
    while node.figure("broker_connections").await != 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_quotas_of_the_namespace_count() {
    let node = Site::new().with("limits.namespace.connections_max=1").start().await;
    let mut admin = Admin::enter(&node).await;
    let joe = admin.create_user("joe", "user").await;
    let request = Request::get("/api/things/list").user("joe", &joe);
    assert_eq!(request.send(&node).await.refusal().0, 429, "the operator has the only place");
    drop(admin);
    while node.figure("broker_connections").await != 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(request.send(&node).await.data()["items"], json!([]));
}

#[tokio::test]
async fn it_can_be_turned_off() {
    let node = Site::new().with("http.gateway=false").start().await;
    for path in ["/api/things/list", "/api/openapi.json", "/ingest/plant/a"] {
        let answer = Request::get(path).user("admin", SECRET).send(&node).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}
