//! Parser for the text of a cue sheet.

use super::CueError;
use pcvm_devices::disc::{self, TrackForm};

/// Bytes of a cue sheet.
pub const SHEET_MAX: usize = 256 << 10;
/// Files of a cue sheet: each is open while the disc is in use.
const FILES_MAX: usize = 200;

/// What a FILE contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Sectors; audio with the low byte first.
    Binary,
    /// Sectors; audio with the high byte first.
    Motorola,
    /// A RIFF WAVE file of 44.1 kHz, 16 bits, stereo.
    Wave,
}

/// A FILE command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CueFile {
    /// The name as written.
    pub name: String,
    /// The type.
    pub kind: FileKind,
    /// The line of the command.
    pub line: usize,
}

/// An INDEX command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CueIndex {
    /// 0 to 99.
    pub number: u8,
    /// The file, by its place in [`CueSheet::files`].
    pub file: usize,
    /// Frames from the start of the file.
    pub frame: u32,
    /// The line of the command.
    pub line: usize,
}

/// A TRACK command, and those that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CueTrack {
    /// 1 to 99.
    pub number: u8,
    /// From 1.
    pub session: u8,
    /// For mode 2 the layout finds out whether it is XA.
    pub form: TrackForm,
    /// Bytes per sector.
    pub stride: u32,
    /// PREGAP in frames.
    pub pregap: u32,
    /// POSTGAP in frames.
    pub postgap: u32,
    /// FLAGS DCP.
    pub copy_permitted: bool,
    /// FLAGS 4CH.
    pub four_channel: bool,
    /// FLAGS PRE.
    pub pre_emphasis: bool,
    /// ISRC.
    pub isrc: Option<[u8; 12]>,
    /// Indexes in ascending order, with index 1.
    pub indexes: Vec<CueIndex>,
    /// The line of the command.
    pub line: usize,
}

/// A cue sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CueSheet {
    /// Files, each with at least one index.
    pub files: Vec<CueFile>,
    /// Tracks, at least one, by ascending numbers.
    pub tracks: Vec<CueTrack>,
    /// CATALOG.
    pub catalogue: Option<[u8; 13]>,
}

/// Parses a sheet.
///
/// # Errors
/// The first line that cannot be used.
pub fn parse(text: &[u8]) -> Result<CueSheet, CueError> {
    if text.len() > SHEET_MAX || text.contains(&0) {
        return Err(CueError::new(1, "is no cue sheet, which is a text of at most 256 KiB"));
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // Lines end with LF or CR LF, or all with CR.
    let end = if text.contains(&b'\n') { b'\n' } else { b'\r' };
    let mut parser = Parser { session: 1, ..Parser::default() };
    let mut last = 1;
    for (line, text) in (1..).zip(text.split(|&byte| byte == end)) {
        parser.line(line, text.trim_ascii()).map_err(|what| CueError { line, what })?;
        last = line;
    }
    parser.end_file().and_then(|()| parser.end_track()).map_err(|what| CueError { line: last, what })?;
    if parser.sheet.tracks.is_empty() {
        return Err(CueError::new(last, "the sheet has no TRACK"));
    }
    Ok(parser.sheet)
}

#[derive(Default)]
struct Parser {
    sheet: CueSheet,
    session: u8,
    /// An INDEX was in the current file.
    file_used: bool,
    /// Whether the current track has a PREGAP or POSTGAP.
    has_pregap: bool,
    has_postgap: bool,
}

/// The first word of a line in upper case, and the rest.
fn command(line: &[u8]) -> (String, &[u8]) {
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (String::from_utf8_lossy(word).to_ascii_uppercase(), rest.trim_ascii())
}

fn words(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text).split_ascii_whitespace().map(str::to_owned).collect()
}

fn number(text: &str) -> Option<u32> {
    // parse() also takes a plus sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok() }
}

