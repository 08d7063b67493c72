//! BIOS data area (BDA), video variables (IBM Personal System/2 and Personal Computer BIOS Interface Technical
//! Reference, section 3, "BIOS data area"), and the interrupt vectors that point to fonts.

use crate::hw::{Far, far};

/// Segment of the BIOS data area.
pub const SEGMENT: u16 = 0x40;

/// Linear address of the word that has the segment of the extended BIOS data area (40:0Eh).
pub const LINEAR_EBDA: u16 = 0x40e;
/// Equipment word. Bits 5-4 are the initial video mode: 2 is 80x25 colour, 3 is monochrome.
pub const EQUIPMENT: u16 = 0x10;
/// Current video mode.
pub const MODE: u16 = 0x49;
/// Columns on the screen.
pub const COLUMNS: u16 = 0x4a;
/// Bytes per page (regen buffer length).
pub const PAGE_SIZE: u16 = 0x4c;
/// Offset of the active page in video memory.
pub const PAGE_START: u16 = 0x4e;
/// Cursor positions of eight pages: column in the low byte, row in the high byte.
pub const CURSOR: u16 = 0x50;
/// Cursor type: last scan line in the low byte, first in the high byte.
pub const CURSOR_SHAPE: u16 = 0x60;
/// Active page.
pub const PAGE: u16 = 0x62;
/// I/O port of the CRT controller's index register.
pub const CRTC: u16 = 0x63;
/// Value for the mode control register of a CGA (port 3D8h).
pub const CGA_MODE: u16 = 0x65;
/// Value for the colour select register of a CGA (port 3D9h).
pub const CGA_COLOUR: u16 = 0x66;
/// Rows on the screen minus one.
pub const ROWS: u16 = 0x84;
/// Scan lines per character.
pub const CHAR_HEIGHT: u16 = 0x85;
/// Video control. Bit 7: the last mode set did not clear video memory; bits 6-5: memory size, 3 is 256 KiB; bit 0:
/// cursor emulation is off.
pub const CONTROL: u16 = 0x87;
/// EGA feature bits (7-4) and configuration switches (3-0).
pub const SWITCHES: u16 = 0x88;
/// Video mode options: the `FLAG_` constants.
pub const FLAGS: u16 = 0x89;
/// Display combination code (DCC): index into the DCC table.
pub const COMBINATION: u16 = 0x8a;
/// Far pointer to the video save pointer table.
pub const SAVE_POINTERS: u16 = 0xa8;

/// Initial [`CONTROL`]: 256 KiB, cursor emulation on, colour.
pub const CONTROL_DEFAULT: u8 = 0x60;
/// [`CONTROL`]: the last mode set did not clear video memory.
pub const CONTROL_NO_CLEAR: u8 = 0x80;
/// [`CONTROL`]: no cursor emulation, AH=01h programs the scan lines as given.
pub const CONTROL_NO_EMULATION: u8 = 0x01;
/// Initial [`SWITCHES`]: enhanced colour display.
pub const SWITCHES_DEFAULT: u8 = 0xf9;
/// [`FLAGS`]: the VGA is active.
pub const FLAG_VGA: u8 = 0x01;
/// [`FLAGS`]: grey-scale summing is on.
pub const FLAG_GREY: u8 = 0x02;
/// [`FLAGS`]: a mode set does not load the default palette.
pub const FLAG_KEEP_PALETTE: u8 = 0x08;
/// [`FLAGS`]: display switching is enabled.
pub const FLAG_SWITCH: u8 = 0x40;
/// [`FLAGS`]: text modes have 400 scan lines.
pub const FLAG_400: u8 = 0x10;
/// [`FLAGS`]: text modes have 200 scan lines.
pub const FLAG_200: u8 = 0x80;

/// Interrupt vector 1Fh: glyphs 80h to FFh for CGA graphics modes (8x8).
pub const FONT_UPPER: Far = far(0, 0x1f * 4);
/// Interrupt vector 43h: font of the current graphics mode.
pub const FONT: Far = far(0, 0x43 * 4);

/// [`MODE`] while a VBE mode is set: a number that AH=00h does not accept.
pub const MODE_VBE: u8 = 0x7f;
