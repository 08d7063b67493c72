//! Opens a disc: an ISO image, an image of raw sectors, a cue sheet with its files, or a host directory (`dir:PATH`).
//!
//! A disc is never written, so that its kind may be chosen by the file name and content: another choice shows the guest
//! other bytes of the same files, and never files that the user did not name. A cue sheet names files; only those in its own
//! directory are opened.

use super::backend::Backend;
use super::cue::{self, CueError, FileKind, Source};
use super::directories::Directories;
use super::fat;
use super::folder::{HostDir, Tree};
use super::image::{ImageError, lock};
use super::iso::Iso;
use super::mapped::{FileRange, Files, FolderFiles, MappedImage};
use super::raw::RawFile;
use pcvm_devices::disc::{Disc, RAW, RAW_WITH_SUBCHANNEL, Session, Track, TrackForm};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The synchronization field of a raw data sector (ECMA-130, 14.1).
const SYNC: [u8; 12] = [0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0];
/// Descriptions of discs and compressed images that are not read, by file name extension, and what makes a cue sheet of them.
const REFUSED: [(&str, &str, &str); 9] = [
    ("ccd", "a CloneCD sheet", "ccd2cue"),
    ("mds", "an Alcohol 120% sheet", "iat or mdf2iso"),
    ("nrg", "a Nero image", "nrg2iso or iat"),
    ("chd", "a CHD image", "'chdman extractcd'"),
    ("toc", "a cdrdao sheet", "toc2cue"),
    ("cdi", "a DiscJuggler image", "cdirip"),
    ("b5t", "a BlindWrite sheet", "iat"),
    ("b6t", "a BlindWrite sheet", "iat"),
    ("cso", "a compressed image", "ciso"),
];

/// Opens and locks a disc. A disc without a layout is one track of 2048-byte sectors.
///
/// # Errors
/// If the file or directory cannot be used.
pub fn open(path: &Path) -> Result<(Backend, Option<Disc>), ImageError> {
    if let Some(folder) = crate::config::folder(path) {
        return Ok((open_folder(folder)?, None));
    }
    let extension = path.extension().map(|text| text.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    if let Some((_, what, mend)) = REFUSED.iter().find(|(refused, ..)| *refused == extension) {
        return Err(ImageError::DiscFormat { path: path.to_owned(), what, mend });
    }
    if extension == "cue" {
        let (image, disc) = open_cue(path)?;
        return Ok((Backend::Mapped(Box::new(image)), Some(disc)));
    }
    let file = RawFile::open(path, true, false)?;
    // An empty file fails later with its own message.
    if file.size() > 0 {
        lock(&file, path, false)?;
    }
    let disc = raw_sectors(&file);
    Ok((Backend::File(file), disc))
}

/// The image of a directory.
fn open_folder(folder: &Path) -> Result<Backend, ImageError> {
    let failed = |why| ImageError::Host { path: folder.to_owned(), why };
    let dir = HostDir::open(folder).map_err(failed)?;
    let tree = Tree::list(&dir, folder)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs() as i64);
    let iso = Iso::new(&tree, &fat::label(folder), now)
        .map_err(|why| ImageError::Folder { path: folder.to_owned(), why: why.to_string() })?;
    let range = |extent: &super::iso::FileExtent| FileRange {
        start: extent.start,
        len: extent.len,
        file: extent.node,
        offset: 0,
    };
    let ranges = iso.files.iter().map(range).collect();
    let files = Files::Folder(FolderFiles::new(dir, folder.to_owned(), tree));
    Ok(Backend::Mapped(Box::new(MappedImage::new(iso.metadata, ranges, files, iso.size))))
}

/// The layout of an image of raw data sectors, which begin with the synchronization field; none for other images.
fn raw_sectors(file: &RawFile) -> Option<Disc> {
    let starts_with_sync = |sector: u64| {
        let mut start = [0; 16];
        read_at(file.file(), sector, &mut start);
        start.starts_with(&SYNC).then_some(start[15])
    };
    let mode = starts_with_sync(0)?;
    let fits = |stride: u32| {
        let stride = u64::from(stride);
        file.size().is_multiple_of(stride) && (file.size() == stride || starts_with_sync(stride).is_some())
    };
    let stride = [RAW, RAW_WITH_SUBCHANNEL].into_iter().find(|&stride| fits(stride))?;
    let len = u32::try_from(file.size() / u64::from(stride)).ok()?;
    let read = |at: u64, buffer: &mut [u8]| read_at(file.file(), at, buffer);
    let form = match mode {
        1 => TrackForm::Mode1,
        2 if cue::is_xa(stride, len, &read) => TrackForm::Mode2Xa,
        2 => TrackForm::Mode2,
        _ => return None,
    };
    let disc = Disc {
        tracks: vec![Track::new(form, stride, len)],
        sessions: vec![Session { lead_out: len }],
        catalogue: None,
    };
    disc.validate().is_ok().then_some(disc)
}

