//! The keyboard: an enhanced 101/102-key keyboard (IBM Personal System/2 Hardware Interface Technical Reference,
//! "Keyboards (101- and 102-Key)") with the Windows keys.
//!
//! Deliberately missing: the fake shifts that a real keyboard wraps around the grey cursor keys while Num Lock or a
//! shift key is on; every driver takes the E0h prefix instead. PrintScreen and Pause have all their forms.

use super::controller::SET1_TO_SET2;
use crate::time::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const ECHO: u8 = 0xee;
const BAT_PASSED: u8 = 0xaa;
const ID: [u8; 2] = [0xab, 0x83];
const BREAK: u8 = 0xf0;
const EXTENDED: u8 = 0xe0;

const SET_LEDS: u8 = 0xed;
const SELECT_SET: u8 = 0xf0;
const SET_TYPEMATIC: u8 = 0xf3;

/// Bytes of scan codes that wait for the controller (technical reference, "Buffer").
const QUEUE: usize = 16;
/// 500 ms, 10.9 per second.
const DEFAULT_TYPEMATIC: u8 = 0x2b;

// Keys by the code of `InputEvent::Key`.
const PAUSE: u16 = 0x1e1;
const PRINT_SCREEN: u16 = 0x137;
const LEFT_SHIFT: u16 = 0x2a;
const RIGHT_SHIFT: u16 = 0x36;
const LEFT_CONTROL: u16 = 0x1d;
const RIGHT_CONTROL: u16 = 0x11d;
const LEFT_ALT: u16 = 0x38;
const RIGHT_ALT: u16 = 0x138;

/// What a key sends in set 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeyMode {
    typematic: bool,
    breaks: bool,
}

/// A keyboard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyboard {
    /// Scan code set 1, 2 or 3.
    set: u8,
    scanning: bool,
    leds: u8,
    /// Bits 0 to 4 rate, 5 and 6 delay.
    typematic: u8,
    /// A command that waits for its argument; FBh to FDh take many.
    waiting: Option<u8>,
    answers: VecDeque<u8>,
    queue: VecDeque<u8>,
    /// The last byte sent, for a resend.
    last: u8,
    /// Keys held, oldest first.
    held: Vec<u16>,
    /// The key that repeats and when.
    repeat: Option<(u16, VmTime)>,
    /// Exceptions from set 3's modes, by set 3 code.
    modes: Vec<(u8, KeyMode)>,
    /// Set 3's mode of all other keys, once it was set.
    mode_of_all: Option<KeyMode>,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self::new()
    }
}

impl Keyboard {
    /// As after power-on.
    pub fn new() -> Self {
        Self {
            set: 2,
            scanning: true,
            leds: 0,
            typematic: DEFAULT_TYPEMATIC,
            waiting: None,
            answers: VecDeque::new(),
            queue: VecDeque::new(),
            last: 0,
            held: Vec::new(),
            repeat: None,
            modes: Vec::new(),
            mode_of_all: None,
        }
    }

    /// Bit 0 scroll lock, 1 num lock, 2 caps lock.
    pub fn leds(&self) -> u8 {
        self.leds
    }

    /// Bytes of scan codes that wait to be sent, of the sixteen that it has room for.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether it has something to send.
    pub fn has_byte(&self) -> bool {
        // While a command waits for its argument, scan codes wait too.
        !self.answers.is_empty() || self.waiting.is_none() && !self.queue.is_empty()
    }

    /// Sends a byte.
    pub fn take_byte(&mut self) -> Option<u8> {
        let byte = match self.answers.pop_front() {
            Some(byte) => byte,
            None if self.waiting.is_none() => self.queue.pop_front()?,
            None => return None,
        };
        if byte != RESEND {
            self.last = byte;
        }
        Some(byte)
    }

    /// When the held key repeats.
    pub fn repeats_at(&self) -> Option<VmTime> {
        self.repeat.map(|(_, at)| at)
    }

    /// A key went down or up, or is held and the host's keyboard repeats it.
    pub fn key(&mut self, now: VmTime, code: u16, down: bool) {
        if code & 0xff == 0 || code >= 0x200 || code != PAUSE && code & 0x80 != 0 {
            return;
        }
        let position = self.held.iter().position(|&held| held == code);
        if down {
            if position.is_none() && code != PAUSE {
                self.held.push(code);
            }
        } else if let Some(position) = position {
            self.held.remove(position);
        }
        if !down && self.repeat.is_some_and(|(key, _)| key == code) {
            self.repeat = None;
        }
        if !self.scanning {
            return;
        }
        if down && position.is_some() && !self.mode(code).typematic {
            return;
        }
        self.send(code, down);
        if down && code != PAUSE {
            // A repetition by the host puts ours off: only one of the two repeats.
            self.repeat = self.mode(code).typematic.then(|| (code, now.plus_nanos(self.delay())));
        }
    }

    /// The typematic timer.
    pub fn repeat(&mut self, now: VmTime) {
        if let Some((code, at)) = self.repeat
            && at <= now
        {
            // A queue that nobody empties is not filled with repetitions.
            if self.queue.is_empty() {
                self.send(code, true);
            }
            self.repeat = Some((code, now.plus_nanos(self.period())));
        }
    }

