//! The DAC's colours that a mode set loads, and grey summing.

use crate::bda;
use crate::hw::Hw;
use crate::tables;
use crate::vga;

/// Which colours a mode starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// The 64 colours of an EGA: bits 2-0 are red, green and blue at two thirds, bits 5-3 at one third.
    Ega,
    /// 16 colours of a CGA, bit 4 for intensity.
    Cga,
    /// Black, normal, and with bits 3 and 4 both, bright.
    Mono,
    /// The 256 colours of mode 13h.
    Full,
}

/// The palette of a mode with a given number of lines.
pub const fn palette(mode: u8, lines_200: bool) -> Palette {
    match mode {
        7 | 0x0f => Palette::Mono,
        0x13 => Palette::Full,
        0x04..=0x06 | 0x0d | 0x0e => Palette::Cga,
        0..=3 if lines_200 => Palette::Cga,
        _ => Palette::Ega,
    }
}

fn third(bit: u8) -> u8 {
    (bit & 1) * 0x15
}

/// A colour of a CGA; dark yellow is brown.
pub fn cga(colour: u8, bright: bool) -> [u8; 3] {
    let level = |bit: u8| (colour >> bit & 1) * 0x2a + if bright { 0x15 } else { 0 };
    if colour & 7 == 6 && !bright {
        return [0x2a, 0x15, 0];
    }
    [level(2), level(1), level(0)]
}

/// Red, green or blue (`turn` 0, 8 or 16, in steps of the colour circle) of hue `hue`, which counts from blue by way of
/// magenta, red, yellow, green and cyan in 24 steps; 0 weakest, 4 strongest.
fn hue_level(hue: u8, turn: u8) -> u8 {
    let step = (hue + 24 - turn) % 24;
    match step {
        0..=3 => step,
        4..=12 => 4,
        13..=15 => 16 - step,
        _ => 0,
    }
}

/// A colour of a palette, six bits each of red, green and blue.
pub fn colour<H: Hw>(hw: &H, palette: Palette, index: u8) -> [u8; 3] {
    match palette {
        Palette::Ega => {
            let level = |bit: u8| (index >> bit & 1) * 0x2a + third(index >> (bit + 3));
            [level(2), level(1), level(0)]
        }
        Palette::Cga => cga(index & 7, index & 0x10 != 0),
        Palette::Mono => {
            let (normal, bright) = (index >> 3 & 1, index >> 4 & 1);
            [(normal | bright) * 0x2a + third(normal & bright); 3]
        }
        Palette::Full => match index {
            0..=15 => cga(index & 7, index & 8 != 0),
            16..=31 => [hw.table8(tables::GREYS + u16::from(index & 15)); 3],
            32..=247 => {
                let at = index - 32;
                let levels = tables::LEVELS + u16::from(at / 24) * 5;
                let hue = at % 24;
                // Red is strongest from magenta (4) to yellow (12), green from yellow on, blue from cyan on.
                let level = |turn: u8| hw.table8(levels + u16::from(hue_level(hue, turn)));
                [level(0), level(8), level(16)]
            }
            _ => [0; 3],
        },
    }
}

/// The grey of a colour: 30 % red, 59 % green, 11 % blue.
pub fn grey([red, green, blue]: [u8; 3]) -> u8 {
    ((u16::from(red) * 77 + u16::from(green) * 151 + u16::from(blue) * 28 + 128) >> 8) as u8
}

/// Loads a mode's colours.
#[inline(never)]
pub fn load<H: Hw>(hw: &mut H, palette: Palette) {
    let grey_summing = hw.bda8(bda::FLAGS) & bda::FLAG_GREY != 0;
    hw.outb(vga::DAC_WRITE, 0);
    let last = if matches!(palette, Palette::Full) { 255 } else { 63 };
    for index in 0..=last {
        let mut rgb = colour(hw, palette, index);
        if grey_summing {
            rgb = [grey(rgb); 3];
        }
        let [red, green, blue] = rgb;
        hw.outb(vga::DAC_DATA, red);
        hw.outb(vga::DAC_DATA, green);
        hw.outb(vga::DAC_DATA, blue);
    }
}
