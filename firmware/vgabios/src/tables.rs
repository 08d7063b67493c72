//! Constant tables of the ROM, in one block of bytes: ROM code reads it through CS ([`crate::Hw::table8`]), and
//! programs read it through the far pointers that the BIOS returns.

use crate::cirrus;
use crate::modes;
use crate::vbe;

/// Segment at which the ROM runs, for far pointers in the tables.
pub const ROM_SEGMENT: u16 = 0xc000;

const FONT_8X8: &[u8; 2048] = include_bytes!("../fonts/8x8.bin");
const FONT_8X14: &[u8; 3584] = include_bytes!("../fonts/8x14.bin");
const FONT_8X16: &[u8; 4096] = include_bytes!("../fonts/8x16.bin");

/// Static functionality table for INT 10h AH=1Bh (BIOS Interface Technical Reference, "Video static functionality
/// table").
const FUNCTIONALITY: [u8; 16] = [
    0xff, 0xe0, 0x0f, // modes 0-7, 0Dh-0Fh, 10h-13h
    0, 0, 0, 0,    // reserved
    7,    // text modes with 200, 350 and 400 scan lines
    2,    // font blocks displayed at once
    8,    // font blocks loaded at once
    0xff, // all modes, grey summing, font loading, default palette, cursor emulation, EGA and VGA palettes, DAC paging
    0x0e, // no light pen; save/restore, blinking, display combination code
    0, 0, 0x3f, 0, // save pointers: only the first is in use
];

/// The highest display combination index.
pub const LAST_COMBINATION: u8 = 8;
/// Display combination code table: number of entries, version, highest code, then the active and the alternate display
/// of each. Index and code are the same, and there is no alternate display ("Display combination codes").
const DCC_TABLE: [u8; 22] = [9, 1, LAST_COMBINATION, 0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0];

const BIOS_DATE: &[u8; 8] = b"11/22/26";

/// The length of a table that only the CL-GD5446 needs; tests have it too.
const fn if_cirrus(len: usize) -> usize {
    if cfg!(any(feature = "cirrus", not(target_os = "none"))) { len } else { 0 }
}

