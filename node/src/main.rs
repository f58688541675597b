//! The executable `manifold`.

fn main() {}
