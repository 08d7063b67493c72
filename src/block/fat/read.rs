//! Reads a FAT12 volume that the guest has written. Every chain is followed at most once: a cluster that two chains contain
//! is damage. So the time and the memory are bounded by the size of the image.

use super::entry::{self, ENTRY, Entry, LongName};
use super::volume::Volume;
use crate::block::folder::{ShortName, Tree};

/// The most files and directories.
pub const ITEMS_MAX: usize = 4096;

/// A file or directory of the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The directory that it is in, by its place in the listing; none for the root.
    pub parent: Option<usize>,
    /// Its short name.
    pub short: ShortName,
    /// Its long name, or the short one as text. Any text: it may not be a name of the host.
    pub name: String,
    /// It has a long name.
    pub has_long: bool,
    /// Seconds since 1970 of the last modification, if the entry has a valid time.
    pub modified: Option<i64>,
    /// The content; none for a directory.
    pub content: Option<Vec<u8>>,
    depth: usize,
    cluster: u32,
}

impl Item {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.content.is_none()
    }
}

/// What a volume contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files and directories, each directory before its entries.
    pub items: Vec<Item>,
    /// What is damaged, if something is: the listing is then incomplete.
    pub damage: Option<String>,
}

/// Lists a volume; none if the image is not one of FAT12.
pub fn read(image: &[u8]) -> Option<Listing> {
    let volume = Volume::parse(image)?;
    let mut reader =
        Reader { image, volume, used: vec![false; volume.clusters() as usize + 2], listing: Listing::default() };
    let root = image.get(volume.root_start()..)?.get(..volume.root_entries as usize * ENTRY)?;
    reader.directory(root, None, 0);
    let mut next = 0;
    while let Some(item) = reader.listing.items.get(next) {
        if item.is_dir() {
            let (cluster, depth) = (item.cluster, item.depth);
            match reader.chain(cluster) {
                Some(bytes) if depth < Tree::DEPTH_MAX => reader.directory(&bytes, Some(next), depth + 1),
                Some(_) => reader.damaged("directories are nested too deeply"),
                None => reader.damaged("a directory's chain of clusters is damaged"),
            }
        }
        next += 1;
    }
    Some(reader.listing)
}

struct Reader<'a> {
    image: &'a [u8],
    volume: Volume,
    /// Clusters of the chains so far.
    used: Vec<bool>,
    listing: Listing,
}

impl Reader<'_> {
    fn damaged(&mut self, what: &str) {
        self.listing.damage.get_or_insert_with(|| what.to_owned());
    }

    /// The bytes of a chain, in whole clusters.
    fn chain(&mut self, first: u32) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut cluster = first;
        loop {
            let used = self.used.get_mut(cluster as usize)?;
            if std::mem::replace(used, true) {
                return None;
            }
            let start = self.volume.cluster_start(cluster)?;
            bytes.extend_from_slice(self.image.get(start..start + self.volume.cluster_bytes())?);
            match self.volume.next(self.image, cluster)? {
                0xff8..=0xfff => return Some(bytes),
                next => cluster = next,
            }
        }
    }

    fn directory(&mut self, bytes: &[u8], parent: Option<usize>, depth: usize) {
        let mut long = LongName::default();
        for bytes in bytes.as_chunks::<ENTRY>().0 {
            match bytes {
                [0, ..] => break,
                [0xe5, ..] => {
                    long = LongName::default();
                    continue;
                }
                _ if bytes[11] & 0x3f == entry::LONG => {
                    long.part(bytes);
                    continue;
                }
                _ => {}
            }
            let raw = ShortName(*bytes.first_chunk().unwrap_or(&[0; 11]));
            let entry = Entry::parse(bytes);
            let long = long.take(&raw);
            if entry.attributes & entry::LABEL != 0 || matches!(raw.base(), b"." | b"..") {
                continue;
            }
            if self.listing.items.len() == ITEMS_MAX {
                return self.damaged("it has too many files");
            }
            let is_dir = entry.attributes & entry::DIRECTORY != 0;
            let cluster = u32::from(entry.cluster);
            let has_long = long.is_some();
            let name = long.unwrap_or_else(|| entry.name());
            let content = if is_dir { None } else { Some(self.content(cluster, entry.size)) };
            let content = match content {
                Some(None) => {
                    let shown: String = name.chars().take(40).collect();
                    self.damaged(&format!("the chain of clusters of '{}' is damaged", shown.escape_debug()));
                    continue;
                }
                Some(content) => content,
                None => None,
            };
            let modified = entry::seconds(entry.time, entry.date);
            let short = entry.short;
            self.listing.items.push(Item { parent, short, name, has_long, modified, content, depth, cluster });
        }
    }

    fn content(&mut self, cluster: u32, size: u32) -> Option<Vec<u8>> {
        if cluster == 0 {
            return (size == 0).then(Vec::new);
        }
        let mut bytes = self.chain(cluster)?;
        // A chain may be longer than the file while the guest writes it.
        if (size as usize) > bytes.len() {
            return None;
        }
        bytes.truncate(size as usize);
        Some(bytes)
    }
}
