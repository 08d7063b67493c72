//! `pcvm cd` and `pcvm floppy`: change the media of a running machine.

use super::remote::RemoteError;
use crate::control::client::Client;
use crate::error::host_error;
use clap::Args;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The text after the options of `pcvm cd`.
pub const CD_AFTER_HELP: &str = "\
While the guest uses a disc it usually locks the tray. 'insert' and 'eject' then ask the guest to eject the disc, as the
button of a real drive does, and fail; try again after the guest has ejected it, or use --force, which takes the disc away
from the guest. A disc that the guest itself ejects lies on the open tray until you change it or the guest closes the tray.

Examples:
  pcvm cd xp insert disc2.iso
  pcvm cd xp eject";

/// `pcvm cd`.
#[derive(Debug, Args)]
pub struct CdArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Insert a disc in place of the one in the drive, or take the disc out and leave the tray open
    #[arg(value_parser = ["insert", "eject"], value_name = "insert|eject")]
    action: String,
    /// Image of the disc, as for --cdrom of 'pcvm run'
    #[arg(required_if_eq("action", "insert"))]
    file: Option<OsString>,
    /// The drive, if the machine has more than one
    #[arg(long, value_name = "UNIT", value_parser = ["hda", "hdb", "hdc", "hdd"])]
    unit: Option<String>,
    /// Open the tray even if the guest has locked it
    #[arg(long)]
    force: bool,
}

/// `pcvm floppy`.
#[derive(Debug, Args)]
pub struct FloppyArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Insert a floppy in place of the one in the drive, or take the floppy out
    #[arg(value_parser = ["insert", "eject"], value_name = "insert|eject")]
    action: String,
    /// Image of the floppy, as for --floppy of 'pcvm run'
    #[arg(required_if_eq("action", "insert"))]
    file: Option<OsString>,
    /// The drive
    #[arg(long, value_name = "UNIT", default_value = "fda", value_parser = ["fda", "fdb"])]
    unit: String,
    /// Insert it write-protected
    #[arg(long)]
    readonly: bool,
}

impl CdArgs {
    /// Changes the disc.
    ///
    /// # Errors
    /// If the machine is not running, has no such drive, cannot open the image, or the guest has locked the tray.
    pub fn run(self) -> Result<(), RemoteError> {
        let Self { name, action, file, unit, force } = self;
        check(&action, file.as_deref())?;
        let mut client = Client::connect(&name)?;
        let unit = match unit {
            Some(unit) => unit,
            None => only_cdrom(&client.execute("query-block", json!({}))?)?,
        };
        let mut arguments = json!({ "id": unit, "force": force });
        change(&mut client, &mut arguments, file.as_deref(), None)
    }
}

impl FloppyArgs {
    /// Changes the floppy.
    ///
    /// # Errors
    /// If the machine is not running, has no such drive or cannot open the image.
    pub fn run(self) -> Result<(), RemoteError> {
        let Self { name, action, file, unit, readonly } = self;
        check(&action, file.as_deref())?;
        if readonly && file.is_none() {
            return Err(RemoteError::Usage("--readonly: belongs to 'insert'".to_owned()));
        }
        let mut client = Client::connect(&name)?;
        let mode = if readonly { "read-only" } else { "retain" };
        change(&mut client, &mut json!({ "id": unit }), file.as_deref(), Some(mode))
    }
}

fn check(action: &str, file: Option<&OsStr>) -> Result<(), RemoteError> {
    match file {
        Some(file) if action == "eject" => {
            let file = file.to_string_lossy();
            Err(RemoteError::Usage(format!("{file}: 'eject' takes no file; write 'insert' to change the medium")))
        }
        _ => Ok(()),
    }
}

/// Inserts the file, or ejects the medium without one.
fn change(
    client: &mut Client,
    arguments: &mut Value,
    file: Option<&OsStr>,
    mode: Option<&str>,
) -> Result<(), RemoteError> {
    let command = match file {
        None => "eject",
        Some(file) => {
            arguments["filename"] = absolute(file)?.into();
            if let Some(mode) = mode {
                arguments["read-only-mode"] = mode.into();
            }
            "blockdev-change-medium"
        }
    };
    client.execute(command, arguments.take())?;
    Ok(())
}

/// The machine's only CD-ROM drive.
fn only_cdrom(drives: &Value) -> Result<String, RemoteError> {
    // A floppy drive has no tray.
    let drives = drives.as_array().into_iter().flatten();
    let trays = drives.filter(|drive| drive["removable"] == true && drive.get("tray_open").is_some());
    let units: Vec<_> = trays.filter_map(|drive| drive["device"].as_str()).collect();
    match units[..] {
        [unit] => Ok(unit.to_owned()),
        [] => Err(RemoteError::Usage(
            "the machine has no CD-ROM drive; start it with '--cdrom none' to have an empty one".to_owned(),
        )),
        _ => {
            Err(RemoteError::Usage(format!("the machine has several CD-ROM drives: add --unit {}", units.join(" or "))))
        }
    }
}

/// The name of an image for the machine's process, whose working directory may differ from ours. A URL stays as it is.
fn absolute(file: &OsStr) -> Result<String, RemoteError> {
    let usage = |what: &str| RemoteError::Usage(format!("{}: {what}", file.to_string_lossy()));
    let bytes = file.as_bytes();
    if bytes.is_empty() {
        return Err(RemoteError::Usage("the name of the image is empty".to_owned()));
    }
    if bytes.windows(3).any(|three| three == b"://") {
        return file.to_str().map(str::to_owned).ok_or_else(|| usage("the URL must be UTF-8"));
    }
    // The prefix of a directory that becomes a medium.
    let (prefix, path) = match bytes.strip_prefix(b"dir:") {
        Some(path) => ("dir:", Path::new(OsStr::from_bytes(path))),
        None => ("", Path::new(file)),
    };
    let path: PathBuf = std::path::absolute(path).map_err(|error| usage(&host_error(&error)))?;
    let path = path.to_str().ok_or_else(|| usage("the file name must be UTF-8"))?;
    Ok(format!("{prefix}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_names_are_resolved_in_the_clients_directory_and_urls_are_not() {
        let here = std::env::current_dir().unwrap();
        let here = here.to_str().unwrap();
        for (given, expected) in [
            ("two.iso", format!("{here}/two.iso")),
            ("/two.iso", "/two.iso".to_owned()),
            ("dir:folder", format!("dir:{here}/folder")),
            ("nbd://host/cd", "nbd://host/cd".to_owned()),
            ("nbd+unix:///cd?socket=s", "nbd+unix:///cd?socket=s".to_owned()),
        ] {
            assert_eq!(absolute(OsStr::new(given)).unwrap(), expected);
        }
        assert!(absolute(OsStr::new("")).is_err());
    }

    #[test]
    fn the_only_cd_rom_drive_needs_no_unit() {
        let drive = |device: &str, removable: bool, tray: bool| {
            let mut drive = json!({ "device": device, "removable": removable });
            if tray {
                drive["tray_open"] = false.into();
            }
            drive
        };
        let (disk, cd, floppy) = (drive("hda", false, false), drive("hdc", true, true), drive("fda", true, false));
        assert_eq!(only_cdrom(&json!([disk, floppy, cd])).unwrap(), "hdc");
        let none = only_cdrom(&json!([disk, floppy])).unwrap_err().to_string();
        assert!(none.contains("--cdrom none"), "{none}");
        let two = only_cdrom(&json!([cd, drive("hdd", true, true)])).unwrap_err().to_string();
        assert!(two.ends_with("--unit hdc or hdd"), "{two}");
    }
}
