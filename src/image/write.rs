//! Writing to an image: a raw file, or one qcow2 image without its backing files through `imago`.
//!
//! A qcow2 target is written in whole clusters only, so `imago` never has to copy from a backing file.

use super::files::parent;
use super::{Format, ImageError};
use crate::block::qcow2::{self, Access, Header};
use crate::block::{Store, layout};
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, StorageOpenOptions};
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes that are compared with zeros at once in a raw file.
const BLOCK: usize = 4096;

/// An image that is written to.
pub(super) struct Target {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Raw(File),
    Qcow2 { access: Box<FormatAccess<Store>>, file: File, cluster: u64, version: u32 },
}

/// `file` for imago, under the same lock: a duplicated descriptor shares it.
pub(super) fn storage(file: &File, path: &Path) -> Result<Store, ImageError> {
    let copy = file.try_clone().map_err(ImageError::host(path))?;
    let full = std::path::absolute(path).map_err(ImageError::host(path))?;
    let options = StorageOpenOptions::new().write(true).filename(full);
    let file = imago::file::File::from_open_file(copy, options).map_err(ImageError::host(path))?;
    Ok(Store::new(file, 0))
}

impl Target {
    /// Opens an image that is locked for writing.
    ///
    /// # Errors
    /// If the format cannot be written, or the image has a feature that `imago` would get wrong or tables that would mislead
    /// it.
    pub fn open(file: &File, path: &Path, format: Format) -> Result<Self, ImageError> {
        Self::with_order(file, path, format, true)
    }

