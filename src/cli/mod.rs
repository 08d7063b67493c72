//! Command line: subcommands, options and usage errors. `pcvm run` turns its options into a
//! [`MachineConfig`](crate::config::MachineConfig).
//!
//! Every error is one line on standard error. Exit status: 0 when the guest powered off, 1 when something failed, 2 for a
//! usage error.

mod demo;
mod generate;
mod hints;
mod image;
mod launch;
mod media;
mod observe;
mod remote;
mod run;
#[cfg(test)]
mod tests;

pub use demo::DemoArgs;
pub use generate::GenerateError;
pub use image::ImageArgs;
pub use media::{CdArgs, FloppyArgs};
pub use observe::{StatsArgs, TraceArgs};
use remote::{
    KeyArgs, LinkArgs, MouseArgs, PauseArgs, RemoteError, RollbackArgs, ScreenArgs, ScreenshotArgs, SnapshotArgs,
    TypeArgs, WaitArgs,
};
pub use run::{RunArgs, UsageError};

use crate::image::ImageError;
use crate::machine::RunError;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Exit status when a machine cannot be built or fails, and when a command for a running machine fails.
pub const EXIT_FAILURE: u8 = 1;
/// Exit status for a usage error.
pub const EXIT_USAGE: u8 = 2;

/// A virtual machine monitor that is a whole classic PC.
#[derive(Debug, Parser)]
#[command(
    name = "pcvm",
    version,
    about = "A virtual machine that is a whole classic PC",
    long_about = "A virtual machine that is a whole classic PC: i440FX and PIIX3, IDE disks and CD-ROM, VGA, serial \
                  ports, PS/2 keyboard and mouse. Runs operating systems without paravirtual drivers, on Linux KVM.",
    after_help = "Exit status:\n  0  the guest powered off\n  1  an error, reported in one line on standard error\n  \
                  2  a mistake in the command line\n\n'pcvm run --help' lists the options of a machine, with examples.",
    disable_help_subcommand = true,
    subcommand_required = true,
    subcommand_value_name = "COMMAND"
)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a machine until its guest powers off
    #[command(long_about = run::LONG_ABOUT)]
    Run(Box<RunArgs>),
    /// Test the devices of a machine with a self-test disk
    #[command(long_about = demo::LONG_ABOUT)]
    Demo(DemoArgs),
    /// Create, inspect, copy and change disk images, and take snapshots
    #[command(long_about = image::LONG_ABOUT, after_help = image::AFTER_HELP, subcommand_value_name = "COMMAND")]
    Image(ImageArgs),
    /// Write a picture of a running machine's screen into a file
    Screenshot(ScreenshotArgs),
    /// Print a running machine's text screen
    Screen(ScreenArgs),
    /// Type a text on a running machine's keyboard
    Type(TypeArgs),
    /// Press keys of a running machine's keyboard, such as f8 or ctrl-alt-delete
    Key(KeyArgs),
    /// Move a running machine's mouse, and click
    Mouse(MouseArgs),
    /// Connect or disconnect a running machine's network cable
    Link(LinkArgs),
    /// Change the disc in a running machine's CD-ROM drive
    #[command(after_help = media::CD_AFTER_HELP)]
    Cd(CdArgs),
    /// Change the floppy in a running machine's drive
    Floppy(FloppyArgs),
    /// Pause a running machine
    Pause(PauseArgs),
    /// Resume a paused machine
    Resume(PauseArgs),
    /// Take a snapshot of all disks of a running machine at one instant
    #[command(
        long_about = "Take a snapshot of all disks of a running machine at one instant. The guest keeps running; what it \
                      has not written yet is not in the snapshot, as after a loss of power. 'pcvm image snapshot --list \
                      IMAGE' lists the snapshots of a disk, 'pcvm image snapshot' takes one while no machine uses it."
    )]
    Snapshot(SnapshotArgs),
    /// Put all disks of a running machine back to a snapshot, and reset the machine
    Rollback(RollbackArgs),
    /// Wait until a running machine's text screen matches a pattern
    Wait(WaitArgs),
    /// Print a running machine's counters: exits, device accesses, IRQs, disk and network operations
    Stats(StatsArgs),
    /// Record a running machine's device accesses in a file
    Trace(TraceArgs),
}

/// The program: parses `args` (the program's name first), runs the subcommand and reports its error.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(result) = generate::run(&args) {
        return match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(GenerateError::Usage(error)) => report(&error, &args),
            Err(error) => fail(&error, EXIT_FAILURE),
        };
    }
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // The hint comes first: clap takes `-hda` for the option `-h` and would print the help text.
            return match hints::hint(&args) {
                Some(line) => fail(&line, EXIT_USAGE),
                None => report(&error, &args),
            };
        }
    };
    start_log();
    match cli.command {
        Command::Run(args) => match args.into_config() {
            Err(error) => fail(&error, EXIT_USAGE),
            Ok(config) => match launch::launch(config) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => match error.downcast_ref() {
                    // The one error of several lines: vCPU registers and code.
                    Some(RunError::Failed(report)) => fail_lines(report, EXIT_FAILURE),
                    _ => fail(&format_args!("{error:#}"), EXIT_FAILURE),
                },
            },
        },
        Command::Demo(args) => match args.run() {
            Ok(status) => ExitCode::from(status),
            Err(error) => fail(&error, demo::EXIT_NOT_RUN),
        },
        Command::Image(args) => match args.run() {
            Ok(status) => ExitCode::from(status),
            Err(error @ ImageError::Usage(_)) => fail(&error, EXIT_USAGE),
            Err(error) => fail(&error, EXIT_FAILURE),
        },
        Command::Screenshot(args) => remote(args.run()),
        Command::Screen(args) => remote(args.run()),
        Command::Type(args) => remote(args.run()),
        Command::Key(args) => remote(args.run()),
        Command::Mouse(args) => remote(args.run()),
        Command::Link(args) => remote(args.run()),
        Command::Cd(args) => remote(args.run()),
        Command::Floppy(args) => remote(args.run()),
        Command::Pause(args) => remote(args.run(true)),
        Command::Resume(args) => remote(args.run(false)),
        Command::Snapshot(args) => remote(args.run()),
        Command::Rollback(args) => remote(args.run()),
        Command::Wait(args) => remote(args.run()),
        Command::Stats(args) => remote(args.run()),
        Command::Trace(args) => remote(args.run()),
    }
}

