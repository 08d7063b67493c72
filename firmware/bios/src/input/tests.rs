//! Keyboard and mouse tests against the PS/2 controller's device model.

use super::State;
use crate::testbed::{Devices, Machine};
use pcvm_devices::InputEvent;
use pcvm_firmware_rt::{FarPtr, Flags, Handoff, Regs};

const LEFT_SHIFT: u16 = 0x2a;
const RIGHT_SHIFT: u16 = 0x36;
const LEFT_CTRL: u16 = 0x1d;
const RIGHT_CTRL: u16 = 0x11d;
const LEFT_ALT: u16 = 0x38;
const RIGHT_ALT: u16 = 0x138;
const CAPS: u16 = 0x3a;
const NUM: u16 = 0x45;
const SCROLL: u16 = 0x46;
const PAUSE: u16 = 0x1e1;
const PRINT_SCREEN: u16 = 0x137;

/// Every key's words: plain, Shift, Ctrl, Alt; 0 means none. Transcribed independently of [`super::keys`] from "Scan
/// Code/Character Code Combinations" of the technical reference.
const KEYS: &[(u16, [u16; 4])] = &[
    (0x01, [0x011b, 0x011b, 0x011b, 0x01f0]),
    (0x02, [0x0231, 0x0221, 0x0000, 0x7800]),
    (0x03, [0x0332, 0x0340, 0x0300, 0x7900]),
    (0x07, [0x0736, 0x075e, 0x071e, 0x7d00]),
    (0x0b, [0x0b30, 0x0b29, 0x0000, 0x8100]),
    (0x0c, [0x0c2d, 0x0c5f, 0x0c1f, 0x8200]),
    (0x0d, [0x0d3d, 0x0d2b, 0x0000, 0x8300]),
    (0x0e, [0x0e08, 0x0e08, 0x0e7f, 0x0ef0]),
    (0x0f, [0x0f09, 0x0f00, 0x9400, 0xa500]),
    (0x10, [0x1071, 0x1051, 0x1011, 0x1000]),
    (0x19, [0x1970, 0x1950, 0x1910, 0x1900]),
    (0x1a, [0x1a5b, 0x1a7b, 0x1a1b, 0x1af0]),
    (0x1b, [0x1b5d, 0x1b7d, 0x1b1d, 0x1bf0]),
    (0x1c, [0x1c0d, 0x1c0d, 0x1c0a, 0x1cf0]),
    (0x1e, [0x1e61, 0x1e41, 0x1e01, 0x1e00]),
    (0x27, [0x273b, 0x273a, 0x0000, 0x27f0]),
    (0x28, [0x2827, 0x2822, 0x0000, 0x28f0]),
    (0x29, [0x2960, 0x297e, 0x0000, 0x29f0]),
    (0x2b, [0x2b5c, 0x2b7c, 0x2b1c, 0x2bf0]),
    (0x2c, [0x2c7a, 0x2c5a, 0x2c1a, 0x2c00]),
    (0x32, [0x326d, 0x324d, 0x320d, 0x3200]),
    (0x33, [0x332c, 0x333c, 0x0000, 0x33f0]),
    (0x35, [0x352f, 0x353f, 0x0000, 0x35f0]),
    (0x37, [0x372a, 0x372a, 0x9600, 0x37f0]),
    (0x39, [0x3920, 0x3920, 0x3920, 0x3920]),
    (0x3b, [0x3b00, 0x5400, 0x5e00, 0x6800]),
    (0x44, [0x4400, 0x5d00, 0x6700, 0x7100]),
    (0x57, [0x8500, 0x8700, 0x8900, 0x8b00]),
    (0x58, [0x8600, 0x8800, 0x8a00, 0x8c00]),
    (0x56, [0x565c, 0x567c, 0x0000, 0x0000]),
    // Keypad.
    (0x47, [0x4700, 0x4737, 0x7700, 0x0007]),
    (0x48, [0x4800, 0x4838, 0x8d00, 0x0008]),
    (0x49, [0x4900, 0x4939, 0x8400, 0x0009]),
    (0x4a, [0x4a2d, 0x4a2d, 0x8e00, 0x4af0]),
    (0x4b, [0x4b00, 0x4b34, 0x7300, 0x0004]),
    (0x4c, [0x4cf0, 0x4c35, 0x8f00, 0x0005]),
    (0x4d, [0x4d00, 0x4d36, 0x7400, 0x0006]),
    (0x4e, [0x4e2b, 0x4e2b, 0x9000, 0x4ef0]),
    (0x4f, [0x4f00, 0x4f31, 0x7500, 0x0001]),
    (0x50, [0x5000, 0x5032, 0x9100, 0x0002]),
    (0x51, [0x5100, 0x5133, 0x7600, 0x0003]),
    (0x52, [0x5200, 0x5230, 0x9200, 0x0000]),
    (0x53, [0x5300, 0x532e, 0x9300, 0x0000]),
    // Grey keys.
    (0x11c, [0xe00d, 0xe00d, 0xe00a, 0xa600]),
    (0x135, [0xe02f, 0xe02f, 0x9500, 0xa400]),
    (0x147, [0x47e0, 0x47e0, 0x77e0, 0x9700]),
    (0x148, [0x48e0, 0x48e0, 0x8de0, 0x9800]),
    (0x149, [0x49e0, 0x49e0, 0x84e0, 0x9900]),
    (0x14b, [0x4be0, 0x4be0, 0x73e0, 0x9b00]),
    (0x14d, [0x4de0, 0x4de0, 0x74e0, 0x9d00]),
    (0x14f, [0x4fe0, 0x4fe0, 0x75e0, 0x9f00]),
    (0x150, [0x50e0, 0x50e0, 0x91e0, 0xa000]),
    (0x151, [0x51e0, 0x51e0, 0x76e0, 0xa100]),
    (0x152, [0x52e0, 0x52e0, 0x92e0, 0xa200]),
    (0x153, [0x53e0, 0x53e0, 0x93e0, 0xa300]),
    // The Windows keys have no words.
    (0x15b, [0, 0, 0, 0]),
    (0x15d, [0, 0, 0, 0]),
];

