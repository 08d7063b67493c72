//! `pcvm demo`: runs the self-test.

use crate::config::CharSpec;
use crate::demo::{Demo, DemoError};
use clap::Args;
use std::path::PathBuf;

/// Exit status when a device failed its test.
pub const EXIT_FAILED: u8 = 1;
/// Exit status when the self-test could not run or did not finish.
pub const EXIT_NOT_RUN: u8 = 2;

/// The description in the help text and the man page.
pub(super) const LONG_ABOUT: &str = "\
Boots a disk that tests every device from inside the guest. Prints a line for each: PASS or FAIL, the time in \
milliseconds, and details.";

/// Options of `pcvm demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status:\n  0  every device passed\n  1  one or more devices failed\n  2  the self-test could not \
                  run, or did not finish",
    next_line_help = true
)]
pub struct DemoArgs {
    /// Firmware image to use instead of the built-in BIOS: a multiple of 64 KiB, up to 16 MiB
    #[arg(long, value_name = "FILE")]
    firmware: Option<PathBuf>,
}

impl DemoArgs {
    /// Runs the self-test. Returns the exit status.
    ///
    /// # Errors
    /// If the self-test could not run or did not finish.
    pub fn run(self) -> Result<u8, DemoError> {
        let report = Demo::new(self.firmware, CharSpec::Stdio)?.run()?;
        Ok(if report.failures() == 0 { 0 } else { EXIT_FAILED })
    }
}