/// Exit status of a command for a running machine.
fn remote(result: Result<(), RemoteError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ RemoteError::Usage(_)) => fail(&error, EXIT_USAGE),
        Err(error) => fail(&error, EXIT_FAILURE),
    }
}

/// Sends log messages to standard error: warnings and errors, or the levels in the environment variable `PCVM_LOG`
/// (`PCVM_LOG=debug`, `PCVM_LOG=pcvm_devices::ide=trace`).
fn start_log() {
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).without_time();
    let result = match std::env::var("PCVM_LOG") {
        Ok(filter) => builder.with_env_filter(filter).try_init(),
        Err(_) => builder.with_max_level(tracing::Level::WARN).try_init(),
    };
    // The only error is that a subscriber is set already, which happens in tests.
    drop(result);
}

/// Prints what clap returned instead of arguments: help and version as they are, an error in one line.
fn report(error: &clap::Error, args: &[OsString]) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A write error means that the reader, such as `head`, has closed the pipe.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => fail(&usage_line(error, args), EXIT_USAGE),
    }
}

/// clap's error in one line: what is wrong, and what to write instead or where to read.
fn usage_line(error: &clap::Error, args: &[OsString]) -> String {
    let argument = || strings(error, ContextKind::InvalidArg);
    let first_argument = || argument().into_iter().next().unwrap_or_default();
    let value = || strings(error, ContextKind::InvalidValue).into_iter().next().unwrap_or_default();
    // The option without its value's name.
    let flag = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    let line = match error.kind() {
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "no command given".to_owned()
        }
        ErrorKind::InvalidSubcommand => {
            let line = format!("unknown command '{}'", strings(error, ContextKind::InvalidSubcommand).concat());
            // The most similar command is the last one.
            match strings(error, ContextKind::SuggestedSubcommand).pop() {
                Some(similar) => return format!("{line}; did you mean '{similar}'?"),
                None => line,
            }
        }
        ErrorKind::UnknownArgument => {
            let line = format!("unexpected argument '{}'", first_argument());
            match strings(error, ContextKind::SuggestedArg).pop() {
                Some(similar) => return format!("{line}; did you mean '{similar}'?"),
                None => line,
            }
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = argument();
            format!("missing argument{}: {}", if missing.len() == 1 { "" } else { "s" }, missing.join(" "))
        }
        ErrorKind::ArgumentConflict => {
            let (argument, prior) = (first_argument(), strings(error, ContextKind::PriorArg));
            let prior = prior.into_iter().next().unwrap_or_default();
            return if prior == argument {
                format!("{} is given twice", flag(&argument))
            } else {
                format!("{} and {} exclude each other", flag(&argument), flag(&prior))
            };
        }
        ErrorKind::InvalidValue if value().is_empty() => {
            let argument = first_argument();
            return format!("{} needs a value: write {argument}", flag(&argument));
        }
        ErrorKind::InvalidValue => {
            let mut values = strings(error, ContextKind::ValidValue);
            let last = values.pop().unwrap_or_default();
            let values = values.join(", ");
            return format!("{}: must be {values} or {last}, not '{}'", flag(&first_argument()), value());
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            // clap's text for a number that is out of range.
            let range = why.split_once(" is not in ").and_then(|(_, range)| range.split_once("..="));
            let expected = range.map_or(why.clone(), |(first, last)| format!("must be {first} to {last}"));
            return format!("{}: {expected}, not '{}'", flag(&first_argument()), value());
        }
        ErrorKind::TooManyValues => {
            return format!("{} takes no value: remove '={}'", flag(&first_argument()), value());
        }
        _ => {
            // The message is the first paragraph; the usage text follows.
            let text = error.render().to_string();
            let paragraph = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
            let line = paragraph.collect::<Vec<_>>().join(" ");
            line.strip_prefix("error: ").unwrap_or(&line).to_owned()
        }
    };
    let commands = Cli::command();
    let command = args.get(1).and_then(|word| word.to_str());
    let command = command.filter(|word| *word == "generate" || commands.find_subcommand(word).is_some());
    match command {
        Some(command) => format!("{line}; try 'pcvm {command} --help'"),
        None => format!("{line}; try 'pcvm --help'"),
    }
}

/// A part of clap's error as strings.
fn strings(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::StyledStr(text)) => vec![text.to_string()],
        _ => Vec::new(),
    }
}

/// Prints `pcvm: ERROR` on standard error, with control characters escaped. Returns `status` as the exit status.
fn fail(error: &dyn std::fmt::Display, status: u8) -> ExitCode {
    // A closed standard error is no reason to panic.
    let _ = writeln!(std::io::stderr(), "pcvm: {}", one_line(&error.to_string()));
    ExitCode::from(status)
}

/// The same for a report of several lines.
fn fail_lines(report: &str, status: u8) -> ExitCode {
    let lines: Vec<String> = report.lines().map(one_line).collect();
    let _ = writeln!(std::io::stderr(), "pcvm: {}", lines.join("\n"));
    ExitCode::from(status)
}

/// Escapes control characters, which file names can contain.
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
