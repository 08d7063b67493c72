//! The power-on code: what a machine needs before its BIOS can run, in 32-bit flat mode because tables and option ROMs
//! lie anywhere below 4 GiB. It runs once after each reset, from the ROM below 4 GiB.

#![cfg_attr(rom, no_std)]
#![forbid(unsafe_code)]

mod cmos;
mod fw_cfg;
mod map;
mod pci;
mod roms;
mod scratch;
mod shadow;

use fw_cfg::FwCfg;
pub use pci::Pci;
use pcvm_firmware_rt::{Handoff, Ports};

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
    /// The time stamp counter.
    fn timestamp(&mut self) -> u64;
}

/// Below it there are addresses for devices: the I/O APIC's place.
const DEVICES_END: u32 = 0xfec0_0000;

/// Makes the machine ready for its BIOS.
pub fn power_on<M: Machine>(machine: &mut M, pci: &mut Pci, handoff: &mut Handoff) {
    let mut shadow = shadow::Shadow::copy_bios(machine);
    let fw_cfg = FwCfg::find(machine);
    let fw_cfg = fw_cfg.as_ref();
    let map = map::Map::of_machine(machine, fw_cfg);

    pci.scan(machine);
    pci.place(machine, pci::Windows { memory_start: map.devices_start(), memory_end: DEVICES_END });
    let chipset = pci::piix::set_up(machine, pci);
    pci.enable(machine);
    handoff.last_bus = pci.last_bus();
    handoff.pirq = chipset.pirq;
    handoff.pm_timer = chipset.pm_timer;
    handoff.pm1a_control = chipset.pm1a_control;

    roms::Roms::new(&mut shadow, handoff).install(machine, fw_cfg, pci);
    map.write(handoff);
    if let Some(fw_cfg) = fw_cfg {
        told(machine, fw_cfg, handoff);
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
