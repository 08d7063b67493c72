//! What to change in the host directory so that it has what the guest has written.

use super::build::Names;
use super::read::{Item, Listing};
use crate::block::folder::{ShortName, Tree};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Bytes of a file name of the host.
const NAME_MAX: usize = 255;

/// A file or directory that is the same on the host and in the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its path below the directory. It comes from the host, or has been checked by [`plan`].
    pub host: PathBuf,
    /// The directory that it is in, by its place in the list; none for the top.
    pub parent: Option<usize>,
    /// Its short name.
    pub short: ShortName,
    /// Its long name, or the short one, in lower case: FAT does not distinguish case.
    pub key: String,
    /// The content that both have; none for a directory.
    pub content: Option<Vec<u8>>,
}

/// One change, in the order in which they are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Creates a directory.
    CreateDir {
        /// Its item.
        item: usize,
    },
    /// Writes a file with the item's content.
    Write {
        /// Its item.
        item: usize,
        /// What the host has there, unless the file is new.
        known: Option<usize>,
    },
    /// Removes a file that was in the volume and is gone.
    RemoveFile {
        /// What the host has there.
        known: usize,
    },
    /// Removes a directory that was in the volume and is gone, if it is empty.
    RemoveDir {
        /// What the host has there.
        known: usize,
    },
}

/// Changes, and the paths of the items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are made.
    pub changes: Vec<Change>,
    /// Of each item of the listing: its path below the directory, and what the host has there. None if it has a name that
    /// no file of the host may have.
    pub places: Vec<Option<(PathBuf, Option<usize>)>>,
    /// Names that no file of the host may have.
    pub refused: Vec<String>,
}

/// The list of what a new volume and its directory have in common.
pub fn known(tree: &Tree, names: &Names, contents: &mut [Vec<u8>]) -> Vec<Known> {
    let mut list: Vec<Known> = Vec::new();
    let mut places = HashMap::new();
    let mut all: Vec<_> = names.all().collect();
    // A directory comes before its entries in the listing.
    all.sort_by_key(|named| named.node);
    for named in all {
        let Some(node) = tree.nodes.get(named.node) else { continue };
        let item =
            super::entry::Entry { short: named.short, attributes: 0, case: 0, time: 0, date: 0, cluster: 0, size: 0 };
        places.insert(named.node, list.len());
        list.push(Known {
            host: tree.path(named.node),
            parent: places.get(&node.parent).copied(),
            short: named.short,
            key: named.long.clone().unwrap_or_else(|| item.name()).to_lowercase(),
            content: if node.is_dir() { None } else { contents.get_mut(named.node).map(std::mem::take) },
        });
    }
    list
}

/// Compares what the guest has written with what the host has. Nothing is removed if the volume is damaged: the missing
/// entries may be part of the damage.
pub fn plan(listing: &Listing, known: &[Known]) -> Plan {
    let mut plan = Plan::default();
    // By directory, kind and name. The outer none is an item with an unusable directory.
    let mut by_key = HashMap::new();
    let mut by_short = HashMap::new();
    for (n, entry) in known.iter().enumerate() {
        by_key.insert((entry.parent, entry.content.is_none(), entry.key.as_str()), n);
        by_short.insert((entry.parent, entry.content.is_none(), entry.short), n);
    }
    let mut matched = HashSet::new();
    let (mut paths, mut keys) = (HashSet::new(), HashSet::new());
    for (n, item) in listing.items.iter().enumerate() {
        let above = match item.parent {
            None => Some((PathBuf::new(), Some(None))),
            Some(parent) => plan.places.get(parent).cloned().flatten().map(|(path, known)| (path, known.map(Some))),
        };
        let Some((above, known_dir)) = above else {
            plan.places.push(None);
            continue;
        };
        // `known_dir` is none in a new directory, in which nothing is known.
        let found = known_dir.and_then(|dir| {
            let key = by_key.get(&(dir, item.is_dir(), item.name.to_lowercase().as_str())).copied();
            // A program that knows no long names may have written the file anew.
            key.or_else(|| by_short.get(&(dir, item.is_dir(), item.short)).copied().filter(|_| !item.has_long))
        });
        let found = found.filter(|found| matched.insert(*found));
        let path = match found.and_then(|found| known.get(found)) {
            Some(known) => known.host.clone(),
            None => above.join(&item.name),
        };
        // Two items of one name are possible in a hostile volume.
        let repeated = !keys.insert((item.parent, item.name.to_lowercase())) || !paths.insert(path.clone());
        if found.is_none() && !is_plain(&item.name) || repeated {
            plan.refused.push(item.name.chars().take(NAME_MAX).collect());
            plan.places.push(None);
            continue;
        }
        if let Some(change) = change(n, item, found, known) {
            plan.changes.push(change);
        }
        plan.places.push(Some((path, found)));
    }
    if listing.damage.is_none() {
        // Entries before their directories.
        for (n, entry) in known.iter().enumerate().rev().filter(|(n, _)| !matched.contains(n)) {
            plan.changes.push(match entry.content {
                Some(_) => Change::RemoveFile { known: n },
                None => Change::RemoveDir { known: n },
            });
        }
    }
    plan
}

fn change(n: usize, item: &Item, found: Option<usize>, known: &[Known]) -> Option<Change> {
    match (&item.content, found.and_then(|found| known.get(found))) {
        (None, Some(_)) => None,
        (None, None) => Some(Change::CreateDir { item: n }),
        (Some(content), Some(known)) if known.content.as_ref() == Some(content) => None,
        (Some(_), _) => Some(Change::Write { item: n, known: found }),
    }
}

/// Whether a name from the volume can be the name of a file in a directory of the host.
fn is_plain(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && !name.chars().any(|c| c == '/' || c.is_control())
        && name != "."
        && name != ".."
        && Path::new(name).file_name().is_some_and(|file| file == name)
}
