//! Parser of terminal escape sequences into keys, and keys into the guest's key events.
//!
//! Sources: ECMA-48, 5.4 (control sequences); "XTerm Control Sequences", "PC-Style Function Keys" and "Alt and Meta Keys";
//! console_codes(4) and the Linux console's key map (F1 to F5 as `ESC [ [ A`, F13 on for Shift-F1); rxvt's `^` and `@`.
//! Mouse, focus and paste reports are not enabled, and skipped if they come.

use crate::keys::{self, Keymap, KeysymKeyboard, keysym_of};
use pcvm_devices::InputEvent;
use pcvm_devices::vga::cp437_code;

/// Longest control sequence in bytes; a longer one is skipped.
const SEQUENCE_MAX: usize = 32;
const ESC: u8 = 0x1b;
const ESC_KEY: u16 = 0x01;
const BACKSPACE: u16 = 0x0e;
const TAB: u16 = 0x0f;
const ENTER: u16 = 0x1c;
const CTRL: u16 = 0x1d;
const ALT: u16 = 0x38;

/// Modifiers of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mods {
    /// Shift.
    pub shift: bool,
    /// Alt.
    pub alt: bool,
    /// Ctrl.
    pub ctrl: bool,
}

/// A key that was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A character; [`strokes`] adds the Shift that it takes.
    Char(char, Mods),
    /// Another key, by its code ([`InputEvent::Key`]).
    Key(u16, Mods),
}

/// Parses a terminal's bytes into keys. Sequences may be split between calls.
#[derive(Debug)]
pub struct Decoder {
    /// The start of an unfinished sequence or UTF-8 character.
    pending: Vec<u8>,
    /// The byte that the terminal's Backspace key sends.
    erase: u8,
}

/// Result of parsing the front of a byte string.
enum Parsed {
    /// A key, and its length in bytes.
    Typed(Typed, usize),
    /// A sequence that is not a key, and its length in bytes.
    Skip(usize),
    /// More bytes are needed.
    Incomplete,
}

impl Decoder {
    /// For a terminal whose Backspace sends `erase`.
    pub fn new(erase: u8) -> Self {
        Self { pending: Vec::new(), erase }
    }

    /// Parses `bytes` and appends the keys to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Typed>) {
        self.pending.extend_from_slice(bytes);
        self.parse(false, out);
    }

    /// Whether an unfinished sequence is pending: if no bytes follow in time, call [`Self::timeout`].
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// No bytes followed: a pending ESC byte is the Esc key.
    pub fn timeout(&mut self, out: &mut Vec<Typed>) {
        self.parse(true, out);
        self.pending.clear();
    }

    fn parse(&mut self, ended: bool, out: &mut Vec<Typed>) {
        let mut used = 0;
        while let Some(rest) = self.pending.get(used..).filter(|rest| !rest.is_empty()) {
            match parse_one(rest, self.erase, ended) {
                Parsed::Typed(typed, len) => {
                    out.push(typed);
                    used += len.max(1);
                }
                Parsed::Skip(len) => used += len.max(1),
                Parsed::Incomplete => break,
            }
        }
        self.pending.drain(..used.min(self.pending.len()));
    }
}

fn parse_one(bytes: &[u8], erase: u8, ended: bool) -> Parsed {
    let Some((&first, rest)) = bytes.split_first() else { return Parsed::Incomplete };
    if first != ESC {
        return plain(bytes, erase, ended);
    }
    let alone = Parsed::Typed(Typed::Key(ESC_KEY, Mods::default()), 1);
    let parsed = match rest.first() {
        None => Parsed::Incomplete,
        Some(b'[') => control_sequence(rest),
        Some(b'O') => single_shift(rest),
        // Terminals that send ESC for Alt: Alt with a key that has a sequence. Otherwise Esc twice.
        Some(&ESC) => match rest.get(1) {
            None => Parsed::Incomplete,
            Some(b'[' | b'O') => parse_one(rest, erase, ended),
            Some(_) => return alone,
        },
        Some(_) => plain(rest, erase, ended),
    };
    let prefixed = !matches!(rest.first(), Some(b'[' | b'O'));
    match parsed {
        Parsed::Typed(typed, len) => Parsed::Typed(if prefixed { with_alt(typed) } else { typed }, len + 1),
        Parsed::Skip(len) => Parsed::Skip(len + 1),
        Parsed::Incomplete if !ended => Parsed::Incomplete,
        // Unfinished sequences: `ESC [` and `ESC O` alone are Alt with that character, longer ones are skipped.
        Parsed::Incomplete => match rest {
            [c @ (b'[' | b'O')] => Parsed::Typed(with_alt(Typed::Char(char::from(*c), Mods::default())), 2),
            [b'[' | b'O', ..] => Parsed::Skip(bytes.len()),
            _ => alone,
        },
    }
}

