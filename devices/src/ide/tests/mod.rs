//! The controller as its drivers see it.
