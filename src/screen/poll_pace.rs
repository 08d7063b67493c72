//! Adaptive polling interval for the guest's screen.

use std::time::{Duration, Instant};

/// Interval between polls while the screen changes: 30 per second.
const ACTIVE_INTERVAL: Duration = Duration::from_millis(33);
/// Longest interval between polls of an idle screen.
const IDLE_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// The interval is the idle time divided by this, so a change is seen late by at most a twentieth of the idle time.
const IDLE_DIVISOR: u32 = 20;

/// When to poll the guest's screen next: every 33 ms while it changes, then after a twentieth of the time since the last
/// change, at most 1 s. A [`super::Waker`] ends the wait at once; see [`super::GuestScreen::poll`].
#[derive(Clone, Copy, Debug)]
pub struct PollPace {
    next: Instant,
    last_poll: Instant,
    last_change: Instant,
    /// The waker caused the next poll.
    woken: bool,
}

impl PollPace {
    /// The first poll is due at once.
    pub fn new(now: Instant) -> Self {
        Self { next: now, last_poll: now, last_change: now, woken: false }
    }

    /// When the next poll is due.
    pub fn next_poll(&self) -> Instant {
        self.next
    }

    fn interval(&self, now: Instant) -> Duration {
        (now.saturating_duration_since(self.last_change) / IDLE_DIVISOR).clamp(ACTIVE_INTERVAL, IDLE_INTERVAL_MAX)
    }

    /// Whether the poll that is due should register a waker. A poll at the active interval need not, the next one follows
    /// soon enough. A poll that a waker caused must not: if it finds a change, polling is active again; if it finds none,
    /// the guest writes to memory off the screen and would call the waker over and over.
    pub fn wants_waker(&self, now: Instant) -> bool {
        !self.woken && self.interval(now) > ACTIVE_INTERVAL
    }

    /// Records a poll; `changed`: the screen was different from the poll before.
    pub fn polled(&mut self, now: Instant, changed: bool) {
        if changed {
            self.last_change = now;
        }
        (self.last_poll, self.woken) = (now, false);
        self.next = now + self.interval(now);
    }

    /// The waker was called: polls at once, but no sooner than the active interval after the last poll.
    pub fn woken(&mut self, now: Instant) {
        self.woken = true;
        self.next = self.next.min(now.max(self.last_poll + ACTIVE_INTERVAL));
    }

    /// User input arrived or a client requested a full update: polls within half an active interval, and from then on
    /// as after a change.
    pub fn expedite(&mut self, now: Instant) {
        self.next = self.next.min(now + ACTIVE_INTERVAL / 2);
        self.last_change = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls an unchanging screen whenever a poll is due before `end`; gives the number of polls.
    fn poll_idle_until(pace: &mut PollPace, end: Instant) -> u32 {
        let mut polls = 0;
        while pace.next_poll() < end {
            let now = pace.next_poll();
            pace.polled(now, false);
            polls += 1;
        }
        polls
    }

    #[test]
    fn polls_of_an_idle_screen_slow_down_to_one_a_second_until_input_arrives() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = PollPace::new(start);
        assert_eq!(pace.next_poll(), start);
        pace.polled(start, true);
        assert_eq!(pace.next_poll(), start + ACTIVE_INTERVAL);
        let polls = poll_idle_until(&mut pace, after(4));
        assert!((50..70).contains(&polls), "{polls} polls in the first 4 s of idleness");
        let intervals = [4_u64, 10, 30].map(|seconds| {
            poll_idle_until(&mut pace, after(seconds));
            pace.polled(after(seconds), false);
            pace.next_poll() - after(seconds)
        });
        assert_eq!(intervals.map(|interval| interval.as_millis()), [200, 500, 1000]);
        assert_eq!(poll_idle_until(&mut pace, after(90)), 59);
        let input = after(89) + Duration::from_millis(500);
        pace.expedite(input);
        assert_eq!(pace.next_poll(), input + ACTIVE_INTERVAL / 2);
        pace.polled(input, false);
        assert_eq!(pace.next_poll(), input + ACTIVE_INTERVAL);
    }

    #[test]
    fn a_waker_ends_the_wait_but_wakes_without_a_change_do_not_raise_the_poll_rate() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut pace = PollPace::new(start);
        pace.polled(start, true);
        assert!(!pace.wants_waker(after(100)), "a poll at the active interval needs no waker");
        poll_idle_until(&mut pace, after(30_000));
        assert!(pace.wants_waker(after(30_000)));
        pace.polled(after(30_000), false);
        pace.woken(after(30_010));
        assert_eq!(pace.next_poll(), after(30_033));
        assert!(!pace.wants_waker(after(30_033)), "a poll that a waker caused registers none");
        pace.polled(after(30_033), false);
        assert_eq!(pace.next_poll(), after(31_033), "a wake without a change keeps the idle interval");
        assert!(pace.wants_waker(after(31_033)));
        pace.polled(after(31_033), false);
        pace.woken(after(31_500));
        assert_eq!(pace.next_poll(), after(31_500));
        pace.polled(after(31_500), true);
        assert_eq!(pace.next_poll(), after(31_533));
    }
}
