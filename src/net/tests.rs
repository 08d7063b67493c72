//! Tests of segmentation, framing, back-pressure, packet capture and statistics.

use super::gso::segments;
use super::*;
use crate::config::parse;
use crate::config::{NicModel, TapSource};
use pcvm_devices::net::{ChecksumAt, Offload, Segmentation, sum};
use pcvm_test_host::{TIME_LIMIT, wait_for};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A TCP segment over IPv4 and Ethernet, with checksum and segmentation offload.
fn segment(payload: usize, mss: u16) -> Frame {
    let mut bytes = vec![0; 14 + 20 + 20];
    bytes[12..14].copy_from_slice(&[8, 0]);
    bytes[14] = 0x45;
    bytes[18..20].copy_from_slice(&0xfffe_u16.to_be_bytes());
    bytes[22..24].copy_from_slice(&[64, 6]);
    bytes[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    bytes[38..42].copy_from_slice(&0xffff_ff00_u32.to_be_bytes());
    bytes[46..48].copy_from_slice(&[0x50, 0x99]);
    bytes.extend((0..payload).map(|n| (n * 7) as u8));
    let offload = Offload {
        checksum: Some(ChecksumAt { start: 34, offset: 16 }),
        segmentation: Some(Segmentation { ipv6: false, header: 54, mss }),
        verified: false,
    };
    Frame { bytes, offload }
}

#[test]
fn a_frame_with_segmentation_offload_becomes_valid_tcp_segments() {
    let frame = segment(3500, 1460);
    let mut all = Vec::new();
    assert!(segments(&frame, |segment| all.push(segment.to_vec())));
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1514, 1514, 54 + 580]);
    let payload: Vec<u8> = all.iter().flat_map(|segment| segment[54..].to_vec()).collect();
    assert_eq!(payload, frame.bytes[54..]);
    for (n, segment) in all.iter().enumerate() {
        let word = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
        assert_eq!(usize::from(word(16)), segment.len() - 14, "IP total length");
        assert_eq!(word(18), 0xfffe_u16.wrapping_add(n as u16), "IP identification");
        assert_eq!(sum(&segment[14..34], 0), 0xffff, "IP checksum");
        let sequence = u32::from_be_bytes(segment[38..42].try_into().unwrap());
        assert_eq!(sequence, 0xffff_ff00_u32.wrapping_add(n as u32 * 1460));
        // CWR in the first, FIN and PSH in the last, ACK in all.
        assert_eq!(segment[47], [0x90, 0x10, 0x19][n]);
        let pseudo = sum(&segment[26..34], 6 + segment.len() as u32 - 34);
        assert_eq!(sum(&segment[34..], pseudo.into()), 0xffff, "TCP checksum");
    }
}

#[test]
fn a_received_frame_is_segmented_into_spare_buffers() {
    let long = segment(3500, 1460);
    let mut whole = Vec::new();
    segments(&long, |segment| whole.push(segment.to_vec()));
    let mut spare: Vec<_> = (0..4).map(|_| Vec::with_capacity(2000)).collect();
    let mut frames = vec![Frame::from(vec![0; 60])];
    segment_received(long, &mut spare, &mut frames);
    segment_received(Frame::from(vec![1; 60]), &mut spare, &mut frames);
    assert_eq!([frames.remove(0).bytes, frames.pop().unwrap().bytes], [vec![0; 60], vec![1; 60]]);
    assert!(frames.iter().all(|frame| frame.offload == Offload { verified: true, ..Offload::default() }));
    assert!(frames.iter().all(|frame| frame.bytes.capacity() == 2000));
    assert_eq!(frames.into_iter().map(|frame| frame.bytes).collect::<Vec<_>>(), whole);
    assert_eq!(spare.pop().map(|buffer| buffer.len()), Some(0), "the long frame's buffer is not reused");
}

