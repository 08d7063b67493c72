//! Control socket: QMP (QEMU Machine Protocol) server and client. Commands and events have QMP's names where QMP defines
//! them; commands that only pcvm has begin with `x-`.
//!
//! [`Server`] runs on the main loop and never blocks on a client: while a client does not read its replies, the server reads
//! no requests from it. A command that takes long (a screen dump) runs on a thread of its own.

pub mod client;
mod command;
mod media;
mod pointer;
pub mod press_key;
pub mod qmp;
mod server;
mod snapshot;
mod stats;
pub mod typist;

pub use server::Server;

use crate::config::{ControlSpec, MachineConfig};
use crate::socket_path::{self, SocketPath, SocketPathError};

/// Machines without a name of their own that can run at a time and have control sockets.
const UNNAMED: u32 = 1000;

/// Claims the control socket that the configuration names. A machine without a name of its own gets one that is free.
///
/// # Errors
/// If a socket that was asked for cannot be created.
pub fn claim(config: &mut MachineConfig) -> Result<Option<SocketPath>, SocketPathError> {
    match &config.control {
        ControlSpec::None => Ok(None),
        ControlSpec::Path(path) => Ok(Some(socket_path::claim_path(path)?)),
        ControlSpec::ByName { given: true } => {
            Ok(Some(socket_path::claim_name(&socket_path::directory()?, &config.name)?))
        }
        ControlSpec::ByName { given: false } => {
            let first = config.name.clone();
            let mut claimed = socket_path::directory().and_then(|dir| socket_path::claim_name(&dir, &first));
            for n in 2..=UNNAMED {
                if !matches!(claimed, Err(SocketPathError::NameTaken { .. })) {
                    break;
                }
                config.name = format!("{first}-{n}");
                claimed = socket_path::directory().and_then(|dir| socket_path::claim_name(&dir, &config.name));
            }
            match claimed {
                Ok(place) => Ok(Some(place)),
                // The user did not ask for a socket; a client that looks for the machine reports that it is missing.
                Err(SocketPathError::NoDirectory) => Ok(None),
                Err(why) => {
                    tracing::warn!("no control socket: {why}");
                    Ok(None)
                }
            }
        }
    }
}
