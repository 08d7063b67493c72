//! Bad input that needs no guest and no KVM: one line on standard error and the exit status, each.

use std::ffi::OsStr;
use std::fs::{self, File};
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

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Runs `pcvm run` with these arguments in `dir`; it must fail with exactly this status and line.
#[track_caller]
fn fails(dir: &Path, args: &[&str], status: i32, line: &str) {
    let output = pcvm(dir).arg("run").args(args).output().unwrap();
    assert_eq!(told(&output), (Some(status), String::new(), format!("pcvm: {line}\n")), "{args:?}");
}

/// A directory with a file of each kind.
fn files() -> TempDir {
    let dir = TempDir::new().unwrap();
    let sized = |name: &str, size: u64| File::create(dir.path().join(name)).unwrap().set_len(size).unwrap();
    for name in ["a.img", "b.img", "c.img", "d.img", "e.img", "x,y.img"] {
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
fn images_that_cannot_be_used() {
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
    fails(at, &["--disk", "a.img", "--disk", "a.img"], 1, "a.img: is in use by another machine or drive");
    fails(at, &["--disk", "a.img,readonly", "--disk", "./a.img"], 1, "./a.img: is in use by another machine or drive");
}

#[test]
fn images_without_permission() {
    let dir = files();
    let at = dir.path();
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    let mode = |name: &str, mode| fs::set_permissions(at.join(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("a.img", 0o000);
    mode("b.img", 0o444);
    mode("cd.iso", 0o000);
    mode("tiny.bin", 0o000);
    // Root may read everything; somebody else has to try, and must be able to run the program.
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
        // Nobody but the owner may make files here.
        let mut command = if root {
            let mut command = Command::new(&program);
            command.current_dir(at).stdin(Stdio::null()).uid(NOBODY).gid(NOBODY);
            command
        } else {
            if args[0] == "--serial" {
                continue;
            }
            pcvm(at)
        };
        let output = command.arg("run").args(args).output().unwrap();
        assert_eq!(told(&output), (Some(1), String::new(), format!("pcvm: {line}\n")), "{args:?}");
    }
}

#[test]
fn firmware_and_kernels_that_cannot_be_used() {
    let dir = files();
    let at = dir.path();
    let size = |name: &str, bytes: u64| {
        format!("firmware {name}: {bytes} bytes is not a multiple of 64 KiB from 64 KiB to 16 MiB")
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
    fails(at, &["--kernel", "a.img", "--initrd", "absent"], 1, "absent: No such file or directory");
    fails(
        at,
        &["--kernel", "a.img", "--firmware", "tiny.bin"],
        2,
        "the argument '--kernel <FILE>' cannot be used with '--firmware <FILE>'; try 'pcvm run --help'",
    );
    fails(
        at,
        &["--append", "quiet"],
        2,
        "the following required arguments were not provided: --kernel <FILE>; try 'pcvm run --help'",
    );
}

#[test]
fn a_fifth_drive_and_two_on_one_unit() {
    let dir = files();
    let at = dir.path();
    let five = ["--disk", "a.img", "--disk", "b.img", "--disk", "c.img", "--disk", "d.img", "--disk", "e.img"];
    fails(at, &five, 2, "--disk e.img: no IDE unit is left for it: there are four, hda to hdd");
    let with_cd = ["--disk", "a.img", "--disk", "b.img", "--disk", "c.img", "--disk", "d.img", "--cdrom", "cd.iso"];
    fails(at, &with_cd, 2, "--disk d.img: no IDE unit is left for it: there are four, hda to hdd");
    let cds = ["--cdrom", "none", "--cdrom", "none", "--cdrom", "none", "--cdrom", "none", "--cdrom", "cd.iso"];
    fails(at, &cds, 2, "--cdrom cd.iso: no IDE unit is left for it: there are four, hda to hdd");
    let twice = ["--disk", "a.img,unit=hdb", "--cdrom", "cd.iso,unit=hdb"];
    fails(at, &twice, 2, "--cdrom cd.iso,unit=hdb: hdb has a drive already");
}

#[test]
fn nonsense_options() {
    let dir = files();
    let at = dir.path();
    let not_a_size = "is not a size (a number of MiB, or a number with K, M, G or T)";
    for (args, line) in [
        (&["--memory", "lots"][..], format!("--memory: 'lots' {not_a_size}")),
        (&["--memory", "-1"], "unexpected argument '-1' found; try 'pcvm run --help'".to_owned()),
        (&["--memory", ""], format!("--memory: '' {not_a_size}")),
        (&["--memory", "0"], "--memory: 0 is not between 1M and 1T".to_owned()),
        (&["--memory", "2T"], "--memory: 2T is not between 1M and 1T".to_owned()),
        (&["--memory", "1500K"], "--memory: 1500K is not a whole number of MiB".to_owned()),
        (&["--cpus", "0"], "--cpus: number '0' is not from 1 to 64".to_owned()),
        (&["--cpus", "65"], "--cpus: number '65' is not from 1 to 64".to_owned()),
        (&["--cpus", "3,sockets=2"], "--cpus: 3 processors cannot be 2 sockets of 1 cores of 1 threads".to_owned()),
        (&["--disk", ""], "--disk : no file name given".to_owned()),
        (&["--disk", "a.img,unit=sda"], "--disk a.img,unit=sda: unit is 'sda', not hda, hdb, hdc or hdd".to_owned()),
        (
            &["--disk", "a.img,format=qcow2"],
            "--disk a.img,format=qcow2: unknown option 'format=qcow2' (known: unit, readonly, serial)".to_owned(),
        ),
        (&["--disk", "x,y.img"], "--disk x,y.img: unknown option 'y.img' (known: unit, readonly, serial)".to_owned()),
        (&["--cdrom", "cd.iso,readonly=off"], "--cdrom cd.iso,readonly=off: a CD-ROM is always read-only".to_owned()),
        (&["--boot", "cx"], "--boot: 'x' is no boot device (a floppy, c disk, d CD-ROM, n network)".to_owned()),
        (&["--boot", ""], "--boot: must not be empty".to_owned()),
        (&["--boot", "cc"], "--boot: 'c' is there twice".to_owned()),
        (&["--serial", "tcp:1"], "--serial: 'tcp:1' is not stdio, pty, file:PATH, null or none".to_owned()),
        (&["--serial", "stdio", "--serial", "stdio"], "--serial stdio: only one port can have the terminal".to_owned()),
        (&["--display", "gtk"], "--display: 'gtk' is not none, terminal or sdl".to_owned()),
        (
            &["--display", "terminal", "--serial", "stdio"],
            "--serial stdio: --display terminal has the terminal; try --serial pty".to_owned(),
        ),
        (&["--vga", "cirrus"], "--vga: 'cirrus' is not std or none".to_owned()),
        (&["--vga", "std,vram=24M"], "--vga: vram is '24M', not a power of two from 1M to 256M".to_owned()),
        (&["--vga", "std,memory=16"], "--vga: unknown option 'memory=16' (known: vram)".to_owned()),
        (&["--vga", "none,vram=16M"], "--vga: without an adapter there is no vram=16M".to_owned()),
        (&["--vga", "none", "--vnc", ":1"], "--vga none: the machine has no screen for VNC".to_owned()),
        (&["--vga", "none", "--display", "terminal"], "--vga none: the machine has no screen for --display".to_owned()),
        (
            &["--name", "a/b"],
            "--name: a name has at most 64 characters, none of them a slash or a control character".to_owned(),
        ),
        (
            &["--vnc", "5901"],
            "--vnc: '5901' is not HOST:DISPLAY (such as 127.0.0.1:1; displays are 0 to 59635) or unix:PATH".to_owned(),
        ),
        (
            &["--vnc", ":59636"],
            "--vnc: ':59636' is not HOST:DISPLAY (such as 127.0.0.1:1; displays are 0 to 59635) or unix:PATH"
                .to_owned(),
        ),
        (&["--vnc", "unix:"], "--vnc: no file name given".to_owned()),
        (
            &["--vnc-password", "x"],
            "--vnc-password, --vnc-cert and --vnc-websocket need --vnc or --vnc-unused".to_owned(),
        ),
        (&["--vnc", "unix:x", "--vnc-unused"], "--vnc-unused: a Unix socket has no display number".to_owned()),
        (
            &["--vnc", ":1", "--vnc-websocket", "x"],
            "--vnc-websocket: ':x' is not PORT or HOST:PORT (such as 127.0.0.1:5700)".to_owned(),
        ),
        (
            &["--vnc", ":1", "--vnc-cert", "x"],
            "the following required arguments were not provided: --vnc-key <FILE>; try 'pcvm run --help'".to_owned(),
        ),
        (&["--control", "tcp:1"], "--control: 'tcp:1' is not none or unix:PATH".to_owned()),
        (&["--control", "unix:"], "--control: no file name given".to_owned()),
        (
            &["--rtc", "tomorrow"],
            "--rtc: 'tomorrow' is not utc, localtime or a date such as 2006-06-17T16:01:21".to_owned(),
        ),
        (&["--rtc", "2101-01-01"], "--rtc: the year 2101 is not between 1970 and 2099".to_owned()),
        (&["--name", ""], "--name: must not be empty".to_owned()),
        (
            &["--firmware", ""],
            "a value is required for '--firmware <FILE>' but none was supplied; try 'pcvm run --help'".to_owned(),
        ),
        (&["--memroy", "1"], "unexpected argument '--memroy' found (a similar argument exists: '--memory')".to_owned()),
        (
            &["--memory", "1", "--memory", "2"],
            "the argument '--memory <SIZE>' cannot be used multiple times; try 'pcvm run --help'".to_owned(),
        ),
        (&["stray"], "unexpected argument 'stray' found; try 'pcvm run --help'".to_owned()),
        (&["--disk", "a\nb,unit=x"], "--disk a\\nb,unit=x: unit is 'x', not hda, hdb, hdc or hdd".to_owned()),
    ] {
        fails(at, args, 2, &line);
    }
    let mut five = Vec::new();
    for _ in 0..5 {
        five.extend(["--serial", "null"]);
    }
    fails(at, &five, 2, "--serial null: there are four serial ports, COM1 to COM4");
}

#[test]
fn more_memory_than_the_host_has() {
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
fn serial_ports_that_cannot_be_opened() {
    let dir = files();
    fails(dir.path(), &["--serial", "file:dir"], 1, "dir: is a directory");
    fails(dir.path(), &["--serial", "file:no/log"], 1, "no/log: No such file or directory");
    fails(dir.path(), &["--debugcon", "dir"], 1, "dir: is a directory");
}

#[test]
fn control_sockets_that_cannot_be() {
    let dir = files();
    let long = "x".repeat(200);
    for (path, why) in [
        ("a.img", "the file exists and is no socket"),
        ("dir", "the file exists and is no socket"),
        ("no/socket", "No such file or directory"),
        (&long, "File name too long"),
    ] {
        fails(dir.path(), &["--control", &format!("unix:{path}")], 1, &format!("socket {path}: {why}"));
    }
}

#[test]
fn vnc_servers_that_cannot_be() {
    let dir = files();
    let at = dir.path();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    if let Some(display) = port.checked_sub(5900) {
        let line = format!("VNC on 127.0.0.1:{port}: Address already in use");
        fails(at, &["--vnc", &format!("127.0.0.1:{display}")], 1, &line);
        fails(at, &["--vnc", "unix:new", "--vnc-websocket", &port.to_string()], 1, &line);
    }
    // TEST-NET-1 (RFC 5737) is no address of this host.
    fails(at, &["--vnc", "192.0.2.1:1"], 1, "VNC on 192.0.2.1:5901: Cannot assign requested address");
    fails(at, &["--vnc", "unix:a.img"], 1, "socket a.img: the file exists and is no socket");
    fails(at, &["--vnc", "unix:new", "--vnc-password", "absent"], 1, "absent: No such file or directory");
    fails(at, &["--vnc", "unix:new", "--vnc-password", "empty"], 1, "empty: has no password in its first line");
    let tls = ["--vnc", "unix:new", "--vnc-cert", "empty", "--vnc-key", "empty"];
    fails(at, &tls, 1, "empty: has no certificate");
    assert!(!at.join("new").exists());
}

#[test]
fn network_cards_that_cannot_be_connected() {
    let dir = files();
    let at = dir.path();
    let kinds = "is not tap, passt, passt=SOCKET, pair:unix:PATH or none";
    fails(at, &["--net", "user"], 2, &format!("--net user: 'user' {kinds}"));
    let mac = "mac is '1', not six bytes such as 00:16:3e:12:34:56, the first one even, and not all zero";
    fails(at, &["--net", "passt,mac=1"], 2, &format!("--net passt,mac=1: {mac}"));
    fails(at, &["--net", "tap,fd=200"], 1, "--net: descriptor 200: not open");
    fails(at, &["--net", "pair:unix:no/socket"], 1, "--net: no/socket: No such file or directory");
    fails(at, &["--net", "passt=absent"], 1, "--net: absent: No such file or directory");
    fails(at, &["--net", "pair:unix:new,dump=dir"], 1, "--net: dir: Is a directory");
    fails(at, &["--net", "pair:unix:new,rom=absent"], 1, "absent: No such file or directory");
    fails(
        at,
        &["--net", "pair:unix:new,rom=a.img"],
        1,
        "a.img: is not an expansion ROM (it must begin with 55h AAh and have at most 1 MiB)",
    );
    let nine = ["--net", "pair:unix:new"].repeat(9);
    fails(at, &nine, 2, "--net: at most 8 network cards");
    assert!(!at.join("new").exists(), "a machine that is not made leaves nothing behind");
}

#[test]
fn machines_that_do_not_run_cannot_be_spoken_to() {
    let dir = files();
    for args in [
        &["screen", "./gone", "--text"][..],
        &["screenshot", "./gone", "a.png"],
        &["type", "./gone", "x"],
        &["key", "./gone", "x"],
        &["wait", "./gone", "--text", "x"],
    ] {
        let line = "pcvm: no machine named './gone' is running (nobody listens at ./gone)\n";
        let output = pcvm(dir.path()).args(args).output().unwrap();
        assert_eq!(told(&output), (Some(1), String::new(), line.to_owned()), "{args:?}");
    }
    for (args, line) in [
        (&["key", "x"][..], "the following required arguments were not provided: <KEY>...; try 'pcvm key --help'"),
        (&["key", "x", "ctrl-"], "ctrl-: a key is missing"),
        (&["screen", "x"], "the following required arguments were not provided: --text; try 'pcvm screen --help'"),
        (&["wait", "x", "--text", "a", "--timeout", "-1"], "--timeout: -1 is not a number of seconds"),
        (&["wait", "x", "--text", "a", "--timeout", "NaN"], "--timeout: NaN is not a number of seconds"),
    ] {
        let output = pcvm(dir.path()).args(args).output().unwrap();
        assert_eq!(told(&output), (Some(2), String::new(), format!("pcvm: {line}\n")), "{args:?}");
    }
}

#[test]
fn a_mistake_is_told_before_any_file_is_touched() {
    let dir = files();
    fs::write(dir.path().join("log"), "precious").unwrap();
    fails(dir.path(), &["--serial", "file:log", "--disk", "absent"], 1, "absent: No such file or directory");
    assert_eq!(fs::read(dir.path().join("log")).unwrap(), b"precious");
}

/// Standard input, output and TERM, and what is said about them.
#[test]
fn a_display_without_a_terminal() {
    let dir = TempDir::new().unwrap();
    let terminal = || {
        use rustix::fs::{Mode, OFlags};
        use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&ours).unwrap();
        let theirs =
            rustix::fs::open(ptsname(&ours, Vec::new()).unwrap(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
        (ours, theirs.unwrap())
    };
    let (ours, theirs) = terminal();
    let is = || Stdio::from(theirs.try_clone().unwrap());
    for (stdin, stdout, kind, line) in [
        (Stdio::null(), is(), "xterm", "standard input is not a terminal"),
        (is(), Stdio::null(), "xterm", "standard output is not a terminal"),
        (is(), is(), "dumb", "a terminal of type 'dumb' cannot show a screen (environment variable TERM)"),
        (is(), is(), "", "a terminal of type '' cannot show a screen (environment variable TERM)"),
    ] {
        let mut command = pcvm(dir.path());
        command.args(["run", "--display", "terminal"]).env("TERM", kind).stdin(stdin).stdout(stdout);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert_eq!(told(&output), (Some(1), String::new(), format!("pcvm: --display terminal: {line}\n")));
    }
    drop(ours);
}

/// A window needs the feature, and a display.
#[test]
fn a_window_that_cannot_be() {
    let dir = TempDir::new().unwrap();
    let window = |path: &OsStr, display: Option<&str>| {
        let mut command = program(path, dir.path());
        command.args(["run", "--serial", "null", "--display", "sdl"]);
        for name in ["WAYLAND_DISPLAY", "DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER"] {
            command.env_remove(name);
        }
        told(&command.envs(display.map(|name| ("DISPLAY", name))).output().unwrap())
    };
    let expect = |status, line| (Some(status), String::new(), format!("pcvm: --display sdl: {line}\n"));
    let without = expect(2, "this pcvm was built without it (cargo build --features sdl)");
    for (display, why) in
        [(None, "there is no display (DISPLAY is not set)"), (Some(":999"), "display ':999' cannot be opened")]
    {
        let said = window(OsStr::new(env!("CARGO_BIN_EXE_pcvm")), display);
        assert_eq!(said, if pcvm::display::HAS_SDL { expect(1, why) } else { without.clone() });
    }
    // What the whole machines run, linked statically, never has it.
    if pcvm::display::HAS_SDL {
        let plain = pcvm_test_host::pcvm_static().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(window(plain.as_os_str(), None), without);
    }
}

#[test]
fn help_and_version() {
    let dir = TempDir::new().unwrap();
    for (args, expect) in [
        (&["--version"][..], "pcvm "),
        (&["--help"], "Exit status:"),
        (&["run", "--help"], "Examples:"),
        (&["run", "-h"], "--memory"),
    ] {
        let (status, out, err) = told(&pcvm(dir.path()).args(args).output().unwrap());
        assert_eq!((status, err.as_str()), (Some(0), ""), "{args:?}");
        assert!(out.contains(expect), "{args:?}: {out}");
        assert!(out.ends_with('\n') && out.lines().all(|line| line.len() <= 100), "{args:?}: {out}");
    }
    let (status, out, err) = told(&pcvm(dir.path()).output().unwrap());
    assert_eq!((status, out, err), (Some(2), String::new(), "pcvm: no command given; try 'pcvm --help'\n".into()));
    let (status, _, err) = told(&pcvm(dir.path()).arg("walk").output().unwrap());
    assert_eq!((status, err.as_str()), (Some(2), "pcvm: unrecognized subcommand 'walk'; try 'pcvm --help'\n"));
}

/// `pcvm run` with a /dev of its own, made by `prepare`, in a mount namespace of its own: for root only.
fn with_dev(prepare: &str) -> Output {
    let script = format!("mount -t tmpfs none /dev && touch /dev/null && {prepare} && exec \"$0\" run --serial none");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_pcvm")]).stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn a_host_without_kvm() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: another /dev cannot be mounted");
        return;
    }
    let line = "pcvm: /dev/kvm: does not exist: load kvm_intel or kvm_amd, with virtualisation enabled in the host's \
                firmware\n";
    assert_eq!(told(&with_dev("true")), (Some(1), String::new(), line.to_owned()));
    // A file that is no device cannot be asked for a machine.
    let (status, _, errors) = told(&with_dev("touch /dev/kvm"));
    assert_eq!((status, errors.starts_with("pcvm: /dev/kvm"), errors.lines().count()), (Some(1), true, 1), "{errors}");
}

#[test]
fn kvm_without_permission() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: cannot become a user without permission");
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
    assert_eq!(told(&output), (Some(1), String::new(), line.to_owned()));
}
