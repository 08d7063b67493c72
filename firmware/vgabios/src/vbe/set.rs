//! VBE functions 4F02h, set mode, and 4F03h, return current mode.

use super::modes::{self, Mode};
use super::{DONE, FAILED};
use crate::bda;
use crate::dac::{self, Palette};
use crate::dispi;
use crate::hw::Hw;
use crate::regs::Regs;
use crate::set_mode;
use crate::tables;
use crate::vga;

/// BX bits 8-0: the mode number.
pub const NUMBER: u16 = 0x1ff;
const LINEAR: u16 = 1 << 14;
const NO_CLEAR: u16 = 1 << 15;
/// First VBE mode number.
const FIRST: u16 = 0x100;

const GLYPH_HEIGHT: u16 = 16;

/// 4F02h: set VBE mode.
#[inline(never)]
pub fn set<H: Hw>(hw: &mut H, regs: &Regs) -> u16 {
    let wanted = regs.bx();
    let number = wanted & NUMBER;
    if number < FIRST {
        let no_clear = if wanted & NO_CLEAR != 0 { set_mode::NO_CLEAR } else { 0 };
        let set = number & u16::from(set_mode::NO_CLEAR) == 0 && set_mode::set_mode(hw, number as u8 | no_clear);
        return if set { DONE } else { FAILED };
    }
    if !dispi::present(hw) {
        return FAILED;
    }
    let Some(mode) = modes::find(hw, |mode| mode.number == number) else { return FAILED };
    if !modes::fits(hw, &mode) || mode.bpp == 4 && wanted & LINEAR != 0 {
        return FAILED;
    }
    enable(hw, mode, wanted);
    DONE
}

/// Sets a mode of Cirrus' BIOS.
pub fn extended<H: Hw>(hw: &mut H, number: u16, mode: u8, no_clear: bool) -> bool {
    let Some(wanted) = modes::find(hw, |mode| mode.number == number) else { return false };
    enable(hw, wanted, if no_clear { NO_CLEAR } else { 0 });
    hw.set_bda8(bda::MODE, mode);
    true
}

#[inline(never)]
fn enable<H: Hw>(hw: &mut H, mode: Mode, wanted: u16) {
    dispi::write(hw, dispi::ENABLE, 0);
    // Load the VGA registers of a mode with the same memory layout: 12h for planar modes, 13h for the others.
    let entry = hw.tables().at(tables::parameters_of(if mode.bpp == 4 { 0x1b } else { 0x1c }));
    set_mode::variables(hw, bda::MODE_VBE, entry, if wanted & NO_CLEAR != 0 { bda::CONTROL_NO_CLEAR } else { 0 });
    set_mode::registers(hw, entry);
    if mode.bpp <= 8 && hw.bda8(bda::FLAGS) & bda::FLAG_KEEP_PALETTE == 0 {
        hw.outb(vga::DAC_MASK, 0xff);
        dac::load(hw, if mode.bpp == 4 { Palette::Ega } else { Palette::Full });
    }
    dispi::write(hw, dispi::XRES, mode.width);
    dispi::write(hw, dispi::YRES, mode.height);
    dispi::write(hw, dispi::BPP, mode.bpp.into());
    let linear = if wanted & LINEAR != 0 { dispi::LFB_ENABLED } else { 0 };
    let no_clear = if wanted & NO_CLEAR != 0 { dispi::NOCLEARMEM } else { 0 };
    dispi::write(hw, dispi::ENABLE, dispi::ENABLED | linear | no_clear);
    hw.set_bda16(bda::COLUMNS, mode.width / 8);
    hw.set_bda8(bda::ROWS, (mode.height / GLYPH_HEIGHT - 1) as u8);
    hw.set_bda16(bda::CHAR_HEIGHT, GLYPH_HEIGHT);
    hw.set_bda16(bda::PAGE_SIZE, 0);
    let font = hw.tables().at(tables::FONT16);
    hw.write_far(bda::FONT, font);
    let clocking = hw.read8(entry.at(crate::modes::SEQUENCER));
    vga::write(hw, vga::SEQUENCER, 1, clocking);
}

/// The active VBE mode and the ENABLE register, read from the adapter; `None` in VGA modes.
#[inline(never)]
pub fn active<H: Hw>(hw: &mut H) -> Option<(Mode, u16)> {
    if !dispi::present(hw) {
        return None;
    }
    let enable = dispi::read(hw, dispi::ENABLE);
    if enable & dispi::ENABLED == 0 {
        return None;
    }
    let (width, height) = (dispi::read(hw, dispi::XRES), dispi::read(hw, dispi::YRES));
    let bpp = dispi::read(hw, dispi::BPP) as u8;
    let number = modes::find(hw, |mode| mode.width == width && mode.height == height && mode.bpp == bpp)
        .map_or(NUMBER, |mode| mode.number);
    Some((Mode { number, width, height, bpp }, enable))
}

/// 4F03h: number of the current mode, with its linear and no-clear flags.
#[inline(never)]
pub fn current<H: Hw>(hw: &mut H) -> u16 {
    match active(hw) {
        Some((mode, enable)) => {
            mode.number
                | if enable & dispi::LFB_ENABLED != 0 { LINEAR } else { 0 }
                | if enable & dispi::NOCLEARMEM != 0 { NO_CLEAR } else { 0 }
        }
        None => {
            let no_clear = hw.bda8(bda::CONTROL) & bda::CONTROL_NO_CLEAR != 0;
            u16::from(hw.bda8(bda::MODE)) | if no_clear { NO_CLEAR } else { 0 }
        }
    }
}
