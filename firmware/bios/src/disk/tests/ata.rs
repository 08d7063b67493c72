//! Hard disk tests by CHS.

use super::*;

fn disk(computer: &Computer<PcPorts>, disk: u8) -> &[u8] {
    &computer.hw.bus.ide.disks[&DiskId(disk)]
}

#[test]
fn probing_a_controller_without_drives_takes_under_40_accesses() {
    let mut computer = pc([None, None, None, None], [0; 4]);
    computer.bios(init);
    assert_eq!(computer.bios(|bios| drives(bios)), 0);
    assert!(computer.hw.bus.accesses < 40, "{} accesses", computer.hw.bus.accesses);
    assert_eq!(computer.hw.memory[0x475], 0);
}

#[test]
fn a_floating_bus_has_no_drives() {
    let mut computer = Computer::new(pcvm_firmware_rt::fake::Nothing).start();
    assert_eq!(computer.bios(|bios| drives(bios)), 0);
}

#[test]
fn drives_are_detected_and_numbered() {
    let mut computer = default_pc();
    assert_eq!(computer.bios(|bios| drives(bios)), 2);
    let [disk, cd] = [0, 1].map(|index| computer.bios(|bios| drive(bios, index)).unwrap());
    assert_eq!((disk.kind, disk.number, disk.channel, disk.unit), (DriveKind::Hard, 0x80, 0, 0));
    assert_eq!((disk.sectors, disk.block), (40 << 11, 512));
    assert_eq!(std::str::from_utf8(&disk.model).unwrap().trim_end(), "PCVM HARDDISK");
    assert_eq!((cd.kind, cd.number, cd.channel, cd.unit, cd.block), (DriveKind::Cdrom, 0xe0, 1, 0, 2048));
    assert_eq!(computer.bios(|bios| drive(bios, 2)), None);
    assert_eq!(computer.hw.memory[0x475], 1);
    assert!(computer.hw.bus.accesses < 1000, "{} accesses", computer.hw.bus.accesses);
}

#[test]
fn sectors_are_read_by_chs() {
    let mut computer = default_pc();
    // The geometry is 16 heads, 63 sectors; this is cylinder 3, head 2, sector 5.
    let regs = computer.int13(0x0203, 0x0305, 0x0280);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 3, false));
    let from = ((3 * 16 + 2) * 63 + 4) * 512;
    assert_eq!(computer.hw.memory[0x1_0000..][..1536], disk(&computer, 0)[from..][..1536]);
    assert_eq!(computer.hw.memory[0x1_0600], 0);
}

#[test]
fn a_read_may_cross_the_end_of_its_segment() {
    let mut computer = default_pc();
    let mut regs = Regs::default();
    regs.set_ax(0x0280);
    regs.set_cx(0x0001);
    regs.set_dx(0x0180);
    regs.es = 0x1001;
    regs.set_bx(0xff02);
    let regs = computer.call(regs);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 128, false));
    assert_eq!(computer.hw.memory[0x1_ff12..][..65536], disk(&computer, 0)[63 * 512..][..65536]);
}

#[test]
fn a_buffer_beyond_the_reach_of_real_mode_is_refused() {
    let mut computer = default_pc();
    let mut regs = Regs::default();
    regs.set_ax(0x0201);
    regs.set_cx(1);
    regs.set_dx(0x80);
    regs.es = 0xffff;
    regs.set_bx(0xfe01);
    let regs = computer.call(regs);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (9, 0, true));
}

#[test]
fn sectors_are_written_and_verified() {
    let mut computer = default_pc();
    let data = pattern(20 * 512, 77);
    computer.hw.memory[0x1_0000..][..data.len()].copy_from_slice(&data);
    let regs = computer.int13(0x0314, 0x0001, 0x0080);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 20, false));
    assert_eq!(&disk(&computer, 0)[..data.len()], data);
    let regs = computer.int13(0x0414, 0x0001, 0x0080);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 20, false));
}

