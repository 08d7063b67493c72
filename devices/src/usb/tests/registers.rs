use super::*;

#[test]
fn the_configuration_space_is_that_of_the_data_sheet() {
    let mut bench = Bench::new(Piix3Usb::new());
    for (register, width, expect) in [
        (0x00, 4, 0x7020_8086),
        (0x04, 4, 0x0280_0000),
        (0x08, 4, 0x0c03_0000),
        (0x0e, 1, 0),
        (0x20, 4, 1),
        (0x3d, 1, 4),
        (0x60, 1, 0x10),
        (0xc0, 2, 0x2000),
    ] {
        assert_eq!(bench.config_read(register, width), expect, "{register:02x}");
    }
    bench.config_write(0x20, 4, u32::MAX);
    assert_eq!(bench.config_read(0x20, 4), 0xffe1, "32 ports");
    bench.config_write(0x20, 4, IO.into());
    assert_eq!(bench.input(IO + 0x10, 2), 0xffff, "not decoded yet");
    bench.config_write(0x04, 2, 1);
    assert_eq!(bench.inw(IO + 0x10) & 0x80, 0x80);
}

#[test]
fn registers_after_a_reset() {
    let mut host = Host::new();
    host.bench.outw(IO, 2);
    for (offset, expect) in [(0, 0), (2, 0x20), (4, 0), (6, 0), (8, 0), (10, 0), (12, 0x40), (20, 0), (30, 0)] {
        assert_eq!(host.bench.inw(IO + offset), expect, "{offset:x}");
    }
    // J of a full-speed and of a low-speed function.
    assert_eq!(host.bench.inw(IO + TABLET), 0x0093);
    assert_eq!(host.bench.inw(IO + KEYBOARD), 0x01a3);
}

#[test]
fn what_can_be_written_is_what_there_is() {
    let mut host = Host::new();
    for (offset, value, expect) in [
        (0, 0xff40, 0x40),
        (4, 0xffff, 0xf),
        (6, 0xffff, 0x7ff),
        (8, 0xffff, 0xf000),
        (10, 0x1234, 0x1234),
        (12, 0xffff, 0x7f),
    ] {
        host.bench.outw(IO + offset, value);
        assert_eq!(host.bench.inw(IO + offset), expect, "{offset:x}");
    }
    host.bench.outb(IO + 9, 0x50);
    assert_eq!(host.bench.inl(IO + 8), 0x1234_5000, "a byte of it");
    host.bench.outl(IO + 8, LIST as u32);
    host.bench.outw(IO, 1);
    host.bench.outw(IO + 6, 5);
    assert_eq!(host.bench.inw(IO + 6), 0x7ff, "FRNUM cannot be written while it counts");
    host.frames(2);
    assert_eq!(host.bench.inw(IO + 6), 0, "it wraps");
    host.bench.outw(IO, 0);
    assert_eq!(host.status() & 0x20, 0x20, "halted");
}

#[test]
fn frnum_counts_frames_of_the_length_that_sofmod_says() {
    for (modify, nanos) in [(0x40, 1_000_000), (0, 994_666), (0x7f, 1_005_250)] {
        let mut host = Host::new();
        host.bench.outb(IO + 12, modify);
        host.bench.outw(IO, 1);
        host.bench.advance(nanos * 100 - 1);
        assert_eq!(host.bench.inw(IO + 6), 99, "{modify:x}");
        host.bench.advance(1);
        assert_eq!(host.bench.inw(IO + 6), 100, "{modify:x}");
    }
}

