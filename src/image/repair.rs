//! `pcvm image check --repair`: rebuilds a qcow2 image's refcounts from its tables.
//!
//! The new refcount structures are written behind all clusters in use and reach stable storage before 12 bytes of the header
//! point to them: a crash leaves the old structures or the new ones. What the old ones occupied becomes free space.

use super::check::{CheckReport, Checker, check};
use super::{Format, ImageError, files, format};
use crate::block::qcow2::{Header, incompatible, set_refcount_in};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::str::FromStr;

/// What is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairMode {
    /// Leaked clusters of an image without corruption.
    Leaks,
    /// Leaked clusters, wrong refcounts and copied flags, and the dirty and corrupt bits.
    All,
}

impl FromStr for RepairMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "leaks" => Ok(Self::Leaks),
            "all" => Ok(Self::All),
            _ => Err(format!("unknown repair '{text}'; known are leaks and all")),
        }
    }
}

/// Checks an image that the user names, and repairs it if wanted. Gives the reports before and after; `None` for a format
/// without refcounts.
///
/// # Errors
/// Those of [`check`] and [`repair`], and if a machine writes to the image.
pub fn check_file(
    path: &Path,
    given: Option<Format>,
    mode: Option<RepairMode>,
) -> Result<Option<(CheckReport, CheckReport)>, ImageError> {
    let file = files::open_locked(path, false)?;
    if format::decide(path, &file, given)? != Format::Qcow2 {
        return Ok(None);
    }
    if let Some(mode) = mode {
        drop(file);
        return repair(path, mode).map(Some);
    }
    let header = Header::read(&file).map_err(|why| ImageError::refused(path, why))?;
    let report = check(&file, path, &header)?;
    Ok(Some((report.clone(), report)))
}

/// Repairs an image under an exclusive lock. Gives the reports before and after.
///
/// # Errors
/// If the image is in use, has damage that rebuilding the refcounts does not mend, or the host refuses.
pub fn repair(path: &Path, mode: RepairMode) -> Result<(CheckReport, CheckReport), ImageError> {
    let file = files::open_locked(path, true)?;
    let header = Header::read(&file).map_err(|why| ImageError::refused(path, why))?;
    let mut checker = Checker::new(&file, path, &header)?;
    checker.run()?;
    let before = checker.report().clone();
    let flags = header.incompatible & (incompatible::DIRTY | incompatible::CORRUPT);
    let corruptions = before.corruptions > 0;
    let (rebuild, flags) = match mode {
        RepairMode::Leaks if corruptions => {
            return Err(ImageError::refused(path, "is corrupt, not only leaking: give '--repair all'"));
        }
        RepairMode::Leaks => (before.leaks > 0, 0),
        RepairMode::All => (before.leaks > 0 || corruptions, flags),
    };
    if before.not_repairable > 0 {
        let why = format!(
            "{} of its errors are damaged entries, which cannot be repaired: copy what can be read with 'pcvm image convert'",
            before.not_repairable
        );
        return Err(ImageError::refused(path, why));
    }
    if !rebuild && flags == 0 {
        return Ok((before.clone(), before));
    }
    if rebuild {
        rebuild_refcounts(&file, path, &header, &mut checker)?;
    }
    if rebuild && mode == RepairMode::All {
        repair_flags(&file, path, &header)?;
    }
    if flags != 0 {
        let value = (header.incompatible & !flags).to_be_bytes();
        file.write_all_at(&value, 72).and_then(|()| file.sync_all()).map_err(ImageError::host(path))?;
    }
    let header = Header::read(&file).map_err(|why| ImageError::refused(path, why))?;
    let after = check(&file, path, &header)?;
    Ok((before, after))
}

fn rebuild_refcounts(file: &File, path: &Path, header: &Header, checker: &mut Checker<'_>) -> Result<(), ImageError> {
    let (cluster, per_block) = (header.cluster_size(), header.refcounts_per_block());
    checker.free_refcounts();
    let references = &mut checker.references;
    let length = file.metadata().map_err(ImageError::host(path))?.len();
    let start = references.end.max(length.div_ceil(cluster));
    // Blocks and table lie from `start` on and cover themselves; each turn of the loop adds at least one cluster.
    let used = |block: u64, references: &super::check::References| {
        (block * per_block..(block + 1) * per_block).any(|at| references.get(at) > 0)
    };
    let mut blocks: Vec<u64> = (0..references.end.div_ceil(per_block)).filter(|b| used(*b, references)).collect();
    let mut table_clusters = 1;
    loop {
        let end = start + blocks.len() as u64 + table_clusters;
        let last = end.div_ceil(per_block);
        let mut wanted = blocks.clone();
        wanted.extend((start / per_block..last).filter(|block| !blocks.contains(block)));
        let table = (last * 8).div_ceil(cluster);
        if wanted.len() == blocks.len() && table <= table_clusters {
            break;
        }
        blocks = wanted;
        table_clusters = table_clusters.max(table);
    }
    if table_clusters * cluster > 8 << 20 {
        return Err(ImageError::refused(path, "would need a refcount table of more than 8 MiB"));
    }
    for at in start..start + blocks.len() as u64 + table_clusters {
        references.set_one(at);
    }
    let mut table = vec![0; (table_clusters * cluster) as usize];
    let mut bytes = vec![0; cluster as usize];
    for (i, &block) in blocks.iter().enumerate() {
        bytes.fill(0);
        for at in 0..per_block {
            let count = references.get(block * per_block + at);
            if count > header.refcount_max() {
                let why = format!("a cluster has {count} references, more than its refcounts can hold");
                return Err(ImageError::refused(path, why));
            }
            set_refcount_in(&mut bytes, header.refcount_order, at, count);
        }
        let offset = (start + i as u64) * cluster;
        file.write_all_at(&bytes, offset).map_err(ImageError::host(path))?;
        let slot = block as usize * 8;
        table[slot..slot + 8].copy_from_slice(&offset.to_be_bytes());
    }
    let table_offset = (start + blocks.len() as u64) * cluster;
    file.write_all_at(&table, table_offset).and_then(|()| file.sync_all()).map_err(ImageError::host(path))?;
    // qcow2.txt: refcount_table_offset at 48, refcount_table_clusters at 56.
    let mut pointer = [0; 12];
    pointer[..8].copy_from_slice(&table_offset.to_be_bytes());
    pointer[8..].copy_from_slice(&(table_clusters as u32).to_be_bytes());
    file.write_all_at(&pointer, 48).and_then(|()| file.sync_all()).map_err(ImageError::host(path))
}

/// Corrects the copied flags after the refcounts are right.
fn repair_flags(file: &File, path: &Path, header: &Header) -> Result<(), ImageError> {
    let mut header = header.clone();
    let fresh = Header::read(file).map_err(|why| ImageError::refused(path, why))?;
    header.refcount_table_offset = fresh.refcount_table_offset;
    header.refcount_table_clusters = fresh.refcount_table_clusters;
    // As many flags as are remembered at once; each turn corrects some.
    loop {
        let mut checker = Checker::new(file, path, &header)?;
        checker.run()?;
        if checker.copied.is_empty() {
            return Ok(());
        }
        for (place, value) in &checker.copied {
            file.write_all_at(&value.to_be_bytes(), *place).map_err(ImageError::host(path))?;
        }
        file.sync_all().map_err(ImageError::host(path))?;
    }
}
