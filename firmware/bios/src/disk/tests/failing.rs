//! Tests with broken IDE drives: each is logged and skipped, and no call hangs.

use super::*;
use pcvm_devices::testing::Rng;

/// The fault of the drive on the primary channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Every register reads as this value.
    Stuck(u8),
    /// The drive is ready, but no command ever ends.
    NeverEnds,
    /// The drive is ready, but every command fails.
    AlwaysFails,
    /// The drive is ready, but never requests a data transfer.
    NoData,
    /// Every IDENTIFY word has this value.
    Identifies(u16),
    /// IDENTIFY works, but a read never ends.
    ReadsForever,
    /// Every register read returns a random value.
    Random,
    /// A packet device that requests this many bytes again and again, for every command.
    Floods(u16),
}

struct BrokenDrive {
    fault: Fault,
    clock: u32,
    high: bool,
    command: u8,
    words: u32,
    device: u8,
    log: String,
    rng: Rng,
}

impl BrokenDrive {
    fn new(fault: Fault) -> Self {
        Self { fault, clock: 0, high: false, command: 0, words: 0, device: 0, log: String::new(), rng: Rng(1) }
    }

    fn task(&mut self, offset: u16) -> u8 {
        let ready = if self.words > 0 { 0x58 } else { 0x50 };
        match (self.fault, offset) {
            (Fault::Stuck(value), _) => value,
            (Fault::Random, _) => self.rng.next_u64() as u8,
            (Fault::Floods(_), 7) if self.command == 0 => 0,
            (Fault::Floods(_), 7) => 0x58,
            (Fault::Floods(_), 4) if self.command == 0 => 0x14,
            (Fault::Floods(_), 5) if self.command == 0 => 0xeb,
            (Fault::Floods(bytes), 4) => bytes as u8,
            (Fault::Floods(bytes), 5) => (bytes >> 8) as u8,
            (_, 7) if self.device & 0x10 != 0 => 0,
            (Fault::NeverEnds, 7) if self.command != 0 => 0x80,
            (Fault::ReadsForever, 7) if !matches!(self.command, 0 | 0xec) => 0x80,
            (Fault::AlwaysFails, 7) if self.command != 0 => 0x51,
            (Fault::AlwaysFails, 1) => 0x04,
            (_, 7) => ready,
            _ => 0,
        }
    }
}

impl Ports for BrokenDrive {
    fn read(&mut self, port: u16, size: u8) -> u32 {
        match port {
            0x40 => {
                self.high = !self.high;
                self.clock = self.clock.wrapping_sub(if self.high { 30_000 } else { 0 });
                if self.high { self.clock & 0xff } else { self.clock >> 8 & 0xff }
            }
            0x71 => 0,
            0x1f0 => {
                self.words = self.words.saturating_sub(u32::from(size) / 2);
                match self.fault {
                    Fault::Identifies(word) => u32::from(word) * 0x1_0001,
                    // A capacity of 32768 sectors, with LBA.
                    Fault::ReadsForever => match 256 - self.words {
                        50 => 1 << 25,
                        62 => 0x8000,
                        _ => 0,
                    },
                    _ => self.rng.next_u64() as u32,
                }
            }
            0x1f1..=0x1f7 => self.task(port - 0x1f0).into(),
            0x3f6 => self.task(7).into(),
            _ => u32::MAX,
        }
    }

    fn write(&mut self, port: u16, _size: u8, value: u32) {
        match port {
            0x402 => self.log.push(value as u8 as char),
            0x1f6 => self.device = value as u8,
            0x1f7 => {
                self.command = value as u8;
                if !matches!(self.fault, Fault::NoData | Fault::AlwaysFails | Fault::NeverEnds) {
                    self.words = 256;
                }
            }
            0x3f6 if value & 4 != 0 => (self.command, self.words) = (0, 0),
            _ => {}
        }
    }
}

#[test]
fn a_broken_drive_is_logged_and_skipped() {
    for (fault, log) in [
        (Fault::Stuck(0xff), ""),
        (Fault::Stuck(0x00), ""),
        (Fault::Stuck(0x80), "ata0 master: no answer\nata0 slave: no answer\n"),
        (Fault::Stuck(0xd0), "ata0 master: no answer\nata0 slave: no answer\n"),
        (Fault::Stuck(0x58), "ata0 master: no answer\nata0 slave: no answer\n"),
        (Fault::Stuck(0x7f), "ata0 master: no answer\nata0 slave: no answer\n"),
        (Fault::NeverEnds, "ata0 master: no answer\n"),
        (Fault::AlwaysFails, "ata0 master: not possible\n"),
        (Fault::NoData, "ata0 master: no data\n"),
        (Fault::Identifies(0), "ata0 master: no medium\n"),
    ] {
        let mut computer = Computer::new(BrokenDrive::new(fault)).start();
        assert_eq!(computer.hw.bus.log, log, "{fault:?}");
        assert_eq!(computer.bios(|bios| drives(bios)), 0, "{fault:?}");
        assert_eq!(computer.int13(0x0201, 1, 0x80).ah(), 1, "{fault:?}");
    }
}

#[test]
fn nonsense_identify_data_causes_neither_panic_nor_hang() {
    for word in [0xffff, 0x5555, 0xaaaa, 0x0100, 0x0001] {
        let mut computer = Computer::new(BrokenDrive::new(Fault::Identifies(word))).start();
        for ah in 0..0x50u16 {
            computer.int13(ah << 8 | 1, 1, 0x80);
        }
    }
}

#[test]
fn a_drive_that_stops_answering_times_out() {
    let mut computer = Computer::new(BrokenDrive::new(Fault::ReadsForever)).start();
    assert_eq!(computer.bios(|bios| drives(bios)), 1);
    let regs = computer.int13(0x0201, 0x0001, 0x80);
    assert_eq!((regs.ah(), regs.al(), regs.cf()), (0x80, 0, true));
    let regs = computer.packet(0x4200, 0x80, &dap(1, 0x1000_0000, 5));
    assert_eq!((regs.ah(), regs.cf()), (0x80, true));
}

#[test]
fn a_packet_device_that_sends_endless_data_is_given_up() {
    for bytes in [0, 1, 2048, 0xffff] {
        let mut computer = Computer::new(BrokenDrive::new(Fault::Floods(bytes))).start();
        for index in 0..computer.bios(|bios| drives(bios)) {
            computer.bios(|bios| cd_ready(bios, index)).unwrap_err();
            computer.bios(|bios| read(bios, index, 0, 1, FarPtr::new(0x1000, 0))).unwrap_err();
        }
    }
}

#[test]
fn randomly_reading_registers_cause_neither_panic_nor_hang() {
    for seed in 0..20 {
        let mut broken = BrokenDrive::new(Fault::Random);
        broken.rng = Rng(seed);
        let mut computer = Computer::new(broken).start();
        computer.int13(0x0201, 0x0001, 0x80);
        computer.packet(0x4200, 0xe0, &dap(1, 0x1000_0000, 5));
    }
}
