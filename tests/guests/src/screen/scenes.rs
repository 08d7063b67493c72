//! Scenes: test pictures that adapters are compared by.

use super::modes::{attribute, cube_colours, ega_colours, register};
use super::{Font, LFB, Mode, Op};

pub(super) const SEQUENCER: u16 = 0x3C4;
pub(super) const GRAPHICS: u16 = 0x3CE;
const CRTC: u16 = 0x3D4;
pub(super) const TEXT: u32 = 0xB_8000;
pub(super) const WINDOW: u32 = 0xA_0000;
/// RAM address of the text cells for [`characters`].
const CELLS: u32 = 0x3_0000;

/// A picture and the program that draws it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Name: letters, digits and dashes.
    pub name: &'static str,
    /// Draws the picture; runs after the scenes before it.
    pub program: Vec<Op>,
}

/// Scenes that share a firmware image, and their common prologue.
#[derive(Clone, Debug)]
pub struct Group {
    /// Name.
    pub name: &'static str,
    /// The display adapter, as `--vga` names it.
    pub adapter: &'static str,
    /// Runs once, before the first scene.
    pub prologue: Vec<Op>,
    /// The scenes.
    pub scenes: Vec<Scene>,
}

impl Group {
    /// Prologue and scenes as one program.
    pub fn program(&self) -> Vec<Op> {
        let scenes = self.scenes.iter().flat_map(|scene| scene.program.iter().cloned().chain([Op::Scene]));
        self.prologue.iter().cloned().chain(scenes).collect()
    }
}

/// Every group.
pub fn groups() -> Vec<Group> {
    let std = |name, prologue, scenes| Group { name, adapter: "std", prologue, scenes };
    let cirrus = |name, scenes| Group { name, adapter: "cirrus", prologue: super::cirrus::bars(), scenes };
    let [modes, operations] = super::cirrus::scenes();
    vec![
        std("text", [clear(), fonts()].concat(), text()),
        std("planes", noise(38_400), planes()),
        std("bytes", noise(0x1_0000), bytes()),
        std("vbe", [bars(), Mode::LINEAR_13.set()].concat(), vbe()),
        cirrus("cirrus-modes", modes),
        cirrus("cirrus-blitter", operations),
    ]
}

/// Repeated string instructions that read the planes: copies through the latches of lengths around the emulator's limits, to
/// RAM and back, and what each plane then holds.
pub fn copies() -> Vec<Op> {
    let plane = |n: u8| [seq(2, 1 << n), one(Op::Pattern(WINDOW, 9000, u32::from(n) + 1))].concat();
    let planes = (0..4).flat_map(plane).collect();
    let through_latches = [seq(2, 0xF), gfx(5, 1), {
        [1, 2, 3, 79, 999, 1000, 1001, 4000]
            .into_iter()
            .zip(0..)
            .map(|(len, n)| Op::Copy(WINDOW + 0x3000 + n * 0x1400, len, WINDOW + 7 * n))
            .collect()
    }];
    let to_ram_and_back = [gfx(5, 0), gfx(4, 2), {
        vec![Op::Copy(CELLS, 5000, WINDOW), Op::Sum(CELLS, 5000), Op::Copy(WINDOW + 0x2800, 300, CELLS)]
    }];
    let sums = (0..4).flat_map(|n| [gfx(4, n), one(Op::Sum(WINDOW, 0xFFFF))].concat()).collect();
    [noise(16), planes, through_latches.concat(), to_ram_and_back.concat(), sums].concat()
}

pub(super) fn scene(name: &'static str, parts: impl IntoIterator<Item = Vec<Op>>) -> Scene {
    Scene { name, program: parts.into_iter().flatten().collect() }
}

pub(super) fn one(op: Op) -> Vec<Op> {
    vec![op]
}

pub(super) fn seq(index: u8, value: u8) -> Vec<Op> {
    one(register(SEQUENCER, index, value))
}

