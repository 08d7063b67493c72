//! Runs a configured machine: control socket, machine, main loop.

use crate::config::MachineConfig;
use crate::control;
use crate::machine::Machine;
use anyhow::Context;

/// Builds the machine and runs it until it ends.
///
/// # Errors
/// If it cannot be built or cannot continue.
pub fn launch(mut config: MachineConfig) -> anyhow::Result<()> {
    let socket = control::claim(&mut config)?;
    let (name, press_key) = (config.name.clone(), config.press_key_for_cd);
    let mut machine = Machine::new(config)?;
    if socket.is_some() || press_key {
        let server = control::Server::new(machine.handle(), &name, socket, press_key);
        machine.add_service(Box::new(server.context("cannot serve the control socket")?));
    }
    machine.quit_on_signals()?;
    Ok(machine.run()?)
}
