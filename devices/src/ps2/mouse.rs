//! PS/2 mouse (IBM Personal System/2 Mouse Technical Reference) with the IntelliMouse extensions.
//!
//! The sampling rates 200, 100, 80 in sequence switch it to Microsoft's IntelliMouse (wheel), the rates 200, 200, 80 to
//! IntelliMouse Explorer (wheel and five buttons). The host's counts are reported without scaling by the resolution,
//! which only reads back.

use crate::time::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

// Responses.
const ACK: u8 = 0xfa;
/// Also the command that repeats the last byte.
const RESEND: u8 = 0xfe;
const ERROR: u8 = 0xfc;
/// Basic assurance test passed.
const BAT_PASSED: u8 = 0xaa;

// Commands.
const RESET_SCALING: u8 = 0xe6;
const SET_SCALING: u8 = 0xe7;
const SET_RESOLUTION: u8 = 0xe8;
const STATUS_REQUEST: u8 = 0xe9;
const SET_STREAM_MODE: u8 = 0xea;
const READ_DATA: u8 = 0xeb;
const RESET_WRAP_MODE: u8 = 0xec;
const SET_WRAP_MODE: u8 = 0xee;
const SET_REMOTE_MODE: u8 = 0xf0;
const READ_DEVICE_TYPE: u8 = 0xf2;
const SET_SAMPLING_RATE: u8 = 0xf3;
const ENABLE: u8 = 0xf4;
const DISABLE: u8 = 0xf5;
const SET_DEFAULT: u8 = 0xf6;
const RESET: u8 = 0xff;

// Device types.
const INTELLIMOUSE: u8 = 3;
const INTELLIMOUSE_EXPLORER: u8 = 4;

/// The most unreported movements. Each button change starts a new one.
const MAX_MOVEMENTS: usize = 16;
/// The most counts per report: 9 bits in two's complement.
const REPORT_MAX: i32 = 255;
/// The most unreported counts per movement and axis. Further counts are lost and set the overflow bit of the report.
const COUNTER_MAX: i32 = 8 * REPORT_MAX;

/// When the mouse sends reports: at the sampling rate, or on READ_DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ReportMode {
    Stream,
    Remote,
}

/// Accumulated movement without a button change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Movement {
    dx: i32,
    dy: i32,
    dz: i32,
    buttons: u8,
    /// Overflow bits of (x, y): counts were lost.
    overflow: (bool, bool),
}

impl Movement {
    fn is_zero(&self) -> bool {
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

/// The mouse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mouse {
    mode: ReportMode,
    /// Wrap mode: echoes every byte but RESET and RESET_WRAP_MODE.
    wrap: bool,
    /// Stream mode reports are enabled.
    enabled: bool,
    /// Samples per second.
    rate: u8,
    /// 0 to 3: 1, 2, 4, 8 counts per millimetre.
    resolution: u8,
    /// Scaling 2:1.
    scaling_2_1: bool,
    /// Device type: 0 standard, [`INTELLIMOUSE`] or [`INTELLIMOUSE_EXPLORER`].
    id: u8,
    /// The last three sampling rates set.
    recent_rates: [u8; 3],
    /// The command whose argument is expected next, and whether an invalid argument was already sent.
    pending_command: Option<(u8, bool)>,
    /// Unsent bytes of one response or report.
    output: VecDeque<u8>,
    /// The last byte sent, for RESEND.
    last: u8,
    /// Unreported movements, oldest first.
    movements: VecDeque<Movement>,
    /// Buttons in the last report.
    reported: u8,
    /// The earliest time of the next report.
    sample_at: VmTime,
}

impl Default for Mouse {
    fn default() -> Self {
        Self::new()
    }
}

impl Mouse {
    /// A mouse at power-on.
    pub fn new() -> Self {
        Self {
            mode: ReportMode::Stream,
            wrap: false,
            enabled: false,
            rate: 100,
            resolution: 2,
            scaling_2_1: false,
            id: 0,
            recent_rates: [0; 3],
            pending_command: None,
            output: VecDeque::new(),
            last: 0,
            movements: VecDeque::new(),
            reported: 0,
            sample_at: VmTime::ZERO,
        }
    }

    /// Whether stream mode is active and reports are enabled.
    pub fn streaming(&self) -> bool {
        self.enabled && self.mode == ReportMode::Stream && !self.wrap
    }

    /// Whether the mouse has a byte to send.
    pub fn has_byte(&self) -> bool {
        !self.output.is_empty()
    }

