//! The memory watermark: past it new work is refused, and what is there lives on.
//!
//! Every queue has its bound, but their sum may be more than the machine has. So the resident memory of the process is
//! looked at some times a second, and past the watermark clients that are new, subscriptions that are new, and messages
//! that would have to be kept are refused, until it has fallen a tenth below. Administrators and the platform itself
//! are never refused: somebody has to be able to act.
//!
//! An allocator keeps some of what is freed, so that resident memory may not fall when sessions and their queues do.
//! What these have held more when they held most therefore counts as free, within bounds.

use crate::broker::Spaces;
use crate::figures::Counters;
use crate::space::Shared;
use parking_lot::Mutex;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often it is looked at: what the fastest network brings meanwhile is far less than what is left free.
const PERIOD: Duration = Duration::from_millis(250);

/// What of the memory of the machine is the watermark, if nothing else is said. The rest is for the system, for its
/// cache of the store's files, for what comes in between two looks, and for what was thought to be free and is not.
const SHARE_PERCENT: u64 = 70;

/// The part of the watermark up to which resident memory is believed to be free.
const FREE_PART_MAX: u64 = 4;

/// What waits for one client in memory, at most, while the watermark is passed; further messages that are not kept in
/// the store are dropped for it and counted.
pub(crate) const QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// The watermark and the latest look.
#[derive(Debug)]
pub(crate) struct Watermark {
    /// In bytes; 0 if there is none.
    mark: u64,
    is_passed: AtomicBool,
    in_use: AtomicU64,
    freed: Mutex<Freed>,
}

impl Watermark {
    /// A watermark at `bytes_max`; with 0 it is a share of what the machine, or the control group, has.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let share = || machine_bytes(Path::new("/")).map(|bytes| bytes / 100 * SHARE_PERCENT);
        let mark = if bytes_max == 0 { share().unwrap_or(0) } else { bytes_max };
        let (is_passed, in_use) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { mark, is_passed, in_use, freed: Mutex::default() }
    }

    /// Whether new work is refused.
    pub(crate) fn is_passed(&self) -> bool {
        self.is_passed.load(Ordering::Relaxed)
    }

    /// Where it is, in bytes; 0 if there is none.
    pub(crate) fn mark(&self) -> u64 {
        self.mark
    }

    /// How much memory was in use at the latest look, in bytes.
    pub(crate) fn in_use(&self) -> u64 {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Whether so much resident memory is worth asking what the sessions hold.
    fn is_near(&self, resident: u64) -> bool {
        self.mark > 0 && resident >= self.mark / 4 * 3
    }

    /// Takes a look; says whether the watermark is passed, if that is new.
    fn observe(&self, resident: u64, held: u64) -> Option<bool> {
        let free = match self.is_near(resident) {
            true => self.freed.lock().look(resident, held).min(self.mark / FREE_PART_MAX),
            false => 0,
        };
        let in_use = resident.saturating_sub(free);
        self.in_use.store(in_use, Ordering::Relaxed);
        let was_passed = self.is_passed();
        let is_passed = decide(was_passed, in_use, self.mark);
        self.is_passed.store(is_passed, Ordering::Relaxed);
        (was_passed != is_passed).then_some(is_passed)
    }
}

/// Passed at the watermark, left a tenth below it, so that it does not flap.
fn decide(was_passed: bool, in_use: u64, mark: u64) -> bool {
    match (mark, was_passed) {
        (0, _) => false,
        (mark, true) => in_use > mark - mark / 10,
        (mark, false) => in_use >= mark,
    }
}

/// What has been freed and is still resident.
#[derive(Debug, Default)]
struct Freed {
    resident_before: u64,
    /// What sessions held when they held most, less what the allocator has given back since.
    held_most: u64,
}

impl Freed {
    fn look(&mut self, resident: u64, held: u64) -> u64 {
        let given_back = self.resident_before.saturating_sub(resident);
        self.resident_before = resident;
        self.held_most = self.held_most.saturating_sub(given_back).max(held);
        self.held_most - held
    }
}

