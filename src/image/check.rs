//! `pcvm image check`: compares a qcow2 image's refcounts with its tables.
//!
//! Every table is read once, in pieces. The memory is that of the reference counts, at most [`MEMORY_MAX`]; the time is
//! bounded by the bytes that the file has.

use super::ImageError;
use crate::block::qcow2::{
    self, AUTOCLEAR_BITMAPS, COPIED, EntryKind, Header, Source, decode_l1, decode_l2, read_padded, read_table,
    refcount_in,
};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::Path;

/// Bytes of reference counts at most: enough for 16 TiB in clusters of 64 KiB.
const MEMORY_MAX: usize = 1 << 30;
/// Reference counts in a page.
const PAGE: u64 = 512;
/// Bytes of refcount blocks that are kept.
const BLOCKS_KEPT: usize = 64 << 20;
/// Messages that are kept.
const MESSAGES_MAX: usize = 100;
/// Bytes of a table that are read at once.
const PIECE: u64 = 64 << 10;

/// What a check found. The fields are those of `qemu-img check --output=json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckReport {
    /// Damaged entries, and refcounts that are too low: data may be lost.
    pub corruptions: u64,
    /// Clusters that are allocated and not used.
    pub leaks: u64,
    /// Clusters of the virtual disk that are in the file.
    pub allocated_clusters: u64,
    /// Clusters of the virtual disk.
    pub total_clusters: u64,
    /// Clusters that do not follow their predecessor in the file.
    pub fragmented_clusters: u64,
    /// Compressed clusters.
    pub compressed_clusters: u64,
    /// End of the last cluster in use.
    pub image_end_offset: u64,
    /// Corruptions that rebuilding the refcounts does not mend.
    pub not_repairable: u64,
    /// The first corruptions in words.
    pub messages: Vec<String>,
}

impl CheckReport {
    /// The exit status that `qemu-img check` has: 0 if all is well, 2 for corruption, 3 for leaks.
    pub fn exit_status(&self) -> u8 {
        match (self.corruptions, self.leaks) {
            (0, 0) => 0,
            (0, _) => 3,
            _ => 2,
        }
    }
}

/// How often each cluster is referenced.
#[derive(Default)]
pub(super) struct References {
    pages: HashMap<u64, Box<[u32; PAGE as usize]>>,
    /// One more than the last cluster referenced.
    pub end: u64,
}

impl References {
    /// References of a cluster.
    pub fn get(&self, cluster: u64) -> u64 {
        self.pages.get(&(cluster / PAGE)).map_or(0, |page| page[(cluster % PAGE) as usize].into())
    }

    /// Adds references; false if that takes too much memory.
    fn add(&mut self, cluster: u64, count: u32) -> bool {
        let full = self.pages.len() >= MEMORY_MAX / (PAGE as usize * 4);
        let index = cluster / PAGE;
        if full && !self.pages.contains_key(&index) {
            return false;
        }
        let page = self.pages.entry(index).or_insert_with(|| Box::new([0; PAGE as usize]));
        let slot = &mut page[(cluster % PAGE) as usize];
        *slot = slot.saturating_add(count);
        self.end = self.end.max(cluster + 1);
        true
    }

    /// Sets the references of a cluster to 0.
    pub fn clear(&mut self, cluster: u64) {
        if let Some(page) = self.pages.get_mut(&(cluster / PAGE)) {
            page[(cluster % PAGE) as usize] = 0;
        }
    }

    /// Sets the references of a cluster to 1.
    pub fn set_one(&mut self, cluster: u64) {
        self.clear(cluster);
        self.add(cluster, 1);
    }
}

/// An L2 table as the L1 tables have it.
#[derive(Default)]
struct L2Table {
    references: u32,
    /// Index in the active L1 table, and its copied flag.
    active: Option<(u64, bool)>,
}

pub(super) struct Checker<'a> {
    file: &'a File,
    path: &'a Path,
    header: &'a Header,
    clusters: u64,
    /// Bytes of tables that may still be read.
    budget: u64,
    refcount_table: Vec<u64>,
    blocks: HashMap<u64, Vec<u8>>,
    exclusive: HashSet<u64>,
    pub references: References,
    /// Entries of the active tables whose copied flag is wrong: place in the file and right value.
    pub copied: Vec<(u64, u64)>,
    report: CheckReport,
}

/// Checks an image that no other process writes to.
///
/// # Errors
/// If the host refuses a read, the image is encrypted or has an unknown feature, or the check takes too much memory.
pub fn check(file: &File, path: &Path, header: &Header) -> Result<CheckReport, ImageError> {
    let mut checker = Checker::new(file, path, header)?;
    checker.run()?;
    Ok(checker.report)
}

