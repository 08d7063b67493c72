use super::*;
use crate::testing::Bench;

/// 2024-02-28 23:59:50.
const EPOCH: i64 = 1_709_164_790;
const SECOND: u64 = 1_000_000_000;
const LINE: IrqLine = IrqLine::Isa(IRQ);

fn contents() -> CmosContents {
    CmosContents { low_ram: 1 << 30, high_ram: 0x1234 << 16, cpus: 4, ..CmosContents::default() }
}

fn bench() -> Bench<Cmos> {
    Bench::new(Cmos::new(EPOCH, contents()))
}

fn get(bench: &mut Bench<Cmos>, at: u8) -> u8 {
    bench.outb(0x70, at);
    bench.inb(0x71)
}

fn put(bench: &mut Bench<Cmos>, at: u8, value: u8) {
    bench.outb(0x70, at);
    bench.outb(0x71, value);
}

/// Century, year, month, day, weekday, hour, minute, second.
fn time(bench: &mut Bench<Cmos>) -> [u8; 8] {
    [0x32, 9, 8, 7, 6, 4, 2, 0].map(|at| get(bench, at))
}

#[test]
fn the_clock_counts_through_a_leap_day() {
    let mut bench = bench();
    assert_eq!(time(&mut bench), [0x20, 0x24, 0x02, 0x28, 4, 0x23, 0x59, 0x50]);
    bench.advance(10 * SECOND);
    assert_eq!(time(&mut bench), [0x20, 0x24, 0x02, 0x29, 5, 0, 0, 0]);
    assert_eq!(get(&mut bench, 0x37), 0x20, "the PS/2 century byte is an alias");
    assert!(bench.timers.is_empty(), "no interrupt is enabled");
}

#[test]
fn the_hours_register_follows_the_12_24_and_data_modes() {
    for (hour, expect) in [
        (0, [0x00, 0x00, 0x12, 0x0c]),
        (9, [0x09, 0x09, 0x09, 0x09]),
        (12, [0x12, 0x0c, 0x92, 0x8c]),
        (23, [0x23, 0x17, 0x91, 0x8b]),
    ] {
        let mut bench = Bench::new(Cmos::new(hour * 3600, contents()));
        for (b, expect) in [0x02, 0x06, 0x00, 0x04].into_iter().zip(expect) {
            put(&mut bench, 0x0b, b);
            assert_eq!(get(&mut bench, 4), expect, "{hour} {b:02x}");
        }
    }
}

#[test]
fn the_guest_sets_the_time_in_every_format() {
    for (b, registers) in [
        (0x02, [0x59, 0x58, 0x13, 0x31, 0x12, 0x99, 0x19]),
        (0x06, [59, 58, 13, 31, 12, 99, 19]),
        (0x00, [0x59, 0x58, 0x81, 0x31, 0x12, 0x99, 0x19]),
        (0x04, [59, 58, 0x81, 31, 12, 99, 19]),
    ] {
        let mut bench = bench();
        put(&mut bench, 0x0b, b | 0x80);
        bench.advance(5 * SECOND);
        for (at, value) in [0, 2, 4, 7, 8, 9, 0x32].into_iter().zip(registers) {
            put(&mut bench, at, value);
            assert_eq!(get(&mut bench, at), value, "the clock is stopped");
        }
        put(&mut bench, 0x0b, b);
        // 1999-12-31 13:58:59.
        let now = bench.now();
        assert_eq!(bench.device.seconds(now), 946_648_739, "{b:02x}");
        bench.advance(SECOND);
        let now = bench.now();
        assert_eq!(bench.device.seconds(now), 946_648_740);
    }
}

#[test]
fn uip_rises_244_us_before_an_update() {
    let mut bench = bench();
    // The bench starts 1 ms after zero.
    bench.advance(SECOND - 1_000_000 - 244_001);
    assert_eq!(get(&mut bench, 0x0a), 0x26);
    bench.advance(1);
    assert_eq!(get(&mut bench, 0x0a), 0xa6);
    bench.advance(243_999);
    assert_eq!((get(&mut bench, 0x0a), get(&mut bench, 0)), (0xa6, 0x50));
    bench.advance(1);
    assert_eq!((get(&mut bench, 0x0a), get(&mut bench, 0)), (0x26, 0x51));
}

