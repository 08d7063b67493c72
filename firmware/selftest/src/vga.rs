//! Tests of the VGA and the VGA BIOS (IBM VGA Technical Reference; VESA BIOS Extension 3.0).

use crate::{Outcome, SCRATCH, Test};
use pcvm_firmware_rt::{FarPtr, Regs, bda};
use pcvm_guest::{Machine, regs};

const TEXT: u16 = 0xb800;
const GRAPHICS: u16 = 0xa000;
/// Bytes of 80 by 25 characters.
const SCREEN: u16 = 4000;
const SAVED: u16 = 0x8000;
const DAC_READ: u16 = 0x3c7;
const DAC_WRITE: u16 = 0x3c8;
const DAC_DATA: u16 = 0x3c9;

fn set_mode<M: Machine>(t: &mut Test<'_, M>, mode: u32) {
    let mut regs = regs! { eax: mode };
    t.bios(0x10, &mut regs);
}

/// Runs `inner`, and restores mode 3, the text screen and the cursor afterwards.
fn with_screen_saved<M: Machine>(t: &mut Test<'_, M>, inner: fn(&mut Test<'_, M>) -> Outcome) -> Outcome {
    let mut cursor = regs! { eax: 0x0300 };
    t.bios(0x10, &mut cursor);
    t.m.copy(FarPtr::new(TEXT, 0), FarPtr::new(SCRATCH, SAVED), SCREEN);
    let outcome = inner(t);
    set_mode(t, 3);
    t.m.copy(FarPtr::new(SCRATCH, SAVED), FarPtr::new(TEXT, 0), SCREEN);
    let mut regs = regs! { eax: 0x0200, edx: cursor.edx };
    t.bios(0x10, &mut regs);
    outcome
}

/// Text memory holds characters, and the BIOS's teletype, read and scroll functions work on it.
pub fn text<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    with_screen_saved(t, |t| {
        check_equal!(t, "the BIOS's mode:", u32::from(t.m.get(bda::VIDEO_MODE)), 3)?;
        for n in 0..SCREEN / 2 {
            t.m.write16(FarPtr::new(TEXT, n * 2), 0x0700 | (n & 0xff) ^ (n >> 8));
        }
        let held = (0..SCREEN / 2).all(|n| t.m.read16(FarPtr::new(TEXT, n * 2)) == 0x0700 | (n & 0xff) ^ (n >> 8));
        check!(t, held, "text memory does not hold what is written")?;
        // Teletype output at row 10, column 20, then read the character.
        let mut regs = regs! { eax: 0x0200, edx: 0x0a14 };
        t.bios(0x10, &mut regs);
        let mut regs = regs! { eax: 0x0e00 | u32::from(b'p'), ebx: 7 };
        t.bios(0x10, &mut regs);
        let character = t.m.read8(FarPtr::new(TEXT, (10 * 80 + 20) * 2));
        check_equal!(t, "teletype writes", character.into(), b'p'.into())?;
        let mut regs = regs! { eax: 0x0300 };
        t.bios(0x10, &mut regs);
        check_equal!(t, "the cursor is at", regs.dx().into(), 0x0a15)?;
        let mut regs = regs! { eax: 0x0200, edx: 0x0a14 };
        t.bios(0x10, &mut regs);
        let mut regs = regs! { eax: 0x0800 };
        t.bios(0x10, &mut regs);
        check_equal!(t, "INT 10h 08h reads", regs.ax().into(), 0x0700 | u32::from(b'p'))?;
        // Scroll up by one line: row 11 moves to row 10.
        let mut regs = regs! { eax: 0x0601, ebx: 0x0700, ecx: 0, edx: 0x184f };
        t.bios(0x10, &mut regs);
        let moved = t.m.read16(FarPtr::new(TEXT, 10 * 160));
        let n = 11 * 80_u16;
        check_equal!(t, "scrolled, row 10 begins with", moved.into(), u32::from(0x0700 | (n & 0xff) ^ (n >> 8)))?;
        t.note.put("2000 cells held; teletype, cursor, scroll");
        Ok(())
    })
}

/// Mode 13h holds pixels and the DAC holds colours; the BIOS reads and writes both.
pub fn pixels<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    with_screen_saved(t, |t| {
        set_mode(t, 0x13);
        check_equal!(t, "the BIOS's mode:", u32::from(t.m.get(bda::VIDEO_MODE)), 0x13)?;
        let cleared = (0..64_000_u32).step_by(257).all(|at| t.m.read8(FarPtr::new(GRAPHICS, at as u16)) == 0);
        check!(t, cleared, "setting mode 13h does not clear its memory")?;
        for at in (0..64_000_u32).step_by(331) {
            t.m.write8(FarPtr::new(GRAPHICS, at as u16), (at / 7) as u8);
        }
        let held = (0..64_000_u32).step_by(331).all(|at| t.m.read8(FarPtr::new(GRAPHICS, at as u16)) == (at / 7) as u8);
        check!(t, held, "pixels do not hold what is written")?;
        let mut regs = regs! { eax: 0x0c5a, ebx: 0, ecx: 319, edx: 199 };
        t.bios(0x10, &mut regs);
        let pixel = t.m.read8(FarPtr::new(GRAPHICS, 63_999));
        check_equal!(t, "INT 10h 0Ch writes", pixel.into(), 0x5a)?;
        let mut regs = regs! { eax: 0x0d00, ebx: 0, ecx: 319, edx: 199 };
        t.bios(0x10, &mut regs);
        check_equal!(t, "INT 10h 0Dh reads", regs.al().into(), 0x5a)?;
        // Write DAC entry 200 by ports, read it by ports and by the BIOS.
        t.m.outb(DAC_WRITE, 200);
        for value in [0x15, 0x2a, 0x3f] {
            t.m.outb(DAC_DATA, value);
        }
        t.m.outb(DAC_READ, 200);
        let colour = [0; 3].map(|_: u8| t.m.inb(DAC_DATA));
        check!(t, colour == [0x15, 0x2a, 0x3f], "the DAC does not hold a colour")?;
        let mut regs = regs! { eax: 0x1015, ebx: 200 };
        t.bios(0x10, &mut regs);
        check!(t, regs.dh() == 0x15 && regs.cx() == 0x2a3f, "INT 10h 1015h reads another colour")?;
        t.note.put("320 x 200 pixels held; DAC by port and BIOS");
        Ok(())
    })
}

