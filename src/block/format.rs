//! Images in a format with tables: qcow2 and VMDK, with their chain of backing files, through the crate imago.
//!
//! imago owns the format: tables, allocation, copy on write, compression. Bytes of clusters that are allocated go straight
//! between the file and guest memory, past imago: the extent map records where they are. So a read or an overwrite costs what
//! it costs on a raw image, however long the chain is.
//!
//! The order on disk is imago's: a new cluster's data is written before the table that points to it, and a flush writes the
//! tables and then waits for the device.

use super::directories::Directories;
use super::extents::{ExtentMap, Place};
use super::image::ImageError;
use super::ordered::{Layout, Store};
use super::qcow2;
use super::raw::{Patience, RawFile};
use super::sys::{Direction, IoVec};
use crate::config::ImageFormat;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::vmdk::Vmdk;
use imago::{FormatAccess, FormatCreateBuilder, FormatDriverBuilder, Mapping, Storage, StorageOpenOptions};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Images in a chain, the top one included.
const MAX_CHAIN: usize = 256;
/// Bytes that go through a buffer at a time: compressed clusters, and writes to clusters that are not allocated.
const BOUNCE: usize = 1 << 20;

/// An image with its chain.
#[derive(Debug)]
pub struct FormatImage {
    access: FormatAccess<Store>,
    /// All files of the chain, by [`Store::number`].
    files: Vec<RawFile>,
    extents: ExtentMap,
    buffer: Vec<u8>,
    size: u64,
    discards: bool,
}

/// How to open an image.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Writes go to the top image.
    pub write: bool,
    /// Past the host's page cache.
    pub direct: bool,
}

impl FormatImage {
    /// Opens the image at `path` and the files that it names, if they are within `directories`, and locks them all.
    ///
    /// # Errors
    /// If a file cannot be opened or locked, or the image is damaged or has a feature that is not supported.
    pub fn open(
        path: &Path,
        format: ImageFormat,
        access: Access,
        directories: &Directories,
    ) -> Result<Self, ImageError> {
        let file = super::raw::open_file(path, !access.write, access.direct)?;
        let mut chain = Chain { directories, direct: access.direct, files: Vec::new() };
        let top = chain.open(file, path, format, access.write)?;
        Ok(Self::new(top, chain.files))
    }

    /// A new qcow2 image in `file`, empty, over the image at `path`, which is only read. Its writes end with `file`.
    ///
    /// # Errors
    /// As [`Self::open`], and if `file` cannot be written.
    pub fn overlay(
        file: File,
        path: &Path,
        format: ImageFormat,
        directories: &Directories,
    ) -> Result<Self, ImageError> {
        let mut chain = Chain { directories, direct: false, files: Vec::new() };
        let base_file = super::raw::open_file(path, true, false)?;
        let base = chain.open(base_file, path, format, false)?;
        let failed = |why| ImageError::Format { path: path.to_owned(), why };
        let store = chain.add(file, Path::new("snapshot"), true, false)?;
        let size = base.size();
        let image = guarded(|| {
            Qcow2::<Store>::create_builder(store)
                .size(size)
                .create_open(imago::DenyImplicitOpenGate::default(), |store| {
                    Ok(Qcow2::<Store>::builder(store).backing(Some(base)).write(true))
                })
        });
        Ok(Self::new(FormatAccess::new(image.map_err(failed)?), chain.files))
    }

    fn new(access: FormatAccess<Store>, files: Vec<RawFile>) -> Self {
        let size = access.size();
        Self { access, files, extents: ExtentMap::default(), buffer: Vec::new(), size, discards: true }
    }

    /// Bytes of the virtual disk.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether a transfer of this kind may succeed with this patience. That also takes an extent that is known.
    #[inline]
    pub fn serves_inline(&self, direction: Direction, patience: Patience) -> bool {
        self.files.iter().any(|file| file.serves_inline(direction, patience))
    }

