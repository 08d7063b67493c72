//! Execution phase of the data commands: sectors between the disk and the host, by DMA or PIO.
//!
//! A transfer proceeds by chunks: sectors that follow each other on one side of a cylinder and in the image. Reads wait for
//! the disk, then for the host; writes the other way round. The host ends a DMA transfer by TC, a PIO transfer runs to the
//! end of the cylinder.

use super::Fdc;
use super::command::{MFM, MT, Opcode, SK};
use super::drive::Unreadable;
use super::geometry::{SECTOR, Sector};
use super::phase::Phase;
use super::regs::{st0, st1, st2};
use crate::chipset::isa_dma::{Direction, DmaDone, DmaRequest};
use crate::time::VmTime;
use crate::{BlockData, BlockDone, BlockError, BlockOp, Ctx};
use serde::{Deserialize, Serialize};

/// The controller's ISA DMA channel.
pub const DMA_CHANNEL: u8 = 2;
/// Most bytes of a chunk. A track has at most 48 sectors.
pub const MAX_CHUNK: usize = 48 * SECTOR as usize;
/// How often the controller offers data to a DMA channel that does not take it.
const DMA_RETRY: u64 = 200_000;
/// How long it does so. A real chip overruns within 16 byte times, but its first byte comes up to one revolution after the
/// command, so that a driver may program the DMA channel after it has sent the command.
const DMA_PATIENCE: u64 = 200_000_000;
/// Bytes in the FIFO.
const FIFO: u8 = 16;

/// A data command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// READ DATA, or READ DELETED DATA.
    Read { deleted: bool },
    /// WRITE DATA, or WRITE DELETED DATA.
    Write { deleted: bool },
    /// READ TRACK, at this position.
    ReadTrack { position: u8 },
    /// VERIFY, with the sectors left if EC is set.
    Verify { left: Option<u8> },
    /// SCAN EQUAL, LOW OR EQUAL, HIGH OR EQUAL.
    Scan(Scan),
    /// FORMAT TRACK with this data byte.
    Format { filler: u8 },
    /// READ ID.
    ReadId,
}

/// The condition of a scan command: how the disk's data compare with the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scan {
    /// Equal.
    Equal,
    /// Less or equal.
    LowOrEqual,
    /// Greater or equal.
    HighOrEqual,
}

/// Sectors that follow each other on the track and in the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Chunk {
    /// Byte offset in the image.
    offset: u64,
    /// Position of the first sector on the track.
    position: u8,
    /// Sectors.
    count: u8,
    /// Size code.
    n: u8,
}

impl Chunk {
    fn sector_len(&self) -> usize {
        128 << self.n.min(6)
    }

    fn len(&self) -> usize {
        self.sector_len() * usize::from(self.count)
    }

    fn sectors(&self) -> impl Iterator<Item = Sector> + use<> {
        let Self { offset, n, count, .. } = *self;
        let len = self.sector_len() as u64;
        (0..u64::from(count)).map(move |k| Sector { r: 0, n, offset: offset + k * len })
    }
}

/// What a transfer waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    /// Until the disk has turned so far, or the search for an ID has failed.
    Rotation { at: VmTime, failed: bool },
    /// The block request with this tag.
    Disk { tag: u64 },
    /// The board's answer to a DMA request.
    DmaAnswer { deadline: VmTime },
    /// The DMA channel is not ready.
    DmaChannel { retry: VmTime, deadline: VmTime },
    /// The CPU accesses the data register.
    Pio,
}

/// A data command in its execution phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    op: Op,
    /// The drive, 0 to 3.
    drive: u8,
    /// The side that is read or written.
    head: u8,
    multi_track: bool,
    mfm: bool,
    skip: bool,
    /// C, H, R and N of the next sector.
    c: u8,
    h: u8,
    r: u8,
    n: u8,
    /// The last sector of a track; the number of sectors for FORMAT and READ TRACK.
    eot: u8,
    /// STP of a scan.
    stp: u8,
    /// SE of the result's ST0.
    seek_end: bool,
    st1: u8,
    st2: u8,
    chunk: Chunk,
    /// The transfer ends after this chunk: TC, an overrun, or the other data address mark.
    last: bool,
    /// After a host error: a chunk is one sector, so that the result names the sector.
    single: bool,
    /// Data of the chunk: from the disk to the host or the other way. For a scan, the sector and then the host's bytes.
    data: Vec<u8>,
    /// Bytes of `data` that the host has transferred.
    moved: usize,
    step: Step,
}

