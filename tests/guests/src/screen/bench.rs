//! Programs of `benches/screen`: each repeats one loop; the builder patches the number of iterations into the image.

use super::cirrus::{BLIT, bars as cirrus_bars, mode};
use super::modes::{cube_colours, ega_colours, register};
use super::scenes::{GRAPHICS, SEQUENCER, TEXT, WINDOW, bars, text_mode, unchained, vbe_mode};
use super::{Font, LFB, Mode, Op};
use crate::{Error, cache::cached, file_error};
use std::fs;
use std::path::PathBuf;

/// Names and programs of the benchmarks.
pub fn programs() -> Vec<(&'static str, Vec<Op>)> {
    let graphics = |index, value| vec![register(GRAPHICS, index, value)];
    let planar = || [Mode::PLANAR_12.set(), ega_colours()].concat();
    let text = || [fonts(), text_mode(Mode::TEXT_80_400, Font::Height16)].concat();
    vec![
        // Fills a screen of 2000 cells.
        ("text", repeat(text(), vec![Op::Fill16(TEXT, 2000, 0x0741)])),
        // Scrolls 24 rows up and clears one.
        ("scroll", repeat(text(), vec![Op::Move32(TEXT, 960, TEXT + 160), Op::Fill32(TEXT + 3840, 40, 0x0720_0720)])),
        // Fills 38,400 bytes by set/reset.
        (
            "set-reset",
            repeat([planar(), graphics(1, 0xF)].concat(), {
                [graphics(0, 5), vec![Op::Fill32(WINDOW, 9_600, 0)]].concat()
            }),
        ),
        // Read-modify-write of 4,000 bytes with a bit mask of half the pixels.
        (
            "latches",
            repeat([planar(), graphics(1, 0xF)].concat(), {
                [graphics(0, 9), graphics(8, 0x55), vec![Op::Modify(WINDOW, 4000, 0)]].concat()
            }),
        ),
        // Copies 4,000 bytes of four planes through the latches by one `rep movsb`.
        (
            "copy",
            repeat([planar(), vec![Op::Pattern(WINDOW, 4000, 1)], graphics(5, 1)].concat(), {
                vec![Op::Copy(WINDOW + 8000, 4000, WINDOW)]
            }),
        ),
        // Reads and writes single bytes 80 apart, a bit mask for each, as for lines that are nearly vertical.
        (
            "pixels",
            repeat([planar(), graphics(1, 0xF), graphics(0, 9)].concat(), {
                (0..64)
                    .flat_map(|n| [graphics(8, 0x80 >> (n % 8)), vec![Op::Modify(WINDOW + 80 * n, 1, 0)]].concat())
                    .collect()
            }),
        ),
        // Writes 16,000 bytes to two planes.
        (
            "mode-x",
            repeat(
                [unchained(), vec![register(SEQUENCER, 2, 5)]].concat(),
                vec![Op::Fill32(WINDOW, 4000, 0x0901_0203)],
            ),
        ),
        (
            "mode-13",
            repeat([Mode::LINEAR_13.set(), cube_colours()].concat(), vec![Op::Fill32(WINDOW, 16_000, 0x0102_0304)]),
        ),
        (
            "lfb",
            repeat([bars(), Mode::LINEAR_13.set(), vbe_mode(800, 600, 32)].concat(), {
                vec![Op::Fill32(LFB, 800 * 600, 0x0010_2030)]
            }),
        ),
        ("cirrus-text", repeat([cirrus_bars(), text()].concat(), vec![Op::Fill16(TEXT, 2000, 0x0741)])),
        ("cirrus-lfb", repeat(cirrus_screen(), vec![Op::Fill32(LFB, 1024 * 768 / 4, 0x1020_3040)])),
        // Rectangles of 100x100 pixels, and copies of such by 300 pixels.
        ("cirrus-fill", repeat(cirrus_screen(), accelerated((0xC0, 4), 1024 * 100 + 100, 0))),
        ("cirrus-copy", repeat(cirrus_screen(), accelerated((0, 0), 1024 * 300 + 400, 1024 * 100 + 100))),
        // For VNC clients: a line of text per frame, and a moving image of 160x120.
        ("console", repeat(text(), console())),
        ("window", repeat([bars(), Mode::LINEAR_13.set(), vbe_mode(800, 600, 32)].concat(), window())),
        ("idle", repeat(text(), frame())),
    ]
}

