//! Tests of ATA disks.

use super::*;
use crate::{BlockError, BlockOp};

fn word(data: &[u8], n: usize) -> u16 {
    u16::from_le_bytes([data[2 * n], data[2 * n + 1]])
}

fn identify(bench: &mut Bench<Piix3Ide>) -> Vec<u8> {
    let mut driver = primary(bench);
    driver.issue28(op::IDENTIFY_DEVICE, 0, 0);
    driver.pio_in(512)
}

#[test]
fn identify_device_describes_the_disk() {
    let mut bench = machine();
    let id = identify(&mut bench);
    assert_eq!(id.len(), 512);
    assert_eq!(id.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)), 0, "checksum");
    assert_eq!(&id[20..30], b"ESIRLA 1  ", "two characters per word, the first one in the high byte");
    assert_eq!((word(&id, 60), word(&id, 61)), (4096, 0));
    assert_eq!((word(&id, 100), word(&id, 101)), (4096, 0));
    assert_eq!((word(&id, 1), word(&id, 3), word(&id, 6)), (4, 16, 63));
    assert_eq!(word(&id, 63), 0x0407);
    assert_eq!(word(&id, 88), 0x003f);
    assert_eq!(word(&id, 93) & 0xe000, 0x6000, "80-wire cable");
    let mut driver = primary(&mut bench);
    driver.issue(Command {
        opcode: op::SET_FEATURES,
        features: subcommand::SET_TRANSFER_MODE,
        count: 0x45,
        device: 0xa0,
        ..Command::default()
    });
    assert_eq!(driver.status(), 0x50);
    let id = identify(&mut bench);
    assert_eq!((word(&id, 63), word(&id, 88)), (0x0007, 0x203f));
}

#[test]
fn sectors_are_read_with_chs_lba28_and_lba48_addresses() {
    let mut bench = machine();
    let image = bench.disks[&DiskId(0)].clone();
    let mut driver = primary(&mut bench);
    let at = |lba: usize, n: usize| image[lba * 512..(lba + n) * 512].to_vec();
    driver.issue28(op::READ_SECTORS, 1000, 3);
    assert_eq!(driver.pio_in(512), at(1000, 3));
    driver.issue48(op::READ_SECTORS_EXT, 1001, 300);
    assert_eq!(driver.pio_in(512), at(1001, 300));
    driver.issue28(op::READ_MULTIPLE, 0, 40);
    let before = driver.edges();
    let mut got = Vec::new();
    for block in [16, 16, 8] {
        let mut data = vec![0; block * 512];
        driver.bench.ins(PRIMARY, 4, &mut data);
        got.extend(data);
    }
    assert_eq!(got, at(0, 40));
    assert!(driver.edges() <= before + 2);
    // Cylinder 1, head 2, sector 3.
    driver.issue(Command { opcode: op::READ_SECTORS, count: 1, lba: 0x103, device: 0xa2, ..Command::default() });
    assert_eq!(driver.pio_in(512), at((16 + 2) * 63 + 2, 1));
    driver.issue28(op::READ_SECTORS, 4000, 0);
    assert_eq!(driver.status() & 1, 1, "256 sectors from there exceed the capacity");
    driver.issue28(op::READ_SECTORS, 3000, 0);
    assert_eq!(driver.pio_in(512), at(3000, 256));
}

#[test]
fn every_drq_block_raises_one_interrupt_but_the_first_of_a_write() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.issue28(op::READ_SECTORS, 0, 3);
    for n in 1..=3 {
        assert_eq!(driver.edges(), n);
        assert_eq!(driver.status(), 0x58);
        driver.bench.ins(PRIMARY, 2, &mut [0; 512]);
    }
    assert!(!driver.irq());
    assert_eq!(driver.status(), 0x50);
    driver.issue28(op::WRITE_SECTORS, 0, 2);
    assert!(!driver.irq(), "the first block of a write raises no interrupt");
    assert!(driver.bench.awaits_writes());
    for n in 4..=5 {
        driver.bench.outs(PRIMARY, 2, &[1; 512]);
        assert_eq!(driver.edges(), n);
        driver.status();
    }
    assert!(!driver.bench.awaits_writes());
}

