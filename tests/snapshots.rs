//! A running machine's disks under FreeDOS: it damages them and finds them as they were after a rollback; a full host pauses
//! the machine, which then loses nothing; and a floppy is changed at DOS's prompt.

use pcvm_test_guests::floppy;
use pcvm_test_host::{Host, Job, assert_has, require_kvm};
use std::process::Command;
use std::time::Duration;

/// Makes two hard disks for DOS with a file each: C: raw, D: qcow2.
const DISKS: &str = r#"
    disk() { # FILE TEXT
      truncate -s 8064K $1
      # A partition of type 06h from sector 63 on, 15 cylinders of 16 heads and 63 sectors.
      printf '\200\001\001\000\006\017\077\017\077\000\000\000\301\076\000\000' | dd of=$1 bs=1 seek=446 conv=notrunc 2>/dev/null
      printf '\125\252' | dd of=$1 bs=1 seek=510 conv=notrunc 2>/dev/null
      mformat -i $1@@32256 -T 16065 -h 16 -s 63 -H 63 ::
      echo "$2" >text
      mcopy -i $1@@32256 text ::STATE.TXT
    }
    disk c.img 'c is healthy'
    disk d.raw 'd is healthy'
    qemu-img convert -f raw -O qcow2 d.raw d.qcow2
"#;

#[test]
fn software_dos_breaks_its_disks_and_finds_them_whole_after_a_rollback() {
    require_kvm();
    let Some(image) = floppy::freedos_image().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("not tested: there is no FreeDOS image");
        return;
    };
    let script = floppy::CONSOLE.to_string()
        + DISKS
        + r#"
        mkfifo keys; exec 3<>keys
        ./pcvm run --control unix:$PWD/dos.sock --memory 16M --floppy a.img,snapshot --disk c.img \
          --disk d.qcow2,format=qcow2 --boot a --serial stdio --debugcon firmware.log --display none \
          <keys >serial.log 2>errors.log &
        vm=$!
        expect 'A:.>'
        type_line 'type c:\state.txt'
        expect 'c is healthy'
        type_line 'type d:\state.txt'
        expect 'd is healthy'
        ./pcvm snapshot ./dos.sock good --comment 'before the damage' || exit
        type_line 'echo c is broken >c:\state.txt'
        type_line 'echo d is broken >d:\state.txt'
        type_line 'type c:\state.txt'
        expect '^c is broken'
        type_line 'type d:\state.txt'
        expect '^d is broken'
        ./pcvm rollback ./dos.sock nothing 2>refused.log && exit 1
        ./pcvm snapshot ./dos.sock good 2>>refused.log && exit 1
        : >serial.log
        ./pcvm rollback ./dos.sock good --keep damaged || exit
        expect 'A:.>'
        type_line 'type c:\state.txt'
        expect 'c is healthy'
        type_line 'type d:\state.txt'
        expect 'd is healthy'
        type_line 'echo c is new >c:\new.txt'
        type_line 'type c:\new.txt'
        expect '^c is new'
        kill $vm; wait $vm
        for image in c.img d.qcow2; do ./pcvm image snapshot --list $image; done >list.log
        ./pcvm image rollback c.img damaged && ./pcvm image convert c.img c.damaged -O raw || exit
        mtype -i c.damaged@@32256 ::STATE.TXT >damaged.log
        # The image's path and format are the configuration's: the next start finds the overlay by the index.
        : >serial.log
        ./pcvm run --control none --memory 16M --floppy a.img,snapshot --disk c.img --boot a --serial stdio \
          --display none <keys >serial.log 2>>errors.log &
        vm=$!
        expect 'A:.>'
        type_line 'type c:\state.txt'
        expect '^c is broken'
        kill $vm; wait $vm
        exit 0"#;
    let job = Job::new("dos-snapshots", script).file(image, "a.img").timeout(Duration::from_secs(500));
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}"));
    let output = Host::Here.run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.log", "firmware.log", "errors.log", "refused.log"]);
    let refused = output.text("refused.log");
    assert_has(&refused, &["nothing", "has a snapshot 'good' already"]);
    let list = output.text("list.log");
    assert_eq!(list.matches("before the damage").count(), 2, "{list}");
    assert_eq!(list.matches("damaged").count(), 2, "{list}");
    assert_has(&output.text("damaged.log"), &["c is broken"]);
    let check = Command::new("qemu-img").args(["check", "-q"]).arg(output.dir.join("d.qcow2")).status().unwrap();
    assert!(check.success(), "{check}");
}

