//! What a network card asks of the host: frames to send, and frames that came in.
//!
//! Frames are Ethernet frames from the destination address to the end of the payload, without preamble and frame check
//! sequence (IEEE 802.3, 3.2). A frame that is sent has been copied out of guest memory once, whole, before the device
//! says that it is done with the guest's buffer: what the guest changes afterwards changes nothing.

use crate::ctx::Ctx;
use serde::{Deserialize, Serialize};

/// A network card of the machine, 0 to [`NicId::COUNT`] - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NicId(pub u8);

impl NicId {
    /// How many there can be.
    pub const COUNT: usize = 8;
}

/// The longest frame, in bytes, that a card may send: an IPv4 packet of 65,535 bytes to be cut into segments, behind an
/// Ethernet header with a VLAN tag.
pub const MAX_SEND: usize = 65_535 + 18;

/// How many empty buffers are kept for frames to come: enough for a batch.
pub const FRAME_POOL: usize = 64;

/// A TCP or UDP checksum that is not filled in: its field holds the sum over the pseudo header, and the one's complement
/// sum from `start` to the frame's end belongs there (virtio 1.2, 5.1.6.2, VIRTIO_NET_HDR_F_NEEDS_CSUM).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecksumAt {
    /// Where the sum starts, in bytes from the frame's first.
    pub start: u16,
    /// Where the field is, in bytes from `start`.
    pub offset: u16,
}

/// A TCP segment that is too long for the wire and is cut on the way (virtio 1.2, 5.1.6.2, gso_type).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segmentation {
    /// Carried by IPv6 instead of IPv4.
    pub ipv6: bool,
    /// Bytes of headers that each piece repeats: Ethernet, IP and TCP.
    pub header: u16,
    /// Bytes of TCP payload in each piece, at least 1.
    pub mss: u16,
}

/// What of a frame is left to others to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offload {
    /// A checksum is not filled in. Always so with `segmentation`.
    pub checksum: Option<ChecksumAt>,
    /// The frame is to be cut. Never set on a frame that was received: the host's side cuts those.
    pub segmentation: Option<Segmentation>,
    /// The host has verified the checksums (received frames only).
    pub verified: bool,
}

/// A frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Its bytes, as the module's header says.
    pub bytes: Vec<u8>,
    /// What is left to do.
    pub offload: Offload,
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, offload: Offload::default() }
    }
}

/// The one's complement sum of 16-bit words (RFC 1071), with `start` added, not complemented.
pub fn sum(bytes: &[u8], start: u32) -> u16 {
    // The order of bytes does not matter to the sum, but for the result's.
    let mut total = 0u64;
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        total += u64::from(u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
    }
    let mut rest = [0; 4];
    rest[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    total += u64::from(u32::from_le_bytes(rest));
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    let mut total = u32::from((total as u16).swap_bytes()) + (start & 0xffff) + (start >> 16);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// Fills in a checksum that was left to others; true if the frame has room for it.
pub fn fill_checksum(frame: &mut [u8], at: ChecksumAt) -> bool {
    let (start, field) = (usize::from(at.start), usize::from(at.start) + usize::from(at.offset));
    if start > frame.len() || field + 2 > frame.len() {
        return false;
    }
    let checksum = match !sum(&frame[start..], 0) {
        // 0 means "none" in UDP, and the same as FFFFh in TCP.
        0 => 0xffff,
        checksum => checksum,
    };
    frame[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    true
}

impl Ctx<'_> {
    /// Sends a frame. The host takes it after this call, before the processor that asked for it runs on; what the host
    /// cannot take is lost, as on a wire.
    pub fn send(&mut self, nic: NicId, frame: Frame) {
        self.out.frames.push((nic, frame));
    }

    /// The next frame that came in for a card. New ones are announced by [`crate::Wake::Frames`]; the card takes as many
    /// as it has room for, and comes back for more by itself when the guest makes room. What it does not take waits, and
    /// the host's side stops reading when enough is waiting.
    pub fn take_frame(&mut self, nic: NicId) -> Option<Frame> {
        self.inbox.frames(nic).pop_front()
    }

    /// Whether a frame waits for a card.
    pub fn has_frame(&self, nic: NicId) -> bool {
        self.inbox.frames_waiting(nic) > 0
    }

    /// An empty buffer for a frame, used before if there is one.
    pub fn frame_buffer(&mut self) -> Vec<u8> {
        self.inbox.frame_pool.pop().unwrap_or_default()
    }

    /// Gives back the buffer of a frame that came in.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.inbox.frame_pool.len() < FRAME_POOL {
            buffer.clear();
            self.inbox.frame_pool.push(buffer);
        }
    }
}
