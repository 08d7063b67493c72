//! A client's keys and pointer as the machine's.

use crate::keys;
use crate::tablet::scale;
use pcvm_devices::InputEvent;

/// Keys that a client can hold at a time.
const HELD_MAX: usize = 64;
/// Where a relative pointer says that it has not moved.
const RELATIVE_ZERO: i32 = 0x7fff;

/// What the position that a client gives means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// How far the pointer moved.
    Relative,
    /// Where the client's pointer is, but the machine can only be told how far it moved.
    Difference,
    /// Where the pointer is, on a screen of this size.
    Absolute((u16, u16)),
}

/// What a client holds, and what its input becomes.
#[derive(Debug, Default)]
pub struct Input {
    held: Vec<u16>,
    buttons: u8,
    /// The buttons are a tablet's.
    absolute: bool,
    /// As the client had it last.
    position: Option<(u16, u16)>,
    /// For the machine, in order.
    pub events: Vec<InputEvent>,
}

impl Input {
    fn press(&mut self, code: u16, down: bool) {
        if down && !self.held.contains(&code) {
            if self.held.len() == HELD_MAX {
                return;
            }
            self.held.push(code);
        } else if !down {
            self.held.retain(|&held| held != code);
        }
        self.events.push(InputEvent::Key { code, down });
    }

    /// A key by its position (QEMU's extended key event): a scan code, with bit 7 for E0h.
    pub fn position_key(&mut self, number: u32, down: bool) {
        if let Some(code) = keys::by_number(number.into()) {
            self.press(code, down);
        }
    }

    /// A key by what is written on it. The machine's keyboard is a US one: where a character needs shift there and the
    /// client did without, or the other way round, shift is changed for that key.
    pub fn keysym(&mut self, keysym: u32, down: bool) {
        let Some((code, shift)) = keys::by_keysym(keysym) else { return };
        let (Some(shift), true) = (shift, down) else { return self.press(code, down) };
        let shifts = |&key: &u16| key == keys::SHIFT || key == keys::RIGHT_SHIFT;
        let add = shift && !self.held.iter().any(shifts);
        let lifted: Vec<u16> =
            self.held.iter().copied().filter(|key| !shift && shifts(key) || *key == keys::RIGHT_ALT).collect();
        let mut key = |code, down| self.events.push(InputEvent::Key { code, down });
        lifted.iter().for_each(|&code| key(code, false));
        if add {
            key(keys::SHIFT, true);
        }
        self.press(code, true);
        let mut key = |code, down| self.events.push(InputEvent::Key { code, down });
        if add {
            key(keys::SHIFT, false);
        }
        lifted.iter().for_each(|&code| key(code, true));
    }

    /// The pointer, whose position means what `motion` says.
    pub fn pointer(&mut self, mask: u8, x: u16, y: u16, motion: Motion) {
        // RFC 6143, section 7.5.5: left, middle, right, wheel up, wheel down. The mouse has right before middle.
        let buttons = mask & 1 | mask >> 1 & 2 | mask << 1 & 4;
        let dz = i32::from(mask & 0x10 != 0) - i32::from(mask & 8 != 0);
        let absolute = matches!(motion, Motion::Absolute(_));
        if self.absolute != absolute {
            self.release_buttons();
            self.absolute = absolute;
        }
        let (old_x, old_y) = self.position.unwrap_or((x, y));
        let (dx, dy) = match motion {
            Motion::Relative => (i32::from(x) - RELATIVE_ZERO, i32::from(y) - RELATIVE_ZERO),
            _ => (i32::from(x) - i32::from(old_x), i32::from(y) - i32::from(old_y)),
        };
        let first = self.position.is_none();
        self.position = (motion != Motion::Relative).then_some((x, y));
        let changed = dz != 0 || buttons != self.buttons;
        self.buttons = buttons;
        match motion {
            Motion::Absolute((width, height)) if changed || first || (dx, dy) != (0, 0) => {
                // What lies outside is on its way from before the client was told that the pointer is not relative.
                let (x, y) = scale(x, width).zip(scale(y, height)).unzip();
                self.events.push(InputEvent::Pointer { x, y, dz, buttons });
            }
            Motion::Relative | Motion::Difference if changed || (dx, dy) != (0, 0) => {
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

    /// The client is gone: nothing is held any more.
    pub fn release_all(&mut self) {
        for code in std::mem::take(&mut self.held) {
            self.events.push(InputEvent::Key { code, down: false });
        }
        self.release_buttons();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(input: &mut Input) -> Vec<(u16, bool)> {
        let keys = std::mem::take(&mut input.events).into_iter();
        keys.map(|event| match event {
            InputEvent::Key { code, down } => (code, down),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn shift_is_as_the_character_needs_it() {
        let mut input = Input::default();
        input.keysym('a'.into(), true);
        input.keysym('a'.into(), false);
        assert_eq!(keys(&mut input), [(0x1e, true), (0x1e, false)]);
        // A client's keyboard with ? on a key of its own.
        input.keysym('?'.into(), true);
        input.keysym('?'.into(), false);
        assert_eq!(keys(&mut input), [(0x2a, true), (0x35, true), (0x2a, false), (0x35, false)]);
        // One with / on shift and 7.
        input.keysym(0xffe2, true);
        input.keysym('/'.into(), true);
        assert_eq!(keys(&mut input), [(0x36, true), (0x36, false), (0x35, true), (0x36, true)]);
        input.release_all();
        assert_eq!(keys(&mut input), [(0x36, false), (0x35, false)]);
        // One with @ on AltGr and q.
        input.keysym(0xfe03, true);
        input.keysym('@'.into(), true);
        assert_eq!(
            keys(&mut input),
            [(0x138, true), (0x138, false), (0x2a, true), (0x03, true), (0x2a, false), (0x138, true)]
        );
    }

    #[test]
    fn keys_by_position() {
        let mut input = Input::default();
        for number in [0x1e, 0xd3, 0xc6, 0, 0x1_0000] {
            input.position_key(number, true);
        }
        assert_eq!(keys(&mut input), [(0x1e, true), (0x153, true), (0x1e1, true)]);
        for number in 0..1000 {
            input.position_key(number, true);
        }
        assert!(input.held.len() <= HELD_MAX);
    }

    #[test]
    fn the_pointer_moves_by_the_difference() {
        let mut input = Input::default();
        input.pointer(0, 100, 100, Motion::Difference);
        input.pointer(0, 110, 95, Motion::Difference);
        input.pointer(1, 110, 95, Motion::Difference);
        input.pointer(0b111, 110, 95, Motion::Difference);
        input.pointer(0b10_0000, 110, 95, Motion::Difference);
        input.pointer(0x10, 110, 95, Motion::Difference);
        input.pointer(0, 0x7fff - 3, 0x7fff + 2, Motion::Relative);
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
    fn the_pointer_is_where_the_clients_is() {
        let mut input = Input::default();
        let screen = Motion::Absolute((1024, 768));
        input.pointer(0, 0, 0, screen);
        input.pointer(0, 0, 0, screen);
        input.pointer(4, 1023, 767, screen);
        input.pointer(8, 512, 384, screen);
        input.pointer(1, 0x7fff - 3, 0x7fff, screen);
        // The guest's driver goes away; then the client does.
        input.pointer(1, 10, 10, Motion::Difference);
        input.pointer(1, 10, 10, screen);
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
