//! Makes a FAT12 volume from a listing.

use super::FatError;
use super::entry::{self, ENTRY, Entry};
use super::volume::Volume;
use crate::block::folder::{Content, ShortName, ShortNames, Tree};
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;

/// How a file or directory of the listing is called in the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The node.
    pub node: usize,
    /// Its short name.
    pub short: ShortName,
    /// Its long name, unless the short one is the same.
    pub long: Option<String>,
}

impl Named {
    fn entries(&self) -> u32 {
        1 + self.long.as_ref().map_or(0, |long| long.encode_utf16().count().div_ceil(13) as u32)
    }
}

/// Names of all nodes but links, by directory node.
pub struct Names(Vec<Vec<Named>>);

impl Names {
    /// Chooses the names.
    pub fn new(tree: &Tree) -> Result<Self, FatError> {
        (0..tree.nodes.len()).map(|dir| names(tree, dir)).collect::<Result<_, _>>().map(Self)
    }

    /// All entries.
    pub fn all(&self) -> impl Iterator<Item = &Named> {
        self.0.iter().flatten()
    }

    fn of(&self, dir: usize) -> &[Named] {
        self.0.get(dir).map_or(&[], Vec::as_slice)
    }

    /// Entries that a directory needs: the label in the root, `.` and `..` elsewhere.
    fn entries(&self, dir: usize) -> u32 {
        let fixed = if dir == 0 { 1 } else { 2 };
        self.of(dir).iter().map(Named::entries).sum::<u32>() + fixed
    }

    /// The smallest volume that holds the listing.
    ///
    /// # Errors
    /// By how much the largest is too small.
    pub fn volume(&self, tree: &Tree) -> Result<Volume, FatError> {
        let mut error = None;
        for volume in [Volume::MB_1_44, Volume::MB_2_88] {
            let cluster = volume.cluster_bytes() as u64;
            let of = |(n, node): (usize, &crate::block::folder::Node)| match node.content {
                Content::Dir(_) if n > 0 => (u64::from(self.entries(n)) * ENTRY as u64).div_ceil(cluster),
                Content::File(size) => size.div_ceil(cluster),
                Content::Dir(_) | Content::Symlink(_) => 0,
            };
            let needed: u64 = tree.nodes.iter().enumerate().map(of).fold(0, u64::saturating_add);
            let excess = needed.saturating_sub(u64::from(volume.clusters())).saturating_mul(cluster);
            let entries = self.entries(0);
            match (excess, entries > volume.root_entries) {
                (0, false) => return Ok(volume),
                (0, true) => error = Some(FatError::TopEntries { entries, most: volume.root_entries }),
                _ => error = Some(FatError::TooLarge { excess }),
            }
        }
        Err(error.unwrap_or(FatError::Names))
    }
}

fn names(tree: &Tree, dir: usize) -> Result<Vec<Named>, FatError> {
    let entries: Vec<_> = tree
        .entries(dir)
        .iter()
        .filter_map(|&n| Some((n, tree.nodes.get(n)?)))
        .filter(|(_, node)| !matches!(node.content, Content::Symlink(_)))
        .collect();
    let short = ShortNames::fat().assign(entries.iter().map(|(_, node)| (node.name.as_bytes(), node.is_dir())));
    let short = short.ok_or(FatError::Names)?;
    let plain =
        |short: ShortName| Entry { short, attributes: 0, case: 0, time: 0, date: 0, cluster: 0, size: 0 }.name();
    // Names in use, in lower case: all short ones, which are unique. A long name that is in use already is left out.
    let mut used: HashSet<_> = short.iter().map(|(short, _)| plain(*short).to_lowercase()).collect();
    let named = entries.into_iter().zip(short).map(|((node, entry), (short, _))| {
        let long = long_name(&entry.name.to_string_lossy());
        let plain = plain(short);
        let lower = long.to_lowercase();
        // A long name may be the short one in lower case.
        let needed = long != plain && (lower == plain.to_lowercase() || used.insert(lower));
        Named { node, short, long: needed.then_some(long) }
    });
    Ok(named.collect())
}

/// A long name: characters that VFAT does not permit become underscores.
fn long_name(name: &str) -> String {
    let permitted = |c: char| if c < ' ' || "\"*/:<>?\\|\u{7f}".contains(c) { '_' } else { c };
    let mut text: String = name.chars().map(permitted).collect();
    if text.ends_with(['.', ' ']) {
        text.pop();
        text.push('_');
    }
    text
}

