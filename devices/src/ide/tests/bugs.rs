//! Regression tests for vulnerabilities and bugs of other IDE implementations.

use super::*;
use crate::{BlockOp, Device};
use proptest::prelude::*;

fn disk_cd_and_empty_cd() -> Bench<Piix3Ide> {
    enabled(with_drives([
        Some(DriveSpec::disk(2048, false, "")),
        None,
        Some(DriveSpec::cdrom(Some(crate::Disc::single(1024 * 2048)), "")),
        Some(DriveSpec::cdrom(None, "")),
    ]))
}

/// CVE-2015-5154, CVE-2014-2894, CVE-2015-6855: every command on a disk, a CD, an empty CD drive and an absent drive,
/// with more PIO data than it transfers, in both directions.
#[test]
fn every_opcode_on_every_kind_of_drive_survives_overlong_pio() {
    let mut bench = disk_cd_and_empty_cd();
    for opcode in 0..=0xff {
        for features in [0, 1, 0xd0, 0xd4, 0xd6] {
            for (base, device) in [(PRIMARY, 0xe0), (PRIMARY, 0xf0), (SECONDARY, 0xe0), (SECONDARY, 0xf0)] {
                let mut driver = Driver { bench: &mut bench, base };
                driver.issue(Command { opcode, features, count: 1, lba: 0xc2_4f01, device });
                driver.bench.outs(base, 2, &[0xff; 2000]);
                driver.bench.ins(base, 2, &mut [0; 2000]);
                driver.bench.outs(base, 4, &[0; 70_000]);
                driver.bench.ins(base, 4, &mut [0; 70_000]);
                bench.outb(base + 0x206, 4);
                bench.outb(base + 0x206, 0);
                assert_eq!(bench.inb(base + 7) & 0x88, 0, "a reset ends {opcode:x}");
            }
        }
    }
}

/// CVE-2015-5154: every packet opcode with overlong PIO.
#[test]
fn every_packet_survives_overlong_pio() {
    for disc in [Some(1024 * 2048), None] {
        let mut bench =
            enabled(with_drives([None, None, Some(DriveSpec::cdrom(disc.map(crate::Disc::single), "")), None]));
        let mut driver = ready_cdrom(&mut bench);
        for opcode in 0..=0xff {
            for fill in [0, 0x01, 0xff] {
                let mut cdb = [fill; 12];
                cdb[0] = opcode;
                driver.packet(&cdb, 0, false);
                for _ in 0..4 {
                    driver.bench.outs(SECONDARY, 2, &[0xff; 4000]);
                    driver.bench.ins(SECONDARY, 2, &mut [0; 70_000]);
                }
                driver.bench.outb(0x177, op::DEVICE_RESET);
                assert_eq!(driver.status() & 0x88, 0);
            }
        }
    }
}

/// CVE-2023-5088: a reset while a write is in flight never redirects it to another sector, and the drive stays busy.
#[test]
fn a_reset_during_a_write_never_writes_sector_zero() {
    for (opcode, dma) in [(op::WRITE_DMA_EXT, true), (op::WRITE_SECTORS_EXT, false)] {
        for device_reset in [false, true] {
            let mut bench = machine();
            let zero = bench.disks[&DiskId(0)][..512].to_vec();
            bench.hold_requests = true;
            let mut driver = primary(&mut bench);
            driver.bench.memory.write(0x2_0000, &[0xee; 4096]);
            driver.prds(&[(0x2_0000, 0x8000_1000)]);
            driver.issue48(opcode, 1234, if dma { 8 } else { 1 });
            if dma {
                driver.start(false);
            } else {
                driver.bench.outs(PRIMARY, 2, &[0xee; 512]);
            }
            assert_eq!(driver.bench.pending.len(), 1);
            if device_reset {
                driver.bench.call(Device::reset);
                enable_again(driver.bench);
            } else {
                driver.bench.outb(0x3f6, 4);
                driver.bench.outb(0x3f6, 0);
            }
            assert_eq!(driver.status() & 0x88, 0x80, "busy until the write completes");
            driver.bench.outb(0x1f7, op::IDENTIFY_DEVICE);
            let edges = driver.edges();
            driver.bench.complete();
            assert_eq!(driver.edges(), edges, "the command was aborted");
            assert_eq!(driver.status(), 0x50);
            assert_eq!([2, 3, 4, 5].map(|n| driver.bench.inb(0x1f0 + n)), [1, 1, 0, 0]);
            assert_eq!(bench.log.len(), 1);
            assert_eq!((bench.log[0].1, bench.log[0].2), (BlockOp::Write, 1234 * 512));
            assert_eq!(bench.disks[&DiskId(0)][..512], zero[..]);
            assert_eq!(bench.disks[&DiskId(0)][1234 * 512..1235 * 512], [0xee; 512]);
        }
    }
}

