//! VBE functions 4F00h, controller information, and 4F01h, mode information.

use super::modes::{self, COUNT, Mode};
use super::{DONE, FAILED};
use crate::dispi;
use crate::hw::{Far, Hw, far};
use crate::regs::Regs;
use crate::tables;
use crate::vga;

const VERSION: u16 = 0x0300;
/// Capabilities: the DAC can be switched to 8 bits per colour.
const CAPABILITIES: u16 = 1;
const VBE2: [u16; 2] = [u16::from_le_bytes(*b"VB"), u16::from_le_bytes(*b"E2")];
/// Offset of the mode list in the information block: its reserved area.
const LIST: u16 = 0x22;
const SOFTWARE_REVISION: u16 = 0x0100;

/// ModeAttributes: supported, extended information, TTY output, colour, graphics, not VGA compatible.
const ATTRIBUTES: u16 = 0x3f;
const LINEAR: u16 = 0x80;
/// WinAttributes: relocatable, readable, writable.
const WINDOW: u16 = 7;
const WINDOW_KB: u16 = 64;
const MODEL_PLANAR: u8 = 3;
const MODEL_PACKED: u8 = 4;
const MODEL_DIRECT: u8 = 6;
const MAX_PIXEL_CLOCK: u32 = 400_000_000;

/// Frame buffer of the ISA variant of the adapter (Bochs).
const FRAME_BUFFER_ISA: u32 = 0xe000_0000;

const CLASS: u8 = 0x08;
const BAR_0: u8 = 0x10;
const CLASS_VGA: u32 = 0x0300;

/// Physical address of the frame buffer: BAR 0.
fn frame_buffer<H: Hw>(hw: &mut H) -> u32 {
    // The PCI address that POST passed, otherwise the first VGA on bus 0.
    let from_post = hw.pci_address();
    let mut at = Some(from_post).filter(|&at| config_read(hw, at, CLASS) >> 16 == CLASS_VGA);
    let mut device = 0;
    while at.is_none() && device < 32 {
        at = Some(device << 3).filter(|&at| config_read(hw, at, CLASS) >> 16 == CLASS_VGA);
        device += 1;
    }
    match at.map_or(0, |at| config_read(hw, at, BAR_0)) {
        0 | 0xffff_ffff => FRAME_BUFFER_ISA,
        bar => bar & 0xffff_fff0,
    }
}

/// Reads a dword of PCI configuration space by configuration mechanism 1.
fn config_read<H: Hw>(hw: &mut H, function: u16, register: u8) -> u32 {
    const ADDRESS: u16 = 0xcf8;
    const DATA: u16 = 0xcfc;
    hw.outl(ADDRESS, 0x8000_0000 | u32::from(function) << 8 | u32::from(register));
    hw.inl(DATA)
}

/// 4F00h: controller information.
#[inline(never)]
pub fn controller<H: Hw>(hw: &mut H, regs: &Regs) -> u16 {
    let to = far(regs.es, regs.di());
    let extended = [hw.read16(to), hw.read16(to.at(2))] == VBE2;
    if !dispi::present(hw) {
        return FAILED;
    }
    hw.fill(to, 0, if extended { 512 } else { 256 });
    let tables = hw.tables();
    hw.write16(to, u16::from_le_bytes(*b"VE"));
    hw.write16(to.at(2), u16::from_le_bytes(*b"SA"));
    hw.write16(to.at(4), VERSION);
    hw.write_far(to.at(6), tables.at(tables::OEM_NAME));
    hw.write16(to.at(0x0a), if H::CIRRUS { 0 } else { CAPABILITIES });
    hw.write_far(to.at(0x0e), to.at(LIST));
    let memory = dispi::read(hw, dispi::VIDEO_MEMORY_64K);
    hw.write16(to.at(0x12), memory);
    if extended {
        hw.write16(to.at(0x14), SOFTWARE_REVISION);
        hw.write_far(to.at(0x16), tables.at(tables::VENDOR_NAME));
        hw.write_far(to.at(0x1a), tables.at(tables::PRODUCT_NAME));
        hw.write_far(to.at(0x1e), tables.at(tables::PRODUCT_REVISION));
    }
    let mut at = to.at(LIST);
    for index in 0..COUNT {
        let mode = Mode::at(hw, index);
        if if H::CIRRUS { modes::fits(hw, &mode) } else { mode.banks() <= memory } {
            hw.write16(at, mode.number);
            at = at.at(2);
        }
    }
    hw.write16(at, 0xffff);
    DONE
}