/// How a search for the next sectors ended.
enum Search {
    Found(Chunk),
    /// The end of the cylinder was reached while sectors were skipped.
    Ended,
    Failed,
}

impl Transfer {
    /// The transfer of a complete command with an execution phase. `command` has the length of its command phase.
    pub fn new(opcode: Opcode, command: &[u8], seek_end: bool) -> Option<Self> {
        let byte = |n: usize| command.get(n).copied().unwrap_or(0);
        let op = match opcode {
            Opcode::Read => Op::Read { deleted: false },
            Opcode::ReadDeleted => Op::Read { deleted: true },
            Opcode::Write => Op::Write { deleted: false },
            Opcode::WriteDeleted => Op::Write { deleted: true },
            Opcode::ReadTrack => Op::ReadTrack { position: 0 },
            // EC is bit 7 of the second byte.
            Opcode::Verify => Op::Verify { left: (byte(1) & 0x80 != 0).then_some(byte(8)) },
            Opcode::ScanEqual => Op::Scan(Scan::Equal),
            Opcode::ScanLowOrEqual => Op::Scan(Scan::LowOrEqual),
            Opcode::ScanHighOrEqual => Op::Scan(Scan::HighOrEqual),
            Opcode::Format => Op::Format { filler: byte(5) },
            Opcode::ReadId => Op::ReadId,
            _ => return None,
        };
        // FORMAT: N, sectors per cylinder, gap 3 length, data byte. READ ID has no parameters.
        let (c, h, r, n, eot) = match op {
            Op::Format { .. } => (0, 0, 0, byte(2), byte(3)),
            _ => (byte(2), byte(3), byte(4), byte(5), byte(6)),
        };
        Some(Self {
            op,
            drive: byte(1) & 3,
            head: byte(1) >> 2 & 1,
            multi_track: byte(0) & MT != 0,
            mfm: byte(0) & MFM != 0,
            skip: byte(0) & SK != 0,
            c,
            h,
            r,
            n,
            eot,
            stp: byte(8),
            seek_end,
            st1: 0,
            st2: 0,
            chunk: Chunk::default(),
            last: false,
            single: false,
            data: Vec::new(),
            moved: 0,
            step: Step::Pio,
        })
    }

    /// When the controller proceeds by itself.
    pub fn due(&self) -> Option<VmTime> {
        match self.step {
            Step::Rotation { at, .. } => Some(at),
            Step::DmaChannel { retry, .. } => Some(retry),
            Step::Disk { .. } | Step::DmaAnswer { .. } | Step::Pio => None,
        }
    }

    /// The tag of the block request in flight.
    pub fn tag(&self) -> Option<u64> {
        if let Step::Disk { tag } = self.step { Some(tag) } else { None }
    }

    /// The direction of a PIO access that the controller waits for.
    pub fn pio(&self) -> Option<Direction> {
        if self.step == Step::Pio { self.direction() } else { None }
    }

    /// Where the data go; `None` without data.
    fn direction(&self) -> Option<Direction> {
        match self.op {
            Op::Read { .. } | Op::ReadTrack { .. } => Some(Direction::ToMemory),
            Op::Write { .. } | Op::Scan(_) | Op::Format { .. } => Some(Direction::FromMemory),
            Op::Verify { .. } | Op::ReadId => None,
        }
    }

    /// Moves C, H and R to the next sector (data sheet table 5-?, "Result phase"). True past the end of the cylinder.
    fn advance(&mut self) -> bool {
        if self.r != self.eot {
            self.r = self.r.wrapping_add(1);
            return false;
        }
        self.r = 1;
        if self.multi_track {
            self.h ^= 1;
            if self.head == 0 {
                self.head = 1;
                return false;
            }
        }
        self.c = self.c.wrapping_add(1);
        true
    }

    /// Whether a saved transfer is one that commands can produce.
    pub fn is_valid(&self) -> bool {
        let Chunk { count, n, .. } = self.chunk;
        self.drive < 4
            && self.head < 2
            && n <= 6
            && count <= 48
            && self.chunk.len() <= MAX_CHUNK
            && self.data.len() <= 2 * MAX_CHUNK
            && self.moved <= self.data.len()
            && (self.step != Step::Pio || self.moved < self.data.len())
    }
}

