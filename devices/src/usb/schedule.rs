//! One frame of the schedule (UHCI Design Guide 1.1, sections 3 and 4).
//!
//! Everything that the controller does in a frame takes bus time, of which a frame has 1 ms: transactions by USB 1.1,
//! 5.9.3, and each TD or QH that is only looked at as long as a PCI read. That is also what ends a schedule that has no
//! end. One that goes round (as drivers let it, so that full-speed endpoints get what is left of a frame) ends already
//! when a round brought nothing: only NAKs came, and would again.

use super::packet::Answer;
use super::port::Port;
use super::td::{CONTROL_AT, Control, ELEMENT_AT, Link, MAX_PACKET, Td, Token, TokenKind};
use crate::memory::Memory;
use serde::{Deserialize, Serialize};

/// Nanoseconds that looking at a TD or QH takes.
const FETCH: u64 = 500;
/// Nanoseconds without which no packet begins: one of 64 or 32 bytes still fits (USBCMD, MAXP).
const ROOM_64: u64 = 60_000;
const ROOM_32: u64 = 35_000;

/// What a frame brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// A TD with IOC.
    pub(super) complete: bool,
    /// A packet was short, and a TD asked for that.
    pub(super) short: bool,
    /// A TD ended in error.
    pub(super) error: bool,
    /// The controller must stop: PCI did not answer.
    pub(super) host_error: bool,
    /// The controller must stop: nonsense.
    pub(super) process_error: bool,
    /// Something happened besides NAKs.
    pub(super) busy: bool,
    /// TDs and QHs looked at.
    pub(super) visits: u32,
}

/// Where in the schedule the controller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    link: u32,
    /// The QH that it is in: its address, and its head link pointer.
    queue: Option<(u32, u32)>,
}

impl Place {
    /// At an entry of the frame list.
    pub(super) fn start(entry: u32) -> Self {
        Self { link: entry, queue: None }
    }
}

/// A frame.
pub(super) struct Frame<'a> {
    pub(super) memory: &'a Memory,
    pub(super) ports: &'a mut [Port; 2],
    /// Its number, of all.
    pub(super) number: u32,
    /// Nanoseconds left.
    pub(super) left: u64,
    pub(super) max_packet_64: bool,
    /// TDs and QHs that may be looked at.
    pub(super) visits: u32,
    /// Stop after one transaction.
    pub(super) single: bool,
}

/// Finds out that a walk goes in circles without getting anywhere (R. P. Brent, 1980): the place that was marked is met
/// again, and nothing was done meanwhile.
#[derive(Default)]
struct Circle {
    mark: Option<u32>,
    steps: u32,
    next: u32,
}

impl Circle {
    fn closes(&mut self, at: u32) -> bool {
        if self.mark == Some(at) {
            return true;
        }
        if self.steps == self.next {
            self.mark = Some(at);
            self.next = self.next.saturating_mul(2).max(8);
            self.steps = 0;
        }
        self.steps += 1;
        false
    }

    /// Something was done.
    fn forget(&mut self) {
        *self = Self::default();
    }
}

/// How a TD's transaction went.
enum Done {
    /// The queue goes on to the next TD.
    Next(Control),
    /// The queue stays at this one.
    Stay(Control),
    Fatal,
}