fn words(word: u16) -> Vec<u16> {
    if word == 0 { vec![] } else { vec![word] }
}

#[test]
fn every_key_puts_its_word_for_each_modifier_into_the_buffer() {
    let mut machine = Machine::new();
    for &(code, [plain, shift, ctrl, alt]) in KEYS {
        for (held, word) in [
            (0, plain),
            (LEFT_SHIFT, shift),
            (RIGHT_SHIFT, shift),
            (LEFT_CTRL, ctrl),
            (RIGHT_CTRL, ctrl),
            (LEFT_ALT, alt),
            (RIGHT_ALT, alt),
        ] {
            if held != 0 {
                machine.key(held, true);
            }
            machine.tap(code);
            if held != 0 {
                machine.key(held, false);
            }
            assert_eq!(machine.typed(), words(word), "key {code:03x} with {held:03x}");
            assert_eq!(machine.bda(0x17) & 0x0f, 0, "no modifier stays set");
            assert_eq!(machine.bda(0x18) & 0x03, 0);
            assert_eq!(machine.bda(0x96), 0x10, "neither a prefix nor right Ctrl or Alt stays set");
        }
    }
}

#[test]
fn num_lock_selects_keypad_digits_and_shift_inverts_it() {
    let mut machine = Machine::new();
    machine.tap(NUM);
    machine.tap(0x48);
    machine.key(LEFT_SHIFT, true);
    machine.tap(0x48);
    machine.key(LEFT_SHIFT, false);
    machine.tap(0x148);
    assert_eq!(machine.typed(), [0x4838, 0x4800, 0x48e0]);
}

#[test]
fn caps_lock_changes_letters_only() {
    let mut machine = Machine::new();
    machine.tap(CAPS);
    machine.tap(0x1e);
    machine.tap(0x02);
    machine.tap(0x1a);
    machine.key(LEFT_SHIFT, true);
    machine.tap(0x1e);
    machine.tap(0x02);
    machine.key(LEFT_SHIFT, false);
    assert_eq!(machine.typed(), [0x1e41, 0x0231, 0x1a5b, 0x1e61, 0x0221]);
}

