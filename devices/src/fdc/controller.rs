//! Registers, command dispatch, seeks, interrupts and resets of the 82077AA.

use super::command::{self, DIRECTION, LOCK, MFM, Opcode};
use super::phase::{Configure, Phase, Seek, SeekKind};
use super::regs::{self, Dor, Msr, st0, st3};
use super::transfer::Transfer;
use super::{COMMAND_DELAY, FIRST_DISK, Fdc, TIMER, geometry};
use crate::chipset::isa_dma::Direction;
use crate::time::VmTime;
use crate::{BlockData, BlockDone, BlockOp, BlockRequest, Ctx, DiskId, IrqLine};

/// The interrupt output.
pub const IRQ: IrqLine = IrqLine::Isa(6);

/// Step pulses of RECALIBRATE (5.2.4). A drive whose heads stand further in needs a second one.
const RECALIBRATE_STEPS: i16 = 79;
/// Result of VERSION: an enhanced controller (5.2.11).
const VERSION: u8 = 0x90;
/// Bits of PERPENDICULAR MODE that a software reset keeps: D3 to D0.
const PERPENDICULAR_DRIVES: u8 = 0x3c;
/// PERPENDICULAR MODE: overwrite D3 to D0.
const OVERWRITE: u8 = 0x80;
/// Events that one access handles at most. Each of them sets the next one's time after now.
const MAX_EVENTS: usize = 8;

impl Fdc {
    // ---- Interrupt and timer ----

    /// Raises or lowers INT.
    pub(super) fn set_interrupt(&mut self, cx: &mut Ctx<'_>, level: bool) {
        self.interrupt = level;
        self.drive_irq(cx);
    }

    fn drive_irq(&mut self, cx: &mut Ctx<'_>) {
        let level = self.interrupt && self.dor.dma_gate();
        if level != self.irq_level {
            self.irq_level = level;
            cx.set_irq(IRQ, level);
        }
    }

    /// When the controller has to act by itself next.
    fn due(&self) -> Option<VmTime> {
        let phase = match &self.phase {
            Phase::Restart { at } if self.orphan.is_none() => Some(*at),
            Phase::Start { at, .. } => Some(*at),
            Phase::Execute(transfer) => transfer.due(),
            _ => None,
        };
        self.seeks.iter().flatten().map(|seek| seek.at).chain(phase).min()
    }

    /// Drives the outputs as the state requires. Every call of the device ends here.
    pub(super) fn settle(&mut self, cx: &mut Ctx<'_>) {
        self.drive_irq(cx);
        let due = self.due();
        if due != self.armed {
            self.armed = due;
            match due {
                Some(at) => cx.arm(TIMER, at),
                None => cx.disarm(TIMER),
            }
        }
    }

    /// Handles the events whose time has come, which need not wait for the timer.
    pub(super) fn catch_up(&mut self, cx: &mut Ctx<'_>) {
        for _ in 0..MAX_EVENTS {
            let now = cx.now();
            if self.due().is_none_or(|due| due > now) {
                break;
            }
            for drive in 0..self.seeks.len() {
                if self.seeks[drive].is_some_and(|seek| seek.at <= now)
                    && let Some(seek) = self.seeks[drive].take()
                {
                    self.end_seek(cx, drive as u8, seek);
                }
            }
            match std::mem::replace(&mut self.phase, Phase::IDLE) {
                Phase::Restart { at } if at <= now && self.orphan.is_none() => self.end_reset(cx),
                Phase::Start { command, at } if at <= now => self.start(cx, command),
                Phase::Execute(transfer) if transfer.due().is_some_and(|due| due <= now) => self.proceed(cx, *transfer),
                other => self.phase = other,
            }
        }
    }

    // ---- Block requests ----

    /// Submits a block request and returns its tag.
    pub(super) fn submit(&mut self, cx: &mut Ctx<'_>, drive: u8, op: BlockOp, offset: u64, data: BlockData) -> u64 {
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        cx.submit(BlockRequest { disk: DiskId(FIRST_DISK + drive), tag, op, offset, data });
        tag
    }

