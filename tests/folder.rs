//! Directories of the host as media: Linux mounts one as a CD with Rock Ridge, Joliet and level 1 names and reads every file,
//! and writes to another one as a floppy disk; FreeDOS changes one in drive B.

use pcvm_test_guests::{floppy, folder};
use pcvm_test_host::{Host, Job, assert_has, require_kvm};
use std::fs;
use std::process::Command;
use std::time::Duration;

const SCRIPT: &str = r#"
    # The directory of a job may be on a file system without FIFOs.
    share=$(mktemp -d /tmp/pcvm.XXXXXX)
    trap 'rm -rf $share' EXIT
    results=$PWD
    cd $share
    mkdir -p 'A Folder/deep/deeper'
    head -c 3000000 </dev/urandom >'A Folder/deep/deeper/random data.bin'
    echo 'read me' >README.TXT
    echo 'not ASCII' >'Ünï çödé.txt'
    echo 'a program' >program.sh
    chmod 755 program.sh
    chmod 600 README.TXT
    : >empty
    ln -s 'A Folder/deep' link
    mkfifo fifo || exit
    for n in $(seq 200); do echo $n >"A Folder/file number $n.text"; done
    find . -type f -exec md5sum {} + >$results/sums
    cd $results
    mkdir -p 'floppy/A directory'
    echo 'on the host' >'floppy/A directory/Ünï.txt'
    echo 'to be removed' >floppy/remove
    (cd floppy && find . -type f -exec md5sum {} +) >floppy-sums
    ./pcvm run --control unix:/tmp/folder.sock --memory 256M --kernel vmlinuz --initrd initrd.gz \
      --append 'console=ttyS0,115200n8 loglevel=4 panic=-1' --cdrom dir:$share --floppy dir:floppy,readonly=off \
      --no-reboot --serial file:/tmp/serial.log --display none 2>warnings.log &
    vm=$!
    finished() { ended $vm; }
    wait_for 240 finished
    kill $vm 2>/dev/null
    cp /tmp/serial.log serial.log
    (cd floppy && find . -type f -exec md5sum {} +) >floppy-after
    cat 'floppy/A new file.txt' >new
    exit 0"#;

