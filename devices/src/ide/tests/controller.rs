//! Tests of the IDE function: configuration space, decoding, absent drives, resets and interrupts.

use super::*;
use crate::ide::{TAG_BUS_MASTER, TAG_CONTROL, TAG_DATA, TAG_TASK, TAG_TASK_SECONDARY};
use crate::testing::{Rng, generic_tests};
use crate::{Access, CONFIG_TAG, Device, Effect};

fn disks_and_cds() -> Piix3Ide {
    Piix3Ide::new([
        Some(DriveSpec::disk(2048, false, "A")),
        Some(DriveSpec::disk(100, true, "B")),
        Some(DriveSpec::cdrom(Some(crate::Disc::single(1 << 20)), "C")),
        Some(DriveSpec::cdrom(None, "D")),
    ])
}

#[test]
fn generic_device_tests_pass() {
    generic_tests(|| Piix3Ide::new([None, None, None, None]));
}

/// Random accesses like those of the generic tests, but with the ports enabled and valid commands.
#[test]
fn random_commands_neither_panic_nor_leave_an_invalid_state() {
    for seed in 0..8 {
        let mut rng = Rng(seed);
        let mut bench = enabled(Bench::new(disks_and_cds()));
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
                    cdb[0] = [
                        opcode::REQUEST_SENSE,
                        opcode::INQUIRY,
                        opcode::MODE_SENSE_6,
                        opcode::READ_10,
                        opcode::READ_TOC,
                        opcode::GET_CONFIGURATION,
                        opcode::GET_EVENT_STATUS_NOTIFICATION,
                        opcode::MODE_SELECT_10,
                        opcode::MODE_SENSE_10,
                        opcode::READ_12,
                        opcode::READ_CD_MSF,
                        opcode::READ_CD,
                    ][rng.below(12) as usize];
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
                    1 => bench.outb(base + 7, op::DEVICE_RESET),
                    2 => bench.outb(base + 0x206, 0),
                    3 => {
                        let size = [None, Some(rng.next_u64() >> rng.below(64))][rng.below(2) as usize];
                        bench.call(|device, cx| {
                            Device::wake(device, cx, crate::Wake::Medium(DiskId(2), size.map(crate::Medium::iso)));
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
                let mut other = Bench::new(disks_and_cds());
                other.device.load_cbor(&saved).expect("a device accepts its own state");
                assert_eq!(other.device.save_cbor(), saved);
                other.call(Device::resync);
            }
        }
        bench.hold_requests = false;
        while bench.complete() {}
    }
}

#[test]
fn damaged_states_with_active_commands_are_rejected_or_usable() {
    use crate::DynDevice;
    let mut bench = machine();
    primary(&mut bench).issue28(op::READ_SECTORS, 5, 4);
    ready_cdrom(&mut bench).packet(&[opcode::READ_10, 0, 0, 0, 0, 3, 0, 0, 2], 2048, false);
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
            driver.issue28(op::READ_DMA, 1, 1);
        }
    }
}

#[test]
fn registers_have_their_data_sheet_names() {
    let device = disks_and_cds();
    for (tag, offset, name) in [
        (CONFIG_TAG, 0x00, Some("VID")),
        (CONFIG_TAG, 0x22, Some("BMIBA")),
        (CONFIG_TAG, 0x43, Some("IDETIM")),
        (CONFIG_TAG, 0x44, Some("SIDETIM")),
        (CONFIG_TAG, 0x48, None),
        (TAG_DATA, 0, Some("Data")),
        (TAG_TASK, 0, Some("Error/Features")),
        (TAG_TASK, 1, Some("Sector Count")),
        (TAG_TASK_SECONDARY, 6, Some("Status/Command")),
        (TAG_CONTROL + 1, 0, Some("Alternate Status/Device Control")),
        (TAG_BUS_MASTER, 0x0, Some("BMICP")),
        (TAG_BUS_MASTER, 0x1, None),
        (TAG_BUS_MASTER, 0x6, Some("BMIDTPP")),
        (TAG_BUS_MASTER, 0xa, Some("BMISS")),
    ] {
        for width in [1, 2, 4] {
            assert_eq!(device.register_name(Access { tag, offset, width }), name, "tag {tag} offset {offset:x}");
        }
    }
}

