//! CD-ROM drive tests.

use super::*;
use pcvm_devices::{Device, Wake};

fn cd(computer: &Computer<PcPorts>) -> &[u8] {
    &computer.hw.bus.ide.disks[&DiskId(2)]
}

fn insert(computer: &mut Computer<PcPorts>, size: Option<u64>) {
    let ide = &mut computer.hw.bus.ide;
    ide.call(|device, cx| device.wake(cx, Wake::Medium(DiskId(2), size.map(pcvm_devices::Medium::iso))));
}

#[test]
fn cd_ready_reads_the_size_of_the_disc() {
    let mut computer = default_pc();
    assert_eq!(computer.bios(|bios| cd_ready(bios, 1)), Ok(()));
    let drive = computer.bios(|bios| drive(bios, 1)).unwrap();
    assert_eq!((drive.sectors, drive.block), (1024, 2048));
    assert_eq!(computer.bios(|bios| cd_ready(bios, 0)), Err(Status::BAD_COMMAND), "a hard disk is not a CD-ROM drive");
    assert_eq!(computer.bios(|bios| cd_ready(bios, 7)), Err(Status::NO_PARAMETERS));
}

#[test]
fn an_empty_drive_returns_no_medium() {
    let mut computer = pc([None, None, Some(DriveSpec::cdrom(None, "")), None], [0; 4]).start();
    let result = computer.bios(|bios| cd_ready(bios, 0));
    assert_eq!(result, Err(Status::NO_MEDIUM));
    assert_eq!(result.unwrap_err().text(), "no medium");
    let regs = computer.packet(0x4200, 0xe0, &dap(1, 0x1000_0000, 0));
    assert_eq!((regs.ah(), regs.cf()), (0x31, true));
}

#[test]
fn blocks_are_read_by_lba() {
    let mut computer = default_pc();
    let to = FarPtr::new(0x1000, 0xfff0);
    assert_eq!(computer.bios(|bios| read(bios, 1, 16, 40, to)), Ok(()), "in spite of a unit attention");
    assert_eq!(computer.hw.memory[0x1_fff0..][..40 * 2048], cd(&computer)[16 * 2048..][..40 * 2048]);
    let regs = computer.packet(0x4200, 0xe0, &dap(3, 0x2000_0000, 1021));
    assert_eq!((regs.ah(), regs.cf()), (0, false));
    assert_eq!(computer.hw.memory[0x2_0000..][..3 * 2048], cd(&computer)[1021 * 2048..]);
}

#[test]
fn blocks_that_do_not_exist_are_not_found() {
    let mut computer = default_pc();
    for (lba, count) in [(1024, 1), (1023, 2), (u64::MAX, 1), (1 << 32, 1)] {
        let regs = computer.packet(0x4200, 0xe0, &dap(count, 0x1000_0000, lba));
        assert_eq!((regs.ah(), regs.cf()), (4, true), "{lba:x}");
        assert_eq!(computer.hw.memory[0x3_0012..][..2], [0, 0]);
    }
}

#[test]
fn reading_past_a_truncated_image_fails_without_a_hang() {
    let mut computer = default_pc();
    computer.hw.bus.ide.disks.get_mut(&DiskId(2)).unwrap().truncate(20 * 2048);
    let result = computer.bios(|bios| read(bios, 1, 16, 8, FarPtr::new(0x1000, 0)));
    assert!(result.is_err());
    assert_eq!(computer.bios(|bios| read(bios, 1, 16, 4, FarPtr::new(0x1000, 0))), Ok(()));
}

#[test]
fn writing_to_a_cd_is_refused() {
    let mut computer = default_pc();
    let regs = computer.packet(0x4300, 0xe0, &dap(1, 0x1000_0000, 16));
    assert_eq!((regs.ah(), regs.cf()), (3, true));
    assert_eq!(computer.int13(0x0201, 0x0001, 0xe0).ah(), 1);
}

