//! RFB encodings: Raw, Hextile, Tight and ZRLE (RFC 6143, section 7.7; rfbproto for Tight).
//!
//! The crate `rfb-encodings` (0.1) supports one pixel format only in Hextile and Tight, and allocates a vector for each
//! pixel. Deliberately missing: JPEG in Tight, which blurs the text and flat colours of most of the guests' screens.

mod hextile;
#[cfg(test)]
mod tests;
mod tight;
mod zrle;

use super::picture::{Picture, Rect};
use super::pixels::{PixelLayout, Translation};
use flate2::{Compress, Compression, FlushCompress};

/// An encoding of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Number 0.
    Raw,
    /// Number 5.
    Hextile,
    /// Number 7.
    Tight,
    /// Number 16.
    Zrle,
}

/// CopyRect's number.
pub const COPY_RECT: i32 = 1;
/// Widest rectangle that Tight allows, in pixels.
const TIGHT_WIDTH_MAX: u16 = 2048;
/// Pixels of a Tight rectangle, so that clients need no large buffer.
const TIGHT_AREA_MAX: usize = 1 << 16;

impl Encoding {
    /// The encoding with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Raw,
            5 => Self::Hextile,
            7 => Self::Tight,
            16 => Self::Zrle,
            _ => return None,
        })
    }

    fn number(self) -> i32 {
        match self {
            Self::Raw => 0,
            Self::Hextile => 5,
            Self::Tight => 7,
            Self::Zrle => 16,
        }
    }
}

/// Appends a rectangle's header.
pub fn header(rect: Rect, encoding: i32, out: &mut Vec<u8>) {
    for n in [rect.x, rect.y, rect.width, rect.height] {
        out.extend_from_slice(&n.to_be_bytes());
    }
    out.extend_from_slice(&encoding.to_be_bytes());
}

/// A zlib stream that spans all rectangles of a client; it is flushed after each.
struct ZlibStream(Compress);

impl ZlibStream {
    fn new(level: u8) -> Self {
        Self(Compress::new(Compression::new(level.min(9).into()), true))
    }

    fn deflate(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let mut rest = data;
        loop {
            out.reserve(rest.len() / 2 + 64);
            let before = self.0.total_in();
            // Cannot fail: a full output buffer is not an error and is handled below.
            let _ = self.0.compress_vec(rest, out, FlushCompress::Sync);
            rest = rest.get((self.0.total_in() - before) as usize..).unwrap_or_default();
            if rest.is_empty() && out.len() < out.capacity() {
                return;
            }
        }
    }
}

/// A client's encoder state.
pub struct Encoder {
    /// zlib's compression level.
    level: u8,
    zrle: Option<ZlibStream>,
    /// Tight's streams for pixels, two colours and palettes.
    tight: [Option<ZlibStream>; 3],
    scratch: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { level: 2, zrle: None, tight: [None, None, None], scratch: Vec::new() }
    }
}

impl Encoder {
    /// Sets the compression level, 0 to 9, of streams that have not begun.
    pub fn set_level(&mut self, level: u8) {
        self.level = level;
    }

    /// Appends a rectangle of a picture with its header; Tight may split it. Gives the number of rectangles.
    pub fn rectangle(
        &mut self,
        encoding: Encoding,
        picture: &Picture,
        rect: Rect,
        translation: &Translation,
        out: &mut Vec<u8>,
    ) -> u16 {
        if encoding != Encoding::Tight {
            header(rect, encoding.number(), out);
            match encoding {
                Encoding::Raw => {
                    let writer = translation.writer(PixelLayout::Pixel);
                    writer.put_lines(picture.lines(rect), out);
                }
                Encoding::Hextile => hextile::encode(picture, rect, translation, out),
                _ => {
                    let level = self.level;
                    let stream = self.zrle.get_or_insert_with(|| ZlibStream::new(level));
                    zrle::encode(picture, rect, translation, stream, &mut self.scratch, out);
                }
            }
            return 1;
        }
        let mut count = 0;
        let width = rect.width.min(TIGHT_WIDTH_MAX);
        let height = ((TIGHT_AREA_MAX / usize::from(width.max(1))) as u16).max(1);
        for y in (0..rect.height).step_by(height.into()) {
            for x in (0..rect.width).step_by(width.max(1).into()) {
                let part = Rect {
                    x: rect.x + x,
                    y: rect.y + y,
                    width: width.min(rect.width - x),
                    height: height.min(rect.height - y),
                };
                header(part, encoding.number(), out);
                tight::encode(picture, part, translation, self, out);
                count += 1;
            }
        }
        count
    }
}

/// The colours of a rectangle in order of appearance, with a hash table (linear probing) from colour to index.
struct Palette {
    colours: Vec<u32>,
    /// A colour's index plus one; 0 for a free slot.
    slots: Box<[u16; SLOTS]>,
}

/// Slots of the hash table: four for each possible colour.
const SLOTS: usize = 1024;
/// Colours of the largest palette of any encoding.
const COLOURS_MAX: usize = 256;

impl Palette {
    /// The palette of `lines`; `None` if they have more than `max` colours or more than [`COLOURS_MAX`].
    fn of<'a>(lines: impl Iterator<Item = &'a [u32]>, max: usize) -> Option<Self> {
        let mut palette = Self { colours: Vec::new(), slots: Box::new([0; SLOTS]) };
        let (mut last, mut above) = (None, None);
        for line in lines {
            // A line equal to the one above adds no colour.
            if above.replace(line) == Some(line) {
                continue;
            }
            for &pixel in line {
                if last != Some(pixel) {
                    last = Some(pixel);
                    palette.add(pixel, max.min(COLOURS_MAX))?;
                }
            }
        }
        Some(palette)
    }

    /// The slot of a colour, or the free slot where it belongs.
    fn slot(&self, colour: u32) -> usize {
        let mut slot = (colour.wrapping_mul(0x9e37_79b1) >> 22) as usize % SLOTS;
        loop {
            match self.slots[slot] {
                0 => return slot,
                n if self.colours.get(usize::from(n) - 1) == Some(&colour) => return slot,
                _ => slot = (slot + 1) % SLOTS,
            }
        }
    }

    fn add(&mut self, colour: u32, max: usize) -> Option<()> {
        let slot = self.slot(colour);
        if self.slots[slot] == 0 {
            if self.colours.len() >= max {
                return None;
            }
            self.colours.push(colour);
            self.slots[slot] = self.colours.len() as u16;
        }
        Some(())
    }

    /// The index of a colour that the palette has.
    fn index(&self, colour: u32) -> u8 {
        self.slots[self.slot(colour)].wrapping_sub(1) as u8
    }
}
