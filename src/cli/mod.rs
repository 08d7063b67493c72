//! The command line: flags to a [`MachineConfig`](crate::config::MachineConfig), errors to one line and a status.
//!
//! Exit status: 0 when the guest powered off, 1 when something failed, 2 for a mistake in the command line.

mod demo;
mod launch;
mod remote;
mod run;
#[cfg(test)]
mod tests;

pub use demo::DemoArgs;
pub use remote::{KeyArgs, LinkArgs, MouseArgs, RemoteError, ScreenArgs, ScreenshotArgs, TypeArgs, WaitArgs};
pub use run::{RunArgs, UsageError};

use crate::machine::RunError;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Something failed while the machine was built or run.
pub const EXIT_FAILURE: u8 = 1;
/// The command line makes no sense.
pub const EXIT_USAGE: u8 = 2;

/// A virtual machine monitor that is a whole classic PC.
#[derive(Debug, Parser)]
#[command(
    name = "pcvm",
    version,
    about = "A virtual machine that is a whole classic PC",
    long_about = "A virtual machine that is a whole classic PC: i440FX and PIIX3, IDE disks and CD-ROM, VGA, serial \
                  ports, PS/2 keyboard and mouse. Runs operating systems that know nothing of virtualisation, on \
                  Linux KVM.",
    after_help = "Exit status:\n  0  the guest powered off\n  1  something failed; one line on standard error says \
                  what\n  2  a mistake in the command line\n\n'pcvm run --help' has the options and examples.",
    disable_help_subcommand = true,
    subcommand_required = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a machine until its guest powers off
    Run(Box<RunArgs>),
    /// Boot a disk that tests each device of the machine
    Demo(DemoArgs),
    /// Write a picture of a running machine's screen into a file
    Screenshot(ScreenshotArgs),
    /// Print a running machine's screen
    Screen(ScreenArgs),
    /// Type a text on a running machine's keyboard
    Type(TypeArgs),
    /// Press keys of a running machine's keyboard, such as f8 or ctrl-alt-delete
    Key(KeyArgs),
    /// Move a running machine's mouse, and click
    Mouse(MouseArgs),
    /// Plug a running machine's network cable in, or pull it out
    Link(LinkArgs),
    /// Wait until a running machine's screen shows a text
    Wait(WaitArgs),
}

/// All of the command: parses, runs, tells errors on standard error in one line.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return report(&error),
    };
    start_trace();
    match cli.command {
        Command::Run(args) => match args.into_config() {
            Err(error) => fail(&error, EXIT_USAGE),
            Ok(config) => match launch::launch(config) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => match error.downcast_ref() {
                    // The one error of several lines: registers and code.
                    Some(RunError::Failed(report)) => fail_lines(report, EXIT_FAILURE),
                    _ => fail(&format_args!("{error:#}"), EXIT_FAILURE),
                },
            },
        },
        Command::Demo(args) => match args.run() {
            Ok(status) => ExitCode::from(status),
            Err(error) => fail(&error, demo::EXIT_NOT_RUN),
        },
        Command::Screenshot(args) => remote(args.run()),
        Command::Screen(args) => remote(args.run()),
        Command::Type(args) => remote(args.run()),
        Command::Key(args) => remote(args.run()),
        Command::Mouse(args) => remote(args.run()),
        Command::Link(args) => remote(args.run()),
        Command::Wait(args) => remote(args.run()),
    }
}

fn remote(result: Result<(), RemoteError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ RemoteError::Usage(_)) => fail(&error, EXIT_USAGE),
        Err(error) => fail(&error, EXIT_FAILURE),
    }
}

/// Diagnostics go to standard error: warnings, or what `PCVM_LOG` asks for (`PCVM_LOG=debug`,
/// `PCVM_LOG=pcvm_devices::ide=trace`).
fn start_trace() {
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).without_time();
    let result = match std::env::var("PCVM_LOG") {
        Ok(filter) => builder.with_env_filter(filter).try_init(),
        Err(_) => builder.with_max_level(tracing::Level::WARN).try_init(),
    };
    // It fails only where a test has set one already.
    drop(result);
}

/// Help and version as clap has them; everything else in one line.
fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that went away has seen enough.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => fail(&usage_line(error), EXIT_USAGE),
    }
}

/// clap's message without its usage text: the first paragraph in one line, and the tip if there is one.
fn usage_line(error: &clap::Error) -> String {
    if matches!(error.kind(), ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) {
        return "no command given; try 'pcvm --help'".to_owned();
    }
    let text = error.render().to_string();
    let words: Vec<&str> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    match text.lines().find_map(|line| line.trim().strip_prefix("tip: ")) {
        Some(tip) => format!("{line} ({tip})"),
        None if error.kind() == ErrorKind::InvalidSubcommand => format!("{line}; try 'pcvm --help'"),
        None => {
            // The usage that follows knows which command it is about.
            let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: pcvm "));
            let command = usage.and_then(|usage| usage.split_whitespace().next());
            let command = command.filter(|word| word.chars().all(|c| c.is_ascii_lowercase())).unwrap_or("run");
            format!("{line}; try 'pcvm {command} --help'")
        }
    }
}

/// `pcvm: what` on standard error, whatever characters a file name has put into it.
fn fail(what: &dyn std::fmt::Display, status: u8) -> ExitCode {
    // Nobody to tell is no reason to panic.
    let _ = writeln!(std::io::stderr(), "pcvm: {}", one_line(&what.to_string()));
    ExitCode::from(status)
}

fn fail_lines(report: &str, status: u8) -> ExitCode {
    let lines: Vec<String> = report.lines().map(one_line).collect();
    let _ = writeln!(std::io::stderr(), "pcvm: {}", lines.join("\n"));
    ExitCode::from(status)
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}
