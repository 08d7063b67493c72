//! An image with its backing files, for reading: which layer has which range, and the content.
//!
//! Layers are resolved one after another, at most [`LAYERS_MAX`], each from an allowed directory and none twice.

use super::files;
use super::vhd::Vhd;
use super::{Format, ImageError, format};
use crate::block::Directories;
use crate::block::qcow2::{self, Header, Mapping, Source, TableCache, read_padded};
use flate2::{Decompress, FlushDecompress, Status};
use imago::{FormatAccess, FormatDriverBuilder, Storage, StorageOpenOptions};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Images in one chain at most.
pub const LAYERS_MAX: usize = 256;

/// Content of one image of a chain.
pub(super) enum Content {
    Raw(File),
    Qcow2 { file: File, header: Box<Header>, data: Option<File> },
    Vhd { file: File, vhd: Vhd },
    Vmdk(Box<FormatAccess<imago::file::File>>),
}

/// One image of a chain.
pub struct Layer {
    /// Where it is.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Virtual size in bytes.
    pub size: u64,
    pub(super) content: Content,
    tables: TableCache,
    /// Start, end and kind of the last stretch of a raw file: data or a hole.
    stretch: Option<(u64, u64, bool)>,
}

/// How a chain is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The top image's header only, to describe it: its content may be encrypted or in a file that is missing.
    Header,
    /// The top image only.
    Top,
    /// With all its backing files.
    Chain,
}

/// An image and its backing files, the top first.
pub struct Disk {
    pub(super) layers: Vec<Layer>,
    /// The last decompressed cluster: layer, offset of the compressed data, content.
    cluster: Option<(usize, u64, Vec<u8>)>,
}

/// What a range of the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// No image of the chain has it: zeros.
    Absent,
    /// Zeros.
    Zero,
    /// In the layer's file.
    Data,
    /// Compressed in the layer's file.
    Compressed {
        /// Bytes of the compressed data, up to the end of the last sector.
        length: u64,
    },
}

/// A range of the disk that one layer has in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The layer, 0 for the top.
    pub depth: usize,
    /// What it is.
    pub kind: SegmentKind,
    /// Offset in the layer's file, where the range has one.
    pub host: Option<u64>,
    /// Bytes, more than 0.
    pub length: u64,
}

impl Segment {
    /// Whether the range reads as zeros.
    pub fn is_zero(&self) -> bool {
        matches!(self.kind, SegmentKind::Absent | SegmentKind::Zero)
    }
}

impl Disk {
    /// Opens an image that the user names, and with [`Depth::Chain`] its backing files. With `locked`, each is locked for
    /// reading.
    ///
    /// # Errors
    /// If a file cannot be opened, is not allowed, has another format or an unsupported feature, or a machine writes to it.
    pub fn open(
        path: &Path,
        given: Option<Format>,
        dirs: &Directories,
        depth: Depth,
        locked: bool,
    ) -> Result<Self, ImageError> {
        let file = files::open(path, false)?;
        let format = format::decide(path, &file, given)?;
        Self::from_file(path, file, format, dirs, depth, locked)
    }

    /// The same for an open file.
    pub(super) fn from_file(
        path: &Path,
        file: File,
        format: Format,
        dirs: &Directories,
        depth: Depth,
        locked: bool,
    ) -> Result<Self, ImageError> {
        let mut disk = Self { layers: Vec::new(), cluster: None };
        let mut seen = HashSet::new();
        let mut next = Some((path.to_owned(), file, format));
        while let Some((path, file, format)) = next.take() {
            let metadata = file.metadata().map_err(ImageError::host(&path))?;
            if !seen.insert((metadata.dev(), metadata.ino())) {
                return Err(ImageError::refused(&path, "is its own backing file, directly or by others"));
            }
            if disk.layers.len() == LAYERS_MAX {
                return Err(ImageError::refused(
                    &path,
                    "is behind 256 other images: merge some with 'pcvm image commit'",
                ));
            }
            if locked {
                files::lock(&file, &path, false)?;
            }
            let layer = Layer::new(path, file, format, dirs, depth)?;
            if depth == Depth::Chain {
                next = layer.open_backing(dirs)?;
            }
            disk.layers.push(layer);
        }
        Ok(disk)
    }

    /// The layers, the top first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Virtual size in bytes.
    pub fn size(&self) -> u64 {
        self.layers.first().map_or(0, |layer| layer.size)
    }

