//! Root hub port (UHCI Design Guide 1.1, 2.1.7, PORTSC1 and PORTSC2), with a function that is always plugged in.

use super::function::HidFunction;
use super::regs::PortSc;
use serde::{Deserialize, Serialize};

/// A root hub port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RootPort {
    pub(super) function: HidFunction,
    connect_status_change: bool,
    enabled: bool,
    enable_change: bool,
    resume: bool,
    reset: bool,
    suspend: bool,
}

/// The result of a write to PORTSC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PortWrite {
    /// A bit changed that affects the schedule.
    pub(super) changed: bool,
}

impl RootPort {
    /// The port at power-on.
    pub(super) fn new(function: HidFunction) -> Self {
        Self {
            function,
            connect_status_change: true,
            enabled: false,
            enable_change: false,
            resume: false,
            reset: false,
            suspend: false,
        }
    }

    /// Power-on and global reset (USBCMD.GRESET), which also reset the function.
    pub(super) fn bus_reset(&mut self) {
        self.function.reset();
        let Self { function: _, connect_status_change, enabled, enable_change, resume, reset, suspend } = self;
        *connect_status_change = true;
        (*enabled, *enable_change, *resume, *reset, *suspend) = (false, false, false, false, false);
    }

    /// USBCMD.HCRESET: clears bits 8 and 3 to 0 only; the connected function is detected again (2.1.1).
    pub(super) fn hcreset(&mut self) {
        self.connect_status_change = true;
        self.enabled = false;
        self.enable_change = false;
    }

    /// PORTSC as software reads it; `global_resume` is USBCMD.FGR.
    pub(super) fn status(&self, global_resume: bool) -> PortSc {
        let low_speed = self.function.low_speed();
        // J state: the data line with the pull-up resistor is high. K state: the other line is high. Port reset: SE0,
        // both lines are low.
        let k_state = self.resume || global_resume;
        let (d_plus, d_minus) = if self.reset { (false, false) } else { (low_speed == k_state, low_speed != k_state) };
        PortSc::new()
            .with_connect_status(true)
            .with_connect_status_change(self.connect_status_change)
            .with_port_enabled(self.enabled)
            .with_port_enable_change(self.enable_change)
            .with_d_plus(d_plus)
            .with_d_minus(d_minus)
            .with_resume_detect(self.resume)
            .with_always_one(true)
            .with_low_speed(low_speed)
            .with_port_reset(self.reset)
            .with_suspend(self.suspend)
    }

    /// Software writes the bits in `mask` of PORTSC.
    pub(super) fn write(&mut self, value: u16, mask: u16) -> PortWrite {
        let clear = PortSc::from_bits(value & mask);
        self.connect_status_change &= !clear.connect_status_change();
        self.enable_change &= !clear.port_enable_change();
        let before = (self.enabled, self.reset, self.suspend, self.resume);
        let unwritten = self.status(false).into_bits() & !mask;
        let new = PortSc::from_bits(unwritten | value & mask);
        if new.port_reset() && !self.reset {
            self.function.reset();
            self.suspend = false;
            self.resume = false;
        }
        self.reset = new.port_reset();
        // A port in reset is disabled.
        self.enabled = new.port_enabled() && !self.reset;
        if !self.reset {
            // Clearing Resume Detect ends the resume signal and with it the suspend state.
            let resume_ended = self.resume && !new.resume_detect();
            self.resume = new.resume_detect();
            self.suspend = new.suspend() && !resume_ended;
        }
        PortWrite { changed: before != (self.enabled, self.reset, self.suspend, self.resume) }
    }

    /// Whether transactions reach the function.
    pub(super) fn accepts_transactions(&self) -> bool {
        self.enabled && !self.reset && !self.suspend && !self.resume
    }

    /// The function signals resume if the port is suspended and the guest has enabled remote wakeup. Returns whether it
    /// does.
    pub(super) fn signal_resume(&mut self) -> bool {
        let signals = self.enabled && self.suspend && !self.resume && self.function.remote_wakeup_enabled();
        self.resume |= signals;
        signals
    }

    /// Whether input events go to this function: a guest driver polls it, or, in suspend, has enabled remote wakeup.
    pub(super) fn in_use(&self, global_suspend: bool) -> bool {
        self.enabled
            && if self.suspend || global_suspend {
                self.function.remote_wakeup_enabled()
            } else {
                self.function.in_use() && !self.reset
            }
    }

    pub(super) fn is_valid(&self, template: &Self) -> bool {
        self.function.is_valid(&template.function)
    }
}
