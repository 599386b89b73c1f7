//! The `plegcollect` program.

fn main() {}