#[test]
fn a_port_goes_through_reset_enable_and_suspend() {
    let mut host = Host::new();
    host.bench.outw(IO, 1);
    assert_eq!(host.bench.inw(IO + TABLET) & 3, 3, "connected, which is new");
    host.bench.outw(IO + TABLET, 0x202);
    assert_eq!(host.bench.inw(IO + TABLET), 0x281, "reset: SE0");
    host.bench.outw(IO + TABLET, 0x204);
    assert_eq!(host.bench.inw(IO + TABLET) & 4, 0, "not enabled during reset");
    host.bench.outw(IO + TABLET, 0);
    host.bench.outw(IO + TABLET, 4);
    assert_eq!(host.bench.inw(IO + TABLET), 0x95);
    host.bench.outw(IO + TABLET, 0x1004);
    assert_eq!(host.bench.inw(IO + TABLET), 0x1095, "suspended");
    host.bench.outw(IO + TABLET, 0x1044);
    assert_eq!(host.bench.inw(IO + TABLET), 0x10e5, "K, driven by the host");
    host.bench.outw(IO + TABLET, 0x1004);
    assert_eq!(host.bench.inw(IO + TABLET), 0x95, "awake again");
    // A write of one byte changes nothing of the other.
    host.bench.outb(IO + TABLET + 1, 0x10);
    assert_eq!(host.bench.inw(IO + TABLET), 0x1095);
    // HCRESET leaves suspend alone, and finds the function again.
    host.bench.outw(IO, 2);
    assert_eq!(host.bench.inw(IO + TABLET), 0x1093);
    // GRESET does not, and lasts.
    host.bench.outw(IO, 4);
    assert_eq!((host.bench.inw(IO), host.bench.inw(IO + TABLET)), (4, 0x80));
    host.bench.outw(IO, 0);
    assert_eq!(host.bench.inw(IO + TABLET), 0x93);
}

#[test]
fn the_interrupt_goes_to_pirqd_while_legsup_says_so() {
    let mut host = Host::configured();
    host.bench.outw(IO + 2, 0x3f);
    assert!(!host.irq());
    host.poll(TABLET_ADDRESS, false, 8);
    host.input(InputEvent::Pointer { x: Some(1), y: None, dz: 0, buttons: 0 });
    host.frames(1);
    assert!(host.irq());
    host.bench.config_write(0xc0, 2, 0);
    assert!(!host.irq());
    host.bench.config_write(0xc0, 2, 0x2000);
    assert!(host.irq());
    host.bench.outw(IO + 4, 0xb);
    assert!(!host.irq(), "IOC is not enabled");
    host.bench.outw(IO + 4, 4);
    assert!(host.irq());
    host.bench.outw(IO + 2, 1);
    assert!(!host.irq());
    assert_eq!(host.status(), 0);
}

#[test]
fn a_function_wakes_a_suspended_port_or_bus_only_when_it_was_told_to() {
    let mut host = Host::configured();
    host.bench.outw(IO + KEYBOARD, 0x1004);
    host.key(0x1e, true);
    assert_eq!(host.bench.inw(IO + KEYBOARD) & 0x40, 0);
    host.key(0x1e, false);
    host.bench.outw(IO + KEYBOARD, 0x4);
    host.request(KEYBOARD_ADDRESS, 0, 3, 1, 0, 0).unwrap();
    assert_eq!(host.request(KEYBOARD_ADDRESS, 0x80, 0, 0, 0, 2), Ok(vec![2, 0]));
    host.bench.outw(IO + KEYBOARD, 0x1004);
    assert!(host.bench.device.keyboard_in_use(), "for waking");
    host.key(0x1e, true);
    assert_eq!(host.bench.inw(IO + KEYBOARD) & 0x1070, 0x1050, "K");
    assert_eq!(host.status() & 4, 0, "only the port says so");
    host.bench.outw(IO + KEYBOARD, 0x4);

    // Global suspend.
    host.bench.outw(IO, 0x80);
    host.bench.outw(IO, 0x88);
    assert!(host.bench.device.keyboard_in_use() && !host.bench.device.tablet_in_use());
    host.input(InputEvent::Pointer { x: Some(1), y: Some(1), dz: 0, buttons: 0 });
    host.bench.outw(IO + 2, 0x3f);
    host.bench.outw(IO + 4, 2);
    host.key(0x1f, true);
    assert_eq!(host.bench.inw(IO), 0x98, "FGR");
    assert_eq!(host.status() & 4, 4, "resume");
    assert!(host.irq());
    host.bench.outw(IO + 2, 4);
    host.bench.outw(IO, 0x81);
    assert!(!host.irq());
}
