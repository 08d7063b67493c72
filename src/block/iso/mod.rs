//! ISO 9660 image of a directory tree, with Joliet and Rock Ridge names: descriptors, path tables and directories are made in
//! memory; the files stay where they are.
//!
//! Sources: ECMA-119 (ISO 9660:1988), the Joliet specification (May 1995), SUSP (IEEE P1281) and RRIP (IEEE P1282).
//!
//! The primary hierarchy has names of level 1 (8.3) for DOS, with Rock Ridge entries for Unix systems: name, mode, time of
//! modification and symbolic links. The Joliet hierarchy has names of up to 64 characters for Windows. A file of 4 GiB or
//! more has several extents (level 3). Deliberately missing: El Torito (the disc does not boot), relocation of directories
//! below the eighth level (every system that reads Joliet or Rock Ridge accepts them), and owners: all belongs to root and is
//! readable by all, as on a pressed disc.

mod joliet;
mod record;
mod rock_ridge;
#[cfg(test)]
mod tests;
mod volume;

use super::folder::{Content, ShortNames, Tree};
use record::{Extent, SECTOR, Writer};
use std::os::unix::ffi::OsStrExt;

/// The sector of the first volume descriptor (ECMA-119, 6.2.1).
const DESCRIPTORS: u32 = 16;
/// The most directories: their numbers have 16 bits in path tables (ECMA-119, 6.9.1).
const DIRECTORIES_MAX: usize = 65_535;
/// Bytes of one extent of a file: the highest multiple of the sector size in 32 bits.
const EXTENT_MAX: u64 = 0xffff_f800;

/// The tree does not fit an ISO 9660 image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsoError {
    /// Too many directories.
    #[error("has more than {DIRECTORIES_MAX} directories")]
    Directories,
    /// Sector numbers have 32 bits.
    #[error("has more than 8 TiB of files")]
    TooLarge,
    /// More entries of one directory with one beginning of their names than numbers of six digits.
    #[error("a directory has too many similar names")]
    Names,
}

/// Where the content of a file is in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileExtent {
    /// The file, by its index in the tree.
    pub node: usize,
    /// Byte offset in the image: a multiple of 2048.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

/// An image: metadata from its first byte, then the files.
#[derive(Debug)]
pub struct Iso {
    /// Everything before the first file, in whole sectors.
    pub metadata: Vec<u8>,
    /// Files that are not empty, in the order of their places.
    pub files: Vec<FileExtent>,
    /// Bytes of the image: whole sectors.
    pub size: u64,
}

/// One of the two hierarchies of directories.
struct Hierarchy {
    joliet: bool,
    /// Identifier in directory records, by node; the top's is not used.
    names: Vec<Vec<u8>>,
    /// Entries by node, sorted as the standard wants them; empty but for directories.
    entries: Vec<Vec<usize>>,
    /// Directories in the order of the path table: by level, parent and name. The top comes first.
    order: Vec<usize>,
    /// Number in the path table by node, from 1.
    numbers: Vec<u16>,
    /// Extent by node, of directories.
    extents: Vec<Extent>,
    /// Bytes of a path table.
    path_table: u32,
    /// First sectors of the path tables: type L, type M.
    path_tables: [u32; 2],
}

impl Iso {
    /// The image for a tree. `name` becomes the volume's label, `now` (seconds since 1970) its date.
    ///
    /// # Errors
    /// If the tree exceeds what ISO 9660 can hold.
    pub fn new(tree: &Tree, name: &str, now: i64) -> Result<Self, IsoError> {
        let mut hierarchies = [Hierarchy::primary(tree)?, Hierarchy::joliet(tree)?];
        // Two volume descriptors and the terminator, then path tables, directories, continuation areas, files.
        let mut next = Sectors(DESCRIPTORS + 3);
        for hierarchy in &mut hierarchies {
            let len = hierarchy.path_table;
            for table in &mut hierarchy.path_tables {
                *table = next.take(u64::from(len))?;
            }
        }
        for hierarchy in &mut hierarchies {
            hierarchy.place_directories(tree, &mut next)?;
        }
        let mut continuation = rock_ridge::Continuation::new(next.0);
        next.take(rock_ridge::continuation_size(tree))?;
        let data = next.0;
        let (mut files, mut starts) = (Vec::new(), vec![data; tree.nodes.len()]);
        for (node, start) in starts.iter_mut().enumerate() {
            let len = tree.nodes.get(node).map_or(0, |node| node.size());
            if len > 0 {
                *start = next.take(len)?;
                files.push(FileExtent { node, start: u64::from(*start) * SECTOR, len });
            }
        }
        let mut out = Writer::default();
        out.fill_to(u64::from(DESCRIPTORS) * SECTOR);
        for hierarchy in &hierarchies {
            volume::descriptor(
                &mut out,
                hierarchy,
                name,
                next.0,
                (tree.nodes.first().map_or(now, |top| top.modified), now),
            );
        }
        volume::terminator(&mut out);
        for hierarchy in &hierarchies {
            hierarchy.write_path_tables(tree, &mut out);
        }
        for hierarchy in &hierarchies {
            hierarchy.write_directories(tree, &starts, &mut continuation, &mut out);
        }
        out.bytes.extend_from_slice(&continuation.bytes);
        out.fill_to(u64::from(data) * SECTOR);
        Ok(Self { metadata: out.bytes, files, size: u64::from(next.0) * SECTOR })
    }
}

