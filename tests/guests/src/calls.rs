//! BIOS call test disk (`firmware/inttest`): the drives it expects, and the parser of its log.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::{Error, cache::cached, file_error};

const SECTOR: usize = 512;
/// hda: the program and some free cylinders.
const DISK: usize = 4 << 20;
/// hdb: scratch disk.
const SCRATCH: u64 = 32 << 20;
/// Sectors of hdb that contain their own number.
const NUMBERED: usize = 600;
const CD: u64 = 1 << 20;

/// Makes `hda.img`, `hdb.img` and `cd.iso`, and returns their directory.
pub fn drives() -> Result<PathBuf, Error> {
    let program = pcvm_test_host::project().join("firmware/prebuilt/inttest.img");
    let mut disk = fs::read(&program).map_err(file_error(&program))?;
    disk.resize(DISK, 0);
    cached("calls", &[&disk, include_bytes!("calls.rs")], |dir| {
        let write = |name: &str, bytes: &[u8], size: u64| {
            let path = dir.join(name);
            fs::write(&path, bytes).map_err(file_error(&path))?;
            fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(size))
                .map_err(file_error(&path))
        };
        let numbered: Vec<u8> =
            (0..NUMBERED as u32).flat_map(|n| n.to_le_bytes().into_iter().cycle().take(SECTOR)).collect();
        write("hda.img", &disk, DISK as u64)?;
        write("hdb.img", &numbered, SCRATCH)?;
        write("cd.iso", &[], CD)
    })
}

/// Results of a call, by field. A register's field is its name; a byte of the BIOS data area is `40:` and its offset.
pub type Fields = BTreeMap<String, String>;

/// Log of BIOS calls. A call is named `13.0201.read-1` (interrupt, AX, name), with `#2` if it repeats; `+name` is a
/// readout after a call.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Calls and their results, in order.
    pub calls: Vec<(String, Fields)>,
}

impl Log {
    /// Parses the output of port 402h. Returns `None` if the end marker is missing.
    pub fn parse(text: &str) -> Option<Self> {
        let mut seen = BTreeMap::<String, u32>::new();
        let (mut log, mut ended, mut call) = (Self::default(), false, String::new());
        for line in text.lines() {
            ended |= line.starts_with("inttest: end ");
            let mut words = line.split(' ');
            if words.next() != Some("call") {
                continue;
            }
            let name = words.next()?;
            // A call's name starts with its interrupt and AX; a readout's does not.
            let own = name.as_bytes().get(2) == Some(&b'.') && name.as_bytes().get(7) == Some(&b'.');
            let mut key = if own { name.to_owned() } else { format!("{call}+{name}") };
            let count = seen.entry(key.clone()).or_default();
            *count += 1;
            if *count > 1 {
                key = format!("{key}#{count}");
            }
            if own {
                call.clone_from(&key);
            }
            let mut fields = Fields::new();
            for (field, value) in words.skip_while(|word| *word != "out").filter_map(|word| word.split_once('=')) {
                match field.strip_prefix("bda").and_then(|at| usize::from_str_radix(at, 16).ok()) {
                    Some(at) => {
                        for n in 0..value.len() / 2 {
                            fields.insert(format!("40:{:02x}", at + n), value.get(n * 2..n * 2 + 2)?.to_owned());
                        }
                    }
                    None => {
                        fields.insert(field.to_owned(), value.to_owned());
                    }
                }
            }
            log.calls.push((key, fields));
        }
        ended.then_some(log)
    }

    /// Fields in which `other` differs. A call that is in one log only differs in the field `called`.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let theirs: BTreeMap<_, _> = other.calls.iter().map(|(key, fields)| (key, fields)).collect();
        let ours: BTreeMap<_, _> = self.calls.iter().map(|(key, fields)| (key, fields)).collect();
        let mut all = Vec::new();
        let mut put = |call: &str, field: &str, one: &str, other: &str| {
            let [call, field, one, other] = [call, field, one, other].map(str::to_owned);
            all.push(Difference { call, field, one, other });
        };
        for (key, fields) in &self.calls {
            let Some(there) = theirs.get(key) else {
                put(key, "called", "yes", "no");
                continue;
            };
            for (field, one) in fields {
                match there.get(field) {
                    Some(other) if other == one => {}
                    other => put(key, field, one, other.map_or("", |other| other)),
                }
            }
        }
        for (key, _) in other.calls.iter().filter(|(key, _)| !ours.contains_key(key)) {
            put(key, "called", "no", "yes");
        }
        all
    }
}

