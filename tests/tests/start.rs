//! The start on an empty store, and what a node at rest costs.
//!
//! The figures of the release are measured on the release; here they are printed, and held against
//! bounds that only a defect reaches, in any profile and on a busy machine.

use manifold_tests::node::Site;
use std::time::Duration;

const START_UP_MAX: Duration = Duration::from_secs(10);

const RESIDENT_BYTES_MAX: u64 = 150 * 1024 * 1024;

#[tokio::test]
async fn an_empty_store_is_ready_soon_and_rests_small() {
    let mut node = Site::new().start().await;
    let resident_bytes = node.resident_bytes();
    println!("ready after {:?}, {} KiB resident", node.start_up(), resident_bytes / 1024);
    assert!(node.start_up() < START_UP_MAX);
    assert!(resident_bytes < RESIDENT_BYTES_MAX);
    for (path, status) in
        [("/healthz", "200"), ("/readyz", "200"), ("/metrics", "200"), ("/x", "404")]
    {
        let answer = node.get(path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    node.assert_alive();
    let (status, log) = node.terminate().await;
    assert_eq!(status.code(), Some(0), "{log}");
}
