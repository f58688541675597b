//! Lets the linker of release builds fold functions that are the same in machine code: nearly 1 MB of the executable.
//!
//! Only where rustc brings its own linker, which knows how; function addresses are not unique in Rust anyway.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|it| it == value);
    let has_lld = is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu");
    // Whoever names a linker knows best what that takes.
    let is_named = std::env::var_os("RUSTC_LINKER").is_some();
    if has_lld && !is_named && is("PROFILE", "release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}
