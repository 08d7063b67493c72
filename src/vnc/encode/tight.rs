//! Tight encoding (rfbproto, "Tight Encoding"): fill, and the copy and palette filters, each with its own zlib stream.

use super::super::picture::{Picture, Rect};
use super::super::pixels::{PixelLayout, Translation};
use super::{COLOURS_MAX, Encoder, Palette, ZlibStream};

/// Compression control: FillCompression.
const FILL: u8 = 0x80;
/// Compression control of BasicCompression: a filter id follows.
const EXPLICIT_FILTER: u8 = 0x40;
/// Filter id: PaletteFilter.
const PALETTE_FILTER: u8 = 1;
/// A palette of more colours than this is not used if zlib may compress the pixels better.
const LARGE_PALETTE: usize = 64;
/// Data shorter than this is not compressed.
const COMPRESSED_MIN: usize = 12;

// Numbers of the zlib streams.
const COPY_STREAM: u8 = 0;
const MONO_STREAM: u8 = 1;
const INDEXED_STREAM: u8 = 2;

pub(super) fn encode(
    picture: &Picture,
    rect: Rect,
    translation: &Translation,
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
) {
    let writer = translation.writer(PixelLayout::Tpixel);
    // A palette pays only from four pixels per colour on.
    let area = usize::from(rect.width) * usize::from(rect.height);
    let palette = Palette::of(picture.lines(rect), COLOURS_MAX.min(area / 4).max(2))
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
            out.push(COPY_STREAM << 4);
            writer.put_lines(picture.lines(rect), scratch);
            COPY_STREAM
        }
        [zero, _] => {
            out.extend_from_slice(&[EXPLICIT_FILTER | MONO_STREAM << 4, PALETTE_FILTER, 1]);
            writer.put_all(colours, out);
            for line in picture.lines(rect) {
                for pixels in line.chunks(8) {
                    let bits = pixels.iter().fold(0, |byte, &pixel| byte << 1 | u8::from(pixel != zero));
                    scratch.push(bits << (8 - pixels.len()));
                }
            }
            MONO_STREAM
        }
        _ if writer.len() == 1 => {
            // An index is no shorter than an 8-bit pixel.
            out.push(COPY_STREAM << 4);
            writer.put_lines(picture.lines(rect), scratch);
            COPY_STREAM
        }
        _ => {
            out.extend_from_slice(&[EXPLICIT_FILTER | INDEXED_STREAM << 4, PALETTE_FILTER, (colours.len() - 1) as u8]);
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
            INDEXED_STREAM
        }
    };
    if scratch.len() < COMPRESSED_MIN {
        return out.extend_from_slice(scratch);
    }
    // The compressed length comes before the data, in one to three bytes of 7 bits; three are always valid.
    let at = out.len();
    out.extend_from_slice(&[0; 3]);
    let level = *level;
    if let Some(slot) = tight.get_mut(usize::from(stream)) {
        slot.get_or_insert_with(|| ZlibStream::new(level)).deflate(scratch, out);
    }
    let len = out.len() - at - 3;
    out[at..at + 3].copy_from_slice(&[len as u8 | 0x80, (len >> 7) as u8 | 0x80, (len >> 14) as u8]);
}

/// Whether three quarters of the lines equal the line above: zlib compresses these to almost nothing, so the palette, which
/// is not compressed, would cost more than it saves.
fn lines_repeat(picture: &Picture, rect: Rect) -> bool {
    let lines = picture.lines(rect);
    let same = lines.zip(picture.lines(rect).skip(1)).filter(|(above, line)| above == line).count();
    same * 4 >= usize::from(rect.height) * 3
}