#[test]
fn software_a_full_host_pauses_the_machine_until_there_is_space() {
    require_kvm();
    let Some(image) = floppy::freedos_image().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("not tested: there is no FreeDOS image");
        return;
    };
    // A small file system of the test's own; mounting it takes root.
    let script = floppy::CONSOLE.to_string()
        + DISKS
        + r#"
        full=$(mktemp -d /tmp/pcvm.XXXXXX)
        mount -t tmpfs -o size=128k tmpfs $full || exit
        trap 'umount -l $full; rmdir $full' EXIT
        cp --sparse=always c.img $full/c.img || exit
        mkfifo keys; exec 3<>keys
        ./pcvm run --control unix:$PWD/dos.sock --name dos --memory 16M --floppy a.img,snapshot --disk $full/c.img \
          --boot a --serial stdio --display none <keys >serial.log 2>errors.log &
        vm=$!
        expect 'A:.>'
        type_line 'copy vim.exe c:'
        paused() { has errors.log 'the machine is paused'; }
        wait_for 60 paused || exit
        prompts() { [ $(grep -c 'A:.>' serial.log) = $1 ]; }
        prompts 1 || { echo "the copy has ended"; exit 1; }
        mount -o remount,size=8m $full || exit
        ./pcvm resume ./dos.sock || exit
        wait_for 60 prompts 2 || exit
        kill $vm; wait $vm
        mtype -i $full/c.img@@32256 ::VIM.EXE >copied
        mtype -i a.img ::VIM.EXE | cmp - copied"#;
    let job = Job::new("dos-full-host", script).file(image, "a.img").timeout(Duration::from_secs(300));
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}"));
    let output = Host::Here.run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.log", "errors.log"]);
    let errors = output.text("errors.log");
    let line =
        "pcvm: drive hda: no space left on the host; the machine is paused: mend the cause, then 'pcvm resume dos'";
    assert_has(&errors, &[line]);
}

#[test]
fn software_dos_reads_a_floppy_that_is_changed_at_its_prompt() {
    require_kvm();
    let Some(image) = floppy::freedos_image().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("not tested: there is no FreeDOS image");
        return;
    };
    let script = floppy::CONSOLE.to_string()
        + r#"
        for n in one two; do
          mformat -C -i $n.img -f 1440 ::
          echo "floppy $n" >text
          mcopy -i $n.img text ::TEXT.TXT
        done
        mkfifo keys; exec 3<>keys
        ./pcvm run --control unix:$PWD/dos.sock --memory 16M --floppy a.img,snapshot --floppy one.img --boot a \
          --serial stdio --display none <keys >serial.log 2>errors.log &
        vm=$!
        expect 'A:.>'
        type_line 'type b:\text.txt'
        expect 'floppy one'
        ./pcvm floppy ./dos.sock insert two.img --unit fdb || exit
        type_line 'type b:\text.txt'
        expect 'floppy two'
        type_line 'echo written >b:\more.txt'
        type_line 'type b:\more.txt'
        expect '^written'
        ./pcvm floppy ./dos.sock eject --unit fdb || exit
        type_line 'type b:\text.txt'
        expect 'drive not ready'
        # DOS discards what was typed before it asks.
        expect '(F)ail?'
        : >serial.log
        type_line 'a'
        expect 'A:.>'
        ./pcvm floppy ./dos.sock insert one.img --unit fdb --readonly || exit
        : >serial.log
        type_line 'type b:\text.txt'
        expect 'floppy one'
        kill $vm; wait $vm
        mtype -i two.img ::MORE.TXT >more.log"#;
    let job = Job::new("dos-floppy-change", script).file(image, "a.img").timeout(Duration::from_secs(300));
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}"));
    let output = Host::Here.run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.log", "errors.log"]);
    assert_has(&output.text("more.log"), &["written"]);
}
