//! 8042 keyboard controller (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary
//! Device Controller") with an attached keyboard and mouse.
//!
//! Ports 60h and 64h, IRQ 1 (keyboard) and IRQ 12 (mouse). The output port drives the A20 gate ([`Ctx::set_a20`]) and
//! the CPU reset ([`Effect::Reset`]).
//!
//! Not implemented: delays on writes (the controller takes a byte at once, the input buffer is never full),
//! transmission errors (the time-out and parity bits stay 0), passwords (TEST_PASSWORD reports that none is set), the
//! diagnostic dump and the input port polls. The controller loads bytes of a device [`BYTE_GAP`] apart, so that a
//! resident program and the BIOS handler after it can both read the same byte.

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

/// Time from the read of one device byte to the next byte, in nanoseconds: less than the 1 ms of a real serial link,
/// and long enough for two handlers to read the same byte.
pub const BYTE_GAP: u64 = 200_000;

const NEXT_BYTE: TimerId = TimerId(0);
const TYPEMATIC: TimerId = TimerId(1);
const SAMPLE: TimerId = TimerId(2);

/// Scan code set 2: prefix of a break code, before the make code.
const BREAK_PREFIX: u8 = 0xf0;
/// Response to SELF_TEST.
const SELF_TEST_PASSED: u8 = 0x55;
/// Response to TEST_KEYBOARD and TEST_AUX: no error.
const INTERFACE_TEST_PASSED: u8 = 0x00;
/// Response to TEST_PASSWORD: no password is set.
const NO_PASSWORD: u8 = 0xf1;
/// Input port: keyboard not locked, manufacturing jumper not fitted.
const INPUT_PORT: u8 = 0xa0;

/// Commands, written to port 64h.
mod op {
    pub const READ_COMMAND_BYTE: u8 = 0x20;
    /// Reads RAM bytes 1 to 31: 21h to 3Fh.
    pub const READ_RAM_FIRST: u8 = 0x21;
    pub const READ_RAM_LAST: u8 = 0x3f;
    /// Writes RAM bytes 0 (the command byte) to 31: 60h to 7Fh.
    pub const WRITE_RAM_FIRST: u8 = 0x60;
    pub const WRITE_RAM_LAST: u8 = 0x7f;
    pub const TEST_PASSWORD: u8 = 0xa4;
    pub const DISABLE_AUX: u8 = 0xa7;
    pub const ENABLE_AUX: u8 = 0xa8;
    pub const TEST_AUX: u8 = 0xa9;
    pub const SELF_TEST: u8 = 0xaa;
    pub const TEST_KEYBOARD: u8 = 0xab;
    pub const DISABLE_KEYBOARD: u8 = 0xad;
    pub const ENABLE_KEYBOARD: u8 = 0xae;
    pub const READ_INPUT_PORT: u8 = 0xc0;
    pub const READ_OUTPUT_PORT: u8 = 0xd0;
    pub const WRITE_OUTPUT_PORT: u8 = 0xd1;
    pub const WRITE_KEYBOARD_BUFFER: u8 = 0xd2;
    pub const WRITE_AUX_BUFFER: u8 = 0xd3;
    pub const WRITE_AUX: u8 = 0xd4;
    /// Not IBM's; later controllers have it.
    pub const DISABLE_A20: u8 = 0xdd;
    /// Not IBM's; later controllers have it.
    pub const ENABLE_A20: u8 = 0xdf;
    pub const READ_TEST_INPUTS: u8 = 0xe0;
    /// Pulses the output port's lines 0 to 3 whose bits are 0: F0h to FFh.
    pub const PULSE_FIRST: u8 = 0xf0;
    pub const PULSE_LAST: u8 = 0xff;
}

/// The command byte, byte 0 of the controller's RAM.
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

/// The output port: the lines that the controller drives.
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

/// The device whose interrupt a byte in the output buffer raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum OutputSource {
    Keyboard,
    Mouse,
}

