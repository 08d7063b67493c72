//! Which process holds an image: /proc/PID/fdinfo shows the locks of each descriptor (proc(5)).

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process that has locked a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Its command's name.
    pub command: String,
    /// It has a lock for writing.
    pub writes: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// The processes that have locked the file, other than this one. Processes of other users are seen by root only.
pub fn holders(path: &Path) -> Vec<Holder> {
    let Ok(metadata) = fs::metadata(path) else { return Vec::new() };
    let wanted = (metadata.dev(), metadata.ino());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        let process = entry.path();
        let mut locked = None;
        for descriptor in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let same = fs::metadata(descriptor.path()).is_ok_and(|file| (file.dev(), file.ino()) == wanted);
            if !same {
                continue;
            }
            let info = fs::read_to_string(process.join("fdinfo").join(descriptor.file_name())).unwrap_or_default();
            for lock in info.lines().filter(|line| line.starts_with("lock:")) {
                locked = Some(locked.unwrap_or(false) | writes(lock));
            }
        }
        if let Some(writes) = locked {
            let command = fs::read_to_string(process.join("comm")).unwrap_or_default();
            found.push(Holder { pid, command: command.trim_end().to_owned(), writes });
        }
    }
    found
}

/// Whether a line such as `lock: 1: OFDLCK  ADVISORY  READ -1 08:02:1234 101 101` is of a process that writes: it has an
/// exclusive lock, or QEMU's lock byte for writing (byte 101).
fn writes(lock: &str) -> bool {
    let mut words = lock.split_whitespace().rev();
    let (end, start) = (words.next(), words.next());
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
    let covers = number(start).is_some_and(|start| start <= 101)
        && (end == Some("EOF") || number(end).is_some_and(|end| end >= 101));
    lock.contains(" WRITE ") || covers
}

/// The holders as text for an error message.
pub(super) fn describe(path: &Path) -> String {
    let holders = holders(path);
    match holders.as_slice() {
        [] => "another process".to_owned(),
        all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
