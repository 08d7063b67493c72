//! Tests of the block I/O engine.

use super::*;
use crate::config::{DriveConfig, Media};
use pcvm_devices::{BlockData, BlockOp, DiskId};

fn image(sectors: u64) -> Image {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(sectors * 512).unwrap();
    let drive = DriveConfig::new(Media::Disk, Some(file.path().to_owned()));
    Image::open(&drive).unwrap()
}

fn engine_of(parts: impl IntoIterator<Item = (u8, DriveParts)>) -> BlockEngine {
    engine_with(true, parts)
}

fn engine_with(io_uring: bool, parts: impl IntoIterator<Item = (u8, DriveParts)>) -> BlockEngine {
    let parts = parts.into_iter().map(|(id, parts)| (DiskId(id), parts)).collect();
    BlockEngine::with_io_uring(parts, Arc::new(Memory::new(1 << 20, 0).unwrap()), io_uring).unwrap()
}

fn engine() -> BlockEngine {
    engine_of([(0, DriveParts::new("hda", Some(image(128)))), (2, DriveParts::new("hdc", None))])
}

fn set_dirty(engine: &BlockEngine, dirty: bool) {
    lock(&engine.shared.drive(0).unwrap().medium).image.as_mut().unwrap().dirty = dirty;
}

fn request(disk: u8, op: BlockOp, data: BlockData) -> BlockRequest {
    BlockRequest { disk: DiskId(disk), tag: 7, op, offset: 0, data }
}

/// Puts a request that panics into the queue of hda.
fn queue_broken(engine: &BlockEngine, request: BlockRequest) {
    let drive = engine.shared.drive(0).unwrap();
    engine.shared.in_flight.fetch_add(1, Ordering::AcqRel);
    drive.pending.fetch_add(1, Ordering::AcqRel);
    let queued = QueuedRequest { request: PendingRequest::broken(request), arrival: Instant::now(), admitted: true };
    lock(&drive.queue).requests.push_back(queued);
    engine.ensure_worker(0);
    drive.queue_changed.notify_one();
}

fn one_sector() -> BlockData {
    BlockData::Guest(vec![pcvm_devices::GuestRange { addr: 0, len: 512 }])
}

#[test]
fn a_panic_fails_its_request_and_the_drive_serves_the_next() {
    let engine = engine();
    let request = request(0, BlockOp::Read, one_sector());
    queue_broken(&engine, request.clone());
    engine.wait_idle();
    let done = engine.take_completions();
    assert_eq!(
        done.iter().map(|done| (done.tag, done.result)).collect::<Vec<_>>(),
        [(7, Err(BlockError::Io(libc::EIO)))]
    );
    let inline = engine.start(request, Patience::None);
    engine.wait_idle();
    let all: Vec<_> = engine.take_completions().into_iter().chain(inline).collect();
    assert!(matches!(&all[..], [done] if done.result.is_ok()), "the next request fails: {all:?}");
}

#[test]
fn a_request_waits_while_another_vcpu_executes_one() {
    let engine = engine();
    let flush = |tag| BlockRequest { tag, ..request(0, BlockOp::Flush, BlockData::None) };
    {
        let drive = engine.shared.drive(0).unwrap();
        set_dirty(&engine, false);
        assert!(engine.start(flush(1), Patience::None).is_some(), "an idle drive does not complete inline");
        let _medium = lock(&drive.medium);
        assert!(engine.start(flush(2), Patience::None).is_none());
        assert!(engine.start(flush(3), Patience::None).is_none());
        assert!(engine.take_completions().is_empty());
    }
    engine.wait_idle();
    let tags: Vec<_> = engine.take_completions().into_iter().map(|done| done.tag).collect();
    assert_eq!(tags, [2, 3]);
}

