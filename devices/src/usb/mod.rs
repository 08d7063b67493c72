//! The USB function of the PIIX3 (82371SB data sheet, order 290550, section 2.4): a UHCI host controller (Universal Host
//! Controller Interface Design Guide, revision 1.1), with a tablet in port 1 and a keyboard in port 2.
//!
//! PCI 00:01.2, 8086:7020; 32 ports at BAR 4; INTD#, while LEGSUP says so. The tablet (`tablet`) is a full-speed
//! function, the keyboard (`keyboard`) a low-speed one; both are of class HID 1.11 and speak USB 1.1 (`function`).
//!
//! A real controller reads the schedule every millisecond, and a guest's driver tells it nothing when it adds to it.
//! Here frames are carried out in one go when somebody could see the difference: when the guest looks at a register,
//! when there is input, and by a timer, every frame while something happens and less and less often while nothing does
//! but NAKs, `LAZIEST` at a time at last. Every frame has its turn and FRNUM is always exact; what a driver adds while
//! nothing happened may be found up to that much later.
//!
//! Deliberately missing: SMI# and the traps of ports 60h and 64h (LEGSUP reads back what was written); other devices,
//! and pulling these out; ports that are disabled because of babble at the end of a frame. A frame that is more than `CATCH_UP` late is lost.

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
use crate::pci::{COMMAND, ConfigSpace, ConfigState, STATUS};
use crate::time::VmTime;
use crate::{Access, CONFIG_TAG, Ctx, Devfn, Device, Effect, InputEvent, Region, RestoreError, Wake};
use function::Function;
use port::Port;
use regs::{Command, Enables, FRAME_MASK, LEGSUP, LEGSUP_PIRQ, PortStatus, Status};
use schedule::{Frame, Outcome, Place};
use serde::{Deserialize, Serialize};

/// Where the function is.
pub const DEVFN: Devfn = Devfn::new(1, 2);
/// 82371SB function 2.
pub const DEVICE_ID: u16 = 0x7020;
/// USB, UHCI.
const CLASS: u32 = 0x0c_0300;
/// INTD#.
const PIN: u8 = 3;
/// SBRNUM: USB 1.0.
const RELEASE: u8 = 0x10;
const PORTS: u32 = 32;
const TAG: u8 = 0;
const TIMER: TimerId = TimerId(0);

/// Frames that are carried out at a time at most while nothing happens.
const LAZIEST: u64 = 64;
/// For so many frames after something happened each is carried out by itself.
const AWAKE: u32 = 8;
/// Frames after FRNUM was read that are carried out by themselves: drivers wait for the next frame to be over.
const LOOKED: u8 = 2;
/// Frames that are made up for at a time.
const CATCH_UP: u64 = 256;
/// TDs and QHs that are looked at per call, whatever the frames: several times what an idle Linux has in that many.
const VISITS: u32 = 8192;
/// Frames after which a function that was not asked for a report is not in use any more, less one; a power of two.
const AGE_MASK: u32 = 0x3ff;

/// The USB function.
#[derive(Debug)]
pub struct Piix3Usb {
    config: ConfigSpace,
    command: Command,
    status: Status,
    /// Why USBINT is set: a TD with IOC, a short packet.
    complete: bool,
    short: bool,
    enables: Enables,
    /// FRNUM while stopped; the frame that is going on while running.
    frame: u16,
    frame_list: u32,
    start_of_frame: u8,
    ports: [Port; 2],
    /// When the frame that is going on is over.
    frame_end: VmTime,
    /// Frames since reset.
    frames: u32,
    /// Frames since something happened.
    quiet: u32,
    /// Frames that are yet to be carried out one by one.
    looked: u8,
    /// Where to go on after a single step.
    place: Option<Place>,
}

/// [`Piix3Usb`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub struct Piix3UsbState {
    config: ConfigState,
    command: Command,
    status: Status,
    complete: bool,
    short: bool,
    enables: Enables,
    frame: u16,
    frame_list: u32,
    start_of_frame: u8,
    ports: [Port; 2],
    frame_end: VmTime,
    frames: u32,
    quiet: u32,
    looked: u8,
    place: Option<Place>,
}

