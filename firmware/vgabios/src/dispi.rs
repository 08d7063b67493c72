//! The Bochs display interface: an index port and a data port, both 16 bits wide.

use crate::hw::Hw;

const INDEX: u16 = 0x1ce;
const DATA: u16 = 0x1cf;

/// Version.
pub const ID: u16 = 0;
/// Pixels of a line.
pub const XRES: u16 = 1;
/// Lines.
pub const YRES: u16 = 2;
/// Bits of a pixel.
pub const BPP: u16 = 3;
/// See the constants of that name.
pub const ENABLE: u16 = 4;
/// 64 KiB bank at A0000h.
pub const BANK: u16 = 5;
/// Pixels from a line to the next.
pub const VIRT_WIDTH: u16 = 6;
/// Lines there is memory for.
pub const VIRT_HEIGHT: u16 = 7;
/// First pixel shown.
pub const X_OFFSET: u16 = 8;
/// First line shown.
pub const Y_OFFSET: u16 = 9;
/// Video memory in units of 64 KiB.
pub const MEMORY: u16 = 0xa;

/// [`ENABLE`]: the mode is on.
pub const ENABLED: u16 = 0x01;
/// [`ENABLE`]: the resolution registers tell the most that can be set.
pub const CAPABILITIES: u16 = 0x02;
/// [`ENABLE`]: colours of the DAC have eight bits.
pub const DAC_8_BIT: u16 = 0x20;
/// [`ENABLE`]: the linear frame buffer is used.
pub const LINEAR: u16 = 0x40;
/// [`ENABLE`]: memory is not cleared.
pub const NO_CLEAR: u16 = 0x80;

const ID_MASK: u16 = 0xfff0;
const ID_BASE: u16 = 0xb0c0;

/// Writes a register.
pub fn write<H: Hw>(hw: &mut H, register: u16, value: u16) {
    hw.outw(INDEX, register);
    hw.outw(DATA, value);
}

/// Reads a register.
pub fn read<H: Hw>(hw: &mut H, register: u16) -> u16 {
    hw.outw(INDEX, register);
    hw.inw(DATA)
}

/// Whether the adapter has the interface.
pub fn present<H: Hw>(hw: &mut H) -> bool {
    read(hw, ID) & ID_MASK == ID_BASE
}

/// Clears the VGA's 256 KiB by setting a mode of that size, which the adapter does by itself; the VGA's modes are on
/// again afterwards, with registers that a mode set has to load.
pub fn clear_planes<H: Hw>(hw: &mut H) {
    write(hw, XRES, 1024);
    write(hw, YRES, 256);
    write(hw, BPP, 8);
    write(hw, ENABLE, ENABLED);
    write(hw, ENABLE, 0);
}
