//! An ATA disk (ATA/ATAPI-6, T13 1410D; ATA/ATAPI-7 for FUA and ACS-2 for TRIM).
//!
//! Writes are on their way to the image before the command ends; with the write cache off (SET FEATURES 82h) or with
//! FUA they are flushed before it ends, too.
//!
//! A drive in SLEEP mode wakes up at any command, not only at a reset.

mod address;
mod capacity;
mod features;
mod identify;
mod power;
mod smart;
mod transfer;
mod trim;

use super::drive::{BUFFER, Env, Event, Step};
use super::regs::{Error, SECTOR, TaskFile, op};
use crate::BlockError;
pub(super) use features::TransferMode;
pub(super) use identify::{FIRMWARE, finish, reset_result, text};
pub(super) use power::Power;

use serde::{Deserialize, Serialize};
use smart::Smart;
use transfer::Run;
use trim::Trim;

/// The most sectors that READ and WRITE MULTIPLE move per DRQ block.
const MAX_MULTIPLE: u8 = 16;
/// The most sectors that can be addressed: 48 bits, less the count that has to fit beside it.
const MAX_SECTORS: u64 = (1 << 48) - 1;

/// A disk.
#[derive(Debug)]
pub struct Ata {
    /// Sectors there are.
    sectors: u64,
    read_only: bool,
    serial: String,
    model: String,
    state: AtaState,
}

/// What the guest can change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtaState {
    /// CHS translation (INITIALIZE DEVICE PARAMETERS).
    heads: u8,
    sectors_per_track: u8,
    /// Sectors per DRQ block of READ and WRITE MULTIPLE; 0: off.
    multiple: u8,
    mode: TransferMode,
    write_cache: bool,
    look_ahead: bool,
    /// A software reset brings back the defaults (SET FEATURES CCh).
    revert: bool,
    power: Power,
    smart: Smart,
    /// Sectors that can be reached (SET MAX ADDRESS).
    visible: u64,
    /// The command before was READ NATIVE MAX ADDRESS, which SET MAX ADDRESS wants.
    native_max_read: bool,
    /// READ and WRITE BUFFER.
    buffer: Vec<u8>,
    job: Job,
}

/// The command that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Job {
    #[default]
    None,
    /// A reply of one DRQ block.
    Reply,
    ReadPio(Run),
    WritePio(Run),
    Dma(Run),
    Verify(Run),
    /// The last flush of a write, or a flush by itself.
    Flush,
    WriteBuffer,
    SmartLog {
        address: u8,
        at: u8,
        sectors: u8,
    },
    TrimList,
    Trim(Trim),
}

impl AtaState {
    fn power_on(sectors: u64) -> Self {
        let (heads, sectors_per_track) = address::default_geometry(sectors);
        Self {
            heads,
            sectors_per_track,
            multiple: MAX_MULTIPLE,
            mode: TransferMode::default(),
            write_cache: true,
            look_ahead: true,
            revert: false,
            power: Power::Active,
            smart: Smart::default(),
            visible: sectors,
            native_max_read: false,
            buffer: vec![0; SECTOR as usize],
            job: Job::None,
        }
    }
}

impl Ata {
    /// A disk; see [`super::DriveSpec::Disk`].
    pub fn new(sectors: u64, read_only: bool, serial: &str, model: &str) -> Self {
        let sectors = sectors.clamp(1, MAX_SECTORS);
        Self { sectors, read_only, serial: serial.into(), model: model.into(), state: AtaState::power_on(sectors) }
    }

    /// RESET#.
    pub fn hard_reset(&mut self) {
        self.state = AtaState::power_on(self.sectors);
    }

    /// SRST.
    pub fn soft_reset(&mut self) {
        if self.state.revert {
            let fresh = AtaState::power_on(self.sectors);
            // SMART and the capacity are not among the defaults that come back.
            let AtaState { smart, visible, mode, revert, .. } = &self.state;
            self.state = AtaState { smart: smart.clone(), visible: *visible, mode: *mode, revert: *revert, ..fresh };
        }
        self.state.power = Power::Active;
        self.state.job = Job::None;
        self.state.native_max_read = false;
    }

