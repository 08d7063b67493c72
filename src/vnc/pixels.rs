//! Pixels as a client wants them (RFC 6143, section 7.4).

/// A client's pixel format, as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelFormat {
    /// 8, 16 or 32.
    pub bits: u8,
    /// Bits that count.
    pub depth: u8,
    /// The byte order.
    pub big_endian: bool,
    /// Pixels are colours, not indexes of a palette.
    pub true_colour: bool,
    /// Largest red, green and blue.
    pub max: [u16; 3],
    /// Where red, green and blue begin.
    pub shift: [u8; 3],
}

/// What the server says that it has: 32 bits, XRGB.
pub const NATIVE: PixelFormat =
    PixelFormat { bits: 32, depth: 24, big_endian: false, true_colour: true, max: [255; 3], shift: [16, 8, 0] };
/// What a client with a palette is given: a cube of 3, 3 and 2 bits.
pub const PALETTE: PixelFormat =
    PixelFormat { bits: 8, depth: 8, big_endian: false, true_colour: false, max: [7, 7, 3], shift: [5, 2, 0] };

impl PixelFormat {
    /// Reads it as a client sends it. `None` if no such pixels can be made.
    pub fn parse(bytes: &[u8; 16]) -> Option<Self> {
        let [bits, depth, big_endian, true_colour, r1, r0, g1, g0, b1, b0, rs, gs, bs, ..] = *bytes;
        if !matches!(bits, 8 | 16 | 32) || depth > bits {
            return None;
        }
        if true_colour == 0 {
            return (bits == 8).then_some(PALETTE);
        }
        let max = [[r1, r0], [g1, g0], [b1, b0]].map(u16::from_be_bytes);
        let shift = [rs, gs, bs];
        let fits = |(max, shift): (&u16, &u8)| {
            (u32::from(*max) + 1).is_power_of_two() && u32::from(*shift) + max.count_ones() <= u32::from(bits)
        };
        let possible = max.iter().zip(&shift).all(fits);
        possible.then_some(Self { bits, depth, big_endian: big_endian != 0, true_colour: true, max, shift })
    }

    /// As the server sends it.
    pub fn bytes(&self) -> [u8; 16] {
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

    /// The palette of [`PALETTE`]: red, green, blue, 16 bits each.
    pub fn palette() -> impl Iterator<Item = [u16; 3]> {
        (0..=255_u32).map(|index| {
            let scale = |n: usize| {
                let max = u32::from(PALETTE.max[n]);
                ((index >> PALETTE.shift[n] & max) * 0xffff / max) as u16
            };
            [scale(0), scale(1), scale(2)]
        })
    }
}

/// How a client's pixels are made: by table, and of how many bytes.
#[derive(Clone, Debug)]
pub struct Translation {
    format: PixelFormat,
    tables: Box<[[u32; 256]; 3]>,
}

/// Bytes of a pixel of an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As in the format.
    Whole,
    /// ZRLE's CPIXEL: without the byte of four that has no colour.
    Compact,
    /// Tight's TPIXEL: red, green and blue, if all have eight bits.
    Tight,
}

/// How the bytes of a pixel are had from its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bytes {
    One,
    Two,
    Four,
    /// The three that are left after shifting.
    Three(u8),
    Rgb,
}

/// Writes pixels for a client.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    translation: &'a Translation,
    bytes: Bytes,
}

impl Translation {
    /// For a format.
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

    /// For an encoding.
    pub fn writer(&self, shape: Shape) -> Writer<'_> {
        let format = &self.format;
        let used = (0..3).fold(0, |used, n| used | u32::from(format.max[n]) << format.shift[n]);
        let bytes = match (format.bits, shape) {
            (8, _) => Bytes::One,
            (16, _) => Bytes::Two,
            (_, Shape::Tight) if format.depth == 24 && format.max == [255; 3] => Bytes::Rgb,
            (_, Shape::Compact) if format.depth <= 24 && used & 0xff00_0000 == 0 => Bytes::Three(0),
            (_, Shape::Compact) if format.depth <= 24 && used & 0xff == 0 => Bytes::Three(8),
            _ => Bytes::Four,
        };
        Writer { translation: self, bytes }
    }
}

