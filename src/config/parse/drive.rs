//! `--disk` and `--cdrom`, and the assignment of drives to IDE units.

use super::nbd::NetworkKeys;
use super::size::bytes;
use super::{OptionError, key_value, lossy, set_once, split_list};
use crate::config::{CacheMode, DriveConfig, ErrorAction, ImageFormat, Limits, Media, Rate};
use pcvm_devices::DiskId;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Names of the IDE units by [`DiskId`]: primary master and slave, secondary master and slave.
const UNITS: [&str; 4] = ["hda", "hdb", "hdc", "hdd"];
/// The order in which hard disks and CD-ROM drives occupy free units. The first CD-ROM drive is hdc, as on QEMU and Xen.
const DISK_ORDER: [DiskId; 4] = [DiskId(0), DiskId(1), DiskId(2), DiskId(3)];
const CDROM_ORDER: [DiskId; 4] = [DiskId(2), DiskId(3), DiskId(0), DiskId(1)];
/// Length of the serial number in IDENTIFY words 10 to 19.
const SERIAL_MAX: usize = 20;
const DISK_KEYS: &str = "unit, format, cache, readonly, snapshot, serial, discard, size, iops, iops-burst, bps, bps-burst, limit-group, werror, rerror, backing-dir, reconnect, tls-ca";
const CDROM_KEYS: &str = "unit, readonly, serial, reconnect, tls-ca";
/// Length of a name of a group of drives.
const GROUP_MAX: usize = 64;
/// Bytes that an image can be created with: as many as LBA48 addresses.
const SIZE_MAX: u64 = 512 << 48;

/// One `--disk` or `--cdrom`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveOption {
    /// The drive.
    pub drive: DriveConfig,
    /// The IDE unit, if the option names one.
    pub unit: Option<DiskId>,
}

/// `FILE[,unit=hda|hdb|hdc|hdd][,format=FORMAT][,readonly[=on|off]][,serial=TEXT]...`: the keys in `DISK_KEYS`.
///
/// # Errors
/// If the file name is missing, a key or its value is invalid, or keys contradict each other.
pub fn disk(value: &OsStr) -> Result<DriveOption, OptionError> {
    let (file, items) = file_and_items(value)?;
    let mut keys = DiskKeys::default();
    let mut backing_dirs = Vec::new();
    for item in items {
        // A directory need not be UTF-8.
        match item.as_bytes().strip_prefix(b"backing-dir=").filter(|dir| !dir.is_empty()) {
            Some(dir) => backing_dirs.push(PathBuf::from(OsStr::from_bytes(dir))),
            None => keys.take(&item)?,
        }
    }
    let unit = keys.unit;
    let mut drive = keys.drive(file.into())?;
    if drive.network.is_some() && !backing_dirs.is_empty() {
        return Err(OptionError::NotNetwork("backing-dir"));
    }
    if !backing_dirs.is_empty() && drive.format == Some(ImageFormat::Raw) {
        return Err(OptionError::OnlyWith { key: "backing-dir", of: "format=qcow2 or format=vmdk" });
    }
    drive.backing_dirs = backing_dirs;
    Ok(DriveOption { drive, unit })
}

/// `FILE|none[,unit=hda|hdb|hdc|hdd][,serial=TEXT]`; `none` is a drive without a disc.
///
/// # Errors
/// If the file name is missing or a key or its value is invalid.
pub fn cdrom(value: &OsStr) -> Result<DriveOption, OptionError> {
    let (file, items) = file_and_items(value)?;
    let (mut unit, mut read_only, mut serial) = (None, None, None);
    let mut network = NetworkKeys::default();
    for item in items {
        let (key, value) = key_value(&item);
        if network.take(&key, value.as_deref().unwrap_or_default())? {
            continue;
        }
        match (key.as_str(), value) {
            ("unit", value) => set_once(&mut unit, "unit", disk_id(value.unwrap_or_default())?)?,
            ("readonly", value) => set_once(&mut read_only, "readonly", on_off("readonly", value)?)?,
            ("serial", value) => set_once(&mut serial, "serial", serial_number(value.unwrap_or_default())?)?,
            (_, value) => return Err(unknown_drive_key(&item, key, value, CDROM_KEYS)),
        }
    }
    if read_only == Some(false) {
        return Err(OptionError::WritableCdrom);
    }
    let network = network.target(&file)?;
    let path = if file == "none" { None } else { Some(file.into()) };
    Ok(DriveOption { drive: DriveConfig { serial, network, ..DriveConfig::new(Media::Cdrom, path) }, unit })
}

