//! Data commands: addresses, results, DMA, PIO, scans, verification and formatting.

use super::*;
use crate::BlockError;

#[test]
fn reads_end_by_terminal_count_with_the_result_of_the_data_sheets_table() {
    // MT, start (C, H, R), EOT, sectors transferred, result (C, H, R).
    for (mt, start, eot, count, expected) in [
        (false, (3, 0, 1), 18, 1, (3, 0, 2)),
        (false, (3, 0, 1), 18, 17, (3, 0, 18)),
        (false, (3, 0, 1), 18, 18, (4, 0, 1)),
        (false, (3, 1, 18), 18, 1, (4, 1, 1)),
        (false, (3, 0, 5), 6, 2, (4, 0, 1)),
        (true, (3, 0, 1), 18, 18, (3, 1, 1)),
        (true, (3, 0, 18), 18, 2, (3, 1, 2)),
        (true, (3, 0, 1), 18, 36, (4, 0, 1)),
        (true, (3, 1, 18), 18, 1, (4, 0, 1)),
    ] {
        let mut bench = machine();
        seek(&mut bench, 0, 3);
        dma(&mut bench, DMA_TO_MEMORY, BUFFER, count * 512);
        let (c, h, r) = start;
        let mut bytes = read_command(0, c, h, r, eot);
        bytes[0] |= if mt { 0x80 } else { 0 };
        let before = edges(&bench);
        let result = command(&mut bench, &bytes);
        let head = if mt && usize::from(r) + count >= 19 { 1 } else { h };
        let (c, h, r) = expected;
        assert_eq!(result, [head << 2, 0, 0, c, h, r, 2], "{mt} {start:?} {eot} {count}");
        assert_eq!(edges(&bench), before + 1, "interrupts");
        assert!(!irq(&bench), "the first result byte does not lower the interrupt");
        let (c, h, r) = start;
        assert_eq!(buffer(&bench, count * 512), sectors(c.into(), h.into(), r.into(), count));
    }
}

#[test]
fn a_transfer_without_terminal_count_ends_at_the_end_of_the_cylinder() {
    let mut bench = machine();
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 0x8000);
    assert_eq!(command(&mut bench, &read_command(0, 0, 0, 17, 18)), [0x40, 0x80, 0, 1, 0, 1, 2]);
    assert_eq!(buffer(&bench, 1024), sectors(0, 0, 17, 2));
}

#[test]
fn terminal_count_in_the_middle_of_a_sector_ends_after_it() {
    let mut bench = machine();
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 700);
    assert_eq!(command(&mut bench, &read_command(0, 0, 0, 1, 18)), [0, 0, 0, 0, 0, 3, 2]);
    assert_eq!(buffer(&bench, 701), [&sectors(0, 0, 1, 2)[..700], &[0]].concat());
    // A write fills the rest of the sector with zeros.
    bench.memory.write(BUFFER.into(), &[0xaa; 700]);
    dma(&mut bench, DMA_FROM_MEMORY, BUFFER, 700);
    assert_eq!(command(&mut bench, &[0x45, 0, 0, 0, 3, 2, 18, 0x1b, 0xff]), [0, 0, 0, 0, 0, 5, 2]);
    let disk = &bench.disks[&A];
    assert_eq!(disk[1024..1724], [0xaa; 700]);
    assert_eq!(disk[1724..2048], [0; 324]);
    assert_eq!(disk[2048..2052], 4u32.to_le_bytes());
}

#[test]
fn a_write_reaches_the_image_across_both_heads() {
    let mut bench = machine();
    seek(&mut bench, 0, 79);
    let data: Vec<u8> = (0..36 * 512).map(|n| (n / 512) as u8 ^ n as u8).collect();
    bench.memory.write(BUFFER.into(), &data);
    dma(&mut bench, DMA_FROM_MEMORY, BUFFER, data.len());
    assert_eq!(command(&mut bench, &[0xc5, 0, 79, 0, 1, 2, 18, 0x1b, 0xff]), [0x04, 0, 0, 80, 0, 1, 2]);
    assert_eq!(bench.disks[&A][79 * 36 * 512..], data);
    // One request for each side.
    assert_eq!(bench.log.len(), 2);
}

