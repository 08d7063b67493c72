//! C+ descriptor rings: transmission, reception, offloads, VLAN tags, tally counters.

use super::super::offload;
use super::*;
use crate::net::{ChecksumAt, Offload, Segmentation};

const TX: u64 = 0x2_0000;
const HIGH: u64 = 0x2_1000;
const RX: u64 = 0x2_2000;
const BUFFERS: u64 = 0x8_0000;
const OWN: u32 = 0x8000_0000;
const EOR: u32 = 0x4000_0000;
const FS: u32 = 0x2000_0000;
const LS: u32 = 0x1000_0000;
const LGSEN: u32 = 0x0800_0000;
const TASKS: u32 = 0x0007_0000;

fn descriptor(bench: &Bench<Rtl8139>, at: u64, command: u32, tag: u32, buffer: u64) {
    let bytes = [&command.to_le_bytes()[..], &tag.to_le_bytes(), &buffer.to_le_bytes()].concat();
    bench.memory.write(at, &bytes);
}

fn read(bench: &Bench<Rtl8139>, at: u64) -> (u32, u32) {
    (bench.memory.read_u32(at), bench.memory.read_u32(at + 4))
}

/// In C+ mode as Linux's 8139cp and the BSDs' re leave it; `cpcr` is added to CPTx and CPRx.
fn cplus(cpcr: u16) -> Bench<Rtl8139> {
    let mut bench = card();
    bench.outw(CPCR, cpcr | 3);
    for (register, value) in [(TSAD, TX), (TSAD + 4, 0), (TSAD + 8, HIGH), (TSAD + 12, 0), (RDSAR, RX), (RDSAR + 4, 0)]
    {
        bench.outl(register, value as u32);
    }
    bench.outb(CR, 0x0c);
    bench.outl(RCR, 0x0e);
    bench.outw(IMR, 0xffff);
    bench
}

fn post_rx_descriptors(bench: &Bench<Rtl8139>, count: u64, size: u32) {
    for n in 0..count {
        let end = if n + 1 == count { EOR } else { 0 };
        descriptor(bench, RX + 16 * n, OWN | end | size, 0, BUFFERS + 0x1000 * n);
    }
}

/// Sends one frame by one descriptor and returns it as the host gets it.
fn send(bench: &mut Bench<Rtl8139>, command: u32, tag: u32, bytes: &[u8]) -> Frame {
    bench.memory.write(BUFFERS, bytes);
    descriptor(bench, TX, OWN | EOR | FS | LS | command | bytes.len() as u32, tag, BUFFERS);
    bench.outb(TPPOLL, 0x40);
    assert_eq!(bench.sent.len(), 1, "one frame was sent");
    bench.sent.remove(0).1
}

/// An IPv4 packet of `protocol` with `options` dwords of IP options and garbage checksums.
fn packet(protocol: u8, options: u8, payload: &[u8]) -> Vec<u8> {
    let header = 20 + 4 * usize::from(options);
    let mut bytes = [&MAC[..], &OTHER[..], &[0x08, 0x00]].concat();
    bytes.extend([0x45 + options, 0]);
    bytes.extend(((header + payload.len()) as u16).to_be_bytes());
    bytes.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0xde, 0xad, 10, 0, 0, 1, 192, 168, 1, 2]);
    bytes.extend(vec![1; header - 20]);
    bytes.extend(payload);
    bytes
}

fn tcp(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x18, 0x10, 0, 0xbe, 0xef, 0, 0];
    bytes.extend(payload);
    bytes
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 0, 53];
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0xbe, 0xef]);
    bytes.extend(payload);
    bytes
}

/// The one's complement sum (RFC 1071), word by word.
fn internet_sum(bytes: &[u8]) -> u32 {
    let mut total = 0u32;
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        total = (total & 0xffff) + (total >> 16);
    }
    total
}

