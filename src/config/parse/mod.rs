//! The values of options, from text to plain data. Nothing here opens a file.
//!
//! Lists are separated by commas; a comma that belongs to a value (a file name, say) is written twice, as for QEMU.

mod cpus;
mod drive;
mod net;
mod plain;
mod rtc;
mod size;
#[cfg(test)]
mod tests;

pub use cpus::{CpuTopology, cpus};
pub use drive::{DriveOption, UNITS, assign_units, cdrom, disk};
pub use net::net;
pub use plain::{boot_order, control, display, machine_name, serial_port, vga, vnc, websocket};
pub use rtc::rtc;
pub use size::memory_size;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What is wrong with the value of an option. The flag itself is named by whoever knows it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionError {
    /// Not a size at all.
    #[error("'{0}' is not a size (a number of MiB, or a number with K, M, G or T)")]
    NotASize(String),
    /// A size that is no whole number of MiB.
    #[error("{0} is not a whole number of MiB")]
    NotWholeMiB(String),
    /// Less or more memory than a machine can have.
    #[error("{0} is not between 1M and 1T")]
    MemoryRange(String),
    /// Not a number of something.
    #[error("{what} '{value}' is not from 1 to {max}")]
    NotACount {
        /// Of what.
        what: &'static str,
        /// As given.
        value: String,
        /// The largest that is allowed.
        max: u32,
    },
    /// sockets x cores x threads is not the number of processors.
    #[error("{count} processors cannot be {sockets} sockets of {cores} cores of {threads} threads")]
    Topology {
        /// Processors.
        count: u32,
        /// As given or inferred.
        sockets: String,
        /// As given or inferred.
        cores: String,
        /// As given or inferred.
        threads: String,
    },
    /// The product of the topology is too large.
    #[error("at most {0} processors")]
    TooManyCpus(u32),
    /// A file name is missing.
    #[error("no file name given")]
    NoFile,
    /// An unknown `key=value` or `key`.
    #[error("unknown option '{key}' (known: {known})")]
    UnknownKey {
        /// As given.
        key: String,
        /// What there is.
        known: &'static str,
    },
    /// A key with the wrong value.
    #[error("{key} is '{value}', not {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// As given.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
    /// A key that is given twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// An option of a display adapter that is not there.
    #[error("without an adapter there is no {0}")]
    NoAdapter(String),
    /// Two drives on one unit.
    #[error("{0} has a drive already")]
    UnitTaken(&'static str),
    /// A fifth drive.
    #[error("no IDE unit is left for it: there are four, hda to hdd")]
    NoUnitLeft,
    /// A CD-ROM that is to be writable.
    #[error("a CD-ROM is always read-only")]
    WritableCdrom,
    /// A word that is none of the known ones.
    #[error("'{value}' is not {expected}")]
    NotOneOf {
        /// As given.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
    /// A letter of the boot order that is none.
    #[error("'{0}' is no boot device (a floppy, c disk, d CD-ROM, n network)")]
    BootLetter(char),
    /// A letter of the boot order that is there twice.
    #[error("'{0}' is there twice")]
    BootTwice(char),
    /// An empty boot order, name, …
    #[error("must not be empty")]
    Empty,
    /// Not a date.
    #[error("'{0}' is not utc, localtime or a date such as 2006-06-17T16:01:21")]
    NotADate(String),
    /// A date that the RTC cannot show.
    #[error("the year {0} is not between 1970 and 2099")]
    Year(u32),
    /// A name that is not fit to be one.
    #[error("a name has at most 64 characters, none of them a slash or a control character")]
    BadName,
}

/// Text for messages.
fn lossy(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

/// Splits at single commas; two commas are one comma of the value.
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

/// `key=value` or `key`, as text.
fn key_value(item: &OsStr) -> (String, Option<String>) {
    let text = lossy(item);
    match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text, None),
    }
}

/// Sets `slot` once.
fn set_once<T>(slot: &mut Option<T>, key: &'static str, value: T) -> Result<(), OptionError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(OptionError::Twice(key)),
    }
}
