//! ATA disk (ATA/ATAPI-6, T13 1410D; ATA/ATAPI-7 for FUA, ACS-2 for TRIM).
//!
//! A write command completes after the write to the image; with FUA, or with the write cache disabled, after a flush.
//!
//! A drive in Sleep mode also wakes up at a command, not only at a reset.

mod address;
mod capacity;
mod features;
mod identify;
mod power;
mod smart;
mod transfer;
mod trim;

use super::action::{ActionResult, BUFFER_SIZE, CommandContext, DriveAction};
use super::regs::{AtaError, SECTOR_SIZE, TaskFile, op};
use crate::BlockError;
pub use address::reported_geometry;
pub(super) use features::{TransferMode, subcommand};
pub(super) use identify::{FIRMWARE, finish, reset_result, text, word};
pub(super) use power::Power;

use serde::{Deserialize, Serialize};
use smart::Smart;
use transfer::SectorTransfer;
use trim::Trim;

/// The most sectors per DRQ block of READ MULTIPLE and WRITE MULTIPLE.
const MAX_MULTIPLE: u8 = 16;
/// The most sectors with 48-bit addresses: IDENTIFY returns the number of sectors in 48 bits.
const MAX_SECTORS: u64 = (1 << 48) - 1;

/// An ATA disk.
#[derive(Debug)]
pub struct Ata {
    /// Native capacity in sectors.
    sectors: u64,
    read_only: bool,
    serial: String,
    model: String,
    state: AtaState,
}

/// The disk's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtaState {
    /// Heads of the CHS translation (INITIALIZE DEVICE PARAMETERS).
    heads: u8,
    sectors_per_track: u8,
    /// Sectors per DRQ block of READ MULTIPLE and WRITE MULTIPLE; 0 is disabled.
    sectors_per_block: u8,
    transfer_mode: TransferMode,
    write_cache: bool,
    look_ahead: bool,
    /// SRST restores the default settings (SET FEATURES CCh).
    revert_to_defaults: bool,
    power: Power,
    smart: Smart,
    /// Capacity in sectors that SET MAX ADDRESS leaves accessible.
    accessible_sectors: u64,
    /// The previous command was READ NATIVE MAX ADDRESS, as SET MAX ADDRESS requires.
    native_max_read: bool,
    /// The buffer of READ BUFFER and WRITE BUFFER.
    buffer: Vec<u8>,
    active: ActiveCommand,
}

