//! Registers: DOR, DSR, MSR, TDR, DIR, CCR, and resets.

use super::*;
use crate::Device;

#[test]
fn registers_read_as_in_at_mode_after_power_on() {
    let mut bench = Bench::new(Fdc::new([spec(DriveType::D1440, 1440), None], Timing::Fast));
    assert_eq!(bench.inb(0x3f0), 0xff);
    assert_eq!(bench.inb(0x3f1), 0xff);
    assert_eq!(bench.inb(DOR), 0);
    assert_eq!(bench.inb(0x3f3), 0xfc);
    // Held in reset.
    assert_eq!(bench.inb(MSR), 0);
    assert_eq!(bench.inb(DIR), 0x7f);
    assert!(!irq(&bench));
    bench.outb(0x3f3, 0xff);
    assert_eq!(bench.inb(0x3f3), 0xff);
    bench.outb(DOR, 0xff);
    assert_eq!(bench.inb(DOR), 0xff);
    bench.outb(FIFO, 0x08);
    assert_eq!(bench.inb(MSR), 0, "ready at once after a reset");
}

#[test]
fn a_reset_interrupts_once_and_has_four_results() {
    for by_dsr in [false, true] {
        let mut bench = machine();
        let before = edges(&bench);
        if by_dsr {
            bench.outb(MSR, 0x80);
        } else {
            bench.outb(DOR, 0x38);
            bench.advance(1_000_000);
            assert_eq!((bench.inb(MSR), edges(&bench)), (0, before));
            bench.outb(DOR, 0x3c);
        }
        // Not yet: a driver may set its flag after the write.
        assert_eq!((bench.inb(MSR), irq(&bench)), (0, false));
        bench.advance(1_000_000);
        assert_eq!((bench.inb(MSR), irq(&bench)), (0x80, true));
        for drive in 0..4 {
            assert_eq!(command(&mut bench, &[0x08]), [0xc0 | drive, 0]);
            assert!(!irq(&bench));
        }
        assert_eq!(edges(&bench), before + 1);
        assert_eq!(command(&mut bench, &[0x08]), [0x80]);
    }
}

#[test]
fn a_software_reset_keeps_what_the_data_sheet_says() {
    let mut bench = machine();
    command(&mut bench, &[0x13, 0, 0x55, 0x12]);
    command(&mut bench, &[0x12, 0x8b]);
    bench.outb(0x3f3, 2);
    let dump = command(&mut bench, &[0x0e]);
    assert_eq!(dump[4..], [0xdf, 0x02, 0, 0x0b, 0x55, 0x12]);
    bench.outb(MSR, 0x80);
    bench.advance(1_000_000);
    // SPECIFY, D3 to D0 and TDR stay; GAP, WGATE and CONFIGURE do not.
    assert_eq!(command(&mut bench, &[0x0e])[4..], [0xdf, 0x02, 0, 0x08, 0x20, 0]);
    assert_eq!(bench.inb(0x3f3), 0xfe);
    // LOCK keeps EFIFO, FIFOTHR and PRETRK, but not EIS and POLL.
    command(&mut bench, &[0x13, 0, 0x55, 0x12]);
    assert_eq!(command(&mut bench, &[0x94]), [0x10]);
    bench.outb(MSR, 0x80);
    bench.advance(1_000_000);
    assert_eq!(command(&mut bench, &[0x0e])[4..], [0xdf, 0x02, 0, 0x88, 0x05, 0x12]);
    assert_eq!(command(&mut bench, &[0x14]), [0]);
    bench.outb(MSR, 0x80);
    bench.advance(1_000_000);
    assert_eq!(command(&mut bench, &[0x0e])[4..], [0xdf, 0x02, 0, 0x08, 0x20, 0]);
}

#[test]
fn a_hard_reset_is_power_on_but_for_the_heads() {
    let mut bench = machine();
    let fresh = Bench::new(Fdc::new([spec(DriveType::D1440, 1440), spec(DriveType::D1440, 0)], Timing::Fast));
    command(&mut bench, &[0x94]);
    bench.call(Device::reset);
    let (after, before) = (Device::save(&bench.device), Device::save(&fresh.device));
    assert_eq!(format!("{:?}", after.drives), format!("{:?}", before.drives));
    assert_eq!((after.dor, after.rate, after.locked, after.specify), (before.dor, before.rate, false, [0; 2]));
}

#[test]
fn int_and_drq_need_dmagate() {
    let mut bench = machine();
    bench.outb(DOR, 0x34);
    command(&mut bench, &[0x0f, 0, 3]);
    assert!(!irq(&bench));
    bench.outb(DOR, 0x3c);
    assert!(irq(&bench));
    assert_eq!(command(&mut bench, &[0x08]), [0x20, 3]);
    assert!(!irq(&bench));
}

#[test]
fn the_data_rate_is_set_by_ccr_and_by_dsr() {
    let mut bench = machine();
    for (port, value, works) in
        [(DIR, 0, true), (DIR, 2, false), (MSR, 0x00, true), (MSR, 0x03, false), (DIR, 0xfc, true)]
    {
        bench.outb(port, value);
        assert_eq!(command(&mut bench, &[0x4a, 0])[0] == 0, works, "{port:x} {value:x}");
    }
}

#[test]
fn accesses_in_the_wrong_phase_change_nothing() {
    let mut bench = machine();
    assert_eq!(bench.inb(FIFO), 0);
    send(&mut bench, &[0x04]);
    assert_eq!(bench.inb(FIFO), 0);
    assert_eq!(bench.inb(MSR), 0x90);
    bench.outb(FIFO, 0);
    assert_eq!(bench.inb(MSR), 0xd0);
    bench.outb(FIFO, 0x08);
    assert_eq!(result(&mut bench), [0x38]);
    assert_eq!(bench.guest_errors.len(), 3);
    // Wide accesses are bytes at consecutive ports.
    assert_eq!(bench.inw(DOR), 0xfc3c);
}
