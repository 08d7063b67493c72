//! The function itself: configuration space, decoding, channels with one and no drive, resets, interrupts.

use super::*;
use crate::testing::{Rng, generic_tests};
use crate::{Device, Effect};

fn all_kinds() -> Piix3Ide {
    Piix3Ide::new([
        Some(DriveSpec::disk(2048, false, "A")),
        Some(DriveSpec::disk(100, true, "B")),
        Some(DriveSpec::cdrom(Some(1 << 20), "C")),
        Some(DriveSpec::cdrom(None, "D")),
    ])
}

#[test]
fn what_every_device_owes() {
    generic_tests(all_kinds);
    generic_tests(|| Piix3Ide::new([None, None, None, None]));
}

/// The generic accesses, with the ports enabled and commands that mean something.
#[test]
fn random_drivers_are_survived_and_their_states_come_back() {
    for seed in 0..8 {
        let mut rng = Rng(seed);
        let mut bench = enabled(Bench::new(all_kinds()));
        for disk in 0..4 {
            bench.disks.insert(DiskId(disk), vec![0x5a; 1 << 20]);
        }
        for _ in 0..3000 {
            bench.hold_requests = rng.below(4) == 0;
            let base = [PRIMARY, SECONDARY][rng.below(2) as usize];
            let mut driver = Driver { bench: &mut bench, base };
            match rng.below(12) {
                0 | 1 => driver.issue(Command {
                    opcode: rng.next_u64() as u8,
                    features: [0, 1, 3, 0xd0, 0xd4, 0xd5, 0xd6, 0xd8][rng.below(8) as usize],
                    count: rng.below(20) as u16,
                    lba: [rng.below(2100), 0xc2_4f00 + rng.below(256)][rng.below(2) as usize],
                    device: 0xe0 | (rng.below(2) << 4) as u8,
                }),
                2 | 3 => {
                    let mut cdb = [0; 12];
                    cdb.fill_with(|| (rng.next_u64() >> rng.below(64)) as u8);
                    cdb[0] = [0x03, 0x12, 0x1a, 0x28, 0x43, 0x46, 0x4a, 0x55, 0x5a, 0xa8, 0xb9, 0xbe]
                        [rng.below(12) as usize];
                    let limit = rng.next_u64() as u16;
                    driver.packet(&cdb, limit, rng.below(2) == 0);
                }
                4 | 5 => {
                    let mut data = vec![0; 2 * rng.below(3000) as usize];
                    driver.bench.ins(base, 2, &mut data);
                }
                6 | 7 => {
                    let data = vec![7; 2 * rng.below(5000) as usize];
                    driver.bench.outs(base, 2, &data);
                }
                8 => {
                    driver.prds(&[
                        (rng.next_u64() as u32 & 0x1f_ffff, rng.next_u64() as u32),
                        (rng.next_u64() as u32, rng.next_u64() as u32),
                    ]);
                    driver.start(true);
                }
                9 => driver.stop(),
                10 => {
                    bench.complete();
                }
                _ => match rng.below(6) {
                    0 => bench.outb(base + 0x206, rng.next_u64() as u8),
                    1 => bench.outb(base + 7, 0x08),
                    2 => bench.outb(base + 0x206, 0),
                    3 => {
                        let size = [None, Some(rng.next_u64() >> rng.below(64))][rng.below(2) as usize];
                        bench.call(|device, cx| {
                            Device::wake(device, cx, crate::Wake::Medium(DiskId(2), size));
                        });
                    }
                    4 => bench.config_write(0x04, 2, 1 | (rng.below(2) << 2) as u32),
                    _ => {
                        bench.inb(base + rng.below(8) as u16);
                    }
                },
            }
            if rng.below(50) == 0 {
                use crate::DynDevice;
                let saved = bench.device.save_cbor();
                let mut other = Bench::new(all_kinds());
                other.device.load_cbor(&saved).expect("a device takes its own state");
                assert_eq!(other.device.save_cbor(), saved);
                other.call(Device::resync);
            }
        }
        bench.hold_requests = false;
        while bench.complete() {}
    }
}

