//! `pcvm image`: image files and snapshots of machines that do not run.

use super::EXIT_FAILURE;
use crate::image::snapshot::{self, Request};
use crate::image::{
    self, CheckReport, ConvertOptions, CreateOptions, Directories, Format, ImageError, MapEntry, Preallocation,
    RebaseOptions, RepairMode, Size,
};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Exit status of `check` for a format without metadata, as qemu-img has it.
const EXIT_NO_CHECK: u8 = 63;

/// Text above the options of `pcvm image --help`.
pub const LONG_ABOUT: &str = "Create, inspect, copy and change disk images, and take snapshots of them. The images must not be \
                              in use, except by 'info'.";
/// Text below the options of `pcvm image --help`.
pub const AFTER_HELP: &str = "\
Formats:
  raw    the disk's bytes; holes stay holes
  qcow2  versions 2 and 3
  vmdk   descriptors with flat extents, read-only
  vhd    fixed and dynamic, read-only

A format is never guessed from a disk's content: the option -f, pcvm's snapshot index or the
end of the file's name (.qcow2, .vmdk, .vhd) says it, and all else is raw.

Files that an image names, such as backing files, are opened only in its own directory and
below, and in those that --backing-dir names.

Exit status:
  0  success
  1  an error, reported in one line on standard error
  2  a mistake in the command line; 'check': the image is corrupt
  3  'check': the image has leaked clusters, which waste space only
  63 'check': the format has nothing to check

Examples:
  pcvm image create disk.qcow2 40G
  pcvm image convert old.vmdk disk.qcow2
  pcvm image snapshot disk.qcow2 before-update --comment 'Service Pack 2'
  pcvm image rollback disk.qcow2 before-update";

/// `pcvm image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
    /// Print JSON: what was asked for, or the description of the image that was made or changed; fields have qemu-img's names where it has them
    #[arg(long, global = true)]
    json: bool,
    /// Draw no progress bar
    #[arg(long, short, global = true)]
    quiet: bool,
}

/// An image that the command reads or changes.
#[derive(Debug, Args)]
struct ImageFile {
    /// Format: raw, qcow2, vmdk or vhd; by default what the snapshot index or the file's name says
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<Format>,
    /// Image file or block device
    file: PathBuf,
}

/// Where the files that an image names may be.
#[derive(Debug, Args)]
struct Named {
    /// Open files that an image names in this directory and below, too; may be repeated
    #[arg(long, value_name = "DIR")]
    backing_dir: Vec<PathBuf>,
}