/// The command in progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum ActiveCommand {
    #[default]
    None,
    /// PIO data-in from the drive's buffer.
    Reply,
    ReadPio(SectorTransfer),
    WritePio(SectorTransfer),
    Dma(SectorTransfer),
    Verify(SectorTransfer),
    /// FLUSH CACHE, or the flush at the end of a write.
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
            sectors_per_block: MAX_MULTIPLE,
            transfer_mode: TransferMode::default(),
            write_cache: true,
            look_ahead: true,
            revert_to_defaults: false,
            power: Power::Active,
            smart: Smart::default(),
            accessible_sectors: sectors,
            native_max_read: false,
            buffer: vec![0; SECTOR_SIZE as usize],
            active: ActiveCommand::None,
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
        if self.state.revert_to_defaults {
            let fresh = AtaState::power_on(self.sectors);
            // Not among the settings that are restored: SMART, the capacity and the transfer mode.
            let AtaState { smart, accessible_sectors, transfer_mode, revert_to_defaults, .. } = &self.state;
            self.state = AtaState {
                smart: smart.clone(),
                accessible_sectors: *accessible_sectors,
                transfer_mode: *transfer_mode,
                revert_to_defaults: *revert_to_defaults,
                ..fresh
            };
        }
        self.state.power = Power::Active;
        self.state.active = ActiveCommand::None;
        self.state.native_max_read = false;
    }

    /// Starts a command.
    pub fn command(&mut self, task: &mut TaskFile, context: CommandContext, opcode: u8) -> DriveAction {
        let native_max_read = std::mem::take(&mut self.state.native_max_read);
        self.state.active = ActiveCommand::None;
        if !power::is_power_command(opcode) && opcode != op::NOP {
            self.state.power = Power::Active;
        }
        let action = match opcode {
            op::IDENTIFY_DEVICE => self.reply(self.identify(context)),
            op::READ_SECTORS | op::READ_SECTORS_NO_RETRY => self.read_pio(task, false, 1),
            op::READ_SECTORS_EXT => self.read_pio(task, true, 1),
            op::READ_MULTIPLE => self.read_pio(task, false, self.state.sectors_per_block),
            op::READ_MULTIPLE_EXT => self.read_pio(task, true, self.state.sectors_per_block),
            op::WRITE_SECTORS | op::WRITE_SECTORS_NO_RETRY | op::WRITE_VERIFY => self.write_pio(task, false, 1, false),
            op::WRITE_SECTORS_EXT => self.write_pio(task, true, 1, false),
            op::WRITE_MULTIPLE => self.write_pio(task, false, self.state.sectors_per_block, false),
            op::WRITE_MULTIPLE_EXT => self.write_pio(task, true, self.state.sectors_per_block, false),
            op::WRITE_MULTIPLE_FUA_EXT => self.write_pio(task, true, self.state.sectors_per_block, true),
            op::READ_DMA | op::READ_DMA_NO_RETRY => self.dma(task, false, false, false),
            op::READ_DMA_EXT => self.dma(task, true, false, false),
            op::WRITE_DMA | op::WRITE_DMA_NO_RETRY => self.dma(task, false, true, false),
            op::WRITE_DMA_EXT => self.dma(task, true, true, false),
            op::WRITE_DMA_FUA_EXT => self.dma(task, true, true, true),
            op::READ_VERIFY_SECTORS | op::READ_VERIFY_SECTORS_NO_RETRY => self.verify(task, false),
            op::READ_VERIFY_SECTORS_EXT => self.verify(task, true),
            op::SEEK..=op::SEEK_LAST => self.seek(task),
            op::RECALIBRATE..=op::RECALIBRATE_LAST | op::SECURITY_FREEZE_LOCK => Ok(DriveAction::Done { irq: true }),
            op::INITIALIZE_DEVICE_PARAMETERS => self.initialize_parameters(task),
            op::SET_MULTIPLE_MODE => self.set_multiple(task),
            op::SET_FEATURES => self.set_features(task),
            op::FLUSH_CACHE | op::FLUSH_CACHE_EXT => self.flush(),
            op::DATA_SET_MANAGEMENT => self.data_set_management(task),
            op::READ_NATIVE_MAX_ADDRESS => self.read_native_max(task, false),
            op::READ_NATIVE_MAX_ADDRESS_EXT => self.read_native_max(task, true),
            op::SET_MAX_ADDRESS => self.set_max(task, false, native_max_read),
            op::SET_MAX_ADDRESS_EXT => self.set_max(task, true, native_max_read),
            op::SMART => self.smart(task, context),
            op::READ_BUFFER => self.reply(self.state.buffer.clone()),
            op::WRITE_BUFFER => {
                self.state.active = ActiveCommand::WriteBuffer;
                Ok(DriveAction::PioOut { len: SECTOR_SIZE as usize, irq: false })
            }
            _ if power::is_power_command(opcode) => self.power(task, opcode),
            // NOP, too, always aborts.
            _ => Err(AtaError::ABORT),
        };
        self.finish(action)
    }

    /// Continues the active command with the result of its last action.
    pub fn resume(&mut self, task: &mut TaskFile, result: ActionResult) -> DriveAction {
        let active = std::mem::take(&mut self.state.active);
        let action = match (active, result) {
            (ActiveCommand::Reply, ActionResult::Sent) => Ok(DriveAction::Done { irq: false }),
            (ActiveCommand::ReadPio(transfer), result) => self.continue_read_pio(task, transfer, result),
            (ActiveCommand::WritePio(transfer), result) => self.continue_write_pio(task, transfer, result),
            (ActiveCommand::Dma(transfer), result) => self.continue_dma(task, transfer, result),
            (ActiveCommand::Verify(transfer), result) => self.continue_verify(task, transfer, result),
            (ActiveCommand::Flush, ActionResult::Completed(Ok(()))) => Ok(DriveAction::Done { irq: true }),
            (ActiveCommand::Flush, ActionResult::Completed(Err(error))) => Err(block_failure(task, error, true)),
            (ActiveCommand::WriteBuffer, ActionResult::Received(data)) => {
                self.state.buffer = data;
                // Only a damaged saved state leads to another size here; the state must stay valid.
                self.state.buffer.resize(SECTOR_SIZE as usize, 0);
                Ok(DriveAction::Done { irq: true })
            }
            (ActiveCommand::SmartLog { address, at, sectors }, ActionResult::Received(data)) => {
                self.smart_log_written(address, at, sectors, &data)
            }
            (ActiveCommand::TrimList, ActionResult::Received(list)) => self.trim_list(task, &list),
            (ActiveCommand::Trim(trim), ActionResult::Completed(_)) => self.continue_trim(trim),
            _ => Err(AtaError::ABORT),
        };
        self.finish(action)
    }

    fn finish(&mut self, action: Result<DriveAction, AtaError>) -> DriveAction {
        match action {
            Ok(action) => action,
            Err(error) => {
                self.state.active = ActiveCommand::None;
                DriveAction::Failed(error)
            }
        }
    }

    /// Sends sectors that the drive generates.
    fn reply(&mut self, data: Vec<u8>) -> Result<DriveAction, AtaError> {
        self.state.active = ActiveCommand::Reply;
        Ok(DriveAction::PioIn { data, block: SECTOR_SIZE as usize })
    }

    fn flush(&mut self) -> Result<DriveAction, AtaError> {
        self.state.active = ActiveCommand::Flush;
        Ok(DriveAction::Flush)
    }

    /// For a saved state.
    pub fn save(&self) -> AtaState {
        let Self { sectors: _, read_only: _, serial: _, model: _, state } = self;
        state.clone()
    }

    /// Whether `state` is valid for this disk.
    pub fn accepts(&self, state: &AtaState) -> bool {
        let AtaState {
            heads,
            sectors_per_track,
            sectors_per_block,
            transfer_mode,
            write_cache: _,
            look_ahead: _,
            revert_to_defaults: _,
            power: _,
            smart,
            accessible_sectors,
            native_max_read: _,
            buffer,
            active,
        } = state;
        (1..=16).contains(heads)
            && *sectors_per_track > 0
            && (*sectors_per_block == 0 || sectors_per_block.is_power_of_two() && *sectors_per_block <= MAX_MULTIPLE)
            && transfer_mode.is_valid()
            && smart.is_valid()
            && (1..=self.sectors).contains(accessible_sectors)
            && buffer.len() == SECTOR_SIZE as usize
            && match active {
                ActiveCommand::None
                | ActiveCommand::Reply
                | ActiveCommand::Flush
                | ActiveCommand::WriteBuffer
                | ActiveCommand::TrimList => true,
                ActiveCommand::ReadPio(transfer)
                | ActiveCommand::WritePio(transfer)
                | ActiveCommand::Dma(transfer)
                | ActiveCommand::Verify(transfer) => transfer.is_valid(self.sectors),
                ActiveCommand::SmartLog { address, at, sectors } => smart::is_host_log(*address) && at < sectors,
                ActiveCommand::Trim(trim) => trim.is_valid(self.sectors),
            }
    }

    /// Restores a state that [`Ata::accepts`] has accepted.
    pub fn load(&mut self, state: AtaState) {
        self.state = state;
    }
}

/// The Error register for a failed block request. No failure is hidden from the guest or left to time out.
fn block_failure(task: &mut TaskFile, error: BlockError, write: bool) -> AtaError {
    match error {
        BlockError::OutOfRange => AtaError::NOT_FOUND,
        BlockError::ReadOnly => AtaError::new().with_abrt(true).with_unc(true),
        BlockError::NoMedium => AtaError::ABORT,
        BlockError::NoSpace | BlockError::Io(_) if write => {
            // ATA has no error bit for a failed write; DF reports a device fault.
            task.status.set_df(true);
            AtaError::ABORT
        }
        BlockError::NoSpace | BlockError::Io(_) => AtaError::new().with_unc(true),
    }
}

const _: () = assert!(MAX_MULTIPLE as usize * SECTOR_SIZE as usize <= BUFFER_SIZE);
