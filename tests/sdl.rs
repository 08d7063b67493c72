//! `--display sdl` under Xvfb, whose frame buffer is a file: the window shows the machine's screen, and its keys are the
//! machine's. Packages: xvfb, xdotool.

mod echo;

use echo::{BOOT_SECTOR, GRAPHICS_SECTOR, Machine, pcvm, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// An X server with a screen of 1024 by 768.
struct Screen {
    dir: TempDir,
    server: Child,
    display: String,
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Screen {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp", "-fbdir"])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("Xvfb (package xvfb): {error}"));
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
        Self { dir, server, display: format!(":{}", number.trim()) }
    }

    fn machine(&self, code: &[u8], text: &str, arguments: &[&str]) -> Machine {
        let mut command = pcvm();
        command.env("DISPLAY", &self.display).env("SDL_VIDEODRIVER", "x11").stdout(Stdio::null());
        echo::boot(code, text, &[&["--display", "sdl"], arguments].concat(), &mut command)
    }

    #[track_caller]
    fn xdotool(&self, arguments: &[&str]) -> String {
        let output = Command::new("xdotool").env("DISPLAY", &self.display).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("xdotool (package xdotool): {error}"));
        assert!(output.status.success(), "xdotool {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// X, Y, width, height of the only window.
    fn window(&self) -> [usize; 4] {
        let geometry =
            self.xdotool(&["search", "--sync", "--onlyvisible", "--name", "pcvm", "getwindowgeometry", "--shell"]);
        let number = |key: &str| {
            let line = geometry.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("{geometry}")).parse().unwrap()
        };
        ["X=", "Y=", "WIDTH=", "HEIGHT="].map(number)
    }

    fn title(&self) -> String {
        self.xdotool(&["search", "--sync", "--onlyvisible", "--name", "pcvm", "getwindowname"])
    }

    /// Asks a window to close, as a window manager does (X Window System Protocol, appendix B; ICCCM, 4.2.8).
    fn close(&self, window: u32) {
        let mut server = UnixStream::connect(format!("/tmp/.X11-unix/X{}", &self.display[1..])).unwrap();
        let mut ask = |request: &[u8]| -> Vec<u8> {
            server.write_all(request).unwrap();
            let mut answer = vec![0; 8];
            server.read_exact(&mut answer).unwrap();
            // The answer to the connection has its length in words; the others are 32 bytes.
            let rest =
                if request[0] == b'l' { usize::from(u16::from_le_bytes([answer[6], answer[7]])) * 4 } else { 24 };
            answer.resize(8 + rest, 0);
            server.read_exact(&mut answer[8..]).unwrap();
            assert_eq!(answer[0], 1, "{request:?}");
            answer
        };
        ask(&[b'l', 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut atom = |name: &str| {
            let words = name.len().div_ceil(4);
            let mut request = vec![16, 1, 2 + words as u8, 0, name.len() as u8, 0, 0, 0];
            request.extend_from_slice(name.as_bytes());
            request.resize(8 + words * 4, 0);
            u32::from_le_bytes(ask(&request)[8..12].try_into().unwrap())
        };
        let (protocols, delete) = (atom("WM_PROTOCOLS"), atom("WM_DELETE_WINDOW"));
        // SendEvent of a ClientMessage of format 32, then GetInputFocus for an answer.
        let mut request = vec![25, 0, 11, 0];
        let words = [window, 0, 33 | 32 << 8, window, protocols, delete, 0, 0, 0, 0];
        words.iter().for_each(|word| request.extend_from_slice(&word.to_le_bytes()));
        request.extend_from_slice(&[43, 0, 1, 0]);
        ask(&request);
    }

    /// What the X server shows, as (x, y) to red, green, blue: XWDFile.h, format 7, 32 bits a pixel.
    fn picture(&self) -> impl Fn(usize, usize) -> [u8; 3] + use<> {
        let xwd = std::fs::read(self.dir.path().join("Xvfb_screen0")).unwrap();
        let word = |n: usize| u32::from_be_bytes(xwd[n * 4..n * 4 + 4].try_into().unwrap()) as usize;
        assert_eq!((word(1), word(4), word(5), word(7), word(11)), (7, 1024, 768, 0, 32));
        let (start, line) = (word(0) + word(19) * 12, word(12));
        move |x, y| {
            let at = start + y * line + x * 4;
            [xwd[at + 2], xwd[at + 1], xwd[at]]
        }
    }
}

#[test]
fn software_the_window_shows_the_screen_and_its_keys_are_the_machines() {
    let screen = Screen::new();
    let mut machine = screen.machine(BOOT_SECTOR, "Ready", &["--name", "windowed"]);
    machine.does("wait", &["--text", "^Ready$", "--timeout", "60"]);
    let [left, top, width, height] = screen.window();
    assert_eq!((width, height, screen.title().as_str()), (720, 400, "pcvm: windowed"));
    let typed = "Hello: \"5 > 3\"";
    screen.xdotool(&["key", "x"]);
    machine.does("wait", &["--text", "Ready►$", "--timeout", "60"]);
    screen.xdotool(&["type", "--delay", "100", typed]);
    machine.does("wait", &["--text", &format!("►{}$", regex::escape(typed)), "--timeout", "60"]);

    // Every pixel.
    until(|| {
        machine.does("screenshot", &["a.ppm"]);
        let ppm = std::fs::read(machine.dir.path().join("a.ppm")).unwrap();
        let pixels = ppm.strip_prefix(b"P6\n720 400\n255\n".as_slice()).unwrap();
        let shown = screen.picture();
        pixels.chunks_exact(3).enumerate().all(|(n, rgb)| shown(left + n % 720, top + n / 720) == rgb)
    });

    // A click grabs, and Ctrl-Alt-G lets go; it is not the guest's.
    screen.xdotool(&["mousemove", "512", "384", "click", "1"]);
    until(|| screen.title() == "pcvm: windowed - Ctrl-Alt-G releases mouse and keyboard");
    screen.xdotool(&["key", "ctrl+alt+g"]);
    until(|| screen.title() == "pcvm: windowed");
    screen.xdotool(&["key", "exclam"]);
    machine.does("wait", &["--text", &format!("►{}!$", regex::escape(typed)), "--timeout", "60"]);
    assert!(machine.child.try_wait().unwrap().is_none());
}

#[test]
fn software_pictures_fill_the_window_and_closing_it_is_the_end() {
    let screen = Screen::new();
    let mut machine = screen.machine(GRAPHICS_SECTOR, "", &["--name", "drawn"]);
    let (red, blue, black) = ([170, 0, 0], [0, 0, 170], [0, 0, 0]);
    let shows = |points: &[((usize, usize), [u8; 3])]| {
        let [left, top, ..] = screen.window();
        let shown = screen.picture();
        points.iter().all(|&((x, y), rgb)| shown(left + x, top + y) == rgb)
    };
    // 320 by 200 are a tube of 4 to 3.
    until(|| screen.window()[2..] == [640, 480]);
    until(|| shows(&[((0, 0), red), ((639, 100), red), ((5, 479), blue), ((639, 300), blue)]));
    // In a window that is wider there is black beside it.
    let id = screen.xdotool(&["search", "--sync", "--onlyvisible", "--name", "pcvm"]);
    screen.xdotool(&["windowsize", &id, "800", "300"]);
    until(|| screen.window()[2..] == [800, 300]);
    until(|| shows(&[((195, 10), black), ((205, 10), red), ((595, 10), red), ((605, 10), black), ((400, 290), blue)]));
    // Ctrl-Alt-U gives it its own size again.
    screen.xdotool(&["key", "ctrl+alt+u"]);
    until(|| screen.window()[2..] == [640, 480]);
    until(|| shows(&[((0, 0), red), ((639, 479), blue)]));
    screen.close(id.parse().unwrap());
    until(|| machine.child.try_wait().unwrap().is_some_and(|status| status.success()));
}
