use super::*;
use crate::testing::Bench;

/// Programs and unmasks a channel as a driver does. `count` is in transfers, less one.
fn program(bench: &mut Bench<IsaDma>, channel: u16, mode: u8, page: u8, address: u16, count: u16) {
    let (base, step) = if channel < 4 { (0x00, 1) } else { (0xc0, 2) };
    let n = channel % 4;
    // DCBP, DCM, DBADDR, DBCNT, DLPAGE, WSMB.
    bench.outb(base + 0xc * step, 0);
    bench.outb(base + 0xb * step, mode | n as u8);
    for byte in address.to_le_bytes() {
        bench.outb(base + 2 * n * step, byte);
    }
    for byte in count.to_le_bytes() {
        bench.outb(base + (2 * n + 1) * step, byte);
    }
    let page_port = [0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a][usize::from(channel)];
    bench.outb(page_port, page);
    bench.outb(base + 0xa * step, n as u8);
}

fn transfer(bench: &mut Bench<IsaDma>, channel: usize, data: &mut [u8], direction: Direction) -> (usize, bool) {
    let done = bench.device.transfer(&bench.memory, channel, data, direction);
    (done.bytes, done.terminal_count)
}

fn memory(bench: &Bench<IsaDma>, at: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    bench.memory.read(at, &mut data);
    data
}

const WRITE_SINGLE: u8 = 0x44;
const READ_SINGLE: u8 = 0x48;
const VERIFY_SINGLE: u8 = 0x40;
const AUTO: u8 = 0x10;
const DOWN: u8 = 0x20;

#[test]
fn registers_have_their_data_sheet_names() {
    let device = IsaDma::new();
    for (tag, offset, name) in [
        (TAG_BYTES, 0x4, Some("DBADDR2")),
        (TAG_BYTES, 0x5, Some("DBCNT2")),
        (TAG_BYTES, 0x8, Some("DS/DCOM")),
        (TAG_BYTES, 0xb, Some("DCM")),
        (TAG_BYTES, 0xf, Some("RWAMB")),
        (TAG_WORDS, 0x04, Some("DBADDR5")),
        (TAG_WORDS, 0x0e, Some("DBCNT7")),
        (TAG_WORDS, 0x14, Some("WSMB")),
        (TAG_PAGES, 0x00, Some("DLPAGE2")),
        (TAG_PAGES, 0x03, None),
        (TAG_PAGES, 0x0a, Some("DLPAGE5")),
    ] {
        for width in [1, 2, 4] {
            assert_eq!(device.register_name(Access { tag, offset, width }), name, "tag {tag} offset {offset:x}");
        }
    }
}

#[test]
fn every_channel_uses_its_own_page_in_both_directions() {
    for channel in [0, 1, 2, 3, 5, 6, 7] {
        let mut bench = Bench::new(IsaDma::new());
        let unit = if channel < 4 { 1 } else { 2 };
        let at = 0x2_0000 + 0x100 * unit;
        program(&mut bench, channel, WRITE_SINGLE, 2, 0x100, 3);
        let mut data: Vec<u8> = (1..=4 * unit as u8).collect();
        let len = data.len();
        let done = transfer(&mut bench, channel.into(), &mut data, Direction::ToMemory);
        assert_eq!(done, (len, true), "{channel}");
        assert_eq!(memory(&bench, at, len), data, "{channel}");
        program(&mut bench, channel, READ_SINGLE, 2, 0x100, 3);
        let mut back = vec![0; len];
        assert_eq!(transfer(&mut bench, channel.into(), &mut back, Direction::FromMemory), (len, true));
        assert_eq!(back, data, "{channel}");
    }
}

#[test]
fn the_terminal_count_ends_the_transfer_masks_the_channel_and_sets_its_status_bit() {
    let mut bench = Bench::new(IsaDma::new());
    program(&mut bench, 2, WRITE_SINGLE, 1, 0, 9);
    assert_eq!(transfer(&mut bench, 2, &mut [1; 6], Direction::ToMemory), (6, false));
    assert_eq!(bench.inb(0x08), 0);
    assert_eq!(transfer(&mut bench, 2, &mut [2; 6], Direction::ToMemory), (4, true));
    assert_eq!(memory(&bench, 0x1_0000, 12), [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0]);
    assert_eq!(bench.inb(0x08), 0x04);
    assert_eq!(bench.inb(0x08), 0, "the read cleared it");
    assert_eq!(bench.inb(0x0f), 0xff);
    assert_eq!(transfer(&mut bench, 2, &mut [3; 6], Direction::ToMemory), (0, false), "masked");
    assert_eq!([bench.inb(0x05), bench.inb(0x05)], [0xff; 2], "the count reads FFFFh after the terminal count");
    assert_eq!([bench.inb(0x04), bench.inb(0x04)], [10, 0]);
}

