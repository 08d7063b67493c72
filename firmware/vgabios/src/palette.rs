//! INT 10h AH=0Bh, CGA palette, and AH=10h, palette registers and DAC.

use crate::bda;
use crate::dac;
use crate::hw::{Far, Hw, far};
use crate::modes::{self, MemoryModel};
use crate::regs::Regs;
use crate::saved;
use crate::vga;

const MODE_CONTROL: u8 = 0x10;
const OVERSCAN: u8 = 0x11;
const COLOUR_SELECT: u8 = 0x14;
const LAST: u8 = 0x14;

const BLINK: u8 = 0x08;
/// Attribute mode control (10h), bit 7: colour select replaces palette bits 5-4 too, so the DAC has 16 pages of 16
/// colours instead of 4 of 64.
const SIXTEEN_PAGES: u8 = 0x80;

/// AH=0Bh: sets the background (BH=0) or the palette (BH=1) of CGA modes, by the bits of a CGA's colour select
/// register.
#[inline(never)]
pub fn cga<H: Hw>(hw: &mut H, function: u8, value: u8) {
    let graphics = matches!(modes::memory_model(hw.bda8(bda::MODE)), MemoryModel::Cga4 | MemoryModel::Cga2);
    let mut select = hw.bda8(bda::CGA_COLOUR);
    if function == 0 {
        select = select & 0xe0 | value & 0x1f;
        // Bit 3 of a CGA colour is bit 4 of the VGA palette register.
        let colour = value & 7 | (value & 8) << 1;
        vga::write_attribute(hw, OVERSCAN, colour);
        if graphics {
            vga::write_attribute(hw, 0, colour);
        }
    } else {
        select = select & 0xdf | (value & 1) << 5;
    }
    hw.set_bda8(bda::CGA_COLOUR, select);
    if matches!(modes::memory_model(hw.bda8(bda::MODE)), MemoryModel::Cga4) {
        for index in 1..=3 {
            let colour = index << 1 | select >> 5 & 1 | select & 0x10;
            vga::write_attribute(hw, index, colour);
        }
    }
}

/// Reads a DAC register.
fn read_colour<H: Hw>(hw: &mut H, index: u8) -> [u8; 3] {
    hw.outb(vga::DAC_READ, index);
    [hw.inb(vga::DAC_DATA), hw.inb(vga::DAC_DATA), hw.inb(vga::DAC_DATA)]
}

/// Writes the next DAC register; with grey-scale summing on, as grey.
fn write_colour<H: Hw>(hw: &mut H, mut colour: [u8; 3]) {
    if hw.bda8(bda::FLAGS) & bda::FLAG_GREY != 0 {
        colour = [dac::grey(colour); 3];
    }
    for level in colour {
        hw.outb(vga::DAC_DATA, level);
    }
}

/// AL=02h and 09h: writes or reads the 16 palette registers and the overscan from or to a table of 17 bytes.
fn transfer_registers<H: Hw>(hw: &mut H, at: Far, write: bool) {
    for index in 0..=16 {
        let register = if index == 16 { OVERSCAN } else { index };
        let at = at.at(index.into());
        if write {
            let value = hw.read8(at);
            saved::palette(hw, register, value);
            vga::write_attribute(hw, register, value);
        } else {
            let value = vga::read_attribute(hw, register);
            hw.write8(at, value);
        }
    }
}

fn set<H: Hw>(hw: &mut H, register: u8, value: u8) {
    if register <= LAST {
        saved::palette(hw, register, value);
        vga::write_attribute(hw, register, value);
    }
}

/// AH=10h: palette registers and DAC.
#[inline(never)]
pub fn call<H: Hw>(hw: &mut H, regs: &mut Regs) {
    let table = far(regs.es, regs.dx());
    match regs.al() {
        0x00 => set(hw, regs.bl(), regs.bh()),
        0x01 => set(hw, OVERSCAN, regs.bh()),
        0x02 => transfer_registers(hw, table, true),
        0x03 => {
            let mode = vga::read_attribute(hw, MODE_CONTROL) & !BLINK;
            let blink = regs.bl() & 1 != 0;
            vga::write_attribute(hw, MODE_CONTROL, if blink { mode | BLINK } else { mode });
            let cga = hw.bda8(bda::CGA_MODE) & !0x20;
            hw.set_bda8(bda::CGA_MODE, if blink { cga | 0x20 } else { cga });
        }
        0x07 if regs.bl() <= LAST => regs.set_bh(vga::read_attribute(hw, regs.bl())),
        0x08 => regs.set_bh(vga::read_attribute(hw, OVERSCAN)),
        0x09 => transfer_registers(hw, table, false),
        0x10 => {
            hw.outb(vga::DAC_WRITE, regs.bl());
            write_colour(hw, [regs.dh(), regs.ch(), regs.cl()]);
        }
        0x12 => {
            hw.outb(vga::DAC_WRITE, regs.bl());
            let mut at = table;
            for _ in 0..regs.cx().min(256) {
                let colour = [hw.read8(at), hw.read8(at.at(1)), hw.read8(at.at(2))];
                write_colour(hw, colour);
                at = at.at(3);
            }
        }
        0x13 => {
            let mode = vga::read_attribute(hw, MODE_CONTROL);
            if regs.bl() == 0 {
                let pages = if regs.bh() & 1 != 0 { SIXTEEN_PAGES } else { 0 };
                vga::write_attribute(hw, MODE_CONTROL, mode & !SIXTEEN_PAGES | pages);
            } else {
                let page = if mode & SIXTEEN_PAGES != 0 { regs.bh() & 0xf } else { (regs.bh() & 3) << 2 };
                vga::write_attribute(hw, COLOUR_SELECT, page);
            }
        }
        0x15 => {
            let [red, green, blue] = read_colour(hw, regs.bl());
            regs.set_dh(red);
            regs.set_ch(green);
            regs.set_cl(blue);
        }
        0x17 => {
            let mut at = table;
            hw.outb(vga::DAC_READ, regs.bl());
            for _ in 0..3 * regs.cx().min(256) {
                let level = hw.inb(vga::DAC_DATA);
                hw.write8(at, level);
                at = at.at(1);
            }
        }
        0x18 => hw.outb(vga::DAC_MASK, regs.bl()),
        0x19 => regs.set_bl(hw.inb(vga::DAC_MASK)),
        0x1a => {
            let mode = vga::read_attribute(hw, MODE_CONTROL);
            let page = vga::read_attribute(hw, COLOUR_SELECT) & 0xf;
            regs.set_bl(mode >> 7);
            regs.set_bh(if mode & SIXTEEN_PAGES != 0 { page } else { page >> 2 });
        }
        0x1b => {
            let mut index = regs.bl();
            for _ in 0..regs.cx().min(256) {
                let grey = dac::grey(read_colour(hw, index));
                hw.outb(vga::DAC_WRITE, index);
                for _ in 0..3 {
                    hw.outb(vga::DAC_DATA, grey);
                }
                index = index.wrapping_add(1);
            }
        }
        _ => {}
    }
}
