//! The 8042 keyboard controller (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary
//! Device Controller") with a keyboard and a mouse plugged in.
//!
//! Ports 60h and 64h, IRQ 1 (keyboard) and IRQ 12 (mouse). Commands that reach through the output port go further:
//! A20 by [`Ctx::set_a20`], the processor's reset by [`Effect::Reset`].
//!
//! Deliberately missing: time on the way in (a byte written is taken at once, the input buffer is never full) and
//! transmission errors (the time-out and parity bits stay 0, as both devices always answer); the password commands
//! but for the one that says there is none; the diagnostic dump and the input port polls. On the way out, the bytes of
//! a device follow each other [`BYTE_GAP`] apart, so that a program and the BIOS behind it can both read the same one.

use super::keyboard::Keyboard;
use super::mouse::Mouse;
use crate::ctx::{Ctx, Effect, IrqLine, ResetKind, TimerId};
use crate::device::{Access, Device, Region, Wake};
use crate::input::InputEvent;
use crate::state::RestoreError;
use crate::time::VmTime;
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

const DATA_PORT: u16 = 0x60;
const COMMAND_PORT: u16 = 0x64;
const DATA_TAG: u8 = 0;
const COMMAND_TAG: u8 = 1;

const KEYBOARD_IRQ: IrqLine = IrqLine::Isa(1);
const MOUSE_IRQ: IrqLine = IrqLine::Isa(12);

/// From the reading of one device's byte to the next, in nanoseconds: shorter than a real wire's millisecond, long
/// enough for two readers of the same byte.
pub const BYTE_GAP: u64 = 200_000;

const NEXT_BYTE: TimerId = TimerId(0);
const TYPEMATIC: TimerId = TimerId(1);
const SAMPLE: TimerId = TimerId(2);

/// Breaks of scan code set 2 are the make code after this.
const BREAK: u8 = 0xf0;
/// Self test and interface test results.
const SELF_TEST_PASSED: u8 = 0x55;
const INTERFACE_WORKS: u8 = 0x00;
const NO_PASSWORD: u8 = 0xf1;
/// Input port: keyboard not locked, manufacturing jumper not fitted.
const INPUT_PORT: u8 = 0xa0;

/// The controller's command byte, its RAM's byte 0.
#[bitfield(u8)]
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct CommandByte {
    keyboard_interrupt: bool,
    mouse_interrupt: bool,
    system_flag: bool,
    __: bool,
    keyboard_disabled: bool,
    mouse_disabled: bool,
    translate: bool,
    __: bool,
}

/// The status register, port 64h.
#[bitfield(u8)]
struct Status {
    output_full: bool,
    input_full: bool,
    system_flag: bool,
    last_was_command: bool,
    not_locked: bool,
    from_mouse: bool,
    timeout: bool,
    parity: bool,
}

/// The output port: lines that the controller drives.
#[bitfield(u8)]
struct OutputPort {
    not_reset: bool,
    a20: bool,
    #[bits(2)]
    __: u8,
    keyboard_full: bool,
    mouse_full: bool,
    #[bits(2)]
    clock_and_data: u8,
}

/// Which interrupt a byte in the output buffer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Source {
    Keyboard,
    Mouse,
}

/// Where the data byte goes that a command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Waiting {
    Ram(u8),
    OutputPort,
    KeyboardBuffer,
    MouseBuffer,
    Mouse,
}

/// [`Ps2Controller`] in a saved state, and in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ps2State {
    command_byte: CommandByte,
    /// Bytes 1 to 31 of the controller's RAM are nobody's.
    ram: [u8; 32],
    waiting: Option<Waiting>,
    last_was_command: bool,
    /// The output buffer; its byte reads again after it was taken.
    output: u8,
    output_full: Option<Source>,
    /// The controller's own answer, on its way to the output buffer.
    answer: Option<(u8, Source)>,
    /// No device's byte before this time.
    next_byte_at: VmTime,
    /// A break prefix was swallowed by the translation.
    break_seen: bool,
    keyboard: Keyboard,
    mouse: Mouse,
}

