//! Errors of restoring a saved device state.

use thiserror::Error;

/// Why a device rejects a saved state. A saved state is untrusted input: a device validates all of it before it
/// changes.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The bytes do not decode as this device's state.
    #[error("{kind}: the saved state does not decode: {why}")]
    Malformed {
        /// [`crate::Device::KIND`].
        kind: &'static str,
        /// The CBOR decoder's error.
        why: String,
    },
    /// A value that the device can never hold.
    #[error("{kind}: the saved state has an invalid value: {what}")]
    Impossible {
        /// [`crate::Device::KIND`].
        kind: &'static str,
        /// The part of the state.
        what: &'static str,
    },
}
