//! RFB pixel formats: conversion of 00RRGGBBh to a client's pixels (RFC 6143, section 7.4).

/// PIXEL_FORMAT (RFC 6143, section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelFormat {
    /// bits-per-pixel: 8, 16 or 32.
    pub bits: u8,
    /// Useful bits of a pixel.
    pub depth: u8,
    /// big-endian-flag.
    pub big_endian: bool,
    /// true-color-flag: pixels hold red, green and blue; else an index into the colour map.
    pub true_colour: bool,
    /// red-max, green-max, blue-max.
    pub max: [u16; 3],
    /// red-shift, green-shift, blue-shift.
    pub shift: [u8; 3],
}

/// The server's format in ServerInit: 32 bits per pixel, 00RRGGBBh, little endian.
pub const NATIVE: PixelFormat =
    PixelFormat { bits: 32, depth: 24, big_endian: false, true_colour: true, max: [255; 3], shift: [16, 8, 0] };
/// The format for clients that ask for a colour map: 8 bits, of which the map gives 3 to red, 3 to green, 2 to blue.
pub const COLOUR_MAP: PixelFormat =
    PixelFormat { bits: 8, depth: 8, big_endian: false, true_colour: false, max: [7, 7, 3], shift: [5, 2, 0] };

impl PixelFormat {
    /// Parses a client's PIXEL_FORMAT; `None` if it is invalid or not supported.
    pub fn parse(bytes: &[u8; 16]) -> Option<Self> {
        let [bits, depth, big_endian, true_colour, r1, r0, g1, g0, b1, b0, rs, gs, bs, ..] = *bytes;
        if !matches!(bits, 8 | 16 | 32) || depth > bits {
            return None;
        }
        if true_colour == 0 {
            return (bits == 8).then_some(COLOUR_MAP);
        }
        let max = [[r1, r0], [g1, g0], [b1, b0]].map(u16::from_be_bytes);
        let shift = [rs, gs, bs];
        let fits = |(max, shift): (&u16, &u8)| {
            (u32::from(*max) + 1).is_power_of_two() && u32::from(*shift) + max.count_ones() <= u32::from(bits)
        };
        let valid = max.iter().zip(&shift).all(fits);
        valid.then_some(Self { bits, depth, big_endian: big_endian != 0, true_colour: true, max, shift })
    }

    /// The format as the 16 bytes of PIXEL_FORMAT.
    pub fn to_bytes(self) -> [u8; 16] {
        let [[r1, r0], [g1, g0], [b1, b0]] = self.max.map(u16::to_be_bytes);
        let [rs, gs, bs] = self.shift;
        let flag = u8::from;
        [
            self.bits,
            self.depth,
            flag(self.big_endian),
            flag(self.true_colour),
            r1,
            r0,
            g1,
            g0,
            b1,
            b0,
            rs,
            gs,
            bs,
            0,
            0,
            0,
        ]
    }

    /// The entries of the colour map of [`COLOUR_MAP`]: red, green, blue, 16 bits each.
    pub fn colour_map() -> impl Iterator<Item = [u16; 3]> {
        (0..=255_u32).map(|index| {
            let scale = |n: usize| {
                let max = u32::from(COLOUR_MAP.max[n]);
                ((index >> COLOUR_MAP.shift[n] & max) * 0xffff / max) as u16
            };
            [scale(0), scale(1), scale(2)]
        })
    }
}

/// Conversion of 00RRGGBBh to a client's format, by one table per colour.
#[derive(Clone, Debug)]
pub struct Translation {
    format: PixelFormat,
    tables: Box<[[u32; 256]; 3]>,
}

/// The form of a pixel in an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelLayout {
    /// PIXEL: as the format says.
    Pixel,
    /// CPIXEL of ZRLE (RFC 6143, section 7.7.5): 3 of 4 bytes if the fourth holds no colour.
    Cpixel,
    /// TPIXEL of Tight (rfbproto): red, green, blue, if the format has 8 bits of each.
    Tpixel,
}

/// How a pixel's value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PixelBytes {
    One,
    Two,
    Four,
    /// The value's low three bytes after a right shift by this many bits.
    Three(u8),
    /// Red, green, blue.
    Rgb,
}

/// Appends pixels in a client's format.
#[derive(Clone, Copy, Debug)]
pub struct PixelWriter<'a> {
    translation: &'a Translation,
    bytes: PixelBytes,
}

impl Translation {
    /// The conversion to `format`.
    pub fn new(format: PixelFormat) -> Self {
        let mut tables = Box::new([[0; 256]; 3]);
        for (n, table) in tables.iter_mut().enumerate() {
            let max = u32::from(format.max[n]);
            for (value, entry) in table.iter_mut().enumerate() {
                *entry = ((value as u32 * max + 127) / 255) << format.shift[n];
            }
        }
        Self { format, tables }
    }

    /// A writer of pixels in this layout.
    pub fn writer(&self, layout: PixelLayout) -> PixelWriter<'_> {
        let format = &self.format;
        let used = (0..3).fold(0, |used, n| used | u32::from(format.max[n]) << format.shift[n]);
        let bytes = match (format.bits, layout) {
            (8, _) => PixelBytes::One,
            (16, _) => PixelBytes::Two,
            (_, PixelLayout::Tpixel) if format.depth == 24 && format.max == [255; 3] => PixelBytes::Rgb,
            (_, PixelLayout::Cpixel) if format.depth <= 24 && used & 0xff00_0000 == 0 => PixelBytes::Three(0),
            (_, PixelLayout::Cpixel) if format.depth <= 24 && used & 0xff == 0 => PixelBytes::Three(8),
            _ => PixelBytes::Four,
        };
        PixelWriter { translation: self, bytes }
    }
}

