//! INT 13h status codes in AH (IBM PS/2 and PC BIOS Interface Technical Reference, "Interrupt 13h"; Enhanced Disk Drive
//! Specification 3.0, table 1).

/// Status of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status(pub u8);

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:expr, $text:expr;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// The text for the boot console and the debug console.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

statuses! {
    /// Success.
    OK = 0x00, "no error";
    /// Invalid function, or a parameter out of range.
    BAD_COMMAND = 0x01, "not possible";
    /// The sector's address mark was not found.
    BAD_ADDRESS_MARK = 0x02, "read error";
    /// The medium or the drive is write-protected.
    WRITE_PROTECTED = 0x03, "write-protected";
    /// The sector does not exist.
    NOT_FOUND = 0x04, "sector not found";
    /// The disk has changed, or may have changed.
    CHANGED = 0x06, "disk changed";
    /// The drive's parameters are not known.
    NO_PARAMETERS = 0x07, "no such drive";
    /// DMA overrun.
    OVERRUN = 0x08, "DMA overrun";
    /// The buffer cannot be addressed, or crosses a 64 KiB boundary where DMA is used.
    BOUNDARY = 0x09, "buffer not usable";
    /// The sector is marked bad.
    BAD_SECTOR = 0x0a, "bad sector";
    /// The type of medium cannot be determined, or is not supported.
    NO_MEDIA_TYPE = 0x0c, "unknown medium";
    /// Data cannot be read or corrected.
    READ_ERROR = 0x10, "read error";
    /// The controller failed.
    CONTROLLER = 0x20, "controller failure";
    /// There is no medium in the drive.
    NO_MEDIUM = 0x31, "no medium";
    /// The drive could not seek.
    SEEK = 0x40, "seek error";
    /// Time-out.
    TIMEOUT = 0x80, "no answer";
    /// The drive is not ready.
    NOT_READY = 0xaa, "not ready";
    /// The volume is not locked in the drive.
    NOT_LOCKED = 0xb0, "not locked";
    /// The volume is locked in the drive.
    LOCKED = 0xb1, "locked";
    /// The medium is not removable.
    NOT_REMOVABLE = 0xb2, "not removable";
    /// The lock count is at its limit.
    LOCK_COUNT = 0xb4, "locked too often";
    /// An error without a code of its own, such as a drive that does not request the expected data transfer.
    UNDEFINED = 0xbb, "no data";
    /// Write fault.
    WRITE_FAULT = 0xcc, "write error";
}

/// A value, or the status of a failed operation.
pub type Result<T> = core::result::Result<T, Status>;