/// The controller and what is plugged into it.
pub struct Ps2Controller {
    s: Ps2State,
}

impl Default for Ps2Controller {
    fn default() -> Self {
        Self::new()
    }
}

/// As after power-on, before the firmware's self test: both interfaces off, the system flag clear.
fn power_on() -> Ps2State {
    Ps2State {
        command_byte: CommandByte::new().with_keyboard_disabled(true).with_mouse_disabled(true),
        ram: [0; 32],
        waiting: None,
        last_was_command: false,
        output: 0,
        output_full: None,
        answer: None,
        next_byte_at: VmTime::ZERO,
        break_seen: false,
        keyboard: Keyboard::new(),
        mouse: Mouse::new(),
    }
}

impl Ps2Controller {
    /// A controller, a keyboard and a mouse.
    pub fn new() -> Self {
        Self { s: power_on() }
    }

    /// Bytes of scan codes that wait in the keyboard, of the sixteen that it has room for.
    pub fn keys_waiting(&self) -> usize {
        self.s.keyboard.waiting()
    }

    /// The keyboard's LEDs: bit 0 scroll lock, 1 num lock, 2 caps lock.
    pub fn leds(&self) -> u8 {
        self.s.keyboard.leds()
    }

    /// Whether a driver listens to the mouse now.
    pub fn mouse_in_use(&self) -> bool {
        self.s.mouse.streaming() && !self.s.command_byte.mouse_disabled()
    }

    fn status(&self) -> u8 {
        let s = &self.s;
        Status::new()
            .with_output_full(s.output_full.is_some())
            .with_system_flag(s.command_byte.system_flag())
            .with_last_was_command(s.last_was_command)
            .with_not_locked(true)
            .with_from_mouse(s.output_full == Some(Source::Mouse))
            .into_bits()
    }

    fn drive_irqs(&self, cx: &mut Ctx<'_>) {
        let s = &self.s;
        cx.set_irq(KEYBOARD_IRQ, s.output_full == Some(Source::Keyboard) && s.command_byte.keyboard_interrupt());
        cx.set_irq(MOUSE_IRQ, s.output_full == Some(Source::Mouse) && s.command_byte.mouse_interrupt());
    }

    /// Moves the next byte into the output buffer if that is empty: the controller's own first, then the keyboard's.
    fn fill(&mut self, cx: &mut Ctx<'_>) {
        let s = &mut self.s;
        if s.output_full.is_some() {
            return;
        }
        if let Some((byte, source)) = s.answer.take() {
            s.output = byte;
            s.output_full = Some(source);
            return;
        }
        s.mouse.prepare(cx.now());
        // A break prefix that the translation swallows takes no time: at most two turns.
        while s.output_full.is_none() {
            let keyboard = !s.command_byte.keyboard_disabled() && s.keyboard.has_byte();
            let mouse = !s.command_byte.mouse_disabled() && s.mouse.has_byte();
            if !keyboard && !mouse {
                break;
            }
            if cx.now() < s.next_byte_at {
                cx.arm(NEXT_BYTE, s.next_byte_at);
                break;
            }
            if keyboard {
                let Some(byte) = s.keyboard.take_byte() else { break };
                if !s.command_byte.translate() {
                    s.break_seen = false;
                    s.output = byte;
                } else if byte == BREAK {
                    s.break_seen = true;
                    continue;
                } else {
                    s.output = SET2_TO_SET1[usize::from(byte)] | if s.break_seen { 0x80 } else { 0 };
                    s.break_seen = false;
                }
                s.output_full = Some(Source::Keyboard);
            } else {
                let Some(byte) = s.mouse.take_byte() else { break };
                s.output = byte;
                s.output_full = Some(Source::Mouse);
            }
        }
        self.arm_device_timers(cx);
    }