#[test]
fn ids_and_reset_values_match_the_data_sheet() {
    let mut bench = machine();
    assert_eq!(bench.config_read(0, 4), 0x7010_8086);
    assert_eq!(bench.config_read(8, 4), 0x0101_8000);
    assert_eq!(bench.config_read(0x06, 2), 0x0280);
    assert_eq!(bench.config_read(0x0e, 1), 0);
    bench.config_write(0x20, 4, 0xffff_ffff);
    assert_eq!(bench.config_read(0x20, 4), 0xffff_fff1);
    assert_eq!(bench.config_read(0x41, 1) & 0x80, 0x80, "Linux's ata_piix checks the decode enable");
    assert_eq!(bench.config_read(0x43, 1) & 0x80, 0x80);
}

#[test]
fn ports_are_decoded_if_pcicmd_and_idetim_enable_them() {
    let drives = || [Some(DriveSpec::disk(100, false, "")), None, None, None];
    let mut bench = with_drives(drives());
    assert_eq!(bench.inb(0x1f7), 0xff, "I/O is disabled after a reset");
    bench.config_write(4, 2, 1);
    assert_eq!(bench.inb(0x1f7), 0x50);
    assert_eq!(bench.effects.last(), Some(&Effect::Remap));
    bench.effects.clear();
    bench.config_write(0x40, 2, 0);
    assert_eq!(bench.effects, [Effect::Remap]);
    assert_eq!(bench.inb(0x1f7), 0xff);
    assert_eq!(bench.inb(0x177), 0x00, "the other channel is still decoded");
    bench.config_write(0x40, 2, 0x8000);
    assert_eq!(bench.inb(0x1f7), 0x50);
}

/// SeaBIOS' and Linux's probes end at once and find exactly the drives that are present.
#[test]
fn absent_drives_are_neither_busy_nor_ready() {
    let only_slave = [None, Some(DriveSpec::disk(100, false, "")), None, None];
    for (drives, present) in [([None, None, None, None], [false, false]), (only_slave, [false, true])] {
        let mut bench = enabled(with_drives(drives));
        for (n, expect) in present.into_iter().enumerate() {
            bench.outb(0x1f6, 0xa0 | (n << 4) as u8);
            let status = bench.inb(0x1f7);
            assert_eq!(status, if expect { 0x50 } else { 0 }, "neither BSY nor DRQ");
            bench.outb(0x1f2, 0x55);
            bench.outb(0x1f3, 0xaa);
            let echo = (bench.inb(0x1f2), bench.inb(0x1f3));
            assert_eq!(echo == (0x55, 0xaa), expect);
            bench.outb(0x1f7, op::IDENTIFY_DEVICE);
            assert_eq!(bench.inb(0x1f7) & 8 != 0, expect);
        }
    }
}

#[test]
fn a_software_reset_sets_the_device_signatures() {
    let mut bench =
        enabled(with_drives([Some(DriveSpec::disk(100, false, "")), Some(DriveSpec::cdrom(None, "")), None, None]));
    primary(&mut bench).issue28(op::IDENTIFY_DEVICE, 0, 0);
    bench.outb(0x3f6, 4);
    assert_eq!(bench.inb(0x3f6) & 0x80, 0x80, "busy while SRST is set");
    bench.outb(0x3f6, 0);
    for (device, status, signature) in [(0xa0, 0x50, [1, 1, 0, 0]), (0xb0, 0x00, [1, 1, 0x14, 0xeb])] {
        bench.outb(0x1f6, device);
        assert_eq!(bench.inb(0x1f7), status);
        assert_eq!(bench.inb(0x1f1), 1, "passed");
        assert_eq!([2, 3, 4, 5].map(|n| bench.inb(0x1f0 + n)), signature);
    }
    bench.outb(0x1f7, op::EXECUTE_DEVICE_DIAGNOSTIC);
    let mut driver = primary(&mut bench);
    assert!(driver.irq());
    assert_eq!(driver.status(), 0x50, "device 0 reports the diagnostic result");
    assert_eq!(driver.error(), 1);
}

#[test]
fn a_diagnostic_is_executed_while_the_selected_drive_is_absent() {
    let mut bench = machine();
    bench.outb(0x1f6, 0xb0);
    bench.outb(0x1f7, op::EXECUTE_DEVICE_DIAGNOSTIC);
    let mut driver = primary(&mut bench);
    assert!(driver.irq());
    assert_eq!(driver.status(), 0x50);
    assert_eq!(driver.error(), 1);
}

