//! The filter and the ring.

use super::*;
use crate::device::Region;
use crate::net::{ChecksumAt, Offload};

/// Reads the next frame as a driver does. `None` while BUFE says that there is none.
fn next(bench: &mut Bench<Rtl8139>, at: &mut u32, size: u32, wrap: bool) -> Option<(u16, Vec<u8>)> {
    if bench.inb(IO + 0x37) & 1 != 0 {
        return None;
    }
    let header = memory(bench, RING + u64::from(*at), 4);
    let status = u16::from_le_bytes([header[0], header[1]]);
    let len = u32::from(u16::from_le_bytes([header[2], header[3]]));
    let bytes = (0..len)
        .map(|n| {
            let place = *at + 4 + n;
            memory(bench, RING + u64::from(if wrap { place % size } else { place }), 1)[0]
        })
        .collect();
    *at = (*at + len + 4).next_multiple_of(4) % size;
    bench.outw(IO + 0x38, (*at as u16).wrapping_sub(16));
    Some((status, bytes))
}

#[test]
fn the_filter_takes_what_it_is_told_to() {
    let multicast = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x01];
    let addresses = [MAC, OTHER, [0xff; 6], multicast];
    // RCR, whether the hash table has the group, and what gets through with which status.
    for (rcr, hashed, expect) in [
        (0x00, true, [0, 0, 0, 0]),
        (0x02, true, [0x4001, 0, 0, 0]),
        (0x08, true, [0, 0, 0x2001, 0]),
        (0x04, true, [0, 0, 0, 0x8001]),
        (0x04, false, [0, 0, 0, 0]),
        (0x0e, true, [0x4001, 0, 0x2001, 0x8001]),
        (0x01, false, [0x4001, 0x0001, 0x2001, 0x8001]),
        (0x30, true, [0, 0, 0, 0]),
    ] {
        for (address, status) in addresses.iter().zip(expect) {
            let mut bench = running();
            bench.outl(IO + 0x44, rcr);
            if hashed {
                let bit = hash_bit_by_bit(&multicast);
                bench.outb(IO + 0x08 + bit / 8, 1 << (bit % 8));
            }
            assert_eq!(give(&mut bench, &frame(*address, 100)), 0);
            let got = next(&mut bench, &mut 0, 0x2000, true).map_or(0, |frame| frame.0);
            assert_eq!(got, status, "{rcr:02x} {hashed} {address:x?}");
        }
    }
}

/// The upper six bits of the CRC register, most significant bit first, as the data sheet's formula has it.
pub(super) fn hash_bit_by_bit(address: &[u8]) -> u16 {
    let mut crc = u32::MAX;
    for byte in address {
        for n in 0..8 {
            let bit = u32::from(byte >> n & 1) ^ crc >> 31;
            crc = crc << 1 ^ if bit != 0 { 0x04c1_1db7 } else { 0 };
        }
    }
    (crc >> 26) as u16
}

#[test]
fn hashes_are_those_of_the_data_sheets_formula() {
    let mut rng = crate::testing::Rng(3);
    for _ in 0..200 {
        let address: Vec<u8> = (0..6).map(|_| rng.next_u64() as u8).collect();
        assert_eq!(super::super::filter::hash(&address), usize::from(hash_bit_by_bit(&address)));
    }
}

#[test]
fn the_ring_holds_frames_with_header_and_fcs_at_every_size_with_and_without_wrap() {
    for (rblen, size) in [(0u32, 0x2000u32), (1, 0x4000), (2, 0x8000), (3, 0x1_0000)] {
        for no_wrap in [false, true] {
            let mut bench = running();
            bench.outl(IO + 0x44, 0x0a | rblen << 11 | u32::from(no_wrap) << 7);
            let wraps = !no_wrap || size == 0x1_0000;
            let mut at = 0;
            for n in 0..200 {
                let bytes = frame(MAC, 60 + n * 53 % 1455);
                let more = frame([0xff; 6], 60 + n * 17 % 1000);
                assert_eq!(bench.receive(NIC, [bytes.clone().into(), more.clone().into()]), 0);
                for (expect, status) in [(bytes, 0x4001), (more, 0x2001)] {
                    let got = next(&mut bench, &mut at, size, wraps);
                    assert_eq!(got, Some((status, [&expect[..], &crc(&expect)].concat())), "{size:x} {no_wrap} {n}");
                }
                assert_eq!(next(&mut bench, &mut at, size, wraps), None);
                assert_eq!(u32::from(bench.inw(IO + 0x3a)), at);
            }
        }
    }
}

