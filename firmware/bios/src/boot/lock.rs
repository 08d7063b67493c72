//! Shadow RAM made read-only before anything is booted (Intel 82441FX datasheet 290549, section 3.2.18, PAM0-PAM6).
//!
//! Segment F000h and the option ROMs can be read and no longer written; what is left of C0000h-DFFFFh is given back to
//! the bus, so that a memory manager finds nothing there. E0000h-EFFFFh stays RAM: the firmware's data is there.

use pcvm_firmware_rt::{FarPtr, Hw};

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const HOST_BRIDGE: u32 = 0x8000_0000;
/// 82441FX.
const I440FX: u32 = 0x1237_8086;
/// High nibble: F0000h-FFFFFh.
const PAM0: u8 = 0x59;
/// C0000h-C3FFFh in the low nibble, C4000h-C7FFFh in the high one, and so on up to PAM4.
const PAM1: u8 = 0x5a;
const READ_ONLY: u8 = 1;
/// Paragraphs of what a nibble decides about.
const PIECE: u16 = 0x400;

fn select<H: Hw>(hw: &mut H, register: u8) -> u16 {
    hw.outl(CONFIG_ADDRESS, HOST_BRIDGE | u32::from(register & !3));
    CONFIG_DATA + u16::from(register & 3)
}

/// Locks. `occupied` says whether a ROM lies in the 16 KiB from this segment on.
pub fn lock<H: Hw>(hw: &mut H, mut occupied: impl FnMut(&mut H, u16) -> bool) {
    let identity = select(hw, 0);
    if hw.inl(identity) != I440FX {
        return;
    }
    for n in 0..4u8 {
        let piece = 0xc000 + u16::from(n) * 2 * PIECE;
        let low = if occupied(hw, piece) { READ_ONLY } else { 0 };
        let high = if occupied(hw, piece + PIECE) { READ_ONLY } else { 0 };
        let port = select(hw, PAM1 + n);
        hw.outb(port, high << 4 | low);
    }
    let port = select(hw, PAM0);
    let value = hw.inb(port);
    hw.outb(port, value & 0x0f | READ_ONLY << 4);
}

/// Whether a ROM is in the 16 KiB from `piece` on: one of those that begin at `segments`, by the length that it says
/// it has.
pub fn covers<H: Hw>(hw: &mut H, segments: impl Iterator<Item = u16>, piece: u16) -> bool {
    for segment in segments {
        let paragraphs = u16::from(hw.read8(FarPtr::new(segment, 2))) * 32;
        if segment < piece.saturating_add(PIECE) && segment.saturating_add(paragraphs) > piece {
            return true;
        }
    }
    false
}
