//! What a guest may do that no driver does: the classes of bugs that other models of this chip have had.

use super::super::offload;
use super::*;
use crate::testing::Rng;

const TX: u64 = 0x2_0000;
const RX: u64 = 0x2_2000;
const DATA: u64 = 0x4_0000;
const ALL: u32 = 0xf000_0000;

fn descriptor(bench: &Bench<Rtl8139>, at: u64, command: u32, tag: u32, buffer: u64) {
    let bytes = [&command.to_le_bytes()[..], &tag.to_le_bytes(), &buffer.to_le_bytes()].concat();
    bench.memory.write(at, &bytes);
}

fn cplus(tx: u64, rx: u64) -> Bench<Rtl8139> {
    let mut bench = card();
    bench.outw(IO + 0xe0, 0x63);
    bench.outl(IO + 0x20, tx as u32);
    bench.outl(IO + 0x24, (tx >> 32) as u32);
    bench.outl(IO + 0xe4, rx as u32);
    bench.outl(IO + 0xe8, (rx >> 32) as u32);
    bench.outb(IO + 0x37, 0x0c);
    bench.outl(IO + 0x44, 0x0f);
    bench.outw(IO + 0x3c, 0xffff);
    bench
}

#[test]
fn a_transmit_ring_that_never_ends_is_done_in_pieces_and_stalls_nothing() {
    // Every descriptor's buffer is the ring itself as it is full of OWN: a frame of descriptors, of course; and a second
    // processor that gives every descriptor back at once.
    let mut bench = cplus(TX, RX);
    let fill = |bench: &Bench<Rtl8139>| {
        for n in 0..64 {
            descriptor(bench, TX + 16 * n, ALL & !0x4000_0000 | 60, 0, TX);
        }
    };
    let mut total = 0;
    fill(&bench);
    bench.outb(IO + 0xd9, 0x40);
    for _ in 0..50 {
        let count = sent(&mut bench).len();
        assert!(count <= 128, "{count} in one call");
        total += count;
        fill(&bench);
        bench.outb(IO + 0xd9, 0x40);
    }
    assert!(total > 50 * 60);
    assert!(bench.timers.len() <= 2);
}

#[test]
fn a_large_amount_of_work_goes_on_by_a_timer() {
    let mut bench = cplus(TX, RX);
    for n in 0..64 {
        let end = if n == 63 { 0x4000_0000 } else { 0 };
        descriptor(
            &bench,
            TX + 16 * n,
            0x8000_0000 | end | if n % 2 == 0 { 0x2000_0000 } else { 0x1000_0000 } | 0xfff0,
            0,
            0,
        );
    }
    bench.outb(IO + 0xd9, 0x40);
    let done = (0..64).filter(|n| bench.memory.read_u32(TX + 16 * n) >> 31 == 0).count();
    assert!((10..40).contains(&done), "{done}");
    bench.advance(1_000_000);
    assert!((0..64).all(|n| bench.memory.read_u32(TX + 16 * n) >> 31 == 0));
}

#[test]
fn rings_in_roms_in_registers_and_in_nothing_do_no_harm() {
    for at in [0xf_0000, 0xa_0000, 0x20_0000, MMIO, 0xffff_ff00, 0x1_0000_0000, !0xff, (2 << 20) - 256] {
        let mut bench = cplus(at, at);
        bench.outb(IO + 0xd9, 0xc0);
        bench.advance(10_000_000);
        assert!(sent(&mut bench).is_empty(), "{at:x}");
        assert_eq!(bench.timers.len(), 0, "{at:x}: nothing goes on");
        let serr = bench.inw(IO + 0x3e) & 0x8000 != 0;
        assert_eq!(serr, at != (2 << 20) - 256, "{at:x}: a master abort");
        bench.receive(NIC, (0..10).map(|_| frame(MAC, 100).into()));
        bench.advance(2_000_000_000);
        assert_eq!((bench.inl(IO + 0x4c), bench.timers.len()), (10, 0), "{at:x}");
    }
}

#[test]
fn buffers_in_roms_in_registers_and_in_nothing_do_no_harm() {
    for at in [0xf_0000, 0xa_0000, 0x1f_ffc0, MMIO, MMIO + 0xd9, 0xffff_fff0, u64::MAX - 20] {
        let mut bench = cplus(TX, RX);
        for n in 0..64 {
            descriptor(&bench, TX + 16 * n, ALL & !0x4000_0000 | 1500, 0, at);
            descriptor(&bench, RX + 16 * n, 0x8000_1000, 0, at);
        }
        bench.outb(IO + 0xd9, 0x40);
        bench.advance(10_000_000);
        let frames = sent(&mut bench);
        assert_eq!(frames.len(), 64);
        if at != 0x1f_ffc0 {
            assert!(
                frames.iter().all(|frame| frame.iter().all(|&byte| byte == 0xff)),
                "what is not there reads as ones"
            );
        }
        assert_eq!(bench.receive(NIC, (0..30).map(|_| frame(MAC, 1500).into())), 0);
        // C mode the same.
        let mut bench = running();
        bench.outl(IO + 0x30, at as u32);
        bench.outl(IO + 0x20, at as u32);
        bench.outl(IO + 0x10, 1500);
        bench.receive(NIC, (0..30).map(|_| frame(MAC, 1500).into()));
        bench.advance(2_000_000_000);
        assert_eq!(sent(&mut bench).len(), 1);
    }
}