#[test]
fn a_verify_transfer_of_the_dma_channel_moves_nothing_but_counts() {
    let mut bench = machine();
    dma(&mut bench, DMA_VERIFY, BUFFER, 1024);
    assert_eq!(command(&mut bench, &read_command(0, 0, 0, 1, 18)), [0, 0, 0, 0, 0, 3, 2]);
    assert_eq!(buffer(&bench, 1024), [0; 1024]);
}

#[test]
fn an_address_wraps_at_64_kib_within_its_page() {
    let mut bench = machine();
    dma(&mut bench, DMA_TO_MEMORY, BUFFER + 0xff00, 512);
    assert_eq!(command(&mut bench, &read_command(0, 0, 0, 1, 18))[0], 0);
    let mut tail = [0; 256];
    bench.memory.read((BUFFER + 0xff00).into(), &mut tail);
    assert_eq!([&tail, &buffer(&bench, 256)[..]].concat(), sectors(0, 0, 1, 1));
}

#[test]
fn an_auto_initialized_channel_serves_one_command_after_another() {
    let mut bench = machine();
    dma(&mut bench, DMA_TO_MEMORY | 0x10, BUFFER, 512);
    for r in 1..=3 {
        assert_eq!(command(&mut bench, &read_command(0, 0, 0, r, 18)), [0, 0, 0, 0, 0, r + 1, 2]);
        assert_eq!(buffer(&bench, 512), sectors(0, 0, r.into(), 1));
    }
}

#[test]
fn a_channel_programmed_after_the_command_is_served_and_a_masked_one_overruns() {
    let mut bench = machine();
    bench.isa_dma_out(0x0a, 0x06);
    send(&mut bench, &read_command(0, 0, 0, 1, 18));
    bench.advance(100_000_000);
    assert_eq!(bench.inb(MSR), 0x10);
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 512);
    bench.advance(1_000_000);
    assert!(irq(&bench));
    assert_eq!(result(&mut bench), [0, 0, 0, 0, 0, 2, 2]);
    assert_eq!(buffer(&bench, 512), sectors(0, 0, 1, 1));

    bench.isa_dma_out(0x0a, 0x06);
    assert_eq!(command(&mut bench, &read_command(0, 0, 0, 1, 18)), [0x40, 0x10, 0, 0, 0, 1, 2]);
    // DMAGATE# clear disconnects DRQ and INT.
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 512);
    bench.outb(DOR, 0x34);
    let before = edges(&bench);
    assert_eq!(command(&mut bench, &read_command(0, 0, 0, 1, 18)), [0x40, 0x10, 0, 0, 0, 1, 2]);
    assert_eq!(edges(&bench), before);
}

/// SPECIFY with ND, and the FIFO on with a threshold, or off.
fn pio(bench: &mut Bench<Fdc>, fifo: Option<u8>) {
    command(bench, &[0x03, 0xdf, 0x03]);
    let parameters = fifo.map_or(0x20, |threshold| threshold & 0xf);
    command(bench, &[0x13, 0, parameters, 0]);
}

#[test]
fn a_pio_read_offers_every_byte_and_ends_with_end_of_cylinder() {
    // Without the FIFO there is an interrupt for each byte; with it, for each load of 16 less the threshold.
    for (fifo, interrupts) in [(None, 1024 + 1), (Some(0), 64 + 1), (Some(8), 128 + 1), (Some(15), 1024 + 1)] {
        let mut bench = machine();
        pio(&mut bench, fifo);
        let before = edges(&bench);
        send(&mut bench, &read_command(0, 0, 0, 17, 18));
        bench.advance(1_000_000);
        let mut data = Vec::new();
        // RQM, DIO, NDM, CB.
        while bench.inb(MSR) == 0xf0 {
            data.push(bench.inb(FIFO));
        }
        assert_eq!(data, sectors(0, 0, 17, 2));
        assert_eq!(result(&mut bench), [0x40, 0x80, 0, 1, 0, 1, 2]);
        assert_eq!(edges(&bench) - before, interrupts, "{fifo:?}");
    }
}

