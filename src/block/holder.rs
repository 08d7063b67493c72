//! Which process holds the lock on an image, for error messages.
//!
//! fcntl(2) does not name the owner of an open file description lock. Of each process whose descriptors this user may see,
//! /proc/PID/fdinfo/FD lists the locks of a descriptor (proc_pid_fdinfo(5)).

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Descriptors to look at, over all processes: a bound on the time that an error message takes.
const MAX_DESCRIPTORS: usize = 100_000;

/// A process that holds a lock on the file, as `qemu-system-x86 (process 123)`; `None` if none is found.
pub fn holder(file: &File) -> Option<String> {
    let metadata = file.metadata().ok()?;
    let this = (metadata.dev(), metadata.ino());
    let mut left = MAX_DESCRIPTORS;
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            left = left.checked_sub(1)?;
            if locks(&process.path(), &descriptor.path(), this) {
                let program = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                let program = printable(program.trim_end());
                if pid == std::process::id() {
                    return Some("this pcvm".to_owned());
                }
                return Some(format!("{program} (process {pid})"));
            }
        }
    }
    None
}

/// Whether a descriptor is of this file and holds a lock on it.
fn locks(process: &Path, descriptor: &Path, this: (u64, u64)) -> bool {
    // Follows the link, also to a file that has been renamed or removed.
    let Ok(metadata) = fs::metadata(descriptor) else { return false };
    let Some(number) = descriptor.file_name().filter(|_| (metadata.dev(), metadata.ino()) == this) else {
        return false;
    };
    let info = fs::read_to_string(process.join("fdinfo").join(number)).unwrap_or_default();
    info.lines().any(|line| line.starts_with("lock:"))
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