impl Fdc {
    /// Starts a transfer.
    pub(super) fn begin(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) {
        match transfer.op {
            Op::Write { .. } | Op::Format { .. } if self.write_protected(transfer.drive) => {
                transfer.st1 |= st1::NOT_WRITABLE;
                self.finish(cx, transfer);
            }
            Op::Format { .. } => self.begin_format(cx, transfer),
            Op::ReadId => self.read_id(cx, transfer),
            // A count of 0 means 256 sectors, more than a cylinder has.
            Op::Verify { left: Some(0) } => {
                transfer.op = Op::Verify { left: Some(u8::MAX) };
                self.next_chunk(cx, transfer);
            }
            _ => self.next_chunk(cx, transfer),
        }
    }

    fn write_protected(&self, drive: u8) -> bool {
        self.drive(drive).is_some_and(super::drive::Drive::write_protected)
    }

    /// The track under the head: the disk's format and the cylinder in the IDs.
    fn track(&self, transfer: &Transfer) -> Result<(super::geometry::Format, u8), Unreadable> {
        let drive = self.drive(transfer.drive).ok_or(Unreadable)?;
        if !self.dor.motor(transfer.drive) {
            return Err(Unreadable);
        }
        drive.track(transfer.head, self.rate, transfer.mfm)
    }

    /// Looks for the next sectors. Sets the error bits if there are none.
    fn search(&self, transfer: &mut Transfer) -> Search {
        if let Op::ReadTrack { position } = transfer.op {
            return self.search_track(transfer, position);
        }
        let limit = match transfer.op {
            Op::Scan(_) => 1,
            Op::Write { .. } if self.non_dma() => 1,
            _ if transfer.single || self.timing.is_real() => 1,
            Op::Verify { left: Some(left) } => usize::from(left),
            _ => usize::MAX,
        };
        loop {
            let Ok((format, cylinder)) = self.track(transfer) else {
                transfer.st1 |= st1::MISSING_ADDRESS_MARK;
                return Search::Failed;
            };
            let found = format.find(cylinder, transfer.head, transfer.r);
            let matching = found
                .filter(|(_, sector)| transfer.c == cylinder && transfer.h == transfer.head && transfer.n == sector.n);
            let Some((position, first)) = matching else {
                transfer.st1 |= st1::NO_DATA;
                if transfer.c != cylinder {
                    transfer.st2 |= st2::WRONG_CYLINDER;
                }
                return Search::Failed;
            };
            let other_mark = self.has_other_mark(transfer, &first);
            if other_mark {
                transfer.st2 |= st2::CONTROL_MARK;
                if transfer.skip {
                    if transfer.advance() {
                        return Search::Ended;
                    }
                    continue;
                }
                transfer.last = true;
            }
            let mut chunk = Chunk { offset: first.offset, position: position as u8, count: 1, n: first.n };
            while !other_mark && usize::from(chunk.count) < limit && chunk.len() < MAX_CHUNK {
                let r = transfer.r.wrapping_add(chunk.count);
                let Some((_, next)) = format.find(cylinder, transfer.head, r) else { break };
                let follows = next.n == first.n && next.offset == first.offset + chunk.len() as u64;
                let within = r > transfer.r && (transfer.r > transfer.eot || r <= transfer.eot);
                if !follows || !within || self.has_other_mark(transfer, &next) {
                    break;
                }
                chunk.count += 1;
            }
            return Search::Found(chunk);
        }
    }

    /// Whether a sector has the data address mark that the command does not look for.
    fn has_other_mark(&self, transfer: &Transfer, sector: &Sector) -> bool {
        let deleted = self.drive(transfer.drive).is_some_and(|drive| drive.is_deleted(sector));
        match transfer.op {
            Op::Read { deleted: wanted } => deleted != wanted,
            Op::Verify { .. } | Op::Scan(_) => deleted,
            _ => false,
        }
    }

    /// READ TRACK: the next sectors after the index hole, whatever their IDs are.
    fn search_track(&self, transfer: &mut Transfer, position: u8) -> Search {
        let Ok((format, cylinder)) = self.track(transfer) else {
            transfer.st1 |= st1::MISSING_ADDRESS_MARK;
            return Search::Failed;
        };
        let at = usize::from(position) % format.sectors_on(cylinder).max(1);
        let Some(sector) = format.sector_at(cylinder, transfer.head, at) else {
            transfer.st1 |= st1::MISSING_ADDRESS_MARK;
            return Search::Failed;
        };
        if (transfer.c, transfer.h, transfer.r, transfer.n) != (cylinder, transfer.head, sector.r, sector.n) {
            transfer.st1 |= st1::NO_DATA;
        }
        Search::Found(Chunk { offset: sector.offset, position: at as u8, count: 1, n: sector.n })
    }