#[test]
fn sectors_are_written_by_pio_and_dma() {
    let mut bench = machine();
    let data = pattern(40 * 512, 9);
    let mut driver = primary(&mut bench);
    driver.issue28(op::WRITE_SECTORS, 10, 4);
    driver.pio_out(&data[..4 * 512], 512);
    driver.issue48(op::WRITE_MULTIPLE_EXT, 20, 40);
    driver.pio_out(&data, 16 * 512);
    assert_eq!(driver.status(), 0x50);
    driver.bench.memory.write(0x2_0000, &data);
    driver.issue48(op::WRITE_DMA_EXT, 100, 40);
    driver.prds(&[(0x2_0000, 3000), (0x2_0000 + 3000, (40 * 512 - 3000) | (1 << 31))]);
    driver.start(false);
    assert!(driver.irq());
    assert_eq!(driver.bm_status() & 7, 4, "IDEINTS is set, and the engine is idle at the end of the table");
    driver.stop();
    assert_eq!(driver.status(), 0x50);
    let image = &bench.disks[&DiskId(0)];
    assert_eq!(image[10 * 512..14 * 512], data[..4 * 512]);
    assert_eq!(image[20 * 512..60 * 512], data);
    assert_eq!(image[100 * 512..140 * 512], data);
}

#[test]
fn a_dma_read_is_one_request_into_guest_memory() {
    let mut bench = machine();
    bench.hold_requests = true;
    let mut driver = primary(&mut bench);
    driver.prds(&[(0x2_0000, 0x1000), (0x3_0000, 0), (0x5_0000, 0x8000_1000)]);
    driver.issue28(op::READ_DMA, 16, 144);
    assert!(driver.bench.pending.is_empty(), "the engine is not started yet");
    driver.start(true);
    assert_eq!(driver.bm_status() & 7, 1);
    assert_eq!(driver.bench.pending.len(), 1);
    assert_eq!(driver.status() & 0x80, 0x80);
    driver.bench.complete();
    assert!(driver.irq());
    assert_eq!(driver.bm_status() & 7, 4);
    let image = pattern(4096 * 512, 0);
    for (at, from, len) in [(0x2_0000, 16 * 512, 0x1000), (0x3_0000, 24 * 512, 0x1_0000), (0x5_0000, 152 * 512, 0x1000)]
    {
        let mut back = vec![0; len];
        bench.memory.read(at, &mut back);
        assert_eq!(back, image[from..from + len], "{at:x}");
    }
}

#[test]
fn dma_runs_in_either_order_of_command_and_start_once_pcicmd_enables_it() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.prds(&[(0x2_0000, 0x8000_0200)]);
    driver.start(true);
    driver.issue28(op::READ_DMA, 1, 1);
    assert!(driver.irq());
    driver.stop();
    driver.status();
    driver.bench.config_write(4, 2, 1);
    driver.issue28(op::READ_DMA, 2, 1);
    driver.start(true);
    assert!(!driver.irq());
    driver.bench.config_write(4, 2, 5);
    assert!(driver.irq());
    let mut back = [0; 512];
    bench.memory.read(0x2_0000, &mut back);
    assert_eq!(back, pattern(4096 * 512, 0)[1024..1536]);
}

#[test]
fn a_failed_request_returns_the_address_of_the_sector() {
    let mut bench = machine();
    bench.fail = Some(BlockError::Io(5));
    let mut driver = primary(&mut bench);
    driver.issue28(op::READ_SECTORS, 0x123, 8);
    assert_eq!((driver.status() & 9, driver.error()), (1, 0x40));
    assert_eq!([3, 4, 5].map(|n| driver.bench.inb(0x1f0 + n)), [0x23, 0x01, 0]);
    driver.prds(&[(0x2_0000, 0x8000_1000)]);
    driver.issue48(op::READ_DMA_EXT, 0x456, 8);
    driver.start(true);
    assert!(driver.irq());
    assert_eq!((driver.status() & 9, driver.error()), (1, 0x40));
    driver.stop();
    driver.issue28(op::WRITE_SECTORS, 1, 1);
    driver.bench.outs(PRIMARY, 2, &[0; 512]);
    assert_eq!(driver.status() & 0x29, 0x21, "device fault");
    driver.bench.fail = None;
    driver.issue28(op::WRITE_SECTORS, 1, 1);
    driver.bench.outs(PRIMARY, 2, &[0; 512]);
    assert_eq!(driver.status(), 0x50, "the fault does not persist");
}

