//! The VGA's ports (IBM Personal System/2 Hardware Interface Technical Reference, "Video Subsystem").

use crate::bda;
use crate::hw::Hw;

/// Attribute controller: index and data by turns.
pub const ATTRIBUTE: u16 = 0x3c0;
/// Attribute controller, reading.
pub const ATTRIBUTE_READ: u16 = 0x3c1;
/// Miscellaneous output register.
pub const MISC: u16 = 0x3c2;
/// Sequencer index; data is the next port.
pub const SEQUENCER: u16 = 0x3c4;
/// DAC pixel mask.
pub const DAC_MASK: u16 = 0x3c6;
/// DAC index for reading.
pub const DAC_READ: u16 = 0x3c7;
/// DAC index for writing.
pub const DAC_WRITE: u16 = 0x3c8;
/// DAC data: red, green, blue.
pub const DAC_DATA: u16 = 0x3c9;
/// Miscellaneous output register, reading.
pub const MISC_READ: u16 = 0x3cc;
/// Graphics controller index; data is the next port.
pub const GRAPHICS: u16 = 0x3ce;
/// CRT controller index in colour; 20h less in monochrome.
pub const CRTC_COLOUR: u16 = 0x3d4;

/// Segment of graphics memory.
pub const GRAPHICS_SEGMENT: u16 = 0xa000;
/// Segment of text and CGA graphics.
pub const COLOUR_SEGMENT: u16 = 0xb800;
/// Segment of monochrome text.
pub const MONO_SEGMENT: u16 = 0xb000;

/// The attribute controller's index with this bit lets the palette be shown.
pub const SHOW: u8 = 0x20;

/// Writes a register of an index and data pair: one word write, index low.
pub fn write<H: Hw>(hw: &mut H, port: u16, index: u8, value: u8) {
    hw.outw(port, u16::from(index) | u16::from(value) << 8);
}

/// Reads a register of an index and data pair.
pub fn read<H: Hw>(hw: &mut H, port: u16, index: u8) -> u8 {
    hw.outb(port, index);
    hw.inb(port.wrapping_add(1))
}

/// The CRT controller's index port.
pub fn crtc<H: Hw>(hw: &mut H) -> u16 {
    hw.bda16(bda::CRTC)
}

/// The next write to [`ATTRIBUTE`] is an index: a read of input status 1 sees to it.
pub fn attribute_reset<H: Hw>(hw: &mut H) {
    let status = crtc(hw).wrapping_add(6);
    hw.inb(status);
}

/// Writes an attribute controller register; the screen stays on.
pub fn write_attribute<H: Hw>(hw: &mut H, index: u8, value: u8) {
    attribute_reset(hw);
    hw.outb(ATTRIBUTE, index);
    hw.outb(ATTRIBUTE, value);
    hw.outb(ATTRIBUTE, SHOW);
}

/// Reads an attribute controller register; the screen stays on.
pub fn read_attribute<H: Hw>(hw: &mut H, index: u8) -> u8 {
    attribute_reset(hw);
    hw.outb(ATTRIBUTE, index);
    let value = hw.inb(ATTRIBUTE_READ);
    attribute_reset(hw);
    hw.outb(ATTRIBUTE, SHOW);
    value
}

/// The segment of the text page or CGA memory of the current mode.
pub fn text_segment<H: Hw>(hw: &mut H) -> u16 {
    if hw.bda8(bda::MODE) == 7 { MONO_SEGMENT } else { COLOUR_SEGMENT }
}
