//! Tests of images and the block engine on real files.

use super::backend::Backend;
use super::raw::Patience;
use super::raw::RawFile;
use super::*;
use crate::config::{DriveConfig, Media};
use pcvm_devices::{BlockData, BlockDone, BlockError, BlockOp, BlockRequest, DiskId, GuestRange, Memory};
use pcvm_test_host::wait_until;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tempfile::{NamedTempFile, TempDir};

pub(super) fn disk(path: &Path, read_only: bool) -> DriveConfig {
    DriveConfig { read_only, ..DriveConfig::new(Media::Disk, Some(path.to_owned())) }
}

fn cd(path: &Path) -> DriveConfig {
    DriveConfig::new(Media::Cdrom, Some(path.to_owned()))
}

/// A file beside the test program and not on /tmp, which may be a tmpfs: requests then use RWF_NOWAIT.
pub(super) fn file(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    file.write_all(content).unwrap();
    file.flush().unwrap();
    file
}

fn open(config: &DriveConfig) -> Result<Image, ImageError> {
    Image::open(config)
}

pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8 ^ (n >> 9) as u8).collect()
}

pub(super) struct Rig {
    pub(super) engine: BlockEngine,
    pub(super) memory: Arc<Memory>,
}

impl Rig {
    fn new(images: Vec<Option<Image>>) -> Self {
        let named = |(id, image)| (DiskId(id), DriveParts::new(&format!("drive{id}"), image));
        Self::with_parts((0..).zip(images).map(named).collect())
    }

    fn with_parts(parts: BTreeMap<DiskId, DriveParts>) -> Self {
        Self::with_io_uring(parts, true)
    }

    pub(super) fn with_io_uring(parts: BTreeMap<DiskId, DriveParts>, io_uring: bool) -> Self {
        let memory = Arc::new(Memory::new(4 << 20, 0).unwrap());
        Self { engine: BlockEngine::with_io_uring(parts, Arc::clone(&memory), io_uring).unwrap(), memory }
    }

    fn one(config: &DriveConfig) -> Self {
        Self::new(vec![Some(open(config).unwrap()), None, None, None])
    }

