//! RGB pictures and their files (PPM, PNG).

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

impl Picture {
    /// Reads a binary PPM with 8 bits per component, as screen dumps write it.
    pub fn read_ppm(path: &Path) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let mut rest = bytes.as_slice();
        let mut word = || {
            let end = rest.iter().position(u8::is_ascii_whitespace)?;
            let (word, after) = rest.split_at(end);
            rest = &after[1..];
            String::from_utf8(word.to_vec()).ok()
        };
        let (magic, width, height, most) = (word()?, word()?, word()?, word()?);
        let (width, height) = (width.parse().ok()?, height.parse().ok()?);
        let whole = magic == "P6" && most == "255" && rest.len() == width * height * 3;
        whole.then(|| Self { width, height, rgb: rest.to_vec() })
    }

    pub fn read_png(path: &Path) -> Option<Self> {
        let mut reader = png::Decoder::new(BufReader::new(File::open(path).ok()?)).read_info().ok()?;
        let mut rgb = vec![0; reader.output_buffer_size()?];
        let info = reader.next_frame(&mut rgb).ok()?;
        let plain = (info.color_type, info.bit_depth) == (png::ColorType::Rgb, png::BitDepth::Eight);
        plain.then_some(Self { width: info.width as usize, height: info.height as usize, rgb })
    }

    pub fn write_png(&self, path: &Path) {
        let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut encoder = png::Encoder::new(BufWriter::new(file), self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        encoder.write_header().and_then(|mut png| png.write_image_data(&self.rgb)).unwrap();
    }

    fn pixel(&self, x: usize, y: usize) -> &[u8] {
        &self.rgb[(y * self.width + x) * 3..][..3]
    }

    /// The upper five bits of each component: the bits that do not depend on how 5 or 6 bits are expanded to 8.
    fn coarse(pixel: &[u8]) -> [u8; 3] {
        [pixel[0] >> 3, pixel[1] >> 3, pixel[2] >> 3]
    }

    /// The first pixel in which `other` differs; `other` may be scaled up by whole factors.
    fn first_difference(&self, other: &Self) -> Option<(usize, usize)> {
        let (sx, sy) = (other.width / self.width.max(1), other.height / self.height.max(1));
        if (sx * self.width, sy * self.height) != (other.width, other.height) {
            return Some((other.width, other.height));
        }
        let all = (0..other.height).flat_map(|y| (0..other.width).map(move |x| (x, y)));
        all.into_iter().find(|&(x, y)| Self::coarse(self.pixel(x / sx, y / sy)) != Self::coarse(other.pixel(x, y)))
    }

    /// Whether `other` shows the same picture; it may be scaled up by whole factors.
    pub fn is_like(&self, other: &Self) -> bool {
        self.first_difference(other).is_none()
    }

    pub fn difference(&self, other: &Self) -> String {
        match self.first_difference(other) {
            None => "none".to_owned(),
            Some((x, y)) if (x, y) == (other.width, other.height) => "another size".to_owned(),
            Some((x, y)) => {
                let (sx, sy) = (other.width / self.width, other.height / self.height);
                format!("at {x},{y} {:x?} and {:x?}", self.pixel(x / sx, y / sy), other.pixel(x, y))
            }
        }
    }
}
