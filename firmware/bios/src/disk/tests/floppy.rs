//! Floppy tests with a model of the controller and of DMA channel 2.

use super::*;
use std::cell::RefCell;
use std::rc::Rc;

/// A controller with one 1.44 MB drive. It runs a command when the driver announces its wait (INT 15h AX=9001h).
struct FakeFdc {
    image: Vec<u8>,
    sectors: u8,
    rate_of_disk: u8,
    inserted: bool,
    changed: bool,
    protected: bool,
    /// The controller does not respond.
    dead: bool,
    /// Interrupts do not arrive.
    masked: bool,
    /// Number of READ ID commands until the motor is fast enough.
    slow: u32,
    command: Vec<u8>,
    result: Vec<u8>,
    interrupt: Option<[u8; 2]>,
    output: u8,
    rate: u8,
    track: u8,
    dma: [u8; 2],
    address: u32,
    count: u32,
    mode: u8,
    clock: u16,
    high: bool,
    log: String,
    cmos: u8,
    index: u8,
    formatted: Vec<u8>,
}

impl FakeFdc {
    fn new(sectors: u8, rate: u8) -> Self {
        Self {
            image: pattern(80 * 2 * usize::from(sectors) * 512, 9),
            sectors,
            rate_of_disk: rate,
            inserted: true,
            changed: false,
            protected: false,
            dead: false,
            masked: false,
            slow: 0,
            command: Vec::new(),
            result: Vec::new(),
            interrupt: None,
            output: 0,
            rate: 0,
            track: 0,
            dma: [0; 2],
            address: 0,
            count: 0,
            mode: 0,
            clock: 0,
            high: false,
            log: String::new(),
            cmos: 0x40,
            index: 0,
            formatted: Vec::new(),
        }
    }

    fn expected(&self) -> usize {
        match self.command[0] & 0x1f {
            0x03 | 0x0f => 3,
            0x05 | 0x06 | 0x16 => 9,
            0x07 | 0x0a | 0x12 => 2,
            0x0d => 6,
            _ => 1,
        }
    }

    fn run(&mut self, memory: &mut [u8]) {
        let command = std::mem::take(&mut self.command);
        match command[0] & 0x1f {
            0x07 => {
                self.track = 0;
                self.interrupt = Some([0x20 | command[1] & 3, 0]);
            }
            0x0f => {
                self.track = command[2];
                self.changed &= !self.inserted;
                self.interrupt = Some([0x20 | command[1] & 3, command[2]]);
            }
            0x0a => {
                self.slow = self.slow.saturating_sub(1);
                let found = self.inserted && self.rate == self.rate_of_disk && self.slow == 0;
                self.result = if found { vec![0, 0, 0, self.track, 0, 1, 2] } else { vec![0x40, 1, 0, 0, 0, 0, 0] };
            }
            0x0d => {
                let bytes = usize::from(command[3]) * 4;
                self.formatted = memory[self.address as usize..][..bytes].to_vec();
                self.result = vec![0; 7];
            }
            _ => self.transfer(&command, memory),
        }
    }

    fn transfer(&mut self, command: &[u8], memory: &mut [u8]) {
        let write = command[0] & 0x1f == 5;
        let verify = command[0] & 0x1f == 0x16;
        let (cylinder, mut head, mut sector, last) = (command[2], command[3], command[4], command[6]);
        let mut left = if verify { u32::from(command[8]) } else { (self.count + 1) / 512 };
        let mut address = self.address as usize;
        assert_eq!(verify, command[1] & 0x80 != 0);
        assert!(verify || self.mode == if write { 0x4a } else { 0x46 }, "DMA mode {:02x}", self.mode);
        if write && self.protected {
            self.result = vec![0x40, 2, 0, cylinder, head, sector, 2];
            return;
        }
        while left > 0 {
            if cylinder != self.track || sector > self.sectors || head > 1 || self.rate != self.rate_of_disk {
                self.result = vec![0x40, 4, 0, cylinder, head, sector, 2];
                return;
            }
            let lba =
                (usize::from(cylinder) * 2 + usize::from(head)) * usize::from(self.sectors) + usize::from(sector) - 1;
            let Some(there) = self.image.get_mut(lba * 512..lba * 512 + 512) else {
                self.result = vec![0x40, 0x20, 0, cylinder, head, sector, 2];
                return;
            };
            match (write, verify) {
                (true, _) => there.copy_from_slice(&memory[address..][..512]),
                (_, false) => memory[address..][..512].copy_from_slice(there),
                _ => {}
            }
            address += 512;
            left -= 1;
            if sector == last {
                (head, sector) = (head + 1, 1);
            } else {
                sector += 1;
            }
        }
        self.result = vec![0, 0, 0, cylinder, head, sector, 2];
    }
}

