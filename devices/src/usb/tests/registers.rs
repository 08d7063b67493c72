//! UHCI registers, PCI configuration space, root hub ports and the interrupt.
use super::*;

#[test]
fn the_configuration_space_has_the_datasheets_values() {
    let mut bench = Bench::new(Piix3Usb::new());
    for (register, width, expect) in [
        (0x00, 4, 0x7020_8086),
        (0x04, 4, 0x0000_0000),
        (0x08, 4, 0x0c03_0001),
        (0x0e, 1, 0),
        (0x20, 4, 1),
        (0x3d, 1, 4),
        (0x60, 1, 0x10),
        (0xc0, 2, 0x2000),
    ] {
        assert_eq!(bench.config_read(register, width), expect, "{register:02x}");
    }
    bench.config_write(0x20, 4, u32::MAX);
    assert_eq!(bench.config_read(0x20, 4), 0xffe1, "BAR 4 has 32 ports");
    bench.config_write(0x20, 4, IO.into());
    assert_eq!(bench.input(PORTSC1, 2), 0xffff, "I/O is not enabled yet");
    bench.config_write(0x04, 2, 1);
    assert_eq!(bench.inw(PORTSC1) & 0x80, 0x80);
}

#[test]
fn hcreset_sets_the_reset_values() {
    let mut driver = Driver::new();
    driver.bench.outw(USBCMD, 2);
    for (port, expect) in [
        (USBCMD, 0),
        (USBSTS, 0x20),
        (USBINTR, 0),
        (FRNUM, 0),
        (FRBASEADD, 0),
        (FRBASEADD + 2, 0),
        (SOFMOD, 0x40),
        (IO + 20, 0),
        (IO + 30, 0),
    ] {
        assert_eq!(driver.bench.inw(port), expect, "{port:x}");
    }
    // J state of a full-speed and of a low-speed function.
    assert_eq!(driver.bench.inw(PORTSC1), 0x0093);
    assert_eq!(driver.bench.inw(PORTSC2), 0x01a3);
}

#[test]
fn writes_change_only_the_implemented_bits() {
    let mut driver = Driver::new();
    for (port, value, expect) in [
        (USBCMD, 0xff40, 0x40),
        (USBINTR, 0xffff, 0xf),
        (FRNUM, 0xffff, 0x7ff),
        (FRBASEADD, 0xffff, 0xf000),
        (FRBASEADD + 2, 0x1234, 0x1234),
        (SOFMOD, 0xffff, 0x7f),
    ] {
        driver.bench.outw(port, value);
        assert_eq!(driver.bench.inw(port), expect, "{port:x}");
    }
    driver.bench.outb(FRBASEADD + 1, 0x50);
    assert_eq!(driver.bench.inl(FRBASEADD), 0x1234_5000, "a byte write changes that byte only");
    driver.bench.outl(FRBASEADD, FRAME_LIST as u32);
    driver.bench.outw(USBCMD, 1);
    driver.bench.outw(FRNUM, 5);
    assert_eq!(driver.bench.inw(FRNUM), 0x7ff, "FRNUM is read-only while the controller runs");
    driver.frames(2);
    assert_eq!(driver.bench.inw(FRNUM), 0, "FRNUM wraps");
    driver.bench.outw(USBCMD, 0);
    assert_eq!(driver.usbsts() & 0x20, 0x20, "HCHalted");
}

#[test]
fn frnum_counts_frames_of_the_length_in_sofmod() {
    for (modify, nanos) in [(0x40, 1_000_000), (0, 994_666), (0x7f, 1_005_250)] {
        let mut driver = Driver::new();
        driver.bench.outb(SOFMOD, modify);
        driver.bench.outw(USBCMD, 1);
        driver.bench.advance(nanos * 100 - 1);
        assert_eq!(driver.bench.inw(FRNUM), 99, "{modify:x}");
        driver.bench.advance(1);
        assert_eq!(driver.bench.inw(FRNUM), 100, "{modify:x}");
    }
}

