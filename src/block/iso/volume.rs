//! Volume descriptors (ECMA-119, 8).

use super::Hierarchy;
use super::record::{self, SECTOR, Writer};

/// Appends the primary descriptor, or the supplementary one for Joliet. `times` are those of the top directory's modification
/// and of the image's creation.
pub fn descriptor(out: &mut Writer, hierarchy: &Hierarchy, name: &str, sectors: u32, times: (i64, i64)) {
    let end = out.len() + SECTOR;
    let joliet = hierarchy.joliet;
    out.bytes.extend_from_slice(&[if joliet { 2 } else { 1 }]);
    out.bytes.extend_from_slice(b"CD001\x01\0");
    text(out, joliet, "", 32);
    text(out, joliet, &label(name, joliet), 32);
    zeros(out, 8);
    out.both32(sectors);
    // Escape sequence for UCS-2 level 3 (Joliet specification, "SVD Escape Sequences field").
    let escape: &[u8] = if joliet { b"%/E" } else { b"" };
    out.bytes.extend_from_slice(escape);
    zeros(out, 32 - escape.len());
    out.both16(1);
    out.both16(1);
    out.both16(SECTOR as u16);
    out.both32(hierarchy.path_table);
    let [little, big] = hierarchy.path_tables;
    out.bytes.extend_from_slice(&little.to_le_bytes());
    zeros(out, 4);
    out.bytes.extend_from_slice(&big.to_be_bytes());
    zeros(out, 4);
    let (modified, created) = times;
    record::write(out, &[0], hierarchy.top(), record::DIRECTORY, modified, &[]);
    // Volume set, publisher, data preparer, application: not given.
    for _ in 0..4 {
        text(out, joliet, "", 128);
    }
    // Copyright, abstract and bibliographic files: none.
    for _ in 0..3 {
        text(out, joliet, "", 37);
    }
    out.bytes.extend_from_slice(&record::long_date(created));
    out.bytes.extend_from_slice(&record::long_date(modified));
    // Expiration and effective dates: not given (8.4.26.1: digits zero, offset zero).
    for _ in 0..2 {
        out.bytes.extend_from_slice(b"0000000000000000\0");
    }
    out.bytes.push(1);
    out.fill_to(end);
}

/// Appends the volume descriptor set terminator.
pub fn terminator(out: &mut Writer) {
    let end = out.len() + SECTOR;
    out.bytes.extend_from_slice(b"\xffCD001\x01");
    out.fill_to(end);
}

/// The volume identifier: 16 UCS-2 characters, or 32 d-characters.
fn label(name: &str, joliet: bool) -> String {
    let permitted = |c: char| match joliet {
        true if c < ' ' || "*/:;?\\\u{7f}".contains(c) || c > '\u{ffff}' => '_',
        true => c,
        false if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
        false => '_',
    };
    let label: String = name.chars().map(permitted).take(if joliet { 16 } else { 32 }).collect();
    if label.is_empty() { "CDROM".to_owned() } else { label }
}

/// A text field of `len` bytes, padded with spaces.
fn text(out: &mut Writer, joliet: bool, text: &str, len: usize) {
    let end = out.bytes.len() + len;
    match joliet {
        true => text.encode_utf16().for_each(|unit| out.bytes.extend_from_slice(&unit.to_be_bytes())),
        false => out.bytes.extend_from_slice(text.as_bytes()),
    }
    while out.bytes.len() < end {
        // A field of an odd length ends with a zero byte in UCS-2.
        let space: &[u8] = match joliet {
            true if out.bytes.len() + 1 == end => &[0],
            true => &[0, b' '],
            false => b" ",
        };
        out.bytes.extend_from_slice(space);
    }
}

fn zeros(out: &mut Writer, len: usize) {
    out.bytes.resize(out.bytes.len() + len, 0);
}
