use super::catalogue::{CatalogueError, ParsedRecord, Parser, RECORD};
use super::*;
use crate::State as BiosState;
use crate::boot::media::fake_drives::{self, FakeDrive};
use crate::boot::media::{DriveKind, Status};
use pcvm_firmware_rt::fake::{Fake, Nothing};
use pcvm_firmware_rt::{Handoff, Regs};

type Record = [u8; RECORD];

fn validation(platform: u8) -> Record {
    let mut record = [0; RECORD];
    record[0] = 1;
    record[1] = platform;
    record[4..10].copy_from_slice(b"TESTER");
    record[0x1e..].copy_from_slice(&[0x55, 0xaa]);
    let sum = record.chunks(2).fold(0u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
    record[0x1c..0x1e].copy_from_slice(&0u16.wrapping_sub(sum).to_le_bytes());
    record
}

fn entry(bootable: bool, media: u8, segment: u16, count: u16, lba: u32) -> Record {
    let mut record = [0; RECORD];
    record[0] = if bootable { 0x88 } else { 0 };
    record[1] = media;
    record[2..4].copy_from_slice(&segment.to_le_bytes());
    record[6..8].copy_from_slice(&count.to_le_bytes());
    record[8..12].copy_from_slice(&lba.to_le_bytes());
    record
}

fn header(last: bool, platform: u8, entries: u16) -> Record {
    let mut record = [0; RECORD];
    record[0] = if last { 0x91 } else { 0x90 };
    record[1] = platform;
    record[2..4].copy_from_slice(&entries.to_le_bytes());
    record
}

const EXTENSION: Record = {
    let mut record = [0; RECORD];
    record[0] = 0x44;
    record
};

/// Block numbers of the test discs' catalogue and image.
const CATALOGUE: usize = 20;
const IMAGE: usize = 24;

/// A CD with boot record, catalogue and image. Each 512-byte sector of the image begins with its sector number.
fn disc(catalogue: &[Record], image: &[u8]) -> Vec<u8> {
    let mut disc = vec![0; IMAGE * 2048];
    let record = &mut disc[17 * 2048..18 * 2048];
    record[..IDENTITY.len()].copy_from_slice(IDENTITY);
    record[0x47..0x4b].copy_from_slice(&(CATALOGUE as u32).to_le_bytes());
    for (n, bytes) in catalogue.iter().enumerate() {
        disc[CATALOGUE * 2048 + n * RECORD..][..RECORD].copy_from_slice(bytes);
    }
    disc.extend(image);
    disc.resize(disc.len().next_multiple_of(2048), 0);
    disc
}
const IDENTITY: &[u8] = b"\x00CD001\x01EL TORITO SPECIFICATION";

fn image(sectors: u32) -> Vec<u8> {
    let sector = |n: u32| {
        let mut sector = [0; 512];
        sector[..4].copy_from_slice(&n.to_le_bytes());
        sector[4] = 0xeb;
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    };
    (0..sectors).flat_map(sector).collect()
}

/// A hard disk image with one partition, from sector 16 to cylinder 3, head 3, sector 16.
fn hard_disk() -> Vec<u8> {
    let mut bytes = image(4 * 4 * 16);
    bytes[0x1be..0x1ce].copy_from_slice(&[0x80, 1, 1, 0, 6, 3, 16, 3, 16, 0, 0, 0, 240, 0, 0, 0]);
    bytes
}

fn with<T>(drives: &[(DriveKind, Vec<u8>)], run: impl FnOnce(&mut Bios<Fake<Nothing>>) -> T) -> T {
    fake_drives::attach(drives);
    with_machine(run)
}

fn with_machine<T>(run: impl FnOnce(&mut Bios<Fake<Nothing>>) -> T) -> T {
    let state = BiosState::new();
    let mut hw = Fake::new(Nothing);
    hw.set(bda::EQUIPMENT, 0x0001);
    hw.set(bda::DISK_COUNT, 1);
    run(&mut Bios { hw: &mut hw, state: &state, handoff: &Handoff::EMPTY })
}

fn call(bios: &mut Bios<Fake<Nothing>>, ax: u16, cx: u16, dx: u16) -> Regs {
    let mut regs = Regs { es: 0x2000, ds: 0x3000, eax: ax.into(), ecx: cx.into(), edx: dx.into(), ..Regs::default() };
    assert!(int13(bios, &mut regs), "AX={ax:04x} DX={dx:04x} was not handled");
    regs
}

#[test]
fn the_parser_finds_every_bootable_x86_entry_of_a_catalogue() {
    let lbas = |records: &[Record]| -> Result<Vec<u32>, CatalogueError> {
        let mut parser = Parser::new();
        let mut found = Vec::new();
        for record in records {
            match parser.record(record)? {
                ParsedRecord::Skip => {}
                ParsedRecord::Entry(entry) => found.push(entry.lba),
                ParsedRecord::End => break,
            }
        }
        Ok(found)
    };
    let no_x86 = [validation(0xef), entry(true, 0, 0, 1, 9)];
    let mut bad_sum = validation(0);
    bad_sum[5] ^= 1;
    let mut bad_key = validation(0);
    bad_key[0x1e] = 0;
    let mut bad_id = validation(0);
    bad_id[0] = 2;
    for (what, records, wanted) in [
        ("one entry", &[validation(0), entry(true, 0, 0, 4, 30)][..], Ok(vec![30])),
        ("not bootable", &[validation(0), entry(false, 0, 0, 4, 30)], Ok(vec![])),
        ("unknown medium", &[validation(0), entry(true, 5, 0, 4, 30)], Ok(vec![])),
        ("another platform", &no_x86, Ok(vec![])),
        (
            "BIOS first, EFI in a section",
            &[validation(0), entry(true, 0, 0, 4, 30), header(true, 0xef, 1), entry(true, 0, 0, 1, 40)],
            Ok(vec![30]),
        ),
        (
            "EFI first, BIOS in a section",
            &[validation(0xef), entry(true, 0, 0, 4, 30), header(true, 0, 1), entry(true, 2, 0, 1, 40)],
            Ok(vec![40]),
        ),
        (
            "two sections, an extension that looks like an entry",
            &[
                validation(0),
                entry(true, 0, 0, 4, 30),
                header(false, 0, 2),
                entry(true, 0x20, 0, 1, 40),
                EXTENSION,
                entry(false, 0, 0, 1, 41),
                header(true, 0, 1),
                entry(true, 4, 0, 1, 50),
                entry(true, 0, 0, 1, 60),
            ],
            Ok(vec![30, 40, 50]),
        ),
        (
            "an empty section, then a record that is not a header",
            &[validation(0), entry(true, 0, 0, 4, 30), header(false, 0, 0), entry(true, 0, 0, 4, 31)],
            Ok(vec![30]),
        ),
        ("wrong checksum", &[bad_sum], Err(CatalogueError::Checksum)),
        ("wrong key", &[bad_key], Err(CatalogueError::Validation)),
        ("wrong identifier", &[bad_id], Err(CatalogueError::Validation)),
        ("zeros", &[[0; RECORD]], Err(CatalogueError::Validation)),
    ] {
        assert_eq!(lbas(records), wanted, "{what}");
    }
}

#[test]
fn random_catalogues_neither_hang_nor_leave_a_drive_behind() {
    let mut random = 0x9e37_79b9_u32;
    let mut byte = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    };
    for _ in 0..300 {
        let mut records = vec![validation(0)];
        for _ in 0..byte() {
            let mut record: Record = std::array::from_fn(|_| byte());
            // Bias the records towards valid header and entry bytes.
            record[0] = [0x88, 0x88, 0x90, 0x91, 0x44, record[0]][usize::from(byte()) % 6];
            record[1] &= [0x00, 0x04, 0x20, 0xff][usize::from(byte()) % 4];
            records.push(record);
        }
        let disc = disc(&records[..records.len().min(4 * 64)], &image(64));
        with(&[(DriveKind::Cdrom, disc)], |bios| {
            if let Ok(found) = find(bios, 0) {
                for entry in (0..found.count()).filter_map(|n| found.entry(n)) {
                    if start(bios, 0, &entry).is_ok() {
                        for function in 0..=0xff {
                            let mut regs = Regs { es: 0x2000, eax: function << 8 | 1, ecx: 1, ..Regs::default() };
                            int13(bios, &mut regs);
                        }
                    }
                }
            }
            terminate(bios);
            assert_eq!(bios.hw.get(bda::DISK_COUNT), 1);
            assert_eq!(bios.hw.get(bda::EQUIPMENT), 1);
        });
    }
}

