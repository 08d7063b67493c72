//! Linux graphics: X.Org in the VGA BIOS' VESA modes, which it sets with its own x86 interpreter, and on bochs-drm; consoles
//! in text mode, in VESA modes that the kernel's real-mode code sets, and on bochs-drm; the same on a Cirrus adapter with
//! the kernel's driver and X.Org's. X.Org's pointer follows the PS/2 mouse
//! and the USB tablet.

use std::path::Path;
use std::time::Duration;

use pcvm_test_guests::xorg;
use pcvm_test_host::{Host, Job, assert_has};

#[path = "screen/picture.rs"]
#[expect(dead_code, reason = "this test only reads pictures")]
mod picture;

use picture::Picture;

/// Boots the choices of the CD one after another. When the guest announces a screen and the VM shows it, saves a screenshot;
/// of X.Org also one after a mouse movement. The guest continues when it receives a line on COM1.
const SCRIPT: &str = r#"
    scratch=$(mktemp -d /tmp/pcvm.XXXXXX)
    trap 'cp $scratch/*.log $scratch/?-*.ppm . 2>/dev/null' EXIT
    mkfifo $scratch/input
    exec 3<>$scratch/input
    # settle BYTES COUNT: waits until COUNT bytes of the screen have one of these values (for tr), the same number twice.
    settled() {
      ./pcvm screenshot $scratch/control $scratch/now.ppm || return
      before=$count
      count=$(tail -c +16 $scratch/now.ppm | tr -cd "$1" | wc -c)
      [ $count -ge $2 ] && [ "$count" = "$before" ]
    }
    settle() { count=; wait_for 30 settled "$@"; }
    # moved FILE: saves a screenshot; whether more than 600 bytes differ from the one before the movement.
    moved() {
      ./pcvm screenshot $scratch/control $1-moved.ppm || return
      [ $(cmp -l $1.ppm $1-moved.ppm | wc -l) -gt 600 ]
    }
    for n in 1 2 3; do
      echo "== choice $n"
      ./pcvm run --control unix:$scratch/control --memory 512M --cdrom xorg.iso --boot d --no-reboot \
        --serial stdio --debugcon $scratch/firmware.log --display none --vga ${ADAPTER:-std} <$scratch/input >$scratch/$n.log &
      vm=$!
      wait_for 10 test -S $scratch/control
      ./pcvm wait $scratch/control --timeout 60 --text '\*Linux' || exit
      ./pcvm key $scratch/control $n || exit
      screens=0
      next() { ended $vm || [ $(grep -c '==== screen: ' $scratch/$n.log) -gt $screens ]; }
      while wait_for 200 next && ! ended $vm; do
        screens=$((screens + 1))
        picture=$scratch/$n-$screens
        case $(grep '==== screen: ' $scratch/$n.log | tail -n 1) in
          *X.Org*)
            # Most pixels have the background 20h, 40h, 80h (41h in 6 bits); the eyes are white.
            settle '\100\101' 600000 && settle '\377' 60000
            ./pcvm screenshot $scratch/control $picture.ppm || exit
            ./pcvm mouse $scratch/control 200 150 || exit
            wait_for 30 moved $picture ;;
          *)
            # AAh, or ADh in 5 bits, of red, green and white letters.
            settle '\252\255' 250
            ./pcvm screenshot $scratch/control $picture.ppm || exit ;;
        esac
        echo >&3
      done
      if kill $vm 2>/dev/null; then echo "choice $n does not end"; wait $vm; exit 1; fi
      wait $vm
      rm -f $scratch/control
    done
    exit 0"#;

fn picture(path: &Path) -> Picture {
    Picture::read_ppm(path).unwrap_or_else(|| panic!("{} is not a PPM picture", path.display()))
}

fn count(picture: &Picture, colour: [u8; 3]) -> usize {
    picture.rgb.chunks_exact(3).filter(|pixel| **pixel == colour).count()
}

fn different_pixels(one: &Picture, other: &Picture) -> usize {
    one.rgb.chunks_exact(3).zip(other.rgb.chunks_exact(3)).filter(|(one, other)| one != other).count()
}

