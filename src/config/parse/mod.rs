//! Parsers for the values of command-line options. They open no file.
//!
//! Lists are separated by commas. A comma inside a value, such as a file name, is written twice, as in QEMU's options.

mod cpus;
mod drive;
mod floppy;
mod nbd;
mod net;
mod plain;
mod rtc;
mod size;
#[cfg(test)]
mod tests;

pub use cpus::{CpuTopology, cpus};
pub use drive::{DriveOption, assign_units, cdrom, disk, unit_name};
pub use floppy::{FloppyOption, assign_floppies, floppy, floppy_timing};
pub use nbd::network_target;
pub use net::net;
pub use plain::{boot_order, control, display, keymap, machine_name, serial_port, trace, vga, vnc, websocket};
pub use rtc::rtc;
pub use size::memory_size;

use crate::keys::Keymap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What is wrong with the value of an option, and what to write instead. The caller prefixes the option's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionError {
    /// A value whose form is not one of the valid ones.
    #[error("must be {expected}, not '{value}'")]
    NotOneOf {
        /// As given.
        value: String,
        /// The valid forms.
        expected: &'static str,
    },
    /// The same for the value of a key.
    #[error("{key} must be {expected}, not '{value}'")]
    BadValue {
        /// The key.
        key: &'static str,
        /// As given.
        value: String,
        /// The valid forms.
        expected: &'static str,
    },
    /// An empty boot order or name.
    #[error("must not be empty")]
    Empty,
    /// A file name is missing.
    #[error("no file name given")]
    NoFile,
    /// A key whose value is missing.
    #[error("{key} needs a value: write {key}={form}")]
    NoValue {
        /// The key.
        key: &'static str,
        /// A placeholder for the value, such as `FILE`.
        form: &'static str,
    },
    /// An empty item of the list, such as a comma at the end.
    #[error("nothing follows a comma (keys: {known})")]
    EmptyKey {
        /// The option's keys.
        known: &'static str,
    },
    /// An unknown key.
    #[error("unknown key '{key}' (keys: {known})")]
    UnknownKey {
        /// As given.
        key: String,
        /// The option's keys.
        known: &'static str,
    },
    /// The same without a value in the option of a drive: often the rest of a file name with a comma.
    #[error("unknown key '{word}' (keys: {known}); write a comma in a file name twice")]
    UnknownDriveWord {
        /// As given.
        word: String,
        /// The option's keys.
        known: &'static str,
    },
    /// A key that is given twice.
    #[error("'{0}' is given twice")]
    Twice(&'static str),
    /// Two keys of which only one may be given.
    #[error("'{0}' and '{1}' exclude each other")]
    Exclusive(&'static str, &'static str),
    /// A key that only one backend or adapter has.
    #[error("'{key}' is valid only with '{of}'")]
    OnlyWith {
        /// The key.
        key: &'static str,
        /// The backend.
        of: &'static str,
    },
    /// A key that has no meaning without another.
    #[error("'{key}' needs {other}")]
    Needs {
        /// The key.
        key: &'static str,
        /// What to give with it.
        other: &'static str,
    },
    /// A network disk's URI.
    #[error("{uri}: {why}")]
    Nbd {
        /// As given.
        uri: String,
        /// What is wrong with it.
        why: crate::config::nbd::NbdUriError,
    },
    /// A key of network disks for a file.
    #[error("'{0}' is for network disks (nbd://...)")]
    OnlyNetwork(&'static str),
    /// A key that a disk made from a directory does not have.
    #[error("'{0}' is not valid with 'dir:'")]
    NotFolder(&'static str),
    /// A key of files for a network disk.
    #[error("'{0}' is for images in files, not for network disks: let the server do it")]
    NotNetwork(&'static str),
    /// `none` with keys.
    #[error("'none' has no keys: remove '{0}'")]
    NoneHasKeys(String),
    /// A key after `cirrus`.
    #[error("'cirrus' has no keys, and 4M of video memory: remove '{0}'")]
    CirrusHasKeys(String),
    /// Less or more memory than a machine can have.
    #[error("must be 1M to 1T, not '{0}'")]
    MemoryRange(String),
    /// A size that is not a multiple of 1 MiB.
    #[error("must be a multiple of 1M, not '{0}'")]
    NotWholeMiB(String),
    /// A number of vCPUs, sockets, cores or threads that is out of range.
    #[error("{what} must be 1 to {max}, not '{value}'")]
    NotACount {
        /// What the number counts.
        what: &'static str,
        /// As given.
        value: String,
        /// The largest number that is allowed.
        max: u32,
    },
    /// sockets x cores x threads is not the number of vCPUs.
    #[error("sockets={sockets} x cores={cores} x threads={threads} is {product}, not {count} vCPUs")]
    Topology {
        /// vCPUs.
        count: u32,
        /// As given or inferred.
        sockets: u32,
        /// As given or inferred.
        cores: u32,
        /// As given or inferred.
        threads: u32,
        /// Their product.
        product: u32,
    },
    /// The product of the topology is too large.
    #[error("{count} vCPUs are too many: at most {max} are supported")]
    TooManyCpus {
        /// As given.
        count: u32,
        /// The largest number that is allowed.
        max: u32,
    },
    /// Two drives on one unit.
    #[error("IDE unit {0} already has a drive")]
    UnitTaken(&'static str),
    /// A fifth drive.
    #[error("all four IDE units (hda to hdd) already have a drive")]
    NoUnitLeft,
    /// Two drives on one floppy unit.
    #[error("floppy unit {0} already has a drive")]
    FloppyTaken(&'static str),
    /// A third floppy drive.
    #[error("both floppy units (fda and fdb) already have a drive")]
    NoFloppyLeft,
    /// `--floppy none` and another `--floppy`.
    #[error("'none' means no floppy drives: remove it or the other --floppy")]
    NoneAndOthers,
    /// An empty drive with a key that concerns its disk.
    #[error("an empty drive has only the keys 'unit' and 'drive': remove '{0}'")]
    EmptyHasNoKey(String),
    /// A CD-ROM drive with `readonly=off`.
    #[error("a CD-ROM is always read-only: remove 'readonly=off'")]
    WritableCdrom,
    /// A letter of the boot order that names no device.
    #[error("'{0}' is not a boot device: use a (floppy), c (hard disk), d (CD-ROM) or n (network)")]
    BootLetter(char),
    /// A letter of the boot order that is given twice.
    #[error("'{0}' is given twice")]
    BootTwice(char),
    /// A date that the RTC cannot represent.
    #[error("the year must be 1970 to 2099, not {0}")]
    Year(u32),
    /// A keyboard layout that is not known.
    #[error("unknown keyboard layout '{0}' (layouts: {list})", list = Keymap::names().collect::<Vec<_>>().join(", "))]
    Keymap(String),
    /// A machine name with invalid characters.
    #[error("must have at most 64 characters, without slashes and control characters")]
    BadName,
}

/// The error for a key that an option does not have.
fn unknown_key(key: String, known: &'static str) -> OptionError {
    if key.is_empty() { OptionError::EmptyKey { known } } else { OptionError::UnknownKey { key, known } }
}

/// The value of a key that must have one.
fn value_of(key: &'static str, form: &'static str, value: Option<String>) -> Result<String, OptionError> {
    value.filter(|value| !value.is_empty()).ok_or(OptionError::NoValue { key, form })
}

/// An argument as text for error messages.
fn lossy(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

/// Splits a list at single commas; two commas stand for one comma inside an item.
fn split_list(value: &OsStr) -> Vec<OsString> {
    let mut items = vec![Vec::new()];
    let mut bytes = value.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b',' && bytes.next_if_eq(&b',').is_none() {
            items.push(Vec::new());
        } else if let Some(item) = items.last_mut() {
            item.push(byte);
        }
    }
    items.into_iter().map(OsString::from_vec).collect()
}

/// Splits `key=value` or `key`.
fn key_value(item: &OsStr) -> (String, Option<String>) {
    let text = lossy(item);
    match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text, None),
    }
}

/// Sets `slot`, or fails if it is set already.
fn set_once<T>(slot: &mut Option<T>, key: &'static str, value: T) -> Result<(), OptionError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(OptionError::Twice(key)),
    }
}
