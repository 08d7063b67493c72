//! Guest behaviour that no driver shows: the classes of bugs that other models of this chip have had.

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
    bench.outw(CPCR, 0x63);
    bench.outl(TSAD, tx as u32);
    bench.outl(TSAD + 4, (tx >> 32) as u32);
    bench.outl(RDSAR, rx as u32);
    bench.outl(RDSAR + 4, (rx >> 32) as u32);
    bench.outb(CR, 0x0c);
    bench.outl(RCR, 0x0f);
    bench.outw(IMR, 0xffff);
    bench
}

#[test]
fn an_endless_transmit_ring_is_bounded_per_call() {
    // Every descriptor has OWN set and the ring as its buffer, and a second vCPU sets OWN again at once.
    let mut bench = cplus(TX, RX);
    let fill = |bench: &Bench<Rtl8139>| {
        for n in 0..64 {
            descriptor(bench, TX + 16 * n, ALL & !0x4000_0000 | 60, 0, TX);
        }
    };
    let mut total = 0;
    fill(&bench);
    bench.outb(TPPOLL, 0x40);
    for _ in 0..50 {
        let count = sent(&mut bench).len();
        assert!(count <= 128, "{count} frames in one call");
        total += count;
        fill(&bench);
        bench.outb(TPPOLL, 0x40);
    }
    assert!(total > 50 * 60);
    assert!(bench.timers.len() <= 2);
}

#[test]
fn work_past_the_byte_budget_continues_by_a_timer() {
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
    bench.outb(TPPOLL, 0x40);
    let done = (0..64).filter(|n| bench.memory.read_u32(TX + 16 * n) >> 31 == 0).count();
    assert!((10..40).contains(&done), "{done} descriptors done");
    bench.advance(1_000_000);
    assert!((0..64).all(|n| bench.memory.read_u32(TX + 16 * n) >> 31 == 0));
}

#[test]
fn rings_outside_ram_set_serr_and_stop() {
    for at in [0xf_0000, 0xa_0000, 0x20_0000, MMIO, 0xffff_ff00, 0x1_0000_0000, !0xff, (2 << 20) - 256] {
        let mut bench = cplus(at, at);
        bench.outb(TPPOLL, 0xc0);
        bench.advance(10_000_000);
        assert!(sent(&mut bench).is_empty(), "{at:x}");
        assert_eq!(bench.timers.len(), 0, "{at:x}: no timer is armed");
        let serr = bench.inw(ISR) & 0x8000 != 0;
        assert_eq!(serr, at != (2 << 20) - 256, "{at:x}: SERR after a master abort");
        let reported = bench.guest_errors.drain(..).any(|what| what == "transmit descriptor outside RAM");
        assert_eq!(reported, serr, "{at:x}");
        bench.receive(NIC, (0..10).map(|_| frame(MAC, 100).into()));
        bench.advance(2_000_000_000);
        assert_eq!((bench.inl(MPC), bench.timers.len()), (10, 0), "{at:x}");
        assert_eq!(bench.guest_errors.contains(&"receive descriptor outside RAM"), serr, "{at:x}");
    }
}

#[test]
fn buffers_outside_ram_read_as_ones_and_drop_writes() {
    for at in [0xf_0000, 0xa_0000, 0x1f_ffc0, MMIO, MMIO + 0xd9, 0xffff_fff0, u64::MAX - 20] {
        let mut bench = cplus(TX, RX);
        for n in 0..64 {
            descriptor(&bench, TX + 16 * n, ALL & !0x4000_0000 | 1500, 0, at);
            descriptor(&bench, RX + 16 * n, 0x8000_1000, 0, at);
        }
        bench.outb(TPPOLL, 0x40);
        bench.advance(10_000_000);
        let frames = sent(&mut bench);
        assert_eq!(frames.len(), 64);
        if at != 0x1f_ffc0 {
            assert!(
                frames.iter().all(|frame| frame.iter().all(|&byte| byte == 0xff)),
                "memory without RAM reads as ones"
            );
        }
        assert_eq!(bench.receive(NIC, (0..30).map(|_| frame(MAC, 1500).into())), 0);
        // The same in C mode.
        let mut bench = running();
        bench.outl(RBSTART, at as u32);
        bench.outl(TSAD, at as u32);
        bench.outl(TSD, 1500);
        bench.receive(NIC, (0..30).map(|_| frame(MAC, 1500).into()));
        bench.advance(2_000_000_000);
        assert_eq!(sent(&mut bench).len(), 1);
    }
}

