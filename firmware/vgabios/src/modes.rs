//! VGA mode table: the video parameter table, in the layout that the video save pointer table exports to programs (IBM
//! Personal System/2 and Personal Computer BIOS Interface Technical Reference, "Video parameter table"; register values
//! from the register tables in the PS/2 Hardware Interface Technical Reference).

/// Bytes per entry.
pub const ENTRY: usize = 64;
/// Number of entries.
pub const ENTRIES: usize = 29;

// Offsets of the fields of an entry.
/// Columns.
pub const COLUMNS: u16 = 0;
/// Rows minus one.
pub const ROWS: u16 = 1;
/// Scan lines per character.
pub const HEIGHT: u16 = 2;
/// Bytes per page.
pub const PAGE_SIZE: u16 = 3;
/// Sequencer registers 1 to 4.
pub const SEQUENCER: u16 = 5;
/// Miscellaneous output register.
pub const MISC: u16 = 9;
/// CRT controller registers 0 to 18h.
pub const CRTC: u16 = 10;
/// Attribute controller registers 0 to 13h.
pub const ATTRIBUTE: u16 = 35;
/// Graphics controller registers 0 to 8.
pub const GRAPHICS: u16 = 55;

/// Number of CRT controller registers.
pub const CRTC_COUNT: u8 = 25;
/// Number of attribute controller registers in an entry.
pub const ATTRIBUTE_COUNT: u8 = 20;
/// Number of graphics controller registers.
pub const GRAPHICS_COUNT: u8 = 9;

type Crtc = [u8; 25];
type Attribute = [u8; 20];
type Graphics = [u8; 9];

/// Text geometry, sequencer registers and miscellaneous output of a mode.
struct Layout {
    cells: (u8, u8, u8, u16),
    sequencer: [u8; 4],
    misc: u8,
}

const fn layout(columns: u8, rows: u8, height: u8, page: u16, sequencer: [u8; 4], misc: u8) -> Layout {
    Layout { cells: (columns, rows - 1, height, page), sequencer, misc }
}

/// Horizontal timings, CRTC 00h-05h: 40 columns at half the dot clock, 80 columns of text, 80 columns of graphics.
const H40: [u8; 6] = [0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0];
const H40_GRAPHICS: [u8; 6] = [0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80];
const H80: [u8; 6] = [0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81];
const H80_GRAPHICS: [u8; 6] = [0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80];

/// Vertical timings: total (CRTC 06h), overflow (07h); retrace start and end (10h, 11h), display end (12h); blank start
/// and end (15h, 16h).
const V200: [u8; 7] = [0xbf, 0x1f, 0x9c, 0x8e, 0x8f, 0x96, 0xb9];
const V350: [u8; 7] = [0xbf, 0x1f, 0x83, 0x85, 0x5d, 0x63, 0xba];
const V480: [u8; 7] = [0x0b, 0x3e, 0xea, 0x8c, 0xdf, 0xe7, 0x04];

/// Builds CRTC 00h-18h. `scan`: maximum scan line (09h); `cursor`: start and end (0Ah, 0Bh); `pitch`: offset (13h);
/// `underline`: underline location (14h); `control`: mode control (17h).
const fn crtc(h: [u8; 6], v: [u8; 7], scan: u8, cursor: [u8; 2], pitch: u8, underline: u8, control: u8) -> Crtc {
    [
        h[0], h[1], h[2], h[3], h[4], h[5], v[0], v[1], 0, scan, cursor[0], cursor[1], 0, 0, 0, 0, v[2], v[3], v[4],
        pitch, underline, v[5], v[6], control, 0xff,
    ]
}

/// Builds attribute controller 00h-13h: palette, mode control, overscan, colour plane enable, pixel panning.
const fn attribute(palette: [u8; 16], mode: u8, planes: u8, panning: u8) -> Attribute {
    let mut all = [0; 20];
    let mut i = 0;
    while i < 16 {
        all[i] = palette[i];
        i += 1;
    }
    all[16] = mode;
    all[18] = planes;
    all[19] = panning;
    all
}

