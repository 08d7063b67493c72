//! Rock Ridge entries in the system use area of directory records: PX, TF, NM and SL (RRIP 1.10), with SP, CE and ER (SUSP
//! 1.10).

use super::record::{self, SECTOR, Writer};
use crate::block::folder::{Content, Node, Tree};
use std::os::unix::ffi::OsStrExt;

/// Bytes of a directory record (ECMA-119, 9.1.1: one byte holds the length, which is even).
const RECORD_MAX: usize = 254;
/// Bytes of a CE entry.
const CE: usize = 28;
/// Bytes of an entry's payload: its length with the header of 4 bytes fits one byte.
const PAYLOAD_MAX: usize = 250;

/// The kind of a directory record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// The top directory's record of itself, which has the entries SP and ER.
    Top,
    /// Another record without a name.
    Unnamed,
    /// A record with a name.
    Named,
}

/// A system use area.
#[derive(Debug, Default)]
pub struct SystemUse {
    /// What the record holds itself, without CE.
    inline: Vec<u8>,
    /// What goes to the continuation area.
    rest: Vec<u8>,
}

impl SystemUse {
    /// Bytes in the record.
    pub fn inline_len(&self) -> usize {
        self.inline.len() + if self.rest.is_empty() { 0 } else { CE }
    }
}

/// The continuation areas of all records: they follow the directories. None crosses a sector.
#[derive(Debug)]
pub struct Continuation {
    first: u32,
    pub bytes: Vec<u8>,
}

impl Continuation {
    /// Areas from the sector `first`.
    pub fn new(first: u32) -> Self {
        Self { first, bytes: Vec::new() }
    }

    /// The bytes for the record, after the rest was put into the continuation area.
    pub fn inline(&mut self, system_use: SystemUse) -> Vec<u8> {
        let SystemUse { mut inline, rest } = system_use;
        if rest.is_empty() {
            return inline;
        }
        let at = record::place(self.bytes.len() as u64, rest.len());
        self.bytes.resize(at as usize, 0);
        self.bytes.extend_from_slice(&rest);
        let mut ce = Writer::default();
        ce.both32(self.first + (at / SECTOR) as u32);
        ce.both32((at % SECTOR) as u32);
        ce.both32(rest.len() as u32);
        entry(&mut inline, b"CE", &ce.bytes);
        inline
    }
}

/// Bytes that the continuation areas of all records take at most: enough to place what follows them.
pub fn continuation_size(tree: &Tree) -> u64 {
    // An area that does not fit the rest of a sector leaves less than its own length unused.
    let area = |node: &Node, kind, id| 2 * system_use(node, kind, id).rest.len() as u64;
    // The longest identifier, "XXXXXXXX.XXX;1", leaves the least room in the record.
    let named = |node| area(node, Record::Named, 14);
    tree.nodes.iter().map(named).sum::<u64>() + tree.nodes.first().map_or(0, |top| area(top, Record::Top, 1)) + SECTOR
}

/// The system use area for a node, in a record whose identifier has `id` bytes.
pub fn system_use(node: &Node, kind: Record, id: usize) -> SystemUse {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut add = |signature, payload: &[u8]| {
        let mut one = Vec::new();
        entry(&mut one, signature, payload);
        entries.push(one);
    };
    if kind == Record::Top {
        // Check bytes; no bytes to skip before other system use areas.
        add(b"SP", &[0xbe, 0xef, 0]);
    }
    add(b"PX", &attributes(node));
    // Flags: one time, of modification, in the form of a directory record.
    add(b"TF", &[&[0x02][..], &record::date(node.modified)].concat());
    if kind == Record::Named {
        let mut parts = node.name.as_bytes().chunks(PAYLOAD_MAX - 1).peekable();
        while let Some(part) = parts.next() {
            add(b"NM", &[&[u8::from(parts.peek().is_some())][..], part].concat());
        }
        if let Content::Symlink(target) = &node.content {
            for payload in link(target.as_bytes()) {
                add(b"SL", &payload);
            }
        }
    }
    if kind == Record::Top {
        let (id, text) =
            (b"RRIP_1991A", b"THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS");
        // Lengths of identifier, description and source; extension version 1.
        add(b"ER", &[&[id.len() as u8, text.len() as u8, 0, 1][..], id, text].concat());
    }
    let room = RECORD_MAX - record::len(id, 0);
    let total: usize = entries.iter().map(Vec::len).sum();
    let mut divided = SystemUse::default();
    for one in entries {
        let fits = total <= room || divided.inline.len() + one.len() + CE <= room;
        if fits && divided.rest.is_empty() {
            divided.inline.extend(one);
        } else {
            divided.rest.extend(one);
        }
    }
    divided
}

/// Appends an entry of version 1.
fn entry(to: &mut Vec<u8>, signature: &[u8; 2], payload: &[u8]) {
    to.extend_from_slice(signature);
    to.extend_from_slice(&[(4 + payload.len()) as u8, 1]);
    to.extend_from_slice(payload);
}

/// PX: mode, links, user and group. The owner of all is root; all may read, and execute what any user may execute; none may
/// write.
fn attributes(node: &Node) -> Vec<u8> {
    let execute = if node.mode & 0o111 != 0 { 0o555 } else { 0o444 };
    let mode = match node.content {
        Content::Dir(_) => 0o040_555,
        Content::File(_) => 0o100_000 | execute,
        Content::Symlink(_) => 0o120_777,
    };
    let mut px = Writer::default();
    for value in [mode, 1, 0, 0] {
        px.both32(value);
    }
    px.bytes
}

/// SL: the payloads of the entries for a link's target. Components are one record each: flags, length, text.
fn link(target: &[u8]) -> Vec<Vec<u8>> {
    const CONTINUE: u8 = 1;
    let mut payloads = vec![vec![0]];
    let mut add = |flags: u8, text: &[u8]| {
        if payloads.last().is_some_and(|payload| payload.len() + 2 + text.len() > PAYLOAD_MAX) {
            if let Some(flags) = payloads.last_mut().and_then(|payload| payload.first_mut()) {
                *flags = CONTINUE;
            }
            payloads.push(vec![0]);
        }
        if let Some(payload) = payloads.last_mut() {
            payload.extend_from_slice(&[flags, text.len() as u8]);
            payload.extend_from_slice(text);
        }
    };
    if target.starts_with(b"/") {
        add(8, b"");
    }
    for component in target.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
        match component {
            b"." => add(2, b""),
            b".." => add(4, b""),
            _ => {
                let mut parts = component.chunks(PAYLOAD_MAX - 3).peekable();
                while let Some(part) = parts.next() {
                    add(if parts.peek().is_some() { CONTINUE } else { 0 }, part);
                }
            }
        }
    }
    payloads
}
