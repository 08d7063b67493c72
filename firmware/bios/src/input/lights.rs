//! Keyboard LED update without busy-waiting: the command SET LEDS (EDh) is sent, and its argument follows when INT 09h
//! receives the ACK (40:97, IBM PS/2 and PC BIOS Interface Technical Reference, section 3).

use super::controller::{DATA, INPUT_FULL, STATUS};
use crate::Bios;
use pcvm_firmware_rt::{Hw, bda};

/// Bits of 40:97: LED states (as in the command's argument), and the progress of an update.
const LIT: u8 = 0x07;
const ACKNOWLEDGED: u8 = 0x10;
const REFUSED: u8 = 0x20;
const UPDATING: u8 = 0x40;

const SET_LIGHTS: u8 = 0xed;

/// Progress of an LED update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// No update is in progress.
    #[default]
    None,
    /// The command has been sent.
    Command,
    /// The argument has been sent.
    Argument,
}

/// Starts an update if the LEDs differ from the lock flags at 40:17.
pub fn update<H: Hw>(bios: &mut Bios<H>) {
    let wanted = bios.hw.get(bda::SHIFT_FLAGS) >> 4 & LIT;
    let state = bios.hw.get(bda::KEYBOARD_LEDS);
    if state & LIT == wanted {
        return;
    }
    if state & UPDATING != 0 {
        // If the keyboard does not reply within 18 ticks (1 s), the update starts again.
        let waited = bios.hw.get(bda::TICKS).wrapping_sub(bios.state.input.lights_since.get());
        if waited < 18 {
            return;
        }
    }
    if bios.hw.inb(STATUS) & INPUT_FULL != 0 {
        return;
    }
    bios.state.input.lights_since.set(bios.hw.get(bda::TICKS));
    bios.state.input.lights.set(Step::Command);
    bios.hw.set(bda::KEYBOARD_LEDS, state & !(ACKNOWLEDGED | REFUSED) | UPDATING);
    bios.hw.outb(DATA, SET_LIGHTS);
}

/// The keyboard has sent ACK.
pub fn acknowledged<H: Hw>(bios: &mut Bios<H>) {
    let state = bios.hw.get(bda::KEYBOARD_LEDS) | ACKNOWLEDGED;
    bios.hw.set(bda::KEYBOARD_LEDS, state);
    match bios.state.input.lights.get() {
        Step::None => {}
        Step::Command => {
            let wanted = bios.hw.get(bda::SHIFT_FLAGS) >> 4 & LIT;
            bios.hw.set(bda::KEYBOARD_LEDS, state & !LIT | wanted);
            bios.state.input.lights.set(Step::Argument);
            bios.hw.outb(DATA, wanted);
        }
        Step::Argument => {
            bios.state.input.lights.set(Step::None);
            bios.hw.set(bda::KEYBOARD_LEDS, state & !UPDATING);
            // A lock may have changed during the update.
            update(bios);
        }
    }
}

/// The keyboard has sent RESEND: aborts the update. The next key starts it again.
pub fn refused<H: Hw>(bios: &mut Bios<H>) {
    let state = bios.hw.get(bda::KEYBOARD_LEDS);
    bios.state.input.lights.set(Step::None);
    bios.hw.set(bda::KEYBOARD_LEDS, state & !UPDATING | REFUSED);
}
