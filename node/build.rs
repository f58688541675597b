//! Lets the linker of release builds fold functions that are the same in machine code, if it can: nearly 1 MB of the
//! executable. Function addresses are not unique in Rust anyway.
//!
//! Whether it can is tried out: the linker that rustc brings for Linux can, that of binutils cannot.

use std::env::var;
use std::path::Path;
use std::process::{Command, Stdio};

const FOLD: &str = "-Wl,--icf=all";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if var("PROFILE").is_ok_and(|it| it == "release") && can_fold() {
        println!("cargo::rustc-link-arg-bins={FOLD}");
    }
}

/// Links a program that does nothing, as this one is going to be.
fn can_fold() -> bool {
    let (Ok(rustc), Ok(target), Ok(folder)) = (var("RUSTC"), var("TARGET"), var("OUT_DIR")) else {
        return false;
    };
    let source = Path::new(&folder).join("nothing.rs");
    if std::fs::write(&source, "fn main() {}").is_err() {
        return false;
    }
    let flags = var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let flags = flags.split('\u{1f}').filter(|flag| !flag.is_empty());
    let linker = var("RUSTC_LINKER").map(|it| format!("-Clinker={it}"));
    let mut command = Command::new(rustc);
    command.args(["--target", &target, "-C", &format!("link-arg={FOLD}"), "-o"]);
    command.arg(Path::new(&folder).join("nothing")).args(flags).args(linker).arg(&source);
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}
