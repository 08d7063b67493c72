//! Reading, writing and verifying sectors.
//!
//! PIO reads fetch up to 64 KiB ahead of the guest and hand it over DRQ block by DRQ block. PIO writes go to the
//! image one DRQ block at a time. DMA is one request for the whole command, straight to and from guest memory.

use super::super::drive::{BUFFER, Event, Span, Step};
use super::super::regs::{Error, SECTOR, TaskFile};
use super::address::Form;
use super::{Ata, Job, failure};
use crate::BlockError;
use serde::{Deserialize, Serialize};

/// Sectors read at a time.
const CHUNK: u32 = (BUFFER as u64 / SECTOR) as u32;

/// The sectors of a command that are still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The next.
    lba: u64,
    /// How many.
    left: u32,
    /// How many of them are under way.
    now: u32,
    /// Sectors per DRQ block.
    block: u8,
    form: Form,
    write: bool,
    /// Flush before the end.
    through: bool,
}

impl Run {
    /// Whether a saved run is one that a disk of this size can have.
    pub fn is_possible(&self, sectors: u64) -> bool {
        self.now <= self.left
            && self.left <= 0x1_0000
            && self.block as usize * SECTOR as usize <= BUFFER
            && self.lba.checked_add(self.left.into()).is_some_and(|end| end <= sectors)
    }

    fn offset(&self) -> u64 {
        self.lba * SECTOR
    }

    fn bytes(&self) -> usize {
        self.now as usize * SECTOR as usize
    }

    /// What was under way is done.
    fn advance(&mut self) {
        self.lba += u64::from(self.now);
        self.left -= self.now;
        self.now = 0;
    }
}

impl Ata {
    fn run(&self, task: &mut TaskFile, ext: bool, block: u8, write: bool, fua: bool) -> Result<Run, Error> {
        if block == 0 {
            return Err(Error::ABORT);
        }
        if write && self.read_only {
            return Err(failure(task, BlockError::ReadOnly, true));
        }
        let (lba, left, form) = self.extent(task, ext)?;
        let through = write && (fua || !self.state.write_cache);
        Ok(Run { lba, left, now: 0, block, form, write, through })
    }

    /// The command failed at the sector where the run is.
    fn failed_at(&self, task: &mut TaskFile, run: &Run, error: BlockError) -> Error {
        self.put_lba(task, run.lba, run.form);
        self.put_count(task, run.left);
        failure(task, error, run.write)
    }

    fn put_count(&self, task: &mut TaskFile, left: u32) {
        let [now, before, ..] = left.to_le_bytes();
        task.count.now = now;
        task.count.before = before;
    }

    /// All sectors are done: the registers name the last one.
    fn succeeded(&self, task: &mut TaskFile, run: &Run) {
        self.put_lba(task, run.lba.saturating_sub(1), run.form);
        self.put_count(task, 0);
    }

    // ---- PIO ----

    pub(super) fn read_pio(&mut self, task: &mut TaskFile, ext: bool, block: u8) -> Result<Step, Error> {
        let run = self.run(task, ext, block, false, false)?;
        Ok(self.read_chunk(run, CHUNK))
    }

    fn read_chunk(&mut self, mut run: Run, most: u32) -> Step {
        // Whole DRQ blocks, but for the last.
        let block = u32::from(run.block).max(1);
        run.now = run.left.min((most / block).max(1) * block);
        self.state.job = Job::ReadPio(run);
        Step::Read { offset: run.offset(), len: run.bytes() }
    }

    pub(super) fn read_pio_goes_on(&mut self, task: &mut TaskFile, mut run: Run, event: Event) -> Result<Step, Error> {
        match event {
            Event::Read(data) => {
                let block = usize::from(run.block.max(1)) * SECTOR as usize;
                run.advance();
                if run.left == 0 {
                    self.succeeded(task, &run);
                }
                self.state.job = Job::ReadPio(run);
                Ok(Step::PioIn { data, block })
            }
            Event::Sent if run.left == 0 => Ok(Step::Done { irq: false }),
            Event::Sent => Ok(self.read_chunk(run, CHUNK)),
            // Again by single blocks, so that the good ones before the bad one reach the guest.
            Event::Host(Err(_)) if run.now > u32::from(run.block) => Ok(self.read_chunk(run, run.block.into())),
            Event::Host(Err(error)) => Err(self.failed_at(task, &run, error)),
            _ => Err(Error::ABORT),
        }
    }

