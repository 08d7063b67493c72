//! Linux draws: X.Org by the VGA BIOS' VESA modes, which it runs in an interpreter of its own, and by the kernel's driver for
//! the adapter; consoles in text mode, in the VESA modes that real-mode code sets for the kernel, and on bochs-drm. What is
//! on the screen is taken by `pcvm screenshot`, and the pointer follows the mouse; or it is where it is told to be, by a
//! tablet.

use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use pcvm_test_guests::xorg;
use pcvm_test_host::{Host, Job};

/// Boots one choice of the CD; whenever the guest says that there is something to look at, takes a picture, moves the mouse
/// and takes another.
const SCRIPT: &str = r#"
    scratch=$(mktemp -d /tmp/pcvm.XXXXXX)
    trap 'cp $scratch/*.log $scratch/*.png . 2>/dev/null' EXIT
    for n in 1 2 3; do
      echo "== choice $n"
      ./pcvm run --control unix:$scratch/control --memory 512M --cdrom xorg.iso --boot d --no-reboot \
        --serial file:$scratch/$n.log --debugcon $scratch/firmware.log --display none &
      machine=$!
      tries=0
      while [ ! -S $scratch/control ] && [ $tries -lt 50 ]; do sleep 0.2; tries=$((tries + 1)); done
      ./pcvm wait $scratch/control --timeout 60 --text '\*Linux' || exit
      ./pcvm key $scratch/control $n || exit
      seen=0
      tries=0
      while kill -0 $machine 2>/dev/null && [ $tries -lt 400 ]; do
        sleep 0.5; tries=$((tries + 1))
        looks=$(grep -c '==== look:' $scratch/$n.log)
        if [ $looks -gt $seen ]; then
          seen=$looks
          sleep 1
          ./pcvm screenshot $scratch/control $scratch/$n-$seen.png || exit
          ./pcvm mouse $scratch/control 200 150 || exit
          sleep 2
          ./pcvm screenshot $scratch/control $scratch/$n-$seen-moved.png || exit
        fi
      done
      if kill $machine 2>/dev/null; then echo "choice $n does not end"; wait $machine; exit 1; fi
      wait $machine
      rm -f $scratch/control
    done
    exit 0"#;

/// A picture.
struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<[u8; 3]>,
}

fn picture(path: &Path) -> Picture {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = png::Decoder::new(BufReader::new(file)).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a picture that fits in memory")];
    let info = reader.next_frame(&mut bytes).expect("the PNG's pixels");
    let pixels = bytes.chunks_exact(3).map(|rgb| [rgb[0], rgb[1], rgb[2]]).collect();
    Picture { width: info.width, height: info.height, pixels }
}

impl Picture {
    fn count(&self, colour: [u8; 3]) -> usize {
        self.pixels.iter().filter(|pixel| **pixel == colour).count()
    }

    fn differs(&self, other: &Self) -> usize {
        self.pixels.iter().zip(&other.pixels).filter(|(one, two)| one != two).count()
    }
}