fn enable_again(bench: &mut Bench<Piix3Ide>) {
    bench.config_write(0x20, 4, BM.into());
    bench.config_write(0x04, 2, 5);
}

/// A completion for a request from before a reset, or with an unknown tag, has no effect.
#[test]
fn stale_completions_are_ignored() {
    let mut bench = machine();
    bench.hold_requests = true;
    primary(&mut bench).issue28(op::READ_SECTORS, 3, 1);
    let tag = bench.pending[0].tag;
    for wrong in [tag.wrapping_sub(2), tag + 2, tag ^ 1, u64::MAX] {
        let done = crate::BlockDone {
            disk: DiskId(0),
            tag: wrong,
            data: crate::BlockData::Buffer(vec![0; 512]),
            result: Ok(()),
        };
        bench.call(|device, cx| Device::wake(device, cx, crate::Wake::Block(done)));
        assert_eq!(bench.inb(0x3f6) & 0x80, 0x80);
    }
    bench.complete();
    assert_eq!(primary(&mut bench).pio_in(512), pattern(4096 * 512, 0)[3 * 512..4 * 512]);
}

/// CVE-2014-9718, CVE-2019-20175: descriptor tables that are too short, shorter than a sector, endless, or not in RAM.
#[test]
fn malformed_descriptor_tables_terminate() {
    // Too short: the covered part is transferred, without an interrupt, and the drive waits.
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.prds(&[(0x2_0000, 0x8000_0400)]);
    driver.issue28(op::READ_DMA, 0, 8);
    driver.start(true);
    assert!(!driver.irq());
    assert_eq!(driver.bm_status() & 7, 0);
    assert_eq!(driver.status(), 0x58);
    driver.stop();
    // Another start continues the transfer.
    driver.prds(&[(0x3_0000, 0x8000_0c00)]);
    driver.start(true);
    assert!(driver.irq());
    let mut back = [0; 0xc00];
    driver.bench.memory.read(0x3_0000, &mut back);
    assert_eq!(back, pattern(4096 * 512, 0)[1024..4096]);
    driver.stop();
    driver.status();
    // Less than a sector.
    driver.prds(&[(0x2_0000, 0x8000_0100)]);
    driver.issue28(op::READ_DMA, 0, 1);
    driver.start(true);
    assert_eq!((driver.irq(), driver.bm_status() & 7), (false, 0));
    driver.bench.outb(0x3f6, 4);
    driver.bench.outb(0x3f6, 0);
    driver.stop();
    assert_eq!(driver.status(), 0x50);
    // Longer than the transfer: the engine stays active until it is stopped.
    driver.prds(&[(0x2_0000, 0x8000_2000)]);
    driver.issue28(op::READ_DMA, 0, 1);
    driver.start(true);
    assert_eq!((driver.irq(), driver.bm_status() & 7), (true, 5));
    driver.stop();
    driver.status();
    assert_eq!(driver.bm_status() & 1, 0);
    // No end of table: entries of two bytes without the last one.
    let endless: Vec<u8> = [0x0002_0000u32.to_le_bytes(), 2u32.to_le_bytes()].concat().repeat(0x1_0000);
    driver.bench.memory.write(0x10_0000, &endless);
    let bm = driver.bm();
    driver.bench.outl(bm + 4, 0x10_0000);
    driver.issue48(op::READ_DMA_EXT, 0, 4000);
    driver.start(true);
    assert_eq!((driver.irq(), driver.bm_status() & 7), (false, 0), "at most 8192 descriptors are fetched");
    driver.bench.outb(0x3f6, 4);
    driver.bench.outb(0x3f6, 0);
    driver.stop();
    // A table outside RAM reads as all ones.
    driver.bench.outl(bm + 4, 0xfff0_0000);
    driver.issue28(op::WRITE_DMA, 0, 1);
    driver.start(false);
}

/// CVE-2021-3750 and similar: transfers to ROM, to unmapped addresses, and across the end of the address space.
#[test]
fn transfers_outside_ram_are_harmless() {
    for target in [0xa_0000, 0xf_0000, 0xfee0_0000, 0xffff_fffe, 0x001f_ff00] {
        let mut bench = machine();
        let mut driver = primary(&mut bench);
        for (opcode, to_memory) in [(op::READ_DMA, true), (op::WRITE_DMA, false)] {
            driver.prds(&[(target, 0x8000_1000)]);
            driver.issue28(opcode, 0, 8);
            driver.start(to_memory);
            assert!(driver.irq());
            driver.stop();
            driver.status();
        }
    }
}

