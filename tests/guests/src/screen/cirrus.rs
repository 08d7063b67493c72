//! Scenes of the Cirrus Logic CL-GD5446: packed-pixel modes, apertures, blitter, hardware cursor.

use super::modes::{cube_colours, register};
use super::scenes::{GRAPHICS, SEQUENCER, Scene, TEXT, WINDOW, clear, crtc, gfx, one, runs, scene, seq, text_mode};
use super::{Font, LFB, Mode, Op};

/// Address that programs assign to BAR 1.
pub(super) const MMIO: u32 = LFB + 0x400_0000;
/// The blitter's registers in BAR 1.
pub(super) const BLIT: u32 = MMIO + 0x100;
/// The BitBLT aperture in BAR 0.
const APERTURE: u32 = LFB + 0x100_0000;

const COPY: u8 = 0x0D;
/// Codes of the raster operations, but for NOR and NAND.
const ROPS: [u8; 14] = [0x00, 0x05, 0x06, 0x09, 0x0B, 0x0D, 0x0E, 0x50, 0x59, 0x6D, 0x95, 0xAD, 0xD0, 0xD6];
const NOR: u8 = 0x90;
const NAND: u8 = 0xDA;

/// Assigns BAR 0 and BAR 1 and enables decoding; the adapter is PCI device 2, function 0.
pub(super) fn bars() -> Vec<Op> {
    let config = |register: u32, value: u32| vec![Op::Out32(0xCF8, 0x8000_1000 | register), Op::Out32(0xCFC, value)];
    [config(0x10, LFB), config(0x14, MMIO), config(0x04, 3)].concat()
}

/// SR7 and hidden DAC register of the depths.
const FORMATS: [(u32, u8, u8); 5] =
    [(8, 0x11, 0x00), (15, 0x17, 0xC0), (16, 0x17, 0xC1), (24, 0x15, 0xC5), (32, 0x19, 0xC5)];

/// Sets a packed-pixel mode without clearing video memory.
pub(super) fn mode(width: u32, height: u32, bpp: u32) -> Vec<Op> {
    let (_, sr7, dac) = FORMATS.into_iter().find(|(bits, ..)| *bits == bpp).expect("a depth of the chip");
    let units = width * bpp.div_ceil(8) / 8;
    let end = height - 1;
    let overflow = 0x10 | (end >> 8 & 1) << 1 | (end >> 9 & 1) << 6 | 0x21;
    let sr = [(6, 0x12), (7, sr7), (2, 0xFF), (0x12, 0), (0x17, 0)];
    let cr = [
        (0x11, 0),
        (1, (width / 8 - 1) as u8),
        (7, overflow as u8),
        (9, 0x40),
        (0x12, end as u8),
        (0x18, 0xFF),
        (0x13, units as u8),
        (0x1A, 0),
        (0x1B, 0x22 | (units >> 4 & 0x10) as u8),
        (0x1D, 0),
        (0x0C, 0),
        (0x0D, 0),
        (0x17, 0xC3),
    ];
    let gr = [(5, 0x40), (6, 5), (9, 0), (0xA, 0), (0xB, 0), (0x31, 4), (0x31, 0)];
    let registers = |port: u16, values: &[(u8, u8)]| -> Vec<Op> {
        values.iter().map(|&(index, value)| register(port, index, value)).collect()
    };
    [
        Mode::LINEAR_13.set(),
        registers(SEQUENCER, &sr),
        registers(0x3D4, &cr),
        registers(GRAPHICS, &gr),
        vec![Op::In8(0x3C6), Op::In8(0x3C6), Op::In8(0x3C6), Op::In8(0x3C6), Op::Out8(0x3C6, dac)],
    ]
    .concat()
}

/// An operation of the blitter.
#[derive(Clone, Copy)]
pub(super) struct Blit {
    pub size: (u16, u16),
    pub dest: u32,
    pub source: u32,
    pub dest_pitch: u16,
    pub source_pitch: u16,
    pub mode: u8,
    pub rop: u8,
    pub extensions: u8,
    pub colours: [u32; 2],
    pub key: u16,
    pub clip: u8,
}

