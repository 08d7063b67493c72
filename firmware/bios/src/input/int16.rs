//! Keyboard services INT 16h (IBM PS/2 and PC BIOS Interface Technical Reference, INT 16h).

use super::controller::{self, Ps2Device};
use super::int09::{flags2, mode};
use super::{buffer, leds};
use crate::Bios;
use pcvm_firmware_rt::{Flags, Hw, Regs, bda};

const SET_TYPEMATIC: u8 = 0xf3;
const READ_ID: u8 = 0xf2;
/// Result of AH=09h: AX=0300h, 0305h and 0306h, AH=0Ah and 10h to 12h are supported.
const FUNCTIONS: u8 = 0x3d;
/// A keyboard's rate (10.9 per second) and delay (500 ms) after reset.
const DEFAULT_TYPEMATIC: u16 = 0x010b;

/// INT 16h.
pub fn int16<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    match regs.ah() {
        0x00 => read(bios, regs, standard),
        0x01 => peek(bios, regs, standard),
        0x02 => {
            let flags = bios.hw.get(bda::SHIFT_FLAGS);
            regs.set_al(flags);
        }
        0x03 => typematic(bios, regs),
        // The key click of the PCjr's keyboard, which does not exist here.
        0x04 => {}
        0x05 => {
            let full = !buffer::put(bios.hw, regs.cx());
            regs.set_al(full.into());
        }
        0x09 => regs.set_al(FUNCTIONS),
        0x0a => {
            let id = without_interrupts(bios, identify);
            regs.set_bx(id);
        }
        0x10 | 0x20 => read(bios, regs, enhanced),
        0x11 | 0x21 => peek(bios, regs, enhanced),
        0x12 | 0x22 => {
            let hw = &mut *bios.hw;
            let keys = hw.get(bda::SHIFT_FLAGS_2);
            let right = hw.get(bda::KEYBOARD_MODE) & (mode::RIGHT_CTRL | mode::RIGHT_ALT);
            let system = if keys & flags2::SYSREQ != 0 { 0x80 } else { 0 };
            regs.set_al(hw.get(bda::SHIFT_FLAGS));
            regs.set_ah(keys & !(flags2::SYSREQ | flags2::PAUSED | flags2::INSERT) | right | system);
        }
        // DOS calls this to detect functions 10h to 12h and 20h to 22h.
        0x92 => regs.set_ah(0x80),
        _ => {}
    }
}

/// The word as AH=00h and 01h return it; none for a key that the 83-key keyboard did not have.
fn standard(word: u16) -> Option<u16> {
    let [character, code] = word.to_le_bytes();
    match (code, character) {
        // Enter and / of the keypad.
        (0xe0, 0x0d | 0x0a) => Some(0x1c00 | u16::from(character)),
        (0xe0, _) => Some(0x3500 | u16::from(character)),
        // Typed as a number with Alt.
        (0x00, _) => Some(word),
        (0x85.., _) | (_, 0xf0) => None,
        (_, 0xe0) => Some(word & 0xff00),
        _ => Some(word),
    }
}

/// The word as AH=10h and 11h return it.
fn enhanced(word: u16) -> Option<u16> {
    let marked = word & 0xff == 0xf0 && word >> 8 != 0;
    Some(if marked { word & 0xff00 } else { word })
}

fn read<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, filter: fn(u16) -> Option<u16>) {
    leds::update(bios);
    let hw = &mut *bios.hw;
    if buffer::peek(hw).is_none() {
        // INT 15h AX=9002h: the operating system may switch to another task while the BIOS waits.
        hw.call_interrupt(0x15, &mut Regs::with_ax(0x9002));
    }
    loop {
        while let Some(word) = buffer::peek(hw) {
            buffer::drop_first(hw);
            if let Some(word) = filter(word) {
                return regs.set_ax(word);
            }
        }
        hw.wait_for_interrupt();
    }
}

fn peek<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, filter: fn(u16) -> Option<u16>) {
    leds::update(bios);
    let hw = &mut *bios.hw;
    // A program that polls with interrupts disabled gets its keys too.
    hw.poll_interrupts();
    while let Some(word) = buffer::peek(hw) {
        if let Some(word) = filter(word) {
            regs.set_ax(word);
            return regs.set_flag(Flags::ZF, false);
        }
        buffer::drop_first(hw);
    }
    regs.set_flag(Flags::ZF, true);
}

fn typematic<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let value = match (regs.al(), regs.bh(), regs.bl()) {
        (0x00, ..) => DEFAULT_TYPEMATIC,
        (0x05, 0..=3, 0..=0x1f) => regs.bx(),
        (0x06, ..) => return regs.set_bx(bios.state.input.typematic.get()),
        _ => return,
    };
    let [rate, delay] = value.to_le_bytes();
    let set = without_interrupts(bios, |hw| {
        controller::send(hw, Ps2Device::Keyboard, SET_TYPEMATIC)
            && controller::send(hw, Ps2Device::Keyboard, delay << 5 | rate)
    });
    if set {
        bios.state.input.typematic.set(value);
    }
}

/// Reads the keyboard's ID bytes.
fn identify<H: Hw>(hw: &mut H) -> u16 {
    if !controller::send(hw, Ps2Device::Keyboard, READ_ID) {
        return 0;
    }
    let low = controller::receive(hw, Ps2Device::Keyboard, 25_000).unwrap_or(0);
    let high = controller::receive(hw, Ps2Device::Keyboard, 25_000).unwrap_or(0);
    u16::from_le_bytes([low, high])
}

/// Runs an exchange with the keyboard whose replies must not raise interrupts.
fn without_interrupts<H: Hw, T>(bios: &mut Bios<H>, exchange: impl FnOnce(&mut H) -> T) -> T {
    // Serve a pending key first.
    bios.hw.poll_interrupts();
    let before = bios.state.input.command_byte.get();
    controller::command_with(bios.hw, controller::WRITE_COMMAND_BYTE, before & !controller::INTERRUPTS);
    let result = exchange(bios.hw);
    controller::command_with(bios.hw, controller::WRITE_COMMAND_BYTE, before);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_functions_hide_keys_that_the_83_key_keyboard_lacks() {
        for (word, standard_word, enhanced_word) in [
            (0x1e61, Some(0x1e61), 0x1e61),
            (0xe00d, Some(0x1c0d), 0xe00d),
            (0xe00a, Some(0x1c0a), 0xe00a),
            (0xe02f, Some(0x352f), 0xe02f),
            (0x48e0, Some(0x4800), 0x48e0),
            (0x4800, Some(0x4800), 0x4800),
            (0x8500, None, 0x8500),
            (0x8de0, None, 0x8de0),
            (0x8400, Some(0x8400), 0x8400),
            (0x01f0, None, 0x0100),
            (0x4cf0, None, 0x4c00),
            (0x00f0, Some(0x00f0), 0x00f0),
            (0x00e0, Some(0x00e0), 0x00e0),
            (0x0000, Some(0x0000), 0x0000),
        ] {
            assert_eq!(standard(word), standard_word, "{word:04x}");
            assert_eq!(enhanced(word), Some(enhanced_word), "{word:04x}");
        }
    }
}
