//! Generic segmentation offload (GSO) and checksum offload in software.
//!
//! A TCP segment longer than the MSS is split as a NIC with large send does it (RFC 9293): each segment repeats the
//! headers, the IPv4 identification counts up, FIN and PSH are set only in the last segment and CWR only in the first.

use pcvm_devices::net::{ChecksumAt, Frame, Offload, Segmentation, fill_checksum, sum};

/// TCP flags FIN and PSH (RFC 9293, 3.1).
const FIN_AND_PSH: u8 = 0x09;
/// TCP flag CWR (RFC 3168, 6.1).
const CWR: u8 = 0x80;
/// TCP's IP protocol number.
const TCP: u32 = 6;
/// Offset of the checksum in the TCP header.
const TCP_CHECKSUM: u16 = 16;

fn put16(bytes: &mut [u8], at: usize, value: u16) -> Option<()> {
    bytes.get_mut(at..at + 2)?.copy_from_slice(&value.to_be_bytes());
    Some(())
}

fn get16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn get32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Calls `to` with each wire frame of a frame that a NIC sends: the frame with its checksum filled in, or its segments.
/// False if the headers are not those of a TCP segment; the frame, or its rest, is then dropped, as a NIC would drop it.
pub fn segments(frame: &Frame, mut to: impl FnMut(&[u8])) -> bool {
    match (frame.offload.segmentation, frame.offload.checksum) {
        (Some(segmentation), Some(at)) => {
            segment_tcp(&frame.bytes, segmentation, at, Vec::new(), &mut |segment| to(segment)).is_some()
        }
        (None, Some(at)) => {
            let mut bytes = frame.bytes.clone();
            let valid = fill_checksum(&mut bytes, at);
            if valid {
                to(&bytes);
            }
            valid
        }
        _ => {
            to(&frame.bytes);
            true
        }
    }
}

/// Appends a received frame to `frames`, as a NIC takes it: a frame with segmentation offload as its segments, each in one
/// of the empty buffers of `spare`.
pub fn segment_received(frame: Frame, spare: &mut Vec<Vec<u8>>, frames: &mut Vec<Frame>) {
    let (Some(segmentation), Some(at)) = (frame.offload.segmentation, frame.offload.checksum) else {
        return frames.push(frame);
    };
    let first = spare.pop().unwrap_or_default();
    let _ = segment_tcp(&frame.bytes, segmentation, at, first, &mut |segment| {
        let bytes = std::mem::replace(segment, spare.pop().unwrap_or_default());
        // `segment_tcp` has just computed the checksums.
        frames.push(Frame { bytes, offload: Offload { verified: true, ..Offload::default() } });
    });
    let mut bytes = frame.bytes;
    bytes.clear();
    spare.push(bytes);
}

/// Splits a TCP segment and calls `to` with each part, which is built in `segment` or in the buffer that `to` has put in
/// its place. None if the headers are not those that `segmentation` and `at` describe.
fn segment_tcp(
    bytes: &[u8],
    segmentation: Segmentation,
    at: ChecksumAt,
    mut segment: Vec<u8>,
    to: &mut impl FnMut(&mut Vec<u8>),
) -> Option<()> {
    let Segmentation { ipv6, header, mss } = segmentation;
    let (header, tcp, mss) = (usize::from(header), usize::from(at.start), usize::from(mss.max(1)));
    let payload = bytes.get(header..)?;
    let headers = bytes.get(..header)?;
    // The IP header is between the Ethernet header, which may have VLAN tags, and the TCP header.
    let ip = if ipv6 { tcp.checked_sub(40)? } else { ipv4_start(headers, tcp)? };
    let (sequence, flags) = (get32(headers, tcp + 4)?, *headers.get(tcp + 13)?);
    let identification = get16(headers, ip + 4)?;
    let last = payload.len().div_ceil(mss).saturating_sub(1);
    for (n, part) in payload.chunks(mss).enumerate() {
        segment.clear();
        segment.extend_from_slice(headers);
        segment.extend_from_slice(part);
        let length = segment.len() - tcp;
        if ipv6 {
            put16(&mut segment, ip + 4, length as u16)?;
        } else {
            let total = (segment.len() - ip) as u16;
            put16(&mut segment, ip + 2, total)?;
            put16(&mut segment, ip + 4, identification.wrapping_add(n as u16))?;
            put16(&mut segment, ip + 10, 0)?;
            let checksum = !sum(segment.get(ip..tcp)?, 0);
            put16(&mut segment, ip + 10, checksum)?;
        }
        segment.get_mut(tcp + 4..tcp + 8)?.copy_from_slice(&sequence.wrapping_add((n * mss) as u32).to_be_bytes());
        let mut segment_flags = flags;
        if n != last {
            segment_flags &= !FIN_AND_PSH;
        }
        if n != 0 {
            segment_flags &= !CWR;
        }
        *segment.get_mut(tcp + 13)? = segment_flags;
        let addresses = if ipv6 { ip + 8..ip + 40 } else { ip + 12..ip + 20 };
        let pseudo_header = sum(segment.get(addresses)?, TCP + length as u32);
        put16(&mut segment, tcp + usize::from(TCP_CHECKSUM), pseudo_header)?;
        fill_checksum(&mut segment, at);
        to(&mut segment);
    }
    Some(())
}

/// Offset of the IPv4 header that ends at `tcp`: 20 to 60 bytes before it, by the header's own IHL field.
fn ipv4_start(headers: &[u8], tcp: usize) -> Option<usize> {
    (5..=15).filter_map(|words| tcp.checked_sub(words * 4).map(|at| (words, at))).find_map(|(words, at)| {
        // The EtherType before the header tells it from other bytes with the value of version and IHL.
        let is = *headers.get(at)? == 0x40 | words as u8 && at >= 2 && get16(headers, at - 2)? == 0x0800;
        is.then_some(at)
    })
}