#[test]
fn nested_xorg_and_consoles_draw_by_vesa_and_by_bochs_drm() {
    let iso = xorg::iso().unwrap_or_else(|error| panic!("{error}"));
    let job = Job::new("graphics", SCRIPT).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(iso, "xorg.iso").timeout(Duration::from_secs(600)).host_memory(4096);
    let output = Host::pick().run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["1.log", "2.log", "3.log"]);
    let screen = |name: &str| picture(&output.dir.join(format!("{name}.ppm")));
    let log = output.text("1.log").replace('\r', "");

    // get-edid and X.Org run the VGA BIOS in an interpreter: the EDID, and its preferred mode.
    assert_has(&log, &["Checksum Correct", "Identifier \"pcvm monitor\"", "VESA VBE Version 3.0"]);
    assert_has(
        &log,
        &["VESA VBE DDC read successfully", "h_active: 1024  h_sync: 1048  h_sync_end 1184 h_blank_end 1344"],
    );
    assert_eq!(log.matches("dimensions:    1024x768 pixels").count(), 2, "{log}");
    for (server, name) in [(1, "vesa"), (4, "modesetting")] {
        let before = screen(&format!("1-{server}"));
        assert_eq!((before.width, before.height), (1024, 768), "{name}");
        assert!(
            count(&before, [0x20, 0x40, 0x80]) > 600_000 && count(&before, [0xff; 3]) > 20_000,
            "{name}: the screenshot lacks the background or the eyes"
        );
        let moved = different_pixels(&before, &screen(&format!("1-{server}-moved")));
        assert!(moved > 200, "{name}: the eyes do not follow the mouse: {moved} pixels changed");
    }

    // AAh in 5 bits is ADh.
    let consoles =
        [("1-2", 720, 400, 0xaa), ("1-3", 1024, 768, 0xaa), ("2-1", 1024, 768, 0xad), ("3-1", 640, 480, 0xaa)];
    for (name, width, height, red) in consoles {
        let console = screen(name);
        assert_eq!((console.width, console.height), (width, height), "{name}");
        let colours = [[red, 0, 0], [0, 0xaa, 0], [red, 0xaa, red]].map(|colour| count(&console, colour));
        assert!(colours.iter().all(|&pixels| pixels > 50), "{name}: red, green and white have {colours:?} pixels");
    }
    for (log, mode) in [("2.log", "VESA VGA\n1024,768\n16\n"), ("3.log", "VESA VGA\n640,480\n8\n")] {
        assert_has(&output.text(log).replace('\r', ""), &[mode]);
    }
}

#[test]
fn nested_xorg_and_consoles_draw_on_a_cirrus_adapter() {
    let iso = xorg::iso().unwrap_or_else(|error| panic!("{error}"));
    let job = Job::new("graphics-cirrus", format!("ADAPTER=cirrus\n{SCRIPT}"));
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(iso, "xorg.iso").timeout(Duration::from_secs(600)).host_memory(4096);
    let output = Host::pick().run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["1.log", "2.log", "3.log"]);
    let screen = |name: &str| picture(&output.dir.join(format!("{name}.ppm")));
    let log = output.text("1.log").replace('\r', "");
    assert_has(&log, &["VESA VBE Version 3.0", "CIRRUS(0): ", "cirrusdrmfb"]);
    assert_eq!(log.matches("dimensions:    1024x768 pixels").count(), 2, "{log}");
    // The largest mode of 32 bits is 800x600. 20h, 40h, 80h in 5, 6 and 5 bits.
    for (server, name, size, background) in [
        (1, "vesa", (800, 600), [0x20, 0x40, 0x80]),
        (3, "cirrus", (1024, 768), [0x21, 0x41, 0x84]),
        (6, "modesetting", (1024, 768), [0x20, 0x40, 0x80]),
    ] {
        let before = screen(&format!("1-{server}"));
        assert_eq!((before.width, before.height), size, "{name}");
        let most = size.0 * size.1 * 3 / 4;
        assert!(
            count(&before, background) > most && count(&before, [0xff; 3]) > 20_000,
            "{name}: the screenshot lacks the background or the eyes"
        );
        let moved = different_pixels(&before, &screen(&format!("1-{server}-moved")));
        assert!(moved > 200, "{name}: the eyes do not follow the mouse: {moved} pixels changed");
    }
    let consoles = [
        ("1-2", 720, 400, 0xaa),
        ("1-4", 720, 400, 0xaa),
        ("1-5", 1024, 768, 0xad),
        ("2-1", 1024, 768, 0xad),
        ("3-1", 640, 480, 0xaa),
    ];
    for (name, width, height, red) in consoles {
        let console = screen(name);
        assert_eq!((console.width, console.height), (width, height), "{name}");
        let colours = [[red, 0, 0], [0, 0xaa, 0], [red, 0xaa, red]].map(|colour| count(&console, colour));
        assert!(colours.iter().all(|&pixels| pixels > 50), "{name}: red, green and white have {colours:?} pixels");
    }
    for (log, mode) in [("2.log", "VESA VGA\n1024,768\n16\n"), ("3.log", "VESA VGA\n640,480\n8\n")] {
        assert_has(&output.text(log).replace('\r', ""), &[mode]);
    }
}