#[test]
fn a_pio_write_takes_every_byte() {
    let mut bench = machine();
    pio(&mut bench, Some(7));
    let data: Vec<u8> = (0..1024u32).map(|n| n as u8 ^ 0x77).collect();
    send(&mut bench, &[0x45, 4, 0, 1, 17, 2, 18, 0x1b, 0xff]);
    bench.advance(1_000_000);
    for &byte in &data {
        // RQM, NDM, CB; not DIO.
        assert_eq!(bench.inb(MSR), 0xb0);
        bench.outb(FIFO, byte);
    }
    assert_eq!(result(&mut bench), [0x44, 0x80, 0, 1, 1, 1, 2]);
    let at = (18 + 16) * 512;
    assert_eq!(bench.disks[&A][at..at + 1024], data);
}

#[test]
fn sectors_that_are_not_there_have_their_error_bits() {
    let mut bench = machine();
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 512);
    // No sector 19; a wrong N; a wrong H: no data.
    for (bytes, st1, st2) in [
        ([0x46, 0, 0, 0, 19, 2, 19, 0x1b, 0xff], 0x04, 0),
        ([0x46, 0, 0, 0, 0, 2, 18, 0x1b, 0xff], 0x04, 0),
        ([0x46, 0, 0, 0, 1, 3, 18, 0x1b, 0xff], 0x04, 0),
        ([0x46, 0, 0, 1, 1, 2, 18, 0x1b, 0xff], 0x04, 0),
        // The heads stand on another cylinder.
        ([0x46, 0, 5, 0, 1, 2, 18, 0x1b, 0xff], 0x04, 0x10),
        // FM; no disk in B; no drives C and D: no address mark.
        ([0x06, 0, 0, 0, 1, 2, 18, 0x1b, 0xff], 0x01, 0),
        ([0x46, 1, 0, 0, 1, 2, 18, 0x1b, 0xff], 0x01, 0),
        ([0x46, 2, 0, 0, 1, 2, 18, 0x1b, 0xff], 0x01, 0),
    ] {
        let result = command(&mut bench, &bytes);
        assert_eq!(result, [0x40 | bytes[1], st1, st2, bytes[2], bytes[3], bytes[4], bytes[5]], "{bytes:02x?}");
    }
    // A data rate that is not the disk's, and a motor that is off.
    for rate in 1..4 {
        bench.outb(DIR, rate);
        assert_eq!(command(&mut bench, &read_command(0, 0, 0, 1, 18))[..2], [0x40, 0x01], "rate {rate}");
    }
    bench.outb(DIR, 0);
    bench.outb(DOR, 0x2c);
    assert_eq!(command(&mut bench, &read_command(0, 0, 0, 1, 18))[..2], [0x40, 0x01]);
    bench.outb(DOR, 0x3c);
    assert_eq!(command(&mut bench, &read_command(0, 0, 0, 1, 18))[..2], [0, 0]);
}