#[test]
fn receive_descriptors_of_size_0_drop_the_frame() {
    let mut bench = cplus(TX, RX);
    for n in 0..64 {
        descriptor(&bench, RX + 16 * n, 0x8000_0000, 0, DATA);
    }
    // A ring of 64 descriptors without buffer space; then of one.
    deliver(&mut bench, &frame(MAC, 100));
    bench.advance(2_000_000_000);
    assert_eq!(bench.inl(MPC), 1);
    descriptor(&bench, RX, 0xc000_0000, 0, DATA);
    deliver(&mut bench, &frame(MAC, 100));
    assert_eq!(bench.inl(MPC), 2);
    // A ring of one descriptor too small for the frame must not be filled again and again.
    descriptor(&bench, RX, 0xc000_0000 | 60, 0, DATA);
    bench.outl(RDSAR, RX as u32);
    deliver(&mut bench, &frame(MAC, 1500));
    assert_eq!((bench.inl(MPC), bench.memory.read_u32(RX)), (3, 0xc000_003c));
}

#[test]
fn frame_lengths_from_0_to_64_kib_are_sent_or_rejected() {
    for flags in [0, 0x0007_0000, 0x0800_0000, 0x0801_0000, 0x0fff_0000] {
        for len in [0, 1, 13, 14, 33, 34, 59, 60, 1514, 4096, 4114, 4115, 9000, 65_534, 65_535] {
            let mut bench = cplus(TX, RX);
            bench.memory.write(DATA, &vec![0x45; 0x1_0000]);
            bench.memory.write(DATA + 12, &[8, 0]);
            descriptor(&bench, TX, ALL | flags | len, 0x0002_ffff, DATA);
            bench.outb(TPPOLL, 0x40);
            assert_eq!(bench.memory.read_u32(TX) >> 31, 0);
            let rejected = bench.guest_errors.contains(&"transmit frame too long or without FS");
            assert_eq!(rejected, bench.memory.read_u32(TX) & 1 << 23 != 0, "{flags:x} {len}: TES");
            for (_, frame) in bench.sent.drain(..) {
                let plain = frame.offload.segmentation.is_none();
                assert!(frame.bytes.len() >= 60 && (frame.bytes.len() <= 4114 || !plain), "{flags:x} {len}");
            }
            // Frames gathered from several descriptors.
            for n in 0..8 {
                let edge = [0xa000_0000, 0x8000_0000, 0x8000_0000, 0x9000_0000][n % 4];
                descriptor(&bench, TX + 16 * n as u64, edge | flags | len, 0, DATA);
            }
            bench.outl(TSAD, TX as u32);
            bench.outb(TPPOLL, 0x40);
            bench.advance(1_000_000);
            assert_eq!(bench.memory.read_u32(TX + 16 * 7) >> 31, 0);
            assert!(bench.sent.iter().all(|(_, frame)| frame.bytes.len() <= crate::net::MAX_SEND));
        }
    }
}

