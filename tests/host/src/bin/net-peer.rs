//! Network peer for NIC benchmarks (`benches/net`): sends frames to a guest from a tap on the same bridge.
//!
//!     net-peer flood BRIDGE TAP MAC BYTES      sends frames to MAC at full rate
//!     net-peer echo BRIDGE TAP MAC BYTES       sends one frame, waits for its echo, sends the next
//!
//! It creates a tap on the bridge and waits until TAP, the guest's interface, exists and forwards. At most [`WINDOW`]
//! frames are queued there, by the interface's statistics, so that none is dropped for lack of space and the rate is
//! the guest's. It runs until it is killed. Frames have the local experimental EtherType 88B5h.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

/// Maximum number of frames in flight. A tap's queue holds 1000.
const WINDOW: u64 = 256;
/// Frames sent between two reads of the statistics.
const BURST: u64 = 32;
/// Pause when the window is full.
const PAUSE: Duration = Duration::from_micros(500);
/// Time limit for an echo, in milliseconds.
const TIMEOUT: libc::c_int = 200;
/// Bridge port state "forwarding" (Linux: BR_STATE_FORWARDING).
const FORWARDING: &str = "3";
const ETHER_TYPE: [u8; 2] = [0x88, 0xb5];
const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

/// Creates a tap; returns its descriptor and name.
#[allow(unsafe_code)]
fn tap() -> io::Result<(File, String)> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: an `ifreq` is plain data: all zeroes are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"peer%d") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads the local `ifreq` and writes its name.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let name = request.ifr_name.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).map(char::from).collect();
    Ok((file, name))
}

/// Waits for an echoed frame for at most `timeout` milliseconds.
#[allow(unsafe_code)]
fn echoed(tap: &mut File, bytes: usize, timeout: libc::c_int) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        let mut poll = libc::pollfd { fd: tap.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: passes one local `pollfd`.
        if unsafe { libc::poll(&raw mut poll, 1, timeout) } <= 0 {
            return Ok(false);
        }
        let len = tap.read(&mut buffer)?;
        if len >= bytes && buffer[..6] == MAC && buffer[12..14] == ETHER_TYPE {
            return Ok(true);
        }
    }
}

/// Frames that the VMM has read from the tap.
fn read_by_vmm(tap: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/sys/class/net/{tap}/statistics/tx_packets"))?;
    text.trim().parse().map_err(io::Error::other)
}

fn run(operation: &str, bridge: &str, guest: &str, mac: [u8; 6], bytes: usize) -> io::Result<()> {
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
    if operation == "echo" {
        // Before the guest is ready its NIC drops frames: repeat until the first echo, then drain the other echoes.
        while !{
            tap.write_all(&frame)?;
            echoed(&mut tap, bytes, 1)?
        } {}
        while echoed(&mut tap, bytes, 5)? {}
        loop {
            tap.write_all(&frame)?;
            if !echoed(&mut tap, bytes, TIMEOUT)? {
                return Err(io::Error::other("the guest did not echo a frame in time"));
            }
        }
    }
    let before = read_by_vmm(guest)?;
    let mut sent = 0;
    loop {
        while sent + BURST > read_by_vmm(guest)? - before + WINDOW {
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
    let [operation, bridge, guest, mac, bytes] = &args[..] else {
        eprintln!("usage: net-peer flood|echo BRIDGE TAP MAC BYTES");
        return ExitCode::from(2);
    };
    let mut address = [0; 6];
    for (byte, text) in address.iter_mut().zip(mac.split(':')) {
        *byte = u8::from_str_radix(text, 16).unwrap_or(0);
    }
    match run(operation, bridge, guest, address, bytes.parse().unwrap_or(60).max(60)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("net-peer: {error}");
            ExitCode::FAILURE
        }
    }
}