#[test]
fn a_read_only_disk_refuses_writes_and_formats() {
    let specs = [
        Some(FloppySpec { kind: DriveType::D1440, medium: Some(FloppyMedium { size: 1_474_560, read_only: true }) }),
        None,
    ];
    let mut bench = Bench::new(Fdc::new(specs, Timing::Fast));
    bench.disks.insert(A, image(1440));
    start(&mut bench);
    for bytes in [&[0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff][..], &[0x49, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]] {
        assert_eq!(command(&mut bench, bytes), [0x40, 0x02, 0, 0, 0, 1, 2]);
    }
    assert_eq!(command(&mut bench, &[0x4d, 0, 2, 18, 0x54, 0xf6])[..2], [0x40, 0x02]);
    assert_eq!(command(&mut bench, &[0x04, 0]), [0x78]);
    assert!(bench.log.is_empty());
    // An image that turns out to be read-only.
    let mut bench = machine();
    bench.fail = Some(BlockError::ReadOnly);
    dma(&mut bench, DMA_FROM_MEMORY, BUFFER, 512);
    assert_eq!(command(&mut bench, &[0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff])[..3], [0x40, 0x02, 0]);
    assert_eq!(command(&mut bench, &[0x04, 0]), [0x78]);
}

#[test]
fn a_host_error_is_a_crc_error_of_its_sector() {
    let mut bench = machine();
    bench.hold_requests = true;
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 18 * 512);
    send(&mut bench, &read_command(0, 0, 0, 1, 18));
    bench.advance(1_000_000);
    // The whole track fails, then the controller reads sector by sector, of which the fourth fails.
    bench.fail = Some(BlockError::Io(5));
    assert!(bench.complete());
    bench.fail = None;
    for _ in 0..3 {
        assert!(bench.complete());
    }
    bench.fail = Some(BlockError::Io(5));
    assert!(bench.complete());
    assert_eq!(result(&mut bench), [0x40, 0x20, 0x20, 0, 0, 4, 2]);
    assert_eq!(buffer(&bench, 3 * 512), sectors(0, 0, 1, 3));
}

#[test]
fn deleted_sectors_are_read_skipped_or_stop_the_read() {
    let mut bench = machine();
    bench.memory.write(BUFFER.into(), &[0xdd; 512]);
    dma(&mut bench, DMA_FROM_MEMORY, BUFFER, 512);
    assert_eq!(command(&mut bench, &[0x49, 0, 0, 0, 3, 2, 18, 0x1b, 0xff]), [0, 0, 0, 0, 0, 4, 2]);
    // READ DATA without SK reads the deleted sector, sets CM and stops there.
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 5 * 512);
    assert_eq!(command(&mut bench, &read_command(0, 0, 0, 1, 18)), [0, 0, 0x40, 0, 0, 3, 2]);
    assert_eq!(buffer(&bench, 3 * 512), [&sectors(0, 0, 1, 2)[..], &[0xdd; 512]].concat());
    // With SK it is skipped.
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 4 * 512);
    assert_eq!(command(&mut bench, &[0x66, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]), [0, 0, 0x40, 0, 0, 6, 2]);
    assert_eq!(buffer(&bench, 4 * 512), [sectors(0, 0, 1, 2), sectors(0, 0, 4, 2)].concat());
    // READ DELETED DATA reads it; with SK it skips the others, up to the end of the cylinder.
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 512);
    assert_eq!(command(&mut bench, &[0x4c, 0, 0, 0, 3, 2, 18, 0x1b, 0xff]), [0, 0, 0, 0, 0, 4, 2]);
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 1024);
    assert_eq!(command(&mut bench, &[0x6c, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]), [0x40, 0x80, 0x40, 1, 0, 1, 2]);
    assert_eq!(buffer(&bench, 512), [0xdd; 512]);
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 1024);
    assert_eq!(command(&mut bench, &[0x4c, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]), [0, 0, 0x40, 0, 0, 1, 2]);
    // A normal write removes the mark.
    dma(&mut bench, DMA_FROM_MEMORY, BUFFER, 512);
    command(&mut bench, &[0x45, 0, 0, 0, 3, 2, 18, 0x1b, 0xff]);
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 5 * 512);
    assert_eq!(command(&mut bench, &read_command(0, 0, 0, 1, 18)), [0, 0, 0, 0, 0, 6, 2]);
}

