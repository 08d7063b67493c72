//! Hextile encoding (RFC 6143, section 7.7.4): tiles of 16 by 16 pixels, each a background with subrectangles, or raw
//! where that is shorter.

use super::super::picture::{Picture, Rect, TILE};
use super::super::pixels::{PixelLayout, PixelWriter, Translation};

// The subencoding mask.
const RAW: u8 = 1;
const BACKGROUND_SPECIFIED: u8 = 2;
const FOREGROUND_SPECIFIED: u8 = 4;
const ANY_SUBRECTS: u8 = 8;
const SUBRECTS_COLOURED: u8 = 16;

pub(super) fn encode(picture: &Picture, rect: Rect, translation: &Translation, out: &mut Vec<u8>) {
    let writer = translation.writer(PixelLayout::Pixel);
    // The background that carries over from the tile before.
    let mut background = None;
    for y in (0..rect.height).step_by(TILE) {
        for x in (0..rect.width).step_by(TILE) {
            let tile = Rect {
                x: rect.x + x,
                y: rect.y + y,
                width: (rect.width - x).min(TILE as u16),
                height: (rect.height - y).min(TILE as u16),
            };
            encode_tile(picture, tile, &mut background, writer, out);
        }
    }
}

fn encode_tile(
    picture: &Picture,
    tile: Rect,
    background: &mut Option<u32>,
    writer: PixelWriter<'_>,
    out: &mut Vec<u8>,
) {
    let (width, height) = (usize::from(tile.width), usize::from(tile.height));
    let mut pixels = [0; TILE * TILE];
    for (to, line) in pixels.chunks_exact_mut(TILE).zip(picture.lines(tile)) {
        to.iter_mut().zip(line).for_each(|(to, &pixel)| *to = pixel);
    }
    let (main, other) = colours(&pixels, width, height);
    let start = out.len();
    out.push(0);
    let mut flags = 0;
    if *background != Some(main) {
        flags |= BACKGROUND_SPECIFIED;
        writer.put(main, out);
    }
    let foreground = match other {
        OtherColours::None => {
            *background = Some(main);
            out[start] = flags;
            return;
        }
        OtherColours::One(colour) => {
            flags |= FOREGROUND_SPECIFIED | ANY_SUBRECTS;
            writer.put(colour, out);
            true
        }
        OtherColours::Many => {
            flags |= ANY_SUBRECTS | SUBRECTS_COLOURED;
            false
        }
    };
    let limit = start + 1 + width * height * writer.len();
    let count_at = out.len();
    out.push(0);
    let mut count = 0_u8;
    let mut done = [false; TILE * TILE];
    'tile: for y in 0..height {
        for x in 0..width {
            let pixel = pixels[y * TILE + x];
            if done[y * TILE + x] || pixel == main {
                continue;
            }
            let fits = |at: usize| pixels[at] == pixel && !done[at];
            let wide = (x..width).take_while(|&x| fits(y * TILE + x)).count();
            let high = (y..height).take_while(|&y| (x..x + wide).all(|x| fits(y * TILE + x))).count();
            for y in y..y + high {
                done[y * TILE + x..y * TILE + x + wide].fill(true);
            }
            if !foreground {
                writer.put(pixel, out);
            }
            out.extend_from_slice(&[(x << 4 | y) as u8, ((wide - 1) << 4 | (high - 1)) as u8]);
            match count.checked_add(1) {
                Some(more) if out.len() < limit => count = more,
                _ => {
                    flags = RAW;
                    break 'tile;
                }
            }
        }
    }
    if flags == RAW {
        out.truncate(start + 1);
        for line in pixels.chunks_exact(TILE).take(height) {
            writer.put_all(&line[..width], out);
        }
        // The background does not carry over from a raw tile.
        *background = None;
    } else {
        out[count_at] = count;
        *background = Some(main);
    }
    out[start] = flags;
}

/// The colours of a tile besides the most frequent one.
enum OtherColours {
    None,
    One(u32),
    Many,
}

/// The most frequent colour, and the other colours.
fn colours(pixels: &[u32; TILE * TILE], width: usize, height: usize) -> (u32, OtherColours) {
    let mut found: Vec<(u32, u32)> = Vec::with_capacity(8);
    for line in pixels.chunks_exact(TILE).take(height) {
        for &pixel in &line[..width] {
            if let Some((_, count)) = found.iter_mut().find(|(colour, _)| *colour == pixel) {
                *count += 1;
            } else if found.len() < 64 {
                // A tile with more colours is shorter as raw.
                found.push((pixel, 1));
            }
        }
    }
    found.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let main = found.first().map_or(0, |&(colour, _)| colour);
    match found.get(1..) {
        None | Some([]) => (main, OtherColours::None),
        Some([(colour, _)]) => (main, OtherColours::One(*colour)),
        _ => (main, OtherColours::Many),
    }
}