#[test]
fn a_held_lock_key_toggles_once_and_sets_its_led() {
    let mut machine = Machine::new();
    for (key, flag, held, light) in [(SCROLL, 0x10, 0x10, 1), (NUM, 0x20, 0x20, 2), (CAPS, 0x40, 0x40, 4)] {
        machine.key(key, true);
        // Repeats of the host's keyboard.
        machine.key(key, true);
        machine.key(key, true);
        assert_eq!(machine.bda(0x17) & 0x70, flag);
        assert_eq!(machine.bda(0x18) & 0x70, held);
        machine.key(key, false);
        assert_eq!(machine.bda(0x18) & 0x70, 0);
        machine.run(20);
        let lit = machine.hw.bus.ps2.as_ref().map(|ps2| ps2.device.leds());
        assert_eq!(lit, Some(light));
        assert_eq!(machine.bda(0x97) & 0x47, light, "the update has ended");
        machine.tap(key);
        machine.run(20);
    }
    assert!(machine.typed().is_empty());
}

#[test]
fn the_leds_follow_lock_flags_that_a_program_sets() {
    let mut machine = Machine::new();
    machine.hw.memory[0x417] = 0x40;
    machine.ax(0x16, 0x0100);
    machine.run(20);
    assert_eq!(machine.hw.bus.ps2.as_ref().map(|ps2| ps2.device.leds()), Some(4));
}

#[test]
fn functions_02h_and_12h_return_the_shift_flags() {
    let mut machine = Machine::new();
    for (key, flags, extended) in [
        (RIGHT_SHIFT, 0x01, 0x00),
        (LEFT_SHIFT, 0x02, 0x00),
        (LEFT_CTRL, 0x04, 0x01),
        (RIGHT_CTRL, 0x04, 0x04),
        (LEFT_ALT, 0x08, 0x02),
        (RIGHT_ALT, 0x08, 0x08),
    ] {
        machine.key(key, true);
        assert_eq!(machine.ax(0x16, 0x0200).al(), flags, "{key:03x}");
        assert_eq!(machine.ax(0x16, 0x1200).ax(), extended << 8 | u16::from(flags), "{key:03x}");
        machine.key(key, false);
        assert_eq!(machine.ax(0x16, 0x1200).ax(), 0, "{key:03x}");
    }
    // One of two held keys is released.
    machine.key(LEFT_CTRL, true);
    machine.key(RIGHT_CTRL, true);
    machine.key(LEFT_CTRL, false);
    assert_eq!(machine.ax(0x16, 0x1200).ax(), 0x0404);
}

#[test]
fn insert_toggles_its_flag_and_goes_to_the_buffer() {
    let mut machine = Machine::new();
    machine.key(0x152, true);
    assert_eq!((machine.bda(0x17) & 0x80, machine.bda(0x18) & 0x80), (0x80, 0x80));
    machine.key(0x152, true);
    machine.key(0x152, false);
    assert_eq!((machine.bda(0x17) & 0x80, machine.bda(0x18) & 0x80), (0x80, 0));
    machine.tap(0x52);
    assert_eq!(machine.bda(0x17) & 0x80, 0);
    machine.tap(NUM);
    machine.tap(0x52);
    assert_eq!(machine.bda(0x17) & 0x80, 0, "a keypad 0 does not toggle");
    assert_eq!(machine.typed(), [0x52e0, 0x52e0, 0x5200, 0x5230]);
}