const fn graphics(mode: u8, misc: u8, care: u8) -> Graphics {
    [0, 0, 0, 0, 0, mode, misc, care, 0xff]
}

const PALETTE_CGA: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
const PALETTE_EGA: [u8; 16] = [0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f];
const PALETTE_MONO_TEXT: [u8; 16] = [0, 8, 8, 8, 8, 8, 8, 8, 0x10, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18];
const PALETTE_MONO_GRAPHICS: [u8; 16] = [0, 8, 0, 0, 0x18, 0x18, 0, 0, 0, 8, 0, 0, 0, 0x18, 0, 0];
const PALETTE_CGA_4: [u8; 16] = [0, 0x13, 0x15, 0x17, 2, 4, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
const PALETTE_CGA_2: [u8; 16] = two_colour_palette(0x17);
const PALETTE_VGA_2: [u8; 16] = two_colour_palette(0x3f);
const PALETTE_IDENTITY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

const fn two_colour_palette(white: u8) -> [u8; 16] {
    let mut palette = [white; 16];
    palette[0] = 0;
    palette
}

const fn entry(l: Layout, c: Crtc, a: Attribute, g: Graphics) -> [u8; ENTRY] {
    let mut all = [0; ENTRY];
    (all[0], all[1], all[2]) = (l.cells.0, l.cells.1, l.cells.2);
    [all[3], all[4]] = l.cells.3.to_le_bytes();
    let mut i = 0;
    while i < 25 {
        if i < 4 {
            all[SEQUENCER as usize + i] = l.sequencer[i];
        }
        if i < 9 {
            all[GRAPHICS as usize + i] = g[i];
        }
        if i < 20 {
            all[ATTRIBUTE as usize + i] = a[i];
        }
        all[CRTC as usize + i] = c[i];
        i += 1;
    }
    all[MISC as usize] = l.misc;
    all
}

const TEXT: Graphics = graphics(0x10, 0x0e, 0);
const TEXT_MONO: Graphics = graphics(0x10, 0x0a, 0);
const PLANAR: Graphics = graphics(0, 5, 0xf);
const NO_CURSOR: [u8; 2] = [0, 0];

const TEXT40_200: [u8; ENTRY] = entry(
    layout(40, 25, 8, 0x800, [9, 3, 0, 2], 0x63),
    crtc(H40, V200, 0xc7, [6, 7], 0x14, 0x1f, 0xa3),
    attribute(PALETTE_CGA, 8, 0xf, 0),
    TEXT,
);
const TEXT80_200: [u8; ENTRY] = entry(
    layout(80, 25, 8, 0x1000, [1, 3, 0, 2], 0x63),
    crtc(H80, V200, 0xc7, [6, 7], 0x28, 0x1f, 0xa3),
    attribute(PALETTE_CGA, 8, 0xf, 0),
    TEXT,
);
const TEXT40_350: [u8; ENTRY] = entry(
    layout(40, 25, 14, 0x800, [9, 3, 0, 2], 0xa3),
    crtc(H40, V350, 0x4d, [0xb, 0xc], 0x14, 0x1f, 0xa3),
    attribute(PALETTE_EGA, 8, 0xf, 0),
    TEXT,
);
const TEXT80_350: [u8; ENTRY] = entry(
    layout(80, 25, 14, 0x1000, [1, 3, 0, 2], 0xa3),
    crtc(H80, V350, 0x4d, [0xb, 0xc], 0x28, 0x1f, 0xa3),
    attribute(PALETTE_EGA, 8, 0xf, 0),
    TEXT,
);
const FOUR_COLOURS: [u8; ENTRY] = entry(
    layout(40, 25, 8, 0x4000, [9, 3, 0, 2], 0x63),
    crtc(H40_GRAPHICS, V200, 0xc1, NO_CURSOR, 0x14, 0, 0xa2),
    attribute(PALETTE_CGA_4, 1, 3, 0),
    graphics(0x30, 0xf, 0xf),
);
const TWO_COLOURS: [u8; ENTRY] = entry(
    layout(80, 25, 8, 0x4000, [1, 1, 0, 6], 0x63),
    crtc(H80_GRAPHICS, V200, 0xc1, NO_CURSOR, 0x28, 0, 0xc2),
    attribute(PALETTE_CGA_2, 1, 1, 0),
    graphics(0, 0xd, 0),
);
const MONO_350: [u8; ENTRY] = entry(
    layout(80, 25, 14, 0x1000, [0, 3, 0, 3], 0xa6),
    crtc(H80, V350, 0x4d, [0xb, 0xc], 0x28, 0xd, 0xa3),
    attribute(PALETTE_MONO_TEXT, 0xe, 0xf, 8),
    TEXT_MONO,
);
const PLANAR_0D: [u8; ENTRY] = entry(
    layout(40, 25, 8, 0x2000, [9, 0xf, 0, 6], 0x63),
    crtc(H40_GRAPHICS, V200, 0xc0, NO_CURSOR, 0x14, 0, 0xe3),
    attribute(PALETTE_CGA, 1, 0xf, 0),
    PLANAR,
);
const PLANAR_0E: [u8; ENTRY] = entry(
    layout(80, 25, 8, 0x4000, [1, 0xf, 0, 6], 0x63),
    crtc(H80_GRAPHICS, V200, 0xc0, NO_CURSOR, 0x28, 0, 0xe3),
    attribute(PALETTE_CGA, 1, 0xf, 0),
    PLANAR,
);
const PLANAR_0F: [u8; ENTRY] = entry(
    layout(80, 25, 14, 0x8000, [1, 0xf, 0, 6], 0xa2),
    crtc(H80_GRAPHICS, V350, 0x40, NO_CURSOR, 0x28, 0xf, 0xe3),
    attribute(PALETTE_MONO_GRAPHICS, 0xb, 5, 0),
    graphics(0, 5, 5),
);
const PLANAR_10: [u8; ENTRY] = entry(
    layout(80, 25, 14, 0x8000, [1, 0xf, 0, 6], 0xa3),
    crtc(H80_GRAPHICS, V350, 0x40, NO_CURSOR, 0x28, 0xf, 0xe3),
    attribute(PALETTE_EGA, 1, 0xf, 0),
    PLANAR,
);
const PLANAR_11: [u8; ENTRY] = entry(
    layout(80, 30, 16, 0xa000, [1, 0xf, 0, 6], 0xe3),
    crtc(H80_GRAPHICS, V480, 0x40, NO_CURSOR, 0x28, 0, 0xc3),
    attribute(PALETTE_VGA_2, 1, 0xf, 0),
    graphics(0, 5, 1),
);
const PLANAR_12: [u8; ENTRY] = entry(
    layout(80, 30, 16, 0xa000, [1, 0xf, 0, 6], 0xe3),
    crtc(H80_GRAPHICS, V480, 0x40, NO_CURSOR, 0x28, 0, 0xe3),
    attribute(PALETTE_EGA, 1, 0xf, 0),
    PLANAR,
);
const TEXT40_400: [u8; ENTRY] = entry(
    layout(40, 25, 16, 0x800, [8, 3, 0, 2], 0x67),
    crtc(H40, V200, 0x4f, [0xd, 0xe], 0x14, 0x1f, 0xa3),
    attribute(PALETTE_EGA, 0xc, 0xf, 8),
    TEXT,
);
const TEXT80_400: [u8; ENTRY] = entry(
    layout(80, 25, 16, 0x1000, [0, 3, 0, 2], 0x67),
    crtc(H80, V200, 0x4f, [0xd, 0xe], 0x28, 0x1f, 0xa3),
    attribute(PALETTE_EGA, 0xc, 0xf, 8),
    TEXT,
);
const MONO_400: [u8; ENTRY] = entry(
    layout(80, 25, 16, 0x1000, [0, 3, 0, 2], 0x66),
    crtc(H80, V200, 0x4f, [0xd, 0xe], 0x28, 0xf, 0xa3),
    attribute(PALETTE_MONO_TEXT, 0xe, 0xf, 8),
    TEXT_MONO,
);
const LINEAR_13: [u8; ENTRY] = entry(
    layout(40, 25, 8, 0x2000, [1, 0xf, 0, 0xe], 0x63),
    crtc(H80_GRAPHICS, V200, 0x41, NO_CURSOR, 0x28, 0x40, 0xa3),
    attribute(PALETTE_IDENTITY, 0x41, 0xf, 0),
    graphics(0x40, 5, 0xf),
);
/// Entry of a mode that is never set: modes 8 to 0Ch.
const UNUSED: [u8; ENTRY] = [0; ENTRY];

/// The video parameter table. Entries 00h-0Eh are the modes of that number (text with 200 scan lines), 0Fh-10h the
/// modes of an EGA with 64 KiB, 11h-12h modes 0Fh and 10h, 13h-16h modes 0-3 with 350 scan lines, 17h-18h modes 0-1 and
/// 2-3 with 400, 19h mode 7 with 400, 1Ah-1Ch modes 11h-13h.
pub const PARAMETERS: [[u8; ENTRY]; ENTRIES] = [
    TEXT40_200,
    TEXT40_200,
    TEXT80_200,
    TEXT80_200,
    FOUR_COLOURS,
    FOUR_COLOURS,
    TWO_COLOURS,
    MONO_350,
    UNUSED,
    UNUSED,
    UNUSED,
    UNUSED,
    UNUSED,
    PLANAR_0D,
    PLANAR_0E,
    PLANAR_0F,
    PLANAR_10,
    PLANAR_0F,
    PLANAR_10,
    TEXT40_350,
    TEXT40_350,
    TEXT80_350,
    TEXT80_350,
    TEXT40_400,
    TEXT80_400,
    MONO_400,
    PLANAR_11,
    PLANAR_12,
    LINEAR_13,
];

/// Scan lines of text modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// 200, as on a CGA.
    L200,
    /// 350, as on an EGA.
    L350,
    /// 400, as on a VGA.
    L400,
}