fn with_alt(typed: Typed) -> Typed {
    match typed {
        Typed::Char(c, mods) => Typed::Char(c, Mods { alt: true, ..mods }),
        Typed::Key(code, mods) => Typed::Key(code, Mods { alt: true, ..mods }),
    }
}

/// Parses one character; control characters are keys, or letters with Ctrl.
fn plain(bytes: &[u8], erase: u8, ended: bool) -> Parsed {
    let Some(&first) = bytes.first() else { return Parsed::Incomplete };
    let none = Mods::default();
    let ctrl = Mods { ctrl: true, ..none };
    let typed = match first {
        b if b == erase && (b < 0x20 || b == 0x7f) => Typed::Key(BACKSPACE, none),
        0x00 => Typed::Char(' ', ctrl),
        0x09 => Typed::Key(TAB, none),
        0x0d => Typed::Key(ENTER, none),
        0x7f => Typed::Key(BACKSPACE, none),
        0x01..=0x1a => Typed::Char(char::from(first + 0x60), ctrl),
        0x1b => Typed::Key(ESC_KEY, none),
        // Ctrl with the key that types the character 40h above, unshifted on a US keyboard.
        0x1c => Typed::Char('\\', ctrl),
        0x1d => Typed::Char(']', ctrl),
        0x1e => Typed::Char('6', ctrl),
        0x1f => Typed::Char('-', ctrl),
        0x20..0x7f => Typed::Char(char::from(first), none),
        0x80.. => return utf8(bytes, ended),
    };
    Parsed::Typed(typed, 1)
}

fn utf8(bytes: &[u8], ended: bool) -> Parsed {
    let first = bytes.get(..4.min(bytes.len())).unwrap_or_default();
    let (valid, error) = match std::str::from_utf8(first) {
        Ok(text) => (text, None),
        Err(error) => {
            let valid = first.get(..error.valid_up_to()).unwrap_or_default();
            (std::str::from_utf8(valid).unwrap_or_default(), Some(error))
        }
    };
    match (valid.chars().next(), error.map(|error| error.error_len())) {
        (Some(c), _) if c.is_control() => Parsed::Skip(c.len_utf8()),
        (Some(c), _) => Parsed::Typed(Typed::Char(c, Mods::default()), c.len_utf8()),
        (None, Some(None)) if !ended => Parsed::Incomplete,
        (None, Some(Some(len))) => Parsed::Skip(len),
        (None, _) => Parsed::Skip(bytes.len()),
    }
}

/// xterm's modifier parameter: one more than a sum of 1 Shift, 2 Alt, 4 Ctrl and 8 Meta.
fn mods(parameter: u32) -> Mods {
    let bits = parameter.saturating_sub(1);
    Mods { shift: bits & 1 != 0, alt: bits & 0xa != 0, ctrl: bits & 4 != 0 }
}

/// The key for the final byte of `ESC [` and `ESC O` sequences.
fn by_letter(letter: u8) -> Option<u16> {
    Some(match letter {
        b'A' => 0x148,
        b'B' => 0x150,
        b'C' => 0x14d,
        b'D' => 0x14b,
        b'E' => 0x4c,
        b'F' => 0x14f,
        b'H' => 0x147,
        b'P' => function_key(1),
        b'Q' => function_key(2),
        b'R' => function_key(3),
        b'S' => function_key(4),
        _ => return None,
    })
}

/// The code of F1 to F12.
pub fn function_key(n: u16) -> u16 {
    if n <= 10 { 0x3a + n } else { 0x57 - 11 + n }
}

