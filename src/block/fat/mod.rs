//! A floppy disk made from a directory (`--floppy dir:PATH`): a FAT12 volume in memory, written back on demand.
//!
//! The volume has 1.44 MB, or 2.88 MB if the files need it, long names (VFAT), and times in UTC. Without write-back the disk
//! is write-protected. With it, what the guest has changed goes to the directory at each flush and when the disk is closed:
//! the volume is read as if it were hostile, compared with what is known to be on the host, and only differences are written,
//! each file under another name and then renamed. Not written back: attributes, the label, a change of a name's case, and the
//! times of files whose content is unchanged. A damaged volume removes nothing from the host; neither does a file that
//! changed on the host meanwhile give way: the guest's content then goes to `NAME.guest`.

mod build;
mod entry;
mod plan;
mod read;
#[cfg(test)]
mod tests;
mod volume;

use super::folder::{Content, HostDir, Status, Tree, TreeError};
use super::sys::{Direction, IoVec};
use crate::error::host_error;
use plan::{Change, Known, Plan};
use read::Listing;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Files whose refused names one message lists.
const SHOWN: usize = 3;

/// The directory does not fit a floppy disk.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// The directory cannot be listed or a file not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The files are too large.
    #[error("the files exceed a floppy disk of 2.88 MB by {excess} bytes")]
    TooLarge {
        /// In whole clusters.
        excess: u64,
    },
    /// Too many files in the top directory.
    #[error(
        "the files need {entries} entries in the root directory, of which a floppy disk has {most} (a long name takes \
         several); move some into a subdirectory"
    )]
    TopEntries {
        /// Needed, with the label and those of long names.
        entries: u32,
        /// Entries that a floppy disk of 2.88 MB has.
        most: u32,
    },
    /// More entries of one directory with one beginning of their names than numbers of six digits.
    #[error("a directory has too many similar names")]
    Names,
}

/// A floppy disk made from a directory.
#[derive(Debug)]
pub struct FatDir {
    dir: HostDir,
    /// The directory's name in messages.
    shown: PathBuf,
    write_back: bool,
    size: u64,
    state: State,
}

#[derive(Debug)]
struct State {
    image: Vec<u8>,
    /// The guest has written since the last write-back.
    changed: bool,
    known: Vec<KnownOnHost>,
    /// The last warning about the volume: each is given once.
    warned: String,
}

/// What host and volume have in common, and the file's state when it was read or written.
#[derive(Debug)]
struct KnownOnHost {
    known: Known,
    status: Option<Status>,
}

