//! The mouse: a PS/2 mouse (IBM Personal System/2 Mouse Technical Reference) that becomes Microsoft's IntelliMouse
//! (wheel) or IntelliMouse Explorer (wheel and five buttons) when its sampling rate is set to 200, 100, 80 or to 200,
//! 200, 80.
//!
//! Counts come scaled from the host: the resolution is only remembered.

use crate::time::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const ERROR: u8 = 0xfc;
const BAT_PASSED: u8 = 0xaa;
const SET_RESOLUTION: u8 = 0xe8;
const SET_RATE: u8 = 0xf3;

/// Movements between button changes that wait for a report.
const MOTIONS: usize = 16;
/// What a report's nine bits hold, with room for the sign.
const REPORT_MAX: i32 = 255;
/// What a real mouse would have lost long before; more is lost here too, and the report says so.
const COUNTER_MAX: i32 = 8 * REPORT_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Mode {
    Stream,
    Remote,
}

/// Movement while the buttons stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Motion {
    dx: i32,
    dy: i32,
    dz: i32,
    buttons: u8,
    /// Counts in (x, y) were lost.
    overflow: (bool, bool),
}

impl Motion {
    fn is_still(&self) -> bool {
        (self.dx, self.dy, self.dz) == (0, 0, 0)
    }

    fn add(&mut self, dx: i32, dy: i32, dz: i32) {
        let clamp = |sum: i32| sum.clamp(-COUNTER_MAX, COUNTER_MAX);
        let (x, y) = (self.dx.saturating_add(dx), self.dy.saturating_add(dy));
        self.overflow.0 |= clamp(x) != x;
        self.overflow.1 |= clamp(y) != y;
        (self.dx, self.dy, self.dz) = (clamp(x), clamp(y), clamp(self.dz.saturating_add(dz)));
    }
}

/// A mouse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mouse {
    mode: Mode,
    /// Wrap (echo) mode, over either mode.
    wrap: bool,
    /// Reports are sent in stream mode.
    enabled: bool,
    /// Samples per second.
    rate: u8,
    /// 0 to 3: 1, 2, 4, 8 counts per millimetre.
    resolution: u8,
    /// Scaling 2:1.
    doubling: bool,
    /// What the mouse identifies as: 0 standard, 3 IntelliMouse, 4 Explorer.
    id: u8,
    /// The last three rates set.
    knock: [u8; 3],
    /// A command that waits for its argument, and whether it was given a bad one already.
    waiting: Option<(u8, bool)>,
    /// Bytes of one answer or report.
    out: VecDeque<u8>,
    last: u8,
    motions: VecDeque<Motion>,
    /// Buttons as last reported.
    reported: u8,
    /// No report before this time.
    sample_at: VmTime,
}

impl Default for Mouse {
    fn default() -> Self {
        Self::new()
    }
}

impl Mouse {
    /// As after power-on.
    pub fn new() -> Self {
        Self {
            mode: Mode::Stream,
            wrap: false,
            enabled: false,
            rate: 100,
            resolution: 2,
            doubling: false,
            id: 0,
            knock: [0; 3],
            waiting: None,
            out: VecDeque::new(),
            last: 0,
            motions: VecDeque::new(),
            reported: 0,
            sample_at: VmTime::ZERO,
        }
    }

    /// Whether it sends reports by itself.
    pub fn streaming(&self) -> bool {
        self.enabled && self.mode == Mode::Stream && !self.wrap
    }

    /// Whether it has something to send.
    pub fn has_byte(&self) -> bool {
        !self.out.is_empty()
    }

    /// Sends a byte.
    pub fn take_byte(&mut self) -> Option<u8> {
        let byte = self.out.pop_front()?;
        if byte != RESEND {
            self.last = byte;
        }
        Some(byte)
    }

    /// When a report is due that waits only for time.
    pub fn samples_at(&self) -> Option<VmTime> {
        (self.streaming() && self.out.is_empty() && self.waiting.is_none() && self.has_news()).then_some(self.sample_at)
    }