    /// The completion, from the calling thread or the worker.
    fn request(&self, op: BlockOp, offset: u64, data: BlockData) -> BlockDone {
        match self.engine.start(BlockRequest { disk: DiskId(0), tag: 7, op, offset, data }, Patience::Briefly) {
            Some(done) => done,
            None => {
                self.engine.wait_idle();
                let mut all = self.engine.take_completions();
                assert_eq!(all.len(), 1);
                all.pop().unwrap()
            }
        }
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, BlockError> {
        let done = self.request(BlockOp::Read, offset, BlockData::Buffer(vec![0xee; len]));
        assert_eq!(done.tag, 7);
        let BlockData::Buffer(bytes) = done.data else { panic!("the buffer comes back") };
        done.result.map(|()| bytes)
    }
}

#[test]
fn a_read_fills_buffers_and_scattered_guest_memory() {
    let content = pattern(64 << 10);
    let file = file(&content);
    let rig = Rig::one(&disk(file.path(), true));
    assert_eq!(rig.read(512, 1024).unwrap(), content[512..1536]);
    let ranges = vec![
        GuestRange { addr: 0x1000, len: 2 },
        GuestRange { addr: 0x5000, len: 0 },
        GuestRange { addr: 0x3000, len: 4094 },
        GuestRange { addr: 0x20_0000, len: 4096 },
    ];
    let done = rig.request(BlockOp::Read, 4096, BlockData::Guest(ranges));
    assert_eq!(done.result, Ok(()));
    let mut back = vec![0; 4096];
    rig.memory.read(0x1000, &mut back[..2]);
    rig.memory.read(0x3000, &mut back[2..]);
    assert_eq!(back, content[4096..8192]);
    rig.memory.read(0x20_0000, &mut back);
    assert_eq!(back, content[8192..12288]);
}

#[test]
fn a_write_takes_guest_memory_and_ffh_from_unmapped_addresses() {
    let file = file(&[0; 8192]);
    let rig = Rig::one(&disk(file.path(), false));
    let content = pattern(1024);
    rig.memory.write(0x9_fe00, &content[..512]);
    // 512 bytes of conventional memory, then 512 bytes of the VGA window.
    let done = rig.request(BlockOp::Write, 512, BlockData::Guest(vec![GuestRange { addr: 0x9_fe00, len: 1024 }]));
    assert_eq!(done.result, Ok(()));
    assert_eq!(rig.request(BlockOp::Flush, 0, BlockData::None).result, Ok(()));
    let on_disk = std::fs::read(file.path()).unwrap();
    assert_eq!(on_disk[..512], [0; 512]);
    assert_eq!(on_disk[512..1024], content[..512]);
    assert_eq!(on_disk[1024..1536], [0xff; 512]);
    assert_eq!(on_disk.len(), 8192);
}

#[test]
fn a_read_to_unmapped_addresses_is_discarded() {
    let content = pattern(1 << 20);
    let file = file(&content);
    let rig = Rig::one(&disk(file.path(), true));
    let ranges = vec![
        GuestRange { addr: 0xf000_0000, len: 0xa_0000 },
        GuestRange { addr: u64::MAX - 10, len: 0x2_0000 },
        GuestRange { addr: 0x10_0000, len: 0x4_0000 },
    ];
    assert_eq!(rig.request(BlockOp::Read, 0, BlockData::Guest(ranges)).result, Ok(()));
    let mut back = vec![0; 0x4_0000];
    rig.memory.read(0x10_0000, &mut back);
    assert_eq!(back, content[0xc_0000..]);
}

#[test]
fn a_scatter_list_longer_than_one_system_call_moves_every_byte() {
    let content = pattern(64 << 10);
    let file = file(&content);
    let rig = Rig::one(&disk(file.path(), false));
    let ranges = |base: u64| (0..32768).map(|n| GuestRange { addr: base + n * 4, len: 2 }).collect::<Vec<_>>();
    assert_eq!(rig.request(BlockOp::Read, 0, BlockData::Guest(ranges(0x10_0000))).result, Ok(()));
    let mut back = vec![0; 128 << 10];
    rig.memory.read(0x10_0000, &mut back);
    assert!(back.chunks(4).zip(content.chunks(2)).all(|(got, want)| got[..2] == *want && got[2..] == [0, 0]));
    let reversed = ranges(0x10_0000).into_iter().rev().collect();
    assert_eq!(rig.request(BlockOp::Write, 0, BlockData::Guest(reversed)).result, Ok(()));
    let on_disk = std::fs::read(file.path()).unwrap();
    assert!(on_disk.chunks(2).zip(content.chunks(2).rev()).all(|(got, want)| got == want));
}

#[test]
fn a_request_past_the_end_fails_and_moves_nothing() {
    let file = file(&[5; 4096]);
    let rig = Rig::one(&disk(file.path(), false));
    for (offset, len) in [(4096, 512), (3584, 1024), (u64::MAX, 512), (u64::MAX - 511, 512), (1 << 63, 512)] {
        assert_eq!(rig.read(offset, len), Err(BlockError::OutOfRange), "{offset:x}");
        let write = rig.request(BlockOp::Write, offset, BlockData::Buffer(vec![9; len]));
        assert_eq!(write.result, Err(BlockError::OutOfRange));
        let discard = rig.request(BlockOp::Discard { len: len as u64 }, offset, BlockData::None);
        assert_eq!(discard.result, Err(BlockError::OutOfRange));
    }
    assert_eq!(rig.read(4096, 0), Ok(vec![]));
    assert_eq!(std::fs::read(file.path()).unwrap(), [5; 4096]);
}

#[test]
fn a_read_only_image_rejects_writes_and_has_a_read_only_descriptor() {
    let file = file(&[5; 4096]);
    let rig = Rig::one(&disk(file.path(), true));
    for op in [BlockOp::Write, BlockOp::Discard { len: 512 }] {
        assert_eq!(rig.request(op, 0, BlockData::Buffer(vec![1; 512])).result, Err(BlockError::ReadOnly));
    }
    assert_eq!(rig.request(BlockOp::Flush, 0, BlockData::None).result, Ok(()));
    let image = open(&disk(file.path(), true)).unwrap();
    let Backend::File(raw) = &image.backend else { panic!() };
    assert_eq!(rustix::fs::fcntl_getfl(raw.file()).unwrap() & rustix::fs::OFlags::ACCMODE, rustix::fs::OFlags::RDONLY);
    assert_eq!(std::fs::read(file.path()).unwrap(), [5; 4096]);
}

#[test]
fn a_request_to_an_absent_drive_fails_with_no_medium() {
    let rig = Rig::new((0..4).map(|_| None).collect());
    for disk in [0, 3, 4, 255] {
        let request =
            BlockRequest { disk: DiskId(disk), tag: 1, op: BlockOp::Read, offset: 0, data: BlockData::Buffer(vec![1]) };
        let done = rig.engine.start(request, Patience::None).unwrap();
        assert_eq!(done.result, Err(BlockError::NoMedium));
        assert_eq!(done.data, BlockData::Buffer(vec![1]), "the buffer is not given back");
    }
}

#[test]
fn a_discarded_range_reads_as_zeros_or_unchanged() {
    let file = file(&[5; 16384]);
    let rig = Rig::one(&disk(file.path(), false));
    assert_eq!(rig.request(BlockOp::Discard { len: 8192 }, 4096, BlockData::None).result, Ok(()));
    let bytes = rig.read(0, 16384).unwrap();
    assert!(bytes[..4096].iter().chain(&bytes[12288..]).all(|&b| b == 5));
    assert!(bytes[4096..12288].iter().all(|&b| b == 0) || bytes[4096..12288].iter().all(|&b| b == 5));
}

#[test]
fn the_missing_part_of_a_cds_last_sector_reads_as_zeros() {
    let content = pattern(2048 * 3 + 512);
    let file = file(&content);
    let rig = Rig::one(&cd(file.path()));
    assert_eq!(open(&cd(file.path())).unwrap().size(), 2048 * 4);
    let last = rig.read(2048 * 3, 2048).unwrap();
    assert_eq!(last[..512], content[2048 * 3..]);
    assert!(last[512..].iter().all(|&b| b == 0));
    rig.memory.write(0x1000, &[0xaa; 4096]);
    let ranges = vec![GuestRange { addr: 0x1000, len: 3000 }, GuestRange { addr: 0x1000 + 3000, len: 1096 }];
    assert_eq!(rig.request(BlockOp::Read, 4096, BlockData::Guest(ranges)).result, Ok(()));
    let mut back = vec![1; 4096];
    rig.memory.read(0x1000, &mut back);
    assert_eq!(back[..2560], content[4096..]);
    assert!(back[2560..].iter().all(|&b| b == 0));
}

#[test]
fn a_read_past_the_end_of_a_truncated_file_fails_with_eio() {
    let file = file(&[5; 8192]);
    let rig = Rig::one(&disk(file.path(), false));
    file.as_file().set_len(4096).unwrap();
    assert_eq!(rig.read(4096, 512), Err(BlockError::Io(libc::EIO)));
    assert_eq!(rig.read(0, 4096), Ok(vec![5; 4096]));
}

#[test]
fn requests_of_a_drive_execute_in_order() {
    let file = file(&vec![0; 1 << 20]);
    let rig = Rig::one(&disk(file.path(), false));
    let mut answered = Vec::new();
    let mut waiting = Vec::new();
    for tag in 0..200u64 {
        let (op, data) = match tag % 4 {
            3 => (BlockOp::Flush, BlockData::None),
            2 => (BlockOp::Read, BlockData::Buffer(vec![0; 4096])),
            _ => (BlockOp::Write, BlockData::Buffer(vec![tag as u8; 4096])),
        };
        match rig.engine.start(BlockRequest { disk: DiskId(0), tag, op, offset: 8192, data }, Patience::None) {
            Some(done) => answered.push(done),
            None => waiting.push(tag),
        }
    }
    rig.engine.wait_idle();
    assert_eq!(rig.engine.in_flight(), 0);
    let later = rig.engine.take_completions();
    assert_eq!(later.iter().map(|done| done.tag).collect::<Vec<_>>(), waiting);
    for done in answered.iter().chain(&later) {
        assert_eq!(done.result, Ok(()));
        if let (2, BlockData::Buffer(bytes)) = (done.tag % 4, &done.data) {
            assert_eq!(*bytes, vec![done.tag as u8 - 1; 4096], "a read misses the write before it");
        }
    }
    assert!(rig.engine.take_completions().is_empty());
}

#[test]
fn a_completion_sets_the_eventfd() {
    let file = file(&[0; 8192]);
    let rig = Rig::one(&disk(file.path(), false));
    // A flush of an image that may have unflushed writes goes to the worker thread.
    let flush = BlockRequest { disk: DiskId(0), tag: 1, op: BlockOp::Flush, offset: 0, data: BlockData::None };
    assert!(rig.engine.start(flush.clone(), Patience::None).is_none());
    wait_until("a completion", || rig.engine.completion_event().read().is_ok());
    assert_eq!(rig.engine.take_completions().len(), 1);
    assert!(
        rig.engine.start(flush, Patience::None).is_some(),
        "a flush without a write before it goes to the worker thread"
    );
}

#[test]
fn enospc_becomes_the_no_space_error() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let file = file(&[0; 512]);
    let mut image = open(&disk(file.path(), false)).unwrap();
    let full = std::fs::File::options().read(true).write(true).open(full).unwrap();
    image.backend = Backend::File(RawFile::from_file(full, false).unwrap());
    let rig = Rig::new(vec![Some(image)]);
    let done = rig.request(BlockOp::Write, 0, BlockData::Buffer(vec![1; 512]));
    assert_eq!(done.result, Err(BlockError::NoSpace));
}

