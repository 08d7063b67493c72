//! Video mode and VBE fields of the boot information (VBE Core Functions 3.0; Multiboot Specification 0.6.96, sections 3.1.4
//! and 3.3).

use crate::info::Info;
use pcvm_firmware_rt::{FarPtr, Hw, Regs};

/// The video mode that a kernel's Multiboot header requests (flag 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The header has a request.
    pub given: bool,
    /// Text instead of a linear frame buffer.
    pub text: bool,
    /// Pixels or columns; 0 for any.
    pub width: u32,
    /// Pixels or rows; 0 for any.
    pub height: u32,
    /// Bits per pixel; 0 for any.
    pub depth: u32,
}

/// VBE as a Multiboot kernel learns of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vbe {
    /// Address of the VbeInfoBlock.
    pub control: FarPtr,
    /// Address of the ModeInfoBlock of the current mode; zeros in a VGA mode.
    pub mode: FarPtr,
    /// The current mode as 4F03h returns it.
    pub number: u16,
    /// Segment, offset and length of the protected mode interface; zeros without one.
    pub interface: [u16; 3],
}

/// The frame buffer fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameBuffer {
    /// Physical address.
    pub address: u32,
    /// Bytes per line.
    pub pitch: u32,
    /// Pixels or columns.
    pub width: u32,
    /// Pixels or rows.
    pub height: u32,
    /// Bits per pixel or cell.
    pub depth: u8,
    /// 0 indexed, 1 direct color, 2 EGA text.
    pub kind: u8,
    /// Direct color: bit position and width of red, green and blue. Indexed: address of the palette, number of colors.
    pub color: [u8; 6],
}

const INFO_SIZE: u16 = 512;
const MODE_SIZE: u16 = 256;
/// Offset of the far pointer to the list of modes in the VbeInfoBlock.
const MODE_LIST: u16 = 14;
/// Limit of modes in the list.
const MAX_MODES: u16 = 512;
const SUPPORTED: u16 = 0x004f;
/// Mode number bit: linear frame buffer.
const LINEAR: u16 = 1 << 14;
const MODE_NUMBER: u16 = 0x1ff;
const FIRST_VBE_MODE: u16 = 0x100;

/// Offsets in a ModeInfoBlock.
mod field {
    pub const ATTRIBUTES: u16 = 0;
    pub const PITCH: u16 = 16;
    pub const WIDTH: u16 = 18;
    pub const HEIGHT: u16 = 20;
    pub const DEPTH: u16 = 25;
    pub const MODEL: u16 = 27;
    /// Width and position of red, then of green and blue.
    pub const MASKS: u16 = 31;
    pub const ADDRESS: u16 = 40;
}
/// Supported, color, graphics, linear frame buffer.
const USABLE: u16 = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 7;
const PACKED: u8 = 4;
const DIRECT: u8 = 6;

/// Sizes and depths for a kernel that has no preference, best first.
const ANY_SIZE: (u32, u32) = (800, 600);
const DEPTHS: [u8; 4] = [32, 24, 16, 15];

fn vbe<H: Hw>(hw: &mut H, function: u16, bx: u16, cx: u16, at: FarPtr) -> Option<Regs> {
    let mut regs = Regs { es: at.segment, edi: at.offset.into(), ..Regs::with_ax(0x4f00 | function) };
    regs.set_bx(bx);
    regs.set_cx(cx);
    hw.call_interrupt(0x10, &mut regs);
    (regs.ax() == SUPPORTED).then_some(regs)
}

/// Sets the mode that `request` asks for, if there is one, and describes the display. `None` without VBE.
pub fn set_up<H: Hw>(
    hw: &mut H,
    info: &mut Info,
    request: Request,
) -> Result<(Option<Vbe>, Option<FrameBuffer>), &'static str> {
    let control = info.block(hw, INFO_SIZE)?;
    hw.copy_out(b"VBE2", control);
    if vbe(hw, 0x00, 0, 0, control).is_none() {
        return Ok((None, text(hw)));
    }
    let mode = info.block(hw, MODE_SIZE)?;
    if request.given
        && !request.text
        && let Some(number) = choose(hw, control, mode, request)
    {
        vbe(hw, 0x02, number | LINEAR, 0, mode);
    }
    let number = vbe(hw, 0x03, 0, 0, mode).map_or(0, |regs| regs.bx());
    let graphics = number & MODE_NUMBER >= FIRST_VBE_MODE && vbe(hw, 0x01, 0, number & MODE_NUMBER, mode).is_some();
    let buffer = if graphics {
        Some(graphics_buffer(hw, info, mode)?)
    } else {
        hw.fill(mode, 0, MODE_SIZE);
        text(hw)
    };
    let interface = match vbe(hw, 0x0a, 0, 0, mode) {
        Some(regs) => [regs.es, regs.di(), regs.cx()],
        None => [0; 3],
    };
    Ok((Some(Vbe { control, mode, number, interface }), buffer))
}