#[test]
fn a_read_error_is_reported_after_the_good_sectors_before_it() {
    let mut bench = machine();
    // The image ends in the middle of the command.
    bench.disks.get_mut(&DiskId(0)).unwrap().truncate(20 * 512);
    let mut driver = primary(&mut bench);
    driver.issue28(op::READ_SECTORS, 17, 8);
    assert_eq!(driver.pio_in(512).len(), 3 * 512);
    assert_eq!(driver.status() & 1, 1);
    assert_eq!(driver.bench.inb(0x1f3), 20);
}

#[test]
fn a_stalled_request_keeps_the_drive_busy() {
    let mut bench = machine();
    bench.hold_requests = true;
    let mut driver = primary(&mut bench);
    driver.issue28(op::READ_SECTORS, 0, 1);
    driver.bench.advance(3_600_000_000_000);
    assert_eq!(driver.status() & 0x81, 0x80);
    driver.bench.complete();
    assert_eq!(driver.pio_in(512).len(), 512);
}

#[test]
fn a_read_only_disk_aborts_writes() {
    let mut bench = enabled(with_drives([Some(DriveSpec::disk(100, true, "")), None, None, None]));
    let mut driver = primary(&mut bench);
    for opcode in [
        op::WRITE_SECTORS,
        op::WRITE_SECTORS_EXT,
        op::WRITE_MULTIPLE,
        op::WRITE_MULTIPLE_EXT,
        op::WRITE_DMA,
        op::WRITE_DMA_EXT,
        op::WRITE_DMA_FUA_EXT,
        op::WRITE_MULTIPLE_FUA_EXT,
        op::WRITE_VERIFY,
    ] {
        driver.issue48(opcode, 0, 1);
        assert_eq!(driver.status() & 0x89, 1, "{opcode:x}");
        assert_eq!(driver.error() & 4, 4);
    }
    assert!(bench.log.is_empty());
}

#[test]
fn flush_commands_and_write_through_flush_the_image() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    let flushes = |bench: &Bench<Piix3Ide>| bench.log.iter().filter(|(_, op, ..)| *op == BlockOp::Flush).count();
    driver.issue28(op::FLUSH_CACHE, 0, 0);
    driver.issue28(op::FLUSH_CACHE_EXT, 0, 0);
    assert_eq!(flushes(driver.bench), 2);
    driver.issue(Command {
        opcode: op::SET_FEATURES,
        features: subcommand::DISABLE_WRITE_CACHE,
        device: 0xa0,
        ..Command::default()
    });
    assert_eq!(flushes(driver.bench), 3, "disabling the write cache flushes it");
    driver.issue28(op::WRITE_SECTORS, 1, 1);
    driver.bench.outs(PRIMARY, 2, &[0; 512]);
    assert_eq!(flushes(driver.bench), 4, "writes are followed by a flush");
    assert_eq!(driver.status(), 0x50);
}

