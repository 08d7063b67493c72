//! 16-bit system BIOS: INT services, and POST from the end of the 32-bit power-on code to the boot sector.
//!
//! Each service is a function of a [`Bios`], which is generic over the hardware, and of the caller's registers.

#![cfg_attr(rom, no_std)]
#![forbid(unsafe_code)]

pub mod boot;
pub mod disk;
pub mod eltorito;
pub mod input;
mod log;
pub mod services;
#[cfg(test)]
mod testbed;
mod vectors;

use pcvm_firmware_rt::{FarPtr, Flags, Handoff, Hw, Regs};

/// What a BIOS service works on.
pub struct Bios<'a, H> {
    /// Ports, memory and CPU.
    pub hw: &'a mut H,
    /// State outside the documented data areas.
    pub state: &'a State,
    /// Results of the 32-bit power-on code.
    pub handoff: &'a Handoff,
}

/// BIOS state outside the documented data areas. It consists of `Cell`s because interrupts nest.
#[derive(Debug, Default)]
pub struct State {
    /// Drives.
    pub disk: disk::State,
    /// El Torito boot and emulation.
    pub eltorito: eltorito::State,
    /// Boot order, boot console and option ROMs.
    pub boot: boot::State,
    /// Keyboard and mouse.
    pub input: input::State,
    /// All other services.
    pub services: services::State,
}

impl State {
    /// The state at power-on.
    pub const fn new() -> Self {
        Self {
            disk: disk::State::new(),
            eltorito: eltorito::State::new(),
            boot: boot::State::new(),
            input: input::State::new(),
            services: services::State::new(),
        }
    }
}

/// Runs POST after the 32-bit power-on code, and boots. `entries` are the offsets of the interrupt entries, in the
/// order of [`pcvm_firmware_rt::STUBS`]; `iret` is the offset of an IRET instruction.
pub fn main<H: Hw>(bios: &mut Bios<H>, entries: &[u16], iret: u16) {
    vectors::install(bios.hw, entries, iret);
    services::init(bios);
    boot::init_video(bios);
    input::init(bios);
    disk::init(bios);
    boot::init_roms(bios);
    boot::run(bios);
}

/// Serves an interrupt.
pub fn interrupt<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let flags_at = FarPtr::new(regs.ss, regs.sp().wrapping_add(4));
    regs.flags = bios.hw.read16(flags_at);
    let before = regs.flags;
    let enabled = returns_with_interrupts_enabled(regs.vector, regs.ah());
    dispatch(bios, regs);
    if enabled {
        regs.set_flag(Flags::IF, true);
    }
    if regs.flags != before {
        bios.hw.write16(flags_at, regs.flags);
    }
}

/// Whether a service returns with interrupts enabled, whatever the caller's IF: in the AT's BIOS such a service begins
/// with STI and ends with RET 2, which drops the caller's flags, because it returns a result in CF or ZF (IBM AT Technical
/// Reference, BIOS listing). The others end with IRET.
fn returns_with_interrupts_enabled(vector: u16, ah: u8) -> bool {
    match vector {
        0x13 | 0x40 => true,
        0x15 => matches!(ah, 0x80..=0x86 | 0x90 | 0x91 | 0xc0),
        0x16 => matches!(ah, 0x01 | 0x11 | 0x21),
        0x1a => matches!(ah, 0x02..=0x07),
        _ => false,
    }
}

fn dispatch<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let vector = regs.vector;
    match vector {
        0x09 => input::int09(bios, regs),
        0x0e => disk::int0e(bios, regs),
        0x13 => disk::int13(bios, regs),
        0x16 => input::int16(bios, regs),
        0x18 => boot::int18(bios, regs),
        0x19 => boot::int19(bios, regs),
        0x40 => disk::int40(bios, regs),
        0x74 => input::int74(bios, regs),
        0x76 => disk::int76(bios, regs),
        _ if services::interrupt(bios, regs) => {}
        // Unexpected hardware interrupts: EOI and a note in the BIOS data area, as in IBM's BIOS.
        0x0a..=0x0f => vectors::unexpected(bios.hw, vector as u8 - 8),
        0x70..=0x77 => vectors::unexpected(bios.hw, vector as u8 - 0x70 + 8),
        _ => regs.set_flag(Flags::CF, true),
    }
}