/// Whether the IP header's checksum and the payload's checksum are correct.
fn checksums_correct(frame: &[u8], at: usize) -> (bool, bool) {
    let header = usize::from(frame[at] & 15) * 4;
    let end = at + usize::from(u16::from_be_bytes([frame[at + 2], frame[at + 3]]));
    let body = &frame[at + header..end];
    let pseudo = [&frame[at + 12..at + 20], &[0, frame[at + 9]], &(body.len() as u16).to_be_bytes()].concat();
    let total = internet_sum(&pseudo) + internet_sum(body);
    (internet_sum(&frame[at..at + header]) == 0xffff, total.is_multiple_of(0xffff))
}

#[test]
fn frames_are_gathered_from_descriptors() {
    let mut bench = cplus(0);
    let bytes = frame(OTHER, 1000);
    bench.memory.write(BUFFERS, &bytes);
    descriptor(&bench, TX, OWN | FS | 100, 0, BUFFERS);
    descriptor(&bench, TX + 16, OWN | 300, 0, BUFFERS + 100);
    descriptor(&bench, TX + 32, OWN | LS | 600, 0, BUFFERS + 400);
    descriptor(&bench, TX + 48, OWN | EOR | FS | LS | 42, 0, BUFFERS);
    bench.outb(TPPOLL, 0x40);
    assert_eq!(sent(&mut bench), [bytes.clone(), [&bytes[..42], &[0; 18]].concat()]);
    assert_eq!(read(&bench, TX).0, FS | 100, "the length stays, for drivers that unmap by it");
    assert_eq!(read(&bench, TX + 32).0, LS | 600);
    assert_eq!(read(&bench, TX + 48).0, EOR | FS | LS | 42);
    assert_eq!(bench.inw(ISR), 0x0084, "TOK and TDU");
    assert_eq!(bench.inb(TPPOLL), 0);
    // The ring has wrapped.
    descriptor(&bench, TX, OWN | FS | LS | 100, 0, BUFFERS);
    bench.outb(TPPOLL, 0x40);
    assert_eq!(sent(&mut bench).len(), 1);
}

#[test]
fn a_frame_may_span_several_polls() {
    let mut bench = cplus(0);
    let bytes = frame(OTHER, 200);
    bench.memory.write(BUFFERS, &bytes);
    descriptor(&bench, TX, OWN | FS | 100, 0, BUFFERS);
    bench.outb(TPPOLL, 0x40);
    assert!(sent(&mut bench).is_empty());
    let saved = Device::save(&bench.device);
    Device::load(&mut bench.device, saved).unwrap();
    descriptor(&bench, TX + 16, OWN | LS | 100, 0, BUFFERS + 100);
    bench.outb(TPPOLL, 0x40);
    assert_eq!(sent(&mut bench), [bytes]);
}

#[test]
fn the_high_priority_ring_is_sent_first() {
    let mut bench = cplus(0);
    bench.memory.write(BUFFERS, &frame(OTHER, 100));
    bench.memory.write(BUFFERS + 0x1000, &frame(MAC, 100));
    descriptor(&bench, TX, OWN | EOR | FS | LS | 100, 0, BUFFERS);
    descriptor(&bench, HIGH, OWN | EOR | FS | LS | 100, 0, BUFFERS + 0x1000);
    bench.outb(TPPOLL, 0xc1);
    assert_eq!(sent(&mut bench), [frame(MAC, 100), frame(OTHER, 100)]);
    assert_eq!(bench.inw(ISR), 0x0184, "TPPoll.FSWInt sets SWInt");
}

#[test]
fn rings_restart_when_their_address_te_or_cptx_is_written() {
    let mut bench = cplus(0);
    for how in 0..3 {
        send(&mut bench, 0, 0, &frame(OTHER, 60));
        descriptor(&bench, TX, FS | LS | 60, 0, BUFFERS);
        descriptor(&bench, TX + 16, OWN | FS | LS | 60, 0, BUFFERS);
        match how {
            0 => bench.outl(TSAD, TX as u32),
            1 => {
                bench.outb(CR, 0x08);
                bench.outb(CR, 0x0c);
            }
            _ => {
                bench.outw(CPCR, 2);
                bench.outw(CPCR, 3);
            }
        }
        bench.outb(TPPOLL, 0x40);
        assert!(sent(&mut bench).is_empty(), "{how}");
    }
}

