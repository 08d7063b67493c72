//! The BIOS: the services that software asks for by interrupts, and the way from power-on to a boot sector.
//!
//! Every service is a function of a [`Bios`], generic over the machine, and of the caller's registers.

#![cfg_attr(rom, no_std)]
#![forbid(unsafe_code)]

pub mod boot;
pub mod disk;
pub mod eltorito;
pub mod input;
mod log;
pub mod services;
mod vectors;

use pcvm_firmware_rt::{FarPtr, Flags, Handoff, Hw, Regs};

/// What a service works on.
pub struct Bios<'a, H> {
    /// The machine.
    pub hw: &'a mut H,
    /// What the BIOS remembers beyond the documented data areas.
    pub state: &'a State,
    /// What the power-on code found.
    pub handoff: &'a Handoff,
}

/// What the BIOS remembers beyond the documented data areas: `Cell`s, since interrupts nest.
#[derive(Debug, Default)]
pub struct State {
    /// Of the drives.
    pub disk: disk::State,
    /// Of the CD that was booted.
    pub eltorito: eltorito::State,
    /// Of the way to the boot sector.
    pub boot: boot::State,
    /// Of keyboard and mouse.
    pub input: input::State,
    /// Of everything else.
    pub services: services::State,
}

impl State {
    /// At power-on.
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

/// From the end of the 32-bit power-on code to the boot sector. `entries` are the offsets of the entries of
/// [`pcvm_firmware_rt::STUBS`], `iret` that of an IRET.
pub fn main<H: Hw>(bios: &mut Bios<H>, entries: &[u16], iret: u16) {
    vectors::install(bios.hw, entries, iret);
    services::init(bios);
    boot::init_video(bios);
    input::init(bios);
    disk::init(bios);
    boot::init_roms(bios);
    boot::run(bios);
}

/// An interrupt has come: serves it.
pub fn interrupt<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let flags_at = FarPtr::new(regs.ss, regs.sp().wrapping_add(4));
    regs.flags = bios.hw.read16(flags_at);
    let before = regs.flags;
    dispatch(bios, regs);
    if regs.flags != before {
        bios.hw.write16(flags_at, regs.flags);
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
        // Hardware interrupts that nobody asked for: as IBM's BIOS does, ended and noted.
        0x0a..=0x0f => vectors::unexpected(bios.hw, vector as u8 - 8),
        0x70..=0x77 => vectors::unexpected(bios.hw, vector as u8 - 0x70 + 8),
        _ => regs.set_flag(Flags::CF, true),
    }
}
