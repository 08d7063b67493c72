//! Keys that mean characters: X keysyms of a client to key events of the guest's keyboard.
//!
//! A keysym says which character, not which key (RFC 6143, section 7.5.4). Where the guest's layout, Caps Lock or Num Lock
//! would make another character of the key, Shift, AltGr or the lock is pressed or released around it, and put back when the
//! key is released or another key is used. While the client holds Ctrl, Alt or a logo key, letters, digits and keypad keys
//! are shortcuts and pass unchanged. Scan codes (QEMU Extended Key Event) always pass unchanged.

use super::layout::{CapsLock, Keymap, Stroke, Strokes, spacing_of};
use super::{
    ALT, CAPS_LOCK, CTRL, LEFT_META, NUM_LOCK, RIGHT_ALT, RIGHT_CTRL, RIGHT_META, RIGHT_SHIFT, SCROLL_LOCK, SHIFT,
};
use pcvm_devices::InputEvent;

/// Keys that a client can hold down at a time; further ones are ignored.
const HELD_MAX: usize = 64;
const SHIFTS: [u16; 2] = [SHIFT, RIGHT_SHIFT];
/// ISO_Level3_Shift and Mode_switch: AltGr, and never a right Alt for shortcuts.
const ALTGR_KEYSYMS: [u32; 2] = [0xfe03, 0xff7e];

/// The bit of a lock key in the keyboard's LEDs; 0 for other keys.
pub fn lock_bit(code: u16) -> u8 {
    match code {
        SCROLL_LOCK => 1,
        NUM_LOCK => 2,
        CAPS_LOCK => 4,
        _ => 0,
    }
}

/// The keysym of a character. Latin-1 keysyms equal the character; others are Unicode with bit 24 set.
pub fn keysym_of(c: char) -> u32 {
    let code = u32::from(c);
    if code < 0x100 { code } else { 0x100_0000 | code }
}

/// What a keysym asks of the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// This key, whatever the modifiers are.
    Key(u16),
    /// This keypad key: its digit, or else the key that it is without Num Lock.
    Keypad(u16, bool),
    /// A character; whether it is an ASCII letter or digit.
    Character(Strokes, bool),
}

/// Keypad keysyms: the one with Num Lock, the one without, the key's code.
#[rustfmt::skip]
const KEYPAD: [(u32, u32, u16); 10] = [
    (0xffb0, 0xff9e, 0x52), (0xffb1, 0xff9c, 0x4f), (0xffb2, 0xff99, 0x50), (0xffb3, 0xff9b, 0x51), (0xffb4, 0xff96, 0x4b),
    (0xffb5, 0xff9d, 0x4c), (0xffb6, 0xff98, 0x4d), (0xffb7, 0xff95, 0x47), (0xffb8, 0xff97, 0x48), (0xffb9, 0xff9a, 0x49),
];
const KP_DELETE: u32 = 0xff9f;
const KP_SEPARATOR: u32 = 0xffac;
const KP_DECIMAL: u32 = 0xffae;
const LEFT_TAB: u32 = 0xfe20;

/// The combining character of a dead key's keysym.
fn accent_of(keysym: u32) -> Option<char> {
    const FIRST: u32 = 0xfe50;
    #[rustfmt::skip]
    const ACCENTS: [u16; 19] = [
        0x300, 0x301, 0x302, 0x303, 0x304, 0x306, 0x307, 0x308, 0x30a, 0x30b, 0x30c, 0x327, 0x328, 0, 0, 0, 0x323, 0, 0x31b,
    ];
    let accent = match keysym {
        0xfe66 => 0x30f,
        0xfe6e => 0x326,
        _ => *ACCENTS.get(keysym.checked_sub(FIRST)? as usize)?,
    };
    char::from_u32(accent.into()).filter(|&c| c != '\0')
}

