//! Keyboard interrupt INT 09h (IRQ 1): scan codes of set 1 to keyboard buffer words (IBM PS/2 and PC BIOS Interface
//! Technical Reference, INT 09h; data areas of section 3, 40:17-1E, 71, 80, 96, 97).

use super::controller::{ACK, DATA, ENABLE_KEYBOARD, FROM_AUX, INPUT_FULL, OUTPUT_FULL, RESEND, STATUS};
use super::keys::{self, Modifiers};
use super::{buffer, leds};
use crate::Bios;
use crate::services::{beep, pic};
use pcvm_firmware_rt::{Hw, Regs, bda};

/// Bits of 40:17.
pub mod flags {
    pub const RIGHT_SHIFT: u8 = 0x01;
    pub const LEFT_SHIFT: u8 = 0x02;
    pub const CTRL: u8 = 0x04;
    pub const ALT: u8 = 0x08;
    pub const SCROLL: u8 = 0x10;
    pub const NUM: u8 = 0x20;
    pub const CAPS: u8 = 0x40;
    pub const INSERT: u8 = 0x80;
}

/// Bits of 40:18.
pub mod flags2 {
    pub const LEFT_CTRL: u8 = 0x01;
    pub const LEFT_ALT: u8 = 0x02;
    pub const SYSREQ: u8 = 0x04;
    pub const PAUSED: u8 = 0x08;
    pub const SCROLL: u8 = 0x10;
    pub const NUM: u8 = 0x20;
    pub const CAPS: u8 = 0x40;
    pub const INSERT: u8 = 0x80;
}

/// Bits of 40:96.
pub mod mode {
    pub const LAST_E1: u8 = 0x01;
    pub const LAST_E0: u8 = 0x02;
    pub const RIGHT_CTRL: u8 = 0x04;
    pub const RIGHT_ALT: u8 = 0x08;
    pub const ENHANCED: u8 = 0x10;
}

const BREAK: u8 = 0x80;
const WARM_BOOT: u16 = 0x1234;

/// IRQ 1.
pub fn int09<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    let hw = &mut *bios.hw;
    let status = hw.inb(STATUS);
    if status & (OUTPUT_FULL | FROM_AUX) == OUTPUT_FULL | FROM_AUX {
        // Another handler has read the keyboard's byte. This one is the mouse's; IRQ 12 will follow.
        return pic::eoi(hw, 1);
    }
    // Read even if the output buffer is empty: a program that hooks this interrupt has already read the byte.
    let code = hw.inb(DATA);
    if !keyboard_reply(bios, code) {
        // INT 15h AH=4Fh: a program may replace the scan code, or drop it by clearing CF.
        let mut regs = Regs::with_ax(0x4f00 | u16::from(code));
        regs.set_cf(true);
        bios.hw.call_interrupt(0x15, &mut regs);
        if regs.cf() {
            let eoi = key(bios, regs.al());
            leds::update(bios);
            if eoi == Eoi::Sent {
                return;
            }
        }
    }
    pic::eoi(bios.hw, 1);
    enable(bios.hw);
}

/// Enables the keyboard interface: some programs disable it and rely on this handler to enable it again.
fn enable<H: Hw>(hw: &mut H) {
    if hw.inb(STATUS) & INPUT_FULL == 0 {
        hw.outb(STATUS, ENABLE_KEYBOARD);
    }
}

/// Handles ACK and RESEND. Returns false for a scan code.
fn keyboard_reply<H: Hw>(bios: &mut Bios<H>, code: u8) -> bool {
    match code {
        ACK => leds::acknowledged(bios),
        RESEND => leds::refused(bios),
        _ => return false,
    }
    true
}

/// Whether the handler still has to send EOI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Eoi {
    /// EOI is to be sent.
    Needed,
    /// EOI has been sent.
    Sent,
}