/// Memory model of a mode: how its pixels or characters are laid out in video memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryModel {
    /// Text: character and attribute bytes.
    Text,
    /// CGA graphics with four colours: even and odd scan lines in separate banks.
    Cga4,
    /// CGA graphics with two colours: even and odd scan lines in separate banks.
    Cga2,
    /// Planar: one bit per pixel in each plane.
    Planar,
    /// Linear: one byte per pixel, at A0000h.
    Linear,
    /// A VBE mode, also by its number of Cirrus' BIOS; its layout follows from the Bochs display registers.
    Vbe,
}

/// Memory model of the mode in [`crate::bda::MODE`].
pub const fn memory_model(mode: u8) -> MemoryModel {
    match mode {
        0..=3 | 7 => MemoryModel::Text,
        4 | 5 => MemoryModel::Cga4,
        6 => MemoryModel::Cga2,
        0x13 => MemoryModel::Linear,
        crate::bda::MODE_VBE | 0x5c..=0x78 => MemoryModel::Vbe,
        _ => MemoryModel::Planar,
    }
}

/// Index of a mode in [`PARAMETERS`]; `None` if the mode does not exist.
pub const fn index(mode: u8, lines: Lines) -> Option<u8> {
    Some(match (mode, lines) {
        (0..=3, Lines::L200) => mode,
        (0..=3, Lines::L350) => mode + 0x13,
        (0..=3, Lines::L400) => 0x17 + (mode >> 1),
        (7, Lines::L400) => 0x19,
        (4..=7, _) => mode,
        (0x0d | 0x0e, _) => mode,
        (0x0f | 0x10, _) => mode + 2,
        (0x11..=0x13, _) => mode + 9,
        _ => return None,
    })
}
