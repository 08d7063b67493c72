//! VBE/DDC function 4F15h: the monitor's EDID (VESA BIOS Extension / Display Data Channel Standard 1.1).

use super::{DONE, FAILED};
use crate::hw::{Hw, far};
use crate::regs::Regs;
use crate::tables;

/// Bytes per EDID block.
pub const BLOCK: usize = 128;

/// 4F15h.
#[inline(never)]
pub fn call<H: Hw>(hw: &mut H, regs: &mut Regs) -> u16 {
    match regs.bl() {
        // BH=0: a block takes less than a second; BL=2: DDC2.
        0 if regs.cx() == 0 => regs.set_bx(2),
        // Return the only block for any block number in DX: get-edid reads block 1 first and takes a failure for a
        // monitor without EDID.
        1 => {
            let from = hw.tables().at(tables::EDID);
            hw.copy(far(regs.es, regs.di()), from, BLOCK as u16);
        }
        _ => return FAILED,
    }
    DONE
}

/// EDID 1.4 of an emulated monitor (VESA Enhanced EDID Standard, release A): prefers 1024x768 and lists those
/// resolutions of the mode list that an EDID can encode.
pub const fn edid() -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let head: [u8; 54] = [
        0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, // header
        0x40, 0x76, // "PCV"
        0x11, 0x11, 1, 0, 0, 0, // product, serial number
        47, 36, // week 47 of 1990 + 36
        1, 4,    // EDID 1.4
        0xa5, // digital, 8 bits per colour
        26, 20,   // size in centimetres
        120,  // gamma 2.2
        0x06, // RGB, sRGB
        0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54, // sRGB's chromaticity
        0x21, 0x08, 0x00, // 640x480, 800x600, 1024x768, 60 Hz
        // 1280x720, 1280x800, 1280x1024, 1440x900, 1600x900, 1600x1200, 1680x1050, 1920x1080
        0x81, 0xc0, 0x81, 0x00, 0x81, 0x80, 0x95, 0x00, 0xa9, 0xc0, 0xa9, 0x40, 0xb3, 0x00, 0xd1, 0xc0,
    ];
    // Detailed timing, 1024x768 at 60 Hz: 65 MHz, total 1344x806, sync offset 24 and 3, sync width 136 and 6, 260x195
    // mm.
    let timing: [u8; 18] =
        [0x64, 0x19, 0x00, 0x40, 0x41, 0x00, 0x26, 0x30, 0x18, 0x88, 0x36, 0x00, 0x04, 0xc3, 0x10, 0x00, 0x00, 0x18];
    let range: [u8; 18] = [0, 0, 0, 0xfd, 0, 50, 125, 30, 160, 40, 1, 10, 32, 32, 32, 32, 32, 32];
    let name: [u8; 18] = *b"\0\0\0\xfc\0pcvm monitor\n";
    let dummy: [u8; 18] = [0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut i = 0;
    let mut sum = 0u8;
    while i < BLOCK - 1 {
        block[i] = match i {
            0..54 => head[i],
            54..72 => timing[i - 54],
            72..90 => range[i - 72],
            90..108 => name[i - 90],
            108..126 => dummy[i - 108],
            _ => 0,
        };
        sum = sum.wrapping_add(block[i]);
        i += 1;
    }
    block[BLOCK - 1] = 0u8.wrapping_sub(sum);
    block
}
