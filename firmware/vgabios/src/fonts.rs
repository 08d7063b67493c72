//! INT 10h AH=11h, character call: loads text fonts into plane 2, sets fonts for graphics modes.

use crate::bda;
use crate::cursor;
use crate::hw::{Far, Hw, far};
use crate::modes::{self, MemoryModel};
use crate::regs::Regs;
use crate::tables;
use crate::vga;

/// Bytes per glyph in plane 2.
const STRIDE: u16 = 32;

const MAX_SCAN_LINE: u8 = 9;
const CURSOR_OFF: u8 = 0x20;
const DISPLAY_END: u8 = 0x12;
const UNDERLINE: u8 = 0x14;
const CHARACTER_MAP: u8 = 3;

/// ROM font for a character height, as an offset in the tables.
pub const fn rom_font(height: u8) -> u16 {
    match height {
        0..=8 => tables::FONT8,
        9..=14 => tables::FONT14,
        _ => tables::FONT16,
    }
}

/// Loads the ROM font of a height into a font block.
#[inline(never)]
pub fn load_rom<H: Hw>(hw: &mut H, height: u8, block: u8) {
    let from = hw.tables().at(rom_font(height));
    load(hw, from, 0, 256, height, block);
}

/// Loads `count` glyphs, starting with character `first`, into a font block.
#[inline(never)]
pub fn load<H: Hw>(hw: &mut H, from: Far, first: u16, count: u16, height: u8, block: u8) {
    // Write plane 2 only, no odd/even addressing, 64 KiB window at A0000h.
    vga::write(hw, vga::SEQUENCER, 2, 4);
    vga::write(hw, vga::SEQUENCER, 4, 7);
    vga::write(hw, vga::GRAPHICS, 4, 2);
    vga::write(hw, vga::GRAPHICS, 5, 0);
    vga::write(hw, vga::GRAPHICS, 6, 4);
    // Blocks 0-3 are 16 KiB apart, blocks 4-7 lie between them.
    let block = u16::from(block & 3) << 14 | u16::from(block & 4) << 11;
    let mut to = far(vga::GRAPHICS_SEGMENT, block).at((first & 0xff) * STRIDE);
    let mut from = from;
    let height = u16::from(height.min(32));
    for _ in 0..count.min(256) {
        if to.off & 0x3ff == 0 {
            hw.let_interrupts_in();
        }
        hw.copy(to, from, height);
        to = to.at(STRIDE);
        from = from.at(height);
    }
    vga::write(hw, vga::SEQUENCER, 2, 3);
    let memory_mode = if vga::crtc(hw) == vga::CRTC_COLOUR { 0x0e } else { 0x0a };
    vga::write(hw, vga::SEQUENCER, 4, 2);
    vga::write(hw, vga::GRAPHICS, 4, 0);
    vga::write(hw, vga::GRAPHICS, 5, 0x10);
    vga::write(hw, vga::GRAPHICS, 6, memory_mode);
}

/// Sets the character height of the current text mode and recalculates rows, page size and cursor.
#[inline(never)]
pub fn set_height<H: Hw>(hw: &mut H, height: u8) {
    let height = height.clamp(1, 32);
    let crtc = vga::crtc(hw);
    let scan = vga::read(hw, crtc, MAX_SCAN_LINE);
    vga::write(hw, crtc, MAX_SCAN_LINE, scan & 0xe0 | (height - 1));
    if hw.bda8(bda::MODE) == 7 {
        vga::write(hw, crtc, UNDERLINE, height - 1);
    }
    let lines: u16 = match crate::set_mode::lines(hw) {
        modes::Lines::L200 => 200,
        modes::Lines::L350 => 350,
        modes::Lines::L400 => 400,
    };
    let rows = lines.checked_div(height.into()).unwrap_or(1);
    // Blank the scan lines below the last full row.
    let scans = if scan & 0x80 != 0 { 2 } else { 1 };
    let shown = rows * u16::from(height) * scans;
    vga::write(hw, crtc, DISPLAY_END, (shown - 1) as u8);
    hw.set_bda8(bda::ROWS, (rows - 1) as u8);
    hw.set_bda16(bda::CHAR_HEIGHT, height.into());
    let page = rows * hw.bda16(bda::COLUMNS) * 2;
    // Round the page size up to 100h, as the mode tables have it: 1000h for 25 rows of 80.
    hw.set_bda16(bda::PAGE_SIZE, (page + 0xff) & 0xff00);
    let shape = hw.bda16(bda::CURSOR_SHAPE);
    if shape >> 8 & u16::from(CURSOR_OFF) == 0 {
        cursor::set_shape(hw, (cursor::DEFAULT_SHAPE >> 8) as u8, cursor::DEFAULT_SHAPE as u8);
    }
}

