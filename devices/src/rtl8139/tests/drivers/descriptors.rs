//! Descriptor rings as the re(4) drivers of FreeBSD, NetBSD and OpenBSD keep them: 64 descriptors each way.

use super::*;

pub(super) const TX: u64 = 0x2_0000;
pub(super) const RX: u64 = 0x2_1000;
const BUFFERS: u64 = 0x4_0000;
const COUNT: usize = 64;
const PLACE: usize = 0x1000;

pub(super) const OWN: u32 = 1 << 31;
const EOR: u32 = 1 << 30;
const FS: u32 = 1 << 29;
const LS: u32 = 1 << 28;
pub(super) const LGSEN: u32 = 1 << 27;
pub(super) const IPCS: u32 = 1 << 18;
pub(super) const UDPCS: u32 = 1 << 17;
pub(super) const TCPCS: u32 = 1 << 16;
pub(super) const TAGC: u32 = 1 << 17;
/// Collisions, no link, out of window collision, error summary, underrun.
const TX_ERRORS: u32 = 0x02ff_0000;
const RX_ERRORS: u32 = 0x0010_0000;

/// A received frame as the driver passes it on: without FCS, with the status of its last descriptor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) status: u32,
    pub(super) tag: u32,
}

/// The driver's view of both rings.
pub(super) struct Rings {
    produced: usize,
    consumed: usize,
    free: usize,
    next: usize,
    /// Bytes in a receive buffer, and its offset from a 2 KiB boundary.
    size: u32,
    skip: u64,
}

impl Rings {
    /// Clears the transmit ring and gives all receive buffers to the chip.
    pub(super) fn lay_out(bench: &Bench<Rtl8139>, skip: u64) -> Self {
        bench.memory.write(TX, &[0; 16 * COUNT]);
        bench.memory.write(TX + 16 * (COUNT as u64 - 1), &EOR.to_le_bytes());
        let rings = Self { produced: 0, consumed: 0, free: COUNT, next: 0, size: 2048 - skip as u32, skip };
        (0..COUNT).for_each(|n| rings.deliver(bench, n));
        rings
    }

    fn buffer(&self, n: usize) -> u64 {
        BUFFERS + 2048 * n as u64 + self.skip
    }

    fn deliver(&self, bench: &Bench<Rtl8139>, n: usize) {
        let end = if n == COUNT - 1 { EOR } else { 0 };
        let bytes = [&[0; 8][..], &self.buffer(n).to_le_bytes()].concat();
        bench.memory.write(RX + 16 * n as u64, &bytes);
        bench.memory.write(RX + 16 * n as u64, &(OWN | end | self.size).to_le_bytes());
    }

    /// Queues a frame in one descriptor per piece; all have the same flags and tag. The first descriptor gets OWN last.
    /// Returns false if too few descriptors are free.
    pub(super) fn queue(&mut self, bench: &Bench<Rtl8139>, pieces: &[&[u8]], flags: u32, tag: u32) -> bool {
        if self.free <= pieces.len() {
            return false;
        }
        let first = self.produced;
        for (n, piece) in pieces.iter().enumerate() {
            let at = self.produced;
            let place = SEND + (PLACE * at) as u64;
            bench.memory.write(place, piece);
            let was = bench.memory.read_u32(TX + 16 * at as u64);
            assert_eq!(was & OWN, 0, "tried to map busy TX descriptor");
            let mut command = flags | piece.len() as u32;
            command |= if n == 0 { FS } else { OWN };
            command |= if n + 1 == pieces.len() { LS } else { 0 };
            command |= if at == COUNT - 1 { EOR } else { 0 };
            let bytes = [&command.to_le_bytes()[..], &tag.to_le_bytes(), &place.to_le_bytes()].concat();
            bench.memory.write(TX + 16 * at as u64, &bytes);
            self.produced = (at + 1) % COUNT;
        }
        self.free -= pieces.len();
        let command = bench.memory.read_u32(TX + 16 * first as u64);
        bench.memory.write(TX + 16 * first as u64, &(command | OWN).to_le_bytes());
        true
    }

