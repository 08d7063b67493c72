//! Makes the three fonts of the ROM (`fonts/*.bin`): `cargo run -p pcvm-vgabios --example fonts`.
//!
//! Letters come from Spleen 8x16 (BSD licence, in the crate spleen-font) and font8x8 (public domain), the glyphs that
//! these lack from the pictures in `fonts/own-*.txt`; lines, shades and blocks are drawn here, so that they meet at the
//! cells' edges in every size. 8x14 is 8x16 with two scan lines less.

use font8x8::UnicodeFonts;

/// Code page 437.
const CODES: &str = concat!(
    "\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼ !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_",
    "`abcdefghijklmnopqrstuvwxyz{|}~⌂ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐",
    "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}",
);

/// The arms of the box drawing characters from B3h to DAh: up, down, left, right; 0 none, 1 single, 2 double.
const BOXES: [[u8; 4]; 40] = [
    [1, 1, 0, 0],
    [1, 1, 1, 0],
    [1, 1, 2, 0],
    [2, 2, 1, 0],
    [0, 2, 1, 0],
    [0, 1, 2, 0],
    [2, 2, 2, 0],
    [2, 2, 0, 0],
    [0, 2, 2, 0],
    [2, 0, 2, 0],
    [2, 0, 1, 0],
    [1, 0, 2, 0],
    [0, 1, 1, 0],
    [1, 0, 0, 1],
    [1, 0, 1, 1],
    [0, 1, 1, 1],
    [1, 1, 0, 1],
    [0, 0, 1, 1],
    [1, 1, 1, 1],
    [1, 1, 0, 2],
    [2, 2, 0, 1],
    [2, 0, 0, 2],
    [0, 2, 0, 2],
    [2, 0, 2, 2],
    [0, 2, 2, 2],
    [2, 2, 0, 2],
    [0, 0, 2, 2],
    [2, 2, 2, 2],
    [1, 0, 2, 2],
    [2, 0, 1, 1],
    [0, 1, 2, 2],
    [0, 2, 1, 1],
    [2, 0, 0, 1],
    [1, 0, 0, 2],
    [0, 1, 0, 2],
    [0, 2, 0, 1],
    [2, 2, 1, 1],
    [1, 1, 2, 2],
    [1, 0, 1, 0],
    [0, 1, 0, 1],
];

/// Columns of the left and the right stroke of a vertical line; a single line's are the same.
fn vertical(style: u8) -> [(usize, usize); 2] {
    if style == 2 { [(2, 3), (5, 6)] } else { [(3, 4); 2] }
}

/// Rows of the upper and the lower stroke of a horizontal line.
fn horizontal(style: u8, height: usize) -> [usize; 2] {
    let middle = (height - 1) / 2;
    if style == 2 { [middle - 1, middle + 1] } else { [middle; 2] }
}

fn box_glyph(arms: [u8; 4], height: usize) -> Vec<u8> {
    let [up, down, left, right] = arms;
    let columns = vertical(up.max(down));
    let rows = horizontal(left.max(right), height);
    let mut glyph = vec![0u8; height];
    let mut paint = |rows: std::ops::RangeInclusive<usize>, columns: std::ops::RangeInclusive<usize>| {
        for row in rows {
            for column in columns.clone() {
                glyph[row] |= 0x80 >> column;
            }
        }
    };
    // A stroke ends at the near line of the crossing ones if there is an arm on its side, else at the far one.
    for (side, &row) in rows.iter().enumerate() {
        let near = [up, down][side] != 0;
        if left != 0 {
            paint(row..=row, 0..=if near { columns[0].1 } else { columns[1].1 });
        }
        if right != 0 {
            paint(row..=row, if near { columns[1].0 } else { columns[0].0 }..=7);
        }
    }
    for (side, &(first, last)) in columns.iter().enumerate() {
        let near = [left, right][side] != 0;
        if up != 0 {
            paint(0..=if near { rows[0] } else { rows[1] }, first..=last);
        }
        if down != 0 {
            paint(if near { rows[1] } else { rows[0] }..=height - 1, first..=last);
        }
    }
    // Single lines go through double ones.
    if up == 1 && down == 1 {
        paint(0..=height - 1, 3..=4);
    }
    if left == 1 && right == 1 {
        paint(rows[0]..=rows[0], 0..=7);
    }
    glyph
}

