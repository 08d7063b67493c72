//! Typist: types keys and text for control clients (`send-key`, `x-type`) and `--press-key-for-cd` at a pace that guests can
//! follow. Every chord is held for a given time, and no key is sent before the keyboard has room for it ([`KeyPacer`]).
//! Characters are matched to Shift and the guest's locks when their turn has come ([`KeysymKeyboard`]).

use crate::key_pacing::{KeyPacer, POLL_INTERVAL};
use crate::keys::{self, Keymap, KeysymKeyboard, Locks, keysym_of};
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

/// Text to type.
#[derive(Clone, Debug)]
pub struct Text {
    /// The characters; line feeds, tabs, backspaces and Esc are their keys.
    pub text: String,
    /// The keyboard layout that the guest is set to.
    pub keymap: Keymap,
    /// Time from one character to the next. A key is held for half of it.
    pub pace: Duration,
}

/// The key that a control character stands for.
pub fn control_key(c: char) -> Option<u16> {
    keys::by_char(c).filter(|_| c.is_control()).map(|(code, _)| code)
}

/// Whether `x-type` can type a character.
pub fn can_type(c: char, keymap: Keymap) -> bool {
    control_key(c).is_some() || !c.is_control() && keymap.strokes(c).is_some()
}

/// The error for a character that it cannot type.
pub fn no_key(c: char, keymap: Keymap) -> String {
    format!("'{}' has no key on the keyboard layout {} ({})", c.escape_debug(), keymap.name(), keymap.title())
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pending {
    /// A key event, and the pause after it.
    Event(InputEvent, Duration),
    /// A character, which becomes key events when its turn has come; the time for which its key is held, and the pause.
    Character(char, Keymap, Duration, Duration),
    /// The events of a chord or a character before this are sent.
    Mark,
}

/// Pending key events with their timing.
#[derive(Debug, Default)]
struct KeyQueue {
    pending: VecDeque<Pending>,
    pacer: KeyPacer,
    locks: Locks,
    /// Chords and characters.
    pushed: u64,
    sent: u64,
}

impl KeyQueue {
    /// Queues `keys` pressed in order, held for `hold`, and released in reverse order. Returns the value of `sent` once all
    /// of them are sent.
    fn chord(&mut self, keys: &[u16], hold: Duration) -> Result<u64, QueueFull> {
        if self.pending.len() + 2 * keys.len() + 1 > QUEUE_MAX {
            return Err(QueueFull);
        }
        let last = keys.len().saturating_sub(1);
        let down =
            keys.iter().enumerate().map(|(n, &code)| (code, true, if n == last { hold } else { Duration::ZERO }));
        let up =
            keys.iter().enumerate().rev().map(|(n, &code)| (code, false, if n == 0 { GAP } else { Duration::ZERO }));
        self.pending
            .extend(down.chain(up).map(|(code, down, after)| Pending::Event(InputEvent::Key { code, down }, after)));
        self.pending.push_back(Pending::Mark);
        self.pushed += 1;
        Ok(self.pushed)
    }

    /// Queues text. Returns the value of `sent` once all of it is sent.
    fn text(&mut self, text: &Text) -> Result<u64, QueueFull> {
        let count = text.text.chars().count();
        if self.pending.len() + 2 * count > QUEUE_MAX {
            return Err(QueueFull);
        }
        let hold = text.pace / 2;
        let gap = text.pace.saturating_sub(hold);
        let characters = text.text.chars().map(|c| Pending::Character(c, text.keymap, hold, gap));
        self.pending.extend(characters.flat_map(|character| [character, Pending::Mark]));
        self.pushed += count as u64;
        Ok(self.pushed)
    }

    /// Replaces the character at the front of the queue by its key events, for a guest whose locks are `locks`.
    fn expand(&mut self, c: char, keymap: Keymap, locks: u8, hold: Duration, gap: Duration) {
        let mut keyboard = KeysymKeyboard::new(keymap);
        keyboard.set_locks(locks);
        let mut pending = Vec::new();
        for (down, pause) in [(true, hold), (false, gap)] {
            match control_key(c) {
                Some(code) => keyboard.code(code, down),
                None => keyboard.keysym(keysym_of(c), down),
            }
            let events = std::mem::take(&mut keyboard.events);
            let last = events.len().saturating_sub(1);
            let after = |n| if n == last { pause } else { Duration::ZERO };
            pending.extend(events.into_iter().enumerate().map(|(n, event)| Pending::Event(event, after(n))));
        }
        self.pending.pop_front();
        pending.into_iter().rev().for_each(|event| self.pending.push_front(event));
    }

    /// Sends the events that are due. `unread` gives the bytes of scan codes that the guest has not read, `leds` the
    /// keyboard's LEDs. Returns the time until the next call; `None` once the queue is empty and the last pause is over.
    fn send_due(
        &mut self,
        now: Instant,
        unread: impl Fn() -> usize,
        leds: impl Fn() -> u8,
        mut send: impl FnMut(InputEvent),
    ) -> Option<Duration> {
        while let Some(&pending) = self.pending.front() {
            match pending {
                Pending::Mark => self.sent += 1,
                Pending::Character(c, keymap, hold, gap) => {
                    let locks = self.locks.now(leds(), now);
                    self.expand(c, keymap, locks, hold, gap);
                    continue;
                }
                Pending::Event(event, after) => {
                    if !self.pacer.may_send(unread(), now) {
                        return Some(POLL_INTERVAL);
                    }
                    send(event);
                    self.locks.sent(event, now);
                    if !after.is_zero() {
                        self.pending.pop_front();
                        if self.pending.front() == Some(&Pending::Mark) {
                            self.pending.pop_front();
                            self.sent += 1;
                        }
                        return Some(after);
                    }
                }
            }
            self.pending.pop_front();
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

    /// As [`Self::chord`], for text.
    ///
    /// # Errors
    /// If too many keys are pending.
    pub fn text(&mut self, text: &Text) -> Result<u64, QueueFull> {
        let ticket = self.queue.text(text)?;
        if !self.armed {
            self.arm(Duration::ZERO);
        }
        Ok(ticket)
    }

    /// Number of chords and characters sent.
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
            || handle.with_board(|board| board.keyboard_leds()),
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
        let next = queue.send_due(now, || unread, || 0, |event| events.push(event));
        (events, next)
    }

    #[test]
    fn a_chord_is_pressed_in_order_held_and_released_in_reverse() {
        let (mut queue, now) = (KeyQueue::default(), Instant::now());
        assert_eq!(queue.chord(&[0x1d, 0x2e], HOLD), Ok(1));
        assert_eq!(sent(&mut queue, now, 0), (vec![key(0x1d, true), key(0x2e, true)], Some(HOLD)));
        assert_eq!(queue.sent, 0);
        assert_eq!(sent(&mut queue, now + HOLD, 0), (vec![key(0x2e, false), key(0x1d, false)], Some(GAP)));
        assert_eq!(sent(&mut queue, now + HOLD + GAP, 0), (vec![], None));
        assert_eq!(queue.sent, 1);
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
        for _ in 0..QUEUE_MAX / 3 {
            queue.chord(&[0x1e], HOLD).unwrap();
        }
        let pending = queue.pending.len();
        assert_eq!(queue.chord(&[0x1e], HOLD), Err(QueueFull));
        let text = Text { text: "a".repeat(QUEUE_MAX), keymap: Keymap::default(), pace: HOLD };
        assert_eq!(queue.text(&text), Err(QueueFull));
        assert_eq!(queue.pending.len(), pending);
    }

    #[test]
    fn text_is_typed_at_its_pace_and_matched_to_the_locks_of_the_time() {
        let (mut queue, start) = (KeyQueue::default(), Instant::now());
        let text = Text { text: "aB\n".to_owned(), keymap: Keymap::default(), pace: HOLD };
        assert_eq!(queue.text(&text), Ok(3));
        let (mut sent, mut at) = (Vec::new(), Duration::ZERO);
        loop {
            // The guest's Caps Lock is on from the second character on.
            let leds = if at < HOLD { 0 } else { 4 };
            match queue.send_due(start + at, || 0, || leds, |event| sent.push((at.as_millis(), event))) {
                Some(pause) => at += pause,
                None => break,
            }
        }
        let events = [(0, 0x1e, true), (50, 0x1e, false), (100, 0x30, true), (150, 0x30, false), (200, 0x1c, true)];
        let expect = events.into_iter().chain([(250, 0x1c, false)]).map(|(at, code, down)| (at, key(code, down)));
        assert_eq!(sent, expect.collect::<Vec<_>>());
        assert_eq!((queue.sent, at), (3, 3 * HOLD));
    }
}
