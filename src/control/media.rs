//! QMP commands for drives and removable media (QEMU QMP reference, "Block device commands"): `query-block`, `eject`,
//! `blockdev-change-medium`, `blockdev-open-tray`, `blockdev-close-tray`, `blockdev-remove-medium`.
//!
//! A drive's `id` or `device` is its unit ("hdc", "fda") or QEMU's name ("ide1-cd0", "floppy0").

use super::command::{CommandReply, Job};
use super::qmp::{Arguments, Failure};
use crate::config::{CacheMode, DriveConfig, ImageFormat};
use crate::machine::Handle;
use crate::machine::media::{DriveInfo, MediaError, NewMedium};
use pcvm_devices::{BlockError, DiskId};
use serde_json::{Value, json};

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::NotFound(_) => Self::not_found(error.to_string()),
            _ => Self::generic(error.to_string()),
        }
    }
}

/// Names of the commands.
pub(super) const NAMES: [&str; 6] = [
    "blockdev-change-medium",
    "blockdev-close-tray",
    "blockdev-open-tray",
    "blockdev-remove-medium",
    "eject",
    "query-block",
];

/// Executes a command of [`NAMES`].
pub(super) fn run(name: &str, mut arguments: Arguments, handle: &Handle) -> Result<CommandReply, Failure> {
    let done = || Ok(CommandReply::Done(Ok(json!({}))));
    if name == "query-block" {
        arguments.end()?;
        return Ok(CommandReply::Done(Ok(handle.drives().iter().map(describe).collect())));
    }
    let disk = drive(&mut arguments, handle)?;
    let force = match name {
        "blockdev-close-tray" | "blockdev-remove-medium" => false,
        _ => arguments.boolean("force")?.unwrap_or(false),
    };
    match name {
        "blockdev-open-tray" => {
            arguments.end()?;
            match handle.open_tray(disk, force) {
                // As in QEMU: the guest was asked to eject the medium, and the event reports when it has done so.
                Ok(()) | Err(MediaError::Locked(_)) => done(),
                Err(error) => Err(error.into()),
            }
        }
        "blockdev-close-tray" => {
            arguments.end()?;
            handle.close_tray(disk);
            done()
        }
        "blockdev-remove-medium" => {
            arguments.end()?;
            Ok(job(move |handle| handle.remove_medium(disk)))
        }
        "eject" => {
            arguments.end()?;
            Ok(job(move |handle| handle.eject(disk, force)))
        }
        _ => {
            let new = new_medium(arguments)?;
            Ok(job(move |handle| handle.change_medium(disk, new, force)))
        }
    }
}

/// An operation that can block.
fn job(change: impl FnOnce(&Handle) -> Result<(), MediaError> + Send + 'static) -> CommandReply {
    let work = move |handle: &Handle| match change(handle) {
        Ok(()) => Ok(json!({})),
        Err(error) => Err(error.into()),
    };
    CommandReply::Thread(Job { name: "medium", work: Box::new(work) })
}

/// The drive that `id` or `device` names.
fn drive(arguments: &mut Arguments, handle: &Handle) -> Result<DiskId, Failure> {
    let name = match (arguments.text("id")?, arguments.text("device")?) {
        (Some(_), Some(_)) => return Err(Failure::generic("Parameters 'id' and 'device' exclude each other")),
        (id, device) => Arguments::required("id", id.or(device))?,
    };
    Ok(handle.removable_drive(&name)?)
}

/// The other arguments of `blockdev-change-medium`.
fn new_medium(mut arguments: Arguments) -> Result<NewMedium, Failure> {
    let path = Arguments::required("filename", arguments.text("filename")?)?;
    if path.is_empty() {
        return Err(Failure::generic("Parameter 'filename' must not be empty"));
    }
    let format = arguments.text("format")?.map(|name| {
        let unknown = || Failure::generic(format!("Parameter 'format' expects {}", ImageFormat::NAMES));
        ImageFormat::from_name(&name).ok_or_else(unknown)
    });
    let read_only = match arguments.text("read-only-mode")?.as_deref() {
        None | Some("retain") => None,
        Some("read-only") => Some(true),
        Some("read-write") => Some(false),
        Some(_) => {
            return Err(Failure::generic("Parameter 'read-only-mode' expects 'retain', 'read-only' or 'read-write'"));
        }
    };
    arguments.end()?;
    Ok(NewMedium { path: path.into(), format: format.transpose()?, read_only })
}

/// A drive as a `BlockInfo`.
fn describe(drive: &DriveInfo) -> Value {
    let io_status = match drive.error {
        None => "ok",
        Some(BlockError::NoSpace) => "nospace",
        Some(_) => "failed",
    };
    let mut info = json!({
        "device": drive.name,
        "qdev": drive.name,
        "type": "unknown",
        "removable": drive.removable(),
        "locked": drive.tray.is_some_and(|tray| tray.locked),
        "io-status": io_status,
    });
    if let Some(object) = info.as_object_mut() {
        if let Some(tray) = drive.tray {
            object.insert("tray_open".to_owned(), tray.open.into());
        }
        if let Some(inserted) = inserted(drive) {
            object.insert("inserted".to_owned(), inserted);
        }
    }
    info
}

/// A drive's medium as a `BlockDeviceInfo`.
fn inserted(drive: &DriveInfo) -> Option<Value> {
    let DriveConfig { path, format, cache, read_only, limits, .. } = &drive.config;
    let file = path.as_deref()?.to_string_lossy();
    let format = format.unwrap_or(ImageFormat::Raw).name();
    let rate = |rate: Option<crate::config::Rate>| rate.map_or(0, |rate| rate.per_second);
    Some(json!({
        "file": file,
        "node-name": drive.name,
        "ro": read_only,
        "drv": format,
        "backing_file_depth": 0,
        "encrypted": false,
        "detect_zeroes": "off",
        "bps": rate(limits.bytes), "bps_rd": 0, "bps_wr": 0,
        "iops": rate(limits.requests), "iops_rd": 0, "iops_wr": 0,
        "write_threshold": 0,
        "cache": {
            "writeback": *cache != CacheMode::Writethrough,
            "direct": *cache == CacheMode::None,
            "no-flush": *cache == CacheMode::Unsafe,
        },
        "image": { "filename": file, "format": format, "virtual-size": drive.size? },
    }))
}
