//! Tests of discs through the block engine's image: directories, cue sheets and images of raw sectors.

use super::raw::Patience;
use super::sys::{Direction, IoVec, IoVecStorage};
use super::{Image, ImageError};
use crate::config::{DriveConfig, Media};
use pcvm_devices::disc::{Disc, TrackForm};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const RAW: usize = 2352;

fn open(path: impl Into<PathBuf>) -> Result<Image, ImageError> {
    Image::open(&DriveConfig::new(Media::Cdrom, Some(path.into())))
}

fn open_folder(folder: &Path) -> Result<Image, ImageError> {
    let mut path = OsString::from("dir:");
    path.push(folder);
    open(path)
}

/// Reads as the worker thread does: to the end, in as many steps as the image needs.
fn read(image: &mut Image, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0xee; len];
    let mut at = 0;
    while at < len {
        let mut storage = IoVecStorage::new();
        let mut iov = IoVec::new(&mut storage);
        let (first, second) = bytes[at..].split_at_mut((len - at) / 2);
        iov.push_buffer(first);
        iov.push_buffer(second);
        match image.transfer(&mut iov, offset + at as u64, Direction::Read, Patience::Unlimited)? {
            0 => break,
            moved => at += moved,
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

fn disc(image: &Image) -> Disc {
    image.medium().disc.unwrap_or_else(|| panic!("the disc has no layout"))
}

/// A sector of mode 1 or 2 with this byte everywhere.
fn data_sector(mode: u8, fill: u8) -> Vec<u8> {
    let mut sector = vec![fill; RAW];
    sector[..12].copy_from_slice(&[0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0]);
    sector[15] = mode;
    sector
}

#[test]
fn a_directory_is_a_disc_whose_files_are_read_on_demand() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let content: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(dir.path().join("sub/big"), &content).unwrap();
    fs::write(dir.path().join("shrinks"), [b's'; 5000]).unwrap();
    fs::write(dir.path().join("vanishes"), [b'v'; 10]).unwrap();
    fs::write(dir.path().join("is replaced"), [b'r'; 10]).unwrap();
    let mut image = open_folder(dir.path()).unwrap();
    assert!(image.read_only() && image.medium().disc.is_none());
    let size = image.size();
    let all = read(&mut image, 0, size as usize).unwrap();
    assert_eq!(&all[16 * 2048..][..6], b"\x01CD001");
    let find = |part: &[u8]| all.chunks(2048).position(|sector| sector.starts_with(part)).unwrap() as u64 * 2048;
    let at = find(&content[..2048]);
    assert_eq!(all[at as usize..][..100_000], content);
    assert!(all[at as usize + 100_000..][..2048 - 100_000 % 2048].iter().all(|&byte| byte == 0));
    assert_eq!(read(&mut image, at + 12_345, 10).unwrap(), content[12_345..12_355]);

    let (shrinks, vanishes, replaced) = (find(b"ssss"), find(b"vvvv"), find(b"rrrr"));
    let mut image = open_folder(dir.path()).unwrap();
    fs::write(dir.path().join("shrinks"), [b's'; 100]).unwrap();
    fs::remove_file(dir.path().join("vanishes")).unwrap();
    fs::remove_file(dir.path().join("is replaced")).unwrap();
    symlink("/etc/passwd", dir.path().join("is replaced")).unwrap();
    let read_back = read(&mut image, shrinks, 6144).unwrap();
    assert!(read_back[..100].iter().all(|&byte| byte == b's') && read_back[100..].iter().all(|&byte| byte == 0));
    for at in [vanishes, replaced] {
        assert!(read(&mut image, at, 2048).is_err(), "a file that is gone was read");
    }
    assert_eq!(read(&mut image, at, 10).unwrap(), content[..10], "the disc is unusable after an error");
}

#[test]
fn a_file_that_is_not_open_would_block_and_metadata_would_not() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), [b'f'; 10]).unwrap();
    let mut image = open_folder(dir.path()).unwrap();
    let size = image.size();
    let mut at = |offset| {
        let mut bytes = [0; 2048];
        let mut storage = IoVecStorage::new();
        let mut iov = IoVec::new(&mut storage);
        iov.push_buffer(&mut bytes);
        image.transfer(&mut iov, offset, Direction::Read, Patience::None).map_err(|why| why.kind())
    };
    assert_eq!(at(16 * 2048), Ok(2048));
    assert_eq!(at(size - 2048), Err(std::io::ErrorKind::WouldBlock));
}

#[test]
fn more_files_than_may_be_open_are_read() {
    let dir = TempDir::new().unwrap();
    for n in 0..300 {
        fs::write(dir.path().join(format!("{n:03}")), format!("{n:03}").repeat(700)).unwrap();
    }
    let mut image = open_folder(dir.path()).unwrap();
    let size = image.size() as usize;
    for _ in 0..2 {
        let all = read(&mut image, 0, size).unwrap();
        let files = &all[size - 300 * 4096..];
        for (n, file) in files.chunks(4096).enumerate() {
            assert_eq!(file[..2100], *format!("{n:03}").repeat(700).as_bytes());
        }
    }
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 300, "{open} files are open");
}

#[test]
fn a_folder_is_no_hard_disk_and_a_missing_one_is_named() {
    let error = |media, path: &str| Image::open(&DriveConfig::new(media, Some(path.into()))).unwrap_err().to_string();
    assert_eq!(error(Media::Cdrom, "dir:/no/such"), "/no/such: No such file or directory");
    assert_eq!(error(Media::Cdrom, "dir:/etc/passwd"), "/etc/passwd: Not a directory");
    assert_eq!(
        error(Media::Disk, "dir:/tmp"),
        "dir:/tmp: a directory can be a CD (--cdrom) or a floppy (--floppy), not a hard disk"
    );
}

