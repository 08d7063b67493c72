//! The tablet: a pointer that says where it is, not how far it moved.
//!
//! Its report is 6 bytes: buttons, X, Y, wheel. There is no boot protocol for it (HID 1.11, appendix B, has one for
//! relative mice only).

use super::descriptors::Identity;
use super::packet::Packet;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The largest coordinate.
pub(super) const MAX: u16 = 0x7fff;
/// States that wait at most.
const QUEUE: usize = 16;
/// Left, right, middle and two side buttons.
const BUTTONS: u8 = 0x1f;

/// HID 1.11, 6.2.2; HID Usage Tables 1.12, 4 (Generic Desktop) and 12 (Button).
#[rustfmt::skip]
const REPORT: &[u8] = &[
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, // Generic Desktop, Mouse, application collection
    0x09, 0x01, 0xa1, 0x00,             // Pointer, physical collection
    0x05, 0x09, 0x19, 0x01, 0x29, 0x05, // Button 1 to 5
    0x15, 0x00, 0x25, 0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02, // five bits, absolute
    0x95, 0x01, 0x75, 0x03, 0x81, 0x01, // three bits of nothing
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, // Generic Desktop X, Y
    0x15, 0x00, 0x26, 0xff, 0x7f, 0x35, 0x00, 0x46, 0xff, 0x7f, // 0 to 32767
    0x75, 0x10, 0x95, 0x02, 0x81, 0x02, // two words, absolute
    0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00, // wheel, -127 to 127
    0x75, 0x08, 0x95, 0x01, 0x81, 0x06, // a byte, relative
    0xc0, 0xc0,
];

/// How it is known to the host.
pub(super) const IDENTITY: Identity = Identity { product: "USB tablet", boot: (0, 0), interval: 8, report: REPORT };

/// What it has to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Moment {
    x: u16,
    y: u16,
    /// Away from the user.
    wheel: i8,
    buttons: u8,
}

impl Moment {
    fn packet(self) -> Packet {
        let ([x, x_high], [y, y_high]) = (self.x.to_le_bytes(), self.y.to_le_bytes());
        Packet::new(&[self.buttons, x, x_high, y, y_high, self.wheel as u8])
    }

    fn is_possible(self) -> bool {
        self.x <= MAX && self.y <= MAX && self.buttons & !BUTTONS == 0
    }
}

/// The tablet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tablet {
    /// As it was told last.
    told: Moment,
    queue: VecDeque<Moment>,
}

impl Tablet {
    /// The pointer is moved to `x`, `y` (each where it was, if none), the wheel turned by `dz` towards the user.
    pub(super) fn point(&mut self, x: Option<u16>, y: Option<u16>, dz: i32, buttons: u8) {
        let last = self.queue.back().copied().unwrap_or(self.told);
        let before = self.queue.iter().rev().nth(1).copied().unwrap_or(self.told);
        let wheel = dz.clamp(-127, 127) as i8;
        let next = Moment {
            x: x.unwrap_or(last.x).min(MAX),
            y: y.unwrap_or(last.y).min(MAX),
            wheel: wheel.saturating_neg(),
            buttons: buttons & BUTTONS,
        };
        let full = self.queue.len() >= QUEUE;
        match self.queue.back_mut() {
            // Where the pointer was on its way is of no use, but where a button changed is.
            Some(tail) if full || tail.buttons == before.buttons && tail.buttons == next.buttons => {
                let wheel = i32::from(tail.wheel) + i32::from(next.wheel);
                *tail = Moment { wheel: wheel.clamp(-127, 127) as i8, ..next };
            }
            None if next == (Moment { wheel: 0, ..last }) => {}
            _ => self.queue.push_back(next),
        }
    }

    pub(super) fn next(&mut self) -> Option<Packet> {
        let next = self.queue.pop_front()?;
        self.told = Moment { wheel: 0, ..next };
        Some(next.packet())
    }

    pub(super) fn now(&self) -> Packet {
        self.told.packet()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn is_possible(&self) -> bool {
        let Self { told, queue } = self;
        told.is_possible() && told.wheel == 0 && queue.len() <= QUEUE && queue.iter().all(|moment| moment.is_possible())
    }
}
