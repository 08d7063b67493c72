//! Character devices on real pipes, files and pseudo-terminals.

use super::*;
use pcvm_test_host::wait_for;
use proptest::prelude::*;
use rustix::pipe::PipeFlags;
use std::io::{Read, Write};
use std::time::Duration;

fn feed_all(parts: &[&[u8]]) -> (Vec<u8>, Vec<EscapeCommand>) {
    let mut parser = EscapeParser::default();
    let mut out = Vec::new();
    let commands = parts.iter().flat_map(|part| parser.feed(part, &mut out)).collect();
    (out, commands)
}

#[test]
fn ctrl_a_is_an_escape_prefix_and_other_bytes_reach_the_guest() {
    use EscapeCommand::{Help, Quit};
    for (input, out, commands) in [
        (&b"abc"[..], &b"abc"[..], &[][..]),
        (b"\x01x", b"", &[Quit]),
        (b"a\x01Xb", b"a", &[Quit]),
        (b"\x01hb", b"b", &[Help]),
        (b"\x01?\x01x", b"", &[Help, Quit]),
        (b"\x01\x01", b"\x01", &[]),
        (b"\x01\x01x", b"\x01x", &[]),
        (b"\x01\x01\x01x", b"\x01", &[Quit]),
        (b"\x01qx", b"x", &[]),
        (b"a\x01", b"a", &[]),
        (b"\x00\xff\x03", b"\x00\xff\x03", &[]),
    ] {
        assert_eq!(feed_all(&[input]), (out.to_vec(), commands.to_vec()), "{input:?}");
    }
}

proptest! {
    #[test]
    fn the_size_of_reads_does_not_change_the_commands(input in prop::collection::vec(prop_oneof![Just(1u8), Just(b'h'), any::<u8>()], 0..50), cut in 0usize..50) {
        prop_assume!(!input.windows(2).any(|w| w[0] == 1 && w[1].eq_ignore_ascii_case(&b'x')));
        let (a, b) = input.split_at(cut.min(input.len()));
        prop_assert_eq!(feed_all(&[a, b]), feed_all(&[&input]));
    }

    #[test]
    fn every_byte_reaches_the_guest_if_ctrl_a_is_doubled(input in prop::collection::vec(any::<u8>(), 0..50)) {
        let doubled: Vec<u8> = input.iter().flat_map(|&b| if b == 1 { vec![1, 1] } else { vec![b] }).collect();
        prop_assert_eq!(feed_all(&[&doubled]), (input, vec![]));
    }
}

fn pipe(nonblocking: bool) -> (File, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    rustix::io::ioctl_fionbio(&writer, nonblocking).unwrap();
    (reader.into(), writer)
}

/// Stalls soon.
const HASTY: StallPolicy = StallPolicy { stall_after: Duration::from_millis(100), lose_oldest: false };
/// Stalls long after the test failed.
const PATIENT: StallPolicy = StallPolicy { stall_after: Duration::from_secs(600), lose_oldest: false };
/// How long a test waits before it fails.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs `f` in a thread; fails if it does not end.
#[track_caller]
fn finishes<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(f()));
    result.recv_timeout(TIMEOUT).expect("the output blocked")
}

#[test]
fn a_slow_reader_gets_every_byte_in_order() {
    let content: Vec<u8> = (0..400_000u32).map(|n| (n % 251) as u8).collect();
    let (mut reader, writer) = pipe(true);
    let thread = std::thread::spawn(move || {
        let (mut all, mut part) = (Vec::new(), vec![0; 8192]);
        loop {
            std::thread::sleep(Duration::from_millis(1));
            match reader.read(&mut part).unwrap() {
                0 => return all,
                count => all.extend_from_slice(&part[..count]),
            }
        }
    });
    let output = Output::queued(writer, PATIENT);
    for part in content.chunks(777) {
        output.write(part);
    }
    drop(output);
    assert!(thread.join().unwrap() == content);
}

