//! What the operating system says about this process (Linux; elsewhere nothing is told).

use super::{Figure, Number};
use std::fs;

/// Ticks of `/proc/<pid>/stat` in a second: `USER_HZ`, 100 on every Linux (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// The standard names of Prometheus client libraries; a figure that cannot be read is left out.
pub(super) fn figures() -> Vec<Figure> {
    let mut figures = Vec::new();
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident)
    {
        let name = "process_resident_memory_bytes";
        figures.push(Figure::gauge(name, "Resident memory.", Number::Whole(bytes)));
    }
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu) {
        let name = "process_cpu_seconds";
        let help = "User and system CPU time.";
        figures.push(Figure::counter(name, help, Number::Real(seconds)));
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        let name = "process_open_fds";
        let count = descriptors.count() as u64;
        figures.push(Figure::gauge(name, "Open file descriptors.", Number::Whole(count)));
    }
    figures
}

/// `VmRSS:     1234 kB` of `/proc/<pid>/status`, in bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Fields 14 and 15 of `/proc/<pid>/stat`, counted behind the command, which may hold blanks.
fn cpu(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut ticks = rest.split_whitespace().skip(11);
    let user: f64 = ticks.next()?.parse().ok()?;
    let system: f64 = ticks.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_as_proc_5_says() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   1234 kB\nVmData: 1 kB\n"), Some(1234 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 4 0 1 2 3";
        assert_eq!(cpu(stat), Some(2.0));
        assert_eq!(cpu("7 (x) S"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_its_figures() {
        let names: Vec<_> = figures().iter().map(|figure| figure.name).collect();
        assert_eq!(
            names,
            ["process_resident_memory_bytes", "process_cpu_seconds", "process_open_fds"]
        );
    }
}