#[test]
fn read_track_ignores_ids_but_reports_that_they_differ() {
    let mut bench = machine();
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 0x4000);
    assert_eq!(command(&mut bench, &[0x42, 0, 0, 0, 1, 2, 18, 0x1b, 0xff])[..3], [0, 0, 0]);
    assert_eq!(buffer(&bench, 18 * 512), sectors(0, 0, 1, 18));
    dma(&mut bench, DMA_TO_MEMORY, BUFFER, 1024);
    assert_eq!(command(&mut bench, &[0x42, 4, 0, 1, 9, 2, 18, 0x1b, 0xff])[..3], [0x44, 0x04, 0]);
    assert_eq!(buffer(&bench, 1024), sectors(0, 1, 1, 2));
}

#[test]
fn verify_needs_no_dma_and_ends_at_its_count_or_at_the_end_of_the_track() {
    let mut bench = machine();
    bench.isa_dma_out(0x0a, 0x06);
    // Without EC: to EOT.
    assert_eq!(command(&mut bench, &[0x56, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]), [0, 0, 0, 1, 0, 1, 2]);
    // With EC: SC sectors, also across heads.
    assert_eq!(command(&mut bench, &[0x56, 0x80, 0, 0, 1, 2, 18, 0x1b, 3]), [0, 0, 0, 0, 0, 4, 2]);
    assert_eq!(command(&mut bench, &[0xd6, 0x80, 0, 0, 10, 2, 18, 0x1b, 20]), [0x04, 0, 0, 0, 1, 12, 2]);
    // More sectors than the cylinder has, and an EOT that the track does not have.
    assert_eq!(command(&mut bench, &[0x56, 0x80, 0, 0, 1, 2, 18, 0x1b, 19])[..2], [0x40, 0x80]);
    assert_eq!(command(&mut bench, &[0x56, 0, 0, 0, 1, 2, 19, 0x1b, 0xff])[..2], [0x40, 0x04]);
    let read: u64 = bench.log.iter().map(|request| request.3).sum();
    assert_eq!(read, (18 + 3 + 20 + 18 + 18) * 512);
}

#[test]
fn scans_compare_the_disk_with_memory() {
    let mut bench = machine();
    for (n, sector) in (0..18u8).zip(bench.disks.get_mut(&A).unwrap().chunks_mut(512)) {
        sector.fill(0x10 + n);
    }
    // Opcode, byte in memory, result ST2 and R.
    for (opcode, byte, st2, r) in [
        (0x51, 0x12, 0x08, 3),
        (0x51, 0x10, 0x08, 1),
        (0x51, 0x80, 0x04, 1),
        (0x59, 0x10, 0x08, 1),
        (0x59, 0x20, 0x00, 1),
        (0x59, 0x0f, 0x04, 1),
        (0x5d, 0x0f, 0x00, 1),
        (0x5d, 0x14, 0x08, 5),
        (0x5d, 0x80, 0x04, 1),
        // FFh matches everything.
        (0x51, 0xff, 0x08, 1),
    ] {
        // An auto-initialized channel sends the same sector again and again, with a TC each time, which ends the scan.
        // So memory holds as many copies as there are sectors.
        bench.memory.write(BUFFER.into(), &vec![byte; 18 * 512]);
        dma(&mut bench, DMA_FROM_MEMORY, BUFFER, 19 * 512);
        let result = command(&mut bench, &[opcode, 0, 0, 0, 1, 2, 18, 0x1b, 1]);
        let c = u8::from(st2 == 0x04);
        assert_eq!(result, [0, 0, st2, c, 0, r, 2], "{opcode:02x} {byte:02x}");
    }
    // STP = 2: every second sector.
    bench.memory.write(BUFFER.into(), &vec![0x13; 18 * 512]);
    dma(&mut bench, DMA_FROM_MEMORY, BUFFER, 19 * 512);
    assert_eq!(command(&mut bench, &[0x51, 0, 0, 0, 1, 2, 18, 0x1b, 2])[2], 0x04);
    dma(&mut bench, DMA_FROM_MEMORY, BUFFER, 19 * 512);
    assert_eq!(command(&mut bench, &[0x51, 0, 0, 0, 2, 2, 18, 0x1b, 2]), [0, 0, 0x08, 0, 0, 4, 2]);
    // TC ends a scan after the sector.
    dma(&mut bench, DMA_FROM_MEMORY, BUFFER, 512);
    assert_eq!(command(&mut bench, &[0x51, 0, 0, 0, 1, 2, 18, 0x1b, 1]), [0, 0, 0x04, 0, 0, 1, 2]);
}