#[test]
fn output_waits_once_for_a_reader_that_stops_then_drops_bytes_until_it_reads_again() {
    let (mut reader, writer) = pipe(true);
    let output = Output::queued(writer, HASTY);
    for _ in 0..100 {
        output.write(&[7; 10_000]);
    }
    assert_eq!(output.stalls(), 1, "only the first write to a full queue waits");
    // The reader reads again, and output resumes.
    let mut part = vec![0; 1 << 20];
    let mut seen = 0;
    while seen < 100_000 {
        seen += reader.read(&mut part).unwrap();
    }
    output.write(b"again");
    output.flush();
    let mut tail = Vec::new();
    while !tail.ends_with(b"again") {
        let count = reader.read(&mut part).unwrap();
        tail.extend_from_slice(&part[..count]);
    }
}

#[test]
fn a_late_reader_of_a_pty_gets_the_latest_output() {
    let (mut reader, writer) = pipe(true);
    let output = Output::queued(writer, StallPolicy { lose_oldest: true, ..HASTY });
    for n in 0..50_000u32 {
        output.write(format!("{n:07}\n").as_bytes());
    }
    let mut all = Vec::new();
    let mut part = vec![0; 65536];
    while !all.ends_with(b"0049999\n") {
        let count = reader.read(&mut part).unwrap();
        all.extend_from_slice(&part[..count]);
    }
    assert!(all.len() < 200_000, "{} bytes were queued for the late reader", all.len());
}

#[test]
fn output_to_a_reader_that_closed_its_end_does_not_block() {
    for nonblocking in [true, false] {
        let (reader, writer) = pipe(nonblocking);
        drop(reader);
        let output = if nonblocking { Output::queued(writer, PATIENT) } else { Output::blocking(writer, PATIENT) };
        finishes(move || {
            for _ in 0..1000 {
                output.write(&[0; 1000]);
            }
            output.flush();
        });
    }
}

#[test]
fn a_full_descriptor_in_blocking_mode_does_not_block_the_writer() {
    let (mut reader, writer) = pipe(false);
    let output = Output::blocking(writer, HASTY);
    let output = finishes(move || {
        output.write(&[3; 300_000]);
        output
    });
    assert_eq!(output.stalls(), 1);
    let mut part = [0; 1000];
    assert_eq!(reader.read(&mut part).unwrap(), 1000);
    assert_eq!(part, [3; 1000]);
}

#[test]
fn a_file_is_truncated_and_written_without_buffering() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old and long").unwrap();
    let device = Chardev::open(&CharSpec::File(file.path().to_owned())).unwrap();
    device.write(b"new");
    device.write(b" text");
    assert_eq!(std::fs::read(file.path()).unwrap(), b"new text");
    assert!(device.input_fd().is_none());
    assert!(device.read_input().closed);
}

#[test]
fn a_file_that_cannot_be_created_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let error = Chardev::open(&CharSpec::File(dir.path().to_owned())).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: is a directory", dir.path().display()));
    let absent = dir.path().join("no/file");
    let error = Chardev::open(&CharSpec::File(absent.clone())).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: No such file or directory", absent.display()));
}

#[track_caller]
fn wait_for_input(device: &Chardev) -> Input {
    wait_for("input", TIMEOUT, || match device.read_input() {
        input if input == Input::default() => Err("none received"),
        input => Ok(input),
    })
}

#[test]
fn a_pty_carries_all_byte_values_both_ways_and_stays_open_when_a_program_detaches() {
    let device = Chardev::open(&CharSpec::Pty).unwrap();
    let name = device.pty_name().unwrap().to_owned();
    let all: Vec<u8> = (0..=255).collect();
    device.write(b"before a program attached\r\n");
    for _ in 0..2 {
        assert_eq!(device.read_input(), Input::default(), "a pty without input is not closed");
        let mut peer = std::fs::OpenOptions::new().read(true).write(true).open(&name).unwrap();
        peer.write_all(&all).unwrap();
        let mut got = Vec::new();
        while got.len() < 256 {
            got.extend(wait_for_input(&device).bytes);
        }
        assert_eq!(got, all, "a pty has no escape prefix and no line discipline");
        device.write(&all);
        let mut back = Vec::new();
        let mut part = [0; 512];
        while !back.ends_with(&all) {
            let count = peer.read(&mut part).unwrap();
            back.extend_from_slice(&part[..count]);
        }
    }
}
