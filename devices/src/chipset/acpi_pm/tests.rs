use super::*;
use crate::testing::{Bench, generic_tests};

const SCI: IrqLine = IrqLine::Isa(SCI_IRQ);
const PM: u16 = PM_PORT;
const SMB: u16 = 0x700;
/// Nanoseconds between toggles of the PM timer's bit 23.
const HALF_WRAP: u64 = (1 << 23) * 1_000_000_000 / PM_TIMER_HZ + 1;

/// The function after firmware has mapped its ports.
fn bench() -> Bench<AcpiPm> {
    let mut bench = Bench::new(AcpiPm::new());
    bench.config_write(PMBA, 4, u32::from(PM) | 1);
    bench.config_write(PMREGMISC, 1, 1);
    bench.config_write(SMBBA, 4, u32::from(SMB) | 1);
    bench.config_write(SMBHSTCFG, 1, 9);
    bench.effects.clear();
    bench
}

#[test]
fn generic_device_tests_pass() {
    generic_tests(|| bench().device);
}

#[test]
fn registers_have_their_data_sheet_names() {
    let device = AcpiPm::new();
    for (tag, offset, name) in [
        (CONFIG_TAG, 0x04, Some("PCICMD")),
        (CONFIG_TAG, 0x41, Some("PMBA")),
        (CONFIG_TAG, 0x5b, Some("DEVACTB")),
        (CONFIG_TAG, 0x80, Some("PMREGMISC")),
        (CONFIG_TAG, 0x90, Some("SMBBA")),
        (CONFIG_TAG, 0xd2, Some("SMBHSTCFG")),
        (CONFIG_TAG, 0xe0, None),
        (TAG_PM, 0x00, Some("PMSTS")),
        (TAG_PM, 0x02, Some("PMEN")),
        (TAG_PM, 0x05, Some("PMCNTRL")),
        (TAG_PM, 0x08, Some("PMTMR")),
        (TAG_PM, 0x2a, Some("GLBCTL")),
        (TAG_PM, 0x3f, None),
        (TAG_SMBUS, 0x00, Some("SMBHSTSTS")),
        (TAG_SMBUS, 0x07, Some("SMBBLKDAT")),
        (TAG_APM, 0, Some("APMC")),
        (TAG_APM, 1, Some("APMS")),
        (TAG_GPE0, 1, Some("GPE0_STS")),
        (TAG_GPE0, 2, Some("GPE0_EN")),
    ] {
        for width in [1, 2, 4] {
            assert_eq!(device.register_name(Access { tag, offset, width }), name, "tag {tag} offset {offset:x}");
        }
    }
}

#[test]
fn ids_and_reset_values_match_the_data_sheet() {
    let mut bench = Bench::new(AcpiPm::new());
    for (register, width, expect) in [
        (0x00, 4, 0x7113_8086),
        (0x04, 4, 0x0280_0000),
        (0x08, 4, 0x0680_0003),
        (0x2c, 4, 0x1100_1af4),
        (0x3c, 2, 0x0100),
        (0x40, 4, 1),
        (0x58, 4, 0x0200_0000),
        (0x80, 1, 0),
        (0x90, 4, 1),
        (0xd2, 1, 0),
    ] {
        assert_eq!(bench.config_read(register, width), expect, "{register:02x}");
    }
    assert_eq!(bench.inw(PM), 0xffff, "no ports are decoded without a base");
}

#[test]
fn ports_are_decoded_once_pmba_is_set_and_enabled() {
    let mut bench = Bench::new(AcpiPm::new());
    bench.effects.clear();
    bench.config_write(PMBA, 4, 0xffff_ffff);
    assert_eq!(bench.config_read(PMBA, 4), 0xffc1);
    assert!(bench.effects.is_empty(), "not enabled yet");
    bench.config_write(PMREGMISC, 1, 1);
    assert_eq!(bench.effects, [Effect::Remap]);
    assert_eq!(bench.inl(0xffc0), 0);
    bench.config_write(PMBA, 4, 0);
    assert_eq!(bench.device.regions().len(), 2, "a base of 0 decodes nothing");
}

#[test]
fn the_pm_timer_counts_24_bits_at_3_579545_mhz() {
    let mut bench = bench();
    let before = bench.inl(PM + 8);
    bench.advance(1_000_000_000);
    let passed = bench.inl(PM + 8).wrapping_sub(before) & 0xff_ffff;
    assert!((3_579_545 - 1..=3_579_545 + 1).contains(&passed), "{passed}");
    bench.advance(60_000_000_000);
    assert_eq!(bench.inl(PM + 8) >> 24, 0);
}

#[test]
fn a_pm_timer_overflow_raises_sci_only_if_enabled_and_arms_no_timer_otherwise() {
    let mut bench = bench();
    bench.outw(PM + 2, 0x0001);
    assert!(bench.timers.is_empty(), "SCI_EN is clear");
    bench.outb(SMI_COMMAND_PORT, ACPI_ENABLE);
    assert_eq!(bench.timers.len(), 1);
    for _ in 0..3 {
        assert!(!bench.irq(SCI));
        bench.advance(HALF_WRAP);
        assert!(bench.irq(SCI));
        assert_eq!(bench.inw(PM) & 1, 1);
        assert!(bench.timers.is_empty(), "the status is pending already");
        bench.outw(PM, 1);
        assert_eq!(bench.inw(PM) & 1, 0);
    }
    bench.outw(PM + 2, 0);
    assert!(bench.timers.is_empty());
    bench.advance(HALF_WRAP);
    assert_eq!(bench.inw(PM) & 1, 1, "the status is set without the interrupt");
    assert!(!bench.irq(SCI));
}

