//! Floppy disk controller: Intel 82077AA in PC AT mode (data sheet 290166) with two drives.
//!
//! Ports 3F0h-3F5h and 3F7h (3F6h is the IDE channel's), IRQ 6, ISA DMA channel 2. Drives A and B are [`DiskId`] 4 and 5.
//! Raw images of every PC format from 160 KB to 2.88 MB (`geometry`).
//!
//! By default the disk does not turn and heads do not need time: a command completes [`COMMAND_DELAY`] after its last
//! byte. With [`Timing::Real`] steps take the time of SPECIFY, sectors pass the head at 300 or 360 rpm, and a motor takes
//! 500 ms to full speed.
//!
//! A disk that a command needs and that is not there, or whose motor is off, gives "missing address mark" at once. The
//! real chip waits for an index pulse until the driver resets it.
//!
//! Not implemented: PS/2 and Model 30 mode with status registers A and B (not accessible in AT mode, they read as FFh),
//! tape drives (TDR only stores its value), precompensation and gap lengths, which a raw image cannot carry, and formats
//! of a track that differ from the image's. Deleted data marks last as long as the disk stays in the drive.

pub mod command;
mod controller;
mod drive;
pub mod geometry;
mod phase;
pub mod regs;
#[cfg(test)]
mod tests;
mod transfer;

pub use drive::{FloppyMedium, FloppySpec};
pub use geometry::DriveType;

use crate::ctx::TimerId;
use crate::pci::register_name;
use crate::time::VmTime;
use crate::{Access, Ctx, Device, DiskId, Medium, Owned, Region, RestoreError, Wake};
use drive::{Drive, DriveState};
use phase::{Configure, Phase, Seek};
use regs::Dor;
use serde::{Deserialize, Serialize};

/// The [`DiskId`] of drive A; drive B's follows.
pub const FIRST_DISK: u8 = 4;
/// Names of the drives.
pub const UNITS: [&str; 2] = ["fda", "fdb"];

/// Time from the last byte of a command, or the end of a reset, to its effect, in nanoseconds. On a real drive the next ID
/// comes after milliseconds and a reset takes some 100 us. Drivers rely on that: some write the last byte, and only then
/// set the flag that the interrupt handler looks for, or halt.
pub const COMMAND_DELAY: u64 = 50_000;

const TAG_PORTS: u8 = 0;
const TAG_CCR_DIR: u8 = 1;
const TIMER: TimerId = TimerId(0);

/// Whether mechanical delays are simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// Commands complete at once.
    #[default]
    Fast,
    /// Steps, rotation and motors take their time.
    Real,
}

impl Timing {
    fn is_real(self) -> bool {
        self == Self::Real
    }
}

/// The controller.
#[derive(Debug)]
pub struct Fdc {
    drives: [Option<Drive>; 2],
    timing: Timing,
    dor: Dor,
    tape: u8,
    /// Data rate, as in CCR.
    rate: u8,
    configure: Configure,
    precompensation_track: u8,
    /// CONFIGURE's FIFO parameters survive a software reset.
    locked: bool,
    /// PERPENDICULAR MODE: D3 to D0, GAP, WGATE.
    perpendicular: u8,
    /// SPECIFY: SRT and HUT, HLT and ND.
    specify: [u8; 2],
    /// SC/EOT of the last command, for DUMPREG.
    last_eot: u8,
    /// Present cylinder numbers of drives 0 to 3.
    cylinders: [u8; 4],
    seeks: [Option<Seek>; 4],
    /// ST0 for SENSE INTERRUPT STATUS, by drive.
    sense: [Option<u8>; 4],
    /// MSR bits 3:0.
    drives_busy: u8,
    /// INT, before DMAGATE#.
    interrupt: bool,
    phase: Phase,
    next_tag: u64,
    /// A block request that was in flight at a reset. The controller does not accept commands before it is complete, so
    /// that an old write cannot overtake a later read.
    orphan: Option<u64>,
    /// Level of IRQ 6.
    irq_level: bool,
    /// The timer's setting.
    armed: Option<VmTime>,
}

