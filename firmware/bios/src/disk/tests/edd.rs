//! Tests of INT 13h functions 41h to 4Eh.

use super::*;

#[test]
fn the_installation_check_returns_version_and_subsets() {
    let mut computer = default_pc();
    for (dl, cx) in [(0x80, 5), (0xe0, 7)] {
        let mut regs = Regs::default();
        regs.set_ax(0x4100);
        regs.set_bx(0x55aa);
        regs.set_dl(dl);
        let regs = computer.call(regs);
        assert_eq!((regs.bx(), regs.ah(), regs.cx(), regs.cf()), (0xaa55, 0x30, cx, false));
    }
    assert_eq!(computer.int13(0x4100, 0, 0x80).ah(), 1, "BX is not 55AAh");
    assert_eq!(computer.int13(0x4100, 0, 0x81).ah(), 1);
}

#[test]
fn extended_read_write_and_verify_transfer_blocks() {
    let mut computer = default_pc();
    let image = image();
    let regs = computer.packet(0x4200, 0x80, &dap(127, 0x1000_fff0, 1000));
    assert_eq!((regs.ah(), regs.cf()), (0, false));
    assert_eq!(computer.hw.memory[0x1_fff0..][..127 * 512], image[1000 * 512..][..127 * 512]);
    // More than the specification's limit of 127, in several commands.
    let regs = computer.packet(0x4200, 0x80, &dap(600, 0x4000_0000, 3));
    assert_eq!((regs.ah(), regs.cf()), (0, false));
    assert_eq!(computer.hw.memory[0x4_0000..][..600 * 512], image[3 * 512..][..600 * 512]);

    for (al, ah) in [(0, 0), (1, 0), (2, 0), (3, 1)] {
        let regs = computer.packet(0x4300 | al, 0x80, &dap(2, 0x1000_fff0, 5000 + u64::from(al)));
        assert_eq!(regs.ah(), ah, "AL={al}");
    }
    assert_eq!(computer.hw.bus.ide.disks[&DiskId(0)][5002 * 512..][..1024], image[1000 * 512..][..1024]);
    assert_eq!(computer.packet(0x4400, 0x80, &dap(300, 0, 7)).ah(), 0);
    assert_eq!(computer.packet(0x4400, 0x80, &dap(2, 0, (40 << 11) - 1)).ah(), 4);
    assert_eq!(computer.packet(0x4700, 0x80, &dap(1, 0, (40 << 11) - 1)).ah(), 0);
    assert_eq!(computer.packet(0x4700, 0x80, &dap(1, 0, 40 << 11)).ah(), 4);
}

#[test]
fn malformed_packets_are_refused() {
    let mut computer = default_pc();
    let short = [[0x0f, 0].as_slice(), &dap(1, 0x1000_0000, 0)[2..]].concat();
    assert_eq!(computer.packet(0x4200, 0x80, &short).ah(), 1);
    let regs = computer.packet(0x4200, 0x80, &dap(0, 0x1000_0000, 0));
    assert_eq!((regs.ah(), regs.cf()), (0, false), "a count of 0 succeeds");
    let regs = computer.packet(0x4200, 0x80, &dap(0xffff, 0x1000_0000, 0));
    assert_eq!((regs.ah(), regs.cf()), (9, true), "the buffer is too large");
    assert_eq!(computer.hw.memory[0x3_0012..][..2], [0, 0]);
}

