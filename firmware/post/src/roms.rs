//! Option ROMs: finds them, copies them to RAM below 1 MiB and lists them (PCI 2.1, 6.3; Plug and Play BIOS
//! Specification 1.0A, 3). The BIOS initialises them.

use crate::Machine;
use crate::fw_cfg::{File, FwCfg};
use crate::pci::Pci;
use crate::pci::config::{reg, write32};
use crate::shadow::{BOOT_CODE, PIECE, START, Shadow};
use crate::tables::sum;
use pcvm_firmware_rt::{Handoff, OptionRom};

/// Where option ROMs may lie: the second place is what the BIOS leaves of its segments.
const PLACES: [(u32, u32); 2] = [(0xc_0000, 0xe_0000), (0xe_8000, BOOT_CODE)];
/// ROMs start on these boundaries.
const STEP: u32 = 2048;
const SIGNATURE: u16 = 0xaa55;
/// Offset of the pointer to a PCI data structure.
const PCIR_POINTER: u32 = 0x18;
const PCIR: u32 = u32::from_le_bytes(*b"PCIR");
/// Code type of ROMs for PC-AT compatibles.
const CODE_PC: u8 = 0;
const UNIT: u32 = 512;
/// Images that a PCI ROM may have.
const MAX_IMAGES: usize = 16;
/// The function of ROMs that belong to none.
const NO_FUNCTION: u16 = 0xffff;

/// Finds, copies and lists.
pub struct Roms<'a> {
    shadow: &'a mut Shadow,
    handoff: &'a mut Handoff,
    /// First address that is free.
    next: u32,
    /// Bit n: piece n of 16 KiB from C0000h on has a card's own ROM.
    foreign: u16,
}

impl<'a> Roms<'a> {
    /// Nothing found yet.
    pub fn new(shadow: &'a mut Shadow, handoff: &'a mut Handoff) -> Self {
        Self { shadow, handoff, next: START, foreign: 0 }
    }

    /// All of them, the VGA BIOS first. Returns the first address after them.
    pub fn install<M: Machine>(&mut self, machine: &mut M, fw_cfg: Option<&FwCfg>, pci: &Pci) -> u32 {
        self.install_vga(machine, fw_cfg, pci);
        self.list_present(machine);
        let vga = pci.vga().map(|vga| vga.place);
        for (n, function) in pci.functions().iter().enumerate() {
            if Some(function.place) != vga && !function.bridge {
                self.copy_from_function(machine, pci, n);
            }
        }
        if let Some(fw_cfg) = fw_cfg {
            fw_cfg.files_under(machine, b"genroms/", |machine, file| {
                self.copy_from_file(machine, fw_cfg, file);
            });
        }
        self.clear_rest(machine);
        self.next
    }

    fn install_vga<M: Machine>(&mut self, machine: &mut M, fw_cfg: Option<&FwCfg>, pci: &Pci) {
        let vga = pci.vga().and_then(|vga| pci.functions().iter().position(|f| f.place == vga.place));
        if vga.is_some_and(|vga| self.copy_from_function(machine, pci, vga)) {
            return;
        }
        if let Some(fw_cfg) = fw_cfg {
            let mut done = false;
            fw_cfg.files_under(machine, b"vgaroms/", |machine, file| {
                done = done || self.copy_from_file(machine, fw_cfg, file);
            });
        }
    }

    /// ROMs of ISA cards, which stay where they are.
    fn list_present<M: Machine>(&mut self, machine: &mut M) {
        let mut at = PLACES[0].0;
        while at < PLACES[0].1 {
            if self.shadow.is_ram(at) || machine.read16(at) != SIGNATURE {
                at += STEP;
                continue;
            }
            let size = u32::from(machine.read8(at + 2)) * UNIT;
            if size == 0 || at + size > PLACES[0].1 || sum(machine, at, size) != 0 {
                at += STEP;
                continue;
            }
            self.list(at, NO_FUNCTION);
            for piece in (at - START) / PIECE..=(at + size - 1 - START) / PIECE {
                self.foreign |= 1 << piece;
            }
            at += size.next_multiple_of(STEP);
        }
    }

    fn list(&mut self, at: u32, function: u16) {
        let count = usize::from(self.handoff.rom_count);
        if let Some(rom) = self.handoff.roms.get_mut(count) {
            *rom = OptionRom { segment: (at >> 4) as u16, function };
            self.handoff.rom_count += 1;
        }
    }

