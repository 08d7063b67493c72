//! Incremental rendering equals rendering from scratch; blink phases.

use super::*;
use crate::memory::DirtyPages;

/// A canvas and its adapter.
struct CanvasChecker {
    vga: Bench<Vga>,
    canvas: Canvas,
    last: Bitmap,
}

impl CanvasChecker {
    fn new() -> Self {
        let mut vga = mapped();
        vga.outb(AR_INDEX, 0x20);
        Self { vga, canvas: Canvas::default(), last: Bitmap::default() }
    }

    /// Draws, and checks the frame and the reported changes against a fresh rendering.
    fn check(&mut self, blink: BlinkPhase, what: &str) -> Vec<u32> {
        let mut dirty = DirtyPages::none();
        self.vga.memory.take_dirty_video(|bytes| dirty.add(bytes));
        let changed = self.canvas.draw(&self.vga.device, &self.vga.memory, &dirty, blink);
        let frame = self.canvas.frame();
        assert_eq!((frame.width, frame.height), self.vga.device.size(), "{what}");
        assert!(*frame == self.vga.device.render_at(&self.vga.memory, blink), "{what}");
        let lines: Vec<u32> = self.canvas.changed_lines().collect();
        assert_eq!(changed, !lines.is_empty());
        if (frame.width, frame.height) == (self.last.width, self.last.height) {
            let other = (0..frame.height).filter(|&y| frame.line(y) != self.last.line(y));
            // A line that scrolled away and back may be reported as well.
            assert!(other.clone().all(|y| lines.contains(&y)), "{what}: {lines:?}");
        }
        if !self.canvas.blinks() {
            let hidden = BlinkPhase { cursor: false, characters: false };
            assert!(
                *frame == self.vga.device.render_at(&self.vga.memory, hidden),
                "{what}: depends on the blink phase"
            );
        }
        self.last = frame.clone();
        lines
    }
}

fn random_phase(rng: &mut Rng) -> BlinkPhase {
    let bits = rng.below(8);
    // Mostly visible.
    BlinkPhase { cursor: bits & 1 == 0 || bits & 4 != 0, characters: bits & 2 == 0 || bits & 4 != 0 }
}

fn random_font(vga: &mut Bench<Vga>, rng: &mut Rng) {
    for glyph in 0..512 {
        let line = rng.next_u64().to_le_bytes();
        for (row, byte) in (0..16).zip(line.iter().cycle()) {
            vga.memory.write_video((glyph * 32 + row) * 4 + 2, &[*byte]);
        }
    }
}

#[test]
fn an_incremental_canvas_equals_a_fresh_rendering() {
    let mut rng = Rng(8);
    let mut checker = CanvasChecker::new();
    for round in 0..300 {
        let vga = &mut checker.vga;
        match rng.below(7) {
            0 => {
                let bpp = [4, 8, 15, 16, 24, 32][rng.below(6) as usize];
                for (index, value) in [
                    (DISPI_INDEX_ENABLE, 0),
                    (DISPI_INDEX_XRES, 64),
                    (DISPI_INDEX_YRES, 40),
                    (DISPI_INDEX_BPP, bpp),
                    (DISPI_INDEX_ENABLE, 0xc1),
                ] {
                    write_dispi(vga, index, value);
                }
            }
            1 => write_dispi(vga, DISPI_INDEX_Y_OFFSET, rng.below(20) as u16),
            2 => vga.outb(AR_INDEX, [0, 0x20][rng.below(2) as usize]),
            3 => [rng.below(256) as u8, 1, 2]
                .iter()
                .zip([DAC_WRITE_INDEX, DAC_DATA, DAC_DATA])
                .for_each(|(&v, p)| vga.outb(p, v)),
            4 => {
                write_dispi(vga, DISPI_INDEX_ENABLE, 0);
                set_mode(vga, [&MODE_3, &MODE_12, &MODE_13][rng.below(3) as usize]);
            }
            5 => write_cr(vga, 0x0d, rng.below(4) as u8),
            _ => {}
        }
        vga.memory.write_video(rng.below(64 * 40 * 4), &[rng.next_u64() as u8; 5]);
        let blink = random_phase(&mut rng);
        checker.check(blink, &format!("round {round}"));
    }
}

#[test]
fn an_incremental_canvas_follows_written_scrolled_and_edited_text() {
    let mut rng = Rng(9);
    let mut checker = CanvasChecker::new();
    set_mode(&mut checker.vga, &MODE_3);
    random_font(&mut checker.vga, &mut rng);
    let text = u64::from(Vga::DEFAULT_VRAM);
    let mut drawn = 0;
    for round in 0..400 {
        let vga = &mut checker.vga;
        match rng.below(12) {
            // Scroll by one line.
            0 | 1 => {
                let mut cells = vec![0; 4000];
                vga.memory.read_video(text + 160, &mut cells);
                vga.memory.write_video(text, &cells);
            }
            2 => {
                let at = rng.below(2100) as u16;
                write_cr(vga, 0x0e, (at >> 8) as u8);
                write_cr(vga, 0x0f, at as u8);
            }
            3 => write_cr(vga, 0x0a, [0x0d, 0x2d, 0][rng.below(3) as usize]),
            4 => {
                let start = rng.below(30) as u16 * 80;
                write_cr(vga, 0x0c, (start >> 8) as u8);
                write_cr(vga, 0x0d, start as u8);
            }
            5 => vga.memory.write_video(rng.below(256 * 32) * 4 + 2, &[rng.next_u64() as u8]),
            6 => write_cr(vga, 8, rng.below(17) as u8),
            7 => {
                write_cr(vga, 0x11, 0);
                write_cr(vga, 0x18, [0xff, 99, 17][rng.below(3) as usize]);
                write_cr(vga, 7, [0x1f, 0x0f][rng.below(2) as usize]);
            }
            _ => {
                let word = [rng.next_u64() as u8, rng.next_u64() as u8].repeat(1 + rng.below(3) as usize);
                vga.memory.write_video(text + rng.below(2500) * 2, &word);
            }
        }
        let blink = random_phase(&mut rng);
        drawn += checker.check(blink, &format!("round {round}")).len();
    }
    assert!(drawn < 400 * 300, "{drawn} lines of {}", 400 * 400);
}

