//! RTL8139C+ task offload: IPv4, TCP and UDP checksums and TCP segmentation (RTL8139C(L)+ data sheet, "Task Offload";
//! RFC 791, 768, 793, 1071). As in the chip, only IPv4 is supported. No header content causes an access outside the
//! frame.

pub(super) use crate::net::fill_checksum;
use crate::net::{ChecksumAt, Offload, Segmentation, sum};

const ETHERNET_HEADER: usize = 14;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_VLAN: u16 = 0x8100;
const IPV4_MIN: usize = 20;
const TCP_MIN: usize = 20;
const UDP_HEADER: usize = 8;
const TCP: u8 = 6;
const UDP: u8 = 17;
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;

/// The offloads that a transmit descriptor requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OffloadTasks {
    pub(super) ip: bool,
    pub(super) udp: bool,
    pub(super) tcp: bool,
    /// Segment the TCP payload into this many bytes each.
    pub(super) mss: Option<u16>,
}

/// An IPv4 packet that lies completely within the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ipv4Packet {
    /// Offset of the IP header.
    ip: usize,
    /// Offset of the IP payload.
    payload: usize,
    /// End of the packet by its total length field; padding may follow in the frame.
    end: usize,
    protocol: u8,
    /// The packet is a fragment.
    fragment: bool,
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

fn put_be16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(pair) = bytes.get_mut(at..at + 2) {
        pair.copy_from_slice(&value.to_be_bytes());
    }
}

/// Offsets of the IPv4 header and of its payload, if the frame has a complete IPv4 header.
fn ipv4_header(frame: &[u8]) -> Option<(usize, usize)> {
    let ip = match be16(frame, ETHERNET_HEADER - 2)? {
        ETHERTYPE_IPV4 => ETHERNET_HEADER,
        ETHERTYPE_VLAN if be16(frame, ETHERNET_HEADER + 2)? == ETHERTYPE_IPV4 => ETHERNET_HEADER + 4,
        _ => return None,
    };
    let first = *frame.get(ip)?;
    let header = usize::from(first & 0xf) * 4;
    (first >> 4 == 4 && header >= IPV4_MIN && frame.len() >= ip + header).then_some((ip, ip + header))
}

fn ipv4_packet(frame: &[u8]) -> Option<Ipv4Packet> {
    let (ip, payload) = ipv4_header(frame)?;
    let end = ip + usize::from(be16(frame, ip + 2)?);
    if end < payload || end > frame.len() {
        return None;
    }
    // MF, or a fragment offset.
    let fragment = be16(frame, ip + 6)? & 0x3fff != 0;
    Some(Ipv4Packet { ip, payload, end, protocol: *frame.get(ip + 9)?, fragment })
}

/// The one's complement sum of the pseudo header of a TCP or UDP packet of `len` bytes.
fn pseudo_header(frame: &[u8], ip: usize, protocol: u8, len: usize) -> u16 {
    let addresses = frame.get(ip + 12..ip + 20).unwrap_or(&[]);
    sum(addresses, u32::from(protocol) + len as u32)
}

fn fill_ipv4_checksum(frame: &mut [u8], ip: usize, payload: usize) {
    put_be16(frame, ip + 10, 0);
    let checksum = !sum(frame.get(ip..payload).unwrap_or(&[]), 0);
    put_be16(frame, ip + 10, checksum);
}