pub(super) fn gfx(index: u8, value: u8) -> Vec<Op> {
    one(register(GRAPHICS, index, value))
}

pub(super) fn crtc(index: u8, value: u8) -> Vec<Op> {
    one(register(CRTC, index, value))
}

fn attr(index: u8, value: u8) -> Vec<Op> {
    attribute(Mode::TEXT_80_400, index, value)
}

/// Sets the CRTC start address.
fn start(address: u16) -> Vec<Op> {
    let [low, high] = address.to_le_bytes();
    [crtc(0x0C, high), crtc(0x0D, low)].concat()
}

/// Sets the line compare value for a split screen; `overflow` and `scan` are the other bits of CRTC 07h and 09h.
fn split(line: u16, overflow: u8, scan: u8) -> Vec<Op> {
    let bit = |n: u16, to: u8| ((line >> n & 1) as u8) << to;
    [crtc(0x18, line as u8), crtc(7, overflow & !0x10 | bit(8, 4)), crtc(9, scan & !0x40 | bit(9, 6))].concat()
}

/// Stores the fonts for [`load`] and the cells for [`characters`] in RAM.
fn fonts() -> Vec<Op> {
    let mut ops: Vec<_> =
        [Font::Height8, Font::Height14, Font::Height16].map(|font| Op::Store(font.ram_address(), font.glyphs())).into();
    ops.push(Op::Store(CELLS, cells(plain_cell)));
    ops
}

/// Clears video memory and loads a font into one of the eight font blocks.
fn load(font: Font, place: u32) -> Vec<Op> {
    [Mode::all_planes(), seq(2, 4), one(Op::Copy(WINDOW + place * 0x2000, 0x2000, font.ram_address()))].concat()
}

pub(super) fn clear() -> Vec<Op> {
    [Mode::all_planes(), one(Op::Fill32(WINDOW, 0x4000, 0))].concat()
}

/// Sets a text mode with its font and an empty screen.
pub(super) fn text_mode(mode: Mode, font: Font) -> Vec<Op> {
    [load(font, 0), mode.set(), ega_colours()].concat()
}

/// Text cells, 80 per row: every character except B0h-BFh, which some adapters extend to nine dots, and every attribute
/// that does not blink.
fn characters(at: u32, columns: u32) -> Vec<Op> {
    one(Op::Copy(at, columns * 50, CELLS))
}

fn cells(of: impl Fn(u32) -> [u8; 2]) -> Vec<u8> {
    (0..80 * 25).flat_map(of).collect()
}

fn plain_cell(n: u32) -> [u8; 2] {
    let code = if n as u8 & 0xF0 == 0xB0 { n as u8 & 0xF } else { n as u8 };
    [code, (n / 80 * 17 + n % 80 * 3) as u8 & 0x7F]
}

fn line(at: u32, text: &str, attribute: u8) -> Vec<Op> {
    one(Op::Store(at, text.bytes().flat_map(|byte| [byte, attribute]).collect()))
}

fn cursor(first: u8, last: u8, at: u16) -> Vec<Op> {
    let [low, high] = at.to_le_bytes();
    [crtc(0x0A, first), crtc(0x0B, last), crtc(0x0E, high), crtc(0x0F, low)].concat()
}

