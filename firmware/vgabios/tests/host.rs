//! The BIOS as a function on the host, on the VGA of the `devices` crate.

mod common;

use common::OnHost;

common::calls::suite!(OnHost::new());