#[test]
fn damaged_states_of_a_busy_machine_are_refused_or_usable() {
    use crate::DynDevice;
    let mut bench = machine();
    primary(&mut bench).issue28(0x20, 5, 4);
    ready_cdrom(&mut bench).packet(&[0x28, 0, 0, 0, 0, 3, 0, 0, 2], 2048, false);
    let saved = bench.device.save_cbor();
    let mut rng = Rng(5);
    for _ in 0..300 {
        let mut bytes = saved.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        let mut other = machine();
        if other.device.load_cbor(&bytes).is_err() {
            continue;
        }
        other.call(Device::resync);
        for base in [PRIMARY, SECONDARY] {
            other.ins(base, 2, &mut [0; 5000]);
            other.outs(base, 2, &[0; 5000]);
            let mut driver = Driver { bench: &mut other, base };
            driver.prds(&[(0x2_0000, 0x8000_0000)]);
            driver.start(true);
            driver.issue28(0xc8, 1, 1);
        }
    }
}

#[test]
fn the_function_looks_like_a_piix3() {
    let mut bench = machine();
    assert_eq!(bench.config_read(0, 4), 0x7010_8086);
    assert_eq!(bench.config_read(8, 4), 0x0101_8000);
    assert_eq!(bench.config_read(0x06, 2), 0x0280);
    assert_eq!(bench.config_read(0x0e, 1), 0);
    bench.config_write(0x20, 4, 0xffff_ffff);
    assert_eq!(bench.config_read(0x20, 4), 0xffff_fff1);
    assert_eq!(bench.config_read(0x41, 1) & 0x80, 0x80, "what ata_piix looks at");
    assert_eq!(bench.config_read(0x43, 1) & 0x80, 0x80);
}

#[test]
fn ports_are_decoded_when_both_enables_are_set() {
    let drives = || [Some(DriveSpec::disk(100, false, "")), None, None, None];
    let mut bench = with_drives(drives());
    assert_eq!(bench.inb(0x1f7), 0xff, "I/O is off after a reset");
    bench.config_write(4, 2, 1);
    assert_eq!(bench.inb(0x1f7), 0x50);
    assert_eq!(bench.effects.last(), Some(&Effect::Remap));
    bench.effects.clear();
    bench.config_write(0x40, 2, 0);
    assert_eq!(bench.effects, [Effect::Remap]);
    assert_eq!(bench.inb(0x1f7), 0xff);
    assert_eq!(bench.inb(0x177), 0x00, "the other channel is still there");
    bench.config_write(0x40, 2, 0x8000);
    assert_eq!(bench.inb(0x1f7), 0x50);
}

/// The probes of SeaBIOS and of Linux: they must end at once, and find what is there.
#[test]
fn drives_that_are_not_there_are_quiet() {
    let only_slave = [None, Some(DriveSpec::disk(100, false, "")), None, None];
    for (drives, present) in [([None, None, None, None], [false, false]), (only_slave, [false, true])] {
        let mut bench = enabled(with_drives(drives));
        for (n, expect) in present.into_iter().enumerate() {
            bench.outb(0x1f6, 0xa0 | (n << 4) as u8);
            let status = bench.inb(0x1f7);
            assert_eq!(status, if expect { 0x50 } else { 0 }, "never busy, never wanting data");
            bench.outb(0x1f2, 0x55);
            bench.outb(0x1f3, 0xaa);
            let echo = (bench.inb(0x1f2), bench.inb(0x1f3));
            assert_eq!(echo == (0x55, 0xaa), expect);
            bench.outb(0x1f7, 0xec);
            assert_eq!(bench.inb(0x1f7) & 8 != 0, expect);
        }
    }
}

