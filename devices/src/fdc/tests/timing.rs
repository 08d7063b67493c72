//! Completion times with and without simulated mechanics.

use super::*;

/// Time until the next interrupt, in microseconds, in steps of 10.
fn until_irq(bench: &mut Bench<Fdc>) -> u64 {
    let before = edges(bench);
    for n in 0..1_000_000 {
        if edges(bench) > before {
            return n * 10;
        }
        bench.advance(10_000);
    }
    panic!("no interrupt within 10 s");
}

fn real() -> Bench<Fdc> {
    with((DriveType::D1440, 1440), None, Timing::Real)
}

#[test]
fn fast_commands_complete_after_the_command_delay() {
    let mut bench = machine();
    for bytes in [&[0x4a, 0][..], &[0x07, 0], &[0x0f, 0, 79]] {
        send(&mut bench, bytes);
        assert_eq!(until_irq(&mut bench), 50);
        result(&mut bench);
        command(&mut bench, &[0x08]);
    }
}

#[test]
fn real_steps_take_the_time_of_specify() {
    for (rate, srt, per_step) in [(0, 0xd, 3000), (0, 0xf, 1000), (0, 0, 16_000), (2, 0xd, 6000), (3, 0xd, 1500)] {
        let mut bench = real();
        command(&mut bench, &[0x03, srt << 4 | 0xf, 0x02]);
        bench.outb(DIR, rate);
        send(&mut bench, &[0x0f, 0, 10]);
        assert_eq!(until_irq(&mut bench), 50 + 10 * per_step);
        assert_eq!(command(&mut bench, &[0x08]), [0x20, 10]);
    }
}

#[test]
fn a_real_track_takes_a_revolution_and_a_real_motor_half_a_second() {
    let mut bench = real();
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 18 * 512);
    send(&mut bench, &read_command(0, 0, 0, 1, 18));
    let first = until_irq(&mut bench);
    assert_eq!(result(&mut bench)[..3], [0, 0, 0]);
    // Up to one revolution until sector 1 passes, then one for the track.
    assert!((200_000..=400_100).contains(&first), "{first} us");
    assert_eq!(buffer(&bench, 18 * 512), sectors(0, 0, 1, 18));
    // One sector takes an eighteenth of a revolution.
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 1024);
    send(&mut bench, &read_command(0, 0, 0, 1, 18));
    let two = until_irq(&mut bench);
    assert!((22_000..=222_300).contains(&two), "{two} us");
    result(&mut bench);

    bench.outb(DOR, 0x0c);
    bench.outb(DOR, 0x1c);
    send(&mut bench, &[0x4a, 0]);
    let spin_up = until_irq(&mut bench);
    assert!((500_000..=700_000).contains(&spin_up), "{spin_up} us");
    result(&mut bench);
    // A wrong data rate: two revolutions.
    bench.outb(DIR, 2);
    send(&mut bench, &[0x4a, 0]);
    assert_eq!(until_irq(&mut bench), 400_050);
    assert_eq!(result(&mut bench)[1], 0x01);
}

#[test]
fn real_format_takes_a_revolution_from_the_index_hole() {
    let mut bench = real();
    let ids: Vec<u8> = (1..=18).flat_map(|r| [0, 0, r, 2]).collect();
    bench.memory.write(BUFFER.into(), &ids);
    dma(&mut bench, DMA_FROM_MEMORY, BUFFER, ids.len());
    send(&mut bench, &[0x4d, 0, 2, 18, 0x54, 0xf6]);
    let time = until_irq(&mut bench);
    assert!((200_000..=400_100).contains(&time), "{time} us");
    assert_eq!(result(&mut bench)[..3], [0, 0, 0]);
}
