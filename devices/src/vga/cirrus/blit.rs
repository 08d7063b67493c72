//! BitBLT engine of the CL-GD5446 (GR20 to GR39): whole operations on video memory.
//!
//! An operation starts by GR31 bit 1, or with autostart by a write of GR2A, the last byte of the destination address. It
//! is done when the write returns, except one whose source or destination is the CPU: that waits for accesses to the
//! CPU window or to BAR 0 ([`Transfer`]).
//!
//! Width and height have 13 and 11 bits, pitches 13 and addresses 22, which wrap in video memory: no operation touches
//! more than 8192 bytes by 2048 rows, and none reaches anything behind video memory.

use super::rop::Rop;
use super::{Cirrus, Written};
use crate::memory::Memory;
use serde::{Deserialize, Serialize};

const GR20_WIDTH: usize = 0x20;
const GR22_HEIGHT: usize = 0x22;
const GR24_DEST_PITCH: usize = 0x24;
const GR26_SOURCE_PITCH: usize = 0x26;
const GR28_DEST: usize = 0x28;
const GR2A_DEST_HIGH: usize = 0x2a;
const GR2C_SOURCE: usize = 0x2c;
const GR2F_LEFT_CLIP: usize = 0x2f;
const GR30_MODE: usize = 0x30;
pub(super) const GR31_START: usize = 0x31;
const GR32_ROP: usize = 0x32;
const GR33_MODE_EXTENSIONS: usize = 0x33;
const GR34_KEY: usize = 0x34;
/// The bytes of the background and of the foreground colour.
const BACKGROUND: [usize; 4] = [0x00, 0x10, 0x12, 0x14];
const FOREGROUND: [usize; 4] = [0x01, 0x11, 0x13, 0x15];

/// GR30: from high to low addresses.
const MODE_BACKWARDS: u8 = 1 << 0;
/// GR30: the CPU reads the result.
const MODE_SYSTEM_DEST: u8 = 1 << 1;
/// GR30: the CPU writes the source.
const MODE_SYSTEM_SOURCE: u8 = 1 << 2;
/// GR30: pixels of the key colour stay as they are; with colour expansion, those of the background.
const MODE_TRANSPARENT: u8 = 1 << 3;
/// GR30: the source is a pattern of 8x8 pixels.
const MODE_PATTERN: u8 = 1 << 6;
/// GR30: each bit of the source becomes a pixel.
const MODE_EXPAND: u8 = 1 << 7;

/// GR33: rows of monochrome data from the CPU end at a dword.
const EXTENSION_DWORDS: u8 = 1 << 0;
/// GR33: transparent colour expansion draws the clear bits, in the background colour.
const EXTENSION_INVERT: u8 = 1 << 1;
/// GR33: fill with the foreground colour.
const EXTENSION_SOLID: u8 = 1 << 2;

/// GR31, read-only: an operation is not finished.
const STATUS_BUSY: u8 = 1 << 0;
const START: u8 = 1 << 1;
const RESET: u8 = 1 << 2;
/// GR31, read-only: an operation is in progress.
const STATUS_PROGRESS: u8 = 1 << 3;
/// GR31, read-only: the buffered registers hold an operation that has not begun.
const STATUS_BUFFERED: u8 = 1 << 4;
const AUTOSTART: u8 = 1 << 7;

const ADDRESS_MASK: u32 = super::VRAM - 1;
const WIDTH_MAX: u32 = 1 << 13;
const HEIGHT_MAX: u32 = 1 << 11;

/// The register at an offset of the blitter's registers in memory.
pub(super) fn mmio_register(offset: u64) -> Option<usize> {
    Some(match offset as usize {
        n @ 0x00..0x04 => BACKGROUND[n],
        n @ 0x04..0x08 => FOREGROUND[n - 4],
        n @ 0x08..=0x12 => GR20_WIDTH + n - 0x08,
        n @ 0x14..0x18 => GR2C_SOURCE + n - 0x14,
        0x18 => GR30_MODE,
        n @ 0x1a..0x1e => GR32_ROP + n - 0x1a,
        n @ 0x20..0x22 => 0x38 + n - 0x20,
        0x40 => GR31_START,
        _ => return None,
    })
}

/// The registers of an operation when it starts. The chip works on such a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Blit {
    /// Bytes per row.
    width: u32,
    height: u32,
    dest_pitch: u32,
    source_pitch: u32,
    dest: u32,
    source: u32,
    mode: u8,
    extensions: u8,
    rop: u8,
    left_clip: u8,
    background: [u8; 4],
    foreground: [u8; 4],
    key: [u8; 2],
}

