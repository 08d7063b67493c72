//! Servers that are killed and restarted, and what the client promises then.

use super::server::{Abilities, Point, Server};
use super::*;
use crate::block::nbd::wire::*;
use proptest::prelude::*;
use std::sync::atomic::Ordering;
use std::time::Instant;

const SIZE: usize = 1 << 20;

#[test]
fn a_write_that_a_killed_server_has_lost_is_read_back() {
    let server = Server::new(SIZE, Abilities::default());
    let client = open(server.socket(), "disk", 60).unwrap();
    let (first, second) = (pattern(5000, 1), pattern(3000, 2));
    client.write_at(&first, 10_000).unwrap();
    client.write_at(&second, 12_000).unwrap();
    client.write_zeroes(20_000, 100, false).unwrap();
    server.kill();
    assert_eq!(server.shared.disk.lock().unwrap().cache, vec![0; SIZE]);
    let got = read(&client, 10_000, 5000);
    assert_eq!((&got[..2000], &got[2000..]), (&first[..2000], &second[..]));
    assert_eq!(server.shared.disk.lock().unwrap().stable, vec![0; SIZE], "nothing was flushed yet");
    client.flush().unwrap();
    assert_eq!(server.shared.disk.lock().unwrap().stable[12_000..15_000], second);
}

#[test]
fn a_flush_succeeds_only_after_the_lost_writes_are_written_again() {
    for point in [Point::Received, Point::Executed, Point::HalfReplied] {
        let server = Server::new(SIZE, Abilities::default());
        let client = open(server.socket(), "disk", 60).unwrap();
        client.write_at(&pattern(4096, 3), 0).unwrap();
        server.kill_at(0, point);
        client.flush().unwrap();
        assert_eq!(server.shared.disk.lock().unwrap().stable[..4096], pattern(4096, 3), "{point:?}");
        assert_eq!(server.shared.connections.load(Ordering::Acquire), 2);
    }
}

#[test]
fn a_flush_forgets_what_it_has_made_stable() {
    let server = Server::new(SIZE, Abilities::default());
    let client = open(server.socket(), "disk", 60).unwrap();
    for n in 0..10 {
        client.write_at(&pattern(512, n), u64::from(n) * 512).unwrap();
    }
    client.flush().unwrap();
    server.kill();
    assert_eq!(read(&client, 512, 512), pattern(512, 1));
    assert_eq!(server.count(CMD_WRITE), 10, "flushed writes were replayed");
}

#[test]
fn a_full_log_is_flushed() {
    let server = Server::new(40 << 20, Abilities { sizes: Some((1, 4096, 32 << 20)), ..Abilities::default() });
    let client = open(server.socket(), "disk", 60).unwrap();
    let block = pattern(4 << 20, 9);
    for n in 0..10 {
        client.write_at(&block, n << 22).unwrap();
    }
    assert_eq!(server.count(CMD_FLUSH), 1);
    server.kill();
    for n in 0..10 {
        assert_eq!(read(&client, n << 22, 4 << 20), block);
    }
}