#[test]
fn tx_checksums_are_left_to_the_host_or_computed() {
    let mut bench = cplus(0);
    for (protocol, body, field) in [(6, tcp(b"hello world"), 16), (17, udp(b"hello world"), 6)] {
        for options in [0, 3] {
            let start = 34 + 4 * u16::from(options);
            let bytes = packet(protocol, options, &body);
            let frame = send(&mut bench, TASKS, 0, &bytes);
            let at = ChecksumAt { start, offset: field };
            assert_eq!(frame.offload, Offload { checksum: Some(at), ..Offload::default() });
            let mut completed = frame.bytes;
            assert!(offload::fill_checksum(&mut completed, at));
            assert_eq!(checksums_correct(&completed, 14), (true, true), "{protocol} {options}");
            assert_eq!(completed[14..24], bytes[14..24], "the rest of the header is unchanged");

            // Bytes behind the packet are not part of the sum.
            let frame = send(&mut bench, TASKS, 0, &[&bytes[..], &[1; 40]].concat());
            assert_eq!(frame.offload, Offload::default());
            assert_eq!(checksums_correct(&frame.bytes, 14), (true, true));
        }
        let bytes = packet(protocol, 0, &body);
        let other = if protocol == 6 { 0x0002_0000 } else { 0x0001_0000 };
        let frame = send(&mut bench, other, 0, &bytes);
        assert_eq!(
            (&frame.bytes[..bytes.len()], frame.offload),
            (&bytes[..], Offload::default()),
            "offload of the other protocol"
        );
        let frame = send(&mut bench, 0x0004_0000, 0, &bytes);
        assert_eq!(
            (checksums_correct(&frame.bytes, 14).0, frame.offload),
            (true, Offload::default()),
            "IP checksum only"
        );
        assert_eq!(frame.bytes[34..bytes.len()], bytes[34..]);
    }
}

#[test]
fn a_vlan_tag_is_inserted_and_offloads_skip_it() {
    let mut bench = cplus(0);
    let bytes = packet(17, 0, &udp(b"tagged"));
    let expect = [&bytes[..12], &[0x81, 0x00, 0xa1, 0x23], &bytes[12..]].concat();
    let frame = send(&mut bench, 0, 0x0002_23a1, &bytes);
    assert_eq!(frame.bytes[..expect.len()], expect);
    let frame = send(&mut bench, TASKS, 0x0002_23a1, &bytes);
    let at = ChecksumAt { start: 38, offset: 6 };
    assert_eq!(frame.offload.checksum, Some(at));
    let mut completed = frame.bytes;
    offload::fill_checksum(&mut completed, at);
    assert_eq!(checksums_correct(&completed, 18), (true, true));
    // For any split of the addresses into descriptors.
    for cut in [1, 11, 12, 13] {
        bench.memory.write(BUFFERS, &bytes);
        descriptor(&bench, TX, OWN | FS | cut, 0x0002_23a1, BUFFERS);
        descriptor(&bench, TX + 16, OWN | EOR | LS | (bytes.len() as u32 - cut), 0, BUFFERS + u64::from(cut));
        bench.outb(TPPOLL, 0x40);
        assert_eq!(bench.sent.remove(0).1.bytes[..expect.len()], expect, "{cut}");
    }
}

