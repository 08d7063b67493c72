//! `--display sdl` under Xvfb, whose frame buffer is a file: the window shows the machine's screen, and its keys are the
//! machine's. Packages: xvfb, xdotool.

mod echo;
mod xvfb;

use echo::{BOOT_SECTOR, GRAPHICS_SECTOR, Machine, pcvm, until};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use xvfb::Screen;

/// What a test of the window asks of an X server.
trait Window {
    fn machine(&self, code: &[u8], text: &str, arguments: &[&str]) -> Machine;
    fn window(&self) -> [usize; 4];
    fn title(&self) -> String;
    fn close(&self, window: u32);
}

impl Window for Screen {
    fn machine(&self, code: &[u8], text: &str, arguments: &[&str]) -> Machine {
        let mut command = pcvm();
        command.env("DISPLAY", &self.display).env("SDL_VIDEODRIVER", "x11").stdout(Stdio::null());
        echo::boot(code, text, &[&["--display", "sdl"], arguments].concat(), &mut command)
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

    // Every pixel, while the cursor is seen; it blinks.
    let others = |machine: &Machine| {
        machine.does("screenshot", &["a.ppm"]);
        let ppm = std::fs::read(machine.dir.path().join("a.ppm")).unwrap();
        let pixels = ppm.strip_prefix(b"P6\n720 400\n255\n".as_slice()).unwrap();
        let shown = screen.picture();
        let differs = |(n, rgb): &(usize, &[u8])| shown(left + n % 720, top + n / 720) != *rgb;
        pixels.chunks_exact(3).enumerate().filter(differs).count()
    };
    until(|| others(&machine) == 0);
    // Two lines of a cell, without its ninth dot.
    until(|| others(&machine) == 16);
    until(|| others(&machine) == 0);

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
