//! Tap device backend (Linux: Documentation/networking/tuntap.rst): the guest's frames pass a network interface of the host,
//! which may be a port of a bridge.
//!
//! Each frame has a virtio-net header before it (virtio 1.2, 5.1.6). It carries checksum and segmentation offload in both
//! directions.

use super::{Backend, NetError, Received, Scratch, sys};
use crate::config::{TapConfig, TapSource};
use pcvm_devices::net::{ChecksumAt, Frame, Offload, Segmentation};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// VIRTIO_NET_HDR_F_NEEDS_CSUM.
const NEEDS_CSUM: u8 = 1;
/// VIRTIO_NET_HDR_F_DATA_VALID.
const DATA_VALID: u8 = 2;
/// VIRTIO_NET_HDR_GSO_TCPV4.
const GSO_TCPV4: u8 = 1;
/// VIRTIO_NET_HDR_GSO_TCPV6.
const GSO_TCPV6: u8 = 4;
/// VIRTIO_NET_HDR_GSO_ECN, ORed to the type: the segment has CWR set, which only the first part keeps.
const GSO_ECN: u8 = 0x80;
/// Offset of the TCP header's byte with the data offset, in words, in its upper half (RFC 9293, 3.1).
const TCP_DATA_OFFSET: usize = 12;

/// `struct virtio_net_hdr` in the host's byte order, the kernel's default (TUNSETVNETLE and TUNSETVNETBE change it).
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
    /// Segmentation offload of a received frame. Its header length is from the TCP header: `hdr_len` is only a hint.
    fn segmentation(&self, frame: &[u8]) -> Option<Segmentation> {
        if self.gso_type & !GSO_ECN != GSO_TCPV4 {
            return None;
        }
        let words = frame.get(usize::from(self.csum_start) + TCP_DATA_OFFSET)? >> 4;
        let header = self.csum_start.checked_add(u16::from(words) * 4)?;
        Some(Segmentation { ipv6: false, header, mss: self.gso_size })
    }
}

/// Lower descriptors are the standard streams.
const FIRST_FD: i32 = 3;

/// An open tap device.
pub struct Tap {
    file: OwnedFd,
    name: String,
    /// The bridge that the tap was added to, and is removed from at the end.
    joined_bridge: Option<String>,
    /// Run at the end.
    downscript: Option<PathBuf>,
    /// The device was deleted while in use, and that has been logged.
    deleted: AtomicBool,
}

impl Tap {
    /// Opens or creates the device, adds it to its bridge and brings it up.
    ///
    /// # Errors
    /// If access is denied, or if the bridge or the inherited descriptor does not exist.
    pub fn open(config: &TapConfig) -> Result<Self, NetError> {
        let (file, name) = match &config.source {
            TapSource::Fd(number) => from_inherited_fd(*number)?,
            TapSource::Name(name) => open_or_create(name.as_deref())?,
        };
        let fail = |what, error: std::io::Error| NetError::interface(what, &name, &error);
        sys::set_header_size(file.as_fd(), size_of::<Header>() as i32)
            .map_err(|error| fail("cannot set up tap", error))?;
        sys::set_offload(file.as_fd()).map_err(|error| fail("cannot set up tap", error))?;
        rustix::fs::fcntl_setfl(&file, OFlags::NONBLOCK).map_err(|errno| fail("cannot set up tap", errno.into()))?;
        let downscript = config.downscript.clone();
        let mut tap = Self { file, name, joined_bridge: None, downscript, deleted: AtomicBool::new(false) };
        if let Some(bridge) = &config.bridge {
            tap.join_bridge(bridge)?;
        }
        if let Some(script) = &config.script {
            run_script(script, &tap.name)?;
        } else if !sys::is_up(&tap.name).unwrap_or(true) {
            sys::bring_up(&tap.name).map_err(|error| NetError::interface("cannot bring up tap", &tap.name, &error))?;
        }
        Ok(tap)
    }

    fn join_bridge(&mut self, bridge: &str) -> Result<(), NetError> {
        let port = Path::new("/sys/class/net").join(&self.name).join("brport/bridge");
        // The administrator may have created it and added it to the bridge for a user without the permission to do so.
        if std::fs::read_link(port).is_ok_and(|at| at.file_name() == Some(OsStr::new(bridge))) {
            return Ok(());
        }
        if sys::index(bridge).is_err() {
            return Err(NetError::Interface {
                what: "bridge",
                name: bridge.to_owned(),
                why: "does not exist".to_owned(),
            });
        }
        match sys::set_bridge(bridge, &self.name, true) {
            Ok(()) => self.joined_bridge = Some(bridge.to_owned()),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let why = "is not a bridge".to_owned();
                return Err(NetError::Interface { what: "bridge", name: bridge.to_owned(), why });
            }
            Err(error) => return Err(NetError::interface("cannot join bridge", bridge, &error)),
        }
        Ok(())
    }

    /// Logs the first error, after which the tap is out of use.
    fn log_deleted(&self, errno: Errno) {
        if !self.deleted.swap(true, Ordering::SeqCst) {
            let why = crate::error::host_error(&errno.into());
            tracing::warn!("tap {}: {why}: the guest's link is down", self.name);
        }
    }
}

