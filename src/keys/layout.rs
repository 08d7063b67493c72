//! Keyboard layouts of the guest (`--keymap`): the keys and modifiers that type a character.
//!
//! A layout has four levels: no modifier, Shift, AltGr, AltGr with Shift. The tables come from xkeyboard-config; see
//! `generate-layouts`. A combining character in a row is a dead key. What Caps Lock does to a key differs between operating
//! systems for keys that are not letters; the tables have xkeyboard-config's word for it.

use super::layouts::{CODES, COMPOSED, LAYOUTS};

/// A place of a row that types no character.
const NONE: char = '\u{2400}';
/// The key left of Z on keyboards with 102 keys, and the first of the keys that most keyboards lack.
const EXTRA_KEYS: [u16; 4] = [0x56, 0x73, 0x7d, 0x7e];
/// Keypad keys among the rows' keys: they type characters only with Num Lock.
const KEYPAD: [u16; 2] = [0x53, 0x7e];

/// The rows of a layout: the character of each key of [`CODES`].
#[derive(Debug)]
pub(super) struct Layout {
    /// The value of `--keymap`.
    pub name: &'static str,
    /// What a person calls it.
    pub title: &'static str,
    /// No modifier, Shift, AltGr, AltGr with Shift; an empty row has no characters.
    pub levels: [&'static str; 4],
    /// What Caps Lock does without and with AltGr: `-` nothing, `^` the same as Shift, `!` something else.
    pub caps: [&'static str; 2],
}

/// What Caps Lock does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapsLock {
    /// Nothing.
    Ignored,
    /// The same as Shift; both together do nothing.
    Shifts,
    /// Something else than Shift, such as a capital letter on a key that types a digit with Shift.
    Other,
}

/// A key and the modifiers with which it types a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stroke {
    /// The key's code.
    pub code: u16,
    /// Whether it needs Shift; `None` if it types the same with and without.
    pub shift: Option<bool>,
    /// Whether it needs AltGr.
    pub altgr: bool,
    /// What Caps Lock does to it.
    pub caps: CapsLock,
}

/// The strokes that type a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strokes {
    /// A dead key before it.
    pub dead: Option<Stroke>,
    /// The last key.
    pub key: Stroke,
}

