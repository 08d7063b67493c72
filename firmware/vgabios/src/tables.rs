//! Everything in the ROM that is data: one block of bytes, because the ROM's code reaches it by CS alone and
//! byte by byte ([`crate::Hw::table8`]), and programs reach it through the pointers that the BIOS gives them.

use crate::modes;
use crate::vbe;

/// Segment at which an adapter's ROM runs, for pointers in its tables.
pub const ROM_SEGMENT: u16 = 0xc000;

const FONT_8X8: &[u8; 2048] = include_bytes!("../fonts/8x8.bin");
const FONT_8X14: &[u8; 3584] = include_bytes!("../fonts/8x14.bin");
const FONT_8X16: &[u8; 4096] = include_bytes!("../fonts/8x16.bin");

/// What the BIOS can do, for INT 10h AH=1Bh (BIOS Interface Technical Reference, "Video static functionality table").
const FUNCTIONALITY: [u8; 16] = [
    0xff, 0xe0, 0x0f, // modes 0-7, 0Dh-0Fh, 10h-13h
    0, 0, 0, 0,    // reserved
    7,    // 200, 350 and 400 lines of text
    2,    // fonts shown at a time
    8,    // fonts loaded at a time
    0xff, // all modes' calls, grey summing, fonts, palettes, cursor emulation, EGA palette, colour palette, paging
    0x0e, // light pen no, save and restore, blinking, display combination
    0, 0, 0x3f, 0, // save pointers: none in use but the first
];

/// The last index of a display combination.
pub const LAST_COMBINATION: u8 = 8;
/// Display combinations: how many, version, the highest code; then the active and the other display of each. Index and
/// code are the same, and there is no other display ("Display combination codes").
const COMBINATIONS: [u8; 22] = [9, 1, LAST_COMBINATION, 0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0];

const BIOS_DATE: &[u8; 8] = b"11/22/26";

macro_rules! block {
    ($($(#[$doc:meta])* $name:ident[$len:expr]: $value:expr;)*) => {
        block!(@offsets 0; $($(#[$doc])* $name[$len];)*);
        const fn build() -> [u8; SIZE] {
            let mut block = [0; SIZE];
            $(block = place::<{ $len }>(block, $name, $value);)*
            block
        }
    };
    (@offsets $at:expr; $(#[$doc:meta])* $name:ident[$len:expr]; $($rest:tt)*) => {
        $(#[$doc])*
        pub const $name: u16 = $at;
        block!(@offsets $name + $len as u16; $($rest)*);
    };
    (@offsets $at:expr;) => {
        const SIZE: usize = $at as usize;
    };
}

const fn place<const N: usize>(mut block: [u8; SIZE], at: u16, data: &[u8; N]) -> [u8; SIZE] {
    let mut i = 0;
    while i < N {
        block[at as usize + i] = data[i];
        i += 1;
    }
    block
}

const fn parameters() -> [u8; modes::ENTRIES * modes::ENTRY] {
    let mut all = [0; modes::ENTRIES * modes::ENTRY];
    let mut i = 0;
    while i < all.len() {
        all[i] = modes::PARAMETERS[i / modes::ENTRY][i % modes::ENTRY];
        i += 1;
    }
    all
}

block! {
    /// The video parameter table.
    PARAMETERS[modes::ENTRIES * modes::ENTRY]: &parameters();
    /// Glyphs of 8 by 8 dots.
    FONT8[2048]: FONT_8X8;
    /// Glyphs of 8 by 14 dots.
    FONT14[3584]: FONT_8X14;
    /// Glyphs of 8 by 16 dots.
    FONT16[4096]: FONT_8X16;
    /// Glyphs that differ with 9 dots a character: none.
    ALTERNATES[1]: &[0u8; 1];
    /// See `FUNCTIONALITY`.
    STATIC[16]: &FUNCTIONALITY;
    /// See `COMBINATIONS`.
    COMBINATION_TABLE[22]: &COMBINATIONS;
    /// Grey levels 8 to 15 of mode 13h follow 0 to 7: colours 10h to 1Fh.
    GREYS[16]: &[0u8, 5, 8, 0x0b, 0x0e, 0x11, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x2d, 0x32, 0x38, 0x3f];
    /// Five levels from the weakest to the strongest, for each intensity (three) and saturation (three) of mode 13h.
    LEVELS[45]: &[
        0x00u8, 0x10, 0x1f, 0x2f, 0x3f, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x2d, 0x31, 0x36, 0x3a, 0x3f,
        0x00, 0x07, 0x0e, 0x15, 0x1c, 0x0e, 0x11, 0x15, 0x18, 0x1c, 0x14, 0x16, 0x18, 0x1a, 0x1c,
        0x00, 0x04, 0x08, 0x0c, 0x10, 0x08, 0x0a, 0x0c, 0x0e, 0x10, 0x0b, 0x0c, 0x0d, 0x0f, 0x10,
    ];
    /// Mode control register of a CGA, modes 0 to 7.
    CGA_MODE[8]: &[0x2cu8, 0x28, 0x2d, 0x29, 0x2a, 0x2e, 0x1e, 0x29];
    /// The video save pointer table: seven far pointers.
    SAVE_POINTERS[28]: &save_pointers();
    /// The secondary one: its size and six far pointers.
    SECONDARY_POINTERS[26]: &secondary_pointers();
    /// See [`vbe::modes::list`].
    VBE_MODES[vbe::modes::COUNT * vbe::modes::ENTRY]: &vbe::modes::list();
    /// See [`vbe::modes::resolutions`].
    VBE_RESOLUTIONS[4 * vbe::modes::RESOLUTIONS.len()]: &vbe::modes::resolutions();
    /// VBE's name of the adapter.
    OEM_NAME[14]: b"pcvm VGA BIOS\0";
    /// VBE's name of who made it.
    VENDOR_NAME[5]: b"pcvm\0";
    /// VBE's name of the adapter's kind.
    PRODUCT_NAME[13]: b"VGA with VBE\0";
    /// VBE's revision of it.
    PRODUCT_REVISION[4]: b"1.0\0";
    /// The monitor's identification.
    EDID[vbe::ddc::BLOCK]: &vbe::ddc::edid();
    /// When the BIOS was made.
    DATE[8]: BIOS_DATE;
}

/// Offset of the block in the ROM.
pub const TABLES_OFFSET: u16 = 0x60;

const fn with_pointer<const N: usize>(mut table: [u8; N], at: usize, to: u16) -> [u8; N] {
    [table[at], table[at + 1]] = (TABLES_OFFSET + to).to_le_bytes();
    [table[at + 2], table[at + 3]] = ROM_SEGMENT.to_le_bytes();
    table
}

/// Parameters, no dynamic save area, no fonts of the user's, then the secondary table.
const fn save_pointers() -> [u8; 28] {
    with_pointer(with_pointer([0; 28], 0, PARAMETERS), 16, SECONDARY_POINTERS)
}

const fn secondary_pointers() -> [u8; 26] {
    let mut table = [0; 26];
    table[0] = 26;
    with_pointer(table, 2, COMBINATION_TABLE)
}

/// The block.
pub const TABLES: [u8; SIZE] = build();

/// Where a mode's entry is.
pub const fn parameters_of(index: u8) -> u16 {
    PARAMETERS + index as u16 * modes::ENTRY as u16
}