/// Handles a scan code.
fn key<H: Hw>(bios: &mut Bios<H>, code: u8) -> Eoi {
    let hw = &mut *bios.hw;
    match code {
        0xe0 | 0xe1 => {
            let prefix = if code == 0xe0 { mode::LAST_E0 } else { mode::LAST_E1 };
            set_bits(hw, bda::KEYBOARD_MODE, prefix, true);
            return Eoi::Needed;
        }
        // Overrun: the keyboard's own buffer was full.
        0x00 | 0xff => {
            beep::short(hw);
            return Eoi::Needed;
        }
        _ => {}
    }
    let before = hw.get(bda::KEYBOARD_MODE);
    let extended = before & mode::LAST_E0 != 0;
    let pause_sequence = before & mode::LAST_E1 != 0;
    let make = code & BREAK == 0;
    let code = code & !BREAK;

    if pause_sequence {
        // Pause is E1 1D 45 E1 9D C5: the E1 prefix stays set until the 45h.
        if code == 0x1d {
            return Eoi::Needed;
        }
        hw.set(bda::KEYBOARD_MODE, before & !(mode::LAST_E0 | mode::LAST_E1));
        if code == 0x45 && make {
            return pause(bios);
        }
        return Eoi::Needed;
    }
    hw.set(bda::KEYBOARD_MODE, before & !(mode::LAST_E0 | mode::LAST_E1));

    // The fake shifts that a keyboard sends around its grey keys.
    if extended && matches!(code, 0x2a | 0x36) {
        return Eoi::Needed;
    }
    if modifier(bios, code, extended, make) {
        return Eoi::Needed;
    }
    if !make {
        return Eoi::Needed;
    }
    pressed(bios, code, extended)
}

fn set_bits<H: Hw>(hw: &mut H, field: pcvm_firmware_rt::Field<u8>, bits: u8, on: bool) {
    let value = hw.get(field);
    hw.set(field, if on { value | bits } else { value & !bits });
}

/// Handles shift keys and locks. Returns false for other keys, and for locks that have another meaning with Ctrl or
/// Alt.
fn modifier<H: Hw>(bios: &mut Bios<H>, code: u8, extended: bool, make: bool) -> bool {
    let hw = &mut *bios.hw;
    let shifts = hw.get(bda::SHIFT_FLAGS);
    match code {
        0x2a => set_bits(hw, bda::SHIFT_FLAGS, flags::LEFT_SHIFT, make),
        0x36 => set_bits(hw, bda::SHIFT_FLAGS, flags::RIGHT_SHIFT, make),
        0x1d => {
            if extended {
                set_bits(hw, bda::KEYBOARD_MODE, mode::RIGHT_CTRL, make);
            } else {
                set_bits(hw, bda::SHIFT_FLAGS_2, flags2::LEFT_CTRL, make);
            }
            let any = hw.get(bda::KEYBOARD_MODE) & mode::RIGHT_CTRL != 0
                || hw.get(bda::SHIFT_FLAGS_2) & flags2::LEFT_CTRL != 0;
            set_bits(hw, bda::SHIFT_FLAGS, flags::CTRL, any);
        }
        0x38 => {
            if extended {
                set_bits(hw, bda::KEYBOARD_MODE, mode::RIGHT_ALT, make);
            } else {
                set_bits(hw, bda::SHIFT_FLAGS_2, flags2::LEFT_ALT, make);
            }
            let any =
                hw.get(bda::KEYBOARD_MODE) & mode::RIGHT_ALT != 0 || hw.get(bda::SHIFT_FLAGS_2) & flags2::LEFT_ALT != 0;
            set_bits(hw, bda::SHIFT_FLAGS, flags::ALT, any);
            if !any {
                // The number typed with Alt held becomes a character.
                let number = hw.get(bda::ALT_KEYPAD);
                hw.set(bda::ALT_KEYPAD, 0);
                if number != 0 {
                    put(hw, number.into());
                }
            }
        }
        0x3a if shifts & flags::CTRL == 0 => lock(hw, make, flags::CAPS, flags2::CAPS),
        0x45 if !extended && shifts & (flags::CTRL | flags::ALT) == 0 => lock(hw, make, flags::NUM, flags2::NUM),
        0x46 if !extended && shifts & flags::CTRL == 0 => lock(hw, make, flags::SCROLL, flags2::SCROLL),
        // The release of a lock key is handled even with Ctrl or Alt held.
        0x3a | 0x45 | 0x46 if !make && !extended => {
            let held = match code {
                0x3a => flags2::CAPS,
                0x45 => flags2::NUM,
                _ => flags2::SCROLL,
            };
            set_bits(hw, bda::SHIFT_FLAGS_2, held, false);
        }
        // Insert, whose code also goes to the buffer.
        0x52 if make => {
            let typed =
                extended || (shifts & (flags::LEFT_SHIFT | flags::RIGHT_SHIFT) != 0) == (shifts & flags::NUM != 0);
            if typed && shifts & (flags::CTRL | flags::ALT) == 0 {
                lock(hw, true, flags::INSERT, flags2::INSERT);
            }
            return false;
        }
        0x52 => {
            set_bits(hw, bda::SHIFT_FLAGS_2, flags2::INSERT, false);
            return false;
        }
        // SysReq: Alt with Print Screen.
        0x54 => {
            let held = hw.get(bda::SHIFT_FLAGS_2) & flags2::SYSREQ != 0;
            if make != held {
                set_bits(hw, bda::SHIFT_FLAGS_2, flags2::SYSREQ, make);
                hw.call_interrupt(0x15, &mut Regs::with_ax(if make { 0x8500 } else { 0x8501 }));
            }
        }
        _ => return false,
    }
    true
}