fn read_at(file: &File, mut at: u64, buffer: &mut [u8]) {
    let mut rest = buffer;
    while let Ok(read @ 1..) = file.read_at(rest, at) {
        rest = rest.get_mut(read..).unwrap_or_default();
        at += read as u64;
    }
    rest.fill(0);
}

/// Opens a cue sheet and the files that it names.
fn open_cue(path: &Path) -> Result<(MappedImage, Disc), ImageError> {
    let wrong = |why| ImageError::Cue { path: path.to_owned(), why };
    let sheet_file = RawFile::open(path, true, false)?;
    // One byte more than permitted is an error, too.
    let mut text = vec![0; sheet_file.size().min(cue::SHEET_MAX as u64 + 1) as usize];
    read_at(sheet_file.file(), 0, &mut text);
    let sheet = cue::parse(&text).map_err(wrong)?;
    let directories = Directories::new(path, &[])?;
    let (mut files, mut sources) = (Vec::new(), Vec::new());
    for cue_file in &sheet.files {
        let at_line = |what: String| wrong(CueError { line: cue_file.line, what });
        let (file, shown) = open_named(&directories, path, &cue_file.name).map_err(at_line)?;
        let file = RawFile::new(file, &shown, true, false)?;
        lock(&file, &shown, false)?;
        let source = match cue_file.kind {
            FileKind::Wave => cue::pcm_data(file.size(), &|at, buffer| read_at(file.file(), at, buffer))
                .map_err(|what| at_line(format!("{}: {what}", shown.display())))?,
            FileKind::Binary | FileKind::Motorola => Source { offset: 0, len: file.size() },
        };
        files.push(file);
        sources.push(source);
    }
    let read = |file: usize, at: u64, buffer: &mut [u8]| match files.get(file) {
        Some(file) => read_at(file.file(), at, buffer),
        None => buffer.fill(0),
    };
    let layout = cue::layout(&sheet, &sources, &read).map_err(wrong)?;
    let range = |s: &cue::Segment| FileRange { start: s.start, len: s.len, file: s.file, offset: s.offset };
    let ranges = layout.segments.iter().map(range).collect();
    Ok((MappedImage::new(Vec::new(), ranges, Files::Open(files), layout.size), layout.disc))
}

/// Opens a file that a cue sheet names. Sheets made on Windows separate directories by backslashes, and may spell the name
/// in another case.
fn open_named(directories: &Directories, cue: &Path, name: &str) -> Result<(File, PathBuf), String> {
    let name = name.replace('\\', "/");
    let error = match directories.open(cue, &name, false, false) {
        Ok(opened) => return Ok(opened),
        Err(error) => error,
    };
    match &error {
        ImageError::Host { why, .. } if why.kind() == std::io::ErrorKind::NotFound => {
            if let Some(other) = other_case(cue, &name) {
                return directories.open(cue, &other, false, false).map_err(|error| error.to_string());
            }
            Err(error.to_string())
        }
        ImageError::Reference { .. } => Err(format!(
            "FILE '{name}' is outside the cue sheet's directory, and only files beneath it are opened: move the file there \
             and write its name without a path"
        )),
        _ => Err(error.to_string()),
    }
}

/// The only name that differs from `name` in nothing but the case of its last component.
fn other_case(cue: &Path, name: &str) -> Option<String> {
    let wanted = Path::new(name);
    let folder = cue.parent()?.join(wanted.parent()?);
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
    let last = wanted.file_name()?.to_str()?.to_lowercase();
    let names = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut found = names.filter(|name| name.to_lowercase() == last);
    match (found.next(), found.next()) {
        (Some(only), None) => Some(wanted.with_file_name(only).to_str()?.to_owned()),
        _ => None,
    }
}
