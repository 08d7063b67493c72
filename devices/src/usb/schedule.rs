//! UHCI schedule traversal for one frame (UHCI Design Guide 1.1, sections 3 and 4).
//!
//! A frame has 1 ms of bus time. A transaction costs its duration by USB 1.1, 5.9.3; a fetch of a TD or QH costs the
//! time of a PCI read. The bus time therefore also ends a schedule that links back to itself. Drivers build such loops
//! on purpose, so that full-speed endpoints get the rest of the frame (bandwidth reclamation). The walk leaves a loop
//! early when a whole round of it completed no TD: all polls ended in NAK and would again.

use super::packet::Response;
use super::port::RootPort;
use super::td::{LinkPointer, MAX_LEN_LIMIT, Pid, QH_ELEMENT_OFFSET, TD_STATUS_OFFSET, Td, TdStatus, Token};
use crate::memory::Memory;
use serde::{Deserialize, Serialize};

/// Bus time that the fetch of a TD or QH costs, in nanoseconds.
const FETCH_NANOS: u64 = 500;
/// Bus time in nanoseconds that must be left for a packet to start: enough for 64 bytes (USBCMD.MAXP set) or 32 bytes
/// (clear). A shorter transaction needs only its own duration.
const MIN_TIME_64: u64 = 60_000;
const MIN_TIME_32: u64 = 35_000;

/// The result of running one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FrameOutcome {
    /// A TD with IOC set is complete.
    pub(super) ioc: bool,
    /// A packet was short in a TD with SPD set.
    pub(super) short_packet: bool,
    /// A TD ended in an error.
    pub(super) error: bool,
    /// The controller must stop: a TD, QH or buffer is not in RAM.
    pub(super) host_system_error: bool,
    /// The controller must stop: a TD has an illegal PID or MaxLen.
    pub(super) process_error: bool,
    /// A transaction had another result than NAK.
    pub(super) active: bool,
    /// TDs and QHs fetched.
    pub(super) fetches: u32,
}

/// The position in the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SchedulePosition {
    link: u32,
    /// The QH being processed: its address and its head link pointer.
    qh: Option<(u32, u32)>,
}

impl SchedulePosition {
    /// The start of a frame: an entry of the frame list.
    pub(super) fn start(entry: u32) -> Self {
        Self { link: entry, qh: None }
    }
}

/// The walk through one frame's schedule.
pub(super) struct FrameWalk<'a> {
    pub(super) memory: &'a Memory,
    pub(super) ports: &'a mut [RootPort; 2],
    /// The frame's number, counted from reset.
    pub(super) number: u32,
    /// Bus time left, in nanoseconds.
    pub(super) nanos_left: u64,
    pub(super) maxp: bool,
    /// TDs and QHs that may still be fetched.
    pub(super) fetches_left: u32,
    /// Return after one transaction (USBCMD.SWDBG).
    pub(super) single_step: bool,
}

/// Detects that the walk loops without progress (Brent's algorithm, 1980): it reaches the marked address again and
/// completed no TD in between.
#[derive(Default)]
struct CycleDetector {
    marked: Option<u32>,
    since_mark: u32,
    next_mark: u32,
}

impl CycleDetector {
    fn is_cycle(&mut self, at: u32) -> bool {
        if self.marked == Some(at) {
            return true;
        }
        if self.since_mark == self.next_mark {
            self.marked = Some(at);
            self.next_mark = self.next_mark.saturating_mul(2).max(8);
            self.since_mark = 0;
        }
        self.since_mark += 1;
        false
    }

    /// A TD completed: the detection starts over.
    fn restart(&mut self) {
        *self = Self::default();
    }
}

/// The result of a TD's transaction, with the TD's new status.
enum TransactionResult {
    /// The element link pointer advances to the next TD.
    Advance(TdStatus),
    /// The element link pointer stays at this TD.
    Hold(TdStatus),
    HostError,
}

