//! VNC clients show a VM's screen and type into it: TigerVNC's viewer, gtk-vnc's viewer and gvnccapture, vncsnapshot, and
//! noVNC in Chromium. Packages: tigervnc-viewer, gvncviewer, vncsnapshot, novnc, chromium, xvfb, xdotool.

mod echo;
mod xvfb;

use echo::{Machine, machine};
use pcvm_test_host::{Process, wait_for};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use xvfb::Screen;

/// A VNC client, which is killed on drop, after its child processes.
struct Client(Process);

impl Drop for Client {
    fn drop(&mut self) {
        let _ = Command::new("pkill").args(["-P", &self.0.id().to_string()]).status();
    }
}

fn start(command: &mut Command) -> Client {
    Client(Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())))
}

/// A TCP port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A VM whose screen shows "Ready", and its VNC port.
fn ready(arguments: &[&str]) -> (Machine, u16) {
    let port = free_port();
    let address = format!("127.0.0.1:{}", port - 5900);
    let machine = machine("Ready", &[&["--vnc", address.as_str()], arguments].concat());
    machine.wait_for_screen("Ready");
    (machine, port)
}

/// A VM's screen: 720 by 400 pixels, three bytes each.
fn screenshot(machine: &Machine) -> Vec<u8> {
    machine.run_ok("screenshot", &["a.ppm"]);
    let ppm = std::fs::read(machine.dir.path().join("a.ppm")).unwrap();
    ppm.strip_prefix(b"P6\n720 400\n255\n".as_slice()).unwrap().to_vec()
}

/// Waits until the X server's screen contains every pixel of the VM's screen; returns the position.
#[track_caller]
fn wait_until_shown(machine: &Machine, screen: &Screen) -> (usize, usize) {
    // The X server's pointer covers some pixels: it starts in a corner, and `sees_and_types` clicks in the middle.
    // (TigerVNC moves its window a little after it has appeared.)
    let near_pointer = |x: usize, y: usize| x.abs_diff(360) < 48 && y.abs_diff(200) < 48;
    wait_for("the client to show the VM's screen", Duration::from_secs(60), || {
        let pixels = screenshot(machine);
        let picture = screen.picture();
        let pixel = |x: usize, y: usize| -> [u8; 3] { pixels[(y * 720 + x) * 3..][..3].try_into().unwrap() };
        // A lit pixel rules out most positions at once.
        let lit = (0..720 * 400).map(|n| (n % 720, n / 720)).find(|&(x, y)| pixel(x, y) != [0; 3]).unwrap_or((0, 0));
        let is_at = |left: usize, top: usize| {
            picture(left + lit.0, top + lit.1) == pixel(lit.0, lit.1)
                && (0..400).all(|y| (0..720).all(|x| near_pointer(x, y) || picture(left + x, top + y) == pixel(x, y)))
        };
        let mut positions = (0..=768 - 400).flat_map(|top| (0..=1024 - 720).map(move |left| (left, top)));
        positions.find(|&(left, top)| is_at(left, top)).ok_or("the X server's screen differs everywhere")
    })
}

/// Types into the client, whose window's name contains `window`, and checks the VM's and the client's screens.
#[track_caller]
fn sees_and_types(machine: &Machine, screen: &Screen, window: &str) {
    screen.xdotool(&["mousemove", "1023", "767"]);
    let (left, top) = wait_until_shown(machine, screen);
    let (x, y) = ((left + 360).to_string(), (top + 200).to_string());
    screen.xdotool(&["mousemove", &x, &y, "click", "1"]);
    // Without a window manager no window gets the focus.
    screen.xdotool(&["search", "--onlyvisible", "--name", window, "windowfocus"]);
    screen.xdotool(&["key", "x"]);
    machine.wait_for_screen("Ready►$");
    let typed = "Typed: \"5 > 3\" {|~}";
    screen.xdotool(&["type", "--delay", "120", typed]);
    machine.wait_for_screen(&format!("►{}$", regex::escape(typed)));
    wait_until_shown(machine, screen);
    if let Some(dir) = std::env::var_os("PCVM_VNC_DIR") {
        let picture = screen.picture();
        let mut ppm = b"P6\n1024 768\n255\n".to_vec();
        (0..768).for_each(|y| (0..1024).for_each(|x| ppm.extend(picture(x, y))));
        let name = format!("{}.ppm", std::thread::current().name().unwrap_or("client"));
        std::fs::write(Path::new(&dir).join(name), ppm).unwrap();
    }
}

