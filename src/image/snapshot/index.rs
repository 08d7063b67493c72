//! The snapshot index beside an image: a JSON file that is replaced as a whole.

use crate::image::files::{self, NewFile, with_suffix};
use crate::image::{Format, ImageError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of an index at most: more than 4000 snapshots.
const SIZE_MAX: u64 = 1 << 20;
/// The index's version.
const VERSION: u32 = 1;

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// When it was taken: UTC, as in RFC 3339.
    pub date: String,
    /// The snapshot that the image was based on.
    pub parent: Option<String>,
    /// Its file, in the image's directory.
    pub file: String,
    /// The file's format.
    pub format: Format,
    /// Virtual size in bytes.
    pub size: u64,
    /// The user's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// A deletion has begun to write into its file, so it no longer has its content. What is based on it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
}

/// The snapshots of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Format of the image.
    pub format: Option<Format>,
    /// The snapshot that the image is based on.
    pub parent: Option<String>,
    /// In the order in which they were taken.
    pub snapshots: Vec<Snapshot>,
}

impl Index {
    /// A snapshot by its name.
    ///
    /// # Errors
    /// If there is none; the text names those that exist.
    pub fn find(&self, image: &Path, name: &str) -> Result<&Snapshot, ImageError> {
        self.snapshots.iter().find(|snapshot| snapshot.name == name).ok_or_else(|| {
            let names: Vec<_> = self.snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect();
            let known =
                if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            ImageError::refused(image, format!("has no snapshot '{}'; {known}", name.escape_debug()))
        })
    }
}

/// An operation between its first and its last step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Pending {
    /// Inode number of the image before the operation.
    pub inode_before: u64,
    /// Inode number after it.
    pub inode_after: u64,
    /// Name of the file that becomes the image.
    pub temporary: String,
    /// Second name of what the image was.
    pub link: String,
    /// That name goes at the end.
    pub drop_link: bool,
    /// The state after the operation.
    pub state: Index,
}

/// The index as it is in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IndexFile {
    version: u32,
    #[serde(flatten)]
    pub state: Index,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
}

fn path(image: &Path) -> PathBuf {
    with_suffix(image, ".snapshots")
}

/// The error for an image that is neither what it was before nor what it should be after an operation.
pub(super) fn undecided(image: &Path) -> ImageError {
    let why = format!(
        "was copied or replaced during a snapshot, so its format is unknown: give it in {} and remove 'pending' there",
        path(image).display()
    );
    ImageError::refused(image, why)
}

impl IndexFile {
    /// Reads the index of an image; an empty one if there is none.
    ///
    /// # Errors
    /// If it cannot be read, is damaged or of another version.
    pub fn load(image: &Path) -> Result<Self, ImageError> {
        let path = path(image);
        let mut text = String::new();
        match fs::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { version: VERSION, state: Index::default(), pending: None });
            }
            Err(why) => return Err(ImageError::Host { path, why }),
            Ok(file) => file.take(SIZE_MAX + 1).read_to_string(&mut text).map_err(ImageError::host(&path))?,
        };
        if text.len() as u64 > SIZE_MAX {
            return Err(ImageError::refused(&path, "is longer than 1 MiB, so it is no snapshot index"));
        }
        // serde's flatten loses deny_unknown_fields; a map is enough for the version.
        let found: serde_json::Value =
            serde_json::from_str(&text).map_err(|why| ImageError::refused(&path, format!("is damaged: {why}")))?;
        let version = found.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(VERSION.into()) {
            let why =
                format!("has version {}, and this pcvm knows 1", version.map_or("none".to_owned(), |v| v.to_string()));
            return Err(ImageError::refused(&path, why));
        }
        let index: Loaded =
            serde_json::from_value(found).map_err(|why| ImageError::refused(&path, format!("is damaged: {why}")))?;
        let Loaded { version, format, parent, snapshots, pending } = index;
        let index = Self { version, state: Index { format, parent, snapshots }, pending };
        index.check(&path)?;
        Ok(index)
    }

    /// Names that end up in paths must be names.
    fn check(&self, path: &Path) -> Result<(), ImageError> {
        let pending = self.pending.as_ref();
        let states = [Some(&self.state), pending.map(|pending| &pending.state)];
        let files = states.iter().flatten().flat_map(|state| &state.snapshots).map(|snapshot| &snapshot.file);
        let more = pending.iter().flat_map(|pending| [&pending.temporary, &pending.link]);
        for name in files.chain(more) {
            if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
                let why = format!("is damaged: '{}' is not the name of a file beside it", name.escape_debug());
                return Err(ImageError::refused(path, why));
            }
        }
        Ok(())
    }

    /// The state that holds for the image.
    pub fn current(&self, image: &Path) -> Index {
        match &self.pending {
            Some(pending) if fs::metadata(image).is_ok_and(|m| m.ino() == pending.inode_after) => pending.state.clone(),
            _ => self.state.clone(),
        }
    }

    /// Replaces the index.
    ///
    /// # Errors
    /// The host's error; the old index is as before then.
    pub fn store(&self, image: &Path) -> Result<(), ImageError> {
        let path = path(image);
        let new = NewFile::create(files::temporary(&path, "new"))?;
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        let mut file = new.file();
        file.write_all(text.as_bytes()).map_err(ImageError::host(&path))?;
        if let Ok(old) = fs::File::open(image) {
            crate::image::merge::keep_mode(&old, file, &path)?;
        }
        new.publish(&path, true)
    }
}

/// An index for reading: `deny_unknown_fields` does not work with `flatten`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Loaded {
    version: u32,
    format: Option<Format>,
    parent: Option<String>,
    snapshots: Vec<Snapshot>,
    #[serde(default)]
    pending: Option<Pending>,
}

/// Removes the index of an image without snapshots.
///
/// # Errors
/// The host's error.
pub(super) fn remove(image: &Path) -> Result<(), ImageError> {
    let path = path(image);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(ImageError::host(&path)),
    }
}

/// Checks a snapshot's name, which becomes part of a file's name.
///
/// # Errors
/// If it is not 1 to 64 letters, digits, `.`, `_` and `-`, or begins with another sign than a letter or digit.
pub(super) fn check_name(name: &str) -> Result<(), ImageError> {
    let sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let start = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if start && name.len() <= 64 && name.chars().all(sign) {
        return Ok(());
    }
    let why = "a snapshot's name has 1 to 64 letters, digits, '.', '_' and '-', and begins with a letter or digit";
    Err(ImageError::Usage(format!("'{}': {why}", name.escape_debug())))
}

/// Checks a comment.
///
/// # Errors
/// If it is longer than 1000 bytes.
pub(super) fn check_comment(comment: Option<&str>) -> Result<Option<String>, ImageError> {
    match comment {
        Some(text) if text.len() > 1000 => Err(ImageError::Usage("a comment has at most 1000 bytes".to_owned())),
        other => Ok(other.map(str::to_owned)),
    }
}

/// The time as RFC 3339 in UTC.
pub(super) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    date(seconds)
}

/// Seconds since 1970 as RFC 3339 in UTC.
fn date(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86400, seconds % 86400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_leap_years() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(date(1_795_999_199), "2026-11-30T00:39:59Z");
    }

    #[test]
    fn names_that_are_no_file_names_are_refused() {
        for name in ["a", "before-update", "1.2_3", &"x".repeat(64)] {
            check_name(name).unwrap();
        }
        for name in ["", ".", "..", "-x", "a/b", "a b", "ä", "a\n", &"x".repeat(65)] {
            check_name(name).unwrap_err();
        }
    }
}
