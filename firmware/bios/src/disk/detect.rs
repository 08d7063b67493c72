//! IDE drive detection on both channels (ATA/ATAPI-6, 9.12 for signatures, 8.15 and 8.16 for IDENTIFY).

use super::ata::{self, reg, status};
use super::buffer::Buffer;
use super::geometry::{self, Chs, Partition, Translation};
use super::status::{Result, Status};
use super::{DriveInfo, DriveKind, DriveLocation, atapi, edd};
use crate::{Bios, log};
use pcvm_firmware_rt::{Hw, ebda};

const IDENTIFY: u8 = 0xec;
const IDENTIFY_PACKET: u8 = 0xa1;
/// Cylinder registers of a packet device after a reset.
const PACKET_SIGNATURE: u16 = 0xeb14;
/// Time-out for a drive to become ready. Drives are reset with the machine; one that takes longer is broken.
const POWER_ON_MS: u32 = 10_000;

const CMOS_INDEX: u16 = 0x70;
const CMOS_DATA: u16 = 0x71;
const NMI_OFF: u8 = 0x80;
/// Types of hard disks 0 and 1: Fh refers to the extended CMOS area.
const CMOS_TYPES: u8 = 0x12;
/// Translations: two bits for each of four drives, as written by QEMU and pcvm.
const CMOS_TRANSLATION: u8 = 0x39;

pub fn cmos<H: Hw>(hw: &mut H, register: u8) -> u8 {
    hw.outb(CMOS_INDEX, NMI_OFF | register);
    let value = hw.inb(CMOS_DATA);
    hw.outb(CMOS_INDEX, 0x0d);
    hw.inb(CMOS_DATA);
    value
}

/// Probes both channels.
pub fn probe<H: Hw>(bios: &mut Bios<H>) {
    let function = ide_function(bios);
    bios.state.disk.ide_function.set(function);
    for channel in [0, 1] {
        // Probe both drives before sending a command to either: they share the task file, so a command to the first
        // drive would overwrite the signature that identifies the second one (ATA/ATAPI-6, 7.2).
        let found = [0, 1].map(|unit| present(bios, DriveLocation::new(channel, unit)));
        for (found, unit) in found.into_iter().zip([0, 1]) {
            let location = DriveLocation::new(channel, unit);
            match found {
                Ok(Some(kind)) => {
                    if let Err(status) = identify(bios, location, kind) {
                        log_error(bios, location, status);
                    }
                }
                Ok(None) => {}
                // Floating bus: the channel does not exist.
                Err(Status::NO_PARAMETERS) => break,
                Err(status) => log_error(bios, location, status),
            }
        }
    }
}

/// Finds the IDE controller in legacy mode on bus 0 (PCI Local Bus Specification 2.1, section 3.7.4.1 for the access,
/// appendix D for the class code).
fn ide_function<H: Hw>(bios: &mut Bios<H>) -> u16 {
    const ADDRESS: u16 = 0xcf8;
    const DATA: u16 = 0xcfc;
    const ENABLE: u32 = 1 << 31;
    const CLASS: u32 = 0x08;
    const IDE: u32 = 0x0101;
    let class = |bios: &mut Bios<H>, function: u16| {
        bios.hw.outl(ADDRESS, ENABLE | u32::from(function) << 8 | CLASS);
        bios.hw.inl(DATA)
    };
    // The PIIX and PIIX3 have it at device 1, function 1; try that first.
    const PIIX: u16 = 1 << 3 | 1;
    if class(bios, PIIX) >> 16 == IDE {
        return PIIX;
    }
    // No device at 00:00.0: there is no PCI bus.
    if class(bios, 0) == u32::MAX {
        return edd::NOT_PCI;
    }
    (0..256).find(|&function| class(bios, function) >> 16 == IDE).unwrap_or(edd::NOT_PCI)
}

