//! Cirrus Logic CL-GD5446: the registers of the Bochs display interface, which the rest of this BIOS sets VBE modes by,
//! on the chip's own registers (CL-GD5446 Technical Reference Manual); and the functions of Cirrus' BIOS (Ralf Brown's
//! Interrupt List, INT 10h AH=12h BL=80h and up).
//!
//! SR9, SRA and SR14, scratch registers for the BIOS, hold XRES and YRES in units of 8, BPP and the flags of ENABLE.

use crate::dispi;
use crate::hw::Hw;
use crate::regs::Regs;
use crate::vbe::modes::{self, Mode};
use crate::vga::{self, GRAPHICS, SEQUENCER};

/// 64 KiB units of video memory: 4 MiB.
const MEMORY_64K: u16 = 64;
/// Bytes per scan line: the offset register has nine bits, in units of eight bytes.
pub const LINE_MAX: u32 = 0x1ff * 8;

/// SR6: the key of the extension registers.
const KEY: u8 = 0x12;
const SR_XRES: u8 = 0x09;
const SR_YRES: u8 = 0x0a;
const SR_BPP: u8 = 0x14;
/// In SR14, beside BPP.
const FLAG_LINEAR: u8 = 0x40;
const FLAG_NO_CLEAR: u8 = 0x80;
/// SR7: packed pixels, linear addressing.
const SR7_PACKED: u8 = 0x11;
/// GRB: offsets in units of 16 KiB.
const GRB_16K: u8 = 0x20;
/// CR1B: extended address wrap and blanking.
const CR1B: u8 = 0x22;

/// Bytes of a row of the blitter's fill.
const FILL_ROW: u32 = 4096;

/// Timing of a resolution: width and height; horizontal total and sync in characters of eight dots; vertical total and
/// sync in scan lines, halved at 1024 lines; dot clock as VCLK3's numerator and denominator; sync polarities (VESA
/// Display Monitor Timing: 640x400 at 70 Hz, the others at 60 Hz).
struct Timing {
    size: (u16, u16),
    horizontal: [u8; 3],
    vertical: [u16; 3],
    clock: [u8; 2],
    misc: u8,
}

/// The number of resolutions.
pub const COUNT: usize = 5;
/// Bytes of a timing in the ROM.
pub const TIMING: usize = 19;

const TIMINGS: [Timing; COUNT] = [
    Timing { size: (640, 400), horizontal: [100, 82, 94], vertical: [449, 412, 414], clock: [0x4a, 0x2b], misc: 0x6f },
    Timing { size: (640, 480), horizontal: [100, 82, 94], vertical: [525, 490, 492], clock: [0x4a, 0x2b], misc: 0xef },
    Timing {
        size: (800, 600),
        horizontal: [132, 105, 121],
        vertical: [628, 601, 605],
        clock: [0x51, 0x3a],
        misc: 0x2f,
    },
    Timing {
        size: (1024, 768),
        horizontal: [168, 131, 148],
        vertical: [806, 771, 777],
        clock: [0x3b, 0x1a],
        misc: 0xef,
    },
    Timing {
        size: (1280, 1024),
        horizontal: [211, 166, 180],
        vertical: [533, 512, 514],
        clock: [0x53, 0x16],
        misc: 0x2f,
    },
];

/// Bit `from` of a number, at bit `to`.
const fn bit(value: u16, from: u16, to: u8) -> u8 {
    ((value >> from & 1) as u8) << to
}

/// The CRT controller's registers of a timing, in the order of the ROM.
pub const CRTC: [u8; 14] = [0, 1, 2, 3, 4, 5, 6, 7, 0x10, 0x11, 0x12, 0x15, 0x16, 0x17];