    /// Takes the next byte to send.
    pub fn take_byte(&mut self) -> Option<u8> {
        let byte = self.output.pop_front()?;
        if byte != RESEND {
            self.last = byte;
        }
        Some(byte)
    }

    /// When the next report is due; `None` if there is no change to report or the output is not empty.
    pub fn samples_at(&self) -> Option<VmTime> {
        (self.streaming() && self.output.is_empty() && self.pending_command.is_none() && self.has_unreported_change())
            .then_some(self.sample_at)
    }

    fn has_unreported_change(&self) -> bool {
        self.movements.iter().any(|m| !m.is_zero() || m.buttons != self.reported)
    }

    /// Queues a stream mode report if a change is unreported and the sampling period has passed.
    pub fn prepare_report(&mut self, now: VmTime) {
        if self.samples_at().is_some_and(|at| at <= now) {
            self.report(true);
            self.sample_at = now.plus_nanos(1_000_000_000 / u64::from(self.rate.max(1)));
        }
    }

    /// Adds relative movement, wheel steps and button states from the host.
    pub fn add_movement(&mut self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        if !self.enabled && self.mode == ReportMode::Stream {
            // While disabled, counts are dropped; the button states are kept for the first report.
            self.movements.clear();
            self.movements.push_back(Movement { buttons: buttons & 0x1f, ..Movement::default() });
            return;
        }
        let buttons = buttons & 0x1f;
        let full = self.movements.len() >= MAX_MOVEMENTS;
        match self.movements.back_mut() {
            Some(last) if last.buttons == buttons || full => {
                last.add(dx, dy, dz);
                last.buttons = buttons;
            }
            _ => {
                let mut movement = Movement { buttons, ..Movement::default() };
                movement.add(dx, dy, dz);
                self.movements.push_back(movement);
            }
        }
    }

    /// Queues a report of the oldest movement.
    fn report(&mut self, stream: bool) {
        let mut movement =
            self.movements.pop_front().unwrap_or(Movement { buttons: self.reported, ..Movement::default() });
        // Skips movements without a change, such as a button change that was undone.
        while movement.is_zero() && movement.buttons == self.reported {
            let Some(next) = self.movements.pop_front() else { break };
            movement = next;
        }
        let x = movement.dx.clamp(-REPORT_MAX, REPORT_MAX);
        let y = movement.dy.clamp(-REPORT_MAX, REPORT_MAX);
        let z = match self.id {
            INTELLIMOUSE => movement.dz.clamp(-127, 127),
            INTELLIMOUSE_EXPLORER => movement.dz.clamp(-8, 7),
            // A standard mouse has no wheel: the steps are dropped.
            _ => movement.dz,
        };
        let overflow = std::mem::take(&mut movement.overflow);
        self.reported = movement.buttons;
        movement.dx -= x;
        movement.dy -= y;
        movement.dz -= z;
        if !movement.is_zero() {
            self.movements.push_front(movement);
        }
        let scaled = |n: i32| if stream && self.scaling_2_1 { scaled_2_1(n).clamp(-REPORT_MAX, REPORT_MAX) } else { n };
        let (x, y) = (scaled(x), scaled(y));
        self.output.push_back(
            movement.buttons & 7
                | 1 << 3
                | u8::from(x < 0) << 4
                | u8::from(y < 0) << 5
                | u8::from(overflow.0) << 6
                | u8::from(overflow.1) << 7,
        );
        self.output.push_back(x as u8);
        self.output.push_back(y as u8);
        match self.id {
            INTELLIMOUSE => self.output.push_back(z as u8),
            INTELLIMOUSE_EXPLORER => self.output.push_back(z as u8 & 0xf | (movement.buttons & 0x18) << 1),
            _ => {}
        }
    }

    fn respond(&mut self, bytes: &[u8]) {
        self.output.extend(bytes);
    }

    fn set_defaults(&mut self) {
        self.mode = ReportMode::Stream;
        self.wrap = false;
        self.enabled = false;
        self.rate = 100;
        self.resolution = 2;
        self.scaling_2_1 = false;
        self.clear_movement();
    }

    /// Clears the movement counters, as most commands do, but keeps an unreported button state.
    fn clear_movement(&mut self) {
        let buttons = self.movements.back().map(|m| m.buttons);
        self.movements.clear();
        if let Some(buttons) = buttons.filter(|&b| b != self.reported) {
            self.movements.push_back(Movement { buttons, ..Movement::default() });
        }
    }

