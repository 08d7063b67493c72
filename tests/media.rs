//! Boot media that others made (memtest86+, iPXE, GRUB, isolinux) and CDs with emulated disks start by the project's own
//! firmware on the machine, are looked at and take keys, the way a person would do it: by `pcvm wait`, `key`, `screen`
//! and `screenshot`.

use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use pcvm_test_guests::media::Media;
use pcvm_test_host::{Host, Job, Output};

/// What the jobs' scripts have in common. `boot NAME FILE` starts a machine with a CD, `shows TEXT` waits for its screen,
/// `done_with` keeps the screen as text and as a picture and ends the machine.
const FUNCTIONS: &str = "
    boot() {
      name=$1; iso=$2; shift 2
      echo \"== $name\"
      ./pcvm run --name $name --control unix:/tmp/$name.sock --memory 256M --cdrom $iso --boot d --no-reboot \
        --serial file:/tmp/$name.serial --debugcon /tmp/$name.firmware --display none \"$@\" &
      machine=$!
      tries=0
      while [ ! -S /tmp/$name.sock ] && [ $tries -lt 50 ]; do sleep 0.2; tries=$((tries + 1)); done
    }
    shows() {
      ./pcvm wait /tmp/$name.sock --timeout 120 --text \"$1\" && return
      ./pcvm screen /tmp/$name.sock --text
      tail -n 20 /tmp/$name.serial
      exit 1
    }
    key() { ./pcvm key /tmp/$name.sock \"$@\" || exit; }
    look() { ./pcvm screenshot /tmp/$name.sock $name.png || exit; }
    text() { ./pcvm screen /tmp/$name.sock --text >$name.txt || exit; }
    done_with() {
      kill $machine
      wait $machine
      cp /tmp/$name.serial $name.serial
    }";

fn run(name: &str, media: &[&str], script: &str) -> Output {
    let made = Media::make().unwrap_or_else(|error| panic!("{error}"));
    let mut job =
        Job::new(name, format!("{FUNCTIONS}\n{script}\nexit 0")).pcvm().unwrap_or_else(|error| panic!("{error}"));
    for file in media {
        job = job.file(made.path(file), file);
    }
    let output = Host::pick().run(&job.timeout(Duration::from_secs(420))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &[]);
    output
}

#[track_caller]
fn assert_has(text: &str, what: &[&str]) {
    for wanted in what {
        assert!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
}

/// Width, height and how many pixels have another colour than the first.
fn picture(path: &Path) -> (u32, u32, usize) {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = png::Decoder::new(BufReader::new(file)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a picture that fits in memory")];
    let info = reader.next_frame(&mut pixels).expect("the PNG's pixels");
    let pixels: Vec<&[u8]> = pixels.chunks_exact(3).collect();
    (info.width, info.height, pixels.iter().filter(|pixel| **pixel != pixels[0]).count())
}

#[test]
fn nested_memtest86_tests_memory() {
    // It says what the SMBIOS tables and its own timing tell it, then the test's counters move.
    let output = run(
        "media-memtest",
        &["memtest.iso"],
        r"boot memtest memtest.iso
          shows 'Memtest86\+'
          shows 'Pass +[0-9]+%'
          shows 'Test +[1-9][0-9]?%'
          sleep 5
          look
          text
          done_with",
    );
    let screen = output.text("memtest.txt");
    assert_has(&screen, &["Memtest86+", "Errors: 0"]);
    let (width, height, drawn) = picture(&output.dir.join("memtest.png"));
    assert_eq!((width, height), (720, 400));
    assert!(drawn > 5_000, "memtest86+'s screen is nearly empty: {drawn} pixels");
}

#[test]
fn nested_boot_loaders_show_their_menus_and_take_keys() {
    let output = run(
        "media-menus",
        &["ipxe.iso", "menu.iso", "grub-rescue-cdrom.iso", "gfx.iso"],
        r"boot ipxe ipxe.iso
          shows 'iPXE 1'
          shows 'Ctrl-B'
          key ctrl-b
          shows '^iPXE>'
          ./pcvm type /tmp/ipxe.sock --enter 'show version' || exit
          shows 'builtin/version'
          text
          look
          done_with

          boot isolinux menu.iso
          shows 'The second entry'
          key down
          text
          look
          # The second entry switches the machine off, by APM, which isolinux finds in the BIOS: perhaps before the key is
          # let go, which is then nobody's any more.
          ./pcvm key /tmp/isolinux.sock ret
          wait $machine || exit

          boot grub grub-rescue-cdrom.iso
          shows 'GNU GRUB'
          shows '\*GNU/Linux'
          key down
          shows '\*GNU \(aka GNU/Hurd\)'
          key c
          shows '^grub>'
          ./pcvm type /tmp/grub.sock --enter ls || exit
          shows '\(cd[0-9]*\)'
          text
          look
          done_with

          boot gfx gfx.iso
          tries=0
          while sleep 1; do
            look
            ./pcvm screen /tmp/gfx.sock --text >/dev/null 2>&1 || break
            tries=$((tries + 1))
            [ $tries -lt 90 ] || exit 1
          done
          sleep 3
          look
          done_with",
    );
    assert_has(&output.text("ipxe.txt"), &["iPXE>", "show version"]);
    assert_has(&output.text("isolinux.txt"), &["pcvm test menu", "The first entry", "The second entry"]);
    assert_has(&output.text("grub.txt"), &["grub> ls", "(cd"]);
    let (width, height, drawn) = picture(&output.dir.join("gfx.png"));
    assert_eq!((width, height), (800, 600), "GRUB's graphics mode by VBE");
    assert!(drawn > 500, "GRUB's graphics screen is empty: {drawn} pixels");
}

#[test]
fn nested_emulated_disks_and_floppies_of_cds_boot() {
    let output = run(
        "media-emulated",
        &["hard-disk.iso", "several.iso", "grub-floppy.iso"],
        r"boot hard hard-disk.iso
          shows 'gave up \(INT 18h\)'
          text
          done_with

          boot several several.iso
          shows 'gave up \(INT 18h\)'
          text
          done_with

          boot floppy grub-floppy.iso
          shows 'GNU GRUB'
          shows '\*GNU/Linux'
          text
          done_with",
    );
    let said = "pcvm boot code, drive 80 second sector 03 10 03";
    assert_has(&output.text("hard.serial"), &[said]);
    // Of several images the first boots unasked: a floppy.
    assert_has(&output.text("several.serial"), &["pcvm boot code, drive 00 second sector"]);
    assert_has(&output.text("floppy.txt"), &["GNU GRUB"]);
}