#[test]
fn a_call_leaves_no_interrupt_pending_and_interrupts_enabled() {
    use pcvm_devices::IrqLine;
    let mut computer = default_pc();
    for ax in [0x0211, 0x0311, 0x0411, 0x1000, 0x0900] {
        computer.int13(ax, 1, 0x80);
        assert!(!computer.hw.bus.ide.irq(IrqLine::Isa(14)), "AX={ax:04x}");
        assert_eq!(computer.hw.bus.ide.edges.get(&IrqLine::Isa(14)), None, "AX={ax:04x}");
    }
    // IDENTIFY from another driver raises IRQ 14.
    computer.hw.bus.ide.outb(0x1f7, 0xec);
    assert!(computer.hw.bus.ide.irq(IrqLine::Isa(14)));
}

#[test]
fn failed_calls_set_the_last_status_and_function_01h_clears_it() {
    let mut computer = default_pc();
    // AX, CX, DX; AH
    for (ax, cx, dx, ah) in [
        (0x0200, 0x0001, 0x0080, 1),
        (0x0281, 0x0001, 0x0080, 1),
        (0x0201, 0x0000, 0x0080, 4),
        (0x0201, 0xffff, 0x0080, 4),
        (0x0201, 0x0001, 0xff80, 4),
        (0x0301, 0xffff, 0x0080, 4),
        (0x0600, 0x0001, 0x0080, 1),
        (0x0700, 0x0001, 0x0080, 1),
        (0x0a01, 0x0001, 0x0080, 1),
        (0x0b01, 0x0001, 0x0080, 1),
        (0x1200, 0x0001, 0x0080, 1),
        (0x1800, 0x0001, 0x0080, 1),
        (0xff00, 0x0001, 0x0080, 1),
        (0x0201, 0x0001, 0x0081, 1),
        (0x0800, 0x0001, 0x0081, 7),
        (0x0201, 0x0001, 0x00e0, 1),
    ] {
        let regs = computer.int13(ax, cx, dx);
        assert_eq!((regs.ah(), regs.cf()), (ah, true), "AX={ax:04x} CX={cx:04x} DX={dx:04x}");
        assert_eq!(computer.hw.memory[0x474], ah);
        let regs = computer.int13(0x0100, 0, 0x80);
        assert_eq!((regs.ah(), regs.al(), regs.cf()), (ah, ah, true));
        let regs = computer.int13(0x0100, 0, 0x80);
        assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 0, false));
    }
}

#[test]
fn functions_without_an_effect_succeed() {
    let mut computer = default_pc();
    for ax in [0x0000, 0x0500, 0x0900, 0x0c00, 0x0d00, 0x1000, 0x1100, 0x1400, 0x1900] {
        let regs = computer.int13(ax, 0x0101, 0x80);
        assert_eq!((regs.ah(), regs.cf()), (0, false), "AX={ax:04x}");
    }
}

#[test]
fn function_08h_and_the_parameter_table_agree() {
    let mut computer = default_pc();
    // 81920 sectors: 81 cylinders, 16 heads, 63 sectors.
    let regs = computer.int13(0x0800, 0, 0x80);
    assert_eq!((regs.cx(), regs.dx(), regs.ax(), regs.cf()), (80 << 8 | 63, 15 << 8 | 1, 0, false));
    let regs = computer.int13(0x1500, 0, 0x80);
    let sectors = 81 * 16 * 63;
    assert_eq!((regs.ah(), regs.cx(), regs.dx(), regs.cf()), (3, (sectors >> 16) as u16, sectors as u16, false));
    let regs = computer.int13(0x1500, 0x1234, 0x81);
    assert_eq!((regs.ah(), regs.cf()), (0, false));
    let vector = u32::from_le_bytes(computer.hw.memory[0x41 * 4..][..4].try_into().unwrap());
    assert_eq!(vector, 0xe6c0_003d);
    let table = &computer.hw.memory[0xe_6c3d..][..16];
    assert_eq!(table, [81, 0, 16, 0, 0, 0xff, 0xff, 0, 0xc8, 0, 0, 0, 81, 0, 63, 0]);
    assert_eq!(computer.hw.memory[0x46 * 4..][..4], [0; 4]);
}

