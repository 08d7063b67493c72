//! RTL8139C+ descriptor rings (C+ mode): up to 64 descriptors of 16 bytes with command or status, VLAN tag and a 64-bit
//! buffer address (RTL8139C(L)+ data sheet, "Transmit and Receive Descriptors").
//!
//! Each descriptor is read once; its buffer is copied and the descriptor returned before the next one is read. A frame
//! that is incomplete at the end of the ring continues at the next poll. One call does a bounded amount of work and
//! continues by a timer, so a ring that never ends (the guest sets OWN again as fast as the chip clears it) neither
//! blocks the machine nor starves the other ring.

use super::regs::{cpcr, int};
use super::rx::{FCS, rx_status};
use super::tx::TxOutcome;
use super::{Rtl8139, TIMER_TX_RINGS, offload};
use crate::ctx::Ctx;
use crate::memory::Memory;
use crate::net::{MAX_SEND, Offload};
use serde::{Deserialize, Serialize};

/// Descriptors in a ring, at most.
const RING_LEN: u8 = 64;
const DESCRIPTOR_SIZE: u64 = 16;
/// Descriptors processed in one call, at most.
const MAX_DESCRIPTORS: u32 = 128;
/// Bytes copied in one call, approximately.
const MAX_BYTES: usize = 1 << 20;
/// The longest frame without segmentation.
const MAX_FRAME: usize = 4096 + 18;
/// Length of the two addresses, behind which a VLAN tag is inserted.
const ADDRESSES: usize = 12;
const VLAN_TAG: usize = 4;
const VLAN_TPID: [u8; 2] = [0x81, 0x00];

// First dword of transmit and receive descriptors.
const OWN: u32 = 1 << 31;
const EOR: u32 = 1 << 30;
const FS: u32 = 1 << 29;
const LS: u32 = 1 << 28;
// First dword of transmit descriptors.
const LGSEN: u32 = 1 << 27;
const IPCS: u32 = 1 << 18;
const UDPCS: u32 = 1 << 17;
const TCPCS: u32 = 1 << 16;
/// Command bits that stay in the status. The bits between are error bits and the collision count; the lower 16 are the
/// length.
const TX_STATUS_MASK: u32 = EOR | FS | LS | 0xffff;
const TX_TES: u32 = 1 << 23;
const TX_LNKF: u32 = 1 << 21;
// Second dword of transmit descriptors: insert the VLAN tag.
const TX_TAGC: u32 = 1 << 17;
// First dword of receive descriptors.
const RX_BUFFER_SIZE: u32 = 0x1fff;
const RX_MAR: u32 = 1 << 26;
const RX_PAM: u32 = 1 << 25;
const RX_BAR: u32 = 1 << 24;
const RX_RES: u32 = 1 << 20;
const RX_RUNT: u32 = 1 << 19;
const RX_CRC: u32 = 1 << 18;
const RX_IPF: u32 = 1 << 15;
const RX_UDPF: u32 = 1 << 14;
const RX_TCPF: u32 = 1 << 13;
// Second dword of receive descriptors: a VLAN tag was removed.
const RX_TAVA: u32 = 1 << 16;

/// State of a transmit ring: ring 0 has normal priority, ring 1 high priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TxRing {
    /// The next descriptor.
    index: u8,
    /// The frame gathered so far, from the descriptor with FS on.
    frame: Vec<u8>,
    /// The first two dwords of the descriptor with FS; OWN is clear if there is none.
    first: [u32; 2],
    /// The frame exceeds `MAX_SEND`.
    too_long: bool,
    /// A TPPoll command has not been completed.
    poll_pending: bool,
}

impl TxRing {
    /// Whether the state, from a saved state, is possible.
    pub(super) fn is_valid(&self) -> bool {
        self.index < RING_LEN && self.frame.len() <= MAX_SEND
    }

    fn start_frame(&mut self, first: [u32; 2]) {
        self.frame.clear();
        self.first = first;
        self.too_long = false;
    }
}

/// A descriptor as read from memory.
#[derive(Clone, Copy)]
struct Descriptor {
    command: u32,
    tag: u32,
    buffer: u64,
}