impl Default for Piix3Usb {
    fn default() -> Self {
        Self::new()
    }
}

impl Piix3Usb {
    /// The function with a tablet and a keyboard, at power-on.
    pub fn new() -> Self {
        let config = ConfigSpace::new(VENDOR_INTEL, DEVICE_ID, CLASS, 0)
            .subsystem(SUBSYSTEM_VENDOR, SUBSYSTEM_ID)
            // I/O and bus master only; fast back-to-back, medium DEVSEL; the abort bits.
            .writable(COMMAND, &[0x05, 0x00])
            .preset(STATUS, &[0x80, 0x02])
            .write_1_to_clear(STATUS, &[0x00, 0x38])
            .writable(0x0c, &[0x00, 0xf0])
            .io_bar(4, PORTS)
            .writable(0x22, &[0, 0])
            .interrupt_pin(PIN + 1)
            .preset(0x60, &[RELEASE])
            .preset(LEGSUP.into(), &[0x00, LEGSUP_PIRQ])
            .writable(LEGSUP.into(), &[0xbf, LEGSUP_PIRQ]);
        Self {
            config,
            command: Command::new(),
            status: Status::new(),
            complete: false,
            short: false,
            enables: Enables::new(),
            frame: 0,
            frame_list: 0,
            start_of_frame: regs::START_OF_FRAME_RESET,
            ports: [Port::new(Function::tablet()), Port::new(Function::keyboard())],
            frame_end: VmTime::ZERO,
            frames: 0,
            quiet: 0,
            looked: 0,
            place: None,
        }
    }

    /// Whether the guest has a driver for the tablet: pointer events are for it.
    pub fn tablet_in_use(&self) -> bool {
        self.in_use(0)
    }

    /// Whether the guest has a driver for the keyboard and there is such a key on it.
    pub fn takes_key(&self, code: u16) -> bool {
        self.keyboard_in_use() && keyboard::usage(code).is_some()
    }

    /// Whether the guest has a driver for the keyboard.
    pub fn keyboard_in_use(&self) -> bool {
        self.in_use(1)
    }

    fn in_use(&self, port: usize) -> bool {
        let asleep = self.command.global_suspend();
        (self.command.run() || asleep) && self.ports[port].in_use(asleep)
    }

    /// Whether a key of the keyboard is down.
    pub fn holds_key(&self, code: u16) -> bool {
        let keyboard = self.ports[1].function.as_keyboard();
        keyboard.zip(keyboard::usage(code)).is_some_and(|(keyboard, usage)| keyboard.holds(usage))
    }

    /// Key presses and releases that the guest has not taken, of the sixteen that there is room for.
    pub fn keys_waiting(&self) -> usize {
        self.ports[1].function.as_keyboard().map_or(0, keyboard::Keyboard::waiting)
    }

    /// The keyboard's LEDs, as those of a PS/2 keyboard: bit 0 scroll lock, 1 num lock, 2 caps lock.
    pub fn leds(&self) -> u8 {
        // HID Usage Tables 1.12, 11: Num Lock, Caps Lock, Scroll Lock.
        let leds = self.ports[1].function.as_keyboard().map_or(0, keyboard::Keyboard::leds);
        leds << 1 & 6 | leds >> 2 & 1
    }

    /// How long a frame takes, in nanoseconds: 11936 to 12063 bit times of 12 MHz (2.1.6).
    fn frame_nanos(&self) -> u64 {
        (11_936 + u64::from(self.start_of_frame)) * 250 / 3
    }

    fn is_running(&self) -> bool {
        self.command.run() && !self.command.global_suspend()
    }

