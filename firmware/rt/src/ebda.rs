//! The extended BIOS data area: 1 KiB at the end of base memory (IBM PS/2 and PC BIOS Interface Technical Reference,
//! section 3, "Extended BIOS Data Area").

use crate::far::Field;

/// Where it is: base memory ends at 639 KiB.
pub const SEGMENT: u16 = 0x9fc0;
/// KiB of it.
pub const SIZE: u8 = 1;
/// KiB of base memory.
pub const BASE_MEMORY: u16 = 640 - SIZE as u16;

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $t:ty = $offset:expr;)*) => {$(
        $(#[$doc])*
        pub const $name: Field<$t> = Field::new(SEGMENT, $offset);
    )*};
}

fields! {
    /// Its size in KiB.
    LENGTH: u8 = 0x00;
    /// The pointing device driver's far procedure.
    POINTER_HANDLER: u32 = 0x22;
    /// First byte of flags: bits 0-2 index of the next byte.
    POINTER_FLAGS_1: u8 = 0x26;
    /// Second byte of flags: bit 7 a handler is set, bits 0-2 package size less one.
    POINTER_FLAGS_2: u8 = 0x27;
    /// The package's bytes: 8.
    POINTER_DATA: u8 = 0x28;
    /// Hard disk 0's parameter table: 16 bytes (INT 41h).
    DISK_0: u8 = 0x3d;
    /// Hard disk 1's parameter table: 16 bytes (INT 46h).
    DISK_1: u8 = 0x4d;
    /// Device parameter table extensions that INT 13h AH=48h points to: 16 bytes for each drive, 6 of them.
    DISK_EXTENSIONS: u8 = 0x100;
    /// A sector that the disk driver looks at, or that is on its way to memory above 1 MiB: 512 bytes.
    SECTOR: u8 = 0x200;
}