/// The key for the number before `~`, and whether Shift is held.
fn by_number(number: u32) -> Option<(u16, bool)> {
    let n = number as u16;
    Some(match number {
        1 | 7 => (0x147, false),
        2 => (0x152, false),
        3 => (0x153, false),
        4 | 8 => (0x14f, false),
        5 => (0x149, false),
        6 => (0x151, false),
        11..=15 => (function_key(n - 10), false),
        17..=21 => (function_key(n - 11), false),
        23 | 24 => (function_key(n - 12), false),
        25 | 26 => (function_key(n - 24), true),
        28 | 29 => (function_key(n - 25), true),
        31..=34 => (function_key(n - 26), true),
        _ => return None,
    })
}

/// Parses a control sequence after its ESC: `[`, parameters, intermediate bytes, a final byte.
fn control_sequence(bytes: &[u8]) -> Parsed {
    let body = bytes.get(1..).unwrap_or_default();
    if body.first() == Some(&b'[') {
        // The Linux console's F1 to F5.
        return match body.get(1) {
            None => Parsed::Incomplete,
            Some(&letter @ b'A'..=b'E') => {
                Parsed::Typed(Typed::Key(function_key(u16::from(letter - b'A') + 1), Mods::default()), 3)
            }
            Some(_) => Parsed::Skip(3),
        };
    }
    let Some(end) = body.iter().take(SEQUENCE_MAX).position(|byte| !(0x20..=0x3f).contains(byte)) else {
        return if body.len() < SEQUENCE_MAX { Parsed::Incomplete } else { Parsed::Skip(SEQUENCE_MAX + 1) };
    };
    let (parameters, last) = (body.get(..end).unwrap_or_default(), body.get(end).copied().unwrap_or(0));
    let len = end + 2;
    if !(0x40..=0x7e).contains(&last) {
        // Not a final byte: another character begins here.
        return Parsed::Skip(len - 1);
    }
    let text = std::str::from_utf8(parameters).unwrap_or_default();
    // A colon separates sub-parameters, which are ignored.
    let number = |text: &str| text.split(':').next().and_then(|text| text.parse::<u32>().ok());
    let mut numbers = text.split(';').map(number);
    let mut next = || numbers.next().flatten();
    let (first, second) = (next(), next());
    let held = mods(second.unwrap_or(1));
    let character = |code: Option<u32>, mods: Mods| {
        let c = code.and_then(char::from_u32).filter(|c| *c != '\0')?;
        Some(match plain(c.encode_utf8(&mut [0; 4]).as_bytes(), 0x7f, true) {
            Parsed::Typed(Typed::Char(c, own), _) => Typed::Char(c, Mods { ctrl: own.ctrl || mods.ctrl, ..mods }),
            Parsed::Typed(Typed::Key(code, _), _) => Typed::Key(code, mods),
            _ => return None,
        })
    };
    let key = |number: Option<u32>, held: Mods| {
        let (code, shift) = by_number(number?)?;
        Some(Typed::Key(code, Mods { shift: held.shift || shift, ..held }))
    };
    let typed = match last {
        b'Z' => Some(Typed::Key(TAB, Mods { shift: true, ..held })),
        b'~' if first == Some(27) && second.is_some() => character(next(), held),
        b'~' => key(first, held),
        b'^' => key(first, Mods { ctrl: true, ..held }),
        b'@' => key(first, Mods { ctrl: true, shift: true, ..held }),
        b'u' => character(first, held),
        b'a'..=b'd' if parameters.is_empty() => {
            by_letter(last.to_ascii_uppercase()).map(|code| Typed::Key(code, Mods { shift: true, ..held }))
        }
        _ => by_letter(last).map(|code| Typed::Key(code, held)),
    };
    typed.map_or(Parsed::Skip(len), |typed| Parsed::Typed(typed, len))
}