struct SharedFdc(Rc<RefCell<FakeFdc>>);

impl Ports for SharedFdc {
    fn read(&mut self, port: u16, _size: u8) -> u32 {
        let mut fdc = self.0.borrow_mut();
        match port {
            0x21 => 0xff,
            0x40 => {
                fdc.high = !fdc.high;
                if fdc.high {
                    fdc.clock = fdc.clock.wrapping_sub(20_000);
                    u32::from(fdc.clock) & 0xff
                } else {
                    u32::from(fdc.clock) >> 8
                }
            }
            0x71 => (if fdc.index == 0x10 { fdc.cmos } else { 0 }).into(),
            0x3f4 if fdc.dead => 0x10,
            0x3f4 => {
                if fdc.result.is_empty() {
                    0x80
                } else {
                    0xc0
                }
            }
            0x3f5 => (if fdc.result.is_empty() { 0 } else { fdc.result.remove(0) }).into(),
            0x3f7 => {
                if fdc.changed || !fdc.inserted {
                    0x80
                } else {
                    0
                }
            }
            _ => u32::MAX,
        }
    }

    fn write(&mut self, port: u16, _size: u8, value: u32) {
        let mut fdc = self.0.borrow_mut();
        let value = value as u8;
        match port {
            0x70 => fdc.index = value & 0x7f,
            0x402 => fdc.log.push(value as char),
            0x04 => {
                fdc.dma.rotate_left(1);
                fdc.dma[1] = value;
                fdc.address = fdc.address & 0xff_0000 | u32::from(u16::from_le_bytes(fdc.dma));
            }
            0x05 => {
                fdc.dma.rotate_left(1);
                fdc.dma[1] = value;
                fdc.count = u32::from(u16::from_le_bytes(fdc.dma));
            }
            0x81 => fdc.address = fdc.address & 0xffff | u32::from(value) << 16,
            0x0b => fdc.mode = value,
            0x3f2 => {
                if value & 4 == 0 {
                    fdc.command.clear();
                    fdc.result.clear();
                }
                fdc.output = value;
            }
            0x3f7 => fdc.rate = value,
            0x3f5 => {
                fdc.command.push(value);
                if fdc.command.len() < fdc.expected() {
                    return;
                }
                match fdc.command[0] {
                    8 => {
                        fdc.result = fdc.interrupt.take().map_or(vec![0x80], |bytes| bytes.to_vec());
                        fdc.command.clear();
                    }
                    0x03 | 0x12 => fdc.command.clear(),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn machine(controller: FakeFdc) -> (Computer<SharedFdc>, Rc<RefCell<FakeFdc>>) {
    let shared = Rc::new(RefCell::new(controller));
    let mut computer = Computer::new(SharedFdc(shared.clone()));
    let table = [0xaf, 2, 0x25, 2, 18, 0x1b, 0xff, 0x6c, 0xf6, 15, 8];
    computer.hw.memory[0xf_efc7..][..11].copy_from_slice(&table);
    let fdc = shared.clone();
    computer.hw.on_interrupt = Some(Box::new(move |memory, number, regs| {
        let mut fdc = fdc.borrow_mut();
        if (number, regs.ax()) != (0x15, 0x9001) || fdc.command.is_empty() {
            return;
        }
        fdc.run(memory);
        if !fdc.masked {
            memory[0x43e] |= 0x80;
        }
    }));
    (computer.start(), shared)
}

fn default_floppy() -> (Computer<SharedFdc>, Rc<RefCell<FakeFdc>>) {
    machine(FakeFdc::new(18, 0))
}

#[test]
fn a_floppy_drive_is_detected() {
    let (mut computer, _) = default_floppy();
    let drive = computer.bios(|bios| drive(bios, 0)).unwrap();
    assert_eq!((drive.kind, drive.number, drive.sectors, drive.block), (DriveKind::Floppy, 0, 2880, 512));
    let regs = computer.int13(0x0800, 0, 0);
    assert_eq!((regs.ah(), regs.bx(), regs.cx(), regs.dx(), regs.cf()), (0, 4, 79 << 8 | 18, 0x0101, false));
    let table = FarPtr::new(regs.es, regs.di()).linear() as usize;
    assert_eq!(computer.hw.memory[table..][..11], computer.hw.memory[0xf_efc7..][..11]);
    assert_eq!(computer.int13(0x1500, 0, 0).ah(), 2);
    assert_eq!(computer.int13(0x1500, 0, 1).ah(), 0);
    let regs = computer.int13(0x0800, 0, 1);
    assert_eq!((regs.ah(), regs.dl(), regs.cf()), (7, 1, true));
    assert_eq!(computer.int13(0x0201, 1, 1).ah(), 1);
    assert_eq!(computer.hw.memory[0x48f], 7);
    assert_eq!(computer.bios(|bios| bios.hw.read32(FarPtr::vector(0x1e))), 0xf000_efc7);
}

#[test]
fn an_absent_or_dead_controller_is_logged_and_has_no_drives() {
    struct Absent(u8, String);
    impl Ports for Absent {
        fn read(&mut self, port: u16, _: u8) -> u32 {
            if port == 0x71 { if self.0 == 0x10 { 0x40 } else { 0 } } else { u32::MAX }
        }
        fn write(&mut self, port: u16, _: u8, value: u32) {
            match port {
                0x70 => self.0 = value as u8 & 0x7f,
                0x402 => self.1.push(value as u8 as char),
                _ => {}
            }
        }
    }
    let mut computer = Computer::new(Absent(0, String::new())).start();
    assert_eq!(computer.bios(|bios| drives(bios)), 0);
    assert_eq!(computer.hw.bus.1, "floppy: no controller\n");
    for ah in 0..0x20u16 {
        let regs = computer.int13(ah << 8 | 1, 1, 0);
        assert_eq!(regs.cf(), !matches!(ah, 1 | 0x15) || ah == 1 && regs.ah() != 0, "AH={ah:02x}");
    }
    let mut dead = FakeFdc::new(18, 0);
    dead.dead = true;
    let (mut computer, fdc) = machine(dead);
    assert_eq!(fdc.borrow().log, "floppy: the controller does not answer\n");
    assert_eq!(computer.bios(|bios| drives(bios)), 0);
}

#[test]
fn sectors_are_read_written_and_verified() {
    let (mut computer, fdc) = default_floppy();
    // Cylinder 5, head 0, sector 10, 20 sectors: continues on head 1.
    let regs = computer.int13(0x0214, 0x050a, 0x0000);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 20, false));
    let from = (5 * 36 + 9) * 512;
    assert_eq!(computer.hw.memory[0x1_0000..][..20 * 512], fdc.borrow().image[from..][..20 * 512]);
    computer.hw.memory[0x1_0000..][..512].fill(0x77);
    let regs = computer.int13(0x0301, 0x4f12, 0x0100);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 1, false));
    assert_eq!(fdc.borrow().image[2879 * 512..], [0x77; 512]);
    let regs = computer.int13(0x0412, 0x0001, 0x0100);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 18, false));
    assert_eq!(computer.hw.memory[0x441], 0);
}

