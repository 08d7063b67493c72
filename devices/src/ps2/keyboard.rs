//! PS/2 keyboard with 101/102 keys and Windows keys (IBM Personal System/2 Hardware Interface Technical Reference,
//! "Keyboards (101- and 102-Key)").
//!
//! Not implemented: the fake shift codes that a real keyboard sends around the grey cursor keys while Num Lock or a
//! shift key is active. Drivers use the E0h prefix instead. Print Screen and Pause have all their sequences.

use super::controller::SET1_TO_SET2;
use crate::time::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

// Responses.
const ACK: u8 = 0xfa;
/// Also the command that repeats the last response.
const RESEND: u8 = 0xfe;
/// Basic assurance test passed.
const BAT_PASSED: u8 = 0xaa;
const ID: [u8; 2] = [0xab, 0x83];

// Scan code prefixes.
const BREAK_PREFIX: u8 = 0xf0;
const EXTENDED_PREFIX: u8 = 0xe0;
const PAUSE_PREFIX: u8 = 0xe1;

// Commands.
const SET_LEDS: u8 = 0xed;
/// Also the response.
const ECHO: u8 = 0xee;
const SELECT_SET: u8 = 0xf0;
const READ_ID: u8 = 0xf2;
const SET_TYPEMATIC: u8 = 0xf3;
const ENABLE: u8 = 0xf4;
const DEFAULT_DISABLE: u8 = 0xf5;
const SET_DEFAULT: u8 = 0xf6;
const SET_ALL_TYPEMATIC: u8 = 0xf7;
const SET_ALL_MAKE_BREAK: u8 = 0xf8;
// F9h is Set All Keys Make.
const SET_ALL_TYPEMATIC_MAKE_BREAK: u8 = 0xfa;
const SET_KEY_TYPEMATIC: u8 = 0xfb;
const SET_KEY_MAKE_BREAK: u8 = 0xfc;
const SET_KEY_MAKE: u8 = 0xfd;
const RESET: u8 = 0xff;

/// Scan code bytes that the keyboard buffers (technical reference, "Buffer").
const QUEUE_LEN: usize = 16;
/// Typematic delay 500 ms, rate 10.9 per second.
const DEFAULT_TYPEMATIC: u8 = 0x2b;

// Key codes of `InputEvent::Key`.
const PAUSE: u16 = 0x1e1;
const PRINT_SCREEN: u16 = 0x137;
const LEFT_SHIFT: u16 = 0x2a;
const RIGHT_SHIFT: u16 = 0x36;
const LEFT_CONTROL: u16 = 0x1d;
const RIGHT_CONTROL: u16 = 0x11d;
const LEFT_ALT: u16 = 0x38;
const RIGHT_ALT: u16 = 0x138;

/// A key's behaviour in scan code set 3: whether it repeats and whether it sends a break code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeyMode {
    typematic: bool,
    breaks: bool,
}

/// The keyboard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyboard {
    /// Scan code set 1, 2 or 3.
    set: u8,
    scanning: bool,
    leds: u8,
    /// Typematic setting: bits 0 to 4 rate, 5 and 6 delay.
    typematic: u8,
    /// The command whose argument is expected next. SET_KEY_TYPEMATIC to SET_KEY_MAKE take any number of arguments.
    pending_command: Option<u8>,
    responses: VecDeque<u8>,
    queue: VecDeque<u8>,
    /// The last byte sent, for RESEND.
    last: u8,
    /// Keys held, oldest first.
    held: Vec<u16>,
    /// The key that repeats, and when.
    repeat: Option<(u16, VmTime)>,
    /// Set 3 modes of single keys, by set 3 code.
    key_modes: Vec<(u8, KeyMode)>,
    /// Set 3 mode of all other keys; `None` for their defaults.
    all_keys_mode: Option<KeyMode>,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self::new()
    }
}

impl Keyboard {
    /// A keyboard at power-on.
    pub fn new() -> Self {
        Self {
            set: 2,
            scanning: true,
            leds: 0,
            typematic: DEFAULT_TYPEMATIC,
            pending_command: None,
            responses: VecDeque::new(),
            queue: VecDeque::new(),
            last: 0,
            held: Vec::new(),
            repeat: None,
            key_modes: Vec::new(),
            all_keys_mode: None,
        }
    }

    /// LEDs: bit 0 scroll lock, 1 num lock, 2 caps lock.
    pub fn leds(&self) -> u8 {
        self.leds
    }

    /// Scan code bytes in the queue, of at most 16.
    pub fn queued_bytes(&self) -> usize {
        self.queue.len()
    }

    /// Whether the keyboard has a byte to send.
    pub fn has_byte(&self) -> bool {
        // No scan codes are sent between a command and its argument.
        !self.responses.is_empty() || self.pending_command.is_none() && !self.queue.is_empty()
    }