/// Parses a single shift (SS3) after its ESC: `O` and a byte, as the keypad sends in application mode.
fn single_shift(bytes: &[u8]) -> Parsed {
    let Some(&letter) = bytes.get(1) else { return Parsed::Incomplete };
    let keypad = |digit: u8| {
        const DIGITS: [u16; 10] = [0x52, 0x4f, 0x50, 0x51, 0x4b, 0x4c, 0x4d, 0x47, 0x48, 0x49];
        DIGITS.get(usize::from(digit)).copied()
    };
    let none = Mods::default();
    let typed = match letter {
        b'M' => Some((0x11c, none)),
        b'j' => Some((0x37, none)),
        b'k' => Some((0x4e, none)),
        b'l' => Some((0x7e, none)),
        b'm' => Some((0x4a, none)),
        b'n' => Some((0x53, none)),
        b'o' => Some((0x135, none)),
        b'p'..=b'y' => keypad(letter - b'p').map(|code| (code, none)),
        b'a'..=b'd' => by_letter(letter.to_ascii_uppercase()).map(|code| (code, Mods { ctrl: true, ..none })),
        // Alt with O, and the ESC of the next sequence.
        ESC => return Parsed::Typed(with_alt(Typed::Char('O', none)), 1),
        _ => by_letter(letter).map(|code| (code, none)),
    };
    typed.map_or(Parsed::Skip(2), |(code, mods)| Parsed::Typed(Typed::Key(code, mods), 2))
}

/// The key events that type `typed` on the guest's keyboard with the layout `keymap`, while its locks are `locks` (bit 1 Num
/// Lock, bit 2 Caps Lock). A character that the layout does not have is typed as its code page 437 number on the keypad with
/// Alt held. A character outside code page 437 gives no events.
pub fn strokes(typed: Typed, keymap: Keymap, locks: u8) -> Vec<InputEvent> {
    let mut keyboard = KeysymKeyboard::new(keymap);
    keyboard.set_locks(locks);
    let (Typed::Key(_, mods) | Typed::Char(_, mods)) = typed;
    let shift = match typed {
        Typed::Key(..) => mods.shift,
        Typed::Char(c, _) if keymap.strokes_or_latin(c).is_none() => {
            return cp437_code(c).map(alt_number).unwrap_or_default();
        }
        // With Ctrl or Alt the case of a letter is a held Shift; else the keyboard presses what the character takes.
        Typed::Char(c, _) => mods.shift || (mods.ctrl || mods.alt) && c.is_uppercase(),
    };
    let modifiers = [(mods.ctrl, CTRL), (mods.alt, ALT), (shift, keys::SHIFT)];
    let held: Vec<u16> = modifiers.into_iter().filter(|(held, _)| *held).map(|(_, code)| code).collect();
    held.iter().for_each(|&code| keyboard.code(code, true));
    for down in [true, false] {
        match typed {
            Typed::Key(code, _) => keyboard.code(code, down),
            Typed::Char(c, _) => keyboard.keysym(keysym_of(c), down),
        }
    }
    held.iter().rev().for_each(|&code| keyboard.code(code, false));
    keyboard.events
}

