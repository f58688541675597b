//! What a process costs: processor time and resident memory, read from `/proc`.
//!
//! Linux only; elsewhere, and for a process that is gone, the answer is nothing and the figure is
//! left out of the report.

use std::fs;

use anyhow::{Context, Result, bail};

/// Clock ticks per second in `/proc/<pid>/stat`: `USER_HZ`, 100 on every Linux we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The cost of a process at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// User and system time of all threads since the start, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory in KiB.
    pub resident_kib: u64,
    /// The most that it has been, in KiB.
    pub peak_kib: u64,
    /// Bytes written to disk; 0 where the system does not tell.
    pub written_bytes: u64,
}

/// The cost of the process `pid` so far.
#[must_use]
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    Some(Usage {
        cpu_seconds: cpu_seconds(&stat)?,
        resident_kib: value_of(&status, "VmRSS:")?,
        peak_kib: value_of(&status, "VmHWM:")?,
        written_bytes: value_of(&io, "write_bytes:").unwrap_or(0),
    })
}

/// The only process whose command name is `name`; none or several are refused.
pub fn pid_by_name(name: &str) -> Result<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot list processes")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|text| text.parse::<u32>().ok()) else {
            continue;
        };
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if comm.trim_end() == name {
            found.push(pid);
        }
    }
    match found[..] {
        [pid] => Ok(pid),
        [] => bail!("no process is named {name:?}"),
        _ => bail!("{} processes are named {name:?}, give one by --pid", found.len()),
    }
}

/// Fields 14 and 15 of `stat`; the command name before them may contain anything, even `)`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

/// The number behind a name at the beginning of a line.
fn value_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_command_name() {
        let stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("12 (x) S 1"), None);
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn resident_memory_is_found_by_its_name() {
        assert_eq!(value_of("VmSize:\t  900 kB\nVmRSS:\t  512 kB\n", "VmRSS:"), Some(512));
        assert_eq!(value_of("wchar: 9\nwrite_bytes: 4096\n", "write_bytes:"), Some(4096));
        assert_eq!(value_of("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_costs_something() {
        if cfg!(target_os = "linux") {
            assert!(usage(std::process::id()).unwrap().resident_kib > 0);
        }
        assert_eq!(usage(u32::MAX), None);
        assert!(pid_by_name("no such process name").is_err());
    }
}