    /// Takes the next byte to send.
    pub fn take_byte(&mut self) -> Option<u8> {
        let byte = match self.responses.pop_front() {
            Some(byte) => byte,
            None if self.pending_command.is_none() => self.queue.pop_front()?,
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

    /// Handles a key event. A press of a key that is already held is a repetition by the host.
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
        self.queue_scan_code(code, down);
        if down && code != PAUSE {
            // A repetition by the host restarts the delay, so that host and keyboard do not both repeat.
            self.repeat = self.mode(code).typematic.then(|| (code, now.plus_nanos(self.delay())));
        }
    }

    /// Handles the typematic timer.
    pub fn repeat(&mut self, now: VmTime) {
        if let Some((code, at)) = self.repeat
            && at <= now
        {
            // Does not fill the queue with repetitions while the guest does not read.
            if self.queue.is_empty() {
                self.queue_scan_code(code, true);
            }
            self.repeat = Some((code, now.plus_nanos(self.period())));
        }
    }

    /// Typematic delay in nanoseconds (technical reference, "Set Typematic Rate/Delay").
    fn delay(&self) -> u64 {
        250_000_000 * (1 + u64::from(self.typematic >> 5 & 3))
    }

    /// Typematic period in nanoseconds: (8 + A) * 2^B * 4.17 ms.
    fn period(&self) -> u64 {
        (8 + u64::from(self.typematic & 7)) * (1 << (self.typematic >> 3 & 3)) * 4_170_000
    }

    fn is_any_held(&self, keys: [u16; 2]) -> bool {
        self.held.iter().any(|held| keys.contains(held))
    }

    fn mode(&self, code: u16) -> KeyMode {
        if self.set != 3 {
            return KeyMode { typematic: true, breaks: true };
        }
        let key = set3_code(code);
        match (self.key_modes.iter().find(|(k, _)| *k == key), self.all_keys_mode) {
            (Some((_, mode)), _) => *mode,
            (None, Some(mode)) => mode,
            (None, None) => default_key_mode(key),
        }
    }

    fn queue_scan_code(&mut self, code: u16, down: bool) {
        let mut bytes = Vec::with_capacity(8);
        match self.set {
            1 => self.set1_bytes(code, down, &mut bytes),
            3 => {
                let key = set3_code(code);
                if key != 0 && (down || self.mode(code).breaks) {
                    if !down {
                        bytes.push(BREAK_PREFIX);
                    }
                    bytes.push(key);
                }
            }
            _ => {
                // Set 2 has the sequences of set 1 with other codes.
                let mut set1 = Vec::with_capacity(8);
                self.set1_bytes(code, down, &mut set1);
                for byte in set1 {
                    match byte {
                        EXTENDED_PREFIX | PAUSE_PREFIX => bytes.push(byte),
                        _ => {
                            if byte & 0x80 != 0 {
                                bytes.push(BREAK_PREFIX);
                            }
                            bytes.push(SET1_TO_SET2[usize::from(byte & 0x7f)]);
                        }
                    }
                }
            }
        }
        if self.queue.len() + bytes.len() < QUEUE_LEN {
            self.queue.extend(bytes);
        } else if !bytes.is_empty() {
            // The last entry is reserved for the overrun code. One code stands for any number of lost keys in a row.
            let overrun = if self.set == 1 { 0xff } else { 0 };
            if self.queue.len() < QUEUE_LEN && self.queue.back() != Some(&overrun) {
                self.queue.push_back(overrun);
            }
        }
    }

    /// Appends a key's scan code set 1 sequence.
    fn set1_bytes(&self, code: u16, down: bool, bytes: &mut Vec<u8>) {
        let control = self.is_any_held([LEFT_CONTROL, RIGHT_CONTROL]);
        let shift = self.is_any_held([LEFT_SHIFT, RIGHT_SHIFT]);
        let alt = self.is_any_held([LEFT_ALT, RIGHT_ALT]);
        match (code, down) {
            (PAUSE, false) => {}
            (PAUSE, true) if control => bytes.extend([EXTENDED_PREFIX, 0x46, EXTENDED_PREFIX, 0xc6]),
            (PAUSE, true) => bytes.extend([PAUSE_PREFIX, 0x1d, 0x45, PAUSE_PREFIX, 0x9d, 0xc5]),
            (PRINT_SCREEN, _) if alt => bytes.push(if down { 0x54 } else { 0xd4 }),
            (PRINT_SCREEN, _) if control || shift => bytes.extend([EXTENDED_PREFIX, if down { 0x37 } else { 0xb7 }]),
            (PRINT_SCREEN, true) => bytes.extend([EXTENDED_PREFIX, 0x2a, EXTENDED_PREFIX, 0x37]),
            (PRINT_SCREEN, false) => bytes.extend([EXTENDED_PREFIX, 0xb7, EXTENDED_PREFIX, 0xaa]),
            _ => {
                if code & 0x100 != 0 {
                    bytes.push(EXTENDED_PREFIX);
                }
                bytes.push(code as u8 & 0x7f | if down { 0 } else { 0x80 });
            }
        }
    }

    fn respond(&mut self, bytes: &[u8]) {
        self.responses.extend(bytes);
    }

    fn set_defaults(&mut self) {
        self.typematic = DEFAULT_TYPEMATIC;
        self.set = 2;
        self.key_modes.clear();
        self.all_keys_mode = None;
        self.queue.clear();
        self.repeat = None;
    }

    /// Receives a byte from the controller: a command or an argument.
    pub fn command(&mut self, value: u8) {
        if value == RESEND {
            self.responses.clear();
            let last = self.last;
            return self.respond(&[last]);
        }
        // A new command discards responses that were not read.
        self.responses.clear();
        if let Some(command) = self.pending_command.take()
            && value < SET_LEDS
        {
            return self.argument(command, value);
        }
        match value {
            SET_LEDS | SELECT_SET | SET_TYPEMATIC => {
                self.pending_command = Some(value);
                self.respond(&[ACK]);
            }
            ECHO => self.respond(&[ECHO]),
            READ_ID => self.respond(&[ACK, ID[0], ID[1]]),
            ENABLE => {
                self.queue.clear();
                self.repeat = None;
                self.scanning = true;
                self.respond(&[ACK]);
            }
            // SET_DEFAULT does not change whether the keyboard scans.
            DEFAULT_DISABLE | SET_DEFAULT => {
                self.set_defaults();
                self.scanning &= value == SET_DEFAULT;
                self.respond(&[ACK]);
            }
            SET_ALL_TYPEMATIC..=SET_ALL_TYPEMATIC_MAKE_BREAK => {
                self.key_modes.clear();
                self.all_keys_mode = Some(KeyMode {
                    typematic: matches!(value, SET_ALL_TYPEMATIC | SET_ALL_TYPEMATIC_MAKE_BREAK),
                    breaks: matches!(value, SET_ALL_MAKE_BREAK | SET_ALL_TYPEMATIC_MAKE_BREAK),
                });
                self.queue.clear();
                self.respond(&[ACK]);
            }
            SET_KEY_TYPEMATIC..=SET_KEY_MAKE => {
                self.pending_command = Some(value);
                self.scanning = false;
                self.respond(&[ACK]);
            }
            RESET => {
                self.set_defaults();
                self.leds = 0;
                self.scanning = true;
                self.respond(&[ACK, BAT_PASSED]);
            }
            _ => self.respond(&[RESEND]),
        }
    }

    fn argument(&mut self, command: u8, value: u8) {
        match (command, value) {
            (SET_LEDS, _) => self.leds = value & 7,
            (SET_TYPEMATIC, 0..0x80) => self.typematic = value,
            (SELECT_SET, 0) => {
                let set = self.set;
                return self.respond(&[ACK, set]);
            }
            (SELECT_SET, 1..=3) => {
                self.set = value;
                self.queue.clear();
                self.repeat = None;
            }
            (SET_KEY_TYPEMATIC..=SET_KEY_MAKE, 1..) => {
                let mode = KeyMode { typematic: command == SET_KEY_TYPEMATIC, breaks: command == SET_KEY_MAKE_BREAK };
                match self.key_modes.iter_mut().find(|(key, _)| *key == value) {
                    Some((_, old)) => *old = mode,
                    // One entry per code: at most 236, as codes from SET_LEDS up are commands.
                    None => self.key_modes.push((value, mode)),
                }
                // More key codes may follow until the next command.
                self.pending_command = Some(command);
            }
            _ => return self.respond(&[RESEND]),
        }
        self.respond(&[ACK]);
    }

    /// Whether a saved state is valid.
    pub fn is_valid(&self) -> bool {
        let Self {
            set,
            scanning: _,
            leds,
            typematic,
            pending_command,
            responses,
            queue,
            last: _,
            held,
            repeat: _,
            key_modes,
            all_keys_mode: _,
        } = self;
        matches!(set, 1..=3)
            && *leds <= 7
            && *typematic < 0x80
            && pending_command
                .is_none_or(|c| matches!(c, SET_LEDS | SELECT_SET | SET_TYPEMATIC | SET_KEY_TYPEMATIC..=SET_KEY_MAKE))
            && responses.len() <= 3
            && queue.len() <= QUEUE_LEN
            && held.len() <= 0x100
            && key_modes.len() < SET_LEDS.into()
    }
}

/// A key's set 3 code (technical reference, "Scan Code Set 3"); 0 if it has none.
fn set3_code(code: u16) -> u8 {
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

/// A key's default mode in set 3: shift keys make and break, character keys repeat, the other keys only make (technical
/// reference, "Scan Code Set 3", column "Default Key State").
fn default_key_mode(key: u8) -> KeyMode {
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
