//! Error messages of the command line: one line on standard error and the exit status for each. No guest runs.

use pcvm::config::cpu_model::CpuModel;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const NOBODY: u32 = 65534;

fn pcvm(dir: &Path) -> Command {
    program(OsStr::new(env!("CARGO_BIN_EXE_pcvm")), dir)
}

fn program(path: &OsStr, dir: &Path) -> Command {
    let mut command = Command::new(path);
    command.current_dir(dir).stdin(Stdio::null()).env_remove("PCVM_LOG").env_remove("RUST_LOG");
    command
}

fn outcome(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Asserts that `pcvm run` with these arguments in `dir` fails with this exit status and error line.
#[track_caller]
fn fails(dir: &Path, args: &[&str], status: i32, line: &str) {
    let output = pcvm(dir).arg("run").args(args).output().unwrap();
    assert_eq!(outcome(&output), (Some(status), String::new(), format!("pcvm: {line}\n")), "{args:?}");
}

/// A directory with valid and invalid files.
fn files() -> TempDir {
    let dir = TempDir::new().unwrap();
    let sized = |name: &str, size: u64| File::create(dir.path().join(name)).unwrap().set_len(size).unwrap();
    for name in ["a.img", "b.img"] {
        sized(name, 1 << 20);
    }
    sized("empty", 0);
    sized("odd.img", 1000);
    sized("tiny.bin", 1024);
    sized("uneven.bin", (128 << 10) + 1);
    sized("large.bin", 32 << 20);
    sized("cd.iso", 2048 * 10);
    fs::create_dir(dir.path().join("dir")).unwrap();
    dir
}

#[test]
fn an_unusable_disk_image_is_an_error() {
    let dir = files();
    let at = dir.path();
    for flag in ["--disk", "--cdrom"] {
        fails(at, &[flag, "absent"], 1, "absent: No such file or directory");
        fails(at, &[flag, "a.img/b"], 1, "a.img/b: Not a directory");
        fails(at, &[flag, "empty"], 1, "empty: is empty");
        fails(at, &[flag, "dir"], 1, "dir: is a directory, not a file or a block device");
        fails(at, &[flag, "/dev/null"], 1, "/dev/null: is a character device, not a file or a block device");
    }
    fails(at, &["--disk", "odd.img"], 1, "odd.img: 1000 bytes is not a whole number of 512-byte sectors");
    fails(at, &["--disk", "a.img", "--disk", "a.img"], 1, "a.img: is in use by this pcvm");
    fails(at, &["--disk", "a.img,readonly", "--disk", "./a.img"], 1, "./a.img: is in use by this pcvm");
}

#[test]
fn a_file_without_permission_is_an_error() {
    let dir = files();
    let at = dir.path();
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    let mode = |name: &str, mode| fs::set_permissions(at.join(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("a.img", 0o000);
    mode("b.img", 0o444);
    mode("cd.iso", 0o000);
    mode("tiny.bin", 0o000);
    // Root can read every file, so another user runs a copy of the program.
    let program = at.join("pcvm");
    let root = rustix::process::geteuid().is_root();
    if root {
        fs::copy(env!("CARGO_BIN_EXE_pcvm"), &program).unwrap();
    }
    for (args, line) in [
        (["--disk", "a.img"], "a.img: Permission denied"),
        (["--disk", "a.img,readonly"], "a.img: Permission denied"),
        (["--cdrom", "cd.iso"], "cd.iso: Permission denied"),
        (
            ["--disk", "b.img"],
            "b.img: cannot be written (Permission denied); give 'readonly' to use it without writing",
        ),
        (["--firmware", "tiny.bin"], "firmware tiny.bin: Permission denied"),
        (["--debugcon", "b.img"], "b.img: Permission denied"),
        (["--serial", "file:new.log"], "new.log: Permission denied"),
    ] {
        let mut command = if root {
            let mut command = Command::new(&program);
            command.current_dir(at).stdin(Stdio::null()).uid(NOBODY).gid(NOBODY);
            command
        } else {
            // The test's user owns the directory and can create files in it.
            if args[0] == "--serial" {
                continue;
            }
            pcvm(at)
        };
        let output = command.arg("run").args(args).output().unwrap();
        assert_eq!(outcome(&output), (Some(1), String::new(), format!("pcvm: {line}\n")), "{args:?}");
    }
}

#[test]
fn an_unusable_firmware_or_kernel_file_is_an_error() {
    let dir = files();
    let at = dir.path();
    let size = |name: &str, bytes: u64| {
        format!("firmware {name}: the size must be a multiple of 64 KiB from 64 KiB to 16 MiB, not {bytes} bytes")
    };
    fails(at, &["--firmware", "absent"], 1, "firmware absent: No such file or directory");
    fails(at, &["--firmware", "dir"], 1, "firmware dir: not a regular file");
    fails(at, &["--firmware", "/dev/zero"], 1, "firmware /dev/zero: not a regular file");
    fails(at, &["--firmware", "empty"], 1, &size("empty", 0));
    fails(at, &["--firmware", "tiny.bin"], 1, &size("tiny.bin", 1024));
    fails(at, &["--firmware", "uneven.bin"], 1, &size("uneven.bin", 131_073));
    fails(at, &["--firmware", "large.bin"], 1, &size("large.bin", 33_554_432));
    fails(at, &["--kernel", "absent"], 1, "absent: No such file or directory");
    fails(at, &["--kernel", "dir"], 1, "dir: is a directory");
    fails(at, &["--kernel", "empty"], 1, "empty: is empty");
    let kinds = "neither Linux (bzImage, zImage) nor Multiboot nor an ELF file with a PVH entry";
    fails(at, &["--kernel", "a.img"], 1, &format!("a.img: is not a kernel: {kinds}"));
}

/// Options of `pcvm run` that take a value and are given once, with the value's name in the help text.
const SINGLE: [(&str, &str); 22] = [
    ("--name", "NAME"),
    ("--memory", "SIZE"),
    ("--cpus", "N[,sockets=S][,cores=C][,threads=T]"),
    ("--cpu", "MODEL[,+FEATURE][,-FEATURE]"),
    ("--boot", "LETTERS"),
    ("--firmware", "FILE"),
    ("--kernel", "FILE"),
    ("--initrd", "FILE[,FILE...]"),
    ("--append", "TEXT"),
    ("--display", "none|terminal|sdl"),
    ("--keymap", "LAYOUT"),
    ("--vga", "std[,vram=SIZE]|cirrus|none"),
    ("--vnc", "HOST:DISPLAY|unix:PATH"),
    ("--vnc-password", "FILE"),
    ("--vnc-cert", "FILE"),
    ("--vnc-key", "FILE"),
    ("--vnc-websocket", "[HOST:]PORT"),
    ("--floppy-timing", "fast|real"),
    ("--control", "none|unix:PATH"),
    ("--rtc", "utc|localtime|DATE"),
    ("--trace", "FILE[,FILTER]"),
    ("--debugcon", "FILE"),
];
/// Options that take a value and can be repeated.
const REPEATABLE: [(&str, &str); 5] = [
    ("--disk", "FILE[,KEY=VALUE...]"),
    ("--cdrom", "DISC|none[,KEY=VALUE...]"),
    ("--floppy", "FILE|empty|none[,unit=fda|fdb][,drive=TYPE][,readonly][,KEY=VALUE...]"),
    ("--net", "tap|passt[=SOCKET]|pair:unix:PATH|none[,KEY=VALUE...]"),
    ("--serial", "stdio|pty|file:PATH|null|none"),
];
/// Options without a value.
const FLAGS: [&str; 4] = ["--tablet", "--vnc-unused", "--press-key-for-cd", "--no-reboot"];

#[test]
fn every_option_of_run_is_in_the_tables_of_errors() {
    let (_, help, _) = outcome(&pcvm(Path::new("/")).args(["run", "--help"]).output().unwrap());
    let option = |line: &str| Some(line.trim_start().strip_prefix("--")?.split([' ', '\n']).next()?.to_owned());
    let listed: BTreeSet<_> = help.lines().filter_map(option).map(|name| format!("--{name}")).collect();
    let tables = SINGLE.iter().chain(&REPEATABLE).map(|(option, _)| option).chain(&FLAGS);
    let tested: BTreeSet<_> = tables.map(|option| (*option).to_owned()).collect();
    assert_eq!(listed, tested);
}

#[test]
fn an_option_without_its_value_or_given_twice_is_a_usage_error() {
    let at = Path::new("/");
    for (option, value) in SINGLE.into_iter().chain(REPEATABLE) {
        fails(at, &[option], 2, &format!("{option} needs a value: write {option} <{value}>"));
    }
    for (option, _) in SINGLE {
        fails(at, &[option, "1", option, "1"], 2, &format!("{option} is given twice"));
    }
    for option in FLAGS {
        fails(at, &[option, option], 2, &format!("{option} is given twice"));
        fails(at, &[&format!("{option}=on")], 2, &format!("{option} takes no value: remove '=on'"));
    }
}

/// The usage errors of `pcvm run`, by option.
#[rustfmt::skip]
const USAGE_ERRORS: &[(&[&str], &str)] = &[
    (&["--name", ""], "--name: must not be empty"),
    (&["--name", "a/b"], "--name: must have at most 64 characters, without slashes and control characters"),
    (&["--name", "a\nb"], "--name: must have at most 64 characters, without slashes and control characters"),
    (&["--memory", ""], "--memory: must be a number of MiB, or a number with K, M, G or T, not ''"),
    (&["--memory", "lots"], "--memory: must be a number of MiB, or a number with K, M, G or T, not 'lots'"),
    (&["--memory", "-1"], "--memory: must be a number of MiB, or a number with K, M, G or T, not '-1'"),
    (&["--memory", "0"], "--memory: must be 1M to 1T, not '0'"),
    (&["--memory", "2T"], "--memory: must be 1M to 1T, not '2T'"),
    (&["--memory", "1500K"], "--memory: must be a multiple of 1M, not '1500K'"),
    (&["--cpus", "0"], "--cpus: the number of vCPUs must be 1 to 64, not '0'"),
    (&["--cpus", "65"], "--cpus: the number of vCPUs must be 1 to 64, not '65'"),
    (&["--cpus", "-1"], "--cpus: the number of vCPUs must be 1 to 64, not '-1'"),
    (&["--cpus", "4,threads=x"], "--cpus: threads must be 1 to 64, not 'x'"),
    (&["--cpus", "4,cores=2,cores=2"], "--cpus: 'cores' is given twice"),
    (&["--cpus", "4,dies=2"], "--cpus: unknown key 'dies' (keys: sockets, cores, threads)"),
    (&["--cpus", "4,"], "--cpus: nothing follows a comma (keys: sockets, cores, threads)"),
    (&["--cpus", "3,sockets=2"], "--cpus: sockets=2 x cores=1 x threads=1 is 2, not 3 vCPUs"),
    (&["--cpus", "sockets=9,cores=9"], "--cpus: 81 vCPUs are too many: at most 64 are supported"),
    (&["--disk", ""], "--disk '': no file name given"),
    (&["--disk", ",unit=hda"], "--disk ,unit=hda: no file name given"),
    (&["--disk", "a.img,unit=sda"], "--disk a.img,unit=sda: unit must be hda, hdb, hdc or hdd, not 'sda'"),
    (&["--disk", "a.img,unit"], "--disk a.img,unit: unit must be hda, hdb, hdc or hdd, not ''"),
    (&["--disk", "a.img,unit=hda,unit=hda"], "--disk a.img,unit=hda,unit=hda: 'unit' is given twice"),
    (&["--disk", "a.img,readonly=1"], "--disk a.img,readonly=1: readonly must be on or off, not '1'"),
    (&["--disk", "a.img,serial="], "--disk a.img,serial=: serial must be 1 to 20 printable ASCII characters without a space at either end, not ''"),
    (&["--disk", "a.img,format=vhd"], "--disk a.img,format=vhd: format must be raw, qcow2 or vmdk, not 'vhd'"),
    (&["--cdrom", "a.iso,format=qcow2"], "--cdrom a.iso,format=qcow2: unknown key 'format' (keys: unit, readonly, serial, reconnect, tls-ca)"),
    (&["--disk", "x,y.img"], "--disk x,y.img: unknown key 'y.img' (keys: unit, format, cache, readonly, snapshot, serial, discard, size, iops, iops-burst, bps, bps-burst, limit-group, werror, rerror, backing-dir, reconnect, tls-ca); write a comma in a file name twice"),
    (&["--disk", "a.img,"], "--disk a.img,: nothing follows a comma (keys: unit, format, cache, readonly, snapshot, serial, discard, size, iops, iops-burst, bps, bps-burst, limit-group, werror, rerror, backing-dir, reconnect, tls-ca)"),
    (&["--disk", "a\nb,unit=x"], "--disk a\\nb,unit=x: unit must be hda, hdb, hdc or hdd, not 'x'"),
    (&["--disk", "a", "--disk", "b", "--disk", "c", "--disk", "d", "--disk", "e.img"], "--disk e.img: all four IDE units (hda to hdd) already have a drive"),
    (&["--disk", "a", "--disk", "b", "--disk", "c", "--disk", "d", "--cdrom", "e"], "--disk d: all four IDE units (hda to hdd) already have a drive"),
    (&["--cdrom", ""], "--cdrom '': no file name given"),
    (&["--cdrom", "a,unit=1"], "--cdrom a,unit=1: unit must be hda, hdb, hdc or hdd, not '1'"),
    (&["--cdrom", "a,serial=\u{e4}"], "--cdrom a,serial=\u{e4}: serial must be 1 to 20 printable ASCII characters without a space at either end, not '\u{e4}'"),
    (&["--cdrom", "cd.iso,readonly=off"], "--cdrom cd.iso,readonly=off: a CD-ROM is always read-only: remove 'readonly=off'"),
    (&["--cdrom", "none", "--cdrom", "none", "--cdrom", "none", "--cdrom", "none", "--cdrom", "e"], "--cdrom e: all four IDE units (hda to hdd) already have a drive"),
    (&["--disk", "a.img,unit=hdb", "--cdrom", "cd.iso,unit=hdb"], "--cdrom cd.iso,unit=hdb: IDE unit hdb already has a drive"),
    (&["--floppy", ""], "--floppy '': no file name given"),
    (&["--floppy", "a.img,unit=hda"], "--floppy a.img,unit=hda: unit must be fda or fdb, not 'hda'"),
    (&["--floppy", "a.img,drive=5"], "--floppy a.img,drive=5: drive must be 360, 720, 1.2, 1.44 or 2.88, not '5'"),
    (&["--floppy", "a.img,serial=1"], "--floppy a.img,serial=1: unknown key 'serial' (keys: unit, drive, format, cache, readonly, snapshot, size, werror, rerror)"),
    (&["--floppy", "none,unit=fda"], "--floppy none,unit=fda: 'none' has no keys: remove 'unit=fda'"),
    (&["--floppy", "empty,readonly"], "--floppy empty,readonly: an empty drive has only the keys 'unit' and 'drive': remove 'readonly'"),
    (&["--floppy", "none", "--floppy", "a"], "--floppy none: 'none' means no floppy drives: remove it or the other --floppy"),
    (&["--floppy", "a", "--floppy", "b", "--floppy", "c"], "--floppy c: both floppy units (fda and fdb) already have a drive"),
    (&["--floppy", "a,unit=fdb", "--floppy", "b,unit=fdb"], "--floppy b,unit=fdb: floppy unit fdb already has a drive"),
    (&["--floppy-timing", "slow"], "--floppy-timing: must be fast or real, not 'slow'"),
    (&["--boot", ""], "--boot: must not be empty"),
    (&["--boot", "cx"], "--boot: 'x' is not a boot device: use a (floppy), c (hard disk), d (CD-ROM) or n (network)"),
    (&["--boot", "cc"], "--boot: 'c' is given twice"),
    (&["--firmware", ""], "--firmware needs a value: write --firmware <FILE>"),
    (&["--initrd", "a"], "--initrd needs --kernel"),
    (&["--append", "quiet"], "--append needs --kernel"),
    (&["--net", ""], "--net '': must be tap, passt, passt=SOCKET, pair:unix:PATH or none, not ''"),
    (&["--net", "user"], "--net user: must be tap, passt, passt=SOCKET, pair:unix:PATH or none, not 'user'"),
    (&["--net", "none,link=up"], "--net none,link=up: 'none' has no keys: remove 'link=up'"),
    (&["--net", "passt,bridge=br0"], "--net passt,bridge=br0: 'bridge' is valid only with 'tap'"),
    (&["--net", "passt,ifname=x"], "--net passt,ifname=x: 'ifname' is valid only with 'tap'"),
    (&["--net", "passt,fd=3"], "--net passt,fd=3: 'fd' is valid only with 'tap'"),
    (&["--net", "pair:unix:a,script=x"], "--net pair:unix:a,script=x: 'script' is valid only with 'tap'"),
    (&["--net", "pair:unix:a,downscript=x"], "--net pair:unix:a,downscript=x: 'downscript' is valid only with 'tap'"),
    (&["--net", "tap,fd=5,ifname=x"], "--net tap,fd=5,ifname=x: 'fd' and 'ifname' exclude each other"),
    (&["--net", "tap,fd=2"], "--net tap,fd=2: fd must be the number of an inherited descriptor, 3 or more, not '2'"),
    (&["--net", "tap,fd=5", "--net", "tap,fd=5"], "--net tap,fd=5: descriptor 5 is already used by another --net"),
    (&["--net", "tap,bridge="], "--net tap,bridge=: bridge must be the name of a network interface (1 to 15 characters), not ''"),
    (&["--net", "tap,ifname=a/b"], "--net tap,ifname=a/b: ifname must be the name of a network interface (1 to 15 characters), not 'a/b'"),
    (&["--net", "tap,script="], "--net tap,script=: script needs a value: write script=FILE"),
    (&["--net", "tap,downscript"], "--net tap,downscript: downscript needs a value: write downscript=FILE"),
    (&["--net", "passt,mac=1"], "--net passt,mac=1: mac must be a unicast address such as 00:16:3e:12:34:56, not '1'"),
    (&["--net", "tap,model=e1000"], "--net tap,model=e1000: model must be rtl8139 (C+) or rtl8139c, not 'e1000'"),
    (&["--net", "tap,link=on"], "--net tap,link=on: link must be up or down, not 'on'"),
    (&["--net", "tap,dump="], "--net tap,dump=: dump needs a value: write dump=FILE"),
    (&["--net", "tap,rom"], "--net tap,rom: rom needs a value: write rom=FILE"),
    (&["--net", "tap,rom=a,rom=b"], "--net tap,rom=a,rom=b: 'rom' is given twice"),
    (&["--net", "tap,vhost=on"], "--net tap,vhost=on: unknown key 'vhost' (keys: bridge, ifname, fd, script, downscript, mac, model, link, dump, rom)"),
    (&["--net", "tap,"], "--net tap,: nothing follows a comma (keys: bridge, ifname, fd, script, downscript, mac, model, link, dump, rom)"),
    (&["--serial", ""], "--serial '': must be stdio, pty, file:PATH, null or none, not ''"),
    (&["--serial", "tcp:1"], "--serial tcp:1: must be stdio, pty, file:PATH, null or none, not 'tcp:1'"),
    (&["--serial", "file:"], "--serial file:: no file name given"),
    (&["--serial", "stdio", "--serial", "stdio"], "--serial stdio: another port already uses standard input and output; use pty, file:PATH or null"),
    (&["--serial", "stdio", "--display", "terminal"], "--serial stdio: --display terminal uses the terminal; use --serial pty"),
    (&["--serial", "null", "--serial", "null", "--serial", "null", "--serial", "null", "--serial", "pty"], "--serial pty: at most four serial ports (COM1 to COM4) are supported"),
    (&["--display", ""], "--display: must be none, terminal or sdl, not ''"),
    (&["--display", "gtk"], "--display: must be none, terminal or sdl, not 'gtk'"),
    (&["--display", "terminal", "--vga", "none"], "--display needs a display adapter: remove --vga none"),
    (&["--vga", ""], "--vga: must be std, cirrus or none, not ''"),
    (&["--vga", "cirrus,vram=4M"], "--vga: 'cirrus' has no keys, and 4M of video memory: remove 'vram=4M'"),
    (&["--vga", "std,vram=24M"], "--vga: vram must be a power of two from 1M to 256M, not '24M'"),
    (&["--vga", "std,vram"], "--vga: vram needs a value: write vram=SIZE"),
    (&["--vga", "std,vram=1M,vram=1M"], "--vga: 'vram' is given twice"),
    (&["--vga", "std,memory=16"], "--vga: unknown key 'memory' (keys: vram)"),
    (&["--vga", "std,"], "--vga: nothing follows a comma (keys: vram)"),
    (&["--vga", "none,vram=16M"], "--vga: 'none' has no keys: remove 'vram=16M'"),
    (&["--vnc", "5901"], "--vnc: must be HOST:DISPLAY such as 127.0.0.1:1 (displays 0 to 59635) or unix:PATH, not '5901'"),
    (&["--vnc", ":59636"], "--vnc: must be HOST:DISPLAY such as 127.0.0.1:1 (displays 0 to 59635) or unix:PATH, not ':59636'"),
    (&["--vnc", "::1:1"], "--vnc: must be HOST:DISPLAY such as 127.0.0.1:1 (displays 0 to 59635) or unix:PATH, not '::1:1'"),
    (&["--vnc", "unix:"], "--vnc: no file name given"),
    (&["--vnc", ":1", "--vga", "none"], "--vnc needs a display adapter: remove --vga none"),
    (&["--vnc-unused", "--vga", "none"], "--vnc-unused needs a display adapter: remove --vga none"),
    (&["--vnc-unused", "--vnc", "unix:x"], "--vnc-unused needs --vnc HOST:DISPLAY: a Unix socket has no display number"),
    (&["--vnc-password", "x"], "--vnc-password needs --vnc or --vnc-unused"),
    (&["--vnc-cert", "x", "--vnc-key", "y"], "--vnc-cert needs --vnc or --vnc-unused"),
    (&["--vnc-cert", "x", "--vnc", ":1"], "--vnc-cert needs --vnc-key"),
    (&["--vnc-key", "x", "--vnc", ":1"], "--vnc-key needs --vnc-cert"),
    (&["--vnc-websocket", "1"], "--vnc-websocket needs --vnc or --vnc-unused"),
    (&["--vnc-websocket", "x", "--vnc", ":1"], "--vnc-websocket: must be PORT or HOST:PORT such as 127.0.0.1:5700, not 'x'"),
    (&["--vnc-websocket", "a:65536", "--vnc", ":1"], "--vnc-websocket: must be PORT or HOST:PORT such as 127.0.0.1:5700, not 'a:65536'"),
    (&["--control", "tcp:1"], "--control: must be none or unix:PATH, not 'tcp:1'"),
    (&["--control", "unix:"], "--control: no file name given"),
    (&["--rtc", "tomorrow"], "--rtc: must be utc, localtime or a date such as 2006-06-17T16:01:21, not 'tomorrow'"),
    (&["--rtc", "2101-01-01"], "--rtc: the year must be 1970 to 2099, not 2101"),
    (&["--trace", ""], "--trace: no file name given"),
    (&["--trace", "t,"], "--trace: nothing follows a comma (keys: access, unclaimed, irq, reset, work, guest-error, device kinds)"),
    (&["--memroy", "1"], "unexpected argument '--memroy'; did you mean '--memory'?"),
    (&["--frobnicate"], "unexpected argument '--frobnicate'; try 'pcvm run --help'"),
    (&["stray"], "unexpected argument 'stray'; try 'pcvm run --help'"),
    (&["disk.img"], "unexpected argument 'disk.img'; did you mean 'pcvm run --disk disk.img'?"),
    // Options of QEMU. All of them are in the tests of `src/cli/hints.rs`.
    (&["-m", "512"], "unexpected argument '-m'; did you mean '--memory 512'?"),
    (&["-hda", "x"], "unexpected argument '-hda'; did you mean '--disk x'?"),
    (&["-cdrom", "x.iso"], "unexpected argument '-cdrom'; did you mean '--cdrom x.iso'?"),
    (&["-boot", "d"], "unexpected argument '-boot'; did you mean '--boot d'?"),
    (&["-smp", "2"], "unexpected argument '-smp'; did you mean '--cpus 2'?"),
    (&["-vnc", ":1"], "unexpected argument '-vnc'; did you mean '--vnc :1'?"),
    (&["-net", "user"], "unexpected argument '-net'; did you mean '--net passt'?"),
    (&["-enable-kvm"], "unexpected argument '-enable-kvm'; leave it out: pcvm always uses KVM"),
    (&["-S"], "unexpected argument '-S'; try 'pcvm run --help'"),
];

#[test]
fn each_usage_error_of_run_is_one_line_with_the_mend() {
    for (args, line) in USAGE_ERRORS {
        fails(Path::new("/"), args, 2, line);
    }
    for model in ["", "i7", "host,frobnicate", "host,+frobnicate"] {
        let why = model.parse::<CpuModel>().unwrap_err();
        fails(Path::new("/"), &["--cpu", model], 2, &format!("--cpu: {why}"));
    }
    let nine = ["--net", "pair:unix:new"].repeat(9);
    fails(Path::new("/"), &nine, 2, "--net pair:unix:new: at most 8 network cards are supported");
    let absent = OsStr::from_bytes(b"\xff,unit=x");
    let output = pcvm(Path::new("/")).args(["run", "--disk"]).arg(absent).output().unwrap();
    let line = "pcvm: --disk \u{fffd},unit=x: unit must be hda, hdb, hdc or hdd, not 'x'\n";
    assert_eq!(outcome(&output), (Some(2), String::new(), line.to_owned()));
}

/// The usage errors of the other commands.
#[rustfmt::skip]
const OTHER_USAGE_ERRORS: &[(&[&str], &str)] = &[
    (&[], "no command given; try 'pcvm --help'"),
    (&["walk"], "unknown command 'walk'; try 'pcvm --help'"),
    (&["scren"], "unknown command 'scren'; did you mean 'screen'?"),
    (&["disk.img"], "unknown command 'disk.img'; did you mean 'pcvm run --disk disk.img'?"),
    (&["./debian.iso"], "unknown command './debian.iso'; did you mean 'pcvm run --cdrom ./debian.iso'?"),
    (&["-m", "512"], "no command given; did you mean 'pcvm run --memory 512'?"),
    (&["--memory", "512"], "no command given; did you mean 'pcvm run --memory 512'?"),
    (&["--frobnicate"], "unexpected argument '--frobnicate'; try 'pcvm --help'"),
    (&["demo", "x"], "unexpected argument 'x'; try 'pcvm demo --help'"),
    (&["demo", "--firmware"], "--firmware needs a value: write --firmware <FILE>"),
    (&["screenshot"], "missing arguments: <NAME> <FILE>; try 'pcvm screenshot --help'"),
    (&["screenshot", "x"], "missing argument: <FILE>; try 'pcvm screenshot --help'"),
    (&["screenshot", "x", "a.gif"], "a.gif: the file name must end with .png or .ppm"),
    (&["screen", "x"], "missing argument: --text; try 'pcvm screen --help'"),
    (&["type", "x"], "missing argument: <TEXT>; try 'pcvm type --help'"),
    (&["type", "x", "a", "b"], "unexpected argument 'b'; try 'pcvm type --help'"),
    (
        &["type", "x", "na\u{ef}ve", "--keymap", "en-us"],
        "'\u{ef}' has no key on the keyboard layout en-us (English (US))",
    ),
    (&["type", "x", "na\u{ef}ve \u{42f}", "--keymap", "de"], "'\u{42f}' has no key on the keyboard layout de (German)"),
    (&["type", "x", "a", "--pace", "0"], "--pace: must be 1 to 60000, not '0'"),
    (
        &["type", "x", "a", "--keymap", "xx"],
        "--keymap: unknown keyboard layout 'xx' (layouts: ar, bepo, cz, da, de, de-ch, el, en-gb, en-us, es, et, fi, fo, fr, \
         fr-be, fr-ca, fr-ch, hr, hu, is, it, ja, lt, lv, mk, nl, no, pl, pt, pt-br, ro, ru, sk, sl, sv, th, tr, uk, us-intl)",
    ),
    (
        &["run", "--keymap", "deutsch"],
        "--keymap: unknown keyboard layout 'deutsch' (layouts: ar, bepo, cz, da, de, de-ch, el, en-gb, en-us, es, et, fi, fo, \
         fr, fr-be, fr-ca, fr-ch, hr, hu, is, it, ja, lt, lv, mk, nl, no, pl, pt, pt-br, ro, ru, sk, sl, sv, th, tr, uk, \
         us-intl)",
    ),
    (&["key", "x"], "missing argument: <KEY>...; try 'pcvm key --help'"),
    (&["key", "x", "f13"], "f13: unknown key 'f13'"),
    (&["key", "x", "ctrl-hyper-a"], "ctrl-hyper-a: unknown key 'hyper'"),
    (&["key", "x", "ctrl-"], "ctrl-: a key is missing"),
    (&["key", "x", "--hold", "0", "a"], "--hold: must be 1 to 60000, not '0'"),
    (&["key", "x", "--hold", "a", "a"], "--hold: invalid digit found in string, not 'a'"),
    (&["mouse", "x"], "missing arguments: <DX> <DY>; try 'pcvm mouse --help'"),
    (&["mouse", "x", "1"], "missing argument: <DY>; try 'pcvm mouse --help'"),
    (&["mouse", "x", "1", "99999"], "[DY]: must be -10000 to 10000, not '99999'"),
    (&["mouse", "x", "--to", "1"], "2 values required for '--to <X> <Y>' but 1 was provided; try 'pcvm mouse --help'"),
    (&["mouse", "x", "--to", "1", "65536"], "--to: must be 0 to 65535, not '65536'"),
    (&["mouse", "x", "--to", "1", "2", "1", "2"], "--to and [DX] exclude each other"),
    (&["mouse", "x", "1", "2", "--click", "side"], "--click: must be left, middle or right, not 'side'"),
    (&["link", "x", "0"], "missing argument: <STATE>; try 'pcvm link --help'"),
    (&["link", "x", "256", "up"], "<NIC>: must be 0 to 255, not '256'"),
    (&["link", "x", "0", "on"], "<STATE>: must be up or down, not 'on'"),
    (&["cd", "x"], "missing argument: <insert|eject>; try 'pcvm cd --help'"),
    (&["cd", "x", "insert"], "missing argument: <FILE>; try 'pcvm cd --help'"),
    (&["cd", "x", "swap", "a.iso"], "<insert|eject>: must be insert or eject, not 'swap'"),
    (&["cd", "x", "eject", "a.iso"], "a.iso: 'eject' takes no file; write 'insert' to change the medium"),
    (&["cd", "x", "eject", "--unit", "fda"], "--unit: must be hda, hdb, hdc or hdd, not 'fda'"),
    (&["floppy", "x", "insert"], "missing argument: <FILE>; try 'pcvm floppy --help'"),
    (&["floppy", "x", "eject", "--readonly"], "--readonly: belongs to 'insert'"),
    (&["floppy", "x", "eject", "--force"], "unexpected argument '--force'; try 'pcvm floppy --help'"),
    (&["wait", "x"], "missing argument: --text <REGEX>; try 'pcvm wait --help'"),
    (&["wait", "x", "--text", "("], "--text: unclosed group"),
    (&["wait", "x", "--text", "a", "--timeout", "-1"], "--timeout: must be a number of seconds, not '-1'"),
    (&["wait", "x", "--text", "a", "--timeout", "NaN"], "--timeout: must be a number of seconds, not 'NaN'"),
    (&["stats"], "missing argument: <NAME>; try 'pcvm stats --help'"),
    (&["stats", "x", "--interval", "3601"], "--interval: must be 0 to 3600, not '3601'"),
    (&["trace", "x"], "missing argument: <FILE[,FILTER]|off>; try 'pcvm trace --help'"),
    (&["trace", "x", ",irq"], "no file name given"),
    (&["generate", "man"], "missing argument: <DIR>; try 'pcvm generate --help'"),
    (&["generate", "info", "x"], "<KIND>: must be man or completions, not 'info'"),
];

#[test]
fn each_usage_error_of_the_other_commands_is_one_line_with_the_mend() {
    for (args, line) in OTHER_USAGE_ERRORS {
        let output = pcvm(Path::new("/")).args(*args).output().unwrap();
        assert_eq!(outcome(&output), (Some(2), String::new(), format!("pcvm: {line}\n")), "{args:?}");
    }
}

#[test]
fn more_memory_than_the_host_has_is_an_error() {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let kib = |name: &str| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let mib = (kib("MemTotal:") + kib("SwapTotal:")) >> 10;
    if mib >= 1 << 20 {
        return;
    }
    let line = format!("--memory: 1048576 MiB is more than the host has ({mib} MiB of memory and swap)");
    fails(Path::new("/"), &["--memory", "1T"], 1, &line);
}

#[test]
fn a_serial_port_that_cannot_be_opened_is_an_error() {
    let dir = files();
    fails(dir.path(), &["--serial", "file:dir"], 1, "dir: is a directory");
    fails(dir.path(), &["--serial", "file:no/log"], 1, "no/log: No such file or directory");
    fails(dir.path(), &["--debugcon", "dir"], 1, "dir: is a directory");
}

#[test]
fn a_control_socket_that_cannot_be_bound_is_an_error() {
    let dir = files();
    let long = "x".repeat(200);
    for (path, why) in [
        ("a.img", "the file exists and is not a socket"),
        ("dir", "the file exists and is not a socket"),
        ("no/socket", "No such file or directory"),
        (&long, "File name too long"),
    ] {
        fails(dir.path(), &["--control", &format!("unix:{path}")], 1, &format!("socket {path}: {why}"));
    }
}

#[test]
fn a_vnc_server_that_cannot_listen_is_an_error() {
    let dir = files();
    let at = dir.path();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    if let Some(display) = port.checked_sub(5900) {
        let line = format!("VNC on 127.0.0.1:{port}: Address already in use");
        fails(at, &["--vnc", &format!("127.0.0.1:{display}")], 1, &line);
        fails(at, &["--vnc", "unix:new", "--vnc-websocket", &port.to_string()], 1, &line);
    }
    // TEST-NET-1 (RFC 5737): not an address of this host.
    fails(at, &["--vnc", "192.0.2.1:1"], 1, "VNC on 192.0.2.1:5901: Cannot assign requested address");
    fails(at, &["--vnc", "unix:a.img"], 1, "socket a.img: the file exists and is not a socket");
    fails(at, &["--vnc", "unix:new", "--vnc-password", "absent"], 1, "absent: No such file or directory");
    fails(at, &["--vnc", "unix:new", "--vnc-password", "empty"], 1, "empty: has no password in its first line");
    let tls = ["--vnc", "unix:new", "--vnc-cert", "empty", "--vnc-key", "empty"];
    fails(at, &tls, 1, "empty: has no certificate");
    assert!(!at.join("new").exists());
}

#[test]
fn a_network_backend_that_cannot_be_opened_is_an_error() {
    let dir = files();
    let at = dir.path();
    fails(at, &["--net", "tap,fd=200"], 1, "--net: descriptor 200: not open");
    fails(at, &["--net", "pair:unix:no/socket"], 1, "--net: no/socket: No such file or directory");
    fails(at, &["--net", "passt=absent"], 1, "--net: absent: No such file or directory");
    fails(at, &["--net", "pair:unix:new,dump=dir"], 1, "--net: dir: Is a directory");
    fails(at, &["--net", "pair:unix:new,rom=absent"], 1, "absent: No such file or directory");
    let rom = "a.img: is not an expansion ROM (it must begin with 55h AAh and have at most 1 MiB)";
    fails(at, &["--net", "pair:unix:new,rom=a.img"], 1, rom);
    assert!(!at.join("new").exists(), "a machine that cannot be built leaves its socket behind");
}

#[test]
fn a_command_for_a_machine_that_is_not_running_is_an_error() {
    let dir = files();
    for args in [
        &["screen", "./gone", "--text"][..],
        &["screenshot", "./gone", "a.png"],
        &["type", "./gone", "x"],
        &["key", "./gone", "x"],
        &["wait", "./gone", "--text", "x"],
    ] {
        let line = "pcvm: no machine named './gone' is running: no process listens on ./gone\n";
        let output = pcvm(dir.path()).args(args).output().unwrap();
        assert_eq!(outcome(&output), (Some(1), String::new(), line.to_owned()), "{args:?}");
    }
}

#[test]
fn an_error_is_reported_before_any_file_is_written() {
    let dir = files();
    fs::write(dir.path().join("log"), "precious").unwrap();
    fails(dir.path(), &["--serial", "file:log", "--disk", "absent"], 1, "absent: No such file or directory");
    assert_eq!(fs::read(dir.path().join("log")).unwrap(), b"precious");
}

/// Cases: standard input, standard output, TERM, and the error line.
#[test]
fn the_terminal_display_needs_a_terminal() {
    let dir = TempDir::new().unwrap();
    let terminal = || {
        use rustix::fs::{Mode, OFlags};
        use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        (controller, rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap())
    };
    let (controller, terminal) = terminal();
    let terminal = || Stdio::from(terminal.try_clone().unwrap());
    for (stdin, stdout, kind, line) in [
        (Stdio::null(), terminal(), "xterm", "standard input is not a terminal"),
        (terminal(), Stdio::null(), "xterm", "standard output is not a terminal"),
        (terminal(), terminal(), "dumb", "a terminal of type 'dumb' cannot show a screen (environment variable TERM)"),
        (terminal(), terminal(), "", "a terminal of type '' cannot show a screen (environment variable TERM)"),
    ] {
        let mut command = pcvm(dir.path());
        command.args(["run", "--display", "terminal"]).env("TERM", kind).stdin(stdin).stdout(stdout);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert_eq!(outcome(&output), (Some(1), String::new(), format!("pcvm: --display terminal: {line}\n")));
    }
    drop(controller);
}

#[test]
fn the_sdl_display_needs_the_feature_and_an_x_server() {
    let dir = TempDir::new().unwrap();
    let window = |path: &OsStr, display: Option<&str>| {
        let mut command = program(path, dir.path());
        command.args(["run", "--serial", "null", "--display", "sdl"]);
        for name in ["WAYLAND_DISPLAY", "DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER"] {
            command.env_remove(name);
        }
        outcome(&command.envs(display.map(|name| ("DISPLAY", name))).output().unwrap())
    };
    let expect = |status, line| (Some(status), String::new(), format!("pcvm: --display sdl: {line}\n"));
    let without = expect(2, "this pcvm is built without windows; build it with 'cargo build --features sdl'");
    for (display, why) in
        [(None, "there is no display (DISPLAY is not set)"), (Some(":999"), "display ':999' cannot be opened")]
    {
        let result = window(OsStr::new(env!("CARGO_BIN_EXE_pcvm")), display);
        assert_eq!(result, if pcvm::display::HAS_SDL { expect(1, why) } else { without.clone() });
    }
    // The statically linked build, which tests of whole machines run, never has the feature.
    if pcvm::display::HAS_SDL {
        let plain = pcvm_test_host::pcvm_static().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(window(plain.as_os_str(), None), without);
    }
}

#[test]
fn help_and_version_fit_100_columns_and_exit_with_0() {
    let dir = TempDir::new().unwrap();
    for (args, expect) in [
        (&["--version"][..], "pcvm "),
        (&["--help"], "Exit status:"),
        (&["run", "--help"], "Examples:"),
        (&["run", "-h"], "--memory"),
    ] {
        let (status, out, err) = outcome(&pcvm(dir.path()).args(args).output().unwrap());
        assert_eq!((status, err.as_str()), (Some(0), ""), "{args:?}");
        assert!(out.contains(expect), "{args:?}: {out}");
        assert!(out.ends_with('\n') && out.lines().all(|line| line.len() <= 100), "{args:?}: {out}");
    }
}

#[test]
fn man_pages_and_completions_are_generated_from_the_options() {
    let dir = TempDir::new().unwrap();
    for (kind, files) in [
        ("man", &["pcvm.1", "pcvm-run.1", "pcvm-demo.1", "pcvm-wait.1"][..]),
        ("completions", &["pcvm.bash", "_pcvm", "pcvm.fish"]),
    ] {
        let output = pcvm(dir.path()).args(["generate", kind, "new/dir"]).output().unwrap();
        assert_eq!(outcome(&output), (Some(0), String::new(), String::new()));
        for file in files {
            let text = fs::read_to_string(dir.path().join("new/dir").join(file)).unwrap();
            assert!(!text.contains("generate"), "{file} lists the command for packagers");
            // Man pages escape hyphens.
            let option = text.replace('\\', "").contains("--press-key-for-cd");
            assert!(option || !matches!(*file, "pcvm-run.1" | "pcvm.bash" | "_pcvm"), "{file}");
        }
    }
    let run = fs::read_to_string(dir.path().join("new/dir/pcvm-run.1")).unwrap();
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "KEYS", "EXIT STATUS", "SEE ALSO"] {
        assert!(run.lines().any(|line| line.replace('"', "") == format!(".SH {section}")), "{section}");
    }
    let title = format!(".TH PCVM-RUN 1 \"\" \"pcvm {}\" \"User Commands\"", env!("CARGO_PKG_VERSION"));
    assert_eq!(run.lines().next(), Some(&*title));
    fs::write(dir.path().join("file"), "").unwrap();
    let output = pcvm(dir.path()).args(["generate", "man", "file"]).output().unwrap();
    assert_eq!(outcome(&output), (Some(1), String::new(), "pcvm: file: File exists\n".to_owned()));
}

/// Runs `pcvm run` as root in a new mount namespace, with a /dev that `prepare` fills.
fn with_dev(prepare: &str) -> Output {
    let script = format!("mount -t tmpfs none /dev && touch /dev/null && {prepare} && exec \"$0\" run --serial none");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_pcvm")]).stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn a_host_without_kvm_is_an_error() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: /dev cannot be mounted");
        return;
    }
    let line = "pcvm: /dev/kvm: does not exist: load kvm_intel or kvm_amd, with virtualisation enabled in the host's \
                firmware\n";
    assert_eq!(outcome(&with_dev("true")), (Some(1), String::new(), line.to_owned()));
    // A regular file in place of the device.
    let (status, _, errors) = outcome(&with_dev("touch /dev/kvm"));
    assert_eq!((status, errors.starts_with("pcvm: /dev/kvm"), errors.lines().count()), (Some(1), true, 1), "{errors}");
}

#[test]
fn a_kvm_device_without_permission_is_an_error() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: cannot switch to another user");
        return;
    }
    let dir = files();
    let binary = dir.path().join("pcvm");
    fs::copy(env!("CARGO_BIN_EXE_pcvm"), &binary).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let script = "mount -t tmpfs none /dev && touch /dev/null && mknod -m 600 /dev/kvm c 10 232 && \
                  exec setpriv --reuid 65534 --clear-groups \"$0\" run --serial none";
    let output =
        Command::new("unshare").args(["-m", "sh", "-c", script]).arg(&binary).stdin(Stdio::null()).output().unwrap();
    let line = "pcvm: /dev/kvm: permission denied: add the user to the group that owns it (usually `kvm`)\n";
    assert_eq!(outcome(&output), (Some(1), String::new(), line.to_owned()));
}
