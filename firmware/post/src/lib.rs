//! The power-on code: what a machine needs before its BIOS can run, in 32-bit flat mode because tables and option ROMs
//! lie anywhere below 4 GiB. It runs once after each reset, from the ROM below 4 GiB.

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

/// The machine in 32-bit flat mode: ports, and memory by physical address.
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
    /// Copies memory, ascending.
    fn copy(&mut self, from: u32, to: u32, bytes: u32);
    /// Sets memory to one value.
    fn fill(&mut self, to: u32, value: u8, bytes: u32);
    /// `rep insb`.
    fn insb(&mut self, port: u16, to: u32, bytes: u32);
    /// CPUID's EAX, EBX, ECX and EDX for this leaf (sub-leaf 0): none if the processor has no such instruction.
    fn cpuid(&mut self, leaf: u32) -> Option<[u32; 4]>;
    /// Reads a model-specific register, which the processor has.
    fn rdmsr(&mut self, register: u32) -> u64;
    /// Writes a model-specific register, which the processor has.
    fn wrmsr(&mut self, register: u32, value: u64);
    /// What other processors run first: real-mode code for any page below 1 MiB, entered at its start. It loads the
    /// model-specific registers listed behind it (see `processors.rs`), says that it is there, and halts.
    fn trampoline(&self) -> &'static [u8];
}

/// Below it there are addresses for devices: the I/O APIC's place.
const DEVICES_END: u32 = 0xfec0_0000;

/// Makes the machine ready for its BIOS.
pub fn power_on<M: Machine>(machine: &mut M, pci: &mut Pci, handoff: &mut Handoff) {
    let mut shadow = shadow::Shadow::copy_bios(machine);
    let fw_cfg = FwCfg::find(machine);
    let fw_cfg = fw_cfg.as_ref();
    let mut map = map::Map::of_machine(machine, fw_cfg);

    pci.scan(machine);
    pci.place(machine, pci::Windows { memory_start: map.devices_start(), memory_end: DEVICES_END });
    let chipset = pci::piix::set_up(machine, pci);
    pci.enable(machine);
    handoff.last_bus = pci.last_bus();
    handoff.pirq = chipset.pirq;
    handoff.pm_timer = chipset.pm_timer;
    handoff.pm1a_control = chipset.pm1a_control;

    let roms_end = roms::Roms::new(&mut shadow, handoff).install(machine, fw_cfg, pci);
    let mut room = tables::Room::new(machine, &map, roms_end);
    if let Some(fw_cfg) = fw_cfg {
        let rsdp = tables::loader::run(machine, fw_cfg, &mut room, &mut shadow);
        handoff.has_acpi = rsdp.is_some().into();
        tables::smbios::install(machine, fw_cfg, &mut room, &mut shadow);
        told(machine, fw_cfg, handoff);
        boot_order(machine, fw_cfg, &mut room, &mut shadow, handoff);
    }
    let processors = processors::start(machine, fw_cfg, &map, &mut room);
    handoff.processors = processors.count;
    tables::pir::install(machine, pci, &chipset, &mut room);
    tables::mp::install(machine, &processors, pci, &mut room, &mut shadow);
    room.write(&mut map);
    map.write(handoff);
}

/// Keeps the boot order for the BIOS.
fn boot_order<M: Machine>(
    machine: &mut M,
    fw_cfg: &FwCfg,
    room: &mut tables::Room,
    shadow: &mut shadow::Shadow,
    handoff: &mut Handoff,
) {
    let Some(file) = fw_cfg.file(machine, b"bootorder").filter(|file| (1..=0x7fff).contains(&file.size)) else {
        return;
    };
    let Some(at) = room.low(machine, shadow, file.size, 1) else { return };
    if fw_cfg.read_file(machine, file, at) {
        handoff.boot_order = at;
        handoff.boot_order_size = file.size as u16;
    }
}

/// What fw_cfg says about booting.
fn told<M: Machine>(machine: &mut M, fw_cfg: &FwCfg, handoff: &mut Handoff) {
    handoff.has_fw_cfg = 1;
    handoff.menu = u8::from(fw_cfg.word(machine, fw_cfg::key::BOOT_MENU) != 0);
    handoff.menu_wait = fw_cfg.number(machine, b"etc/boot-menu-wait").map_or(0, |ms| ms.min(0xffff) as u16);
    handoff.fail_wait = fw_cfg.number(machine, b"etc/boot-fail-wait").unwrap_or(u32::MAX);
    // A byte for each of S0 to S5: bit 7 for "there is one", SLP_TYP below.
    if let Some(states) = fw_cfg.file(machine, b"etc/system-states").filter(|file| file.size >= 6)
        && fw_cfg.read_key(machine, states.key, scratch::BUFFER, 6)
    {
        handoff.slp_typ_s5 = machine.read8(scratch::BUFFER + 5) & 7;
    }
}
