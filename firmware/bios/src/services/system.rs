//! System services INT 15h (IBM PS/2 and PC BIOS Interface Technical Reference, INT 15h).

use super::{apm, memory, rtc};
use crate::{Bios, input};
use pcvm_firmware_rt::{Hw, Regs, bda};

/// AH of an unsupported function.
const UNSUPPORTED: u8 = 0x86;
/// Segment and offset of the system configuration table.
const CONFIGURATION: (u16, u16) = (0xf000, 0xe6f5);

/// INT 15h.
pub fn int15<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    match regs.ah() {
        0x24 => a20(bios, regs),
        // Keyboard intercept: CF set accepts the scan code in AL.
        0x4f => regs.set_cf(true),
        0x53 => apm::int15(bios, regs),
        // Device open, device close, program termination; SysReq; device busy, device ready: hooks for operating
        // systems.
        0x80..=0x82 | 0x85 | 0x90 | 0x91 => done(regs),
        0x83 => {
            let set = rtc::event_wait(bios, regs);
            if set { done(regs) } else { unsupported(regs) }
        }
        0x86 => {
            let waited = rtc::wait(bios, regs);
            if waited { regs.set_cf(false) } else { unsupported(regs) }
        }
        0x87 => memory::block_move(bios, regs),
        0x88 => {
            let kib = memory::extended(bios);
            // At most 63 MiB: programs take the value as signed, or add to it.
            regs.set_ax(kib.min(63 << 10) as u16);
            regs.set_cf(false);
        }
        0x89 => memory::protected_mode(bios, regs),
        0xc0 => {
            (regs.es, _) = CONFIGURATION;
            regs.set_bx(CONFIGURATION.1);
            done(regs);
        }
        0xc1 => {
            regs.es = bios.hw.get(bda::EBDA);
            regs.set_cf(false);
        }
        0xc2 => input::int15_pointer(bios, regs),
        0xe8 => memory::int15(bios, regs),
        _ => unsupported(regs),
    }
}

/// Success: AH=0, CF clear.
fn done(regs: &mut Regs) {
    regs.set_ah(0);
    regs.set_cf(false);
}

/// Failure: the function is not supported.
pub fn unsupported(regs: &mut Regs) {
    regs.set_ah(UNSUPPORTED);
    regs.set_cf(true);
}

/// AH=24h: the A20 gate.
fn a20<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    match regs.al() {
        0x00 => bios.hw.set_a20(false),
        0x01 => bios.hw.set_a20(true),
        0x02 => {
            let on = bios.hw.a20();
            regs.set_al(on.into());
        }
        // Supported by the keyboard controller and by port 92h.
        0x03 => regs.set_bx(0x0003),
        _ => return unsupported(regs),
    }
    done(regs);
}
