//! More frames than a guest takes: they cost neither memory nor, to speak of, the guest's other business.

mod lan;

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lan::run;
use pcvm_test_guests::flat;
use pcvm_test_host::require_kvm;

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Resident memory of a process, in KiB, and the most that it ever was.
fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// What became of a machine whose guest reads its disk, and not its network card.
#[derive(Debug)]
struct Deaf {
    /// From its first sector to its end.
    time: Duration,
    /// The most memory that it had, in KiB.
    memory: u64,
    /// The card's interrupt status and missed frames at the end.
    isr: u32,
    missed: u32,
    /// Frames that were sent to it.
    frames: u64,
}

fn deaf(dir: &Path, model: &str, flood: bool) -> Deaf {
    let socket = dir.join("cable");
    let serial = dir.join("serial");
    let _ = fs::remove_file(&serial);
    let child = Command::new(env!("CARGO_BIN_EXE_pcvm"))
        .current_dir(dir)
        .args(["run", "--memory", "16M", "--firmware", "deaf.bin", "--disk", "disk.img", "--display", "none"])
        .args(["--serial", "file:serial", "--no-reboot", "--net", &format!("pair:unix:cable,model={model}")])
        .stdin(Stdio::null())
        .spawn()
        .expect("pcvm");
    let mut machine = Running(child);
    let said = || fs::read_to_string(&serial).unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !said().starts_with('B') {
        assert!(Instant::now() < deadline, "the guest does not begin");
        thread::sleep(Duration::from_millis(1));
    }
    let start = Instant::now();
    let cable = UnixStream::connect(&socket).expect("the other end of the cable");
    let sender = flood.then(|| {
        let mut cable = cable.try_clone().expect("a descriptor");
        thread::spawn(move || {
            // The shortest frames, as many as go in one write.
            let mut frame = 60_u32.to_be_bytes().to_vec();
            frame.resize(4 + 60, 0x5a);
            let (many, mut frames) = (frame.repeat(512), 0);
            while cable.write_all(&many).is_ok() {
                frames += 512;
            }
            frames
        })
    });
    let mut memory = 0;
    while machine.0.try_wait().expect("its status").is_none() {
        memory = memory.max(resident(machine.0.id()).unwrap_or(0));
        assert!(Instant::now() < deadline, "the guest does not come to its end: {:?}", said());
        thread::sleep(Duration::from_millis(2));
    }
    let time = start.elapsed();
    let _ = cable.shutdown(Shutdown::Both);
    let frames = sender.map_or(0, |sender| sender.join().expect("the sender"));
    let said = said();
    let numbers: Vec<u32> =
        said.split_whitespace().skip(1).filter_map(|word| u32::from_str_radix(word, 16).ok()).collect();
    let [isr, missed] = numbers[..] else { panic!("{said:?}") };
    Deaf { time, memory, isr, missed, frames }
}

#[test]
fn software_a_guest_that_does_not_read_keeps_its_disk_and_its_host_its_memory() {
    const ROK: u32 = 1 << 0;
    const RXOVW: u32 = 1 << 4;
    require_kvm();
    let dir = tempfile::tempdir().unwrap();
    fs::copy(flat::stalled_receiver(30_000).unwrap_or_else(|error| panic!("{error}")), dir.path().join("deaf.bin"))
        .unwrap();
    fs::write(dir.path().join("disk.img"), vec![0x5a; 1 << 20]).unwrap();
    let quiet = deaf(dir.path(), "rtl8139c", false);
    let flooded = deaf(dir.path(), "rtl8139c", true);
    eprintln!("{quiet:?}\n{flooded:?}");
    assert_eq!((quiet.isr & (ROK | RXOVW), quiet.missed), (0, 0), "{quiet:?}");
    // The ring is full, and patience over.
    assert_eq!(flooded.isr & (ROK | RXOVW), ROK | RXOVW, "{flooded:?}");
    assert!(flooded.missed > 0 && flooded.frames > u64::from(flooded.missed), "{flooded:?}");
    // What waits is bounded: frames in the card's queue, a batch, and what was read of the socket.
    assert!(flooded.memory < quiet.memory + 4096, "KiB: {quiet:?} {flooded:?}");
    assert!(flooded.time < 4 * quiet.time + Duration::from_secs(1), "{quiet:?} {flooded:?}");
}

