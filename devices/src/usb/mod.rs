//! UHCI USB host controller of the PIIX3 (82371SB data sheet, order 290550, section 2.4; Intel Universal Host
//! Controller Interface Design Guide, revision 1.1, whose sections are cited), with a tablet at port 1 and a keyboard
//! at port 2.
//!
//! PCI 00:01.2, 8086:7020; 32 I/O ports at BAR 4; INTD#, routed to PIRQD# while LEGSUP.USBPIRQDEN is set. The tablet
//! (`tablet`) is a full-speed function, the keyboard (`keyboard`) a low-speed function; both are HID 1.11 class
//! functions on USB 1.1 (`function`).
//!
//! The real controller reads the schedule every millisecond, and a guest driver adds work to it without any register
//! access. This model runs frames in batches, at the moments when their effects can be observed: on a register access,
//! on an input event, and on a timer. The timer fires every frame while transfers complete. While all polls end in NAK
//! the interval grows, to `MAX_BATCH` frames at most. Every frame is run and FRNUM is always exact; a transfer that the
//! driver queues while the schedule is idle may start up to `MAX_BATCH` frames late.
//!
//! Deliberately missing: SMI# and the traps of ports 60h and 64h (LEGSUP reads back what was written); devices other
//! than these two, and unplugging them; disabling a port because of babble at the end of a frame. Frames that are more
//! than `MAX_CATCH_UP` behind are skipped.

mod descriptors;
mod function;
mod keyboard;
mod packet;
mod port;
mod regs;
mod schedule;
mod tablet;
mod td;
#[cfg(test)]
mod tests;

use crate::chipset::{SUBSYSTEM_ID, SUBSYSTEM_VENDOR, VENDOR_INTEL};
use crate::ctx::{IrqLine, TimerId};
use crate::pci::{COMMAND, ConfigSpace, ConfigState, STATUS, config_register_name};
use crate::time::VmTime;
use crate::{Access, CONFIG_TAG, Ctx, Devfn, Device, Effect, InputEvent, Region, RestoreError, Wake};
use function::HidFunction;
use port::RootPort;
use regs::{FRNUM_MASK, LEGSUP, LEGSUP_USBPIRQDEN, PortSc, UsbCmd, UsbIntr, UsbSts};
use schedule::{FrameOutcome, FrameWalk, SchedulePosition};
use serde::{Deserialize, Serialize};

/// PCI address: 00:01.2.
pub const DEVFN: Devfn = Devfn::new(1, 2);
/// PCI device ID of function 2 of the 82371SB.
pub const DEVICE_ID: u16 = 0x7020;
/// Class code: serial bus controller, USB, UHCI.
const CLASS: u32 = 0x0c_0300;
/// Revision of QEMU's function. Installed Windows binds its driver to it among other ids.
const REVISION: u8 = 1;
/// Interrupt pin INTD#, counted from INTA# = 0.
const PIN: u8 = 3;
/// SBRNUM, the serial bus release number: USB 1.0.
const RELEASE: u8 = 0x10;
const PORTS: u32 = 32;
const TAG: u8 = 0;
const TIMER: TimerId = TimerId(0);

/// The longest interval between two timer wake-ups, in frames.
const MAX_BATCH: u64 = 64;
/// Frames after the last activity during which the timer fires every frame.
const ACTIVE_FRAMES: u32 = 8;
/// Frames after a read of FRNUM during which the timer fires every frame: drivers read FRNUM to wait for the next
/// frame.
const FRNUM_READ_FRAMES: u8 = 2;
/// Frames that one call runs at most; the controller skips those that remain.
const MAX_CATCH_UP: u64 = 256;
/// TDs and QHs that one call fetches at most, over all its frames: several times what an idle Linux has in
/// `MAX_CATCH_UP` frames.
const MAX_FETCHES: u32 = 8192;
/// The functions' poll flags age every `POLL_AGE_MASK` + 1 frames, a power of two. A function that the guest has not
/// polled for one to two such periods counts as unused.
const POLL_AGE_MASK: u32 = 0x3ff;

