//! Devices driven as Windows' own drivers drive them: the same registers, widths and order. A test fails where the driver
//! would report no device or an error. The behaviour is known from the sample drivers of the NT 4.0 DDK and of the Windows
//! driver kit (atapi, i8042prt, sermouse, serial) and from the datasheets; nothing is copied.

use pcvm_devices::chipset::acpi_pm::AcpiPm;
use pcvm_devices::cmos::{Cmos, CmosContents};
use pcvm_devices::ide::{DriveSpec, Piix3Ide};
use pcvm_devices::ps2::Ps2Controller;
use pcvm_devices::serial::Uart16550;
use pcvm_devices::testing::Bench;
use pcvm_devices::{CharId, Disc, DiskId, InputEvent, IrqLine};

const MICROSECOND: u64 = 1000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

// ---- IDE ----

/// A disk as device 0 of the primary channel, a CD-ROM drive as device 0 of the secondary one.
fn ide() -> Bench<Piix3Ide> {
    let mut bench = Bench::new(Piix3Ide::new([
        Some(DriveSpec::disk(8192, false, "A")),
        None,
        Some(DriveSpec::cdrom(Some(Disc::single(2048 * 100)), "B")),
        None,
    ]));
    bench.disks.insert(DiskId(0), (0..8192 * 512_u32).map(|n| (n / 512) as u8).collect());
    bench.disks.insert(DiskId(2), (0..2048 * 100_u32).map(|n| (n / 2048) as u8).collect());
    bench.config_write(0x20, 4, 0xc000);
    bench.config_write(0x04, 2, 5);
    bench
}

/// Reads Status until BSY is clear, as the miniport does, at most 4 seconds.
fn wait_not_busy(bench: &mut Bench<Piix3Ide>, base: u16) -> u8 {
    for _ in 0..20_000 {
        let status = bench.inb(base + 7);
        if status & 0x80 == 0 {
            return status;
        }
        bench.advance(150 * MICROSECOND);
    }
    panic!("the drive at {base:x} stays busy");
}

/// Waits for DRQ, reads 256 words, and drains what a drive may send beyond.
fn identify(bench: &mut Bench<Piix3Ide>, base: u16, command: u8) -> Option<Vec<u8>> {
    bench.outb(base + 6, 0xa0);
    wait_not_busy(bench, base);
    bench.outb(base + 7, command);
    let status = wait_not_busy(bench, base);
    if status & 0x01 != 0 || status & 0x08 == 0 {
        return None;
    }
    let mut data = vec![0; 512];
    bench.ins(base, 2, &mut data);
    assert_eq!(wait_not_busy(bench, base) & 0x08, 0, "no more than 256 words");
    Some(data)
}

#[test]
fn the_ide_miniport_finds_the_disk_and_the_packet_device() {
    let mut bench = ide();
    for (base, device0) in [(0x1f0_u16, true), (0x170, true)] {
        // A channel exists if a task file register of device 0 or 1 holds a value.
        let holds = [0xa0, 0xb0].map(|select| {
            bench.outb(base + 6, select);
            bench.outb(base + 4, 0xaa);
            bench.inb(base + 4) == 0xaa
        });
        assert_eq!(holds, [device0, false], "{base:x}");
    }
    let mut found = Vec::new();
    for base in [0x1f0_u16, 0x170] {
        for select in [0xa0, 0xb0] {
            bench.outb(base + 6, select);
            // ATAPI soft reset, then the signature.
            bench.outb(base + 7, 0x08);
            bench.advance(500 * MICROSECOND);
            bench.outb(base + 6, select);
            wait_not_busy(&mut bench, base);
            let signature = (bench.inb(base + 4), bench.inb(base + 5));
            if select == 0xb0 {
                assert_ne!(signature, (0x14, 0xeb), "there is no device 1");
                assert_eq!(bench.inb(base + 7), 0);
                continue;
            }
            if signature == (0x14, 0xeb) {
                let id = identify(&mut bench, base, 0xa1).expect("IDENTIFY PACKET DEVICE");
                assert_eq!(id[1] & 0x1f, 5, "device type CD-ROM");
                found.push((base, "packet"));
                continue;
            }
            // A device without the signature: software reset of the channel, and again.
            bench.outb(base + 0x206, 4);
            bench.advance(500 * MILLISECOND);
            bench.outb(base + 0x206, 0);
            wait_not_busy(&mut bench, base);
            bench.outb(base + 6, 0xa0);
            assert_ne!((bench.inb(base + 4), bench.inb(base + 5)), (0x14, 0xeb));
            let id = identify(&mut bench, base, 0xec).expect("IDENTIFY DEVICE");
            let word = |n: usize| u16::from_le_bytes([id[2 * n], id[2 * n + 1]]);
            let (cylinders, heads, sectors) = (word(1), word(3), word(6));
            assert_eq!(cylinders, 8192 / (heads * sectors), "the geometry covers the disk");
            // INITIALIZE DEVICE PARAMETERS and SET MULTIPLE MODE with what IDENTIFY reported.
            bench.outb(base + 6, 0xa0 | (heads - 1) as u8);
            bench.outb(base + 2, sectors as u8);
            bench.outb(base + 7, 0x91);
            assert_eq!(wait_not_busy(&mut bench, base) & 0x21, 0);
            let multiple = word(47) as u8;
            bench.outb(base + 6, 0xa0);
            bench.outb(base + 2, multiple);
            bench.outb(base + 7, 0xc6);
            assert_eq!(wait_not_busy(&mut bench, base) & 0x21, 0);
            found.push((base, "disk"));
        }
    }
    assert_eq!(found, [(0x1f0, "disk"), (0x170, "packet")]);
}

