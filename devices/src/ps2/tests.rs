use super::*;
use crate::testing::{Bench, Rng};

type Ps2 = Bench<Ps2Controller>;

const FULL: u8 = 0x01;
const FROM_MOUSE: u8 = 0x20;

fn bench() -> Ps2 {
    Bench::new(Ps2Controller::new())
}

/// The controller after firmware's set-up: self test passed, both interfaces and interrupts enabled.
fn set_up(translate: bool) -> Ps2 {
    let mut ps2 = bench();
    assert_eq!(command(&mut ps2, 0xaa), 0x55);
    ps2.outb(0x64, 0x60);
    ps2.outb(0x60, if translate { 0x47 } else { 0x07 });
    ps2.advance(BYTE_GAP);
    ps2
}

/// Writes a controller command and reads its response.
fn command(ps2: &mut Ps2, byte: u8) -> u8 {
    ps2.outb(0x64, byte);
    assert_eq!(ps2.inb(0x64) & FULL, FULL, "the response to {byte:02x} is in the output buffer at once");
    ps2.inb(0x60)
}

/// Reads all bytes that arrive: (byte, from the mouse).
fn drain(ps2: &mut Ps2) -> Vec<(u8, bool)> {
    let mut bytes = Vec::new();
    for _ in 0..200 {
        let status = ps2.inb(0x64);
        if status & FULL != 0 {
            bytes.push((ps2.inb(0x60), status & FROM_MOUSE != 0));
        } else {
            ps2.advance(BYTE_GAP);
            if ps2.inb(0x64) & FULL == 0 {
                break;
            }
        }
    }
    bytes
}

fn keyboard_bytes(ps2: &mut Ps2) -> Vec<u8> {
    drain(ps2).into_iter().map(|(byte, mouse)| if mouse { panic!("{byte:02x} from the mouse") } else { byte }).collect()
}

fn mouse_bytes(ps2: &mut Ps2) -> Vec<u8> {
    drain(ps2).into_iter().map(|(byte, mouse)| if mouse { byte } else { panic!("{byte:02x} from keyboard") }).collect()
}

fn to_keyboard(ps2: &mut Ps2, byte: u8) -> Vec<u8> {
    ps2.outb(0x60, byte);
    keyboard_bytes(ps2)
}

fn to_mouse(ps2: &mut Ps2, byte: u8) -> Vec<u8> {
    ps2.outb(0x64, 0xd4);
    ps2.outb(0x60, byte);
    mouse_bytes(ps2)
}

fn key(ps2: &mut Ps2, code: u16, down: bool) {
    ps2.call(|d, cx| Device::wake(d, cx, Wake::Input(InputEvent::Key { code, down })));
}

fn tap(ps2: &mut Ps2, code: u16) -> Vec<u8> {
    key(ps2, code, true);
    key(ps2, code, false);
    keyboard_bytes(ps2)
}

fn mouse(ps2: &mut Ps2, dx: i32, dy: i32, dz: i32, buttons: u8) {
    ps2.call(|d, cx| Device::wake(d, cx, Wake::Input(InputEvent::Mouse { dx, dy, dz, buttons })));
}

#[test]
fn the_ports_are_named_at_every_width() {
    let controller = Ps2Controller::new();
    for width in [1, 2, 4] {
        for (tag, name) in [(DATA_TAG, "Output/Input Buffer"), (COMMAND_TAG, "Status/Command")] {
            assert_eq!(controller.register_name(Access { tag, offset: 0, width }), Some(name));
        }
    }
}

#[test]
fn self_and_interface_tests_pass_after_power_on() {
    let mut ps2 = bench();
    assert_eq!(ps2.inb(0x64), 0x10, "only the not-locked bit is set");
    assert_eq!(command(&mut ps2, 0xaa), 0x55);
    assert_eq!(ps2.inb(0x64) & 0x04, 0x04, "the system flag");
    for (byte, answer) in [(0xab, 0), (0xa9, 0), (0xa4, 0xf1), (0xc0, 0xa0), (0x20, 0x34)] {
        assert_eq!(command(&mut ps2, byte), answer, "{byte:02x}");
    }
    assert!(!ps2.irq(KEYBOARD_IRQ));
    assert_eq!(to_keyboard(&mut ps2, 0xff), [0xfa, 0xaa]);
}

