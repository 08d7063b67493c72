//! USB tablet: a HID pointer with absolute coordinates.
//!
//! Its report is 6 bytes: buttons, X, Y, wheel. It has no boot protocol (HID 1.11, appendix B, defines one for relative
//! mice only).

use super::descriptors::HidIdentity;
use super::packet::DataPacket;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The largest coordinate.
pub(super) const COORDINATE_MAX: u16 = 0x7fff;
/// Reports that the queue holds at most.
const QUEUE_MAX: usize = 16;
/// Left, right, middle and two side buttons.
const BUTTONS: u8 = 0x1f;

/// Report descriptor (HID 1.11, 6.2.2; HID Usage Tables 1.12, 4, Generic Desktop, and 12, Button).
#[rustfmt::skip]
const REPORT: &[u8] = &[
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, // Generic Desktop, Mouse, application collection
    0x09, 0x01, 0xa1, 0x00,             // Pointer, physical collection
    0x05, 0x09, 0x19, 0x01, 0x29, 0x05, // Button 1 to 5
    0x15, 0x00, 0x25, 0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02, // five bits, absolute
    0x95, 0x01, 0x75, 0x03, 0x81, 0x01, // three bits of padding
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, // Generic Desktop X, Y
    0x15, 0x00, 0x26, 0xff, 0x7f, 0x35, 0x00, 0x46, 0xff, 0x7f, // 0 to 32767
    0x75, 0x10, 0x95, 0x02, 0x81, 0x02, // two words, absolute
    0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00, // wheel, -127 to 127
    0x75, 0x08, 0x95, 0x01, 0x81, 0x06, // a byte, relative
    0xc0, 0xc0,
];

/// The function's descriptors.
pub(super) const IDENTITY: HidIdentity =
    HidIdentity { product: "USB tablet", boot_protocol: (0, 0), interval: 8, report: REPORT };

/// The contents of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PointerState {
    x: u16,
    y: u16,
    /// Positive away from the user.
    wheel: i8,
    buttons: u8,
}

impl PointerState {
    fn packet(self) -> DataPacket {
        let ([x, x_high], [y, y_high]) = (self.x.to_le_bytes(), self.y.to_le_bytes());
        DataPacket::new(&[self.buttons, x, x_high, y, y_high, self.wheel as u8])
    }

    fn is_valid(self) -> bool {
        self.x <= COORDINATE_MAX && self.y <= COORDINATE_MAX && self.buttons & !BUTTONS == 0
    }
}

/// The tablet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tablet {
    /// The state in the last report.
    reported: PointerState,
    queue: VecDeque<PointerState>,
}

impl Tablet {
    /// Queues a report. `x` and `y` stay as they were if `None`; `dz` is positive towards the user.
    pub(super) fn move_to(&mut self, x: Option<u16>, y: Option<u16>, dz: i32, buttons: u8) {
        let last = self.queue.back().copied().unwrap_or(self.reported);
        let before = self.queue.iter().rev().nth(1).copied().unwrap_or(self.reported);
        let wheel = dz.clamp(-127, 127) as i8;
        let next = PointerState {
            x: x.unwrap_or(last.x).min(COORDINATE_MAX),
            y: y.unwrap_or(last.y).min(COORDINATE_MAX),
            wheel: wheel.saturating_neg(),
            buttons: buttons & BUTTONS,
        };
        let full = self.queue.len() >= QUEUE_MAX;
        match self.queue.back_mut() {
            // Successive movements are merged; a report in which a button changed is kept.
            Some(tail) if full || tail.buttons == before.buttons && tail.buttons == next.buttons => {
                let wheel = i32::from(tail.wheel) + i32::from(next.wheel);
                *tail = PointerState { wheel: wheel.clamp(-127, 127) as i8, ..next };
            }
            None if next == (PointerState { wheel: 0, ..last }) => {}
            _ => self.queue.push_back(next),
        }
    }

    pub(super) fn next_report(&mut self) -> Option<DataPacket> {
        let next = self.queue.pop_front()?;
        self.reported = PointerState { wheel: 0, ..next };
        Some(next.packet())
    }

    pub(super) fn current_report(&self) -> DataPacket {
        self.reported.packet()
    }

    pub(super) fn has_report(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn is_valid(&self) -> bool {
        let Self { reported, queue } = self;
        reported.is_valid()
            && reported.wheel == 0
            && queue.len() <= QUEUE_MAX
            && queue.iter().all(|state| state.is_valid())
    }
}
