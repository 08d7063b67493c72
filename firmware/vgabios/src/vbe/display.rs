//! VBE functions 4F05h, window control; 4F06h, logical scan line length; 4F07h, display start.

use super::modes::{line_bytes, pixel_bytes};
use super::set::active;
use super::{DONE, FAILED, INVALID, UNSUPPORTED};
use crate::dispi;
use crate::hw::Hw;
use crate::regs::Regs;

/// 4F05h: window control.
#[inline(never)]
pub fn window<H: Hw>(hw: &mut H, regs: &mut Regs) -> u16 {
    if active(hw).is_none() {
        return INVALID;
    }
    if regs.bl() != 0 {
        return FAILED;
    }
    match regs.bh() {
        0 => {
            if regs.dx() >= dispi::read(hw, dispi::VIDEO_MEMORY_64K) {
                return FAILED;
            }
            dispi::write(hw, dispi::BANK, regs.dx());
        }
        1 => regs.set_dx(dispi::read(hw, dispi::BANK)),
        _ => return FAILED,
    }
    DONE
}

/// Maximum scan line length in pixels: video memory must hold the mode's height.
fn longest<H: Hw>(hw: &mut H, bpp: u8, height: u16) -> u16 {
    let memory = u32::from(dispi::read(hw, dispi::VIDEO_MEMORY_64K)) << 16;
    let bytes = memory.checked_div(height.into()).unwrap_or(0);
    let pixels = match bpp {
        4 => bytes * 2,
        _ => bytes.checked_div(pixel_bytes(bpp).into()).unwrap_or(0),
    };
    // The bytes per scan line must fit in a word too.
    let most = if H::CIRRUS {
        crate::cirrus::LINE_MAX.checked_div(pixel_bytes(bpp).into()).unwrap_or(0)
    } else if bpp == 4 {
        0xfff8
    } else {
        0xffffu32.checked_div(pixel_bytes(bpp).into()).unwrap_or(0)
    };
    (pixels.min(most) & !7) as u16
}

/// 4F06h: logical scan line length.
#[inline(never)]
pub fn line_length<H: Hw>(hw: &mut H, regs: &mut Regs) -> u16 {
    let Some((mode, _)) = active(hw) else { return INVALID };
    let bpp = mode.bpp;
    let longest = longest(hw, bpp, mode.height);
    let wanted = match regs.bl() {
        0 => Some(u32::from(regs.cx())),
        2 => Some(match bpp {
            4 => u32::from(regs.cx()) << 3,
            // Round up to whole pixels.
            _ => {
                let bytes = u32::from(pixel_bytes(bpp));
                (u32::from(regs.cx()) + bytes - 1).checked_div(bytes).unwrap_or(0)
            }
        }),
        1 => None,
        3 => {
            regs.set_bx(line_bytes(longest, bpp));
            regs.set_cx(longest);
            regs.set_dx(dispi::read(hw, dispi::VIRT_HEIGHT));
            return DONE;
        }
        _ => return FAILED,
    };
    if let Some(wanted) = wanted {
        let wanted = ((wanted + 7) & !7).max(mode.width.into());
        if wanted > u32::from(longest) {
            return UNSUPPORTED;
        }
        dispi::write(hw, dispi::VIRT_WIDTH, wanted as u16);
    }
    let width = dispi::read(hw, dispi::VIRT_WIDTH);
    regs.set_bx(line_bytes(width, bpp));
    regs.set_cx(width);
    regs.set_dx(dispi::read(hw, dispi::VIRT_HEIGHT));
    DONE
}

/// 4F07h: display start.
#[inline(never)]
pub fn start<H: Hw>(hw: &mut H, regs: &mut Regs) -> u16 {
    let Some((mode, _)) = active(hw) else { return INVALID };
    let (x, y) = match regs.bl() {
        0x00 | 0x80 => (regs.cx(), regs.dx()),
        0x01 => {
            regs.set_bh(0);
            regs.set_cx(dispi::read(hw, dispi::X_OFFSET));
            regs.set_dx(dispi::read(hw, dispi::Y_OFFSET));
            return DONE;
        }
        // Scheduled display start by byte address: takes effect at once.
        0x02 | 0x82 => {
            let line = u32::from(line_bytes(dispi::read(hw, dispi::VIRT_WIDTH), mode.bpp));
            let y = regs.ecx.checked_div(line).unwrap_or(0);
            let rest = regs.ecx.wrapping_sub(y.wrapping_mul(line));
            let x = match mode.bpp {
                4 => rest << 3,
                bpp => rest.checked_div(pixel_bytes(bpp).into()).unwrap_or(0),
            };
            if y > 0xffff {
                return FAILED;
            }
            (x as u16, y as u16)
        }
        // Scheduled starts take effect at once, so none is ever pending.
        0x04 => {
            regs.set_cx(1);
            return DONE;
        }
        _ => return UNSUPPORTED,
    };
    // A displayed line may pass the end of a logical line: it continues in the next one. Only what lies outside video
    // memory cannot be displayed.
    let width = dispi::read(hw, dispi::VIRT_WIDTH);
    let line = u32::from(line_bytes(width, mode.bpp));
    let bytes = |pixels: u16| match mode.bpp {
        4 => u32::from(pixels >> 3),
        bpp => u32::from(pixels) * u32::from(pixel_bytes(bpp)),
    };
    let memory = u32::from(dispi::read(hw, dispi::VIDEO_MEMORY_64K)) << if mode.bpp == 4 { 14 } else { 16 };
    let lines = u32::from(y) + u32::from(mode.height) - 1;
    if lines.saturating_mul(line).saturating_add(bytes(x) + bytes(mode.width)) > memory {
        return FAILED;
    }
    dispi::write(hw, dispi::X_OFFSET, x);
    dispi::write(hw, dispi::Y_OFFSET, y);
    DONE
}
