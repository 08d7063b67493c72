//! Commands of the 82077AA (data sheet 290166, table 5-1): opcodes, option bits and lengths.

/// Option bit of data commands: multi-track, continue on head 1.
pub const MT: u8 = 0x80;
/// Option bit of data commands: MFM, else FM.
pub const MFM: u8 = 0x40;
/// Option bit of data commands: skip sectors with the other data address mark.
pub const SK: u8 = 0x20;
/// Option bit of RELATIVE SEEK: step towards higher cylinders.
pub const DIRECTION: u8 = 0x40;
/// Option bit of LOCK.
pub const LOCK: u8 = 0x80;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Opcode {
    ReadTrack,
    Specify,
    SenseDriveStatus,
    Write,
    Read,
    Recalibrate,
    SenseInterruptStatus,
    WriteDeleted,
    ReadId,
    ReadDeleted,
    Format,
    DumpReg,
    Seek,
    Version,
    ScanEqual,
    Perpendicular,
    Configure,
    Lock,
    Verify,
    ScanLowOrEqual,
    ScanHighOrEqual,
    RelativeSeek,
    Invalid,
}

/// Bits that identify an opcode, their value, the command, and its length in bytes.
const COMMANDS: [(u8, u8, Opcode, usize); 22] = [
    (0xbf, 0x02, Opcode::ReadTrack, 9),
    (0xff, 0x03, Opcode::Specify, 3),
    (0xff, 0x04, Opcode::SenseDriveStatus, 2),
    (0x3f, 0x05, Opcode::Write, 9),
    (0x1f, 0x06, Opcode::Read, 9),
    (0xff, 0x07, Opcode::Recalibrate, 2),
    (0xff, 0x08, Opcode::SenseInterruptStatus, 1),
    (0x3f, 0x09, Opcode::WriteDeleted, 9),
    (0xbf, 0x0a, Opcode::ReadId, 2),
    (0x1f, 0x0c, Opcode::ReadDeleted, 9),
    (0xbf, 0x0d, Opcode::Format, 6),
    (0xff, 0x0e, Opcode::DumpReg, 1),
    (0xff, 0x0f, Opcode::Seek, 3),
    (0xff, 0x10, Opcode::Version, 1),
    (0x1f, 0x11, Opcode::ScanEqual, 9),
    (0xff, 0x12, Opcode::Perpendicular, 2),
    (0xff, 0x13, Opcode::Configure, 4),
    (0x7f, 0x14, Opcode::Lock, 1),
    (0x1f, 0x16, Opcode::Verify, 9),
    (0x1f, 0x19, Opcode::ScanLowOrEqual, 9),
    (0x1f, 0x1d, Opcode::ScanHighOrEqual, 9),
    (0xbf, 0x8f, Opcode::RelativeSeek, 3),
];

/// The command of a first byte, and the bytes of its command phase. Anything else is an invalid command of one byte; among
/// those are the 82078's (PART ID, OPTION, SAVE, RESTORE, POWERDOWN MODE, DRIVE SPECIFICATION, FORMAT AND WRITE).
pub fn decode(first: u8) -> (Opcode, usize) {
    let known = COMMANDS.iter().find(|(mask, value, ..)| first & mask == *value);
    known.map_or((Opcode::Invalid, 1), |&(_, _, opcode, len)| (opcode, len))
}

impl Opcode {
    /// Whether the command has an execution phase that ends with a result phase and an interrupt.
    pub fn has_execution(self) -> bool {
        matches!(
            self,
            Self::ReadTrack
                | Self::Write
                | Self::Read
                | Self::WriteDeleted
                | Self::ReadId
                | Self::ReadDeleted
                | Self::Format
                | Self::ScanEqual
                | Self::Verify
                | Self::ScanLowOrEqual
                | Self::ScanHighOrEqual
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_means_two_commands() {
        for first in 0..=255 {
            let matching = COMMANDS.iter().filter(|(mask, value, ..)| first & mask == *value).count();
            assert!(matching <= 1, "{first:02x}");
        }
    }

    #[test]
    fn the_commands_of_the_82078_are_invalid() {
        for first in [0x18, 0x2e, 0x33, 0x17, 0x4e, 0x8e, 0xcd, 0x00, 0xff, 0x87, 0x48] {
            let (opcode, len) = decode(first);
            // FORMAT AND WRITE (CDh) differs from FORMAT in the MT bit.
            assert_eq!((opcode, len), (Opcode::Invalid, 1), "{first:02x}");
        }
    }
}
