//! IDE channel: task file dispatch, PIO and DMA data phases, resets and block requests of two drives.
//!
//! One command is active per channel: while the selected drive is busy or requests data, task file writes are ignored,
//! so the guest cannot select the other drive. At most one block request is in flight, identified by its tag. A
//! completion with another tag is stale and ignored.

use super::action::{ActionResult, BUFFER_SIZE, CommandContext, DriveAction, ImageExtent};
use super::busmaster::{self, BusMaster};
use super::drive::{Drive, DriveKind, DriveState};
use super::regs::{self, AtaStatus, DEVICE_DEV, DeviceControl, op};
use crate::{
    BlockData, BlockDone, BlockError, BlockOp, BlockRequest, Ctx, DiskId, Effect, GuestRange, IrqLine, Medium,
    TrayRequest,
};
use serde::{Deserialize, Serialize};

/// The largest capacity of a range list that the channel keeps for its next request.
const MAX_SPARE_RANGES: usize = 64;

/// The data phase of the selected drive's active command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// No command is active.
    #[default]
    Idle,
    /// The guest reads `data` by PIO and is at `at`. The current DRQ block ends at `end`; blocks have `block` bytes.
    PioIn { data: Vec<u8>, at: usize, end: usize, block: usize },
    /// The guest writes `len` bytes by PIO.
    PioOut { data: Vec<u8>, len: usize },
    /// The bus master writes `data` to guest memory and is at `at`.
    DmaIn { data: Vec<u8>, at: usize },
    /// The bus master reads `len` bytes from guest memory.
    DmaOut { data: Vec<u8>, len: usize },
    /// The bus master transfers `extent`. The request in flight covers its first `requested` bytes.
    Dma { extent: ImageExtent, requested: u64 },
    /// A block request is in flight. If it is a read, the drive receives its bytes.
    Block { read: bool },
}

/// A reset that is deferred until the block request in flight completes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum PendingReset {
    #[default]
    None,
    /// SRST or RESET#: both drives are busy.
    BothDrives,
    /// DEVICE RESET of the selected drive.
    Device,
}

/// An IDE channel.
#[derive(Debug)]
pub struct Channel {
    /// 0 is primary, 1 is secondary.
    number: u8,
    drives: [Option<Drive>; 2],
    bus_master: BusMaster,
    control: DeviceControl,
    /// Device 1 is selected.
    device1: bool,
    /// Level of IRQ 14 or 15.
    irq_level: bool,
    phase: Phase,
    /// Tag of the block request in flight.
    in_flight: Option<u64>,
    reset: PendingReset,
    next_tag: u64,
    /// PCICMD enables bus mastering.
    bus_master_enabled: bool,
    /// The range list of the last DMA request, reused by the next one to avoid an allocation.
    spare_ranges: Vec<GuestRange>,
}

/// [`Channel`] in a saved state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelState {
    drives: [Option<DriveState>; 2],
    bus_master: BusMaster,
    control: DeviceControl,
    device1: bool,
    irq_level: bool,
    phase: Phase,
    in_flight: Option<u64>,
    reset: PendingReset,
    next_tag: u64,
}

impl Channel {
    /// A channel before its first [`Channel::hard_reset`].
    pub fn new(number: u8, drives: [Option<Drive>; 2]) -> Self {
        Self {
            number,
            drives,
            bus_master: BusMaster::default(),
            control: DeviceControl::new(),
            device1: false,
            irq_level: false,
            phase: Phase::Idle,
            in_flight: None,
            reset: PendingReset::None,
            next_tag: 0,
            bus_master_enabled: false,
            spare_ranges: Vec::new(),
        }
    }

