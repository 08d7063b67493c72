//! C+ mode: rings of up to 64 descriptors of 16 bytes (RTL8139C(L)+ data sheet, "Transmit and Receive Descriptors"):
//! command or status, VLAN tag, 64-bit address of a buffer.
//!
//! A descriptor is read once. Its buffer is copied and it is given back before the next is looked at; a frame that is not
//! whole when the ring ends goes on at the next poll. A poll does a bounded amount of work and then goes on by a timer, so
//! that a ring that never ends (linked to itself by memory that keeps its OWN bits) neither holds the machine nor stalls
//! the other ring.

use super::regs::{cpcr, int};
use super::rx::{FCS, status};
use super::tx::Left;
use super::{Rtl8139, TIMER_TX, offload};
use crate::ctx::Ctx;
use crate::memory::Memory;
use crate::net::{MAX_SEND, Offload};
use serde::{Deserialize, Serialize};

/// Descriptors of a ring at most.
const RING: u8 = 64;
const DESCRIPTOR: u64 = 16;
/// Descriptors handled in one call.
const BATCH: u32 = 128;
/// Bytes copied in one call, about.
const BATCH_BYTES: usize = 1 << 20;
/// The longest frame that is not cut into segments.
const MAX_FRAME: usize = 4096 + 18;
/// A VLAN tag goes behind the two addresses.
const ADDRESSES: usize = 12;
const TAG: usize = 4;
const TAG_PROTOCOL: [u8; 2] = [0x81, 0x00];

// First dword, both ways.
const OWN: u32 = 1 << 31;
const EOR: u32 = 1 << 30;
const FS: u32 = 1 << 29;
const LS: u32 = 1 << 28;
// To send.
const LGSEN: u32 = 1 << 27;
const IPCS: u32 = 1 << 18;
const UDPCS: u32 = 1 << 17;
const TCPCS: u32 = 1 << 16;
/// What stays of it in the status: what is below are error bits and collisions, above the length.
const TX_KEPT: u32 = EOR | FS | LS | 0xffff;
const TES: u32 = 1 << 23;
const LNKF: u32 = 1 << 21;
// Second dword: insert this tag.
const TAGC: u32 = 1 << 17;
// Received.
const RX_BUFFER: u32 = 0x1fff;
const RX_MAR: u32 = 1 << 26;
const RX_PAM: u32 = 1 << 25;
const RX_BAR: u32 = 1 << 24;
const RX_RES: u32 = 1 << 20;
const RX_RUNT: u32 = 1 << 19;
const RX_CRC: u32 = 1 << 18;
const RX_IPF: u32 = 1 << 15;
const RX_UDPF: u32 = 1 << 14;
const RX_TCPF: u32 = 1 << 13;
// Second dword: this tag was taken off.
const TAVA: u32 = 1 << 16;

/// A transmit ring: 0 the normal one, 1 that of high priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TxRing {
    /// The next descriptor.
    index: u8,
    /// The frame so far, from the descriptor with FS on.
    bytes: Vec<u8>,
    /// The first two dwords of that descriptor; without OWN, there is none.
    first: [u32; 2],
    /// It became too long.
    broken: bool,
    /// A poll has not come to its end.
    busy: bool,
}

impl TxRing {
    /// Whether a saved state is one that there can be.
    pub(super) fn is_possible(&self) -> bool {
        self.index < RING && self.bytes.len() <= MAX_SEND
    }

    fn begin(&mut self, first: [u32; 2]) {
        self.bytes.clear();
        self.first = first;
        self.broken = false;
    }
}

/// A descriptor as it was read.
#[derive(Clone, Copy)]
struct Descriptor {
    command: u32,
    tag: u32,
    buffer: u64,
}

impl Descriptor {
    fn read(memory: &Memory, at: u64) -> Self {
        let mut bytes = [0; DESCRIPTOR as usize];
        memory.read(at, &mut bytes);
        let all = u128::from_le_bytes(bytes);
        Self { command: all as u32, tag: (all >> 32) as u32, buffer: (all >> 64) as u64 }
    }

    fn next(self, index: u8) -> u8 {
        if self.command & EOR != 0 { 0 } else { (index + 1) % RING }
    }
}

fn base([low, high]: [u32; 2]) -> u64 {
    // Rings are aligned to 256 bytes.
    u64::from(high) << 32 | u64::from(low & !0xff)
}

/// Whether a bus master's write reaches anything there.
fn is_memory(memory: &Memory, at: u64) -> bool {
    let mut all = true;
    memory.for_each_run(at, DESCRIPTOR, true, |slice, _| all &= slice.is_some());
    all
}

impl Rtl8139 {
    /// Whether software sends by descriptors. The slots' status registers are then the dump command.
    pub(super) fn sends_descriptors(&self) -> bool {
        self.regs.cpcr & cpcr::TX != 0
    }

    /// Whether software receives by descriptors.
    pub(super) fn receives_descriptors(&self) -> bool {
        self.regs.cpcr & cpcr::RX != 0
    }

