//! What a drive is to its channel: something that is given a command or an event and says what it wants next.

use super::ata::{Ata, AtaState};
use super::atapi::{Atapi, AtapiState};
use super::regs::{AtaError, AtaStatus, TaskFile, op};
use crate::{BlockError, VmTime};
use serde::{Deserialize, Serialize};

/// The most bytes that a drive keeps at a time.
pub const BUFFER_SIZE: usize = 64 << 10;

/// What a drive wants next.
#[derive(Debug)]
pub enum DriveAction {
    /// The command is over. `irq`: and says so.
    Done {
        /// Raises the interrupt.
        irq: bool,
    },
    /// The command is over with this in the error register.
    Failed(AtaError),
    /// The guest reads this by PIO, `block` bytes per DRQ block. Then [`Event::Sent`].
    PioIn {
        /// The bytes: not empty, at most [`BUFFER`].
        data: Vec<u8>,
        /// Bytes per DRQ block.
        block: usize,
    },
    /// The guest writes one DRQ block of this many bytes. Then [`Event::Received`].
    PioOut {
        /// Bytes: 1 to [`BUFFER`].
        len: usize,
        /// The request for data is announced by an interrupt.
        irq: bool,
    },
    /// The bus master moves this to guest memory. Then [`Event::Sent`].
    DmaIn(Vec<u8>),
    /// The bus master moves this many bytes out of guest memory. Then [`Event::Received`].
    DmaOut {
        /// Bytes: 1 to [`BUFFER`].
        len: usize,
    },
    /// The bus master moves a piece of the image to or from guest memory. Then [`Event::Host`].
    Dma(ImageExtent),
    /// A piece of the image is read. Then [`Event::Read`] or [`Event::Host`] with the error.
    Read {
        /// Byte offset.
        offset: u64,
        /// Bytes: 1 to [`BUFFER`].
        len: usize,
    },
    /// A piece of the image is written. Then [`Event::Host`].
    Write {
        /// Byte offset.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// The image is flushed. Then [`Event::Host`].
    Flush,
    /// A piece of the image is discarded. Then [`Event::Host`].
    Discard {
        /// Byte offset.
        offset: u64,
        /// Bytes.
        len: u64,
    },
}

/// A piece of the image that moves by DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageExtent {
    /// To the image.
    pub write: bool,
    /// Byte offset in the image of what is still to move.
    pub offset: u64,
    /// Bytes still to move.
    pub remaining: u64,
    /// Bytes that move together: a sector.
    pub sector_size: u32,
}

/// What became of a [`Step`].
#[derive(Debug)]
pub enum ActionResult {
    /// The guest has taken the data.
    Sent,
    /// The guest has given the data.
    Received(Vec<u8>),
    /// The host has read the data.
    Read(Vec<u8>),
    /// The host is done.
    Completed(Result<(), BlockError>),
    /// The step was lost when the machine was restored from a state that was saved in the middle of it.
    Lost,
}

/// Things that a drive can know of the world.
#[derive(Clone, Copy, Debug)]
pub struct CommandContext {
    /// Now.
    pub now: VmTime,
    /// It is device 1 of its channel.
    pub device1: bool,
}

/// A drive.
#[derive(Debug)]
pub struct Drive {
    /// Its registers.
    pub task: TaskFile,
    /// It has raised its interrupt, and nobody has read its status since.
    pub intrq: bool,
    /// Its inside.
    pub kind: DriveKind,
}

/// What kind of drive.
#[derive(Debug)]
pub enum DriveKind {
    /// A disk.
    Ata(Box<Ata>),
    /// A CD-ROM.
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
    /// A drive as it comes out of the box; [`Drive::hard_reset`] follows.
    pub fn new(kind: DriveKind) -> Self {
        Self { task: TaskFile::default(), intrq: false, kind }
    }

    /// Whether it is a packet device.
    pub fn is_packet(&self) -> bool {
        matches!(self.kind, DriveKind::Atapi(_))
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

    /// SRST, or EXECUTE DEVICE DIAGNOSTIC: whatever was under way is gone.
    pub fn soft_reset(&mut self) {
        match &mut self.kind {
            DriveKind::Ata(ata) => ata.soft_reset(),
            DriveKind::Atapi(atapi) => atapi.soft_reset(),
        }
        self.set_signature();
    }

    /// DEVICE RESET, which only packet devices have.
    pub fn device_reset(&mut self) {
        if let DriveKind::Atapi(atapi) = &mut self.kind {
            atapi.device_reset();
        }
        let device = self.task.device;
        self.set_signature();
        self.task.device = device;
    }

    /// Puts the signature into the registers (ATA/ATAPI-6, 9.12), and the diagnostic code "passed".
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

    /// The guest writes the command register. DEVICE RESET and EXECUTE DEVICE DIAGNOSTIC are the channel's.
    pub fn command(&mut self, context: CommandContext, opcode: u8) -> DriveAction {
        self.task.error = AtaError::new();
        self.task.status = AtaStatus::new().with_drdy(true).with_dsc(true);
        match &mut self.kind {
            DriveKind::Ata(ata) => ata.command(&mut self.task, context, opcode),
            DriveKind::Atapi(atapi) => {
                if matches!(opcode, op::IDENTIFY_DEVICE | op::READ_SECTORS) {
                    // So a driver that takes it for a disk learns better.
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

    /// What it asked for has happened.
    pub fn resume(&mut self, result: ActionResult) -> DriveAction {
        match &mut self.kind {
            DriveKind::Ata(ata) => ata.resume(&mut self.task, result),
            DriveKind::Atapi(atapi) => atapi.resume(&mut self.task, result),
        }
    }

    /// A DRQ block of `len` bytes begins.
    pub fn begin_drq_block(&mut self, len: usize, input: bool) {
        if let DriveKind::Atapi(atapi) = &self.kind {
            atapi.begin_drq_block(&mut self.task, len, input);
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

    /// Whether `state` is one that this drive can have.
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

    /// Takes a state that [`Drive::accepts`] accepts.
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
