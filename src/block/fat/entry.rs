//! Directory entries of FAT, with the long names of VFAT (Microsoft, "FAT: General Overview of On-Disk Format", 1.03).

use crate::block::folder::ShortName;
use pcvm_devices::calendar::Calendar;

/// Bytes of a directory entry.
pub const ENTRY: usize = 32;
/// Attributes.
pub const READ_ONLY: u8 = 0x01;
pub const LABEL: u8 = 0x08;
pub const DIRECTORY: u8 = 0x10;
pub const ARCHIVE: u8 = 0x20;
/// The attributes of an entry that holds a part of a long name.
pub const LONG: u8 = 0x0f;
/// UTF-16 units of a long name in one entry, and where they are.
const UNITS: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// UTF-16 units of a long name.
const LONG_MAX: usize = 255;

/// Code page 437, the upper half: the characters of short names under a DOS of the USA.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
                     αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The main entry of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub short: ShortName,
    pub attributes: u8,
    /// Windows NT: bit 3 a base, bit 4 an extension in lower case.
    pub case: u8,
    pub time: u16,
    pub date: u16,
    pub cluster: u16,
    pub size: u32,
}

impl Entry {
    /// The 32 bytes.
    pub fn bytes(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(slot) = bytes.get_mut(at..at + value.len()) {
                slot.copy_from_slice(value);
            }
        };
        put(0, &self.short.0);
        put(11, &[self.attributes, self.case]);
        // Creation, last access, last modification.
        put(14, &self.time.to_le_bytes());
        put(16, &self.date.to_le_bytes());
        put(18, &self.date.to_le_bytes());
        put(22, &self.time.to_le_bytes());
        put(24, &self.date.to_le_bytes());
        put(26, &self.cluster.to_le_bytes());
        put(28, &self.size.to_le_bytes());
        bytes
    }

    /// The entry in 32 bytes.
    pub fn parse(bytes: &[u8; ENTRY]) -> Self {
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let mut short = ShortName(*bytes.first_chunk().unwrap_or(&[0; 11]));
        // E5h marks a free entry, so that 05h stands for a first character E5h.
        if let [first @ 0x05, ..] = &mut short.0 {
            *first = 0xe5;
        }
        Self {
            short,
            attributes: bytes[11],
            case: bytes[12],
            time: word(22),
            date: word(24),
            cluster: word(26),
            size: u32::from(word(28)) | u32::from(word(30)) << 16,
        }
    }

    /// The short name as text.
    pub fn name(&self) -> String {
        let text = |bytes: &[u8], lower: bool| {
            let text: String = bytes.iter().map(|&byte| character(byte)).collect();
            if lower { text.to_lowercase() } else { text }
        };
        let mut name = text(self.short.base(), self.case & 0x08 != 0);
        if !self.short.extension().is_empty() {
            name.push('.');
            name += &text(self.short.extension(), self.case & 0x10 != 0);
        }
        name
    }
}

fn character(byte: u8) -> char {
    match byte.checked_sub(0x80) {
        None => char::from(byte),
        Some(upper) => CP437.chars().nth(usize::from(upper)).unwrap_or('_'),
    }
}

/// Checksum of a short name, by which long names belong to it.
fn checksum(short: &ShortName) -> u8 {
    short.0.iter().fold(0u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte))
}

/// The entries for a long name, in the order in which they precede the main entry.
pub fn long_entries(name: &str, short: &ShortName) -> Vec<[u8; ENTRY]> {
    let units: Vec<u16> = name.encode_utf16().take(LONG_MAX).collect();
    let count = units.len().div_ceil(UNITS.len());
    let part = |n: usize| {
        let mut bytes = [0; ENTRY];
        bytes[0] = (n + 1) as u8 | if n + 1 == count { 0x40 } else { 0 };
        bytes[11] = LONG;
        bytes[13] = checksum(short);
        for (unit, at) in (n * UNITS.len()..).zip(UNITS) {
            // The name ends with 0000h, if there is room, and then FFFFh.
            let unit = if unit == units.len() { 0 } else { units.get(unit).copied().unwrap_or(0xffff) };
            [bytes[at], bytes[at + 1]] = unit.to_le_bytes();
        }
        bytes
    };
    (0..count).rev().map(part).collect()
}

/// Collects the parts of a long name.
#[derive(Debug, Default)]
pub struct LongName {
    units: Vec<u16>,
    sum: u8,
    /// The number of the part that must follow; 0 if the name is complete or there is none.
    next: u8,
}

impl LongName {
    /// Takes one part; a part that does not follow discards the name.
    pub fn part(&mut self, bytes: &[u8; ENTRY]) {
        let (number, sum) = (bytes[0] & 0x3f, bytes[13]);
        let first = bytes[0] & 0x40 != 0;
        if number == 0 || number > 20 || !first && (number != self.next || sum != self.sum) {
            *self = Self::default();
            return;
        }
        if first {
            self.units.clear();
        }
        let part: Vec<u16> = UNITS.iter().map(|&at| u16::from_le_bytes([bytes[at], bytes[at + 1]])).collect();
        self.units.splice(0..0, part);
        (self.sum, self.next) = (sum, number - 1);
    }

    /// The name for a main entry, if the parts belong to it. Empties the collection.
    pub fn take(&mut self, short: &ShortName) -> Option<String> {
        let Self { mut units, sum, next } = std::mem::take(self);
        if next != 0 || units.is_empty() || sum != checksum(short) {
            return None;
        }
        let end = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
        units.truncate(end.min(LONG_MAX));
        String::from_utf16(&units).ok().filter(|name| !name.is_empty())
    }
}

/// Time and date of an entry, which have no time zone: UTC. Times that they cannot have become the nearest.
pub fn stamp(seconds: i64) -> (u16, u16) {
    let first = Calendar { year: 1980, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
    let last = Calendar { year: 2107, month: 12, day: 31, hour: 23, minute: 59, second: 59 };
    let at = Calendar::from_seconds(seconds.clamp(first.seconds(), last.seconds()));
    let time = at.hour << 11 | at.minute << 5 | (at.second / 2);
    let date = (at.year - 1980) << 9 | at.month << 5 | at.day;
    (time as u16, date as u16)
}

/// Seconds since 1970 of a time and date; none if a field is out of range.
pub fn seconds(time: u16, date: u16) -> Option<i64> {
    let (time, date) = (i64::from(time), i64::from(date));
    let at = Calendar {
        year: 1980 + (date >> 9),
        month: date >> 5 & 15,
        day: date & 31,
        hour: time >> 11,
        minute: time >> 5 & 63,
        second: (time & 31) * 2,
    };
    (Calendar::from_seconds(at.seconds()) == at).then(|| at.seconds())
}