impl Blit {
    /// Width in bytes and height, destination; the screen is 320 bytes wide.
    pub const fn new(size: (u16, u16), dest: u32) -> Self {
        Self {
            size,
            dest,
            source: 0,
            dest_pitch: 320,
            source_pitch: 320,
            mode: 0,
            rop: COPY,
            extensions: 0,
            colours: [0; 2],
            key: 0,
            clip: 0,
        }
    }

    /// Fills with a colour.
    pub const fn fill(self, colour: u32) -> Self {
        Self { mode: 0xC0, extensions: 4, colours: [colour, 0], ..self }
    }

    /// The registers in memory, and the start.
    pub fn ops(self) -> Vec<Op> {
        let [foreground, background] = self.colours;
        let mut bytes = Vec::new();
        bytes.extend(background.to_le_bytes());
        bytes.extend(foreground.to_le_bytes());
        for word in [self.size.0 - 1, self.size.1 - 1, self.dest_pitch, self.source_pitch] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(self.dest.to_le_bytes());
        bytes.extend_from_slice(&self.source.to_le_bytes()[..3]);
        bytes.extend([self.clip, self.mode, 0, self.rop, self.extensions]);
        bytes.extend(self.key.to_le_bytes());
        vec![Op::Store(BLIT, bytes), Op::Store(BLIT + 0x40, vec![2])]
    }
}

/// A screen of 320 by 200 pixels of 8 bits with a picture in it.
fn screen() -> Vec<Op> {
    [mode(320, 200, 8), cube_colours(), one(Op::Fill32(LFB, 320 * 200 / 4, 0x4949_4949)), runs(LFB, 320 * 200, 31)]
        .concat()
}

fn at(x: u32, y: u32) -> u32 {
    y * 320 + x
}

fn blits(all: impl IntoIterator<Item = Blit>) -> Vec<Op> {
    all.into_iter().flat_map(Blit::ops).collect()
}

/// Where sources of operations are in video memory.
const OFF_SCREEN: u32 = 0x2_0000;