#[test]
fn a_failed_flush_is_preceded_by_its_writes_when_it_is_tried_again() {
    let server = Server::new(SIZE, Abilities::default());
    let client = open(server.socket(), "disk", 60).unwrap();
    client.write_at(&pattern(512, 1), 0).unwrap();
    *server.shared.failing.lock().unwrap() = (1 << CMD_FLUSH, 28);
    assert_eq!(client.flush().unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    // A cache that drops what it could not store.
    server.shared.disk.lock().unwrap().cache.fill(0);
    *server.shared.failing.lock().unwrap() = (0, 0);
    client.flush().unwrap();
    assert_eq!(server.shared.disk.lock().unwrap().stable[..512], pattern(512, 1));
}

#[test]
fn a_server_that_does_not_take_back_what_it_lost_makes_requests_fail() {
    let server = Server::new(SIZE, Abilities::default());
    let client = open(server.socket(), "disk", 60).unwrap();
    client.write_at(&pattern(512, 1), 0).unwrap();
    *server.shared.failing.lock().unwrap() = (1 << CMD_WRITE, 5);
    server.kill();
    assert_eq!(client.read_at(&mut [0; 512], 0).unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(client.flush().unwrap_err().raw_os_error(), Some(libc::EIO));
    *server.shared.failing.lock().unwrap() = (0, 0);
    client.flush().unwrap();
    assert_eq!(server.shared.disk.lock().unwrap().stable[..512], pattern(512, 1));
}

#[test]
fn a_forced_write_is_not_overwritten_by_an_older_one() {
    let server = Server::new(SIZE, Abilities::default());
    let client = open(server.socket(), "disk", 60).unwrap();
    let force = |bytes: &[u8], offset| {
        let mut storage = crate::block::sys::IoVecStorage::new();
        let mut iov = crate::block::sys::IoVec::new(&mut storage);
        iov.push_source(bytes);
        assert_eq!(client.write_through(&mut iov, offset).unwrap(), bytes.len());
    };
    force(&pattern(512, 7), 8192);
    assert_eq!(server.shared.disk.lock().unwrap().stable[8192..8704], pattern(512, 7));
    client.write_at(&pattern(512, 1), 0).unwrap();
    force(&pattern(512, 2), 0);
    server.kill();
    assert_eq!(read(&client, 0, 512), pattern(512, 2));
    assert_eq!(server.count(CMD_FLUSH), 0);
}

#[test]
fn requests_fail_after_the_end_of_patience_and_succeed_when_the_server_is_back() {
    let server = Server::new(SIZE, Abilities::default());
    let client = open(server.socket(), "disk", 1).unwrap();
    client.write_at(&pattern(512, 1), 0).unwrap();
    server.shared.down.store(true, Ordering::Release);
    server.kill();
    let start = Instant::now();
    assert_eq!(client.flush().unwrap_err().raw_os_error(), Some(libc::EIO));
    assert!((1..5).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(client.read_at(&mut [0; 512], 0).unwrap_err().raw_os_error(), Some(libc::EIO));
    assert!(start.elapsed() < Duration::from_secs(1), "a later request waits again");
    server.shared.down.store(false, Ordering::Release);
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = client.flush() {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.shared.disk.lock().unwrap().stable[..512], pattern(512, 1));
}

#[test]
fn an_export_that_changed_its_size_is_not_used() {
    let server = Server::new(SIZE, Abilities::default());
    let client = open(server.socket(), "disk", 0).unwrap();
    for size in [SIZE * 2, SIZE / 2] {
        server.shared.disk.lock().unwrap().cache.resize(size, 0);
        server.shared.disk.lock().unwrap().stable.resize(size, 0);
        server.kill();
        assert_eq!(client.read_at(&mut [0; 512], 0).unwrap_err().raw_os_error(), Some(libc::EIO));
    }
}

#[test]
fn a_request_that_waits_for_a_lost_server_is_interrupted() {
    let server = Server::new(SIZE, Abilities::default());
    let client = open(server.socket(), "disk", 600).unwrap();
    server.shared.down.store(true, Ordering::Release);
    server.kill();
    let interrupt = client.interrupt();
    std::thread::scope(|scope| {
        let waiting = [scope.spawn(|| client.flush()), scope.spawn(|| client.write_at(&[1; 512], 0))];
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        interrupt.cancel();
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap().unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        }
        assert!(start.elapsed() < Duration::from_secs(5));
    });
    server.shared.down.store(false, Ordering::Release);
    client.flush().unwrap();
    interrupt.shut_down();
    assert_eq!(client.flush().unwrap_err().raw_os_error(), Some(libc::ECANCELED));
}

#[test]
fn a_request_that_a_stalled_server_does_not_answer_is_interrupted() {
    let server = Server::new(SIZE, Abilities::default());
    let client = open(server.socket(), "disk", 600).unwrap();
    let stall = server.shared.disk.lock().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.flush());
        std::thread::sleep(Duration::from_millis(100));
        client.interrupt().shut_down();
        assert_eq!(waiting.join().unwrap().unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    });
    drop(stall);
}