/// The UHCI function of the PIIX3.
#[derive(Debug)]
pub struct Piix3Usb {
    config: ConfigSpace,
    usbcmd: UsbCmd,
    usbsts: UsbSts,
    /// The causes of USBSTS.USBINT: a completed TD with IOC set, a short packet.
    ioc_pending: bool,
    short_packet_pending: bool,
    usbintr: UsbIntr,
    /// FRNUM: the frame number that software wrote while stopped; the current frame while running.
    frnum: u16,
    frbaseadd: u32,
    sofmod: u8,
    ports: [RootPort; 2],
    /// When the current frame ends.
    frame_end: VmTime,
    /// Frames since reset.
    frame_count: u32,
    /// Frames since the last activity (a completed transaction other than NAK, an input event, a port change).
    idle_frames: u32,
    /// Frames for which the timer still fires every frame after a read of FRNUM.
    unbatched_frames: u8,
    /// Where the next transaction of the frame is, after a single step (USBCMD.SWDBG).
    position: Option<SchedulePosition>,
}

/// Saved state of [`Piix3Usb`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Piix3UsbState {
    config: ConfigState,
    usbcmd: UsbCmd,
    usbsts: UsbSts,
    ioc_pending: bool,
    short_packet_pending: bool,
    usbintr: UsbIntr,
    frnum: u16,
    frbaseadd: u32,
    sofmod: u8,
    ports: [RootPort; 2],
    frame_end: VmTime,
    frame_count: u32,
    idle_frames: u32,
    unbatched_frames: u8,
    position: Option<SchedulePosition>,
}

impl Default for Piix3Usb {
    fn default() -> Self {
        Self::new()
    }
}

impl Piix3Usb {
    /// The function at power-on, with its tablet and keyboard.
    pub fn new() -> Self {
        let config = ConfigSpace::new(VENDOR_INTEL, DEVICE_ID, CLASS, REVISION)
            .subsystem(SUBSYSTEM_VENDOR, SUBSYSTEM_ID)
            // PCI command: the enables; memory and SERR#, which the data sheet hardwires to 0, as in QEMU's `pc`, and PCI
            // status without its fast back-to-back and DEVSEL# bits, likewise. The abort bits.
            .writable(COMMAND, &[0x07, 0x01])
            .write_1_to_clear(STATUS, &[0x00, 0x38])
            .writable(0x0c, &[0x00, 0xf0])
            .io_bar(4, PORTS)
            .writable(0x22, &[0, 0])
            .interrupt_pin(PIN + 1)
            .preset(0x60, &[RELEASE])
            .preset(LEGSUP.into(), &[0x00, LEGSUP_USBPIRQDEN])
            .writable(LEGSUP.into(), &[0xbf, LEGSUP_USBPIRQDEN]);
        Self {
            config,
            usbcmd: UsbCmd::new(),
            usbsts: UsbSts::new(),
            ioc_pending: false,
            short_packet_pending: false,
            usbintr: UsbIntr::new(),
            frnum: 0,
            frbaseadd: 0,
            sofmod: regs::SOFMOD_RESET,
            ports: [RootPort::new(HidFunction::tablet()), RootPort::new(HidFunction::keyboard())],
            frame_end: VmTime::ZERO,
            frame_count: 0,
            idle_frames: 0,
            unbatched_frames: 0,
            position: None,
        }
    }

    /// Whether a guest driver polls the tablet, so that pointer events go to it.
    pub fn tablet_in_use(&self) -> bool {
        self.in_use(0)
    }

    /// Whether a guest driver polls the keyboard and the keyboard has this key.
    pub fn accepts_key(&self, code: u16) -> bool {
        self.keyboard_in_use() && keyboard::usage(code).is_some()
    }

    /// Whether a guest driver polls the keyboard.
    pub fn keyboard_in_use(&self) -> bool {
        self.in_use(1)
    }

    fn in_use(&self, port: usize) -> bool {
        let global_suspend = self.usbcmd.egsm();
        (self.usbcmd.rs() || global_suspend) && self.ports[port].in_use(global_suspend)
    }

    /// Whether a key of the keyboard is held down.
    pub fn holds_key(&self, code: u16) -> bool {
        let keyboard = self.ports[1].function.as_keyboard();
        keyboard.zip(keyboard::usage(code)).is_some_and(|(keyboard, usage)| keyboard.holds(usage))
    }