#[test]
fn an_unbootable_disc_is_rejected_with_its_reason() {
    let good = disc(&[validation(0), entry(true, 0, 0, 4, IMAGE as u32)], &image(4));
    let without = |n: usize| {
        let mut disc = good.clone();
        disc[n] ^= 0xff;
        disc
    };
    let bad = |what| Err(BootError::new(what));
    let not_found = |what| Err(BootError::with_status(what, Status::NOT_FOUND));
    for (disc, wanted) in [
        (vec![], Err(BootError::with_status("no disc", Status::NO_MEDIUM))),
        (good[..16 * 2048].to_vec(), not_found("cannot be read")),
        (good[..19 * 2048].to_vec(), not_found("the boot catalogue cannot be read")),
        (without(17 * 2048), bad("the disc is not bootable")),
        (without(17 * 2048 + 3), bad("the disc is not bootable")),
        (without(17 * 2048 + 29), bad("the disc is not bootable")),
        (without(17 * 2048 + 0x4a), not_found("the boot catalogue cannot be read")),
        (without(CATALOGUE * 2048 + 0x1c), bad("damaged boot catalogue (checksum)")),
        (without(CATALOGUE * 2048 + 0x1f), bad("damaged boot catalogue (validation entry)")),
        (without(CATALOGUE * 2048 + 0x20), bad("no boot image for this processor")),
        (good.clone(), Ok(1)),
    ] {
        assert_eq!(with(&[(DriveKind::Cdrom, disc)], |bios| find(bios, 0).map(|found| found.count())), wanted);
    }
}