    /// Counts the frames sent since the last call.
    pub(super) fn reap(&mut self, bench: &Bench<Rtl8139>) -> usize {
        let mut frames = 0;
        while self.free < COUNT {
            let status = bench.memory.read_u32(TX + 16 * self.consumed as u64);
            if status & OWN != 0 {
                break;
            }
            if status & LS != 0 {
                assert_eq!(status & TX_ERRORS, 0, "{status:08x}");
                frames += 1;
            }
            self.consumed = (self.consumed + 1) % COUNT;
            self.free += 1;
        }
        frames
    }

    pub(super) fn all_free(&self) -> bool {
        self.free == COUNT
    }

    /// Takes at most `most` frames and returns their descriptors.
    pub(super) fn collect(&mut self, bench: &Bench<Rtl8139>, most: usize) -> Vec<Received> {
        let mut frames = Vec::new();
        while frames.len() < most {
            let at = RX + 16 * self.next as u64;
            let (status, tag) = (bench.memory.read_u32(at), bench.memory.read_u32(at + 4));
            if status & OWN != 0 {
                break;
            }
            assert_eq!(status & (FS | LS | RX_ERRORS), FS | LS, "one buffer per frame, no errors: {status:08x}");
            assert_eq!(status & EOR != 0, self.next == COUNT - 1);
            let len = (status & 0x1fff) as usize;
            let bytes = memory(bench, self.buffer(self.next), len);
            assert_eq!(
                bytes[len - 4..],
                crc(&untagged(&bytes[..len - 4], tag)),
                "the FCS matches the frame on the wire"
            );
            frames.push(Received { bytes: bytes[..len - 4].to_vec(), status, tag });
            self.deliver(bench, self.next);
            self.next = (self.next + 1) % COUNT;
        }
        frames
    }
}

/// The frame as it was on the wire, with the removed VLAN tag.
fn untagged(bytes: &[u8], tag: u32) -> Vec<u8> {
    let [low, high, taken, _] = tag.to_le_bytes();
    if taken & 1 == 0 {
        return bytes.to_vec();
    }
    [&bytes[..12], &[0x81, 0x00, low, high], &bytes[12..]].concat()
}

// Packets with checksums computed independently of the code under test.

fn fold(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// A TCP (6) or UDP (17) packet over IPv4 from OTHER to `to` with correct checksums (RFC 791, 768, 793).
pub(super) fn packet(to: [u8; 6], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = if protocol == 6 { 20 } else { 8 };
    let mut bytes = [&to[..], &OTHER[..], &[0x08, 0x00, 0x45, 0]].concat();
    bytes.extend(((20 + header + payload.len()) as u16).to_be_bytes());
    bytes.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 192, 168, 1, 2]);
    bytes.extend([0x12, 0x34, 0x00, 0x50]);
    if protocol == 6 {
        bytes.extend([1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x18, 0x10, 0, 0, 0, 0, 0]);
    } else {
        bytes.extend(((8 + payload.len()) as u16).to_be_bytes());
        bytes.extend([0, 0]);
    }
    bytes.extend(payload);
    let ip = !fold(&bytes[14..34], 0);
    bytes[24..26].copy_from_slice(&ip.to_be_bytes());
    let pseudo = u32::from(fold(&bytes[26..34], 0)) + u32::from(protocol) + (header + payload.len()) as u32;
    let sum = !fold(&bytes[34..], pseudo);
    let field = if protocol == 6 { 50 } else { 40 };
    bytes[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The same packet as a network stack passes it to a NIC with checksum offload.
pub(super) fn unsummed(mut bytes: Vec<u8>) -> Vec<u8> {
    let field = if bytes[23] == 6 { 50 } else { 40 };
    bytes[24..26].fill(0);
    bytes[field..field + 2].copy_from_slice(&[0xbe, 0xef]);
    bytes
}

/// The frames sent, with the checksums that were left to the host.
pub(super) fn on_the_wire(bench: &mut Bench<Rtl8139>) -> Vec<Vec<u8>> {
    let frames = bench.sent.drain(..).map(|(nic, mut frame)| {
        assert_eq!((nic, frame.offload.segmentation), (NIC, None));
        if let Some(at) = frame.offload.checksum {
            assert!(crate::net::fill_checksum(&mut frame.bytes, at));
        }
        frame.bytes
    });
    frames.collect()
}
