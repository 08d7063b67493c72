//! Power-on code (POST) of the BIOS: memory map, PCI, option ROMs, processor start-up, firmware tables.
//!
//! It runs once after each reset, from the ROM below 4 GiB, in 32-bit flat mode: tables and option ROMs may be anywhere
//! below 4 GiB.

#![cfg_attr(rom, no_std)]
#![forbid(unsafe_code)]

mod cmos;
mod fw_cfg;
mod map;
mod pci;
mod processors;
mod roms;
mod scratch;
mod shadow;
mod tables;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use fw_cfg::FwCfg;
pub use pci::Pci;
use pcvm_firmware_rt::{Handoff, Ports};
pub use processors::{IDS_OFFSET, TABLE_OFFSET};

/// The machine in 32-bit flat mode: port I/O, memory by physical address, CPUID and MSRs.
pub trait Machine: Ports {
    /// Reads a byte of memory.
    fn read8(&mut self, at: u32) -> u8;
    /// Reads a word of memory.
    fn read16(&mut self, at: u32) -> u16;
    /// Reads a dword of memory.
    fn read32(&mut self, at: u32) -> u32;
    /// Writes a byte of memory.
    fn write8(&mut self, at: u32, value: u8);
    /// Writes a word of memory.
    fn write16(&mut self, at: u32, value: u16);
    /// Writes a dword of memory.
    fn write32(&mut self, at: u32, value: u32);
    /// Copies memory in ascending order.
    fn copy(&mut self, from: u32, to: u32, bytes: u32);
    /// Sets `bytes` bytes of memory to `value`.
    fn fill(&mut self, to: u32, value: u8, bytes: u32);
    /// `rep insb`: reads `bytes` bytes from `port` to `to`.
    fn insb(&mut self, port: u16, to: u32, bytes: u32);
    /// EAX, EBX, ECX and EDX of a CPUID leaf (sub-leaf 0); `None` on a CPU without CPUID.
    fn cpuid(&mut self, leaf: u32) -> Option<[u32; 4]>;
    /// Reads an MSR. The CPU must have it.
    fn rdmsr(&mut self, register: u32) -> u64;
    /// Writes an MSR. The CPU must have it.
    fn wrmsr(&mut self, register: u32, value: u64);
    /// Real-mode code for the application processors, for any page below 1 MiB, entered at its start. It loads the MSRs
    /// of a table in the same page (see `processors.rs`), notes its APIC ID, increments a counter, and halts.
    fn trampoline(&self) -> &'static [u8];
}

/// End of the PCI memory window: the address of the I/O APIC.
const DEVICES_END: u32 = 0xfec0_0000;

/// Initializes the machine for the BIOS, and fills in `handoff`.
pub fn power_on<M: Machine>(machine: &mut M, pci: &mut Pci, handoff: &mut Handoff) {
    let mut shadow = shadow::Shadow::copy_bios(machine);
    let fw_cfg = FwCfg::find(machine);
    let fw_cfg = fw_cfg.as_ref();
    let mut map = map::Map::of_machine(machine, fw_cfg);

    pci.scan(machine);
    pci.assign(machine, pci::MemoryWindow { start: map.devices_start(), end: DEVICES_END });
    let chipset = pci::piix::set_up(machine, pci);
    pci.enable(machine);
    handoff.last_bus = pci.last_bus();
    handoff.pirq = chipset.pirq;
    handoff.pm_timer = chipset.pm_timer;
    handoff.pm1a_control = chipset.pm1a_control;

    let roms_end = roms::Roms::new(&mut shadow, handoff).install(machine, fw_cfg, pci);
    let mut space = tables::TableSpace::new(machine, &map, roms_end);
    if let Some(fw_cfg) = fw_cfg {
        let rsdp = tables::loader::run(machine, fw_cfg, &mut space, &mut shadow);
        handoff.has_acpi = rsdp.is_some().into();
        tables::smbios::install(machine, fw_cfg, &mut space, &mut shadow);
        read_boot_settings(machine, fw_cfg, handoff);
        boot_order(machine, fw_cfg, &mut space, &mut shadow, handoff);
    }
    let processors = processors::start(machine, fw_cfg, &map, &mut space);
    handoff.processors = processors.count;
    tables::pir::install(machine, pci, &chipset, &mut space);
    tables::mp::install(machine, &processors, pci, &mut space, &mut shadow);
    space.write(&mut map);
    map.write(handoff);
    scratch::clear(machine, fw_cfg.map_or(0, FwCfg::directory_bytes));
}

/// Copies the boot order (fw_cfg `bootorder`) for the BIOS.
fn boot_order<M: Machine>(
    machine: &mut M,
    fw_cfg: &FwCfg,
    space: &mut tables::TableSpace,
    shadow: &mut shadow::Shadow,
    handoff: &mut Handoff,
) {
    let Some(file) = fw_cfg.file(machine, b"bootorder").filter(|file| (1..=0x7fff).contains(&file.size)) else {
        return;
    };
    let Some(at) = space.low(machine, shadow, file.size, 1) else { return };
    if fw_cfg.read_file(machine, file, at) {
        handoff.boot_order = at;
        handoff.boot_order_size = file.size as u16;
    }
}

/// Reads the boot menu settings and the S5 sleep type from fw_cfg.
fn read_boot_settings<M: Machine>(machine: &mut M, fw_cfg: &FwCfg, handoff: &mut Handoff) {
    handoff.has_fw_cfg = 1;
    handoff.menu = u8::from(fw_cfg.word(machine, fw_cfg::key::BOOT_MENU) != 0);
    handoff.menu_wait = fw_cfg.number(machine, b"etc/boot-menu-wait").map_or(0, |ms| ms.min(0xffff) as u16);
    handoff.fail_wait = fw_cfg.number(machine, b"etc/boot-fail-wait").unwrap_or(u32::MAX);
    // A byte for each of S0 to S5. Bit 7: supported; bits 0-2: SLP_TYP.
    if let Some(states) = fw_cfg.file(machine, b"etc/system-states").filter(|file| file.size >= 6)
        && fw_cfg.read_key(machine, states.key, scratch::BUFFER, 6)
    {
        handoff.slp_typ_s5 = machine.read8(scratch::BUFFER + 5) & 7;
    }
}
