//! What a card leaves to others, done here: long TCP segments are cut (RFC 9293; the way of a card's large send, where IP
//! identifications count up and FIN and PSH are for the last piece) and checksums filled in.

use pcvm_devices::net::{ChecksumAt, Frame, Offload, Segmentation, fill_checksum, sum};

const FIN_AND_PSH: u8 = 0x09;
const CWR: u8 = 0x80;
const TCP: u32 = 6;
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

/// Gives the frames that go onto a wire for one that a card has sent: itself, or its pieces.
pub fn pieces(frame: &Frame, mut to: impl FnMut(&[u8])) {
    match (frame.offload.segmentation, frame.offload.checksum) {
        (Some(how), Some(at)) => {
            // What cannot be cut is lost, as a card would lose it.
            let _ = cut(&frame.bytes, how, at, Vec::new(), &mut |piece| to(piece));
        }
        (None, Some(at)) => {
            let mut bytes = frame.bytes.clone();
            if fill_checksum(&mut bytes, at) {
                to(&bytes);
            }
        }
        _ => to(&frame.bytes),
    }
}

/// Puts a frame that came in at the end of `frames`, as a card takes it: a long segment in pieces, each in one of the
/// empty buffers of `spare`.
pub fn received(frame: Frame, spare: &mut Vec<Vec<u8>>, frames: &mut Vec<Frame>) {
    let (Some(how), Some(at)) = (frame.offload.segmentation, frame.offload.checksum) else {
        return frames.push(frame);
    };
    let first = spare.pop().unwrap_or_default();
    let _ = cut(&frame.bytes, how, at, first, &mut |piece| {
        let bytes = std::mem::replace(piece, spare.pop().unwrap_or_default());
        // Its checksums have just been made.
        frames.push(Frame { bytes, offload: Offload { verified: true, ..Offload::default() } });
    });
    let mut bytes = frame.bytes;
    bytes.clear();
    spare.push(bytes);
}

/// Gives the pieces to `to`, each in `piece` or in what `to` has put in its place.
fn cut(
    bytes: &[u8],
    how: Segmentation,
    at: ChecksumAt,
    mut piece: Vec<u8>,
    to: &mut impl FnMut(&mut Vec<u8>),
) -> Option<()> {
    let (header, tcp, mss) = (usize::from(how.header), usize::from(at.start), usize::from(how.mss.max(1)));
    let payload = bytes.get(header..)?;
    let head = bytes.get(..header)?;
    // IP is what lies between Ethernet, with a tag or two perhaps, and TCP.
    let ip = if how.ipv6 { tcp.checked_sub(40)? } else { ipv4(head, tcp)? };
    let (sequence, flags) = (get32(head, tcp + 4)?, *head.get(tcp + 13)?);
    let identification = get16(head, ip + 4)?;
    let last = payload.len().div_ceil(mss).saturating_sub(1);
    for (n, part) in payload.chunks(mss).enumerate() {
        piece.clear();
        piece.extend_from_slice(head);
        piece.extend_from_slice(part);
        let length = piece.len() - tcp;
        if how.ipv6 {
            put16(&mut piece, ip + 4, length as u16)?;
        } else {
            let total = (piece.len() - ip) as u16;
            put16(&mut piece, ip + 2, total)?;
            put16(&mut piece, ip + 4, identification.wrapping_add(n as u16))?;
            put16(&mut piece, ip + 10, 0)?;
            let checksum = !sum(piece.get(ip..tcp)?, 0);
            put16(&mut piece, ip + 10, checksum)?;
        }
        piece.get_mut(tcp + 4..tcp + 8)?.copy_from_slice(&sequence.wrapping_add((n * mss) as u32).to_be_bytes());
        let mut kept = flags;
        if n != last {
            kept &= !FIN_AND_PSH;
        }
        if n != 0 {
            kept &= !CWR;
        }
        *piece.get_mut(tcp + 13)? = kept;
        let addresses = if how.ipv6 { ip + 8..ip + 40 } else { ip + 12..ip + 20 };
        let pseudo = sum(piece.get(addresses)?, TCP + length as u32);
        put16(&mut piece, tcp + usize::from(TCP_CHECKSUM), pseudo)?;
        fill_checksum(&mut piece, at);
        to(&mut piece);
    }
    Some(())
}

/// Where the IPv4 header begins that ends at `tcp`: 20 to 60 bytes before, as its own first byte says.
fn ipv4(head: &[u8], tcp: usize) -> Option<usize> {
    (5..=15).filter_map(|words| tcp.checked_sub(words * 4).map(|at| (words, at))).find_map(|(words, at)| {
        // Ethernet's type, just before, tells it from bytes that look like it.
        let is = *head.get(at)? == 0x40 | words as u8 && at >= 2 && get16(head, at - 2)? == 0x0800;
        is.then_some(at)
    })
}