    /// RESET#. While a request in flight still accesses guest memory, both drives stay busy.
    pub fn hard_reset(&mut self, cx: &mut Ctx<'_>) {
        let Self {
            number: _,
            drives,
            bus_master,
            control,
            device1,
            irq_level: _,
            phase,
            in_flight,
            reset,
            next_tag: _,
            bus_master_enabled,
            spare_ranges: _,
        } = self;
        *bus_master_enabled = false;
        drives.iter_mut().flatten().for_each(Drive::hard_reset);
        *bus_master = BusMaster::default();
        *control = DeviceControl::new();
        *device1 = false;
        *phase = Phase::Idle;
        *reset = if in_flight.is_some() { PendingReset::BothDrives } else { PendingReset::None };
        self.drive_irq(cx);
        cx.set_irq(IrqLine::Isa(14 + self.number), self.irq_level);
    }

    /// Whether a PIO data-out phase is active.
    #[inline]
    pub fn pio_out_pending(&self) -> bool {
        matches!(self.phase, Phase::PioOut { .. })
    }

    /// Device 0 or 1.
    pub fn drive(&self, device1: bool) -> Option<&Drive> {
        self.drives[usize::from(device1)].as_ref()
    }

    /// Device 0 or 1.
    pub fn drive_mut(&mut self, device1: bool) -> Option<&mut Drive> {
        self.drives[usize::from(device1)].as_mut()
    }

    fn selected(&mut self) -> Option<&mut Drive> {
        self.drives[usize::from(self.device1)].as_mut()
    }

    fn context(&self, cx: &Ctx<'_>) -> CommandContext {
        CommandContext { now: cx.now(), device1: self.device1 }
    }

    /// Drives IRQ 14 or 15 from the selected drive's INTRQ and nIEN.
    fn drive_irq(&mut self, cx: &mut Ctx<'_>) {
        let raised = self.drives[usize::from(self.device1)].as_ref().is_some_and(|drive| drive.intrq);
        let level = raised && !self.control.nien();
        if level == self.irq_level {
            return;
        }
        if level {
            self.bus_master.latch_interrupt();
        }
        self.irq_level = level;
        cx.set_irq(IrqLine::Isa(14 + self.number), level);
    }

    /// Raises the selected drive's INTRQ.
    fn interrupt(&mut self, cx: &mut Ctx<'_>) {
        if let Some(drive) = self.selected() {
            drive.intrq = true;
        }
        self.drive_irq(cx);
    }

    /// After a restore: fails or drops the block request that was in flight, and drives the IRQ.
    pub fn resync(&mut self, cx: &mut Ctx<'_>) {
        if self.in_flight.take().is_some() {
            if self.reset != PendingReset::None {
                self.finish_reset();
            } else {
                self.report(cx, ActionResult::Lost);
            }
        }
        self.drive_irq(cx);
        cx.set_irq(IrqLine::Isa(14 + self.number), self.irq_level);
    }

    /// The host inserts a disc into a CD-ROM drive or removes it. A transfer of the drive in progress fails.
    pub fn set_medium(&mut self, cx: &mut Ctx<'_>, device1: bool, medium: Option<Medium>) {
        let Some(Drive { kind: DriveKind::Atapi(atapi), .. }) = self.drive_mut(device1) else { return };
        let moves = atapi.set_medium(medium.map(Medium::into_disc));
        self.report_tray(cx, device1, moves);
        if device1 != self.device1 {
            return;
        }
        let waiting = self.in_flight.is_none();
        if let Phase::Dma { extent, requested } = &mut self.phase {
            // The rest of the transfer must not come from another disc.
            extent.remaining = *requested;
            if waiting {
                self.report(cx, ActionResult::Completed(Err(BlockError::NoMedium)));
            }
        }
    }

    /// The host moves the tray of a CD-ROM drive or presses its button.
    pub fn tray_request(&mut self, cx: &mut Ctx<'_>, device1: bool, request: TrayRequest) {
        let Some(Drive { kind: DriveKind::Atapi(atapi), .. }) = self.drive_mut(device1) else { return };
        if atapi.tray_request(request) {
            let open = atapi.tray().open;
            self.report_tray(cx, device1, &[open]);
        }
    }

