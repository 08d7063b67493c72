//! Media: formats, drive types, change line, and changes of the disk.

use super::*;
use crate::{Device, Wake};

fn insert(bench: &mut Bench<Fdc>, disk: DiskId, kib: u64) {
    let medium = (kib > 0).then_some(crate::Medium { size: kib * 1024, read_only: false, disc: None });
    if kib > 0 {
        bench.disks.insert(disk, image(kib));
    } else {
        bench.disks.remove(&disk);
    }
    bench.call(|device, cx| Device::wake(device, cx, Wake::Medium(disk, medium.clone())));
}

#[test]
fn every_format_is_read_in_its_drive_at_its_rate() {
    use DriveType::*;
    for (drive, kib, rate, step, cylinders, heads, per_track) in [
        (D360, 160u64, 2, 1, 40u8, 1u8, 8u8),
        (D360, 180, 2, 1, 40, 1, 9),
        (D360, 320, 2, 1, 40, 2, 8),
        (D360, 360, 2, 1, 40, 2, 9),
        (D1200, 360, 1, 2, 40, 2, 9),
        (D1200, 1200, 0, 1, 80, 2, 15),
        (D720, 720, 2, 1, 80, 2, 9),
        (D1440, 720, 2, 1, 80, 2, 9),
        (D1440, 1440, 0, 1, 80, 2, 18),
        (D1440, 1476, 0, 1, 82, 2, 18),
        (D1440, 1680, 0, 1, 80, 2, 21),
        (D1440, 1743, 0, 1, 83, 2, 21),
        (D2880, 2880, 3, 1, 80, 2, 36),
        (D2880, 1440, 0, 1, 80, 2, 18),
    ] {
        let mut bench = with((drive, kib), None, Timing::Fast);
        bench.outb(DIR, rate);
        let image = image(kib);
        let mut at = 0;
        for c in 0..cylinders {
            seek(&mut bench, 0, c * step);
            for h in 0..heads {
                let len = usize::from(per_track) * 512;
                dma(&mut bench, DMA_TO_MEMORY, BUFFER, len);
                let result = command(&mut bench, &read_command(0, c, h, 1, per_track));
                assert_eq!(result, [h << 2, 0, 0, c + 1, h, 1, 2], "{kib} KiB in {drive:?}: cylinder {c}, head {h}");
                assert_eq!(buffer(&bench, len), image[at..at + len]);
                at += len;
            }
        }
        assert_eq!(at, image.len());
        if heads == 1 {
            assert_eq!(command(&mut bench, &[0x4a, 4])[1], 0x01, "a second side of {kib} KiB");
        }
    }
}

#[test]
fn an_xdf_disk_has_sectors_of_four_sizes() {
    let mut bench = with((DriveType::D1440, 1840), None, Timing::Fast);
    let image = image(1840);
    seek(&mut bench, 0, 2);
    let cylinder = 2 * 46 * 512;
    for (h, n, offset) in [
        (0, 3, 0),
        (0, 4, 1024),
        (1, 6, 3072),
        (0, 2, 11264),
        (1, 2, 11776),
        (0, 6, 12288),
        (1, 4, 20480),
        (1, 3, 22528),
    ] {
        let len = 128 << n;
        dma(&mut bench, DMA_TO_MEMORY, BUFFER, len);
        let r = 128 + n;
        let result = command(&mut bench, &[0x46, h << 2, 2, h, r, n, r, 0x1b, 0xff]);
        assert_eq!(result, [h << 2, 0, 0, 3, h, 1, n]);
        assert_eq!(buffer(&bench, len), image[cylinder + offset..cylinder + offset + len], "head {h}, N {n}");
    }
    // The IDs in the order of the track.
    let ids: Vec<_> = (0..4).map(|_| command(&mut bench, &[0x4a, 0])[5..].to_vec()).collect();
    assert_eq!(ids, [[131, 3], [130, 2], [132, 4], [134, 6]]);
    // A track cannot be formatted.
    dma(&mut bench, DMA_FROM_MEMORY, BUFFER, 16);
    assert_eq!(command(&mut bench, &[0x4d, 0, 2, 4, 0x54, 0xf6])[..2], [0x40, 0x04]);
}

