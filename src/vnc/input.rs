//! Translation of a client's KeyEvent and PointerEvent messages into the guest's input events.

use crate::keys::{self, Keymap, KeysymKeyboard};
use crate::tablet::scale;
use pcvm_devices::InputEvent;

/// The coordinate that means no movement in a PointerEvent with relative coordinates (QEMU Pointer Motion Change).
const MOVEMENT_ZERO: i32 = 0x7fff;

/// What the coordinates of a PointerEvent mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerMode {
    /// A movement.
    Movement,
    /// A position, of which the guest's mouse gets the difference to the position before.
    Difference,
    /// A position on a screen of this size, which the guest's tablet gets.
    Absolute((u16, u16)),
}

/// The keys and buttons that a client holds down, and the input events for the guest.
#[derive(Debug, Default)]
pub struct ClientInput {
    keyboard: KeysymKeyboard,
    buttons: u8,
    /// The buttons were sent to the tablet; else to the mouse.
    absolute: bool,
    /// The position in the last PointerEvent that had one.
    position: Option<(u16, u16)>,
    /// Events for the guest, in order.
    pub events: Vec<InputEvent>,
}

impl ClientInput {
    /// No keys and buttons down; the guest is set to this keyboard layout.
    pub fn new(keymap: Keymap) -> Self {
        Self { keyboard: KeysymKeyboard::new(keymap), ..Self::default() }
    }