    fn report_tray(&self, cx: &mut Ctx<'_>, device1: bool, moves: &[bool]) {
        let disk = self.disk(device1);
        for &open in moves {
            cx.effect(Effect::TrayMoved { disk, open });
        }
    }

    fn disk(&self, device1: bool) -> DiskId {
        DiskId(self.number * 2 + u8::from(device1))
    }

    // ---- Registers ----

    fn status(&self) -> AtaStatus {
        let Some(drive) = &self.drives[usize::from(self.device1)] else { return AtaStatus::new() };
        let status = drive.task.status;
        if self.control.srst() || self.reset != PendingReset::None || self.in_flight.is_some() {
            return status.with_bsy(true);
        }
        match self.phase {
            Phase::Idle => status,
            Phase::Block { .. } => status.with_bsy(true),
            Phase::PioIn { .. }
            | Phase::PioOut { .. }
            | Phase::DmaIn { .. }
            | Phase::DmaOut { .. }
            | Phase::Dma { .. } => status.with_drq(true),
        }
    }

    /// Whether a command or a reset is active, so that task file writes are ignored.
    #[inline]
    fn is_busy(&self) -> bool {
        self.control.srst() || self.reset != PendingReset::None || !matches!(self.phase, Phase::Idle)
    }

    /// Reads a byte of the task file. An absent drive reads as 00h, as with pulled-down data lines: neither busy nor
    /// ready.
    pub fn read_task(&mut self, cx: &mut Ctx<'_>, offset: u64) -> u8 {
        let status = self.status();
        let hob = self.control.hob();
        let device1 = self.device1;
        let Some(drive) = self.selected() else { return 0 };
        let byte = |register: regs::TwoByteRegister| if hob { register.previous } else { register.current };
        match offset {
            regs::ERROR_FEATURES => drive.task.error.into_bits(),
            regs::SECTOR_COUNT => byte(drive.task.sector_count),
            regs::LBA_LOW => byte(drive.task.lba_low),
            regs::LBA_MID => byte(drive.task.lba_mid),
            regs::LBA_HIGH => byte(drive.task.lba_high),
            regs::DEVICE => drive.task.device & !DEVICE_DEV | if device1 { DEVICE_DEV } else { 0 },
            regs::STATUS_COMMAND => {
                drive.intrq = false;
                self.drive_irq(cx);
                status.into_bits()
            }
            _ => 0xff,
        }
    }

    /// Reads Alternate Status, which does not clear the interrupt.
    pub fn read_control(&self) -> u8 {
        self.status().into_bits()
    }

    /// Writes Device Control.
    pub fn write_control(&mut self, cx: &mut Ctx<'_>, value: u8) {
        let was = self.control;
        self.control = DeviceControl::from_bits(value & 0x86);
        if self.control.srst() && !was.srst() {
            self.begin_reset(PendingReset::BothDrives);
        }
        self.drive_irq(cx);
    }

    /// Writes a byte of the task file.
    pub fn write_task(&mut self, cx: &mut Ctx<'_>, offset: u64, value: u8) {
        self.control.set_hob(false);
        if offset == regs::STATUS_COMMAND {
            return self.write_command(cx, value);
        }
        if offset != regs::DEVICE {
            return self.latch_parameter(offset, value);
        }
        if self.is_busy() {
            return;
        }
        self.device1 = value & DEVICE_DEV != 0;
        for drive in self.drives.iter_mut().flatten() {
            drive.task.device = value;
        }
        self.drive_irq(cx);
    }

    /// Writes a task file register that only latches its value: Features to LBA High.
    #[inline]
    pub fn latch_parameter(&mut self, offset: u64, value: u8) {
        self.control.set_hob(false);
        if self.is_busy() {
            return;
        }
        for drive in self.drives.iter_mut().flatten() {
            match offset {
                regs::ERROR_FEATURES => drive.task.features.write(value),
                regs::SECTOR_COUNT => drive.task.sector_count.write(value),
                regs::LBA_LOW => drive.task.lba_low.write(value),
                regs::LBA_MID => drive.task.lba_mid.write(value),
                regs::LBA_HIGH => drive.task.lba_high.write(value),
                _ => {}
            }
        }
    }