/// The pixels of an operation's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Rows of pixels.
    Copy,
    /// The foreground colour.
    Solid,
    /// An 8x8 pattern of pixels.
    Pattern,
    /// Rows of bits.
    Expand,
    /// An 8x8 pattern of bits.
    ExpandPattern,
}

/// An operation that waits for the CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transfer {
    blit: Blit,
    /// Rows that are done.
    row: u32,
    /// Bytes of the current row that the CPU has written, or has yet to read.
    data: Vec<u8>,
}

/// Buffers of the rows of one operation.
#[derive(Default)]
struct Rows {
    source: Vec<u8>,
    /// With transparency: whether each byte of the source is drawn.
    drawn: Vec<bool>,
    dest: Vec<u8>,
    old: Vec<u8>,
}

/// Reads video memory; addresses wrap.
fn read_wrapped(memory: &Memory, at: u32, mut data: &mut [u8]) {
    let mut at = at & ADDRESS_MASK;
    while !data.is_empty() {
        let (part, rest) = data.split_at_mut(data.len().min((super::VRAM - at) as usize));
        memory.read_video(at.into(), part);
        (data, at) = (rest, 0);
    }
}

/// Writes video memory; addresses wrap.
fn write_wrapped(memory: &Memory, at: u32, mut data: &[u8]) {
    let mut at = at & ADDRESS_MASK;
    while !data.is_empty() {
        let (part, rest) = data.split_at(data.len().min((super::VRAM - at) as usize));
        memory.write_video(at.into(), part);
        (data, at) = (rest, 0);
    }
}

impl Blit {
    fn new(gr: &[u8]) -> Self {
        let word = |at: usize, bits: u32| u32::from(u16::from_le_bytes([gr[at], gr[at + 1]])) & ((1 << bits) - 1);
        let address = |at: usize| u32::from_le_bytes([gr[at], gr[at + 1], gr[at + 2], 0]) & ADDRESS_MASK;
        Self {
            width: word(GR20_WIDTH, 13) + 1,
            height: word(GR22_HEIGHT, 11) + 1,
            dest_pitch: word(GR24_DEST_PITCH, 13),
            source_pitch: word(GR26_SOURCE_PITCH, 13),
            dest: address(GR28_DEST),
            source: address(GR2C_SOURCE),
            mode: gr[GR30_MODE],
            extensions: gr[GR33_MODE_EXTENSIONS],
            rop: gr[GR32_ROP],
            left_clip: gr[GR2F_LEFT_CLIP],
            background: BACKGROUND.map(|n| gr[n]),
            foreground: FOREGROUND.map(|n| gr[n]),
            key: [gr[GR34_KEY], gr[GR34_KEY + 1]],
        }
    }

    fn is_valid(&self) -> bool {
        (1..=WIDTH_MAX).contains(&self.width)
            && (1..=HEIGHT_MAX).contains(&self.height)
            && self.dest_pitch < WIDTH_MAX
            && self.source_pitch < WIDTH_MAX
            && self.dest <= ADDRESS_MASK
            && self.source <= ADDRESS_MASK
    }

    fn has(&self, mode: u8) -> bool {
        self.mode & mode != 0
    }

    /// Bytes per pixel of colours and patterns (GR30 bits 5 and 4).
    fn pixel(&self) -> usize {
        usize::from(self.mode >> 4 & 3) + 1
    }

    fn kind(&self) -> Kind {
        const NOT_SOLID: u8 = MODE_SYSTEM_DEST | MODE_TRANSPARENT;
        match self.mode & (MODE_EXPAND | MODE_PATTERN) {
            0 => Kind::Copy,
            MODE_PATTERN => Kind::Pattern,
            MODE_EXPAND => Kind::Expand,
            _ if self.extensions & EXTENSION_SOLID != 0 && self.mode & NOT_SOLID == 0 => Kind::Solid,
            _ => Kind::ExpandPattern,
        }
    }

    /// Bytes at the left end of each row that patterns and colour expansion leave out.
    fn clipped(&self) -> usize {
        let clip = match self.pixel() {
            3 => usize::from(self.left_clip & 0x1f),
            pixel => usize::from(self.left_clip & 7) * pixel,
        };
        clip.min(self.width as usize)
    }