#[test]
fn a_ring_that_wraps_stays_within_itself() {
    let mut bench = running();
    bench.memory.write(RING + 0x2000, &[0xaa; 0x800]);
    let mut at = 0;
    for n in 0..50 {
        give(&mut bench, &frame(MAC, 1000 + n));
        next(&mut bench, &mut at, 0x2000, true).unwrap();
    }
    assert_eq!(memory(&bench, RING + 0x2000, 0x800), vec![0xaa; 0x800]);
}

#[test]
fn short_frames_from_the_host_arrive_padded_with_zeros() {
    let mut bench = running();
    let bytes = frame(MAC, 42);
    give(&mut bench, &bytes);
    let padded = [bytes, vec![0; 18]].concat();
    let (status, got) = next(&mut bench, &mut 0, 0x2000, true).unwrap();
    assert_eq!((status, got), (0x4001, [&padded[..], &crc(&padded)].concat()));
}

#[test]
fn frames_that_are_too_long_or_too_short_are_refused() {
    let mut bench = running();
    for len in [0, 5, 13] {
        assert_eq!(give(&mut bench, &vec![0xff; len]), 0);
    }
    assert_eq!(bench.inw(IO + 0x3e), 0);
    assert_eq!(give(&mut bench, &frame(MAC, 4093)), 0);
    assert_eq!((bench.inw(IO + 0x3e), bench.inw(IO + 0x3a)), (0x0002, 0));
    assert_eq!(give(&mut bench, &frame(MAC, 4092)), 0);
    assert_eq!(bench.inw(IO + 0x3a), 4100);
}

#[test]
fn a_checksum_that_the_host_left_out_is_filled_in() {
    let mut bench = running();
    let mut bytes = frame(MAC, 60);
    let offload = Offload { checksum: Some(ChecksumAt { start: 34, offset: 6 }), ..Offload::default() };
    bytes[34..].copy_from_slice(&[0x11; 26]);
    bytes[40..42].copy_from_slice(&[0x12, 0x34]);
    bench.receive(NIC, [Frame { bytes: bytes.clone(), offload }]);
    let (_, got) = next(&mut bench, &mut 0, 0x2000, true).unwrap();
    let sum = 0x1111u32 * 12 + 0x1234;
    assert_eq!(got[40..42], (!(sum as u16)).to_be_bytes());
    let bad = Offload { checksum: Some(ChecksumAt { start: 59, offset: 6 }), ..Offload::default() };
    assert_eq!(bench.receive(NIC, [Frame { bytes, offload: bad }]), 0);
    assert_eq!(bench.inw(IO + 0x3e), 0x0003, "where there is no room for it, it is an error");
}

#[test]
fn frames_wait_for_room_and_then_are_lost_as_on_the_chip() {
    let mut bench = running();
    let frames: Vec<Frame> = (0..20).map(|n| frame(MAC, 1400 + n).into()).collect();
    let waiting = bench.receive(NIC, frames);
    assert_eq!(waiting, 20 - 6, "five in the ring, one in the chip");
    assert_eq!(bench.inw(IO + 0x3e), 0x0001, "nothing is lost");
    let mut at = 0;
    for n in 0..20 {
        let (_, got) = next(&mut bench, &mut at, 0x2000, true).unwrap();
        assert_eq!(got.len(), 1404 + n, "in order");
    }
    assert_eq!((next(&mut bench, &mut at, 0x2000, true), bench.inl(IO + 0x4c)), (None, 0));

    bench.receive(NIC, (0..20).map(|n| frame(MAC, 1400 + n).into()));
    bench.outw(IO + 0x3e, 0xffff);
    bench.advance(1_100_000_000);
    assert_eq!((bench.inw(IO + 0x3e), bench.inl(IO + 0x4c)), (0x0011, 15));
    assert_eq!(bench.timers.len(), 0, "nothing is waited for any more");
    assert_eq!(bench.receive(NIC, [frame(MAC, 1400).into()]), 0);
    assert_eq!(bench.inl(IO + 0x4c), 16);
    next(&mut bench, &mut at, 0x2000, true).unwrap();
    bench.outl(IO + 0x4c, 5);
    assert_eq!(bench.receive(NIC, [frame(MAC, 1400).into(), frame(MAC, 1400).into()]), 0);
    assert_eq!(bench.inl(IO + 0x4c), 0, "a write clears it, and with room there is patience again");
}

