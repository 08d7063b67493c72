//! 8042 keyboard controller access (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard and
//! Auxiliary Device Controller"). Every wait has a time limit.

use crate::services::clock::Stopwatch;
use pcvm_firmware_rt::Hw;

/// Data port.
pub const DATA: u16 = 0x60;
/// Status (read) and command (write) port.
pub const STATUS: u16 = 0x64;

/// Status: the output buffer is full, a byte can be read.
pub const OUTPUT_FULL: u8 = 0x01;
/// Status: the input buffer is full, the controller has not taken the last byte.
pub const INPUT_FULL: u8 = 0x02;
/// Status: the byte in the output buffer is from the auxiliary device.
pub const FROM_AUX: u8 = 0x20;

/// Command: write the command byte.
pub const WRITE_COMMAND_BYTE: u8 = 0x60;
/// Self test.
pub const SELF_TEST: u8 = 0xaa;
/// Test the keyboard's interface.
pub const TEST_KEYBOARD: u8 = 0xab;
/// Enable the keyboard's interface.
pub const ENABLE_KEYBOARD: u8 = 0xae;
/// The next byte goes to the auxiliary device.
pub const TO_AUX: u8 = 0xd4;

/// Command byte: enable IRQ 1 and IRQ 12.
pub const INTERRUPTS: u8 = 0x03;
/// Command byte: the system flag.
pub const SYSTEM: u8 = 0x04;
/// Command byte: disable the keyboard's clock.
pub const KEYBOARD_OFF: u8 = 0x10;
/// Command byte: disable the auxiliary device's clock.
pub const AUX_OFF: u8 = 0x20;
/// Command byte: translate scan code set 2 to set 1.
pub const TRANSLATE: u8 = 0x40;

/// Reply: acknowledge.
pub const ACK: u8 = 0xfa;
/// Reply: resend the last byte.
pub const RESEND: u8 = 0xfe;
/// Reply to a reset: the device's self test has passed.
pub const PASSED: u8 = 0xaa;

/// The device that a byte comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ps2Device {
    /// The keyboard, or the controller itself.
    Keyboard,
    /// The auxiliary device: the mouse.
    Aux,
}

/// Waits until the controller accepts a byte. Returns false after 50 ms.
pub fn ready<H: Hw>(hw: &mut H) -> bool {
    let mut watch = Stopwatch::start();
    loop {
        let status = hw.inb(STATUS);
        if status == 0xff {
            return false;
        }
        if status & INPUT_FULL == 0 {
            return true;
        }
        if watch.passed(hw, 50_000) {
            return false;
        }
    }
}

/// Sends a command to the controller.
pub fn command<H: Hw>(hw: &mut H, command: u8) -> bool {
    let taken = ready(hw);
    if taken {
        hw.outb(STATUS, command);
    }
    taken
}

/// Sends a command with an argument to the controller.
pub fn command_with<H: Hw>(hw: &mut H, number: u8, argument: u8) -> bool {
    command(hw, number) && ready(hw) && {
        hw.outb(DATA, argument);
        true
    }
}

/// Waits up to `micros` us for a byte from a device. Bytes from the other device are dropped.
pub fn receive<H: Hw>(hw: &mut H, device: Ps2Device, micros: u32) -> Option<u8> {
    let mut watch = Stopwatch::start();
    loop {
        let status = hw.inb(STATUS);
        if status == 0xff {
            return None;
        }
        if status & OUTPUT_FULL != 0 {
            let byte = hw.inb(DATA);
            if (status & FROM_AUX != 0) == (device == Ps2Device::Aux) {
                return Some(byte);
            }
        }
        if watch.passed(hw, micros) {
            return None;
        }
    }
}

/// Discards the bytes in the output buffer.
pub fn flush<H: Hw>(hw: &mut H) {
    // More bytes than a device buffers.
    for _ in 0..64 {
        if hw.inb(STATUS) & OUTPUT_FULL == 0 {
            break;
        }
        hw.inb(DATA);
    }
}

/// Sends a byte to a device, again on RESEND, and waits for the reply. Returns true for ACK.
pub fn send<H: Hw>(hw: &mut H, device: Ps2Device, byte: u8) -> bool {
    for _ in 0..3 {
        if device == Ps2Device::Aux && !command(hw, TO_AUX) || !ready(hw) {
            return false;
        }
        hw.outb(DATA, byte);
        // A device replies within 20 ms; scan codes may precede the reply.
        for _ in 0..20 {
            match receive(hw, device, 25_000) {
                Some(ACK) => return true,
                Some(RESEND) => break,
                Some(_) => {}
                None => return false,
            }
        }
    }
    false
}