#[test]
fn statistics_count_operations_bytes_errors_and_where_they_completed() {
    let engine = engine();
    let run = |op, data| {
        let inline = engine.start(request(0, op, data), Patience::None);
        engine.wait_idle();
        engine.take_completions().into_iter().chain(inline).next().unwrap().result
    };
    assert_eq!(run(BlockOp::Read, one_sector()), Ok(()));
    assert_eq!(run(BlockOp::Read, BlockData::Buffer(vec![0; 1024])), Ok(()));
    assert_eq!(run(BlockOp::Write, one_sector()), Ok(()));
    assert_eq!(run(BlockOp::Discard { len: 0 }, BlockData::None), Ok(()));
    // An image with unflushed writes is flushed by io_uring or the worker thread, one without them inline.
    set_dirty(&engine, true);
    assert_eq!(run(BlockOp::Flush, BlockData::None), Ok(()));
    assert_eq!(run(BlockOp::Flush, BlockData::None), Ok(()));
    // Past the end: a rejected request. A panic: a failed one.
    assert_eq!(run(BlockOp::Read, BlockData::Buffer(vec![0; 128 * 512 + 1])), Err(BlockError::OutOfRange));
    queue_broken(&engine, request(0, BlockOp::Read, one_sector()));
    engine.wait_idle();

    let all = engine.stats();
    let [stats, empty] = &all[..] else { panic!("{all:?}") };
    assert_eq!((empty.name.as_str(), empty.inline), ("hdc", 0));
    assert_eq!(stats.name, "hda");
    assert_eq!([stats.reads, stats.writes, stats.flushes, stats.discards], [2, 1, 2, 1]);
    assert_eq!([stats.read_bytes, stats.written_bytes, stats.errors], [1536, 512, 2]);
    // Reads and writes would block on file systems without RWF_NOWAIT.
    let blocking = stats.io_uring + stats.worker;
    assert_eq!(stats.inline + blocking, 8);
    assert!(stats.worker >= 1 && blocking >= 2 && stats.inline >= 3, "{stats:?}");
    assert!(stats.blocking_latency_max_ns > 0, "{stats:?}");
    assert!(stats.blocking_latency_total_ns >= stats.blocking_latency_max_ns, "{stats:?}");
    assert!(stats.blocking_latency_total_ns <= blocking * stats.blocking_latency_max_ns, "{stats:?}");
    let json = serde_json::to_value(stats).unwrap();
    assert_eq!((&json["name"], &json["written-bytes"]), (&"hda".into(), &512.into()));
}

#[test]
fn an_engine_serves_more_than_four_drives_by_threads_with_their_names() {
    let drive = |n: u8| {
        let medium = (n % 4 != 2).then(|| image(u64::from(n) + 1));
        (n % 3 != 1).then(|| (n, DriveParts::new(&format!("drive{n}"), medium)))
    };
    let engine = engine_with(false, (0..10).filter_map(drive));
    for n in 0..10 {
        let done = engine.start(request(n, BlockOp::Flush, BlockData::None), Patience::None);
        if n % 3 == 1 || n % 4 == 2 {
            assert_eq!(done.unwrap().result, Err(BlockError::NoMedium));
            continue;
        }
        assert!(done.is_none(), "the first flush of a writable image completes inline");
        let drive = engine.shared.drive(n.into()).unwrap();
        assert_eq!(lock(&drive.medium).image.as_ref().unwrap().size(), (u64::from(n) + 1) * 512);
        let worker = lock(&drive.worker);
        assert_eq!(worker.as_ref().unwrap().thread().name(), Some(&*format!("block-drive{n}")));
    }
    engine.wait_idle();
    let mut disks: Vec<_> = engine.take_completions().iter().map(|done| done.disk.0).collect();
    disks.sort_unstable();
    assert_eq!(disks, [0, 3, 5, 8, 9]);
    assert_eq!(
        engine.start(request(10, BlockOp::Flush, BlockData::None), Patience::None).unwrap().result,
        Err(BlockError::NoMedium)
    );
    assert_eq!(engine.stats().len(), 7);
}

/// An engine with one drive whose first request finds the host's file system full.
fn failing(write_error: ErrorAction) -> BlockEngine {
    let mut medium = image(128);
    medium.fail_next(libc::ENOSPC);
    engine_of([(0, DriveParts { write_error, ..DriveParts::new("hda", Some(medium)) })])
}