/// Fills a volume. `contents` has the content of each file, by node, of the size that the listing has.
pub fn build(tree: &Tree, names: &Names, volume: &Volume, label: &str, contents: &[Vec<u8>]) -> Vec<u8> {
    let modified = tree.nodes.first().map_or(0, |top| top.modified);
    let label = label_bytes(label);
    let mut writer = Writer { image: volume.format(modified as u32, &label), volume, next: 2 };
    // Clusters first, in the order of the listing: a directory refers to its entries' clusters and to its parent's.
    let mut clusters = vec![0; tree.nodes.len()];
    for (n, node) in tree.nodes.iter().enumerate().skip(1) {
        let len = match node.content {
            Content::Dir(_) => names.entries(n) as usize * ENTRY,
            Content::File(_) => contents.get(n).map_or(0, Vec::len),
            Content::Symlink(_) => 0,
        };
        if let Some(slot) = clusters.get_mut(n) {
            *slot = writer.allocate(len);
        }
    }
    let cluster = |n: usize| clusters.get(n).copied().unwrap_or(0) as u16;
    for (n, node) in tree.nodes.iter().enumerate() {
        let content = match node.content {
            Content::Dir(_) => directory(tree, names, n, &label, &cluster, contents),
            Content::File(_) => contents.get(n).cloned().unwrap_or_default(),
            Content::Symlink(_) => continue,
        };
        if n == 0 {
            writer.put(volume.root_start(), &content);
        } else {
            writer.fill(u32::from(cluster(n)), &content);
        }
    }
    writer.image
}

fn label_bytes(name: &str) -> [u8; 11] {
    let mut label = [b' '; 11];
    let permitted = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() as u8 } else { b'_' };
    label.iter_mut().zip(name.chars()).for_each(|(slot, c)| *slot = permitted(c));
    if name.is_empty() { *b"FLOPPY     " } else { label }
}

/// The bytes of a directory.
fn directory(
    tree: &Tree,
    names: &Names,
    dir: usize,
    label: &[u8; 11],
    cluster: &dyn Fn(usize) -> u16,
    contents: &[Vec<u8>],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let entry = |n: usize, short: ShortName| {
        let node = tree.nodes.get(n);
        let (time, date) = entry::stamp(node.map_or(0, |node| node.modified));
        let is_dir = node.is_some_and(|node| node.is_dir());
        let read_only = if node.is_some_and(|node| node.mode & 0o222 == 0) { entry::READ_ONLY } else { 0 };
        let attributes = if is_dir { entry::DIRECTORY } else { entry::ARCHIVE | read_only };
        // The root has no cluster: 0 stands for it.
        let size = if is_dir { 0 } else { contents.get(n).map_or(0, Vec::len) as u32 };
        Entry { short, attributes, case: 0, time, date, cluster: cluster(n), size }
    };
    match tree.nodes.get(dir) {
        Some(node) if dir > 0 => {
            bytes.extend_from_slice(&entry(dir, ShortName(*b".          ")).bytes());
            bytes.extend_from_slice(&entry(node.parent, ShortName(*b"..         ")).bytes());
        }
        _ => bytes.extend_from_slice(&Entry { attributes: entry::LABEL, ..entry(0, ShortName(*label)) }.bytes()),
    }
    for named in names.of(dir) {
        for part in named.long.iter().flat_map(|long| entry::long_entries(long, &named.short)) {
            bytes.extend_from_slice(&part);
        }
        bytes.extend_from_slice(&entry(named.node, named.short).bytes());
    }
    bytes
}

struct Writer<'a> {
    image: Vec<u8>,
    volume: &'a Volume,
    /// The next free cluster.
    next: u32,
}

impl Writer<'_> {
    /// A chain of consecutive clusters for `len` bytes: its first cluster, or 0 for no bytes.
    fn allocate(&mut self, len: usize) -> u32 {
        let count = len.div_ceil(self.volume.cluster_bytes()) as u32;
        let first = self.next;
        self.next += count;
        for cluster in first..self.next {
            let next = if cluster + 1 == self.next { 0xfff } else { cluster + 1 };
            self.volume.set_next(&mut self.image, cluster, next);
        }
        if count == 0 { 0 } else { first }
    }

    fn fill(&mut self, first: u32, content: &[u8]) {
        if let Some(at) = self.volume.cluster_start(first) {
            self.put(at, content);
        }
    }

    fn put(&mut self, at: usize, content: &[u8]) {
        if let Some(slot) = self.image.get_mut(at..at + content.len()) {
            slot.copy_from_slice(content);
        }
    }
}
