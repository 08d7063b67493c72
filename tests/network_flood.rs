//! A flood of frames that the guest does not receive: pcvm's memory stays bounded, and the guest's disk remains usable.

mod lan;

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lan::run;
use pcvm_test_guests::flat;
use pcvm_test_host::{Process, TIME_LIMIT, connect, require_kvm, wait_for, wait_for_text};

/// A process's largest resident memory so far (VmHWM), in KiB.
fn peak_resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// A run of the guest that reads its disk but never its network card.
#[derive(Debug)]
struct Run {
    /// From the first sector to the end of the process.
    time: Duration,
    /// Peak resident memory of pcvm, in KiB.
    memory: u64,
    /// ISR at the end.
    isr: u32,
    /// MPC, the card's count of missed frames, at the end.
    missed: u32,
    /// Frames sent to the card.
    frames: u64,
}

fn run_stalled_receiver(dir: &Path, model: &str, flood: bool) -> Run {
    let serial = dir.join("serial");
    let _ = fs::remove_file(&serial);
    let mut vm = Process::start(
        Command::new(env!("CARGO_BIN_EXE_pcvm"))
            .current_dir(dir)
            .args(["run", "--memory", "16M", "--firmware", "stalled-receiver.bin", "--disk", "disk.img"])
            .args(["--display", "none", "--serial", "file:serial", "--no-reboot"])
            .args(["--net", &format!("pair:unix:cable,model={model}")])
            .stdin(Stdio::null()),
    );
    wait_for_text(&serial, "B", TIME_LIMIT);
    let start = Instant::now();
    let cable = connect(&dir.join("cable"));
    let sender = flood.then(|| {
        let mut cable = cable.try_clone().expect("a descriptor");
        thread::spawn(move || {
            // 512 frames of the shortest length per write.
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
    wait_for("the guest's end", TIME_LIMIT, || {
        memory = memory.max(peak_resident(vm.id()).unwrap_or(0));
        vm.try_wait().expect("pcvm's status").ok_or("it runs")
    });
    let time = start.elapsed();
    let _ = cable.shutdown(Shutdown::Both);
    let frames = sender.map_or(0, |sender| sender.join().expect("the sender"));
    let text = fs::read_to_string(&serial).unwrap_or_default();
    let numbers: Vec<u32> =
        text.split_whitespace().skip(1).filter_map(|word| u32::from_str_radix(word, 16).ok()).collect();
    let [isr, missed] = numbers[..] else { panic!("{text:?}") };
    Run { time, memory, isr, missed, frames }
}

#[test]
fn software_a_flood_that_the_guest_ignores_slows_its_disk_little_and_costs_no_memory() {
    const ROK: u32 = 1 << 0;
    const RXOVW: u32 = 1 << 4;
    require_kvm();
    let dir = tempfile::tempdir().unwrap();
    let firmware = flat::stalled_receiver(30_000).unwrap_or_else(|error| panic!("{error}"));
    fs::copy(firmware, dir.path().join("stalled-receiver.bin")).unwrap();
    fs::write(dir.path().join("disk.img"), vec![0x5a; 1 << 20]).unwrap();
    let quiet = run_stalled_receiver(dir.path(), "rtl8139c", false);
    let flooded = run_stalled_receiver(dir.path(), "rtl8139c", true);
    eprintln!("{quiet:?}\n{flooded:?}");
    assert_eq!((quiet.isr & (ROK | RXOVW), quiet.missed), (0, 0), "{quiet:?}");
    // The receive ring is full.
    assert_eq!(flooded.isr & (ROK | RXOVW), ROK | RXOVW, "{flooded:?}");
    assert!(flooded.missed > 0 && flooded.frames > u64::from(flooded.missed), "{flooded:?}");
    // Bounded buffers: the card's queue, one batch, and the backend's socket buffer.
    assert!(flooded.memory < quiet.memory + 4096, "KiB: {quiet:?} {flooded:?}");
    assert!(flooded.time < 4 * quiet.time + Duration::from_secs(1), "{quiet:?} {flooded:?}");
}

#[test]
fn nested_linux_reads_its_disk_during_a_flood() {
    let output = run(
        "network-flood",
        r#"
        dd if=/dev/urandom of=$scratch/disk.img bs=1M count=4 2>/dev/null
        start a --net tap,bridge=br0,ifname=tapa,mac=00:16:3e:00:00:0a --disk $scratch/disk.img
        vm=$!
        # Resident memory of pcvm without the guest's memory, in KiB.
        memory() {
          awk '/^Size:/ { guest = $2 > 200000 } /^Rss:/ && !guest { sum += $2 } END { print "memory", sum }' /proc/$vm/smaps
        }
        # reads N: waits until the guest has read its disk N times.
        reads() { wait_log a "==== read $1 "; }
        wait_log a '==== ready'
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
    // /proc/net/dev: bytes, packets, errors, drops and four more, received and then sent. Most frames were dropped.
    let tap = numbers("tapa:");
    let (taken, lost) = (tap[9], tap[11]);
    assert!(taken > 1000 && lost > taken, "{console}");
    // The time of each read of the disk; all read the same contents.
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
    // The first read in the flood may have begun before it.
    let (quiet, flooded) = (mean(&reads[1..*from as usize]), mean(&reads[*from as usize + 1..*until as usize]));
    eprintln!("{quiet:.2} s quiet, {flooded:.2} s in a flood of {taken} frames taken and {lost} lost");
    // The nested host has one CPU, of which the flood and the guest's driver take their share.
    assert!(flooded < 30.0 * quiet, "{reads:?}");
}
