//! Tests of CD-ROM drives with discs of several tracks and sessions, audio, and images of raw sectors.

use super::*;
use crate::disc::{Disc, Session, Track, TrackForm};
use crate::{Device, Medium, Wake};

/// Sectors of the tracks: data, audio, audio, and data of another session.
const DATA: u32 = 300;
const AUDIO: u32 = 200;
const SECOND_SESSION: u32 = 12_000;
const RAW: usize = 2352;

/// A mixed disc: a track of mode 1 and two of audio in the first session, one of XA in the second. All sectors are stored
/// with 2352 bytes, in order. The second track has a pre-gap of which 75 of 150 sectors are stored, and index 2 at 50.
fn mixed() -> Disc {
    let raw = RAW as u64;
    let first = Track::new(TrackForm::Mode1, 2352, DATA);
    let second = Track {
        number: 2,
        start: DATA + 150,
        pregap: 150,
        stored_pregap: 75,
        indexes: vec![50],
        isrc: Some(*b"USRC17607839"),
        copy_permitted: true,
        offset: u64::from(DATA + 75) * raw,
        ..Track::new(TrackForm::Audio, 2352, AUDIO)
    };
    let third = Track {
        number: 3,
        start: DATA + 150 + AUDIO,
        pre_emphasis: true,
        big_endian: true,
        offset: u64::from(DATA + 75 + AUDIO) * raw,
        ..Track::new(TrackForm::Audio, 2352, AUDIO)
    };
    let fourth = Track {
        number: 4,
        session: 2,
        start: SECOND_SESSION,
        offset: u64::from(DATA + 75 + 2 * AUDIO) * raw,
        ..Track::new(TrackForm::Mode2Xa, 2352, 20)
    };
    Disc {
        sessions: vec![Session { lead_out: third.end() }, Session { lead_out: fourth.end() }],
        tracks: vec![first, second, third, fourth],
        catalogue: Some(*b"0724354526329"),
    }
}

/// The mixed disc's image. Every other sector of the fourth track is form 2.
fn image() -> Vec<u8> {
    let mut image = pattern((DATA + 75 + 2 * AUDIO + 20) as usize * RAW, 9);
    for sector in 0..20 {
        image[((DATA + 75 + 2 * AUDIO + sector) as usize) * RAW + 18] = if sector % 2 == 1 { 0x20 } else { 8 };
    }
    image
}

fn with_disc(disc: Disc, image: Vec<u8>) -> Bench<Piix3Ide> {
    disc.validate().unwrap();
    disc.fits(image.len() as u64).unwrap();
    let mut bench = enabled(with_drives([None, None, Some(DriveSpec::cdrom(Some(disc), "")), None]));
    bench.disks.insert(DiskId(2), image);
    ready_cdrom(&mut bench);
    bench
}

fn mixed_disc() -> Bench<Piix3Ide> {
    with_disc(mixed(), image())
}

fn cdb_of(opcode: u8, lba: u32, rest: &[u8]) -> Vec<u8> {
    [&[opcode, 0], lba.to_be_bytes().as_slice(), rest].concat()
}

/// READ CD of any sector type.
fn read_cd(lba: u32, count: u8, flags: u8, subchannel: u8) -> Vec<u8> {
    cdb_of(opcode::READ_CD, lba, &[0, 0, count, flags, subchannel, 0])
}

fn read_10(lba: u32, count: u8) -> Vec<u8> {
    cdb_of(opcode::READ_10, lba, &[0, 0, count, 0])
}

fn stored(image: &[u8], sector: u32, count: u32) -> &[u8] {
    &image[sector as usize * RAW..(sector + count) as usize * RAW]
}

const ILLEGAL_MODE: Result<Vec<u8>, [u8; 3]> = Err([5, 0x64, 0]);
const INVALID_FIELD: Result<Vec<u8>, [u8; 3]> = Err([5, 0x24, 0]);
const OUT_OF_RANGE: Result<Vec<u8>, [u8; 3]> = Err([5, 0x21, 0]);