#[test]
fn parallel_reads_use_further_connections_only_where_the_server_allows_them() {
    for (multi, most) in [(true, 4), (false, 1)] {
        let mut abilities = Abilities::default();
        if !multi {
            abilities.flags &= !ExportFlags::CAN_MULTI_CONN;
        }
        let server = Server::new(SIZE, abilities);
        let client = open(server.socket(), "disk", 60).unwrap();
        client.write_at(&pattern(4096, 1), 0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| (0..300).for_each(|_| assert_eq!(read(&client, 0, 4096), pattern(4096, 1))));
            }
        });
        let connections = server.shared.connections.load(Ordering::Acquire);
        assert!(connections <= most && (!multi || connections > 1), "{connections}");
        assert_eq!(client.open_readers() > 0, multi);
        // After a kill, no further connection may give what was lost.
        server.kill();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| (0..300).for_each(|_| assert_eq!(read(&client, 0, 4096), pattern(4096, 1))));
            }
        });
    }
}

#[test]
fn a_server_without_flush_gets_forced_writes() {
    let mut abilities = Abilities::default();
    abilities.flags &= !ExportFlags::SEND_FLUSH;
    let server = Server::new(SIZE, abilities);
    let client = open(server.socket(), "disk", 60).unwrap();
    client.write_at(&pattern(512, 1), 0).unwrap();
    client.flush().unwrap();
    assert_eq!((server.count(CMD_FLUSH), &server.shared.disk.lock().unwrap().stable[..512]), (0, &pattern(512, 1)[..]));
}

#[test]
fn every_kind_of_server_moves_the_same_bytes() {
    let all = Abilities::default();
    let plain = ExportFlags::HAS_FLAGS;
    for abilities in [
        all,
        Abilities { structured: false, ..all },
        Abilities { pieces: Some(4096), ..all },
        Abilities { pieces: Some(1000), flags: all.flags & !ExportFlags::SEND_DF, ..all },
        Abilities { sizes: Some((4096, 4096, 4096)), ..all },
        Abilities { sizes: Some((65536, 65536, 1 << 20)), structured: false, ..all },
        Abilities { sizes: Some((512, 4096, 70_000)), flags: plain, ..all },
        Abilities { sizes: None, go: false, structured: false, ..all },
        Abilities { sizes: None, go: false, structured: false, fixed: false, flags: plain, ..all },
    ] {
        let server = Server::new(SIZE, abilities);
        let client = open(server.socket(), "disk", 60).unwrap();
        let mut model = vec![0; SIZE];
        for (n, (offset, len)) in
            [(0, 512), (1, 1), (511, 514), (4095, 8194), (100_000, 300_000), (SIZE - 7, 7)].into_iter().enumerate()
        {
            let bytes = pattern(len, n as u8);
            client.write_at(&bytes, offset as u64).unwrap();
            model[offset..offset + len].copy_from_slice(&bytes);
            let from = offset.saturating_sub(3);
            let to = (offset + len + 3).min(SIZE);
            assert_eq!(read(&client, from as u64, to - from), model[from..to], "{abilities:?}");
        }
        client.write_zeroes(3, 70_000, false).unwrap();
        client.write_zeroes(200_000, 10, true).unwrap();
        model[3..70_003].fill(0);
        model[200_000..200_010].fill(0);
        client.discard(900_000, 100_000).unwrap();
        client.flush().unwrap();
        assert!(read(&client, 0, 900_000) == model[..900_000], "{abilities:?}");
        assert!(read(&client, 0, SIZE)[1_000_000..] == model[1_000_000..], "{abilities:?}");
        assert!(
            client.read_at(&mut [0; 2], SIZE as u64 - 1).is_err() && client.write_at(&[0; 2], SIZE as u64 - 1).is_err()
        );
    }
}

#[derive(Clone, Debug)]
enum Step {
    Read { offset: usize, len: usize },
    Write { offset: usize, len: usize, forced: bool },
    Zeroes { offset: usize, len: usize },
    Trim { offset: usize, len: usize },
    Flush,
    Kill,
    KillAt { requests: usize, point: Point },
}

