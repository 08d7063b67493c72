//! Cue sheets (CDRWIN's `.cue`): the layout of a disc whose sectors are in `.bin`, `.img`, `.iso` or `.wav` files.
//!
//! `parse` reads the text, `layout` places tracks and sessions on the disc and the bytes of the files in one linear image.
//! Source: the CDRWIN user's guide, "Cue sheet commands", and for sessions the `REM SESSION nn` that IsoBuster and Redump
//! write. The gaps between sessions are those of the Orange Book: 1:30 of lead-out after the first session and 0:30 after
//! others, 1:00 of lead-in, 2 s of pre-gap.
//!
//! Deliberately ignored: CD-Text (TITLE, PERFORMER, CDTEXTFILE ...), SCMS, and comments other than `REM SESSION`.

mod layout;
mod parse;
#[cfg(test)]
mod tests;
mod wave;

pub use layout::{Layout, Segment, Source, is_xa, layout};
pub use parse::{CueSheet, FileKind, SHEET_MAX, parse};
pub use wave::pcm_data;

/// A line of a cue sheet that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct CueError {
    /// From 1.
    pub line: usize,
    /// What is wrong, and where it helps what to write instead.
    pub what: String,
}

impl CueError {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

/// Entry of the fuzz target: a hostile cue sheet and files of sizes that its bytes choose.
pub fn fuzz(bytes: &[u8]) {
    let (sizes, text) = bytes.split_at(bytes.len().min(8));
    let Ok(sheet) = parse(text) else { return };
    let of = |n: usize| u64::from(sizes.get(n % 8).copied().unwrap_or(0)) << (sizes.first().copied().unwrap_or(0) % 40);
    let sources: Vec<_> = (0..sheet.files.len()).map(|n| Source { offset: 0, len: of(n) }).collect();
    let read = |_: usize, _: u64, buffer: &mut [u8]| buffer.fill(0);
    if let Ok(layout) = layout(&sheet, &sources, &read) {
        layout.disc.validate().unwrap_or_else(|error| panic!("{error}"));
        layout.disc.fits(layout.size).unwrap_or_else(|error| panic!("{error}"));
        let mut end = 0;
        for segment in &layout.segments {
            assert!(segment.start >= end && segment.len > 0, "segments overlap");
            end = segment.start + segment.len;
            assert!(segment.offset + segment.len <= sources[segment.file].len, "a segment is past the end of its file");
        }
        assert!(end <= layout.size);
    }
}