#[test]
fn the_command_byte_gates_interfaces_and_interrupts() {
    let mut ps2 = set_up(true);
    for (disable, enable, bit) in [(0xad, 0xae, 0x10), (0xa7, 0xa8, 0x20)] {
        ps2.outb(0x64, disable);
        assert_eq!(command(&mut ps2, 0x20), 0x47 | bit);
        ps2.outb(0x64, enable);
        assert_eq!(command(&mut ps2, 0x20), 0x47);
    }
    ps2.advance(BYTE_GAP);
    ps2.outb(0x64, 0xad);
    key(&mut ps2, 0x1e, true);
    assert_eq!(ps2.inb(0x64) & FULL, 0, "the keyboard interface is disabled");
    ps2.outb(0x64, 0xae);
    assert!(ps2.irq(KEYBOARD_IRQ));
    assert_eq!(ps2.inb(0x60), 0x1e);
    assert!(!ps2.irq(KEYBOARD_IRQ));
    ps2.outb(0x64, 0x60);
    ps2.outb(0x60, 0x44);
    ps2.advance(BYTE_GAP);
    key(&mut ps2, 0x1e, false);
    assert!(!ps2.irq(KEYBOARD_IRQ), "the interrupt is disabled");
    assert_eq!(ps2.inb(0x64) & FULL, FULL);
}

#[test]
fn ram_bytes_1_to_31_read_back() {
    let mut ps2 = bench();
    for n in 1..0x20 {
        ps2.outb(0x64, 0x60 + n);
        ps2.outb(0x60, 0x80 | n);
    }
    for n in 1..0x20 {
        assert_eq!(command(&mut ps2, 0x20 + n), 0x80 | n);
    }
}

#[test]
fn linux_probes_find_an_aux_port_without_a_multiplexer() {
    let mut ps2 = set_up(true);
    for byte in [0x5a, 0xf0, 0x56, 0xa4, 0xa5] {
        ps2.outb(0x64, 0xd3);
        ps2.outb(0x60, byte);
        assert_eq!(ps2.inb(0x64) & (FULL | FROM_MOUSE), FULL | FROM_MOUSE);
        assert!(ps2.irq(MOUSE_IRQ) && !ps2.irq(KEYBOARD_IRQ));
        assert_eq!(ps2.inb(0x60), byte, "echoed unchanged, unlike by a multiplexer");
        assert!(!ps2.irq(MOUSE_IRQ));
    }
    ps2.outb(0x64, 0xd2);
    ps2.outb(0x60, 0x1c);
    assert_eq!(ps2.inb(0x64) & (FULL | FROM_MOUSE), FULL);
    assert!(ps2.irq(KEYBOARD_IRQ));
    assert_eq!(ps2.inb(0x60), 0x1c, "not translated");
}

#[test]
fn the_output_port_controls_a20_and_reset() {
    let mut ps2 = bench();
    for (value, a20) in [(0xdf, true), (0xdd, false), (0x03, true)] {
        ps2.outb(0x64, 0xd1);
        ps2.outb(0x60, value);
        assert_eq!(command(&mut ps2, 0xd0) & 0x03, 1 | u8::from(a20) << 1, "{value:02x}");
    }
    ps2.outb(0x64, 0xdd);
    assert_eq!(command(&mut ps2, 0xd0) & 2, 0);
    ps2.outb(0x64, 0xdf);
    assert_eq!(command(&mut ps2, 0xd0) & 2, 2);
    assert_eq!(ps2.effects, []);
    for byte in 0xf0..=0xff_u8 {
        ps2.effects.clear();
        ps2.outb(0x64, byte);
        let reset = byte & 1 == 0;
        assert_eq!(ps2.effects.len(), usize::from(reset), "{byte:02x}");
    }
    ps2.outb(0x64, 0xd1);
    ps2.outb(0x60, 0x02);
    assert_eq!(ps2.effects, [Effect::Reset(ResetKind::Init)]);
}

