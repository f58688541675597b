//! Where the executables are: named by the environment, or built beside the tests.
//!
//! `MANIFOLD_BIN` and `MANIFOLD_SIM_BIN` name the executables to test, such as those of a release.
//! Without them they stand in the folder of the profile the tests run in; one that is missing, or older
//! than a file it is made of, is built first. So `cargo test` needs no step before it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The executable `manifold`.
pub fn manifold() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| find("MANIFOLD_BIN", "manifold-node", "manifold"))
}

/// The executable `manifold-sim`.
pub fn manifold_sim() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| find("MANIFOLD_SIM_BIN", "manifold-sim", "manifold-sim"))
}

fn find(variable: &str, package: &str, name: &str) -> PathBuf {
    if let Some(given) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        let given = PathBuf::from(given);
        assert!(given.is_file(), "{variable} names no file: {}", given.display());
        return given;
    }
    let profile = profile_folder();
    let path = profile.join(name);
    if !is_fresh(&path) {
        build(package, name, &profile);
    }
    path
}

/// The folder of the profile, such as `target/debug`, of which a test stands in `deps`.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the system knows the test's path");
    let folder = test.parent().and_then(Path::parent);
    folder.expect("a test stands in the folder deps of its profile").to_owned()
}

/// Whether the files that cargo lists beside the executable are of this workspace, which may share
/// its target folder with another, and none is newer.
fn is_fresh(path: &Path) -> bool {
    let (Some(built), Ok(list)) =
        (modified(path), std::fs::read_to_string(path.with_extension("d")))
    else {
        return false;
    };
    let Some((_, files)) = list.split_once(": ") else { return false };
    let workspace = crate::house::workspace();
    // A blank in a path is written with a backslash before it.
    let files = files.trim().replace("\\ ", "\u{0}");
    files.split_whitespace().map(|file| file.replace('\u{0}', " ")).all(|file| {
        let is_older = modified(Path::new(&file)).is_some_and(|time| time <= built);
        is_older && Path::new(&file).starts_with(&workspace)
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|it| it.modified()).ok()
}

fn build(package: &str, name: &str, profile: &Path) {
    let profile_name = match profile.file_name().and_then(|it| it.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let target = profile.parent().expect("a profile stands in the target folder");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--package", package, "--bin", name])
        .args(["--profile", profile_name])
        .arg("--target-dir")
        .arg(target)
        .current_dir(crate::house::workspace())
        .output()
        .expect("cargo runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo cannot build {name}:\n{told}");
}
