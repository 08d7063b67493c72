//! The keyboard's lights, without waiting for the keyboard: the command is sent, and its argument when INT 09h gets the
//! acknowledgement (40:97, IBM PS/2 and PC BIOS Interface Technical Reference, section 3).

use super::controller::{DATA, INPUT_FULL, STATUS};
use crate::Bios;
use pcvm_firmware_rt::{Hw, bda};

/// 40:97: what is lit (as the command's argument), and how far an update is.
const LIT: u8 = 0x07;
const ACKNOWLEDGED: u8 = 0x10;
const REFUSED: u8 = 0x20;
const UPDATING: u8 = 0x40;

const SET_LIGHTS: u8 = 0xed;

/// How far an update is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// None is under way.
    #[default]
    None,
    /// The command is sent.
    Command,
    /// Its argument is sent.
    Argument,
}

/// Starts to light what 40:17 says, if anything else is lit.
pub fn update<H: Hw>(bios: &mut Bios<H>) {
    let wanted = bios.hw.get(bda::SHIFT_FLAGS) >> 4 & LIT;
    let state = bios.hw.get(bda::KEYBOARD_LEDS);
    if state & LIT == wanted {
        return;
    }
    if state & UPDATING != 0 {
        // A keyboard that never answered is asked again a second later.
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

/// The keyboard has taken a byte.
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
            // What was toggled meanwhile.
            update(bios);
        }
    }
}

/// The keyboard wants a byte again: the update is given up, and the next key starts it anew.
pub fn refused<H: Hw>(bios: &mut Bios<H>) {
    let state = bios.hw.get(bda::KEYBOARD_LEDS);
    bios.state.input.lights.set(Step::None);
    bios.hw.set(bda::KEYBOARD_LEDS, state & !UPDATING | REFUSED);
}
