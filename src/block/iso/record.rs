//! Directory records, and numbers and dates as ISO 9660 stores them (ECMA-119, 7 and 9.1).

use pcvm_devices::calendar::Calendar;

/// Bytes of a logical sector and of a logical block.
pub const SECTOR: u64 = 2048;
/// File flag: the record is of a directory.
pub const DIRECTORY: u8 = 0x02;
/// File flag: another record has the file's next extent.
pub const NOT_FINAL: u8 = 0x80;
/// Bytes of a directory record before the identifier.
const FIXED: usize = 33;

/// Sectors of a file or directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The first.
    pub first: u32,
    /// Bytes.
    pub len: u32,
}

/// The bytes of an image from its first one.
#[derive(Debug, Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Appends zeros up to the byte offset `end`.
    pub fn fill_to(&mut self, end: u64) {
        debug_assert!(end >= self.len(), "{end} is before {}", self.len());
        self.bytes.resize(end.max(self.len()) as usize, 0);
    }

    /// A 16-bit number in both byte orders (7.2.3).
    pub fn both16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// A 32-bit number in both byte orders (7.3.3).
    pub fn both32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
}

/// Bytes of a record with an identifier and a system use area of these lengths. Even.
pub fn len(id: usize, system_use: usize) -> usize {
    (FIXED + id + (id + 1) % 2 + system_use).next_multiple_of(2)
}

/// Where a record of `len` bytes goes if `at` is free: records do not cross sectors (6.8.1.1).
pub fn place(at: u64, len: usize) -> u64 {
    if at % SECTOR + len as u64 > SECTOR { at.next_multiple_of(SECTOR) } else { at }
}

/// Appends a record.
pub fn write(out: &mut Writer, id: &[u8], extent: Extent, flags: u8, modified: i64, system_use: &[u8]) {
    let end = out.bytes.len() + len(id.len(), system_use.len());
    out.bytes.extend_from_slice(&[(end - out.bytes.len()) as u8, 0]);
    out.both32(extent.first);
    out.both32(extent.len);
    out.bytes.extend_from_slice(&date(modified));
    // Flags; no interleaving; volume sequence number 1.
    out.bytes.extend_from_slice(&[flags, 0, 0]);
    out.both16(1);
    out.bytes.push(id.len() as u8);
    out.bytes.extend_from_slice(id);
    out.bytes.resize(out.bytes.len() + (id.len() + 1) % 2, 0);
    out.bytes.extend_from_slice(system_use);
    out.bytes.resize(end, 0);
}

/// Date and time of a directory record in UTC (9.1.5). Dates that it cannot have become the nearest that it can.
pub fn date(seconds: i64) -> [u8; 7] {
    let first = Calendar { year: 1900, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
    let last = Calendar { year: 2155, month: 12, day: 31, hour: 23, minute: 59, second: 59 };
    let at = Calendar::from_seconds(seconds.clamp(first.seconds(), last.seconds()));
    [at.year - 1900, at.month, at.day, at.hour, at.minute, at.second, 0].map(|field| field as u8)
}

/// Date and time of a volume descriptor in UTC (8.4.26.1).
pub fn long_date(seconds: i64) -> [u8; 17] {
    let Calendar { year, month, day, hour, minute, second } = Calendar::from_seconds(seconds.clamp(0, 1 << 37));
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00\0");
    text.as_bytes().try_into().unwrap_or([b'0'; 17])
}
