//! ACPI tables without AML: FADT, FACS, MADT, WAET, RSDT (ACPI 1.0b, chapter 5.2; Microsoft, "Windows ACPI Emulated Devices
//! Table", 2009).

use super::*;
use crate::config::CpuConfig;
use crate::kvm::cpuid::apic_id;
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::{Aml, AmlSink};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian::U16, little_endian::U32};

/// Offset of FIRMWARE_CTRL in the FADT.
pub const FADT_FIRMWARE_CTRL: usize = 36;
/// Offset of DSDT in the FADT.
pub const FADT_DSDT: usize = 40;

/// The FADT after its header (ACPI 1.0b, 5.2.5).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Fadt {
    firmware_ctrl: U32,
    dsdt: U32,
    int_model: u8,
    reserved1: u8,
    sci_int: U16,
    smi_cmd: U32,
    acpi_enable: u8,
    acpi_disable: u8,
    s4bios_req: u8,
    reserved2: u8,
    pm1a_evt_blk: U32,
    pm1b_evt_blk: U32,
    pm1a_cnt_blk: U32,
    pm1b_cnt_blk: U32,
    pm2_cnt_blk: U32,
    pm_tmr_blk: U32,
    gpe0_blk: U32,
    gpe1_blk: U32,
    pm1_evt_len: u8,
    pm1_cnt_len: u8,
    pm2_cnt_len: u8,
    pm_tm_len: u8,
    gpe0_blk_len: u8,
    gpe1_blk_len: u8,
    gpe1_base: u8,
    reserved3: u8,
    p_lvl2_lat: U16,
    p_lvl3_lat: U16,
    flush_size: U16,
    flush_stride: U16,
    duty_offset: u8,
    duty_width: u8,
    day_alrm: u8,
    mon_alrm: u8,
    century: u8,
    reserved4: [u8; 3],
    flags: U32,
}

/// INT_MODEL: multiple APIC, besides the two 8259s.
const INT_MODEL_APIC: u8 = 1;
/// P_LVL2_LAT above 100 us and P_LVL3_LAT above 1000 us: C2 and C3 are not supported.
const LATENCY_UNSUPPORTED: u16 = 0xfff;
/// CENTURY: CMOS register of the century.
const CMOS_CENTURY: u8 = 0x32;

/// FADT flags (ACPI 1.0b, table 5-6). Version 1.0b reserves bits 15 and 18, but Windows reads them.
mod flag {
    /// WBINVD works correctly.
    pub const WBINVD: u32 = 1 << 0;
    /// All processors support C1.
    pub const PROC_C1: u32 = 1 << 2;
    /// No fixed-feature sleep button. PWR_BUTTON (bit 4) stays clear: the machine has a fixed-feature power button.
    pub const SLP_BUTTON: u32 = 1 << 5;
    /// USE_PLATFORM_CLOCK: measure time by the PM timer instead of the TSC. Windows reads it in every table revision.
    pub const USE_PLATFORM_CLOCK: u32 = 1 << 15;
    /// FORCE_APIC_CLUSTER_MODEL: flat logical destination mode addresses only eight processors.
    pub const FORCE_APIC_CLUSTER_MODEL: u32 = 1 << 18;
}

/// The FADT. The caller sets FIRMWARE_CTRL and DSDT.
pub fn fadt(cpus: &CpuConfig) -> Vec<u8> {
    let mut flags = flag::WBINVD | flag::PROC_C1 | flag::SLP_BUTTON | flag::USE_PLATFORM_CLOCK;
    if cpus.count > 8 {
        flags |= flag::FORCE_APIC_CLUSTER_MODEL;
    }
    let body = Fadt {
        firmware_ctrl: 0.into(),
        dsdt: 0.into(),
        int_model: INT_MODEL_APIC,
        reserved1: 0,
        sci_int: u16::from(SCI_IRQ).into(),
        smi_cmd: u32::from(SMI_CMD).into(),
        acpi_enable: ACPI_ENABLE,
        acpi_disable: ACPI_DISABLE,
        s4bios_req: 0,
        reserved2: 0,
        pm1a_evt_blk: u32::from(PM1A_EVT).into(),
        pm1b_evt_blk: 0.into(),
        pm1a_cnt_blk: u32::from(PM1A_CNT).into(),
        pm1b_cnt_blk: 0.into(),
        pm2_cnt_blk: 0.into(),
        pm_tmr_blk: u32::from(PM_TMR).into(),
        gpe0_blk: u32::from(GPE0).into(),
        gpe1_blk: 0.into(),
        pm1_evt_len: 4,
        pm1_cnt_len: 2,
        pm2_cnt_len: 0,
        pm_tm_len: 4,
        gpe0_blk_len: GPE0_LEN,
        gpe1_blk_len: 0,
        gpe1_base: 0,
        reserved3: 0,
        p_lvl2_lat: LATENCY_UNSUPPORTED.into(),
        p_lvl3_lat: LATENCY_UNSUPPORTED.into(),
        flush_size: 0.into(),
        flush_stride: 0.into(),
        duty_offset: 0,
        duty_width: 0,
        day_alrm: 0,
        mon_alrm: 0,
        century: CMOS_CENTURY,
        reserved4: [0; 3],
        flags: flags.into(),
    };
    let mut table = sdt(b"FACP", 1, 36);
    table.append_slice(body.as_bytes());
    table.as_slice().to_vec()
}

