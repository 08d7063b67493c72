//! READ, WRITE and READ VERIFY commands of an ATA disk, by PIO and DMA.
//!
//! A PIO read requests up to 64 KiB at a time from the image and sends them in DRQ blocks. A PIO write makes one
//! request per DRQ block. A DMA command is one request, directly to or from guest memory.

use super::super::action::{ActionResult, BUFFER_SIZE, DriveAction, ImageExtent};
use super::super::regs::{AtaError, SECTOR_SIZE, TaskFile};
use super::address::AddressMode;
use super::{ActiveCommand, Ata, block_failure};
use crate::BlockError;
use serde::{Deserialize, Serialize};

/// The most sectors per read request.
const CHUNK_SECTORS: u32 = (BUFFER_SIZE as u64 / SECTOR_SIZE) as u32;

/// The sectors of a command that are not transferred yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorTransfer {
    /// The next sector.
    lba: u64,
    /// Sectors not transferred yet.
    remaining: u32,
    /// Of these, sectors of the current request or DRQ block.
    in_flight: u32,
    /// Sectors per DRQ block.
    block: u8,
    address_mode: AddressMode,
    write: bool,
    /// Flush before the command completes.
    flush_after: bool,
}

impl SectorTransfer {
    /// Whether a saved transfer is valid for a disk of this size.
    pub fn is_valid(&self, sectors: u64) -> bool {
        self.in_flight <= self.remaining
            && self.remaining <= 0x1_0000
            && self.block as usize * SECTOR_SIZE as usize <= BUFFER_SIZE
            && self.lba.checked_add(self.remaining.into()).is_some_and(|end| end <= sectors)
    }

    fn offset(&self) -> u64 {
        self.lba * SECTOR_SIZE
    }

    fn bytes(&self) -> usize {
        self.in_flight as usize * SECTOR_SIZE as usize
    }

    /// Accounts for the sectors in flight as transferred.
    fn advance(&mut self) {
        self.lba += u64::from(self.in_flight);
        self.remaining -= self.in_flight;
        self.in_flight = 0;
    }
}

impl Ata {
    fn transfer(
        &self,
        task: &mut TaskFile,
        ext: bool,
        block: u8,
        write: bool,
        fua: bool,
    ) -> Result<SectorTransfer, AtaError> {
        if block == 0 {
            return Err(AtaError::ABORT);
        }
        if write && self.read_only {
            return Err(block_failure(task, BlockError::ReadOnly, true));
        }
        let (lba, remaining, address_mode) = self.extent(task, ext)?;
        let flush_after = write && (fua || !self.state.write_cache);
        Ok(SectorTransfer { lba, remaining, in_flight: 0, block, address_mode, write, flush_after })
    }

    /// Sets the task file for a failure at the transfer's next sector and returns the Error register.
    fn fail_at(&self, task: &mut TaskFile, transfer: &SectorTransfer, error: BlockError) -> AtaError {
        self.set_lba(task, transfer.lba, transfer.address_mode);
        self.set_sector_count(task, transfer.remaining);
        block_failure(task, error, transfer.write)
    }

    fn set_sector_count(&self, task: &mut TaskFile, left: u32) {
        let [now, before, ..] = left.to_le_bytes();
        task.sector_count.current = now;
        task.sector_count.previous = before;
    }

    /// Sets the task file for a successful transfer: the address of the last sector, count 0.
    fn set_final_address(&self, task: &mut TaskFile, transfer: &SectorTransfer) {
        self.set_lba(task, transfer.lba.saturating_sub(1), transfer.address_mode);
        self.set_sector_count(task, 0);
    }

    // ---- PIO ----

    pub(super) fn read_pio(&mut self, task: &mut TaskFile, ext: bool, block: u8) -> Result<DriveAction, AtaError> {
        let transfer = self.transfer(task, ext, block, false, false)?;
        Ok(self.read_chunk(transfer, CHUNK_SECTORS))
    }

    fn read_chunk(&mut self, mut transfer: SectorTransfer, most: u32) -> DriveAction {
        // Whole DRQ blocks, except at the end of the command.
        let block = u32::from(transfer.block).max(1);
        transfer.in_flight = transfer.remaining.min((most / block).max(1) * block);
        self.state.active = ActiveCommand::ReadPio(transfer);
        DriveAction::Read { offset: transfer.offset(), len: transfer.bytes() }
    }

    pub(super) fn continue_read_pio(
        &mut self,
        task: &mut TaskFile,
        mut transfer: SectorTransfer,
        result: ActionResult,
    ) -> Result<DriveAction, AtaError> {
        match result {
            ActionResult::Read(data) => {
                let block = usize::from(transfer.block.max(1)) * SECTOR_SIZE as usize;
                transfer.advance();
                if transfer.remaining == 0 {
                    self.set_final_address(task, &transfer);
                }
                self.state.active = ActiveCommand::ReadPio(transfer);
                Ok(DriveAction::PioIn { data, block })
            }
            ActionResult::Sent if transfer.remaining == 0 => Ok(DriveAction::Done { irq: false }),
            ActionResult::Sent => Ok(self.read_chunk(transfer, CHUNK_SECTORS)),
            // Retries in single DRQ blocks, so that the guest gets the good blocks before the bad sector.
            ActionResult::Completed(Err(_)) if transfer.in_flight > u32::from(transfer.block) => {
                Ok(self.read_chunk(transfer, transfer.block.into()))
            }
            ActionResult::Completed(Err(error)) => Err(self.fail_at(task, &transfer, error)),
            _ => Err(AtaError::ABORT),
        }
    }