    /// Pixels per row.
    fn pixels(&self) -> usize {
        (self.width as usize).div_ceil(self.pixel())
    }

    /// Bytes of an 8x8 pattern.
    fn pattern_size(&self) -> usize {
        match (self.kind(), self.pixel()) {
            (Kind::Pattern, 3) => 8 * 32,
            (Kind::Pattern, pixel) => 64 * pixel,
            _ => 8,
        }
    }

    /// Bytes that the CPU transfers for each row, and the number of rows.
    fn system_rows(&self) -> (usize, u32) {
        match self.kind() {
            Kind::Copy | Kind::Solid => ((self.width as usize).next_multiple_of(4), self.height),
            Kind::Expand if self.extensions & EXTENSION_DWORDS != 0 => (self.pixels().div_ceil(32) * 4, self.height),
            Kind::Expand => (self.pixels().div_ceil(8), self.height),
            Kind::Pattern | Kind::ExpandPattern => (self.pattern_size(), 1),
        }
    }

    /// Carries out the operation; source and destination are in video memory.
    fn run(&self, memory: &Memory) {
        let mut rows = Rows::default();
        let mut data = Vec::new();
        match self.kind() {
            Kind::Copy => return self.copy(memory),
            Kind::Solid => {}
            Kind::Pattern | Kind::ExpandPattern => {
                data.resize(self.pattern_size(), 0);
                read_wrapped(memory, self.source & !(data.len() as u32 - 1), &mut data);
            }
            Kind::Expand => data.resize(self.pixels().div_ceil(8), 0),
        }
        for y in 0..self.height {
            if self.kind() == Kind::Expand {
                // The rows follow each other without a pitch.
                read_wrapped(memory, self.source.wrapping_add(y * data.len() as u32), &mut data);
            }
            self.draw_row(memory, &mut rows, &data, y);
        }
    }

    /// Draws row `y` from the bytes of the source: its pixels or bits, or the whole pattern.
    fn draw_row(&self, memory: &Memory, rows: &mut Rows, data: &[u8], y: u32) {
        let (width, pixel, clip) = (self.width as usize, self.pixel(), self.clipped());
        let line = (self.source.wrapping_add(y) & 7) as usize;
        match self.kind() {
            Kind::Copy => {
                rows.source.clear();
                rows.source.extend_from_slice(&data[..width.min(data.len())]);
            }
            Kind::Solid if y != 0 => {}
            Kind::Solid => {
                let colour = &self.foreground[..pixel];
                rows.source = colour.iter().copied().cycle().take(width).collect();
            }
            Kind::Pattern => {
                let pitch = if pixel == 3 { 32 } else { 8 * pixel };
                let row = data.get(line * pitch..).and_then(|row| row.get(..8 * pixel)).unwrap_or_default();
                rows.source.clear();
                rows.source.extend(row.iter().copied().cycle().take(width));
            }
            Kind::ExpandPattern => {
                let bits = data.get(line).copied().unwrap_or(0);
                self.expand(rows, |_| bits);
            }
            Kind::Expand => self.expand(rows, |byte| data.get(byte).copied().unwrap_or(0)),
        }
        let clip = match self.kind() {
            Kind::Copy | Kind::Solid => 0,
            _ => clip,
        };
        let dest = self.dest.wrapping_add(y.wrapping_mul(self.dest_pitch)).wrapping_add(clip as u32);
        let rop = Rop::from_code(self.rop);
        let (source, masked) = (rows.source.get(clip..).unwrap_or_default(), self.has(MODE_TRANSPARENT));
        if rop == Rop::Source && !masked {
            return write_wrapped(memory, dest, source);
        }
        rows.dest.resize(source.len(), 0);
        if rop.reads_dest() || masked {
            read_wrapped(memory, dest, &mut rows.dest);
        }
        if masked {
            rows.old.clone_from(&rows.dest);
        }
        rop.apply(source, &mut rows.dest);
        if masked {
            match self.kind() {
                Kind::Expand | Kind::ExpandPattern => {
                    let drawn = rows.drawn.get(clip..).unwrap_or_default();
                    for ((new, &old), &drawn) in rows.dest.iter_mut().zip(&rows.old).zip(drawn) {
                        *new = if drawn { *new } else { old };
                    }
                }
                Kind::Copy => self.keep_key(&mut rows.dest, &rows.old),
                Kind::Pattern | Kind::Solid => {}
            }
        }
        write_wrapped(memory, dest, &rows.dest);
    }