/// What a new image is like.
#[derive(Debug, Args)]
struct NewImage {
    /// qcow2: cluster_size=64K (512 to 2M), refcount_bits=16 (1 to 64); several are separated by commas
    #[arg(short, value_name = "NAME=VALUE", value_delimiter = ',')]
    options: Vec<String>,
    /// qcow2: file whose content the image has at first; it must not change afterwards
    #[arg(long, value_name = "FILE", requires = "backing_format")]
    backing: Option<PathBuf>,
    /// Format of the backing file
    #[arg(long, value_name = "FORMAT", requires = "backing")]
    backing_format: Option<Format>,
    /// Allocate at once: off, metadata (tables), falloc (space) or full (write zeros)
    #[arg(long, value_name = "MODE")]
    preallocate: Option<Preallocation>,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Describe an image: format, sizes, backing file, snapshots, and which process uses it
    Info {
        #[command(flatten)]
        image: ImageFile,
        #[command(flatten)]
        named: Named,
        /// Describe its backing files, too
        #[arg(long)]
        backing_chain: bool,
    },
    /// Compare a qcow2 image's refcounts with its tables, and repair them
    #[command(
        long_about = "Compare a qcow2 image's refcounts with its tables. '--repair leaks' frees leaked clusters of an \
                            image that is sound otherwise; '--repair all' also corrects refcounts and flags, and clears \
                            the dirty and corrupt bits. Damaged entries are not repaired: 'convert' copies what can be \
                            read."
    )]
    Check {
        #[command(flatten)]
        image: ImageFile,
        /// Repair: leaks or all
        #[arg(long, value_name = "WHAT")]
        repair: Option<RepairMode>,
    },
    /// List which image of a chain has which part of the disk
    Map {
        #[command(flatten)]
        image: ImageFile,
        #[command(flatten)]
        named: Named,
    },
    /// Create an image
    Create {
        /// Format: raw or qcow2; by default what the file's name says
        #[arg(long, short, value_name = "FORMAT")]
        format: Option<Format>,
        #[command(flatten)]
        new: NewImage,
        /// Image file
        file: PathBuf,
        /// Size, such as 512M or 40G; with --backing, the backing file's by default
        size: Option<Size>,
    },
    /// Copy a disk into a new image
    Convert {
        /// Format of the source; by default what the snapshot index or the file's name says
        #[arg(long, short = 'f', value_name = "FORMAT")]
        format: Option<Format>,
        /// Format of the target: raw or qcow2; by default what the file's name says
        #[arg(long, short = 'O', value_name = "FORMAT")]
        output_format: Option<Format>,
        #[command(flatten)]
        new: NewImage,
        #[command(flatten)]
        named: Named,
        /// Compress clusters (not supported)
        #[arg(long, short, hide = true)]
        compress: bool,
        /// Image to copy
        source: PathBuf,
        /// New image
        target: PathBuf,
    },
    /// Make a disk longer or shorter
    Resize {
        #[command(flatten)]
        image: ImageFile,
        #[command(flatten)]
        named: Named,
        /// New size, such as 40G, or a difference, such as +10G or -10G
        #[arg(allow_hyphen_values = true)]
        size: Size,
        /// Allow a smaller size; what is behind it is lost
        #[arg(long)]
        shrink: bool,
    },
    /// Write an overlay's content into its backing file, and empty the overlay
    Commit {
        #[command(flatten)]
        image: ImageFile,
        #[command(flatten)]
        named: Named,
    },
    /// Give an overlay another backing file
    Rebase {
        #[command(flatten)]
        image: ImageFile,
        #[command(flatten)]
        named: Named,
        /// New backing file; an empty text for none
        #[arg(long, short, value_name = "FILE")]
        backing: OsString,
        /// Its format
        #[arg(long, short = 'F', value_name = "FORMAT")]
        backing_format: Option<Format>,
        /// Change the name only, because the new file has the same content
        #[arg(long, short = 'u')]
        name_only: bool,
    },
    /// Take, list or delete snapshots
    #[command(
        long_about = "Take a snapshot, which takes milliseconds: the image's file gets the name IMAGE.snap-NAME, and a \
                            qcow2 overlay takes its place. The index IMAGE.snapshots has the names, dates and parents. \
                            Move or copy these files together."
    )]
    Snapshot {
        /// List the snapshots
        #[arg(long, conflicts_with_all = ["delete", "name", "comment"])]
        list: bool,
        /// Delete the snapshot, and merge its content into what is based on it
        #[arg(long, requires = "name", conflicts_with = "comment")]
        delete: bool,
        /// Open files that the first snapshot names in this directory and below, too; may be repeated
        #[arg(long, value_name = "DIR", requires = "delete")]
        backing_dir: Vec<PathBuf>,
        /// Comment, up to 1000 bytes
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        /// Format of an image without snapshots: raw or qcow2; by default what the file's name says
        #[arg(long, short, value_name = "FORMAT")]
        format: Option<Format>,
        /// Image file
        image: PathBuf,
        /// Name: letters, digits, '.', '_' and '-'
        #[arg(required_unless_present = "list")]
        name: Option<String>,
    },
    /// Put an image back to a snapshot; what it has now is dropped, or kept as another snapshot
    Rollback {
        /// Keep what the image has now as a snapshot of this name
        #[arg(long, value_name = "NAME")]
        keep: Option<String>,
        /// Comment on that snapshot
        #[arg(long, value_name = "TEXT", requires = "keep")]
        comment: Option<String>,
        /// Image file
        image: PathBuf,
        /// Snapshot
        name: String,
    },
}

