//! ZRLE encoding (RFC 6143, section 7.7.6): tiles of 64 by 64 pixels, each in the shortest of five subencodings, through one
//! zlib stream.

use super::super::picture::{Picture, Rect};
use super::super::pixels::{PixelLayout, PixelWriter, Translation};
use super::{Palette, ZlibStream};

/// Side of a tile, in pixels.
const TILE_SIDE: usize = 64;

// Subencodings. 2 to 16 are packed palettes and 130 to 255 palette RLE with that many colours (less 128).
const RAW: u8 = 0;
const SOLID: u8 = 1;
const PLAIN_RLE: u8 = 128;

/// Most colours of palette RLE.
const RLE_COLOURS_MAX: usize = 127;
/// Most colours of a packed palette.
const PACKED_COLOURS_MAX: usize = 16;

pub(super) fn encode(
    picture: &Picture,
    rect: Rect,
    translation: &Translation,
    stream: &mut ZlibStream,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    let writer = translation.writer(PixelLayout::Cpixel);
    scratch.clear();
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    for y in (0..rect.height).step_by(TILE_SIDE) {
        for x in (0..rect.width).step_by(TILE_SIDE) {
            let tile = Rect {
                x: rect.x + x,
                y: rect.y + y,
                width: (rect.width - x).min(TILE_SIDE as u16),
                height: (rect.height - y).min(TILE_SIDE as u16),
            };
            encode_tile(picture, tile, writer, scratch);
        }
    }
    stream.deflate(scratch, out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

fn encode_tile(picture: &Picture, tile: Rect, writer: PixelWriter<'_>, out: &mut Vec<u8>) {
    let (width, area) = (usize::from(tile.width), usize::from(tile.width) * usize::from(tile.height));
    let palette = Palette::of(picture.lines(tile), RLE_COLOURS_MAX);
    let colours = palette.as_ref().map(|palette| palette.colours.as_slice()).unwrap_or_default();
    if let [colour] = *colours {
        out.push(SOLID);
        return writer.put(colour, out);
    }
    let runs = runs(picture, tile, palette.as_ref());
    // A run's length takes one byte per 255 pixels; a run of one palette pixel takes none.
    let lengths: usize = runs.iter().map(|run| (run.len - 1) / 255 + 1).sum();
    let plain_rle = runs.len() * writer.len() + lengths;
    let (mut best, mut subencoding) = (area * writer.len(), RAW);
    if plain_rle < best {
        (best, subencoding) = (plain_rle, PLAIN_RLE);
    }
    let index_bits = |count: usize| match count {
        2 => 1,
        3 | 4 => 2,
        _ => 4,
    };
    if !colours.is_empty() {
        let table = colours.len() * writer.len();
        let rle: usize = runs.iter().map(|run| if run.len == 1 { 1 } else { 2 + (run.len - 1) / 255 }).sum();
        if table + rle < best {
            (best, subencoding) = (table + rle, PLAIN_RLE + colours.len() as u8);
        }
        if colours.len() <= PACKED_COLOURS_MAX {
            let packed = table + (width * index_bits(colours.len())).div_ceil(8) * usize::from(tile.height);
            if packed <= best {
                subencoding = colours.len() as u8;
            }
        }
    }
    out.push(subencoding);
    let index = |pixel: u32| palette.as_ref().map_or(0, |palette| palette.index(pixel));
    match subencoding {
        RAW => picture.lines(tile).for_each(|line| writer.put_all(line, out)),
        PLAIN_RLE => {
            for run in runs {
                writer.put(run.pixel, out);
                put_length(run.len, out);
            }
        }
        SOLID..PLAIN_RLE => {
            writer.put_all(colours, out);
            let bits = index_bits(colours.len());
            for line in picture.lines(tile) {
                for pixels in line.chunks(8 / bits) {
                    let packed = pixels.iter().fold(0, |byte, &pixel| byte << bits | index(pixel));
                    out.push(packed << (bits * (8 / bits - pixels.len())));
                }
            }
        }
        _ => {
            writer.put_all(colours, out);
            for run in runs {
                if run.len == 1 {
                    out.push(run.index);
                } else {
                    out.push(run.index | 128);
                    put_length(run.len, out);
                }
            }
        }
    }
}

/// Appends a run's length less one as the sum of bytes: 255s, then one below 255.
fn put_length(len: usize, out: &mut Vec<u8>) {
    let rest = len - 1;
    out.extend(std::iter::repeat_n(255, rest / 255));
    out.push((rest % 255) as u8);
}

/// A run of pixels of one colour.
#[derive(Clone, Copy, Debug)]
struct Run {
    pixel: u32,
    /// The colour's index in the palette; 0 without a palette.
    index: u8,
    len: usize,
}

/// The runs of a tile; a run may continue on the next line.
fn runs(picture: &Picture, tile: Rect, palette: Option<&Palette>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    // The line above, and its first run if that began with the line.
    let mut above: Option<(&[u32], Option<usize>)> = None;
    for line in picture.lines(tile) {
        let continues = runs.last().map(|run| run.pixel) == line.first().copied();
        let start = (!continues).then_some(runs.len());
        match above {
            Some((same, Some(first))) if same == line && !continues => runs.extend_from_within(first..),
            _ => {
                for &pixel in line {
                    match runs.last_mut() {
                        Some(run) if run.pixel == pixel => run.len += 1,
                        _ => runs.push(Run { pixel, index: palette.map_or(0, |palette| palette.index(pixel)), len: 1 }),
                    }
                }
            }
        }
        above = Some((line, start));
    }
    runs
}