#[test]
fn the_flat_buffer_address_of_a_long_packet_is_used() {
    let mut computer = default_pc();
    let image = image();
    let packet = |address: u64, count| {
        let mut packet = dap(count, 0xffff_ffff, 100);
        packet[0] = 0x18;
        packet.extend(address.to_le_bytes());
        packet
    };
    let regs = computer.packet(0x4200, 0x80, &packet(0x5_4321, 20));
    assert_eq!((regs.ah(), regs.cf()), (0, false));
    assert_eq!(computer.hw.memory[0x5_4321..][..20 * 512], image[100 * 512..][..20 * 512]);
    // Above the reach of real mode.
    computer.hw.memory.resize(0x20_0000, 0);
    let regs = computer.packet(0x4200, 0x80, &packet(0x18_0001, 33));
    assert_eq!((regs.ah(), regs.cf()), (0, false));
    assert_eq!(computer.hw.memory[0x18_0001..][..33 * 512], image[100 * 512..][..33 * 512]);
    let data = pattern(3 * 512, 99);
    computer.hw.memory[0x1f_0000..][..3 * 512].copy_from_slice(&data);
    assert_eq!(computer.packet(0x4300, 0x80, &packet(0x1f_0000, 3)).ah(), 0);
    assert_eq!(computer.hw.bus.ide.disks[&DiskId(0)][100 * 512..][..3 * 512], data);
    for address in [u64::MAX, u64::MAX - 4, 1 << 32, (1 << 32) - 512] {
        let regs = computer.packet(0x4200, 0x80, &packet(address, 2));
        assert_eq!((regs.ah(), regs.cf()), (9, true), "{address:x}");
    }
    computer.hw.protected = true;
    assert_eq!(computer.packet(0x4200, 0x80, &packet(0x18_0000, 1)).ah(), 9, "not under a memory manager");
    assert_eq!(computer.packet(0x4200, 0x80, &packet(0x5_0000, 1)).ah(), 0);
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[test]
fn drive_parameters_are_no_longer_than_the_callers_buffer() {
    let mut computer = default_pc();
    for (room, size) in [
        (0, None),
        (0x19, None),
        (0x1a, Some(0x1a)),
        (0x1d, Some(0x1a)),
        (0x1e, Some(0x1e)),
        (0x41, Some(0x1e)),
        (0x42, Some(0x42)),
        (0x49, Some(0x42)),
        (0x4a, Some(0x4a)),
        (0xffff, Some(0x4a)),
    ] {
        computer.hw.memory[0x3_0000..][..256].fill(0xcc);
        let regs = computer.packet(0x4800, 0x80, &u16::to_le_bytes(room));
        let table = computer.hw.memory[0x3_0010..][..0x60].to_vec();
        let Some(size) = size else {
            assert_eq!((regs.ah(), regs.cf()), (1, true));
            continue;
        };
        assert_eq!((regs.ah(), regs.cf()), (0, false));
        assert_eq!(word(&table, 0), size);
        assert!(
            table[size.into()..].iter().all(|&byte| byte == 0xcc),
            "{room:x}: memory beyond the result is untouched"
        );
        assert_eq!((word(&table, 2), word(&table, 4), word(&table, 8), word(&table, 12)), (3, 81, 16, 63));
        assert_eq!(table[16..24], (40u64 << 11).to_le_bytes());
        assert_eq!(word(&table, 24), 512);
        if size >= 0x1e {
            let at = FarPtr::from_u32(u32::from_le_bytes(table[26..30].try_into().unwrap())).linear() as usize;
            let extension = &computer.hw.memory[at..][..16];
            assert_eq!((word(extension, 0), word(extension, 2)), (0x1f0, 0x3f6));
            assert_eq!((extension[4], extension[6], extension[7], extension[14]), (0xe0, 14, 16, 0x11));
            assert_eq!(word(extension, 10), 0x95, "fast PIO, MULTIPLE, LBA, dwords");
            assert_eq!(extension.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        }
        if size >= 0x42 {
            let path = &table[0x1e..size.into()];
            assert_eq!((word(path, 0), usize::from(path[2])), (0xbedd, path.len()));
            assert_eq!(&path[6..18], b"PCI ATA     ");
            assert_eq!(path[18..22], [0, 1, 1, 0]);
            assert_eq!(path.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        }
    }
    assert_eq!(computer.packet(0x4800, 0x82, &[0x4a, 0]).ah(), 1);
}

#[test]
fn the_parameters_of_a_cd_are_those_of_a_removable_medium() {
    let mut computer = default_pc();
    assert_eq!(computer.packet(0x4800, 0xe0, &[0x42, 0]).ah(), 0);
    let table = &computer.hw.memory[0x3_0010..][..0x42];
    assert_eq!((word(table, 2), word(table, 24)), (0x35, 2048));
    assert_eq!(table[16..24], 1024u64.to_le_bytes());
    assert_eq!(&table[0x24..0x30], b"PCI ATAPI   ");
    assert_eq!(table[0x30..0x34], [0, 1, 1, 1]);
    let mut empty = pc([None, None, None, Some(DriveSpec::cdrom(None, ""))], [0; 4]).start();
    assert_eq!(empty.packet(0x4800, 0xe0, &[0x1a, 0]).ah(), 0);
    let table = &empty.hw.memory[0x3_0010..][..0x1a];
    assert_eq!(word(table, 2), 0x75);
    assert_eq!(table[16..24], [0xff; 8]);
}

#[test]
fn function_4eh_accepts_only_the_present_configuration() {
    let mut computer = default_pc();
    for (al, ah) in [(0, 1), (1, 0), (2, 1), (3, 0), (4, 0), (5, 1), (6, 0), (7, 1)] {
        let regs = computer.int13(0x4e00 | al, 0, 0x80);
        assert_eq!((regs.ah(), regs.cf()), (ah, ah != 0), "AL={al}");
    }
    for ax in [0x4500, 0x4900] {
        assert_eq!(computer.int13(ax, 0, 0x80).ah(), 1);
    }
    assert_eq!(computer.int13(0x4600, 0, 0x80).ah(), 0xb2);
}