#[test]
fn a_number_typed_with_alt_becomes_a_character() {
    let mut machine = Machine::new();
    for (digits, word) in [
        (&[0x4f, 0x50, 0x51][..], 123),
        (&[0x50, 0x4b, 0x52], 240),
        (&[0x50, 0x50, 0x4b], 224),
        // Modulo 256.
        (&[0x51, 0x52, 0x52], 44),
    ] {
        machine.key(LEFT_ALT, true);
        digits.iter().for_each(|&key| machine.tap(key));
        machine.key(LEFT_ALT, false);
        assert_eq!(machine.ax(0x16, 0x0000).ax(), word);
    }
    // Any other key clears the number.
    machine.key(LEFT_ALT, true);
    machine.tap(0x4f);
    machine.tap(0x1e);
    machine.tap(0x50);
    machine.key(LEFT_ALT, false);
    assert_eq!(machine.typed(), [0x1e00, 0x0002]);
}

#[test]
fn pause_halts_until_a_key_is_pressed_and_drops_that_key() {
    let mut machine = Machine::new();
    let hw = &mut machine.hw;
    hw.bus.user_input(InputEvent::Key { code: PAUSE, down: true });
    // A key press arrives while the handler waits; otherwise this test never ends.
    hw.bus.user_input(InputEvent::Key { code: 0x1e, down: true });
    hw.bus.user_input(InputEvent::Key { code: 0x1e, down: false });
    hw.bus.user_input(InputEvent::Key { code: 0x30, down: true });
    machine.run(10);
    assert!(machine.hw.halts > 0, "the CPU halted");
    assert_eq!(machine.typed(), [0x3062]);
    assert_eq!(machine.bda(0x18) & 0x08, 0);
}

#[test]
fn print_screen_calls_int_05h_and_sysreq_calls_int_15h() {
    let mut machine = Machine::new();
    machine.hw.called.clear();
    machine.tap(PRINT_SCREEN);
    assert_eq!(machine.hw.called.iter().filter(|&&n| n == 0x05).count(), 1);
    machine.key(LEFT_SHIFT, true);
    machine.tap(PRINT_SCREEN);
    machine.key(LEFT_SHIFT, false);
    assert_eq!(machine.hw.called.iter().filter(|&&n| n == 0x05).count(), 2);
    machine.key(LEFT_CTRL, true);
    machine.tap(PRINT_SCREEN);
    machine.key(LEFT_CTRL, false);
    assert_eq!(machine.typed(), [0x7200]);

    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let record = std::rc::Rc::clone(&seen);
    machine.hw.on_interrupt = Some(Box::new(move |_, number, regs| {
        if number == 0x15 && regs.ah() == 0x85 {
            record.borrow_mut().push(regs.al());
        }
    }));
    machine.key(LEFT_ALT, true);
    machine.key(PRINT_SCREEN, true);
    machine.key(PRINT_SCREEN, true);
    machine.key(PRINT_SCREEN, false);
    machine.key(LEFT_ALT, false);
    assert_eq!(*seen.borrow(), [0, 1], "one call each for press and release");
}

#[test]
fn ctrl_break_empties_the_buffer_and_calls_int_1bh() {
    let mut machine = Machine::new();
    machine.tap(0x1e);
    machine.key(LEFT_CTRL, true);
    machine.tap(PAUSE);
    machine.key(LEFT_CTRL, false);
    assert!(machine.hw.called.contains(&0x1b));
    assert_eq!(machine.bda(0x71), 0x80);
    assert_eq!(machine.typed(), [0]);
}

#[test]
fn ctrl_alt_del_resets_with_either_delete_key() {
    for delete in [0x53, 0x153] {
        let mut machine = Machine::new();
        machine.key(LEFT_CTRL, true);
        machine.key(RIGHT_ALT, true);
        machine.key(delete, true);
        assert_eq!(machine.hw.resets, 1);
        assert_eq!((machine.bda(0x72), machine.bda(0x73)), (0x34, 0x12));
    }
}

#[test]
fn an_int_15h_hook_replaces_or_drops_scan_codes() {
    let mut machine = Machine::new();
    machine.hw.on_interrupt = Some(Box::new(|_, number, regs| {
        if number == 0x15 && regs.ah() == 0x4f {
            assert!(regs.cf(), "CF is set on entry");
            match regs.al() & 0x7f {
                0x1e => regs.set_al(regs.al() + 0x12),
                0x20 => regs.set_cf(false),
                _ => {}
            }
        }
    }));
    machine.tap(0x1e);
    machine.tap(0x20);
    machine.tap(0x2e);
    assert_eq!(machine.typed(), [0x3062, 0x2e63]);
}

