//! An NBD server for tests, with a cache that it loses when it is killed.

use super::super::wire::*;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What the server can do.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    pub flags: u16,
    pub structured: bool,
    pub go: bool,
    pub fixed: bool,
    /// Minimum, preferred and maximum block size.
    pub sizes: Option<(u32, u32, u32)>,
    /// Replies to reads come in pieces of this many bytes, in reverse order, and zeros as holes.
    pub pieces: Option<usize>,
}

impl Default for Abilities {
    fn default() -> Self {
        let flags = ExportFlags::HAS_FLAGS
            | ExportFlags::SEND_FLUSH
            | ExportFlags::SEND_FUA
            | ExportFlags::SEND_TRIM
            | ExportFlags::SEND_WRITE_ZEROES
            | ExportFlags::CAN_MULTI_CONN
            | ExportFlags::SEND_DF;
        Self { flags, structured: true, go: true, fixed: true, sizes: Some((1, 4096, 1 << 20)), pieces: None }
    }
}

impl Abilities {
    /// A server that can flush and has no FUA.
    pub fn without_fua(mut self) -> Self {
        self.flags &= !ExportFlags::SEND_FUA;
        self
    }
}

/// Where a request is when the server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    Received,
    Executed,
    HalfReplied,
}

#[derive(Debug)]
pub struct Disk {
    /// What survives.
    pub stable: Vec<u8>,
    /// What a read gives.
    pub cache: Vec<u8>,
}

#[derive(Debug)]
pub struct Shared {
    pub disk: Mutex<Disk>,
    pub abilities: Mutex<Abilities>,
    sockets: Mutex<Vec<UnixStream>>,
    /// Requests until the server is killed, and where.
    kill: Mutex<Option<(usize, Point)>>,
    /// Connections are closed at once.
    pub down: AtomicBool,
    pub connections: AtomicUsize,
    /// Requests of each command.
    pub commands: [AtomicUsize; 8],
    /// Commands that fail, by bit, with this error.
    pub failing: Mutex<(u32, u32)>,
    /// Sectors of the cache that survive a kill: chosen by a generator with this state; 0 for none.
    pub luck: Mutex<u64>,
}

