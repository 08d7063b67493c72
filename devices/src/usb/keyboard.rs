//! USB boot keyboard; its reports are the same in the boot and the report protocol (HID 1.11, appendix B.1).

use super::descriptors::HidIdentity;
use super::packet::DataPacket;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Queue length from which on key presses are dropped. Releases are always queued.
const QUEUE_MAX: usize = 16;
/// Keys in a report besides the modifiers.
const REPORT_KEYS: usize = 6;
/// ErrorRollOver: more keys are held than a report has room for.
const ROLL_OVER: u8 = 1;
/// Usages of the modifier keys.
const MODIFIERS: std::ops::RangeInclusive<u8> = 0xe0..=0xe7;
/// Implemented LEDs: Num Lock, Caps Lock, Scroll Lock, Compose, Kana.
const LED_MASK: u8 = 0x1f;
/// Limit of the queue in a saved state: a press and a release of every key.
const QUEUE_LIMIT: usize = 512;

/// Report descriptor (HID 1.11, 6.2.2 and B.1; HID Usage Tables 1.12, 10, Keyboard, and 11, LED).
#[rustfmt::skip]
const REPORT: &[u8] = &[
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, // Generic Desktop, Keyboard, application collection
    0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, // modifier keys
    0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02, // eight bits
    0x75, 0x08, 0x95, 0x01, 0x81, 0x01, // a byte of padding
    0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x75, 0x01, 0x95, 0x05, 0x91, 0x02, // output: five LEDs
    0x75, 0x03, 0x95, 0x01, 0x91, 0x01, // three bits of padding
    0x05, 0x07, 0x19, 0x00, 0x29, 0xff, // keys
    0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08, 0x95, 0x06, 0x81, 0x00, // an array of six
    0xc0,
];

/// The function's descriptors.
pub(super) const IDENTITY: HidIdentity =
    HidIdentity { product: "USB keyboard", boot_protocol: (1, 1), interval: 10, report: REPORT };

/// HID usages of the scan codes 01h to 58h of set 1; 0 where there is no key (HID Usage Tables 1.12, 10; Microsoft,
/// "USB HID to PS/2 Scan Code Translation Table").
#[rustfmt::skip]
const USAGES: [u8; 0x58] = [
          0x29, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2d, 0x2e, 0x2a, 0x2b,
    0x14, 0x1a, 0x08, 0x15, 0x17, 0x1c, 0x18, 0x0c, 0x12, 0x13, 0x2f, 0x30, 0x28, 0xe0, 0x04, 0x16,
    0x07, 0x09, 0x0a, 0x0b, 0x0d, 0x0e, 0x0f, 0x33, 0x34, 0x35, 0xe1, 0x31, 0x1d, 0x1b, 0x06, 0x19,
    0x05, 0x11, 0x10, 0x36, 0x37, 0x38, 0xe5, 0x55, 0xe2, 0x2c, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e,
    0x3f, 0x40, 0x41, 0x42, 0x43, 0x53, 0x47, 0x5f, 0x60, 0x61, 0x56, 0x5c, 0x5d, 0x5e, 0x57, 0x59,
    0x5a, 0x5b, 0x62, 0x63, 0x46, 0x00, 0x64, 0x44, 0x45,
];

/// HID usages of the other scan codes; codes with an E0h prefix have 100h added.
#[rustfmt::skip]
const EXTENDED_USAGES: &[(u16, u8)] = &[
    (0x59, 0x67), (0x70, 0x88), (0x73, 0x87), (0x79, 0x8a), (0x7b, 0x8b), (0x7d, 0x89), (0x7e, 0x85),
    (0x11c, 0x58), (0x11d, 0xe4), (0x120, 0x7f), (0x12e, 0x81), (0x130, 0x80), (0x135, 0x54), (0x137, 0x46),
    (0x138, 0xe6), (0x146, 0x48), (0x147, 0x4a), (0x148, 0x52), (0x149, 0x4b), (0x14b, 0x50), (0x14d, 0x4f),
    (0x14f, 0x4d), (0x150, 0x51), (0x151, 0x4e), (0x152, 0x49), (0x153, 0x4c), (0x15b, 0xe3), (0x15c, 0xe7),
    (0x15d, 0x65), (0x15e, 0x66), (0x1e1, 0x48),
];

/// The HID usage of a scan code in the form of [`crate::InputEvent::Key`], if the keyboard has the key.
pub(super) fn usage(code: u16) -> Option<u8> {
    let plain = code.checked_sub(1).and_then(|n| USAGES.get(usize::from(n)));
    let other = || EXTENDED_USAGES.iter().find(|(known, _)| *known == code).map(|(_, usage)| usage);
    plain.or_else(other).copied().filter(|&usage| usage != 0)
}

/// The keyboard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keyboard {
    /// Keys held according to the reports sent so far, oldest first.
    held: Vec<u8>,
    /// Events not reported yet: usage, and whether the key went down. Each makes one report.
    queue: VecDeque<(u8, bool)>,
    /// LEDs as the host set them: bit 0 Num Lock, 1 Caps Lock, 2 Scroll Lock.
    leds: u8,
}

impl Keyboard {
    /// Queues a press or release. A repeated press is ignored: the guest generates the typematic repeat itself.
    pub(super) fn key_event(&mut self, usage: u8, down: bool) {
        if self.holds(usage) != down && (!down || self.queue.len() < QUEUE_MAX) {
            self.queue.push_back((usage, down));
        }
    }

    /// Whether the key is held once all queued events are reported.
    pub(super) fn holds(&self, usage: u8) -> bool {
        let queued = self.queue.iter().rev().find(|(key, _)| *key == usage).map(|(_, down)| *down);
        queued.unwrap_or_else(|| self.held.contains(&usage))
    }

    pub(super) fn next_report(&mut self) -> Option<DataPacket> {
        let (usage, down) = self.queue.pop_front()?;
        self.held.retain(|&held| held != usage);
        if down {
            self.held.push(usage);
        }
        Some(self.current_report())
    }

    pub(super) fn current_report(&self) -> DataPacket {
        let mut report = [0; 2 + REPORT_KEYS];
        let (modifiers, keys): (Vec<u8>, Vec<u8>) = self.held.iter().partition(|usage| MODIFIERS.contains(usage));
        report[0] = modifiers.iter().fold(0, |bits, usage| bits | 1 << (usage & 7));
        if keys.len() > REPORT_KEYS {
            report[2..].fill(ROLL_OVER);
        } else {
            report[2..2 + keys.len()].copy_from_slice(&keys);
        }
        DataPacket::new(&report)
    }

    pub(super) fn queued_events(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn leds(&self) -> u8 {
        self.leds
    }

    pub(super) fn set_leds(&mut self, leds: u8) {
        self.leds = leds & LED_MASK;
    }

    pub(super) fn is_valid(&self) -> bool {
        let Self { held, queue, leds } = self;
        held.len() <= 256 && queue.len() <= QUEUE_LIMIT && leds & !LED_MASK == 0
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
