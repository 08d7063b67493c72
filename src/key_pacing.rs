//! Keyboard pacing: when to send the next key so that the guest does not lose it.
//!
//! The keyboard buffers 16 bytes of scan codes (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboards
//! (101- and 102-Key)", "Buffer") and drops keys beyond that. A key is sent while at most [`LOW_WATER`] bytes are
//! unread. A guest that reads nothing for [`PATIENCE`] does not block typing any longer: keys are then sent, and lost.

use std::time::{Duration, Instant};

/// Unread scan code bytes up to which another key is sent. The longest key sequence has 8 bytes, and the buffer 16.
pub const LOW_WATER: usize = 8;
/// Time from one character to the next when text is typed, unless the user names another. Windows NT's drivers lose
/// characters at 35 ms and take all at 100 ms. FreeDOS takes all at any pace, because keys wait for room in the keyboard.
pub const PACE: Duration = Duration::from_millis(100);
/// Interval at which a full keyboard is polled.
pub const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Time for which the guest may leave the keyboard full before keys are sent regardless.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Decides when the next key may be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyPacer {
    /// When the keyboard was first seen full; `None` since it was last seen below [`LOW_WATER`].
    full_since: Option<Instant>,
}

impl KeyPacer {
    /// Whether the next key may be sent, with `unread` bytes of scan codes in the keyboard. If not, poll again after
    /// [`POLL_INTERVAL`].
    pub fn may_send(&mut self, unread: usize, now: Instant) -> bool {
        if unread <= LOW_WATER {
            self.full_since = None;
            return true;
        }
        now.saturating_duration_since(*self.full_since.get_or_insert(now)) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_waits_while_the_keyboard_is_full() {
        let (mut pacer, start) = (KeyPacer::default(), Instant::now());
        assert!(pacer.may_send(LOW_WATER, start));
        assert!(!pacer.may_send(LOW_WATER + 1, start));
        assert!(!pacer.may_send(16, start + POLL_INTERVAL));
        assert!(pacer.may_send(0, start + 2 * POLL_INTERVAL), "the guest has read the keyboard");
    }

    #[test]
    fn keys_are_sent_after_the_time_limit_until_the_guest_reads_again() {
        let (mut pacer, start) = (KeyPacer::default(), Instant::now());
        assert!(!pacer.may_send(16, start));
        assert!(!pacer.may_send(16, start + PATIENCE - POLL_INTERVAL));
        assert!(pacer.may_send(16, start + PATIENCE));
        assert!(pacer.may_send(16, start + PATIENCE), "the guest still does not read: no second time limit");
        let later = start + 2 * PATIENCE;
        assert!(pacer.may_send(0, later), "the guest reads");
        assert!(!pacer.may_send(16, later), "a new time limit begins");
    }

    #[test]
    fn a_clock_that_steps_back_does_not_end_the_wait() {
        let (mut pacer, start) = (KeyPacer::default(), Instant::now() + PATIENCE);
        assert!(!pacer.may_send(16, start));
        assert!(!pacer.may_send(16, start - PATIENCE));
    }
}