impl Descriptor {
    fn read(memory: &Memory, at: u64) -> Self {
        let mut bytes = [0; DESCRIPTOR_SIZE as usize];
        memory.read(at, &mut bytes);
        let all = u128::from_le_bytes(bytes);
        Self { command: all as u32, tag: (all >> 32) as u32, buffer: (all >> 64) as u64 }
    }

    fn next(self, index: u8) -> u8 {
        if self.command & EOR != 0 { 0 } else { (index + 1) % RING_LEN }
    }
}

fn base([low, high]: [u32; 2]) -> u64 {
    // Rings are aligned to 256 bytes.
    u64::from(high) << 32 | u64::from(low & !0xff)
}

/// Whether the descriptor at `at` lies in writable RAM.
fn is_ram(memory: &Memory, at: u64) -> bool {
    let mut all = true;
    memory.for_each_run(at, DESCRIPTOR_SIZE, true, |slice, _| all &= slice.is_some());
    all
}

impl Rtl8139 {
    /// CPCR.CPTx: the guest sends by descriptors. DTCCR then replaces TSD0 and TSD1.
    pub(super) fn cplus_tx(&self) -> bool {
        self.regs.cpcr & cpcr::TX != 0
    }

    /// CPCR.CPRx: the guest receives by descriptors.
    pub(super) fn cplus_rx(&self) -> bool {
        self.regs.cpcr & cpcr::RX != 0
    }

    /// A write to TPPoll with NPQ (`normal`) or HPQ (`high`).
    pub(super) fn write_tppoll(&mut self, cx: &mut Ctx<'_>, normal: bool, high: bool) {
        self.tx_rings[0].poll_pending |= normal;
        self.tx_rings[1].poll_pending |= high;
        self.process_tx_rings(cx);
    }

    /// Processes the rings that were polled, the high-priority ring first.
    pub(super) fn process_tx_rings(&mut self, cx: &mut Ctx<'_>) {
        if !self.tx_rings.iter().any(|ring| ring.poll_pending) || !self.tx_enabled() || !self.cplus_tx() {
            return;
        }
        let (mut descriptors, mut bytes) = (MAX_DESCRIPTORS, MAX_BYTES);
        for n in [1, 0] {
            if self.tx_rings[n].poll_pending {
                self.tx_rings[n].poll_pending = self.process_tx_ring(cx, n, &mut descriptors, &mut bytes);
            }
        }
        if self.tx_rings.iter().any(|ring| ring.poll_pending) {
            cx.arm(TIMER_TX_RINGS, cx.now());
        }
    }

    /// Resets transmit ring `n` to descriptor 0.
    pub(super) fn restart_tx_ring(&mut self, n: usize) {
        if let Some(ring) = self.tx_rings.get_mut(n) {
            *ring = TxRing::default();
        }
    }

    /// Resets all rings to descriptor 0.
    pub(super) fn restart_rings(&mut self) {
        self.tx_rings = Default::default();
        self.rx_index = 0;
    }

    /// Processes transmit ring `n` within the budgets. Returns whether work is left.
    fn process_tx_ring(
        &mut self,
        cx: &mut Ctx<'_>,
        n: usize,
        descriptor_budget: &mut u32,
        byte_budget: &mut usize,
    ) -> bool {
        let base = base([self.regs.tsad[2 * n], self.regs.tsad[2 * n + 1]]);
        if !is_ram(cx.memory(), base.wrapping_add(DESCRIPTOR_SIZE * u64::from(self.tx_rings[n].index))) {
            // PCI master abort.
            cx.guest_error("transmit descriptor outside RAM");
            self.regs.isr |= int::SERR;
            return false;
        }
        let mut any_owned = false;
        loop {
            if *descriptor_budget == 0 || *byte_budget == 0 {
                return true;
            }
            *descriptor_budget -= 1;
            let at = base.wrapping_add(DESCRIPTOR_SIZE * u64::from(self.tx_rings[n].index));
            let descriptor = Descriptor::read(cx.memory(), at);
            if descriptor.command & OWN == 0 {
                break;
            }
            any_owned = true;
            let before = self.tx_rings[n].frame.len();
            self.gather_buffer(cx, n, descriptor);
            *byte_budget = byte_budget.saturating_sub(self.tx_rings[n].frame.len().saturating_sub(before).max(1));
            let mut result = descriptor.command & TX_STATUS_MASK;
            if descriptor.command & LS != 0 {
                result |= self.finish_frame(cx, n);
            }
            cx.memory().write(at, &result.to_le_bytes());
            self.tx_rings[n].index = descriptor.next(self.tx_rings[n].index);
        }
        if any_owned {
            self.regs.isr |= int::TDU;
        }
        false
    }