/// A keyboard layout that a guest is set to.
#[derive(Clone, Copy)]
pub struct Keymap(&'static Layout);

impl Default for Keymap {
    /// English (US).
    fn default() -> Self {
        Self::named("en-us").unwrap_or(Self(&LAYOUTS[0]))
    }
}

impl PartialEq for Keymap {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Keymap {}

impl std::fmt::Debug for Keymap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

/// Spacing characters that a dead key types when the space bar follows.
const SPACING: [(char, char); 15] = [
    ('`', '\u{300}'),
    ('\u{b4}', '\u{301}'),
    ('\'', '\u{301}'),
    ('^', '\u{302}'),
    ('~', '\u{303}'),
    ('\u{af}', '\u{304}'),
    ('\u{2d8}', '\u{306}'),
    ('\u{2d9}', '\u{307}'),
    ('\u{a8}', '\u{308}'),
    ('"', '\u{308}'),
    ('\u{2da}', '\u{30a}'),
    ('\u{2dd}', '\u{30b}'),
    ('\u{2c7}', '\u{30c}'),
    ('\u{b8}', '\u{327}'),
    ('\u{2db}', '\u{328}'),
];

impl Keymap {
    /// The layout of this name: QEMU's names, and `us`.
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "us" { "en-us" } else { name };
        LAYOUTS.iter().find(|layout| layout.name == name).map(Self)
    }

    /// All names, in alphabetical order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        LAYOUTS.iter().map(|layout| layout.name)
    }

    /// The layout's name.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// What a person calls the layout, such as `German (Switzerland)`.
    pub fn title(self) -> &'static str {
        self.0.title
    }

    /// The character of a key at a level.
    fn at(self, index: usize, level: usize) -> Option<char> {
        self.0.levels.get(level)?.chars().nth(index).filter(|&c| c != NONE)
    }

    fn stroke(self, index: usize, level: usize) -> Stroke {
        let same = self.at(index, level) == self.at(index, level ^ 1);
        let altgr = level >= 2;
        let caps = self.0.caps.get(usize::from(altgr)).and_then(|row| row.as_bytes().get(index));
        Stroke {
            code: CODES[index],
            shift: (!same).then_some(level & 1 != 0),
            altgr,
            caps: match caps {
                Some(b'^') => CapsLock::Shifts,
                Some(b'!') => CapsLock::Other,
                _ => CapsLock::Ignored,
            },
        }
    }

    /// The key that types `c` by itself. The levels without AltGr come first, then the keys that every keyboard has.
    fn direct(self, c: char) -> Option<Stroke> {
        let is_extra = |index: usize| EXTRA_KEYS.contains(&CODES[index]);
        let order = [(false, 0), (false, 1), (true, 0), (true, 1), (false, 2), (false, 3), (true, 2), (true, 3)];
        order.into_iter().find_map(|(extra, level)| {
            let row = self.0.levels.get(level)?.chars().enumerate();
            let mut found = row.filter(|&(index, at)| at == c && c != NONE && is_extra(index) == extra);
            found.find(|&(index, _)| !KEYPAD.contains(&CODES[index])).map(|(index, _)| self.stroke(index, level))
        })
    }

    /// The strokes that type a character, or a dead key if `c` is a combining character; `None` if the layout does not
    /// have it.
    pub fn strokes(self, c: char) -> Option<Strokes> {
        let direct = self.direct(c);
        // Where AltGr has an accent that is a dead key too, operating systems differ in what AltGr gives.
        if let Some(key) = direct.filter(|stroke| !stroke.altgr) {
            return Some(Strokes { dead: None, key });
        }
        let spacing = SPACING.iter().filter(|(spacing, _)| *spacing == c).find_map(|&(_, accent)| {
            let dead = self.direct(accent).filter(|dead| !dead.altgr || direct.is_none())?;
            Some(Strokes { dead: Some(dead), key: self.direct(' ')? })
        });
        if spacing.is_some() {
            return spacing;
        }
        if let Some(key) = direct {
            return Some(Strokes { dead: None, key });
        }
        COMPOSED.iter().find_map(|&(accent, bases, composed)| {
            let (base, _) = bases.chars().zip(composed.chars()).find(|&(_, composed)| composed == c)?;
            Some(Strokes { dead: Some(self.direct(accent)?), key: self.direct(base)? })
        })
    }

    /// As [`Self::strokes`]. A layout without Latin letters also has those of the US layout, where they are while the guest
    /// is switched to it.
    pub fn strokes_or_latin(self, c: char) -> Option<Strokes> {
        let latin = || if self.direct('a').is_none() { Self::default().strokes(c) } else { None };
        self.strokes(c).or_else(latin)
    }

    /// The keypad key for a decimal point or comma: keypads have one of both, Brazilian ones two keys.
    pub(super) fn keypad_decimal(self, c: char) -> u16 {
        let types = |&code: &u16| CODES.iter().position(|known| *known == code).and_then(|n| self.at(n, 0)) == Some(c);
        KEYPAD.into_iter().find(types).unwrap_or(KEYPAD[0])
    }
}

#[cfg(test)]
impl Keymap {
    /// What a guest with this layout makes of a key: a character, or a combining character for a dead key.
    pub(super) fn guest(self, code: u16, shift: bool, altgr: bool, caps: bool) -> Option<char> {
        let index = CODES.iter().position(|known| *known == code)?;
        let altgr = altgr && self.0.levels[2..].iter().any(|row| row.chars().nth(index).is_some_and(|c| c != NONE));
        let level = usize::from(altgr) * 2;
        let swaps = match self.stroke(index, level).caps {
            CapsLock::Shifts => caps,
            CapsLock::Ignored => false,
            CapsLock::Other if caps => return Some('\u{fffd}'),
            CapsLock::Other => false,
        };
        self.at(index, level + usize::from(shift ^ swaps))
    }

    /// Every character that a layout types or composes.
    pub(super) fn characters(self) -> Vec<char> {
        let composed = COMPOSED.iter().flat_map(|(_, _, composed)| composed.chars());
        let rows = self.0.levels.iter().flat_map(|row| row.chars());
        let spacing = SPACING.iter().map(|(c, _)| *c);
        let all: std::collections::BTreeSet<char> = composed.chain(rows).chain(spacing).collect();
        let is_dead = |c: &char| ('\u{300}'..'\u{340}').contains(c);
        all.into_iter().filter(|c| !is_dead(c) && self.strokes(*c).is_some()).collect()
    }

