//! The address filter and the receive ring of C mode.

use super::*;
use crate::device::Region;
use crate::net::{ChecksumAt, Offload};

/// Reads the next frame as a driver does; `None` if CR.BUFE is set.
fn next(bench: &mut Bench<Rtl8139>, at: &mut u32, size: u32, wrap: bool) -> Option<(u16, Vec<u8>)> {
    if bench.inb(CR) & 1 != 0 {
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
    bench.outw(CAPR, (*at as u16).wrapping_sub(16));
    Some((status, bytes))
}

#[test]
fn rcr_and_mar_select_the_accepted_addresses() {
    let multicast = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x01];
    let addresses = [MAC, OTHER, [0xff; 6], multicast];
    // RCR, whether MAR has the group's bit, and the status with which each address is received (0: rejected).
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
            bench.outl(RCR, rcr);
            if hashed {
                let bit = hash_bit_by_bit(&multicast);
                bench.outb(MAR + bit / 8, 1 << (bit % 8));
            }
            assert_eq!(deliver(&mut bench, &frame(*address, 100)), 0);
            let got = next(&mut bench, &mut 0, 0x2000, true).map_or(0, |frame| frame.0);
            assert_eq!(got, status, "{rcr:02x} {hashed} {address:x?}");
        }
    }
}

/// The upper six bits of the CRC register, most significant bit first, by the data sheet's formula.
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
fn mar_hashes_follow_the_data_sheets_formula() {
    let mut rng = crate::testing::Rng(3);
    for _ in 0..200 {
        let address: Vec<u8> = (0..6).map(|_| rng.next_u64() as u8).collect();
        assert_eq!(super::super::filter::mar_hash(&address), usize::from(hash_bit_by_bit(&address)));
    }
}

#[test]
fn the_ring_stores_header_frame_and_fcs_at_every_size_with_and_without_wrap() {
    for (rblen, size) in [(0u32, 0x2000u32), (1, 0x4000), (2, 0x8000), (3, 0x1_0000)] {
        for no_wrap in [false, true] {
            let mut bench = running();
            bench.outl(RCR, 0x0a | rblen << 11 | u32::from(no_wrap) << 7);
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
                assert_eq!(u32::from(bench.inw(CBR)), at);
            }
        }
    }
}

#[test]
fn a_wrapping_ring_never_writes_past_its_end() {
    let mut bench = running();
    bench.memory.write(RING + 0x2000, &[0xaa; 0x800]);
    let mut at = 0;
    for n in 0..50 {
        deliver(&mut bench, &frame(MAC, 1000 + n));
        next(&mut bench, &mut at, 0x2000, true).unwrap();
    }
    assert_eq!(memory(&bench, RING + 0x2000, 0x800), vec![0xaa; 0x800]);
}

#[test]
fn short_frames_from_the_host_arrive_padded_with_zeros() {
    let mut bench = running();
    let bytes = frame(MAC, 42);
    deliver(&mut bench, &bytes);
    let padded = [bytes, vec![0; 18]].concat();
    let (status, got) = next(&mut bench, &mut 0, 0x2000, true).unwrap();
    assert_eq!((status, got), (0x4001, [&padded[..], &crc(&padded)].concat()));
}

#[test]
fn oversized_frames_set_rer_and_truncated_frames_are_dropped() {
    let mut bench = running();
    for len in [0, 5, 13] {
        assert_eq!(deliver(&mut bench, &vec![0xff; len]), 0);
    }
    assert_eq!(bench.inw(ISR), 0);
    assert_eq!(deliver(&mut bench, &frame(MAC, 4093)), 0);
    assert_eq!((bench.inw(ISR), bench.inw(CBR)), (0x0002, 0));
    assert_eq!(deliver(&mut bench, &frame(MAC, 4092)), 0);
    assert_eq!(bench.inw(CBR), 4100);
}

#[test]
fn a_partial_checksum_from_the_host_is_completed() {
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
    assert_eq!(bench.inw(ISR), 0x0003, "a checksum field past the frame's end sets RER");
}