    /// Starts the sector that C, H, R and N name.
    fn next_chunk(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) {
        transfer.data.clear();
        transfer.moved = 0;
        match self.search(&mut transfer) {
            Search::Failed => self.fail_search(cx, transfer),
            Search::Ended => {
                transfer.st1 |= st1::END_OF_CYLINDER;
                self.finish(cx, transfer);
            }
            Search::Found(chunk) => {
                transfer.chunk = chunk;
                if matches!(transfer.op, Op::Write { .. }) {
                    transfer.data = vec![0; chunk.len()];
                    self.serve_host(cx, transfer);
                } else {
                    self.rotate(cx, transfer);
                }
            }
        }
    }

    /// Waits until the chunk has passed the head.
    fn rotate(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) {
        let now = cx.now();
        let sectors = self.track(&transfer).map_or(1, |(format, cylinder)| format.sectors_on(cylinder));
        let Some(drive) = self.drive(transfer.drive).filter(|_| self.timing.is_real()) else {
            return self.access_disk(cx, transfer);
        };
        let ready = now.max(drive.ready_at());
        let passed = if matches!(transfer.op, Op::Format { .. }) {
            // From one index pulse to the next.
            2 * drive.kind.revolution() - ready.nanos() % drive.kind.revolution()
        } else {
            drive.until_passed(transfer.chunk.position.into(), sectors, ready)
        };
        transfer.step = Step::Rotation { at: ready.plus_nanos(passed), failed: false };
        self.phase = Phase::Execute(Box::new(transfer));
    }

    /// No ID matches. The controller gives up at the second index pulse.
    fn fail_search(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) {
        let Some(drive) = self.drive(transfer.drive).filter(|_| self.timing.is_real()) else {
            return self.finish(cx, transfer);
        };
        let at = cx.now().max(drive.ready_at()).plus_nanos(2 * drive.kind.revolution());
        transfer.step = Step::Rotation { at, failed: true };
        self.phase = Phase::Execute(Box::new(transfer));
    }

    /// Reads or writes the chunk in the image.
    fn access_disk(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) {
        let (op, data) = match transfer.op {
            Op::ReadId => return self.finish(cx, transfer),
            // The data stay here until the write is complete, so that a restored machine can repeat it.
            Op::Write { .. } | Op::Format { .. } => (BlockOp::Write, transfer.data.clone()),
            _ => (BlockOp::Read, vec![0; transfer.chunk.len()]),
        };
        let tag = self.submit(cx, transfer.drive, op, transfer.chunk.offset, BlockData::Buffer(data));
        transfer.step = Step::Disk { tag };
        self.phase = Phase::Execute(Box::new(transfer));
    }

    /// After a restore: repeats what was in flight.
    pub(super) fn repeat(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) {
        match transfer.step {
            Step::Disk { .. } => self.access_disk(cx, transfer),
            Step::DmaAnswer { deadline } => {
                transfer.step = Step::DmaChannel { retry: cx.now(), deadline };
                self.phase = Phase::Execute(Box::new(transfer));
            }
            _ => self.phase = Phase::Execute(Box::new(transfer)),
        }
    }

    /// A wait of the transfer is over.
    pub(super) fn proceed(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) {
        match transfer.step {
            Step::Rotation { failed: true, .. } => self.finish(cx, transfer),
            Step::Rotation { .. } => self.access_disk(cx, transfer),
            Step::DmaChannel { deadline, .. } if cx.now() >= deadline => self.overrun(cx, transfer),
            Step::DmaChannel { deadline, .. } => self.request_dma(cx, transfer, deadline),
            _ => {
                transfer.st1 |= st1::OVERRUN;
                self.finish(cx, transfer);
            }
        }
    }

