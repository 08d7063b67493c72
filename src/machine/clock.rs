//! Virtual time: the host's monotonic clock without the pauses of the VM.

use pcvm_devices::{Clock, VmTime};
use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds by which the host's clock is ahead of the machine's; while paused, the time at which the machine stands.
#[derive(Debug, Default)]
pub struct VmClock {
    offset: AtomicU64,
    /// One more than the time at which the clock stopped, or 0 while it runs.
    stopped: AtomicU64,
}

fn host_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

impl VmClock {
    /// Starts at zero, stopped.
    pub fn new() -> Self {
        Self { offset: AtomicU64::new(0), stopped: AtomicU64::new(1) }
    }

    /// Stops, if it runs.
    pub fn stop(&self) {
        self.stop_at(host_nanos());
    }

    /// Continues from the time at which it stopped.
    pub fn start(&self) {
        self.start_at(host_nanos());
    }

    fn stop_at(&self, host: u64) {
        if self.stopped.load(Ordering::SeqCst) == 0 {
            self.stopped.store(self.time_at(host).nanos() + 1, Ordering::SeqCst);
        }
    }

    fn start_at(&self, host: u64) {
        let stopped = self.stopped.load(Ordering::SeqCst);
        if stopped != 0 {
            self.offset.store(host.wrapping_sub(stopped - 1), Ordering::SeqCst);
            self.stopped.store(0, Ordering::SeqCst);
        }
    }

    /// Virtual time when the host's monotonic clock is at `host`, in nanoseconds.
    fn time_at(&self, host: u64) -> VmTime {
        match self.stopped.load(Ordering::Relaxed) {
            0 => VmTime(host.wrapping_sub(self.offset.load(Ordering::Relaxed))),
            stopped => VmTime(stopped - 1),
        }
    }
}

impl Clock for VmClock {
    fn now(&self) -> VmTime {
        self.time_at(host_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_excludes_pauses() {
        let clock = VmClock::new();
        assert_eq!(clock.time_at(1_000), VmTime::ZERO);
        clock.start_at(5_000);
        assert_eq!(clock.time_at(5_000), VmTime::ZERO);
        assert_eq!(clock.time_at(5_300), VmTime(300));
        clock.stop_at(5_400);
        clock.stop_at(6_000);
        assert_eq!(clock.time_at(9_000), VmTime(400));
        clock.start_at(10_000);
        clock.start_at(11_000);
        assert_eq!(clock.time_at(12_000), VmTime(2_400));
    }

    #[test]
    fn virtual_time_follows_the_monotonic_clock_of_the_host() {
        let clock = VmClock::new();
        let before = host_nanos();
        clock.start();
        let started = host_nanos();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let (least, now, most) = (host_nanos() - started, clock.now().nanos(), host_nanos() - before);
        assert!(least >= 2_000_000 && (least..=most).contains(&now), "{least} {now} {most}");
        clock.stop();
        assert_eq!(clock.now(), clock.now());
    }
}
