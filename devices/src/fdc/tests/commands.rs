//! Control commands: seeks, recalibration, senses, configuration.

use super::*;

#[test]
fn invalid_commands_answer_80h_without_an_interrupt() {
    let mut bench = machine();
    for opcode in [0x00, 0x01, 0x0b, 0x18, 0x1f, 0x2e, 0x4e, 0x33, 0x87, 0xff] {
        let before = edges(&bench);
        assert_eq!(command(&mut bench, &[opcode]), [0x80], "{opcode:02x}");
        assert_eq!(edges(&bench), before);
    }
    assert_eq!(command(&mut bench, &[0x10]), [0x90]);
}

#[test]
fn a_seek_is_busy_until_it_is_sensed_and_does_not_interrupt_within_the_write() {
    let mut bench = machine();
    let before = edges(&bench);
    send(&mut bench, &[0x0f, 4, 40]);
    assert_eq!((bench.inb(MSR), edges(&bench)), (0x81, before));
    bench.advance(crate::fdc::COMMAND_DELAY);
    assert_eq!((bench.inb(MSR), edges(&bench)), (0x81, before + 1));
    assert_eq!(command(&mut bench, &[0x08]), [0x24, 40]);
    assert_eq!(bench.inb(MSR), 0x80);
    assert_eq!(command(&mut bench, &[0x08]), [0x80]);
    // A poll of MSR after the delay finds the seek ended even if the timer is late.
    assert_eq!(command(&mut bench, &[0x0e])[..2], [40, 0]);
}

#[test]
fn seeks_of_both_drives_overlap_and_interrupt_each() {
    let mut bench = machine();
    let before = edges(&bench);
    send(&mut bench, &[0x0f, 0, 10]);
    send(&mut bench, &[0x0f, 1, 20]);
    assert_eq!(bench.inb(MSR), 0x83);
    bench.advance(1_000_000);
    assert_eq!(command(&mut bench, &[0x08]), [0x20, 10]);
    assert_eq!(bench.inb(MSR), 0x82);
    assert!(irq(&bench), "the second seek's interrupt is lost");
    assert_eq!(command(&mut bench, &[0x08]), [0x21, 20]);
    assert_eq!(bench.inb(MSR), 0x80);
    assert!(edges(&bench) >= before + 2);
}

#[test]
fn recalibrate_steps_79_times_at_most() {
    let mut bench = machine();
    seek(&mut bench, 0, 82);
    command(&mut bench, &[0x07, 0]);
    assert_eq!(command(&mut bench, &[0x08]), [0x70, 0]);
    assert_eq!(command(&mut bench, &[0x04, 0]), [0x28]);
    command(&mut bench, &[0x07, 0]);
    assert_eq!(command(&mut bench, &[0x08]), [0x20, 0]);
    assert_eq!(command(&mut bench, &[0x04, 0]), [0x38]);
    // An absent drive never reports track 0.
    command(&mut bench, &[0x07, 2]);
    assert_eq!(command(&mut bench, &[0x08]), [0x72, 0]);
    assert_eq!(command(&mut bench, &[0x04, 2]), [0x2a]);
}

#[test]
fn relative_seeks_move_the_heads_and_stop_at_track_0() {
    let mut bench = machine();
    command(&mut bench, &[0xcf, 0, 30]);
    assert_eq!(command(&mut bench, &[0x08]), [0x20, 30]);
    assert_eq!(command(&mut bench, &[0x4a, 0])[3], 30);
    command(&mut bench, &[0x8f, 0, 10]);
    assert_eq!(command(&mut bench, &[0x08]), [0x20, 20]);
    assert_eq!(command(&mut bench, &[0x4a, 0])[3], 20);
    command(&mut bench, &[0x8f, 0, 21]);
    assert_eq!(command(&mut bench, &[0x08]), [0x70, 0xff]);
    assert_eq!(command(&mut bench, &[0x04, 0]), [0x38]);
}

#[test]
fn an_implied_seek_moves_to_the_commands_cylinder() {
    let mut bench = machine();
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 512);
    assert_eq!(command(&mut bench, &read_command(0, 33, 0, 1, 18))[1], 0x04);
    command(&mut bench, &[0x13, 0, 0x60, 0]);
    assert_eq!(command(&mut bench, &read_command(0, 33, 0, 1, 18)), [0x20, 0, 0, 33, 0, 2, 2]);
    assert_eq!(buffer(&bench, 512), sectors(33, 0, 1, 1));
    assert_eq!(command(&mut bench, &[0x0e])[0], 33);
    assert_eq!(command(&mut bench, &[0x08]), [0x80]);
}

#[test]
fn perpendicular_mode_keeps_the_drive_bits_without_ow() {
    let mut bench = machine();
    for (written, expected) in [(0x84 | 0x03, 0x07), (0x38, 0x04), (0xbc, 0x3c), (0x03, 0x3f), (0x80, 0)] {
        command(&mut bench, &[0x12, written]);
        assert_eq!(command(&mut bench, &[0x0e])[7], expected, "{written:02x}");
    }
}

#[test]
fn dumpreg_returns_what_the_other_commands_set() {
    let mut bench = machine();
    seek(&mut bench, 0, 5);
    seek(&mut bench, 1, 6);
    command(&mut bench, &[0x13, 0, 0x1a, 0x42]);
    command(&mut bench, &[0x94]);
    command(&mut bench, &[0x56, 0, 0, 0, 1, 2, 17, 0x1b, 0xff]);
    assert_eq!(command(&mut bench, &[0x0e]), [5, 6, 0, 0, 0xdf, 0x02, 17, 0x80, 0x1a, 0x42]);
}
