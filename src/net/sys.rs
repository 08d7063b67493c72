//! The ioctls of tap devices and bridges (Linux: Documentation/networking/tuntap.rst, netdevice(7), bridge(4)), each behind a
//! safe function.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes of an interface's name, with a NUL.
const NAME: usize = libc::IFNAMSIZ;

/// An `ifreq` that is empty but for its name.
fn request(name: &str) -> io::Result<libc::ifreq> {
    if name.is_empty() || name.len() >= NAME || name.contains(['/', '\0', ' ']) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a name of a network interface (1 to 15 characters)",
        ));
    }
    // SAFETY: an `ifreq` is plain data: all zeroes are a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

fn ioctl(fd: BorrowedFd<'_>, number: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: the numbers that this file passes take a pointer to an `ifreq`, read it and may write it; it is ours.
    if unsafe { libc::ioctl(fd.as_raw_fd(), number as _, std::ptr::from_mut(request)) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A socket to ask about interfaces with.
fn socket() -> io::Result<rustix::fd::OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

/// Makes `fd` (of /dev/net/tun) the tap `name`, or a new one by the pattern `name`; a virtio-net header before every frame.
/// Gives its name.
pub fn attach(fd: BorrowedFd<'_>, name: &str) -> io::Result<String> {
    let mut request = request(name)?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    ioctl(fd, libc::TUNSETIFF as _, &mut request)?;
    Ok(name_of(&request))
}

/// The name and flags of the tap that `fd` is.
pub fn describe(fd: BorrowedFd<'_>) -> io::Result<(String, i32)> {
    let mut request = request("tap")?;
    ioctl(fd, libc::TUNGETIFF as _, &mut request)?;
    // SAFETY: the kernel has just filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok((name_of(&request), i32::from(flags)))
}

fn name_of(request: &libc::ifreq) -> String {
    let mut name = request.ifr_name.map(|byte| byte as u8);
    // The kernel ends it; this makes sure.
    if let Some(last) = name.last_mut() {
        *last = 0;
    }
    CStr::from_bytes_until_nul(&name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What the kernel may leave to us of frames that we read from a tap: TCP and UDP checksums, and cutting TCP over IPv4.
/// (Over IPv6 it may lie behind extension headers, which `cut` does not know.)
pub fn set_offload(fd: BorrowedFd<'_>) -> io::Result<()> {
    const TUN_F_CSUM: libc::c_ulong = 1;
    const TUN_F_TSO4: libc::c_ulong = 2;
    const TUN_F_TSO_ECN: libc::c_ulong = 8;
    // SAFETY: TUNSETOFFLOAD takes a number, no pointer.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD as _, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The length of the virtio-net header.
pub fn set_header_size(fd: BorrowedFd<'_>, size: i32) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads an int.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ as _, std::ptr::from_ref(&size)) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// An interface's number.
pub fn index(name: &str) -> io::Result<i32> {
    let socket = socket()?;
    let mut request = request(name)?;
    ioctl(rustix::fd::AsFd::as_fd(&socket), libc::SIOCGIFINDEX as _, &mut request)?;
    // SAFETY: the kernel has just filled it in.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex })
}

/// Whether an interface is up.
pub fn is_up(name: &str) -> io::Result<bool> {
    let socket = socket()?;
    let mut request = request(name)?;
    ioctl(rustix::fd::AsFd::as_fd(&socket), libc::SIOCGIFFLAGS as _, &mut request)?;
    // SAFETY: as above.
    Ok(i32::from(unsafe { request.ifr_ifru.ifru_flags }) & libc::IFF_UP != 0)
}

/// Switches an interface on.
pub fn bring_up(name: &str) -> io::Result<()> {
    let socket = socket()?;
    let fd = rustix::fd::AsFd::as_fd(&socket);
    let mut request = request(name)?;
    ioctl(fd, libc::SIOCGIFFLAGS as _, &mut request)?;
    // SAFETY: as above.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    request.ifr_ifru.ifru_flags = (flags | libc::IFF_UP) as libc::c_short;
    ioctl(fd, libc::SIOCSIFFLAGS as _, &mut request)
}

const SIOCBRADDIF: libc::c_ulong = 0x89a2;
const SIOCBRDELIF: libc::c_ulong = 0x89a3;

/// Puts an interface onto a bridge, or takes it off.
pub fn bridge(bridge: &str, interface: &str, on: bool) -> io::Result<()> {
    let socket = socket()?;
    let number = index(interface)?;
    let mut request = request(bridge)?;
    request.ifr_ifru.ifru_ifindex = number;
    ioctl(rustix::fd::AsFd::as_fd(&socket), if on { SIOCBRADDIF } else { SIOCBRDELIF }, &mut request)
}