#[test]
fn dropping_the_engine_completes_queued_writes() {
    let file = file(&vec![0; 1 << 20]);
    let rig = Rig::one(&disk(file.path(), false));
    for n in 0..64u64 {
        let data = BlockData::Buffer(vec![n as u8 + 1; 16384]);
        let request = BlockRequest { disk: DiskId(0), tag: n, op: BlockOp::Write, offset: n * 16384, data };
        let flush = BlockRequest { op: BlockOp::Flush, data: BlockData::None, offset: 0, ..request.clone() };
        let _ = rig.engine.start(request, Patience::None);
        let _ = rig.engine.start(flush, Patience::None);
    }
    drop(rig);
    let on_disk = std::fs::read(file.path()).unwrap();
    assert!(on_disk.chunks(16384).enumerate().all(|(n, chunk)| chunk.iter().all(|&b| b == n as u8 + 1)));
}

#[test]
fn open_rejects_files_that_are_no_images() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("empty"), "").unwrap();
    std::fs::write(at("odd"), [0; 513]).unwrap();
    std::fs::create_dir(at("dir")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RUSR).unwrap();
    let shown = dir.path().display();
    for (name, expect) in [
        ("absent", "No such file or directory"),
        ("empty", "is empty"),
        ("odd", "513 bytes is not a whole number of 512-byte sectors"),
        ("dir", "is a directory, not a file or a block device"),
        ("fifo", "is a FIFO, not a file or a block device"),
    ] {
        let error = open(&disk(&at(name), false)).unwrap_err();
        assert_eq!(error.to_string(), format!("{shown}/{name}: {expect}"));
    }
    let error = open(&disk(Path::new("/dev/null"), false)).unwrap_err();
    assert_eq!(error.to_string(), "/dev/null: is a character device, not a file or a block device");
    assert!(matches!(open(&cd(&at("empty"))), Err(ImageError::Empty(_))));
    assert_eq!(open(&cd(&at("odd"))).unwrap().size(), 2048);
}

