//! Short names, 8 characters and an extension of 3, for files with other names: unique in their directory.

use std::collections::{HashMap, HashSet};

/// Base (8 characters) and extension (3), each padded with spaces. In this form the names of a directory sort as ISO 9660
/// sorts them (9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortName(pub [u8; 11]);

impl ShortName {
    /// The base without its padding.
    pub fn base(&self) -> &[u8] {
        trim(self.0.first_chunk::<8>().map_or(&[], |base| base))
    }

    /// The extension without its padding.
    pub fn extension(&self) -> &[u8] {
        trim(self.0.last_chunk::<3>().map_or(&[], |extension| extension))
    }
}

fn trim(padded: &[u8]) -> &[u8] {
    padded.trim_ascii_end()
}

/// A short name that may be in use already.
struct Candidate {
    short: ShortName,
    /// Bytes of its base without the padding.
    base_len: usize,
    /// It is not the entry's name.
    changed: bool,
}

/// The short names of one directory.
#[derive(Debug)]
pub struct ShortNames {
    /// FAT's characters and `~` before numbers, rather than ISO 9660's d-characters.
    fat: bool,
    used: HashSet<ShortName>,
    /// The next number to try behind a shortened base with an extension. It keeps the search for a free number short.
    next: HashMap<ShortName, u32>,
}

impl ShortNames {
    /// Names of d-characters: A to Z, 0 to 9 and underscore (ECMA-119, 7.4.1).
    pub fn iso() -> Self {
        Self { fat: false, used: HashSet::new(), next: HashMap::new() }
    }

    /// Names of a FAT directory (ECMA-107, 11.2, and the punctuation that DOS permits).
    pub fn fat() -> Self {
        Self { fat: true, ..Self::iso() }
    }

    /// The short names for all entries of the directory: a name and whether it is a directory. The second value is false
    /// where the short name is the name itself, but for the case of its letters. Such entries have precedence over those
    /// that must be changed.
    ///
    /// None if there are more similar names than numbers.
    pub fn assign<'a>(mut self, entries: impl Iterator<Item = (&'a [u8], bool)>) -> Option<Vec<(ShortName, bool)>> {
        let candidates: Vec<_> = entries.map(|(name, is_dir)| self.candidate(name, is_dir)).collect();
        let mut assigned: Vec<Option<(ShortName, bool)>> = vec![None; candidates.len()];
        for changed in [false, true] {
            for (slot, candidate) in
                assigned.iter_mut().zip(&candidates).filter(|(slot, c)| slot.is_none() && c.changed == changed)
            {
                // FAT numbers each changed name, so that a name without a number is one that was not changed.
                let free = !(changed && self.fat) && self.used.insert(candidate.short);
                *slot = if free { Some((candidate.short, changed)) } else { Some((self.number(candidate)?, true)) };
            }
        }
        assigned.into_iter().collect()
    }

    fn candidate(&self, name: &[u8], is_dir: bool) -> Candidate {
        let text = String::from_utf8_lossy(name);
        let stripped = text.trim_start_matches('.');
        // An ISO 9660 directory of level 1 has no extension.
        let split = if is_dir && !self.fat { None } else { stripped.rsplit_once('.') };
        let (base, extension) = split.unwrap_or((stripped, ""));
        let (mut short, mut base_len) = ([b' '; 11], 0);
        let mut changed = stripped.len() != text.len() || text.ends_with('.');
        for (part, from, to) in [(extension, 8, 11), (base, 0, 8)] {
            let Some(slots) = short.get_mut(from..to) else { continue };
            let (lossy, len) = self.fill(slots, part);
            changed |= lossy;
            base_len = len;
        }
        if base_len == 0 {
            if let Some(first) = short.first_mut() {
                *first = b'_';
            }
            (base_len, changed) = (1, true);
        }
        let short = ShortName(short);
        // DOS opens a device for these names.
        changed |= self.fat && is_device(short.base());
        Candidate { short, base_len, changed }
    }

    /// A free name with a number at the end of its base.
    fn number(&mut self, candidate: &Candidate) -> Option<ShortName> {
        for digits in 1..=6 {
            let tail = digits + usize::from(self.fat);
            let at = candidate.base_len.min(8 - tail);
            let mut stem = candidate.short;
            stem.0.get_mut(at..8)?.fill(b' ');
            let first = 10u32.pow(digits as u32 - 1);
            let mut number = self.next.get(&stem).copied().unwrap_or(1).max(first);
            while number < first * 10 {
                let mut numbered = stem;
                let text = if self.fat { format!("~{number}") } else { number.to_string() };
                numbered.0.get_mut(at..at + tail)?.copy_from_slice(text.as_bytes());
                number += 1;
                if self.used.insert(numbered) {
                    self.next.insert(stem, number);
                    return Some(numbered);
                }
            }
            self.next.insert(stem, number);
        }
        None
    }

    /// Copies what fits of a part of a name, with the permitted characters. Whether something was lost, and the length.
    fn fill(&self, to: &mut [u8], part: &str) -> (bool, usize) {
        let (mut lossy, mut len) = (false, 0);
        let mut free = to.iter_mut();
        for character in part.chars() {
            // DOS programs cannot type a name with a space or a second dot; both are left out, as Windows does.
            if self.fat && matches!(character, ' ' | '.') {
                lossy = true;
                continue;
            }
            let Some(slot) = free.next() else { return (true, len) };
            let upper = character.to_ascii_uppercase();
            let permitted = upper.is_ascii_uppercase()
                || upper.is_ascii_digit()
                || upper == '_'
                || self.fat && "!#$%&'()-@^`{}~".contains(upper);
            lossy |= !permitted;
            *slot = if permitted { upper as u8 } else { b'_' };
            len += 1;
        }
        (lossy, len)
    }
}

/// Whether DOS has a device driver of this name.
fn is_device(base: &[u8]) -> bool {
    matches!(
        base,
        b"CON"
            | b"PRN"
            | b"AUX"
            | b"NUL"
            | b"CLOCK$"
            | [b'C', b'O', b'M', b'1'..=b'9']
            | [b'L', b'P', b'T', b'1'..=b'9']
    )
}
