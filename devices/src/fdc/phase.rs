//! Command, execution and result phases of the controller, and the parameters that commands set.

use super::command;
use super::transfer::Transfer;
use crate::time::VmTime;
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// The controller's phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// DOR holds the controller in reset.
    Reset,
    /// The controller starts after a reset, until `at`.
    Restart {
        /// When it accepts commands.
        at: VmTime,
    },
    /// Command phase, with the bytes so far. Idle without bytes.
    Command(Vec<u8>),
    /// The execution phase begins at `at`.
    Start {
        /// The command.
        command: Vec<u8>,
        /// When.
        at: VmTime,
    },
    /// The boot sector is read, which decides the disk's format, before the command is executed.
    BootSector {
        /// The command.
        command: Vec<u8>,
        /// Tag of the block request.
        tag: u64,
    },
    /// Execution phase.
    Execute(Box<Transfer>),
    /// Result phase.
    Result {
        /// The result bytes.
        bytes: Vec<u8>,
        /// How many have been read.
        at: usize,
    },
}

impl Phase {
    /// Command phase without a byte.
    pub const IDLE: Self = Self::Command(Vec::new());

    /// Whether a saved phase is one that register accesses can produce.
    pub fn is_valid(&self) -> bool {
        let complete = |command: &[u8]| {
            let first = command.first().copied().unwrap_or(0);
            let (opcode, len) = command::decode(first);
            opcode.has_execution() && command.len() == len
        };
        match self {
            Self::Reset | Self::Restart { .. } => true,
            Self::Command(bytes) => bytes.first().is_none_or(|&first| bytes.len() < command::decode(first).1),
            Self::Start { command, .. } | Self::BootSector { command, .. } => complete(command),
            Self::Execute(transfer) => transfer.is_valid(),
            Self::Result { bytes, at } => bytes.len() <= 10 && *at < bytes.len(),
        }
    }
}

/// Second parameter byte of CONFIGURE.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// FIFOTHR: the FIFO threshold, less one.
    #[bits(4)]
    pub threshold: u8,
    /// POLL: drive polling is off.
    pub no_polling: bool,
    /// EFIFO: the FIFO is off.
    pub fifo_disabled: bool,
    /// EIS: implied seeks.
    pub implied_seek: bool,
    __: bool,
}

impl Configure {
    /// After a reset: no FIFO, polling, no implied seeks.
    pub const RESET: Self = Self::new().with_fifo_disabled(true);
}

/// The command of a seek.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeekKind {
    /// SEEK.
    Absolute,
    /// RELATIVE SEEK.
    Relative,
    /// RECALIBRATE.
    Recalibrate,
}

/// A seek in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seek {
    /// When it ends.
    pub at: VmTime,
    /// Cylinders to move, negative towards track 0.
    pub by: i16,
    /// The present cylinder number at its end.
    pub to: u8,
    /// The command.
    pub kind: SeekKind,
    /// The head in ST0.
    pub head: u8,
}
