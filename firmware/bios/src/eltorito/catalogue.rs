//! El Torito boot catalogue ("El Torito" Bootable CD-ROM Format Specification 1.0, section 2): records of 32 bytes.

/// Bytes per record.
pub const RECORD: usize = 32;

/// Boot media type (section 2.2): what the BIOS emulates with the boot image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Media {
    /// No emulation: the image is loaded and run.
    #[default]
    NoEmulation,
    /// A floppy of 80 cylinders, 2 heads and 15 sectors.
    Floppy1200,
    /// As above, with 18 sectors.
    Floppy1440,
    /// As above, with 36 sectors.
    Floppy2880,
    /// A hard disk whose geometry is in the image's partition table.
    HardDisk,
}

impl Media {
    /// The type with this number, in the low four bits of the boot media type.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number & 0x0f {
            0 => Self::NoEmulation,
            1 => Self::Floppy1200,
            2 => Self::Floppy1440,
            3 => Self::Floppy2880,
            4 => Self::HardDisk,
            _ => return None,
        })
    }

    /// The type's number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Sectors per track of a floppy type.
    pub const fn floppy_sectors(self) -> Option<u8> {
        match self {
            Self::Floppy1200 => Some(15),
            Self::Floppy1440 => Some(18),
            Self::Floppy2880 => Some(36),
            Self::NoEmulation | Self::HardDisk => None,
        }
    }

    /// The text in the boot menu.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoEmulation => "no emulation",
            Self::Floppy1200 => "1.2 MB floppy",
            Self::Floppy1440 => "1.44 MB floppy",
            Self::Floppy2880 => "2.88 MB floppy",
            Self::HardDisk => "hard disk",
        }
    }
}

/// A bootable catalogue entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Boot media type.
    pub media: Media,
    /// Load segment; 0 means 07C0h.
    pub segment: u16,
    /// Number of 512-byte sectors to load.
    pub count: u16,
    /// First CD block of the image.
    pub lba: u32,
}

/// Why a catalogue is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogueError {
    /// The validation entry's header ID or key bytes are wrong.
    Validation,
    /// The validation entry's checksum is wrong.
    Checksum,
}

impl CatalogueError {
    /// The error message.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Validation => "damaged boot catalogue (validation entry)",
            Self::Checksum => "damaged boot catalogue (checksum)",
        }
    }
}

/// The result of parsing one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParsedRecord {
    /// Not bootable; more records follow.
    Skip,
    /// A bootable entry; more records may follow.
    Entry(Entry),
    /// The end of the catalogue.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParserState {
    Validation,
    Initial,
    Header,
    /// This many section entries are left; another section header follows unless this is the final section.
    Entries(u16, IsFinal),
    /// Extension records of a section entry, then as above.
    Extension(u16, IsFinal),
    Done,
}
type IsFinal = bool;

/// Parses a catalogue record by record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parser {
    state: ParserState,
    /// Platform ID that the current records are for.
    platform: u8,
}

const X86: u8 = 0;
const BOOTABLE: u8 = 0x88;
const HEADER: u8 = 0x90;
const FINAL_HEADER: u8 = 0x91;
/// Bit 5 of a section entry's media type or of an extension record's flags: an extension record follows.
const CONTINUES: u8 = 0x20;

const fn word(record: &[u8; RECORD], at: usize) -> u16 {
    u16::from_le_bytes([record[at], record[at + 1]])
}

impl Parser {
    /// A parser at the start of a catalogue.
    pub const fn new() -> Self {
        Self { state: ParserState::Validation, platform: X86 }
    }

    /// Parses the next record.
    pub fn record(&mut self, record: &[u8; RECORD]) -> Result<ParsedRecord, CatalogueError> {
        Ok(match self.state {
            ParserState::Validation => {
                self.platform = validate(record)?;
                self.state = ParserState::Initial;
                ParsedRecord::Skip
            }
            ParserState::Initial => {
                self.state = ParserState::Header;
                self.entry(record)
            }
            ParserState::Header => match record[0] {
                kind @ (HEADER | FINAL_HEADER) => {
                    self.platform = record[1];
                    self.section(word(record, 2), kind == FINAL_HEADER);
                    ParsedRecord::Skip
                }
                _ => ParsedRecord::End,
            },
            ParserState::Entries(left, last) => {
                let found = self.entry(record);
                let left = left.saturating_sub(1);
                if record[1] & CONTINUES != 0 {
                    self.state = ParserState::Extension(left, last);
                } else {
                    self.section(left, last);
                }
                found
            }
            ParserState::Extension(left, last) => {
                if record[1] & CONTINUES == 0 {
                    self.section(left, last);
                }
                ParsedRecord::Skip
            }
            ParserState::Done => ParsedRecord::End,
        })
    }

    /// Sets the next state when `left` entries of a section are left.
    fn section(&mut self, left: u16, last: IsFinal) {
        self.state = match (left, last) {
            (0, true) => ParserState::Done,
            (0, false) => ParserState::Header,
            _ => ParserState::Entries(left, last),
        };
    }

    fn entry(&self, record: &[u8; RECORD]) -> ParsedRecord {
        let Some(media) = Media::from_number(record[1]).filter(|_| record[0] == BOOTABLE && self.platform == X86)
        else {
            return ParsedRecord::Skip;
        };
        let lba = u32::from_le_bytes([record[8], record[9], record[10], record[11]]);
        ParsedRecord::Entry(Entry { media, segment: word(record, 2), count: word(record, 6), lba })
    }
}

/// Checks the validation entry and returns its platform ID.
fn validate(record: &[u8; RECORD]) -> Result<u8, CatalogueError> {
    if record[0] != 1 || record[0x1e] != 0x55 || record[0x1f] != 0xaa {
        return Err(CatalogueError::Validation);
    }
    let sum = (0..RECORD / 2).fold(0u16, |sum, n| sum.wrapping_add(word(record, n * 2)));
    if sum != 0 { Err(CatalogueError::Checksum) } else { Ok(record[1]) }
}