#[test]
fn a_bad_boot_image_is_rejected_with_its_reason_and_leaves_no_drive() {
    let partitionless = image(64);
    let mut unsigned = hard_disk();
    unsigned[511] = 0;
    let empty = vec![0; 2048];
    let lba = IMAGE as u32;
    for (record, image, wanted) in [
        (entry(true, 0, 0x0050, 4, lba), image(4), BootError::new("the boot image does not fit into memory")),
        (entry(true, 0, 0x9000, 200, lba), image(4), BootError::new("the boot image does not fit into memory")),
        (entry(true, 0, 0, 0xffff, lba), image(4), BootError::new("the boot image does not fit into memory")),
        (
            entry(true, 0, 0, 8, lba),
            image(4),
            BootError::with_status("the boot image cannot be read", Status::NOT_FOUND),
        ),
        (entry(true, 0, 0, 4, u32::MAX), image(4), BootError::new("damaged boot catalogue (image address)")),
        (
            entry(true, 2, 0, 1, 5000),
            image(4),
            BootError::with_status("the boot image cannot be read", Status::NOT_FOUND),
        ),
        (entry(true, 4, 0, 1, lba), partitionless, BootError::new("the hard disk image has no partition")),
        (entry(true, 4, 0, 1, lba), unsigned, BootError::new("the boot image has no boot signature (55AAh)")),
        (entry(true, 0, 0, 4, lba), empty, BootError::new("the boot image has no code")),
    ] {
        with(&[(DriveKind::Cdrom, disc(&[validation(0), record], &image))], |bios| {
            let found = find(bios, 0).unwrap();
            assert_eq!(start(bios, 0, &found.entry(0).unwrap()), Err(wanted));
            assert_eq!(bios.state.eltorito.image.get(), None);
            assert_eq!((bios.hw.get(bda::DISK_COUNT), bios.hw.get(bda::EQUIPMENT)), (1, 1));
        });
    }
}