#[test]
fn a_soft_reset_gives_the_signatures() {
    let mut bench =
        enabled(with_drives([Some(DriveSpec::disk(100, false, "")), Some(DriveSpec::cdrom(None, "")), None, None]));
    primary(&mut bench).issue28(0xec, 0, 0);
    bench.outb(0x3f6, 4);
    assert_eq!(bench.inb(0x3f6) & 0x80, 0x80, "busy while it lasts");
    bench.outb(0x3f6, 0);
    for (device, status, signature) in [(0xa0, 0x50, [1, 1, 0, 0]), (0xb0, 0x00, [1, 1, 0x14, 0xeb])] {
        bench.outb(0x1f6, device);
        assert_eq!(bench.inb(0x1f7), status);
        assert_eq!(bench.inb(0x1f1), 1, "passed");
        assert_eq!([2, 3, 4, 5].map(|n| bench.inb(0x1f0 + n)), signature);
    }
    bench.outb(0x1f7, 0x90);
    let mut driver = primary(&mut bench);
    assert!(driver.irq());
    assert_eq!(driver.status(), 0x50, "device 0 answers the diagnostic");
    assert_eq!(driver.error(), 1);
}

#[test]
fn a_diagnostic_is_carried_out_though_the_selected_drive_is_absent() {
    let mut bench = machine();
    bench.outb(0x1f6, 0xb0);
    bench.outb(0x1f7, 0x90);
    let mut driver = primary(&mut bench);
    assert!(driver.irq());
    assert_eq!(driver.status(), 0x50);
    assert_eq!(driver.error(), 1);
}

#[test]
fn interrupts_are_cleared_by_reading_status_and_masked_by_nien() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.issue28(0x40, 0, 1);
    assert!(driver.irq());
    driver.bench.inb(0x3f6);
    assert!(driver.irq(), "the alternate status leaves it");
    assert_eq!(driver.bm_status() & 4, 4);
    driver.status();
    assert!(!driver.irq());
    assert_eq!(driver.bm_status() & 4, 4, "the bus master's copy stays until it is cleared");
    driver.bench.outb(BM + 2, 4);
    assert_eq!(driver.bm_status() & 4, 0);
    driver.bench.outb(0x3f6, 2);
    driver.issue28(0x40, 0, 1);
    assert!(!driver.irq());
    assert_eq!(driver.bm_status() & 4, 0);
    driver.bench.outb(0x3f6, 0);
    assert!(driver.irq(), "pending, and let through now");
    driver.bench.outb(0x1f6, 0xb0);
    assert!(!driver.irq(), "the drive that is selected has none");
    driver.bench.outb(0x1f6, 0xa0);
    assert!(driver.irq());
    driver.issue28(0x20, 0, 1);
    assert_eq!(driver.edges(), 4);
}

#[test]
fn the_task_file_ignores_writes_while_a_command_is_under_way() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.issue28(0x20, 7, 1);
    driver.bench.outb(0x1f6, 0xb0);
    driver.bench.outb(0x1f7, 0xec);
    let data = driver.pio_in(512);
    assert_eq!(data, pattern(4096 * 512, 0)[7 * 512..8 * 512]);
}

#[test]
fn a_machine_saved_in_a_pio_read_goes_on_where_it_was() {
    use crate::DynDevice;
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.issue28(0x20, 1, 2);
    let mut first = [0; 100];
    driver.bench.ins(PRIMARY, 2, &mut first);
    let saved = bench.device.save_cbor();
    let mut other = machine();
    other.device.load_cbor(&saved).unwrap();
    other.call(Device::resync);
    assert!(other.irq(IrqLine::Isa(14)));
    let mut rest = [0; 924];
    other.ins(PRIMARY, 2, &mut rest[..412]);
    other.ins(PRIMARY, 2, &mut rest[412..]);
    assert_eq!([&first[..], &rest[..]].concat(), pattern(4096 * 512, 0)[512..3 * 512]);
    assert_eq!(other.inb(0x1f7), 0x50);
}
