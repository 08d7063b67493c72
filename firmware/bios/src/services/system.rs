//! INT 15h: the system services (IBM PS/2 and PC BIOS Interface Technical Reference, INT 15h).

use super::{apm, memory, rtc};
use crate::{Bios, input};
use pcvm_firmware_rt::{Hw, Regs, ebda};

/// AH of a function that is not there.
const UNSUPPORTED: u8 = 0x86;
/// Where the configuration table is.
const CONFIGURATION: (u16, u16) = (0xf000, 0xe6f5);

/// INT 15h.
pub fn int15<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    match regs.ah() {
        0x24 => a20(bios, regs),
        // What was asked for with the scan code in AL: to take it as it is.
        0x4f => regs.set_cf(true),
        0x53 => apm::int15(bios, regs),
        // Device open, close, program end; SysReq; wait and its end in a device: for operating systems to hook.
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
            // No more than 63 MiB: programs take it for a signed number, or add to it.
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
            regs.es = ebda::SEGMENT;
            regs.set_cf(false);
        }
        0xc2 => input::int15_pointer(bios, regs),
        0xe8 => memory::int15(bios, regs),
        _ => unsupported(regs),
    }
}

/// Success, AH=0.
fn done(regs: &mut Regs) {
    regs.set_ah(0);
    regs.set_cf(false);
}

/// There is no such function.
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
        // By the keyboard controller and by port 92h.
        0x03 => regs.set_bx(0x0003),
        _ => return unsupported(regs),
    }
    done(regs);
}
