//! VGA register access (IBM Personal System/2 Hardware Interface Technical Reference, "Video Subsystem").

use crate::bda;
use crate::hw::Hw;

/// Attribute controller: writes alternate between index and data.
pub const ATTRIBUTE: u16 = 0x3c0;
/// Attribute controller data, read.
pub const ATTRIBUTE_READ: u16 = 0x3c1;
/// Miscellaneous output register, write.
pub const MISC: u16 = 0x3c2;
/// Sequencer index; data is the next port.
pub const SEQUENCER: u16 = 0x3c4;
/// DAC pixel mask.
pub const DAC_MASK: u16 = 0x3c6;
/// DAC read index.
pub const DAC_READ: u16 = 0x3c7;
/// DAC write index.
pub const DAC_WRITE: u16 = 0x3c8;
/// DAC data: red, green, blue.
pub const DAC_DATA: u16 = 0x3c9;
/// Miscellaneous output register, read.
pub const MISC_READ: u16 = 0x3cc;
/// Graphics controller index; data is the next port.
pub const GRAPHICS: u16 = 0x3ce;
/// CRT controller index in colour modes; 20h lower in monochrome modes.
pub const CRTC_COLOUR: u16 = 0x3d4;

/// Segment of planar and linear graphics memory.
pub const GRAPHICS_SEGMENT: u16 = 0xa000;
/// Segment of colour text and CGA graphics.
pub const COLOUR_SEGMENT: u16 = 0xb800;
/// Segment of monochrome text.
pub const MONO_SEGMENT: u16 = 0xb000;

/// Attribute address register, bit 5 (PAS): the palette drives the display; without it the screen shows overscan.
pub const PAS: u8 = 0x20;

/// Writes an indexed register with one word write: index in the low byte, data in the high byte.
pub fn write<H: Hw>(hw: &mut H, port: u16, index: u8, value: u8) {
    hw.outw(port, u16::from(index) | u16::from(value) << 8);
}

/// Reads an indexed register.
pub fn read<H: Hw>(hw: &mut H, port: u16, index: u8) -> u8 {
    hw.outb(port, index);
    hw.inb(port.wrapping_add(1))
}

/// Index port of the CRT controller, from the BIOS data area.
pub fn crtc<H: Hw>(hw: &mut H) -> u16 {
    hw.bda16(bda::CRTC)
}

/// Resets the attribute controller's flip-flop by reading input status register 1: the next write to [`ATTRIBUTE`] is
/// an index.
pub fn attribute_reset<H: Hw>(hw: &mut H) {
    let status = crtc(hw).wrapping_add(6);
    hw.inb(status);
}

/// Writes an attribute controller register and sets PAS again.
pub fn write_attribute<H: Hw>(hw: &mut H, index: u8, value: u8) {
    attribute_reset(hw);
    hw.outb(ATTRIBUTE, index);
    hw.outb(ATTRIBUTE, value);
    hw.outb(ATTRIBUTE, PAS);
}

/// Reads an attribute controller register and sets PAS again.
pub fn read_attribute<H: Hw>(hw: &mut H, index: u8) -> u8 {
    attribute_reset(hw);
    hw.outb(ATTRIBUTE, index);
    let value = hw.inb(ATTRIBUTE_READ);
    attribute_reset(hw);
    hw.outb(ATTRIBUTE, PAS);
    value
}

/// Segment of text and CGA memory in the current mode.
pub fn text_segment<H: Hw>(hw: &mut H) -> u16 {
    if hw.bda8(bda::MODE) == 7 { MONO_SEGMENT } else { COLOUR_SEGMENT }
}