/// `mm:ss:ff` in frames.
fn time(text: &str) -> Result<u32, String> {
    let wrong = || format!("'{text}' is no time: write minutes, seconds (0 to 59) and frames (0 to 74) as mm:ss:ff");
    let parts: Vec<_> = text.split(':').map(number).collect();
    match parts[..] {
        // A disc has less than 100 minutes, a file in the sheet may have more.
        [Some(minutes @ 0..=9999), Some(seconds @ 0..=59), Some(frames @ 0..=74)] => {
            Ok((minutes * 60 + seconds) * 75 + frames)
        }
        _ => Err(wrong()),
    }
}

fn mode(text: &str) -> Option<(TrackForm, u32)> {
    Some(match text.to_ascii_uppercase().as_str() {
        "AUDIO" => (TrackForm::Audio, disc::RAW),
        "CDG" => (TrackForm::Audio, disc::RAW_WITH_SUBCHANNEL),
        "MODE1/2048" => (TrackForm::Mode1, disc::USER_DATA),
        "MODE1/2352" => (TrackForm::Mode1, disc::RAW),
        "MODE1/2448" => (TrackForm::Mode1, disc::RAW_WITH_SUBCHANNEL),
        "MODE2/2048" => (TrackForm::Mode2Xa, disc::USER_DATA),
        "MODE2/2324" => (TrackForm::Mode2Xa, disc::FORM_2_DATA),
        "MODE2/2336" | "CDI/2336" => (TrackForm::Mode2, disc::MODE_2_DATA),
        "MODE2/2352" | "CDI/2352" => (TrackForm::Mode2, disc::RAW),
        "MODE2/2448" => (TrackForm::Mode2, disc::RAW_WITH_SUBCHANNEL),
        _ => return None,
    })
}

impl Parser {
    fn line(&mut self, line: usize, text: &[u8]) -> Result<(), String> {
        let (command, rest) = command(text);
        match command.as_str() {
            "" => Ok(()),
            "REM" => self.remark(rest),
            // CD-Text, and what its editors write.
            "TITLE" | "PERFORMER" | "SONGWRITER" | "COMPOSER" | "ARRANGER" | "MESSAGE" | "GENRE" | "DISC_ID"
            | "TOC_INFO" | "TOC_INFO1" | "TOC_INFO2" | "SIZE_INFO" | "UPC_EAN" | "CDTEXTFILE" | "CDTEXTMAIN" => Ok(()),
            "CATALOG" => self.catalogue(rest),
            "FILE" => self.file(line, rest),
            "TRACK" => self.track(line, rest),
            "FLAGS" => self.flags(rest),
            "ISRC" => self.isrc(rest),
            "PREGAP" => {
                let frames = one_time("PREGAP", rest)?;
                let once = !std::mem::replace(&mut self.has_pregap, true);
                let track = self.current("PREGAP")?;
                if !once || !track.indexes.is_empty() {
                    return Err("PREGAP must come once, before the track's first INDEX".to_owned());
                }
                track.pregap = frames;
                Ok(())
            }
            "POSTGAP" => {
                let frames = one_time("POSTGAP", rest)?;
                let once = !std::mem::replace(&mut self.has_postgap, true);
                let track = self.current("POSTGAP")?;
                if !once || track.indexes.is_empty() {
                    return Err("POSTGAP must come once, after the track's last INDEX".to_owned());
                }
                track.postgap = frames;
                Ok(())
            }
            "INDEX" => self.index(line, rest),
            _ => Err(format!("unknown command '{command}'")),
        }
    }

    fn remark(&mut self, rest: &[u8]) -> Result<(), String> {
        let (word, rest) = command(rest);
        if word != "SESSION" {
            return Ok(());
        }
        let text = String::from_utf8_lossy(rest);
        let last = self.sheet.tracks.last().map_or(0, |track| track.session);
        // The session of the track before, or the next one.
        let allowed = if last == 0 { vec![1] } else { vec![last, last + 1] };
        let session = number(&text).and_then(|n| u8::try_from(n).ok()).filter(|n| allowed.contains(n));
        let names = allowed.iter().map(u8::to_string).collect::<Vec<_>>().join(" or ");
        let session = session.ok_or_else(|| format!("REM SESSION must be followed by {names}, not '{text}'"))?;
        self.session = session;
        Ok(())
    }

