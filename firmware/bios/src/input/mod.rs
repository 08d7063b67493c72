//! Keyboard and pointing device: INT 09h, 16h, 74h, and INT 15h AH=C2h.

mod buffer;
mod controller;
mod int09;
mod int16;
mod keys;
mod lights;
mod pointer;
#[cfg(test)]
mod tests;

use crate::Bios;
use crate::services::pic;
use controller::Side;
use core::cell::Cell;
use pcvm_firmware_rt::{Hw, bda, ebda};

pub use int09::int09;
pub use int16::int16;
pub use pointer::{int15_pointer, int74};

/// What is remembered about them beyond the BIOS data areas.
#[derive(Debug, Default)]
pub struct State {
    /// The controller's command byte, as last written: read back, it might be mistaken for a scan code that comes at that moment.
    command_byte: Cell<u8>,
    /// Rate and delay, as INT 16h AX=0305h takes them in BX.
    typematic: Cell<u16>,
    /// How far an update of the lights is.
    lights: Cell<lights::Step>,
    /// When it began, in ticks.
    lights_since: Cell<u32>,
    /// When the mouse's last byte came, in ticks.
    pointer_since: Cell<u32>,
}

impl State {
    /// At power-on.
    pub const fn new() -> Self {
        Self {
            command_byte: Cell::new(0),
            typematic: Cell::new(0x010b),
            lights: Cell::new(lights::Step::None),
            lights_since: Cell::new(0),
            pointer_since: Cell::new(0),
        }
    }
}

const RESET: u8 = 0xff;
const SCAN_CODE_SET: u8 = 0xf0;
const ENABLE: u8 = 0xf4;
const DISABLE: u8 = 0xf5;
/// The equipment word's bit for a pointing device.
const EQUIPMENT_POINTER: u16 = 0x0004;

/// Resets and enables the keyboard controller, the keyboard and the mouse.
pub fn init<H: Hw>(bios: &mut Bios<H>) {
    let hw = &mut *bios.hw;
    // Packages of three bytes, for those who do not say.
    hw.set(ebda::POINTER_FLAGS_2, 2);
    if hw.inb(controller::STATUS) == 0xff {
        return crate::log::line(hw, "no keyboard controller");
    }
    controller::flush(hw);
    if !controller::command(hw, controller::SELF_TEST) || controller::receive(hw, Side::Keyboard, 500_000) != Some(0x55)
    {
        return crate::log::line(hw, "keyboard controller: self test failed");
    }
    let quiet = controller::SYSTEM | controller::TRANSLATE | controller::AUX_OFF;
    controller::command(hw, controller::TEST_KEYBOARD);
    let interface_works = controller::receive(hw, Side::Keyboard, 50_000) == Some(0);
    controller::command_with(hw, controller::WRITE_COMMAND_BYTE, quiet);

    let keyboard = interface_works && controller::send(hw, Side::Keyboard, RESET) && {
        // A real keyboard tests itself for half a second.
        controller::receive(hw, Side::Keyboard, 1_000_000) == Some(controller::PASSED)
    };
    if keyboard {
        let _ = controller::send(hw, Side::Keyboard, DISABLE)
            && controller::send(hw, Side::Keyboard, SCAN_CODE_SET)
            && controller::send(hw, Side::Keyboard, 2)
            && controller::send(hw, Side::Keyboard, ENABLE);
        hw.set(bda::KEYBOARD_MODE, int09::mode::ENHANCED);
    } else {
        crate::log::line(hw, "no keyboard");
    }

    // The mouse is quiet until somebody asks for it (INT 15h AH=C2h).
    let mouse = controller::send(hw, Side::Aux, DISABLE);
    if mouse {
        let equipment = hw.get(bda::EQUIPMENT);
        hw.set(bda::EQUIPMENT, equipment | EQUIPMENT_POINTER);
    }
    controller::command_with(hw, controller::WRITE_COMMAND_BYTE, quiet | 0x01);
    bios.state.input.command_byte.set(quiet | 0x01);
    pic::unmask(hw, 1);
    if mouse {
        pic::unmask(hw, 12);
    }
}
