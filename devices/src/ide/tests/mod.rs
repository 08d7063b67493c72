//! Unit tests of the IDE function through its ports, as guest drivers access it.

mod ata;
mod atapi;
mod bugs;
mod controller;
mod disc;
mod phases;

use super::ata::subcommand;
use super::atapi::opcode;
use super::regs::op;
use super::{DriveSpec, Piix3Ide};
use crate::testing::Bench;
use crate::{DiskId, IrqLine};
use std::sync::OnceLock;

/// BMIBA, as the tests set it.
const BM: u16 = 0xc000;
const PRD_TABLE: u32 = 0x1_0000;
const PRIMARY: u16 = 0x1f0;
const SECONDARY: u16 = 0x170;
const DISK_SECTORS: u64 = 4096;

/// The function with a disk as hda and a CD-ROM as hdc, both filled with a pattern.
fn machine() -> Bench<Piix3Ide> {
    let bench = with_drives([
        Some(DriveSpec::disk(DISK_SECTORS, false, "SERIAL1")),
        None,
        Some(DriveSpec::cdrom(Some(crate::Disc::single(1024 * 2048)), "SERIAL2")),
        None,
    ]);
    enabled(bench)
}

fn with_drives(drives: [Option<DriveSpec>; 4]) -> Bench<Piix3Ide> {
    let mut bench = Bench::new(Piix3Ide::new(drives));
    static IMAGES: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    let images = IMAGES.get_or_init(|| [0, 1, 2, 3].map(|disk| pattern(DISK_SECTORS as usize * 512, disk)));
    for (disk, image) in (0..).zip(images) {
        if bench.device.drive(DiskId(disk)).is_some() {
            bench.disks.insert(DiskId(disk), image.clone());
        }
    }
    bench
}

/// Sets BMIBA and PCICMD as firmware does.
fn enabled(mut bench: Bench<Piix3Ide>) -> Bench<Piix3Ide> {
    bench.config_write(0x20, 4, BM.into());
    bench.config_write(0x04, 2, 5);
    bench
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|n| (n as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ seed).collect()
}

/// A guest driver of one channel.
struct Driver<'a> {
    bench: &'a mut Bench<Piix3Ide>,
    base: u16,
}

/// A command's task file.
#[derive(Clone, Copy, Default)]
struct Command {
    opcode: u8,
    features: u8,
    count: u16,
    lba: u64,
    device: u8,
}

