//! The command line for a store of managed domains.
fn main() {}
