//! What people type, on its way into the machine's keyboard, which has room for sixteen bytes.

use crate::screen::GuestScreen;
use pcvm_devices::InputEvent;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Events that wait at most.
const INPUT_MAX: usize = 1024;
/// Bytes that wait in the keyboard, of sixteen, while another key is sent.
const KEYBOARD_LOW: usize = 8;
/// How often a full keyboard is looked at, and how long it is waited for.
const KEYBOARD_RETRY: Duration = Duration::from_millis(5);
const KEYBOARD_PATIENCE: Duration = Duration::from_secs(2);

/// Input that the machine has not taken yet.
#[derive(Debug, Default)]
pub struct Feed {
    waiting: VecDeque<InputEvent>,
    /// The guest has not read the keyboard since then.
    full_since: Option<Instant>,
}

impl Feed {
    /// Adds input; what there is no room for is lost.
    pub fn push(&mut self, events: impl IntoIterator<Item = InputEvent>) {
        let room = INPUT_MAX.saturating_sub(self.waiting.len());
        self.waiting.extend(events.into_iter().take(room));
    }

    /// Adds what must not be lost: keys that are let go would repeat for ever.
    pub fn push_always(&mut self, events: impl IntoIterator<Item = InputEvent>) {
        self.waiting.extend(events);
    }

    /// Whether there is room for what a person types in a moment.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < INPUT_MAX / 2
    }

    /// Gives input to the machine as fast as its keyboard takes it. A guest that does not read its keyboard is waited for,
    /// but not for ever.
    pub fn deliver(&mut self, console: &(impl GuestScreen + ?Sized), now: Instant) {
        while let Some(&event) = self.waiting.front() {
            if matches!(event, InputEvent::Key { .. }) {
                if console.keys_waiting() <= KEYBOARD_LOW {
                    self.full_since = None;
                } else if now.saturating_duration_since(*self.full_since.get_or_insert(now)) < KEYBOARD_PATIENCE {
                    return;
                }
            }
            console.input(event);
            self.waiting.pop_front();
        }
    }

    /// When to deliver next.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| now + KEYBOARD_RETRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Waker;
    use pcvm_devices::vga::Canvas;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Keyboard {
        full: bool,
        canvas: Canvas,
        got: Mutex<Vec<InputEvent>>,
    }

    impl GuestScreen for Keyboard {
        fn poll(&mut self, _: Option<&Waker>) -> bool {
            false
        }
        fn canvas(&self) -> &Canvas {
            &self.canvas
        }
        fn absolute(&self) -> bool {
            false
        }
        fn leds(&self) -> u8 {
            0
        }
        fn keys_waiting(&self) -> usize {
            if self.full { 16 } else { self.got.lock().unwrap().len() }
        }
        fn input(&self, event: InputEvent) {
            self.got.lock().unwrap().push(event);
        }
    }

    const KEY: InputEvent = InputEvent::Key { code: 0x1e, down: true };

    #[test]
    fn keys_wait_until_the_guest_takes_them_but_not_for_ever() {
        let now = Instant::now();
        let mut keyboard = Keyboard::default();
        let mut feed = Feed::default();
        feed.push([KEY; 20]);
        feed.deliver(&keyboard, now);
        assert_eq!(keyboard.got.lock().unwrap().len(), KEYBOARD_LOW + 1);
        assert!(feed.next(now).is_some());
        keyboard.got.lock().unwrap().clear();
        feed.deliver(&keyboard, now);
        keyboard.full = true;
        feed.deliver(&keyboard, now);
        assert!(feed.next(now).is_some());
        feed.deliver(&keyboard, now + KEYBOARD_PATIENCE);
        assert_eq!(feed.next(now), None, "a guest that is hung loses what is typed");
    }

    #[test]
    fn no_more_waits_than_there_is_room_for() {
        let mut feed = Feed::default();
        feed.push(std::iter::repeat_n(KEY, 5000));
        assert!(!feed.has_room());
        assert_eq!(feed.waiting.len(), INPUT_MAX);
        feed.push_always([KEY]);
        assert_eq!(feed.waiting.len(), INPUT_MAX + 1);
    }
}