    /// Moves bytes between the image and the segments of `iov`; see [`super::backend::Backend::transfer`].
    #[inline]
    pub fn transfer(
        &mut self,
        iov: &mut IoVec<'_>,
        offset: u64,
        direction: Direction,
        patience: Patience,
    ) -> io::Result<usize> {
        if let Some((place, len)) = self.extents.lookup(offset)
            && let Some(moved) = self.transfer_extent(iov, place, len, direction, patience)?
        {
            return Ok(moved);
        }
        if patience != Patience::Unlimited {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        guarded(|| self.transfer_by_tables(iov, offset, direction))
    }

    /// Moves the bytes that are in one extent. `None` if the extent does not serve the transfer.
    #[inline]
    fn transfer_extent(
        &self,
        iov: &mut IoVec<'_>,
        place: Place,
        len: u64,
        direction: Direction,
        patience: Patience,
    ) -> io::Result<Option<usize>> {
        let limit = usize::try_from(len).unwrap_or(usize::MAX);
        match (place, direction) {
            (Place::Zero, Direction::Read) => {
                iov.truncate(limit);
                iov.fill_zeros();
                Ok(Some(iov.total()))
            }
            (Place::File { file, offset, writable }, _) if direction == Direction::Read || writable => {
                let Some(file) = self.files.get(file) else { return Ok(None) };
                iov.truncate(limit);
                let moved = file.transfer(iov, offset, direction, patience)?;
                if moved == 0 && direction == Direction::Read {
                    // The cluster lies past the end of the file.
                    iov.fill_zeros();
                    return Ok(Some(iov.total()));
                }
                Ok(Some(moved))
            }
            _ => Ok(None),
        }
    }

    /// Looks the offset up in the image's tables and moves bytes from there on. Blocks.
    fn transfer_by_tables(&mut self, iov: &mut IoVec<'_>, offset: u64, direction: Direction) -> io::Result<usize> {
        let wanted = iov.total() as u64;
        // Looked up beyond the request, so that the next one finds the extent.
        let (mapping, len) =
            self.access.get_mapping(offset, wanted.max(BOUNCE as u64).min(self.size - offset.min(self.size)))?;
        let place = match mapping {
            Mapping::Raw { storage, offset: at, writable, .. } => {
                // imago knows only the end of what it wrote itself: only it may make the file longer.
                let writable = writable && at.saturating_add(len) <= storage.size()?;
                Some(Place::File { file: storage.number(), offset: at, writable })
            }
            Mapping::Zero { .. } => Some(Place::Zero),
            Mapping::Eof { .. } => return Ok(0),
            // A compressed cluster, which a write replaces.
            _ => None,
        };
        if let Some(place) = place {
            self.extents.insert(offset, len, place);
            if let Some(moved) = self.transfer_extent(iov, place, len, direction, Patience::Unlimited)? {
                return Ok(moved);
            }
        }
        if place.is_none() && direction == Direction::Write {
            self.expect_frees();
        }
        let count = (wanted as usize).min(BOUNCE);
        self.buffer.resize(BOUNCE, 0);
        let bytes = self.buffer.get_mut(..count).unwrap_or_default();
        match direction {
            Direction::Read => {
                let count = count.min(usize::try_from(len).unwrap_or(count));
                let bytes = bytes.get_mut(..count).unwrap_or_default();
                self.access.read(&mut *bytes, offset)?;
                Ok(iov.scatter(bytes))
            }
            Direction::Write => {
                iov.truncate(count);
                let count = iov.gather(bytes);
                self.extents.forget(offset, count as u64);
                self.access.write(&*bytes, offset)?;
                Ok(count)
            }
        }
    }

    /// The next requests may free clusters.
    fn expect_frees(&self) {
        self.access.inner().collect_storage_dependencies().into_iter().for_each(Store::expect_frees);
    }

    /// Writes the tables and waits until all is on stable storage.
    ///
    /// # Errors
    /// The host's.
    pub fn flush(&mut self) -> io::Result<()> {
        guarded(|| self.access.flush())?;
        guarded(|| self.access.sync())
    }

    /// Whether the format frees clusters.
    pub fn supports_discard(&self) -> bool {
        self.discards
    }

    /// Frees the clusters of a range, which then reads as zeros.
    ///
    /// # Errors
    /// The host's.
    pub fn discard(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.extents.forget(offset, len);
        self.expect_frees();
        let result = guarded(|| self.access.discard_to_any(offset, len));
        match result {
            // qcow2 version 2 has no cluster that reads as zeros, and a backing file's bytes must not reappear.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.discards = false;
                Ok(())
            }
            result => result,
        }
    }
}

/// A chain that is being opened.
struct Chain<'a> {
    directories: &'a Directories,
    direct: bool,
    files: Vec<RawFile>,
}

