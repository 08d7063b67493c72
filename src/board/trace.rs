//! Trace of device accesses, IRQ changes, resets, deferred work and guest errors (`--trace FILE[,FILTER]`).
//!
//! The board formats one line per event while it holds its lock, and only while a trace runs. A thread writes the lines to
//! the file. The queue to that thread is bounded: when the file is too slow, lines are lost and counted, and the guest is
//! not delayed.

use super::work::{HostWork, MachineEvent};
use pcvm_devices::{BlockDone, BlockOp, Devfn, VmTime};
use std::fmt::{self, Display, Write as _};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Lines that may wait for the file.
const QUEUE: usize = 1 << 16;
/// Bytes of a string I/O access that a line shows.
const SHOWN_BYTES: usize = 16;
/// Guest errors per device and second that reach the trace and the log.
const GUEST_ERRORS_PER_SECOND: u32 = 10;

/// What a trace line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A read or write that a device answers.
    Access,
    /// A read or write that no device answers.
    Unclaimed,
    /// A change of an interrupt controller's input.
    Irq,
    /// A reset of the machine.
    Reset,
    /// Deferred host work, and disk completions.
    Work,
    /// A device reports that the guest did what the datasheet calls undefined.
    GuestError,
}

impl Class {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Access, "access"),
        (Self::Unclaimed, "unclaimed"),
        (Self::Irq, "irq"),
        (Self::Reset, "reset"),
        (Self::Work, "work"),
        (Self::GuestError, "guest-error"),
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(class, _)| *class == self).map_or("", |(_, name)| name)
    }
}

/// Which events a trace records: words separated by commas, each a class or a device's kind. No class means all classes;
/// no device means all devices. An event that belongs to no device is recorded if its class is named or no word is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    classes: u8,
    devices: Vec<String>,
}

impl FromStr for Filter {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut filter = Self::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            match Class::ALL.iter().find(|(_, name)| *name == word) {
                Some((class, _)) => filter.classes |= class.bit(),
                None => filter.devices.push(word.to_owned()),
            }
        }
        Ok(filter)
    }
}

/// A filter names a device that the machine does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{word}' is neither a class ({}) nor a device of this machine ({devices})", Class::ALL.map(|(_, name)| name).join(", "))]
pub struct UnknownWord {
    word: String,
    devices: String,
}

/// A trace could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The filter.
    #[error(transparent)]
    Filter(#[from] UnknownWord),
    /// The file.
    #[error("{}: {}", path.display(), crate::error::host_error(why))]
    File {
        /// Its path.
        path: std::path::PathBuf,
        /// Why it cannot be written.
        why: std::io::Error,
    },
}

/// The address of an access, as the vCPU issued it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// I/O port.
    Port(u16),
    /// Guest-physical address.
    Mem(u64),
    /// Configuration space: function and register.
    Config(Devfn, u8),
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Port(port) => write!(f, "port {port:04x}"),
            Self::Mem(at) => write!(f, "mem {at:08x}"),
            Self::Config(devfn, register) => {
                write!(f, "pci 00:{:02x}.{} {register:02x}", devfn.slot(), devfn.function())
            }
        }
    }
}

/// When a line was recorded, and by which vCPU's exit; none for a host thread and for coalesced writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) time: VmTime,
    pub(super) vcpu: Option<u32>,
}

/// A running trace.
#[derive(Debug)]
pub struct Tracer {
    classes: u8,
    /// Words that name classes were given, or no words at all: events without a device are recorded.
    without_device: u8,
    /// By device: its kind, and whether it is recorded.
    devices: Vec<(&'static str, bool)>,
    sender: Option<SyncSender<String>>,
    lost: u64,
    writer: Option<JoinHandle<()>>,
}

impl Tracer {
    /// Creates `file` and starts the thread that writes it. `kinds` are the kinds of the board's devices.
    ///
    /// # Errors
    /// If the filter names an unknown device, or the file cannot be created.
    pub fn start(file: &Path, filter: &Filter, kinds: &[&'static str]) -> Result<Self, TraceError> {
        let unknown = filter.devices.iter().find(|name| !kinds.contains(&name.as_str()));
        if let Some(word) = unknown {
            let mut devices = kinds.to_vec();
            devices.dedup();
            return Err(UnknownWord { word: word.clone(), devices: devices.join(", ") }.into());
        }
        let failed = |why| TraceError::File { path: file.to_owned(), why };
        let output = create(file).map_err(failed)?;
        let (sender, receiver) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("trace".to_owned())
            .stack_size(128 << 10)
            .spawn(move || write_lines(&receiver, output))
            .map_err(failed)?;
        let all = Class::ALL.iter().fold(0, |bits, (class, _)| bits | class.bit());
        Ok(Self {
            classes: if filter.classes == 0 { all } else { filter.classes },
            without_device: if filter.classes == 0 && filter.devices.is_empty() { all } else { filter.classes },
            devices: kinds
                .iter()
                .map(|&kind| (kind, filter.devices.is_empty() || filter.devices.iter().any(|name| name == kind)))
                .collect(),
            sender: Some(sender),
            lost: 0,
            writer: Some(writer),
        })
    }

    /// The device's kind, if its events of this class are recorded.
    pub(super) fn device(&self, class: Class, device: usize) -> Option<&'static str> {
        let (kind, recorded) = *self.devices.get(device)?;
        (recorded && self.classes & class.bit() != 0).then_some(kind)
    }

