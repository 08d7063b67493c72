//! VBE functions 4F08h, DAC palette format, and 4F09h, palette data.

use super::set::active;
use super::{DONE, FAILED, INVALID, UNSUPPORTED};
use crate::dispi;
use crate::hw::{Hw, far};
use crate::regs::Regs;
use crate::vga;

/// 4F08h: bits per DAC colour component.
#[inline(never)]
pub fn width<H: Hw>(hw: &mut H, regs: &mut Regs) -> u16 {
    let state = active(hw);
    if state.is_some_and(|(mode, _)| mode.bpp > 8) {
        return INVALID;
    }
    let enable = state.map_or(0, |(_, enable)| enable);
    match regs.bl() {
        0 => {
            if regs.bh() < 6 {
                return FAILED;
            }
            // VGA modes always have 6 bits.
            if state.is_some() && !H::CIRRUS {
                let wide = if regs.bh() >= 8 { dispi::DAC_8_BIT } else { 0 };
                dispi::write(hw, dispi::ENABLE, enable & !dispi::DAC_8_BIT | wide);
                regs.set_bh(if wide != 0 { 8 } else { 6 });
            } else {
                regs.set_bh(6);
            }
        }
        1 => regs.set_bh(if enable & dispi::DAC_8_BIT != 0 { 8 } else { 6 }),
        _ => return FAILED,
    }
    DONE
}

/// 4F09h: palette data; an entry is blue, green, red and a padding byte.
#[inline(never)]
pub fn data<H: Hw>(hw: &mut H, regs: &Regs) -> u16 {
    if active(hw).is_some_and(|(mode, _)| mode.bpp > 8) {
        return INVALID;
    }
    let (first, count) = (regs.dx(), regs.cx());
    if u32::from(first) + u32::from(count) > 256 {
        return FAILED;
    }
    let mut at = far(regs.es, regs.di());
    match regs.bl() {
        0x00 | 0x80 => {
            hw.outb(vga::DAC_WRITE, first as u8);
            for _ in 0..count {
                for part in [2, 1, 0] {
                    let level = hw.read8(at.at(part));
                    hw.outb(vga::DAC_DATA, level);
                }
                at = at.at(4);
            }
        }
        0x01 => {
            hw.outb(vga::DAC_READ, first as u8);
            for _ in 0..count {
                for part in [2, 1, 0] {
                    let level = hw.inb(vga::DAC_DATA);
                    hw.write8(at.at(part), level);
                }
                hw.write8(at.at(3), 0);
                at = at.at(4);
            }
        }
        // Secondary palette data.
        0x02 | 0x03 => return UNSUPPORTED,
        _ => return FAILED,
    }
    DONE
}
