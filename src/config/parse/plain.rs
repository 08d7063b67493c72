//! `--trace`, `--boot`, `--serial`, `--display`, `--keymap`, `--vga`, `--control`, `--vnc`, `--vnc-websocket` and `--name`.

use super::{OptionError, lossy, set_once, size, split_list, unknown_key};
use crate::config::{Adapter, BootDevice, CharSpec, ControlSpec, Display, TraceConfig, VncAddress};
use crate::keys::Keymap;
use pcvm_devices::vga::Vga;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The boot order: letters as in QEMU's `-boot` and Xen's `boot`, first device first.
///
/// # Errors
/// If it is empty, or a letter is unknown or repeated.
pub fn boot_order(text: &str) -> Result<Vec<BootDevice>, OptionError> {
    let mut order = Vec::new();
    for letter in text.chars() {
        let device = match letter {
            'a' => BootDevice::Floppy,
            'c' => BootDevice::Disk,
            'd' => BootDevice::Cdrom,
            'n' => BootDevice::Network,
            _ => return Err(OptionError::BootLetter(letter)),
        };
        if order.contains(&device) {
            return Err(OptionError::BootTwice(letter));
        }
        order.push(device);
    }
    if order.is_empty() { Err(OptionError::Empty) } else { Ok(order) }
}

/// `stdio`, `pty`, `file:PATH`, `null`, or `none` for no port. Commas in the path are literal.
///
/// # Errors
/// If it is something else.
pub fn serial_port(value: &OsStr) -> Result<Option<CharSpec>, OptionError> {
    match value.as_bytes() {
        b"stdio" => Ok(Some(CharSpec::Stdio)),
        b"pty" => Ok(Some(CharSpec::Pty)),
        b"null" => Ok(Some(CharSpec::Null)),
        b"none" => Ok(None),
        bytes => match bytes.strip_prefix(b"file:") {
            Some(b"") => Err(OptionError::NoFile),
            Some(path) => Ok(Some(CharSpec::File(OsStr::from_bytes(path).into()))),
            None => Err(OptionError::NotOneOf { value: lossy(value), expected: "stdio, pty, file:PATH, null or none" }),
        },
    }
}

/// `FILE[,FILTER]`: a trace file, then classes and device kinds.
///
/// # Errors
/// If the file name is missing.
pub fn trace(value: &OsStr) -> Result<TraceConfig, OptionError> {
    let mut items = split_list(value).into_iter();
    let file = items.next().filter(|file| !file.is_empty()).ok_or(OptionError::NoFile)?;
    let words: Vec<String> = items.map(|word| lossy(&word)).collect();
    if words.iter().any(String::is_empty) {
        return Err(OptionError::EmptyKey { known: "access, unclaimed, irq, reset, work, guest-error, device kinds" });
    }
    Ok(TraceConfig { file: file.into(), filter: words.join(",") })
}

/// `none`, `terminal` or `sdl`, also in builds without the feature `sdl`.
///
/// # Errors
/// If it is something else.
pub fn display(text: &str) -> Result<Display, OptionError> {
    match text {
        "none" => Ok(Display::None),
        "terminal" => Ok(Display::Terminal),
        "sdl" => Ok(Display::Sdl),
        _ => Err(OptionError::NotOneOf { value: text.to_owned(), expected: "none, terminal or sdl" }),
    }
}

/// A keyboard layout, by QEMU's names.
///
/// # Errors
/// If there is no such layout.
pub fn keymap(text: &str) -> Result<Keymap, OptionError> {
    Keymap::named(text).ok_or_else(|| OptionError::Keymap(text.to_owned()))
}

