//! `--floppy` and `--floppy-timing`, and the assignment of floppy drives to A and B.

use super::drive::{DiskKeys, file_and_items, unknown_drive_key};
use super::{DriveOption, OptionError, key_value, set_once};
use crate::config::{DriveConfig, Media, folder};
use pcvm_devices::DiskId;
use pcvm_devices::fdc::{DriveType, FIRST_DISK, Timing, UNITS};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

const KEYS: &str = "unit, drive, format, cache, readonly, snapshot, size, werror, rerror";

/// One `--floppy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FloppyOption {
    /// `none`: the machine has no floppy drives.
    None,
    /// A drive.
    Drive(Box<DriveOption>),
}

/// `FILE|empty|none[,unit=fda|fdb][,drive=360|720|1.2|1.44|2.88][,readonly]...`: the keys in `KEYS`.
///
/// # Errors
/// If the file name is missing, a key or its value is invalid, or keys contradict each other.
pub fn floppy(value: &OsStr) -> Result<FloppyOption, OptionError> {
    let (file, items) = file_and_items(value)?;
    let (mut unit, mut kind) = (None, None);
    let mut keys = DiskKeys::default();
    for item in items {
        if file == "none" {
            return Err(OptionError::NoneHasKeys(super::lossy(&item)));
        }
        let (key, value) = key_value(&item);
        match key.as_str() {
            "unit" => set_once(&mut unit, "unit", disk_id(value.unwrap_or_default())?)?,
            "drive" => set_once(&mut kind, "drive", drive_type(value.unwrap_or_default())?)?,
            _ if file == "empty" => return Err(OptionError::EmptyHasNoKey(super::lossy(&item))),
            "format" | "cache" | "readonly" | "snapshot" | "size" | "werror" | "rerror" => keys.take(&item)?,
            _ => return Err(unknown_drive_key(&item, key, value, KEYS)),
        }
    }
    if folder(Path::new(&file)).is_some() {
        keys.for_folder()?;
    }
    let media = Media::Floppy(kind);
    let drive = match file.to_str() {
        Some("none") => return Ok(FloppyOption::None),
        Some("empty") => DriveConfig::new(media, None),
        _ => DriveConfig { media, ..keys.drive(file.into())? },
    };
    Ok(FloppyOption::Drive(Box::new(DriveOption { drive, unit })))
}

fn disk_id(value: String) -> Result<DiskId, OptionError> {
    let known = (FIRST_DISK..).zip(UNITS).find(|&(_, name)| name == value);
    known.map(|(id, _)| DiskId(id)).ok_or(OptionError::BadValue { key: "unit", value, expected: "fda or fdb" })
}

fn drive_type(value: String) -> Result<DriveType, OptionError> {
    let known = DriveType::NAMES.into_iter().find(|(name, _)| *name == value);
    known.map(|(_, kind)| kind).ok_or(OptionError::BadValue {
        key: "drive",
        value,
        expected: "360, 720, 1.2, 1.44 or 2.88",
    })
}

/// Assigns floppy drives to A and B: those that name a unit, then the others in order. Drive A always exists, empty if no
/// option is for it; with `none` there is no drive.
///
/// # Errors
/// The index of the option that cannot be assigned, and the reason.
pub fn assign_floppies(options: &[FloppyOption]) -> Result<BTreeMap<DiskId, DriveConfig>, (usize, OptionError)> {
    let mut units = BTreeMap::new();
    if let Some(none) = options.iter().position(|option| *option == FloppyOption::None) {
        return if options.len() == 1 { Ok(units) } else { Err((none, OptionError::NoneAndOthers)) };
    }
    let drives = || {
        options.iter().enumerate().filter_map(|(index, option)| match option {
            FloppyOption::Drive(drive) => Some((index, drive)),
            FloppyOption::None => None,
        })
    };
    for (index, option) in drives() {
        let Some(unit) = option.unit else { continue };
        if units.insert(unit, option.drive.clone()).is_some() {
            let name = UNITS.get(usize::from(unit.0 - FIRST_DISK)).copied().unwrap_or_default();
            return Err((index, OptionError::FloppyTaken(name)));
        }
    }
    for (index, option) in drives().filter(|(_, option)| option.unit.is_none()) {
        let free = (FIRST_DISK..FIRST_DISK + 2).map(DiskId).find(|unit| !units.contains_key(unit));
        let Some(unit) = free else { return Err((index, OptionError::NoFloppyLeft)) };
        units.insert(unit, option.drive.clone());
    }
    units.entry(DiskId(FIRST_DISK)).or_insert_with(|| DriveConfig::new(Media::Floppy(None), None));
    Ok(units)
}

/// `fast` or `real`.
///
/// # Errors
/// If it is something else.
pub fn floppy_timing(text: &str) -> Result<Timing, OptionError> {
    match text {
        "fast" => Ok(Timing::Fast),
        "real" => Ok(Timing::Real),
        _ => Err(OptionError::NotOneOf { value: text.to_owned(), expected: "fast or real" }),
    }
}
