//! INT 10h AH=00h: sets a VGA mode.

use crate::bda;
use crate::cirrus;
use crate::cursor;
use crate::dac;
use crate::dispi;
use crate::fonts;
use crate::hw::{Far, Hw, far};
use crate::modes::{self, Lines, MemoryModel};
use crate::saved;
use crate::tables;
use crate::vbe;
use crate::vga;

/// Mode number bit 7: do not clear video memory.
pub const NO_CLEAR: u8 = 0x80;

/// Clocking mode register (SR01): screen off.
const SCREEN_OFF: u8 = 0x20;
/// Vertical retrace end register (CRTC 11h): CRTC 00h-07h are write-protected.
const PROTECT: u8 = 0x80;

/// Scan lines of text modes, as AH=12h BL=30h selected them.
pub fn lines<H: Hw>(hw: &mut H) -> Lines {
    let flags = hw.bda8(bda::FLAGS);
    if flags & bda::FLAG_200 != 0 {
        Lines::L200
    } else if flags & bda::FLAG_400 != 0 {
        Lines::L400
    } else {
        Lines::L350
    }
}

/// Sets a mode. Returns false if the mode does not exist.
#[inline(never)]
pub fn set_mode<H: Hw>(hw: &mut H, number: u8) -> bool {
    let mode = number & !NO_CLEAR;
    if H::CIRRUS
        && let Some(vbe) = cirrus::vbe_number(hw, mode)
    {
        return vbe::set::extended(hw, vbe, mode, number & NO_CLEAR != 0);
    }
    let lines = lines(hw);
    let Some(index) = modes::index(mode, lines) else { return false };
    let model = modes::memory_model(mode);
    let clear = number & NO_CLEAR == 0;
    if dispi::present(hw) {
        dispi::write(hw, dispi::ENABLE, 0);
        if clear && !matches!(model, MemoryModel::Text) {
            dispi::clear_planes(hw);
        }
    }
    let entry = saved::parameters(hw, index);
    variables(hw, mode, entry, number & NO_CLEAR);
    registers(hw, entry);
    if hw.bda8(bda::FLAGS) & bda::FLAG_KEEP_PALETTE == 0 {
        hw.outb(vga::DAC_MASK, 0xff);
        dac::load(hw, dac::palette(mode, matches!(lines, Lines::L200)));
    }
    match model {
        MemoryModel::Text => {
            if clear {
                let segment = vga::text_segment(hw);
                hw.fill(far(segment, 0), 0x0720_0720, 0x8000);
            }
            if !saved::text_font(hw, mode) {
                let height = hw.read8(entry.at(modes::HEIGHT));
                fonts::load_rom(hw, height, 0);
            }
        }
        _ => {
            if clear && !dispi::present(hw) {
                match model {
                    MemoryModel::Cga4 | MemoryModel::Cga2 => hw.fill(far(vga::COLOUR_SEGMENT, 0), 0, 0x4000),
                    _ => {
                        hw.fill(far(vga::GRAPHICS_SEGMENT, 0), 0, 0x8000);
                        hw.fill(far(vga::GRAPHICS_SEGMENT, 0x8000), 0, 0x8000);
                    }
                }
            }
        }
    }
    let font = hw.tables().at(fonts::rom_font(hw.bda8(bda::CHAR_HEIGHT)));
    hw.write_far(bda::FONT, font);
    if !matches!(model, MemoryModel::Text) {
        saved::graphics_font(hw, mode);
    }
    // Turn the screen on.
    let clocking = hw.read8(entry.at(modes::SEQUENCER));
    vga::write(hw, vga::SEQUENCER, 1, clocking);
    true
}

/// Sets the BIOS data area variables of a mode.
pub fn variables<H: Hw>(hw: &mut H, mode: u8, entry: Far, no_clear: u8) {
    hw.set_bda8(bda::MODE, mode);
    let columns = hw.read8(entry.at(modes::COLUMNS));
    hw.set_bda16(bda::COLUMNS, columns.into());
    let page_size = hw.read16(entry.at(modes::PAGE_SIZE));
    hw.set_bda16(bda::PAGE_SIZE, page_size);
    hw.set_bda16(bda::PAGE_START, 0);
    hw.set_bda8(bda::PAGE, 0);
    for page in 0..8 {
        hw.set_bda16(bda::CURSOR + 2 * page, 0);
    }
    let misc = hw.read8(entry.at(modes::MISC));
    hw.set_bda16(bda::CRTC, if misc & 1 != 0 { vga::CRTC_COLOUR } else { vga::CRTC_COLOUR - 0x20 });
    let rows = hw.read8(entry.at(modes::ROWS));
    hw.set_bda8(bda::ROWS, rows);
    let height = hw.read8(entry.at(modes::HEIGHT));
    hw.set_bda16(bda::CHAR_HEIGHT, height.into());
    let control = hw.bda8(bda::CONTROL) & !bda::CONTROL_NO_CLEAR;
    hw.set_bda8(bda::CONTROL, control | no_clear);
    let shape = if matches!(modes::memory_model(mode), MemoryModel::Text) { cursor::DEFAULT_SHAPE } else { 0 };
    hw.set_bda16(bda::CURSOR_SHAPE, shape);
    if mode <= 7 {
        let control = hw.table8(tables::CGA_MODE + u16::from(mode));
        hw.set_bda8(bda::CGA_MODE, control);
        hw.set_bda8(bda::CGA_COLOUR, if mode == 6 { 0x3f } else { 0x30 });
    }
}

/// Loads the VGA registers from a parameter table entry; the screen stays off (SR01 bit 5).
pub fn registers<H: Hw>(hw: &mut H, entry: Far) {
    vga::write(hw, vga::SEQUENCER, 0, 1);
    let clocking = hw.read8(entry.at(modes::SEQUENCER));
    vga::write(hw, vga::SEQUENCER, 1, clocking | SCREEN_OFF);
    let misc = hw.read8(entry.at(modes::MISC));
    hw.outb(vga::MISC, misc);
    for index in 2..=4 {
        let value = hw.read8(entry.at(modes::SEQUENCER - 1 + u16::from(index)));
        vga::write(hw, vga::SEQUENCER, index, value);
    }
    vga::write(hw, vga::SEQUENCER, 0, 3);
    for index in 0..modes::GRAPHICS_COUNT {
        let value = hw.read8(entry.at(modes::GRAPHICS + u16::from(index)));
        vga::write(hw, vga::GRAPHICS, index, value);
    }
    let crtc = vga::crtc(hw);
    let end = hw.read8(entry.at(modes::CRTC + 0x11));
    vga::write(hw, crtc, 0x11, end & !PROTECT);
    for index in 0..modes::CRTC_COUNT {
        let value = hw.read8(entry.at(modes::CRTC + u16::from(index)));
        vga::write(hw, crtc, index, value);
    }
    vga::attribute_reset(hw);
    for index in 0..modes::ATTRIBUTE_COUNT {
        let value = hw.read8(entry.at(modes::ATTRIBUTE + u16::from(index)));
        hw.outb(vga::ATTRIBUTE, index);
        hw.outb(vga::ATTRIBUTE, value);
        saved::palette(hw, index, value);
    }
    hw.outb(vga::ATTRIBUTE, modes::ATTRIBUTE_COUNT);
    hw.outb(vga::ATTRIBUTE, 0);
    hw.outb(vga::ATTRIBUTE, vga::PAS);
}
