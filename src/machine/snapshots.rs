//! Disk snapshots of a running machine: all of its disks at one instant.
//!
//! A snapshot does not stop the vCPUs. The media of all disks are locked together, which no request of the guest can pass;
//! under the locks the images are flushed, replaced by overlays and opened again, in milliseconds. What the guest has in its
//! own caches is not in the snapshot: it is what the disks would hold after a loss of power.
//!
//! A rollback changes the disks beneath the guest, which must not go on with what it remembers of them: the machine pauses,
//! requests in flight end without a medium, and the machine is reset.
//!
//! All of this can block, and runs on a thread of its own.

use super::Handle;
use crate::block::{Image, ImageError};
use crate::config::{DriveConfig, ImageFormat, Media, folder};
use crate::error::host_error;
use crate::image::snapshot::{self, Committed, Prepared, Request};
use crate::image::{self, Format};
use pcvm_devices::DiskId;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How long a rollback waits for the machine to pause.
const PAUSE_LIMIT: Duration = Duration::from_secs(30);

/// A snapshot or rollback of a running machine failed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No disk has a file that can be replaced.
    #[error("the machine has no disk that can have snapshots: they need a writable image file, without 'snapshot'")]
    NoDisk,
    /// An image or its snapshot index.
    #[error(transparent)]
    Snapshot(#[from] image::ImageError),
    /// An image that cannot be opened again.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An image that cannot be flushed.
    #[error("{}: {}", path.display(), host_error(why))]
    Flush {
        /// The image.
        path: PathBuf,
        /// The host's error.
        why: std::io::Error,
    },
    /// The disk had another size when the snapshot was taken.
    #[error("{}: the snapshot's disk has {then} bytes, this one {now}: end the machine first", path.display())]
    OtherSize {
        /// The image.
        path: PathBuf,
        /// Bytes in the snapshot.
        then: u64,
        /// Bytes now.
        now: u64,
    },
    /// The main loop does not pause the machine.
    #[error("the machine does not pause")]
    NotPaused,
}

/// A disk that takes part.
struct Disk {
    id: DiskId,
    config: DriveConfig,
    path: PathBuf,
    size: u64,
}

impl Disk {
    /// How the disk is opened once an overlay is at its path.
    fn with_overlay(&self) -> DriveConfig {
        DriveConfig { format: Some(ImageFormat::Qcow2), create_size: None, ..self.config.clone() }
    }
}

impl Handle {
    /// The disks whose images can be replaced by overlays.
    fn snapshot_disks(&self) -> Result<Vec<Disk>, SnapshotError> {
        let mut disks = Vec::new();
        for drive in self.drives() {
            let DriveConfig { media, read_only, snapshot, network, path, .. } = &drive.config;
            let Some(path) = path.clone().filter(|path| folder(path).is_none()) else { continue };
            if *media != Media::Disk || *read_only || *snapshot || network.is_some() {
                continue;
            }
            disks.push(Disk { id: drive.disk, path, size: drive.size.unwrap_or(0), config: drive.config });
        }
        if disks.is_empty() { Err(SnapshotError::NoDisk) } else { Ok(disks) }
    }

    /// Takes a snapshot of all disks at one instant. The guest keeps running.
    ///
    /// # Errors
    /// If a disk cannot have the snapshot; none has it then.
    pub fn take_disk_snapshot(&self, name: &str, comment: Option<String>) -> Result<Vec<PathBuf>, SnapshotError> {
        let shared = self.shared();
        let _changing = shared.drives.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let disks = self.snapshot_disks()?;
        let mut prepared = Vec::new();
        for disk in &disks {
            let format = disk.config.format.map(Format::from);
            let request =
                Request { name: name.to_owned(), comment: comment.clone(), format: format.or(Some(Format::Raw)) };
            prepared.push(snapshot::prepare(&disk.path, &request)?);
            // Most of what is not on the device yet goes there now, while the guest runs.
            let _ = File::open(&disk.path).and_then(|file| file.sync_data());
        }
        let ids: Vec<_> = disks.iter().map(|disk| disk.id).collect();
        let mut frozen = shared.engine.freeze(&ids);
        for (medium, disk) in frozen.media().zip(&disks) {
            if let Some(image) = medium {
                image.flush().map_err(|why| SnapshotError::Flush { path: disk.path.clone(), why })?;
            }
        }
        let committed = commit(prepared)?;
        let opened = frozen.media().zip(&disks).try_for_each(|(medium, disk)| reopen(medium, &disk.with_overlay()));
        if let Err(error) = opened {
            // None of the overlays has been written to.
            frozen.media().for_each(|medium| *medium = None);
            undo(committed)?;
            for (medium, disk) in frozen.media().zip(&disks) {
                reopen(medium, &disk.config)?;
            }
            return Err(error.into());
        }
        drop(frozen);
        self.finish(committed, &disks)
    }