/// The destination of the next byte written to port 60h, set by a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum DataDestination {
    Ram(u8),
    OutputPort,
    KeyboardBuffer,
    MouseBuffer,
    Mouse,
}

/// The state of [`Ps2Controller`], also in a saved state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ps2State {
    command_byte: CommandByte,
    /// Bytes 1 to 31 of the controller's RAM, for the guest's use; byte 0 is unused.
    ram: [u8; 32],
    data_destination: Option<DataDestination>,
    last_was_command: bool,
    /// The output buffer. After it was read, it reads as the same byte again.
    output: u8,
    output_full: Option<OutputSource>,
    /// The controller's response to a command, not yet in the output buffer.
    response: Option<(u8, OutputSource)>,
    /// The earliest time at which a device byte may enter the output buffer.
    next_byte_at: VmTime,
    /// The translation removed a break prefix: the next code is a break code.
    break_prefix_seen: bool,
    keyboard: Keyboard,
    mouse: Mouse,
}

/// The controller with its keyboard and mouse.
pub struct Ps2Controller {
    state: Ps2State,
}

impl Default for Ps2Controller {
    fn default() -> Self {
        Self::new()
    }
}

/// The state at power-on, before the firmware's self test: both interfaces are disabled, the system flag is clear.
fn power_on_state() -> Ps2State {
    Ps2State {
        command_byte: CommandByte::new().with_keyboard_disabled(true).with_mouse_disabled(true),
        ram: [0; 32],
        data_destination: None,
        last_was_command: false,
        output: 0,
        output_full: None,
        response: None,
        next_byte_at: VmTime::ZERO,
        break_prefix_seen: false,
        keyboard: Keyboard::new(),
        mouse: Mouse::new(),
    }
}

impl Ps2Controller {
    /// A controller with a keyboard and a mouse at power-on.
    pub fn new() -> Self {
        Self { state: power_on_state() }
    }

    /// Scan code bytes in the keyboard's queue, of at most 16.
    pub fn keys_waiting(&self) -> usize {
        self.state.keyboard.queued_bytes()
    }

    /// The keyboard's LEDs: bit 0 scroll lock, 1 num lock, 2 caps lock.
    pub fn leds(&self) -> u8 {
        self.state.keyboard.leds()
    }

    /// Whether a guest driver has enabled the mouse's reports.
    pub fn mouse_in_use(&self) -> bool {
        self.state.mouse.streaming() && !self.state.command_byte.mouse_disabled()
    }

    fn status(&self) -> u8 {
        let s = &self.state;
        Status::new()
            .with_output_full(s.output_full.is_some())
            .with_system_flag(s.command_byte.system_flag())
            .with_last_was_command(s.last_was_command)
            .with_not_locked(true)
            .with_from_mouse(s.output_full == Some(OutputSource::Mouse))
            .into_bits()
    }

    fn drive_irqs(&self, cx: &mut Ctx<'_>) {
        let s = &self.state;
        cx.set_irq(KEYBOARD_IRQ, s.output_full == Some(OutputSource::Keyboard) && s.command_byte.keyboard_interrupt());
        cx.set_irq(MOUSE_IRQ, s.output_full == Some(OutputSource::Mouse) && s.command_byte.mouse_interrupt());
    }

