//! Option ROMs: copies them to shadow RAM and lists them for the BIOS, which initializes them.
//!
//! Specifications: PCI 2.1, 6.3; Plug and Play BIOS Specification 1.0A, 3.

use crate::Machine;
use crate::fw_cfg::{File, FwCfg};
use crate::pci::config::{reg, write32};
use crate::pci::{Function, Pci};
use crate::shadow::{BLOCK, BOOT_CODE, START, Shadow};
use crate::tables::sum;
use pcvm_firmware_rt::{Handoff, OptionRom};

/// Address ranges for option ROMs: the second one is what the BIOS leaves of segment E000h.
const AREAS: [(u32, u32); 2] = [(0xc_0000, 0xe_0000), (0xe_8000, BOOT_CODE)];
/// First address of other ROMs if there is no VGA BIOS.
const OTHERS: u32 = 0xc_8000;
/// Alignment of option ROMs.
const ALIGN: u32 = 2048;
const SIGNATURE: u16 = 0xaa55;
/// Offset of the pointer to the PCI data structure.
const PCIR_POINTER: u32 = 0x18;
const PCIR: u32 = u32::from_le_bytes(*b"PCIR");
/// Code type of images for PC-AT compatibles.
const CODE_PC: u8 = 0;
/// Unit of image sizes.
const UNIT: u32 = 512;
/// Limit of images in a PCI ROM.
const MAX_IMAGES: usize = 16;
/// `OptionRom::function` of ROMs that do not belong to a PCI function.
const NO_FUNCTION: u16 = 0xffff;

/// Installs option ROMs.
pub struct Roms<'a> {
    shadow: &'a mut Shadow,
    handoff: &'a mut Handoff,
    /// First free address.
    next: u32,
    /// Bit n: 16 KiB block n from C0000h contains an ISA card's ROM.
    card_blocks: u16,
}

impl<'a> Roms<'a> {
    /// No option ROMs yet.
    pub fn new(shadow: &'a mut Shadow, handoff: &'a mut Handoff) -> Self {
        Self { shadow, handoff, next: START, card_blocks: 0 }
    }

    /// Installs all option ROMs, the VGA BIOS first. Returns the first address after them.
    pub fn install<M: Machine>(&mut self, machine: &mut M, fw_cfg: Option<&FwCfg>, pci: &Pci) -> u32 {
        self.install_vga(machine, fw_cfg, pci);
        if self.handoff.rom_count == 0 {
            // A ROM at C0000h would be taken for the VGA BIOS.
            self.next = OTHERS;
        }
        self.list_isa_roms(machine);
        let vga = pci.vga().map(|vga| vga.bdf);
        for (n, function) in pci.functions().iter().enumerate() {
            if Some(function.bdf) != vga && !function.bridge {
                self.install_of_function(machine, fw_cfg, pci, n);
            }
        }
        if let Some(fw_cfg) = fw_cfg {
            fw_cfg.files_under(machine, b"genroms/", |machine, file| {
                self.install_from_file(machine, fw_cfg, file, NO_FUNCTION);
            });
        }
        self.clear_rest(machine);
        self.next
    }

    fn install_vga<M: Machine>(&mut self, machine: &mut M, fw_cfg: Option<&FwCfg>, pci: &Pci) {
        let vga = pci.vga().and_then(|vga| pci.functions().iter().position(|f| f.bdf == vga.bdf));
        if vga.is_some_and(|vga| self.install_of_function(machine, fw_cfg, pci, vga)) {
            return;
        }
        if let Some(fw_cfg) = fw_cfg {
            let mut done = false;
            fw_cfg.files_under(machine, b"vgaroms/", |machine, file| {
                done = done || self.install_from_file(machine, fw_cfg, file, NO_FUNCTION);
            });
        }
    }

    /// Lists the ROMs of ISA cards, which stay at their addresses.
    fn list_isa_roms<M: Machine>(&mut self, machine: &mut M) {
        let mut at = AREAS[0].0;
        while at < AREAS[0].1 {
            if self.shadow.is_ram(at) || machine.read16(at) != SIGNATURE {
                at += ALIGN;
                continue;
            }
            let size = u32::from(machine.read8(at + 2)) * UNIT;
            if size == 0 || at + size > AREAS[0].1 || sum(machine, at, size) != 0 {
                at += ALIGN;
                continue;
            }
            self.list(at, NO_FUNCTION);
            for block in (at - START) / BLOCK..=(at + size - 1 - START) / BLOCK {
                self.card_blocks |= 1 << block;
            }
            at += size.next_multiple_of(ALIGN);
        }
    }