    pub(super) fn block_done(&mut self, cx: &mut Ctx<'_>, done: BlockDone) {
        if self.orphan == Some(done.tag) {
            self.orphan = None;
            return;
        }
        match std::mem::replace(&mut self.phase, Phase::IDLE) {
            Phase::Execute(transfer) if transfer.tag() == Some(done.tag) => self.disk_done(cx, *transfer, done),
            Phase::BootSector { command, tag } if tag == done.tag => {
                let drive = command.get(1).copied().unwrap_or(0) & 3;
                let boot = match (done.result, done.data) {
                    (Ok(()), BlockData::Buffer(boot)) => boot,
                    _ => Vec::new(),
                };
                if let Some(drive) = self.drive_mut(drive) {
                    drive.set_boot_sector(&boot);
                }
                self.start(cx, command);
            }
            // Stale.
            other => self.phase = other,
        }
    }

    // ---- Resets ----

    /// Software reset by DOR or DSR (2.1.2, 2.1.5). DOR holds the controller in reset, DSR does not.
    fn software_reset(&mut self, cx: &mut Ctx<'_>, hold: bool) {
        let in_flight = match &self.phase {
            Phase::Execute(transfer) => transfer.tag(),
            Phase::BootSector { tag, .. } => Some(*tag),
            _ => None,
        };
        self.orphan = in_flight.or(self.orphan);
        self.seeks = [None; 4];
        self.sense = [None; 4];
        self.drives_busy = 0;
        // LOCK keeps EFIFO, FIFOTHR and PRETRK (5.2.14).
        if self.locked {
            self.configure = self.configure.with_implied_seek(false).with_no_polling(false);
        } else {
            self.configure = Configure::RESET;
            self.precompensation_track = 0;
        }
        self.perpendicular &= PERPENDICULAR_DRIVES;
        // SPECIFY's parameters stay, as the data sheet says. So do the present cylinder numbers, which drivers do not
        // expect: they recalibrate.
        self.phase = if hold { Phase::Reset } else { Phase::Restart { at: cx.now().plus_nanos(COMMAND_DELAY) } };
        self.set_interrupt(cx, false);
    }

    /// The controller starts: polling reports every drive as changed, by one interrupt.
    fn end_reset(&mut self, cx: &mut Ctx<'_>) {
        self.phase = Phase::IDLE;
        self.sense = [0, 1, 2, 3].map(|drive| Some(st0::POLLING | drive));
        self.set_interrupt(cx, true);
    }

    // ---- Registers ----

    pub(super) fn read_port(&mut self, cx: &mut Ctx<'_>, offset: u64) -> u8 {
        match offset {
            regs::DOR => self.dor.into_bits(),
            // Bits 7:2 are not driven.
            regs::TDR => 0xfc | self.tape,
            regs::MSR_DSR => self.main_status().into_bits(),
            regs::FIFO => self.read_data(cx),
            // Status registers A and B are not accessible in AT mode.
            _ => 0xff,
        }
    }

    pub(super) fn write_port(&mut self, cx: &mut Ctx<'_>, offset: u64, value: u8) {
        match offset {
            regs::DOR => self.write_dor(cx, Dor::from_bits(value)),
            regs::TDR => self.tape = value & 3,
            regs::MSR_DSR => {
                self.rate = value & 3;
                // An access of MSR or the data register ends the power-down, so that it shows nowhere.
                if value & regs::DSR_RESET != 0 {
                    self.software_reset(cx, !self.dor.not_reset());
                }
            }
            regs::FIFO => self.write_data(cx, value),
            _ => {}
        }
    }