fn log_error<H: Hw>(bios: &mut Bios<H>, location: DriveLocation, status: Status) {
    let name = match (location.channel, location.unit) {
        (0, 0) => "ata0 master: ",
        (0, _) => "ata0 slave: ",
        (_, 0) => "ata1 master: ",
        _ => "ata1 slave: ",
    };
    log::text(bios.hw, name);
    log::line(bios.hw, status.text());
}

/// Checks whether there is a drive, and of which kind.
fn present<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> Result<Option<DriveKind>> {
    let base = location.base();
    bios.hw.outb(base + reg::DEVICE, 0xa0 | location.unit << 4);
    let mut status = bios.hw.inb(base + reg::STATUS);
    // The bus floats: the channel does not exist.
    if status == 0xff {
        return Err(Status::NO_PARAMETERS);
    }
    if status & status::BSY != 0 {
        status = ata::wait_not_busy(bios, location, POWER_ON_MS)?;
    }
    if status & status::DRQ != 0 {
        // The drive is in the middle of a transfer.
        ata::reset(bios, location)?;
        ata::unmask_interrupt(bios, location);
        status = ata::wait_not_busy(bios, location, POWER_ON_MS)?;
    }
    // A packet device has DRDY clear before its first command, like an absent drive.
    if status & status::DRDY != 0 {
        return Ok(Some(DriveKind::Hard));
    }
    Ok(is_packet(bios, location).then_some(DriveKind::Cdrom))
}

fn is_packet<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> bool {
    let low = bios.hw.inb(location.base() + reg::LBA_MID);
    low == PACKET_SIGNATURE as u8 && bios.hw.inb(location.base() + reg::LBA_HIGH) == (PACKET_SIGNATURE >> 8) as u8
}

/// Identifies the drive and adds it.
fn identify<H: Hw>(bios: &mut Bios<H>, location: DriveLocation, guess: DriveKind) -> Result<()> {
    ata::mask_interrupt(bios, location);
    let mut result = Err(Status::BAD_COMMAND);
    let mut kind = guess;
    if kind == DriveKind::Hard {
        result = ata::select(bios, location, 0)
            .and_then(|()| ata::command_in(bios, location, IDENTIFY, &mut Buffer::SCRATCH.clone(), POWER_ON_MS));
        if result.is_err() && is_packet(bios, location) {
            kind = DriveKind::Cdrom;
        }
    }
    if kind == DriveKind::Cdrom {
        result = ata::select(bios, location, 0)
            .and_then(|()| ata::command_in(bios, location, IDENTIFY_PACKET, &mut Buffer::SCRATCH.clone(), POWER_ON_MS));
    }
    ata::unmask_interrupt(bios, location);
    result?;
    let mut data = IdentifyData([0; 104]);
    for (word, n) in data.0.iter_mut().zip(0..) {
        *word = bios.hw.read16(ebda::SECTOR.at.add(n * 2));
    }
    let mut info = data.describe(kind, location);
    if kind == DriveKind::Cdrom {
        // Word 0, bits 12-8: the type of packet device. Only type 5, CD-ROM, can be booted.
        if data.get(0) >> 8 & 0x1f == 5 {
            bios.state.disk.add(info);
        }
        return Ok(());
    }
    if info.sectors.get() == 0 {
        return Err(Status::NO_MEDIUM);
    }
    let is_set = data.get(59) == 0x100 | u16::from(info.multiple);
    if (!is_set || !info.lba) && ata::configure(bios, &info).is_err() {
        info.multiple = 1;
    }
    (info.logical, info.translation) = logical(bios, &info);
    bios.state.disk.add(info);
    Ok(())
}

/// The IDENTIFY (PACKET) DEVICE data (8.15.8 and 8.16.8), up to the last word that is used.
struct IdentifyData([u16; 104]);

impl IdentifyData {
    fn get(&self, n: usize) -> u16 {
        self.0.get(n).copied().unwrap_or(0)
    }