    fn input(&mut self, event: InputEvent) {
        let [tablet, keyboard] = &mut self.ports;
        let port = match event {
            InputEvent::Key { code, down } => {
                if let Some((keyboard, usage)) = keyboard.function.as_keyboard_mut().zip(keyboard::usage(code)) {
                    keyboard.key(usage, down);
                }
                keyboard
            }
            InputEvent::Pointer { x, y, dz, buttons } => {
                if let Some(tablet) = tablet.function.as_tablet_mut() {
                    tablet.point(x, y, dz, buttons);
                }
                tablet
            }
            InputEvent::Mouse { .. } => return,
        };
        if !port.function.is_waiting() {
            return;
        }
        self.quiet = 0;
        let wakes = port.wake() || port.in_use(true);
        // In global suspend the whole bus resumes (2.1.1, FGR; 2.1.2, Resume Detect).
        if self.command.global_suspend() && !self.command.global_resume() && wakes {
            self.command.set_global_resume(true);
            self.status.set_resume(true);
        }
    }

    /// Carries out the frames that are over.
    fn catch_up(&mut self, cx: &mut Ctx<'_>) {
        if !self.is_running() {
            return;
        }
        let now = cx.now();
        let length = self.frame_nanos();
        let mut visits = VISITS;
        for _ in 0..CATCH_UP {
            if self.frame_end > now {
                return;
            }
            self.carry_out(cx, &mut visits);
            if !self.is_running() {
                return;
            }
            self.over(1, length);
            if self.command.debug() {
                break;
            }
        }
        if self.frame_end <= now {
            let lost = now.since(self.frame_end).as_nanos() as u64 / length + 1;
            self.over(lost, length);
        }
    }

    /// So many frames are over.
    fn over(&mut self, frames: u64, length: u64) {
        self.frame = self.frame.wrapping_add(frames as u16) & FRAME_MASK;
        let before = self.frames;
        self.frames = before.wrapping_add(frames as u32);
        if frames > AGE_MASK.into() || (before ^ self.frames) & !AGE_MASK != 0 {
            self.ports.iter_mut().for_each(|port| port.function.age());
        }
        self.frame_end = self.frame_end.plus_nanos(frames.saturating_mul(length));
    }

    fn carry_out(&mut self, cx: &mut Ctx<'_>, visits: &mut u32) {
        let mut outcome = Outcome::default();
        if self.config.bus_master() {
            let place = match self.place.take() {
                Some(place) => Some(place),
                None => {
                    let at = u64::from(self.frame_list) + 4 * u64::from(self.frame & 0x3ff);
                    outcome.host_error = !schedule::is_memory(cx.memory(), at, 4, false);
                    (!outcome.host_error).then(|| Place::start(cx.memory().read_u32(at)))
                }
            };
            let mut frame = Frame {
                memory: cx.memory(),
                ports: &mut self.ports,
                number: self.frames,
                left: 1_000_000,
                max_packet_64: self.command.max_packet_64(),
                visits: *visits,
                single: self.command.debug(),
            };
            if let Some(place) = place {
                self.place = frame.run(place, &mut outcome);
            }
            *visits = visits.saturating_sub(outcome.visits);
        }
        let Outcome { complete, short, error, host_error, process_error, busy, visits: _ } = outcome;
        self.complete |= complete;
        self.short |= short;
        let status = &mut self.status;
        status.set_interrupt(status.interrupt() || complete || short);
        status.set_error(status.error() || error);
        status.set_host_error(status.host_error() || host_error);
        status.set_process_error(status.process_error() || process_error);
        // 2.1.1: a fatal error stops it, and so does every transaction of a single step.
        if host_error || process_error || self.place.is_some() {
            self.command.set_run(false);
        }
        self.quiet = if busy { 0 } else { self.quiet.saturating_add(1) };
        self.looked = self.looked.saturating_sub(1);
    }

    fn set_timer(&self, cx: &mut Ctx<'_>) {
        if !self.is_running() {
            return cx.disarm(TIMER);
        }
        let frames = if self.looked > 0 || self.quiet < AWAKE { 1 } else { u64::from(self.quiet / 4).min(LAZIEST) };
        cx.arm(TIMER, self.frame_end.plus_nanos((frames - 1) * self.frame_nanos()));
    }

