//! `--cpu`: models and their features.

/// A checked `--cpu` argument.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CpuModel {}