/// [`Fdc`] in a saved state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FdcState {
    drives: [Option<DriveState>; 2],
    dor: Dor,
    tape: u8,
    rate: u8,
    configure: Configure,
    precompensation_track: u8,
    locked: bool,
    perpendicular: u8,
    specify: [u8; 2],
    last_eot: u8,
    cylinders: [u8; 4],
    seeks: [Option<Seek>; 4],
    sense: [Option<u8>; 4],
    drives_busy: u8,
    interrupt: bool,
    phase: Phase,
    next_tag: u64,
    orphan: Option<u64>,
}

impl Fdc {
    /// The controller with drives A and B.
    pub fn new(drives: [Option<FloppySpec>; 2], timing: Timing) -> Self {
        Self {
            drives: drives.map(|spec| spec.map(Drive::new)),
            timing,
            dor: Dor::new(),
            tape: 0,
            rate: geometry::rate::KBPS_250,
            configure: Configure::RESET,
            precompensation_track: 0,
            locked: false,
            perpendicular: 0,
            specify: [0; 2],
            last_eot: 0,
            cylinders: [0; 4],
            seeks: [None; 4],
            sense: [None; 4],
            drives_busy: 0,
            interrupt: false,
            phase: Phase::Reset,
            next_tag: 0,
            orphan: None,
            irq_level: false,
            armed: None,
        }
    }

    fn drive(&self, drive: u8) -> Option<&Drive> {
        self.drives.get(usize::from(drive))?.as_ref()
    }

    fn drive_mut(&mut self, drive: u8) -> Option<&mut Drive> {
        self.drives.get_mut(usize::from(drive))?.as_mut()
    }
}

