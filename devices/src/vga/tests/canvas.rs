//! A picture that follows the screen is the one that is drawn anew, and what blinks does.

use super::*;
use crate::memory::DirtyPages;

/// A canvas, and the adapter that it follows.
struct Follower {
    vga: Bench<Vga>,
    canvas: Canvas,
    last: Bitmap,
}

impl Follower {
    fn new() -> Self {
        let mut vga = placed();
        vga.outb(0x3c0, 0x20);
        Self { vga, canvas: Canvas::default(), last: Bitmap::default() }
    }

    /// Looks: the picture is right, and so is what is told of its changes.
    fn look(&mut self, blink: Blink, what: &str) -> Vec<u32> {
        let mut touched = DirtyPages::none();
        self.vga.memory.take_dirty_video(|bytes| touched.add(bytes));
        let changed = self.canvas.draw(&self.vga.device, &self.vga.memory, &touched, blink);
        let frame = self.canvas.frame();
        assert_eq!((frame.width, frame.height), self.vga.device.size(), "{what}");
        assert!(*frame == self.vga.device.render_in(&self.vga.memory, blink), "{what}");
        let lines: Vec<u32> = self.canvas.changed().collect();
        assert_eq!(changed, !lines.is_empty());
        if (frame.width, frame.height) == (self.last.width, self.last.height) {
            let other = (0..frame.height).filter(|&y| frame.line(y) != self.last.line(y));
            // A line that moved and came back is told as well.
            assert!(other.clone().all(|y| lines.contains(&y)), "{what}: {lines:?}");
        }
        if !self.canvas.blinks() {
            let hidden = Blink { cursor: false, characters: false };
            assert!(*frame == self.vga.device.render_in(&self.vga.memory, hidden), "{what}: blinks");
        }
        self.last = frame.clone();
        lines
    }
}

