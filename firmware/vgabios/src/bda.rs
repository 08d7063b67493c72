//! The video variables of the BIOS data area (IBM Personal System/2 and Personal Computer BIOS Interface Technical
//! Reference, section 3, "BIOS data area"), and the interrupt vectors that point to fonts.

use crate::hw::{Far, far};

/// Segment of the BIOS data area.
pub const SEGMENT: u16 = 0x40;

/// Equipment word; bits 5-4 are the initial video mode: 2 for 80 columns in colour, 3 for monochrome.
pub const EQUIPMENT: u16 = 0x10;
/// Current mode.
pub const MODE: u16 = 0x49;
/// Columns.
pub const COLUMNS: u16 = 0x4a;
/// Bytes of a page.
pub const PAGE_SIZE: u16 = 0x4c;
/// Offset of the page that is shown.
pub const PAGE_START: u16 = 0x4e;
/// Cursor position (column, row) of eight pages.
pub const CURSOR: u16 = 0x50;
/// Cursor's last scan line and, one up, its first.
pub const CURSOR_SHAPE: u16 = 0x60;
/// The page that is shown.
pub const PAGE: u16 = 0x62;
/// Index port of the CRT controller.
pub const CRTC: u16 = 0x63;
/// What the mode control register of a CGA would hold.
pub const CGA_MODE: u16 = 0x65;
/// What the colour select register of a CGA would hold.
pub const CGA_COLOUR: u16 = 0x66;
/// Rows less one.
pub const ROWS: u16 = 0x84;
/// Scan lines of a character.
pub const CHAR_HEIGHT: u16 = 0x85;
/// Bit 7: the mode was set without clearing; bits 6-5: 3 for 256 KiB; bit 0: no cursor emulation.
pub const CONTROL: u16 = 0x87;
/// Feature bits and switches of an EGA.
pub const SWITCHES: u16 = 0x88;
/// See the `FLAG_` constants.
pub const FLAGS: u16 = 0x89;
/// Index into the table of display combinations.
pub const COMBINATION: u16 = 0x8a;
/// Far pointer to the video save pointer table.
pub const SAVE_POINTERS: u16 = 0xa8;

/// [`CONTROL`]: 256 KiB, cursor emulation on, colour.
pub const CONTROL_DEFAULT: u8 = 0x60;
/// [`CONTROL`]: the last mode set did not clear.
pub const CONTROL_NO_CLEAR: u8 = 0x80;
/// [`CONTROL`]: the cursor is taken as given.
pub const CONTROL_NO_EMULATION: u8 = 0x01;
/// [`SWITCHES`]: enhanced colour display.
pub const SWITCHES_DEFAULT: u8 = 0xf9;
/// [`FLAGS`]: the VGA is active.
pub const FLAG_VGA: u8 = 0x01;
/// [`FLAGS`]: colours are summed to grey.
pub const FLAG_GREY: u8 = 0x02;
/// [`FLAGS`]: mode sets leave the palette alone.
pub const FLAG_KEEP_PALETTE: u8 = 0x08;
/// [`FLAGS`]: displays can be switched.
pub const FLAG_SWITCH: u8 = 0x40;
/// [`FLAGS`]: text modes have 400 lines.
pub const FLAG_400: u8 = 0x10;
/// [`FLAGS`]: text modes have 200 lines.
pub const FLAG_200: u8 = 0x80;

/// Interrupt vector 1Fh: glyphs 80h to FFh of 8x8 graphics.
pub const FONT_UPPER: Far = far(0, 0x1f * 4);
/// Interrupt vector 43h: glyphs of graphics modes.
pub const FONT: Far = far(0, 0x43 * 4);

/// [`MODE`] while a VBE mode is set that is none of the VGA's: no mode that could be set by AH=00h.
pub const MODE_VBE: u8 = 0x7f;