#[test]
fn an_image_without_emulation_is_loaded_at_its_load_segment() {
    for (segment, at) in [
        (0, FarPtr::new(0, 0x7c00)),
        (0x7c0, FarPtr::new(0, 0x7c00)),
        (0x60, FarPtr::new(0, 0x600)),
        (0x2345, FarPtr::new(0x2345, 0)),
    ] {
        // 37 CD blocks: more than one read command.
        let disc = disc(&[validation(0), entry(true, 0, segment, 145, IMAGE as u32)], &image(148));
        with(&[(DriveKind::Hard, vec![]), (DriveKind::Cdrom, disc)], |bios| {
            let found = find(bios, 1).unwrap();
            let loaded = start(bios, 1, &found.entry(0).unwrap()).unwrap();
            assert_eq!(loaded, EntryPoint { at, drive: 0xe0 });
            for n in 0..145 {
                let sector = FarPtr::new(at.segment + (at.offset >> 4) + n * 32, 0);
                assert_eq!(bios.hw.read32(sector), u32::from(n), "sector {n}");
            }
        });
    }
}

fn floppy() -> Vec<u8> {
    disc(&[validation(0), entry(true, 2, 0, 1, IMAGE as u32)], &image(2880))
}

fn start_first(bios: &mut Bios<Fake<Nothing>>, cd: u8) -> EntryPoint {
    let found = find(bios, cd).unwrap();
    start(bios, cd, &found.entry(0).unwrap()).unwrap()
}

#[test]
fn emulated_floppy_sectors_are_read_at_any_block_alignment() {
    with(&[(DriveKind::Cdrom, floppy())], |bios| {
        assert_eq!(start_first(bios, 0), EntryPoint { at: FarPtr::new(0, 0x7c00), drive: 0 });
        assert_eq!(bios.hw.read32(FarPtr::new(0, 0x7c00)), 0);
        let before = fake_drives::blocks_read();
        for (cylinder, head, sector, count) in
            [(0, 0, 1, 1), (0, 0, 2, 1), (0, 0, 3, 18), (1, 1, 17, 2), (40, 0, 5, 7), (79, 1, 18, 1), (3, 0, 1, 128)]
        {
            bios.hw.fill(FarPtr::new(0x2000, 0), 0xee, 0xffff);
            let regs = call(bios, 0x0200 | count, cylinder << 8 | sector, head << 8);
            assert_eq!((regs.cf(), regs.ah(), u16::from(regs.al())), (false, 0, count));
            let first = (u32::from(cylinder) * 2 + u32::from(head)) * 18 + u32::from(sector) - 1;
            for n in 0..count {
                assert_eq!(bios.hw.read32(FarPtr::new(0x2000 + n * 32, 0)), first + u32::from(n));
            }
            if count < 128 {
                assert_eq!(
                    bios.hw.read8(FarPtr::new(0x2000 + count * 32, 0)),
                    0xee,
                    "memory beyond the sectors is untouched"
                );
            }
        }
        // Each CD block is read once, except the first one, which was cached.
        assert_eq!(fake_drives::blocks_read() - before, 4 + 1 + 2 + 1 + 32);
    });
}

