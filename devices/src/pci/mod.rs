//! What all PCI functions share (PCI Local Bus Specification, revision 2.1).

mod config;

pub use config::{ConfigSpace, ConfigState, Written};