pub(super) fn file_and_items(value: &OsStr) -> Result<(OsString, impl Iterator<Item = OsString>), OptionError> {
    let mut items = split_list(value).into_iter();
    let file = items.next().filter(|file| !file.is_empty()).ok_or(OptionError::NoFile)?;
    Ok((file, items))
}

pub(super) fn unknown_drive_key(item: &OsStr, key: String, value: Option<String>, known: &'static str) -> OptionError {
    match value {
        Some(_) => OptionError::UnknownKey { key, known },
        None if key.is_empty() => OptionError::EmptyKey { known },
        None => OptionError::UnknownDriveWord { word: lossy(item), known },
    }
}

/// The keys of `--disk`.
#[derive(Default)]
pub(super) struct DiskKeys {
    unit: Option<DiskId>,
    format: Option<ImageFormat>,
    cache: Option<CacheMode>,
    read_only: Option<bool>,
    snapshot: Option<bool>,
    serial: Option<String>,
    discard: Option<bool>,
    size: Option<u64>,
    iops: Option<u64>,
    iops_burst: Option<u64>,
    bps: Option<u64>,
    bps_burst: Option<u64>,
    limit_group: Option<String>,
    write_error: Option<ErrorAction>,
    read_error: Option<ErrorAction>,
    network: NetworkKeys,
}

impl DiskKeys {
    pub(super) fn take(&mut self, item: &OsStr) -> Result<(), OptionError> {
        let (key, value) = key_value(item);
        let text = value.clone().unwrap_or_default();
        if self.network.take(&key, &text)? {
            return Ok(());
        }
        match key.as_str() {
            "unit" => set_once(&mut self.unit, "unit", disk_id(text)?),
            "format" => {
                set_once(&mut self.format, "format", named("format", text, ImageFormat::from_name, ImageFormat::NAMES)?)
            }
            "cache" => {
                const MODES: &str = "writeback, none, writethrough or unsafe";
                set_once(&mut self.cache, "cache", named("cache", text, CacheMode::from_name, MODES)?)
            }
            "readonly" => set_once(&mut self.read_only, "readonly", on_off("readonly", value)?),
            "snapshot" => set_once(&mut self.snapshot, "snapshot", on_off("snapshot", value)?),
            "serial" => set_once(&mut self.serial, "serial", serial_number(text)?),
            "discard" => set_once(&mut self.discard, "discard", on_off("discard", value)?),
            "size" => {
                const EXPECTED: &str = "a multiple of 512 bytes such as 10G or 720K, up to 128P";
                let valid = |bytes: &u64| (512..=SIZE_MAX).contains(bytes) && bytes.is_multiple_of(512);
                let Some(size) = bytes(&text).filter(valid) else {
                    return Err(OptionError::BadValue { key: "size", value: text, expected: EXPECTED });
                };
                set_once(&mut self.size, "size", size)
            }
            "iops" => set_once(&mut self.iops, "iops", count("iops", text)?),
            "iops-burst" => set_once(&mut self.iops_burst, "iops-burst", count("iops-burst", text)?),
            "bps" => set_once(&mut self.bps, "bps", byte_rate("bps", text)?),
            "bps-burst" => set_once(&mut self.bps_burst, "bps-burst", byte_rate("bps-burst", text)?),
            "limit-group" => {
                if text.is_empty() || text.len() > GROUP_MAX {
                    let expected = "a name of 1 to 64 bytes";
                    return Err(OptionError::BadValue { key: "limit-group", value: text, expected });
                }
                set_once(&mut self.limit_group, "limit-group", text)
            }
            "werror" => set_once(&mut self.write_error, "werror", error_action("werror", text)?),
            "rerror" => set_once(&mut self.read_error, "rerror", error_action("rerror", text)?),
            "backing-dir" => Err(OptionError::NoValue { key: "backing-dir", form: "DIRECTORY" }),
            _ => Err(unknown_drive_key(item, key, value, DISK_KEYS)),
        }
    }

    /// Adapts the keys to a disk made from a directory, which is read-only unless they say otherwise.
    ///
    /// # Errors
    /// If there is a key that only an image has.
    pub(super) fn for_folder(&mut self) -> Result<(), OptionError> {
        let of_images = [
            ("format", self.format.is_some()),
            ("cache", self.cache.is_some()),
            ("snapshot", self.snapshot.is_some()),
            ("size", self.size.is_some()),
        ];
        if let Some((key, _)) = of_images.into_iter().find(|(_, given)| *given) {
            return Err(OptionError::NotFolder(key));
        }
        self.read_only.get_or_insert(true);
        Ok(())
    }

