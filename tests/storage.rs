//! fio in a Linux guest verifies random writes with TRIM and flushes mixed in, on each kind of image and in each cache mode; a
//! killed machine's ext4 holds every synced file; a disk works with io_uring and on a host that refuses it.

use pcvm_test_guests::{flat, storage};
use pcvm_test_host::{Host, Job, require_kvm};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn qemu_img(dir: &Path, args: &[&str]) {
    let output = Command::new("qemu-img").current_dir(dir).args(args).output().expect("qemu-img");
    assert!(output.status.success(), "qemu-img {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Checks what fio has reported on these disks.
fn verified(log: &str, disks: &[&str]) {
    for disk in disks {
        assert!(log.contains(&format!("==== {disk}: verified")), "{log}");
        let trim = format!("==== {disk}: 131072 sectors, discards up to 0 bytes");
        assert!(!log.contains(&trim), "{disk} has no TRIM: {log}");
    }
}

/// Runs fio on a raw image, a qcow2 image and a chain of 50 images, in one cache mode.
fn verify(cache: &str) {
    let guest = storage::make().unwrap_or_else(|error| panic!("{error}"));
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    std::fs::create_dir(&images).unwrap();
    std::fs::File::create(images.join("raw.img")).unwrap().set_len(64 << 20).unwrap();
    qemu_img(&images, &["create", "-q", "-f", "qcow2", "top.qcow2", "64M"]);
    qemu_img(&images, &["create", "-q", "-f", "qcow2", "0.qcow2", "64M"]);
    for n in 1..50 {
        let base = format!("{}.qcow2", n - 1);
        qemu_img(&images, &["create", "-q", "-f", "qcow2", "-b", &base, "-F", "qcow2", &format!("{n}.qcow2")]);
    }
    // On ext4, because the directories of a nested host have no direct I/O.
    let image = "PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -E lazy_itable_init=1,nodiscard -d images fs.img 320M && gzip -1 fs.img";
    let made = Command::new("sh").current_dir(dir.path()).args(["-c", image]).status().unwrap();
    assert!(made.success(), "mke2fs: {made}");
    let script = format!(
        "! command -v load-modules >/dev/null || load-modules
         mkdir /tmp/fs && gunzip -c fs.img.gz >/tmp/fs.img && mount -o loop /tmp/fs.img /tmp/fs || exit
         ./pcvm run --control none --memory 512M --kernel vmlinuz --initrd initrd.gz --append 'console=ttyS0 panic=-1' \
           --disk /tmp/fs/raw.img,cache={cache} --disk /tmp/fs/top.qcow2,format=qcow2,cache={cache} \
           --disk /tmp/fs/49.qcow2,format=qcow2,cache={cache} --cdrom fio.iso,unit=hdd \
           --serial file:serial.log --display none 2>errors.log &
         vm=$!
         finished() {{ ended $vm; }}
         wait_for 500 finished || kill $vm
         wait $vm
         cp /tmp/fs/*.qcow2 . && umount /tmp/fs
         has serial.log '==== end'"
    );
    let mut job = Job::new(&format!("fio-{cache}"), script).pcvm().unwrap_or_else(|error| panic!("{error}"));
    for name in ["vmlinuz", "initrd.gz", "fio.iso"] {
        job = job.file(guest.join(name), name);
    }
    job = job.file(dir.path().join("fs.img.gz"), "fs.img.gz");
    let output = Host::pick().run(&job.timeout(Duration::from_secs(600))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.log", "errors.log"]);
    verified(&output.text("serial.log").replace('\r', ""), &["sda", "sdb", "sdc"]);
    for image in ["top.qcow2", "49.qcow2"] {
        qemu_img(&output.dir, &["check", "-q", image]);
    }
}

#[test]
fn nested_fio_verifies_writes_with_trim_past_the_page_cache() {
    verify("none");
}

#[test]
fn nested_fio_verifies_a_network_disk_whose_server_is_killed_again_and_again() {
    let guest = storage::make().unwrap_or_else(|error| panic!("{error}"));
    let dir = tempfile::tempdir().unwrap();
    // qemu-nbd with its libraries, for a nested host.
    let pack = "program=$(command -v qemu-nbd) &&
        { echo $program; ldd $program | grep -o '/[^ ]*'; } | sort -u | tar -chf root.tar --absolute-names -T -";
    let packed = Command::new("sh").current_dir(dir.path()).args(["-c", pack]).status().unwrap();
    assert!(packed.success(), "{packed}");
    let script = "command -v qemu-nbd >/dev/null || tar -xf root.tar -C / || exit
         export PATH=$PATH:/usr/bin
         truncate -s 64M disk.img
         serve() {
           rm -f /tmp/nbd.socket
           qemu-nbd -f raw -k /tmp/nbd.socket -t --discard=unmap -x disk disk.img &
           server=$!
         }
         serve
         wait_for 20 test -S /tmp/nbd.socket
         ./pcvm run --control none --memory 512M --kernel vmlinuz --initrd initrd.gz --append 'console=ttyS0 panic=-1' \
           --disk \"nbd+unix:///disk?socket=/tmp/nbd.socket\" --cdrom fio.iso,unit=hdd \
           --serial file:serial.log --display none 2>errors.log &
         vm=$!
         kills=0
         ended_or_killed() {
           ended $vm && return 0
           # Only while fio runs.
           if has serial.log '==== sda: 131072'; then
             sleep 8; kill -9 $server; wait $server; sleep 0.5; serve; kills=$((kills + 1))
           fi
           return 1
         }
         wait_for 500 ended_or_killed || kill $vm
         wait $vm
         kill $server
         echo \"killed $kills times\" >kills.log
         has serial.log '==== end'";
    let mut job = Job::new("fio-nbd", script).pcvm().unwrap_or_else(|error| panic!("{error}"));
    for name in ["vmlinuz", "initrd.gz", "fio.iso"] {
        job = job.file(guest.join(name), name);
    }
    job = job.file(dir.path().join("root.tar"), "root.tar");
    let output = Host::pick().run(&job.timeout(Duration::from_secs(600))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.log", "errors.log", "kills.log"]);
    verified(&output.text("serial.log").replace('\r', ""), &["sda"]);
    let kills = output.text("kills.log");
    let count: u32 = kills.split(' ').nth(1).and_then(|count| count.parse().ok()).unwrap_or(0);
    assert!(count >= 2, "{kills}");
}

#[test]
fn nested_fio_verifies_writes_with_trim_through_the_page_cache() {
    verify("writeback");
}

#[test]
fn nested_fio_verifies_writes_with_trim_that_are_written_through() {
    verify("writethrough");
}

#[test]
fn nested_fio_verifies_writes_with_trim_without_flushes() {
    verify("unsafe");
}

/// The file that the guest writes as number `n`.
fn file(n: usize) -> Vec<u8> {
    format!("file {n}\n").into_bytes().into_iter().cycle().take(n % 9 * 8000 + 100).collect()
}

#[test]
fn nested_a_killed_machine_leaves_an_ext4_with_every_synced_file() {
    const IMAGES: [(&str, &str); 4] =
        [("raw", "writeback"), ("qcow2", "writeback"), ("raw", "none"), ("qcow2", "writethrough")];
    let guest = storage::make().unwrap_or_else(|error| panic!("{error}"));
    let dir = tempfile::tempdir().unwrap();
    let make = "PATH=$PATH:/usr/sbin:/sbin; truncate -s 64M raw.img && mke2fs -q -t ext4 raw.img &&
        qemu-img convert -f raw -O qcow2 raw.img qcow2.img";
    let made = Command::new("sh").current_dir(dir.path()).args(["-c", make]).status().unwrap();
    assert!(made.success(), "{made}");
    let mut script = String::new();
    for (n, (format, cache)) in IMAGES.iter().enumerate() {
        // On the host's own file system: the directory of a nested host has no direct I/O.
        script += &format!(
            "cp {format}.img /tmp/{n}.img
             cache={cache}; [ $cache != none ] || (: | dd of=/tmp/direct oflag=direct 2>/dev/null) || cache=writeback
             ./pcvm run --control none --memory 256M --kernel vmlinuz --initrd initrd.gz \
               --append 'console=ttyS0 panic=-1 job=sync' --disk /tmp/{n}.img,format={format},cache=$cache \
               --serial file:serial.{n} --display none 2>>errors.log &
             vm=$!
             enough() {{ ended $vm || has serial.{n} 'synced {}'; }}
             wait_for 150 enough
             sleep 0.{n}3
             kill -9 $vm; wait $vm
             mv /tmp/{n}.img {n}.img\n",
            60 + 11 * n
        );
    }
    let mut job = Job::new("killed-ext4", script).pcvm().unwrap_or_else(|error| panic!("{error}"));
    for name in ["vmlinuz", "initrd.gz"] {
        job = job.file(guest.join(name), name);
    }
    for format in ["raw", "qcow2"] {
        job = job.file(dir.path().join(format!("{format}.img")), &format!("{format}.img"));
    }
    let output = Host::pick().run(&job.timeout(Duration::from_secs(700))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.0", "serial.1", "serial.2", "serial.3", "errors.log"]);
    let shell = |line: &str| {
        let line = format!("PATH=$PATH:/usr/sbin:/sbin; {line}");
        let done = Command::new("sh").current_dir(&output.dir).args(["-c", &line]).output().unwrap();
        assert!(done.status.success(), "{line}: {done:?}");
        done.stdout
    };
    for (n, (format, _)) in IMAGES.iter().enumerate() {
        if *format == "qcow2" {
            // Leaked clusters are no damage.
            shell(&format!("qemu-img check -q {n}.img || [ $? = 3 ]"));
        }
        shell(&format!("qemu-img convert -f {format} -O raw {n}.img {n}.fs"));
        // 1: the journal was replayed.
        shell(&format!("e2fsck -fy {n}.fs || [ $? = 1 ]"));
        shell(&format!("e2fsck -fn {n}.fs"));
        let serial = output.text(&format!("serial.{n}")).replace('\r', "");
        let synced = |line: &str| line.strip_prefix("==== synced ").and_then(|n| n.parse::<usize>().ok());
        let last = serial.lines().filter_map(synced).max().unwrap_or(0);
        assert!(last >= 60 + 11 * n, "{serial}");
        // A file replaces the one 420 before it, and the one that was being written last may have done so.
        for number in last.saturating_sub(418).max(1)..=last {
            let content = shell(&format!("debugfs -R 'cat /{}/{}' {n}.fs", number % 7, number % 60));
            assert!(content == file(number), "{format} {n}: file {number} of {last} is damaged");
        }
    }
}

#[test]
fn software_a_disk_past_the_page_cache_works_with_io_uring_and_where_the_host_refuses_it() {
    require_kvm();
    let dir = tempfile::tempdir().unwrap();
    // 64 times WRITE DMA of 4 KiB, one after another (bench.s).
    let mut guest = std::fs::read(flat::bench().unwrap_or_else(|error| panic!("{error}"))).unwrap();
    guest[0xFFE0] = 12;
    guest[0xFFE2..0xFFE8].copy_from_slice(&[8, 0x80, 64, 0, 0, 0]);
    std::fs::write(dir.path().join("guest.bin"), guest).unwrap();
    for (name, refuse) in [("io-uring", ""), ("no-io-uring", "-e inject=io_uring_setup:error=EPERM")] {
        let script = format!(
            "head -c 1M /dev/zero | tr '\\0' x >disk.img
             strace -f -qq --seccomp-bpf -e trace=io_uring_setup,io_uring_enter {refuse} -o calls.log \
               ./pcvm run --control none --memory 16M --firmware guest.bin --disk disk.img,cache=none \
               --serial file:serial.log --display none --no-reboot || exit
             tr -d '\\0' <disk.img | wc -c >untouched"
        );
        let job = Job::new(name, script).pcvm().unwrap_or_else(|error| panic!("{error}"));
        let job = job.file(dir.path().join("guest.bin"), "guest.bin");
        let output = Host::Here.run(&job).unwrap_or_else(|error| panic!("{error}"));
        output.expect_status(0, &["serial.log", "calls.log"]);
        assert_eq!((output.text("serial.log").as_str(), output.text("untouched").trim()), ("", "786432"), "{name}");
        let calls = output.text("calls.log");
        let requests = calls.matches("io_uring_enter").count();
        if calls.contains("= -1") {
            assert_eq!(requests, 0, "{calls}");
            assert!(calls.matches("io_uring_setup").count() == 1, "a refused io_uring is asked for again: {calls}");
        } else {
            assert!(refuse.is_empty() && requests >= 64, "{calls}");
        }
    }
}
