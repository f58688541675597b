//! Versions that security advisories ask for: the lock file holds none that is older.
//!
//! Advisories since February 2025 (RustSec, <https://rustsec.org>) on crates that are in the lock file; older ones were
//! compared in whole (the decision on advisories). A machine without the Internet can check these.

use super::Violation;
use cargo_metadata::semver::Version;

/// The crate, the first version without the fault, the advisory.
const MENDED: [(&str, Version, &str); 7] = [
    ("anyhow", Version::new(1, 0, 103), "unsound Error::downcast_mut, June 2026"),
    ("bytes", Version::new(1, 11, 1), "RUSTSEC-2026-0007, overflow in BytesMut::reserve"),
    ("crossbeam-epoch", Version::new(0, 9, 20), "RUSTSEC-2026-0204, invalid pointer in fmt"),
    ("rustls", Version::new(0, 23, 45), "RUSTSEC-2026-0285, messages across encryption levels"),
    ("rustls-webpki", Version::new(0, 103, 13), "RUSTSEC-2026-0049, -0098, -0099, -0104"),
    ("time", Version::new(0, 3, 47), "RUSTSEC-2026-0009, stack exhaustion"),
    ("tracing-subscriber", Version::new(0, 3, 20), "RUSTSEC-2025-0055, escape sequences in logs"),
];

/// Packages of the lock file that are older than an advisory asks for.
pub fn faulty(lock: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut name = "";
    for (index, line) in lock.lines().enumerate() {
        let value = |key: &str| line.strip_prefix(key)?.strip_suffix('"');
        if let Some(it) = value("name = \"") {
            name = it;
        }
        let Some(version) = value("version = \"").and_then(|it| Version::parse(it).ok()) else {
            continue;
        };
        for (_, mended, advisory) in MENDED.iter().filter(|it| it.0 == name && version < it.1) {
            let what = format!("{name} {version} has a known fault, {mended} has not: {advisory}");
            violations.push(Violation::new("Cargo.lock", index + 1, what));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faulty_version_is_found() {
        let lock = |version| format!("[[package]]\nname = \"bytes\"\nversion = \"{version}\"\n");
        assert_eq!(faulty(&lock("1.11.0")).len(), 1);
        assert_eq!(faulty(&lock("1.11.0"))[0].line, 3);
        assert!(faulty(&lock("1.11.1")).is_empty());
        assert!(faulty(&lock("1.100.0")).is_empty());
    }
}