#[test]
fn reading_status_clears_the_interrupt_and_nien_masks_it() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.issue28(op::READ_VERIFY_SECTORS, 0, 1);
    assert!(driver.irq());
    driver.bench.inb(0x3f6);
    assert!(driver.irq(), "reading Alternate Status does not clear it");
    assert_eq!(driver.bm_status() & 4, 4);
    driver.status();
    assert!(!driver.irq());
    assert_eq!(driver.bm_status() & 4, 4, "IDEINTS stays set until it is cleared");
    driver.bench.outb(BM + 2, 4);
    assert_eq!(driver.bm_status() & 4, 0);
    driver.bench.outb(0x3f6, 2);
    driver.issue28(op::READ_VERIFY_SECTORS, 0, 1);
    assert!(!driver.irq());
    assert_eq!(driver.bm_status() & 4, 0);
    driver.bench.outb(0x3f6, 0);
    assert!(driver.irq(), "pending and no longer masked");
    driver.bench.outb(0x1f6, 0xb0);
    assert!(!driver.irq(), "the selected drive has no interrupt pending");
    driver.bench.outb(0x1f6, 0xa0);
    assert!(driver.irq());
    driver.issue28(op::READ_SECTORS, 0, 1);
    assert_eq!(driver.edges(), 4);
}

#[test]
fn the_task_file_ignores_writes_while_a_command_is_active() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.issue28(op::READ_SECTORS, 7, 1);
    driver.bench.outb(0x1f6, 0xb0);
    driver.bench.outb(0x1f7, op::IDENTIFY_DEVICE);
    let data = driver.pio_in(512);
    assert_eq!(data, pattern(4096 * 512, 0)[7 * 512..8 * 512]);
}

#[test]
fn a_state_saved_during_a_pio_read_continues_at_the_same_byte() {
    use crate::DynDevice;
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.issue28(op::READ_SECTORS, 1, 2);
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

#[test]
fn accesses_that_the_ata_standard_forbids_are_guest_errors() {
    let mut bench = machine();
    let no_drq = "Data register accessed without DRQ";
    bench.inw(PRIMARY);
    bench.outw(PRIMARY, 0);
    assert_eq!(bench.guest_errors, [no_drq; 2]);
    bench.outb(PRIMARY + 6, 0xf0);
    bench.inw(PRIMARY);
    assert_eq!(bench.guest_errors.drain(..).len(), 2, "probing an absent drive is no error");
    bench.outb(PRIMARY + 6, 0xe0);
    primary(&mut bench).issue28(op::READ_SECTORS, 0, 1);
    assert_eq!(bench.guest_errors, [""; 0]);
    bench.outb(PRIMARY + 7, op::IDENTIFY_DEVICE);
    assert_eq!(bench.guest_errors, ["Command register written while BSY or DRQ is set"]);
    assert_eq!(primary(&mut bench).pio_in(512), bench.disks[&DiskId(0)][..512], "the first command continues");
}

#[test]
fn descriptors_that_the_bus_master_specification_forbids_are_guest_errors() {
    let last = 1 << 31;
    for (table, expect) in [
        ((0x2_0000, 512 | last), None),
        ((0x2_0001, 512 | last), Some("PRD with an odd base address or byte count")),
        ((0x2_0000, 513 | last), Some("PRD with an odd base address or byte count")),
        ((0x2_ff00, 512 | last), Some("PRD memory region crosses a 64 KiB boundary")),
    ] {
        let mut bench = machine();
        let mut driver = primary(&mut bench);
        driver.prds(&[table]);
        driver.issue28(op::READ_DMA, 0, 1);
        driver.start(true);
        assert_eq!(bench.guest_errors, Vec::from_iter(expect), "{table:x?}");
    }
}

#[test]
fn a_prd_table_without_eot_is_a_guest_error_when_the_engine_gives_up() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    // 8192 descriptors of 2 bytes have 32 sectors.
    driver.prds(&[(0x3_0000, 2); 8192]);
    driver.issue28(op::READ_DMA, 0, 64);
    driver.start(true);
    assert_eq!(bench.guest_errors, ["PRD table without an EOT bit"]);
}
