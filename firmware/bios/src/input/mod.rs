//! Keyboard and PS/2 pointing device: INT 09h, 16h and 74h, and INT 15h AH=C2h.

mod buffer;
mod controller;
mod int09;
mod int16;
mod keys;
mod leds;
mod pointer;
#[cfg(test)]
mod tests;

use crate::Bios;
use crate::services::pic;
use controller::Ps2Device;
use core::cell::Cell;
use pcvm_firmware_rt::{Hw, bda, ebda};

pub use int09::int09;
pub use int16::int16;
pub use pointer::{int15_pointer, int74};

/// Keyboard and mouse state outside the BIOS data areas.
#[derive(Debug, Default)]
pub struct State {
    /// The controller's command byte, as last written. Reading it back would race with incoming scan codes.
    command_byte: Cell<u8>,
    /// Typematic rate and delay, as in BX of INT 16h AX=0305h.
    typematic: Cell<u16>,
    /// Progress of an LED update.
    led_update: Cell<leds::LedUpdate>,
    /// Tick count at the start of the LED update.
    led_update_since: Cell<u32>,
    /// Tick count at the mouse's last byte.
    pointer_since: Cell<u32>,
}

impl State {
    /// The state at power-on.
    pub const fn new() -> Self {
        Self {
            command_byte: Cell::new(0),
            typematic: Cell::new(0x010b),
            led_update: Cell::new(leds::LedUpdate::Idle),
            led_update_since: Cell::new(0),
            pointer_since: Cell::new(0),
        }
    }
}

const RESET: u8 = 0xff;
const DISABLE: u8 = 0xf5;
/// Equipment word: there is a pointing device.
const EQUIPMENT_POINTER: u16 = 0x0004;

/// Resets and enables the keyboard controller, the keyboard and the mouse.
pub fn init<H: Hw>(bios: &mut Bios<H>) {
    let hw = &mut *bios.hw;
    // The default packet size is three bytes.
    hw.set(ebda::POINTER_FLAGS_2, 2);
    if hw.inb(controller::STATUS) == 0xff {
        return crate::log::line(hw, "no keyboard controller");
    }
    controller::flush(hw);
    if !controller::command(hw, controller::SELF_TEST)
        || controller::receive(hw, Ps2Device::Keyboard, 500_000) != Some(0x55)
    {
        return crate::log::line(hw, "keyboard controller: self test failed");
    }
    let quiet = controller::SYSTEM | controller::TRANSLATE | controller::AUX_OFF;
    controller::command(hw, controller::TEST_KEYBOARD);
    let interface_works = controller::receive(hw, Ps2Device::Keyboard, 50_000) == Some(0);
    controller::command_with(hw, controller::WRITE_COMMAND_BYTE, quiet);

    let keyboard = interface_works && controller::send(hw, Ps2Device::Keyboard, RESET) && {
        // A real keyboard's self test takes half a second.
        controller::receive(hw, Ps2Device::Keyboard, 1_000_000) == Some(controller::PASSED)
    };
    if keyboard {
        // After its reset the keyboard uses scan code set 2, repeats 10.9 times per second after 500 ms, has its LEDs
        // off, and is enabled.
        hw.set(bda::KEYBOARD_MODE, int09::mode::ENHANCED);
    } else {
        crate::log::line(hw, "no keyboard");
    }

    // The mouse stays disabled until a program enables it (INT 15h AH=C2h).
    let mouse = controller::send(hw, Ps2Device::Aux, DISABLE);
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