    fn write_command(&mut self, cx: &mut Ctx<'_>, opcode: u8) {
        let packet = self.selected().is_some_and(|drive| drive.is_packet());
        if opcode == op::DEVICE_RESET && packet {
            if !self.control.srst() && self.reset == PendingReset::None {
                self.begin_reset(PendingReset::Device);
                self.drive_irq(cx);
            }
            return;
        }
        if self.is_busy() {
            return cx.guest_error("Command register written while BSY or DRQ is set");
        }
        if opcode == op::EXECUTE_DEVICE_DIAGNOSTIC && self.drives.iter().any(Option::is_some) {
            // Both drives execute it, whichever is selected, and device 0 reports the result.
            self.drives.iter_mut().flatten().for_each(Drive::soft_reset);
            self.device1 = false;
            return self.interrupt(cx);
        }
        let context = self.context(cx);
        if let Some(drive) = self.selected() {
            drive.intrq = false;
            let action = drive.command(context, opcode);
            self.drive_irq(cx);
            self.perform(cx, action);
        }
    }

    // ---- Resets ----

    fn begin_reset(&mut self, kind: PendingReset) {
        self.phase = Phase::Idle;
        self.reset = kind;
        if self.in_flight.is_none() {
            self.finish_reset();
        } else {
            // The request in flight keeps its LBA and its guest memory; the drives stay busy until it completes.
            self.drives.iter_mut().flatten().for_each(|drive| drive.intrq = false);
        }
    }

    fn finish_reset(&mut self) {
        match std::mem::take(&mut self.reset) {
            PendingReset::None => {}
            PendingReset::BothDrives => {
                self.drives.iter_mut().flatten().for_each(Drive::soft_reset);
                self.device1 = false;
            }
            PendingReset::Device => {
                if let Some(drive) = self.selected() {
                    drive.device_reset();
                }
            }
        }
    }

    // ---- Drive actions ----

    fn submit(&mut self, cx: &mut Ctx<'_>, op: BlockOp, offset: u64, data: BlockData) {
        let tag = self.next_tag << 1 | u64::from(self.number);
        self.next_tag = self.next_tag.wrapping_add(1) & u64::MAX >> 1;
        self.in_flight = Some(tag);
        let disk = self.disk(self.device1);
        cx.submit(BlockRequest { disk, tag, op, offset, data });
    }

    /// Performs the selected drive's action as far as possible without waiting for the guest or for a block request.
    fn perform(&mut self, cx: &mut Ctx<'_>, action: DriveAction) {
        match action {
            DriveAction::Done { irq } => {
                self.phase = Phase::Idle;
                if irq {
                    self.interrupt(cx);
                }
            }
            DriveAction::Failed(error) => {
                self.phase = Phase::Idle;
                if let Some(drive) = self.selected() {
                    drive.task.error = error;
                    drive.task.status.set_err(true);
                }
                self.interrupt(cx);
            }
            DriveAction::PioIn { data, .. } if data.is_empty() => self.report(cx, ActionResult::Sent),
            DriveAction::PioIn { data, block } => {
                self.phase = Phase::PioIn { data, at: 0, end: 0, block: block.max(1) };
                self.next_drq_block(cx);
            }
            DriveAction::PioOut { len, irq } => {
                self.phase = Phase::PioOut { data: Vec::with_capacity(len), len };
                if let Some(drive) = self.selected() {
                    drive.begin_drq_block(len, false);
                }
                if irq {
                    self.interrupt(cx);
                }
            }
            DriveAction::DmaIn(data) => self.begin_dma(cx, Phase::DmaIn { data, at: 0 }, true),
            DriveAction::DmaOut { len } => {
                self.begin_dma(cx, Phase::DmaOut { data: Vec::with_capacity(len), len }, false);
            }
            DriveAction::Dma(extent) => self.begin_dma(cx, Phase::Dma { extent, requested: 0 }, !extent.write),
            DriveAction::Read { offset, len } => {
                self.phase = Phase::Block { read: true };
                self.submit(cx, BlockOp::Read, offset, BlockData::Buffer(vec![0; len]));
            }
            DriveAction::Write { offset, data } => {
                self.phase = Phase::Block { read: false };
                self.submit(cx, BlockOp::Write, offset, BlockData::Buffer(data));
            }
            DriveAction::Flush => {
                self.phase = Phase::Block { read: false };
                self.submit(cx, BlockOp::Flush, 0, BlockData::None);
            }
            DriveAction::Discard { offset, len } => {
                self.phase = Phase::Block { read: false };
                self.submit(cx, BlockOp::Discard { len }, offset, BlockData::None);
            }
        }
    }

