//! Ethernet frames between a network card and its backend, with offload metadata.
//!
//! Frames are Ethernet frames from the destination address to the end of the payload, without preamble and frame check
//! sequence (IEEE 802.3, 3.2). The device copies a frame that it sends from guest memory once, as a whole,
//! before it reports the guest's buffer as sent: later changes of the guest have no effect.

use crate::ctx::Ctx;
use serde::{Deserialize, Serialize};

/// A network card of the machine, 0 to [`NicId::COUNT`] - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NicId(pub u8);

impl NicId {
    /// The largest number of network cards.
    pub const COUNT: usize = 8;
}

/// The longest frame that a card may send, in bytes: an IPv4 packet of 65,535 bytes for segmentation, behind an Ethernet
/// header with a VLAN tag.
pub const MAX_SEND: usize = 65_535 + 18;

/// Empty frame buffers in the pool: enough for a batch.
pub const FRAME_POOL: usize = 64;

/// A partial TCP or UDP checksum: its field holds the sum over the pseudo header, and the backend replaces it by the one's
/// complement sum from `start` to the frame's end (virtio 1.2, 5.1.6.2, VIRTIO_NET_HDR_F_NEEDS_CSUM).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecksumAt {
    /// Start of the summed bytes, as an offset in the frame.
    pub start: u16,
    /// Position of the checksum field, as an offset from `start`.
    pub offset: u16,
}

/// Segmentation offload: a TCP segment that is longer than a frame and that the backend splits (virtio 1.2, 5.1.6.2,
/// gso_type).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segmentation {
    /// Over IPv6 instead of IPv4.
    pub ipv6: bool,
    /// Bytes of the headers that each segment repeats: Ethernet, IP and TCP.
    pub header: u16,
    /// Bytes of TCP payload in each segment, at least 1.
    pub mss: u16,
}

/// The work on a frame that is left to its receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offload {
    /// The checksum is partial. Always set with `segmentation`.
    pub checksum: Option<ChecksumAt>,
    /// The frame needs segmentation. Never set on a received frame: the host side segments those.
    pub segmentation: Option<Segmentation>,
    /// The host has verified the checksums (received frames only).
    pub verified: bool,
}

/// An Ethernet frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Its bytes, as the module's header says.
    pub bytes: Vec<u8>,
    /// Offload metadata.
    pub offload: Offload,
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, offload: Offload::default() }
    }
}

/// The one's complement sum of 16-bit words (RFC 1071), with `start` added, not complemented.
pub fn sum(bytes: &[u8], start: u32) -> u16 {
    // The sum does not depend on the byte order, except for the order of the result's bytes (RFC 1071, 2).
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

/// Completes a partial checksum. False if its field lies outside the frame.
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
    /// Sends a frame. The backend gets it after this call, before the vCPU enters the guest again. A frame that the backend
    /// cannot take is dropped, as on a wire.
    pub fn send(&mut self, nic: NicId, frame: Frame) {
        self.out.frames.push((nic, frame));
    }

    /// The next received frame of a card. [`crate::Wake::Frames`] announces new frames; the card takes as many as the guest
    /// has buffers for and calls this again when the guest has made room. The board stops reading the backend while too
    /// many frames wait.
    pub fn take_frame(&mut self, nic: NicId) -> Option<Frame> {
        self.inbox.frames(nic).pop_front()
    }

    /// Whether a frame waits for a card.
    pub fn has_frame(&self, nic: NicId) -> bool {
        self.inbox.frames_waiting(nic) > 0
    }

    /// An empty frame buffer, from the pool if it has one.
    pub fn frame_buffer(&mut self) -> Vec<u8> {
        self.inbox.frame_pool.pop().unwrap_or_default()
    }

    /// Returns the buffer of a received frame to the pool.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.inbox.frame_pool.len() < FRAME_POOL {
            buffer.clear();
            self.inbox.frame_pool.push(buffer);
        }
    }
}