#[test]
fn a_scan_code_reads_again_until_the_next_byte_is_loaded() {
    let mut ps2 = set_up(true);
    key(&mut ps2, 0x1e, true);
    key(&mut ps2, 0x30, true);
    assert_eq!(ps2.inb(0x60), 0x1e);
    assert_eq!(ps2.inb(0x60), 0x1e, "a chained handler reads the same byte");
    assert!(!ps2.irq(KEYBOARD_IRQ));
    ps2.advance(BYTE_GAP);
    assert!(ps2.irq(KEYBOARD_IRQ));
    assert_eq!(ps2.inb(0x60), 0x30);
    assert_eq!(ps2.edges[&KEYBOARD_IRQ], 2, "each byte makes an edge");
}

#[test]
fn every_key_is_translated_back_to_its_set_1_code() {
    let mut ps2 = set_up(true);
    for code in (0x01..0x59).filter(|code| *code != 0x55).chain(0x5b..0x5e) {
        assert_eq!(tap(&mut ps2, code), [code as u8, code as u8 | 0x80], "{code:02x}");
    }
    for code in [0x1c, 0x1d, 0x35, 0x38, 0x47, 0x48, 0x49, 0x4b, 0x4d, 0x4f, 0x50, 0x51, 0x52, 0x53, 0x5b, 0x5c, 0x5d] {
        assert_eq!(tap(&mut ps2, 0x100 | code), [0xe0, code as u8, 0xe0, code as u8 | 0x80], "e0 {code:02x}");
    }
}

#[test]
fn print_screen_and_pause_have_their_sequence_for_each_set_and_modifier() {
    const ALT: u16 = 0x38;
    const CONTROL: u16 = 0x1d;
    const SHIFT: u16 = 0x2a;
    #[rustfmt::skip]
    let table: &[(u8, u16, u16, &[u8])] = &[
        (1, PRINT_SCREEN, 0, &[0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa]),
        (1, PRINT_SCREEN, SHIFT, &[0xe0, 0x37, 0xe0, 0xb7]),
        (1, PRINT_SCREEN, CONTROL, &[0xe0, 0x37, 0xe0, 0xb7]),
        (1, PRINT_SCREEN, ALT, &[0x54, 0xd4]),
        (1, PAUSE, 0, &[0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]),
        (1, PAUSE, CONTROL, &[0xe0, 0x46, 0xe0, 0xc6]),
        (2, PRINT_SCREEN, 0, &[0xe0, 0x12, 0xe0, 0x7c, 0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12]),
        (2, PRINT_SCREEN, SHIFT, &[0xe0, 0x7c, 0xe0, 0xf0, 0x7c]),
        (2, PRINT_SCREEN, ALT, &[0x84, 0xf0, 0x84]),
        (2, PAUSE, 0, &[0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77]),
        (2, PAUSE, CONTROL, &[0xe0, 0x7e, 0xe0, 0xf0, 0x7e]),
        (3, PRINT_SCREEN, 0, &[0x57]),
        (3, PAUSE, 0, &[0x62]),
    ];
    for &(set, code, modifier, expect) in table {
        let mut ps2 = set_up(false);
        to_keyboard(&mut ps2, 0xf0);
        assert_eq!(to_keyboard(&mut ps2, set), [0xfa]);
        if modifier != 0 {
            key(&mut ps2, modifier, true);
            keyboard_bytes(&mut ps2);
        }
        assert_eq!(tap(&mut ps2, code), expect, "set {set}, {code:x} with {modifier:x}");
    }
}

const PAUSE: u16 = 0x1e1;
const PRINT_SCREEN: u16 = 0x137;

