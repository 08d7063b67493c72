//! Incremental rendering of the VGA display: only scan lines whose memory or registers changed are read and drawn
//! again.

use super::characters::{LineChange, TextRenderer, TextSnapshot};
use super::render::{Bitmap, BlinkPhase, PackedRenderer, PixelDecoder, PlanarRenderer};
use super::{PLANE_SIZE, TEXT_AREA_SIZE, Vga};
use crate::memory::{DirtyPages, Memory, PAGE};
use zerocopy::IntoBytes;

/// Bytes of the plain VGA's four planes.
const PLANES_SIZE: usize = PLANE_SIZE as usize * 4;

/// The last rendered frame, and the state that it was rendered from.
#[derive(Default)]
pub struct Canvas {
    /// The registers and the blink phase of the last drawing.
    last_drawn: Option<(Vga, BlinkPhase)>,
    frame: Bitmap,
    /// By scan line: whether the last drawing changed it.
    line_changed: Vec<bool>,
    /// A copy of the VGA's planes, for the modes without VBE.
    planes: Vec<u8>,
    text: TextSnapshot,
    /// The scan line being drawn.
    line: Vec<u32>,
    raw: Vec<u8>,
}

impl Vga {
    /// Renders the display with every dot and scan line: a pixel of mode 13h is two dots wide and two lines high.
    /// Blinking elements are visible.
    pub fn render(&self, memory: &Memory) -> Bitmap {
        self.render_at(memory, BlinkPhase::VISIBLE)
    }

    /// Renders the display at a blink phase.
    pub fn render_at(&self, memory: &Memory, blink: BlinkPhase) -> Bitmap {
        let mut canvas = Canvas::default();
        canvas.draw(self, memory, &DirtyPages::all(), blink);
        canvas.frame
    }
}

impl Canvas {
    /// The frame.
    pub fn frame(&self) -> &Bitmap {
        &self.frame
    }