    /// Appends a descriptor's buffer to the ring's frame.
    fn gather_buffer(&mut self, cx: &mut Ctx<'_>, n: usize, descriptor: Descriptor) {
        let ring = &mut self.tx_rings[n];
        if descriptor.command & FS != 0 {
            if ring.frame.capacity() == 0 {
                ring.frame = cx.frame_buffer();
            }
            ring.start_frame([descriptor.command, descriptor.tag]);
        }
        if ring.first[0] & OWN == 0 || ring.too_long {
            return;
        }
        let mut from = descriptor.buffer;
        let mut len = (descriptor.command & 0xffff) as usize;
        let inserts_tag = ring.first[1] & TX_TAGC != 0 && ring.frame.len() < ADDRESSES;
        if ring.frame.len() + len + if inserts_tag { VLAN_TAG } else { 0 } > MAX_SEND {
            ring.too_long = true;
            return;
        }
        let mut copy = |bytes: &mut Vec<u8>, len: usize| {
            let at = bytes.len();
            bytes.resize(at + len, 0);
            cx.memory().read(from, &mut bytes[at..]);
            from = from.wrapping_add(len as u64);
        };
        if inserts_tag {
            let head = len.min(ADDRESSES - ring.frame.len());
            copy(&mut ring.frame, head);
            len -= head;
            if ring.frame.len() == ADDRESSES {
                // The descriptor holds the tag in network byte order.
                let [low, high, ..] = ring.first[1].to_le_bytes();
                ring.frame.extend_from_slice(&VLAN_TPID);
                ring.frame.extend_from_slice(&[low, high]);
            }
        }
        copy(&mut ring.frame, len);
    }

    /// Sends the ring's frame. Returns the status bits for its last descriptor.
    fn finish_frame(&mut self, cx: &mut Ctx<'_>, n: usize) -> u32 {
        let ring = &mut self.tx_rings[n];
        let mut bytes = std::mem::take(&mut ring.frame);
        let [command, _] = std::mem::take(&mut ring.first);
        let too_long = std::mem::take(&mut ring.too_long);
        let in_software = self.regs.loopback() || self.regs.tcr & super::regs::tcr::NO_CRC != 0;
        let offload = if too_long || command & OWN == 0 {
            Offload::default()
        } else {
            let large = command & LGSEN != 0;
            let tasks = offload::OffloadTasks {
                ip: !large && command & IPCS != 0,
                udp: !large && command & UDPCS != 0,
                tcp: !large && command & TCPCS != 0,
                mss: large.then_some((command >> 16 & 0x7ff) as u16),
            };
            offload::prepare_tx(&mut bytes, tasks, in_software)
        };
        let oversized = bytes.len() > MAX_FRAME && offload.segmentation.is_none();
        if too_long || oversized || command & OWN == 0 {
            cx.guest_error("transmit frame too long or without FS");
            cx.recycle(bytes);
            self.count_tx_error();
            return TX_TES;
        }
        let outcome = self.transmit(cx, bytes, offload);
        self.note_tx_done();
        if outcome == TxOutcome::NoCarrier { TX_LNKF } else { 0 }
    }

