//! Key code tables: QMP's QKeyCode names, characters of the US layout, X keysyms and USB HID usages, each to the code of
//! [`pcvm_devices::InputEvent::Key`] (scan code set 1, plus 100h for the prefix E0h). [`layout`] has the layouts of
//! `--keymap`, [`keysyms`] types characters on them.
//!
//! Sources: QEMU QMP reference, "QKeyCode"; IBM Personal System/2 Hardware Interface Technical Reference, "Keyboards
//! (101- and 102-Key)", for the scan codes; Microsoft, "Keyboard Scan Code Specification" (revision 1.3a), for those of
//! Japanese and Korean keys; X Window System Protocol, appendix A, for the keysyms; HID Usage Tables 1.4, chapter 10.

pub mod keysyms;
pub mod layout;
mod layouts;
pub mod locks;

pub use keysyms::{KeysymKeyboard, keysym_of};
pub use layout::Keymap;
pub use locks::Locks;

/// The left shift key.
pub const SHIFT: u16 = 0x2a;
/// The right shift key.
pub const RIGHT_SHIFT: u16 = 0x36;
/// The right Alt key, AltGr on many layouts.
pub const RIGHT_ALT: u16 = 0x138;
/// The left Ctrl key.
pub const CTRL: u16 = 0x1d;
/// The right Ctrl key.
pub const RIGHT_CTRL: u16 = 0x11d;
/// The left Alt key.
pub const ALT: u16 = 0x38;
/// The left logo key.
pub const LEFT_META: u16 = 0x15b;
/// The right logo key.
pub const RIGHT_META: u16 = 0x15c;
/// Caps Lock.
pub const CAPS_LOCK: u16 = 0x3a;
/// Num Lock.
pub const NUM_LOCK: u16 = 0x45;
/// Scroll Lock.
pub const SCROLL_LOCK: u16 = 0x46;

/// QKeyCode names.
#[rustfmt::skip]
const NAMES: &[(&str, u16)] = &[
    ("esc", 0x01), ("1", 0x02), ("2", 0x03), ("3", 0x04), ("4", 0x05), ("5", 0x06), ("6", 0x07), ("7", 0x08),
    ("8", 0x09), ("9", 0x0a), ("0", 0x0b), ("minus", 0x0c), ("equal", 0x0d), ("backspace", 0x0e), ("tab", 0x0f),
    ("q", 0x10), ("w", 0x11), ("e", 0x12), ("r", 0x13), ("t", 0x14), ("y", 0x15), ("u", 0x16), ("i", 0x17),
    ("o", 0x18), ("p", 0x19), ("bracket_left", 0x1a), ("bracket_right", 0x1b), ("ret", 0x1c), ("ctrl", 0x1d),
    ("a", 0x1e), ("s", 0x1f), ("d", 0x20), ("f", 0x21), ("g", 0x22), ("h", 0x23), ("j", 0x24), ("k", 0x25),
    ("l", 0x26), ("semicolon", 0x27), ("apostrophe", 0x28), ("grave_accent", 0x29), ("shift", 0x2a),
    ("backslash", 0x2b), ("z", 0x2c), ("x", 0x2d), ("c", 0x2e), ("v", 0x2f), ("b", 0x30), ("n", 0x31), ("m", 0x32),
    ("comma", 0x33), ("dot", 0x34), ("slash", 0x35), ("shift_r", 0x36), ("asterisk", 0x37), ("kp_multiply", 0x37),
    ("alt", 0x38), ("spc", 0x39), ("caps_lock", 0x3a), ("f1", 0x3b), ("f2", 0x3c), ("f3", 0x3d), ("f4", 0x3e),
    ("f5", 0x3f), ("f6", 0x40), ("f7", 0x41), ("f8", 0x42), ("f9", 0x43), ("f10", 0x44), ("num_lock", 0x45),
    ("scroll_lock", 0x46), ("kp_7", 0x47), ("kp_8", 0x48), ("kp_9", 0x49), ("kp_subtract", 0x4a), ("kp_4", 0x4b),
    ("kp_5", 0x4c), ("kp_6", 0x4d), ("kp_add", 0x4e), ("kp_1", 0x4f), ("kp_2", 0x50), ("kp_3", 0x51), ("kp_0", 0x52),
    ("kp_decimal", 0x53), ("sysrq", 0x54), ("less", 0x56), ("f11", 0x57), ("f12", 0x58), ("kp_equals", 0x59),
    ("hiragana", 0x70), ("katakanahiragana", 0x70), ("ro", 0x73), ("henkan", 0x79), ("muhenkan", 0x7b), ("yen", 0x7d),
    ("kp_comma", 0x7e),
    ("kp_enter", 0x11c), ("ctrl_r", 0x11d), ("kp_divide", 0x135), ("print", 0x137), ("alt_r", 0x138), ("home", 0x147),
    ("up", 0x148), ("pgup", 0x149), ("left", 0x14b), ("right", 0x14d), ("end", 0x14f), ("down", 0x150),
    ("pgdn", 0x151), ("insert", 0x152), ("delete", 0x153), ("meta_l", 0x15b), ("meta_r", 0x15c), ("menu", 0x15d),
    ("compose", 0x15d), ("power", 0x15e), ("sleep", 0x15f), ("wake", 0x163), ("audionext", 0x119), ("audioprev", 0x110),
    ("audiostop", 0x124), ("audioplay", 0x122), ("audiomute", 0x120), ("volumeup", 0x130), ("volumedown", 0x12e),
    ("mediaselect", 0x16d), ("mail", 0x16c), ("calculator", 0x121), ("computer", 0x16b), ("ac_home", 0x132),
    ("ac_bookmarks", 0x166), ("ac_back", 0x16a), ("ac_forward", 0x169), ("ac_refresh", 0x167), ("find", 0x165),
    ("pause", 0x1e1),
];