#[test]
fn room_that_only_the_coalescing_ring_knows_of_is_found_by_a_timer() {
    let mut bench = running();
    bench.receive(NIC, (0..8).map(|n| frame(MAC, 1400 + n).into()));
    let before = bench.inw(IO + 0x3a);
    // As the board does when it drains the ring for the timer.
    bench.advance(499_000);
    bench.outw(IO + 0x38, 1408 - 16);
    assert_ne!(bench.inw(IO + 0x3a), before, "a write of CAPR looks at once");
    let regions: Vec<Region> = Device::regions(&bench.device);
    assert_eq!(regions.len(), 2);
    for region in regions {
        assert_eq!(region.coalesce, [0x20..0x30, 0x38..0x3a]);
    }
}

#[test]
fn a_receiver_that_is_off_hears_nothing() {
    let mut bench = running();
    bench.outb(IO + 0x37, 0x04);
    assert_eq!(give(&mut bench, &frame(MAC, 100)), 0);
    bench.outb(IO + 0x37, 0x0c);
    assert_eq!((bench.inb(IO + 0x37), bench.inw(IO + 0x3e)), (0x0d, 0), "nor what came before");
    bench.receive(NIC, (0..20).map(|n| frame(MAC, 1400 + n).into()));
    bench.outb(IO + 0x37, 0x04);
    assert_eq!(bench.receive(NIC, []), 0);
    assert!(!bench.device.rx.waits());
}

#[test]
fn a_driver_that_stops_short_of_the_rings_end_is_told_again() {
    // As Linux's 8139too does when its budget is used up: it clears ROK after each frame, and looks at the ring again
    // only if ROK is set by then.
    let mut bench = running();
    bench.receive(NIC, (0..12).map(|n| frame(MAC, 1400 + n).into()));
    let mut at = 0;
    bench.outw(IO + 0x3c, 0);
    for _ in 0..3 {
        next(&mut bench, &mut at, 0x2000, true).unwrap();
        bench.outw(IO + 0x3e, 0x0051);
    }
    assert_eq!((bench.inw(IO + 0x3e), bench.irq(INTA)), (0, false));
    bench.outw(IO + 0x3c, 0x0001);
    assert_eq!((bench.inw(IO + 0x3e), bench.irq(INTA)), (1, true), "when it asks for interrupts again");
    bench.outw(IO + 0x3e, 0x0001);
    assert!(!bench.irq(INTA), "but not as often as it clears it");
    bench.advance(600_000);
    assert!(bench.irq(INTA), "and after a while");
    let count = std::iter::from_fn(|| next(&mut bench, &mut at, 0x2000, true)).count();
    assert_eq!(count, 9);
    bench.outw(IO + 0x3e, 0x0001);
    bench.advance(1_000_000_000);
    assert!(!bench.irq(INTA), "nothing is left");

    // Nothing waits, but the ring is not empty: once, and again only after it has read on.
    bench.receive(NIC, (0..3).map(|_| frame(MAC, 100).into()));
    for expect in [true, false, false] {
        bench.outw(IO + 0x3e, 0x0001);
        bench.outw(IO + 0x3c, 0);
        bench.outw(IO + 0x3c, 1);
        assert_eq!(bench.irq(INTA), expect);
    }
    next(&mut bench, &mut at, 0x2000, true).unwrap();
    bench.outw(IO + 0x3c, 0);
    bench.outw(IO + 0x3c, 1);
    assert!(bench.irq(INTA));
}

#[test]
fn a_guest_that_reads_slowly_loses_nothing() {
    // A large frame waits behind many small ones, each of which takes its time.
    let mut bench = running();
    let small = (0..110).map(|_| frame(MAC, 60).into());
    let large = (0..4).map(|_| frame(MAC, 1514).into());
    assert_eq!(bench.receive(NIC, small.chain(large)), 3);
    let mut at = 0;
    let mut count = 0;
    while next(&mut bench, &mut at, 0x2000, true).is_some() {
        count += 1;
        bench.advance(900_000_000);
    }
    assert_eq!((count, bench.inl(IO + 0x4c)), (114, 0));
}