    /// Reads a layer's header and size again after it has been resized.
    pub(super) fn reload(&mut self, depth: usize) -> Result<(), ImageError> {
        let Some(layer) = self.layers.get_mut(depth) else { return Ok(()) };
        match &mut layer.content {
            Content::Raw(file) => layer.size = file.length().map_err(ImageError::host(&layer.path))?,
            Content::Qcow2 { file, header, .. } => {
                **header = Header::read(file).map_err(|why| ImageError::refused(&layer.path, why))?;
                layer.size = header.size;
            }
            Content::Vhd { .. } | Content::Vmdk(_) => {}
        }
        (layer.tables, layer.stretch, self.cluster) = (TableCache::default(), None, None);
        Ok(())
    }

    /// What the disk has from `offset` on, for at most `max` bytes. `offset` must be below the size, `max` above 0.
    ///
    /// # Errors
    /// If the host refuses a read or a table is damaged.
    pub fn map(&mut self, offset: u64, max: u64) -> Result<Segment, ImageError> {
        self.map_below(0, offset, max.min(self.size().saturating_sub(offset)))
    }

    /// The same without the layers above `first`. Behind the end of that layer, the range is absent.
    pub(super) fn map_below(&mut self, first: usize, offset: u64, max: u64) -> Result<Segment, ImageError> {
        let mut max = max;
        let last = self.layers.len().saturating_sub(1);
        for (depth, layer) in self.layers.iter_mut().enumerate().skip(first) {
            if offset >= layer.size {
                // The backing file is shorter: zeros, which belong to the layer above it.
                let depth = depth.saturating_sub(1).max(first);
                return Ok(Segment { depth, kind: SegmentKind::Absent, host: None, length: max });
            }
            max = max.min(layer.size - offset);
            let (kind, host, length) = layer.map(offset, max)?;
            max = length;
            if kind != SegmentKind::Absent {
                return Ok(Segment { depth, kind, host, length });
            }
        }
        Ok(Segment { depth: last, kind: SegmentKind::Absent, host: None, length: max })
    }

    /// Reads from `offset`. What is behind the end of the disk reads as zeros.
    ///
    /// # Errors
    /// If the host refuses a read or the image is damaged.
    pub fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), ImageError> {
        self.read_below(0, offset, buffer)
    }

    /// The same without the layers above `first`.
    pub(super) fn read_below(&mut self, first: usize, offset: u64, buffer: &mut [u8]) -> Result<(), ImageError> {
        let size = self.layers.get(first).map_or(0, |layer| layer.size);
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            if at >= size {
                buffer[done..].fill(0);
                break;
            }
            let segment = self.map_below(first, at, (buffer.len() - done) as u64)?;
            let part = &mut buffer[done..done + segment.length as usize];
            done += part.len();
            match (segment.kind, segment.host) {
                (SegmentKind::Data, Some(host)) => {
                    let layer = &self.layers[segment.depth];
                    let file = layer.data_file();
                    match file {
                        Some(file) => read_padded(file, host, part).map_err(ImageError::host(&layer.path))?,
                        None => layer.read_special(at, part)?,
                    }
                }
                (SegmentKind::Compressed { length }, Some(host)) => {
                    self.read_compressed(segment.depth, at, host, length, part)?;
                }
                _ => part.fill(0),
            }
        }
        Ok(())
    }

    fn read_compressed(
        &mut self,
        depth: usize,
        at: u64,
        host: u64,
        length: u64,
        part: &mut [u8],
    ) -> Result<(), ImageError> {
        let layer = &self.layers[depth];
        let Content::Qcow2 { file, header, .. } = &layer.content else {
            part.fill(0);
            return Ok(());
        };
        let cluster = header.cluster_size();
        if self.cluster.as_ref().is_none_or(|(d, h, _)| (*d, *h) != (depth, host)) {
            // At most 2 clusters: the sector count has cluster_bits - 8 bits.
            let mut packed = vec![0; length as usize];
            read_padded(file, host, &mut packed).map_err(ImageError::host(&layer.path))?;
            let mut content = vec![0; cluster as usize];
            let mut inflate = Decompress::new(false);
            let status = inflate.decompress(&packed, &mut content, FlushDecompress::Finish);
            let full = inflate.total_out() == cluster;
            if !full || !matches!(status, Ok(Status::Ok | Status::StreamEnd | Status::BufError)) {
                let why = format!("the compressed cluster for offset {at:#x} is damaged");
                return Err(ImageError::refused(&layer.path, why));
            }
            self.cluster = Some((depth, host, content));
        }
        if let Some((_, _, content)) = &self.cluster {
            let start = (at % cluster) as usize;
            part.copy_from_slice(&content[start..start + part.len()]);
        }
        Ok(())
    }
}

