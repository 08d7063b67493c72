//! Floppies on the real controller: FreeDOS from drive A formats, fills and compares a floppy in drive B; a floppy boots by
//! the boot menu and by SeaBIOS.

use pcvm_test_guests::{floppies, floppy};
use pcvm_test_host::{Host, Job, Output, assert_has, require_kvm};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Debian's SeaBIOS.
const SEABIOS: &str = "--firmware bios.bin";

fn run(job: Job) -> Output {
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}"));
    Host::Here.run(&job).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn software_freedos_formats_fills_and_compares_a_floppy_in_drive_b() {
    require_kvm();
    let Some(image) = floppy::freedos_image().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("not tested: there is no FreeDOS image");
        return;
    };
    // The disk in B is full of a byte that no file system has there, so that only the format can make one.
    let script = floppy::CONSOLE.to_string()
        + r#"
        head -c 1474560 /dev/zero | tr '\0' '\252' >b.img
        mkfifo keys; exec 3<>keys
        ./pcvm run --control none --memory 16M --floppy a.img,snapshot --floppy b.img --boot a --serial stdio \
          --debugcon firmware.log --display none <keys >serial.log 2>errors.log &
        vm=$!
        expect 'A:.>'
        type_line 'form'
        expect '160 tracks formatted and verified'
        type_line 'copy vim.exe b:'
        expect '=> b:vim.exe'
        type_line 'copy nasm.exe b:\n.exe'
        expect '=> b:.n.exe'
        type_line 'same vim.exe b:vim.exe'
        expect 'the files are the same'
        type_line 'same nasm.exe b:vim.exe'
        expect 'the files DIFFER'
        type_line 'md b:\dir'
        type_line 'copy readme b:\dir'
        type_line 'del b:\n.exe'
        type_line 'b:'
        expect 'B:.>'
        type_line 'dir'
        expect 'bytes free'
        kill $vm; wait $vm
        exit 0"#;
    let output = run(Job::new("dos-floppies", script).file(image, "a.img").timeout(Duration::from_secs(400)));
    output.expect_status(0, &["serial.log", "firmware.log", "errors.log"]);
    assert_has(&output.text("firmware.log"), &["Booting from floppy 1"]);
    // Other implementations read what DOS wrote.
    let (a, b) = (output.dir.join("a.img"), output.dir.join("b.img"));
    let shell = |line: &str| {
        let result = Command::new("sh").arg("-c").arg(line).env("A", &a).env("B", &b).output().unwrap();
        let text = String::from_utf8_lossy(&result.stdout).into_owned() + &String::from_utf8_lossy(&result.stderr);
        assert!(result.status.success(), "{line}: {text}");
        text
    };
    shell("fsck.fat -n $B");
    shell("mtype -i $A ::VIM.EXE >$B.a; mtype -i $B ::VIM.EXE | cmp - $B.a");
    shell("mtype -i $A ::README >$B.a; mtype -i $B ::DIR/README | cmp - $B.a");
    assert!(!shell("mdir -b -i $B ::").contains("N.EXE"));
}

/// Boots the checksum floppy (floppy.s) until its report is on COM1.
fn checksum(host: Host, name: &str, options: &str, keys: &str) -> Output {
    let image = floppy::checksum_image().unwrap_or_else(|error| panic!("{error}"));
    // The directory of a nested host takes no socket.
    let control = if keys.is_empty() { "none" } else { "unix:$PWD/control" };
    let script = format!(
        "./pcvm run --control {control} --memory 32M {options} --serial file:serial.log \
           --debugcon firmware.log --display none &
         vm=$!
         {keys}
         finished() {{ has serial.log 'pcvm boot sector' || ended $vm; }}
         wait_for 180 finished
         kill $vm 2>/dev/null; wait $vm
         has serial.log '2879 sectors read, sum right'"
    );
    let job = Job::new(name, script).file(image, "a.img").timeout(Duration::from_secs(240));
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}"));
    let output = host.run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["firmware.log", "serial.log"]);
    output
}

#[test]
fn software_a_floppy_boots_by_the_boot_menu() {
    // Nothing boots until the floppy is inserted; then the menu has it.
    let keys = "waits() { has firmware.log 'Press F12 or Esc for the boot menu'; }
         wait_for 60 waits
         ./pcvm floppy ./control insert a.img --readonly || exit
         ./pcvm key ./control f12
         ./pcvm wait ./control --timeout 60 --text 'Boot from:' && ./pcvm screen ./control --text >menu.txt
         number=$(sed -n 's/^ *\\([0-9]\\)\\..*[Ff]loppy.*/\\1/p' menu.txt | head -n 1)
         ./pcvm key ./control $number || exit";
    let output = checksum(Host::Here, "floppy-menu", "--floppy empty --boot c", keys);
    assert_has(&output.text("menu.txt"), &["loppy"]);
}