#[test]
fn the_toc_lists_every_track_and_session() {
    let mut bench = mixed_disc();
    let mut driver = cdrom(&mut bench);
    let toc = driver.cdb(&[opcode::READ_TOC, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).unwrap();
    assert_eq!(toc[..4], [0, 42, 1, 4]);
    let entries: Vec<_> =
        toc[4..].chunks(8).map(|e| (e[1], e[2], u32::from_be_bytes([e[4], e[5], e[6], e[7]]))).collect();
    assert_eq!(entries, [(0x14, 1, 0), (0x12, 2, 450), (0x11, 3, 650), (0x14, 4, 12_000), (0x14, 0xaa, 12_020)]);
    let toc = driver.cdb(&[opcode::READ_TOC, 2, 0, 0, 0, 0, 3, 0xff, 0xff]).unwrap();
    assert_eq!(toc[..12], [0, 26, 1, 4, 0, 0x11, 3, 0, 0, 0, 10, 50], "from track 3, as MSF");
    assert_eq!(driver.cdb(&[opcode::READ_TOC, 0, 0, 0, 0, 0, 5, 0xff, 0xff]), INVALID_FIELD);
    let sessions = driver.cdb(&[opcode::READ_TOC, 0, 1, 0, 0, 0, 0, 0xff, 0xff]).unwrap();
    assert_eq!(sessions, [0, 10, 1, 2, 0, 0x14, 4, 0, 0, 0, 0x2e, 0xe0], "the first track of the last session");
    let full = driver.cdb(&[opcode::READ_TOC, 2, 2, 0, 0, 0, 0, 0xff, 0xff]).unwrap();
    assert_eq!(full[2..4], [1, 2]);
    let points: Vec<_> = full[4..].chunks(11).map(|e| (e[0], e[3], [e[8], e[9], e[10]])).collect();
    assert_eq!(
        points,
        [
            (1, 0xa0, [1, 0, 0]),
            (1, 0xa1, [3, 0, 0]),
            (1, 0xa2, [0, 13, 25]),
            (1, 1, [0, 2, 0]),
            (1, 2, [0, 8, 0]),
            (1, 3, [0, 10, 50]),
            (1, 0xb0, [79, 59, 74]),
            (1, 0xc0, [97, 34, 23]),
            (2, 0xa0, [4, 0x20, 0]),
            (2, 0xa1, [4, 0, 0]),
            (2, 0xa2, [2, 42, 20]),
            (2, 4, [2, 42, 0]),
            (2, 0xb0, [79, 59, 74]),
        ]
    );
    assert_eq!(driver.cdb(&[opcode::READ_TOC, 2, 2, 0, 0, 0, 2, 0xff, 0xff]).unwrap().len(), 4 + 5 * 11);
    assert_eq!(driver.cdb(&[opcode::READ_TOC, 2, 2, 0, 0, 0, 3, 0xff, 0xff]), INVALID_FIELD);
}

#[test]
fn track_and_disc_information_describe_the_layout() {
    let mut bench = mixed_disc();
    let mut driver = cdrom(&mut bench);
    let disc = driver.cdb(&[opcode::READ_DISC_INFORMATION, 0, 0, 0, 0, 0, 0, 0, 34]).unwrap();
    assert_eq!(disc[2..9], [0x0e, 1, 2, 4, 4, 0x20, 0x20]);
    let track = |driver: &mut Driver<'_>, kind, number: u32| {
        let mut cdb = cdb_of(opcode::READ_TRACK_INFORMATION, number, &[0, 0, 36]);
        cdb[1] = kind;
        driver.cdb(&cdb).map(|data| (data[2], data[3], data[5], data[6], data[8..12].to_vec(), data[24..28].to_vec()))
    };
    let second = (2, 1, 2, 0x0f, 450u32.to_be_bytes().to_vec(), 200u32.to_be_bytes().to_vec());
    assert_eq!(track(&mut driver, 1, 2), Ok(second.clone()));
    assert_eq!(track(&mut driver, 0, 649), Ok(second));
    assert_eq!(track(&mut driver, 2, 2).unwrap().0, 4);
    assert_eq!(track(&mut driver, 1, 5), Err([5, 0x24, 0]));
    assert_eq!(track(&mut driver, 0, 5000), Err([5, 0x21, 0]));
    assert_eq!(driver.cdb(&[opcode::READ_CAPACITY]).unwrap()[..4], 12_019u32.to_be_bytes());
    assert_eq!(driver.cdb(&[opcode::MODE_SENSE_10, 0, 0x2a, 0, 0, 0, 0, 0, 8]).unwrap()[2], 4, "several sessions");
}

