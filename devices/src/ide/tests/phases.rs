//! The task file in each phase of a packet device's commands (SFF-8020i, 5.8 to 5.10; ATA/ATAPI-4, 9.7 and 9.8).

use super::*;

/// Status, Interrupt Reason and byte count, without clearing the interrupt.
fn task(driver: &mut Driver<'_>) -> (u8, u8, u16) {
    let base = driver.base;
    let [reason, low, high] = [2, 4, 5].map(|register| driver.bench.inb(base + register));
    (driver.bench.inb(base + 0x206), reason, u16::from_le_bytes([low, high]))
}

/// Starts PACKET with a byte count limit of 1000 h.
fn start_packet(driver: &mut Driver<'_>, dma: bool) {
    let base = driver.base;
    for (register, value) in [(1, u8::from(dma)), (2, 0xff), (4, 0), (5, 0x10), (7, op::PACKET)] {
        driver.bench.outb(base + register, value);
    }
}

fn send_packet(driver: &mut Driver<'_>, cdb: &[u8]) {
    let mut padded = cdb.to_vec();
    padded.resize(12, 0);
    let base = driver.base;
    driver.bench.outs(base, 2, &padded);
}

#[test]
fn identify_packet_device_announces_512_bytes_to_the_host() {
    let mut bench = machine();
    let mut driver = cdrom(&mut bench);
    for register in [1, 2, 3, 4, 5] {
        driver.bench.outb(0x170 + register, 0xff);
    }
    driver.bench.outb(0x177, op::IDENTIFY_PACKET_DEVICE);
    assert_eq!(task(&mut driver), (0x58, 2, 0x200));
    assert!(driver.irq());
    assert_eq!(driver.pio_in(512).len(), 512);
    assert_eq!(driver.status(), 0x50);
}

#[test]
fn the_packet_phase_is_a_command_to_the_device_without_an_interrupt() {
    for dma in [false, true] {
        let mut bench = machine();
        let mut driver = ready_cdrom(&mut bench);
        let before = driver.edges();
        start_packet(&mut driver, dma);
        assert_eq!(task(&mut driver), (0x58, 1, 0x1000));
        assert_eq!(driver.edges(), before, "the drive reports DRQ within 50 us and raises no interrupt");
    }
}

#[test]
fn each_block_of_data_to_the_host_carries_its_byte_count() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    start_packet(&mut driver, false);
    send_packet(&mut driver, &[opcode::READ_10, 0, 0, 0, 0, 3, 0, 0, 3, 0]);
    for count in [0x1000, 0x800] {
        assert!(driver.irq());
        assert_eq!(task(&mut driver), (0x58, 2, count));
        driver.status();
        assert!(!driver.irq());
        let mut data = vec![0; count.into()];
        driver.bench.ins(0x170, 2, &mut data);
    }
    assert!(driver.irq());
    let (status, reason, _) = task(&mut driver);
    assert_eq!((status, reason), (0x50, 3));
}

#[test]
fn each_block_of_data_to_the_device_carries_its_byte_count() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    start_packet(&mut driver, false);
    send_packet(&mut driver, &[opcode::MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 0, 16]);
    assert!(driver.irq());
    assert_eq!(task(&mut driver), (0x58, 0, 16));
    driver.bench.outs(0x170, 2, &[0, 0, 0, 0, 0, 0, 0, 0, 0x0d, 6, 0, 5, 0, 60, 0, 75]);
    let (status, reason, _) = task(&mut driver);
    assert_eq!((status, reason), (0x50, 3));
    let page = driver.cdb(&[opcode::MODE_SENSE_10, 0, 0x0d, 0, 0, 0, 0, 0, 16]).unwrap();
    assert_eq!(page[8..], [0x0d, 6, 0, 5, 0, 60, 0, 75]);
}

#[test]
fn a_dma_data_phase_has_the_direction_in_the_interrupt_reason() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    for (cdb, len, reason) in [
        (&[opcode::READ_10, 0, 0, 0, 0, 3, 0, 0, 1, 0][..], 2048, 2),
        (&[opcode::INQUIRY, 0, 0, 0, 36], 36, 2),
        (&[opcode::MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 0, 16], 16, 0),
    ] {
        driver.prds(&[(0x2_0000, 0x8000_0000 | len)]);
        driver.bench.memory.write(0x2_0000, &[0, 0, 0, 0, 0, 0, 0, 0, 0x0d, 6, 0, 1, 0, 60, 0, 75]);
        start_packet(&mut driver, true);
        send_packet(&mut driver, cdb);
        let (status, got, _) = task(&mut driver);
        assert_eq!((status, got), (0x58, reason), "{cdb:02x?}: before the engine starts");
        driver.start(reason == 2);
        let (status, got, _) = task(&mut driver);
        assert_eq!((status, got), (0x50, 3), "{cdb:02x?}: afterwards");
        driver.stop();
    }
}