#[test]
fn invalid_requests_are_refused() {
    let (mut computer, fdc) = default_floppy();
    for (ax, cx, dx, ah) in [
        (0x0200, 0x0001, 0x0000, 1),
        (0x0280, 0x0001, 0x0000, 1),
        (0x0201, 0x0000, 0x0000, 1),
        (0x0201, 0x0001, 0x0200, 1),
        (0x0201, 0x0013, 0x0000, 4),
        (0x0201, 0x6001, 0x0000, 0x40),
        (0x0900, 0x0001, 0x0000, 1),
        (0x4100, 0x0001, 0x0000, 1),
        (0x1709, 0x0001, 0x0000, 1),
        (0x1800, 0x2709, 0x0000, 0x0c),
    ] {
        let regs = computer.int13(ax, cx, dx);
        assert_eq!((regs.ah(), regs.cf()), (ah, true), "AX={ax:04x} CX={cx:04x} DX={dx:04x}");
        assert_eq!(computer.hw.memory[0x441], ah);
        assert_eq!(computer.int13(0x0100, 0, 0).ah(), ah);
    }
    let mut regs = Regs::default();
    regs.set_ax(0x0202);
    regs.set_cx(1);
    regs.es = 0x1000;
    regs.set_bx(0xfd00);
    let regs = computer.call(regs);
    assert_eq!((regs.ah(), regs.cf()), (9, true), "DMA boundary");
    fdc.borrow_mut().protected = true;
    let regs = computer.int13(0x0302, 0x0001, 0);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (3, 0, true));
    // The sectors before the bad one are transferred.
    fdc.borrow_mut().image.truncate(5 * 512);
    let regs = computer.int13(0x0209, 0x0001, 0);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0x10, 5, true));
}