/// VBE lists its modes, sets one with a linear frame buffer, and reports it as the current mode.
pub fn vbe<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    const INFO: u16 = 0x0000;
    const MODE_INFO: u16 = 0x0400;
    let call = |t: &mut Test<'_, M>, regs: &mut Regs| {
        t.bios(0x10, regs);
        regs.ax() == 0x004f
    };
    let at = |offset: u16| FarPtr::new(SCRATCH, offset);
    t.m.write32(at(INFO), u32::from_le_bytes(*b"VBE2"));
    let mut regs = regs! { eax: 0x4f00, es: SCRATCH, edi: INFO.into() };
    let there = call(t, &mut regs);
    if !there && !t.expect.pcvm {
        return Err(crate::NotPassed::Absent);
    }
    check!(t, there && t.m.read32(at(INFO)) == u32::from_le_bytes(*b"VESA"), "INT 10h 4F00h fails")?;
    let (version, memory) = (t.m.read16(at(INFO + 4)), t.m.read16(at(INFO + 18)));
    check!(t, version >= 0x0200, "VBE is older than 2.0")?;
    let list = FarPtr::from_u32(t.m.read32(at(INFO + 14)));
    let (mut modes, mut wanted) = (0_u16, 0xffff_u16);
    for n in 0..256_u16 {
        let mode = t.m.read16(list.add(n * 2));
        if mode == 0xffff {
            break;
        }
        modes += 1;
        let mut regs = regs! { eax: 0x4f01, ecx: mode.into(), es: SCRATCH, edi: MODE_INFO.into() };
        let ok = call(t, &mut regs);
        check!(t, ok, "INT 10h 4F01h fails for a mode that is listed")?;
        let word = |t: &mut Test<'_, M>, offset| t.m.read16(at(MODE_INFO + offset));
        let (attributes, width, height, bits) = (word(t, 0), word(t, 18), word(t, 20), t.m.read8(at(MODE_INFO + 25)));
        // Supported, with a linear frame buffer.
        if attributes & 0x81 == 0x81 && (width, height) == (800, 600) && bits == 32 {
            wanted = mode;
        }
    }
    check!(t, modes > 0, "the list of modes is empty")?;
    check!(t, wanted != 0xffff, "no mode has 800 x 600 x 32")?;
    let mut regs = regs! { eax: 0x4f01, ecx: wanted.into(), es: SCRATCH, edi: MODE_INFO.into() };
    call(t, &mut regs);
    let frame_buffer = t.m.read32(at(MODE_INFO + 40));
    t.store_mode(wanted);
    let outcome = with_screen_saved(t, |t| {
        let mode = t.m.read16(FarPtr::new(SCRATCH, MODE_WORD));
        let mut regs = regs! { eax: 0x4f02, ebx: u32::from(mode) | 0x4000 };
        t.bios(0x10, &mut regs);
        check!(t, regs.ax() == 0x004f, "INT 10h 4F02h fails")?;
        let mut regs = regs! { eax: 0x4f03 };
        t.bios(0x10, &mut regs);
        check_equal!(t, "INT 10h 4F03h gives", u32::from(regs.bx() & 0x1ff), u32::from(mode & 0x1ff))?;
        // One line of pixels in the linear frame buffer.
        let frame_buffer = t.m.read32(FarPtr::new(SCRATCH, MODE_INFO + 40));
        let line = |n: u16| u32::from(n).wrapping_mul(0x0001_0203) ^ 0x00ff_0000;
        for n in 0..200_u16 {
            t.m.write32(FarPtr::new(SCRATCH, 0x1000 + n * 4), line(n));
        }
        t.m.block_move(crate::SCRATCH_LINEAR + 0x1000, frame_buffer, 400);
        t.m.fill(FarPtr::new(SCRATCH, 0x1000), 0, 800);
        t.m.block_move(frame_buffer, crate::SCRATCH_LINEAR + 0x1000, 400);
        let held = (0..200_u16).all(|n| t.m.read32(FarPtr::new(SCRATCH, 0x1000 + n * 4)) == line(n));
        check!(t, held, "the frame buffer does not hold what is written")
    });
    outcome?;
    t.note.decimal(u32::from(version >> 8)).byte(b'.').decimal(u32::from(version & 0xff)).put(", ");
    t.note.decimal(u32::from(memory) / 16).put(" MiB, ").decimal(modes.into()).put(" modes; ");
    t.note.hex(wanted.into(), 3).put("h at ").hex(frame_buffer, 8);
    Ok(())
}

/// Offset in scratch memory of the mode to set.
const MODE_WORD: u16 = 0x0600;

impl<M: Machine> Test<'_, M> {
    fn store_mode(&mut self, mode: u16) {
        self.m.write16(FarPtr::new(SCRATCH, MODE_WORD), mode);
    }
}