#[test]
fn nested_linux_draws_by_vesa_and_by_its_own_driver() {
    let iso = xorg::iso().unwrap_or_else(|error| panic!("{error}"));
    let job = Job::new("graphics", SCRIPT).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(iso, "xorg.iso").timeout(Duration::from_secs(600)).host_memory(4096);
    let output = Host::pick().run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["1.log", "2.log", "3.log"]);
    let look = |name: &str| picture(&output.dir.join(name));
    let log = output.text("1.log").replace('\r', "");

    // The VGA BIOS in get-edid's and in X.Org's interpreter: the whole EDID, and a mode that it prefers.
    for text in
        ["Checksum Correct", "Identifier \"pcvm monitor\"", "VESA VBE Version 3.0", "VESA VBE DDC read successfully"]
    {
        assert!(log.contains(text), "no {text:?} in:\n{log}");
    }
    assert!(log.contains("h_active: 1024  h_sync: 1048  h_sync_end 1184 h_blank_end 1344"), "{log}");
    assert_eq!(log.matches("dimensions:    1024x768 pixels").count(), 2, "{log}");
    for (server, name) in [(1, "vesa"), (4, "modesetting")] {
        let before = look(&format!("1-{server}.png"));
        assert_eq!((before.width, before.height), (1024, 768), "{name}");
        assert!(
            before.count([0x20, 0x40, 0x80]) > 600_000 && before.count([0xff; 3]) > 20_000,
            "{name}: not what was drawn"
        );
        let moved = before.differs(&look(&format!("1-{server}-moved.png")));
        assert!(moved > 200, "{name}: the eyes do not follow the mouse: {moved} pixels");
    }

    // What 5 bits make of AAh is ADh.
    let consoles =
        [("1-2", 720, 400, 0xaa), ("1-3", 1024, 768, 0xaa), ("2-1", 1024, 768, 0xad), ("3-1", 640, 480, 0xaa)];
    for (name, width, height, red) in consoles {
        let console = look(&format!("{name}.png"));
        assert_eq!((console.width, console.height), (width, height), "{name}");
        let colours = [[red, 0, 0], [0, 0xaa, 0], [red, 0xaa, red]].map(|colour| console.count(colour));
        assert!(colours.iter().all(|&pixels| pixels > 50), "{name}: a console without its colours: {colours:?}");
    }
    for (log, what) in [("2.log", "VESA VGA\n1024,768\n16\n"), ("3.log", "VESA VGA\n640,480\n8\n")] {
        let log = output.text(log).replace('\r', "");
        assert!(log.contains(what), "no {what:?} in:\n{log}");
    }
}

/// Boots the choice with USB, counts how often the idle machine's main loop wakes up, and moves the pointer: by command and
/// by a viewer that only says where its pointer is.
const TABLET: &str = r#"
    scratch=$(mktemp -d /tmp/pcvm.XXXXXX)
    trap 'cp $scratch/*.log $scratch/*.png . 2>/dev/null' EXIT
    ./pcvm run --control unix:$scratch/control --memory 512M --cdrom xorg.iso --boot d --no-reboot --tablet \
      --serial file:$scratch/tablet.log --display none --vnc 127.0.0.1:7 2>$scratch/pcvm.log &
    machine=$!
    until_said() {
      tries=0
      while ! grep -q "$1" $scratch/tablet.log 2>/dev/null; do
        sleep 0.5; tries=$((tries + 1))
        [ $tries -lt 600 ] && kill -0 $machine || { echo "the guest does not say $1"; kill $machine; exit 1; }
      done
    }
    wakes() { awk '/^voluntary/ { print $2 }' /proc/$machine/task/$machine/status; }
    tries=0
    while [ ! -S $scratch/control ] && [ $tries -lt 50 ]; do sleep 0.2; tries=$((tries + 1)); done
    ./pcvm wait $scratch/control --timeout 60 --text '\*Linux' || exit
    # Nobody drives the tablet yet, and what is typed is PS/2's.
    ./pcvm mouse $scratch/control --to 1 1 && exit 1
    ./pcvm key $scratch/control 4 || exit
    until_said "==== look"
    sleep 4
    # Tablet and keyboard are asked for reports, and have none.
    before=$(wakes)
    sleep 8
    echo "wake-ups in 8 s: $(($(wakes) - before))"
    place() { ./pcvm mouse $scratch/control --to $1 $2 || exit; sleep 1; }
    place 3 2
    place 1023 767
    place 512 384
    place 700 500
    ./pcvm screenshot $scratch/control $scratch/700.png || exit
    place 800 600
    ./pcvm screenshot $scratch/control $scratch/800.png || exit
    # Out of the screen, which is told.
    ./pcvm mouse $scratch/control --to 1024 0 && exit 1
    ./pcvm mouse $scratch/control --to 333 222 --click right || exit
    sleep 1
    # A viewer with its pointer at 640, 480, then 641, 479 with the left button down.
    { printf 'RFB 003.008\n'; sleep 1; printf '\001'; sleep 1; printf '\001'; sleep 1
      printf '\005\000\002\200\001\340'; sleep 1; printf '\005\001\002\201\001\337'; sleep 1; } |
      nc 127.0.0.1 5907 >/dev/null
    sleep 1
    ./pcvm mouse $scratch/control 10 0 || exit
    sleep 1
    ./pcvm type $scratch/control 'aB' || exit
    ./pcvm key $scratch/control caps_lock ctrl-delete || exit
    ./pcvm key $scratch/control f12 || exit
    tries=0
    while kill -0 $machine 2>/dev/null && [ $tries -lt 200 ]; do sleep 0.5; tries=$((tries + 1)); done
    if kill $machine 2>/dev/null; then echo "the guest does not end"; exit 1; fi
    wait $machine"#;

