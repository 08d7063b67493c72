//! A tap device: the card's frames are those of a network interface of the host, which may lie on a bridge
//! (Documentation/networking/tuntap.rst). Each frame has a virtio-net header before it (virtio 1.2, 5.1.6), by which the
//! kernel cuts long TCP segments and fills in checksums, or leaves both to us.

use super::{NetError, Received, Scratch, sys};
use crate::config::{TapConfig, TapSource};
use pcvm_devices::net::{ChecksumAt, Frame, Offload, Segmentation};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// In addition: with CWR, which only the first piece is to have.
const GSO_ECN: u8 = 0x80;
/// The byte of a TCP header whose upper half is its length in words.
const TCP_OFFSET: usize = 12;

/// Before each frame; in the host's byte order, as a legacy device has it, which the kernel uses unless told otherwise.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

impl Header {
    /// How a frame that was read is to be cut. (`hdr_len` is what the kernel happens to have in one piece.)
    fn segmentation(&self, frame: &[u8]) -> Option<Segmentation> {
        if self.gso_type & !GSO_ECN != GSO_TCPV4 {
            return None;
        }
        let words = frame.get(usize::from(self.csum_start) + TCP_OFFSET)? >> 4;
        let header = self.csum_start.checked_add(u16::from(words) * 4)?;
        Some(Segmentation { ipv6: false, header, mss: self.gso_size })
    }
}

/// Descriptors below this are not ours to take.
const FIRST_FD: i32 = 3;

/// An open tap device.
pub struct Tap {
    file: OwnedFd,
    name: String,
    /// What is undone at the end.
    bridge: Option<String>,
    downscript: Option<std::path::PathBuf>,
    /// It was told that the device is gone.
    gone: AtomicBool,
}

impl Tap {
    /// Opens or makes the device, puts it onto its bridge and switches it on.
    ///
    /// # Errors
    /// If the host does not let us, or what is named is not there.
    pub fn open(config: &TapConfig) -> Result<Self, NetError> {
        let (file, name) = match &config.source {
            TapSource::Fd(number) => inherited(*number)?,
            TapSource::Name(name) => made(name.as_deref())?,
        };
        let fail = |what, error: std::io::Error| NetError::interface(what, &name, &error);
        sys::set_header_size(file.as_fd(), size_of::<Header>() as i32)
            .map_err(|error| fail("cannot set up tap", error))?;
        sys::set_offload(file.as_fd()).map_err(|error| fail("cannot set up tap", error))?;
        rustix::fs::fcntl_setfl(&file, OFlags::NONBLOCK).map_err(|errno| fail("cannot set up tap", errno.into()))?;
        let mut tap =
            Self { file, name, bridge: None, downscript: config.downscript.clone(), gone: AtomicBool::new(false) };
        if let Some(bridge) = &config.bridge {
            tap.join(bridge)?;
        }
        if let Some(script) = &config.script {
            run_script(script, &tap.name)?;
        } else if !sys::is_up(&tap.name).unwrap_or(true) {
            sys::bring_up(&tap.name).map_err(|error| NetError::interface("cannot switch on tap", &tap.name, &error))?;
        }
        Ok(tap)
    }

