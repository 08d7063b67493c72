//! Scroll Lock, Num Lock and Caps Lock of the guest: the keyboard's LEDs, and the lock keys sent that no LED shows yet.

use super::keysyms::lock_bit;
use pcvm_devices::InputEvent;
use std::time::{Duration, Instant};

/// Time after a lock key in which the guest may not have set the LEDs yet.
const SETTLE: Duration = Duration::from_millis(500);

/// The guest's locks.
///
/// A guest shows a lock key that it has handled by the LEDs, some time later. Until then the keys sent count. A guest that
/// never sets the LEDs, such as a program with a keyboard driver of its own, is taken to follow the keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Locks {
    /// As the LEDs: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    state: u8,
    /// The LEDs that `state` was last taken from.
    leds: u8,
    /// The LEDs do not count until then.
    settled_at: Option<Instant>,
    /// Lock keys that are down: repetitions change nothing.
    held: u8,
}

impl Locks {
    /// The locks now, with the keyboard's LEDs at `leds`.
    pub fn now(&mut self, leds: u8, now: Instant) -> u8 {
        if self.settled_at.is_none_or(|at| now >= at) {
            self.settled_at = None;
            if leds != self.leds {
                (self.leds, self.state) = (leds, leds);
            }
        }
        self.state
    }

    /// Counts a key event that is sent to the guest.
    pub fn sent(&mut self, event: InputEvent, now: Instant) {
        let InputEvent::Key { code, down } = event else { return };
        let bit = lock_bit(code);
        if bit == 0 {
            return;
        }
        if down && self.held & bit == 0 {
            self.state ^= bit;
            self.settled_at = Some(now + SETTLE);
        }
        self.held = if down { self.held | bit } else { self.held & !bit };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: u8 = 4;

    fn press(locks: &mut Locks, now: Instant) {
        for down in [true, true, false] {
            locks.sent(InputEvent::Key { code: super::super::CAPS_LOCK, down }, now);
        }
    }

    #[test]
    fn lock_keys_count_until_the_leds_follow() {
        let (mut locks, start) = (Locks::default(), Instant::now());
        assert_eq!(locks.now(CAPS, start), CAPS);
        press(&mut locks, start);
        assert_eq!(locks.now(CAPS, start), 0, "the guest has not set the LED yet");
        assert_eq!(locks.now(0, start + SETTLE), 0);
        assert_eq!(locks.now(CAPS, start + 2 * SETTLE), CAPS, "the guest or another client has changed it");
    }

    #[test]
    fn a_lock_pressed_twice_stays_while_the_leds_are_in_between() {
        let (mut locks, start) = (Locks::default(), Instant::now());
        press(&mut locks, start);
        press(&mut locks, start);
        assert_eq!(locks.now(CAPS, start + SETTLE / 2), 0, "the guest has handled the first of two");
        assert_eq!(locks.now(0, start + SETTLE), 0);
    }

    #[test]
    fn a_guest_without_leds_follows_the_keys() {
        let (mut locks, start) = (Locks::default(), Instant::now());
        press(&mut locks, start);
        assert_eq!(locks.now(0, start + 10 * SETTLE), CAPS);
    }
}