#[test]
fn the_format_of_a_720_kb_disk_is_detected() {
    let (mut computer, fdc) = machine(FakeFdc::new(9, 2));
    let regs = computer.int13(0x0209, 0x0101, 0x0100);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0, 9, false));
    assert_eq!(computer.hw.memory[0x1_0000..][..9 * 512], fdc.borrow().image[27 * 512..][..9 * 512]);
    assert_eq!(computer.hw.memory[0x490], 0x97);
}

#[test]
fn a_read_waits_for_a_slow_motor() {
    let mut controller = FakeFdc::new(18, 0);
    controller.slow = 2;
    let (mut computer, _) = machine(controller);
    assert_eq!(computer.int13(0x0201, 0x0001, 0).ah(), 0);
}

#[test]
fn a_disk_change_is_reported_once_and_an_empty_drive_times_out() {
    let (mut computer, fdc) = default_floppy();
    assert_eq!(computer.int13(0x0201, 0x0001, 0).ah(), 0);
    assert_eq!(computer.int13(0x1600, 0, 0).ah(), 0);
    fdc.borrow_mut().changed = true;
    assert_eq!(computer.int13(0x0201, 0x0001, 0).ah(), 6);
    assert_eq!(computer.int13(0x0201, 0x0001, 0).ah(), 0);
    fdc.borrow_mut().changed = true;
    assert_eq!(computer.int13(0x1600, 0, 0).ah(), 6);
    assert_eq!(computer.int13(0x1600, 0, 0).ah(), 0);
    fdc.borrow_mut().inserted = false;
    for ax in [0x0201, 0x0301, 0x1600] {
        assert_eq!(computer.int13(ax, 0x0001, 0).ah(), 0x80, "AX={ax:04x}");
    }
    assert_eq!(computer.bios(|bios| read(bios, 0, 0, 1, FarPtr::new(0x1000, 0))), Err(Status::NO_MEDIUM));
}

#[test]
fn a_read_succeeds_without_the_interrupt() {
    let (mut computer, fdc) = default_floppy();
    fdc.borrow_mut().masked = true;
    assert_eq!(computer.int13(0x0201, 0x0501, 0).ah(), 0);
}

#[test]
fn a_controller_that_stops_responding_is_an_error() {
    let (mut computer, fdc) = default_floppy();
    fdc.borrow_mut().dead = true;
    let regs = computer.int13(0x0201, 0x0501, 0);
    assert!(regs.cf());
    assert!(matches!(regs.ah(), 0x20 | 0x80));
    assert!(computer.int13(0x0000, 0, 0).cf());
}