#[test]
fn keyboard_commands_get_the_references_responses() {
    let table: &[(&[u8], &[u8])] = &[
        (&[0xee], &[0xee]),             // ECHO
        (&[0xf2], &[0xfa, 0xab, 0x83]), // READ_ID
        (&[0xfe], &[0x83]),             // RESEND
        (&[0xed], &[0xfa]),             // SET_LEDS
        (&[0x07], &[0xfa]),
        (&[0xed, 0xf4], &[0xfa]), // a command replaces the expected argument
        (&[0xf3], &[0xfa]),       // SET_TYPEMATIC
        (&[0x00], &[0xfa]),
        (&[0xf3], &[0xfa]),
        (&[0x80], &[0xfe]),       // an invalid argument
        (&[0xf0], &[0xfa]),       // SELECT_SET
        (&[0x00], &[0xfa, 0x02]), // reads the set
        (&[0xf0], &[0xfa]),
        (&[0x04], &[0xfe]), // an invalid set
        (&[0xf5], &[0xfa]), // DEFAULT_DISABLE
        (&[0xf4], &[0xfa]), // ENABLE
        (&[0xf6], &[0xfa]), // SET_DEFAULT
        (&[0xef], &[0xfe]), // an unknown command
        (&[0x12], &[0xfe]),
        (&[0xff], &[0xfa, 0xaa]), // RESET
    ];
    let mut ps2 = set_up(false);
    for (bytes, answer) in table {
        for &byte in *bytes {
            ps2.outb(0x60, byte);
            if byte == 0xed && bytes.len() > 1 {
                keyboard_bytes(&mut ps2);
            }
        }
        assert_eq!(keyboard_bytes(&mut ps2), *answer, "{bytes:02x?}");
    }
    let mut ps2 = set_up(true);
    assert_eq!(to_keyboard(&mut ps2, 0xf2), [0xfa, 0xab, 0x41], "translated");
    to_keyboard(&mut ps2, 0xed);
    to_keyboard(&mut ps2, 5);
    assert_eq!(ps2.device.leds(), 5);
}

#[test]
fn a_disabled_keyboard_sends_no_scan_codes() {
    let mut ps2 = set_up(true);
    to_keyboard(&mut ps2, 0xf5);
    assert_eq!(tap(&mut ps2, 0x1e), []);
    to_keyboard(&mut ps2, 0xf6);
    assert_eq!(tap(&mut ps2, 0x1e), [], "SET_DEFAULT does not enable scanning");
    to_keyboard(&mut ps2, 0xf4);
    assert_eq!(tap(&mut ps2, 0x1e), [0x1e, 0x9e]);
}

#[test]
fn set_3_keys_follow_their_key_mode() {
    let mut ps2 = set_up(false);
    to_keyboard(&mut ps2, 0xf0);
    to_keyboard(&mut ps2, 3);
    assert_eq!(tap(&mut ps2, 0x1e), [0x1c], "a letter sends only make codes");
    assert_eq!(tap(&mut ps2, 0x2a), [0x12, 0xf0, 0x12], "a shift key sends make and break codes");
    to_keyboard(&mut ps2, 0xfc);
    assert_eq!(to_keyboard(&mut ps2, 0x1c), [0xfa]);
    assert_eq!(to_keyboard(&mut ps2, 0xf4), [0xfa]);
    assert_eq!(tap(&mut ps2, 0x1e), [0x1c, 0xf0, 0x1c]);
    to_keyboard(&mut ps2, 0xf9);
    assert_eq!(tap(&mut ps2, 0x2a), [0x12]);
    to_keyboard(&mut ps2, 0xf8);
    assert_eq!(tap(&mut ps2, 0x30), [0x32, 0xf0, 0x32]);
}

#[test]
fn a_full_queue_ends_with_the_overrun_code() {
    let mut ps2 = set_up(false);
    for _ in 0..20 {
        key(&mut ps2, 0x1e, true);
        key(&mut ps2, 0x1e, false);
    }
    let bytes = keyboard_bytes(&mut ps2);
    assert!(bytes.len() <= 17, "16 in the queue and 1 in the output buffer");
    assert_eq!(bytes.last(), Some(&0));
    assert_eq!(tap(&mut ps2, 0x1e), [0x1c, 0xf0, 0x1c], "keys work after the overrun");
}

#[test]
fn sequences_that_do_not_fit_leave_one_overrun_code() {
    let mut ps2 = set_up(false);
    for _ in 0..3 {
        key(&mut ps2, 0x1e, true);
        key(&mut ps2, 0x1e, false);
    }
    for _ in 0..3 {
        key(&mut ps2, PAUSE, true);
    }
    let expect = [[0x1c, 0xf0, 0x1c].repeat(3), vec![0]].concat();
    assert_eq!(keyboard_bytes(&mut ps2), expect);
}

