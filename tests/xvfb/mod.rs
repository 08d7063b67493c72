//! Xvfb, an X server whose frame buffer is a file, for tests of windows. Packages: xvfb, xdotool.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of this module")]

use pcvm_test_host::Process;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// An X server with a screen of 1024x768.
pub struct Screen {
    _server: Process,
    dir: TempDir,
    pub display: String,
}

impl Screen {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut server = Process::start(
            Command::new("Xvfb")
                .args(["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp", "-noreset", "-fbdir"])
                .arg(dir.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::null()),
        );
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
        Self { _server: server, dir, display: format!(":{}", number.trim()) }
    }

    #[track_caller]
    pub fn xdotool(&self, arguments: &[&str]) -> String {
        let output = Command::new("xdotool").env("DISPLAY", &self.display).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("cannot start xdotool (package xdotool): {error}"));
        assert!(output.status.success(), "xdotool {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The screen's contents: a function from (x, y) to red, green, blue. File format: XWDFile.h, version 7, ZPixmap,
    /// 32 bits per pixel.
    pub fn picture(&self) -> impl Fn(usize, usize) -> [u8; 3] + use<> {
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