fn step() -> impl Strategy<Value = Step> {
    let range = || (0..60_000usize, 1..5000usize);
    let point = prop_oneof![Just(Point::Received), Just(Point::Executed), Just(Point::HalfReplied)];
    prop_oneof![
        4 => range().prop_map(|(offset, len)| Step::Read { offset, len }),
        6 => (range(), prop::bool::weighted(0.2))
            .prop_map(|((offset, len), forced)| Step::Write { offset, len, forced }),
        1 => range().prop_map(|(offset, len)| Step::Zeroes { offset, len }),
        1 => range().prop_map(|(offset, len)| Step::Trim { offset, len }),
        2 => Just(Step::Flush),
        1 => Just(Step::Kill),
        2 => (0..6usize, point).prop_map(|(requests, point)| Step::KillAt { requests, point }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    /// A server is killed at random points, and loses any part of what it has not flushed. Reads give what was written
    /// last, and what was flushed is on the server's stable storage.
    #[test]
    fn a_server_that_is_killed_at_random_points_loses_nothing(
        steps in prop::collection::vec(step(), 1..80),
        luck in any::<u64>(),
        structured in any::<bool>(),
        min in prop_oneof![Just(1u32), Just(512), Just(4096)],
        fua in any::<bool>(),
    ) {
        const LEN: usize = 1 << 16;
        let mut abilities = Abilities { structured, sizes: Some((min, 4096, 8192)), ..Abilities::default() };
        if !fua {
            abilities.flags &= !ExportFlags::SEND_FUA;
        }
        let server = Server::new(LEN, abilities);
        *server.shared.luck.lock().unwrap() = luck;
        let client = open(server.socket(), "disk", 60).unwrap();
        // None: any content, after a trim.
        let mut model = vec![Some(0u8); LEN];
        let same = |model: &[Option<u8>], bytes: &[u8]| {
            model.iter().zip(bytes).all(|(model, byte)| model.is_none_or(|model| model == *byte))
        };
        for (n, step) in steps.into_iter().enumerate() {
            let bytes = pattern(5000, n as u8);
            match step {
                Step::Read { offset, len } => prop_assert!(same(&model[offset..offset + len], &read(&client, offset as u64, len))),
                Step::Write { offset, len, forced } => {
                    if forced {
                        let mut done = 0;
                        while done < len {
                            let mut storage = crate::block::sys::IoVecStorage::new();
                            let mut iov = crate::block::sys::IoVec::new(&mut storage);
                            iov.push_source(&bytes[done..len]);
                            done += client.write_through(&mut iov, (offset + done) as u64).unwrap();
                        }
                        prop_assert_eq!(&server.shared.disk.lock().unwrap().stable[offset..offset + len], &bytes[..len]);
                    } else {
                        client.write_at(&bytes[..len], offset as u64).unwrap();
                    }
                    model[offset..offset + len].copy_from_slice(&bytes[..len].iter().map(|&b| Some(b)).collect::<Vec<_>>());
                }
                Step::Zeroes { offset, len } => {
                    client.write_zeroes(offset as u64, len as u64, false).unwrap();
                    model[offset..offset + len].fill(Some(0));
                }
                Step::Trim { offset, len } => {
                    client.discard(offset as u64, len as u64).unwrap();
                    model[offset..offset + len].fill(None);
                }
                Step::Flush => {
                    client.flush().unwrap();
                    prop_assert!(same(&model, &server.shared.disk.lock().unwrap().stable));
                }
                Step::Kill => server.kill(),
                Step::KillAt { requests, point } => server.kill_at(requests, point),
            }
        }
        prop_assert!(same(&model, &read(&client, 0, LEN)));
        client.flush().unwrap();
        server.kill();
        drop(client);
        let again = open(server.socket(), "disk", 60).unwrap();
        prop_assert!(same(&model, &read(&again, 0, LEN)));
    }
}