impl<'a> Checker<'a> {
    pub fn new(file: &'a File, path: &'a Path, header: &'a Header) -> Result<Self, ImageError> {
        let length = file.length().map_err(ImageError::host(path))?;
        // Tables do not overlap in a sound image, so all of them are no longer than the file. A hole is read quickly, but
        // not without a bound.
        let allocated = file.metadata().map_or(length, |metadata| {
            use std::os::unix::fs::MetadataExt;
            if metadata.is_file() { metadata.blocks() * 512 } else { length }
        });
        let budget = length.min(allocated.saturating_mul(64).saturating_add(64 << 20)).saturating_add(PIECE * 4);
        Ok(Self {
            file,
            path,
            header,
            clusters: length.div_ceil(header.cluster_size()),
            budget,
            refcount_table: Vec::new(),
            blocks: HashMap::new(),
            exclusive: HashSet::new(),
            references: References::default(),
            copied: Vec::new(),
            report: CheckReport::default(),
        })
    }

    pub fn report(&self) -> &CheckReport {
        &self.report
    }

    /// Forgets the references to the refcount table and its blocks, which a repair replaces.
    pub fn free_refcounts(&mut self) {
        let cluster = self.header.cluster_size();
        let table = self.header.refcount_table_offset / cluster;
        let table = table..table + u64::from(self.header.refcount_table_clusters);
        let blocks = self.refcount_table.iter().filter(|offset| **offset != 0).map(|offset| offset / cluster);
        for at in table.chain(blocks) {
            // Shared with something else, it was reported as an overlap, and is not repaired.
            self.references.clear(at);
        }
    }

    fn corrupt(&mut self, repairable: bool, text: impl FnOnce() -> String) {
        self.report.corruptions += 1;
        self.report.not_repairable += u64::from(!repairable);
        if self.report.messages.len() < MESSAGES_MAX {
            self.report.messages.push(text());
        }
    }

