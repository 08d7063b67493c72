//! Traffic counters of a network port.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// Traffic of a network port since the machine started. A frame with segmentation offload counts as one frame, in both
/// directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortStats {
    /// Frames that the backend took from the guest.
    pub tx_frames: u64,
    /// Their bytes, from the destination address to the end of the payload.
    pub tx_bytes: u64,
    /// Frames of the guest that were dropped: the backend's queue was full, it had no peer, or the frame was malformed. So
    /// is a frame of which a segment was dropped.
    pub tx_dropped: u64,
    /// Frames read from the backend.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
}

/// The counters behind [`PortStats`].
#[derive(Default)]
pub(super) struct PortCounters {
    tx_frames: AtomicU64,
    tx_bytes: AtomicU64,
    tx_dropped: AtomicU64,
    rx_frames: AtomicU64,
    rx_bytes: AtomicU64,
}

impl PortCounters {
    /// Counts a frame of the guest that the backend took or dropped.
    pub(super) fn transmitted(&self, bytes: usize, taken: bool) {
        if taken {
            self.tx_frames.fetch_add(1, Ordering::Relaxed);
            self.tx_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        } else {
            self.tx_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a frame from the backend.
    pub(super) fn received(&self, bytes: usize) {
        self.rx_frames.fetch_add(1, Ordering::Relaxed);
        self.rx_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> PortStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PortStats {
            tx_frames: get(&self.tx_frames),
            tx_bytes: get(&self.tx_bytes),
            tx_dropped: get(&self.tx_dropped),
            rx_frames: get(&self.rx_frames),
            rx_bytes: get(&self.rx_bytes),
        }
    }
}