    fn begin_dma(&mut self, cx: &mut Ctx<'_>, phase: Phase, input: bool) {
        self.phase = phase;
        if let Some(drive) = self.selected() {
            drive.begin_dma(input);
        }
        self.run_dma(cx);
    }

    /// Passes the result of an action to the selected drive and performs its next action.
    fn report(&mut self, cx: &mut Ctx<'_>, result: ActionResult) {
        let Some(drive) = self.selected() else {
            self.phase = Phase::Idle;
            return;
        };
        let before = drive.tray().map(|tray| tray.open);
        let action = drive.resume(cx.now(), result);
        let after = drive.tray().map(|tray| tray.open);
        if let (Some(before), Some(open)) = (before, after)
            && before != open
        {
            self.report_tray(cx, self.device1, &[open]);
        }
        self.perform(cx, action);
    }

    /// Handles the completion of a block request.
    pub fn block_done(&mut self, cx: &mut Ctx<'_>, mut done: BlockDone) {
        if self.in_flight != Some(done.tag) {
            return;
        }
        self.in_flight = None;
        if let BlockData::Guest(ranges) = &mut done.data
            && ranges.capacity() <= MAX_SPARE_RANGES
        {
            self.spare_ranges = std::mem::take(ranges);
        }
        if self.reset != PendingReset::None {
            self.bus_master.update_active();
            self.finish_reset();
            return self.drive_irq(cx);
        }
        let (extent, requested) = match &self.phase {
            Phase::Dma { extent, requested } => (*extent, *requested),
            Phase::Block { read } => {
                let result = match (done.result, done.data) {
                    (Ok(()), BlockData::Buffer(data)) if *read => ActionResult::Read(data),
                    (result, _) => ActionResult::Completed(result),
                };
                return self.report(cx, result);
            }
            _ => return,
        };
        self.bus_master.update_active();
        match done.result {
            Ok(()) if requested < extent.remaining => {
                // The descriptor table was too short: no interrupt, the drive waits for another start of the engine.
                let extent = ImageExtent {
                    offset: extent.offset.saturating_add(requested),
                    remaining: extent.remaining - requested,
                    ..extent
                };
                self.phase = Phase::Dma { extent, requested: 0 };
                self.run_dma(cx);
            }
            result => self.report(cx, ActionResult::Completed(result)),
        }
    }

    // ---- PIO ----

    /// Begins the next DRQ block of a PIO data-in phase.
    fn next_drq_block(&mut self, cx: &mut Ctx<'_>) {
        let Phase::PioIn { data, at, end, block } = &mut self.phase else { return };
        *end = at.saturating_add(*block).min(data.len());
        let len = *end - *at;
        if let Some(drive) = self.selected() {
            drive.begin_drq_block(len, true);
        }
        self.interrupt(cx);
    }

