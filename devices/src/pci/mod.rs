//! What all PCI functions share (PCI Local Bus Specification, revision 2.1).

pub mod bus;
mod config;
pub mod pirq;

pub use config::{COMMAND, ConfigSpace, ConfigState, STATUS, Written};