    /// Puts all disks back to a snapshot and resets the machine. With `keep`, what they have now becomes a snapshot of that
    /// name.
    ///
    /// # Errors
    /// If a disk does not have the snapshot or cannot be put back; all are as before then, and the machine keeps running.
    pub fn roll_disks_back(&self, name: &str, keep: Option<&str>) -> Result<Vec<PathBuf>, SnapshotError> {
        let shared = self.shared();
        let _changing = shared.drives.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let disks = self.snapshot_disks()?;
        let keep = keep.map(|name| Request { name: name.to_owned(), comment: None, format: None });
        let mut prepared = Vec::new();
        for disk in &disks {
            let index = snapshot::list(&disk.path)?;
            let then = index.find(&disk.path, name)?.size;
            if then != disk.size {
                return Err(SnapshotError::OtherSize { path: disk.path.clone(), then, now: disk.size });
            }
            prepared.push(snapshot::prepare_rollback(&disk.path, name, keep.as_ref())?);
        }
        let was_paused = self.paused();
        self.pause(true);
        let limit = Instant::now() + PAUSE_LIMIT;
        while !self.paused() {
            if Instant::now() > limit {
                return Err(SnapshotError::NotPaused);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let result = self.replace_disks(prepared, &disks, keep.is_some());
        if result.is_ok() {
            self.reset();
        }
        if !was_paused {
            self.pause(false);
        }
        result
    }

    /// Replaces the media of a paused machine.
    fn replace_disks(
        &self,
        prepared: Vec<Prepared>,
        disks: &[Disk],
        keep: bool,
    ) -> Result<Vec<PathBuf>, SnapshotError> {
        let engine = &self.shared().engine;
        let back = |error: SnapshotError| {
            for disk in disks {
                engine.replace(disk.id, None);
                match Image::open(&disk.config) {
                    Ok(image) => drop(engine.replace(disk.id, Some(image))),
                    Err(error) => tracing::error!("the disk has no image any more: {error}"),
                }
            }
            error
        };
        for disk in disks {
            // The requests that follow end without a medium.
            let image = engine.replace(disk.id, None);
            if keep && let Some(mut image) = image {
                image.flush().map_err(|why| back(SnapshotError::Flush { path: disk.path.clone(), why }))?;
            }
        }
        engine.wait_idle();
        let committed = commit(prepared).map_err(|error| back(error.into()))?;
        for disk in disks {
            match Image::open(&disk.with_overlay()) {
                Ok(image) => drop(engine.replace(disk.id, Some(image))),
                Err(error) => {
                    disks.iter().for_each(|disk| drop(engine.replace(disk.id, None)));
                    undo(committed)?;
                    return Err(back(error.into()));
                }
            }
        }
        self.finish(committed, disks)
    }

    /// Writes the indexes and remembers the new formats. Gives the disks' paths.
    fn finish(&self, committed: Vec<Committed>, disks: &[Disk]) -> Result<Vec<PathBuf>, SnapshotError> {
        for disk in disks {
            self.shared().drives.set_format(disk.id, ImageFormat::Qcow2);
        }
        for done in committed {
            // In effect even so; the next start of a machine tries again.
            if let Err(error) = done.finish() {
                tracing::warn!("{error}");
            }
        }
        Ok(disks.iter().map(|disk| absolute(&disk.path)).collect())
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Opens an image in place of one, whose lock ends first.
fn reopen(medium: &mut Option<Image>, config: &DriveConfig) -> Result<(), ImageError> {
    *medium = None;
    *medium = Some(Image::open(config)?);
    Ok(())
}

/// Replaces all images by their overlays, or none.
fn commit(prepared: Vec<Prepared>) -> Result<Vec<Committed>, image::ImageError> {
    let mut committed = Vec::new();
    for each in prepared {
        match each.commit() {
            Ok(done) => committed.push(done),
            Err(error) => {
                undo(committed)?;
                return Err(error);
            }
        }
    }
    Ok(committed)
}

fn undo(committed: Vec<Committed>) -> Result<(), image::ImageError> {
    committed.into_iter().rev().try_for_each(Committed::undo)
}
