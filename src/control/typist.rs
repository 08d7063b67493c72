//! Typist: types keys for control clients (`send-key`) and `--press-key-for-cd` at a pace that guests can follow. Every
//! chord is held for a given time, and no key is sent before the keyboard has room for it ([`KeyPacer`]).

use crate::key_pacing::{KeyPacer, POLL_INTERVAL};
use crate::machine::Handle;
use pcvm_devices::InputEvent;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Pending key events at most.
const QUEUE_MAX: usize = 4096;
/// Pause between the release of a chord and the next chord.
const GAP: Duration = Duration::from_millis(15);

/// A chord was refused because too many key events are pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// Pending key events with their timing.
#[derive(Debug, Default)]
struct KeyQueue {
    /// Each event with the pause after it.
    events: VecDeque<(InputEvent, Duration)>,
    pacer: KeyPacer,
    pushed: u64,
    sent: u64,
}

impl KeyQueue {
    /// Queues `keys` pressed in order, held for `hold`, and released in reverse order. Returns the value of `sent` once all
    /// of them are sent.
    fn chord(&mut self, keys: &[u16], hold: Duration) -> Result<u64, QueueFull> {
        if self.events.len() + 2 * keys.len() > QUEUE_MAX {
            return Err(QueueFull);
        }
        let last = keys.len().saturating_sub(1);
        let down =
            keys.iter().enumerate().map(|(n, &code)| (code, true, if n == last { hold } else { Duration::ZERO }));
        let up =
            keys.iter().enumerate().rev().map(|(n, &code)| (code, false, if n == 0 { GAP } else { Duration::ZERO }));
        self.events.extend(down.chain(up).map(|(code, down, after)| (InputEvent::Key { code, down }, after)));
        self.pushed += 2 * keys.len() as u64;
        Ok(self.pushed)
    }

    /// Sends the events that are due. `unread` gives the bytes of scan codes that the guest has not read. Returns the time
    /// until the next call; `None` once the queue is empty and the last pause is over.
    fn send_due(
        &mut self,
        now: Instant,
        unread: impl Fn() -> usize,
        mut send: impl FnMut(InputEvent),
    ) -> Option<Duration> {
        while let Some(&(event, after)) = self.events.front() {
            if !self.pacer.may_send(unread(), now) {
                return Some(POLL_INTERVAL);
            }
            send(event);
            self.events.pop_front();
            self.sent += 1;
            if !after.is_zero() {
                return Some(after);
            }
        }
        None
    }
}

/// Types keys on a machine's keyboard, paced by a timer of the main loop.
pub struct Typist {
    handle: Handle,
    timer: OwnedFd,
    queue: KeyQueue,
    armed: bool,
}

impl Typist {
    /// A typist with an empty queue.
    ///
    /// # Errors
    /// If the process has no free file descriptor.
    pub fn new(handle: Handle) -> std::io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Self { handle, timer, queue: KeyQueue::default(), armed: false })
    }

    /// The timer: call [`Self::tick`] when it is readable.
    pub fn timer(&self) -> &OwnedFd {
        &self.timer
    }

    /// Queues `keys` pressed in order, held for `hold`, and released in reverse order. Returns the number that
    /// [`Self::done`] reaches once they are released.
    ///
    /// # Errors
    /// If too many keys are pending.
    pub fn chord(&mut self, keys: &[u16], hold: Duration) -> Result<u64, QueueFull> {
        let ticket = self.queue.chord(keys, hold)?;
        // If the timer is armed, the previous chord is still held or its pause is not over.
        if !self.armed {
            self.arm(Duration::ZERO);
        }
        Ok(ticket)
    }

    /// Number of key events sent.
    pub fn done(&self) -> u64 {
        self.queue.sent
    }

    fn arm(&mut self, after: Duration) {
        self.armed = true;
        // A value of zero would disarm the timer.
        let after = after.max(Duration::from_nanos(1));
        let value = Timespec { tv_sec: after.as_secs() as i64, tv_nsec: after.subsec_nanos().into() };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let set = Itimerspec { it_interval: zero, it_value: value };
        if let Err(error) = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &set) {
            tracing::error!("cannot set the keyboard timer: {error}");
        }
    }

    /// Handles the timer's expiry.
    pub fn tick(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.armed = false;
        let Self { handle, queue, .. } = self;
        let next = queue.send_due(
            Instant::now(),
            || handle.with_board(|board| board.keys_waiting()),
            |event| handle.with_board(|board| board.input(event)),
        );
        if let Some(after) = next {
            self.arm(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_pacing::PATIENCE;

    const HOLD: Duration = Duration::from_millis(100);

    fn key(code: u16, down: bool) -> InputEvent {
        InputEvent::Key { code, down }
    }

    /// What a queue sends now, with a keyboard that holds `unread` bytes.
    fn sent(queue: &mut KeyQueue, now: Instant, unread: usize) -> (Vec<InputEvent>, Option<Duration>) {
        let mut events = Vec::new();
        let next = queue.send_due(now, || unread, |event| events.push(event));
        (events, next)
    }

    #[test]
    fn a_chord_is_pressed_in_order_held_and_released_in_reverse() {
        let (mut queue, now) = (KeyQueue::default(), Instant::now());
        assert_eq!(queue.chord(&[0x1d, 0x2e], HOLD), Ok(4));
        assert_eq!(sent(&mut queue, now, 0), (vec![key(0x1d, true), key(0x2e, true)], Some(HOLD)));
        assert_eq!(queue.sent, 2);
        assert_eq!(sent(&mut queue, now + HOLD, 0), (vec![key(0x2e, false), key(0x1d, false)], Some(GAP)));
        assert_eq!(sent(&mut queue, now + HOLD + GAP, 0), (vec![], None));
        assert_eq!(queue.sent, 4);
    }

    #[test]
    fn keys_wait_for_the_guest_to_read_the_keyboard_but_not_forever() {
        let (mut queue, now) = (KeyQueue::default(), Instant::now());
        queue.chord(&[0x1e], HOLD).unwrap();
        assert_eq!(sent(&mut queue, now, 16), (vec![], Some(POLL_INTERVAL)));
        assert_eq!(sent(&mut queue, now + POLL_INTERVAL, 16), (vec![], Some(POLL_INTERVAL)));
        assert_eq!(sent(&mut queue, now + PATIENCE, 16), (vec![key(0x1e, true)], Some(HOLD)));
        assert_eq!(sent(&mut queue, now + PATIENCE + HOLD, 16), (vec![key(0x1e, false)], Some(GAP)));
    }

    #[test]
    fn a_chord_that_exceeds_the_queue_is_refused_whole() {
        let mut queue = KeyQueue::default();
        for _ in 0..QUEUE_MAX / 2 {
            queue.chord(&[0x1e], HOLD).unwrap();
        }
        assert_eq!(queue.chord(&[0x1e], HOLD), Err(QueueFull));
        assert_eq!(queue.events.len(), QUEUE_MAX);
    }
}
