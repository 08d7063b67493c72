//! Tests of qcow2 and VMDK images, cache modes and snapshots, beside QEMU's tools (qemu-img, qemu-io).

use super::raw::Patience;
use super::*;
use crate::config::{CacheMode, DriveConfig, ImageFormat, Media};
use pcvm_devices::{BlockData, BlockError, BlockOp, BlockRequest, DiskId, GuestRange, Memory};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// Bytes of the disks in these tests: not a multiple of a cluster.
const SIZE: usize = (3 << 20) + 512 * 3;

/// Runs one of QEMU's tools.
fn tool(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|why| panic!("{program}: {why}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {text}");
    text
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A directory beside the test program: /tmp may be a tmpfs, which has no direct I/O.
fn dir() -> TempDir {
    tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap()
}

fn qcow2(path: &Path) -> DriveConfig {
    DriveConfig { format: Some(ImageFormat::Qcow2), ..DriveConfig::new(Media::Disk, Some(path.to_owned())) }
}

fn create(path: &Path, options: &[&str]) {
    tool("qemu-img", &[&["create", "-q", "-f", "qcow2"], options, &[text(path), &SIZE.to_string()]].concat());
}

/// A drive that is read and written synchronously.
struct Rig {
    engine: BlockEngine,
    memory: Arc<Memory>,
}

impl Rig {
    fn open(drive: &DriveConfig) -> Self {
        Self::try_open(drive).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_open(drive: &DriveConfig) -> Result<Self, ImageError> {
        let memory = Arc::new(Memory::new(8 << 20, 0).unwrap());
        let parts = [(DiskId(0), DriveParts::new("hda", Some(Image::open(drive)?)))].into();
        Ok(Self { engine: BlockEngine::new(parts, Arc::clone(&memory)).unwrap(), memory })
    }

    fn run(&self, op: BlockOp, offset: u64, data: BlockData) -> Result<(), BlockError> {
        let request = BlockRequest { disk: DiskId(0), tag: 1, op, offset, data };
        if let Some(done) = self.engine.start(request, Patience::Briefly) {
            return done.result;
        }
        self.engine.wait_idle();
        self.engine.take_completions().pop().unwrap().result
    }

    /// From guest memory in two pieces with an odd boundary.
    fn ranges(len: usize) -> BlockData {
        let first = (len as u32 / 2) | 1;
        BlockData::Guest(vec![
            GuestRange { addr: 0x10_0000, len: first },
            GuestRange { addr: 0x10_0000 + u64::from(first), len: len as u32 - first },
        ])
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        self.memory.write(0x10_0000, bytes);
        assert_eq!(self.run(BlockOp::Write, offset, Self::ranges(bytes.len())), Ok(()));
    }

    fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        self.memory.write(0x10_0000, &vec![0xee; len]);
        assert_eq!(self.run(BlockOp::Read, offset, Self::ranges(len)), Ok(()));
        let mut bytes = vec![0; len];
        self.memory.read(0x10_0000, &mut bytes);
        bytes
    }

    fn flush(&self) {
        assert_eq!(self.run(BlockOp::Flush, 0, BlockData::None), Ok(()));
    }

    fn stats(&self) -> DriveStats {
        self.engine.stats().pop().unwrap()
    }
}

/// The bytes of an image as QEMU reads them.
fn as_raw(path: &Path, format: &str) -> Vec<u8> {
    let raw = path.with_extension("as-raw");
    tool("qemu-img", &["convert", "-f", format, "-O", "raw", text(path), text(&raw)]);
    std::fs::read(&raw).unwrap()
}

/// One step of a guest: write (with this byte), discard or flush.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, usize, u8),
    Discard(u64, usize),
    Read(u64, usize),
    Flush,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range = (0..SIZE as u64 / 512, 1usize..300);
    let within = |(start, len): (u64, usize)| (start * 512, (len * 512).min(SIZE - start as usize * 512));
    let range = range.prop_map(within);
    let step = prop_oneof![
        4 => (range.clone(), 1u8..=255).prop_map(|((at, len), byte)| Step::Write(at, len, byte)),
        2 => range.clone().prop_map(|(at, len)| Step::Discard(at, len)),
        2 => range.prop_map(|(at, len)| Step::Read(at, len)),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..30)
}

