//! Short runs of the fuzz targets: random access scripts for every device (see `pcvm_devices::testing::script`).

use pcvm_devices::testing::subjects::{self, random};

#[test]
fn ide_survives_random_scripts() {
    random(500, 400, subjects::ide);
}

#[test]
fn vga_survives_random_scripts() {
    random(150, 300, subjects::vga);
}

#[test]
fn fw_cfg_survives_random_scripts() {
    random(1500, 300, subjects::fw_cfg);
}

#[test]
fn ps2_survives_random_scripts() {
    random(500, 400, subjects::ps2);
}

#[test]
fn chipset_survives_random_scripts() {
    random(1500, 300, subjects::chipset);
}

#[test]
fn serial_survives_random_scripts() {
    random(3000, 400, subjects::serial);
}

#[test]
fn rtl8139_survives_random_scripts() {
    random(700, 600, subjects::rtl8139);
}

#[test]
fn usb_survives_random_scripts() {
    random(700, 600, subjects::usb);
}

#[test]
fn damaged_states_are_rejected_or_usable() {
    random(700, 400, subjects::state);
}