fn modes() -> Vec<Scene> {
    let filled = |bpp: u32| {
        let len = 320 * 200 * bpp.div_ceil(8);
        let colours = vec![
            Op::Fill16(LFB + len / 2, len / 8, 0x34C7),
            Op::Fill32(LFB + len / 8 * 6, len / 16, 0x0040_80C0),
            Op::Store(LFB + len / 8 * 7, [0xF0, 0x80, 0x20].repeat(200)),
        ];
        [mode(320, 200, bpp), cube_colours(), runs(LFB, len, 12), colours].concat()
    };
    let start = |address: u32| {
        [
            crtc(0x0C, (address >> 8) as u8),
            crtc(0x0D, address as u8),
            crtc(0x1B, 0x22 | (address >> 16 & 1) as u8 | (address >> 15 & 0xC) as u8),
            crtc(0x1D, (address >> 12 & 0x80) as u8),
        ]
        .concat()
    };
    let reads = |port: u16, indexes: &[u8]| -> Vec<Op> {
        indexes.iter().flat_map(|&index| [Op::Out8(port, index), Op::In8(port + 1)]).collect()
    };
    vec![
        scene(
            "cirrus-8",
            [
                filled(8),
                reads(SEQUENCER, &[6, 7, 0x0F, 0x12, 0x17]),
                reads(0x3D4, &[0x13, 0x1B, 0x27]),
                reads(GRAPHICS, &[9, 0xB, 0x31]),
                vec![Op::Sum(LFB + 1000, 1000)],
            ],
        ),
        scene("cirrus-15", [filled(15)]),
        scene("cirrus-16", [filled(16)]),
        scene("cirrus-24", [filled(24)]),
        scene("cirrus-32", [filled(32)]),
        scene("cirrus-start-and-pitch", [filled(8), runs(LFB + 0x20_0000, 64_000, 3), start(0x8_0100), crtc(0x13, 44)]),
        scene(
            "cirrus-640x480",
            [mode(640, 480, 8), one(Op::Fill32(LFB, 0x1_2C00, 0x0909_0909)), runs(LFB, 0x4_B000, 2)],
        ),
        scene(
            "cirrus-banks",
            [screen(), gfx(9, 4), {
                // One offset of 4 KiB units, then two, then units of 16 KiB.
                [
                    one(Op::Fill8(WINDOW + 0x100, 0x1000, 0x1C)),
                    gfx(0xA, 0xC),
                    gfx(0xB, 1),
                    one(Op::Fill8(WINDOW + 0x8100, 0x800, 0xE0)),
                    gfx(0xB, 0x21),
                    gfx(9, 0),
                    gfx(0xA, 2),
                    one(Op::Fill8(WINDOW + 0x8800, 0x400, 0x03)),
                    one(Op::Fill8(WINDOW + 0x100, 0x400, 0xFF)),
                    vec![Op::Sum(WINDOW, 0x1000), Op::Sum(WINDOW + 0x8000, 0x1000)],
                ]
                .concat()
            }],
        ),
        scene(
            "cirrus-write-modes",
            [screen(), gfx(0xB, 0x06), gfx(1, 0xE3), gfx(0, 0x1C), gfx(5, 0x44), {
                [
                    one(Op::Fill8(WINDOW + 40 * 10, 40 * 30, 0xA5)),
                    gfx(5, 0x45),
                    one(Op::Fill8(WINDOW + 40 * 60, 40 * 30, 0x36)),
                    one(Op::Fill8(LFB + 40 * 110, 40 * 30, 0xF1)),
                    gfx(5, 0x40),
                    gfx(0xB, 0),
                    gfx(0, 0),
                    gfx(1, 0),
                ]
                .concat()
            }],
        ),
        scene(
            "cirrus-write-modes-16",
            [
                mode(320, 200, 16),
                one(Op::Fill32(LFB, 32_000, 0x39E7_39E7)),
                gfx(0xB, 0x14),
                gfx(1, 0x1F),
                gfx(0x11, 0xF8),
                {
                    [
                        gfx(0, 0xE0),
                        gfx(0x10, 0x07),
                        gfx(5, 0x44),
                        one(Op::Fill8(WINDOW + 40 * 10, 40 * 30, 0xA5)),
                        gfx(5, 0x45),
                        one(Op::Fill8(WINDOW + 40 * 60, 40 * 30, 0x36)),
                        gfx(5, 0x40),
                        gfx(0xB, 0),
                        gfx(0, 0),
                        gfx(1, 0),
                    ]
                    .concat()
                },
            ],
        ),
        scene(
            "cirrus-text",
            [seq(7, 0), gfx(9, 0), gfx(0xB, 0), crtc(0x1B, 0), {
                [
                    clear(),
                    one(Op::Store(Font::Height16.ram_address(), Font::Height16.glyphs())),
                    text_mode(Mode::TEXT_80_400, Font::Height16),
                    one(Op::Fill16(TEXT, 2000, 0x1F41)),
                    crtc(0x0A, 0x20),
                ]
                .concat()
            }],
        ),
    ]
}