impl Frame<'_> {
    /// Follows the schedule from `place` to the frame's end. The place, if it is to go on there.
    pub(super) fn run(&mut self, place: Place, outcome: &mut Outcome) -> Option<Place> {
        let Place { link, mut queue } = place;
        let mut link = Link::from(link);
        let mut circle = Circle::default();
        loop {
            if link.terminate() {
                let (_, next) = queue.take()?;
                link = next.into();
                continue;
            }
            if outcome.visits >= self.visits || self.left < FETCH {
                return None;
            }
            outcome.visits += 1;
            self.left -= FETCH;
            let at = link.address();
            // From a QH on, or from a TD outside of queues, it goes on in the same way each time.
            if (link.queue() || queue.is_none()) && circle.closes(at) {
                return None;
            }
            if link.queue() {
                let mut head = [0; 8];
                if !self.fetch(at, &mut head, outcome) {
                    return None;
                }
                let [a, b, c, d, e, f, g, h] = head;
                queue = Some((at, u32::from_le_bytes([a, b, c, d])));
                link = u32::from_le_bytes([e, f, g, h]).into();
                continue;
            }
            let mut bytes = [0; 16];
            if !self.fetch(at, &mut bytes, outcome) {
                return None;
            }
            let td = Td::parse(&bytes);
            if !td.control.active() {
                // 3.2.2, IOC: even then.
                outcome.complete |= td.control.complete_interrupt();
                outcome.busy |= td.control.complete_interrupt();
                link = queue.take().map_or(td.link, |(_, next)| next.into());
                continue;
            }
            let Some((kind, bytes)) = td.token.kind().zip(td.token.bytes()) else {
                outcome.process_error = true;
                return None;
            };
            let room = if self.max_packet_64 { ROOM_64 } else { ROOM_32 };
            let cost = cost(kind, td.control.low_speed(), bytes);
            if self.left < room.min(cost) {
                return None;
            }
            let done = self.transact(&td, kind, bytes, queue.is_some(), outcome);
            let (control, goes_on) = match done {
                Done::Next(control) => (control, true),
                Done::Stay(control) => (control, false),
                Done::Fatal => return None,
            };
            self.left = self.left.saturating_sub(cost);
            if control != td.control && !self.store(u64::from(at) + CONTROL_AT, control.into_bits(), outcome) {
                return None;
            }
            if !control.active() {
                outcome.complete |= control.complete_interrupt();
                circle.forget();
            }
            link = match queue {
                None => td.link,
                Some((head, next)) if goes_on => {
                    if !self.store(u64::from(head) + ELEMENT_AT, td.link.into_bits(), outcome) {
                        return None;
                    }
                    if td.link.depth() {
                        td.link
                    } else {
                        queue = None;
                        next.into()
                    }
                }
                Some((_, next)) => {
                    queue = None;
                    next.into()
                }
            };
            if self.single {
                return Some(Place { link: link.into_bits(), queue });
            }
        }
    }

    fn transact(&mut self, td: &Td, kind: TokenKind, bytes: usize, queued: bool, outcome: &mut Outcome) -> Done {
        let control = td.control.cleared();
        let mut buffer = [0; MAX_PACKET];
        let data = &mut buffer[..bytes];
        if kind != TokenKind::In && !self.fetch(td.buffer, data, outcome) {
            return Done::Fatal;
        }
        let answer = self.send(td.token, kind, control.low_speed(), data);
        outcome.busy |= answer != Answer::Nak;
        if control.isochronous() {
            return self.isochronous(td, answer, bytes, outcome);
        }
        match (answer, kind) {
            (Answer::Ack, TokenKind::Out | TokenKind::Setup) => {
                Done::Next(control.with_active(false).with_bytes(bytes))
            }
            (Answer::Data { packet, .. }, TokenKind::In) if packet.bytes().len() > bytes => {
                outcome.error = true;
                Done::Stay(control.with_active(false).with_babble(true).with_stalled(true).with_bytes(0))
            }
            // It was acknowledged, but is the packet before once more: the host wants the one after it.
            (Answer::Data { toggle, .. }, TokenKind::In) if toggle != td.token.toggle() => Done::Stay(control),
            (Answer::Data { packet, .. }, TokenKind::In) => {
                let len = packet.bytes().len();
                if !self.store_bytes(td.buffer.into(), packet.bytes(), outcome) {
                    return Done::Fatal;
                }
                let control = control.with_active(false).with_bytes(len);
                if len < bytes && control.short_packet() && queued {
                    outcome.short = true;
                    return Done::Stay(control);
                }
                Done::Next(control)
            }
            (Answer::Nak, TokenKind::In | TokenKind::Out) => Done::Stay(control.with_nak(true)),
            (Answer::Stall, _) => {
                outcome.error = true;
                let setup = kind == TokenKind::Setup;
                Done::Stay(control.with_active(false).with_stalled(true).with_timeout(setup).with_bytes(0))
            }
            // Nobody, or nothing that makes sense.
            _ => {
                let control = control.with_timeout(true).with_bytes(0);
                match control.errors() {
                    0 => Done::Stay(control),
                    1 => {
                        outcome.error = true;
                        Done::Stay(control.with_errors(0).with_active(false).with_stalled(true))
                    }
                    left => Done::Stay(control.with_errors(left - 1)),
                }
            }
        }
    }

    /// No function here has an isochronous endpoint: whatever a TD says, it is done after one try (3.2.2, IOS).
    fn isochronous(&mut self, td: &Td, answer: Answer, bytes: usize, outcome: &mut Outcome) -> Done {
        let control = td.control.cleared().with_active(false);
        Done::Next(match answer {
            Answer::Data { packet, .. } if packet.bytes().len() <= bytes => {
                if !self.store_bytes(td.buffer.into(), packet.bytes(), outcome) {
                    return Done::Fatal;
                }
                control.with_bytes(packet.bytes().len())
            }
            Answer::Ack => control.with_bytes(bytes),
            _ => control.with_timeout(true).with_bytes(0),
        })
    }

    /// Puts a token on the bus.
    fn send(&mut self, token: Token, kind: TokenKind, low_speed: bool, data: &[u8]) -> Answer {
        let frame = self.number;
        let heard = |port: &&mut Port| {
            port.is_live() && port.function.address() == token.address() && port.function.low_speed() == low_speed
        };
        match self.ports.iter_mut().find(heard) {
            Some(port) => port.function.transact(kind, token.endpoint(), token.toggle(), data, frame),
            None => Answer::Silence,
        }
    }

    fn fetch(&self, at: u32, data: &mut [u8], outcome: &mut Outcome) -> bool {
        if !is_memory(self.memory, at.into(), data.len(), false) {
            outcome.host_error = true;
            return false;
        }
        self.memory.read(at.into(), data);
        true
    }

    fn store(&self, at: u64, value: u32, outcome: &mut Outcome) -> bool {
        self.store_bytes(at, &value.to_le_bytes(), outcome)
    }

    fn store_bytes(&self, at: u64, data: &[u8], outcome: &mut Outcome) -> bool {
        if !is_memory(self.memory, at, data.len(), true) {
            outcome.host_error = true;
            return false;
        }
        self.memory.write(at, data);
        true
    }
}

/// Whether all of it is RAM in this direction.
pub(super) fn is_memory(memory: &Memory, at: u64, len: usize, write: bool) -> bool {
    let mut all = true;
    memory.for_each_run(at, len as u64, write, |slice, _| all &= slice.is_some());
    all
}

/// Bus time of a transaction, in nanoseconds (USB 1.1, 5.9.3), with bit stuffing at its worst.
fn cost(kind: TokenKind, low_speed: bool, bytes: usize) -> u64 {
    // Bytes, in bit times times 6.
    let bits = bytes as u64 * 8 * 7 + 19;
    match (low_speed, kind) {
        (false, _) => 9_107 + bits * 8_354 / 600,
        (true, TokenKind::In) => 64_060 + bits * 67_667 / 600,
        (true, _) => 64_107 + bits * 66_700 / 600,
    }
}