impl Writer<'_> {
    /// How many bytes a pixel has.
    pub fn len(&self) -> usize {
        match self.bytes {
            Bytes::One => 1,
            Bytes::Two => 2,
            Bytes::Four => 4,
            Bytes::Three(_) | Bytes::Rgb => 3,
        }
    }

    /// Appends a pixel.
    #[inline]
    pub fn put(&self, rgb: u32, out: &mut Vec<u8>) {
        let [_, red, green, blue] = rgb.to_be_bytes();
        if self.bytes == Bytes::Rgb {
            return out.extend_from_slice(&[red, green, blue]);
        }
        let [reds, greens, blues] = &*self.translation.tables;
        let value = reds[usize::from(red)] | greens[usize::from(green)] | blues[usize::from(blue)];
        let big = self.translation.format.big_endian;
        match self.bytes {
            Bytes::One => out.push(value as u8),
            Bytes::Two if big => out.extend_from_slice(&(value as u16).to_be_bytes()),
            Bytes::Two => out.extend_from_slice(&(value as u16).to_le_bytes()),
            Bytes::Three(shift) => {
                let [_, high, middle, low] = (value >> shift).to_be_bytes();
                out.extend_from_slice(&if big { [high, middle, low] } else { [low, middle, high] });
            }
            _ if big => out.extend_from_slice(&value.to_be_bytes()),
            _ => out.extend_from_slice(&value.to_le_bytes()),
        }
    }

    /// Appends lines of one length.
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
    fn formats_survive_the_wire_and_nonsense_does_not() {
        for format in [NATIVE, RGB565] {
            assert_eq!(PixelFormat::parse(&format.bytes()), Some(format));
        }
        for (at, value) in [(0, 24), (0, 0), (1, 33), (4, 2), (10, 25), (12, 255)] {
            let mut bytes = NATIVE.bytes();
            bytes[at] = value;
            assert_eq!(PixelFormat::parse(&bytes), None, "{at}");
        }
        let mut indexed = PALETTE.bytes();
        assert_eq!(PixelFormat::parse(&indexed), Some(PALETTE));
        indexed[0] = 16;
        assert_eq!(PixelFormat::parse(&indexed), None);
        assert_eq!(PixelFormat::palette().last(), Some([0xffff; 3]));
        assert_eq!(PixelFormat::palette().nth(0xe0), Some([0xffff, 0, 0]));
    }

    #[test]
    fn pixels_in_their_forms() {
        let big = PixelFormat { big_endian: true, ..NATIVE };
        let high = PixelFormat { shift: [24, 16, 8], ..NATIVE };
        let deep = PixelFormat { depth: 32, ..NATIVE };
        for (format, shape, bytes) in [
            (NATIVE, Shape::Whole, &[3_u8, 2, 1, 0][..]),
            (NATIVE, Shape::Compact, &[3, 2, 1]),
            (NATIVE, Shape::Tight, &[1, 2, 3]),
            (big, Shape::Whole, &[0, 1, 2, 3]),
            (big, Shape::Compact, &[1, 2, 3]),
            (high, Shape::Compact, &[3, 2, 1]),
            (deep, Shape::Compact, &[3, 2, 1, 0]),
            (deep, Shape::Tight, &[3, 2, 1, 0]),
        ] {
            let mut out = Vec::new();
            let translation = Translation::new(format);
            let writer = translation.writer(shape);
            writer.put(0x01_0203, &mut out);
            assert_eq!((out.as_slice(), writer.len()), (bytes, bytes.len()), "{format:?} {shape:?}");
        }
        let mut out = Vec::new();
        Translation::new(RGB565).writer(Shape::Tight).put_all(&[0xff_ffff, 0xff_0000, 0x00_00ff, 0], &mut out);
        assert_eq!(out, [0xff, 0xff, 0xf8, 0, 0, 0x1f, 0, 0]);
    }
}
