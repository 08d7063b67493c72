//! Tests of ATAPI CD-ROM drives.

use super::*;
use crate::{BlockError, Device, Effect, TrayRequest, Wake};

/// READ (10) of 40 sectors from LBA 3.
const READ_40_SECTORS: [u8; 10] = [opcode::READ_10, 0, 0, 0, 0, 3, 0, 0, 40, 0];

fn disc() -> Vec<u8> {
    pattern(4096 * 512, 2)
}

#[test]
fn identify_device_aborts_with_the_packet_signature() {
    let mut bench = machine();
    let mut driver = cdrom(&mut bench);
    driver.issue28(op::IDENTIFY_DEVICE, 0, 0);
    assert_eq!((driver.status() & 9, driver.error()), (1, 4));
    assert_eq!([2, 3, 4, 5].map(|n| driver.bench.inb(0x170 + n)), [1, 1, 0x14, 0xeb]);
    driver.issue28(op::IDENTIFY_PACKET_DEVICE, 0, 0);
    let id = driver.pio_in(512);
    assert_eq!(id[..2], [0xc0, 0x85]);
    assert_eq!(id.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)), 0);
}

#[test]
fn a_reset_is_reported_by_one_unit_attention() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    assert_eq!(driver.cdb(&[opcode::TEST_UNIT_READY]), Ok(vec![]));
    driver.bench.outb(0x376, 4);
    driver.bench.outb(0x376, 0);
    let inquiry = driver.cdb(&[opcode::INQUIRY, 0, 0, 0, 36]).unwrap();
    assert_eq!((inquiry.len(), &inquiry[8..16]), (36, &b"PCVM    "[..]), "INQUIRY does not report the unit attention");
    assert_eq!(driver.cdb(&[opcode::TEST_UNIT_READY]), Err([6, 0x29, 0]));
}

#[test]
fn sectors_are_read_by_pio_within_the_byte_count_limit() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    for limit in [2048, 4096, 5000, 0xfffe, 0xffff, 0, 512, 3] {
        let before = driver.edges();
        driver.packet(&READ_40_SECTORS, limit, false);
        let data = driver.packet_in();
        assert!(data == disc()[3 * 2048..43 * 2048], "{limit}");
        assert_eq!(driver.status(), 0x50);
        if limit == 2048 {
            assert_eq!(driver.edges() - before, 41, "one interrupt per block and one at the end");
        }
    }
}

#[test]
fn sectors_are_read_by_dma_into_guest_memory() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    driver.prds(&[(0x2_0000, 0), (0x3_0000, 0x8000_4000)]);
    driver.packet(&READ_40_SECTORS, 0, true);
    driver.start(true);
    assert_eq!(driver.bm_status() & 7, 4);
    assert_eq!(driver.status(), 0x50);
    driver.stop();
    let mut back = vec![0; 40 * 2048];
    bench.memory.read(0x2_0000, &mut back);
    assert!(back == disc()[3 * 2048..43 * 2048]);
    assert_eq!(bench.log.len(), 1);
    // A short reply (INQUIRY) by DMA.
    let mut driver = cdrom(&mut bench);
    driver.prds(&[(0x2_0001, 0x8000_0024)]);
    driver.packet(&[opcode::INQUIRY, 0, 0, 0, 36], 0, true);
    driver.start(true);
    assert_eq!(driver.status(), 0x50);
    let mut back = [0; 16];
    bench.memory.read(0x2_0000, &mut back);
    assert_eq!(&back[8..], b"PCVM    ", "bit 0 of the address is ignored");
}

#[test]
fn addresses_past_the_end_of_the_disc_are_rejected() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    let out_of_range = Err([5, 0x21, 0]);
    assert_eq!(driver.cdb(&[opcode::READ_10, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1]), out_of_range);
    assert_eq!(driver.cdb(&[opcode::READ_10, 0, 0, 0, 4, 0, 0, 0, 1]), out_of_range);
    assert_eq!(driver.cdb(&[opcode::READ_10, 0, 0, 0, 3, 0xff, 0, 0, 2]), out_of_range);
    assert_eq!(driver.cdb(&[opcode::READ_12, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), out_of_range);
    assert_eq!(driver.cdb(&[opcode::READ_CD, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10]), out_of_range);
    assert_eq!(
        driver.cdb(&[opcode::READ_10, 0, 0, 0, 0, 0, 0, 0, 0]),
        Ok(vec![]),
        "a transfer length of 0 is not an error"
    );
    assert_eq!(driver.cdb(&[opcode::SEEK_10, 0, 0, 0, 4, 0]), out_of_range);
    assert!(bench.log.is_empty());
}