#[test]
fn a_large_send_leaves_as_one_gso_frame() {
    let mut bench = cplus(0);
    let payload: Vec<u8> = (0..65_535 - 40).map(|n| (n * 11) as u8).collect();
    let bytes = packet(6, 0, &tcp(&payload));
    assert_eq!(bytes.len(), 14 + 65_535);
    bench.memory.write(BUFFERS, &bytes);
    let command = LGSEN | 1460 << 16;
    let mut at = 0;
    for n in 0..17u64 {
        let len = (bytes.len() - at).min(4096);
        let edge = if n == 0 { FS } else { 0 } | if at + len == bytes.len() { LS | EOR } else { 0 };
        descriptor(&bench, TX + 16 * n, OWN | edge | command | len as u32, 0, BUFFERS + at as u64);
        at += len;
    }
    bench.outb(TPPOLL, 0x40);
    assert_eq!(bench.sent.len(), 1);
    let frame = bench.sent.remove(0).1;
    let at = ChecksumAt { start: 34, offset: 16 };
    let cut = Segmentation { ipv6: false, header: 54, mss: 1460 };
    assert_eq!(frame.offload, Offload { checksum: Some(at), segmentation: Some(cut), verified: false });
    assert_eq!(frame.bytes[54..], payload);
    let pseudo = [&frame.bytes[26..34], &[0, 6], &(65_515u16).to_be_bytes()].concat();
    assert_eq!(u32::from(u16::from_be_bytes([frame.bytes[50], frame.bytes[51]])), internet_sum(&pseudo));
    assert_eq!(internet_sum(&frame.bytes[14..34]), 0xffff);
    assert_eq!(read(&bench, TX + 16 * 16).0 & OWN, 0);

    // With a VLAN tag.
    descriptor(&bench, TX, OWN | FS | command | 0x8000, 0x0002_0500, BUFFERS);
    descriptor(&bench, TX + 16, OWN | EOR | LS | command | (bytes.len() as u32 - 0x8000), 0, BUFFERS + 0x8000);
    bench.outb(TPPOLL, 0x40);
    let tagged = bench.sent.remove(0).1;
    assert_eq!((tagged.bytes.len(), tagged.bytes[58..] == payload), (crate::net::MAX_SEND, true));
    assert_eq!(tagged.offload.segmentation, Some(Segmentation { header: 58, ..cut }));
}

#[test]
fn a_large_send_within_the_mss_is_sent_with_checksum_offload_only() {
    let mut bench = cplus(0);
    let mut bytes = packet(6, 0, &tcp(&[7; 1000]));
    // Drivers leave the total length undefined.
    bytes[16..18].fill(0);
    let frame = send(&mut bench, LGSEN | 1000 << 16, 0, &bytes);
    let at = ChecksumAt { start: 34, offset: 16 };
    assert_eq!(frame.offload, Offload { checksum: Some(at), ..Offload::default() });
    let mut completed = frame.bytes;
    offload::fill_checksum(&mut completed, at);
    assert_eq!(checksums_correct(&completed, 14), (true, true));
    let frame = send(&mut bench, LGSEN | 999 << 16, 0, &bytes);
    assert!(frame.offload.segmentation.is_some());
}

#[test]
fn frames_are_received_into_descriptors() {
    let mut bench = cplus(0);
    post_rx_descriptors(&bench, 4, 1536);
    let bytes = frame(MAC, 100);
    for n in 0..6u64 {
        let at = n % 4;
        if n >= 4 {
            descriptor(&bench, RX + 16 * at, OWN | if at == 3 { EOR } else { 0 } | 1536, 0, BUFFERS + 0x1000 * at);
        }
        assert_eq!(deliver(&mut bench, &bytes), 0);
        let end = if at == 3 { EOR } else { 0 };
        assert_eq!(read(&bench, RX + 16 * at), (FS | LS | end | 0x0200_0000 | 104, 0));
        assert_eq!(memory(&bench, BUFFERS + 0x1000 * at, 104), [&bytes[..], &crc(&bytes)].concat());
    }
    deliver(&mut bench, &frame([0xff; 6], 100));
    assert_eq!(bench.inw(ISR), 0x0001, "the frame waits for a descriptor");
    descriptor(&bench, RX + 32, OWN | 1536, 0, BUFFERS);
    bench.advance(600_000);
    assert_eq!(read(&bench, RX + 32).0, FS | LS | 0x0100_0000 | 104, "the poll timer found the descriptor");
    bench.outw(ISR, 0xffff);
    deliver(&mut bench, &bytes);
    descriptor(&bench, RX + 48, OWN | EOR | 1536, 0, BUFFERS);
    assert_eq!(bench.inw(ISR), 0x0001, "a register read found the descriptor");
}

