//! Properties that hold for all frames, ring sizes and descriptor splits.

use super::super::offload;
use super::*;
use proptest::prelude::*;

const TX: u64 = 0x2_0000;
const DATA: u64 = 0x8_0000;

fn descriptor(bench: &Bench<Rtl8139>, at: u64, command: u32, buffer: u64) {
    bench.memory.write(at, &[&command.to_le_bytes()[..], &[0; 4], &buffer.to_le_bytes()].concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// For any ring size and reading speed all frames arrive complete and in order.
    #[test]
    fn the_ring_delivers_all_frames_unchanged_and_in_order(
        rblen in 0u32..4,
        no_wrap: bool,
        steps in prop::collection::vec((prop::collection::vec(14usize..1600, 0..6), 0usize..8), 1..40),
    ) {
        let mut bench = running();
        bench.outl(RCR, 0x0a | rblen << 11 | u32::from(no_wrap) << 7);
        let size = 0x2000u32 << rblen;
        let straight = no_wrap && rblen < 3;
        let mut expected = std::collections::VecDeque::new();
        let mut at = 0u32;
        let mut read = |bench: &mut Bench<Rtl8139>, expected: &mut std::collections::VecDeque<Vec<u8>>| {
            if bench.inb(CR) & 1 != 0 {
                return false;
            }
            let header = memory(bench, RING + u64::from(at), 4);
            let len = u32::from(u16::from_le_bytes([header[2], header[3]]));
            let first = if straight { len } else { len.min(size - at - 4) };
            let mut got = memory(bench, RING + u64::from(at) + 4, first as usize);
            got.extend(memory(bench, RING, (len - first) as usize));
            let mut frame: Vec<u8> = expected.pop_front().unwrap();
            frame.resize(frame.len().max(60), 0);
            frame.extend(crc(&frame));
            assert_eq!(got, frame);
            at = (at + 4 + len).next_multiple_of(4) % size;
            bench.outw(CAPR, (at as u16).wrapping_sub(16));
            true
        };
        for (frames, reads) in steps {
            let frames: Vec<Vec<u8>> = frames.into_iter().map(|len| frame(MAC, len)).collect();
            expected.extend(frames.iter().cloned());
            bench.receive(NIC, frames.into_iter().map(Frame::from));
            for _ in 0..reads {
                read(&mut bench, &mut expected);
            }
        }
        while read(&mut bench, &mut expected) {}
        prop_assert!(expected.is_empty());
        prop_assert_eq!(bench.inl(MPC), 0);
    }

    /// For any split into descriptors the frame is sent unchanged.
    #[test]
    fn a_frame_split_over_descriptors_is_sent_unchanged(cuts in prop::collection::vec(0usize..1514, 0..20), tag in any::<Option<u16>>()) {
        let mut bench = card();
        bench.outw(CPCR, 3);
        bench.outl(TSAD, TX as u32);
        bench.outb(CR, 0x0c);
        let bytes = frame(OTHER, 1514);
        bench.memory.write(DATA, &bytes);
        let mut boundaries = [cuts, vec![0, 1514]].concat();
        boundaries.sort_unstable();
        let count = boundaries.len() - 1;
        for (n, pair) in boundaries.windows(2).enumerate() {
            let edge = if n == 0 { 0x2000_0000 } else { 0 } | if n + 1 == count { 0x1000_0000 } else { 0 };
            descriptor(&bench, TX + 16 * n as u64, 0x8000_0000 | edge | (pair[1] - pair[0]) as u32, DATA + pair[0] as u64);
        }
        let tag_dword = tag.map_or(0, |tag| 0x0002_0000 | u32::from(tag.swap_bytes()));
        bench.memory.write(TX + 4, &tag_dword.to_le_bytes());
        bench.outb(TPPOLL, 0x40);
        let expect = match tag {
            None => bytes,
            Some(tag) => [&bytes[..12], &[0x81, 0], &tag.to_be_bytes(), &bytes[12..]].concat(),
        };
        prop_assert_eq!(sent(&mut bench), [expect]);
    }

    /// Checksums computed here equal those left to the host, and the receiver finds them correct.
    #[test]
    fn checksums_computed_here_and_by_the_host_agree(
        payload in prop::collection::vec(any::<u8>(), 0..1400),
        options in 0usize..11,
        udp: bool,
        addresses in any::<u64>(),
    ) {
        let header = 20 + 4 * options;
        let l4 = if udp { 8 } else { 20 };
        let mut bytes = frame(OTHER, 14 + header);
        bytes[12..16].copy_from_slice(&[8, 0, 0x40 | (header / 4) as u8, 0]);
        bytes[16..18].copy_from_slice(&((header + l4 + payload.len()) as u16).to_be_bytes());
        bytes[20..24].copy_from_slice(&[0x40, 0, 64, if udp { 17 } else { 6 }]);
        bytes[26..34].copy_from_slice(&addresses.to_le_bytes());
        bytes.extend(vec![0x50; l4]);
        bytes.extend(&payload);
        let tasks = offload::OffloadTasks { ip: true, udp: true, tcp: true, mss: None };
        let (mut here, mut there) = (bytes.clone(), bytes);
        prop_assert_eq!(offload::prepare_tx(&mut here, tasks, true), Default::default());
        let left = offload::prepare_tx(&mut there, tasks, false);
        prop_assert!(offload::fill_checksum(&mut there, left.checksum.unwrap()));
        prop_assert_eq!(&here, &there);
        let protocol = if udp { 2 } else { 1 };
        let expect = offload::RxChecksumStatus { protocol, ..Default::default() };
        prop_assert_eq!(offload::check_rx(&here, false), expect);
        // A flipped bit is detected.
        let at = 14 + header + l4 + payload.len() - 1;
        here[at] ^= 1;
        let verdict = offload::check_rx(&here, false);
        prop_assert!(verdict.tcp_failed || verdict.udp_failed);
    }
}
