//! Tests of cue sheets: sheets as programs write them, and damaged ones.

use super::*;
use pcvm_devices::disc::{Disc, TrackForm};
use proptest::prelude::*;

fn no_bytes(_: usize, _: u64, buffer: &mut [u8]) {
    buffer.fill(0xee);
    buffer[0] = 0;
}

/// The layout of a sheet whose files have these sizes in bytes.
fn made(text: &str, sizes: &[u64]) -> Result<Layout, CueError> {
    let sheet = parse(text.as_bytes())?;
    let sources: Vec<_> = sizes.iter().map(|&len| Source { offset: 0, len }).collect();
    assert_eq!(sheet.files.len(), sizes.len());
    layout(&sheet, &sources, &no_bytes)
}

/// Of each track: session, LBA, length, pre-gap, stored pre-gap, offset in the image.
fn places(disc: &Disc) -> Vec<(u8, u32, u32, u32, u32, u64)> {
    disc.tracks.iter().map(|t| (t.session, t.start, t.len, t.pregap, t.stored_pregap, t.offset)).collect()
}

const RAW: u64 = 2352;

#[test]
fn a_mixed_disc_in_one_file_is_placed_by_its_indexes() {
    let sheet = "CATALOG 1234567890123\r\nREM COMMENT \"x\"\r\nTITLE \"A disc\"\r\nCDTEXTFILE \"C:\\x.cdt\"\r\n\
        FILE \"game.bin\" BINARY\r\n  TRACK 01 MODE1/2352\r\n    INDEX 01 00:00:00\r\n\
        \x20 TRACK 02 AUDIO\r\n    FLAGS DCP PRE\r\n    ISRC usABC1234567\r\n    PREGAP 00:01:00\r\n    INDEX 00 00:04:00\r\n\
        \x20   INDEX 01 00:05:00\r\n    INDEX 02 00:06:00\r\n    POSTGAP 00:00:10\r\n\
        \x20 TRACK 03 AUDIO\r\n    INDEX 01 00:08:00\r\n";
    let Layout { disc, segments, size } = made(sheet, &[700 * RAW]).unwrap();
    assert_eq!(
        places(&disc),
        [(1, 0, 300, 0, 0, 0), (1, 450, 235, 150, 75, 375 * RAW), (1, 685, 100, 0, 0, 610 * RAW),]
    );
    assert_eq!((disc.tracks[1].indexes.as_slice(), disc.tracks[1].isrc), (&[75][..], Some(*b"USABC1234567")));
    assert!(disc.tracks[1].copy_permitted && disc.tracks[1].pre_emphasis && !disc.tracks[1].four_channel);
    assert_eq!((disc.catalogue, disc.sectors(), size), (Some(*b"1234567890123"), 785, 710 * RAW));
    let of = |start, offset, len| Segment { start: start * RAW, len: len * RAW, file: 0, offset: offset * RAW };
    assert_eq!(segments, [of(0, 0, 600), of(610, 600, 100)], "POSTGAP is no hole in the image");
}

#[test]
fn tracks_of_one_file_may_have_sectors_of_different_sizes() {
    let sheet = "FILE a BINARY\nTRACK 1 MODE1/2048\nINDEX 1 0:0:0\nTRACK 2 AUDIO\nINDEX 0 0:2:0\nINDEX 1 0:4:0\n";
    let Layout { disc, size, .. } = made(sheet, &[150 * 2048 + 160 * RAW + 1]).unwrap();
    assert_eq!(places(&disc), [(1, 0, 150, 0, 0, 0), (1, 300, 11, 150, 150, 150 * 2048 + 150 * RAW)]);
    assert_eq!(size, 150 * 2048 + 161 * RAW, "the incomplete last sector is filled");
}

