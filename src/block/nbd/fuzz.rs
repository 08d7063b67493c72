//! Fuzzing of the NBD client: arbitrary bytes as the server's side of a connection.

use super::connection::Connection;
use super::error::RequestError;
use super::interrupt::Interrupt;
use super::link::{Link, Socket};
use super::negotiate::{Export, negotiate};
use super::wire::{CMD_TRIM, ExportFlags};
use crate::block::sys::{IoVec, IoVecStorage};
use crate::config::nbd::{DEFAULT_RECONNECT, NbdAddress, NbdTarget};
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of the longest script: a socket takes them at once.
const SCRIPT_MAX: usize = 64 << 10;
/// A client that waits this long for a server that has closed the connection hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Plays `bytes` as a server's side. The first byte chooses what the server is assumed to have negotiated, or that it
/// negotiates by its bytes; then follow reads, a write, a trim and a flush, whose cookies are 1, 2, and so on.
///
/// # Panics
/// If the client accepts a read that the server did not answer in full, or waits without end.
pub fn fuzz(bytes: &[u8]) {
    let Some((&mode, script)) = bytes.split_first() else { return };
    let script = script.get(..script.len().min(SCRIPT_MAX)).unwrap_or_default();
    let Ok((ours, mut theirs)) = UnixStream::pair() else { return };
    if theirs.write_all(script).is_err() || theirs.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let start = Instant::now();
    let deadline = start + PATIENCE;
    let interrupt = Interrupt::default();
    let socket = Arc::new(Socket::new(ours.into()));
    interrupt.register(&socket, interrupt.ticket());
    let mut link = Link::new(socket, deadline);
    let export = if mode & 1 == 0 {
        let address = NbdAddress::Tcp { host: "fuzz".to_owned(), port: 1 };
        let target = NbdTarget { address, export: "x".to_owned(), tls: None, reconnect: DEFAULT_RECONNECT };
        match negotiate(&mut link, &target, None) {
            Ok(export) => export,
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    } else {
        let flags = ExportFlags(1 | if mode & 2 != 0 { ExportFlags::SEND_DF } else { 0 });
        Export { size: 1 << 30, flags, min_block: 512, max_payload: 1 << 20, structured: mode & 4 != 0 }
    };
    assert!(export.min_block.is_power_of_two() && export.max_payload >= export.min_block);
    let mut connection = Connection::new(link, export);
    connection.set_deadline(Some(deadline));
    let _ = requests(&mut connection);
    assert!(start.elapsed() < PATIENCE, "the client waits for a closed connection");
}

fn requests(connection: &mut Connection) -> Result<(), RequestError> {
    for (len, offset) in [(512, 0), (4096, 4096), (128 << 10, 1 << 20)] {
        let mut data = vec![0xa5; len];
        let mut storage = IoVecStorage::new();
        let mut iov = IoVec::new(&mut storage);
        for part in data.chunks_mut(len / 4) {
            iov.push_buffer(part);
        }
        match connection.read(&mut iov, len, offset) {
            Ok(()) | Err(RequestError::Server(_)) => {}
            Err(broken) => return Err(broken),
        }
    }
    let data = [0x5a; 512];
    let mut storage = IoVecStorage::new();
    let mut iov = IoVec::new(&mut storage);
    iov.push_source(&data);
    for result in
        [connection.write(&iov, 512, 0, true, || ()), connection.command(CMD_TRIM, 0, 0, 512), connection.flush()]
    {
        if let Err(RequestError::Broken(_)) = result {
            return result;
        }
    }
    Ok(())
}