impl FrameWalk<'_> {
    /// Walks the schedule from `position` to the frame's end. In single-step mode returns the position after the first
    /// transaction.
    pub(super) fn run(&mut self, position: SchedulePosition, outcome: &mut FrameOutcome) -> Option<SchedulePosition> {
        let SchedulePosition { link, mut qh } = position;
        let mut link = LinkPointer::from(link);
        let mut cycle = CycleDetector::default();
        loop {
            if link.terminate() {
                let (_, next) = qh.take()?;
                link = next.into();
                continue;
            }
            if outcome.fetches >= self.fetches_left || self.nanos_left < FETCH_NANOS {
                return None;
            }
            outcome.fetches += 1;
            self.nanos_left -= FETCH_NANOS;
            let at = link.address();
            // Only QHs, and TDs outside of queues, determine what follows, so only these need checking for loops.
            if (link.qh() || qh.is_none()) && cycle.is_cycle(at) {
                return None;
            }
            if link.qh() {
                let mut head = [0; 8];
                if !self.fetch(at, &mut head, outcome) {
                    return None;
                }
                let [h0, h1, h2, h3, e0, e1, e2, e3] = head;
                qh = Some((at, u32::from_le_bytes([h0, h1, h2, h3])));
                link = u32::from_le_bytes([e0, e1, e2, e3]).into();
                continue;
            }
            let mut bytes = [0; 16];
            if !self.fetch(at, &mut bytes, outcome) {
                return None;
            }
            let td = Td::parse(&bytes);
            if !td.status.active() {
                // 3.2.2: an inactive TD with IOC set interrupts too.
                outcome.ioc |= td.status.ioc();
                outcome.active |= td.status.ioc();
                link = qh.take().map_or(td.link, |(_, next)| next.into());
                continue;
            }
            let Some((pid, bytes)) = td.token.pid().zip(td.token.max_len()) else {
                outcome.process_error = true;
                return None;
            };
            let min_time = if self.maxp { MIN_TIME_64 } else { MIN_TIME_32 };
            let time = bus_time(pid, td.status.ls(), bytes);
            if self.nanos_left < min_time.min(time) {
                return None;
            }
            let done = self.transact(&td, pid, bytes, qh.is_some(), outcome);
            let (status, advance) = match done {
                TransactionResult::Advance(status) => (status, true),
                TransactionResult::Hold(status) => (status, false),
                TransactionResult::HostError => return None,
            };
            self.nanos_left = self.nanos_left.saturating_sub(time);
            if status != td.status && !self.store(u64::from(at) + TD_STATUS_OFFSET, status.into_bits(), outcome) {
                return None;
            }
            if !status.active() {
                outcome.ioc |= status.ioc();
                cycle.restart();
            }
            link = match qh {
                None => td.link,
                Some((head, next)) if advance => {
                    if !self.store(u64::from(head) + QH_ELEMENT_OFFSET, td.link.into_bits(), outcome) {
                        return None;
                    }
                    if td.link.vf() {
                        td.link
                    } else {
                        qh = None;
                        next.into()
                    }
                }
                Some((_, next)) => {
                    qh = None;
                    next.into()
                }
            };
            if self.single_step {
                return Some(SchedulePosition { link: link.into_bits(), qh });
            }
        }
    }

    fn transact(
        &mut self,
        td: &Td,
        pid: Pid,
        bytes: usize,
        in_queue: bool,
        outcome: &mut FrameOutcome,
    ) -> TransactionResult {
        let status = td.status.with_errors_cleared();
        let mut buffer = [0; MAX_LEN_LIMIT];
        let data = &mut buffer[..bytes];
        if pid != Pid::In && !self.fetch(td.buffer, data, outcome) {
            return TransactionResult::HostError;
        }
        let response = self.send(td.token, pid, status.ls(), data);
        outcome.active |= response != Response::Nak;
        if status.ios() {
            return self.isochronous(td, response, bytes, outcome);
        }
        match (response, pid) {
            (Response::Ack, Pid::Out | Pid::Setup) => {
                TransactionResult::Advance(status.with_active(false).with_transferred(bytes))
            }
            (Response::Data { packet, .. }, Pid::In) if packet.bytes().len() > bytes => {
                outcome.error = true;
                TransactionResult::Hold(
                    status.with_active(false).with_babble(true).with_stalled(true).with_transferred(0),
                )
            }
            // A retransmission of the packet before, which the host acknowledges and ignores.
            (Response::Data { toggle, .. }, Pid::In) if toggle != td.token.data_toggle() => {
                TransactionResult::Hold(status)
            }
            (Response::Data { packet, .. }, Pid::In) => {
                let len = packet.bytes().len();
                if !self.store_bytes(td.buffer.into(), packet.bytes(), outcome) {
                    return TransactionResult::HostError;
                }
                let status = status.with_active(false).with_transferred(len);
                if len < bytes && status.spd() && in_queue {
                    outcome.short_packet = true;
                    return TransactionResult::Hold(status);
                }
                TransactionResult::Advance(status)
            }
            (Response::Nak, Pid::In | Pid::Out) => TransactionResult::Hold(status.with_nak(true)),
            (Response::Stall, _) => {
                outcome.error = true;
                let setup = pid == Pid::Setup;
                TransactionResult::Hold(
                    status.with_active(false).with_stalled(true).with_crc_timeout(setup).with_transferred(0),
                )
            }
            // No response, or one that does not fit the token.
            _ => {
                let status = status.with_crc_timeout(true).with_transferred(0);
                match status.c_err() {
                    0 => TransactionResult::Hold(status),
                    1 => {
                        outcome.error = true;
                        TransactionResult::Hold(status.with_c_err(0).with_active(false).with_stalled(true))
                    }
                    left => TransactionResult::Hold(status.with_c_err(left - 1)),
                }
            }
        }
    }

    /// An isochronous TD is retired after one attempt, whatever the result (3.2.2, IOS). No function here has an
    /// isochronous endpoint.
    fn isochronous(
        &mut self,
        td: &Td,
        response: Response,
        bytes: usize,
        outcome: &mut FrameOutcome,
    ) -> TransactionResult {
        let status = td.status.with_errors_cleared().with_active(false);
        TransactionResult::Advance(match response {
            Response::Data { packet, .. } if packet.bytes().len() <= bytes => {
                if !self.store_bytes(td.buffer.into(), packet.bytes(), outcome) {
                    return TransactionResult::HostError;
                }
                status.with_transferred(packet.bytes().len())
            }
            Response::Ack => status.with_transferred(bytes),
            _ => status.with_crc_timeout(true).with_transferred(0),
        })
    }

    /// Sends a token to the function that it addresses.
    fn send(&mut self, token: Token, pid: Pid, low_speed: bool, data: &[u8]) -> Response {
        let frame = self.number;
        let addressed = |port: &&mut RootPort| {
            port.accepts_transactions()
                && port.function.address() == token.device_address()
                && port.function.low_speed() == low_speed
        };
        match self.ports.iter_mut().find(addressed) {
            Some(port) => port.function.transact(pid, token.endpt(), token.data_toggle(), data, frame),
            None => Response::Timeout,
        }
    }

    fn fetch(&self, at: u32, data: &mut [u8], outcome: &mut FrameOutcome) -> bool {
        if !is_ram(self.memory, at.into(), data.len(), false) {
            outcome.host_system_error = true;
            return false;
        }
        self.memory.read(at.into(), data);
        true
    }

    fn store(&self, at: u64, value: u32, outcome: &mut FrameOutcome) -> bool {
        self.store_bytes(at, &value.to_le_bytes(), outcome)
    }

    fn store_bytes(&self, at: u64, data: &[u8], outcome: &mut FrameOutcome) -> bool {
        if !is_ram(self.memory, at, data.len(), true) {
            outcome.host_system_error = true;
            return false;
        }
        self.memory.write(at, data);
        true
    }
}

/// Whether the whole range is RAM that can be read (or, for `write`, written).
pub(super) fn is_ram(memory: &Memory, at: u64, len: usize, write: bool) -> bool {
    let mut all = true;
    memory.for_each_run(at, len as u64, write, |slice, _| all &= slice.is_some());
    all
}

/// Duration of a transaction on the bus in nanoseconds (USB 1.1, 5.9.3), with worst-case bit stuffing.
fn bus_time(pid: Pid, low_speed: bool, bytes: usize) -> u64 {
    // The data's bit times with bit stuffing (7/6), multiplied by 6.
    let bits = bytes as u64 * 8 * 7 + 19;
    match (low_speed, pid) {
        (false, _) => 9_107 + bits * 8_354 / 600,
        (true, Pid::In) => 64_060 + bits * 67_667 / 600,
        (true, _) => 64_107 + bits * 66_700 / 600,
    }
}