/// Toggles a lock when its key is pressed, but not on its repeats.
fn lock<H: Hw>(hw: &mut H, make: bool, toggled: u8, held: u8) {
    let keys = hw.get(bda::SHIFT_FLAGS_2);
    if make && keys & held == 0 {
        let flags = hw.get(bda::SHIFT_FLAGS);
        hw.set(bda::SHIFT_FLAGS, flags ^ toggled);
    }
    hw.set(bda::SHIFT_FLAGS_2, if make { keys | held } else { keys & !held });
}

/// Handles the press of any other key.
fn pressed<H: Hw>(bios: &mut Bios<H>, code: u8, extended: bool) -> Eoi {
    let hw = &mut *bios.hw;
    let shifts = hw.get(bda::SHIFT_FLAGS);
    let enhanced = hw.get(bda::KEYBOARD_MODE) & mode::ENHANCED != 0;
    let held = Modifiers {
        shift: shifts & (flags::LEFT_SHIFT | flags::RIGHT_SHIFT) != 0,
        ctrl: shifts & flags::CTRL != 0,
        alt: shifts & flags::ALT != 0,
        caps: shifts & flags::CAPS != 0,
        num: shifts & flags::NUM != 0,
    };

    if hw.get(bda::SHIFT_FLAGS_2) & flags2::PAUSED != 0 {
        // The key that ends a pause has no other effect.
        set_bits(hw, bda::SHIFT_FLAGS_2, flags2::PAUSED, false);
        return Eoi::Needed;
    }
    if code == 0x53 && held.ctrl && held.alt {
        hw.set(bda::RESET_FLAG, WARM_BOOT);
        hw.reset();
        return Eoi::Sent;
    }
    match code {
        // Print Screen. An 83-key keyboard has it on the keypad, with Shift.
        0x37 if !held.alt && (extended || held.shift && !enhanced) => {
            if held.ctrl {
                put(hw, 0x7200);
            } else {
                pic::eoi(hw, 1);
                enable(hw);
                hw.call_interrupt(0x05, &mut Regs::default());
                return Eoi::Sent;
            }
            return Eoi::Needed;
        }
        // Break.
        0x46 if held.ctrl && (extended || !enhanced) => {
            buffer::clear(hw);
            hw.set(bda::BREAK, 0x80);
            hw.call_interrupt(0x1b, &mut Regs::default());
            buffer::put(hw, 0);
            return Eoi::Needed;
        }
        // Pause of an 83-key keyboard.
        0x45 if held.ctrl && !extended && !enhanced => return pause(bios),
        // A digit of a character code, typed with Alt.
        0x47..=0x49 | 0x4b..=0x4d | 0x4f..=0x52 if held.alt && !extended => {
            let digit = match code {
                0x47..=0x49 => code - 0x47 + 7,
                0x4b..=0x4d => code - 0x4b + 4,
                0x4f..=0x51 => code - 0x4f + 1,
                _ => 0,
            };
            let number = hw.get(bda::ALT_KEYPAD);
            hw.set(bda::ALT_KEYPAD, number.wrapping_mul(10).wrapping_add(digit));
            return Eoi::Needed;
        }
        _ => {}
    }
    if held.alt {
        hw.set(bda::ALT_KEYPAD, 0);
    }
    match keys::word(code, extended, held) {
        0 => {}
        word => put(hw, word),
    }
    Eoi::Needed
}

/// Adds a word to the buffer and posts INT 15h AX=9102h; beeps if the buffer is full.
fn put<H: Hw>(hw: &mut H, word: u16) {
    if buffer::put(hw, word) {
        hw.call_interrupt(0x15, &mut Regs::with_ax(0x9102));
    } else {
        beep::short(hw);
    }
}

/// Waits, with interrupts enabled, for the key that ends a pause.
fn pause<H: Hw>(bios: &mut Bios<H>) -> Eoi {
    let hw = &mut *bios.hw;
    if hw.get(bda::SHIFT_FLAGS_2) & flags2::PAUSED != 0 {
        return Eoi::Needed;
    }
    set_bits(hw, bda::SHIFT_FLAGS_2, flags2::PAUSED, true);
    pic::eoi(hw, 1);
    enable(hw);
    while hw.get(bda::SHIFT_FLAGS_2) & flags2::PAUSED != 0 {
        hw.wait_for_interrupt();
    }
    Eoi::Sent
}
