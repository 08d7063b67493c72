//! Virtual machine time: nanoseconds since power-on, stopped while the machine is paused.

use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in virtual machine time, in nanoseconds since power-on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VmTime(pub u64);

impl VmTime {
    /// Power-on.
    pub const ZERO: Self = Self(0);

    /// Nanoseconds since power-on.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This time plus `nanos`, saturating.
    pub const fn plus_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Ticks of a clock of `hz` hertz since power-on, rounded down.
    pub const fn ticks(self, hz: u64) -> u64 {
        ((self.0 as u128 * hz as u128) / 1_000_000_000) as u64
    }

    /// The first time at which [`VmTime::ticks`] of a clock of `hz` hertz (at least 1) reads `ticks`.
    pub const fn of_tick(ticks: u64, hz: u64) -> Self {
        let nanos = (ticks as u128 * 1_000_000_000).div_ceil(if hz == 0 { 1 } else { hz as u128 });
        Self(if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 })
    }
}

impl Add<Duration> for VmTime {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for VmTime {
    type Output = Duration;
    fn sub(self, rhs: Self) -> Duration {
        self.since(rhs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_tick_is_the_first_time_at_which_ticks_reads_it() {
        for hz in [1, 1000, 32_768, 1_193_182, 3_579_545] {
            for tick in [0, 1, 2, 77, 1 << 33] {
                let at = VmTime::of_tick(tick, hz);
                assert_eq!(at.ticks(hz), tick);
                assert!(tick == 0 || VmTime(at.0 - 1).ticks(hz) == tick - 1);
            }
        }
    }
}