#[test]
fn a_buffer_above_1_mib_works_and_one_past_real_mode_is_refused() {
    with(&[(DriveKind::Cdrom, floppy())], |bios| {
        start_first(bios, 0);
        for (segment, offset, count, status) in [
            (0xffff, 0x0010, 9, 0),
            (0xfff0, 0x0100, 5, 0),
            (0xffff, 0xfe00, 1, 0),
            (0xffff, 0xfe01, 1, 9),
            (0xffff, 0xf000, 9, 9),
        ] {
            let at = FarPtr::new(segment, offset);
            bios.hw.memory[at.linear() as usize..].fill(0);
            bios.hw.memory[..0x1_0000].fill(0xee);
            let mut regs = Regs { es: segment, ebx: offset.into(), eax: 0x0200 | count, ecx: 3, ..Regs::default() };
            assert!(int13(bios, &mut regs));
            assert_eq!(regs.ah(), status, "{segment:04x}:{offset:04x}");
            for n in (0..count).filter(|_| status == 0) {
                assert_eq!(bios.hw.memory[(at.linear() + n * 512) as usize], 2 + n as u8);
            }
            assert!(bios.hw.memory[0x500..0x1_0000].iter().all(|&byte| byte == 0xee), "no address wraps to 0");
        }
    });
}

#[test]
fn an_emulated_floppy_drive_returns_the_statuses_of_a_real_one() {
    let read =
        |cx: u16, dx: u16, count: u16| move |bios: &mut Bios<Fake<Nothing>>| call(bios, 0x0200 | count, cx, dx).ah();
    with(&[(DriveKind::Cdrom, floppy())], |bios| {
        start_first(bios, 0);
        assert_eq!(bios.hw.get(bda::EQUIPMENT), 0x0041, "two floppies");
        for (cx, dx, count, status) in [
            (0x0001, 0, 0, Status::BAD_COMMAND),
            (0x0001, 0, 129, Status::BAD_COMMAND),
            (0x0000, 0, 1, Status::NOT_FOUND),
            (0x0013, 0, 1, Status::NOT_FOUND),
            (0x0001, 0x0200, 1, Status::NOT_FOUND),
            (0x5001, 0, 1, Status::NOT_FOUND),
            (0x4f12, 0x0100, 2, Status::NOT_FOUND),
        ] {
            assert_eq!(read(cx, dx, count)(bios), status.0, "CX={cx:04x} DX={dx:04x} {count}");
            assert_eq!(call(bios, 0x0100, 0, 0).ah(), status.0, "function 01h returns the last status");
        }
        for (ax, status) in [
            (0x0000, 0x00),
            (0x0301, 0x03),
            (0x0401, 0x00),
            (0x0500, 0x03),
            (0x0900, 0x01),
            (0x1600, 0x00),
            (0x1700, 0x01),
            (0x4100, 0x01),
            (0x4200, 0x01),
        ] {
            let regs = call(bios, ax, 0x0001, 0);
            assert_eq!((regs.ah(), regs.cf()), (status, status != 0), "AX={ax:04x}");
        }
        bios.hw.write32(FarPtr::vector(0x1e), 0xf000_efc7);
        let regs = call(bios, 0x0800, 0, 0);
        assert_eq!((regs.cx(), regs.dx(), regs.bx(), regs.ax()), (0x4f12, 0x0102, 4, 0));
        assert_eq!((regs.es, regs.di()), (0xf000, 0xefc7));
        let regs = call(bios, 0x1500, 0, 0);
        assert_eq!((regs.ah(), regs.cf()), (1, false));
        assert_eq!(call(bios, 0x1800, 0x4f12, 0).ah(), 0);
        assert_eq!(call(bios, 0x1800, 0x4f09, 0).ah(), 0x0c);
    });
}

