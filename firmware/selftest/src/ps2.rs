//! Tests of the 8042 controller, the PS/2 keyboard and the PS/2 mouse.
//!
//! Specification: IBM PS/2 Technical Reference, "Keyboard and Auxiliary Device Controller".

use crate::clock::Deadline;
use crate::{NotPassed, Outcome, Test};
use pcvm_guest::Machine;

const DATA: u16 = 0x60;
const STATUS: u16 = 0x64;
const OUTPUT_FULL: u8 = 1;
const INPUT_FULL: u8 = 2;
const FROM_MOUSE: u8 = 0x20;
const PIC_1_MASK: u16 = 0x21;
const PIC_2_MASK: u16 = 0xa1;

const READ_CONFIGURATION: u8 = 0x20;
const WRITE_CONFIGURATION: u8 = 0x60;
const DISABLE_MOUSE: u8 = 0xa7;
const ENABLE_MOUSE: u8 = 0xa8;
const SELF_TEST: u8 = 0xaa;
const TEST_KEYBOARD_LINE: u8 = 0xab;
const DISABLE_KEYBOARD: u8 = 0xad;
const ENABLE_KEYBOARD: u8 = 0xae;
const TO_MOUSE: u8 = 0xd4;
const ACKNOWLEDGE: u8 = 0xfa;

fn ready<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let mut deadline = Deadline::after(t.m, 200);
    while t.m.inb(STATUS) & INPUT_FULL != 0 {
        if deadline.passed(t.m) {
            return t.fail("the controller's input buffer stays full");
        }
    }
    Ok(())
}

fn command<M: Machine>(t: &mut Test<'_, M>, command: u8) -> Outcome {
    ready(t)?;
    t.m.outb(STATUS, command);
    Ok(())
}

fn send<M: Machine>(t: &mut Test<'_, M>, byte: u8) -> Outcome {
    ready(t)?;
    t.m.outb(DATA, byte);
    Ok(())
}

/// Receives a byte. The result's second value is whether it is from the mouse.
fn receive<M: Machine>(t: &mut Test<'_, M>, what: &str) -> Result<(u8, bool), NotPassed> {
    let mut deadline = Deadline::after(t.m, 500);
    loop {
        let status = t.m.inb(STATUS);
        if status & OUTPUT_FULL != 0 {
            return Ok((t.m.inb(DATA), status & FROM_MOUSE != 0));
        }
        if deadline.passed(t.m) {
            return t.fail(what).map(|()| (0, false));
        }
    }
}

fn drain<M: Machine>(t: &mut Test<'_, M>) {
    for _ in 0..64 {
        if t.m.inb(STATUS) & OUTPUT_FULL == 0 {
            return;
        }
        t.m.inb(DATA);
    }
}

/// Runs `inner` with keyboard and mouse interrupts masked, and restores the controller's configuration byte.
fn with_irqs_masked<M: Machine>(t: &mut Test<'_, M>, inner: fn(&mut Test<'_, M>) -> Outcome) -> Outcome {
    let masks = (t.m.inb(PIC_1_MASK), t.m.inb(PIC_2_MASK));
    t.m.outb(PIC_1_MASK, masks.0 | 1 << 1);
    t.m.outb(PIC_2_MASK, masks.1 | 1 << 4);
    drain(t);
    let outcome = (|| {
        command(t, READ_CONFIGURATION)?;
        let (configuration, _) = receive(t, "no answer to command 20h")?;
        let outcome = inner(t);
        drain(t);
        let note = t.note;
        let restored = command(t, WRITE_CONFIGURATION).and_then(|()| send(t, configuration));
        let again = restored.and_then(|()| command(t, READ_CONFIGURATION)).and_then(|()| receive(t, "command 20h"));
        t.note = note;
        outcome?;
        let (again, _) = again?;
        check_equal!(t, "configuration reads", again.into(), configuration.into())
    })();
    drain(t);
    t.m.outb(PIC_1_MASK, masks.0);
    t.m.outb(PIC_2_MASK, masks.1);
    outcome
}

/// Controller self test, keyboard interface test, keyboard echo and identification.
pub fn keyboard<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    with_irqs_masked(t, |t| {
        command(t, DISABLE_MOUSE)?;
        command(t, SELF_TEST)?;
        let (answer, _) = receive(t, "no answer to the self test AAh")?;
        check_equal!(t, "self test AAh gives", answer.into(), 0x55)?;
        command(t, TEST_KEYBOARD_LINE)?;
        let (answer, _) = receive(t, "no answer to the line test ABh")?;
        check_equal!(t, "line test ABh gives", answer.into(), 0)?;
        command(t, ENABLE_KEYBOARD)?;
        // Without interrupts and translation: EEh must be returned unchanged.
        command(t, WRITE_CONFIGURATION)?;
        send(t, 0x20)?;
        send(t, 0xee)?;
        let (answer, mouse) = receive(t, "no answer to the echo EEh")?;
        check_equal!(t, "echo EEh gives", answer.into(), 0xee)?;
        check!(t, !mouse, "the keyboard's byte is marked as the mouse's")?;
        send(t, 0xf2)?;
        for wanted in [ACKNOWLEDGE, 0xab, 0x83] {
            let (answer, _) = receive(t, "no answer to identify F2h")?;
            check_equal!(t, "identify F2h gives", answer.into(), wanted.into())?;
        }
        t.note.put("self test 55, echo EE, keyboard AB 83");
        Ok(())
    })
}

/// The mouse answers identification and status requests.
pub fn mouse<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    with_irqs_masked(t, |t| {
        command(t, DISABLE_KEYBOARD)?;
        command(t, WRITE_CONFIGURATION)?;
        send(t, 0x10)?;
        command(t, ENABLE_MOUSE)?;
        for (what, bytes) in [(0xf2_u8, 1), (0xe9, 3)] {
            command(t, TO_MOUSE)?;
            send(t, what)?;
            let (answer, from_mouse) = receive(t, "no answer from a mouse")?;
            check_equal!(t, "the mouse answers", answer.into(), ACKNOWLEDGE.into())?;
            check!(t, from_mouse, "the mouse's byte is not marked as such")?;
            t.note.put(if what == 0xf2 { "ID" } else { ", status" });
            for _ in 0..bytes {
                let note = t.note;
                let (answer, _) = receive(t, "the mouse's answer is too short")?;
                t.note = note;
                t.note.byte(b' ').hex(answer.into(), 2);
                if what == 0xf2 && ![0, 3, 4].contains(&answer) {
                    return check_equal!(t, "the mouse's ID is", answer.into(), 0);
                }
            }
        }
        command(t, ENABLE_KEYBOARD)
    })
}
