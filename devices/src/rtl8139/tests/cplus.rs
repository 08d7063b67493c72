//! Descriptors: sending, receiving, offloads, tags, counters.

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

/// In C+ mode as 8139cp and re leave it, with `cpcr` besides the two rings' bits.
fn cplus(cpcr: u16) -> Bench<Rtl8139> {
    let mut bench = card();
    bench.outw(IO + 0xe0, cpcr | 3);
    for (register, value) in [(0x20, TX), (0x24, 0), (0x28, HIGH), (0x2c, 0), (0xe4, RX), (0xe8, 0)] {
        bench.outl(IO + register, value as u32);
    }
    bench.outb(IO + 0x37, 0x0c);
    bench.outl(IO + 0x44, 0x0e);
    bench.outw(IO + 0x3c, 0xffff);
    bench
}

fn give_descriptors(bench: &Bench<Rtl8139>, count: u64, size: u32) {
    for n in 0..count {
        let end = if n + 1 == count { EOR } else { 0 };
        descriptor(bench, RX + 16 * n, OWN | end | size, 0, BUFFERS + 0x1000 * n);
    }
}

/// Sends one frame by one descriptor, and gives what left.
fn send(bench: &mut Bench<Rtl8139>, command: u32, tag: u32, bytes: &[u8]) -> Frame {
    bench.memory.write(BUFFERS, bytes);
    descriptor(bench, TX, OWN | EOR | FS | LS | command | bytes.len() as u32, tag, BUFFERS);
    bench.outb(IO + 0xd9, 0x40);
    assert_eq!(bench.sent.len(), 1, "a frame left");
    bench.sent.remove(0).1
}

/// An IPv4 packet of `protocol` with `options` words in its header; checksums are garbage.
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

/// The sum of RFC 1071, word by word.
fn words(bytes: &[u8]) -> u32 {
    let mut total = 0u32;
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        total = (total & 0xffff) + (total >> 16);
    }
    total
}

/// Whether the IP header's and the payload's checksums are right.
fn right(frame: &[u8], at: usize) -> (bool, bool) {
    let header = usize::from(frame[at] & 15) * 4;
    let end = at + usize::from(u16::from_be_bytes([frame[at + 2], frame[at + 3]]));
    let body = &frame[at + header..end];
    let pseudo = [&frame[at + 12..at + 20], &[0, frame[at + 9]], &(body.len() as u16).to_be_bytes()].concat();
    let total = words(&pseudo) + words(body);
    (words(&frame[at..at + header]) == 0xffff, total.is_multiple_of(0xffff))
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
    bench.outb(IO + 0xd9, 0x40);
    assert_eq!(sent(&mut bench), [bytes.clone(), [&bytes[..42], &[0; 18]].concat()]);
    assert_eq!(read(&bench, TX).0, FS | 100, "the length stays, for drivers that unmap by it");
    assert_eq!(read(&bench, TX + 32).0, LS | 600);
    assert_eq!(read(&bench, TX + 48).0, EOR | FS | LS | 42);
    assert_eq!(bench.inw(IO + 0x3e), 0x0084, "TOK and TDU");
    assert_eq!(bench.inb(IO + 0xd9), 0);
    // The ring has come round.
    descriptor(&bench, TX, OWN | FS | LS | 100, 0, BUFFERS);
    bench.outb(IO + 0xd9, 0x40);
    assert_eq!(sent(&mut bench).len(), 1);
}

#[test]
fn a_frame_may_come_in_several_polls() {
    let mut bench = cplus(0);
    let bytes = frame(OTHER, 200);
    bench.memory.write(BUFFERS, &bytes);
    descriptor(&bench, TX, OWN | FS | 100, 0, BUFFERS);
    bench.outb(IO + 0xd9, 0x40);
    assert!(sent(&mut bench).is_empty());
    let saved = Device::save(&bench.device);
    Device::load(&mut bench.device, saved).unwrap();
    descriptor(&bench, TX + 16, OWN | LS | 100, 0, BUFFERS + 100);
    bench.outb(IO + 0xd9, 0x40);
    assert_eq!(sent(&mut bench), [bytes]);
}

