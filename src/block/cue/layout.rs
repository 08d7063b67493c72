//! Places the tracks of a cue sheet on a disc, and the bytes of its files in one linear image.

use super::CueError;
use super::parse::{CueIndex, CueSheet, CueTrack, FileKind};
use pcvm_devices::disc::{self, Disc, DiscError, LEAD_IN, Session, Track, TrackForm};

/// Frames between the end of the first session and the first track of the next: lead-out, lead-in (Orange Book).
const FIRST_GAP: u32 = 6750 + 4500;
/// Frames between the end of another session and the first track of the next.
const LATER_GAP: u32 = 2250 + 4500;

/// The bytes of a file that hold sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The first.
    pub offset: u64,
    /// How many.
    pub len: u64,
}

/// A run of bytes of the image that a file stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Byte offset in the image.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// The file, by its place in [`CueSheet::files`].
    pub file: usize,
    /// Byte offset in the file.
    pub offset: u64,
}

/// A disc and its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The disc.
    pub disc: Disc,
    /// What files store of the image, by ascending offset. The rest reads as zeros.
    pub segments: Vec<Segment>,
    /// Bytes of the image.
    pub size: u64,
}

/// The part of a track from one index to the next, or to the end of the file.
struct Region {
    index: CueIndex,
    /// Byte offset within the source.
    offset: u64,
    sectors: u32,
    /// Bytes that the source has of them.
    stored: u64,
}

/// Places everything. `read` fills a buffer from a file at a byte offset, with zeros where it cannot.
///
/// # Errors
/// The line whose track or index the files do not hold, or that makes the disc too long.
pub fn layout(sheet: &CueSheet, sources: &[Source], read: &dyn Fn(usize, u64, &mut [u8])) -> Result<Layout, CueError> {
    let mut regions = regions(sheet, sources)?.into_iter().peekable();
    let mut made = Layout {
        disc: Disc { tracks: Vec::new(), sessions: Vec::new(), catalogue: sheet.catalogue },
        segments: Vec::new(),
        size: 0,
    };
    let mut lba = 0u32;
    for (n, cue) in sheet.tracks.iter().enumerate() {
        let too_long = || CueError::new(cue.line, DiscError::Length.to_string());
        let stride = u64::from(cue.stride);
        let mut track = Track {
            number: cue.number,
            session: cue.session,
            pre_emphasis: cue.pre_emphasis,
            copy_permitted: cue.copy_permitted,
            four_channel: cue.four_channel,
            isrc: cue.isrc,
            ..Track::new(cue.form, cue.stride, 0)
        };
        let (mut stored_pregap, mut len) = (0u32, 0u32);
        for _ in &cue.indexes {
            let Some(region) = regions.next() else { break };
            match region.index.number {
                0 => stored_pregap = region.sectors,
                number => {
                    if number == 1 {
                        track.offset = made.size;
                        find_form(cue, sources, &region, read, &mut track);
                        track.big_endian =
                            sheet.files.get(region.index.file).is_some_and(|file| file.kind == FileKind::Motorola)
                                && track.is_audio();
                    } else {
                        track.indexes.push(len);
                    }
                    len = len.checked_add(region.sectors).ok_or_else(too_long)?;
                }
            }
            made.store(&region, sources, stride).ok_or_else(too_long)?;
        }
        if len == 0 {
            return Err(CueError::new(cue.line, format!("track {} is empty", cue.number)));
        }
        made.size = made.size.checked_add(u64::from(cue.postgap) * stride).ok_or_else(too_long)?;
        track.len = len.checked_add(cue.postgap).ok_or_else(too_long)?;

        let first_of_session = made.disc.tracks.last().is_none_or(|last| last.session != cue.session);
        let mut before = cue.pregap.checked_add(stored_pregap).ok_or_else(too_long)?;
        if first_of_session {
            // Every session begins with 150 frames of pre-gap: a PREGAP of up to that many means these.
            before = stored_pregap + cue.pregap.saturating_sub(LEAD_IN);
            if n > 0 {
                made.disc.sessions.push(Session { lead_out: lba });
                let gap = if made.disc.sessions.len() == 1 { FIRST_GAP } else { LATER_GAP };
                lba = lba.saturating_add(gap).saturating_add(LEAD_IN.saturating_sub(before));
            }
        }
        track.start = lba.checked_add(before).ok_or_else(too_long)?;
        track.pregap = before;
        track.stored_pregap = stored_pregap;
        lba = track.start.checked_add(track.len).ok_or_else(too_long)?;
        made.disc.tracks.push(track);
    }
    made.disc.sessions.push(Session { lead_out: lba });
    let line_of = |number: u8| sheet.tracks.iter().find(|track| track.number == number).map_or(1, |track| track.line);
    made.disc.validate().and_then(|()| made.disc.fits(made.size)).map_err(|error| {
        let line = match error {
            DiscError::Number(track) | DiscError::Session(track) | DiscError::Overlap(track) => line_of(track),
            DiscError::Index(track) | DiscError::Bytes(track) => line_of(track),
            DiscError::Stride { number, .. } => line_of(number),
            DiscError::TrackCount | DiscError::Code | DiscError::Length => {
                sheet.tracks.last().map_or(1, |track| track.line)
            }
        };
        CueError::new(line, error.to_string())
    })?;
    Ok(made)
}

