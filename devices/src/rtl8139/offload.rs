//! Checksums and segments that the chip does for the guest (RTL8139C(L)+ data sheet, "Task Offload"; RFC 791, 768, 793,
//! 1071). Only IPv4 is looked into, as the chip does. Whatever the bytes are, nothing outside them is touched.

pub(super) use crate::net::fill_checksum as fill;
use crate::net::{ChecksumAt, Offload, Segmentation, sum};

const ETHERNET: usize = 14;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_VLAN: u16 = 0x8100;
const IPV4_MIN: usize = 20;
const TCP_MIN: usize = 20;
const UDP_HEADER: usize = 8;
const TCP: u8 = 6;
const UDP: u8 = 17;
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;

/// What a transmit descriptor asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tasks {
    pub(super) ip: bool,
    pub(super) udp: bool,
    pub(super) tcp: bool,
    /// Cut into segments with so many bytes of payload.
    pub(super) mss: Option<u16>,
}

/// An IPv4 packet in a frame: whole, as far as its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet {
    /// Where the IP header begins.
    ip: usize,
    /// Where its payload begins.
    payload: usize,
    /// Where that ends: the total length field; the frame may go on.
    end: usize,
    protocol: u8,
    /// One of several fragments.
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

/// Where an IPv4 header begins, if the frame has one that is whole.
fn ip_header(frame: &[u8]) -> Option<(usize, usize)> {
    let ip = match be16(frame, ETHERNET - 2)? {
        ETHERTYPE_IPV4 => ETHERNET,
        ETHERTYPE_VLAN if be16(frame, ETHERNET + 2)? == ETHERTYPE_IPV4 => ETHERNET + 4,
        _ => return None,
    };
    let first = *frame.get(ip)?;
    let header = usize::from(first & 0xf) * 4;
    (first >> 4 == 4 && header >= IPV4_MIN && frame.len() >= ip + header).then_some((ip, ip + header))
}

fn packet(frame: &[u8]) -> Option<Packet> {
    let (ip, payload) = ip_header(frame)?;
    let end = ip + usize::from(be16(frame, ip + 2)?);
    if end < payload || end > frame.len() {
        return None;
    }
    // More fragments, or an offset.
    let fragment = be16(frame, ip + 6)? & 0x3fff != 0;
    Some(Packet { ip, payload, end, protocol: *frame.get(ip + 9)?, fragment })
}

/// The sum over the pseudo header of a TCP or UDP packet of `len` bytes.
fn pseudo_header(frame: &[u8], ip: usize, protocol: u8, len: usize) -> u16 {
    let addresses = frame.get(ip + 12..ip + 20).unwrap_or(&[]);
    sum(addresses, u32::from(protocol) + len as u32)
}

fn fill_ip(frame: &mut [u8], ip: usize, payload: usize) {
    put_be16(frame, ip + 10, 0);
    let checksum = !sum(frame.get(ip..payload).unwrap_or(&[]), 0);
    put_be16(frame, ip + 10, checksum);
}

/// Does what it can of `tasks`, and says what is left to others: nothing, if `whole`. What the headers are too short or
/// too odd for is not done.
pub(super) fn transmit(frame: &mut [u8], tasks: Tasks, whole: bool) -> Offload {
    let mut offload = Offload::default();
    if let Some(mss) = tasks.mss {
        if let Some(cut) = large_send(frame, mss, whole) {
            return cut;
        }
    } else if tasks == Tasks::default() {
        return offload;
    }
    let Some((ip, payload)) = ip_header(frame) else { return offload };
    if tasks.ip || tasks.mss.is_some() {
        fill_ip(frame, ip, payload);
    }
    let Some(packet) = packet(frame).filter(|packet| !packet.fragment) else { return offload };
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
    // Whoever fills it in later sums to the frame's end.
    let clean = frame[packet.end..].iter().all(|&byte| byte == 0);
    if clean && !whole {
        offload.checksum = Some(at);
    } else {
        fill(&mut frame[..packet.end], at);
    }
    offload
}

/// Prepares a TCP segment that is longer than `mss` for whoever cuts it. None if it needs no cutting, or is none.
fn large_send(frame: &mut [u8], mss: u16, whole: bool) -> Option<Offload> {
    let (ip, payload) = ip_header(frame)?;
    let length = u16::try_from(frame.len() - ip).ok()?;
    if frame[ip + 9] != TCP || be16(frame, ip + 6)? & 0x3fff != 0 {
        return None;
    }
    let header = payload + usize::from(*frame.get(payload + 12)? >> 4) * 4;
    if header < payload + TCP_MIN || header > frame.len() {
        return None;
    }
    // Drivers leave the length as they like: the pieces' are what counts.
    put_be16(frame, ip + 2, length);
    if mss == 0 || frame.len() - header <= usize::from(mss) || whole {
        return None;
    }
    fill_ip(frame, ip, payload);
    let pseudo = pseudo_header(frame, ip, TCP, frame.len() - payload);
    put_be16(frame, payload + usize::from(TCP_CHECKSUM), pseudo);
    Some(Offload {
        checksum: Some(ChecksumAt { start: payload as u16, offset: TCP_CHECKSUM }),
        segmentation: Some(Segmentation { ipv6: false, header: header as u16, mss }),
        verified: false,
    })
}

/// What the receive descriptor says of the headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// 0 no IP, 1 TCP, 2 UDP, 3 other IP.
    pub(super) protocol: u8,
    pub(super) ip_failed: bool,
    pub(super) udp_failed: bool,
    pub(super) tcp_failed: bool,
}

/// Looks at the checksums of a frame that came in, or takes somebody's word for them.
pub(super) fn receive(frame: &[u8], verified: bool) -> Verdict {
    let Some((ip, payload)) = ip_header(frame) else { return Verdict::default() };
    let mut verdict = Verdict { protocol: 3, ..Verdict::default() };
    verdict.ip_failed = sum(&frame[ip..payload], 0) != 0xffff;
    let Some(packet) = packet(frame).filter(|packet| !packet.fragment) else { return verdict };
    let len = packet.end - packet.payload;
    let right = || {
        let pseudo = pseudo_header(frame, packet.ip, packet.protocol, len);
        sum(&frame[packet.payload..packet.end], pseudo.into()) == 0xffff
    };
    match packet.protocol {
        TCP => {
            verdict.protocol = 1;
            verdict.tcp_failed = len < TCP_MIN || !verified && !right();
        }
        UDP => {
            verdict.protocol = 2;
            let none = len >= UDP_HEADER && be16(frame, packet.payload + usize::from(UDP_CHECKSUM)) == Some(0);
            verdict.udp_failed = len < UDP_HEADER || !none && !verified && !right();
        }
        _ => {}
    }
    verdict
}