#[test]
fn the_ring_of_high_priority_goes_first() {
    let mut bench = cplus(0);
    bench.memory.write(BUFFERS, &frame(OTHER, 100));
    bench.memory.write(BUFFERS + 0x1000, &frame(MAC, 100));
    descriptor(&bench, TX, OWN | EOR | FS | LS | 100, 0, BUFFERS);
    descriptor(&bench, HIGH, OWN | EOR | FS | LS | 100, 0, BUFFERS + 0x1000);
    bench.outb(IO + 0xd9, 0xc1);
    assert_eq!(sent(&mut bench), [frame(MAC, 100), frame(OTHER, 100)]);
    assert_eq!(bench.inw(IO + 0x3e), 0x0184, "and a software interrupt was asked for");
}

#[test]
fn rings_begin_anew_when_their_address_is_written_or_the_transmitter_starts() {
    let mut bench = cplus(0);
    for how in 0..3 {
        send(&mut bench, 0, 0, &frame(OTHER, 60));
        descriptor(&bench, TX, FS | LS | 60, 0, BUFFERS);
        descriptor(&bench, TX + 16, OWN | FS | LS | 60, 0, BUFFERS);
        match how {
            0 => bench.outl(IO + 0x20, TX as u32),
            1 => {
                bench.outb(IO + 0x37, 0x08);
                bench.outb(IO + 0x37, 0x0c);
            }
            _ => {
                bench.outw(IO + 0xe0, 2);
                bench.outw(IO + 0xe0, 3);
            }
        }
        bench.outb(IO + 0xd9, 0x40);
        assert!(sent(&mut bench).is_empty(), "{how}");
    }
}

#[test]
fn checksums_are_left_to_the_host_or_done() {
    let mut bench = cplus(0);
    for (protocol, body, field) in [(6, tcp(b"hello world"), 16), (17, udp(b"hello world"), 6)] {
        for options in [0, 3] {
            let start = 34 + 4 * u16::from(options);
            let bytes = packet(protocol, options, &body);
            let frame = send(&mut bench, TASKS, 0, &bytes);
            let at = ChecksumAt { start, offset: field };
            assert_eq!(frame.offload, Offload { checksum: Some(at), ..Offload::default() });
            let mut whole = frame.bytes;
            assert!(offload::fill(&mut whole, at));
            assert_eq!(right(&whole, 14), (true, true), "{protocol} {options}");
            assert_eq!(whole[14..24], bytes[14..24], "nothing else changed");

            // What lies behind the packet is not part of the sum.
            let frame = send(&mut bench, TASKS, 0, &[&bytes[..], &[1; 40]].concat());
            assert_eq!(frame.offload, Offload::default());
            assert_eq!(right(&frame.bytes, 14), (true, true));
        }
        let bytes = packet(protocol, 0, &body);
        let other = if protocol == 6 { 0x0002_0000 } else { 0x0001_0000 };
        let frame = send(&mut bench, other, 0, &bytes);
        assert_eq!((&frame.bytes[..bytes.len()], frame.offload), (&bytes[..], Offload::default()), "not asked for");
        let frame = send(&mut bench, 0x0004_0000, 0, &bytes);
        assert_eq!((right(&frame.bytes, 14).0, frame.offload), (true, Offload::default()), "IP only");
        assert_eq!(frame.bytes[34..bytes.len()], bytes[34..]);
    }
}

