//! `pcvm image create`: a new raw or qcow2 image.

use super::chain::{Depth, Disk};
use super::files::{self, NewFile};
use super::write::{recorded_name, storage};
use super::{Format, ImageError};
use crate::block::{Directories, Store, qcow2_can_have};
use imago::format::PreallocateMode;
use imago::{DenyImplicitOpenGate, FormatCreateBuilder};
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The largest disk: what a qcow2 image with the largest L1 table and 64 KiB clusters holds, and more than IDE addresses.
const SIZE_MAX: u64 = 1 << 57;

/// How much of a new image is allocated at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preallocation {
    /// Nothing.
    #[default]
    Off,
    /// qcow2 tables.
    Metadata,
    /// Tables and space, by fallocate(2).
    Falloc,
    /// Everything, by writing zeros.
    Full,
}

impl FromStr for Preallocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "metadata" => Ok(Self::Metadata),
            "falloc" => Ok(Self::Falloc),
            "full" => Ok(Self::Full),
            _ => Err(format!("unknown preallocation '{text}'; known are off, metadata, falloc and full")),
        }
    }
}

/// What a new image is like.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Raw or qcow2.
    pub format: Format,
    /// Bytes of a qcow2 cluster, a power of two from 512 to 2 MiB.
    pub cluster_size: u64,
    /// Bits of a qcow2 refcount, a power of two up to 64.
    pub refcount_bits: u64,
    /// What is allocated at once.
    pub preallocation: Preallocation,
    /// Backing file and its format.
    pub backing: Option<(PathBuf, Format)>,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            format: Format::Qcow2,
            cluster_size: 65536,
            refcount_bits: 16,
            preallocation: Preallocation::Off,
            backing: None,
        }
    }
}

impl CreateOptions {
    /// Takes an option of `-o`, as `qemu-img` has it.
    ///
    /// # Errors
    /// If the option is unknown, not supported or its value is wrong.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "cluster_size" => {
                let size = value.parse::<super::Size>().ok().and_then(|size| size.absolute());
                let size = size.filter(|size| size.is_power_of_two() && (512..=2 << 20).contains(size));
                self.cluster_size = size.ok_or("cluster_size must be a power of two from 512 to 2M")?;
            }
            "refcount_bits" => {
                let bits = value.parse::<u64>().ok().filter(|bits| bits.is_power_of_two() && *bits <= 64);
                self.refcount_bits = bits.ok_or("refcount_bits must be 1, 2, 4, 8, 16, 32 or 64")?;
            }
            "preallocation" => self.preallocation = value.parse()?,
            "compat" if matches!(value, "1.1" | "v3") => {}
            "compression_type" if value == "zlib" => {}
            "lazy_refcounts" | "extended_l2" | "data_file_raw" if matches!(value, "off" | "false" | "no") => {}
            "compat" | "compression_type" | "lazy_refcounts" | "extended_l2" | "data_file" | "data_file_raw"
            | "encryption" | "encrypt.format" => {
                return Err(format!("{name}={value} is not supported: make the image with 'qemu-img create'"));
            }
            _ => {
                return Err(format!(
                    "unknown option '{name}'; known are cluster_size, refcount_bits and preallocation"
                ));
            }
        }
        Ok(())
    }
}

/// Creates an image of `size` bytes, or of its backing file's size without one. An existing file is replaced only with
/// `force`.
///
/// # Errors
/// If an option does not fit the format, the backing file cannot be used, or the host refuses; no file is left then.
pub fn create(path: &Path, size: Option<u64>, options: &CreateOptions, force: bool) -> Result<(), ImageError> {
    files::check_target(path, force)?;
    let size = match (size, &options.backing) {
        (Some(size), _) if !size.is_multiple_of(512) => {
            return Err(ImageError::refused(path, format!("{size} bytes is not a whole number of 512-byte sectors")));
        }
        (Some(size), None) => size,
        (size, Some((backing, format))) => {
            // The user named it, so its own directory is allowed.
            let full = files::parent(path).join(recorded_name(path, backing));
            let dirs = Directories::new(&full, &[]).map_err(ImageError::block)?;
            let disk = Disk::open(&full, Some(*format), &dirs, Depth::Top, true)?;
            size.unwrap_or_else(|| disk.size().next_multiple_of(512))
        }
        (None, None) => return Err(ImageError::refused(path, "has no size: give one, or a backing file")),
    };
    let new = NewFile::create(files::temporary(path, "new"))?;
    format_file(new.file(), path, size, options)?;
    new.publish(path, force)
}

/// Makes an open, empty file an image. `path` is where it will be.
///
/// # Errors
/// Those of [`create`].
pub(super) fn format_file(file: &File, path: &Path, size: u64, options: &CreateOptions) -> Result<(), ImageError> {
    let refused = |why: String| Err(ImageError::refused(path, why));
    if size > SIZE_MAX {
        return refused(format!("{size} bytes is more than 128 PiB"));
    }
    match options.format {
        Format::Raw if options.backing.is_some() => {
            refused("a raw image has no backing file: give -f qcow2".to_owned())
        }
        Format::Raw => {
            file.set_len(size).map_err(ImageError::host(path))?;
            match options.preallocation {
                Preallocation::Off => Ok(()),
                Preallocation::Metadata => refused("a raw image has no metadata: give 'falloc' or 'full'".to_owned()),
                Preallocation::Falloc if size == 0 => Ok(()),
                Preallocation::Falloc => rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size)
                    .map_err(|error| ImageError::host(path)(error.into())),
                Preallocation::Full => write_zeros(file, size).map_err(ImageError::host(path)),
            }
        }
        Format::Qcow2 => {
            if !qcow2_can_have(size, options.cluster_size) {
                return refused(format!("{size} bytes is too much for clusters of {} bytes", options.cluster_size));
            }
            let mut builder = imago::qcow2::Qcow2::<Store>::create_builder(storage(file, path)?)
                .size(size)
                .cluster_size(options.cluster_size as usize)
                .refcount_width(options.refcount_bits as usize)
                .preallocate(match options.preallocation {
                    Preallocation::Off => PreallocateMode::None,
                    Preallocation::Metadata => PreallocateMode::FormatAllocate,
                    Preallocation::Falloc => PreallocateMode::FullAllocate,
                    Preallocation::Full => PreallocateMode::WriteData,
                });
            if let Some((backing, format)) = &options.backing {
                if options.preallocation != Preallocation::Off {
                    return refused("an image with a backing file cannot be preallocated".to_owned());
                }
                let name = recorded_name(path, backing);
                let Some(name) = name.to_str().filter(|name| name.len() <= 1023) else {
                    return refused(format!("the name of {} is not UTF-8 or too long", backing.display()));
                };
                builder = builder.backing(name.to_owned(), format.name().to_owned());
            }
            let image = builder.create_open(DenyImplicitOpenGate::default(), |storage| {
                Ok(imago::qcow2::Qcow2::<Store>::builder(storage).backing(None))
            });
            let image = image.map_err(ImageError::host(path))?;
            imago::FormatAccess::new(image).flush().map_err(ImageError::host(path))
        }
        other => refused(format!("format {other} can be read only: create raw or qcow2")),
    }
}

fn write_zeros(file: &File, size: u64) -> std::io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut at = 0;
    while at < size {
        let part = (size - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..part as usize], at)?;
        at += part;
    }
    Ok(())
}
