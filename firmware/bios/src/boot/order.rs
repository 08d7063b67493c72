//! Boot order parser: Open Firmware device paths, one per line (QEMU's fw_cfg file `bootorder`; IEEE 1275, section
//! 3.2.1.1), or the boot device nibbles in CMOS RAM that Bochs introduced and QEMU also writes.

/// A parsed line of the boot order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootPath {
    /// A drive of an IDE controller.
    Ide {
        /// Channel, 0 or 1.
        channel: u8,
        /// 0 master, 1 slave.
        unit: u8,
    },
    /// A floppy drive.
    Floppy(u8),
    /// The device that the option ROM of this PCI function boots: bus << 8 | device << 3 | function.
    Function(u16),
    /// An option ROM that belongs to no PCI function.
    Rom,
    /// `HALT`: devices that the boot order does not name are not booted.
    Halt,
}

/// Splits a path component such as `drive@1` into name and unit address.
fn component(text: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = text.splitn(2, |&byte| byte == b'@');
    (parts.next().unwrap_or(&[]), parts.next().unwrap_or(&[]))
}

fn hexadecimal(text: &[u8]) -> Option<u8> {
    if text.is_empty() || text.len() > 2 {
        return None;
    }
    text.iter().try_fold(0u8, |value, &byte| {
        let digit = (byte as char).to_digit(16)? as u8;
        Some(value << 4 | digit)
    })
}

/// Parses `device,function`, both hexadecimal; the function defaults to 0.
fn device_function(address: &[u8]) -> Option<u8> {
    let mut parts = address.splitn(2, |&byte| byte == b',');
    let device = hexadecimal(parts.next()?)?;
    let function = parts.next().map_or(Some(0), hexadecimal)?;
    (device < 32 && function < 8).then_some(device << 3 | function)
}

/// Parses a line. `secondary` returns the secondary bus number of the bridge that is the given function.
pub fn parse(line: &[u8], mut secondary: impl FnMut(u16) -> u8) -> Option<BootPath> {
    let line = line.trim_ascii();
    if line == b"HALT" {
        return Some(BootPath::Halt);
    }
    let mut components = line.strip_prefix(b"/")?.split(|&byte| byte == b'/').map(component);
    match components.next()? {
        (b"rom", _) => return Some(BootPath::Rom),
        (b"pci", _) => {}
        _ => return None,
    }
    let mut bus = 0;
    // A limit on the depth: no sensible path goes through more bridges.
    for _ in 0..8 {
        let (name, address) = components.next()?;
        match name {
            b"pci-bridge" | b"pci" => bus = secondary(u16::from(bus) << 8 | u16::from(device_function(address)?)),
            b"isa" => {
                let (_, (name, address)) = (components.next()?, components.next()?);
                return (name == b"floppy").then(|| hexadecimal(address)).flatten().map(BootPath::Floppy);
            }
            b"ide" => {
                let ((drive, channel), (disk, unit)) = (components.next()?, components.next()?);
                let (channel, unit) = (hexadecimal(channel)?, hexadecimal(unit)?);
                return (drive == b"drive" && disk == b"disk").then_some(BootPath::Ide { channel, unit });
            }
            _ => return Some(BootPath::Function(u16::from(bus) << 8 | u16::from(device_function(address)?))),
        }
    }
    None
}

/// A class of boot devices, in the order of their CMOS numbers from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceClass {
    /// Floppy drives.
    Floppy,
    /// Hard disks.
    Hard,
    /// CD-ROM drives.
    Cdrom,
    /// Bootstrap entries of option ROMs, such as network cards.
    Rom,
}

/// The order of classes if neither the boot order nor CMOS gives one.
pub const DEFAULT: [DeviceClass; 4] = [DeviceClass::Hard, DeviceClass::Cdrom, DeviceClass::Floppy, DeviceClass::Rom];