#[test]
fn frames_with_invalid_offload_are_dropped_without_a_panic() {
    for len in 0..80 {
        for (header, start) in [(54, 34), (0, 0), (0xffff, 34), (54, 0xffff), (20, 54), (54, 53)] {
            for ipv6 in [false, true] {
                let mut frame = segment(30, 1);
                frame.bytes.truncate(len);
                let segmentation = frame.offload.segmentation.as_mut().unwrap();
                (segmentation.header, segmentation.ipv6, segmentation.mss) = (header, ipv6, 0);
                frame.offload.checksum.as_mut().unwrap().start = start;
                segment_received(frame.clone(), &mut Vec::new(), &mut Vec::new());
                segments(&frame, |_| {});
                frame.offload.segmentation = None;
                segments(&frame, |_| {});
            }
        }
    }
}

/// Waits for a frame or a disconnection.
#[track_caller]
fn wait_for_frame(port: &NetPort) -> Received {
    wait_for("a frame", TIME_LIMIT, || match receive(port) {
        Received::Nothing => Err("none received"),
        received => Ok(received),
    })
}

/// One attempt to read a frame.
fn receive(port: &NetPort) -> Received {
    port.receive(&mut Scratch::default(), &mut Vec::new())
}

fn port(value: &str) -> NetPort {
    NetPort::open(&parse::net(OsStr::new(value)).unwrap().unwrap()).unwrap()
}

#[test]
fn a_pair_exchanges_frames_and_its_second_end_may_reconnect() {
    let dir = tempfile::tempdir().unwrap();
    let (path, dump) = (dir.path().join("socket"), dir.path().join("dump.pcap"));
    let first = port(&format!("pair:unix:{},dump={}", path.display(), dump.display()));
    // Without a peer the frame is dropped.
    first.send(&Frame::from(vec![0; 60]));
    for _ in 0..2 {
        let second = port(&format!("pair:unix:{}", path.display()));
        let frame = Frame::from((0..100).collect::<Vec<u8>>());
        second.send(&frame);
        assert_eq!(wait_for_frame(&first), Received::Frame(frame));
        let long = segment(40_000, 1460);
        first.send(&long);
        for len in std::iter::repeat_n(1514, 27).chain([54 + 40_000 - 27 * 1460]) {
            assert!(matches!(wait_for_frame(&second), Received::Frame(frame) if frame.bytes.len() == len));
        }
        drop(second);
        assert_eq!(receive(&first), Received::Nothing);
    }
    drop(first);
    assert!(!path.exists(), "the socket remains after its machine");
    let dump = std::fs::read(&dump).unwrap();
    assert_eq!(dump[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    assert_eq!(dump.len(), 24 + (16 + 60) + 2 * (16 + 100 + 28 * (16 + 54) + 40_000));
}

/// Whether poll(2) reports a descriptor as readable.
fn readable(fd: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

#[test]
fn the_rx_descriptor_is_readable_until_all_buffered_frames_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let first = port(&format!("pair:unix:{}", path.display()));
    let mut peer = UnixStream::connect(&path).unwrap();
    for round in 0..2 {
        assert_eq!(receive(&first), Received::Nothing);
        assert!(!readable(first.rx_fd()), "{round}");
        // 192 frames, and the start of another.
        let frame = [&60_u32.to_be_bytes()[..], &[round; 60]].concat();
        peer.write_all(&frame.repeat(3 * BATCH)).unwrap();
        peer.write_all(&frame[..10]).unwrap();
        for n in 0..3 * BATCH {
            assert!(readable(first.rx_fd()), "{round}: {n}");
            assert_eq!(wait_for_frame(&first), Received::Frame(Frame::from(vec![round; 60])));
        }
        assert_eq!(receive(&first), Received::Nothing);
        assert!(!readable(first.rx_fd()), "{round}: readable for an incomplete frame");
        peer.write_all(&frame[10..]).unwrap();
        assert!(readable(first.rx_fd()), "{round}: not readable for a complete frame");
        assert_eq!(wait_for_frame(&first), Received::Frame(Frame::from(vec![round; 60])));
    }
}

#[test]
fn frames_to_a_peer_that_does_not_read_are_dropped_without_blocking() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let first = port(&format!("pair:unix:{}", path.display()));
    let second = port(&format!("pair:unix:{}", path.display()));
    let start = Instant::now();
    for _ in 0..20_000 {
        second.send(&Frame::from(vec![1; 1514]));
    }
    assert!(start.elapsed() < Duration::from_secs(20));
    // Every frame that the socket took arrives whole, the last one after its pending bytes are flushed.
    let mut frames = 0;
    loop {
        match receive(&first) {
            Received::Frame(frame) => {
                assert_eq!(frame.bytes, vec![1; 1514]);
                frames += 1;
            }
            _ if readable(second.tx_fd().unwrap()) => second.flush_tx(),
            _ => break,
        }
    }
    assert!((1..20_000).contains(&frames), "{frames}");
    let stats = second.stats();
    assert_eq!([stats.tx_frames, stats.tx_bytes, stats.tx_dropped], [frames, frames * 1514, 20_000 - frames]);
    assert_eq!([first.stats().rx_frames, first.stats().rx_bytes], [frames, frames * 1514]);
}

#[test]
fn a_second_client_waits_without_waking_the_main_loop_until_the_first_disconnects() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let first = port(&format!("pair:unix:{}", path.display()));
    let client = UnixStream::connect(&path).unwrap();
    assert!(readable(first.rx_fd()), "a waiting client is not reported");
    assert_eq!(receive(&first), Received::Nothing);
    let mut waiting = UnixStream::connect(&path).unwrap();
    waiting.write_all(&[0, 0, 0, 1, 9]).unwrap();
    assert_eq!(receive(&first), Received::Nothing);
    assert!(!readable(first.rx_fd()), "the second client keeps the main loop awake");
    drop(client);
    assert!(readable(first.rx_fd()));
    assert_eq!(receive(&first), Received::Nothing);
    assert!(readable(first.rx_fd()), "the second client is not reported");
    assert_eq!(receive(&first), Received::Frame(Frame::from(vec![9])));
}