fn text() -> Vec<Scene> {
    let plain = || [text_mode(Mode::TEXT_80_400, Font::Height16), one(Op::Fill16(TEXT, 2000, 0x0720))].concat();
    let all = || [plain(), characters(TEXT, 80), cursor(0x20, 0, 0)].concat();
    let mono = |mode, font| {
        let mut ops = [text_mode(mode, font), characters(0xB_0000, 80)].concat();
        ops.push(register(0x3B4, 0x0A, 0x20));
        ops
    };
    let text = |mode, font, columns| [text_mode(mode, font), characters(TEXT, columns), cursor(0x20, 0, 0)].concat();
    vec![
        scene("text-80x25", [all()]),
        scene("text-80x25-350-lines", [text(Mode::TEXT_80_350, Font::Height14, 80)]),
        scene("text-80x25-200-lines", [text(Mode::TEXT_80_200, Font::Height8, 80)]),
        scene("text-40x25", [text(Mode::TEXT_40_400, Font::Height16, 40)]),
        scene("text-40x25-200-lines", [text(Mode::TEXT_40_200, Font::Height8, 40)]),
        scene(
            "text-80x50",
            [text_mode(Mode::TEXT_80_400, Font::Height8), crtc(9, 0x47), characters(TEXT, 80), {
                [characters(TEXT + 4000, 80), cursor(0x20, 0, 0)].concat()
            }],
        ),
        scene("text-monochrome", [mono(Mode::MONO_400, Font::Height16)]),
        scene("text-monochrome-350-lines", [mono(Mode::MONO_350, Font::Height14)]),
        scene(
            "text-every-cell",
            [all(), { one(Op::Store(TEXT, cells(|n| [n as u8, (n / 80 * 17 + n % 80 * 3) as u8]))) }],
        ),
        scene(
            "text-bright-backgrounds",
            [plain(), cursor(0x20, 0, 0), attr(0x10, 0x04), {
                one(Op::Store(TEXT, cells(|n| [plain_cell(n)[0], (n / 80 * 17 + n % 80 * 3) as u8])))
            }],
        ),
        scene("text-8-dots", [all(), seq(1, 1), attr(0x10, 0x0C)]),
        scene("text-no-line-graphics", [all(), attr(0x10, 0x08)]),
        scene("text-cursor", [plain(), line(TEXT, "A cursor of two lines", 0x1F), cursor(0x0D, 0x0E, 5)]),
        scene("text-cursor-block", [plain(), line(TEXT + 160, "A whole cell", 0x07), cursor(0, 0x1F, 82)]),
        scene("text-cursor-from-below", [plain(), line(TEXT, "Starts below its end", 0x07), cursor(0x0D, 3, 1)]),
        scene("text-start-and-pitch", [all(), start(85), crtc(0x13, 0x2C)]),
        scene("text-start-wraps", [all(), characters(TEXT + 0x7800, 1), start(0x3F00)]),
        scene("text-split", [all(), start(160), split(199, 0x1F, 0x4F)]),
        scene(
            "text-two-fonts",
            [all(), load(Font::Height8, 4), {
                // Character map select: map A is block 4, map B block 0.
                [Mode::TEXT_80_400.set(), seq(3, 0x20), cursor(0x20, 0, 0)].concat()
            }],
        ),
        scene("text-palette", [all(), attr(1, 0x3E), attr(7, 0x09), attr(0x12, 0x0D)]),
        scene("text-colour-select", [all(), attr(0x14, 0x04)]),
        scene("text-palette-of-16", [all(), attr(0x10, 0x8C), attr(0x14, 0x03)]),
        scene("text-dac-mask", [all(), one(Op::Out8(0x3C6, 0x05))]),
        scene("text-pan", [all(), attr(0x13, 3)]),
        scene("text-pan-and-split", [all(), start(80), split(199, 0x1F, 0x4F), attr(0x13, 3), attr(0x10, 0x2C)]),
        scene("text-preset-row-scan", [all(), crtc(8, 5)]),
        scene("text-byte-pan", [all(), crtc(8, 0x40)]),
        scene("text-screen-off", [all(), seq(1, 0x20)]),
    ]
}

/// Fills `len` bytes from `at` on with runs of equal bytes of many lengths: shows addressing errors and compresses
/// well.
pub(super) fn runs(at: u32, len: u32, seed: u32) -> Vec<Op> {
    let mut random = super::pattern(seed, 5 * 90).into_iter().map(u32::from);
    let mut next = move || random.next().unwrap_or_default();
    (0..90)
        .map(|_| {
            let from = (next() << 8 | next()) % len;
            let most = (len - from).min(len / 10);
            Op::Fill8(at + from, ((next() << 8 | next()) % most).max(1), next())
        })
        .collect()
}