#[test]
fn nested_a_linux_that_is_flooded_reads_its_disk() {
    let output = run(
        "network-flood",
        r#"
        dd if=/dev/urandom of=$scratch/disk.img bs=1M count=4 2>/dev/null
        start a --net tap,bridge=br0,ifname=tapa,mac=00:16:3e:00:00:0a --disk $scratch/disk.img
        machine=$!
        # What the machine has besides its guest's memory, in KiB.
        memory() {
          awk '/^Size:/ { guest = $2 > 200000 } /^Rss:/ && !guest { sum += $2 } END { print "memory", sum }' /proc/$machine/smaps
        }
        # reads N: until the guest has read its disk so often.
        reads() { until_said a "==== read $1 "; }
        until_said a '==== ready'
        in_guest 10.9.0.10 'while read -r module; do insmod /modules/$module; done </modules/disk
          until [ -b /dev/sda ]; do sleep 0.2; done
          now() { cut -d " " -f 1 /proc/uptime; }
          { n=0; while :; do
              echo 3 >/proc/sys/vm/drop_caches
              start=$(now) sum=$(md5sum </dev/sda) n=$((n + 1))
              echo "==== read $n $start $(now) ${sum%% *}"
          done; } </dev/null >/dev/ttyS0 2>&1 &'
        reads 4
        memory
        from=$(grep -c '==== read' $scratch/a.log)
        echo "flood after $from"
        ./net-frames flood tapa 00:16:3e:00:00:0a 60 300 &
        flood=$!
        reads $((from + 4))
        memory
        kill $flood
        echo "flood until $(grep -c '==== read' $scratch/a.log)"
        grep tapa: /proc/net/dev
        ping -c 2 -W 20 10.9.0.10 | grep -q ' 2 packets received' || fail 'ping after the flood'
        reads $(($(grep -c '==== read' $scratch/a.log) + 1))
        sum=$(md5sum <$scratch/disk.img)
        echo "disk ${sum%% *}"
        "#,
    );
    let console = &output.console;
    let numbers = |what: &str| -> Vec<u64> {
        let lines = console.lines().filter_map(|line| line.trim().strip_prefix(what));
        lines.flat_map(str::split_whitespace).filter_map(|word| word.parse().ok()).collect()
    };
    let ([before, after], [from], [until]) =
        (&numbers("memory ")[..], &numbers("flood after ")[..], &numbers("flood until ")[..])
    else {
        panic!("{console}");
    };
    assert!(*after < before + 2048, "KiB: {console}");
    // Received and sent: bytes, packets, errors, drops and four more each. Many more came than there was room for.
    let tap = numbers("tapa:");
    let (taken, lost) = (tap[9], tap[11]);
    assert!(taken > 1000 && lost > taken, "{console}");
    // How long each look at the disk took; all saw the same.
    let log = output.text("a.log");
    let disk = console.lines().find_map(|line| line.trim().strip_prefix("disk ")).expect("the disk's sum");
    let reads: Vec<f64> = log
        .lines()
        .filter_map(|line| line.trim().strip_prefix("==== read "))
        .map(|line| {
            let [_, start, end, sum] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert_eq!(sum, disk);
            end.parse::<f64>().unwrap() - start.parse::<f64>().unwrap()
        })
        .collect();
    let mean = |reads: &[f64]| reads.iter().sum::<f64>() / reads.len() as f64;
    // The first one in the flood may have begun before.
    let (quiet, flooded) = (mean(&reads[1..*from as usize]), mean(&reads[*from as usize + 1..*until as usize]));
    eprintln!("{quiet:.2} s quiet, {flooded:.2} s in a flood of {taken} frames taken and {lost} lost");
    // The host has one processor, of which the flood takes its share, and so does the guest's driver.
    assert!(flooded < 30.0 * quiet, "{reads:?}");
}
