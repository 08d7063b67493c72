//! Safe wrappers of the ioctls of tap devices and bridges (Linux: Documentation/networking/tuntap.rst, netdevice(7)).

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes of an interface name with its terminating NUL.
const NAME: usize = libc::IFNAMSIZ;

/// An `ifreq` with a name and zeros.
fn request(name: &str) -> io::Result<libc::ifreq> {
    if name.is_empty() || name.len() >= NAME || name.contains(['/', '\0', ' ']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a valid interface name (1 to 15 characters)"));
    }
    // SAFETY: an `ifreq` is plain data, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

fn ioctl(fd: BorrowedFd<'_>, number: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: the ioctls that this file passes take a pointer to an `ifreq`, which they read and may write. The pointer is
    // from an exclusive reference.
    if unsafe { libc::ioctl(fd.as_raw_fd(), number as _, std::ptr::from_mut(request)) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A socket for ioctls on interfaces, netdevice(7).
fn socket() -> io::Result<rustix::fd::OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

/// TUNSETIFF: attaches `fd`, an open /dev/net/tun, to the tap `name`, which is created if it does not exist; a name with %d
/// is a pattern for a new one. Frames have a virtio-net header. Gives the interface name.
pub fn attach(fd: BorrowedFd<'_>, name: &str) -> io::Result<String> {
    let mut request = request(name)?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    ioctl(fd, libc::TUNSETIFF as _, &mut request)?;
    Ok(name_of(&request))
}

/// TUNGETIFF: the name and flags of the tap that `fd` is attached to.
pub fn describe(fd: BorrowedFd<'_>) -> io::Result<(String, i32)> {
    let mut request = request("tap")?;
    ioctl(fd, libc::TUNGETIFF as _, &mut request)?;
    // SAFETY: the kernel has filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok((name_of(&request), i32::from(flags)))
}

fn name_of(request: &libc::ifreq) -> String {
    let mut name = request.ifr_name.map(|byte| byte as u8);
    // The kernel terminates the name; this does not rely on it.
    if let Some(last) = name.last_mut() {
        *last = 0;
    }
    CStr::from_bytes_until_nul(&name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// TUNSETOFFLOAD: frames read from the tap may lack TCP and UDP checksums, and may be TCP segments over IPv4 that are longer
/// than the MSS. (Not over IPv6: `gso` does not parse extension headers before TCP.)
pub fn set_offload(fd: BorrowedFd<'_>) -> io::Result<()> {
    const TUN_F_CSUM: libc::c_ulong = 1;
    const TUN_F_TSO4: libc::c_ulong = 2;
    const TUN_F_TSO_ECN: libc::c_ulong = 8;
    // SAFETY: TUNSETOFFLOAD takes an integer, no pointer.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD as _, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// TUNSETVNETHDRSZ: sets the length of the virtio-net header.
pub fn set_header_size(fd: BorrowedFd<'_>, size: i32) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads an int.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ as _, std::ptr::from_ref(&size)) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// SIOCGIFINDEX: an interface's index.
pub fn index(name: &str) -> io::Result<i32> {
    let socket = socket()?;
    let mut request = request(name)?;
    ioctl(rustix::fd::AsFd::as_fd(&socket), libc::SIOCGIFINDEX as _, &mut request)?;
    // SAFETY: the kernel has filled in the index.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex })
}

/// SIOCGIFFLAGS: whether an interface is up.
pub fn is_up(name: &str) -> io::Result<bool> {
    let socket = socket()?;
    let mut request = request(name)?;
    ioctl(rustix::fd::AsFd::as_fd(&socket), libc::SIOCGIFFLAGS as _, &mut request)?;
    // SAFETY: the kernel has filled in the flags.
    Ok(i32::from(unsafe { request.ifr_ifru.ifru_flags }) & libc::IFF_UP != 0)
}

/// SIOCSIFFLAGS: brings an interface up.
pub fn bring_up(name: &str) -> io::Result<()> {
    let socket = socket()?;
    let fd = rustix::fd::AsFd::as_fd(&socket);
    let mut request = request(name)?;
    ioctl(fd, libc::SIOCGIFFLAGS as _, &mut request)?;
    // SAFETY: the kernel has filled in the flags.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    request.ifr_ifru.ifru_flags = (flags | libc::IFF_UP) as libc::c_short;
    ioctl(fd, libc::SIOCSIFFLAGS as _, &mut request)
}

// <linux/sockios.h>
const SIOCBRADDIF: libc::c_ulong = 0x89a2;
const SIOCBRDELIF: libc::c_ulong = 0x89a3;

/// SIOCBRADDIF or SIOCBRDELIF: adds an interface to a bridge, or removes it.
pub fn set_bridge(bridge: &str, interface: &str, member: bool) -> io::Result<()> {
    let socket = socket()?;
    let index = index(interface)?;
    let mut request = request(bridge)?;
    request.ifr_ifru.ifru_ifindex = index;
    ioctl(rustix::fd::AsFd::as_fd(&socket), if member { SIOCBRADDIF } else { SIOCBRDELIF }, &mut request)
}