    /// Loads the next byte into the output buffer if that is empty. Priority: the controller's response, the keyboard,
    /// the mouse.
    fn fill_output_buffer(&mut self, cx: &mut Ctx<'_>) {
        let s = &mut self.state;
        if s.output_full.is_some() {
            return;
        }
        if let Some((byte, source)) = s.response.take() {
            s.output = byte;
            s.output_full = Some(source);
            return;
        }
        s.mouse.prepare_report(cx.now());
        // At most two iterations: the translation removes a break prefix, which takes no time.
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
                    s.break_prefix_seen = false;
                    s.output = byte;
                } else if byte == BREAK_PREFIX {
                    s.break_prefix_seen = true;
                    continue;
                } else {
                    s.output = SET2_TO_SET1[usize::from(byte)] | if s.break_prefix_seen { 0x80 } else { 0 };
                    s.break_prefix_seen = false;
                }
                s.output_full = Some(OutputSource::Keyboard);
            } else {
                let Some(byte) = s.mouse.take_byte() else { break };
                s.output = byte;
                s.output_full = Some(OutputSource::Mouse);
            }
        }
        self.arm_device_timers(cx);
    }

    fn arm_device_timers(&mut self, cx: &mut Ctx<'_>) {
        match self.state.keyboard.repeats_at() {
            Some(at) => cx.arm(TYPEMATIC, at),
            None => cx.disarm(TYPEMATIC),
        }
        // A report that is already due waits for the output buffer and needs no timer.
        match self.state.mouse.samples_at() {
            Some(at) if at > cx.now() => cx.arm(SAMPLE, at),
            _ => cx.disarm(SAMPLE),
        }
    }

    fn read_data(&mut self, cx: &mut Ctx<'_>) -> u8 {
        if self.state.output_full.take().is_some() {
            self.state.next_byte_at = cx.now().plus_nanos(BYTE_GAP);
            // Lowers the IRQ first: a next byte that is loaded at once must make an edge.
            self.drive_irqs(cx);
        }
        let byte = self.state.output;
        self.fill_output_buffer(cx);
        byte
    }

    fn respond(&mut self, byte: u8) {
        self.state.response = Some((byte, OutputSource::Keyboard));
    }

    fn write_output_port(&mut self, cx: &mut Ctx<'_>, value: u8) {
        let port = OutputPort::from_bits(value);
        cx.set_a20(port.a20());
        if !port.not_reset() {
            cx.effect(Effect::Reset(ResetKind::Init));
        }
    }

    fn command(&mut self, cx: &mut Ctx<'_>, command: u8) {
        let s = &mut self.state;
        s.last_was_command = true;
        s.data_destination = None;
        match command {
            op::READ_COMMAND_BYTE => {
                let byte = s.command_byte.into_bits();
                self.respond(byte);
            }
            op::READ_RAM_FIRST..=op::READ_RAM_LAST => {
                let byte = s.ram[usize::from(command & 0x1f)];
                self.respond(byte);
            }
            op::WRITE_RAM_FIRST..=op::WRITE_RAM_LAST => s.data_destination = Some(DataDestination::Ram(command & 0x1f)),
            op::TEST_PASSWORD => self.respond(NO_PASSWORD),
            op::DISABLE_AUX => s.command_byte.set_mouse_disabled(true),
            op::ENABLE_AUX => s.command_byte.set_mouse_disabled(false),
            op::TEST_AUX | op::TEST_KEYBOARD => self.respond(INTERFACE_TEST_PASSED),
            op::SELF_TEST => {
                s.command_byte.set_system_flag(true);
                self.respond(SELF_TEST_PASSED);
            }
            op::DISABLE_KEYBOARD => s.command_byte.set_keyboard_disabled(true),
            op::ENABLE_KEYBOARD => s.command_byte.set_keyboard_disabled(false),
            op::READ_INPUT_PORT => self.respond(INPUT_PORT),
            op::READ_OUTPUT_PORT => {
                let port = OutputPort::new()
                    .with_not_reset(true)
                    .with_a20(cx.a20())
                    .with_keyboard_full(s.output_full == Some(OutputSource::Keyboard))
                    .with_mouse_full(s.output_full == Some(OutputSource::Mouse))
                    .with_clock_and_data(3);
                self.respond(port.into_bits());
            }
            op::WRITE_OUTPUT_PORT => s.data_destination = Some(DataDestination::OutputPort),
            op::WRITE_KEYBOARD_BUFFER => s.data_destination = Some(DataDestination::KeyboardBuffer),
            op::WRITE_AUX_BUFFER => s.data_destination = Some(DataDestination::MouseBuffer),
            op::WRITE_AUX => s.data_destination = Some(DataDestination::Mouse),
            op::DISABLE_A20 => cx.set_a20(false),
            op::ENABLE_A20 => cx.set_a20(true),
            // Both clock lines are low.
            op::READ_TEST_INPUTS => self.respond(0),
            // Line 0 is the CPU reset. A pulse on A20 (line 1) ends before the guest's next instruction.
            op::PULSE_FIRST..=op::PULSE_LAST if command & 1 == 0 => cx.effect(Effect::Reset(ResetKind::Init)),
            op::PULSE_FIRST..=op::PULSE_LAST => {}
            _ => cx.guest_error("unknown controller command"),
        }
        self.fill_output_buffer(cx);
    }

    fn write_data(&mut self, cx: &mut Ctx<'_>, value: u8) {
        let s = &mut self.state;
        s.last_was_command = false;
        match s.data_destination.take() {
            Some(DataDestination::Ram(0)) => s.command_byte = CommandByte::from_bits(value),
            Some(DataDestination::Ram(n)) => s.ram[usize::from(n & 0x1f)] = value,
            Some(DataDestination::OutputPort) => self.write_output_port(cx, value),
            Some(DataDestination::KeyboardBuffer) => s.response = Some((value, OutputSource::Keyboard)),
            Some(DataDestination::MouseBuffer) => s.response = Some((value, OutputSource::Mouse)),
            // A byte sent to a device enables its interface.
            Some(DataDestination::Mouse) => {
                s.command_byte.set_mouse_disabled(false);
                s.mouse.command(cx.now(), value);
            }
            None => {
                s.command_byte.set_keyboard_disabled(false);
                s.keyboard.command(value);
            }
        }
        self.fill_output_buffer(cx);
    }
}

