//! A file with every frame that passes, in the format of libpcap (pcap-savefile(5)): Wireshark and tcpdump read it.

use super::NetError;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Time stamps in nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const SNAPLEN: u32 = 262_144;
const LINKTYPE_ETHERNET: u32 = 1;

/// The file.
pub struct Dump {
    file: BufWriter<File>,
    path: PathBuf,
    failed: bool,
}

impl Dump {
    /// Makes the file, or empties it.
    ///
    /// # Errors
    /// If the host does not let us.
    pub fn create(path: &Path) -> Result<Self, NetError> {
        let fail = |error: std::io::Error| NetError::file(path, &error);
        let mut file = BufWriter::new(File::create(path).map_err(fail)?);
        let mut head = MAGIC.to_le_bytes().to_vec();
        head.extend(VERSION.iter().flat_map(|part| part.to_le_bytes()));
        head.extend([0, 0, SNAPLEN, LINKTYPE_ETHERNET].iter().flat_map(|part: &u32| part.to_le_bytes()));
        file.write_all(&head).and_then(|()| file.flush()).map_err(fail)?;
        Ok(Self { file, path: path.to_owned(), failed: false })
    }

    /// Adds a frame. A file that cannot be written any more is told of once.
    pub fn frame(&mut self, bytes: &[u8]) {
        if self.failed {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let len = bytes.len() as u32;
        let head = [now.as_secs() as u32, now.subsec_nanos(), len, len].map(u32::to_le_bytes).concat();
        let written =
            self.file.write_all(&head).and_then(|()| self.file.write_all(bytes)).and_then(|()| self.file.flush());
        if let Err(error) = written {
            tracing::warn!("{}: {}: no more frames are kept", self.path.display(), crate::error::host_error(&error));
            self.failed = true;
        }
    }
}