/// Runs in every plane, different in each.
fn noise(len: u32) -> Vec<Op> {
    let plane = |n: u8| [seq(2, 1 << n), runs(WINDOW, len, 77 + u32::from(n))].concat();
    [Mode::all_planes(), one(Op::Fill32(WINDOW, 0x4000, 0)), plane(0), plane(1), plane(2), plane(3)].concat()
}

fn planar(mode: Mode) -> Vec<Op> {
    [mode.set(), ega_colours()].concat()
}

/// Mode 12h with a stripe of each colour, drawn by set/reset.
fn stripes() -> Vec<Op> {
    let stripe = |n: u8| [gfx(0, n), one(Op::Fill8(WINDOW + u32::from(n) * 2400, 2400, 0))].concat();
    let stripes = (0..16).flat_map(stripe).collect();
    [Mode::PLANAR_12.set(), ega_colours(), gfx(1, 0xF), stripes, gfx(1, 0)].concat()
}

fn planes() -> Vec<Scene> {
    let modify = |line: u32, value: u32| one(Op::Modify(WINDOW + line * 80, 80 * 24, value));
    vec![
        scene("mode-0d", [planar(Mode::PLANAR_0D)]),
        scene("mode-0e", [planar(Mode::PLANAR_0E)]),
        scene("mode-0f", [planar(Mode::PLANAR_0F)]),
        scene("mode-10", [planar(Mode::PLANAR_10)]),
        scene("mode-11", [planar(Mode::PLANAR_11)]),
        scene("mode-12", [planar(Mode::PLANAR_12)]),
        scene(
            "planar-reads",
            [planar(Mode::PLANAR_12), {
                let reads = |n: u8| [gfx(4, n), one(Op::Sum(WINDOW + 80 * u32::from(n), 300))].concat();
                let compare = |colour: u8, care: u8| {
                    [gfx(5, 8), gfx(2, colour), gfx(7, care), one(Op::Sum(WINDOW, 500))].concat()
                };
                [reads(0), reads(1), reads(2), reads(3), compare(5, 0xF), compare(9, 3), compare(0, 0)].concat()
            }],
        ),
        scene("planar-start-and-pitch", [planar(Mode::PLANAR_12), start(0x2345), crtc(0x13, 0x32)]),
        scene("planar-split", [planar(Mode::PLANAR_12), start(0x1000), split(300, 0x3E, 0x40)]),
        scene("planar-doubled-split", [planar(Mode::PLANAR_0D), start(0x0400), split(201, 0x1F, 0xC0)]),
        scene("planar-pan", [planar(Mode::PLANAR_12), attr(0x13, 5)]),
        scene("planar-plane-enable", [planar(Mode::PLANAR_12), attr(0x12, 0x06)]),
        scene(
            "cga-4-colours",
            [clear(), Mode::CGA_4.set(), ega_colours(), {
                [runs(TEXT, 8000, 5), one(Op::Fill8(TEXT + 0x2000, 4000, 0x1B)), runs(TEXT + 0x3000, 3000, 6)].concat()
            }],
        ),
        scene(
            "cga-2-colours",
            [clear(), Mode::CGA_2.set(), ega_colours(), {
                [runs(TEXT, 8000, 7), one(Op::Fill8(TEXT + 0x2000, 4000, 0x1B)), runs(TEXT + 0x3000, 3000, 8)].concat()
            }],
        ),
        scene("planar-set-reset", [stripes()]),
        scene(
            "planar-write-mode-0",
            [stripes(), {
                // Bit mask with the functions AND, OR and XOR, and a rotation.
                let part = |n: u8, rotate: u8, mask: u8| {
                    [gfx(3, rotate), gfx(8, mask), modify(u32::from(n) * 40, 0x3C)].concat()
                };
                [part(1, 0x00, 0x0F), part(3, 0x08, 0xFF), part(5, 0x10, 0xF0), part(7, 0x18, 0x3C), part(9, 3, 0xFF)]
                    .concat()
            }],
        ),
        scene(
            "planar-write-mode-1",
            [stripes(), gfx(5, 1), {
                vec![Op::Copy(WINDOW + 80 * 100, 80 * 50, WINDOW + 80 * 380), Op::Sum(WINDOW, 400)]
            }],
        ),
        scene(
            "planar-write-mode-2",
            [stripes(), gfx(5, 2), gfx(8, 0x5A), modify(45, 0x09), gfx(3, 0x18), modify(95, 0x06)],
        ),
        scene(
            "planar-write-mode-3",
            [stripes(), gfx(0, 0x0E), gfx(5, 3), gfx(8, 0x7E), modify(45, 0x99), modify(95, 0xFF)],
        ),
        scene("planar-map-mask", [stripes(), seq(2, 5), one(Op::Fill8(WINDOW + 80 * 35, 80 * 100, 0xCC))]),
        scene(
            "planar-enable-set-reset",
            [stripes(), gfx(0, 5), gfx(1, 6), one(Op::Fill8(WINDOW + 80 * 60, 80 * 60, 0xAA))],
        ),
        scene(
            "planar-odd-even",
            [stripes(), seq(4, 2), gfx(5, 0x10), gfx(6, 7), {
                vec![Op::Pattern(WINDOW + 80 * 20, 4000, 9), Op::Sum(WINDOW + 80 * 20, 400)]
            }],
        ),
        scene(
            "planar-chain-4",
            [stripes(), seq(4, 0xE), { vec![Op::Pattern(WINDOW + 80 * 20, 4000, 10), Op::Sum(WINDOW + 80 * 20, 400)] }],
        ),
    ]
}