#[test]
fn the_first_update_comes_half_a_second_after_a_divider_reset() {
    let mut bench = bench();
    put(&mut bench, 0x0a, 0x76);
    bench.advance(3 * SECOND);
    assert_eq!(get(&mut bench, 0), 0x50);
    put(&mut bench, 0, 0x10);
    put(&mut bench, 0x0a, 0x26);
    bench.advance(SECOND / 2 - 1);
    assert_eq!(get(&mut bench, 0), 0x10);
    bench.advance(1);
    assert_eq!(get(&mut bench, 0), 0x11);
}

#[test]
fn each_periodic_rate_has_its_data_sheet_frequency() {
    for (rate, hz) in (1..16).zip([256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2]) {
        let mut bench = bench();
        put(&mut bench, 0x0a, 0x20 | rate);
        put(&mut bench, 0x0b, 0x42);
        get(&mut bench, 0x0c);
        let mut count = 0;
        let end = bench.now().plus_nanos(SECOND);
        while let Some(&at) = bench.timers.values().next() {
            if at > end {
                break;
            }
            let wait = at.since(bench.now()).as_nanos() as u64;
            bench.advance(wait);
            assert!(bench.irq(LINE));
            assert_eq!(get(&mut bench, 0x0c) & 0xc0, 0xc0);
            assert_eq!(get(&mut bench, 0x0c), 0, "the first read cleared the flags");
            count += 1;
        }
        assert_eq!(count, hz, "rate {rate}");
    }
}

#[test]
fn ticks_lost_to_a_late_handler_are_reinjected() {
    let mut bench = bench();
    put(&mut bench, 0x0a, 0x2a);
    put(&mut bench, 0x0b, 0x42);
    get(&mut bench, 0x0c);
    let start = bench.now();
    // The handler does not run for half a second at 64 Hz, then runs promptly.
    bench.advance(SECOND / 2);
    let mut count = 0;
    while bench.now().since(start).as_nanos() < u128::from(SECOND) {
        if bench.irq(LINE) {
            assert_eq!(get(&mut bench, 0x0c) & 0xc0, 0xc0);
            assert_eq!(get(&mut bench, 0x0c), 0, "a handler that reads until clear does not consume lost ticks");
            count += 1;
        }
        bench.advance(100_000);
    }
    assert!((63..=65).contains(&count), "{count}");
}

#[test]
fn lost_ticks_are_bounded_and_dropped_when_pie_is_cleared() {
    let mut bench = bench();
    put(&mut bench, 0x0b, 0x42);
    bench.advance(3600 * SECOND);
    assert!(bench.timers.is_empty(), "an interrupt that the guest never acknowledges arms no timer");
    get(&mut bench, 0x0c);
    assert_eq!(bench.timers.len(), 1);
    put(&mut bench, 0x0b, 0x02);
    assert!(bench.timers.is_empty());
    let edges = bench.edges[&LINE];
    bench.advance(SECOND);
    assert_eq!(bench.edges[&LINE], edges);
}

#[test]
fn the_alarm_matches_exact_and_dont_care_bytes() {
    // Alarm (hour, minute, second), seconds from 23:59:50 until it falls due.
    for (alarm, expect) in [
        ([0xff, 0xff, 0xff], Some(1)),
        ([0xff, 0xff, 0x55], Some(5)),
        ([0xff, 0xff, 0x50], Some(60)),
        ([0xc0, 0x00, 0x00], Some(10)),
        ([0xff, 0x59, 0x49], Some(3599)),
        ([0x00, 0x00, 0x05], Some(15)),
        ([0x23, 0x59, 0x50], Some(86_400)),
        ([0x12, 0xff, 0xff], Some(12 * 3600 + 10)),
        ([0x77, 0x00, 0x00], None),
        ([0xff, 0x60, 0xff], None),
    ] {
        let mut bench = bench();
        for (at, value) in [5, 3, 1].into_iter().zip(alarm) {
            put(&mut bench, at, value);
        }
        put(&mut bench, 0x0b, 0x22);
        let due = bench.timers.values().next().map(|at| at.0 / SECOND);
        assert_eq!(due, expect, "{alarm:02x?}");
        if let Some(seconds) = expect {
            bench.advance(seconds * SECOND - 1_000_001);
            assert!(!bench.irq(LINE), "{alarm:02x?}");
            bench.advance(1);
            assert!(bench.irq(LINE));
            assert_eq!(get(&mut bench, 0x0c) & 0xa0, 0xa0);
            assert!(!bench.irq(LINE));
        }
    }
}