/// The order of classes in bytes 38h and 3Dh of CMOS RAM: low nibble of 3Dh, its high nibble, high nibble of 38h, then
/// the rest of [`DEFAULT`]. A class may appear twice.
pub fn from_cmos(byte_38: u8, byte_3d: u8) -> [DeviceClass; 7] {
    let mut order = [DEFAULT[0], DEFAULT[0], DEFAULT[0], DEFAULT[0], DEFAULT[1], DEFAULT[2], DEFAULT[3]];
    let mut used = 0;
    for nibble in [byte_3d & 0xf, byte_3d >> 4, byte_38 >> 4] {
        let class = match nibble {
            1 => DeviceClass::Floppy,
            2 => DeviceClass::Hard,
            3 => DeviceClass::Cdrom,
            4 => DeviceClass::Rom,
            _ => continue,
        };
        if let Some(slot) = order.get_mut(used) {
            *slot = class;
            used += 1;
        }
    }
    // Unused slots among the first three hold DEFAULT[0], so the rest of DEFAULT follows in order.
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_accepts_the_paths_of_qemu_and_pcvm_and_rejects_all_others() {
        for (line, path) in [
            ("/pci@i0cf8/ide@1,1/drive@0/disk@0", Some(BootPath::Ide { channel: 0, unit: 0 })),
            ("/pci@i0cf8/ide@1,1/drive@1/disk@1", Some(BootPath::Ide { channel: 1, unit: 1 })),
            ("/pci@i0cf8/isa@1/fdc@03f0/floppy@0", Some(BootPath::Floppy(0))),
            ("/pci@i0cf8/isa@1/fdc@03f0/floppy@1", Some(BootPath::Floppy(1))),
            ("/pci@i0cf8/ethernet@3", Some(BootPath::Function(0x18))),
            ("/pci@i0cf8/ethernet@3/ethernet-phy@0", Some(BootPath::Function(0x18))),
            ("/pci@i0cf8/scsi@1f,7/disk@0,0", Some(BootPath::Function(0xff))),
            ("/pci@i0cf8/pci-bridge@4/ethernet@2", Some(BootPath::Function(0x0510))),
            ("/rom@genroms/kvmvapic.bin", Some(BootPath::Rom)),
            ("HALT", Some(BootPath::Halt)),
            ("HALT\r", Some(BootPath::Halt)),
            ("", None),
            ("/", None),
            ("nonsense", None),
            ("/pci@i0cf8", None),
            ("/pci@i0cf8/ide@1,1", None),
            ("/pci@i0cf8/ide@1,1/drive@0", None),
            ("/pci@i0cf8/ide@1,1/drive@x/disk@0", None),
            ("/pci@i0cf8/ide@1,1/drive@/disk@", None),
            ("/pci@i0cf8/isa@1/serial@3f8", None),
            ("/pci@i0cf8/ethernet@20", None),
            ("/pci@i0cf8/ethernet@3,8", None),
            ("/pci@i0cf8/ethernet@", None),
            ("/pci@i0cf8/pci@0/pci@0/pci@0/pci@0/pci@0/pci@0/pci@0/pci@0/pci@0/ethernet@1", None),
        ] {
            assert_eq!(parse(line.as_bytes(), |bridge| if bridge == 0x20 { 5 } else { 0 }), path, "{line:?}");
        }
    }

    #[test]
    fn the_classes_in_cmos_come_first_and_the_default_order_follows() {
        use DeviceClass::*;
        for (byte_38, byte_3d, wanted) in [
            (0x00, 0x00, [Hard, Cdrom, Floppy, Rom]),
            (0x30, 0x12, [Hard, Floppy, Cdrom, Rom]),
            (0x00, 0x03, [Cdrom, Hard, Floppy, Rom]),
            (0x01, 0x41, [Floppy, Rom, Hard, Cdrom]),
            (0xf0, 0xf9, [Hard, Cdrom, Floppy, Rom]),
            (0x20, 0x11, [Floppy, Hard, Cdrom, Rom]),
        ] {
            let mut seen = Vec::new();
            for class in from_cmos(byte_38, byte_3d) {
                if !seen.contains(&class) {
                    seen.push(class);
                }
            }
            assert_eq!(seen, wanted, "{byte_38:02x} {byte_3d:02x}");
        }
    }
}