/// `std[,vram=SIZE]`, `cirrus` or `none`: the adapter, or `None` for none.
///
/// # Errors
/// If the adapter, a key or the size is invalid.
pub fn vga(text: &str) -> Result<Option<Adapter>, OptionError> {
    let mut items = text.split(',');
    let adapter = items.next().unwrap_or_default();
    let mut vram = None;
    for item in items {
        match item.split_once('=') {
            Some(("vram", value)) if adapter == "std" => set_once(&mut vram, "vram", video_memory(value)?)?,
            None if adapter == "std" && item == "vram" => {
                return Err(OptionError::NoValue { key: "vram", form: "SIZE" });
            }
            key if adapter == "std" => {
                return Err(unknown_key(key.map_or(item, |(key, _)| key).to_owned(), "vram"));
            }
            _ if adapter == "cirrus" => return Err(OptionError::CirrusHasKeys(item.to_owned())),
            _ if adapter == "none" => return Err(OptionError::NoneHasKeys(item.to_owned())),
            _ => {}
        }
    }
    match adapter {
        "std" => Ok(Some(Adapter::Std { vram: vram.unwrap_or(Vga::DEFAULT_VRAM) })),
        "cirrus" => Ok(Some(Adapter::Cirrus)),
        "none" => Ok(None),
        _ => Err(OptionError::NotOneOf { value: adapter.to_owned(), expected: "std, cirrus or none" }),
    }
}

fn video_memory(text: &str) -> Result<u32, OptionError> {
    let bytes = size::bytes(text).and_then(|bytes| u32::try_from(bytes).ok());
    bytes.filter(|bytes| bytes.is_power_of_two() && Vga::VRAM.contains(bytes)).ok_or_else(|| OptionError::BadValue {
        key: "vram",
        value: text.to_owned(),
        expected: "a power of two from 1M to 256M",
    })
}

/// `none` or `unix:PATH`. Commas in the path are literal.
///
/// # Errors
/// If it is something else.
pub fn control(value: &OsStr) -> Result<ControlSpec, OptionError> {
    match value.as_bytes() {
        b"none" => Ok(ControlSpec::None),
        bytes => match bytes.strip_prefix(b"unix:") {
            Some(b"") => Err(OptionError::NoFile),
            Some(path) => Ok(ControlSpec::Path(OsStr::from_bytes(path).into())),
            None => Err(OptionError::NotOneOf { value: lossy(value), expected: "none or unix:PATH" }),
        },
    }
}

/// The largest VNC display number, which is port 65535.
const DISPLAY_MAX: u16 = 65535 - 5900;

/// `HOST:NUMBER`, with an IPv6 address in brackets; an empty host is 127.0.0.1.
fn host_and_number(text: &str, expected: &'static str, max: u16) -> Result<(String, u16), OptionError> {
    let wrong = || OptionError::NotOneOf { value: text.to_owned(), expected };
    let (host, number) = text.rsplit_once(':').ok_or_else(wrong)?;
    let number = number.parse().ok().filter(|&number| number <= max).ok_or_else(wrong)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !bracketed {
        return Err(wrong());
    }
    Ok((if host.is_empty() { "127.0.0.1" } else { host }.to_owned(), number))
}

/// `HOST:DISPLAY` or `unix:PATH`. Commas in the path are literal.
///
/// # Errors
/// If it is something else.
pub fn vnc(value: &OsStr) -> Result<VncAddress, OptionError> {
    const EXPECTED: &str = "HOST:DISPLAY such as 127.0.0.1:1 (displays 0 to 59635) or unix:PATH";
    match value.as_bytes().strip_prefix(b"unix:") {
        Some(b"") => Err(OptionError::NoFile),
        Some(path) => Ok(VncAddress::Unix(OsStr::from_bytes(path).into())),
        None => {
            let (host, display) = host_and_number(&lossy(value), EXPECTED, DISPLAY_MAX)?;
            Ok(VncAddress::Tcp { host, display })
        }
    }
}

/// `PORT` or `HOST:PORT`.
///
/// # Errors
/// If it is something else.
pub fn websocket(text: &str) -> Result<(String, u16), OptionError> {
    const EXPECTED: &str = "PORT or HOST:PORT such as 127.0.0.1:5700";
    if text.contains(':') {
        return host_and_number(text, EXPECTED, u16::MAX);
    }
    host_and_number(&format!(":{text}"), EXPECTED, u16::MAX)
        .map_err(|_| OptionError::NotOneOf { value: text.to_owned(), expected: EXPECTED })
}

/// A machine name: 1 to 64 characters without slashes and control characters.
///
/// # Errors
/// If it is something else.
pub fn machine_name(text: &str) -> Result<String, OptionError> {
    if text.is_empty() {
        return Err(OptionError::Empty);
    }
    if text.chars().count() > 64 || text.chars().any(|c| c.is_control() || c == '/') {
        return Err(OptionError::BadName);
    }
    Ok(text.to_owned())
}