#[test]
fn offloads_ignore_truncated_and_inconsistent_headers() {
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
                            let tasks = offload::OffloadTasks { ip: true, udp: true, tcp: true, mss };
                            let left = offload::prepare_tx(&mut bytes, tasks, rng.next_u64() & 1 == 0);
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
                            offload::check_rx(&bytes, false);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn no_frame_contains_bytes_of_an_earlier_one() {
    let mut bench = running();
    let secret = vec![0x5e; 1500];
    let mut secret_to_mac = secret.clone();
    secret_to_mac[..6].copy_from_slice(&MAC);
    // A long frame is sent and received first; its buffers are used again.
    bench.memory.write(DATA, &secret);
    bench.outl(TSAD, DATA as u32);
    bench.outl(TSD, 1500);
    let buffers: Vec<_> = bench.sent.drain(..).map(|(_, frame)| frame.bytes).collect();
    bench.call(|_, cx| buffers.into_iter().for_each(|buffer| cx.recycle(buffer)));
    deliver(&mut bench, &secret_to_mac);
    bench.memory.write(DATA, &[0; 1500]);
    for (slot, len) in [(1, 20), (2, 1), (3, 42), (0, 14)] {
        bench.outl(TSAD + 4 * slot, DATA as u32);
        bench.outl(TSD + 4 * slot, len);
    }
    assert!(sent(&mut bench).iter().all(|frame| !frame.contains(&0x5e)));
    let before = bench.inw(CBR);
    bench.memory.write(RING, &[0; 0x2000]);
    bench.receive(NIC, [frame(MAC, 14).into()]);
    assert!(!memory(&bench, RING + u64::from(before), 68).contains(&0x5e));

    let mut bench = cplus(TX, RX);
    bench.memory.write(DATA, &secret);
    descriptor(&bench, TX, 0xa000_0000 | 1500, 0, DATA);
    descriptor(&bench, TX + 16, ALL | 20, 0, 0x5_0000);
    bench.outb(TPPOLL, 0x40);
    assert!(sent(&mut bench).iter().all(|frame| !frame.contains(&0x5e)), "an unfinished frame is discarded");
    descriptor(&bench, TX, 0xd000_0000 | 20, 0, 0x5_0000);
    bench.outl(TSAD, TX as u32);
    bench.outb(TPPOLL, 0x40);
    assert!(sent(&mut bench).is_empty(), "descriptors without FS make no frame");
    assert_eq!(bench.inw(ISR) & 8, 8);
}

#[test]
fn loopback_into_the_transmit_ring_is_bounded() {
    // The transmit ring is the receive ring.
    let mut bench = cplus(TX, TX);
    bench.outl(TCR, 0x0306_0700);
    bench.memory.write(DATA, &frame(MAC, 1000));
    for n in 0..64 {
        descriptor(&bench, TX + 16 * n, ALL & !0x4000_0000 | 1000, 0, DATA);
    }
    bench.outb(TPPOLL, 0x40);
    bench.advance(10_000_000);
    assert!(sent(&mut bench).is_empty());
    assert!(bench.timers.len() <= 1);

    // The receive ring is the transmit buffer.
    let mut bench = running();
    bench.outl(TCR, 0x0306_0700);
    bench.outl(RCR, 0x8f);
    bench.memory.write(RING, &frame([0xff; 6], 1792));
    for n in 0..100 {
        bench.outl(TSAD + 4 * (n & 3), RING as u32);
        bench.outl(TSD + 4 * (n & 3), 1792);
    }
    assert!(sent(&mut bench).is_empty());
    assert_ne!(bench.inl(MPC), 0, "frames are dropped when the ring is full");
}

#[test]
fn bars_may_be_moved_while_frames_are_pending() {
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
fn a_flood_to_a_guest_that_does_not_read_is_dropped() {
    let mut bench = running();
    bench.advance(2_000_000_000);
    for _ in 0..2000 {
        bench.receive(NIC, (0..16).map(|_| frame(MAC, 1500).into()));
        bench.advance(1_000_000);
        assert!(bench.timers.len() <= 1);
    }
    assert!(bench.inl(MPC) > 20_000);
    assert_eq!(bench.receive(NIC, []), 0, "no frame is pending");
}

#[test]
fn rejected_frames_are_dropped_in_bounded_batches() {
    let mut bench = running();
    let left = bench.receive(NIC, (0..1000).map(|_| frame(OTHER, 60).into()));
    assert!(left > 0);
    bench.advance(1_000);
    assert_eq!(bench.receive(NIC, []), 0);
    assert_eq!(bench.inw(ISR), 0);
}