#[test]
fn trim_discards_its_ranges_and_checks_the_block_count() {
    let mut bench = machine();
    let mut list = [0; 512];
    for (n, (lba, count)) in [(8u64, 4u64), (12, 4), (100, 1), (0, 0)].into_iter().enumerate() {
        list[8 * n..8 * n + 8].copy_from_slice(&(lba | count << 48).to_le_bytes());
    }
    bench.memory.write(0x2_0000, &list);
    let mut driver = primary(&mut bench);
    driver.prds(&[(0x2_0000, 0x8000_0200)]);
    driver.issue(Command {
        opcode: op::DATA_SET_MANAGEMENT,
        features: 1,
        count: 1,
        device: 0xe0,
        ..Command::default()
    });
    driver.start(false);
    assert_eq!(driver.status(), 0x50);
    let discards: Vec<_> = bench.log.iter().map(|(_, op, offset, _)| (*op, *offset)).collect();
    assert_eq!(discards, [(BlockOp::Discard { len: 8 * 512 }, 8 * 512), (BlockOp::Discard { len: 512 }, 100 * 512)]);
    for count in [0, 9, 0xffff] {
        let mut driver = primary(&mut bench);
        driver.issue(Command {
            opcode: op::DATA_SET_MANAGEMENT,
            features: 1,
            count,
            device: 0xe0,
            ..Command::default()
        });
        assert_eq!(driver.status() & 0x89, 1);
    }
}

#[test]
fn smart_reports_good_health_and_stores_host_logs() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    let smart = |features: u8, low: u8, count: u16| Command {
        opcode: op::SMART,
        features,
        count,
        lba: 0xc2_4f00 | u64::from(low),
        device: 0xa0,
    };
    // READ DATA, READ THRESHOLDS, and READ LOG of the log directory, the error summary and the self-test log.
    for (features, low, len) in [(0xd0, 0, 512), (0xd1, 0, 512), (0xd5, 0, 512), (0xd5, 1, 512), (0xd5, 6, 512)] {
        driver.issue(smart(features, low, 1));
        let data = driver.pio_in(512);
        assert_eq!(data.len(), len, "{features:x} {low}");
        if (features, low) != (0xd5, 0) {
            assert_eq!(data.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)), 0);
        }
    }
    // RETURN STATUS.
    driver.issue(smart(0xda, 0, 0));
    assert_eq!(driver.status(), 0x50);
    assert_eq!((driver.bench.inb(0x1f4), driver.bench.inb(0x1f5)), (0x4f, 0xc2));
    driver.issue(Command { lba: 0, ..smart(0xd0, 0, 1) });
    assert_eq!((driver.status() & 9, driver.error()), (1, 4), "without the key in LBA Mid and LBA High");
    for _ in 0..30 {
        // EXECUTE OFF-LINE IMMEDIATE: short self-test.
        driver.issue(smart(0xd4, 1, 0));
    }
    // WRITE LOG and READ LOG of a host vendor specific log.
    driver.issue(smart(0xd6, 0x80, 2));
    driver.pio_out(&[7; 1024], 512);
    driver.issue(smart(0xd5, 0x80, 2));
    assert_eq!(driver.pio_in(512), [7; 1024]);
    // DISABLE OPERATIONS.
    driver.issue(smart(0xd9, 0, 0));
    driver.issue(smart(0xd0, 0, 1));
    assert_eq!(driver.status() & 9, 1, "SMART operations are disabled");
    // ENABLE OPERATIONS.
    driver.issue(smart(0xd8, 0, 0));
    assert_eq!(driver.status(), 0x50);
}

#[test]
fn set_max_address_reduces_the_accessible_capacity() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.issue28(op::SET_MAX_ADDRESS, 999, 0);
    assert_eq!(driver.status() & 1, 1, "SET MAX ADDRESS requires READ NATIVE MAX ADDRESS before it");
    driver.issue48(op::READ_NATIVE_MAX_ADDRESS_EXT, 0, 0);
    assert_eq!([3, 4, 5].map(|n| driver.bench.inb(0x1f0 + n)), [0xff, 0x0f, 0]);
    driver.issue48(op::SET_MAX_ADDRESS_EXT, 999, 0);
    assert_eq!(driver.status(), 0x50);
    driver.issue28(op::READ_SECTORS, 1000, 1);
    assert_eq!((driver.status() & 1, driver.error()), (1, 0x10));
    assert_eq!(word(&identify(&mut bench), 60), 1000);
    let mut driver = primary(&mut bench);
    driver.issue28(op::READ_NATIVE_MAX_ADDRESS, 0, 0);
    driver.issue28(op::SET_MAX_ADDRESS, 4096, 0);
    assert_eq!(driver.status() & 1, 1, "more than the native capacity");
}

