//! Tests of requests that would block, by io_uring and on a host that does not allow it.

use super::tests::{Rig, disk, file, pattern};
use super::*;
use crate::config::{CacheMode, DriveConfig};
use pcvm_devices::{BlockData, BlockDone, BlockError, BlockOp, BlockRequest, DiskId, GuestRange};
use pcvm_test_host::wait_until;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// A drive past the page cache: every read and write would block.
fn direct(path: &Path) -> DriveConfig {
    DriveConfig { cache: CacheMode::None, ..disk(path, false) }
}

fn rig(config: &DriveConfig, io_uring: bool) -> Rig {
    let parts = DriveParts::new("hda", Some(Image::open(config).unwrap()));
    Rig::with_io_uring([(DiskId(0), parts)].into(), io_uring)
}

/// Whether this host allows io_uring. Without it these tests still test the worker thread.
fn allowed() -> bool {
    io_uring::IoUring::new(1).is_ok()
}

/// A request for guest memory.
fn request(op: BlockOp, offset: u64, addr: u64, len: u32) -> BlockRequest {
    let data = if op == BlockOp::Flush { BlockData::None } else { BlockData::Guest(vec![GuestRange { addr, len }]) };
    BlockRequest { disk: DiskId(0), tag: offset, op, offset, data }
}

/// Starts a request that would block, and gives its completion as the main loop takes it.
fn run(rig: &Rig, request: BlockRequest) -> BlockDone {
    assert!(rig.engine.start(request, Patience::Briefly).is_none(), "the request completes inline");
    let mut done = Vec::new();
    wait_until("the completion", || {
        if rig.engine.completion_event().read().is_ok() {
            done = rig.engine.take_completions();
        }
        !done.is_empty()
    });
    assert_eq!(done.len(), 1);
    done.pop().unwrap()
}

/// How many requests have completed by io_uring, and how many on the worker thread.
fn ways(rig: &Rig) -> (u64, u64) {
    let stats = rig.engine.stats().swap_remove(0);
    (stats.io_uring, stats.worker)
}

#[test]
fn aligned_direct_requests_complete_by_io_uring_and_others_on_the_worker_thread() {
    let content = pattern(256 << 10);
    for io_uring in [true, false] {
        let file = file(&content);
        let rig = rig(&direct(file.path()), io_uring);
        let by_ring = |rig: &Rig| if io_uring && allowed() { ways(rig) } else { (ways(rig).1, ways(rig).0) };
        assert_eq!(run(&rig, request(BlockOp::Read, 64 << 10, 0x10_0000, 128 << 10)).result, Ok(()));
        let mut back = vec![0; 128 << 10];
        rig.memory.read(0x10_0000, &mut back);
        assert_eq!(back, content[64 << 10..192 << 10]);
        assert_eq!(run(&rig, request(BlockOp::Write, 0, 0x10_0000, 64 << 10)).result, Ok(()));
        assert_eq!(run(&rig, request(BlockOp::Flush, 0, 0, 0)).result, Ok(()));
        let discard = BlockRequest { data: BlockData::None, ..request(BlockOp::Discard { len: 4096 }, 8192, 0, 0) };
        assert_eq!(run(&rig, discard).result, Ok(()));
        assert_eq!(by_ring(&rig), (4, 0), "io_uring: {io_uring}");
        // A bounce buffer: the worker thread.
        assert_eq!(run(&rig, request(BlockOp::Write, 16384, 0x10_0001, 512)).result, Ok(()));
        assert_eq!(ways(&rig).1, if io_uring && allowed() { 1 } else { 5 });
        drop(rig);
        let on_disk = std::fs::read(file.path()).unwrap();
        assert_eq!(on_disk[..8192], content[64 << 10..72 << 10]);
        let freed = &on_disk[8192..12288];
        assert!(freed.iter().all(|&byte| byte == 0) || *freed == content[72 << 10..76 << 10]);
        assert_eq!(on_disk[12288..16384], content[76 << 10..80 << 10]);
        assert_eq!(on_disk[16384..16896], content[(64 << 10) + 1..(64 << 10) + 513]);
        assert_eq!(on_disk[64 << 10..], content[64 << 10..]);
    }
}

