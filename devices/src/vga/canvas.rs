//! A picture that follows the screen: what has not changed is neither read nor drawn again.

use super::characters::{Became, TextLines, TextPen};
use super::render::{Bitmap, Blink, PackedLines, Pixels, PlaneLines};
use super::{PLANE_SIZE, TEXT_SIZE, Vga};
use crate::memory::{DirtyPages, Memory, PAGE};
use zerocopy::IntoBytes;

/// Bytes of the plain VGA's planes.
const PLANES: usize = PLANE_SIZE as usize * 4;

/// The last picture, and what it was drawn from.
#[derive(Default)]
pub struct Canvas {
    /// The registers, and what of that which blinks was seen.
    drawn: Option<(Vga, Blink)>,
    frame: Bitmap,
    /// By line: the last drawing changed it.
    changed: Vec<bool>,
    /// The VGA's planes, for its own modes.
    planes: Vec<u8>,
    text: TextLines,
    /// A line that is being drawn.
    line: Vec<u32>,
    raw: Vec<u8>,
}

impl Vga {
    /// The screen as it is now, every dot and every scan line: a pixel of mode 13h is two dots wide and two lines high.
    /// Blinking things are shown.
    pub fn render(&self, memory: &Memory) -> Bitmap {
        self.render_in(memory, Blink::SHOWN)
    }

    /// The same in any phase of what blinks.
    pub fn render_in(&self, memory: &Memory, blink: Blink) -> Bitmap {
        let mut canvas = Canvas::default();
        canvas.draw(self, memory, &DirtyPages::all(), blink);
        canvas.frame
    }
}

impl Canvas {
    /// The picture.
    pub fn frame(&self) -> &Bitmap {
        &self.frame
    }