/// The timings as they are in the ROM: width and height in units of 8, the registers of [`CRTC`], MISC, and VCLK3's
/// numerator and denominator.
pub const fn timings() -> [u8; COUNT * TIMING] {
    let mut all = [0; COUNT * TIMING];
    let mut i = 0;
    while i < COUNT {
        let t = &TIMINGS[i];
        let half = t.size.1 >= 1024;
        let lines = if half { t.size.1 / 2 } else { t.size.1 };
        let width = (t.size.0 / 8) as u8;
        let total = t.vertical[0] - 2;
        let (sync, end) = (t.vertical[1], lines - 1);
        let overflow = bit(total, 8, 0)
            | bit(end, 8, 1)
            | bit(sync, 8, 2)
            | bit(lines, 8, 3)
            | 0x10
            | bit(total, 9, 5)
            | bit(end, 9, 6)
            | bit(sync, 9, 7);
        let blank_end = t.horizontal[0] - 1;
        let row = [
            width,
            (t.size.1 / 8) as u8,
            t.horizontal[0] - 5,
            width - 1,
            width,
            0x80 | blank_end & 0x1f,
            t.horizontal[1],
            (blank_end & 0x20) << 2 | t.horizontal[2] & 0x1f,
            total as u8,
            overflow,
            sync as u8,
            0x20 | (t.vertical[2] & 0xf) as u8,
            end as u8,
            lines as u8,
            total as u8,
            if half { 0xc7 } else { 0xc3 },
            t.misc,
            t.clock[0],
            t.clock[1],
        ];
        let mut n = 0;
        while n < TIMING {
            all[i * TIMING + n] = row[n];
            n += 1;
        }
        i += 1;
    }
    all
}

/// Modes of Cirrus' BIOS (AH=00h) and their VBE numbers.
pub const MODES: [(u8, u16); 14] = [
    (0x5c, 0x103),
    (0x5e, 0x100),
    (0x5f, 0x101),
    (0x60, 0x105),
    (0x64, 0x111),
    (0x65, 0x114),
    (0x66, 0x110),
    (0x67, 0x113),
    (0x68, 0x116),
    (0x6d, 0x107),
    (0x71, 0x112),
    (0x74, 0x117),
    (0x75, 0x11a),
    (0x78, 0x115),
];
/// Bytes of [`MODES`] in the ROM.
pub const MODES_LEN: usize = MODES.len() * 2;

/// The modes as they are in the ROM: the number, and the low byte of VBE's.
pub const fn mode_list() -> [u8; MODES_LEN] {
    let mut all = [0; MODES_LEN];
    let mut i = 0;
    while i < MODES.len() {
        all[2 * i] = MODES[i].0;
        all[2 * i + 1] = MODES[i].1 as u8;
        i += 1;
    }
    all
}

/// The VBE number of a mode of Cirrus' BIOS.
pub fn vbe_number<H: Hw>(hw: &H, mode: u8) -> Option<u16> {
    let mut at = crate::tables::CIRRUS_MODES;
    for _ in 0..MODES.len() {
        if hw.table8(at) == mode {
            return Some(0x100 | u16::from(hw.table8(at + 1)));
        }
        at += 2;
    }
    None
}

/// The offset in the tables of a resolution's timing.
fn timing<H: Hw>(hw: &H, width: u16, height: u16) -> Option<u16> {
    let mut at = crate::tables::CIRRUS_TIMINGS;
    for _ in 0..COUNT {
        if u16::from(hw.table8(at)) << 3 == width && u16::from(hw.table8(at + 1)) << 3 == height {
            return Some(at + 2);
        }
        at += TIMING as u16;
    }
    None
}

/// Whether the chip has a mode.
pub fn supports<H: Hw>(hw: &H, mode: &Mode) -> bool {
    let line = u32::from(modes::line_bytes(mode.width, mode.bpp));
    mode.bpp != 4 && line <= LINE_MAX && mode.banks() <= MEMORY_64K && timing(hw, mode.width, mode.height).is_some()
}

fn write_sr<H: Hw>(hw: &mut H, index: u8, value: u8) {
    vga::write(hw, SEQUENCER, index, value);
}