#[test]
fn read_returns_blocks_of_data_tracks_alone() {
    let mut bench = mixed_disc();
    let image = image();
    let mut driver = cdrom(&mut bench);
    let expected: Vec<_> = stored(&image, 3, 40).chunks(RAW).flat_map(|raw| raw[16..2064].to_vec()).collect();
    assert_eq!(driver.cdb(&read_10(3, 40)), Ok(expected.clone()));
    driver.prds(&[(0x2_0000, 0), (0x3_0000, 0x8000_4000)]);
    driver.packet(&read_10(3, 40), 0, true);
    driver.start(true);
    assert_eq!((driver.bm_status() & 7, driver.status()), (4, 0x50));
    driver.stop();
    let mut back = vec![0; 40 * 2048];
    bench.memory.read(0x2_0000, &mut back);
    assert!(back == expected);
    let mut driver = cdrom(&mut bench);
    assert_eq!(driver.cdb(&read_10(450, 1)), ILLEGAL_MODE, "audio");
    assert_eq!(driver.cdb(&read_10(310, 1)), ILLEGAL_MODE, "the pre-gap of audio");
    assert_eq!(driver.cdb(&read_10(298, 4)), ILLEGAL_MODE, "data, then audio");
    assert_eq!(driver.cdb(&read_10(5000, 1)), OUT_OF_RANGE, "between the sessions");
    assert_eq!(driver.cdb(&read_10(12_020, 1)), OUT_OF_RANGE);
    let xa = stored(&image, DATA + 75 + 2 * AUDIO, 1);
    assert_eq!(driver.cdb(&read_10(12_000, 1)).unwrap(), xa[24..2072], "form 1");
    assert_eq!(driver.cdb(&read_10(12_001, 1)), ILLEGAL_MODE, "form 2");
    assert_eq!(driver.cdb(&cdb_of(opcode::READ_HEADER, 450, &[0, 0, 8])), ILLEGAL_MODE);
    assert_eq!(driver.cdb(&cdb_of(opcode::READ_HEADER, 12_000, &[0, 0, 8])).unwrap()[0], 2);
}

#[test]
fn sectors_before_a_track_of_another_kind_are_sent_before_the_error() {
    let mut bench = mixed_disc();
    let mut driver = cdrom(&mut bench);
    driver.packet(&read_10(298, 4), 0xfffe, false);
    assert_eq!(driver.packet_in().len(), 2 * 2048);
    assert_eq!(driver.status() & 1, 1);
}

#[test]
fn audio_is_read_as_little_endian_samples_with_its_pre_gap() {
    let mut bench = mixed_disc();
    let image = image();
    let mut driver = cdrom(&mut bench);
    let data = driver.cdb(&read_cd(450, 200, 0x10, 0)).unwrap();
    assert!(data == stored(&image, DATA + 75, AUDIO));
    let gap = driver.cdb(&read_cd(300, 150, 0xf8, 0)).unwrap();
    assert!(gap[..75 * RAW].iter().all(|&byte| byte == 0), "the image does not store these");
    assert!(gap[75 * RAW..] == *stored(&image, DATA, 75));
    let swapped = driver.cdb(&read_cd(650, 1, 0xf8, 0)).unwrap();
    let expected: Vec<_> = stored(&image, DATA + 75 + AUDIO, 1).chunks(2).flat_map(|two| [two[1], two[0]]).collect();
    assert_eq!(swapped, expected);
    // From one track into the next, by MSF.
    let both = driver.cdb(&[opcode::READ_CD_MSF, 4, 0, 0, 10, 49, 0, 10, 51, 0x10]).unwrap();
    assert_eq!(both, [stored(&image, DATA + 75 + AUDIO - 1, 1), &expected].concat());
    let mut typed = read_cd(450, 1, 0x10, 0);
    typed[1] = 2 << 2;
    assert_eq!(driver.cdb(&typed), ILLEGAL_MODE, "mode 1 is expected");
    typed[1] = 6 << 2;
    assert_eq!(driver.cdb(&typed), INVALID_FIELD);
}