#[test]
fn function_49h_reports_a_disc_change_once() {
    let mut computer = default_pc();
    computer.bios(|bios| cd_ready(bios, 1)).unwrap();
    assert_eq!(computer.int13(0x4900, 0, 0xe0).ah(), 6, "the disc at power-on counts as a change");
    assert_eq!(computer.int13(0x4900, 0, 0xe0).ah(), 0);
    insert(&mut computer, None);
    insert(&mut computer, Some(20 * 2048));
    let regs = computer.int13(0x4900, 0, 0xe0);
    assert_eq!((regs.ah(), regs.cf()), (6, true));
    let regs = computer.int13(0x4900, 0, 0xe0);
    assert_eq!((regs.ah(), regs.cf()), (0, false));
    computer.bios(|bios| cd_ready(bios, 1)).unwrap();
    assert_eq!(computer.bios(|bios| drive(bios, 1)).unwrap().sectors, 20);
}

#[test]
fn locks_are_counted_and_a_locked_tray_is_not_ejected() {
    let mut computer = default_pc();
    let steps = [
        // AX, AH, AL, locked
        (0x4502, 0x00, 0, false),
        (0x4501, 0xb0, 1, false),
        (0x4500, 0x00, 1, true),
        (0x4500, 0x00, 1, true),
        (0x4600, 0xb1, 0, true),
        (0x4501, 0x00, 1, true),
        (0x4502, 0x00, 1, true),
        (0x4501, 0x00, 0, false),
        (0x4503, 0x01, 3, false),
        (0x4601, 0x01, 1, false),
    ];
    for (n, (ax, ah, al, locked)) in steps.into_iter().enumerate() {
        let regs = computer.int13(ax, 0, 0xe0);
        assert_eq!((regs.ah(), regs.al(), regs.cf()), (ah, al, ah != 0), "step {n}");
        assert_eq!(computer.hw.bus.ide.device.tray(DiskId(2)).unwrap().locked, locked, "step {n}");
    }
    assert!(!computer.hw.bus.ide.device.tray(DiskId(2)).unwrap().open);
    assert_eq!(computer.int13(0x4600, 0, 0xe0).ah(), 0);
    assert_eq!(computer.hw.called, [0x15]);
    assert!(computer.hw.bus.ide.device.tray(DiskId(2)).unwrap().open);
}

#[test]
fn an_int_15h_hook_can_forbid_the_eject() {
    let mut computer = default_pc();
    computer.hw.on_interrupt = Some(Box::new(|_, number, regs| {
        assert_eq!((number, regs.ah(), regs.dl()), (0x15, 0x52, 0xe0));
        regs.set_ah(0xb1);
        regs.set_cf(true);
    }));
    let regs = computer.int13(0x4600, 0, 0xe0);
    assert_eq!((regs.ah(), regs.cf()), (0xb1, true));
    assert!(!computer.hw.bus.ide.device.tray(DiskId(2)).unwrap().open);
}

#[test]
fn a_cd_rom_drive_is_detected_at_any_channel_and_unit() {
    let disk = || DriveSpec::disk(4 << 11, false, "DISK");
    let disc = || DriveSpec::cdrom(Some(pcvm_devices::Disc::single(2 << 20)), "CD");
    for (drives, cds) in [
        ([Some(disk()), Some(disc()), Some(disc()), Some(disc())], 3),
        ([Some(disc()), Some(disk()), Some(disk()), Some(disc())], 2),
        ([None, Some(disc()), None, Some(disk())], 1),
        ([Some(disc()), Some(disc()), None, None], 2),
    ] {
        let expected: Vec<_> = drives.iter().flatten().map(|spec| matches!(spec, DriveSpec::Cdrom { .. })).collect();
        let mut computer = pc(drives, [4 << 20; 4]).start();
        let found: Vec<_> = computer.bios(|bios| {
            (0..super::drives(bios)).map(|index| drive(bios, index).unwrap().kind == DriveKind::Cdrom).collect()
        });
        assert_eq!(found, expected);
        assert_eq!(found.iter().filter(|cd| **cd).count(), cds);
    }
}