/// Boots the choice with USB, counts the main loop's wake-ups while the guest is idle, and moves the pointer by commands and
/// by a VNC client.
const TABLET: &str = r#"
    scratch=$(mktemp -d /tmp/pcvm.XXXXXX)
    trap 'cp $scratch/*.log $scratch/*.ppm . 2>/dev/null' EXIT
    log=$scratch/tablet.log
    ./pcvm run --control unix:$scratch/control --memory 512M --cdrom xorg.iso --boot d --no-reboot --tablet \
      --serial file:$log --display none --vnc 127.0.0.1:7 2>$scratch/pcvm.log &
    vm=$!
    wait_for 10 test -S $scratch/control
    ./pcvm wait $scratch/control --timeout 60 --text '\*Linux' || exit
    # The guest does not poll the tablet yet; keys go to the PS/2 keyboard.
    ./pcvm mouse $scratch/control --to 1 1 && exit 1
    ./pcvm key $scratch/control 4 || exit
    ready() { ended $vm || has $log '==== screen: '; }
    wait_for 300 ready && ! ended $vm || { echo 'X.Org does not start'; kill $vm; exit 1; }
    # The guest polls tablet and keyboard, which have nothing to report.
    wakes() { awk '/^voluntary/ { print $2 }' /proc/$vm/task/$vm/status; }
    idle() { before=$(wakes); sleep 1; [ $(($(wakes) - before)) -lt 50 ]; }
    wait_for 60 idle
    before=$(wakes)
    sleep 8
    echo "wake-ups in 8 s: $(($(wakes) - before))"
    # pointer X Y: moves the pointer, and waits until X.Org reports it there for the first time (it starts at 512, 384).
    at() { has $log "^pointer x:$1 y:$2[^0-9]*$"; }
    pointer() { ./pcvm mouse $scratch/control --to $1 $2 || exit; wait_for 20 at $1 $2; }
    pointer 3 2
    pointer 1023 767
    pointer 500 300
    # screenshot X Y: waits until the pointer is drawn at this position, where pixels are not 20h, 40h, 80h, and saves a screenshot.
    drawn() {
      ./pcvm screenshot $scratch/control $scratch/$1.ppm || return
      [ $(tail -c +$((17 + 3 * (1024 * ($2 + 1) + $1))) $scratch/$1.ppm | head -c 6 | tr -d '\040\100\200' | wc -c) -gt 0 ]
    }
    pointer 700 500
    wait_for 20 drawn 700 500
    pointer 800 600
    wait_for 20 drawn 800 600
    # A position outside the screen is an error.
    ./pcvm mouse $scratch/control --to 1024 0 && exit 1
    ./pcvm mouse $scratch/control --to 333 222 --click right || exit
    wait_for 20 at 333 222
    wait_for 20 has $log 'BTN_RIGHT), value 0'
    # A VNC client, RFB 3.8 without authentication: the pointer at 640, 480, then at 641, 479 with the left button pressed.
    received() { [ $(wc -c <$scratch/vnc) -ge $1 ]; }
    : >$scratch/vnc
    { printf 'RFB 003.008\n\001'; wait_for 20 received 18
      printf '\001\005\000\002\200\001\340'; wait_for 20 at 640 480
      printf '\005\001\002\201\001\337'; wait_for 20 at 641 479; } | nc 127.0.0.1 5907 >$scratch/vnc
    wait_for 20 has $log 'BTN_LEFT), value 0'
    ./pcvm mouse $scratch/control 10 0 || exit
    wait_for 20 has $log 'REL_X), value 10'
    ./pcvm type $scratch/control 'aB' || exit
    ./pcvm key $scratch/control caps_lock ctrl-delete || exit
    ./pcvm key $scratch/control f12 || exit
    wait_for 100 ended $vm || { echo "the guest does not end"; kill $vm; exit 1; }
    wait $vm"#;