/// A packed-pixel mode of a CL-GD5446: 1024x768 with 8 bits.
fn cirrus_screen() -> Vec<Op> {
    [cirrus_bars(), mode(1024, 768, 8)].concat()
}

/// An operation of the blitter as drivers write it: waits for the last one, then the registers as dwords, then the start.
/// `kind` is the mode and its extensions.
fn accelerated((mode, extensions): (u32, u32), dest: u32, source: u32) -> Vec<Op> {
    const WAIT: u32 = 0x3_0000;
    let registers = [
        (0x04, 0x0000_0033),
        (0x08, 99 << 16 | 99),
        (0x0C, 1024 << 16 | 1024),
        (0x10, dest),
        (0x14, source),
        (0x18, extensions << 24 | 0x0D << 16 | mode),
    ];
    let writes = registers.map(|(offset, value)| Op::Fill32(BLIT + offset, 1, value));
    [vec![Op::Move32(WAIT, 1, BLIT + 0x40)], writes.to_vec(), vec![Op::Fill8(BLIT + 0x40, 1, 2)]].concat()
}

/// Instructions per frame.
const FRAME: u32 = 12_000_000;

/// Ends a frame: sends a mark on COM1 and spins until the next frame.
fn frame() -> Vec<Op> {
    vec![Op::Out8(0x3F8, b'.'), Op::Spin(FRAME)]
}

fn repeat(before: Vec<Op>, each: Vec<Op>) -> Vec<Op> {
    [before, vec![Op::Loop(0)], each, vec![Op::End]].concat()
}

fn fonts() -> Vec<Op> {
    vec![Op::Store(Font::Height16.ram_address(), Font::Height16.glyphs())]
}

/// 32 lines of different lengths and letters, each preceded by a scroll.
fn console() -> Vec<Op> {
    let line = |n: usize| {
        let words = (0..3 + n % 9).map(|word| format!("{:x}", (n + 1) * (word + 7) * 0x9E37));
        let line = words.collect::<Vec<_>>().join(" ");
        [
            vec![Op::Move32(TEXT, 960, TEXT + 160), Op::Fill32(TEXT + 3840, 40, 0x0720_0720)],
            vec![Op::Store(TEXT + 3840, line.bytes().flat_map(|c| [c, 7]).collect())],
            frame(),
        ]
        .concat()
    };
    (0..32).flat_map(line).collect()
}

/// An image of 160x120 that moves back and forth in steps of 16 pixels and erases its trail.
fn window() -> Vec<Op> {
    const PITCH: u32 = 800 * 4;
    let picture = 0x4_0000;
    let mut ops = vec![Op::Pattern(picture, 160 * 4, 3)];
    for step in (0..16).chain((0..16).rev()) {
        let left = LFB + 200 * PITCH + step * 16 * 4;
        for line in 0..120 {
            ops.push(Op::Fill32(left + line * PITCH - 64, 16, 0x0020_4060));
            ops.push(Op::Move32(left + line * PITCH, 160, picture));
            ops.push(Op::Fill32(left + line * PITCH + 640, 16, 0x0020_4060));
        }
        ops.extend(frame());
    }
    ops
}

/// Builds all images in one directory: `NAME.bin` for each program, and `modeset.img`. Returns the directory.
pub fn images() -> Result<PathBuf, Error> {
    let images: Vec<_> = programs().iter().map(|(name, program)| (*name, super::assemble(program))).collect();
    let parts: Vec<_> = images.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    cached("screen-bench", &[&parts.concat(), &crate::flat::modeset()], |dir| {
        for (name, bytes) in &images {
            let path = dir.join(format!("{name}.bin"));
            fs::write(&path, bytes).map_err(file_error(&path))?;
        }
        let path = dir.join("modeset.img");
        fs::write(&path, crate::flat::modeset()).map_err(file_error(&path))
    })
}