#[test]
fn a_pregap_may_be_at_the_end_of_the_file_before() {
    let sheet = "FILE \"01.wav\" WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nTRACK 02 AUDIO\nINDEX 00 00:03:00\n\
        FILE \"02.wav\" WAVE\nINDEX 01 00:00:00\n";
    let sheet = parse(sheet.as_bytes()).unwrap();
    let sources = [Source { offset: 44, len: 300 * RAW - 100 }, Source { offset: 46, len: 50 * RAW }];
    let Layout { disc, segments, size } = layout(&sheet, &sources, &no_bytes).unwrap();
    assert_eq!(places(&disc), [(1, 0, 225, 0, 0, 0), (1, 300, 50, 75, 75, 300 * RAW)]);
    assert_eq!(
        segments,
        [
            Segment { start: 0, len: 300 * RAW - 100, file: 0, offset: 44 },
            Segment { start: 300 * RAW, len: 50 * RAW, file: 1, offset: 46 },
        ]
    );
    assert_eq!(size, 350 * RAW);
}

#[test]
fn the_first_tracks_pregap_is_the_one_that_every_disc_has() {
    let with = |lines: &str| {
        let sheet = format!("FILE a BINARY\nTRACK 01 AUDIO\n{lines}");
        places(&made(&sheet, &[1000 * RAW]).unwrap().disc)[0]
    };
    assert_eq!(with("PREGAP 00:02:00\nINDEX 01 00:00:00"), (1, 0, 1000, 0, 0, 0));
    assert_eq!(with("PREGAP 00:03:00\nINDEX 01 00:00:00"), (1, 75, 1000, 75, 0, 0));
    // A hidden track.
    assert_eq!(with("INDEX 00 00:00:00\nINDEX 01 00:00:33"), (1, 33, 967, 33, 33, 33 * RAW));
    assert_eq!(with("INDEX 01 00:00:33"), (1, 33, 967, 33, 33, 33 * RAW));
}

#[test]
fn sessions_are_apart_as_the_orange_book_has_them() {
    let sheet = "REM SESSION 01\nFILE a BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nREM LEAD-OUT 01:30:00\n\
        REM SESSION 02\nREM LEAD-IN 01:00:00\nREM PREGAP 00:02:00\nFILE b BINARY\nTRACK 02 MODE1/2048\nINDEX 01 00:00:00\n\
        REM SESSION 03\nTRACK 03 MODE1/2048\nPREGAP 00:02:00\nINDEX 01 00:02:00\n";
    let disc = made(sheet, &[100 * RAW, 300 * 2048]).unwrap().disc;
    assert_eq!(
        places(&disc),
        [
            (1, 0, 100, 0, 0, 0),
            (2, 100 + 11_400, 150, 0, 0, 100 * RAW),
            (3, 11_650 + 6_900, 150, 0, 0, 100 * RAW + 150 * 2048),
        ]
    );
    let lead_outs: Vec<_> = disc.sessions.iter().map(|session| session.lead_out).collect();
    assert_eq!(lead_outs, [100, 11_650, 18_700]);
}

#[test]
fn mode_2_is_xa_where_the_sub_header_is_there_twice() {
    for (mode, at) in [("MODE2/2352", 16), ("MODE2/2336", 0)] {
        for twice in [false, true] {
            let sheet = parse(format!("FILE a BINARY\nTRACK 1 {mode}\nINDEX 1 0:0:0").as_bytes()).unwrap();
            let read = |_: usize, offset: u64, buffer: &mut [u8]| {
                assert_eq!(offset % if at == 0 { 2336 } else { 2352 }, at);
                buffer.copy_from_slice(if twice { b"abcdabcd" } else { b"abcdefgh" });
            };
            let disc = layout(&sheet, &[Source { offset: 0, len: 1 << 20 }], &read).unwrap().disc;
            assert_eq!(disc.tracks[0].form, if twice { TrackForm::Mode2Xa } else { TrackForm::Mode2 });
        }
    }
}

