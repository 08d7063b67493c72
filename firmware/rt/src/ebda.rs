//! Extended BIOS data area (EBDA): 1 KiB at the end of base memory (IBM PS/2 and PC BIOS Interface Technical Reference,
//! section 3, "Extended BIOS Data Area").
//!
//! An operating system may move the EBDA (FreeDOS does) and update 40:0Eh. So [`current`] looks up the documented
//! variables through 40:0Eh, and the BIOS's private variables are outside of the EBDA, at [`PRIVATE`].

use crate::far::{FarPtr, Field};
use crate::{Hw, bda};

/// Its segment after POST: base memory ends at 639 KiB.
pub const SEGMENT: u16 = 0x9fc0;
/// Its size in KiB.
pub const SIZE: u8 = 1;
/// Base memory in KiB.
pub const BASE_MEMORY: u16 = 640 - SIZE as u16;

/// The value of [`VIDEO_STACK`].
pub const VIDEO_STACK_MARK: u32 = u32::from_le_bytes(*b"vstk");

/// Segment of 1 KiB of private variables, in the firmware's data segment.
pub const PRIVATE: u16 = 0xe6c0;

/// The address at which a variable of the EBDA is now. Other addresses are returned unchanged.
pub fn current<H: Hw>(hw: &mut H, at: FarPtr) -> FarPtr {
    if at.segment != SEGMENT {
        return at;
    }
    match hw.read16(bda::EBDA.at) {
        0 => at,
        moved => FarPtr::new(moved, at.offset),
    }
}

macro_rules! fields {
    ($segment:expr; $($(#[$doc:meta])* $name:ident: $t:ty = $offset:expr;)*) => {$(
        $(#[$doc])*
        pub const $name: Field<$t> = Field::new($segment, $offset);
    )*};
}

fields! {
    SEGMENT;
    /// Size of the EBDA in KiB.
    LENGTH: u8 = 0x00;
    /// Far pointer to the pointing device driver's handler.
    POINTER_HANDLER: u32 = 0x22;
    /// Bits 0-2: index of the next byte of the packet.
    POINTER_FLAGS_1: u8 = 0x26;
    /// Bit 7: a handler is set. Bits 0-2: packet size minus 1.
    POINTER_FLAGS_2: u8 = 0x27;
    /// Bytes of the current packet: 8.
    POINTER_DATA: u8 = 0x28;
    /// [`VIDEO_STACK_MARK`]: the rest of the EBDA has the VGA BIOS's stacks (`vgabios/src/stack.rs`).
    VIDEO_STACK: u32 = 0x30;
    /// Busy bytes of the VGA BIOS's three stacks.
    VIDEO_BUSY: u8 = 0x34;
}

fields! {
    PRIVATE;
    /// Parameter table of hard disk 0: 16 bytes (INT 41h).
    DISK_0: u8 = 0x3d;
    /// Parameter table of hard disk 1: 16 bytes (INT 46h).
    DISK_1: u8 = 0x4d;
    /// Device parameter table extensions that INT 13h AH=48h points to: 16 bytes for each of 6 drives.
    DISK_EXTENSIONS: u8 = 0x100;
    /// Parameter tables of floppy drives A and B: 16 bytes each.
    FLOPPY_TABLES: u8 = 0x160;
    /// Sector buffer, 512 bytes: for sectors that the disk driver parses, or that it moves to memory above 1 MiB.
    SECTOR: u8 = 0x200;
}