#[test]
fn auto_initialization_reloads_and_does_not_mask() {
    let mut bench = Bench::new(IsaDma::new());
    program(&mut bench, 1, READ_SINGLE | AUTO, 1, 0x10, 3);
    bench.memory.write(0x1_0010, b"abcdX");
    for _ in 0..3 {
        let mut data = [0; 8];
        assert_eq!(transfer(&mut bench, 1, &mut data, Direction::FromMemory), (4, true));
        assert_eq!(data, *b"abcd\0\0\0\0");
    }
}

#[test]
fn addresses_wrap_within_64_and_128_kib() {
    let mut bench = Bench::new(IsaDma::new());
    program(&mut bench, 2, WRITE_SINGLE, 3, 0xfffe, 0xffff);
    transfer(&mut bench, 2, &mut [1, 2, 3, 4], Direction::ToMemory);
    assert_eq!(memory(&bench, 0x3_fffe, 4), [1, 2, 0, 0]);
    assert_eq!(memory(&bench, 0x3_0000, 2), [3, 4]);
    // Bit 0 of a word channel's page register is ignored.
    program(&mut bench, 5, WRITE_SINGLE, 5, 0xffff, 0xffff);
    transfer(&mut bench, 5, &mut [5, 6, 7, 8], Direction::ToMemory);
    assert_eq!(memory(&bench, 0x5_fffe, 4), [5, 6, 0, 0]);
    assert_eq!(memory(&bench, 0x4_0000, 2), [7, 8]);
}

#[test]
fn a_decrementing_channel_wraps_below_zero() {
    let mut bench = Bench::new(IsaDma::new());
    program(&mut bench, 3, WRITE_SINGLE | DOWN, 2, 1, 3);
    assert_eq!(transfer(&mut bench, 3, &mut [1, 2, 3, 4], Direction::ToMemory), (4, true));
    assert_eq!(memory(&bench, 0x2_0000, 2), [2, 1]);
    assert_eq!(memory(&bench, 0x2_fffe, 2), [4, 3]);
}

#[test]
fn a_verify_transfer_counts_and_moves_no_data() {
    let mut bench = Bench::new(IsaDma::new());
    for direction in [Direction::ToMemory, Direction::FromMemory] {
        program(&mut bench, 2, VERIFY_SINGLE, 1, 0, 3);
        let mut data = [7; 8];
        assert_eq!(transfer(&mut bench, 2, &mut data, direction), (4, true));
        assert_eq!((data, memory(&bench, 0x1_0000, 4)), ([7; 8], vec![0; 4]));
    }
}

#[test]
fn a_channel_not_programmed_for_the_transfer_moves_nothing() {
    let mut bench = Bench::new(IsaDma::new());
    assert_eq!(transfer(&mut bench, 2, &mut [1], Direction::ToMemory), (0, false), "masked at power-on");
    program(&mut bench, 2, READ_SINGLE, 1, 0, 3);
    assert_eq!(transfer(&mut bench, 2, &mut [1], Direction::ToMemory), (0, false), "the other direction");
    program(&mut bench, 2, 0xc4, 1, 0, 3);
    assert_eq!(transfer(&mut bench, 2, &mut [1], Direction::ToMemory), (0, false), "cascade");
    program(&mut bench, 2, 0x4c, 1, 0, 3);
    assert_eq!(transfer(&mut bench, 2, &mut [1], Direction::ToMemory), (0, false), "illegal");
    program(&mut bench, 2, WRITE_SINGLE, 1, 0, 3);
    bench.outb(0x08, 0x04);
    assert_eq!(transfer(&mut bench, 2, &mut [1], Direction::ToMemory), (0, false), "controller disabled");
    bench.outb(0x08, 0);
    assert_eq!(transfer(&mut bench, 2, &mut [1], Direction::ToMemory), (1, false));
    program(&mut bench, 4, WRITE_SINGLE, 1, 0, 3);
    for channel in [4, 8, usize::MAX] {
        assert_eq!(transfer(&mut bench, channel, &mut [1, 2], Direction::ToMemory), (0, false));
    }
    program(&mut bench, 5, WRITE_SINGLE, 1, 0, 3);
    assert_eq!(
        transfer(&mut bench, 5, &mut [1, 2, 3], Direction::ToMemory),
        (2, false),
        "only whole words are transferred"
    );
}

