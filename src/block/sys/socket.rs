//! Scatter-gather socket I/O: sendmsg(2) and recvmsg(2) of a header and a part of an [`IoVec`], and copies from and to it.
#![allow(unsafe_code)]

use super::{IoVec, MAX_SEGMENTS};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What recvmsg(2) waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: [`io::ErrorKind::WouldBlock`] if there are no bytes.
    Never,
    /// At least one byte.
    Some,
    /// All bytes that were asked for.
    All,
}

/// A header and a range of an [`IoVec`], as the kernel takes it.
struct Parts {
    list: MaybeUninit<[libc::iovec; MAX_SEGMENTS + 1]>,
    count: usize,
}

impl Parts {
    fn push(&mut self, base: *mut u8, len: usize) {
        // A header and as many segments as the IoVec has always fit.
        if len > 0 && self.count <= MAX_SEGMENTS {
            let list = self.list.as_mut_ptr().cast::<libc::iovec>();
            // SAFETY: count is at most MAX_SEGMENTS, an index of the array.
            unsafe { list.add(self.count).write(libc::iovec { iov_base: base.cast(), iov_len: len }) };
            self.count += 1;
        }
    }

    /// A message for sendmsg or recvmsg. It points into self.
    fn message(&mut self) -> libc::msghdr {
        // SAFETY: msghdr is a C structure of integers and pointers, for which zero is a value: no address, no control data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = self.list.as_mut_ptr().cast();
        message.msg_iovlen = self.count;
        message
    }
}