#[test]
fn a_cue_sheet_gives_tracks_of_several_files() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("Audio")).unwrap();
    fs::write(at("DATA.BIN"), [data_sector(1, b'd'), data_sector(1, b'e')].concat()).unwrap();
    let mut wave = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x44\xac\0\0\x10\xb1\x02\0\x04\0\x10\0data".to_vec();
    wave.extend_from_slice(&(RAW as u32 + 2).to_le_bytes());
    wave.extend([b'w'; RAW + 2]);
    wave.extend_from_slice(b"LIST");
    fs::write(at("Audio/Two.wav"), &wave).unwrap();
    let sheet = "FILE \"data.bin\" BINARY\r\nTRACK 01 MODE1/2352\r\nINDEX 01 00:00:00\r\nFILE \"Audio\\Two.wav\" WAVE\r\n\
                 TRACK 02 AUDIO\r\nINDEX 01 00:00:00\r\n";
    fs::write(at("disc.cue"), sheet).unwrap();
    let mut image = open(at("disc.cue")).unwrap();
    let disc = disc(&image);
    let lengths: Vec<_> = disc.tracks.iter().map(|track| (track.start, track.len, track.offset)).collect();
    assert_eq!(lengths, [(0, 2, 0), (2, 2, 2 * RAW as u64)]);
    let all = read(&mut image, 0, 4 * RAW).unwrap();
    assert_eq!(all[..RAW], data_sector(1, b'd'));
    assert_eq!(all[2 * RAW..][..RAW + 2], [b'w'; RAW + 2]);
    assert!(all[3 * RAW + 2..].iter().all(|&byte| byte == 0), "bytes after the samples are in the track");
    // Both files are locked against writers.
    let writer = Image::open(&DriveConfig::new(Media::Disk, Some(at("DATA.BIN"))));
    assert!(writer.is_err(), "a file of a disc in use can be written");
}

#[test]
fn an_error_in_a_cue_sheet_names_file_line_and_mend() {
    let outer = TempDir::new().unwrap();
    let dir = outer.path().join("in");
    fs::create_dir(&dir).unwrap();
    let cue = dir.join("disc.cue");
    let error = |file: &str, kind: &str| {
        fs::write(&cue, format!("\nFILE \"{file}\" {kind}\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n")).unwrap();
        open(&cue).unwrap_err().to_string()
    };
    fs::write(outer.path().join("secret.bin"), vec![1; RAW]).unwrap();
    symlink("../secret.bin", dir.join("link.bin")).unwrap();
    fs::write(dir.join("text.wav"), "no samples here").unwrap();
    fs::create_dir(dir.join("folder")).unwrap();
    let shown = cue.display().to_string();
    for outside in ["../secret.bin", "..\\secret.bin", "/etc/passwd", "link.bin"] {
        let name = outside.replace('\\', "/");
        assert_eq!(
            error(outside, "BINARY"),
            format!(
                "{shown}: line 2: FILE '{name}' is outside the cue sheet's directory, and only files beneath it are opened: \
                 move the file there and write its name without a path"
            )
        );
    }
    assert_eq!(
        error("none.bin", "BINARY"),
        format!("{shown}: line 2: {}/none.bin: No such file or directory", dir.display())
    );
    assert_eq!(error("text.wav", "WAVE"), format!("{shown}: line 2: {}/text.wav: is no WAVE file", dir.display()));
    assert!(error("folder", "BINARY").ends_with("folder: is a directory, not a file or a block device"));
    assert_eq!(
        error("link.bin", "MP3"),
        format!("{shown}: line 2: MP3 files cannot be read; convert the file to WAVE and change this line")
    );
    fs::write(dir.join("a.nrg"), "x").unwrap();
    assert_eq!(
        open(dir.join("a.nrg")).unwrap_err().to_string(),
        format!(
            "{}/a.nrg: is a Nero image, which is not read: make a .cue sheet with .bin files of it (with nrg2iso or iat)",
            dir.display()
        )
    );
}

#[test]
fn an_image_of_raw_sectors_is_recognised_by_its_first_bytes_and_size() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("disc.img");
    let form = |content: Vec<u8>| {
        fs::write(&path, content).unwrap();
        open(&path).unwrap().medium().disc.map(|disc| (disc.tracks[0].form, disc.tracks[0].stride, disc.tracks[0].len))
    };
    let many = |mode, fill| data_sector(mode, fill).repeat(20);
    assert_eq!(form(many(1, 7)), Some((TrackForm::Mode1, 2352, 20)));
    assert_eq!(form(many(2, 7)), Some((TrackForm::Mode2Xa, 2352, 20)));
    let mut plain = many(2, 7);
    plain.chunks_mut(RAW).for_each(|sector| sector[20] = 8);
    assert_eq!(form(plain), Some((TrackForm::Mode2, 2352, 20)));
    let with_subchannel = [data_sector(1, 7), vec![0; 96]].concat().repeat(20);
    assert_eq!(form(with_subchannel), Some((TrackForm::Mode1, 2448, 20)));
    // An ISO image, also of a size that both sectors divide; an odd size; another mode.
    assert_eq!(form(vec![0; 2352 * 2048]), None);
    assert_eq!(form(many(1, 7)[..40_000].to_vec()), None);
    assert_eq!(form(many(3, 7)), None);
}