#[test]
fn masks_requests_and_the_byte_pointer_follow_their_commands_and_master_clear() {
    let mut bench = Bench::new(IsaDma::new());
    for (base, step) in [(0x00, 1), (0xc0, 2)] {
        let port = |n: u16| base + n * step;
        bench.outb(port(0xe), 0);
        assert_eq!(bench.inb(port(0xf)), 0xf0);
        bench.outb(port(0xa), 0x06);
        bench.outb(port(0xf), 0x0b);
        bench.outb(port(0xa), 0x01);
        assert_eq!(bench.inb(port(0xf)), 0xf9);
        bench.outb(port(0x9), 0x05);
        assert_eq!(bench.inb(port(0x8)), 0x20);
        bench.outb(port(0x0), 0x34);
        bench.outb(port(0x0), 0x12);
        assert_eq!(bench.inb(port(0x0)), 0x34);
        bench.outb(port(0xc), 0);
        assert_eq!([bench.inb(port(0x0)), bench.inb(port(0x0))], [0x34, 0x12]);
        bench.inb(port(0x0));
        bench.outb(port(0xd), 0);
        assert_eq!(bench.inb(port(0x0)), 0x34, "master clear resets the byte pointer");
        assert_eq!((bench.inb(port(0xf)), bench.inb(port(0x8)), bench.inb(port(0xd))), (0xff, 0, 0));
    }
}

#[test]
fn dma_to_rom_and_unmapped_addresses_is_harmless() {
    let mut bench = Bench::new(IsaDma::new());
    program(&mut bench, 2, WRITE_SINGLE, 0xff, 0, 0xffff);
    assert_eq!(transfer(&mut bench, 2, &mut [1; 0x1_0001], Direction::ToMemory), (0x1_0000, true));
    program(&mut bench, 2, READ_SINGLE, 0x0a, 0, 0xffff);
    let mut data = [0; 4];
    transfer(&mut bench, 2, &mut data, Direction::FromMemory);
    assert_eq!(data, [0xff; 4]);
}

#[test]
fn an_illegal_transfer_type_is_a_guest_error() {
    let mut bench = Bench::new(IsaDma::new());
    for port in [0x0b, 0xd6] {
        for mode in [WRITE_SINGLE, READ_SINGLE, VERIFY_SINGLE, 0xc0, 0xcc] {
            bench.outb(port, mode);
        }
        assert_eq!(bench.guest_errors, [""; 0]);
        bench.outb(port, 0x4c);
        assert_eq!(bench.guest_errors.drain(..).collect::<Vec<_>>(), ["illegal transfer type in DCM"]);
    }
}

#[test]
fn a_transfer_at_once_has_the_effect_of_one_unit_after_another() {
    for (channel, page, address, count, len) in [
        // Across the end of the page; to the terminal count; the whole page; into ROM; less than the count.
        (2_u16, 1_u8, 0xfff0_u16, 0x40_u16, 0x30_usize),
        (2, 1, 0xfff0, 0x40, 0x100),
        (1, 2, 0x8000, 0xffff, 0x1_0000),
        (3, 0x0b, 0xff00, 0x1ff, 0x200),
        (6, 2, 0xfffe, 0x20, 0x41),
        (7, 3, 0x0001, 0x20, 0x43),
        (5, 2, 0x1234, 0xffff, 0x2_0002),
    ] {
        for mode in
            [WRITE_SINGLE, READ_SINGLE, VERIFY_SINGLE, WRITE_SINGLE | AUTO, WRITE_SINGLE | DOWN, READ_SINGLE | DOWN]
        {
            let direction = if mode & READ_SINGLE == READ_SINGLE { Direction::FromMemory } else { Direction::ToMemory };
            let unit = if channel < 4 { 1 } else { 2 };
            let start: Vec<u8> = (0..len).map(|n| (n % 253) as u8).collect();
            let run = |pieces: bool| {
                let mut bench = Bench::new(IsaDma::new());
                let content: Vec<u8> = (0..0x8_0000_u32).map(|n| (n % 241) as u8).collect();
                bench.memory.write(0, &content);
                program(&mut bench, channel, mode, page, address, count);
                let mut data = start.clone();
                let mut bytes = 0;
                let mut ended = false;
                for part in data.chunks_mut(if pieces { unit } else { len }) {
                    if !ended {
                        let (more, tc) = transfer(&mut bench, channel.into(), part, direction);
                        (bytes, ended) = (bytes + more, tc);
                    }
                }
                let state = bench.device.save();
                (data, bytes, ended, state.controllers, memory(&bench, 0, 0x8_0000))
            };
            assert!(run(false) == run(true), "channel {channel}, mode {mode:x}");
        }
    }
}
