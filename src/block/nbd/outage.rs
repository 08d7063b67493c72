//! Reconnection times: exponential back-off with a cap, and the end of patience.

use std::time::{Duration, Instant};

/// The wait after the first failed attempt.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The time since a connection was lost, until a request succeeds again.
#[derive(Debug)]
pub struct Outage {
    since: Instant,
    attempts: u32,
    next: Instant,
    /// It was logged, so that its end is, too.
    pub reported: bool,
}

impl Outage {
    /// A connection was lost now. The first attempt is due at once.
    pub fn new(now: Instant, reported: bool) -> Self {
        Self { since: now, attempts: 0, next: now, reported }
    }

    /// An attempt failed.
    pub fn failed(&mut self, now: Instant) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_WAIT);
        self.attempts = self.attempts.saturating_add(1);
        // Up to a quarter more, so that the machines of one server do not all come at the same moment.
        let jitter = wait / 1024 * (now.saturating_duration_since(self.since).subsec_micros() % 256);
        self.next = now + wait + jitter;
    }

    /// When the next attempt is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// When requests stop waiting.
    pub fn deadline(&self, patience: Duration) -> Instant {
        self.since + patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_back_off_to_a_cap() {
        let start = Instant::now();
        let mut outage = Outage::new(start, false);
        assert_eq!(outage.next(), start);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..20 {
            outage.failed(now);
            waits.push(outage.next() - now);
            now = outage.next();
        }
        assert!(waits[0] >= FIRST_WAIT && waits[0] <= FIRST_WAIT * 5 / 4);
        assert!(waits.windows(2).all(|pair| pair[1] * 5 / 4 >= pair[0]), "{waits:?}");
        assert!(waits.iter().all(|&wait| wait <= LONGEST_WAIT * 5 / 4) && waits[19] >= LONGEST_WAIT);
        assert_eq!(outage.deadline(Duration::from_secs(7)), start + Duration::from_secs(7));
    }
}