#[test]
fn raw_sectors_have_valid_edc_and_ecc() {
    let mut bench = machine();
    bench.disks.insert(DiskId(2), vec![0; 1024 * 2048]);
    let mut driver = ready_cdrom(&mut bench);
    let raw = driver.cdb(&[opcode::READ_CD, 0, 0, 0, 0, 0, 0, 0, 1, 0xf8]).unwrap();
    assert_eq!(raw.len(), 2352);
    assert_eq!(raw[..16], [0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 2, 0, 1]);
    check_parity(&raw);
    let all = driver.cdb(&[opcode::READ_CD_MSF, 0, 0, 0, 2, 16, 0, 3, 16, 0xf8]).unwrap();
    assert_eq!(all.len(), 75 * 2352);
    assert_eq!(all[12..16], [0, 2, 0x16, 1]);
    check_parity(&all[74 * 2352..]);
    assert_eq!(driver.cdb(&[opcode::READ_CD, 0, 0, 0, 0, 1, 0, 0, 2, 0x10]).unwrap().len(), 4096);
    assert_eq!(driver.cdb(&[opcode::READ_CD, 0, 0, 0, 0, 1, 0, 0, 2, 0]), Ok(vec![]), "no part requested");
    assert_eq!(
        driver.cdb(&[opcode::READ_CD, 4, 0, 0, 0, 1, 0, 0, 2, 0x10]),
        Err([5, 0x64, 0]),
        "the expected sector type is audio"
    );
}

/// Checks EDC and ECC of a sector of mode 1.
fn check_parity(raw: &[u8]) {
    check_ecc(raw);
    let crc = raw[..2068].iter().fold(0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xd801_8001 } else { crc >> 1 })
    });
    assert_eq!(crc, 0, "EDC");
}

/// Checks ECC: every P and Q vector with its parity is a multiple of the generator (x+1)(x+a).
pub(super) fn check_ecc(raw: &[u8]) {
    let double = |n: u8| n << 1 ^ if n & 0x80 != 0 { 0x1d } else { 0 };
    let body = &raw[12..];
    let syndromes = |vector: &mut dyn Iterator<Item = u8>| {
        vector.fold((0, 0), |(sum, weighted), byte| (sum ^ byte, double(weighted) ^ byte))
    };
    for column in 0..86 {
        let mut vector = (0..26).map(|row| body[row * 86 + column]);
        assert_eq!(syndromes(&mut vector), (0, 0), "P {column}");
    }
    for diagonal in 0..26 {
        for byte in 0..2 {
            let data = (0..43).map(|n| body[(diagonal * 86 + n * 88) % 2236 + byte]);
            let parity = [0, 1].map(|n| body[2236 + 52 * n + 2 * diagonal + byte]);
            assert_eq!(syndromes(&mut data.chain(parity)), (0, 0), "Q {diagonal}");
        }
    }
}

#[test]
fn the_toc_is_read_in_every_format() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    let toc = driver.cdb(&[opcode::READ_TOC, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).unwrap();
    assert_eq!(toc, [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 4, 0]);
    let msf = driver.cdb(&[opcode::READ_TOC, 2, 0, 0, 0, 0, 0xaa, 0xff, 0xff]).unwrap();
    assert_eq!(msf, [0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 15, 49]);
    let session = driver.cdb(&[opcode::READ_TOC, 0, 0, 0, 0, 0, 0, 0, 12, 0x40]).unwrap();
    assert_eq!(session, [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0], "the format is in byte 9, as before MMC");
    assert_eq!(driver.cdb(&[opcode::READ_TOC, 2, 2, 0, 0, 0, 0, 1, 0]).unwrap().len(), 4 + 4 * 11);
    assert_eq!(
        driver.cdb(&[opcode::READ_TOC, 0, 0, 0, 0, 0, 0, 0, 3]).unwrap(),
        [0, 18, 1],
        "truncated to the allocation length"
    );
    for format in [3, 4, 5] {
        assert_eq!(driver.cdb(&[opcode::READ_TOC, 0, format, 0, 0, 0, 0, 1, 0]), Err([5, 0x24, 0]));
    }
    assert_eq!(driver.cdb(&[opcode::READ_TOC, 0, 0, 0, 0, 0, 2, 1, 0]), Err([5, 0x24, 0]));
}

