//! Option ROMs: initialisation and boot entries (Plug and Play BIOS Specification 1.0A, section 3; BIOS Boot
//! Specification 1.01, section 3; PCI Firmware Specification 3.0, section 5.2.1.21).
//!
//! Deliberately missing: disconnect vectors and static resource vectors (ROMs are never removed), DDIM's shrinking of
//! ROMs (a ROM stays where the power-on code put it). Disks of a connection vector get the numbers after the BIOS's
//! own.

use crate::Bios;
use core::cell::Cell;
use pcvm_firmware_rt::{FarPtr, Hw, OptionRom, Regs, bda, pnp};

/// Maximum number of option ROM boot entries.
pub const ENTRIES: usize = 8;
/// Maximum number of expansion headers that are followed in one ROM.
const HEADERS: usize = 8;
/// Segment of the video BIOS.
const VIDEO: u16 = 0xc000;

/// How an option ROM entry boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootMethod {
    /// Bootstrap entry vector: a far procedure that boots, or returns on failure.
    Bootstrap(FarPtr),
    /// The ROM's connection vector has added a hard disk with this number.
    Disk(u8),
    /// A ROM without Plug and Play support that has hooked INT 19h.
    Hooked19(FarPtr),
}

/// A boot entry of an option ROM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// PCI function that the ROM came from, or FFFFh.
    pub function: u16,
    /// Zero-terminated product name; segment 0 if the ROM has none.
    pub name: FarPtr,
    /// How it boots.
    pub method: BootMethod,
}

/// State of the option ROMs.
#[derive(Debug)]
pub struct State {
    entries: [Cell<Option<Entry>>; ENTRIES],
    /// Connection vectors, which are called after all ROMs have been initialised.
    connections: [Cell<Option<Entry>>; ENTRIES],
}

impl State {
    /// The state at power-on.
    pub const fn new() -> Self {
        Self { entries: [const { Cell::new(None) }; ENTRIES], connections: [const { Cell::new(None) }; ENTRIES] }
    }

    /// Entry `n`.
    pub fn entry(&self, n: u8) -> Option<Entry> {
        self.entries.get(usize::from(n)).and_then(Cell::get)
    }
}

fn add(list: &[Cell<Option<Entry>>], entry: Entry) {
    if let Some(free) = list.iter().find(|slot| slot.get().is_none()) {
        free.set(Some(entry));
    }
}

/// The ROMs in the handoff: the video BIOS if `video`, else all others.
fn each(handoff: &pcvm_firmware_rt::Handoff, video: bool) -> impl Iterator<Item = OptionRom> {
    let count = usize::from(handoff.rom_count);
    handoff.roms.iter().take(count).copied().filter(move |rom| (rom.segment == VIDEO) == video)
}

/// Initialises the video adapter's ROM.
pub fn init_video<H: Hw>(bios: &mut Bios<H>) {
    for rom in each(bios.handoff, true) {
        call_init(bios, rom);
    }
}

/// Initialises all other ROMs, then calls the connection vectors.
pub fn init_others<H: Hw>(bios: &mut Bios<H>) {
    for rom in each(bios.handoff, false) {
        let before = bios.hw.read32(FarPtr::vector(0x19));
        if !call_init(bios, rom) {
            continue;
        }
        if !read_headers(bios, rom) {
            let after = bios.hw.read32(FarPtr::vector(0x19));
            if after != before {
                bios.hw.write32(FarPtr::vector(0x19), before);
                let method = BootMethod::Hooked19(FarPtr::from_u32(after));
                add(&bios.state.boot.roms.entries, Entry { function: rom.function, name: FarPtr::default(), method });
            }
        }
    }
    let state = bios.state;
    for entry in state.boot.roms.connections.iter().filter_map(Cell::take) {
        let BootMethod::Bootstrap(connect) = entry.method else { continue };
        let disks = bios.hw.get(bda::DISK_COUNT);
        let mut regs = rom_registers(entry.function);
        bios.hw.call_far(connect, &mut regs);
        if bios.hw.get(bda::DISK_COUNT) > disks && disks < 0x7f {
            add(&state.boot.roms.entries, Entry { method: BootMethod::Disk(0x80 + disks), ..entry });
        }
    }
}

/// Registers for a call of an option ROM: AX is bus, device and function; BX (card select number) and DX (read data
/// port) are FFFFh, since this is not an ISA Plug and Play card; ES:DI is the installation structure.
fn rom_registers(function: u16) -> Regs {
    let mut regs = Regs { es: pnp::AT.segment, edi: u32::from(pnp::AT.offset), ..Regs::default() };
    regs.set_ax(function);
    regs.set_bx(0xffff);
    regs.set_dx(0xffff);
    regs
}

/// Calls the ROM's initialisation at offset 3. Returns whether the ROM is still present.
fn call_init<H: Hw>(bios: &mut Bios<H>, rom: OptionRom) -> bool {
    const SIGNATURE: u16 = 0xaa55;
    let at = FarPtr::new(rom.segment, 0);
    if bios.hw.read16(at) != SIGNATURE {
        return false;
    }
    let mut regs = rom_registers(rom.function);
    bios.hw.call_far(at.add(3), &mut regs);
    // A ROM without a device may have erased its own header.
    bios.hw.read16(at) == SIGNATURE && bios.hw.read8(at.add(2)) != 0
}

/// Reads the chain of Plug and Play expansion headers. Returns whether there is at least one.
fn read_headers<H: Hw>(bios: &mut Bios<H>, rom: OptionRom) -> bool {
    const FIRST: u16 = 0x1a;
    const SIGNATURE: u32 = u32::from_le_bytes(*b"$PnP");
    let word = |bios: &mut Bios<H>, at: u16| bios.hw.read16(FarPtr::new(rom.segment, at));
    let mut at = word(bios, FIRST);
    let mut found = false;
    for _ in 0..HEADERS {
        if at == 0
            || at > 0xffe0
            || bios.hw.read32(FarPtr::new(rom.segment, at)) != SIGNATURE
            || !checksum_ok(bios, rom, at)
        {
            break;
        }
        found = true;
        let name = word(bios, at + 0x10);
        let entry = |offset| Entry {
            function: rom.function,
            name: if name == 0 { FarPtr::default() } else { FarPtr::new(rom.segment, name) },
            method: BootMethod::Bootstrap(FarPtr::new(rom.segment, offset)),
        };
        let (connection, bootstrap) = (word(bios, at + 0x16), word(bios, at + 0x1a));
        if connection != 0 {
            add(&bios.state.boot.roms.connections, entry(connection));
        } else if bootstrap != 0 {
            add(&bios.state.boot.roms.entries, entry(bootstrap));
        }
        at = word(bios, at + 6);
    }
    found
}

/// Whether the header's checksum is right: its bytes, 16 times the length field, add up to zero.
fn checksum_ok<H: Hw>(bios: &mut Bios<H>, rom: OptionRom, at: u16) -> bool {
    let length = u16::from(bios.hw.read8(FarPtr::new(rom.segment, at + 5))) * 16;
    let byte = |n| bios.hw.read8(FarPtr::new(rom.segment, at.wrapping_add(n)));
    length != 0 && (0..length).map(byte).fold(0, u8::wrapping_add) == 0
}