/// A field of a call with different values in two logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Call.
    pub call: String,
    /// Field.
    pub field: String,
    /// Value in the first log.
    pub one: String,
    /// Value in the second log.
    pub other: String,
}

/// A line of a list of known differences: `calls | fields | reason`. `*` in a call or a field matches any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDifference {
    calls: Vec<String>,
    fields: Vec<String>,
    /// Why the values differ.
    pub why: String,
}

impl KnownDifference {
    /// Parses a list; skips empty lines and lines that begin with `#`.
    pub fn list(text: &str) -> Vec<Self> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let mut parts = line.splitn(3, '|').map(str::trim);
                let mut part = || parts.next().unwrap_or_default();
                Self { calls: words(part()), fields: words(part()), why: part().to_owned() }
            })
            .collect()
    }

    /// Whether this line explains the difference.
    pub fn covers(&self, difference: &Difference) -> bool {
        self.calls.iter().any(|call| matches(call, &difference.call))
            && self.fields.iter().any(|field| matches(field, &difference.field))
    }

    /// Calls and fields, for messages.
    pub fn title(&self) -> String {
        format!("{} | {}", self.calls.join(" "), self.fields.join(" "))
    }
}

/// Whether `text` matches `pattern`, in which each `*` matches any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        // Every part but the last matches at its first occurrence.
        if let Some(before) = last.replace(part) {
            let Some(at) = rest.find(before) else { return false };
            rest = rest.get(at + before.len()..).unwrap_or_default();
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_a_pattern_matches_any_text() {
        for (pattern, text, right) in [
            ("13.0201.read", "13.0201.read", true),
            ("13.0201.read", "13.0201.read#2", false),
            ("13.*.read*", "13.0201.read#2", true),
            ("*+screen", "10.0600.scroll+screen", true),
            ("*+screen", "10.0600.scroll+screen#2", false),
            ("40:*", "40:65", true),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), right, "{pattern} {text}");
        }
    }

    #[test]
    fn logs_differ_in_changed_fields_and_missing_calls() {
        let one = Log::parse(
            "call 13.0100.status in out eax=00000000 fl=I\ncall byte in out mem=00\ncall 13.0100.status in out eax=1\n\
             call 10.0003.mode in out bda49=0350\ninttest: end 4\n",
        )
        .unwrap();
        let other = Log::parse(
            "firmware\ncall 13.0100.status in out eax=00000000 fl=CI\ncall byte in out mem=01\n\
             call 10.0003.mode in out bda49=0328\ninttest: end 3\n",
        )
        .unwrap();
        let found: Vec<_> = one.differences(&other).into_iter().map(|d| [d.call, d.field, d.one, d.other]).collect();
        assert_eq!(
            found,
            [
                ["13.0100.status", "fl", "I", "CI"],
                ["13.0100.status+byte", "mem", "00", "01"],
                ["13.0100.status#2", "called", "yes", "no"],
                ["10.0003.mode", "40:4a", "50", "28"],
            ]
        );
        assert!(Log::parse("call 13.0100.status in out eax=0\n").is_none());
    }

    #[test]
    fn a_known_difference_covers_its_calls_and_fields_only() {
        let list = KnownDifference::list("# all\n\n13.01* 13.02* | eax fl | as the AT has it | really\n");
        let difference = |call: &str, field: &str| Difference {
            call: call.into(),
            field: field.into(),
            one: String::new(),
            other: String::new(),
        };
        assert_eq!(list[0].why, "as the AT has it | really");
        assert!(list[0].covers(&difference("13.0201.read#2", "fl")));
        assert!(!list[0].covers(&difference("13.0201.read#2", "ebx")));
        assert!(!list[0].covers(&difference("13.0301.write", "fl")));
    }
}