#[test]
fn a_full_buffer_beeps_and_keeps_its_keys() {
    let mut machine = Machine::new();
    for _ in 0..17 {
        machine.tap(0x1e);
    }
    assert!(
        machine.hw.bus.written.iter().any(|&(port, _, value)| port == 0x61 && value & 3 == 3),
        "the speaker is switched on"
    );
    machine.run(200);
    assert_eq!(machine.hw.bus.ports[&0x61] & 3, 0, "the speaker is off again");
    assert_eq!(machine.typed(), [0x1e61; 15]);
}

#[test]
fn each_scan_code_gets_one_eoi() {
    let mut machine = Machine::new();
    let before = machine.hw.bus.eois[0];
    machine.tap(0x148);
    // E0, 48, E0, C8; no timer tick falls into this time.
    assert_eq!(machine.hw.bus.eois[0] - before, 4);
}

#[test]
fn function_00h_halts_until_a_key_comes() {
    let mut machine = Machine::new();
    machine.hw.bus.user_input(InputEvent::Key { code: 0x157, down: true });
    machine.hw.bus.user_input(InputEvent::Key { code: 0x57, down: true });
    machine.hw.bus.user_input(InputEvent::Key { code: 0x1e, down: true });
    machine.hw.called.clear();
    let regs = machine.ax(0x16, 0x0000);
    assert_eq!(regs.ax(), 0x1e61, "function 00h skips F11");
    assert!(machine.hw.halts > 0);
    assert_eq!(machine.hw.called[0], 0x15, "INT 15h AX=9002h is called first");
}

#[test]
fn function_01h_leaves_the_key_and_returns_zf() {
    let mut machine = Machine::new();
    let mut regs = Regs::with_ax(0x0100);
    regs.flags = Flags::CF;
    let none = machine.int(0x16, regs);
    assert_eq!(none.ax(), 0x0100);
    machine.hw.memory[0x7_0104] = 0;
    machine.tap(0x1e);
    for _ in 0..2 {
        let regs = machine.ax(0x16, 0x0100);
        assert_eq!((regs.ax(), regs.flag(Flags::ZF)), (0x1e61, false));
    }
    assert_eq!(machine.ax(0x16, 0x0000).ax(), 0x1e61);
    assert!(machine.ax(0x16, 0x0100).flag(Flags::ZF));
    // The caller's IRET loads the flags from the stack.
    assert_eq!(machine.hw.memory[0x7_0104] & 0x40, 0x40);

    machine.tap(0x57);
    assert!(machine.ax(0x16, 0x0100).flag(Flags::ZF), "an extended key is removed");
    assert!(machine.ax(0x16, 0x1100).flag(Flags::ZF));
    machine.tap(0x57);
    assert_eq!(machine.ax(0x16, 0x1100).ax(), 0x8500);
    assert_eq!(machine.ax(0x16, 0x1000).ax(), 0x8500);
}

#[test]
fn function_05h_fails_when_the_buffer_is_full() {
    let mut machine = Machine::new();
    for n in 0..16 {
        let mut regs = Regs::with_ax(0x05ff);
        regs.set_cx(0x4100 + n);
        assert_eq!(machine.int(0x16, regs).al(), u8::from(n == 15));
    }
    assert_eq!(machine.typed().len(), 15);
}

#[test]
fn a_moved_keyboard_buffer_works() {
    let mut machine = Machine::new();
    for (at, value) in [(0x1a, 0xb0), (0x1c, 0xb0), (0x80, 0xb0), (0x82, 0xb8)] {
        machine.hw.memory[0x400 + at] = value;
    }
    for n in 0..4 {
        let mut regs = Regs::with_ax(0x0500);
        regs.set_cx(0x4100 + n);
        assert_eq!(machine.int(0x16, regs).al(), u8::from(n == 3));
    }
    for n in 0..3 {
        assert_eq!(machine.ax(0x16, 0x1000).ax(), 0x4100 + n);
    }
}

