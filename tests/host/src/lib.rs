//! Test host selection: runs VM tests where KVM executes guest code natively.
//!
//! Guest operating systems need a native /dev/kvm. [`Host::pick`] measures the local one; if it interprets guest code
//! or lacks paging, the job runs on a nested host instead (the script `nested-host` beside this crate). Without
//! /dev/kvm tests fail; they are never skipped.
//!
//! A [`Job`] is a shell script in a directory with files, and runs in the same way in both places; `job-functions.sh`
//! beside this crate has the functions that every script may use. For tests that start processes themselves there are
//! [`Process`], [`wait_for`] and its variants.

pub mod probe;
mod wait;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

pub use probe::Speed;
pub use wait::{Process, TIME_LIMIT, assert_has, connect, wait_for, wait_for_text, wait_until};

/// Shell functions that precede the command of each job.
const JOB_FUNCTIONS: &str = include_str!("../job-functions.sh");

/// Why a job could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// /dev/kvm is missing or not accessible.
    #[error("cannot open /dev/kvm: {0}; VM tests need it")]
    Open(kvm_ioctls::Error),
    /// A KVM ioctl failed.
    #[error("a KVM ioctl of the speed probe failed: {0}")]
    Kvm(kvm_ioctls::Error),
    /// The probe guest misbehaved.
    #[error("cannot measure /dev/kvm: {0}")]
    Probe(String),
    /// A file operation of a job failed.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A program could not be started or failed.
    #[error("{0}")]
    Program(String),
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::File { path, error }
}

impl fmt::Display for Speed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_native() { "native" } else { "software" };
        let paging = if self.paging { "works" } else { "does not work" };
        let Self { instructions, exits, .. } = self;
        write!(out, "{kind}: {instructions} instructions/s, {exits} exits/s, 32-bit paging {paging}")
    }
}

/// Where a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// This machine.
    Here,
    /// A Linux under QEMU TCG with emulated AMD SVM, on this machine.
    Nested,
}

/// Speed of /dev/kvm, measured once per process.
///
/// # Panics
/// If there is no usable /dev/kvm.
pub fn require_kvm() -> Speed {
    static SPEED: OnceLock<Speed> = OnceLock::new();
    *SPEED.get_or_init(|| probe::measure().unwrap_or_else(|error| panic!("{error}")))
}

impl Host {
    /// Picks this machine if its /dev/kvm is native, otherwise the nested host. `PCVM_TEST_HOST=here|nested` overrides.
    ///
    /// # Panics
    /// If there is no usable /dev/kvm.
    pub fn pick() -> Self {
        let speed = require_kvm();
        let host = match std::env::var("PCVM_TEST_HOST").as_deref() {
            Ok("here") => Self::Here,
            Ok("nested") => Self::Nested,
            _ if speed.is_native() => Self::Here,
            _ => Self::Nested,
        };
        eprintln!("/dev/kvm is {speed}; this test runs {host}");
        host
    }

    /// Runs a job to completion.
    pub fn run(&self, job: &Job) -> Result<Output, Error> {
        let dir = job.prepare()?;
        let console = dir.join("console");
        let sink = File::create(&console).map_err(file_error(&console))?;
        let errors = sink.try_clone().map_err(file_error(&console))?;
        let script = format!("{JOB_FUNCTIONS}{}", job.command);
        let mut command = match self {
            Self::Here => {
                let mut command = Command::new("sh");
                command.arg("-c").arg(script).current_dir(&dir);
                command
            }
            Self::Nested => {
                let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/nested-host"));
                command.arg("-d").arg(&dir).arg("-t").arg(job.timeout.as_secs().to_string());
                command.arg("-m").arg(job.host_memory.to_string()).arg("--").arg(script);
                command
            }
        };
        // A process group of its own, so that a timeout kills every process of the job.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(sink)
            .stderr(errors)
            .spawn()
            .map_err(|error| Error::Program(format!("cannot start {command:?}: {error}")))?;
        let deadline = Instant::now() + job.timeout + Duration::from_secs(10);
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status.code().unwrap_or(-1),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
                _ => {
                    // SAFETY: kill takes no pointers; the group is the child's, created by process_group(0) above.
                    #[allow(unsafe_code)]
                    unsafe {
                        libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL);
                    }
                    let _ = child.wait();
                    break 124;
                }
            }
        };
        let console = String::from_utf8_lossy(&fs::read(&console).map_err(file_error(&console))?).into_owned();
        Ok(Output { status, console, dir })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Here => "here",
            Self::Nested => "on a nested host",
        })
    }
}

