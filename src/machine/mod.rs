//! The board.

pub mod inputs;
pub mod limits;

/// Runs a machine until it ends; the process's exit status.
pub fn run(config: crate::config::MachineConfig) -> anyhow::Result<u8> {
    let _inputs = inputs::Inputs::open(&config)?;
    anyhow::bail!("no machine yet")
}