/// What is drawn the same way in every size.
fn drawn(code: u8, height: usize) -> Option<Vec<u8>> {
    let rows = |f: &dyn Fn(usize) -> u8| Some((0..height).map(f).collect());
    match code {
        0 | 0x20 | 0xff => rows(&|_| 0),
        0xb0 => rows(&|row| if row % 2 == 0 { 0x22 } else { 0x88 }),
        0xb1 => rows(&|row| if row % 2 == 0 { 0x55 } else { 0xaa }),
        0xb2 => rows(&|row| if row % 2 == 0 { 0xdd } else { 0x77 }),
        0xb3..=0xda => Some(box_glyph(BOXES[usize::from(code - 0xb3)], height)),
        0xdb => rows(&|_| 0xff),
        0xdc => rows(&|row| if row < height / 2 { 0 } else { 0xff }),
        0xdd => rows(&|_| 0xf0),
        0xde => rows(&|_| 0x0f),
        0xdf => rows(&|row| if row < height / 2 { 0xff } else { 0 }),
        _ => None,
    }
}

/// A glyph from a text of pictures.
fn own(pictures: &str, height: usize, wanted: char) -> Option<Vec<u8>> {
    let mut lines = pictures.lines().skip_while(|line| !line.starts_with(wanted) || line.chars().count() != 1);
    lines.next()?;
    Some(lines.take(height).map(|line| line.chars().fold(0, |bits, c| bits << 1 | u8::from(c == '#'))).collect())
}

/// A glyph of a PSF 1 font with 512 glyphs of 16 rows and a table of characters.
fn spleen(wanted: char) -> Option<Vec<u8>> {
    let font = spleen_font::FONT_8X16;
    let (glyphs, table) = font[4..].split_at(512 * 16);
    let mut glyph = 0;
    for pair in table.chunks_exact(2) {
        match u16::from_le_bytes([pair[0], pair[1]]) {
            0xffff => glyph += 1,
            code if u32::from(code) == u32::from(wanted) => return Some(glyphs[glyph * 16..][..16].to_vec()),
            _ => {}
        }
    }
    None
}

fn small(wanted: char) -> Option<Vec<u8>> {
    let found = font8x8::BASIC_FONTS
        .get(wanted)
        .or_else(|| font8x8::LATIN_FONTS.get(wanted))
        .or_else(|| font8x8::GREEK_FONTS.get(wanted))
        .or_else(|| font8x8::MISC_FONTS.get(wanted))?;
    // Bit 0 is the leftmost dot there.
    Some(found.iter().map(|row| row.reverse_bits()).collect())
}

/// Takes two scan lines away: blank ones at the edges if there are any, else ones that repeat their neighbour, so
/// that accents and descenders stay.
fn shrink(mut glyph: Vec<u8>) -> Vec<u8> {
    for edge in [0, 15] {
        let at = if edge != 0 { glyph.len() - 1 } else { 0 };
        if glyph[at] == 0 {
            glyph.remove(at);
        }
    }
    while glyph.len() > 14 {
        let repeated = (3..glyph.len() - 2).rev().find(|&row| glyph[row] == glyph[row - 1] && glyph[row] != 0);
        glyph.remove(repeated.unwrap_or(glyph.len() / 2));
    }
    glyph
}

fn main() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fonts");
    let pictures = |name: &str| std::fs::read_to_string(folder.join(name)).expect("pictures");
    let (own8, own16) = (pictures("own-8x8.txt"), pictures("own-8x16.txt"));
    let mut fonts = [Vec::new(), Vec::new(), Vec::new()];
    for (code, c) in (0..=255u8).zip(CODES.chars()) {
        let glyph8 = drawn(code, 8).or_else(|| own(&own8, 8, c)).or_else(|| small(c));
        let glyph16 = drawn(code, 16).or_else(|| own(&own16, 16, c)).or_else(|| spleen(c));
        let glyph16 = glyph16.unwrap_or_else(|| panic!("no 8x16 glyph for {c}"));
        fonts[0].extend(glyph8.unwrap_or_else(|| panic!("no 8x8 glyph for {c}")));
        fonts[1].extend(drawn(code, 14).unwrap_or_else(|| shrink(glyph16.clone())));
        fonts[2].extend(glyph16);
    }
    for (name, font) in ["8x8", "8x14", "8x16"].iter().zip(fonts) {
        std::fs::write(folder.join(format!("{name}.bin")), font).expect("font written");
    }
}