fn alt_number(code: u8) -> Vec<InputEvent> {
    let digits = code.to_string().into_bytes().into_iter();
    let keypad = digits.filter_map(|digit| match single_shift(&[b'O', digit - b'0' + b'p']) {
        Parsed::Typed(Typed::Key(code, _), _) => Some(code),
        _ => None,
    });
    let mut events = vec![InputEvent::Key { code: ALT, down: true }];
    events.extend(keypad.flat_map(|code| [true, false].map(|down| InputEvent::Key { code, down })));
    events.push(InputEvent::Key { code: ALT, down: false });
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONE: Mods = Mods { shift: false, alt: false, ctrl: false };
    const SHIFT: Mods = Mods { shift: true, ..NONE };
    const ALT: Mods = Mods { alt: true, ..NONE };
    const CTRL: Mods = Mods { ctrl: true, ..NONE };

    fn key(code: u16, mods: Mods) -> Vec<Typed> {
        vec![Typed::Key(code, mods)]
    }

    fn char(c: char, mods: Mods) -> Vec<Typed> {
        vec![Typed::Char(c, mods)]
    }

    /// Feeds `bytes` in parts of `size` bytes, as a slow line delivers them, then times out.
    fn decode(bytes: &[u8], size: usize) -> Vec<Typed> {
        let (mut decoder, mut out) = (Decoder::new(0x7f), Vec::new());
        for part in bytes.chunks(size) {
            decoder.feed(part, &mut out);
        }
        decoder.timeout(&mut out);
        assert!(!decoder.has_pending());
        out
    }

    #[test]
    fn the_sequences_of_xterm_linux_and_rxvt_are_parsed() {
        let known: Vec<(&str, Vec<Typed>)> = vec![
            ("a", char('a', NONE)),
            ("A", char('A', NONE)),
            ("é", char('é', NONE)),
            ("╬", char('╬', NONE)),
            ("\r", key(0x1c, NONE)),
            ("\t", key(0x0f, NONE)),
            ("\x7f", key(0x0e, NONE)),
            ("\x08", char('h', CTRL)),
            ("\0", char(' ', CTRL)),
            ("\x03", char('c', CTRL)),
            ("\x1d", char(']', CTRL)),
            ("\x1b", key(0x01, NONE)),
            ("\x1b\x1b", [key(0x01, NONE), key(0x01, NONE)].concat()),
            ("\x1bx", char('x', ALT)),
            ("\x1bé", char('é', ALT)),
            ("\x1b\x18", char('x', Mods { alt: true, ..CTRL })),
            ("\x1b\r", key(0x1c, ALT)),
            ("\x1b[", char('[', ALT)),
            ("\x1bO", char('O', ALT)),
            // xterm.
            ("\x1b[A", key(0x148, NONE)),
            ("\x1bOA", key(0x148, NONE)),
            ("\x1b[1;5D", key(0x14b, CTRL)),
            ("\x1b[1;2H", key(0x147, SHIFT)),
            ("\x1b[1;3F", key(0x14f, ALT)),
            ("\x1b[1;9F", key(0x14f, ALT)),
            ("\x1bOP", key(0x3b, NONE)),
            ("\x1bOS", key(0x3e, NONE)),
            ("\x1b[1;2P", key(0x3b, SHIFT)),
            ("\x1b[15~", key(0x3f, NONE)),
            ("\x1b[17~", key(0x40, NONE)),
            ("\x1b[21~", key(0x44, NONE)),
            ("\x1b[23~", key(0x57, NONE)),
            ("\x1b[24~", key(0x58, NONE)),
            ("\x1b[24;8~", key(0x58, Mods { shift: true, alt: true, ctrl: true })),
            ("\x1b[2~", key(0x152, NONE)),
            ("\x1b[3;5~", key(0x153, CTRL)),
            ("\x1b[5~", key(0x149, NONE)),
            ("\x1b[6~", key(0x151, NONE)),
            ("\x1b[Z", key(0x0f, SHIFT)),
            ("\x1bOM", key(0x11c, NONE)),
            ("\x1bOp", key(0x52, NONE)),
            // xterm's modifyOtherKeys and the kitty keyboard protocol.
            ("\x1b[27;5;9~", key(0x0f, CTRL)),
            ("\x1b[27;6;65~", char('A', Mods { shift: true, ..CTRL })),
            ("\x1b[105;5u", char('i', CTRL)),
            ("\x1b[13;2u", key(0x1c, SHIFT)),
            // The Linux console.
            ("\x1b[[A", key(0x3b, NONE)),
            ("\x1b[[E", key(0x3f, NONE)),
            ("\x1b[25~", key(0x3b, SHIFT)),
            ("\x1b[34~", key(0x42, SHIFT)),
            ("\x1b[1~", key(0x147, NONE)),
            ("\x1b[4~", key(0x14f, NONE)),
            // rxvt.
            ("\x1b[7~", key(0x147, NONE)),
            ("\x1b[a", key(0x148, SHIFT)),
            ("\x1bOd", key(0x14b, CTRL)),
            ("\x1b[3^", key(0x153, CTRL)),
            ("\x1b\x1b[A", key(0x148, ALT)),
            // Reports that pcvm does not enable.
            ("\x1b[I", vec![]),
            ("\x1b[?1;2c", vec![]),
            ("\x1b[<0;12;7M", vec![]),
            ("\x1b[200~x\x1b[201~", char('x', NONE)),
            ("\u{9b}", vec![]),
        ];
        for (text, expect) in known {
            for size in [1, 2, 100] {
                assert_eq!(decode(text.as_bytes(), size), expect, "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn ctrl_h_is_backspace_if_the_terminal_erases_with_it() {
        let mut out = Vec::new();
        Decoder::new(0x08).feed(b"\x08\x7f", &mut out);
        assert_eq!(out, key(0x0e, NONE).repeat(2));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_skipped() {
        assert_eq!(decode(b"a\xff\xc3b\xe2\x94", 100), [char('a', NONE), char('b', NONE)].concat());
    }

    #[test]
    fn every_key_is_pressed_and_released_with_its_modifiers() {
        let codes = |typed, caps| -> Vec<(u16, bool)> {
            let events = strokes(typed, Keymap::default(), if caps { 4 } else { 0 }).into_iter();
            events
                .map(|event| if let InputEvent::Key { code, down } = event { (code, down) } else { panic!() })
                .collect()
        };
        assert_eq!(codes(Typed::Char('a', NONE), false), [(0x1e, true), (0x1e, false)]);
        let shifted = [(0x2a, true), (0x1e, true), (0x1e, false), (0x2a, false)];
        assert_eq!(codes(Typed::Char('A', NONE), false), shifted);
        assert_eq!(codes(Typed::Char('A', NONE), true), [(0x1e, true), (0x1e, false)]);
        assert_eq!(codes(Typed::Char('a', NONE), true), shifted);
        assert_eq!(codes(Typed::Char('?', NONE), true)[0], (0x2a, true));
        assert_eq!(
            codes(Typed::Key(0x153, Mods { alt: true, ..CTRL }), false),
            [(0x1d, true), (0x38, true), (0x153, true), (0x153, false), (0x38, false), (0x1d, false)]
        );
        // é is 130 in code page 437.
        assert_eq!(
            codes(Typed::Char('é', NONE), false),
            [(0x38, true), (0x4f, true), (0x4f, false), (0x51, true), (0x51, false), (0x52, true), (0x52, false)]
                .into_iter()
                .chain([(0x38, false)])
                .collect::<Vec<_>>()
        );
        assert_eq!(codes(Typed::Char('€', NONE), false), []);
        assert_eq!(
            codes(Typed::Char('A', ALT), false),
            [(0x38, true), (0x2a, true), (0x1e, true), (0x1e, false), (0x2a, false), (0x38, false)]
        );
        let german = strokes(Typed::Char('é', NONE), Keymap::named("de").unwrap(), 0);
        assert_eq!(german.iter().filter(|event| matches!(event, InputEvent::Key { down: true, .. })).count(), 2);
    }

    fn any_input() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            proptest::collection::vec(any::<u8>(), 1..4),
            "\x1b\\[[0-9;:?<]{0,40}[A-Za-z~^@\\[]".prop_map(String::into_bytes),
            "\x1bO?[A-Za-zé]?".prop_map(String::into_bytes),
            "\\PC{1,3}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn the_size_of_reads_does_not_change_the_keys(bytes in any_input(), size in 1usize..9) {
            prop_assert_eq!(decode(&bytes, size), decode(&bytes, 1000));
        }

        #[test]
        fn the_decoder_buffers_at_most_one_sequence_and_presses_are_balanced(bytes in any_input()) {
            let mut decoder = Decoder::new(0x7f);
            let mut out = Vec::new();
            decoder.feed(&bytes, &mut out);
            prop_assert!(decoder.pending.len() <= SEQUENCE_MAX + 3);
            let typed = out.len();
            prop_assert!(typed <= bytes.len());
            for typed in out {
                let events = strokes(typed, Keymap::default(), 0);
                let downs = events.iter().filter(|event| matches!(event, InputEvent::Key { down: true, .. })).count();
                prop_assert_eq!(downs * 2, events.len());
            }
        }

        #[test]
        fn printable_text_decodes_to_its_characters(text in "[ -~é-ü]{0,40}") {
            let expect: Vec<_> = text.chars().map(|c| Typed::Char(c, NONE)).collect();
            prop_assert_eq!(decode(text.as_bytes(), 3), expect);
        }
    }
}