#[test]
fn rok_is_repeated_while_the_driver_returns_descriptors() {
    for count in [64, 20] {
        let mut bench = cplus(0);
        post_rx_descriptors(&bench, count, 1536);
        bench.receive(NIC, (0..10).map(|_| frame(MAC, 100).into()));
        bench.outw(ISR, 0xffff);
        let unmask = |bench: &mut Bench<Rtl8139>| {
            bench.outw(IMR, 0);
            bench.outw(ISR, 0xffff);
            bench.outw(IMR, 0xffff);
            bench.irq(INTA)
        };
        let return_descriptor = |bench: &Bench<Rtl8139>, n: u64| {
            let end = if n + 1 == count { EOR } else { 0 };
            descriptor(bench, RX + 16 * n, OWN | end | 1536, 0, BUFFERS + 0x1000 * n);
        };
        for n in 0..10 {
            assert!(unmask(&mut bench), "{n} descriptors returned");
            assert!(!unmask(&mut bench), "no further descriptor was returned");
            return_descriptor(&bench, n);
        }
        assert!(!unmask(&mut bench), "no frame is left");
        // Past the ring's end, as EOR defines it, and after a restore.
        bench.receive(NIC, (10..count + 2).map(|_| frame(MAC, 100).into()));
        (10..count + 1).for_each(|n| return_descriptor(&bench, n % count));
        let saved = Device::save(&bench.device);
        Device::load(&mut bench.device, saved).unwrap();
        assert!(unmask(&mut bench));
        return_descriptor(&bench, 1);
        assert!(!unmask(&mut bench));
    }
}

#[test]
fn a_frame_may_span_several_receive_descriptors() {
    let mut bench = cplus(0);
    post_rx_descriptors(&bench, 4, 256);
    let bytes = frame(MAC, 600);
    deliver(&mut bench, &bytes);
    assert_eq!(read(&bench, RX).0 & !0x0fff_e000, FS | 256);
    assert_eq!(read(&bench, RX + 16).0 & !0x0fff_e000, 256);
    assert_eq!(read(&bench, RX + 32).0 & !0x0fff_e000, LS | 604);
    let got: Vec<u8> = (0..3).flat_map(|n| memory(&bench, BUFFERS + 0x1000 * n, 256)).take(600).collect();
    assert_eq!(got, bytes);
    // One descriptor is left, which has too little room.
    deliver(&mut bench, &bytes);
    assert_eq!(read(&bench, RX + 48).0, OWN | EOR | 256);
    bench.advance(2_000_000_000);
    assert_eq!((bench.inw(ISR) & 0x10, bench.inl(MPC)), (0x10, 1));
}

#[test]
fn vlan_tags_are_removed_if_cpcr_enables_it() {
    let plain = frame(MAC, 100);
    let tagged = [&plain[..12], &[0x81, 0x00, 0xa1, 0x23], &plain[12..]].concat();
    let mut bench = cplus(0x40);
    post_rx_descriptors(&bench, 4, 1536);
    deliver(&mut bench, &tagged);
    assert_eq!(read(&bench, RX), (FS | LS | 0x0200_0000 | 104, 0x0001_23a1));
    assert_eq!(memory(&bench, BUFFERS, 100), plain);
    deliver(&mut bench, &plain);
    assert_eq!(read(&bench, RX + 16), (FS | LS | 0x0200_0000 | 104, 0));
    let mut bench = cplus(0);
    post_rx_descriptors(&bench, 4, 1536);
    deliver(&mut bench, &tagged);
    assert_eq!(read(&bench, RX), (FS | LS | 0x0200_0000 | 108, 0));
    assert_eq!(memory(&bench, BUFFERS, 104), tagged);
}