/// The next free sector.
struct Sectors(u32);

impl Sectors {
    fn take(&mut self, bytes: u64) -> Result<u32, IsoError> {
        let first = self.0;
        let count = u32::try_from(bytes.div_ceil(SECTOR)).map_err(|_| IsoError::TooLarge)?;
        self.0 = first.checked_add(count).ok_or(IsoError::TooLarge)?;
        Ok(first)
    }
}

impl Hierarchy {
    fn primary(tree: &Tree) -> Result<Self, IsoError> {
        let mut names = vec![Vec::new(); tree.nodes.len()];
        let mut entries = vec![Vec::new(); tree.nodes.len()];
        for (node, sorted) in entries.iter_mut().enumerate() {
            let within = tree.entries(node);
            let of =
                |&entry: &usize| tree.nodes.get(entry).map_or((&b""[..], false), |e| (e.name.as_bytes(), e.is_dir()));
            let short = ShortNames::iso().assign(within.iter().map(of)).ok_or(IsoError::Names)?;
            let mut order: Vec<_> = short.into_iter().map(|(name, _)| name).zip(within.iter().copied()).collect();
            order.sort();
            for (short, entry) in &order {
                let is_dir = tree.nodes.get(*entry).is_some_and(|node| node.is_dir());
                let mut id = short.base().to_vec();
                if !is_dir {
                    id.push(b'.');
                    id.extend_from_slice(short.extension());
                    id.extend_from_slice(b";1");
                }
                if let Some(name) = names.get_mut(*entry) {
                    *name = id;
                }
            }
            *sorted = order.into_iter().map(|(_, entry)| entry).collect();
        }
        Self::ordered(tree, false, names, entries)
    }

    fn joliet(tree: &Tree) -> Result<Self, IsoError> {
        let mut names = vec![Vec::new(); tree.nodes.len()];
        let mut entries = vec![Vec::new(); tree.nodes.len()];
        for (node, sorted) in entries.iter_mut().enumerate() {
            let mut order = joliet::names(tree, tree.entries(node)).ok_or(IsoError::Names)?;
            order.sort();
            for (id, entry) in &order {
                if let Some(name) = names.get_mut(*entry) {
                    *name = id.bytes();
                }
            }
            *sorted = order.into_iter().map(|(_, entry)| entry).collect();
        }
        Self::ordered(tree, true, names, entries)
    }

    /// Numbers the directories: breadth first, which is by level, then parent, then name.
    fn ordered(tree: &Tree, joliet: bool, names: Vec<Vec<u8>>, entries: Vec<Vec<usize>>) -> Result<Self, IsoError> {
        let (mut order, mut numbers) = (vec![0], vec![0u16; tree.nodes.len()]);
        let (mut next, mut path_table) = (0, 0);
        while let Some(&node) = order.get(next) {
            next += 1;
            let number = u16::try_from(next).map_err(|_| IsoError::Directories)?;
            if let Some(slot) = numbers.get_mut(node) {
                *slot = number;
            }
            let id = names.get(node).map_or(0, Vec::len).max(1);
            path_table += 8 + id + id % 2;
            let is_dir = |entry: &&usize| tree.nodes.get(**entry).is_some_and(|node| node.is_dir());
            order.extend(entries.get(node).into_iter().flatten().filter(is_dir));
        }
        let extents = vec![Extent::default(); tree.nodes.len()];
        Ok(Self { joliet, names, entries, order, numbers, extents, path_table: path_table as u32, path_tables: [0; 2] })
    }

    /// The system use area of a record, and what of it goes to a continuation area.
    fn system_use(&self, tree: &Tree, node: usize, kind: rock_ridge::Record) -> rock_ridge::SystemUse {
        match tree.nodes.get(node) {
            Some(entry) if !self.joliet => {
                let id = if kind == rock_ridge::Record::Named { self.names.get(node).map_or(1, Vec::len) } else { 1 };
                rock_ridge::system_use(entry, kind, id)
            }
            _ => rock_ridge::SystemUse::default(),
        }
    }