fn read_sr<H: Hw>(hw: &mut H, index: u8) -> u8 {
    vga::read(hw, SEQUENCER, index)
}

fn write_gr<H: Hw>(hw: &mut H, index: u8, value: u8) {
    vga::write(hw, GRAPHICS, index, value);
}

fn crtc<H: Hw>(hw: &mut H, index: u8, value: u8) {
    vga::write(hw, vga::CRTC_COLOUR, index, value);
}

fn read_crtc<H: Hw>(hw: &mut H, index: u8) -> u16 {
    vga::read(hw, vga::CRTC_COLOUR, index).into()
}

/// The hidden DAC register answers after four reads of the pixel mask.
fn hidden_dac<H: Hw>(hw: &mut H, value: u8) {
    for _ in 0..4 {
        hw.inb(vga::DAC_MASK);
    }
    hw.outb(vga::DAC_MASK, value);
}

/// Unlocks the extensions and programs the clocks that the VGA's modes select.
#[inline(never)]
pub fn init<H: Hw>(hw: &mut H) {
    for (index, value) in [(6, KEY), (0x0b, 0x4a), (0x0c, 0x5b), (0x0d, 0x42), (0x1b, 0x2b), (0x1c, 0x2f), (0x1d, 0x1f)]
    {
        write_sr(hw, index, value);
    }
}

/// Returns the chip to the VGA's modes.
fn disable<H: Hw>(hw: &mut H) {
    // End an operation of the blitter.
    write_gr(hw, 0x31, 4);
    write_gr(hw, 0x31, 0);
    write_sr(hw, 7, 0);
    // No cursor, no registers in memory.
    write_sr(hw, 0x12, 0);
    write_sr(hw, 0x17, 0);
    hidden_dac(hw, 0);
    for index in 9..=0x0b {
        write_gr(hw, index, 0);
    }
    let at = vga::crtc(hw);
    for index in 0x1a..=0x1d {
        vga::write(hw, at, index, 0);
    }
}

/// Clears video memory from its start by the blitter, in rows of 4 KiB.
fn clear<H: Hw>(hw: &mut H, bytes: u32) {
    let rows = bytes.div_ceil(FILL_ROW) as u16 - 1;
    for (index, value) in [
        (0x20, (FILL_ROW - 1) as u8),
        (0x21, ((FILL_ROW - 1) >> 8) as u8),
        (0x22, rows as u8),
        (0x23, (rows >> 8) as u8),
        (0x24, 0),
        (0x25, (FILL_ROW >> 8) as u8),
        (0x28, 0),
        (0x29, 0),
        (0x2a, 0),
        (0x30, 0),
        // The raster operation 0: zeros.
        (0x32, 0),
        (0x33, 0),
        (0x31, 2),
    ] {
        write_gr(hw, index, value);
    }
}

/// Clears the planes of the VGA's modes.
pub fn clear_planes<H: Hw>(hw: &mut H) {
    clear(hw, 0x4_0000);
}