/// Common names of keys, with their QKeyCode names.
#[rustfmt::skip]
const ALIASES: &[(&str, &str)] = &[
    ("enter", "ret"), ("return", "ret"), ("escape", "esc"), ("space", "spc"), ("control", "ctrl"), ("del", "delete"),
    ("ins", "insert"), ("pageup", "pgup"), ("pagedown", "pgdn"), ("win", "meta_l"), ("super", "meta_l"),
    ("period", "dot"), ("altgr", "alt_r"), ("bksp", "backspace"), ("capslock", "caps_lock"), ("numlock", "num_lock"),
    ("scrolllock", "scroll_lock"), ("printscreen", "print"), ("break", "pause"),
];

/// The key with this QKeyCode name.
pub fn by_name(name: &str) -> Option<u16> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code)
}

/// The key with this number (`number` of QMP's KeyValue): the scan code, with bit 7 for the prefix E0h.
pub fn by_number(number: u64) -> Option<u16> {
    let code = u16::try_from(number).ok().filter(|&number| number > 0 && number < 0x100 && number != 0x80)?;
    // C6h is QEMU's number for Pause: E0h 46h, which the key sends with Ctrl.
    Some(if code == 0xc6 {
        0x1e1
    } else if code & 0x80 != 0 {
        0x100 | code & 0x7f
    } else {
        code
    })
}

/// Parses keys held together, such as `ctrl-alt-delete` or `ctrl+c`. A key is a QKeyCode name, an alias or a character.
///
/// # Errors
/// The part that names no key.
pub fn chord(text: &str) -> Result<Vec<u16>, String> {
    let mut keys = Vec::new();
    let mut rest = text;
    loop {
        // A separator in first position is a key: `ctrl--` is Ctrl with minus.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = rest.get(first..).and_then(|more| more.find(['-', '+'])).map_or(rest.len(), |at| first + at);
        let (name, more) = rest.split_at(end);
        let lower = name.to_ascii_lowercase();
        let known = ALIASES.iter().find(|(alias, _)| *alias == lower).map_or(lower.as_str(), |(_, name)| *name);
        let mut characters = name.chars();
        if let Some(code) = by_name(known) {
            keys.push(code);
        } else if let (Some(c), None) = (characters.next(), characters.next())
            && let Some((code, shift)) = by_char(c)
        {
            if shift && !keys.contains(&SHIFT) {
                keys.push(SHIFT);
            }
            keys.push(code);
        } else {
            return Err(name.to_owned());
        }
        if more.is_empty() {
            return Ok(keys);
        }
        rest = more.get(1..).unwrap_or_default();
    }
}