#[test]
fn nested_the_pointer_is_where_the_viewers_is() {
    let iso = xorg::iso().unwrap_or_else(|error| panic!("{error}"));
    let job = Job::new("tablet", TABLET).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(iso, "xorg.iso").timeout(Duration::from_secs(600)).host_memory(2048);
    let output = Host::pick().run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["tablet.log"]);
    let log = output.text("tablet.log").replace('\r', "");
    let has = |what: &str| assert!(log.contains(what), "no {what:?} in:\n{log}");

    // As sysfs tells them: the controller's interrupt, both functions, their speeds and drivers.
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

    // Every position, to the pixel: as the tablet told it, and as X.Org took it.
    let events = |code: &str| {
        let values = log.lines().filter(|line| line.starts_with("Event: ")).filter_map(|line| line.split_once(code));
        values.map(|(_, value)| value.trim_start_matches("), value ").parse().expect("a number")).collect::<Vec<i32>>()
    };
    let places: [(u32, u32); 8] =
        [(3, 2), (1023, 767), (512, 384), (700, 500), (800, 600), (333, 222), (640, 480), (641, 479)];
    assert_eq!(events("(ABS_X"), places.map(|(x, _)| (x * 32767).div_ceil(1023) as i32));
    assert_eq!(events("(ABS_Y"), places.map(|(_, y)| (y * 32767).div_ceil(767) as i32));
    let told: Vec<_> = log.lines().filter_map(|line| line.strip_prefix("pointer x:")).skip(1).collect();
    assert_eq!(told, places.map(|(x, y)| format!("{x} y:{y}")));
    for button in ["(BTN_RIGHT", "(BTN_LEFT"] {
        assert_eq!(events(button), [1, 0], "{button}");
    }
    // A movement is the PS/2 mouse's; keys are the USB keyboard's, all of them, and so are the LEDs.
    has("PS2 event1: ");
    has("(REL_X), value 10");
    assert!(!log.lines().any(|line| line.starts_with("PS2") && line.contains("(EV_KEY)")), "{log}");
    for key in ["(KEY_A", "(KEY_LEFTSHIFT", "(KEY_B", "(KEY_CAPSLOCK", "(KEY_LEFTCTRL", "(KEY_DELETE"] {
        assert_eq!(events(key), [1, 0], "{key}");
    }
    assert_eq!(events("(LED_CAPSL"), [1]);

    // The pointer on the screen is there, and not where it was before.
    const BLUE: [u8; 3] = [0x20, 0x40, 0x80];
    let [before, after] = ["700.png", "800.png"].map(|name| picture(&output.dir.join(name)));
    for (place, is, was) in [((700, 500), &before, &after), ((800, 600), &after, &before)] {
        let near = |picture: &Picture| {
            let square = (0..8).flat_map(|y| (0..6).map(move |x| ((place.1 + y) * 1024 + place.0 + x) as usize));
            square.filter(|&at| picture.pixels[at] != BLUE).count()
        };
        assert!(near(is) > 15 && near(was) == 0, "no pointer at {place:?}: {} pixels, {}", near(is), near(was));
    }

    let wakes = output.console.lines().find_map(|line| line.strip_prefix("wake-ups in 8 s: "));
    let wakes: u32 = wakes.and_then(|count| count.trim().parse().ok()).expect("a count");
    assert!((8..8 * 50).contains(&wakes), "an idle controller wakes the host {wakes} times in 8 s");
}
