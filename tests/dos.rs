//! FreeDOS programs that draw in the VGA's graphics modes by registers and video memory.

use pcvm_test_guests::floppy;
use pcvm_test_host::{Host, Job, assert_has, require_kvm};
use std::time::Duration;

#[path = "screen/picture.rs"]
#[expect(dead_code, reason = "this test only reads pictures")]
mod picture;

use picture::Picture;

/// The pixels that DRAW.COM (dos-draw.s) draws: bars and a diagonal in the sixteen default colours, twice.
fn mode_12h(x: usize, y: usize) -> [u8; 3] {
    let y = y % 240;
    let colour = if x == y { 15 } else { x / 32 % 16 };
    let [half, full] = [0xaa, 0xff];
    match colour {
        // Brown instead of dark yellow.
        6 => [half, 0x55, 0],
        colour => [4, 2, 1].map(|bit| match (colour & bit != 0, colour & 8 != 0) {
            (true, true) => full,
            (true, false) => half,
            (false, true) => 0x55,
            (false, false) => 0,
        }),
    }
}

/// The palette that DRAW.COM sets for modes 13h and X.
fn palette(number: usize) -> [u8; 3] {
    let number = number as u8;
    [number >> 2, number & 63, 63 - (number >> 2)].map(|six| six << 2 | six >> 4)
}

#[test]
fn software_a_dos_program_draws_and_reads_back_in_modes_12h_13h_and_x() {
    require_kvm();
    let Some(iso) = floppy::freedos_iso().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("not tested: there is no FreeDOS image");
        return;
    };
    let script = floppy::CONSOLE.to_string()
        + r#"
        mkfifo keys; exec 3<>keys
        ./pcvm run --control unix:$PWD/dos.sock --memory 16M --cdrom freedos.iso --boot d --serial stdio \
          --display none <keys >serial.log 2>errors.log &
        vm=$!
        expect 'A:.>'
        type_line draw
        for mode in 12h 13h X; do
          expect "mode $mode: [rw]"
          ./pcvm screenshot ./dos.sock $mode.png || exit
          printf ' ' >&3
        done
        expect 'X: right'
        kill $vm; wait $vm
        exit 0"#;
    let job = Job::new("dos-draw", script).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(iso, "freedos.iso").timeout(Duration::from_secs(240));
    let output = Host::Here.run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.log", "errors.log"]);
    let serial = output.text("serial.log");
    for mode in ["12h", "13h", "X"] {
        assert_has(&serial, &[&format!("mode {mode}: right")]);
    }
    let check = |name: &str, height: usize, dot: &dyn Fn(usize, usize) -> [u8; 3]| {
        let picture = Picture::read_png(&output.dir.join(name)).unwrap();
        assert_eq!((picture.width, picture.height), (640, height), "{name}");
        for (at, rgb) in picture.rgb.chunks_exact(3).enumerate() {
            assert_eq!(rgb, dot(at % 640, at / 640), "{name}: {}, {}", at % 640, at / 640);
        }
    };
    check("12h.png", 480, &mode_12h);
    // Each dot of mode 13h is two pixels wide and high on the screen.
    check("13h.png", 400, &|x, y| palette((x / 2) ^ (y / 2)));
    check("X.png", 480, &|x, y| palette(x / 2 + y / 2));
}
