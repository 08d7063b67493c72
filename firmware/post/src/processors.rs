//! Application processor start-up (INIT-SIPI-SIPI), local APIC virtual wire mode, and MTRRs.
//!
//! POST starts each application processor once, to count it and to load its MTRRs, and leaves it halted (Intel
//! MultiProcessor Specification 1.4, B.4; Intel SDM, volume 3, 9.4 and 12.11).

use crate::fw_cfg::{FwCfg, key};
use crate::map::Map;
use crate::tables::{TableSpace, put};
use crate::{Machine, cmos, scratch};

/// Maximum number of processors.
pub const MAX: usize = 255;
/// Offset of the MSR table in the trampoline's page. The word before it counts the processors that are done.
pub const TABLE_OFFSET: u16 = 0x100;
/// Offset of the APIC IDs in the trampoline's page, in the order in which the processors start.
pub const IDS_OFFSET: u16 = 0x400;
const TABLE: u32 = scratch::TRAMPOLINE + TABLE_OFFSET as u32;
const DONE: u32 = TABLE - 2;
const MSR_COUNT: u32 = TABLE + 4;
const ARRIVED: u32 = TABLE + 6;
const MSRS: u32 = TABLE + 8;
const IDS: u32 = scratch::TRAMPOLINE + IDS_OFFSET as u32;
/// Maximum number of MSRs in the table.
const MAX_MSRS: u32 = (IDS_OFFSET as u32 - TABLE_OFFSET as u32 - 8) / 12;

const LOCAL_APIC: u32 = 0xfee0_0000;
const ICR_LOW: u32 = LOCAL_APIC + 0x300;
/// ICR: all excluding self, assert, INIT.
const INIT: u32 = 0x000c_4500;
/// ICR: all excluding self, assert, start-up IPI. The low byte is the page number of the trampoline.
const STARTUP: u32 = 0x000c_4600 | scratch::TRAMPOLINE >> 12;

const CPUID_MSR: u32 = 1 << 5;
const CPUID_APIC: u32 = 1 << 9;
const CPUID_MTRR: u32 = 1 << 12;

/// The processors of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Processors {
    /// Number of processors, the boot processor included.
    pub count: u16,
    /// The boot processor has a local APIC.
    pub apic: bool,
    /// APIC IDs: that of the boot processor, then the others in ascending order.
    pub ids: [u8; MAX],
    /// EAX and EDX of CPUID leaf 1.
    pub signature: [u32; 2],
    /// Version of the local APIC.
    pub apic_version: u8,
}

/// Sets up the MTRRs and the local APIC, and starts the application processors.
pub fn start<M: Machine>(machine: &mut M, fw_cfg: Option<&FwCfg>, map: &Map, space: &mut TableSpace) -> Processors {
    let mut found = Processors { count: 1, apic: false, ids: [0; MAX], signature: [0; 2], apic_version: 0 };
    let Some([leaves, ..]) = machine.cpuid(0) else { return found };
    if leaves == 0 {
        return found;
    }
    let [signature, id, _, features] = machine.cpuid(1).unwrap_or_default();
    found.signature = [signature, features];
    let has_mtrrs = features & CPUID_MTRR != 0 && features & CPUID_MSR != 0;
    let msrs = if has_mtrrs { set_mtrrs(machine, map) } else { 0 };
    if features & CPUID_APIC == 0 {
        return found;
    }
    found.apic = true;
    found.apic_version = machine.read32(LOCAL_APIC + 0x30) as u8;
    found.ids[0] = (id >> 24) as u8;
    virtual_wire(machine);
    let expected = expected(machine, fw_cfg);
    if expected == Some(1) {
        return found;
    }
    let Some(halt) = space.code(4, 1) else { return found };
    // CLI; HLT; JMP to the CLI, because an NMI ends the HLT.
    put(machine, halt, &[0xfa, 0xf4, 0xeb, 0xfc]);
    let trampoline = machine.trampoline();
    put(machine, scratch::TRAMPOLINE, trampoline);
    machine.write32(TABLE, 0xf000_0000 | halt & 0xffff);
    machine.write16(MSR_COUNT, msrs);
    machine.write16(ARRIVED, 0);
    machine.write16(DONE, 0);
    let others = start_others(machine, expected.map(|count| count - 1));
    let others = others.min(MAX as u16 - 1);
    found.count = 1 + others;
    for n in 0..others {
        let id = machine.read8(IDS + u32::from(n));
        // Sorted: the order in which processors start varies, and the tables must not.
        let mut at = usize::from(n) + 1;
        while at > 1 && found.ids.get(at - 1).is_some_and(|&before| before > id) {
            found.ids[at] = found.ids[at - 1];
            at -= 1;
        }
        if let Some(slot) = found.ids.get_mut(at) {
            *slot = id;
        }
    }
    found
}

/// The number of processors according to fw_cfg or the CMOS, if it is valid.
fn expected<M: Machine>(machine: &mut M, fw_cfg: Option<&FwCfg>) -> Option<u16> {
    let count = match fw_cfg {
        Some(fw_cfg) => fw_cfg.word(machine, key::PROCESSORS),
        None => u16::from(cmos::byte(machine, cmos::PROCESSORS)) + 1,
    };
    (1..=MAX as u16).contains(&count).then_some(count)
}

/// Puts the local APIC in virtual wire mode: enabled, ExtINT on LINT0, NMI on LINT1 (MultiProcessor Specification 1.4,
/// 3.6.2.2).
fn virtual_wire<M: Machine>(machine: &mut M) {
    const SPURIOUS: u32 = LOCAL_APIC + 0xf0;
    const LINT0: u32 = LOCAL_APIC + 0x350;
    const LINT1: u32 = LOCAL_APIC + 0x360;
    machine.write32(SPURIOUS, 0x1ff);
    machine.write32(LINT0, 0x8700);
    machine.write32(LINT1, 0x8400);
}