#[test]
fn functions_03h_and_0ah_set_the_typematic_rate_and_read_the_id() {
    let mut machine = Machine::new();
    let mut regs = Regs::with_ax(0x0305);
    regs.set_bx(0x0207);
    machine.int(0x16, regs);
    assert_eq!(machine.ax(0x16, 0x0306).bx(), 0x0207);
    // Out of range.
    regs.set_bx(0x0420);
    machine.int(0x16, regs);
    assert_eq!(machine.ax(0x16, 0x0306).bx(), 0x0207);
    machine.ax(0x16, 0x0300);
    assert_eq!(machine.ax(0x16, 0x0306).bx(), 0x010b);
    assert_eq!(machine.ax(0x16, 0x0a00).bx(), 0x41ab);
    assert_eq!(machine.ax(0x16, 0x0900).al(), 0x3d);
    // The keyboard's replies must not become keys, and keys must still arrive.
    assert!(machine.typed().is_empty());
    machine.tap(0x1e);
    assert_eq!(machine.typed(), [0x1e61]);
}

#[test]
fn a_machine_without_a_controller_does_not_hang() {
    let mut devices = Devices::new();
    devices.ps2 = None;
    let mut machine = Machine::with(devices, Handoff::EMPTY);
    assert_eq!(machine.hw.bus.masks[0] & 2, 2, "IRQ 1 stays masked");
    assert!(machine.hw.bus.now < 10_000_000, "less than 10 ms");
    assert!(machine.ax(0x16, 0x0100).flag(Flags::ZF));
    let regs = pointer(&mut machine, 0x05, 0x0300);
    assert_eq!((regs.ah(), regs.cf()), (3, true));
}

#[test]
fn initialisation_takes_under_5_ms_and_leaves_no_key() {
    let mut machine = Machine::new();
    assert!(machine.hw.bus.now < 5_000_000, "{} ns", machine.hw.bus.now);
    machine.run(20);
    assert!(machine.typed().is_empty());
    assert_eq!(machine.bda(0x10) & 4, 4, "the mouse is in the equipment word");
    assert_eq!(machine.bda(0x96), 0x10);
    assert_eq!(machine.hw.bus.masks, [0xf8, 0xce]);
    assert!(machine.state.input.command_byte.get() & 3 == 1);
    let _ = State::new();
}

fn pointer(machine: &mut Machine, al: u8, bx: u16) -> Regs {
    let mut regs = Regs::with_ax(0xc200 | u16::from(al));
    regs.set_bx(bx);
    regs.es = 0x3000;
    machine.int(0x15, regs)
}

fn ok(machine: &mut Machine, al: u8, bx: u16) -> Regs {
    let regs = pointer(machine, al, bx);
    assert_eq!((regs.ah(), regs.cf()), (0, false), "AL={al:02x} BX={bx:04x}");
    regs
}

#[test]
fn pointer_functions_return_error_codes_for_bad_arguments() {
    let mut machine = Machine::new();
    for (al, bx, status) in [
        (0x00, 0x0100, 5),
        (0x00, 0x0200, 2),
        (0x02, 0x0700, 2),
        (0x03, 0x0400, 2),
        (0x05, 0x0000, 2),
        (0x05, 0x0900, 2),
        (0x06, 0x0300, 2),
        (0x0a, 0x0000, 1),
        (0xff, 0x0000, 1),
    ] {
        let regs = pointer(&mut machine, al, bx);
        assert_eq!((regs.ah(), regs.cf()), (status, true), "AL={al:02x} BX={bx:04x}");
    }
}