/// XSA-197: a descriptor is fetched once; a transfer that overwrites its own table uses the fetched entries.
#[test]
fn a_transfer_over_its_own_table_uses_the_fetched_descriptors() {
    let mut bench = machine();
    let mut driver = primary(&mut bench);
    driver.prds(&[(PRD_TABLE, 0x200), (0x2_0000, 0x8000_0200)]);
    driver.issue28(op::READ_DMA, 1, 2);
    driver.start(true);
    assert!(driver.irq());
    let mut back = [0; 512];
    bench.memory.read(0x2_0000, &mut back);
    assert_eq!(back, pattern(4096 * 512, 0)[1024..1536]);
}

/// After a stop during a transfer, BMIDEA stays set until the request on guest memory completes.
#[test]
fn a_stop_waits_for_the_request_in_flight() {
    let mut bench = machine();
    bench.hold_requests = true;
    let mut driver = primary(&mut bench);
    driver.prds(&[(0x2_0000, 0x8000_0200)]);
    driver.issue28(op::READ_DMA, 1, 1);
    driver.start(true);
    driver.stop();
    assert_eq!(driver.bm_status() & 1, 1);
    let bm = driver.bm();
    driver.bench.outb(bm, 9);
    assert_eq!(driver.bench.pending.len(), 1, "the engine is not restarted before");
    driver.bench.complete();
    assert_eq!(driver.bm_status() & 1, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// CVE-2020-29443: for random packets and descriptor tables, commands terminate or wait, and no request reaches
    /// past the disc.
    #[test]
    fn random_packets_and_tables_make_no_request_outside_the_disc(
        cdbs in prop::collection::vec(any::<[u8; 12]>(), 1..20),
        entries in prop::collection::vec((any::<u32>(), any::<u32>()), 1..20),
        limit: u16,
        dma: bool,
    ) {
        const OPCODES: [u8; 6] = [
            opcode::READ_10,
            opcode::READ_12,
            opcode::READ_CD,
            opcode::READ_CD_MSF,
            opcode::READ_TOC,
            opcode::MODE_SELECT_10,
        ];
        let mut bench = machine();
        let mut driver = ready_cdrom(&mut bench);
        for (n, cdb) in cdbs.iter().enumerate() {
            let mut cdb = *cdb;
            if n % 2 == 0 {
                cdb[0] = OPCODES[n / 2 % OPCODES.len()];
                cdb[2] = 0;
                cdb[3] = 0;
            }
            driver.prds(&entries);
            driver.packet(&cdb, limit, dma);
            driver.start(true);
            for _ in 0..4 {
                driver.bench.ins(SECONDARY, 2, &mut [0; 70_000]);
            }
            driver.stop();
            driver.bench.outb(0x177, op::DEVICE_RESET);
            prop_assert_eq!(driver.status() & 0x88, 0);
        }
        for (_, _, offset, len) in &bench.log {
            prop_assert!(offset + len <= 1024 * 2048);
        }
    }
}

/// Sets every field named `name` in a saved state to `to`.
fn damaged(state: &[u8], name: &str, to: &ciborium::Value) -> Vec<u8> {
    fn walk(value: &mut ciborium::Value, name: &str, to: &ciborium::Value) {
        match value {
            ciborium::Value::Map(fields) => {
                for (key, field) in fields {
                    if key.as_text() == Some(name) { field.clone_from(to) } else { walk(field, name, to) }
                }
            }
            ciborium::Value::Array(items) => items.iter_mut().for_each(|item| walk(item, name, to)),
            _ => {}
        }
    }
    let mut value: ciborium::Value = ciborium::from_reader(state).unwrap();
    walk(&mut value, name, to);
    let mut bytes = Vec::new();
    ciborium::into_writer(&value, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_damaged_data_phase_length_leaves_a_valid_state() {
    use crate::DynDevice;
    let mut bench = machine();
    primary(&mut bench).issue28(op::WRITE_BUFFER, 0, 0);
    let state = damaged(&bench.device.save_cbor(), "len", &ciborium::Value::Integer(600.into()));
    bench.device.load_cbor(&state).unwrap();
    bench.outs(0x1f0, 2, &[7; 600]);
    let saved = bench.device.save_cbor();
    bench.device.load_cbor(&saved).unwrap();
    assert_eq!(bench.inb(0x1f7), 0x50);
}

#[test]
fn a_damaged_read_without_sector_parts_is_rejected() {
    use crate::DynDevice;
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    driver.packet(&[opcode::READ_CD, 0, 0, 0, 0, 0, 0, 0, 40, 0xf8, 0, 0], 0xfffe, false);
    let saved = bench.device.save_cbor();
    assert!(bench.device.load_cbor(&saved).is_ok());
    let mut state = saved;
    for part in ["sync", "header", "subheader", "user", "correction"] {
        state = damaged(&state, part, &ciborium::Value::Bool(false));
    }
    assert!(bench.device.load_cbor(&state).is_err(), "the read would never send data");
}