    /// Reads the Data register. Bytes past the end of the DRQ block are not changed in `out`.
    pub fn read_data(&mut self, cx: &mut Ctx<'_>, out: &mut [u8]) {
        let Phase::PioIn { data, at, end, .. } = &mut self.phase else { return self.report_no_drq(cx) };
        let len = out.len().min(*end - *at);
        out[..len].copy_from_slice(&data[*at..*at + len]);
        *at += len;
        if *at < *end {
            return;
        }
        if *end < data.len() {
            self.next_drq_block(cx);
        } else {
            self.report(cx, ActionResult::Sent);
        }
    }

    /// Writes the Data register. Bytes past the end of the DRQ block are dropped.
    pub fn write_data(&mut self, cx: &mut Ctx<'_>, bytes: &[u8]) {
        let Phase::PioOut { data, len } = &mut self.phase else { return self.report_no_drq(cx) };
        let take = bytes.len().min(len.saturating_sub(data.len()));
        data.extend_from_slice(&bytes[..take]);
        if data.len() < *len {
            return;
        }
        let data = std::mem::take(data);
        self.report(cx, ActionResult::Received(data));
    }

    /// An access to the Data register outside a PIO data phase. Without a drive it is a probe and no error.
    #[cold]
    fn report_no_drq(&self, cx: &mut Ctx<'_>) {
        if self.drive(self.device1).is_some() {
            cx.guest_error("Data register accessed without DRQ");
        }
    }

    // ---- DMA ----

    /// Reads one of the bus master's 8 bytes.
    pub fn read_bus_master(&self, offset: u64) -> u8 {
        self.bus_master.read(offset)
    }

    /// Writes one of the bus master's 8 bytes.
    pub fn write_bus_master(&mut self, cx: &mut Ctx<'_>, offset: u64, value: u8) {
        let transfer_in_flight =
            self.in_flight.is_some() && (matches!(self.phase, Phase::Dma { .. }) || self.reset != PendingReset::None);
        if offset == busmaster::BMICX && transfer_in_flight && !self.bus_master.running() {
            // Stopped during a transfer: the engine cannot restart before the request in flight completes.
            return;
        }
        if self.bus_master.write(offset, value, transfer_in_flight) {
            self.run_dma(cx);
        }
    }

    /// Applies the bus master enable of PCICMD.
    pub fn set_bus_master_enabled(&mut self, cx: &mut Ctx<'_>, enabled: bool) {
        self.bus_master_enabled = enabled;
        self.run_dma(cx);
    }

    /// Runs the DMA transfer if both the drive and the engine are ready.
    fn run_dma(&mut self, cx: &mut Ctx<'_>) {
        if !self.bus_master_enabled || !self.bus_master.running() || self.in_flight.is_some() {
            return;
        }
        match &mut self.phase {
            Phase::DmaIn { data, at } => {
                for range in self.bus_master.take_ranges(cx, (data.len() - *at) as u64, Vec::new()) {
                    let part = &data[*at..*at + range.len as usize];
                    cx.memory().write(range.addr, part);
                    *at += part.len();
                }
                self.bus_master.update_active();
                if *at == data.len() {
                    self.report(cx, ActionResult::Sent);
                }
            }
            Phase::DmaOut { data, len } => {
                for range in self.bus_master.take_ranges(cx, (*len - data.len()) as u64, Vec::new()) {
                    let old = data.len();
                    data.resize(old + range.len as usize, 0);
                    cx.memory().read(range.addr, &mut data[old..]);
                }
                self.bus_master.update_active();
                if data.len() == *len {
                    let data = std::mem::take(data);
                    self.report(cx, ActionResult::Received(data));
                }
            }
            Phase::Dma { extent, requested } => {
                let extent = *extent;
                let mut ranges =
                    self.bus_master.take_ranges(cx, extent.remaining, std::mem::take(&mut self.spare_ranges));
                let total: u64 = ranges.iter().map(|range| u64::from(range.len)).sum();
                // Requests consist of whole sectors: the rest of the table's memory is skipped.
                let whole = total - total % u64::from(extent.sector_size.max(1));
                truncate_ranges(&mut ranges, total - whole);
                *requested = whole;
                if whole == 0 {
                    return self.bus_master.update_active();
                }
                let op = if extent.write { BlockOp::Write } else { BlockOp::Read };
                self.submit(cx, op, extent.offset, BlockData::Guest(ranges));
            }
            _ => {}
        }
    }