    fn write_dor(&mut self, cx: &mut Ctx<'_>, value: Dor) {
        let before = std::mem::replace(&mut self.dor, value);
        let (now, real) = (cx.now(), self.timing.is_real());
        for drive in 0..2 {
            if value.motor(drive)
                && !before.motor(drive)
                && let Some(drive) = self.drive_mut(drive)
            {
                drive.spin_up(now, real);
            }
        }
        match (before.not_reset(), value.not_reset()) {
            (true, false) => self.software_reset(cx, true),
            (false, true) => self.phase = Phase::Restart { at: now.plus_nanos(COMMAND_DELAY) },
            _ => {}
        }
    }

    /// DIR: the change line of the drive that is selected, which needs its motor on (2.1.7).
    pub(super) fn read_dir(&self) -> u8 {
        let selected = self.drive(self.dor.drive()).filter(|_| self.dor.motor(self.dor.drive()));
        let changed = selected.is_some_and(super::drive::Drive::changed);
        regs::FLOATING | if changed { regs::DIR_CHANGED } else { 0 }
    }

    fn main_status(&self) -> Msr {
        let msr = Msr::new().with_drives_busy(self.drives_busy);
        match &self.phase {
            Phase::Reset | Phase::Restart { .. } => Msr::new(),
            Phase::Command(bytes) => msr.with_rqm(true).with_command_busy(!bytes.is_empty()),
            Phase::Start { .. } | Phase::BootSector { .. } => msr.with_command_busy(true).with_non_dma(self.non_dma()),
            Phase::Execute(transfer) => {
                let pio = transfer.pio();
                msr.with_command_busy(true)
                    .with_non_dma(self.non_dma())
                    .with_rqm(pio.is_some())
                    .with_dio(pio == Some(Direction::ToMemory))
            }
            Phase::Result { .. } => msr.with_rqm(true).with_dio(true).with_command_busy(true),
        }
    }

    /// SPECIFY's ND: the execution phase is PIO.
    pub(super) fn non_dma(&self) -> bool {
        self.specify[1] & 1 != 0
    }

    fn read_data(&mut self, cx: &mut Ctx<'_>) -> u8 {
        match std::mem::replace(&mut self.phase, Phase::IDLE) {
            Phase::Result { bytes, at } => {
                let byte = bytes.get(at).copied().unwrap_or(0);
                if at + 1 < bytes.len() {
                    self.phase = Phase::Result { bytes, at: at + 1 };
                }
                let more_seeks = self.phase == Phase::IDLE && self.sense.iter().flatten().any(|&st0| !is_polling(st0));
                self.set_interrupt(cx, false);
                // The end of another seek is a new interrupt.
                if more_seeks {
                    self.set_interrupt(cx, true);
                }
                byte
            }
            Phase::Execute(transfer) if transfer.pio() == Some(Direction::ToMemory) => self.pio_read(cx, *transfer),
            other => {
                self.phase = other;
                cx.guest_error("FIFO read while RQM or DIO is clear");
                0
            }
        }
    }

    fn write_data(&mut self, cx: &mut Ctx<'_>, value: u8) {
        match std::mem::replace(&mut self.phase, Phase::IDLE) {
            Phase::Command(mut bytes) => {
                bytes.push(value);
                let (opcode, len) = command::decode(bytes[0]);
                if bytes.len() < len {
                    self.phase = Phase::Command(bytes);
                } else {
                    self.command(cx, opcode, bytes);
                }
            }
            Phase::Execute(transfer) if transfer.pio() == Some(Direction::FromMemory) => {
                self.pio_write(cx, *transfer, value);
            }
            other => {
                self.phase = other;
                cx.guest_error("FIFO written while RQM is clear or DIO is set");
            }
        }
    }

    // ---- Commands ----

    /// Enters the result phase.
    pub(super) fn set_result(&mut self, bytes: &[u8]) {
        self.phase = Phase::Result { bytes: bytes.to_vec(), at: 0 };
    }

