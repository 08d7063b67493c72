//! Tight (RFB community documentation, "Tight Encoding"): fill, palette and copy, through zlib streams of their own.

use super::super::picture::{Picture, Rect};
use super::super::pixels::{Shape, Translation};
use super::{COLOURS, Encoder, Palette, Stream};

const FILL: u8 = 0x80;
/// In a basic compression's control byte: a filter follows.
const FILTER: u8 = 0x40;
const PALETTE: u8 = 1;
/// A palette of more colours is worth a look at what zlib could make of the pixels themselves.
const LARGE_PALETTE: usize = 64;
/// Less data than this goes without zlib.
const UNCOMPRESSED: usize = 12;

// Streams.
const COPY: u8 = 0;
const MONO: u8 = 1;
const INDEXED: u8 = 2;

pub(super) fn encode(
    picture: &Picture,
    rect: Rect,
    translation: &Translation,
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
) {
    let writer = translation.writer(Shape::Tight);
    // A palette is worth it only where there are several pixels for each colour.
    let area = usize::from(rect.width) * usize::from(rect.height);
    let palette = Palette::of(picture.lines(rect), COLOURS.min(area / 4).max(2))
        .filter(|palette| palette.colours.len() <= LARGE_PALETTE || !lines_repeat(picture, rect));
    let colours = palette.as_ref().map(|palette| palette.colours.as_slice()).unwrap_or_default();
    let Encoder { scratch, tight, level, .. } = encoder;
    scratch.clear();
    let index = |pixel: u32| palette.as_ref().map_or(0, |palette| palette.index(pixel));
    let stream = match *colours {
        [colour] => {
            out.push(FILL);
            return writer.put(colour, out);
        }
        [] => {
            out.push(COPY << 4);
            writer.put_lines(picture.lines(rect), scratch);
            COPY
        }
        [zero, _] => {
            out.extend_from_slice(&[FILTER | MONO << 4, PALETTE, 1]);
            writer.put_all(colours, out);
            for line in picture.lines(rect) {
                for pixels in line.chunks(8) {
                    let bits = pixels.iter().fold(0, |byte, &pixel| byte << 1 | u8::from(pixel != zero));
                    scratch.push(bits << (8 - pixels.len()));
                }
            }
            MONO
        }
        _ if writer.len() == 1 => {
            // An index would be no shorter than the pixel. (A palette is not for 8-bit pixels, but of two colours.)
            out.push(COPY << 4);
            writer.put_lines(picture.lines(rect), scratch);
            COPY
        }
        _ => {
            out.extend_from_slice(&[FILTER | INDEXED << 4, PALETTE, (colours.len() - 1) as u8]);
            writer.put_all(colours, out);
            let mut above = None;
            for line in picture.lines(rect) {
                if above.replace(line) == Some(line) {
                    scratch.extend_from_within(scratch.len() - line.len()..);
                    continue;
                }
                let mut last = (colours[0], 0);
                for &pixel in line {
                    if pixel != last.0 {
                        last = (pixel, index(pixel));
                    }
                    scratch.push(last.1);
                }
            }
            INDEXED
        }
    };
    if scratch.len() < UNCOMPRESSED {
        return out.extend_from_slice(scratch);
    }
    // The length goes before the data and has one to three bytes of seven bits: three always do.
    let at = out.len();
    out.extend_from_slice(&[0; 3]);
    let level = *level;
    if let Some(slot) = tight.get_mut(usize::from(stream)) {
        slot.get_or_insert_with(|| Stream::new(level)).deflate(scratch, out);
    }
    let len = out.len() - at - 3;
    out[at..at + 3].copy_from_slice(&[len as u8 | 0x80, (len >> 7) as u8 | 0x80, (len >> 14) as u8]);
}

/// Most lines are the same as the one above: zlib needs next to nothing for them, but a palette goes as it is.
fn lines_repeat(picture: &Picture, rect: Rect) -> bool {
    let lines = picture.lines(rect);
    let same = lines.zip(picture.lines(rect).skip(1)).filter(|(above, line)| above == line).count();
    same * 4 >= usize::from(rect.height) * 3
}