#[test]
fn the_last_sector_is_read_and_the_one_after_it_is_not() {
    let mut computer = default_pc();
    let last = (40 << 11) - 1;
    let regs = computer.packet(0x4200, 0x80, &dap(1, 0x1000_0000, last));
    assert_eq!((regs.ah(), regs.cf()), (0, false));
    let regs = computer.packet(0x4200, 0x80, &dap(2, 0x1000_0000, last));
    assert_eq!((regs.ah(), regs.cf()), (4, true));
    assert_eq!(computer.hw.memory[0x3_0012..][..2], [0, 0], "blocks transferred");
}

#[test]
fn the_geometry_of_a_disk_of_any_size_fits_the_disk() {
    for sectors in [
        1,
        2,
        62,
        63,
        64,
        1007,
        1008,
        1009,
        1024 * 16 * 63 - 1,
        1024 * 16 * 63,
        1024 * 16 * 63 + 1,
        1024 * 128 * 63,
        1024 * 128 * 63 + 1,
        1024 * 255 * 63 - 1,
        1024 * 255 * 63,
        1 << 24,
        (1 << 28) - 1,
        1 << 28,
        (1 << 28) + 1,
        (1 << 32) - 1,
        1 << 32,
        (1 << 32) + 5,
        1 << 40,
    ] {
        let mut computer =
            pc([Some(DriveSpec::disk(sectors, false, "")), None, None, None], [64 << 10, 0, 0, 0]).start();
        assert_eq!(computer.bios(|bios| drive(bios, 0)).unwrap().sectors, sectors);
        let regs = computer.int13(0x0800, 0, 0x80);
        let (cylinders, heads, per_track) = (
            u64::from(regs.ch()) + u64::from(regs.cl() & 0xc0) * 4 + 1,
            u64::from(regs.dh()) + 1,
            u64::from(regs.cl() & 63),
        );
        let named = cylinders * heads * per_track;
        assert!(named <= sectors.max(1), "{sectors}: {cylinders}/{heads}/{per_track}");
        // Up to what INT 13h can address, less than one cylinder is lost.
        assert!(named + heads * per_track > sectors.min(1024 * 255 * 63), "{sectors}: {cylinders}/{heads}/{per_track}");
        assert_eq!(computer.int13(0x0201, 0x0001, 0x80).ah(), 0, "{sectors}");
        assert_eq!(computer.int13(0x1500, 0, 0x80).ah(), 3);
    }
}

#[test]
fn large_lbas_reach_the_drive_untruncated() {
    let sectors = (1 << 40) + 100;
    let mut computer = pc([Some(DriveSpec::disk(sectors, false, "")), None, None, None], [64 << 10, 0, 0, 0]).start();
    for lba in [100, (1 << 28) - 2, (1 << 28) - 1, 1 << 28, (1 << 32) - 1, 1 << 32, (1 << 40) + 98] {
        computer.hw.bus.ide.log.clear();
        computer.packet(0x4200, 0x80, &dap(2, 0x1000_0000, lba));
        let (disk, op, offset, _) = computer.hw.bus.ide.log[0];
        assert_eq!((disk, op, offset), (DiskId(0), BlockOp::Read, lba * 512), "LBA {lba:x}");
    }
    for lba in [sectors, sectors - 1, u64::MAX, u64::MAX - 1, 1 << 48, 1 << 63] {
        computer.hw.bus.ide.log.clear();
        let regs = computer.packet(0x4200, 0x80, &dap(2, 0x1000_0000, lba));
        assert_eq!((regs.ah(), regs.cf()), (4, true));
        assert!(computer.hw.bus.ide.log.is_empty());
    }
}

