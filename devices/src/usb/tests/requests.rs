use super::*;

#[test]
fn descriptors_say_what_the_functions_are() {
    let mut host = Host::configured();
    for (address, protocol, interval) in [(TABLET_ADDRESS, (0, 0), 8), (KEYBOARD_ADDRESS, (1, 1), 10)] {
        let device = host.request(address, 0x80, 6, 0x100, 0, 64).unwrap();
        assert_eq!(device, [18, 1, 0x10, 1, 0, 0, 0, 8, 0x27, 6, 1, 0, 0, 1, 1, 2, 0, 1]);
        assert_eq!(host.request(address, 0x80, 6, 0x100, 0, 8).unwrap(), device[..8], "as much as was asked for");
        let all = host.request(address, 0x80, 6, 0x200, 0, 255).unwrap();
        assert_eq!(all.len(), 34);
        assert_eq!(all[..9], [9, 2, 34, 0, 1, 1, 0, 0xa0, 50]);
        assert_eq!(all[9..18], [9, 4, 0, 0, 1, 3, protocol.0, protocol.1, 0]);
        assert_eq!(all[27..], [7, 5, 0x81, 3, 8, 0, interval]);
        assert_eq!(host.request(address, 0x80, 6, 0x200, 0, 9).unwrap(), all[..9]);
        // HID's own, and the report descriptor of the length that it says: collections and items that fit.
        let hid = host.request(address, 0x81, 6, 0x2100, 0, 9).unwrap();
        assert_eq!(hid, all[18..27]);
        let report = host.request(address, 0x81, 6, 0x2200, 0, 255).unwrap();
        assert_eq!(report.len(), usize::from(u16::from_le_bytes([hid[7], hid[8]])));
        let (mut depth, mut bits, mut size, mut count) = (0, 0, 0, 0);
        let mut rest = &report[..];
        while let [item, more @ ..] = rest {
            let len = [0, 1, 2, 4][usize::from(item & 3)];
            let value = more[..len].iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            match item & 0xfc {
                0xa0 => depth += 1,
                0xc0 => depth -= 1,
                0x74 => size = value,
                0x94 => count = value,
                0x80 => bits += size * count,
                _ => {}
            }
            rest = &more[len..];
        }
        assert_eq!((depth, bits), (0, if address == TABLET_ADDRESS { 48 } else { 64 }));
        assert_eq!(host.request(address, 0x80, 6, 0x300, 0, 255).unwrap(), [4, 3, 9, 4]);
        let name = host.request(address, 0x80, 6, 0x302, 0x409, 255).unwrap();
        let name: Vec<u16> = name[2..].chunks(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
        let expect = if address == TABLET_ADDRESS { "USB tablet" } else { "USB keyboard" };
        assert_eq!(String::from_utf16(&name).unwrap(), expect);
    }
}

#[test]
fn what_there_is_not_stalls_and_the_next_request_works() {
    let mut host = Host::configured();
    for (kind, request, value, index, length) in [
        (0x80, 6, 0x600, 0, 10),      // device qualifier: of high-speed devices
        (0x80, 6, 0x303, 0x409, 255), // a string that there is not
        (0x80, 6, 0x302, 0x407, 255), // in German
        (0x80, 6, 0x201, 0, 255),     // a second configuration
        (0x00, 7, 0x100, 0, 0),       // SET_DESCRIPTOR
        (0x82, 12, 0, 0x81, 2),       // SYNCH_FRAME
        (0x00, 9, 2, 0, 0),           // SET_CONFIGURATION 2
        (0x01, 11, 1, 0, 0),          // SET_INTERFACE, alternate 1
        (0x81, 10, 0, 1, 1),          // GET_INTERFACE of interface 1
        (0x00, 3, 2, 0, 0),           // TEST_MODE
        (0x02, 3, 0, 0x82, 0),        // an endpoint that there is not
        (0x82, 0, 0, 0x01, 2),
        (0xa1, 3, 0, 0, 1),      // GET_PROTOCOL of a tablet
        (0x21, 11, 0, 0, 0),     // SET_PROTOCOL
        (0xc0, 6, 0x100, 0, 18), // vendor
        (0xa1, 1, 0x300, 0, 8),  // a feature report
        (0x00, 5, 0x80, 0, 0),   // an address that is none
    ] {
        assert_eq!(host.request(TABLET_ADDRESS, kind, request, value, index, length), Err(()), "{kind:x} {request}");
        assert_eq!(host.request(TABLET_ADDRESS, 0x80, 8, 0, 0, 1), Ok(vec![1]), "after {kind:x} {request}");
    }
    // Data that nobody takes.
    assert_eq!(host.control(TABLET_ADDRESS, [0x21, 9, 0, 2, 0, 0, 1, 0], &[1]), Err(()));
    assert_eq!(host.control(KEYBOARD_ADDRESS, [0x21, 9, 0, 2, 0, 0, 16, 0], &[1; 16]), Err(()));
}

#[test]
fn a_function_without_a_configuration_has_no_interface() {
    let mut host = Host::configured();
    host.request(TABLET_ADDRESS, 0, 9, 0, 0, 0).unwrap();
    assert_eq!(host.request(TABLET_ADDRESS, 0x80, 8, 0, 0, 1), Ok(vec![0]));
    assert_eq!(host.request(TABLET_ADDRESS, 0x81, 0, 0, 0, 2), Err(()));
    assert_eq!(host.request(TABLET_ADDRESS, 0x82, 0, 0, 0x81, 2), Err(()));
    assert_eq!(host.request(TABLET_ADDRESS, 0x82, 0, 0, 0, 2), Ok(vec![0, 0]));
    host.poll(TABLET_ADDRESS, false, 8);
    host.frames(4);
    let control = host.td(0).control;
    assert!(control.stalled() && control.timeout() && control.errors() == 0, "nobody answers: {control:?}");
}

#[test]
fn an_endpoint_is_halted_until_it_is_told_to_go_on_with_data_0() {
    let mut host = Host::configured();
    host.poll(TABLET_ADDRESS, false, 8);
    host.input(InputEvent::Pointer { x: Some(1), y: Some(1), dz: 0, buttons: 0 });
    host.frames(1);
    assert!(host.report().is_some());
    host.request(TABLET_ADDRESS, 0x02, 3, 0, 0x81, 0).unwrap();
    assert_eq!(host.request(TABLET_ADDRESS, 0x82, 0, 0, 0x81, 2), Ok(vec![1, 0]));
    host.poll(TABLET_ADDRESS, true, 8);
    host.frames(1);
    assert!(host.td(0).control.stalled());
    host.request(TABLET_ADDRESS, 0x02, 1, 0, 0x81, 0).unwrap();
    assert_eq!(host.request(TABLET_ADDRESS, 0x82, 0, 0, 0x81, 2), Ok(vec![0, 0]));
    host.poll(TABLET_ADDRESS, false, 8);
    host.input(InputEvent::Pointer { x: Some(2), y: Some(2), dz: 0, buttons: 0 });
    host.frames(1);
    assert_eq!(host.report(), Some(vec![0, 2, 0, 2, 0, 0]));
}

#[test]
fn hid_requests_of_the_keyboard() {
    let mut host = Host::configured();
    assert_eq!(host.request(KEYBOARD_ADDRESS, 0xa1, 3, 0, 0, 1), Ok(vec![1]), "report protocol");
    host.request(KEYBOARD_ADDRESS, 0x21, 11, 0, 0, 0).unwrap();
    assert_eq!(host.request(KEYBOARD_ADDRESS, 0xa1, 3, 0, 0, 1), Ok(vec![0]), "boot protocol");
    assert_eq!(host.request(KEYBOARD_ADDRESS, 0xa1, 2, 0, 0, 1), Ok(vec![125]), "500 ms");
    host.request(KEYBOARD_ADDRESS, 0x21, 10, 0x0100, 0, 0).unwrap();
    assert_eq!(host.request(KEYBOARD_ADDRESS, 0xa1, 2, 0, 0, 1), Ok(vec![1]));
    assert_eq!(host.request(KEYBOARD_ADDRESS, 0xa1, 1, 0x100, 0, 8), Ok(vec![0; 8]));
    // LEDs: Num Lock and Scroll Lock; a PS/2 keyboard numbers them otherwise.
    assert_eq!(host.control(KEYBOARD_ADDRESS, [0x21, 9, 0, 2, 0, 0, 1, 0], &[0x05]), Ok(vec![]));
    assert_eq!(host.bench.device.leds(), 0b011);
    assert_eq!(host.request(KEYBOARD_ADDRESS, 0xa1, 1, 0x200, 0, 1), Ok(vec![5]));
    assert_eq!(host.control(KEYBOARD_ADDRESS, [0x21, 9, 0, 2, 0, 0, 1, 0], &[0x02]), Ok(vec![]));
    assert_eq!(host.bench.device.leds(), 0b100, "Caps Lock");
}

#[test]
fn the_idle_rate_says_how_often_a_report_is_repeated() {
    let mut host = Host::configured();
    host.request(KEYBOARD_ADDRESS, 0x21, 10, 0x0500, 0, 0).unwrap();
    host.key(0x1e, true);
    host.poll(KEYBOARD_ADDRESS, false, 8);
    host.frames(1);
    assert_eq!(host.report(), Some(vec![0, 0, 4, 0, 0, 0, 0, 0]));
    host.poll(KEYBOARD_ADDRESS, true, 8);
    host.frames(19);
    assert_eq!(host.report(), None);
    // A few frames late, as nothing happened for a while.
    host.frames(5);
    assert_eq!(host.report(), Some(vec![0, 0, 4, 0, 0, 0, 0, 0]), "after 20 ms");
    host.request(KEYBOARD_ADDRESS, 0x21, 10, 0, 0, 0).unwrap();
    host.poll(KEYBOARD_ADDRESS, false, 8);
    host.frames(3000);
    assert_eq!(host.report(), None, "never");
}