    /// The guest writes the command register.
    pub fn command(&mut self, task: &mut TaskFile, env: Env, opcode: u8) -> Step {
        let native_max_read = std::mem::take(&mut self.state.native_max_read);
        self.state.job = Job::None;
        if !power::is_power_command(opcode) && opcode != op::NOP {
            self.state.power = Power::Active;
        }
        let step = match opcode {
            op::IDENTIFY => self.reply(self.identify(env)),
            op::READ_SECTORS | op::READ_SECTORS_NO_RETRY => self.read_pio(task, false, 1),
            op::READ_SECTORS_EXT => self.read_pio(task, true, 1),
            op::READ_MULTIPLE => self.read_pio(task, false, self.state.multiple),
            op::READ_MULTIPLE_EXT => self.read_pio(task, true, self.state.multiple),
            op::WRITE_SECTORS | op::WRITE_SECTORS_NO_RETRY | op::WRITE_VERIFY => self.write_pio(task, false, 1, false),
            op::WRITE_SECTORS_EXT => self.write_pio(task, true, 1, false),
            op::WRITE_MULTIPLE => self.write_pio(task, false, self.state.multiple, false),
            op::WRITE_MULTIPLE_EXT => self.write_pio(task, true, self.state.multiple, false),
            op::WRITE_MULTIPLE_FUA_EXT => self.write_pio(task, true, self.state.multiple, true),
            op::READ_DMA | op::READ_DMA_NO_RETRY => self.dma(task, false, false, false),
            op::READ_DMA_EXT => self.dma(task, true, false, false),
            op::WRITE_DMA | op::WRITE_DMA_NO_RETRY => self.dma(task, false, true, false),
            op::WRITE_DMA_EXT => self.dma(task, true, true, false),
            op::WRITE_DMA_FUA_EXT => self.dma(task, true, true, true),
            op::VERIFY | op::VERIFY_NO_RETRY => self.verify(task, false),
            op::VERIFY_EXT => self.verify(task, true),
            op::SEEK..=op::SEEK_LAST => self.seek(task),
            op::RECALIBRATE..=op::RECALIBRATE_LAST | op::SECURITY_FREEZE_LOCK => Ok(Step::Done { irq: true }),
            op::INITIALIZE_PARAMETERS => self.initialize_parameters(task),
            op::SET_MULTIPLE => self.set_multiple(task),
            op::SET_FEATURES => self.set_features(task),
            op::FLUSH_CACHE | op::FLUSH_CACHE_EXT => self.flush(),
            op::DATA_SET_MANAGEMENT => self.data_set_management(task),
            op::READ_NATIVE_MAX => self.read_native_max(task, false),
            op::READ_NATIVE_MAX_EXT => self.read_native_max(task, true),
            op::SET_MAX => self.set_max(task, false, native_max_read),
            op::SET_MAX_EXT => self.set_max(task, true, native_max_read),
            op::SMART => self.smart(task, env),
            op::READ_BUFFER => self.reply(self.state.buffer.clone()),
            op::WRITE_BUFFER => {
                self.state.job = Job::WriteBuffer;
                Ok(Step::PioOut { len: SECTOR as usize, irq: false })
            }
            _ if power::is_power_command(opcode) => self.power(task, opcode),
            // NOP among them: it does nothing but that.
            _ => Err(Error::ABORT),
        };
        self.finish(step)
    }

