//! A process that is killed at any moment loses no flushed write, and leaves an image that qemu-img accepts.
//!
//! The test starts itself as a child that writes, discards and flushes through the block engine and reports each flush that
//! has completed; it kills the child with SIGKILL at a random moment, checks the image with qemu-img and compares each sector
//! with what the flushes promise.

use pcvm::block::{BlockEngine, DriveParts, Image, Patience};
use pcvm::config::{CacheMode, DriveConfig, ImageFormat, Media};
use pcvm_devices::{BlockData, BlockOp, BlockRequest, DiskId, Memory};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Sectors of the disk.
const SECTORS: u64 = 16_384;
/// Sectors that the child touches: few, so that overwrites, clusters in part and discards meet.
const TOUCHED: u64 = 4096;
/// Set in the child: the image, its format, the cache mode, the seed and the number of the first operation.
const CHILD: &str = "PCVM_DURABILITY_CHILD";

/// A generator of operations that parent and child run alike (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }
}

enum Operation {
    /// Each sector begins with the number of the operation.
    Write {
        sector: u64,
        count: u64,
    },
    Discard {
        sector: u64,
        count: u64,
    },
    Flush,
}

fn operation(random: &mut Random) -> Operation {
    let longest = if random.below(4) == 0 { 300 } else { 16 };
    let count = 1 + random.below(longest);
    let sector = random.below(TOUCHED - count);
    match random.below(10) {
        0..=6 => Operation::Write { sector, count },
        7 => Operation::Discard { sector, count },
        _ => Operation::Flush,
    }
}

fn drive(path: &Path, format: ImageFormat, cache: CacheMode) -> DriveConfig {
    DriveConfig { format: Some(format), cache, ..DriveConfig::new(Media::Disk, Some(path.to_owned())) }
}

/// A drive that is used synchronously.
struct Disk(BlockEngine);

impl Disk {
    fn open(drive: &DriveConfig) -> Self {
        let image = Image::open(drive).unwrap_or_else(|error| panic!("{error}"));
        let parts = [(DiskId(0), DriveParts::new("hda", Some(image)))].into();
        Self(BlockEngine::new(parts, Arc::new(Memory::new(1 << 20, 0).unwrap())).unwrap())
    }

    fn run(&self, op: BlockOp, sector: u64, data: BlockData) -> BlockData {
        let request = BlockRequest { disk: DiskId(0), tag: 1, op, offset: sector * 512, data };
        let done = self.0.start(request, Patience::Briefly).unwrap_or_else(|| {
            self.0.wait_idle();
            self.0.take_completions().pop().unwrap()
        });
        assert_eq!(done.result, Ok(()), "{op:?} of sector {sector}");
        done.data
    }

    fn read(&self, sector: u64, count: u64) -> Vec<u8> {
        let buffer = BlockData::Buffer(vec![0xee; count as usize * 512]);
        let BlockData::Buffer(bytes) = self.run(BlockOp::Read, sector, buffer) else { panic!() };
        bytes
    }
}

/// Body of the child.
fn work(arguments: &str) {
    let [path, format, cache, seed, first] = arguments.split('\n').collect::<Vec<_>>()[..] else { panic!() };
    let format = ImageFormat::from_name(format).unwrap();
    let disk = Disk::open(&drive(Path::new(path), format, CacheMode::from_name(cache).unwrap()));
    let mut random = Random(seed.parse().unwrap());
    let mut stdout = std::io::stdout().lock();
    for number in first.parse::<u64>().unwrap().. {
        match operation(&mut random) {
            Operation::Write { sector, count } => {
                let mut bytes = vec![0; count as usize * 512];
                bytes.chunks_mut(512).for_each(|sector| sector[..8].copy_from_slice(&number.to_le_bytes()));
                disk.run(BlockOp::Write, sector, BlockData::Buffer(bytes));
            }
            Operation::Discard { sector, count } => {
                disk.run(BlockOp::Discard { len: count * 512 }, sector, BlockData::None);
            }
            Operation::Flush => {
                disk.run(BlockOp::Flush, 0, BlockData::None);
                stdout.write_all(format!("{number}\n").as_bytes()).unwrap();
                stdout.flush().unwrap();
            }
        }
    }
}

/// The first number of each sector.
fn contents(disk: &Disk) -> Vec<u64> {
    let bytes = disk.read(0, TOUCHED);
    bytes.chunks(512).map(|sector| u64::from_le_bytes(sector[..8].try_into().unwrap())).collect()
}

