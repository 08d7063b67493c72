//! Runs a configured machine: control socket, machine, main loop.

use crate::config::{MachineConfig, Media};
use crate::control;
use crate::image::{ImageError, snapshot};
use crate::machine::Machine;
use anyhow::Context;

/// Builds the machine and runs it until it ends.
///
/// # Errors
/// If it cannot be built or cannot continue.
pub fn launch(mut config: MachineConfig) -> anyhow::Result<()> {
    use_snapshot_indexes(&mut config)?;
    let socket = control::claim(&mut config)?;
    let (name, press_key, keymap) = (config.name.clone(), config.press_key_for_cd, config.keymap.unwrap_or_default());
    let mut machine = Machine::new(config)?;
    if socket.is_some() || press_key {
        let server = control::Server::new(machine.handle(), &name, keymap, socket, press_key);
        machine.add_service(Box::new(server.context("cannot serve the control socket")?));
    }
    machine.quit_on_signals()?;
    Ok(machine.run()?)
}

/// Gives each disk the format that the snapshot index beside its image has. The user need not know that a raw image is qcow2
/// since its first snapshot, and an older `format=raw` must not show the guest the overlay's tables. Cleans up after an
/// interrupted snapshot.
fn use_snapshot_indexes(config: &mut MachineConfig) -> Result<(), ImageError> {
    for drive in config.drives.values_mut().filter(|drive| drive.media == Media::Disk) {
        let Some(path) = &drive.path else { continue };
        if !drive.read_only && !drive.snapshot && path.exists() {
            snapshot::recover(path)?;
        }
        let Some(format) = snapshot::format_of(path)? else { continue };
        match (drive.format, format.for_drive()) {
            (Some(given), Some(found)) if given != found => {
                let why = format!("is {format} since its first snapshot: write format={format}, or leave it out");
                return Err(ImageError::Refused { path: path.clone(), why });
            }
            (_, found) => drive.format = found,
        }
    }
    Ok(())
}