#[test]
fn every_selection_of_sector_parts_has_the_length_of_mmc() {
    let mut bench = mixed_disc();
    let image = image();
    // Flags; bytes of audio, mode 1, form 1, form 2; 0 is an illegal selection.
    for (flags, lengths) in [
        (0x10, [2352, 2048, 2048, 2328]),
        (0x18, [2352, 2336, 2328, 2328]),
        (0x20, [2352, 4, 4, 4]),
        (0x40, [2352, 8, 8, 8]),
        (0x60, [2352, 12, 12, 12]),
        (0x30, [2352, 2052, 0, 0]),
        (0x50, [2352, 2048, 2056, 2336]),
        (0x70, [2352, 2052, 2060, 2340]),
        (0x78, [2352, 2340, 2340, 2340]),
        (0x80, [2352, 12, 12, 12]),
        (0x90, [2352, 0, 0, 0]),
        (0xf0, [2352, 2064, 2072, 2352]),
        (0xf8, [2352, 2352, 2352, 2352]),
    ] {
        for ((lba, at), len) in
            [(450, DATA + 75), (5, 5), (12_000, DATA + 75 + 2 * AUDIO), (12_001, DATA + 76 + 2 * AUDIO)]
                .into_iter()
                .zip(lengths)
        {
            let data = cdrom(&mut bench).cdb(&read_cd(lba, 1, flags, 0));
            if len == 0 {
                assert_eq!(data, INVALID_FIELD, "{flags:x} at {lba}");
                continue;
            }
            let data = data.unwrap();
            assert_eq!(data.len(), len, "{flags:x} at {lba}");
            assert!(stored(&image, at, 1).windows(len).any(|part| part == data), "{flags:x} at {lba}");
        }
    }
    // C2 error flags follow, then the sub-channel.
    let mut driver = cdrom(&mut bench);
    assert_eq!(driver.cdb(&read_cd(450, 3, 0x12, 0)).unwrap().len(), 3 * (2352 + 294));
    assert_eq!(driver.cdb(&read_cd(450, 3, 0x14, 2)).unwrap().len(), 3 * (2352 + 296 + 16));
    assert_eq!(driver.cdb(&read_cd(450, 3, 0x16, 0)), INVALID_FIELD);
    assert_eq!(driver.cdb(&read_cd(450, 3, 0x10, 4)), INVALID_FIELD);
}

#[test]
fn the_q_sub_channel_has_position_and_crc() {
    let mut bench = mixed_disc();
    let mut driver = cdrom(&mut bench);
    let q = driver.cdb(&read_cd(510, 1, 0, 2)).unwrap();
    assert_eq!(q[..10], [0x21, 2, 2, 0, 0, 0x60, 0, 0, 0x08, 0x60]);
    assert_eq!((q[12..15].to_vec(), q[15]), (vec![0; 3], 0));
    let gap = driver.cdb(&read_cd(449, 1, 0, 2)).unwrap();
    assert_eq!((gap[..6].to_vec(), gap[15]), (vec![0x21, 2, 0, 0, 0, 1], 0x80), "counts down to index 1");
    let raw = driver.cdb(&read_cd(510, 1, 0x10, 1)).unwrap();
    let bits: Vec<u8> =
        raw[2352..].chunks(8).map(|eight| eight.iter().fold(0, |byte, bits| byte << 1 | bits >> 6 & 1)).collect();
    assert_eq!(bits, q[..12]);
    // The CRC of the frame with its inverted CRC is a constant.
    let crc = [&bits[..10], &[!bits[10], !bits[11]]].concat().iter().fold(0u16, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 })
    });
    assert_eq!(crc, 0);
}