#[test]
fn a_tag_is_inserted_and_offloads_look_behind_it() {
    let mut bench = cplus(0);
    let bytes = packet(17, 0, &udp(b"tagged"));
    let expect = [&bytes[..12], &[0x81, 0x00, 0xa1, 0x23], &bytes[12..]].concat();
    let frame = send(&mut bench, 0, 0x0002_23a1, &bytes);
    assert_eq!(frame.bytes[..expect.len()], expect);
    let frame = send(&mut bench, TASKS, 0x0002_23a1, &bytes);
    let at = ChecksumAt { start: 38, offset: 6 };
    assert_eq!(frame.offload.checksum, Some(at));
    let mut whole = frame.bytes;
    offload::fill(&mut whole, at);
    assert_eq!(right(&whole, 18), (true, true));
    // However the addresses are cut into pieces.
    for cut in [1, 11, 12, 13] {
        bench.memory.write(BUFFERS, &bytes);
        descriptor(&bench, TX, OWN | FS | cut, 0x0002_23a1, BUFFERS);
        descriptor(&bench, TX + 16, OWN | EOR | LS | (bytes.len() as u32 - cut), 0, BUFFERS + u64::from(cut));
        bench.outb(IO + 0xd9, 0x40);
        assert_eq!(bench.sent.remove(0).1.bytes[..expect.len()], expect, "{cut}");
    }
}

#[test]
fn a_large_send_leaves_as_one_frame() {
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
    bench.outb(IO + 0xd9, 0x40);
    assert_eq!(bench.sent.len(), 1);
    let frame = bench.sent.remove(0).1;
    let at = ChecksumAt { start: 34, offset: 16 };
    let cut = Segmentation { ipv6: false, header: 54, mss: 1460 };
    assert_eq!(frame.offload, Offload { checksum: Some(at), segmentation: Some(cut), verified: false });
    assert_eq!(frame.bytes[54..], payload);
    let pseudo = [&frame.bytes[26..34], &[0, 6], &(65_515u16).to_be_bytes()].concat();
    assert_eq!(u32::from(u16::from_be_bytes([frame.bytes[50], frame.bytes[51]])), words(&pseudo));
    assert_eq!(words(&frame.bytes[14..34]), 0xffff);
    assert_eq!(read(&bench, TX + 16 * 16).0 & OWN, 0);

    // And with a tag.
    descriptor(&bench, TX, OWN | FS | command | 0x8000, 0x0002_0500, BUFFERS);
    descriptor(&bench, TX + 16, OWN | EOR | LS | command | (bytes.len() as u32 - 0x8000), 0, BUFFERS + 0x8000);
    bench.outb(IO + 0xd9, 0x40);
    let tagged = bench.sent.remove(0).1;
    assert_eq!((tagged.bytes.len(), tagged.bytes[58..] == payload), (crate::net::MAX_SEND, true));
    assert_eq!(tagged.offload.segmentation, Some(Segmentation { header: 58, ..cut }));
}

#[test]
fn a_large_send_that_fits_is_a_frame_with_checksums() {
    let mut bench = cplus(0);
    let mut bytes = packet(6, 0, &tcp(&[7; 1000]));
    // Drivers leave the length as they like.
    bytes[16..18].fill(0);
    let frame = send(&mut bench, LGSEN | 1000 << 16, 0, &bytes);
    let at = ChecksumAt { start: 34, offset: 16 };
    assert_eq!(frame.offload, Offload { checksum: Some(at), ..Offload::default() });
    let mut whole = frame.bytes;
    offload::fill(&mut whole, at);
    assert_eq!(right(&whole, 14), (true, true));
    let frame = send(&mut bench, LGSEN | 999 << 16, 0, &bytes);
    assert!(frame.offload.segmentation.is_some());
}