#[test]
fn replies_have_the_length_in_their_header() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    assert_eq!(driver.cdb(&[opcode::READ_CAPACITY]).unwrap(), [0, 0, 3, 255, 0, 0, 8, 0]);
    let sixteen: [(&[u8], usize); 8] = [
        (&[opcode::READ_TOC, 0, 2, 0, 0, 0, 0, 0xff, 0xff], 2),
        (&[opcode::READ_DISC_INFORMATION, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 2),
        (&[opcode::READ_TRACK_INFORMATION, 1, 0, 0, 0, 1, 0, 0xff, 0xff], 2),
        (&[opcode::MODE_SENSE_10, 0, 0x3f, 0, 0, 0, 0, 0xff, 0xff], 2),
        (&[opcode::GET_EVENT_STATUS_NOTIFICATION, 1, 0, 0, 0x10, 0, 0, 0xff, 0xff], 2),
        (&[opcode::GET_EVENT_STATUS_NOTIFICATION, 1, 0, 0, 0x02, 0, 0, 0xff, 0xff], 2),
        (&[opcode::READ_SUB_CHANNEL, 2, 0x40, 1, 0, 0, 0, 0xff, 0xff], 4),
        (&[opcode::READ_DVD_STRUCTURE, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff], 2),
    ];
    for (cdb, field) in sixteen {
        let data = driver.cdb(cdb).unwrap();
        let at = field - 2;
        assert_eq!(usize::from(u16::from_be_bytes([data[at], data[at + 1]])) + field, data.len(), "{cdb:x?}");
    }
    let data = driver.cdb(&[opcode::GET_CONFIGURATION, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).unwrap();
    assert_eq!(u32::from_be_bytes([data[0], data[1], data[2], data[3]]) as usize + 4, data.len());
    assert_eq!(data[7], 8, "CD-ROM");
    let data = driver.cdb(&[opcode::MODE_SENSE_6, 0, 0x2a, 0, 0xff]).unwrap();
    assert_eq!(usize::from(data[0]) + 1, data.len());
    for page in [0, 0x80, 0x83] {
        let data = driver.cdb(&[opcode::INQUIRY, 1, page, 0, 0xff]).unwrap();
        assert_eq!((usize::from(data[3]) + 4, data[1]), (data.len(), page));
    }
    assert_eq!(driver.cdb(&[opcode::MECHANISM_STATUS, 0, 0, 0, 0, 0, 0, 0, 0, 8]).unwrap().len(), 8);
    assert_eq!(driver.cdb(&[opcode::READ_HEADER, 0, 0, 0, 0, 1, 0, 0, 8]).unwrap(), [1, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn a_disc_larger_than_a_cd_is_a_dvd() {
    let mut bench =
        enabled(with_drives([None, None, Some(DriveSpec::cdrom(Some(crate::Disc::single(4 << 30)), "")), None]));
    let mut driver = ready_cdrom(&mut bench);
    let data = driver.cdb(&[opcode::GET_CONFIGURATION, 0, 0, 0, 0, 0, 0, 0, 8]).unwrap();
    assert_eq!(data[6..], [0, 0x10]);
    let data = driver.cdb(&[opcode::READ_DVD_STRUCTURE, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).unwrap();
    assert_eq!(data.len(), 2052);
    assert_eq!(data[12..16], (0x3_0000u32 + (4 << 19) - 1).to_be_bytes());
}

#[test]
fn mode_select_changes_what_mode_sense_returns() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    assert_eq!(
        driver.cdb(&[opcode::MODE_SENSE_10, 0, 0xff, 0, 0, 0, 0, 0, 200]),
        Err([5, 0x39, 0]),
        "saved values are not supported"
    );
    assert_eq!(driver.cdb(&[opcode::MODE_SENSE_10, 0, 0x08, 0, 0, 0, 0, 0, 200]), Err([5, 0x24, 0]));
    let mut list = vec![0; 8];
    list.extend([0x01, 10, 0x20, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
    for limit in [0xfffe, 6] {
        driver.packet(&[opcode::MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 0, 20], limit, false);
        for part in list.chunks(limit.into()) {
            assert_eq!(driver.status() & 0x89, 8);
            assert_eq!(driver.bench.inb(0x172), 0, "interrupt reason: data out");
            driver.bench.outs(SECONDARY, 2, part);
        }
        assert_eq!(driver.status(), 0x50);
    }
    let data = driver.cdb(&[opcode::MODE_SENSE_10, 0, 0x01, 0, 0, 0, 0, 0, 200]).unwrap();
    assert_eq!(data[8..12], [1, 10, 0x20, 9]);
    driver.packet(&[opcode::MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 0, 10], 0xfffe, false);
    driver.bench.outs(SECONDARY, 2, &[0, 0, 0, 0, 0, 0, 0, 0, 1, 200]);
    assert_eq!(driver.status() & 1, 1, "the page is longer than the parameter list");
    assert_eq!(driver.cdb(&[opcode::MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 0xff, 0xff]), Err([5, 0x1a, 0]));
}

#[test]
fn an_empty_drive_reports_no_medium() {
    let mut bench = enabled(with_drives([None, None, Some(DriveSpec::cdrom(None, "")), None]));
    let mut driver = ready_cdrom(&mut bench);
    for opcode in [
        opcode::TEST_UNIT_READY,
        opcode::READ_CAPACITY,
        opcode::READ_10,
        opcode::READ_TOC,
        opcode::READ_DISC_INFORMATION,
        opcode::READ_TRACK_INFORMATION,
        opcode::READ_12,
        opcode::READ_CD,
        opcode::READ_DVD_STRUCTURE,
        opcode::SEEK_10,
        opcode::READ_SUB_CHANNEL,
        opcode::READ_HEADER,
    ] {
        assert_eq!(driver.cdb(&[opcode]), Err([2, 0x3a, 1]), "{opcode:x}");
    }
    for opcode in [
        opcode::INQUIRY,
        opcode::GET_CONFIGURATION,
        opcode::MODE_SENSE_6,
        opcode::MODE_SENSE_10,
        opcode::MECHANISM_STATUS,
    ] {
        assert!(
            driver
                .cdb(&[
                    opcode,
                    0,
                    if opcode == opcode::MODE_SENSE_6 || opcode == opcode::MODE_SENSE_10 { 0x2a } else { 0 }
                ])
                .is_ok()
        );
    }
}

#[test]
fn a_medium_change_is_reported_by_event_and_unit_attention() {
    let mut bench = machine();
    ready_cdrom(&mut bench);
    let event = [opcode::GET_EVENT_STATUS_NOTIFICATION, 1, 0, 0, 0x10, 0, 0, 0, 8];
    let swap = |bench: &mut Bench<Piix3Ide>, size: Option<u64>| {
        bench.call(|device, cx| Device::wake(device, cx, Wake::Medium(DiskId(2), size.map(crate::Medium::iso))));
    };
    swap(&mut bench, None);
    let mut driver = cdrom(&mut bench);
    assert_eq!(driver.cdb(&[opcode::TEST_UNIT_READY]), Err([2, 0x3a, 2]));
    assert_eq!(driver.cdb(&event).unwrap()[4..6], [3, 1], "the tray stays open");
    assert_eq!(driver.cdb(&event).unwrap()[4..6], [0, 1], "the event is reported once");
    swap(&mut bench, Some(10 * 2048));
    let mut driver = cdrom(&mut bench);
    assert_eq!(driver.cdb(&event).unwrap()[4..6], [2, 2]);
    assert_eq!(driver.cdb(&[opcode::TEST_UNIT_READY]), Err([6, 0x28, 0]));
    assert_eq!(driver.cdb(&[opcode::READ_CAPACITY]).unwrap()[3], 9);
}

#[test]
fn the_tray_opens_unless_it_is_locked() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    assert_eq!(driver.cdb(&[opcode::PREVENT_ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 1]), Ok(vec![]));
    assert!(driver.bench.device.tray(DiskId(2)).unwrap().locked);
    assert_eq!(driver.cdb(&[opcode::START_STOP_UNIT, 0, 0, 0, 2]), Err([5, 0x53, 2]));
    assert_eq!(driver.cdb(&[opcode::PREVENT_ALLOW_MEDIUM_REMOVAL]), Ok(vec![]));
    assert_eq!(driver.cdb(&[opcode::START_STOP_UNIT, 0, 0, 0, 2]), Ok(vec![]));
    assert!(driver.bench.device.tray(DiskId(2)).unwrap().open);
    assert_eq!(driver.cdb(&[opcode::TEST_UNIT_READY]), Err([2, 0x3a, 2]));
    assert_eq!(bench.effects.last(), Some(&Effect::TrayMoved { disk: DiskId(2), open: true }));
    let mut driver = cdrom(&mut bench);
    assert_eq!(driver.cdb(&[opcode::START_STOP_UNIT, 0, 0, 0, 3]), Ok(vec![]));
    assert_eq!(driver.cdb(&[opcode::TEST_UNIT_READY]), Err([6, 0x28, 0]), "the disc lay on the tray");
    assert_eq!(driver.cdb(&[opcode::TEST_UNIT_READY]), Ok(vec![]));
    assert_eq!(bench.effects.last(), Some(&Effect::TrayMoved { disk: DiskId(2), open: false }));
}

#[test]
fn a_button_press_on_a_locked_tray_is_an_eject_request_to_the_guest() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    let event = [opcode::GET_EVENT_STATUS_NOTIFICATION, 1, 0, 0, 0x10, 0, 0, 0, 8];
    assert_eq!(driver.cdb(&[opcode::PREVENT_ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 1]), Ok(vec![]));
    bench.call(|device, cx| Device::wake(device, cx, Wake::Tray(DiskId(2), TrayRequest::Button)));
    let mut driver = cdrom(&mut bench);
    assert_eq!(driver.cdb(&event).unwrap()[4..6], [1, 2]);
    assert_eq!(driver.cdb(&event).unwrap()[4..6], [0, 2], "the request is reported once");
    assert_eq!(driver.cdb(&[opcode::TEST_UNIT_READY]), Ok(vec![]));
    // Persistent prevention: the button reports a request, and the guest can eject.
    assert_eq!(driver.cdb(&[opcode::PREVENT_ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 0]), Ok(vec![]));
    assert_eq!(driver.cdb(&[opcode::PREVENT_ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 3]), Ok(vec![]));
    assert!(driver.bench.device.tray(DiskId(2)).unwrap().locked);
    assert_eq!(driver.cdb(&[opcode::START_STOP_UNIT, 0, 0, 0, 2]), Ok(vec![]));
    assert!(driver.bench.device.tray(DiskId(2)).unwrap().open);
}

#[test]
fn a_tray_that_the_host_opens_and_closes_keeps_its_disc() {
    let mut bench = machine();
    ready_cdrom(&mut bench);
    let tray = |bench: &mut Bench<Piix3Ide>, request| {
        bench.call(|device, cx| Device::wake(device, cx, Wake::Tray(DiskId(2), request)));
    };
    tray(&mut bench, TrayRequest::Open);
    assert_eq!(cdrom(&mut bench).cdb(&[opcode::TEST_UNIT_READY]), Err([2, 0x3a, 2]));
    tray(&mut bench, TrayRequest::Close);
    assert_eq!(cdrom(&mut bench).cdb(&[opcode::TEST_UNIT_READY]), Err([6, 0x28, 0]));
    assert_eq!(cdrom(&mut bench).cdb(&[opcode::TEST_UNIT_READY]), Ok(vec![]));
    tray(&mut bench, TrayRequest::Open);
    bench.call(Device::reset);
    let state = bench.device.tray(DiskId(2)).unwrap();
    assert!(state.open && state.loaded && !state.locked, "a reset does not move the tray");
}

#[test]
fn a_disc_change_during_a_read_fails_the_read() {
    for dma in [false, true] {
        let mut bench = machine();
        let mut driver = ready_cdrom(&mut bench);
        driver.bench.hold_requests = true;
        // The table covers half of the transfer: the rest would be another request.
        driver.prds(&[(0x2_0000, 0x8000_a000)]);
        driver.packet(&READ_40_SECTORS, 0xfffe, dma);
        if dma {
            driver.start(true);
        }
        assert_eq!(driver.bench.pending.len(), 1);
        let other = Some(crate::Medium::iso(400 * 2048));
        driver.bench.call(|device, cx| Device::wake(device, cx, Wake::Medium(DiskId(2), other)));
        driver.bench.hold_requests = false;
        while driver.bench.complete() {}
        assert_eq!(driver.status() & 0x89, 1, "dma {dma}");
        assert_eq!(driver.bench.log.len(), 1, "nothing is read from the other disc");
        driver.stop();
        assert_eq!(driver.cdb(&[opcode::REQUEST_SENSE, 0, 0, 0, 18]).unwrap()[2], 0xb);
        assert_eq!(driver.cdb(&[opcode::TEST_UNIT_READY]), Err([6, 0x28, 0]));
    }
}

#[test]
fn a_disc_change_ends_a_dma_transfer_that_waits_for_the_engine() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    driver.packet(&READ_40_SECTORS, 0, true);
    assert_eq!(driver.status() & 8, 8);
    driver.bench.call(|device, cx| Device::wake(device, cx, Wake::Medium(DiskId(2), None)));
    assert_eq!(driver.status() & 0x89, 1);
    assert_eq!(driver.cdb(&[opcode::REQUEST_SENSE, 0, 0, 0, 18]).unwrap()[12..14], [0x3a, 2]);
}

#[test]
fn a_failed_request_is_a_medium_error() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    driver.bench.fail = Some(BlockError::Io(5));
    assert_eq!(driver.cdb(&READ_40_SECTORS), Err([3, 0x11, 0]));
    driver.prds(&[(0x2_0000, 0)]);
    driver.packet(&READ_40_SECTORS, 0, true);
    driver.start(true);
    assert_eq!(driver.status() & 1, 1);
    assert_eq!(driver.error() >> 4, 3);
    driver.bench.fail = None;
    driver.stop();
    assert_eq!(driver.cdb(&[opcode::REQUEST_SENSE, 0, 0, 0, 18]).unwrap()[2], 3);
    assert_eq!(driver.cdb(&[opcode::REQUEST_SENSE, 0, 0, 0, 18]).unwrap()[2], 0, "the sense data is reported once");
}

#[test]
fn audio_write_and_unknown_commands_are_rejected() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    assert_eq!(driver.cdb(&[opcode::PLAY_AUDIO_10, 0, 0, 0, 0, 0, 0, 0, 1]), Err([5, 0x64, 0]));
    // WRITE (10), LOAD/UNLOAD MEDIUM, SEND KEY, REPORT KEY, vendor specific, and others.
    for opcode in [0x2a, 0xa6, 0xa3, 0xa4, 0xd8, 0xff, 0x01, 0x04] {
        assert_eq!(driver.cdb(&[opcode]), Err([5, 0x20, 0]), "{opcode:x}");
    }
    assert_eq!(driver.cdb(&[opcode::READ_DVD_STRUCTURE, 0, 0, 0, 0, 0, 0, 0, 8, 8]), Err([5, 0x30, 0]));
    assert_eq!(
        driver.cdb(&[opcode::GET_EVENT_STATUS_NOTIFICATION, 0, 0, 0, 0x10, 0, 0, 0, 8]),
        Err([5, 0x24, 0]),
        "only polled mode is supported"
    );
}

#[test]
fn device_reset_aborts_a_packet_command() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    driver.packet(&READ_40_SECTORS, 2048, false);
    assert_eq!(driver.status() & 8, 8);
    driver.bench.outb(0x177, op::DEVICE_RESET);
    assert_eq!(driver.status(), 0);
    assert!(!driver.irq());
    assert_eq!((driver.bench.inb(0x174), driver.bench.inb(0x175)), (0x14, 0xeb));
    assert_eq!(driver.cdb(&[opcode::TEST_UNIT_READY]), Ok(vec![]));
}