impl Layout {
    /// Appends a region, in whole sectors. None if the image becomes too large.
    fn store(&mut self, region: &Region, sources: &[Source], stride: u64) -> Option<()> {
        let file = region.index.file;
        let offset = sources.get(file)?.offset.checked_add(region.offset)?;
        if region.stored > 0 {
            match self.segments.last_mut() {
                Some(last)
                    if last.file == file && last.start + last.len == self.size && last.offset + last.len == offset =>
                {
                    last.len += region.stored;
                }
                _ => self.segments.push(Segment { start: self.size, len: region.stored, file, offset }),
            }
        }
        self.size = self.size.checked_add(u64::from(region.sectors).checked_mul(stride)?)?;
        Some(())
    }
}

/// Divides the files at the indexes. Sectors of the tracks in one file may have different sizes.
fn regions(sheet: &CueSheet, sources: &[Source]) -> Result<Vec<Region>, CueError> {
    let indexes: Vec<_> =
        sheet.tracks.iter().flat_map(|track| track.indexes.iter().map(move |index| (track, *index))).collect();
    let (mut regions, mut offset, mut file) = (Vec::new(), 0u64, None);
    for (n, (track, index)) in indexes.iter().enumerate() {
        if file != Some(index.file) {
            (file, offset) = (Some(index.file), 0);
        }
        let stride = u64::from(track.stride);
        let left = sources.get(index.file).map_or(0, |source| source.len).saturating_sub(offset);
        let next = indexes.get(n + 1).map(|(_, next)| next).filter(|next| next.file == index.file);
        let sectors = match next {
            Some(next) => {
                let sectors = next.frame.saturating_sub(index.frame);
                if u64::from(sectors) * stride > left {
                    return Err(CueError::new(
                        next.line,
                        format!("INDEX {:02} is past the end of its FILE", next.number),
                    ));
                }
                sectors
            }
            // An incomplete last sector is filled with zeros.
            None => u32::try_from(left.div_ceil(stride))
                .map_err(|_| CueError::new(track.line, DiscError::Length.to_string()))?,
        };
        let len = u64::from(sectors) * stride;
        regions.push(Region { index: *index, offset, sectors, stored: len.min(left) });
        offset += len;
    }
    Ok(regions)
}

/// Of mode 2, finds out whether it is XA.
fn find_form(
    cue: &CueTrack,
    sources: &[Source],
    region: &Region,
    read: &dyn Fn(usize, u64, &mut [u8]),
    track: &mut Track,
) {
    let base = sources.get(region.index.file).map_or(0, |source| source.offset) + region.offset;
    let read = |at: u64, buffer: &mut [u8]| read(region.index.file, base + at, buffer);
    if track.form == TrackForm::Mode2 && is_xa(cue.stride, region.sectors, &read) {
        track.form = TrackForm::Mode2Xa;
    }
}

/// Whether sectors of mode 2 are of CD-ROM XA: the sub-header then stands there twice (CD-ROM XA, 4.4). `read` fills a buffer
/// from a byte offset within the track.
pub fn is_xa(stride: u32, sectors: u32, read: &dyn Fn(u64, &mut [u8])) -> bool {
    let at = if stride == disc::MODE_2_DATA { 0 } else { 16 };
    let twice = |sector: u32| {
        let mut header = [0; 8];
        if sector < sectors {
            read(u64::from(sector * stride) + at, &mut header);
        }
        header[..4] == header[4..]
    };
    // Sector 16 is the first that a file system uses.
    twice(0) && twice(16)
}