#[test]
fn set_hard_disk_order_renumbers_the_hard_disks() {
    let drives = [2000, 4000, 6000, 8000].map(|sectors| Some(DriveSpec::disk(sectors, false, "")));
    let mut computer = pc(drives, [2000 * 512, 4000 * 512, 6000 * 512, 8000 * 512]).start();
    let order =
        |computer: &mut Computer<PcPorts>| [0, 1, 2, 3].map(|n| computer.bios(|bios| drive(bios, n)).unwrap().number);
    assert_eq!(order(&mut computer), [0x80, 0x81, 0x82, 0x83]);
    computer.bios(|bios| set_hard_disk_order(bios, &[2, 9, 2, 0]));
    assert_eq!(order(&mut computer), [0x81, 0x82, 0x80, 0x83]);
    assert_eq!(computer.bios(|bios| index_of(bios, 0x80)), Some(2));
    computer.int13(0x0201, 0x0001, 0x80);
    assert_eq!(computer.hw.memory[0x1_0000..][..512], disk(&computer, 2)[..512]);
    // The parameter tables are those of the new order.
    assert_eq!(computer.hw.memory[0xe_6c3d], (6000u32 / 1008) as u8);
    assert_eq!(computer.hw.memory[0xe_6c4d], (2000u32 / 1008) as u8);
}

#[test]
fn cmos_selects_the_translation() {
    // Translation bits of CMOS 39h; INT 13h's cylinders and heads for a disk of 2 GiB (4161 cylinders).
    for (bits, cylinders, heads) in [(0, 1024, 16), (1, 520, 128), (2, 520, 128), (3, 554, 120)] {
        let sectors = 4161 * 16 * 63;
        let mut computer = pc([Some(DriveSpec::disk(sectors, false, "")), None, None, None], [64 << 10, 0, 0, 0]);
        computer.hw.bus.cmos[0x12] = 0xf0;
        computer.hw.bus.cmos[0x39] = bits;
        let mut computer = computer.start();
        let regs = computer.int13(0x0800, 0, 0x80);
        let found = (u16::from(regs.ch()) + u16::from(regs.cl() & 0xc0) * 4 + 1, u16::from(regs.dh()) + 1);
        assert_eq!(found, (cylinders, heads), "translation {bits}");
        let table = &computer.hw.memory[0xe_6c3d..][..16];
        if bits != 0 {
            assert_eq!(table[3], 0xa0);
            assert_eq!(table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
            assert_eq!(table[9..12], [4161u16.to_le_bytes()[0], 4161u16.to_le_bytes()[1], 16]);
        }
    }
}

#[test]
fn the_partition_table_determines_the_geometry() {
    // A disk of 1 GiB that was partitioned with 255 heads, as a larger one would be.
    let mut computer = pc([Some(DriveSpec::disk(1 << 21, false, "")), None, None, None], [64 << 10, 0, 0, 0]);
    let image = computer.hw.bus.ide.disks.get_mut(&DiskId(0)).unwrap();
    let sectors = 100 * 255 * 63 - 63u32;
    image[0x1be..0x1fe].fill(0);
    image[0x1be..0x1ca].copy_from_slice(&[0x80, 1, 1, 0, 6, 254, 63, 99, 63, 0, 0, 0]);
    image[0x1ca..0x1ce].copy_from_slice(&sectors.to_le_bytes());
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    // CMOS names another translation: LBA assist, 64 heads.
    computer.hw.bus.cmos[0x12] = 0xf0;
    computer.hw.bus.cmos[0x39] = 1;
    let mut computer = computer.start();
    let regs = computer.int13(0x0800, 0, 0x80);
    assert_eq!((regs.dh(), regs.cl() & 63), (254, 63));
    // Without a partition table such a disk has 64 heads.
    computer.hw.bus.ide.disks.get_mut(&DiskId(0)).unwrap()[0x1fe] = 0;
    computer.state = BiosState::new();
    let mut computer = computer.start();
    assert_eq!(computer.int13(0x0800, 0, 0x80).dh(), 63);
}

#[test]
fn a_read_only_disk_is_write_protected() {
    let mut computer = pc([Some(DriveSpec::disk(4000, true, "")), None, None, None], [4000 * 512, 0, 0, 0]).start();
    let regs = computer.int13(0x0311, 0x0001, 0x80);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (3, 0, true));
    let regs = computer.int13(0x0211, 0x0001, 0x80);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 0x11, false));
}