#[test]
fn update_ended_interrupts_once_a_second_until_set_clears_uie() {
    let mut bench = bench();
    put(&mut bench, 0x0b, 0x12);
    for second in 0..3 {
        bench.advance(SECOND);
        assert!(bench.irq(LINE), "{second}");
        assert_eq!(get(&mut bench, 0x0c) & 0x90, 0x90);
    }
    put(&mut bench, 0x0b, 0x92);
    assert_eq!(get(&mut bench, 0x0b), 0x82);
    assert!(bench.timers.is_empty());
}

#[test]
fn flags_are_set_while_their_interrupts_are_disabled() {
    let mut bench = bench();
    get(&mut bench, 0x0c);
    bench.advance(SECOND);
    assert_eq!(get(&mut bench, 0x0c), 0x50, "UF and PF, not IRQF");
    assert!(!bench.irq(LINE));
    assert_eq!(get(&mut bench, 0x0d), 0x80);
}

#[test]
fn cmos_ram_describes_the_configured_machine() {
    let disk = CmosDisk { cylinders: 0x1234, heads: 16, sectors: 63, translation: Translation::Lba };
    let contents = CmosContents {
        boot: [Some(BootDevice::Cdrom), Some(BootDevice::Disk), Some(BootDevice::Floppy)],
        disks: [Some(disk), None, Some(disk), None],
        floppies: [4, 0],
        ..contents()
    };
    let mut bench = Bench::new(Cmos::new(EPOCH, contents));
    for (at, expect) in [
        (0x0f, &[0x00][..]),
        (0x10, &[0x40]),
        (0x12, &[0xf0]),
        (0x14, &[0x07, 0x80, 0x02, 0xff, 0xff, 47, 0]),
        (0x1b, &[0x34, 0x12, 16, 0xff, 0xff, 0xc8, 0x34, 0x12, 63, 0]),
        (0x30, &[0xff, 0xff]),
        (0x34, &[0x00, 0x3f]),
        (0x38, &[0x11, 0x11]),
        (0x3d, &[0x23]),
        (0x5b, &[0x34, 0x12, 0x00, 0x00, 0x03]),
    ] {
        for (at, expect) in (at..).zip(expect) {
            assert_eq!(get(&mut bench, at), *expect, "{at:02x}");
        }
    }
    let sum = (0x10..=0x2d).map(|at| u16::from(get(&mut bench, at))).sum::<u16>();
    assert_eq!([get(&mut bench, 0x2e), get(&mut bench, 0x2f)], sum.to_be_bytes());
}

#[test]
fn a_reset_keeps_ram_and_time_and_clears_interrupts() {
    let mut bench = bench();
    put(&mut bench, 0x8f, 0x05);
    put(&mut bench, 0x0b, 0x72);
    bench.advance(2 * SECOND);
    assert!(bench.irq(LINE));
    bench.call(Device::reset);
    assert!(!bench.irq(LINE));
    assert!(bench.timers.is_empty());
    assert_eq!(bench.device.shutdown_byte(), 0x05);
    assert_eq!((get(&mut bench, 0x0b), get(&mut bench, 0)), (0x02, 0x52));
}

#[test]
fn the_ports_have_their_data_sheet_names() {
    let mut bench = bench();
    let mut name = |index, offset, width| {
        bench.outb(0x70, index);
        bench.device.register_name(Access { tag: 0, offset, width })
    };
    for width in [1, 2, 4] {
        assert_eq!(name(0, 0, width), Some("RTCI"));
        assert_eq!(name(0, 2, width), Some("RTCEI"));
        assert_eq!(name(0, 3, width), Some("RTCED"));
        for (index, expect) in [(0x00, "Seconds"), (0x8a, "Register A"), (0x37, "Century"), (0x0f, "RTCD")] {
            assert_eq!(name(index, 1, width), Some(expect), "index {index:02x}");
        }
    }
    assert_eq!(name(0, 4, 1), None);
}

#[test]
fn the_extended_bank_is_separate_from_the_standard_bank() {
    let mut bench = bench();
    bench.outb(0x72, 0x8f);
    bench.outb(0x73, 0xaa);
    assert_eq!(bench.inb(0x73), 0xaa);
    assert_eq!(get(&mut bench, 0x0f), 0);
    assert_eq!([bench.inb(0x70), bench.inb(0x72)], [0xff; 2], "the index ports are write-only");
    bench.outb(0x70, 0x80);
    assert!(bench.device.nmi_masked());
    bench.outw(0x70, 0x770e);
    assert_eq!(get(&mut bench, 0x0e), 0x77, "a word writes index and data");
}
