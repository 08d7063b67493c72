//! `--cpu`: models and their features.

/// A checked `--cpu` argument.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CpuModel {}

impl std::str::FromStr for CpuModel {
    type Err = String;

    fn from_str(_: &str) -> Result<Self, String> {
        Ok(Self {})
    }
}