#[test]
fn receive_descriptors_without_room_end_the_search() {
    let mut bench = cplus(TX, RX);
    for n in 0..64 {
        descriptor(&bench, RX + 16 * n, 0x8000_0000, 0, DATA);
    }
    // The first one is the whole ring, and has no room.
    give(&mut bench, &frame(MAC, 100));
    bench.advance(2_000_000_000);
    assert_eq!(bench.inl(IO + 0x4c), 1);
    descriptor(&bench, RX, 0xc000_0000, 0, DATA);
    give(&mut bench, &frame(MAC, 100));
    assert_eq!(bench.inl(IO + 0x4c), 2);
    // A ring of one descriptor that is too small for a frame would be filled again and again.
    descriptor(&bench, RX, 0xc000_0000 | 60, 0, DATA);
    bench.outl(IO + 0xe4, RX as u32);
    give(&mut bench, &frame(MAC, 1500));
    assert_eq!((bench.inl(IO + 0x4c), bench.memory.read_u32(RX)), (3, 0xc000_003c));
}

#[test]
fn lengths_from_nothing_to_64_kib_send_what_is_there_or_nothing() {
    for flags in [0, 0x0007_0000, 0x0800_0000, 0x0801_0000, 0x0fff_0000] {
        for len in [0, 1, 13, 14, 33, 34, 59, 60, 1514, 4096, 4114, 4115, 9000, 65_534, 65_535] {
            let mut bench = cplus(TX, RX);
            bench.memory.write(DATA, &vec![0x45; 0x1_0000]);
            bench.memory.write(DATA + 12, &[8, 0]);
            descriptor(&bench, TX, ALL | flags | len, 0x0002_ffff, DATA);
            bench.outb(IO + 0xd9, 0x40);
            assert_eq!(bench.memory.read_u32(TX) >> 31, 0);
            for (_, frame) in bench.sent.drain(..) {
                let plain = frame.offload.segmentation.is_none();
                assert!(frame.bytes.len() >= 60 && (frame.bytes.len() <= 4114 || !plain), "{flags:x} {len}");
            }
            // And what several descriptors add up to.
            for n in 0..8 {
                let edge = [0xa000_0000, 0x8000_0000, 0x8000_0000, 0x9000_0000][n % 4];
                descriptor(&bench, TX + 16 * n as u64, edge | flags | len, 0, DATA);
            }
            bench.outl(IO + 0x20, TX as u32);
            bench.outb(IO + 0xd9, 0x40);
            bench.advance(1_000_000);
            assert_eq!(bench.memory.read_u32(TX + 16 * 7) >> 31, 0);
            assert!(bench.sent.iter().all(|(_, frame)| frame.bytes.len() <= crate::net::MAX_SEND));
        }
    }
}

