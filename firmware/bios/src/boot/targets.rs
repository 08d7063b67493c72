//! Boot targets: building the boot order, numbering the hard disks, printing device names.

use super::media::{self, Kind};
use super::order::{self, Class, Path};
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
const LINE: usize = 96;

/// Builds the boot order: first the devices that the boot order file names, then all others.
pub fn list<H: Hw>(bios: &mut Bios<H>) {
    bios.state.boot.count.set(0);
    if named(bios) {
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
fn named<H: Hw>(bios: &mut Bios<H>) -> bool {
    let mut line = [0u8; LINE];
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
            Some(Path::Halt) => return true,
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
    if (0..count).any(|place| state.target(place) == Some(target)) {
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

fn add_path<H: Hw>(bios: &Bios<H>, path: Path) {
    const NO_FUNCTION: u16 = 0xffff;
    match path {
        Path::Ide { channel, unit } => {
            add_drives(bios, |drive| drive.kind != Kind::Floppy && (drive.channel, drive.unit) == (channel, unit));
        }
        Path::Floppy(unit) => add_drives(bios, |drive| drive.kind == Kind::Floppy && drive.unit == unit),
        Path::Function(function) => add_roms(bios, |entry| entry.function == function),
        Path::Rom => add_roms(bios, |entry| entry.function == NO_FUNCTION),
        Path::Halt => {}
    }
}

fn add_class<H: Hw>(bios: &Bios<H>, class: Class) {
    let kind = match class {
        Class::Floppy => Kind::Floppy,
        Class::Hard => Kind::Hard,
        Class::Cdrom => Kind::Cdrom,
        Class::Rom => return add_roms(bios, |entry| !matches!(entry.kind, roms::Kind::Disk(_))),
    };
    add_drives(bios, |drive| drive.kind == kind);
    if class == Class::Hard {
        add_roms(bios, |entry| matches!(entry.kind, roms::Kind::Disk(_)));
    }
}

/// Moves the target at this position to the front of the boot order.
pub fn prefer<H: Hw>(bios: &Bios<H>, place: u8) {
    let order = &bios.state.boot.order;
    if place < bios.state.boot.count.get()
        && let Some(part) = order.get(..=usize::from(place))
    {
        for pair in part.windows(2).rev() {
            if let [one, other] = pair {
                one.swap(other);
            }
        }
    }
}

/// Makes `first` hard disk 80h; the others follow in the boot order.
pub fn put_first<H: Hw>(bios: &mut Bios<H>, first: u8) {
    let mut disks = [first; crate::disk::MAX_DRIVES];
    let mut count = 1;
    let mut place = 0;
    while let Some(target) = bios.state.boot.target(place) {
        place += 1;
        let Target::Drive(index) = target else { continue };
        let hard = media::drive(bios, index).is_some_and(|drive| drive.kind == Kind::Hard);
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
pub fn order_disks<H: Hw>(bios: &mut Bios<H>) {
    let is_hard = |index| media::drive(bios, index).is_some_and(|drive| drive.kind == Kind::Hard);
    let first = (0..bios.state.boot.count.get()).find_map(|place| match bios.state.boot.target(place) {
        Some(Target::Drive(index)) if is_hard(index) => Some(index),
        _ => None,
    });
    if let Some(first) = first {
        put_first(bios, first);
    }
}

/// Writes the name of a target.
pub fn name<H: Hw>(bios: &mut Bios<H>, target: Target) {
    match target {
        Target::Drive(index) => {
            let Some(drive) = media::drive(bios, index) else { return };
            let ordinal =
                (0..index).filter_map(|n| media::drive(bios, n)).filter(|other| other.kind == drive.kind).count();
            console::text(
                bios,
                match drive.kind {
                    Kind::Hard => "hard disk ",
                    Kind::Cdrom => "CD-ROM ",
                    Kind::Floppy => "floppy ",
                },
            );
            console::number(bios, ordinal as u32 + 1);
            if drive.kind != Kind::Floppy {
                console::text(bios, " (");
                console::foreign(bios, &drive.model);
                if drive.kind == Kind::Hard {
                    size(bios, drive.sectors);
                }
                console::text(bios, ")");
            }
        }
        Target::Rom(n) => {
            let Some(entry) = bios.state.boot.roms.entry(n) else { return };
            console::text(
                bios,
                match entry.kind {
                    roms::Kind::Bootstrap(_) | roms::Kind::Hooked19(_) => "option ROM",
                    roms::Kind::Disk(_) => "hard disk of an option ROM",
                },
            );
            if entry.name.segment != 0 {
                let mut text = [0; 40];
                bios.hw.copy_in(entry.name, &mut text);
                console::text(bios, " (");
                console::foreign(bios, &text);
                console::text(bios, ")");
            }
        }
    }
}

/// Writes the size of a disk, as in `, 64 MiB`.
fn size<H: Hw>(bios: &mut Bios<H>, sectors: u64) {
    const PER_MIB: u64 = 2048;
    let mib = sectors / PER_MIB;
    let (amount, unit) = if mib >= 10 * 1024 { (mib / 1024, " GiB") } else { (mib, " MiB") };
    console::text(bios, ", ");
    console::number(bios, amount as u32);
    console::text(bios, unit);
}