/// Kills a writing child `kills` times at random moments, and checks the image after each.
fn kill_repeatedly(name: &str, path: &Path, format: ImageFormat, cache: &str, kills: u64) {
    let mode = CacheMode::from_name(cache).unwrap();
    let mut moments = Random(0x9E37_79B9_7F4A_7C15 ^ name.len() as u64);
    let mut before = contents(&Disk::open(&drive(path, format, mode)));
    let (mut first, mut flushes) = (1, 0);
    for kill in 0..kills {
        let seed = moments.next() | 1;
        let arguments =
            [path.to_str().unwrap(), format.name(), cache, &seed.to_string(), &first.to_string()].join("\n");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--ignored"])
            .env(CHILD, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // The moments are counted from the first flush: before it the child starts.
        while line.trim().parse::<u64>().is_err() {
            line.clear();
            if output.read_line(&mut line).unwrap() == 0 {
                let mut errors = String::new();
                child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                panic!("{name}: the child ended by itself: {errors}");
            }
        }
        let mut flushed: u64 = line.trim().parse().unwrap();
        std::thread::sleep(Duration::from_micros(moments.below(40_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in output.lines() {
            flushed = line.unwrap().parse().unwrap_or(flushed);
            flushes += 1;
        }

        if format == ImageFormat::Qcow2 {
            let check = Command::new("qemu-img").args(["check", "-q", "-f", "qcow2"]).arg(path).output().unwrap();
            // 3: clusters that are allocated and not used, which the next check may free.
            let text = String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
            assert!(matches!(check.status.code(), Some(0 | 3)), "{name}, kill {kill}: {text}");
        }
        let after = contents(&Disk::open(&drive(path, format, mode)));
        let mut allowed: Vec<Vec<u64>> = before.iter().map(|&number| vec![number]).collect();
        let mut random = Random(seed);
        // The child has not done more than this after its last report: flushes are a fifth of the operations.
        let last = flushed + 400;
        for number in first..=last {
            let (sector, count, written) = match operation(&mut random) {
                Operation::Write { sector, count } => (sector, count, Some(number)),
                Operation::Discard { sector, count } => (sector, count, None),
                Operation::Flush => continue,
            };
            for allowed in &mut allowed[sector as usize..(sector + count) as usize] {
                match written {
                    Some(number) if number < flushed => *allowed = vec![number],
                    Some(number) => allowed.push(number),
                    None => allowed.push(0),
                }
            }
        }
        for (sector, (number, allowed)) in after.iter().zip(&allowed).enumerate() {
            let shown = (first, flushed, number, allowed);
            assert!(
                allowed.contains(number),
                "{name}, kill {kill}: sector {sector}: first, flushed, is, allowed: {shown:?}"
            );
        }
        before = after;
        first = last + 1;
    }
    assert!(flushes > kills / 2, "{name}: {flushes} flushes after the first ones");
}

/// The child of the other tests; by itself it does nothing.
#[test]
#[ignore = "a helper process of the other tests"]
fn child() {
    if let Ok(arguments) = std::env::var(CHILD) {
        work(&arguments);
    }
}

/// A directory beside the test program: /tmp may be a tmpfs, which has no direct I/O.
fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap()
}

fn create(path: &Path, options: &[&str]) {
    let size = (SECTORS * 512).to_string();
    let status =
        Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).args(options).arg(path).arg(size).status();
    assert!(status.unwrap().success());
}

#[test]
fn slow_a_killed_writer_of_a_raw_image_loses_no_flushed_write() {
    let dir = dir();
    for (name, cache) in [("writeback", "writeback"), ("none", "none"), ("through", "writethrough")] {
        let path = dir.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(SECTORS * 512).unwrap();
        kill_repeatedly(name, &path, ImageFormat::Raw, cache, 20);
    }
}

#[test]
fn slow_a_killed_writer_of_a_qcow2_image_loses_no_flushed_write() {
    let dir = dir();
    for (name, options, cache, kills) in [
        ("plain", &[][..], "writeback", 70),
        ("small clusters", &["-o", "cluster_size=512,refcount_bits=1"][..], "writeback", 40),
        ("direct", &[], "none", 20),
        ("direct, small clusters", &["-o", "cluster_size=512"], "none", 20),
        ("through", &["-o", "compat=0.10"], "writethrough", 30),
    ] {
        let path = dir.path().join(name);
        create(&path, options);
        kill_repeatedly(name, &path, ImageFormat::Qcow2, cache, kills);
    }
}

#[test]
fn slow_a_killed_writer_of_a_chain_of_fifty_loses_no_flushed_write() {
    let dir = dir();
    let at = |n: usize| -> PathBuf { dir.path().join(format!("{n}.qcow2")) };
    create(&at(0), &[]);
    for n in 1..50 {
        create(&at(n), &["-b", &format!("{}.qcow2", n - 1), "-F", "qcow2"]);
    }
    kill_repeatedly("chain", &at(49), ImageFormat::Qcow2, "writeback", 60);
}
