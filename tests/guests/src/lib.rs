//! Guests for pcvm's tests and benchmarks.
//!
//! Operating systems come from Debian packages, which are downloaded when a test first needs them and unpacked, not
//! installed. The results are cached in `tests/cache` under the hash of their inputs. Small bare-metal guests are
//! assembled with this crate ([`flat`]).

pub mod cache;
pub mod calls;
pub mod cd;
pub mod debian;
pub mod disk;
pub mod flat;
pub mod floppies;
pub mod floppy;
pub mod folder;
pub mod installer;
pub mod kernels;
pub mod media;
pub mod net;
pub mod options;
pub mod screen;
pub mod servers;
pub mod storage;
pub mod v86;
pub mod xorg;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A GRUB menu that waits for a digit on the keyboard, 1 for the first of `choices`. Each choice starts the kernel on
/// the same CD with the command line `always` and the choice. `linux16` runs the kernel's real-mode code, which queries
/// the BIOS.
fn grub_menu(choices: &[&str], always: &str) -> String {
    let entries = choices.iter().enumerate().map(|(n, options)| {
        format!(
            "menuentry 'Linux {options}' --hotkey={} {{
               linux16 /vmlinuz {always} {options}
               initrd16 /initrd.gz
             }}\n",
            n + 1
        )
    });
    format!("set timeout=-1\n{}", entries.collect::<String>())
}

/// Why a guest could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A program is not installed or failed.
    #[error("{program}: {reason}")]
    Program {
        /// Which.
        program: String,
        /// Exit status and the end of the program's messages.
        reason: String,
    },
    /// A package or an image does not have the expected contents.
    #[error("{0}")]
    Unexpected(String),
}

pub(crate) fn file_error(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
    let path = path.as_ref().to_owned();
    move |error| Error::File { path, error }
}

/// Runs a program to completion and returns its standard output.
pub(crate) fn run<I, S>(program: &str, args: I) -> Result<Vec<u8>, Error>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    run_command(Command::new(program).args(args))
}

pub(crate) fn run_command(command: &mut Command) -> Result<Vec<u8>, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |reason: String| Error::Program { program, reason };
    match command.output() {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => Err(failed(format!(
            "{}: {}",
            output.status,
            pcvm_test_host::tail(&String::from_utf8_lossy(&output.stderr))
        ))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Runs a bash script in a directory; it stops at the first command that fails.
pub(crate) fn shell(dir: &Path, script: &str) -> Result<Vec<u8>, Error> {
    // Debian has mke2fs and depmod in sbin, which is not in a user's PATH.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    run_command(Command::new("bash").current_dir(dir).env("PATH", path).args(["-euo", "pipefail", "-c", script]))
}