#[test]
fn nested_linux_reads_a_directory_as_a_cd_and_writes_to_one_as_a_floppy() {
    let guest = folder::make().unwrap_or_else(|error| panic!("{error}"));
    let job = Job::new("folder", SCRIPT).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(guest.join("vmlinuz"), "vmlinuz").file(guest.join("initrd.gz"), "initrd.gz");
    let output = Host::pick().run(&job.timeout(Duration::from_secs(420))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.log", "warnings.log"]);
    assert_has(&output.text("warnings.log"), &[": skips 'fifo': is a FIFO"]);
    let serial = output.text("serial.log").replace('\r', "");
    let section = |name: &str| -> Vec<String> {
        let text = serial.split_once(&format!("==== {name}\n")).unwrap_or_else(|| panic!("no {name}: {serial}")).1;
        text.lines().take_while(|line| !line.starts_with("====")).map(str::to_owned).collect()
    };
    let sums = |lines: &[String]| -> Vec<String> {
        let is_sum =
            |line: &&String| line.as_bytes().iter().take(32).all(u8::is_ascii_hexdigit) && line.contains("  ./");
        let mut sums: Vec<_> = lines.iter().filter(is_sum).cloned().collect();
        sums.sort();
        sums
    };
    let mut expected: Vec<_> = output.text("sums").lines().map(str::to_owned).collect();
    expected.sort();
    assert_eq!(expected.len(), 205);

    let rock_ridge = section("Rock Ridge");
    assert_eq!(sums(&rock_ridge), expected);
    assert!(rock_ridge.iter().any(|line| line.ends_with("./link -> A Folder/deep")), "{rock_ridge:?}");
    let listed = |name: &str| rock_ridge.iter().find(|line| line.ends_with(name)).cloned().unwrap_or_default();
    assert!(listed(" program.sh").starts_with("-r-xr-xr-x    1 0        0 "), "{rock_ridge:?}");
    assert!(listed(" README.TXT").starts_with("-r--r--r--    1 0        0 "), "{rock_ridge:?}");
    assert_eq!(sums(&section("Joliet")), expected);
    // Linux shows level 1 names without the version.
    let level_1 = section("level 1");
    let contents = |lines: Vec<String>| -> Vec<String> { lines.iter().map(|line| line[..32].to_owned()).collect() };
    // The link is an empty file there.
    let mut with_link = contents(expected);
    with_link.push("d41d8cd98f00b204e9800998ecf8427e".to_owned());
    with_link.sort();
    assert_eq!(contents(sums(&level_1)), with_link);
    let names: Vec<_> = level_1.iter().filter_map(|line| line.get(34..)).collect();
    for name in [
        "./A_FOLDER/DEEP/DEEPER/RANDOM_D.BIN;1",
        "./README.TXT;1",
        "./A_FOLDER/FILE_NUM.TEX;1",
        "./A_FOLDER/FILE_100.TEX;1",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }

    let lines = |name: &str| -> Vec<String> {
        let mut lines: Vec<_> = output.text(name).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sums(&section("floppy")), lines("floppy-sums"));
    assert_eq!(output.text("new"), "written by the guest\n");
    let after = lines("floppy-after");
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(after.iter().any(|line| line.ends_with("  ./A directory/Ünï.txt") && lines("floppy-sums").contains(line)));
    assert_eq!(section("errors"), Vec::<String>::new());
}

#[test]
fn software_freedos_changes_a_directory_in_drive_b() {
    require_kvm();
    let Some(image) = floppy::freedos_image().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("not tested: there is no FreeDOS image");
        return;
    };
    let script = floppy::CONSOLE.to_string()
        + r#"
        mkdir -p share/sub
        printf 'written by the host\r\n' >share/HOST.TXT
        printf 'below\r\n' >'share/sub/A long name.text'
        echo 'to be removed' >share/GONE.TXT
        mkfifo keys; exec 3<>keys
        ./pcvm run --control unix:$PWD/dos.sock --memory 16M --floppy a.img,snapshot --floppy dir:share,readonly=off \
          --boot a --serial stdio --display none <keys >serial.log 2>errors.log &
        vm=$!
        expect 'A:.>'
        type_line 'type b:\host.txt'
        expect 'written by the host'
        type_line 'type b:\sub\alongn~1.tex'
        expect '^below'
        type_line 'copy vim.exe b:\sub'
        expect '=> b:.sub.vim.exe'
        type_line 'echo changed by DOS>b:\host.txt'
        type_line 'del b:\gone.txt'
        type_line 'md b:\new'
        type_line 'copy readme b:\new\note.txt'
        type_line 'dir b:\new'
        expect 'bytes free'
        # The directory has the changes when the disk leaves the drive, here for another directory.
        mkdir other
        echo 'another disk' >other/OTHER.TXT
        ./pcvm floppy ./dos.sock insert dir:other --unit fdb || exit
        grep -q 'changed by DOS' share/HOST.TXT || { echo 'HOST.TXT is not changed'; exit 1; }
        type_line 'type b:\other.txt'
        expect 'another disk'
        type_line 'copy readme b:\'
        expect 'write-protection violation'
        kill $vm; wait $vm
        exit 0"#;
    let job = Job::new("dos-folder", script).file(image, "a.img").timeout(Duration::from_secs(400));
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}"));
    let output = Host::Here.run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.log", "errors.log"]);
    let share = output.dir.join("share");
    let file = |name: &str| fs::read(share.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(file("sub/A long name.text"), b"below\r\n");
    assert!(!share.join("GONE.TXT").exists());
    let on_floppy = |name: &str| {
        let output = Command::new("mtype").arg("-i").arg(output.dir.join("a.img")).arg(name).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    assert_eq!(file("sub/VIM.EXE"), on_floppy("::VIM.EXE"));
    assert_eq!(file("NEW/NOTE.TXT"), on_floppy("::README"));
}