/// Sets character height and rows of a graphics mode: BL selects 14, 25 or 43 rows; BL=0 takes DL rows.
fn graphics_rows<H: Hw>(hw: &mut H, regs: &Regs, height: u16) {
    let rows = match regs.bl() {
        0 => regs.dl(),
        1 => 14,
        3 => 43,
        _ => 25,
    };
    hw.set_bda16(bda::CHAR_HEIGHT, height);
    hw.set_bda8(bda::ROWS, rows.wrapping_sub(1));
}

/// AH=11h.
#[inline(never)]
pub fn generator<H: Hw>(hw: &mut H, regs: &mut Regs) {
    let function = regs.al();
    match function {
        0x00 | 0x10 => {
            let from = far(regs.es, regs.bp());
            load(hw, from, regs.dx(), regs.cx(), regs.bh(), regs.bl());
            if function == 0x10 {
                set_height(hw, regs.bh());
            }
        }
        0x01 | 0x02 | 0x04 | 0x11 | 0x12 | 0x14 => {
            let height = match function & 7 {
                1 => 14,
                2 => 8,
                _ => 16,
            };
            load_rom(hw, height, regs.bl());
            if function & 0x10 != 0 {
                set_height(hw, height);
            }
        }
        0x03 => vga::write(hw, vga::SEQUENCER, CHARACTER_MAP, regs.bl() & 0x3f),
        0x20 => hw.write_far(bda::FONT_UPPER, far(regs.es, regs.bp())),
        0x21 => {
            hw.write_far(bda::FONT, far(regs.es, regs.bp()));
            graphics_rows(hw, regs, regs.cx());
        }
        0x22..=0x24 => {
            let (font, height) = match function {
                0x22 => (tables::FONT14, 14),
                0x23 => (tables::FONT8, 8),
                _ => (tables::FONT16, 16),
            };
            let font = hw.tables().at(font);
            hw.write_far(bda::FONT, font);
            graphics_rows(hw, regs, height);
        }
        0x30 => information(hw, regs),
        _ => {}
    }
}

/// AL=30h: returns a font pointer, the character height and the rows minus one.
fn information<H: Hw>(hw: &mut H, regs: &mut Regs) {
    let tables = hw.tables();
    let font = match regs.bh() {
        0 => hw.read_far(bda::FONT_UPPER),
        1 => hw.read_far(bda::FONT),
        2 => tables.at(tables::FONT14),
        3 => tables.at(tables::FONT8),
        4 => tables.at(tables::FONT8 + 128 * 8),
        5 | 7 => tables.at(tables::ALTERNATE_GLYPHS),
        6 => tables.at(tables::FONT16),
        _ => return,
    };
    regs.es = font.seg;
    regs.set_bp(font.off);
    regs.set_cx(hw.bda16(bda::CHAR_HEIGHT));
    regs.set_dl(hw.bda8(bda::ROWS));
}

/// Whether characters of the current mode are drawn as pixels.
pub fn is_graphics<H: Hw>(hw: &mut H) -> bool {
    !matches!(modes::memory_model(hw.bda8(bda::MODE)), MemoryModel::Text)
}