impl Layer {
    fn new(path: PathBuf, file: File, format: Format, dirs: &Directories, depth: Depth) -> Result<Self, ImageError> {
        let (content, size) = match format {
            Format::Raw => {
                let size = file.length().map_err(ImageError::host(&path))?;
                (Content::Raw(file), size)
            }
            Format::Qcow2 => {
                let header = Header::read(&file).map_err(|why| ImageError::refused(&path, why))?;
                let describe = depth == Depth::Header;
                if let Some(reason) = qcow2::unreadable(&header).filter(|_| !describe) {
                    return Err(ImageError::refused(&path, reason));
                }
                let data = match (header.external_data(), &header.data_file) {
                    (false, _) => None,
                    _ if describe => None,
                    (true, Some(name)) => Some(files::open_named(dirs, named(&path, name)?, &path)?.0),
                    (true, None) => return Err(ImageError::refused(&path, "does not name its external data file")),
                };
                let size = header.size;
                (Content::Qcow2 { file, header: Box::new(header), data }, size)
            }
            Format::Vhd => {
                let vhd = Vhd::read(&file).map_err(|why| ImageError::refused(&path, why))?;
                let size = vhd.size;
                (Content::Vhd { file, vhd }, size)
            }
            Format::Vmdk => {
                let access = open_vmdk(&path, file, dirs)?;
                let size = access.size();
                (Content::Vmdk(Box::new(access)), size)
            }
        };
        Ok(Self { path, format, size, content, tables: TableCache::default(), stretch: None })
    }

    /// The header of a qcow2 image.
    pub fn header(&self) -> Option<&Header> {
        match &self.content {
            Content::Qcow2 { header, .. } => Some(header),
            _ => None,
        }
    }

    /// The image's own file.
    pub(super) fn file(&self) -> Option<&File> {
        match &self.content {
            Content::Raw(file) | Content::Qcow2 { file, .. } | Content::Vhd { file, .. } => Some(file),
            Content::Vmdk(_) => None,
        }
    }

    /// The file that has the data of uncompressed ranges.
    fn data_file(&self) -> Option<&File> {
        match &self.content {
            Content::Qcow2 { data: Some(data), .. } => Some(data),
            _ => self.file(),
        }
    }

    fn read_special(&self, offset: u64, part: &mut [u8]) -> Result<(), ImageError> {
        match &self.content {
            Content::Vmdk(access) => access.read(part, offset).map_err(ImageError::host(&self.path)),
            _ => {
                part.fill(0);
                Ok(())
            }
        }
    }

    fn map(&mut self, offset: u64, max: u64) -> Result<(SegmentKind, Option<u64>, u64), ImageError> {
        let path = &self.path;
        match &self.content {
            Content::Raw(file) => {
                let (data, end) = stretch(file, &mut self.stretch, offset, self.size);
                let kind = if data { SegmentKind::Data } else { SegmentKind::Zero };
                Ok((kind, Some(offset), max.min(end - offset)))
            }
            Content::Qcow2 { file, header, .. } => {
                let found = qcow2::map(file, header, &mut self.tables, offset, max);
                let (mapping, length) = found.map_err(|why| ImageError::refused(path, why))?;
                Ok(match mapping {
                    Mapping::Unallocated => (SegmentKind::Absent, None, length),
                    Mapping::Zero { host } => (SegmentKind::Zero, host, length),
                    Mapping::Data { host } => (SegmentKind::Data, Some(host), length),
                    Mapping::Compressed { host, length: packed } => {
                        (SegmentKind::Compressed { length: packed }, Some(host), length)
                    }
                })
            }
            Content::Vhd { file, vhd } => {
                let (host, length) = vhd.map(file, offset, max).map_err(ImageError::host(path))?;
                let kind = if host.is_some() { SegmentKind::Data } else { SegmentKind::Zero };
                Ok((kind, host, length))
            }
            Content::Vmdk(_) => Ok((SegmentKind::Data, Some(offset), max)),
        }
    }