/// Runs the steps on an image whose content is `model` at first and compares all that is read.
fn run_steps(drive: &DriveConfig, model: &mut [u8], steps: &[Step]) {
    let mut rig = Rig::open(drive);
    for step in steps {
        match *step {
            Step::Write(at, len, byte) => {
                let bytes: Vec<u8> = (0..len).map(|n| byte.wrapping_add((n / 512) as u8)).collect();
                rig.write(at, &bytes);
                model[at as usize..at as usize + len].copy_from_slice(&bytes);
            }
            Step::Discard(at, len) => {
                assert_eq!(rig.run(BlockOp::Discard { len: len as u64 }, at, BlockData::None), Ok(()));
                // What was discarded reads as zeros or as before.
                let now = rig.read(at, len);
                for (n, (new, old)) in now.iter().zip(&mut model[at as usize..]).enumerate() {
                    assert!(*new == 0 || new == old, "byte {n} of a discarded range is {new}, not 0 or {old}");
                    *old = *new;
                }
            }
            Step::Read(at, len) => assert_eq!(rig.read(at, len), model[at as usize..at as usize + len]),
            Step::Flush => rig.flush(),
            Step::Reopen => {
                drop(rig);
                rig = Rig::open(drive);
            }
        }
    }
    let mut at = 0;
    while at < SIZE {
        let len = (1 << 20).min(SIZE - at);
        assert!(rig.read(at as u64, len) == model[at..at + len], "the image differs from {at} on");
        at += len;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn any_writes_and_discards_leave_a_qcow2_image_that_qemu_reads_alike(
        steps in steps(), kind in 0usize..6, cache in 0usize..3
    ) {
        let dir = dir();
        let path = dir.path().join("top.qcow2");
        let mut model = vec![0; SIZE];
        match kind {
            0 => create(&path, &[]),
            1 => create(&path, &["-o", "cluster_size=512"]),
            2 => create(&path, &["-o", "compat=0.10"]),
            3 => create(&path, &["-o", "cluster_size=2M,refcount_bits=1,preallocation=metadata"]),
            _ => {
                // Over a backing file with data, raw or compressed qcow2.
                model = (0..SIZE).map(|n| (n / 512 % 251) as u8 + 1).collect();
                let raw = dir.path().join("base.raw");
                std::fs::write(&raw, &model).unwrap();
                let (base, format) = if kind == 4 { ("base.raw", "raw") } else { ("base.qcow2", "qcow2") };
                if kind == 5 {
                    let to = dir.path().join(base);
                    tool("qemu-img", &["convert", "-c", "-f", "raw", "-O", "qcow2", text(&raw), text(&to)]);
                }
                create(&path, &["-b", base, "-F", format]);
            }
        }
        let cache = [CacheMode::Writeback, CacheMode::Writethrough, CacheMode::None][cache];
        run_steps(&DriveConfig { cache, ..qcow2(&path) }, &mut model, &steps);
        let check = Command::new("qemu-img").args(["check", "-q", text(&path)]).output().unwrap();
        // 3: clusters that are allocated and not used.
        prop_assert!(matches!(check.status.code(), Some(0 | 3)), "{:?}", check);
        prop_assert!(as_raw(&path, "qcow2") == model, "QEMU reads other bytes");
    }

    #[test]
    fn any_requests_past_the_page_cache_move_the_right_bytes(steps in steps()) {
        let dir = dir();
        let path = dir.path().join("disk");
        let mut model: Vec<u8> = (0..SIZE).map(|n| (n / 512 % 251) as u8).collect();
        std::fs::write(&path, &model).unwrap();
        let drive = DriveConfig { cache: CacheMode::None, ..DriveConfig::new(Media::Disk, Some(path.clone())) };
        run_steps(&drive, &mut model, &steps);
        prop_assert!(std::fs::read(&path).unwrap() == model);
    }
}

#[test]
fn overwrites_and_reads_of_allocated_clusters_complete_inline() {
    let dir = dir();
    let path = dir.path().join("top.qcow2");
    create(&path, &[]);
    let rig = Rig::open(&qcow2(&path));
    let bytes: Vec<u8> = (0..SIZE).map(|n| (n / 512 % 253) as u8).collect();
    for (n, part) in bytes.chunks(64 << 10).enumerate() {
        rig.write((n * (64 << 10)) as u64, part);
    }
    rig.read(0, 1 << 20);
    let before = rig.stats();
    for n in 0..100 {
        let at = n * 4096;
        assert_eq!(rig.read(at, 4096), bytes[at as usize..at as usize + 4096]);
        rig.write(at, &bytes[at as usize..at as usize + 4096]);
    }
    let after = rig.stats();
    assert_eq!(after.inline - before.inline, 200, "{after:?}");
}

#[test]
fn a_chain_of_fifty_images_reads_each_layers_bytes() {
    let dir = dir();
    let at = |n: usize| dir.path().join(format!("{n}.qcow2"));
    create(&at(0), &[]);
    for n in 0..50 {
        if n > 0 {
            create(&at(n), &["-b", &format!("{}.qcow2", n - 1), "-F", "qcow2"]);
        }
        let rig = Rig::open(&qcow2(&at(n)));
        rig.write(n as u64 * 65536 / 2, &[n as u8 + 1; 65536]);
    }
    let rig = Rig::open(&qcow2(&at(49)));
    for n in 0..49 {
        assert_eq!(rig.read(n * 32768, 32768), [n as u8 + 1; 32768]);
    }
    drop(rig);
    tool("qemu-img", &["check", "-q", text(&at(49))]);
}

#[test]
fn two_machines_share_a_base_image_and_neither_may_write_it() {
    let dir = dir();
    let base = dir.path().join("base");
    std::fs::write(&base, vec![7; SIZE]).unwrap();
    let tops = [dir.path().join("a.qcow2"), dir.path().join("b.qcow2")];
    for top in &tops {
        create(top, &["-b", "base", "-F", "raw"]);
    }
    let rigs = tops.each_ref().map(|top| Rig::open(&qcow2(top)));
    rigs[0].write(0, &[1; 512]);
    rigs[1].write(0, &[2; 512]);
    assert_eq!((rigs[0].read(0, 1024)[511..513].to_vec(), rigs[1].read(0, 512)[0]), (vec![1, 7], 2));
    let error = Rig::try_open(&DriveConfig::new(Media::Disk, Some(base.clone()))).map(drop).unwrap_err().to_string();
    assert_eq!(error, format!("{}: is in use by this pcvm", base.display()));
    drop(rigs);
    assert!(std::fs::read(&base).unwrap() == vec![7; SIZE]);
}

#[test]
fn a_snapshot_drive_keeps_the_image_and_forgets_its_writes() {
    let dir = dir();
    let (raw, top) = (dir.path().join("raw"), dir.path().join("top.qcow2"));
    std::fs::write(&raw, vec![3; SIZE]).unwrap();
    create(&top, &["-b", "raw", "-F", "raw"]);
    for drive in [DriveConfig::new(Media::Disk, Some(raw.clone())), qcow2(&top)] {
        let drive = DriveConfig { snapshot: true, ..drive };
        let before = std::fs::read(drive.path.as_ref().unwrap()).unwrap();
        let (first, second) = (Rig::open(&drive), Rig::open(&drive));
        first.write(512, &[9; 4096]);
        first.flush();
        assert_eq!((first.read(512, 4096), first.read(0, 512)), (vec![9; 4096], vec![3; 512]));
        assert_eq!(second.read(512, 4096), [3; 4096]);
        drop((first, second));
        assert!(std::fs::read(drive.path.as_ref().unwrap()).unwrap() == before);
        assert_eq!(Rig::open(&drive).read(512, 512), [3; 512]);
    }
}

#[test]
fn an_image_is_created_with_the_size_that_the_option_names() {
    let dir = dir();
    for (name, format) in [("new.raw", ImageFormat::Raw), ("new.qcow2", ImageFormat::Qcow2)] {
        let path = dir.path().join(name);
        let drive = DriveConfig {
            format: Some(format),
            create_size: Some(100 << 20),
            ..DriveConfig::new(Media::Disk, Some(path.clone()))
        };
        let rig = Rig::open(&drive);
        rig.write((100 << 20) - 512, &[5; 512]);
        drop(rig);
        assert_eq!(Rig::open(&drive).read((100 << 20) - 512, 512), [5; 512]);
        let json = tool("qemu-img", &["info", "--output=json", "-f", format.name(), text(&path)]);
        assert!(json.contains("\"virtual-size\": 104857600"), "{json}");
        let other = DriveConfig { create_size: Some(101 << 20), ..drive };
        assert!(matches!(Rig::try_open(&other), Err(ImageError::OtherSize { .. })));
    }
    let huge = dir.path().join("huge.qcow2");
    let drive = DriveConfig { create_size: Some(4 << 50), ..qcow2(&huge) };
    let error = Rig::try_open(&drive).map(drop).unwrap_err().to_string();
    assert!(error.contains("is too much for a qcow2 image") && !huge.exists(), "{error}");
    let nowhere = DriveConfig {
        create_size: Some(1 << 20),
        ..DriveConfig::new(Media::Disk, Some(PathBuf::from("/nonexistent/image")))
    };
    assert!(matches!(Rig::try_open(&nowhere), Err(ImageError::Host { .. })));
}

#[test]
fn files_that_an_image_names_are_opened_only_in_its_directory_and_the_users() {
    let (dir, elsewhere) = (dir(), dir());
    let base = elsewhere.path().join("base.raw");
    std::fs::write(&base, vec![6; SIZE]).unwrap();
    let top = dir.path().join("top.qcow2");
    create(&top, &["-b", text(&base), "-F", "raw"]);
    let error = Rig::try_open(&qcow2(&top)).map(drop).unwrap_err().to_string();
    assert!(
        error.contains("is outside the image's directory: allow its directory with 'backing-dir=DIRECTORY'"),
        "{error}"
    );
    let allowed = DriveConfig { backing_dirs: vec![elsewhere.path().to_owned()], ..qcow2(&top) };
    assert_eq!(Rig::open(&allowed).read(0, 512), [6; 512]);
    // An external data file: beside the image, and elsewhere.
    let data = dir.path().join("data.raw");
    let external = dir.path().join("external.qcow2");
    create(&external, &["-o", &format!("data_file={},data_file_raw=on", text(&data))]);
    let rig = Rig::open(&qcow2(&external));
    rig.write(1 << 20, &[8; 4096]);
    drop(rig);
    assert_eq!(std::fs::read(&data).unwrap()[1 << 20..(1 << 20) + 4096], [8; 4096]);
    tool("qemu-img", &["check", "-q", text(&external)]);
    let outside = dir.path().join("outside.qcow2");
    create(&outside, &["-o", &format!("data_file={}", text(&elsewhere.path().join("data")))]);
    assert!(matches!(Rig::try_open(&qcow2(&outside)), Err(ImageError::Reference { .. })));
}

#[test]
fn images_with_features_that_are_not_supported_are_refused() {
    let dir = dir();
    let path = dir.path().join("top.qcow2");
    for options in ["extended_l2=on,cluster_size=128k", "compression_type=zstd"] {
        create(&path, &["-o", options]);
        let error = Rig::try_open(&qcow2(&path)).map(drop).unwrap_err();
        assert!(matches!(error, ImageError::Format { .. }), "{options}: {error}");
    }
    tool(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            "--object",
            "secret,id=s,data=abc",
            "-o",
            "encrypt.format=aes,encrypt.key-secret=s",
            text(&path),
            "1M",
        ],
    );
    assert!(matches!(Rig::try_open(&qcow2(&path)), Err(ImageError::Format { .. })));
    std::fs::write(&path, vec![0; 4096]).unwrap();
    assert!(matches!(Rig::try_open(&qcow2(&path)), Err(ImageError::Format { .. })));
}