impl Device for Fdc {
    type State = FdcState;
    const KIND: &'static str = "fdc";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        // CCR only latches the data rate.
        vec![Region::io(regs::BASE, 6, TAG_PORTS), Region::io(regs::CCR_DIR, 1, TAG_CCR_DIR).with_coalesce(0..1)]
    }

    fn owns(&self) -> Owned {
        Owned { disks: (0..2).map(|n| DiskId(FIRST_DISK + n)).collect(), ..Owned::default() }
    }

    fn register_name(&self, at: Access) -> Option<&'static str> {
        match at.tag {
            TAG_PORTS => register_name(regs::NAMES, at.offset),
            TAG_CCR_DIR => Some("DIR/CCR"),
            _ => None,
        }
    }

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        self.catch_up(cx);
        for (byte, offset) in data.iter_mut().zip(at.offset..) {
            *byte = if at.tag == TAG_CCR_DIR { self.read_dir() } else { self.read_port(cx, offset) };
        }
        self.settle(cx);
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        self.catch_up(cx);
        for (&value, offset) in data.iter().zip(at.offset..) {
            if at.tag == TAG_CCR_DIR {
                self.rate = value & 3;
            } else {
                self.write_port(cx, offset, value);
            }
        }
        self.settle(cx);
    }

    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake) {
        match why {
            Wake::Timer(TIMER) => self.armed = None,
            Wake::Block(done) => self.block_done(cx, done),
            Wake::IsaDma(done) => match std::mem::replace(&mut self.phase, Phase::IDLE) {
                Phase::Execute(transfer) => self.dma_done(cx, *transfer, done),
                other => self.phase = other,
            },
            Wake::Medium(disk, medium) => {
                if let Some(drive) = disk.0.checked_sub(FIRST_DISK).and_then(|n| self.drive_mut(n)) {
                    let medium = medium.map(|Medium { size, read_only, disc: _ }| FloppyMedium { size, read_only });
                    drive.insert(medium);
                }
            }
            _ => {}
        }
        self.catch_up(cx);
        self.settle(cx);
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self {
            drives,
            timing: _,
            dor,
            tape,
            rate,
            configure,
            precompensation_track,
            locked,
            perpendicular,
            specify,
            last_eot,
            cylinders,
            seeks,
            sense,
            drives_busy,
            interrupt,
            phase,
            next_tag: _,
            orphan,
            irq_level,
            armed,
        } = self;
        let in_flight = match &*phase {
            Phase::Execute(transfer) => transfer.tag(),
            Phase::BootSector { tag, .. } => Some(*tag),
            _ => None,
        };
        *orphan = in_flight.or(*orphan);
        drives.iter_mut().flatten().for_each(Drive::reset);
        *dor = Dor::new();
        *tape = 0;
        *rate = geometry::rate::KBPS_250;
        *configure = Configure::RESET;
        *precompensation_track = 0;
        *locked = false;
        *perpendicular = 0;
        *specify = [0; 2];
        *last_eot = 0;
        *cylinders = [0; 4];
        *seeks = [None; 4];
        *sense = [None; 4];
        *drives_busy = 0;
        *interrupt = false;
        *phase = Phase::Reset;
        *irq_level = false;
        *armed = None;
        cx.set_irq(controller::IRQ, false);
        cx.disarm(TIMER);
    }

    fn save(&self) -> FdcState {
        let Self {
            drives: [a, b],
            timing: _,
            dor,
            tape,
            rate,
            configure,
            precompensation_track,
            locked,
            perpendicular,
            specify,
            last_eot,
            cylinders,
            seeks,
            sense,
            drives_busy,
            interrupt,
            phase,
            next_tag,
            orphan,
            irq_level: _,
            armed: _,
        } = self;
        FdcState {
            drives: [a, b].map(|drive| drive.as_ref().map(|drive| drive.state.clone())),
            dor: *dor,
            tape: *tape,
            rate: *rate,
            configure: *configure,
            precompensation_track: *precompensation_track,
            locked: *locked,
            perpendicular: *perpendicular,
            specify: *specify,
            last_eot: *last_eot,
            cylinders: *cylinders,
            seeks: *seeks,
            sense: *sense,
            drives_busy: *drives_busy,
            interrupt: *interrupt,
            phase: phase.clone(),
            next_tag: *next_tag,
            orphan: *orphan,
        }
    }

    fn load(&mut self, state: FdcState) -> Result<(), RestoreError> {
        let impossible = |what| Err(RestoreError::Impossible { kind: Self::KIND, what });
        let drives_fit = self.drives.iter().zip(&state.drives).all(|(drive, state)| match (drive, state) {
            (Some(drive), Some(state)) => drive.accepts(state),
            (None, None) => true,
            _ => false,
        });
        if !drives_fit {
            return impossible("drive");
        }
        if state.rate > 3 || state.tape > 3 || state.perpendicular > 0x3f || state.drives_busy > 0xf {
            return impossible("register");
        }
        if state.seeks.iter().flatten().any(|seek| seek.head > 1) || !state.phase.is_valid() {
            return impossible("phase");
        }
        if state.dor.not_reset() == matches!(state.phase, Phase::Reset) {
            return impossible("DOR");
        }
        let FdcState {
            drives,
            dor,
            tape,
            rate,
            configure,
            precompensation_track,
            locked,
            perpendicular,
            specify,
            last_eot,
            cylinders,
            seeks,
            sense,
            drives_busy,
            interrupt,
            phase,
            next_tag,
            orphan,
        } = state;
        for (drive, state) in self.drives.iter_mut().zip(drives) {
            if let (Some(drive), Some(state)) = (drive, state) {
                drive.state = state;
            }
        }
        (self.dor, self.tape, self.rate) = (dor, tape, rate);
        (self.configure, self.precompensation_track, self.locked) = (configure, precompensation_track, locked);
        (self.perpendicular, self.specify, self.last_eot) = (perpendicular, specify, last_eot);
        (self.cylinders, self.seeks, self.sense) = (cylinders, seeks, sense);
        (self.drives_busy, self.interrupt, self.phase) = (drives_busy, interrupt, phase);
        (self.next_tag, self.orphan) = (next_tag, orphan);
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        // Requests of the saved machine do not complete here.
        self.orphan = None;
        match std::mem::replace(&mut self.phase, Phase::IDLE) {
            Phase::Execute(transfer) => self.repeat(cx, *transfer),
            Phase::BootSector { command, .. } => self.start(cx, command),
            other => self.phase = other,
        }
        self.armed = None;
        cx.disarm(TIMER);
        self.settle(cx);
        cx.set_irq(controller::IRQ, self.irq_level);
    }
}
