//! What whoever boots the self-test knows of the machine, patched into the image.

/// What is at a place on an IDE channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drive {
    /// Not said.
    #[default]
    Unknown,
    /// No drive.
    None,
    /// A hard disk.
    Disk,
    /// A CD-ROM drive, with a disc whose first block is the start of the self-test's own image.
    Cdrom,
}

/// What should be there. All zero: nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// MiB of memory, 0 when not known.
    pub memory: u32,
    /// hda to hdd.
    pub drives: [Drive; 4],
    /// Serial ports, bit 0 for COM1; none when not known.
    pub serial: Option<u8>,
    /// The machine is pcvm: it has fw_cfg, ACPI, SMBIOS and VGA.
    pub pcvm: bool,
}

impl Expect {
    const MAGIC: &'static [u8] = b"pcvmdemo";

    /// From the image's parameter block: the magic, MiB of memory, the four drives, the serial ports.
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