    /// A block request of the transfer completed.
    pub(super) fn disk_done(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer, done: BlockDone) {
        if let Err(error) = done.result {
            return self.disk_failed(cx, transfer, error);
        }
        if let BlockData::Buffer(data) = done.data
            && !matches!(transfer.op, Op::Write { .. } | Op::Format { .. })
        {
            transfer.data = data;
        }
        match transfer.op {
            Op::Read { .. } | Op::ReadTrack { .. } => self.serve_host(cx, transfer),
            Op::Scan(_) => {
                // The host's bytes follow the sector's.
                transfer.moved = transfer.data.len();
                transfer.data.resize(2 * transfer.moved, 0);
                self.serve_host(cx, transfer);
            }
            Op::Verify { left } => {
                let count = transfer.chunk.count;
                transfer.op = Op::Verify { left: left.map(|left| left.saturating_sub(count)) };
                transfer.last |= left.is_some_and(|left| left <= count);
                self.sectors_done(cx, transfer, count.into());
            }
            Op::Write { deleted } => {
                let written = transfer.data.len() / transfer.chunk.sector_len();
                if let Some(drive) = self.drive_mut(transfer.drive) {
                    transfer.chunk.sectors().take(written).for_each(|sector| drive.mark(&sector, deleted));
                }
                self.sectors_done(cx, transfer, written);
            }
            Op::Format { .. } => {
                if let Some(drive) = self.drive_mut(transfer.drive) {
                    transfer.chunk.sectors().for_each(|sector| drive.mark(&sector, false));
                }
                self.finish(cx, transfer);
            }
            Op::ReadId => self.finish(cx, transfer),
        }
    }

    fn disk_failed(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer, error: BlockError) {
        let writes = matches!(transfer.op, Op::Write { .. } | Op::Format { .. });
        if !writes && transfer.chunk.count > 1 {
            // The sectors before the bad one are good.
            transfer.single = true;
            return self.next_chunk(cx, transfer);
        }
        match error {
            BlockError::ReadOnly => {
                if let Some(drive) = self.drive_mut(transfer.drive) {
                    drive.set_write_protected();
                }
                transfer.st1 |= st1::NOT_WRITABLE;
            }
            BlockError::NoMedium => transfer.st1 |= st1::MISSING_ADDRESS_MARK,
            _ => {
                transfer.st1 |= st1::DATA_ERROR;
                transfer.st2 |= st2::DATA_ERROR;
            }
        }
        self.finish(cx, transfer);
    }

    /// Asks the host for the chunk's data, or offers it.
    fn serve_host(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) {
        if self.non_dma() {
            transfer.step = Step::Pio;
            self.phase = Phase::Execute(Box::new(transfer));
            self.set_interrupt(cx, true);
            return;
        }
        let deadline = cx.now().plus_nanos(DMA_PATIENCE);
        self.request_dma(cx, transfer, deadline);
    }

    fn request_dma(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer, deadline: VmTime) {
        let (Some(direction), true) = (transfer.direction(), self.dor.dma_gate()) else {
            transfer.step = Step::DmaChannel { retry: cx.now().plus_nanos(DMA_RETRY), deadline };
            self.phase = Phase::Execute(Box::new(transfer));
            return;
        };
        let data = match direction {
            Direction::ToMemory if transfer.moved == 0 => std::mem::take(&mut transfer.data),
            Direction::ToMemory => transfer.data.split_off(transfer.moved),
            Direction::FromMemory => vec![0; transfer.data.len() - transfer.moved],
        };
        transfer.step = Step::DmaAnswer { deadline };
        self.phase = Phase::Execute(Box::new(transfer));
        cx.isa_dma(DmaRequest { channel: DMA_CHANNEL, direction, data });
    }

    /// The board has carried out a DMA request.
    pub(super) fn dma_done(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer, done: DmaDone) {
        let Step::DmaAnswer { mut deadline } = transfer.step else {
            self.phase = Phase::Execute(Box::new(transfer));
            return;
        };
        let (bytes, tc) = (done.result.bytes.min(done.data.len()), done.result.terminal_count);
        if transfer.direction() == Some(Direction::ToMemory) {
            transfer.data.truncate(transfer.moved);
            if transfer.data.is_empty() {
                transfer.data = done.data;
            } else {
                transfer.data.extend(done.data);
            }
        } else if let Some(to) = transfer.data.get_mut(transfer.moved..transfer.moved + bytes) {
            to.copy_from_slice(&done.data[..bytes]);
        }
        transfer.moved = (transfer.moved + bytes).min(transfer.data.len());
        transfer.last |= tc;
        if tc || transfer.moved == transfer.data.len() {
            return self.host_done(cx, transfer, tc);
        }
        let now = cx.now();
        if bytes > 0 {
            deadline = now.plus_nanos(DMA_PATIENCE);
        }
        transfer.step = Step::DmaChannel { retry: now.plus_nanos(DMA_RETRY), deadline };
        self.phase = Phase::Execute(Box::new(transfer));
    }