    /// Before the first repetition, in nanoseconds (technical reference, "Set Typematic Rate/Delay").
    fn delay(&self) -> u64 {
        250_000_000 * (1 + u64::from(self.typematic >> 5 & 3))
    }

    /// Between repetitions, in nanoseconds: (8 + A) * 2^B * 4.17 ms.
    fn period(&self) -> u64 {
        (8 + u64::from(self.typematic & 7)) * (1 << (self.typematic >> 3 & 3)) * 4_170_000
    }

    fn holds(&self, keys: [u16; 2]) -> bool {
        self.held.iter().any(|held| keys.contains(held))
    }

    fn mode(&self, code: u16) -> KeyMode {
        if self.set != 3 {
            return KeyMode { typematic: true, breaks: true };
        }
        let key = set3(code);
        match (self.modes.iter().find(|(k, _)| *k == key), self.mode_of_all) {
            (Some((_, mode)), _) => *mode,
            (None, Some(mode)) => mode,
            (None, None) => default_mode(key),
        }
    }

    fn send(&mut self, code: u16, down: bool) {
        let mut bytes = Vec::with_capacity(8);
        match self.set {
            1 => self.set1(code, down, &mut bytes),
            3 => {
                let key = set3(code);
                if key != 0 && (down || self.mode(code).breaks) {
                    if !down {
                        bytes.push(BREAK);
                    }
                    bytes.push(key);
                }
            }
            _ => {
                // Set 2 has the same sequences in another spelling.
                let mut spelled = Vec::with_capacity(8);
                self.set1(code, down, &mut spelled);
                for byte in spelled {
                    match byte {
                        EXTENDED | 0xe1 => bytes.push(byte),
                        _ => {
                            if byte & 0x80 != 0 {
                                bytes.push(BREAK);
                            }
                            bytes.push(SET1_TO_SET2[usize::from(byte & 0x7f)]);
                        }
                    }
                }
            }
        }
        if self.queue.len() + bytes.len() < QUEUE {
            self.queue.extend(bytes);
        } else if !bytes.is_empty() {
            // The last place is the overrun mark's; one mark stands for all that is lost in a row.
            let mark = if self.set == 1 { 0xff } else { 0 };
            if self.queue.len() < QUEUE && self.queue.back() != Some(&mark) {
                self.queue.push_back(mark);
            }
        }
    }