    /// Stores a frame with its FCS in the next receive descriptors. Returns false if they have too little room.
    pub(super) fn deliver_to_cplus_ring(
        &mut self,
        cx: &mut Ctx<'_>,
        bytes: &[u8],
        status: u16,
        verified: bool,
    ) -> bool {
        let memory = cx.memory();
        let base = base(self.regs.rdsar);
        let tag = self.vlan_tag(bytes);
        // With the VLAN tag removed the frame is in two parts.
        let (mut head, mut rest) = match tag {
            Some(_) => (&bytes[..ADDRESSES], &bytes[ADDRESSES + VLAN_TAG..]),
            None => (&[][..], bytes),
        };
        let length = head.len() + rest.len();
        let mut used = [(0u64, Descriptor { command: 0, tag: 0, buffer: 0 }); RING_LEN as usize];
        let (mut count, mut room, mut index) = (0, 0, self.rx_index);
        while room < length {
            if count > 0 && index == self.rx_index {
                // The whole ring is used.
                return false;
            }
            let Some(slot) = used.get_mut(count) else { return false };
            let at = base.wrapping_add(DESCRIPTOR_SIZE * u64::from(index));
            let descriptor = Descriptor::read(memory, at);
            if descriptor.command & OWN == 0 {
                return false;
            }
            if count == 0 && !is_ram(memory, at) {
                cx.guest_error("receive descriptor outside RAM");
                return false;
            }
            *slot = (at, descriptor);
            room += (descriptor.command & RX_BUFFER_SIZE) as usize;
            index = descriptor.next(index);
            count += 1;
        }
        self.rx_index = index;
        let flags = self.rx_descriptor_status(bytes, status, verified);
        for (n, &(at, descriptor)) in used.iter().enumerate().take(count) {
            let mut to = descriptor.buffer;
            let mut left = (descriptor.command & RX_BUFFER_SIZE) as usize;
            let mut written = 0;
            for part in [&mut head, &mut rest] {
                let (now, later) = part.split_at(part.len().min(left));
                memory.write(to, now);
                to = to.wrapping_add(now.len() as u64);
                left -= now.len();
                written += now.len();
                *part = later;
            }
            let last = n + 1 == count;
            let mut result = descriptor.command & EOR | flags;
            result |= if n == 0 { FS } else { 0 } | if last { LS | length as u32 } else { written as u32 };
            memory.write(at + 4, &tag.map_or(0, |tag| RX_TAVA | u32::from(tag)).to_le_bytes());
            // The dword with OWN is written last.
            memory.write(at, &result.to_le_bytes());
        }
        true
    }

    /// Counts the filled receive descriptors that the guest has not returned, backwards from the last one filled.
    pub(super) fn count_unread_descriptors(&self, cx: &Ctx<'_>) -> u8 {
        let base = base(self.regs.rdsar);
        let command = |index: u8| cx.memory().read_u32(base.wrapping_add(DESCRIPTOR_SIZE * u64::from(index)));
        let mut index = self.rx_index;
        for count in 0..RING_LEN {
            index = match index.checked_sub(1) {
                Some(before) => before,
                None => (0..RING_LEN).find(|&n| command(n) & EOR != 0).unwrap_or(RING_LEN - 1),
            };
            let command = command(index);
            // A descriptor that was never filled has OWN set, or no length.
            if command & OWN != 0 || command & RX_BUFFER_SIZE == 0 {
                return count;
            }
        }
        RING_LEN
    }

    /// The VLAN tag to remove from a frame, in the byte order of the descriptor.
    fn vlan_tag(&self, bytes: &[u8]) -> Option<u16> {
        let tagged = self.regs.cpcr & cpcr::RX_VLAN != 0
            && bytes.len() >= ADDRESSES + VLAN_TAG + FCS
            && bytes[ADDRESSES..ADDRESSES + 2] == VLAN_TPID;
        tagged.then(|| u16::from_le_bytes([bytes[ADDRESSES + 2], bytes[ADDRESSES + 3]]))
    }

    fn rx_descriptor_status(&self, bytes: &[u8], status: u16, verified: bool) -> u32 {
        let mut flags = 0;
        for (bit, flag) in [
            (rx_status::MAR, RX_MAR),
            (rx_status::PAM, RX_PAM),
            (rx_status::BAR, RX_BAR),
            (rx_status::RUNT, RX_RUNT | RX_RES),
            (rx_status::CRC, RX_CRC | RX_RES),
        ] {
            flags |= if status & bit != 0 { flag } else { 0 };
        }
        if self.regs.cpcr & cpcr::RX_CHECKSUM != 0 {
            let checksums = offload::check_rx(&bytes[..bytes.len() - FCS], verified);
            flags |= u32::from(checksums.protocol) << 16;
            for (failed, flag) in
                [(checksums.ip_failed, RX_IPF), (checksums.udp_failed, RX_UDPF), (checksums.tcp_failed, RX_TCPF)]
            {
                flags |= if failed { flag } else { 0 };
            }
        }
        flags
    }
}
