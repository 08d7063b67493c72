//! Input queue between a display or VNC client and the guest's keyboard, paced by [`KeyPacer`].

use crate::key_pacing::{KeyPacer, POLL_INTERVAL};
use crate::keys::Locks;
use crate::screen::GuestScreen;
use pcvm_devices::InputEvent;
use std::collections::VecDeque;
use std::time::Instant;

/// Pending events at most, except for [`Feed::push_always`].
const QUEUE_MAX: usize = 1024;

/// Input that is not yet delivered to the machine.
#[derive(Debug, Default)]
pub struct Feed {
    pending: VecDeque<InputEvent>,
    pacer: KeyPacer,
    locks: Locks,
}

impl Feed {
    /// Queues input; events beyond the queue's size are dropped.
    pub fn push(&mut self, events: impl IntoIterator<Item = InputEvent>) {
        let room = QUEUE_MAX.saturating_sub(self.pending.len());
        let first = self.pending.len();
        self.pending.extend(events.into_iter().take(room));
        self.pending.range(first..).for_each(|&event| self.locks.sent(event, Instant::now()));
    }

    /// The guest's locks once it has read what is queued: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    pub fn locks(&mut self, screen: &(impl GuestScreen + ?Sized)) -> u8 {
        self.locks.now(screen.leds(), Instant::now())
    }

    /// Queues input that must not be dropped: a lost key release would let the guest repeat the key without end.
    pub fn push_always(&mut self, events: impl IntoIterator<Item = InputEvent>) {
        let first = self.pending.len();
        self.pending.extend(events);
        self.pending.range(first..).for_each(|&event| self.locks.sent(event, Instant::now()));
    }

    /// Whether at least half of the queue is free. A client with a full queue is not read from.
    pub fn has_room(&self) -> bool {
        self.pending.len() < QUEUE_MAX / 2
    }

    /// Delivers pending input as fast as the guest reads its keyboard.
    pub fn deliver(&mut self, screen: &(impl GuestScreen + ?Sized), now: Instant) {
        self.send_due(now, || screen.keys_waiting(), |event| screen.input(event));
    }

    /// Sends the events that are due. `unread` gives the bytes of scan codes that the guest has not read.
    fn send_due(&mut self, now: Instant, unread: impl Fn() -> usize, mut send: impl FnMut(InputEvent)) {
        while let Some(&event) = self.pending.front() {
            if matches!(event, InputEvent::Key { .. }) && !self.pacer.may_send(unread(), now) {
                return;
            }
            send(event);
            self.pending.pop_front();
        }
    }

    /// When to call [`Self::deliver`] again; `None` if nothing is pending.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        (!self.pending.is_empty()).then(|| now + POLL_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_pacing::{LOW_WATER, PATIENCE};
    use std::cell::RefCell;

    const KEY: InputEvent = InputEvent::Key { code: 0x1e, down: true };
    const MOTION: InputEvent = InputEvent::Mouse { dx: 1, dy: 0, dz: 0, buttons: 0 };

    /// Delivers to a keyboard that holds `unread` bytes, to which every key adds one. Returns the number of events sent.
    fn deliver(feed: &mut Feed, now: Instant, unread: usize) -> usize {
        let sent = RefCell::new(0);
        feed.send_due(now, || unread + *sent.borrow(), |_| *sent.borrow_mut() += 1);
        sent.into_inner()
    }

    #[test]
    fn keys_wait_until_the_guest_reads_the_keyboard_but_not_forever() {
        let now = Instant::now();
        let mut feed = Feed::default();
        feed.push([KEY; 20]);
        assert_eq!(deliver(&mut feed, now, 0), LOW_WATER + 1);
        assert_eq!(feed.next(now), Some(now + POLL_INTERVAL));
        assert_eq!(deliver(&mut feed, now, 0), LOW_WATER + 1, "the guest has read the keyboard");
        assert_eq!(deliver(&mut feed, now, 16), 0);
        assert_eq!(deliver(&mut feed, now + PATIENCE, 16), 2, "a guest that has hung loses the rest");
        assert_eq!(feed.next(now), None);
    }

    #[test]
    fn pointer_events_do_not_wait_for_the_keyboard() {
        let now = Instant::now();
        let mut feed = Feed::default();
        feed.push([MOTION, KEY, MOTION]);
        assert_eq!(deliver(&mut feed, now, 16), 1, "the second motion stays behind the key");
        assert_eq!(deliver(&mut feed, now, 0), 2);
    }

    #[test]
    fn events_beyond_the_queue_are_dropped_except_releases() {
        let mut feed = Feed::default();
        feed.push(std::iter::repeat_n(KEY, 5000));
        assert!(!feed.has_room());
        assert_eq!(feed.pending.len(), QUEUE_MAX);
        feed.push_always([KEY]);
        assert_eq!(feed.pending.len(), QUEUE_MAX + 1);
    }
}