#[test]
fn stored_sub_channels_are_returned_as_they_are() {
    let image = pattern(10 * 2448, 3);
    let disc = Disc {
        tracks: vec![Track::new(TrackForm::Audio, 2448, 10)],
        sessions: vec![Session { lead_out: 10 }],
        catalogue: None,
    };
    let mut bench = with_disc(disc, image.clone());
    let mut driver = cdrom(&mut bench);
    assert_eq!(driver.cdb(&read_cd(2, 4, 0xf8, 1)).unwrap(), image[2 * 2448..6 * 2448]);
    assert_eq!(driver.cdb(&read_cd(2, 1, 0xf8, 0)).unwrap(), image[2 * 2448..2 * 2448 + 2352]);
}

#[test]
fn computed_xa_sectors_have_sub_header_edc_and_ecc() {
    for (form_2, stride) in [(false, 2048), (true, 2324)] {
        let image = pattern(4 * stride as usize, 5);
        let disc = Disc {
            tracks: vec![Track::new(TrackForm::Mode2Xa, stride, 4)],
            sessions: vec![Session { lead_out: 4 }],
            catalogue: None,
        };
        let mut bench = with_disc(disc, image.clone());
        let mut driver = cdrom(&mut bench);
        let raw = driver.cdb(&read_cd(1, 1, 0xf8, 0)).unwrap();
        assert_eq!(raw[12..16], [0, 2, 1, 2]);
        let submode = if form_2 { 0x20 } else { 8 };
        assert_eq!(raw[16..24], [0, 0, submode, 0, 0, 0, submode, 0]);
        assert_eq!(raw[24..24 + stride as usize], image[stride as usize..2 * stride as usize]);
        let end = 24 + stride as usize;
        let crc = raw[16..end + 4].iter().fold(0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xd801_8001 } else { crc >> 1 })
        });
        assert_eq!(crc, 0, "EDC");
        if !form_2 {
            let mut without_header = raw.clone();
            without_header[12..16].fill(0);
            atapi::check_ecc(&without_header);
        }
        assert_eq!(driver.cdb(&read_10(1, 1)).is_ok(), !form_2);
    }
    // Mode 2 of 2336 bytes per sector: the sub-header selects the form.
    let mut image = pattern(4 * 2336, 6);
    (image[2], image[2336 + 2]) = (8, 0x28);
    let disc = Disc {
        tracks: vec![Track::new(TrackForm::Mode2Xa, 2336, 4)],
        sessions: vec![Session { lead_out: 4 }],
        catalogue: None,
    };
    let mut bench = with_disc(disc, image.clone());
    let mut driver = cdrom(&mut bench);
    assert_eq!(driver.cdb(&read_10(0, 1)).unwrap(), image[8..2056]);
    assert_eq!(driver.cdb(&read_10(1, 1)), ILLEGAL_MODE);
    assert_eq!(driver.cdb(&read_cd(1, 1, 0x50, 0)).unwrap(), image[2336..4672]);
    assert_eq!(driver.cdb(&read_cd(1, 1, 0xf8, 0)).unwrap()[16..], image[2336..4672]);
}