    pub(super) fn write_pio(
        &mut self,
        task: &mut TaskFile,
        ext: bool,
        block: u8,
        fua: bool,
    ) -> Result<DriveAction, AtaError> {
        let transfer = self.transfer(task, ext, block, true, fua)?;
        Ok(self.request_block(transfer, false))
    }

    fn request_block(&mut self, mut transfer: SectorTransfer, irq: bool) -> DriveAction {
        transfer.in_flight = transfer.remaining.min(transfer.block.max(1).into());
        self.state.active = ActiveCommand::WritePio(transfer);
        DriveAction::PioOut { len: transfer.bytes(), irq }
    }

    pub(super) fn continue_write_pio(
        &mut self,
        task: &mut TaskFile,
        mut transfer: SectorTransfer,
        result: ActionResult,
    ) -> Result<DriveAction, AtaError> {
        match result {
            ActionResult::Received(data) => {
                self.state.active = ActiveCommand::WritePio(transfer);
                Ok(DriveAction::Write { offset: transfer.offset(), data })
            }
            ActionResult::Completed(Ok(())) => {
                transfer.advance();
                if transfer.remaining > 0 {
                    Ok(self.request_block(transfer, true))
                } else {
                    self.written(task, &transfer)
                }
            }
            ActionResult::Completed(Err(error)) => Err(self.fail_at(task, &transfer, error)),
            _ => Err(AtaError::ABORT),
        }
    }

    fn written(&mut self, task: &mut TaskFile, transfer: &SectorTransfer) -> Result<DriveAction, AtaError> {
        self.set_final_address(task, transfer);
        if transfer.flush_after { self.flush() } else { Ok(DriveAction::Done { irq: true }) }
    }

    // ---- DMA ----

    pub(super) fn dma(
        &mut self,
        task: &mut TaskFile,
        ext: bool,
        write: bool,
        fua: bool,
    ) -> Result<DriveAction, AtaError> {
        let mut transfer = self.transfer(task, ext, 1, write, fua)?;
        transfer.in_flight = transfer.remaining;
        self.state.active = ActiveCommand::Dma(transfer);
        let remaining = u64::from(transfer.remaining) * SECTOR_SIZE;
        Ok(DriveAction::Dma(ImageExtent {
            write,
            offset: transfer.offset(),
            remaining,
            sector_size: SECTOR_SIZE as u32,
        }))
    }

    pub(super) fn continue_dma(
        &mut self,
        task: &mut TaskFile,
        mut transfer: SectorTransfer,
        result: ActionResult,
    ) -> Result<DriveAction, AtaError> {
        match result {
            ActionResult::Completed(Ok(())) => {
                transfer.advance();
                if transfer.write {
                    self.written(task, &transfer)
                } else {
                    self.set_final_address(task, &transfer);
                    Ok(DriveAction::Done { irq: true })
                }
            }
            ActionResult::Completed(Err(error)) => Err(self.fail_at(task, &transfer, error)),
            // A lost transfer is reported as an interface CRC error, which drivers retry.
            _ => Err(AtaError::new().with_icrc(true).with_abrt(true)),
        }
    }

    // ---- READ VERIFY ----

    pub(super) fn verify(&mut self, task: &mut TaskFile, ext: bool) -> Result<DriveAction, AtaError> {
        let transfer = self.transfer(task, ext, 1, false, false)?;
        Ok(self.verify_chunk(transfer, CHUNK_SECTORS))
    }

    fn verify_chunk(&mut self, mut transfer: SectorTransfer, most: u32) -> DriveAction {
        transfer.in_flight = transfer.remaining.min(most);
        self.state.active = ActiveCommand::Verify(transfer);
        DriveAction::Read { offset: transfer.offset(), len: transfer.bytes() }
    }

    pub(super) fn continue_verify(
        &mut self,
        task: &mut TaskFile,
        mut transfer: SectorTransfer,
        result: ActionResult,
    ) -> Result<DriveAction, AtaError> {
        match result {
            ActionResult::Read(_) => {
                transfer.advance();
                if transfer.remaining > 0 {
                    return Ok(self.verify_chunk(transfer, CHUNK_SECTORS));
                }
                self.set_final_address(task, &transfer);
                Ok(DriveAction::Done { irq: true })
            }
            ActionResult::Completed(Err(_)) if transfer.in_flight > 1 => Ok(self.verify_chunk(transfer, 1)),
            ActionResult::Completed(Err(error)) => Err(self.fail_at(task, &transfer, error)),
            _ => Err(AtaError::ABORT),
        }
    }

    /// SET MULTIPLE MODE: a power of two up to [`super::MAX_MULTIPLE`], or 0 to disable.
    pub(super) fn set_multiple(&mut self, task: &TaskFile) -> Result<DriveAction, AtaError> {
        let sectors = task.sector_count.current;
        if sectors > super::MAX_MULTIPLE || (sectors != 0 && !sectors.is_power_of_two()) {
            return Err(AtaError::ABORT);
        }
        self.state.sectors_per_block = sectors;
        Ok(DriveAction::Done { irq: true })
    }
}
