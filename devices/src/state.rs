//! Saved device state.

use thiserror::Error;

/// Why a saved state was refused. A restored state is untrusted input: a device checks it before it takes any of it.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The bytes are no CBOR of this device's state.
    #[error("{kind}: malformed state: {why}")]
    Malformed {
        /// The device.
        kind: &'static str,
        /// What the decoder said.
        why: String,
    },
    /// A value that the device can never have.
    #[error("{kind}: impossible state: {what}")]
    Impossible {
        /// The device.
        kind: &'static str,
        /// Which.
        what: &'static str,
    },
}