impl IoVec<'_> {
    /// Calls `each` for the pieces of `len` bytes from byte `skip` on: address and length. Fewer if the list is shorter.
    fn for_each_piece(&self, mut skip: usize, mut len: usize, mut each: impl FnMut(*mut u8, usize)) {
        for segment in self.entries() {
            if len == 0 {
                return;
            }
            if skip >= segment.iov_len {
                skip -= segment.iov_len;
                continue;
            }
            let part = (segment.iov_len - skip).min(len);
            each(segment.iov_base.cast::<u8>().wrapping_add(skip), part);
            len -= part;
            skip = 0;
        }
    }

    fn parts(&self, header: *mut u8, header_len: usize, skip: usize, len: usize) -> Parts {
        let mut parts = Parts { list: MaybeUninit::uninit(), count: 0 };
        parts.push(header, header_len);
        self.for_each_piece(skip, len, |base, len| parts.push(base, len));
        parts
    }

    /// Sends `header`, then `len` bytes of the segments from byte `skip` on, in one call of sendmsg(2). Gives the number of
    /// bytes that the socket took. With `nowait`, [`io::ErrorKind::WouldBlock`] if it takes none now. Raises no SIGPIPE.
    pub fn send(
        &self,
        socket: BorrowedFd<'_>,
        header: &[u8],
        skip: usize,
        len: usize,
        nowait: bool,
    ) -> io::Result<usize> {
        let mut parts = self.parts(header.as_ptr().cast_mut(), header.len(), skip, len);
        let message = parts.message();
        let flags = libc::MSG_NOSIGNAL | if nowait { libc::MSG_DONTWAIT } else { 0 };
        // SAFETY: the message's list has `count` initialised entries. Each is memory that stays valid during the call: the
        // header, or a segment (see `IoVec::transfer`). The kernel only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Receives into `header`, then into `len` bytes of the segments from byte `skip` on, in one call of recvmsg(2). Gives
    /// the number of bytes received; 0 is the end of the stream.
    ///
    /// # Errors
    /// EFAULT if the list has a segment that can only be sent.
    pub fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        header: &mut [u8],
        skip: usize,
        len: usize,
        wait: Wait,
    ) -> io::Result<usize> {
        if self.source {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        let mut parts = self.parts(header.as_mut_ptr(), header.len(), skip, len);
        let mut message = parts.message();
        let flags = match wait {
            Wait::Never => libc::MSG_DONTWAIT,
            Wait::Some => 0,
            Wait::All => libc::MSG_WAITALL,
        };
        // SAFETY: as in `send`, and all of it may be written: the header is borrowed mutably, and a list with segments that
        // may not be written was rejected above.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// Copies bytes out of the segments, from byte `skip` on. Gives how many: fewer than the buffer has if the list ends.
    pub fn copy_out(&self, skip: usize, buffer: &mut [u8]) -> usize {
        let mut at = 0;
        self.for_each_piece(skip, buffer.len(), |base, len| {
            if let Some(to) = buffer.get_mut(at..at + len) {
                // SAFETY: the piece is `len` bytes of a segment, valid for reading (see `IoVec::transfer`; the sink is
                // initialised when it becomes a segment), and `to` is a buffer of this program that is no segment, because
                // it is borrowed mutably here. The guest may change the bytes meanwhile; any value is fine.
                unsafe { std::ptr::copy_nonoverlapping(base, to.as_mut_ptr(), len) };
                at += len;
            }
        });
        at
    }

    /// Copies bytes into the segments, from byte `skip` on. Gives how many: fewer than there are if the list ends, none if
    /// the list has a segment that can only be sent.
    pub fn copy_in(&mut self, skip: usize, bytes: &[u8]) -> usize {
        let mut at = 0;
        if self.source {
            return 0;
        }
        self.for_each_piece(skip, bytes.len(), |base, len| {
            if let Some(from) = bytes.get(at..at + len) {
                // SAFETY: as in `copy_out`, with the directions exchanged; a list with segments that may not be written was
                // rejected above.
                unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), base, len) };
                at += len;
            }
        });
        at
    }

    /// Fills `len` bytes of the segments with zeros, from byte `skip` on.
    pub fn zero_range(&mut self, skip: usize, len: usize) {
        if !self.source {
            // SAFETY: as in `copy_in`.
            self.for_each_piece(skip, len, |base, len| unsafe { base.write_bytes(0, len) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Direction, IoVecStorage};
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_part_of_a_list_goes_through_a_socket_into_a_part_of_another() {
        let (a, b) = UnixStream::pair().unwrap();
        let source: Vec<u8> = (0..200).collect();
        let mut storage = IoVecStorage::new();
        let mut from = IoVec::new(&mut storage);
        for piece in source.chunks(30) {
            assert!(from.push_source(piece));
        }
        assert_eq!(from.total(), 200);
        assert_eq!(from.send(a.as_fd(), b"head", 25, 100, true).unwrap(), 104);

        let mut target = [0xee; 150];
        let mut storage = IoVecStorage::new();
        let mut to = IoVec::new(&mut storage);
        for piece in target.chunks_mut(7) {
            assert!(to.push_buffer(piece));
        }
        let mut header = [0; 4];
        assert_eq!(to.receive(b.as_fd(), &mut header, 10, 100, Wait::All).unwrap(), 104);
        assert_eq!(
            to.receive(b.as_fd(), &mut header, 0, 1, Wait::Never).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert_eq!(&header, b"head");
        let mut out = [0; 100];
        assert_eq!(to.copy_out(10, &mut out), 100);
        assert_eq!(out, source[25..125]);
        assert_eq!(to.copy_out(140, &mut out), 10);
        to.zero_range(20, 5);
        assert_eq!(to.copy_in(148, b"xyz"), 2);
        assert!(target[..10].iter().all(|&b| b == 0xee) && target[110..148].iter().all(|&b| b == 0xee));
        assert_eq!(
            (&target[10..20], &target[20..25], &target[25..110]),
            (&source[25..35], &[0; 5][..], &source[40..125])
        );
        assert_eq!(&target[148..], b"xy");
    }

    #[test]
    fn a_list_that_can_only_be_sent_receives_nothing() {
        let (a, mut b) = UnixStream::pair().unwrap();
        io::Write::write_all(&mut b, b"data").unwrap();
        let mut storage = IoVecStorage::new();
        let mut list = IoVec::new(&mut storage);
        assert!(list.push_source(b"constant") && list.push_unmapped(10, Direction::Write));
        assert_eq!(list.receive(a.as_fd(), &mut [], 0, 4, Wait::Some).unwrap_err().raw_os_error(), Some(libc::EFAULT));
        assert_eq!(list.copy_in(0, b"data"), 0);
        list.zero_range(0, 18);
        let mut out = [0; 18];
        assert_eq!(list.copy_out(0, &mut out), 18);
        assert_eq!(&out, b"constant\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    }
}