#[test]
fn real_drives_of_the_emulated_kind_move_up_by_one() {
    with(&[(DriveKind::Cdrom, floppy())], |bios| {
        start_first(bios, 0);
        let regs = call(bios, 0x0201, 1, 1);
        assert_eq!(regs.dl(), 1, "the caller's DL is preserved");
        assert_eq!(call(bios, 0x0800, 0, 1).dl(), 2, "the emulated drive is counted");
        assert_eq!(fake_drives::forwarded(), [(0, 2), (0, 8)]);
        let mut regs = Regs { eax: 0x0201, edx: 0x80, ..Regs::default() };
        assert!(!int13(bios, &mut regs), "hard disk calls go to the real drives");
        terminate(bios);
        assert!(!int13(bios, &mut Regs { eax: 0x0201, ..Regs::default() }));
        assert_eq!(bios.hw.get(bda::EQUIPMENT), 0x0001);
    });
}

#[test]
fn an_emulated_hard_disk_has_the_geometry_of_its_partition() {
    let disc = disc(&[validation(0), entry(true, 4, 0, 1, IMAGE as u32)], &hard_disk());
    with(&[(DriveKind::Hard, vec![]), (DriveKind::Cdrom, disc)], |bios| {
        assert_eq!(start_first(bios, 1).drive, 0x80);
        assert_eq!(bios.hw.get(bda::DISK_COUNT), 2);
        let regs = call(bios, 0x0800, 0, 0x80);
        assert_eq!((regs.cx(), regs.dx(), regs.ax()), (0x0310, 0x0302, 0));
        let regs = call(bios, 0x1500, 0, 0x80);
        assert_eq!((regs.ah(), regs.cx(), regs.dx()), (3, 0, 256));
        assert_eq!(call(bios, 0x0201, 0x0310, 0x0380).ah(), 0);
        assert_eq!(bios.hw.read32(FarPtr::new(0x2000, 0)), 255);
        let mut regs = Regs { eax: 0x4100, ebx: 0x55aa, edx: 0x80, ..Regs::default() };
        assert!(int13(bios, &mut regs));
        assert_eq!((regs.cf(), regs.ah(), regs.bx(), regs.cx()), (false, 0x30, 0xaa55, 1));

        let packet = FarPtr::new(0x3000, 0);
        for (size, count, lba, high, status) in [
            (0x10, 3, 13, 0, 0x00),
            (0x0f, 3, 13, 0, 0x01),
            (0x10, 128, 0, 0, 0x01),
            (0x10, 1, 256, 0, 0x04),
            (0x10, 2, 255, 0, 0x04),
            (0x10, 1, u32::MAX, 0, 0x04),
            (0x10, 1, 0, 1, 0x04),
            (0x10, 0, 0, 0, 0x00),
        ] {
            bios.hw.write16(packet, size);
            bios.hw.write16(packet.add(2), count);
            bios.hw.write32(packet.add(4), 0x2000_0000);
            bios.hw.write32(packet.add(8), lba);
            bios.hw.write32(packet.add(12), high);
            let regs = call(bios, 0x4200, 0, 0x80);
            assert_eq!((regs.ah(), regs.cf()), (status, status != 0), "{size:x} {count} {lba} {high}");
            if count == 3 && status == 0 {
                assert_eq!([0, 32, 64].map(|at| bios.hw.read32(FarPtr::new(0x2000 + at, 0))), [13, 14, 15]);
            }
            assert_eq!(call(bios, 0x4300, 0, 0x80).ah(), 0x03);
        }
        bios.hw.write16(packet, 0x1a);
        assert_eq!(call(bios, 0x4800, 0, 0x80).ah(), 0);
        let field = |bios: &mut Bios<Fake<Nothing>>, at| bios.hw.read32(packet.add(at));
        assert_eq!([4, 8, 12, 16].map(|at| field(bios, at)), [4, 4, 16, 256]);
        bios.hw.write16(packet, 0x10);
        assert_eq!(call(bios, 0x4800, 0, 0x80).ah(), 1);
        call(bios, 0x0201, 1, 0x81);
        assert_eq!(fake_drives::forwarded(), [(0x80, 2)], "81h is forwarded to the real disk 80h");
    });
}

