//! Which process holds the lock on an image, for error messages.
//!
//! fcntl(2) does not name the owner of an open file description lock. Of each process whose descriptors this user may see,
//! /proc/PID/fdinfo/FD lists the locks of a descriptor (proc_pid_fdinfo(5)).

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Descriptors to look at, over all processes: a bound on the time that an error message takes.
const MAX_DESCRIPTORS: usize = 100_000;

/// A process that has locked a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Its command's name, without control characters.
    pub command: String,
    /// It has a lock for writing.
    pub writes: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == std::process::id() {
            return f.write_str("this pcvm");
        }
        write!(f, "{} (process {})", self.command, self.pid)
    }
}

/// A process that holds a lock on the file, as `qemu-system-x86 (process 123)`; `None` if none is found.
pub fn holder(file: &File) -> Option<String> {
    find(file, true).first().map(ToString::to_string)
}

/// The processes that hold locks on the file.
pub fn holders(file: &File) -> Vec<Holder> {
    find(file, false)
}

fn find(file: &File, first: bool) -> Vec<Holder> {
    let mut found = Vec::new();
    let Ok(metadata) = file.metadata() else { return found };
    let this = (metadata.dev(), metadata.ino());
    let mut left = MAX_DESCRIPTORS;
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let mut locks = Vec::new();
        for descriptor in descriptors.flatten() {
            let Some(rest) = left.checked_sub(1) else { return found };
            left = rest;
            locks.extend(locks_of(&process.path(), &descriptor.path(), this));
        }
        if !locks.is_empty() {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let command = printable(command.trim_end());
            found.push(Holder { pid, command, writes: locks.iter().any(|lock| is_for_writing(lock)) });
            if first {
                break;
            }
        }
    }
    found
}

/// The locks of a descriptor, if it is of this file.
fn locks_of(process: &Path, descriptor: &Path, this: (u64, u64)) -> Vec<String> {
    // Follows the link, also to a file that has been renamed or removed.
    let Ok(metadata) = fs::metadata(descriptor) else { return Vec::new() };
    let Some(number) = descriptor.file_name().filter(|_| (metadata.dev(), metadata.ino()) == this) else {
        return Vec::new();
    };
    let info = fs::read_to_string(process.join("fdinfo").join(number)).unwrap_or_default();
    info.lines().filter(|line| line.starts_with("lock:")).map(str::to_owned).collect()
}

/// Whether a line such as `lock: 1: OFDLCK  ADVISORY  READ -1 08:02:1234 101 101` is of a process that writes: it has an
/// exclusive lock, or QEMU's lock byte for writing (byte 101).
fn is_for_writing(lock: &str) -> bool {
    let mut words = lock.split_whitespace().rev();
    let (end, start) = (words.next(), words.next());
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
    let covers = number(start).is_some_and(|start| start <= 101)
        && (end == Some("EOF") || number(end).is_some_and(|end| end >= 101));
    lock.contains(" WRITE ") || covers
}

/// A process chooses its own name: control characters do not reach the terminal.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_named_and_a_mere_reader_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = File::open(file.path()).unwrap();
        assert_eq!(holder(&other), None);
        super::super::sys::lock(file.as_file(), true).unwrap();
        assert_eq!(holder(&other).as_deref(), Some("this pcvm"));
        assert_eq!(printable("a\x1b[2Jb"), "a?[2Jb");
    }
}
