//! Expected configuration of the machine, which the host patches into the parameter block of the image.

/// The drive at a position of an IDE channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drive {
    /// Not known.
    #[default]
    Unknown,
    /// No drive.
    None,
    /// A hard disk.
    Disk,
    /// A CD-ROM drive. The first block of its disc is the start of the self-test's image.
    Cdrom,
}

/// What the machine should have. The default: nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// Memory size in MiB, 0 if not known.
    pub memory: u32,
    /// IDE drives hda to hdd.
    pub drives: [Drive; 4],
    /// Serial ports, bit 0 for COM1; `None` if not known.
    pub serial: Option<u8>,
    /// The machine is pcvm, and has fw_cfg, ACPI, SMBIOS and VGA.
    pub pcvm: bool,
}

impl Expect {
    const MAGIC: &'static [u8] = b"pcvmdemo";

    /// Reads the parameter block: magic, memory size in MiB, four drives, serial ports.
    pub fn from_parameters(bytes: &[u8]) -> Self {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        if bytes.get(..8) != Some(Self::MAGIC) {
            return Self::default();
        }
        Self {
            memory: u32::from_le_bytes([byte(8), byte(9), byte(10), byte(11)]),
            drives: [12, 13, 14, 15].map(|at| match byte(at) {
                1 => Drive::None,
                2 => Drive::Disk,
                3 => Drive::Cdrom,
                _ => Drive::Unknown,
            }),
            serial: Some(byte(16)),
            pcvm: true,
        }
    }
}