    /// Sets the guest's locks, which the next keys are matched to: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    pub fn set_locks(&mut self, locks: u8) {
        self.keyboard.set_locks(locks);
    }

    /// QEMU Extended Key Event: a set 1 scan code, with bit 7 for the prefix E0h.
    pub fn extended_key_event(&mut self, number: u32, down: bool) {
        if let Some(code) = keys::by_number(number.into()) {
            self.keyboard.code(code, down);
            self.events.append(&mut self.keyboard.events);
        }
    }

    /// KeyEvent: a key by its X keysym, which names the character, not the position.
    pub fn key_event(&mut self, keysym: u32, down: bool) {
        self.keyboard.keysym(keysym, down);
        self.events.append(&mut self.keyboard.events);
    }

    /// PointerEvent; `mode` says what the coordinates mean.
    pub fn pointer_event(&mut self, mask: u8, x: u16, y: u16, mode: PointerMode) {
        // Mask bits from 0 (RFC 6143, section 7.5.5): left, middle, right, wheel up, wheel down. A PS/2 mouse has left,
        // right, middle.
        let buttons = mask & 1 | mask >> 1 & 2 | mask << 1 & 4;
        let dz = i32::from(mask & 0x10 != 0) - i32::from(mask & 8 != 0);
        let absolute = matches!(mode, PointerMode::Absolute(_));
        if self.absolute != absolute {
            self.release_buttons();
            self.absolute = absolute;
        }
        let (old_x, old_y) = self.position.unwrap_or((x, y));
        let (dx, dy) = match mode {
            PointerMode::Movement => (i32::from(x) - MOVEMENT_ZERO, i32::from(y) - MOVEMENT_ZERO),
            _ => (i32::from(x) - i32::from(old_x), i32::from(y) - i32::from(old_y)),
        };
        let first = self.position.is_none();
        self.position = (mode != PointerMode::Movement).then_some((x, y));
        let changed = dz != 0 || buttons != self.buttons;
        self.buttons = buttons;
        match mode {
            PointerMode::Absolute((width, height)) if changed || first || (dx, dy) != (0, 0) => {
                // Coordinates off the screen were sent before the client learned that positions are absolute now.
                let (x, y) = scale(x, width).zip(scale(y, height)).unzip();
                self.events.push(InputEvent::Pointer { x, y, dz, buttons });
            }
            PointerMode::Movement | PointerMode::Difference if changed || (dx, dy) != (0, 0) => {
                self.events.push(InputEvent::Mouse { dx, dy: -dy, dz, buttons });
            }
            _ => {}
        }
    }

    fn release_buttons(&mut self) {
        if std::mem::take(&mut self.buttons) != 0 {
            self.events.push(match self.absolute {
                true => InputEvent::Pointer { x: None, y: None, dz: 0, buttons: 0 },
                false => InputEvent::Mouse { dx: 0, dy: 0, dz: 0, buttons: 0 },
            });
        }
    }

    /// Releases all keys and buttons: the client is gone.
    pub fn release_all(&mut self) {
        self.keyboard.release_all();
        self.events.append(&mut self.keyboard.events);
        self.release_buttons();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_keys(input: &mut ClientInput) -> Vec<(u16, bool)> {
        let keys = std::mem::take(&mut input.events).into_iter();
        keys.map(|event| match event {
            InputEvent::Key { code, down } => (code, down),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn extended_key_events_are_scan_codes_and_held_keys_are_bounded() {
        let mut input = ClientInput::default();
        for number in [0x1e, 0xd3, 0xc6, 0, 0x1_0000] {
            input.extended_key_event(number, true);
        }
        assert_eq!(take_keys(&mut input), [(0x1e, true), (0x153, true), (0x1e1, true)]);
        for number in 0..1000 {
            input.extended_key_event(number, true);
        }
        take_keys(&mut input);
        input.release_all();
        assert_eq!(take_keys(&mut input).len(), 64);
    }

    #[test]
    fn a_mouse_gets_movements_and_buttons() {
        let mut input = ClientInput::default();
        input.pointer_event(0, 100, 100, PointerMode::Difference);
        input.pointer_event(0, 110, 95, PointerMode::Difference);
        input.pointer_event(1, 110, 95, PointerMode::Difference);
        input.pointer_event(0b111, 110, 95, PointerMode::Difference);
        input.pointer_event(0b10_0000, 110, 95, PointerMode::Difference);
        input.pointer_event(0x10, 110, 95, PointerMode::Difference);
        input.pointer_event(0, 0x7fff - 3, 0x7fff + 2, PointerMode::Movement);
        let mouse = |dx, dy, dz, buttons| InputEvent::Mouse { dx, dy, dz, buttons };
        assert_eq!(
            input.events,
            [
                mouse(10, 5, 0, 0),
                mouse(0, 0, 0, 1),
                mouse(0, 0, 0, 7),
                mouse(0, 0, 0, 0),
                mouse(0, 0, 1, 0),
                mouse(-3, -2, 0, 0)
            ]
        );
    }

    #[test]
    fn a_tablet_gets_the_clients_position_and_buttons_are_released_between_mouse_and_tablet() {
        let mut input = ClientInput::default();
        let screen = PointerMode::Absolute((1024, 768));
        input.pointer_event(0, 0, 0, screen);
        input.pointer_event(0, 0, 0, screen);
        input.pointer_event(4, 1023, 767, screen);
        input.pointer_event(8, 512, 384, screen);
        input.pointer_event(1, 0x7fff - 3, 0x7fff, screen);
        // The guest stops reading the tablet and starts again; then the client disconnects.
        input.pointer_event(1, 10, 10, PointerMode::Difference);
        input.pointer_event(1, 10, 10, screen);
        input.release_all();
        let pointer = |at: Option<(u16, u16)>, dz, buttons| {
            let (x, y) = at.unzip();
            InputEvent::Pointer { x, y, dz, buttons }
        };
        let mouse = |dx, dy, buttons| InputEvent::Mouse { dx, dy, dz: 0, buttons };
        assert_eq!(
            input.events,
            [
                pointer(Some((0, 0)), 0, 0),
                pointer(Some((32767, 32767)), 0, 2),
                pointer(Some((16400, 16405)), -1, 0),
                pointer(None, 0, 1),
                pointer(None, 0, 0),
                mouse(10 - (0x7fff - 3), -(10 - 0x7fff), 1),
                mouse(0, 0, 0),
                pointer(Some((321, 428)), 0, 1),
                pointer(None, 0, 0),
            ]
        );
    }
}