impl Named {
    fn dirs(&self, file: &Path) -> Result<Directories, ImageError> {
        image::directories(file, &self.backing_dir)
    }
}

impl NewImage {
    fn options(self, format: Format) -> Result<(CreateOptions, bool), ImageError> {
        let mut options = CreateOptions { format, ..CreateOptions::default() };
        for option in &self.options {
            let Some((name, value)) = option.split_once('=') else {
                return Err(ImageError::Usage(format!("-o {option}: must be NAME=VALUE")));
            };
            if format == Format::Raw && name != "preallocation" {
                return Err(ImageError::Usage(format!("-o {name}: is for qcow2 images only")));
            }
            options.set(name, value).map_err(|why| ImageError::Usage(format!("-o {option}: {why}")))?;
        }
        if let Some(preallocation) = self.preallocate {
            options.preallocation = preallocation;
        }
        options.backing = self.backing.zip(self.backing_format);
        Ok((options, self.force))
    }
}

/// The format of a new image whose user gives none.
fn by_name(file: &Path) -> Result<Format, ImageError> {
    let end = file.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    match end.as_str() {
        "qcow2" => Ok(Format::Qcow2),
        "raw" | "img" | "dd" => Ok(Format::Raw),
        _ => {
            let why = "its name does not end with .qcow2, .raw or .img: give the format (create -f, convert -O)";
            Err(ImageError::Usage(format!("{}: {why}", file.display())))
        }
    }
}