#[test]
fn every_way_for_a_packet_command_to_end_reports_status_to_the_host() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    // Without data, with an unknown opcode, and with an address that the disc does not have.
    for (cdb, status) in [
        (&[opcode::TEST_UNIT_READY][..], 0x50),
        (&[0xff], 0x51),
        (&[opcode::READ_10, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0], 0x51),
    ] {
        let before = driver.edges();
        start_packet(&mut driver, false);
        send_packet(&mut driver, cdb);
        let (got, reason, _) = task(&mut driver);
        assert_eq!((got, reason, driver.edges()), (status, 3, before + 1), "{cdb:02x?}");
        driver.status();
    }
    // The disc cannot be read in the middle of the data.
    start_packet(&mut driver, false);
    driver.bench.fail = Some(crate::BlockError::Io(5));
    send_packet(&mut driver, &[opcode::READ_10, 0, 0, 0, 0, 3, 0, 0, 1, 0]);
    let (status, reason, _) = task(&mut driver);
    assert_eq!((status, reason, driver.error() >> 4), (0x51, 3, 3));
    driver.bench.fail = None;
    // PACKET itself is refused: overlapped execution is not implemented.
    driver.bench.outb(0x171, 2);
    driver.bench.outb(0x172, 0);
    driver.bench.outb(0x177, op::PACKET);
    let (status, reason, _) = task(&mut driver);
    assert_eq!((status, reason, driver.error()), (0x51, 3, 4));
}

#[test]
fn resets_leave_the_packet_signature() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    start_packet(&mut driver, false);
    driver.bench.outb(0x177, op::DEVICE_RESET);
    assert_eq!(task(&mut driver), (0x00, 1, 0xeb14));
    start_packet(&mut driver, false);
    driver.bench.outb(0x376, 4);
    driver.bench.outb(0x376, 0);
    assert_eq!(task(&mut driver), (0x00, 1, 0xeb14));
    driver.bench.outb(0x177, op::EXECUTE_DEVICE_DIAGNOSTIC);
    driver.bench.outb(0x176, 0xa0);
    assert_eq!(task(&mut driver), (0x00, 1, 0xeb14));
}

#[test]
fn mode_pages_have_the_lengths_of_drives_of_the_time() {
    let mut bench = machine();
    let mut driver = ready_cdrom(&mut bench);
    let all = driver.cdb(&[opcode::MODE_SENSE_10, 0, 0x3f, 0, 0, 0, 0, 0, 255]).unwrap();
    let mut pages = Vec::new();
    let mut rest = &all[8..];
    while let [page, len, tail @ ..] = rest {
        pages.push((*page, *len));
        rest = &tail[usize::from(*len)..];
    }
    assert_eq!(pages, [(0x01, 0x0a), (0x0d, 0x06), (0x0e, 0x0e), (0x2a, 0x14)], "in ascending order");
    assert_eq!(u16::from_be_bytes([all[0], all[1]]), all.len() as u16 - 2);
    // CD-ROM Parameters: 60 seconds, 75 frames; only the inactivity timer multiplier can be changed.
    let page = |driver: &mut Driver<'_>, control: u8| {
        driver.cdb(&[opcode::MODE_SENSE_10, 0, control << 6 | 0x0d, 0, 0, 0, 0, 0, 255]).unwrap()[8..].to_vec()
    };
    assert_eq!(page(&mut driver, 0), [0x0d, 6, 0, 0, 0, 60, 0, 75]);
    assert_eq!(page(&mut driver, 1), [0x0d, 6, 0, 0x0f, 0, 0, 0, 0]);
    assert_eq!(page(&mut driver, 2), page(&mut driver, 0));
    let six = driver.cdb(&[opcode::MODE_SENSE_6, 0, 0x0d, 0, 255]).unwrap();
    assert_eq!(six[4..], [0x0d, 6, 0, 0, 0, 60, 0, 75]);
}
