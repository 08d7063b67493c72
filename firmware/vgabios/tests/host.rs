//! The VGA BIOS as Rust functions on the host, on the VGA model of the `devices` crate.

mod common;

use common::HostBios;

common::calls::suite!(HostBios::new());
