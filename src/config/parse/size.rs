//! Sizes: `--memory` and `--vga std,vram=`.

use super::OptionError;

const MIB: u64 = 1 << 20;

/// The size of guest RAM in bytes: a multiple of 1 MiB from 1 MiB to 1 TiB. A plain number is in MiB, as for QEMU and xl;
/// the suffixes K, M, G and T are powers of 1024, in either case, and may be followed by `B` or `iB`.
///
/// # Errors
/// If it is not a size, or out of range.
pub fn memory_size(text: &str) -> Result<u64, OptionError> {
    const EXPECTED: &str = "a number of MiB, or a number with K, M, G or T";
    let bytes = size(text).ok_or_else(|| OptionError::NotOneOf { value: text.to_owned(), expected: EXPECTED })?;
    match bytes {
        Bytes::Exactly(bytes) if (MIB..=1 << 40).contains(&bytes) => {
            if bytes % MIB == 0 {
                Ok(bytes)
            } else {
                Err(OptionError::NotWholeMiB(text.to_owned()))
            }
        }
        _ => Err(OptionError::MemoryRange(text.to_owned())),
    }
}

/// A size of any number of bytes, in the same notation.
pub(super) fn bytes(text: &str) -> Option<u64> {
    match size(text)? {
        Bytes::Exactly(bytes) => Some(bytes),
        Bytes::TooMany => None,
    }
}

/// A size that was parsed.
enum Bytes {
    Exactly(u64),
    /// Does not fit into 64 bits.
    TooMany,
}

fn size(text: &str) -> Option<Bytes> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => 10,
        "" | "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    Some(bytes.map_or(Bytes::TooMany, Bytes::Exactly))
}