impl ImageArgs {
    /// Runs the command. Gives the exit status.
    ///
    /// # Errors
    /// What the command cannot do.
    pub fn run(self) -> Result<u8, ImageError> {
        let Self { command, json, quiet } = self;
        let mut bar = Bar::new(quiet || json);
        match command {
            ImageCommand::Info { image: ImageFile { format, file }, named, backing_chain } => {
                let found = image::info(&file, format, &named.dirs(&file)?, backing_chain)?;
                if json {
                    let mut values: Vec<Value> = found.into_iter().map(|info| info.json).collect();
                    let value = if backing_chain { Value::Array(values) } else { values.remove(0) };
                    print_json(&value)?;
                } else {
                    let texts: Vec<_> = found.into_iter().map(|info| info.text).collect();
                    print(&texts.join("\n"))?;
                }
            }
            ImageCommand::Check { image: ImageFile { format, file }, repair } => {
                return check(&file, format, repair, json);
            }
            ImageCommand::Map { image: ImageFile { format, file }, named } => {
                let mut disk = image::Disk::open(&file, format, &named.dirs(&file)?, image::Depth::Chain, true)?;
                let mut count = 0;
                if !json {
                    print(&format!("{:<18} {:<18} {:<18} File\n", "Offset", "Length", "Mapped to"))?;
                }
                image::map(&mut disk, &mut bar.callback(), |entry| {
                    count += 1;
                    if json { map_json(&entry, count == 1) } else { map_line(&entry) }
                })?;
                if json {
                    print(if count == 0 { "[]\n" } else { "]\n" })?;
                }
            }
            ImageCommand::Create { format, new, file, size } => {
                let format = format.map_or_else(|| by_name(&file), Ok)?;
                let (options, force) = new.options(format)?;
                let size = match size.map(Size::absolute) {
                    Some(None) => return Err(ImageError::Usage("the size of a new image has no sign".to_owned())),
                    Some(size) => size,
                    None => None,
                };
                image::create(&file, size, &options, force)?;
                describe(&file, Some(format), json)?;
            }
            ImageCommand::Convert { format, output_format, new, named, compress, source, target } => {
                if compress {
                    let why = "--compress: writing compressed clusters is not supported; use 'qemu-img convert -c'";
                    return Err(ImageError::Usage(why.to_owned()));
                }
                let (to, force) = new.options(output_format.map_or_else(|| by_name(&target), Ok)?)?;
                let made = to.format;
                let options = ConvertOptions { from: format, to, force };
                image::convert(&source, &target, &options, &named.backing_dir, &mut bar.callback())?;
                describe(&target, Some(made), json)?;
            }
            ImageCommand::Resize { image: ImageFile { format, file }, named, size, shrink } => {
                image::resize(&file, format, size, shrink, &named.dirs(&file)?)?;
                describe(&file, format, json)?;
            }
            ImageCommand::Commit { image: ImageFile { format, file }, named } => {
                image::commit(&file, format, &named.dirs(&file)?, &mut bar.callback())?;
                describe(&file, format, json)?;
            }
            ImageCommand::Rebase { image: ImageFile { format, file }, named, backing, backing_format, name_only } => {
                let backing = match (backing.is_empty(), backing_format) {
                    (true, _) => None,
                    (false, Some(format)) => Some((backing.into(), format)),
                    (false, None) => {
                        return Err(ImageError::Usage("rebase -b needs the new file's format: -F FORMAT".to_owned()));
                    }
                };
                let options = RebaseOptions { format, backing, name_only };
                image::rebase(&file, &options, &named.backing_dir, &mut bar.callback())?;
                describe(&file, format, json)?;
            }
            ImageCommand::Snapshot { list: true, image, .. } => list(&image, json)?,
            ImageCommand::Snapshot { delete: true, backing_dir, image, name, .. } => {
                snapshot::delete(&image, &name.unwrap_or_default(), &backing_dir, &mut bar.callback())?;
                describe(&image, None, json)?;
            }
            ImageCommand::Snapshot { comment, format, image, name, .. } => {
                snapshot::take(&image, &Request { name: name.unwrap_or_default(), comment, format })?;
                describe(&image, None, json)?;
            }
            ImageCommand::Rollback { keep, comment, image, name } => {
                let keep = keep.map(|name| Request { name, comment, format: None });
                snapshot::rollback(&image, &name, keep.as_ref())?;
                describe(&image, None, json)?;
            }
        }
        bar.finish();
        Ok(0)
    }
}

fn check(file: &Path, format: Option<Format>, repair: Option<RepairMode>, json: bool) -> Result<u8, ImageError> {
    let Some((before, after)) = image::check_file(file, format, repair)? else {
        let why = "a raw, VMDK or VHD image has no refcounts to check";
        super::fail(&format_args!("{}: {why}", file.display()), EXIT_FAILURE);
        return Ok(EXIT_NO_CHECK);
    };
    if json {
        let mut value = serde_json::to_value(&after).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.insert("filename".to_owned(), json!(file));
            fields.insert("format".to_owned(), json!("qcow2"));
            fields.insert("check-errors".to_owned(), json!(0));
            if repair.is_some() {
                fields.insert("corruptions-fixed".to_owned(), json!(before.corruptions - after.corruptions));
                fields.insert("leaks-fixed".to_owned(), json!(before.leaks.saturating_sub(after.leaks)));
            }
        }
        print_json(&value)?;
    } else {
        print(&report(&before, &after, repair.is_some()))?;
    }
    Ok(after.exit_status())
}

