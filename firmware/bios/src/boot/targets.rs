//! Boot targets: building the boot order, numbering the hard disks, printing device names.

use super::media::{self, DriveKind};
use super::order::{self, BootPath, DeviceClass};
use super::{console, roms};
use crate::Bios;
use pcvm_firmware_rt::{FarPtr, Hw};

/// Maximum number of boot targets: drives and option ROM entries.
pub const TARGETS: usize = crate::disk::MAX_DRIVES + roms::ENTRIES;

/// A bootable device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The drive with this index.
    Drive(u8),
    /// The option ROM entry with this index.
    Rom(u8),
}

/// Maximum length of a boot order line; every path that [`order::parse`] accepts is shorter.
const MAX_LINE: usize = 96;

/// Builds the boot order: first the devices that the boot order file names, then all others.
pub fn build_boot_order<H: Hw>(bios: &mut Bios<H>) {
    bios.state.boot.count.set(0);
    if add_boot_order(bios) {
        return;
    }
    let cmos = [0x38, 0x3d].map(|register| {
        bios.hw.outb(0x70, register);
        bios.hw.inb(0x71)
    });
    for class in order::from_cmos(cmos[0], cmos[1]) {
        add_class(bios, class);
    }
}

/// Adds the devices that the boot order file names. Returns true if it ends with `HALT`.
fn add_boot_order<H: Hw>(bios: &mut Bios<H>) -> bool {
    let mut line = [0u8; MAX_LINE];
    let mut length = 0;
    let start = bios.handoff.boot_order;
    if start == 0 {
        return false;
    }
    for n in 0..=u32::from(bios.handoff.boot_order_size) {
        let end = n == u32::from(bios.handoff.boot_order_size);
        let at = start + n;
        let byte = if end { 0 } else { bios.hw.read8(FarPtr::new((at >> 4) as u16, (at & 15) as u16)) };
        if !matches!(byte, 0 | b'\n') {
            if let Some(slot) = line.get_mut(length) {
                *slot = byte;
            }
            length = length.saturating_add(1);
            continue;
        }
        let path = line.get(..length).and_then(|line| order::parse(line, |bridge| secondary_bus(bios.hw, bridge)));
        match path {
            Some(BootPath::Halt) => return true,
            Some(path) => add_path(bios, path),
            None => {}
        }
        length = 0;
        if byte == 0 {
            break;
        }
    }
    false
}

/// Secondary bus number of a PCI bridge (PCI-to-PCI Bridge Architecture Specification 1.1, section 3.2.5.7).
fn secondary_bus<H: Hw>(hw: &mut H, bridge: u16) -> u8 {
    const BUS_NUMBERS: u32 = 0x18;
    hw.outl(0xcf8, 0x8000_0000 | u32::from(bridge) << 8 | BUS_NUMBERS);
    hw.inb(0xcfd)
}

fn add<H: Hw>(bios: &Bios<H>, target: Target) {
    let state = &bios.state.boot;
    let count = state.count.get();
    if (0..count).any(|position| state.target(position) == Some(target)) {
        return;
    }
    if let Some(slot) = state.order.get(usize::from(count)) {
        slot.set(target);
        state.count.set(count + 1);
    }
}

fn add_drives<H: Hw>(bios: &Bios<H>, wanted: impl Fn(&media::Drive) -> bool) {
    for index in 0..media::drives(bios) {
        if media::drive(bios, index).is_some_and(|drive| wanted(&drive)) {
            add(bios, Target::Drive(index));
        }
    }
}

fn add_roms<H: Hw>(bios: &Bios<H>, wanted: impl Fn(&roms::Entry) -> bool) {
    for n in 0..roms::ENTRIES as u8 {
        if bios.state.boot.roms.entry(n).is_some_and(|entry| wanted(&entry)) {
            add(bios, Target::Rom(n));
        }
    }
}

fn add_path<H: Hw>(bios: &Bios<H>, path: BootPath) {
    const NO_FUNCTION: u16 = 0xffff;
    match path {
        BootPath::Ide { channel, unit } => {
            add_drives(bios, |drive| drive.kind != DriveKind::Floppy && (drive.channel, drive.unit) == (channel, unit));
        }
        BootPath::Floppy(unit) => add_drives(bios, |drive| drive.kind == DriveKind::Floppy && drive.unit == unit),
        BootPath::Function(function) => add_roms(bios, |entry| entry.function == function),
        BootPath::Rom => add_roms(bios, |entry| entry.function == NO_FUNCTION),
        BootPath::Halt => {}
    }
}

