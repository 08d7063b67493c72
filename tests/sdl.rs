//! `--display sdl` under Xvfb, whose frame buffer is a file: the window shows the VM's screen, and its keys reach the
//! guest. Packages: xvfb, xdotool.

mod echo;
mod xvfb;

use echo::{BOOT_SECTOR, GRAPHICS_SECTOR, Machine, pcvm};
use pcvm_test_host::wait_until;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use xvfb::Screen;

/// pcvm's window on an X server.
trait Window {
    /// Starts a VM with a window on this server.
    fn machine(&self, code: &[u8], text: &str, arguments: &[&str]) -> Machine;
    /// X, Y, width and height of the only window.
    fn window(&self) -> [usize; 4];
    fn title(&self) -> String;
    /// Sends WM_DELETE_WINDOW, as a window manager does (X Window System Protocol, appendix B; ICCCM, 4.2.8).
    fn close(&self, window: u32);
}

impl Window for Screen {
    fn machine(&self, code: &[u8], text: &str, arguments: &[&str]) -> Machine {
        let mut command = pcvm();
        command.env("DISPLAY", &self.display).env("SDL_VIDEODRIVER", "x11").stdout(Stdio::null());
        echo::boot(code, text, &[&["--display", "sdl"], arguments].concat(), &mut command)
    }

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

    fn close(&self, window: u32) {
        let mut server = UnixStream::connect(format!("/tmp/.X11-unix/X{}", &self.display[1..])).unwrap();
        let mut request = |request: &[u8]| -> Vec<u8> {
            server.write_all(request).unwrap();
            let mut reply = vec![0; 8];
            server.read_exact(&mut reply).unwrap();
            // The reply to the connection setup has its length in words; the others are 32 bytes.
            let rest = if request[0] == b'l' { usize::from(u16::from_le_bytes([reply[6], reply[7]])) * 4 } else { 24 };
            reply.resize(8 + rest, 0);
            server.read_exact(&mut reply[8..]).unwrap();
            assert_eq!(reply[0], 1, "{request:?}");
            reply
        };
        request(&[b'l', 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut atom = |name: &str| {
            let words = name.len().div_ceil(4);
            let mut intern = vec![16, 1, 2 + words as u8, 0, name.len() as u8, 0, 0, 0];
            intern.extend_from_slice(name.as_bytes());
            intern.resize(8 + words * 4, 0);
            u32::from_le_bytes(request(&intern)[8..12].try_into().unwrap())
        };
        let (protocols, delete) = (atom("WM_PROTOCOLS"), atom("WM_DELETE_WINDOW"));
        // SendEvent of a ClientMessage of format 32, then GetInputFocus, which has a reply.
        let mut send = vec![25, 0, 11, 0];
        let words = [window, 0, 33 | 32 << 8, window, protocols, delete, 0, 0, 0, 0];
        words.iter().for_each(|word| send.extend_from_slice(&word.to_le_bytes()));
        send.extend_from_slice(&[43, 0, 1, 0]);
        request(&send);
    }
}

#[test]
fn software_the_window_shows_the_screen_and_its_keys_reach_the_guest() {
    let screen = Screen::new();
    let mut machine = screen.machine(BOOT_SECTOR, "Ready", &["--name", "windowed"]);
    machine.wait_for_screen("^Ready$");
    let [left, top, width, height] = screen.window();
    assert_eq!((width, height, screen.title().as_str()), (720, 400, "pcvm: windowed"));
    let typed = "Hello: \"5 > 3\"";
    screen.xdotool(&["key", "x"]);
    machine.wait_for_screen("Ready►$");
    screen.xdotool(&["type", "--delay", "100", typed]);
    machine.wait_for_screen(&format!("►{}$", regex::escape(typed)));

    // A screenshot always has the cursor; in the window it blinks.
    let different_pixels = |machine: &Machine| {
        machine.run_ok("screenshot", &["a.ppm"]);
        let ppm = std::fs::read(machine.dir.path().join("a.ppm")).unwrap();
        let pixels = ppm.strip_prefix(b"P6\n720 400\n255\n".as_slice()).unwrap();
        let shown = screen.picture();
        let differs = |(n, rgb): &(usize, &[u8])| shown(left + n % 720, top + n / 720) != *rgb;
        pixels.chunks_exact(3).enumerate().filter(differs).count()
    };
    wait_until("the window to show the screen", || different_pixels(&machine) == 0);
    // Two lines of a cell, without its ninth dot.
    wait_until("the cursor to disappear", || different_pixels(&machine) == 16);
    wait_until("the cursor to appear again", || different_pixels(&machine) == 0);

    // A click grabs mouse and keyboard. Ctrl-Alt-G releases them and does not reach the guest.
    screen.xdotool(&["mousemove", "512", "384", "click", "1"]);
    wait_until("the grab", || screen.title() == "pcvm: windowed - Ctrl-Alt-G releases mouse and keyboard");
    screen.xdotool(&["key", "ctrl+alt+g"]);
    wait_until("the release", || screen.title() == "pcvm: windowed");
    screen.xdotool(&["key", "exclam"]);
    machine.wait_for_screen(&format!("►{}!$", regex::escape(typed)));
    assert!(machine.child.try_wait().unwrap().is_none());
}

#[test]
fn software_the_window_sends_characters_for_a_keymap() {
    let screen = Screen::new();
    let machine = screen.machine(BOOT_SECTOR, "Ready", &["--name", "german", "--keymap", "de"]);
    machine.wait_for_screen("^Ready$");
    screen.window();
    screen.xdotool(&["key", "x"]);
    machine.wait_for_screen("Ready►$");
    // The guest has a US keyboard, which shows where these characters' keys are on a German one.
    screen.xdotool(&["type", "--delay", "100", "zY-?a1"]);
    machine.wait_for_screen("►yZ/_a1$");
}

#[test]
fn software_the_window_scales_graphics_and_its_close_button_ends_the_machine() {
    let screen = Screen::new();
    let mut machine = screen.machine(GRAPHICS_SECTOR, "", &["--name", "drawn"]);
    let (red, blue, black) = ([170, 0, 0], [0, 0, 170], [0, 0, 0]);
    let shows = |points: &[((usize, usize), [u8; 3])]| {
        let [left, top, ..] = screen.window();
        let shown = screen.picture();
        points.iter().all(|&((x, y), rgb)| shown(left + x, top + y) == rgb)
    };
    // Mode 13h has an aspect ratio of 4:3.
    wait_until("a window of 640 by 480", || screen.window()[2..] == [640, 480]);
    wait_until("both colours", || shows(&[((0, 0), red), ((639, 100), red), ((5, 479), blue), ((639, 300), blue)]));
    // A wider window has black bars at the sides.
    let id = screen.xdotool(&["search", "--sync", "--onlyvisible", "--name", "pcvm"]);
    screen.xdotool(&["windowsize", &id, "800", "300"]);
    wait_until("the larger window", || screen.window()[2..] == [800, 300]);
    wait_until("black bars", || {
        shows(&[((195, 10), black), ((205, 10), red), ((595, 10), red), ((605, 10), black), ((400, 290), blue)])
    });
    // Ctrl-Alt-U restores the window's original size.
    screen.xdotool(&["key", "ctrl+alt+u"]);
    wait_until("the original size", || screen.window()[2..] == [640, 480]);
    wait_until("graphics without bars", || shows(&[((0, 0), red), ((639, 479), blue)]));
    screen.close(id.parse().unwrap());
    wait_until("pcvm to end", || machine.child.try_wait().unwrap().is_some_and(|status| status.success()));
}