#[test]
fn only_the_affected_scan_lines_are_redrawn() {
    let mut checker = CanvasChecker::new();
    set_mode(&mut checker.vga, &MODE_3);
    random_font(&mut checker.vga, &mut Rng(1));
    write_cr(&mut checker.vga, 0x0a, 0x20);
    assert_eq!(checker.check(BlinkPhase::VISIBLE, "all").len(), 400);
    assert!(checker.check(BlinkPhase::VISIBLE, "no change").is_empty());
    print(&mut checker.vga, 85, b"x");
    let lines = checker.check(BlinkPhase::VISIBLE, "a letter");
    assert!(lines.iter().all(|y| (16..32).contains(y)) && lines.len() > 8, "{lines:?}");
    for (index, value) in
        [(DISPI_INDEX_XRES, 800), (DISPI_INDEX_YRES, 600), (DISPI_INDEX_BPP, 32), (DISPI_INDEX_ENABLE, 0x41)]
    {
        write_dispi(&mut checker.vga, index, value);
    }
    checker.check(BlinkPhase::VISIBLE, "a picture");
    checker.vga.memory.write_video(3200 * 300 + 5, &[7]);
    assert_eq!(checker.check(BlinkPhase::VISIBLE, "a pixel"), [300]);
    disable_vbe(&mut checker.vga);
    set_mode(&mut checker.vga, &MODE_12);
    checker.check(BlinkPhase::VISIBLE, "planes");
    checker.vga.memory.write_video(80 * 4 * 100, &[0xff]);
    assert_eq!(checker.check(BlinkPhase::VISIBLE, "a pixel in a planar mode"), [100]);
}

fn disable_vbe(vga: &mut Bench<Vga>) {
    write_dispi(vga, DISPI_INDEX_ENABLE, 0);
}

#[test]
fn the_cursor_blinks_with_16_frames_period_and_characters_with_32() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_3);
    // 449 lines of 900 dots at 28.322 MHz.
    let frame = 1_000_000_000.0 / (28_322_000.0 / (449.0 * 900.0));
    for n in 0..70_u32 {
        let (blink, until) = vga.device.blink_phase((f64::from(n) * frame + 1000.0) as u64);
        assert_eq!((blink.cursor, blink.characters), (n % 16 < 8, n % 32 < 16), "frame {n}");
        let next = f64::from((n / 8 + 1) * 8) * frame;
        assert!((until as f64 - next).abs() < 100.0, "{until} {next}");
    }
}

#[test]
fn graphics_pixels_blink_by_bit_3() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_12);
    let hidden = BlinkPhase { cursor: false, characters: false };
    // One pixel of each colour 0 to 15.
    for (plane, bytes) in (0..).zip([[0x55, 0x55], [0x33, 0x33], [0x0f, 0x0f], [0x00, 0xff]]) {
        write_sr(&mut vga, 2, 1 << plane);
        vga.mem_write(0xa_0000, &bytes);
    }
    let colour = |n: u32| (n << 2) << 16 | (n / 2) << 10;
    let first = |frame: Bitmap| frame.pixels[..16].to_vec();
    let steady: Vec<u32> = (0..16).map(colour).collect();
    assert_eq!(first(vga.device.render_at(&vga.memory, hidden)), steady, "blinking is disabled");
    let write_ar = |vga: &mut Bench<Vga>, index, value| {
        vga.inb(ST1);
        vga.outb(AR_INDEX, index);
        vga.outb(AR_INDEX, value);
        vga.outb(AR_INDEX, 0x20);
    };
    write_ar(&mut vga, 0x10, 0x09);
    assert_eq!(first(vga.device.render(&vga.memory)), steady);
    let toggled: Vec<u32> = (0..16).map(|n| colour(n & 7)).collect();
    assert_eq!(first(vga.device.render_at(&vga.memory, hidden)), toggled);
    // As in mode 0Fh: plane 3 is disabled, so all pixels blink.
    write_ar(&mut vga, 0x12, 0x05);
    let low: Vec<u32> = (0..16).map(|n| colour(n & 5)).collect();
    let high: Vec<u32> = (0..16).map(|n| colour(n & 5 | 8)).collect();
    assert_eq!(first(vga.device.render(&vga.memory)), low);
    assert_eq!(first(vga.device.render_at(&vga.memory, hidden)), high);
}