/// Mode X: mode 13h without chain-4, byte addressing.
pub(super) fn unchained() -> Vec<Op> {
    [Mode::LINEAR_13.set(), seq(4, 6), crtc(0x14, 0), crtc(0x17, 0xE3), cube_colours()].concat()
}

/// 480 scan lines (240 double-scanned) with the timings of mode 12h.
fn lines_480() -> Vec<Op> {
    let values =
        [(0x11, 0x2C), (6, 0x0D), (7, 0x3E), (0x10, 0xEA), (0x11, 0xAC), (0x12, 0xDF), (0x15, 0xE7), (0x16, 0x06)];
    [one(Op::Out8(0x3C2, 0xE3)), values.iter().flat_map(|&(index, value)| crtc(index, value)).collect()].concat()
}

fn bytes() -> Vec<Scene> {
    let chained = || [Mode::LINEAR_13.set(), cube_colours()].concat();
    let mode_x = unchained;
    // Horizontal timings of 90 characters.
    let wide = [(0x11, 0x2C), (0, 0x6B), (1, 0x59), (2, 0x5A), (3, 0x8E), (4, 0x5E), (5, 0x8A), (0x13, 0x2D)];
    let wide = || wide.iter().flat_map(|&(index, value)| crtc(index, value)).collect::<Vec<_>>();
    vec![
        scene("mode-x-320x200", [mode_x()]),
        scene("mode-x-320x240", [mode_x(), lines_480()]),
        scene("mode-x-320x400", [mode_x(), crtc(9, 0x40)]),
        scene("mode-x-360x480", [mode_x(), wide(), lines_480(), crtc(9, 0x40), one(Op::Out8(0x3C2, 0xE7))]),
        scene("mode-x-page", [mode_x(), start(0x4000)]),
        scene(
            "mode-x-latch-copy",
            [mode_x(), gfx(5, 0x41), { one(Op::Copy(WINDOW + 80 * 100, 80 * 40, WINDOW + 0x8000)) }],
        ),
        scene("mode-x-map-mask", [mode_x(), seq(2, 0xA), one(Op::Fill8(WINDOW + 80 * 30, 80 * 60, 0xE3))]),
        scene("mode-13", [chained(), runs(WINDOW, 64_000, 11), one(Op::Sum(WINDOW + 1000, 1000))]),
        scene("mode-13-start", [chained(), start(0x0155)]),
        scene("mode-13-split", [chained(), start(0x0800), split(149, 0x1F, 0x41)]),
        scene("mode-13-pan", [chained(), attr(0x13, 4)]),
        scene("mode-13-dac-mask", [chained(), one(Op::Out8(0x3C6, 0xE0))]),
    ]
}

