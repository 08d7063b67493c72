//! The keyboard: a boot keyboard, whose reports are the same in both protocols (HID 1.11, appendix B.1).

use super::descriptors::Identity;
use super::packet::Packet;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Key presses that wait at most; releases find room.
const QUEUE: usize = 16;
/// Keys of a report besides the modifiers.
const KEYS: usize = 6;
/// ErrorRollOver: more keys are held than a report has room for.
const ROLL_OVER: u8 = 1;
/// The modifiers' usages.
const MODIFIERS: std::ops::RangeInclusive<u8> = 0xe0..=0xe7;
/// LEDs that there are: Num Lock, Caps Lock, Scroll Lock, Compose, Kana.
const LEDS: u8 = 0x1f;
/// As many events as all keys' presses and releases: more than can ever wait.
const EVENTS_MAX: usize = 512;

/// HID 1.11, 6.2.2 and B.1; HID Usage Tables 1.12, 10 (Keyboard) and 11 (LED).
#[rustfmt::skip]
const REPORT: &[u8] = &[
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, // Generic Desktop, Keyboard, application collection
    0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, // the modifiers
    0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02, // eight bits
    0x75, 0x08, 0x95, 0x01, 0x81, 0x01, // a byte of nothing
    0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x75, 0x01, 0x95, 0x05, 0x91, 0x02, // out: five LEDs
    0x75, 0x03, 0x95, 0x01, 0x91, 0x01, // three bits of nothing
    0x05, 0x07, 0x19, 0x00, 0x29, 0xff, // keys
    0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08, 0x95, 0x06, 0x81, 0x00, // an array of six
    0xc0,
];

/// How it is known to the host.
pub(super) const IDENTITY: Identity = Identity { product: "USB keyboard", boot: (1, 1), interval: 10, report: REPORT };

/// Usages of scan codes 01h to 58h (set 1), 0 for no key (HID Usage Tables 1.12, 10; Microsoft's "USB HID to PS/2 Scan
/// Code Translation Table").
#[rustfmt::skip]
const PLAIN: [u8; 0x58] = [
          0x29, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2d, 0x2e, 0x2a, 0x2b,
    0x14, 0x1a, 0x08, 0x15, 0x17, 0x1c, 0x18, 0x0c, 0x12, 0x13, 0x2f, 0x30, 0x28, 0xe0, 0x04, 0x16,
    0x07, 0x09, 0x0a, 0x0b, 0x0d, 0x0e, 0x0f, 0x33, 0x34, 0x35, 0xe1, 0x31, 0x1d, 0x1b, 0x06, 0x19,
    0x05, 0x11, 0x10, 0x36, 0x37, 0x38, 0xe5, 0x55, 0xe2, 0x2c, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e,
    0x3f, 0x40, 0x41, 0x42, 0x43, 0x53, 0x47, 0x5f, 0x60, 0x61, 0x56, 0x5c, 0x5d, 0x5e, 0x57, 0x59,
    0x5a, 0x5b, 0x62, 0x63, 0x46, 0x00, 0x64, 0x44, 0x45,
];

/// The others, and those after E0h (100h added).
#[rustfmt::skip]
const OTHERS: &[(u16, u8)] = &[
    (0x59, 0x67), (0x70, 0x88), (0x73, 0x87), (0x79, 0x8a), (0x7b, 0x8b), (0x7d, 0x89), (0x7e, 0x85),
    (0x11c, 0x58), (0x11d, 0xe4), (0x120, 0x7f), (0x12e, 0x81), (0x130, 0x80), (0x135, 0x54), (0x137, 0x46),
    (0x138, 0xe6), (0x146, 0x48), (0x147, 0x4a), (0x148, 0x52), (0x149, 0x4b), (0x14b, 0x50), (0x14d, 0x4f),
    (0x14f, 0x4d), (0x150, 0x51), (0x151, 0x4e), (0x152, 0x49), (0x153, 0x4c), (0x15b, 0xe3), (0x15c, 0xe7),
    (0x15d, 0x65), (0x15e, 0x66), (0x1e1, 0x48),
];

/// The usage of a key as [`crate::InputEvent::Key`] names it, if this keyboard has it.
pub(super) fn usage(code: u16) -> Option<u8> {
    let plain = code.checked_sub(1).and_then(|n| PLAIN.get(usize::from(n)));
    let other = || OTHERS.iter().find(|(known, _)| *known == code).map(|(_, usage)| usage);
    plain.or_else(other).copied().filter(|&usage| usage != 0)
}

/// The keyboard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keyboard {
    /// Held, as the host was told, in order.
    held: Vec<u8>,
    /// What it is to be told, one at a time: usage, and whether it went down.
    queue: VecDeque<(u8, bool)>,
    /// As the host set them: bit 0 Num Lock, 1 Caps Lock, 2 Scroll Lock.
    leds: u8,
}

impl Keyboard {
    /// A key went down or up. One that is held is not pressed again: the system that reads the keyboard repeats it.
    pub(super) fn key(&mut self, usage: u8, down: bool) {
        if self.holds(usage) != down && (!down || self.queue.len() < QUEUE) {
            self.queue.push_back((usage, down));
        }
    }

    /// Whether a key is down.
    pub(super) fn holds(&self, usage: u8) -> bool {
        let queued = self.queue.iter().rev().find(|(key, _)| *key == usage).map(|(_, down)| *down);
        queued.unwrap_or_else(|| self.held.contains(&usage))
    }

    pub(super) fn next(&mut self) -> Option<Packet> {
        let (usage, down) = self.queue.pop_front()?;
        self.held.retain(|&held| held != usage);
        if down {
            self.held.push(usage);
        }
        Some(self.now())
    }

    pub(super) fn now(&self) -> Packet {
        let mut report = [0; 2 + KEYS];
        let (modifiers, keys): (Vec<u8>, Vec<u8>) = self.held.iter().partition(|usage| MODIFIERS.contains(usage));
        report[0] = modifiers.iter().fold(0, |bits, usage| bits | 1 << (usage & 7));
        if keys.len() > KEYS {
            report[2..].fill(ROLL_OVER);
        } else {
            report[2..2 + keys.len()].copy_from_slice(&keys);
        }
        Packet::new(&report)
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn leds(&self) -> u8 {
        self.leds
    }

    pub(super) fn set_leds(&mut self, leds: u8) {
        self.leds = leds & LEDS;
    }

    pub(super) fn is_possible(&self) -> bool {
        let Self { held, queue, leds } = self;
        held.len() <= 256 && queue.len() <= EVENTS_MAX && leds & !LEDS == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_usages() {
        for (code, expect) in [
            (0x01, Some(0x29)),
            (0x1e, Some(0x04)),
            (0x2c, Some(0x1d)),
            (0x39, Some(0x2c)),
            (0x58, Some(0x45)),
            (0x56, Some(0x64)),
            (0x45, Some(0x53)),
            (0x53, Some(0x63)),
            (0x2b, Some(0x31)),
            (0x1d, Some(0xe0)),
            (0x36, Some(0xe5)),
            (0x11d, Some(0xe4)),
            (0x153, Some(0x4c)),
            (0x1e1, Some(0x48)),
            (0x55, None),
            (0, None),
            (0x121, None),
            (0xffff, None),
        ] {
            assert_eq!(usage(code), expect, "{code:x}");
        }
    }
}