    fn arm_device_timers(&mut self, cx: &mut Ctx<'_>) {
        match self.s.keyboard.repeats_at() {
            Some(at) => cx.arm(TYPEMATIC, at),
            None => cx.disarm(TYPEMATIC),
        }
        // A report that is due already waits for the output buffer, not for time.
        match self.s.mouse.samples_at() {
            Some(at) if at > cx.now() => cx.arm(SAMPLE, at),
            _ => cx.disarm(SAMPLE),
        }
    }

    fn read_data(&mut self, cx: &mut Ctx<'_>) -> u8 {
        if self.s.output_full.take().is_some() {
            self.s.next_byte_at = cx.now().plus_nanos(BYTE_GAP);
            // Low first: the next byte, if it is there at once, must be an edge.
            self.drive_irqs(cx);
        }
        let byte = self.s.output;
        self.fill(cx);
        byte
    }

    fn answer(&mut self, byte: u8) {
        self.s.answer = Some((byte, Source::Keyboard));
    }

    fn write_output_port(&mut self, cx: &mut Ctx<'_>, value: u8) {
        let port = OutputPort::from_bits(value);
        cx.set_a20(port.a20());
        if !port.not_reset() {
            cx.effect(Effect::Reset(ResetKind::Init));
        }
    }

    fn command(&mut self, cx: &mut Ctx<'_>, command: u8) {
        let s = &mut self.s;
        s.last_was_command = true;
        s.waiting = None;
        match command {
            0x20 => {
                let byte = s.command_byte.into_bits();
                self.answer(byte);
            }
            0x21..=0x3f => {
                let byte = s.ram[usize::from(command & 0x1f)];
                self.answer(byte);
            }
            0x60..=0x7f => s.waiting = Some(Waiting::Ram(command & 0x1f)),
            0xa4 => self.answer(NO_PASSWORD),
            0xa7 => s.command_byte.set_mouse_disabled(true),
            0xa8 => s.command_byte.set_mouse_disabled(false),
            0xa9 | 0xab => self.answer(INTERFACE_WORKS),
            0xaa => {
                s.command_byte.set_system_flag(true);
                self.answer(SELF_TEST_PASSED);
            }
            0xad => s.command_byte.set_keyboard_disabled(true),
            0xae => s.command_byte.set_keyboard_disabled(false),
            0xc0 => self.answer(INPUT_PORT),
            0xd0 => {
                let port = OutputPort::new()
                    .with_not_reset(true)
                    .with_a20(cx.a20())
                    .with_keyboard_full(s.output_full == Some(Source::Keyboard))
                    .with_mouse_full(s.output_full == Some(Source::Mouse))
                    .with_clock_and_data(3);
                self.answer(port.into_bits());
            }
            0xd1 => s.waiting = Some(Waiting::OutputPort),
            0xd2 => s.waiting = Some(Waiting::KeyboardBuffer),
            0xd3 => s.waiting = Some(Waiting::MouseBuffer),
            0xd4 => s.waiting = Some(Waiting::Mouse),
            // Not IBM's, but of every later controller: A20 in one step.
            0xdd => cx.set_a20(false),
            0xdf => cx.set_a20(true),
            // Test inputs: both clock lines low while idle bytes may flow.
            0xe0 => self.answer(0),
            // Pulses the output port's lines 0 to 3 whose bits are 0; line 0 is the processor's reset. A pulse on A20
            // is over before the next instruction.
            0xf0..=0xff if command & 1 == 0 => cx.effect(Effect::Reset(ResetKind::Init)),
            _ => {}
        }
        self.fill(cx);
    }