#[test]
fn a_held_key_repeats_until_it_is_released() {
    let mut ps2 = set_up(true);
    key(&mut ps2, 0x1e, true);
    assert_eq!(ps2.inb(0x60), 0x1e);
    ps2.advance(490_000_000);
    assert_eq!(ps2.inb(0x64) & FULL, 0);
    ps2.advance(20_000_000);
    assert_eq!(keyboard_bytes(&mut ps2), [0x1e]);
    ps2.advance(100_000_000);
    assert_eq!(keyboard_bytes(&mut ps2), [0x1e]);
    // A repetition by the host restarts the typematic delay.
    key(&mut ps2, 0x1e, true);
    assert_eq!(keyboard_bytes(&mut ps2), [0x1e]);
    ps2.advance(400_000_000);
    assert_eq!(keyboard_bytes(&mut ps2), []);
    key(&mut ps2, 0x1e, false);
    assert_eq!(keyboard_bytes(&mut ps2), [0x9e]);
    ps2.advance(5_000_000_000);
    assert_eq!(keyboard_bytes(&mut ps2), []);
    assert!(ps2.timers.is_empty());
}

#[test]
fn mouse_commands_get_the_references_responses() {
    let table: &[(u8, &[u8])] = &[
        (0xff, &[0xfa, 0xaa, 0x00]),   // RESET
        (0xf2, &[0xfa, 0x00]),         // READ_DEVICE_TYPE
        (0xe9, &[0xfa, 0x00, 2, 100]), // STATUS_REQUEST
        (0xe8, &[0xfa]),               // SET_RESOLUTION
        (0x03, &[0xfa]),
        (0xe7, &[0xfa]), // SET_SCALING
        (0xf4, &[0xfa]), // ENABLE
        (0xe9, &[0xfa, 0x30, 3, 100]),
        (0xe6, &[0xfa]),             // RESET_SCALING
        (0xf3, &[0xfa]),             // SET_SAMPLING_RATE
        (0x05, &[0xfe]),             // an invalid rate: RESEND
        (0x05, &[0xfc]),             // again: ERROR
        (0xf0, &[0xfa]),             // SET_REMOTE_MODE
        (0xeb, &[0xfa, 0x08, 0, 0]), // READ_DATA
        (0xe9, &[0xfa, 0x60, 3, 100]),
        (0xea, &[0xfa]), // SET_STREAM_MODE
        (0xee, &[0xfa]), // SET_WRAP_MODE
        (0xf2, &[0xf2]), // echoed
        (0x42, &[0x42]),
        (0xec, &[0xfa]), // RESET_WRAP_MODE
        (0xe1, &[0xfe]), // an unknown command
        (0xf6, &[0xfa]), // SET_DEFAULT
        (0xe9, &[0xfa, 0x00, 2, 100]),
        (0xfe, &[100]), // RESEND
    ];
    let mut ps2 = set_up(true);
    for &(byte, answer) in table {
        assert_eq!(to_mouse(&mut ps2, byte), answer, "{byte:02x}");
    }
}

fn set_rates(ps2: &mut Ps2, rates: [u8; 3]) {
    for rate in rates {
        assert_eq!(to_mouse(ps2, 0xf3), [0xfa]);
        assert_eq!(to_mouse(ps2, rate), [0xfa]);
    }
}

#[test]
fn rate_sequences_switch_to_the_intellimouse_types() {
    let mut ps2 = set_up(true);
    set_rates(&mut ps2, [200, 100, 80]);
    assert_eq!(to_mouse(&mut ps2, 0xf2), [0xfa, 3]);
    to_mouse(&mut ps2, 0xf4);
    mouse(&mut ps2, 1, 2, -1, 0);
    assert_eq!(mouse_bytes(&mut ps2), [0x08, 1, 2, 0xff]);
    set_rates(&mut ps2, [200, 200, 80]);
    assert_eq!(to_mouse(&mut ps2, 0xf2), [0xfa, 4]);
    ps2.advance(1_000_000_000);
    mouse(&mut ps2, -1, -2, 1, 0x1f);
    assert_eq!(mouse_bytes(&mut ps2), [0x3f, 0xff, 0xfe, 0x31]);
    to_mouse(&mut ps2, 0xff);
    assert_eq!(to_mouse(&mut ps2, 0xf2), [0xfa, 0]);
}

