//! Control transfers: standard and HID class requests (USB 1.1, 9.4; HID 1.11, 7).
use super::*;

#[test]
fn descriptors_match_the_functions() {
    let mut driver = Driver::configured();
    for (address, protocol, interval) in [(TABLET_ADDRESS, (0, 0), 8), (KEYBOARD_ADDRESS, (1, 1), 10)] {
        let device = driver.request(address, 0x80, 6, 0x100, 0, 64).unwrap();
        assert_eq!(device, [18, 1, 0x10, 1, 0, 0, 0, 8, 0x27, 6, 1, 0, 0, 1, 1, 2, 0, 1]);
        assert_eq!(driver.request(address, 0x80, 6, 0x100, 0, 8).unwrap(), device[..8], "wLength limits the data");
        let all = driver.request(address, 0x80, 6, 0x200, 0, 255).unwrap();
        assert_eq!(all.len(), 34);
        assert_eq!(all[..9], [9, 2, 34, 0, 1, 1, 0, 0xa0, 50]);
        assert_eq!(all[9..18], [9, 4, 0, 0, 1, 3, protocol.0, protocol.1, 0]);
        assert_eq!(all[27..], [7, 5, 0x81, 3, 8, 0, interval]);
        assert_eq!(driver.request(address, 0x80, 6, 0x200, 0, 9).unwrap(), all[..9]);
        // The HID descriptor, and a report descriptor of the length given there, whose collections and items balance.
        let hid = driver.request(address, 0x81, 6, 0x2100, 0, 9).unwrap();
        assert_eq!(hid, all[18..27]);
        let report = driver.request(address, 0x81, 6, 0x2200, 0, 255).unwrap();
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
        assert_eq!(driver.request(address, 0x80, 6, 0x300, 0, 255).unwrap(), [4, 3, 9, 4]);
        let name = driver.request(address, 0x80, 6, 0x302, 0x409, 255).unwrap();
        let name: Vec<u16> = name[2..].chunks(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
        let expect = if address == TABLET_ADDRESS { "USB tablet" } else { "USB keyboard" };
        assert_eq!(String::from_utf16(&name).unwrap(), expect);
    }
}

#[test]
fn unsupported_requests_stall_and_the_next_request_works() {
    let mut driver = Driver::configured();
    for (kind, request, value, index, length) in [
        (0x80, 6, 0x600, 0, 10),      // GET_DESCRIPTOR, device qualifier (high-speed devices only)
        (0x80, 6, 0x303, 0x409, 255), // GET_DESCRIPTOR, string 3, which does not exist
        (0x80, 6, 0x302, 0x407, 255), // GET_DESCRIPTOR, string 2 in German
        (0x80, 6, 0x201, 0, 255),     // GET_DESCRIPTOR, second configuration
        (0x00, 7, 0x100, 0, 0),       // SET_DESCRIPTOR
        (0x82, 12, 0, 0x81, 2),       // SYNCH_FRAME
        (0x00, 9, 2, 0, 0),           // SET_CONFIGURATION 2
        (0x01, 11, 1, 0, 0),          // SET_INTERFACE, alternate 1
        (0x81, 10, 0, 1, 1),          // GET_INTERFACE of interface 1
        (0x00, 3, 2, 0, 0),           // SET_FEATURE, TEST_MODE
        (0x02, 3, 0, 0x82, 0),        // SET_FEATURE of endpoint 2 IN, which does not exist
        (0x82, 0, 0, 0x01, 2),
        (0xa1, 3, 0, 0, 1),      // GET_PROTOCOL of the tablet
        (0x21, 11, 0, 0, 0),     // SET_PROTOCOL of the tablet
        (0xc0, 6, 0x100, 0, 18), // a vendor request
        (0xa1, 1, 0x300, 0, 8),  // GET_REPORT, feature report
        (0x00, 5, 0x80, 0, 0),   // SET_ADDRESS of an illegal address
    ] {
        assert_eq!(driver.request(TABLET_ADDRESS, kind, request, value, index, length), Err(()), "{kind:x} {request}");
        assert_eq!(driver.request(TABLET_ADDRESS, 0x80, 8, 0, 0, 1), Ok(vec![1]), "after {kind:x} {request}");
    }
    // OUT data stages that no request has: SET_REPORT of the tablet; 16 bytes of LEDs.
    assert_eq!(driver.control(TABLET_ADDRESS, [0x21, 9, 0, 2, 0, 0, 1, 0], &[1]), Err(()));
    assert_eq!(driver.control(KEYBOARD_ADDRESS, [0x21, 9, 0, 2, 0, 0, 16, 0], &[1; 16]), Err(()));
}

#[test]
fn an_unconfigured_function_has_no_interface() {
    let mut driver = Driver::configured();
    driver.request(TABLET_ADDRESS, 0, 9, 0, 0, 0).unwrap();
    assert_eq!(driver.request(TABLET_ADDRESS, 0x80, 8, 0, 0, 1), Ok(vec![0]));
    assert_eq!(driver.request(TABLET_ADDRESS, 0x81, 0, 0, 0, 2), Err(()));
    assert_eq!(driver.request(TABLET_ADDRESS, 0x82, 0, 0, 0x81, 2), Err(()));
    assert_eq!(driver.request(TABLET_ADDRESS, 0x82, 0, 0, 0, 2), Ok(vec![0, 0]));
    driver.poll(TABLET_ADDRESS, false, 8);
    driver.frames(4);
    let status = driver.td(0).status;
    assert!(status.stalled() && status.crc_timeout() && status.c_err() == 0, "the endpoint does not exist: {status:?}");
}

#[test]
fn clear_feature_ends_a_halt_and_resets_the_data_toggle() {
    let mut driver = Driver::configured();
    driver.poll(TABLET_ADDRESS, false, 8);
    driver.input(InputEvent::Pointer { x: Some(1), y: Some(1), dz: 0, buttons: 0 });
    driver.frames(1);
    assert!(driver.report().is_some());
    driver.request(TABLET_ADDRESS, 0x02, 3, 0, 0x81, 0).unwrap();
    assert_eq!(driver.request(TABLET_ADDRESS, 0x82, 0, 0, 0x81, 2), Ok(vec![1, 0]));
    driver.poll(TABLET_ADDRESS, true, 8);
    driver.frames(1);
    assert!(driver.td(0).status.stalled());
    driver.request(TABLET_ADDRESS, 0x02, 1, 0, 0x81, 0).unwrap();
    assert_eq!(driver.request(TABLET_ADDRESS, 0x82, 0, 0, 0x81, 2), Ok(vec![0, 0]));
    driver.poll(TABLET_ADDRESS, false, 8);
    driver.input(InputEvent::Pointer { x: Some(2), y: Some(2), dz: 0, buttons: 0 });
    driver.frames(1);
    assert_eq!(driver.report(), Some(vec![0, 2, 0, 2, 0, 0]));
}

#[test]
fn the_keyboard_answers_hid_class_requests() {
    let mut driver = Driver::configured();
    assert_eq!(driver.request(KEYBOARD_ADDRESS, 0xa1, 3, 0, 0, 1), Ok(vec![1]), "report protocol");
    driver.request(KEYBOARD_ADDRESS, 0x21, 11, 0, 0, 0).unwrap();
    assert_eq!(driver.request(KEYBOARD_ADDRESS, 0xa1, 3, 0, 0, 1), Ok(vec![0]), "boot protocol");
    assert_eq!(driver.request(KEYBOARD_ADDRESS, 0xa1, 2, 0, 0, 1), Ok(vec![125]), "500 ms");
    driver.request(KEYBOARD_ADDRESS, 0x21, 10, 0x0100, 0, 0).unwrap();
    assert_eq!(driver.request(KEYBOARD_ADDRESS, 0xa1, 2, 0, 0, 1), Ok(vec![1]));
    assert_eq!(driver.request(KEYBOARD_ADDRESS, 0xa1, 1, 0x100, 0, 8), Ok(vec![0; 8]));
    // LEDs: Num Lock and Scroll Lock, in the bit order of a PS/2 keyboard.
    assert_eq!(driver.control(KEYBOARD_ADDRESS, [0x21, 9, 0, 2, 0, 0, 1, 0], &[0x05]), Ok(vec![]));
    assert_eq!(driver.bench.device.leds(), 0b011);
    assert_eq!(driver.request(KEYBOARD_ADDRESS, 0xa1, 1, 0x200, 0, 1), Ok(vec![5]));
    assert_eq!(driver.control(KEYBOARD_ADDRESS, [0x21, 9, 0, 2, 0, 0, 1, 0], &[0x02]), Ok(vec![]));
    assert_eq!(driver.bench.device.leds(), 0b100, "Caps Lock");
}

#[test]
fn reports_are_repeated_at_the_idle_rate() {
    let mut driver = Driver::configured();
    driver.request(KEYBOARD_ADDRESS, 0x21, 10, 0x0500, 0, 0).unwrap();
    driver.key(0x1e, true);
    driver.poll(KEYBOARD_ADDRESS, false, 8);
    driver.frames(1);
    assert_eq!(driver.report(), Some(vec![0, 0, 4, 0, 0, 0, 0, 0]));
    driver.poll(KEYBOARD_ADDRESS, true, 8);
    driver.frames(19);
    assert_eq!(driver.report(), None);
    // The timer interval has grown because the schedule was idle, so the report is a few frames late.
    driver.frames(5);
    assert_eq!(driver.report(), Some(vec![0, 0, 4, 0, 0, 0, 0, 0]), "repeated after 20 ms");
    driver.request(KEYBOARD_ADDRESS, 0x21, 10, 0, 0, 0).unwrap();
    driver.poll(KEYBOARD_ADDRESS, false, 8);
    driver.frames(3000);
    assert_eq!(driver.report(), None, "an idle rate of 0 repeats nothing");
}