fn operations() -> Vec<Scene> {
    // One column for each raster operation.
    let columns = |blit: &dyn Fn(u32, u8) -> Blit| blits(ROPS.iter().zip(0..).map(|(&rop, n)| blit(n * 20 + 2, rop)));
    let store = |offset: u32, bytes: Vec<u8>| one(Op::Store(LFB + offset, bytes));
    let glyphs: Vec<u8> = (0..40_u8).map(|n| n.wrapping_mul(73) ^ 0x3C).collect();
    let tile: Vec<u8> = (0..=255).collect();
    let expand = |bpp: u8, dest: u32| Blit {
        source: OFF_SCREEN,
        mode: 0x80 | (bpp - 1) << 4,
        colours: [0xE3_1C_07_E0, 0x03_FC_92_49],
        ..Blit::new((120, 10), dest)
    };
    let key = |x: u32, y: u32| Blit { source: at(x, y), ..Blit::new((100, 30), at(160, 20)) };
    vec![
        scene("cirrus-fill", [screen(), columns(&|x, rop| Blit { rop, ..Blit::new((16, 180), at(x, 10)).fill(0x3C) })]),
        scene(
            "cirrus-nor-nand",
            [screen(), {
                let fill = |x: u32, rop: u8| Blit { rop, ..Blit::new((60, 180), at(x, 10)).fill(0x3C) };
                blits([fill(10, NOR), fill(90, NAND)])
            }],
        ),
        scene(
            "cirrus-copy",
            [screen(), columns(&|x, rop| Blit { rop, source: at(0, 90), ..Blit::new((16, 60), at(x, 10)) }), {
                blits([
                    // Overlapping: up by forwards, down and right by backwards.
                    Blit { source: at(40, 130), ..Blit::new((200, 40), at(30, 120)) },
                    Blit { source: at(239, 159), mode: 1, ..Blit::new((200, 40), at(251, 169)) },
                ])
            }],
        ),
        scene(
            "cirrus-transparent-copy",
            [screen(), one(Op::Fill8(LFB + at(0, 60), 320 * 20, 0x49)), {
                blits([
                    Blit { mode: 8, key: 0x49, ..key(10, 50) },
                    Blit { mode: 0x18, key: 0x4949, dest: at(160, 100), ..key(10, 50) },
                    Blit { mode: 9, key: 0x49, dest: at(150, 190), ..key(120, 90) },
                ])
            }],
        ),
        scene(
            "cirrus-expand",
            [screen(), store(OFF_SCREEN, glyphs.repeat(6)), {
                let opaque = |bpp: u8, y: u32| expand(bpp, at(8, y));
                let transparent =
                    |bpp: u8, y: u32| Blit { mode: opaque(bpp, y).mode | 8, dest: at(152, y), ..opaque(bpp, y) };
                let inverted = |bpp: u8, y: u32| Blit { extensions: 2, dest: at(152, y + 12), ..transparent(bpp, y) };
                blits((1..=4).zip((5..).step_by(40)).flat_map(|(bpp, y)| {
                    [
                        opaque(bpp, y),
                        Blit { rop: 0x59, dest: at(8, y + 12), ..opaque(bpp, y) },
                        transparent(bpp, y),
                        inverted(bpp, y),
                        Blit { clip: 3, dest: at(152, y + 24), ..transparent(bpp, y) },
                    ]
                }))
            }],
        ),
        scene(
            "cirrus-pattern",
            [
                screen(),
                store(OFF_SCREEN, tile),
                store(OFF_SCREEN + 0x100, vec![0x81, 0x42, 0x24, 0x18, 0xF0, 0x0F, 0xCC, 0x33]),
                {
                    let colour = |bpp: u8, y: u32| Blit {
                        source: OFF_SCREEN,
                        mode: 0x40 | (bpp - 1) << 4,
                        ..Blit::new((120, 20), at(8, y))
                    };
                    let mono = |bpp: u8, y: u32| Blit {
                        source: OFF_SCREEN + 0x100,
                        mode: 0xC0 | (bpp - 1) << 4,
                        dest: at(140, y),
                        ..expand(bpp, 0)
                    };
                    blits((1..=4).zip((5..).step_by(45)).flat_map(|(bpp, y)| {
                        [
                            colour(bpp, y),
                            Blit { rop: 0x6D, dest: at(8, y + 22), ..colour(bpp, y) },
                            mono(bpp, y),
                            Blit { mode: mono(bpp, y).mode | 8, dest: at(140, y + 12), ..mono(bpp, y) },
                            Blit {
                                mode: mono(bpp, y).mode | 8,
                                extensions: 2,
                                clip: 3,
                                dest: at(140, y + 24),
                                ..mono(bpp, y)
                            },
                        ]
                    }))
                },
            ],
        ),
        scene(
            "cirrus-pattern-line",
            [
                screen(),
                store(OFF_SCREEN, (0..64).collect()),
                store(OFF_SCREEN + 0x100, vec![0x81, 0x42, 0x24, 0x18, 0xF0, 0x0F, 0xCC, 0x33]),
                {
                    let colours = [0xE0, 0x49];
                    blits([
                        Blit { source: OFF_SCREEN + 5, mode: 0x40, ..Blit::new((120, 40), at(8, 10)) },
                        Blit { source: OFF_SCREEN + 0x103, mode: 0xC0, colours, ..Blit::new((120, 40), at(8, 70)) },
                    ])
                },
            ],
        ),
        scene(
            "cirrus-system-source",
            [screen(), {
                let feed = |blit: Blit, to: u32, bytes: u32, seed: u32| {
                    [blit.ops(), vec![Op::Out8(GRAPHICS, 0x31), Op::In8(GRAPHICS + 1), Op::Pattern(to, bytes, seed)]]
                        .concat()
                };
                let image = |y: u32| Blit { mode: 4, ..Blit::new((61, 20), at(10, y)) };
                let text = |y: u32| Blit { mode: 0x84, size: (80, 20), dest: at(100, y), ..expand(1, 0) };
                [
                    feed(image(10), LFB, 64 * 20, 1),
                    feed(image(40), APERTURE, 64 * 20, 2),
                    feed(image(70), WINDOW, 64 * 20, 3),
                    feed(Blit { rop: 0x59, ..image(100) }, APERTURE, 64 * 20, 4),
                    feed(text(10), APERTURE, 10 * 20, 5),
                    feed(Blit { mode: 0x8C, ..text(40) }, APERTURE, 10 * 20, 6),
                    feed(Blit { mode: 0x8C, extensions: 2, ..text(70) }, LFB, 10 * 20, 7),
                    feed(Blit { mode: 0xC4, size: (100, 20), ..text(100) }, APERTURE, 8, 8),
                    feed(Blit { mode: 0x44, size: (100, 20), ..text(130) }, APERTURE, 64, 9),
                    vec![Op::Out8(GRAPHICS, 0x31), Op::In8(GRAPHICS + 1)],
                ]
                .concat()
            }],
        ),
        scene(
            "cirrus-start-by-ports",
            [
                screen(),
                gfx(1, 0xE0),
                gfx(0x20, 99),
                gfx(0x21, 0),
                gfx(0x22, 49),
                gfx(0x23, 0),
                gfx(0x24, 0x40),
                gfx(0x25, 1),
                {
                    [
                        gfx(0x28, 0x50),
                        gfx(0x29, 0x10),
                        gfx(0x2A, 0),
                        gfx(0x30, 0xC0),
                        gfx(0x32, COPY),
                        gfx(0x33, 4),
                        gfx(0x31, 2),
                        // Autostart.
                        gfx(0x31, 0x80),
                        gfx(1, 0x1C),
                        gfx(0x29, 0x80),
                        gfx(0x2A, 0),
                        gfx(0x31, 0),
                        // The registers at B8000h.
                        seq(0x17, 4),
                        one(Op::Store(0xB_8004, vec![0x03])),
                        one(Op::Store(0xB_8010, vec![0x80, 0x40, 0])),
                        one(Op::Store(0xB_8040, vec![2])),
                        // And at the end of the frame buffer.
                        seq(0x17, 0x44),
                        one(Op::Store(LFB + 0x3F_FF04, vec![0xFF])),
                        one(Op::Store(LFB + 0x3F_FF10, vec![0, 0xC0, 0])),
                        one(Op::Store(LFB + 0x3F_FF40, vec![2])),
                        seq(0x17, 0),
                        gfx(1, 0),
                    ]
                    .concat()
                },
            ],
        ),
        scene("cirrus-cursor-64", [screen(), cursor(true, 37, 53)]),
        scene("cirrus-cursor-32", [screen(), cursor(false, 301, 181)]),
    ]
}