#[test]
fn the_intel_timing_registers_hold_what_the_miniport_sets() {
    let mut bench = ide();
    // Mode 4 PIO with multiword DMA 2 for device 0: IORDY, prefetch, fast timing; then SIDETIM.
    let timing = bench.config_read(0x40, 4);
    assert_eq!(timing & 0x8000_8000, 0x8000_8000, "both channels are decoded");
    bench.config_write(0x40, 2, 0xa307);
    bench.config_write(0x42, 2, 0xa303);
    bench.config_write(0x44, 1, 0x0b);
    assert_eq!(bench.config_read(0x40, 4), 0xa303_a307);
    assert_eq!(bench.config_read(0x44, 1), 0x0b);
    // SET FEATURES: PIO mode 4, multiword DMA mode 2.
    for mode in [0x0c, 0x22] {
        for (register, value) in [(6, 0xa0), (1, 3), (2, mode), (7, 0xef)] {
            bench.outb(0x1f0 + register, value);
        }
        assert_eq!(wait_not_busy(&mut bench, 0x1f0) & 1, 0, "mode {mode:02x}");
    }
    let id = identify(&mut bench, 0x1f0, 0xec).unwrap();
    assert_eq!(u16::from_le_bytes([id[126], id[127]]) >> 8, 4, "multiword DMA mode 2 is selected");
    // A driver of another system disables a channel: its ports vanish.
    bench.config_write(0x42, 2, 0x2303);
    assert_eq!(bench.inb(0x177), 0xff);
}

/// The packet miniport: waits, writes the packet at DRQ, and serves each interrupt by Interrupt Reason.
fn packet(bench: &mut Bench<Piix3Ide>, cdb: &[u8], length: usize) -> Result<Vec<u8>, u8> {
    let base = 0x170;
    bench.outb(base + 6, 0xa0);
    wait_not_busy(bench, base);
    // Byte count of the transfer, or the largest.
    let count = length.min(0xfffe) as u16;
    let [low, high] = count.to_le_bytes();
    for (register, value) in [(1, 0), (4, low), (5, high), (7, 0xa0)] {
        bench.outb(base + register, value);
    }
    assert_eq!(wait_not_busy(bench, base) & 0x89, 0x08, "DRQ for the packet, as IDENTIFY promised");
    let mut words = cdb.to_vec();
    words.resize(12, 0);
    bench.outs(base, 2, &words);
    let mut data = Vec::new();
    loop {
        assert!(bench.irq(IrqLine::Isa(15)), "an interrupt for each phase");
        let status = bench.inb(base + 7);
        assert!(!bench.irq(IrqLine::Isa(15)), "reading Status acknowledges it");
        let reason = bench.inb(base + 2) & 3;
        match (reason, status & 0x08 != 0) {
            (2, true) => {
                let [low, high] = [4, 5].map(|register| bench.inb(base + register));
                let mut part = vec![0; u16::from_le_bytes([low, high]).into()];
                assert!(!part.is_empty() && part.len() <= usize::from(count));
                bench.ins(base, 2, &mut part);
                data.extend(part);
            }
            (3, false) if status & 1 == 0 => return Ok(data),
            (3, false) => return Err(bench.inb(base + 1) >> 4),
            other => panic!("phase {other:?}"),
        }
    }
}