#[test]
fn a_read_error_sets_the_status_and_the_drive_still_works() {
    fake_drives::set(vec![FakeDrive { kind: DriveKind::Cdrom, image: floppy(), bad_from: IMAGE as u64 + 20 }]);
    with_machine(|bios| {
        start_first(bios, 0);
        let regs = call(bios, 0x0212, 0x0201, 0x0000);
        assert_eq!((regs.ah(), regs.cf()), (0x10, true));
        assert_eq!(call(bios, 0x0100, 0, 0).ah(), 0x10);
        assert_eq!(call(bios, 0x0201, 1, 0).ah(), 0, "the next read succeeds");
    });
}

#[test]
fn the_specification_packet_describes_the_booted_image() {
    let packet = FarPtr::new(0x3000, 0);
    let bytes = |bios: &mut Bios<Fake<Nothing>>| {
        let mut bytes = [0; 0x13];
        bios.hw.copy_in(packet, &mut bytes);
        bytes
    };
    with(&[(DriveKind::Hard, vec![]), (DriveKind::Cdrom, floppy())], |bios| {
        assert_eq!(call(bios, 0x4b01, 0, 0).ah(), 1, "no image was booted");
        start_first(bios, 1);
        assert_eq!(call(bios, 0x4b01, 0, 0).ah(), 0);
        assert_eq!(bytes(bios), [0x13, 2, 0, 0, IMAGE as u8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0x4f, 0x12, 1]);
        assert_eq!(call(bios, 0x4b01, 0, 0x80).ah(), 1, "another drive number");
        assert_eq!(call(bios, 0x4b02, 0, 0).ah(), 1, "an undefined AL");
        assert_eq!(call(bios, 0x4b00, 0, 0x7f).ah(), 0, "all drives");
        assert_eq!(bios.state.eltorito.image.get(), None);
        // The packet names the CD-ROM drive's channel and unit, so that emulation can be initiated again from it.
        assert_eq!(call(bios, 0x4a00, 0, 0).ah(), 0);
        assert_eq!(call(bios, 0x0201, 2, 0).ah(), 0);
        assert_eq!(bios.hw.read32(FarPtr::new(0x2000, 0)), 1);
        assert_eq!(call(bios, 0x4b00, 0, 0).ah(), 0);
        assert_eq!(call(bios, 0x4c00, 0, 0).ah(), 0);
        assert_eq!(bios.hw.entered.map(|(at, regs)| (at, regs.dl())), Some((FarPtr::new(0, 0x7c00), 0)));
        bios.hw.write8(packet.add(1), 9);
        assert_eq!(call(bios, 0x4a00, 0, 0).ah(), 1, "an undefined media type");
    });
}

#[test]
fn function_4dh_reads_the_boot_catalogue() {
    let packet = FarPtr::new(0x3000, 0);
    with(&[(DriveKind::Cdrom, floppy())], |bios| {
        bios.hw.copy_out(&[8, 1, 0, 0, 0, 0x20, 0, 0], packet);
        assert_eq!(call(bios, 0x4d00, 0, 0x7f).ah(), 0);
        let mut bytes = [0; RECORD];
        bios.hw.copy_in(FarPtr::new(0x2000, 0), &mut bytes);
        assert_eq!(bytes, validation(0));
        for (offset, value, status) in [(0, 7, 1), (1, 0, 1), (1, 32, 1), (7, 0x80, 4)] {
            bios.hw.copy_out(&[8, 1, 0, 0, 0, 0x20, 0, 0], packet);
            bios.hw.write8(packet.add(offset), value);
            assert_eq!(call(bios, 0x4d00, 0, 0x7f).ah(), status);
        }
    });
    with(&[], |bios| assert_eq!(call(bios, 0x4d00, 0, 0x7f).ah(), 1));
}