    /// The backing file as the image names it: its path and the format that the image gives.
    ///
    /// # Errors
    /// If the name is not that of a file or the format is unknown.
    pub fn backing(&self) -> Result<Option<(PathBuf, Option<Format>)>, ImageError> {
        let Some(header) = self.header() else { return Ok(None) };
        let Some(name) = &header.backing_file else { return Ok(None) };
        let format = match header.backing_format.as_deref() {
            None => None,
            Some("file" | "host_device") => Some(Format::Raw),
            Some(name) => Some(name.parse().map_err(|why: String| ImageError::refused(&self.path, why))?),
        };
        Ok(Some((files::parent(&self.path).join(named(&self.path, name)?), format)))
    }

    fn open_backing(&self, dirs: &Directories) -> Result<Option<(PathBuf, File, Format)>, ImageError> {
        let Some((_, format)) = self.backing()? else { return Ok(None) };
        let Some(name) = self.header().and_then(|header| header.backing_file.as_ref()) else { return Ok(None) };
        let (file, path) = files::open_named(dirs, named(&self.path, name)?, &self.path)?;
        let format = match format {
            Some(format) => format,
            None => format::decide(&path, &file, None)?,
        };
        Ok(Some((path, file, format)))
    }
}

/// Whether the raw file has data at `offset` or a hole, and where that ends.
fn stretch(file: &File, known: &mut Option<(u64, u64, bool)>, offset: u64, size: u64) -> (bool, u64) {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    if let Some((start, end, data)) = *known
        && (start..end).contains(&offset)
    {
        return (data, end);
    }
    let (data, end) = match seek(file, SeekFrom::Data(offset)) {
        Ok(at) if at > offset => (false, at.min(size)),
        Ok(_) => (true, seek(file, SeekFrom::Hole(offset)).unwrap_or(size).min(size)),
        Err(Errno::NXIO) => (false, size),
        // No SEEK_DATA on this file system.
        Err(_) => (true, size),
    };
    // A file that shrinks meanwhile gives no empty stretch.
    let end = end.max(offset + 1);
    *known = Some((offset, end, data));
    (data, end)
}

/// The name of a file that the image `from` contains, without QEMU's prefix `file:`.
fn named<'a>(from: &Path, name: &'a OsStr) -> Result<&'a str, ImageError> {
    let text = name.to_str().map(|text| text.strip_prefix("file:").unwrap_or(text));
    // A colon before any slash makes it the name of a protocol for QEMU.
    let file = text.filter(|text| !text.split('/').next().unwrap_or_default().contains(':') && !text.is_empty());
    file.ok_or_else(|| {
        let why = format!("names '{}', which is not a file name", name.to_string_lossy().escape_debug());
        ImageError::refused(from, why)
    })
}

/// Opens the extents of a VMDK from allowed directories.
struct ExtentGate<'a> {
    dirs: &'a Directories,
    from: &'a Path,
}

impl imago::format::gate::ImplicitOpenGate<imago::file::File> for ExtentGate<'_> {
    fn open_format<F: FormatDriverBuilder<imago::file::File>>(
        &mut self,
        _: F,
    ) -> io::Result<FormatAccess<imago::file::File>> {
        Err(io::Error::other("a VMDK has no backing images here"))
    }

    fn open_storage(&mut self, options: StorageOpenOptions) -> io::Result<imago::file::File> {
        let name = options.get_filename().and_then(Path::to_str).unwrap_or_default();
        let opened = files::open_named(self.dirs, name, self.from);
        let (file, path) = opened.map_err(|error| io::Error::other(error.to_string()))?;
        imago::file::File::from_open_file(file, StorageOpenOptions::new().filename(path))
    }
}

fn open_vmdk(path: &Path, file: File, dirs: &Directories) -> Result<FormatAccess<imago::file::File>, ImageError> {
    let mut start = [0; 4];
    read_padded(&file, 0, &mut start).map_err(ImageError::host(path))?;
    if matches!(&start, b"KDMV" | b"COWD") {
        let why = "is a sparse VMDK, which is not supported: convert it with 'qemu-img convert'";
        return Err(ImageError::refused(path, why));
    }
    let full = std::path::absolute(path).map_err(ImageError::host(path))?;
    let storage = imago::file::File::from_open_file(file, StorageOpenOptions::new().filename(full));
    let storage = storage.map_err(ImageError::host(path))?;
    debug_assert_eq!(storage.req_align(), 1);
    let image = imago::vmdk::Vmdk::<imago::file::File>::builder(storage).open(ExtentGate { dirs, from: path });
    image.map(FormatAccess::new).map_err(|why| ImageError::refused(path, why))
}
