//! Virtual machine time: the host's monotonic clock without the pauses of the machine.

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
        if self.stopped.load(Ordering::SeqCst) == 0 {
            self.stopped.store(self.now().nanos() + 1, Ordering::SeqCst);
        }
    }

    /// Continues from the time at which it stopped.
    pub fn start(&self) {
        let stopped = self.stopped.load(Ordering::SeqCst);
        if stopped != 0 {
            self.offset.store(host_nanos().wrapping_sub(stopped - 1), Ordering::SeqCst);
            self.stopped.store(0, Ordering::SeqCst);
        }
    }
}

impl Clock for VmClock {
    fn now(&self) -> VmTime {
        match self.stopped.load(Ordering::Relaxed) {
            0 => VmTime(host_nanos().wrapping_sub(self.offset.load(Ordering::Relaxed))),
            stopped => VmTime(stopped - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_while_stopped_and_loses_no_time() {
        let clock = VmClock::new();
        assert_eq!(clock.now(), VmTime::ZERO);
        clock.start();
        std::thread::sleep(std::time::Duration::from_millis(2));
        clock.stop();
        let stopped = clock.now();
        assert!(stopped.nanos() >= 2_000_000);
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(clock.now(), stopped);
        clock.start();
        assert!(clock.now().since(stopped).as_millis() < 15, "the pause does not count");
    }
}