/// Enables the mode in XRES, YRES and BPP; the registers of mode 13h are loaded.
fn enable<H: Hw>(hw: &mut H, flags: u16) {
    let (width, height, bpp) = (read(hw, dispi::XRES), read(hw, dispi::YRES), read(hw, dispi::BPP) as u8);
    let Some(mut at) = timing(hw, width, height) else { return };
    write_sr(hw, 6, KEY);
    // CR0 to CR7 are writable now: mode 13h protects them.
    crtc(hw, 0x11, 0);
    for n in 0..CRTC.len() as u16 {
        let index = hw.table8(crate::tables::CIRRUS_CRTC + n);
        let value = hw.table8(at);
        crtc(hw, index, value);
        at += 1;
    }
    let (misc, numerator, denominator) = (hw.table8(at), hw.table8(at + 1), hw.table8(at + 2));
    hw.outb(vga::MISC, misc);
    write_sr(hw, 0x0e, numerator);
    write_sr(hw, 0x1e, denominator);
    // One scan line per row, no doubling.
    crtc(hw, 9, 0x40);
    crtc(hw, 0x1a, 0);
    crtc(hw, 0x1d, 0);
    set_line(hw, u32::from(modes::line_bytes(width, bpp)));
    let (format, dac) = match bpp {
        15 => (6, 0xc0),
        16 => (6, 0xc1),
        24 => (4, 0xc5),
        32 => (8, 0xc5),
        _ => (0, 0),
    };
    write_sr(hw, 7, SR7_PACKED | format);
    hidden_dac(hw, dac);
    write_sr(hw, 2, 0xff);
    write_gr(hw, 0x0b, GRB_16K);
    write_gr(hw, 9, 0);
    write_start(hw, 0);
    let shift = |flag: u16, to: u8| if flags & flag != 0 { to } else { 0 };
    let flags = shift(dispi::LFB_ENABLED, FLAG_LINEAR) | shift(dispi::NOCLEARMEM, FLAG_NO_CLEAR);
    write_sr(hw, SR_BPP, bpp | flags);
    if flags & FLAG_NO_CLEAR == 0 {
        clear(hw, u32::from(modes::line_bytes(width, bpp)) * u32::from(height));
    }
}

/// Bytes per scan line.
fn line<H: Hw>(hw: &mut H) -> u32 {
    u32::from(read_crtc(hw, 0x13) | (read_crtc(hw, 0x1b) & 0x10) << 4) << 3
}

fn set_line<H: Hw>(hw: &mut H, bytes: u32) {
    let units = (bytes >> 3) as u16;
    crtc(hw, 0x13, units as u8);
    let high = read_crtc(hw, 0x1b) as u8 & 0x0d;
    crtc(hw, 0x1b, CR1B | high | (units >> 4 & 0x10) as u8);
}

/// The start address in bytes.
fn start<H: Hw>(hw: &mut H) -> u32 {
    let low = u32::from(read_crtc(hw, 0x0c)) << 8 | u32::from(read_crtc(hw, 0x0d));
    let (display, overlay) = (u32::from(read_crtc(hw, 0x1b)), u32::from(read_crtc(hw, 0x1d)));
    (low | (display & 1) << 16 | (display & 0x0c) << 15 | (overlay & 0x80) << 12) << 2
}

fn write_start<H: Hw>(hw: &mut H, bytes: u32) {
    let address = bytes >> 2;
    crtc(hw, 0x0c, (address >> 8) as u8);
    crtc(hw, 0x0d, address as u8);
    let display = read_crtc(hw, 0x1b) as u8 & 0xf2;
    crtc(hw, 0x1b, display | (address >> 16 & 1) as u8 | (address >> 15 & 0x0c) as u8);
    crtc(hw, 0x1d, (address >> 12 & 0x80) as u8);
}

/// Bytes per pixel of the mode, at least 1.
fn pixel<H: Hw>(hw: &mut H) -> u32 {
    u32::from(modes::pixel_bytes(read(hw, dispi::BPP) as u8)).max(1)
}

/// First displayed pixel and scan line.
fn origin<H: Hw>(hw: &mut H) -> (u32, u32) {
    let (start, line, pixel) = (start(hw), line(hw), pixel(hw));
    let y = start.checked_div(line).unwrap_or(0);
    let rest = start.wrapping_sub(y.wrapping_mul(line));
    (rest.checked_div(pixel).unwrap_or(0), y)
}

fn set_origin<H: Hw>(hw: &mut H, x: u32, y: u32) {
    let bytes = y.wrapping_mul(line(hw)).wrapping_add(x.wrapping_mul(pixel(hw)));
    write_start(hw, bytes);
}

