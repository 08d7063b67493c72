//! Decoders of the encodings and pseudo-encodings, for tests: a client's framebuffer. Written from RFC 6143 and rfbproto
//! independently of the encoders.

use super::picture::Rect;
use super::pixels::PixelFormat;
use flate2::{Decompress, FlushDecompress};

/// A client's framebuffer, in the client's pixel format.
pub struct Decoder {
    format: PixelFormat,
    pub size: (u16, u16),
    pixels: Vec<u32>,
    zrle: Decompress,
    tight: [Decompress; 4],
    /// Encoding numbers of the rectangles decoded.
    pub seen: Vec<i32>,
    /// x of the last Pointer Motion Change: 1 for absolute, 0 for relative.
    pub pointer_motion_change: u16,
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (now, rest) = bytes.split_at(count);
    *bytes = rest;
    now
}

fn byte(bytes: &mut &[u8]) -> u8 {
    take(bytes, 1)[0]
}

pub fn word(bytes: &mut &[u8]) -> u16 {
    u16::from_be_bytes(take(bytes, 2).try_into().unwrap())
}

pub fn long(bytes: &mut &[u8]) -> u32 {
    u32::from_be_bytes(take(bytes, 4).try_into().unwrap())
}

fn inflate(stream: &mut Decompress, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = data;
    loop {
        out.reserve(1 << 16);
        let before = stream.total_in();
        stream.decompress_vec(rest, &mut out, FlushDecompress::Sync).unwrap();
        rest = &rest[(stream.total_in() - before) as usize..];
        if rest.is_empty() && out.len() < out.capacity() {
            return out;
        }
    }
}

impl Decoder {
    pub fn new(format: PixelFormat, size: (u16, u16)) -> Self {
        let stream = || Decompress::new(true);
        let pixels = vec![0xdead_beef; usize::from(size.0) * usize::from(size.1)];
        Self {
            format,
            size,
            pixels,
            zrle: stream(),
            tight: [stream(), stream(), stream(), stream()],
            seen: Vec::new(),
            pointer_motion_change: u16::MAX,
        }
    }

    /// 00RRGGBBh as a pixel value of the client's format.
    pub fn rounded(&self, rgb: u32) -> u32 {
        let [_, red, green, blue] = rgb.to_be_bytes();
        [red, green, blue].iter().enumerate().fold(0, |value, (n, &part)| {
            let max = u32::from(self.format.max[n]);
            value | ((u32::from(part) * max + 127) / 255) << self.format.shift[n]
        })
    }

    pub fn pixels(&self, rect: Rect) -> Vec<u32> {
        let lines = self.pixels.chunks_exact(self.size.0.into()).skip(rect.y.into()).take(rect.height.into());
        lines.flat_map(|line| &line[rect.x.into()..usize::from(rect.x) + usize::from(rect.width)]).copied().collect()
    }