    fn catalogue(&mut self, rest: &[u8]) -> Result<(), String> {
        let text = unquoted(rest);
        match text.try_into() {
            Ok(digits) if text.iter().all(u8::is_ascii_digit) => self.sheet.catalogue = Some(digits),
            _ => return Err("CATALOG needs a number of 13 digits".to_owned()),
        }
        Ok(())
    }

    fn file(&mut self, line: usize, rest: &[u8]) -> Result<(), String> {
        const FORM: &str = "write FILE \"NAME\" BINARY, MOTOROLA or WAVE";
        self.end_file()?;
        let (name, kind) = match rest.strip_prefix(b"\"") {
            Some(rest) => {
                let end = rest.iter().rposition(|&byte| byte == b'"').ok_or(format!("a quote is missing: {FORM}"))?;
                let (name, kind) = rest.split_at(end);
                (name, kind.get(1..).unwrap_or_default())
            }
            // A name without quotes may contain spaces all the same.
            None => match rest.iter().rposition(u8::is_ascii_whitespace) {
                Some(space) => rest.split_at(space),
                None => return Err(format!("the name or the type is missing: {FORM}")),
            },
        };
        let kind = String::from_utf8_lossy(kind.trim_ascii()).to_ascii_uppercase();
        let kind = match kind.as_str() {
            "BINARY" => FileKind::Binary,
            "MOTOROLA" => FileKind::Motorola,
            "WAVE" => FileKind::Wave,
            "AIFF" | "MP3" | "FLAC" | "OGG" | "APE" => {
                return Err(format!("{kind} files cannot be read; convert the file to WAVE and change this line"));
            }
            "" => return Err(format!("the type is missing: {FORM}")),
            _ => return Err(format!("unknown type '{kind}': {FORM}")),
        };
        let name = name.trim_ascii();
        if name.is_empty() {
            return Err(format!("the name is missing: {FORM}"));
        }
        if self.sheet.files.len() == FILES_MAX {
            return Err(format!("more than {FILES_MAX} files"));
        }
        let name = String::from_utf8(name.to_vec())
            .map_err(|_| "the name is not UTF-8: convert the sheet with 'iconv -t UTF-8'".to_owned())?;
        self.sheet.files.push(CueFile { name, kind, line });
        self.file_used = false;
        Ok(())
    }

    /// Called before another file.
    fn end_file(&self) -> Result<(), String> {
        match self.sheet.files.last() {
            Some(file) if !self.file_used => Err(format!("FILE in line {} has no INDEX", file.line)),
            _ => Ok(()),
        }
    }

    fn track(&mut self, line: usize, rest: &[u8]) -> Result<(), String> {
        self.end_track()?;
        let words = words(rest);
        let [number_text, mode_text] = &words[..] else {
            return Err("write TRACK NUMBER MODE, such as TRACK 01 MODE1/2352".to_owned());
        };
        let last = self.sheet.tracks.last().map(|track| track.number);
        let number = number(number_text).and_then(|n| u8::try_from(n).ok()).filter(|n| (1..=99).contains(n));
        let number = number.ok_or_else(|| format!("'{number_text}' is no track number from 1 to 99"))?;
        if last.is_some_and(|last| number != last + 1) {
            return Err(format!("track {number} does not follow track {}", last.unwrap_or(0)));
        }
        let (form, stride) = mode(mode_text).ok_or_else(|| {
            format!(
                "unknown mode '{mode_text}': it must be AUDIO, CDG, MODE1/2048, MODE1/2352, MODE2/2336 or MODE2/2352"
            )
        })?;
        if self.sheet.files.is_empty() {
            return Err("a FILE must come before the first TRACK".to_owned());
        }
        let session = self.session;
        (self.has_pregap, self.has_postgap) = (false, false);
        self.sheet.tracks.push(CueTrack {
            number,
            session,
            form,
            stride,
            pregap: 0,
            postgap: 0,
            copy_permitted: false,
            four_channel: false,
            pre_emphasis: false,
            isrc: None,
            indexes: Vec::new(),
            line,
        });
        Ok(())
    }

