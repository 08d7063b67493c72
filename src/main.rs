//! The `pcvm` command.
fn main() {}