#[test]
fn nested_the_tablet_moves_the_pointer_to_the_exact_pixel() {
    let iso = xorg::iso().unwrap_or_else(|error| panic!("{error}"));
    let job = Job::new("tablet", TABLET).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(iso, "xorg.iso").timeout(Duration::from_secs(600)).host_memory(2048);
    let output = Host::pick().run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["tablet.log"]);
    let log = output.text("tablet.log").replace('\r', "");
    let has = |text: &str| assert_has(&log, &[text]);

    // sysfs: the controller's interrupt, both devices, their speeds and drivers.
    for product in ["USB tablet\nspeed 12", "USB keyboard\nspeed 1.5"] {
        has(&format!(
            "idVendor 0627\nidProduct 0001\nbcdDevice 0100\nmanufacturer pcvm\nproduct {product}\nversion  1.10"
        ));
    }
    for (protocol, of) in [("00\nbInterfaceProtocol 00", "tablet"), ("01\nbInterfaceProtocol 01", "keyboard")] {
        has(&format!("bInterfaceClass 03\nbInterfaceSubClass {protocol}\nbNumEndpoints 01\ndriver usbhid"));
        has(&format!("N: Name=\"pcvm USB {of}\""));
    }
    has("IO-APIC  11-fasteoi   uhci_hcd:usb1");
    has("detected 2 ports");

    // Every position: the tablet's absolute coordinates, and X.Org's pixel.
    let events = |code: &str| {
        let values = log.lines().filter(|line| line.starts_with("Event: ")).filter_map(|line| line.split_once(code));
        values.map(|(_, value)| value.trim_start_matches("), value ").parse().expect("a number")).collect::<Vec<i32>>()
    };
    let positions: [(u32, u32); 8] =
        [(3, 2), (1023, 767), (500, 300), (700, 500), (800, 600), (333, 222), (640, 480), (641, 479)];
    assert_eq!(events("(ABS_X"), positions.map(|(x, _)| (x * 32767).div_ceil(1023) as i32));
    assert_eq!(events("(ABS_Y"), positions.map(|(_, y)| (y * 32767).div_ceil(767) as i32));
    let reported: Vec<_> = log.lines().filter_map(|line| line.strip_prefix("pointer x:")).skip(1).collect();
    assert_eq!(reported, positions.map(|(x, y)| format!("{x} y:{y}")));
    for button in ["(BTN_RIGHT", "(BTN_LEFT"] {
        assert_eq!(events(button), [1, 0], "{button}");
    }
    // Relative movements go to the PS/2 mouse. All keys go to the USB keyboard, which has the LEDs too.
    has("PS2 event1: ");
    has("(REL_X), value 10");
    assert!(!log.lines().any(|line| line.starts_with("PS2") && line.contains("(EV_KEY)")), "{log}");
    for key in ["(KEY_A", "(KEY_LEFTSHIFT", "(KEY_B", "(KEY_CAPSLOCK", "(KEY_LEFTCTRL", "(KEY_DELETE"] {
        assert_eq!(events(key), [1, 0], "{key}");
    }
    assert_eq!(events("(LED_CAPSL"), [1]);

    // The pointer is drawn at its new position only.
    const BACKGROUND: [u8; 3] = [0x20, 0x40, 0x80];
    let [before, after] = ["700.ppm", "800.ppm"].map(|name| picture(&output.dir.join(name)));
    for ((x, y), shown, hidden) in [((700, 500), &before, &after), ((800, 600), &after, &before)] {
        let near = |picture: &Picture| {
            let square = (0..8).flat_map(|dy| (0..6).map(move |dx| (y + dy) * 1024 + x + dx));
            square.filter(|&at| picture.rgb[at * 3..at * 3 + 3] != BACKGROUND).count()
        };
        let (new, old) = (near(shown), near(hidden));
        assert!(new > 15 && old == 0, "at {x}, {y}: {new} pixels of a pointer, and {old} when it is elsewhere");
    }

    let wakes = output.console.lines().find_map(|line| line.strip_prefix("wake-ups in 8 s: "));
    let wakes: u32 = wakes.and_then(|count| count.trim().parse().ok()).expect("a count");
    assert!((8..8 * 50).contains(&wakes), "an idle USB controller wakes the main loop {wakes} times in 8 s");
}
