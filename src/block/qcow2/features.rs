//! What the `imago` crate (0.2.6) does with each qcow2 feature, and so what pcvm refuses to open through it.
//!
//! | Feature | imago | Here |
//! |---|---|---|
//! | encryption | ignores the field: a guest would read ciphertext | refused |
//! | dirty bit | refuses the image | refused with the mend |
//! | corrupt bit | refuses the image | refused with the mend |
//! | zstd, extended L2 entries | refuses the image | refused; `pcvm image convert` reads extended L2 entries |
//! | unknown incompatible bits | refuses the image | refused by the image's own name for the bit |
//! | external data file | opens it for writing even below a read-only image | the caller passes the file |
//! | extensions of version 2 | ignores them, then guesses the backing file's format | the caller passes the backing file |
//! | feature name table of 48·n+1 bytes | panics | refused |
//! | no end marker before the backing file's name | parses the name as an extension | refused |
//! | bitmaps | clears their autoclear bit on opening for writing | allowed, [`lost_by_writing`] |
//! | raw external data bit | likewise | allowed: the bit promises something to other programs |
//! | virtual size close to 2⁶⁴ | overflows | refused by [`Header::read`](super::Header::read) (L1 table too small) |
//! | backing files | recursion without a limit, formats guessed | the caller resolves the chain and passes it |
//! | internal snapshots, refcounts of 1 to 64 bits, lazy refcounts, zero clusters, zlib | right | allowed |

use super::header::{AUTOCLEAR_BITMAPS, Compression, Encryption, Header, incompatible};

/// How an image is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading only.
    Read,
    /// For reading and writing.
    Write,
}

/// Why an image with a valid header is refused. The text follows the image's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// Clusters are encrypted.
    #[error("is encrypted ({0}), which is not supported: decrypt it with 'qemu-img convert'")]
    Encrypted(&'static str),
    /// A program found damaged metadata.
    #[error("is marked as corrupt: run 'pcvm image check --repair all', or copy it with 'pcvm image convert'")]
    Corrupt,
    /// The refcounts may be wrong.
    #[error("was not closed cleanly (dirty bit): run 'pcvm image check --repair all'")]
    Dirty,
    /// Compressed with zstd.
    #[error("has clusters compressed with {0}, which is not supported: copy it with 'qemu-img convert'")]
    Compression(String),
    /// Subclusters.
    #[error("has extended L2 entries (subclusters), which is not supported: copy it with 'pcvm image convert'")]
    ExtendedL2,
    /// A feature bit that the specification did not have when this was written.
    #[error("needs the unknown feature {0}")]
    Unknown(String),
    /// The header's extensions are not as the specification has them.
    #[error("has malformed header extensions ({0}): copy it with 'qemu-img convert'")]
    Extensions(&'static str),
}

/// Why a machine must not use the image through `imago`; `None` if it may.
pub fn unsupported(header: &Header, access: Access) -> Option<Unsupported> {
    // Each arm is a feature that would be served wrongly, or that imago refuses with a text that has no mend.
    if let Some(reason) = unreadable(header) {
        return Some(reason);
    }
    if header.corrupt() {
        return Some(Unsupported::Corrupt);
    }
    if header.dirty() {
        return Some(Unsupported::Dirty);
    }
    if header.incompatible & incompatible::COMPRESSION != 0 {
        return Some(Unsupported::Compression("an unknown method".to_owned()));
    }
    if header.extended_l2() {
        return Some(Unsupported::ExtendedL2);
    }
    if header.version == 3 {
        if !header.extensions_end {
            return Some(Unsupported::Extensions("no end marker"));
        }
        for extension in &header.extensions {
            let utf8 = std::str::from_utf8(&extension.data).is_ok();
            match extension.kind {
                0x6803_f857 if !extension.data.len().is_multiple_of(48) => {
                    return Some(Unsupported::Extensions("feature name table of odd size"));
                }
                0xe279_2aca | 0x4441_5441 if !utf8 => return Some(Unsupported::Extensions("a name that is not UTF-8")),
                _ => {}
            }
        }
    }
    if header.backing_file.as_ref().is_some_and(|name| name.to_str().is_none()) {
        return Some(Unsupported::Extensions("backing file name that is not UTF-8"));
    }
    // Writing needs nothing more: what is lost by it is in `lost_by_writing`.
    let _ = access;
    None
}

/// Why pcvm's own reader cannot give the image's content; `None` if it can.
pub fn unreadable(header: &Header) -> Option<Unsupported> {
    match header.encryption {
        Encryption::None => {}
        Encryption::Aes => return Some(Unsupported::Encrypted("AES")),
        Encryption::Luks => return Some(Unsupported::Encrypted("LUKS")),
        Encryption::Unknown(_) => return Some(Unsupported::Encrypted("unknown method")),
    }
    if header.encryption_header.is_some() {
        return Some(Unsupported::Encrypted("LUKS"));
    }
    let unknown = header.incompatible & !incompatible::KNOWN;
    if unknown != 0 {
        let bit = unknown.trailing_zeros() as u8;
        let name = header.feature_names.iter().find(|name| name.kind == 0 && name.bit == bit);
        return Some(Unsupported::Unknown(match name {
            Some(name) => format!("'{}' (bit {bit})", name.name.escape_debug()),
            None => format!("bit {bit}"),
        }));
    }
    match header.compression {
        Compression::Zlib => None,
        Compression::Zstd => Some(Unsupported::Compression("zstd".to_owned())),
        Compression::Unknown(number) => Some(Unsupported::Compression(format!("method {number}"))),
    }
}

/// What the first write takes from other programs; for a warning.
pub fn lost_by_writing(header: &Header) -> Option<&'static str> {
    (header.autoclear & AUTOCLEAR_BITMAPS != 0 && header.bitmaps.is_some_and(|bitmaps| bitmaps.count > 0))
        .then_some("its persistent bitmaps become invalid, so the next incremental backup must be a full one")
}