/// A shell script, its files and its time limit.
#[derive(Clone, Debug)]
pub struct Job {
    name: String,
    files: Vec<(PathBuf, String)>,
    command: String,
    timeout: Duration,
    host_memory: u32,
}

impl Job {
    /// A job with a time limit of ten minutes. The name is that of its directory and must be unique among the tests.
    pub fn new(name: &str, command: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            files: Vec::new(),
            command: command.into(),
            timeout: Duration::from_secs(600),
            host_memory: 3072,
        }
    }

    /// Adds a file to the command's working directory, under this name, as a hard link where the file system allows it:
    /// the job must not write to it.
    pub fn file(mut self, source: impl Into<PathBuf>, name: &str) -> Self {
        self.files.push((source.into(), name.into()));
        self
    }

    /// Adds pcvm as `./pcvm`, statically linked, with the firmware of Debian's seabios package.
    pub fn pcvm(self) -> Result<Self, Error> {
        Ok(self
            .file(pcvm_static()?, "pcvm")
            .file("/usr/share/seabios/bios-256k.bin", "bios.bin")
            .file("/usr/share/seabios/vgabios-stdvga.bin", "vgabios-stdvga.bin"))
    }

    /// Sets the time limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the memory of the nested host, in MiB.
    pub fn host_memory(mut self, mib: u32) -> Self {
        self.host_memory = mib;
        self
    }

    fn prepare(&self) -> Result<PathBuf, Error> {
        let dir = work_dir().join(&self.name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).map_err(file_error(&dir))?;
        for (source, name) in &self.files {
            let target = dir.join(name);
            let real = fs::canonicalize(source).map_err(file_error(source))?;
            if fs::hard_link(&real, &target).is_err() {
                fs::copy(&real, &target).map_err(file_error(source))?;
            }
        }
        Ok(dir)
    }
}

/// Result of a job.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command's exit status; 124 after the time limit, 125 if the nested host did not come up.
    pub status: i32,
    /// Standard output and standard error.
    pub console: String,
    /// Working directory of the command, with the files it left.
    pub dir: PathBuf,
}

impl Output {
    /// Contents of a file that the job left; empty if it does not exist.
    pub fn text(&self, name: &str) -> String {
        fs::read(self.dir.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Asserts the exit status; on failure shows the end of the console and of the named files.
    ///
    /// # Panics
    /// If the status differs.
    #[track_caller]
    pub fn expect_status(&self, expected: i32, logs: &[&str]) {
        if self.status == expected {
            return;
        }
        let mut report =
            format!("exit status {} instead of {expected}\n--- console\n{}", self.status, tail(&self.console));
        for log in logs {
            report.push_str(&format!("\n--- {log}\n{}", tail(&self.text(log))));
        }
        panic!("{report}");
    }
}

/// The last 60 lines of a text, for error messages.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// Root directory of the project.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the crate is inside the project")
}

/// Cache directory of downloaded and built guests: `PCVM_TEST_CACHE`, otherwise `tests/cache`.
pub fn cache_dir() -> PathBuf {
    let dir = match std::env::var_os("PCVM_TEST_CACHE") {
        Some(dir) => PathBuf::from(dir),
        None => project().join("tests/cache"),
    };
    fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    dir
}

/// Parent of the jobs' working directories.
fn work_dir() -> PathBuf {
    project().join("target/machines")
}

/// Path of a statically linked pcvm, for hosts without libraries: `PCVM_STATIC`, otherwise it is built on first use.
pub fn pcvm_static() -> Result<PathBuf, Error> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(path) = std::env::var_os("PCVM_STATIC") {
        return Ok(path.into());
    }
    BUILT
        .get_or_init(|| {
            let output = Command::new(project().join("tests/host/build-static"))
                .stderr(Stdio::inherit())
                .output()
                .map_err(|error| format!("tests/host/build-static: {error}"))?;
            if !output.status.success() {
                return Err("tests/host/build-static failed".into());
            }
            let path = String::from_utf8_lossy(&output.stdout);
            path.lines().next().map(PathBuf::from).ok_or_else(|| "tests/host/build-static printed nothing".into())
        })
        .clone()
        .map_err(Error::Program)
}
