//! Standard VGA modes from the parameter table of pcvm's VGA BIOS, and its fonts.

use super::Op;

/// The committed image of pcvm's VGA BIOS.
const ROM: &[u8] = include_bytes!("../../../../firmware/prebuilt/vgabios.bin");
/// Offset of the tables in the ROM: mode parameters, then fonts.
const PARAMETERS: usize = 0x60;
const ENTRIES: usize = 29;
const ENTRY: usize = 64;
const FONTS: usize = PARAMETERS + ENTRIES * ENTRY;

const MISC: u16 = 0x3C2;
const SEQUENCER: u16 = 0x3C4;
const GRAPHICS: u16 = 0x3CE;
const ATTRIBUTE: u16 = 0x3C0;

/// A standard mode: index of an entry of the video parameter table (IBM Personal System/2 and Personal Computer BIOS
/// Interface Technical Reference).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(usize);

impl Mode {
    /// 40 columns, 200 lines.
    pub const TEXT_40_200: Self = Self(1);
    /// 80 columns, 200 lines.
    pub const TEXT_80_200: Self = Self(3);
    /// 320 by 200, four colours.
    pub const CGA_4: Self = Self(5);
    /// 640 by 200, two colours.
    pub const CGA_2: Self = Self(6);
    /// 80 monochrome columns, 350 lines.
    pub const MONO_350: Self = Self(7);
    /// 320 by 200, 16 colours.
    pub const PLANAR_0D: Self = Self(0x0D);
    /// 640 by 200, 16 colours.
    pub const PLANAR_0E: Self = Self(0x0E);
    /// 640 by 350, monochrome.
    pub const PLANAR_0F: Self = Self(0x11);
    /// 640 by 350, 16 colours.
    pub const PLANAR_10: Self = Self(0x12);
    /// 80 columns, 350 lines.
    pub const TEXT_80_350: Self = Self(0x15);
    /// 40 columns, 400 lines.
    pub const TEXT_40_400: Self = Self(0x17);
    /// 80 columns, 400 lines.
    pub const TEXT_80_400: Self = Self(0x18);
    /// 80 monochrome columns, 400 lines.
    pub const MONO_400: Self = Self(0x19);
    /// 640 by 480, two colours.
    pub const PLANAR_11: Self = Self(0x1A);
    /// 640 by 480, 16 colours.
    pub const PLANAR_12: Self = Self(0x1B);
    /// 320 by 200, 256 colours.
    pub const LINEAR_13: Self = Self(0x1C);

    fn entry(self) -> &'static [u8] {
        &ROM[PARAMETERS + self.0 * ENTRY..][..ENTRY]
    }

    /// Index port of the CRT controller.
    pub fn crtc(self) -> u16 {
        if self.entry()[9] & 1 != 0 { 0x3D4 } else { 0x3B4 }
    }

    /// Sets all registers except the DAC. Video memory stays, so the picture shows its contents.
    pub fn set(self) -> Vec<Op> {
        let entry = self.entry();
        let pairs = |port: u16, first: u8, values: &[u8]| -> Vec<Op> {
            values.iter().zip(first..).map(|(&value, index)| register(port, index, value)).collect()
        };
        let mut ops = vec![register(SEQUENCER, 0, 1)];
        ops.extend(pairs(SEQUENCER, 1, &entry[5..9]));
        ops.push(Op::Out8(MISC, entry[9]));
        ops.push(register(SEQUENCER, 0, 3));
        // Clear the write protection of CRTC 00h-07h.
        ops.push(register(self.crtc(), 0x11, 0));
        ops.extend(pairs(self.crtc(), 0, &entry[10..35]));
        ops.extend(pairs(GRAPHICS, 0, &entry[55..64]));
        ops.extend(entry[35..55].iter().zip(0..).flat_map(|(&value, index)| attribute(self, index, value)));
        ops.extend(attribute(self, 0x14, 0));
        ops
    }

    /// Maps 64 KiB of all planes at A0000h, written in write mode 0 without set/reset, rotation or mask.
    pub fn all_planes() -> Vec<Op> {
        vec![
            // RAM enabled, colour.
            Op::Out8(MISC, 0x63),
            register(SEQUENCER, 2, 0xF),
            register(SEQUENCER, 4, 6),
            register(GRAPHICS, 0, 0),
            register(GRAPHICS, 1, 0),
            register(GRAPHICS, 3, 0),
            register(GRAPHICS, 5, 0),
            register(GRAPHICS, 6, 5),
            register(GRAPHICS, 8, 0xFF),
        ]
    }
}

/// Writes an indexed register.
pub fn register(port: u16, index: u8, value: u8) -> Op {
    Op::Out16(port, u16::from_le_bytes([index, value]))
}

/// Writes an attribute controller register and sets PAS again.
pub fn attribute(mode: Mode, index: u8, value: u8) -> Vec<Op> {
    vec![Op::In8(mode.crtc() + 6), Op::Out8(ATTRIBUTE, index), Op::Out8(ATTRIBUTE, value), Op::Out8(ATTRIBUTE, 0x20)]
}

/// Loads the DAC with the 64 colours of an EGA: bits 2-0 at 2/3 intensity, bits 5-3 at 1/3.
pub fn ega_colours() -> Vec<Op> {
    let mut ops = vec![Op::Out8(0x3C6, 0xFF), Op::Out8(0x3C8, 0)];
    for n in 0..64_u8 {
        for bit in [2, 1, 0] {
            ops.push(Op::Out8(0x3C9, (n >> bit & 1) * 0x2A + (n >> (bit + 3) & 1) * 0x15));
        }
    }
    ops
}

/// Loads the DAC with 256 colours: eight levels of red, eight of green, four of blue.
pub fn cube_colours() -> Vec<Op> {
    let mut ops = vec![Op::Out8(0x3C6, 0xFF), Op::Out8(0x3C8, 0)];
    for n in 0..=255_u8 {
        ops.extend([n >> 5, n >> 2 & 7, (n & 3) * 2].map(|part| Op::Out8(0x3C9, part * 9)));
    }
    ops
}

/// A font of the VGA BIOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Font {
    /// Eight lines.
    Height8,
    /// 14 lines.
    Height14,
    /// 16 lines.
    Height16,
}

impl Font {
    /// The 256 glyphs in the layout of plane 2: 32 bytes each.
    pub fn glyphs(self) -> Vec<u8> {
        let (offset, height) = match self {
            Self::Height8 => (0, 8),
            Self::Height14 => (2048, 14),
            Self::Height16 => (2048 + 3584, 16),
        };
        let mut glyphs = vec![0; 256 * 32];
        for (glyph, lines) in glyphs.chunks_exact_mut(32).zip(ROM[FONTS + offset..].chunks_exact(height)) {
            glyph[..height].copy_from_slice(lines);
        }
        glyphs
    }

    /// RAM address at which scenes store the font (see [`super::scenes`]).
    pub fn ram_address(self) -> u32 {
        match self {
            Self::Height8 => 0x2_0000,
            Self::Height14 => 0x2_2000,
            Self::Height16 => 0x2_4000,
        }
    }
}
