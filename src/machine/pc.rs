//! The i440FX PC: its devices, PCI slots, ports and IRQs.
//!
//! PCI slots, ids, ports and IRQs are those of QEMU's `pc` machine and of Xen's HVM guests. They are frozen: a change breaks
//! installed guests.

use crate::board::slots::FIRST_NIC;
use crate::config::{Adapter, BootDevice, DriveConfig, MachineConfig, Media, NicModel, RtcBase};
use pcvm_devices::chipset::acpi_pm::AcpiPm;
use pcvm_devices::chipset::i440fx::I440fx;
use pcvm_devices::chipset::isa_dma::IsaDma;
use pcvm_devices::chipset::piix3::Piix3;
use pcvm_devices::chipset::port92::Port92;
use pcvm_devices::cmos::{self, Cmos, CmosContents, CmosDisk, Translation};
use pcvm_devices::debug::DebugPorts;
use pcvm_devices::fdc::{FIRST_DISK, Fdc, FloppyMedium, FloppySpec};
use pcvm_devices::fw_cfg::{FwCfg, FwCfgItems};
use pcvm_devices::ide::{DriveSpec, Piix3Ide, reported_geometry};
use pcvm_devices::memory::LOW_RAM_MAX;
use pcvm_devices::ps2::Ps2Controller;
use pcvm_devices::rtl8139::{Chip, NicSpec, Rtl8139};
use pcvm_devices::serial::Uart16550;
use pcvm_devices::usb::Piix3Usb;
use pcvm_devices::vga::Vga;
use pcvm_devices::{CharId, Devfn, DiskId, DynDevice, Medium, NicId};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Base port and IRQ of COM1 to COM4.
const COM: [(u16, u8); 4] = [(0x3f8, 4), (0x2f8, 3), (0x3e8, 4), (0x2e8, 3)];

/// Parts of the devices that do not follow from the configuration.
pub struct BoardParts {
    /// The items that firmware reads through fw_cfg.
    pub fw_cfg: FwCfgItems,
    /// The VGA BIOS; may be empty.
    pub vga_rom: Vec<u8>,
    /// Expansion ROMs of the network cards, in order.
    pub nic_roms: Vec<Vec<u8>>,
    /// The media in the drives.
    pub media: BTreeMap<DiskId, Medium>,
}

/// All devices of the machine. Where regions overlap, the earlier device wins.
pub fn devices(config: &MachineConfig, parts: BoardParts) -> Vec<Box<dyn DynDevice>> {
    let mut all: Vec<Box<dyn DynDevice>> = Vec::new();
    let mut put = |device: Box<dyn DynDevice>| all.push(device);
    put(Box::new(I440fx::new()));
    put(Box::new(Piix3::new()));
    let medium = |n: usize| parts.media.get(&DiskId(n as u8)).cloned();
    let specs =
        [0, 1, 2, 3].map(|n: usize| config.drives.get(&DiskId(n as u8)).map(|drive| drive_spec(n, drive, medium(n))));
    let cmos = cmos_contents(config, &specs);
    put(Box::new(Piix3Ide::new(specs)));
    put(Box::new(AcpiPm::new()));
    put(Box::new(DebugPorts::new(config.debugcon.is_some())));
    put(Box::new(IsaDma::new()));
    let floppies = [0, 1].map(|n| floppy_spec(config, DiskId(FIRST_DISK + n), &parts.media));
    if floppies.iter().any(Option::is_some) {
        put(Box::new(Fdc::new(floppies, config.floppy_timing)));
    }
    put(Box::new(Port92::new()));
    put(Box::new(Cmos::new(clock_start(config.rtc), cmos)));
    put(Box::new(Ps2Controller::new()));
    for (n, (port, irq)) in COM.into_iter().enumerate() {
        if config.serial[n].is_some() {
            put(Box::new(Uart16550::new(port, irq, CharId(n as u8))));
        }
    }
    put(Box::new(FwCfg::new(parts.fw_cfg)));
    match config.vga {
        Some(Adapter::Std { vram }) => put(Box::new(Vga::new(vram, parts.vga_rom))),
        Some(Adapter::Cirrus) => put(Box::new(Vga::cirrus(parts.vga_rom))),
        None => {}
    }
    let mut roms = parts.nic_roms.into_iter();
    for (n, nic) in config.nics.iter().take(NicId::COUNT).enumerate() {
        let spec = NicSpec {
            nic: NicId(n as u8),
            devfn: Devfn::new(FIRST_NIC + n as u8, 0),
            mac: nic.mac.unwrap_or_else(|| mac_address(&config.name, n)),
            rom: roms.next().unwrap_or_default(),
            link: nic.link,
        };
        let chip = match nic.model {
            NicModel::Rtl8139Cplus => Chip::CPlus,
            NicModel::Rtl8139C => Chip::C,
        };
        put(Box::new(Rtl8139::with_chip(spec, chip)));
    }
    if config.tablet {
        put(Box::new(Piix3Usb::new()));
    }
    all
}