/// As much of a table as the ROM has.
const fn part<const N: usize, const M: usize>(table: [u8; N]) -> [u8; M] {
    let mut all = [0; M];
    let mut i = 0;
    while i < M {
        all[i] = table[i];
        i += 1;
    }
    all
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident[$len:expr]: $value:expr;)*) => {
        tables!(@offsets 0; $($(#[$doc])* $name[$len];)*);
        const fn build() -> [u8; SIZE] {
            let mut tables = [0; SIZE];
            $(tables = place::<{ $len }>(tables, $name, $value);)*
            tables
        }
    };
    (@offsets $at:expr; $(#[$doc:meta])* $name:ident[$len:expr]; $($rest:tt)*) => {
        $(#[$doc])*
        pub const $name: u16 = $at;
        tables!(@offsets $name + $len as u16; $($rest)*);
    };
    (@offsets $at:expr;) => {
        const SIZE: usize = $at as usize;
    };
}

const fn place<const N: usize>(mut tables: [u8; SIZE], at: u16, data: &[u8; N]) -> [u8; SIZE] {
    let mut i = 0;
    while i < N {
        tables[at as usize + i] = data[i];
        i += 1;
    }
    tables
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

tables! {
    /// The video parameter table (`modes.rs`).
    PARAMETERS[modes::ENTRIES * modes::ENTRY]: &parameters();
    /// 8x8 font.
    FONT8[2048]: FONT_8X8;
    /// 8x14 font.
    FONT14[3584]: FONT_8X14;
    /// 8x16 font.
    FONT16[4096]: FONT_8X16;
    /// Alternate glyphs for 9-dot characters: an empty list.
    ALTERNATE_GLYPHS[1]: &[0u8; 1];
    /// See `FUNCTIONALITY`.
    STATIC_FUNCTIONALITY[16]: &FUNCTIONALITY;
    /// See `DCC_TABLE`.
    DISPLAY_COMBINATIONS[22]: &DCC_TABLE;
    /// DAC default of mode 13h, colours 10h-1Fh: 16 grey levels.
    MODE_13_GREYS[16]: &[0u8, 5, 8, 0x0b, 0x0e, 0x11, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x2d, 0x32, 0x38, 0x3f];
    /// DAC default of mode 13h, colours 20h-F7h: five levels from weakest to strongest, for each of three intensities
    /// and three saturations.
    MODE_13_LEVELS[45]: &[
        0x00u8, 0x10, 0x1f, 0x2f, 0x3f, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x2d, 0x31, 0x36, 0x3a, 0x3f,
        0x00, 0x07, 0x0e, 0x15, 0x1c, 0x0e, 0x11, 0x15, 0x18, 0x1c, 0x14, 0x16, 0x18, 0x1a, 0x1c,
        0x00, 0x04, 0x08, 0x0c, 0x10, 0x08, 0x0a, 0x0c, 0x0e, 0x10, 0x0b, 0x0c, 0x0d, 0x0f, 0x10,
    ];
    /// Mode control register of a CGA for modes 0-7.
    CGA_MODE[8]: &[0x2cu8, 0x28, 0x2d, 0x29, 0x2a, 0x2e, 0x1e, 0x29];
    /// Video save pointer table: seven far pointers.
    SAVE_POINTERS[28]: &save_pointers();
    /// Secondary save pointer table: its size and six far pointers.
    SECONDARY_POINTERS[26]: &secondary_pointers();
    /// See [`vbe::modes::list`].
    VBE_MODES[vbe::modes::COUNT * vbe::modes::ENTRY]: &vbe::modes::list();
    /// See [`vbe::modes::resolutions`].
    VBE_RESOLUTIONS[4 * vbe::modes::RESOLUTIONS.len()]: &vbe::modes::resolutions();
    /// See [`cirrus::timings`].
    CIRRUS_TIMINGS[if_cirrus(cirrus::COUNT * cirrus::TIMING)]: &part(cirrus::timings());
    /// See [`cirrus::CRTC`].
    CIRRUS_CRTC[if_cirrus(cirrus::CRTC.len())]: &part(cirrus::CRTC);
    /// See [`cirrus::mode_list`].
    CIRRUS_MODES[if_cirrus(cirrus::MODES_LEN)]: &part(cirrus::mode_list());
    /// VBE OEM string.
    OEM_NAME[14]: b"pcvm VGA BIOS\0";
    /// VBE vendor name.
    VENDOR_NAME[5]: b"pcvm\0";
    /// VBE product name.
    PRODUCT_NAME[13]: b"VGA with VBE\0";
    /// VBE product revision.
    PRODUCT_REVISION[4]: b"1.0\0";
    /// EDID of the monitor.
    EDID[vbe::ddc::BLOCK]: &vbe::ddc::edid();
    /// BIOS date.
    DATE[8]: BIOS_DATE;
}

/// Offset of the tables in the ROM.
pub const TABLES_OFFSET: u16 = 0x60;

const fn with_pointer<const N: usize>(mut table: [u8; N], at: usize, to: u16) -> [u8; N] {
    [table[at], table[at + 1]] = (TABLES_OFFSET + to).to_le_bytes();
    [table[at + 2], table[at + 3]] = ROM_SEGMENT.to_le_bytes();
    table
}

/// Parameter table, no palette save area, no program fonts, then the secondary table.
const fn save_pointers() -> [u8; 28] {
    with_pointer(with_pointer([0; 28], 0, PARAMETERS), 16, SECONDARY_POINTERS)
}

const fn secondary_pointers() -> [u8; 26] {
    let mut table = [0; 26];
    table[0] = 26;
    with_pointer(table, 2, DISPLAY_COMBINATIONS)
}

/// The tables as they are in the ROM.
pub const TABLES: [u8; SIZE] = build();

/// Offset of an entry of the video parameter table.
pub const fn parameters_of(index: u8) -> u16 {
    PARAMETERS + index as u16 * modes::ENTRY as u16
}