    fn double(&self, n: usize) -> u32 {
        u32::from(self.get(n)) | u32::from(self.get(n + 1)) << 16
    }

    fn has(&self, n: usize, bit: u16) -> bool {
        self.get(n) >> bit & 1 != 0
    }

    fn describe(&self, kind: DriveKind, location: DriveLocation) -> DriveInfo {
        let mut info = DriveInfo { kind, location, lba: true, multiple: 1, ..DriveInfo::default() };
        for (pair, n) in info.model.0.chunks_exact_mut(2).zip(27..) {
            pair.copy_from_slice(&self.get(n).to_be_bytes());
        }
        for byte in &mut info.model.0 {
            if !(0x20..0x7f).contains(byte) {
                *byte = b' ';
            }
        }
        info.pio = match self.get(64) & 3 {
            0 => (self.get(51) >> 8).min(2) as u8,
            _ if !self.has(53, 1) => (self.get(51) >> 8).min(2) as u8,
            1 => 3,
            _ => 4,
        };
        if kind == DriveKind::Cdrom {
            info.block.set(atapi::BLOCK);
            return info;
        }
        let reported =
            Chs { cylinders: self.get(1), heads: self.get(3).min(16) as u8, sectors: self.get(6).min(255) as u8 };
        info.lba = self.has(49, 9);
        info.lba48 = info.lba && self.get(83) >> 14 == 1 && self.has(83, 10);
        let long = u64::from(self.double(100)) | u64::from(self.double(102)) << 32;
        let sectors = match (info.lba, info.lba48) {
            (false, _) => reported.total().into(),
            (true, true) if long != 0 => long,
            _ => self.double(60).into(),
        };
        info.sectors.set(sectors);
        info.block.set(512);
        let most = self.get(47) as u8;
        info.multiple = [ata::MULTIPLE, 8, 4, 2].into_iter().find(|&n| n <= most).unwrap_or(1);
        info.physical = geometry::physical(reported, sectors);
        info
    }
}

/// INT 13h's geometry: that of the partition table, else by the translation in CMOS, else by the disk's size. The
/// translation in CMOS was chosen by the machine from the size alone, so the partition table knows better.
fn logical<H: Hw>(bios: &mut Bios<H>, info: &DriveInfo) -> (Chs, Translation) {
    if let Some(found) = partitioned(bios, info) {
        return found;
    }
    let position = info.location.channel * 2 + info.location.unit;
    let translations = cmos(bios.hw, CMOS_TRANSLATION);
    let bits = translations >> (position * 2) & 3;
    let types = cmos(bios.hw, CMOS_TYPES);
    let configured = match position {
        0 => types & 0xf0 != 0,
        1 => types & 0x0f != 0,
        // The secondary channel's disks have no type byte that tells whether their bits are valid.
        _ => bits != 0,
    };
    if configured {
        let translation = Translation::from_bits(bits);
        return (geometry::translate(info.physical, info.sectors.get(), translation), translation);
    }
    let translation = geometry::by_size(info.physical, info.sectors.get());
    (geometry::translate(info.physical, info.sectors.get(), translation), translation)
}

fn partitioned<H: Hw>(bios: &mut Bios<H>, info: &DriveInfo) -> Option<(Chs, Translation)> {
    const TABLE: u16 = 0x1be;
    const SIGNATURE: u16 = 0x1fe;
    ata::transfer(bios, info, ata::Action::Read, 0, 1, &mut Buffer::SCRATCH.clone()).1.ok()?;
    let at = ebda::SECTOR.at;
    if bios.hw.read16(at.add(SIGNATURE)) != 0xaa55 {
        return None;
    }
    let mut table = [None; 4];
    for (entry, n) in table.iter_mut().zip(0..) {
        let mut bytes = [0; 16];
        bios.hw.copy_in(at.add(TABLE + n * 16), &mut bytes);
        *entry = Partition::parse(&bytes);
    }
    geometry::by_partitions(&table, info.physical, info.sectors.get())
}
