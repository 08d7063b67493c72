//! `pcvm generate man|completions DIR`: man pages and shell completions for packages, from the definition of the command
//! line. It is a command for packagers, so neither the help text nor the generated files list it.

use super::Cli;
use crate::error::host_error;
use clap::{CommandFactory, Parser, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Generate man pages or shell completions.
#[derive(Debug, Parser)]
#[command(bin_name = "pcvm generate", about = "Write man pages or shell completions into a directory, for packages")]
struct Generate {
    /// What to generate
    #[arg(value_enum)]
    kind: Kind,
    /// The directory, which is created if it does not exist
    dir: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// pcvm.1, pcvm-run.1 and so on
    Man,
    /// pcvm.bash, _pcvm (zsh) and pcvm.fish
    Completions,
}

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A usage error, or the help text.
    #[error("{0}")]
    Usage(clap::Error),
    /// A file or the directory cannot be written.
    #[error("{}: {}", path.display(), host_error(why))]
    Write {
        /// The directory.
        path: PathBuf,
        /// The host kernel's error.
        why: io::Error,
    },
}

/// Runs the command if `args` name it.
pub(super) fn run(args: &[OsString]) -> Option<Result<(), GenerateError>> {
    let args = args.get(1..).filter(|args| args.first().is_some_and(|first| first == "generate"))?;
    Some(Generate::try_parse_from(args).map_err(GenerateError::Usage).and_then(|Generate { kind, dir }| {
        let write = match kind {
            Kind::Man => man_pages,
            Kind::Completions => completions,
        };
        std::fs::create_dir_all(&dir).and_then(|()| write(&dir)).map_err(|why| GenerateError::Write { path: dir, why })
    }))
}

fn completions(dir: &Path) -> io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "pcvm", dir)?;
    }
    Ok(())
}

/// A page for the program and one for each subcommand.
fn man_pages(dir: &Path) -> io::Result<()> {
    let mut pcvm = Cli::command();
    pcvm.build();
    let names: Vec<String> = pcvm.get_subcommands().map(|command| format!("pcvm-{}", command.get_name())).collect();
    man_page(dir, &pcvm, &names)?;
    for command in pcvm.get_subcommands() {
        let page = format!("pcvm-{}", command.get_name());
        let parts: Vec<_> = command.get_subcommands().filter(|part| part.get_name() != "help").collect();
        let mut others = vec!["pcvm".to_owned()];
        others.extend(parts.iter().map(|part| format!("{page}-{}", part.get_name())));
        man_page(dir, command, &others)?;
        parts.iter().try_for_each(|part| man_page(dir, part, &["pcvm".to_owned(), page.clone()]))?;
    }
    Ok(())
}

fn man_page(dir: &Path, command: &clap::Command, see_also: &[String]) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let man = Man::new(command.clone());
    let mut out = BufWriter::new(File::create(dir.join(format!("{name}.1")))?);
    // Without a date, so that a build is reproducible. `Man::render_title` would omit the empty argument.
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, ".TH {} 1 \"\" \"pcvm {version}\" \"User Commands\"", name.to_uppercase())?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    let mut rest = Roff::new();
    if let Some(text) = command.get_after_help() {
        sections(&mut rest, &text.to_string());
    }
    rest.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (n, name) in see_also.iter().enumerate() {
        line.extend([roman(if n > 0 { ", " } else { "" }), bold(name.as_str()), roman("(1)")]);
    }
    rest.text(line);
    rest.to_writer(&mut out)?;
    out.flush()
}

/// The text after the options as sections. A heading is a line that ends with a colon and is not indented; indented lines
/// keep their line breaks.
fn sections(roff: &mut Roff, text: &str) {
    let mut verbatim = false;
    for line in text.lines() {
        let indented = line.starts_with(' ') || line.is_empty() && verbatim;
        if indented != verbatim {
            roff.control(if indented { "nf" } else { "fi" }, []);
            verbatim = indented;
        }
        match line.strip_suffix(':').filter(|_| !indented) {
            Some(heading) => drop(roff.control("SH", [heading.to_uppercase().as_str()])),
            None if line.is_empty() && !verbatim => drop(roff.control("PP", [])),
            // The section's text is indented already.
            None => drop(roff.text([roman(line.strip_prefix("  ").unwrap_or(line))])),
        }
    }
    if verbatim {
        roff.control("fi", []);
    }
}