#[test]
fn motorola_audio_has_the_high_byte_first() {
    let sheet = "FILE a MOTOROLA\nTRACK 1 MODE1/2352\nINDEX 1 0:0:0\nTRACK 2 AUDIO\nINDEX 1 0:1:0";
    let disc = made(sheet, &[100 * RAW]).unwrap().disc;
    assert_eq!([disc.tracks[0].big_endian, disc.tracks[1].big_endian], [false, true]);
}

#[test]
fn sheets_with_odd_spelling_are_read() {
    let name = |text: &str| parse(text.as_bytes()).unwrap().files[0].name.clone();
    let rest = "\n\n track 1 Audio\n\tindex 01\t0:0:00\n\n";
    assert_eq!(name(&format!("\u{feff}file \"a \"b\" c.bin\" binary{rest}")), "a \"b\" c.bin");
    assert_eq!(name(&format!("FILE a b.bin BINARY{rest}")), "a b.bin");
    assert_eq!(name(&format!("FILE a b.bin BINARY{rest}").replace('\n', "\r")), "a b.bin");
    let first = parse(b"FILE a BINARY\nTRACK 05 AUDIO\nINDEX 01 00:00:00\nTRACK 06 CDG\nINDEX 1 1:0:0\n").unwrap();
    assert_eq!((first.tracks[0].number, first.tracks[1].stride), (5, 2448));
}

#[test]
fn an_error_names_its_line() {
    let start = "FILE \"a\" BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n";
    for (text, expected) in [
        (String::new(), "line 1: the sheet has no TRACK"),
        ("PNG\0".into(), "line 1: is no cue sheet, which is a text of at most 256 KiB"),
        ("\n\nHELLO world".into(), "line 3: unknown command 'HELLO'"),
        ("TRACK 01 AUDIO".into(), "line 1: a FILE must come before the first TRACK"),
        ("FILE \"a BINARY".into(), "line 1: a quote is missing: write FILE \"NAME\" BINARY, MOTOROLA or WAVE"),
        ("FILE \"a\"".into(), "line 1: the type is missing: write FILE \"NAME\" BINARY, MOTOROLA or WAVE"),
        ("FILE \"a\" MP3".into(), "line 1: MP3 files cannot be read; convert the file to WAVE and change this line"),
        ("FILE \"a\" BINARY\nFILE \"b\" BINARY".into(), "line 2: FILE in line 1 has no INDEX"),
        (format!("{start}FILE \"b\" BINARY\n"), "line 5: FILE in line 4 has no INDEX"),
        (format!("{start}TRACK 03 AUDIO"), "line 4: track 3 does not follow track 1"),
        (format!("{start}TRACK 100 AUDIO"), "line 4: '100' is no track number from 1 to 99"),
        (
            format!("{start}TRACK 02 MODE3"),
            "line 4: unknown mode 'MODE3': it must be AUDIO, CDG, MODE1/2048, MODE1/2352, MODE2/2336 or MODE2/2352",
        ),
        (format!("{start}TRACK 02 AUDIO\nTRACK 03 AUDIO"), "line 5: track 2 has no INDEX 01"),
        (format!("{start}TRACK 02 AUDIO\nINDEX 00 00:00:01"), "line 5: track 2 has no INDEX 01"),
        (
            format!("{start}INDEX 02 00:60:00"),
            "line 4: '00:60:00' is no time: write minutes, seconds (0 to 59) and frames (0 to 74) as mm:ss:ff",
        ),
        (
            format!("{start}INDEX 03 00:01:00"),
            "line 4: index 3 does not follow: a track's indexes ascend by 1 from 0 or 1",
        ),
        (format!("{start}INDEX 02 00:05:00\nINDEX 03 00:04:00"), "line 5: 00:04:00 is before the INDEX in line 4"),
        (format!("{start}PREGAP 00:02:00"), "line 4: PREGAP must come once, before the track's first INDEX"),
        (format!("{start}FLAGS COPY"), "line 4: unknown flag 'COPY': FLAGS takes DCP, 4CH, PRE and SCMS"),
        (format!("{start}ISRC 123"), "line 4: ISRC needs a code of 12 letters and digits"),
        (format!("CATALOG 12\n{start}"), "line 1: CATALOG needs a number of 13 digits"),
        (format!("REM SESSION 02\n{start}"), "line 1: REM SESSION must be followed by 1, not '02'"),
        (format!("{start}REM SESSION 3"), "line 4: REM SESSION must be followed by 1 or 2, not '3'"),
        (
            format!("{start}FILE b BINARY\nTRACK 2 AUDIO\nINDEX 1 0:0:1"),
            "line 6: the first INDEX of a FILE must be at 00:00:00",
        ),
        (
            start.replace("BINARY", "WAVE").replace("AUDIO", "MODE1/2352"),
            "line 3: track 1: only AUDIO can be in a WAVE file",
        ),
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), expected, "{text}");
    }
    for (text, size, expected) in [
        (start.to_owned(), 0, "line 2: track 1 is empty"),
        (format!("{start}INDEX 02 01:00:00"), RAW, "line 4: INDEX 02 is past the end of its FILE"),
        (start.to_owned(), 500_000 * RAW, "line 2: a CD holds less than 100 minutes"),
        (start.to_owned(), u64::MAX, "line 2: a CD holds less than 100 minutes"),
    ] {
        assert_eq!(made(&text, &[size]).unwrap_err().to_string(), expected, "{text}");
    }
}

