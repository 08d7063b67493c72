//! PCI configuration space, configuration mechanism #1 and PIRQ routing (PCI Local Bus Specification, revision 2.1).

pub mod bus;
mod config;
mod names;
pub mod pirq;

pub use config::{COMMAND, ConfigSpace, ConfigState, ConfigWrite, STATUS};
pub use names::{RegisterNames, config_register_name, register_name};
