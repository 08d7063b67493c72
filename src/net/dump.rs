//! Packet capture: a file with every frame of a network port, in libpcap's format (pcap-savefile(5)) for Wireshark and
//! tcpdump.

use super::NetError;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Magic number of a file whose time stamps are in nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const SNAPLEN: u32 = 262_144;
const LINKTYPE_ETHERNET: u32 = 1;

/// An open capture file.
pub struct Dump {
    file: BufWriter<File>,
    path: PathBuf,
    failed: bool,
}

impl Dump {
    /// Creates the file, or truncates it.
    ///
    /// # Errors
    /// If the file cannot be created or written.
    pub fn create(path: &Path) -> Result<Self, NetError> {
        let fail = |error: std::io::Error| NetError::file(path, &error);
        let mut file = BufWriter::new(File::create(path).map_err(fail)?);
        let mut header = MAGIC.to_le_bytes().to_vec();
        header.extend(VERSION.iter().flat_map(|part| part.to_le_bytes()));
        header.extend([0, 0, SNAPLEN, LINKTYPE_ETHERNET].iter().flat_map(|part: &u32| part.to_le_bytes()));
        file.write_all(&header).and_then(|()| file.flush()).map_err(fail)?;
        Ok(Self { file, path: path.to_owned(), failed: false })
    }

    /// Appends a frame. The first write error is logged and ends the capture.
    pub fn frame(&mut self, bytes: &[u8]) {
        if self.failed {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let len = bytes.len() as u32;
        let header = [now.as_secs() as u32, now.subsec_nanos(), len, len].map(u32::to_le_bytes).concat();
        let written =
            self.file.write_all(&header).and_then(|()| self.file.write_all(bytes)).and_then(|()| self.file.flush());
        if let Err(error) = written {
            let why = crate::error::host_error(&error);
            tracing::warn!("{}: {why}: packet capture stopped", self.path.display());
            self.failed = true;
        }
    }
}
