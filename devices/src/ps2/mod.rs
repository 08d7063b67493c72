//! 8042 PS/2 keyboard controller with a keyboard and a mouse.

pub mod controller;
pub mod keyboard;
pub mod mouse;

pub use controller::Ps2Controller;