/// A MAC address in Xen's range (00:16:3E), derived from the machine's name so that it stays the same.
pub fn mac_address(machine: &str, nic: usize) -> [u8; 6] {
    let digest = Sha1::new().chain_update(machine).chain_update([0, nic as u8]).finalize();
    [0x00, 0x16, 0x3e, digest[0], digest[1], digest[2]]
}

fn drive_spec(n: usize, drive: &DriveConfig, medium: Option<Medium>) -> DriveSpec {
    let serial = drive.serial.clone().unwrap_or_else(|| format!("PC{:05}", n + 1));
    match drive.media {
        Media::Disk => {
            let size = medium.map_or(0, |medium| medium.size);
            DriveSpec::disk(size / 512, drive.read_only, &serial)
        }
        Media::Cdrom => DriveSpec::cdrom(medium.map(Medium::into_disc), &serial),
        // The configuration assigns floppy drives to other units.
        Media::Floppy(_) => DriveSpec::cdrom(None, &serial),
    }
}

fn floppy_spec(config: &MachineConfig, disk: DiskId, media: &BTreeMap<DiskId, Medium>) -> Option<FloppySpec> {
    let drive = config.drives.get(&disk)?;
    let medium = media.get(&disk).map(|medium| FloppyMedium { size: medium.size, read_only: medium.read_only });
    Some(FloppySpec { kind: drive.media.floppy_drive(medium.map(|medium| medium.size))?, medium })
}

/// The RTC's time at power-on, in seconds since 1970, as the guest reads it.
fn clock_start(rtc: RtcBase) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    match rtc {
        RtcBase::Utc => now,
        RtcBase::LocalTime => now + super::local_time::offset(now),
        RtcBase::Date(date) => date,
    }
}

/// The CMOS type of a floppy drive: 0 for none.
fn floppy_type(config: &MachineConfig, disk: DiskId) -> u8 {
    config.drives.get(&disk).and_then(|drive| drive.media.floppy_drive(None)).map_or(0, |kind| kind as u8)
}

/// What CMOS RAM tells of a drive: the geometry of a disk that the IDE drive reports, and LBA assist for one with more than
/// 1024 cylinders, as QEMU's `pc` has it for a disk without partitions. Firmware reads the translation; Windows 9x and early
/// Linux count the disks.
fn cmos_disk(spec: &DriveSpec) -> Option<CmosDisk> {
    let DriveSpec::Disk { sectors, .. } = spec else { return None };
    let (cylinders, heads, sectors) = reported_geometry(*sectors);
    let translation = if cylinders > 1024 { Translation::Lba } else { Translation::None };
    Some(CmosDisk { cylinders, heads, sectors, translation })
}