impl FatDir {
    /// Makes the disk. With `write_back` the guest may write to it.
    ///
    /// # Errors
    /// If the directory cannot be read or does not fit.
    pub fn open(path: &Path, write_back: bool) -> Result<Self, FatError> {
        let failed = |why| TreeError::Host { path: path.to_owned(), why };
        let dir = HostDir::open(path).map_err(failed)?;
        let tree = Tree::list(&dir, path)?;
        let names = build::Names::new(&tree)?;
        let volume = names.volume(&tree)?;
        let mut contents = Vec::new();
        let mut statuses = Vec::new();
        for (n, node) in tree.nodes.iter().enumerate() {
            let at = tree.path(n);
            let mut content = Vec::new();
            if let Content::File(size) = node.content {
                let failed = |why| TreeError::Host { path: path.join(&at), why };
                // A file that has grown since it was listed is cut off.
                dir.open_file(&at).and_then(|file| file.take(size).read_to_end(&mut content)).map_err(failed)?;
            }
            if let Content::Symlink(_) = node.content {
                tracing::warn!("dir:{}: skips '{}': is a symbolic link", path.display(), at.display());
            }
            contents.push(content);
            statuses.push(if n == 0 { None } else { dir.status(&at).ok().flatten() });
        }
        let image = build::build(&tree, &names, &volume, &label(path), &contents);
        let mut by_path: std::collections::HashMap<_, _> =
            statuses.into_iter().enumerate().map(|(n, status)| (tree.path(n), status)).collect();
        let known = plan::known(&tree, &names, &mut contents).into_iter();
        let known = known.map(|known| KnownOnHost { status: by_path.remove(&known.host).flatten(), known }).collect();
        let size = image.len() as u64;
        let state = State { image, changed: false, known, warned: String::new() };
        Ok(Self { dir, shown: path.to_owned(), write_back, size, state })
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Locks the directory against other machines that write back to it.
    pub fn lock(&self) -> io::Result<()> {
        self.dir.lock(self.write_back)
    }

    /// Copies between the disk and memory. Never blocks.
    pub fn transfer(&mut self, iov: &mut IoVec<'_>, offset: u64, direction: Direction) -> io::Result<usize> {
        let state = &mut self.state;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(state.image.len());
        match direction {
            Direction::Read => Ok(iov.scatter(state.image.get(start..).unwrap_or_default())),
            Direction::Write if !self.write_back => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Direction::Write => {
                state.changed = true;
                Ok(iov.gather(state.image.get_mut(start..).unwrap_or_default()))
            }
        }
    }

    /// Writes the guest's changes to the directory, if there are some.
    ///
    /// # Errors
    /// If the host refuses. A volume that is damaged or whose names are unusable is not an error: a warning says so.
    pub fn write_back(&mut self) -> io::Result<()> {
        if !self.state.changed {
            return Ok(());
        }
        let result = self.write_changes();
        self.state.changed = result.is_err();
        result
    }

    fn write_changes(&mut self) -> io::Result<()> {
        let state = &mut self.state;
        let Some(listing) = read::read(&state.image) else {
            warn(&self.shown, &mut state.warned, "the guest's disk has no FAT12 file system".to_owned());
            return Ok(());
        };
        let known: Vec<_> = state.known.iter().map(|known| known.known.clone()).collect();
        let plan = plan::plan(&listing, &known);
        if let Some(damage) = &listing.damage {
            warn(&self.shown, &mut state.warned, format!("the guest's disk is not written back completely: {damage}"));
        } else if !plan.refused.is_empty() {
            let names: Vec<_> =
                plan.refused.iter().take(SHOWN).map(|name| format!("'{}'", name.escape_debug())).collect();
            let count = plan.refused.len();
            warn(
                &self.shown,
                &mut state.warned,
                format!("{count} names on the guest's disk cannot be written back: {}", names.join(", ")),
            );
        }
        let mut writer =
            WriteBack { dir: &self.dir, shown: &self.shown, listing: &listing, plan, touched: BTreeSet::new() };
        let mut result = writer.run(&mut state.known);
        let touched = std::mem::take(&mut writer.touched);
        for dir in &touched {
            match self.dir.sync_dir(dir) {
                // The directory was removed.
                Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                synced => result = result.and(synced),
            }
        }
        result
    }
}

/// Prints a warning unless the last one was the same.
fn warn(shown: &Path, last: &mut String, message: String) {
    if *last != message {
        tracing::warn!("dir:{}: {message}", shown.display());
        *last = message;
    }
}

impl Drop for FatDir {
    fn drop(&mut self) {
        if let Err(why) = self.write_back() {
            tracing::warn!("dir:{}: the guest's changes are lost: {}", self.shown.display(), host_error(&why));
        }
    }
}

/// The name of a directory, for a label.
pub fn label(path: &Path) -> String {
    let full = path.canonicalize();
    let name = full.as_deref().unwrap_or(path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Carries out a plan.
struct WriteBack<'a> {
    dir: &'a HostDir,
    shown: &'a Path,
    listing: &'a Listing,
    plan: Plan,
    /// Directories in which names have changed.
    touched: BTreeSet<PathBuf>,
}

impl WriteBack<'_> {
    /// Makes all changes, also after an error, and describes the state that they leave in `known`.
    fn run(&mut self, known: &mut Vec<KnownOnHost>) -> io::Result<()> {
        let mut result = Ok(());
        let (mut failed, mut removed) = (BTreeSet::new(), BTreeSet::new());
        for change in std::mem::take(&mut self.plan.changes) {
            let outcome = match change {
                Change::CreateDir { item } => self.create_dir(item),
                Change::Write { item, known: found } => self.write(item, found.and_then(|n| known.get_mut(n))),
                Change::RemoveFile { known: n } => known.get(n).map_or(Ok(()), |known| self.remove_file(known)),
                Change::RemoveDir { known: n } => {
                    known.get(n).map_or(Ok(()), |known| self.remove_dir(&known.known.host))
                }
            };
            match change {
                Change::CreateDir { item } | Change::Write { item, .. } if outcome.is_err() => failed.insert(item),
                Change::RemoveFile { known } | Change::RemoveDir { known } if outcome.is_ok() => removed.insert(known),
                _ => false,
            };
            // One file that cannot be written does not keep the others from it.
            result = result.and(outcome);
        }
        self.update(known, &failed, &removed);
        result
    }

    fn path(&self, item: usize) -> Option<PathBuf> {
        self.plan.places.get(item).cloned().flatten().map(|(path, _)| path)
    }

    fn touch(&mut self, path: &Path) {
        self.touched.insert(path.parent().unwrap_or(Path::new("")).to_owned());
    }

    fn create_dir(&mut self, item: usize) -> io::Result<()> {
        let Some(path) = self.path(item) else { return Ok(()) };
        self.touch(&path);
        self.dir.create_dir(&path).map_err(|why| self.failed(&path, why))
    }

    fn write(&mut self, item: usize, known: Option<&mut KnownOnHost>) -> io::Result<()> {
        let Some(mut path) = self.path(item) else { return Ok(()) };
        let Some((content, modified)) =
            self.listing.items.get(item).and_then(|i| Some((i.content.as_ref()?, i.modified)))
        else {
            return Ok(());
        };
        let status = self.dir.status(&path).map_err(|why| self.failed(&path, why))?;
        let expected = known.as_ref().and_then(|known| known.status);
        if status.is_some() && status != expected {
            let other = self.free_name(&path)?;
            tracing::warn!(
                "dir:{}: '{}' was changed on the host too: the guest's content goes to '{}'",
                self.shown.display(),
                path.display(),
                other.display()
            );
            path = other;
        }
        self.touch(&path);
        self.dir
            .replace_file(&path, content, status.map(|status| status.mode), modified)
            .map_err(|why| self.failed(&path, why))?;
        if let Some(Some((place, _))) = self.plan.places.get_mut(item) {
            place.clone_from(&path);
        }
        if let Some(known) = known {
            known.status = self.dir.status(&path).ok().flatten();
        }
        Ok(())
    }

    /// `NAME.guest`, or with a number if that is in use.
    fn free_name(&self, path: &Path) -> io::Result<PathBuf> {
        const TRIES: u32 = 100;
        for n in 0..TRIES {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(if n == 0 { ".guest".to_owned() } else { format!(".guest{n}") });
            let other = path.with_file_name(name);
            if self.dir.status(&other)?.is_none() {
                return Ok(other);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn remove_file(&mut self, known: &KnownOnHost) -> io::Result<()> {
        let path = &known.known.host;
        match self.dir.status(path).map_err(|why| self.failed(path, why))? {
            None => Ok(()),
            status if status == known.status => {
                self.touch(path);
                self.dir.remove_file(path).map_err(|why| self.failed(path, why))
            }
            Some(_) => {
                let shown = self.shown.display();
                tracing::warn!("dir:{shown}: the guest removed '{}', which changed on the host: kept", path.display());
                Ok(())
            }
        }
    }

    fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        self.touch(path);
        if let Err(why) = self.dir.remove_dir(path) {
            // Files that the volume does not have are in it.
            let why = host_error(&why);
            tracing::warn!("dir:{}: '{}' is kept: {why}", self.shown.display(), path.display());
        }
        Ok(())
    }

    fn failed(&self, path: &Path, why: io::Error) -> io::Error {
        tracing::warn!("dir:{}: cannot write back '{}': {}", self.shown.display(), path.display(), host_error(&why));
        why
    }

    /// The new list of what both have: the items of the listing but for those that could not be written, and what was in
    /// the old list and was not removed.
    fn update(&mut self, known: &mut Vec<KnownOnHost>, failed: &BTreeSet<usize>, removed: &BTreeSet<usize>) {
        let mut old: Vec<_> = std::mem::take(known).into_iter().map(Some).collect();
        let mut list = Vec::new();
        // The new place of each item, and of each entry of the old list.
        let (mut places, mut moved) = (Vec::new(), vec![None; old.len()]);
        for (n, item) in self.listing.items.iter().enumerate() {
            let parent = item.parent.map(|parent| places.get(parent).copied().flatten());
            let place = self.plan.places.get(n).cloned().flatten();
            let (Some((path, found)), false) = (place, parent == Some(None)) else {
                places.push(None);
                continue;
            };
            let before = found.and_then(|found| old.get_mut(found)).and_then(Option::take);
            let entry = match before {
                Some(before) if failed.contains(&n) => before,
                None if failed.contains(&n) => {
                    places.push(None);
                    continue;
                }
                before => {
                    let status = before.map_or_else(|| self.dir.status(&path).ok().flatten(), |before| before.status);
                    let (key, content) = (item.name.to_lowercase(), item.content.clone());
                    let known = Known { host: path, parent: parent.flatten(), short: item.short, key, content };
                    KnownOnHost { known, status }
                }
            };
            if let Some(slot) = found.and_then(|found| moved.get_mut(found)) {
                *slot = Some(list.len());
            }
            places.push(Some(list.len()));
            list.push(entry);
        }
        for (n, entry) in old.into_iter().enumerate() {
            let Some(mut entry) = entry.filter(|_| !removed.contains(&n)) else { continue };
            let parent = entry.known.parent.map(|parent| moved.get(parent).copied().flatten());
            if parent == Some(None) {
                continue;
            }
            entry.known.parent = parent.flatten();
            if let Some(slot) = moved.get_mut(n) {
                *slot = Some(list.len());
            }
            list.push(entry);
        }
        *known = list;
    }
}

/// Entry of the fuzz target: a volume whose bytes were changed is read, and the plan stays within the directory and is
/// bounded.
pub fn fuzz(bytes: &[u8]) {
    let mut tree = Tree::new(0);
    let mut contents = vec![Vec::new()];
    for (parent, name, len) in
        [(0, "a long directory name", None), (1, "inner", None), (0, "FILE.TXT", Some(700)), (2, "x", Some(9))]
    {
        let content = len.map_or(Content::Dir(Vec::new()), Content::File);
        tree.push(super::folder::Node { parent, name: name.into(), content, modified: 0, mode: 0 });
        contents.push(vec![b'x'; len.unwrap_or(0) as usize]);
    }
    let Ok(names) = build::Names::new(&tree) else { return };
    let volume = volume::Volume::MB_1_44;
    let mut image = build::build(&tree, &names, &volume, "fuzz", &contents);
    let known = plan::known(&tree, &names, &mut contents);
    // Three bytes place a value in the first 64 KiB, where all that is interpreted is.
    for patch in bytes.as_chunks::<3>().0 {
        if let Some(byte) = image.get_mut(usize::from(u16::from_le_bytes([patch[0], patch[1]]))) {
            *byte = patch[2];
        }
    }
    let Some(listing) = read::read(&image) else { return };
    assert!(listing.items.len() <= read::ITEMS_MAX);
    let total: usize = listing.items.iter().filter_map(|item| item.content.as_ref()).map(Vec::len).sum();
    assert!(total <= image.len(), "clusters were read twice");
    let plan = plan::plan(&listing, &known);
    for (path, _) in plan.places.iter().flatten() {
        assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{path:?}");
        assert!(!path.as_os_str().is_empty() && !path.is_absolute());
    }
    if listing.damage.is_some() {
        let removes = |change: &Change| matches!(change, Change::RemoveFile { .. } | Change::RemoveDir { .. });
        assert!(!plan.changes.iter().any(removes), "damage removes files");
    }
}