#[test]
fn the_cd_class_driver_starts_and_polls_a_drive() {
    let mut bench = ide();
    let inquiry = packet(&mut bench, &[0x12, 0, 0, 0, 36], 36).unwrap();
    assert_eq!((inquiry[0] & 0x1f, inquiry[1] & 0x80), (5, 0x80), "a removable CD-ROM drive");
    // The first TEST UNIT READY reports the reset; the class driver reads the sense data and repeats.
    assert_eq!(packet(&mut bench, &[0x00], 0), Err(6));
    let sense = packet(&mut bench, &[0x03, 0, 0, 0, 18], 18).unwrap();
    assert_eq!((sense[2] & 15, sense[12]), (6, 0x29));
    assert_eq!(packet(&mut bench, &[0x00], 0), Ok(vec![]));
    let capacity = packet(&mut bench, &[0x25], 8).unwrap();
    assert_eq!(capacity, [0, 0, 0, 99, 0, 0, 8, 0]);
    let toc = packet(&mut bench, &[0x43, 2, 0, 0, 0, 0, 0, 0x03, 0x24], 0x324).unwrap();
    assert_eq!((toc[2], toc[3]), (1, 1));
    // Capabilities, audio control and CD-ROM parameters, in a buffer of 192 bytes.
    for (page, length) in [(0x2a, 0x14), (0x0e, 0x0e), (0x0d, 0x06)] {
        let data = packet(&mut bench, &[0x5a, 0, page, 0, 0, 0, 0, 0, 192], 192).unwrap();
        assert_eq!((data[8] & 0x3f, data[9]), (page, length), "page {page:02x}");
        let data = packet(&mut bench, &[0x1a, 0, page, 0, 192], 192).unwrap();
        assert_eq!((data[4] & 0x3f, data[5]), (page, length), "page {page:02x} by MODE SENSE (6)");
    }
    // Autorun: media events, once a second, and reads in blocks of 64 KiB.
    let event = packet(&mut bench, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], 8).unwrap();
    assert_eq!(event.len(), 8);
    let data = packet(&mut bench, &[0x28, 0, 0, 0, 0, 16, 0, 0, 32], 65_536).unwrap();
    assert_eq!(data.len(), 65_536);
    assert!(data.chunks(2048).zip(16..).all(|(sector, n)| sector.iter().all(|&byte| byte == n)));
    assert_eq!(packet(&mut bench, &[0x28, 0, 0, 0, 0, 100, 0, 0, 1], 2048), Err(5));
}

// ---- 8042 ----

/// Waits for a byte in the output buffer, polling port 64h, at most a second.
fn get(bench: &mut Bench<Ps2Controller>, from_mouse: bool) -> Option<u8> {
    for _ in 0..20_000 {
        let status = bench.inb(0x64);
        if status & 1 != 0 {
            assert_eq!(status & 0x20 != 0, from_mouse, "the byte comes from the other device");
            return Some(bench.inb(0x60));
        }
        // As on a host whose timer thread is late: only the port shows that a byte is due.
        bench.advance_unnoticed(50 * MICROSECOND);
    }
    None
}

/// Writes a port after polling for an empty input buffer.
fn put(bench: &mut Bench<Ps2Controller>, port: u16, value: u8) {
    assert_eq!(bench.inb(0x64) & 2, 0);
    bench.outb(port, value);
}

fn to_mouse(bench: &mut Bench<Ps2Controller>, value: u8) {
    put(bench, 0x64, 0xd4);
    put(bench, 0x60, value);
    assert_eq!(get(bench, true), Some(0xfa), "{value:02x}");
}

fn to_keyboard(bench: &mut Bench<Ps2Controller>, value: u8) {
    put(bench, 0x60, value);
    assert_eq!(get(bench, false), Some(0xfa), "{value:02x}");
}