#[test]
fn reads_and_flushes_of_the_page_cache_complete_by_io_uring() {
    let content = pattern(4 << 20);
    let file = file(&content);
    file.as_file().sync_all().unwrap();
    let rig = rig(&disk(file.path(), false), true);
    for offset in (0..4 << 20).step_by(1 << 20) {
        rustix::fs::fadvise(file.as_file(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
        // Inline if the kernel has read ahead.
        let _ = rig.engine.start(request(BlockOp::Read, offset, 0x10_0000, 512 << 10), Patience::Briefly);
        rig.engine.wait_idle();
        assert!(rig.engine.take_completions().iter().all(|done| done.result.is_ok()));
        let mut back = vec![0; 512 << 10];
        rig.memory.read(0x10_0000, &mut back);
        assert_eq!(back, content[offset as usize..][..512 << 10]);
    }
    assert_eq!(run(&rig, request(BlockOp::Flush, 0, 0, 0)).result, Ok(()));
    assert!(!allowed() || ways(&rig).0 > 0, "{:?}", rig.engine.stats());
}

#[test]
fn a_write_through_image_is_clean_after_each_write() {
    let file = file(&vec![0; 64 << 10]);
    for io_uring in [true, false] {
        let config = DriveConfig { cache: CacheMode::Writethrough, ..disk(file.path(), false) };
        let rig = rig(&config, io_uring);
        rig.memory.write(0x1000, &[u8::from(io_uring) + 1; 4096]);
        for offset in [0, 4096, 8192] {
            assert_eq!(run(&rig, request(BlockOp::Write, offset, 0x1000, 4096)).result, Ok(()));
        }
        assert_eq!(ways(&rig), if io_uring && allowed() { (3, 0) } else { (0, 3) });
        let image = rig.engine.replace(DiskId(0), None).unwrap();
        assert!(!image.dirty, "a write has completed without fdatasync");
        drop(image);
        assert_eq!(std::fs::read(file.path()).unwrap()[..12288], [u8::from(io_uring) + 1; 12288]);
    }
}

#[test]
fn a_scatter_list_longer_than_one_operation_and_unmapped_addresses_move_every_byte() {
    let content = pattern(1 << 20);
    let file = file(&content);
    let rig = rig(&direct(file.path()), true);
    // 400 pages in reverse order: four operations of 128 segments at most.
    let scattered: Vec<_> = (0..200).rev().map(|n| GuestRange { addr: 0x10_0000 + n * 4096, len: 4096 }).collect();
    let data = BlockData::Guest(scattered);
    let read = BlockRequest { data, ..request(BlockOp::Read, 0, 0, 0) };
    assert_eq!(run(&rig, read).result, Ok(()));
    let mut back = vec![0; 200 * 4096];
    rig.memory.read(0x10_0000, &mut back);
    assert!(back.chunks(4096).rev().zip(content.chunks(4096)).all(|(got, want)| got == want));
    assert!(!allowed() || ways(&rig) == (1, 0));
    // RAM, then addresses above it: discarded by a read, FFh for a write.
    assert_eq!(run(&rig, request(BlockOp::Read, 0, (4 << 20) - 4096, 8192)).result, Ok(()));
    assert_eq!(run(&rig, request(BlockOp::Write, 8192, (4 << 20) - 4096, 8192)).result, Ok(()));
    drop(rig);
    let on_disk = std::fs::read(file.path()).unwrap();
    assert_eq!(on_disk[8192..12288], content[..4096]);
    assert_eq!(on_disk[12288..16384], [0xff; 4096]);
}

#[test]
fn a_read_past_the_end_of_a_truncated_file_fails_by_io_uring_too() {
    let file = file(&[5; 64 << 10]);
    let rig = rig(&direct(file.path()), true);
    file.as_file().set_len(32 << 10).unwrap();
    assert_eq!(run(&rig, request(BlockOp::Read, 32 << 10, 0, 4096)).result, Err(BlockError::Io(libc::EIO)));
    assert_eq!(run(&rig, request(BlockOp::Read, 28 << 10, 0, 4096)).result, Ok(()));
}

#[test]
fn a_request_completes_although_the_thread_that_submitted_it_has_ended() {
    let content = pattern(1 << 20);
    let file = file(&content);
    let rig = Arc::new(rig(&direct(file.path()), true));
    for round in 0..50 {
        let vcpu = Arc::clone(&rig);
        let ops = [BlockOp::Write, BlockOp::Read, BlockOp::Flush];
        let request = request(ops[round % 3], 4096 * round as u64, 0x10_0000, 256 << 10);
        std::thread::spawn(move || assert!(vcpu.engine.start(request, Patience::Briefly).is_none())).join().unwrap();
        rig.engine.wait_idle();
        let done = rig.engine.take_completions();
        assert_eq!(done.iter().map(|done| done.result).collect::<Vec<_>>(), [Ok(())], "round {round}");
    }
}

#[test]
fn a_change_of_the_medium_waits_for_the_request_in_the_ring() {
    let before = file(&vec![1; 4 << 20]);
    let after = file(&vec![2; 4 << 20]);
    let rig = rig(&direct(before.path()), true);
    for round in 0..20 {
        let (path, byte) = if round % 2 == 0 { (after.path(), 1) } else { (before.path(), 2) };
        let read = request(BlockOp::Read, 0, 0x10_0000, 2 << 20);
        assert!(rig.engine.start(read, Patience::Briefly).is_none());
        drop(rig.engine.freeze(&[DiskId(0)]));
        drop(rig.engine.replace(DiskId(0), Some(Image::open(&direct(path)).unwrap())));
        // Complete before the change: the memory no longer changes.
        let mut back = vec![0; 2 << 20];
        rig.memory.read(0x10_0000, &mut back);
        assert!(back.iter().all(|&b| b == byte), "round {round}");
        assert_eq!(rig.engine.take_completions().len(), 1);
        assert_eq!(rig.engine.in_flight(), 0);
    }
}

#[test]
fn dropping_the_engine_completes_the_write_in_the_ring() {
    for round in 1..=20 {
        let file = file(&vec![0; 1 << 20]);
        let rig = rig(&direct(file.path()), true);
        rig.memory.write(0x10_0000, &vec![round; 1 << 20]);
        assert!(rig.engine.start(request(BlockOp::Write, 0, 0x10_0000, 1 << 20), Patience::Briefly).is_none());
        drop(rig);
        assert!(std::fs::read(file.path()).unwrap().iter().all(|&byte| byte == round));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, u32, u8),
    Read(u64, u32),
    Flush,
    Discard(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    // Most are aligned as direct I/O needs it.
    let sectors = || prop_oneof![(0u64..64).prop_map(|n| n * 4096), (0u64..512).prop_map(|n| n * 512)];
    let len = || prop_oneof![(1u32..16).prop_map(|n| n * 4096), (1u32..64).prop_map(|n| n * 512)];
    prop_oneof![
        3 => (sectors(), len(), any::<u8>()).prop_map(|(at, len, byte)| Step::Write(at, len, byte)),
        3 => (sectors(), len()).prop_map(|(at, len)| Step::Read(at, len)),
        1 => Just(Step::Flush),
        1 => (0u64..64, 1u64..16).prop_map(|(at, len)| Step::Discard(at * 4096, len * 4096)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Requests that are started without waiting for each other have the effect of one after another, by either way.
    #[test]
    fn requests_in_flight_together_have_the_effect_of_one_after_another(
        steps in prop::collection::vec(step(), 1..40),
        io_uring in any::<bool>(),
        mode in prop_oneof![Just(CacheMode::None), Just(CacheMode::Writeback), Just(CacheMode::Writethrough)],
        pause in 0usize..4,
    ) {
        const SIZE: usize = 512 << 10;
        let file = file(&vec![0; SIZE]);
        let rig = rig(&DriveConfig { cache: mode, discard: true, ..disk(file.path(), false) }, io_uring);
        let mut model = vec![0u8; SIZE];
        let mut expected = Vec::new();
        let mut done = Vec::new();
        for (tag, step) in steps.iter().enumerate() {
            let (op, offset, data) = match *step {
                Step::Write(at, len, byte) => {
                    model[at as usize..][..len as usize].fill(byte);
                    (BlockOp::Write, at, BlockData::Buffer(vec![byte; len as usize]))
                }
                Step::Read(at, len) => {
                    expected.push((tag as u64, model[at as usize..][..len as usize].to_vec()));
                    (BlockOp::Read, at, BlockData::Buffer(vec![0xee; len as usize]))
                }
                Step::Flush => (BlockOp::Flush, 0, BlockData::None),
                Step::Discard(at, len) => {
                    // ext4, xfs, btrfs and tmpfs punch holes.
                    model[at as usize..][..len as usize].fill(0);
                    (BlockOp::Discard { len }, at, BlockData::None)
                }
            };
            done.extend(rig.engine.start(BlockRequest { disk: DiskId(0), tag: tag as u64, op, offset, data }, Patience::Briefly));
            if pause != 0 && tag % pause == 0 {
                done.extend(rig.engine.take_completions());
            }
        }
        rig.engine.wait_idle();
        done.extend(rig.engine.take_completions());
        prop_assert_eq!(done.len(), steps.len());
        prop_assert!(done.iter().all(|done| done.result.is_ok()));
        for (tag, bytes) in expected {
            let read = done.iter().find(|done| done.tag == tag).unwrap();
            prop_assert!(matches!(&read.data, BlockData::Buffer(got) if *got == bytes), "read {}", tag);
        }
        drop(rig);
        prop_assert!(std::fs::read(file.path()).unwrap() == model);
    }
}