/// Starts the application processors and waits until `wanted` are done, or 60 ms if the number is not known. Returns
/// the number of those that are done.
fn start_others<M: Machine>(machine: &mut M, wanted: Option<u16>) -> u16 {
    // The second SIPI is for processors that missed the first.
    machine.write32(ICR_LOW, INIT);
    machine.write32(ICR_LOW, STARTUP);
    if !wait(machine, wanted, 10) {
        machine.write32(ICR_LOW, STARTUP);
        let rounds = if wanted.is_some() { 20 } else { 1 };
        for _ in 0..rounds {
            if wait(machine, wanted, 50) {
                break;
            }
        }
    }
    machine.read16(DONE)
}

/// Waits until `wanted` processors are done, or `milliseconds` (up to 54) have passed. Measures by channel 2 of the PIT
/// in mode 0 (Intel 8254 data sheet; port 61h of the PC AT: bit 0 gate, bit 1 speaker, bit 5 output).
fn wait<M: Machine>(machine: &mut M, wanted: Option<u16>, milliseconds: u32) -> bool {
    const CONTROL: u16 = 0x43;
    const CHANNEL_2: u16 = 0x42;
    const PORT_B: u16 = 0x61;
    const CLOCKS_PER_MS: u32 = 1193;
    /// Limit of polls, in case the PIT does not count.
    const MAX_POLLS: u32 = 1_000_000;
    let clocks = milliseconds * CLOCKS_PER_MS;
    let before = machine.inb(PORT_B) & 0xf;
    machine.outb(PORT_B, before & !2 | 1);
    machine.outb(CONTROL, 0xb0);
    machine.outb(CHANNEL_2, clocks as u8);
    machine.outb(CHANNEL_2, (clocks >> 8) as u8);
    let mut done = false;
    for _ in 0..MAX_POLLS {
        done = wanted.is_some_and(|wanted| machine.read16(DONE) >= wanted);
        if done || machine.inb(PORT_B) & 0x20 != 0 {
            break;
        }
    }
    machine.outb(PORT_B, before);
    done
}

/// Loads the MTRRs and lists them for the application processors: RAM is write-back, video memory and the PCI window
/// below 4 GiB are uncached. Returns the number of MSRs in the list.
fn set_mtrrs<M: Machine>(machine: &mut M, map: &Map) -> u16 {
    const CAPABILITIES: u32 = 0xfe;
    const DEFAULT_TYPE: u32 = 0x2ff;
    const VARIABLE: u32 = 0x200;
    const UNCACHED: u64 = 0;
    const WRITE_BACK: u64 = 0x0606_0606_0606_0606;
    const WRITE_PROTECT: u64 = 0x0505_0505_0505_0505;
    const VALID: u64 = 1 << 11;
    /// Fixed-range MTRRs and their values: ranges of 64 KiB, 16 KiB and 4 KiB.
    const FIXED: [(u32, u64); 11] = [
        (0x250, WRITE_BACK),
        (0x258, WRITE_BACK),
        (0x259, UNCACHED),
        (0x268, WRITE_PROTECT),
        (0x269, WRITE_PROTECT),
        (0x26a, WRITE_PROTECT),
        (0x26b, WRITE_PROTECT),
        (0x26c, WRITE_BACK),
        (0x26d, WRITE_PROTECT),
        (0x26e, WRITE_PROTECT),
        (0x26f, WRITE_PROTECT),
    ];
    let capabilities = machine.rdmsr(CAPABILITIES);
    let mut list = MsrTable { count: 0 };
    list.load(machine, DEFAULT_TYPE, 0);
    let has_fixed = capabilities & 1 << 8 != 0;
    if has_fixed {
        for (register, value) in FIXED {
            list.load(machine, register, value);
        }
    }
    // The uncached range ends at 4 GiB. Its size is a power of two, so that one variable MTRR describes it.
    let ram_end = map.devices_start();
    let start = [0x8000_0000, 0xc000_0000, 0xe000_0000, 0xf000_0000].into_iter().find(|&start| start >= ram_end);
    let start: u32 = start.unwrap_or(0xf800_0000);
    let bits = match machine.cpuid(0x8000_0000) {
        Some([last, ..]) if last >= 0x8000_0008 => machine.cpuid(0x8000_0008).map_or(36, |[a, ..]| a & 0xff),
        _ => 36,
    };
    let high = (1u64 << bits.clamp(32, 52)) - 1;
    for n in 0..(capabilities as u32 & 0xff).min(16) {
        let (base, mask) = if n == 0 { (u64::from(start), high & !u64::from(!start) & !0xfff | VALID) } else { (0, 0) };
        list.load(machine, VARIABLE + 2 * n, base | UNCACHED);
        list.load(machine, VARIABLE + 2 * n + 1, mask);
    }
    let enable = 1 << 11 | if has_fixed { 1 << 10 } else { 0 };
    list.load(machine, DEFAULT_TYPE, enable | 6);
    list.count as u16
}

/// MSRs that every processor loads: the table in the trampoline's page.
struct MsrTable {
    count: u32,
}

impl MsrTable {
    /// Writes an MSR and appends it to the table.
    fn load<M: Machine>(&mut self, machine: &mut M, register: u32, value: u64) {
        machine.wrmsr(register, value);
        if self.count < MAX_MSRS {
            let at = MSRS + 12 * self.count;
            machine.write32(at, register);
            machine.write32(at + 4, value as u32);
            machine.write32(at + 8, (value >> 32) as u32);
            self.count += 1;
        }
    }
}