#[test]
fn the_i8042_port_driver_finds_keyboard_and_wheel_mouse() {
    let bench = &mut Bench::new(Ps2Controller::new());
    // Firmware: self test, command byte.
    put(bench, 0x64, 0xaa);
    assert_eq!(get(bench, false), Some(0x55));
    put(bench, 0x64, 0x60);
    put(bench, 0x60, 0x65);
    // Set-up: interrupts and both devices off while the driver talks.
    put(bench, 0x64, 0x20);
    let command = get(bench, false).unwrap();
    put(bench, 0x64, 0x60);
    put(bench, 0x60, command & !3 | 0x30);
    put(bench, 0x64, 0x20);
    assert_eq!(get(bench, false).unwrap() & 0x33, 0x30);
    // The mouse: reset, id, the wheel's sequence of sample rates.
    put(bench, 0x64, 0xa8);
    to_mouse(bench, 0xff);
    assert_eq!([get(bench, true), get(bench, true)], [Some(0xaa), Some(0x00)]);
    for rate in [200, 100, 80] {
        to_mouse(bench, 0xf3);
        to_mouse(bench, rate);
    }
    to_mouse(bench, 0xf2);
    assert_eq!(get(bench, true), Some(3), "a wheel");
    // The number of buttons by the E6 E6 E6 E9 sequence: a status of three bytes.
    to_mouse(bench, 0xe8);
    to_mouse(bench, 0);
    for _ in 0..3 {
        to_mouse(bench, 0xe6);
    }
    to_mouse(bench, 0xe9);
    let status = [get(bench, true), get(bench, true), get(bench, true)];
    assert_eq!(status[1], Some(0), "the resolution just set, not a number of buttons");
    for byte in [0xf3, 100, 0xe8, 3] {
        to_mouse(bench, byte);
    }
    // The keyboard: reset, id, typematic, indicators, scan code set by translation.
    to_keyboard(bench, 0xff);
    assert_eq!(get(bench, false), Some(0xaa));
    to_keyboard(bench, 0xf2);
    assert_eq!([get(bench, false), get(bench, false)].map(|byte| byte.is_some()), [true, true]);
    for byte in [0xf3, 0x20, 0xed, 0x02] {
        to_keyboard(bench, byte);
    }
    assert_eq!(bench.device.leds(), 2);
    to_keyboard(bench, 0xf4);
    // Interrupts on, translation on, and the mouse streams.
    put(bench, 0x64, 0x60);
    put(bench, 0x60, 0x47);
    to_mouse(bench, 0xf4);
    bench.advance(MILLISECOND);
    bench.call(|device, cx| {
        let event = InputEvent::Mouse { dx: 5, dy: 0, dz: -1, buttons: 1 };
        pcvm_devices::Device::wake(device, cx, pcvm_devices::Wake::Input(event));
    });
    bench.advance(20 * MILLISECOND);
    assert!(bench.irq(IrqLine::Isa(12)));
    let report = [(); 4].map(|()| get(bench, true).unwrap());
    assert_eq!((report[0] & 0x0f, report[1]), (0x09, 5), "four bytes, with the left button");
}

// ---- Serial ports ----

#[test]
fn the_serial_mouse_detection_finds_a_16550_and_no_mouse() {
    let com = 0x3f8_u16;
    let mut bench = Bench::new(Uart16550::new(com, 4, CharId(0)));
    // Does the port exist? IER holds its low nibble, loopback shows MCR's outputs in MSR.
    bench.outb(com + 1, 0x0f);
    assert_eq!(bench.inb(com + 1), 0x0f);
    bench.outb(com + 1, 0);
    bench.outb(com + 4, 0x10);
    assert_eq!(bench.inb(com + 6) & 0xf0, 0);
    bench.outb(com + 4, 0x1f);
    assert_eq!(bench.inb(com + 6) & 0xf0, 0xf0);
    bench.outb(com + 4, 0);
    // The divisor latch holds a word, the line control register what was written.
    bench.outb(com + 3, 0x80);
    for (register, value) in [(0, 0x60), (1, 0x00)] {
        bench.outb(com + register, value);
        assert_eq!(bench.inb(com + register), value);
    }
    // 1200 baud, 7 data bits, no parity; power to the mouse off, then on by DTR and RTS.
    bench.outb(com + 3, 0x02);
    assert_eq!(bench.inb(com + 3), 0x02);
    bench.outb(com + 2, 0);
    for (lines, wait) in [(0x00, 200 * MILLISECOND), (0x01, 200 * MILLISECOND), (0x0b, 500 * MILLISECOND)] {
        bench.outb(com + 4, lines);
        while bench.inb(com + 5) & 1 != 0 {
            bench.inb(com);
        }
        bench.advance(wait);
    }
    assert_eq!(bench.inb(com + 5) & 0x1f, 0, "no 'M' from a mouse, no error");
    // A mouse that the host's stream imitates.
    bench.outb(com + 4, 0x00);
    bench.outb(com + 4, 0x0b);
    bench.type_chars(CharId(0), b"M3");
    assert_eq!((bench.inb(com + 5) & 1, bench.inb(com)), (1, b'M'));
    bench.advance(10 * MILLISECOND);
    assert_eq!(bench.inb(com), b'3');
    // FIFO detection of the serial driver: both FIFO bits in IIR, then off again.
    bench.outb(com + 2, 1);
    assert_eq!(bench.inb(com + 2) & 0xc0, 0xc0);
    bench.outb(com + 2, 0);
    assert_eq!(bench.inb(com + 2) & 0xc0, 0);
}