/// Mask sizes and field positions of red, green, blue and reserved bits.
const fn masks(bpp: u8) -> [u8; 8] {
    match bpp {
        15 => [5, 10, 5, 5, 5, 0, 1, 15],
        16 => [5, 11, 6, 5, 5, 0, 0, 0],
        24 => [8, 16, 8, 8, 8, 0, 0, 0],
        32 => [8, 16, 8, 8, 8, 0, 8, 24],
        _ => [0; 8],
    }
}

fn write_masks<H: Hw>(hw: &mut H, to: Far, bpp: u8) {
    for (at, mask) in (0..).zip(masks(bpp)) {
        hw.write8(to.at(at), mask);
    }
}

/// 4F01h: mode information.
#[inline(never)]
pub fn mode<H: Hw>(hw: &mut H, regs: &Regs) -> u16 {
    let number = regs.cx() & super::set::NUMBER;
    if !dispi::present(hw) {
        return FAILED;
    }
    let Some(mode) = modes::find(hw, |mode| mode.number == number) else { return FAILED };
    let memory = dispi::read(hw, dispi::VIDEO_MEMORY_64K);
    let banks = mode.banks();
    if banks > memory || H::CIRRUS && !modes::fits(hw, &mode) {
        return FAILED;
    }
    let planar = mode.bpp == 4;
    let to = far(regs.es, regs.di());
    hw.fill(to, 0, 256);
    hw.write16(to, if planar { ATTRIBUTES } else { ATTRIBUTES | LINEAR });
    hw.write16(to.at(0x02), WINDOW);
    hw.write16(to.at(0x04), WINDOW_KB);
    hw.write16(to.at(0x06), WINDOW_KB);
    hw.write16(to.at(0x08), vga::GRAPHICS_SEGMENT);
    let window = hw.window_function();
    hw.write_far(to.at(0x0c), window);
    let line = modes::line_bytes(mode.width, mode.bpp);
    hw.write16(to.at(0x10), line);
    hw.write16(to.at(0x12), mode.width);
    hw.write16(to.at(0x14), mode.height);
    hw.write16(to.at(0x16), 8 | 16 << 8);
    hw.write8(to.at(0x18), if planar { 4 } else { 1 });
    hw.write8(to.at(0x19), mode.bpp);
    hw.write8(to.at(0x1a), 1);
    let model = match mode.bpp {
        4 => MODEL_PLANAR,
        8 => MODEL_PACKED,
        _ => MODEL_DIRECT,
    };
    hw.write8(to.at(0x1b), model);
    let images = memory.checked_div(banks).unwrap_or(1).clamp(1, 128) as u8 - 1;
    hw.write8(to.at(0x1d), images);
    hw.write8(to.at(0x1e), 1);
    write_masks(hw, to.at(0x1f), mode.bpp);
    // DirectColorModeInfo bit 1: programs may use the reserved bits of 15 and 32 bpp pixels.
    hw.write8(to.at(0x27), if matches!(mode.bpp, 15 | 32) { 2 } else { 0 });
    if !planar {
        let base = frame_buffer(hw);
        hw.write16(to.at(0x28), base as u16);
        hw.write16(to.at(0x2a), (base >> 16) as u16);
        hw.write16(to.at(0x32), line);
        hw.write8(to.at(0x35), images);
        write_masks(hw, to.at(0x36), mode.bpp);
    }
    hw.write8(to.at(0x34), images);
    hw.write16(to.at(0x3e), MAX_PIXEL_CLOCK as u16);
    hw.write16(to.at(0x40), (MAX_PIXEL_CLOCK >> 16) as u16);
    DONE
}
