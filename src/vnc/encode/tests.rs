//! Round trips of every encoding through the test decoders of [`crate::vnc::decode`].

use super::super::picture::tests::noise;
use super::super::pixels::{COLOUR_MAP, NATIVE, PixelFormat};
use super::*;
use crate::vnc::decode::Decoder;

/// Pictures that exercise every subencoding of every encoding.
fn pictures() -> Vec<(&'static str, Picture)> {
    let drawn = |f: &dyn Fn(usize, usize) -> u32| {
        let mut n = 0..;
        let mut picture = Picture::black(150, 70);
        picture.fill_with(|| {
            let n: usize = n.next().unwrap();
            f(n % 150, n / 150)
        });
        picture
    };
    vec![
        ("black", Picture::black(150, 70)),
        ("one pixel", Picture::black(1, 1)),
        ("noise", noise(150, 70, 5)),
        ("two colours", drawn(&|x, y| if (x * 7 + y * 3) % 5 < 2 { 0xff_ffff } else { 0xaa })),
        ("11 colours", drawn(&|x, y| ((x / 3 + y / 5) % 11) as u32 * 0x11_1111)),
        ("100 colours", drawn(&|x, y| ((x / 2 + 75 * (y / 3)) % 100) as u32 * 0x02_0101)),
        ("long runs", drawn(&|_, y| (y / 9) as u32 * 0x01_0307)),
        ("256 colours", drawn(&|x, y| ((x + 150 * y) / 8 % 256) as u32 * 0x01_0101)),
        ("257 colours", drawn(&|x, y| ((x + 150 * y) / 8 % 257) as u32 * 0x01_0007)),
        ("equal lines", drawn(&|x, _| x as u32 * 0x9e37)),
        ("a gradient", drawn(&|x, y| (x as u32) << 16 | (y as u32) << 8)),
        ("large", noise(2100, 40, 6)),
    ]
}

#[test]
fn every_encoding_round_trips_in_every_pixel_format() {
    let formats = [
        NATIVE,
        PixelFormat { big_endian: true, ..NATIVE },
        PixelFormat { shift: [24, 16, 8], ..NATIVE },
        PixelFormat { depth: 32, shift: [0, 8, 16], ..NATIVE },
        PixelFormat { bits: 16, depth: 16, big_endian: true, max: [31, 63, 31], shift: [11, 5, 0], ..NATIVE },
        PixelFormat { bits: 16, depth: 15, max: [31, 31, 31], shift: [10, 5, 0], ..NATIVE },
        COLOUR_MAP,
    ];
    for encoding in [Encoding::Raw, Encoding::Hextile, Encoding::Tight, Encoding::Zrle] {
        for format in formats {
            let translation = Translation::new(format);
            let mut encoder = Encoder::default();
            let mut decoder = Decoder::new(format, (2100, 100));
            for (name, picture) in pictures() {
                let all = picture.all();
                let part = Rect { x: all.width / 3, y: all.height / 2, width: all.width / 2, height: all.height / 4 };
                for rect in [all, part].into_iter().filter(|rect| rect.width > 0 && rect.height > 0) {
                    let mut bytes = Vec::new();
                    let count = encoder.rectangle(encoding, &picture, rect, &translation, &mut bytes);
                    let mut rest = &*bytes;
                    for _ in 0..count {
                        decoder.rectangle(&mut rest);
                    }
                    assert!(rest.is_empty(), "{encoding:?} {format:?} {name}: {} bytes left", rest.len());
                    let mut expect = Vec::new();
                    picture.lines(rect).for_each(|line| expect.extend(line.iter().map(|&rgb| decoder.rounded(rgb))));
                    assert!(decoder.pixels(rect) == expect, "{encoding:?} {format:?} {name} {rect:?}");
                }
            }
        }
    }
}

#[test]
fn a_text_screen_compresses_below_its_size_limit() {
    // Pseudo-glyphs of 8 by 16 pixels in two colours.
    let mut n = 0..;
    let mut picture = Picture::black(720, 400);
    picture.fill_with(|| {
        let n: u32 = n.next().unwrap();
        let (x, y) = (n % 720, n / 720);
        let glyph = (x / 9 * 31 + y / 16 * 17) % 26;
        if ((glyph * 0x9e37) >> (x % 9 + y % 16 / 2)) & 1 == 1 && x % 9 < 8 { 0xaa_aaaa } else { 0 }
    });
    let translation = Translation::new(NATIVE);
    for (encoding, limit) in [(Encoding::Hextile, 500_000), (Encoding::Zrle, 40_000), (Encoding::Tight, 20_000)] {
        let mut bytes = Vec::new();
        Encoder::default().rectangle(encoding, &picture, picture.all(), &translation, &mut bytes);
        assert!(bytes.len() < limit, "{encoding:?}: {} bytes", bytes.len());
    }
}