/// Reads a register of the display interface.
#[inline(never)]
pub fn read<H: Hw>(hw: &mut H, register: u16) -> u16 {
    match register {
        dispi::ID => dispi::ID_BASE,
        dispi::XRES => u16::from(read_sr(hw, SR_XRES)) << 3,
        dispi::YRES => u16::from(read_sr(hw, SR_YRES)) << 3,
        dispi::BPP => u16::from(read_sr(hw, SR_BPP) & 0x3f),
        dispi::ENABLE => {
            if read_sr(hw, 7) & 1 == 0 {
                return 0;
            }
            let flags = read_sr(hw, SR_BPP);
            dispi::ENABLED
                | if flags & FLAG_LINEAR != 0 { dispi::LFB_ENABLED } else { 0 }
                | if flags & FLAG_NO_CLEAR != 0 { dispi::NOCLEARMEM } else { 0 }
        }
        dispi::BANK => u16::from(vga::read(hw, GRAPHICS, 9) >> 2),
        dispi::VIRT_WIDTH => {
            let (line, pixel) = (line(hw), pixel(hw));
            line.checked_div(pixel).unwrap_or(0) as u16
        }
        dispi::VIRT_HEIGHT => {
            let line = line(hw);
            (u32::from(MEMORY_64K) << 16).checked_div(line).unwrap_or(0) as u16
        }
        dispi::X_OFFSET => origin(hw).0 as u16,
        dispi::Y_OFFSET => origin(hw).1 as u16,
        dispi::VIDEO_MEMORY_64K => MEMORY_64K,
        _ => 0,
    }
}

/// Writes a register of the display interface.
#[inline(never)]
pub fn write<H: Hw>(hw: &mut H, register: u16, value: u16) {
    match register {
        dispi::XRES => write_sr(hw, SR_XRES, (value >> 3) as u8),
        dispi::YRES => write_sr(hw, SR_YRES, (value >> 3) as u8),
        dispi::BPP => write_sr(hw, SR_BPP, value as u8),
        dispi::ENABLE if value & dispi::ENABLED != 0 => enable(hw, value),
        dispi::ENABLE => disable(hw),
        dispi::BANK => write_gr(hw, 9, (value << 2) as u8),
        dispi::VIRT_WIDTH => {
            let bytes = u32::from(value).wrapping_mul(pixel(hw));
            set_line(hw, bytes);
        }
        dispi::X_OFFSET => {
            let (_, y) = origin(hw);
            set_origin(hw, value.into(), y);
        }
        dispi::Y_OFFSET => {
            let (x, _) = origin(hw);
            set_origin(hw, x, value.into());
        }
        _ => {}
    }
}

/// AH=12h with BL=80h and up. Returns whether the function exists.
#[inline(never)]
pub fn extended<H: Hw>(hw: &mut H, regs: &mut Regs) -> bool {
    match regs.bl() {
        // Controller type: 39h is the CL-GD5446.
        0x80 => {
            regs.set_ax(0x0039);
            regs.set_bx(0);
        }
        // BIOS version.
        0x81 => regs.set_ax(0x0100),
        // Revision of the chip.
        0x82 => regs.set_ax(0xaf00 | read_crtc(hw, 0x27) & 3),
        // Video memory in units of 64 KiB.
        0x85 => regs.set_al(MEMORY_64K as u8),
        // User options: as the configuration utility of the board leaves them.
        0x9a => {
            regs.set_ax(0x4060);
            regs.set_cx(0x1132);
        }
        // Availability of a mode: AH=1, and no parameters to point at.
        0xa0 => {
            let mode = regs.al() & 0x7f;
            let known =
                vbe_number(hw, mode).is_some() || crate::modes::index(mode, crate::modes::Lines::L400).is_some();
            regs.set_ah(known.into());
            regs.set_bx(0);
        }
        // Monitor: colour.
        0xa1 => regs.set_bx(0x0e00),
        // Horizontal frequency: 31.5 to 64 kHz.
        0xa2 => regs.set_al(7),
        // High refresh rates.
        0xae => regs.set_al(1),
        _ => return false,
    }
    true
}