/// Audio status, track, index, LBA and relative LBA of READ SUB-CHANNEL.
fn position(driver: &mut Driver<'_>) -> (u8, u8, u8, u32, i32) {
    let data = driver.cdb(&[opcode::READ_SUB_CHANNEL, 0, 0x40, 1, 0, 0, 0, 0, 16]).unwrap();
    let word = |at: usize| [data[at], data[at + 1], data[at + 2], data[at + 3]];
    (data[1], data[6], data[7], u32::from_be_bytes(word(8)), i32::from_be_bytes(word(12)))
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn playback_advances_with_the_time_and_ends() {
    let mut bench = mixed_disc();
    assert_eq!(position(&mut cdrom(&mut bench)), (0x15, 1, 1, 0, 0));
    let play = cdb_of(opcode::PLAY_AUDIO_10, 440, &[0, 0, 160, 0]);
    assert_eq!(cdrom(&mut bench).cdb(&play), Ok(vec![]));
    assert_eq!(position(&mut cdrom(&mut bench)), (0x11, 2, 0, 440, -10));
    bench.advance(SECOND);
    assert_eq!(position(&mut cdrom(&mut bench)), (0x11, 2, 2, 515, 65));
    assert_eq!(cdrom(&mut bench).cdb(&[opcode::TEST_UNIT_READY]), Ok(vec![]));
    let sense = cdrom(&mut bench).cdb(&[opcode::REQUEST_SENSE, 0, 0, 0, 18]).unwrap();
    assert_eq!((sense[2], sense[12], sense[13]), (0, 0, 0x11));
    let pause =
        |bench: &mut Bench<Piix3Ide>, resume| cdrom(bench).cdb(&[opcode::PAUSE_RESUME, 0, 0, 0, 0, 0, 0, 0, resume]);
    assert_eq!(pause(&mut bench, 0), Ok(vec![]));
    bench.advance(5 * SECOND);
    assert_eq!(position(&mut cdrom(&mut bench)), (0x12, 2, 2, 515, 65));
    assert_eq!(pause(&mut bench, 1), Ok(vec![]));
    bench.advance(SECOND / 3);
    assert_eq!(position(&mut cdrom(&mut bench)).3, 539);
    bench.advance(SECOND);
    assert_eq!(position(&mut cdrom(&mut bench)), (0x13, 2, 2, 599, 149));
    assert_eq!(position(&mut cdrom(&mut bench)).0, 0x15, "completion is reported once");
    assert_eq!(pause(&mut bench, 1), Err([5, 0x2c, 0]));
}

#[test]
fn playback_stops_at_data_with_an_error() {
    let mut disc = mixed();
    // Data directly after the audio.
    disc.tracks[3] = Track { session: 1, start: 850, ..disc.tracks[3].clone() };
    disc.sessions = vec![Session { lead_out: 870 }];
    let mut bench = with_disc(disc, image());
    let play = |bench: &mut Bench<Piix3Ide>, start: u32, len: u8| {
        cdrom(bench).cdb(&cdb_of(opcode::PLAY_AUDIO_10, start, &[0, 0, len, 0]))
    };
    assert_eq!(play(&mut bench, 0, 1), ILLEGAL_MODE);
    assert_eq!(play(&mut bench, 869, 2), OUT_OF_RANGE);
    assert_eq!(play(&mut bench, 840, 20), Ok(vec![]));
    bench.advance(SECOND);
    let (status, track, _, lba, _) = position(&mut cdrom(&mut bench));
    assert_eq!((status, track, lba), (0x14, 3, 849));
    // Reading data ends playback.
    assert_eq!(play(&mut bench, 650, 100), Ok(vec![]));
    assert!(cdrom(&mut bench).cdb(&read_10(7, 2)).is_ok());
    assert_eq!(position(&mut cdrom(&mut bench)), (0x15, 1, 1, 8, 8));
    // MSF, track and index, from the current position, and nothing at all.
    assert_eq!(cdrom(&mut bench).cdb(&[opcode::PLAY_AUDIO_MSF, 0, 0, 0, 8, 0, 0, 10, 0]), Ok(vec![]));
    assert_eq!(position(&mut cdrom(&mut bench)).3, 450);
    assert_eq!(cdrom(&mut bench).cdb(&[opcode::PLAY_AUDIO_MSF, 0, 0, 0xff, 0xff, 0xff, 0, 8, 1]), Ok(vec![]));
    assert_eq!(cdrom(&mut bench).cdb(&[opcode::PLAY_AUDIO_MSF, 0, 0, 0, 10, 0, 0, 8, 0]), INVALID_FIELD);
    assert_eq!(cdrom(&mut bench).cdb(&[opcode::PLAY_AUDIO_TRACK_INDEX, 0, 0, 0, 2, 2, 0, 3, 1]), Ok(vec![]));
    assert_eq!(position(&mut cdrom(&mut bench)).3, 500);
    assert_eq!(cdrom(&mut bench).cdb(&[opcode::STOP_PLAY_SCAN]), Ok(vec![]));
    assert_eq!(position(&mut cdrom(&mut bench)).0, 0x15);
    assert_eq!(play(&mut bench, 450, 0), Ok(vec![]));
    assert_eq!(position(&mut cdrom(&mut bench)).0, 0x15);
}

#[test]
fn scan_plays_eight_times_as_fast_in_both_directions() {
    let mut bench = mixed_disc();
    let scan = |bench: &mut Bench<Piix3Ide>, reverse: u8, at: u32| {
        let mut cdb = cdb_of(opcode::SCAN, at, &[0, 0, 0, 0]);
        cdb[1] = reverse;
        cdrom(bench).cdb(&cdb)
    };
    assert_eq!(scan(&mut bench, 0, 100), ILLEGAL_MODE);
    assert_eq!(scan(&mut bench, 0, 450), Ok(vec![]));
    bench.advance(SECOND / 2);
    assert_eq!(position(&mut cdrom(&mut bench)).3, 750);
    assert_eq!(scan(&mut bench, 0x10, 750), Ok(vec![]));
    bench.advance(SECOND / 2);
    assert_eq!(position(&mut cdrom(&mut bench)).3, 450);
    bench.advance(SECOND);
    let (status, _, _, lba, _) = position(&mut cdrom(&mut bench));
    assert_eq!((status, lba), (0x13, 300), "the pre-gap of the first audio track");
}

#[test]
fn a_saved_playback_continues() {
    use crate::DynDevice;
    let mut bench = mixed_disc();
    assert_eq!(cdrom(&mut bench).cdb(&cdb_of(opcode::PLAY_AUDIO_10, 450, &[0, 1, 0, 0])), Ok(vec![]));
    let state = bench.device.save_cbor();
    let mut other = mixed_disc();
    other.device.load_cbor(&state).unwrap();
    other.advance(SECOND);
    let (status, _, _, lba, _) = position(&mut cdrom(&mut other));
    assert_eq!(status, 0x11);
    assert!((524..=525).contains(&lba), "{lba}");
}

#[test]
fn catalogue_number_and_isrc_are_read() {
    let mut bench = mixed_disc();
    let read = |bench: &mut Bench<Piix3Ide>, format, track| {
        cdrom(bench).cdb(&[opcode::READ_SUB_CHANNEL, 0, 0x40, format, 0, 0, track, 0, 24])
    };
    let number = read(&mut bench, 2, 0).unwrap();
    assert_eq!((number.len(), number[8], &number[9..22]), (24, 0x80, &b"0724354526329"[..]));
    let isrc = read(&mut bench, 3, 2).unwrap();
    assert_eq!((isrc.len(), isrc[5], isrc[6], isrc[8], &isrc[9..21]), (24, 0x12, 2, 0x80, &b"USRC17607839"[..]));
    assert_eq!(read(&mut bench, 3, 1).unwrap()[8], 0, "this track has none");
    assert_eq!(read(&mut bench, 3, 9), INVALID_FIELD);
    assert_eq!(read(&mut bench, 4, 0), INVALID_FIELD);
}

#[test]
fn an_inserted_disc_with_a_contradictory_layout_is_dropped() {
    let mut bench = machine();
    ready_cdrom(&mut bench);
    let mut disc = mixed();
    disc.tracks[1].number = 1;
    let medium = Medium { size: 1 << 20, read_only: true, disc: Some(disc) };
    bench.call(|device, cx| Device::wake(device, cx, Wake::Medium(DiskId(2), Some(medium))));
    assert!(!bench.device.tray(DiskId(2)).unwrap().loaded);
}

#[test]
fn a_long_pre_gap_is_sent_in_pieces() {
    let mut disc = mixed();
    disc.tracks[1].start += 200_000;
    disc.tracks[1].pregap += 200_000;
    disc.tracks.truncate(2);
    disc.sessions = vec![Session { lead_out: 300_000 }];
    let mut bench = with_disc(disc, image());
    let mut driver = cdrom(&mut bench);
    let gap = cdb_of(opcode::READ_CD, 300, &[0, 0x10, 0, 0x10, 0, 0]);
    let data = driver.cdb(&gap).unwrap();
    assert_eq!(data.len(), 4096 * RAW);
    assert!(bench.log.len() > 100, "each piece is a request");
    bench.hold_requests = true;
    let mut driver = cdrom(&mut bench);
    driver.packet(&gap, 0xfffe, false);
    assert_eq!(driver.status() & 0x80, 0x80);
    assert_eq!(bench.pending.len(), 1);
}