/// Shows a cursor with bars of each combination of its planes.
fn cursor(large: bool, x: u16, y: u16) -> Vec<Op> {
    let pattern = 0x3F_C000 + 4 * 256;
    let bytes: Vec<u8> = if large {
        (0..64_u8)
            .flat_map(|y| [[y, 0xF0, 0x0F, 0xFF, 0, 0xAA, y, 1], [0x33, 0xFF, y, 0xF0, 0xFF, 0x0F, 0, 0x80]].concat())
            .collect()
    } else {
        (0..64_u8).flat_map(|y| [y, 0xF0, 0x0F, 0x35]).collect()
    };
    let colour = |index: u8, rgb: [u8; 3]| {
        [vec![Op::Out8(0x3C8, index)], rgb.map(|part| Op::Out8(0x3C9, part)).to_vec()].concat()
    };
    let place = |index: u8, at: u16| seq(index | (at << 5) as u8, (at >> 3) as u8);
    [
        one(Op::Store(LFB + pattern, bytes)),
        seq(0x12, 2),
        colour(0, [0x3F, 0x20, 0]),
        colour(15, [0, 0x3F, 0x30]),
        place(0x10, x),
        place(0x11, y),
        seq(0x13, 4),
        seq(0x12, if large { 5 } else { 1 }),
    ]
    .concat()
}

/// The scenes of the modes, and of blitter and cursor.
pub(super) fn scenes() -> [Vec<Scene>; 2] {
    [modes(), operations()]
}
