//! Random scripts for every device (see `pcvm_devices::testing::script`): what the fuzz targets do at length, in short.

use pcvm_devices::testing::subjects::{self, random};

#[test]
fn ide() {
    random(500, 400, subjects::ide);
}

#[test]
fn vga() {
    random(150, 300, subjects::vga);
}

#[test]
fn fw_cfg() {
    random(1500, 300, subjects::fw_cfg);
}

#[test]
fn ps2() {
    random(500, 400, subjects::ps2);
}

#[test]
fn chipset() {
    random(1500, 300, subjects::chipset);
}

#[test]
fn serial() {
    random(3000, 400, subjects::serial);
}

#[test]
fn rtl8139() {
    random(700, 600, subjects::rtl8139);
}

#[test]
fn usb() {
    random(700, 600, subjects::usb);
}

#[test]
fn state() {
    random(700, 400, subjects::state);
}