    /// What a guest makes of a dead key and the character after it.
    pub(super) fn composed(dead: char, base: char) -> Option<char> {
        if base == ' ' {
            return SPACING.iter().find(|(_, accent)| *accent == dead).map(|(c, _)| *c);
        }
        let (_, bases, composed) = COMPOSED.iter().find(|(accent, _, _)| *accent == dead)?;
        bases.chars().zip(composed.chars()).find(|(c, _)| *c == base).map(|(_, c)| c)
    }
}

/// Whether a key types characters, so that the layout decides which. The keypad does not count: it has the same everywhere.
pub fn has_characters(code: u16) -> bool {
    CODES.contains(&code) && !KEYPAD.contains(&code)
}

/// A dead key's accent as a character of its own that every layout has, or nearly.
pub(super) fn spacing_of(accent: char) -> Option<char> {
    SPACING.iter().rev().filter(|(c, _)| c.is_ascii()).find(|(_, dead)| *dead == accent).map(|(c, _)| *c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keymap(name: &str) -> Keymap {
        Keymap::named(name).unwrap_or_else(|| panic!("{name}"))
    }

    /// `code`, with `s` for Shift and `g` for AltGr; a dead key before it.
    fn text(strokes: Option<Strokes>) -> String {
        let one = |stroke: Stroke| {
            let (shift, altgr) = (stroke.shift == Some(true), stroke.altgr);
            format!("{:02x}{}{}", stroke.code, if shift { "s" } else { "" }, if altgr { "g" } else { "" })
        };
        strokes.map_or("none".to_owned(), |Strokes { dead, key }| {
            dead.map_or(String::new(), |dead| one(dead) + " ") + &one(key)
        })
    }

    #[test]
    fn every_layout_is_whole_and_has_the_characters_of_its_language() {
        let names: Vec<_> = Keymap::names().collect();
        assert!(names.is_sorted());
        let of_qemu = "ar bepo cz da de de-ch en-gb en-us es et fi fo fr fr-be fr-ca fr-ch hr hu is it ja lt lv mk nl no pl \
                       pt pt-br ru sl sv th tr";
        assert!(of_qemu.split(' ').all(|name| names.contains(&name)));
        for layout in LAYOUTS {
            for row in layout.levels.iter().chain(&layout.caps).filter(|row| !row.is_empty()) {
                assert_eq!(row.chars().count(), CODES.len(), "{}", layout.name);
            }
            let digits_and_space = "0123456789 ".chars().filter(|_| layout.name != "th");
            assert!(
                digits_and_space.map(|c| Keymap(layout).strokes(c)).all(|found| found.is_some()),
                "{}",
                layout.name
            );
        }
        for (name, sample) in [
            ("de", "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg @€{}[]\\|~^`´<>"),
            ("fr", "Portez ce vieux whisky au juge blond qui fume, éèçàùêëïôæ @#{}[]|\\~^€"),
            ("es", "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío, añoraba ¿¡ÁÉÍÓÚ@#{}[]\\|"),
            ("it", "Quel vituperabile xenofobo zelante assaggia il whisky, perché àèìòù @#[]{}"),
            ("pt", "à noite, vovô Kowalsky vê o ímã cair no pé do pingüim ãõç ÃÕÇ"),
            ("pt-br", "à noite, vovô Kowalsky vê o ímã cair no pé do pingüim ãõç /?|\\"),
            ("sv", "Flygande bäckasiner söka hwila på mjuka tuvor Å@£${[]}\\"),
            ("da", "Høj bly gom vandt fræk sexquiz på wc Å@"),
            ("no", "Vår sære Zulu fra badeøya spilte jo whist og quickstep i min taxi"),
            ("fi", "Törkylempijävongahdus Åå@"),
            ("pl", "Pchnąć w tę łódź jeża lub ośm skrzyń fig ŻŹĆŚĄĘÓŁŃ"),
            ("cz", "Příliš žluťoučký kůň úpěl ďábelské ódy ŽŘŇŤÝ @#&"),
            ("sk", "Kŕdeľ šťastných ďatľov učí pri ústí Váhu mĺkveho koňa obhrýzať kôru"),
            ("hu", "Árvíztűrő tükörfúrógép ÍŰŐ@"),
            ("hr", "Gojazni đačić s biciklom drži hmelj i finu vatu u džepu nošnje"),
            ("sl", "V kožuščku hudobnega fanta stopiclja mizar"),
            ("tr", "Pijamalı hasta yağız şoföre çabucak güvendi İIĞÜŞÖÇ"),
            ("is", "Kæmi ný öxi hér, ykist þjófum nú bæði víl og ádrepa"),
            ("lt", "Įlinkdama fechtuotojo špaga sublykčiojusi pragręžė apvalų arbūzą"),
            ("lv", "Glāžšķūņa rūķīši dzērumā čiepj Baha koncertflīģeļu vākus"),
            ("et", "Põdur Zagrebi tšellomängija-följetonist Ciqo külmetas kehvas garaažis"),
            ("ro", "Muzicologă în bej vând whisky și tequila, preț fix țȚșȘ"),
            ("ru", "Съешь же ещё этих мягких французских булок, да выпей чаю Ё№"),
            ("uk", "Щастям б'єш жук їх глицю в фон й ґедзь пріч"),
            ("mk", "Ѕидарски пејзаж: шугав билмез со чудење џвака ќофте"),
            ("el", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία ΆΈ"),
            ("ja", "The quick brown fox_jumps\\over|the@lazy^dog~`"),
            ("nl", "Pa's wijze lynx bezag vroom het fikse aquaduct éëï€"),
            ("bepo", "Voyez le brick géant que j'examine près du wharf œæÉÈÀÇ@"),
            ("en-gb", "The quick brown fox £€@#~\\|\"'`"),
        ] {
            for c in sample.chars() {
                assert!(keymap(name).strokes(c).is_some(), "{name} has no {c:?}");
            }
        }
    }

    #[test]
    fn characters_have_the_keys_of_their_layouts() {
        for (name, c, expect) in [
            ("en-us", 'a', "1e"),
            ("en-us", 'A', "1es"),
            ("en-us", '<', "33s"),
            ("en-us", '\\', "2b"),
            ("en-us", ' ', "39"),
            ("en-us", 'é', "none"),
            ("de", 'z', "15"),
            ("de", 'Y', "2cs"),
            ("de", 'ß', "0c"),
            ("de", '@', "10g"),
            ("de", '<', "56"),
            ("de", '|', "56g"),
            ("de", '\\', "0cg"),
            ("de", '^', "29 39"),
            ("de", '`', "0ds 39"),
            ("de", '~', "1bg"),
            ("de", 'é', "0d 12"),
            ("de", 'Ê', "29 12s"),
            ("de", '\u{301}', "0d"),
            ("de", 'я', "none"),
            ("fr", '1', "02s"),
            ("fr", 'a', "10"),
            ("fr", '.', "33s"),
            ("fr", 'ê', "1a 12"),
            ("fr", '@', "0bg"),
            ("us-intl", '\'', "28 39"),
            ("us-intl", 'ñ', "31g"),
            ("pl", 'ą', "1eg"),
            ("pl", 'Ą', "1esg"),
            ("ja", '_', "73s"),
            ("ja", '\\', "73"),
            ("ru", 'ф', "1e"),
            ("ru", 'a', "none"),
        ] {
            assert_eq!(text(keymap(name).strokes(c)), expect, "{name} {c}");
        }
        assert_eq!(text(keymap("ru").strokes_or_latin('a')), "1e");
        assert_eq!(text(keymap("de").strokes_or_latin('я')), "none");
        assert_eq!(keymap("us"), Keymap::default());
    }

    #[test]
    fn the_us_layout_is_that_of_the_table_of_names() {
        for c in ' '..='~' {
            let (code, shift) = crate::keys::by_char(c).unwrap();
            let stroke = Keymap::default().strokes(c).unwrap();
            assert_eq!((stroke.dead, stroke.key.code, stroke.key.altgr), (None, code, false), "{c}");
            assert_eq!(stroke.key.shift, (c != ' ').then_some(shift), "{c}");
            let shifts = if c.is_ascii_alphabetic() { CapsLock::Shifts } else { CapsLock::Ignored };
            assert_eq!(stroke.key.caps, shifts, "{c}");
        }
    }

    #[test]
    fn keypads_have_a_point_or_a_comma() {
        for (name, point, comma) in [("en-us", 0x53, 0x53), ("de", 0x53, 0x53), ("pt-br", 0x7e, 0x53)] {
            assert_eq!((keymap(name).keypad_decimal('.'), keymap(name).keypad_decimal(',')), (point, comma), "{name}");
        }
    }
}