#[test]
fn statistics_count_frames_with_offload_once_and_drops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let first = port(&format!("pair:unix:{}", path.display()));
    // No peer.
    first.send(&Frame::from(vec![0; 60]));
    let second = port(&format!("pair:unix:{}", path.display()));
    assert_eq!(receive(&first), Received::Nothing);
    first.send(&segment(3500, 1460));
    // The TCP header is outside the frame.
    let mut malformed = segment(100, 50);
    malformed.bytes.truncate(40);
    first.send(&malformed);
    for _ in 0..3 {
        assert!(matches!(wait_for_frame(&second), Received::Frame(_)));
    }
    assert_eq!(first.stats(), PortStats { tx_frames: 1, tx_bytes: 3554, tx_dropped: 2, ..PortStats::default() });
    let received = 1514 + 1514 + 54 + 580;
    assert_eq!(second.stats(), PortStats { rx_frames: 3, rx_bytes: received, ..PortStats::default() });
    let json = serde_json::to_value(first.stats()).unwrap();
    assert_eq!((&json["tx-frames"], &json["rx-bytes"]), (&1.into(), &0.into()));
}

#[test]
fn an_invalid_length_ends_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let first = port(&format!("pair:unix:{}", path.display()));
    for length in [0, 70_000, u32::MAX] {
        let mut peer = UnixStream::connect(&path).unwrap();
        peer.write_all(&length.to_be_bytes()).unwrap();
        let _ = peer.write_all(&[0; 1000]);
        assert_eq!(receive(&first), Received::Nothing);
    }
    // A frame in parts of one byte.
    let mut peer = UnixStream::connect(&path).unwrap();
    for byte in [0, 0, 0, 3, 7, 8] {
        peer.write_all(&[byte]).unwrap();
        assert_eq!(receive(&first), Received::Nothing);
    }
    peer.write_all(&[9]).unwrap();
    assert_eq!(wait_for_frame(&first), Received::Frame(Frame::from(vec![7, 8, 9])));
}

