//! QMP commands for disk snapshots of the running machine: `x-disk-snapshot` and `x-disk-rollback`.
//!
//! Unlike QEMU's `blockdev-snapshot-sync` they act on all disks at one instant, and pcvm names the files.

use super::command::{CommandReply, Job};
use super::qmp::{Arguments, Failure};
use crate::machine::Handle;
use crate::machine::snapshots::SnapshotError;
use serde_json::json;
use std::path::PathBuf;

/// Names of the commands.
pub(super) const NAMES: [&str; 2] = ["x-disk-rollback", "x-disk-snapshot"];

/// Executes a command of [`NAMES`]. Both return the images' paths.
pub(super) fn run(name: &str, mut arguments: Arguments) -> Result<CommandReply, Failure> {
    let snapshot = Arguments::required("name", arguments.text("name")?)?;
    if name == "x-disk-snapshot" {
        let comment = arguments.text("comment")?;
        arguments.end()?;
        return Ok(job(move |handle| handle.take_disk_snapshot(&snapshot, comment)));
    }
    let keep = arguments.text("keep")?;
    arguments.end()?;
    Ok(job(move |handle| handle.roll_disks_back(&snapshot, keep.as_deref())))
}

/// An operation that can block.
fn job(work: impl FnOnce(&Handle) -> Result<Vec<PathBuf>, SnapshotError> + Send + 'static) -> CommandReply {
    let work = move |handle: &Handle| match work(handle) {
        Ok(images) => Ok(json!({ "images": images.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>() })),
        Err(error) => Err(Failure::generic(error.to_string())),
    };
    CommandReply::Thread(Job { name: "snapshot", work: Box::new(work) })
}