    fn set_irq(&self, cx: &mut Ctx<'_>) {
        let (status, enables) = (self.status, self.enables);
        let level = status.interrupt() && (self.complete && enables.complete() || self.short && enables.short_packet())
            || status.error() && enables.error()
            || status.resume() && enables.resume()
            || status.host_error()
            || status.process_error();
        let routed = self.config.byte(LEGSUP + 1) & LEGSUP_PIRQ != 0;
        cx.set_irq(IrqLine::Pci(PIN), level && routed);
    }

    /// Registers as they are after a reset of the controller.
    fn reset_registers(&mut self) {
        self.command = Command::new();
        self.status = Status::new();
        (self.complete, self.short) = (false, false);
        self.enables = Enables::new();
        self.frame = 0;
        self.frame_list = 0;
        self.start_of_frame = regs::START_OF_FRAME_RESET;
        self.quiet = 0;
        self.looked = 0;
        self.place = None;
    }

    fn global_reset(&mut self) {
        self.reset_registers();
        self.ports.iter_mut().for_each(Port::power_on);
    }

    fn word(&self, offset: u64) -> u16 {
        match offset {
            regs::COMMAND => self.command.into_bits(),
            regs::STATUS => self.status.with_halted(!self.command.run()).into_bits(),
            regs::INTERRUPTS => self.enables.into_bits(),
            regs::FRAME_NUMBER => self.frame,
            regs::FRAME_LIST => self.frame_list as u16,
            regs::FRAME_LIST_HIGH => (self.frame_list >> 16) as u16,
            regs::START_OF_FRAME => self.start_of_frame.into(),
            regs::PORT_1 | regs::PORT_2 => {
                let port = &self.ports[usize::from(offset == regs::PORT_2)];
                if self.command.global_reset() {
                    // Nothing is seen to be plugged in during a reset of the bus.
                    return PortStatus::new().with_one(true).into_bits();
                }
                port.status(self.command.global_resume()).into_bits()
            }
            // Ports are counted by bit 7: there is no third one.
            _ => 0,
        }
    }

    /// Software writes the bits of `mask` of a word.
    fn write_word(&mut self, cx: &mut Ctx<'_>, offset: u64, value: u16, mask: u16) {
        let merged = |old: u16| old & !mask | value & mask;
        match offset {
            regs::COMMAND => self.write_command(cx, Command::from_bits(merged(self.command.into_bits()) & 0xff)),
            regs::STATUS => {
                let clear = value & mask;
                if Status::from_bits(clear).interrupt() {
                    (self.complete, self.short) = (false, false);
                }
                self.status = Status::from_bits(self.status.into_bits() & !clear);
            }
            regs::INTERRUPTS => self.enables = Enables::from_bits(merged(self.enables.into_bits()) & 0xf),
            // 2.1.4: only while stopped.
            regs::FRAME_NUMBER if !self.command.run() => {
                self.frame = merged(self.frame) & FRAME_MASK;
                self.place = None;
            }
            regs::FRAME_LIST => {
                let low = merged(self.frame_list as u16) & 0xf000;
                self.frame_list = self.frame_list & 0xffff_0000 | u32::from(low);
            }
            regs::FRAME_LIST_HIGH => {
                let high = merged((self.frame_list >> 16) as u16);
                self.frame_list = self.frame_list & 0xffff | u32::from(high) << 16;
            }
            regs::START_OF_FRAME => self.start_of_frame = merged(self.start_of_frame.into()) as u8 & 0x7f,
            regs::PORT_1 | regs::PORT_2 if !self.command.global_reset() => {
                let port = &mut self.ports[usize::from(offset == regs::PORT_2)];
                if port.write(value, mask).changed {
                    self.quiet = 0;
                }
            }
            _ => {}
        }
    }

