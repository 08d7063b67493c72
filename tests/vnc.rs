//! The VNC server of a running VM, with a client that supports Raw encoding only. Unit tests of the server decode the
//! other encodings.

mod echo;

use echo::machine;
use pcvm_test_host::{connect, wait_until};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn read<const N: usize>(stream: &mut UnixStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Requests an incremental update and stores it in `pixels`: four bytes each, 720 per line.
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
fn software_a_vnc_client_sees_what_it_types() {
    let machine = machine("Ready", &["--vnc", "unix:vnc"]);
    machine.wait_for_screen("Ready");
    let mut stream = connect(&machine.dir.path().join("vnc"));
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(&read::<12>(&mut stream), b"RFB 003.008\n");
    stream.write_all(b"RFB 003.008\n\x01\x01").unwrap();
    assert_eq!(read(&mut stream), [1, 1, 0, 0, 0, 0], "no password");
    assert_eq!(read(&mut stream), [2, 208, 1, 144], "720 by 400");
    let rest: [u8; 20] = read(&mut stream);
    let mut name = vec![0; rest[19].into()];
    stream.read_exact(&mut name).unwrap();

    // The BIOS has room for fifteen keys, so the guest must have read the first one. The client sends no Shift key: the
    // server adds it for a character on the upper half of a key.
    let key = |c: char| [1, 0].map(|down| [4, down, 0, 0, 0, 0, 0, c as u8]).concat();
    stream.write_all(&key('x')).unwrap();
    machine.wait_for_screen("Ready►$");
    let typed = "viewed: \"5 > 3\"";
    assert_eq!(typed.len(), 15);
    stream.write_all(&typed.chars().flat_map(key).collect::<Vec<u8>>()).unwrap();
    machine.wait_for_screen(&format!("►{}$", regex::escape(typed)));

    // The first request is for the whole screen, not incremental.
    stream.write_all(&[3, 0, 0, 0, 0, 0, 2, 208, 1, 144]).unwrap();
    let mut pixels = vec![0; 720 * 400 * 4];
    wait_until("the client to show the VM's screen", || {
        update(&mut stream, &mut pixels);
        machine.run_ok("screenshot", &["a.ppm"]);
        let ppm = fs::read(machine.dir.path().join("a.ppm")).unwrap();
        let expect = ppm.strip_prefix(b"P6\n720 400\n255\n".as_slice()).unwrap();
        pixels.chunks_exact(4).zip(expect.chunks_exact(3)).all(|(xrgb, rgb)| [xrgb[2], xrgb[1], xrgb[0]] == rgb)
    });
}
