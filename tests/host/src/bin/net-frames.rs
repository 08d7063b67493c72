//! Sends and counts raw Ethernet frames on an interface of the host or of a guest.
//!
//! ```text
//! net-frames send INTERFACE COUNT ADDRESS...          sends COUNT frames to each address in turn
//! net-frames flood INTERFACE ADDRESS BYTES SECONDS    sends at full rate; frames without buffer space are dropped
//! net-frames watch INTERFACE WHAT                     counts received frames by destination until one for the
//!                                                     interface's own address arrives; WHAT is `own`, `everything`
//!                                                     (promiscuous), `all-multicast`, or a group to join
//! net-frames offload INTERFACE [on|off]               prints TSO and checksum offload settings; switches TSO
//! ```
//!
//! Frames have the local experimental EtherType 88B5h. Needs root: packet(7), netdevice(7).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const ETHER_TYPE: u16 = 0x88b5;
/// How long `watch` waits for the last frame.
const TIMEOUT: Duration = Duration::from_secs(100);
/// Frames that `flood` sends between two reads of the clock.
const BURST: u64 = 64;

type Address = [u8; 6];

fn parse(text: &str) -> io::Result<Address> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{text}: not a MAC address of six bytes")))
}

fn show(address: &[u8]) -> String {
    address.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn sys(interface: &str, file: &str) -> io::Result<String> {
    Ok(fs::read_to_string(format!("/sys/class/net/{interface}/{file}"))?.trim().to_owned())
}

fn check(code: libc::c_int) -> io::Result<libc::c_int> {
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(code) }
}

/// A packet socket on an interface: receives what the driver passes up, for any destination.
struct Socket {
    file: OwnedFd,
    interface: i32,
}

#[allow(unsafe_code)]
impl Socket {
    fn open(interface: &str) -> io::Result<Self> {
        let index = sys(interface, "ifindex")?.parse().map_err(io::Error::other)?;
        let protocol = ETHER_TYPE.to_be();
        // SAFETY: no pointers.
        let file = check(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, protocol.into()) })?;
        // SAFETY: the descriptor was just opened and has no other owner.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        // SAFETY: a `sockaddr_ll` is plain data: all zeroes are a valid value.
        let mut at: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        (at.sll_family, at.sll_protocol, at.sll_ifindex) = (libc::AF_PACKET as u16, protocol, index);
        // SAFETY: passes a pointer to a local variable and its size.
        check(unsafe { libc::bind(file.as_raw_fd(), (&raw const at).cast(), size_of_val(&at) as u32) })?;
        // Receive buffer for frames that arrive while the program is not reading.
        let room: libc::c_int = 4 << 20;
        let (level, option, size) = (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size_of_val(&room) as u32);
        // SAFETY: passes a pointer to a local variable and its size.
        check(unsafe { libc::setsockopt(file.as_raw_fd(), level, option, (&raw const room).cast(), size) })?;
        Ok(Self { file, interface: index })
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: passes the frame's pointer and length.
        let sent = unsafe { libc::send(self.file.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Destination of the next frame; `None` if none arrives within `timeout`.
    fn receive(&self, timeout: Duration) -> io::Result<Option<Address>> {
        let mut poll = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: passes one local `pollfd`.
        if check(unsafe { libc::poll(&raw mut poll, 1, timeout.as_millis() as i32) })? == 0 {
            return Ok(None);
        }
        let mut address = Address::default();
        // SAFETY: writes at most the six bytes of `address`; the rest of the frame is discarded.
        let got = unsafe { libc::recv(self.file.as_raw_fd(), address.as_mut_ptr().cast(), address.len(), 0) };
        if got < 0 { Err(io::Error::last_os_error()) } else { Ok(Some(address)) }
    }

    /// Widens the interface's receive filter while the socket is open.
    fn add_membership(&self, what: libc::c_int, group: Address) -> io::Result<()> {
        // SAFETY: a `packet_mreq` is plain data: all zeroes are a valid value.
        let mut request: libc::packet_mreq = unsafe { std::mem::zeroed() };
        (request.mr_ifindex, request.mr_type, request.mr_alen) = (self.interface, what as u16, group.len() as u16);
        request.mr_address[..group.len()].copy_from_slice(&group);
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP);
        let size = size_of_val(&request) as u32;
        // SAFETY: passes a pointer to a local variable and its size.
        check(unsafe { libc::setsockopt(self.file.as_raw_fd(), level, option, (&raw const request).cast(), size) })?;
        Ok(())
    }

    /// An ethtool ioctl that reads or writes a number (linux/ethtool.h: `ethtool_value`).
    fn ethtool(&self, interface: &str, command: u32, value: u32) -> io::Result<u32> {
        const SIOCETHTOOL: libc::c_ulong = 0x8946;
        let mut value = [command, value];
        // SAFETY: an `ifreq` is plain data: all zeroes are a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The last byte stays 0 as terminator.
        for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(interface.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
        // SAFETY: passes a local request that points to two local words, which these commands read and write.
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) })?;
        Ok(value[1])
    }
}