    /// The drive that the keys describe.
    pub(super) fn drive(self, path: PathBuf) -> Result<DriveConfig, OptionError> {
        let network = self.network.target(path.as_os_str())?;
        let formatted = self.format.is_some_and(|format| format != ImageFormat::Raw);
        let of_files =
            [("format", formatted), ("snapshot", self.snapshot == Some(true)), ("size", self.size.is_some())];
        if let Some((key, _)) = of_files.into_iter().find(|(_, given)| network.is_some() && *given) {
            return Err(OptionError::NotNetwork(key));
        }
        let defaults = DriveConfig::new(Media::Disk, Some(path));
        let snapshot = self.snapshot.unwrap_or(false);
        if self.read_only == Some(true) && snapshot {
            return Err(OptionError::Exclusive("readonly", "snapshot"));
        }
        // The overlay of a snapshot is never flushed, and its base only read.
        if snapshot && matches!(self.cache, Some(CacheMode::None | CacheMode::Writethrough)) {
            return Err(OptionError::Exclusive("snapshot", "cache"));
        }
        if self.read_only == Some(true) && self.size.is_some() {
            return Err(OptionError::Exclusive("readonly", "size"));
        }
        if self.format == Some(ImageFormat::Vmdk) && self.size.is_some() {
            return Err(OptionError::BadValue {
                key: "format",
                value: "vmdk".to_owned(),
                expected: "raw or qcow2 where 'size' is given",
            });
        }
        let limits = Limits {
            requests: rate(("iops", self.iops), ("iops-burst", self.iops_burst))?,
            bytes: rate(("bps", self.bps), ("bps-burst", self.bps_burst))?,
        };
        if self.limit_group.is_some() && limits == Limits::default() {
            return Err(OptionError::Needs { key: "limit-group", other: "iops or bps" });
        }
        Ok(DriveConfig {
            read_only: self.read_only.unwrap_or(false),
            serial: self.serial,
            format: self.format,
            cache: self.cache.unwrap_or_default(),
            snapshot,
            discard: self.discard.unwrap_or(defaults.discard),
            write_error: self.write_error.unwrap_or(defaults.write_error),
            read_error: self.read_error.unwrap_or(defaults.read_error),
            limits,
            limit_group: self.limit_group,
            create_size: self.size,
            network,
            ..defaults
        })
    }
}

/// The value with this name.
fn named<T>(
    key: &'static str,
    value: String,
    from_name: fn(&str) -> Option<T>,
    expected: &'static str,
) -> Result<T, OptionError> {
    from_name(&value).ok_or(OptionError::BadValue { key, value, expected })
}

fn count(key: &'static str, value: String) -> Result<u64, OptionError> {
    const EXPECTED: &str = "a number of requests per second, 1 to 1000000000";
    let number = value.parse().ok().filter(|number| (1..=1_000_000_000).contains(number));
    number.ok_or(OptionError::BadValue { key, value, expected: EXPECTED })
}

fn byte_rate(key: &'static str, value: String) -> Result<u64, OptionError> {
    const EXPECTED: &str = "bytes per second from 512 to 1T, such as 1048576, 512K or 20M";
    let number = value.parse().ok().or_else(|| bytes(&value));
    let number = number.filter(|number| (512..=1 << 40).contains(number));
    number.ok_or(OptionError::BadValue { key, value, expected: EXPECTED })
}

/// A rate, whose burst is one second's worth unless it is given.
fn rate(rate: (&'static str, Option<u64>), burst: (&'static str, Option<u64>)) -> Result<Option<Rate>, OptionError> {
    match (rate.1, burst.1) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(OptionError::Needs { key: burst.0, other: rate.0 }),
        (Some(per_second), burst) => Ok(Some(Rate { per_second, burst: burst.unwrap_or(per_second) })),
    }
}

fn error_action(key: &'static str, value: String) -> Result<ErrorAction, OptionError> {
    match value.as_str() {
        "report" => Ok(ErrorAction::Report),
        "stop" => Ok(ErrorAction::Stop),
        "enospc" if key == "werror" => Ok(ErrorAction::StopIfFull),
        "ignore" => Ok(ErrorAction::Ignore),
        _ => {
            let expected = if key == "werror" { "report, stop, enospc or ignore" } else { "report, stop or ignore" };
            Err(OptionError::BadValue { key, value, expected })
        }
    }
}

/// The name of a drive's unit: "hda" or "fdb".
pub fn unit_name(disk: DiskId) -> &'static str {
    let floppies = pcvm_devices::fdc::UNITS;
    UNITS.into_iter().chain(floppies).nth(disk.0.into()).unwrap_or("disk")
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