#[test]
fn headers_that_are_short_or_lie_are_left_alone_by_offloads() {
    let mut rng = Rng(8);
    let mut base = frame(OTHER, 200);
    base[12..14].copy_from_slice(&[8, 0]);
    base[23] = 6;
    for ihl in 0..16u8 {
        for total in [0u16, 1, 19, 20, 21, 39, 40, 41, 185, 186, 187, 0xffff] {
            for data_offset in [0u8, 4, 5, 15] {
                for len in [14, 15, 33, 34, 35, 53, 54, 60, 200] {
                    for mss in [None, Some(0), Some(1), Some(0x7ff)] {
                        for protocol in [6, 17, 1] {
                            let mut bytes = base[..len.min(200)].to_vec();
                            let before = bytes.clone();
                            for (at, value) in [
                                (14, 0x40 | ihl),
                                (16, (total >> 8) as u8),
                                (17, total as u8),
                                (23, protocol),
                                (46, data_offset << 4),
                            ] {
                                if let Some(byte) = bytes.get_mut(at) {
                                    *byte = value;
                                }
                            }
                            let tasks = offload::Tasks { ip: true, udp: true, tcp: true, mss };
                            let left = offload::transmit(&mut bytes, tasks, rng.next_u64() & 1 == 0);
                            assert_eq!(bytes.len(), before.len());
                            assert_eq!(bytes[..12], before[..12]);
                            if ihl < 5 || len < 34 {
                                assert_eq!(left, Default::default());
                                assert_eq!(
                                    bytes.get(24..),
                                    before
                                        .get(24..)
                                        .map(|rest| {
                                            let mut rest = rest.to_vec();
                                            if let Some(byte) = rest.get_mut(22) {
                                                *byte = data_offset << 4
                                            }
                                            rest
                                        })
                                        .as_deref()
                                );
                            }
                            if let Some(at) = left.checksum {
                                assert!(usize::from(at.start) + usize::from(at.offset) + 2 <= len);
                            }
                            if let Some(cut) = left.segmentation {
                                assert!(cut.mss > 0 && usize::from(cut.header) < len);
                            }
                            offload::receive(&bytes, false);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_of_an_earlier_frame_is_ever_sent_or_received_again() {
    let mut bench = running();
    let secret = vec![0x5e; 1500];
    let mut give_secret = secret.clone();
    give_secret[..6].copy_from_slice(&MAC);
    // A long frame, sent and received: its buffers are used again.
    bench.memory.write(DATA, &secret);
    bench.outl(IO + 0x20, DATA as u32);
    bench.outl(IO + 0x10, 1500);
    let buffers: Vec<_> = bench.sent.drain(..).map(|(_, frame)| frame.bytes).collect();
    bench.call(|_, cx| buffers.into_iter().for_each(|buffer| cx.recycle(buffer)));
    give(&mut bench, &give_secret);
    bench.memory.write(DATA, &[0; 1500]);
    for (slot, len) in [(1, 20), (2, 1), (3, 42), (0, 14)] {
        bench.outl(IO + 0x20 + 4 * slot, DATA as u32);
        bench.outl(IO + 0x10 + 4 * slot, len);
    }
    assert!(sent(&mut bench).iter().all(|frame| !frame.contains(&0x5e)));
    let before = bench.inw(IO + 0x3a);
    bench.memory.write(RING, &[0; 0x2000]);
    bench.receive(NIC, [frame(MAC, 14).into()]);
    assert!(!memory(&bench, RING + u64::from(before), 68).contains(&0x5e));

    let mut bench = cplus(TX, RX);
    bench.memory.write(DATA, &secret);
    descriptor(&bench, TX, 0xa000_0000 | 1500, 0, DATA);
    descriptor(&bench, TX + 16, ALL | 20, 0, 0x5_0000);
    bench.outb(IO + 0xd9, 0x40);
    assert!(sent(&mut bench).iter().all(|frame| !frame.contains(&0x5e)), "a frame that was never finished is gone");
    descriptor(&bench, TX, 0xd000_0000 | 20, 0, 0x5_0000);
    bench.outl(IO + 0x20, TX as u32);
    bench.outb(IO + 0xd9, 0x40);
    assert!(sent(&mut bench).is_empty(), "and one that never began is none");
    assert_eq!(bench.inw(IO + 0x3e) & 8, 8);
}

#[test]
fn loopback_to_itself_is_one_frame_for_one() {
    // Transmit descriptors and buffers are what is received into.
    let mut bench = cplus(TX, TX);
    bench.outl(IO + 0x40, 0x0306_0700);
    bench.memory.write(DATA, &frame(MAC, 1000));
    for n in 0..64 {
        descriptor(&bench, TX + 16 * n, ALL & !0x4000_0000 | 1000, 0, DATA);
    }
    bench.outb(IO + 0xd9, 0x40);
    bench.advance(10_000_000);
    assert!(sent(&mut bench).is_empty());
    assert!(bench.timers.len() <= 1);

    // And into the ring that lies where it is sent from.
    let mut bench = running();
    bench.outl(IO + 0x40, 0x0306_0700);
    bench.outl(IO + 0x44, 0x8f);
    bench.memory.write(RING, &frame([0xff; 6], 1792));
    for n in 0..100 {
        bench.outl(IO + 0x20 + 4 * (n & 3), RING as u32);
        bench.outl(IO + 0x10 + 4 * (n & 3), 1792);
    }
    assert!(sent(&mut bench).is_empty());
    assert_ne!(bench.inl(IO + 0x4c), 0, "the ring is full");
}

#[test]
fn registers_may_be_moved_away_while_the_chip_works() {
    let mut bench = running();
    bench.receive(NIC, (0..20).map(|_| frame(MAC, 1500).into()));
    bench.config_write(0x10, 4, 0xffff_ffff);
    bench.config_write(0x14, 4, 0x0000_0000);
    bench.advance(100_000_000);
    bench.config_write(0x10, 4, 0xd001);
    assert_eq!(bench.inw(0xd03e) & 1, 1);
    bench.config_write(4, 2, 0);
    bench.receive(NIC, (0..20).map(|_| frame(MAC, 1500).into()));
    bench.advance(2_000_000_000);
    bench.config_write(4, 2, 7);
    assert_eq!(bench.timers.len(), 0);
}

#[test]
fn a_flood_at_a_guest_that_does_not_read_costs_little() {
    let mut bench = running();
    bench.advance(2_000_000_000);
    for _ in 0..2000 {
        bench.receive(NIC, (0..16).map(|_| frame(MAC, 1500).into()));
        bench.advance(1_000_000);
        assert!(bench.timers.len() <= 1);
    }
    assert!(bench.inl(IO + 0x4c) > 20_000);
    assert_eq!(bench.receive(NIC, []), 0, "nothing is kept");
}

#[test]
fn a_flood_of_frames_for_others_is_dropped_in_pieces() {
    let mut bench = running();
    let left = bench.receive(NIC, (0..1000).map(|_| frame(OTHER, 60).into()));
    assert!(left > 0);
    bench.advance(1_000);
    assert_eq!(bench.receive(NIC, []), 0);
    assert_eq!(bench.inw(IO + 0x3e), 0);
}