#[test]
fn rx_checksums_are_checked_if_cpcr_enables_it() {
    let mut good_tcp = packet(6, 0, &tcp(b"x"));
    let mut good_udp = packet(17, 2, &udp(b"yy"));
    let tasks = offload::OffloadTasks { ip: true, udp: true, tcp: true, mss: None };
    offload::prepare_tx(&mut good_tcp, tasks, true);
    offload::prepare_tx(&mut good_udp, tasks, true);
    assert_eq!((checksums_correct(&good_tcp, 14), checksums_correct(&good_udp, 14)), ((true, true), (true, true)));
    let change = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0x40;
        bytes
    };
    let mut none = good_udp.clone();
    none[48..50].fill(0);
    let mut icmp = packet(1, 0, &[8; 30]);
    offload::prepare_tx(&mut icmp, tasks, true);
    let mut fragment = good_tcp.clone();
    fragment[20] = 0x20;
    let (ipf, udpf, tcpf) = (1 << 15, 1 << 14, 1 << 13);
    for (name, bytes, expect) in [
        ("tcp", good_tcp.clone(), 1 << 16),
        ("udp", good_udp.clone(), 2 << 16),
        ("udp without", none, 2 << 16),
        ("icmp", icmp, 3 << 16),
        ("arp", frame(MAC, 60), 0),
        ("bad ip", change(&good_tcp, 22), 1 << 16 | ipf),
        ("bad tcp", change(&good_tcp, 50), 1 << 16 | tcpf),
        ("bad udp", change(&good_udp, 50), 2 << 16 | udpf),
        ("fragment", fragment, 3 << 16 | ipf),
    ] {
        for (cpcr, expect) in [(0x20, expect), (0, 0)] {
            let mut bench = cplus(cpcr);
            post_rx_descriptors(&bench, 4, 1536);
            deliver(&mut bench, &bytes);
            assert_eq!(read(&bench, RX).0 & 0x0003_e000, expect, "{name}");
        }
    }
    let mut bench = cplus(0x20);
    post_rx_descriptors(&bench, 4, 1536);
    let offload = Offload { verified: true, ..Offload::default() };
    bench.receive(NIC, [Frame { bytes: change(&good_tcp, 50), offload }]);
    assert_eq!(read(&bench, RX).0 & 0x0003_e000, 1 << 16, "a frame verified by the host is not checked");
}

#[test]
fn dtccr_dumps_the_tally_counters() {
    let mut bench = cplus(0);
    post_rx_descriptors(&bench, 8, 1536);
    for to in [MAC, MAC, MAC, [0xff; 6], [0xff; 6]] {
        deliver(&mut bench, &frame(to, 60));
    }
    bench.outb(MAR, 0xff);
    bench.outl(MAR, 0xffff_ffff);
    bench.outl(MAR + 4, 0xffff_ffff);
    deliver(&mut bench, &frame([1, 2, 3, 4, 5, 6], 60));
    deliver(&mut bench, &frame(MAC, 5000));
    send(&mut bench, 0, 0, &frame(OTHER, 60));
    bench.outl(TSD + 4, 0);
    bench.outl(TSD, 0x3_0000 | 8);
    assert_eq!(bench.inl(TSD) & 8, 0, "the dump command reads 0");
    let dump = memory(&bench, 0x3_0000, 64);
    let number = |at: usize, len: usize| {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&dump[at..at + len]);
        u64::from_le_bytes(bytes)
    };
    assert_eq!((number(0, 8), number(8, 8), number(16, 8), number(24, 4)), (1, 6, 0, 1), "TxOk, RxOk, TxER, RxEr");
    assert_eq!((number(28, 2), number(40, 8), number(48, 8), number(56, 4)), (0, 3, 2, 1));
    bench.outl(TSD, 0x3_1000);
    assert_eq!(memory(&bench, 0x3_1000, 64), vec![0; 64], "no dump without the command bit");
}

#[test]
fn slots_and_descriptor_rings_exclude_each_other() {
    let mut bench = cplus(0);
    bench.outl(TSD, 60);
    bench.outl(TSD + 12, 60);
    assert!(sent(&mut bench).is_empty());
    bench.outw(CPCR, 0);
    bench.outl(TSAD, BUFFERS as u32);
    bench.outl(TSD, 60);
    assert_eq!(sent(&mut bench).len(), 1);
    bench.outb(TPPOLL, 0x40);
    assert!(sent(&mut bench).is_empty());
}