    /// TPPoll: there is something in these rings.
    pub(super) fn poll_rings(&mut self, cx: &mut Ctx<'_>, normal: bool, high: bool) {
        self.rings[0].busy |= normal;
        self.rings[1].busy |= high;
        self.work_rings(cx);
    }

    /// Goes on where the rings are not done with, the one of high priority first.
    pub(super) fn work_rings(&mut self, cx: &mut Ctx<'_>) {
        if !self.rings.iter().any(|ring| ring.busy) || !self.may_send() || !self.sends_descriptors() {
            return;
        }
        let (mut descriptors, mut bytes) = (BATCH, BATCH_BYTES);
        for n in [1, 0] {
            if self.rings[n].busy {
                self.rings[n].busy = self.work_ring(cx, n, &mut descriptors, &mut bytes);
            }
        }
        if self.rings.iter().any(|ring| ring.busy) {
            cx.arm(TIMER_TX, cx.now());
        }
    }

    /// Back to the beginning of transmit ring `n`.
    pub(super) fn restart_ring(&mut self, n: usize) {
        if let Some(ring) = self.rings.get_mut(n) {
            *ring = TxRing::default();
        }
    }

    /// Back to the beginning of all rings.
    pub(super) fn restart_rings(&mut self) {
        self.rings = Default::default();
        self.rx_index = 0;
    }

    /// True if there is more to do.
    fn work_ring(&mut self, cx: &mut Ctx<'_>, n: usize, left: &mut u32, left_bytes: &mut usize) -> bool {
        let base = base([self.regs.tsad[2 * n], self.regs.tsad[2 * n + 1]]);
        if !is_memory(cx.memory(), base.wrapping_add(DESCRIPTOR * u64::from(self.rings[n].index))) {
            // Nobody there answers: a master abort.
            self.regs.isr |= int::SERR;
            return false;
        }
        let mut any = false;
        loop {
            if *left == 0 || *left_bytes == 0 {
                return true;
            }
            *left -= 1;
            let at = base.wrapping_add(DESCRIPTOR * u64::from(self.rings[n].index));
            let descriptor = Descriptor::read(cx.memory(), at);
            if descriptor.command & OWN == 0 {
                break;
            }
            any = true;
            let before = self.rings[n].bytes.len();
            self.gather(cx, n, descriptor);
            *left_bytes = left_bytes.saturating_sub(self.rings[n].bytes.len().saturating_sub(before).max(1));
            let mut result = descriptor.command & TX_KEPT;
            if descriptor.command & LS != 0 {
                result |= self.finish(cx, n);
            }
            cx.memory().write(at, &result.to_le_bytes());
            self.rings[n].index = descriptor.next(self.rings[n].index);
        }
        if any {
            self.regs.isr |= int::TDU;
        }
        false
    }

    /// Copies a descriptor's buffer to the end of the ring's frame.
    fn gather(&mut self, cx: &mut Ctx<'_>, n: usize, descriptor: Descriptor) {
        let ring = &mut self.rings[n];
        if descriptor.command & FS != 0 {
            if ring.bytes.capacity() == 0 {
                ring.bytes = cx.frame_buffer();
            }
            ring.begin([descriptor.command, descriptor.tag]);
        }
        if ring.first[0] & OWN == 0 || ring.broken {
            return;
        }
        let mut from = descriptor.buffer;
        let mut len = (descriptor.command & 0xffff) as usize;
        let tag_comes = ring.first[1] & TAGC != 0 && ring.bytes.len() < ADDRESSES;
        if ring.bytes.len() + len + if tag_comes { TAG } else { 0 } > MAX_SEND {
            ring.broken = true;
            return;
        }
        let mut copy = |bytes: &mut Vec<u8>, len: usize| {
            let at = bytes.len();
            bytes.resize(at + len, 0);
            cx.memory().read(from, &mut bytes[at..]);
            from = from.wrapping_add(len as u64);
        };
        if tag_comes {
            let head = len.min(ADDRESSES - ring.bytes.len());
            copy(&mut ring.bytes, head);
            len -= head;
            if ring.bytes.len() == ADDRESSES {
                // The tag is stored in the order of its bytes on the wire.
                let [low, high, ..] = ring.first[1].to_le_bytes();
                ring.bytes.extend_from_slice(&TAG_PROTOCOL);
                ring.bytes.extend_from_slice(&[low, high]);
            }
        }
        copy(&mut ring.bytes, len);
    }

