//! I/O throttling by token buckets, per drive or shared by a group of drives.
//!
//! A bucket holds up to `burst` tokens and fills at the configured rate. A request passes if the bucket is not in debt, and
//! then takes all of its tokens, so that a request larger than the burst passes as well and the following ones pay for it.

use crate::config::{Limits, Rate};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    /// Tokens; negative for a debt.
    tokens: f64,
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Self { rate, tokens: rate.burst as f64 }
    }

    fn fill(&mut self, elapsed: Duration) {
        let gained = elapsed.as_secs_f64() * self.rate.per_second as f64;
        self.tokens = (self.tokens + gained).min(self.rate.burst as f64);
    }

    /// Time until the bucket has left its debt.
    fn wait(&self) -> Duration {
        if self.tokens > 0.0 {
            return Duration::ZERO;
        }
        // At least a microsecond, so that rounding never makes a caller spin.
        let seconds = -self.tokens / self.rate.per_second as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).max(Duration::from_micros(1))
    }
}

#[derive(Debug)]
struct Buckets {
    requests: Option<Bucket>,
    bytes: Option<Bucket>,
    filled: Instant,
}

/// The limits of one drive or group.
#[derive(Debug)]
pub struct Throttle(Mutex<Buckets>);

impl Throttle {
    /// Full buckets with these limits; `None` if there is no limit.
    pub fn new(limits: Limits) -> Option<Self> {
        if limits == Limits::default() {
            return None;
        }
        Some(Self(Mutex::new(Buckets {
            requests: limits.requests.map(Bucket::new),
            bytes: limits.bytes.map(Bucket::new),
            filled: Instant::now(),
        })))
    }

    /// Lets a request of `bytes` bytes pass at `now`, or gives the time after which the caller may try again.
    ///
    /// # Errors
    /// The time to wait, more than zero.
    pub fn admit(&self, bytes: u64, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { requests, bytes: byte_bucket, filled } = &mut *buckets;
        let elapsed = now.saturating_duration_since(*filled);
        *filled = now.max(*filled);
        let mut wait = Duration::ZERO;
        for bucket in [&mut *requests, &mut *byte_bucket].into_iter().flatten() {
            bucket.fill(elapsed);
            wait = wait.max(bucket.wait());
        }
        if !wait.is_zero() {
            return Err(wait);
        }
        if let Some(bucket) = requests {
            bucket.tokens -= 1.0;
        }
        if let Some(bucket) = byte_bucket {
            bucket.tokens -= bytes as f64;
        }
        Ok(())
    }
}

/// The groups of drives that share limits, by name.
#[derive(Debug, Default)]
pub struct ThrottleGroups(HashMap<String, (Limits, Option<Arc<Throttle>>)>);

impl ThrottleGroups {
    /// The limits of a drive: its own, or those of its group.
    ///
    /// # Errors
    /// If an earlier drive of the same group has other limits.
    pub fn join(&mut self, group: Option<&str>, limits: Limits) -> Result<Option<Arc<Throttle>>, GroupConflict> {
        let Some(group) = group else { return Ok(Throttle::new(limits).map(Arc::new)) };
        let (known, throttle) =
            self.0.entry(group.to_owned()).or_insert_with(|| (limits, Throttle::new(limits).map(Arc::new)));
        if *known == limits { Ok(throttle.clone()) } else { Err(GroupConflict) }
    }
}

/// Two drives of one group have different limits.
#[derive(Debug, PartialEq, Eq)]
pub struct GroupConflict;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests: Option<(u64, u64)>, bytes: Option<(u64, u64)>) -> Limits {
        let rate = |(per_second, burst)| Rate { per_second, burst };
        Limits { requests: requests.map(rate), bytes: bytes.map(rate) }
    }

    /// Runs requests of `bytes` back to back for `seconds`; gives how many passed.
    fn run(throttle: &Throttle, bytes: u64, seconds: u64) -> u64 {
        let start = Instant::now() + Duration::from_secs(3600);
        let (mut now, mut passed) = (start, 0);
        // The buckets fill up to their burst before the first request.
        while now < start + Duration::from_secs(seconds) {
            match throttle.admit(bytes, now) {
                Ok(()) => passed += 1,
                Err(wait) => now += wait,
            }
        }
        passed
    }

    #[test]
    fn a_bucket_passes_its_burst_and_then_its_rate() {
        let throttle = Throttle::new(limits(Some((100, 50)), None)).unwrap();
        assert!((1049..=1052).contains(&run(&throttle, 1 << 20, 10)), "100 a second for 10 s and a burst of 50");
        let throttle = Throttle::new(limits(None, Some((1 << 20, 1 << 20)))).unwrap();
        assert!((2815..=2818).contains(&run(&throttle, 4096, 10)), "256 a second for 10 s and a burst of 256");
    }

    #[test]
    fn a_request_larger_than_the_burst_passes_and_later_ones_pay_for_it() {
        let throttle = Throttle::new(limits(None, Some((1000, 1000)))).unwrap();
        let now = Instant::now();
        assert_eq!(throttle.admit(11_000, now), Ok(()));
        let wait = throttle.admit(1, now).unwrap_err();
        assert!((9.9..=10.1).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(throttle.admit(1, now + wait / 2).is_err());
        assert_eq!(throttle.admit(1, now + wait + Duration::from_millis(1)), Ok(()));
    }

    #[test]
    fn the_stricter_of_two_limits_decides() {
        let throttle = Throttle::new(limits(Some((1000, 1)), Some((4096, 4096)))).unwrap();
        assert!((10..=12).contains(&run(&throttle, 4096, 10)));
    }

    #[test]
    fn drives_of_a_group_share_one_bucket_and_must_agree_on_its_limits() {
        let mut groups = ThrottleGroups::default();
        let ten = limits(Some((10, 10)), None);
        let first = groups.join(Some("a"), ten).unwrap().unwrap();
        let second = groups.join(Some("a"), ten).unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &groups.join(None, ten).unwrap().unwrap()));
        assert_eq!(groups.join(Some("a"), limits(Some((11, 11)), None)).unwrap_err(), GroupConflict);
        assert!(groups.join(None, Limits::default()).unwrap().is_none());
    }
}