#[test]
fn portsc_follows_reset_enable_and_suspend() {
    let mut driver = Driver::new();
    driver.bench.outw(USBCMD, 1);
    assert_eq!(driver.bench.inw(PORTSC1) & 3, 3, "Current Connect Status and Connect Status Change");
    driver.bench.outw(PORTSC1, 0x202);
    assert_eq!(driver.bench.inw(PORTSC1), 0x281, "port reset: SE0");
    driver.bench.outw(PORTSC1, 0x204);
    assert_eq!(driver.bench.inw(PORTSC1) & 4, 0, "a port in reset is disabled");
    driver.bench.outw(PORTSC1, 0);
    driver.bench.outw(PORTSC1, 4);
    assert_eq!(driver.bench.inw(PORTSC1), 0x95);
    driver.bench.outw(PORTSC1, 0x1004);
    assert_eq!(driver.bench.inw(PORTSC1), 0x1095, "suspend");
    driver.bench.outw(PORTSC1, 0x1044);
    assert_eq!(driver.bench.inw(PORTSC1), 0x10e5, "the host drives the K state");
    driver.bench.outw(PORTSC1, 0x1004);
    assert_eq!(driver.bench.inw(PORTSC1), 0x95, "clearing Resume Detect ended the suspend");
    // A write of one byte leaves the other byte unchanged.
    driver.bench.outb(PORTSC1 + 1, 0x10);
    assert_eq!(driver.bench.inw(PORTSC1), 0x1095);
    // HCRESET leaves the suspend bit unchanged and sets Connect Status Change.
    driver.bench.outw(USBCMD, 2);
    assert_eq!(driver.bench.inw(PORTSC1), 0x1093);
    // GRESET clears the suspend bit and stays set.
    driver.bench.outw(USBCMD, 4);
    assert_eq!((driver.bench.inw(USBCMD), driver.bench.inw(PORTSC1)), (4, 0x80));
    driver.bench.outw(USBCMD, 0);
    assert_eq!(driver.bench.inw(PORTSC1), 0x93);
}

#[test]
fn intd_is_asserted_only_while_usbpirqden_is_set() {
    let mut driver = Driver::configured();
    driver.bench.outw(USBSTS, 0x3f);
    assert!(!driver.irq());
    driver.poll(TABLET_ADDRESS, false, 8);
    driver.input(InputEvent::Pointer { x: Some(1), y: None, dz: 0, buttons: 0 });
    driver.frames(1);
    assert!(driver.irq());
    driver.bench.config_write(0xc0, 2, 0);
    assert!(!driver.irq());
    driver.bench.config_write(0xc0, 2, 0x2000);
    assert!(driver.irq());
    driver.bench.outw(USBINTR, 0xb);
    assert!(!driver.irq(), "the IOC interrupt is disabled");
    driver.bench.outw(USBINTR, 4);
    assert!(driver.irq());
    driver.bench.outw(USBSTS, 1);
    assert!(!driver.irq());
    assert_eq!(driver.usbsts(), 0);
}

#[test]
fn a_function_signals_resume_only_if_remote_wakeup_is_enabled() {
    let mut driver = Driver::configured();
    driver.bench.outw(PORTSC2, 0x1004);
    driver.key(0x1e, true);
    assert_eq!(driver.bench.inw(PORTSC2) & 0x40, 0);
    driver.key(0x1e, false);
    driver.bench.outw(PORTSC2, 0x4);
    driver.request(KEYBOARD_ADDRESS, 0, 3, 1, 0, 0).unwrap();
    assert_eq!(driver.request(KEYBOARD_ADDRESS, 0x80, 0, 0, 0, 2), Ok(vec![2, 0]));
    driver.bench.outw(PORTSC2, 0x1004);
    assert!(driver.bench.device.keyboard_in_use(), "remote wakeup counts as use");
    driver.key(0x1e, true);
    assert_eq!(driver.bench.inw(PORTSC2) & 0x1070, 0x1050, "the K state");
    assert_eq!(driver.usbsts() & 4, 0, "Resume Detect of USBSTS is for global suspend only");
    driver.bench.outw(PORTSC2, 0x4);

    // Global suspend: the keyboard resumes the bus.
    driver.bench.outw(USBCMD, 0x80);
    driver.bench.outw(USBCMD, 0x88);
    assert!(driver.bench.device.keyboard_in_use() && !driver.bench.device.tablet_in_use());
    driver.input(InputEvent::Pointer { x: Some(1), y: Some(1), dz: 0, buttons: 0 });
    driver.bench.outw(USBSTS, 0x3f);
    driver.bench.outw(USBINTR, 2);
    driver.key(0x1f, true);
    assert_eq!(driver.bench.inw(USBCMD), 0x98, "the controller sets FGR");
    assert_eq!(driver.usbsts() & 4, 4, "Resume Detect");
    assert!(driver.irq());
    driver.bench.outw(USBSTS, 4);
    driver.bench.outw(USBCMD, 0x81);
    assert!(!driver.irq());
}

#[test]
fn registers_have_the_design_guides_names() {
    let usb = Piix3Usb::new();
    let name = |offset| Device::register_name(&usb, Access { tag: TAG, offset, width: 2 });
    let expect = [
        (0x00, Some("USBCMD")),
        (0x02, Some("USBSTS")),
        (0x03, Some("USBSTS")),
        (0x04, Some("USBINTR")),
        (0x06, Some("FRNUM")),
        (0x0a, Some("FRBASEADD")),
        (0x0c, Some("SOFMOD")),
        (0x0d, None),
        (0x10, Some("PORTSC1")),
        (0x12, Some("PORTSC2")),
        (0x14, None),
    ];
    for (offset, expect) in expect {
        assert_eq!(name(offset), expect, "offset {offset:02x}");
    }
    assert_eq!(Device::register_name(&usb, Access { tag: CONFIG_TAG, offset: 0, width: 2 }), Some("VID"));
}