    /// Receives a byte from the controller: a command or an argument.
    pub fn command(&mut self, now: VmTime, value: u8) {
        if value == RESEND {
            let last = self.last;
            self.output.clear();
            return self.respond(&[last]);
        }
        // A new command discards unsent bytes.
        self.output.clear();
        if self.wrap && value != RESET && value != RESET_WRAP_MODE {
            return self.respond(&[value]);
        }
        if let Some((command, failed)) = self.pending_command.take() {
            if self.argument(command, value) {
                return self.respond(&[ACK]);
            }
            if value < RESET_SCALING {
                if failed {
                    return self.respond(&[ERROR]);
                }
                self.pending_command = Some((command, true));
                return self.respond(&[RESEND]);
            }
        }
        match value {
            RESET_SCALING | SET_SCALING => {
                self.scaling_2_1 = value == SET_SCALING;
                self.respond(&[ACK]);
            }
            SET_RESOLUTION | SET_SAMPLING_RATE => {
                self.pending_command = Some((value, false));
                self.respond(&[ACK]);
            }
            STATUS_REQUEST => {
                let buttons = self.movements.back().map_or(self.reported, |m| m.buttons);
                let status = u8::from(self.mode == ReportMode::Remote) << 6
                    | u8::from(self.enabled) << 5
                    | u8::from(self.scaling_2_1) << 4
                    | (buttons & 1) << 2
                    | (buttons >> 2 & 1) << 1
                    | (buttons >> 1 & 1);
                let answer = [ACK, status, self.resolution, self.rate];
                self.respond(&answer);
            }
            SET_STREAM_MODE | SET_REMOTE_MODE => {
                self.mode = if value == SET_REMOTE_MODE { ReportMode::Remote } else { ReportMode::Stream };
                self.clear_movement();
                self.respond(&[ACK]);
            }
            READ_DATA => {
                self.respond(&[ACK]);
                self.report(false);
            }
            RESET_WRAP_MODE | SET_WRAP_MODE => {
                self.wrap = value == SET_WRAP_MODE;
                self.clear_movement();
                self.respond(&[ACK]);
            }
            READ_DEVICE_TYPE => {
                let id = self.id;
                self.respond(&[ACK, id]);
            }
            ENABLE | DISABLE => {
                self.enabled = value == ENABLE;
                self.clear_movement();
                self.sample_at = now;
                self.respond(&[ACK]);
            }
            SET_DEFAULT => {
                self.set_defaults();
                self.respond(&[ACK]);
            }
            RESET => {
                self.set_defaults();
                self.id = 0;
                self.recent_rates = [0; 3];
                self.respond(&[ACK, BAT_PASSED, 0]);
            }
            _ => self.respond(&[RESEND]),
        }
    }

    /// Applies a command's argument. Returns false if it is invalid.
    fn argument(&mut self, command: u8, value: u8) -> bool {
        match (command, value) {
            (SET_RESOLUTION, 0..=3) => self.resolution = value,
            (SET_SAMPLING_RATE, 10 | 20 | 40 | 60 | 80 | 100 | 200) => {
                self.rate = value;
                self.recent_rates = [self.recent_rates[1], self.recent_rates[2], value];
                match self.recent_rates {
                    [200, 100, 80] => self.id = INTELLIMOUSE,
                    [200, 200, 80] => self.id = INTELLIMOUSE_EXPLORER,
                    _ => {}
                }
            }
            _ => return false,
        }
        true
    }

    /// Whether a saved state is valid.
    pub fn is_valid(&self) -> bool {
        let Self {
            mode: _,
            wrap: _,
            enabled: _,
            rate,
            resolution,
            scaling_2_1: _,
            id,
            recent_rates: _,
            pending_command,
            output,
            last: _,
            movements,
            reported,
            sample_at: _,
        } = self;
        let counts = -COUNTER_MAX..=COUNTER_MAX;
        matches!(rate, 10 | 20 | 40 | 60 | 80 | 100 | 200)
            && *resolution <= 3
            && matches!(*id, 0 | INTELLIMOUSE | INTELLIMOUSE_EXPLORER)
            && pending_command.is_none_or(|(command, _)| matches!(command, SET_RESOLUTION | SET_SAMPLING_RATE))
            && output.len() <= 5
            && movements.len() <= MAX_MOVEMENTS
            && *reported <= 0x1f
            && movements.iter().all(|m| {
                counts.contains(&m.dx) && counts.contains(&m.dy) && counts.contains(&m.dz) && m.buttons <= 0x1f
            })
    }
}

/// Applies scaling 2:1 to a count (technical reference, "Set Scaling 2:1").
fn scaled_2_1(n: i32) -> i32 {
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
