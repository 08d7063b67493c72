//! Counters of the board since the machine was built: accesses by device, IRQs, unclaimed accesses, guest errors.

use serde::Serialize;

/// What one device has been called for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceStats {
    /// Its kind, as in a saved state.
    pub kind: &'static str,
    /// Reads by vCPUs.
    pub reads: u64,
    /// Writes by vCPUs, coalesced ones included.
    pub writes: u64,
    /// Timers, completions and input from the host.
    pub wakes: u64,
    /// Guest errors that it reported.
    pub guest_errors: u64,
}

/// Counters of the board.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BoardStats {
    /// By device, in the board's order.
    pub devices: Vec<DeviceStats>,
    /// By input of the interrupt controllers: how often it was raised.
    pub irqs_raised: [u64; 16],
    /// Reads that no device answered.
    pub unclaimed_reads: u64,
    /// Writes that no device answered.
    pub unclaimed_writes: u64,
    /// Hard resets, the power-on included.
    pub resets: u64,
}