    /// Whether events of this class that belong to no device are recorded.
    pub(super) fn records(&self, class: Class) -> bool {
        self.without_device & class.bit() != 0
    }

    /// Queues a line: time in seconds, vCPU, class, text.
    pub(super) fn line(&mut self, now: Stamp, class: Class, text: impl Display) {
        let Some(sender) = &self.sender else { return };
        let mut line = String::with_capacity(96);
        let Stamp { time: VmTime(nanos), vcpu } = now;
        let _ = write!(line, "{:5}.{:09} ", nanos / 1_000_000_000, nanos % 1_000_000_000);
        let _ = match vcpu {
            Some(vcpu) => write!(line, "vcpu{vcpu:<2} "),
            None => write!(line, "-      "),
        };
        let _ = write!(line, "{:<11} {text}", class.name());
        if self.lost > 0 && sender.try_send(format!("{} lines lost", self.lost)).is_ok() {
            self.lost = 0;
        }
        if let Err(TrySendError::Full(_)) = sender.try_send(line) {
            self.lost += 1;
        }
    }

    /// A disk request has completed.
    pub(super) fn block_done(&mut self, now: Stamp, done: &BlockDone) {
        match &done.result {
            Ok(()) => self.line(now, Class::Work, format_args!("disk {} tag {} done", done.disk.0, done.tag)),
            Err(why) => {
                self.line(now, Class::Work, format_args!("disk {} tag {} failed: {why}", done.disk.0, done.tag))
            }
        }
    }

    /// Deferred work was queued.
    pub(super) fn work(&mut self, now: Stamp, work: &HostWork) {
        match work {
            HostWork::Block(request) => {
                let len = request.data.len();
                let (op, len) = match request.op {
                    BlockOp::Read => ("read", len),
                    BlockOp::Write => ("write", len),
                    BlockOp::Flush => ("flush", 0),
                    BlockOp::Discard { len } => ("discard", len),
                };
                let (disk, tag, at) = (request.disk.0, request.tag, request.offset);
                self.line(now, Class::Work, format_args!("disk {disk} tag {tag} {op} {len} bytes at {at}"));
            }
            HostWork::Frame(nic, frame) => {
                self.line(now, Class::Work, format_args!("nic {} send {} bytes", nic.0, frame.bytes.len()));
            }
            HostWork::Chars(stream) => self.line(now, Class::Work, format_args!("stream {} write", stream.0)),
            HostWork::Ready(source) => self.line(now, Class::Work, format_args!("{source:?} ready")),
            HostWork::Wake(_) => self.line(now, Class::Work, "wake a display client"),
            HostWork::Event(MachineEvent::Failed(_)) => self.line(now, Class::Work, "the machine failed"),
            HostWork::Event(event) => self.line(now, Class::Work, format_args!("event {event:?}")),
        }
    }
}

impl Drop for Tracer {
    /// Waits until all lines are written. Not for use under the board's lock.
    fn drop(&mut self) {
        if self.lost > 0
            && let Some(sender) = &self.sender
        {
            let _ = sender.try_send(format!("{} lines lost", self.lost));
        }
        self.sender = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Creates a regular file, or opens a terminal or another character device. A FIFO without a reader would block.
fn create(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_char_device() {
        return Err(std::io::Error::other("is neither a regular file nor a character device"));
    }
    Ok(file)
}

fn write_lines(lines: &Receiver<String>, file: File) {
    let mut file = BufWriter::with_capacity(64 << 10, file);
    let mut next = lines.recv().ok();
    while let Some(line) = next {
        if let Err(error) = file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n")) {
            tracing::warn!("the trace ends: {}", crate::error::host_error(&error));
            return;
        }
        next = match lines.try_recv() {
            Ok(line) => Some(line),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                // A reader of the file sees what has happened so far.
                let _ = file.flush();
                lines.recv().ok()
            }
        };
    }
    let _ = file.flush();
}

/// The value of an access for a trace line: a number, least significant byte first, or the first bytes of a string.
pub(super) struct Value<'a> {
    pub(super) data: &'a [u8],
    pub(super) width: u8,
}

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.data.len() <= usize::from(self.width) {
            let value = self.data.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
            return write!(f, "{value:0digits$x}", digits = 2 * self.data.len());
        }
        write!(f, "{} x {}:", self.data.len() / usize::from(self.width.max(1)), self.width)?;
        self.data.iter().take(SHOWN_BYTES).try_for_each(|byte| write!(f, " {byte:02x}"))?;
        if self.data.len() > SHOWN_BYTES { f.write_str(" ...") } else { Ok(()) }
    }
}