/// The rows of the US layout: code of the first key, characters without Shift, characters with Shift.
const ROWS: [(u16, &str, &str); 5] = [
    (0x02, "1234567890-=", "!@#$%^&*()_+"),
    (0x10, "qwertyuiop[]", "QWERTYUIOP{}"),
    (0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
    (0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (0x39, " ", ""),
];

/// The key that types a character on the US layout, and whether it needs Shift.
pub fn by_char(c: char) -> Option<(u16, bool)> {
    match c {
        '\n' | '\r' => return Some((0x1c, false)),
        '\t' => return Some((0x0f, false)),
        '\u{8}' | '\u{7f}' => return Some((0x0e, false)),
        '\u{1b}' => return Some((0x01, false)),
        _ => {}
    }
    ROWS.iter().find_map(|&(first, plain, shifted)| {
        let at = |row: &str| row.find(c).and_then(|at| u16::try_from(at).ok()).map(|at| first + at);
        at(plain).map(|code| (code, false)).or_else(|| at(shifted).map(|code| (code, true)))
    })
}

/// Keysyms that are not characters.
#[rustfmt::skip]
const KEYSYMS: &[(u32, u16)] = &[
    (0xff08, 0x0e), (0xff09, 0x0f), (0xff0a, 0x1c), (0xff0d, 0x1c), (0xff13, 0x1e1), (0xff14, 0x46),
    (0xff15, 0x54), (0xff1b, 0x01), (0xff50, 0x147), (0xff51, 0x14b), (0xff52, 0x148), (0xff53, 0x14d),
    (0xff54, 0x150), (0xff55, 0x149), (0xff56, 0x151), (0xff57, 0x14f), (0xff61, 0x137), (0xff63, 0x152),
    (0xff67, 0x15d), (0xff6b, 0x1e1), (0xff7e, 0x138), (0xff7f, 0x45), (0xff21, 0x70), (0xff27, 0x70), (0xff22, 0x7b),
    (0xff23, 0x79),
    // Keypad: the keys that do not depend on Num Lock.
    (0xff80, 0x39), (0xff89, 0x0f), (0xff8d, 0x11c), (0xffaa, 0x37), (0xffab, 0x4e), (0xffad, 0x4a), (0xffaf, 0x135),
    (0xffbd, 0x59),
    // Modifiers.
    (0xffe1, 0x2a), (0xffe2, 0x36), (0xffe3, 0x1d), (0xffe4, 0x11d), (0xffe5, 0x3a), (0xffe6, 0x3a), (0xffe7, 0x15b),
    (0xffe8, 0x15c), (0xffe9, 0x38), (0xffea, 0x138), (0xffeb, 0x15b), (0xffec, 0x15c), (0xfe03, 0x138),
    (0xffff, 0x153),
    // Multimedia (XF86XK).
    (0x1008_ff11, 0x12e), (0x1008_ff12, 0x120), (0x1008_ff13, 0x130), (0x1008_ff14, 0x122), (0x1008_ff15, 0x124),
    (0x1008_ff16, 0x110), (0x1008_ff17, 0x119), (0x1008_ff18, 0x132), (0x1008_ff19, 0x16c), (0x1008_ff1b, 0x165),
    (0x1008_ff1d, 0x121), (0x1008_ff26, 0x16a), (0x1008_ff27, 0x169), (0x1008_ff29, 0x167), (0x1008_ff2a, 0x15e),
    (0x1008_ff2b, 0x163), (0x1008_ff2f, 0x15f), (0x1008_ff32, 0x16d), (0x1008_ff33, 0x16b),
];

/// The key for an X keysym that does not name a character and does not depend on Shift or a lock.
pub fn by_keysym(keysym: u32) -> Option<u16> {
    if let Some((_, code)) = KEYSYMS.iter().find(|(known, _)| *known == keysym) {
        return Some(*code);
    }
    // F1 to F12.
    let n = keysym.checked_sub(0xffbe).filter(|&n| n < 12)? as u16;
    Some(if n < 10 { 0x3b + n } else { 0x57 + n - 10 })
}

/// USB HID usages: the first of a range of consecutive usages, and their codes; 0 for a usage without a key.
#[rustfmt::skip]
const USAGES: &[(u32, &[u16])] = &[
    // a to z.
    (0x04, &[0x1e, 0x30, 0x2e, 0x20, 0x12, 0x21, 0x22, 0x23, 0x17, 0x24, 0x25, 0x26, 0x32,
             0x31, 0x18, 0x19, 0x10, 0x13, 0x1f, 0x14, 0x16, 0x2f, 0x11, 0x2d, 0x15, 0x2c]),
    // 1 to 0, Enter, Esc, Backspace, Tab, space, - = [ ] \ (32h: its place on non-US keyboards) ; ' ` , . /, Caps Lock.
    (0x1e, &[0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x1c, 0x01, 0x0e, 0x0f, 0x39,
             0x0c, 0x0d, 0x1a, 0x1b, 0x2b, 0x2b, 0x27, 0x28, 0x29, 0x33, 0x34, 0x35, 0x3a]),
    // F1 to F12.
    (0x3a, &[0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0x42, 0x43, 0x44, 0x57, 0x58]),
    // Print Screen, Scroll Lock, Pause, Insert, Home, Page Up, Delete, End, Page Down, right, left, down, up.
    (0x46, &[0x137, 0x46, 0x1e1, 0x152, 0x147, 0x149, 0x153, 0x14f, 0x151, 0x14d, 0x14b, 0x150, 0x148]),
    // Num Lock; keypad / * - + Enter, 1 to 9, 0, point; the non-US key beside left Shift; menu; power; keypad =.
    (0x53, &[0x45, 0x135, 0x37, 0x4a, 0x4e, 0x11c, 0x4f, 0x50, 0x51, 0x4b, 0x4c, 0x4d, 0x47, 0x48, 0x49, 0x52, 0x53,
             0x56, 0x15d, 0x15e, 0x59]),
    // Mute, volume up, volume down.
    (0x7f, &[0x120, 0x130, 0x12e]),
    // Keypad comma; 86h (keypad = of the AS/400) has no key; Japanese keys: ro, katakana, yen, henkan, muhenkan.
    (0x85, &[0x7e, 0, 0x73, 0x70, 0x7d, 0x79, 0x7b]),
    // Ctrl, Shift, Alt, logo: left, then right.
    (0xe0, &[0x1d, 0x2a, 0x38, 0x15b, 0x11d, 0x36, 0x138, 0x15c]),
];

/// The key with this usage of the keyboard page (HID Usage Tables 1.4, chapter 10).
pub fn by_usage(usage: u32) -> Option<u16> {
    let code = |&(first, codes): &(u32, &[u16])| codes.get(usage.checked_sub(first)? as usize).copied();
    USAGES.iter().find_map(code).filter(|&code| code != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keysyms_are_unique_and_every_code_is_valid() {
        let mut names: Vec<_> =
            NAMES.iter().map(|(name, _)| *name).chain(ALIASES.iter().map(|(name, _)| *name)).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(NAMES.iter().all(|&(_, code)| code == 0x1e1 || code & !0x17f == 0 && code & 0x7f != 0));
        assert!(ALIASES.iter().all(|(_, name)| by_name(name).is_some()));
        let mut keysyms: Vec<_> = KEYSYMS.iter().map(|(keysym, _)| *keysym).collect();
        keysyms.sort_unstable();
        assert!(keysyms.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn chords_parse_names_aliases_characters_and_separators() {
        for (text, keys) in [
            ("ctrl-alt-delete", Ok(vec![0x1d, 0x38, 0x153])),
            ("Ctrl+Alt+Del", Ok(vec![0x1d, 0x38, 0x153])),
            ("f12", Ok(vec![0x58])),
            ("A", Ok(vec![0x1e])),
            ("?", Ok(vec![SHIFT, 0x35])),
            ("-", Ok(vec![0x0c])),
            ("ctrl--", Ok(vec![0x1d, 0x0c])),
            ("ctrl-+", Ok(vec![0x1d, SHIFT, 0x0d])),
            ("shift-?", Ok(vec![SHIFT, 0x35])),
            ("ctrl-", Err(String::new())),
            ("", Err(String::new())),
            ("hyper-x", Err("hyper".to_owned())),
            ("ctrl-ß", Err("ß".to_owned())),
        ] {
            assert_eq!(chord(text), keys, "{text}");
        }
    }

    #[test]
    fn every_printable_ascii_character_has_a_key() {
        for c in ' '..='~' {
            let (code, shift) = by_char(c).unwrap_or_else(|| panic!("{c}"));
            // QKeyCode names agree with the layout.
            if !shift && c.is_ascii_alphanumeric() {
                assert_eq!(by_name(&c.to_string()), Some(code));
            }
        }
        assert_eq!(by_char('|'), Some((0x2b, true)));
        assert_eq!(by_char('z'), Some((0x2c, false)));
        assert_eq!(by_char('~'), Some((0x29, true)));
        assert_eq!(by_char('é'), None);
    }

    #[test]
    fn usages_map_to_the_keys_of_the_layout_and_names() {
        for (n, c) in (0u32..).zip("abcdefghijklmnopqrstuvwxyz1234567890\n\u{1b}\u{8}\t -=[]\\".chars()) {
            assert_eq!(by_usage(4 + n), by_char(c).map(|(code, _)| code), "{c}");
        }
        for (n, c) in (0x33..).zip(";'`,./".chars()) {
            assert_eq!(by_usage(n), by_char(c).map(|(code, _)| code), "{c}");
        }
        for (usage, name) in [
            (0x39, "caps_lock"),
            (0x3a, "f1"),
            (0x43, "f10"),
            (0x44, "f11"),
            (0x45, "f12"),
            (0x46, "print"),
            (0x48, "pause"),
            (0x49, "insert"),
            (0x4c, "delete"),
            (0x4e, "pgdn"),
            (0x4f, "right"),
            (0x52, "up"),
            (0x53, "num_lock"),
            (0x58, "kp_enter"),
            (0x59, "kp_1"),
            (0x61, "kp_9"),
            (0x62, "kp_0"),
            (0x63, "kp_decimal"),
            (0x64, "less"),
            (0x65, "menu"),
            (0x67, "kp_equals"),
            (0x87, "ro"),
            (0x8b, "muhenkan"),
            (0xe0, "ctrl"),
            (0xe2, "alt"),
            (0xe3, "meta_l"),
            (0xe5, "shift_r"),
            (0xe6, "alt_r"),
            (0xe7, "meta_r"),
        ] {
            assert_eq!(by_usage(usage), by_name(name), "{name}");
        }
        assert!((0..4).chain(0xe8..0x1000).chain([u32::MAX, 0x86]).all(|usage| by_usage(usage).is_none()));
    }

    #[test]
    fn keysyms_and_qmp_numbers_map_to_their_keys() {
        for (keysym, code) in [
            (0x61, None),
            (0xffc9, Some(0x58)),
            (0xffbe, Some(0x3b)),
            (0xffca, None),
            (0xffff, Some(0x153)),
            (0x0a, None),
            (u32::MAX, None),
        ] {
            assert_eq!(by_keysym(keysym), code, "{keysym:x}");
        }
        assert_eq!(by_number(0xd3), Some(0x153));
        assert_eq!(by_number(0), None);
        assert_eq!(by_number(0x80), None);
    }
}