    /// A free place for `bytes` bytes.
    fn room(&self, bytes: u32) -> Option<u32> {
        if usize::from(self.handoff.rom_count) >= Handoff::ROMS_MAX {
            return None;
        }
        for (start, end) in PLACES {
            let mut at = self.next.max(start).next_multiple_of(STEP);
            while at + bytes <= end {
                let taken = (at..at + bytes).step_by(PIECE as usize).chain([at + bytes - 1]);
                match taken.into_iter().find(|&at| self.foreign >> ((at - START) / PIECE) & 1 != 0) {
                    Some(foreign) => at = (foreign & !(PIECE - 1)) + PIECE,
                    None => return Some(at),
                }
            }
        }
        None
    }

    /// Copies the image for PCs from a PCI function's expansion ROM.
    fn copy_from_function<M: Machine>(&mut self, machine: &mut M, pci: &Pci, function: usize) -> bool {
        let Some(place) = pci.functions().get(function).map(|function| function.place) else { return false };
        let Some((base, size)) = pci.rom(function) else { return false };
        write32(machine, place, reg::ROM, base | 1);
        let id = pci.functions().get(function).map_or(0, |function| function.id);
        let is_vga = self.next == START;
        let found = image(machine, base, size, id).and_then(|(image, bytes)| {
            let to = self.room(bytes)?;
            self.shadow.make_ram(machine, to, bytes);
            machine.copy(image, to, bytes);
            Some((to, bytes))
        });
        write32(machine, place, reg::ROM, base);
        let Some((to, bytes)) = found else { return false };
        // A VGA BIOS that is wrong is better than none: there is no other way to say so.
        if !is_vga && sum(machine, to, bytes) != 0 {
            machine.write16(to, 0);
            return false;
        }
        self.list(to, place);
        self.next = to + bytes;
        true
    }

    /// Copies an image from fw_cfg.
    fn copy_from_file<M: Machine>(&mut self, machine: &mut M, fw_cfg: &FwCfg, file: File) -> bool {
        if file.size == 0 || file.size > PLACES[0].1 - PLACES[0].0 {
            return false;
        }
        let Some(to) = self.room(file.size) else { return false };
        self.shadow.make_ram(machine, to, file.size);
        if !fw_cfg.read_key(machine, file.key, to, file.size) {
            return false;
        }
        let bytes = u32::from(machine.read8(to + 2)) * UNIT;
        let good = machine.read16(to) == SIGNATURE && (1..=file.size).contains(&bytes) && sum(machine, to, bytes) == 0;
        if !good {
            machine.write16(to, 0);
            return false;
        }
        self.list(to, NO_FUNCTION);
        self.next = to + bytes;
        true
    }

    /// Takes the signatures off whatever lies in RAM after the last ROM: what ran before a reset left it there.
    fn clear_rest<M: Machine>(&self, machine: &mut M) {
        for (start, end) in PLACES {
            for at in (self.next.max(start).next_multiple_of(STEP)..end).step_by(STEP as usize) {
                if self.shadow.is_ram(at) {
                    machine.write16(at, 0);
                }
            }
        }
    }
}

/// Finds the image for PCs of this vendor and device: its address and the bytes that it wants copied.
fn image<M: Machine>(machine: &mut M, base: u32, size: u32, id: u32) -> Option<(u32, u32)> {
    let mut offset = 0;
    for _ in 0..MAX_IMAGES {
        if offset + UNIT > size || machine.read16(base + offset) != SIGNATURE {
            return None;
        }
        let bytes = u32::from(machine.read8(base + offset + 2)) * UNIT;
        let pcir = u32::from(machine.read16(base + offset + PCIR_POINTER));
        if offset + pcir + 0x18 > size || machine.read32(base + offset + pcir) != PCIR {
            return None;
        }
        let pcir = base + offset + pcir;
        if machine.read8(pcir + 0x14) == CODE_PC && machine.read32(pcir + 4) == id {
            return (bytes != 0 && offset + bytes <= size).then_some((base + offset, bytes));
        }
        let last = machine.read8(pcir + 0x15) & 0x80 != 0;
        let length = u32::from(machine.read16(pcir + 0x10)) * UNIT;
        if last || length == 0 {
            return None;
        }
        offset += length;
    }
    None
}