#[test]
fn a_drive_that_stops_keeps_the_write_and_repeats_it_after_the_machine_resumes() {
    for action in [ErrorAction::Stop, ErrorAction::StopIfFull] {
        let engine = failing(action);
        assert!(engine.start(request(0, BlockOp::Write, one_sector()), Patience::Briefly).is_none());
        let read = BlockRequest { tag: 8, ..request(0, BlockOp::Read, one_sector()) };
        assert!(engine.start(read, Patience::Briefly).is_none(), "a read overtakes the failed write");
        pcvm_test_host::wait_until("the drive stops", || !lock(&engine.shared.stopped).is_empty());
        let stopped = StoppedDrive { drive: "hda".into(), op: BlockOp::Write, error: BlockError::NoSpace };
        assert_eq!(engine.take_stopped(), [stopped]);
        assert_eq!((engine.in_flight(), engine.take_completions().len()), (2, 0));
        engine.resume();
        engine.wait_idle();
        let done: Vec<_> = engine.take_completions().iter().map(|done| (done.tag, done.result)).collect();
        assert_eq!(done, [(7, Ok(())), (8, Ok(()))]);
    }
}

#[test]
fn errors_are_reported_ignored_or_fail_when_the_machine_is_reset() {
    let result = |engine: &BlockEngine| {
        let inline = engine.start(request(0, BlockOp::Write, one_sector()), Patience::Briefly);
        if inline.is_none() {
            pcvm_test_host::wait_until("the request ends", || {
                engine.in_flight() == 0 || !lock(&engine.shared.stopped).is_empty()
            });
        }
        inline.or_else(|| engine.take_completions().pop()).map(|done| done.result)
    };
    assert_eq!(result(&failing(ErrorAction::Report)), Some(Err(BlockError::NoSpace)));
    assert_eq!(result(&failing(ErrorAction::Ignore)), Some(Ok(())));
    let engine = failing(ErrorAction::Stop);
    assert_eq!(result(&engine), None);
    lock(&engine.shared.drive(0).unwrap().medium).image.as_mut().unwrap().fail_next(libc::EIO);
    engine.wait_idle();
    let done: Vec<_> = engine.take_completions().iter().map(|done| done.result).collect();
    assert_eq!(done, [Err(BlockError::Io(libc::EIO))], "a reset does not wait for the administrator");
}

#[test]
fn a_throttled_drive_delays_requests_but_not_a_reset() {
    let limits = crate::config::Limits { requests: Some(crate::config::Rate { per_second: 1, burst: 2 }), bytes: None };
    let throttle = Throttle::new(limits).map(Arc::new);
    let engine = engine_of([(0, DriveParts { throttle, ..DriveParts::new("hda", Some(image(128))) })]);
    let start = Instant::now();
    for _ in 0..20 {
        let _ = engine.start(request(0, BlockOp::Read, one_sector()), Patience::Briefly);
    }
    assert!(engine.in_flight() >= 16, "{} of 20 wait", engine.in_flight());
    engine.wait_idle();
    assert!(start.elapsed() < Duration::from_secs(10), "a reset waits for the throttle");
}

#[test]
fn a_replaced_medium_serves_the_next_request() {
    let engine = engine();
    let old = engine.replace(DiskId(0), Some(image(4)));
    assert_eq!(old.unwrap().size(), 128 * 512);
    let read = |offset| {
        let request = BlockRequest { offset, ..request(0, BlockOp::Read, one_sector()) };
        let inline = engine.start(request, Patience::Briefly);
        engine.wait_idle();
        inline.or_else(|| engine.take_completions().pop()).unwrap().result
    };
    assert_eq!(read(3 * 512), Ok(()));
    assert_eq!(read(4 * 512), Err(BlockError::OutOfRange));
    assert!(engine.replace(DiskId(0), None).is_some());
    assert_eq!(read(0), Err(BlockError::NoMedium));
    assert!(engine.replace(DiskId(9), Some(image(4))).is_none());
}
