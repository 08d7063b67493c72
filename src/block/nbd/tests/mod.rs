//! Tests of the NBD client against a server of these tests, which loses what it has not flushed, and against strangers'.

mod hostile;
mod reconnect;
pub mod server;
mod strangers;

use super::{NbdClient, NbdError};
use crate::config::nbd::NbdTarget;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// A client of the export `name` at a Unix socket, with this many seconds of patience.
fn open(socket: &Path, name: &str, patience: u64) -> Result<NbdClient, NbdError> {
    open_uri(&format!("nbd+unix:///{name}?socket={}", socket.display()), patience, false)
}

fn open_uri(uri: &str, patience: u64, read_only: bool) -> Result<NbdClient, NbdError> {
    let mut target = NbdTarget::parse(OsStr::new(uri)).unwrap();
    target.reconnect = Duration::from_secs(patience);
    NbdClient::open(target, read_only)
}

/// Bytes that differ at every place.
fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8 ^ seed).collect()
}

fn read(client: &NbdClient, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xcc; len];
    client.read_at(&mut bytes, offset).unwrap();
    bytes
}

/// Bytes of stack that are enough for a request with a TLS handshake: an eighth of what a drive's worker thread has.
const WORKER_STACK: usize = 128 << 10;
