//! Resets at every point of a command, late completions, and saved states in every phase.

use super::*;
use crate::{Device, DynDevice};

/// The commands with an execution phase, and SEEK.
const COMMANDS: [&[u8]; 9] = [
    &[0xc6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff],
    &[0xc5, 0, 0, 0, 1, 2, 18, 0x1b, 0xff],
    &[0x42, 0, 0, 0, 1, 2, 18, 0x1b, 0xff],
    &[0x56, 0, 0, 0, 1, 2, 18, 0x1b, 0xff],
    &[0x51, 0, 0, 0, 1, 2, 18, 0x1b, 1],
    &[0x4d, 0, 2, 18, 0x54, 0xf6],
    &[0x4a, 0],
    &[0x0f, 0, 20],
    &[0x07, 0],
];

/// What happens after a number of steps: bytes of the command, time, completions, bytes by PIO.
fn step(bench: &mut Bench<Fdc>, bytes: &[u8], n: usize) {
    match n {
        n if n < bytes.len() => bench.outb(FIFO, bytes[n]),
        _ if !bench.pending.is_empty() && n.is_multiple_of(2) => {
            bench.complete();
        }
        _ if bench.inb(MSR) & 0xe0 == 0xa0 => bench.outb(FIFO, n as u8),
        _ if bench.inb(MSR) & 0xc0 == 0xc0 => {
            bench.inb(FIFO);
        }
        _ => bench.advance(30_000),
    }
}

fn prepared(pio: bool) -> Bench<Fdc> {
    let mut bench = machine();
    bench.hold_requests = true;
    if pio {
        command(&mut bench, &[0x03, 0xdf, 0x03]);
    }
    bench
}

fn program_dma(bench: &mut Bench<Fdc>, bytes: &[u8], pio: bool) {
    let writes = matches!(bytes[0] & 0x1f, 0x05 | 0x0d | 0x11);
    if !pio {
        dma(bench, if writes { DMA_FROM_MEMORY } else { DMA_TO_MEMORY }, BUFFER, 36 * 512);
    }
}

#[test]
fn a_reset_at_any_point_of_a_command_leaves_a_working_controller() {
    for bytes in COMMANDS {
        for pio in [false, true] {
            for steps in 0..40 {
                for by_dsr in [false, true] {
                    let mut bench = prepared(pio);
                    program_dma(&mut bench, bytes, pio);
                    (0..steps).for_each(|n| step(&mut bench, bytes, n));
                    if by_dsr {
                        bench.outb(MSR, 0x80);
                    } else {
                        bench.outb(DOR, 0x38);
                        bench.outb(DOR, 0x3c);
                    }
                    assert!(!irq(&bench));
                    // A late completion is dropped, and the controller waits for it.
                    if !bench.pending.is_empty() {
                        bench.advance(1_000_000);
                        assert_eq!(bench.inb(MSR), 0, "{bytes:02x?} after {steps} steps");
                        while bench.complete() {}
                    }
                    bench.advance(1_000_000);
                    assert!(irq(&bench), "{bytes:02x?} after {steps} steps");
                    for drive in 0..4 {
                        assert_eq!(command(&mut bench, &[0x08])[0], 0xc0 | drive);
                    }
                    bench.hold_requests = false;
                    command(&mut bench, &[0x03, 0xdf, 0x02]);
                    seek(&mut bench, 0, 3);
                    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 512);
                    assert_eq!(command(&mut bench, &read_command(0, 3, 1, 5, 18)), [4, 0, 0, 3, 1, 6, 2]);
                }
            }
        }
    }
}

#[test]
fn a_state_saved_at_any_point_of_a_command_ends_it_as_without_saving() {
    for bytes in COMMANDS {
        for steps in [4, 11, 14, 20, 39] {
            let outcome = |save_at: Option<usize>| {
                let mut bench = prepared(false);
                program_dma(&mut bench, bytes, false);
                for n in 0..steps {
                    step(&mut bench, bytes, n);
                    if save_at == Some(n) {
                        let saved = bench.device.save_cbor();
                        let specs = [spec(DriveType::D1440, 1440), spec(DriveType::D1440, 0)];
                        bench.device = Fdc::new(specs, Timing::Fast);
                        bench.device.load_cbor(&saved).unwrap();
                        assert_eq!(bench.device.save_cbor(), saved);
                        // What was in flight at the host is lost.
                        bench.pending.clear();
                        bench.call(Device::resync);
                    }
                }
                bench.hold_requests = false;
                while bench.complete() {}
                if steps < bytes.len() {
                    bytes[steps..].iter().for_each(|&byte| bench.outb(FIFO, byte));
                }
                bench.advance(1_000_000_000);
                // The command's last result bytes, and the disk.
                (result(&mut bench), bench.disks[&A].clone())
            };
            let undisturbed = outcome(None);
            for save_at in 0..steps {
                let (result, disk) = outcome(Some(save_at));
                assert_eq!(result, undisturbed.0, "{bytes:02x?}: saved after {save_at} of {steps} steps");
                assert!(disk == undisturbed.1);
            }
        }
    }
}

#[test]
fn a_completion_with_another_tag_is_ignored() {
    let mut bench = prepared(false);
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 512);
    send(&mut bench, &read_command(0, 0, 0, 1, 18));
    bench.advance(1_000_000);
    let stale =
        crate::BlockDone { disk: A, tag: u64::MAX, data: crate::BlockData::Buffer(vec![0xee; 512]), result: Ok(()) };
    bench.call(|device, cx| Device::wake(device, cx, crate::Wake::Block(stale)));
    assert_eq!(bench.inb(MSR), 0x10);
    bench.complete();
    assert_eq!(result(&mut bench), [0, 0, 0, 0, 0, 2, 2]);
    assert_eq!(buffer(&bench, 512), sectors(0, 0, 1, 1));
}