    /// Queued key presses and releases that the guest has not read yet; the keyboard queues up to 16 presses.
    pub fn keys_waiting(&self) -> usize {
        self.ports[1].function.as_keyboard().map_or(0, keyboard::Keyboard::queued_events)
    }

    /// The keyboard's LEDs in the order of a PS/2 keyboard: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    pub fn leds(&self) -> u8 {
        // The LED report is in the order Num Lock, Caps Lock, Scroll Lock (HID Usage Tables 1.12, 11).
        let leds = self.ports[1].function.as_keyboard().map_or(0, keyboard::Keyboard::leds);
        leds << 1 & 6 | leds >> 2 & 1
    }

    /// The length of a frame in nanoseconds: 11,936 to 12,063 bit times of 12 MHz (2.1.6, SOFMOD).
    fn frame_nanos(&self) -> u64 {
        (11_936 + u64::from(self.sofmod)) * 250 / 3
    }

    fn is_running(&self) -> bool {
        self.usbcmd.rs() && !self.usbcmd.egsm()
    }

    fn handle_input(&mut self, event: InputEvent) {
        let [tablet, keyboard] = &mut self.ports;
        let port = match event {
            InputEvent::Key { code, down } => {
                if let Some((keyboard, usage)) = keyboard.function.as_keyboard_mut().zip(keyboard::usage(code)) {
                    keyboard.key_event(usage, down);
                }
                keyboard
            }
            InputEvent::Pointer { x, y, dz, buttons } => {
                if let Some(tablet) = tablet.function.as_tablet_mut() {
                    tablet.move_to(x, y, dz, buttons);
                }
                tablet
            }
            InputEvent::Mouse { .. } => return,
        };
        if !port.function.has_report() {
            return;
        }
        self.idle_frames = 0;
        let resume = port.signal_resume() || port.in_use(true);
        // In global suspend a resume signal resumes the whole bus (2.1.1, FGR; 2.1.2, Resume Detect).
        if self.usbcmd.egsm() && !self.usbcmd.fgr() && resume {
            self.usbcmd.set_fgr(true);
            self.usbsts.set_resume_detect(true);
        }
    }

    /// Runs the frames that have ended by now.
    fn catch_up(&mut self, cx: &mut Ctx<'_>) {
        if !self.is_running() {
            return;
        }
        let now = cx.now();
        let length = self.frame_nanos();
        let mut fetches_left = MAX_FETCHES;
        for _ in 0..MAX_CATCH_UP {
            if self.frame_end > now {
                return;
            }
            self.run_frame(cx, &mut fetches_left);
            if !self.is_running() {
                return;
            }
            self.end_frames(1, length);
            if self.usbcmd.swdbg() {
                break;
            }
        }
        if self.frame_end <= now {
            let skipped = now.since(self.frame_end).as_nanos() as u64 / length + 1;
            self.end_frames(skipped, length);
        }
    }

    /// Advances the frame counters by `frames`.
    fn end_frames(&mut self, frames: u64, length: u64) {
        self.frnum = self.frnum.wrapping_add(frames as u16) & FRNUM_MASK;
        let before = self.frame_count;
        self.frame_count = before.wrapping_add(frames as u32);
        if frames > POLL_AGE_MASK.into() || (before ^ self.frame_count) & !POLL_AGE_MASK != 0 {
            self.ports.iter_mut().for_each(|port| port.function.age_poll_flags());
        }
        self.frame_end = self.frame_end.plus_nanos(frames.saturating_mul(length));
    }

    fn run_frame(&mut self, cx: &mut Ctx<'_>, fetches_left: &mut u32) {
        let mut outcome = FrameOutcome::default();
        if self.config.bus_master() {
            let position = match self.position.take() {
                Some(position) => Some(position),
                None => {
                    let at = u64::from(self.frbaseadd) + 4 * u64::from(self.frnum & 0x3ff);
                    outcome.host_system_error = !schedule::is_ram(cx.memory(), at, 4, false);
                    (!outcome.host_system_error).then(|| SchedulePosition::start(cx.memory().read_u32(at)))
                }
            };
            let mut frame = FrameWalk {
                memory: cx.memory(),
                ports: &mut self.ports,
                number: self.frame_count,
                nanos_left: 1_000_000,
                maxp: self.usbcmd.maxp(),
                fetches_left: *fetches_left,
                single_step: self.usbcmd.swdbg(),
            };
            if let Some(position) = position {
                self.position = frame.run(position, &mut outcome);
            }
            *fetches_left = fetches_left.saturating_sub(outcome.fetches);
        }
        let FrameOutcome { ioc, short_packet, error, host_system_error, process_error, active, fetches: _ } = outcome;
        if host_system_error {
            cx.guest_error("schedule or buffer outside RAM");
        }
        if process_error {
            cx.guest_error("TD with an illegal PID or MaxLen");
        }
        self.ioc_pending |= ioc;
        self.short_packet_pending |= short_packet;
        let usbsts = &mut self.usbsts;
        usbsts.set_usbint(usbsts.usbint() || ioc || short_packet);
        usbsts.set_usb_error(usbsts.usb_error() || error);
        usbsts.set_host_system_error(usbsts.host_system_error() || host_system_error);
        usbsts.set_process_error(usbsts.process_error() || process_error);
        // 2.1.1: a fatal error clears RS, and so does every transaction in single-step mode.
        if host_system_error || process_error || self.position.is_some() {
            self.usbcmd.set_rs(false);
        }
        self.idle_frames = if active { 0 } else { self.idle_frames.saturating_add(1) };
        self.unbatched_frames = self.unbatched_frames.saturating_sub(1);
    }

    fn set_timer(&self, cx: &mut Ctx<'_>) {
        if !self.is_running() {
            return cx.disarm(TIMER);
        }
        let frames = if self.unbatched_frames > 0 || self.idle_frames < ACTIVE_FRAMES {
            1
        } else {
            u64::from(self.idle_frames / 4).min(MAX_BATCH)
        };
        cx.arm(TIMER, self.frame_end.plus_nanos((frames - 1) * self.frame_nanos()));
    }

    fn set_irq(&self, cx: &mut Ctx<'_>) {
        let (usbsts, usbintr) = (self.usbsts, self.usbintr);
        let level = usbsts.usbint()
            && (self.ioc_pending && usbintr.ioc() || self.short_packet_pending && usbintr.short_packet())
            || usbsts.usb_error() && usbintr.timeout_crc()
            || usbsts.resume_detect() && usbintr.resume()
            || usbsts.host_system_error()
            || usbsts.process_error();
        let routed = self.config.byte(LEGSUP + 1) & LEGSUP_USBPIRQDEN != 0;
        cx.set_irq(IrqLine::Pci(PIN), level && routed);
    }

    /// Sets the registers to their values after HCRESET.
    fn hcreset_registers(&mut self) {
        self.usbcmd = UsbCmd::new();
        self.usbsts = UsbSts::new();
        (self.ioc_pending, self.short_packet_pending) = (false, false);
        self.usbintr = UsbIntr::new();
        self.frnum = 0;
        self.frbaseadd = 0;
        self.sofmod = regs::SOFMOD_RESET;
        self.idle_frames = 0;
        self.unbatched_frames = 0;
        self.position = None;
    }

    fn greset(&mut self) {
        self.hcreset_registers();
        self.ports.iter_mut().for_each(RootPort::bus_reset);
    }

    fn word(&self, offset: u64) -> u16 {
        match offset {
            regs::USBCMD => self.usbcmd.into_bits(),
            regs::USBSTS => self.usbsts.with_hc_halted(!self.usbcmd.rs()).into_bits(),
            regs::USBINTR => self.usbintr.into_bits(),
            regs::FRNUM => self.frnum,
            regs::FRBASEADD => self.frbaseadd as u16,
            regs::FRBASEADD_HIGH => (self.frbaseadd >> 16) as u16,
            regs::SOFMOD => self.sofmod.into(),
            regs::PORTSC1 | regs::PORTSC2 => {
                let port = &self.ports[usize::from(offset == regs::PORTSC2)];
                if self.usbcmd.greset() {
                    // No device is detected while the bus is in reset.
                    return PortSc::new().with_always_one(true).into_bits();
                }
                port.status(self.usbcmd.fgr()).into_bits()
            }
            // Drivers count ports by bit 7, which is 0 here: there is no third port.
            _ => 0,
        }
    }

    /// Software writes the bits in `mask` of the word at `offset`.
    fn write_word(&mut self, cx: &mut Ctx<'_>, offset: u64, value: u16, mask: u16) {
        let merged = |old: u16| old & !mask | value & mask;
        match offset {
            regs::USBCMD => self.write_usbcmd(cx, UsbCmd::from_bits(merged(self.usbcmd.into_bits()) & 0xff)),
            regs::USBSTS => {
                let clear = value & mask;
                if UsbSts::from_bits(clear).usbint() {
                    (self.ioc_pending, self.short_packet_pending) = (false, false);
                }
                self.usbsts = UsbSts::from_bits(self.usbsts.into_bits() & !clear);
            }
            regs::USBINTR => self.usbintr = UsbIntr::from_bits(merged(self.usbintr.into_bits()) & 0xf),
            // 2.1.4: FRNUM is writable only while the controller is stopped.
            regs::FRNUM if !self.usbcmd.rs() => {
                self.frnum = merged(self.frnum) & FRNUM_MASK;
                self.position = None;
            }
            regs::FRBASEADD => {
                let low = merged(self.frbaseadd as u16) & 0xf000;
                self.frbaseadd = self.frbaseadd & 0xffff_0000 | u32::from(low);
            }
            regs::FRBASEADD_HIGH => {
                let high = merged((self.frbaseadd >> 16) as u16);
                self.frbaseadd = self.frbaseadd & 0xffff | u32::from(high) << 16;
            }
            regs::SOFMOD => self.sofmod = merged(self.sofmod.into()) as u8 & 0x7f,
            regs::PORTSC1 | regs::PORTSC2 if !self.usbcmd.greset() => {
                let port = &mut self.ports[usize::from(offset == regs::PORTSC2)];
                if port.write(value, mask).changed {
                    self.idle_frames = 0;
                }
            }
            _ => {}
        }
    }

    fn write_usbcmd(&mut self, cx: &mut Ctx<'_>, new: UsbCmd) {
        let old = self.usbcmd;
        if new.greset() {
            if !old.greset() {
                self.greset();
            }
            // GRESET stays set until software clears it.
            self.usbcmd.set_greset(true);
            return;
        }
        if new.hcreset() {
            self.hcreset_registers();
            self.ports.iter_mut().for_each(RootPort::hcreset);
            return;
        }
        let was_running = self.is_running();
        // 2.1.1: SWDBG changes only while the controller is stopped.
        self.usbcmd = if old.rs() && new.rs() { new.with_swdbg(old.swdbg()) } else { new };
        if !self.usbcmd.swdbg() {
            self.position = None;
        }
        if self.is_running() && !was_running {
            self.frame_end = cx.now().plus_nanos(self.frame_nanos());
            self.idle_frames = 0;
        }
    }
}

