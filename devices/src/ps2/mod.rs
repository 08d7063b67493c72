//! The PS/2 keyboard controller with its keyboard and mouse.

pub mod controller;
pub mod keyboard;
pub mod mouse;

pub use controller::Ps2Controller;