#[test]
fn frames_wait_for_room_and_are_dropped_after_one_second() {
    let mut bench = running();
    let frames: Vec<Frame> = (0..20).map(|n| frame(MAC, 1400 + n).into()).collect();
    let waiting = bench.receive(NIC, frames);
    assert_eq!(waiting, 20 - 6, "five frames in the ring, one pending");
    assert_eq!(bench.inw(ISR), 0x0001, "no frame is lost");
    let mut at = 0;
    for n in 0..20 {
        let (_, got) = next(&mut bench, &mut at, 0x2000, true).unwrap();
        assert_eq!(got.len(), 1404 + n, "frame {n} in order");
    }
    assert_eq!((next(&mut bench, &mut at, 0x2000, true), bench.inl(MPC)), (None, 0));

    bench.receive(NIC, (0..20).map(|n| frame(MAC, 1400 + n).into()));
    bench.outw(ISR, 0xffff);
    bench.advance(1_100_000_000);
    assert_eq!((bench.inw(ISR), bench.inl(MPC)), (0x0011, 15));
    assert_eq!(bench.timers.len(), 0, "the polling has ended");
    assert_eq!(bench.receive(NIC, [frame(MAC, 1400).into()]), 0);
    assert_eq!(bench.inl(MPC), 16);
    next(&mut bench, &mut at, 0x2000, true).unwrap();
    bench.outl(MPC, 5);
    assert_eq!(bench.receive(NIC, [frame(MAC, 1400).into(), frame(MAC, 1400).into()]), 0);
    assert_eq!(bench.inl(MPC), 0, "a write clears MPC, and frames wait for room again");
}

#[test]
fn a_coalesced_capr_write_delivers_the_pending_frame() {
    let mut bench = running();
    bench.receive(NIC, (0..8).map(|n| frame(MAC, 1400 + n).into()));
    let before = bench.inw(CBR);
    // The board drains the coalescing ring before it delivers the timer.
    bench.advance(499_000);
    bench.outw(CAPR, 1408 - 16);
    assert_ne!(bench.inw(CBR), before, "a write to CAPR delivers the pending frame");
    let regions: Vec<Region> = Device::regions(&bench.device);
    assert_eq!(regions.len(), 2);
    for region in regions {
        assert_eq!(region.coalesce, [0x20..0x30, 0x38..0x3a]);
    }
}

#[test]
fn frames_are_dropped_while_re_is_clear() {
    let mut bench = running();
    bench.outb(CR, 0x04);
    assert_eq!(deliver(&mut bench, &frame(MAC, 100)), 0);
    bench.outb(CR, 0x0c);
    assert_eq!((bench.inb(CR), bench.inw(ISR)), (0x0d, 0), "frames from before RE are not received");
    bench.receive(NIC, (0..20).map(|n| frame(MAC, 1400 + n).into()));
    bench.outb(CR, 0x04);
    assert_eq!(bench.receive(NIC, []), 0);
    assert!(!bench.device.rx.has_pending_frame());
}

#[test]
fn rok_is_repeated_for_frames_left_in_the_ring() {
    // Linux's 8139too at the end of its budget: it clears ROK after each frame and returns to the ring only if ROK is
    // set.
    let mut bench = running();
    bench.receive(NIC, (0..12).map(|n| frame(MAC, 1400 + n).into()));
    let mut at = 0;
    bench.outw(IMR, 0);
    for _ in 0..3 {
        next(&mut bench, &mut at, 0x2000, true).unwrap();
        bench.outw(ISR, 0x0051);
    }
    assert_eq!((bench.inw(ISR), bench.irq(INTA)), (0, false));
    bench.outw(IMR, 0x0001);
    assert_eq!((bench.inw(ISR), bench.irq(INTA)), (1, true), "unmasking ROK sets it again");
    bench.outw(ISR, 0x0001);
    assert!(!bench.irq(INTA), "ROK is not set again after every clear");
    bench.advance(600_000);
    assert!(bench.irq(INTA), "the poll timer sets ROK again");
    let count = std::iter::from_fn(|| next(&mut bench, &mut at, 0x2000, true)).count();
    assert_eq!(count, 9);
    bench.outw(ISR, 0x0001);
    bench.advance(1_000_000_000);
    assert!(!bench.irq(INTA), "no frame is left");

    // No frame is pending but the ring is not empty: ROK is repeated once, and again only after the driver has read.
    bench.receive(NIC, (0..3).map(|_| frame(MAC, 100).into()));
    for expect in [true, false, false] {
        bench.outw(ISR, 0x0001);
        bench.outw(IMR, 0);
        bench.outw(IMR, 1);
        assert_eq!(bench.irq(INTA), expect);
    }
    next(&mut bench, &mut at, 0x2000, true).unwrap();
    bench.outw(IMR, 0);
    bench.outw(IMR, 1);
    assert!(bench.irq(INTA));
}

#[test]
fn a_slow_guest_loses_no_frames() {
    // Large frames wait behind many small ones, which the guest reads slowly.
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
    assert_eq!((count, bench.inl(MPC)), (114, 0));
}
