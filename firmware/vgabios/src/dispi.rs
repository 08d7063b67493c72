//! Bochs display interface (VBE_DISPI): registers behind a 16-bit index port and a 16-bit data port.

use crate::cirrus;
use crate::hw::Hw;

const INDEX: u16 = 0x1ce;
const DATA: u16 = 0x1cf;

/// Version: B0C0h to B0CFh.
pub const ID: u16 = 0;
/// Width in pixels.
pub const XRES: u16 = 1;
/// Height in scan lines.
pub const YRES: u16 = 2;
/// Bits per pixel.
pub const BPP: u16 = 3;
/// Mode enable: [`ENABLED`] and the flags below it.
pub const ENABLE: u16 = 4;
/// 64 KiB bank in the window at A0000h.
pub const BANK: u16 = 5;
/// Pixels from one scan line to the next.
pub const VIRT_WIDTH: u16 = 6;
/// Scan lines that fit in video memory.
pub const VIRT_HEIGHT: u16 = 7;
/// First displayed pixel of a scan line.
pub const X_OFFSET: u16 = 8;
/// First displayed scan line.
pub const Y_OFFSET: u16 = 9;
/// Video memory in units of 64 KiB.
pub const VIDEO_MEMORY_64K: u16 = 0xa;

/// [`ENABLE`]: the mode in XRES, YRES and BPP is active.
pub const ENABLED: u16 = 0x01;
/// [`ENABLE`]: XRES, YRES and BPP read as the largest supported values.
pub const GETCAPS: u16 = 0x02;
/// [`ENABLE`]: DAC components have eight bits.
pub const DAC_8_BIT: u16 = 0x20;
/// [`ENABLE`]: linear frame buffer.
pub const LFB_ENABLED: u16 = 0x40;
/// [`ENABLE`]: do not clear video memory.
pub const NOCLEARMEM: u16 = 0x80;

const ID_MASK: u16 = 0xfff0;
pub(crate) const ID_BASE: u16 = 0xb0c0;

/// Writes a register.
pub fn write<H: Hw>(hw: &mut H, register: u16, value: u16) {
    if H::CIRRUS {
        return cirrus::write(hw, register, value);
    }
    hw.outw(INDEX, register);
    hw.outw(DATA, value);
}

/// Reads a register.
pub fn read<H: Hw>(hw: &mut H, register: u16) -> u16 {
    if H::CIRRUS {
        return cirrus::read(hw, register);
    }
    hw.outw(INDEX, register);
    hw.inw(DATA)
}

/// Whether the adapter has the interface.
pub fn present<H: Hw>(hw: &mut H) -> bool {
    H::CIRRUS || read(hw, ID) & ID_MASK == ID_BASE
}

/// Clears 256 KiB of video memory by enabling a mode of that size: the adapter clears it. Afterwards the VGA registers
/// are in effect again and must be loaded by a mode set.
pub fn clear_planes<H: Hw>(hw: &mut H) {
    if H::CIRRUS {
        return cirrus::clear_planes(hw);
    }
    write(hw, XRES, 1024);
    write(hw, YRES, 256);
    write(hw, BPP, 8);
    write(hw, ENABLE, ENABLED);
    write(hw, ENABLE, 0);
}
