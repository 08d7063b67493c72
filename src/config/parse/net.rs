//! `--net`: network card and its backend.

use super::{OptionError, key_value, lossy, set_once, split_list, unknown_key, value_of};
use crate::config::{NetBackend, NicConfig, NicModel, TapConfig, TapSource};
use std::ffi::OsStr;
use std::path::PathBuf;

const KEYS: &str = "bridge, ifname, fd, script, downscript, mac, model, link, dump, rom";
const BACKENDS: &str = "tap, passt, passt=SOCKET, pair:unix:PATH or none";

/// `tap|passt[=SOCKET]|pair:unix:PATH[,key=value...]`, or `none` for no card.
///
/// # Errors
/// If the backend, a key or its value is invalid.
pub fn net(value: &OsStr) -> Result<Option<NicConfig>, OptionError> {
    let mut items = split_list(value).into_iter();
    let kind = items.next().unwrap_or_default();
    if kind == "none" {
        return items.next().map_or(Ok(None), |item| Err(OptionError::NoneHasKeys(lossy(&item))));
    }
    let mut backend = backend(&kind)?;
    let (mut mac, mut model, mut link, mut dump, mut rom) = (None, None, None, None, None);
    let (mut bridge, mut name, mut fd, mut script, mut downscript) = (None, None, None, None, None);
    for item in items {
        let (key, value) = key_value(&item);
        let path = |key| value_of(key, "FILE", value.clone()).map(PathBuf::from);
        match key.as_str() {
            "mac" => set_once(&mut mac, "mac", mac_address(value.unwrap_or_default())?)?,
            "model" => set_once(&mut model, "model", nic_model(value.unwrap_or_default())?)?,
            "link" => set_once(&mut link, "link", up_down(value.unwrap_or_default())?)?,
            "dump" => set_once(&mut dump, "dump", path("dump")?)?,
            "rom" => set_once(&mut rom, "rom", path("rom")?)?,
            "bridge" => set_once(&mut bridge, "bridge", interface("bridge", value.unwrap_or_default())?)?,
            "ifname" => set_once(&mut name, "ifname", interface("ifname", value.unwrap_or_default())?)?,
            "fd" => set_once(&mut fd, "fd", descriptor(value.unwrap_or_default())?)?,
            "script" => set_once(&mut script, "script", path("script")?)?,
            "downscript" => set_once(&mut downscript, "downscript", path("downscript")?)?,
            _ => return Err(unknown_key(key, KEYS)),
        }
    }
    if let NetBackend::Tap(tap) = &mut backend {
        if fd.is_some() && name.is_some() {
            return Err(OptionError::Exclusive("fd", "ifname"));
        }
        // `script=no` means no script, as in QEMU.
        let path = |script: Option<PathBuf>| script.filter(|path| path.as_os_str() != "no");
        let source = fd.map_or(TapSource::Name(name), TapSource::Fd);
        *tap = TapConfig { source, bridge, script: path(script), downscript: path(downscript) };
    } else {
        for (key, given) in [
            ("bridge", bridge.is_some()),
            ("ifname", name.is_some()),
            ("fd", fd.is_some()),
            ("script", script.is_some()),
            ("downscript", downscript.is_some()),
        ] {
            if given {
                return Err(OptionError::OnlyWith { key, of: "tap" });
            }
        }
    }
    let (model, link) = (model.unwrap_or_default(), link.unwrap_or(true));
    Ok(Some(NicConfig { backend, mac, model, link, dump, rom }))
}

fn backend(kind: &OsStr) -> Result<NetBackend, OptionError> {
    let text = kind.to_string_lossy();
    Ok(match &*text {
        "tap" => NetBackend::Tap(TapConfig::default()),
        "passt" => NetBackend::Passt(None),
        _ => {
            if let Some(path) = text.strip_prefix("passt=").filter(|path| !path.is_empty()) {
                NetBackend::Passt(Some(path.into()))
            } else if let Some(path) = text.strip_prefix("pair:unix:").filter(|path| !path.is_empty()) {
                NetBackend::Pair(path.into())
            } else {
                return Err(OptionError::NotOneOf { value: lossy(kind), expected: BACKENDS });
            }
        }
    })
}

fn interface(key: &'static str, value: String) -> Result<String, OptionError> {
    let plain = value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'%' | b':'));
    if plain && (1..=15).contains(&value.len()) && value != "." && value != ".." {
        return Ok(value);
    }
    Err(OptionError::BadValue { key, value, expected: "the name of a network interface (1 to 15 characters)" })
}

fn descriptor(value: String) -> Result<i32, OptionError> {
    match value.parse() {
        Ok(number @ 3..) => Ok(number),
        _ => Err(OptionError::BadValue {
            key: "fd",
            value,
            expected: "the number of an inherited descriptor, 3 or more",
        }),
    }
}

fn nic_model(value: String) -> Result<NicModel, OptionError> {
    match value.as_str() {
        "rtl8139" => Ok(NicModel::Rtl8139Cplus),
        "rtl8139c" => Ok(NicModel::Rtl8139C),
        _ => Err(OptionError::BadValue { key: "model", value, expected: "rtl8139 (C+) or rtl8139c" }),
    }
}

fn up_down(value: String) -> Result<bool, OptionError> {
    match value.as_str() {
        "up" => Ok(true),
        "down" => Ok(false),
        _ => Err(OptionError::BadValue { key: "link", value, expected: "up or down" }),
    }
}

/// A MAC address: six hexadecimal bytes. Bit 0 of the first byte marks a group address, which a card cannot have.
fn mac_address(value: String) -> Result<[u8; 6], OptionError> {
    let expected = "a unicast address such as 00:16:3e:12:34:56";
    let bad = || OptionError::BadValue { key: "mac", value: value.clone(), expected };
    let mut mac = [0; 6];
    let mut parts = value.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2).ok_or_else(bad)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
    }
    if parts.next().is_some() || mac[0] & 1 != 0 || mac == [0; 6] {
        return Err(bad());
    }
    Ok(mac)
}