    /// A command is complete. Commands without an execution phase take effect at once.
    fn command(&mut self, cx: &mut Ctx<'_>, opcode: Opcode, bytes: Vec<u8>) {
        let byte = |n: usize| bytes.get(n).copied().unwrap_or(0);
        let drive = byte(1) & 3;
        let head = byte(1) >> 2 & 1;
        match opcode {
            Opcode::Specify => self.specify = [byte(1), byte(2)],
            Opcode::SenseDriveStatus => {
                let mut status = st3::FIXED | byte(1) & 7;
                if let Some(drive) = self.drive(drive) {
                    status |= if drive.write_protected() { st3::WRITE_PROTECTED } else { 0 };
                    status |= if drive.on_track_0() { st3::TRACK_0 } else { 0 };
                }
                self.set_result(&[status]);
            }
            Opcode::SenseInterruptStatus => self.sense_interrupt(cx),
            Opcode::Recalibrate => self.seek(cx, drive, 0, -RECALIBRATE_STEPS, 0, SeekKind::Recalibrate),
            Opcode::Seek => {
                let by = i16::from(byte(2)) - i16::from(self.cylinders[usize::from(drive)]);
                self.seek(cx, drive, head, by, byte(2), SeekKind::Absolute);
            }
            Opcode::RelativeSeek => {
                let inwards = byte(0) & DIRECTION != 0;
                let by = if inwards { i16::from(byte(2)) } else { -i16::from(byte(2)) };
                let to = self.cylinders[usize::from(drive)].wrapping_add_signed(by as i8);
                self.seek(cx, drive, head, by, to, SeekKind::Relative);
            }
            Opcode::Configure => {
                self.configure = Configure::from_bits(byte(2) & 0x7f);
                self.precompensation_track = byte(3);
            }
            Opcode::Perpendicular => {
                let kept = if byte(1) & OVERWRITE != 0 { 0 } else { PERPENDICULAR_DRIVES };
                self.perpendicular = self.perpendicular & kept | byte(1) & (0x3f & !kept);
            }
            Opcode::Lock => {
                self.locked = byte(0) & LOCK != 0;
                self.set_result(&[u8::from(self.locked) << 4]);
            }
            Opcode::Version => self.set_result(&[VERSION]),
            Opcode::DumpReg => {
                let [a, b, c, d] = self.cylinders;
                let lock = u8::from(self.locked) << 7 | self.perpendicular;
                let [srt, hlt] = self.specify;
                let configure = self.configure.into_bits();
                self.set_result(&[a, b, c, d, srt, hlt, self.last_eot, lock, configure, self.precompensation_track]);
            }
            Opcode::Invalid => {
                cx.guest_error("invalid command");
                self.set_result(&[st0::INVALID]);
            }
            _ => self.prepare(cx, opcode, bytes),
        }
    }

    /// A command with an execution phase: starts it after the delay of the command and of an implied seek.
    fn prepare(&mut self, cx: &mut Ctx<'_>, opcode: Opcode, command: Vec<u8>) {
        let byte = |n: usize| command.get(n).copied().unwrap_or(0);
        match opcode {
            Opcode::Format => self.last_eot = byte(3),
            Opcode::ReadId => {}
            _ => self.last_eot = byte(6),
        }
        if byte(0) & MFM == 0 {
            cx.guest_error("FM command; the disks are MFM");
        }
        let mut delay = COMMAND_DELAY;
        let drive = usize::from(byte(1) & 3);
        if self.has_implied_seek(opcode) && self.timing.is_real() {
            delay += self.step_time() * u64::from(byte(2).abs_diff(self.cylinders[drive]));
        }
        self.phase = Phase::Start { at: cx.now().plus_nanos(delay), command };
    }

    /// EIS: data commands with C seek first (5.2.6).
    fn has_implied_seek(&self, opcode: Opcode) -> bool {
        self.configure.implied_seek() && !matches!(opcode, Opcode::Format | Opcode::ReadId)
    }

