//! Encodings (RFC 6143, section 7.7; the RFB community's description for Tight).
//!
//! Not from the crate `rfb-encodings` (0.1): its Hextile and Tight know one pixel format only, and it makes a vector of
//! each pixel. JPEG is deliberately missing: text and flat colours, which is what most of these screens have, suffer.

mod hextile;
#[cfg(test)]
mod tests;
mod tight;
mod zrle;

use super::picture::{Picture, Rect};
use super::pixels::{Shape, Translation};
use flate2::{Compress, Compression, FlushCompress};

/// How rectangles are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 0
    Raw,
    /// 5
    Hextile,
    /// 7
    Tight,
    /// 16
    Zrle,
}

/// CopyRect's number.
pub const COPY_RECT: i32 = 1;
/// What Tight allows the width of a rectangle to be.
const TIGHT_WIDTH: u16 = 2048;
/// Pixels of a rectangle of Tight, so that clients need no large buffer.
const TIGHT_AREA: usize = 1 << 16;

impl Encoding {
    /// By number.
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

/// A rectangle's header.
pub fn header(rect: Rect, encoding: i32, out: &mut Vec<u8>) {
    for n in [rect.x, rect.y, rect.width, rect.height] {
        out.extend_from_slice(&n.to_be_bytes());
    }
    out.extend_from_slice(&encoding.to_be_bytes());
}

/// A zlib stream that is flushed after each rectangle and goes on with the next.
struct Stream(Compress);

impl Stream {
    fn new(level: u8) -> Self {
        Self(Compress::new(Compression::new(level.min(9).into()), true))
    }

    fn deflate(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let mut rest = data;
        loop {
            out.reserve(rest.len() / 2 + 64);
            let before = self.0.total_in();
            // It cannot fail: the state is never damaged, and a full buffer is seen below.
            let _ = self.0.compress_vec(rest, out, FlushCompress::Sync);
            rest = rest.get((self.0.total_in() - before) as usize..).unwrap_or_default();
            if rest.is_empty() && out.len() < out.capacity() {
                return;
            }
        }
    }
}

/// A client's encoder: the state that the encodings have.
pub struct Encoder {
    level: u8,
    zrle: Option<Stream>,
    /// Of whole pixels, of two colours, of palettes.
    tight: [Option<Stream>; 3],
    scratch: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { level: 2, zrle: None, tight: [None, None, None], scratch: Vec::new() }
    }
}

impl Encoder {
    /// The client's wish, 0 to 9, for streams that have not begun.
    pub fn set_level(&mut self, level: u8) {
        self.level = level;
    }

    /// Appends a rectangle of a picture, with its header. Gives how many rectangles that has become.
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
                    let writer = translation.writer(Shape::Whole);
                    writer.put_lines(picture.lines(rect), out);
                }
                Encoding::Hextile => hextile::encode(picture, rect, translation, out),
                _ => {
                    let level = self.level;
                    let stream = self.zrle.get_or_insert_with(|| Stream::new(level));
                    zrle::encode(picture, rect, translation, stream, &mut self.scratch, out);
                }
            }
            return 1;
        }
        let mut count = 0;
        let width = rect.width.min(TIGHT_WIDTH);
        let height = ((TIGHT_AREA / usize::from(width.max(1))) as u16).max(1);
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

/// The colours of a rectangle, in order of appearance, and where each is among them.
struct Palette {
    colours: Vec<u32>,
    /// One more than the index of a colour, or 0, at the colour's hash or the next free place after it.
    places: Box<[u16; PLACES]>,
}

/// Several for each colour that there may be.
const PLACES: usize = 1024;
/// Colours of a palette, of whichever encoding.
const COLOURS: usize = 256;

impl Palette {
    /// Up to `max` colours, itself at most [`COLOURS`]; `None` if there are more.
    fn of<'a>(lines: impl Iterator<Item = &'a [u32]>, max: usize) -> Option<Self> {
        let mut palette = Self { colours: Vec::new(), places: Box::new([0; PLACES]) };
        let (mut last, mut above) = (None, None);
        for line in lines {
            // One that repeats has nothing new.
            if above.replace(line) == Some(line) {
                continue;
            }
            for &pixel in line {
                if last != Some(pixel) {
                    last = Some(pixel);
                    palette.add(pixel, max.min(COLOURS))?;
                }
            }
        }
        Some(palette)
    }

    /// Where a colour is or would be.
    fn place(&self, colour: u32) -> usize {
        let mut place = (colour.wrapping_mul(0x9e37_79b1) >> 22) as usize % PLACES;
        loop {
            match self.places[place] {
                0 => return place,
                n if self.colours.get(usize::from(n) - 1) == Some(&colour) => return place,
                _ => place = (place + 1) % PLACES,
            }
        }
    }

    fn add(&mut self, colour: u32, max: usize) -> Option<()> {
        let place = self.place(colour);
        if self.places[place] == 0 {
            if self.colours.len() >= max {
                return None;
            }
            self.colours.push(colour);
            self.places[place] = self.colours.len() as u16;
        }
        Some(())
    }

    /// Of a colour that is there.
    fn index(&self, colour: u32) -> u8 {
        self.places[self.place(colour)].wrapping_sub(1) as u8
    }
}