/// The FACS (ACPI 1.0b, 5.2.6): no waking vector, global lock free.
pub fn facs() -> Vec<u8> {
    let mut facs = vec![0; 64];
    facs[..4].copy_from_slice(b"FACS");
    facs[4] = 64;
    facs
}

/// MPS INTI flags: level-triggered, active high.
const LEVEL_HIGH: u16 = 3 << 2 | 1;
/// MPS INTI flags: conforms to the bus (ISA: edge-triggered, active high).
const BUS_DEFAULT: u16 = 0;
/// ACPI processor id that addresses all processors.
const ALL_PROCESSORS: u8 = 0xff;

/// Interrupt Source Override (ACPI 1.0b, 5.2.8.3.1).
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct InterruptSourceOverride {
    kind: u8,
    len: u8,
    bus: u8,
    source: u8,
    gsi: U32,
    flags: U16,
}

/// Local APIC NMI (ACPI 1.0b, 5.2.8.4.1).
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct LocalApicNmi {
    kind: u8,
    len: u8,
    processor: u8,
    flags: U16,
    lint: u8,
}

/// The MADT (ACPI 1.0b, 5.2.8).
pub fn madt(cpus: &CpuConfig) -> Vec<u8> {
    const LOCAL_APIC: u32 = 0xfee0_0000;
    const PCAT_COMPAT: u32 = 1;
    let mut table = sdt(b"APIC", 1, 36);
    table.append(U32::from(LOCAL_APIC));
    table.append(U32::from(PCAT_COMPAT));
    for index in 0..cpus.count {
        ProcessorLocalApic::new(index as u8, apic_id(index, cpus), EnabledStatus::Enabled).to_aml_bytes(&mut table);
    }
    IoApic::new(0, IOAPIC_BASE, 0).to_aml_bytes(&mut table);
    // The PIT is connected to I/O APIC pin 2, which the 8259 cascade (IRQ 2) leaves free.
    let mut overrides = vec![(0, 2, BUS_DEFAULT)];
    // The IRQs of the PCI links and the SCI are level-triggered, and active high after the PIRQ router.
    overrides.extend([5, SCI_IRQ, 10, 11].map(|irq| (irq, u32::from(irq), LEVEL_HIGH)));
    for (source, gsi, flags) in overrides {
        table.append(InterruptSourceOverride {
            kind: 2,
            len: 10,
            bus: 0,
            source,
            gsi: gsi.into(),
            flags: flags.into(),
        });
    }
    table.append(LocalApicNmi { kind: 4, len: 6, processor: ALL_PROCESSORS, flags: BUS_DEFAULT.into(), lint: 1 });
    table.as_slice().to_vec()
}

/// The WAET: one read of the PM timer suffices. RTC register C must be read after each interrupt.
pub fn waet() -> Vec<u8> {
    const PM_TIMER_GOOD: u32 = 1 << 1;
    let mut table = sdt(b"WAET", 1, 36);
    table.dword(PM_TIMER_GOOD);
    table.as_slice().to_vec()
}

/// The RSDT, with space for `count` pointers.
pub fn rsdt(count: usize) -> Vec<u8> {
    sdt(b"RSDT", 1, (RSDT_ENTRIES + 4 * count) as u32).as_slice().to_vec()
}