    // ---- Saved state ----

    /// For a saved state.
    pub fn save(&self) -> ChannelState {
        let Self {
            number: _,
            drives: [drive0, drive1],
            bus_master,
            control,
            device1,
            irq_level,
            phase,
            in_flight,
            reset,
            next_tag,
            bus_master_enabled: _,
            spare_ranges: _,
        } = self;
        ChannelState {
            drives: [drive0.as_ref().map(Drive::save), drive1.as_ref().map(Drive::save)],
            bus_master: bus_master.clone(),
            control: *control,
            device1: *device1,
            irq_level: *irq_level,
            phase: phase.clone(),
            in_flight: *in_flight,
            reset: *reset,
            next_tag: *next_tag,
        }
    }

    /// Whether `state` is valid for this channel.
    pub fn accepts(&self, state: &ChannelState) -> bool {
        let ChannelState { drives, bus_master, control, device1, irq_level: _, phase, in_flight, reset, next_tag } =
            state;
        let same_drives = self.drives.iter().zip(drives).all(|(drive, state)| match (drive, state) {
            (Some(drive), Some(state)) => drive.accepts(state),
            (None, None) => true,
            _ => false,
        });
        let present = self.drives[usize::from(*device1)].is_some();
        let phase_possible = match phase {
            Phase::Idle => true,
            Phase::PioIn { data, at, end, block } => {
                present && at < end && *end <= data.len() && data.len() <= BUFFER_SIZE && *block > 0
            }
            Phase::PioOut { data, len } | Phase::DmaOut { data, len } => {
                present && data.len() < *len && *len <= BUFFER_SIZE
            }
            Phase::DmaIn { data, at } => present && *at < data.len() && data.len() <= BUFFER_SIZE,
            Phase::Dma { extent, requested } => {
                present
                    && extent.remaining > 0
                    && *requested <= extent.remaining
                    && matches!(u64::from(extent.sector_size), regs::SECTOR_SIZE | regs::CD_SECTOR_SIZE)
                    && extent.offset.checked_add(extent.remaining).is_some_and(|end| end <= i64::MAX as u64)
            }
            Phase::Block { .. } => present && in_flight.is_some(),
        };
        same_drives
            && bus_master.is_valid()
            && control.into_bits() & !0x86 == 0
            && phase_possible
            && (*reset == PendingReset::None || in_flight.is_some() && *phase == Phase::Idle)
            && in_flight.is_none_or(|tag| tag & 1 == u64::from(self.number) && tag >> 1 < *next_tag)
    }

    /// Restores a state that [`Channel::accepts`] has accepted.
    pub fn load(&mut self, state: ChannelState, bus_master_enabled: bool) {
        let ChannelState { drives, bus_master, control, device1, irq_level, phase, in_flight, reset, next_tag } = state;
        for (drive, state) in self.drives.iter_mut().zip(drives) {
            if let (Some(drive), Some(state)) = (drive, state) {
                drive.load(state);
            }
        }
        self.bus_master = bus_master;
        self.control = control;
        self.device1 = device1;
        self.irq_level = irq_level;
        self.phase = phase;
        self.in_flight = in_flight;
        self.reset = reset;
        self.next_tag = next_tag;
        self.bus_master_enabled = bus_master_enabled;
    }
}

/// Removes `excess` bytes from the end of `ranges`.
fn truncate_ranges(ranges: &mut Vec<GuestRange>, excess: u64) {
    let mut excess = excess;
    while let Some(last) = ranges.last_mut().filter(|_| excess > 0) {
        let removed = u64::from(last.len).min(excess) as u32;
        last.len -= removed;
        excess -= u64::from(removed);
        if last.len == 0 {
            ranges.pop();
        }
    }
}