impl Backend for Tap {
    fn send(&self, frame: &Frame) -> bool {
        let Offload { checksum, segmentation, verified: _ } = frame.offload;
        let mut header = Header::default();
        if let Some(ChecksumAt { start, offset }) = checksum {
            (header.flags, header.csum_start, header.csum_offset) = (NEEDS_CSUM, start, offset);
        }
        if let Some(Segmentation { ipv6, header: headers, mss }) = segmentation {
            header.gso_type = if ipv6 { GSO_TCPV6 } else { GSO_TCPV4 };
            (header.hdr_len, header.gso_size) = (headers, mss);
        }
        let written = rustix::io::writev(&self.file, &[IoSlice::new(header.as_bytes()), IoSlice::new(&frame.bytes)]);
        match written {
            Ok(_) => true,
            // The interface's queue is full, or the kernel rejects the frame's headers.
            Err(Errno::AGAIN | Errno::INVAL | Errno::NOBUFS | Errno::INTR) => false,
            Err(errno) => {
                self.log_deleted(errno);
                false
            }
        }
    }

    fn receive(&self, scratch: &mut Scratch, buffer: &mut Vec<u8>) -> Received {
        let mut header = Header::default();
        let read = {
            let iov = &mut [IoSliceMut::new(header.as_mut_bytes()), IoSliceMut::new(&mut scratch.0)];
            rustix::io::readv(&self.file, iov)
        };
        let len = match read {
            Ok(len) => len.saturating_sub(size_of::<Header>()).min(scratch.0.len()),
            Err(Errno::AGAIN | Errno::INTR) => return Received::Nothing,
            Err(errno) => {
                self.log_deleted(errno);
                return Received::Disconnected;
            }
        };
        buffer.extend_from_slice(scratch.0.get(..len).unwrap_or(&[]));
        let needs_checksum = header.flags & NEEDS_CSUM != 0;
        let checksum = needs_checksum.then_some(ChecksumAt { start: header.csum_start, offset: header.csum_offset });
        let segmentation = header.segmentation(buffer);
        let offload = Offload { checksum, segmentation, verified: header.flags & DATA_VALID != 0 };
        Received::Frame(Frame { bytes: std::mem::take(buffer), offload })
    }

    fn rx_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(bridge) = &self.joined_bridge
            && !self.deleted.load(Ordering::SeqCst)
            && let Err(error) = sys::set_bridge(bridge, &self.name, false)
        {
            let why = crate::error::host_error(&error);
            tracing::warn!("cannot remove tap {} from bridge {bridge}: {why}", self.name);
        }
        if let Some(script) = &self.downscript
            && let Err(error) = run_script(script, &self.name)
        {
            tracing::warn!("{error}");
        }
    }
}

/// A tap that the parent process has opened, and its name.
fn from_inherited_fd(number: i32) -> Result<(OwnedFd, String), NetError> {
    let bad = |why: &str| NetError::Interface { what: "descriptor", name: number.to_string(), why: why.to_owned() };
    if number < FIRST_FD {
        return Err(bad("a standard stream (0 to 2)"));
    }
    if rustix::fs::readlink(format!("/proc/self/fd/{number}"), Vec::new()).is_err() {
        return Err(bad("not open"));
    }
    #[allow(unsafe_code)]
    // SAFETY: the descriptor is open, as the check above shows. The parent process passed it to this one by number, so no
    // object in this process owns it: this function is the only code that takes a descriptor by number, and `parse::nets`
    // rejects a number that is given twice.
    let file = unsafe { OwnedFd::from_raw_fd(number) };
    let (name, flags) = sys::describe(file.as_fd()).map_err(|_| bad("not a tap device"))?;
    if flags & libc::IFF_TAP == 0 || flags & libc::IFF_VNET_HDR == 0 {
        return Err(bad("not a tap device with IFF_VNET_HDR"));
    }
    let _ = rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC);
    Ok((file, name))
}

/// The tap with this name, which is created if it does not exist; without a name, a new tap with a free one.
fn open_or_create(name: Option<&str>) -> Result<(OwnedFd, String), NetError> {
    const TUN: &str = "/dev/net/tun";
    let file = rustix::fs::open(TUN, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .map_err(|errno| NetError::file(Path::new(TUN), &errno.into()))?;
    let pattern = name.unwrap_or("tap%d");
    let fail = |error: std::io::Error| {
        let why = match error.raw_os_error() {
            Some(libc::EBUSY) => "in use by another program".to_owned(),
            Some(libc::EINVAL) => "an interface of this name exists that is not a single-queue tap device".to_owned(),
            Some(libc::EPERM) => "not permitted; create it as root: ip tuntap add NAME mode tap user USER".to_owned(),
            _ => crate::error::host_error(&error),
        };
        NetError::Interface { what: "cannot use tap", name: name.unwrap_or("(new)").to_owned(), why }
    };
    let name = sys::attach(file.as_fd(), pattern).map_err(fail)?;
    Ok((file, name))
}

/// Runs an interface script as QEMU and Xen do, with the interface name as its argument.
fn run_script(script: &Path, name: &str) -> Result<(), NetError> {
    let status = Command::new(script).arg(name).stdin(Stdio::null()).status();
    let status = status.map_err(|error| NetError::file(script, &error))?;
    if status.success() {
        return Ok(());
    }
    let why = match status.code() {
        Some(code) => format!("failed with status {code} for {name}"),
        None => format!("was killed by a signal for {name}"),
    };
    Err(NetError::File { path: script.display().to_string(), why })
}