impl Chain<'_> {
    /// Opens the image in `file` and those behind it.
    fn open(
        &mut self,
        file: File,
        path: &Path,
        format: ImageFormat,
        write: bool,
    ) -> Result<FormatAccess<Store>, ImageError> {
        // First the whole chain of qcow2 images downwards, then imago's objects upwards.
        let mut above = Vec::new();
        let (mut file, mut path, mut format, mut write) = (file, path.to_owned(), format, write);
        let mut access = loop {
            if self.files.len() >= MAX_CHAIN {
                return Err(ImageError::Reference {
                    path,
                    name: String::new(),
                    why: "has a chain of more than 256 images",
                });
            }
            let failed = |why| ImageError::Format { path: path.clone(), why };
            let reader = reopen(&file).map_err(failed)?;
            let store = self.add(file, &path, write, self.direct)?;
            match format {
                ImageFormat::Raw => {
                    break FormatAccess::new(guarded(|| Raw::open_image(store, false)).map_err(failed)?);
                }
                ImageFormat::Vmdk => {
                    let mut vmdk = guarded(|| Vmdk::<Store>::open_image(store, false)).map_err(failed)?;
                    let gate = Gate { chain: self, path: &path };
                    guarded(|| vmdk.open_implicit_dependencies_gated(gate)).map_err(failed)?;
                    break FormatAccess::new(vmdk);
                }
                ImageFormat::Qcow2 => {}
            }
            let header = qcow2::Header::read(&reader).map_err(|error| failed(io::Error::other(error.to_string())))?;
            let access = if write { qcow2::Access::Write } else { qcow2::Access::Read };
            if let Some(reason) = qcow2::unsupported(&header, access) {
                return Err(failed(io::Error::other(reason.to_string())));
            }
            if let Some(lost) = qcow2::lost_by_writing(&header).filter(|_| write) {
                tracing::warn!("{}: {lost}", path.display());
            }
            if write {
                let checked = qcow2::check_for_writing(&reader, &header);
                checked.map_err(|error| failed(io::Error::other(error.to_string())))?;
                store.order(layout(&reader, &header).map_err(failed)?);
            }
            let mut image = guarded(|| Qcow2::<Store>::open_image(store, write)).map_err(failed)?;
            if image.requires_external_data_file() {
                let name = image.implicit_external_data_file().cloned().unwrap_or_default();
                let (data, data_path) = self.directories.open(&path, &name, write, self.direct)?;
                image.set_data_file(Some(self.add(data, &data_path, write, self.direct)?));
            } else {
                image.set_data_file(None);
            }
            let Some(name) = image.implicit_backing_file().cloned() else {
                image.set_backing(None);
                break FormatAccess::new(image);
            };
            let backing_format = match image.implicit_backing_format().map(String::as_str) {
                Some("raw" | "file") => ImageFormat::Raw,
                Some(other) => ImageFormat::from_name(other).ok_or_else(|| ImageError::Reference {
                    path: path.clone(),
                    name: name.clone(),
                    why: "has a format that is not supported",
                })?,
                None => {
                    let why = "has no format in the image that names it: set it with 'pcvm image rebase -u'";
                    return Err(ImageError::Reference { path, name, why });
                }
            };
            let (backing, backing_path) = self.directories.open(&path, &name, false, self.direct)?;
            above.push(image);
            (file, path, format, write) = (backing, backing_path, backing_format, false);
        };
        while let Some(mut image) = above.pop() {
            image.set_backing(Some(access));
            access = FormatAccess::new(image);
        }
        Ok(access)
    }

    /// Adds a file to the chain and locks it.
    fn add(&mut self, file: File, path: &Path, write: bool, direct: bool) -> Result<Store, ImageError> {
        let failed = |why| ImageError::Host { path: path.to_owned(), why };
        let options = StorageOpenOptions::new().filename(path).write(write).direct(direct);
        let duplicate = file.try_clone().map_err(failed)?;
        let raw = RawFile::new(file, path, true, direct)?;
        super::image::lock(&raw, path, write)?;
        let store = imago::file::File::from_open_file(duplicate, options).map_err(failed)?;
        self.files.push(raw);
        Ok(Store::new(store, self.files.len() - 1))
    }
}

/// Opens the extents that a VMDK descriptor names.
struct Gate<'a, 'b> {
    chain: &'a mut Chain<'b>,
    path: &'a PathBuf,
}

impl imago::format::gate::ImplicitOpenGate<Store> for Gate<'_, '_> {
    fn open_format<F: FormatDriverBuilder<Store>>(&mut self, _builder: F) -> io::Result<FormatAccess<Store>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a VMDK with a parent is not supported"))
    }

    fn open_storage(&mut self, options: StorageOpenOptions) -> io::Result<Store> {
        let name = options.get_filename().and_then(Path::to_str).unwrap_or_default();
        let opened = self.chain.directories.open(self.path, name, false, self.chain.direct);
        let store = opened.and_then(|(file, path)| self.chain.add(file, &path, false, self.chain.direct));
        store.map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Where an image has the metadata whose order matters.
///
/// # Errors
/// The host's.
pub fn layout(file: &File, header: &qcow2::Header) -> io::Result<Layout> {
    let cluster = header.cluster_size();
    let table = header.refcount_table_offset..header.refcount_table_offset + header.refcount_table_entries() * 8;
    let mut refcount_blocks = HashSet::new();
    let mut bytes = vec![0; 1 << 16];
    let mut at = table.start;
    while at < table.end {
        let part = bytes.get_mut(..(table.end - at).min(1 << 16) as usize).unwrap_or_default();
        qcow2::read_padded(file, at, part)?;
        let entries =
            part.chunks_exact(8).map(|entry| entry.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
        refcount_blocks.extend(entries.filter(|block| *block != 0));
        at += part.len() as u64;
    }
    let l1_table = header.l1_offset..header.l1_offset + u64::from(header.l1_entries) * 8;
    Ok(Layout { l1_table, refcount_table: table, refcount_blocks, cluster })
}

/// The same file without O_DIRECT, for reads of any length.
fn reopen(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Calls into imago. A panic there, on an image that is damaged on purpose, is an error of this image.
fn guarded<T>(f: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(io::Error::other("the image's tables are damaged")))
}