    /// Expands the bits of a row to pixels; `bits` returns eight of them.
    fn expand(&self, rows: &mut Rows, bits: impl Fn(usize) -> u8) {
        let (transparent, pixel) = (self.has(MODE_TRANSPARENT), self.pixel());
        let invert = transparent && self.extensions & EXTENSION_INVERT != 0;
        rows.source.clear();
        rows.drawn.clear();
        for n in 0..self.pixels() {
            let bit = bits(n >> 3) << (n & 7) & 0x80 != 0;
            let colour = if bit { &self.foreground } else { &self.background };
            rows.source.extend_from_slice(&colour[..pixel]);
            if transparent {
                rows.drawn.extend(std::iter::repeat_n(bit != invert, pixel));
            }
        }
        rows.source.truncate(self.width as usize);
    }

    /// Puts the old pixels back where the new ones have the key colour.
    fn keep_key(&self, new: &mut [u8], old: &[u8]) {
        let pixel = self.pixel();
        let key = &self.key[..pixel.min(2)];
        for (new, old) in new.chunks_exact_mut(pixel).zip(old.chunks_exact(pixel)) {
            if *new == *key {
                new.copy_from_slice(old);
            }
        }
    }

    /// Copies rows within video memory, byte after byte in the given direction.
    fn copy(&self, memory: &Memory) {
        let (width, rop) = (self.width as usize, Rop::from_code(self.rop));
        let masked = self.has(MODE_TRANSPARENT);
        let (mut source, mut dest, mut old) = (vec![0; width], vec![0; width], Vec::new());
        for y in 0..self.height {
            let backwards = self.has(MODE_BACKWARDS);
            // Backwards the addresses are those of the last byte.
            let row = |start: u32, pitch: u32| match backwards {
                false => start.wrapping_add(y.wrapping_mul(pitch)) & ADDRESS_MASK,
                true => start.wrapping_sub(y.wrapping_mul(pitch)).wrapping_sub(self.width - 1) & ADDRESS_MASK,
            };
            let (from, to) = (row(self.source, self.source_pitch), row(self.dest, self.dest_pitch));
            if rop.reads_source() {
                read_wrapped(memory, from, &mut source);
            }
            if rop.reads_dest() || masked {
                read_wrapped(memory, to, &mut dest);
            }
            if masked {
                old.clone_from(&dest);
            }
            // How far the destination is ahead of the source in the direction of the copy.
            let ahead = (if backwards { from.wrapping_sub(to) } else { to.wrapping_sub(from) } & ADDRESS_MASK) as usize;
            if (1..width).contains(&ahead) && rop.reads_source() {
                // The copy reads bytes that it has written.
                for n in 0..width {
                    let (at, earlier) = if backwards {
                        (width - 1 - n, (n >= ahead).then(|| width - 1 - n + ahead))
                    } else {
                        (n, n.checked_sub(ahead))
                    };
                    let byte = earlier.map_or(source[at], |earlier| dest[earlier]);
                    dest[at] = rop.byte(byte, dest[at]);
                }
            } else {
                rop.apply(&source, &mut dest);
            }
            if masked {
                self.keep_key(&mut dest, &old);
            }
            write_wrapped(memory, to, &dest);
        }
    }
}

impl Transfer {
    /// Whether the values, from a saved state, are possible.
    pub fn is_valid(&self) -> bool {
        let Self { blit, row, data } = self;
        let (bytes, rows) = blit.system_rows();
        blit.is_valid() && *row < rows && data.len() <= bytes && (blit.has(MODE_SYSTEM_SOURCE) || !data.is_empty())
    }

    /// Takes a byte from the CPU. Returns whether the operation is done.
    fn take(&mut self, memory: &Memory, rows: &mut Rows, byte: u8) -> bool {
        let (bytes, count) = self.blit.system_rows();
        self.data.push(byte);
        if self.data.len() < bytes {
            return false;
        }
        match self.blit.kind() {
            Kind::Pattern | Kind::ExpandPattern => {
                (0..self.blit.height).for_each(|y| self.blit.draw_row(memory, rows, &self.data, y));
            }
            _ => self.blit.draw_row(memory, rows, &self.data, self.row),
        }
        self.data.clear();
        self.row += 1;
        self.row == count
    }