#[test]
fn nested_seabios_boots_a_floppy() {
    // It waits for IRQ 6 in windows of one instruction, in which the software KVM delivers none.
    checksum(Host::pick(), "floppy-seabios", &format!("{SEABIOS} --floppy a.img,readonly --boot a"), "");
}

#[test]
fn a_file_that_is_no_floppy_is_refused_with_the_sizes_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, size: u64| {
        fs::File::create(dir.path().join(name)).unwrap().set_len(size).unwrap();
    };
    at("odd.img", 1_000_000);
    at("ed.img", 2880 * 1024);
    for (option, expected) in [
        ("odd.img", "pcvm: odd.img: 1000000 bytes is not the size of a floppy, which is 160K, 180K, 320K,"),
        (
            "ed.img,drive=1.44",
            "pcvm: ed.img: a floppy of 2949120 bytes does not fit the 1.44 MB (3.5\") drive; 'pcvm run' needs 'drive=2.88'",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_pcvm"))
            .current_dir(dir.path())
            .args(["run", "--control", "none", "--floppy", option])
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), message.lines().count()), (Some(1), 1), "{message}");
        assert!(message.starts_with(expected), "{message}");
    }
}

/// What Linux does to the floppies, from drive A: reads it whole, formats drive B and fills it by mtools and
/// by its own file system, overwrites it with random bytes and reads them back.
const ANSWERS: &str = r#"
section read
forget /dev/fd0
seconds dd if=/dev/fd0 of=/tmp/a.img bs=18k 2>/dev/null
md5sum /tmp/a.img
section format
seconds fdformat && forget /dev/fd1 && tr -d '\366' </dev/fd1 | wc -c
mformat -f 1440 -v LINUX b: && mdir b:
section files
mcopy /bin/mtools b:mtools && sync && forget /dev/fd1
mtype b:mtools | cmp - /bin/mtools && echo 'mtools: same'
mount -t vfat /dev/fd1 /mnt && cp /bin/fdformat /mnt/; umount /mnt
forget /dev/fd1
mtype b:fdformat | cmp - /bin/fdformat && echo 'fdformat: same'
section write
head -c 1474560 /dev/urandom >/tmp/random
seconds dd if=/tmp/random of=/dev/fd1 bs=18k conv=fsync 2>/dev/null
forget /dev/fd1
cmp /tmp/random /dev/fd1 && echo 'random: same'
md5sum /tmp/random
"#;

#[test]
fn nested_linux_formats_fills_and_reads_floppies() {
    let guest = floppies::make().unwrap_or_else(|error| panic!("{error}"));
    let dir = tempfile::tempdir().unwrap();
    let (a, answers) = (dir.path().join("a.img"), dir.path().join("answers.sh"));
    fs::write(&answers, ANSWERS).unwrap();
    let shell = |line: &str| {
        let result = Command::new("bash").arg("-ec").arg(line).env("A", &a).env("ANSWERS", &answers).output().unwrap();
        assert!(result.status.success(), "{line}: {}", String::from_utf8_lossy(&result.stderr));
        String::from_utf8_lossy(&result.stdout).into_owned()
    };
    // The answers, and random bytes in the rest.
    shell("truncate -s 1440K $A; mformat -i $A -f 1440 ::; mcopy -i $A $ANSWERS ::answers.sh");
    shell("head -c 1400000 /dev/urandom | mcopy -i $A - ::random");
    let sum = shell("md5sum <$A");
    let script = "head -c 1474560 /dev/zero | tr '\\0' '\\252' >b.img
        ./pcvm run --control none --memory 256M --kernel vmlinuz --initrd initrd.gz --append 'console=ttyS0 panic=-1' \
          --floppy a.img,readonly --floppy b.img --serial file:serial.log --display none 2>errors.log &
        vm=$!
        finished() { ended $vm; }
        wait_for 300 finished || kill $vm
        wait $vm
        has serial.log '==== end'";
    let job = Job::new("linux-floppies", script).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(guest.join("vmlinuz"), "vmlinuz").file(guest.join("initrd.gz"), "initrd.gz").file(&a, "a.img");
    let output = Host::pick().run(&job.timeout(Duration::from_secs(400))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.log", "errors.log"]);
    let log = output.text("serial.log").replace('\r', "");
    assert_has(&log, &["is a post-1991 82077", "mtools: same", "fdformat: same", "random: same"]);
    assert_has(&log, &[sum.split(' ').next().unwrap_or_default()]);
    assert!(!log.contains("I/O error"), "{log}");
}
