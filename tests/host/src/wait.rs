//! Waiting for conditions with a deadline, and child processes that are killed when their test ends.

use std::fmt::Display;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::tail;

/// How long the functions without a limit of their own wait: far longer than anything takes on a busy host.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Time between two checks.
const INTERVAL: Duration = Duration::from_millis(10);

/// Calls `check` until it returns `Ok`, and returns its value.
///
/// # Panics
/// After `limit`, with `what` and the last error.
#[track_caller]
pub fn wait_for<T, E: Display>(what: &str, limit: Duration, mut check: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match check() {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "waited {limit:?} in vain for {what}: {error}"),
        }
        thread::sleep(INTERVAL);
    }
}

/// Waits until `condition` is true.
///
/// # Panics
/// After [`TIME_LIMIT`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, TIME_LIMIT, || if condition() { Ok(()) } else { Err("the condition is still false") });
}

/// Waits until a file contains a text, and returns the file's contents without carriage returns.
///
/// # Panics
/// After `limit`, with the end of the file.
#[track_caller]
pub fn wait_for_text(file: &Path, text: &str, limit: Duration) -> String {
    let name = file.display();
    wait_for(&format!("{text:?} in {name}"), limit, || {
        let contents = String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).replace('\r', "");
        if contents.contains(text) { Ok(contents) } else { Err(tail(&contents)) }
    })
}

/// Waits until a Unix socket accepts a connection.
///
/// # Panics
/// After [`TIME_LIMIT`].
#[track_caller]
pub fn connect(socket: &Path) -> UnixStream {
    wait_for(&format!("a server at {}", socket.display()), TIME_LIMIT, || UnixStream::connect(socket))
}

/// A child process that is killed on drop.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts a program.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("cannot start {:?}: {error}", command.get_program())))
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asserts that a text contains all of `parts`.
///
/// # Panics
/// If one is missing, with the end of the text.
#[track_caller]
pub fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{}", tail(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_first_success() {
        let mut checks = 0;
        let value = wait_for("the third check", TIME_LIMIT, || {
            checks += 1;
            if checks == 3 { Ok(checks) } else { Err("too early") }
        });
        assert_eq!(value, 3);
    }

    #[test]
    #[should_panic(expected = "waited 20ms in vain for a file: absent")]
    fn waiting_in_vain_panics_with_the_last_error() {
        wait_for::<(), _>("a file", Duration::from_millis(20), || Err("absent"));
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = Process::start(Command::new("sleep").arg("1000"));
        let entry = format!("/proc/{}", process.id());
        assert!(Path::new(&entry).exists());
        drop(process);
        assert!(!Path::new(&entry).exists());
    }
}