/// Assigns the adapter's BAR 0 and enables decoding; the adapter is PCI device 2, function 0.
pub(super) fn bars() -> Vec<Op> {
    let config = |register: u32, value: u32| vec![Op::Out32(0xCF8, 0x8000_1000 | register), Op::Out32(0xCFC, value)];
    [config(0x10, LFB), config(0x04, 3)].concat()
}

fn dispi(index: u16, value: u16) -> Vec<Op> {
    vec![Op::Out16(0x1CE, index), Op::Out16(0x1CF, value)]
}

/// Sets a VBE mode with a linear frame buffer.
pub(super) fn vbe_mode(width: u16, height: u16, bpp: u16) -> Vec<Op> {
    let off = dispi(4, 0);
    [off, dispi(1, width), dispi(2, height), dispi(3, bpp), dispi(4, 0x41), attr(0x10, 0x41)].concat()
}

fn vbe() -> Vec<Scene> {
    let filled = |width: u16, height: u16, bpp: u16| {
        let len = u32::from(width) * u32::from(height) * u32::from(bpp.div_ceil(8));
        // Values that distinguish the colour components of a pixel.
        let colours = vec![
            Op::Fill16(LFB + len / 2, len / 8, 0x34C7),
            Op::Fill32(LFB + len / 8 * 6, len / 16, 0x0040_80C0),
            Op::Store(LFB + len / 8 * 7, [0xF0, 0x80, 0x20].repeat(200)),
        ];
        [vbe_mode(width, height, bpp), cube_colours(), runs(LFB, len, 12), colours].concat()
    };
    let off = || dispi(4, 0);
    vec![
        scene("vbe-8", [filled(320, 200, 8)]),
        scene("vbe-15", [filled(320, 200, 15)]),
        scene("vbe-16", [filled(320, 200, 16)]),
        scene("vbe-24", [filled(320, 200, 24)]),
        scene("vbe-32", [filled(320, 200, 32)]),
        scene("vbe-virtual", [filled(320, 200, 8), dispi(6, 400), dispi(8, 36), dispi(9, 20)]),
        scene("vbe-odd-width", [filled(328, 100, 16), dispi(9, 5)]),
        scene(
            "vbe-banks",
            [filled(640, 400, 8), {
                let bank =
                    |n: u16| [dispi(5, n), one(Op::Fill8(WINDOW + 0x100, 0x3000, u32::from(n) * 37 + 5))].concat();
                [bank(0), bank(1), bank(2), bank(3), one(Op::Sum(WINDOW, 0x1000))].concat()
            }],
        ),
        scene("vbe-not-cleared", [filled(320, 200, 8), dispi(4, 0), dispi(3, 16), dispi(4, 0xC1)]),
        scene(
            "vbe-8-bit-dac",
            [vbe_mode(256, 200, 8), dispi(4, 0x61), {
                let mut ops = vec![Op::Out8(0x3C8, 0)];
                ops.extend((0..=255_u8).flat_map(|n| [n, 255 - n, n ^ 0x55].map(|part| Op::Out8(0x3C9, part))));
                ops.extend(runs(LFB, 256 * 200, 13));
                ops
            }],
        ),
        scene("vbe-off-again", [off(), clear(), Mode::LINEAR_13.set(), cube_colours(), { runs(WINDOW, 64_000, 14) }]),
    ]
}
