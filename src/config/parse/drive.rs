//! `--disk` and `--cdrom`, and the assignment of drives to IDE units.

use super::{OptionError, key_value, lossy, set_once, split_list};
use crate::config::{DriveConfig, Media};
use pcvm_devices::DiskId;
use std::collections::BTreeMap;
use std::ffi::OsStr;

/// Names of the IDE units by [`DiskId`]: primary master and slave, secondary master and slave.
pub const UNITS: [&str; 4] = ["hda", "hdb", "hdc", "hdd"];
/// The order in which hard disks and CD-ROM drives occupy free units. The first CD-ROM drive is hdc, as on QEMU and Xen.
const DISK_ORDER: [DiskId; 4] = [DiskId(0), DiskId(1), DiskId(2), DiskId(3)];
const CDROM_ORDER: [DiskId; 4] = [DiskId(2), DiskId(3), DiskId(0), DiskId(1)];
/// Length of the serial number in IDENTIFY words 10 to 19.
const SERIAL_MAX: usize = 20;
const KEYS: &str = "unit, readonly, serial";

/// One `--disk` or `--cdrom`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveOption {
    /// The drive.
    pub drive: DriveConfig,
    /// The IDE unit, if the option names one.
    pub unit: Option<DiskId>,
}

/// `FILE[,unit=hda|hdb|hdc|hdd][,readonly[=on|off]][,serial=TEXT]`
///
/// # Errors
/// If the file name is missing or a key or its value is invalid.
pub fn disk(value: &OsStr) -> Result<DriveOption, OptionError> {
    drive(value, Media::Disk)
}

/// `FILE|none[,unit=hda|hdb|hdc|hdd][,serial=TEXT]`; `none` is a drive without a disc.
///
/// # Errors
/// If the file name is missing or a key or its value is invalid.
pub fn cdrom(value: &OsStr) -> Result<DriveOption, OptionError> {
    drive(value, Media::Cdrom)
}

fn drive(value: &OsStr, media: Media) -> Result<DriveOption, OptionError> {
    let mut items = split_list(value).into_iter();
    let file = items.next().filter(|file| !file.is_empty()).ok_or(OptionError::NoFile)?;
    let (mut unit, mut read_only, mut serial) = (None, None, None);
    for item in items {
        let (key, value) = key_value(&item);
        match (key.as_str(), value) {
            ("unit", value) => set_once(&mut unit, "unit", disk_id(value.unwrap_or_default())?)?,
            ("readonly", value) => set_once(&mut read_only, "readonly", on_off("readonly", value)?)?,
            ("serial", value) => set_once(&mut serial, "serial", serial_number(value.unwrap_or_default())?)?,
            (_, Some(_)) => return Err(OptionError::UnknownKey { key, known: KEYS }),
            ("", None) => return Err(OptionError::EmptyKey { known: KEYS }),
            (_, None) => return Err(OptionError::UnknownDriveWord { word: lossy(&item), known: KEYS }),
        }
    }
    if media == Media::Cdrom && read_only == Some(false) {
        return Err(OptionError::WritableCdrom);
    }
    let path = if media == Media::Cdrom && file == "none" { None } else { Some(file.into()) };
    let read_only = media == Media::Cdrom || read_only.unwrap_or(false);
    Ok(DriveOption { drive: DriveConfig { media, path, read_only, serial }, unit })
}

fn disk_id(value: String) -> Result<DiskId, OptionError> {
    let known = (0..).zip(UNITS).find(|&(_, name)| name == value);
    known.map(|(id, _)| DiskId(id)).ok_or(OptionError::BadValue {
        key: "unit",
        value,
        expected: "hda, hdb, hdc or hdd",
    })
}

fn on_off(key: &'static str, value: Option<String>) -> Result<bool, OptionError> {
    match value.as_deref() {
        None | Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => Err(OptionError::BadValue { key, value: other.to_owned(), expected: "on or off" }),
    }
}

fn serial_number(value: String) -> Result<String, OptionError> {
    let printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if (1..=SERIAL_MAX).contains(&value.len()) && printable && !value.starts_with(' ') && !value.ends_with(' ') {
        Ok(value)
    } else {
        let expected = "1 to 20 printable ASCII characters without a space at either end";
        Err(OptionError::BadValue { key: "serial", value, expected })
    }
}

/// Assigns every drive to an IDE unit: first the drives that name one, then CD-ROM drives (hdc, hdd, hda, hdb), then hard
/// disks (hda to hdd), each in the order given.
///
/// # Errors
/// The index of the drive that cannot be assigned, and the reason.
pub fn assign_units(options: &[DriveOption]) -> Result<BTreeMap<DiskId, DriveConfig>, (usize, OptionError)> {
    let mut units = BTreeMap::new();
    for (index, option) in options.iter().enumerate() {
        let Some(unit) = option.unit else { continue };
        if units.insert(unit, option.drive.clone()).is_some() {
            let name = UNITS.get(usize::from(unit.0)).copied().unwrap_or_default();
            return Err((index, OptionError::UnitTaken(name)));
        }
    }
    for (media, order) in [(Media::Cdrom, CDROM_ORDER), (Media::Disk, DISK_ORDER)] {
        for (index, option) in options.iter().enumerate() {
            if option.unit.is_some() || option.drive.media != media {
                continue;
            }
            let Some(unit) = order.into_iter().find(|unit| !units.contains_key(unit)) else {
                return Err((index, OptionError::NoUnitLeft));
            };
            units.insert(unit, option.drive.clone());
        }
    }
    Ok(units)
}