    /// The same for a file that is removed if the process ends before [`Self::finish`]: its metadata need no order.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_new(file: &File, path: &Path, format: Format) -> Result<Self, ImageError> {
        Self::with_order(file, path, format, false)
    }

    fn with_order(file: &File, path: &Path, format: Format, ordered: bool) -> Result<Self, ImageError> {
        let kind = match format {
            Format::Raw => Kind::Raw(file.try_clone().map_err(ImageError::host(path))?),
            Format::Qcow2 => {
                let header = Header::read(file).map_err(|why| ImageError::refused(path, why))?;
                if let Some(reason) = qcow2::unsupported(&header, Access::Write) {
                    return Err(ImageError::refused(path, reason));
                }
                if header.external_data() {
                    let why = "keeps its data in an external file, so it cannot be changed: copy it with 'pcvm image convert'";
                    return Err(ImageError::refused(path, why));
                }
                qcow2::check_for_writing(file, &header).map_err(|why| ImageError::refused(path, why))?;
                let store = storage(file, path)?;
                if ordered {
                    store.order(layout(file, &header).map_err(ImageError::host(path))?);
                }
                let image = imago::qcow2::Qcow2::<Store>::builder(store)
                    .write(true)
                    .backing(None)
                    .data_file(None)
                    .open(DenyImplicitOpenGate::default())
                    .map_err(ImageError::host(path))?;
                let file = file.try_clone().map_err(ImageError::host(path))?;
                Kind::Qcow2 {
                    access: Box::new(FormatAccess::new(image)),
                    file,
                    cluster: header.cluster_size(),
                    version: header.version,
                }
            }
            other => return Err(ImageError::refused(path, format!("format {other} can be read only"))),
        };
        Ok(Self { path: path.to_owned(), kind })
    }

    /// Bytes that offsets and lengths of [`Self::write`] must be multiples of, but at the end of the image.
    pub fn granularity(&self) -> u64 {
        match &self.kind {
            Kind::Raw(_) => 512,
            Kind::Qcow2 { cluster, .. } => *cluster,
        }
    }

    /// Writes `data` to `offset`. Zeros become holes if the range `was_zero`; in a qcow2 image whole clusters of them are
    /// left alone then.
    ///
    /// # Errors
    /// The host's error.
    pub fn write(&mut self, offset: u64, data: &[u8], was_zero: bool) -> Result<(), ImageError> {
        let step = match &self.kind {
            Kind::Raw(_) => BLOCK,
            Kind::Qcow2 { cluster, .. } => *cluster as usize,
        };
        let mut done = 0;
        while done < data.len() {
            let zero = is_zero(&data[done..data.len().min(done + step)]);
            let mut end = done;
            while end < data.len() && is_zero(&data[end..data.len().min(end + step)]) == zero {
                end = data.len().min(end + step);
            }
            let at = offset + done as u64;
            if !zero {
                self.write_data(at, &data[done..end])?;
            } else if !was_zero {
                self.write_zeros(at, (end - done) as u64)?;
            }
            done = end;
        }
        Ok(())
    }

    fn write_data(&self, offset: u64, data: &[u8]) -> Result<(), ImageError> {
        let result = match &self.kind {
            Kind::Raw(file) => file.write_all_at(data, offset),
            Kind::Qcow2 { access, .. } => {
                expect_frees(access);
                access.write(data, offset)
            }
        };
        result.map_err(ImageError::host(&self.path))
    }

    /// Makes a range read as zeros, and frees its space where the host can.
    ///
    /// # Errors
    /// The host's error.
    pub fn write_zeros(&mut self, offset: u64, length: u64) -> Result<(), ImageError> {
        if length == 0 {
            return Ok(());
        }
        let result = match &mut self.kind {
            Kind::Raw(file) => {
                let end = file.metadata().map(|m| m.len()).unwrap_or(0);
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                match rustix::fs::fallocate(&*file, flags, offset, length) {
                    Ok(()) if offset + length <= end => Ok(()),
                    _ => write_zero_bytes(offset, length, |at, zeros| file.write_all_at(zeros, at)),
                }
            }
            // Version 2 has no zero clusters.
            Kind::Qcow2 { access, version: 2, .. } => {
                write_zero_bytes(offset, length, |at, zeros| access.write(zeros, at))
            }
            Kind::Qcow2 { access, .. } => {
                expect_frees(access);
                access.write_zeroes(offset, length)
            }
        };
        result.map_err(ImageError::host(&self.path))
    }

    /// Makes the image longer.
    ///
    /// # Errors
    /// The host's error.
    pub fn grow(&mut self, size: u64) -> Result<(), ImageError> {
        let result = match &mut self.kind {
            Kind::Raw(file) => file.set_len(size),
            Kind::Qcow2 { access, .. } => access.resize_grow(size, imago::format::PreallocateMode::None),
        };
        result.map_err(ImageError::host(&self.path))
    }

    /// Writes the incomplete last cluster, zeros included, so that it is allocated.
    ///
    /// # Errors
    /// The host's error.
    pub fn write_head(&mut self, offset: u64, data: &[u8]) -> Result<(), ImageError> {
        self.write_data(offset, data)
    }

    /// Makes a qcow2 image longer so that the new part reads as zeros: what an earlier, larger image left in the last cluster
    /// is overwritten, and with a backing file the new part is zeroed before the size shows it.
    ///
    /// # Errors
    /// The host's error.
    pub fn grow_zeroed(&mut self, old: u64, new: u64, backing: bool) -> Result<(), ImageError> {
        let Kind::Qcow2 { access, cluster, version, .. } = &mut self.kind else { return self.grow(new) };
        if backing && *version == 2 {
            let why = "has version 2 and a backing file, so it cannot grow: copy it with 'pcvm image convert'";
            return Err(ImageError::refused(&self.path, why));
        }
        let mode = if backing { imago::format::PreallocateMode::Zero } else { imago::format::PreallocateMode::None };
        access.resize_grow(new, mode).map_err(ImageError::host(&self.path))?;
        let tail = old.next_multiple_of(*cluster).min(new) - old;
        if tail == 0 {
            return Ok(());
        }
        // Less than a cluster, so imago writes bytes.
        let zeros = vec![0; tail as usize];
        access.write(zeros.as_slice(), old).map_err(ImageError::host(&self.path))
    }

    /// Makes a qcow2 image shorter.
    ///
    /// # Errors
    /// The host's error.
    pub fn shrink(&mut self, size: u64) -> Result<(), ImageError> {
        let Kind::Qcow2 { access, .. } = &mut self.kind else { return self.grow(size) };
        {
            expect_frees(access);
            access.resize_shrink(size)
        }
        .map_err(ImageError::host(&self.path))
    }

    /// Brings everything to stable storage.
    ///
    /// # Errors
    /// The host's error.
    pub fn finish(self) -> Result<(), ImageError> {
        let result = match self.kind {
            Kind::Raw(file) => file.sync_all(),
            Kind::Qcow2 { access, file, .. } => access.flush().and_then(|()| {
                drop(access);
                file.sync_all()
            }),
        };
        result.map_err(ImageError::host(&self.path))
    }
}

/// A write may free the compressed cluster or the L2 table that it replaces.
fn expect_frees(access: &FormatAccess<Store>) {
    access.inner().collect_storage_dependencies().into_iter().for_each(Store::expect_frees);
}

fn write_zero_bytes(mut offset: u64, mut length: u64, write: impl Fn(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let zeros = vec![0; 2 << 20];
    while length > 0 {
        let part = length.min(zeros.len() as u64);
        write(offset, &zeros[..part as usize])?;
        offset += part;
        length -= part;
    }
    Ok(())
}

/// Whether all bytes are 0.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<32>();
    chunks.iter().all(|chunk| *chunk == [0; 32]) && rest.iter().all(|byte| *byte == 0)
}

/// The name under which an image at `image` records the file `target`: relative if both are in one directory.
pub(super) fn recorded_name(image: &Path, target: &Path) -> PathBuf {
    match target.file_name() {
        Some(name) if same_directory(image, target) => PathBuf::from(name),
        _ => target.to_owned(),
    }
}

fn same_directory(a: &Path, b: &Path) -> bool {
    match (parent(a).canonicalize(), parent(b).canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