fn add_class<H: Hw>(bios: &Bios<H>, class: DeviceClass) {
    let kind = match class {
        DeviceClass::Floppy => DriveKind::Floppy,
        DeviceClass::Hard => DriveKind::Hard,
        DeviceClass::Cdrom => DriveKind::Cdrom,
        DeviceClass::Rom => return add_roms(bios, |entry| !matches!(entry.method, roms::BootMethod::Disk(_))),
    };
    add_drives(bios, |drive| drive.kind == kind);
    if class == DeviceClass::Hard {
        add_roms(bios, |entry| matches!(entry.method, roms::BootMethod::Disk(_)));
    }
}

/// Moves the target at this position to the front of the boot order.
pub fn move_to_front<H: Hw>(bios: &Bios<H>, position: u8) {
    let order = &bios.state.boot.order;
    if position < bios.state.boot.count.get()
        && let Some(part) = order.get(..=usize::from(position))
    {
        for pair in part.windows(2).rev() {
            if let [one, other] = pair {
                one.swap(other);
            }
        }
    }
}

/// Makes `first` hard disk 80h; the others follow in the boot order.
pub fn make_first_disk<H: Hw>(bios: &mut Bios<H>, first: u8) {
    let mut disks = [first; crate::disk::MAX_DRIVES];
    let mut count = 1;
    let mut position = 0;
    while let Some(target) = bios.state.boot.target(position) {
        position += 1;
        let Target::Drive(index) = target else { continue };
        let hard = media::drive(bios, index).is_some_and(|drive| drive.kind == DriveKind::Hard);
        if hard
            && index != first
            && let Some(slot) = disks.get_mut(count)
        {
            *slot = index;
            count += 1;
        }
    }
    if let Some(disks) = disks.get(..count) {
        media::set_hard_disk_order(bios, disks);
    }
}

/// Numbers the hard disks in the boot order, for booting from another device.
pub fn number_disks<H: Hw>(bios: &mut Bios<H>) {
    let is_hard = |index| media::drive(bios, index).is_some_and(|drive| drive.kind == DriveKind::Hard);
    let first = (0..bios.state.boot.count.get()).find_map(|position| match bios.state.boot.target(position) {
        Some(Target::Drive(index)) if is_hard(index) => Some(index),
        _ => None,
    });
    if let Some(first) = first {
        make_first_disk(bios, first);
    }
}

/// Writes the name of a target.
pub fn print_name<H: Hw>(bios: &mut Bios<H>, target: Target) {
    match target {
        Target::Drive(index) => {
            let Some(drive) = media::drive(bios, index) else { return };
            let ordinal =
                (0..index).filter_map(|n| media::drive(bios, n)).filter(|other| other.kind == drive.kind).count();
            console::text(
                bios,
                match drive.kind {
                    DriveKind::Hard => "hard disk ",
                    DriveKind::Cdrom => "CD-ROM ",
                    DriveKind::Floppy => "floppy ",
                },
            );
            console::number(bios, ordinal as u32 + 1);
            if drive.kind != DriveKind::Floppy {
                console::text(bios, " (");
                console::device_text(bios, &drive.model);
                if drive.kind == DriveKind::Hard {
                    print_size(bios, drive.sectors);
                }
                console::text(bios, ")");
            }
        }
        Target::Rom(n) => {
            let Some(entry) = bios.state.boot.roms.entry(n) else { return };
            console::text(
                bios,
                match entry.method {
                    roms::BootMethod::Bootstrap(_) | roms::BootMethod::Hooked19(_) => "option ROM",
                    roms::BootMethod::Disk(_) => "hard disk of an option ROM",
                },
            );
            if entry.name.segment != 0 {
                let mut text = [0; 40];
                bios.hw.copy_in(entry.name, &mut text);
                console::text(bios, " (");
                console::device_text(bios, &text);
                console::text(bios, ")");
            }
        }
    }
}

/// Writes the size of a disk, as in `, 64 MiB`.
fn print_size<H: Hw>(bios: &mut Bios<H>, sectors: u64) {
    const PER_MIB: u64 = 2048;
    let mib = sectors / PER_MIB;
    let (amount, unit) = if mib >= 10 * 1024 { (mib / 1024, " GiB") } else { (mib, " MiB") };
    console::text(bios, ", ");
    console::number(bios, amount as u32);
    console::text(bios, unit);
}