#[test]
fn a_click_between_two_samples_is_reported() {
    let mut ps2 = set_up(true);
    to_mouse(&mut ps2, 0xf4);
    mouse(&mut ps2, 5, 0, 0, 0);
    mouse(&mut ps2, 5, 0, 0, 0);
    mouse(&mut ps2, 0, 0, 0, 1);
    mouse(&mut ps2, 0, 0, 0, 0);
    let mut bytes = Vec::new();
    for _ in 0..10 {
        bytes.extend(mouse_bytes(&mut ps2));
        ps2.advance(10_000_000);
    }
    assert_eq!(bytes, [0x08, 5, 0, 0x08, 5, 0, 0x09, 0, 0, 0x08, 0, 0]);
}

#[test]
fn large_movements_span_several_reports_and_lost_counts_set_the_overflow_bits() {
    let mut ps2 = set_up(true);
    to_mouse(&mut ps2, 0xf4);
    mouse(&mut ps2, 300, -300, 0, 0);
    let mut sum = (0i32, 0i32);
    for _ in 0..4 {
        for packet in mouse_bytes(&mut ps2).chunks(3) {
            assert_eq!(packet[0] & 0xc8, 0x08);
            sum.0 += i32::from(packet[1]) - (i32::from(packet[0]) << 4 & 0x100);
            sum.1 += i32::from(packet[2]) - (i32::from(packet[0]) << 3 & 0x100);
        }
        ps2.advance(10_000_000);
    }
    assert_eq!(sum, (300, -300));
    ps2.advance(1_000_000_000);
    for _ in 0..100 {
        mouse(&mut ps2, i32::MAX, i32::MIN, i32::MAX, 0);
    }
    mouse_bytes(&mut ps2);
    ps2.advance(100_000_000);
    assert_eq!(mouse_bytes(&mut ps2)[0] & 0xc0, 0xc0);
}

#[test]
fn a_full_output_buffer_arms_no_expired_timer() {
    let mut ps2 = set_up(true);
    to_mouse(&mut ps2, 0xf4);
    key(&mut ps2, 0x1e, true);
    mouse(&mut ps2, 1, 1, 0, 0);
    mouse(&mut ps2, 1, 1, 0, 1);
    let now = ps2.now();
    ps2.call(|d, cx| Device::wake(d, cx, Wake::Timer(SAMPLE)));
    assert!(ps2.timers.values().all(|at| *at > now), "a timer in the past would fire again and again");
}

#[test]
fn random_input_and_random_commands_leave_a_valid_state() {
    for seed in 0..4 {
        let mut rng = Rng(seed);
        let mut ps2 = set_up(true);
        for _ in 0..20_000 {
            match rng.below(6) {
                0 => key(&mut ps2, rng.next_u64() as u16 >> rng.below(8), rng.below(2) == 0),
                1 => mouse(
                    &mut ps2,
                    rng.next_u64() as i32,
                    rng.next_u64() as i32 >> rng.below(31),
                    1,
                    rng.next_u64() as u8,
                ),
                2 => ps2.outb(0x64, rng.next_u64() as u8),
                3 => ps2.outb(0x60, rng.next_u64() as u8),
                4 => drop(ps2.inb(0x60)),
                _ => ps2.advance(rng.below(30_000_000)),
            }
        }
        let saved = Device::save(&ps2.device);
        Device::load(&mut ps2.device, saved).expect("a device accepts its own state");
    }
}

#[test]
fn an_unknown_controller_command_is_a_guest_error() {
    let mut ps2 = bench();
    ps2.outb(0x64, 0xff);
    ps2.outb(0x64, 0xae);
    assert_eq!(ps2.guest_errors, [""; 0]);
    ps2.outb(0x64, 0xb0);
    assert_eq!(ps2.guest_errors, ["unknown controller command"]);
}