/// The IDs that a driver sends to FORMAT TRACK.
fn ids(c: u8, h: u8, sectors: impl IntoIterator<Item = u8>) -> Vec<u8> {
    sectors.into_iter().flat_map(|r| [c, h, r, 2]).collect()
}

fn format(bench: &mut Bench<Fdc>, head: u8, ids: &[u8]) -> Vec<u8> {
    bench.memory.write(BUFFER.into(), ids);
    dma(bench, DMA_FROM_MEMORY, BUFFER, ids.len());
    command(bench, &[0x4d, head << 2, 2, (ids.len() / 4) as u8, 0x54, 0xf6])
}

#[test]
fn a_track_is_formatted_in_any_interleave() {
    let mut bench = machine();
    seek(&mut bench, 0, 7);
    let interleaved = [1, 10, 2, 11, 3, 12, 4, 13, 5, 14, 6, 15, 7, 16, 8, 17, 9, 18];
    assert_eq!(format(&mut bench, 1, &ids(7, 1, interleaved))[..3], [0x04, 0, 0]);
    let at = (7 * 2 + 1) * 18 * 512;
    assert_eq!(bench.disks[&A][at..at + 18 * 512], [0xf6; 18 * 512]);
    assert_eq!(bench.disks[&A][..at], image(1440)[..at]);
    assert_eq!(bench.disks[&A][at + 18 * 512..], image(1440)[at + 18 * 512..]);
}

#[test]
fn a_format_that_the_image_cannot_hold_fails_and_writes_nothing() {
    let mut bench = machine();
    for ids in [
        ids(0, 0, 1..=9),
        ids(0, 0, 1..=21),
        ids(1, 0, 1..=18),
        ids(0, 1, 1..=18),
        ids(0, 0, 0..=17),
        ids(0, 0, [1; 18]),
        ids(0, 0, 1..=18).into_iter().map(|byte| if byte == 2 { 3 } else { byte }).collect(),
    ] {
        assert_eq!(format(&mut bench, 0, &ids)[..2], [0x40, 0x04], "{ids:?}");
    }
    // The data rate of another density, a track past the disk's last, and no disk.
    bench.outb(DIR, 2);
    assert_eq!(format(&mut bench, 0, &ids(0, 0, 1..=18))[..2], [0x40, 0x04]);
    bench.outb(DIR, 0);
    seek(&mut bench, 0, 80);
    assert_eq!(format(&mut bench, 0, &ids(80, 0, 1..=18))[..2], [0x40, 0x04]);
    bench.memory.write(BUFFER.into(), &ids(0, 0, 1..=18));
    assert_eq!(command(&mut bench, &[0x4d, 1, 2, 18, 0x54, 0xf6])[..2], [0x41, 0x01]);
    assert!(bench.log.is_empty());
}

#[test]
fn read_id_returns_the_sectors_in_turn() {
    let mut bench = machine();
    seek(&mut bench, 0, 12);
    for n in 0..40 {
        assert_eq!(command(&mut bench, &[0x4a, 4]), [0x04, 0, 0, 12, 1, n % 18 + 1, 2]);
    }
    assert!(bench.log.is_empty());
}