    /// The sequences of scan code set 1.
    fn set1(&self, code: u16, down: bool, bytes: &mut Vec<u8>) {
        let control = self.holds([LEFT_CONTROL, RIGHT_CONTROL]);
        let shift = self.holds([LEFT_SHIFT, RIGHT_SHIFT]);
        let alt = self.holds([LEFT_ALT, RIGHT_ALT]);
        match (code, down) {
            (PAUSE, false) => {}
            (PAUSE, true) if control => bytes.extend([EXTENDED, 0x46, EXTENDED, 0xc6]),
            (PAUSE, true) => bytes.extend([0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]),
            (PRINT_SCREEN, _) if alt => bytes.push(if down { 0x54 } else { 0xd4 }),
            (PRINT_SCREEN, _) if control || shift => bytes.extend([EXTENDED, if down { 0x37 } else { 0xb7 }]),
            (PRINT_SCREEN, true) => bytes.extend([EXTENDED, 0x2a, EXTENDED, 0x37]),
            (PRINT_SCREEN, false) => bytes.extend([EXTENDED, 0xb7, EXTENDED, 0xaa]),
            _ => {
                if code & 0x100 != 0 {
                    bytes.push(EXTENDED);
                }
                bytes.push(code as u8 & 0x7f | if down { 0 } else { 0x80 });
            }
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        self.answers.extend(bytes);
    }

    fn defaults(&mut self) {
        self.typematic = DEFAULT_TYPEMATIC;
        self.set = 2;
        self.modes.clear();
        self.mode_of_all = None;
        self.queue.clear();
        self.repeat = None;
    }

    /// Takes a byte from the controller.
    pub fn command(&mut self, value: u8) {
        if value == RESEND {
            self.answers.clear();
            let last = self.last;
            return self.answer(&[last]);
        }
        // An answer that was not fetched yet is given up.
        self.answers.clear();
        if let Some(command) = self.waiting.take()
            && value < SET_LEDS
        {
            return self.argument(command, value);
        }
        match value {
            SET_LEDS | SELECT_SET | SET_TYPEMATIC => {
                self.waiting = Some(value);
                self.answer(&[ACK]);
            }
            0xee => self.answer(&[ECHO]),
            0xf2 => self.answer(&[ACK, ID[0], ID[1]]),
            0xf4 => {
                self.queue.clear();
                self.repeat = None;
                self.scanning = true;
                self.answer(&[ACK]);
            }
            // Set Default goes on scanning only if it did before.
            0xf5 | 0xf6 => {
                self.defaults();
                self.scanning &= value == 0xf6;
                self.answer(&[ACK]);
            }
            0xf7..=0xfa => {
                self.modes.clear();
                self.mode_of_all =
                    Some(KeyMode { typematic: matches!(value, 0xf7 | 0xfa), breaks: matches!(value, 0xf8 | 0xfa) });
                self.queue.clear();
                self.answer(&[ACK]);
            }
            0xfb..=0xfd => {
                self.waiting = Some(value);
                self.scanning = false;
                self.answer(&[ACK]);
            }
            0xff => {
                self.defaults();
                self.leds = 0;
                self.scanning = true;
                self.answer(&[ACK, BAT_PASSED]);
            }
            _ => self.answer(&[RESEND]),
        }
    }

    fn argument(&mut self, command: u8, value: u8) {
        match (command, value) {
            (SET_LEDS, _) => self.leds = value & 7,
            (SET_TYPEMATIC, 0..0x80) => self.typematic = value,
            (SELECT_SET, 0) => {
                let set = self.set;
                return self.answer(&[ACK, set]);
            }
            (SELECT_SET, 1..=3) => {
                self.set = value;
                self.queue.clear();
                self.repeat = None;
            }
            (0xfb..=0xfd, 1..) => {
                let mode = KeyMode { typematic: command == 0xfb, breaks: command == 0xfc };
                match self.modes.iter_mut().find(|(key, _)| *key == value) {
                    Some((_, old)) => *old = mode,
                    // One per code, so at most 236.
                    None => self.modes.push((value, mode)),
                }
                // More keys may follow until the next command.
                self.waiting = Some(command);
            }
            _ => return self.answer(&[RESEND]),
        }
        self.answer(&[ACK]);
    }

    /// Whether a saved state is one that a keyboard can have.
    pub fn is_possible(&self) -> bool {
        let Self {
            set,
            scanning: _,
            leds,
            typematic,
            waiting,
            answers,
            queue,
            last: _,
            held,
            repeat: _,
            modes,
            mode_of_all: _,
        } = self;
        matches!(set, 1..=3)
            && *leds <= 7
            && *typematic < 0x80
            && waiting.is_none_or(|c| matches!(c, SET_LEDS | SELECT_SET | SET_TYPEMATIC | 0xfb..=0xfd))
            && answers.len() <= 3
            && queue.len() <= QUEUE
            && held.len() <= 0x100
            && modes.len() < SET_LEDS.into()
    }
}

/// Set 3's codes of the keys (technical reference, "Scan Code Set 3"); 0 for none.
fn set3(code: u16) -> u8 {
    #[rustfmt::skip]
    const MAIN: [u8; 0x60] = [
        0x00, 0x08, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
        0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x11, 0x1c, 0x1b,
        0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5c, 0x1a, 0x22, 0x21, 0x2a,
        0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7e, 0x19, 0x29, 0x14, 0x07, 0x0f, 0x17, 0x1f, 0x27,
        0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x76, 0x5f, 0x6c, 0x75, 0x7d, 0x84, 0x6b, 0x73, 0x74, 0x7c, 0x69,
        0x72, 0x7a, 0x70, 0x71, 0x57, 0x00, 0x13, 0x56, 0x5e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ];
    match code {
        PAUSE => 0x62,
        0x11c => 0x79,
        0x11d => 0x58,
        0x135 => 0x77,
        0x137 => 0x57,
        0x138 => 0x39,
        0x147 => 0x6e,
        0x148 => 0x63,
        0x149 => 0x6f,
        0x14b => 0x61,
        0x14d => 0x6a,
        0x14f => 0x65,
        0x150 => 0x60,
        0x151 => 0x6d,
        0x152 => 0x67,
        0x153 => 0x64,
        0x15b => 0x8b,
        0x15c => 0x8c,
        0x15d => 0x8d,
        _ => MAIN.get(usize::from(code)).copied().unwrap_or(0),
    }
}

/// Set 3's default modes: shifts make and break, the left-hand letters, digits and the like repeat, the rest only
/// makes (technical reference, "Scan Code Set 3", column "Default Key State").
fn default_mode(key: u8) -> KeyMode {
    match key {
        0x11 | 0x12 | 0x14 | 0x19 | 0x59 => KeyMode { typematic: false, breaks: true },
        0x58 | 0x39 | 0x07 | 0x08 | 0x0f | 0x17 | 0x1f | 0x27 | 0x2f | 0x37 | 0x3f | 0x47 | 0x4f | 0x56 | 0x5e
        | 0x57 | 0x5f | 0x62 | 0x67 | 0x6e | 0x6f | 0x65 | 0x6d | 0x76 | 0x6c | 0x6b | 0x69 | 0x77 | 0x75 | 0x73
        | 0x72 | 0x70 | 0x7e | 0x7d | 0x74 | 0x7a | 0x71 | 0x84 | 0x79 | 0x8b | 0x8c | 0x8d => {
            KeyMode { typematic: false, breaks: false }
        }
        _ => KeyMode { typematic: true, breaks: false },
    }
}