#[test]
fn a_vmdk_is_read_and_refused_for_writing() {
    let dir = dir();
    let raw = dir.path().join("content.raw");
    let content: Vec<u8> = (0..SIZE).map(|n| (n / 512 % 250) as u8).collect();
    std::fs::write(&raw, &content).unwrap();
    let flat = dir.path().join("flat.vmdk");
    tool(
        "qemu-img",
        &["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat", text(&raw), text(&flat)],
    );
    let vmdk = |path: &Path| DriveConfig {
        format: Some(ImageFormat::Vmdk),
        ..DriveConfig::new(Media::Disk, Some(path.to_owned()))
    };
    assert!(matches!(Rig::try_open(&vmdk(&flat)), Err(ImageError::FormatReadOnly { .. })));
    let rig = Rig::open(&DriveConfig { read_only: true, ..vmdk(&flat) });
    assert!(rig.read(0, 1 << 20) == content[..1 << 20]);
    let rig = Rig::open(&DriveConfig { snapshot: true, ..vmdk(&flat) });
    rig.write(0, &[1; 512]);
    assert_eq!(rig.read(0, 512), [1; 512]);
    let sparse = dir.path().join("sparse.vmdk");
    tool("qemu-img", &["convert", "-f", "raw", "-O", "vmdk", text(&raw), text(&sparse)]);
    assert!(matches!(Rig::try_open(&DriveConfig { read_only: true, ..vmdk(&sparse) }), Err(ImageError::Format { .. })));
}