fn report(before: &CheckReport, after: &CheckReport, repaired: bool) -> String {
    let mut text: String = after.messages.iter().map(|message| format!("{message}\n")).collect();
    if after.corruptions > after.messages.len() as u64 {
        text.push_str(&format!("and {} more\n", after.corruptions - after.messages.len() as u64));
    }
    if repaired {
        text.push_str(&format!("found: {} errors, {} leaked clusters\n", before.corruptions, before.leaks));
    }
    match (after.corruptions, after.leaks) {
        (0, 0) => text.push_str("no errors\n"),
        (0, leaks) => text.push_str(&format!("{leaks} leaked clusters: they waste space, but data is safe\n")),
        (errors, leaks) => text.push_str(&format!("{errors} errors, {leaks} leaked clusters: data may be damaged\n")),
    }
    let share = |part: u64| part as f64 * 100.0 / after.total_clusters.max(1) as f64;
    text.push_str(&format!(
        "{} of {} clusters allocated ({:.1} %), {} fragmented, {} compressed\nimage end offset: {}\n",
        after.allocated_clusters,
        after.total_clusters,
        share(after.allocated_clusters),
        after.fragmented_clusters,
        after.compressed_clusters,
        after.image_end_offset
    ));
    text
}

fn list(image: &Path, json: bool) -> Result<(), ImageError> {
    // A file that does not exist has no snapshots either, but that is no answer.
    std::fs::metadata(image).map_err(|why| ImageError::Host { path: image.to_owned(), why })?;
    let index = snapshot::list(image)?;
    if json {
        return print_json(&serde_json::to_value(&index).unwrap_or_default());
    }
    let mut text = format!("{:<20} {:<20} {:<20} {:>10}  Comment\n", "Name", "Date (UTC)", "Parent", "Size");
    for snapshot in &index.snapshots {
        let mark = if index.parent.as_ref() == Some(&snapshot.name) { "*" } else { "" };
        text.push_str(&format!(
            "{:<20} {:<20} {:<20} {:>10}  {}\n",
            format!("{}{mark}", snapshot.name),
            snapshot.date,
            snapshot.parent.as_deref().unwrap_or("-"),
            image::human(snapshot.size),
            match snapshot.deleting {
                true => "(deletion interrupted: delete it again)".to_owned(),
                false => snapshot.comment.as_deref().unwrap_or_default().escape_debug().to_string(),
            }
        ));
    }
    if index.parent.is_some() {
        text.push_str("* what the image is based on\n");
    }
    print(&text)
}

/// With `--json`: what an image is like after it was made or changed.
fn describe(file: &Path, format: Option<Format>, json: bool) -> Result<(), ImageError> {
    if !json {
        return Ok(());
    }
    let found = image::info(file, format, &image::directories(file, &[])?, false)?;
    found.first().map_or(Ok(()), |info| print_json(&info.json))
}

fn map_json(entry: &MapEntry, first: bool) -> Result<(), ImageError> {
    let text = serde_json::to_string(entry).unwrap_or_default();
    print(&format!("{}{text}\n", if first { "[" } else { "," }))
}

fn map_line(entry: &MapEntry) -> Result<(), ImageError> {
    if !entry.data {
        return Ok(());
    }
    let offset = entry.offset.map_or("compressed".to_owned(), |offset| format!("{offset:#x}"));
    let file = entry.filename.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    print(&format!(
        "{:<18} {:<18} {offset:<18} {}\n",
        format!("{:#x}", entry.start),
        format!("{:#x}", entry.length),
        super::one_line(&file)
    ))
}

fn print_json(value: &Value) -> Result<(), ImageError> {
    print(&format!("{value:#}\n"))
}

fn print(text: &str) -> Result<(), ImageError> {
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|why| ImageError::Host { path: "standard output".into(), why })
}

/// A progress bar on a terminal. It appears when an operation takes longer than a moment.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(hidden: bool) -> Self {
        if hidden || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template = "{wide_bar} {percent:>3} %  {bytes}/{total_bytes}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(Some(bar))
    }

    fn callback(&mut self) -> impl FnMut(u64, u64) {
        let bar = self.0.clone();
        move |done, total| {
            if let Some(bar) = &bar {
                bar.set_length(total);
                bar.set_position(done);
            }
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}