    /// The scan lines that the last drawing changed.
    pub fn changed_lines(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.line_changed).filter(|(_, changed)| **changed).map(|(y, _)| y)
    }

    /// Replaces the frame, for tests of the canvas' users. Returns whether it differs from the last one.
    pub fn set_frame(&mut self, frame: Bitmap) -> bool {
        self.last_drawn = None;
        let last = std::mem::replace(&mut self.frame, frame);
        let resized = (last.width, last.height) != (self.frame.width, self.frame.height);
        let lines = 0..self.frame.height;
        self.line_changed = lines.map(|y| resized || last.line(y) != self.frame.line(y)).collect();
        self.line_changed.contains(&true)
    }

    /// Whether the frame depends on the blink phase.
    pub fn blinks(&self) -> bool {
        self.last_drawn.as_ref().is_some_and(|(vga, _)| {
            if vga.is_blanked() || vga.is_packed() {
                false
            } else if vga.is_text() {
                self.text.depends_on_blink()
            } else {
                vga.blink_enabled() && (vga.vbe.enabled() || !vga.eight_bit())
            }
        })
    }

    /// Draws the scan lines that changed; `dirty` is the video memory written since the last drawing. Returns whether
    /// the frame changed.
    pub fn draw(&mut self, vga: &Vga, memory: &Memory, dirty: &DirtyPages, blink: BlinkPhase) -> bool {
        let size = vga.size();
        self.line_changed.clear();
        self.line_changed.resize(size.1 as usize, false);
        let resized = (self.frame.width, self.frame.height) != size;
        if resized {
            self.frame = Bitmap::black(size);
            self.line_changed.fill(true);
        }
        self.line.resize(size.0 as usize, 0);
        let incremental = self.last_drawn.as_ref().filter(|(last, phase)| {
            let same = if vga.is_text() {
                last.renders_same_except_start(vga)
            } else if vga.is_packed() {
                last.renders_same_except_cursor(vga) && *phase == blink
            } else {
                last.renders_same_as(vga) && *phase == blink
            };
            same && !resized
        });
        let incremental = incremental.is_some();
        let moved = vga.hardware_cursor() != self.last_drawn.as_ref().and_then(|(last, _)| last.hardware_cursor());
        if if vga.vbe.packed() { !vga.palette_enabled() } else { vga.is_blanked() } {
            self.draw_blank();
        } else if vga.is_packed() {
            self.draw_packed(vga, memory, dirty, incremental);
        } else if vga.vbe.enabled() {
            self.draw_vbe_planes(vga, memory, dirty, incremental, blink);
        } else if vga.is_text() {
            self.draw_text(vga, memory, dirty, incremental, blink);
        } else {
            self.draw_planes(vga, memory, dirty, incremental, blink);
        }
        if !incremental || moved || self.last_drawn.as_ref().is_none_or(|(_, phase)| *phase != blink) || vga.is_text() {
            self.last_drawn = Some((vga.render_state(), blink));
        }
        self.line_changed.contains(&true)
    }

    fn draw_blank(&mut self) {
        for (y, changed) in (0..).zip(&mut self.line_changed) {
            let line = self.frame.line_mut(y);
            if line.iter().any(|&pixel| pixel != 0) {
                line.fill(0);
                *changed = true;
            }
        }
    }

    /// Copies `self.line` to scan line `y`.
    fn store_line(&mut self, y: u32) {
        let line = self.frame.line_mut(y);
        if *line != *self.line
            && let Some(changed) = self.line_changed.get_mut(y as usize)
        {
            line.copy_from_slice(&self.line);
            *changed = true;
        }
    }

    /// Copies scan line `from` to scan line `to`.
    fn copy_line(&mut self, from: u32, to: u32) {
        let width = self.frame.width as usize;
        let (from, at) = (from as usize * width, to as usize * width);
        if self.frame.pixels[from..from + width] != self.frame.pixels[at..at + width] {
            self.frame.pixels.copy_within(from..from + width, at);
            if let Some(changed) = self.line_changed.get_mut(to as usize) {
                *changed = true;
            }
        }
    }

    fn draw_packed(&mut self, vga: &Vga, memory: &Memory, dirty: &DirtyPages, incremental: bool) {
        let lines = PackedRenderer::new(vga);
        let (len, vram) = (lines.line_bytes(vga), u64::from(vga.vram()));
        let cursor = vga.hardware_cursor();
        let last = self.last_drawn.as_ref().and_then(|(last, _)| last.hardware_cursor());
        // Lines of a cursor that moved or changed, and those where it was.
        let moved = cursor != last || cursor.as_ref().is_some_and(|cursor| dirty.contains(cursor.pattern()));
        let covered = |y| moved && [&cursor, &last].into_iter().flatten().any(|cursor| cursor.lines().contains(&y));
        for (y, at) in (0..self.frame.height).zip(lines.lines(vga)) {
            // A line that crosses the end of video memory continues at its start.
            let whole = len.min(vram - at);
            let changed = dirty.contains(at..at + whole) || dirty.contains(0..len - whole);
            if incremental && !changed && !covered(y) {
                continue;
            }
            if lines.is_32_bit() {
                // Read 32-bit pixels straight into the line.
                let (first, rest) = self.line.as_mut_bytes().split_at_mut(whole as usize);
                memory.read_video(at, first);
                memory.read_video(0, rest);
                self.line.iter_mut().for_each(|pixel| *pixel = u32::from_le(*pixel) & 0x00ff_ffff);
            } else {
                self.raw.resize(len as usize, 0);
                let (first, rest) = self.raw.split_at_mut(whole as usize);
                memory.read_video(at, first);
                memory.read_video(0, rest);
                lines.draw(&self.raw, &mut self.line);
            }
            if let Some(cursor) = &cursor {
                cursor.draw(memory, y, &mut self.line);
            }
            self.store_line(y);
        }
    }

    fn draw_vbe_planes(
        &mut self,
        vga: &Vga,
        memory: &Memory,
        dirty: &DirtyPages,
        incremental: bool,
        blink: BlinkPhase,
    ) {
        let vbe = &vga.vbe;
        let pitch = u32::from(vbe.virt_width) / 8;
        let start = u32::from(vbe.y_offset) * pitch + u32::from(vbe.x_offset) / 8;
        let (pixels, limit) = (PixelDecoder::new(vga, false, blink), u64::from(vga.vram() / 4));
        self.raw.resize(usize::from(vbe.xres) / 8 * 4, 0);
        for y in 0..self.frame.height {
            // A line that crosses the end of video memory continues at its start.
            let first = u64::from(start.wrapping_add(y.wrapping_mul(pitch))) % limit;
            let whole = ((limit - first) * 4).min(self.raw.len() as u64);
            let rest = self.raw.len() as u64 - whole;
            if incremental && !dirty.contains(first * 4..first * 4 + whole) && !dirty.contains(0..rest) {
                continue;
            }
            memory.read_video(first * 4, &mut self.raw[..whole as usize]);
            memory.read_video(0, &mut self.raw[whole as usize..]);
            for (eight, &quad) in self.line.as_chunks_mut().0.iter_mut().zip(self.raw.as_chunks().0) {
                *eight = pixels.decode(quad);
            }
            self.store_line(y);
        }
    }

    /// Updates the copy of the planes from dirty pages. Returns the pages whose contents changed, and whether plane 2
    /// (the fonts) did.
    fn read_planes(&mut self, memory: &Memory, dirty: &DirtyPages, incremental: bool) -> (DirtyPages, bool) {
        if !incremental || self.planes.len() != PLANES_SIZE {
            self.planes.resize(PLANES_SIZE, 0);
            memory.read_video(0, &mut self.planes);
            return (DirtyPages::all(), true);
        }
        let (mut changed, mut fonts) = (DirtyPages::none(), false);
        for (n, page) in (0..).zip(self.planes.chunks_exact_mut(PAGE as usize)) {
            if !dirty.contains(n * PAGE..(n + 1) * PAGE) {
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

    /// Draws the graphics modes without VBE.
    fn draw_planes(&mut self, vga: &Vga, memory: &Memory, dirty: &DirtyPages, incremental: bool, blink: BlinkPhase) {
        let (changed, _) = self.read_planes(memory, dirty, incremental);
        let lines = PlanarRenderer::new(vga, blink);
        let mut last = None;
        for (y, scan) in (0_u32..).zip(vga.scan_lines()) {
            let (at, len) = lines.bytes(scan);
            if incremental && !changed.contains(at..at + len) {
                continue;
            }
            // Consecutive lines with the same scan state are drawn once and copied.
            if last == Some((y.wrapping_sub(1), scan)) {
                self.copy_line(y - 1, y);
            } else {
                lines.draw(&self.planes, scan, &mut self.line);
                self.store_line(y);
            }
            last = Some((y, scan));
        }
    }

    fn draw_text(&mut self, vga: &Vga, memory: &Memory, dirty: &DirtyPages, incremental: bool, blink: BlinkPhase) {
        let (_, fonts) = self.read_planes(memory, dirty, incremental);
        let mut cells = Vec::new();
        if vga.text_relocated {
            cells.resize(TEXT_AREA_SIZE as usize, 0);
            memory.read_video(vga.vram().into(), &mut cells);
        }
        let planes = &self.planes;
        // Character and attribute at an address counter value.
        let text = TextSnapshot::new(vga, blink, |counter| {
            let at = vga.cell_at(counter);
            let (bytes, at) = match at.checked_sub(vga.vram().into()) {
                Some(at) => (&cells, at as usize),
                None => (planes, at as usize),
            };
            bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default()
        });
        let changes: Vec<LineChange> = if incremental && !fonts {
            text.changes_since(&self.text).collect()
        } else {
            vec![LineChange::Changed; self.frame.height as usize]
        };
        let mut renderer = TextRenderer::new(vga, blink);
        for (y, change) in changes.into_iter().enumerate() {
            match change {
                LineChange::Unchanged => {}
                // Lines are drawn from the top, so the lines below still have their old contents.
                LineChange::ScrolledFrom(by) => self.copy_line((y + by) as u32, y as u32),
                LineChange::Changed => {
                    let planes = &self.planes;
                    renderer.draw(&text, y, |at| planes.get(at * 4 + 2).copied().unwrap_or(0), &mut self.line);
                    self.store_line(y as u32);
                }
            }
        }
        self.text = text;
    }
}