impl Driver<'_> {
    fn irq_line(&self) -> IrqLine {
        IrqLine::Isa(if self.base == PRIMARY { 14 } else { 15 })
    }

    fn irq(&self) -> bool {
        self.bench.irq(self.irq_line())
    }

    fn edges(&self) -> u32 {
        self.bench.edges.get(&self.irq_line()).copied().unwrap_or(0)
    }

    fn status(&mut self) -> u8 {
        self.bench.inb(self.base + 7)
    }

    fn error(&mut self) -> u8 {
        self.bench.inb(self.base + 1)
    }

    fn bm(&self) -> u16 {
        BM + if self.base == PRIMARY { 0 } else { 8 }
    }

    fn bm_status(&mut self) -> u8 {
        self.bench.inb(self.bm() + 2)
    }

    /// Writes all task file registers, both bytes of each, and then the command.
    fn issue(&mut self, command: Command) {
        let base = self.base;
        let lba = command.lba.to_le_bytes();
        let [count, count_high] = command.count.to_le_bytes();
        self.bench.outb(base + 6, command.device);
        self.bench.outb(base + 1, 0);
        self.bench.outb(base + 1, command.features);
        self.bench.outb(base + 2, count_high);
        self.bench.outb(base + 2, count);
        for n in [0, 1, 2] {
            self.bench.outb(base + 3 + n, lba[usize::from(n) + 3]);
            self.bench.outb(base + 3 + n, lba[usize::from(n)]);
        }
        self.bench.outb(base + 7, command.opcode);
    }

    /// Issues a command with a 28-bit address.
    fn issue28(&mut self, opcode: u8, lba: u32, count: u8) {
        let device = 0xe0 | (lba >> 24) as u8;
        self.issue(Command {
            opcode,
            lba: (lba & 0xff_ffff).into(),
            count: count.into(),
            device,
            ..Command::default()
        });
    }

    /// Issues a command with a 48-bit address.
    fn issue48(&mut self, opcode: u8, lba: u64, count: u16) {
        self.issue(Command { opcode, lba, count, device: 0xe0, ..Command::default() });
    }

    /// Reads DRQ blocks of `block` bytes while DRQ is set.
    fn pio_in(&mut self, block: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while self.status() & 0x89 == 0x08 {
            let mut data = vec![0; block];
            self.bench.ins(self.base, 2, &mut data);
            all.extend(data);
            assert!(all.len() < 64 << 20);
        }
        all
    }

    fn pio_out(&mut self, data: &[u8], block: usize) {
        for part in data.chunks(block) {
            assert_eq!(self.status() & 0x89, 0x08, "DRQ is set");
            self.bench.outs(self.base, 2, part);
        }
    }

    /// Writes a descriptor table of (base, count) and sets BMIDTPX.
    fn prds(&mut self, entries: &[(u32, u32)]) {
        for ((base, count), at) in entries.iter().zip((PRD_TABLE..).step_by(8)) {
            self.bench.memory.write(at.into(), &base.to_le_bytes());
            self.bench.memory.write(u64::from(at) + 4, &count.to_le_bytes());
        }
        let bm = self.bm();
        self.bench.outl(bm + 4, PRD_TABLE);
    }

    /// Starts the bus master as Linux does: clears BMISX, sets the direction, then the start bit.
    fn start(&mut self, to_memory: bool) {
        let bm = self.bm();
        self.bench.outb(bm + 2, 0x66);
        self.bench.outb(bm, u8::from(to_memory) << 3);
        self.bench.outb(bm, u8::from(to_memory) << 3 | 1);
    }

    fn stop(&mut self) {
        let bm = self.bm();
        self.bench.outb(bm, 0);
    }

    /// Issues PACKET with a byte count limit, or for DMA, and writes the command packet.
    fn packet(&mut self, cdb: &[u8], limit: u16, dma: bool) {
        let base = self.base;
        let [low, high] = limit.to_le_bytes();
        self.bench.outb(base + 1, dma.into());
        self.bench.outb(base + 4, low);
        self.bench.outb(base + 5, high);
        self.bench.outb(base + 7, op::PACKET);
        if self.status() & 0x89 != 0x08 {
            return;
        }
        let mut padded = cdb.to_vec();
        padded.resize(12, 0);
        self.bench.outs(base, 2, &padded);
    }

    /// Executes a packet command by PIO. Returns its data, or its sense key, code and qualifier.
    fn cdb(&mut self, cdb: &[u8]) -> Result<Vec<u8>, [u8; 3]> {
        self.packet(cdb, 0xfffe, false);
        let data = self.packet_in();
        if self.status() & 1 == 0 {
            return Ok(data);
        }
        self.packet(&[opcode::REQUEST_SENSE, 0, 0, 0, 18], 18, false);
        let sense = self.packet_in();
        Err([sense[2], sense[12], sense[13]])
    }

    /// Reads the data of a packet command and checks the interrupt reasons.
    fn packet_in(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while self.status() & 0x89 == 0x08 {
            assert_eq!(self.bench.inb(self.base + 2), 2, "interrupt reason: data in");
            let low = self.bench.inb(self.base + 4);
            let high = self.bench.inb(self.base + 5);
            let mut data = vec![0; u16::from_le_bytes([low, high]).into()];
            self.bench.ins(self.base, 2, &mut data);
            all.extend(data);
        }
        assert_eq!(self.bench.inb(self.base + 2), 3, "interrupt reason: status");
        all
    }
}

fn primary(bench: &mut Bench<Piix3Ide>) -> Driver<'_> {
    Driver { bench, base: PRIMARY }
}

/// A driver of the CD-ROM's channel.
fn cdrom(bench: &mut Bench<Piix3Ide>) -> Driver<'_> {
    Driver { bench, base: SECONDARY }
}

/// A driver of the CD-ROM's channel, after the power-on unit attention.
fn ready_cdrom(bench: &mut Bench<Piix3Ide>) -> Driver<'_> {
    let mut driver = cdrom(bench);
    assert_eq!(driver.cdb(&[opcode::TEST_UNIT_READY]), Err([6, 0x29, 0]));
    driver
}