fn wanted(keysym: u32, keymap: Keymap) -> Option<Wanted> {
    if let Some(&(digit, _, code)) = KEYPAD.iter().find(|(digit, other, _)| [*digit, *other].contains(&keysym)) {
        return Some(Wanted::Keypad(code, keysym == digit));
    }
    match keysym {
        KP_DELETE => return Some(Wanted::Keypad(0x53, false)),
        KP_DECIMAL => return Some(Wanted::Keypad(keymap.keypad_decimal('.'), true)),
        KP_SEPARATOR => return Some(Wanted::Keypad(keymap.keypad_decimal(','), true)),
        LEFT_TAB => {
            let key = Stroke { code: 0x0f, shift: Some(true), altgr: false, caps: CapsLock::Ignored };
            return Some(Wanted::Character(Strokes { dead: None, key }, false));
        }
        _ => {}
    }
    if let Some(code) = super::by_keysym(keysym) {
        return Some(Wanted::Key(code));
    }
    if let Some(accent) = accent_of(keysym) {
        let strokes = keymap.strokes(accent).or_else(|| keymap.strokes(spacing_of(accent)?))?;
        return Some(Wanted::Character(strokes, false));
    }
    let c = xkeysym::Keysym::new(keysym).key_char().filter(|c| !c.is_control())?;
    Some(Wanted::Character(keymap.strokes_or_latin(c)?, c.is_ascii_alphanumeric()))
}

/// A key that the client holds down.
#[derive(Clone, Copy, Debug)]
struct Held {
    code: u16,
    /// The keysym with which it was pressed; 0 for a scan code.
    keysym: u32,
    /// The keysym is a character or a keypad key, and depends on the client's modifiers.
    depends: bool,
    /// Shift and AltGr when it was pressed.
    modifiers: (bool, bool),
}

/// What differs from the keys that the client holds while a character's key is down.
#[derive(Debug, Default)]
struct Around {
    /// The character's key; 0 if nothing differs.
    code: u16,
    /// Modifiers that the client holds, released.
    lifted: Vec<u16>,
    /// Modifiers that the client does not hold, pressed.
    added: Vec<u16>,
    /// Lock keys, pressed and released.
    toggled: Vec<u16>,
}

/// A client's keyboard: the keys that it holds down, and the key events for the guest.
#[derive(Debug, Default)]
pub struct KeysymKeyboard {
    keymap: Keymap,
    /// The guest's locks, as the keyboard's LEDs, with the lock keys pressed since.
    locks: u8,
    held: Vec<Held>,
    around: Around,
    /// Key events for the guest, in order.
    pub events: Vec<InputEvent>,
}

impl KeysymKeyboard {
    /// A keyboard with no key down for a guest with this layout.
    pub fn new(keymap: Keymap) -> Self {
        Self { keymap, ..Self::default() }
    }