/// Looks at the memory until the broker drains.
pub(crate) async fn watch(shared: Arc<Shared>, spaces: Arc<Spaces>) {
    let memory = &shared.memory;
    let mark = memory.mark();
    if mark == 0 || resident_bytes().is_none() {
        tracing::warn!("no memory watermark: this system does not say how much memory is used");
        return;
    }
    while !shared.is_draining.load(Ordering::Acquire) {
        // Without a figure (no descriptor is left to read it by, say) the latest verdict stands.
        let Some(resident) = resident_bytes() else {
            tokio::time::sleep(PERIOD).await;
            continue;
        };
        let held = match memory.is_near(resident) {
            true => spaces.all().iter().map(|space| space.held_bytes()).sum(),
            false => 0,
        };
        match memory.observe(resident, held) {
            Some(true) => {
                Counters::add(&shared.counters.memory_exceeded, 1);
                tracing::warn!(resident, held, mark, "memory is short: new work is refused");
            }
            Some(false) => tracing::info!(resident, held, mark, "memory suffices again"),
            None => {}
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// The resident memory of this process in bytes; `None` where the system does not say.
fn resident_bytes() -> Option<u64> {
    kib_of("VmRSS:", &fs::read_to_string("/proc/self/status").ok()?)
}

/// What this process may use at most, in bytes: the memory of the machine, or what the strictest of its control groups
/// (version 2) is given. Files are looked for below `root`.
fn machine_bytes(root: &Path) -> Option<u64> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = kib_of("MemTotal:", &meminfo)?;
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = PathBuf::from(own.unwrap_or_default());
    let limit_of = |group: &Path| {
        let limit = root.join("sys/fs/cgroup").join(group).join("memory.max");
        fs::read_to_string(limit).ok()?.trim().parse().ok()
    };
    let strictest: Option<u64> = own.ancestors().filter_map(limit_of).min();
    Some(strictest.map_or(total, |limit| limit.min(total)))
}

/// The value of a line such as `MemTotal: 1234 kB` (proc(5)), in bytes.
fn kib_of(name: &str, text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_passed_at_the_mark_and_left_a_tenth_below() {
        let watermark = Watermark::new(1000);
        assert_eq!(watermark.observe(999, 0), None);
        assert_eq!(watermark.observe(1000, 0), Some(true));
        assert!(watermark.is_passed());
        assert_eq!(watermark.observe(901, 0), None);
        assert_eq!(watermark.observe(900, 0), Some(false));
        assert!(!watermark.is_passed());
        assert_eq!(watermark.in_use(), 900);
        assert!(!decide(true, u64::MAX, 0));
    }

    #[test]
    fn sessions_that_hold_less_have_freed_memory_that_stays_resident() {
        let watermark = Watermark::new(1000);
        assert_eq!(watermark.observe(1000, 500), Some(true));
        assert_eq!(watermark.observe(1000, 450), None);
        assert_eq!(watermark.observe(1000, 400), Some(false));
        assert_eq!(watermark.in_use(), 900);
        // What is used again does not make the process larger.
        assert_eq!(watermark.observe(1000, 499), None);
        assert_eq!(watermark.observe(1000, 500), Some(true));
    }

    #[test]
    fn what_was_freed_is_believed_only_so_far() {
        let watermark = Watermark::new(1000);
        watermark.observe(1000, 900);
        assert_eq!(watermark.observe(1000, 0), Some(false));
        assert_eq!(watermark.in_use(), 750);
        assert_eq!(watermark.observe(1249, 0), None);
        assert_eq!(watermark.observe(1250, 0), Some(true));
        // What the allocator has given back is not freed a second time.
        let watermark = Watermark::new(1000);
        watermark.observe(1000, 500);
        watermark.observe(700, 200);
        assert_eq!(watermark.in_use(), 700);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn machine_and_process_have_some_memory() {
        let (machine, process) = (machine_bytes(Path::new("/")), resident_bytes());
        assert!(process.is_some_and(|bytes| bytes > 1 << 20), "{process:?}");
        assert!(machine > process, "{machine:?}");
        assert_eq!(Watermark::new(0).mark(), machine.unwrap_or(0) / 100 * SHARE_PERCENT);
    }

    #[test]
    fn the_strictest_control_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(machine_bytes(root.path()), None);
        write("proc/meminfo", "MemTotal:       2048 kB\nMemFree:  1 kB\n");
        assert_eq!(machine_bytes(root.path()), Some(2048 * 1024));
        write("proc/self/cgroup", "1:name=systemd:/\n0::/plant/broker\n");
        write("sys/fs/cgroup/plant/broker/memory.max", "max\n");
        assert_eq!(machine_bytes(root.path()), Some(2048 * 1024));
        write("sys/fs/cgroup/plant/memory.max", "1000000\n");
        assert_eq!(machine_bytes(root.path()), Some(1_000_000));
        write("sys/fs/cgroup/plant/broker/memory.max", "500000\n");
        assert_eq!(machine_bytes(root.path()), Some(500_000));
    }
}