    /// Called before another track.
    fn end_track(&self) -> Result<(), String> {
        match self.sheet.tracks.last() {
            Some(track) if track.indexes.iter().all(|index| index.number == 0) => {
                Err(format!("track {} has no INDEX 01", track.number))
            }
            _ => Ok(()),
        }
    }

    fn current(&mut self, command: &str) -> Result<&mut CueTrack, String> {
        self.sheet.tracks.last_mut().ok_or_else(|| format!("{command} must come after a TRACK"))
    }

    fn flags(&mut self, rest: &[u8]) -> Result<(), String> {
        let track = self.current("FLAGS")?;
        for flag in words(rest) {
            match flag.to_ascii_uppercase().as_str() {
                "DCP" => track.copy_permitted = true,
                "4CH" => track.four_channel = true,
                "PRE" => track.pre_emphasis = true,
                // The mode says DATA already. SCMS concerns digital copies by audio recorders.
                "SCMS" | "DATA" => {}
                _ => return Err(format!("unknown flag '{flag}': FLAGS takes DCP, 4CH, PRE and SCMS")),
            }
        }
        Ok(())
    }

    fn isrc(&mut self, rest: &[u8]) -> Result<(), String> {
        let code = unquoted(rest).to_ascii_uppercase();
        let track = self.current("ISRC")?;
        match <[u8; 12]>::try_from(code) {
            Ok(code) if code.iter().all(u8::is_ascii_alphanumeric) => track.isrc = Some(code),
            _ => return Err("ISRC needs a code of 12 letters and digits".to_owned()),
        }
        Ok(())
    }

    fn index(&mut self, line: usize, rest: &[u8]) -> Result<(), String> {
        let words = words(rest);
        let [number_text, time_text] = &words[..] else {
            return Err("write INDEX NUMBER mm:ss:ff".to_owned());
        };
        let (file, frame) = (self.sheet.files.len().wrapping_sub(1), time(time_text)?);
        let before = self.sheet.tracks.iter().rev().find_map(|track| track.indexes.last()).copied();
        let first_of_file = !std::mem::replace(&mut self.file_used, true);
        let first_file = file == 0;
        let is_wave = self.sheet.files.last().is_some_and(|file| file.kind == FileKind::Wave);
        let has_postgap = self.has_postgap;
        let track = self.current("INDEX")?;
        let number = number(number_text).and_then(|n| u8::try_from(n).ok()).filter(|&n| n <= 99);
        let number = number.ok_or_else(|| format!("'{number_text}' is no index number from 0 to 99"))?;
        let follows = match track.indexes.last() {
            Some(last) => number == last.number + 1,
            None => number <= 1,
        };
        if !follows {
            return Err(format!("index {number} does not follow: a track's indexes ascend by 1 from 0 or 1"));
        }
        if is_wave && (track.form, track.stride) != (TrackForm::Audio, disc::RAW) {
            return Err(format!("track {}: only AUDIO can be in a WAVE file", track.number));
        }
        if has_postgap {
            return Err("POSTGAP must come after the track's last INDEX".to_owned());
        }
        match before {
            _ if first_of_file => {
                if frame > 0 && !(first_file && track.indexes.is_empty()) {
                    return Err("the first INDEX of a FILE must be at 00:00:00".to_owned());
                }
                // The start of the disc before its first track, which some sheets do not name.
                if frame > 0 && number == 1 {
                    track.indexes.push(CueIndex { number: 0, file, frame: 0, line });
                } else if frame > 0 {
                    return Err("INDEX 00 of the first track must be at 00:00:00".to_owned());
                }
            }
            Some(before) if before.file == file && frame < before.frame => {
                return Err(format!("{time_text} is before the INDEX in line {}", before.line));
            }
            _ => {}
        }
        track.indexes.push(CueIndex { number, file, frame, line });
        Ok(())
    }
}

fn one_time(command: &str, rest: &[u8]) -> Result<u32, String> {
    let words = words(rest);
    match &words[..] {
        [text] => time(text),
        _ => Err(format!("write {command} mm:ss:ff")),
    }
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text).trim_ascii()
}