    /// Lines of it that the last drawing changed.
    pub fn changed(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.changed).filter(|(_, changed)| **changed).map(|(y, _)| y)
    }

    /// Shows a picture from elsewhere, for tests of what follows a canvas. Gives whether it is another one.
    pub fn show(&mut self, frame: Bitmap) -> bool {
        self.drawn = None;
        let last = std::mem::replace(&mut self.frame, frame);
        let resized = (last.width, last.height) != (self.frame.width, self.frame.height);
        let lines = 0..self.frame.height;
        self.changed = lines.map(|y| resized || last.line(y) != self.frame.line(y)).collect();
        self.changed.contains(&true)
    }

    /// Whether the picture is another one when what blinks is not seen.
    pub fn blinks(&self) -> bool {
        self.drawn.as_ref().is_some_and(|(vga, _)| {
            if vga.dark() || vga.vbe.packed() {
                false
            } else if vga.is_text() {
                self.text.blinks()
            } else {
                vga.blinks() && (vga.vbe.enabled() || !vga.eight_bit())
            }
        })
    }

    /// Draws what has changed: `touched` is the video memory that was written since the last time. Gives whether the
    /// picture is another one.
    pub fn draw(&mut self, vga: &Vga, memory: &Memory, touched: &DirtyPages, blink: Blink) -> bool {
        let size = vga.size();
        self.changed.clear();
        self.changed.resize(size.1 as usize, false);
        let resized = (self.frame.width, self.frame.height) != size;
        if resized {
            self.frame = Bitmap::black(size);
            self.changed.fill(true);
        }
        self.line.resize(size.0 as usize, 0);
        let known = self.drawn.as_ref().filter(|(last, then)| {
            let same = if vga.is_text() { last.writes_like(vga) } else { last.shows_like(vga) && *then == blink };
            same && !resized
        });
        let known = known.is_some();
        if if vga.vbe.packed() { !vga.palette_on() } else { vga.dark() } {
            self.blacken();
        } else if vga.vbe.packed() {
            self.draw_packed(vga, memory, touched, known);
        } else if vga.vbe.enabled() {
            self.draw_vbe_planes(vga, memory, touched, known, blink);
        } else if vga.is_text() {
            self.draw_text(vga, memory, touched, known, blink);
        } else {
            self.draw_planes(vga, memory, touched, known, blink);
        }
        if !known || self.drawn.as_ref().is_none_or(|(_, then)| *then != blink) || vga.is_text() {
            self.drawn = Some((vga.shown(), blink));
        }
        self.changed.contains(&true)
    }

    fn blacken(&mut self) {
        for (y, changed) in (0..).zip(&mut self.changed) {
            let line = self.frame.line_mut(y);
            if line.iter().any(|&pixel| pixel != 0) {
                line.fill(0);
                *changed = true;
            }
        }
    }

    /// Puts `self.line` into the picture.
    fn put(&mut self, y: u32) {
        let line = self.frame.line_mut(y);
        if *line != *self.line
            && let Some(changed) = self.changed.get_mut(y as usize)
        {
            line.copy_from_slice(&self.line);
            *changed = true;
        }
    }

    /// Makes a line what another one is.
    fn copy(&mut self, from: u32, to: u32) {
        let width = self.frame.width as usize;
        let (from, at) = (from as usize * width, to as usize * width);
        if self.frame.pixels[from..from + width] != self.frame.pixels[at..at + width] {
            self.frame.pixels.copy_within(from..from + width, at);
            if let Some(changed) = self.changed.get_mut(to as usize) {
                *changed = true;
            }
        }
    }

    fn draw_packed(&mut self, vga: &Vga, memory: &Memory, touched: &DirtyPages, known: bool) {
        let lines = PackedLines::new(vga);
        for y in 0..self.frame.height {
            let (at, len) = lines.bytes(vga, y);
            if known && !touched.contains(at..at + len) {
                continue;
            }
            if lines.are_whole() {
                // These need little more than to be read where they go.
                memory.read_video(at, self.line.as_mut_bytes());
                self.line.iter_mut().for_each(|pixel| *pixel = u32::from_le(*pixel) & 0x00ff_ffff);
            } else {
                self.raw.resize(len as usize, 0);
                memory.read_video(at, &mut self.raw);
                lines.draw(&self.raw, &mut self.line);
            }
            self.put(y);
        }
    }

    fn draw_vbe_planes(&mut self, vga: &Vga, memory: &Memory, touched: &DirtyPages, known: bool, blink: Blink) {
        let vbe = &vga.vbe;
        let pitch = u32::from(vbe.virt_width) / 8;
        let start = u32::from(vbe.y_offset) * pitch + u32::from(vbe.x_offset) / 8;
        let (pixels, limit) = (Pixels::new(vga, false, blink), u64::from(vga.vram() / 4));
        self.raw.resize(usize::from(vbe.xres) / 8 * 4, 0);
        for y in 0..self.frame.height {
            // Where the line does not fit it goes on at the start.
            let first = u64::from(start.wrapping_add(y.wrapping_mul(pitch))) % limit;
            let whole = ((limit - first) * 4).min(self.raw.len() as u64);
            let rest = self.raw.len() as u64 - whole;
            if known && !touched.contains(first * 4..first * 4 + whole) && !touched.contains(0..rest) {
                continue;
            }
            memory.read_video(first * 4, &mut self.raw[..whole as usize]);
            memory.read_video(0, &mut self.raw[whole as usize..]);
            for (eight, &quad) in self.line.as_chunks_mut().0.iter_mut().zip(self.raw.as_chunks().0) {
                *eight = pixels.of(quad);
            }
            self.put(y);
        }
    }

    /// Reads the VGA's planes where they were written. Gives what has changed, and whether fonts have.
    fn read_planes(&mut self, memory: &Memory, touched: &DirtyPages, known: bool) -> (DirtyPages, bool) {
        if !known || self.planes.len() != PLANES {
            self.planes.resize(PLANES, 0);
            memory.read_video(0, &mut self.planes);
            return (DirtyPages::all(), true);
        }
        let (mut changed, mut fonts) = (DirtyPages::none(), false);
        for (n, page) in (0..).zip(self.planes.chunks_exact_mut(PAGE as usize)) {
            if !touched.contains(n * PAGE..(n + 1) * PAGE) {
                continue;
            }
            self.raw.resize(PAGE as usize, 0);
            memory.read_video(n * PAGE, &mut self.raw);
            if *page != *self.raw {
                changed.add(n * PAGE..(n + 1) * PAGE);
                let (old, new) = (page.as_chunks::<4>().0, self.raw.as_chunks::<4>().0);
                fonts |= old.iter().zip(new).any(|(old, new)| old[2] != new[2]);
                page.copy_from_slice(&self.raw);
            }
        }
        (changed, fonts)
    }

    /// The VGA's own graphics modes.
    fn draw_planes(&mut self, vga: &Vga, memory: &Memory, touched: &DirtyPages, known: bool, blink: Blink) {
        let (changed, _) = self.read_planes(memory, touched, known);
        let lines = PlaneLines::new(vga, blink);
        let mut last = None;
        for (y, scan) in (0_u32..).zip(vga.scans()) {
            let (at, len) = lines.bytes(scan);
            if known && !changed.contains(at..at + len) {
                continue;
            }
            // Lines that show the same are drawn once.
            if last == Some((y.wrapping_sub(1), scan)) {
                self.copy(y - 1, y);
            } else {
                lines.draw(&self.planes, scan, &mut self.line);
                self.put(y);
            }
            last = Some((y, scan));
        }
    }

    fn draw_text(&mut self, vga: &Vga, memory: &Memory, touched: &DirtyPages, known: bool, blink: Blink) {
        let (_, fonts) = self.read_planes(memory, touched, known);
        let mut cells = Vec::new();
        if vga.text {
            cells.resize(TEXT_SIZE as usize, 0);
            memory.read_video(vga.vram().into(), &mut cells);
        }
        let planes = &self.planes;
        // Character and attribute at a counter's value.
        let text = TextLines::new(vga, blink, |address| {
            let address = address as usize & 0xffff;
            match cells.get(address * 2..address * 2 + 2) {
                Some(cell) => [cell[0], cell[1]],
                None => [planes[address * 4], planes[address * 4 + 1]],
            }
        });
        let became: Vec<Became> = if known && !fonts {
            text.since(&self.text).collect()
        } else {
            vec![Became::New; self.frame.height as usize]
        };
        let mut pen = TextPen::new(vga, blink);
        for (y, became) in became.into_iter().enumerate() {
            match became {
                Became::Same => {}
                // The lines below are still those of before.
                Became::Moved(by) => self.copy((y + by) as u32, y as u32),
                Became::New => {
                    let planes = &self.planes;
                    pen.draw(&text, y, |at| planes.get(at * 4 + 2).copied().unwrap_or(0), &mut self.line);
                    self.put(y as u32);
                }
            }
        }
        self.text = text;
    }
}