fn random_blink(rng: &mut Rng) -> Blink {
    let bits = rng.below(8);
    // Shown, mostly.
    Blink { cursor: bits & 1 == 0 || bits & 4 != 0, characters: bits & 2 == 0 || bits & 4 != 0 }
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
fn a_canvas_shows_what_a_fresh_one_shows() {
    let mut rng = Rng(8);
    let mut follower = Follower::new();
    for round in 0..300 {
        let vga = &mut follower.vga;
        match rng.below(7) {
            0 => {
                let bpp = [4, 8, 15, 16, 24, 32][rng.below(6) as usize];
                for (index, value) in [(4, 0), (1, 64), (2, 40), (3, bpp), (4, 0xc1)] {
                    dispi(vga, index, value);
                }
            }
            1 => dispi(vga, 9, rng.below(20) as u16),
            2 => vga.outb(0x3c0, [0, 0x20][rng.below(2) as usize]),
            3 => [rng.below(256) as u8, 1, 2].iter().zip([0x3c8, 0x3c9, 0x3c9]).for_each(|(&v, p)| vga.outb(p, v)),
            4 => {
                dispi(vga, 4, 0);
                set(vga, [&MODE_3, &MODE_12, &MODE_13][rng.below(3) as usize]);
            }
            5 => crtc(vga, 0x0d, rng.below(4) as u8),
            _ => {}
        }
        vga.memory.write_video(rng.below(64 * 40 * 4), &[rng.next_u64() as u8; 5]);
        let blink = random_blink(&mut rng);
        follower.look(blink, &format!("round {round}"));
    }
}

#[test]
fn text_that_is_written_scrolled_and_edited_is_followed() {
    let mut rng = Rng(9);
    let mut follower = Follower::new();
    set(&mut follower.vga, &MODE_3);
    random_font(&mut follower.vga, &mut rng);
    let text = u64::from(Vga::DEFAULT_VRAM);
    let mut drawn = 0;
    for round in 0..400 {
        let vga = &mut follower.vga;
        match rng.below(12) {
            // A new line at the bottom.
            0 | 1 => {
                let mut cells = vec![0; 4000];
                vga.memory.read_video(text + 160, &mut cells);
                vga.memory.write_video(text, &cells);
            }
            2 => {
                let at = rng.below(2100) as u16;
                crtc(vga, 0x0e, (at >> 8) as u8);
                crtc(vga, 0x0f, at as u8);
            }
            3 => crtc(vga, 0x0a, [0x0d, 0x2d, 0][rng.below(3) as usize]),
            4 => {
                let start = rng.below(30) as u16 * 80;
                crtc(vga, 0x0c, (start >> 8) as u8);
                crtc(vga, 0x0d, start as u8);
            }
            5 => vga.memory.write_video(rng.below(256 * 32) * 4 + 2, &[rng.next_u64() as u8]),
            6 => crtc(vga, 8, rng.below(17) as u8),
            7 => {
                crtc(vga, 0x11, 0);
                crtc(vga, 0x18, [0xff, 99, 17][rng.below(3) as usize]);
                crtc(vga, 7, [0x1f, 0x0f][rng.below(2) as usize]);
            }
            _ => {
                let word = [rng.next_u64() as u8, rng.next_u64() as u8].repeat(1 + rng.below(3) as usize);
                vga.memory.write_video(text + rng.below(2500) * 2, &word);
            }
        }
        let blink = random_blink(&mut rng);
        drawn += follower.look(blink, &format!("round {round}")).len();
    }
    assert!(drawn < 400 * 300, "{drawn} lines of {}", 400 * 400);
}

#[test]
fn a_letter_costs_its_row_and_a_line_of_a_picture_that_line() {
    let mut follower = Follower::new();
    set(&mut follower.vga, &MODE_3);
    random_font(&mut follower.vga, &mut Rng(1));
    crtc(&mut follower.vga, 0x0a, 0x20);
    assert_eq!(follower.look(Blink::SHOWN, "all").len(), 400);
    assert!(follower.look(Blink::SHOWN, "nothing").is_empty());
    print(&mut follower.vga, 85, b"x");
    let lines = follower.look(Blink::SHOWN, "a letter");
    assert!(lines.iter().all(|y| (16..32).contains(y)) && lines.len() > 8, "{lines:?}");
    for (index, value) in [(1, 800), (2, 600), (3, 32), (4, 0x41)] {
        dispi(&mut follower.vga, index, value);
    }
    follower.look(Blink::SHOWN, "a picture");
    follower.vga.memory.write_video(3200 * 300 + 5, &[7]);
    assert_eq!(follower.look(Blink::SHOWN, "a dot"), [300]);
    set_off(&mut follower.vga);
    set(&mut follower.vga, &MODE_12);
    follower.look(Blink::SHOWN, "planes");
    follower.vga.memory.write_video(80 * 4 * 100, &[0xff]);
    assert_eq!(follower.look(Blink::SHOWN, "a dot of planes"), [100]);
}

fn set_off(vga: &mut Bench<Vga>) {
    dispi(vga, 4, 0);
}

#[test]
fn the_cursor_blinks_every_sixteen_frames_and_characters_every_thirty_two() {
    let mut vga = bench();
    set(&mut vga, &MODE_3);
    // 449 lines of 900 dots at 28.322 MHz.
    let frame = 1_000_000_000.0 / (28_322_000.0 / (449.0 * 900.0));
    for n in 0..70_u32 {
        let (blink, until) = vga.device.blink((f64::from(n) * frame + 1000.0) as u64);
        assert_eq!((blink.cursor, blink.characters), (n % 16 < 8, n % 32 < 16), "frame {n}");
        let next = f64::from((n / 8 + 1) * 8) * frame;
        assert!((until as f64 - next).abs() < 100.0, "{until} {next}");
    }
}

#[test]
fn pixels_of_graphics_blink_by_their_fourth_bit() {
    let mut vga = bench();
    set(&mut vga, &MODE_12);
    let hidden = Blink { cursor: false, characters: false };
    // Colours 0 to 15, a pixel each.
    for (plane, bytes) in (0..).zip([[0x55, 0x55], [0x33, 0x33], [0x0f, 0x0f], [0x00, 0xff]]) {
        sequencer(&mut vga, 2, 1 << plane);
        vga.mem_write(0xa_0000, &bytes);
    }
    let colour = |n: u32| (n << 2) << 16 | (n / 2) << 10;
    let first = |frame: Bitmap| frame.pixels[..16].to_vec();
    let steady: Vec<u32> = (0..16).map(colour).collect();
    assert_eq!(first(vga.device.render_in(&vga.memory, hidden)), steady, "blinking is off");
    let attribute = |vga: &mut Bench<Vga>, index, value| {
        vga.inb(0x3da);
        vga.outb(0x3c0, index);
        vga.outb(0x3c0, value);
        vga.outb(0x3c0, 0x20);
    };
    attribute(&mut vga, 0x10, 0x09);
    assert_eq!(first(vga.device.render(&vga.memory)), steady);
    let toggled: Vec<u32> = (0..16).map(|n| colour(n & 7)).collect();
    assert_eq!(first(vga.device.render_in(&vga.memory, hidden)), toggled);
    // Mode 0Fh's way: plane 3 is off, and all of the screen blinks as far as the palette makes a difference.
    attribute(&mut vga, 0x12, 0x05);
    let low: Vec<u32> = (0..16).map(|n| colour(n & 5)).collect();
    let high: Vec<u32> = (0..16).map(|n| colour(n & 5 | 8)).collect();
    assert_eq!(first(vga.device.render(&vga.memory)), low);
    assert_eq!(first(vga.device.render_in(&vga.memory, hidden)), high);
}