    fn list(&mut self, at: u32, function: u16) {
        let count = usize::from(self.handoff.rom_count);
        if let Some(rom) = self.handoff.roms.get_mut(count) {
            *rom = OptionRom { segment: (at >> 4) as u16, function };
            self.handoff.rom_count += 1;
        }
    }

    /// Free address for a ROM of `bytes` bytes.
    fn free_address(&self, bytes: u32) -> Option<u32> {
        if usize::from(self.handoff.rom_count) >= Handoff::ROMS_MAX {
            return None;
        }
        for (start, end) in AREAS {
            let mut at = self.next.max(start).next_multiple_of(ALIGN);
            while at + bytes <= end {
                let probes = (at..at + bytes).step_by(BLOCK as usize).chain([at + bytes - 1]);
                match probes.into_iter().find(|&at| self.card_blocks >> ((at - START) / BLOCK) & 1 != 0) {
                    Some(card) => at = (card & !(BLOCK - 1)) + BLOCK,
                    None => return Some(at),
                }
            }
        }
        None
    }

    /// Installs the option ROM of a PCI function: from the fw_cfg file `pciVVVV,DDDD.rom` if there is one, which costs
    /// one DMA transfer instead of an MMIO read for each dword; otherwise from the function's ROM BAR.
    fn install_of_function<M: Machine>(
        &mut self,
        machine: &mut M,
        fw_cfg: Option<&FwCfg>,
        pci: &Pci,
        function: usize,
    ) -> bool {
        let Some(&Function { bdf, id, .. }) = pci.functions().get(function) else { return false };
        if let Some(fw_cfg) = fw_cfg
            && let Some(file) = fw_cfg.file(machine, &file_name(id))
            && self.install_from_file(machine, fw_cfg, file, bdf)
        {
            return true;
        }
        let Some((base, size)) = pci.rom(function) else { return false };
        write32(machine, bdf, reg::ROM, base | 1);
        let found = image(machine, base, size, id).and_then(|(image, bytes)| {
            let to = self.free_address(bytes)?;
            self.shadow.make_ram(machine, to, bytes);
            machine.copy(image, to, bytes);
            Some((to, bytes))
        });
        write32(machine, bdf, reg::ROM, base);
        found.is_some_and(|(to, bytes)| self.accept(machine, to, bytes, bdf))
    }

    /// Installs an image from fw_cfg.
    fn install_from_file<M: Machine>(&mut self, machine: &mut M, fw_cfg: &FwCfg, file: File, function: u16) -> bool {
        if file.size < UNIT || file.size > AREAS[0].1 - AREAS[0].0 {
            return false;
        }
        let Some(to) = self.free_address(file.size) else { return false };
        self.shadow.make_ram(machine, to, file.size);
        if !fw_cfg.read_file(machine, file, to) {
            return false;
        }
        let bytes = u32::from(machine.read8(to + 2)) * UNIT;
        (1..=file.size).contains(&bytes) && self.accept(machine, to, bytes, function)
    }

    /// Lists a ROM that was copied to `at` if its checksum is right. The VGA BIOS needs none: without it, the machine
    /// could not even display an error.
    fn accept<M: Machine>(&mut self, machine: &mut M, at: u32, bytes: u32, function: u16) -> bool {
        let good = machine.read16(at) == SIGNATURE && (at == START || sum(machine, at, bytes) == 0);
        if good {
            self.list(at, function);
            self.next = at + bytes;
        } else {
            machine.write16(at, 0);
        }
        good
    }

    /// Erases the signatures of ROMs in RAM after the last one: they are from before a CPU reset.
    fn clear_rest<M: Machine>(&self, machine: &mut M) {
        for (start, end) in AREAS {
            for at in (self.next.max(start).next_multiple_of(ALIGN)..end).step_by(ALIGN as usize) {
                if self.shadow.is_ram(at) {
                    machine.write16(at, 0);
                }
            }
        }
    }
}

/// Name of the fw_cfg file with the ROM of a PCI device: `pciVVVV,DDDD.rom`.
fn file_name(id: u32) -> [u8; 16] {
    let mut name = *b"pci0000,0000.rom";
    for digit in 0..4 {
        let hex = |value: u32| {
            let nibble = (value >> (12 - 4 * digit) & 0xf) as u8;
            if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
        };
        name[3 + digit] = hex(id & 0xffff);
        name[8 + digit] = hex(id >> 16);
    }
    name
}

/// Finds the PC-AT image for this vendor and device in a PCI ROM: its address and its size in bytes.
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