/// Limits a device's guest errors to [`GUEST_ERRORS_PER_SECOND`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RateLimit {
    second: u64,
    used: u32,
    suppressed: u64,
}

impl RateLimit {
    /// Whether one more may pass now; if so, how many were suppressed since the last one that passed.
    pub(super) fn pass(&mut self, now: VmTime) -> Option<u64> {
        let second = now.0 / 1_000_000_000;
        if second != self.second {
            (self.second, self.used) = (second, 0);
        }
        if self.used >= GUEST_ERRORS_PER_SECOND {
            self.suppressed += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [&str; 3] = ["i440fx", "piix3-ide", "vga"];

    fn tracer(filter: &str) -> Result<(Tracer, tempfile::NamedTempFile), TraceError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        Ok((Tracer::start(file.path(), &filter.parse().unwrap(), &KINDS)?, file))
    }

    #[test]
    fn a_filter_selects_classes_and_devices() {
        for (filter, ide_access, vga_access, vga_irq, unclaimed) in [
            ("", true, true, true, true),
            ("piix3-ide", true, false, false, false),
            ("access", true, true, false, false),
            ("irq,vga", false, false, true, false),
            ("access,unclaimed", true, true, false, true),
            ("vga,access,unclaimed", false, true, false, true),
        ] {
            let (tracer, _file) = tracer(filter).unwrap();
            let seen = (
                tracer.device(Class::Access, 1).is_some(),
                tracer.device(Class::Access, 2).is_some(),
                tracer.device(Class::Irq, 2).is_some(),
                tracer.records(Class::Unclaimed),
            );
            assert_eq!(seen, (ide_access, vga_access, vga_irq, unclaimed), "{filter}");
        }
    }

    #[test]
    fn an_unknown_word_is_named_with_what_could_have_been_meant() {
        assert_eq!(
            tracer("vga,ide").unwrap_err().to_string(),
            "'ide' is neither a class (access, unclaimed, irq, reset, work, guest-error) nor a device of this machine \
             (i440fx, piix3-ide, vga)"
        );
    }

    #[test]
    fn lines_reach_the_file_in_order() {
        let (mut tracer, file) = tracer("").unwrap();
        let stamp = |nanos, vcpu| Stamp { time: VmTime(nanos), vcpu };
        tracer.line(stamp(1_000_000_002, None), Class::Irq, "gsi 14 raised");
        tracer.line(stamp(1_500_000_000, Some(3)), Class::Access, Value { data: &[0x34, 0x12], width: 2 });
        tracer.line(stamp(1_500_000_001, Some(3)), Class::Access, Value { data: &[1, 2, 3, 4], width: 2 });
        drop(tracer);
        assert_eq!(
            std::fs::read_to_string(file.path()).unwrap(),
            "    1.000000002 -      irq         gsi 14 raised\n    \
             1.500000000 vcpu3  access      1234\n    \
             1.500000001 vcpu3  access      2 x 2: 01 02 03 04\n"
        );
    }

    #[test]
    fn a_full_queue_loses_lines_and_counts_them() {
        let (sender, receiver) = sync_channel(1);
        let (mut tracer, _file) = tracer("").unwrap();
        tracer.sender = Some(sender);
        for _ in 0..4 {
            tracer.line(Stamp { time: VmTime(0), vcpu: None }, Class::Irq, "x");
        }
        assert_eq!(tracer.lost, 3);
        receiver.recv().unwrap();
        tracer.line(Stamp { time: VmTime(0), vcpu: None }, Class::Irq, "x");
        assert_eq!(receiver.recv().unwrap(), "3 lines lost");
    }

    #[test]
    fn guest_errors_are_limited_per_second() {
        let mut limit = RateLimit::default();
        let passed = |limit: &mut RateLimit, at| (0..25).filter_map(|_| limit.pass(VmTime(at))).collect::<Vec<_>>();
        assert_eq!(passed(&mut limit, 0), [0; 10]);
        let next = passed(&mut limit, 1_000_000_000);
        assert_eq!((next.len(), next[0]), (10, 15));
    }
}