#[test]
fn the_boot_sector_tells_formats_of_one_size_apart() {
    for (heads, cylinders) in [(1u8, 80), (2, 40)] {
        let mut bench = with((DriveType::D1200, 360), None, Timing::Fast);
        let boot = bench.disks.get_mut(&A).unwrap();
        boot[0x0b..0x0d].copy_from_slice(&512u16.to_le_bytes());
        boot[0x18..0x1c].copy_from_slice(&[9, 0, heads, 0]);
        bench.outb(DIR, 1);
        seek(&mut bench, 0, 20);
        let step = if cylinders == 80 { 1 } else { 2 };
        let before = edges(&bench);
        assert_eq!(command(&mut bench, &[0x4a, 0]), [0, 0, 0, 20 / step, 0, 1, 2], "{heads} heads");
        assert_eq!(edges(&bench), before + 1);
        command(&mut bench, &[0x4a, 0]);
        assert_eq!(bench.log.len(), 1, "the boot sector is read once");
    }
}

#[test]
fn a_disk_that_does_not_fit_the_drive_cannot_be_read() {
    let mut bench = with((DriveType::D1440, 2880), None, Timing::Fast);
    for rate in 0..4 {
        bench.outb(DIR, rate);
        assert_eq!(command(&mut bench, &[0x4a, 0])[..2], [0x40, 0x01]);
    }
    assert!(bench.log.is_empty());
}

#[test]
fn the_change_line_is_cleared_by_a_step_with_a_disk_in_the_drive() {
    let mut bench = machine();
    assert_eq!(bench.inb(DIR), 0x7f);
    insert(&mut bench, A, 720);
    assert_eq!(bench.inb(DIR), 0xff);
    // RECALIBRATE on track 0 and a seek to the same cylinder do not step.
    command(&mut bench, &[0x07, 0]);
    command(&mut bench, &[0x08]);
    seek(&mut bench, 0, 0);
    assert_eq!(bench.inb(DIR), 0xff);
    seek(&mut bench, 0, 1);
    assert_eq!(bench.inb(DIR), 0x7f);
    // The new disk.
    bench.outb(DIR, 2);
    assert_eq!(command(&mut bench, &[0x4a, 0]), [0, 0, 0, 1, 0, 1, 2]);
    insert(&mut bench, A, 0);
    seek(&mut bench, 0, 0);
    assert_eq!(bench.inb(DIR), 0xff, "an empty drive reports a change whatever it does");
    // Drive B is empty since power-on. The line is that of the selected drive whose motor is on.
    insert(&mut bench, A, 1440);
    seek(&mut bench, 0, 1);
    for (dor, expected) in [(0x3c, 0x7f), (0x3d, 0xff), (0x1d, 0x7f), (0x3e, 0x7f)] {
        bench.outb(DOR, dor);
        assert_eq!(bench.inb(DIR), expected, "DOR {dor:02x}");
    }
}

#[test]
fn a_360_kb_drive_has_no_change_line() {
    let mut bench = with((DriveType::D360, 0), None, Timing::Fast);
    assert_eq!(bench.inb(DIR), 0x7f);
    insert(&mut bench, A, 360);
    assert_eq!(bench.inb(DIR), 0x7f);
    bench.outb(DIR, 2);
    assert_eq!(command(&mut bench, &[0x4a, 0])[0], 0);
}

#[test]
fn a_disk_that_is_removed_during_a_read_ends_it() {
    let mut bench = machine();
    bench.hold_requests = true;
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 36 * 512);
    let mut bytes = read_command(0, 0, 0, 1, 18);
    bytes[0] |= 0x80;
    send(&mut bench, &bytes);
    bench.advance(1_000_000);
    bench.call(|device, cx| Device::wake(device, cx, Wake::Medium(A, None)));
    bench.complete();
    assert_eq!(result(&mut bench), [0x44, 0x01, 0, 0, 1, 1, 2]);
}