impl PixelWriter<'_> {
    /// Bytes of a pixel.
    pub fn len(&self) -> usize {
        match self.bytes {
            PixelBytes::One => 1,
            PixelBytes::Two => 2,
            PixelBytes::Four => 4,
            PixelBytes::Three(_) | PixelBytes::Rgb => 3,
        }
    }

    /// Appends a pixel.
    #[inline]
    pub fn put(&self, rgb: u32, out: &mut Vec<u8>) {
        let [_, red, green, blue] = rgb.to_be_bytes();
        if self.bytes == PixelBytes::Rgb {
            return out.extend_from_slice(&[red, green, blue]);
        }
        let [reds, greens, blues] = &*self.translation.tables;
        let value = reds[usize::from(red)] | greens[usize::from(green)] | blues[usize::from(blue)];
        let big = self.translation.format.big_endian;
        match self.bytes {
            PixelBytes::One => out.push(value as u8),
            PixelBytes::Two if big => out.extend_from_slice(&(value as u16).to_be_bytes()),
            PixelBytes::Two => out.extend_from_slice(&(value as u16).to_le_bytes()),
            PixelBytes::Three(shift) => {
                let [_, high, middle, low] = (value >> shift).to_be_bytes();
                out.extend_from_slice(&if big { [high, middle, low] } else { [low, middle, high] });
            }
            _ if big => out.extend_from_slice(&value.to_be_bytes()),
            _ => out.extend_from_slice(&value.to_le_bytes()),
        }
    }

    /// Appends lines of equal length. A line equal to the one above is copied, not converted.
    pub fn put_lines<'a>(&self, lines: impl Iterator<Item = &'a [u32]>, out: &mut Vec<u8>) {
        let mut above = None;
        for line in lines {
            if above.replace(line) == Some(line) {
                out.extend_from_within(out.len() - line.len() * self.len()..);
            } else {
                self.put_all(line, out);
            }
        }
    }

    /// Appends pixels.
    pub fn put_all(&self, line: &[u32], out: &mut Vec<u8>) {
        out.reserve(line.len() * self.len());
        line.iter().for_each(|&rgb| self.put(rgb, out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RGB565: PixelFormat =
        PixelFormat { bits: 16, depth: 16, big_endian: true, true_colour: true, max: [31, 63, 31], shift: [11, 5, 0] };

    #[test]
    fn pixel_formats_round_trip_and_invalid_ones_are_rejected() {
        for format in [NATIVE, RGB565] {
            assert_eq!(PixelFormat::parse(&format.to_bytes()), Some(format));
        }
        for (at, value) in [(0, 24), (0, 0), (1, 33), (4, 2), (10, 25), (12, 255)] {
            let mut bytes = NATIVE.to_bytes();
            bytes[at] = value;
            assert_eq!(PixelFormat::parse(&bytes), None, "{at}");
        }
        let mut indexed = COLOUR_MAP.to_bytes();
        assert_eq!(PixelFormat::parse(&indexed), Some(COLOUR_MAP));
        indexed[0] = 16;
        assert_eq!(PixelFormat::parse(&indexed), None);
        assert_eq!(PixelFormat::colour_map().last(), Some([0xffff; 3]));
        assert_eq!(PixelFormat::colour_map().nth(0xe0), Some([0xffff, 0, 0]));
    }

    #[test]
    fn each_layout_stores_a_pixel_as_its_format_says() {
        let big = PixelFormat { big_endian: true, ..NATIVE };
        let high = PixelFormat { shift: [24, 16, 8], ..NATIVE };
        let deep = PixelFormat { depth: 32, ..NATIVE };
        for (format, layout, bytes) in [
            (NATIVE, PixelLayout::Pixel, &[3_u8, 2, 1, 0][..]),
            (NATIVE, PixelLayout::Cpixel, &[3, 2, 1]),
            (NATIVE, PixelLayout::Tpixel, &[1, 2, 3]),
            (big, PixelLayout::Pixel, &[0, 1, 2, 3]),
            (big, PixelLayout::Cpixel, &[1, 2, 3]),
            (high, PixelLayout::Cpixel, &[3, 2, 1]),
            (deep, PixelLayout::Cpixel, &[3, 2, 1, 0]),
            (deep, PixelLayout::Tpixel, &[3, 2, 1, 0]),
        ] {
            let mut out = Vec::new();
            let translation = Translation::new(format);
            let writer = translation.writer(layout);
            writer.put(0x01_0203, &mut out);
            assert_eq!((out.as_slice(), writer.len()), (bytes, bytes.len()), "{format:?} {layout:?}");
        }
        let mut out = Vec::new();
        Translation::new(RGB565).writer(PixelLayout::Tpixel).put_all(&[0xff_ffff, 0xff_0000, 0x00_00ff, 0], &mut out);
        assert_eq!(out, [0xff, 0xff, 0xf8, 0, 0, 0x1f, 0, 0]);
    }
}
