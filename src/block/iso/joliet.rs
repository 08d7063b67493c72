//! Joliet names: UCS-2 in big-endian order, up to 64 characters (Joliet specification, "Allowed Character Set" and "Joliet
//! File and Directory Name").

use super::in_joliet;
use crate::block::folder::Tree;
use std::collections::{HashMap, HashSet};

/// UCS-2 characters of a name, without the version number.
const NAME_MAX: usize = 64;

/// A name, in two parts that sort as ISO 9660 wants it: first by the name, then by the extension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JolietName {
    name: Vec<u16>,
    /// With the dot before it.
    extension: Vec<u16>,
    is_dir: bool,
}

impl JolietName {
    /// The identifier of a directory record.
    pub fn bytes(&self) -> Vec<u8> {
        let version: &[u16] = if self.is_dir { &[] } else { &[b';' as u16, b'1' as u16] };
        self.name.iter().chain(&self.extension).chain(version).flat_map(|unit| unit.to_be_bytes()).collect()
    }

    /// `text` at the end of the name, which is shortened to keep the maximum.
    fn numbered(&self, text: &str) -> Self {
        let text: Vec<u16> = text.encode_utf16().collect();
        let mut name = self.name.clone();
        shorten(&mut name, NAME_MAX - self.extension.len() - text.len());
        name.extend(text);
        Self { name, ..self.clone() }
    }

    /// Windows does not distinguish upper and lower case.
    fn key(&self) -> String {
        String::from_utf16_lossy(&[self.name.as_slice(), &self.extension].concat()).to_lowercase()
    }
}

/// Removes units from the end down to `len`, and half a surrogate pair.
fn shorten(units: &mut Vec<u16>, len: usize) {
    units.truncate(len);
    if units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
        units.pop();
    }
}

/// The Joliet name for a file name: other characters than the permitted ones become underscores, and a long name is shortened
/// before its extension.
fn name(name: &[u8], is_dir: bool) -> JolietName {
    let permitted = |c: char| if c < ' ' || "*/:;?\\\u{7f}".contains(c) { '_' } else { c };
    let mut text: String = String::from_utf8_lossy(name).chars().map(permitted).collect();
    // Windows cannot open a name that ends with one of these.
    if text.ends_with(['.', ' ']) {
        text.pop();
        text.push('_');
    }
    // A dot at the start or a long end is no extension.
    let dot = text.rfind('.').filter(|&dot| dot > 0 && text.len() - dot <= 16 && !is_dir);
    let (base, extension) = text.split_at(dot.unwrap_or(text.len()));
    let extension: Vec<u16> = extension.encode_utf16().collect();
    let mut base: Vec<u16> = base.encode_utf16().collect();
    shorten(&mut base, NAME_MAX - extension.len());
    JolietName { name: base, extension, is_dir }
}

/// The names of a directory's entries, each once. None if numbers do not suffice.
pub fn names(tree: &Tree, entries: &[usize]) -> Option<Vec<(JolietName, usize)>> {
    let (mut used, mut next) = (HashSet::new(), HashMap::new());
    let mut named = Vec::new();
    for &entry in entries.iter().filter(|&&entry| in_joliet(tree, entry)) {
        let node = tree.nodes.get(entry)?;
        let wanted = name(std::os::unix::ffi::OsStrExt::as_bytes(node.name.as_os_str()), node.is_dir());
        let key = wanted.key();
        if used.insert(key.clone()) {
            named.push((wanted, entry));
            continue;
        }
        let number = next.entry(key).or_insert(0u32);
        let unique = loop {
            *number += 1;
            if *number > 1_000_000 {
                return None;
            }
            let numbered = wanted.numbered(&format!("~{number}"));
            if used.insert(numbered.key()) {
                break numbered;
            }
        };
        named.push((unique, entry));
    }
    Some(named)
}
