//! `--disk` and `--cdrom`, and which IDE unit gets which drive.

use super::{OptionError, key_value, lossy, set_once, split_list};
use crate::config::{DriveConfig, Media};
use std::ffi::OsStr;

/// The units' names, in order: primary master and slave, secondary master and slave.
pub const UNITS: [&str; 4] = ["hda", "hdb", "hdc", "hdd"];
/// In which order units are taken by hard disks, and by CD-ROMs (the first is hdc, as for QEMU and Xen).
const DISK_ORDER: [usize; 4] = [0, 1, 2, 3];
const CDROM_ORDER: [usize; 4] = [2, 3, 0, 1];
/// IDENTIFY has room for this many characters (words 10 to 19).
const SERIAL_MAX: usize = 20;

/// One `--disk` or `--cdrom`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveOption {
    /// The drive.
    pub drive: DriveConfig,
    /// 0 to 3, where it was asked for.
    pub unit: Option<usize>,
}

/// `FILE[,unit=hda|hdb|hdc|hdd][,readonly[=on|off]][,serial=TEXT]`
pub fn disk(value: &OsStr) -> Result<DriveOption, OptionError> {
    drive(value, Media::Disk)
}

/// `FILE|none[,unit=hda|hdb|hdc|hdd][,serial=TEXT]`; `none` is a drive without a disc.
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
            ("unit", value) => set_once(&mut unit, "unit", unit_index(value.unwrap_or_default())?)?,
            ("readonly", value) => set_once(&mut read_only, "readonly", on_off("readonly", value)?)?,
            ("serial", value) => set_once(&mut serial, "serial", serial_number(value.unwrap_or_default())?)?,
            _ => return Err(OptionError::UnknownKey { key: lossy(&item), known: "unit, readonly, serial" }),
        }
    }
    if media == Media::Cdrom && read_only == Some(false) {
        return Err(OptionError::WritableCdrom);
    }
    let path = if media == Media::Cdrom && file == "none" { None } else { Some(file.into()) };
    let read_only = media == Media::Cdrom || read_only.unwrap_or(false);
    Ok(DriveOption { drive: DriveConfig { media, path, read_only, serial }, unit })
}

fn unit_index(value: String) -> Result<usize, OptionError> {
    let known = UNITS.iter().position(|&name| name == value);
    known.ok_or(OptionError::BadValue { key: "unit", value, expected: "hda, hdb, hdc or hdd" })
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
        Err(OptionError::BadValue { key: "serial", value, expected: "1 to 20 printable ASCII characters" })
    }
}

/// Gives every drive its unit: first those that ask for one, then CD-ROMs (hdc, hdd, hda, hdb), then hard disks (hda
/// to hdd), in the order given.
///
/// # Errors
/// The index of the drive that has no place, and why.
pub fn assign_units(options: &[DriveOption]) -> Result<[Option<DriveConfig>; 4], (usize, OptionError)> {
    let mut units: [Option<DriveConfig>; 4] = Default::default();
    for (index, option) in options.iter().enumerate() {
        let Some(unit) = option.unit else { continue };
        let Some(slot) = units.get_mut(unit) else { continue };
        if slot.is_some() {
            return Err((index, OptionError::UnitTaken(UNITS.get(unit).copied().unwrap_or_default())));
        }
        *slot = Some(option.drive.clone());
    }
    for (media, order) in [(Media::Cdrom, CDROM_ORDER), (Media::Disk, DISK_ORDER)] {
        for (index, option) in options.iter().enumerate() {
            if option.unit.is_some() || option.drive.media != media {
                continue;
            }
            let free = order.iter().copied().find(|&unit| units.get(unit).is_some_and(Option::is_none));
            let Some(slot) = free.and_then(|unit| units.get_mut(unit)) else {
                return Err((index, OptionError::NoUnitLeft));
            };
            *slot = Some(option.drive.clone());
        }
    }
    Ok(units)
}