    pub fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
        self.pixels = vec![0xdead_beef; usize::from(size.0) * usize::from(size.1)];
    }

    fn set(&mut self, rect: Rect, pixels: &[u32]) {
        assert_eq!(pixels.len(), usize::from(rect.width) * usize::from(rect.height));
        for (y, line) in pixels.chunks_exact(rect.width.into()).enumerate() {
            let at = (usize::from(rect.y) + y) * usize::from(self.size.0) + usize::from(rect.x);
            self.pixels[at..at + line.len()].copy_from_slice(line);
        }
    }

    fn value(&self, bytes: &[u8]) -> u32 {
        let join = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
        if self.format.big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
    }

    fn pixel(&self, bytes: &mut &[u8]) -> u32 {
        self.value(take(bytes, usize::from(self.format.bits / 8)))
    }

    fn used(&self) -> u32 {
        (0..3).fold(0, |used, n| used | u32::from(self.format.max[n]) << self.format.shift[n])
    }

    fn cpixel(&self, bytes: &mut &[u8]) -> u32 {
        if self.format.bits != 32 || self.format.depth > 24 {
            return self.pixel(bytes);
        }
        if self.used() >> 24 == 0 { self.value(take(bytes, 3)) } else { self.value(take(bytes, 3)) << 8 }
    }

    fn tpixel(&self, bytes: &mut &[u8]) -> u32 {
        if self.format.bits != 32 || self.format.depth != 24 || self.format.max != [255; 3] {
            return self.pixel(bytes);
        }
        let rgb = take(bytes, 3);
        (0..3).fold(0, |value, n| value | u32::from(rgb[n]) << self.format.shift[n])
    }

    /// Decodes one rectangle with its header; false if the encoding is unknown.
    pub fn rectangle(&mut self, bytes: &mut &[u8]) -> bool {
        let rect = Rect { x: word(bytes), y: word(bytes), width: word(bytes), height: word(bytes) };
        let encoding = long(bytes) as i32;
        self.seen.push(encoding);
        let area = usize::from(rect.width) * usize::from(rect.height);
        match encoding {
            0 => {
                let pixels: Vec<_> = (0..area).map(|_| self.pixel(bytes)).collect();
                self.set(rect, &pixels);
            }
            1 => {
                let from = Rect { x: word(bytes), y: word(bytes), ..rect };
                let pixels = self.pixels(from);
                self.set(rect, &pixels);
            }
            5 => self.hextile(rect, bytes),
            7 => self.tight(rect, bytes),
            16 => self.zrle(rect, bytes),
            -223 => self.resize((rect.width, rect.height)),
            -239 => drop(take(
                bytes,
                area * usize::from(self.format.bits / 8)
                    + usize::from(rect.width).div_ceil(8) * usize::from(rect.height),
            )),
            -308 => {
                let screens = byte(bytes);
                take(bytes, 3 + 16 * usize::from(screens));
                if rect.y == 0 && self.size != (rect.width, rect.height) {
                    self.resize((rect.width, rect.height));
                }
            }
            -257 => self.pointer_motion_change = rect.x,
            -258 => {}
            -261 => drop(take(bytes, 1)),
            _ => return false,
        }
        true
    }

    fn tiles(rect: Rect, side: u16) -> Vec<Rect> {
        let mut tiles = Vec::new();
        for y in (0..rect.height).step_by(side.into()) {
            for x in (0..rect.width).step_by(side.into()) {
                let (width, height) = ((rect.width - x).min(side), (rect.height - y).min(side));
                tiles.push(Rect { x: rect.x + x, y: rect.y + y, width, height });
            }
        }
        tiles
    }

    fn hextile(&mut self, rect: Rect, bytes: &mut &[u8]) {
        let (mut background, mut foreground) = (0, 0);
        for tile in Self::tiles(rect, 16) {
            let area = usize::from(tile.width) * usize::from(tile.height);
            let flags = byte(bytes);
            if flags & 1 != 0 {
                let pixels: Vec<_> = (0..area).map(|_| self.pixel(bytes)).collect();
                self.set(tile, &pixels);
                continue;
            }
            if flags & 2 != 0 {
                background = self.pixel(bytes);
            }
            if flags & 4 != 0 {
                foreground = self.pixel(bytes);
            }
            self.set(tile, &vec![background; area]);
            let count = if flags & 8 != 0 { byte(bytes) } else { 0 };
            for _ in 0..count {
                let colour = if flags & 16 != 0 { self.pixel(bytes) } else { foreground };
                let (at, size) = (byte(bytes), byte(bytes));
                let part = Rect {
                    x: tile.x + u16::from(at >> 4),
                    y: tile.y + u16::from(at & 15),
                    width: u16::from(size >> 4) + 1,
                    height: u16::from(size & 15) + 1,
                };
                assert_eq!(part.intersection(tile), Some(part));
                self.set(part, &vec![colour; usize::from(part.width) * usize::from(part.height)]);
            }
        }
    }

    fn packed(data: &mut &[u8], palette: &[u32], bits: usize, tile: Rect) -> Vec<u32> {
        let mut pixels = Vec::new();
        for _ in 0..tile.height {
            let line = take(data, (usize::from(tile.width) * bits).div_ceil(8));
            for x in 0..usize::from(tile.width) {
                let index = line[x * bits / 8] >> (8 - bits - x * bits % 8) & ((1 << bits) - 1);
                pixels.push(palette[usize::from(index)]);
            }
        }
        pixels
    }

    fn zrle(&mut self, rect: Rect, bytes: &mut &[u8]) {
        let len = long(bytes) as usize;
        let data = inflate(&mut self.zrle, take(bytes, len));
        let data = &mut &*data;
        for tile in Self::tiles(rect, 64) {
            let area = usize::from(tile.width) * usize::from(tile.height);
            let form = byte(data);
            let colours = usize::from(form & 127);
            let length = |data: &mut &[u8]| {
                let mut len = 1;
                loop {
                    let more = byte(data);
                    len += usize::from(more);
                    if more != 255 {
                        return len;
                    }
                }
            };
            let mut pixels = Vec::new();
            match form {
                0 => pixels.extend((0..area).map(|_| self.cpixel(data))),
                1 => pixels = vec![self.cpixel(data); area],
                2..=16 => {
                    let palette: Vec<_> = (0..colours).map(|_| self.cpixel(data)).collect();
                    let bits = [1, 1, 1, 2, 2].get(colours).copied().unwrap_or(4);
                    pixels = Self::packed(data, &palette, bits, tile);
                }
                128 => {
                    while pixels.len() < area {
                        let colour = self.cpixel(data);
                        pixels.extend(vec![colour; length(data)]);
                    }
                }
                130.. => {
                    let palette: Vec<_> = (0..colours).map(|_| self.cpixel(data)).collect();
                    while pixels.len() < area {
                        let index = byte(data);
                        let len = if index & 128 != 0 { length(data) } else { 1 };
                        pixels.extend(vec![palette[usize::from(index & 127)]; len]);
                    }
                }
                _ => panic!("{form}"),
            }
            self.set(tile, &pixels);
        }
        assert!(data.is_empty());
    }

    fn tight(&mut self, rect: Rect, bytes: &mut &[u8]) {
        assert!(rect.width <= 2048);
        let control = byte(bytes);
        let area = usize::from(rect.width) * usize::from(rect.height);
        if control >> 4 == 8 {
            let colour = self.tpixel(bytes);
            return self.set(rect, &vec![colour; area]);
        }
        assert!(control < 0x80 && control & 15 == 0);
        let filter = if control & 0x40 != 0 { byte(bytes) } else { 0 };
        let palette: Vec<u32> = match filter {
            0 => Vec::new(),
            1 => {
                let count = usize::from(byte(bytes)) + 1;
                (0..count).map(|_| self.tpixel(bytes)).collect()
            }
            _ => panic!("{filter}"),
        };
        let pixel_len = {
            let mut probe: &[u8] = &[0; 4];
            self.tpixel(&mut probe);
            4 - probe.len()
        };
        let len = match palette.len() {
            0 => area * pixel_len,
            1 | 2 => usize::from(rect.width).div_ceil(8) * usize::from(rect.height),
            _ => area,
        };
        let data = if len < 12 {
            take(bytes, len).to_vec()
        } else {
            let mut packed = 0;
            for n in 0..3 {
                let part = usize::from(byte(bytes));
                packed |= (if n < 2 { part & 0x7f } else { part }) << (7 * n);
                if n < 2 && part & 0x80 == 0 {
                    break;
                }
            }
            inflate(&mut self.tight[usize::from(control >> 4 & 3)], take(bytes, packed))
        };
        assert_eq!(data.len(), len);
        let data = &mut &*data;
        let pixels = match palette.len() {
            0 => (0..area).map(|_| self.tpixel(data)).collect(),
            1 | 2 => Self::packed(data, &palette, 1, rect),
            _ => data.iter().map(|&index| palette[usize::from(index)]).collect(),
        };
        self.set(rect, &pixels);
    }
}