    /// The execution phase begins.
    pub(super) fn start(&mut self, cx: &mut Ctx<'_>, command: Vec<u8>) {
        let byte = |n: usize| command.get(n).copied().unwrap_or(0);
        let (opcode, _) = command::decode(byte(0));
        let (drive, cylinder) = (byte(1) & 3, byte(2));
        if self.drive(drive).is_some_and(super::drive::Drive::needs_boot_sector) {
            let boot = BlockData::Buffer(vec![0; geometry::SECTOR as usize]);
            let tag = self.submit(cx, drive, BlockOp::Read, 0, boot);
            self.phase = Phase::BootSector { command, tag };
            return;
        }
        let mut sought = false;
        if self.has_implied_seek(opcode) {
            let by = i16::from(cylinder) - i16::from(self.cylinders[usize::from(drive)]);
            self.cylinders[usize::from(drive)] = cylinder;
            if let Some(drive) = self.drive_mut(drive) {
                drive.step(by);
            }
            sought = true;
        }
        match Transfer::new(opcode, &command, sought) {
            Some(transfer) => self.begin(cx, transfer),
            None => self.set_result(&[st0::INVALID]),
        }
    }

    // ---- Seeks ----

    /// Nanoseconds per step: SRT counts down from 16 ms at 500 kbit/s (5.2.7).
    fn step_time(&self) -> u64 {
        let srt = u64::from(self.specify[0] >> 4);
        (16 - srt) * 1_000_000 * 500 / geometry::rate::kbps(self.rate)
    }

    /// Starts a seek. Drives seek independently, and the controller accepts commands meanwhile.
    fn seek(&mut self, cx: &mut Ctx<'_>, drive: u8, head: u8, by: i16, to: u8, kind: SeekKind) {
        let mut delay = COMMAND_DELAY;
        if self.timing.is_real() {
            delay += self.step_time() * u64::from(by.unsigned_abs().min(85));
        }
        self.drives_busy |= 1 << drive;
        self.seeks[usize::from(drive)] = Some(Seek { at: cx.now().plus_nanos(delay), by, to, kind, head });
    }

    fn end_seek(&mut self, cx: &mut Ctx<'_>, number: u8, seek: Seek) {
        let mut status = st0::SEEK_END | seek.head << 2 | number;
        let mut failed = false;
        if let Some(drive) = self.drive_mut(number) {
            // RECALIBRATE sends no pulse to a drive on track 0.
            let recalibrated = seek.kind == SeekKind::Recalibrate && drive.on_track_0();
            let made = if recalibrated { 0 } else { drive.step(seek.by) };
            failed = match seek.kind {
                SeekKind::Recalibrate => !drive.on_track_0(),
                // A step out beyond track 0 (6.1, EC). A step in beyond the last cylinder shows nowhere.
                SeekKind::Relative => seek.by < 0 && u16::from(made) < seek.by.unsigned_abs(),
                SeekKind::Absolute => false,
            };
        } else if seek.kind == SeekKind::Recalibrate {
            failed = true;
        }
        self.cylinders[usize::from(number)] = seek.to;
        if failed {
            status |= st0::ABNORMAL | st0::EQUIPMENT_CHECK;
        }
        self.sense[usize::from(number)] = Some(status);
        // During a command the interrupt waits for its result phase to end.
        if self.phase == Phase::IDLE || matches!(self.phase, Phase::Command(_)) {
            self.set_interrupt(cx, false);
            self.set_interrupt(cx, true);
        }
    }

    /// SENSE INTERRUPT STATUS: ends of seeks first, then the polling after a reset.
    fn sense_interrupt(&mut self, cx: &mut Ctx<'_>) {
        let first = |polling: bool| self.sense.iter().position(|s| s.is_some_and(|st0| is_polling(st0) == polling));
        let Some(drive) = first(false).or_else(|| first(true)) else {
            return self.set_result(&[st0::INVALID]);
        };
        let status = self.sense[drive].take().unwrap_or(st0::INVALID);
        if !is_polling(status) {
            self.drives_busy &= !(1 << drive);
        }
        self.set_interrupt(cx, false);
        self.set_result(&[status, self.cylinders[drive]]);
    }
}

/// Whether an ST0 is of the polling after a reset.
fn is_polling(status: u8) -> bool {
    status & st0::POLLING == st0::POLLING
}