#[test]
fn frames_are_received_into_descriptors() {
    let mut bench = cplus(0);
    give_descriptors(&bench, 4, 1536);
    let bytes = frame(MAC, 100);
    for n in 0..6u64 {
        let at = n % 4;
        if n >= 4 {
            descriptor(&bench, RX + 16 * at, OWN | if at == 3 { EOR } else { 0 } | 1536, 0, BUFFERS + 0x1000 * at);
        }
        assert_eq!(give(&mut bench, &bytes), 0);
        let end = if at == 3 { EOR } else { 0 };
        assert_eq!(read(&bench, RX + 16 * at), (FS | LS | end | 0x0200_0000 | 104, 0));
        assert_eq!(memory(&bench, BUFFERS + 0x1000 * at, 104), [&bytes[..], &crc(&bytes)].concat());
    }
    give(&mut bench, &frame([0xff; 6], 100));
    assert_eq!(bench.inw(IO + 0x3e), 0x0001, "there is no descriptor, and it waits");
    descriptor(&bench, RX + 32, OWN | 1536, 0, BUFFERS);
    bench.advance(600_000);
    assert_eq!(read(&bench, RX + 32).0, FS | LS | 0x0100_0000 | 104, "the timer has found it");
    bench.outw(IO + 0x3e, 0xffff);
    give(&mut bench, &bytes);
    descriptor(&bench, RX + 48, OWN | EOR | 1536, 0, BUFFERS);
    assert_eq!(bench.inw(IO + 0x3e), 0x0001, "and so has whoever looks");
}

#[test]
fn a_driver_that_leaves_frames_in_descriptors_is_told_again_as_often_as_it_goes_on() {
    for count in [64, 20] {
        let mut bench = cplus(0);
        give_descriptors(&bench, count, 1536);
        bench.receive(NIC, (0..10).map(|_| frame(MAC, 100).into()));
        bench.outw(IO + 0x3e, 0xffff);
        let unmask = |bench: &mut Bench<Rtl8139>| {
            bench.outw(IO + 0x3c, 0);
            bench.outw(IO + 0x3e, 0xffff);
            bench.outw(IO + 0x3c, 0xffff);
            bench.irq(INTA)
        };
        let give_back = |bench: &Bench<Rtl8139>, n: u64| {
            let end = if n + 1 == count { EOR } else { 0 };
            descriptor(bench, RX + 16 * n, OWN | end | 1536, 0, BUFFERS + 0x1000 * n);
        };
        for n in 0..10 {
            assert!(unmask(&mut bench), "{n} were given back");
            assert!(!unmask(&mut bench), "it keeps them");
            give_back(&bench, n);
        }
        assert!(!unmask(&mut bench), "nothing is left");
        // Round the end, which is where EOR says; and in a saved state.
        bench.receive(NIC, (10..count + 2).map(|_| frame(MAC, 100).into()));
        (10..count + 1).for_each(|n| give_back(&bench, n % count));
        let saved = Device::save(&bench.device);
        Device::load(&mut bench.device, saved).unwrap();
        assert!(unmask(&mut bench));
        give_back(&bench, 1);
        assert!(!unmask(&mut bench));
    }
}

#[test]
fn a_frame_may_need_several_descriptors() {
    let mut bench = cplus(0);
    give_descriptors(&bench, 4, 256);
    let bytes = frame(MAC, 600);
    give(&mut bench, &bytes);
    assert_eq!(read(&bench, RX).0 & !0x0fff_e000, FS | 256);
    assert_eq!(read(&bench, RX + 16).0 & !0x0fff_e000, 256);
    assert_eq!(read(&bench, RX + 32).0 & !0x0fff_e000, LS | 604);
    let got: Vec<u8> = (0..3).flat_map(|n| memory(&bench, BUFFERS + 0x1000 * n, 256)).take(600).collect();
    assert_eq!(got, bytes);
    // One is left, which is too little.
    give(&mut bench, &bytes);
    assert_eq!(read(&bench, RX + 48).0, OWN | EOR | 256);
    bench.advance(2_000_000_000);
    assert_eq!((bench.inw(IO + 0x3e) & 0x10, bench.inl(IO + 0x4c)), (0x10, 1));
}