#[test]
fn net_options_parse_and_invalid_ones_are_rejected() {
    let net = |text: &str| parse::net(OsStr::new(text)).map_err(|error| error.to_string());
    assert_eq!(net("none"), Ok(None));
    let nic =
        net("tap,bridge=br0,ifname=tap7,mac=00:16:3e:01:02:03,model=rtl8139c,link=down,script=no").unwrap().unwrap();
    assert_eq!((nic.mac, nic.model, nic.link), (Some([0, 0x16, 0x3e, 1, 2, 3]), NicModel::Rtl8139C, false));
    let NetBackend::Tap(tap) = nic.backend else { panic!("not a tap") };
    assert_eq!((tap.source, tap.bridge, tap.script), (TapSource::Name(Some("tap7".into())), Some("br0".into()), None));
    assert_eq!(net("passt=/run/p").unwrap().unwrap().backend, NetBackend::Passt(Some("/run/p".into())));
    for wrong in [
        "",
        "user",
        "tap,",
        "tap,bridge=",
        "tap,ifname=0123456789abcdef",
        "tap,ifname=a/b",
        "tap,fd=2",
        "tap,fd=3,ifname=t",
        "tap,mac=01:16:3e:01:02:03",
        "tap,mac=0:16:3e:1:2:3",
        "tap,mac=00:16:3e:01:02:03:04",
        "tap,model=e1000",
        "tap,link=on",
        "tap,mac=00:16:3e:01:02:03,mac=00:16:3e:01:02:04",
        "passt,bridge=br0",
        "pair:unix:",
        "pair:tcp:1",
        "none,mac=00:16:3e:01:02:03",
        "tap,dump=",
        "tap,rom",
    ] {
        assert!(net(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn padding_of_short_ipv4_packets_is_not_sent_to_passt() {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passt");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let port = port(&format!("passt={}", path.display()));
    let mut passt = listener.accept().unwrap().0;
    let padded = |kind: [u8; 2], length: u16, len: usize| {
        let mut bytes = segment(0, 1).bytes;
        bytes[12..14].copy_from_slice(&kind);
        bytes[16..18].copy_from_slice(&length.to_be_bytes());
        bytes.resize(len, 0);
        bytes
    };
    // A TCP acknowledgement; ARP; invalid IPv4 lengths; a packet without padding; a frame longer than the minimum.
    for (kind, length, len, arrives) in [
        ([0x08, 0x00], 40, 60, 54),
        ([0x08, 0x06], 40, 60, 60),
        ([0x08, 0x00], 0, 60, 60),
        ([0x08, 0x00], 47, 60, 60),
        ([0x08, 0x00], u16::MAX, 60, 60),
        ([0x08, 0x00], 46, 60, 60),
        ([0x08, 0x00], 40, 61, 61),
    ] {
        let frame = padded(kind, length, len);
        port.send(&Frame::from(frame.clone()));
        let mut got = vec![0; 4 + arrives];
        passt.read_exact(&mut got).unwrap();
        assert_eq!(got[..4], (arrives as u32).to_be_bytes(), "{kind:x?} {length} {len}");
        assert_eq!(got[4..], frame[..arrives]);
    }
}

/// A DHCPDISCOVER (RFC 2131) in an Ethernet frame.
fn discover(mac: [u8; 6]) -> Vec<u8> {
    let mut bytes = [&[0xff; 6][..], &mac, &[8, 0]].concat();
    let mut dhcp = vec![1, 1, 6, 0, 1, 2, 3, 4];
    dhcp.resize(28, 0);
    dhcp.extend(mac);
    dhcp.resize(236, 0);
    dhcp.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255]);
    dhcp.resize(300, 0);
    let mut ip = vec![0x45, 0];
    ip.extend((20 + 8 + dhcp.len() as u16).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    let checksum = !sum(&ip, 0);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes.extend(ip);
    bytes.extend([0, 68, 0, 67]);
    bytes.extend((8 + dhcp.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(dhcp);
    bytes
}

#[test]
fn a_started_passt_offers_an_address_by_dhcp() {
    let mac = [0x00, 0x16, 0x3e, 1, 2, 3];
    let passt = port("passt");
    let offer = wait_for("DHCPOFFER", TIME_LIMIT, || {
        passt.send(&Frame::from(discover(mac)));
        let Received::Frame(frame) = wait_for_frame(&passt) else { panic!("passt has disconnected") };
        // From the DHCP server's port to this MAC.
        let offer = frame.bytes.get(34..36) == Some(&[0, 67]) && frame.bytes.get(0..6) == Some(&mac);
        if offer { Ok(frame) } else { Err("only other frames are received") }
    });
    assert_ne!(offer.bytes[42 + 16..42 + 20], [0; 4], "the offer has no address");
}