    /// Reads the next row for the CPU.
    fn load(&mut self, memory: &Memory) {
        let at = self.blit.source.wrapping_add(self.row.wrapping_mul(self.blit.source_pitch));
        self.data.resize(self.blit.width as usize, 0);
        read_wrapped(memory, at, &mut self.data);
        let source = self.data.clone();
        Rop::from_code(self.blit.rop).apply(&source, &mut self.data);
        self.data.resize(self.blit.system_rows().0, 0);
        // The next byte is popped from the end.
        self.data.reverse();
    }
}

impl Cirrus {
    /// GR31 as read.
    pub(super) fn blit_status(&self) -> u8 {
        self.gr[GR31_START] | if self.transfer.is_some() { STATUS_BUSY | STATUS_PROGRESS } else { 0 }
    }

    /// Autostart: a write of GR2A starts an operation.
    pub fn starts_on_destination(&self) -> bool {
        self.gr[GR31_START] & AUTOSTART != 0
    }

    pub(super) fn write_gr(&mut self, n: usize, value: u8) -> Written {
        let mask = match n {
            0x21 | 0x25 | 0x27 => 0x1f,
            0x23 => 0x07,
            GR2A_DEST_HIGH | 0x2e => 0x3f,
            // The displayed line.
            0x16 | 0x17 => return Written::Register,
            GR31_START => return self.write_start(value),
            _ => 0xff,
        };
        self.gr[n] = value & mask;
        if n == GR2A_DEST_HIGH && self.starts_on_destination() { Written::StartBlit } else { Written::Register }
    }

    fn write_start(&mut self, value: u8) -> Written {
        let started = self.gr[GR31_START] & START != 0;
        self.gr[GR31_START] = value & !(STATUS_BUSY | STATUS_PROGRESS | STATUS_BUFFERED);
        if value & RESET != 0 {
            self.gr[GR31_START] &= !START;
            self.transfer = None;
        } else if value & START != 0 && !started {
            return Written::StartBlit;
        }
        Written::Register
    }

    /// Starts the operation that the registers describe.
    pub fn start_blit(&mut self, memory: &Memory) {
        let blit = Blit::new(&self.gr);
        self.transfer = None;
        let transparent_copy = blit.kind() == Kind::Copy && blit.has(MODE_TRANSPARENT);
        match blit.mode & (MODE_SYSTEM_SOURCE | MODE_SYSTEM_DEST) {
            // The key colour has two bytes.
            _ if transparent_copy && blit.pixel() > 2 => {}
            0 => blit.run(memory),
            // It needs no data.
            MODE_SYSTEM_SOURCE if blit.kind() == Kind::Solid => blit.run(memory),
            MODE_SYSTEM_SOURCE => self.transfer = Some(Transfer { blit, row: 0, data: Vec::new() }),
            MODE_SYSTEM_DEST if blit.kind() == Kind::Copy => {
                let mut transfer = Transfer { blit, row: 0, data: Vec::new() };
                transfer.load(memory);
                self.transfer = Some(transfer);
            }
            _ => {}
        }
        self.traps |= self.transfer.is_some();
        if self.transfer.is_none() {
            self.gr[GR31_START] &= !START;
        }
    }

    fn finish(&mut self) {
        self.transfer = None;
        self.gr[GR31_START] &= !START;
    }

    /// Whether an operation waits for accesses of the CPU.
    pub fn transfers(&self) -> bool {
        self.transfer.is_some()
    }

    /// The CPU writes data for the operation. Bytes of the access that complete the last dword are dropped. False if no
    /// operation takes them.
    pub fn take_data(&mut self, memory: &Memory, data: &[u8]) -> bool {
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.blit.has(MODE_SYSTEM_SOURCE)) else {
            return false;
        };
        let mut rows = Rows::default();
        if data.iter().any(|&byte| transfer.take(memory, &mut rows, byte)) {
            self.finish();
        }
        true
    }

    /// The CPU reads data of the operation. False if there is none.
    pub fn give_data(&mut self, memory: &Memory, data: &mut [u8]) -> bool {
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.blit.has(MODE_SYSTEM_DEST)) else {
            return false;
        };
        for to in data {
            let Some(byte) = transfer.data.pop() else { break };
            *to = byte;
            if transfer.data.is_empty() {
                transfer.row += 1;
                if transfer.row == transfer.blit.system_rows().1 {
                    self.finish();
                    break;
                }
                transfer.load(memory);
            }
        }
        true
    }
}