#[test]
fn a_bad_sector_is_reported_and_the_next_call_works() {
    // The image ends in the middle of the disk.
    let mut computer = pc([Some(DriveSpec::disk(4000, false, "")), None, None, None], [64 * 512, 0, 0, 0]).start();
    let regs = computer.packet(0x4200, 0x80, &dap(100, 0x1000_0000, 0));
    assert!(regs.cf());
    assert_eq!(regs.ah(), 4);
    let done = u16::from_le_bytes([computer.hw.memory[0x3_0012], computer.hw.memory[0x3_0013]]);
    assert!(done <= 64, "{done}");
    computer.hw.bus.ide.fail = Some(pcvm_devices::BlockError::Io(5));
    let regs = computer.int13(0x0201, 0x0001, 0x80);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0x10, 0, true));
    assert_eq!(computer.hw.memory[0x48d], 0x40, "the error register is stored in the BIOS data area");
    let regs = computer.int13(0x0301, 0x0001, 0x80);
    assert_eq!((regs.ah(), regs.cf()), (0xcc, true));
    computer.hw.bus.ide.fail = None;
    let regs = computer.int13(0x0201, 0x0001, 0x80);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 1, false));
}

#[test]
fn a_drive_with_multiple_mode_disabled_still_reads() {
    let mut computer = default_pc();
    computer.hw.bus.ide.outb(0x1f6, 0xa0);
    computer.hw.bus.ide.outb(0x1f2, 0);
    computer.hw.bus.ide.outb(0x1f7, 0xc6);
    let regs = computer.int13(0x0220, 0x0001, 0x80);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 0x20, false));
    assert_eq!(computer.hw.memory[0x1_0000..][..0x4000], disk(&computer, 0)[..0x4000]);
    // A reset enables MULTIPLE mode again.
    computer.int13(0x0000, 0, 0x80);
    computer.hw.bus.accesses = 0;
    computer.int13(0x0210, 0x0001, 0x80);
    assert!(computer.hw.bus.accesses < 16 * 128 + 16, "{} accesses", computer.hw.bus.accesses);
}

#[test]
fn a_drive_in_the_middle_of_a_transfer_is_reset() {
    let mut computer = default_pc();
    computer.hw.bus.ide.outb(0x1f2, 2);
    computer.hw.bus.ide.outb(0x1f7, 0x20);
    let regs = computer.int13(0x0201, 0x0001, 0x80);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 1, false));
    assert_eq!(computer.hw.memory[0x1_0000..][..512], disk(&computer, 0)[..512]);
}

#[test]
fn random_register_values_cause_neither_panic_nor_hang() {
    use pcvm_devices::testing::Rng;
    let mut computer = default_pc();
    let mut rng = Rng(7);
    for n in 0..1000 {
        let mut regs = Regs::default();
        for (at, set) in [Regs::set_ax, Regs::set_bx, Regs::set_cx, Regs::set_si, Regs::set_di].iter().enumerate() {
            set(&mut regs, (rng.next_u64() >> at) as u16);
        }
        regs.set_ah(rng.below(0x50) as u8);
        let drives = [0x00, 0x01, 0x80, 0x81, 0xe0, 0xe1, 0x7f, rng.next_u64() as u8];
        regs.set_dl(drives[rng.below(8) as usize]);
        regs.set_dh(rng.below(20) as u8);
        // ES and DS stay clear of the vectors and data areas: a caller that overwrites those breaks the BIOS.
        regs.es = 0x1000 + rng.below(0x6000) as u16;
        regs.ds = 0x1000 + rng.below(0x6000) as u16;
        // Small counts: large ones only repeat the same accesses.
        let at = FarPtr::new(regs.ds, regs.si());
        computer.hw.write16(at, [0x10, 0x18, 0, 0x42, 0x4a][rng.below(5) as usize]);
        computer.hw.write16(at.add(2), rng.below(6) as u16);
        computer.hw.write16(at.add(10), rng.below(2) as u16);
        if rng.below(8) > 0 {
            computer.hw.write32(at.add(12), 0);
        }
        let given = regs;
        let after = computer.call(regs);
        assert_eq!((after.esp, after.ss, after.ebp), (given.esp, given.ss, given.ebp), "{n}: {given:?}");
    }
}
