//! The other end for measurements of a network card (`benches/net`): a machine on the same bridge that only sends.
//!
//!     net-peer flood BRIDGE TAP BYTES      frames to whoever says that it wants some, as many as it takes
//!     net-peer echo BRIDGE TAP BYTES       one frame after another, each when the one before has come back
//!
//! It makes a tap of its own on the bridge and waits for a frame of EtherType 88B5h to all; that one's sender gets the
//! frames. TAP is the sender's own interface: no more than [`WINDOW`] frames wait there, by the host's count, so that none
//! is lost for want of room and what is measured is how fast they are taken. It goes on until it is killed.

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

/// The next frame of our EtherType.
fn next(tap: &mut File, to: [u8; 6]) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 4096];
    loop {
        let len = tap.read(&mut buffer)?;
        let frame = &buffer[..len];
        if len >= 14 && frame[..6] == to && frame[12..14] == ETHER_TYPE {
            return Ok(frame.to_vec());
        }
    }
}

/// Frames that whoever has the tap has taken.
fn taken(tap: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/sys/class/net/{tap}/statistics/tx_packets"))?;
    text.trim().parse().map_err(io::Error::other)
}

fn run(what: &str, bridge: &str, guest: &str, bytes: usize) -> io::Result<()> {
    let (mut tap, name) = tap()?;
    let script = format!("brctl addif {bridge} {name} && ip link set {name} up");
    if !Command::new("sh").arg("-c").arg(&script).status()?.success() {
        return Err(io::Error::other(script));
    }
    println!("ready");
    let hello = next(&mut tap, [0xff; 6])?;
    let mut frame = [&hello[6..12], &MAC, &ETHER_TYPE].concat();
    frame.resize(bytes, 0x5a);
    if what == "echo" {
        loop {
            tap.write_all(&frame)?;
            if next(&mut tap, MAC)?.len() < bytes {
                return Err(io::Error::other("an echo is too short"));
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
    let [what, bridge, guest, bytes] = &args[..] else {
        eprintln!("usage: net-peer flood|echo BRIDGE TAP BYTES");
        return ExitCode::from(2);
    };
    match run(what, bridge, guest, bytes.parse().unwrap_or(60).max(60)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("net-peer: {error}");
            ExitCode::FAILURE
        }
    }
}