/// A WAVE file: the samples are after a chunk of an odd length.
fn wave(rate: u32, declared: u32, samples: &[u8]) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0\x02\0".to_vec();
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&(rate * 4).to_le_bytes());
    file.extend_from_slice(&[4, 0, 16, 0]);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&declared.to_le_bytes());
    file.extend_from_slice(samples);
    file
}

fn samples_of(file: &[u8]) -> Result<Source, String> {
    let read = |at: u64, buffer: &mut [u8]| {
        let rest = file.get(at as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
    };
    pcm_data(file.len() as u64, &read)
}

#[test]
fn a_wave_file_must_have_the_samples_of_a_cd() {
    let good = wave(44_100, 4, &[1, 2, 3, 4, 9, 9]);
    assert_eq!(samples_of(&good), Ok(Source { offset: 56, len: 4 }));
    assert_eq!(samples_of(&wave(44_100, u32::MAX, &[1, 2])), Ok(Source { offset: 56, len: 2 }));
    assert_eq!(
        samples_of(&wave(48_000, 4, &[0; 4])).unwrap_err(),
        "has 2 channels of 16 bits at 48000 Hz (format 1), but a CD has 2 channels of 16 bits at 44100 Hz (format 1): \
         convert it"
    );
    assert_eq!(samples_of(b"RIFX").unwrap_err(), "is no WAVE file");
    for len in 12..56 {
        assert!(samples_of(&good[..len]).is_err(), "{len}");
    }
}

proptest! {
    #[test]
    fn random_sheets_are_laid_out_or_rejected(
        sizes in prop::array::uniform8(any::<u8>()),
        lines in prop::collection::vec(
            prop_oneof![
                "FILE \"a\" (BINARY|MOTOROLA|WAVE)",
                (1u8..6, prop_oneof![Just("AUDIO"), Just("MODE1/2352"), Just("MODE2/2336"), Just("CDG")])
                    .prop_map(|(n, mode)| format!("TRACK {n} {mode}")),
                (0u8..4, 0u32..3, 0u32..60).prop_map(|(n, m, s)| format!("INDEX {n} {m}:{s}:0")),
                "(PREGAP|POSTGAP) 0:[0-9]:0",
                "REM SESSION [1-3]",
                "\\PC{0,20}",
            ],
            0..30,
        ),
    ) {
        fuzz(&[&sizes[..], lines.join("\n").as_bytes()].concat());
    }
}