/// Performs `tasks` as far as the chip does and returns what is left to the host; nothing is left if `in_software`.
/// Packets with invalid or truncated headers are left unchanged.
pub(super) fn prepare_tx(frame: &mut [u8], tasks: OffloadTasks, in_software: bool) -> Offload {
    let mut offload = Offload::default();
    if let Some(mss) = tasks.mss {
        if let Some(offload) = large_send(frame, mss, in_software) {
            return offload;
        }
    } else if tasks == OffloadTasks::default() {
        return offload;
    }
    let Some((ip, payload)) = ipv4_header(frame) else { return offload };
    if tasks.ip || tasks.mss.is_some() {
        fill_ipv4_checksum(frame, ip, payload);
    }
    let Some(packet) = ipv4_packet(frame).filter(|packet| !packet.fragment) else { return offload };
    let (minimum, field) = match packet.protocol {
        TCP if tasks.tcp || tasks.mss.is_some() => (TCP_MIN, TCP_CHECKSUM),
        UDP if tasks.udp => (UDP_HEADER, UDP_CHECKSUM),
        _ => return offload,
    };
    let len = packet.end - packet.payload;
    if len < minimum {
        return offload;
    }
    let pseudo = pseudo_header(frame, packet.ip, packet.protocol, len);
    put_be16(frame, packet.payload + usize::from(field), pseudo);
    let at = ChecksumAt { start: packet.payload as u16, offset: field };
    // The host sums to the frame's end, so whatever follows the packet must be zero.
    let zero_padded = frame[packet.end..].iter().all(|&byte| byte == 0);
    if zero_padded && !in_software {
        offload.checksum = Some(at);
    } else {
        fill_checksum(&mut frame[..packet.end], at);
    }
    offload
}

/// Prepares a TCP segment longer than `mss` for segmentation by the host. `None` if it needs no segmentation or is no
/// TCP segment.
fn large_send(frame: &mut [u8], mss: u16, in_software: bool) -> Option<Offload> {
    let (ip, payload) = ipv4_header(frame)?;
    let length = u16::try_from(frame.len() - ip).ok()?;
    if frame[ip + 9] != TCP || be16(frame, ip + 6)? & 0x3fff != 0 {
        return None;
    }
    let header = payload + usize::from(*frame.get(payload + 12)? >> 4) * 4;
    if header < payload + TCP_MIN || header > frame.len() {
        return None;
    }
    // Drivers leave the total length field undefined; the host sets it in each segment.
    put_be16(frame, ip + 2, length);
    if mss == 0 || frame.len() - header <= usize::from(mss) || in_software {
        return None;
    }
    fill_ipv4_checksum(frame, ip, payload);
    let pseudo = pseudo_header(frame, ip, TCP, frame.len() - payload);
    put_be16(frame, payload + usize::from(TCP_CHECKSUM), pseudo);
    Some(Offload {
        checksum: Some(ChecksumAt { start: payload as u16, offset: TCP_CHECKSUM }),
        segmentation: Some(Segmentation { ipv6: false, header: header as u16, mss }),
        verified: false,
    })
}

/// The checksum results in a receive descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RxChecksumStatus {
    /// PID: 0 not IP, 1 TCP, 2 UDP, 3 other IP.
    pub(super) protocol: u8,
    pub(super) ip_failed: bool,
    pub(super) udp_failed: bool,
    pub(super) tcp_failed: bool,
}

/// Checks the checksums of a received frame. TCP and UDP checksums count as correct if the host has `verified` them.
pub(super) fn check_rx(frame: &[u8], verified: bool) -> RxChecksumStatus {
    let Some((ip, payload)) = ipv4_header(frame) else { return RxChecksumStatus::default() };
    let mut checksums = RxChecksumStatus { protocol: 3, ..RxChecksumStatus::default() };
    checksums.ip_failed = sum(&frame[ip..payload], 0) != 0xffff;
    let Some(packet) = ipv4_packet(frame).filter(|packet| !packet.fragment) else { return checksums };
    let len = packet.end - packet.payload;
    let is_correct = || {
        let pseudo = pseudo_header(frame, packet.ip, packet.protocol, len);
        sum(&frame[packet.payload..packet.end], pseudo.into()) == 0xffff
    };
    match packet.protocol {
        TCP => {
            checksums.protocol = 1;
            checksums.tcp_failed = len < TCP_MIN || !verified && !is_correct();
        }
        UDP => {
            checksums.protocol = 2;
            let unused = len >= UDP_HEADER && be16(frame, packet.payload + usize::from(UDP_CHECKSUM)) == Some(0);
            checksums.udp_failed = len < UDP_HEADER || !unused && !verified && !is_correct();
        }
        _ => {}
    }
    checksums
}