    /// The host did not serve the data. Whole sectors that it has written reach the disk.
    fn overrun(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) {
        transfer.st1 |= st1::OVERRUN;
        let len = transfer.chunk.sector_len();
        if matches!(transfer.op, Op::Write { .. }) && transfer.moved >= len {
            transfer.data.truncate(transfer.moved / len * len);
            transfer.last = true;
            return self.rotate(cx, transfer);
        }
        self.finish(cx, transfer);
    }

    /// The host has transferred the chunk, or ended the transfer by TC.
    fn host_done(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer, tc: bool) {
        let len = transfer.chunk.sector_len();
        match transfer.op {
            Op::Read { .. } => {
                let sectors = if tc { transfer.moved.div_ceil(len) } else { transfer.chunk.count.into() };
                self.sectors_done(cx, transfer, sectors);
            }
            Op::ReadTrack { position } => {
                transfer.op = Op::ReadTrack { position: position.wrapping_add(1) };
                transfer.r = transfer.r.wrapping_add(1);
                if transfer.last || position.wrapping_add(1) >= transfer.eot {
                    return self.finish(cx, transfer);
                }
                self.next_chunk(cx, transfer);
            }
            Op::Write { .. } => {
                // After TC the controller fills the rest of the sector with zeros.
                let whole = transfer.moved.next_multiple_of(len);
                transfer.data.truncate(transfer.moved);
                transfer.data.resize(whole, 0);
                self.rotate(cx, transfer);
            }
            Op::Scan(scan) => self.compare(cx, transfer, scan),
            Op::Format { filler } => self.write_format(cx, transfer, filler),
            Op::Verify { .. } | Op::ReadId => self.finish(cx, transfer),
        }
    }

    /// Counts sectors as done, and starts the next one or ends the command.
    fn sectors_done(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer, count: usize) {
        if transfer.st2 & st2::CONTROL_MARK != 0 && transfer.last && !transfer.skip {
            // The address of a sector with the other mark is not incremented.
            return self.finish(cx, transfer);
        }
        let mut past_end = false;
        for _ in 0..count {
            past_end = transfer.advance();
        }
        if !transfer.last && past_end {
            if !matches!(transfer.op, Op::Verify { left: None }) {
                transfer.st1 |= st1::END_OF_CYLINDER;
            }
            transfer.last = true;
        }
        if transfer.last { self.finish(cx, transfer) } else { self.next_chunk(cx, transfer) }
    }

    /// Compares a sector with the host's bytes; FFh on either side matches everything (5.1.9).
    fn compare(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer, scan: Scan) {
        use std::cmp::Ordering;
        let (disk, host) = transfer.data.split_at(transfer.data.len() / 2);
        let differing = disk.iter().zip(host).find(|&(&d, &h)| d != h && d != 0xff && h != 0xff);
        let order = differing.map_or(Ordering::Equal, |(d, h)| d.cmp(h));
        let satisfied = match scan {
            Scan::Equal => order.is_eq(),
            Scan::LowOrEqual => order.is_le(),
            Scan::HighOrEqual => order.is_ge(),
        };
        transfer.st2 &= !(st2::SCAN_EQUAL | st2::SCAN_NOT_SATISFIED);
        if order.is_eq() {
            transfer.st2 |= st2::SCAN_EQUAL;
        } else if !satisfied {
            transfer.st2 |= st2::SCAN_NOT_SATISFIED;
        }
        if satisfied || transfer.last {
            return self.finish(cx, transfer);
        }
        for _ in 0..transfer.stp.clamp(1, 2) {
            let changes_side = transfer.multi_track && transfer.head == 0 && transfer.r == transfer.eot;
            if transfer.advance() {
                return self.finish(cx, transfer);
            }
            if changes_side {
                break;
            }
        }
        self.next_chunk(cx, transfer);
    }

    /// READ ID: the next ID that passes the head.
    fn read_id(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) {
        let (now, real) = (cx.now(), self.timing.is_real());
        let Ok((format, cylinder)) = self.track(&transfer) else {
            transfer.st1 |= st1::MISSING_ADDRESS_MARK;
            return self.fail_search(cx, transfer);
        };
        let sectors = format.sectors_on(cylinder);
        let position = self.drive_mut(transfer.drive).map_or(0, |drive| drive.next_id(sectors, now, real));
        if let Some(sector) = format.sector_at(cylinder, transfer.head, position) {
            (transfer.c, transfer.h, transfer.r, transfer.n) = (cylinder, transfer.head, sector.r, sector.n);
        }
        transfer.chunk.position = position as u8;
        self.rotate(cx, transfer);
    }