#[test]
fn software_tigervnc_shows_and_types() {
    let (machine, port) = ready(&[]);
    let screen = Screen::new();
    let _client = start(
        Command::new("vncviewer")
            .env("DISPLAY", &screen.display)
            .env("HOME", machine.dir.path())
            .args(["-AlertOnFatalError=0", "-ReconnectOnError=0", "-QualityLevel=9", "-NoJPEG=1", "-AcceptClipboard=0"])
            .arg(format!("127.0.0.1::{port}")),
    );
    sees_and_types(&machine, &screen, "TigerVNC");
}

#[test]
fn software_tigervnc_connects_with_tls_and_is_refused_without() {
    let dir = tempfile::TempDir::new().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name).display().to_string());
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", &key, "-out", &cert])
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl").success());
    let (machine, port) = ready(&["--vnc-cert", &cert, "--vnc-key", &key]);
    let screen = Screen::new();
    let client = |security_types: &str| {
        let mut command = Command::new("vncviewer");
        command
            .env("DISPLAY", &screen.display)
            .env("HOME", machine.dir.path())
            .args(["-AlertOnFatalError=0", "-ReconnectOnError=0", "-NoJPEG=1", "-AcceptClipboard=0"])
            .args([
                format!("-SecurityTypes={security_types}"),
                format!("-X509CA={cert}"),
                format!("localhost::{port}"),
            ]);
        command
    };
    let refused = client("None,VncAuth").stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(errors.contains("No matching security types"), "{errors}");
    let _client = start(&mut client("X509None"));
    sees_and_types(&machine, &screen, "TigerVNC");
}

#[test]
fn software_gvncviewer_shows_and_types() {
    let (machine, port) = ready(&[]);
    let screen = Screen::new();
    let _client = start(
        Command::new("gvncviewer")
            .env("DISPLAY", &screen.display)
            .env("HOME", machine.dir.path())
            .arg(format!("127.0.0.1:{}", port - 5900)),
    );
    sees_and_types(&machine, &screen, "127.0.0.1|gvnc|pcvm");
}

#[test]
fn software_gvnccapture_and_vncsnapshot_save_the_screen() {
    let (machine, port) = ready(&[]);
    let pixels = screenshot(&machine);
    let display = format!("127.0.0.1:{}", port - 5900);
    let dir = machine.dir.path();
    // gvnccapture needs no X server, and its picture is lossless.
    let status = Command::new("gvnccapture").current_dir(dir).args(["-q", &display, "a.png"]).status();
    assert!(status.expect("gvnccapture (package gvncviewer)").success());
    let mut reader = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(dir.join("a.png")).unwrap()))
        .read_info()
        .unwrap();
    let mut seen = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut seen).unwrap();
    assert_eq!((info.width, info.height), (720, 400));
    let rgb: Vec<u8> = match info.color_type {
        png::ColorType::Rgb => seen,
        png::ColorType::Rgba => seen.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        other => panic!("{other:?}"),
    };
    assert!(rgb == pixels, "gvnccapture's picture differs from the screenshot");

    let output =
        Command::new("vncsnapshot").current_dir(dir).args(["-quiet", "-quality", "100", &display, "a.jpg"]).output();
    let output = output.expect("vncsnapshot");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let jpeg = std::fs::read(dir.join("a.jpg")).unwrap();
    // Start of frame (T.81, B.2.2): precision, height, width.
    let frame = jpeg.windows(9).find(|w| w[..2] == [0xff, 0xc0]).expect("a baseline frame");
    assert_eq!(frame[5..9], [400_u16.to_be_bytes(), 720_u16.to_be_bytes()].concat());
}

#[test]
fn software_novnc_in_chromium_shows_and_types() {
    let websocket = free_port().to_string();
    let (machine, _) = ready(&["--vnc-websocket", &websocket]);
    let screen = Screen::new();
    let page = format!("file:///usr/share/novnc/vnc_lite.html?host=127.0.0.1&port={websocket}&path=");
    let _client = start(
        Command::new("chromium")
            .env("DISPLAY", &screen.display)
            .env("HOME", machine.dir.path())
            .args([
                "--no-sandbox",
                "--no-first-run",
                "--disable-gpu",
                "--allow-file-access-from-files",
                "--disable-sync",
            ])
            .args(["--window-position=0,0", "--window-size=1024,768", "--password-store=basic"])
            .arg(format!("--user-data-dir={}", machine.dir.path().join("chromium").display()))
            .arg(format!("--app={page}")),
    );
    sees_and_types(&machine, &screen, "noVNC");
}