    fn place_directories(&mut self, tree: &Tree, next: &mut Sectors) -> Result<(), IsoError> {
        for &dir in &self.order {
            let mut at = 0;
            for (_, id, susp, extents) in self.records(tree, dir) {
                let len = record::len(id.len(), susp.inline_len());
                for _ in 0..extents {
                    at = record::place(at, len) + len as u64;
                }
            }
            let len = at.next_multiple_of(SECTOR);
            let first = next.take(len)?;
            if let Some(extent) = self.extents.get_mut(dir) {
                *extent = Extent { first, len: u32::try_from(len).map_err(|_| IsoError::TooLarge)? };
            }
        }
        Ok(())
    }

    /// The records of a directory: node, identifier, system use area, number of extents. First the directory itself and the
    /// one above it.
    fn records<'a>(
        &'a self,
        tree: &'a Tree,
        dir: usize,
    ) -> impl Iterator<Item = (usize, &'a [u8], rock_ridge::SystemUse, u64)> + 'a {
        use rock_ridge::Record;
        let this = if dir == 0 { Record::Top } else { Record::Unnamed };
        let parent = tree.nodes.get(dir).map_or(0, |node| node.parent);
        let dots: [(usize, &[u8], Record); 2] = [(dir, &[0], this), (parent, &[1], Record::Unnamed)];
        let named = self.entries.get(dir).into_iter().flatten();
        let named = named.map(|&entry| (entry, self.names.get(entry).map_or(&[][..], Vec::as_slice), Record::Named));
        dots.into_iter().chain(named).map(move |(node, id, kind)| {
            let size = tree.nodes.get(node).map_or(0, |node| node.size());
            (node, id, self.system_use(tree, node, kind), size.div_ceil(EXTENT_MAX).max(1))
        })
    }

    fn write_directories(
        &self,
        tree: &Tree,
        starts: &[u32],
        continuation: &mut rock_ridge::Continuation,
        out: &mut Writer,
    ) {
        for &dir in &self.order {
            let Some(place) = self.extents.get(dir) else { continue };
            let base = u64::from(place.first) * SECTOR;
            out.fill_to(base);
            for (node, id, susp, extents) in self.records(tree, dir) {
                let Some(entry) = tree.nodes.get(node) else { continue };
                let susp = continuation.inline(susp);
                let mut left = entry.size();
                let mut first = starts.get(node).copied().unwrap_or(0);
                for n in 0..extents {
                    let len = left.min(EXTENT_MAX);
                    let extent = match entry.is_dir() {
                        true => self.extents.get(node).copied().unwrap_or_default(),
                        false => Extent { first, len: len as u32 },
                    };
                    let flags = if entry.is_dir() { record::DIRECTORY } else { 0 };
                    let flags = if n + 1 < extents { flags | record::NOT_FINAL } else { flags };
                    out.fill_to(base + record::place(out.len() - base, record::len(id.len(), susp.len())));
                    record::write(out, id, extent, flags, entry.modified, &susp);
                    first += len.div_ceil(SECTOR) as u32;
                    left -= len;
                }
            }
            out.fill_to(base + u64::from(place.len));
        }
    }

    /// Type L, then type M (ECMA-119, 9.4).
    fn write_path_tables(&self, tree: &Tree, out: &mut Writer) {
        for (first, little) in self.path_tables.into_iter().zip([true, false]) {
            out.fill_to(u64::from(first) * SECTOR);
            for &dir in &self.order {
                let id = self.names.get(dir).filter(|id| !id.is_empty()).map_or(&[0][..], Vec::as_slice);
                let extent = self.extents.get(dir).map_or(0, |extent| extent.first);
                let parent = tree.nodes.get(dir).map_or(0, |node| node.parent);
                let parent = self.numbers.get(parent).copied().unwrap_or(1);
                out.bytes.extend_from_slice(&[id.len() as u8, 0]);
                if little {
                    out.bytes.extend_from_slice(&extent.to_le_bytes());
                    out.bytes.extend_from_slice(&parent.to_le_bytes());
                } else {
                    out.bytes.extend_from_slice(&extent.to_be_bytes());
                    out.bytes.extend_from_slice(&parent.to_be_bytes());
                }
                out.bytes.extend_from_slice(id);
                out.bytes.resize(out.bytes.len() + id.len() % 2, 0);
            }
        }
    }

    /// The top directory.
    fn top(&self) -> Extent {
        self.extents.first().copied().unwrap_or_default()
    }
}

/// Whether the Joliet hierarchy has the node: it has no symbolic links.
fn in_joliet(tree: &Tree, node: usize) -> bool {
    tree.nodes.get(node).is_some_and(|node| !matches!(node.content, Content::Symlink(_)))
}
