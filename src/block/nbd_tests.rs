//! Tests of network disks as drives: options, guest memory, and machines that reset or end while the server is lost.

use super::nbd::tests::server::{Abilities, Server};
use super::raw::Patience;
use super::*;
use crate::config::DriveConfig;
use pcvm_devices::{BlockData, BlockDone, BlockError, BlockOp, BlockRequest, DiskId, GuestRange, Memory};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const SIZE: usize = 1 << 20;

fn drive(server: &Server, keys: &str) -> DriveConfig {
    let option = format!("nbd+unix:///disk?socket={}{keys}", server.socket().display());
    crate::config::parse::disk(&OsString::from(option)).unwrap().drive
}

struct Rig {
    engine: BlockEngine,
    memory: Arc<Memory>,
}

impl Rig {
    fn new(server: &Server, keys: &str) -> Self {
        let image = Image::open(&drive(server, keys)).unwrap();
        let parts = BTreeMap::from([(DiskId(0), DriveParts::new("hda", Some(image)))]);
        let memory = Arc::new(Memory::new(4 << 20, 0).unwrap());
        Self { engine: BlockEngine::new(parts, Arc::clone(&memory)).unwrap(), memory }
    }

    fn start(&self, op: BlockOp, offset: u64, data: BlockData) {
        let request = BlockRequest { disk: DiskId(0), tag: 7, op, offset, data };
        assert!(self.engine.start(request, Patience::Briefly).is_none(), "a network disk blocks");
    }

    fn finish(&self) -> BlockDone {
        self.engine.wait_idle();
        let mut all = self.engine.take_completions();
        assert_eq!(all.len(), 1);
        all.pop().unwrap()
    }

    fn request(&self, op: BlockOp, offset: u64, data: BlockData) -> Result<(), BlockError> {
        self.start(op, offset, data);
        self.finish().result
    }
}

/// A scatter list with unmapped addresses in it (the VGA window, where a bus master reads FFh).
fn scattered() -> BlockData {
    BlockData::Guest(vec![
        GuestRange { addr: 0x20_0000, len: 1000 },
        GuestRange { addr: 0xa_0000, len: 24 },
        GuestRange { addr: 0x10_0000, len: 3072 },
    ])
}

#[test]
fn guest_memory_is_written_to_a_network_disk_and_read_back() {
    let server = Server::new(SIZE, Abilities::default());
    let rig = Rig::new(&server, "");
    let content: Vec<u8> = (0..4072u32).map(|n| (n % 251) as u8).collect();
    rig.memory.write(0x20_0000, &content[..1000]);
    rig.memory.write(0x10_0000, &content[1000..]);
    assert_eq!(rig.request(BlockOp::Write, 8192, scattered()), Ok(()));
    rig.memory.write(0x20_0000, &[0; 1000]);
    rig.memory.write(0x10_0000, &[0; 3072]);
    server.kill();
    assert_eq!(rig.request(BlockOp::Read, 8192, scattered()), Ok(()));
    let mut back = vec![0; 4072];
    rig.memory.read(0x20_0000, &mut back[..1000]);
    rig.memory.read(0x10_0000, &mut back[1000..]);
    assert!(back == content);
    assert_eq!(rig.request(BlockOp::Flush, 0, BlockData::None), Ok(()));
    let stable = server.shared.disk.lock().unwrap().stable[8192..8192 + 4096].to_vec();
    assert!(stable[..1000] == content[..1000] && stable[1000..1024] == [0xff; 24] && stable[1024..] == content[1000..]);
    assert_eq!(rig.request(BlockOp::Discard { len: 4096 }, 8192, BlockData::None), Ok(()));
}

#[test]
fn writethrough_reaches_stable_storage_with_each_write() {
    for fua in [true, false] {
        let server = Server::new(SIZE, if fua { Abilities::default() } else { Abilities::default().without_fua() });
        let rig = Rig::new(&server, ",cache=writethrough");
        assert_eq!(rig.request(BlockOp::Write, 0, BlockData::Buffer(vec![7; 512])), Ok(()));
        assert_eq!(server.shared.disk.lock().unwrap().stable[..512], [7; 512], "FUA: {fua}");
        let commands = |number: u16| server.shared.commands[usize::from(number)].load(Ordering::Acquire);
        // NBD_CMD_WRITE, NBD_CMD_FLUSH.
        assert_eq!((commands(1), commands(3)), (1, usize::from(!fua)));
    }
}

#[test]
fn a_machine_that_resets_or_ends_does_not_wait_for_a_lost_server() {
    let server = Server::new(SIZE, Abilities::default());
    let rig = Rig::new(&server, ",reconnect=3600");
    server.shared.down.store(true, Ordering::Release);
    server.kill();
    let start = Instant::now();
    rig.start(BlockOp::Read, 0, BlockData::Buffer(vec![0; 512]));
    assert_eq!(rig.finish().result, Err(BlockError::Io(libc::ECANCELED)));
    rig.start(BlockOp::Read, 0, BlockData::Buffer(vec![0; 512]));
    drop(rig.engine);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_network_disk_that_begins_like_another_format_needs_the_word_raw() {
    let server = Server::new(SIZE, Abilities::default());
    server.shared.disk.lock().unwrap().cache[..4].copy_from_slice(b"QFI\xfb");
    let error = Image::open(&drive(&server, "")).unwrap_err().to_string();
    assert!(error.contains(": begins like a qcow2 image: let the server read that format"), "{error}");
    assert!(Image::open(&drive(&server, ",format=raw")).is_ok());
}

#[test]
fn an_error_names_the_network_disk() {
    let server = Server::new(SIZE, Abilities::default());
    let mut other = drive(&server, ",readonly");
    other.network.as_mut().unwrap().export = "none".to_owned();
    let error = Image::open(&other).unwrap_err().to_string();
    let socket = server.socket().display();
    assert_eq!(
        error,
        format!("nbd+unix:///none?socket={socket}: the server has no export 'none', but 'disk', 'other'")
    );
}
