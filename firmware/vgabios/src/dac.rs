//! DAC default palettes, loaded by a mode set, and grey-scale summing.

use crate::bda;
use crate::hw::Hw;
use crate::tables;
use crate::vga;

/// Default palettes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// The 64 colours of an EGA: bits 2-0 are red, green and blue at 2/3 intensity, bits 5-3 at 1/3.
    Ega,
    /// The 16 colours of a CGA; bit 4 is intensity.
    Cga,
    /// Monochrome: bit 3 or 4 is normal intensity, both are high intensity.
    Mono,
    /// The 256 colours of mode 13h.
    Full,
}

/// Default palette of a mode; `lines_200` is set if text modes have 200 scan lines.
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

/// RGB of a CGA colour; dark yellow is brown.
pub fn cga(colour: u8, bright: bool) -> [u8; 3] {
    let level = |bit: u8| (colour >> bit & 1) * 0x2a + if bright { 0x15 } else { 0 };
    if colour & 7 == 6 && !bright {
        return [0x2a, 0x15, 0];
    }
    [level(2), level(1), level(0)]
}

/// Level of red, green or blue (`phase` 0, 8 or 16) for hue `hue`: 0 weakest, 4 strongest. 24 hues go round the colour
/// circle from blue by way of magenta, red, yellow, green and cyan.
fn hue_level(hue: u8, phase: u8) -> u8 {
    let step = (hue + 24 - phase) % 24;
    match step {
        0..=3 => step,
        4..=12 => 4,
        13..=15 => 16 - step,
        _ => 0,
    }
}

/// Entry `index` of a default palette: red, green and blue, six bits each.
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
            16..=31 => [hw.table8(tables::MODE_13_GREYS + u16::from(index & 15)); 3],
            32..=247 => {
                let at = index - 32;
                let levels = tables::MODE_13_LEVELS + u16::from(at / 24) * 5;
                let hue = at % 24;
                // Red has full level from magenta (4) to yellow (12), green from yellow on, blue from cyan on.
                let level = |phase: u8| hw.table8(levels + u16::from(hue_level(hue, phase)));
                [level(0), level(8), level(16)]
            }
            _ => [0; 3],
        },
    }
}

/// Grey-scale sum of a colour: 30 % red, 59 % green, 11 % blue.
pub fn grey([red, green, blue]: [u8; 3]) -> u8 {
    ((u16::from(red) * 77 + u16::from(green) * 151 + u16::from(blue) * 28 + 128) >> 8) as u8
}

/// Loads a default palette into the DAC.
#[inline(never)]
pub fn load<H: Hw>(hw: &mut H, palette: Palette) {
    let grey_summing = hw.bda8(bda::FLAGS) & bda::FLAG_GREY != 0;
    hw.outb(vga::DAC_WRITE, 0);
    let last = if matches!(palette, Palette::Full) { 255 } else { 63 };
    for index in 0..=last {
        if index & 0x1f == 0x1f {
            hw.let_interrupts_in();
        }
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