    fn write_command(&mut self, cx: &mut Ctx<'_>, new: Command) {
        let old = self.command;
        if new.global_reset() {
            if !old.global_reset() {
                self.global_reset();
            }
            // It lasts until software ends it.
            self.command.set_global_reset(true);
            return;
        }
        if new.host_reset() {
            self.reset_registers();
            self.ports.iter_mut().for_each(Port::host_reset);
            return;
        }
        let was_running = self.is_running();
        // 2.1.1: SWDBG changes only while it is stopped.
        self.command = if old.run() && new.run() { new.with_debug(old.debug()) } else { new };
        if !self.command.debug() {
            self.place = None;
        }
        if self.is_running() && !was_running {
            self.frame_end = cx.now().plus_nanos(self.frame_nanos());
            self.quiet = 0;
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

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        if at.tag == CONFIG_TAG {
            return self.config.read(at.offset, data);
        }
        self.catch_up(cx);
        let end = at.offset + data.len() as u64;
        if at.offset <= regs::FRAME_NUMBER + 1 && end > regs::FRAME_NUMBER {
            self.looked = LOOKED;
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
            // Word by word: bits that are cleared by writing 1 must not be where nothing was written.
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
                self.input(event);
            }
            _ => return,
        }
        self.set_timer(cx);
        self.set_irq(cx);
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self {
            config,
            command: _,
            status: _,
            complete: _,
            short: _,
            enables: _,
            frame: _,
            frame_list: _,
            start_of_frame: _,
            ports: _,
            frame_end,
            frames,
            quiet: _,
            looked: _,
            place: _,
        } = self;
        config.reset();
        *frame_end = VmTime::ZERO;
        *frames = 0;
        self.global_reset();
        self.resync(cx);
    }

    fn save(&self) -> Piix3UsbState {
        let Self {
            config,
            command,
            status,
            complete,
            short,
            enables,
            frame,
            frame_list,
            start_of_frame,
            ports,
            frame_end,
            frames,
            quiet,
            looked,
            place,
        } = self;
        Piix3UsbState {
            config: config.save(),
            command: *command,
            status: *status,
            complete: *complete,
            short: *short,
            enables: *enables,
            frame: *frame,
            frame_list: *frame_list,
            start_of_frame: *start_of_frame,
            ports: ports.clone(),
            frame_end: *frame_end,
            frames: *frames,
            quiet: *quiet,
            looked: *looked,
            place: *place,
        }
    }

    fn load(&mut self, state: Piix3UsbState) -> Result<(), RestoreError> {
        let impossible = |what| Err(RestoreError::Impossible { kind: Self::KIND, what });
        if !state.ports.iter().zip(&self.ports).all(|(port, like)| port.is_possible(like)) {
            return impossible("USB port");
        }
        let known_status = Status::from_bits(0x1f);
        if state.command.into_bits() & !0xfd != 0
            || state.status.into_bits() & !known_status.into_bits() != 0
            || state.status.interrupt() != (state.complete || state.short)
            || state.enables.into_bits() & !0xf != 0
            || state.frame & !FRAME_MASK != 0
            || state.frame_list & 0xfff != 0
            || state.start_of_frame > 0x7f
            || state.looked > LOOKED
        {
            return impossible("register");
        }
        self.config.load(Self::KIND, &state.config, &[])?;
        let Piix3UsbState {
            config: _,
            command,
            status,
            complete,
            short,
            enables,
            frame,
            frame_list,
            start_of_frame,
            ports,
            frame_end,
            frames,
            quiet,
            looked,
            place,
        } = state;
        self.command = command;
        self.status = status;
        (self.complete, self.short) = (complete, short);
        self.enables = enables;
        (self.frame, self.frame_list, self.start_of_frame) = (frame, frame_list, start_of_frame);
        self.ports = ports;
        (self.frame_end, self.frames, self.quiet, self.looked) = (frame_end, frames, quiet, looked);
        self.place = place;
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        cx.effect(Effect::Remap);
        self.set_timer(cx);
        self.set_irq(cx);
    }
}