#[test]
fn tags_are_taken_off_when_asked_for() {
    let plain = frame(MAC, 100);
    let tagged = [&plain[..12], &[0x81, 0x00, 0xa1, 0x23], &plain[12..]].concat();
    let mut bench = cplus(0x40);
    give_descriptors(&bench, 4, 1536);
    give(&mut bench, &tagged);
    assert_eq!(read(&bench, RX), (FS | LS | 0x0200_0000 | 104, 0x0001_23a1));
    assert_eq!(memory(&bench, BUFFERS, 100), plain);
    give(&mut bench, &plain);
    assert_eq!(read(&bench, RX + 16), (FS | LS | 0x0200_0000 | 104, 0));
    let mut bench = cplus(0);
    give_descriptors(&bench, 4, 1536);
    give(&mut bench, &tagged);
    assert_eq!(read(&bench, RX), (FS | LS | 0x0200_0000 | 108, 0));
    assert_eq!(memory(&bench, BUFFERS, 104), tagged);
}

#[test]
fn received_checksums_are_judged_when_asked_for() {
    let mut good_tcp = packet(6, 0, &tcp(b"x"));
    let mut good_udp = packet(17, 2, &udp(b"yy"));
    let tasks = offload::Tasks { ip: true, udp: true, tcp: true, mss: None };
    offload::transmit(&mut good_tcp, tasks, true);
    offload::transmit(&mut good_udp, tasks, true);
    assert_eq!((right(&good_tcp, 14), right(&good_udp, 14)), ((true, true), (true, true)));
    let change = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0x40;
        bytes
    };
    let mut none = good_udp.clone();
    none[48..50].fill(0);
    let mut icmp = packet(1, 0, &[8; 30]);
    offload::transmit(&mut icmp, tasks, true);
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
            give_descriptors(&bench, 4, 1536);
            give(&mut bench, &bytes);
            assert_eq!(read(&bench, RX).0 & 0x0003_e000, expect, "{name}");
        }
    }
    let mut bench = cplus(0x20);
    give_descriptors(&bench, 4, 1536);
    let offload = Offload { verified: true, ..Offload::default() };
    bench.receive(NIC, [Frame { bytes: change(&good_tcp, 50), offload }]);
    assert_eq!(read(&bench, RX).0 & 0x0003_e000, 1 << 16, "the host's word is taken");
}

#[test]
fn the_counters_are_dumped_on_command() {
    let mut bench = cplus(0);
    give_descriptors(&bench, 8, 1536);
    for to in [MAC, MAC, MAC, [0xff; 6], [0xff; 6]] {
        give(&mut bench, &frame(to, 60));
    }
    bench.outb(IO + 0x08, 0xff);
    bench.outl(IO + 0x08, 0xffff_ffff);
    bench.outl(IO + 0x0c, 0xffff_ffff);
    give(&mut bench, &frame([1, 2, 3, 4, 5, 6], 60));
    give(&mut bench, &frame(MAC, 5000));
    send(&mut bench, 0, 0, &frame(OTHER, 60));
    bench.outl(IO + 0x14, 0);
    bench.outl(IO + 0x10, 0x3_0000 | 8);
    assert_eq!(bench.inl(IO + 0x10) & 8, 0, "done");
    let dump = memory(&bench, 0x3_0000, 64);
    let number = |at: usize, len: usize| {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&dump[at..at + len]);
        u64::from_le_bytes(bytes)
    };
    assert_eq!((number(0, 8), number(8, 8), number(16, 8), number(24, 4)), (1, 6, 0, 1), "sent, received, errors");
    assert_eq!((number(28, 2), number(40, 8), number(48, 8), number(56, 4)), (0, 3, 2, 1));
    bench.outl(IO + 0x10, 0x3_1000);
    assert_eq!(memory(&bench, 0x3_1000, 64), vec![0; 64], "not without the command");
}

#[test]
fn a_ring_of_descriptors_and_the_slots_do_not_mix() {
    let mut bench = cplus(0);
    bench.outl(IO + 0x10, 60);
    bench.outl(IO + 0x1c, 60);
    assert!(sent(&mut bench).is_empty());
    bench.outw(IO + 0xe0, 0);
    bench.outl(IO + 0x20, BUFFERS as u32);
    bench.outl(IO + 0x10, 60);
    assert_eq!(sent(&mut bench).len(), 1);
    bench.outb(IO + 0xd9, 0x40);
    assert!(sent(&mut bench).is_empty());
}