#[test]
fn the_motor_stops_after_the_delay_in_the_parameter_table() {
    let (mut computer, fdc) = default_floppy();
    computer.int13(0x0201, 0x0001, 0);
    assert_eq!((computer.hw.memory[0x43f], fdc.borrow().output), (1, 0x1c));
    assert_eq!(computer.hw.memory[0x440], 0x25);
    for _ in 0..0x24 {
        computer.bios(motor_tick);
    }
    assert_eq!(fdc.borrow().output, 0x1c);
    computer.bios(motor_tick);
    assert_eq!((computer.hw.memory[0x43f], fdc.borrow().output), (0, 0x0c));
    computer.bios(motor_tick);
    assert_eq!(computer.hw.memory[0x440], 0);
}

#[test]
fn formatting_a_track_sends_its_sector_fields() {
    let (mut computer, fdc) = default_floppy();
    let fields: Vec<u8> = (1..=18).flat_map(|sector| [79, 1, sector, 2]).collect();
    computer.hw.memory[0x1_0000..][..72].copy_from_slice(&fields);
    assert_eq!(computer.int13(0x1800, 0x4f12, 0).ah(), 0);
    assert_eq!(computer.int13(0x0512, 0x4f01, 0x0100).ah(), 0);
    assert_eq!(fdc.borrow().formatted, fields);
    assert_eq!(computer.int13(0x1704, 0, 0).ah(), 0);
    assert_eq!(computer.hw.memory[0x490], 0x97);
}

#[test]
fn reads_by_lba_may_cross_dma_boundaries() {
    let (mut computer, fdc) = default_floppy();
    let read_at =
        |computer: &mut Computer<SharedFdc>, lba, count, to| computer.bios(|bios| read(bios, 0, lba, count, to));
    assert_eq!(read_at(&mut computer, 30, 200, FarPtr::new(0x1000, 0xff10)), Ok(()));
    assert_eq!(computer.hw.memory[0x1_ff10..][..200 * 512], fdc.borrow().image[30 * 512..][..200 * 512]);
    assert_eq!(read_at(&mut computer, 2879, 1, FarPtr::new(0x1000, 0)), Ok(()));
    assert_eq!(read_at(&mut computer, 2879, 2, FarPtr::new(0x1000, 0)), Err(Status::NOT_FOUND));
}

#[test]
fn a_program_that_hooks_int_40h_gets_floppy_calls() {
    let (mut computer, _) = default_floppy();
    computer.bios(|bios| bios.hw.write32(FarPtr::vector(0x40), 0x1234_0000));
    computer.hw.on_interrupt = Some(Box::new(|_, number, regs| {
        assert_eq!(number, 0x40);
        regs.set_ah(0x55);
        regs.flags = 1;
    }));
    let mut regs = Regs::default();
    regs.set_ax(0x0201);
    regs.flags = 0x200;
    let regs = computer.call(regs);
    assert_eq!((regs.ah(), regs.flags), (0x55, 0x201));
    // Hard disk calls do not go through INT 40h.
    assert_eq!(computer.int13(0x0201, 1, 0x80).ah(), 1);
}

#[test]
fn random_register_values_cause_neither_panic_nor_hang() {
    use pcvm_devices::testing::Rng;
    let (mut computer, fdc) = default_floppy();
    let mut rng = Rng(3);
    for _ in 0..2000 {
        let mut regs = Regs::default();
        regs.set_ax(rng.next_u64() as u16);
        regs.set_ah(rng.below(0x1a) as u8);
        regs.set_cx(rng.next_u64() as u16);
        regs.set_dx(rng.next_u64() as u16 & 0x0101);
        regs.set_bx(rng.next_u64() as u16);
        regs.es = 0x1000 + rng.below(0x6000) as u16;
        computer.call(regs);
        let mut fdc = fdc.borrow_mut();
        fdc.changed |= rng.below(10) == 0;
        fdc.inserted = rng.below(20) != 0;
        fdc.protected = rng.below(5) == 0;
    }
}
