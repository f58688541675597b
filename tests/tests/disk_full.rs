//! A full disk: durable publishes are refused, everything else goes on, and space that returns is used at once.
//!
//! The disk is a small tmpfs, which takes root to mount; without it the test says so and shows nothing.

use manifold_tests::node::{Node, SECRET, Site};
use manifold_tests::wire::{Hello, Version, Wire};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::time::Instant;

/// The disk. The node keeps a reserve of it free.
const DISK_MIB: u64 = 128;

/// PUBACK 0x97, Quota exceeded.
const QUOTA_EXCEEDED: u8 = 0x97;

/// A file that takes the rest of the disk.
const BALLAST: &str = "ballast";

struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let size = format!("size={DISK_MIB}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .output();
        let is_mounted = mount.is_ok_and(|output| output.status.success());
        is_mounted.then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_it_cannot_keep_and_recovers() {
    let Some(disk) = Disk::mount() else {
        println!("not shown: a tmpfs cannot be mounted here, which takes root");
        return;
    };
    let site = Site::at(&disk.path().join("data"));
    let mut node = site.start().await;
    let mut away = node.client(&admin("away").persistent()).await;
    assert_eq!(away.subscribe("kept/#", 1).await, 1);
    away.leave().await;
    let mut bystander = node.client(&admin("bystander")).await;
    assert_eq!(bystander.subscribe("live/#", 1).await, 1);
    let mut publisher = node.client(&admin("publisher")).await;
    assert_eq!(publisher.publish_acked("kept/before", b"before").await, 0);

    fill(disk.path());
    let refused = until(&mut publisher, "kept/full", |code| code == QUOTA_EXCEEDED).await;
    assert!(refused, "the disk is full and a durable publish is acknowledged");
    assert_eq!(publisher.retain("kept/retained", b"full").await, QUOTA_EXCEEDED);
    still_passes(&mut publisher, &mut bystander).await;
    node.assert_alive();

    std::fs::remove_file(disk.path().join(BALLAST)).expect("the ballast is there");
    let taken = until(&mut publisher, "kept/after", |code| code == 0).await;
    assert!(taken, "there is space again and a durable publish is refused");
    node.kill().await;

    let node = site.start().await;
    let mut away = node.client(&admin("away").persistent()).await;
    assert!(away.is_session_present());
    let first = away.next_message().await;
    assert_eq!((first.topic.as_str(), first.text()), ("kept/before", "before"));
    end_is(&node, &mut away).await;
}

fn admin(client_id: &str) -> Hello {
    Hello::new(Version::V5, client_id).user("system/system/admin", SECRET)
}

/// Takes all the space there is.
fn fill(disk: &Path) {
    let mut file = std::fs::File::create(disk.join(BALLAST)).expect("a file can be made");
    let block = vec![0xA5; 1 << 20];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
}

/// Publishes until the answer is as wished, some seconds long.
async fn until(publisher: &mut Wire, topic: &str, is_wished: impl Fn(u8) -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if is_wished(publisher.publish_acked(topic, b"more").await) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

/// Messages that nothing has to be written for.
async fn still_passes(publisher: &mut Wire, bystander: &mut Wire) {
    for number in 0..50 {
        let text = number.to_string();
        assert_eq!(publisher.publish_acked("live/number", text.as_bytes()).await, 0);
        assert_eq!(bystander.next_message().await.text(), text);
    }
}

/// What was refused is not delivered; what was acknowledged after it, is.
async fn end_is(node: &Node, away: &mut Wire) {
    let mut publisher = node.client(&admin("marker")).await;
    assert_eq!(publisher.publish_acked("kept/end", b"end").await, 0);
    let rest = away.messages_until("kept/end").await;
    assert!(rest.iter().any(|message| message.topic == "kept/after"), "{rest:?}");
    assert!(rest.iter().all(|message| message.topic != "kept/retained"), "{rest:?}");
}