    /// What the drive asked for has happened.
    pub fn event(&mut self, task: &mut TaskFile, event: Event) -> Step {
        let job = std::mem::take(&mut self.state.job);
        let step = match (job, event) {
            (Job::Reply, Event::Sent) => Ok(Step::Done { irq: false }),
            (Job::ReadPio(run), event) => self.read_pio_goes_on(task, run, event),
            (Job::WritePio(run), event) => self.write_pio_goes_on(task, run, event),
            (Job::Dma(run), event) => self.dma_goes_on(task, run, event),
            (Job::Verify(run), event) => self.verify_goes_on(task, run, event),
            (Job::Flush, Event::Host(Ok(()))) => Ok(Step::Done { irq: true }),
            (Job::Flush, Event::Host(Err(error))) => Err(failure(task, error, true)),
            (Job::WriteBuffer, Event::Received(data)) => {
                self.state.buffer = data;
                // Another size comes only from a damaged state; it must not make the next one impossible.
                self.state.buffer.resize(SECTOR as usize, 0);
                Ok(Step::Done { irq: true })
            }
            (Job::SmartLog { address, at, sectors }, Event::Received(data)) => {
                self.smart_log_written(address, at, sectors, &data)
            }
            (Job::TrimList, Event::Received(list)) => self.trim_list(task, &list),
            (Job::Trim(trim), Event::Host(_)) => self.trim_goes_on(trim),
            _ => Err(Error::ABORT),
        };
        self.finish(step)
    }

    fn finish(&mut self, step: Result<Step, Error>) -> Step {
        match step {
            Ok(step) => step,
            Err(error) => {
                self.state.job = Job::None;
                Step::Failed(error)
            }
        }
    }

    /// One or more sectors that the drive itself makes.
    fn reply(&mut self, data: Vec<u8>) -> Result<Step, Error> {
        self.state.job = Job::Reply;
        Ok(Step::PioIn { data, block: SECTOR as usize })
    }

    fn flush(&mut self) -> Result<Step, Error> {
        self.state.job = Job::Flush;
        Ok(Step::Flush)
    }

    /// For a saved state.
    pub fn save(&self) -> AtaState {
        let Self { sectors: _, read_only: _, serial: _, model: _, state } = self;
        state.clone()
    }

    /// Whether `state` is one that this disk can have.
    pub fn accepts(&self, state: &AtaState) -> bool {
        let AtaState {
            heads,
            sectors_per_track,
            multiple,
            mode,
            write_cache: _,
            look_ahead: _,
            revert: _,
            power: _,
            smart,
            visible,
            native_max_read: _,
            buffer,
            job,
        } = state;
        (1..=16).contains(heads)
            && *sectors_per_track > 0
            && (*multiple == 0 || multiple.is_power_of_two() && *multiple <= MAX_MULTIPLE)
            && mode.is_possible()
            && smart.is_possible()
            && (1..=self.sectors).contains(visible)
            && buffer.len() == SECTOR as usize
            && match job {
                Job::None | Job::Reply | Job::Flush | Job::WriteBuffer | Job::TrimList => true,
                Job::ReadPio(run) | Job::WritePio(run) | Job::Dma(run) | Job::Verify(run) => {
                    run.is_possible(self.sectors)
                }
                Job::SmartLog { address, at, sectors } => smart::is_host_log(*address) && at < sectors,
                Job::Trim(trim) => trim.is_possible(self.sectors),
            }
    }

    /// Takes a state that [`Ata::accepts`] accepts.
    pub fn load(&mut self, state: AtaState) {
        self.state = state;
    }
}

/// What a failure of the host looks like to the guest: never better than it is, and no timeout.
fn failure(task: &mut TaskFile, error: BlockError, write: bool) -> Error {
    match error {
        BlockError::OutOfRange => Error::NOT_FOUND,
        BlockError::ReadOnly => Error::new().with_abrt(true).with_unc(true),
        BlockError::NoMedium => Error::ABORT,
        BlockError::NoSpace | BlockError::Io(_) if write => {
            // There is no error bit for "could not be written": the device is at fault.
            task.status.set_df(true);
            Error::ABORT
        }
        BlockError::NoSpace | BlockError::Io(_) => Error::new().with_unc(true),
    }
}

const _: () = assert!(MAX_MULTIPLE as usize * SECTOR as usize <= BUFFER);