    fn join(&mut self, bridge: &str) -> Result<(), NetError> {
        let port = Path::new("/sys/class/net").join(&self.name).join("brport/bridge");
        // It may lie on it already: made and put there by somebody who may, for us who may not.
        if std::fs::read_link(port).is_ok_and(|at| at.file_name() == Some(OsStr::new(bridge))) {
            return Ok(());
        }
        if sys::index(bridge).is_err() {
            return Err(NetError::Interface {
                what: "bridge",
                name: bridge.to_owned(),
                why: "there is none".to_owned(),
            });
        }
        match sys::bridge(bridge, &self.name, true) {
            Ok(()) => self.bridge = Some(bridge.to_owned()),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let why = "this interface is no bridge".to_owned();
                return Err(NetError::Interface { what: "bridge", name: bridge.to_owned(), why });
            }
            Err(error) => return Err(NetError::interface("cannot join bridge", bridge, &error)),
        }
        Ok(())
    }

    /// Sends a frame.
    pub fn send(&self, frame: &Frame) {
        let Offload { checksum, segmentation, verified: _ } = frame.offload;
        let mut header = Header::default();
        if let Some(ChecksumAt { start, offset }) = checksum {
            (header.flags, header.csum_start, header.csum_offset) = (NEEDS_CSUM, start, offset);
        }
        if let Some(how) = segmentation {
            header.gso_type = if how.ipv6 { GSO_TCPV6 } else { GSO_TCPV4 };
            (header.hdr_len, header.gso_size) = (how.header, how.mss);
        }
        let written = rustix::io::writev(&self.file, &[IoSlice::new(header.as_bytes()), IoSlice::new(&frame.bytes)]);
        match written {
            // The host's queue is full, or it does not like the frame: lost.
            Ok(_) | Err(Errno::AGAIN | Errno::INVAL | Errno::NOBUFS | Errno::INTR) => {}
            Err(errno) => self.lost(errno),
        }
    }

    /// Reads a frame.
    pub fn receive(&self, scratch: &mut Scratch, buffer: &mut Vec<u8>) -> Received {
        let mut header = Header::default();
        let read = {
            let pieces = &mut [IoSliceMut::new(header.as_mut_bytes()), IoSliceMut::new(&mut scratch.0)];
            rustix::io::readv(&self.file, pieces)
        };
        let len = match read {
            Ok(len) => len.saturating_sub(size_of::<Header>()).min(scratch.0.len()),
            Err(Errno::AGAIN | Errno::INTR) => return Received::Nothing,
            Err(errno) => {
                self.lost(errno);
                return Received::Gone;
            }
        };
        buffer.extend_from_slice(scratch.0.get(..len).unwrap_or(&[]));
        let needs = header.flags & NEEDS_CSUM != 0;
        let checksum = needs.then_some(ChecksumAt { start: header.csum_start, offset: header.csum_offset });
        let segmentation = header.segmentation(buffer);
        let offload = Offload { checksum, segmentation, verified: header.flags & DATA_VALID != 0 };
        Received::Frame(Frame { bytes: std::mem::take(buffer), offload })
    }

    fn lost(&self, errno: Errno) {
        if !self.gone.swap(true, Ordering::SeqCst) {
            let why = crate::error::host_error(&errno.into());
            tracing::warn!("tap {}: {why}: the guest's cable is out", self.name);
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(bridge) = &self.bridge
            && !self.gone.load(Ordering::SeqCst)
            && let Err(error) = sys::bridge(bridge, &self.name, false)
        {
            tracing::warn!("bridge {bridge}: {} stays on it: {}", self.name, crate::error::host_error(&error));
        }
        if let Some(script) = &self.downscript
            && let Err(error) = run_script(script, &self.name)
        {
            tracing::warn!("{error}");
        }
    }
}

/// The tap that somebody else has opened, and its name.
fn inherited(number: i32) -> Result<(OwnedFd, String), NetError> {
    let bad = |why: &str| NetError::Interface { what: "descriptor", name: number.to_string(), why: why.to_owned() };
    if number < FIRST_FD {
        return Err(bad("not one that is for us"));
    }
    if rustix::fs::readlink(format!("/proc/self/fd/{number}"), Vec::new()).is_err() {
        return Err(bad("not open"));
    }
    #[allow(unsafe_code)]
    // SAFETY: it is open, as was just seen; whoever started us gave it to us by its number, and nothing of ours has it: our
    // own descriptors are not yet many, and this is the only place that takes one by number, once for each number
    // (`parse::nets` sees to that).
    let file = unsafe { OwnedFd::from_raw_fd(number) };
    let (name, flags) = sys::describe(file.as_fd()).map_err(|_| bad("not a tap device"))?;
    if flags & libc::IFF_TAP == 0 || flags & libc::IFF_VNET_HDR == 0 {
        return Err(bad("not a tap device with IFF_VNET_HDR"));
    }
    let _ = rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC);
    Ok((file, name))
}

/// A tap with this name, which exists or does not, or with one that is free.
fn made(name: Option<&str>) -> Result<(OwnedFd, String), NetError> {
    const TUN: &str = "/dev/net/tun";
    let file = rustix::fs::open(TUN, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .map_err(|errno| NetError::file(Path::new(TUN), &errno.into()))?;
    let wanted = name.unwrap_or("tap%d");
    let taken = |error: std::io::Error| {
        let why = match error.raw_os_error() {
            Some(libc::EBUSY) => "somebody else uses it".to_owned(),
            Some(libc::EINVAL) => "there is one that is no tap device with a single queue".to_owned(),
            Some(libc::EPERM) => {
                "not permitted: root can make one for you (ip tuntap add NAME mode tap user YOU)".to_owned()
            }
            _ => crate::error::host_error(&error),
        };
        NetError::Interface { what: "cannot use tap", name: name.unwrap_or("(a new one)").to_owned(), why }
    };
    let name = sys::attach(file.as_fd(), wanted).map_err(taken)?;
    Ok((file, name))
}

/// Runs a script as QEMU and Xen do: its argument is the interface's name.
fn run_script(script: &Path, name: &str) -> Result<(), NetError> {
    let status = Command::new(script).arg(name).stdin(Stdio::null()).status();
    let status = status.map_err(|error| NetError::file(script, &error))?;
    if status.success() {
        return Ok(());
    }
    let why = match status.code() {
        Some(code) => format!("ended with status {code} for {name}"),
        None => format!("was killed while it ran for {name}"),
    };
    Err(NetError::File { path: script.display().to_string(), why })
}