    pub(super) fn write_pio(&mut self, task: &mut TaskFile, ext: bool, block: u8, fua: bool) -> Result<Step, Error> {
        let run = self.run(task, ext, block, true, fua)?;
        Ok(self.want_block(run, false))
    }

    fn want_block(&mut self, mut run: Run, irq: bool) -> Step {
        run.now = run.left.min(run.block.max(1).into());
        self.state.job = Job::WritePio(run);
        Step::PioOut { len: run.bytes(), irq }
    }

    pub(super) fn write_pio_goes_on(&mut self, task: &mut TaskFile, mut run: Run, event: Event) -> Result<Step, Error> {
        match event {
            Event::Received(data) => {
                self.state.job = Job::WritePio(run);
                Ok(Step::Write { offset: run.offset(), data })
            }
            Event::Host(Ok(())) => {
                run.advance();
                if run.left > 0 { Ok(self.want_block(run, true)) } else { self.written(task, &run) }
            }
            Event::Host(Err(error)) => Err(self.failed_at(task, &run, error)),
            _ => Err(Error::ABORT),
        }
    }

    fn written(&mut self, task: &mut TaskFile, run: &Run) -> Result<Step, Error> {
        self.succeeded(task, run);
        if run.through { self.flush() } else { Ok(Step::Done { irq: true }) }
    }

    // ---- DMA ----

    pub(super) fn dma(&mut self, task: &mut TaskFile, ext: bool, write: bool, fua: bool) -> Result<Step, Error> {
        let mut run = self.run(task, ext, 1, write, fua)?;
        run.now = run.left;
        self.state.job = Job::Dma(run);
        let left = u64::from(run.left) * SECTOR;
        Ok(Step::Dma(Span { write, offset: run.offset(), left, unit: SECTOR as u32 }))
    }

    pub(super) fn dma_goes_on(&mut self, task: &mut TaskFile, mut run: Run, event: Event) -> Result<Step, Error> {
        match event {
            Event::Host(Ok(())) => {
                run.advance();
                if run.write {
                    self.written(task, &run)
                } else {
                    self.succeeded(task, &run);
                    Ok(Step::Done { irq: true })
                }
            }
            Event::Host(Err(error)) => Err(self.failed_at(task, &run, error)),
            // A transfer that broke off is what the CRC bit is for: the driver tries again.
            _ => Err(Error::new().with_icrc(true).with_abrt(true)),
        }
    }

    // ---- VERIFY ----

    pub(super) fn verify(&mut self, task: &mut TaskFile, ext: bool) -> Result<Step, Error> {
        let run = self.run(task, ext, 1, false, false)?;
        Ok(self.verify_chunk(run, CHUNK))
    }

    fn verify_chunk(&mut self, mut run: Run, most: u32) -> Step {
        run.now = run.left.min(most);
        self.state.job = Job::Verify(run);
        Step::Read { offset: run.offset(), len: run.bytes() }
    }

    pub(super) fn verify_goes_on(&mut self, task: &mut TaskFile, mut run: Run, event: Event) -> Result<Step, Error> {
        match event {
            Event::Read(_) => {
                run.advance();
                if run.left > 0 {
                    return Ok(self.verify_chunk(run, CHUNK));
                }
                self.succeeded(task, &run);
                Ok(Step::Done { irq: true })
            }
            Event::Host(Err(_)) if run.now > 1 => Ok(self.verify_chunk(run, 1)),
            Event::Host(Err(error)) => Err(self.failed_at(task, &run, error)),
            _ => Err(Error::ABORT),
        }
    }

    /// SET MULTIPLE MODE: a power of two up to the most there is, or 0 for off.
    pub(super) fn set_multiple(&mut self, task: &TaskFile) -> Result<Step, Error> {
        let sectors = task.count.now;
        if sectors > super::MAX_MULTIPLE || (sectors != 0 && !sectors.is_power_of_two()) {
            return Err(Error::ABORT);
        }
        self.state.multiple = sectors;
        Ok(Step::Done { irq: true })
    }
}