#[test]
fn mouse_settings_are_made_and_read_back() {
    let mut machine = Machine::new();
    let regs = ok(&mut machine, 0x01, 0);
    assert_eq!(regs.bx(), 0x00aa);
    assert_eq!(ok(&mut machine, 0x04, 0).bh(), 0);
    ok(&mut machine, 0x02, 0x0600);
    ok(&mut machine, 0x03, 0x0100);
    ok(&mut machine, 0x06, 0x0200);
    let regs = ok(&mut machine, 0x06, 0x0000);
    assert_eq!((regs.bl(), regs.cl(), regs.dl()), (0x10, 1, 200));
    ok(&mut machine, 0x06, 0x0100);
    assert_eq!(ok(&mut machine, 0x06, 0x0000).bl(), 0x00);
    ok(&mut machine, 0x05, 0x0300);
    let regs = ok(&mut machine, 0x06, 0x0000);
    assert_eq!((regs.bl(), regs.cl(), regs.dl()), (0x00, 2, 100));
}

fn with_handler(size: u16) -> Machine {
    let mut machine = Machine::new();
    ok(&mut machine, 0x05, size << 8);
    ok(&mut machine, 0x07, 0x1234);
    ok(&mut machine, 0x00, 0x0100);
    machine
}

#[test]
fn mouse_packets_reach_the_handler_while_it_is_enabled() {
    let mut machine = with_handler(3);
    machine.hw.bus.user_input(InputEvent::Mouse { dx: 5, dy: -3, dz: 0, buttons: 1 });
    machine.run(50);
    let handler = FarPtr::new(0x3000, 0x1234);
    assert_eq!(machine.hw.called_with, [(handler, [0x29, 0x05, 0xfd, 0])]);
    // Keys between mouse packets.
    machine.tap(0x1e);
    machine.hw.bus.user_input(InputEvent::Mouse { dx: -1, dy: 0, dz: 0, buttons: 0 });
    machine.run(50);
    assert_eq!(machine.hw.called_with[1..], [(handler, [0x18, 0xff, 0x00, 0])]);
    assert_eq!(machine.typed(), [0x1e61]);
    // Disabled: no packets.
    ok(&mut machine, 0x00, 0x0000);
    machine.hw.bus.user_input(InputEvent::Mouse { dx: 9, dy: 9, dz: 0, buttons: 0 });
    machine.run(50);
    assert_eq!(machine.hw.called_with.len(), 2);
    machine.tap(0x1e);
    assert_eq!(machine.typed(), [0x1e61], "the keyboard still works");
}

#[test]
fn a_wheel_mouse_sends_the_wheel_as_fourth_byte() {
    let mut machine = with_handler(4);
    for rate in [6, 5, 4] {
        ok(&mut machine, 0x02, rate << 8);
    }
    assert_eq!(ok(&mut machine, 0x04, 0).bh(), 3);
    machine.hw.bus.user_input(InputEvent::Mouse { dx: 1, dy: 2, dz: -1, buttons: 2 });
    machine.run(50);
    assert_eq!(machine.hw.called_with, [(FarPtr::new(0x3000, 0x1234), [0x0a, 1, 2, 0xff])]);
}

#[test]
fn an_incomplete_packet_does_not_shift_the_next_one() {
    let mut machine = with_handler(3);
    machine.hw.bus.user_input(InputEvent::Mouse { dx: 1, dy: 1, dz: 0, buttons: 0 });
    machine.run(50);
    // The state after a packet that broke off a second ago.
    machine.hw.memory[0x9_fc26] |= 1;
    machine.run(1000);
    machine.hw.bus.user_input(InputEvent::Mouse { dx: 2, dy: 2, dz: 0, buttons: 0 });
    machine.run(50);
    assert_eq!(machine.hw.called_with[1].1, [0x08, 2, 2, 0]);
}

#[test]
fn removing_the_handler_disables_the_mouse() {
    let mut machine = with_handler(3);
    let mut regs = Regs::with_ax(0xc207);
    regs.es = 0;
    assert!(!machine.int(0x15, regs).cf());
    assert_eq!(machine.hw.bus.ps2.as_ref().map(|ps2| ps2.device.mouse_in_use()), Some(false));
    assert_eq!(pointer(&mut machine, 0x00, 0x0100).ah(), 5);
}