    fn has_news(&self) -> bool {
        self.motions.iter().any(|m| !m.is_still() || m.buttons != self.reported)
    }

    /// Makes a report in stream mode if there is something to report and the sampling rate lets it.
    pub fn prepare(&mut self, now: VmTime) {
        if self.samples_at().is_some_and(|at| at <= now) {
            self.report(true);
            self.sample_at = now.plus_nanos(1_000_000_000 / u64::from(self.rate.max(1)));
        }
    }

    /// The person moved it.
    pub fn moved(&mut self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        if !self.enabled && self.mode == Mode::Stream {
            // Not counted, but the buttons are where they are when reporting starts.
            self.motions.clear();
            self.motions.push_back(Motion { buttons: buttons & 0x1f, ..Motion::default() });
            return;
        }
        let buttons = buttons & 0x1f;
        let full = self.motions.len() >= MOTIONS;
        match self.motions.back_mut() {
            Some(last) if last.buttons == buttons || full => {
                last.add(dx, dy, dz);
                last.buttons = buttons;
            }
            _ => {
                let mut motion = Motion { buttons, ..Motion::default() };
                motion.add(dx, dy, dz);
                self.motions.push_back(motion);
            }
        }
    }

    /// Queues a report of the oldest movement.
    fn report(&mut self, stream: bool) {
        let mut motion = self.motions.pop_front().unwrap_or(Motion { buttons: self.reported, ..Motion::default() });
        // A movement that changes nothing (its button change was undone) yields to the next.
        while motion.is_still() && motion.buttons == self.reported {
            let Some(next) = self.motions.pop_front() else { break };
            motion = next;
        }
        let x = motion.dx.clamp(-REPORT_MAX, REPORT_MAX);
        let y = motion.dy.clamp(-REPORT_MAX, REPORT_MAX);
        let z = match self.id {
            3 => motion.dz.clamp(-127, 127),
            4 => motion.dz.clamp(-8, 7),
            // A mouse without a wheel has nobody to tell.
            _ => motion.dz,
        };
        let overflow = std::mem::take(&mut motion.overflow);
        self.reported = motion.buttons;
        motion.dx -= x;
        motion.dy -= y;
        motion.dz -= z;
        if !motion.is_still() {
            self.motions.push_front(motion);
        }
        let scaled = |n: i32| if stream && self.doubling { doubled(n).clamp(-REPORT_MAX, REPORT_MAX) } else { n };
        let (x, y) = (scaled(x), scaled(y));
        self.out.push_back(
            motion.buttons & 7
                | 1 << 3
                | u8::from(x < 0) << 4
                | u8::from(y < 0) << 5
                | u8::from(overflow.0) << 6
                | u8::from(overflow.1) << 7,
        );
        self.out.push_back(x as u8);
        self.out.push_back(y as u8);
        match self.id {
            3 => self.out.push_back(z as u8),
            4 => self.out.push_back(z as u8 & 0xf | (motion.buttons & 0x18) << 1),
            _ => {}
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
    }

    fn defaults(&mut self) {
        self.mode = Mode::Stream;
        self.wrap = false;
        self.enabled = false;
        self.rate = 100;
        self.resolution = 2;
        self.doubling = false;
        self.forget_movement();
    }

    /// Movement counters are cleared by most commands; buttons are not movement.
    fn forget_movement(&mut self) {
        let buttons = self.motions.back().map(|m| m.buttons);
        self.motions.clear();
        if let Some(buttons) = buttons.filter(|&b| b != self.reported) {
            self.motions.push_back(Motion { buttons, ..Motion::default() });
        }
    }

    /// Takes a byte from the controller.
    pub fn command(&mut self, now: VmTime, value: u8) {
        if value == 0xfe {
            let last = self.last;
            self.out.clear();
            return self.answer(&[last]);
        }
        // Whatever was being sent is given up.
        self.out.clear();
        if self.wrap && value != 0xff && value != 0xec {
            return self.answer(&[value]);
        }
        if let Some((command, failed)) = self.waiting.take() {
            if self.argument(command, value) {
                return self.answer(&[ACK]);
            }
            if value < 0xe6 {
                if failed {
                    return self.answer(&[ERROR]);
                }
                self.waiting = Some((command, true));
                return self.answer(&[RESEND]);
            }
        }
        match value {
            0xe6 | 0xe7 => {
                self.doubling = value == 0xe7;
                self.answer(&[ACK]);
            }
            SET_RESOLUTION | SET_RATE => {
                self.waiting = Some((value, false));
                self.answer(&[ACK]);
            }
            0xe9 => {
                let buttons = self.motions.back().map_or(self.reported, |m| m.buttons);
                let status = u8::from(self.mode == Mode::Remote) << 6
                    | u8::from(self.enabled) << 5
                    | u8::from(self.doubling) << 4
                    | (buttons & 1) << 2
                    | (buttons >> 2 & 1) << 1
                    | (buttons >> 1 & 1);
                let answer = [ACK, status, self.resolution, self.rate];
                self.answer(&answer);
            }
            0xea | 0xf0 => {
                self.mode = if value == 0xf0 { Mode::Remote } else { Mode::Stream };
                self.forget_movement();
                self.answer(&[ACK]);
            }
            0xeb => {
                self.answer(&[ACK]);
                self.report(false);
            }
            0xec | 0xee => {
                self.wrap = value == 0xee;
                self.forget_movement();
                self.answer(&[ACK]);
            }
            0xf2 => {
                let id = self.id;
                self.answer(&[ACK, id]);
            }
            0xf4 | 0xf5 => {
                self.enabled = value == 0xf4;
                self.forget_movement();
                self.sample_at = now;
                self.answer(&[ACK]);
            }
            0xf6 => {
                self.defaults();
                self.answer(&[ACK]);
            }
            0xff => {
                self.defaults();
                self.id = 0;
                self.knock = [0; 3];
                self.answer(&[ACK, BAT_PASSED, 0]);
            }
            _ => self.answer(&[RESEND]),
        }
    }

    /// Takes a command's argument. False if it is none.
    fn argument(&mut self, command: u8, value: u8) -> bool {
        match (command, value) {
            (SET_RESOLUTION, 0..=3) => self.resolution = value,
            (SET_RATE, 10 | 20 | 40 | 60 | 80 | 100 | 200) => {
                self.rate = value;
                self.knock = [self.knock[1], self.knock[2], value];
                match self.knock {
                    [200, 100, 80] => self.id = 3,
                    [200, 200, 80] => self.id = 4,
                    _ => {}
                }
            }
            _ => return false,
        }
        true
    }

    /// Whether a saved state is one that a mouse can have.
    pub fn is_possible(&self) -> bool {
        let Self {
            mode: _,
            wrap: _,
            enabled: _,
            rate,
            resolution,
            doubling: _,
            id,
            knock: _,
            waiting,
            out,
            last: _,
            motions,
            reported,
            sample_at: _,
        } = self;
        let counts = -COUNTER_MAX..=COUNTER_MAX;
        matches!(rate, 10 | 20 | 40 | 60 | 80 | 100 | 200)
            && *resolution <= 3
            && matches!(id, 0 | 3 | 4)
            && waiting.is_none_or(|(command, _)| matches!(command, SET_RESOLUTION | SET_RATE))
            && out.len() <= 5
            && motions.len() <= MOTIONS
            && *reported <= 0x1f
            && motions.iter().all(|m| {
                counts.contains(&m.dx) && counts.contains(&m.dy) && counts.contains(&m.dz) && m.buttons <= 0x1f
            })
    }
}

/// Scaling 2:1 (technical reference, "Set Scaling 2:1").
fn doubled(n: i32) -> i32 {
    let size = match n.abs() {
        0 => 0,
        1 | 2 => 1,
        3 => 3,
        4 => 6,
        5 => 9,
        n => 2 * n,
    };
    size * n.signum()
}
