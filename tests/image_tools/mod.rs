//! What the tests of `pcvm image` share: a directory, the programs, and images with known content.
#![allow(dead_code)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Virtual size of the images.
pub const SIZE: u64 = 16 << 20;

/// A directory in which programs run.
pub struct Dir(TempDir);

impl Dir {
    pub fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null()).env_remove("PCVM_LOG");
        command
    }

    pub fn output(&self, program: &str, args: &[&str]) -> Output {
        self.command(program, args)
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error} (tests/run installs it)"))
    }

    /// Runs a program that must succeed. Gives its standard output.
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.output(program, args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{program} {args:?}: {:?}\n{}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    #[track_caller]
    pub fn qemu_img(&self, args: &[&str]) -> String {
        self.run("qemu-img", args)
    }

    #[track_caller]
    pub fn qemu_io(&self, image: &str, commands: &[&str]) {
        let mut args = vec!["-f", if image.ends_with(".raw") { "raw" } else { "qcow2" }];
        commands.iter().for_each(|command| args.extend(["-c", command]));
        args.push(image);
        let output = self.run("qemu-io", &args);
        assert!(!output.contains("failed"), "{image}: {output}");
    }

    /// `pcvm image ARGS`, which must succeed.
    #[track_caller]
    pub fn image(&self, args: &[&str]) -> String {
        self.run(env!("CARGO_BIN_EXE_pcvm"), &[&["image"], args].concat())
    }

    pub fn image_output(&self, args: &[&str]) -> Output {
        self.output(env!("CARGO_BIN_EXE_pcvm"), &[&["image"], args].concat())
    }

    /// Asserts that `pcvm image ARGS` fails with this status and a line that has this text.
    #[track_caller]
    pub fn image_fails(&self, args: &[&str], status: i32, text: &str) {
        let output = self.image_output(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {error}");
        assert!(error.contains(text) && error.lines().count() == 1, "{args:?}: {error}");
    }

    /// The content of an image as qemu-img reads it.
    #[track_caller]
    pub fn content(&self, image: &str, format: &str) -> Vec<u8> {
        self.qemu_img(&["convert", "-f", format, "-O", "raw", image, "content.tmp"]);
        let content = fs::read(self.path("content.tmp")).unwrap();
        fs::remove_file(self.path("content.tmp")).unwrap();
        content
    }

    /// Asserts that two images have the same content.
    #[track_caller]
    pub fn same(&self, a: &str, a_format: &str, b: &str, b_format: &str) {
        self.qemu_img(&["compare", "-f", a_format, "-F", b_format, a, b]);
    }

    /// Names of the files in the directory.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// A generator of numbers that are the same in every run (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Writes data, zeros and nothing to parts of an image.
pub const PATTERNS: [&str; 6] = [
    "write -P 0x11 0 64k",
    "write -P 0x22 100k 3k",
    "write -P 0x33 1M 700k",
    "write -z 2M 1M",
    "write -P 0x44 3000k 512",
    "write -P 0x55 15M 64k",
];

/// Images that qemu-img makes with every odd but legal feature: name and options.
pub fn odd_images(dir: &Dir) -> Vec<String> {
    let mut names = Vec::new();
    let mut create = |name: &str, options: &str| {
        dir.qemu_img(&["create", "-q", "-f", "qcow2", "-o", options, name, "16M"]);
        names.push(name.to_owned());
    };
    for cluster in ["512", "4k", "64k", "2M"] {
        create(&format!("c{cluster}.qcow2"), &format!("cluster_size={cluster}"));
    }
    for bits in [1, 2, 4, 8, 32, 64] {
        create(&format!("r{bits}.qcow2"), &format!("refcount_bits={bits},cluster_size=8k"));
    }
    create("lazy.qcow2", "lazy_refcounts=on");
    create("sub.qcow2", "extended_l2=on");
    create("data.qcow2", "data_file=data.raw");
    create("data2.qcow2", "data_file=data2.raw,data_file_raw=on");
    for mode in ["metadata", "falloc", "full"] {
        create(&format!("{mode}.qcow2"), &format!("preallocation={mode}"));
    }
    create("bitmaps.qcow2", "compat=1.1");
    create("inside.qcow2", "compat=1.1");
    create("corrupt.qcow2", "compat=1.1");
    for name in &names {
        dir.qemu_io(name, &PATTERNS);
    }
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "-o", "compat=0.10", "v2.qcow2", "16M"]);
    dir.qemu_io("v2.qcow2", &["write -P 0x11 0 64k", "write -P 0x33 1M 700k"]);
    dir.qemu_io("sub.qcow2", &["write -z 66k 4k", "write -P 9 90k 2k"]);
    dir.qemu_img(&["bitmap", "--add", "bitmaps.qcow2", "b0"]);
    dir.qemu_io("bitmaps.qcow2", &["write -P 0x77 5M 64k"]);
    dir.qemu_img(&["snapshot", "-c", "one", "inside.qcow2"]);
    dir.qemu_io("inside.qcow2", &["write -P 0x66 0 128k"]);
    dir.qemu_img(&["snapshot", "-c", "two", "inside.qcow2"]);
    dir.qemu_io("inside.qcow2", &["write -P 0x77 64k 128k"]);
    for (name, cluster) in [("zip.qcow2", "64k"), ("zip512.qcow2", "512"), ("zip2M.qcow2", "2M")] {
        let options = format!("cluster_size={cluster}");
        dir.qemu_img(&["convert", "-c", "-f", "qcow2", "-O", "qcow2", "-o", &options, "c64k.qcow2", name]);
        names.push(name.to_owned());
    }
    // The corrupt bit, which no option sets (incompatible_features, bit 1).
    File::options().write(true).open(dir.path("corrupt.qcow2")).unwrap().write_all_at(&[2], 79).unwrap();
    names.push("v2.qcow2".to_owned());
    names.push(dirty_image(dir));
    names
}

/// An image whose QEMU was killed with lazy refcounts on: its refcounts are wrong, and the dirty bit is set.
pub fn dirty_image(dir: &Dir) -> String {
    use std::io::Write;
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "dirty.qcow2", "16M"]);
    let mut child =
        dir.command("qemu-io", &["dirty.qcow2"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("qemu-io");
    child.stdin.as_mut().unwrap().write_all(b"write -P 0x99 5M 1M\nflush\n").unwrap();
    let file = File::open(dir.path("dirty.qcow2")).unwrap();
    let mut bit = [0];
    let entry = |at: u64| {
        let mut entry = [0; 8];
        file.read_exact_at(&mut entry, at).map_or(0, |()| u64::from_be_bytes(entry))
    };
    for _ in 0..500 {
        file.read_exact_at(&mut bit, 79).unwrap();
        // The flush writes the L2 entry of the last cluster, 5M + 15 * 64K.
        let l2 = entry(0x30000) & 0x00ff_ffff_ffff_fe00;
        if bit[0] & 1 != 0 && l2 != 0 && entry(l2 + 95 * 8) != 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(bit[0] & 1, 1, "qemu-io sets the dirty bit");
    "dirty.qcow2".to_owned()
}

/// Whether `pcvm` may serve the image as a machine's disk.
pub fn served(path: &Path) -> bool {
    use pcvm::block::qcow2::{Access, Header, unsupported};
    let file = File::open(path).unwrap();
    unsupported(&Header::read(&file).unwrap(), Access::Write).is_none()
}