    /// Sets the guest's locks: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    pub fn set_locks(&mut self, locks: u8) {
        self.locks = locks;
    }

    fn emit(&mut self, code: u16, down: bool) {
        self.events.push(InputEvent::Key { code, down });
    }

    fn tap(&mut self, code: u16) {
        self.emit(code, true);
        self.emit(code, false);
        self.locks ^= lock_bit(code);
    }

    fn holds(&self, codes: &[u16]) -> bool {
        self.held.iter().any(|held| codes.contains(&held.code))
    }

    fn modifiers(&self) -> (bool, bool) {
        (self.holds(&SHIFTS), self.holds(&[RIGHT_ALT]))
    }

    /// Whether the client holds a modifier that makes shortcuts of keys: Ctrl, Alt or a logo key, but not AltGr.
    fn shortcut(&self) -> bool {
        let right_alt = |held: &Held| held.code == RIGHT_ALT && !ALTGR_KEYSYMS.contains(&held.keysym);
        self.holds(&[CTRL, RIGHT_CTRL, ALT, LEFT_META, RIGHT_META]) || self.held.iter().any(right_alt)
    }

    fn press(&mut self, code: u16, keysym: u32, depends: bool) {
        if !self.holds(&[code]) {
            if self.held.len() == HELD_MAX {
                return;
            }
            self.held.push(Held { code, keysym, depends, modifiers: self.modifiers() });
            self.locks ^= lock_bit(code);
        }
        self.emit(code, true);
    }

    fn release(&mut self, code: u16) {
        self.held.retain(|held| held.code != code);
        let lifted = self.around.lifted.len();
        self.around.lifted.retain(|&lifted| lifted != code);
        if self.around.lifted.len() == lifted {
            self.emit(code, false);
        }
        if self.around.code == code {
            self.put_back();
        }
    }

    /// A key by its code.
    pub fn code(&mut self, code: u16, down: bool) {
        if down {
            self.put_back();
            self.press(code, 0, false);
        } else {
            self.release(code);
        }
    }

    /// A key by its keysym; one that the keyboard does not have is ignored.
    pub fn keysym(&mut self, keysym: u32, down: bool) {
        if !down {
            return self.release_keysym(keysym);
        }
        let Some(wanted) = wanted(keysym, self.keymap) else { return };
        let (Wanted::Key(code)
        | Wanted::Keypad(code, _)
        | Wanted::Character(Strokes { key: Stroke { code, .. }, .. }, _)) = wanted;
        if self.around.code == code && self.held.iter().any(|held| (held.code, held.keysym) == (code, keysym)) {
            // The client repeats the key: the modifiers around it are still in place.
            return self.emit(code, true);
        }
        self.put_back();
        if self.held.len() == HELD_MAX && !self.holds(&[code]) {
            return;
        }
        let shortcut = self.shortcut();
        match wanted {
            Wanted::Keypad(code, digit) if !shortcut => self.around_keypad(code, digit),
            Wanted::Character(_, true) if shortcut => {}
            Wanted::Character(Strokes { dead, key }, _) => {
                if let Some(dead) = dead.filter(|_| !shortcut) {
                    if self.holds(&[code]) {
                        self.release(code);
                    }
                    self.around(dead);
                    self.tap(dead.code);
                    self.put_back();
                }
                self.around(key);
            }
            Wanted::Key(_) | Wanted::Keypad(..) => {}
        }
        self.press(code, keysym, !matches!(wanted, Wanted::Key(_)));
    }

    fn release_keysym(&mut self, keysym: u32) {
        let mapped = match wanted(keysym, self.keymap) {
            None => None,
            Some(Wanted::Key(code) | Wanted::Keypad(code, _)) => Some((code, false)),
            Some(Wanted::Character(strokes, _)) => Some((strokes.key.code, true)),
        };
        let same = self.held.iter().find(|held| held.keysym == keysym).map(|held| held.code);
        if let Some(code) = same.or_else(|| mapped.map(|(code, _)| code).filter(|&code| self.holds(&[code]))) {
            return self.release(code);
        }
        if mapped.is_none_or(|(_, character)| character) {
            // No such key is down. The client released or pressed Shift or AltGr before it released the key, and its
            // keysym is another one now.
            let modifiers = self.modifiers();
            let stale = self.held.iter().filter(|held| held.depends && held.modifiers != modifiers);
            let stale: Vec<u16> = stale.map(|held| held.code).collect();
            stale.into_iter().for_each(|code| self.release(code));
        }
    }

    /// Releases the modifiers among `codes` that the client holds.
    fn lift(&mut self, codes: &[u16]) {
        let lifted: Vec<u16> = self.held.iter().map(|held| held.code).filter(|code| codes.contains(code)).collect();
        lifted.iter().for_each(|&code| self.emit(code, false));
        self.around.lifted.extend(lifted);
    }

    fn add(&mut self, code: u16) {
        self.emit(code, true);
        self.around.added.push(code);
    }

    fn toggle(&mut self, code: u16) {
        if !self.holds(&[code]) {
            self.tap(code);
            self.around.toggled.push(code);
        }
    }

    /// Sets Shift, AltGr and Caps Lock as the stroke needs them.
    fn around(&mut self, stroke: Stroke) {
        let (shift, altgr) = self.modifiers();
        let caps = self.locks & lock_bit(CAPS_LOCK) != 0;
        let wants_shift = stroke.shift.map_or(shift, |wants| wants ^ (caps && stroke.caps == CapsLock::Shifts));
        if altgr && self.holds(&[CTRL]) {
            // Windows sends left Ctrl with AltGr.
            self.lift(&[CTRL]);
        }
        if altgr && !stroke.altgr {
            self.lift(&[RIGHT_ALT]);
        }
        if shift && !wants_shift {
            self.lift(&SHIFTS);
        }
        if caps && stroke.caps == CapsLock::Other {
            self.toggle(CAPS_LOCK);
        }
        if wants_shift && !shift {
            self.add(SHIFT);
        }
        if stroke.altgr && !altgr {
            self.add(RIGHT_ALT);
        }
        self.mark(stroke.code);
    }

    /// Sets Num Lock and Shift so that a keypad key gives its digit or not. Shift inverts Num Lock.
    fn around_keypad(&mut self, code: u16, digit: bool) {
        let num = self.locks & lock_bit(NUM_LOCK) != 0;
        let (shift, _) = self.modifiers();
        if num ^ shift == digit {
            return;
        }
        self.lift(&SHIFTS);
        if num != digit {
            self.toggle(NUM_LOCK);
        }
        self.mark(code);
    }

    fn mark(&mut self, code: u16) {
        let Around { lifted, added, toggled, .. } = &self.around;
        let differs = !(lifted.is_empty() && added.is_empty() && toggled.is_empty());
        self.around.code = if differs { code } else { 0 };
    }

    /// Makes the modifiers what the client holds, and the locks what they were.
    fn put_back(&mut self) {
        let Around { lifted, added, toggled, .. } = std::mem::take(&mut self.around);
        added.into_iter().rev().for_each(|code| self.emit(code, false));
        toggled.into_iter().for_each(|code| self.tap(code));
        let still_held = lifted.into_iter().filter(|code| self.holds(&[*code])).collect::<Vec<_>>();
        still_held.into_iter().for_each(|code| self.emit(code, true));
    }

    /// Releases all keys: the client is gone.
    pub fn release_all(&mut self) {
        self.put_back();
        for held in std::mem::take(&mut self.held) {
            self.emit(held.code, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAPS: u8 = 4;
    const NUM: u8 = 2;

    /// What the keyboard sent since the last call: `+code` and `-code` in hexadecimal.
    fn sent(keyboard: &mut KeysymKeyboard) -> String {
        let events = std::mem::take(&mut keyboard.events).into_iter().map(|event| match event {
            InputEvent::Key { code, down } => format!("{}{code:x}", if down { '+' } else { '-' }),
            other => panic!("{other:?}"),
        });
        events.collect::<Vec<_>>().join(" ")
    }

    /// Presses (`+`) and releases (`-`) keysyms, each a character or a name; gives what the guest gets.
    fn type_on(name: &str, locks: u8, keys: &str) -> String {
        let mut keyboard = KeysymKeyboard::new(Keymap::named(name).unwrap());
        keyboard.set_locks(locks);
        for key in keys.split(' ') {
            let (down, name) = (key.starts_with('+'), &key[1..]);
            let keysym = match name {
                "Shift" => 0xffe1,
                "Ctrl" => 0xffe3,
                "Alt" => 0xffe9,
                "Alt_R" => 0xffea,
                "AltGr" => 0xfe03,
                "Super" => 0xffeb,
                "Caps" => 0xffe5,
                "F4" => 0xffc1,
                "Delete" => 0xffff,
                "Left_Tab" => 0xfe20,
                "KP_1" => 0xffb1,
                "KP_End" => 0xff9c,
                "KP_Decimal" => 0xffae,
                "KP_Separator" => 0xffac,
                "dead_acute" => 0xfe51,
                "aogonek" => 0x1b1,
                "Cyrillic_ef" => 0x6c6,
                "EuroSign" => 0x20ac,
                name => keysym_of(name.parse().unwrap()),
            };
            keyboard.keysym(keysym, down);
        }
        sent(&mut keyboard)
    }

    #[test]
    fn a_keysym_gives_its_character_whatever_shift_and_caps_lock_are() {
        for (locks, keys, expect) in [
            (0, "+a -a", "+1e -1e"),
            (0, "+A -A", "+2a +1e -1e -2a"),
            (CAPS, "+a -a", "+2a +1e -1e -2a"),
            (CAPS, "+A -A", "+1e -1e"),
            (CAPS, "+1 -1", "+2 -2"),
            (0, "+Shift +A -A -Shift", "+2a +1e -1e -2a"),
            (0, "+Shift +a -a -Shift", "+2a -2a +1e -1e +2a -2a"),
            (CAPS, "+Shift +a -a -Shift", "+2a +1e -1e -2a"),
            (CAPS, "+Shift +A -A -Shift", "+2a -2a +1e -1e +2a -2a"),
            (0, "+? -?", "+2a +35 -35 -2a"),
            (0, "+Shift +/ -/ -Shift", "+2a -2a +35 -35 +2a -2a"),
            (0, "+Left_Tab -Left_Tab", "+2a +f -f -2a"),
            (0, "+Caps -Caps +A -A", "+3a -3a +1e -1e"),
            (0, "+AltGr +@ -@ -AltGr", "+138 -138 +2a +3 -3 -2a +138 -138"),
        ] {
            assert_eq!(type_on("en-us", locks, keys), expect, "{keys} with locks {locks}");
        }
        let mut keyboard = KeysymKeyboard::default();
        for (keysym, down) in [(0xffe1, true), (0x20, true), (0x20, false), (0xffe1, false)] {
            keyboard.keysym(keysym, down);
        }
        assert_eq!(sent(&mut keyboard), "+2a +39 -39 -2a", "Shift with the space bar stays");
    }

    #[test]
    fn keypad_keysyms_match_num_lock() {
        for (locks, keys, expect) in [
            (NUM, "+KP_1 -KP_1", "+4f -4f"),
            (0, "+KP_1 -KP_1", "+45 -45 +4f -4f +45 -45"),
            (0, "+KP_End -KP_End", "+4f -4f"),
            (NUM, "+KP_End -KP_End", "+45 -45 +4f -4f +45 -45"),
            // Shift inverts Num Lock in the guest too.
            (NUM, "+Shift +KP_End -KP_End -Shift", "+2a +4f -4f -2a"),
            (0, "+Shift +KP_1 -KP_1 -Shift", "+2a +4f -4f -2a"),
            (0, "+Shift +KP_End -KP_End -Shift", "+2a -2a +4f -4f +2a -2a"),
            (NUM, "+Shift +KP_1 -KP_1 -Shift", "+2a -2a +4f -4f +2a -2a"),
            // Alt with digits of the keypad enters a character by its number.
            (0, "+Alt +KP_1 -KP_1 -Alt", "+38 +4f -4f -38"),
        ] {
            assert_eq!(type_on("en-us", locks, keys), expect, "{keys} with locks {locks}");
        }
        assert_eq!(type_on("de", NUM, "+KP_Separator -KP_Separator"), "+53 -53");
        assert_eq!(type_on("pt-br", NUM, "+KP_Decimal -KP_Decimal"), "+7e -7e");
    }

    #[test]
    fn shortcuts_pass_unchanged() {
        for (locks, keys, expect) in [
            (0, "+Ctrl +c -c -Ctrl", "+1d +2e -2e -1d"),
            (0, "+Ctrl +C -C -Ctrl", "+1d +2e -2e -1d"),
            (CAPS, "+Ctrl +c -c -Ctrl", "+1d +2e -2e -1d"),
            (0, "+Ctrl +Shift +C -C -Shift -Ctrl", "+1d +2a +2e -2e -2a -1d"),
            (0, "+Shift +Alt +a -a -Alt -Shift", "+2a +38 +1e -1e -38 -2a"),
            (0, "+Alt +F4 -F4 -Alt", "+38 +3e -3e -38"),
            (0, "+Super +E -E -Super", "+15b +12 -12 -15b"),
            (0, "+Alt_R +x -x -Alt_R", "+138 +2d -2d -138"),
            (0, "+Ctrl +Alt +Delete -Delete -Alt -Ctrl", "+1d +38 +153 -153 -38 -1d"),
            (NUM, "+Ctrl +KP_End -KP_End -Ctrl", "+1d +4f -4f -1d"),
        ] {
            assert_eq!(type_on("en-us", locks, keys), expect, "{keys} with locks {locks}");
        }
    }

    #[test]
    fn layouts_have_altgr_and_dead_keys() {
        for (name, locks, keys, expect) in [
            ("de", 0, "+z -z", "+15 -15"),
            ("de", 0, "+@ -@", "+138 +10 -10 -138"),
            ("de", 0, "+AltGr +@ -@ -AltGr", "+138 +10 -10 -138"),
            // A client on Windows sends left Ctrl with AltGr; one with a US layout sends Shift.
            ("de", 0, "+Ctrl +Alt_R +@ -@ -Alt_R -Ctrl", "+1d +138 -1d +10 -10 +1d -138 -1d"),
            ("de", 0, "+Shift +@ -@ -Shift", "+2a -2a +138 +10 -10 -138 +2a -2a"),
            ("de", 0, "+é -é", "+d -d +12 -12"),
            ("de", 0, "+É -É", "+d -d +2a +12 -12 -2a"),
            ("de", CAPS, "+é -é", "+d -d +2a +12 -12 -2a"),
            ("de", 0, "+` -`", "+2a +d -d -2a +39 -39"),
            ("de", CAPS, "+ß -ß", "+3a -3a +c -c +3a -3a"),
            ("de", CAPS, "+ä -ä", "+2a +28 -28 -2a"),
            ("de", 0, "+dead_acute -dead_acute +e -e", "+d -d +12 -12"),
            ("en-us", 0, "+dead_acute -dead_acute", "+28 -28"),
            ("fr", 0, "+1 -1", "+2a +2 -2 -2a"),
            ("fr", 0, "+Ctrl +1 -1 -Ctrl", "+1d +2 -2 -1d"),
            ("pl", 0, "+aogonek -aogonek", "+138 +1e -1e -138"),
            ("ru", 0, "+Cyrillic_ef -Cyrillic_ef", "+1e -1e"),
            ("ru", 0, "+Ctrl +c -c -Ctrl", "+1d +2e -2e -1d"),
            ("de", 0, "+EuroSign -EuroSign", "+138 +12 -12 -138"),
            ("en-us", 0, "+EuroSign -EuroSign", ""),
        ] {
            assert_eq!(type_on(name, locks, keys), expect, "{name}: {keys} with locks {locks}");
        }
    }

    #[test]
    fn keys_repeat_and_are_released_in_any_order() {
        for (keys, expect) in [
            ("+A +A +A -A", "+2a +1e +1e +1e -1e -2a"),
            ("+A +b -A -b", "+2a +1e -2a +30 -1e -30"),
            ("+Shift +A -Shift -a", "+2a +1e -2a -1e"),
            // A German client releases Shift before 7, with which it typed the slash.
            ("+Shift +/ -Shift -7", "+2a -2a +35 -35"),
            ("+A +Shift -A -Shift", "+2a +1e -2a +2a -1e -2a"),
            ("+Shift +! -Shift -1", "+2a +2 -2a -2"),
            ("-x", ""),
        ] {
            assert_eq!(type_on("en-us", 0, keys), expect, "{keys}");
        }
        assert_eq!(type_on("de", 0, "+é +é -é"), "+d -d +12 -12 +d -d +12 -12");
    }

    #[test]
    fn a_client_that_leaves_releases_its_keys_and_puts_the_locks_back() {
        let mut keyboard = KeysymKeyboard::default();
        keyboard.keysym(0xffe1, true);
        keyboard.keysym(0xffb1, true);
        keyboard.keysym(0xff9c, true);
        sent(&mut keyboard);
        keyboard.release_all();
        assert_eq!(sent(&mut keyboard), "+2a -2a -4f");
    }

    /// A guest that reads the key events with a layout.
    #[derive(Default)]
    struct Guest {
        down: std::collections::BTreeSet<u16>,
        caps: bool,
        dead: Option<char>,
        typed: String,
    }

    impl Guest {
        fn read(&mut self, keymap: Keymap, event: InputEvent) {
            let InputEvent::Key { code, down } = event else { panic!() };
            if !down {
                self.down.remove(&code);
                return;
            }
            self.down.insert(code);
            self.caps ^= code == CAPS_LOCK;
            let [shift, altgr] = [&SHIFTS[..], &[RIGHT_ALT]].map(|keys| keys.iter().any(|key| self.down.contains(key)));
            let Some(c) = keymap.guest(code, shift, altgr, self.caps) else { return };
            match self.dead.take() {
                Some(dead) => self.typed.extend(Keymap::composed(dead, c)),
                None if Keymap::composed(c, ' ').is_some() || ('\u{300}'..'\u{340}').contains(&c) => {
                    self.dead = Some(c);
                }
                None => self.typed.push(c),
            }
        }
    }

    #[test]
    fn every_character_of_every_layout_arrives_whatever_is_held() {
        for name in Keymap::names() {
            let keymap = Keymap::named(name).unwrap();
            for c in keymap.characters() {
                for (locks, held) in [(0, 0), (CAPS, 0), (0, 0xffe1), (CAPS, 0xffe2), (0, 0xfe03), (CAPS, 0xfe03)] {
                    let mut keyboard = KeysymKeyboard::new(keymap);
                    keyboard.set_locks(locks);
                    let mut guest = Guest { caps: locks != 0, ..Guest::default() };
                    if held != 0 {
                        keyboard.keysym(held, true);
                    }
                    keyboard.keysym(keysym_of(c), true);
                    keyboard.keysym(keysym_of(c), false);
                    keyboard.events.iter().for_each(|&event| guest.read(keymap, event));
                    let acute = |c: char| {
                        if c == '\u{b4}' {
                            '\''
                        } else if c == '\u{a8}' {
                            '"'
                        } else {
                            c
                        }
                    };
                    let typed: String = guest.typed.chars().map(acute).collect();
                    assert_eq!(typed, acute(c).to_string(), "{name}, locks {locks}, held {held:x}: {c}");
                    assert_eq!(guest.caps, locks != 0);
                }
            }
        }
    }

    proptest! {
        /// What clients do not send, and at any locks: keys pressed are released, and locks are put back.
        #[test]
        fn presses_and_lock_changes_are_balanced(
            name in proptest::sample::select(Keymap::names().collect::<Vec<_>>()),
            locks in 0u8..8,
            keys in proptest::collection::vec((prop_oneof![
                0x20u32..0x180, 0xfe50u32..0xfe60, 0xff80u32..0xffc0, 0xffe1u32..0xffec, Just(0xfe03), any::<u32>(),
            ], any::<bool>()), 0..100),
        ) {
            let mut keyboard = KeysymKeyboard::new(Keymap::named(name).unwrap());
            keyboard.set_locks(locks);
            for (keysym, down) in keys {
                keyboard.keysym(keysym, down);
            }
            keyboard.release_all();
            prop_assert!(keyboard.held.len() <= HELD_MAX);
            let mut down = std::collections::BTreeSet::new();
            let mut real = locks;
            for event in &keyboard.events {
                let InputEvent::Key { code, down: is_down } = *event else { panic!() };
                if is_down {
                    if down.insert(code) {
                        real ^= lock_bit(code);
                    }
                } else {
                    down.remove(&code);
                }
            }
            prop_assert!(down.is_empty(), "{down:x?} are still down");
            prop_assert_eq!(real, keyboard.locks);
        }
    }
}