#[test]
fn the_power_button_raises_sci_until_its_status_is_cleared() {
    let mut bench = bench();
    bench.call(|device, cx| device.wake(cx, Wake::PowerButton));
    assert!(!bench.irq(SCI));
    bench.outw(PM + 2, 0x0100);
    assert!(!bench.irq(SCI), "SCI_EN is clear");
    bench.outb(SMI_COMMAND_PORT, ACPI_ENABLE);
    assert!(bench.irq(SCI));
    assert_eq!(bench.inw(PM), 0x0100);
    bench.outb(PM, 0xff);
    assert!(bench.irq(SCI), "the status bit is in the other byte");
    bench.outb(PM + 1, 0x01);
    assert!(!bench.irq(SCI));
}

#[test]
fn writes_to_apmc_set_and_clear_sci_en() {
    let mut bench = bench();
    for (command, sci_enable) in [(0xf1, 1), (0x00, 1), (0xf0, 0), (0x42, 0)] {
        bench.outb(0xb2, command);
        assert_eq!(bench.inb(0xb2), command);
        assert_eq!(bench.inw(PM + 4) & 1, sci_enable, "{command:02x}");
    }
    bench.outb(0xb3, 0x5a);
    assert_eq!(bench.inb(0xb3), 0x5a);
    assert_eq!(bench.inw(PM + 4) & 1, 0);
}

#[test]
fn only_s5_with_slp_en_powers_off() {
    for (value, off) in [(0x2000, true), (0x2001, true), (0x0000, false), (0x2400, false), (0x2800, false)] {
        let mut bench = bench();
        bench.outw(PM + 4, value);
        assert_eq!(bench.effects == [Effect::PowerOff], off, "{value:04x}");
        assert_eq!(bench.inw(PM + 4), value & 0x1c03, "SLP_EN is write-only");
    }
    let mut bench = bench();
    bench.outb(PM + 5, 0x20);
    assert_eq!(bench.effects, [Effect::PowerOff], "a byte write suffices");
}

#[test]
fn bios_rls_sets_the_global_status_and_reads_zero() {
    let mut bench = bench();
    bench.outl(PM + 0x28, 0x2);
    assert_eq!(bench.inl(PM + 0x28), 0);
    assert_eq!(bench.inw(PM), 0x0020);
}

#[test]
fn gpe0_enables_read_back_and_raise_no_event() {
    let mut bench = bench();
    bench.outl(GPE0_PORT, 0xffff_ffff);
    assert_eq!(bench.inl(GPE0_PORT), 0xffff_0000);
    bench.outb(SMI_COMMAND_PORT, ACPI_ENABLE);
    assert!(!bench.irq(SCI));
    assert_eq!(bench.inl(PM + 0x0c), 0, "GPSTS and GPEN are a separate block");
}

#[test]
fn an_smbus_transfer_ends_with_a_device_error() {
    let mut bench = bench();
    bench.outb(SMB + 4, 0xa1);
    bench.outb(SMB + 2, 0x48);
    assert_eq!(bench.inb(SMB), 0x04, "device error, not busy");
    assert_eq!(bench.inb(SMB + 2), 0x08, "START reads as 0");
    assert!(!bench.irq(SCI));
    bench.outb(SMB, 0xff);
    assert_eq!(bench.inb(SMB), 0);
    bench.outb(SMB + 2, 0x49);
    assert!(bench.irq(SCI), "the SMBus interrupt is routed to IRQ 9");
    bench.outb(SMB, 0x1f);
    assert!(!bench.irq(SCI));
    bench.outb(SMB + 2, 0x02);
    assert_eq!(bench.inb(SMB), 0x10, "KILL sets FAILED");
    for value in 0..40 {
        bench.outb(SMB + 7, value);
    }
    bench.inb(SMB + 2);
    assert_eq!(bench.inb(SMB + 7), 32, "the block data index wraps at 32");
}

#[test]
fn a_reset_unmaps_the_ports_and_lowers_sci() {
    let mut bench = bench();
    bench.outb(SMI_COMMAND_PORT, ACPI_ENABLE);
    bench.outw(PM + 2, 0x0100);
    bench.call(|device, cx| device.wake(cx, Wake::PowerButton));
    assert!(bench.irq(SCI));
    bench.call(Device::reset);
    assert!(!bench.irq(SCI));
    assert_eq!(bench.inw(PM), 0xffff);
    assert!(bench.timers.is_empty());
}

#[test]
fn a_restored_state_raises_sci_and_arms_its_timer() {
    let mut bench = bench();
    bench.outb(SMI_COMMAND_PORT, ACPI_ENABLE);
    bench.outw(PM + 2, 0x0101);
    bench.call(|device, cx| device.wake(cx, Wake::PowerButton));
    let state = bench.device.save();
    let mut other = Bench::new(AcpiPm::new());
    other.device.load(state).unwrap();
    other.call(Device::resync);
    assert!(other.irq(SCI));
    assert_eq!(other.timers, bench.timers);
    let mut state = bench.device.save();
    state.registers.status = 0x0002;
    assert!(other.device.load(state).is_err(), "a reserved bit is set");
}
