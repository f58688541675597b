//! Has the linker of release builds make a smaller executable, if it can. Whether it can is tried out, with a program
//! that does nothing.
//!
//! - Functions that are the same in machine code are folded: nearly 1 MB. Function addresses are not unique in Rust
//!   anyway. The linker that rustc brings for Linux can do that, that of binutils cannot.
//! - What has to be relocated when it is loaded is listed in bits instead of entries of 24 bytes: 1.5 MB. The loader has
//!   to know that (glibc 2.36, musl 1.2.4), so the program is run as well, and nothing is assumed of other machines: one
//!   whose loader does not know it says so when the executable is started there.

use std::env::var;
use std::path::Path;
use std::process::{Command, Stdio};

const FOLD: &str = "-Wl,--icf=all";
const PACK: &str = "-Wl,-z,pack-relative-relocs";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if var("PROFILE").is_ok_and(|it| it == "release") {
        let is_native = var("HOST").is_ok_and(|host| var("TARGET").is_ok_and(|it| it == host));
        for (flag, is_known) in
            [(FOLD, links("fold", FOLD)), (PACK, is_native && links("pack", PACK) && runs("pack"))]
        {
            if is_known {
                println!("cargo::rustc-link-arg-bins={flag}");
            }
        }
    }
}

/// Links a program that does nothing, as this one is going to be.
fn links(name: &str, flag: &str) -> bool {
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
    command.args(["--target", &target, "-C", &format!("link-arg={flag}"), "-o"]);
    command.arg(Path::new(&folder).join(name)).args(flags).args(linker).arg(&source);
    succeeds(&mut command)
}

/// Runs the program that was linked.
fn runs(name: &str) -> bool {
    var("OUT_DIR").is_ok_and(|folder| succeeds(&mut Command::new(Path::new(&folder).join(name))))
}

fn succeeds(command: &mut Command) -> bool {
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}