pub struct Server {
    pub shared: Arc<Shared>,
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Server {
    pub fn new(size: usize, abilities: Abilities) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("nbd");
        let listener = UnixListener::bind(&socket).unwrap();
        let shared = Arc::new(Shared {
            disk: Mutex::new(Disk { stable: vec![0; size], cache: vec![0; size] }),
            abilities: Mutex::new(abilities),
            sockets: Mutex::default(),
            kill: Mutex::default(),
            down: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            commands: [const { AtomicUsize::new(0) }; 8],
            failing: Mutex::new((0, 0)),
            luck: Mutex::new(0),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.down.load(Ordering::Acquire) {
                    continue;
                }
                serving.sockets.lock().unwrap().push(stream.try_clone().unwrap());
                serving.connections.fetch_add(1, Ordering::AcqRel);
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || {
                    let _ = serve(&shared, &stream);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { shared, socket, _dir: dir }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// kill -9, and a new server at once.
    pub fn kill(&self) {
        self.shared.kill_now(&mut self.shared.disk.lock().unwrap());
    }

    pub fn kill_at(&self, requests: usize, point: Point) {
        *self.shared.kill.lock().unwrap() = Some((requests, point));
    }

    pub fn count(&self, command: u16) -> usize {
        self.shared.commands[usize::from(command)].load(Ordering::Acquire)
    }
}

impl Shared {
    fn kill_now(&self, disk: &mut Disk) {
        for socket in self.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        let mut luck = self.luck.lock().unwrap();
        let Disk { stable, cache } = disk;
        for (stable, cache) in stable.chunks_mut(512).zip(cache.chunks(512)) {
            *luck ^= *luck << 13;
            *luck ^= *luck >> 7;
            *luck ^= *luck << 17;
            if *luck & 1 != 0 {
                stable.copy_from_slice(cache);
            }
        }
        cache.copy_from_slice(stable);
    }

    /// Whether the server dies in the middle of a reply. The client gets the first half before the connection ends.
    fn dies_after_half(&self, disk: &mut Disk, mut stream: &UnixStream, reply: &[u8]) -> bool {
        let due = matches!(*self.kill.lock().unwrap(), Some((0, Point::HalfReplied)));
        if due {
            let _ = stream.write_all(&reply[..reply.len() / 2]);
        }
        self.dies(disk, Point::HalfReplied)
    }

    /// Whether the server dies at this point of a request.
    fn dies(&self, disk: &mut Disk, at: Point) -> bool {
        let mut kill = self.kill.lock().unwrap();
        let Some((left, _)) = kill.as_mut().filter(|(_, point)| *point == at) else { return false };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        *kill = None;
        drop(kill);
        self.kill_now(disk);
        true
    }
}

fn read_array<const N: usize>(mut stream: &UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

pub fn greeting(flags: u16) -> Vec<u8> {
    [&INIT_MAGIC.to_be_bytes()[..], &OPTION_MAGIC.to_be_bytes(), &flags.to_be_bytes()].concat()
}

pub fn option_reply(option: u32, kind: u32, payload: &[u8]) -> Vec<u8> {
    let magic = 0x0003_e889_0455_65a9_u64.to_be_bytes();
    let len = (payload.len() as u32).to_be_bytes();
    [&magic[..], &option.to_be_bytes(), &kind.to_be_bytes(), &len, payload].concat()
}

pub fn info_export(size: u64, flags: u16) -> Vec<u8> {
    [&0u16.to_be_bytes()[..], &size.to_be_bytes(), &flags.to_be_bytes()].concat()
}

pub fn info_sizes((min, preferred, max): (u32, u32, u32)) -> Vec<u8> {
    [&3u16.to_be_bytes()[..], &min.to_be_bytes(), &preferred.to_be_bytes(), &max.to_be_bytes()].concat()
}

pub fn chunk(kind: u16, flags: u16, cookie: u64, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    let magic = CHUNK_MAGIC.to_be_bytes();
    [&magic[..], &flags.to_be_bytes(), &kind.to_be_bytes(), &cookie.to_be_bytes(), &len, payload].concat()
}

pub fn simple(error: u32, cookie: u64, data: &[u8]) -> Vec<u8> {
    [&SIMPLE_REPLY_MAGIC.to_be_bytes()[..], &error.to_be_bytes(), &cookie.to_be_bytes(), data].concat()
}

/// Negotiates. Gives whether replies are structured; None if the client went away.
pub fn negotiate(mut stream: &UnixStream, abilities: &Abilities, size: u64) -> io::Result<Option<bool>> {
    stream.write_all(&greeting(if abilities.fixed { 3 } else { 2 }))?;
    let _client_flags: [u8; 4] = read_array(stream)?;
    let mut structured = false;
    loop {
        let header: [u8; 16] = read_array(stream)?;
        let (option, len) = (u32_at(&header, 8), u32_at(&header, 12));
        let mut data = vec![0; len as usize];
        stream.read_exact(&mut data)?;
        match option {
            OPT_STRUCTURED_REPLY if abilities.structured => {
                structured = true;
                stream.write_all(&option_reply(option, REP_ACK, &[]))?;
            }
            OPT_LIST => {
                for name in ["disk", "other"] {
                    let payload = [&(name.len() as u32).to_be_bytes()[..], name.as_bytes(), b"a description"].concat();
                    stream.write_all(&option_reply(option, REP_SERVER, &payload))?;
                }
                stream.write_all(&option_reply(option, REP_ACK, &[]))?;
            }
            OPT_GO if abilities.go => {
                let name = &data[4..4 + u32_at(&data, 0) as usize];
                if name != b"disk" {
                    stream.write_all(&option_reply(option, REP_ERR_UNKNOWN, b"no such export"))?;
                    continue;
                }
                stream.write_all(&option_reply(option, REP_INFO, &info_export(size, abilities.flags)))?;
                if let Some(sizes) = abilities.sizes {
                    stream.write_all(&option_reply(option, REP_INFO, &info_sizes(sizes)))?;
                }
                stream.write_all(&option_reply(option, REP_INFO, b"\0\x01disk"))?;
                stream.write_all(&option_reply(option, REP_ACK, &[]))?;
                return Ok(Some(structured));
            }
            OPT_EXPORT_NAME => {
                if data != b"disk" {
                    return Ok(None);
                }
                stream.write_all(&info_export(size, abilities.flags)[2..])?;
                return Ok(Some(structured));
            }
            OPT_ABORT => return Ok(None),
            _ => stream.write_all(&option_reply(option, REP_ERR_UNSUP, b"what?"))?,
        }
    }
}

fn serve(shared: &Shared, mut stream: &UnixStream) -> io::Result<()> {
    let size = shared.disk.lock().unwrap().cache.len();
    let abilities = *shared.abilities.lock().unwrap();
    let Some(structured) = negotiate(stream, &abilities, size as u64)? else { return Ok(()) };
    loop {
        let header: [u8; 28] = read_array(stream)?;
        assert_eq!(u32_at(&header, 0), 0x2560_9513);
        let (flags, command) = (u16_at(&header, 4), u16_at(&header, 6));
        let (cookie, offset, len) = (u64_at(&header, 8), u64_at(&header, 16), u32_at(&header, 24));
        let mut data = vec![0; if command == CMD_WRITE { len as usize } else { 0 }];
        stream.read_exact(&mut data)?;
        if command == CMD_DISC {
            return Ok(());
        }
        let mut disk = shared.disk.lock().unwrap();
        shared.commands[usize::from(command)].fetch_add(1, Ordering::AcqRel);
        if shared.dies(&mut disk, Point::Received) {
            return Ok(());
        }
        let (min, _, max) = abilities.sizes.unwrap_or((512, 512, 32 << 20));
        let aligned = offset % u64::from(min) == 0 && len % min == 0;
        let small = !matches!(command, CMD_READ | CMD_WRITE) || len <= max;
        assert!(aligned && small && offset + u64::from(len) <= size as u64, "command {command}: {offset} {len}");
        let (failing, error) = *shared.failing.lock().unwrap();
        if failing & 1 << command != 0 {
            drop(disk);
            stream.write_all(&if structured {
                let payload = [&error.to_be_bytes()[..], b"\0\x03why"].concat();
                chunk(CHUNK_ERROR_BIT | 1, CHUNK_DONE, cookie, &payload)
            } else {
                simple(error, cookie, &[])
            })?;
            continue;
        }
        let range = offset as usize..offset as usize + len as usize;
        match command {
            CMD_READ => data = disk.cache[range.clone()].to_vec(),
            CMD_WRITE => disk.cache[range.clone()].copy_from_slice(&data),
            CMD_TRIM => disk.cache[range.clone()].fill(0xee),
            CMD_WRITE_ZEROES => disk.cache[range.clone()].fill(0),
            CMD_FLUSH => disk.stable = disk.cache.clone(),
            _ => panic!("command {command}"),
        }
        if flags & FLAG_FUA != 0 {
            let Disk { stable, cache } = &mut *disk;
            stable[range.clone()].copy_from_slice(&cache[range]);
        }
        if shared.dies(&mut disk, Point::Executed) {
            return Ok(());
        }
        let reply = match (command, structured) {
            (CMD_READ, true) => read_reply(&abilities, flags, cookie, offset, &data),
            (CMD_READ, false) => simple(0, cookie, &data),
            (_, true) => chunk(CHUNK_NONE, CHUNK_DONE, cookie, &[]),
            (_, false) => simple(0, cookie, &[]),
        };
        if shared.dies_after_half(&mut disk, stream, &reply) {
            return Ok(());
        }
        drop(disk);
        stream.write_all(&reply)?;
    }
}

fn read_reply(abilities: &Abilities, flags: u16, cookie: u64, offset: u64, data: &[u8]) -> Vec<u8> {
    let Some(size) = abilities.pieces.filter(|_| flags & FLAG_DF == 0) else {
        return chunk(CHUNK_OFFSET_DATA, CHUNK_DONE, cookie, &[&offset.to_be_bytes()[..], data].concat());
    };
    let mut reply = Vec::new();
    for (index, piece) in data.chunks(size).enumerate().rev() {
        let at = (offset + (index * size) as u64).to_be_bytes();
        if piece.iter().all(|&byte| byte == 0) {
            let len = (piece.len() as u32).to_be_bytes();
            reply.extend(chunk(CHUNK_OFFSET_HOLE, 0, cookie, &[&at[..], &len].concat()));
        } else {
            reply.extend(chunk(CHUNK_OFFSET_DATA, 0, cookie, &[&at[..], piece].concat()));
        }
    }
    reply.extend(chunk(CHUNK_NONE, CHUNK_DONE, cookie, &[]));
    reply
}