    /// Sends the ring's frame. Gives the status bits of its last descriptor.
    fn finish(&mut self, cx: &mut Ctx<'_>, n: usize) -> u32 {
        let ring = &mut self.rings[n];
        let mut bytes = std::mem::take(&mut ring.bytes);
        let [command, _] = std::mem::take(&mut ring.first);
        let broken = std::mem::take(&mut ring.broken);
        let whole = self.regs.loopback() || self.regs.tcr & super::regs::tcr::NO_CRC != 0;
        let offload = if broken || command & OWN == 0 {
            Offload::default()
        } else {
            let large = command & LGSEN != 0;
            let tasks = offload::Tasks {
                ip: !large && command & IPCS != 0,
                udp: !large && command & UDPCS != 0,
                tcp: !large && command & TCPCS != 0,
                mss: large.then_some((command >> 16 & 0x7ff) as u16),
            };
            offload::transmit(&mut bytes, tasks, whole)
        };
        let too_long = bytes.len() > MAX_FRAME && offload.segmentation.is_none();
        if broken || too_long || command & OWN == 0 {
            cx.recycle(bytes);
            self.transmit_error();
            return TES;
        }
        let left = self.put_on_wire(cx, bytes, offload);
        self.note_sent();
        if left == Left::NoCarrier { LNKF } else { 0 }
    }

    /// Puts a frame with its FCS into the next receive descriptors. False if there are not enough.
    pub(super) fn deliver_to_descriptors(&mut self, cx: &Ctx<'_>, bytes: &[u8], status: u16, verified: bool) -> bool {
        let memory = cx.memory();
        let base = base(self.regs.rdsar);
        let tag = self.tag_of(bytes);
        // Without its tag a frame is in two parts.
        let (mut head, mut rest) = match tag {
            Some(_) => (&bytes[..ADDRESSES], &bytes[ADDRESSES + TAG..]),
            None => (&[][..], bytes),
        };
        let length = head.len() + rest.len();
        let mut taken = [(0u64, Descriptor { command: 0, tag: 0, buffer: 0 }); RING as usize];
        let (mut count, mut room, mut index) = (0, 0, self.rx_index);
        while room < length {
            if count > 0 && index == self.rx_index {
                // All the way round.
                return false;
            }
            let Some(slot) = taken.get_mut(count) else { return false };
            let at = base.wrapping_add(DESCRIPTOR * u64::from(index));
            let descriptor = Descriptor::read(memory, at);
            if descriptor.command & OWN == 0 || count == 0 && !is_memory(memory, at) {
                return false;
            }
            *slot = (at, descriptor);
            room += (descriptor.command & RX_BUFFER) as usize;
            index = descriptor.next(index);
            count += 1;
        }
        self.rx_index = index;
        let flags = self.descriptor_status(bytes, status, verified);
        for (n, &(at, descriptor)) in taken.iter().enumerate().take(count) {
            let mut to = descriptor.buffer;
            let mut left = (descriptor.command & RX_BUFFER) as usize;
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
            memory.write(at + 4, &tag.map_or(0, |tag| TAVA | u32::from(tag)).to_le_bytes());
            // What gives it back comes last.
            memory.write(at, &result.to_le_bytes());
        }
        true
    }

    /// How many receive descriptors are filled and not given back, from the last one filled.
    pub(super) fn unread_descriptors(&self, cx: &Ctx<'_>) -> u8 {
        let base = base(self.regs.rdsar);
        let command = |index: u8| cx.memory().read_u32(base.wrapping_add(DESCRIPTOR * u64::from(index)));
        let mut index = self.rx_index;
        for count in 0..RING {
            index = match index.checked_sub(1) {
                Some(before) => before,
                None => (0..RING).find(|&n| command(n) & EOR != 0).unwrap_or(RING - 1),
            };
            let command = command(index);
            // One that was never filled has no length, or is the chip's.
            if command & OWN != 0 || command & RX_BUFFER == 0 {
                return count;
            }
        }
        RING
    }

    /// The tag of a frame from which it is to be taken, as the descriptor has it.
    fn tag_of(&self, bytes: &[u8]) -> Option<u16> {
        let tagged = self.regs.cpcr & cpcr::RX_VLAN != 0
            && bytes.len() >= ADDRESSES + TAG + FCS
            && bytes[ADDRESSES..ADDRESSES + 2] == TAG_PROTOCOL;
        tagged.then(|| u16::from_le_bytes([bytes[ADDRESSES + 2], bytes[ADDRESSES + 3]]))
    }

    fn descriptor_status(&self, bytes: &[u8], status: u16, verified: bool) -> u32 {
        let mut flags = 0;
        for (bit, flag) in [
            (status::MAR, RX_MAR),
            (status::PAM, RX_PAM),
            (status::BAR, RX_BAR),
            (status::RUNT, RX_RUNT | RX_RES),
            (status::CRC, RX_CRC | RX_RES),
        ] {
            flags |= if status & bit != 0 { flag } else { 0 };
        }
        if self.regs.cpcr & cpcr::RX_CHECKSUM != 0 {
            let verdict = offload::receive(&bytes[..bytes.len() - FCS], verified);
            flags |= u32::from(verdict.protocol) << 16;
            for (failed, flag) in
                [(verdict.ip_failed, RX_IPF), (verdict.udp_failed, RX_UDPF), (verdict.tcp_failed, RX_TCPF)]
            {
                flags |= if failed { flag } else { 0 };
            }
        }
        flags
    }
}
