//! The VNC server of a whole machine, with a client that knows only the oldest encoding. Every other encoding is decoded
//! beside the server's code.

mod echo;

use echo::machine;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

fn read<const N: usize>(stream: &mut UnixStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Asks for changes and puts them into `pixels`, four bytes each, of lines of 720.
fn update(stream: &mut UnixStream, pixels: &mut [u8]) {
    stream.write_all(&[3, 1, 0, 0, 0, 0, 2, 208, 1, 144]).unwrap();
    let [kind, _, high, low] = read(stream);
    assert_eq!(kind, 0);
    for _ in 0..u16::from_be_bytes([high, low]) {
        let header: [u8; 12] = read(stream);
        let number = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
        assert_eq!(header[8..], [0; 4], "raw");
        for y in number(2)..number(2) + number(6) {
            let start = (y * 720 + number(0)) * 4;
            stream.read_exact(&mut pixels[start..start + number(4) * 4]).unwrap();
        }
    }
}

#[test]
fn software_a_viewer_sees_what_it_types() {
    let machine = machine("Ready", &["--vnc", "unix:vnc"]);
    machine.does("wait", &["--text", "Ready", "--timeout", "60"]);
    let mut stream = UnixStream::connect(machine.dir.path().join("vnc")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(&read::<12>(&mut stream), b"RFB 003.008\n");
    stream.write_all(b"RFB 003.008\n\x01\x01").unwrap();
    assert_eq!(read(&mut stream), [1, 1, 0, 0, 0, 0], "no password");
    assert_eq!(read(&mut stream), [2, 208, 1, 144], "720 by 400");
    let rest: [u8; 20] = read(&mut stream);
    let mut name = vec![0; rest[19].into()];
    stream.read_exact(&mut name).unwrap();

    // Viewers press shift for capitals themselves; here it is added only where a key has two characters.
    let typed = "viewed: \"5 > 3\"";
    for c in "x".chars().chain(typed.chars()) {
        let key = |down: u8| [4, down, 0, 0, 0, 0, 0, c as u8];
        stream.write_all(&[key(1), key(0)].concat()).unwrap();
        // The BIOS has room for fifteen keys.
        std::thread::sleep(Duration::from_millis(50));
    }
    machine.does("wait", &["--text", &format!("►{}$", regex::escape(typed)), "--timeout", "60"]);

    // The first request is for all of it.
    stream.write_all(&[3, 0, 0, 0, 0, 0, 2, 208, 1, 144]).unwrap();
    let mut pixels = vec![0; 720 * 400 * 4];
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        update(&mut stream, &mut pixels);
        machine.does("screenshot", &["a.ppm"]);
        let ppm = fs::read(machine.dir.path().join("a.ppm")).unwrap();
        let expect = ppm.strip_prefix(b"P6\n720 400\n255\n".as_slice()).unwrap();
        if pixels.chunks_exact(4).zip(expect.chunks_exact(3)).all(|(xrgb, rgb)| [xrgb[2], xrgb[1], xrgb[0]] == rgb) {
            return;
        }
        assert!(Instant::now() < deadline, "the viewer's screen is not the machine's");
    }
}
