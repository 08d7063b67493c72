//! Keyboard LED update without busy-waiting: the command SET LEDS (EDh) is sent, and its argument follows when INT 09h
//! receives the ACK (40:97, IBM PS/2 and PC BIOS Interface Technical Reference, section 3).

use super::controller::{DATA, INPUT_FULL, STATUS};
use crate::Bios;
use pcvm_firmware_rt::{Hw, bda};

/// Bits of 40:97: LED states (as in the command's argument), and the progress of an update.
const LEDS: u8 = 0x07;
const ACKNOWLEDGED: u8 = 0x10;
const REFUSED: u8 = 0x20;
const UPDATING: u8 = 0x40;

const SET_LEDS: u8 = 0xed;

/// Progress of an LED update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LedUpdate {
    /// No update is in progress.
    #[default]
    Idle,
    /// The command has been sent.
    Command,
    /// The argument has been sent.
    Argument,
}

/// Starts an update if the LEDs differ from the lock flags at 40:17.
pub fn update<H: Hw>(bios: &mut Bios<H>) {
    let wanted = bios.hw.get(bda::SHIFT_FLAGS) >> 4 & LEDS;
    let state = bios.hw.get(bda::KEYBOARD_LEDS);
    if state & LEDS == wanted {
        return;
    }
    if state & UPDATING != 0 {
        // If the keyboard does not reply within 18 ticks (1 s), the update starts again.
        let waited = bios.hw.get(bda::TICKS).wrapping_sub(bios.state.input.led_update_since.get());
        if waited < 18 {
            return;
        }
    }
    if bios.hw.inb(STATUS) & INPUT_FULL != 0 {
        return;
    }
    bios.state.input.led_update_since.set(bios.hw.get(bda::TICKS));
    bios.state.input.led_update.set(LedUpdate::Command);
    bios.hw.set(bda::KEYBOARD_LEDS, state & !(ACKNOWLEDGED | REFUSED) | UPDATING);
    bios.hw.outb(DATA, SET_LEDS);
}

/// The keyboard has sent ACK.
pub fn acknowledged<H: Hw>(bios: &mut Bios<H>) {
    let state = bios.hw.get(bda::KEYBOARD_LEDS) | ACKNOWLEDGED;
    bios.hw.set(bda::KEYBOARD_LEDS, state);
    match bios.state.input.led_update.get() {
        LedUpdate::Idle => {}
        LedUpdate::Command => {
            let wanted = bios.hw.get(bda::SHIFT_FLAGS) >> 4 & LEDS;
            bios.hw.set(bda::KEYBOARD_LEDS, state & !LEDS | wanted);
            bios.state.input.led_update.set(LedUpdate::Argument);
            bios.hw.outb(DATA, wanted);
        }
        LedUpdate::Argument => {
            bios.state.input.led_update.set(LedUpdate::Idle);
            bios.hw.set(bda::KEYBOARD_LEDS, state & !UPDATING);
            // A lock may have changed during the update.
            update(bios);
        }
    }
}

/// The keyboard has sent RESEND: aborts the update. The next key starts it again.
pub fn refused<H: Hw>(bios: &mut Bios<H>) {
    let state = bios.hw.get(bda::KEYBOARD_LEDS);
    bios.state.input.led_update.set(LedUpdate::Idle);
    bios.hw.set(bda::KEYBOARD_LEDS, state & !UPDATING | REFUSED);
}
