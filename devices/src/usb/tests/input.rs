use super::*;

fn pointer(x: u16, y: u16, dz: i32, buttons: u8) -> InputEvent {
    InputEvent::Pointer { x: Some(x), y: Some(y), dz, buttons }
}

impl Host {
    /// All reports that come.
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
fn movements_are_put_together_and_clicks_are_not() {
    let mut host = Host::configured();
    for event in [
        pointer(10, 10, 0, 0),
        pointer(20, 20, 0, 0),
        pointer(0x7fff, 0xffff, 0, 0),
        // Down, dragged in two steps, up; then the wheel.
        pointer(0x7fff, 0x7fff, 0, 1),
        pointer(100, 100, 0, 1),
        pointer(200, 300, 0, 1),
        pointer(200, 300, 0, 0),
        pointer(200, 300, 1, 0),
        pointer(200, 300, 1, 0),
        InputEvent::Pointer { x: None, y: Some(5), dz: -3, buttons: 0xff },
    ] {
        host.input(event);
    }
    assert_eq!(
        host.reports(TABLET_ADDRESS, false),
        [
            vec![0, 0xff, 0x7f, 0xff, 0x7f, 0],
            vec![1, 0xff, 0x7f, 0xff, 0x7f, 0],
            vec![1, 200, 0, 44, 1, 0],
            vec![0, 200, 0, 44, 1, 0],
            vec![0, 200, 0, 44, 1, 0xfe],
            vec![0x1f, 200, 0, 5, 0, 3],
        ]
    );
    assert_eq!(host.request(TABLET_ADDRESS, 0xa1, 1, 0x100, 0, 6), Ok(vec![0x1f, 200, 0, 5, 0, 0]));
    // Nothing new, nothing told.
    host.input(InputEvent::Pointer { x: Some(200), y: None, dz: 0, buttons: 0x1f });
    assert_eq!(host.reports(TABLET_ADDRESS, false).len(), 0);
}

#[test]
fn what_is_not_read_does_not_pile_up_and_the_last_counts() {
    let mut host = Host::configured();
    for n in 0..1000 {
        host.input(pointer(n, n, 0, (n & 1) as u8));
    }
    let reports = host.reports(TABLET_ADDRESS, false);
    assert_eq!(reports.len(), 16);
    assert_eq!(reports[15], [1, 0xe7, 3, 0xe7, 3, 0]);
}

#[test]
fn keys_are_told_one_by_one() {
    let mut host = Host::configured();
    for (code, down) in
        [(0x2a, true), (0x1e, true), (0x1e, true), (0x1e, false), (0x2a, false), (0x138, true), (0x153, true)]
    {
        host.key(code, down);
    }
    assert_eq!(host.bench.device.keys_waiting(), 6, "a key that repeats is held");
    assert!(host.bench.device.holds_key(0x153) && !host.bench.device.holds_key(0x1e));
    let reports = host.reports(KEYBOARD_ADDRESS, false);
    let expect = [(2, 0), (2, 4), (2, 0), (0, 0), (0x40, 0), (0x40, 0x4c)];
    assert_eq!(reports, expect.map(|(modifiers, key)| vec![modifiers, 0, key, 0, 0, 0, 0, 0]));
    // Six keys fit, and more are told to be too many.
    for code in 2..8 {
        host.key(code, true);
    }
    let reports = host.reports(KEYBOARD_ADDRESS, false);
    assert_eq!(reports[4], [0x40, 0, 0x4c, 0x1e, 0x1f, 0x20, 0x21, 0x22]);
    assert_eq!(reports[5], [0x40, 0, 1, 1, 1, 1, 1, 1]);
    host.key(0x153, false);
    assert_eq!(host.reports(KEYBOARD_ADDRESS, false)[0], [0x40, 0, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23]);
}

#[test]
fn presses_that_do_not_fit_are_lost_and_releases_never() {
    let mut host = Host::configured();
    for code in 0x01..0x40 {
        host.key(code, true);
    }
    assert_eq!(host.bench.device.keys_waiting(), 16);
    for code in 0x01..0x40 {
        host.key(code, false);
    }
    let reports = host.reports(KEYBOARD_ADDRESS, false);
    assert_eq!((reports.len(), reports.last()), (32, Some(&vec![0; 8])));
}

#[test]
fn functions_are_in_use_while_the_guest_asks_for_reports() {
    let mut host = Host::configured();
    let usb = |host: &Host| (host.bench.device.tablet_in_use(), host.bench.device.keyboard_in_use());
    assert_eq!(usb(&host), (false, false), "configured, but nobody listens");
    host.request(KEYBOARD_ADDRESS, 0x21, 10, 0, 0, 0).unwrap();
    host.poll(TABLET_ADDRESS, false, 8);
    host.frames(2);
    assert_eq!(usb(&host), (true, false));
    host.poll(KEYBOARD_ADDRESS, false, 8);
    host.frames(2);
    assert_eq!(usb(&host), (true, true));
    assert!(host.bench.device.takes_key(0x1e) && !host.bench.device.takes_key(0x121), "no calculator key");
    host.frames(3000);
    assert_eq!(usb(&host), (false, true), "nobody has listened for two seconds and more");
    host.bench.outw(IO, 0x80);
    assert_eq!(usb(&host), (false, false), "stopped");
    host.bench.outw(IO, 0x81);
    assert_eq!(usb(&host), (false, true));
    host.enable(KEYBOARD);
    assert_eq!(usb(&host), (false, false), "reset");
}
