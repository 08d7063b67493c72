//! Image formats, and which of them a file has.
//!
//! A raw image's content belongs to the guest, so it never decides: the user names the format, or the file's name or pcvm's
//! own snapshot index does.

use super::{ImageError, snapshot};
use crate::config::ImageFormat;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::str::FromStr;

/// An image format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The disk's bytes.
    Raw,
    /// QEMU copy on write 2, versions 2 and 3.
    Qcow2,
    /// VMware: a descriptor with flat extents, read-only.
    Vmdk,
    /// Virtual PC, fixed and dynamic, read-only.
    Vhd,
}

impl From<ImageFormat> for Format {
    fn from(format: ImageFormat) -> Self {
        match format {
            ImageFormat::Raw => Self::Raw,
            ImageFormat::Qcow2 => Self::Qcow2,
            ImageFormat::Vmdk => Self::Vmdk,
        }
    }
}

impl Format {
    /// The format as a machine's configuration has it; `None` for one that a machine's disk cannot have.
    pub fn for_drive(self) -> Option<ImageFormat> {
        match self {
            Self::Raw => Some(ImageFormat::Raw),
            Self::Qcow2 => Some(ImageFormat::Qcow2),
            Self::Vmdk => Some(ImageFormat::Vmdk),
            Self::Vhd => None,
        }
    }

    /// The name in options and in `--json`, as QEMU has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vpc",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "raw" => Ok(Self::Raw),
            "qcow2" => Ok(Self::Qcow2),
            "vmdk" => Ok(Self::Vmdk),
            "vpc" | "vhd" => Ok(Self::Vhd),
            "vhdx" | "vdi" | "qed" | "qcow" | "parallels" => {
                Err(format!("format '{text}' is not supported: convert the image with 'qemu-img convert'"))
            }
            _ => Err(format!("unknown format '{text}'; known are raw, qcow2, vmdk and vhd")),
        }
    }
}

/// Decides the format of an image that the user names: `given`, or what the snapshot index beside it says, or the end of its
/// name, or raw if it starts with no other format's header.
///
/// # Errors
/// If the index contradicts `given`, or the file starts with a header that neither the user nor its name announces.
pub fn decide(path: &Path, file: &File, given: Option<Format>) -> Result<Format, ImageError> {
    let recorded = snapshot::format_of(path)?;
    match (given, recorded) {
        (Some(given), Some(recorded)) if given != recorded => {
            let why = format!(
                "is {recorded} since its first snapshot, not {given}: leave the format out, or give {recorded}"
            );
            return Err(ImageError::refused(path, why));
        }
        (Some(format), _) | (None, Some(format)) => return Ok(format),
        (None, None) => {}
    }
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    let found = crate::block::foreign_format_of(file);
    let named = match end.as_str() {
        "qcow2" => Some(Format::Qcow2),
        "vmdk" => Some(Format::Vmdk),
        "vhd" | "vpc" => Some(Format::Vhd),
        _ => None,
    };
    match (named, found) {
        (Some(format), _) => Ok(format),
        (None, None) => Ok(Format::Raw),
        (None, Some(found)) => {
            let why =
                format!("starts with a {found} header: give -f {found}, or -f raw if the guest wrote that header");
            Err(ImageError::refused(path, why))
        }
    }
}