    fn spend(&mut self, bytes: u64) -> Result<(), ImageError> {
        match self.budget.checked_sub(bytes) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => Err(ImageError::refused(self.path, "its tables claim more bytes than the file has")),
        }
    }

    /// Counts a reference to the cluster at `offset`; false, and a corruption, if it is behind the end of the file.
    fn refer(&mut self, what: &str, offset: u64, count: u32) -> Result<bool, ImageError> {
        let cluster = offset / self.header.cluster_size();
        if cluster >= self.clusters {
            self.corrupt(false, || format!("{what} at {offset:#x} is behind the end of the file"));
            return Ok(false);
        }
        if self.exclusive.contains(&cluster) {
            // Also when the other is a refcount block: rebuilding would be safe, but its own content is lost.
            self.corrupt(false, || format!("{what} at {offset:#x} overlaps other metadata"));
        }
        if !self.references.add(cluster, count) {
            return Err(ImageError::refused(self.path, "has too many clusters to check in 1 GiB of memory"));
        }
        Ok(true)
    }

    /// Counts metadata that nothing else may overlap.
    fn refer_metadata(&mut self, what: &str, offset: u64, bytes: u64) -> Result<(), ImageError> {
        let cluster = self.header.cluster_size();
        for i in 0..(offset % cluster + bytes).div_ceil(cluster) {
            let at = offset - offset % cluster + i * cluster;
            if !self.refer(what, at, 1)? {
                break;
            }
            self.exclusive.insert(at / cluster);
        }
        Ok(())
    }

    /// The refcount that the image has for a cluster.
    fn refcount(&mut self, cluster: u64) -> Result<u64, ImageError> {
        let per_block = self.header.refcounts_per_block();
        let index = cluster / per_block;
        let offset = self.refcount_table.get(index as usize).copied().unwrap_or(0);
        if offset == 0 || offset / self.header.cluster_size() >= self.clusters {
            return Ok(0);
        }
        let size = self.header.cluster_size() as usize;
        if !self.blocks.contains_key(&index) {
            if (self.blocks.len() + 1) * size > BLOCKS_KEPT {
                self.blocks.clear();
            }
            let mut block = vec![0; size];
            read_padded(self.file, offset, &mut block).map_err(ImageError::host(self.path))?;
            self.blocks.insert(index, block);
        }
        let block = self.blocks.get(&index).map(Vec::as_slice).unwrap_or_default();
        Ok(refcount_in(block, self.header.refcount_order, cluster % per_block))
    }

    pub fn run(&mut self) -> Result<(), ImageError> {
        let (header, cluster) = (self.header, self.header.cluster_size());
        let unknown = header.incompatible & !qcow2::incompatible::KNOWN;
        if unknown != 0 {
            return Err(ImageError::refused(self.path, format!("needs unknown features (bits {unknown:#x})")));
        }
        self.report.total_clusters = header.size.div_ceil(cluster);
        self.refer_metadata("the header", 0, cluster)?;
        let entries = header.refcount_table_entries();
        self.spend(entries * 8)?;
        self.refcount_table =
            read_table(self.file, header.refcount_table_offset, entries).map_err(ImageError::host(self.path))?;
        if entries == 0 {
            self.corrupt(true, || "the refcount table is missing".to_owned());
        }
        self.refer_metadata("the refcount table", header.refcount_table_offset, entries * 8)?;
        self.refer_blocks()?;

        let mut tables = BTreeMap::new();
        self.refer_l1(header.l1_offset, header.l1_entries, true, &mut tables)?;
        let refused = |path: &Path| {
            let path = path.to_owned();
            move |why: qcow2::ListError| ImageError::refused(&path, why)
        };
        let (snapshots, end) = qcow2::internal_snapshots(self.file, header).map_err(refused(self.path))?;
        if header.snapshots > 0 {
            self.refer_metadata("the snapshot table", header.snapshots_offset, end - header.snapshots_offset)?;
        }
        for snapshot in &snapshots {
            self.refer_l1(snapshot.l1_offset, snapshot.l1_entries, false, &mut tables)?;
        }
        self.refer_bitmaps()?;
        if let Some((offset, length)) = header.encryption_header {
            self.spend(length)?;
            self.refer_metadata("the encryption header", offset, length)?;
        }
        for (offset, table) in tables {
            self.check_l2(offset, &table)?;
        }
        self.compare()?;
        self.report.image_end_offset = self.references.end * cluster;
        Ok(())
    }

    fn refer_blocks(&mut self) -> Result<(), ImageError> {
        let cluster = self.header.cluster_size();
        for index in 0..self.refcount_table.len() {
            let offset = self.refcount_table[index];
            if offset == 0 {
                continue;
            }
            let bad = if !offset.is_multiple_of(cluster) {
                "is not an offset of a cluster"
            } else if offset / cluster >= self.clusters {
                "is behind the end of the file"
            } else if self.exclusive.contains(&(offset / cluster)) {
                "overlaps other metadata"
            } else {
                self.refer_metadata("a refcount block", offset, cluster)?;
                continue;
            };
            self.corrupt(true, || format!("refcount table entry {index} ({offset:#x}) {bad}"));
            self.refcount_table[index] = 0;
        }
        Ok(())
    }

    fn refer_l1(
        &mut self,
        offset: u64,
        entries: u32,
        active: bool,
        tables: &mut BTreeMap<u64, L2Table>,
    ) -> Result<(), ImageError> {
        self.spend(u64::from(entries) * 8)?;
        self.refer_metadata("an L1 table", offset, u64::from(entries) * 8)?;
        let l1 = read_table(self.file, offset, entries.into()).map_err(ImageError::host(self.path))?;
        let mut own = HashSet::new();
        for (index, &value) in l1.iter().enumerate() {
            let table = match decode_l1(self.header, value) {
                Ok(None) => continue,
                Ok(Some(table)) => table,
                Err(why) => {
                    self.corrupt(false, || format!("L1 entry {index} ({value:#x}) {why}"));
                    continue;
                }
            };
            if !own.insert(table) {
                self.corrupt(false, || format!("L1 entry {index} ({value:#x}) has the L2 table of another entry"));
                continue;
            }
            if !self.refer("an L2 table", table, 1)? {
                continue;
            }
            let known = tables.entry(table).or_default();
            known.references = known.references.saturating_add(1);
            if active {
                known.active = Some((index as u64, value & COPIED != 0));
            }
        }
        Ok(())
    }

    fn check_l2(&mut self, offset: u64, table: &L2Table) -> Result<(), ImageError> {
        let (header, cluster) = (self.header, self.header.cluster_size());
        self.spend(cluster)?;
        if let Some((index, copied)) = table.active {
            let right = self.refcount(offset / cluster)? == 1;
            if right != copied {
                self.wrong_flag(header.l1_offset + index * 8, offset, right, || format!("L1 entry {index}"));
            }
        }
        let size = header.l2_entry_size();
        let mut previous = None;
        let mut piece = vec![0; PIECE.min(cluster) as usize];
        for start in (0..cluster).step_by(piece.len()) {
            read_padded(self.file, offset + start, &mut piece).map_err(ImageError::host(self.path))?;
            for (i, bytes) in piece.chunks_exact(size as usize).enumerate() {
                let word = |at: usize| {
                    bytes.get(at..at + 8).map_or(0, |b| b.iter().fold(0, |v, byte| v << 8 | u64::from(*byte)))
                };
                let (value, bitmap) = (word(0), word(8));
                if value == 0 && bitmap == 0 {
                    continue;
                }
                let place = offset + start + i as u64 * size;
                self.check_entry(place, value, bitmap, table, &mut previous)?;
            }
        }
        Ok(())
    }

    fn check_entry(
        &mut self,
        place: u64,
        value: u64,
        bitmap: u64,
        table: &L2Table,
        previous: &mut Option<u64>,
    ) -> Result<(), ImageError> {
        let (header, cluster) = (self.header, self.header.cluster_size());
        let entry = match decode_l2(header, value, bitmap) {
            Ok(entry) => entry,
            Err(why) => {
                self.corrupt(false, || format!("L2 entry at {place:#x} ({value:#x}) {why}"));
                return Ok(());
            }
        };
        let active = table.active.is_some();
        match entry.kind {
            EntryKind::Unallocated => {}
            EntryKind::Compressed { host, length } => {
                let first = host - host % cluster;
                for at in (first..host + length).step_by(cluster as usize) {
                    // Its last sectors may be behind the end of the file.
                    if at == first || at / cluster < self.clusters {
                        self.refer("a compressed cluster", at, table.references)?;
                    }
                }
                if active {
                    self.report.compressed_clusters += 1;
                    self.report.allocated_clusters += 1;
                    // As qemu-img counts: each is a fragment.
                    self.report.fragmented_clusters += 1;
                }
            }
            EntryKind::Standard { host } => {
                if active {
                    self.report.allocated_clusters += 1;
                    let next = previous.is_some_and(|previous| previous + cluster != host);
                    self.report.fragmented_clusters += u64::from(next);
                    *previous = Some(host);
                }
                let right = if header.external_data() {
                    true
                } else {
                    if !self.refer("a cluster", host, table.references)? {
                        return Ok(());
                    }
                    self.refcount(host / cluster)? == 1
                };
                if active && right != entry.copied {
                    self.wrong_flag(place, value & !COPIED, right, || format!("L2 entry at {place:#x}"));
                }
            }
        }
        Ok(())
    }

    /// A copied flag contradicts the refcount.
    fn wrong_flag(&mut self, place: u64, value: u64, right: bool, what: impl FnOnce() -> String) {
        let text = if right { "lacks" } else { "has" };
        self.corrupt(true, || format!("{} {text} the copied flag, against its refcount", what()));
        if self.copied.len() < 1 << 20 {
            self.copied.push((place, if right { value | COPIED } else { value }));
        }
    }

    fn refer_bitmaps(&mut self) -> Result<(), ImageError> {
        let (header, path) = (self.header, self.path);
        let Some(extension) = header.bitmaps else { return Ok(()) };
        if header.autoclear & AUTOCLEAR_BITMAPS == 0 {
            // Inconsistent bitmaps do not count: their clusters are leaks.
            return Ok(());
        }
        let bitmaps = qcow2::bitmaps(self.file, header).map_err(|why| ImageError::refused(path, why))?;
        self.refer_metadata("the bitmap directory", extension.directory_offset, extension.directory_size)?;
        for bitmap in bitmaps {
            let entries = u64::from(bitmap.table_entries);
            self.spend(entries * 8)?;
            self.refer_metadata("a bitmap table", bitmap.table_offset, entries * 8)?;
            let table = read_table(self.file, bitmap.table_offset, entries).map_err(ImageError::host(path))?;
            for entry in table {
                // Bit 0 without an offset: all ones.
                let offset = entry & 0x00ff_ffff_ffff_fe00;
                if offset != 0 {
                    self.refer_metadata("a bitmap's cluster", offset, header.cluster_size())?;
                }
            }
        }
        Ok(())
    }

    /// Compares the refcounts with the references.
    fn compare(&mut self) -> Result<(), ImageError> {
        let per_block = self.header.refcounts_per_block();
        let blocks = (self.refcount_table.len() as u64).max(self.references.end.div_ceil(per_block));
        let mut block = vec![0; self.header.cluster_size() as usize];
        for index in 0..blocks {
            let offset = self.refcount_table.get(index as usize).copied().unwrap_or(0);
            let first = index * per_block;
            if offset == 0 && first >= self.references.end {
                continue;
            }
            if offset == 0 {
                block.fill(0);
            } else {
                read_padded(self.file, offset, &mut block).map_err(ImageError::host(self.path))?;
            }
            for i in 0..per_block {
                let (has, needs) = (refcount_in(&block, self.header.refcount_order, i), self.references.get(first + i));
                if has < needs {
                    let cluster = first + i;
                    self.corrupt(true, || format!("cluster {cluster} has refcount {has}, but {needs} references"));
                } else if has > needs {
                    self.report.leaks += 1;
                }
            }
        }
        Ok(())
    }
}