fn cmos_contents(config: &MachineConfig, drives: &[Option<DriveSpec>; 4]) -> CmosContents {
    let mut boot = [None; 3];
    for (slot, device) in boot.iter_mut().zip(&config.boot) {
        *slot = Some(match device {
            BootDevice::Floppy => cmos::BootDevice::Floppy,
            BootDevice::Disk => cmos::BootDevice::Disk,
            BootDevice::Cdrom => cmos::BootDevice::Cdrom,
            BootDevice::Network => cmos::BootDevice::Network,
        });
    }
    CmosContents {
        low_ram: config.memory.min(LOW_RAM_MAX),
        high_ram: config.memory.saturating_sub(LOW_RAM_MAX),
        cpus: config.cpus.count,
        boot,
        disks: drives.each_ref().map(|drive| cmos_disk(drive.as_ref()?)),
        floppies: [0, 1].map(|n| floppy_type(config, DiskId(FIRST_DISK + n))),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcvm_devices::{Access, CONFIG_TAG, Clock, Ctx, Inbox, Memory, Outbox, Space, VmTime};

    /// Everything that a machine can have.
    fn full() -> MachineConfig {
        let nic = crate::config::NicConfig {
            backend: crate::config::NetBackend::Passt(None),
            mac: None,
            model: NicModel::Rtl8139Cplus,
            link: true,
            dump: None,
            rom: None,
        };
        MachineConfig {
            serial: [const { Some(crate::config::CharSpec::Null) }; 4],
            debugcon: Some("log".into()),
            tablet: true,
            drives: [(DiskId(FIRST_DISK), DriveConfig::new(Media::Floppy(None), None))].into(),
            nics: vec![nic.clone(), crate::config::NicConfig { model: NicModel::Rtl8139C, ..nic }],
            ..MachineConfig::minimal()
        }
    }

    #[test]
    fn cmos_ram_has_type_and_geometry_of_each_disk() {
        let config = MachineConfig::minimal();
        let disk = |sectors| Some(DriveSpec::disk(sectors, false, ""));
        let cd = Some(DriveSpec::cdrom(None, ""));
        let contents = cmos_contents(&config, &[disk(2 << 20), cd, disk(1 << 16), None]);
        let large = CmosDisk { cylinders: 2080, heads: 16, sectors: 63, translation: Translation::Lba };
        let small = CmosDisk { cylinders: 65, heads: 16, sectors: 63, translation: Translation::None };
        assert_eq!(contents.disks, [Some(large), None, Some(small), None]);
    }

    /// What a guest can see of a device before anything is configured: kind, version, PCI function with ids, class,
    /// subsystem and command register, and ports. The PCI values are those that QEMU 7.2's `pc` reads before firmware runs;
    /// Windows chooses and keeps its driver installations by them.
    fn describe(device: &mut dyn DynDevice) -> String {
        let memory = Memory::new(1 << 20, 16 << 20).unwrap();
        let clock = std::cell::Cell::new(VmTime(0));
        let (mut out, mut inbox) = (Outbox::default(), Inbox::default());
        let mut cx = Ctx::new(&clock as &dyn Clock, &memory, &mut out, &mut inbox);
        device.reset(&mut cx);
        let mut text = format!("{} v{}", device.kind(), device.version());
        if let Some(devfn) = device.pci() {
            let mut dword = |offset| {
                let mut bytes = [0; 4];
                device.read(&mut cx, Access { tag: CONFIG_TAG, offset, width: 4 }, &mut bytes);
                u32::from_le_bytes(bytes)
            };
            let [id, command, class, subsystem] = [0x00, 0x04, 0x08, 0x2c].map(&mut dword);
            text += &format!(
                " {:02x}.{} {:04x}:{:04x} {:06x} rev {:02x} sub {:04x}:{:04x} cmd {:x}",
                devfn.slot(),
                devfn.function(),
                id & 0xffff,
                id >> 16,
                class >> 8,
                class & 0xff,
                subsystem & 0xffff,
                subsystem >> 16,
                command & 0xffff,
            );
        }
        for region in device.regions().into_iter().filter(|region| region.space == Space::Io) {
            text += &format!(" {:x}+{:x}", region.base, region.len);
        }
        text
    }

    #[test]
    fn the_board_is_frozen() {
        let config = full();
        let parts =
            BoardParts { fw_cfg: FwCfgItems::default(), vga_rom: vec![], nic_roms: vec![], media: BTreeMap::new() };
        let board: Vec<_> = devices(&config, parts).iter_mut().map(|device| describe(&mut **device)).collect();
        assert_eq!(board, FROZEN.lines().map(str::trim).collect::<Vec<_>>());
    }

    #[test]
    fn the_cirrus_adapter_is_frozen() {
        let config = MachineConfig { vga: Some(Adapter::Cirrus), ..full() };
        let parts =
            BoardParts { fw_cfg: FwCfgItems::default(), vga_rom: vec![], nic_roms: vec![], media: BTreeMap::new() };
        let board: Vec<_> = devices(&config, parts).iter_mut().map(|device| describe(&mut **device)).collect();
        assert!(board.contains(
            &"vga v1 02.0 1013:00b8 030000 rev 00 sub 1af4:1100 cmd 0 3b4+2 3ba+1 3c0+10 3d4+2 3da+1".to_owned()
        ));
    }

    /// Installed guests bind drivers to these lines, and saved states name these kinds. Lines may be added, never changed.
    const FROZEN: &str = "\
        i440fx v1 00.0 8086:1237 060000 rev 02 sub 1af4:1100 cmd 0
        piix3 v1 01.0 8086:7000 060100 rev 00 sub 1af4:1100 cmd 0 cf9+1
        piix3-ide v1 01.1 8086:7010 010180 rev 00 sub 1af4:1100 cmd 0
        acpi-pm v1 01.3 8086:7113 068000 rev 03 sub 1af4:1100 cmd 0 b2+2 afe0+4
        debug v1 80+1 e9+1 402+1
        isa-dma v1 0+10 c0+20 81+f
        fdc v1 3f0+6 3f7+1
        port92 v1 92+1
        cmos v1 70+4
        ps2 v1 60+1 64+1
        serial v1 3f8+8
        serial v1 2f8+8
        serial v1 3e8+8
        serial v1 2e8+8
        fw-cfg v1 511+1 510+2 514+8
        vga v1 02.0 1234:1111 030000 rev 02 sub 1af4:1100 cmd 0 3b4+2 3ba+1 3c0+10 3d4+2 3da+1 1ce+4
        rtl8139 v1 03.0 10ec:8139 020000 rev 20 sub 1af4:1100 cmd 0
        rtl8139 v1 04.0 10ec:8139 020000 rev 10 sub 1af4:1100 cmd 0
        piix3-usb v1 01.2 8086:7020 0c0300 rev 01 sub 1af4:1100 cmd 0";

    #[test]
    fn a_mac_address_follows_from_name_and_number() {
        assert_eq!(mac_address("xp", 0), [0x00, 0x16, 0x3e, 0x51, 0x92, 0x4e]);
        assert_ne!(mac_address("xp", 0), mac_address("xp", 1));
    }
}