#[test]
fn hob_selects_the_previous_task_file_contents() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.issue48(op::READ_VERIFY_SECTORS_EXT, 0x0102_0304_0506, 0x0807);
    assert_eq!(driver.status() & 1, 1);
    driver.issue48(op::READ_NATIVE_MAX_ADDRESS_EXT, 0, 0);
    driver.bench.outb(0x3f6, 0x80);
    assert_eq!([3, 4, 5].map(|n| driver.bench.inb(0x1f0 + n)), [0, 0, 0]);
    driver.bench.outb(0x1f2, 1);
    assert_eq!(driver.bench.inb(0x1f3), 0xff, "a task file write clears HOB");
}

#[test]
fn other_commands_complete_and_unknown_ones_abort() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    for opcode in [
        op::RECALIBRATE,
        op::RECALIBRATE_LAST,
        op::SEEK,
        op::SEEK_LAST,
        op::STANDBY_IMMEDIATE,
        op::STANDBY_IMMEDIATE_OLD,
        op::IDLE_IMMEDIATE,
        op::IDLE_IMMEDIATE_OLD,
        op::STANDBY,
        op::STANDBY_OLD,
        op::IDLE,
        op::IDLE_OLD,
        op::SLEEP,
        op::SLEEP_OLD,
        op::SECURITY_FREEZE_LOCK,
    ] {
        driver.issue28(opcode, 0, 0);
        assert_eq!(driver.status(), 0x50, "{opcode:x}");
    }
    // The power mode that CHECK POWER MODE returns: standby, idle, active.
    for (opcode, mode) in [(op::STANDBY_IMMEDIATE, 0), (op::IDLE_IMMEDIATE, 0x80), (op::READ_VERIFY_SECTORS, 0xff)] {
        driver.issue28(opcode, 0, 1);
        driver.issue28(op::CHECK_POWER_MODE, 0, 1);
        assert_eq!(driver.bench.inb(0x1f2), mode);
    }
    driver.issue28(op::WRITE_BUFFER, 0, 0);
    driver.pio_out(&pattern(512, 3), 512);
    driver.issue28(op::READ_BUFFER, 0, 0);
    assert_eq!(driver.pio_in(512), pattern(512, 3));
    for (multiple, supported) in [(1, true), (8, true), (16, true), (3, false), (32, false), (0, true)] {
        driver.issue28(op::SET_MULTIPLE_MODE, 0, multiple);
        assert_eq!(driver.status() & 1 == 0, supported, "{multiple}");
    }
    driver.issue28(op::READ_MULTIPLE, 0, 1);
    assert_eq!(driver.status() & 1, 1, "multiple mode is disabled");
    // NOP, packet device commands, and commands that are not implemented.
    for opcode in [
        op::NOP,
        op::DEVICE_RESET,
        op::PACKET,
        op::IDENTIFY_PACKET_DEVICE,
        0x22, // READ LONG
        0x32, // WRITE LONG
        0xf1, // SECURITY SET PASSWORD
        0xf6, // SECURITY DISABLE PASSWORD
        0xff,
        0x2f, // READ LOG EXT
    ] {
        driver.issue28(opcode, 0, 1);
        assert_eq!((driver.status() & 9, driver.error()), (1, 4), "{opcode:x}");
    }
    // INITIALIZE DEVICE PARAMETERS: 8 heads, 32 sectors per track. Then cylinder 1, head 0, sector 1.
    driver.issue(Command { opcode: op::INITIALIZE_DEVICE_PARAMETERS, count: 32, device: 0xa7, ..Command::default() });
    driver.issue(Command { opcode: op::READ_SECTORS, count: 1, lba: 0x101, device: 0xa0, ..Command::default() });
    assert_eq!(driver.pio_in(512), pattern(4096 * 512, 0)[256 * 512..257 * 512]);
    driver.issue(Command { opcode: op::READ_SECTORS, count: 1, lba: 0x100, device: 0xa0, ..Command::default() });
    assert_eq!((driver.status() & 1, driver.error()), (1, 0x10), "sector numbers start at 1");
}
