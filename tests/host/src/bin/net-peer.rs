//! The other end for measurements of a network card (`benches/net`): a machine on the same bridge that only sends.
//!
//!     net-peer flood BRIDGE TAP MAC BYTES      frames to MAC, as many as it takes
//!     net-peer echo BRIDGE TAP MAC BYTES       one frame after another, each when the one before has come back
//!
//! It makes a tap of its own on the bridge and waits until TAP, the other's interface, is there too and forwards. No more
//! than [`WINDOW`] frames wait there, by the host's count, so that none is lost for want of room and what is measured is
//! how fast they are taken. It goes on until it is killed. Frames have EtherType 88B5h, for experiments.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

/// Frames on their way at most. A tap has room for 1000.
const WINDOW: u64 = 256;
/// Sent before the host's count is looked at again.
const BURST: u64 = 32;
/// How long to wait when they all are on their way.
const PAUSE: Duration = Duration::from_micros(500);
/// How long an echo may take, in milliseconds.
const PATIENCE: libc::c_int = 200;
/// A bridge port's state in which it forwards (Linux: BR_STATE_FORWARDING).
const FORWARDING: &str = "3";
const ETHER_TYPE: [u8; 2] = [0x88, 0xb5];
const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

/// Makes a tap and gives it with its name.
#[allow(unsafe_code)]
fn tap() -> io::Result<(File, String)> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: an `ifreq` is plain data: all zeroes are a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"peer%d") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF takes a pointer to an `ifreq`, reads it and writes its name; it is ours.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let name = request.ifr_name.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).map(char::from).collect();
    Ok((file, name))
}

/// Whether a frame for us has come back within so many milliseconds.
#[allow(unsafe_code)]
fn echoed(tap: &mut File, bytes: usize, patience: libc::c_int) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        let mut poll = libc::pollfd { fd: tap.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one `pollfd`, which is ours.
        if unsafe { libc::poll(&raw mut poll, 1, patience) } <= 0 {
            return Ok(false);
        }
        let len = tap.read(&mut buffer)?;
        if len >= bytes && buffer[..6] == MAC && buffer[12..14] == ETHER_TYPE {
            return Ok(true);
        }
    }
}

/// Frames that whoever has the tap has taken.
fn taken(tap: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/sys/class/net/{tap}/statistics/tx_packets"))?;
    text.trim().parse().map_err(io::Error::other)
}

fn run(what: &str, bridge: &str, guest: &str, mac: [u8; 6], bytes: usize) -> io::Result<()> {
    let (mut tap, name) = tap()?;
    let script = format!("brctl addif {bridge} {name} && ip link set {name} up");
    if !Command::new("sh").arg("-c").arg(&script).status()?.success() {
        return Err(io::Error::other(script));
    }
    while fs::read_to_string(format!("/sys/class/net/{guest}/brport/state")).unwrap_or_default().trim() != FORWARDING {
        sleep(Duration::from_millis(1));
    }
    let mut frame = [&mac[..], &MAC, &ETHER_TYPE].concat();
    frame.resize(bytes, 0x5a);
    if what == "echo" {
        // A guest that is not yet ready does not hear; one that is loses nothing, and hears one frame at a time.
        while !{
            tap.write_all(&frame)?;
            echoed(&mut tap, bytes, 1)?
        } {}
        while echoed(&mut tap, bytes, 5)? {}
        loop {
            tap.write_all(&frame)?;
            if !echoed(&mut tap, bytes, PATIENCE)? {
                return Err(io::Error::other("an echo did not come"));
            }
        }
    }
    let before = taken(guest)?;
    let mut sent = 0;
    loop {
        while sent + BURST > taken(guest)? - before + WINDOW {
            sleep(PAUSE);
        }
        for _ in 0..BURST {
            tap.write_all(&frame)?;
        }
        sent += BURST;
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, bridge, guest, mac, bytes] = &args[..] else {
        eprintln!("usage: net-peer flood|echo BRIDGE TAP MAC BYTES");
        return ExitCode::from(2);
    };
    let mut address = [0; 6];
    for (byte, text) in address.iter_mut().zip(mac.split(':')) {
        *byte = u8::from_str_radix(text, 16).unwrap_or(0);
    }
    match run(what, bridge, guest, address, bytes.parse().unwrap_or(60).max(60)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("net-peer: {error}");
            ExitCode::FAILURE
        }
    }
}