fn frame(to: Address, from: Address, bytes: usize) -> Vec<u8> {
    let mut frame = [&to[..], &from, &ETHER_TYPE.to_be_bytes()].concat();
    frame.resize(bytes, 0x5a);
    frame
}

/// Sends a frame; drops it if the interface has no buffer space.
fn send_or_drop(socket: &Socket, frame: &[u8]) -> io::Result<()> {
    match socket.send(frame) {
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
        other => other,
    }
}

fn watch(interface: &str, what: &str) -> io::Result<()> {
    let socket = Socket::open(interface)?;
    match what {
        "own" => {}
        "all-multicast" => socket.add_membership(libc::PACKET_MR_ALLMULTI, Address::default())?,
        "everything" => socket.add_membership(libc::PACKET_MR_PROMISC, Address::default())?,
        group => socket.add_membership(libc::PACKET_MR_MULTICAST, parse(group)?)?,
    }
    let own = parse(&sys(interface, "address")?)?;
    // Fields: index, interface, users, global users, address.
    for line in fs::read_to_string("/proc/net/dev_mcast")?.lines() {
        if let [_, name, _, _, group] = line.split_whitespace().collect::<Vec<_>>()[..]
            && name == interface
        {
            println!("member {group}");
        }
    }
    println!("watching {what}");
    let (start, mut seen) = (Instant::now(), BTreeMap::<Address, u32>::new());
    while let Some(left) = TIMEOUT.checked_sub(start.elapsed()) {
        let Some(address) = socket.receive(left)? else { break };
        if address == own {
            for (address, count) in seen {
                println!("seen {} {count}", show(&address));
            }
            println!("done");
            return Ok(());
        }
        *seen.entry(address).or_default() += 1;
    }
    Err(io::Error::other("no frame for the interface's own address arrived in time"))
}

fn flood(interface: &str, to: Address, bytes: usize, seconds: f64) -> io::Result<()> {
    let socket = Socket::open(interface)?;
    let frame = frame(to, parse(&sys(interface, "address")?)?, bytes);
    let (start, mut frames) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < seconds {
        for _ in 0..BURST {
            send_or_drop(&socket, &frame)?;
        }
        frames += BURST;
    }
    println!("offered {frames}");
    Ok(())
}

/// Commands of linux/ethtool.h.
const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETHTOOL_GSG: u32 = 0x18;
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_STSO: u32 = 0x1f;

fn run(args: &[&str]) -> io::Result<bool> {
    match *args {
        ["send", interface, count, ref addresses @ ..] => {
            let socket = Socket::open(interface)?;
            let from = parse(&sys(interface, "address")?)?;
            for address in addresses {
                for _ in 0..count.parse().unwrap_or(1) {
                    socket.send(&frame(parse(address)?, from, 60))?;
                }
            }
        }
        ["flood", interface, to, bytes, seconds] => {
            let number = |text: &str| text.parse::<f64>().map_err(io::Error::other);
            flood(interface, parse(to)?, number(bytes)? as usize, number(seconds)?)?;
        }
        ["watch", interface, what] => watch(interface, what)?,
        ["offload", interface, ref switch @ ..] => {
            let socket = Socket::open(interface)?;
            if let [switch] = switch {
                socket.ethtool(interface, ETHTOOL_STSO, u32::from(*switch == "on"))?;
            }
            for (name, command) in
                [("checksums", ETHTOOL_GTXCSUM), ("scatter-gather", ETHTOOL_GSG), ("large-sends", ETHTOOL_GTSO)]
            {
                println!("{name} {}", if socket.ethtool(interface, command, 0)? != 0 { "on" } else { "off" });
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("usage: net-frames send INTERFACE COUNT ADDRESS... | flood INTERFACE ADDRESS BYTES SECONDS |");
            eprintln!("       watch INTERFACE own|all-multicast|everything|GROUP | offload INTERFACE [on|off]");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("net-frames: {error}");
            ExitCode::FAILURE
        }
    }
}
