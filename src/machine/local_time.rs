//! UTC offset of the host's local time zone.
#![allow(unsafe_code)]

/// Seconds by which local time is ahead of UTC at `time` (seconds since 1970-01-01 00:00 UTC).
pub fn offset(time: i64) -> i64 {
    let time: libc::time_t = time;
    // SAFETY: all-zero bytes are a valid `tm` (numbers and a null pointer).
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call; localtime_r does not store them.
    let converted = unsafe { libc::localtime_r(&raw const time, &raw mut local) };
    if converted.is_null() { 0 } else { local.tm_gmtoff }
}
