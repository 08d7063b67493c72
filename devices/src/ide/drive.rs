//! A drive on an IDE channel: it receives commands and results, and returns the next action for the channel to perform.

use super::action::{ActionResult, CommandContext, DriveAction};
use super::ata::{Ata, AtaState};
use super::atapi::{Atapi, AtapiState};
use super::regs::{AtaError, AtaStatus, TaskFile, op};
use crate::{Tray, VmTime};
use serde::{Deserialize, Serialize};

/// A drive.
#[derive(Debug)]
pub struct Drive {
    /// Registers.
    pub task: TaskFile,
    /// The drive's interrupt is pending: raised, and the guest has not read Status since.
    pub intrq: bool,
    /// Disk or CD-ROM.
    pub kind: DriveKind,
}

/// The device behind a [`Drive`]'s registers.
#[derive(Debug)]
pub enum DriveKind {
    /// ATA disk.
    Ata(Box<Ata>),
    /// ATAPI CD-ROM drive.
    Atapi(Box<Atapi>),
}

/// [`Drive`] in a saved state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DriveState {
    task: TaskFile,
    intrq: bool,
    kind: DriveKindState,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum DriveKindState {
    Ata(AtaState),
    Atapi(AtapiState),
}

impl Drive {
    /// A drive before its first [`Drive::hard_reset`].
    pub fn new(kind: DriveKind) -> Self {
        Self { task: TaskFile::default(), intrq: false, kind }
    }

    /// Whether it is a packet device.
    pub fn is_packet(&self) -> bool {
        matches!(self.kind, DriveKind::Atapi(_))
    }

    /// The tray of a CD-ROM drive.
    pub fn tray(&self) -> Option<Tray> {
        match &self.kind {
            DriveKind::Ata(_) => None,
            DriveKind::Atapi(atapi) => Some(atapi.tray()),
        }
    }

    /// RESET#.
    pub fn hard_reset(&mut self) {
        let Self { task: _, intrq: _, kind } = self;
        match kind {
            DriveKind::Ata(ata) => ata.hard_reset(),
            DriveKind::Atapi(atapi) => atapi.hard_reset(),
        }
        self.set_signature();
    }

    /// SRST or EXECUTE DEVICE DIAGNOSTIC: aborts the active command.
    pub fn soft_reset(&mut self) {
        match &mut self.kind {
            DriveKind::Ata(ata) => ata.soft_reset(),
            DriveKind::Atapi(atapi) => atapi.soft_reset(),
        }
        self.set_signature();
    }

    /// DEVICE RESET, which only packet devices implement.
    pub fn device_reset(&mut self) {
        if let DriveKind::Atapi(atapi) = &mut self.kind {
            atapi.device_reset();
        }
        let device = self.task.device;
        self.set_signature();
        self.task.device = device;
    }

    /// Sets the registers to the device signature (ATA/ATAPI-6, 9.12) and the diagnostic code "passed".
    fn set_signature(&mut self) {
        let (high, mid, status) = match self.kind {
            DriveKind::Ata(_) => (0, 0, AtaStatus::new().with_drdy(true).with_dsc(true)),
            DriveKind::Atapi(_) => (0xeb, 0x14, AtaStatus::new()),
        };
        self.intrq = false;
        self.task = TaskFile { error: AtaError::PASSED, status, ..TaskFile::default() };
        self.task.sector_count.set(1);
        self.task.lba_low.set(1);
        self.task.lba_mid.set(mid);
        self.task.lba_high.set(high);
    }

    /// Starts a command. The channel handles DEVICE RESET and EXECUTE DEVICE DIAGNOSTIC itself.
    pub fn command(&mut self, context: CommandContext, opcode: u8) -> DriveAction {
        self.task.error = AtaError::new();
        self.task.status = AtaStatus::new().with_drdy(true).with_dsc(true);
        match &mut self.kind {
            DriveKind::Ata(ata) => ata.command(&mut self.task, context, opcode),
            DriveKind::Atapi(atapi) => {
                if matches!(opcode, op::IDENTIFY_DEVICE | op::READ_SECTORS) {
                    // A packet device aborts these with its signature, by which drivers identify it (ATA/ATAPI-6,
                    // 8.15).
                    let device = self.task.device;
                    self.set_signature();
                    self.task.device = device;
                    self.task.status = AtaStatus::new().with_drdy(true).with_dsc(true);
                    return DriveAction::Failed(AtaError::ABORT);
                }
                atapi.command(&mut self.task, context, opcode)
            }
        }
    }

    /// Continues the active command with the result of its last action.
    pub fn resume(&mut self, now: VmTime, result: ActionResult) -> DriveAction {
        match &mut self.kind {
            DriveKind::Ata(ata) => ata.resume(&mut self.task, result),
            DriveKind::Atapi(atapi) => atapi.resume(&mut self.task, now, result),
        }
    }

    /// Sets the registers for a DRQ block of `len` bytes.
    pub fn begin_drq_block(&mut self, len: usize, input: bool) {
        if let DriveKind::Atapi(atapi) = &self.kind {
            atapi.begin_drq_block(&mut self.task, len, input);
        }
    }

    /// Sets the registers for a DMA data phase.
    pub fn begin_dma(&mut self, input: bool) {
        if let DriveKind::Atapi(atapi) = &self.kind {
            atapi.begin_dma(&mut self.task, input);
        }
    }

    /// For a saved state.
    pub fn save(&self) -> DriveState {
        let Self { task, intrq, kind } = self;
        DriveState {
            task: *task,
            intrq: *intrq,
            kind: match kind {
                DriveKind::Ata(ata) => DriveKindState::Ata(ata.save()),
                DriveKind::Atapi(atapi) => DriveKindState::Atapi(atapi.save()),
            },
        }
    }

    /// Whether `state` is valid for this drive.
    pub fn accepts(&self, state: &DriveState) -> bool {
        let DriveState { task, intrq: _, kind } = state;
        !task.status.bsy()
            && !task.status.drq()
            && match (&self.kind, kind) {
                (DriveKind::Ata(ata), DriveKindState::Ata(state)) => ata.accepts(state),
                (DriveKind::Atapi(atapi), DriveKindState::Atapi(state)) => atapi.accepts(state),
                _ => false,
            }
    }

    /// Restores a state that [`Drive::accepts`] has accepted.
    pub fn load(&mut self, state: DriveState) {
        let DriveState { task, intrq, kind } = state;
        self.task = task;
        self.intrq = intrq;
        match (&mut self.kind, kind) {
            (DriveKind::Ata(ata), DriveKindState::Ata(state)) => ata.load(state),
            (DriveKind::Atapi(atapi), DriveKindState::Atapi(state)) => atapi.load(state),
            _ => {}
        }
    }
}
