//! Strangers' servers: qemu-nbd, nbdkit and nbd-server.

use super::*;
use crate::block::nbd::wire::ExportFlags;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A server process. It is killed when dropped.
struct Program {
    child: Child,
    dir: tempfile::TempDir,
    socket: PathBuf,
    command: Vec<String>,
}

impl Program {
    /// Starts a server that listens on a Unix socket. `{socket}` and `{dir}` in its arguments stand for the socket and a
    /// folder that has a file `disk` of this many bytes.
    fn start(size: u64, command: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::File::create(dir.path().join("disk")).unwrap().set_len(size).unwrap();
        Self::start_in(dir, command)
    }

    fn start_in(dir: tempfile::TempDir, command: &[&str]) -> Self {
        let socket = dir.path().join("socket");
        let fill = |text: &&str| {
            text.replace("{socket}", socket.to_str().unwrap()).replace("{dir}", dir.path().to_str().unwrap())
        };
        let command: Vec<String> = command.iter().map(fill).collect();
        let child = Self::spawn(&command);
        let program = Self { child, dir, socket, command };
        program.wait();
        program
    }

    fn spawn(command: &[String]) -> Child {
        let mut process = Command::new(&command[0]);
        process.args(&command[1..]).stdin(Stdio::null());
        process.spawn().unwrap_or_else(|error| panic!("{}: {error}; install it as tests/run does", command[0]))
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.listens() {
            assert!(Instant::now() < deadline, "{:?} does not listen", self.command);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the kernel's table says that a process listens on the socket. The file exists a moment earlier, and a
    /// connection for a test would end nbd-server.
    fn listens(&self) -> bool {
        const LISTENING: &str = "00010000";
        let path = self.socket.to_str().unwrap();
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
        sockets.lines().any(|line| line.ends_with(path) && line.split_whitespace().nth(3) == Some(LISTENING))
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        self.child = Self::spawn(&self.command);
    }

    fn disk(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn open(&self, name: &str) -> Result<NbdClient, NbdError> {
        open(&self.socket, name, 60)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const QEMU: [&str; 6] = ["qemu-nbd", "-t", "-k", "{socket}", "-f", "raw"];
const NBDKIT: [&str; 4] = ["nbdkit", "-f", "-U", "{socket}"];

fn qemu(more: &[&str]) -> Program {
    Program::start(1 << 20, &[&QEMU, more].concat())
}

fn nbdkit(more: &[&str]) -> Program {
    Program::start(1 << 20, &[&NBDKIT, more].concat())
}

/// Writes, reads, discards and flushes at aligned and odd places.
fn exercise(client: &NbdClient) {
    assert_eq!(client.size(), 1 << 20);
    let mut model = vec![0; 1 << 20];
    for (n, (offset, len)) in [(0, 4096), (511, 514), (70_000, 200_000), ((1 << 20) - 9, 9)].into_iter().enumerate() {
        let bytes = pattern(len, n as u8);
        client.write_at(&bytes, offset as u64).unwrap();
        model[offset..offset + len].copy_from_slice(&bytes);
    }
    client.write_zeroes(80_001, 100_000, false).unwrap();
    model[80_001..180_001].fill(0);
    client.discard(600_000, 100_000).unwrap();
    client.flush().unwrap();
    assert!(read(client, 0, 600_000) == model[..600_000]);
    assert!(read(client, 700_000, (1 << 20) - 700_000) == model[700_000..]);
}

#[test]
fn qemu_nbd_serves_a_raw_file() {
    let server = qemu(&["{dir}/disk"]);
    let client = server.open("").unwrap();
    exercise(&client);
    let expect = read(&client, 0, 600_000);
    drop(client);
    assert!(std::fs::read(server.disk()).unwrap()[..600_000] == expect);
}

#[test]
fn qemu_nbd_serves_named_exports_in_every_cache_mode() {
    for cache in ["writeback", "writethrough", "none", "directsync", "unsafe"] {
        let server = qemu(&["-x", "a name/with слово", "--discard=unmap", "--cache", cache, "-e", "4", "{dir}/disk"]);
        let error = server.open("").unwrap_err().to_string();
        assert_eq!(error, "the server has no export '', but 'a name/with слово'");
        exercise(&server.open("a%20name/with%20%D1%81%D0%BB%D0%BE%D0%B2%D0%BE").unwrap());
    }
}

#[test]
fn a_read_only_export_needs_the_option_that_says_so() {
    for server in [qemu(&["-r", "{dir}/disk"]), nbdkit(&["-r", "file", "{dir}/disk"])] {
        let error = server.open("").unwrap_err().to_string();
        assert_eq!(error, "the export is read-only; give 'readonly' to use it without writing");
        let client = open_uri(&format!("nbd+unix:///?socket={}", server.socket.display()), 5, true).unwrap();
        assert_eq!(read(&client, 5, 10), [0; 10]);
    }
}

#[test]
fn nbdkit_serves_memory_files_and_filters() {
    for more in [
        &["memory", "1M"][..],
        &["file", "{dir}/disk"],
        &["--filter=noparallel", "file", "{dir}/disk"],
        &["--filter=cow", "file", "{dir}/disk"],
        &["--filter=fua", "memory", "1M", "fuamode=emulate"],
        &["--filter=fua", "memory", "1M", "fuamode=force"],
        &["--filter=nozero", "memory", "1M", "zeromode=none"],
        &["--filter=nozero", "memory", "1M", "zeromode=emulate"],
        &["--filter=multi-conn", "memory", "1M", "multi-conn-mode=disable"],
        &["--filter=delay", "memory", "1M", "rdelay=2ms", "wdelay=2ms"],
        &["--mask-handshake=0", "memory", "1M"],
        &["--mask-handshake=1", "memory", "1M"],
        &["--no-sr", "memory", "1M"],
        &["--no-sr", "--mask-handshake=0", "memory", "1M"],
        &["-t", "1", "memory", "1M"],
    ] {
        let server = nbdkit(more);
        exercise(&server.open("").unwrap_or_else(|error| panic!("{more:?}: {error}")));
    }
}

#[test]
fn block_sizes_that_nbdkit_insists_on_are_kept() {
    for (min, preferred, max) in
        [("512", "4096", "64K"), ("4096", "4096", "1M"), ("64K", "64K", "64K"), ("1", "4096", "5000")]
    {
        let policy = ["blocksize-error-policy=error"];
        let sizes = [
            format!("blocksize-minimum={min}"),
            format!("blocksize-preferred={preferred}"),
            format!("blocksize-maximum={max}"),
        ];
        let sizes = sizes.each_ref().map(String::as_str);
        let filters = ["--filter=blocksize-policy", "memory", "1M"];
        let server = nbdkit(&[&filters[..], &policy, &sizes].concat());
        let client = server.open("").unwrap();
        assert_eq!(client.export.min_block.to_string(), min.replace("64K", "65536"));
        exercise(&client);
    }
}

#[test]
fn errors_that_nbdkit_injects_reach_the_caller() {
    for (error, expect) in
        [("EPERM", libc::EPERM), ("EIO", libc::EIO), ("ENOSPC", libc::ENOSPC), ("ENOMEM", libc::ENOMEM)]
    {
        let error = format!("error={error}");
        let server = nbdkit(&["--filter=error", "memory", "1M", &error, "error-rate=1"]);
        let client = server.open("").unwrap();
        let code = |result: std::io::Result<()>| result.unwrap_err().raw_os_error();
        assert_eq!(code(client.read_at(&mut [0; 512], 0)), Some(expect));
        assert_eq!(code(client.write_at(&[1; 512], 0)), Some(expect));
        assert_eq!(code(client.discard(0, 4096)), Some(expect));
    }
}

#[test]
fn a_plugin_that_fails_once_in_a_while_is_only_an_error_to_its_request() {
    let pread = "pread=dd if=$tmpdir/disk skip=$4 count=$3 iflag=count_bytes,skip_bytes status=none || exit 1";
    let server = nbdkit(&["eval", "get_size=echo 65536", "open=truncate -s 64K $tmpdir/disk", pread]);
    let client = open_uri(&format!("nbd+unix:///?socket={}", server.socket.display()), 5, true).unwrap();
    assert_eq!(read(&client, 100, 50), [0; 50]);
    let server = nbdkit(&["eval", "get_size=echo 65536", "pread=echo EIO broken >&2; exit 1"]);
    let client = open_uri(&format!("nbd+unix:///?socket={}", server.socket.display()), 5, true).unwrap();
    for _ in 0..3 {
        assert_eq!(client.read_at(&mut [0; 512], 0).unwrap_err().raw_os_error(), Some(libc::EIO));
    }
}

#[test]
fn nbd_server_serves_a_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::File::create(dir.path().join("disk")).unwrap().set_len(1 << 20).unwrap();
    let config = format!(
        "[generic]\nunixsock = {0}/socket\nallowlist = true\nport = {1}\n[disk]\nexportname = {0}/disk\nflush = true\nfua = true\ntrim = true\n",
        dir.path().display(),
        free_port(),
    );
    std::fs::write(dir.path().join("config"), config).unwrap();
    let server = Program::start_in(dir, &["nbd-server", "-d", "-C", "{dir}/config"]);
    let error = server.open("disc").unwrap_err().to_string();
    assert_eq!(error, "the server has no export 'disc', but 'disk'");
    exercise(&server.open("disk").unwrap());
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_server_on_tcp_is_found_by_name_and_by_address() {
    let port = free_port();
    let dir = tempfile::tempdir().unwrap();
    let command = ["nbdkit", "-f", "-p", &port.to_string(), "memory", "1M"];
    let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    let socket = dir.path().join("socket");
    let _server = Program { child: Program::spawn(&command), dir, socket, command };
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    for host in ["localhost", "127.0.0.1"] {
        exercise_again(&open_uri(&format!("nbd://{host}:{port}/"), 5, false).unwrap());
    }
    let error = open_uri(&format!("nbd://127.0.0.1:{}/", free_port()), 5, false).unwrap_err().to_string();
    assert_eq!(error, "cannot connect: Connection refused; is the server running?");
    let error = open_uri("nbd://no-such-host.invalid/", 5, false).unwrap_err().to_string();
    assert!(error.starts_with("cannot find the host 'no-such-host.invalid': "), "{error}");
}

fn exercise_again(client: &NbdClient) {
    client.write_at(&pattern(100_000, 1), 12_345).unwrap();
    assert!(read(client, 12_345, 100_000) == pattern(100_000, 1));
}

/// A folder with an authority, a server's certificate for `localhost` and 127.0.0.1, and a client's.
fn certificates(dir: &Path) {
    let script = r#"
        set -e
        cd "$1"
        new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1-key.pem" -subj "/CN=$1" "${@:2}"; }
        new ca -x509 -out ca-cert.pem -days 30
        for who in server client; do
            new $who -out $who.csr
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > ext
            openssl x509 -req -in $who.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 30 -extfile ext -out $who-cert.pem
        done
        mkdir other
        new other -x509 -out other/ca-cert.pem -days 30
        cp ca-cert.pem trusted.pem
    "#;
    let made = Command::new("bash").args(["-c", script, "certificates", dir.to_str().unwrap()]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn tls_is_used_verified_and_never_given_up() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    std::fs::File::create(dir.path().join("disk")).unwrap().set_len(1 << 20).unwrap();
    let command = ["--tls=require", "--tls-certificates={dir}", "--tls-verify-peer", "memory", "1M"];
    let server = Program::start_in(dir, &[&NBDKIT[..], &command].concat());
    let socket = server.socket.display().to_string();
    let folder = server.dir.path().display().to_string();
    let open = |scheme: &str, keys: &str| open_uri(&format!("{scheme}+unix:///?socket={socket}{keys}"), 5, false);
    let certificates = format!("&tls-certificates={folder}");
    exercise(&open("nbds", &certificates).unwrap());
    exercise_again(&open("nbds", &format!("{certificates}&tls-hostname=127.0.0.1")).unwrap());
    // Anything at all is accepted only if the URI says so.
    for (scheme, keys, expect) in [
        ("nbd", String::new(), "the server requires TLS: write nbds://"),
        (
            "nbds",
            format!("{certificates}&tls-hostname=example.com"),
            "TLS: invalid peer certificate: certificate not valid for name",
        ),
        ("nbds", format!("{certificates}/other"), "TLS: invalid peer certificate: UnknownIssuer"),
        ("nbds", String::new(), "TLS: "),
        ("nbds", format!("{certificates}/none"), "/none/ca-cert.pem: No such file or directory"),
        ("nbds", format!("{certificates}&tls-hostname=%20"), "TLS: ' ' cannot be in a certificate"),
    ] {
        let error = open(scheme, &keys).unwrap_err().to_string();
        assert!(error.contains(expect), "{keys}: {error}");
    }
    let plain = nbdkit(&["memory", "1M"]);
    let error =
        open_uri(&format!("nbds+unix:///?socket={}{certificates}", plain.socket.display()), 5, false).unwrap_err();
    assert!(error.to_string().starts_with("the server refuses TLS: "), "{error}");
}

#[test]
fn tls_works_with_qemu_nbd_and_survives_its_end() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    std::fs::File::create(dir.path().join("disk")).unwrap().set_len(1 << 20).unwrap();
    let tls = ["--object", "tls-creds-x509,id=t,endpoint=server,dir={dir},verify-peer=yes", "--tls-creds", "t"];
    let mut server = Program::start_in(dir, &[&QEMU[..], &tls, &["{dir}/disk"]].concat());
    let folder = server.dir.path().display().to_string();
    let uri = format!("nbds+unix:///?socket={}&tls-certificates={folder}", server.socket.display());
    let client = open_uri(&uri, 60, false).unwrap();
    exercise(&client);
    // The worker threads of drives have small stacks.
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(WORKER_STACK);
        let again = worker.spawn_scoped(scope, || {
            exercise_again(&client);
            server.kill();
            server.restart();
            exercise_again(&client);
        });
        again.unwrap().join().unwrap();
    });
    drop(client);
    // Another authority, and verification switched off.
    let other = format!("{folder}/other");
    let pair = ["client-cert.pem", "client-key.pem"];
    for name in pair {
        std::fs::copy(format!("{folder}/{name}"), format!("{other}/{name}")).unwrap();
    }
    let uri = format!("nbds+unix:///?socket={}&tls-certificates={other}", server.socket.display());
    assert!(open_uri(&uri, 5, false).is_err());
    exercise_again(&open_uri(&format!("{uri}&tls-verify-peer=0"), 5, false).unwrap());
}

#[test]
fn a_server_whose_cache_dies_with_it_loses_nothing() {
    // nbdkit's cache filter writes to the file at a flush.
    let mut server = nbdkit(&["--filter=cache", "file", "{dir}/disk", "cache=writeback"]);
    let client = server.open("").unwrap();
    let mut model = vec![0; 1 << 20];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % below
    };
    for round in 0..12 {
        for n in 0..next(20) {
            let (offset, len) = (next(1 << 20), 1 + next(10_000));
            let len = len.min((1 << 20) - offset);
            let bytes = pattern(len, n as u8 ^ round);
            client.write_at(&bytes, offset as u64).unwrap();
            model[offset..offset + len].copy_from_slice(&bytes);
        }
        if next(2) == 0 {
            client.flush().unwrap();
            assert!(std::fs::read(server.disk()).unwrap() == model, "round {round}");
        }
        server.kill();
        server.restart();
        assert!(read(&client, 0, 1 << 20) == model, "round {round}");
    }
    assert!(client.export.flags.has(ExportFlags::SEND_FLUSH));
}