#[test]
fn a_receive_time_out_is_seen_although_its_timer_has_not_fired() {
    let com = 0x3f8_u16;
    let mut bench = Bench::new(Uart16550::new(com, 4, CharId(0)));
    for (register, value) in [(3, 0x80), (0, 1), (1, 0), (3, 3), (2, 0xc1), (4, 0x0b), (1, 1)] {
        bench.outb(com + register, value);
    }
    bench.type_chars(CharId(0), b"x");
    assert_eq!(bench.inb(com + 2) & 0x0f, 0x01, "below the trigger level of 14");
    bench.advance_unnoticed(MILLISECOND);
    assert_eq!(bench.inb(com + 2) & 0x0f, 0x0c);
}

// ---- Time ----

#[test]
fn the_acpi_hal_calibrates_by_the_pm_timer_and_the_rtc() {
    let mut pm = Bench::new(AcpiPm::new());
    pm.config_write(0x40, 4, 0x601);
    pm.config_write(0x80, 1, 1);
    let read = |pm: &mut Bench<AcpiPm>| pm.inl(0x608) & 0xff_ffff;
    // The HAL reads until three values in a row are in order, then measures a span of time.
    let mut last = read(&mut pm);
    for _ in 0..1000 {
        pm.advance_unnoticed(MICROSECOND);
        let next = read(&mut pm);
        assert!((next.wrapping_sub(last) & 0xff_ffff) <= 4, "{last} then {next}");
        last = next;
    }
    pm.advance_unnoticed(125 * MILLISECOND);
    let ticks = read(&mut pm).wrapping_sub(last) & 0xff_ffff;
    assert!(ticks.abs_diff(447_443) <= 1, "{ticks} ticks of 3.579545 MHz in an eighth of a second");

    // The RTC: from one fall of UIP to the next is a second, and UIP rises 244 us before.
    let mut rtc = Bench::new(Cmos::new(1_000_000_000, CmosContents::default()));
    let edge = |rtc: &mut Bench<Cmos>, level: u8| {
        rtc.outb(0x70, 0x0a);
        while rtc.inb(0x71) & 0x80 != level {
            rtc.advance_unnoticed(5 * MICROSECOND);
        }
        rtc.now()
    };
    edge(&mut rtc, 0x80);
    let fall = edge(&mut rtc, 0);
    let rise = edge(&mut rtc, 0x80);
    let next = edge(&mut rtc, 0);
    assert!(next.since(fall).as_nanos().abs_diff(SECOND.into()) <= 10_000);
    assert!(next.since(rise).as_nanos().abs_diff(244_000) <= 10_000);
}

#[test]
fn the_rtc_catches_up_periodic_ticks_from_64_to_1024_hz() {
    for (rate, hz) in [(0x0a, 64), (0x09, 128), (0x08, 256), (0x07, 512), (0x06, 1024)] {
        let mut rtc = Bench::new(Cmos::new(0, CmosContents::default()));
        for (index, value) in [(0x0a, 0x20 | rate), (0x0b, 0x42)] {
            rtc.outb(0x70, index);
            rtc.outb(0x71, value);
        }
        let mut ticks = 0_u64;
        let mut serve = |rtc: &mut Bench<Cmos>| {
            rtc.outb(0x70, 0x0c);
            let c = rtc.inb(0x71);
            if c & 0xc0 == 0xc0 {
                ticks += 1;
            }
        };
        // The guest acknowledges each interrupt, then is not run for a quarter of a second, then runs again.
        for _ in 0..hz / 2 {
            rtc.advance(SECOND / hz);
            serve(&mut rtc);
        }
        rtc.advance_unnoticed(SECOND / 4);
        for _ in 0..hz * 16 {
            rtc.advance(SECOND / hz / 16);
            if rtc.irq(IrqLine::Isa(8)) {
                serve(&mut rtc);
            }
        }
        let expect = hz / 2 + hz / 4 + hz;
        assert!(ticks.abs_diff(expect) <= 2, "{ticks} ticks at {hz} Hz instead of {expect}");
    }
}