impl Device for Ps2Controller {
    type State = Ps2State;
    const KIND: &'static str = "ps2";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        vec![Region::io(DATA_PORT, 1, DATA_TAG), Region::io(COMMAND_PORT, 1, COMMAND_TAG)]
    }

    fn register_name(&self, at: Access) -> Option<&'static str> {
        match at.tag {
            DATA_TAG => Some("Output/Input Buffer"),
            COMMAND_TAG => Some("Status/Command"),
            _ => None,
        }
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
            Wake::Timer(TYPEMATIC) => self.state.keyboard.repeat(cx.now()),
            Wake::Timer(SAMPLE) => {}
            Wake::Input(InputEvent::Key { code, down }) => self.state.keyboard.key(cx.now(), code, down),
            Wake::Input(InputEvent::Mouse { dx, dy, dz, buttons }) => {
                self.state.mouse.add_movement(dx, dy, dz, buttons)
            }
            // A mouse cannot report an absolute position, only the wheel and the buttons.
            Wake::Input(InputEvent::Pointer { x: _, y: _, dz, buttons }) => {
                self.state.mouse.add_movement(0, 0, dz, buttons)
            }
            _ => return,
        }
        self.fill_output_buffer(cx);
        self.arm_device_timers(cx);
        self.drive_irqs(cx);
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self { state } = self;
        *state = power_on_state();
        cx.disarm(NEXT_BYTE);
        self.arm_device_timers(cx);
        self.drive_irqs(cx);
    }

    fn save(&self) -> Ps2State {
        let Self { state } = self;
        state.clone()
    }

    fn load(&mut self, state: Ps2State) -> Result<(), RestoreError> {
        let invalid = |what| Err(RestoreError::Impossible { kind: Self::KIND, what });
        if matches!(state.data_destination, Some(DataDestination::Ram(n)) if n > 0x1f) {
            return invalid("command");
        }
        if !state.keyboard.is_valid() {
            return invalid("keyboard");
        }
        if !state.mouse.is_valid() {
            return invalid("mouse");
        }
        self.state = state;
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        cx.arm(NEXT_BYTE, self.state.next_byte_at);
        self.arm_device_timers(cx);
        self.drive_irqs(cx);
    }
}

/// The controller's translation of scan code set 2 to set 1, from the technical reference's tables of both sets. Codes
/// that belong to no key are not translated.
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

/// The inverse of the translation: the set 2 code of each set 1 code.
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