    fn write_data(&mut self, cx: &mut Ctx<'_>, value: u8) {
        let s = &mut self.s;
        s.last_was_command = false;
        match s.waiting.take() {
            Some(Waiting::Ram(0)) => s.command_byte = CommandByte::from_bits(value),
            Some(Waiting::Ram(n)) => s.ram[usize::from(n & 0x1f)] = value,
            Some(Waiting::OutputPort) => self.write_output_port(cx, value),
            Some(Waiting::KeyboardBuffer) => s.answer = Some((value, Source::Keyboard)),
            Some(Waiting::MouseBuffer) => s.answer = Some((value, Source::Mouse)),
            // Sending to a device starts its clock.
            Some(Waiting::Mouse) => {
                s.command_byte.set_mouse_disabled(false);
                s.mouse.command(cx.now(), value);
            }
            None => {
                s.command_byte.set_keyboard_disabled(false);
                s.keyboard.command(value);
            }
        }
        self.fill(cx);
    }
}

impl Device for Ps2Controller {
    type State = Ps2State;
    const KIND: &'static str = "ps2";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        vec![Region::io(DATA_PORT, 1, DATA_TAG), Region::io(COMMAND_PORT, 1, COMMAND_TAG)]
    }

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        let Some(byte) = data.first_mut() else { return };
        match at.tag {
            DATA_TAG => *byte = self.read_data(cx),
            _ => *byte = self.status(),
        }
        self.drive_irqs(cx);
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        let Some(&byte) = data.first() else { return };
        match at.tag {
            DATA_TAG => self.write_data(cx, byte),
            _ => self.command(cx, byte),
        }
        self.drive_irqs(cx);
    }

    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake) {
        match why {
            Wake::Timer(NEXT_BYTE) => {}
            Wake::Timer(TYPEMATIC) => self.s.keyboard.repeat(cx.now()),
            Wake::Timer(SAMPLE) => {}
            Wake::Input(InputEvent::Key { code, down }) => self.s.keyboard.key(cx.now(), code, down),
            Wake::Input(InputEvent::Mouse { dx, dy, dz, buttons }) => self.s.mouse.moved(dx, dy, dz, buttons),
            // Where the pointer is, a mouse cannot tell; the rest it can.
            Wake::Input(InputEvent::Pointer { x: _, y: _, dz, buttons }) => self.s.mouse.moved(0, 0, dz, buttons),
            _ => return,
        }
        self.fill(cx);
        self.arm_device_timers(cx);
        self.drive_irqs(cx);
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self { s } = self;
        *s = power_on();
        cx.disarm(NEXT_BYTE);
        self.arm_device_timers(cx);
        self.drive_irqs(cx);
    }

    fn save(&self) -> Ps2State {
        let Self { s } = self;
        s.clone()
    }

    fn load(&mut self, state: Ps2State) -> Result<(), RestoreError> {
        let impossible = |what| Err(RestoreError::Impossible { kind: Self::KIND, what });
        if matches!(state.waiting, Some(Waiting::Ram(n)) if n > 0x1f) {
            return impossible("command");
        }
        if !state.keyboard.is_possible() {
            return impossible("keyboard");
        }
        if !state.mouse.is_possible() {
            return impossible("mouse");
        }
        self.s = state;
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        cx.arm(NEXT_BYTE, self.s.next_byte_at);
        self.arm_device_timers(cx);
        self.drive_irqs(cx);
    }
}

/// The controller's translation of scan code set 2 (the technical reference's table of key codes read side by side in
/// both sets; codes that are no key's go through as they are).
#[rustfmt::skip]
const SET2_TO_SET1: [u8; 256] = {
    const LOW: [u8; 128] = [
        0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
        0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
        0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
        0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
        0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
        0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
        0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
        0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
    ];
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        table[n] = if n < 128 { LOW[n] } else { n as u8 };
        n += 1;
    }
    table[0x83] = 0x41;
    table[0x84] = 0x54;
    table
};

/// The other way round: the set 2 code of a key whose set 1 code is the index.
pub(super) const SET1_TO_SET2: [u8; 128] = {
    let mut table = [0; 128];
    let mut n = 0x7f;
    while n > 0 {
        if SET2_TO_SET1[n] < 0x80 {
            table[SET2_TO_SET1[n] as usize] = n as u8;
        }
        n -= 1;
    }
    table[0x41] = 0x83;
    table[0x54] = 0x84;
    table
};

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
