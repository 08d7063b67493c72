//! A port of the root hub, with what is plugged into it for good (UHCI Design Guide 1.1, 2.1.7).

use super::function::Function;
use super::regs::PortStatus;
use serde::{Deserialize, Serialize};

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Port {
    pub(super) function: Function,
    connect_change: bool,
    enabled: bool,
    enable_change: bool,
    resume: bool,
    reset: bool,
    suspend: bool,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Something that the schedule depends on.
    pub(super) changed: bool,
}

impl Port {
    /// With power just switched on.
    pub(super) fn new(function: Function) -> Self {
        Self {
            function,
            connect_change: true,
            enabled: false,
            enable_change: false,
            resume: false,
            reset: false,
            suspend: false,
        }
    }

    /// Power-on, and global reset, which the function sees too.
    pub(super) fn power_on(&mut self) {
        self.function.reset();
        let Self { function: _, connect_change, enabled, enable_change, resume, reset, suspend } = self;
        *connect_change = true;
        (*enabled, *enable_change, *resume, *reset, *suspend) = (false, false, false, false, false);
    }

    /// HCRESET: bits 8 and 3 to 0 only, and the function is found again (2.1.1).
    pub(super) fn host_reset(&mut self) {
        self.connect_change = true;
        self.enabled = false;
        self.enable_change = false;
    }

    /// What software reads; `asleep` in global suspend with nobody resuming, `resuming` with somebody.
    pub(super) fn status(&self, resuming: bool) -> PortStatus {
        let low_speed = self.function.low_speed();
        // J: the line that the pull-up is on is high. K: the other one. Reset: none.
        let k = self.resume || resuming;
        let (d_plus, d_minus) = if self.reset { (false, false) } else { (low_speed == k, low_speed != k) };
        PortStatus::new()
            .with_connected(true)
            .with_connect_change(self.connect_change)
            .with_enabled(self.enabled)
            .with_enable_change(self.enable_change)
            .with_d_plus(d_plus)
            .with_d_minus(d_minus)
            .with_resume(self.resume)
            .with_one(true)
            .with_low_speed(low_speed)
            .with_reset(self.reset)
            .with_suspend(self.suspend)
    }

    /// Software writes the bits of `mask`.
    pub(super) fn write(&mut self, value: u16, mask: u16) -> Written {
        let clear = PortStatus::from_bits(value & mask);
        self.connect_change &= !clear.connect_change();
        self.enable_change &= !clear.enable_change();
        let before = (self.enabled, self.reset, self.suspend, self.resume);
        let kept = self.status(false).into_bits() & !mask;
        let new = PortStatus::from_bits(kept | value & mask);
        if new.reset() && !self.reset {
            self.function.reset();
            self.suspend = false;
            self.resume = false;
        }
        self.reset = new.reset();
        // A port in reset is not enabled.
        self.enabled = new.enabled() && !self.reset;
        if !self.reset {
            // The end of resume signalling is the end of suspend.
            let ends = self.resume && !new.resume();
            self.resume = new.resume();
            self.suspend = new.suspend() && !ends;
        }
        Written { changed: before != (self.enabled, self.reset, self.suspend, self.resume) }
    }

    /// Whether transactions get to the function.
    pub(super) fn is_live(&self) -> bool {
        self.enabled && !self.reset && !self.suspend && !self.resume
    }

    /// The function signals resume, if it is one that was told to and the port is suspended. True if it does.
    pub(super) fn wake(&mut self) -> bool {
        let wakes = self.enabled && self.suspend && !self.resume && self.function.wakes();
        self.resume |= wakes;
        wakes
    }

    /// Whether a person's doings go here: the guest asks for them, or lets itself be woken by them.
    pub(super) fn in_use(&self, asleep: bool) -> bool {
        self.enabled
            && if self.suspend || asleep { self.function.wakes() } else { self.function.in_use() && !self.reset }
    }

    pub(super) fn is_possible(&self, like: &Self) -> bool {
        self.function.is_possible(&like.function)
    }
}
