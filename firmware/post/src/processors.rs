//! The other processors: wakes them once, so that they are counted and have the same memory types as the first, and
//! leaves them halted (Intel MultiProcessor Specification 1.4, B.4; Intel SDM, volume 3, 9.4 and 12.11).

use crate::fw_cfg::{FwCfg, key};
use crate::map::Map;
use crate::tables::{Room, put};
use crate::{Machine, cmos, scratch};

/// Processors that are looked after.
pub const MAX: usize = 255;
/// Where in the trampoline's page the table is; the word before it counts processors that are done.
pub const TABLE_OFFSET: u16 = 0x100;
/// Where in the trampoline's page APIC ids are noted, in the order in which processors come.
pub const IDS_OFFSET: u16 = 0x400;
const TABLE: u32 = scratch::TRAMPOLINE + TABLE_OFFSET as u32;
const DONE: u32 = TABLE - 2;
const MSR_COUNT: u32 = TABLE + 4;
const ARRIVED: u32 = TABLE + 6;
const MSRS: u32 = TABLE + 8;
const IDS: u32 = scratch::TRAMPOLINE + IDS_OFFSET as u32;
/// MSRs that there is room for.
const MAX_MSRS: u32 = (IDS_OFFSET as u32 - TABLE_OFFSET as u32 - 8) / 12;

const LOCAL_APIC: u32 = 0xfee0_0000;
const ICR_LOW: u32 = LOCAL_APIC + 0x300;
/// All but self, assert, INIT.
const INIT: u32 = 0x000c_4500;
/// All but self, assert, start-up at the page in the low byte.
const STARTUP: u32 = 0x000c_4600 | scratch::TRAMPOLINE >> 12;

const CPUID_MSR: u32 = 1 << 5;
const CPUID_APIC: u32 = 1 << 9;
const CPUID_MTRR: u32 = 1 << 12;

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Processors {
    /// How many, the first included.
    pub count: u16,
    /// There is a local APIC.
    pub apic: bool,
    /// APIC ids, the first processor's first, then ascending.
    pub ids: [u8; MAX],
    /// CPUID leaf 1's EAX and EDX.
    pub signature: [u32; 2],
    /// The local APIC's version register.
    pub apic_version: u8,
}

/// Sets memory types on this processor and on all others.
pub fn start<M: Machine>(machine: &mut M, fw_cfg: Option<&FwCfg>, map: &Map, room: &mut Room) -> Processors {
    let mut found = Processors { count: 1, apic: false, ids: [0; MAX], signature: [0; 2], apic_version: 0 };
    let Some([leaves, ..]) = machine.cpuid(0) else { return found };
    if leaves == 0 {
        return found;
    }
    let [signature, id, _, features] = machine.cpuid(1).unwrap_or_default();
    found.signature = [signature, features];
    let has_types = features & CPUID_MTRR != 0 && features & CPUID_MSR != 0;
    let msrs = if has_types { memory_types(machine, map) } else { 0 };
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
    let Some(halt) = room.code(4, 1) else { return found };
    // CLI, HLT, and again should an NMI have come.
    put(machine, halt, &[0xfa, 0xf4, 0xeb, 0xfc]);
    let trampoline = machine.trampoline();
    put(machine, scratch::TRAMPOLINE, trampoline);
    machine.write32(TABLE, 0xf000_0000 | halt & 0xffff);
    machine.write16(MSR_COUNT, msrs);
    machine.write16(ARRIVED, 0);
    machine.write16(DONE, 0);
    let others = wake(machine, expected.map(|count| count - 1));
    let others = others.min(MAX as u16 - 1);
    found.count = 1 + others;
    for n in 0..others {
        let id = machine.read8(IDS + u32::from(n));
        // Sorted: they come in any order, and tables must be the same each time.
        let mut at = usize::from(n) + 1;
        while at > 1 && found.ids.get(at - 1).is_some_and(|&before| before > id) {
            found.ids[at] = found.ids[at - 1];
            at -= 1;
        }
        if let Some(place) = found.ids.get_mut(at) {
            *place = id;
        }
    }
    found
}

/// How many there are, if somebody says so.
fn expected<M: Machine>(machine: &mut M, fw_cfg: Option<&FwCfg>) -> Option<u16> {
    let told = match fw_cfg {
        Some(fw_cfg) => fw_cfg.word(machine, key::PROCESSORS),
        None => u16::from(cmos::byte(machine, cmos::PROCESSORS)) + 1,
    };
    (1..=MAX as u16).contains(&told).then_some(told)
}

/// The local APIC as a PC's firmware leaves it: enabled, the 8259s on LINT0, NMIs on LINT1 (MultiProcessor
/// Specification 1.4, 3.6.2.2).
fn virtual_wire<M: Machine>(machine: &mut M) {
    const SPURIOUS: u32 = LOCAL_APIC + 0xf0;
    const LINT0: u32 = LOCAL_APIC + 0x350;
    const LINT1: u32 = LOCAL_APIC + 0x360;
    machine.write32(SPURIOUS, 0x10f);
    machine.write32(LINT0, 0x700);
    machine.write32(LINT1, 0x400);
}

/// Wakes the others, and waits until `wanted` are done, or for long enough if nobody knows. Returns how many are.
fn wake<M: Machine>(machine: &mut M, wanted: Option<u16>) -> u16 {
    // A second start-up is for those that missed the first.
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

/// Waits until `wanted` processors are done, `milliseconds` (54 at most) at the longest, by the PIT's channel 2 in mode 0
/// (Intel 8254 data sheet; PC AT: port 61h bit 0 gate, bit 1 speaker, bit 5 output).
fn wait<M: Machine>(machine: &mut M, wanted: Option<u16>, milliseconds: u32) -> bool {
    const CONTROL: u16 = 0x43;
    const CHANNEL_2: u16 = 0x42;
    const PORT_B: u16 = 0x61;
    const CLOCKS_PER_MS: u32 = 1193;
    /// Whatever the PIT does.
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

/// Memory types by MTRRs: RAM is write-back, what devices have below 4 GiB and video memory is not cached. Loads them, and
/// lists them for the other processors.
fn memory_types<M: Machine>(machine: &mut M, map: &Map) -> u16 {
    const CAPABILITIES: u32 = 0xfe;
    const DEFAULT_TYPE: u32 = 0x2ff;
    const VARIABLE: u32 = 0x200;
    const UNCACHED: u64 = 0;
    const WRITE_BACK: u64 = 0x0606_0606_0606_0606;
    const WRITE_PROTECT: u64 = 0x0505_0505_0505_0505;
    const VALID: u64 = 1 << 11;
    /// First and type, for 64 KiB, 16 KiB and 4 KiB each.
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
    let mut list = Msrs { count: 0 };
    list.load(machine, DEFAULT_TYPE, 0);
    let has_fixed = capabilities & 1 << 8 != 0;
    if has_fixed {
        for (register, value) in FIXED {
            list.load(machine, register, value);
        }
    }
    // One range from a power of two on, so that one register will do.
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

/// Registers that every processor loads.
struct Msrs {
    count: u32,
}

impl Msrs {
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
