//! Positioned reads for the metadata parser: a file, or bytes in memory (tests and fuzzing).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Something that the parser reads at offsets.
pub trait Source {
    /// Reads at `offset`; gives the number of bytes, 0 at the end.
    ///
    /// # Errors
    /// The host's error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Length in bytes.
    ///
    /// # Errors
    /// The host's error.
    fn length(&self) -> io::Result<u64>;
}

impl Source for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        // Seeking finds the end of a block device, too; all other accesses are positioned.
        use std::io::Seek;
        let mut file = self;
        file.seek(io::SeekFrom::End(0))
    }
}

impl Source for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.get(start..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buffer)
    }

    fn length(&self) -> io::Result<u64> {
        (**self).length()
    }
}

/// Fills `buffer` from `offset`. What lies behind the end of the source reads as zeros, as the format has it for a file that
/// ends within a cluster.
///
/// # Errors
/// The host's error.
pub fn read_padded(source: &(impl Source + ?Sized), offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        let Some(at) = offset.checked_add(done as u64).filter(|at| i64::try_from(*at).is_ok()) else { break };
        match source.read_at(at, &mut buffer[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer[done..].fill(0);
    Ok(())
}

/// A big-endian field of up to 8 bytes; bytes behind the end of `bytes` read as zeros.
pub(super) fn be(bytes: &[u8], at: usize, size: usize) -> u64 {
    (at..at + size).fold(0, |value, i| value << 8 | u64::from(bytes.get(i).copied().unwrap_or(0)))
}
