//! Boot media (memtest86+, iPXE, GRUB, isolinux) and CDs with emulated disks, booted by the project's firmware and operated
//! by `pcvm wait`, `key`, `type`, `screen` and `screenshot`.

use std::path::Path;
use std::time::Duration;

use pcvm_test_guests::media::Media;
use pcvm_test_host::{Host, Job, Output, assert_has};

#[path = "screen/picture.rs"]
#[expect(dead_code, reason = "this test only reads pictures")]
mod picture;

use picture::Picture;

/// Functions of the jobs' scripts. `boot NAME FILE OPTION...` starts a VM with a CD, `wait_screen REGEX` waits for a line of
/// its screen, `save_picture` and `save_text` save the screen to NAME.png and NAME.txt, `stop` ends the VM and saves its
/// output on COM1 to NAME.serial.
const FUNCTIONS: &str = "
    boot() {
      name=$1; iso=$2; shift 2
      echo \"== $name\"
      ./pcvm run --name $name --control unix:/tmp/$name.sock --memory 256M --cdrom $iso --boot d --no-reboot \
        --serial file:/tmp/$name.serial --debugcon /tmp/$name.firmware --display none \"$@\" &
      vm=$!
      wait_for 10 test -S /tmp/$name.sock
    }
    wait_screen() {
      ./pcvm wait /tmp/$name.sock --timeout 120 --text \"$1\" && return
      ./pcvm screen /tmp/$name.sock --text
      tail -n 20 /tmp/$name.serial
      exit 1
    }
    key() { ./pcvm key /tmp/$name.sock \"$@\" || exit; }
    save_picture() { ./pcvm screenshot /tmp/$name.sock $name.png || exit; }
    save_text() { ./pcvm screen /tmp/$name.sock --text >$name.txt || exit; }
    stop() {
      kill $vm
      wait $vm
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

/// Width, height and the number of pixels that differ from the first one.
fn picture(path: &Path) -> (usize, usize, usize) {
    let picture = Picture::read_png(path).unwrap_or_else(|| panic!("{} is not a PNG picture", path.display()));
    let drawn = picture.rgb.chunks_exact(3).filter(|&pixel| pixel != &picture.rgb[..3]).count();
    (picture.width, picture.height, drawn)
}

#[test]
fn nested_memtest86_tests_memory_without_errors() {
    let output = run(
        "media-memtest",
        &["memtest.iso"],
        r"boot memtest memtest.iso
          wait_screen 'Memtest86\+'
          wait_screen 'Pass +[0-9]+%'
          wait_screen 'Test +[1-9][0-9]?%'
          wait_screen 'Errors: +0'
          save_picture
          save_text
          stop",
    );
    let screen = output.text("memtest.txt");
    assert_has(&screen, &["Memtest86+", "Errors: 0"]);
    let (width, height, drawn) = picture(&output.dir.join("memtest.png"));
    assert_eq!((width, height), (720, 400));
    assert!(drawn > 5_000, "memtest86+ has drawn {drawn} pixels only");
}

#[test]
fn nested_boot_loaders_show_their_menus_and_accept_keys() {
    let output = run(
        "media-menus",
        &["ipxe.iso", "menu.iso", "grub-rescue-cdrom.iso", "gfx.iso"],
        r"boot ipxe ipxe.iso
          wait_screen 'iPXE 1'
          wait_screen 'Ctrl-B'
          key ctrl-b
          wait_screen '^iPXE>'
          ./pcvm type /tmp/ipxe.sock --enter 'show version' || exit
          wait_screen 'builtin/version'
          save_text
          save_picture
          stop

          boot isolinux menu.iso
          wait_screen 'The second entry'
          key down
          save_text
          save_picture
          # The second entry powers off by the BIOS' APM, perhaps before the key's release, which is then an error.
          ./pcvm key /tmp/isolinux.sock ret
          wait $vm || exit

          boot grub grub-rescue-cdrom.iso
          wait_screen 'GNU GRUB'
          wait_screen '\*GNU/Linux'
          key down
          wait_screen '\*GNU \(aka GNU/Hurd\)'
          key c
          wait_screen '^grub>'
          ./pcvm type /tmp/grub.sock --enter ls || exit
          wait_screen '\(cd[0-9]*\)'
          save_text
          save_picture
          stop

          boot gfx gfx.iso
          # Graphics (`screen --text` fails) with 500 pixels that are not black.
          drawn() {
            ! ./pcvm screen /tmp/gfx.sock --text >/dev/null 2>&1 && ./pcvm screenshot /tmp/gfx.sock /tmp/gfx.ppm &&
              [ $(tail -c +16 /tmp/gfx.ppm | tr -d '\000' | wc -c) -gt 1500 ]
          }
          wait_for 90 drawn || exit
          save_picture
          stop",
    );
    assert_has(&output.text("ipxe.txt"), &["iPXE>", "show version"]);
    assert_has(&output.text("isolinux.txt"), &["pcvm test menu", "The first entry", "The second entry"]);
    assert_has(&output.text("grub.txt"), &["grub> ls", "(cd"]);
    let (width, height, drawn) = picture(&output.dir.join("gfx.png"));
    assert_eq!((width, height), (800, 600), "GRUB's VBE mode");
    assert!(drawn > 500, "GRUB has drawn {drawn} pixels only");
}

#[test]
fn nested_cds_boot_from_their_emulated_hard_disks_and_floppies() {
    let output = run(
        "media-emulated",
        &["hard-disk.iso", "several.iso", "grub-floppy.iso"],
        r"boot hard hard-disk.iso
          wait_screen 'gave up \(INT 18h\)'
          save_text
          stop

          boot several several.iso
          wait_screen 'gave up \(INT 18h\)'
          save_text
          stop

          boot floppy grub-floppy.iso
          wait_screen 'GNU GRUB'
          wait_screen '\*GNU/Linux'
          save_text
          stop",
    );
    assert_has(&output.text("hard.serial"), &["pcvm boot code, drive 80 second sector 03 10 03"]);
    // Without the menu the first of several images boots: a floppy.
    assert_has(&output.text("several.serial"), &["pcvm boot code, drive 00 second sector"]);
    assert_has(&output.text("floppy.txt"), &["GNU GRUB"]);
}
