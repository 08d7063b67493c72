//! Tablet and keyboard reports, and where input events go.
use super::*;

fn pointer(x: u16, y: u16, dz: i32, buttons: u8) -> InputEvent {
    InputEvent::Pointer { x: Some(x), y: Some(y), dz, buttons }
}

impl Driver {
    /// All reports that the function has queued.
    fn reports(&mut self, address: u8, mut toggle: bool) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            self.poll(address, toggle, 8);
            self.frames(2);
            let Some(report) = self.report() else { return all };
            all.push(report);
            toggle = !toggle;
        }
    }
}

#[test]
fn pointer_movements_are_merged_and_button_changes_are_not() {
    let mut driver = Driver::configured();
    for event in [
        pointer(10, 10, 0, 0),
        pointer(20, 20, 0, 0),
        pointer(0x7fff, 0xffff, 0, 0),
        // Button down, dragged in two steps, button up; then the wheel.
        pointer(0x7fff, 0x7fff, 0, 1),
        pointer(100, 100, 0, 1),
        pointer(200, 300, 0, 1),
        pointer(200, 300, 0, 0),
        pointer(200, 300, 1, 0),
        pointer(200, 300, 1, 0),
        InputEvent::Pointer { x: None, y: Some(5), dz: -3, buttons: 0xff },
    ] {
        driver.input(event);
    }
    assert_eq!(
        driver.reports(TABLET_ADDRESS, false),
        [
            vec![0, 0xff, 0x7f, 0xff, 0x7f, 0],
            vec![1, 0xff, 0x7f, 0xff, 0x7f, 0],
            vec![1, 200, 0, 44, 1, 0],
            vec![0, 200, 0, 44, 1, 0],
            vec![0, 200, 0, 44, 1, 0xfe],
            vec![0x1f, 200, 0, 5, 0, 3],
        ]
    );
    assert_eq!(driver.request(TABLET_ADDRESS, 0xa1, 1, 0x100, 0, 6), Ok(vec![0x1f, 200, 0, 5, 0, 0]));
    // The state is unchanged: no report.
    driver.input(InputEvent::Pointer { x: Some(200), y: None, dz: 0, buttons: 0x1f });
    assert_eq!(driver.reports(TABLET_ADDRESS, false).len(), 0);
}

#[test]
fn unread_pointer_reports_are_bounded_and_end_with_the_last_state() {
    let mut driver = Driver::configured();
    for n in 0..1000 {
        driver.input(pointer(n, n, 0, (n & 1) as u8));
    }
    let reports = driver.reports(TABLET_ADDRESS, false);
    assert_eq!(reports.len(), 16);
    assert_eq!(reports[15], [1, 0xe7, 3, 0xe7, 3, 0]);
}

#[test]
fn each_key_event_makes_one_report() {
    let mut driver = Driver::configured();
    for (code, down) in
        [(0x2a, true), (0x1e, true), (0x1e, true), (0x1e, false), (0x2a, false), (0x138, true), (0x153, true)]
    {
        driver.key(code, down);
    }
    assert_eq!(driver.bench.device.keys_waiting(), 6, "a repeated press is ignored");
    assert!(driver.bench.device.holds_key(0x153) && !driver.bench.device.holds_key(0x1e));
    let reports = driver.reports(KEYBOARD_ADDRESS, false);
    let expect = [(2, 0), (2, 4), (2, 0), (0, 0), (0x40, 0), (0x40, 0x4c)];
    assert_eq!(reports, expect.map(|(modifiers, key)| vec![modifiers, 0, key, 0, 0, 0, 0, 0]));
    // A report has room for six keys; with more it holds ErrorRollOver.
    for code in 2..8 {
        driver.key(code, true);
    }
    let reports = driver.reports(KEYBOARD_ADDRESS, false);
    assert_eq!(reports[4], [0x40, 0, 0x4c, 0x1e, 0x1f, 0x20, 0x21, 0x22]);
    assert_eq!(reports[5], [0x40, 0, 1, 1, 1, 1, 1, 1]);
    driver.key(0x153, false);
    assert_eq!(driver.reports(KEYBOARD_ADDRESS, false)[0], [0x40, 0, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23]);
}

#[test]
fn key_presses_past_the_queue_limit_are_dropped_and_releases_are_not() {
    let mut driver = Driver::configured();
    for code in 0x01..0x40 {
        driver.key(code, true);
    }
    assert_eq!(driver.bench.device.keys_waiting(), 16);
    for code in 0x01..0x40 {
        driver.key(code, false);
    }
    let reports = driver.reports(KEYBOARD_ADDRESS, false);
    assert_eq!((reports.len(), reports.last()), (32, Some(&vec![0; 8])));
}

#[test]
fn functions_are_in_use_while_the_guest_polls_them() {
    let mut driver = Driver::configured();
    let usb = |driver: &Driver| (driver.bench.device.tablet_in_use(), driver.bench.device.keyboard_in_use());
    assert_eq!(usb(&driver), (false, false), "configured, but not polled");
    driver.request(KEYBOARD_ADDRESS, 0x21, 10, 0, 0, 0).unwrap();
    driver.poll(TABLET_ADDRESS, false, 8);
    driver.frames(2);
    assert_eq!(usb(&driver), (true, false));
    driver.poll(KEYBOARD_ADDRESS, false, 8);
    driver.frames(2);
    assert_eq!(usb(&driver), (true, true));
    assert!(
        driver.bench.device.accepts_key(0x1e) && !driver.bench.device.accepts_key(0x121),
        "the keyboard has no Calculator key"
    );
    driver.frames(3000);
    assert_eq!(usb(&driver), (false, true), "the tablet was not polled for more than two seconds");
    driver.bench.outw(USBCMD, 0x80);
    assert_eq!(usb(&driver), (false, false), "the controller is stopped");
    driver.bench.outw(USBCMD, 0x81);
    assert_eq!(usb(&driver), (false, true));
    driver.enable(PORTSC2);
    assert_eq!(usb(&driver), (false, false), "the keyboard's port was reset");
}