    /// FORMAT TRACK: the host sends C, H, R and N of each sector.
    fn begin_format(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) {
        // A disk that does not turn has no index pulse at which the command would start.
        if self.drive(transfer.drive).is_none_or(|drive| !drive.has_medium()) || !self.dor.motor(transfer.drive) {
            transfer.st1 |= st1::MISSING_ADDRESS_MARK;
            return self.fail_search(cx, transfer);
        }
        transfer.data = vec![0; usize::from(transfer.eot) * 4];
        if transfer.data.is_empty() { self.finish(cx, transfer) } else { self.serve_host(cx, transfer) }
    }

    /// Writes a formatted track. A raw image has one format: a track with other sectors ends with "no data".
    fn write_format(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer, filler: u8) {
        let ids = &transfer.data;
        let track = self.track(&transfer).ok().filter(|(format, cylinder)| {
            let sectors = format.sectors_on(*cylinder);
            let id_fits = |id: &[u8]| {
                matches!(*id, [c, h, r, n] if c == *cylinder && h == transfer.head
                    && n == transfer.n && format.find(*cylinder, transfer.head, r).is_some_and(|(_, s)| s.n == n))
            };
            let mut numbers: Vec<u8> = ids.chunks_exact(4).map(|id| id[2]).collect();
            numbers.sort_unstable();
            numbers.dedup();
            !format.xdf && ids.len() == 4 * sectors && ids.chunks_exact(4).all(id_fits) && numbers.len() == sectors
        });
        let first = track.and_then(|(format, cylinder)| Some((format, format.sector_at(cylinder, transfer.head, 0)?)));
        let (Some((format, first)), false) = (first, transfer.last && transfer.moved < transfer.data.len()) else {
            transfer.st1 |= st1::NO_DATA;
            return self.fail_search(cx, transfer);
        };
        transfer.chunk = Chunk { offset: first.offset, position: 0, count: format.sectors.min(48), n: first.n };
        transfer.data = vec![filler; transfer.chunk.len()];
        self.rotate(cx, transfer);
    }

    /// Result phase: ST0, ST1, ST2, C, H, R, N, and the interrupt.
    fn finish(&mut self, cx: &mut Ctx<'_>, transfer: Transfer) {
        let Transfer { drive, head, c, h, r, n, st1, st2, seek_end, .. } = transfer;
        let mut st0 = head << 2 | drive;
        if st1 != 0 {
            st0 |= st0::ABNORMAL;
        }
        if seek_end {
            st0 |= st0::SEEK_END;
        }
        self.set_result(&[st0, st1, st2, c, h, r, n]);
        // An edge of its own, also while the end of a seek has not been sensed.
        self.set_interrupt(cx, false);
        self.set_interrupt(cx, true);
    }

    /// The CPU reads the data register in the execution phase.
    pub(super) fn pio_read(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer) -> u8 {
        let byte = transfer.data.get(transfer.moved).copied().unwrap_or(0);
        transfer.moved += 1;
        self.pio_moved(cx, transfer);
        byte
    }

    /// The CPU writes the data register in the execution phase.
    pub(super) fn pio_write(&mut self, cx: &mut Ctx<'_>, mut transfer: Transfer, value: u8) {
        if let Some(byte) = transfer.data.get_mut(transfer.moved) {
            *byte = value;
        }
        transfer.moved += 1;
        self.pio_moved(cx, transfer);
    }

    /// Counts a byte. The interrupt is lowered by the access and raised for the next byte, or for the next FIFO load.
    fn pio_moved(&mut self, cx: &mut Ctx<'_>, transfer: Transfer) {
        let load = if self.configure.fifo_disabled() { 1 } else { FIFO - self.configure.threshold() };
        self.set_interrupt(cx, false);
        if transfer.moved >= transfer.data.len() {
            return self.host_done(cx, transfer, false);
        }
        let next_load = transfer.moved.is_multiple_of(usize::from(load.max(1)));
        self.phase = Phase::Execute(Box::new(transfer));
        if next_load {
            self.set_interrupt(cx, true);
        }
    }
}