/// The listed mode that fits `request` best: its size, then its depth or the deepest. `at` is a buffer.
fn choose<H: Hw>(hw: &mut H, control: FarPtr, at: FarPtr, request: Request) -> Option<u16> {
    let mut list = FarPtr::from_u32(hw.read32(control.add(MODE_LIST)));
    let (width, height) = match (request.width, request.height) {
        (0, _) | (_, 0) => ANY_SIZE,
        size => size,
    };
    let mut best = None;
    for _ in 0..MAX_MODES {
        let number = hw.read16(list);
        if number == 0xffff {
            break;
        }
        list = list.add(2);
        if vbe(hw, 0x01, 0, number, at).is_none() || hw.read16(at.add(field::ATTRIBUTES)) & USABLE != USABLE {
            continue;
        }
        let (depth, model) = (hw.read8(at.add(field::DEPTH)), hw.read8(at.add(field::MODEL)));
        let size = (hw.read16(at.add(field::WIDTH)).into(), hw.read16(at.add(field::HEIGHT)).into());
        if size != (width, height) || !matches!(model, PACKED | DIRECT) {
            continue;
        }
        let rank = if u32::from(depth) == request.depth {
            0
        } else {
            1 + DEPTHS.iter().position(|&other| other == depth).unwrap_or(DEPTHS.len())
        };
        if best.is_none_or(|(other, _)| rank < other) {
            best = Some((rank, number));
        }
    }
    best.map(|(_, number)| number)
}

fn graphics_buffer<H: Hw>(hw: &mut H, info: &mut Info, mode: FarPtr) -> Result<FrameBuffer, &'static str> {
    let word = |hw: &mut H, at| u32::from(hw.read16(mode.add(at)));
    let mut buffer = FrameBuffer {
        address: hw.read32(mode.add(field::ADDRESS)),
        pitch: word(hw, field::PITCH),
        width: word(hw, field::WIDTH),
        height: word(hw, field::HEIGHT),
        depth: hw.read8(mode.add(field::DEPTH)),
        ..FrameBuffer::default()
    };
    if hw.read8(mode.add(field::MODEL)) == DIRECT {
        buffer.kind = 1;
        for (n, byte) in buffer.color.iter_mut().enumerate() {
            // VBE has the width before the position, Multiboot the position before the width.
            *byte = hw.read8(mode.add(field::MASKS + (n as u16 ^ 1)));
        }
    } else {
        let palette = palette(hw, info)?;
        let [a, b, ..] = (palette.linear() as u16).to_le_bytes();
        buffer.color = [a, b, 0, 0, 0, 1];
    }
    Ok(buffer)
}

/// The 256 colors of the palette, red, green and blue of 8 bits each.
fn palette<H: Hw>(hw: &mut H, info: &mut Info) -> Result<FarPtr, &'static str> {
    const COLORS: u16 = 256;
    let raw = info.block(hw, 4 * COLORS)?;
    let palette = info.block(hw, 3 * COLORS)?;
    // Function 09h, BL=1: reads blue, green, red and a byte of alignment for each color, of 6 bits.
    vbe(hw, 0x09, 1, COLORS, raw);
    for n in 0..COLORS {
        for part in 0..3 {
            let value = hw.read8(raw.add(4 * n + 2 - part)) & 0x3f;
            hw.write8(palette.add(3 * n + part), value << 2 | value >> 4);
        }
    }
    Ok(palette)
}

/// The text screen, from the BIOS data area; `None` without a video BIOS.
fn text<H: Hw>(hw: &mut H) -> Option<FrameBuffer> {
    const ROM: FarPtr = FarPtr::new(0xc000, 0);
    const COLUMNS: FarPtr = FarPtr::new(0x40, 0x4a);
    const LAST_ROW: FarPtr = FarPtr::new(0x40, 0x84);
    if hw.read16(ROM) != 0xaa55 {
        return None;
    }
    let width = u32::from(hw.read16(COLUMNS));
    let height = u32::from(hw.read8(LAST_ROW)) + 1;
    Some(FrameBuffer { address: 0xb_8000, pitch: 2 * width, width, height, depth: 16, kind: 2, color: [0; 6] })
}