#[test]
fn an_image_larger_than_the_drive_can_address_is_rejected() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("huge");
    let file = std::fs::File::create(&path).unwrap();
    // Not every file system supports a file of 8 TiB and one sector.
    if file.set_len((2048 << 32) + 2048).is_ok() {
        assert!(matches!(open(&cd(&path)), Err(ImageError::TooLarge { .. })));
        assert!(open(&disk(&path, false)).is_ok());
    }
}

#[test]
fn an_image_has_one_writer_or_many_readers() {
    let file = file(&[0; 512]);
    let in_use = |config: &DriveConfig| matches!(open(config), Err(ImageError::InUse { .. }));
    let writer = open(&disk(file.path(), false)).unwrap();
    assert!(in_use(&disk(file.path(), false)) && in_use(&disk(file.path(), true)) && in_use(&cd(file.path())));
    drop(writer);
    let reader = open(&disk(file.path(), true)).unwrap();
    assert!(open(&cd(file.path())).is_ok());
    assert!(in_use(&disk(file.path(), false)));
    drop(reader);
    assert!(open(&disk(file.path(), false)).is_ok());
}

#[test]
fn a_disk_that_begins_like_another_format_is_refused_unless_the_format_is_given() {
    let mut content = vec![0; 4096];
    content[..4].copy_from_slice(b"QFI\xfb");
    let image = file(&content);
    for read_only in [false, true] {
        let mut drive = disk(image.path(), read_only);
        let error = open(&drive).unwrap_err().to_string();
        let expected =
            "begins like a qcow2 image: add 'format=qcow2', or 'format=raw' if these are the guest's own bytes";
        assert_eq!(error, format!("{}: {expected}", image.path().display()));
        drive.snapshot = !read_only;
        assert!(matches!(open(&drive), Err(ImageError::ForeignFormat { .. })));
        drive.format = Some(crate::config::ImageFormat::Raw);
        assert_eq!(open(&drive).unwrap().size(), 4096);
    }
    // A CD-ROM is only read, and never as anything but raw.
    assert!(open(&cd(image.path())).is_ok());
    for (at, magic, format) in
        [(0, &b"vhdxfile"[..], "VHDX"), (64, &[0x7f, 0x10, 0xda, 0xbe], "VDI"), (0, b"conectix", "VHD")]
    {
        let mut content = vec![0; 4096];
        content[at..at + magic.len()].copy_from_slice(magic);
        let error = open(&disk(file(&content).path(), true)).unwrap_err().to_string();
        assert!(error.contains(&format!("begins like a {format} image: this format is not supported")), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// For any scatter list, a write from one range and a read back to the list give the bytes that were written.
    #[test]
    fn any_scatter_list_moves_every_byte_once(lens in prop::collection::vec(0u32..5000, 1..300), sector in 0u64..8) {
        let total: u32 = lens.iter().sum();
        let file = file(&vec![0xcc; 2 << 20]);
        let rig = Rig::one(&disk(file.path(), false));
        let content = pattern(total as usize);
        rig.memory.write(0x10_0000, &content);
        let offset = sector * 512;
        let whole = vec![GuestRange { addr: 0x10_0000, len: total }];
        prop_assert_eq!(rig.request(BlockOp::Write, offset, BlockData::Guest(whole)).result, Ok(()));
        let mut at = 0x28_0000;
        let scattered: Vec<GuestRange> = lens.iter().map(|&len| { let r = GuestRange { addr: at, len }; at += u64::from(len); r }).collect();
        prop_assert_eq!(rig.request(BlockOp::Read, offset, BlockData::Guest(scattered)).result, Ok(()));
        let mut back = vec![0; total as usize];
        rig.memory.read(0x28_0000, &mut back);
        prop_assert_eq!(back, content);
    }
}

#[test]
fn a_read_of_cached_pages_completes_inline() {
    let content = pattern(64 << 10);
    let file = file(&content);
    let rig = Rig::one(&disk(file.path(), true));
    let read = |offset| BlockRequest {
        disk: DiskId(0),
        tag: 1,
        op: BlockOp::Read,
        offset,
        data: BlockData::Guest(vec![GuestRange { addr: 0x10_0000, len: 4096 }]),
    };
    // Some file systems do not support RWF_NOWAIT; the first request finds out.
    let _ = rig.engine.start(read(0), Patience::None);
    rig.engine.wait_idle();
    let image = rig.engine.replace(DiskId(0), None).unwrap();
    let Backend::File(raw) = &image.backend else { panic!() };
    if raw.refuses_nowait_reads() {
        return;
    }
    rig.engine.replace(DiskId(0), Some(image));
    for offset in (0..65536).step_by(4096) {
        assert!(rig.engine.start(read(offset), Patience::None).is_some(), "{offset}");
    }
    assert_eq!(rig.engine.in_flight(), 0);
}

#[test]
fn a_read_of_uncached_pages_gives_the_right_bytes() {
    let content = pattern(1 << 20);
    let file = file(&content);
    file.as_file().sync_all().unwrap();
    rustix::fs::fadvise(file.as_file(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let rig = Rig::one(&disk(file.path(), true));
    // The page cache now holds none, some or all of the image.
    let _ = rig.read(0, 4096).unwrap();
    assert_eq!(rig.read(0, 1 << 20).unwrap(), content);
}

/// Starts QEMU with a drive. None if QEMU refuses to open it.
fn qemu(drive: &str) -> Option<std::process::Child> {
    let mut child = std::process::Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-S", "-nodefaults", "-display", "none", "-monitor", "stdio", "-drive", drive])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("qemu-system-x86_64");
    // QEMU answers when all drives are open, or exits.
    let _ = child.stdin.as_mut().unwrap().write_all(b"info status\n");
    let answers = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.as_mut().unwrap()));
    if answers.map_while(Result::ok).any(|line| line.contains("VM status")) {
        return Some(child);
    }
    child.wait().unwrap();
    None
}

#[test]
fn qemu_and_pcvm_share_an_image_for_reading_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    let open = |read_only| open(&disk(&path, read_only));
    let drive = |more: &str| qemu(&format!("file={},format=raw,if=ide{more}", path.display()));
    let end = |child: Option<std::process::Child>| {
        let mut child = child.expect("QEMU does not open the image");
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let in_use = |image: Result<Image, ImageError>| matches!(image, Err(ImageError::InUse { .. }));

    let reader = open(true).unwrap();
    assert!(in_use(open(false)));
    let second = open(true).unwrap();
    end(drive(",media=cdrom,readonly=on"));
    assert!(drive("").is_none(), "QEMU opens for writing an image that pcvm reads");
    drop((reader, second));

    let writer = open(false).unwrap();
    assert!(in_use(open(true)) && in_use(open(false)));
    assert!(drive("").is_none() && drive(",media=cdrom,readonly=on").is_none());
    drop(writer);

    let child = drive("");
    assert!(in_use(open(true)) && in_use(open(false)), "an image that QEMU writes can be opened");
    end(child);
    let child = drive(",media=cdrom,readonly=on");
    drop(open(true).unwrap());
    assert!(in_use(open(false)));
    end(child);
}
