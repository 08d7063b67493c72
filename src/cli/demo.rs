//! `pcvm demo`.

use crate::config::CharSpec;
use crate::demo::{Demo, DemoError};
use clap::Args;
use std::path::PathBuf;

/// At least one device is not as it should be.
pub const EXIT_FAILED: u8 = 1;
/// The test could not be made.
pub const EXIT_NOT_RUN: u8 = 2;

/// Boot a disk that tests each device of the machine.
#[derive(Debug, Args)]
#[command(
    about = "Boot a disk that tests each device of the machine",
    long_about = "Boots a disk that tests each device as a guest sees it, and prints a line for each: PASS or FAIL, \
                  how many milliseconds it took, and what was seen.",
    after_help = "Exit status:\n  0  every device passed\n  1  one or more failed\n  2  the test could not be run, or \
                  did not come to its end",
    next_line_help = true
)]
pub struct DemoArgs {
    /// Firmware image instead of the built-in choice: a multiple of 64 KiB, up to 16 MiB
    #[arg(long, value_name = "FILE")]
    firmware: Option<PathBuf>,
}

impl DemoArgs {
    /// Runs it: the exit status.
    ///
    /// # Errors
    /// If it could not be run.
    pub fn run(self) -> Result<u8, DemoError> {
        let report = Demo::new(self.firmware, CharSpec::Stdio)?.run()?;
        Ok(if report.failures() == 0 { 0 } else { EXIT_FAILED })
    }
}