impl Device for Piix3Usb {
    type State = Piix3UsbState;
    const KIND: &'static str = "piix3-usb";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        self.config.bar(4).map(|base| Region::io(base as u16, PORTS as u16, TAG)).into_iter().collect()
    }

    fn pci(&self) -> Option<Devfn> {
        Some(DEVFN)
    }

    fn register_name(&self, at: Access) -> Option<&'static str> {
        match at.tag {
            TAG => regs::name(at.offset),
            CONFIG_TAG => config_register_name(&[], at.offset),
            _ => None,
        }
    }

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        if at.tag == CONFIG_TAG {
            return self.config.read(at.offset, data);
        }
        self.catch_up(cx);
        let end = at.offset + data.len() as u64;
        if at.offset <= regs::FRNUM + 1 && end > regs::FRNUM {
            self.unbatched_frames = FRNUM_READ_FRAMES;
        }
        for (byte, offset) in data.iter_mut().zip(at.offset..) {
            let [low, high] = self.word(offset & !1).to_le_bytes();
            *byte = if offset & 1 == 0 { low } else { high };
        }
        self.set_timer(cx);
        self.set_irq(cx);
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        self.catch_up(cx);
        if at.tag == CONFIG_TAG {
            if self.config.write(at.offset, data).mapping {
                cx.effect(Effect::Remap);
            }
        } else {
            // One write per 16-bit register, with a mask of the bytes written: bytes that were not written must not
            // clear write-1-to-clear bits.
            let mut rest = data;
            let mut offset = at.offset;
            while let [first, more @ ..] = rest {
                let odd = offset & 1 == 1;
                let (value, mask, left) = match (odd, more) {
                    (true, more) => (u16::from_le_bytes([0, *first]), 0xff00, more),
                    (false, [second, more @ ..]) => (u16::from_le_bytes([*first, *second]), 0xffff, more),
                    (false, []) => (u16::from_le_bytes([*first, 0]), 0x00ff, more),
                };
                self.write_word(cx, offset & !1, value, mask);
                offset = (offset & !1) + 2;
                rest = left;
            }
        }
        self.set_timer(cx);
        self.set_irq(cx);
    }

    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake) {
        match why {
            Wake::Timer(_) => self.catch_up(cx),
            Wake::Input(event) => {
                self.catch_up(cx);
                self.handle_input(event);
            }
            _ => return,
        }
        self.set_timer(cx);
        self.set_irq(cx);
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self {
            config,
            usbcmd: _,
            usbsts: _,
            ioc_pending: _,
            short_packet_pending: _,
            usbintr: _,
            frnum: _,
            frbaseadd: _,
            sofmod: _,
            ports: _,
            frame_end,
            frame_count,
            idle_frames: _,
            unbatched_frames: _,
            position: _,
        } = self;
        config.reset();
        *frame_end = VmTime::ZERO;
        *frame_count = 0;
        self.greset();
        self.resync(cx);
    }

    fn save(&self) -> Piix3UsbState {
        let Self {
            config,
            usbcmd,
            usbsts,
            ioc_pending,
            short_packet_pending,
            usbintr,
            frnum,
            frbaseadd,
            sofmod,
            ports,
            frame_end,
            frame_count,
            idle_frames,
            unbatched_frames,
            position,
        } = self;
        Piix3UsbState {
            config: config.save(),
            usbcmd: *usbcmd,
            usbsts: *usbsts,
            ioc_pending: *ioc_pending,
            short_packet_pending: *short_packet_pending,
            usbintr: *usbintr,
            frnum: *frnum,
            frbaseadd: *frbaseadd,
            sofmod: *sofmod,
            ports: ports.clone(),
            frame_end: *frame_end,
            frame_count: *frame_count,
            idle_frames: *idle_frames,
            unbatched_frames: *unbatched_frames,
            position: *position,
        }
    }

    fn load(&mut self, state: Piix3UsbState) -> Result<(), RestoreError> {
        let refused = |what| Err(RestoreError::Impossible { kind: Self::KIND, what });
        if !state.ports.iter().zip(&self.ports).all(|(port, template)| port.is_valid(template)) {
            return refused("USB port");
        }
        let known_status = UsbSts::from_bits(0x1f);
        if state.usbcmd.into_bits() & !0xfd != 0
            || state.usbsts.into_bits() & !known_status.into_bits() != 0
            || state.usbsts.usbint() != (state.ioc_pending || state.short_packet_pending)
            || state.usbintr.into_bits() & !0xf != 0
            || state.frnum & !FRNUM_MASK != 0
            || state.frbaseadd & 0xfff != 0
            || state.sofmod > 0x7f
            || state.unbatched_frames > FRNUM_READ_FRAMES
        {
            return refused("register");
        }
        self.config.load(Self::KIND, &state.config, &[])?;
        let Piix3UsbState {
            config: _,
            usbcmd,
            usbsts,
            ioc_pending,
            short_packet_pending,
            usbintr,
            frnum,
            frbaseadd,
            sofmod,
            ports,
            frame_end,
            frame_count,
            idle_frames,
            unbatched_frames,
            position,
        } = state;
        self.usbcmd = usbcmd;
        self.usbsts = usbsts;
        (self.ioc_pending, self.short_packet_pending) = (ioc_pending, short_packet_pending);
        self.usbintr = usbintr;
        (self.frnum, self.frbaseadd, self.sofmod) = (frnum, frbaseadd, sofmod);
        self.ports = ports;
        (self.frame_end, self.frame_count, self.idle_frames, self.unbatched_frames) =
            (frame_end, frame_count, idle_frames, unbatched_frames);
        self.position = position;
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        cx.effect(Effect::Remap);
        self.set_timer(cx);
        self.set_irq(cx);
    }
}
